"""Radii read off a curve of growth: Petrosian radii, and those that hold a fraction of the light."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from morphospace.science.morphometry.apertures import Ellipses, area, sums_within

__all__ = ["Petrosian", "growth_radii", "petrosian_radius"]

ETA = 0.2  # of the surface brightness within, that at the Petrosian radius; Lotz+ 2004, eq. 4
RING = 1.0  # width of the rings in which that is measured, pixels
_SEEN = 0.25  # of the ring at the radius, the least that must be valid pixels of the stamp
_GRID = 100  # radii among which the first below eta is looked for
_AT_ONCE = 10  # of them are measured at a time; most images need no more than a few tens
_STEPS = 6  # of the root finder; regula falsi halves the interval at least every second one
_GROWTH = 33  # radii at which the curve of growth is sampled before its crossings are refined

Curve = Callable[[Tensor, Tensor], Tensor]


class Petrosian(NamedTuple):
    """Petrosian radii (B,), pixels, and where they mean nothing."""

    radius: Tensor
    outside: Tensor  # bool: the brightness falls that far only beyond the image, or within the first pixel


def petrosian_radius(running: Tensor, shape: Ellipses, largest: Tensor) -> Petrosian:
    """Find the smallest radius at which the brightness in a ring is 0.2 of the mean brightness within.

    Parameters
    ----------
    running : Tensor, (B, 2, H, W + 1)
        `running_sums` of the images, 0 where masked, and of their valid pixels as 1.
    shape : Ellipses
    largest : Tensor, (B,)
        Radius at which the search ends.

    Returns
    -------
    Petrosian
        Semi-major axes; the bounds of the search where nothing was found between.

    Notes
    -----
    Petrosian 1976; Lotz+ 2004, eq. 4, with eta = 0.2, in circles or ellipses. Rings are 1 pixel wide and means are over
    valid pixels; the first crossing of 100 radii from 1 to `largest` is refined: conventions of statmorph
    (Rodriguez-Gomez+ 2019, sect. 4.1).
    """
    steps = torch.linspace(0, 1, _GRID, dtype=largest.dtype, device=largest.device)
    grid = RING + (largest - RING)[:, None] * steps
    first = torch.full((len(largest),), _GRID, dtype=torch.long, device=largest.device)
    values = torch.full_like(grid, torch.nan)
    rows = torch.arange(len(largest), device=largest.device)
    for start in range(0, _GRID, _AT_ONCE):
        radii = grid[rows, start : start + _AT_ONCE]
        value = _excess(running, Ellipses(*(v[rows] for v in shape)), radii, rows)
        values[rows, start : start + _AT_ONCE] = value
        below = value <= 0
        found = below.any(1)
        first[rows[found]] = start + below[found].int().argmax(1)
        rows = rows[~found]
        if not len(rows):
            break
    inside = (first > 0) & (first < _GRID)
    last = first.clamp(1, _GRID - 1)[:, None]
    bracket = [torch.gather(t, 1, last + i)[:, 0] for t in (grid, values) for i in (-1, 0)]
    radius = torch.where(first == 0, torch.full_like(largest, RING), largest)
    if inside.any():
        some = torch.nonzero(inside)[:, 0]
        family = Ellipses(*(v[some] for v in shape))
        radius[some] = _crossing(
            lambda r: _excess(running, family, r[:, None], some)[:, 0], *(v[some] for v in bracket)
        )
    edges = torch.stack([radius - RING / 2, radius + RING / 2], 1)
    seen = sums_within(running, shape, edges)[:, 1].diff(dim=1)[:, 0]
    ring = area(shape, edges).diff(dim=1)[:, 0]
    return Petrosian(radius, ~inside | (seen < _SEEN * ring))


def _excess(running: Tensor, shape: Ellipses, radius: Tensor, images: Tensor) -> Tensor:
    """Brightness in the ring over mean brightness within, less eta; (B, R)."""
    n = radius.shape[1]
    edges = torch.cat([radius - RING / 2, radius, radius + RING / 2], 1)
    flux, pixels = sums_within(running, shape, edges, images).unbind(1)
    ring, n_ring = (v[:, 2 * n :] - v[:, :n] for v in (flux, pixels))
    within, n_within = flux[:, n : 2 * n], pixels[:, n : 2 * n]
    few = 1e-3  # of a pixel: less is rounding
    level = torch.where(n_ring > few, ring / n_ring, 0.0).abs()
    mean = torch.where(n_within > few, within / n_within, 0.0).abs()
    return torch.where(mean > 0, level / mean, (level != 0).to(level.dtype)) - ETA


def _crossing(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, f_low: Tensor, f_high: Tensor) -> Tensor:
    """Find roots between low and high, where the function has values of opposite sign: regula falsi, Illinois rule."""
    for _ in range(_STEPS):
        slope = f_high - f_low
        new = torch.where(slope != 0, high - f_high * (high - low) / slope, (low + high) / 2)
        f_new = function(new)
        crossed = torch.sign(f_new) != torch.sign(f_high)
        low = torch.where(crossed, high, low)
        f_low = torch.where(crossed, f_high, f_low / 2)
        high, f_high = new, f_new
    return high


def growth_radii(running: Tensor, shape: Ellipses, total_radius: Tensor, fractions: tuple[float, ...]) -> Tensor:
    """Find the radii that hold fractions of the light within a larger one.

    Parameters
    ----------
    running : Tensor, (B, P, H, W + 1)
        `running_sums`; the first plane is the image.
    shape : Ellipses
    total_radius : Tensor, (B,)
        Semi-major axis within which the light is the total.
    fractions : tuple of float
        In (0, 1).

    Returns
    -------
    Tensor, (B, F)
        The smallest such semi-major axis, pixels; NaN where the total is not positive.
    """
    image = running[:, :1].contiguous()
    steps = torch.linspace(0, 1, _GROWTH, dtype=total_radius.dtype, device=total_radius.device)
    grid = total_radius[:, None] * steps
    light = sums_within(image, shape, grid)[:, 0].abs()
    total = sums_within(image, shape, total_radius[:, None])[:, 0]
    found = []
    for fraction in fractions:
        values = light / total - fraction
        last = (values > 0).int().argmax(1)[:, None].clamp(min=1)
        ends = [torch.gather(t, 1, last + i)[:, 0] for t in (grid, values) for i in (-1, 0)]
        target = fraction * total

        def excess(radius: Tensor, target: Tensor = target) -> Tensor:
            return (sums_within(image, shape, radius[:, None])[:, 0].abs() - target)[:, 0] / total[:, 0]

        found.append(_crossing(excess, *ends))
    return torch.where(total > 0, torch.stack(found, 1), torch.nan)
