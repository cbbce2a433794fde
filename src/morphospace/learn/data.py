"""From a store, or any samples, to blocks of prepared images: all in memory when they fit, streamed when not."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphospace.errors import DataError, ShapeError
from morphospace.learn.prepare import Geometry, Preparation, Prepared, prepare_stack, turn_back
from morphospace.learn.views import Collated
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.sky.shape import measure_radii, measure_shapes
from morphospace.sky.stacks import Stack, mean_planes, stacks

__all__ = [
    "Data",
    "MemoryData",
    "StreamedData",
    "check_noise",
    "collate_stacks",
    "first_shape",
    "major_axes",
    "open_data",
    "pixels_per_output",
    "prepared_parts",
]

logger = logging.getLogger(__name__)
UNLABELLED = -1  # what Batch.label says of an image without a class, where others have one
# the rest is left to the network, the page cache and the user's other programs
MEMORY_SHARE = 0.4
# rows that are shuffled among each other: at most so many, of so many bytes together, but not fewer than the last
_POOL_ROWS, _POOL_BYTES, _LEAST_POOL_ROWS = 8192, 512 << 20, 512
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


Sampler = Callable[[int, torch.Generator], Tensor]


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

    def __init__(
        self, block: Collated, preparation: Preparation, *, pool: int = _POOL_ROWS, sampler: Sampler | None = None
    ) -> None:
        self._block = block
        self._pool = pool
        self._sampler = sampler
        self.preparation = preparation
        self.bands = block.x.shape[1]

    def __len__(self) -> int:
        return len(self._block.x)

    def rows(self, rows: Sequence[int] | Tensor) -> Collated:
        """Return chosen rows, in the order asked."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return Collated(*(None if t is None else t.index_select(0, index) for t in self._block))  # type: ignore[arg-type]

    def epoch(self, generator: torch.Generator, batch_size: int) -> Iterator[Collated]:
        """Yield full batches in random order."""
        for pool in _pools(_order(len(self), generator, self._pool, self._sampler), batch_size, self._pool):
            for rows in _batches(pool, generator, batch_size):
                yield self.rows(rows)


class StreamedData:
    """Images read as they are needed, in the order in which `MemoryData` would give them."""

    def __init__(
        self,
        source: Cutouts | Samples,
        preparation: Preparation,
        *,
        pool: int = _POOL_ROWS,
        sampler: Sampler | None = None,
    ) -> None:
        self._source = source
        self._pool = pool
        self._sampler = sampler
        self.preparation = preparation
        self.bands = first_shape(source)[0]

    def __len__(self) -> int:
        return len(self._source)

    def rows(self, rows: Sequence[int] | Tensor) -> Collated:
        """Return chosen rows, in the order asked."""
        return collate_stacks(stacks(self._source, [int(r) for r in rows]), self.preparation, count=len(rows))

    def epoch(self, generator: torch.Generator, batch_size: int) -> Iterator[Collated]:
        """Yield full batches; the next pool is read while the last is used."""
        pools = _pools(_order(len(self), generator, self._pool, self._sampler), batch_size, self._pool)
        with ThreadPoolExecutor(1) as reader:
            reading = reader.submit(self.rows, pools[0].sort().values) if pools else None
            for pool, following in itertools.zip_longest(pools, pools[1:]):
                if reading is None:  # without pools there is nothing to go through
                    return
                block = MemoryData(reading.result(), self.preparation)
                reading = None if following is None else reader.submit(self.rows, following.sort().values)
                ordered = pool.sort().values
                for rows in _batches(pool, generator, batch_size):
                    yield block.rows(torch.searchsorted(ordered, rows))


