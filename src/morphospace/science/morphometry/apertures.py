"""Sums of pixels inside ellipses, pixels on the edge counted by the part that lies inside, for many images at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Cuts", "Ellipses", "add_up", "area", "circles", "cut_rows", "running_sums", "sums_within"]

# Gauss-Legendre, three nodes on (0, 1), for each row of pixels
_NODES = (0.1127016653792583, 0.5, 0.8872983346207417)
_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)
_ELEMENTS = 2**16  # rows of ellipses worked on at a time, so that they stay in the processor's cache


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
    sums = planes.new_empty((*planes.shape[:-1], planes.shape[-1] + 1))
    sums[..., 0] = 0
    torch.cumsum(planes, -1, out=sums[..., 1:])
    return sums


def sums_within(running: Tensor, shape: Ellipses, radius: Tensor, images: Tensor | None = None) -> Tensor:
    """Add up pixels, taken as squares of constant brightness, inside concentric ellipses.

    Parameters
    ----------
    running : Tensor, (N, P, H, W + 1), contiguous
        `running_sums` of P planes of each of N images.
    shape : Ellipses
        B families.
    radius : Tensor, (B, R), >= 0
        Semi-major axes.
    images : Tensor, (B,), int, optional
        Number of the image for each family; by default N = B and each has its own.

    Returns
    -------
    Tensor, (B, P, R)
        What lies outside of the image counts as 0.

    Notes
    -----
    The same as the overlap of ellipse and pixels: along x the ellipse cuts a row at two places, between which the
    running sum is exact; along y the width is integrated over each row by three Gauss-Legendre nodes laid on the part of
    the row inside. Areas are within 1e-3 of the exact for radii from 2 pixels, 1e-4 from 10.
    """
    if not radius.numel():
        return radius.new_zeros((len(radius), running.shape[1], radius.shape[1]))
    if images is None:
        images = torch.arange(len(running), device=radius.device)
    most = max(1, _ELEMENTS // max(1, radius.shape[1] * running.shape[2]))
    if len(radius) <= most:
        return add_up(running, cut_rows(shape, radius, running.shape[2:]), images)
    pieces = (slice(start, start + most) for start in range(0, len(radius), most))
    return torch.cat(
        [
            add_up(running, cut_rows(Ellipses(*(v[p] for v in shape)), radius[p], running.shape[2:]), images[p])
            for p in pieces
        ]
    )


class Cuts(NamedTuple):
    """Where ellipses cut rows of pixels: B families of R ellipses, M cuts of K rows.

    Attributes
    ----------
    start : Tensor, (B, K), int
        First column of each row in the running sums of one plane.
    place : Tensor, (B, R, K, M), int
        Column of the running sum left of the cut.
    part : Tensor, (B, R, K, M)
        How far the cut lies between it and the next.
    weight : Tensor, (B, R, K, M)
        Of the running sum at the cut: positive on the right of the ellipse, negative on the left.
    """

    start: Tensor
    place: Tensor
    part: Tensor
    weight: Tensor


def cut_rows(shape: Ellipses, radius: Tensor, size: Sequence[int]) -> Cuts:
    """Cut the rows of planes whose running sums have `size`, (H, W + 1), by ellipses (B, R)."""
    height, columns = size
    radius = torch.nan_to_num(radius).clamp(min=0)  # of sources without light: what comes of them is flagged
    rows, low, span = _rows(shape, radius, height)
    sine, cosine = torch.sin(shape.angle), torch.cos(shape.angle)
    q = shape.ratio
    slope = (sine * cosine * (1 / q**2 - 1) / (cosine**2 + (sine / q) ** 2))[:, None, None, None]
    stretch = (1 / (cosine**2 * q + sine**2 / q))[:, None, None, None]
    nodes, weights = radius.new_tensor(_NODES), radius.new_tensor(_WEIGHTS)
    dy = torch.addcmul(low[..., None], span[..., None], nodes)  # (B, R, K, 3)
    half = stretch * torch.sqrt((_reach(shape, radius)[:, :, None, None] ** 2 - dy**2).clamp_(min=0))
    middle = slope * dy + (shape.x[:, None, None, None] + 0.5)
    cuts = torch.cat([middle + half, middle - half], 3).clamp_(0, columns - 1)  # (B, R, K, 6)
    place = cuts.long().clamp_(max=columns - 2)
    return Cuts(rows * columns, place, cuts.sub_(place), span[..., None] * torch.cat([weights, -weights]))


def add_up(running: Tensor, cuts: Cuts, images: Tensor) -> Tensor:
    """Add up the pixels between the cuts, in images (B,), for each of P planes: (B, P, R)."""
    _, n_planes, height, columns = running.shape
    flat = running.view(-1)
    start = images[:, None] * (n_planes * height * columns) + cuts.start
    index = (cuts.place + start[:, None, :, None]).view(-1)
    part = cuts.part.view(-1)
    found = []
    for plane in range(n_planes):
        some = flat[plane * height * columns :]
        value = torch.lerp(some.index_select(0, index), some[1:].index_select(0, index), part)
        found.append((value.view(cuts.weight.shape) * cuts.weight).flatten(2).sum(2))
    return torch.stack(found, 1)


def _reach(shape: Ellipses, radius: Tensor) -> Tensor:
    """Half of the extent in y, (B, R)."""
    return radius * torch.sqrt(torch.sin(shape.angle) ** 2 + (shape.ratio * torch.cos(shape.angle)) ** 2)[:, None]


def _rows(shape: Ellipses, radius: Tensor, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows that the ellipses touch, (B, K), and of each the part inside: from where above the centre, how much (B, R, K)."""
    reach = _reach(shape, radius)
    n_rows = min(height, 2 * int(reach.max().ceil()) + 2)
    first = (shape.y - reach.amax(1)).floor().clamp(0, height - n_rows).long()
    rows = first[:, None] + torch.arange(n_rows, device=radius.device)
    row = (rows - shape.y[:, None])[:, None]  # (B, 1, K)
    low = torch.maximum(row - 0.5, -reach[..., None])
    return rows, low, (torch.minimum(row + 0.5, reach[..., None]) - low).clamp_(min=0)
