"""Splits that are fair: classes even, and one object of the sky never on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn.compare import folds
from morphospace.sky.curation.groups import group_by_name, group_by_position
from morphospace.space.embeddings import Embeddings

__all__ = ["check_members", "even_folds", "hold_out", "object_groups"]

Int = NDArray[np.intp]
LEAST_MEMBERS = 3  # separate objects of a class: one each to fit, to choose a penalty, to judge


def object_groups(emb: Embeddings, *, radius_arcsec: float | None = None) -> Int:
    """Give each row the number of its object on the sky; rows of one number stay on one side of every split.

    Parameters
    ----------
    emb : Embeddings
        Its columns ``group``, ``ra`` and ``dec`` (degrees, ICRS), ``source`` and ``object`` are used where they are there.
    radius_arcsec : float, >= 0, optional
        Rows within it of one another are one object, friends of friends, whatever ``group`` says; two rows of one
        file (``source``) are two objects.

    Returns
    -------
    ndarray of int, (N,)
        By the column ``group`` (which curate writes), else the positions within 1 arcsec, else the name in
        ``object``; a row without any of these is an object of its own.

    Raises
    ------
    ConfigError
        If the radius is negative, or given where there are no positions.
    """
    n = len(emb)
    if radius_arcsec is not None and not 0 <= radius_arcsec < np.inf:
        msg = f"radius_arcsec must be 0 or more; got {radius_arcsec}."
        raise ConfigError(msg)
    if radius_arcsec is None and "group" in emb.columns:
        known = emb.table(["group"])["group"].to_pylist()
        return _numbers([f"row {row}" if g is None else f"group {g}" for row, g in enumerate(known)])
    placed = {"ra", "dec"} <= set(emb.columns)
    if radius_arcsec is not None and not placed:
        msg = f"a radius needs positions, but embeddings {emb.name} have no columns ra and dec."
        raise ConfigError(msg)
    groups = np.arange(n, dtype=np.int64)
    placed_rows = np.zeros(n, dtype=bool)
    if placed:
        ra, dec = (np.array(emb.table([c])[c].to_pylist(), dtype=np.float64) for c in ("ra", "dec"))
        placed_rows = np.isfinite(ra) & np.isfinite(dec)
        groups = group_by_position(ra, dec, _sources(emb), 1.0 if radius_arcsec is None else radius_arcsec)
    if "object" in emb.columns:
        names = emb.table(["object"])["object"].to_pylist()
        unplaced = [None if there else name or None for name, there in zip(names, placed_rows, strict=True)]
        groups = group_by_name(unplaced, groups)
    return _numbers(groups)


def _sources(emb: Embeddings) -> list[str]:
    if "source" not in emb.columns:
        return [str(row) for row in range(len(emb))]
    return [str(s or row) for row, s in enumerate(emb.table(["source"])["source"].to_pylist())]


def _numbers(names: Sequence[Any] | NDArray[Any]) -> Int:
    return np.asarray(np.unique(np.asarray(names), return_inverse=True)[1], dtype=np.intp)


def check_members(y: ArrayLike, *, group: ArrayLike | None = None, least: int = LEAST_MEMBERS) -> None:
    """Refuse classes that cannot be learned.

    Parameters
    ----------
    y : array-like, (N,)
        Class of each object.
    group : array-like, (N,), optional
        Rows of one object; each row for itself when not given.
    least : int
        Separate objects that each class must have.

    Raises
    ------
    DataError
        If there is no label, only one class, or a class with fewer members.
    """
    label = np.asarray(y)
    names = np.unique(label)
    if len(names) < 2:
        what = f"all {len(label)} labels are '{names[0]}'" if len(names) else "there are no labels"
        msg = f"{what}; a classifier needs at least two classes."
        raise DataError(msg)
    unit = np.arange(len(label)) if group is None else np.asarray(group)
    count = {str(name): len(np.unique(unit[label == name])) for name in names}
    rare = {name: n for name, n in count.items() if n < least}
    if rare:
        told = ", ".join(f"'{name}' has {n}" for name, n in rare.items())
        msg = f"each class needs at least {least} separate objects here; {told}. Label more, or leave the class out."
        raise DataError(msg)


def even_folds(y: ArrayLike, *, n_folds: int = 5, group: ArrayLike | None = None, seed: int = 0) -> Int:
    """Deal objects into folds: classes evenly, or values evenly from low to high, groups whole.

    Parameters
    ----------
    y : array-like, (N,)
        Classes (text or whole numbers), or values (floats), which are dealt by their tenths.
    n_folds : int, >= 2
        Number of folds.
    group : array-like, (N,), optional
        Rows of one object share a fold.
    seed : int
        Of the shuffle.

    Returns
    -------
    ndarray of int, (N,)
        0 to `n_folds` - 1.

    Raises
    ------
    DataError
        If a class has fewer separate objects than there are folds, or there are fewer objects than folds.
    """
    label = np.asarray(y)
    if label.dtype.kind == "f":
        unit = np.arange(len(label)) if group is None else np.asarray(group)
        n_units = len(np.unique(unit))
        if n_units < n_folds:
            msg = f"{n_folds} folds need as many separate objects; there are {n_units}."
            raise DataError(msg)
        # steps by rank, each of several times as many objects as there are folds
        code = np.unique(unit, return_inverse=True)[1]
        mean = np.bincount(code, label) / np.bincount(code)
        steps = max(1, min(10, n_units // (4 * n_folds)))
        label = (np.argsort(np.argsort(mean, kind="stable")) * steps // n_units)[code]
    else:
        check_members(label, group=group, least=n_folds)
    return folds(label, n_folds=n_folds, group=group, seed=seed)


def hold_out(y: ArrayLike, *, share: float = 0.2, group: ArrayLike | None = None, seed: int = 0) -> NDArray[np.bool_]:
    """Choose objects to keep apart, classes evenly and groups whole.

    Parameters
    ----------
    y : array-like, (N,)
        Classes or values, as for `even_folds`.
    share : float, above 0, up to 0.5
        Part to keep apart; rounded to one of a whole number of folds (0.3 is a third).
    group : array-like, (N,), optional
        Rows of one object stay together.
    seed : int
        Of the shuffle.

    Returns
    -------
    ndarray of bool, (N,)
        True for what is kept apart.

    Raises
    ------
    ConfigError
        If the share is out of range.
    DataError
        As for `even_folds`.
    ShapeError
        If `y` is not one-dimensional.
    """
    if not 0 < share <= 0.5:
        msg = f"share must be above 0 and at most 0.5; got {share}."
        raise ConfigError(msg)
    if np.ndim(y) != 1:
        msg = f"hold_out needs one class or value per object, (N,); got shape {np.shape(y)}."
        raise ShapeError(msg)
    return np.asarray(even_folds(y, n_folds=round(1 / share), group=group, seed=seed) == 0)
