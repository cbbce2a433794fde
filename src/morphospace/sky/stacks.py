"""Stacks: images of one shape from a store or from samples, together with what is known of their noise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace.errors import DataError, ShapeError
from morphospace.sky.cutouts import Cutout, Cutouts, decode_images, decode_masks
from morphospace.sky.noise import estimate_noise
from morphospace.sky.samples import Sample, Samples

__all__ = ["COLUMNS", "Stack", "batch_stacks", "mean_planes", "sample_stack", "stacks"]

# what training and embedding read of a store, beside the pixels
COLUMNS = ("id", "image", "dtype", "shape", "mask", "level", "sigma", "pixel_scale_arcsec", "beam")


_LONGEST = 256  # rows read one by one are not copied all at once


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
    label: NDArray[np.int64] | None = None  # (B,), of samples that bring a whole number


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
            yield from _cutout_stacks(rows, data.read(rows))
    else:
        for row in range(len(data)) if rows is None else rows:
            yield sample_stack(data[int(row)], row)


def _cutout_stacks(rows: Sequence[int], cutouts: list[Cutout]) -> Iterator[Stack]:
    start = 0
    for stop in range(1, len(cutouts) + 1):
        first = cutouts[start]
        full = stop - start == _LONGEST
        if stop < len(cutouts) and not full and _alike(cutouts[stop].image, first.image):
            continue
        part = cutouts[start:stop]
        images = np.stack([c.image for c in part])
        mask = None
        if any(c.mask is not None for c in part):
            mask = np.stack([np.ones(images.shape[-2:], dtype=bool) if c.mask is None else c.mask for c in part])
        level, sigma = ([np.asarray(getattr(c, n), np.float32) for c in part] for n in ("level", "sigma"))
        levels, sigmas = _noise_of(level, sigma, images, mask)
        yield Stack(
            rows=np.asarray(rows[start:stop], np.int64),
            images=images,
            mask=mask,
            level=levels,
            sigma=sigmas,
            pixel_scale_arcsec=np.array([c.pixel_scale_arcsec for c in part]),
            beam_arcsec=np.array([_beam_size(c.beam) for c in part]),
            ids=[c.id for c in part],
        )
        start = stop


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
        if stop < len(images) and _alike(images[stop], first):
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
        If there is no image or no id, or the pixels are no real numbers.
    ShapeError
        If the image is not (C, H, W) or (C, Z, H, W), or the mask, level or sigma do not fit it.
    """
    try:
        image, name = np.asarray(sample["image"]), str(sample["id"])
    except (KeyError, TypeError):
        msg = f"sample {row} must be a dict with 'image' (C, H, W) and 'id'; got {type(sample).__name__}."
        raise DataError(msg) from None
    if image.ndim not in (3, 4) or not image.size:
        msg = f"image of sample '{name}' must be (C, H, W) or (C, Z, H, W); got {image.shape}. Add the band axis."
        raise ShapeError(msg)
    if image.dtype.kind not in "buif":
        msg = f"image of sample '{name}' must hold integers or floats; got {image.dtype}."
        raise DataError(msg)
    given = sample.get("mask")
    mask = None if given is None else np.asarray(given, dtype=bool)
    if mask is not None and mask.shape != image.shape[-2:]:
        msg = f"mask of sample '{name}' must be (H, W) = {image.shape[-2:]}; got {mask.shape}."
        raise ShapeError(msg)
    images, masks = image[None], None if mask is None else mask[None]
    known = [_given_noise(sample, "level", len(image))], [_given_noise(sample, "sigma", len(image))]
    level, sigma = _noise_of(*known, images, masks)
    return Stack(
        rows=np.array([row]),
        images=images,
        mask=masks,
        level=level,
        sigma=sigma,
        pixel_scale_arcsec=np.array([sample.get("pixel_scale_arcsec", np.nan)], dtype=np.float64),
        beam_arcsec=np.array([_beam_size(sample.get("beam"))]),
        ids=[name],
        label=_label(sample),
    )


def _label(sample: Sample) -> NDArray[np.int64] | None:
    given = sample.get("label")
    # classes may also be words, which a probe can read but no tensor can hold
    is_number = isinstance(given, int | np.integer) and not isinstance(given, bool)
    return np.array([given], dtype=np.int64) if is_number else None


def mean_planes(cubes: NDArray[Any]) -> NDArray[Any]:
    """Average spectral cubes over their planes: what a cube looks like as an image.

    Parameters
    ----------
    cubes : ndarray, (..., Z, H, W)
        NaN and infinite pixels are left out; NaN where a pixel has no valid plane.
    """
    valid = np.isfinite(cubes)
    n_valid = valid.sum(axis=-3)
    total = np.where(valid, cubes, 0).sum(axis=-3)
    return np.where(n_valid > 0, total / np.maximum(n_valid, 1), np.nan)


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


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
    # unknown is measured, also where a store or a sample says so with NaN
    bands = images.shape[1]
    unknown = np.full(bands, np.nan, np.float32)
    levels, sigmas = (np.stack([v if len(v) == bands else unknown for v in values]) for values in (level, sigma))
    for i in np.flatnonzero(~(np.isfinite(levels) & np.isfinite(sigmas)).all(axis=1)):
        levels[i], sigmas[i] = _measured(images[i], None if mask is None else mask[i])
    return levels, sigmas


def _measured(image: NDArray[Any], mask: NDArray[np.bool_] | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if image.ndim == 4:  # all planes of a band at once
        mask = None if mask is None else np.tile(mask, (image.shape[1], 1))
        image = image.reshape(len(image), -1, image.shape[-1])
    return estimate_noise(image, mask)


def _given_noise(sample: Sample, name: Literal["level", "sigma"], bands: int) -> NDArray[np.float32]:
    value = sample.get(name)
    given = np.atleast_1d(np.asarray([] if value is None else value, np.float32))
    if len(given) not in (0, 1, bands) or given.ndim > 1:
        msg = (
            f"{name} of sample '{sample['id']}' must have one value for each of {bands} bands; got shape {given.shape}."
        )
        raise ShapeError(msg)
    return np.repeat(given, bands) if len(given) == 1 else given


def _beam_size(beam: object) -> float:
    if not isinstance(beam, Sequence) or len(beam) < 2 or beam[0] is None or beam[1] is None:
        return float("nan")
    return float(np.sqrt(float(beam[0]) * float(beam[1])))
