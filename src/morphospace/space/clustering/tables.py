"""Clusters against labels that people gave: cross-tabulation, purity, mutual information, accuracy after matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from morphospace.errors import DataError, ShapeError
from morphospace.space.names import one_line

__all__ = ["Comparison", "compare"]

Int = NDArray[np.int64]

_MOST_CLASSES = 200


@dataclass(frozen=True, eq=False)
class Comparison:
    """A cross-tabulation of clusters and classes, and what follows from it.

    Attributes
    ----------
    classes : tuple of str
        Values of the label, sorted.
    counts : array of int64, (k + 1, n_classes)
        Labelled rows of each cluster and class; the last row counts those in no cluster.
    purity : float
        Share of the labelled rows that have the commonest class of their cluster; rows in no cluster do not.
        Rises with k by itself.
    ami : float
        Adjusted mutual information (Vinh+ 2010), 0 by chance whatever k is, 1 where both agree. Rows in no cluster count
        as one more.
    ari : float
        Adjusted Rand index, likewise.
    accuracy : float
        Share of the labelled rows that are right when each class is given to one cluster at most, in the best way
        (Hungarian method, Kuhn 1955).
    matched : tuple of str or None, (k,)
        The class that each cluster got there.
    """

    classes: tuple[str, ...]
    counts: Int
    purity: float
    ami: float
    ari: float
    accuracy: float
    matched: tuple[str | None, ...]

    @property
    def n(self) -> int:
        """Number of labelled rows."""
        return int(self.counts.sum())

    def figures(self) -> dict[str, Any]:
        """Give all as plain values, for JSON."""
        return {
            "n": self.n,
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
            "purity": self.purity,
            "ami": self.ami,
            "ari": self.ari,
            "accuracy": self.accuracy,
            "matched": list(self.matched),
        }


def compare(labels: NDArray[np.integer[Any]], truth: Sequence[object]) -> Comparison:
    """Compare clusters with labels that people gave.

    Parameters
    ----------
    labels : array of int, (N,)
        Clusters from 0; -1 for rows in none.
    truth : sequence, (N,)
        Class of each row; None, NaN and empty texts are rows without one and are left out.

    Returns
    -------
    Comparison

    Raises
    ------
    ShapeError
        If the lengths differ.
    DataError
        If there are fewer than two classes, or more than 200.
    """
    found = np.asarray(labels, dtype=np.int64)
    if found.shape != (len(truth),):
        msg = f"compare needs one label for each of the {len(found)} rows; got {len(truth)}."
        raise ShapeError(msg)
    named = np.array([_is_named(value) for value in truth], dtype=np.bool_)
    names = [str(value) for value, there in zip(truth, named, strict=True) if there]
    classes, code = np.unique(np.array(names, dtype=object), return_inverse=True)
    if not 2 <= len(classes) <= _MOST_CLASSES:
        only = f", '{one_line(str(classes[0]), 40)}'" if len(classes) == 1 else ""
        msg = f"labels need from 2 to {_MOST_CLASSES} different values to compare clusters with; got {len(classes)}{only}."
        raise DataError(msg)
    k = int(found.max(initial=-1)) + 1
    place = found[named]
    place = np.where(place < 0, k, place)
    counts = np.zeros((k + 1, len(classes)), dtype=np.int64)
    np.add.at(counts, (place, code), 1)
    rows, columns = linear_sum_assignment(-counts[:k])
    matched: list[str | None] = [None] * k
    for row, column in zip(rows, columns, strict=True):
        matched[row] = str(classes[column]) if counts[row, column] else None
    n = len(code)
    return Comparison(
        classes=tuple(str(c) for c in classes),
        counts=counts,
        purity=float(counts[:k].max(axis=1).sum() / n) if k else 0.0,
        ami=float(adjusted_mutual_info_score(code, place)),
        ari=float(adjusted_rand_score(code, place)),
        accuracy=float(counts[rows, columns].sum() / n),
        matched=tuple(matched),
    )


def _is_named(value: object) -> bool:
    return not (value is None or value == "" or (isinstance(value, float) and np.isnan(value)))
