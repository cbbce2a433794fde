"""Galaxies as an optical survey sees them: spirals with bulge, disc and bar; smooth ellipticals; companions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.simulate.profiles import (
    DE_VAUCOULEURS,
    EXPONENTIAL,
    arms,
    field,
    gaussians,
    round_gaussians,
)
from morphospace.sky.simulate.stage import F32, F64, Draws, Layer, Painting, Stage, column, rotated, unit_sum

__all__ = ["ELLIPTICAL_FACTORS", "SPIRAL_FACTORS", "THICKNESS", "paint_ellipticals", "paint_spirals"]

THICKNESS = 0.15  # axis ratio of a disc seen edge-on
_SOFTENING = 0.4  # px: no cusp or edge finer than a pixel
_MAX_COMPANIONS = 3
_COMPANIONS = (
    "n_companions",
    *(f"companion{k}_{what}" for k in range(1, _MAX_COMPANIONS + 1) for what in ("x", "y", "flux", "radius_px")),
)
ELLIPTICAL_FACTORS = ("axis_ratio", "pa_deg", "color_mag", "radius_px", *_COMPANIONS)
SPIRAL_FACTORS = (
    "inclination_deg", "axis_ratio", "pa_deg", "color_mag", "radius_px", "bulge_fraction", "bulge_radius_px",
    "bar_fraction", "bar_length_px", "bar_azimuth_deg", "n_arms", "pitch_deg", "winding", "arm_azimuth_deg",
    "arm_fraction", "clumpiness", *_COMPANIONS,
)  # fmt: skip


def paint_ellipticals(draws: Draws, stage: Stage) -> Painting:
    """Paint one de Vaucouleurs galaxy a row, flux 1, with its companions; ``radius_px`` is the half-light radius."""
    factors: dict[str, NDArray[Any]] = {
        "axis_ratio": draws.uniform(0.4, 1.0),
        "pa_deg": draws.uniform(0, 180),
        "color_mag": draws.uniform(0.5, 1.1),
        "radius_px": stage.size * draws.log_uniform(0.06, 0.18),
    }
    light = gaussians(
        stage,
        DE_VAUCOULEURS,
        radius=factors["radius_px"],
        axis_ratio=factors["axis_ratio"],
        pa_deg=factors["pa_deg"],
    )
    companions, columns = _paint_companions(draws, stage)
    return Painting([Layer(light, factors["color_mag"], soft=True)], factors | columns, companions)


def paint_spirals(draws: Draws, stage: Stage) -> Painting:
    """Paint one spiral galaxy a row, flux 1, with its companions.

    Bulge (de Vaucouleurs, axis ratio halfway between the disc's and 1), exponential disc of scale length
    ``radius_px``, bar, and logarithmic arms with clumps, all with one position angle of the plane. Shares of the
    light: ``bulge_fraction``; of the rest ``bar_fraction`` and ``arm_fraction``; the smooth disc has what is left.
    The axis ratio q follows from the inclination i: q^2 = cos(i)^2 (1 - q0^2) + q0^2, q0 = `THICKNESS`. Bars and
    arms begin at one radius; the bulge is redder than disc and bar, the arms bluer.
    """
    factors = _draw_spirals(draws, stage.size)
    axis_ratio, pa = factors["axis_ratio"], factors["pa_deg"]
    bulge = gaussians(
        stage,
        DE_VAUCOULEURS,
        radius=factors["bulge_radius_px"],
        axis_ratio=(1 + axis_ratio) / 2,
        pa_deg=pa,
    )
    along, across = rotated(stage, pa)
    r = np.sqrt(along * along + (across * across + np.float32(_SOFTENING**2)) * column(axis_ratio**-2.0))
    r /= column(factors["radius_px"])
    young = _paint_arms(stage, r, np.arctan2(across, along * column(axis_ratio)), factors)
    rest = 1 - factors["bulge_fraction"]
    smooth = rest * (1 - factors["bar_fraction"] - factors["arm_fraction"])
    old = column(factors["bulge_fraction"]) * bulge
    color = factors["color_mag"]
    disc = column(smooth) * unit_sum(np.exp(-r))
    layers = [Layer(old, color + 0.5, soft=True), Layer(disc, color, soft=False)]
    layers.append(Layer(column(rest * factors["arm_fraction"]) * young, color - 0.6, soft=False))
    rows = np.flatnonzero(factors["bar_fraction"] > 0)
    if len(rows):
        bar = _paint_bars(along[rows], across[rows], {name: values[rows] for name, values in factors.items()})
        disc[rows] += column((rest * factors["bar_fraction"])[rows]) * bar
    companions, columns = _paint_companions(draws, stage)
    return Painting(layers, factors | columns, companions)


def _draw_spirals(draws: Draws, size: F64) -> dict[str, NDArray[Any]]:
    cos_i = draws.uniform(0.0, 1.0)
    radius = size * draws.log_uniform(0.06, 0.14)
    barred = draws.happens(0.4)
    bar_length = radius * draws.uniform(0.8, 1.6)
    bar_azimuth = draws.uniform(0, 180)
    arm_azimuth = draws.uniform(0, 360)
    return {
        "inclination_deg": np.rad2deg(np.arccos(cos_i)),
        "axis_ratio": np.sqrt(cos_i**2 * (1 - THICKNESS**2) + THICKNESS**2),
        "pa_deg": draws.uniform(0, 180),
        "color_mag": draws.uniform(-0.1, 0.5),
        "radius_px": radius,
        "bulge_fraction": draws.log_uniform(0.02, 0.5),
        "bulge_radius_px": radius * draws.uniform(0.25, 0.6),
        "bar_fraction": np.where(barred, draws.uniform(0.05, 0.25), 0.0),
        "bar_length_px": np.where(barred, bar_length, np.nan),
        "bar_azimuth_deg": np.where(barred, bar_azimuth, np.nan),
        "n_arms": np.array([2.0, 2.0, 2.0, 3.0, 4.0])[draws.integers(0, 4)],
        "pitch_deg": draws.uniform(10, 30),
        "winding": draws.sign(),
        "arm_azimuth_deg": np.where(barred, bar_azimuth, arm_azimuth),
        "arm_fraction": draws.uniform(0.15, 0.6),
        "clumpiness": draws.uniform(0.1, 0.7),
    }


def _paint_arms(stage: Stage, r: F32, azimuth: F32, factors: dict[str, NDArray[Any]]) -> F32:
    """Paint arms of total flux 1, that begin at the bar's end or at 0.7 scale lengths; r in scale lengths."""
    begin = column(np.nan_to_num(factors["bar_length_px"] / factors["radius_px"], nan=0.7))
    light = arms(
        r / begin,
        azimuth,
        n_arms=factors["n_arms"],
        pitch_deg=factors["pitch_deg"],
        winding=factors["winding"],
        start=np.deg2rad(factors["arm_azimuth_deg"]),
        sharpness=2.5,
    )
    inside = np.square(r / begin) ** 2
    light *= np.exp(-r) * inside / (1 + inside)
    light *= np.exp(column(factors["clumpiness"]) * field(stage, np.full(len(r), 2.0)))
    return unit_sum(light)


def _paint_bars(along: F32, across: F32, factors: dict[str, NDArray[Any]]) -> F32:
    """Paint flat-topped bars of total flux 1 and axis ratio 0.3 in the plane of the disc; coordinates on the sky."""
    angle, q = np.deg2rad(factors["bar_azimuth_deg"]), factors["axis_ratio"]
    cos, sin, long = np.cos(angle), np.sin(angle), factors["bar_length_px"]
    wide = 0.3 * long
    # the bar's ellipse as a matrix, foreshortened by q, at least a pixel wide; then inverted
    aa = (long * cos) ** 2 + (wide * sin) ** 2 + _SOFTENING**2
    bb = ((long * sin) ** 2 + (wide * cos) ** 2) * q**2 + _SOFTENING**2
    ab = (long**2 - wide**2) * sin * cos * q
    determinant = aa * bb - ab**2
    r_squared = column(bb / determinant) * along * along + column(aa / determinant) * across * across
    r_squared -= column(2 * ab / determinant) * along * across
    r_squared = np.maximum(r_squared, 0)
    return unit_sum(np.exp(-r_squared * np.sqrt(r_squared)))


def _paint_companions(draws: Draws, stage: Stage) -> tuple[list[Layer], dict[str, NDArray[Any]]]:
    """Paint up to three neighbours a row: stars (radius 0) and small round exponential galaxies.

    Fluxes are ratios to the galaxy's; places are pixel coordinates of the image.
    """
    n = np.maximum(draws.integers(-1, _MAX_COMPANIONS), 0)  # none in 2 of 5 images
    layers = []
    columns: dict[str, NDArray[Any]] = {"n_companions": n.astype(np.float64)}
    for k in range(1, _MAX_COMPANIONS + 1):
        distance = stage.size * draws.uniform(0.12, 0.48)
        angle = draws.uniform(0, 2 * np.pi)
        there = n >= k
        flux = draws.log_uniform(0.02, 0.7)
        radius = np.where(draws.happens(0.4), 0.0, stage.size * draws.uniform(0.01, 0.03))
        dx, dy = distance * np.cos(angle), distance * np.sin(angle)
        color = draws.uniform(-1.0, 1.4)
        widths = radius[:, None] * np.array(EXPONENTIAL[0])
        light = round_gaussians(
            stage,
            dx=np.repeat(dx[:, None], widths.shape[1], 1),
            dy=np.repeat(dy[:, None], widths.shape[1], 1),
            width=widths,
            flux=np.where(there, flux, 0.0)[:, None] * np.array(EXPONENTIAL[1]),
        )
        layers.append(Layer(light, color, soft=True))
        values = {"x": stage.x + dx, "y": stage.y + dy, "flux": flux, "radius_px": radius}
        columns |= {f"companion{k}_{name}": np.where(there, value, np.nan) for name, value in values.items()}
    return layers, columns
