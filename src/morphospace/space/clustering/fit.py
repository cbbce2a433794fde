"""Fit each method with scikit-learn and keep what it found as plain arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import NearestNeighbors

from morphospace.errors import ConfigError
from morphospace.space.clustering.models import Centres, Density, Mixture, Model

__all__ = ["FITS", "Fit", "Plan"]

Float = NDArray[np.float64]
Real = NDArray[np.floating[Any]]

_REGULAR = 1e-4  # added to variances, which are about 1 along the first axis
_STEPS = 300


class Plan(NamedTuple):
    """How to fit."""

    k: int
    """Number of clusters; of dpgmm the most there may be; unused by hdbscan."""
    n_starts: int
    """Starts of which the best is kept."""
    seed: int
    min_size: int
    """Fewest members of a cluster of hdbscan."""


class Fit(NamedTuple):
    """A model and its own figure of merit."""

    model: Model
    score: float
    """k-means: sum of squared distances; gmm: BIC; dpgmm: lower bound; hdbscan: share of rows in a cluster."""


def fit_kmeans(x: Real, plan: Plan) -> Fit:
    """Fit k-means by Lloyd's algorithm, started by k-means++."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # raised just where points coincide
        try:
            found = KMeans(plan.k, n_init=plan.n_starts, random_state=plan.seed).fit(x.astype(np.float32, copy=False))
        except ConvergenceWarning:
            raise _too_many(plan.k) from None
    centers = np.asarray(found.cluster_centers_, dtype=np.float64)
    freedom = max(1, len(x) - plan.k) * x.shape[1]
    variance = max(float(found.inertia_) / freedom, float(np.finfo(np.float32).eps))
    return Fit(Centres(centers, variance), float(found.inertia_))


def fit_gmm(x: Real, plan: Plan) -> Fit:
    """Fit a Gaussian mixture with full covariances by expectation maximisation, started by k-means."""
    x = x.astype(np.float64, copy=False)
    model = GaussianMixture(plan.k, n_init=plan.n_starts, random_state=plan.seed, reg_covar=_REGULAR, max_iter=_STEPS)
    with _quiet_em():
        model.fit(x)
    factors = np.asarray(model.precisions_cholesky_)
    offsets = np.log(np.maximum(model.weights_, np.finfo(float).tiny)) + _log_det(factors)
    return Fit(Mixture(np.asarray(model.means_), factors, offsets), float(model.bic(x)))


def fit_dpgmm(x: Real, plan: Plan) -> Fit:
    """Fit a Dirichlet-process mixture by variational inference (Blei & Jordan 2006), k components at most."""
    x = x.astype(np.float64, copy=False)
    model = BayesianGaussianMixture(
        n_components=plan.k,
        n_init=plan.n_starts,
        random_state=plan.seed,
        reg_covar=_REGULAR,
        max_iter=_STEPS,
        weight_concentration_prior_type="dirichlet_process",
    )
    with _quiet_em():
        model.fit(x)
    factors = np.asarray(model.precisions_cholesky_)
    freedom, dims = model.degrees_of_freedom_, x.shape[1]
    # E[ln |Lambda|] and E[ln pi] of Bishop 2006, eq. 10.65, and of the stick-breaking process, as scikit-learn has them.
    log_lambda = dims * np.log(2.0) + digamma(0.5 * (freedom - np.arange(dims)[:, None])).sum(axis=0)
    one, rest = model.weight_concentration_
    total = digamma(one + rest)
    log_weights = digamma(one) - total + np.concatenate([[0.0], np.cumsum(digamma(rest) - total)[:-1]])
    offsets = log_weights + _log_det(factors) - 0.5 * dims * np.log(freedom)
    offsets += 0.5 * (log_lambda - dims / model.mean_precision_)
    return Fit(Mixture(np.asarray(model.means_), factors, offsets), float(model.lower_bound_))


def fit_hdbscan(x: Real, plan: Plan) -> Fit:
    """Fit HDBSCAN: the clusters that last longest while the density rises."""
    points = x.astype(np.float64)  # a copy, which the model keeps
    if len(x) < 2:  # a resample of very few rows
        nothing = np.zeros(len(x))
        return Fit(Density(points, np.full(len(x), -1), nothing, nothing, np.zeros(0), 1), 0.0)
    n = min(max(2, plan.min_size // 2), len(x))
    found = HDBSCAN(min_cluster_size=plan.min_size, min_samples=n, copy=True).fit(points)
    labels = np.asarray(found.labels_, dtype=np.int64)
    k = int(labels.max(initial=-1)) + 1
    distance, _ = NearestNeighbors(n_neighbors=n).fit(points).kneighbors(points)
    core = distance[:, -1]
    reach = np.zeros(k)
    for c in range(k):
        reach[c] = _widest_step(points[labels == c], core[labels == c])
    strength = np.asarray(found.probabilities_, dtype=np.float64)
    return Fit(Density(points, labels, strength, core, reach, n), float((labels >= 0).mean()))


FITS: dict[str, Callable[[Real, Plan], Fit]] = {
    "kmeans": fit_kmeans,
    "gmm": fit_gmm,
    "dpgmm": fit_dpgmm,
    "hdbscan": fit_hdbscan,
}


def _log_det(factors: Float) -> Float:
    return np.asarray(np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1))


def _widest_step(x: Float, core: Float) -> float:
    """Largest mutual reachability distance of a member to the next one."""
    if len(x) < 2:
        return 0.0
    distance, near = NearestNeighbors(n_neighbors=2).fit(x).kneighbors(x)
    return float(np.maximum(np.maximum(distance[:, 1], core), core[near[:, 1]]).max())


@contextmanager
def _quiet_em() -> Iterator[None]:
    """Silence the warning that EM has not settled after its steps: what it has then is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _too_many(k: int) -> ConfigError:
    return ConfigError(f"k must not be above the number of different vectors; got {k}, and many of them are equal.")
