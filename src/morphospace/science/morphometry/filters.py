"""Smoothing with a width of its own for each image: a product with a matrix on either side."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["box_smoothed", "gauss_smoothed"]

_TRUNCATE = 4.0  # sigma at which the Gaussian ends
_MIRRORS = 2  # images of a stamp in its own edges, to either side: a box may be wider than the stamp


def gauss_smoothed(image: Tensor, sigma: Tensor) -> Tensor:
    """Convolve images (B, H, W) with round Gaussians of s.d. `sigma`, (B,), pixels, cut at 4 sigma; 0 lies outside."""
    reach = (_TRUNCATE * sigma + 0.5).floor()[:, None, None]
    matrices = []
    for side in image.shape[1:]:
        at = torch.arange(side, dtype=image.dtype, device=image.device)
        matrices.append(_gauss(at[:, None] - at, sigma[:, None, None], reach))
    far = torch.arange(-float(reach.max()), float(reach.max()) + 1, dtype=image.dtype, device=image.device)
    norm = _gauss(far, sigma[:, None], reach[:, 0]).sum(1)[:, None, None]
    return (matrices[0] / norm) @ image @ (matrices[1] / norm)


def _gauss(distance: Tensor, sigma: Tensor, reach: Tensor) -> Tensor:
    weight = torch.exp(-0.5 * (distance / sigma) ** 2)
    return torch.where(distance.abs() <= reach, weight, 0.0)


def box_smoothed(image: Tensor, size: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Average images over squares, mirrored at their edges.

    Parameters
    ----------
    image : Tensor, (B, H, W)
    size : Tensor, (B,), int
        Side of the square, pixels; from 0 or 1 the image is as it was. An even one reaches farther to the left.
    height, width : Tensor, (B,), int
        Size of each image, in the corner (0, 0) of the tensor.
    """
    down, across = (
        _box(side, size, length, image) for side, length in zip(image.shape[1:], (height, width), strict=True)
    )
    return down @ image @ across.mT


def _box(side: int, size: Tensor, length: Tensor, like: Tensor) -> Tensor:
    """Weights (B, side, side) of the pixels along one axis."""
    size = size.clamp(min=1)[:, None, None]
    length = length[:, None, None]
    at = torch.arange(side, device=like.device)
    first = at[:, None] - size // 2  # (B, side, 1)
    last = first + size - 1
    weight = torch.zeros((len(size), side, side), dtype=like.dtype, device=like.device)
    for k in range(-_MIRRORS, _MIRRORS + 1):
        for place in (at + 2 * k * length, -1 - at + 2 * k * length):
            if ((place.amin(2) <= last.amax(1)) & (place.amax(2) >= first.amin(1))).any():  # most are out of reach
                weight += (place >= first) & (place <= last)
    return weight / size
