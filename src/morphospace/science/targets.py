"""What is to be predicted: classes, values or votes, for the objects that have a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.science.parts import known_column, read_table
from morphospace.space.embeddings import Embeddings

__all__ = ["LabelSource", "Target", "Task", "read_labels", "target_of"]

Task = Literal["auto", "classes", "values", "votes"]
#: A column of the embeddings (several: votes), or a label for each id (a mapping: votes).
LabelSource = str | Sequence[str] | Mapping[str, Any]
MOST_CLASSES = 20  # distinct whole numbers that are still taken for classes


@dataclass(frozen=True, eq=False)
class Target:
    """Labels of N objects.

    Attributes
    ----------
    task : {"classes", "values", "votes"}
    y : ndarray
        Classes: (N,) int, an index into `names`, -1 without a label. Values: (N,) float64, NaN without. Votes:
        (N, K) float64 counts, 0 without.
    known : ndarray of bool, (N,)
        Whether there is a label.
    names : tuple of str
        Classes or answers; empty for values.
    """

    task: str
    y: NDArray[Any]
    known: NDArray[np.bool_]
    names: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that are predicted for each object: K, or 1 for values."""
        return len(self.names) or 1

    @property
    def strata(self) -> NDArray[Any]:
        """What folds are made even by: class, value, or commonest answer's share, (N,)."""
        if self.task != "votes":
            return self.y
        total = self.y.sum(1)
        return np.asarray(self.y[:, 0] / np.where(total > 0, total, 1.0))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Target:
        """Select objects."""
        return Target(self.task, self.y[rows], self.known[rows], self.names)


def read_labels(path: str | Path, column: str | Sequence[str]) -> dict[str, Any]:
    """Read labels from a table of any kind (CSV, ECSV, FITS, VOTable, Parquet) with a column ``id``.

    Parameters
    ----------
    path : path
    column : str or sequence of str
        The labels; several columns are numbers of votes.

    Returns
    -------
    dict
        Label, or answers with their votes, for each id.

    Raises
    ------
    StoreError
        If the file cannot be read.
    ConfigError
        If a column is unknown.
    DataError
        If an id comes twice.
    """
    table = read_table(path)
    where = f"'{Path(path).name}'"
    ids = [str(i) for i in known_column(table, "id", where).to_pylist()]
    twice, times = Counter(ids).most_common(1)[0] if ids else ("", 0)
    if times > 1:
        msg = f"{where} has the id '{twice}' twice; give one label for each object."
        raise DataError(msg)
    if isinstance(column, str):
        return dict(zip(ids, known_column(table, column, where).to_pylist(), strict=True))
    answers = {name: known_column(table, name, where).to_pylist() for name in column}
    return {i: {name: votes[row] for name, votes in answers.items()} for row, i in enumerate(ids)}


def target_of(
    emb: Embeddings,
    labels: LabelSource,
    *,
    task: Task = "auto",
    names: Sequence[str] = (),
    needed: bool = True,
    where: str = "",
) -> Target:
    """Bring labels to the objects of embeddings.

    Parameters
    ----------
    emb : Embeddings
    labels : str, sequence of str or mapping
        A column; several columns of votes; or id to label, where ids that are not there are refused. None, NaN and
        empty text are no labels.
    task : {"auto", "classes", "values", "votes"}
        ``auto``: text, truth values and up to 20 different whole numbers are classes, other numbers values, several
        columns votes.
    names : sequence of str, optional
        The classes in their order, where they are known already: another one is refused.
    needed : bool
        Whether it is an error that no object has a label.
    where : str
        What holds the objects, for messages; the embeddings by default.

    Raises
    ------
    DataError
        If a label is for an unknown id, text is asked for as values, votes are negative, or there is no label.
    ConfigError
        If a column is unknown.
    """
    values = _by_row(emb, labels, where or f"embeddings {emb.name}")
    kind = _task_of(values, task)
    if kind == "classes":
        target = _classes(values, tuple(names))
    elif kind == "values":
        target = _values(values)
    else:
        target = _votes(values, tuple(names))
    if needed and not target.known.any():
        msg = f"none of the {len(emb)} objects has a label."
        raise DataError(msg)
    return target


