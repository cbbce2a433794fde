"""The start of a mixture from vectors: expectation maximisation, in axes and on maps in which it finds kinds."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from openTSNE import TSNEEmbedding, affinity, initialization
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from morphospace.errors import DataError
from morphospace.learn.mixture import Mixture

__all__ = ["MOST_COMPONENTS", "Rounded", "check_enough", "fit_mapped", "fit_mixture", "fit_rounded", "least_images"]

MOST_COMPONENTS = 30  # that a Dirichlet process is offered
_LEAST_PER_COMPONENT = 5  # images, without which a mean and a variance say nothing
_LEAST_SHARE = 0.01  # of a component that a Dirichlet process uses
_TURNS, _STARTS = 4, 5  # of `fit_rounded`
_MAP_ROWS = 20_000


def least_images(k: int | Literal["auto"]) -> int:
    """Return how many images a mixture of k components needs to start from."""
    return _LEAST_PER_COMPONENT * (2 if k == "auto" else k)


def check_enough(n: int, k: int | Literal["auto"]) -> None:
    """Refuse to start a mixture from too few images.

    Raises
    ------
    DataError
        If there are fewer than 5 images for each component.
    """
    if n < least_images(k):
        msg = f"a mixture of {k} components needs at least {least_images(k)} images to start from; there are {n}. Lower k."
        raise DataError(msg)


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
    x = _checked(z, k)
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
    groups: Tensor  # (N,) int64, number of the component that each vector was found in


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
    x = _checked(z, k)
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
            best, gamma = bound, model.predict_proba(y)
    return _rounded(x, gamma)


def fit_mapped(z: NDArray[np.floating], k: int, *, seed: int) -> Rounded:
    """Find the kinds on a map of the vectors' neighbourhoods, and the axes in which they are round.

    Parameters
    ----------
    z : ndarray, (N, d)
        Finite vectors.
    k : int
        Number of components.
    seed : int
        Of the map, of the starts and of the vectors that are mapped where there are more than 20,000.

    Returns
    -------
    Rounded
        float32; see `fit_rounded`.

    Raises
    ------
    DataError
        If there are fewer than 5 vectors for each component.

    Notes
    -----
    As in McConville et al. 2021 (N2D), a mixture with full covariances is fitted to two dimensions in which neighbours stay
    neighbours and groups come apart; t-SNE with a lasting exaggeration of 4 does what their UMAP does (Boehm et al. 2022).
    """
    x = _checked(z, k)
    chosen = np.random.default_rng(seed).permutation(len(x))[:_MAP_ROWS]
    places = _map(x[chosen], seed)
    model = GaussianMixture(k, covariance_type="full", reg_covar=_floor(places), n_init=4 * _STARTS, random_state=seed)
    label = _fitted(model, places).predict(places)
    reader = KNeighborsClassifier(min(5, len(chosen))).fit(x[chosen], label)
    return _rounded(x, np.eye(k)[reader.predict(x)])


def _map(x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    start = initialization.pca(x, random_state=seed, add_jitter=True)
    near = affinity.PerplexityBasedNN(x, perplexity=min(15.0, (len(x) - 1) / 3), random_state=seed)
    method = "fft" if len(x) > 2000 else "bh"
    found = TSNEEmbedding(start, near, random_state=seed, negative_gradient_method=method)
    found = found.optimize(200, exaggeration=12, momentum=0.5).optimize(250, exaggeration=4, momentum=0.8)
    return np.asarray(found, dtype=np.float64)


def _rounded(x: NDArray[np.float64], gamma: NDArray[np.float64]) -> Rounded:
    """Make the diagonal mixture of responsibilities (N, k), in the axes in which its components are round on average."""
    centre = x.mean(axis=0)
    gamma = gamma[:, np.argsort(-gamma.sum(axis=0), kind="stable")]
    weights = gamma.sum(axis=0) + 1e-9
    middle = gamma.T @ x / weights[:, None]
    pooled = (x.T @ x - np.einsum("c,ci,cj->ij", weights, middle, middle)) / len(x)
    axes = np.linalg.inv(np.linalg.cholesky(pooled + 1e-3 * _floor(x) * np.eye(x.shape[1])))
    y = (x - centre) @ axes.T
    means = gamma.T @ y / weights[:, None]
    variances = gamma.T @ (y * y) / weights[:, None] - means**2
    mixture = _mixture(weights, means, np.maximum(variances, 1e-3))
    groups = torch.from_numpy(gamma.argmax(axis=1))
    return Rounded(mixture, torch.from_numpy(centre).float(), torch.from_numpy(axes).float(), groups)


def _checked(z: NDArray[np.floating], k: int | Literal["auto"]) -> NDArray[np.float64]:
    check_enough(len(z), k)
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
