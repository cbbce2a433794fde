"""Sums of pixels inside ellipses, pixels on the edge counted by the part that lies inside, for many images at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Ellipses", "area", "circles", "running_sums", "sums_within"]

# Gauss-Legendre, three nodes on (0, 1), for each row of pixels
_NODES = (0.1127016653792583, 0.5, 0.8872983346207417)
_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


class Ellipses(NamedTuple):
    """Centres, axis ratios and directions of B families of concentric ellipses: tensors (B,), one dtype.

    Attributes
    ----------
    x, y : Tensor
        Centre: column and row, pixels; the centre of the first pixel is 0.
    ratio : Tensor
        Minor over major axis, in (0, 1].
    angle : Tensor
        Direction of the major axis, radians from +x towards +y.
    """

    x: Tensor
    y: Tensor
    ratio: Tensor
    angle: Tensor


def circles(x: Tensor, y: Tensor) -> Ellipses:
    """Return circles about centres (B,)."""
    return Ellipses(x, y, torch.ones_like(x), torch.zeros_like(x))


def area(shape: Ellipses, radius: Tensor) -> Tensor:
    """Area of the ellipses with semi-major axes `radius`, (B,) or (B, R), wherever they lie."""
    ratio = shape.ratio if radius.ndim == 1 else shape.ratio[:, None]
    return torch.pi * ratio * radius**2


def running_sums(planes: Tensor) -> Tensor:
    """Sum up the pixels of each row from the left, (..., H, W) to (..., H, W + 1), the first column 0."""
    sums = planes.new_zeros((*planes.shape[:-1], planes.shape[-1] + 1))
    torch.cumsum(planes, -1, out=sums[..., 1:])
    return sums


def sums_within(running: Tensor, shape: Ellipses, radius: Tensor) -> Tensor:
    """Add up pixels, taken as squares of constant brightness, inside concentric ellipses.

    Parameters
    ----------
    running : Tensor, (B, P, H, W + 1)
        `running_sums` of P planes of each of B images.
    shape : Ellipses
        One family for each image.
    radius : Tensor, (B, R), >= 0
        Semi-major axes.

    Returns
    -------
    Tensor, (B, P, R)
        What lies outside of the image counts as 0.

    Notes
    -----
    The same as the overlap of ellipse and pixels: along x the ellipse cuts a row at two places, between which the
    running sum is exact; along y the width is integrated over each row by three Gauss-Legendre nodes laid on the part of
    the row inside. Areas are within 2e-4 of the exact for radii from 2 pixels.
    """
    n, n_planes, height, columns = running.shape
    n_radii = radius.shape[1]
    sine, cosine = torch.sin(shape.angle), torch.cos(shape.angle)
    q = shape.ratio
    slope = (sine * cosine * (1 / q**2 - 1) / (cosine**2 + (sine / q) ** 2))[:, None, None, None]
    stretch = (1 / (cosine**2 * q + sine**2 / q))[:, None, None, None]
    reach = radius * torch.sqrt(sine**2 + (q * cosine) ** 2)[:, None]  # (B, R), half of the extent in y

    reach = reach[:, None, :, None]
    row = torch.arange(height, dtype=radius.dtype, device=radius.device) - shape.y[:, None]  # (B, H)
    row = row[:, :, None]
    low = torch.maximum(row - 0.5, -reach[..., 0])  # (B, H, R)
    span = (torch.minimum(row + 0.5, reach[..., 0]) - low).clamp(min=0)
    nodes, weights = radius.new_tensor(_NODES), radius.new_tensor(_WEIGHTS)
    dy = low[..., None] + span[..., None] * nodes  # (B, H, R, 3)
    half = stretch * torch.sqrt((reach**2 - dy**2).clamp(min=0))
    middle = slope * dy + (shape.x[:, None, None, None] + 0.5)
    ends = torch.stack([middle + half, middle - half]).clamp(0, columns - 1)  # (2, B, H, R, 3)
    ends = ends.movedim(0, 2).reshape(n, height, 6 * n_radii)  # (B, H, 2 * R * 3)
    place = ends.floor().clamp(max=columns - 2)
    part = ends - place
    index = place.long()
    found = []
    for plane in range(n_planes):
        rows = running[:, plane]
        at = torch.lerp(torch.gather(rows, 2, index), torch.gather(rows, 2, index + 1), part)
        right, left = at.view(n, height, 2, n_radii, 3).unbind(2)
        found.append(torch.einsum("bhrk,bhr,k->br", right - left, span, weights))
    return torch.stack(found, 1)
