"""Positions on the sky read from a table: CSV, FITS, VOTable or Parquet."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units
from astropy.table import Table
from pyarrow import csv as arrow_csv

from morphospace.sky._intake import guarded, refusal

__all__ = ["Position", "read_positions"]

_IDS = ("id", "name", "object", "objid", "object_id", "obj_id", "source_id", "sourceid", "targetid", "dr7objid")
_RAS = ("ra", "raj2000", "ra_j2000", "_raj2000", "ra_deg", "radeg", "ra_icrs", "alpha_j2000", "right_ascension")
_DECS = (
    *("dec", "dej2000", "decj2000", "dec_j2000", "_dej2000", "dec_deg", "decdeg", "dedeg", "de_icrs", "dec_icrs"),
    *("delta_j2000", "declination", "decl"),
)
_logger = logging.getLogger(__name__)


class Position(NamedTuple):
    """One row of a table: its id, its place in degrees (NaN where it has none), and what is wrong with it ("" if nothing)."""

    id: str
    ra: float
    dec: float
    wrong: str


def read_positions(path: str | Path, columns: tuple[str, str, str] | None = None) -> list[Position]:
    """Read ids and positions from a table.

    Parameters
    ----------
    path : path
        CSV, TSV, ECSV, FITS, VOTable or Parquet; what it is, its first bytes say.
    columns : tuple of str, optional
        Names of the columns with id, right ascension and declination; by default found by their usual names. Without
        a column of ids each row is named by its position, ``"J150.11905+02.20563"``.

    Returns
    -------
    list of Position
        A row each, in order. Those that cannot be used say why: no number, outside 0 to 360 or -90 to 90 degrees, an id
        that came before.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, holds no row, or no row of it is a position in degrees: one sentence.
    """
    source = str(path)
    if not Path(path).is_file():
        what = "is a folder, not a table" if Path(path).is_dir() else "is not there"
        raise refusal(source, what, "give a table with positions")
    with guarded(source, "cannot be read as a table", "give a CSV, FITS, VOTable or Parquet file"):
        table = _read(Path(path))
    names = _find_columns(source, table, columns)
    if not len(table):
        raise refusal(source, "holds no row", "give a table with positions")
    ra, dec = (_degrees(source, table, name) for name in names[1:])
    ids = [str(value) if value is not None else "" for value in _plain(table[names[0]])] if names[0] else [""] * len(ra)
    rows = _judge(ids, ra, dec, named=bool(names[0]))
    if all(row.wrong for row in rows):
        raise refusal(source, f"holds no position in degrees: in row 1 {rows[0].wrong}", "convert its columns")
    _suspect(source, rows)
    return rows


def _read(path: Path) -> Any:  # noqa: ANN401 - an astropy or pyarrow table
    with path.open("rb") as stream:
        head = stream.read(512)
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if head.startswith(b"SIMPLE"):
        return Table.read(path, format="fits")
    if start.startswith((b"<?xml", b"<VOTABLE")):
        return Table.read(path, format="votable")
    if start.startswith(b"# %ECSV"):
        return Table.read(path, format="ascii.ecsv")
    return pq.read_table(path) if head.startswith(b"PAR1") else _read_text(path)


def _read_text(path: Path) -> pa.Table:
    """Read a text table as strings: long ids keep their digits and their zeros."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        line = stream.readline()
    delimiter = max(",\t;|", key=line.count)
    names = next(csv.reader([line], delimiter=delimiter), [])
    convert = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return arrow_csv.read_csv(path, parse_options=arrow_csv.ParseOptions(delimiter=delimiter), convert_options=convert)


def _find_columns(source: str, table: Any, columns: tuple[str, str, str] | None) -> tuple[str, str, str]:  # noqa: ANN401
    """Return the names of the columns of id ("" where there is none), ra and dec."""
    there = list(getattr(table, "column_names", None) or table.colnames)
    listed = ", ".join(f"'{name}'" for name in there[:20]) + (", ..." if len(there) > 20 else "")
    if columns:
        for name in columns:
            if name not in there:
                raise refusal(source, f"has no column '{name}'", f"it has {listed}")
        return columns
    folded = {name.casefold().strip(): name for name in reversed(there)}
    ident, ra, dec = (next((folded[n] for n in usual if n in folded), "") for usual in (_IDS, _RAS, _DECS))
    if not ra or not dec:
        galactic = " (galactic l and b are not taken: convert them)" if {"l", "b"} <= set(folded) else ""
        missing = "ra" if not ra else "dec"
        what = f"has no column that is known as {missing}{galactic}"
        raise refusal(source, what, f"name id, ra and dec with columns; it has {listed}")
    return ident, ra, dec


def _plain(column: Any) -> Sequence[Any]:  # noqa: ANN401
    """Return the values of a column as Python has them, None where there is none."""
    if isinstance(column, pa.ChunkedArray):
        return list(column.to_pylist())
    values = np.ma.masked_array(column).tolist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def _degrees(source: str, table: Any, name: str) -> list[float | str]:  # noqa: ANN401
    """Return a column in degrees; what is no number stays as it came."""
    unit = getattr(table[name], "unit", None)
    factor = 1.0
    if unit is not None and str(unit):
        try:
            factor = units.Unit(unit).to(units.deg)
        except (units.UnitsError, TypeError, ValueError):
            raise refusal(source, f"has '{name}' in '{unit}', not in degrees", "convert it") from None
    return [_number(value, factor) for value in _plain(table[name])]


def _number(value: Any, factor: float) -> float | str:  # noqa: ANN401
    try:
        return math.nan if value is None else float(value) * factor
    except (TypeError, ValueError):
        return str(value)


def _judge(ids: Sequence[str], ra: Sequence[float | str], dec: Sequence[float | str], *, named: bool) -> list[Position]:
    """Say of each row what is wrong with it."""
    rows: list[Position] = []
    first: dict[str, int] = {}
    for number, (given, x, y) in enumerate(zip(ids, ra, dec, strict=True), start=1):
        wrong = _outside("ra", x, 0.0, 360.0) or _outside("dec", y, -90.0, 90.0)
        x, y = (value if isinstance(value, float) else math.nan for value in (x, y))
        name = given.strip() if named else ("" if wrong else f"J{x:09.5f}{y:+09.5f}")
        if named and not name:
            wrong = wrong or "it has no id"
        if not wrong and name in first:
            wrong = f"row {first[name]} has the same {'id' if named else 'position'}"
        elif not wrong:
            first[name] = number
        rows.append(Position(name or f"row {number}", x, y, wrong))
    return rows


def _outside(name: str, value: float | str, low: float, high: float) -> str:
    """Return what is wrong with a coordinate."""
    if isinstance(value, str):
        return f"{name} is '{value}', not a number of degrees" if value.strip() else f"{name} is missing"
    if math.isnan(value):
        return f"{name} is missing"
    return "" if low <= value <= high else f"{name} is {value:g}, not within {low:g} and {high:g} degrees"


def _suspect(source: str, rows: Sequence[Position]) -> None:
    """Warn of columns that look like hours or radians."""
    good = [row for row in rows if not row.wrong]
    right = [row.ra for row in good]
    if len(good) < 20:
        return
    if max(right) <= 24 and max(right) - min(right) > 12:
        _logger.warning("'%s': every ra lies between 0 and 24; if these are hours, convert them to degrees", source)
    if max(right) <= 2 * math.pi and max(right) > math.pi and max(abs(row.dec) for row in good) <= math.pi / 2:
        _logger.warning("'%s': every ra lies between 0 and 6.28; if these are radians, convert them", source)
