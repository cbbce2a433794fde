"""Arrow tables row by row: how many bytes each row holds, and a hash of the values that forgets the layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["hash_rows", "row_bytes"]


def row_bytes(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Count the bytes of each row of a record batch, about as Parquet stores them plainly.

    Returns
    -------
    ndarray of int64, shape (rows,)
        A function of the values alone, so slices and copies of a batch give the same counts.
    """
    total = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        total += _value_bytes(column)
    return total


def _value_bytes(array: pa.Array) -> NDArray[np.int64]:
    kind = array.type
    n = len(array)
    if _is_text(kind):
        return _numpy(pc.binary_length(array)) + 4  # each value is preceded by its length
    if pa.types.is_fixed_size_list(kind):
        return np.full(n, kind.list_size * _width(kind.value_type), np.int64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        ends = np.cumsum(_numpy(pc.list_value_length(array)))
        inner = np.concatenate([[0], np.cumsum(_value_bytes(array.flatten()))])
        return np.asarray(np.diff(inner[ends], prepend=0) + 4, np.int64)
    return np.full(n, _width(kind), np.int64)


def _is_text(kind: pa.DataType) -> bool:
    is_any = (pa.types.is_binary, pa.types.is_string, pa.types.is_large_binary, pa.types.is_large_string)
    return any(is_a(kind) for is_a in is_any)


def _width(kind: pa.DataType) -> int:
    try:
        return max(int(kind.bit_width) // 8, 1)
    except ValueError:  # a struct, a map and the like: only an estimate is needed
        return 64


def _numpy(lengths: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False), np.int64)


def hash_rows(batch: pa.RecordBatch) -> bytes:
    """Hash the values of a record batch with SHA-256.

    Equal values in equal order give the same hash however the arrays are sliced, padded or read back; a null
    differs from every value.
    """
    digest = hashlib.sha256()
    for column in batch.columns:
        _feed(digest.update, column)
    return digest.digest()


def _feed(feed: Callable[[Any], None], array: pa.Array) -> None:
    kind = array.type
    feed(len(array).to_bytes(8, "little"))
    feed(np.packbits(np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool)).tobytes())
    if _is_text(kind):
        feed(_numpy(pc.binary_length(array)).astype("<i8").tobytes())
        feed(_text_bytes(array))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        feed(_numpy(pc.list_value_length(array)).astype("<i8").tobytes())
        _feed(feed, array.flatten())
    elif pa.types.is_fixed_size_list(kind):
        _feed(feed, array.flatten())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        zero = pa.scalar(0).cast(kind)
        values = pc.fill_null(array, zero).to_numpy(zero_copy_only=False)
        feed(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
    else:  # dates, decimals, structs: rare, and slow is fine
        feed(repr(array.to_pylist()).encode())


def _text_bytes(array: pa.Array) -> bytes | memoryview:
    """View the bytes of all values in a row; nulls hold none, as Arrow writes and reads them here."""
    if array.null_count:
        array = array.drop_null()
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
