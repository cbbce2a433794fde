"""Reading the files of a curation: each once, with what the readers remark about it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

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

    Use it in a ``with`` block: within it, what the readers would log about a file becomes a remark on that file.

    Parameters
    ----------
    hdu : str, int or None
        As for `read_image`.
    """

    def __init__(self, hdu: str | int | None) -> None:
        self._hdu = hdu
        self._ahead: dict[Path, Reading] = {}
        self._room = _AHEAD_BYTES
        self._remarks = _Remarks()

    def __enter__(self) -> Self:
        self._remarks.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self._remarks.end()

    def peek(self, files: Sequence[Path], n: int) -> list[Image]:
        """Read the first `n` images that files give; up to 64 MiB of them are not read again later."""
        found: list[Image] = []
        for file in files:
            if len(found) == n:
                break
            reading = self._ahead.get(file) or self._read(file)
            size = 0 if reading.image is None else reading.image.data.nbytes
            if size <= self._room:
                self._room -= size
                self._ahead[file] = reading
            if reading.image is not None:
                found.append(reading.image)
        return found

    def take(self, file: Path) -> Reading:
        """Read one file; never raises for what a file holds."""
        return self._ahead.pop(file, None) or self._read(file)

    def _read(self, file: Path) -> Reading:
        self._remarks.texts = []
        try:
            image, error = read_image(file, hdu=self._hdu), None
        except DataError as refused:
            image, error = None, str(refused)
        prefix = f"'{file}': "
        remarks = dict.fromkeys(text.removeprefix(prefix) for text in self._remarks.texts)
        return Reading(image, error, tuple(remarks))


class _Remarks(logging.Filter):
    """Keeps what the readers log out of the log: a thousand files with one fault need one line, not a thousand."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._thread = threading.get_ident()
        self._levels: dict[logging.Logger, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread or record.levelno < logging.WARNING:
            return True
        self.texts.append(record.getMessage())
        return False

    def begin(self) -> None:
        for module in _READERS:
            logger = logging.getLogger(module.__name__)
            self._levels[logger] = logger.level
            logger.setLevel(logging.WARNING)  # a quiet log must not cost the report its remarks
            logger.addFilter(self)

    def end(self) -> None:
        for logger, level in self._levels.items():
            logger.removeFilter(self)
            logger.setLevel(level)
