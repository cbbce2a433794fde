"""Sky positions out of the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.units import Unit, deg
from numpy.typing import NDArray

from morphospace.sky._intake import one_line, refusal

__all__ = ["read_positions", "unit_vectors"]

Degrees = NDArray[np.float64]
_SEXAGESIMAL = re.compile(
    r"([+\-\u2212]?)\s*(\d{1,3})\s*([:hHdD°]|\s)\s*(\d{1,2})(?:\s*[:mM'\u2032]\s*|\s+|$)(\d{1,2}(?:\.\d*)?)?\s*[sS\"\u2033]?"
)


def read_positions(
    table: pa.Table, units: Mapping[str, str], ra: str, dec: str, source: str
) -> tuple[Degrees, Degrees]:
    """Read two columns as ICRS positions.

    Parameters
    ----------
    table : pyarrow.Table
        Holds the columns.
    units : mapping
        Unit by column, where it has one; without one numbers are degrees, and text such as ``12:30:05.1`` is hours in
        `ra` and degrees in `dec`.
    ra, dec : str
        The columns.
    source : str
        The table, for messages.

    Returns
    -------
    ra, dec : ndarray, (N,), float64
        Degrees, `ra` in [0, 360); NaN where a value is missing or out of range.

    Raises
    ------
    DataError
        If a column holds no angles, or no row is in range.
    """
    right = _degrees(table.column(ra), units.get(ra), source, ra, is_ra=True)
    declination = _degrees(table.column(dec), units.get(dec), source, dec, is_ra=False)
    fits = (right >= -180) & (right <= 360) & (np.abs(declination) <= 90)  # NaN fits nowhere
    if len(fits) and not fits.any():
        what = f"has no position in its columns '{ra}' and '{dec}': all lie outside -180..360 and -90..90 degrees"
        raise refusal(source, what, "name the right columns with ra_column and dec_column, or convert them to degrees")
    return np.where(fits, right % 360, np.nan), np.where(fits, declination, np.nan)


def unit_vectors(ra: Degrees, dec: Degrees) -> NDArray[np.float64]:
    """Turn degrees, (N,), into points on the unit sphere, (N, 3)."""
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def _degrees(column: pa.ChunkedArray, unit: str | None, source: str, name: str, *, is_ra: bool) -> Degrees:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return _converted(values, unit, source, name)
    if pa.types.is_time(kind):  # what a reader of CSV files makes of 12:30:05
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = [text or "" for text in column.to_pylist()]
        return _from_texts(texts, unit, source, name, is_ra=is_ra)
    raise refusal(source, f"has {kind} in its column '{name}' instead of angles", "name another column")


def _converted(values: NDArray[Any], unit: str | None, source: str, name: str) -> Degrees:
    try:
        scale = 1.0 if not unit else float(Unit(unit).to(deg))
    except (ValueError, TypeError) as error:
        what = f"has the unit '{unit}' in its column '{name}', which is none of an angle ({one_line(error)})"
        raise refusal(source, what, "convert it to degrees") from None
    return np.asarray(values, dtype=np.float64) * scale


def _from_texts(texts: list[str], unit: str | None, source: str, name: str, *, is_ra: bool) -> Degrees:
    """Decimal text is taken as numbers, the rest as sexagesimal; rows that are neither are NaN."""
    degrees = np.full(len(texts), np.nan)
    rest = []
    for row, text in enumerate(texts):
        try:
            degrees[row] = float(text)
        except ValueError:
            if text.strip():
                rest.append(row)
    # VizieR has units such as "h:m:s" for text, which say nothing about a decimal number
    degrees = _converted(degrees, None if unit and (":" in unit or '"' in unit) else unit, source, name)
    degrees[rest] = [_sexagesimal(texts[row], is_ra=is_ra) for row in rest]
    if rest and np.isnan(degrees).all():
        what = f"has '{one_line(texts[rest[0]])}' in its column '{name}', which is no angle"
        raise refusal(source, what, "write degrees, or 12:30:05.1 and -5:23:28")
    return degrees


def _sexagesimal(text: str, *, is_ra: bool) -> float:
    """Degrees of text such as 12:30:05.1, 12 30 5.1, 12h30m5.1s or -5d23m28s; NaN where it is none."""
    match = _SEXAGESIMAL.fullmatch(text.strip())
    if match is None:
        return np.nan
    sign, whole, mark, minutes, seconds = match.groups()
    minute, second = float(minutes), float(seconds or 0)
    if minute >= 60 or second >= 60:
        return np.nan
    value = float(whole) + minute / 60 + second / 3600
    in_hours = mark in "hH" if mark in ("h", "H", "d", "D", "°") else is_ra
    return (-value if sign in ("-", "\u2212") else value) * (15 if in_hours else 1)
