"""From a store, or any samples, to blocks of prepared images: all in memory when they fit, streamed when not."""

from __future__ import annotations

import itertools
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphospace.errors import DataError, ShapeError
from morphospace.learn.prepare import Geometry, Preparation, Prepared, prepare_stack
from morphospace.learn.views import Collated, pad_block
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.sky.shape import measure_shapes
from morphospace.sky.stacks import Stack, stacks

__all__ = [
    "Data",
    "MemoryData",
    "StreamedData",
    "check_noise",
    "collate_stacks",
    "first_shape",
    "open_data",
    "prepared_parts",
]

logger = logging.getLogger(__name__)
# the rest is left to the network, the page cache and the user's other programs
MEMORY_SHARE = 0.4
_POOL = 8192


class Data(Protocol):
    """What the loop needs of a data set."""

    bands: int
    preparation: Preparation

    def __len__(self) -> int: ...

    def epoch(self, generator: torch.Generator, batch_size: int) -> Iterator[Collated]:
        """Yield the full batches of one epoch, in an order that depends on the generator only."""

    def rows(self, rows: Sequence[int]) -> Collated:
        """Return chosen rows, in the order asked."""


class MemoryData:
    """All prepared images in one block of memory."""

    def __init__(self, block: Collated, preparation: Preparation) -> None:
        self._block = block
        self.preparation = preparation
        self.bands = block.x.shape[1]

    def __len__(self) -> int:
        return len(self._block.x)

    def rows(self, rows: Sequence[int] | Tensor) -> Collated:
        """Return chosen rows, in the order asked."""
        index = torch.as_tensor(rows)
        return Collated(*(None if t is None else t.index_select(0, index) for t in self._block))  # type: ignore[arg-type]

    def epoch(self, generator: torch.Generator, batch_size: int) -> Iterator[Collated]:
        """Yield full batches in random order."""
        order = torch.randperm(len(self), generator=generator)
        for start in range(0, len(self) - batch_size + 1, batch_size):
            yield self.rows(order[start : start + batch_size])


