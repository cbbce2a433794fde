"""Gini coefficient and M20, on pixels chosen by the Petrosian radius."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from morphospace.science.morphometry.apertures import Ellipses, area, running_sums, sums_within
from morphospace.science.morphometry.filters import gauss_smoothed
from morphospace.science.morphometry.moments import central_moments, raw_moments
from morphospace.science.morphometry.radii import RING

__all__ = ["GiniPixels", "gini", "gini_pixels", "m20"]

_SMOOTHING = 0.2  # of the Petrosian radius: the s.d. of the Gaussian
_BRIGHTEST = 0.2  # of the flux, in the brightest pixels

_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)  # corners touch, images do not
_IN_PLANE[1] = True


class GiniPixels(NamedTuple):
    """Pixels of each source for Gini and M20, (B, H, W), bool, and what was odd, (B,), bool."""

    pixels: Tensor
    parts: Tensor
    failed: Tensor


def gini_pixels(image: Tensor, inside: Tensor, shape: Ellipses, petrosian: Tensor) -> GiniPixels:
    """Choose the pixels whose smoothed brightness is at least that at the Petrosian radius.

    Parameters
    ----------
    image : Tensor, (B, H, W)
        0 where masked or outside.
    inside : Tensor, (B, H, W), bool
        Pixels of the stamp.
    shape : Ellipses
        About the centroid.
    petrosian : Tensor, (B,)
        Elliptical Petrosian radius, pixels.

    Notes
    -----
    Lotz+ 2004, sect. 3.2, in the form of Rodriguez-Gomez+ 2019, sect. 4.3: smoothed by a Gaussian of 0.2 Petrosian
    radii; the part that holds the brightest pixel.
    """
    smooth = gauss_smoothed(image, _SMOOTHING * petrosian)
    radii = torch.stack([petrosian - RING / 2, petrosian + RING / 2], 1)
    flux = sums_within(running_sums(smooth * inside)[:, None], shape, radii)[:, 0]
    level = (flux[:, 1] - flux[:, 0]) / (area(shape, radii[:, 1]) - area(shape, radii[:, 0]))
    above = (smooth >= level[:, None, None]) & inside
    labels, _ = ndimage.label(above.cpu().numpy(), structure=_IN_PLANE)
    parts = torch.as_tensor(labels, device=image.device).flatten(1)
    brightest = torch.where(inside, smooth, -torch.inf).flatten(1).argmax(1)
    own = torch.gather(parts, 1, brightest[:, None])
    pixels = (parts == own) & (own > 0)
    several = ((parts > 0) & (parts != own)).any(1)
    count = above.flatten(1).sum(1)
    failed = (count == 0) | (count == inside.flatten(1).sum(1))
    return GiniPixels(pixels.view_as(above), several, failed)


def gini(image: Tensor, pixels: Tensor) -> Tensor:
    """Gini coefficient of absolute brightness, (B,): 0 where all pixels are equal, 1 where one holds all light.

    Parameters
    ----------
    image : Tensor, (B, H, W)
    pixels : Tensor, (B, H, W), bool
        Those that count. NaN for fewer than two, or without light.

    Notes
    -----
    Lotz+ 2004, eq. 6.
    """
    n = pixels.flatten(1).sum(1)
    ordered = _sorted((image.abs() * pixels).flatten(1)).double()
    # pixels that do not count are zeros at the front, and their rank weighs nothing
    rank = torch.arange(1, ordered.shape[1] + 1, device=image.device) - (ordered.shape[1] - n[:, None])
    total = ordered.sum(1)
    weighted = ((2 * rank - n[:, None] - 1) * ordered).sum(1)
    return torch.where((n > 1) & (total > 0), weighted / ((n - 1) * total), torch.nan).to(image.dtype)


def m20(image: Tensor, pixels: Tensor) -> Tensor:
    """Second moment of the brightest pixels with 20 per cent of the flux over that of all, log10, (B,).

    Parameters
    ----------
    image : Tensor, (B, H, W)
    pixels : Tensor, (B, H, W), bool
        Those that count. NaN where their flux or a moment is not positive.

    Notes
    -----
    Lotz+ 2004, eqs. 7 and 8, about the centroid of the pixels, where the total second moment is least.
    """
    light = image * pixels
    raw = raw_moments(light)
    flux = raw[:, 0, 0]
    x, y = raw[:, 1, 0] / flux, raw[:, 0, 1] / flux
    ordered = _sorted(light.flatten(1)).double()
    enough = ordered.cumsum(1) / flux[:, None] >= 1 - _BRIGHTEST
    threshold = torch.gather(ordered, 1, enough.int().argmax(1)[:, None]).to(image.dtype)
    brightest = torch.where(image >= threshold[:, :, None], light, 0.0)
    second = [
        central[:, 2, 0] + central[:, 0, 2]
        for central in (central_moments(raw, x, y), central_moments(raw_moments(brightest), x, y))
    ]
    good = (flux > 0) & enough.any(1) & (second[0] > 0) & (second[1] > 0)
    return torch.where(good, torch.log10(second[1] / second[0]), torch.nan).to(image.dtype)


def _sorted(values: Tensor) -> Tensor:
    """Sort each row; on a processor numpy has the faster sort."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(1).values
