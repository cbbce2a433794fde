"""Reading the rows of a source: an image or a sentence, with what the readers remark about it."""

from __future__ import annotations

import logging
import threading
from typing import NamedTuple, Self

from morphospace.errors import DataError
from morphospace.sky.images import Image
from morphospace.sky.sources.base import Label, Source

__all__ = ["Reader", "Reading"]

_READERS = "morphospace.sky."
_OURS = ("morphospace.sky.curate", "morphospace.sky.curation.")  # what the curation itself logs is no remark


class Reading(NamedTuple):
    """An image, or the one sentence why there is none, and remarks on its file."""

    image: Image | None
    error: str | None
    remarks: tuple[str, ...]


class Reader:
    """Reads rows of a source.

    Use it in a ``with`` block: within it, what the readers would log about a file becomes a remark on that file.

    Parameters
    ----------
    source : Source
        The rows.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._remarks = _Remarks()

    def __enter__(self) -> Self:
        self._remarks.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self._remarks.end()

    def take(self, row: int, label: Label) -> Reading:
        """Read one row; whatever its file holds gives a sentence at worst."""
        self._remarks.texts = []
        try:
            image, error = self._source.read(row), None
        except DataError as refused:
            image, error = None, str(refused)
        prefix = f"'{label.source}': "
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
        self._thread = threading.get_ident()
        for name in list(logging.root.manager.loggerDict):
            if name.startswith(_READERS) and not name.startswith(_OURS):
                logger = logging.getLogger(name)
                self._levels[logger] = logger.level
                logger.setLevel(logging.WARNING)  # a quiet log must not cost the report its remarks
                logger.addFilter(self)

    def end(self) -> None:
        for logger, level in self._levels.items():
            logger.removeFilter(self)
            logger.setLevel(level)
