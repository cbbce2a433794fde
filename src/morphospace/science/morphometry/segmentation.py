"""Which pixels belong to which source: the segmentation that the measures of shape start from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray
from photutils.segmentation import deblend_sources, detect_sources
from scipy import ndimage

from morphospace.errors import ConfigError
from morphospace.sky.noise import estimate_noise

__all__ = ["Segmentation", "main_labels", "segment"]

_FWHM = 2.3548200450309493  # full width at half maximum of a Gaussian, in units of its sigma
_PART = 4  # of the shorter side, the s.d. of the Gaussian that says how central a source is


@dataclass(frozen=True)
class Segmentation:
    """How sources are told from the background.

    Parameters
    ----------
    threshold_sigma : float, > 0
        A source is what hangs together above this many sigma of the smoothed image.
    peak_sigma : float, >= 0
        The highest pixel of the smoothed source reaches at least this many.
    min_pixels : int, >= 1
        Smallest area of a source.
    smoothing : float, >= 0
        Full width at half maximum, in pixels, of the Gaussian applied before the threshold; 0 is none.
    deblend : bool
        Separate sources that touch; about 0.1 s an image.

    Raises
    ------
    ConfigError
        If a value is out of its range.

    Notes
    -----
    Convolve, threshold, connect as in SExtractor (Bertin & Arnouts 1996, sect. 4), carried out by photutils. Sigma is that
    of the smoothed image, so that 3 means 3; with the second condition the noise of maps with a beam makes no sources.
    """

    threshold_sigma: float = 3.0
    peak_sigma: float = 5.0
    min_pixels: int = 20
    smoothing: float = 3.0
    deblend: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "threshold_sigma": (self.threshold_sigma > 0, "positive"),
            "peak_sigma": (self.peak_sigma >= 0, "0 or more"),
            "min_pixels": (self.min_pixels >= 1, "1 or more"),
            "smoothing": (self.smoothing >= 0, "0 or more"),
        }
        for name, (good, wanted) in ranges.items():
            if not good:
                msg = f"segmentation: '{name}' must be {wanted}; got {getattr(self, name)}."
                raise ConfigError(msg)


def segment(plane: NDArray[np.floating[Any]], valid: NDArray[np.bool_], how: Segmentation) -> NDArray[np.int32]:
    """Label the sources of one image.

    Parameters
    ----------
    plane : ndarray, (H, W), float
        Level-subtracted; finite where valid.
    valid : ndarray, (H, W), bool
        Nothing is found elsewhere.
    how : Segmentation

    Returns
    -------
    ndarray, (H, W), int32
        0 is background; sources count from 1. All 0 where nothing stands out. Where the noise of the smoothed image is
        0 (masked clouds, clipped maps), everything above the level counts.
    """
    if not valid.any():
        return np.zeros(plane.shape, dtype=np.int32)
    filled = np.where(valid, plane, 0)
    width = how.smoothing / _FWHM
    smooth = ndimage.gaussian_filter(filled, width, mode="nearest") if width else filled
    noise = estimate_noise(smooth[None], valid)
    level, sigma = float(noise.level[0]), float(noise.sigma[0])
    if not sigma > 0:
        smooth, level, sigma = filled, 0.0, 0.0
    threshold = level + how.threshold_sigma * sigma
    with warnings.catch_warnings():
        # nothing found, or a blend with too many peaks to separate: ordinary answers here
        warnings.simplefilter("ignore", category=AstropyWarning)
        found = detect_sources(smooth, threshold, how.min_pixels, mask=~valid)
        if found is None:
            return np.zeros(plane.shape, dtype=np.int32)
        if how.deblend:
            found = deblend_sources(smooth, found, how.min_pixels, progress_bar=False)
    labels = np.asarray(found.data, dtype=np.int32)
    peaks = ndimage.maximum(smooth, labels, np.arange(1, int(labels.max()) + 1))
    kept = np.asarray(peaks) >= level + how.peak_sigma * sigma
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels - 1] * (labels > 0)


def main_labels(labels: NDArray[np.int32], planes: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Choose the source of each image that is measured: that with the most flux, central ones before others.

    Parameters
    ----------
    labels : ndarray, (B, H, W), int
        As of `segment`.
    planes : ndarray, (B, H, W), float
        Level-subtracted.

    Returns
    -------
    ndarray, (B,), int64
        0 where there is no source. Flux is weighted by a Gaussian about the centre of the image whose s.d. is a quarter
        of the shorter side, as in `morphospace.sky.shape.measure_shapes`.
    """
    n, height, width = labels.shape
    y, x = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    weight = np.exp(-0.5 * (y[:, None] ** 2 + x**2) / (min(height, width) / _PART) ** 2)
    most = int(labels.max(initial=0)) + 1
    place = (labels + np.arange(n)[:, None, None] * most).ravel()
    flux = np.bincount(place, (planes * weight).ravel(), n * most).reshape(n, most)
    present = np.bincount(place, minlength=n * most).reshape(n, most) > 0
    flux[~present] = -np.inf
    flux[:, 0] = -np.inf
    best = flux.argmax(axis=1)
    return np.where(np.isfinite(flux.max(axis=1)), best, 0)
