"""Sources in a field: found, separated and measured, so that each can become a cut-out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from astropy.stats import SigmaClip
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray
from photutils.background import Background2D, MADStdBackgroundRMS, MedianBackground
from photutils.segmentation import deblend_sources, detect_sources
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from morphospace.errors import ConfigError, ShapeError
from morphospace.sky.dbscan import FWHM, beam_of_noise, group_pixels, noise_surface, rare_peak
from morphospace.sky.noise import MAD_TO_SIGMA, estimate_noise

__all__ = ["Detection", "Source", "find_sources"]

_MODE_PART = 5  # of the pixels one in so many makes the mode
_FULL = 0.7  # of the clipped sigma, below which the spread under the mode says that emission fills the map
_BEAM_AREA = 1.1331  # of a Gaussian, pi / (4 log 2), in units of its full width squared
_RADIUS_BEAMS, _COUNT_BEAMS = 1.5, 0.5  # of DBSCAN: in full widths, in areas of the beam


@dataclass(frozen=True)
class Detection:
    """How sources are found in a field and how they are cut out.

    Parameters
    ----------
    method : {"segmentation", "dbscan"}
        What hangs together pixel by pixel; or, for interferometer maps, what DBSCAN groups of the pixels above the
        threshold: radius and count follow from the beam, and the parts of a ring with gaps stay one source.
    threshold_sigma : float, > 0
        A source is what hangs together above this many sigma of the smoothed field.
    peak_sigma : float, >= 0
        Its highest pixel reaches at least this many sigma; without this second condition the noise of a large map
        makes false sources.
    min_pixels : int, >= 1
        Smallest area; smaller ones show no shape.
    smoothing : float, >= 0
        Full width at half maximum, in pixels, of the Gaussian applied before the threshold; 0 is none.
    deblend : bool
        Separate sources that touch.
    contrast : float, 0 to 1
        A peak with less than this fraction of the flux of its blend is not separated.
    box : int, >= 0
        Side of the boxes, in pixels, in which background and noise are measured where the field is at least three
        boxes wide; 0 takes one level for the whole field, as for nebulae larger than a box.
    padding : float, >= 1
        Side of a cut-out of the source's own size, in units of the longer side of its footprint.

    Raises
    ------
    ConfigError
        If a value is out of its range.

    Notes
    -----
    Boxes of 64 pixels are SExtractor's (Bertin & Arnouts 1996, sect. 3 and 4), from which threshold, area and
    contrast come too. Departure: sigma is measured on the smoothed field, so a threshold of 3 means 3.
    """

    method: Literal["segmentation", "dbscan"] = "segmentation"
    threshold_sigma: float = 3.0
    peak_sigma: float = 5.0
    min_pixels: int = 30
    smoothing: float = 3.0
    deblend: bool = True
    contrast: float = 0.005
    box: int = 64
    padding: float = 1.5

    def __post_init__(self) -> None:
        ranges = {
            "method": (self.method in ("segmentation", "dbscan"), "'segmentation' or 'dbscan'"),
            "threshold_sigma": (self.threshold_sigma > 0, "positive"),
            "peak_sigma": (self.peak_sigma >= 0, "0 or more"),
            "min_pixels": (self.min_pixels >= 1, "1 or more"),
            "smoothing": (self.smoothing >= 0, "0 or more"),
            "contrast": (0 <= self.contrast <= 1, "between 0 and 1"),
            "box": (self.box >= 0, "0 or more"),
            "padding": (self.padding >= 1, "1 or more"),
        }
        for name, (good, wanted) in ranges.items():
            if not good:
                msg = f"detection: '{name}' must be {wanted}; got {getattr(self, name)}."
                raise ConfigError(msg)


@dataclass(frozen=True, eq=False)
class Source:
    """One source of a field.

    Parameters
    ----------
    x, y : float
        Centroid, weighted by the significance of each pixel; pixel centres are whole numbers, the first is 0.
    bbox : tuple of int
        ``(y0, y1, x0, x1)`` of the footprint, ends excluded.
    radius : float
        Radius in pixels of the circle with the area of the footprint.
    peak : float
        Highest pixel of the smoothed field in units of its sigma; where sigma is 0, in units of the image.
    segment : ndarray, (y1 - y0, x1 - x0), bool
        The footprint.
    """

    x: float
    y: float
    bbox: tuple[int, int, int, int]
    radius: float
    peak: float
    segment: NDArray[np.bool_]


@np.errstate(over="ignore", invalid="ignore")  # float64 maps may exceed float32
def find_sources(
    data: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    detection: Detection,
    *,
    beam_px: float | None = None,
    variance: NDArray[Any] | None = None,
) -> list[Source]:
    """Find the sources of a field.

    Bands are level-subtracted, divided by their noise and averaged; the background and noise that remain are removed
    box by box; what stands out of the smoothed plane is segmented and deblended (photutils), or grouped by DBSCAN.

    Parameters
    ----------
    data : ndarray, (C, H, W), any real dtype
        The field.
    mask : ndarray, (H, W), bool, or None
        True where valid; None where all is. Nothing is found on other pixels.
    detection : Detection
        Thresholds.
    beam_px : float, optional
        Full width of the beam at half maximum in pixels, geometric mean of the axes, for ``method="dbscan"``; None
        or NaN measures it: neighbouring pixels of the noise are the more alike the wider the beam.
    variance : ndarray, (C, H, W) or (H, W), optional
        Of the noise of each pixel; its square root divides the field first. Where it is not finite and positive
        nothing is found, but a band of which no variance is known is left as it is.

    Returns
    -------
    list of Source
        The highest peak first. Empty where nothing stands out or no pixel is valid.

    Raises
    ------
    ShapeError
        If the variance does not fit the field.

    Notes
    -----
    A band whose noise is 0 (a clipped map, a masked cloud) is left out where other bands have noise; where none has,
    everything above the level that hangs together is a source and ``peak_sigma`` says nothing.

    With ``box=0`` emission may fill most of the field, which the clipped noise then counts as noise: where what lies below the
    mode spreads less than 0.7 of it, mode and that spread are level and sigma.

    ``"dbscan"`` first divides by a noise that varies smoothly over the map (`morphospace.sky.dbscan.noise_surface`), as in maps
    that are corrected for the primary beam. Its radius is 1.5 beams, its count half the beam's area: the pixels in
    which a source of 5 sigma stands above 3.
    """
    valid = np.ones(data.shape[1:], dtype=np.bool_) if mask is None else mask
    if variance is not None:
        data, valid = _weigh(data, valid, variance)
        mask = valid
    if not valid.any():
        return []
    plane = _mean_plane(data, mask)
    if detection.method == "dbscan":
        plane /= noise_surface(plane, valid)
    plane = _flatten(plane, valid, detection.box)
    plane = _smooth(plane, valid, detection.smoothing / FWHM)
    level, sigma = (float(v[0]) for v in estimate_noise(plane[None], mask))
    if detection.method == "segmentation" and not detection.box:
        level, sigma = _core(plane[valid], level, sigma)
    plane = (plane - level) / sigma if sigma > 0 else plane - level
    plane[~valid] = 0
    threshold = detection.threshold_sigma if sigma > 0 else 1e-6 * float(np.abs(plane).max())
    least = detection.peak_sigma if sigma > 0 else 0.0
    if detection.method == "dbscan":
        if beam_px is None or not beam_px > 0:
            beam_px = beam_of_noise(plane, valid & (plane <= threshold))
        labels = _group(valid & (plane > threshold), detection.min_pixels, beam_px)
        if sigma > 0:
            least = max(least, rare_peak(np.count_nonzero(valid) / beam_px**2))
    else:
        labels = _segment(plane, valid, threshold, detection)
    sources = [source for source in _measure(plane, labels) if source.peak >= least]
    return sorted(sources, key=lambda source: (-source.peak, source.y, source.x))


def _weigh(
    data: NDArray[Any], valid: NDArray[np.bool_], variance: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if variance.shape not in (data.shape, data.shape[1:]):
        msg = f"variance must have the shape of the field, {data.shape}, or (H, W); got {variance.shape}."
        raise ShapeError(msg)
    planes = np.broadcast_to(variance, data.shape)
    good = np.isfinite(planes) & (planes > 0)
    known = good.any(axis=(1, 2))[:, None, None]  # other bands have no variance plane: their own noise has to do
    valid = valid & (good | ~known).all(axis=0) & known.any()
    error = np.sqrt(np.where(good, planes, 1))
    level = estimate_noise(data, valid).level[:, None, None]
    return np.where(valid, (data - level) / error, 0).astype(np.float32), valid


def _mean_plane(data: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    level, sigma = estimate_noise(data, mask)
    noisy = sigma > 0
    bands = noisy if noisy.any() else np.ones(len(sigma), dtype=np.bool_)
    scale = np.where(noisy, sigma, 1)[bands, None, None]
    plane = ((data[bands] - level[bands, None, None]) / scale).mean(axis=0)
    if mask is not None:
        plane = np.where(mask, plane, 0)
    return np.asarray(plane, dtype=np.float32)


def _flatten(plane: NDArray[np.float32], valid: NDArray[np.bool_], box: int) -> NDArray[np.float32]:
    if not box or min(plane.shape) < 3 * box:
        return plane
    try:
        found = Background2D(
            plane,
            box,
            coverage_mask=~valid,
            exclude_percentile=50,
            sigma_clip=SigmaClip(sigma=3.0, maxiters=10),
            bkg_estimator=MedianBackground(),
            bkg_rms_estimator=MADStdBackgroundRMS(),
        )
    except ValueError:
        # too few boxes are half valid: the one level already subtracted has to do
        return plane
    # photutils' own surface is level from the middle of the outermost boxes to the border, where a slope of the
    # background then makes sources; reflected oddly, the slope goes on
    level = _interpolate(np.pad(found.background_mesh, 1, mode="reflect", reflect_type="odd"), plane.shape, box)
    noise = _interpolate(np.pad(found.background_rms_mesh, 1, mode="edge"), plane.shape, box)
    if not (noise > 0).all():
        noise = np.ones_like(noise)
    return np.asarray(np.where(valid, (plane - level) / noise, 0), dtype=np.float32)


def _interpolate(mesh: NDArray[np.float64], shape: tuple[int, ...], box: int) -> NDArray[np.float64]:
    """Draw a value per box, and per box of one more row around them, as a smooth surface."""
    centres = [(np.arange(n) - 0.5) * box - 0.5 for n in mesh.shape]
    return np.asarray(RectBivariateSpline(*centres, mesh)(*(np.arange(n) for n in shape)))


def _core(values: NDArray[np.float32], level: float, sigma: float) -> tuple[float, float]:
    """Level and noise where emission may fill most of the map: the mode, and the spread of what lies below it."""
    ordered = np.sort(values[np.isfinite(values)])
    width = max(len(ordered) // _MODE_PART, 1)
    spans = ordered[width:] - ordered[:-width]
    if not len(spans):
        return level, sigma
    first = int(np.argmin(spans))  # the narrowest interval with a fifth of the pixels
    mode = float(np.median(ordered[first : first + width + 1]))
    below = mode - ordered[ordered < mode]
    spread = MAD_TO_SIGMA * float(np.median(below)) if len(below) else 0.0
    return (mode, spread) if 0 < spread < _FULL * sigma else (level, sigma)


def _smooth(plane: NDArray[np.float32], valid: NDArray[np.bool_], width: float) -> NDArray[np.float32]:
    """Smooth by a Gaussian such that the noise is the same beside the border and blank areas as elsewhere."""
    if not width:
        return plane
    weighted = ndimage.gaussian_filter(np.where(valid, plane, 0), width, mode="constant")
    # the variance goes with the square of the kernel, a Gaussian narrower by the square root of 2
    variance = ndimage.gaussian_filter(valid.astype(np.float32), width / np.sqrt(2), mode="constant")
    return np.asarray(weighted / np.sqrt(np.maximum(variance, 0.1)), dtype=np.float32)


def _segment(
    plane: NDArray[np.float32], valid: NDArray[np.bool_], threshold: float, detection: Detection
) -> NDArray[np.int32]:
    with warnings.catch_warnings():
        # nothing found, or a blend with too many peaks to separate: ordinary answers here
        warnings.simplefilter("ignore", category=AstropyWarning)
        found = detect_sources(plane, threshold, detection.min_pixels, mask=~valid)
        if found is None:
            return np.zeros(plane.shape, dtype=np.int32)
        if detection.deblend:
            found = deblend_sources(plane, found, detection.min_pixels, contrast=detection.contrast, progress_bar=False)
    return np.asarray(found.data, dtype=np.int32)


def _group(above: NDArray[np.bool_], min_pixels: int, beam_px: float) -> NDArray[np.int32]:
    """Group the pixels above the threshold by DBSCAN, with the beam as the yardstick."""
    count = max(1, round(_COUNT_BEAMS * _BEAM_AREA * beam_px**2))
    labels = group_pixels(above, radius=max(_RADIUS_BEAMS * beam_px, 1.5), count=count)
    return np.where(np.bincount(labels.ravel())[labels] >= min_pixels, labels, 0).astype(np.int32)


def _measure(plane: NDArray[np.float32], labels: NDArray[np.int32]) -> list[Source]:
    sources = []
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        rows, columns = window
        segment = labels[window] == label
        weight = np.where(segment, plane[window], 0).clip(min=0).astype(np.float64)
        total = weight.sum()
        y, x = np.indices(segment.shape)
        sources.append(
            Source(
                x=columns.start + float((weight * x).sum() / total),
                y=rows.start + float((weight * y).sum() / total),
                bbox=(rows.start, rows.stop, columns.start, columns.stop),
                radius=float(np.sqrt(segment.sum() / np.pi)),
                peak=float(weight.max()),
                segment=segment,
            )
        )
    return sources
