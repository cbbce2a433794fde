"""Asymmetry under a turn by 180 degrees, about the point where it is least."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from morphospace.science.morphometry.simplex import minimise

__all__ = ["Centre", "Turns", "asymmetry_centre"]

DRIFT = 0.25  # of the Petrosian radius, the farthest that the centre may lie from where the search began
_FIRST_STEP = 0.05  # of its coordinate, by which the search for the centre begins
_X_TOLERANCE = 1e-2  # pixels
_F_TOLERANCE = 1e-4
_NOWHERE = 100.0  # worse than any asymmetry
_MARGIN = 6.0  # pixels around the circle in which the search goes on without the rest of the image
_TOGETHER = 128  # images, whose parts are cut out of them for the search
_AT_ONCE = 32  # of them, whose planes stay in the processor's cache


class Centre(NamedTuple):
    """Points of least asymmetry, (B,) each."""

    x: Tensor
    y: Tensor
    asymmetry: Tensor
    drifted: Tensor  # bool: the search left the centroid and began again at the brightest pixel
    lost: Tensor  # bool: it left that too; the point is the centroid


class Turns:
    """Images beside themselves turned by 180 degrees about any point.

    A turn about (x, y) takes pixel i to 2x - i: the whole image is shifted by one fraction of a pixel, so that bilinear
    interpolation needs no more than the flipped image and two weights.

    Parameters
    ----------
    image : Tensor, (B, H, W)
        0 where masked or outside.
    masked, inside : Tensor, (B, H, W), bool
        Pixels that do not count; pixels of the image (others only fill the tensor).
    sky : Tensor, (B,)
        Mean absolute difference of the turned background, by pixel; taken off.
    reach : float, optional
        How far from the middle of the tensor a point may lie, pixels; by default anywhere in it. The less, the
        smaller what is kept in the processor's cache.
    """

    def __init__(self, image: Tensor, masked: Tensor, inside: Tensor, sky: Tensor, reach: float | None = None) -> None:
        self.image, self.masked, self.inside, self.sky = image, masked, inside, sky
        sides = image.shape[1:]
        self.reach = tuple(side / 2 if reach is None else reach for side in sides)
        self.pad = tuple(2 * ceil(r) + 2 for r in self.reach)

    @cached_property
    def _known(self) -> Tensor:
        """Images, and 1 for pixels that count: (N, 2, H, W)."""
        return torch.stack([self.image, (self.inside & ~self.masked).to(self.image.dtype)], 1)

    @cached_property
    def _flipped(self) -> Tensor:
        """Images, and 1 for pixels that are not masked, turned and with a border: (N, 2, H + border, W + border)."""
        clear = (~self.masked).to(self.image.dtype)
        planes = (_bordered(plane.flip(1, 2), self.pad, value) for plane, value in ((self.image, 0.0), (clear, 1.0)))
        return torch.stack(list(planes), 1)

    def cropped(self, rows: Tensor, corner: Tensor, side: int, reach: float) -> Turns:
        """Return squares of images `rows` that begin at `corner`, (n, 2), x and y; what lies beyond is outside."""
        at = torch.arange(side, device=rows.device)
        row, column = ((start[:, None] + at) for start in (corner[:, 1], corner[:, 0]))
        height, width = self.image.shape[1:]
        known = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
        index = (rows[:, None, None], row.clamp(0, height - 1)[:, :, None], column.clamp(0, width - 1)[:, None, :])
        parts = (self.image[index] * known, self.masked[index] & known, self.inside[index] & known)
        return Turns(*parts, self.sky[rows], reach)

    def turned(self, x: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Turn images `rows` about points (n,), (n, H, W); and what is not masked, 1, to the nearest pixel."""
        starts, parts = [], []
        for at, side, pad in zip((y, x), self.image.shape[1:], self.pad, strict=True):
            whole = (2 * at).floor()
            part = 2 * at - whole
            parts.append(torch.stack([part, (part >= 0.5).to(part)], 1).to(self.image.dtype)[:, :, None, None])
            starts.append((pad + side - 2 - whole.long()).clamp(0, 2 * pad - 1))
        taps = _windows(self._flipped, rows, starts, [side + 1 for side in self.image.shape[1:]])
        taps = torch.lerp(taps[..., 1:], taps[..., :-1], parts[1])
        image, clear = torch.lerp(taps[:, :, 1:], taps[:, :, :-1], parts[0]).unbind(1)
        return image, clear

    def asymmetry(self, points: Tensor, rows: Tensor, radius: Tensor) -> Tensor:
        """Asymmetry (n,) of images `rows` about points (n, 2) within circles.

        Parameters
        ----------
        points : Tensor, (n, 2)
            x, y.
        rows : Tensor, (n,), int
        radius : Tensor, (n,)

        Notes
        -----
        Lotz+ 2004, eq. 10 (Abraham+ 1996; Conselice 2003, eq. 4 without the factor), background off by pixel. A pixel
        counts where neither it nor its partner is masked.
        """
        parts = (torch.split(values, _AT_ONCE) for values in (points, rows, radius))
        return torch.cat([self._asymmetry(*part) for part in zip(*parts, strict=True)])

    def _asymmetry(self, points: Tensor, rows: Tensor, radius: Tensor) -> Tensor:
        x, y = points.unbind(1)
        image, good = self._known.index_select(0, rows).unbind(1)
        turned, clear = self.turned(x, y, rows)
        weight = _within(self.image.shape[1:], points, radius).mul_(good).mul_(clear)
        unlike, light = (
            torch.linalg.vecdot(weight.flatten(1), plane.flatten(1))
            for plane in (turned.sub_(image).abs_(), image.abs_())
        )
        value = torch.where(light > 0, (unlike - self.sky[rows] * weight.sum((1, 2))) / light, _NOWHERE)
        height, width = self.image.shape[1:]
        away = ((x - (width - 1) / 2).abs() > self.reach[1]) | ((y - (height - 1) / 2).abs() > self.reach[0])
        return torch.where(away, _NOWHERE, value.to(points.dtype))


