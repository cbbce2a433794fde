"""Reading a folder of Parquet parts."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morphospace._lru import Lru
from morphospace._manifest import read_manifest
from morphospace.errors import StoreError

__all__ = ["SCHEMA", "Form", "Parts", "one_batch", "read_schema"]

SCHEMA = "_common_metadata"
FOOTERS_KEPT = 256


@dataclass(frozen=True)
class Form:
    """What a store holds.

    Attributes
    ----------
    kind : str
        One plural word: ``"cutouts"``, ``"embeddings"``.
    version : int
        Version of the format that is written, and the newest that is read.
    bulk : tuple of str
        Columns that hold the weight (pixels, vectors): plain encoding, no dictionary, no statistics.
    """

    kind: str
    version: int
    bulk: tuple[str, ...]


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Join the chunks of a table into one record batch."""
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)


class Parts:
    """Read a folder of Parquet parts; no file stays open between calls.

    Parameters
    ----------
    path : path
        Folder of the store.
    form : Form
        Kind and newest version that is understood.

    Raises
    ------
    StoreError
        If it is no such store, or a part of it is missing.
    """

    def __init__(self, path: str | Path, form: Form) -> None:
        self.path = Path(path)
        self.form = form
        self.manifest = read_manifest(self.path, kind=form.kind, format_version=form.version)
        present = {entry.name for entry in self.path.iterdir()}
        missing = [p.name for p in self.manifest.parts if p.name not in present]
        if missing:
            msg = f"'{self.path}' lacks {missing[0]}, which its manifest names; take the folder from a copy."
            raise StoreError(msg)
        self.schema = read_schema(self.path)
        # first row of each part, and the number of all rows at the end
        self.starts = np.concatenate([[0], np.cumsum([p.rows for p in self.manifest.parts], dtype=np.int64)])
        self._footers: Lru[int, pq.FileMetaData] = Lru(FOOTERS_KEPT)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def file(self, part: int) -> Path:
        """Path of a part."""
        return self.path / self.manifest.parts[part].name

    @contextlib.contextmanager
    def open(self, part: int) -> Iterator[FileIO]:
        """Open the file of a part, for reading bytes by their place."""
        with _reading(self.file(part)), FileIO(self.file(part)) as file:
            yield file

    def footer(self, part: int) -> pq.FileMetaData:
        """Parquet metadata of a part (``pyarrow.parquet.FileMetaData``), kept for the next call."""
        return self._footers.get(part, lambda: (self._read_footer(part), 1))

    def _read_footer(self, part: int) -> pq.FileMetaData:
        with _reading(self.file(part)):
            found = pq.read_metadata(self.file(part))
        rows = self.manifest.parts[part].rows
        if found.num_rows != rows:
            msg = (
                f"'{self.file(part)}' has {found.num_rows} rows, but the manifest says {rows}: it was written after "
                "this store was opened, or comes from another; open it again."
            )
            raise StoreError(msg)
        return found

    def group(self, part: int, group: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Read one row group as one record batch."""
        with _reading(self.file(part)), pq.ParquetFile(self.file(part), metadata=self.footer(part)) as file:
            return one_batch(file.read_row_group(group, columns=_listed(columns), use_threads=False))

    def groups(self) -> Iterator[tuple[int, int, int, int]]:
        """Walk over the row groups in order: part, group, first row of it, rows in it."""
        row = 0
        for part in range(len(self.manifest.parts)):
            for group, rows in enumerate(self.group_rows(part)):
                yield part, group, row, rows
                row += rows

    def group_rows(self, part: int) -> list[int]:
        """Count the rows of each row group of a part."""
        footer = self.footer(part)
        return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    def part_table(self, part: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of one part as a ``pyarrow.Table``."""
        with _reading(self.file(part)), pq.ParquetFile(self.file(part), metadata=self.footer(part)) as file:
            return file.read(columns=_listed(columns))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of all rows as a ``pyarrow.Table``."""
        tables = [self.part_table(part, columns) for part in range(len(self.manifest.parts))]
        schema = self.schema if columns is None else pa.schema([self.schema.field(c) for c in columns])
        if not tables:
            return schema.empty_table()
        return pa.concat_tables(t.select(schema.names).replace_schema_metadata(schema.metadata) for t in tables)


def _listed(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn what pyarrow says about a damaged file into a StoreError."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, pa.ArrowException) as error:
        msg = f"'{file}' cannot be read ({error}); take it from a copy or make the store again."
        raise StoreError(msg) from error


def read_schema(path: Path) -> pa.Schema:
    """Read the schema of a store as its writer was given it: Parquet's own words for it rename parts of lists."""
    with _reading(path / SCHEMA):
        told = pq.read_metadata(path / SCHEMA).metadata or {}
        return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(told.get(b"ARROW:schema", b""))))
