"""A small store that tests write, in their own process and in ones that are killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from morphospace._parts import Form, PartWriter

FORM = Form(kind="things", version=1, bulk=("heavy",))
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("heavy", pa.binary(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("tags", pa.list_(pa.string())),
    ]
)
SMALL = {"part_bytes": 16_000, "group_bytes": 2_000}


def row_size(i: int) -> int:
    return 37 * i % 900


def rows(start: int, stop: int, size: Callable[[int], int] = row_size) -> pa.RecordBatch:
    """Row i is the same whenever it is made."""
    numbers = range(start, stop)
    columns = [
        [f"ö{i}" for i in numbers],
        [bytes([i % 251]) * size(i) for i in numbers],
        [None if i % 5 == 0 else i / 7 for i in numbers],
        [None if i % 3 == 0 else [f"t{k}" for k in range(i % 4)] for i in numbers],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def write_all(path: Path, n: int = 200, size: Callable[[int], int] = row_size, **options: Any) -> Path:
    with PartWriter(path, FORM, SCHEMA, **{**SMALL, **options}) as writer:
        writer.write(rows(0, n, size))
    return path
