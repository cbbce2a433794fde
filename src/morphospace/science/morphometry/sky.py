"""The background beside a source: a square free of sources, and what it does to the measures."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphospace.science.morphometry.filters import box_smoothed
from morphospace.science.morphometry.stamps import Stamps

__all__ = ["Sky", "find_sky", "sky_smoothness"]

_LARGEST = 32  # side of the square, pixels; halved until one fits
_SMALLEST = 2


class Sky(NamedTuple):
    """The background of B stamps.

    Attributes
    ----------
    mean, median, sigma : Tensor, (B,)
        Of the pixels of the square; NaN where there is none.
    asymmetry : Tensor, (B,)
        Mean absolute difference of the square and itself turned by 180 degrees; NaN where there is none.
    boxes : list of (Tensor, Tensor)
        Numbers of the stamps and their squares (n, side, side), for each side.
    """

    mean: Tensor
    median: Tensor
    sigma: Tensor
    asymmetry: Tensor
    boxes: list[tuple[Tensor, Tensor]]


def find_sky(stamps: Stamps) -> Sky:
    """Find the first square free of sources, row by row, of 32 pixels or half of that as often as needed.

    Notes
    -----
    Convention of statmorph (Rodriguez-Gomez+ 2019, sect. 4.2): 'skybox'.
    """
    n = len(stamps.image)
    mean, median, sigma, asymmetry = stamps.image.new_full((4, n), torch.nan)
    covered = torch.nn.functional.pad((~stamps.blank).to(torch.int32).cumsum(1).cumsum(2), (1, 0, 1, 0))
    rows = torch.arange(n, device=stamps.image.device)
    boxes = []
    side = _LARGEST
    while side >= _SMALLEST and len(rows):
        place = _first_free(covered[rows], side, stamps.height[rows], stamps.width[rows])
        found = place >= 0
        if found.any():
            some, (row, column) = (
                rows[found],
                (place[found, None] // covered.shape[2], place[found, None] % covered.shape[2]),
            )
            at = torch.arange(side, device=rows.device)
            box = stamps.image[some[:, None, None], (row + at)[:, :, None], (column + at)[:, None, :]]
            flat = box.flatten(1)
            mean[some], sigma[some] = flat.mean(1), flat.std(1, correction=0)
            median[some] = torch.quantile(flat, 0.5, dim=1)
            asymmetry[some] = (box - box.flip(1, 2)).abs().flatten(1).mean(1)
            boxes.append((some, box))
        rows = rows[~found]
        side //= 2
    return Sky(mean, median, sigma, asymmetry, boxes)


def _first_free(covered: Tensor, side: int, height: Tensor, width: Tensor) -> Tensor:
    """First place, row * columns + column, of a free square, (B,); -1 where there is none."""
    n_rows, n_columns = (length - side for length in covered.shape[1:])
    if n_rows < 1 or n_columns < 1:
        return torch.full_like(height, -1)
    inner = (
        covered[:, side:, side:] - covered[:, :-side, side:] - covered[:, side:, :-side] + covered[:, :-side, :-side]
    )
    row = torch.arange(n_rows, device=covered.device)[:, None]
    column = torch.arange(n_columns, device=covered.device)
    # the last place is left out, as statmorph does
    free = (inner == 0) & (row < (height - side)[:, None, None]) & (column < (width - side)[:, None, None])
    flat = free.flatten(1)
    first = flat.int().argmax(1)
    place = first // n_columns * covered.shape[2] + first % n_columns
    return torch.where(flat.any(1), place, -1)


def sky_smoothness(sky: Sky, size: Tensor) -> Tensor:
    """Mean of what the background has above itself smoothed by squares of `size` (B,) pixels; NaN without background."""
    found = torch.full_like(sky.mean, torch.nan)
    for rows, box in sky.boxes:
        side = torch.full_like(size[rows], box.shape[1])
        found[rows] = (box - box_smoothed(box, size[rows], side, side)).clamp(min=0).flatten(1).mean(1)
    return found
