"""Reading the files of a curation: each once, with what the readers remark about it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from morphospace.errors import DataError
from morphospace.sky import _intake, fits, headers, images, pictures, wcs
from morphospace.sky.images import Image, read_image

__all__ = ["Reader", "Reading"]

_AHEAD_BYTES = 64 << 20
_READERS = (_intake, fits, headers, images, pictures, wcs)


class Reading(NamedTuple):
    """An image, or the one sentence why there is none, and remarks on its file."""

    image: Image | None
    error: str | None
    remarks: tuple[str, ...]


class Reader:
    """Reads images and keeps the first ones, for whoever wants to look at their headers before.

    Parameters
    ----------
    hdu : str, int or None
        As for `read_image`.
    """

    def __init__(self, hdu: str | int | None) -> None:
        self._hdu = hdu
        self._ahead: dict[Path, Reading] = {}
        self._room = _AHEAD_BYTES

    def peek(self, files: Sequence[Path], n: int) -> list[Image]:
        """Read the first `n` images that files give; up to 64 MiB of them are not read again later."""
        found: list[Image] = []
        for file in files:
            if len(found) == n:
                break
            reading = self._ahead.get(file) or _read(file, self._hdu)
            size = 0 if reading.image is None else reading.image.data.nbytes
            if size <= self._room:
                self._room -= size
                self._ahead[file] = reading
            if reading.image is not None:
                found.append(reading.image)
        return found

    def take(self, file: Path) -> Reading:
        """Read one file; never raises for what a file holds."""
        return self._ahead.pop(file, None) or _read(file, self._hdu)


def _read(file: Path, hdu: str | int | None) -> Reading:
    with _Remarks() as remarks:
        try:
            image, error = read_image(file, hdu=hdu), None
        except DataError as refused:
            image, error = None, str(refused)
    prefix = f"'{file}': "
    return Reading(image, error, tuple(dict.fromkeys(text.removeprefix(prefix) for text in remarks.texts)))


class _Remarks(logging.Filter):
    """Holds what the readers log while it is entered: a thousand files with one fault need one line, not a thousand."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread or record.levelno < logging.WARNING:
            return True
        self.texts.append(record.getMessage())
        return False

    def __enter__(self) -> _Remarks:
        for module in _READERS:
            logging.getLogger(module.__name__).addFilter(self)
        return self

    def __exit__(self, *exception: object) -> None:
        for module in _READERS:
            logging.getLogger(module.__name__).removeFilter(self)
