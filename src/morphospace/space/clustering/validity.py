"""Figures that say how well clusters hold together and stand apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.metrics import silhouette_samples

__all__ = ["ABOVE", "Validity", "counts_above", "measure", "overlap_matrix", "to_centroids"]

Float = NDArray[np.float64]
Real = NDArray[np.floating[Any]]
Int = NDArray[np.int64]

ABOVE = (0.5, 0.7, 0.9, 0.95, 0.99)
_SAMPLE = 5_000  # rows compared with one another for the silhouette
_ROWS_AT_ONCE = 1 << 14
_MEBIBYTES = 32  # of distances held at a time


class Validity(NamedTuple):
    """Figures of one clustering; rows in no cluster have no part in them."""

    silhouette: float
    """Mean over rows of (b - a) / max(a, b): a the mean distance to the other members of the own cluster, b that to the
    members of the nearest other one (Rousseeuw 1987); from -1 to 1. NaN with fewer than two clusters."""
    silhouettes: Float
    """The same for each cluster, (k,); NaN where none of its rows is in the sample."""
    n_sampled: int
    """Rows that the two are over: all, or 5,000 drawn at random of more."""
    simplified_silhouette: float
    """The same with distances to centroids in place of members (Hruschka+ 2006), over all rows."""
    calinski_harabasz: float
    """Variance between the clusters over that within, each per degree of freedom (Calinski & Harabasz 1974, eq. 3)."""


def measure(x: Real, labels: Int, *, seed: int = 0) -> Validity:
    """Measure clusters in the space that they were found in.

    Parameters
    ----------
    x : array, (N, d)
    labels : array of int, (N,)
        From 0; -1 for rows in no cluster.
    seed : int
        Of the sample.
    """
    k = int(labels.max(initial=-1)) + 1
    rows = np.flatnonzero(labels >= 0)
    nothing = np.full(k, np.nan)
    if not 2 <= len(np.unique(labels[rows])) < len(rows):
        return Validity(np.nan, nothing, 0, np.nan, np.nan)
    simplified, ratio = to_centroids(x, labels)
    if len(rows) > _SAMPLE:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), _SAMPLE, replace=False))]
    mean, each = np.nan, nothing
    if 2 <= len(np.unique(labels[rows])) < len(rows):
        with config_context(working_memory=_MEBIBYTES):
            values = silhouette_samples(x[rows], labels[rows])
        mean = float(values.mean())
        each = np.array([values[labels[rows] == c].mean() if (labels[rows] == c).any() else np.nan for c in range(k)])
    return Validity(mean, each, len(rows), simplified, ratio)


def to_centroids(x: Real, labels: Int) -> tuple[float, float]:
    """Compute what needs distances to centroids only, some rows at a time: a million in float64 would be 1 GB.

    Parameters
    ----------
    x : array, (N, d)
    labels : array of int, (N,)
        Two different ones at least; rows with -1 have no part.

    Returns
    -------
    simplified_silhouette, calinski_harabasz : float
        The second is NaN where all rows are equal, and 1 where those of each cluster are, as scikit-learn has it.
    """
    found, place = np.unique(labels, return_inverse=True)
    place -= int(found[0] < 0)  # so that -1 stays -1
    k = int(place.max()) + 1
    sums, counts = np.zeros((k, x.shape[1])), np.bincount(place[place >= 0], minlength=k)
    for some, mine in _members(x, place):
        for c in np.unique(mine):
            sums[c] += some[mine == c].sum(axis=0)
    centers = sums / counts[:, None]
    total = within = 0.0
    for some, mine in _members(x, place):
        distance = np.stack([np.sqrt(((some - center) ** 2).sum(axis=1)) for center in centers], axis=1)
        rows = np.arange(len(some))
        own = distance[rows, mine]
        distance[rows, mine] = np.inf
        other = distance.min(axis=1)
        total += float(((other - own) / np.maximum(np.maximum(own, other), np.finfo(float).tiny)).sum())
        within += float((own**2).sum())
    n = int(counts.sum())
    between = float((counts * ((centers - sums.sum(axis=0) / n) ** 2).sum(axis=1)).sum())
    if within == 0:
        return total / n, 1.0 if between else np.nan
    return total / n, between * (n - k) / (within * (k - 1))


def _members(x: Real, place: Int) -> Iterator[tuple[Float, Int]]:
    for start in range(0, len(x), _ROWS_AT_ONCE):
        mine = place[start : start + _ROWS_AT_ONCE]
        yield x[start : start + _ROWS_AT_ONCE][mine >= 0].astype(np.float64), mine[mine >= 0]


def overlap_matrix(probabilities: NDArray[Any], labels: Int) -> Float:
    """Average the memberships of the rows of each cluster.

    Parameters
    ----------
    probabilities : array, (N, k)
    labels : array of int, (N,)

    Returns
    -------
    array of float64, (k, k)
        Row c, column j: mean membership in j of the rows with label c. The diagonal is near 1 where clusters are clear.
    """
    k = probabilities.shape[1]
    means = [probabilities[labels == c].mean(axis=0, dtype=np.float64) for c in range(k)]
    return np.array(means).reshape(k, k)


def counts_above(probabilities: NDArray[Any], labels: Int, above: tuple[float, ...] = ABOVE) -> Int:
    """Count the rows of each cluster whose membership in it is above given values.

    Parameters
    ----------
    probabilities : array, (N, k)
    labels : array of int, (N,)
    above : tuple of float

    Returns
    -------
    array of int64, (len(above), k)
    """
    k = probabilities.shape[1]
    member = np.flatnonzero(labels >= 0)
    own = probabilities[member, labels[member]]
    return np.array([np.bincount(labels[member][own > least], minlength=k) for least in above], dtype=np.int64)
