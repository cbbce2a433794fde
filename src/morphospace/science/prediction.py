"""What was predicted: probabilities, values or votes of objects, with their scores and what each part gave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from morphospace.errors import DataError, StoreError
from morphospace.science.calibration import brier_score, calibration_error
from morphospace.science.files import free_file, write_file
from morphospace.science.targets import Target
from morphospace.science.votes import dirichlet_multinomial_loss, expected_fractions

if TYPE_CHECKING:
    from morphospace.science.predictor import Predictor

__all__ = ["Contribution", "Prediction"]

Float = NDArray[np.float64]

_ABOUT = b"morphospace"
_VERSION = 1


@dataclass(frozen=True)
class Contribution:
    """What one part gave to a fusion.

    Attributes
    ----------
    part : str
    n : int
        Labelled objects that have it.
    weight : float
        In the fusion, mean over the folds.
    alone : float
        Score of the part by itself; an object without it gets the prior.
    drop : float
        By how much the score falls when the part is left out and the others are weighed anew.
    low, high : float
        95 per cent interval of the drop (bootstrap over objects).
    """

    part: str
    n: int
    weight: float
    alone: float
    drop: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted objects, in the order of the embeddings.

    Attributes
    ----------
    ids : tuple of str
    task : {"classes", "values", "votes"}
    names : tuple of str
        Classes or answers; empty for values.
    p : ndarray of float64, (N, K)
        Probabilities of the classes, the value (N, 1), or the concentrations of the votes.
    target : Target or None
        Labels, where they are known.
    fold : ndarray of int, (N,), or None
        Fold that an object was held out in when it was predicted; -1 for objects without label, which are predicted by all.
    sets : ndarray of bool, (N, K), or None
        Conformal set of classes of each object.
    interval : ndarray of float64, (N, 2), or None
        Conformal interval of the value: low, high.
    parts : tuple of Contribution
        Of each part, where there are several.
    questions : tuple of int
        Of votes.
    about : dict
        How it was made.
    predictor : Predictor or None
        What predicted the objects without label, and can predict new ones; not saved with the prediction.
    """

    ids: tuple[str, ...]
    task: str
    names: tuple[str, ...]
    p: Float
    target: Target | None = None
    fold: NDArray[np.intp] | None = None
    sets: NDArray[np.bool_] | None = None
    interval: Float | None = None
    parts: tuple[Contribution, ...] = ()
    questions: tuple[int, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    predictor: Predictor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        told = ", ".join(f"{k} {v:.3f}" for k, v in self.scores.items())
        return f"<Prediction: {len(self)} objects, {self.task}{', ' + told if told else ''}>"

    @property
    def classes(self) -> NDArray[np.str_]:
        """Most probable class, or commonest answer, of each object, (N,).

        Raises
        ------
        DataError
            If values were predicted.
        """
        if self.task == "values":
            msg = "values were predicted, not classes; ask for mean."
            raise DataError(msg)
        return np.asarray(np.array(self.names, dtype=np.str_)[self.p.argmax(1)])

    @property
    def mean(self) -> Float:
        """Predicted values, (N,).

        Raises
        ------
        DataError
            If classes or votes were predicted.
        """
        if self.task != "values":
            msg = f"{self.task} were predicted, not values; ask for p."
            raise DataError(msg)
        return self.p[:, 0]

    @property
    def fractions(self) -> Float:
        """Expected share of each answer (votes) or probability of each class, (N, K)."""
        if self.task != "votes":
            return self.p
        return np.asarray(expected_fractions(torch.from_numpy(self.p), self.questions).numpy())

    @property
    def known(self) -> NDArray[np.bool_]:
        """Objects whose label is known, so that the prediction can be judged, (N,)."""
        return np.zeros(len(self), dtype=bool) if self.target is None else self.target.known

    @property
    def scores(self) -> dict[str, float]:
        """How good the prediction is over the labelled objects; empty where there are none.

        Classes: accuracy, balanced accuracy, log-loss (nats), Brier score, expected calibration error. Values: R2, rms
        error, median absolute error. Votes: mean log-likelihood, rms error of the fractions. With sets or intervals
        also their coverage and mean size.
        """
        if self.target is None or not self.known.any():
            return {}
        target = self.target.take(self.known)
        if self.task == "classes":
            found = _class_scores(self.p[self.known], target.y)
        elif self.task == "values":
            error = self.p[self.known, 0] - target.y
            found = {
                "r2": float(self.merit().mean()),
                "rms": float(np.sqrt((error**2).mean())),
                "median_error": float(np.median(np.abs(error))),
            }
        else:
            total = np.stack([target.y[:, cols].sum(1) for cols in _columns(self.questions or (len(self.names),))], 1)
            share = target.y / np.repeat(np.maximum(total, 1), self.questions or (len(self.names),), axis=1)
            cast = np.repeat(total > 0, self.questions or (len(self.names),), axis=1)
            found = {
                "log_likelihood": float(self.merit().mean()),
                "rms": float(np.sqrt(((self.fractions[self.known] - share)[cast] ** 2).mean())),
            }
        return found | self._coverage(target)

    def _coverage(self, target: Target) -> dict[str, float]:
        if self.sets is not None:
            sets = self.sets[self.known]
            return {
                "coverage": float(sets[np.arange(len(sets)), target.y].mean()),
                "set_size": float(sets.sum(1).mean()),
            }
        if self.interval is not None:
            low, high = self.interval[self.known].T
            inside = (low <= target.y) & (target.y <= high)
            return {"coverage": float(inside.mean()), "interval_width": float((high - low).mean())}
        return {}

    def merit(self) -> Float:
        """Give each labelled object's share of the score, (n,): correct or not, 1 - error^2 / variance, or log-likelihood.

        Raises
        ------
        DataError
            If no label is known.
        """
        if self.target is None or not self.known.any():
            msg = "no labels are known, so the prediction cannot be judged."
            raise DataError(msg)
        y, p = self.target.y[self.known], self.p[self.known]
        if self.task == "classes":
            return np.asarray((p.argmax(1) == y).astype(np.float64))
        if self.task == "values":
            return np.asarray(1.0 - (p[:, 0] - y) ** 2 / max(float(y.var()), 1e-300))
        loss = dirichlet_multinomial_loss(torch.from_numpy(p), torch.from_numpy(y), self.questions)
        return np.asarray(-loss.numpy())

    def confusion(self) -> NDArray[np.int64]:
        """Count labelled objects by true class (row) and predicted class (column), (K, K).

        Raises
        ------
        DataError
            If no class is known.
        """
        if self.task != "classes":
            msg = f"confusion and reliability need classes; {self.task} were predicted."
            raise DataError(msg)
        if self.target is None or not self.known.any():
            msg = "a confusion matrix needs classes that are known; there are none."
            raise DataError(msg)
        counts = np.zeros((len(self.names),) * 2, dtype=np.int64)
        np.add.at(counts, (self.target.y[self.known], self.p[self.known].argmax(1)), 1)
        return counts

    def table(self) -> pa.Table:
        """Give a row for each object.

        Returns
        -------
        pyarrow.Table
            ``id``, ``label`` and ``fold`` where known; classes: ``class``, ``p_NAME`` each and ``set`` (list of names);
            values: ``mean``, ``low``, ``high``; votes: ``fraction_NAME`` and ``concentration_NAME`` each.
        """
        columns: dict[str, Any] = {"id": pa.array(self.ids, pa.string())}
        if self.target is not None and self.task != "votes":
            columns["label"] = _labels(self.target)
        if self.target is not None and self.task == "votes":
            columns |= {f"votes_{name}": pa.array(v) for name, v in zip(self.names, self.target.y.T, strict=True)}
        if self.fold is not None:
            columns["fold"] = pa.array(self.fold, pa.int32())
        if self.task == "values":
            columns["mean"] = pa.array(self.mean)
        else:
            columns["class"] = pa.array(self.classes.tolist(), pa.string())
            kind = "p" if self.task == "classes" else "fraction"
            columns |= {f"{kind}_{name}": pa.array(v) for name, v in zip(self.names, self.fractions.T, strict=True)}
        if self.task == "votes":
            columns |= {f"concentration_{name}": pa.array(v) for name, v in zip(self.names, self.p.T, strict=True)}
        if self.sets is not None:
            columns["set"] = pa.array([np.array(self.names)[row].tolist() for row in self.sets], pa.list_(pa.string()))
        if self.interval is not None:
            columns |= {"low": pa.array(self.interval[:, 0]), "high": pa.array(self.interval[:, 1])}
        told = {**self.about, "task": self.task, "names": list(self.names), "questions": list(self.questions)}
        told |= {"version": _VERSION, "scores": self.scores, "parts": [asdict(each) for each in self.parts]}
        return pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(told)})

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the table as Parquet.

        Raises
        ------
        ConfigError
            If the ending is not one of Parquet.
        StoreError
            If the file is there and `overwrite` is not given, or it cannot be written.
        """
        return write_file(free_file(path, overwrite=overwrite), partial(pq.write_table, self.table()))

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a table that `save` wrote.

        Raises
        ------
        StoreError
            If there is none, or it is something else or damaged.
        """
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[_ABOUT])
            found: Self = _opened(cls, table, about)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            msg = f"'{path}' is no prediction, or damaged ({error}); give a file that Prediction.save wrote."
            raise StoreError(msg) from None
        return found


