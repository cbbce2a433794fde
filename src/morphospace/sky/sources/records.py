"""Rows of Parquet files with images in a column, as Hugging Face `datasets` and the Multimodal Universe keep them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from morphospace._lru import Lru
from morphospace.sky._intake import guarded, refusal
from morphospace.sky.images import Image, read_image
from morphospace.sky.sources.arrays import image_from
from morphospace.sky.sources.files import read_packed
from morphospace.sky.sources.many import FileOfMany, ManyRows
from morphospace.sky.sources.nested import image_of_bands, is_bands, is_nested, to_array
from morphospace.sky.sources.rows import IMAGES, find_column

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["RecordSource", "image_columns", "read_columns"]

_AGAIN = "fetch or copy it again"
_HELD = 128 << 20  # bytes of decoded rows that a process keeps
_BATCH = 32


class RecordSource(ManyRows):
    """One image a row of Parquet files.

    An image column holds encoded pictures (PNG, JPEG, TIFF, FITS) as bytes or as a struct of ``bytes`` and ``path``,
    nested lists of numbers, (H, W), (C, H, W) or (H, W, 3), or the struct of the Multimodal Universe: per band its
    ``flux``, and perhaps ``band``, ``mask`` (True where good), ``ivar`` (0 where nothing was measured) and ``scale``.

    Parameters
    ----------
    files : sequence of path
        Files of one kind, whose rows are put one after the other.
    intake : Intake
        Columns named by the user.
    hdu : str or int, optional
        As for `read_image`, of FITS within.

    Raises
    ------
    DataError
        If a file is damaged, the files differ in their columns, or none holds images.
    """

    def __init__(self, files: Sequence[str | Path], intake: Intake, *, hdu: str | int | None = None) -> None:
        known = [FileOfMany.of(os.fspath(file)) for file in files]
        self._image = _choose(read_columns(known[0].path), intake.image_column, known[0].path)
        self._groups: list[NDArray[np.int64]] = []  # of each file the first row of each row group, and all its rows
        tables = []
        for name in (file.path for file in known):
            with guarded(name, "is a damaged Parquet file", _AGAIN):
                footer = pq.read_metadata(name)
                sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
                self._groups.append(np.cumsum([0, *sizes]))
                schema = pq.read_schema(name)
                if self._image not in schema.names:
                    raise refusal(name, f"has no column '{self._image}', as the first file has", "leave it out")
                plain = [
                    field.name for field in schema if not pa.types.is_nested(field.type) and field.name != self._image
                ]
                tables.append(pq.read_table(name, columns=plain).replace_schema_metadata(None))
        super().__init__(known, (int(starts[-1]) for starts in self._groups), tables, intake, "Parquet")
        self._hdu = hdu
        self._batches: Lru[tuple[int, int, int], pa.Array] = Lru(_HELD)
        self._cursor: tuple[int, int, int, Iterator[pa.RecordBatch]] | None = None

    def read(self, i: int) -> Image:
        """Decode the image of row `i`; rows in the order of the file cost one decoding each."""
        number, row = self._place_of(i)
        source = f"{self._files[number].path}#{row}"
        with guarded(source, "cannot be read from its Parquet file", _AGAIN):
            value = self._value(number, row)
        return self._with_position(self._decode(value, source), i)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursor": None}

    def _decode(self, value: pa.Scalar, source: str) -> Image:
        if not value.is_valid:
            raise refusal(source, "has no image in its row", "leave the row out")
        kind = value.type
        if pa.types.is_struct(kind) and "bytes" in kind.names:
            packed, name = value["bytes"].as_py(), value["path"].as_py() if "path" in kind.names else None
            if packed is None and name:
                inside = os.path.join(os.path.dirname(source.rsplit("#", 1)[0]), name)
                return replace(read_image(inside, hdu=self._hdu), source=source)
            return _decoded(packed, source, self._hdu)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return _decoded(value.as_py(), source, self._hdu)
        if is_bands(kind):
            return image_of_bands(value, source)
        return image_from(to_array(value, source), source)

    def _value(self, number: int, row: int) -> pa.Scalar:
        """Find a row among the batches held, or read on to it."""
        starts = self._groups[number]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        batch, inside = divmod(row - int(starts[group]), _BATCH)
        return self._batches.get((number, group, batch), lambda: self._load(number, group, batch))[inside]

    def _load(self, number: int, group: int, batch: int) -> tuple[pa.Array, int]:
        at = self._cursor
        if at is None or at[:2] != (number, group) or at[2] > batch:
            file = pq.ParquetFile(self._files[number].path)
            at = (number, group, 0, file.iter_batches(_BATCH, row_groups=[group], columns=[self._image]))
        *_, position, batches = at
        while True:
            found = next(batches).column(0)
            position += 1
            if position > batch:
                break
        self._cursor = (number, group, position, batches)
        return found, found.nbytes


def read_columns(file: str) -> pa.Schema:
    """Read the names and types of the columns of a Parquet file."""
    with guarded(file, "is a truncated or damaged Parquet file", _AGAIN):
        return pq.read_schema(file)


def image_columns(schema: pa.Schema) -> list[str]:
    """Name the columns that can hold images, by their type; of text and plain numbers none can."""
    return [field.name for field in schema if _holds_images(field.type)]


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return "bytes" in kind.names or is_bands(kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or is_bands(kind) or is_nested(kind)


def _choose(schema: pa.Schema, asked: str, source: str) -> str:
    name = find_column(schema.names, asked, (), source=source, setting="image_column")
    if name is not None:
        return name
    fitting = image_columns(schema)
    best = find_column(fitting, "", IMAGES, source=source, setting="image_column")
    if best is None and not fitting:
        there = ", ".join(f"'{field.name}' ({field.type})"[:60] for field in list(schema)[:12])
        raise refusal(source, f"has no column of images; it has {there}", "name one with image_column")
    return best or fitting[0]


def _decoded(packed: bytes | None, source: str, hdu: str | int | None) -> Image:
    """Read an encoded picture."""
    if not packed:
        raise refusal(source, "has no image in its row", "leave the row out")
    return read_packed(packed, source, hdu=hdu)
