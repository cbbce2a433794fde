"""Maps for the page: those kept with the embeddings, or two principal components at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from morphospace.errors import DataError
from morphospace.space.density import density
from morphospace.space.embeddings import Embeddings
from morphospace.space.frames import frame_of
from morphospace.space.nearest import nearest_to
from morphospace.space.principal import find_axes

__all__ = ["Map", "crowding", "principal_axes", "scaled"]

_ROWS_AT_ONCE = 1 << 13
_MOST_COMPARED = 20_000  # with more, comparing all takes longer than an observer waits
_N_DRAWN = 2_000
_N_NEAR = 5


@dataclass(frozen=True)
class Map:
    """Places of all rows.

    Attributes
    ----------
    name, method : str
    xy : array of float32, (N, dims)
        From -1 to 1, one scale on all axes; NaN for rows without a place.
    centre : array of float64, (dims,)
    half : float
        ``xy = (places - centre) / half``.
    """

    name: str
    method: str
    xy: NDArray[np.float32]
    centre: NDArray[np.float64]
    half: float

    def put(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Bring places of the kept map, (M, dims), to the scale of the page."""
        return np.asarray((places - self.centre) / self.half)


def scaled(name: str, method: str, places: NDArray[np.floating]) -> Map:
    """Bring places to the scale of the page.

    Parameters
    ----------
    name, method : str
    places : array, (N, dims)
        NaN for rows without a place.
    """
    good = np.isfinite(places).all(axis=1)
    low, high = (places[good].min(axis=0), places[good].max(axis=0)) if good.any() else np.zeros((2, places.shape[1]))
    centre = (low.astype(np.float64) + high) / 2
    half = float(np.max(high - low)) / 2 or 1.0
    xy = ((places - centre) / half).astype(np.float32)
    xy[~good] = np.nan
    return Map(name, method, xy, centre, half)


def principal_axes(emb: Embeddings, dims: int = 2) -> NDArray[np.float64]:
    """Compute the first principal components of the vectors, a block of rows at a time.

    Parameters
    ----------
    emb : Embeddings
    dims : int

    Returns
    -------
    array of float64, (N, dims)
        NaN for rows without a vector; the same up to rounding as ``project`` with ``"pca"``, which holds all vectors
        in float64 at once. The largest loading of each axis is positive.

    Raises
    ------
    DataError
        If no row has a vector.
    """
    vectors = emb.vectors
    n, mean, _, axes = find_axes(lambda: (block for _, block in _blocks(vectors)), emb.dim)
    if n == 0:
        msg = f"no row of embeddings {emb.name} has a vector, so there is nothing to draw."
        raise DataError(msg)
    axes = axes[:, :dims]
    places = np.full((len(emb), dims), np.nan)
    for rows, block in _blocks(vectors):
        places[rows, : axes.shape[1]] = (block - mean) @ axes
    places[np.isfinite(places[:, 0]), axes.shape[1] :] = 0.0  # vectors of one dimension
    return places


def _blocks(vectors: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the rows that have a vector, block by block, in float64."""
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        block = vectors[start : start + _ROWS_AT_ONCE]
        good = np.flatnonzero(np.isfinite(block).all(axis=1))
        yield start + good, block[good].astype(np.float64)


def crowding(emb: Embeddings) -> NDArray[np.float32]:
    """Rank objects by how crowded the space around them is: how common a shape is.

    Parameters
    ----------
    emb : Embeddings

    Returns
    -------
    array of float32, (N,)
        From 0, the loneliest, to 1; NaN for rows without a vector. Up to 20,000 rows as ``density`` of the vectors;
        of more, by the distance to the 5th nearest of 2,000 rows drawn at random.
    """
    if len(emb) <= _MOST_COMPARED:
        return density(emb).astype(np.float32)
    frame = frame_of(emb.vectors, "cosine")
    good = np.flatnonzero(frame.valid(emb.vectors))
    drawn = np.sort(np.random.default_rng(0).permutation(good)[:_N_DRAWN])
    some = frame(emb.vectors[drawn])
    distances = np.full(len(emb), np.nan)
    for start in range(0, len(good), _ROWS_AT_ONCE):
        rows = good[start : start + _ROWS_AT_ONCE]
        near = nearest_to(some, frame(emb.vectors[rows]), min(_N_NEAR + 1, len(some))).distances
        distances[rows] = np.where(np.isin(rows, drawn), near[:, -1], near[:, -2])  # a drawn row finds itself too
    ranks = np.full(len(emb), np.nan, dtype=np.float32)
    ranks[good] = (rankdata(-distances[good]) - 1) / max(1, len(good) - 1)
    return ranks
