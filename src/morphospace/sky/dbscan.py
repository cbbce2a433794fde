"""Significant pixels of a radio map grouped into sources: noise that varies over the map, and DBSCAN on its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from morphospace.sky.noise import MAD_TO_SIGMA

__all__ = ["FWHM", "beam_of_noise", "group_pixels", "noise_surface", "rare_peak"]

_CLIP, _PEAK = 3.0, 5.0  # sigma: what hangs together above the one and reaches the other is no noise
_ROUNDS = 5
_SHARE = 0.15  # of a box, the least that counts
_MIN_BOXES = 8  # twice the terms of the polynomial
_FALSE_PEAKS = 0.001  # expected in a map of noise
FWHM = 2.3548  # of a Gaussian, in units of its sigma
_MAX_BEAM_PX = 20.0  # what the noise's correlation may say; more of it is emission


def noise_surface(plane: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Measure the noise of a map as a function of place.

    The logarithm of sigma is a round parabola, ``a + b x + c y + d (x**2 + y**2)``: exact for a map that was divided
    by a Gaussian primary beam, wherever that points, since its inverse grows as exp(r**2). Fitted to the median
    absolute value of the pixels in boxes, at first of the negative ones: emission is positive, so that even a box full
    of a faint disc tells its noise. What then stands out, and what is next to it, is left out and the fit repeated.

    Parameters
    ----------
    plane : ndarray, (H, W), float
        The map, level subtracted.
    valid : ndarray, (H, W), bool
        False where there is nothing to measure.

    Returns
    -------
    ndarray, (H, W), float32
        Sigma, in the unit of the map; positive. All 1 where fewer than 8 boxes have noise to measure.
    """
    free = valid & np.isfinite(plane)
    side = max(8, min(plane.shape) // 12)
    surface = np.ones(plane.shape, dtype=np.float32)
    for turn in range(_ROUNDS):
        # emission is positive: before it is known, only what is negative is noise
        usable = free & (plane < 0) if turn == 0 else free
        spread, weight = _spread_in_boxes(np.where(usable, plane, np.nan), side)
        noisy = (spread > 0) & (weight > _SHARE)
        if np.count_nonzero(noisy) < _MIN_BOXES:
            return np.ones(plane.shape, dtype=np.float32)
        surface = _fitted(spread, np.where(noisy, weight, 0.0), side, plane.shape)
        with np.errstate(invalid="ignore"):
            standing = valid & (plane > _CLIP * surface)
            seeds = valid & (plane > _PEAK * surface)
        emission = ndimage.maximum_filter(ndimage.binary_propagation(seeds, mask=standing), side)
        again = valid & ~emission & np.isfinite(plane)
        if np.count_nonzero(again) < 0.1 * np.count_nonzero(valid) or np.array_equal(again, free):
            break
        free = again
    return surface


def _spread_in_boxes(plane: NDArray[Any], side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure 1.4826 times the median absolute value, and the share of pixels that have one, of boxes (rows, columns)."""
    rows, columns = (-(-n // side) for n in plane.shape)
    pad = [(0, rows * side - plane.shape[0]), (0, columns * side - plane.shape[1])]
    padded = np.pad(np.abs(plane), pad, constant_values=np.nan)
    boxes = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, side * side)
    weight = np.isfinite(boxes).mean(axis=2)
    ordered = np.sort(boxes, axis=2)  # NaN goes last
    n = np.rint(weight * side * side).astype(np.intp)
    ranks = np.stack([np.maximum(n - 1, 0) // 2, n // 2 * (n > 0)], axis=2)
    spread = np.take_along_axis(ordered, np.minimum(ranks, side * side - 1), axis=2).mean(axis=2)
    return np.asarray(MAD_TO_SIGMA * np.nan_to_num(spread, nan=0.0)), np.asarray(weight)


def _fitted(
    spread: NDArray[np.float64], weight: NDArray[np.float64], side: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Fit the logarithm of the boxes' spread and draw the exponential of the fit on the map."""
    good = weight > 0
    v, u = (
        ((np.arange(n) + 0.5) * side - 0.5 - (m - 1) / 2) / max(shape) for n, m in zip(spread.shape, shape, strict=True)
    )
    v, u = (grid[good] for grid in np.meshgrid(v, u, indexing="ij"))
    terms = np.stack([np.ones_like(u), u, v, u * u + v * v], axis=-1)
    value, root = np.log(spread[good]), np.sqrt(weight[good])
    for _ in range(_ROUNDS):
        a, b, c, d = np.linalg.lstsq(terms * root[:, None], value * root, rcond=None)[0]
        residual = value - terms @ (a, b, c, d)
        scale = max(float(MAD_TO_SIGMA * np.median(np.abs(residual))), 1e-3)
        # boxes full of emission stick out upwards; Tukey's weights forget them
        root = np.sqrt(weight[good]) * np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None)
    y, x = (((np.arange(m) - (m - 1) / 2) / max(shape)) for m in shape)
    drawn = (c * y + d * y * y).astype(np.float32)[:, None] + (a + b * x + d * x * x).astype(np.float32)[None, :]
    # where the map ends in blank corners the parabola has no support
    return np.asarray(np.exp(np.clip(drawn, value.min() - 1, value.max() + 1)), dtype=np.float32)


def beam_of_noise(plane: NDArray[Any], free: NDArray[np.bool_]) -> float:
    """Measure the beam from how alike neighbouring pixels of the noise are.

    White noise seen through a Gaussian beam of sigma s has the correlation exp(-1 / (4 s**2)) between neighbours.

    Parameters
    ----------
    plane : ndarray, (H, W), float
        The map in units of its noise.
    free : ndarray, (H, W), bool
        True on pixels without emission.

    Returns
    -------
    float
        Full width at half maximum, pixels, between 1 and 20; geometric mean of the two axes.
    """
    widths = []
    for axis in (0, 1):
        here, there = (np.moveaxis(plane, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
        both = np.moveaxis(free, axis, 0)
        both = both[:-1] & both[1:]
        a, b = here[both].astype(np.float64), there[both].astype(np.float64)
        power = np.sqrt((a @ a) * (b @ b))
        alike = float(a @ b / power) if power > 0 else 0.0
        alike = min(max(alike, 1e-6), 1 - 1e-6)
        widths.append(min(max(FWHM * np.sqrt(-1 / (4 * np.log(alike))), 1.0), _MAX_BEAM_PX))
    return float(np.sqrt(widths[0] * widths[1]))


def rare_peak(n_beams: float) -> float:
    """Find the height that a peak of noise reaches in one of a thousand maps.

    Smooth Gaussian noise over A squared full widths of its beam has
    ``A * 4 log(2) * (2 pi)**-1.5 * u * exp(-u**2 / 2)`` peaks above u sigma.

    Parameters
    ----------
    n_beams : float, > 0
        Area of the map in units of the beam's full width squared.

    Returns
    -------
    float
        Sigma, at least 1: 4.8 for a hundred beams, 5.7 for ten thousand, 6.5 for a million.

    Notes
    -----
    Worsley et al. 1992 in two dimensions.
    """
    u = 6.0
    for _ in range(50):
        expected = n_beams * 4 * np.log(2) * (2 * np.pi) ** -1.5 * u / _FALSE_PEAKS
        u = float(np.sqrt(2 * np.log(max(expected, 2.0))))
    return u


def group_pixels(above: NDArray[np.bool_], *, radius: float, count: int) -> NDArray[np.int32]:
    """Group pixels by DBSCAN.

    A pixel with at least `count` of the chosen pixels within `radius` of it, itself included, is a core; cores within
    `radius` of each other are one group; a chosen pixel that is no core belongs to the group of the nearest core
    within `radius`, if there is one, and else to none.

    Parameters
    ----------
    above : ndarray, (H, W), bool
        The chosen pixels.
    radius : float, >= 1, pixels
        Radius of the neighbourhood, borders included.
    count : int, >= 1
        Pixels that make a core.

    Returns
    -------
    ndarray, (H, W), int32
        1, 2, ... in the groups, 0 elsewhere.

    Notes
    -----
    Ester et al. 1996, definitions 1 to 6, as ``sklearn.cluster.DBSCAN`` has them; that one lists the neighbours of
    every pixel, gigabytes for the millions of pixels of a nebula. On a grid counts are differences of sums along rows,
    and memory goes with the map. Departure: a pixel between two groups goes to the nearer, not to the first found.
    """
    core = above & (_neighbours(above, radius) >= count)
    labels, n = ndimage.label(core)
    if not n:
        return np.zeros(above.shape, dtype=np.int32)
    # the nearest pixels of two groups, or of a group and another pixel, lie on borders
    border = np.argwhere(core & ~ndimage.binary_erosion(core))
    labels = _join(labels.astype(np.int32), n, border, radius)
    others = np.argwhere(above & ~core)
    if len(others):
        distance, nearest = cKDTree(border).query(others, distance_upper_bound=radius + 1)
        near = distance <= radius
        labels[tuple(others[near].T)] = labels[tuple(border[nearest[near]].T)]
    return labels


def _neighbours(above: NDArray[np.bool_], radius: float) -> NDArray[np.int32]:
    """Count the chosen pixels within the radius of each pixel: for each row of the circle a difference of running sums."""
    height, width = above.shape
    reach = int(radius)
    sums = np.zeros((height + 2 * reach, width + 2 * reach + 1), dtype=np.int32)
    sums[reach : reach + height, reach + 1 : reach + 1 + width] = above
    np.cumsum(sums, axis=1, out=sums)
    found = np.zeros(above.shape, dtype=np.int32)
    for dy in range(-reach, reach + 1):
        half = int(np.sqrt(radius * radius - dy * dy))
        rows = sums[reach + dy : reach + dy + height]
        found += rows[:, reach + half + 1 : reach + half + 1 + width] - rows[:, reach - half : reach - half + width]
    return found


def _join(labels: NDArray[np.int32], n: int, border: NDArray[np.intp], radius: float) -> NDArray[np.int32]:
    """Give connected parts within the radius of each other one number, 1, 2, ..."""
    y, x = border.T
    reach = int(radius)
    padded = np.pad(labels, reach)
    links = [np.zeros((0, 2), dtype=np.int64)]
    for dy in range(reach + 1):
        half = int(np.sqrt(radius * radius - dy * dy))
        for dx in range(-half if dy else 1, half + 1):
            other = padded[y + dy + reach, x + dx + reach]
            mine = labels[y, x]
            differ = (other > 0) & (other != mine)
            if differ.any():
                links.append(np.unique(np.stack([mine[differ], other[differ]], axis=1), axis=0))
    pairs = np.concatenate(links)
    graph = csr_array((np.ones(len(pairs)), (pairs[:, 0] - 1, pairs[:, 1] - 1)), shape=(n, n))
    group = connected_components(graph, directed=False)[1] + 1
    return np.concatenate([[0], group]).astype(np.int32)[labels]
