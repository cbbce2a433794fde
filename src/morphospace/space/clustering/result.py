"""What a clustering gives back, and keeps beside the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError
from morphospace.space.clustering.models import MODELS, Model
from morphospace.space.clustering.reduction import Reduction
from morphospace.space.clustering.stability import Stability
from morphospace.space.clustering.validity import ABOVE, Validity, counts_above, overlap_matrix
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import keep, kept

__all__ = ["Assigned", "Clusters", "label_rows", "open_clusters"]

Int = NDArray[np.int64]


class Assigned(NamedTuple):
    """Clusters of new vectors."""

    labels: Int
    """(M,), -1 for a vector in no cluster or one that cannot be placed (NaN; zero under the cosine)."""
    probabilities: NDArray[np.float32]
    """(M, k); a row of zeros belongs to no cluster, a row of NaN could not be placed."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """A cluster for each row, and how good the clusters are.

    Attributes
    ----------
    ids : tuple of str
    labels : array of int64, (N,)
        From 0, the largest cluster, to k - 1, the smallest; -1 for rows in none, as those without a vector.
    probabilities : array of float32, (N, k)
        Membership of each row in each cluster. They add up to 1; with hdbscan only the own cluster has one, its strength,
        and noise has none. NaN for rows without a vector.
    typicality : array of float32, (N,)
        Minus the distance to the centre of the own cluster as the method measures it; with hdbscan the strength. Only its
        order within a cluster means something. NaN for rows in none.
    method : str
    reduction : Reduction
        What is done to a vector first.
    model : Model
        The clusters as arrays.
    validity : Validity
        Silhouettes and Calinski-Harabasz index.
    stability : Stability
        Over bootstrap samples.
    told : dict
        What was asked for and what ``k="auto"`` tried: ``k_asked, seed, min_size, score, tried, ignored``.
    """

    ids: tuple[str, ...]
    labels: Int
    probabilities: NDArray[np.float32]
    typicality: NDArray[np.float32]
    method: str
    reduction: Reduction
    model: Model
    validity: Validity
    stability: Stability
    told: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Clusters({self.method}, {self.k} of {len(self.ids):,} rows)"

    @property
    def k(self) -> int:
        """Number of clusters."""
        return int(self.probabilities.shape[1])

    @property
    def metric(self) -> str:
        """``"cosine"`` or ``"euclidean"``."""
        return self.reduction.metric

    @property
    def centers(self) -> NDArray[np.float64]:
        """Mean of each cluster in the reduced space, (k, d)."""
        return self.model.centers

    @property
    def sizes(self) -> Int:
        """Number of rows in each cluster, (k,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.k).astype(np.int64)

    @property
    def overlap(self) -> NDArray[np.float64]:
        """Mean memberships of the rows of each cluster, (k, k); see ``overlap_matrix``."""
        return overlap_matrix(self.probabilities, self.labels)

    @property
    def above(self) -> Int:
        """Rows of each cluster whose membership is above 0.5, 0.7, 0.9, 0.95 and 0.99, (5, k)."""
        return counts_above(self.probabilities, self.labels)

    def typical(self, label: int, n: int = 12) -> Int:
        """Give the most typical rows of a cluster, the first the most; fewer where it has fewer."""
        rows = np.flatnonzero(self.labels == label)
        return rows[np.argsort(-self.typicality[rows], kind="stable")][:n]

    def random(self, label: int, n: int = 12, *, seed: int = 0) -> Int:
        """Give rows of a cluster drawn at random, in increasing order."""
        rows = np.flatnonzero(self.labels == label)
        chosen = np.random.default_rng([seed, label]).choice(rows, min(n, len(rows)), replace=False)
        return np.sort(chosen).astype(np.int64)

    def table(self) -> pa.Table:
        """Give an Arrow table: ``id``, ``label`` (int32), ``p_0`` to ``p_{k-1}``, ``typicality`` (float32)."""
        columns = {"id": pa.array(self.ids, pa.string()), "label": pa.array(self.labels, pa.int32())}
        columns |= {f"p_{c}": pa.array(self.probabilities[:, c]) for c in range(self.k)}
        return pa.table({**columns, "typicality": pa.array(self.typicality)})

    def about(self) -> dict[str, Any]:
        """Give all figures by name, as they are kept; lists have one entry for each cluster."""
        with np.errstate(invalid="ignore"):
            own = np.diagonal(self.overlap)
        return {
            "method": self.method,
            "k": self.k,
            "metric": self.metric,
            "dims": self.reduction.dims,
            "explained": self.reduction.explained,
            **self.told,
            "sizes": self.sizes.tolist(),
            "n_none": int(np.count_nonzero(self.labels < 0)),
            "mean_probability": own.tolist(),
            "silhouette": self.validity.silhouette,
            "silhouettes": self.validity.silhouettes.tolist(),
            "silhouette_sample": self.validity.n_sampled,
            "silhouette_simplified": self.validity.simplified_silhouette,
            "calinski_harabasz": self.validity.calinski_harabasz,
            "stability": self.stability.rand,
            "stability_spread": self.stability.rand_spread,
            "jaccards": self.stability.jaccards.tolist(),
            "rands": self.stability.rands.tolist(),
            "resamples": self.stability.n_resamples,
            "overlap": self.overlap.tolist(),
            "above": {str(least): row.tolist() for least, row in zip(ABOVE, self.above, strict=True)},
        }

    def assign(self, vectors: ArrayLike) -> Assigned:
        """Assign vectors of the same space.

        Parameters
        ----------
        vectors : array, (M, D), float

        Returns
        -------
        Assigned
            The vectors that were clustered get the labels that they have.

        Raises
        ------
        ShapeError
            If they have another number of dimensions.
        """
        rows, x = self.reduction(vectors)
        found = self.model.memberships(x)
        labels = np.full(len(np.asarray(vectors)), -1, dtype=np.int64)
        probabilities = np.full((len(labels), self.k), np.nan, dtype=np.float32)
        labels[rows], probabilities[rows] = label_rows(found), found
        return Assigned(labels, probabilities)

    def save(self, emb: Embeddings, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Keep the result beside the embeddings; no pickle.

        Parameters
        ----------
        emb : Embeddings
            Those that were clustered, opened from a folder.
        name : str, optional
            Letters, digits and ``. _ + -``. Default: the method.
        overwrite : bool
            Replace a result of the same name.

        Raises
        ------
        DataError
            If the embeddings are in memory only or others.
        StoreError
            If there is a result of the same name and ``overwrite`` is not given.
        """
        arrays = {f"reduction.{key}": value for key, value in self.reduction.arrays().items()}
        arrays |= {f"model.{key}": value for key, value in self.model.arrays().items()}
        return keep(emb, "clusters", name or self.method, self.table(), self.about(), arrays, overwrite=overwrite)


def label_rows(memberships: NDArray[np.float32]) -> Int:
    """Give the cluster with the highest membership, (N,); -1 where all are 0."""
    if memberships.shape[1] == 0:
        return np.full(len(memberships), -1, dtype=np.int64)
    best = memberships.argmax(axis=1)
    return np.where(memberships[np.arange(len(best)), best] > 0, best, -1).astype(np.int64)


def open_clusters(emb: Embeddings, name: str) -> Clusters:
    """Open clusters that were kept beside embeddings.

    Parameters
    ----------
    emb : Embeddings
    name : str
        As given when they were made; by default the method.

    Returns
    -------
    Clusters
        Equal to what was saved.

    Raises
    ------
    ConfigError
        If there are none of this name.
    DataError
        If the embeddings have been written anew since.
    StoreError
        If a file is damaged.
    """
    found = kept(emb, "clusters")
    if name not in found:
        hint = nearest(name, list(found)) if found else "; there are none: run morphospace cluster first"
        msg = f"embeddings {emb.name} have no clusters '{name}'{hint}"
        raise ConfigError(msg)
    one = found[name]
    if not one.fresh:
        msg = f"clusters '{name}' belong to other rows or vectors than embeddings {emb.name} have now; make them again."
        raise DataError(msg)
    about, arrays = one.about, one.arrays()
    k, table = int(about["k"]), one.table
    probabilities = [table[f"p_{c}"].to_numpy() for c in range(k)]
    return Clusters(
        ids=tuple(table["id"].to_pylist()),
        labels=table["label"].to_numpy().astype(np.int64),
        probabilities=np.array(probabilities, dtype=np.float32).reshape(k, len(table)).T.copy(),
        typicality=np.asarray(table["typicality"].to_numpy(), dtype=np.float32),
        method=str(about["method"]),
        reduction=Reduction.of(str(about["metric"]), _under("reduction.", arrays)),
        model=MODELS[str(about["method"])].of(_under("model.", arrays)),
        validity=Validity(
            _number(about["silhouette"]),
            _numbers(about["silhouettes"]),
            int(about["silhouette_sample"]),
            _number(about["silhouette_simplified"]),
            _number(about["calinski_harabasz"]),
        ),
        stability=Stability(
            _number(about["stability"]),
            _number(about["stability_spread"]),
            _numbers(about["jaccards"]),
            _numbers(about["rands"]),
            int(about["resamples"]),
        ),
        told={key: about[key] for key in ("k_asked", "seed", "min_size", "score", "tried", "ignored")},
    )


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([_number(value) for value in values], dtype=np.float64)
