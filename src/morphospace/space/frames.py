"""Vectors as a metric sees them, old and new alike: unit vectors, or dimensions divided by their spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError
from morphospace.space.index import METRICS

__all__ = ["Frame", "frame_of"]

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

    def valid(self, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Say which vectors, (M, D), are finite and, for unit vectors, not zero: (M,)."""
        good: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
        if self.spread is None:
            for start in range(0, len(vectors), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                good[part] &= _lengths(vectors[part].astype(np.float64))[:, 0] > _SHORTEST
        return good


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
    x = vectors[np.isfinite(vectors).all(axis=1)].astype(np.float64)
    if len(x) < 2:
        return Frame(np.ones(vectors.shape[1]))
    spread, centre = x.std(axis=0, ddof=1), np.abs(x.mean(axis=0))
    return Frame(np.where(spread <= np.finfo(np.float32).eps * centre, np.inf, spread))


def _lengths(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(x, axis=1, keepdims=True))
