"""Rows of an HDF5 file: one array of images, with labels beside it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace._lru import Lru
from morphospace.sky._intake import MAX_BANDS, guarded, refusal
from morphospace.sky.images import Image
from morphospace.sky.pictures import COLOURS
from morphospace.sky.sources.many import FileOfMany, ManyRows
from morphospace.sky.sources.rows import IMAGES, SCALES

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["ArraySource", "image_from", "with_beside"]

_AGAIN = "fetch or copy it again"
_BLOCKS = 64 << 20  # bytes of rows that are read ahead
_ALPHA = (3, 4)


class _Found(NamedTuple):
    """A data set of the file."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int  # rows that are stored together; 1 where they are not


class _Contents(NamedTuple):
    """A file's array of images and what stands beside that."""

    array: _Found
    beside: dict[str, str]
    """Data sets of the same rows by what they hold: mask, ivar, band, scale."""


class ArraySource(ManyRows):
    """The images of HDF5 files, as Galaxy10 comes: one array of N images, other data sets of length N columns.

    Beside ``image_array`` the data sets ``image_mask`` (True where good), ``image_ivar`` (0 where nothing was measured),
    ``image_band`` and ``image_scale`` are read as the Multimodal Universe means them; likewise with other names.

    Parameters
    ----------
    files : sequence of path
        Files of one kind, whose rows are put one after the other.
    intake : Intake
        `image_column` names the array, (N, H, W), (N, C, H, W) or (N, H, W, 3 or 4), by default the
        largest with a usual name, else the largest; the other
        columns are found likewise.

    Raises
    ------
    DataError
        If a file is truncated or damaged, or has no such array, or the files differ in the kinds of their columns.
    """

    def __init__(self, files: Sequence[str | Path], intake: Intake) -> None:
        known = [FileOfMany.of(os.fspath(file)) for file in files]
        self._contents: list[_Contents] = []
        tables = []
        for name in (file.path for file in known):
            with guarded(name, "is a truncated or damaged HDF5 file", _AGAIN), h5py.File(name, "r") as file:
                found = list(_datasets(file))
                array = _choose(found, intake.image_column, name)
                self._contents.append(_Contents(array, _beside(found, array)))
                tables.append(_read_columns(file, found, array))
        super().__init__(known, (one.array.shape[0] for one in self._contents), tables, intake, "HDF5")
        self._scale = _numbers(self._table, self._find("", SCALES, ""))
        self._open: tuple[int, h5py.File] | None = None
        self._blocks: Lru[tuple[int, int], NDArray[Any]] = Lru(_BLOCKS)

    def read(self, i: int) -> Image:
        """Read row `i`; rows that are stored together are read together."""
        number, row = self._place_of(i)
        found = self._contents[number]
        source = f"{self._files[number].path}#{row}"
        with guarded(source, "cannot be read from its HDF5 file", _AGAIN):
            pixels = self._row(number, row)
            beside = {kind: np.asarray(self._file(number)[path][row]) for kind, path in found.beside.items()}
        image = with_beside(image_from(pixels, source, hdu=found.array.path), beside)
        if self._scale is not None:
            image = replace(image, pixel_scale_arcsec=float(self._scale[i]))
        return self._with_position(image, i)

    def _file(self, number: int) -> h5py.File:
        if self._open is None or self._open[0] != number:
            self._open = (number, h5py.File(self._files[number].path, "r"))
        return self._open[1]

    def _row(self, number: int, i: int) -> NDArray[Any]:
        found = self._contents[number].array
        array = self._file(number)[found.path]
        row_bytes = found.dtype.itemsize * math.prod(found.shape[1:])
        n = found.chunk
        if n == 1 or n * row_bytes > _BLOCKS:
            row: NDArray[Any] = np.asarray(array[i])
            return row

        def block() -> tuple[NDArray[Any], int]:
            rows = np.asarray(array[i // n * n : (i // n + 1) * n])
            return rows, rows.nbytes

        held: NDArray[Any] = self._blocks.get((number, i // n), block)[i % n].copy()
        return held

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


def with_beside(image: Image, beside: Mapping[str, NDArray[Any]]) -> Image:
    """Add to an image what stands beside its pixels.

    Parameters
    ----------
    image : Image
        Of C bands.
    beside : mapping
        ``mask``, true where a pixel is good, and ``ivar``, the inverse variance, of (C, H, W) or (H, W); ``band``, C
        names; ``scale``, arcsec. A pixel is masked where one of its bands is no good or its ``ivar`` is not positive;
        the variance is NaN there.

    Raises
    ------
    DataError
        If mask or ivar do not fit the image.
    """
    valid = np.ones(image.data.shape[1:], dtype=np.bool_) if image.mask is None else image.mask.copy()
    variance = image.variance
    for kind in ("mask", "ivar"):
        if kind not in beside:
            continue
        planes = beside[kind].reshape(-1, *beside[kind].shape[-2:])
        if planes.shape[1:] != valid.shape or len(planes) not in (1, len(image.data)):
            what = f"has a {kind} of shape {planes.shape} beside an image of shape {image.data.shape}"
            raise refusal(image.source, what, "leave the row out")
        good = planes > 0
        valid &= good.all(axis=0)
        if kind == "ivar":
            with np.errstate(divide="ignore", over="ignore"):
                inverse = np.where(good, 1 / planes, np.nan).astype(np.float32)
            variance = np.broadcast_to(inverse, image.data.shape).copy()
    names = [one.decode() if isinstance(one, bytes) else str(one) for one in np.ravel(beside.get("band", ())).tolist()]
    scales = np.ravel(beside.get("scale", ())).astype(np.float64)
    return replace(
        image,
        mask=None if valid.all() else valid,
        variance=variance,
        bands=tuple(names) if len(names) == len(image.data) else image.bands,
        pixel_scale_arcsec=float(scales[0]) if len(scales) else image.pixel_scale_arcsec,
    )


def image_from(pixels: NDArray[Any], source: str, *, hdu: str = "") -> Image:
    """Make an image of an array of (H, W), (C, H, W) with up to 5 bands, or (H, W, 3 or 4) colours.

    Alpha is dropped, truth values become uint8, half floats float32.

    Raises
    ------
    DataError
        If it has another shape, no pixels, or no real numbers.
    """
    if pixels.dtype.kind not in "buif":
        raise refusal(source, f"holds {pixels.dtype} instead of real numbers", "save integers or floats")
    is_colour = pixels.ndim == 3 and _last_is_colour(pixels.shape)
    if is_colour:
        pixels = np.moveaxis(pixels[..., :3], -1, 0)
    elif pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape or len(pixels) > MAX_BANDS:
        what = f"holds an array of shape {pixels.shape} instead of an image of at most {MAX_BANDS} bands"
        raise refusal(source, what, "pass (H, W), (C, H, W) or (H, W, 3)")
    data = np.ascontiguousarray(pixels, dtype=_kept_type(pixels.dtype))
    valid = np.isfinite(data).all(axis=0)
    return Image(
        data=data,
        mask=None if valid.all() else valid,
        source=source,
        hdu=hdu,
        bands=COLOURS if is_colour else tuple(str(band) for band in range(len(data))),
        wavelength_nm=(np.nan,) * len(data),
    )


def _kept_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype.newbyteorder("=")


def _last_is_colour(shape: tuple[int, ...]) -> bool:
    """Say whether the last of three axes is colours: 3 or 4 of them, and the first is too long for bands."""
    return shape[-1] in _ALPHA and shape[-3] > MAX_BANDS


def _datasets(file: h5py.File) -> Iterator[_Found]:
    """Name all data sets, links to other files left out."""
    found: list[_Found] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found.append(_Found(name, item.shape, item.dtype, item.chunks[0] if item.chunks else 1))

    file.visititems(visit)
    yield from found


def _choose(found: list[_Found], asked: str, source: str) -> _Found:
    """Find the array of images: the one asked for, else the largest that can be one."""
    shown = ", ".join(f"'{one.path}' {one.shape}" for one in found[:12]) or "nothing"
    remedy = "name an array of (N, H, W), (N, C, H, W) or (N, H, W, 3) with image_column"
    if asked:
        chosen = next((one for one in found if one.path == asked.strip("/")), None)
        if chosen is None:
            raise refusal(source, f"has no data set '{asked}'; it has {shown}", remedy)
        if not _holds_images(chosen):
            raise refusal(source, f"has {chosen.dtype} of shape {chosen.shape} in '{asked}', no images", remedy)
        return chosen
    fitting = [one for one in found if _holds_images(one)]
    if not fitting:
        raise refusal(source, f"has no array of images; it has {shown}", remedy)
    known = [one for one in fitting if one.path.rsplit("/", 1)[-1].lower() in IMAGES]
    return max(known or fitting, key=lambda one: one.dtype.itemsize * math.prod(one.shape))


def _beside(found: list[_Found], array: _Found) -> dict[str, str]:
    """Find the data sets that belong to the array of images by their names: image_mask beside image_array or image."""
    stem = array.path.removesuffix("_array").removesuffix("_flux")
    n, bands = array.shape[0], array.shape[1] if len(array.shape) == 4 else 1
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "mask": (array.shape, (n, *array.shape[-2:])),
        "ivar": (array.shape, (n, *array.shape[-2:])),
        "band": ((n, bands),),
        "scale": ((n, bands), (n,)),
    }
    by_path = {one.path: one for one in found}
    return {
        kind: f"{stem}_{kind}"
        for kind, fitting in shapes.items()
        if f"{stem}_{kind}" in by_path and by_path[f"{stem}_{kind}"].shape in fitting
    }


def _holds_images(found: _Found) -> bool:
    shape = found.shape
    if found.dtype.kind not in "buif" or 0 in shape or len(shape) not in (3, 4):
        return False
    return len(shape) == 3 or shape[1] <= MAX_BANDS or _last_is_colour(shape[1:])


def _read_columns(file: h5py.File, found: list[_Found], array: _Found) -> pa.Table:
    """Read every data set with one value a row, those in groups by their last name where it is free."""
    n = array.shape[0]
    columns: dict[str, pa.Array] = {}
    for one in found:
        is_column = one.shape in ((n,), (n, 1))
        if one.path == array.path or not is_column:
            continue
        values = np.asarray(file[one.path][()]).reshape(n)
        name = one.path.rsplit("/", 1)[-1]
        name = one.path.replace("/", "_") if name in columns else name
        if values.dtype.names:
            parts = {f"{name}_{part}" if part in columns else part: values[part] for part in values.dtype.names}
        else:
            parts = {name: values}
        columns |= {key: plain for key, part in parts.items() if (plain := _to_arrow(part)) is not None}
    return pa.table(columns)


def _to_arrow(values: NDArray[Any]) -> pa.Array | None:
    """One column of HDF5 as Arrow's: numbers in their type, all kinds of text as text."""
    if values.ndim != 1 or values.dtype.kind not in "biufSUO":
        return None
    if values.dtype.kind in "biuf":
        return pa.array(values.astype(values.dtype.newbyteorder("=")))
    texts = [
        one.decode("utf-8", "replace") if isinstance(one, bytes) else one if isinstance(one, str) else None
        for one in values.tolist()
    ]
    return pa.array(texts, pa.string())


def _numbers(table: pa.Table, name: str | None) -> NDArray[np.float64] | None:
    """Take a column as numbers; None where there is none."""
    if name is None or not pa.types.is_floating(table.column(name).type):
        return None
    values: NDArray[np.float64] = table.column(name).cast(pa.float64()).to_numpy()
    return values
