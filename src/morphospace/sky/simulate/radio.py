"""Radio galaxies as FIRST sees them: FRI with plumes that fade outwards, FRII with hot spots at the ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.simulate.profiles import round_gaussians
from morphospace.sky.simulate.stage import F64, Draws, Layer, Painting, Stage

__all__ = ["FACTORS", "paint_doubles"]

FACTORS = (
    "fr_class", "pa_deg", "color_mag", "length_px", "arm_ratio", "flux_ratio", "bend_deg", "twist_deg",
    "core_fraction", "hot_spot_fraction",
)  # fmt: skip
_KNOTS = 24  # round Gaussians in each arm


def paint_doubles(draws: Draws, stage: Stage) -> Painting:
    """Paint one radio double a row, flux 1, as chains of round Gaussians along two arms.

    Arm 1 leaves the core at ``pa_deg``, arm 2 opposite. ``length_px`` is the length of both arms together along
    their course, ``arm_ratio`` and ``flux_ratio`` are arm 2 over arm 1. On its way from core to tip each arm turns:
    both towards the same side by ``bend_deg`` (a wide-angle tail; towards growing position angle of arm 1 when
    positive), and both in the same sense by ``twist_deg`` (an S). Of each FRII arm's light ``hot_spot_fraction``
    is in a hot spot at the tip.
    """
    factors = _draw_doubles(draws, stage.size)
    second = factors["is_frii"]
    arms = [_draw_arm(draws, factors, sign) for sign in (1.0, -1.0)]
    share = 1 / (1 + factors["flux_ratio"])
    flux = [(1 - factors["core_fraction"]) * part for part in (share, 1 - share)]
    places = [np.concatenate([arm[name] for arm in arms], axis=1) for name in ("dx", "dy", "width")]
    weights = np.concatenate([f[:, None] * arm["weight"] for f, arm in zip(flux, arms, strict=True)], axis=1)
    lobes = round_gaussians(stage, dx=places[0], dy=places[1], width=places[2], flux=weights)
    nowhere = np.zeros((len(second), 1))
    core = round_gaussians(stage, dx=nowhere, dy=nowhere, width=nowhere, flux=factors["core_fraction"][:, None])
    color = factors["color_mag"]
    layers = [Layer(lobes, color, soft=True), Layer(core, color - 0.8, soft=True)]  # the core's spectrum is flat
    return Painting(layers, {name: factors[name] for name in FACTORS}, [])


def _draw_doubles(draws: Draws, size: F64) -> dict[str, NDArray[Any]]:
    second = draws.happens(0.5)
    strength = draws.columns(1)[:, 0] ** 2 * draws.sign()  # most are nearly straight
    return {
        "is_frii": second,
        "fr_class": np.where(second, 2.0, 1.0),
        "pa_deg": draws.uniform(0, 180),
        "color_mag": draws.uniform(0.6, 1.4),
        "length_px": size * draws.log_uniform(0.18, 0.8),
        "arm_ratio": draws.log_uniform(np.where(second, 0.75, 0.6), np.where(second, 1.33, 1.67)),
        "flux_ratio": draws.log_uniform(0.4, 2.5),
        "bend_deg": strength * np.where(second, 15.0, 75.0),
        "twist_deg": draws.uniform(-1, 1) ** 3 * np.where(second, 15.0, 45.0),
        "core_fraction": np.where(second, draws.log_uniform(0.002, 0.1), draws.log_uniform(0.02, 0.35)),
        "hot_spot_fraction": np.where(second, draws.uniform(0.25, 0.65), np.nan),
        "peak_place": draws.uniform(0.08, 0.3),
        "lobe_begin": draws.uniform(0.2, 0.7),
        "lobe_width": np.where(second, draws.uniform(0.05, 0.15), draws.uniform(0.08, 0.2)),
    }


def _draw_arm(draws: Draws, factors: dict[str, NDArray[Any]], sign: float) -> dict[str, F64]:
    """Lay the Gaussians of one arm, (N, 25) each: knots from core to tip, then the hot spot; weights sum to 1."""
    second = factors["is_frii"][:, None]
    first_length = factors["length_px"] / (1 + factors["arm_ratio"])
    length = (first_length * (factors["arm_ratio"] if sign < 0 else 1.0))[:, None]
    t = (np.arange(_KNOTS) + 0.5) / _KNOTS
    turn = (sign * factors["bend_deg"] + factors["twist_deg"])[:, None] * np.sqrt(t)
    angle = np.deg2rad(factors["pa_deg"][:, None] + turn + _wiggle(draws, t) * np.where(second, 3.0, 8.0))
    step = sign * length / _KNOTS
    dx, dy = np.cumsum(-step * np.sin(angle), axis=1), np.cumsum(step * np.cos(angle), axis=1)
    fading = t / factors["peak_place"][:, None] * np.exp(1 - t / factors["peak_place"][:, None])
    begin = factors["lobe_begin"][:, None]
    rising = 0.03 + np.clip((t - begin) / (1 - begin), 0, None) ** 1.3
    weight = np.where(second, rising, fading) * np.exp(0.35 * _wiggle(draws, 3 * t))
    spot = np.nan_to_num(factors["hot_spot_fraction"])[:, None]
    weight *= (1 - spot) / weight.sum(axis=1, keepdims=True)
    width = factors["lobe_width"][:, None] * length * np.where(second, 0.9 - 0.5 * t**4, 0.1 + t)
    return {
        "dx": np.concatenate([dx, dx[:, -1:]], axis=1),
        "dy": np.concatenate([dy, dy[:, -1:]], axis=1),
        "width": np.concatenate([width, 0.02 * length], axis=1),
        "weight": np.concatenate([weight, spot], axis=1),
    }


def _wiggle(draws: Draws, t: F64) -> F64:
    """Draw a smooth random function of t, (N, len(t)), of amplitude about 1."""
    phase = 2 * np.pi * draws.columns(2)
    return np.asarray(np.sin(5 * t + phase[:, :1]) + 0.6 * np.sin(11 * t + phase[:, 1:]))
