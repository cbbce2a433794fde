"""Rows that are images of several bands, with a file or an HDU for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from morphospace.sky.bands import group_bands, read_bands
from morphospace.sky.curation.journal import Stamp
from morphospace.sky.curation.names import name_files
from morphospace.sky.images import Image
from morphospace.sky.sources.base import Label
from morphospace.sky.sources.reading import FileReader

__all__ = ["BandSource"]


class BandSource:
    """One image a set of files.

    Parameters
    ----------
    files : sequence of path
        As `find_files` gives them.
    bands : sequence of str
        As for `group_bands`.
    hdu : str or int, optional
        As for `read_image`, where the bands are not HDUs themselves.
    reader : FileReader
        What reads each band.

    Raises
    ------
    ConfigError, DataError
        As `group_bands`.
    """

    types: Mapping[str, pa.DataType] = {}

    def __init__(self, files: Sequence[Path], bands: Sequence[str], hdu: str | int | None, reader: FileReader) -> None:
        self._files, self._bands, self._hdu, self._reader = tuple(files), tuple(bands), hdu, reader
        self._sets = group_bands(files, bands)

    def __len__(self) -> int:
        return len(self._sets)

    def label(self, i: int) -> Label:
        """Name set `i` by what its files have in common; its stamp changes with any of them."""
        place = self._places[i]
        files = dict.fromkeys(file for file in self._sets[i].files if file is not None)
        stamps = [Stamp.of(file) for file in files]
        stamp = Stamp(sum(s.size for s in stamps), max(s.mtime_ns for s in stamps))
        return Label(os.path.abspath(place), ", ".join(map(str, files)), self._names[os.path.abspath(place)], stamp)

    def read(self, i: int) -> Image:
        """Read the bands of set `i` and stack them."""
        return read_bands(self._sets[i], self._bands, hdu=self._hdu, reader=self._reader)

    def columns(self, i: int) -> dict[str, Any]:
        """Give nothing: files have no table beside them."""
        return {}

    @cached_property
    def _places(self) -> list[Path]:
        # a set has no path of its own: that of its first file, with the name that its files share
        return [next(file for file in found.files if file).with_name(found.name) for found in self._sets]

    @cached_property
    def _names(self) -> dict[str, str]:
        return name_files(self._places)

    def __reduce__(self) -> tuple[type[BandSource], tuple[Any, ...]]:
        return type(self), (self._files, self._bands, self._hdu, self._reader)
