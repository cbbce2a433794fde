"""Mask, variance and weight planes beside an image: in another HDU of its file, or in another file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.sky._intake import refusal
from morphospace.sky.cubes import CubeReading
from morphospace.sky.images import SUFFIXES, Image, read_image

__all__ = ["plane_file", "sigma_of", "with_planes"]


def with_planes(
    image: Image,
    *,
    hdu: str | int | None = None,
    mask: str = "",
    variance: str = "",
    weight: str = "",
) -> Image:
    """Add the planes that tell how good the pixels of an image are.

    Each plane is named in one of three ways. By its HDU in the file of the image, name or number: ``"STAT"``,
    ``"2"``. By a pattern with the name of the image's file without folder and suffix: ``"{stem}_mask.fits"``,
    relative to the folder of the image. By what in that name is put in the place of what: ``"_sci:_wht"``.

    Parameters
    ----------
    image : Image
        As `read_image` gave it.
    hdu : str or int, optional
        The HDU asked for when the image was read: a plane in another FITS file is read from the same one.
    mask : str
        Plane in which, as is the custom, 0 marks good pixels; any other value, and NaN, a bad one.
    variance : str
        Plane of the variance, in the square of the image's unit.
    weight : str
        Plane of the inverse variance; give this or `variance`.

    Returns
    -------
    Image
        ``mask``: True where the pixel was valid before and every plane agrees, in every band; None if all are.
        ``variance``: float32 (C, H, W), NaN where it is not finite and positive; such pixels are masked. A plane
        (H, W) holds for all bands. Planes of a cube fit where its channels are the bands.

    Raises
    ------
    DataError
        If a plane is missing, has another shape, or has no positive variance at all. One sentence names file and
        plane.
    ConfigError
        If both `variance` and `weight` are given.
    """
    if variance and weight:
        msg = f"variance '{variance}' and weight '{weight}' tell the same thing; give one of them."
        raise ConfigError(msg)
    valid = np.ones(image.data.shape[1:], bool) if image.mask is None else image.mask
    spread = image.variance
    if mask:
        bad, _ = _read_plane(image, mask, "mask", hdu)
        valid = valid & np.isfinite(bad).all(axis=0) & (bad == 0).all(axis=0)
    if variance or weight:
        spread = _variance(image, variance or weight, "variance" if variance else "weight", hdu)
        valid = valid & np.isfinite(spread).all(axis=0)
    return replace(image, mask=None if valid.all() else valid, variance=spread)


def sigma_of(variance: NDArray[np.floating[Any]], mask: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Give the typical noise of each band: the square root of the median variance of its valid pixels.

    Parameters
    ----------
    variance : array, (C, H, W)
        What is not finite and positive is left out.
    mask : array of bool, (H, W), optional
        True = valid.

    Returns
    -------
    array, (C,), float32
        NaN in a band without a valid pixel.

    Raises
    ------
    ShapeError
        If the variance is not (C, H, W) or the mask does not fit it.

    Examples
    --------
    >>> sigma_of(np.full((2, 8, 8), 9.0)).tolist()
    [3.0, 3.0]
    """
    if variance.ndim != 3 or (mask is not None and mask.shape != variance.shape[1:]):
        shapes = f"{variance.shape} and {None if mask is None else mask.shape}"
        msg = f"variance must be (C, H, W) and its mask (H, W); got shapes {shapes}."
        raise ShapeError(msg)
    sigma = np.full(len(variance), np.nan, np.float32)
    for band, plane in enumerate(variance):
        pixels = plane if mask is None else plane[mask]
        pixels = pixels[np.isfinite(pixels) & (pixels > 0)]
        if pixels.size:
            sigma[band] = np.sqrt(np.median(pixels.astype(np.float64)))
    return sigma


def plane_file(source: str, plane: str) -> str | None:
    """Name the file that a plane is in, None for the image's own; see `with_planes`.

    Raises
    ------
    ConfigError
        If the pattern has another field than {stem}.
    DataError
        If the name of the image does not hold what is to be replaced.
    """
    folder, name = os.path.split(source)
    suffix = next((end for end in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(end)), "")
    if "{" in plane or plane.lower().endswith(SUFFIXES):
        try:
            return os.path.join(folder, plane.format(stem=name[: len(name) - len(suffix)]))
        except (KeyError, IndexError, ValueError, AttributeError):
            msg = f"pattern '{plane}' of a plane may have the field {{stem}} only, the name of the image's file."
            raise ConfigError(msg) from None
    if ":" in plane:
        old, new = plane.split(":", 1)
        if not old or old not in name:
            raise refusal(
                source, f"has no '{old}' in its name to replace for its plane '{plane}'", "name the plane otherwise"
            )
        return os.path.join(folder, new.join(name.rsplit(old, 1)))
    return None


def _read_plane(image: Image, plane: str, kind: str, hdu: str | int | None) -> tuple[NDArray[Any], str]:
    """Read a plane as (C, H, W), and say where it came from."""
    file = plane_file(image.source, plane)
    try:
        found = read_image(file or image.source, hdu=hdu if file else plane, cube=CubeReading("channels"))
    except DataError as refused:
        if file is None or not Path(file).exists():
            raise refusal(image.source, f"has no {kind} plane '{plane}': {_reason(refused)}", "mend the name") from None
        raise
    where = f"{kind} plane '{plane}'" + (f" (file '{file}')" if file else "")
    if file is None and found.hdu == image.hdu:  # a picture has no HDU, so reading one gives the image again
        raise refusal(image.source, f"has no {kind} plane '{plane}' beside its image", "mend the name")
    data = found.data
    if data.shape[1:] != image.data.shape[1:] or len(data) not in (1, len(image.data)):
        shapes = f"{data.shape} beside an image of {image.data.shape}"
        raise refusal(image.source, f"has a {where} of shape {shapes}", "give one of the same shape")
    return np.broadcast_to(data, image.data.shape), where


def _reason(refused: DataError) -> str:
    """Take what came out of a refusal's one sentence."""
    return str(refused).split(";")[0]


def _variance(image: Image, plane: str, kind: str, hdu: str | int | None) -> NDArray[np.float32]:
    """Read a variance or weight plane as variance, NaN where it is not positive."""
    data, where = _read_plane(image, plane, kind, hdu)
    values = data.astype(np.float64)
    with np.errstate(all="ignore"):
        spread = (values if kind == "variance" else 1 / values).astype(np.float32)
    spread[~(np.isfinite(spread) & (spread > 0))] = np.nan
    if np.isnan(spread).all():
        raise refusal(
            image.source, f"has a {where} without one finite and positive value", "leave the plane or the file out"
        )
    return spread
