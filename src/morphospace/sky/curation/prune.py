"""Taking rows out of a store of cutouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from morphospace._manifest import write_manifest
from morphospace._parts import Parts, PartWriter
from morphospace.sky.store_schema import FORM

__all__ = ["drop_rows"]


def drop_rows(path: Path, keep: NDArray[np.bool_]) -> None:
    """Take rows out of a store; afterwards it is as if they had never been written.

    The parts before the first such row stay as they are, the others are written again, since what is on disk depends
    on the rows alone. Killed on the way, the store holds fewer rows and its manifest says so: `curate` reads the
    files of the missing ones again.

    Parameters
    ----------
    path : Path
        Folder of the store; nobody may be writing to it.
    keep : ndarray, (rows,), bool
        False for the rows to take out.
    """
    if keep.all():
        return
    parts = Parts(path, FORM)
    names = [part.name for part in parts.manifest.parts]
    first = int(np.searchsorted(parts.starts, np.flatnonzero(~keep)[0], side="right")) - 1
    start = int(parts.starts[first])
    write_manifest(path, replace(parts.manifest, parts=parts.manifest.parts[:first], complete=False))
    old = [(path / name).rename(path / f"_old-{name}") for name in names[first:]]
    with PartWriter(path, FORM, parts.schema.remove_metadata(), resume=True) as writer:
        for file in old:
            with pq.ParquetFile(file) as table:
                for group in range(table.num_row_groups):
                    rows = table.read_row_group(group, use_threads=False)
                    chosen = pa.array(keep[start : start + len(rows)])
                    start += len(rows)
                    for batch in rows.filter(chosen).combine_chunks().to_batches():
                        writer.write(batch)
    clear_leftovers(path)


def clear_leftovers(path: Path) -> None:
    """Remove what a kill during `drop_rows` left behind."""
    for file in path.glob("_old-*"):
        file.unlink()
