"""How two things go together: rank correlations with their tests, out-of-sample R2, canonical correlations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.neighbors import KNeighborsRegressor

from morphospace.learn.compare import folds
from morphospace.learn.probe import linear_r2

__all__ = ["Canonical", "Spearman", "canonical", "knn_r2", "linear_r2_clipped", "mean_by_group", "spearman_tests"]

Float = NDArray[np.float64]
Int = NDArray[np.intp]

_BOOTSTRAPS = 200
_CELLS = 4_000_000  # of a block of permutations or resamples: 32 MB
_CLIP = (0.5, 99.5)  # per cent
_NEIGHBOURS = 10
_RANK = 1e-8  # directions with less than this fraction of the largest variance are no directions


@dataclass(frozen=True, eq=False)
class Spearman:
    """Rank correlations of one quantity with C components.

    Attributes
    ----------
    n : int
        Objects of which the quantity is known.
    rho, low, high, p : ndarray of float64, (C,)
        Correlation, the ends of its 95 % bootstrap interval, and the permutation p (two-sided, at least 1 / (1 + B C)).
    """

    n: int
    rho: Float
    low: Float
    high: Float
    p: Float


@dataclass(frozen=True, eq=False)
class Canonical:
    """Canonical correlations of two tables.

    Attributes
    ----------
    held_out : ndarray of float64, (M,)
        Correlation of each pair on objects that were not fitted on, mean over the folds.
    fitted : ndarray of float64, (M,)
        The same on all objects, fitted on them: too large.
    loadings : ndarray of float64, (Q, M)
        Correlation of each column of the second table with the pair's variate of it.
    """

    held_out: Float
    fitted: Float
    loadings: Float


def mean_by_group(v: Float, group: Int) -> Float:
    """Average over the rows of each group: several images of one object are one object.

    Parameters
    ----------
    v : ndarray, (N,) or (N, C)
        NaN is left out; a group without any other value becomes NaN.
    group : ndarray of int, (N,)
        Numbers from 0 without a gap.

    Returns
    -------
    ndarray, (G,) or (G, C)
    """
    if v.ndim > 1:
        return np.column_stack([mean_by_group(column, group) for column in v.T])
    known = np.isfinite(v)
    n = np.bincount(group, known)
    total = np.bincount(group, np.where(known, v, 0.0))
    return np.asarray(total / np.where(n > 0, n, np.nan))


def spearman_tests(axes: Float, v: Float, *, permutations: int, rng: np.random.Generator) -> Spearman:
    """Correlate the ranks of one quantity with those of each component, with p and interval.

    Parameters
    ----------
    axes : ndarray, (N, C)
        Components; finite.
    v : ndarray, (N,)
        The quantity; objects with NaN are left out, for the ranks of the components too.
    permutations : int
        Number B of permutations of the quantity; all C x B correlations are the null of each component.
    rng : numpy.random.Generator

    Returns
    -------
    Spearman
    """
    known = np.isfinite(v)
    x, y = axes[known], v[known]
    n = len(y)
    zx, zy = _standard(rankdata(x, axis=0)), _standard(rankdata(y)[:, None])[:, 0]
    rho = zx.T @ zy / n
    null = []
    block = max(1, _CELLS // n)
    for start in range(0, permutations, block):
        shuffled = rng.permuted(np.tile(zy, (min(block, permutations - start), 1)), axis=1)
        null.append(np.abs(shuffled @ zx / n).ravel())
    sorted_null = np.sort(np.concatenate(null))
    # Rounding must not make an equal correlation a smaller one.
    extreme = len(sorted_null) - np.searchsorted(sorted_null, np.abs(rho) - 1e-12, side="left")
    low, high = _bootstrap(x, y, rng)
    return Spearman(n, rho, low, high, (1 + extreme) / (1 + len(sorted_null)))


def linear_r2_clipped(z: Float, v: Float, fold: Int) -> float:
    """Measure how much of a quantity a ridge regression tells out of sample, values clipped to their central 99 %.

    Parameters
    ----------
    z : ndarray, (N, D)
    v : ndarray, (N,)
    fold : ndarray of int, (N,)

    Returns
    -------
    float
        As of `morphospace.learn.probe.linear_r2`: 1 perfect, 0 no better than the mean.
    """
    return linear_r2(z, _clipped(v), fold=_filled(fold))


def knn_r2(z: Float, v: Float, fold: Int) -> float:
    """Measure how much of a quantity the mean of the 10 nearest objects in cosine tells out of sample.

    Parameters
    ----------
    z, v, fold
        As for `linear_r2_clipped`.

    Returns
    -------
    float
        1 perfect, 0 no better than the mean.
    """
    target, part = _clipped(v), _filled(fold)
    left = total = 0.0
    for f in np.unique(part):
        train, test = part != f, part == f
        near = KNeighborsRegressor(min(_NEIGHBOURS, int(train.sum())), metric="cosine", algorithm="brute")
        said = near.fit(z[train].astype(np.float32), target[train]).predict(z[test].astype(np.float32))
        left += float(((target[test] - said) ** 2).sum())
        total += float(((target[test] - target[train].mean()) ** 2).sum())
    return 1.0 - left / total if total > 0 else float("nan")


def canonical(x: Float, y: Float, fold: Int) -> Canonical:
    """Find the combinations of two tables that go together best, and test them on other objects.

    Parameters
    ----------
    x : ndarray, (N, P)
        First table; finite.
    y : ndarray, (N, Q)
        Second table; finite. Its columns are replaced by their ranks, which long tails do not move.
    fold : ndarray of int, (N,)

    Returns
    -------
    Canonical
        min(P, Q) pairs, or fewer where columns are combinations of others.

    Notes
    -----
    Hotelling 1936, by the singular values of the product of the whitened tables (Björck & Golub 1973). A column that is a
    combination of others adds nothing.
    """
    ranks = rankdata(y, axis=0) / len(y)
    _, b, fitted = _fit_canonical(x, ranks)
    held = []
    part = _filled(fold)
    for f in np.unique(part):
        train, test = part != f, part == f
        u, w, _ = _fit_canonical(x[train], ranks[train])
        s = _standard((x[test] - x[train].mean(0)) @ u)
        t = _standard((ranks[test] - ranks[train].mean(0)) @ w)
        held.append((s * t).mean(0))
    m = min(len(fitted), *(len(h) for h in held))
    variates = _standard((ranks - ranks.mean(0)) @ b[:, :m])
    return Canonical(np.mean([h[:m] for h in held], axis=0), fitted[:m], _standard(ranks).T @ variates / len(y))


def _fit_canonical(x: Float, y: Float) -> tuple[Float, Float, Float]:
    """Give the weights of both tables and the correlations."""
    (qx, wx), (qy, wy) = _whitened(x), _whitened(y)
    u, r, vt = np.linalg.svd(qx.T @ qy, full_matrices=False)
    return wx @ u, wy @ vt.T, np.clip(r, 0, 1)


def _whitened(x: Float) -> tuple[Float, Float]:
    """Give orthonormal columns that span the centred table, and the weights that make them."""
    scale = x.std(0)
    varies = scale > _RANK * np.abs(x).max(0)  # and not by rounding only
    weight = np.where(varies, 1 / np.where(varies, scale, 1), 0)
    u, s, vt = np.linalg.svd((x - x.mean(0)) * weight, full_matrices=False)
    keep = s**2 > _RANK * max(float(s[0]) ** 2, 1e-300)
    return u[:, keep], weight[:, None] * vt[keep].T / s[keep]


def _bootstrap(x: Float, y: Float, rng: np.random.Generator) -> tuple[Float, Float]:
    """Give the ends of 95 % percentile intervals of the rank correlations; every resample is ranked anew."""
    n, c = x.shape
    plans = [_plan(column) for column in (y, *x.T)]
    found = []
    block = max(1, _CELLS // n)
    for start in range(0, _BOOTSTRAPS, block):
        count = rng.multinomial(n, np.full(n, 1 / n), size=min(block, _BOOTSTRAPS - start)).astype(np.float64)
        ry = _weighted_ranks(count, *plans[0])
        found.append(np.column_stack([_weighted_correlation(_weighted_ranks(count, *p), ry, count) for p in plans[1:]]))
    low, high = np.nanquantile(np.concatenate(found).reshape(-1, c), (0.025, 0.975), axis=0)
    return low, high


def _plan(v: Float) -> tuple[Int, Int, Int]:
    """Give the order of the values, where each run of equal ones starts, and the run of each object."""
    order = np.argsort(v, kind="stable")
    new = np.concatenate([[True], np.diff(v[order]) != 0])
    run = np.empty(len(v), dtype=np.intp)
    run[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), run


def _weighted_ranks(count: Float, order: Int, starts: Int, run: Int) -> Float:
    """Give the mean rank of each object where each comes `count` times, (B, N)."""
    total = np.add.reduceat(count[:, order], starts, axis=1)
    middle = np.cumsum(total, axis=1) - (total - 1) / 2
    return np.asarray(middle[:, run])


def _weighted_correlation(a: Float, b: Float, w: Float) -> Float:
    n = w.sum(1)
    da = a - ((w * a).sum(1) / n)[:, None]
    db = b - ((w * b).sum(1) / n)[:, None]
    both = np.sqrt((w * da**2).sum(1) * (w * db**2).sum(1))
    return np.asarray((w * da * db).sum(1) / np.where(both > 0, both, np.nan))


def _standard(x: Float) -> Float:
    """Give columns mean 0 and variance 1; a constant one becomes 0."""
    sd = x.std(0)
    return np.asarray((x - x.mean(0)) / np.where(sd > _RANK * np.abs(x).max(0), sd, np.inf))


def _clipped(v: Float) -> Float:
    low, high = np.percentile(v, _CLIP)
    return np.clip(v, low, high)


def _filled(fold: Int) -> Int:
    """Give plain folds where those at hand leave fewer than two among the objects of which a quantity is known."""
    return fold if len(np.unique(fold)) > 1 else folds(np.zeros(len(fold)))