def _by_row(emb: Embeddings, labels: LabelSource, where: str) -> list[Any]:
    if isinstance(labels, str):
        return list(emb.table([labels])[labels].to_pylist())
    if isinstance(labels, Mapping):
        unknown = [i for i in labels if i not in emb]
        if unknown:
            msg = (
                f"{len(unknown)} of {len(labels)} labels are for ids that are not in {where}; "
                f"the first is '{unknown[0]}'."
            )
            raise DataError(msg)
        return [labels.get(i) for i in emb.ids]
    table = emb.table(list(labels))
    return [
        dict(zip(table.column_names, row, strict=True))
        for row in zip(*(c.to_pylist() for c in table.columns), strict=True)
    ]


def _missing(value: object) -> bool:
    return value is None or value == "" or value != value


def _task_of(values: Sequence[Any], task: Task) -> str:
    if task not in ("auto", "classes", "values", "votes"):
        msg = f"task must be auto, classes, values or votes; got '{task}'."
        raise ConfigError(msg)
    known = [v for v in values if not _missing(v)]
    many = any(isinstance(v, Mapping) for v in known)
    if many != (task == "votes") and task != "auto":
        msg = "votes need several columns, one for each answer; classes and values need one column."
        raise ConfigError(msg)
    if task != "auto":
        return task
    if many:
        return "votes"
    if any(isinstance(v, float | np.floating) for v in known):
        return "values"
    text = any(isinstance(v, str | bool | np.bool_) for v in known)
    return "classes" if text or len(set(known)) <= MOST_CLASSES else "values"


def _classes(values: Sequence[Any], names: tuple[str, ...]) -> Target:
    text = ["" if _missing(v) else str(v) for v in values]
    found = sorted({t for t in text if t})
    strange = [t for t in found if names and t not in names]
    if strange:
        msg = f"class '{strange[0]}' was not among those fitted: {', '.join(names)}."
        raise DataError(msg)
    code = {name: i for i, name in enumerate(names or found)}
    y = np.array([code.get(t, -1) for t in text], dtype=np.intp)
    return Target("classes", y, y >= 0, tuple(code))


def _values(values: Sequence[Any]) -> Target:
    text = [v for v in values if isinstance(v, str) and v]
    if text:
        msg = (
            f"values must be numbers, but {len(text)} of {len(values)} labels are text (the first is '{text[0]}'); "
            "use task='classes'."
        )
        raise DataError(msg)
    y = np.array([np.nan if _missing(v) else float(v) for v in values], dtype=np.float64)
    if np.isinf(y).any():
        msg = f"{int(np.isinf(y).sum())} of {len(y)} values are infinite; leave them out first."
        raise DataError(msg)
    return Target("values", y, np.isfinite(y))


def _votes(values: Sequence[Any], names: tuple[str, ...]) -> Target:
    found = names or tuple(next((v for v in values if isinstance(v, Mapping)), {}))
    if len(found) < 2:
        msg = f"votes need at least two answers; got {len(found)}."
        raise DataError(msg)
    try:
        y = np.array([[_count(v, name) for name in found] for v in values], dtype=np.float64)
    except (TypeError, ValueError):
        msg = f"votes must be numbers in each of the columns {', '.join(found)}."
        raise DataError(msg) from None
    if (y < 0).any() or not np.isfinite(y).all():
        msg = f"votes must be 0 or more; {int(((y < 0) | ~np.isfinite(y)).any(1).sum())} objects have others."
        raise DataError(msg)
    return Target("votes", y, y.sum(1) > 0, found)


def _count(votes: Mapping[str, Any] | None, name: str) -> float:
    value = None if votes is None else votes.get(name)
    return 0.0 if value is None or value != value else float(value)
