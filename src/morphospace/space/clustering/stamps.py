"""Pictures of cutouts for print and for people: one stretch for all, north up and one scale where they are known."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from morphospace.errors import MorphospaceError
from morphospace.sky._intake import guarded
from morphospace.sky.cutouts import Cutout
from morphospace.sky.noise import estimate_noise
from morphospace.sky.stretch import Stretch
from morphospace.sky.wcs import steps_on_sky

__all__ = ["BLANK", "STRETCH", "Frame", "draw_picture", "draw_stamp", "frame_of"]

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]

BLANK = (46, 52, 64)  # as in thumbnails: not a colour that pixels have
_SOFTENING, _FLOOR, _WHITE = 3.0, 0.0, 99.7
#: The stretch in words.
STRETCH = (
    "asinh of flux over noise, linear below 3 sigma, black at the background, white at the 99.7th percentile of each"
)
_FAINT = 20.0  # sigmas in the highest pixel of an image without noise
_FINEST = 6  # samples along a side of a pixel of a stamp


class Frame(NamedTuple):
    """How an image lies on the sky."""

    kind: Literal["sky", "scale", "pixel"]
    """``"sky"``: scale and orientation are known; ``"scale"``: the scale alone; ``"pixel"``: neither."""
    matrix: Float
    """(2, 2): pixels (x, y) for a step to the right and upwards on the page, in arcsec or, for ``"pixel"``, in pixels."""
    side: float
    """Longer side of the image, in the same unit."""


def frame_of(cutout: Cutout) -> Frame:
    """Find how a cutout lies on the sky, from its WCS at its centre, or its pixel scale.

    Parameters
    ----------
    cutout : Cutout
    """
    height, width = cutout.image.shape[1:]
    up = 1.0 if cutout.hdu else -1.0  # rows of FITS images run upwards
    jacobian = _on_the_sky(cutout.id, cutout.wcs, width, height) if cutout.wcs else None
    if jacobian is not None:
        scale = math.sqrt(abs(float(np.linalg.det(jacobian))))
        east_is_left = np.diag([-1.0, 1.0])
        turn = np.asarray(np.linalg.inv(jacobian) @ east_is_left, dtype=np.float64)
        return Frame("sky", turn, max(height, width) * scale)
    if cutout.pixel_scale_arcsec > 0:
        scale = cutout.pixel_scale_arcsec
        return Frame("scale", np.diag([1.0, up]) / scale, max(height, width) * scale)
    return Frame("pixel", np.diag([1.0, up]), float(max(height, width)))


def _on_the_sky(name: str, cards: str, width: int, height: int) -> Float | None:
    """Give what ``steps_on_sky`` finds; None where it cannot be used, with a line in the log."""
    try:
        with guarded(name, "has a WCS that cannot be used", "it is drawn as it lies in its file"):
            steps = steps_on_sky(cards, (height, width))
    except MorphospaceError as error:
        logger.warning("%s", error)
        return None
    return steps if np.isfinite(steps).all() else None


def draw_picture(cutout: Cutout, *, side: int) -> NDArray[np.uint8]:
    """Draw a whole cutout as it lies in its file, enlarged by a whole number to about `side` pixels.

    Returns
    -------
    array, (H, W, 3), uint8
        The first row on top.
    """
    planes = _stretched(cutout)
    planes = planes[:, ::-1] if cutout.hdu else planes
    times = max(1, side // max(planes.shape[1:]))
    return _to_bytes(np.repeat(np.repeat(planes, times, axis=1), times, axis=2))


def draw_stamp(cutout: Cutout, frame: Frame, field: float, pixels: int) -> NDArray[np.uint8]:
    """Draw the middle of a cutout at a given scale, north up and east to the left where that is known.

    Parameters
    ----------
    cutout : Cutout
    frame : Frame
        As `frame_of` found it.
    field : float
        Side of the stamp in the unit of the frame.
    pixels : int
        Side of the stamp in pixels.

    Returns
    -------
    array, (pixels, pixels, 3), uint8
        Where there is no image, or its pixels are blank: slate.
    """
    planes = _stretched(cutout)
    height, width = planes.shape[1:]
    step = field / pixels
    fine = int(np.clip(math.ceil(step * np.abs(frame.matrix).sum(axis=1).max()), 1, _FINEST))
    n = pixels * fine
    along = (np.arange(n) + 0.5) / n * field - field / 2
    right, up = np.meshgrid(along, along[::-1])
    x = (width - 1) / 2 + frame.matrix[0, 0] * right + frame.matrix[0, 1] * up
    y = (height - 1) / 2 + frame.matrix[1, 0] * right + frame.matrix[1, 1] * up
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    drawn = np.empty((len(planes), pixels, pixels))
    for plane, target in zip(planes, drawn, strict=True):
        values = map_coordinates(plane, [y, x], order=1, mode="nearest")
        values[~inside] = np.nan
        blocks = values.reshape(pixels, fine, pixels, fine)
        there = np.isfinite(blocks)
        count = there.sum(axis=(1, 3))
        total = np.where(there, blocks, 0).sum(axis=(1, 3))
        target[:] = np.where(2 * count >= fine * fine, total / np.maximum(count, 1), np.nan)
    return _to_bytes(drawn)


def _to_bytes(planes: Float) -> NDArray[np.uint8]:
    """Make a picture (H, W, 3) of one plane or three, NaN slate."""
    blank = ~np.isfinite(planes).all(axis=0)
    grey = np.rint(255 * np.where(blank, 0, planes)).clip(0, 255).astype(np.uint8)
    picture = np.stack(list(grey) * (3 // len(grey)), axis=-1)
    picture[blank] = BLANK
    return picture


def _stretched(cutout: Cutout) -> Float:
    """Scale a cutout to 0 ... 1: one plane, or red, green and blue; (1 or 3, H, W), NaN where blank."""
    image = cutout.image.astype(np.float64)
    if cutout.mask is not None:
        image[:, ~cutout.mask] = np.nan
    if cutout.image.dtype == np.uint8:
        return _colours(cutout, image) / 255
    shown = _colours(cutout, _over_noise(cutout, image))
    good = shown[np.isfinite(shown)]
    white = max(float(np.percentile(good, _WHITE)), 2 * _SOFTENING) if good.size else 1.0
    curve = Stretch("asinh", a=_SOFTENING)
    low, high = curve(np.array([_FLOOR, white]))
    return np.asarray((curve(shown) - low) / (high - low))


def _over_noise(cutout: Cutout, image: Float) -> Float:
    noise = None if cutout.level and cutout.sigma else estimate_noise(image)
    level = np.array(cutout.level if noise is None else noise.level, dtype=np.float64)
    sigma = np.array(cutout.sigma if noise is None else noise.sigma, dtype=np.float64)
    for band, plane in enumerate(image):
        good = plane[np.isfinite(plane)]
        if not sigma[band] > 0:
            sigma[band] = (float(good.max()) - level[band]) / _FAINT if good.size else 1.0
    return np.asarray((image - level[:, None, None]) / np.where(sigma > 0, sigma, 1.0)[:, None, None])


def _colours(cutout: Cutout, image: Float) -> Float:
    """Choose what is shown: three bands as colours, the longest wavelength red; else their mean."""
    if len(image) != 3:
        return np.asarray(image.mean(axis=0, keepdims=True))
    waves: NDArray[Any] = np.asarray(cutout.wavelength_nm or (np.nan,) * 3)
    return np.asarray(image[np.argsort(-waves)] if np.isfinite(waves).all() else image)
