"""Positions on the sky with their ids, read from a table: what `fetch` goes through."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from morphospace.sky._intake import refusal
from morphospace.sky.sources.positions import read_positions
from morphospace.sky.sources.rows import DECS, IDS, RAS, find_column
from morphospace.sky.sources.tables import read_table

__all__ = ["Position", "positions_of"]

_HOURS_FROM = 20  # positions, from which on their range says something
_logger = logging.getLogger(__name__)


class Position(NamedTuple):
    """One row of a table: its id, its place in degrees (NaN where it has none), and what is wrong with it ("" if nothing)."""

    id: str
    ra: float
    dec: float
    wrong: str


def positions_of(path: str | Path, columns: tuple[str, str, str] | None = None) -> list[Position]:
    """Read ids and positions from a table.

    Parameters
    ----------
    path : path
        CSV, TSV, ECSV, FITS, VOTable or Parquet; what it is, its first bytes say. Degrees, units that the table
        declares, or text such as ``12:30:05.1``.
    columns : tuple of str, optional
        Names of the columns with id, right ascension and declination; by default found by their usual names. Without
        a column of ids each row is named by its position, ``"J150.11905+02.20563"``.

    Returns
    -------
    list of Position
        A row each, in order. Those that cannot be used say why: no position, or an id that came before.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, holds no row, or no row of it is a position: one sentence.
    """
    source = str(path)
    table, units = read_table(path, texts=(*IDS, *(columns or ())[:1]))
    ident, ra, dec = _columns(source, table.column_names, columns)
    if not len(table):
        raise refusal(source, "holds no row", "give a table with positions")
    right, declination = read_positions(table, units, ra, dec, source)
    given = table.column(ident).to_pylist() if ident else None
    told = _told(table, ra), _told(table, dec)
    rows: list[Position] = []
    first: dict[str, int] = {}
    for i, (x, y) in enumerate(zip(right.tolist(), declination.tolist(), strict=True)):
        outside = math.isnan(x) or math.isnan(y)
        wrong = f"no position: ra {told[0][i]}, dec {told[1][i]}" if outside else ""
        name = _name(given[i]) if given is not None else ("" if outside else f"J{x:09.5f}{y:+09.5f}")
        wrong = wrong or ("" if name else "it has no id")
        if not wrong and first.setdefault(name, i + 1) != i + 1:
            wrong = f"row {first[name]} has the same {'position' if given is None else 'id'}"
        rows.append(Position(name or f"row {i + 1}", x, y, wrong))
    _suspect(source, rows)
    return rows


def _columns(source: str, names: Sequence[str], asked: tuple[str, str, str] | None) -> tuple[str | None, str, str]:
    """Return the names of the columns of id (None where there is none), ra and dec."""
    found: list[str | None] = []
    for usual, wished, what in zip((IDS, RAS, DECS), asked or ("", "", ""), ("ids", "ra", "dec"), strict=True):
        found.append(find_column(names, wished, usual, source=source, setting="columns"))
        if found[-1] is None and what != "ids":
            there = ", ".join(f"'{name}'" for name in names[:20])
            galactic = ", and galactic l and b are not taken" if {"l", "b"} <= {name.lower() for name in names} else ""
            raise refusal(
                source, f"has no column known as {what}{galactic}; it has {there}", "name id, ra and dec with columns"
            )
    ident, ra, dec = found
    return ident, str(ra), str(dec)


def _name(value: Any) -> str:  # noqa: ANN401
    return "" if value is None else str(value).strip()


def _told(table: pa.Table, name: str) -> list[str]:
    """Return the values of a column as they are told to people."""
    values = table.column(name).to_pylist()
    return ["missing" if value is None or value != value or value == "" else str(value) for value in values]


def _suspect(source: str, rows: Sequence[Position]) -> None:
    """Warn of columns that look like hours or radians."""
    good = [row for row in rows if not row.wrong]
    right = [row.ra for row in good]
    if len(good) < _HOURS_FROM:
        return
    if max(right) <= 24 and max(right) - min(right) > 12:
        _logger.warning("'%s': every ra lies between 0 and 24; if these are hours, convert them to degrees", source)
    if math.pi < max(right) <= 2 * math.pi and max(abs(row.dec) for row in good) <= math.pi / 2:
        _logger.warning("'%s': every ra lies between 0 and 6.28; if these are radians, convert them", source)
