"""Rows that belong together: the same pixels, or the same place on the sky."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = ["find_duplicates", "group_by_name", "group_by_position"]

#: Added to the chord, a micro-arcsecond: at the radius itself rounding must not decide.
_ROUNDING = 5e-12


def find_duplicates(ids: Sequence[str], hashes: Sequence[str]) -> dict[int, str]:
    """Find rows with the pixels of another row.

    Parameters
    ----------
    ids, hashes : sequence of str, (N,)
        Id and pixel hash of each row.

    Returns
    -------
    dict
        Row number to the id whose pixels it repeats: the one that sorts first, which is not in the dict itself.
    """
    first: dict[str, str] = {}
    for row_id, pixels in zip(ids, hashes, strict=True):
        first[pixels] = min(row_id, first.get(pixels, row_id))
    return {
        row: first[pixels]
        for row, (row_id, pixels) in enumerate(zip(ids, hashes, strict=True))
        if first[pixels] != row_id
    }


def group_by_position(
    ra: NDArray[np.float64], dec: NDArray[np.float64], files: Sequence[str], radius_arcsec: float
) -> NDArray[np.int64]:
    """Group rows that lie within a radius of one another, friends of friends.

    Parameters
    ----------
    ra, dec : ndarray, (N,), float64
        ICRS, degrees; rows with NaN stay alone.
    files : sequence of str, (N,)
        Where each row comes from. Two rows of one file are two objects, so they are no friends of each other.
    radius_arcsec : float, >= 0
        Largest distance of two friends, ends included.

    Returns
    -------
    ndarray, (N,), int64
        Equal numbers for rows of one group.
    """
    n = len(ra)
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if not len(rows):
        return np.arange(n, dtype=np.int64)
    # rows at one point are merged first: a thousand of them would make half a million pairs
    points, point_of, count = np.unique(
        _unit_vectors(ra[rows], dec[rows]), axis=0, return_inverse=True, return_counts=True
    )
    point_of = point_of.reshape(-1)
    owner = _owners(point_of, np.unique(np.asarray(files)[rows], return_inverse=True)[1])
    chord = 2 * np.sin(np.deg2rad(radius_arcsec / 3600) / 2)
    pairs = cKDTree(points).query_pairs(chord + _ROUNDING, output_type="ndarray")
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2)
    component = connected_components(graph, directed=False)[1]
    groups = np.arange(n, 2 * n, dtype=np.int64)  # numbers that no component has
    # rows of one file at one point that no other file has: nobody makes them friends
    friendless = (owner >= 0) & (count > 1) & (np.bincount(component)[component] == 1)
    joined = ~friendless[point_of]
    groups[rows[joined]] = component[point_of[joined]]
    return groups


def _owners(point_of: NDArray[np.int64], file_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell for each point which file its rows come from; points with several files get a number of their own below 0."""
    n = int(point_of.max()) + 1
    lowest, highest = np.full(n, np.iinfo(np.int64).max), np.full(n, -1)
    np.minimum.at(lowest, point_of, file_of)
    np.maximum.at(highest, point_of, file_of)
    return np.where(lowest == highest, lowest, -1 - np.arange(n))


def group_by_name(names: Sequence[str | None], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join rows of one object name, for rows that have no position.

    Parameters
    ----------
    names : sequence of str or None, (N,)
        Names compared without regard to case and spaces; None leaves the row as it is.
    groups : ndarray, (N,), int64
        Numbers so far.

    Returns
    -------
    ndarray, (N,), int64
        New numbers; rows of one name have that of the first of them.
    """
    joined = groups.copy()
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name is not None:
            joined[row] = first.setdefault("".join(name.casefold().split()), int(groups[row]))
    return joined


def _unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
