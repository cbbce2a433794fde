"""A draft of a table: its rows in a folder of parts beside the file, until the last is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from morphospace._manifest import MANIFEST, read_manifest
from morphospace._parts import Form, Parts, PartWriter, one_batch
from morphospace.errors import StoreError
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.space.going_on import keys_of, rows_done

__all__ = ["Draft"]

_VERSION = 1
_PLACE = "place_in_window"  # rows of its window before it: a job goes on where a window began


class Draft:
    """Rows of a table on their way, each window of them safe once it is on disk.

    Use it in a ``with`` block: an exception keeps the rows so far, if there are any.

    Parameters
    ----------
    out : Path
        The file in the end; the draft is the folder ``_NAME.draft`` beside it.
    schema : pyarrow.Schema
        Columns of the table.
    data : Cutouts or Samples
        What its rows are of.
    settings : mapping
        How they are made; a draft goes on with the same ones only. Must survive JSON.
    resume : bool
        Go on with a draft that is there; begin one if there is none.
    overwrite : bool
        Drop a draft that is there.

    Attributes
    ----------
    path : Path
        The folder.
    first : int
        Row to go on with: the beginning of the window that was written last.
    rows : int
        Rows that are there.

    Raises
    ------
    StoreError
        If there is a draft and neither `resume` nor `overwrite` is given, or it was begun with other settings or on other
        rows.
    """

    def __init__(
        self,
        out: Path,
        schema: pa.Schema,
        data: Cutouts | Samples,
        *,
        settings: Mapping[str, Any],
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.out, self.path = out, out.with_name(f"_{out.name}.draft")
        self._form = Form("rows of a draft", _VERSION, ("mask",))
        self._names = schema.names
        self._hashes = data.table(["sha256"])["sha256"].combine_chunks() if isinstance(data, Cutouts) else None
        begun = self._begun()
        if begun is not None and not (resume or overwrite):
            msg = (
                f"'{out}' was begun and not finished; give resume=True (--resume) to go on with it, overwrite=True "
                "(--overwrite) to begin anew."
            )
            raise StoreError(msg)
        told = json.loads(json.dumps(settings))
        if begun is not None and resume and begun != told:
            differ = sorted(key for key in {*begun, *told} if begun.get(key) != told.get(key))
            msg = f"'{out}' was begun with other settings ({', '.join(differ)}); give the same, or overwrite it."
            raise StoreError(msg)
        extra = [pa.field("sha256", pa.string()), pa.field(_PLACE, pa.int32(), nullable=False)]
        full = pa.schema([*schema, *extra]).remove_metadata()
        again = begun is not None and resume
        self._writer = PartWriter(
            self.path, self._form, full, metadata={"settings": told}, resume=again, overwrite=not again
        )
        self.first = self.rows = 0
        if again:
            try:
                self._go_on(data)
            except BaseException as error:
                self._writer.__exit__(type(error), error, None)
                raise

    def _begun(self) -> dict[str, Any] | None:
        """Read the settings of the draft that is there, if it has a row."""
        if not (self.path / MANIFEST).exists():
            return None
        found = read_manifest(self.path, kind=self._form.kind, format_version=_VERSION)
        return dict(found.metadata["settings"]) if found.rows else None

    def _go_on(self, data: Cutouts | Samples) -> None:
        done = self._writer.done([*keys_of(data), _PLACE])
        self.rows = rows_done(done.drop_columns([_PLACE]), data, self.out)
        self.first = self.rows - 1 - int(done[_PLACE][-1].as_py())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        empty = self._writer.rows == 0
        self._writer.__exit__(kind, error, trace)
        if error is not None and empty:
            self.drop()

    def add(self, window: pa.Table) -> None:
        """Add the rows of one window; those that are there already are left out.

        Raises
        ------
        StoreError
            If the disk does not take them; the rows before stay.
        """
        n = window.num_rows
        start, self.first = self.first, self.first + n
        known = min(max(self.rows - start, 0), n)
        self.rows = max(self.rows, self.first)
        hashes = pa.nulls(n, pa.string()) if self._hashes is None else self._hashes.slice(start, n)
        window = window.append_column("sha256", hashes).append_column(_PLACE, pa.array(np.arange(n), pa.int32()))
        if known < n:
            self._writer.write(one_batch(window.slice(known)))

    def flush(self) -> None:
        """Put all rows so far on disk; no later event can lose them."""
        self._writer.flush()

    def table(self) -> pa.Table:
        """Read all rows."""
        self.flush()
        return Parts(self.path, self._form).table(self._names)

    def drop(self) -> None:
        """Remove the folder, when the file is there."""
        shutil.rmtree(self.path, ignore_errors=True)
