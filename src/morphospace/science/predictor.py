"""A predictor: fitted, calibrated, then asked; what it knows is kept in one file without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from morphospace._manifest import software_versions
from morphospace.errors import ConfigError, NotFittedError, StoreError
from morphospace.science.calibration import Temperature, refuse_trained
from morphospace.science.conformal import ConformalIntervals, ConformalSets
from morphospace.science.files import SAFETENSORS, free_file, write_file
from morphospace.science.fused import Examples, Fused, Settings
from morphospace.science.heads import HEADS
from morphospace.science.parts import Part, Source, gather_parts
from morphospace.science.prediction import Prediction
from morphospace.science.splits import check_members, object_groups
from morphospace.science.targets import LabelSource, Task, target_of
from morphospace.space.embeddings import Embeddings

__all__ = ["Predictor"]

_ABOUT = "morphospace"
_VERSION = 1


class Predictor:
    """Predict classes, values or votes from embeddings and tables, in three steps: fit, calibrate, predict.

    Parameters
    ----------
    head : {"knn", "linear", "mlp"}
        What reads each part.
    task : {"auto", "classes", "values", "votes"}
        ``auto`` goes by the labels.
    balanced : bool
        Weigh the classes equally, so that a rare one counts as much as a common one.
    k : int, >= 1
        Neighbours of ``knn``.
    hidden : int, >= 1
        Units of ``mlp``.
    questions : sequence of int
        Votes: numbers of answers of each question, in the order of the columns; one question when not given.
    seed : int
        Of folds inside and of the network.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from morphospace.space.embeddings import Embeddings
    >>> x = np.random.default_rng(0).normal(size=(60, 4)).astype("f4")
    >>> emb = Embeddings.from_arrays(None, [f"o{i}" for i in range(60)], x, {"kind": [str(v > 0) for v in x[:, 0]]})
    >>> model = Predictor().fit(emb.keep(range(40)), "kind")
    >>> model.predict(emb.keep(range(40, 60)), calibrated=False).p.shape
    (20, 2)
    """

    def __init__(
        self,
        head: str = "linear",
        *,
        task: Task = "auto",
        balanced: bool = False,
        k: int = 10,
        hidden: int = 128,
        questions: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        if head not in HEADS:
            msg = f"unknown head '{head}'; known heads are {', '.join(HEADS)}."
            raise ConfigError(msg)
        if k < 1 or hidden < 1:
            msg = f"k and hidden must be at least 1; got {k} and {hidden}."
            raise ConfigError(msg)
        self.task: Task = task
        self.settings = Settings(head, balanced, k, hidden, tuple(questions), seed)
        self.trained_ids: frozenset[str] = frozenset()
        self._fused: Fused | None = None
        self._temperature: Temperature | None = None
        self._conformal: ConformalSets | ConformalIntervals | None = None
        self._calibrated, self._by = False, ""

    def __repr__(self) -> str:
        if self._fused is None:
            return f"<Predictor: {self.settings.head}, not fitted>"
        parts = ", ".join(e.part for e in self._fused.experts)
        state = "calibrated" if self._calibrated else "not calibrated"
        return f"<Predictor: {self.settings.head} on {parts}, {len(self.trained_ids)} objects, {state}>"

    @property
    def fused(self) -> Fused:
        """What was fitted.

        Raises
        ------
        NotFittedError
            If nothing was.
        """
        if self._fused is None:
            msg = "this predictor is not fitted; call fit(emb, labels) first."
            raise NotFittedError(msg)
        return self._fused

    @property
    def calibrated(self) -> bool:
        """Whether it has been calibrated."""
        return self._calibrated

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each part in the fusion."""
        fused = self.fused
        return {e.part: float(w) for e, w in zip(fused.experts, fused.pool.weight, strict=True)}

    def fit(
        self, emb: Embeddings, labels: LabelSource, *, parts: Mapping[str, Source] | None = None, embedding: bool = True
    ) -> Self:
        """Fit a head to each part and the weights of their fusion.

        Parameters
        ----------
        emb : Embeddings
            Objects to learn from; those without label are passed over.
        labels : str, sequence of str or mapping
            As for `target_of`.
        parts, embedding
            As for `gather_parts`.

        Raises
        ------
        DataError
            If labels are for unknown ids, of one class, or a class has fewer than 3 objects; if features hold NaN; if
            values are asked for and the labels are text.
        """
        target = target_of(emb, labels, task=self.task)
        everything = Examples(emb.ids, gather_parts(emb, parts, embedding=embedding), target, object_groups(emb))
        known = everything.take(target.known)
        if target.task == "classes":
            check_members(np.array(target.names)[known.target.y], group=known.group)
        return self.fit_examples(known)

    def fit_examples(self, examples: Examples) -> Self:
        """Fit to gathered examples that are labelled one and all."""
        self._fused = Fused.fit(examples, self.settings)
        self.trained_ids = frozenset(examples.ids)
        self._temperature, self._conformal, self._calibrated = None, None, False
        return self

    def calibrate(
        self,
        emb: Embeddings,
        labels: LabelSource,
        *,
        parts: Mapping[str, Source] | None = None,
        coverage: float | None = 0.9,
        by_class: bool = False,
        by: str | None = None,
    ) -> Self:
        """Make probabilities honest on objects that were not trained on, and learn sets or intervals from them.

        Parameters
        ----------
        emb, labels, parts
            As for `fit`.
        coverage : float, 0 to 1, optional
            Part of the objects whose set of classes, or interval, is to hold the truth; None for neither.
        by_class : bool
            Hold it for each class apart.
        by : str, optional
            A column of the embeddings in whose groups it is to hold (signal to noise, redshift, survey).

        Raises
        ------
        NotFittedError
            If it is not fitted.
        DataError
            If an object was trained on; its id and their number are told.
        ConfigError
            If votes shall be calibrated, or `by_class` is asked of values.
        """
        fused = self.fused
        target = target_of(emb, labels, task=_task(fused.task), names=fused.names)
        everything = Examples(emb.ids, self._gather(emb, parts), target, np.arange(len(emb)))
        groups = None if by is None else _column(emb, by)[target.known]
        self.calibrate_examples(everything.take(target.known), coverage=coverage, by_class=by_class, by=groups)
        self._by = by or ""
        return self

    def calibrate_examples(
        self,
        examples: Examples,
        *,
        coverage: float | None = 0.9,
        by_class: bool = False,
        by: NDArray[Any] | None = None,
    ) -> Self:
        """Calibrate on gathered examples that are labelled one and all."""
        fused = self.fused
        refuse_trained(examples.ids, self.trained_ids, len(examples.ids))
        if fused.task == "votes":
            msg = "votes are not calibrated: their concentrations say how sure they are; predict with calibrated=False."
            raise ConfigError(msg)
        if fused.task == "values" and by_class:
            msg = "by_class is for classes; values are calibrated over all objects, or by= a column."
            raise ConfigError(msg)
        scores, y = fused.scores(examples.parts), examples.target.y
        conformal: ConformalSets | ConformalIntervals | None = None
        if fused.task == "classes":
            self._temperature = Temperature().fit(scores, y)
            if coverage is not None:
                # of the probabilities as fitted: a temperature from the same objects would spend the promise twice
                conformal = ConformalSets(coverage, by_class=by_class).calibrate(np.exp(scores), y, by=by)
        elif coverage is not None:
            conformal = ConformalIntervals(coverage).calibrate(scores[:, 0], y, by=by)
        self._conformal, self._calibrated = conformal, True
        return self

    def predict(
        self, emb: Embeddings, *, parts: Mapping[str, Source] | None = None, calibrated: bool = True
    ) -> Prediction:
        """Predict objects.

        Parameters
        ----------
        emb : Embeddings
        parts : mapping, optional
            The tables that it was fitted with, for these objects. A part that is not given is missing for all.
        calibrated : bool
            Whether to refuse as long as it is not calibrated; False gives probabilities as the fit has them.

        Raises
        ------
        NotFittedError
            If it is not fitted, or not calibrated and `calibrated` is set.
        """
        fused = self.fused
        if calibrated and not self._calibrated:
            msg = (
                "this predictor is not calibrated; call calibrate(...) with labelled objects that it was not fitted on, "
                "or predict with calibrated=False."
            )
            raise NotFittedError(msg)
        scores = fused.scores(self._gather(emb, parts))
        if not calibrated:
            return _prediction(emb.ids, fused, _plain(scores, fused.task))
        return self.predict_scores(emb.ids, scores, by=_column(emb, self._by) if self._by else None)

    def predict_scores(
        self, ids: Sequence[str], scores: NDArray[np.float64], *, by: NDArray[Any] | None = None
    ) -> Prediction:
        """Turn scores of `fused` into a prediction, calibrated as far as this predictor is."""
        fused = self.fused
        sets = interval = None
        p = _plain(scores, fused.task)
        if self._temperature is not None:
            p = self._temperature.apply(scores)
        if isinstance(self._conformal, ConformalSets):
            sets = self._conformal.predict(np.exp(scores), by=by)
        elif isinstance(self._conformal, ConformalIntervals):
            interval = self._conformal.predict(scores[:, 0], by=by)
        return replace(_prediction(ids, fused, p), sets=sets, interval=interval)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write what was fitted as one safetensors file, settings as JSON in its header.

        Raises
        ------
        NotFittedError
            If it is not fitted.
        ConfigError
            If the ending is not ``.safetensors``.
        StoreError
            If the file is there and `overwrite` is not given, or it cannot be written.
        """
        fitted, arrays = self.fused.state()
        path = free_file(path, SAFETENSORS, overwrite=overwrite)
        about: dict[str, Any] = {
            "version": _VERSION,
            "software": software_versions(),
            "fitted": fitted,
            "trained_ids": sorted(self.trained_ids),
            "calibrated": self._calibrated,
            "temperature": None if self._temperature is None else self._temperature.value,
            "by": self._by,
        }
        if self._conformal is not None:
            about["conformal"], kept = self._conformal.state()
            arrays |= {f"conformal.{k}": v for k, v in kept.items()}
        content = save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, {_ABOUT: json.dumps(about)})
        return write_file(path, lambda beside: beside.write_bytes(content))

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a predictor that `save` wrote; no code in the file is executed.

        Raises
        ------
        StoreError
            If there is none, or it is damaged or of a newer release.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})[_ABOUT])
                arrays = {key: file.get_tensor(key) for key in file.keys()}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            msg = f"'{path}' is no predictor, or damaged ({error}); give a file that Predictor.save (predict --save) wrote."
            raise StoreError(msg) from None
        if about.get("version") != _VERSION:
            msg = f"'{path}' has format {about.get('version')}, this release reads {_VERSION}; update morphospace."
            raise StoreError(msg)
        fused = Fused.from_state(about["fitted"], arrays)
        self = cls(*fused.settings[:1], task=_task(fused.task))
        self.settings, self._fused = fused.settings, fused
        self.trained_ids = frozenset(about["trained_ids"])
        self._calibrated, self._by = about["calibrated"], about["by"]
        if about["temperature"] is not None:
            self._temperature = Temperature(about["temperature"])
        if "conformal" in about:
            kind = ConformalSets if fused.task == "classes" else ConformalIntervals
            kept = {k.removeprefix("conformal."): v for k, v in arrays.items() if k.startswith("conformal.")}
            self._conformal = kind.from_state(about["conformal"], kept)
        return self

    def _gather(self, emb: Embeddings, parts: Mapping[str, Source] | None) -> list[Part]:
        return gather_parts(emb, parts, embedding=any(not e.columns for e in self.fused.experts))


def _prediction(ids: Sequence[str], fused: Fused, p: NDArray[np.float64]) -> Prediction:
    return Prediction(tuple(ids), fused.task, fused.names, p, questions=fused.settings.questions)


def _plain(scores: NDArray[np.float64], task: str) -> NDArray[np.float64]:
    return np.asarray(np.exp(scores)) if task == "classes" else scores


def _column(emb: Embeddings, name: str) -> NDArray[Any]:
    column = emb.table([name])[name]
    if pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy())  # null is NaN, and not the end of a column of numbers
    return np.array(column.to_pylist())


def _task(task: str) -> Any:  # noqa: ANN401 - it is one of Task
    return task
