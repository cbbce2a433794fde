"""Level and robust noise of an image, per band: the unit in which `units="noise"` counts."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ShapeError

__all__ = ["MAD_TO_SIGMA", "Noise", "estimate_noise"]

_KAPPA = 3.0
_MAX_ROUNDS = 50
MAD_TO_SIGMA = 1.482602218505602  # 1 / Phi^-1(3/4): the MAD of a Gaussian in units of its sigma


class Noise(NamedTuple):
    """What lies under the sources, per band, in the unit of the pixels."""

    level: NDArray[np.float32]  # (C,)
    sigma: NDArray[np.float32]  # (C,)


def estimate_noise(data: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> Noise:
    """Estimate background level and noise by clipping at 3 sigma about the median until nothing changes.

    The level is the median of what is left, sigma its median absolute deviation times 1.4826.

    Parameters
    ----------
    data : array, (C, H, W) or (H, W), integers or floats
        Pixels; NaN and infinite ones are left out.
    mask : array of bool, (H, W), optional
        True = valid; others are left out in every band.

    Returns
    -------
    Noise
        Level and sigma, float32, (C,) each; C = 1 for (H, W). Both NaN in a band without a valid pixel. Sigma is 0
        where more than half of the pixels left are equal (masked clouds, clipped maps, digits): no noise to count in.

    Raises
    ------
    ShapeError
        If the data have not 2 or 3 axes or the mask is not (H, W).

    Notes
    -----
    The clipped set of a sorted array is always a slice of it, so one sort serves all rounds, and the median deviation
    is found by bisection. Values equal those of ``astropy.stats.sigma_clip`` with median and ``mad_std``. Clipping
    takes 0.4 % off the sigma of a pure Gaussian; this is not corrected. At most 50 rounds.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(7, 2, (1, 100, 100))
    >>> noise = estimate_noise(image)
    >>> bool(abs(noise.level[0] - 7) < 0.1), bool(abs(noise.sigma[0] - 2) < 0.1)
    (True, True)
    """
    if data.ndim not in (2, 3):
        msg = f"data must be (C, H, W) or (H, W); got shape {data.shape}. Pass one image at a time."
        raise ShapeError(msg)
    if mask is not None and mask.shape != data.shape[-2:]:
        msg = f"mask must be (H, W) = {data.shape[-2:]}; got shape {mask.shape}. Pass one mask for all bands."
        raise ShapeError(msg)
    bands = data if data.ndim == 3 else data[None]
    pairs = [_band_noise(band.ravel() if mask is None else band[mask]) for band in bands]
    level, sigma = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    with np.errstate(over="ignore"):  # float64 maps may exceed float32: infinity says so
        return Noise(level.astype(np.float32), sigma.astype(np.float32))


def _band_noise(pixels: NDArray[Any]) -> tuple[float, float]:
    """Level and sigma of one band, given its valid pixels in any order."""
    ordered = np.sort(pixels)  # in the native type: integers sort by radix, and NaN goes last
    if ordered.dtype.kind == "f":
        ordered = ordered[np.searchsorted(ordered, -np.inf, side="right") : np.searchsorted(ordered, np.inf)]
    if not ordered.size:
        return np.nan, np.nan
    values = memoryview(ordered.astype(np.float64))  # type: ignore[arg-type] # float64: limits are compared exactly
    first, last = 0, len(values)
    for _ in range(_MAX_ROUNDS):
        level, sigma = _median_and_sigma(values, first, last)
        low = bisect_left(values, level - _KAPPA * sigma, first, last)
        high = bisect_right(values, level + _KAPPA * sigma, first, last)
        if (low, high) == (first, last):
            break
        first, last = low, high
    return level, sigma


def _median_and_sigma(values: Sequence[float], first: int, last: int) -> tuple[float, float]:
    """Median and scaled median absolute deviation of some sorted values."""
    n = last - first
    median = (values[first + (n - 1) // 2] + values[first + n // 2]) / 2
    bounds = first, bisect_left(values, median, first, last), last
    deviation = _kth_distance(values, bounds, median, (n - 1) // 2)
    if n % 2 == 0:
        deviation = (deviation + _kth_distance(values, bounds, median, n // 2)) / 2
    return median, MAD_TO_SIGMA * deviation


def _kth_distance(values: Sequence[float], bounds: tuple[int, int, int], centre: float, k: int) -> float:
    """Find the k-th smallest (from 0) distance to ``centre`` among sorted values that it splits at ``bounds[1]``.

    Bisects for the number of values from below among the k + 1 nearest; the rest come from above.
    """
    first, split, last = bounds
    low, high = max(0, k + 1 - (last - split)), min(k + 1, split - first)
    while low < high:
        middle = (low + high) // 2
        if centre - values[split - 1 - middle] < values[split + k - middle] - centre:
            low = middle + 1
        else:
            high = middle
    left = centre - values[split - low] if low else -math.inf
    right = values[split + k - low] - centre if low <= k else -math.inf
    return max(left, right)
