"""How many clusters: the number of Gaussians with the lowest Bayesian information criterion."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.space.clustering.fit import Plan, fit_gmm

__all__ = ["MOST", "Choice", "choose_k", "count_distinct"]

MOST = 20
_SAMPLE = 10_000
_PATIENCE = 4  # numbers tried beyond the best

_logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """A number of clusters and what else was tried."""

    k: int
    tried: dict[int, float]
    """BIC of each number tried; lower is better."""


def choose_k(x: NDArray[np.floating[Any]], *, most: int, seed: int) -> Choice:
    """Choose the number of clusters by the BIC (Schwarz 1978) of Gaussian mixtures with full covariances.

    Parameters
    ----------
    x : array, (N, d)
        A few dimensions; of more than 10,000 rows, 10,000 drawn at random are used.
    most : int, >= 2
        Largest number that may be chosen; never more than 20.
    seed : int

    Returns
    -------
    Choice
        From 2 up; the search ends 4 numbers after the best so far.

    Notes
    -----
    On simulated mixtures of 3, 5 and 8 clusters in 128 dimensions, Gaussian and with heavy tails, the BIC found the true
    number in 8 of 12 cases and came within one in 10; the best of silhouette (also simplified, and times the
    stability), Calinski-Harabasz index and stability in 6 and 8. For k-means these found it in 5 and 7 at best, so
    the BIC chooses for k-means too.
    """
    if len(x) > _SAMPLE:
        x = x[np.sort(np.random.default_rng(seed).choice(len(x), _SAMPLE, replace=False))]
    last = max(2, min(most, MOST, len(x) // 2))
    tried: dict[int, float] = {}
    for k in range(2, last + 1):
        tried[k] = fit_gmm(x, Plan(k, 1, seed, 0)).score
        if k - min(tried, key=tried.__getitem__) >= _PATIENCE:
            break
    best = min(tried, key=tried.__getitem__)
    if best == MOST:
        _logger.warning("the BIC still falls at k=%d, the most that is tried; more clusters need a number for k.", best)
    return Choice(best, tried)


def count_distinct(x: NDArray[np.floating[Any]], enough: int) -> int:
    """Count different rows, at least up to `enough`."""
    for n in (8 * enough, len(x)):
        found = len(np.unique(x[:n], axis=0))
        if found >= enough:
            break
    return found
