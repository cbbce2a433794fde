"""Going on after a kill: rows are put on disk as they come, and counted when the job is taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from morphospace.errors import StoreError
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples

__all__ = ["SAVE_SECONDS", "keys_of", "rows_done", "write_all"]

SAVE_SECONDS = 300.0  # a part of 64 MiB can take longer; what is not on disk is computed again after a kill

_Rows = TypeVar("_Rows")


def write_all(rows: Iterable[_Rows], write: Callable[[_Rows], None], flush: Callable[[], None]) -> None:
    """Write what comes, and put it on disk every few minutes."""
    saved = time.monotonic()
    for some in rows:
        write(some)
        if time.monotonic() - saved > SAVE_SECONDS:
            flush()
            saved = time.monotonic()


def keys_of(data: Cutouts | Samples) -> list[str]:
    """Name the columns by which a row written is known again."""
    return ["id", "sha256"] if isinstance(data, Cutouts) else ["id"]


def rows_done(done: pa.Table, data: Cutouts | Samples, out: Path) -> int:
    """Count the rows that are there, which must be the first of the data, unchanged.

    Parameters
    ----------
    done : pyarrow.Table
        Columns `keys_of` of the rows on disk.
    data : Cutouts or Samples
        Of samples the number is compared: their ids are known only by reading them all.
    out : Path
        Named in the message.

    Raises
    ------
    StoreError
        If they are others.
    """
    same = done.num_rows <= len(data)
    if same and isinstance(data, Cutouts):
        head = data.table(keys_of(data)).slice(0, done.num_rows)
        same = done.equals(head.cast(done.schema))
    if not same:
        msg = f"'{out}' holds other rows than the beginning of these cutouts; choose another out=, or overwrite it."
        raise StoreError(msg)
    return int(done.num_rows)
