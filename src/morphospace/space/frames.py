"""Vectors as a metric sees them, old and new alike: unit vectors, or dimensions divided by their spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError
from morphospace.space.index import METRICS

__all__ = ["Frame", "centre_and_spread", "frame_of", "usable"]

_SHORTEST = 1e-30  # a shorter vector has no direction, as in the index
_ROWS_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Frame:
    """Normalises vectors; Euclidean distances after it order neighbours as the metric does.

    Parameters
    ----------
    spread : array of float64, (D,), or None
        Divides each dimension; infinite where the dimension does not vary. None makes unit vectors.
    """

    spread: NDArray[np.float64] | None

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise valid vectors, (M, D), float32."""
        found = np.empty_like(vectors)
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            x = vectors[start : start + _ROWS_AT_ONCE].astype(np.float64)
            found[start : start + len(x)] = x / (_lengths(x) if self.spread is None else self.spread)
        return found

    def valid(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Say which vectors, (M, D), are finite and, for unit vectors, not zero: (M,)."""
        return usable(vectors, direction=self.spread is None)


def frame_of(vectors: NDArray[np.float32], metric: str) -> Frame:
    """Make the frame of a metric from the vectors of a space.

    Parameters
    ----------
    vectors : array, (N, D), float32
        Rows that are not finite have no part in it.
    metric : {"cosine", "euclidean"}
        As for ``ExactIndex``.

    Raises
    ------
    ConfigError
        If the metric is unknown.
    """
    if metric not in METRICS:
        msg = f"metric must be 'cosine' or 'euclidean'; got {metric!r}."
        raise ConfigError(msg)
    if metric == "cosine":
        return Frame(None)
    if np.count_nonzero(usable(vectors, direction=False)) < 2:
        return Frame(np.ones(vectors.shape[1]))
    return Frame(centre_and_spread(vectors)[1])


def usable(vectors: NDArray[np.floating[Any]], *, direction: bool) -> NDArray[np.bool_]:
    """Say which vectors are finite and, where their direction counts, not zero.

    Parameters
    ----------
    vectors : array, (N, D)
    direction : bool

    Returns
    -------
    array of bool, (N,)
    """
    good = np.empty(len(vectors), dtype=np.bool_)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        some = vectors[start : start + _ROWS_AT_ONCE]
        here = np.isfinite(some).all(axis=1)
        if direction:
            here &= _lengths(some.astype(np.float64))[:, 0] > _SHORTEST
        good[start : start + len(some)] = here
    return good


def centre_and_spread(vectors: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean and standard deviation (``ddof=1``) of each dimension in float64, some rows at a time.

    Parameters
    ----------
    vectors : array, (N, D)
        Rows that are not finite have no part in it; one at least is.

    Returns
    -------
    centre, spread : array of float64, (D,)
        The spread is infinite where a dimension does not vary, but for rounding.
    """
    rows = np.flatnonzero(usable(vectors, direction=False))
    blocks = np.array_split(rows, math.ceil(len(rows) / _ROWS_AT_ONCE))
    centre = np.sum([vectors[some].sum(axis=0, dtype=np.float64) for some in blocks], axis=0) / len(rows)
    square = np.sum([((vectors[some] - centre) ** 2).sum(axis=0) for some in blocks], axis=0)
    spread = np.sqrt(square / max(1, len(rows) - 1))
    return centre, np.where(spread <= np.finfo(np.float32).eps * np.abs(centre), np.inf, spread)


def _lengths(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(x, axis=1, keepdims=True))
