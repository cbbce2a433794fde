"""Images that are not FITS: PNG, JPEG and TIFF through pillow, NPY and NPZ by their bytes."""

from __future__ import annotations

import logging
import math
import zipfile
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image as Pillow

from morphospace.sky._intake import MAX_BANDS, band_shape, guarded, read_pixels, refusal

__all__ = ["COLOURS", "read_npy", "read_npz", "read_picture"]

_logger = logging.getLogger(__name__)

COLOURS = ("R", "G", "B")
_FORMATS = ("PNG", "JPEG", "TIFF")  # pillow's own readers of FITS and EPS stay shut
_GREY = {"1": "L", "LA": "L", "La": "L", "L": "L", "F": "F", "I": "I"}
_NPY = "save it again with numpy.save"
_NPZ = "save it again with numpy.savez"
_MAX_PACKING = 1100  # deflate shrinks 1,032 times at best


def read_picture(stream: BinaryIO, source: str) -> NDArray[Any]:
    """Read the first page of a PNG, JPEG or TIFF as (C, H, W): C = 1 (grey) or 3 (red, green, blue).

    Rows stand as in the file: row 0 is the top of the picture. Grey keeps its type: uint8, uint16, int32, float32.
    Alpha is dropped; palettes, CMYK and YCbCr become RGB. Colour has 8 bits, all that pillow keeps.

    Raises
    ------
    DataError
        If pillow cannot decode it.
    """
    head = stream.read(26)
    if head[:4] == b"\x89PNG" and head[24:25] == b"\x10" and head[25:26] in (b"\x02", b"\x04", b"\x06"):
        _logger.warning("'%s': 16-bit colour or alpha is read with 8 bits; FITS and NPY keep 16", source)
    stream.seek(0)
    what, remedy = "cannot be decoded as a picture", "open and save it anew, or convert it to FITS or NPY"
    with guarded(source, what, remedy), Pillow.open(stream, formats=_FORMATS) as picture:
        n_pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
        if n_pages > 1:
            _logger.warning("'%s': only the first of its %d pages is read", source, n_pages)
        is_grey = picture.mode in _GREY or picture.mode.startswith("I;16")
        mode = _GREY.get(picture.mode, picture.mode) if is_grey else "RGB"
        pixels = np.asarray(picture if mode == picture.mode else picture.convert(mode))
        if picture.format == "PNG" and pixels.dtype == np.int32:  # 16-bit grey in older pillow
            pixels = pixels.astype(np.uint16)
    planes = pixels[None] if is_grey else np.moveaxis(pixels, -1, 0)
    return np.array(planes, dtype=planes.dtype.newbyteorder("="), order="C")


class _ArrayHeader(NamedTuple):
    """What comes before the numbers in an NPY file."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]


def read_npy(stream: BinaryIO, size: int, source: str) -> NDArray[Any]:
    """Read an array of (H, W), (C, H, W) or, for uint8, (H, W, 3 or 4) as (C, H, W); objects are never read.

    Parameters
    ----------
    stream : binary file
        Standing at the beginning of the array file.
    size : int
        Its length in bytes.
    source : str
        Its name, for messages.

    Raises
    ------
    DataError
        If it is damaged, truncated, a cube, or does not hold real numbers.
    """
    return _read_array(stream, _read_header(stream, source), size, source)


def read_npz(stream: BinaryIO, source: str) -> NDArray[Any]:
    """Read the first array of two or more axes in an NPZ file, as `read_npy` does.

    Raises
    ------
    DataError
        If there is none, or the archive is damaged.
    """
    with guarded(source, "is a damaged or encrypted NPZ file", _NPZ), zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            if member.file_size > _MAX_PACKING * max(1, member.compress_size):
                raise refusal(source, f"announces {member.file_size} bytes in '{member.filename}'", _NPZ)
            with archive.open(member) as entry:
                header = _read_header(entry, source)
                if len(header.shape) > 1:
                    return _read_array(entry, header, member.file_size, source)
    raise refusal(source, "is a ZIP file without an array of two or more axes", _NPZ)


def _read_header(stream: IO[bytes], source: str) -> _ArrayHeader:
    """Read shape, order and type of an array file."""
    with guarded(source, "has a damaged NPY header", _NPY):
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return _ArrayHeader(*read(stream))


def _read_array(stream: IO[bytes], header: _ArrayHeader, size: int, source: str) -> NDArray[Any]:
    """Read the numbers of an array file as (C, H, W)."""
    shape, is_fortran, dtype = header
    if dtype.kind not in "buif":
        raise refusal(source, f"holds {dtype} instead of real numbers", "save an array of integers or floats")
    is_colour = dtype == np.uint8 and len(shape) == 3 and shape[2] in (3, 4) and shape[0] > MAX_BANDS and shape[1] > 0
    bands = None if is_colour else band_shape(shape, source)
    n, found = math.prod(shape), size - stream.tell()
    if n * dtype.itemsize > found:
        what = f"is truncated: its header announces {n * dtype.itemsize} bytes of pixels and {found} follow"
        raise refusal(source, what, _NPY)
    with guarded(source, "is damaged", _NPY):
        pixels = read_pixels(stream, dtype, n, source).reshape(shape, order="F" if is_fortran else "C")
    pixels = np.moveaxis(pixels[..., :3], -1, 0) if bands is None else pixels.reshape(bands)
    return np.ascontiguousarray(pixels, dtype=_plain_type(pixels.dtype))


def _plain_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Map truth values to uint8 and floats longer than 64 bits to float64."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float64) if dtype.kind == "f" and dtype.itemsize > 8 else dtype
