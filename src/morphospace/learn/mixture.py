"""Gaussian mixtures with diagonal covariances: responsibilities and divergences, as pure functions of tensors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Mixture",
    "bounded",
    "kl_mixture",
    "kl_normal",
    "log_density",
    "log_joint",
    "log_responsibilities",
    "responsibilities",
]

_LOG_2PI = math.log(2 * math.pi)


class Mixture(NamedTuple):
    """Weights, means and variances of k Gaussians in d dimensions."""

    log_weights: Tensor  # (k,) natural logarithms, of weights that sum to 1
    means: Tensor  # (k, d)
    log_variances: Tensor  # (k, d) natural logarithms


def bounded(raw: Tensor, low: float, high: float) -> Tensor:
    """Bend numbers into (low, high) smoothly, so that no gradient vanishes at once; far inside nothing changes.

    Returns
    -------
    Tensor
        float32 (or float64), of the shape of `raw`.
    """
    x = raw if raw.dtype == torch.float64 else raw.float()
    return high - F.softplus(high - (low + F.softplus(x - low)))


def log_joint(mixture: Mixture, mean: Tensor, log_variance: Tensor | None = None) -> Tensor:
    """Return log pi_c + E[log N(z; mu_c, s2_c)] under z ~ N(mean, variance); at the point `mean` without a variance.

    Parameters
    ----------
    mixture : Mixture
        k components in d dimensions.
    mean, log_variance : Tensor, (N, d)
        Of the posterior of each image.

    Returns
    -------
    Tensor, (N, k)
        In nats.
    """
    inverse = torch.exp(-mixture.log_variances)  # (k, d)
    square = (mean[:, None] - mixture.means).square()  # (N, k, d)
    if log_variance is not None:
        square = square + log_variance.exp()[:, None]
    terms = square * inverse + mixture.log_variances + _LOG_2PI
    return mixture.log_weights - 0.5 * terms.sum(dim=2)


def responsibilities(
    mixture: Mixture, mean: Tensor, log_variance: Tensor | None = None, *, spread: float = 0.0
) -> Tensor:
    """Return the probability gamma of each component.

    Parameters
    ----------
    mixture : Mixture
        k components in d dimensions.
    mean : Tensor, (N, d)
        A point in the space, or the posterior's mean.
    log_variance : Tensor, (N, d), optional
        Of the posterior. With it gamma is the one for which the bound is highest; without it that of the point.
    spread : float, >= 0
        If above 0, the largest difference between the logarithms of a row; larger ones are scaled down to it, so that
        no component is without a gradient.

    Returns
    -------
    Tensor, (N, k)
        Rows sum to 1; never NaN.

    Notes
    -----
    Jiang et al. 2017, q(c|x) = p(c|z), by log-sum-exp. `spread` stands for the inverse min-max transform of Cao et al. 2020,
    which scales the exponents into a fixed range; the range is not told there, and is an argument here.
    """
    return log_responsibilities(mixture, mean, log_variance, spread=spread).exp()


def log_responsibilities(
    mixture: Mixture, mean: Tensor, log_variance: Tensor | None = None, *, spread: float = 0.0, views: int = 1
) -> Tensor:
    """Return the logarithms of `responsibilities`, (N, k), which are finite where those round to 0.

    With more than one of `views`, posteriors are (views * N, d), one view after the other, and all views of an image have
    one component: gamma_c is proportional to pi_c times the product of their densities.
    """
    joint = log_joint(mixture, mean, log_variance)
    if views > 1:
        each = (joint - mixture.log_weights).reshape(views, -1, joint.shape[1])
        joint = each.sum(dim=0) + mixture.log_weights  # (N, k)
    if spread:
        joint = joint - joint.amax(dim=1, keepdim=True)
        joint = joint / (-joint.amin(dim=1, keepdim=True) / spread).clamp_min(1.0)
    return joint.log_softmax(dim=1)


def log_density(mixture: Mixture, z: Tensor) -> Tensor:
    """Return log p(z), (N,), in nats, of points (N, d)."""
    return log_joint(mixture, z).logsumexp(dim=1)


def kl_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of N(mean, variance) from N(0, 1), (N, d), in nats for each dimension.

    Notes
    -----
    Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class MixtureKL(NamedTuple):
    """The two parts of the divergence from a mixture, whose sum over dimensions and parts is the divergence."""

    dimensions: Tensor  # (N, d) nats
    component: Tensor  # (N,) nats, of gamma from the weights


def kl_mixture(mixture: Mixture, mean: Tensor, log_variance: Tensor, log_gamma: Tensor) -> MixtureKL:
    """Return the divergence of q(z) q(c) = N(mean, variance) gamma_c from the mixture's p(z, c).

    Parameters
    ----------
    mixture : Mixture
        k components in d dimensions.
    mean, log_variance : Tensor, (N, d)
        Of the posterior of each image.
    log_gamma : Tensor, (N, k)
        Logarithms of any probabilities gamma of the components, finite (the gradient of 0 log 0 is not); those of
        `log_responsibilities` with a variance make the divergence smallest.

    Returns
    -------
    MixtureKL
        The sum over both parts is 1/2 sum_c gamma_c sum_j [log s2_cj + v_j / s2_cj + (m_j - mu_cj)^2 / s2_cj]
        - sum_c gamma_c log(pi_c / gamma_c) - 1/2 sum_j (1 + log v_j).

    Notes
    -----
    The bound of Jiang et al. 2017, section 3, its terms without the reconstruction, with their signs turned.
    """
    gamma = log_gamma.exp()
    inverse = torch.exp(-mixture.log_variances)  # (k, d)
    square = (mean[:, None] - mixture.means).square() + log_variance.exp()[:, None]  # (N, k, d)
    away = square * inverse + mixture.log_variances
    dimensions = 0.5 * ((gamma[:, :, None] * away).sum(dim=1) - 1 - log_variance)
    component = (gamma * (log_gamma - mixture.log_weights)).sum(dim=1)
    return MixtureKL(dimensions, component)
