"""One row of the store of cutouts: what it holds, and how it is written as Parquet values and read back.

Pixels are the bytes of the array in C order, little-endian, in the type they came in; ``dtype`` and ``shape`` say how
to read them. A mask is packed to bits (``numpy.packbits``), variance is float32 in the shape of the image. What is
unknown is null.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace._parts import Form
from morphospace.errors import DataError, ShapeError, StoreError

__all__ = [
    "COLUMNS",
    "FORM",
    "Cutout",
    "decode_images",
    "decode_masks",
    "decode_row",
    "encode_row",
    "image_layouts",
    "pixel_sha256",
]

FORM = Form(kind="cutouts", version=1, bulk=("image", "mask", "variance"))

COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("mask", pa.binary()),
        pa.field("variance", pa.binary()),
        pa.field("unit", pa.string()),
        pa.field("bands", pa.list_(pa.string())),
        pa.field("wavelength_nm", pa.list_(pa.float64())),
        pa.field("level", pa.list_(pa.float64())),
        pa.field("sigma", pa.list_(pa.float64())),
        pa.field("ra", pa.float64()),
        pa.field("dec", pa.float64()),
        pa.field("x", pa.float64()),
        pa.field("y", pa.float64()),
        pa.field("wcs", pa.string()),
        pa.field("pixel_scale_arcsec", pa.float64()),
        pa.field("beam", pa.list_(pa.float64())),
        pa.field("object", pa.string()),
        pa.field("group", pa.string()),
        pa.field("flags", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("hdu", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)
_FLOATS = ("ra", "dec", "x", "y", "pixel_scale_arcsec")
_LISTS = ("bands", "wavelength_nm", "level", "sigma")
_OURS = frozenset(COLUMNS.names)
_PLAIN = ("id", "sha256", "unit", "wcs", "object", "group", "flags", "source", "hdu")
_MAY_LACK = ("unit", "wcs", "object", "group")
_TEXTS = ("id", "source", "hdu", "sha256", *_MAY_LACK)
MOST_BYTES = (1 << 31) - (1 << 20)  # Parquet and Arrow count the bytes of a column in 31 bits
_NAN = math.nan


@dataclass(frozen=True, eq=False)
class Cutout:
    """One image of one object, with what is known about it; NaN, None and ``()`` mean unknown.

    Attributes
    ----------
    id : str
        Name of the row, unique in its store.
    image : ndarray, shape (C, H, W)
        Pixels in the type and the units of the file.
    mask : ndarray of bool, shape (H, W), optional
        True where a pixel is valid in all bands; None: all are.
    variance : ndarray of float32, shape (C, H, W), optional
        Variance of each pixel.
    level, sigma : tuple of float
        Background and noise, a value per band, in the units of the image.
    unit : str, optional
        BUNIT.
    bands : tuple of str
        Name of each band.
    wavelength_nm : tuple of float
        Wavelength of each band.
    ra, dec : float
        ICRS degrees of the centre.
    x, y : float
        Pixel of the centre in the image that the cutout was taken from, from 0.
    wcs : str, optional
        Header of the celestial WCS.
    pixel_scale_arcsec : float
        Size of a pixel.
    beam : tuple of float
        BMAJ and BMIN in arcsec, BPA in degrees.
    object : str, optional
        Name of the object.
    group : str, optional
        Equal for all images of one object.
    flags : int
        Sum of `Flag` bits.
    source, hdu : str
        File, and the part of it.
    sha256 : str
        Hash of type, shape and pixels; the writer fills it in when empty.
    columns : mapping
        Values of the columns of the user.

    Raises
    ------
    ShapeError
        If image, mask and variance do not fit, or a value per band is given for another number of bands.
    """

    id: str
    image: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    variance: NDArray[np.float32] | None = None
    level: tuple[float, ...] = ()
    sigma: tuple[float, ...] = ()
    unit: str | None = None
    bands: tuple[str, ...] = ()
    wavelength_nm: tuple[float, ...] = ()
    ra: float = _NAN
    dec: float = _NAN
    x: float = _NAN
    y: float = _NAN
    wcs: str | None = None
    pixel_scale_arcsec: float = _NAN
    beam: tuple[float, float, float] = (_NAN, _NAN, _NAN)
    object: str | None = None
    group: str | None = None
    flags: int = 0
    source: str = ""
    hdu: str = ""
    sha256: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.image.shape
        if len(shape) != 3 or not self.image.size:
            msg = f"the image of cutout '{self.id}' must be (C, H, W) with at least one pixel; got shape {shape}."
            raise ShapeError(msg)
        for name, array, wanted in (("mask", self.mask, shape[1:]), ("variance", self.variance, shape)):
            if array is not None and array.shape != wanted:
                msg = f"{name} of cutout '{self.id}' must have shape {wanted}, as its image has; got {array.shape}."
                raise ShapeError(msg)
        for name in _LISTS:
            found = getattr(self, name)
            if found and len(found) != shape[0]:
                msg = f"{name} of cutout '{self.id}' needs one value for each of {shape[0]} bands; got {len(found)}."
                raise ShapeError(msg)


def pixel_sha256(image: NDArray[Any]) -> str:
    """Hash type, shape and pixels of an image: equal images have equal hashes, on any machine."""
    pixels = _little(image)
    digest = hashlib.sha256(f"{_name(pixels.dtype)} {pixels.shape} ".encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def encode_row(cutout: Cutout, user: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """Turn a cutout into the values of its row.

    Parameters
    ----------
    cutout : Cutout
        The row.
    user : mapping of str to pyarrow.DataType
        Columns of the user; those that the cutout lacks become null.

    Raises
    ------
    DataError
        If the pixels are not real numbers, or a value of the user does not fit its column, or has none.
    """
    _check_storable(cutout)
    row: dict[str, Any] = {name: getattr(cutout, name) for name in _PLAIN}
    row["image"] = _little(cutout.image).tobytes()
    row["dtype"] = _name(cutout.image.dtype)
    row["shape"] = cutout.image.shape
    row["mask"] = None if cutout.mask is None else np.packbits(np.asarray(cutout.mask, bool)).tobytes()
    row["variance"] = None if cutout.variance is None else np.ascontiguousarray(cutout.variance, "<f4").tobytes()
    row["sha256"] = cutout.sha256 or pixel_sha256(cutout.image)
    row["flags"] = int(cutout.flags)
    row.update({name: None if math.isnan(getattr(cutout, name)) else getattr(cutout, name) for name in _FLOATS})
    row.update({name: getattr(cutout, name) or None for name in _LISTS})
    row["beam"] = None if all(math.isnan(v) for v in cutout.beam) else cutout.beam
    stray = [name for name in cutout.columns if name not in user]
    if stray:
        near = difflib.get_close_matches(stray[0], list(user), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "name it, with its type, when the store is begun."
        msg = f"cutout '{cutout.id}' has a value for column '{stray[0]}', which the store lacks; {hint}"
        raise DataError(msg)
    row.update({name: _fitting(cutout, name, kind) for name, kind in user.items()})
    return row


def _check_storable(cutout: Cutout) -> None:
    for name in _TEXTS:
        text = getattr(cutout, name)
        if text is None and name in _MAY_LACK:
            continue
        try:
            text.encode()
        except (AttributeError, UnicodeEncodeError):
            msg = f"{name} of cutout {cutout.id!r} must be Unicode text; got {text!r}."
            raise DataError(msg) from None
    kind, n_bytes = cutout.image.dtype, cutout.image.nbytes
    if kind.kind not in "buif" or kind.itemsize > 8:
        msg = f"the pixels of cutout '{cutout.id}' are {kind}; give integers or floats of at most 8 bytes."
        raise DataError(msg)
    if n_bytes > MOST_BYTES:
        msg = f"cutout '{cutout.id}' has {n_bytes} bytes of pixels; a row holds at most {MOST_BYTES}: cut it smaller."
        raise DataError(msg)


@functools.lru_cache(maxsize=64)
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name  # NumPy builds the name anew each time, which takes longer than hashing a small image


def _little(image: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(image, image.dtype.newbyteorder("<"))


def _fitting(cutout: Cutout, name: str, kind: pa.DataType) -> object:
    """Check that a value fits its column; arrow would cut 1.5 to the integer 1 without a word."""
    value = cutout.columns.get(name)
    if value is None:
        return None
    try:
        if pa.types.is_integer(kind) and isinstance(value, (float, np.floating)):
            if math.isnan(value):
                return None
            if not float(value).is_integer():
                raise ValueError
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        msg = f"value {value!r} of cutout '{cutout.id}' does not fit column '{name}' of type {kind}."
        raise DataError(msg) from None


def decode_images(batch: pa.RecordBatch) -> list[NDArray[Any]]:
    """View the images of a record batch of the store; nothing is copied.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        With columns image, dtype and shape.

    Returns
    -------
    list of ndarray, each (C, H, W)
        Little-endian, in the type of the file. They share the memory of the batch and keep it alive: copy before
        writing to one.

    Raises
    ------
    StoreError
        If a row has fewer or more bytes than its shape says.
    """
    found = _views(batch.column("image"), image_layouts(batch), "image")
    return [image for image in found if image is not None]


def image_layouts(batch: pa.RecordBatch) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
    """Give type and shape of the image of each row."""
    dtypes = {name: np.dtype(name).newbyteorder("<") for name in batch.column("dtype").unique().to_pylist()}
    shapes = batch.column("shape").flatten().to_numpy().reshape(-1, 3).tolist()  # (rows, 3)
    return [(dtypes[d], tuple(s)) for d, s in zip(batch.column("dtype").to_pylist(), shapes, strict=True)]


def decode_masks(batch: pa.RecordBatch) -> list[NDArray[np.bool_] | None]:
    """Unpack the masks of a record batch of the store.

    Returns
    -------
    list of ndarray of bool, each (H, W), or None
        True where a pixel is valid; None where the row has no mask.
    """
    shapes = [shape[1:] for _, shape in image_layouts(batch)]
    packed = [(np.dtype("u1"), ((math.prod(shape) + 7) // 8,)) for shape in shapes]
    found = _views(batch.column("mask"), packed, "mask")
    return [None if bits is None else _unpack(bits, shape) for bits, shape in zip(found, shapes, strict=True)]


def _unpack(bits: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=math.prod(shape)).view(np.bool_).reshape(shape)


def _views(
    array: pa.Array, layouts: Sequence[tuple[np.dtype[Any], tuple[int, ...]]], name: str
) -> list[NDArray[Any] | None]:
    """View the values of a binary column as arrays; null gives None."""
    if not len(array):
        return []
    _, raw, data = array.buffers()
    ends = np.frombuffer(raw, np.int32)[array.offset : array.offset + len(array) + 1].tolist()
    valid = array.is_valid().to_pylist()
    views: list[NDArray[Any] | None] = []
    for i, (dtype, shape) in enumerate(layouts):
        count, n_bytes = math.prod(shape), ends[i + 1] - ends[i]
        if valid[i] and n_bytes != count * dtype.itemsize:
            msg = f"{name} of row {i} has {n_bytes} bytes, not those of {shape} {dtype.name}: the store is damaged."
            raise StoreError(msg)
        views.append(np.frombuffer(data, dtype, count, ends[i]).reshape(shape) if valid[i] else None)
    return views


def decode_row(columns: Mapping[str, Sequence[Any]], row: int, image: NDArray[Any]) -> Cutout:
    """Make a cutout of a row of columns that are Python lists, and of its image; arrays are its own."""
    known: dict[str, Any] = {name: columns[name][row] for name in _PLAIN}
    known.update({name: _NAN if columns[name][row] is None else columns[name][row] for name in _FLOATS})
    known.update({name: tuple(columns[name][row] or ()) for name in _LISTS})
    if columns["beam"][row] is not None:
        known["beam"] = tuple(columns["beam"][row])
    if columns["mask"][row] is not None:
        known["mask"] = _unpack(np.frombuffer(columns["mask"][row], np.uint8), image.shape[1:])
    if columns["variance"][row] is not None:
        known["variance"] = np.frombuffer(columns["variance"][row], "<f4").reshape(image.shape).copy()
    own = {name: values[row] for name, values in columns.items() if name not in _OURS}
    return Cutout(image=image, columns=own, **known)
