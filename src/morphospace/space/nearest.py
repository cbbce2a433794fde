"""Nearest neighbours of many vectors at once, for maps and densities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from openTSNE.nearest_neighbors import Annoy

__all__ = ["Nearest", "nearest_among", "nearest_to"]

_EXACT_ROWS = 100_000  # with more, trees that find 99 in 100 of the neighbours take less time than all pairs
_PAIRS_AT_ONCE = 1 << 25  # float32 distances held at once: 128 MiB


class Nearest(NamedTuple):
    """Nearest rows of each vector, nearest first."""

    rows: NDArray[np.int64]
    """Row numbers, (M, k)."""
    distances: NDArray[np.float64]
    """Euclidean distances, (M, k), never decreasing along a row."""


def nearest_among(x: NDArray[np.float32], k: int, *, seed: int = 0) -> Nearest:
    """Find the nearest other rows of each row.

    Parameters
    ----------
    x : array, (N, D), float32
        Finite.
    k : int, from 1 to N - 1
    seed : int
        Of the trees that stand in for comparing all pairs above 100,000 rows.

    Returns
    -------
    Nearest
        Exact up to 100,000 rows, save for rounding in float32. Above, by the 50 random trees of Annoy that openTSNE
        takes too, which miss about one neighbour in a hundred.
    """
    if len(x) > _EXACT_ROWS:
        rows, distances = Annoy(x, k, "euclidean", n_jobs=torch.get_num_threads(), random_state=seed).build()
        return Nearest(rows.astype(np.int64), distances)
    return _by_all_pairs(x, x, k, itself=True)


def nearest_to(x: NDArray[np.float32], vectors: NDArray[np.float32], k: int) -> Nearest:
    """Find the rows of ``x`` nearest to each of some vectors, by comparing all.

    Parameters
    ----------
    x : array, (N, D), float32
    vectors : array, (M, D), float32
    k : int, from 1 to N

    Returns
    -------
    Nearest
        Each vector's, whatever the others are.
    """
    return _by_all_pairs(x, vectors, k, itself=False)


def _by_all_pairs(x: NDArray[np.float32], vectors: NDArray[np.float32], k: int, *, itself: bool) -> Nearest:
    """Compare in blocks; ``itself`` says that row i of the vectors is row i of x, which is then not its neighbour."""
    centre = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    there = torch.from_numpy(x - centre)  # short vectors: less is lost where nearly equal numbers are subtracted
    lengths = (there * there).sum(dim=1)
    step = max(1, min(len(vectors), _PAIRS_AT_ONCE // len(x)))
    rows, distances = np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k))
    with torch.inference_mode():
        for start in range(0, len(vectors), step):
            block = torch.from_numpy(vectors[start : start + step] - centre)
            squares = torch.addmm(lengths, block, there.T, alpha=-2)  # |x - v|^2 - |v|^2
            if itself:
                each = torch.arange(len(block))
                squares[each, start + each] = torch.inf
            least, found = torch.topk(squares, k, dim=1, largest=False)
            square = (least + (block * block).sum(dim=1, keepdim=True)).clamp_(min=0)
            rows[start : start + step] = found.numpy()
            distances[start : start + step] = square.sqrt().numpy()
    return Nearest(rows, distances)
