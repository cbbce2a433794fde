"""Profiles as sums of Gaussians, spiral phases and power-law fields: the brushes of the painters."""

from __future__ import annotations

import numpy as np

from morphospace.sky.simulate.stage import F32, F64, Stage, column, rotated

__all__ = ["DE_VAUCOULEURS", "EXPONENTIAL", "PIXEL_SIGMA", "arms", "fast_side", "field", "gaussians", "round_gaussians"]

PIXEL_SIGMA = 0.6  # px: the narrowest Gaussian whose sum over pixel centres keeps its flux to 0.4 % wherever it lies

# (sigma / half-light radius, share of the light): sums of Gaussians fitted here by non-negative least squares to
# exp(-7.669 ((R/Re)^(1/4) - 1)) for 0.01 < R/Re < 8 (within 4 %; 3.5 % of the light, far out, is lost, as surveys do)
# and to exp(-1.678 R/Re) for 0.02 < R/Re < 5 (within 3 %).
DE_VAUCOULEURS = (
    (0.0155, 0.0439, 0.1052, 0.2293, 0.4704, 0.9293, 1.8239, 4.0338),
    (0.0075, 0.0269, 0.0665, 0.1245, 0.1829, 0.2140, 0.2055, 0.1722),
)
EXPONENTIAL = ((0.1316, 0.3295, 0.6279, 1.0461, 1.6410), (0.0098, 0.0863, 0.3023, 0.4335, 0.1681))


def gaussians(
    stage: Stage, profile: tuple[tuple[float, ...], tuple[float, ...]], *, radius: F64, axis_ratio: F64, pa_deg: F64
) -> F32:
    """Paint an elliptical galaxy or bulge of total flux 1 at the object's place, (N, P, P).

    Parameters
    ----------
    stage : Stage
    profile : tuple
        Widths in half-light radii and their shares of the light.
    radius, axis_ratio, pa_deg : (N,)
        Half-light radius along the major axis in pixels, minor over major axis, position angle of the major axis.
    """
    along, across = rotated(stage, pa_deg)
    along *= along
    across *= across
    light = np.zeros_like(along)
    for width, share in zip(*profile, strict=True):
        major = (width * radius) ** 2 + PIXEL_SIGMA**2
        minor = (width * radius * axis_ratio) ** 2 + PIXEL_SIGMA**2
        exponent = along * column(-0.5 / major)
        exponent += across * column(-0.5 / minor)
        light += column(share / (2 * np.pi * np.sqrt(major * minor))) * np.exp(exponent, out=exponent)
    return light


def round_gaussians(stage: Stage, *, dx: F64, dy: F64, width: F64, flux: F64) -> F32:
    """Paint K round Gaussians a row, (N, P, P); the pixel's own blur is added to their widths.

    Parameters
    ----------
    stage : Stage
    dx, dy, width, flux : (N, K)
        Place relative to the row's object and sigma, pixels; total flux of each.
    """
    variance = np.square(width) + PIXEL_SIGMA**2
    scale = (-0.5 / variance).astype(np.float32)[:, :, None]
    in_x = np.exp(scale * np.square(stage.dx - dx.astype(np.float32)[:, :, None]))  # (N, K, P)
    in_y = np.exp(scale * np.square(stage.dy[:, None, :, 0] - dy.astype(np.float32)[:, :, None]))  # (N, K, P)
    in_x *= (flux / (2 * np.pi * variance)).astype(np.float32)[:, :, None]
    return np.asarray(np.matmul(in_y.swapaxes(1, 2), in_x), np.float32)  # (N, P, P)


def arms(radius: F32, azimuth: F32, *, n_arms: F64, pitch_deg: F64, winding: F64, start: F64, sharpness: float) -> F32:
    """Paint logarithmic spiral arms, 1 on their ridges, (N, P, P).

    The ridge of the first arm lies at azimuth ``winding * ln(R) / tan(pitch) + start``; across it the light falls as
    ``exp(sharpness * (cos(phase) - 1))``.

    Parameters
    ----------
    radius, azimuth : (N, P, P)
        In the plane of the disc, radius in units in which ``start`` is the azimuth of an arm at 1; radians.
    n_arms, pitch_deg, winding, start : (N,)
        Number; angle between arm and circle; +1 when an arm's position angle grows outwards, else -1; radians.
    sharpness : float
        Larger is narrower.
    """
    phase = azimuth - column(winding / np.tan(np.deg2rad(pitch_deg))) * np.log(radius)
    phase -= column(start)
    phase *= column(n_arms)
    phase = np.cos(phase)
    phase -= 1
    phase *= sharpness
    return np.asarray(np.exp(phase), np.float32)


def fast_side(n: int) -> int:
    """Round up to an even number with no prime factor above 5, which the FFT does fast."""
    n += n % 2
    while not _is_smooth(n):
        n += 2
    return n


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def field(stage: Stage, slope: F64) -> F32:
    """Draw Gaussian random fields with power spectrum ``k**-slope`` in two dimensions, (N, P, P).

    Cut from a field 1.5 times as wide, so that opposite edges do not match and structure larger than the canvas
    remains; then scaled to mean 0 and standard deviation 1 on the canvas.
    """
    wide = fast_side(stage.side * 3 // 2)
    k = np.hypot(np.fft.fftfreq(wide)[:, None], np.fft.rfftfreq(wide))
    k[0, 0] = 1.0
    transform = np.fft.rfft2(stage.white((wide, wide)))
    transform *= np.exp(column(-slope / 2) * np.log(k).astype(np.float32))
    transform[:, 0, 0] = 0.0
    cut = np.fft.irfft2(transform, s=(wide, wide))[:, : stage.side, : stage.side]
    cut = cut - cut.mean(axis=(1, 2), keepdims=True)
    return np.asarray(cut / cut.std(axis=(1, 2), keepdims=True), np.float32)
