"""Asymmetry under a turn by 180 degrees, about the point where it is least."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphospace.science.morphometry.apertures import circles, running_sums, sums_within
from morphospace.science.morphometry.simplex import minimise

__all__ = ["Centre", "Turns", "asymmetry_centre"]

DRIFT = 0.25  # of the Petrosian radius, the farthest that the centre may lie from where the search began
_FIRST_STEP = 0.05  # of its coordinate, by which the search for the centre begins
_X_TOLERANCE = 1e-3  # pixels
_F_TOLERANCE = 1e-4
_NOWHERE = 100.0  # worse than any asymmetry


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
    interpolation needs no more than the flipped image and three weights.

    Parameters
    ----------
    image : Tensor, (B, H, W)
        0 where masked or outside.
    masked, inside : Tensor, (B, H, W), bool
        Pixels that do not count; pixels of the image (others only fill the tensor).
    sky : Tensor, (B,)
        Mean absolute difference of the turned background, by pixel; taken off.
    """

    def __init__(self, image: Tensor, masked: Tensor, inside: Tensor, sky: Tensor) -> None:
        self.image, self.sky = image, sky
        self.good = (inside & ~masked).to(image.dtype)
        self.inside = inside
        self.size = (inside.any(2).sum(1), inside.any(1).sum(1))
        height, width = image.shape[1:]
        self.pad = (height + 1, width + 1)
        borders = (self.pad[1], self.pad[1], self.pad[0], self.pad[0])
        self.flipped = torch.nn.functional.pad(image.flip(1, 2), borders)
        self.clear = torch.nn.functional.pad((~masked).to(image.dtype).flip(1, 2), borders, value=1.0)

    def turned(self, x: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Turn images about points (n,); give them and 1 where the turned pixel (the nearest) is not masked."""
        starts, parts, nearest = [], [], []
        for at, side, pad in zip((y, x), self.image.shape[1:], self.pad, strict=True):
            whole = (2 * at).floor()
            parts.append((2 * at - whole).to(self.image.dtype)[:, None, None])
            starts.append((pad + side - 2 - whole.long()).clamp(0, 2 * pad - 1))
            nearest.append((pad + side - 1 - (2 * at + 0.5).floor().long()).clamp(0, 2 * pad))
        height, width = self.image.shape[1:]
        taps = self.flipped.unfold(1, height + 1, 1).unfold(2, width + 1, 1)[rows, starts[0], starts[1]]
        taps = torch.lerp(taps[:, :, 1:], taps[:, :, :-1], parts[1])
        taps = torch.lerp(taps[:, 1:], taps[:, :-1], parts[0])
        clear = self.clear.unfold(1, height, 1).unfold(2, width, 1)[rows, nearest[0], nearest[1]]
        return taps, clear

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
        x, y = points.unbind(1)
        turned, clear = self.turned(x, y, rows)
        image = self.image[rows]
        clear = clear * self.good[rows]
        planes = torch.stack([(image - turned).abs() * clear, image.abs() * clear, clear], 1)
        dtype = image.dtype
        sums = sums_within(running_sums(planes), circles(x.to(dtype), y.to(dtype)), radius.to(dtype)[:, None])
        difference, light, n_pixels = sums[:, :, 0].unbind(1)
        value = torch.where(light > 0, (difference - n_pixels * self.sky[rows]) / light, _NOWHERE)
        height, width = (side[rows] for side in self.size)
        return torch.where((x < 0) | (y < 0) | (x >= width) | (y >= height), _NOWHERE, value.to(points.dtype))


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
    Downhill simplex from a step of 5 per cent of the coordinates, as statmorph's (`scipy.optimize.fmin`), to 0.001
    pixels. If the centre lies more than a quarter of the Petrosian radius from the centroid the search begins again at
    the brightest pixel; if it strays from there too the centroid is taken.
    """
    radius = extent * petrosian
    start = centroid.double()
    best, value = _search(turns, start, torch.arange(len(start), device=start.device), radius)
    drifted = (best - start).norm(dim=1) > DRIFT * petrosian
    lost = torch.zeros_like(drifted)
    rows = torch.nonzero(drifted)[:, 0]
    if len(rows):
        again = brightest[rows].double()
        found, found_value = _search(turns, again, rows, radius)
        astray = (found - again).norm(dim=1) > DRIFT * petrosian[rows]
        best[rows] = torch.where(astray[:, None], start[rows], found)
        lost[rows] = astray
        value[rows] = torch.where(astray, turns.asymmetry(start[rows], rows, radius[rows]), found_value)
    return Centre(best[:, 0], best[:, 1], value, drifted, lost)


def _search(turns: Turns, start: Tensor, rows: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    corners = start[:, None].repeat(1, 3, 1)
    for axis in (0, 1):
        step = _FIRST_STEP * start[:, axis]
        corners[:, axis + 1, axis] += torch.where(step == 0, 0.00025, step)

    def function(points: Tensor, which: Tensor) -> Tensor:
        return turns.asymmetry(points, rows[which], radius[rows[which]])

    return minimise(function, corners, x_tolerance=_X_TOLERANCE, f_tolerance=_F_TOLERANCE)
