"""What is done to each row of a source, in whatever process: read, measure, draw and write down."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa

from morphospace.errors import DataError
from morphospace.sky.curation.journal import Entry, Row, line_of
from morphospace.sky.curation.keep import Keep
from morphospace.sky.curation.keywords import column_values
from morphospace.sky.curation.names import printable
from morphospace.sky.curation.objects import Blanker, Finder, Found, objects_in
from morphospace.sky.curation.reader import Reader
from morphospace.sky.cutouts import BATCH_BYTES, BATCH_ROWS, encode_batch
from morphospace.sky.images import Image
from morphospace.sky.sources.base import Label, Source
from morphospace.sky.store_schema import Cutout, encode_row
from morphospace.sky.thumbs import make_thumb

if TYPE_CHECKING:
    from morphospace.sky.detect import Detection

__all__ = ["Piece", "Task", "Work"]

Task: TypeAlias = Iterable[tuple[int, Label]]
_PATIENCE_S = 0.5  # what is done is handed over at least so often: a kill costs no more


class Piece(NamedTuple):
    """Some rows, finished: nothing is left but to write them."""

    n: int
    """Rows of the source."""
    lines: str
    """What the journal says of them."""
    batch: pa.RecordBatch | None
    """Rows of the store; of a field with many sources, they may come before its entry."""
    thumbs: list[tuple[str, str, bytes]]
    faults: list[str]
    """Tracebacks of faults of our own."""
    seconds: float
    image_bytes: int
    """Of the largest image that was read."""


@dataclass(frozen=True)
class Work:
    """The arguments of `curate` that concern one image.

    Parameters
    ----------
    source : Source
        The rows.
    keep : Keep
        What is left out.
    size, detect, find, blank
        As for `objects_in`.
    keywords : mapping
        Types of the columns that come from headers.
    """

    source: Source
    keep: Keep
    size: int | None
    detect: Detection | None
    find: Finder | None
    blank: Blanker | None
    keywords: Mapping[str, pa.DataType]

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Types of all columns of the user."""
        return {**self.source.types, **self.keywords}

    def __call__(self, task: Task) -> Iterator[Piece]:
        """Do some rows; pieces come in their order, each of at most a few MiB."""
        tray = _Tray(self.columns)
        with Reader(self.source) as reader:
            for row, label in task:
                for _ in self._do(row, label, reader, tray):
                    yield tray.hand_over()
        yield tray.hand_over()

    def _do(self, row: int, label: Label, reader: Reader, tray: _Tray) -> Iterator[None]:
        """Put one row on the tray; yields whenever that is full."""
        rows: list[Row] = []
        remarks: tuple[str, ...] = ()
        error = None
        try:
            image, error, remarks = reader.take(row, label)
            if image is not None:
                tray.image_bytes = max(tray.image_bytes, image.data.nbytes)
                found, misfits = self._objects(row, label, image)
                remarks += misfits
                for item in found:
                    line = self._line(item)
                    tray.add(item.cutout, keep=line.reason is None)
                    rows.append(line)
                    if tray.is_full:
                        yield
        except DataError as refused:
            error = str(refused)
        except Exception as fault:
            tray.faults.append(f"'{label.source}' could not be measured\n{traceback.format_exc()}")
            what = f"was read but could not be measured ({type(fault).__name__}: {fault})"
            error = f"'{label.source}' {what}; please report this."
        entry = Entry(
            path=label.key,
            source=printable(label.source),
            id=label.name,
            stamp=label.stamp,
            error=None if error is None else printable(error),
            rows=tuple(rows),
            remarks=tuple(map(printable, remarks)),
        )
        tray.lines.append(line_of(entry))
        if tray.is_full or tray.is_late:
            yield

    def _objects(self, row: int, label: Label, image: Image) -> tuple[Iterator[Found], tuple[str, ...]]:
        values, misfits = column_values(self.keywords, image.header)
        if self.source.types:
            values = {**self.source.columns(row), **values}
        found = objects_in(
            image, label.name, size=self.size, detect=self.detect, find=self.find, blank=self.blank, columns=values
        )
        return found, misfits

    def _line(self, found: Found) -> Row:
        cutout, quality = found
        return Row(
            id=cutout.id,
            flags=int(quality.flags),
            snr=quality.snr,
            shape=cutout.image.shape,
            sha256=cutout.sha256,
            ra=cutout.ra,
            dec=cutout.dec,
            object=cutout.object,
            reason=self.keep.reason_against(quality.flags, quality.n_valid),
        )


class _Tray:
    """Where finished rows wait to be handed over together."""

    def __init__(self, columns: Mapping[str, pa.DataType], clock: Callable[[], float] = time.perf_counter) -> None:
        self._columns = columns
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self.lines: list[str] = []
        self.faults: list[str] = []
        self.image_bytes = 0
        self._rows: list[dict[str, Any]] = []
        self._thumbs: list[tuple[str, str, bytes]] = []
        self._bytes = 0
        self._since = self._clock()

    def add(self, cutout: Cutout, *, keep: bool) -> None:
        thumb = make_thumb(cutout)
        if keep:
            self._rows.append(encode_row(cutout, self._columns))
            self._bytes += cutout.image.nbytes
        self._thumbs.append((cutout.id, cutout.sha256, thumb))

    @property
    def is_full(self) -> bool:
        return self._bytes >= BATCH_BYTES or len(self._thumbs) >= BATCH_ROWS or len(self.lines) >= BATCH_ROWS

    @property
    def is_late(self) -> bool:
        return self._clock() - self._since > _PATIENCE_S

    def hand_over(self) -> Piece:
        piece = Piece(
            len(self.lines),
            "".join(self.lines),
            encode_batch(self._rows, self._columns) if self._rows else None,
            self._thumbs,
            self.faults,
            self._clock() - self._since,
            self.image_bytes,
        )
        self._begin()
        return piece
