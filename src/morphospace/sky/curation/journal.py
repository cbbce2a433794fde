"""The journal of a curation: what became of every file, one line each, so that a killed run can go on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from morphospace._manifest import replacing

__all__ = ["JOURNAL", "Entry", "Journal", "Row", "Stamp", "line_of", "read_journal"]

JOURNAL = "_journal.jsonl"


class Row(NamedTuple):
    """One object, kept or left out for a reason of its own; what depends on other rows comes later."""

    id: str
    flags: int
    snr: float
    shape: tuple[int, int, int]
    sha256: str
    ra: float
    dec: float
    object: str | None
    reason: str | None


class Stamp(NamedTuple):
    """Size in bytes and time of change of a file; both -1 where there is none."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Look at a file."""
        try:
            stat = os.stat(path)
        except OSError:
            return cls(-1, -1)
        return cls(stat.st_size, stat.st_mtime_ns)


class Entry(NamedTuple):
    """One file: its rows, or why it gave none.

    ``path`` is absolute and is the key; ``source`` is the path as it was given. ``remarks`` is what is odd about a file
    and does not keep it from being read.
    """

    path: str
    source: str
    id: str
    stamp: Stamp
    error: str | None
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()


class Journal:
    """Append entries to the journal of a store. They are on disk only: a row would take a kilobyte of memory.

    Every line reaches the system before the pixels of its rows reach a file, so that no row is without its line
    however the process ends. Only the first of very many sources of one field come before its line; resumed, rows
    without a line are taken out and made again.

    Parameters
    ----------
    path : Path
        The file.
    settings : mapping
        Arguments of the call, plain JSON.
    entries : iterable of Entry
        What a run before left; the file is written anew with these.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], entries: Iterable[Entry] = ()) -> None:
        with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"settings": settings}) + "\n")
            file.writelines(line_of(entry) for entry in entries)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, lines: str) -> None:
        """Write entries as `line_of` gives them; a later one for the same path takes the place of an earlier."""
        self._file.write(lines)
        self._file.flush()


def read_journal(path: Path) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Read settings and entries by path; lines that a kill cut short are passed over.

    Both are empty where there is no journal.
    """
    if not path.exists():
        return {}, {}
    settings: dict[str, Any] = {}
    entries: dict[str, Entry] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if "settings" in told:
                settings = told["settings"]
                continue
            entry = _entry(told)
            entries.pop(entry.path, None)
            entries[entry.path] = entry
    return settings, entries


def line_of(entry: Entry) -> str:
    """Write an entry as one line of the journal, in ASCII."""
    rows = [{name: _plain(value) for name, value in zip(row._fields, row, strict=True)} for row in entry.rows]
    told = {**entry._asdict(), "stamp": entry.stamp._asdict(), "rows": rows}
    return json.dumps(told, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Leave out NaN and infinity, which JSON has not."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _entry(told: Mapping[str, Any]) -> Entry:
    rows = []
    for row in told["rows"]:
        floats = {name: math.nan if row[name] is None else row[name] for name in ("snr", "ra", "dec")}
        rows.append(Row(**{**row, **floats, "shape": tuple(row["shape"])}))
    return Entry(**{**told, "stamp": Stamp(**told["stamp"]), "rows": tuple(rows), "remarks": tuple(told["remarks"])})
