"""Reading single rows of a store of cutouts, without the row groups that they lie in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from io import FileIO
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from morphospace._lru import Lru
from morphospace._parts import Parts
from morphospace.sky.store_schema import Cutout, decode_images, decode_row, image_layouts

__all__ = ["RowReader"]

CACHE_BYTES = 256 << 20
PYTHON_WEIGHT = 3  # what Arrow holds in a byte, Python holds in about three
_LENGTH = 4  # bytes of the length that precedes each value of a plain binary column


class _Group(NamedTuple):
    """Columns of a row group but image, as Python lists, and where each row's pixels are (None: unknown)."""

    columns: dict[str, list[Any]]
    offsets: list[int] | None


class RowReader:
    """Read rows by number, the pixels from their place in the file.

    An uncompressed, plain binary column without nulls is one page of lengths and values, which ends where the
    column chunk ends: so the place of each value follows from the sizes. The length before the first value of the
    row group, and before each value that is read, must be the right one; else pyarrow reads the row group. The
    other columns of the row groups used last are held in memory (about 256 MiB).
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._others = [name for name in parts.schema.names if name != "image"]
        self._groups: Lru[tuple[int, int], _Group] = Lru(CACHE_BYTES)

    def read(self, rows: NDArray[np.int64]) -> list[Cutout]:
        """Read rows in the order asked for; a row asked for twice is one object twice, pixels can be written to."""
        unique, back = np.unique(rows, return_inverse=True)
        found: list[Cutout] = []
        for part, inside in _split(unique, self.parts.starts):
            starts = np.concatenate([[0], np.cumsum(self.parts.group_rows(part), dtype=np.int64)])
            with self.parts.open(part) as file:
                for group, numbers in _split(inside, starts):
                    at = numbers.tolist()
                    held = self._groups.get((part, group), partial(self._load, part, group, file))
                    images = _read_images(file, held, at) or self._decode_images(part, group, at)
                    found += [decode_row(held.columns, row, image) for row, image in zip(at, images, strict=True)]
        return [found[i] for i in back.tolist()]

    def _load(self, part: int, group: int, file: FileIO) -> tuple[_Group, int]:
        batch = self.parts.group(part, group, self._others)
        sizes = [dtype.itemsize * math.prod(shape) + _LENGTH for dtype, shape in image_layouts(batch)]
        chunk = _image_chunk(self.parts.footer(part).row_group(group))
        first = chunk.data_page_offset + chunk.total_compressed_size - sum(sizes)
        known = chunk.compression == "UNCOMPRESSED" and _has_length(file, first, sizes[0] - _LENGTH)
        offsets = list(accumulate(sizes[:-1], initial=first)) if known else None
        return _Group(batch.to_pydict(), offsets), PYTHON_WEIGHT * batch.nbytes

    def _decode_images(self, part: int, group: int, at: list[int]) -> list[NDArray[Any]]:
        batch = self.parts.group(part, group, ["image", "dtype", "shape"])
        return [image.copy() for image in decode_images(batch.take(pa.array(at)))]


def _read_images(file: FileIO, held: _Group, at: list[int]) -> list[NDArray[Any]] | None:
    """Read the pixels of rows from their place; None if they are not there."""
    if held.offsets is None:
        return None
    images = []
    for row in at:
        image = np.empty(held.columns["shape"][row], np.dtype(held.columns["dtype"][row]).newbyteorder("<"))
        if not _has_length(file, held.offsets[row], image.nbytes):
            return None
        if file.readinto(image.data.cast("B")) != image.nbytes:
            return None
        images.append(image)
    return images


def _has_length(file: FileIO, offset: int, n_bytes: int) -> bool:
    file.seek(max(offset, 0))
    return file.read(_LENGTH) == n_bytes.to_bytes(_LENGTH, "little")


def _image_chunk(group: pq.RowGroupMetaData) -> pq.ColumnChunkMetaData:
    chunks = (group.column(i) for i in range(group.num_columns))
    return next(chunk for chunk in chunks if chunk.path_in_schema == "image")


def _split(rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Split ascending row numbers at ``starts``; yield the number of each range that has any, and rows within it."""
    if not len(rows):
        return
    place = np.searchsorted(starts, rows, side="right") - 1
    numbers, first = np.unique(place, return_index=True)
    for number, inside in zip(numbers.tolist(), np.split(rows, first[1:]), strict=True):
        yield number, inside - starts[number]
