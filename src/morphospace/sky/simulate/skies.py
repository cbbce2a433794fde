"""simulate: skies of any length whose every factor is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError
from morphospace.sky.simulate import clouds, discs, galaxies, radio
from morphospace.sky.simulate.observe import Beam, crop, expose, noise_field
from morphospace.sky.simulate.profiles import fast_side
from morphospace.sky.simulate.stage import F32, F64, Draws, Painting, Stage, column

__all__ = ["KINDS", "Kind", "Sky", "simulate"]

_CHUNK = 64  # rows at a time: their canvases stay in the processor's cache
_COMMON, _OWN = 16, 112  # uniform numbers of a row: for what all kinds share, for the painter
_MIN_BEAM_PX = 1.5  # sampled finer, a Gaussian would lose flux between the pixels
_GOLDEN = (0.7548776662466927, 0.5698402909980532)  # steps that spread points evenly over a square


class Kind(NamedTuple):
    """One kind of object: its painter, the columns the painter gives, and the unit of its images."""

    paint: Callable[[Draws, Stage], Painting]
    factors: tuple[str, ...]
    unit: str


KINDS: dict[str, Kind] = {
    "disc": Kind(discs.paint_discs, discs.FACTORS, "Jy/beam"),
    "galaxy": Kind(galaxies.paint_spirals, galaxies.SPIRAL_FACTORS, "adu"),
    "elliptical": Kind(galaxies.paint_ellipticals, galaxies.ELLIPTICAL_FACTORS, "adu"),
    "double": Kind(radio.paint_doubles, radio.FACTORS, "Jy/beam"),
    "cloud": Kind(clouds.paint_clouds, clouds.FACTORS, "K"),
}


@dataclass(frozen=True)
class Sky:
    """Simulated images and everything that is known about them.

    Attributes
    ----------
    images : (N, C, H, W) float32
        First band bluest. With mixed sizes, the largest side; what lies beyond a smaller image is NaN.
    sigma : (N,) float32
        Standard deviation of the noise, the same in all bands.
    factors : dict of (N,) arrays
        One column per known factor, NaN where a factor does not apply to the kind: the columns are the same for every
        sky. Among them ``id``, ``kind``, ``noise`` (str), ``size``, ``center_x``, ``center_y`` (the object's
        place, pixels), ``ra``, ``dec`` (made up, all different), ``snr``, ``sigma``, ``peak`` and ``flux`` (of the
        object, noise-free, within the image; flux as mean of the bands), the beam, the background (level at the
        middle, slopes per pixel), and those that the painters describe.
    """

    images: F32
    sigma: F32
    factors: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def ids(self) -> list[str]:
        """Identifiers, ``sim-SEED-ROW``."""
        return [str(name) for name in self.factors["id"]]

    def image(self, row: int) -> F32:
        """Take the image of one row at its own size, (C, h, h), a view."""
        own = int(self.factors["size"][row])
        return self.images[row, :, :own, :own]


class _Observation(NamedTuple):
    size: tuple[int, int]
    bands: int
    snr: tuple[float, float]
    beam: tuple[float, float]
    round_beam: bool
    noise: str
    background: float


def simulate(
    kind: str | Sequence[str] = "mixed",
    n: int = 1,
    *,
    size: int | tuple[int, int] = 64,
    seed: int = 0,
    start: int = 0,
    bands: int = 1,
    snr: float | tuple[float, float] = (5.0, 100.0),
    beam_px: float | tuple[float, float] = (2.0, 3.5),
    noise: str = "white",
    background: float = 0.0,
) -> Sky:
    """Make images of objects whose every factor is known.

    Row i depends on ``seed`` and i (and on the other options), not on ``n`` or ``start``: 10 rows are the head of 100,
    and a long sky can be made piece by piece.

    Parameters
    ----------
    kind : str or sequence of str
        ``"disc"`` (protoplanetary, with rings, gaps, spirals, crescents), ``"galaxy"`` (spiral), ``"elliptical"``,
        ``"double"`` (radio, FRI and FRII), ``"cloud"``, several of these in random order, or ``"mixed"`` for all five.
    n : int
        Number of images.
    size : int or (int, int), pixels
        Side of the square images; a pair: each its own, log-uniform in this range, objects scale along.
    seed, start : int
        Seed of the sky; number of its first row.
    bands : int
        Bands from blue to red; components have colours.
    snr : float or (float, float)
        Brightest pixel of the object (noise-free, after the beam, the brightest band, companions left out) over sigma
        of the noise; log-uniform in the range.
    beam_px : float or (float, float), at least 1.5
        Full width at half maximum in pixels. A number: one round beam. A pair: range of the major axis, log-uniform,
        with axis ratios from 0.75 (but never below 1.5 px) to 1 and any position angle.
    noise : str
        ``"white"``; ``"beam"``: correlated by the beam, as in interferometer maps; ``"mixed"``: each in half of the
        images. Its standard deviation differs between images by up to a factor of 4.
    background : float
        Largest background level, and largest difference of it between opposite sides, both in sigma.

    Returns
    -------
    Sky

    Raises
    ------
    ConfigError
        If a kind or a noise is unknown or a number is out of range.

    Notes
    -----
    Axes and angles: `morphospace.sky.simulate.stage`. Up to the beam, all profiles are sampled at pixel centres.

    Examples
    --------
    >>> sky = simulate("double", 3, size=32, seed=1)
    >>> sky.images.shape
    (3, 1, 32, 32)
    """
    kinds = _check_kinds(kind)
    observation = _Observation(
        size=_check_sizes(size),
        bands=_check_int("bands", bands, 1),
        snr=_check_range("snr", snr, 0.0),
        beam=_check_range("beam_px", beam_px, _MIN_BEAM_PX),
        round_beam=not isinstance(beam_px, Sequence),
        noise=_check_choice("noise", noise, ("white", "beam", "mixed")),
        background=_check_range("background", background, 0.0)[0],
    )
    n, seed, start = (_check_int(name, v, 0) for name, v in (("n", n), ("seed", seed), ("start", start)))
    images = np.empty((n, bands, observation.size[1], observation.size[1]), np.float32)
    chunks = []
    for first in range(0, n, _CHUNK):
        rows = np.arange(start + first, start + min(first + _CHUNK, n))
        chunks.append(_simulate_rows(kinds, seed, rows, observation, out=images[first : first + len(rows)]))
    if not chunks:
        chunks = [_simulate_rows(kinds, seed, np.arange(0), observation, out=images)]
    factors = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return Sky(images, factors["sigma"].astype(np.float32), factors)


def _simulate_rows(
    kinds: list[str], seed: int, rows: NDArray[np.int64], options: _Observation, *, out: F32
) -> dict[str, NDArray[Any]]:
    rngs = [np.random.default_rng([seed, row]) for row in rows.tolist()]
    uniforms = np.array([rng.random(_COMMON + _OWN) for rng in rngs]).reshape(len(rows), _COMMON + _OWN)
    draws = Draws(uniforms[:, :_COMMON])
    names = np.array(kinds)[draws.integers(0, len(kinds) - 1)]
    factors: dict[str, NDArray[Any]] = {
        "id": np.array([f"sim-{seed}-{row:07d}" for row in rows.tolist()], dtype=str),
        "kind": names,
        "seed": np.full(len(rows), seed),
        "row": rows,
        "ra": rows * _GOLDEN[0] % 1 * 360,
        "dec": np.rad2deg(np.arcsin(2 * (rows * _GOLDEN[1] % 1) - 1)),
        **_draw_common(draws, options),
    }
    stage = _set_stage(factors, rngs, options)
    beam = Beam(factors["beam_major_px"], factors["beam_minor_px"], factors["beam_pa_deg"])
    source, painted = _paint(names, uniforms[:, _COMMON:], stage, beam, options)
    factors["peak"] = factors["snr"] * factors["sigma"]
    amplitude = factors["peak"] / source[0].max(axis=(1, 2, 3), initial=0.0)
    factors["flux"] = amplitude * source[0].sum(axis=(2, 3), dtype=np.float64).mean(axis=1)
    canvas = noise_field(stage, beam, bands=options.bands, correlated=factors["noise"] == "beam")
    np.multiply(crop(canvas, stage.size, largest=options.size[1]), column(factors["sigma"])[:, None], out=out)
    out += source.sum(axis=0) * column(amplitude)[:, None]
    out += _background(stage, factors, options.size[1])[:, None]
    for image, own in zip(out, stage.size.astype(int), strict=True):
        image[:, own:] = np.nan
        image[:, :, own:] = np.nan
    return factors | painted


def _draw_common(draws: Draws, options: _Observation) -> dict[str, NDArray[Any]]:
    low, high = options.size
    size = np.floor(np.minimum(draws.log_uniform(low, high + 1), high))
    sigma = 10 ** draws.uniform(-0.3, 0.3)
    major = draws.log_uniform(*options.beam)
    ratio = np.ones(len(draws)) if options.round_beam else draws.uniform(0.75, 1.0)
    level, step, angle = draws.uniform(-1, 1), draws.uniform(0, 1), draws.uniform(0, 2 * np.pi)
    slope = options.background * sigma * step / size
    beam_noise = draws.happens({"white": 0.0, "beam": 1.0, "mixed": 0.5}[options.noise])
    return {
        "size": size.astype(np.int64),
        "center_x": (size - 1) / 2 + size * draws.uniform(-0.02, 0.02),
        "center_y": (size - 1) / 2 + size * draws.uniform(-0.02, 0.02),
        "snr": draws.log_uniform(*options.snr),
        "sigma": sigma,
        "noise": np.where(beam_noise, "beam", "white"),
        "beam_major_px": major,
        "beam_minor_px": np.maximum(major * ratio, _MIN_BEAM_PX),
        "beam_pa_deg": draws.uniform(0, 180) * (not options.round_beam),
        "background_level": options.background * sigma * level,
        "background_slope_x": slope * np.cos(angle),
        "background_slope_y": slope * np.sin(angle),
    }


def _set_stage(factors: dict[str, NDArray[Any]], rngs: list[np.random.Generator], options: _Observation) -> Stage:
    largest = options.size[1]
    side = fast_side(largest + 2 * int(np.ceil(1.5 * options.beam[1])))
    size = factors["size"].astype(np.float64)
    pixel = np.arange(side) - (side - factors["size"][:, None]) // 2  # (N, P): coordinate in the image
    dx = (pixel - factors["center_x"][:, None]).astype(np.float32)[:, None, :]
    dy = (pixel - factors["center_y"][:, None]).astype(np.float32)[:, :, None]
    return Stage(side, size, factors["center_x"], factors["center_y"], dx, dy, rngs)


def _paint(
    names: NDArray[np.str_], uniforms: F64, stage: Stage, beam: Beam, options: _Observation
) -> tuple[F32, dict[str, NDArray[Any]]]:
    """Paint and expose each row by its kind: objects and neighbours, (2, N, bands, S, S), and all painters' factors."""
    largest = options.size[1]
    light = np.zeros((2, len(names), options.bands, largest, largest), np.float32)
    columns = dict.fromkeys(name for kind in KINDS.values() for name in kind.factors)
    factors: dict[str, NDArray[Any]] = {name: np.full(len(names), np.nan) for name in columns}
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        painting = KINDS[str(name)].paint(Draws(uniforms[rows]), stage.subset(rows))
        own_beam = Beam(*(values[rows] for values in beam))
        for part, layers in zip(light, (painting.layers, painting.neighbours), strict=True):
            if layers:
                canvas = expose(layers, own_beam, bands=options.bands)
                part[rows] = crop(canvas, stage.size[rows], largest=largest)
        for factor, values in painting.factors.items():
            factors[factor][rows] = values
    return light, factors


