"""Mosaics: opened by their header, read by windows."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from morphospace._lru import Lru
from morphospace.sky._intake import band_shape, guarded, refusal
from morphospace.sky.curation.journal import Stamp
from morphospace.sky.headers import read_axes
from morphospace.sky.images import Image, read_image
from morphospace.sky.sources.files import read_packed

__all__ = ["Mosaic", "Pixels", "open_mosaic"]

_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_AGAIN = "fetch or copy it again"
_HELD = 256 << 20  # bytes of mosaics that a process maps or holds


@dataclass(frozen=True, eq=False)
class Mosaic:
    """What the header of a mosaic says; no pixels."""

    path: str
    stamp: Stamp
    shape: tuple[int, int, int]
    """(C, H, W)."""
    dtype: np.dtype[Any]
    """As in the file."""
    offset: int
    """Of the pixels in the file; -1 where they are packed or scaled, and have to be read whole."""
    image: Image
    """Everything but pixels, position and size; its ``wcs`` is that of the whole mosaic."""

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self.dtype.itemsize * math.prod(self.shape)


class Pixels:
    """Pixels of mosaics: plain ones mapped into memory, others read whole, those used last kept (256 MiB)."""

    def __init__(self) -> None:
        self._held: Lru[str, NDArray[Any]] = Lru(_HELD)

    def of(self, mosaic: Mosaic) -> NDArray[Any]:
        """Give the pixels of a mosaic, (C, H, W); a plain one comes as in its file, big-endian.

        Raises
        ------
        DataError
            If they cannot be read.
        """
        return self._held.get(mosaic.path, lambda: _load(mosaic))


def open_mosaic(path: str | Path, hdu: str | int | None = None) -> Mosaic:
    """Read the header of a mosaic.

    Parameters
    ----------
    path : str or Path
        A FITS file, plain, packed or compressed; the first HDU with an image is taken.
    hdu : str or int, optional
        Name or number of another HDU.

    Raises
    ------
    DataError
        If it cannot be read, is truncated, or has no celestial WCS.
    """
    source = os.fspath(path)
    stamp = Stamp.of(Path(path))
    if stamp.size < 0:
        raise refusal(source, "does not exist", "check the name and the folder")
    with (
        open(source, "rb") as stream,  # astropy leaves a file open that it cannot read
        guarded(source, "cannot be read as a FITS mosaic", "leave it out or write it anew"),
        fits.open(stream) as hdus,
    ):
        number = _find(hdus, hdu, source)
        header = hdus[number].header
        axes = read_axes(dict(header))
        bitpix = header.get("BITPIX")
        if axes is None or bitpix not in _DTYPES:
            raise refusal(source, f"has no valid BITPIX and NAXIS cards in HDU {number}", _AGAIN)
        shape = band_shape(axes, source)
        dtype = np.dtype(_DTYPES[bitpix])
        place = hdus[number].fileinfo() or {}
        plain = _is_plain(source) and not isinstance(hdus[number], fits.CompImageHDU) and not _is_scaled(header)
        offset = int(place["datLoc"]) if plain else -1
        image = read_packed(_stand_in(hdus, number), source, hdu=1 if number else 0)
    if image.wcs is None:
        raise refusal(source, "has no celestial WCS", "leave it out of the mosaics or add a WCS to its header")
    if offset >= 0 and offset + dtype.itemsize * math.prod(shape) > stamp.size:
        raise refusal(source, "is truncated: its header announces more pixels than follow", _AGAIN)
    return Mosaic(source, stamp, shape, dtype, offset, replace(image, hdu=str(number)))


def _load(mosaic: Mosaic) -> tuple[NDArray[Any], int]:
    if mosaic.offset >= 0:
        with guarded(mosaic.path, "cannot be mapped into memory", _AGAIN):
            return np.memmap(mosaic.path, mosaic.dtype, "r", mosaic.offset, mosaic.shape), mosaic.nbytes
    pixels = read_image(mosaic.path, hdu=int(mosaic.image.hdu)).data
    if pixels.shape != mosaic.shape:
        raise refusal(mosaic.path, "has changed since it was opened", "start again")
    return pixels, pixels.nbytes


def _find(hdus: fits.HDUList, hdu: str | int | None, source: str) -> int:
    """Find the HDU asked for, or the first with an image."""
    wanted = str(hdu).strip().upper()
    for number, unit in enumerate(hdus):
        chosen = hdu is None or wanted in (str(number), unit.name)
        axes = getattr(unit, "shape", ())  # of tables, there are none
        if chosen and unit.is_image and len(axes) > 1 and 0 not in axes:
            return number
    what = "holds no image" if hdu is None else f"has no image in HDU {hdu!r}"
    raise refusal(source, what, "choose one with hdu= or leave it out")


def _is_plain(source: str) -> bool:
    with open(source, "rb") as stream:
        return stream.read(6) == b"SIMPLE"


def _is_scaled(header: fits.Header) -> bool:
    """Say whether pixels have to be scaled or blanked before they mean anything."""
    blanks = "BLANK" in header and header["BITPIX"] > 0
    return blanks or (header.get("BSCALE", 1), header.get("BZERO", 0)) != (1, 0)


def _stand_in(hdus: fits.HDUList, number: int) -> bytes:
    """Write a file of one pixel a band with the same cards: the reader of images knows what they mean."""
    small = hdus[number].header.copy()
    small["NAXIS1"] = small["NAXIS2"] = 1
    bands = math.prod(hdus[number].shape[:-2])
    data = bytes(-(-bands * abs(small["BITPIX"]) // 8 // 2880) * 2880)
    written = str(small.tostring()).encode("ascii", "replace") + data
    if number == 0:
        return written
    primary = hdus[0].header.copy()
    for axis in range(1, int(primary["NAXIS"]) + 1):
        del primary[f"NAXIS{axis}"]
    primary["NAXIS"] = 0
    return str(primary.tostring()).encode("ascii", "replace") + written
