"""A head for each part and the weights of their fusion, fitted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError, NotFittedError
from morphospace.science.fuse import Pool, fit_pool
from morphospace.science.heads import Head, Job, fit_head, open_head
from morphospace.science.parts import Part, Scaling
from morphospace.science.splits import even_folds
from morphospace.science.targets import Target
from morphospace.science.votes import check_questions

__all__ = ["LEAST_VALUES", "Examples", "Fused", "Settings"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.intp]

_INNER = 4  # folds inside the training objects, at most
_ROWS = 16_384  # scaled at a time: all vectors in float64 would not fit
LEAST_VALUES = 10  # labelled objects of a regression


class Settings(NamedTuple):
    """What decides a fit; see `Predictor`."""

    head: str = "linear"
    balanced: bool = False
    k: int = 10
    hidden: int = 128
    questions: tuple[int, ...] = ()
    seed: int = 0


class Examples(NamedTuple):
    """Objects to learn from, in one order."""

    ids: Sequence[str]
    parts: Sequence[Part]
    target: Target
    group: Int  # (N,) rows of one number are one object

    def take(self, rows: Bool) -> Examples:
        """Select objects."""
        ids = [i for i, chosen in zip(self.ids, rows, strict=True) if chosen]
        return Examples(ids, [p.take(rows) for p in self.parts], self.target.take(rows), self.group[rows])


class _Held(NamedTuple):
    """What the parts say of training objects that they were fitted without."""

    scores: Float  # (M, N, K)
    there: Bool  # (M, N)
    y: NDArray[Any]
    weight: Float


@dataclass(frozen=True, eq=False)
class _Expert:
    """What one part says: scaled columns and a head."""

    part: str
    columns: tuple[str, ...]
    scaling: Scaling | None  # None for neighbours of vectors, which are compared by their cosines
    head: Head
    width: int  # columns

    @classmethod
    def fit(cls, part: Part, rows: Bool, name: str, job: Job) -> Self:
        """Fit to chosen objects."""
        x = part.x if rows.all() else part.x[rows]
        scaling = None if name == "knn" and not part.columns else Scaling.fit(x, table=bool(part.columns))
        own = job._replace(y=job.y[rows], weight=job.weight[rows] / job.weight[rows].mean(), inner=job.inner[rows])
        return cls(part.name, part.columns, scaling, fit_head(name, _scaled(x, scaling), own), x.shape[1])

    def scores(self, x: NDArray[np.floating[Any]]) -> Float:
        return self.head.scores(_scaled(x, self.scaling))


def _scaled(x: NDArray[np.floating[Any]], scaling: Scaling | None) -> Float:
    if scaling is not None:
        return scaling(x)
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1.0))


@dataclass(frozen=True, eq=False)
class Fused:
    """Fitted heads and their weights.

    Attributes
    ----------
    task : str
    names : tuple of str
        Classes or answers; empty for values.
    experts : tuple
    pool : Pool
    """

    settings: Settings
    task: str
    names: tuple[str, ...]
    experts: tuple[_Expert, ...]
    pool: Pool
    held: _Held | None = None

    @classmethod
    def fit(cls, examples: Examples, settings: Settings) -> Self:
        """Fit a head to each part, and weights by what each says of objects of inner folds that it was fitted without.

        Parameters
        ----------
        examples : Examples
            Labelled one and all.
        settings : Settings

        Raises
        ------
        DataError
            If there is one class, a class with fewer than 2 objects, fewer than 10 values, or equal ones; or if
            a part is there for objects of one class only.
        """
        target = examples.target
        _check_target(target)
        questions = check_questions(settings.questions, target.width) if target.task == "votes" else ()
        inner = _inner_folds(target, examples.group, settings.seed)
        weight = _weights(target, balanced=settings.balanced)
        job = Job(
            target.task, target.y, target.width, weight, inner, settings.seed, settings.k, settings.hidden, questions
        )
        for part in examples.parts:
            _check_there(part, job, target.names)
        experts = tuple(_Expert.fit(p, p.there, settings.head, job) for p in examples.parts)
        held = _hold(examples.parts, experts, settings.head, job)
        pool = _pool_of(held, job.task, questions)
        if len(experts) == 1:  # it says what it says
            pool = replace(pool, weight=np.ones(1), bias=np.zeros_like(pool.bias), prior_weight=0.0)
        return cls(settings, target.task, target.names, experts, pool, held)

    @property
    def width(self) -> int:
        """Numbers that are predicted for each object."""
        return len(self.names) or 1

    def speak(self, parts: Sequence[Part]) -> tuple[Float, Bool]:
        """Return what each head says, (M, N, K), and whether the object has its part, (M, N).

        Raises
        ------
        DataError
            If a part has other columns than in `fit`.
        ConfigError
            If a part was not there in `fit`.
        """
        given = {p.name: p for p in parts}
        n = len(parts[0].there)
        scores = np.zeros((len(self.experts), n, self.width))
        there = np.zeros((len(self.experts), n), dtype=bool)
        for m, expert in enumerate(self.experts):
            part = given.pop(expert.part, None)
            if part is None:
                continue
            if part.columns != expert.columns or part.x.shape[1] != expert.width:
                msg = (
                    f"part '{part.name}' has {part.x.shape[1]} columns, but it was fitted with {expert.width}"
                    f"{': ' + ', '.join(expert.columns[:6]) if expert.columns else ''}; give the same table."
                )
                raise DataError(msg)
            there[m] = part.there
            rows = np.flatnonzero(part.there)
            for start in range(0, len(rows), _ROWS):
                some = rows[start : start + _ROWS]
                scores[m, some] = expert.scores(part.x[some])
        if given:
            had = ", ".join(e.part for e in self.experts)
            msg = f"part '{next(iter(given))}' was not there in fit, which had {had}."
            raise ConfigError(msg)
        return scores, there

    def scores(self, parts: Sequence[Part]) -> Float:
        """Return log-probabilities, means or concentrations, (N, K)."""
        return self.pool(*self.speak(parts))

    def scores_without(self, name: str, scores: Float, there: Bool) -> Float:
        """Return the scores without one part, the weights of the others found anew, of what `speak` gave.

        Raises
        ------
        NotFittedError
            If the fit was read from a file.
        """
        if self.held is None:
            msg = "a part can be left out right after fit() only; what it takes is not saved."
            raise NotFittedError(msg)
        rest = np.array([e.part != name for e in self.experts])
        kept = self.held._replace(scores=self.held.scores[rest], there=self.held.there[rest])
        questions = check_questions(self.settings.questions, self.width) if self.task == "votes" else ()
        return _pool_of(kept, self.task, questions)(scores[rest], there[rest])

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Give what there is to save: words and numbers for JSON, and arrays."""
        arrays: dict[str, NDArray[Any]] = {
            "pool.weight": self.pool.weight,
            "pool.prior": self.pool.prior,
            "pool.bias": self.pool.bias,
        }
        experts = []
        for m, e in enumerate(self.experts):
            arrays |= {f"{m}.head.{k}": v for k, v in e.head.arrays().items()}
            if e.scaling is not None:
                arrays |= {f"{m}.centre": e.scaling.centre, f"{m}.width": e.scaling.width}
            experts.append({"part": e.part, "columns": list(e.columns), "width": e.width})
        about = {
            "settings": self.settings._asdict(),
            "task": self.task,
            "names": list(self.names),
            "experts": experts,
            "prior_weight": self.pool.prior_weight,
        }
        return about, arrays

    @classmethod
    def from_state(cls, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make a fit again of what `state` gave."""
        settings = Settings(**{**about["settings"], "questions": tuple(about["settings"]["questions"])})
        experts = []
        for m, e in enumerate(about["experts"]):
            columns, begin = tuple(e["columns"]), f"{m}.head."
            scaling = (
                Scaling(arrays[f"{m}.centre"], arrays[f"{m}.width"], bool(columns)) if f"{m}.centre" in arrays else None
            )
            own = {k.removeprefix(begin): v for k, v in arrays.items() if k.startswith(begin)}
            experts.append(_Expert(e["part"], columns, scaling, open_head(settings.head, own), int(e["width"])))
        weight, prior, bias = (arrays[f"pool.{k}"] for k in ("weight", "prior", "bias"))
        pool = Pool(about["task"], weight, prior, bias, float(about["prior_weight"]))
        return cls(settings, about["task"], tuple(about["names"]), tuple(experts), pool)


def _pool_of(held: _Held, task: str, questions: tuple[int, ...]) -> Pool:
    return fit_pool(held.scores, held.there, held.y, task=task, weight=held.weight, questions=questions)


def _hold(parts: Sequence[Part], experts: Sequence[_Expert], head: str, job: Job) -> _Held:
    """Let each part predict the objects of each inner fold by what the others teach."""
    there = np.stack([p.there for p in parts])
    scores = np.zeros((len(parts), len(job.y), job.width))
    if len(parts) == 1:  # no weights are to be found
        return _Held(scores, np.zeros_like(there), job.y, job.weight)
    for m, (part, expert) in enumerate(zip(parts, experts, strict=True)):
        fixed = job._replace(penalty=expert.head.penalty)  # chosen on all: the fold is fitted at once
        for f in np.unique(job.inner):
            a, b = part.there & (job.inner != f), part.there & (job.inner == f)
            if not _enough(job, a):
                there[m, b] = False
            elif b.any():
                scores[m, b] = _Expert.fit(part, a, head, fixed).scores(part.x[b])
    return _Held(scores, there, job.y, job.weight)


def _enough(job: Job, rows: Bool) -> bool:
    return len(np.unique(job.y[rows])) > 1 if job.task == "classes" else int(rows.sum()) > 1


def _check_there(part: Part, job: Job, names: Sequence[str]) -> None:
    if not _enough(job, part.there):
        label = f", all of class '{names[job.y[part.there][0]]}'" if job.task == "classes" and part.there.any() else ""
        msg = (
            f"part '{part.name}' is there for {int(part.there.sum())} of {len(part.there)} labelled objects{label}; "
            "leave it out."
        )
        raise DataError(msg)


def _check_target(target: Target) -> None:
    n = len(target.known)
    if target.task == "classes":
        count = np.bincount(target.y, minlength=target.width)
        rare = [f"'{name}' has {c}" for name, c in zip(target.names, count, strict=True) if c < 2]
        if rare or target.width < 2:
            told = ", ".join(rare) or f"all {n} labels are '{target.names[0]}'"
            msg = f"a classifier needs at least two classes with two training objects each; {told}."
            raise DataError(msg)
    elif n < LEAST_VALUES:
        msg = f"{target.task} need at least {LEAST_VALUES} labelled objects to learn from; there are {n}."
        raise DataError(msg)
    elif target.task == "values" and np.ptp(target.y) == 0:
        msg = f"all {n} values are {target.y[0]:g}; there is nothing to learn."
        raise DataError(msg)


def _weights(target: Target, *, balanced: bool) -> Float:
    """Weights of the objects, mean 1."""
    if not balanced or target.task != "classes":
        return np.ones(len(target.known))
    weight = 1.0 / np.bincount(target.y, minlength=target.width)[target.y]
    return np.asarray(weight / weight.mean())


def _inner_folds(target: Target, group: Int, seed: int) -> Int:
    """Deal training objects into folds; as many as the rarest class allows."""
    most = _INNER
    if target.task == "classes":
        most = min(_INNER, *(len(np.unique(group[target.y == c])) for c in range(target.width)))
    if most < 2:  # all of a class show one object
        return np.zeros(len(target.known), dtype=np.intp)
    return even_folds(target.strata, n_folds=min(most, len(np.unique(group))), group=group, seed=seed)
