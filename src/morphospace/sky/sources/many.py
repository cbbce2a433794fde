"""What files that hold many images each have in common: their rows one after the other, with columns beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from morphospace.sky._intake import guarded
from morphospace.sky.curation.journal import Stamp
from morphospace.sky.images import Image
from morphospace.sky.sources.base import Label
from morphospace.sky.sources.positions import read_positions
from morphospace.sky.sources.rows import DECS, IDS, RAS, Columns, Names, find_column

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["FileOfMany", "ManyRows"]


class FileOfMany(NamedTuple):
    """A file, as its rows name it."""

    path: str
    absolute: str
    stamp: Stamp

    @classmethod
    def of(cls, path: str) -> FileOfMany:
        """Look at a file."""
        return cls(path, os.path.abspath(path), Stamp.of(Path(path)))


class ManyRows:
    """Rows of several files, put one after the other; images are read by the classes made of this.

    Parameters
    ----------
    files : sequence of FileOfMany
        At least one.
    counts : iterable of int
        Rows of each.
    tables : sequence of pyarrow.Table
        What stands beside the images of each.
    intake : Intake
        Columns named by the user.
    kind : str
        Of the files, for messages.

    Raises
    ------
    DataError
        If the files differ in the types of their columns, or one that the user named is not there.
    """

    def __init__(
        self, files: Sequence[FileOfMany], counts: Iterable[int], tables: Sequence[pa.Table], intake: Intake, kind: str
    ) -> None:
        self._files = tuple(files)
        self._starts = np.cumsum([0, *counts])
        self._source = files[0].path if len(files) == 1 else os.path.commonpath([file.absolute for file in files])
        with guarded(self._source, f"holds {kind} files whose columns differ in type", "pass them one by one"):
            self._table = pa.concat_tables(tables, promote_options="permissive")
        ident = self._find(intake.id_column, IDS, "id_column")
        ra, dec = self._find(intake.ra_column, RAS, "ra_column"), self._find(intake.dec_column, DECS, "dec_column")
        self._place = read_positions(self._table, {}, ra, dec, self._source) if ra and dec else None
        used = {name for name in (ident, *((ra, dec) if self._place else ())) if name}
        self._columns = Columns(self._table, without=used)
        self.types: Mapping[str, pa.DataType] = self._columns.types
        self._names = Names(len(self), Path(self._source).stem, self._table.column(ident) if ident else None)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def label(self, i: int) -> Label:
        """Name row `i` by its file and its row there."""
        number, row = self._place_of(i)
        file = self._files[number]
        return Label(f"{file.absolute}#{row}", f"{file.path}#{row}", self._names.name(i), file.stamp)

    def columns(self, i: int) -> dict[str, Any]:
        """Look up what else the file says of row `i`."""
        return self._columns.row(i)

    def _find(self, asked: str, usual: Sequence[str], setting: str) -> str | None:
        return find_column(self._table.column_names, asked, usual, source=self._source, setting=setting)

    def _place_of(self, i: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        return number, i - int(self._starts[number])

    def _with_position(self, image: Image, i: int) -> Image:
        """Give an image without a position that of its row."""
        if self._place is None or not np.isnan(image.ra):
            return image
        return replace(image, ra=float(self._place[0][i]), dec=float(self._place[1][i]))
