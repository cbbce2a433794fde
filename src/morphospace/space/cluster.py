"""Group what looks alike: k-means, Gaussian and Dirichlet-process mixtures, HDBSCAN, with figures that judge them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError
from morphospace.space.clustering.choose import MOST, Choice, choose_k, count_distinct
from morphospace.space.clustering.fit import FITS, Fit, Plan
from morphospace.space.clustering.models import Model
from morphospace.space.clustering.reduction import Reduction, fit_reduction
from morphospace.space.clustering.result import Clusters, label_rows, open_clusters
from morphospace.space.clustering.stability import Stability, resample_stability
from morphospace.space.clustering.validity import measure
from morphospace.space.embeddings import Embeddings
from morphospace.space.index import METRICS

__all__ = ["DIMS", "METHODS", "Clusters", "cluster", "open_clusters", "reassign"]

METHODS = tuple(FITS)
#: Principal axes that mixtures and HDBSCAN see, and that k is chosen in.
DIMS = 8
_N_STARTS = {"kmeans": 10, "gmm": 3, "dpgmm": 2, "hdbscan": 1}
_N_STARTS_AGAIN = {"kmeans": 3, "gmm": 1, "dpgmm": 1, "hdbscan": 1}
_SIZED = ("dpgmm", "hdbscan")

_logger = logging.getLogger(__name__)

Real = NDArray[np.floating[Any]]
Int = NDArray[np.int64]


class _Asked(NamedTuple):
    """How to fit: once to all rows, and again to resamples."""

    method: str
    k: int
    min_size: int
    seed: int

    def plan(self, *, again: int | None = None) -> Plan:
        starts = _N_STARTS if again is None else _N_STARTS_AGAIN
        seed = self.seed if again is None else self.seed + 1 + again
        return Plan(self.k, starts[self.method], seed, self.min_size)


def cluster(
    emb: Embeddings,
    method: Literal["kmeans", "gmm", "dpgmm", "hdbscan"] = "kmeans",
    *,
    k: int | Literal["auto"] = "auto",
    metric: Literal["cosine", "euclidean"] = "cosine",
    dims: int | None = None,
    min_size: int | None = None,
    ignore: Sequence[int] = (),
    resamples: int = 20,
    seed: int = 0,
) -> Clusters:
    """Group rows by their vectors, and say how good the groups are.

    Parameters
    ----------
    emb : Embeddings
    method : {"kmeans", "gmm", "dpgmm", "hdbscan"}
        ``kmeans``: round clusters of like width. ``gmm``: Gaussian mixture, each cluster with its own covariance.
        ``dpgmm``: the same with a Dirichlet process that lets needless clusters die. ``hdbscan``: dense regions of any
        form, the rest is in no cluster. All through scikit-learn.
    k : int or "auto"
        Number of clusters, from 2 to the number of different vectors. "auto": the number of Gaussians with the lowest
        BIC, at most 20. For dpgmm the most there may be ("auto": 20). hdbscan finds its own.
    metric : {"cosine", "euclidean"}
        How vectors are normalised before, as for ``search``.
    dims : int, optional
        Principal axes that the method sees. Default: 8, for kmeans all dimensions.
    min_size : int, optional
        Fewest rows of a cluster, for dpgmm and hdbscan. Default: half the square root of the number of rows, at least 5.
    ignore : sequence of int
        Clusters to leave out, numbered as without this option; their rows go to the cluster with the next membership.
    resamples : int
        Bootstrap samples for the stability; 0 leaves it out.
    seed : int
        Same seed, same rows, same releases: same labels.

    Returns
    -------
    Clusters
        Labels, memberships, figures; ``assign`` takes new vectors, ``save`` keeps it beside the embeddings.

    Raises
    ------
    ConfigError
        If an option is unknown, out of range, or not one of this method.
    DataError
        If no row has a vector, or all are equal.

    Notes
    -----
    k-means and mixtures find k clusters in any data, also where there are none: look at the stability. Mixtures with
    full covariances need few dimensions. On simulated mixtures within 128 dimensions (10 of them signal) the adjusted
    mutual information of gmm and dpgmm was highest with 8 or 12 principal axes (0.93 to 0.99) and fell to 0.75 to 0.85
    with 32; that of hdbscan with 4 to 8; that of kmeans did not depend on it.

    A resample is fitted with the axes and k of the whole. Of more than 10,000 rows, k is chosen and stability found from
    as many drawn at random, silhouettes from 5,000.
    """
    _check(method, k, metric, min_size, resamples)
    reduction = fit_reduction(emb.vectors, metric, DIMS if dims is None and method != "kmeans" else dims, seed)
    rows, x = reduction(emb.vectors)
    n_distinct = _check_rows(emb, x, k)
    least = min_size or (max(5, round(math.sqrt(len(x)) / 2)) if method in _SIZED else 1)
    choice = _choose(emb, x, reduction, k, method, n_distinct, seed)
    asked = _Asked(method, choice.k, min(least, len(x)), seed)
    model, score = _fitted(x, asked)
    labels = label_rows(model.memberships(x))
    stability = resample_stability(
        x, labels, _again(asked), distinct=method == "hdbscan", n_resamples=resamples, seed=seed
    )
    told: dict[str, Any] = {"k_asked": k, "seed": seed, "min_size": asked.min_size, "score": score}
    told |= {"tried": {str(n): bic for n, bic in choice.tried.items()}, "ignored": []}
    found = _result(emb, method, (rows, x), (reduction, model), stability, told)
    return reassign(emb, found, ignore) if len(ignore) else found


def reassign(emb: Embeddings, clusters: Clusters, ignore: Sequence[int]) -> Clusters:
    """Leave out clusters, say of artefacts, and give their rows to the rest by the next membership.

    Parameters
    ----------
    emb : Embeddings
        Those that were clustered.
    clusters : Clusters
    ignore : sequence of int
        Numbers of the clusters to leave out.

    Returns
    -------
    Clusters
        Numbered anew by size; ``told["ignored"]`` has the numbers left out. Memberships are those of the model without
        the clusters, so they add up to 1 again; with hdbscan, which has no second choice, the rows are in no cluster.
        The stability of a cluster is that from before, that of the whole NaN.

    Raises
    ------
    ConfigError
        If there is no such cluster, or none would remain.
    DataError
        If the embeddings are not those that were clustered.
    """
    if tuple(emb.ids) != clusters.ids:
        msg = f"the clusters are of other rows than embeddings {emb.name}; give those that were clustered."
        raise DataError(msg)
    left_out = sorted(set(ignore))
    unknown = [c for c in left_out if not 0 <= c < clusters.k]
    if unknown:
        msg = f"ignore names cluster {unknown[0]}, but they are numbered from 0 to {clusters.k - 1}."
        raise ConfigError(msg)
    if len(left_out) == clusters.k:
        msg = f"ignore names all {clusters.k} clusters; leave at least one."
        raise ConfigError(msg)
    stay = np.setdiff1d(np.arange(clusters.k), left_out)
    rows, x = clusters.reduction(emb.vectors)
    model = clusters.model.take(stay)
    order = _by_size(model, x)
    was, stay = clusters.stability, stay[order]
    stability = Stability(np.nan, np.nan, was.jaccards[stay], was.rands[stay], was.n_resamples)
    told = {**clusters.told, "ignored": [*clusters.told["ignored"], left_out]}
    placed = clusters.reduction, model.take(order)
    return _result(emb, clusters.method, (rows, x), placed, stability, told)


def _check(method: str, k: int | str, metric: str, min_size: int | None, resamples: int) -> None:
    if method not in METHODS:
        msg = f"unknown cluster method '{method}'{nearest(method, METHODS)}"
        raise ConfigError(msg)
    if metric not in METRICS:
        msg = f"metric must be 'cosine' or 'euclidean'; got {metric!r}."
        raise ConfigError(msg)
    if isinstance(k, str) and k != "auto":
        msg = f"k must be a whole number or 'auto'; got {k!r}."
        raise ConfigError(msg)
    if method == "hdbscan" and k != "auto":
        msg = f"hdbscan finds its own number of clusters; leave k={k} out and set min_size."
        raise ConfigError(msg)
    if min_size is not None and method not in _SIZED:
        msg = f"min_size is for dpgmm and hdbscan; '{method}' has none."
        raise ConfigError(msg)
    if min_size is not None and min_size < 2:
        msg = f"min_size must be 2 or more; got {min_size}."
        raise ConfigError(msg)
    if resamples < 0:
        msg = f"resamples must be 0 or more; got {resamples}."
        raise ConfigError(msg)


def _check_rows(emb: Embeddings, x: Real, k: int | str) -> int:
    """Count the different vectors, as far as it matters."""
    if len(x) == 0:
        msg = f"no row of embeddings {emb.name} has a vector, so there is nothing to group."
        raise DataError(msg)
    n_distinct = count_distinct(x, MOST if isinstance(k, str) else max(k, 2))
    if n_distinct < 2:
        msg = f"all {len(x)} vectors of embeddings {emb.name} are equal, so there is nothing to group."
        raise DataError(msg)
    if not isinstance(k, str) and not 2 <= k <= n_distinct:
        n_distinct = count_distinct(x, len(x))
        msg = f"k must be from 2 to {n_distinct}, the number of different vectors; got {k}."
        raise ConfigError(msg)
    return n_distinct


def _choose(
    emb: Embeddings, x: Real, reduction: Reduction, k: int | str, method: str, n_distinct: int, seed: int
) -> Choice:
    if not isinstance(k, str):
        return Choice(k, {})
    if method == "hdbscan":
        return Choice(0, {})
    most = min(MOST, n_distinct)
    if method == "dpgmm":
        return Choice(most, {})
    if reduction.dims > DIMS and reduction.axes is None:
        _, x = fit_reduction(emb.vectors, reduction.metric, DIMS, seed)(emb.vectors)
    return choose_k(x, most=most, seed=seed)


def _fitted(x: Real, asked: _Asked) -> Fit:
    """Fit, drop what died, and number the rest by size."""
    model, score = FITS[asked.method](x, asked.plan())
    alive, least = _alive(model, x, asked)
    died = model.centers.shape[0] - len(alive)
    if died:
        _logger.info("%d of %d clusters died: fewer than %d rows.", died, died + len(alive), least)
    model = model.take(alive)
    return Fit(model.take(_by_size(model, x)), score)


def _alive(model: Model, x: Real, asked: _Asked) -> tuple[Int, int]:
    """Find the clusters with enough rows, or the largest where none has."""
    counts = _counts(model, x)
    least = asked.min_size if asked.method == "dpgmm" else 1
    return np.flatnonzero(counts >= min(least, int(counts.max(initial=0)))), least


def _again(asked: _Asked) -> Callable[[Real, int], Int]:
    """Fit resamples as the whole was."""

    def refit(x: Real, number: int) -> Int:
        plan = asked.plan(again=number)
        model = FITS[asked.method](x, plan._replace(k=min(plan.k, count_distinct(x, plan.k)))).model
        return label_rows(model.take(_alive(model, x, asked)[0]).memberships(x))

    return refit


def _counts(model: Model, x: Real) -> Int:
    found = model.memberships(x)
    labels = label_rows(found)
    return np.bincount(labels[labels >= 0], minlength=found.shape[1]).astype(np.int64)


def _by_size(model: Model, x: Real) -> Int:
    counts = _counts(model, x)
    return np.lexsort((np.arange(len(counts)), -counts))


def _result(
    emb: Embeddings,
    method: str,
    placed: tuple[Int, Real],
    fitted: tuple[Reduction, Model],
    stability: Stability,
    told: Mapping[str, Any],
) -> Clusters:
    (rows, x), (reduction, model) = placed, fitted
    found = model.memberships(x)
    own = label_rows(found)
    labels = np.full(len(emb), -1, dtype=np.int64)
    probabilities = np.full((len(emb), found.shape[1]), np.nan, dtype=np.float32)
    typicality = np.full(len(emb), np.nan, dtype=np.float32)
    labels[rows], probabilities[rows], typicality[rows] = own, found, model.typicality(x, own)
    if found.shape[1] == 0:
        _logger.warning("no cluster was found; a smaller min_size than %s finds looser ones.", told["min_size"])
    validity = measure(x, own, seed=int(told["seed"]))
    return Clusters(
        tuple(emb.ids), labels, probabilities, typicality, method, reduction, model, validity, stability, dict(told)
    )
