"""Rings, doubles and spirals without noise, at a wanted size: what is injected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.sky.simulate import simulate

__all__ = ["TEMPLATES", "Template", "half_light_radius", "make_templates"]

_SCAN = 8  # px, the smallest picture: rows are looked through for their factors only
_ROWS = 512
_REFERENCE = 64  # px, at which the size of an object is measured before it is drawn at the wanted one
_LEAST_BEAM = 1.5  # px, of the simulator
_BRIGHT = 1e7  # S/N of the drawings: what noise they have is below the rounding of float32

Factors = Mapping[str, NDArray[Any]]


class Template(NamedTuple):
    """A kind of object: the simulator's name for it, and which of its objects are clear cases."""

    simulated: str
    clear: Callable[[Factors], NDArray[np.bool_]]


def _is_ring(f: Factors) -> NDArray[np.bool_]:
    hollow = (f["cavity_px"] > 0.3 * f["radius_px"]) & (f["inclination_deg"] < 60)
    return np.asarray(hollow & (f["n_arms"] == 0) & (f["crescent_contrast"] == 0))


def _is_double(f: Factors) -> NDArray[np.bool_]:
    return np.asarray((f["fr_class"] == 2) & (f["core_fraction"] < 0.05))


def _is_spiral(f: Factors) -> NDArray[np.bool_]:
    open_arms = (f["arm_fraction"] > 0.35) & (f["bulge_fraction"] < 0.2)
    return np.asarray(open_arms & (f["inclination_deg"] < 55) & (f["n_companions"] == 0))


#: Kinds that can be injected: discs with a cavity, radio doubles with hot spots, spirals that are not edge-on.
TEMPLATES = {
    "ring": Template("disc", _is_ring),
    "double": Template("double", _is_double),
    "spiral": Template("galaxy", _is_spiral),
}


def make_templates(
    kind: str, n: int, *, radius_px: float, beam_px: float, bands: int, seed: int
) -> list[NDArray[np.float32]]:
    """Draw objects of one kind without noise, each about one half-light radius in size.

    Parameters
    ----------
    kind : str
        One of `TEMPLATES`.
    n : int
        Number of objects, all different; the same for every size.
    radius_px : float
        Radius, in pixels and after the beam, of the circle about the centroid that holds half of the light.
    beam_px : float
        Width of the beam at half maximum; at least 1.5 is taken. No object is smaller than the beam.
    bands : int
        From blue to red.
    seed : int

    Returns
    -------
    list of ndarray of float32, each (C, S, S)
        Brightest pixel of all bands 1, object near the middle.

    Raises
    ------
    ConfigError
        If the kind is unknown.
    """
    if kind not in TEMPLATES:
        msg = f"unknown kind of object '{kind}'{nearest(kind, list(TEMPLATES))}"
        raise ConfigError(msg)
    beam = max(beam_px, _LEAST_BEAM)
    name = TEMPLATES[kind].simulated
    return [_drawn(name, row, radius_px, beam, bands, seed) for row in _clear_rows(kind, n, seed)]


def half_light_radius(light: NDArray[np.floating[Any]]) -> float:
    """Measure the radius about the centroid that holds half of the light of a picture without noise, in pixels.

    Parameters
    ----------
    light : ndarray, (H, W)
        Nowhere negative, not all 0.
    """
    y, x = np.indices(light.shape)
    total = light.sum(dtype=np.float64)
    distance = np.hypot(y - (y * light).sum() / total, x - (x * light).sum() / total).ravel()
    order = np.argsort(distance)
    share = np.cumsum(light.ravel()[order], dtype=np.float64) / total
    return float(np.interp(0.5, share, distance[order]))


def _clear_rows(kind: str, n: int, seed: int) -> list[int]:
    template, start = TEMPLATES[kind], 0
    found: list[int] = []
    while len(found) < n:
        sky = simulate(template.simulated, _ROWS, size=_SCAN, seed=seed, start=start)
        found += [start + int(row) for row in np.flatnonzero(template.clear(sky.factors))]
        start += _ROWS
    return found[:n]


def _drawn(name: str, row: int, radius: float, beam: float, bands: int, seed: int) -> NDArray[np.float32]:
    own = half_light_radius(_object(name, row, _REFERENCE, _LEAST_BEAM, bands, seed).mean(axis=0))
    # of a Gaussian beam half the light lies within half its width; sizes add in quadrature
    intrinsic = np.sqrt(max(own**2 - _LEAST_BEAM**2 / 4, 0.25))
    wanted = np.sqrt(max(radius**2 - beam**2 / 4, 0.25))
    light = _object(name, row, max(_SCAN, round(_REFERENCE * wanted / intrinsic)), beam, bands, seed)
    return np.asarray(light / light.max())


def _object(name: str, row: int, side: int, beam: float, bands: int, seed: int) -> NDArray[np.float32]:
    sky = simulate(name, 1, size=side, seed=seed, start=row, bands=bands, snr=_BRIGHT, beam_px=beam)
    return np.asarray(np.clip(sky.images[0], 0, None))
