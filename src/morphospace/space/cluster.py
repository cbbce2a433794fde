"""Group what looks alike: k-means with a seed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from morphospace.errors import ConfigError, DataError
from morphospace.space.embeddings import Embeddings
from morphospace.space.index import METRICS

__all__ = ["METHODS", "Clusters", "cluster"]

METHODS = ("kmeans",)
_N_STARTS = 10


@dataclass(frozen=True)
class Clusters:
    """A group for each row.

    Attributes
    ----------
    ids : tuple of str
    labels : array of int64, (N,)
        From 0, the largest cluster, to k - 1, the smallest; -1 for rows without a vector.
    centers : array of float64, (k, D)
        In the normalised space of ``metric``.
    inertia : float
        Sum of squared distances to the centres there.
    metric : str
        ``"cosine"``: unit vectors. ``"euclidean"``: each dimension divided by its standard deviation.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    centers: NDArray[np.float64]
    inertia: float
    metric: str

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centers)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of rows in each cluster, (k,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.k)

    def table(self) -> pa.Table:
        """Give an Arrow table with columns ``id`` and ``label``."""
        return pa.table({"id": pa.array(self.ids, pa.string()), "label": self.labels})


def cluster(emb: Embeddings, method: str = "kmeans", *, k: int = 8, metric: str = "cosine", seed: int = 0) -> Clusters:
    """Group rows by k-means (scikit-learn's, Lloyd's algorithm, best of 10 starts by k-means++).

    Parameters
    ----------
    emb : Embeddings
    method : {"kmeans"}
    k : int, from 2 to the number of different vectors
    metric : {"cosine", "euclidean"}
        How vectors are normalised before, as for ``search``.
    seed : int
        Same seed, same rows, same release of scikit-learn: same labels.

    Returns
    -------
    Clusters

    Raises
    ------
    ConfigError
        If the method or metric is unknown or k is out of range.
    DataError
        If no row has a vector.

    Notes
    -----
    k-means finds k clusters in any data, also where there are none; it takes them to be round and alike in width.
    """
    if method not in METHODS:
        msg = f"unknown cluster method {method!r}; there is 'kmeans'."
        raise ConfigError(msg)
    if metric not in METRICS:
        msg = f"metric must be 'cosine' or 'euclidean'; got {metric!r}."
        raise ConfigError(msg)
    valid, x = emb.index(metric).normalised()
    if len(x) == 0:
        msg = f"no row of embeddings {emb.name} has a vector, so there is nothing to group."
        raise DataError(msg)
    if not 2 <= k <= len(x):
        msg = f"k must be from 2 to {len(x)}, the number of vectors; got {k}."
        raise ConfigError(msg)
    model = _fit(x.astype(np.float32), k, seed)
    order = np.lexsort((np.arange(k), -np.bincount(model.labels_, minlength=k)))
    labels = np.full(len(emb), -1, dtype=np.int64)
    labels[valid] = np.argsort(order)[model.labels_]
    return Clusters(tuple(emb.ids), labels, np.asarray(model.cluster_centers_)[order], float(model.inertia_), metric)


def _fit(x: NDArray[np.float32], k: int, seed: int) -> KMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # raised just where points coincide
        try:
            return KMeans(k, n_init=_N_STARTS, random_state=seed).fit(x)
        except ConvergenceWarning:
            msg = f"k must not be above the number of different vectors; got {k}, and many of them are equal."
            raise ConfigError(msg) from None
