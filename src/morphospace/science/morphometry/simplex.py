"""The downhill simplex for many functions of two variables at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["minimise"]

#: Values (n,) at points (n, 2), each of the function with the number in rows (n,).
Function = Callable[[Tensor, Tensor], Tensor]

_MOST = 400  # iterations


def minimise(function: Function, corners: Tensor, *, x_tolerance: float, f_tolerance: float) -> tuple[Tensor, Tensor]:
    """Minimise B functions of two variables.

    Parameters
    ----------
    function : callable
        Takes points (n, 2) and the numbers (n,) of the functions to evaluate there, gives values (n,).
    corners : Tensor, (B, 3, 2)
        Simplex of each function to start from.
    x_tolerance, f_tolerance : float
        A simplex is done when its corners differ by no more than this from the best, in position and in value.

    Returns
    -------
    Tensor, (B, 2)
        Best points.
    Tensor, (B,)
        Values there.

    Notes
    -----
    Nelder & Mead 1965, with their coefficients 1, 2, 1/2, 1/2 and the rules of Lagarias+ 1998. Functions that are done
    cost nothing more.
    """
    n = len(corners)
    rows = torch.arange(n, device=corners.device)
    points = corners.clone()
    values = torch.stack([function(points[:, i], rows) for i in range(3)], 1)
    for _ in range(_MOST):
        values[rows], order = values[rows].sort(dim=1, stable=True)
        points[rows] = torch.gather(points[rows], 1, order[..., None].expand(-1, -1, 2))
        spread = (points[rows, 1:] - points[rows, :1]).abs().amax((1, 2))
        rise = values[rows, 2] - values[rows, 0]
        rows = rows[(spread > x_tolerance) | (rise > f_tolerance)]
        if not len(rows):
            break
        _step(function, points, values, rows)
    best = values.argmin(1)
    return points[torch.arange(n, device=best.device), best], values.amin(1)


def _step(function: Function, points: Tensor, values: Tensor, rows: Tensor) -> None:
    """Move the worst corner of each simplex in rows, or shrink towards the best; in place."""
    worst, f_best, f_middle, f_worst = points[rows, 2], values[rows, 0], values[rows, 1], values[rows, 2]
    middle = (points[rows, 0] + points[rows, 1]) / 2
    new = 2 * middle - worst
    f_new = function(new, rows)

    again = (f_new < f_best) | ~(f_new < f_middle)
    outside = f_new < f_worst
    factor = torch.where(f_new < f_best, 2.0, torch.where(outside, 0.5, -0.5)).to(points.dtype)[:, None]
    second = middle + factor * (middle - worst)
    some = torch.nonzero(again)[:, 0]
    f_second = torch.full_like(f_new, torch.inf)
    if len(some):
        f_second[some] = function(second[some], rows[some])

    expanding = f_new < f_best
    better = torch.where(expanding, f_second < f_new, torch.where(outside, f_second <= f_new, f_second < f_worst))
    better &= again
    points[rows, 2] = torch.where(better[:, None], second, new)
    values[rows, 2] = torch.where(better, f_second, f_new)
    shrunk = rows[again & ~expanding & ~better]
    if len(shrunk):
        points[shrunk, 2] = worst[again & ~expanding & ~better]
        for i in (1, 2):
            points[shrunk, i] = (points[shrunk, i] + points[shrunk, 0]) / 2
            values[shrunk, i] = function(points[shrunk, i], shrunk)
