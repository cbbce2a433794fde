"""Label-efficiency curves: how good a prediction is against the number of labels that it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.science.fused import Examples
from morphospace.science.parts import Source, gather_parts
from morphospace.science.prediction import Prediction
from morphospace.science.predictor import Predictor
from morphospace.science.splits import hold_out, object_groups
from morphospace.science.targets import LabelSource, target_of
from morphospace.space.embeddings import Embeddings

__all__ = ["Curve", "draw_labels", "label_efficiency"]

_SCORES = {"classes": "balanced_accuracy", "values": "r2"}


class Curve(NamedTuple):
    """Scores against numbers of labels."""

    name: str
    score: str  # name of the score
    sizes: NDArray[np.intp]  # (S,) labels learned from
    scores: NDArray[np.float64]  # (S, R) of each repeat

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the repeats, (S,)."""
        return np.asarray(self.scores.mean(1))

    def interval(self, level: float = 0.95) -> NDArray[np.float64]:
        """Range that holds this part of the repeats, (S, 2): low, high."""
        tail = (1 - level) / 2
        return np.asarray(np.quantile(self.scores, [tail, 1 - tail], axis=1).T)


def draw_labels(y: ArrayLike, n: int, *, each: bool = False, seed: int = 0) -> NDArray[np.intp]:
    """Draw objects to learn from; with one seed a larger draw holds the smaller.

    Parameters
    ----------
    y : array-like, (N,)
        Classes of whole numbers or text, which are drawn in their proportions, at least two of each; or values.
    n : int, >= 1
        Objects to draw; all where there are fewer.
    each : bool
        Draw n of each class instead.
    seed : int

    Returns
    -------
    ndarray of int, (n,)
        Row numbers, ascending.

    Raises
    ------
    ConfigError
        If n is less than 1, or too small for two of each class.
    """
    label = np.asarray(y)
    order = np.random.default_rng(seed).permutation(len(label))
    if label.dtype.kind == "f":
        return np.sort(order[:n])
    code = np.unique(label, return_inverse=True)[1]
    count = np.bincount(code)
    if n < (2 if each else 2 * len(count)):
        msg = f"{n} labels are too few to draw at least two of each of {len(count)} classes."
        raise ConfigError(msg)
    # each object's place in the queue of its class, as a share: the lowest are drawn
    place = np.zeros(len(label))
    for c, size in enumerate(count):
        rows = order[code[order] == c]
        queue = np.arange(size)
        place[rows] = queue if each else np.where(queue < 2, -1.0, (queue + 0.5) / size)
    chosen = place < n if each else np.isin(np.arange(len(label)), np.argsort(place, kind="stable")[:n])
    return np.flatnonzero(chosen)


def label_efficiency(
    emb: Embeddings,
    labels: LabelSource,
    *,
    sizes: Sequence[int],
    head: str = "linear",
    parts: Mapping[str, Source] | None = None,
    embedding: bool = True,
    balanced: bool = False,
    test: ArrayLike | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> Curve:
    """Measure how many labels a head needs.

    Parameters
    ----------
    emb, labels, head, parts, embedding, balanced
        As for `predict`; classes or values.
    sizes : sequence of int
        Numbers of labels to learn from, ascending; a number above what is there means all.
    test : array-like of bool, (N,), optional
        Objects to judge by, the same in each repeat; without it a fifth of the labelled, another one in each repeat.
    repeats : int, >= 1
        Draws of the labels.
    seed : int

    Returns
    -------
    Curve
        Named after the head (``curve._replace(name="...")`` for another legend): balanced accuracy of classes, R2 of values.

    Raises
    ------
    DataError
        If labels cannot be learned from, or objects to judge by show one that is learned from.
    ConfigError
        If a number of labels or repeats is below 1.
    """
    if repeats < 1 or not len(sizes) or min(sizes) < 1:
        msg = f"label_efficiency needs sizes and repeats of at least 1; got {list(sizes)} and {repeats}."
        raise ConfigError(msg)
    target = target_of(emb, labels)
    if target.task not in _SCORES:
        msg = "label-efficiency curves are of classes or values, not votes."
        raise DataError(msg)
    everything = Examples(emb.ids, gather_parts(emb, parts, embedding=embedding), target, object_groups(emb))
    fixed = None if test is None else np.asarray(test, dtype=np.bool_)[target.known]
    known = everything.take(target.known)
    if fixed is not None:
        _check_apart(known.group, fixed)
    strata = np.array(target.names)[known.target.y] if target.task == "classes" else known.target.y
    score, found, used = _SCORES[target.task], [], []
    for r in range(repeats):
        held = hold_out(strata, group=known.group, seed=seed + r) if fixed is None else fixed
        pool, judge = known.take(~held), known.take(held)
        rows = [draw_labels(strata[~held], n, seed=seed + r) for n in sizes]
        used.append([len(chosen) for chosen in rows])
        found.append([_scored(pool, judge, chosen, head, balanced, seed + r).scores[score] for chosen in rows])
    return Curve(head, score, np.array(used).min(0), np.array(found).T)


def _scored(
    pool: Examples, judge: Examples, rows: NDArray[np.intp], head: str, balanced: bool, seed: int
) -> Prediction:
    chosen = np.zeros(len(pool.ids), dtype=bool)
    chosen[rows] = True
    model = Predictor(head, balanced=balanced, seed=seed).fit_examples(pool.take(chosen))
    found = model.predict_scores(judge.ids, model.fused.scores(judge.parts))
    return Prediction(found.ids, found.task, found.names, found.p, judge.target)


def _check_apart(group: NDArray[np.intp], held: NDArray[np.bool_]) -> None:
    both = np.intersect1d(group[held], group[~held])
    if len(both):
        msg = f"{len(both)} objects lie on both sides of the split; keep all rows of an object on one side."
        raise DataError(msg)
