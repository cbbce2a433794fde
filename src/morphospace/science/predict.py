"""Predict classes, values or votes of all objects, each labelled one by what the others teach."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.learn.compare import paired_difference
from morphospace.science.fused import LEAST_VALUES, Examples, Settings
from morphospace.science.parts import Source, gather_parts
from morphospace.science.prediction import Contribution, Prediction
from morphospace.science.predictor import Predictor
from morphospace.science.splits import even_folds, object_groups
from morphospace.science.targets import LabelSource, Target, Task, target_of
from morphospace.space.embeddings import Embeddings

__all__ = ["predict"]

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Int = NDArray[np.intp]


def predict(
    emb: Embeddings,
    labels: LabelSource,
    *,
    head: str = "linear",
    parts: Mapping[str, Source] | None = None,
    embedding: bool = True,
    task: Task = "auto",
    balanced: bool = False,
    n_folds: int = 5,
    coverage: float | None = None,
    seed: int = 0,
) -> Prediction:
    """Predict classes, values or votes of all objects from those that have a label.

    Labelled objects are predicted by folds that did not hold them, so that the scores are honest; objects without label by all
    that are labelled. One object of the sky is never on both sides of a split.

    Parameters
    ----------
    emb : Embeddings
    labels : str, sequence of str or mapping
        A column; several columns of numbers of votes; or id to label. None, NaN and empty text are no labels.
    head : str
        What reads each part: ``linear``, ``knn`` or ``mlp``.
    parts : mapping of str to table, file or names of columns, optional
        Measured shape, photometry and the like; see `gather_parts`. They are fused with what the vectors say.
    embedding : bool
        Whether the vectors are a part.
    task : str
        ``classes``, ``values``, ``votes``; ``auto`` goes by the labels.
    balanced : bool
        Weigh the classes equally, in the fit and in what each part gives.
    n_folds : int, >= 2
        Folds of the labelled objects.
    coverage : float, 0 to 1, optional
        Calibrate each predictor on a fold of its own, and give conformal sets or intervals that hold the truth so
        often. Needs at least 4 folds.
    seed : int
        Of folds and heads.

    Returns
    -------
    Prediction
        Its ``predictor``, fitted to all labelled objects (but a fold that calibrates), can be saved and asked for new ones.

    Raises
    ------
    DataError
        If labels are for unknown ids, are text where values are asked for, are of one class, or a class has fewer
        separate objects than there are folds; or if features hold NaN.
    ConfigError
        If an option is out of range or a column unknown.
    """
    if n_folds < 2 or (coverage is not None and n_folds < 4):
        msg = f"predict needs at least 2 folds, and 4 with coverage; got {n_folds}."
        raise ConfigError(msg)
    target = target_of(emb, labels, task=task)
    everything = Examples(emb.ids, gather_parts(emb, parts, embedding=embedding), target, object_groups(emb))
    fold = np.full(len(emb), -1, dtype=np.intp)
    known = target.known
    fold[known] = even_folds(_strata(target), n_folds=n_folds, group=everything.group[known], seed=seed)
    _check_enough(target, n_folds, coverage)
    settings = Settings(head=head, balanced=balanced, seed=seed)
    return _Folds(everything, fold, settings, coverage).run()


def _check_enough(target: Target, n_folds: int, coverage: float | None) -> None:
    """Count the labels before they are dealt into folds, of which one or two do not teach."""
    n = int(target.known.sum())
    taught = n * (n_folds - 1 - (coverage is not None)) // n_folds
    if target.task != "classes" and taught < LEAST_VALUES:
        msg = (
            f"{target.task} need at least {LEAST_VALUES} labelled objects to learn from in each fold; {n} labels in "
            f"{n_folds} folds leave {taught}. Label more."
        )
        raise DataError(msg)


def _strata(target: Target) -> NDArray[np.generic]:
    known = target.take(target.known)
    return np.array(known.names)[known.y] if known.task == "classes" else known.strata


class _Folds:
    """Fits, calibrates and predicts fold by fold."""

    def __init__(self, everything: Examples, fold: Int, settings: Settings, coverage: float | None) -> None:
        self.all, self.fold, self.settings, self.coverage = everything, fold, settings, coverage
        self.n_folds = int(fold.max()) + 1
        self.names = [p.name for p in everything.parts]
        n, m = len(everything.ids), len(self.names)
        self.width = everything.target.width
        self.alone = np.zeros((m, n, self.width))
        self.without = np.zeros((m, n, self.width))
        self.weights: list[dict[str, float]] = []

    def run(self) -> Prediction:
        """Return the prediction of all objects."""
        found: list[tuple[NDArray[np.bool_], Prediction]] = []
        for f in range(self.n_folds):
            logger.info("fold %d of %d", f + 1, self.n_folds)
            model = self._fit(f)
            test = self.fold == f
            found.append((test, self._predict(model, test, take_apart=len(self.names) > 1)))
            self.weights.append(model.weights)
        rest, final = self.fold < 0, self._fit(None)
        if rest.any():
            found.append((rest, self._predict(final, rest)))
        joined = _joined(self.all, self.fold, found)
        return replace(joined, parts=self._contributions(joined), predictor=final, about=self._about())

    def _fit(self, f: int | None) -> Predictor:
        """Fit to all folds but one, or to all; with coverage the next fold calibrates."""
        calibration = None if self.coverage is None else (0 if f is None else (f + 1) % self.n_folds)
        train = (self.fold >= 0) & (self.fold != (-2 if f is None else f))
        if calibration is not None:
            train &= self.fold != calibration
        s = self.settings
        model = Predictor(s.head, balanced=s.balanced, k=s.k, hidden=s.hidden, questions=s.questions, seed=s.seed)
        model.fit_examples(self.all.take(train))
        if calibration is not None:
            model.calibrate_examples(self.all.take(self.fold == calibration), coverage=self.coverage)
        return model

    def _predict(self, model: Predictor, rows: NDArray[np.bool_], *, take_apart: bool = False) -> Prediction:
        """Predict objects; on request also by each part alone, and without each part."""
        chosen = self.all.take(rows)
        scores, there = model.fused.speak(chosen.parts)
        pool = model.fused.pool
        for m, name in enumerate(self.names if take_apart else ()):
            self.alone[m, rows] = np.where(there[m][:, None], scores[m], pool.prior)
            self.without[m, rows] = model.fused.scores_without(name, scores, there)
        return model.predict_scores(chosen.ids, pool(scores, there))

    def _contributions(self, whole: Prediction) -> tuple[Contribution, ...]:
        if len(self.names) < 2:
            return ()
        known = whole.known
        y = self.all.target.y[known] if self.settings.balanced and whole.task == "classes" else None
        group = self.all.group[known]
        merit, found = whole.merit(), []
        zero = np.zeros_like(merit)
        for m, part in enumerate(self.all.parts):
            rest = replace(whole, p=self.without[m]).merit()
            drop = paired_difference(merit, rest, y=y, group=group, n_boot=2000)
            alone = paired_difference(replace(whole, p=self.alone[m]).merit(), zero, y=y, n_boot=1).difference
            weight = float(np.mean([w[part.name] for w in self.weights]))
            found.append(Contribution(part.name, int(part.there[known].sum()), weight, alone, *drop))
        return tuple(found)

    def _about(self) -> dict[str, object]:
        s = self.settings
        about: dict[str, object] = {"head": s.head, "balanced": s.balanced, "seed": s.seed, "n_folds": self.n_folds}
        return {**about, "coverage": self.coverage, "n_labelled": int((self.fold >= 0).sum())}


def _joined(everything: Examples, fold: Int, found: list[tuple[NDArray[np.bool_], Prediction]]) -> Prediction:
    first = found[0][1]
    n = len(everything.ids)
    p = np.zeros((n, everything.target.width))
    sets = None if first.sets is None else np.zeros(p.shape, dtype=bool)
    interval = None if first.interval is None else np.zeros((n, 2))
    for rows, part in found:
        p[rows] = part.p
        if sets is not None and part.sets is not None:
            sets[rows] = part.sets
        if interval is not None and part.interval is not None:
            interval[rows] = part.interval
    return replace(
        first, ids=tuple(everything.ids), p=p, target=everything.target, fold=fold, sets=sets, interval=interval
    )
