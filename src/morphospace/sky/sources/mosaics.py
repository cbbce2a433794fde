"""Rows that are windows of mosaics about the sky positions of a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.sky._intake import refusal
from morphospace.sky.curation.journal import Stamp
from morphospace.sky.curation.names import printable
from morphospace.sky.headers import format_card
from morphospace.sky.images import Image, find_files
from morphospace.sky.sources.base import Label
from morphospace.sky.sources.footprints import first_pixel, place
from morphospace.sky.sources.positions import read_positions
from morphospace.sky.sources.rows import DECS, IDS, RAS, Columns, Names, find_column, list_names
from morphospace.sky.sources.tables import read_table
from morphospace.sky.sources.windows import Mosaic, Pixels, open_mosaic

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["MosaicSource"]

_logger = logging.getLogger(__name__)
_NO_POSITION = "has no position: its coordinates are missing, no angles or out of range"


class MosaicSource:
    """A window of a mosaic for each position of a table.

    The window is the one of `astropy.nddata.Cutout2D`: of `size` pixels, native, never resampled. Of several mosaics
    about a position the one is taken in which it lies deepest; its blank pixels, and those beyond its border, are filled
    from the others where these lie on the same grid, and are masked else. Floats are NaN there, integers 0.

    Rows stand mosaic by mosaic, within each in the order of the table, so that each mosaic is read once; rows outside
    every mosaic come last and are errors of their own.

    Parameters
    ----------
    path : path
        The table.
    intake : Intake
        `mosaics` names them: a folder, pattern or list; `ra_column`, `dec_column` and `id_column` name columns.
    size : int
        Side of the windows in pixels.
    hdu : str or int, optional
        HDU of the mosaics.

    Raises
    ------
    ConfigError
        If `size` is missing.
    DataError
        If the table has no positions, no mosaic can be used, or no position lies in any.
    """

    def __init__(
        self,
        path: str | Path,
        intake: Intake,
        *,
        size: int | None,
        hdu: str | int | None = None,
    ) -> None:
        if size is None or size < 1:
            msg = f"cut-outs of mosaics need a size of at least 1 pixel; got size={size}."
            raise ConfigError(msg)
        self._source, self._size = os.fspath(path), size
        columns, units = read_table(path, texts=(intake.id_column, *IDS))
        names = columns.column_names
        ra, dec = _position_columns(names, intake, self._source)
        ident = find_column(names, intake.id_column, IDS, source=self._source, setting="id_column")
        self._ra, self._dec = read_positions(columns, units, ra, dec, self._source)
        self._marks = (self._ra.view(np.int64) * 31 ^ self._dec.view(np.int64)) & 0x7FFFFFFF
        self._mosaics = _open_all(intake.mosaics, hdu)
        self._places = place(self._mosaics, self._ra, self._dec, size)
        if len(columns) and (self._places.mosaic < 0).all():
            raise refusal(self._source, *_outside(self._mosaics, self._ra, self._dec, size))
        self._order = np.argsort(self._places.mosaic.astype(np.uint32), kind="stable")  # -1 becomes the largest
        self._columns = Columns(columns, without={ra, dec, *([ident] if ident else [])})
        self.types: Mapping[str, pa.DataType] = {"mosaic": pa.string(), **self._columns.types}
        self._names = Names(len(columns), Path(self._source).stem, columns.column(ident) if ident else None)
        self._titles = [printable(Path(mosaic.path).name) for mosaic in self._mosaics]
        self._cards = [_Cards(mosaic.image.wcs or "") for mosaic in self._mosaics]
        self._pixels = Pixels()
        self._absolute = os.path.abspath(self._source)

    def __len__(self) -> int:
        return len(self._order)

    def label(self, i: int) -> Label:
        """Name row `i` by its row in the table; the stamp is that of its mosaic, and changes with the position."""
        row = int(self._order[i])
        number = self._places.mosaic[row]
        stamp = self._mosaics[number].stamp if number >= 0 else Stamp(-1, -1)
        stamp = Stamp(stamp.size, stamp.mtime_ns ^ int(self._marks[row]))
        return Label(f"{self._absolute}#{row}", f"{self._source}#{row}", self._names.name(row), stamp)

    def read(self, i: int) -> Image:
        """Cut out row `i`."""
        row = int(self._order[i])
        number = int(self._places.mosaic[row])
        source = f"{self._source}#{row}"
        if number < 0:
            raise refusal(source, *_why_nowhere(float(self._ra[row]), float(self._dec[row]), len(self._mosaics)))
        mosaic = self._mosaics[number]
        x0, y0 = (first_pixel(float(part[row]), self._size) for part in (self._places.x, self._places.y))
        cut, valid = self._cut(row, mosaic, x0, y0)
        return replace(
            mosaic.image,
            data=cut,
            mask=None if valid.all() else valid,
            source=source,
            wcs=self._cards[number].moved(x0, y0),
            ra=float(self._ra[row]),
            dec=float(self._dec[row]),
            object=None,  # the mosaic's names its field
            origin=(x0, y0),
        )

    def columns(self, i: int) -> dict[str, Any]:
        """Look up the name of the mosaic and the other columns of row `i`."""
        row = int(self._order[i])
        number = self._places.mosaic[row]
        name = self._titles[number] if number >= 0 else None
        return {"mosaic": name, **self._columns.row(row)}

    def _cut(self, row: int, mosaic: Mosaic, x0: int, y0: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window, (C, size, size), and where they are valid."""
        shape = (mosaic.shape[0], self._size, self._size)
        pixels = self._pixels.of(mosaic)
        dtype = pixels.dtype.newbyteorder("=")
        cut = np.full(shape, np.nan if dtype.kind == "f" else 0, dtype=dtype)
        valid = np.zeros(shape[1:], dtype=np.bool_)
        _paste(cut, valid, pixels, x0, y0)
        fill = self._places.fill
        for k in range(fill.start[row], fill.start[row + 1]):
            if valid.all():
                break
            other = self._pixels.of(self._mosaics[fill.mosaic[k]])
            _paste(cut, valid, other, x0 + int(fill.dx[k]), y0 + int(fill.dy[k]))
        return cut, valid


