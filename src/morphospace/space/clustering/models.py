"""Fitted models of clusters as plain arrays: what they say of any vector, old or new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

__all__ = ["MODELS", "Centres", "Density", "Mixture", "Model"]

Float = NDArray[np.float64]
Real = NDArray[np.floating[Any]]
Memberships = NDArray[np.float32]
Int = NDArray[np.int64]

_ROWS_AT_ONCE = 1 << 14
_SAME = 1e-6  # a vector this near to one that was there is that one, rounded
_LEAST = 1e-6  # membership of a member whose strength rounds to 0


class Model(Protocol):
    """Clusters that give memberships to reduced vectors."""

    @property
    def centers(self) -> Float:
        """Mean of each cluster, (k, d)."""

    def memberships(self, x: Real) -> Memberships:
        """Give the membership of each row in each cluster, (N, k); a row of zeros belongs to none."""

    def typicality(self, x: Real, labels: Int) -> Float:
        """Say how typical each row is of its cluster, (N,): higher is more; NaN for rows in none."""

    def take(self, which: Int) -> Model:
        """Keep some clusters, in the order given."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all that has to be saved."""


@dataclass(frozen=True, eq=False)
class Centres:
    """Centres of k-means.

    Membership is the posterior of the mixture that k-means is the limit of: round Gaussians of equal weight and one
    variance, p_c ~ exp(-|x - m_c|^2 / (2 s^2)), with s^2 the mean squared distance to the own centre in each dimension.
    """

    centers: Float  # (k, d)
    variance: float  # s^2

    def memberships(self, x: Real) -> Memberships:
        """Give p_c, (N, k), each row adding up to 1."""
        return _by_blocks(x, len(self.centers), self._block)

    def _block(self, x: Float) -> Float:
        return np.asarray(softmax(-_squared(x, self.centers) / (2 * self.variance), axis=1))

    def typicality(self, x: Real, labels: Int) -> Float:
        """Give minus the distance to the own centre, (N,); NaN for rows in none."""
        return -_to_centers(x, labels, self.centers)

    def take(self, which: Int) -> Self:
        """Keep some clusters, in the order given."""
        return type(self)(self.centers[which], self.variance)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all that has to be saved."""
        return {"centers": self.centers, "variance": np.array([self.variance])}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it of what was saved."""
        return cls(arrays["centers"], float(arrays["variance"][0]))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians with full covariance: log p_c = offset_c - |P_c^T (x - m_c)|^2 / 2, then normalised over c."""

    centers: Float  # (k, d)
    factors: Float  # (k, d, d), P_c: the Cholesky factor of the precision
    offsets: Float  # (k,)

    def memberships(self, x: Real) -> Memberships:
        """Give p_c, (N, k), each row adding up to 1."""
        return _by_blocks(x, len(self.centers), self._block)

    def _block(self, x: Float) -> Float:
        scores = np.empty((len(x), len(self.centers)))
        for c, (mean, factor) in enumerate(zip(self.centers, self.factors, strict=True)):
            scores[:, c] = self.offsets[c] - 0.5 * ((x @ factor - mean @ factor) ** 2).sum(axis=1)
        return np.asarray(softmax(scores, axis=1))

    def typicality(self, x: Real, labels: Int) -> Float:
        """Give minus the Mahalanobis distance to the own mean, (N,); NaN for rows in none."""

        def of(rows: Float, c: int) -> Float:
            turned = (rows - self.centers[c]) @ self.factors[c]
            return np.asarray(-np.sqrt((turned**2).sum(axis=1)))

        return _own(x, labels, of)

    def take(self, which: Int) -> Self:
        """Keep some clusters, in the order given."""
        return type(self)(self.centers[which], self.factors[which], self.offsets[which])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all that has to be saved."""
        return {"centers": self.centers, "factors": self.factors, "offsets": self.offsets}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it of what was saved."""
        return cls(arrays["centers"], arrays["factors"], arrays["offsets"])


@dataclass(frozen=True, eq=False)
class Density:
    """Clusters of HDBSCAN, kept as the vectors that they were found in.

    A vector that was there has the strength of membership that HDBSCAN gave it, in its own cluster alone. A new one goes
    with the member that is nearest by the mutual reachability distance (Campello+ 2013, definition 5), and has its
    strength times the ratio of the core distances where it lies farther out; it is noise where it is farther than any
    member of that cluster is from another.
    """

    points: Float  # (V, d)
    labels: Int  # (V,), -1 noise
    strength: Float  # (V,)
    core: Float  # (V,) distance to the n-th neighbour, itself counted
    reach: Float  # (k,) largest distance of a member to the next one of its cluster
    n_neighbors: int

    @property
    def centers(self) -> Float:
        """Mean of each cluster, weighted by strength, (k, d)."""
        return np.array(
            [
                np.average(self.points[self.labels == c], axis=0, weights=self.strength[self.labels == c])
                for c in range(len(self.reach))
            ]
        ).reshape(len(self.reach), self.points.shape[1])

    def memberships(self, x: Real) -> Memberships:
        """Give the strength in the own cluster and 0 elsewhere, (N, k)."""
        k = len(self.reach)
        if k == 0:
            return np.zeros((len(x), 0), np.float32)
        n = min(len(self.points), max(self.n_neighbors, 2))
        tree = NearestNeighbors(n_neighbors=n).fit(self.points)
        return _by_blocks(x, k, lambda rows: self._block(rows, tree))

    def _block(self, x: Float, tree: NearestNeighbors) -> Float:
        found = np.zeros((len(x), len(self.reach)))
        distance, near = tree.kneighbors(x)
        n = distance.shape[1]
        core = distance[:, min(self.n_neighbors, n) - 1]
        mutual = np.maximum(np.maximum(distance, core[:, None]), self.core[near])
        rows = np.arange(len(x))
        there = distance[:, 0] <= _SAME
        best = np.where(there, 0, mutual.argmin(axis=1))
        neighbour, out = near[rows, best], mutual[rows, best]
        label = self.labels[neighbour]
        nearness = np.minimum(1.0, self.core[neighbour] / np.maximum(out, np.finfo(float).tiny))
        strength = self.strength[neighbour] * np.where(there, 1.0, nearness)
        member = (label >= 0) & (there | (out <= self.reach[label]))
        found[rows[member], label[member]] = np.maximum(strength[member], _LEAST)
        return found

    def typicality(self, x: Real, labels: Int) -> Float:
        """Give the strength of membership, (N,), those of one strength by nearness to the centre; NaN in none."""
        strength, found = self.memberships(x), _to_centers(x, labels, self.centers)
        for c in range(len(self.reach)):
            distance = found[labels == c]
            nearness = distance / max(float(distance.max(initial=0.0)), np.finfo(float).tiny)
            found[labels == c] = strength[labels == c, c] - 1e-3 * nearness
        return found

    def take(self, which: Int) -> Self:
        """Keep some clusters, in the order given; members of the others become noise."""
        place = np.full(len(self.reach) + 1, -1)
        place[which] = np.arange(len(which))
        labels = place[self.labels]  # the last entry serves noise
        return type(self)(self.points, labels, self.strength, self.core, self.reach[which], self.n_neighbors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all that has to be saved."""
        return {
            "points": self.points,
            "labels": self.labels,
            "strength": self.strength,
            "core": self.core,
            "reach": self.reach,
            "n_neighbors": np.array([self.n_neighbors]),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it of what was saved."""
        points, labels, strength = arrays["points"], arrays["labels"], arrays["strength"]
        return cls(points, labels, strength, arrays["core"], arrays["reach"], int(arrays["n_neighbors"][0]))


#: What a method leaves behind.
MODELS: dict[str, type[Centres] | type[Mixture] | type[Density]] = {
    "kmeans": Centres,
    "gmm": Mixture,
    "dpgmm": Mixture,
    "hdbscan": Density,
}


def _own(x: Real, labels: Int, of: Callable[[Float, int], Float]) -> Float:
    """Ask for each row by its own cluster, some rows at a time; NaN for rows in none."""
    found = np.full(len(x), np.nan)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        mine = labels[start : start + _ROWS_AT_ONCE]
        for c in np.unique(mine[mine >= 0]).tolist():
            rows = start + np.flatnonzero(mine == c)
            found[rows] = of(x[rows].astype(np.float64), c)
    return found


def _to_centers(x: Real, labels: Int, centers: Float) -> Float:
    """Distance of each row to the centre of its own cluster, (N,); NaN for rows in none."""
    return _own(x, labels, lambda rows, c: np.sqrt(((rows - centers[c]) ** 2).sum(axis=1)))


def _by_blocks(x: Real, k: int, of_block: Callable[[Float], Float]) -> Memberships:
    found = np.empty((len(x), k), np.float32)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        found[start : start + _ROWS_AT_ONCE] = of_block(x[start : start + _ROWS_AT_ONCE].astype(np.float64))
    return found


def _squared(x: Float, centers: Float) -> Float:
    """Squared distances (N, k), without the differences (N, k, d) in memory."""
    square = (x**2).sum(axis=1)[:, None] - 2 * x @ centers.T + (centers**2).sum(axis=1)
    return np.asarray(np.maximum(square, 0.0))
