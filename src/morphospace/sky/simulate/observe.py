"""From light to an image: bands, beam, noise and background."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.simulate.profiles import PIXEL_SIGMA
from morphospace.sky.simulate.stage import F32, F64, Layer, Stage, column

__all__ = ["FWHM", "Beam", "crop", "expose", "noise_field"]

FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in sigma


class Beam(NamedTuple):
    """Elliptical Gaussians: full widths at half maximum in pixels, position angle in degrees, (N,)."""

    major: F64
    minor: F64
    pa_deg: F64


def expose(layers: list[Layer], beam: Beam, *, bands: int) -> NDArray[np.float32]:
    """Sum the layers in each band and convolve with the beam, (N, bands, P, P).

    A Gaussian of total 1, so fluxes are kept. The canvas wraps around: its margin keeps that out of the image.
    """
    n, side = len(beam.major), layers[0].light.shape[-1]
    place = np.linspace(-0.5, 0.5, bands) if bands > 1 else np.zeros(1)  # first band: bluest
    total = np.zeros((n, bands, side, side // 2 + 1), np.complex64)
    for soft in {layer.soft for layer in layers}:
        light = np.zeros((n, bands, side, side), np.float32)
        for layer in layers:
            if layer.soft == soft:
                weight = (10.0 ** (0.4 * layer.color[:, None] * place)).astype(np.float32)  # (N, bands)
                light += weight[:, :, None, None] * layer.light[:, None]
        total += np.fft.rfft2(light) * _transform(beam, side, less=PIXEL_SIGMA if soft else 0.0)[:, None]
    return np.asarray(np.fft.irfft2(total, s=(side, side)), np.float32)


def noise_field(stage: Stage, beam: Beam, *, bands: int, correlated: NDArray[np.bool_]) -> F32:
    """Draw noise of standard deviation 1, independent in the bands, (N, bands, P, P).

    Where ``correlated``, it is white noise seen through the beam, as in interferometer maps.
    """
    noise = stage.white((bands, stage.side, stage.side))
    rows = np.flatnonzero(correlated)
    if len(rows):
        blur = _transform(Beam(*(values[rows] for values in beam)), stage.side, less=0.0)
        weight = np.full(blur.shape[-1], 2.0)  # the half that rfft2 leaves out
        weight[[0, -1]] = 1.0
        power = (np.square(blur, dtype=np.float64) * weight).sum(axis=(1, 2)) / stage.side**2
        blur /= column(np.sqrt(power))
        noise[rows] = np.fft.irfft2(np.fft.rfft2(noise[rows]) * blur[:, None], s=noise.shape[-2:])
    return noise


def crop(canvas: F32, size: F64, *, largest: int) -> F32:
    """Cut each row's image from the middle of its canvas into the corner (0, 0) of a ``largest`` one; 0 around it."""
    side = canvas.shape[-1]
    out = np.zeros((*canvas.shape[:2], largest, largest), np.float32)
    for row, own in enumerate(size.astype(int)):
        first = (side - own) // 2
        out[row, :, :own, :own] = canvas[row, :, first : first + own, first : first + own]
    return out


def _transform(beam: Beam, side: int, *, less: float) -> F32:
    """Fourier transform of each beam, after ``less`` (sigma, pixels) is taken out in quadrature, (N, P, P // 2 + 1)."""
    major, minor = (np.square(width / FWHM) - less**2 for width in (beam.major, beam.minor))
    sin, cos = np.sin(np.deg2rad(beam.pa_deg)), np.cos(np.deg2rad(beam.pa_deg))
    xx = major * sin**2 + minor * cos**2
    yy = major * cos**2 + minor * sin**2
    xy = (minor - major) * sin * cos
    kx = np.fft.rfftfreq(side).astype(np.float32)[None, None, :]
    ky = np.fft.fftfreq(side).astype(np.float32)[None, :, None]
    exponent = column(xx) * kx * kx + column(yy) * ky * ky + 2 * column(xy) * kx * ky
    return np.asarray(np.exp(np.float32(-2 * np.pi**2) * exponent), np.float32)
