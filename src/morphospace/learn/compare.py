"""Fair comparison: folds that keep classes even and groups whole, and paired intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import ConfigError, DataError, ShapeError

__all__ = ["Difference", "folds", "paired_difference"]

Float = NDArray[np.float64]
Int = NDArray[np.intp]


class Difference(NamedTuple):
    """Difference of two accuracies on the same objects with its interval, as fractions, not per cent."""

    difference: float
    low: float
    high: float


def folds(y: ArrayLike, *, n_folds: int = 5, group: ArrayLike | None = None, seed: int = 0) -> Int:
    """Deal objects into folds, each class evenly and each group whole.

    Parameters
    ----------
    y : array-like, (N,)
        Class of each object, of any sortable type; one constant for plain folds.
    n_folds : int, >= 2
        Number of folds.
    group : array-like, (N,), optional
        Objects of one group (the same source on the sky) share a fold. None: every object for itself.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of int, (N,)
        Fold of each object, 0 to `n_folds` - 1.

    Raises
    ------
    ConfigError
        If `n_folds` < 2.
    ShapeError
        If the lengths differ.
    DataError
        If a class comes in fewer groups than there are folds.

    Notes
    -----
    Groups are taken in random order, large ones first; each goes to the fold with the fewest objects of the group's
    commonest class, then to the smallest.
    """
    if n_folds < 2:
        msg = f"n_folds of folds must be at least 2; got {n_folds}."
        raise ConfigError(msg)
    names, code = np.unique(np.asarray(y), return_inverse=True)
    unit = _units(group, len(code))
    table = np.zeros((unit.max(initial=-1) + 1, len(names)), dtype=np.intp)
    np.add.at(table, (unit, code), 1)
    spread = (table > 0).sum(0)
    if len(code) == 0 or spread.min() < n_folds:
        what = f"class '{names[spread.argmin()]}' has {spread.min()} separate objects" if len(code) else "no object"
        msg = f"{n_folds} folds need as many separate objects of each class; {what}. Use fewer folds or drop it."
        raise DataError(msg)
    fold_of = _deal(table, n_folds, np.random.default_rng(seed))
    return fold_of[unit]


def _units(group: ArrayLike | None, n: int) -> Int:
    """Give each object the number of its group; without groups, each is one."""
    if group is None:
        return np.arange(n)
    unit = np.unique(np.asarray(group), return_inverse=True)[1]
    if unit.shape != (n,):
        msg = f"group must have one entry per object, ({n},); got shape {np.shape(group)}."
        raise ShapeError(msg)
    return unit


def _deal(table: Int, n_folds: int, rng: np.random.Generator) -> Int:
    """Give each group (row of counts per class) a fold."""
    fold_of = np.zeros(len(table), dtype=np.intp)
    load = np.zeros((n_folds, table.shape[1]))
    size = np.zeros(n_folds)
    order = rng.permutation(len(table))
    for i in order[np.argsort(-table[order].sum(1), kind="stable")]:
        f = int(np.lexsort((size, load[:, table[i].argmax()]))[0])
        fold_of[i] = f
        load[f] += table[i]
        size[f] += table[i].sum()
    return fold_of


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    y: ArrayLike | None = None,
    group: ArrayLike | None = None,
    level: float = 0.95,
    n_boot: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare two classifiers on the same objects: accuracy of `a` minus that of `b`.

    Parameters
    ----------
    a, b : array-like, (N,) or (S, N), bool or float
        Whether each object was correct (`Probe.correct`), in any number of seeds; averaged over them.
    y : array-like, (N,), optional
        Classes: then the difference is that of the balanced accuracies. None: of the accuracies.
    group : array-like, (N,), optional
        Objects of one group are drawn together, since they are no independent evidence.
    level : float, 0 to 1
        Coverage of the interval.
    n_boot : int
        Number of resamples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Difference
        As fractions.

    Notes
    -----
    Percentile bootstrap (Efron 1979) over objects, or groups, within the strata of their (commonest) class when `y` is
    given. It says how the difference would vary with other objects for these trained networks; how it varies with the
    seed of the training is to be read from the values per seed.
    """
    gain = np.atleast_2d(np.asarray(a, dtype=np.float64)).mean(0) - np.atleast_2d(np.asarray(b, dtype=np.float64)).mean(
        0
    )
    code = np.zeros(len(gain), dtype=np.intp) if y is None else np.unique(np.asarray(y), return_inverse=True)[1]
    if len(gain) == 0 or code.shape != gain.shape or not 0 < level < 1 or n_boot < 1:
        msg = f"paired_difference needs N > 0 objects with one class each; got {gain.shape} and {code.shape}."
        raise ShapeError(msg)
    unit = _units(group, len(gain))
    n_classes = int(code.max()) + 1
    rows = np.zeros((unit.max() + 1, 2 * n_classes))  # per group: gains, then counts, of each class
    np.add.at(rows, (unit, code), gain)
    np.add.at(rows, (unit, n_classes + code), 1.0)
    drawn = _resample(rows, rows[:, n_classes:].argmax(1), n_boot, np.random.default_rng(seed))
    tail = (1.0 - level) / 2.0
    low, high = np.nanquantile(_class_mean(drawn, n_classes), [tail, 1.0 - tail])
    return Difference(float(_class_mean(rows.sum(0), n_classes)), float(low), float(high))


def _class_mean(sums: Float, n_classes: int) -> Float:
    """Mean over the classes of gain / count, from sums (..., 2K)."""
    return np.asarray((sums[..., :n_classes] / np.maximum(sums[..., n_classes:], 1.0)).mean(-1))


def _resample(rows: Float, stratum: Int, n_boot: int, rng: np.random.Generator) -> Float:
    """Sum rows, (n_boot, M), drawn with replacement within strata.

    Most rows are equal, so the numbers of times that each distinct row is drawn are a multinomial sample: the same
    distribution as drawing the objects one by one, thousands of times sooner.
    """
    total = np.zeros((n_boot, rows.shape[1]))
    for s in np.unique(stratum):
        distinct, count = np.unique(rows[stratum == s], axis=0, return_counts=True)
        total += rng.multinomial(count.sum(), count / count.sum(), size=n_boot) @ distinct
    return total
