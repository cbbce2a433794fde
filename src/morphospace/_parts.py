"""Folders of Parquet parts: the form in which morphospace keeps tables, from one row to a hundred million.

A folder holds ``part-00000.parquet`` and so on, each at most 64 MiB, ``_common_metadata`` (the schema) and
``_manifest.json``, which names the parts that are complete. What is on disk depends on the rows alone: not on the
batches they came in, nor on how often writing was killed and resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morphospace._manifest import (
    MANIFEST,
    Manifest,
    Part,
    only_writer,
    publish,
    read_manifest,
    replacing,
    software_versions,
    write_manifest,
)
from morphospace._part_reader import SCHEMA, Form, Parts, one_batch, read_schema
from morphospace._rowwise import hash_rows, row_bytes
from morphospace.errors import DataError, ShapeError, StoreError

__all__ = ["Form", "Manifest", "Part", "PartWriter", "Parts", "one_batch", "read_manifest"]

GROUP_BYTES = 4 << 20
GROUP_ROWS = 8192  # below the 20,000 rows at which pyarrow begins another page
PART_BYTES = 64 << 20
FOOTER_BYTES = 1 << 20  # left free in each part for what is not rows

_logger = logging.getLogger(__name__)


class _OpenPart:
    """One part while it is written: beside, under a name that readers of the folder leave out."""

    def __init__(self, target: Path, schema: pa.Schema, light: list[str]) -> None:
        self.target = target
        self.beside = target.with_name(f"_{target.stem}.tmp")
        self.rows = self.bytes = 0
        self._hash = hashlib.sha256()
        self._sink = pa.OSFile(str(self.beside), "wb")
        self._file = pq.ParquetWriter(
            self._sink,
            schema,
            compression="none",
            use_dictionary=light or False,
            write_statistics=light or False,
            data_page_size=1 << 30,  # one page a column and group: a row of pixels is then found by arithmetic
        )

    def add(self, batch: pa.RecordBatch, n_bytes: int) -> None:
        self._file.write_batch(batch, row_group_size=len(batch))
        self._hash.update(hash_rows(batch))
        self.rows += len(batch)
        self.bytes += n_bytes

    def close(self) -> Part:
        self._file.close()
        self._sink.close()
        return Part(self.target.name, self.rows, self._hash.hexdigest() if self.rows else "")

    def abandon(self) -> None:
        self._file.is_open = False  # else pyarrow closes it when it is collected, and fails once more
        with contextlib.suppress(OSError):
            self._sink.close()
        self.beside.unlink(missing_ok=True)


class PartWriter:
    """Write rows into a folder of Parquet parts that a kill, a full disk or Ctrl-C leave readable.

    Use it in a ``with`` block: its end completes the store, an exception keeps the rows so far.

    Parameters
    ----------
    path : path
        Folder of the store; made if absent.
    form : Form
        Kind, version and heavy columns.
    schema : pyarrow.Schema
        Columns. Mark those without missing values ``nullable=False``.
    metadata : mapping, optional
        Goes into the schema of every part (key ``morphospace``, JSON) and into the manifest, with the kind, the
        version of the format and the releases of the software.
    resume : bool
        Go on with the store that is there, whose rows `done` gives. Starts one if there is none.
    overwrite : bool
        Put a new store in place of the one that is there.
    part_bytes, group_bytes : int
        Most bytes in a part and in a row group; a single larger row gets its own.

    Raises
    ------
    StoreError
        If the folder holds a store and neither `resume` nor `overwrite` is given, or holds anything else, or if
        the store to resume has other columns.
    """

    def __init__(
        self,
        path: str | Path,
        form: Form,
        schema: pa.Schema,
        *,
        metadata: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        part_bytes: int = PART_BYTES,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self.path = Path(path)
        self.form = form
        self.part_bytes = part_bytes - min(FOOTER_BYTES, part_bytes // 8)
        self.group_bytes = group_bytes
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._part: _OpenPart | None = None
        self._busy = False  # within a step that must not be taken up again after an exception
        told = {"software": software_versions(), **(metadata or {})}
        self.schema = schema.with_metadata(
            {"morphospace": json.dumps({"kind": form.kind, "format_version": form.version, **told})}
        )
        found = self._found(resume=resume, overwrite=overwrite)
        self._unlock = weakref.finalize(self, only_writer(self.path, form.kind))
        self._manifest = self._begin(told, found, resume=resume)
        self._grows = bool(self._manifest.parts)  # the last part listed is taken up again by the next row
        self._light = _light_leaves(self.path, form.bulk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
            elif not self.failed:
                try:
                    self.flush()
                except StoreError as second:
                    _logger.warning("the last rows are not in '%s': %s", self.path, second)
        finally:
            self._unlock()

    @property
    def failed(self) -> bool:
        """Whether a write was broken off by an exception; then nothing more can be written."""
        return self._busy

    @property
    def rows(self) -> int:
        """Rows taken so far, those of earlier calls included."""
        return sum(p.rows for p in self._kept()) + self._pending_rows + (self._part.rows if self._part else 0)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Free metadata as the manifest has it."""
        return self._manifest.metadata

    def done(self, columns: Sequence[str]) -> pa.Table:
        """Read columns of the rows that are complete on disk, as a ``pyarrow.Table``: what a resumed job may skip."""
        return Parts(self.path, self.form).table(columns)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a record batch, which may have any length.

        Raises
        ------
        DataError
            If its columns do not fit those of the store.
        StoreError
            If the disk does not take them; the rows up to the last complete part stay.
        """
        try:
            batch = batch.select(self.schema.names).cast(self.schema)
            batch.validate()
        except (KeyError, ValueError, pa.ArrowException) as error:
            msg = f"rows do not fit the columns of '{self.path}' ({error}); give {self.schema.names}."
            raise DataError(msg) from error
        with self._step():
            if self._grows:
                self._take_up_last()
            self._queue(batch)

    def flush(self) -> None:
        """Put all rows so far on disk and into the manifest; the last part grows on when more come."""
        with self._step():
            self._write_pending()
            if self._part is not None:
                self._finish_part(self._part)
                self._grows = True

    def close(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Put all rows on disk and mark the store complete; `metadata` is added to that of the manifest."""
        self.flush()
        with self._step():
            if not self._manifest.parts:
                self._finish_part(self._open_part(0))  # an empty table, so that pandas and others can read the folder
                self._grows = True
            told = {**self._manifest.metadata, **(metadata or {})}
            self._save(replace(self._manifest, parts=self._hashed(), complete=True, metadata=told))

    def replace(self, columns: Mapping[str, Any]) -> int:
        """Put new values into columns of all rows so far; only the parts in which one differs are written again.

        Parameters
        ----------
        columns : mapping of str to sequence or pyarrow.Array
            One value for each row, in the order of the rows.

        Returns
        -------
        int
            Number of parts written. Killed on the way, some parts have the new values: call it again.

        Raises
        ------
        ShapeError
            If there are not as many values as rows.
        DataError
            If there is no such column, or a value does not fit it.
        """
        self.flush()
        new = self._new_values(columns)
        old = Parts(self.path, self.form)
        changed = [i for i in range(len(old.manifest.parts)) if not _same(old, i, new)]
        if changed:
            with self._step():
                self._replace_in(old, changed, new)
        return len(changed)

    # -- beginning ---------------------------------------------------------------------------------------------

    def _begin(self, told: Mapping[str, Any], found: Manifest | None, *, resume: bool) -> Manifest:
        columns = {f.name: str(f.type) for f in self.schema}
        fresh = Manifest(self.form.kind, self.form.version, False, columns, metadata=told)
        if found is not None and resume and found.rows:
            kept = read_schema(self.path)
            if not kept.remove_metadata().equals(self.schema.remove_metadata()):
                msg = _other_columns(self.path, kept, self.schema)
                raise StoreError(msg)
            self.schema = self.schema.with_metadata(kept.metadata)  # all parts tell of the writer that began
            self._clean(found)
            return replace(found, metadata={**found.metadata, **told})
        with self._step():
            self.path.mkdir(parents=True, exist_ok=True)
            if found is not None:
                write_manifest(self.path, fresh)
            self._clean(fresh)
            with replacing(self.path / SCHEMA) as beside:
                pq.write_metadata(self.schema, beside)
            write_manifest(self.path, fresh)
        return fresh

    def _found(self, *, resume: bool, overwrite: bool) -> Manifest | None:
        if (self.path / MANIFEST).exists():
            found = read_manifest(self.path, kind=self.form.kind, format_version=self.form.version)
            if not (resume or overwrite):
                msg = (
                    f"'{self.path}' is there already; give resume=True to go on with it, overwrite=True to replace it."
                )
                raise StoreError(msg)
            return found
        if self.path.is_dir() and not any(not e.name.startswith(("_", ".")) for e in self.path.iterdir()):
            return None
        if self.path.exists():
            msg = f"'{self.path}' is there and is no store of {self.form.kind}; choose another place."
            raise StoreError(msg)
        return None

    def _clean(self, manifest: Manifest) -> None:
        """Remove what a killed writer left: parts the manifest does not name, files not renamed."""
        named = {p.name for p in manifest.parts}
        for entry in [*self.path.glob("part-*.parquet"), *self.path.glob("_part-*.tmp")]:
            if entry.name not in named:
                entry.unlink()

    # -- writing -----------------------------------------------------------------------------------------------

    @property
    def _pending_rows(self) -> int:
        return sum(len(b) for b in self._pending)

    def _kept(self) -> tuple[Part, ...]:
        """Parts of the manifest that the open part does not replace."""
        if self._part is None:
            return self._manifest.parts
        return tuple(p for p in self._manifest.parts if p.name != self._part.target.name)

    def _queue(self, batch: pa.RecordBatch) -> None:
        """Cut rows into groups: one ends when the next row would not fit."""
        start, rows = 0, len(batch)
        ends = np.cumsum(row_bytes(batch))
        pending = self._pending_rows
        while start < rows:
            before = int(ends[start - 1]) if start else 0
            fit = int(np.searchsorted(ends, before + self.group_bytes - self._pending_bytes, side="right"))
            stop = min(max(fit, start), start + GROUP_ROWS - pending)
            if stop == start and not pending:
                stop = start + 1
            if stop > start:
                self._pending.append(batch.slice(start, stop - start))
                self._pending_bytes += int(ends[stop - 1]) - before
                pending += stop - start
            if stop < rows:
                self._write_pending()
                pending = 0
            start = stop

    def _write_pending(self) -> None:
        if not self._pending:
            return
        group = one_batch(pa.Table.from_batches(self._pending))
        part = self._part
        if part is not None and part.rows and part.bytes + self._pending_bytes > self.part_bytes:
            self._finish_part(part)
            part = None
        if part is None:
            part = self._open_part(len(self._manifest.parts))
        part.add(group, self._pending_bytes)
        self._pending, self._pending_bytes = [], 0

    def _new_values(self, columns: Mapping[str, Any]) -> pa.Table:
        arrays, fields = [], []
        for name, values in columns.items():
            if name not in self.schema.names:
                msg = f"'{self.path}' has no column '{name}' to replace; it has {self.schema.names}."
                raise DataError(msg)
            fields.append(self.schema.field(name))
            if len(values) != self.rows:
                msg = f"column '{name}' needs a value for each of the {self.rows} rows; got {len(values)}."
                raise ShapeError(msg)
            try:
                is_arrow = isinstance(values, pa.Array | pa.ChunkedArray)
                arrays.append(values.cast(fields[-1].type) if is_arrow else pa.array(values, fields[-1].type))
            except (pa.ArrowException, TypeError, ValueError) as error:
                msg = f"a value does not fit column '{name}' of '{self.path}' ({error})."
                raise DataError(msg) from error
        return pa.table(arrays, schema=pa.schema(fields))

    def _replace_in(self, old: Parts, changed: list[int], new: pa.Table) -> None:
        parts = list(self._manifest.parts)
        for index in changed:
            parts[index] = replace(parts[index], content="")
        self._save(replace(self._manifest, parts=tuple(parts), complete=False))
        for index in changed:
            row = int(old.starts[index])
            part = self._part = _OpenPart(old.file(index), self.schema, self._light)
            for group, rows in enumerate(old.group_rows(index)):
                table = pa.Table.from_batches([old.group(index, group)])
                for field in new.schema:
                    at = table.schema.get_field_index(field.name)
                    table = table.set_column(at, field, new.column(field.name).slice(row, rows))
                part.add(one_batch(table.cast(self.schema)), 0)
                row += rows
            parts[index] = part.close()
            publish(part.beside, part.target)
            self._part = None
        self._save(replace(self._manifest, parts=tuple(parts)))

    def _hashed(self) -> tuple[Part, ...]:
        """Parts of the manifest, with the hash of those for which `replace` was killed."""
        parts, old = list(self._manifest.parts), Parts(self.path, self.form)
        for index, part in enumerate(parts):
            if part.rows and not part.content:
                digest = hashlib.sha256()
                for group in range(old.footer(index).num_row_groups):
                    digest.update(hash_rows(old.group(index, group)))
                parts[index] = replace(part, content=digest.hexdigest())
        return tuple(parts)

    def _open_part(self, index: int) -> _OpenPart:
        if self._manifest.complete:
            self._save(replace(self._manifest, complete=False))
        self._part = _OpenPart(self.path / f"part-{index:05d}.parquet", self.schema, self._light)
        return self._part

    def _take_up_last(self) -> None:
        """Copy the last part into a new file that goes on; its last row group may grow, so it waits again."""
        index = len(self._manifest.parts) - 1
        old = Parts(self.path, self.form)
        self._grows = False
        self._open_part(index)
        for group in range(old.footer(index).num_row_groups):
            self._queue(old.group(index, group).cast(self.schema))

    def _finish_part(self, part: _OpenPart) -> None:
        done = part.close()
        kept = self._kept()
        if kept != self._manifest.parts:
            # for a moment the rows of the part that grew are in no manifest: killed here, they are made again
            self._save(replace(self._manifest, parts=kept))
        publish(part.beside, part.target)
        self._part = None
        self._save(replace(self._manifest, parts=(*kept, done)))

    def _save(self, manifest: Manifest) -> None:
        write_manifest(self.path, manifest)
        self._manifest = manifest

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """Run a step that is not taken up again after an exception: the part it was writing is dropped."""
        if self._busy:
            msg = f"writing '{self.path}' was broken off before; open it again with resume=True to go on."
            raise StoreError(msg)
        self._busy = True
        try:
            yield
        except BaseException as error:
            if self._part is not None:
                self._part.abandon()
            if isinstance(error, OSError) and not isinstance(error, StoreError):
                msg = f"cannot write '{self.path}' ({error}); make room and go on with resume=True."
                raise StoreError(msg) from error
            raise
        self._busy = False


def _same(old: Parts, part: int, new: pa.Table) -> bool:
    """Whether a part has these values already (NaN equals NaN here, as bytes do)."""
    there = old.part_table(part, new.column_names)
    given = new.slice(int(old.starts[part]), len(there))
    return hash_rows(one_batch(there)) == hash_rows(one_batch(given))


def _light_leaves(path: Path, bulk: Sequence[str]) -> list[str]:
    """Paths of the Parquet columns that are not heavy, as Parquet counts them: a list is one leaf below its name."""
    leaves = pq.read_metadata(path / SCHEMA).schema
    names = [leaves.column(i).path for i in range(len(leaves))]
    return [n for n in names if not any(n == b or n.startswith(b + ".") for b in bulk)]


def _other_columns(path: Path, kept: pa.Schema, given: pa.Schema) -> str:
    differ = [f.name for f in given if f.name not in kept.names or not kept.field(f.name).equals(f)]
    differ += [name for name in kept.names if name not in given.names]
    what = f"'{differ[0]}'" if differ else "their order"
    return f"'{path}' was begun with other columns (see {what}); give the same ones, or overwrite=True to start anew."
