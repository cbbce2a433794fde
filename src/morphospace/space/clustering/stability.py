"""Stability: whether the same clusters come again from other rows of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

__all__ = ["Stability", "jaccards", "rands", "resample_stability"]

Float = NDArray[np.float64]
Real = NDArray[np.floating[Any]]
Int = NDArray[np.int64]

_MOST = 10_000  # rows drawn in a resample


class Stability(NamedTuple):
    """How far clusters came again; all are means over the resamples, NaN where there was none."""

    rand: float
    """Adjusted Rand index (Hubert & Arabie 1985) between the labels and those found again; 1 equal, 0 by chance."""
    rand_spread: float
    """Standard deviation of it over the resamples."""
    jaccards: Float
    """For each cluster: shared members over all members of it and of the cluster most like it in the resample (Hennig
    2007), (k,). Above 0.75 a cluster is stable, below 0.6 do not trust it (his advice)."""
    rands: Float
    """For each cluster: adjusted Rand index between "in it or not" and the same for the cluster most like it, (k,)."""
    n_resamples: int


def resample_stability(
    x: Real,
    labels: Int,
    refit: Callable[[Real, int], Int],
    *,
    distinct: bool,
    n_resamples: int,
    seed: int,
) -> Stability:
    """Cluster bootstrap samples again and compare.

    Parameters
    ----------
    x : array, (N, d)
    labels : array of int, (N,)
        -1 for rows in no cluster; among themselves they count as a group in the Rand index of the whole.
    refit : callable
        Gets rows of x, as many as were drawn, and a number for its seed; gives their labels.
    distinct : bool
        Draw each row once at most (about 63 % of them): for methods that take copies for density.
    n_resamples : int
        0: no resampling, all NaN.
    seed : int

    Returns
    -------
    Stability
        Compared on the rows drawn, each once. Of more than 10,000 rows, 10,000 are drawn.
    """
    k = int(labels.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    whole, shares, indices = [], [], []
    for i in range(n_resamples):
        drawn = rng.integers(0, len(x), min(len(x), _MOST))
        rows, first = np.unique(drawn, return_index=True)
        again = refit(x[rows], i) if distinct else refit(x[drawn], i)[first]
        whole.append(adjusted_rand_score(labels[rows], again))
        shares.append(jaccards(labels[rows], again, k))
        indices.append(rands(labels[rows], again, k))
    if not whole:
        return Stability(np.nan, np.nan, np.full(k, np.nan), np.full(k, np.nan), 0)
    return Stability(float(np.mean(whole)), float(np.std(whole)), _mean(shares), _mean(indices), n_resamples)


def _mean(values: list[Float]) -> Float:
    """Mean over the resamples in which a cluster had rows."""
    table = np.array(values)
    there = np.isfinite(table)
    return np.where(there.any(axis=0), np.where(there, table, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1), np.nan)


def jaccards(labels: Int, again: Int, k: int) -> Float:
    """Compare each cluster with the one most like it: shared over all members, (k,); NaN without a row.

    Parameters
    ----------
    labels, again : array of int, (n,)
        Two labellings of the same rows; -1 is no cluster.
    k : int
        Number of clusters of the first.
    """
    shared, ours, theirs = _counts(labels, again, k)
    if shared.shape[1] == 0:
        return np.where(ours > 0, 0.0, np.nan)
    share = shared / np.maximum(ours[:, None] + theirs[None, :] - shared, 1)
    return np.where(ours > 0, share.max(axis=1), np.nan)


def rands(labels: Int, again: Int, k: int) -> Float:
    """Compare each cluster, as in it or not, with the one most like it by the adjusted Rand index, (k,).

    Parameters
    ----------
    labels, again, k
        As for `jaccards`.
    """
    shared, ours, theirs = _counts(labels, again, k)
    if shared.shape[1] == 0:
        return np.where(ours > 0, 0.0, np.nan)
    best = (shared / np.maximum(ours[:, None] + theirs[None, :] - shared, 1)).argmax(axis=1)
    values = np.full(k, np.nan)
    theirs_of = np.unique(again[again >= 0])
    for c in np.flatnonzero(ours):
        values[c] = adjusted_rand_score(labels == c, again == theirs_of[best[c]])
    return values


def _counts(labels: Int, again: Int, k: int) -> tuple[Float, Float, Float]:
    """Members shared by each pair (k, m), and of each cluster (k,) and (m,)."""
    theirs_of, place = np.unique(again, return_inverse=True)
    shared = np.zeros((k, len(theirs_of)))
    member = labels >= 0
    if member.any():
        table = contingency_matrix(labels[member], place[member])
        shared[np.ix_(np.unique(labels[member]), np.unique(place[member]))] = table
    theirs = np.bincount(place, minlength=len(theirs_of)).astype(np.float64)
    ours = np.bincount(labels[member], minlength=k).astype(np.float64)
    real = theirs_of >= 0
    return shared[:, real], ours, theirs[real]
