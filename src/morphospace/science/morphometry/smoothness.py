"""Smoothness: the part of the light that stands above the light smoothed."""

from __future__ import annotations

import torch
from torch import Tensor

from morphospace.science.morphometry.apertures import Ellipses, area, running_sums, sums_within
from morphospace.science.morphometry.filters import box_smoothed
from morphospace.science.morphometry.sky import Sky, sky_smoothness
from morphospace.science.morphometry.stamps import Stamps

__all__ = ["smoothness"]

INNER = 0.25  # of the Petrosian radius: the middle that is left out, and the side of the square that smooths


def smoothness(stamps: Stamps, sky: Sky, shape: Ellipses, petrosian: Tensor, extent: float) -> Tensor:
    """Measure the smoothness (clumpiness), (B,).

    Parameters
    ----------
    stamps : Stamps
    sky : Sky
        Its own clumpiness is taken off where it is known.
    shape : Ellipses
        Circles about the centre of symmetry.
    petrosian : Tensor, (B,)
        Petrosian radius, pixels.
    extent : float
        Outer radius in units of it.

    Returns
    -------
    Tensor, (B,)
        NaN where the flux is not positive.

    Notes
    -----
    Lotz+ 2004, eq. 11; Conselice 2003, eq. 6 has a factor of 10 more.
    """
    size = (INNER * petrosian).long()
    difference = (stamps.image - box_smoothed(stamps.image, size, stamps.height, stamps.width)).clamp(min=0)
    # the matrix mirrors at the edge of the stamp; what fills the tensor beyond is none of its pixels
    planes = running_sums(torch.stack([stamps.image, difference * stamps.inside], 1))
    radii = torch.stack([INNER * petrosian, extent * petrosian], 1)
    flux, excess = (v[:, 1] - v[:, 0] for v in sums_within(planes, shape, radii).unbind(1))
    ring = area(shape, radii[:, 1]) - area(shape, radii[:, 0])
    background = torch.nan_to_num(sky_smoothness(sky, size), nan=0.0)
    return torch.where(flux > 0, (excess - ring * background) / flux, torch.nan)
