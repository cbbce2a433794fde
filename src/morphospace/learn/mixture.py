"""Gaussian mixtures with diagonal covariances: responsibilities and divergences, as pure functions of tensors."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from torch import Tensor

from morphospace.errors import DataError

__all__ = [
    "MOST_COMPONENTS",
    "Mixture",
    "bounded",
    "fit_mixture",
    "fit_rounded",
    "kl_mixture",
    "kl_normal",
    "log_density",
    "log_joint",
    "log_responsibilities",
    "responsibilities",
]

MOST_COMPONENTS = 30  # that a Dirichlet process is offered
_LEAST_PER_COMPONENT = 5  # images, without which a mean and a variance say nothing
_LEAST_SHARE = 0.01  # of a component that a Dirichlet process uses
_TURNS, _STARTS = 4, 5  # of `fit_rounded`
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
    Jiang et al. 2017, eq. 16, by log-sum-exp. `spread` stands for the inverse min-max transform of Cao et al. 2020, which
    scales the exponents into a fixed range; the range is not told there, and is an argument here.
    """
    return log_responsibilities(mixture, mean, log_variance, spread=spread).exp()


def log_responsibilities(
    mixture: Mixture, mean: Tensor, log_variance: Tensor | None = None, *, spread: float = 0.0
) -> Tensor:
    """Return the logarithms of `responsibilities`, (N, k), which are finite where those round to 0."""
    joint = log_joint(mixture, mean, log_variance)
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
    Jiang et al. 2017, eq. 12, its terms without the reconstruction, with their signs turned.
    """
    gamma = log_gamma.exp()
    inverse = torch.exp(-mixture.log_variances)  # (k, d)
    square = (mean[:, None] - mixture.means).square() + log_variance.exp()[:, None]  # (N, k, d)
    away = square * inverse + mixture.log_variances
    dimensions = 0.5 * ((gamma[:, :, None] * away).sum(dim=1) - 1 - log_variance)
    component = (gamma * (log_gamma - mixture.log_weights)).sum(dim=1)
    return MixtureKL(dimensions, component)


def fit_mixture(z: NDArray[np.floating], k: int | Literal["auto"], *, seed: int) -> Mixture:
    """Fit a mixture to vectors by expectation maximisation.

    Parameters
    ----------
    z : ndarray, (N, d)
        Finite vectors.
    k : int or "auto"
        Number of components; with ``auto`` as many of at most `MOST_COMPONENTS` as a Dirichlet process uses.
    seed : int
        Of five starts from k-means, of which the one with the highest bound is kept.

    Returns
    -------
    Mixture
        float32, the heaviest component first.

    Raises
    ------
    DataError
        If there are fewer than 5 vectors for each component.

    Notes
    -----
    Mini-batch start of Cao et al. 2020 (the caller chooses the vectors), through scikit-learn.
    """
    x = _enough(z, k)
    floor = _floor(x)
    if k == "auto":
        most = min(MOST_COMPONENTS, len(x) // _LEAST_PER_COMPONENT)
        options = {"covariance_type": "diag", "reg_covar": floor, "max_iter": 300, "random_state": seed}
        model = _fitted(BayesianGaussianMixture(n_components=most, **options), x)
        used = model.weights_ >= min(_LEAST_SHARE, model.weights_.max())
        return _mixture(model.weights_[used], model.means_[used], model.covariances_[used])
    model = GaussianMixture(k, covariance_type="diag", reg_covar=floor, n_init=5, random_state=seed)
    _fitted(model, x)
    return _mixture(model.weights_, model.means_, model.covariances_)


class Rounded(NamedTuple):
    """A mixture in axes of its own: y = (z - centre) axes^T."""

    mixture: Mixture  # of y
    centre: Tensor  # (d,)
    axes: Tensor  # (d, d)


def fit_rounded(z: NDArray[np.floating], k: int, *, seed: int) -> Rounded:
    """Fit a mixture and the axes in which its components are round.

    Parameters
    ----------
    z : ndarray, (N, d)
        Finite vectors.
    k : int
        Number of components.
    seed : int
        Of the starts.

    Returns
    -------
    Rounded
        float32; in the new axes the covariances of the components, averaged by weight, are the unit matrix.

    Raises
    ------
    DataError
        If there are fewer than 5 vectors for each component.

    Notes
    -----
    The axes of an autoencoder's latents mean nothing, and its kinds lie in them as long thin clouds, which diagonal Gaussians
    and k-means cut across. So, in turn: k-means and full covariances in the present axes (the best of several starts by the
    bound), then the axes in which these are round, as in the alternation of k-means and discriminant analysis of Ding & Li
    2007. The last round's responsibilities give the diagonal mixture.
    """
    x = _enough(z, k)
    centre, axes = x.mean(axis=0), np.eye(x.shape[1])
    best, gamma = -np.inf, np.empty(0)
    for turn in range(_TURNS):
        y = (x - centre) @ axes.T
        model = GaussianMixture(
            k, covariance_type="full", reg_covar=_floor(y), n_init=_STARTS, random_state=seed + turn
        )
        _fitted(model, y)
        bound = float(model.lower_bound_) + float(np.linalg.slogdet(axes)[1])
        pooled = np.einsum("c,cij->ij", model.weights_, model.covariances_)
        axes = np.linalg.inv(np.linalg.cholesky(pooled)) @ axes
        if bound > best:
            best, gamma, found = bound, model.predict_proba(y), axes
    y = (x - centre) @ found.T
    weights = gamma.sum(axis=0) + 1e-12
    means = gamma.T @ y / weights[:, None]
    variances = gamma.T @ (y * y) / weights[:, None] - means**2
    mixture = _mixture(weights, means, np.maximum(variances, 1e-3))
    return Rounded(mixture, torch.from_numpy(centre).float(), torch.from_numpy(found).float())


def _enough(z: NDArray[np.floating], k: int | Literal["auto"]) -> NDArray[np.float64]:
    least = _LEAST_PER_COMPONENT * (2 if k == "auto" else k)
    if len(z) < least:
        msg = f"a mixture of {k} components needs at least {least} images to start from; there are {len(z)}. Lower k."
        raise DataError(msg)
    return z.astype(np.float64)


def _floor(x: NDArray[np.float64]) -> float:
    return 1e-3 * float(x.var(axis=0).mean()) + 1e-8


def _fitted(model: Any, x: NDArray[np.float64]) -> Any:  # noqa: ANN401 - one of scikit-learn's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not have converged: training goes on with it
        return model.fit(x)


def _mixture(weights: NDArray[np.float64], means: NDArray[np.float64], variances: NDArray[np.float64]) -> Mixture:
    order = np.argsort(-weights, kind="stable")
    share = np.clip(weights[order] / weights.sum(), 1e-12, None)
    parts = (np.log(share), means[order], np.log(variances[order]))
    return Mixture(*(torch.from_numpy(part).float() for part in parts))
