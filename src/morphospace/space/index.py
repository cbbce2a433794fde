"""The exact index: every vector is compared, so it is the reference for every other index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError

__all__ = ["METRICS", "ExactIndex", "Neighbors"]

METRICS = ("cosine", "euclidean")

_SCORES_AT_ONCE = 1 << 25  # float32 scores held for a batch of queries: 128 MiB
_ROWS_AT_ONCE = 1 << 15  # rows taken to float64 at once: 32 MiB at 128 dimensions
_SHORTEST = 1e-30  # a shorter vector counts as zero: its inverse length is not a float32

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Neighbors(NamedTuple):
    """Nearest rows of each query, best first."""

    ids: list[list[str]]
    """Ids, M lists of k."""
    rows: NDArray[np.int64]
    """Row numbers in the order of ``add``, (M, k)."""
    scores: Float64
    """Similarities, (M, k), never increasing along a row."""


class _Query(NamedTuple):
    """One question: the weighted mean similarity to some examples."""

    examples: Float64  # (P, D)
    weights: Float64  # (P,)


class ExactIndex:
    """Compare queries with every vector.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
        ``"cosine"``: similarity = x.q / (|x| |q|), from -1 to 1. ``"euclidean"``, the normalised Euclidean distance d:
        each dimension is first divided by its standard deviation over the rows added; similarity = 1 - d^2 / (2 D),
        which is 1 for equal vectors and 0 on average over random pairs, in any number D of dimensions.

    Notes
    -----
    Rows with NaN or infinite values are never found, nor are zero vectors under the cosine (they have no direction).
    Equal scores are ordered by row number. A float32 product picks the candidates, all within its rounding error of
    the k-th best; their scores are then computed in float64 from the definition.

    The normalised (standardised) Euclidean distance is the Mahalanobis distance with a diagonal covariance
    (Mahalanobis 1936); ``scipy.spatial.distance.seuclidean`` with the variance of ``ddof=1``. A dimension that does not
    vary is left out of the sum. The Euclidean distance between unit vectors would order hits as the cosine does.

    Examples
    --------
    >>> index = ExactIndex()
    >>> index.add(["a", "b", "c"], [[1, 0], [0, 1], [1, 1]])
    >>> index.query([[2.0, 0.1]], 2).ids
    [['a', 'c']]
    """

    def __init__(self, *, metric: str = "cosine") -> None:
        if metric not in METRICS:
            msg = f"metric must be 'cosine' or 'euclidean'; got {metric!r}."
            raise ConfigError(msg)
        self.metric = metric
        self.ids: list[str] = []
        self._blocks: list[Float32] = []
        self._prepared: _Prepared | None = None
        self._pairs: dict[tuple[int, int], Float64] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Number of dimensions D; 0 while nothing is added."""
        return int(self._blocks[0].shape[1]) if self._blocks else 0

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Rows that can be found at all: finite and, under the cosine, not zero; (N,)."""
        return self._ready().valid

    def add(self, ids: Sequence[str], vectors: ArrayLike) -> None:
        """Append rows; a C-ordered float32 array is kept as it is, without a copy.

        Parameters
        ----------
        ids : sequence of str
        vectors : array, (N, D), float

        Raises
        ------
        ShapeError
            If ``vectors`` is not (len(ids), D), with the D of earlier rows.
        """
        block = np.ascontiguousarray(vectors, dtype=np.float32)
        if block.ndim != 2 or len(block) != len(ids) or block.shape[1] == 0:
            msg = f"vectors must be (N, D) with one row for each of the {len(ids)} ids; got shape {block.shape}."
            raise ShapeError(msg)
        if self._blocks and block.shape[1] != self.dim:
            msg = f"vectors must have {self.dim} dimensions as those added before; got {block.shape[1]}."
            raise ShapeError(msg)
        self.ids.extend(ids)
        self._blocks.append(block)
        self._prepared = None
        self._pairs.clear()

    def query(self, vectors: ArrayLike, k: int, where: NDArray[np.bool_] | None = None) -> Neighbors:
        """Find the k nearest rows of each vector.

        Parameters
        ----------
        vectors : array, (M, D) or (D,), float
            Finite, and not zero under the cosine.
        k : int, >= 1
        where : array of bool, (N,), optional
            Rows that may be found; default all.

        Returns
        -------
        Neighbors
            Of M x min(k, number of rows that may be found).

        Raises
        ------
        ShapeError, DataError, ConfigError, NotFittedError
            For vectors of another dimension, with NaN, a k below 1, an empty index.
        """
        examples = self._check_vectors(vectors)
        one = np.ones(1)
        return self._find([_Query(e[None], one) for e in examples], k, where)

    def rank(self, vectors: ArrayLike, weights: ArrayLike, k: int, where: NDArray[np.bool_] | None = None) -> Neighbors:
        """Find the k rows with the highest weighted sum of similarities to several vectors: one query.

        Parameters
        ----------
        vectors : array, (P, D), float
        weights : array, (P,), float
            Positive for examples to be like, negative for examples to be unlike.
        k, where
            As for ``query``.

        Returns
        -------
        Neighbors
            With M = 1.
        """
        examples = self._check_vectors(vectors)
        weight = np.asarray(weights, dtype=np.float64)
        if weight.shape != (len(examples),):
            msg = f"weights must be one number for each of the {len(examples)} vectors; got shape {weight.shape}."
            raise ShapeError(msg)
        return self._find([_Query(examples, weight)], k, where)

    def similarities(self, rows: ArrayLike, vectors: ArrayLike) -> Float64:
        """Compute the similarity of given rows to given vectors, in float64.

        Parameters
        ----------
        rows : array of int, (R,)
        vectors : array, (P, D), float

        Returns
        -------
        array, (R, P), float64
            NaN for rows that are not ``valid``.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        return self._exact(wanted, self._check_vectors(vectors))

    def normalised(self, rows: NDArray[np.int64] | None = None) -> tuple[NDArray[np.int64], Float64]:
        """Give rows as the metric sees them: unit vectors, or dimensions divided by their spread.

        Parameters
        ----------
        rows : array of int, (V,), optional
            Valid ones; all of these by default.

        Returns
        -------
        rows : array of int, (V,)
        vectors : array, (V, D), float64
        """
        rows = np.flatnonzero(self.valid) if rows is None else rows
        return rows, self._normalised(rows)

    def random_pairs(self, n: int = 20_000, *, seed: int = 0) -> Float64:
        """Compute the similarity of random pairs of two different valid rows.

        Parameters
        ----------
        n : int
            Number of pairs; all pairs are taken where there are fewer.
        seed : int

        Returns
        -------
        array, (<= n,), float64
            In increasing order; empty with fewer than two valid rows.
        """
        if (n, seed) in self._pairs:
            return self._pairs[n, seed]
        valid = np.flatnonzero(self.valid)
        m = len(valid)
        if m * (m - 1) // 2 <= n:
            first, second = np.triu_indices(m, 1)
        else:
            rng = np.random.default_rng(seed)
            first = rng.integers(0, m, n)
            second = (first + rng.integers(1, m, n)) % m  # never the same row twice
        a, b = self._normalised(valid[first]), self._normalised(valid[second])
        self._pairs[n, seed] = np.sort(self._similarity(a, b))
        return self._pairs[n, seed]

    # ---- inside

    def _check_vectors(self, vectors: ArrayLike) -> Float64:
        """Give the queries as (M, D) float64, refusing what has no similarity to anything."""
        array = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
        if not self._blocks:
            msg = "the index is empty; add vectors before asking for neighbours."
            raise NotFittedError(msg)
        if array.ndim != 2 or array.shape[1] != self.dim:
            msg = f"a query must have the {self.dim} dimensions of the index; got shape {np.shape(vectors)}."
            raise ShapeError(msg)
        if not np.isfinite(array).all():
            msg = "a query vector holds NaN or infinite values, so nothing is near it; look at the flags of its image."
            raise DataError(msg)
        if self.metric == "cosine" and not array.any(axis=1).all():
            msg = "a query vector is all zeros and has no direction; use metric='euclidean'."
            raise DataError(msg)
        return array

    def _ready(self) -> _Prepared:
        if self._prepared is None:
            self._prepared = _prepare_cosine(self._blocks) if self.metric == "cosine" else _prepare_euclid(self._blocks)
        return self._prepared

    def _allowed(self, where: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        if where is None:
            return self.valid
        mask = np.asarray(where)
        if mask.shape != (len(self),) or mask.dtype != np.bool_:
            msg = f"where must be {len(self)} booleans, one a row; got shape {mask.shape} of {mask.dtype}."
            raise ShapeError(msg)
        return mask & self.valid

    def _find(self, queries: list[_Query], k: int, where: NDArray[np.bool_] | None) -> Neighbors:
        if k < 1:
            msg = f"k must be 1 or more; got {k}."
            raise ConfigError(msg)
        allowed = self._allowed(where)
        k = min(k, int(np.count_nonzero(allowed)))
        rows = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k))
        step = max(1, _SCORES_AT_ONCE // max(1, len(self)))
        for start in range(0, len(queries) if k else 0, step):
            some = queries[start : start + step]
            coarse, error = self._coarse(some)
            coarse[:, ~allowed] = -np.inf
            for i, query in enumerate(some):
                rows[start + i], scores[start + i] = self._best(query, coarse[i], 2 * float(error[i]), k)
        ids = [[self.ids[r] for r in found] for found in rows]
        return Neighbors(ids, rows, scores)

    def _coarse(self, queries: list[_Query]) -> tuple[Float32, Float64]:
        """Score all rows in float32, up to a constant for each query, with a bound of the error: (M, N) and (M,)."""
        ready = self._ready()
        u = np.stack([q.weights @ ready.normalise(q.examples) for q in queries]) / ready.divisor
        total = np.array([q.weights.sum() for q in queries])
        narrow = u.astype(np.float32)
        scores = np.empty((len(queries), len(self)), dtype=np.float32)
        start = 0
        with np.errstate(all="ignore"):  # rows that are not finite are masked by the caller
            for x in ready.blocks:
                np.matmul(narrow, x.T, out=scores[:, start : start + len(x)])
                start += len(x)
            if ready.gain is not None:
                scores *= ready.gain
            if ready.offset is not None:
                scores += total[:, None].astype(np.float32) * ready.offset
        # A sum of D products is off by at most D roundings (Higham 2002, eq. 3.5); 8 more are in u, x, gain and offset.
        roundings = np.finfo(np.float32).eps / 2 * (self.dim + 8)
        error = roundings * (ready.reach * np.linalg.norm(u, axis=1) + ready.highest * np.abs(total))
        return scores, error

    def _best(self, query: _Query, coarse: Float32, margin: float, k: int) -> tuple[NDArray[np.int64], Float64]:
        kth = float(np.partition(coarse, len(coarse) - k)[len(coarse) - k])
        candidates = np.flatnonzero(coarse >= kth - margin)
        scores = self._exact(candidates, query.examples) @ query.weights
        order = np.lexsort((candidates, -scores))[:k]
        return candidates[order], scores[order]

    def _normalised(self, rows: NDArray[np.int64]) -> Float64:
        """Take rows, normalised in float64 from the vectors as given."""
        ends = np.cumsum([len(b) for b in self._blocks])
        which = np.searchsorted(ends, rows, side="right")
        taken = np.empty((len(rows), self.dim))
        for i, block in enumerate(self._blocks):
            here = which == i
            taken[here] = block[rows[here] - (ends[i] - len(block))]
        return self._ready().normalise(taken)

    def _exact(self, rows: NDArray[np.int64], vectors: Float64) -> Float64:
        q = self._ready().normalise(vectors)
        scores = np.empty((len(rows), len(q)))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            x = self._normalised(rows[start : start + _ROWS_AT_ONCE])
            for j, one in enumerate(q):
                scores[start : start + len(x), j] = self._similarity(x, one)
        return scores

    def _similarity(self, a: Float64, b: Float64) -> Float64:
        """Compare normalised rows; a sum along each row, and not a matrix product, so that equal rows score equal."""
        if self.metric == "cosine":
            return np.asarray(np.clip((a * b).sum(axis=-1), -1.0, 1.0))
        return np.asarray(1.0 - ((a - b) ** 2).sum(axis=-1) / (2 * self._ready().divisor))


class _Prepared(NamedTuple):
    """What the float32 product needs: score = gain * (x . u) + weight * offset + a constant of the query."""

    blocks: list[Float32]
    valid: NDArray[np.bool_]
    gain: Float32 | None  # (N,)
    offset: Float32 | None  # (N,)
    centre: Float64 | None  # (D,); None: rows are scaled to unit length
    spread: Float64 | None  # (D,); infinite where a dimension does not vary
    divisor: float  # what the product is divided by: 1, or the number of varying dimensions
    reach: float  # longest row times its gain
    highest: float  # largest |offset|

    def normalise(self, x: Float64) -> Float64:
        with np.errstate(all="ignore"):  # zero and non-finite rows give NaN
            if self.centre is not None and self.spread is not None:
                return np.asarray((x - self.centre) / self.spread)
            # By the largest value first: the square of 1e200 is infinite, that of 1e-200 is zero.
            x = x / np.abs(x).max(axis=-1, keepdims=True)
            return np.asarray(x / np.sqrt((x * x).sum(axis=-1, keepdims=True)))


def _prepare_cosine(blocks: list[Float32]) -> _Prepared:
    norms = np.concatenate([_norms(b) for b in blocks])
    valid = np.isfinite(norms) & (norms > _SHORTEST)
    gain = np.zeros(len(norms), dtype=np.float32)
    gain[valid] = 1.0 / norms[valid]
    return _Prepared(blocks, valid, gain, None, None, None, 1.0, 1.0, 0.0)


def _norms(block: Float32) -> Float64:
    norms = np.empty(len(block))
    with np.errstate(all="ignore"):
        for start in range(0, len(block), _ROWS_AT_ONCE):
            x = block[start : start + _ROWS_AT_ONCE]
            norms[start : start + len(x)] = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))
    return norms


