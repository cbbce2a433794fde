"""Planes: of each cutout the one image that is measured, its level taken off, with its noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.noise import estimate_noise
from morphospace.sky.samples import Samples
from morphospace.sky.stacks import mean_planes, sample_stack

__all__ = ["Plane", "read_planes"]

_AT_ONCE = 64  # rows


class Plane(NamedTuple):
    """What is measured of one cutout.

    Attributes
    ----------
    id : str
    image : ndarray, (H, W), float64
        Level-subtracted; 0 where not valid.
    valid : ndarray, (H, W), bool
    level, sigma : float
        In the unit of the pixels; NaN without a valid pixel.
    noise : ndarray, (1, 1) or (H, W)
        Sigma of each pixel: from the variance where it is known.
    """

    id: str
    image: NDArray[np.float64]
    valid: NDArray[np.bool_]
    level: float
    sigma: float
    noise: NDArray[np.float64]


class _Known(NamedTuple):
    id: str
    image: NDArray[Any]  # (C, H, W) or (C, Z, H, W)
    mask: NDArray[np.bool_] | None
    level: NDArray[np.float64]
    sigma: NDArray[np.float64]
    variance: NDArray[Any] | None
    bands: tuple[str, ...]


def read_planes(data: Cutouts | Samples, band: str | int | None) -> Iterator[Plane]:
    """Read the plane of every row, in order.

    Parameters
    ----------
    data : Cutouts or Samples
    band : str or int, optional
        Name or number of the band; None is the mean of all.

    Raises
    ------
    ConfigError
        If a row does not have the band.
    """
    for known in _read(data):
        yield _plane(known, _bands(known, band))


def _read(data: Cutouts | Samples) -> Iterator[_Known]:
    if not isinstance(data, Cutouts):
        for row in range(len(data)):
            stack = sample_stack(data[row], row)
            mask = None if stack.mask is None else stack.mask[0]
            noise = (stack.level[0].astype(np.float64), stack.sigma[0].astype(np.float64))
            yield _Known(stack.ids[0], stack.images[0], mask, *noise, None, ())
        return
    for start in range(0, len(data), _AT_ONCE):
        for cutout in data.read(np.arange(start, min(start + _AT_ONCE, len(data)))):
            noise = (np.asarray(cutout.level, np.float64), np.asarray(cutout.sigma, np.float64))
            yield _Known(cutout.id, cutout.image, cutout.mask, *noise, cutout.variance, tuple(cutout.bands))


def _bands(known: _Known, band: str | int | None) -> list[int]:
    """Numbers of the bands to average."""
    n_bands = len(known.image)
    if band is None:
        return list(range(n_bands))
    if isinstance(band, str) and band in known.bands:
        return [known.bands.index(band)]
    number = int(band) if str(band).isdecimal() else -1
    if 0 <= number < n_bands:
        return [number]
    names = known.bands or tuple(str(i) for i in range(n_bands))
    msg = f"'{known.id}' has no band {band!r}{nearest(str(band), names)}"
    raise ConfigError(msg)


def _plane(known: _Known, bands: list[int]) -> Plane:
    image = known.image[bands].astype(np.float64)
    image = (mean_planes(image) if image.ndim == 4 else image).mean(axis=0)
    valid = np.isfinite(image) if known.mask is None else np.isfinite(image) & known.mask
    level, sigma = np.nan, np.nan
    if len(bands) == 1 and bands[0] < min(len(known.level), len(known.sigma)) and known.image.ndim == 3:
        level, sigma = float(known.level[bands[0]]), float(known.sigma[bands[0]])
    if not np.isfinite(level + sigma):
        measured = estimate_noise(image[None], valid)
        level, sigma = float(measured.level[0]), float(measured.sigma[0])
    noise = np.full((1, 1), sigma)
    if known.variance is not None and known.variance.shape == known.image.shape and known.image.ndim == 3:
        variance = known.variance[bands].astype(np.float64).sum(axis=0) / len(bands) ** 2
        good = np.isfinite(variance) & (variance > 0)
        if good.any():
            valid, noise = valid & good, np.sqrt(np.where(good, variance, 0.0))
    return Plane(known.id, np.where(valid, image - level, 0.0), valid, level, sigma, noise)
