"""Pixels for the page: flux as it is, averaged down where there is too much of it, with its place on the sky."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import DataError, MorphospaceError
from morphospace.sky._intake import guarded
from morphospace.sky.cutouts import Cutout
from morphospace.sky.wcs import steps_on_sky

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
    """Average a plane (H, W) to ``size`` (w, h) by area, leaving out NaN; a larger one repeats its pixels."""
    valid = np.isfinite(plane)
    rows, columns = _shares(plane.shape[0], size[1]), _shares(plane.shape[1], size[0]).T
    weight = rows @ valid.astype(np.float32) @ columns
    total = rows @ np.where(valid, plane, np.float32(0)) @ columns
    return np.where(weight >= 0.5, total / np.maximum(weight, 0.5), np.float32(np.nan))


@lru_cache(maxsize=64)
def _shares(n_in: int, n_out: int) -> NDArray[np.float32]:
    """Give the share of each old pixel in each new one along an axis, (n_out, n_in); PIL's box takes whole pixels."""
    new, old = np.linspace(0, n_in, n_out + 1), np.arange(n_in + 1.0)
    overlap = np.minimum(new[1:, None], old[1:]) - np.maximum(new[:-1, None], old[:-1])
    return np.asarray(np.clip(overlap, 0, None) * (n_out / n_in), dtype=np.float32)


def orientation(cutout: Cutout) -> dict[str, Any]:
    """Tell how an image lies on the sky.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    dict
        ``north_deg``: direction of increasing declination (ICRS) at the centre, counter-clockwise from +y, the
        direction of increasing row; None without a WCS. ``east_left``: whether east lies to the left of north.
        ``scale_arcsec`` of a pixel of the whole image, None where unknown. ``row0``: ``"bottom"`` for FITS, else ``"top"``.
    """
    scale = cutout.pixel_scale_arcsec
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
    """Give the direction north and whether east is to its left, at the centre."""
    height, width = cutout.image.shape[-2:]
    with guarded(cutout.id, "has a WCS that cannot be used", "its picture is shown without north and east"):
        (east_x, north_x), (east_y, north_y) = np.linalg.inv(steps_on_sky(cutout.wcs or "", (height, width)))
    angle = math.degrees(math.atan2(-north_x, north_y))
    if not math.isfinite(angle):
        msg = f"'{cutout.id}' has a WCS without a direction north at its centre."
        raise DataError(msg)
    return angle, bool(north_x * east_y - north_y * east_x > 0)
