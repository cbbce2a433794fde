"""The grid on which a decoder begins."""

from __future__ import annotations

from torch import Tensor

__all__ = ["cropped", "first_grid"]

_LARGEST_START = 7


def first_grid(size: int) -> tuple[int, int]:
    """Return the side of the first grid, at most 7, and how often it is doubled to reach at least `size`."""
    doublings = 0
    while -(-size // 2**doublings) > _LARGEST_START:
        doublings += 1
    return -(-size // 2**doublings), doublings


def cropped(x: Tensor, size: int) -> Tensor:
    """Cut the central square of side `size` out of images (..., H, W)."""
    cut = (x.shape[-1] - size) // 2
    return x[..., cut : cut + size, cut : cut + size]
