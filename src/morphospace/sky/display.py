"""What of an image is shown where the background shall be transparent: what stands out of the noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.cutouts import Cutout

__all__ = ["display_mask", "display_threshold"]

_SIGMAS = 5.0
_CORE = 0.5  # of the highest bin: bins below are not core
_ACROSS = 6  # bins from one half-height to the other, about
_REACH = 10.0  # of the spread: farther from the median there is no sky
_ROUNDING = 1e-12  # of the median
_FEW = 5  # bins: with fewer there is no parabola to trust


def display_threshold(values: NDArray[np.floating] | NDArray[np.integer]) -> float:
    """Find the brightness from which pixels stand out of the background.

    A Gaussian is fitted to the core of the histogram around its mode; the threshold is its mean + 5 sigma.

    Parameters
    ----------
    values : array, any shape, real
        Pixels of one band; those that are not finite have no part.

    Returns
    -------
    float
        In the unit of the values; the value itself where all are equal, and infinity where there are none.

    Notes
    -----
    The core is the bins of at least half the height of the highest, in one piece around it; the Gaussian is the
    parabola through the logarithm of their counts, weighted by these. Where there are too few bins for that (five; three
    of a picture of whole numbers), sigma is 1.4826 times the median distance of the pixels below the mode, and 0
    where there are none, as in an image that was clipped before.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.isfinite(x)]
    if not x.size:
        return math.inf
    steps = np.asarray(values).dtype.kind in "iu"
    mean, sigma = _core(x, steps=steps)
    return mean + _SIGMAS * sigma


def display_mask(cutout: Cutout) -> NDArray[np.bool_]:
    """Mark the pixels that stand out in any band.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    array of bool, (H, W)
        Rows as in the image. False where blank. An image in which nothing stands out is shown whole.
    """
    valid = np.isfinite(cutout.image).all(axis=0)
    if cutout.mask is not None:
        valid &= cutout.mask
    above = np.zeros(valid.shape, dtype=bool)
    for plane in cutout.image:
        above |= valid & (plane > display_threshold(plane[valid]))
    return above if above.any() else valid


def _core(x: NDArray[np.float64], *, steps: bool) -> tuple[float, float]:
    """Fit the Gaussian: its mean and sigma."""
    low, middle = np.quantile(x, [0.02, 0.5])
    scale = _spread_below(x, float(middle)) or float(middle - low)
    if not scale > _ROUNDING * abs(middle):
        return float(middle), scale  # more than half of the pixels have one value, but for rounding
    width = 2.355 * scale / _ACROSS
    if steps:
        width = max(1.0, round(width))
    inside = x[np.abs(x - middle) < _REACH * scale]  # one pixel far off would make bins without number
    edge = math.floor(inside.min() / width) * width - width / 2 if steps else inside.min()
    counts = np.bincount(((inside - edge) / width).astype(np.int64)).astype(np.float64)
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    peak = int(np.argmax(smooth))
    first = last = peak
    while first > 0 and smooth[first - 1] >= _CORE * smooth[peak]:
        first -= 1
    while last < len(counts) - 1 and smooth[last + 1] >= _CORE * smooth[peak]:
        last += 1
    if steps and last - first < 2:  # noise of less than a step: its neighbours tell how much less
        first, last = max(0, peak - 1), min(len(counts) - 1, peak + 1)
    centres = edge + width * (np.arange(first, last + 1) + 0.5)
    fitted = _parabola(centres, counts[first : last + 1], width, 3 if steps else _FEW)
    mode = edge + width * (peak + 0.5)
    return fitted or (mode, _spread_below(x, mode))


def _parabola(
    at: NDArray[np.float64], counts: NDArray[np.float64], width: float, least: int
) -> tuple[float, float] | None:
    """Fit ln(counts) = a t^2 + b t + c, weighted: the variance of ln(n) is 1 / n; None where it opens upwards."""
    seen = counts > 0
    if np.count_nonzero(seen) < least:
        return None
    t = (at - at.mean()) / width
    a, b, _ = np.polyfit(t[seen], np.log(counts[seen]), 2, w=np.sqrt(counts[seen]))
    if not a < 0:
        return None
    centre = -b / (2 * a)
    if abs(centre) > len(at):
        return None
    return float(at.mean() + width * centre), float(width * math.sqrt(-1 / (2 * a)))


def _spread_below(x: NDArray[np.float64], mode: float) -> float:
    below = mode - x[x < mode]
    return 1.4826 * float(np.median(below)) if below.size else 0.0
