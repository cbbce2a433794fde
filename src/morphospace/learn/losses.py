"""Losses of the self-supervised methods; plain functions of plain tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
import torch.nn.functional as F
from torch import Tensor

from morphospace.errors import ShapeError

__all__ = ["correlation_loss", "covariance_loss", "mean_cosine", "negative_cosine", "nt_xent", "variance_loss"]


P = ParamSpec("P")


def _in_float32(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    # under autocast the products below would be rounded to bf16, three digits of a cosine
    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        first = args[0]
        kind = first.device.type if isinstance(first, Tensor) else "cpu"
        with torch.autocast(kind, enabled=False):
            return function(*args, **kwargs)

    return wrapped


@_in_float32
def negative_cosine(p: Tensor, q: Tensor) -> Tensor:
    """Squared distance of two unit vectors, 2 - 2 cos(p, q).

    Parameters
    ----------
    p, q : Tensor, (B, P), float
        Prediction and target; normalised here. Gradients flow into both: the caller detaches the target.

    Returns
    -------
    Tensor, (B,)
        In [0, 4]; 0 where the directions agree. A zero vector counts as orthogonal (2).

    Notes
    -----
    Grill et al. 2020, eq. 2.
    """
    _same_shape(p, q)
    return 2 - 2 * F.cosine_similarity(p.float(), q.float(), dim=-1)


@_in_float32
def nt_xent(p: Tensor, q: Tensor, *, temperature: float = 0.2) -> Tensor:
    """Find each row's other view among all rows of both views.

    Parameters
    ----------
    p, q : Tensor, (B, P), float
        Projections of two views; row i of both is one object. Normalised here.
    temperature : float, > 0
        Divides the cosine; dimensionless.

    Returns
    -------
    Tensor, ()
        Mean over the 2B rows, in nats. log(2B - 1) when the projections say nothing.

    Raises
    ------
    ShapeError
        If the shapes differ or B < 2, where there is nothing to contrast with.

    Notes
    -----
    Chen et al. 2020 (SimCLR), eq. 1 and algorithm 1.
    """
    _same_shape(p, q)
    if len(p) < 2:
        msg = f"nt_xent contrasts rows with each other and needs at least 2; got {len(p)}."
        raise ShapeError(msg)
    z = F.normalize(torch.cat((p, q)).float(), dim=-1)  # (2B, P)
    logits = z @ z.T / temperature  # (2B, 2B)
    logits.fill_diagonal_(-torch.inf)
    n = len(p)
    other = torch.arange(2 * n, device=p.device).roll(n)
    return F.cross_entropy(logits, other)


@_in_float32
def variance_loss(p: Tensor, *, target: float = 1.0, eps: float = 1e-4) -> Tensor:
    """Hinge that keeps the spread of every dimension above a target.

    Parameters
    ----------
    p : Tensor, (B, P), float
        Projections, not normalised. B >= 2.
    target : float
        Standard deviation below which a dimension is pushed apart.
    eps : float
        Added to the variance, so that the gradient at a collapsed dimension is finite.

    Returns
    -------
    Tensor, ()
        Mean over dimensions, 0 to `target`.

    Notes
    -----
    Bardes et al. 2022 (VICReg), eq. 1 and 2.
    """
    spread = torch.sqrt(p.float().var(dim=0) + eps)
    return F.relu(target - spread).mean()


@_in_float32
def covariance_loss(p: Tensor) -> Tensor:
    """Sum of squared covariances between different dimensions, divided by their number.

    Parameters
    ----------
    p : Tensor, (B, P), float
        Projections. B >= 2.

    Returns
    -------
    Tensor, ()
        0 when the dimensions are uncorrelated over the batch.

    Notes
    -----
    Bardes et al. 2022 (VICReg), eq. 3 and 4.
    """
    centred = p.float() - p.float().mean(dim=0)
    cov = centred.T @ centred / (len(p) - 1)  # (P, P)
    return (cov.square().sum() - cov.diagonal().square().sum()) / p.shape[1]


@_in_float32
def correlation_loss(z: Tensor, *, eps: float = 1e-4) -> Tensor:
    """Sum of squared correlations between different dimensions, divided by their number.

    Parameters
    ----------
    z : Tensor, (B, D), float
        Vectors. B >= 2.
    eps : float
        Added to the standard deviations.

    Returns
    -------
    Tensor, ()
        0 when the dimensions are uncorrelated over the batch, D - 1 when all say the same; independent dimensions
        give about (D - 1) / (B - 1) by chance.

    Notes
    -----
    `covariance_loss` (Bardes et al. 2022, eq. 3 and 4) of standardised vectors, so that it does not depend on their
    scale: the redundancy term of Zbontar et al. 2021 (Barlow Twins), eq. 1, for one view.
    """
    centred = z.float() - z.float().mean(dim=0)
    return covariance_loss(centred / (centred.std(dim=0) + eps))


@_in_float32
def mean_cosine(p: Tensor) -> Tensor:
    """Mean cosine between the rows of a batch; 1 when the projections have collapsed to one direction.

    Parameters
    ----------
    p : Tensor, (B, P), float
        Projections; normalised here. B >= 2.

    Returns
    -------
    Tensor, ()
        Mean over the B (B - 1) ordered pairs, without gradient. A zero row counts as orthogonal to all.
    """
    z = F.normalize(p.detach().float(), dim=-1)
    n = len(z)
    # sum over all pairs is |sum z|^2; the pairs of a row with itself, n unless a row is 0, are taken off
    return (z.sum(dim=0).square().sum() - z.square().sum()) / (n * (n - 1))


def _same_shape(p: Tensor, q: Tensor) -> None:
    if p.shape != q.shape or p.ndim != 2:
        msg = f"both projections must be (B, P) and alike; got {tuple(p.shape)} and {tuple(q.shape)}."
        raise ShapeError(msg)
