"""Find what looks alike: the rows nearest to an object, a file, a vector, or to several at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from astropy.units import Quantity
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.space.embeddings import Embeddings, check_same_space
from morphospace.space.names import did_you_mean, fold, one_line
from morphospace.space.places import Places, radius_arcsec
from morphospace.space.where import columns_of, rows_where

__all__ = ["Hits", "Query", "search"]

_NEGATIVE_WEIGHT = 0.5
_N_PAIRS = 20_000

Query: TypeAlias = (
    "str | Path | Embeddings | NDArray[np.floating] | Sequence[str | Path | Embeddings | float | Sequence[float]]"
)


@dataclass(frozen=True)
class Hits:
    """What a search found, best first; k rows, or fewer where fewer were allowed.

    Attributes
    ----------
    query : str
        What was asked, in words.
    metric : str
        ``"cosine"`` or ``"euclidean"``, as for ``ExactIndex``.
    query_rows : array of int, (R,)
        Rows of the embeddings searched that were the positive examples; none for a bare vector.
    n_searched : int
        Rows that might have been found.
    ids : tuple of str
    rows : array of int, (k,)
        Row numbers in the embeddings searched.
    scores : array of float64, (k,)
        Mean similarity to the positives, less half the mean similarity to the negatives; never increasing.
    similarities : array of float64, (k,)
        Mean similarity to the positives alone: equal to ``scores`` without negatives.
    quantiles : array of float64, (k,)
        Share of random pairs of rows that are less similar than that: 0.5 is chance. Never 1: one more pair is counted
        as just as similar (Davison & Hinkley 1997, eq. 4.11). NaN with fewer than two rows.
    ra, dec : array of float64, (k,)
        Degrees (ICRS); NaN where unknown.
    objects : tuple of str or None
        Column ``object``.
    """

    query: str
    metric: str
    query_rows: NDArray[np.int64]
    n_searched: int
    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    similarities: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    objects: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def table(self) -> pa.Table:
        """Give the hits as an Arrow table: rank (from 1), id, score, similarity, quantile, ra, dec, object, row."""
        return pa.table(
            {
                "rank": np.arange(1, len(self) + 1),
                "id": pa.array(self.ids, pa.string()),
                "score": self.scores,
                "similarity": self.similarities,
                "quantile": self.quantiles,
                "ra": self.ra,
                "dec": self.dec,
                "object": pa.array(self.objects, pa.string()),
                "row": self.rows,
            }
        )

    def __str__(self) -> str:
        head = f"{len(self)} nearest to {one_line(self.query, 60)} among {self.n_searched:,} ({self.metric})"
        if not self.ids:
            return head
        names = [one_line(i, 40) for i in self.ids]
        wide = max(2, *(len(n) for n in names))
        ranked_otherwise = not np.array_equal(self.scores, self.similarities)  # there are negatives
        lines = [head, f"{'#':>4}  {'id':<{wide}}  similarity  quantile         ra        dec  object"]
        for i, name in enumerate(names):
            place = f"{self.ra[i]:9.5f}  {self.dec[i]:+9.5f}" if np.isfinite(self.ra[i]) else f"{'-':>9}  {'-':>9}"
            line = f"{i + 1:>4}  {name:<{wide}}  {self.similarities[i]:>10.4f}  {self.quantiles[i]:8.5f}  {place}"
            lines.append(f"{line}  {one_line(self.objects[i] or '', 30)}".rstrip())
        if ranked_otherwise:
            lines.append("in order of similarity less half the similarity to what they are not to be like")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Examples:
    """Vectors asked for, and what they are where they are rows of the embeddings searched."""

    vectors: NDArray[np.float64]  # (P, D)
    rows: NDArray[np.int64]  # (R,): rows of the embeddings searched that are examples themselves
    places: Places
    label: str


def search(
    emb: Embeddings,
    query: Query,
    *,
    k: int = 12,
    not_like: Query = (),
    where: str | None = None,
    exclude_radius: str | float | Quantity | None = None,
    metric: str = "cosine",
    seed: int = 0,
) -> Hits:
    """Find the rows most similar to a query, by comparing it with every row.

    Parameters
    ----------
    emb : Embeddings
    query : str, Path, array, Embeddings, or a sequence of these
        An id, an object name (case and blanks do not count; all its observations are taken), a file (its path or its
        name, as in column ``source``), a vector (D,), vectors (P, D), or other embeddings of the same space (all rows).
        Several are positives: a row scores the mean of its similarities to them.
    k : int, >= 1
        How many rows to give.
    not_like : as ``query``
        Negatives: half the mean similarity to them is taken off the score.
    where : str, optional
        Condition on columns that hits must meet, e.g. ``"snr > 10 and object != 'M51' and flags == 0"``; see
        ``rows_where``.
    exclude_radius : str, float or Quantity, optional
        Leaves out rows within this angle of any example (``"10arcsec"``; a bare number is arcsec), so that other
        observations of the same object are not found. Where the row or the example has no position, it is left out if
        both have one ``object`` or ``group``.
    metric : {"cosine", "euclidean"}
        As for ``ExactIndex``; ``"euclidean"`` is the normalised Euclidean distance over all rows of ``emb``.
    seed : int
        Draws the 20,000 random pairs behind the quantiles.

    Returns
    -------
    Hits
        Without the examples themselves and without rows that have no vector (NaN).

    Raises
    ------
    DataError
        If an id, name or file is not there (the nearest are named), one file holds several objects, a vector has
        NaN, or other embeddings are of another space.
    ConfigError, ShapeError
        If an option is out of range, or a vector has another dimension.

    Notes
    -----
    Positives and negatives are joined as by Rocchio (1971), with the weight of the negatives at half that of the
    positives: with equal weights what is merely far from the negatives would outrank what is near the positives.
    """
    radius = None if exclude_radius is None else radius_arcsec(exclude_radius)
    positives = _resolve(emb, query)
    if len(positives.vectors) == 0:
        msg = "query is empty; give an id, an object name, a file or a vector."
        raise DataError(msg)
    negatives = _resolve(emb, not_like)
    allowed = np.ones(len(emb), dtype=np.bool_)
    if where is not None:
        allowed &= rows_where(emb.table(list(dict.fromkeys(["id", *columns_of(where, emb.columns)]))), where)
    allowed[positives.rows] = allowed[negatives.rows] = False
    if radius is not None:
        allowed &= ~_other_observations(emb, radius, positives, negatives)
    index = emb.index(metric)
    weights = np.concatenate(
        [
            np.full(n, w / n)
            for n, w in ((len(positives.vectors), 1.0), (len(negatives.vectors), -_NEGATIVE_WEIGHT))
            if n
        ]
    )
    found = index.rank(np.concatenate([positives.vectors, negatives.vectors]), weights, k, allowed)
    rows, scores = found.rows[0], found.scores[0]
    similarities = index.similarities(rows, positives.vectors).mean(axis=1)
    pairs = index.random_pairs(_N_PAIRS, seed=seed)
    places = Places.of(emb, rows)
    return Hits(
        query=positives.label + (f", not like {negatives.label}" if len(negatives.vectors) else ""),
        metric=metric,
        query_rows=positives.rows,
        n_searched=int(np.count_nonzero(allowed & index.valid)),
        ids=tuple(found.ids[0]),
        rows=rows,
        scores=scores,
        similarities=similarities,
        quantiles=np.searchsorted(pairs, similarities) / (len(pairs) + 1) if len(pairs) else np.full(len(rows), np.nan),
        ra=places.ra,
        dec=places.dec,
        objects=places.objects,
    )


def _other_observations(
    emb: Embeddings, radius: float, positives: _Examples, negatives: _Examples
) -> NDArray[np.bool_]:
    if not positives.places.known():
        msg = f"exclude_radius needs a position or an object name, and {positives.label} has neither; leave it out."
        raise ConfigError(msg)
    everywhere = Places.of(emb)
    return everywhere.near(positives.places, radius) | everywhere.near(negatives.places, radius)


def _resolve(emb: Embeddings, query: Query) -> _Examples:
    """Turn a query into vectors."""
    parts = [_resolve_one(emb, one) for one in _listed(query)]
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return _Examples(np.empty((0, emb.dim)), none, Places.of(emb, none), "nothing")
    label = parts[0].label if len(parts) == 1 else f"{len(parts)} examples ({', '.join(p.label for p in parts[:3])}"
    if len(parts) > 1:
        label += ", …)" if len(parts) > 3 else ")"
    return _Examples(
        vectors=np.concatenate([p.vectors for p in parts]),
        rows=np.concatenate([p.rows for p in parts]),
        places=Places.joined([p.places for p in parts]),
        label=label,
    )


def _listed(query: Query) -> list[object]:
    """Split a query into single ones; a row of numbers is one vector."""
    if isinstance(query, str | Path | Embeddings):
        return [query]
    if isinstance(query, np.ndarray) and query.dtype.kind in "US":
        return [str(name) for name in query.flat]
    if isinstance(query, Sequence) and not all(isinstance(q, int | float | np.number) for q in query):
        return list(query)
    return [query] if np.asarray(query).size else []


def _resolve_one(emb: Embeddings, query: object) -> _Examples:
    if isinstance(query, Embeddings):
        return _from_other(emb, query)
    if isinstance(query, Path):
        return _from_rows(emb, _rows_of_file(emb, str(query), []), f"'{query}'")
    if isinstance(query, str):
        return _from_rows(emb, _rows_of_name(emb, query), query)
    array = np.asarray(query)
    if array.dtype.kind not in "fiu" or array.ndim == 0:
        msg = f"a query must be an id, a name, a file or a vector (ids are text); got {type(query).__name__}."
        raise DataError(msg)
    vectors = np.atleast_2d(array.astype(np.float64))
    if vectors.ndim != 2 or vectors.shape[1] != emb.dim:
        msg = f"a query vector must have the {emb.dim} dimensions of embeddings {emb.name}; got shape {vectors.shape}."
        raise ShapeError(msg)
    what = "a vector" if len(vectors) == 1 else f"{len(vectors)} vectors"
    none = np.empty(0, dtype=np.int64)
    return _Examples(vectors, none, Places.of(emb, none), what)


def _from_rows(emb: Embeddings, rows: Sequence[int] | NDArray[np.int64], label: str) -> _Examples:
    numbers = np.asarray(rows, dtype=np.int64)
    vectors = emb.vectors[numbers].astype(np.float64)
    if not np.isfinite(vectors).all():
        msg = f"{label} has no vector (NaN), so nothing is near it; look at the flags of its image."
        raise DataError(msg)
    return _Examples(vectors, numbers, Places.of(emb, numbers), label)


def _from_other(emb: Embeddings, other: Embeddings) -> _Examples:
    check_same_space(emb, other)
    same = [emb.row_of(i) for i in other.ids if i in emb]
    label = other.ids[0] if len(other) == 1 else f"{len(other)} objects of {other.name}"
    return _Examples(other.vectors.astype(np.float64), np.asarray(same, dtype=np.int64), Places.of(other), label)


def _rows_of_name(emb: Embeddings, name: str) -> Sequence[int] | NDArray[np.int64]:
    """Find an id, else an object, else a file."""
    if name in emb:
        return [emb.row_of(name)]
    objects = emb.table(["object"])["object"].to_pylist() if "object" in emb.columns else []
    wanted = fold(name)
    rows = [row for row, o in enumerate(objects) if o is not None and wanted and fold(o) == wanted]
    if rows:
        _check_one_object(emb, rows, f"object '{name}'")
        return rows
    return _rows_of_file(emb, name, chain(emb.ids, (o for o in objects if o)))


def _file_name(path: str) -> str:
    """Give what follows the last slash; pathlib takes ten times longer."""
    return path.replace("\\", "/").rpartition("/")[2]


def _rows_of_file(emb: Embeddings, name: str, known: Iterable[str]) -> list[int]:
    sources = emb.table(["source"])["source"].to_pylist() if "source" in emb.columns else []
    rows = [row for row, s in enumerate(sources) if s == name]
    if not rows:
        rows = [row for row, s in enumerate(sources) if s is not None and _file_name(s) == _file_name(name)]
    if not rows:
        near = did_you_mean(name, chain(known, (_file_name(s) for s in sources if s)))
        msg = f"'{name}' is no id, object or file in embeddings {emb.name}{near}"
        raise DataError(msg)
    paths = sorted({sources[row] for row in rows})
    if len(paths) > 1:
        msg = f"'{name}' names {len(paths)} files: {', '.join(paths[:3])}{', …' * (len(paths) > 3)}; give a whole path."
        raise DataError(msg)
    _check_one_object(emb, rows, f"file '{name}'")
    return rows


def _check_one_object(emb: Embeddings, rows: Sequence[int], what: str) -> None:
    """Refuse a name that means several objects cut out of one file: their mean is like none of them."""
    if len(rows) < 2 or "source" not in emb.columns:
        return
    sources = [s for s in emb.table(["source"]).take(pa.array(rows))["source"].to_pylist() if s is not None]
    if len(set(sources)) == len(sources):
        return
    some = ", ".join(emb.ids[row] for row in rows[:3])
    msg = f"{what} holds {len(rows)} objects in embeddings {emb.name}; name one by its id, e.g. {some}."
    raise DataError(msg)