def _order(n: int, generator: torch.Generator, rows: int, sampler: Sampler | None) -> Tensor:
    if sampler is not None:
        order = torch.as_tensor(sampler(n, generator), dtype=torch.int64)
        if order.shape != (n,) or int(order.min()) < 0 or int(order.max()) >= n:
            msg = f"sampler must return {n} row numbers from 0 to {n - 1}; got shape {tuple(order.shape)}."
            raise ShapeError(msg)
        return order
    # neighbours are read together: a disk likes runs, training likes disorder; in memory the order is the same, so that
    # what comes out of a training does not depend on how much memory was free
    run = max(1, min(64, rows // 128))
    starts = torch.randperm(-(-n // run), generator=generator) * run
    order = (starts[:, None] + torch.arange(run)).flatten()
    return order[order < n]


def _pools(order: Tensor, batch_size: int, rows: int) -> list[Tensor]:
    size = max(batch_size, rows // batch_size * batch_size)
    return [order[i : i + size] for i in range(0, len(order) - batch_size + 1, size)]


def _batches(pool: Tensor, generator: torch.Generator, batch_size: int) -> list[Tensor]:
    order = pool[torch.randperm(len(pool), generator=generator)]
    return [order[i : i + batch_size] for i in range(0, len(pool) - batch_size + 1, batch_size)]


def first_shape(source: Cutouts | Samples) -> tuple[int, ...]:
    """Return the shape of the first image, (C, H, W) or (C, Z, H, W)."""
    return next(stacks(source, [0])).images.shape[1:]


class _Survey(NamedTuple):
    n_images: int
    quiet: list[str]  # ids whose sigma is 0 in some band
    image_bytes: int  # of a prepared image in the block, with its mask


def open_data(
    source: Cutouts | Samples,
    preparation: Preparation,
    *,
    memory_bytes: int | None = None,
    sampler: Sampler | None = None,
) -> Data:
    """Open a store or samples for training, in memory if they fit.

    Parameters
    ----------
    source : Cutouts or Samples
        What to train on.
    preparation : Preparation
        How they are brought to the network.
    memory_bytes : int, optional
        What the block may take; 40 % of the free memory if not given.
    sampler : callable, optional
        From the number of images and a generator to the rows of an epoch; see `Loop`.

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
    need = survey.n_images * survey.image_bytes
    limit = _free_memory() * MEMORY_SHARE if memory_bytes is None else memory_bytes
    pool = max(_LEAST_POOL_ROWS, min(_POOL_ROWS, _POOL_BYTES // survey.image_bytes))
    if need <= limit:
        block = collate_stacks(stacks(source), preparation, count=len(source))
        return MemoryData(block, preparation, pool=pool, sampler=sampler)
    logger.info("%.1f GB of prepared images do not fit in memory; they are streamed", need / 1e9)
    return StreamedData(source, preparation, pool=pool, sampler=sampler)


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


def collate_stacks(parts: Iterable[Stack], preparation: Preparation, *, count: int | None = None) -> Collated:
    """Prepare stacks and put them in one padded block, in the order given.

    Parameters
    ----------
    parts : iterable of Stack
        At least one image in all.
    preparation : Preparation
        What they go through.
    count : int, optional
        Number of all images; parts that are read as they are needed are then in memory once.
    """
    if count is None:
        parts = list(parts)
        count = sum(len(part.ids) for part in parts)
    x, mask = _Block(count), _Block(count)
    places: list[Tensor] = []
    shapes: list[Tensor] = []
    factors: list[Tensor] = []
    sigmas: list[Tensor] = []
    rows: list[NDArray[np.int64]] = []
    labels: list[NDArray[np.int64]] = []
    for place, numbers, prepared in prepared_parts(_noting_labels(parts, labels), preparation):
        if prepared.mask is not None:
            for earlier, shape in zip(places, shapes, strict=True) if mask.filled == 0 else ():
                mask.add(earlier, _full_mask(shape))
            mask.add(place, prepared.mask)
        places.append(place)
        shapes.append(torch.tensor(prepared.x.shape[-2:]).repeat(len(numbers), 1))
        if prepared.mask is None and mask.filled:
            mask.add(place, _full_mask(shapes[-1]))
        x.add(place, prepared.x)
        factors.append(prepared.factor)
        sigmas.append(prepared.sigma)
        rows.append(numbers)
    order = torch.cat(places).argsort()
    return Collated(
        x=x.images,
        mask=mask.images if mask.filled else None,
        shape=torch.cat(shapes)[order],
        factor=torch.cat(factors)[order],
        sigma=torch.cat(sigmas)[order],
        rows=torch.from_numpy(np.concatenate(rows))[order],
        label=_known_labels(labels),
    )


def _noting_labels(parts: Iterable[Stack], labels: list[NDArray[np.int64]]) -> Iterator[Stack]:
    for part in parts:
        labels.append(np.full(len(part.ids), UNLABELLED) if part.label is None else part.label)
        yield part


def _known_labels(labels: list[NDArray[np.int64]]) -> Tensor | None:
    joined = np.concatenate(labels)
    return None if (joined == UNLABELLED).all() else torch.from_numpy(joined)


class _Block:
    """Images of any sizes padded to one block, which is made once: a list beside it would double the memory."""

    def __init__(self, count: int) -> None:
        self.filled = 0
        self._end = 0  # one past the last row that has its image
        self._count = count
        self._block = torch.zeros(0)

    @property
    def images(self) -> Tensor:
        return self._block[: self.filled]

    def add(self, place: Tensor, images: Tensor) -> None:
        h, w = images.shape[-2:]
        if not self.filled:
            self._block = images.new_empty(self._count, *images.shape[1:])
        height, width = self._block.shape[-2:]
        if h > height or w > width:
            larger = images.new_zeros(self._count, *images.shape[1:-2], max(h, height), max(w, width))
            larger[..., :height, :width] = self._block
            self._block = larger
        first, last = int(place[0]), int(place[-1]) + 1
        where = slice(first, last) if last - first == len(place) else place
        if images.shape[-2:] != self._block.shape[-2:]:
            self._block[where] = 0.0
        self._block[where, ..., :h, :w] = images
        self.filled += len(images)


def prepared_parts(
    parts: Iterable[Stack], preparation: Preparation
) -> Iterator[tuple[Tensor, NDArray[np.int64], Prepared]]:
    """Prepare stacks, split where images of one shape are averaged by different whole factors.

    Yields
    ------
    tuple
        Places of the images among all, ascending; their row numbers; what became of them.
    """
    bands: int | None = None
    done = 0
    for stack in parts:
        planes = stack.images.shape[1]
        bands = bands or planes
        if planes != bands:
            msg = f"cutout '{stack.ids[0]}' has {planes} bands, those before it {bands}; train on one kind at a time."
            raise ShapeError(msg)
        scale = pixels_per_output(stack, preparation)
        whole = np.maximum(scale.astype(np.int64), 1)
        angle = major_axes(stack, preparation)
        factors = np.unique(whole)
        for factor in factors:
            # all of them are looked at, not copied
            chosen = slice(None) if len(factors) == 1 else np.flatnonzero(whole == factor)
            place = torch.arange(done, done + len(scale))[chosen]
            prepared = _prepare(stack, chosen, torch.from_numpy(scale[chosen]), preparation)
            if preparation.align:
                prepared = turn_back(prepared, torch.from_numpy(angle[chosen]), 2 * preparation.size)
            yield place, stack.rows[chosen], prepared
        done += len(scale)


def _prepare(stack: Stack, part: slice | NDArray[np.intp], scale: Tensor, preparation: Preparation) -> Prepared:
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


def pixels_per_output(stack: Stack, preparation: Preparation) -> NDArray[np.float64]:
    """Give for each image of a stack its pixels for one of the view's, (B,); see ``Geometry.pixels_per_output``.

    Parameters
    ----------
    stack : Stack
    preparation : Preparation
    """
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


def major_axes(stack: Stack, preparation: Preparation) -> NDArray[np.float64]:
    """Give for each image of a stack the direction of its major axis, (B,), radians from +x towards +y, -pi/2 to pi/2.

    Parameters
    ----------
    stack : Stack
    preparation : Preparation
        Without ``align``, and where nothing stands out, it is 0.
    """
    if not preparation.align:
        return np.zeros(len(stack.images))
    images, sigma = _whole(stack)
    found = measure_shapes(images, level=stack.level, sigma=sigma, mask=stack.mask, parts=preparation.parts)
    return np.nan_to_num(np.radians(found.pa_deg - 90.0), nan=0.0)


def _radii(stack: Stack, preparation: Preparation) -> NDArray[np.float64]:
    images, sigma = _whole(stack)
    return measure_radii(images, level=stack.level, sigma=sigma, mask=stack.mask, parts=preparation.parts)


def _whole(stack: Stack) -> tuple[NDArray[np.generic], NDArray[np.floating[Any]]]:
    """Give images (B, C, H, W) and their noise (B, C), of cubes the mean of the planes."""
    if stack.images.ndim == 5:
        return mean_planes(stack.images), stack.sigma / np.sqrt(stack.images.shape[2])
    return stack.images, stack.sigma


def _tensor(planes: NDArray[np.generic]) -> Tensor:
    # torch takes its machine's byte order only and computes with few unsigned types; the next wider one holds all values
    wide = {"uint16": np.int32, "uint32": np.int64, "uint64": np.float64, "float16": np.float32}.get(planes.dtype.name)
    array = np.require(planes, wide or planes.dtype.newbyteorder("="), ["C", "A"])
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        # pixels lie in Arrow's read-only memory; they are only ever read
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _full_mask(shape: Tensor) -> Tensor:
    h, w = shape[0].tolist()
    return torch.ones(len(shape), 1, h, w)


def _survey(source: Cutouts | Samples, preparation: Preparation) -> _Survey:
    quiet: list[str] = []
    side = 2 * preparation.size
    planes = height = width = 0
    bands: Counter[int] = Counter()
    first: dict[int, str] = {}
    for shape, sigma, name in _facts(source):
        bands[shape[0]] += 1
        first.setdefault(shape[0], name)
        # NaN means a blank image: in units of whatever noise it is background
        quiet += [name] if (sigma <= 0).any() else []
        planes = max(planes, math.prod(shape[:-2]))
        if preparation.align:  # squares that hold the whole image
            shape = (*shape[:-2], *[math.ceil(math.hypot(*shape[-2:]))] * 2)
        height, width = max(height, min(shape[-2], side)), max(width, min(shape[-1], side))
    if len(bands) > 1:
        kinds = ", ".join(f"{n:,} with {count} (the first is '{first[count]}')" for count, n in bands.most_common())
        msg = f"the cutouts differ in their number of bands: {kinds}; train on one kind: curate them apart, or cuts.keep(rows)."
        raise ShapeError(msg)
    return _Survey(len(source), quiet, (planes + 1) * height * width * 4)


def _facts(source: Cutouts | Samples) -> Iterator[tuple[tuple[int, ...], NDArray[np.float32], str]]:
    """Yield shape, sigma and id of each image, from a store without its pixels where it knows the noise."""
    unknown: list[int] = []
    if isinstance(source, Cutouts):
        table = source.table(["id", "shape", "sigma"])
        known = zip(table["shape"].to_pylist(), table["sigma"].to_pylist(), table["id"].to_pylist(), strict=True)
        for row, (shape, sigma, name) in enumerate(known):
            if sigma is None or not np.isfinite(sigma).all():
                unknown.append(row)
            else:
                yield tuple(shape), np.asarray(sigma, np.float32), name
    for stack in stacks(source, unknown) if isinstance(source, Cutouts) else stacks(source):
        for sigma, name in zip(stack.sigma, stack.ids, strict=True):
            yield stack.images.shape[1:], sigma, name


def _free_memory() -> float:
    """Bytes that may be used: what the system has available, within the limit of a container."""
    found = [4e9]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found = [float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])]
    with contextlib.suppress(OSError, ValueError):  # "max" is no limit
        found.append(float(_CGROUP_LIMIT.read_text(encoding="ascii")))
    return min(found)