def _within(sides: Sequence[int], points: Tensor, radius: Tensor) -> Tensor:
    """How much of each pixel lies within circles about points (n, 2), (n, H, W).

    The edge is one pixel wide, on which the part goes down linearly with the square of the distance: that keeps the
    area of the circle, and needs no root.
    """
    steps = []
    for at, side in zip(points.unbind(1), reversed(sides), strict=True):
        place = torch.arange(side, dtype=radius.dtype, device=radius.device) - at.to(radius.dtype)[:, None]
        steps.append(place**2 / (2 * radius[:, None]))
    return (((radius + 1) / 2)[:, None, None] - steps[1][:, :, None] - steps[0][:, None]).clamp_(0, 1)


def _windows(planes: Tensor, rows: Tensor, starts: Sequence[Tensor], sides: Sequence[int]) -> Tensor:
    """Windows of one size of planes `rows`, (N, P, H, W), each from its own corner (n,), row and column: (n, P, h, w)."""
    if planes.device.type != "cpu":
        return planes.unfold(2, sides[0], 1).unfold(3, sides[1], 1)[rows, :, starts[0], starts[1]]
    stride = planes.stride()
    corners = (rows * stride[0] + starts[0] * stride[2] + starts[1]).tolist()
    found = planes.new_empty((len(rows), planes.shape[1], *sides))
    # copies of views: one index for all would take four times as long
    views = [planes.as_strided(found.shape[1:], stride[1:], corner) for corner in corners]
    torch._foreach_copy_(found.unbind(), views)
    return found


def _bordered(planes: Tensor, pad: tuple[int, ...], value: float) -> Tensor:
    return torch.nn.functional.pad(planes, (pad[1], pad[1], pad[0], pad[0]), value=value)


def asymmetry_centre(turns: Turns, centroid: Tensor, brightest: Tensor, petrosian: Tensor, extent: float) -> Centre:
    """Find the point about which each image is most symmetric.

    Parameters
    ----------
    turns : Turns
    centroid, brightest : Tensor, (B, 2)
        Where the search begins, and where it begins again if it went astray.
    petrosian : Tensor, (B,)
        Petrosian radius about the centroid, pixels.
    extent : float
        Radius of the circle, in units of `petrosian`.

    Notes
    -----
    Downhill simplex from a step of 5 per cent of the coordinates, as statmorph's (`scipy.optimize.fmin`), to 0.01
    pixels. If the centre lies more than a quarter of the Petrosian radius from the centroid the search begins again at
    the brightest pixel; if it strays from there too the centroid is taken.
    """
    radius = extent * petrosian
    start = centroid.double()
    rows = torch.arange(len(start), device=start.device)
    best, value = _search(turns, start, rows, radius, DRIFT * petrosian)
    drifted = (best - start).norm(dim=1) > DRIFT * petrosian
    lost = torch.zeros_like(drifted)
    rows = rows[drifted]
    if len(rows):
        again = brightest[rows].double()
        found, found_value = _search(turns, again, rows, radius, DRIFT * petrosian)
        best[rows], value[rows] = found, found_value
        lost[rows] = (found - again).norm(dim=1) > DRIFT * petrosian[rows]
        rows = torch.nonzero(lost)[:, 0]
        if len(rows):
            best[rows], value[rows] = start[rows], turns.asymmetry(start[rows], rows, radius[rows])
    return Centre(best[:, 0], best[:, 1], value, drifted, lost)


def _search(turns: Turns, start: Tensor, rows: Tensor, radius: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Look for the best points from `start`, (n, 2): near it, and again as far as `limit` where they are not near."""
    best, value = torch.empty_like(start), torch.empty_like(start[:, 0])
    order = radius[rows].argsort()  # images that need parts of like size together
    for some in torch.split(order, _TOGETHER):
        best[some], value[some] = _descend(turns, start[some], rows[some], radius, _MARGIN)
    far = torch.nonzero((best - start).abs().amax(1) > _MARGIN - 1)[:, 0]
    for some in torch.split(far, _TOGETHER):
        reach = float(limit[rows[some]].max()) + _MARGIN if len(some) else 0.0
        best[some], value[some] = _descend(turns, start[some], rows[some], radius, reach)
    return best, value


def _descend(turns: Turns, start: Tensor, rows: Tensor, radius: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Run the downhill simplex from `start`, (n, 2), on the parts of images `rows` that circles up to `reach` off cover."""
    if not len(rows):
        return start, start[:, 0]
    side = 2 * ceil(float(radius[rows].max()) + reach) + 1
    corner = (start.round() - side // 2).long()
    if side >= min(turns.image.shape[1:]):
        side, corner = max(turns.image.shape[1:]), torch.zeros_like(corner)
    offset = float((start - corner - (side - 1) / 2).abs().max())
    part = turns.cropped(rows, corner, side, reach + offset)
    corners = start[:, None].repeat(1, 3, 1)
    for axis in (0, 1):
        corners[:, axis + 1, axis] += _FIRST_STEP * start[:, axis]

    def function(points: Tensor, which: Tensor) -> Tensor:
        return part.asymmetry(points - corner[which], which, radius[rows[which]])

    return minimise(function, corners, x_tolerance=_X_TOLERANCE, f_tolerance=_F_TOLERANCE)
