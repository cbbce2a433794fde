"""Stacks: images of one shape from a store or from samples, together with what is known of their noise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace.errors import DataError, ShapeError
from morphospace.sky.cutouts import Cutouts, decode_images, decode_masks
from morphospace.sky.noise import estimate_noise
from morphospace.sky.samples import Sample, Samples

__all__ = ["COLUMNS", "Stack", "batch_stacks", "sample_stack", "stacks"]

# what training and embedding read of a store, beside the pixels
COLUMNS = ("id", "image", "dtype", "shape", "mask", "level", "sigma", "pixel_scale_arcsec", "beam")


class Stack(NamedTuple):
    """Images of one shape and type; B may be 1."""

    rows: NDArray[np.int64]  # (B,), row numbers of the data
    images: NDArray[Any]  # (B, C, H, W) or (B, C, Z, H, W), native
    mask: NDArray[np.bool_] | None  # (B, H, W), True = valid
    level: NDArray[np.float32]  # (B, C)
    sigma: NDArray[np.float32]  # (B, C)
    pixel_scale_arcsec: NDArray[np.float64]  # (B,), NaN when unknown
    beam_arcsec: NDArray[np.float64]  # (B,), geometric mean of the axes, NaN when unknown
    ids: list[str]


def stacks(data: Cutouts | Samples, rows: Sequence[int] | None = None) -> Iterator[Stack]:
    """Read images in stacks of one shape, in row order where all of `data` is read.

    Parameters
    ----------
    data : Cutouts or Samples
        A store, or anything with a length that gives samples by number.
    rows : sequence of int, optional
        Rows to read; all when None.
    """
    if isinstance(data, Cutouts):
        if rows is None:
            start = 0
            for batch in data.chunks(list(COLUMNS)):
                yield from batch_stacks(batch, np.arange(start, start + batch.num_rows))
                start += batch.num_rows
        else:
            for row, cutout in zip(rows, data.read(rows), strict=True):
                sample = Sample(
                    image=cutout.image,
                    id=cutout.id,
                    mask=cutout.mask,
                    level=np.asarray(cutout.level, np.float32),
                    sigma=np.asarray(cutout.sigma, np.float32),
                    pixel_scale_arcsec=cutout.pixel_scale_arcsec,
                    beam=cutout.beam,
                )
                yield sample_stack(sample, row)
    else:
        for row in range(len(data)) if rows is None else rows:
            yield sample_stack(data[int(row)], row)


def batch_stacks(batch: pa.RecordBatch, rows: NDArray[np.int64]) -> Iterator[Stack]:
    """Split a record batch of the store in stacks of neighbouring rows of one shape and type.

    Parameters
    ----------
    batch : RecordBatch
        With the columns of `COLUMNS`.
    rows : ndarray, (n,), int64
        Number of each row.
    """
    images = decode_images(batch)
    masks = decode_masks(batch)
    ids = batch.column("id").to_pylist()
    level, sigma = (_bands(batch.column(name)) for name in ("level", "sigma"))
    pixel = np.asarray(batch.column("pixel_scale_arcsec").to_numpy(zero_copy_only=False), dtype=np.float64)
    beam = [_beam_size(b) for b in batch.column("beam").to_pylist()]
    start = 0
    for stop in range(1, len(images) + 1):
        first = images[start]
        if stop < len(images) and images[stop].shape == first.shape and images[stop].dtype == first.dtype:
            continue
        part = slice(start, stop)
        stacked = _joined(images[part])
        some = any(m is not None for m in masks[part])
        full = np.ones(first.shape[-2:], dtype=bool)
        mask = np.stack([full if m is None else m for m in masks[part]]) if some else None
        levels, sigmas = _noise_of(level[part], sigma[part], stacked, mask)
        yield Stack(
            rows=rows[part],
            images=stacked,
            mask=mask,
            level=levels,
            sigma=sigmas,
            pixel_scale_arcsec=pixel[part],
            beam_arcsec=np.asarray(beam[part]),
            ids=ids[part],
        )
        start = stop


def sample_stack(sample: Sample, row: int) -> Stack:
    """Make a stack of one sample; level and sigma are measured when it does not bring them.

    Raises
    ------
    DataError
        If there is no image or no id.
    ShapeError
        If the image is not (C, H, W) or (C, Z, H, W).
    """
    try:
        image, name = np.asarray(sample["image"]), str(sample["id"])
    except (KeyError, TypeError):
        msg = f"sample {row} must be a dict with 'image' (C, H, W) and 'id'; got {type(sample).__name__}."
        raise DataError(msg) from None
    if image.ndim not in (3, 4):
        msg = f"image of sample '{name}' must be (C, H, W) or (C, Z, H, W); got {image.shape}. Add the band axis."
        raise ShapeError(msg)
    mask = sample.get("mask")
    level, sigma = sample.get("level"), sample.get("sigma")
    if level is None or sigma is None or len(level) == 0 or len(sigma) == 0:
        planes = image if image.ndim == 3 else image.reshape(len(image), -1, image.shape[-1])
        level, sigma = estimate_noise(planes, mask if image.ndim == 3 else None)
    return Stack(
        rows=np.array([row]),
        images=image[None],
        mask=None if mask is None else np.asarray(mask, dtype=bool)[None],
        level=np.asarray(level, np.float32)[None],
        sigma=np.asarray(sigma, np.float32)[None],
        pixel_scale_arcsec=np.array([sample.get("pixel_scale_arcsec", np.nan)], dtype=np.float64),
        beam_arcsec=np.array([_beam_size(sample.get("beam"))]),
        ids=[name],
    )


def _joined(images: list[NDArray[Any]]) -> NDArray[Any]:
    # images that lie behind one another in one Arrow buffer are looked at as one array, without a copy
    first = images[0]
    step = first.nbytes
    address = first.__array_interface__["data"][0]
    together = all(im.__array_interface__["data"][0] == address + i * step for i, im in enumerate(images))
    if together and first.flags.c_contiguous and len(images) > 1 and first.base is not None:
        shape, strides = (len(images), *first.shape), (step, *first.strides)
        return np.lib.stride_tricks.as_strided(first, shape, strides, writeable=False)
    return np.stack(images)


def _bands(column: pa.Array) -> list[NDArray[np.float32]]:
    values = np.asarray(column.values.to_numpy(zero_copy_only=False), dtype=np.float32)
    ends = np.asarray(column.offsets)
    return [values[a:b] for a, b in itertools.pairwise(ends)]


def _noise_of(
    level: list[NDArray[np.float32]],
    sigma: list[NDArray[np.float32]],
    images: NDArray[Any],
    mask: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    bands = images.shape[1]
    if all(len(a) == len(b) == bands for a, b in zip(level, sigma, strict=True)):
        return np.stack(level), np.stack(sigma)
    found = [estimate_noise(im, None if mask is None else mask[i]) for i, im in enumerate(images)]
    return np.stack([n.level for n in found]), np.stack([n.sigma for n in found])


def _beam_size(beam: object) -> float:
    if not isinstance(beam, Sequence) or len(beam) < 2 or beam[0] is None or beam[1] is None:
        return float("nan")
    return float(np.sqrt(float(beam[0]) * float(beam[1])))
