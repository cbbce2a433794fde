"""Principal axes of very many vectors, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axes", "find_axes"]

Float64 = NDArray[np.float64]


class Axes(NamedTuple):
    """Principal axes of vectors."""

    n: int
    """Number of vectors; the rest is zero where there is none."""
    mean: Float64
    """(D,)."""
    variance: Float64
    """Along each axis, over n, (D,), falling; never negative."""
    axes: Float64
    """(D, D), a unit vector in each column; its largest component is positive."""


def find_axes(blocks: Callable[[], Iterable[Float64]], dim: int) -> Axes:
    """Find the principal axes by the eigenvectors of the covariance, of which alone the whole is held.

    Parameters
    ----------
    blocks : callable
        Gives the finite vectors, (m, D), float64, block by block; called twice: for the mean, and for what is about it.
        A million of 128 numbers at once would be 1 GB, and once more centred.
    dim : int
        D.

    Returns
    -------
    Axes
    """
    n, total = 0, np.zeros(dim)
    for block in blocks():
        n, total = n + len(block), total + block.sum(axis=0)
    mean, scatter = total / max(1, n), np.zeros((dim, dim))
    for block in blocks():
        centred = block - mean
        scatter += centred.T @ centred
    variance, axes = np.linalg.eigh(scatter / max(1, n))
    axes = axes[:, ::-1] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dim)])[::-1]
    return Axes(n, mean, np.maximum(variance[::-1], 0), axes)
