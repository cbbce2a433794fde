"""What every painter works with: each row's random numbers, the canvas around its object, and layers of light.

Conventions of all simulated skies. Pixel centres lie at whole numbers, x to the right, y up (row 0 of the array
is the bottom, as in FITS). North is up (+y) and east is left (-x); a position angle goes from north through east,
so the unit vector at angle PA is (-sin PA, cos PA). Azimuths in an inclined plane count from the major axis in
the direction of growing position angle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["F32", "F64", "Draws", "Layer", "Painting", "Stage", "column", "rotated", "unit_sum"]

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]


class Layer(NamedTuple):
    """One component of the light, before the beam.

    Attributes
    ----------
    light : (N, P, P) float32
        Emission on the canvas.
    color : (N,) float64, mag
        Flux of the last band over that of the first; 0 is grey.
    soft : bool
        True when the painter has already put in the pixel's own blur (`profiles.PIXEL_SIGMA`).
    """

    light: F32
    color: F64
    soft: bool


class Painting(NamedTuple):
    """The light of some rows' objects, the factors that made it (columns of length N), and their neighbours' light."""

    layers: list[Layer]
    factors: Mapping[str, NDArray[Any]]
    neighbours: list[Layer]


class Draws:
    """Uniform random numbers of N rows, handed out one column after the other.

    Every row has its own stretch of numbers and every factor its own column, so a row's factors depend on
    nothing but that row, however many rows are drawn together.
    """

    def __init__(self, uniforms: F64) -> None:
        self._uniforms = uniforms
        self._next = 0

    def __len__(self) -> int:
        return len(self._uniforms)

    def columns(self, n: int) -> F64:
        """Take n columns at once, (N, n), uniform in [0, 1)."""
        taken = self._uniforms[:, self._next : self._next + n]
        self._next += n
        return taken

    def uniform(self, low: float | F64 = 0.0, high: float | F64 = 1.0) -> F64:
        """Draw between low and high."""
        return np.asarray(low + (high - low) * self.columns(1)[:, 0])

    def log_uniform(self, low: float | F64, high: float | F64) -> F64:
        """Draw between low and high, both positive, uniform in the logarithm."""
        return np.asarray(np.exp(self.uniform(np.log(low), np.log(high))))

    def integers(self, low: int, high: int) -> NDArray[np.int64]:
        """Draw whole numbers from low to high, both included."""
        return np.floor(self.uniform(low, high + 1)).astype(np.int64)

    def happens(self, probability: float) -> NDArray[np.bool_]:
        """Draw True with the given probability."""
        return self.columns(1)[:, 0] < probability

    def sign(self) -> F64:
        """Draw -1 or +1."""
        return np.where(self.happens(0.5), 1.0, -1.0)


@dataclass(frozen=True)
class Stage:
    """The canvases of N rows.

    Attributes
    ----------
    side : int
        Pixels P on a side of the canvas, a margin for the beam around the image included.
    size : (N,) float64
        Pixels on a side of each row's own image, which lies in the middle of the canvas.
    x, y : (N,) float64
        The object's place in the image, pixels.
    dx, dy : (N, 1, P), (N, P, 1) float32
        Distance from the row's object, pixels.
    rngs : list of Generator
        One for each row, for textures and noise.
    """

    side: int
    size: F64
    x: F64
    y: F64
    dx: F32
    dy: F32
    rngs: list[np.random.Generator]

    def white(self, shape: tuple[int, ...]) -> F32:
        """Draw unit Gaussian noise of the given shape for each row, (N, *shape)."""
        out = np.empty((len(self.rngs), *shape), np.float32)
        for row, rng in zip(out, self.rngs, strict=True):
            rng.standard_normal(out=row, dtype=np.float32)
        return out

    def subset(self, rows: NDArray[np.intp]) -> Stage:
        """Take some of the rows."""
        rngs = [self.rngs[row] for row in rows]
        return Stage(self.side, self.size[rows], self.x[rows], self.y[rows], self.dx[rows], self.dy[rows], rngs)


def column(values: F64 | float) -> F32:
    """Shape one number a row so that it multiplies canvases, (N, 1, 1)."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def rotated(stage: Stage, pa_deg: F64) -> tuple[F32, F32]:
    """Turn the canvas coordinates: along the position angle, and 90 degrees from it towards larger angles.

    Returns
    -------
    along, across : (N, P, P) float32, pixels
    """
    pa = np.deg2rad(pa_deg)
    sin, cos = column(np.sin(pa)), column(np.cos(pa))
    return stage.dy * cos - stage.dx * sin, -stage.dx * cos - stage.dy * sin


def unit_sum(light: F32) -> F32:
    """Scale each canvas, (N, P, P), to a sum of 1; an empty one stays empty."""
    total = light.sum(axis=(1, 2), dtype=np.float64)
    return light * column(1.0 / np.where(total > 0, total, 1.0))
