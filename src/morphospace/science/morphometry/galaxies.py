"""The non-parametric measures of galaxies, in the order in which each needs the ones before."""

from __future__ import annotations

import torch
from torch import Tensor

from morphospace.science.morphometry.apertures import Ellipses, area, circles, running_sums, sums_within
from morphospace.science.morphometry.asymmetry import Centre, Turns, asymmetry_centre
from morphospace.science.morphometry.flags import ShapeFlag
from morphospace.science.morphometry.gini import gini, gini_pixels, m20
from morphospace.science.morphometry.moments import Axes, axes_about, central_moments, raw_moments
from morphospace.science.morphometry.radii import Petrosian, growth_radii, petrosian_radius
from morphospace.science.morphometry.sky import Sky, find_sky
from morphospace.science.morphometry.smoothness import smoothness
from morphospace.science.morphometry.stamps import Stamps

__all__ = ["EXTENT_CAS", "EXTENT_FLUX", "measure_galaxies"]

EXTENT_CAS = 1.5  # Petrosian radii within which concentration, asymmetry and smoothness are measured; Conselice 2003
EXTENT_FLUX = 2.0  # Petrosian radii within which the flux is; SDSS
_HIDDEN = 0.1  # of the circle, from which the source is flagged
_FRACTIONS = (0.2, 0.5, 0.8)
_ORDERS = ((2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


class _Flags:
    """Flags of B sources, set where a condition holds."""

    def __init__(self, n: int, device: torch.device) -> None:
        self.bits = torch.zeros(n, dtype=torch.int32, device=device)

    def set(self, flag: ShapeFlag, where: Tensor) -> None:
        self.bits |= where.to(torch.int32) * int(flag)


def measure_galaxies(stamps: Stamps) -> tuple[dict[str, Tensor], Tensor]:
    """Measure the sources of stamps.

    Returns
    -------
    dict of str to Tensor, (B,)
        By the names of `morphospace.science.morphometry.quantities`; places are in pixels of the whole image.
    Tensor, (B,), int32
        Flags as of `ShapeFlag`.
    """
    flags = _Flags(len(stamps.image), stamps.image.device)
    light = stamps.image * stamps.segment
    raw = raw_moments(light)
    flux = raw[:, 0, 0]
    flags.set(ShapeFlag.NO_FLUX, ~(flux > 0))
    x, y, astray = _centroid(stamps, raw)
    axes = axes_about(raw, x, y)
    sky = find_sky(stamps)
    found = _light(stamps, light, flux) | _moments(raw, x, y, axes) | _background(sky)

    dtype = stamps.image.dtype
    valid = (stamps.inside & ~stamps.masked).to(dtype)
    running = running_sums(torch.stack([stamps.image, valid], 1))
    diagonal = torch.hypot(stamps.height.to(dtype), stamps.width.to(dtype))
    first = petrosian_radius(running, circles(x.to(dtype), y.to(dtype)), diagonal)
    centre = _symmetry(stamps, sky, light, torch.stack([x, y], 1), first.radius)
    about = axes_about(raw, centre.x, centre.y)
    round_, oval = _families(centre, about, dtype)
    petrosian = petrosian_radius(running, round_, diagonal)
    oval_petrosian = petrosian_radius(running, oval, diagonal / oval.ratio)
    found |= _symmetric(centre, about)
    found |= _sizes(running, round_, oval, petrosian, oval_petrosian)
    found["smoothness"] = smoothness(stamps, sky, round_, petrosian.radius, EXTENT_CAS)
    about_centroid = oval._replace(x=x.to(dtype), y=y.to(dtype))
    pixels = gini_pixels(stamps.image, stamps.inside, about_centroid, oval_petrosian.radius)
    found |= _gini(stamps, pixels.pixels, pixels.failed)

    circle = EXTENT_CAS * petrosian.radius[:, None]
    seen = sums_within(running, round_, circle)[:, 1]
    flags.set(ShapeFlag.HIDDEN, (seen < (1 - _HIDDEN) * area(round_, circle))[:, 0])
    flags.set(ShapeFlag.CENTRE_DRIFTED, centre.drifted)
    flags.set(ShapeFlag.CENTRE_LOST, centre.lost | astray)
    flags.set(ShapeFlag.CENTRE_MASKED, _is_masked(stamps, x, y) | _is_masked(stamps, centre.x, centre.y))
    flags.set(ShapeFlag.NO_PETROSIAN, petrosian.outside | oval_petrosian.outside | first.outside)
    flags.set(ShapeFlag.NO_SKY, ~torch.isfinite(sky.sigma))
    flags.set(ShapeFlag.SKY_LEVEL, sky.mean.abs() > sky.sigma)
    flags.set(ShapeFlag.GINI_PARTS, pixels.parts)
    flags.set(ShapeFlag.GINI_FAILED, pixels.failed | ~torch.isfinite(found["gini"] + found["m20"]))
    flags.set(ShapeFlag.NO_GROWTH, ~torch.isfinite(found["concentration"]))
    flags.set(ShapeFlag.NO_NOISE, ~torch.isfinite(found["snr_per_pixel"]))
    for name in ("x_centroid", "x_asymmetry"):
        found[name] = found[name] + stamps.x0
    for name in ("y_centroid", "y_asymmetry"):
        found[name] = found[name] + stamps.y0
    return found, flags.bits


def _centroid(stamps: Stamps, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centroids, and where negative pixels move them out of the stamp, whose middle then stands for them."""
    x, y = raw[:, 1, 0] / raw[:, 0, 0], raw[:, 0, 1] / raw[:, 0, 0]
    within = (x >= 0) & (y >= 0) & (x < stamps.width) & (y < stamps.height)
    return torch.where(within, x, stamps.width / 2), torch.where(within, y, stamps.height / 2), ~within


def _is_masked(stamps: Stamps, x: Tensor, y: Tensor) -> Tensor:
    rows = torch.arange(len(x), device=x.device)
    return stamps.masked[rows, y.long(), x.long()]


def _light(stamps: Stamps, light: Tensor, flux: Tensor) -> dict[str, Tensor]:
    peak = torch.where(stamps.segment, stamps.image, -torch.inf).flatten(1).amax(1)
    return {"peak": torch.where(torch.isfinite(peak), peak, torch.nan), "flux_segment": flux}


def _moments(raw: Tensor, x: Tensor, y: Tensor, axes: Axes) -> dict[str, Tensor]:
    central = central_moments(raw, x, y)
    flux = central[:, 0, 0]
    scaled = {
        # Hu 1962: powers of the flux make them independent of size
        f"moment_{p}{q}": torch.where(flux > 0, central[:, p, q] / flux.clamp(min=0) ** (1 + (p + q) / 2), torch.nan)
        for p, q in _ORDERS
    }
    return {
        "x_centroid": x,
        "y_centroid": y,
        "xx": axes.xx,
        "yy": axes.yy,
        "xy": axes.xy,
        "major": axes.major,
        "minor": axes.minor,
        "ellipticity": 1 - axes.minor / axes.major,
        "elongation": axes.major / axes.minor,
        "pa_deg": _position_angle(axes.angle),
        **scaled,
    }


def _position_angle(angle: Tensor) -> Tensor:
    """Turn an angle from +x, radians, into one from +y, degrees, 0 to 180."""
    return (torch.rad2deg(angle) - 90) % 180


def _background(sky: Sky) -> dict[str, Tensor]:
    return {"sky_mean": sky.mean, "sky_median": sky.median, "sky_sigma": sky.sigma}


def _symmetry(stamps: Stamps, sky: Sky, light: Tensor, centroid: Tensor, petrosian: Tensor) -> Centre:
    turns = Turns(stamps.image, stamps.masked, stamps.inside, torch.nan_to_num(sky.asymmetry, nan=0.0))
    place = light.flatten(1).argmax(1)
    brightest = torch.stack([place % light.shape[2], place // light.shape[2]], 1)
    return asymmetry_centre(turns, centroid, brightest, petrosian, EXTENT_CAS)


def _families(centre: Centre, about: Axes, dtype: torch.dtype) -> tuple[Ellipses, Ellipses]:
    """Circles and ellipses about the centre of symmetry."""
    x, y = centre.x.to(dtype), centre.y.to(dtype)
    # without flux there are no axes; what is measured of a circle then is flagged
    ratio, angle = torch.nan_to_num(about.minor / about.major, nan=1.0), torch.nan_to_num(about.angle)
    return circles(x, y), Ellipses(x, y, ratio.to(dtype), angle.to(dtype))


def _symmetric(centre: Centre, about: Axes) -> dict[str, Tensor]:
    return {
        "x_asymmetry": centre.x,
        "y_asymmetry": centre.y,
        "asymmetry": centre.asymmetry,
        "ellipticity_asymmetry": 1 - about.minor / about.major,
        "elongation_asymmetry": about.major / about.minor,
        "pa_asymmetry_deg": _position_angle(about.angle),
    }


def _sizes(
    running: Tensor, round_: Ellipses, oval: Ellipses, petrosian: Petrosian, oval_petrosian: Petrosian
) -> dict[str, Tensor]:
    image = running[:, :1].contiguous()
    fluxes = {
        name: sums_within(image, shape, EXTENT_FLUX * radius[:, None])[:, 0, 0].abs()
        for name, shape, radius in (
            ("flux_circ", round_, petrosian.radius),
            ("flux_ellip", oval, oval_petrosian.radius),
        )
    }
    r20, r50, r80 = growth_radii(running, round_, EXTENT_CAS * petrosian.radius, _FRACTIONS).unbind(1)
    return {
        "r_petro_circ": petrosian.radius,
        "r_petro_ellip": oval_petrosian.radius,
        **fluxes,
        "r20": r20,
        "r50": r50,
        "r80": r80,
        # Bershady+ 2000, sect. 3.1, with Lotz+ 2004's total: within 1.5 Petrosian radii
        "concentration": 5 * torch.log10(r80 / r20),
    }


def _gini(stamps: Stamps, pixels: Tensor, failed: Tensor) -> dict[str, Tensor]:
    g = torch.where(failed, torch.nan, gini(stamps.image, pixels))
    m = torch.where(failed, torch.nan, m20(stamps.image, pixels))
    bright = pixels & (stamps.image >= 0) & ~stamps.masked & (stamps.noise > 0)
    ratio = torch.where(bright, stamps.image / stamps.noise, 0.0).flatten(1)
    n = bright.flatten(1).sum(1)
    return {
        "gini": g,
        "m20": m,
        # Snyder+ 2015 in the constants of Rodriguez-Gomez+ 2019, sect. 4.3
        "gini_m20_bulge": -0.693 * m + 4.95 * g - 3.96,
        "gini_m20_merger": 0.139 * m + 0.990 * g - 0.327,
        "snr_per_pixel": torch.where(n > 0, ratio.sum(1) / n, torch.nan),
    }
