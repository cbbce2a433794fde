"""Cutouts and thumbnails of the rows of embeddings; thumbnails as equal squares, for sprites and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from morphospace.errors import DataError, ShapeError
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.thumbs import decode_thumb, load_thumbs
from morphospace.space.embeddings import Embeddings

__all__ = ["Thumbs", "find_rows", "finder", "square", "take_thumbs", "thumbs_of"]

Thumbs: TypeAlias = (
    "NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | Callable[[Sequence[int]], Sequence[NDArray[np.uint8]]]"
)
"""Pictures of the rows of embeddings, uint8, each (H, W) or (H, W, 3), of any size: an array or a list with one for each
row, or a callable that takes row numbers and gives their pictures in that order."""


def thumbs_of(cuts: Cutouts, emb: Embeddings) -> Thumbs:
    """Give the thumbnails of embeddings, found by id in the cutouts that they were made of.

    Parameters
    ----------
    cuts : Cutouts
    emb : Embeddings

    Returns
    -------
    callable
        Reads nothing before it is called with row numbers of ``emb``.

    Raises
    ------
    DataError
        If an id of ``emb`` is not in ``cuts``.
    """
    rows_in = finder(cuts, emb)
    rows_in(np.arange(len(emb)))
    return lambda wanted: [decode_thumb(t) for t in load_thumbs(cuts, rows_in(wanted))]


def find_rows(cuts: Cutouts, emb: Embeddings) -> NDArray[np.int64]:
    """Find by id the rows of embeddings in cutouts.

    Parameters
    ----------
    cuts : Cutouts
    emb : Embeddings

    Returns
    -------
    array of int64, (N,)
        Row numbers in ``cuts`` for all rows of ``emb``, -1 where there is none.
    """
    ids, there = emb.ids, cuts.ids
    if ids == there:
        return np.arange(len(ids), dtype=np.int64)
    found = pc.index_in(pa.array(ids, pa.string()), value_set=pa.array(there, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def finder(cuts: Cutouts, emb: Embeddings) -> Callable[[ArrayLike], NDArray[np.int64]]:
    """Match embeddings and cutouts once, for many questions.

    Parameters
    ----------
    cuts : Cutouts
    emb : Embeddings

    Returns
    -------
    callable
        Takes row numbers of ``emb`` and gives those of ``cuts``; a DataError where one is not there.
    """
    at = find_rows(cuts, emb)

    def rows_in(rows: ArrayLike) -> NDArray[np.int64]:
        asked = np.asarray(rows, dtype=np.int64)
        found = at[asked]
        absent = asked[found < 0]
        if len(absent):
            which = f"{len(absent)} of {len(asked)} embeddings are not in the cutouts, e.g. '{emb.ids[absent[0]]}'"
            msg = f"{which}; give those embedded."
            raise DataError(msg)
        return found

    return rows_in


def take_thumbs(thumbs: Thumbs, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Get the thumbnails of some rows.

    Parameters
    ----------
    thumbs : Thumbs
    rows : sequence of int

    Returns
    -------
    list of array, each (H, W, 3), uint8

    Raises
    ------
    ShapeError
        If one is not a uint8 picture, or their number is wrong.
    """
    taken = thumbs(rows) if callable(thumbs) else [thumbs[row] for row in rows]
    if len(taken) != len(rows):
        msg = f"thumbs must give one picture for each row; asked for {len(rows)}, got {len(taken)}."
        raise ShapeError(msg)
    return [_in_colour(np.asarray(t)) for t in taken]


def _in_colour(thumb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if (
        thumb.dtype != np.uint8
        or 0 in thumb.shape
        or not (thumb.ndim == 2 or (thumb.ndim == 3 and thumb.shape[2] == 3))
    ):
        msg = f"a thumbnail must be uint8 of shape (H, W) or (H, W, 3); got {thumb.dtype} of shape {thumb.shape}."
        raise ShapeError(msg)
    return np.repeat(thumb[:, :, None], 3, axis=2) if thumb.ndim == 2 else thumb


def square(thumb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Fit a thumbnail into a square, its proportions kept, black around.

    Parameters
    ----------
    thumb : array, (H, W, 3), uint8
    side : int

    Returns
    -------
    array, (side, side, 3), uint8
    """
    height, width = thumb.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(
        Image.fromarray(thumb).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
    )
    full = np.zeros((side, side, 3), dtype=np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    full[top : top + size[1], left : left + size[0]] = small
    return full
