"""From a vector as it is stored to the few numbers that a mixture is fitted to, the same for old and new vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from morphospace.errors import ConfigError, ShapeError
from morphospace.space.frames import centre_and_spread, usable

__all__ = ["Reduction", "fit_reduction"]

Float = NDArray[np.float64]
Real = NDArray[np.floating[Any]]

_ROWS_AT_ONCE = 1 << 15
_SAMPLE = 50_000  # rows that the principal axes are found from


@dataclass(frozen=True, eq=False)
class Reduction:
    """What is done to a vector before it meets a cluster.

    Attributes
    ----------
    metric : {"cosine", "euclidean"}
        ``"cosine"``: divided by its length. ``"euclidean"``: each dimension less its mean, divided by its standard
        deviation.
    shift, divisor : array of float64, (D,)
        Those means and deviations (``ddof=1``; infinite where a dimension does not vary); 0 and 1 under the cosine.
    axes : array of float64, (d, D), or None
        Principal axes, divided by the spread along the first so that the numbers are about 1; None keeps all.
    origin : array of float64, (d,)
        Subtracted after that; zeros without axes.
    explained : float
        Share of the variance that the axes hold; 1 without.
    """

    metric: str
    shift: Float
    divisor: Float
    axes: Float | None
    origin: Float
    explained: float

    @property
    def dims(self) -> int:
        """Number of dimensions after the reduction."""
        return len(self.divisor) if self.axes is None else len(self.axes)

    def __call__(self, vectors: ArrayLike) -> tuple[NDArray[np.int64], Real]:
        """Reduce vectors.

        Parameters
        ----------
        vectors : array, (N, D), float

        Returns
        -------
        rows : array of int64, (V,)
            Those that can be placed: finite and, under the cosine, not zero.
        x : array, (V, d)
            float64 along axes, else float32, as many bytes as the vectors have.

        Raises
        ------
        ShapeError
            If ``vectors`` is not (N, D).
        """
        given = np.asarray(vectors)
        if given.ndim != 2 or given.shape[1] != len(self.divisor):
            msg = f"vectors must be (N, {len(self.divisor)}) as those that were clustered; got shape {given.shape}."
            raise ShapeError(msg)
        rows = np.flatnonzero(usable(given, direction=self.metric == "cosine"))
        x = np.empty((len(rows), self.dims), np.float32 if self.axes is None else np.float64)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            x[some] = self._reduce(given[rows[some]])
        return rows, x

    def _reduce(self, vectors: NDArray[Any]) -> Float:
        x = _normalised(vectors, self.metric, self.shift, self.divisor)
        return x if self.axes is None else np.asarray(x @ self.axes.T - self.origin)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all that has to be saved, but the metric."""
        axes = np.empty((0, len(self.divisor))) if self.axes is None else self.axes
        named = {"shift": self.shift, "divisor": self.divisor, "axes": axes, "origin": self.origin}
        return {**named, "explained": np.array([self.explained])}

    @classmethod
    def of(cls, metric: str, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it of what was saved."""
        axes = arrays["axes"] if len(arrays["axes"]) else None
        explained = float(arrays["explained"][0])
        return cls(metric, arrays["shift"], arrays["divisor"], axes, arrays["origin"], explained)


def fit_reduction(vectors: NDArray[np.float32], metric: str, dims: int | None, seed: int) -> Reduction:
    """Find the reduction for some vectors.

    Parameters
    ----------
    vectors : array, (N, D), float
        Without one that is finite there are no axes.
    metric : {"cosine", "euclidean"}
    dims : int or None
        Number of principal axes, found from at most 50,000 rows; None, or more than there can be, keeps the vectors
        whole.
    seed : int

    Raises
    ------
    ConfigError
        If dims is below 1.
    """
    if dims is not None and dims < 1:
        msg = f"dims must be 1 or more; got {dims}."
        raise ConfigError(msg)
    rows = np.flatnonzero(usable(vectors, direction=metric == "cosine"))
    shift, divisor = np.zeros(vectors.shape[1]), np.ones(vectors.shape[1])
    if metric == "euclidean" and len(rows):
        shift, divisor = centre_and_spread(vectors)
    sample = rows
    if len(rows) > _SAMPLE:
        sample = np.sort(np.random.default_rng(seed).choice(rows, _SAMPLE, replace=False))
    x = _normalised(vectors[sample], metric, shift, divisor)
    varies = bool((x != x[:1]).any())
    if dims is None or dims >= min(x.shape) or not varies:
        return Reduction(metric, shift, divisor, None, np.zeros(x.shape[1]), 1.0)
    model = PCA(dims, random_state=seed).fit(x)
    axes = model.components_ / np.sqrt(model.explained_variance_[0])
    return Reduction(metric, shift, divisor, axes, axes @ model.mean_, float(model.explained_variance_ratio_.sum()))


def _normalised(vectors: NDArray[Any], metric: str, shift: Float, divisor: Float) -> Float:
    x = vectors.astype(np.float64)
    if metric == "cosine":
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
    return np.asarray((x - shift) / divisor)
