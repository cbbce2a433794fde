"""Moments of the light of a source: centroid, axes, direction, and central moments of order two and three."""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Axes", "axes_about", "central_moments", "raw_moments"]

_PIXEL = 1 / 12  # variance of a pixel along each axis
_ORDER = 3


class Axes(NamedTuple):
    """Second moments (B,) about a point, and the ellipse that has them."""

    xx: Tensor
    yy: Tensor
    xy: Tensor
    major: Tensor  # s.d. along the major axis, pixels
    minor: Tensor
    angle: Tensor  # radians from +x towards +y, -pi/2 to pi/2


def raw_moments(light: Tensor) -> Tensor:
    """Sum of light times x^p y^q, float64, (B, H, W) to (B, p, q) with p and q from 0 to 3."""
    rows, columns = (
        torch.arange(side, dtype=torch.float64, device=light.device)[:, None]
        ** torch.arange(_ORDER + 1).to(light.device)
        for side in light.shape[1:]
    )
    return columns.T @ (light.double().mT @ rows)


def central_moments(raw: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Moments about the points (x, y), float64, in the form of `raw_moments`."""
    shift_x, shift_y = (_shift(v) for v in (x, y))
    return shift_x @ raw @ shift_y.mT


def _shift(at: Tensor) -> Tensor:
    """Matrices (B, 4, 4) from powers of x to powers of x - at."""
    matrix = at.new_zeros((len(at), _ORDER + 1, _ORDER + 1), dtype=torch.float64)
    for p in range(_ORDER + 1):
        for k in range(p + 1):
            matrix[:, p, k] = comb(p, k) * (-at.double()) ** (p - k)
    return matrix


def axes_about(raw: Tensor, x: Tensor, y: Tensor) -> Axes:
    """Find the ellipse with the second moments of the light about (x, y).

    Parameters
    ----------
    raw : Tensor, (B, 4, 4)
        `raw_moments`.
    x, y : Tensor, (B,)

    Notes
    -----
    Bertin & Arnouts 1996, SExtractor's manual, eqs. 18 to 25; very thin sources get the variance of a pixel, eq. 43, as
    often as needed. Negative pixels count, as in statmorph.
    """
    central = central_moments(raw, x, y)
    xx, yy, xy = (central[:, p, q] / central[:, 0, 0] for p, q in ((2, 0), (0, 2), (1, 1)))
    for _ in range(3):
        thin = (xx * yy - xy**2).abs() < _PIXEL**2
        xx, yy = (torch.where(thin, v + torch.where(v >= 0, _PIXEL, -_PIXEL), v) for v in (xx, yy))
    half, root = (xx + yy) / 2, torch.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    squares = torch.stack([half + root, half - root]).abs()
    return Axes(xx, yy, xy, squares.amax(0).sqrt(), squares.amin(0).sqrt(), 0.5 * torch.atan2(2 * xy, xx - yy))
