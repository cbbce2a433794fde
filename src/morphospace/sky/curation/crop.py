"""Windows cut out of an image: pixels as they are, never resampled, the world coordinates kept true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from morphospace.sky.detect import Source

__all__ = ["Window", "centre_window", "crop_mask", "crop_pixels", "segment_in", "shift_header", "source_window"]


class Window(NamedTuple):
    """A rectangle of pixels; it may reach beyond the image.

    ``y0`` and ``x0`` are the first row and column, negative where the window begins before the image.
    """

    y0: int
    x0: int
    height: int
    width: int


def centre_window(shape: tuple[int, ...], size: int) -> Window:
    """Place a square of `size` pixels at the centre of an image; half a pixel off where that cannot be met."""
    height, width = shape[-2:]
    return Window((height - size) // 2, (width - size) // 2, size, size)


def source_window(source: Source, *, size: int | None, padding: float) -> Window:
    """Place a square about a source.

    Parameters
    ----------
    source : Source
        Its centroid lies within half a pixel of the centre of the window.
    size : int or None
        Side in pixels; None takes the longer side of the source's bounding box times `padding`.
    padding : float
        Used when `size` is None.
    """
    y0, y1, x0, x1 = source.bbox
    side = size if size is not None else math.ceil(max(y1 - y0, x1 - x0) * padding)
    half = (side - 1) / 2
    return Window(round(source.y - half), round(source.x - half), side, side)


def crop_pixels(data: NDArray[Any], window: Window, fill: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Cut a window out of an image.

    Parameters
    ----------
    data : ndarray, (C, H, W)
        The image, any real dtype.
    window : Window
        What to cut out.
    fill : ndarray, (C,)
        What integers get beyond the border, rounded; floats get NaN there.

    Returns
    -------
    ndarray, (C, height, width), dtype of `data`
        A copy.
    """
    inside, place = _overlap(data.shape, window)
    if data.dtype.kind == "f":
        outside: NDArray[Any] = np.full((len(data), 1, 1), np.nan)
    else:
        limits = np.iinfo(data.dtype) if data.dtype.kind in "iu" else None
        values = np.nan_to_num(np.rint(fill))
        outside = (values if limits is None else values.clip(limits.min, limits.max))[:, None, None]
    cut = np.empty((len(data), window.height, window.width), dtype=data.dtype)
    cut[:] = outside.astype(data.dtype)
    cut[:, *place] = data[:, *inside]
    return cut


def crop_mask(mask: NDArray[np.bool_] | None, shape: tuple[int, ...], window: Window) -> NDArray[np.bool_] | None:
    """Cut a window out of a mask (True = valid) of an image of `shape`; what lies beyond the border is False.

    None where all pixels of the window are valid.
    """
    cut = _drawn(np.ones(shape[-2:], dtype=np.bool_) if mask is None else mask, window)
    return None if cut.all() else cut


def segment_in(source: Source, window: Window) -> NDArray[np.bool_]:
    """Draw the footprint of a source into a window: ndarray, (height, width), bool."""
    y0, _, x0, _ = source.bbox
    return _drawn(source.segment, Window(window.y0 - y0, window.x0 - x0, window.height, window.width))


def shift_header(header: Mapping[str, Any], *, x: float, y: float) -> dict[str, Any]:
    """Copy the WCS of a FITS header with pixels counted from pixel (x, y) of the image.

    The plate solution of a digitised sky survey counts from CNPIX1 and CNPIX2, every other from CRPIX1 and CRPIX2.
    """
    moved = {**header, "CRPIX1": float(header.get("CRPIX1", 0)) - x, "CRPIX2": float(header.get("CRPIX2", 0)) - y}
    if "CNPIX1" in header and "CNPIX2" in header:
        moved |= {"CNPIX1": float(header["CNPIX1"]) + x, "CNPIX2": float(header["CNPIX2"]) + y}
    return moved


def _drawn(plane: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
    inside, place = _overlap(plane.shape, window)
    drawn = np.zeros((window.height, window.width), dtype=np.bool_)
    drawn[place] = plane[inside]
    return drawn


def _overlap(shape: tuple[int, ...], window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the image and of the window where the two meet; empty ones where they do not."""
    pairs = []
    for length, start, extent in zip(shape[-2:], window[:2], window[2:], strict=True):
        first, last = max(start, 0), min(start + extent, length)
        last = max(first, last)
        pairs.append((slice(first, last), slice(first - start, last - start)))
    (y_in, y_at), (x_in, x_at) = pairs
    return (y_in, x_in), (y_at, x_at)