def _opened(cls: type[Any], table: pa.Table, about: dict[str, Any]) -> Any:  # noqa: ANN401 - what cls is
    names, task = tuple(about.pop("names")), about.pop("task")
    questions, parts = tuple(about.pop("questions")), tuple(Contribution(**each) for each in about.pop("parts"))
    del about["scores"], about["version"]

    def stacked(kind: str) -> Float:
        return np.stack([table[f"{kind}_{name}"].to_numpy() for name in names], axis=1)

    kind = {"classes": "p", "votes": "concentration"}.get(task)
    p = stacked(kind) if kind else table["mean"].to_numpy()[:, None]
    target = None
    if task == "votes" and f"votes_{names[0]}" in table.column_names:
        y = stacked("votes")
        target = Target(task, y, y.sum(1) > 0, names)
    elif "label" in table.column_names and task == "classes":
        code = np.array([names.index(v) if v is not None else -1 for v in table["label"].to_pylist()], dtype=np.intp)
        target = Target(task, code, code >= 0, names)
    elif "label" in table.column_names:
        value = np.array(table["label"].to_pylist(), dtype=np.float64)
        target = Target(task, value, np.isfinite(value), names)
    fold = table["fold"].to_numpy().astype(np.intp) if "fold" in table.column_names else None
    sets = interval = None
    if "set" in table.column_names:
        sets = np.array([[name in row for name in names] for row in table["set"].to_pylist()], dtype=bool)
    if "low" in table.column_names:
        interval = np.stack([table["low"].to_numpy(), table["high"].to_numpy()], axis=1)
    return cls(tuple(table["id"].to_pylist()), task, names, p, target, fold, sets, interval, parts, questions, about)


def _labels(target: Target) -> pa.Array:
    if target.task == "classes":
        return pa.array([target.names[c] if c >= 0 else None for c in target.y], pa.string())
    return pa.array(target.y, pa.float64(), from_pandas=True)


def _columns(questions: Sequence[int]) -> list[slice]:
    ends = np.cumsum(questions)
    return [slice(int(end - n), int(end)) for end, n in zip(ends, questions, strict=True)]


def _class_scores(p: Float, y: NDArray[np.intp]) -> dict[str, float]:
    right = p.argmax(1) == y
    true = p[np.arange(len(y)), y]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[y == c].mean() for c in np.unique(y)])),
        "log_loss": float(-np.log(np.maximum(true, 1e-300)).mean()),
        "brier": float(brier_score(p, y).score),
        "calibration_error": calibration_error(p, y),
    }
