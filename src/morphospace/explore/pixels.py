"""Pixels for the page: flux as it is, averaged down where there is too much of it, with its place on the sky."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord, skycoord_to_pixel
from numpy.typing import NDArray
from PIL import Image

from morphospace.errors import DataError, MorphospaceError
from morphospace.sky._intake import guarded
from morphospace.sky.cutouts import Cutout

__all__ = ["Pixels", "orientation", "pixels_of", "shrunk"]


class Pixels(NamedTuple):
    """An image as the page takes it.

    Attributes
    ----------
    flux : array of float32, (C, h, w)
        NaN where masked or blank.
    full_shape : tuple of int
        (C, H, W) before averaging.
    """

    flux: NDArray[np.float32]
    full_shape: tuple[int, ...]


@np.errstate(over="ignore", invalid="ignore")  # float64 maps may exceed float32
def pixels_of(cutout: Cutout, most: int) -> Pixels:
    """Take the flux of a cutout, averaged by area where its longer side exceeds ``most``.

    Parameters
    ----------
    cutout : Cutout
    most : int, >= 1

    Returns
    -------
    Pixels
        A pixel is the mean of the valid ones under it, and NaN where less than half of its area is valid.
    """
    flux = cutout.image.astype(np.float32)
    valid = np.isfinite(flux)
    if cutout.mask is not None:
        valid &= cutout.mask
    flux[~valid] = np.nan
    height, width = flux.shape[1:]
    if max(height, width) > most:
        factor = most / max(height, width)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        flux = np.stack([shrunk(plane, size) for plane in flux])
    return Pixels(flux, cutout.image.shape)


def shrunk(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Average a plane (H, W) to ``size`` (w, h) by area, leaving out NaN."""
    valid = np.isfinite(plane)
    weight = _box(valid.astype(np.float32), size)
    total = _box(np.where(valid, plane, np.float32(0)), size)
    return np.where(weight >= 0.5, total / np.maximum(weight, 0.5), np.float32(np.nan))


def _box(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX), dtype=np.float32)


def orientation(cutout: Cutout, shown: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Tell how an image lies on the sky.

    Parameters
    ----------
    cutout : Cutout
    shown : tuple of int, optional
        Shape of the pixels that are sent; the scale is theirs.

    Returns
    -------
    dict
        ``north_deg``: direction of increasing declination (ICRS) at the centre, counter-clockwise from +y, the
        direction of increasing row; None without a WCS. ``east_left``: whether east lies to the left of north.
        ``scale_arcsec`` of a pixel, None where unknown. ``row0``: ``"bottom"`` for FITS, else ``"top"``.
    """
    factor = 1.0 if shown is None else cutout.image.shape[-1] / shown[-1]
    scale = cutout.pixel_scale_arcsec * factor
    found: dict[str, Any] = {
        "north_deg": None,
        "east_left": None,
        "scale_arcsec": scale if math.isfinite(scale) and scale > 0 else None,
        "row0": "bottom" if cutout.hdu else "top",
    }
    if cutout.wcs:
        try:
            found["north_deg"], found["east_left"] = _compass(cutout)
        except MorphospaceError:
            return found  # guarded has logged why: the picture is shown without a compass
    return found


def _compass(cutout: Cutout) -> tuple[float, bool]:
    height, width = cutout.image.shape[-2:]
    with guarded(cutout.id, "has a WCS that cannot be used", "its picture is shown without north and east"):
        wcs = WCS(cutout.wcs).celestial
        centre = pixel_to_skycoord((width - 1) / 2, (height - 1) / 2, wcs).icrs
        step = max(1e-4, float(np.nan_to_num(cutout.pixel_scale_arcsec, nan=1.0))) * u.arcsec
        towards = centre.directional_offset_by([0, 90] * u.deg, step)
        around = SkyCoord([centre.ra, *towards.ra], [centre.dec, *towards.dec])
        x, y = (np.asarray(v, dtype=np.float64) for v in skycoord_to_pixel(around, wcs))
    north, east = (x[1] - x[0], y[1] - y[0]), (x[2] - x[0], y[2] - y[0])
    angle = math.degrees(math.atan2(-north[0], north[1]))
    if not math.isfinite(angle):
        msg = f"'{cutout.id}' has a WCS without a direction north at its centre."
        raise DataError(msg)
    return angle, bool(north[0] * east[1] - north[1] * east[0] > 0)
