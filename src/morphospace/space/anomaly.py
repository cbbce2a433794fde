"""The odd ones: how unlike all others each object is, and why, in words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError
from morphospace.space.embeddings import Embeddings
from morphospace.space.index import METRICS, ExactIndex
from morphospace.space.kept import keep
from morphospace.space.names import one_line

__all__ = ["METHODS", "Anomalies", "anomalies"]

METHODS = ("forest", "knn", "lof", "error")

_TREES = 300
_MOST_COMPARED = 50_000  # objects among which neighbours are sought; of more, as many drawn at random
_MOST_ASKED = 2_000  # objects whose nearest neighbour says what is usual
_NAMED = 3  # neighbours named in a reason
_EQUAL = 1e-6  # distance of objects that are the same to float32
_ERROR_COLUMN = "error"
_DENSER = "its neighbours lie {value:.3g} times as dense as it does itself, where {usual:.3g} is usual"
_EULER = 0.5772156649
_ROWS_AT_ONCE = 1 << 15

Float64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Anomalies:
    """How odd each object is.

    Attributes
    ----------
    method, metric : str
        As given.
    k : int
        Neighbours that were looked at.
    ids : tuple of str
    scores : array of float64, (N,)
        The higher, the odder; what it means depends on the method. NaN for rows without a vector, or without error.
    ranks : array of int64, (N,)
        1 is the oddest; 0 for rows without a score. Equal scores are in row order.
    reasons : tuple of str or None, (N,)
        Why, for the first ``explain`` ranks.
    n_compared : int
        Objects among which neighbours were sought.
    """

    method: str
    metric: str
    k: int
    ids: tuple[str, ...] = field(repr=False)
    scores: Float64 = field(repr=False)
    ranks: Rows = field(repr=False)
    reasons: tuple[str | None, ...] = field(repr=False)
    n_compared: int = 0

    def top(self, n: int = 20) -> Rows:
        """Give the rows of the oddest, oddest first; fewer than ``n`` where fewer have a score.

        Parameters
        ----------
        n : int
        """
        scored = np.flatnonzero(self.ranks)
        return scored[np.argsort(self.ranks[scored])][:n]

    def table(self) -> pa.Table:
        """Give an Arrow table in row order: id, rank (null without a score), score, reason."""
        return pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "rank": pa.array(self.ranks, pa.int32(), mask=self.ranks == 0),
                "score": self.scores,
                "reason": pa.array(self.reasons, pa.string()),
            }
        )

    def save(self, emb: Embeddings, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Keep the table beside the embeddings that it is of.

        Parameters
        ----------
        emb : Embeddings
        name : str, optional
            Default: the method.
        overwrite : bool
            Replace a table of the same name.

        Raises
        ------
        DataError
            If the embeddings are in memory only or others.
        StoreError
            If there is a table of the same name and ``overwrite`` is not given.
        """
        about = {"method": self.method, "metric": self.metric, "k": self.k, "n_compared": self.n_compared}
        return keep(emb, "anomalies", name or self.method, self.table(), about, overwrite=overwrite)

    def told(self, n: int = 20) -> str:
        """Say in words which are the oddest, a line each.

        Parameters
        ----------
        n : int
            How many at most.
        """
        rows = self.top(n)
        lines = [f"the {len(rows)} oddest of {np.count_nonzero(self.ranks):,} by '{self.method}' ({self.metric})"]
        for row in rows:
            why = f"; {self.reasons[row]}" if self.reasons[row] else ""
            lines.append(f"{self.ranks[row]:>4}  {one_line(self.ids[row], 40)}: {self.scores[row]:.4g}{why}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.told()


class _Scored(NamedTuple):
    scores: Float64  # (V,)
    words: str  # of one object, with {value}, {share} and {usual}
    values: Float64  # (V,), what the words are about
    usual: float


class _Neighbours(NamedTuple):
    distances: Float64  # (M, k), 1 - similarity, increasing
    rows: Rows  # (M, k), among the valid


def anomalies(
    emb: Embeddings,
    method: str = "knn",
    *,
    k: int = 10,
    metric: str = "cosine",
    explain: int = 1000,
    seed: int = 0,
) -> Anomalies:
    """Rank objects by how unlike the others they are.

    Parameters
    ----------
    emb : Embeddings
    method : {"knn", "forest", "lof", "error"}
        ``"knn"``: the distance to the k-th nearest (Ramaswamy et al. 2000). ``"forest"``: isolation forest of 300 trees
        (Liu, Ting & Zhou 2008): how few random cuts set an object apart, from 0 to 1. ``"lof"``: local outlier factor
        (Breunig et al. 2000): how much denser its neighbours lie than it does itself, equal objects counted once.
        ``"error"``: the column ``error``, with which methods that have a decoder tell how badly it draws an object.
    k : int, from 1 to the number of vectors less 1
        Neighbours for ``knn`` and ``lof``, and for the reasons.
    metric : {"cosine", "euclidean"}
        How vectors are normalised before, as for ``search``. Distances are 1 - similarity: 0 is equal, 1 is what two
        unrelated objects have on average under ``"euclidean"``.
    explain : int, >= 0
        How many of the first ranks get a reason in words.
    seed : int
        Of the forest, and of the sample.

    Returns
    -------
    Anomalies

    Raises
    ------
    ConfigError
        If the method or metric is unknown, or a number is out of range.
    DataError
        If fewer than three rows have a vector, or ``"error"`` is asked for and there is no such column.

    Notes
    -----
    Forest and LOF are scikit-learn's. Departure: of more than 50,000 objects, neighbours are sought among 50,000 drawn
    at random (Sugiyama & Borgwardt 2013 show that a sample suffices for outliers); the shares in the reasons
    ("farther than 99.2 % of all") are over 2,000 objects drawn at random.

    Odd is what is rare in the space, not what is interesting: artefacts come first as a rule. ``ask`` learns from
    labels which is which.
    """
    if method not in METHODS:
        msg = f"unknown method '{method}' of anomalies{nearest(method, METHODS)}"
        raise ConfigError(msg)
    if metric not in METRICS:
        msg = f"metric must be 'cosine' or 'euclidean'; got {metric!r}."
        raise ConfigError(msg)
    index = emb.index(metric)
    rows = np.flatnonzero(index.valid)
    if len(rows) < 3:
        msg = f"anomalies need three rows with a vector; embeddings {emb.name} have {len(rows)}."
        raise DataError(msg)
    if not 1 <= k < len(rows):
        msg = f"k must be from 1 to {len(rows) - 1}, the number of vectors less 1; got {k}."
        raise ConfigError(msg)
    if explain < 0:
        msg = f"explain must be 0 or more; got {explain}."
        raise ConfigError(msg)
    among = _Among(_as_seen(index, rows), k, metric, seed)
    scored = _scored(emb, method, rows, among, seed)
    scores = np.full(len(emb), np.nan)
    scores[rows] = scored.scores
    finite = np.flatnonzero(np.isfinite(scores))
    order = finite[np.argsort(-scores[finite], kind="stable")]
    ranks = np.zeros(len(emb), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    reasons: list[str | None] = [None] * len(emb)
    told = np.searchsorted(rows, order[:explain])  # among the valid
    for i, text in zip(told, _reasons(emb, rows, among, scored, told), strict=True):
        reasons[rows[i]] = text
    return Anomalies(method, metric, k, tuple(emb.ids), scores, ranks, tuple(reasons), len(among.some))


def _as_seen(index: ExactIndex, rows: Rows) -> NDArray[np.float32]:
    """Normalise rows some at a time: a million in float64 would be 1 GB."""
    found = np.empty((len(rows), index.dim), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        found[start : start + _ROWS_AT_ONCE] = index.normalised(rows[start : start + _ROWS_AT_ONCE])[1]
    return found


class _Among:
    """Nearest neighbours among the objects, or among a random sample of very many."""

    def __init__(self, x: NDArray[np.float32], k: int, metric: str, seed: int) -> None:
        self.x, self.k = x, k
        rng = np.random.default_rng(seed)
        self.some = np.arange(len(x))
        if len(x) > _MOST_COMPARED:
            self.some = np.sort(rng.choice(len(x), max(_MOST_COMPARED, k + 1), replace=False))
        self.asked = np.sort(rng.permutation(len(x))[:_MOST_ASKED])
        # d^2 = 2 - 2 cos of unit vectors, and 2 D (1 - similarity) of standardised ones
        self._divisor = 2.0 if metric == "cosine" else 2.0 * max(1, int(np.count_nonzero(x.any(axis=0))))
        self._tree = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x[self.some])

    def of(self, rows: Rows) -> _Neighbours:
        """Find the k nearest of some rows, themselves left out."""
        distances, found = self._tree.kneighbors(self.x[rows])
        found = self.some[found]
        own = found == rows[:, None]
        own[~own.any(axis=1), -1] = True  # one that is not in the sample, or has equals, lets go of the last
        shape = (len(rows), self.k)
        exact = np.asarray(distances, np.float64) ** 2 / self._divisor
        return _Neighbours(exact[~own].reshape(shape), found[~own].reshape(shape))


# ---- scores


def _scored(emb: Embeddings, method: str, rows: Rows, among: _Among, seed: int) -> _Scored:
    if method == "knn":
        return _by_distance(among)
    if method == "forest":
        return _by_forest(among.x, seed)
    if method == "lof":
        return _by_density(among)
    return _by_error(emb, rows)


def _by_distance(among: _Among) -> _Scored:
    scores = among.of(np.arange(len(among.x))).distances[:, -1]
    words = f"its neighbour number {among.k} is at {{value:.3g}}, where {{usual:.3g}} is usual"
    return _Scored(scores, words, scores, float(np.median(scores)))


def _by_forest(x: NDArray[np.float32], seed: int) -> _Scored:
    model = IsolationForest(n_estimators=_TREES, random_state=seed, n_jobs=1).fit(x)
    scores = -np.asarray(model.score_samples(x), dtype=np.float64)
    n = int(model.max_samples_)
    # The score is 2^(-cuts / c): Liu, Ting & Zhou 2008, eqs. 1 and 2.
    c = 2 * (np.log(n - 1) + _EULER) - 2 * (n - 1) / n if n > 2 else 1.0
    cuts = -c * np.log2(scores)
    words = "{value:.1f} random cuts set it apart, where {usual:.1f} are usual"
    return _Scored(scores, words, cuts, float(np.median(cuts)))


def _by_density(among: _Among) -> _Scored:
    # k neighbours at different places, as the paper has it (remark on its definition 6): else more than k equal
    # objects would be infinitely dense, and whatever is near them infinitely odd
    places, which = np.unique(among.x[among.some], axis=0, return_inverse=True)
    scores = np.ones(len(among.x))
    if len(places) == 1:
        return _Scored(scores, _DENSER, scores, 1.0)
    whole = len(among.some) == len(among.x)
    model = LocalOutlierFactor(n_neighbors=min(among.k, len(places) - 1), algorithm="brute", novelty=not whole)
    with warnings.catch_warnings():
        # more than k that are almost equal: the numbers are large, and right
        warnings.filterwarnings("ignore", message="Duplicate values are leading to incorrect results")
        model.fit(places)
    scores[among.some] = -model.negative_outlier_factor_[which.ravel()]
    if not whole:  # a member of the sample would find itself as its nearest neighbour
        others = np.setdiff1d(np.arange(len(among.x)), among.some)
        scores[others] = -model.score_samples(among.x[others])
    return _Scored(scores, _DENSER, scores, float(np.median(scores)))


def _by_error(emb: Embeddings, rows: Rows) -> _Scored:
    if _ERROR_COLUMN not in emb.columns:
        msg = (
            f"embeddings {emb.name} have no column 'error': their method draws no image, so it has no reconstruction "
            "error; take method 'knn', 'forest' or 'lof'."
        )
        raise DataError(msg)
    column = emb.table([_ERROR_COLUMN])[_ERROR_COLUMN]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        msg = f"column 'error' of embeddings {emb.name} must hold numbers; it is of type {column.type}."
        raise DataError(msg)
    scores = column.combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False)[rows]
    scores = np.where(np.isfinite(scores), scores, np.nan)
    usual = float(np.nanmedian(scores)) if np.isfinite(scores).any() else np.nan
    return _Scored(scores, "it is drawn with error {value:.3g}, where {usual:.3g} is usual", scores, usual)


# ---- reasons


def _reasons(emb: Embeddings, rows: Rows, among: _Among, scored: _Scored, told: Rows) -> list[str]:
    """Say why for some of the valid rows."""
    if not len(told):
        return []
    usual = np.sort(among.of(among.asked).distances[:, 0])
    found = among.of(told)
    ids, texts = emb.ids, []
    for i, distances, near in zip(told, found.distances, found.rows, strict=True):
        names = [f"'{one_line(ids[rows[j]], 40)}'" for j in near[:_NAMED]]
        own = scored.words.format(value=scored.values[i], usual=scored.usual)
        texts.append(f"{_nearest_words(distances[0], usual, names)}; {own}")
    return texts


def _nearest_words(distance: float, usual: Float64, names: list[str]) -> str:
    others = f", then {' and '.join(names[1:])}" if len(names) > 1 else ""
    if distance < _EQUAL:
        return f"{names[0]} is equal to it{others}"
    share = np.floor(1000 * np.searchsorted(usual, distance) / (len(usual) + 1)) / 10  # never rounded up to all
    return f"nearest is {names[0]} at {distance:.3g}, farther than for {share:.1f} % of all{others}"