def _prepare_euclid(blocks: list[Float32]) -> _Prepared:
    dim = blocks[0].shape[1]
    valid = np.concatenate([np.isfinite(_norms(b)) for b in blocks])
    n = max(1, int(np.count_nonzero(valid)))
    centre = sum((x.sum(axis=0) for x in _good_rows(blocks)), np.zeros(dim)) / n
    squares = sum((((x - centre) ** 2).sum(axis=0) for x in _good_rows(blocks)), np.zeros(dim))
    spread = np.sqrt(squares / max(1, n - 1))
    flat = spread <= np.finfo(np.float32).eps * np.abs(centre)  # rounding, not spread
    spread = np.where(flat, np.inf, spread)
    n_varying = float(max(1, int(np.count_nonzero(~flat))))
    scaled = [_standardised(b, centre, spread) for b in blocks]
    lengths = np.concatenate([_norms(b) for b in scaled])
    offset = (1.0 - lengths**2 / (2 * n_varying)).astype(np.float32)
    reach = float(lengths[valid].max()) if valid.any() else 0.0
    highest = 1.0 + reach**2 / (2 * n_varying)
    return _Prepared(scaled, valid, None, offset, centre, spread, n_varying, reach, highest)


def _good_rows(blocks: list[Float32]) -> Iterator[Float64]:
    for block in blocks:
        for start in range(0, len(block), _ROWS_AT_ONCE):
            x = block[start : start + _ROWS_AT_ONCE]
            yield x[np.isfinite(x).all(axis=1)].astype(np.float64)


def _standardised(block: Float32, centre: Float64, spread: Float64) -> Float32:
    scaled = np.empty_like(block)
    with np.errstate(all="ignore"):
        for start in range(0, len(block), _ROWS_AT_ONCE):
            here = slice(start, start + _ROWS_AT_ONCE)
            scaled[here] = (block[here] - centre) / spread
    return scaled
