"""Tables that every program can read: columns of numbers, booleans and text only."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["plain_table", "to_numpy", "unique_names"]

_logger = logging.getLogger(__name__)


def plain_table(table: pa.Table) -> pa.Table:
    """Write every column as bool, int, float or string.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    pyarrow.Table
        Lists and structs as JSON, times as ISO text, categories as their values. Binary columns are left out, with a
        line in the log.
    """
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            _logger.warning("column '%s' holds bytes and is left out of the export", name)
            continue
        columns[name] = column if _is_plain(column.type) else _as_text(column)
    return pa.table(columns)


def _is_plain(kind: pa.DataType) -> bool:
    is_any = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string)
    return any(is_a(kind) for is_a in is_any)


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_nested(column.type):
        texts = [None if v is None else json.dumps(v, default=str, ensure_ascii=False) for v in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column.cast(pa.string())


def to_numpy(column: pa.Array) -> NDArray[Any]:
    """Give a plain column as numpy, in types that FITS, VOTable and HDF5 all know.

    Parameters
    ----------
    column : pyarrow.Array or ChunkedArray
        As ``plain_table`` makes them.

    Returns
    -------
    array, (N,)
        Floats (null is NaN), signed integers of 16, 32 or 64 bits and booleans; where an integer or a boolean is
        missing, a masked array (booleans then as int16) whose fill value is the lowest of its type. Text as objects
        of str, null as ``""``, and NUL, which ends a text in these formats, as U+FFFD.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = column.type
    if pa.types.is_string(kind):
        return np.array([(v or "").replace("\0", "\ufffd") for v in column.to_pylist()], dtype=object)
    if pa.types.is_floating(kind):
        values = np.asarray(column.to_numpy(zero_copy_only=False))
        return values.astype(np.float32) if values.dtype == np.float16 else values
    if pa.types.is_boolean(kind) and not column.null_count:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)
    missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    whole = np.array([0 if v is None else int(v) for v in column.to_pylist()])
    whole = whole.astype(_integer_type(kind, whole))
    if not missing.any():
        return whole
    return np.ma.MaskedArray(whole, missing, fill_value=np.iinfo(whole.dtype).min)


def _integer_type(kind: pa.DataType, values: NDArray[Any]) -> type[np.generic]:
    """Choose the signed type that holds a column; beyond 63 bits there is none, and float64 comes nearest."""
    if pa.types.is_boolean(kind) or kind in (pa.int8(), pa.uint8(), pa.int16()):
        return np.int16
    if kind in (pa.uint16(), pa.int32()):
        return np.int32
    return np.int64 if len(values) == 0 or values.max() < 2**63 else np.float64


def unique_names(names: Iterable[str], *, plain: bool = False) -> list[str]:
    """Make names that differ in more than case.

    Parameters
    ----------
    names : iterable of str
    plain : bool
        Write what is not printable ASCII, and ``/``, as ``_``.

    Returns
    -------
    list of str
        A name taken before gets ``_2``, ``_3`` and so on.

    Examples
    --------
    >>> unique_names(["RA", "ra", "größe"], plain=True)
    ['RA', 'ra_2', 'gr__e']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        base = "".join(c if " " <= c <= "~" and c != "/" else "_" for c in name).strip() or "_" if plain else name
        chosen, n = base, 1
        while chosen.casefold() in taken:
            n += 1
            chosen = f"{base}_{n}"
        taken.add(chosen.casefold())
        found.append(chosen)
    return found
