"""Rows that are files."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from morphospace.sky._intake import guarded
from morphospace.sky.curation.journal import Stamp
from morphospace.sky.curation.names import name_files
from morphospace.sky.images import Image, read_image, read_stream
from morphospace.sky.sources.base import Label

__all__ = ["FileSource", "ReadsFile", "read_packed"]


class ReadsFile(Protocol):
    """A reader of image files: `read_image`, or a `functools.partial` of it."""

    def __call__(self, path: Path, *, hdu: str | int | None) -> Image:
        """Read one image."""


class FileSource:
    """One image a file.

    Parameters
    ----------
    files : sequence of path
        A file named by two paths is one row.
    hdu : str or int, optional
        As for `read_image`.
    reader : callable
        What reads a file; it must be picklable.
    """

    types: Mapping[str, pa.DataType] = {}

    def __init__(
        self, files: Sequence[str | Path], hdu: str | int | None = None, reader: ReadsFile = read_image
    ) -> None:
        by_path: dict[str, str] = {}
        for file in files:
            by_path.setdefault(os.path.abspath(file), os.fspath(file))
        self.files = tuple(by_path.values())  # not Path: it takes four times the memory
        self.hdu = hdu
        self.reader = reader

    def __len__(self) -> int:
        return len(self.files)

    def label(self, i: int) -> Label:
        """Name row `i` by its file, with as much of the path as tells it from the others."""
        file = self.files[i]
        return Label(os.path.abspath(file), file, self._names[i], Stamp.of(file))

    def read(self, i: int) -> Image:
        """Read file `i`."""
        return self.reader(Path(self.files[i]), hdu=self.hdu)

    def columns(self, i: int) -> dict[str, Any]:
        """Give nothing: plain files have no table beside them."""
        return {}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(name_files(self.files).values())

    def __reduce__(self) -> tuple[type[FileSource], tuple[Any, ...]]:
        return type(self), (self.files, self.hdu, self.reader)  # without the names, which only the first process needs


def read_packed(packed: bytes, source: str, *, hdu: str | int | None = None) -> Image:
    """Read an image from the bytes of its file, as `read_image` does."""
    with guarded(source, "cannot be decoded", "leave it out"):
        return read_stream(io.BytesIO(packed), source, hdu=hdu)
