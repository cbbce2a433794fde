"""Ask the observer: from few labels to a score for every object, and the objects to look at next."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from morphospace.errors import ConfigError, DataError
from morphospace.space.embeddings import Embeddings
from morphospace.space.gaussian import GaussianProcess, expected_improvement, matern
from morphospace.space.index import METRICS, ExactIndex
from morphospace.space.kept import keep
from morphospace.space.labels import MOST_INTEREST, Value
from morphospace.space.names import one_line
from morphospace.space.principal import find_axes
from morphospace.space.where import columns_of, rows_where

__all__ = ["FEWEST_LABELS", "MOST_FOR_PROCESS", "Asked", "ask"]

FEWEST_LABELS = 10
MOST_FOR_PROCESS = 2000

_KEPT_VARIANCE = 0.95  # of the vectors, by the principal components that the process sees
_CANDIDATES = 2000  # objects among which a batch is chosen one by one
_SAMPLE = 1000  # rows that say how unusual a place is
_UNUSUAL_NEIGHBOUR = 5
_UNUSUAL_SHARE = 0.01
_TREES = 100
_FEWEST_IN_LEAF = 2
_DIVERSITY_LENGTH = 0.6  # of the kernel that keeps a forest's batch apart: the middle of the process's own lengths
_ROWS_AT_ONCE = 8192

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """A score for every object, and what to look at next.

    Attributes
    ----------
    rows : array of int64, (n,)
        Row numbers of the objects to look at next, best first: without label, and diverse. Fewer than asked for where
        fewer are left.
    why : str
        Why these, in words.
    method : str
        ``"cold"``: too few labels to learn from. ``"gp"``: Gaussian process. ``"forest"``: random forest.
    n_labels : int
        Labels that were used: those of rows with a vector.
    classes : tuple of str
        Empty for labels of interest.
    wanted : str or None
    ids : tuple of str
    score : array of float64, (N,)
        What is expected of each object: interest, from 0 to 5; the probability of the wanted class; or, without a
        wanted class, the doubt: 1 less the lead of the likeliest class over the second. NaN for rows without a vector,
        and for all on a cold start.
    uncertainty : array of float64, (N,)
        Standard deviation of the score, in its unit; of the doubt, that of a class's probability.
    improvement : array of float64, (N,)
        What is hoped for by looking at it: the expected improvement over the best so far, or doubt times uncertainty.
    probabilities : array of float64, (N, C)
        Of each class; C = 0 for labels of interest.
    """

    rows: Rows
    why: str
    method: str
    n_labels: int
    classes: tuple[str, ...]
    wanted: str | None
    ids: tuple[str, ...] = field(repr=False)
    score: Float64 = field(repr=False)
    uncertainty: Float64 = field(repr=False)
    improvement: Float64 = field(repr=False)
    probabilities: Float64 = field(repr=False)

    def table(self) -> pa.Table:
        """Give an Arrow table: id, score, uncertainty, improvement; for classes ``predicted``, ``p_0``, ``p_1``, ..."""
        columns: dict[str, Any] = {
            "id": pa.array(self.ids, pa.string()),
            "score": self.score,
            "uncertainty": self.uncertainty,
            "improvement": self.improvement,
        }
        if self.classes:
            likely = np.where(np.isnan(self.score), -1, np.argmax(self.probabilities, axis=1))
            columns["predicted"] = pa.array([self.classes[i] if i >= 0 else None for i in likely], pa.string())
            columns |= {f"p_{i}": self.probabilities[:, i] for i in range(len(self.classes))}
        return pa.table(columns)

    def __str__(self) -> str:
        lines = [self.why]
        for rank, row in enumerate(self.rows, 1):
            told = f"{self.score[row]:.3f} ± {self.uncertainty[row]:.3f}" if np.isfinite(self.score[row]) else "-"
            lines.append(f"{rank:>4}  {one_line(self.ids[row], 40):<40}  {told}")
        return "\n".join(lines)

    def save(self, emb: Embeddings, name: str) -> Path:
        """Keep the scores beside the embeddings, in place of those of fewer labels of the same set.

        Parameters
        ----------
        emb : Embeddings
        name : str
            Of the label set; what a file name cannot hold is written as ``_``, and a few digits tell such names apart.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            On a cold start, when there is no score yet; if the embeddings are in memory only or others.
        """
        if self.method == "cold":
            msg = f"there is no score to keep yet: {self.why}"
            raise DataError(msg)
        about = {
            "set": name,
            "method": self.method,
            "n_labels": self.n_labels,
            "classes": list(self.classes),
            "wanted": self.wanted,
        }
        return keep(emb, "scores", safe_name(name), self.table(), about, overwrite=True)


def safe_name(name: str) -> str:
    """Write a name so that a file can have it; two names never become one.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> safe_name("mergers"), safe_name("größe")
    ('mergers', 'gr__e-2f1d8f')
    """
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:80]
    safe = safe if re.match(r"[A-Za-z0-9]", safe) else f"s{safe}"
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


class _Space(NamedTuple):
    """The objects as the learners see them; those without a vector are left out."""

    rows: Rows  # (V,), of the embeddings
    x: Float32  # (V, d), principal components, mean square length 1
    unusual: Float32  # (V,), distance to the 5th nearest of a sample


class _Belief(NamedTuple):
    """What is believed of the objects of a space."""

    mean: Float64  # (V,), the score before it is held within its range
    score: Float64  # (V,)
    uncertainty: Float64  # (V,)
    improvement: Float64  # (V,)
    probabilities: Float64  # (V, C)
    process: GaussianProcess | None
    best: float | None  # what is to be improved on; None: doubt is


def ask(
    emb: Embeddings,
    values: Mapping[str, Value],
    *,
    n: int = 20,
    wanted: str | None = None,
    where: str | None = None,
    metric: str = "cosine",
    seed: int = 0,
) -> Asked:
    """Learn from the labels so far, score every object, and choose those to look at next.

    With fewer than 10 labels, or all of them equal: half of the objects are drawn from the most unusual percent, half
    from everywhere, each with a probability that grows with the square of its distance from those seen. Then a Gaussian
    process expects the interest of every object, and those with the highest expected improvement over the best so far
    come next; each that is chosen counts as seen for those after it, so that they do not resemble each other. Beyond
    2,000 labels a random forest takes its place, its trees' scatter as uncertainty.

    Parameters
    ----------
    emb : Embeddings
    values : mapping of str to int or str
        Labels by id, as ``Labels.values`` gives them: all numbers from 0 to 5, or all names of classes. Ids that the
        embeddings do not have, or have without a vector, are left out.
    n : int, >= 1
        How many objects to choose.
    wanted : str, optional
        A class, with labels or not yet: objects likely to be of it come first. Default: those in doubt.
    where : str, optional
        Condition on columns that objects to look at must meet; see ``rows_where``.
    metric : {"cosine", "euclidean"}
        How vectors are normalised before, as for ``search``.
    seed : int
        Same seed, same labels: same objects.

    Returns
    -------
    Asked

    Raises
    ------
    ConfigError
        If ``n``, ``metric``, ``wanted`` or ``where`` cannot be used.
    DataError
        If values of both kinds are mixed, a number is out of range, or no row has a vector.

    Notes
    -----
    Protege: Lochner & Rudnick 2024, arXiv:2411.04188 (Gaussian process, expected improvement); Lochner & Bassett 2021
    (Astronomaly). Departures: the kernel is Matérn 3/2 with length and noise chosen by marginal likelihood; a batch is
    chosen by conditioning on its own members; the forest beyond 2,000 labels. Classes are regressed as 0 and 1, with a
    shared kernel (least-squares classification, Rasmussen & Williams 2006, section 6.5), and expected to be equally
    likely far from every label. Vectors are reduced to the principal components with 95 % of their variance.
    """
    if n < 1:
        msg = f"n must be 1 or more; got {n}."
        raise ConfigError(msg)
    space = _space_of(emb, metric)
    numbers, classes = _targets(values, wanted)
    at = {int(row): i for i, row in enumerate(space.rows)}
    labelled = [(at[emb.row_of(i)], v) for i, v in numbers.items() if i in emb and emb.row_of(i) in at]
    seen = np.array([i for i, _ in labelled], dtype=np.int64)
    y = np.array([v for _, v in labelled], dtype=np.float64)
    free = _free(emb, where)[space.rows]
    free[seen] = False
    rng = np.random.default_rng([seed, len(seen)])
    if len(seen) < FEWEST_LABELS or (y == y[0]).all():
        chosen = _cold_batch(space, seen, free, n, rng)
        return _asked(emb, space, None, chosen, (_why_cold(y, chosen), len(seen), classes, wanted))
    belief = _believe(space, seen, y, classes, wanted, seed)
    chosen = _batch(space, belief, free, n)
    return _asked(emb, space, belief, chosen, (_why(belief, classes, wanted, chosen), len(seen), classes, wanted))


# ---- what comes in


def _targets(values: Mapping[str, Value], wanted: str | None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Give labels as numbers: interest, or the number of the class."""
    kinds = {isinstance(v, str) for v in values.values()}
    if len(kinds) > 1:
        msg = "labels must be all of interest (numbers) or all classes (names); these are mixed. Ask one set at a time."
        raise DataError(msg)
    if kinds == {True} or (not kinds and wanted is not None):
        classes = tuple(sorted({str(v) for v in values.values()} | ({wanted} if wanted is not None else set())))
        return {i: float(classes.index(str(v))) for i, v in values.items()}, classes
    if wanted is not None:
        msg = f"wanted is for labels that are classes; these are of interest, got wanted='{wanted}'. Leave it out."
        raise ConfigError(msg)
    for identifier, value in values.items():
        if not 0 <= float(value) <= MOST_INTEREST:
            msg = f"interest goes from 0 to {MOST_INTEREST}; '{identifier}' has {value}."
            raise DataError(msg)
    return {i: float(v) for i, v in values.items()}, ()


