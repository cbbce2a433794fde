"""Tile-compressed FITS images: checked here, unpacked by astropy."""

from __future__ import annotations

import io
import math
import re
import struct
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from morphospace.sky._intake import guarded, refusal
from morphospace.sky.headers import format_card, read_axes

__all__ = ["TABLE_CARDS", "unpack_tiles"]

# Cards of the table, which the image that it stands for has not.
TABLE_CARDS = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|THEAP|T(?:TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+|CHECKSUM|DATASUM"
    r"|Z(?:IMAGE|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|SCALE|ZERO|MASKCMP)"
    r"|Z(?:SIMPLE|EXTEND|TENSION|[PG]COUNT|BLOCKED|HECKSUM|DATASUM)"
)
_MAX_PACKING = 20_000  # bytes of pixels per byte of the table; RICE and GZIP reach 1,000, PLIO 8,000
_RICE = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4)}  # FITS standard 4.0, section 10.4.1
_BLOCK = 2880
_AGAIN = "fetch or write it again"


def unpack_tiles(header: dict[str, Any], table: bytes, source: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Unpack an image, without BSCALE, BZERO and BLANK.

    Parameters
    ----------
    header : dict
        Cards of the table.
    table : bytes
        Its rows and heap.
    source : str
        Name of the file, for messages.

    Returns
    -------
    array, native-endian
        Axes as in ZNAXIS, quantised floats restored.
    dict
        Header of the image.

    Raises
    ------
    DataError
        If the table cannot hold the image it announces, or is damaged.

    Notes
    -----
    The C code under astropy 8 writes past its memory where a HCOMPRESS stream or the RICE parameters contradict
    the header, and allocates or loops by what cards say. So those are compared first.
    """
    axes, rows, tiles = read_axes(header, "ZNAXIS"), read_axes(header), _tile_shape(header)
    n_columns = header.get("TFIELDS")
    if not axes or not rows or len(rows) != 2 or type(n_columns) is not int or not 0 < n_columns < 1000 or not tiles:
        raise refusal(source, "has a compressed image without a valid table", _AGAIN)
    grid = tuple(-(-axis // tile) for axis, tile in zip(axes, tiles, strict=True))
    n_bytes = math.prod(axes) * abs(header["ZBITPIX"]) // 8
    if math.prod(grid) != rows[0] or n_bytes > _MAX_PACKING * len(table):
        what = f"announces a compressed image of {n_bytes} bytes in {math.prod(grid)} tiles"
        raise refusal(source, f"{what}, but its table has {len(table)} bytes in {rows[0]} rows", _AGAIN)
    with guarded(source, "holds a compressed image that cannot be unpacked", _AGAIN):
        _check_parameters(header)
        if header["ZCMPTYPE"] == "HCOMPRESS_1":
            _check_hcompress(header, table, [axes, tiles, grid])
        packed = io.BytesIO(_file_of(header, table))
        data: NDArray[Any] = fits.open(packed, memmap=False, do_not_scale_image_data=True)[1].data
        return data.astype(data.dtype.newbyteorder("=")), _image_header(header, axes)


def _tile_shape(header: dict[str, Any]) -> tuple[int, ...] | None:
    """Shape of a tile in numpy's order, by default one row; None if it is invalid."""
    n = header["ZNAXIS"]
    shape = [header.get(f"ZTILE{i}", 1 if i > 1 else header["ZNAXIS1"]) for i in range(n, 0, -1)]
    return tuple(shape) if all(type(length) is int and length > 0 for length in shape) else None


def _check_parameters(header: dict[str, Any]) -> None:
    """Refuse RICE parameters that the standard does not know."""
    for i in range(1, 1000):
        name, value = header.get(f"ZNAME{i}"), header.get(f"ZVAL{i}")
        if name is None:
            break
        if str(header["ZCMPTYPE"]).startswith("RICE") and value not in _RICE.get(name, (value,)):
            msg = f"{name} is {value}"
            raise ValueError(msg)


def _check_hcompress(header: dict[str, Any], table: bytes, shapes: list[tuple[int, ...]]) -> None:
    """Compare the size of the image in each stream (its bytes 2 to 10) with that of the tile."""
    axes, tiles, grid = shapes
    form = re.match(r"1?([PQ])[BIJ]", header["TFORM1"])
    if header["TTYPE1"] != "COMPRESSED_DATA" or form is None:
        msg = "its first column is not COMPRESSED_DATA"
        raise ValueError(msg)
    n_rows, width = read_axes(header) or (0, 0)
    kind = np.dtype(">i4" if form[1] == "P" else ">i8")
    cells = np.frombuffer(table, np.uint8, n_rows * width).reshape(n_rows, width)[:, : 2 * kind.itemsize]
    heap = header.get("THEAP", n_rows * width)
    for row, (n, start) in enumerate(cells.copy().view(kind).tolist()):
        if n == 0:  # in another column, packed otherwise
            continue
        place = np.unravel_index(row, grid)
        shape = [min(t, a - t * int(p)) for a, t, p in zip(axes, tiles, place, strict=True)]
        sides = sorted(side for side in shape if side != 1)
        if start < 0 or sorted(struct.unpack_from(">2xii", table, heap + start)) != sides:
            msg = f"tile {row + 1} is not of {' x '.join(map(str, sides))} pixels"
            raise ValueError(msg)


def _file_of(header: dict[str, Any], table: bytes) -> bytes:
    """Put the table, with the cards that astropy needs and no others, into a file of its own."""
    primary = [format_card("SIMPLE", True), format_card("BITPIX", 8), format_card("NAXIS", 0)]
    cards = [
        format_card(key, value) for key, value in header.items() if TABLE_CARDS.fullmatch(key) and value is not None
    ]
    parts = [("".join(head) + "END").encode() for head in (primary, cards)]
    return b"".join(part + b" " * (-len(part) % _BLOCK) for part in parts) + table + bytes(-len(table) % _BLOCK)


def _image_header(header: dict[str, Any], axes: tuple[int, ...]) -> dict[str, Any]:
    """Header of the image that the table stands for."""
    structure = {"XTENSION": "IMAGE", "BITPIX": header["ZBITPIX"], "NAXIS": len(axes)}
    structure |= {f"NAXIS{i}": axis for i, axis in enumerate(reversed(axes), start=1)}
    if "ZBLANK" in header and header["ZBITPIX"] > 0:
        structure["BLANK"] = header["ZBLANK"]
    return structure | {key: value for key, value in header.items() if not TABLE_CARDS.fullmatch(key)}
