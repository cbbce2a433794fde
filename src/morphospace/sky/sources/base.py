"""What a curation reads from: rows, each with a name, an image and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from morphospace.sky.curation.journal import Stamp
from morphospace.sky.images import Image

__all__ = ["Label", "Source"]


class Label(NamedTuple):
    """Who a row is."""

    key: str
    """Unique and stable: the absolute path of a file, or ``"ABSPATH#row"``."""
    source: str
    """As given, for people: ``"photo.h5#12"``."""
    name: str
    """The id wished for: stem of the file, value of the id column, or number of the row."""
    stamp: Stamp
    """Of the file behind the row."""


class Source(Protocol):
    """Rows to curate.

    A source can be pickled; files are opened when a row is read, in each process anew. A row needs no Python object
    before it is asked for.
    """

    types: Mapping[str, pa.DataType]
    """Columns that come with the rows; empty for plain files."""

    def __len__(self) -> int:
        """Count the rows."""

    def label(self, i: int) -> Label:
        """Name row `i`; cheap, without pixels."""

    def read(self, i: int) -> Image:
        """Read the image of row `i`; `DataError`, in one sentence, for anything unusable."""

    def columns(self, i: int) -> dict[str, Any]:
        """Look up the values of row `i` for `types`."""