class _Cards:
    """Cards of a WCS whose pixels can be counted from elsewhere."""

    def __init__(self, cards: str) -> None:
        self._cards = [cards[start : start + 80] for start in range(0, len(cards), 80)]
        self._moving: list[tuple[int, str, float, int, int]] = []  # place, keyword, value, axis, sign
        for at, card in enumerate(self._cards):
            key = card[:8].rstrip()
            if key in ("CRPIX1", "CRPIX2", "CNPIX1", "CNPIX2"):
                sign = -1 if key.startswith("CR") else 1  # a plate solution counts the other way
                self._moving.append((at, key, float(card[10:].split("/")[0]), int(key[-1]) - 1, sign))

    def moved(self, x0: int, y0: int) -> str:
        """Write the cards for an image that begins at pixel (x0, y0)."""
        cards = list(self._cards)
        for at, key, value, axis, sign in self._moving:
            cards[at] = format_card(key, value + sign * (x0, y0)[axis])
        return "".join(cards)


def _paste(cut: NDArray[Any], valid: NDArray[np.bool_], pixels: NDArray[Any], x0: int, y0: int) -> None:
    """Copy what a mosaic has of a window to where nothing is valid yet."""
    height, width = pixels.shape[1:]
    n = cut.shape[-1]
    top, bottom, left, right = max(y0, 0), min(y0 + n, height), max(x0, 0), min(x0 + n, width)
    if top >= bottom or left >= right:
        return
    inside = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
    found = pixels[:, top:bottom, left:right]
    if valid.any():
        missing = ~valid[inside]
        cut[:, *inside] = np.where(missing, found, cut[:, *inside])
    else:
        cut[:, *inside] = found
    here = np.isfinite(cut[:, *inside]).all(axis=0) if cut.dtype.kind == "f" else True
    valid[inside] = here


def _position_columns(names: Sequence[str], intake: Intake, source: str) -> tuple[str, str]:
    ra = find_column(names, intake.ra_column, RAS, source=source, setting="ra_column")
    dec = find_column(names, intake.dec_column, DECS, source=source, setting="dec_column")
    if ra is None or dec is None:
        lacking = " and ".join(name for name, found in (("ra", ra), ("dec", dec)) if found is None)
        what = f"has no column of positions ({lacking}); it has {list_names(names)}"
        raise refusal(source, what, "name them with ra_column and dec_column (ICRS)")
    return ra, dec


def _open_all(named: str, hdu: str | int | None) -> list[Mosaic]:
    """Open the mosaics that can be used; the others are logged, or told where none can."""
    mosaics: list[Mosaic] = []
    errors: list[DataError] = []
    for file in find_files(named):
        try:
            mosaics.append(open_mosaic(file, hdu))
        except DataError as error:
            errors.append(error)
    if not mosaics:
        raise errors[0]
    for left_out in errors:
        _logger.warning("%s", left_out)
    return mosaics


def _why_nowhere(ra: float, dec: float, n: int) -> tuple[str, str]:
    if np.isnan(ra) or np.isnan(dec):
        return _NO_POSITION, "mend the row or leave it out"
    where = "the mosaic" if n == 1 else f"all {n:,} mosaics"
    return f"lies outside {where} (RA {ra:.5f}, Dec {dec:.5f})", "add the mosaic that covers it or leave it out"


def _outside(mosaics: Sequence[Mosaic], ra: NDArray[Any], dec: NDArray[Any], size: int) -> tuple[str, str]:
    """Say that no position lies in any mosaic, and which unit would bring them there."""
    tries = {
        "radians": (np.degrees(ra) % 360, np.degrees(dec)),
        "right ascensions in hours": (ra * 15 % 360, dec),
    }
    where = "the mosaic" if len(mosaics) == 1 else f"any of {len(mosaics):,} mosaics"
    what = f"has none of its {len(ra):,} positions in {where}"
    for name, (lon, lat) in tries.items():
        good = np.abs(lat) <= 90
        found = place(mosaics, np.where(good, lon, np.nan), np.where(good, lat, np.nan), size)
        if (found.mosaic >= 0).mean() > 0.5:
            return f"{what}, and seems to hold {name}", "convert them to ICRS degrees"
    return what, "check that they are ICRS degrees and that the mosaics cover them"
