"""Protoplanetary discs as ALMA sees them: cavities, gaps, rings, spirals and crescents in an inclined thin disc."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.simulate.profiles import arms
from morphospace.sky.simulate.stage import F32, F64, Draws, Layer, Painting, Stage, column, rotated

__all__ = ["FACTORS", "paint_discs"]

_ZONES = (1, 2, 3)  # inner, middle, outer: each may hold one gap with a ring at its outer edge
FACTORS = (
    "inclination_deg", "pa_deg", "color_mag", "radius_px", "profile_slope", "cavity_px", "n_rings", "ring_width_px",
    *(f"{what}{zone}_{unit}" for zone in _ZONES
      for what, unit in (("gap", "px"), ("gap", "depth"), ("ring", "px"), ("ring", "contrast"))),
    "n_arms", "pitch_deg", "winding", "arm_azimuth_deg", "arm_contrast",
    "crescent_contrast", "crescent_px", "crescent_azimuth_deg",
)  # fmt: skip


def paint_discs(draws: Draws, stage: Stage) -> Painting:
    """Paint one disc a row.

    The brightness at radius R and azimuth phi of the disc's plane is
    ``(R/Rc + 0.08)**-slope * exp(-(R/Rc)**3)``, times a cut inside the cavity, times ``1 - depth * G(R - gap)`` and
    ``1 + contrast * G(R - ring)`` for each gap and ring (G a Gaussian of peak 1 and sigma ``ring_width_px``), times
    1 + contrast for arms and crescent. Thin: the axis ratio is cos(inclination).
    """
    pa = draws.uniform(0, 180)
    cos_i = draws.uniform(0.26, 1.0)
    radius = stage.size * draws.uniform(0.16, 0.34)
    factors: dict[str, NDArray[Any]] = {
        "inclination_deg": np.rad2deg(np.arccos(cos_i)),
        "pa_deg": pa,
        "color_mag": draws.uniform(0.5, 1.5),
        "radius_px": radius,
        "profile_slope": draws.uniform(0.3, 1.1),
        "cavity_px": np.where(draws.happens(0.25), radius * draws.uniform(0.2, 0.45), 0.0),
    }
    factors |= _draw_rings(draws, radius, factors["cavity_px"])
    factors |= _draw_asymmetry(draws, radius, factors["cavity_px"])

    along, across = rotated(stage, pa)
    across /= column(cos_i)
    r = np.sqrt(along * along + across * across + np.float32(0.09))  # 0.3 px: no cusp inside the central pixel
    light = _radial(r, factors)
    asymmetric = np.isfinite(factors["pitch_deg"]) | (factors["crescent_contrast"] > 0)
    rows = np.flatnonzero(asymmetric)  # the costly azimuth only where something depends on it
    if len(rows):
        azimuth = np.arctan2(across[rows], along[rows])
        light[rows] *= _azimuthal(r[rows], azimuth, {name: values[rows] for name, values in factors.items()})
    return Painting([Layer(light, factors["color_mag"], soft=False)], factors, [])


def _draw_rings(draws: Draws, radius: F64, cavity: F64) -> dict[str, F64]:
    wanted = draws.integers(0, 3)
    order = np.argsort(draws.columns(len(_ZONES)), axis=1)
    factors: dict[str, F64] = {"ring_width_px": radius * draws.uniform(0.03, 0.06)}
    n_rings = np.zeros(len(draws))
    for zone in _ZONES:
        gap = radius * (0.25 * zone + draws.uniform(0.0, 0.09))
        there = (order[:, zone - 1] < wanted) & (gap > 1.35 * cavity)
        ring = gap + radius * draws.uniform(0.09, 0.12)
        columns = {
            f"gap{zone}_px": gap,
            f"gap{zone}_depth": draws.uniform(0.5, 1.0),
            f"ring{zone}_px": ring,
            f"ring{zone}_contrast": draws.uniform(0.5, 3.0),
        }
        factors |= {name: np.where(there, values, np.nan) for name, values in columns.items()}
        n_rings += there
    return {"n_rings": n_rings, **factors}


def _draw_asymmetry(draws: Draws, radius: F64, cavity: F64) -> dict[str, F64]:
    spiral = draws.happens(0.3)
    crescent = draws.happens(0.2)
    arm_columns = {
        "pitch_deg": draws.uniform(10, 28),
        "winding": draws.sign(),
        "arm_azimuth_deg": draws.uniform(0, 360),
        "arm_contrast": draws.log_uniform(0.8, 3.0),
    }
    crescent_columns = {
        "crescent_px": np.where(cavity > 0, 1.25 * cavity, radius * draws.uniform(0.4, 0.8)),
        "crescent_azimuth_deg": draws.uniform(0, 360),
    }
    return {
        "n_arms": np.where(spiral, draws.integers(1, 2), 0.0),
        **{name: np.where(spiral, values, np.nan) for name, values in arm_columns.items()},
        "crescent_contrast": np.where(crescent, draws.log_uniform(2, 8), 0.0),
        **{name: np.where(crescent, values, np.nan) for name, values in crescent_columns.items()},
    }


def _radial(r: F32, factors: dict[str, NDArray[Any]]) -> F32:
    in_radii = r / column(factors["radius_px"])
    light: F32 = np.exp(column(-factors["profile_slope"]) * np.log(in_radii + np.float32(0.08)) - in_radii**3)
    cavity = factors["cavity_px"]
    light /= 1 + np.square(np.square(column(cavity) / r)) ** 2  # the 8th power: a clean edge
    width = factors["ring_width_px"]
    for zone in _ZONES:
        rows = np.flatnonzero(np.isfinite(factors[f"ring{zone}_px"]))
        for what, strength in (("gap", -factors[f"gap{zone}_depth"]), ("ring", factors[f"ring{zone}_contrast"])):
            distance = (r[rows] - column(factors[f"{what}{zone}_px"][rows])) / column(width[rows])
            light[rows] *= 1 + column(strength[rows]) * np.exp(-0.5 * distance * distance)
    return light


def _azimuthal(r: F32, azimuth: F32, factors: dict[str, NDArray[Any]]) -> F32:
    spiral = arms(
        r / column(factors["radius_px"]),
        azimuth,
        n_arms=factors["n_arms"],
        pitch_deg=np.nan_to_num(factors["pitch_deg"], nan=45.0),
        winding=np.nan_to_num(factors["winding"]),
        start=np.deg2rad(np.nan_to_num(factors["arm_azimuth_deg"])),
        sharpness=2.0,
    )
    light = 1 + column(np.nan_to_num(factors["arm_contrast"])) * spiral
    place = np.nan_to_num(factors["crescent_px"], nan=1.0)
    distance = (r - column(place)) / column(0.09 * factors["radius_px"])
    off = azimuth - column(np.deg2rad(np.nan_to_num(factors["crescent_azimuth_deg"])))
    banana = np.exp(2.5 * (np.cos(off) - 1) - 0.5 * distance * distance)  # about 100 degrees wide at half its height
    return np.asarray(light * (1 + column(factors["crescent_contrast"]) * banana), np.float32)