class StreamedData:
    """Images read as they are needed: random groups of rows into a pool, random batches out of it."""

    def __init__(self, cutouts: Cutouts | Samples, preparation: Preparation, bands: int, *, pool: int = _POOL) -> None:
        self._source = cutouts
        self._pool = pool
        self.preparation = preparation
        self.bands = bands

    def __len__(self) -> int:
        return len(self._source)

    def rows(self, rows: Sequence[int] | Tensor) -> Collated:
        """Return chosen rows, in the order asked."""
        return collate_stacks(stacks(self._source, [int(r) for r in rows]), self.preparation)

    def epoch(self, generator: torch.Generator, batch_size: int) -> Iterator[Collated]:
        """Yield full batches; the next pool is read while the last is used."""
        pools = self._plan(generator, batch_size)
        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(self.rows, np.sort(pools[0]).tolist()) if pools else None
            for i in range(len(pools)):
                if following is None:
                    return
                pool = MemoryData(following.result(), self.preparation)
                following = reader.submit(self.rows, np.sort(pools[i + 1]).tolist()) if i + 1 < len(pools) else None
                yield from pool.epoch(generator, batch_size)

    def _plan(self, generator: torch.Generator, batch_size: int) -> list[NDArray[np.int64]]:
        # groups of 64 neighbours are read together: a disk likes runs, training likes disorder
        n = len(self)
        starts = torch.randperm((n + 63) // 64, generator=generator).numpy() * 64
        order = np.concatenate([np.arange(s, min(s + 64, n)) for s in starts])
        size = max(batch_size, self._pool // batch_size * batch_size)
        pools = [order[i : i + size] for i in range(0, n, size)]
        return [p for p in pools if len(p) >= batch_size]


def first_shape(source: Cutouts | Samples) -> tuple[int, ...]:
    """Return the shape of the first image, (C, H, W) or (C, Z, H, W)."""
    return next(stacks(source, [0])).images.shape[1:]


class _Survey(NamedTuple):
    n_images: int
    bands: int
    quiet: list[str]  # ids whose sigma is 0 in some band
    largest: int  # pixels of the largest prepared image


def open_data(source: Cutouts | Samples, preparation: Preparation, *, memory_bytes: int | None = None) -> Data:
    """Open a store or samples for training, in memory if they fit.

    Parameters
    ----------
    source : Cutouts or Samples
        What to train on.
    preparation : Preparation
        How they are brought to the network.
    memory_bytes : int, optional
        What the block may take; 40 % of the free memory if not given.

    Returns
    -------
    Data
        With its ``preparation``.

    Raises
    ------
    DataError
        If there is nothing in it, if noise units mean nothing for it, or if a scale needs what an image lacks.
    ShapeError
        If the images differ in their number of bands.
    """
    if len(source) == 0:
        msg = "there are no cutouts to train on; see the report of curate for what was left out and why."
        raise DataError(msg)
    survey = _survey(source, preparation)
    check_noise(preparation, survey.quiet, survey.n_images)
    need = survey.n_images * survey.bands * survey.largest * 4
    limit = _free_memory() * MEMORY_SHARE if memory_bytes is None else memory_bytes
    if need <= limit:
        return MemoryData(collate_stacks(stacks(source), preparation), preparation)
    logger.info("%.1f GB of prepared images do not fit in memory; they are streamed", need / 1e9)
    return StreamedData(source, preparation, survey.bands)


def check_noise(preparation: Preparation, quiet: Sequence[str], count: int) -> None:
    """Refuse noise units where an image has no noise.

    Parameters
    ----------
    preparation : Preparation
        As asked.
    quiet : sequence of str
        Ids of images without noise (sigma 0).
    count : int
        Number of all images.

    Raises
    ------
    DataError
        If units are ``noise`` and `quiet` is not empty.
    """
    if preparation.units == "noise" and quiet:
        msg = (
            f"units='noise' needs a noise level, but {len(quiet)} of {count} images have sigma 0 (masked, already clipped "
            f"or a picture; the first is '{quiet[0]}'). Use units='range', or drop those rows with cuts.keep(...)."
        )
        raise DataError(msg)


def collate_stacks(parts: Iterable[Stack], preparation: Preparation) -> Collated:
    """Prepare stacks and put them in one padded block, in the order given."""
    images: list[Tensor] = []
    masks: list[Tensor | None] = []
    factors: list[Tensor] = []
    sigmas: list[Tensor] = []
    rows: list[NDArray[np.int64]] = []
    for numbers, prepared in prepared_parts(parts, preparation):
        images.append(prepared.x)
        masks.append(prepared.mask)
        factors.append(prepared.factor)
        sigmas.append(prepared.sigma)
        rows.append(numbers)
    shape = torch.cat([torch.tensor(im.shape[-2:]).repeat(len(im), 1) for im in images])
    mask = None
    if any(m is not None for m in masks):
        mask = _blocked([_full_mask(im) if m is None else m for im, m in zip(images, masks, strict=True)])
    return Collated(
        x=_blocked(images),
        mask=mask,
        shape=shape,
        factor=torch.cat(factors),
        sigma=torch.cat(sigmas),
        rows=torch.from_numpy(np.concatenate(rows)),
    )


def prepared_parts(parts: Iterable[Stack], preparation: Preparation) -> Iterator[tuple[NDArray[np.int64], Prepared]]:
    """Prepare stacks, split where images of one shape are averaged by different whole factors."""
    bands: int | None = None
    for stack in parts:
        planes = stack.images.shape[1]
        bands = bands or planes
        if planes != bands:
            msg = f"cutout '{stack.ids[0]}' has {planes} bands, those before it {bands}; train on one kind at a time."
            raise ShapeError(msg)
        scale = _scales(stack, preparation)
        whole = np.maximum(scale.astype(np.int64), 1)
        cuts = [0, *(np.flatnonzero(np.diff(whole)) + 1).tolist(), len(scale)]
        for start, stop in itertools.pairwise(cuts):
            part = slice(start, stop)
            yield stack.rows[part], _prepare(stack, part, torch.from_numpy(scale[part]), preparation)


def _prepare(stack: Stack, part: slice, scale: Tensor, preparation: Preparation) -> Prepared:
    images = stack.images[part]
    cube = images.shape[1:3] if images.ndim == 5 else None
    planes = images.reshape(len(images), -1, *images.shape[-2:])
    repeat = planes.shape[1] // stack.level.shape[1]
    noise = (
        torch.from_numpy(np.repeat(stack.level[part], repeat, axis=1)),
        torch.from_numpy(np.repeat(stack.sigma[part], repeat, axis=1)),
    )
    mask = None if stack.mask is None else torch.from_numpy(stack.mask[part])
    prepared = prepare_stack(_tensor(planes), mask, noise, scale, preparation)
    if cube is None:
        return prepared
    n = len(prepared.x)
    x = prepared.x.reshape(n, *cube, *prepared.x.shape[-2:])  # (B, C, Z, H, W)
    return prepared._replace(x=x, sigma=prepared.sigma.reshape(n, *cube)[:, :, 0])


def _scales(stack: Stack, preparation: Preparation) -> NDArray[np.float64]:
    h, w = stack.images.shape[-2:]
    if preparation.scale in ("pixel", "image"):
        return np.full(len(stack.images), Geometry(h, w).pixels_per_output(preparation, stack.ids[0]))
    radius = np.full(len(stack.images), np.nan)
    if preparation.scale == "object":
        radius = _radii(stack, preparation)
    known = zip(stack.pixel_scale_arcsec, stack.beam_arcsec, radius, stack.ids, strict=True)
    return np.array(
        [Geometry(h, w, float(p), float(b), float(r)).pixels_per_output(preparation, name) for p, b, r, name in known]
    )


def _radii(stack: Stack, preparation: Preparation) -> NDArray[np.float64]:
    images = stack.images
    if images.ndim == 5:  # a cube is as large as the sum of its planes
        images = np.nansum(images, axis=2)
    shapes = measure_shapes(images, level=stack.level, sigma=stack.sigma, mask=stack.mask, parts=preparation.parts)
    return shapes.r90


def _tensor(planes: NDArray[np.generic]) -> Tensor:
    # torch computes with few unsigned types; the next wider signed one holds all values
    wide = {"uint16": np.int32, "uint32": np.int64, "float16": np.float32}.get(planes.dtype.name)
    array = planes if wide is None else planes.astype(wide)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        # pixels lie in Arrow's read-only memory; they are only ever read
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _blocked(parts: list[Tensor]) -> Tensor:
    if len({p.shape[1:] for p in parts}) == 1:
        return torch.cat(parts)
    return pad_block([image for p in parts for image in p])


def _full_mask(images: Tensor) -> Tensor:
    return torch.ones(len(images), 1, *images.shape[-2:])


def _survey(source: Cutouts | Samples, preparation: Preparation) -> _Survey:
    count = largest = bands = 0
    quiet: list[str] = []
    side = 2 * preparation.size + 1
    for stack in _light_stacks(source):
        count += len(stack.ids)
        quiet += [n for n, s in zip(stack.ids, stack.sigma, strict=True) if not (s > 0).all()]
        planes = int(np.prod(stack.images.shape[1:-2]))
        bands = bands or planes
        largest = max(largest, min(stack.images.shape[-2], side) * min(stack.images.shape[-1], side))
    return _Survey(count, bands, quiet, largest)


def _light_stacks(source: Cutouts | Samples) -> Iterator[Stack]:
    if not isinstance(source, Cutouts):
        yield from stacks(source)
        return
    table = source.table(["id", "shape", "dtype", "sigma"])
    for row in table.to_pylist():
        # a picture of the row's shape that takes no memory
        image = np.broadcast_to(np.zeros((), dtype=row["dtype"]), (1, *row["shape"]))
        none = np.full((1, 1), np.nan, np.float32)
        sigma = np.asarray([row["sigma"]], np.float32)
        yield Stack(np.zeros(1, np.int64), image, None, none, sigma, none[0], none[0], [row["id"]])


def _free_memory() -> float:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return 4e9