def _background(stage: Stage, factors: dict[str, NDArray[Any]], largest: int) -> F32:
    """Level at the middle of the image, plus a plane, (N, S, S)."""
    offset = np.arange(largest, dtype=np.float32) - column((stage.size - 1) / 2)[:, 0]  # (N, S)
    across = column(factors["background_slope_x"]) * offset[:, None, :]
    up = column(factors["background_slope_y"]) * offset[:, :, None]
    return column(factors["background_level"]) + across + up


def _check_kinds(kind: str | Sequence[str]) -> list[str]:
    if kind == "mixed":
        return list(KINDS)
    kinds = [kind] if isinstance(kind, str) else list(kind)
    for name in kinds or [""]:
        _check_choice("kind", name, (*KINDS, "mixed"))
    return kinds


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        msg = f"{name} of simulate must be one of {', '.join(known)}; got {value!r}."
        raise ConfigError(msg)
    return value


def _check_int(name: str, value: int, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        msg = f"{name} of simulate must be a whole number of at least {low}; got {value!r}."
        raise ConfigError(msg)
    return int(value)


def _check_range(name: str, value: float | tuple[float, float], low: float) -> tuple[float, float]:
    pair = (value, value) if not isinstance(value, Sequence) else value
    if len(pair) != 2 or not low <= pair[0] <= pair[1] < np.inf or (name == "snr" and pair[0] <= 0):
        msg = f"{name} of simulate must be a number of at least {low}, or a pair of them in order; got {value!r}."
        raise ConfigError(msg)
    return float(pair[0]), float(pair[1])


def _check_sizes(size: int | tuple[int, int]) -> tuple[int, int]:
    low, high = size if isinstance(size, Sequence) else (size, size)
    if _check_int("size", low, 8) > _check_int("size", high, 8):
        msg = f"size of simulate must be a side, or the smallest and the largest side; got {size!r}."
        raise ConfigError(msg)
    return low, high
