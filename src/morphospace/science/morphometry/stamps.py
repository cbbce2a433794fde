"""Stamps: the part of each image around its source, many of one size in a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Images", "Stamps", "cut_stamps"]

EXTENT = 2.5  # of the longer side of the segment's bounding box, the side of a stamp
SMALLEST = 48  # side of a stamp, pixels
OUTLIER_SIGMA = 10.0  # of its eight neighbours, by which a bad pixel differs from them
_BUCKET = 16  # sides are filled up to a multiple of this, so that stamps of many sizes share a tensor
_AT_ONCE = 512  # stamps in a tensor at most
_PIXELS = 2**22  # in a tensor at most


class Images(NamedTuple):
    """Images of one shape with what is known of their pixels.

    Attributes
    ----------
    planes : ndarray, (N, H, W), float
        Level-subtracted; finite where valid.
    valid : ndarray, (N, H, W), bool
    labels : ndarray, (N, H, W), int
        Segmentation; 0 is background.
    main : ndarray, (N,), int
        Label of the source that is measured; 0 where there is none.
    noise : ndarray, (N, 1, 1) or (N, H, W), float
        Sigma; NaN or 0 where unknown.
    """

    planes: NDArray[np.floating[Any]]
    valid: NDArray[np.bool_]
    labels: NDArray[np.integer[Any]]
    main: NDArray[np.int64]
    noise: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Stamps:
    """Stamps of B images in one tensor, each in the corner (0, 0), filled up with 0.

    Attributes
    ----------
    rows : ndarray, (B,), int
        Numbers of the images.
    image : Tensor, (B, S, S)
        Level-subtracted; 0 where masked or outside of the stamp.
    inside : Tensor, (B, S, S), bool
        Pixels of the stamp.
    masked : Tensor, (B, S, S), bool
        Pixels inside that do not count: other sources, not valid, and outliers.
    segment : Tensor, (B, S, S), bool
        Pixels of the source that count.
    blank : Tensor, (B, S, S), bool
        Valid pixels of no source.
    noise : Tensor, (B, 1, 1) or (B, S, S)
        Sigma of each pixel; NaN or 0 where unknown.
    height, width, x0, y0 : Tensor, (B,), int
        Size and place of each stamp in its image.
    """

    rows: NDArray[np.int64]
    image: Tensor
    inside: Tensor
    masked: Tensor
    segment: Tensor
    blank: Tensor
    noise: Tensor
    height: Tensor
    width: Tensor
    x0: Tensor
    y0: Tensor


def cut_stamps(images: Images, *, dtype: torch.dtype, device: torch.device) -> Iterator[Stamps]:
    """Cut the stamps of images that have a source.

    Parameters
    ----------
    images : Images
        Those with ``main`` 0, or a segment without a pixel, are left out.
    dtype, device
        Of the tensors.

    Yields
    ------
    Stamps
        Together every image with a source once; those of like size together.

    Notes
    -----
    Conventions of statmorph (Rodriguez-Gomez+ 2019, sect. 4): a square of 2.5 times the bounding box, at least 48
    pixels; pixels that differ by more than 10 sigma from their eight neighbours are masked (Lotz+ 2004, sect. 3.1).
    """
    rows = np.flatnonzero(images.main > 0)
    own = images.labels[rows] == images.main[rows, None, None]
    rows, own = rows[own.any((1, 2))], own[own.any((1, 2))]
    if not len(rows):
        return
    bounds = np.stack([*_window(own.any(2)), *_window(own.any(1))], 1)  # y0, y1, x0, x1 of the boxes
    sides = (bounds[:, 1] - bounds[:, 0], bounds[:, 3] - bounds[:, 2])
    reach = np.maximum((np.maximum(*sides) * EXTENT / 2).astype(np.int64), SMALLEST // 2)
    for axis, side in enumerate(images.planes.shape[1:]):
        middle = bounds[:, 2 * axis] + sides[axis] // 2
        bounds[:, 2 * axis] = np.maximum(middle - reach, 0)
        bounds[:, 2 * axis + 1] = np.minimum(middle + reach, side)
    longest = np.maximum(bounds[:, 1] - bounds[:, 0], bounds[:, 3] - bounds[:, 2])
    bucket = -(-longest // _BUCKET) * _BUCKET
    for size in np.unique(bucket):
        of_size = np.flatnonzero(bucket == size)
        step = int(np.clip(_PIXELS // size**2, 1, _AT_ONCE))
        for start in range(0, len(of_size), step):
            some = of_size[start : start + step]
            yield _stack(images, rows[some], bounds[some], int(size), _Place(dtype, device))


def _window(present: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last-plus-one True of each row."""
    return present.argmax(1), present.shape[1] - present[:, ::-1].argmax(1)


class _Place(NamedTuple):
    dtype: torch.dtype
    device: torch.device


def _stack(images: Images, rows: NDArray[np.int64], bounds: NDArray[np.int64], size: int, place: _Place) -> Stamps:
    """Put the windows `bounds` of some images into one tensor."""
    y0, y1, x0, x1 = bounds.T
    at = np.arange(-1, size + 1)
    y, x = y0[:, None] + at, x0[:, None] + at
    # a border of one pixel, and whatever fills the tensor, repeats the edge of the stamp
    row, column = (np.clip(v, low[:, None], high[:, None] - 1) for v, low, high in ((y, y0, y1), (x, x0, x1)))
    index = (rows[:, None, None], row[:, :, None], column[:, None, :])
    inside = ((y < y1[:, None])[:, :, None] & (x < x1[:, None])[:, None, :])[:, 1:-1, 1:-1]
    valid = images.valid[index]
    with np.errstate(invalid="ignore"):
        plane = np.where(valid, images.planes[index], 0).astype(np.float64)
    core = (slice(None), slice(1, -1), slice(1, -1))
    labels, own = images.labels[index][core], images.main[rows, None, None]
    masked = inside & (((labels != 0) & (labels != own)) | ~valid[core] | _outliers(plane))
    noise = images.noise[rows] if images.noise.shape[1:] == (1, 1) else images.noise[index][core]

    def tensor(values: NDArray[Any], dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=dtype).to(place.device)

    good = inside & ~masked
    return Stamps(
        rows=rows,
        image=tensor(np.where(good, plane[core], 0), place.dtype),
        inside=tensor(inside),
        masked=tensor(masked),
        segment=tensor(good & (labels == own)),
        blank=tensor(inside & (labels == 0) & valid[core]),
        noise=tensor(noise, place.dtype),
        height=tensor(y1 - y0),
        width=tensor(x1 - x0),
        x0=tensor(x0),
        y0=tensor(y0),
    )


def _outliers(plane: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find pixels far from their eight neighbours, (B, S + 2, S + 2) to (B, S, S)."""
    centre = plane[:, 1:-1, 1:-1]

    def neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
        return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - values[:, 1:-1, 1:-1]) / 8

    mean = neighbours(plane)
    variance = neighbours(plane**2) - mean**2
    return np.asarray((centre - mean) ** 2 > OUTLIER_SIGMA**2 * variance.clip(min=0))
