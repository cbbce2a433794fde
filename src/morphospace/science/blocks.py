"""Blocks of planes of one shape, gathered from stores of mixed sizes; what comes of them is in the order of the rows again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from morphospace.science.morphometry.planes import Plane, read_planes
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Sample, Samples

__all__ = ["Limits", "by_blocks"]


class Limits(NamedTuple):
    """Most rows and pixels in a block, and in the window from which blocks are gathered; a larger plane goes alone."""

    rows: int
    pixels: int
    window_rows: int = 4096
    window_pixels: int = 2**24


class _Rest:
    """Samples from one row on."""

    def __init__(self, data: Samples, first: int) -> None:
        self.data, self.first = data, first

    def __len__(self) -> int:
        return len(self.data) - self.first

    def __getitem__(self, index: int, /) -> Sample:
        return self.data[self.first + index]


def by_blocks(
    data: Cutouts | Samples,
    band: str | int | None,
    work: Callable[[Iterable[list[Plane]]], Iterable[pa.Table]],
    *,
    first: int = 0,
    limits: Limits,
    seen: Callable[[int], object],
) -> Iterator[pa.Table]:
    """Turn planes into rows of a table, many of one shape at a time.

    Parameters
    ----------
    data : Cutouts or Samples
    band : str or int, optional
        As of `read_planes`.
    work : callable
        From blocks of planes of one shape to a table with a row for each plane, blocks in their order.
    first : int
        Row to begin with. The last digits of a figure may depend on what went with it in a block: begin where a window did.
    limits : Limits
    seen : callable
        Told the number of rows of each block that is done.

    Yields
    ------
    pyarrow.Table
        The rows of one window, in the order of the data.
    """
    places: deque[tuple[int, list[int]]] = deque()  # of the blocks under way: rows in the window, and which of them

    def blocks() -> Iterator[list[Plane]]:
        for window in _windows(read_planes(_from_row(data, first), band), limits):
            for rows in _same_shape(window, limits):
                places.append((len(window), rows))
                yield [window[row] for row in rows]

    found: list[pa.Table] = []
    order: list[int] = []
    for table in work(blocks()):
        n_window, rows = places.popleft()
        found.append(table)
        order.extend(rows)
        seen(len(rows))
        if len(order) == n_window:
            yield pa.concat_tables(found).take(np.argsort(order))
            found, order = [], []


def _from_row(data: Cutouts | Samples, first: int) -> Cutouts | Samples:
    if not first:
        return data
    return data.keep(np.arange(first, len(data))) if isinstance(data, Cutouts) else _Rest(data, first)


def _windows(planes: Iterator[Plane], limits: Limits) -> Iterator[list[Plane]]:
    window: list[Plane] = []
    pixels = 0
    for plane in planes:
        if window and (len(window) >= limits.window_rows or pixels + plane.image.size > limits.window_pixels):
            yield window
            window, pixels = [], 0
        window.append(plane)
        pixels += plane.image.size
    if window:
        yield window


def _same_shape(window: list[Plane], limits: Limits) -> Iterator[list[int]]:
    """Cut a window into blocks: the rows of each."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for row, plane in enumerate(window):
        shapes.setdefault(plane.image.shape, []).append(row)
    for (height, width), rows in shapes.items():
        most = min(limits.rows, max(1, limits.pixels // (height * width)))
        for start in range(0, len(rows), most):
            yield rows[start : start + most]
