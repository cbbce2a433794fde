"""The store of cutouts: images as they are in their files, with their place on the sky, flags and columns.

A folder of Parquet files that pandas, DuckDB, astropy, Spark and Dask open without morphospace. In DuckDB::

    select id, ra, dec from 'disks.cutouts/*.parquet' where flags = 0

astropy's own reader of Parquet stops where a text is missing, so go through pandas:
``Table.from_pandas(pandas.read_parquet("disks.cutouts", columns=["id", "ra", "dec", "object"]))``.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace._parts import Parts, PartWriter, one_batch
from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.sky.store_rows import RowReader
from morphospace.sky.store_schema import (
    COLUMNS,
    FORM,
    Cutout,
    decode_images,
    decode_masks,
    encode_row,
    pixel_sha256,
)

__all__ = [
    "BATCH_BYTES",
    "BATCH_ROWS",
    "COLUMNS",
    "Cutout",
    "Cutouts",
    "CutoutsWriter",
    "decode_images",
    "decode_masks",
    "encode_batch",
    "pixel_sha256",
]

BATCH_ROWS = 256
BATCH_BYTES = 4 << 20

_logger = logging.getLogger(__name__)


def encode_batch(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    """Turn rows into a ``pyarrow.RecordBatch`` for `CutoutsWriter.write`.

    Parameters
    ----------
    rows : sequence of mapping
        What `encode_row` gave, together below 2 GiB.
    columns : mapping of str to pyarrow.DataType
        Columns of the user.
    """
    return _batch(rows, _schema(columns))


def _schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema([*COLUMNS, *(pa.field(n, t) for n, t in columns.items())])


def _batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class CutoutsWriter:
    """Write cutouts into a store that a kill, a full disk or Ctrl-C leave readable.

    Use it in a ``with`` block: its end completes the store, an exception keeps the rows so far.

    Parameters
    ----------
    path : path
        Folder to make, by custom ``NAME.cutouts``.
    columns : mapping of str to pyarrow.DataType, optional
        Columns of the user with their types; a row that lacks one has null.
    resume : bool
        Go on with a store that is there; `done` names its rows.
    overwrite : bool
        Put a new store in its place.

    Attributes
    ----------
    done : dict of str to str
        Ids and sources of the rows that were complete when the writer was opened, in their order. Of the last
        source, some rows may be missing.

    Raises
    ------
    StoreError
        If `path` is there and neither `resume` nor `overwrite` is given, or it is something else.
    ConfigError
        If a column of the user has the name of one of ours.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, pa.DataType] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._user = dict(columns or {})
        taken = [name for name in self._user if name in COLUMNS.names]
        if taken:
            msg = f"column '{taken[0]}' is one that every store of cutouts has; choose another name."
            raise ConfigError(msg)
        self._user_schema = _schema(self._user)
        self._parts = PartWriter(path, FORM, self._user_schema, resume=resume, overwrite=overwrite)
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        done = self._parts.done(["id", "source"])
        self.done: dict[str, str] = dict(zip(done["id"].to_pylist(), done["source"].to_pylist(), strict=True))
        self._ids = set(self.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._parts.failed:
            try:
                self._drain()
            except StoreError as second:
                if error is None:
                    raise
                _logger.warning("the last rows are not in '%s': %s", self._parts.path, second)
        self._parts.__exit__(kind, error, trace)

    def append(self, cutout: Cutout) -> None:
        """Add a row; rows keep the order in which they come.

        Raises
        ------
        DataError
            If the id came before, or something of the row cannot be stored. Nothing is added then, and the next
            row may follow.
        StoreError
            If the disk does not take the rows.
        """
        self._check_new([cutout.id])
        row = encode_row(cutout, self._user)
        self._rows.append(row)
        self._ids.add(cutout.id)
        self._bytes += len(row["image"]) + len(row["mask"] or b"") + len(row["variance"] or b"")
        if self._bytes >= BATCH_BYTES or len(self._rows) >= BATCH_ROWS:
            self._drain()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch that `encode_batch` made.

        Raises
        ------
        DataError
            If an id came before, or the columns are not those of this store; nothing is added then.
        StoreError
            If the disk does not take the rows.
        """
        ids = batch.column("id").to_pylist()
        self._check_new(ids)
        if batch.schema != self._user_schema:
            msg = f"the columns of a batch are not those of '{self._parts.path}': {self._user_schema.names}."
            raise DataError(msg)
        self._gather()
        self._batches.append(batch)
        self._ids.update(ids)
        self._bytes += batch.nbytes
        if self._bytes >= BATCH_BYTES:
            self._drain()

    def flush(self) -> None:
        """Put all rows so far on disk; no later event can lose them."""
        self._drain()
        self._parts.flush()

    def close(self) -> None:
        """Put all rows on disk and mark the store complete."""
        self._drain()
        self._parts.close()

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Read columns of all rows so far as a ``pyarrow.Table``."""
        self.flush()
        return self._parts.done(columns)

    def replace(self, columns: Mapping[str, Any]) -> int:
        """Put new values into columns of all rows so far; parts without a change are left as they are.

        Parameters
        ----------
        columns : mapping of str to sequence
            One value for each row, in the order of the rows.

        Returns
        -------
        int
            Number of parts written.
        """
        self.flush()
        return self._parts.replace(columns)

    def _check_new(self, ids: Sequence[str]) -> None:
        twice = next((name for name in ids if name in self._ids), None)
        if twice is None and len(set(ids)) < len(ids):
            twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        if twice is not None:
            msg = f"id '{twice}' came twice; each row of '{self._parts.path}' needs its own."
            raise DataError(msg)

    def _gather(self) -> None:
        """Put single rows behind the batches that came before."""
        if self._rows:
            self._batches.append(_batch(self._rows, self._user_schema))
            self._rows = []

    def _drain(self) -> None:
        self._gather()
        if self._batches:
            batch = one_batch(pa.Table.from_batches(self._batches))
            self._batches, self._bytes = [], 0
            self._parts.write(batch)


class Cutouts:
    """Rows of a store of cutouts; get one from `Cutouts.open`, and a selection of its rows from `keep`."""

    def __init__(self, reader: RowReader, rows: NDArray[np.int64] | None = None) -> None:
        self._reader = reader
        self._parts = reader.parts
        self._rows = rows  # ascending numbers of the rows selected; None: all

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store.

        One that is still being written, or whose writing was broken off, opens with the rows so far and a warning
        in the log.

        Raises
        ------
        StoreError
            If it is no store of cutouts, is damaged, or has a newer format than this release reads.
        """
        parts = Parts(path, FORM)
        if not parts.manifest.complete:
            _logger.warning("'%s' is not complete: it has %d rows so far.", path, len(parts))
        return cls(RowReader(parts))

    @property
    def path(self) -> Path:
        """Folder of the store."""
        return self._parts.path

    @property
    def schema(self) -> pa.Schema:
        """Columns as a ``pyarrow.Schema``; its metadata names the format and the software."""
        return self._parts.schema

    @property
    def columns(self) -> list[str]:
        """Names of all columns, those of the user last."""
        return list(self.schema.names)

    @property
    def fingerprint(self) -> str:
        """Hash of all values of all rows: equal rows in equal order have one fingerprint."""
        content = self._parts.manifest.content
        if self._rows is None:
            return content
        return hashlib.sha256(content.encode() + self._rows.astype("<i8").tobytes()).hexdigest()

    @property
    def ids(self) -> list[str]:
        """Ids of the rows."""
        return list(self.table(["id"])["id"].to_pylist())

    def __len__(self) -> int:
        return len(self._parts) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        return f"<Cutouts: {len(self)} rows of '{self.path}'>"

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of all rows as a ``pyarrow.Table``; by default all but image, mask and variance.

        Raises
        ------
        DataError
            If a column is unknown; the message names the nearest.
        """
        if columns is None:
            columns = [name for name in self.columns if name not in FORM.bulk]
        table = self._parts.table(self._known(columns))
        return table if self._rows is None else table.take(pa.array(self._rows))

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Walk over the rows in order, a ``pyarrow.RecordBatch`` for each row group; by default with all columns."""
        wanted = None if columns is None else self._known(columns)
        for part, group, first, rows in self._parts.groups():
            if self._rows is None:
                yield self._parts.group(part, group, wanted)
                continue
            start, stop = np.searchsorted(self._rows, [first, first + rows])
            if start < stop:
                batch = self._parts.group(part, group, wanted)
                yield batch if stop - start == rows else batch.take(pa.array(self._rows[start:stop] - first))

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[Cutout]:
        """Read rows by number, in the order asked for; repeats are allowed.

        Raises
        ------
        DataError
            If there is no such row.
        """
        asked = self._numbers(rows)
        return self._reader.read(asked if self._rows is None else self._rows[asked])

    def keep(self, rows: Sequence[int] | Sequence[bool] | NDArray[Any]) -> Cutouts:
        """Select rows, without copying any; the selection has the order of the store.

        Parameters
        ----------
        rows : array of bool of length ``len(self)``, or of int
            True for the rows to keep, or their numbers.

        Raises
        ------
        ShapeError
            If a mask has another length.
        DataError
            If there is no such row, or it is named twice.
        """
        given = np.asarray(rows)
        if given.dtype == np.bool_:
            if given.shape != (len(self),):
                msg = f"keep needs one True or False for each of {len(self)} rows; got shape {given.shape}."
                raise ShapeError(msg)
            chosen = np.flatnonzero(given)
        else:
            chosen = np.sort(self._numbers(given))
            if (np.diff(chosen) == 0).any():
                msg = "keep was given a row number twice; give each once, or use read() to repeat rows."
                raise DataError(msg)
        return Cutouts(self._reader, chosen if self._rows is None else self._rows[chosen])

    def _numbers(self, rows: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
        given = np.asarray(rows if len(rows) else np.zeros(0, np.int64))
        if given.ndim != 1 or given.dtype.kind not in "iu":
            msg = f"row numbers must be a list of integers; got an array of {given.dtype} of shape {given.shape}."
            raise DataError(msg)
        out = given[(given < 0) | (given >= len(self))]
        if len(out):
            msg = f"row {out[0]} is out of range: there are {len(self)} rows, numbered from 0."
            raise DataError(msg)
        return given.astype(np.int64)

    def _known(self, columns: Sequence[str]) -> list[str]:
        for name in columns:
            if name not in self.schema.names:
                near = difflib.get_close_matches(name, self.columns, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(self.columns)}."
                msg = f"'{self.path}' has no column '{name}'; {hint}"
                raise DataError(msg)
        return list(columns)