def _free(emb: Embeddings, where: str | None) -> NDArray[np.bool_]:
    if where is None:
        return np.ones(len(emb), dtype=np.bool_)
    return rows_where(emb.table(columns_of(where, emb.columns)), where)


_SPACES: WeakKeyDictionary[Embeddings, dict[str, _Space]] = WeakKeyDictionary()


def _space_of(emb: Embeddings, metric: str) -> _Space:
    """Make the space of embeddings ready, once for all rounds."""
    if metric not in METRICS:
        msg = f"metric must be 'cosine' or 'euclidean'; got {metric!r}."
        raise ConfigError(msg)
    known = _SPACES.setdefault(emb, {})
    if metric not in known:
        index = emb.index(metric)
        rows = np.flatnonzero(index.valid)
        if len(rows) == 0:
            msg = f"no row of embeddings {emb.name} has a vector, so there is nothing to learn from."
            raise DataError(msg)
        x = _components(index, rows)
        known[metric] = _Space(rows, x, _unusual(x))
    return known[metric]


def _components(index: ExactIndex, rows: Rows) -> Float32:
    """Give the principal components that hold 95 % of the variance, scaled to a mean square length of 1."""
    parts = np.array_split(rows, max(1, -(-len(rows) // _ROWS_AT_ONCE)))
    _, mean, variance, axes = find_axes(lambda: (index.normalised(part)[1] for part in parts), index.dim)
    if variance.sum() < 1e-20:  # all vectors are equal
        return np.zeros((len(rows), 1), np.float32)
    share = np.cumsum(variance) / variance.sum()
    kept = int(np.searchsorted(share, _KEPT_VARIANCE)) + 1
    scaled = axes[:, :kept] / np.sqrt(variance[:kept].sum())
    found = np.empty((len(rows), kept), np.float32)
    start = 0
    for part in parts:
        found[start : start + len(part)] = (index.normalised(part)[1] - mean) @ scaled
        start += len(part)
    return found


def _unusual(x: Float32) -> Float32:
    """Measure how far each object is from its 5th nearest of at most 1,000 drawn at random."""
    some = np.random.default_rng(0).permutation(len(x))[:_SAMPLE]
    sample, k = x[some], min(_UNUSUAL_NEIGHBOUR, len(some) - 1)
    found = np.empty(len(x), np.float32)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        block = x[start : start + _ROWS_AT_ONCE]
        squares = (sample * sample).sum(axis=1)[None] - 2 * (block @ sample.T)
        nearest_k = np.partition(squares, k, axis=1)[:, k]
        found[start : start + len(block)] = nearest_k + (block * block).sum(axis=1)
    return found


# ---- what is believed


def _believe(space: _Space, seen: Rows, y: Float64, classes: tuple[str, ...], wanted: str | None, seed: int) -> _Belief:
    if classes:
        targets = (y[:, None] == np.arange(len(classes))).astype(np.float64)
        prior = np.full(len(classes), 1 / len(classes))
    else:
        targets, prior = y[:, None], np.array([y.mean()])
    process = None
    if len(seen) <= MOST_FOR_PROCESS:
        process = GaussianProcess.fit(space.x[seen].astype(np.float64), targets, prior, seed=seed)
        mean, spread = process.predict(space.x)
        std = spread[:, None] * process.amplitude
    else:
        mean, std = _forest(space.x, seen, targets, seed)
    if not classes:
        score = np.clip(mean[:, 0], 0, MOST_INTEREST)
        best = float(mean[seen, 0].max())
        gain = expected_improvement(mean[:, 0], std[:, 0], best)
        return _Belief(mean[:, 0], score, std[:, 0], gain, np.empty((len(score), 0)), process, best)
    p = np.clip(mean, 1e-6, None)
    p /= p.sum(axis=1, keepdims=True)
    if wanted is not None:
        c = classes.index(wanted)
        best = float(mean[seen, c].max())
        gain = expected_improvement(mean[:, c], std[:, c], best)
        return _Belief(mean[:, c], p[:, c], std[:, c], gain, p, process, best)
    ranked = np.sort(p, axis=1)
    doubt = 1 - (ranked[:, -1] - ranked[:, -2])
    uncertainty = std.max(axis=1)
    return _Belief(doubt, doubt, uncertainty, doubt * uncertainty, p, process, None)


def _forest(x: Float32, seen: Rows, targets: Float64, seed: int) -> tuple[Float64, Float64]:
    """Grow a forest and give the mean and the scatter of its trees for every object, both (V, T)."""
    model = RandomForestRegressor(
        _TREES, min_samples_leaf=_FEWEST_IN_LEAF, max_features="sqrt", n_jobs=1, random_state=seed
    )
    model.fit(x[seen], targets if targets.shape[1] > 1 else targets[:, 0])
    total, squares = (np.zeros((len(x), targets.shape[1])) for _ in range(2))
    for tree in model.estimators_:
        found = tree.predict(x, check_input=False).reshape(len(x), -1)
        total += found
        squares += found * found
    mean = total / _TREES
    return mean, np.sqrt(np.maximum(squares / _TREES - mean * mean, 0))


# ---- what to look at next


def _cold_batch(space: _Space, seen: Rows, free: NDArray[np.bool_], n: int, rng: np.random.Generator) -> Rows:
    """Draw half from the unusual, half from everywhere, far from what was seen."""
    away = np.full(len(space.x), np.inf, dtype=np.float32)
    for i in seen[-_SAMPLE:]:
        away = np.minimum(away, ((space.x - space.x[i]) ** 2).sum(axis=1))
    n_unusual = max(20, int(_UNUSUAL_SHARE * len(free)))
    ranked = np.argsort(-space.unusual, kind="stable")
    unusual = np.zeros(len(free), dtype=np.bool_)
    unusual[ranked[free[ranked]][:n_unusual]] = True
    free, chosen = free.copy(), []
    for turn in range(min(n, int(np.count_nonzero(free)))):
        among = free & unusual if turn % 2 == 0 and (free & unusual).any() else free
        weight = np.where(among, np.where(np.isfinite(away), away, 1.0), 0.0).astype(np.float64)
        weight = weight if weight.sum() > 0 else among.astype(np.float64)
        i = int(rng.choice(len(weight), p=weight / weight.sum()))
        chosen.append(i)
        free[i] = False
        away = np.minimum(away, ((space.x - space.x[i]) ** 2).sum(axis=1))
    return np.array(chosen, dtype=np.int64)


def _batch(space: _Space, belief: _Belief, free: NDArray[np.bool_], n: int) -> Rows:
    """Choose the best, believe what is expected of it, and choose the next best with that."""
    among = np.flatnonzero(free)
    order = np.lexsort((among, -belief.score[among], -belief.improvement[among]))[: max(_CANDIDATES, n)]
    some = among[order]
    x, process = space.x[some].astype(np.float64), belief.process
    length = _DIVERSITY_LENGTH if process is None else process.length
    noise = 1e-6 if process is None else process.noise
    known = np.zeros((len(some), 0)) if process is None else process.known(x)
    left = np.maximum(1.0 - (known * known).sum(axis=1), 1e-9)  # variance, as a share of the prior's
    first = np.sqrt(left)
    open_, chosen = np.ones(len(some), dtype=np.bool_), []
    mean = belief.mean[some]
    for _ in range(min(n, len(some))):
        std = belief.uncertainty[some] * np.sqrt(left) / first
        hope = mean * std if belief.best is None else expected_improvement(mean, std, belief.best)
        i = int(np.argmax(np.where(open_, hope, -np.inf)))
        chosen.append(int(some[i]))
        open_[i] = False
        shared = (matern(x[i : i + 1], x, length)[0] - known @ known[i]) / np.sqrt(left[i] + noise)
        known = np.column_stack([known, shared])
        left = np.maximum(left - shared * shared, 1e-9)
    return np.array(chosen, dtype=np.int64)


# ---- what is told


def _why_cold(y: Float64, chosen: Rows) -> str:
    if not len(chosen):
        return "nothing is left to look at: every object that may be asked for has a label."
    if len(y) < FEWEST_LABELS:
        few = f"{len(y)} label{'s are' if len(y) != 1 else ' is'} too few" if len(y) else "there are no labels yet"
        begin = f"{few} to learn from, {FEWEST_LABELS} are needed"
    else:
        begin = f"all {len(y)} labels are equal, so there is nothing to learn yet"
    return f"{begin}: half of these are the most unusual objects, half are drawn from everywhere, far from those seen."


def _why(belief: _Belief, classes: tuple[str, ...], wanted: str | None, chosen: Rows) -> str:
    if not len(chosen):
        return "nothing is left to look at: every object that may be asked for has a label."
    learner = "a random forest" if belief.process is None else "a Gaussian process"
    if not classes:
        return f"{learner} hopes for most from these: likely to be interesting, or unlike anything seen so far."
    if wanted is not None:
        return f"{learner} takes these for likely '{one_line(wanted, 40)}', or for unlike anything seen so far."
    return f"{learner} is most in doubt about the class of these."


def _asked(
    emb: Embeddings,
    space: _Space,
    belief: _Belief | None,
    chosen: Rows,
    told: tuple[str, int, tuple[str, ...], str | None],
) -> Asked:
    """Write what is believed at the rows of the embeddings."""
    why, n_labels, classes, wanted = told
    whole = {name: np.full(len(emb), np.nan) for name in ("score", "uncertainty", "improvement")}
    p = np.full((len(emb), len(classes)), np.nan)
    method = "cold"
    if belief is not None:
        method = "forest" if belief.process is None else "gp"
        p[space.rows] = belief.probabilities
        for name, column in whole.items():
            column[space.rows] = getattr(belief, name)
    return Asked(space.rows[chosen], why, method, n_labels, classes, wanted, tuple(emb.ids), **whole, probabilities=p)
