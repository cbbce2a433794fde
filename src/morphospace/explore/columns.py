"""Columns of the embeddings as the page takes them: numbers, categories, flags and text."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from morphospace.errors import DataError
from morphospace.space.embeddings import Embeddings

__all__ = ["MOST_CATEGORIES", "Column", "Encoded", "describe", "encode", "shown_columns"]

MOST_CATEGORIES = 64
Kind: TypeAlias = Literal["number", "category", "text", "flags"]


class Encoded(NamedTuple):
    """A value for each row: float32 with NaN, or int16 codes with -1; flags are float32 too, exact up to 24 bits."""

    kind: Kind
    values: NDArray[Any]
    categories: tuple[str, ...] = ()


class Column(NamedTuple):
    """What there is to know about a column before it is read by the page."""

    name: str
    kind: Kind
    n_missing: int
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()


def shown_columns(emb: Embeddings) -> list[str]:
    """Name the columns that the page shows: all but the id, the vector, and lists or bytes."""
    return [f.name for f in emb.schema if f.name not in ("id", "vector") and _shown(f.type)]


def _shown(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def describe(emb: Embeddings, name: str) -> Column:
    """Read a column once and tell its kind and range.

    Parameters
    ----------
    emb : Embeddings
    name : str
        One of `shown_columns`.

    Returns
    -------
    Column
        A text of up to 64 different values is a category, the commonest first. The range leaves out NaN and infinity.
    """
    column = emb.table([name])[name]
    if _is_number(column.type):
        values = _floats(column)
        good = values[np.isfinite(values)]
        kind: Kind = "flags" if name == "flags" and pa.types.is_integer(column.type) else "number"
        low, high = (float(good.min()), float(good.max())) if good.size else (None, None)
        return Column(name, kind, len(values) - len(good), low, high)
    categories = _categories(column)
    return Column(name, "text" if categories is None else "category", column.null_count, categories=categories or ())


def encode(emb: Embeddings, described: Column) -> Encoded:
    """Read a column as the page draws it.

    Raises
    ------
    DataError
        If it is a text of many values, which no colour can show.
    """
    column = emb.table([described.name])[described.name]
    if described.kind == "text":
        msg = f"column '{described.name}' is text of many values, so nothing can be coloured by it."
        raise DataError(msg)
    if described.kind == "flags":
        return Encoded("flags", np.nan_to_num(_floats(column)).astype(np.float32))
    if described.kind == "number":
        return Encoded("number", _floats(column).astype(np.float32))
    found = pc.index_in(_texts(column), value_set=pa.array(described.categories, pa.string()))
    return Encoded("category", found.fill_null(-1).cast(pa.int16()).to_numpy(), described.categories)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _categories(column: pa.ChunkedArray) -> tuple[str, ...] | None:
    """List the values of a column, the commonest first; None where there are too many, or only one for each row."""
    texts = _texts(column)
    counts = pc.value_counts(texts.drop_null())
    if not 0 < len(counts) <= MOST_CATEGORIES or (len(counts) == len(texts) > 12):
        return None
    pairs = zip(counts.field("counts").to_pylist(), counts.field("values").to_pylist(), strict=True)
    return tuple(value for _, value in sorted(pairs, key=lambda pair: (-pair[0], pair[1])))
