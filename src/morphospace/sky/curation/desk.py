"""Where finished rows are written: to the journal, to the store if they are kept, and their pictures in any case."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from morphospace.sky.curation.journal import Entry, Journal
from morphospace.sky.curation.keep import Keep
from morphospace.sky.curation.work import Piece
from morphospace.sky.cutouts import CutoutsWriter
from morphospace.sky.flags import Flag
from morphospace.sky.thumbs import ThumbsWriter

__all__ = ["Desk"]

_logger = logging.getLogger("morphospace.sky.curate")


class Desk:
    """Write pieces as they come.

    Parameters
    ----------
    writer, thumbs, journal
        What they go into.
    keep : Keep
        Whether rows that repeat others are left out.
    past : iterable of Entry
        What earlier runs have written.
    """

    def __init__(
        self, writer: CutoutsWriter, thumbs: ThumbsWriter, journal: Journal, keep: Keep, past: Iterable[Entry] = ()
    ) -> None:
        self._writer, self._thumbs, self._journal = writer, thumbs, journal
        self._drops_repeats = Flag.DUPLICATE in keep.dropped
        self._first: dict[str, str] = {}
        for entry in past:
            for row in entry.rows:
                if row.reason is None:
                    self._is_repeat(row.id, row.sha256)

    def take(self, piece: Piece) -> None:
        """Write a piece."""
        for fault in piece.faults:
            _logger.error("%s", fault)
        self._journal.add(piece.lines)
        self._thumbs.extend(piece.thumbs)
        if piece.batch is not None:
            self._write(piece.batch)

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._drops_repeats:
            keys = zip(batch.column("id").to_pylist(), batch.column("sha256").to_pylist(), strict=True)
            # a repeat whose id sorts first is written all the same: the other one goes once all rows are known
            repeats = np.array([self._is_repeat(*key) for key in keys])
            if repeats.any():
                batch = batch.filter(pa.array(~repeats))
        if len(batch):
            self._writer.write(batch)

    def _is_repeat(self, name: str, sha256: str) -> bool:
        first = self._first.get(sha256, name)
        self._first[sha256] = min(first, name)
        return first < name
