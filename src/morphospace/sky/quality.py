"""What is wrong with one image, by the rules that ``flags.DEFINITIONS`` states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphospace.sky.flags import Flag
from morphospace.sky.noise import Noise

__all__ = ["Quality", "assess"]

FOOTPRINT_SIGMA = 3.0
PEAK_SIGMA = 5.0
PLATEAU_PIXELS = 4
#: Full scale of an 8-bit picture. Integers that do not rise so far have steps so coarse that noise, or the flat core
#: of a galaxy, makes plateaus.
FULL_SCALE = 255


class Quality(NamedTuple):
    """What `assess` finds.

    ``snr`` is the peak above the level in units of sigma, the largest over the bands; NaN where no band has noise.
    """

    flags: Flag
    snr: float
    n_valid: int


@np.errstate(over="ignore", invalid="ignore")  # float64 maps may exceed float32
def assess(
    data: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    noise: Noise,
    *,
    saturate: float | None = None,
    footprint: NDArray[np.bool_] | None = None,
) -> Quality:
    """Judge one image by itself: MISSING_PIXELS, EDGE, LOW_SNR, CONSTANT, SATURATED.

    Parameters
    ----------
    data : ndarray, (C, H, W), any real dtype
        Native pixels; those outside the mask may be NaN.
    mask : ndarray, (H, W), bool, or None
        True where valid; None where all is.
    noise : Noise
        Level and sigma of each band. Where sigma is 0 (clipped maps, many pictures) the rules that need noise, EDGE
        and LOW_SNR, say nothing about that band.
    saturate : float, optional
        SATURATE of the header, in the units of `data`.
    footprint : ndarray, (H, W), bool, optional
        The pixels of the source, where detection has found them: peak, saturation and edge are then judged on these.
        Otherwise peak and saturation are those of the image, and the source that may touch the edge is what hangs
        together above 3 sigma, reaches 5 and lies at the centre (within a twentieth of the side); where there is none,
        the brightest such thing.

    Returns
    -------
    Quality
        No valid pixel at all gives MISSING_PIXELS alone, equal pixels give nothing beyond CONSTANT and MISSING_PIXELS.

    Notes
    -----
    The border is that of the valid pixels: blank corners end an image, a dead pixel inside it does not. A plateau
    counts as saturation where it rises more than 5 sigma above the level; in 8 bits only at 255, in more bits where it
    rises at least 255 steps.
    """
    if mask is not None and mask.all():
        mask = None
    flags = Flag(0) if mask is None else Flag.MISSING_PIXELS
    values = data.reshape(len(data), -1) if mask is None else data[:, mask]  # (C, n_valid)
    n_valid = int(values.shape[1])
    if n_valid == 0:
        return Quality(flags, float("nan"), 0)
    high = values.max(axis=1)
    if np.array_equal(high, values.min(axis=1)):
        return Quality(flags | Flag.CONSTANT, float("nan"), n_valid)
    where = mask
    if footprint is not None and (inside := footprint if mask is None else footprint & mask).any():
        where, high = inside, data[:, inside].max(axis=1)
    if _is_saturated(data, where, high, noise, saturate):
        flags |= Flag.SATURATED
    noisy = noise.sigma > 0
    if (noisy.any() or footprint is not None) and _touches_border(data, mask, noise, footprint):
        flags |= Flag.EDGE
    snr = float(((high - noise.level)[noisy] / noise.sigma[noisy]).max(initial=-np.inf)) if noisy.any() else np.nan
    if snr < PEAK_SIGMA:
        flags |= Flag.LOW_SNR
    return Quality(flags, snr, n_valid)


def _is_saturated(
    data: NDArray[Any], where: NDArray[np.bool_] | None, high: NDArray[Any], noise: Noise, saturate: float | None
) -> bool:
    if saturate is not None and float(high.max()) >= saturate:
        return True
    for plane, top, level, sigma in zip(data, high, noise.level, noise.sigma, strict=True):
        rise = float(top) - float(level)
        if data.dtype.kind in "iub" and (rise if data.dtype.itemsize > 1 else top) < FULL_SCALE:
            continue
        if rise <= PEAK_SIGMA * sigma:
            continue
        plateau = plane == top
        if where is not None:
            plateau &= where
        if np.count_nonzero(plateau) >= PLATEAU_PIXELS:
            labels, n = ndimage.label(plateau)
            if n and np.bincount(labels.ravel())[1:].max() >= PLATEAU_PIXELS:
                return True
    return False


def _touches_border(
    data: NDArray[Any], mask: NDArray[np.bool_] | None, noise: Noise, footprint: NDArray[np.bool_] | None
) -> bool:
    if footprint is not None:
        return bool((footprint & _border(data.shape[1:], mask)).any())
    if mask is None and min(data.shape[1:]) >= 3 and not _may_touch(data, noise):
        return False
    border = _border(data.shape[1:], mask)
    significance = _significance(data, noise)
    if mask is not None:
        significance[~mask] = -np.inf
    bright = significance > FOOTPRINT_SIGMA
    if not (bright & border).any():
        return False
    labels, n = ndimage.label(bright)
    peaks = np.zeros(n + 1, dtype=np.float32)
    np.maximum.at(peaks, labels[bright], significance[bright])
    target = _target(peaks, labels)
    return bool(target and (border & (labels == target)).any())


def _may_touch(data: NDArray[Any], noise: Noise) -> bool:
    """Rule out, by the two outermost rows and columns, that a source touches the border: most images end here.

    A source that does reaches 5 sigma in the outermost pixels, or goes on from one of them in the pixel within.
    """
    sides = (data[:, :2], data[:, :-3:-1], data[:, :, :2].swapaxes(1, 2), data[:, :, :-3:-1].swapaxes(1, 2))
    outer, inner = _significance(np.concatenate(sides, axis=2), noise)  # (2 * (H + W),) each
    bright = outer > FOOTPRINT_SIGMA
    return bool((bright & (inner > FOOTPRINT_SIGMA)).any() or (outer >= PEAK_SIGMA).any())


def _target(peaks: NDArray[np.float32], labels: NDArray[np.int32]) -> int:
    """Find the footprint at the centre, else the brightest; 0 where nothing reaches 5 sigma."""
    h, w = labels.shape
    dy, dx = h // 20, w // 20
    central = np.flatnonzero(np.bincount(labels[h // 2 - dy : h // 2 + dy + 1, w // 2 - dx : w // 2 + dx + 1].ravel()))
    for among in (central, np.arange(len(peaks))):
        best = int(among[peaks[among].argmax()])
        if peaks[best] >= PEAK_SIGMA:
            return best
    return 0


def _significance(data: NDArray[Any], noise: Noise) -> NDArray[np.float32]:
    planes = [
        (plane - np.float32(level)) / np.float32(sigma)
        for plane, level, sigma in zip(data, noise.level, noise.sigma, strict=True)
        if sigma > 0
    ]
    found = planes[0] if len(planes) == 1 else np.max(planes, axis=0)
    return np.asarray(found, dtype=np.float32)


def _border(shape: tuple[int, ...], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Mark the outermost pixels, and those beside blank areas that reach the outermost pixels."""
    border = np.zeros(shape, dtype=np.bool_)
    border[[0, -1], :] = border[:, [0, -1]] = True
    if mask is None:
        return border
    labels, n = ndimage.label(~mask)
    outside = np.zeros(n + 1, dtype=np.bool_)
    outside[labels[border]] = True
    outside[0] = False
    return np.asarray(border | ndimage.binary_dilation(outside[labels]), dtype=np.bool_)
