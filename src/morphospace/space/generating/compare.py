"""What the components are in terms of what is known: class labels, and votes of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.space.where import columns_of, rows_where

__all__ = ["Agreement", "compare_labels", "compare_votes", "nested_cuts"]


class Agreement(NamedTuple):
    """Components beside classes.

    Attributes
    ----------
    classes : tuple of str
    counts : array of int64, (k, n_classes)
        Objects of each component in each class; objects without a component or a class are left out.
    ami, ari : float
        Adjusted mutual information and adjusted Rand index: 0 for chance, 1 for the same partition.
    purity : float
        Share of the objects that are in the commonest class of their component; grows with the number of components.
    majority : float
        The same with one component: share of the commonest class.
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    ami: float
    ari: float
    purity: float
    majority: float

    def table(self) -> pa.Table:
        """Give a table: component, n, ``n_NAME`` for each class, commonest, and its share as purity."""
        n = self.counts.sum(axis=1)
        best = self.counts.max(axis=1, initial=0)
        return pa.table(
            {
                "component": np.arange(len(self.counts)),
                "n": n,
                **{f"n_{name}": self.counts[:, i] for i, name in enumerate(self.classes)},
                "commonest": pa.array(
                    [self.classes[int(row.argmax())] if row.any() else None for row in self.counts], pa.string()
                ),
                "purity": np.divide(best, n, out=np.full(len(n), np.nan), where=n > 0),
            }
        )


def compare_labels(labels: NDArray[np.int64], classes: Sequence[object]) -> Agreement:
    """Compare components with a column of classes.

    Parameters
    ----------
    labels : array of int, (N,)
        Component of each object; -1 for none.
    classes : sequence, length N
        Texts or numbers; None and NaN are unknown.

    Returns
    -------
    Agreement

    Raises
    ------
    ShapeError
        If the lengths differ.
    DataError
        If no object has both.
    """
    _check_length(labels, len(classes), "classes")
    named = np.array([None if c is None or c != c else str(c) for c in classes], dtype=object)
    known = np.flatnonzero((labels >= 0) & np.array([c is not None for c in named], dtype=bool))
    if not len(known):
        msg = "no object has both a component and a class; give the column that holds the classes."
        raise DataError(msg)
    names, codes = np.unique(named[known].astype(str), return_inverse=True)
    own = labels[known]
    counts = np.zeros((int(labels.max()) + 1, len(names)), np.int64)
    np.add.at(counts, (own, codes), 1)
    return Agreement(
        tuple(names.tolist()),
        counts,
        float(adjusted_mutual_info_score(codes, own)),
        float(adjusted_rand_score(codes, own)),
        float(counts.max(axis=1).sum() / counts.sum()),
        float(counts.sum(axis=0).max() / counts.sum()),
    )


def compare_votes(labels: NDArray[np.int64], votes: pa.Table) -> pa.Table:
    """Give the mean vote of each component, with its standard error.

    Parameters
    ----------
    labels : array of int, (N,)
        Component of each object; -1 for none.
    votes : pyarrow.Table, N rows
        Columns of numbers: fractions of votes, or any other; null and NaN are left out.

    Returns
    -------
    pyarrow.Table
        ``component``, ``n``, and for each column ``NAME_mean`` and ``NAME_error``; last row, component -1: all objects. NaN
        where fewer than one (two for the error) have a vote.

    Raises
    ------
    ShapeError
        If the lengths differ.
    DataError
        If a column holds no numbers.
    """
    _check_length(labels, len(votes), "votes")
    k = int(labels.max(initial=-1)) + 1
    members = [np.flatnonzero(labels == c) for c in range(k)] + [np.flatnonzero(labels >= 0)]
    table = {"component": np.array([*range(k), -1]), "n": np.array([len(m) for m in members])}
    for name in votes.column_names:
        values = _numbers(votes, name)
        pieces = [values[m][np.isfinite(values[m])] for m in members]
        table[f"{name}_mean"] = np.array([p.mean() if len(p) else np.nan for p in pieces])
        table[f"{name}_error"] = np.array([p.std(ddof=1) / np.sqrt(len(p)) if len(p) > 1 else np.nan for p in pieces])
    return pa.table(table)


def nested_cuts(labels: NDArray[np.int64], table: pa.Table, cuts: Sequence[str]) -> pa.Table:
    """Count what is left of each component after one condition, after that and the next, and so on.

    Parameters
    ----------
    labels : array of int, (N,)
        Component of each object; -1 for none.
    table : pyarrow.Table, N rows
    cuts : sequence of str
        Conditions as of ``rows_where``, such as the thresholds on votes of a decision tree:
        ``["features > 0.43", "edge_on < 0.3", "spiral > 0.6"]``.

    Returns
    -------
    pyarrow.Table
        ``component``, ``n``, then ``cut_1``, ``cut_2`` and so on: objects left; ``share``: of those the part that passed the
        last; last row, component -1: all objects.

    Raises
    ------
    ConfigError
        If there is no condition, or one cannot be read.
    ShapeError
        If the lengths differ.
    """
    _check_length(labels, len(table), "rows")
    if not cuts:
        msg = "no cut was given; write conditions on columns, such as 'features > 0.43'."
        raise ConfigError(msg)
    k = int(labels.max(initial=-1)) + 1
    left = labels >= 0
    columns = [_left(labels, left, k)]
    for cut in cuts:
        wanted = columns_of(cut, table.column_names)
        # a condition on no column at all has as many answers as there are rows
        left = left & rows_where(table.select(list(dict.fromkeys(wanted)) or table.column_names[:1]), cut)
        columns.append(_left(labels, left, k))
    share = np.divide(columns[-1], columns[0], out=np.full(k + 1, np.nan), where=columns[0] > 0)
    named = {f"cut_{i}": column for i, column in enumerate(columns[1:], start=1)}
    return pa.table({"component": np.array([*range(k), -1]), "n": columns[0], **named, "share": share})


def _left(labels: NDArray[np.int64], left: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    own = np.bincount(labels[left], minlength=k)
    return np.append(own, own.sum())


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    except pa.ArrowException:
        msg = f"votes must be numbers; column '{name}' holds {table[name].type}. Compare it as classes instead."
        raise DataError(msg) from None


def _check_length(labels: NDArray[np.int64], n: int, what: str) -> None:
    if labels.shape != (n,):
        msg = f"there are {n} {what} for labels of shape {labels.shape}; give one for each object."
        raise ShapeError(msg)
