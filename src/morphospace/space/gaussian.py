"""A Gaussian process on few labels and many objects, and the expected improvement that it hopes for."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr

__all__ = ["LENGTHS", "NOISES", "GaussianProcess", "Posterior", "expected_improvement", "matern"]

Float64 = NDArray[np.float64]

#: Length scales tried, in units of the root mean square distance of the objects from their centre.
LENGTHS = (0.25, 0.4, 0.6, 0.9, 1.4)
#: Variances of a label's noise tried, as shares of the variance of the process.
NOISES = (0.01, 0.1)

_MOST_FITTED = 400  # labels on which length and noise are chosen: cubic in their number
_MOST_SPREAD = 512  # labels of which the spread is computed: quadratic in their number for each object
_NUMBERS_AT_ONCE = 1 << 19  # of the kernel: what the processor keeps near
_FLOOR = 1e-9


class Posterior(NamedTuple):
    """What the process expects at some points."""

    mean: Float64  # (M, T)
    spread: Float64  # (M,), from 0 to 1: standard deviation as a share of that far from every label


def matern(a: NDArray[np.floating], b: NDArray[np.floating], length: float) -> NDArray[np.floating]:
    """Compute the Matérn kernel of order 3/2, (1 + r) exp(-r) with r = sqrt(3) |a - b| / length.

    Parameters
    ----------
    a, b : array, (N, d) and (M, d), float
    length : float, > 0

    Returns
    -------
    array, (N, M), of the type of ``a`` and ``b``
        1 where the points are equal.

    Notes
    -----
    Rasmussen & Williams 2006, eq. 4.17.
    """
    # in place: of many points, making new arrays takes longer than computing
    r = (a * (-2 * 3 / length**2)) @ b.T
    r += ((a * a).sum(axis=1) * (3 / length**2))[:, None]
    r += ((b * b).sum(axis=1) * (3 / length**2))[None, :]
    np.maximum(r, 0, out=r)
    np.sqrt(r, out=r)
    found = np.exp(-r)
    r += 1
    found *= r
    return np.asarray(found)


def expected_improvement(mean: Float64, std: Float64, best: float) -> Float64:
    """Compute the mean of max(f - best, 0) for f normal.

    Parameters
    ----------
    mean, std : array, (M,), float
        ``std`` >= 0; where it is 0 the improvement is certain.
    best : float
        What is to be improved on.

    Returns
    -------
    array, (M,), >= 0

    Notes
    -----
    Jones, Schonlau & Welch 1998, eq. 15, for a maximum.
    """
    away = np.asarray(mean - best, dtype=np.float64)
    wide = np.maximum(std, _FLOOR)
    u = away / wide
    found = away * ndtr(u) + wide * np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    return np.where(std > 0, np.maximum(found, 0.0), np.maximum(away, 0.0))


class GaussianProcess:
    """Exact regression of one or more targets that share a kernel.

    Made by ``fit``.

    Attributes
    ----------
    length, noise : float
        Chosen from ``LENGTHS`` and ``NOISES``.
    amplitude : array, (T,)
        Standard deviation of each target far from every label.

    Notes
    -----
    Rasmussen & Williams 2006, algorithm 2.1, with the amplitude at its most likely value in closed form. Length and
    noise maximise the marginal likelihood (their eq. 2.30) over a grid, on at most 400 of the labels. Departure: beyond
    512 labels the spread is that of 512 of them, those that lie farthest apart; it is then never too small. The mean is
    always that of all.
    """

    def __init__(self, x: Float64, residuals: Float64, prior: Float64, length: float, noise: float) -> None:
        self.length, self.noise = length, noise
        self._prior = prior
        self._x = x
        factor = _factor(x, length, noise)
        white = solve_triangular(factor, residuals, lower=True)
        self.amplitude = np.sqrt(np.maximum((white * white).mean(axis=0), _FLOOR))
        self._weights = solve_triangular(factor, white, lower=True, trans="T")
        if len(x) <= _MOST_SPREAD:
            self._apart, near = x, factor
        else:
            self._apart = x[farthest_first(x, _MOST_SPREAD)]
            near = _factor(self._apart, length, noise)
        self._whitening = solve_triangular(near, np.eye(len(near)), lower=True).astype(np.float32)

    @classmethod
    def fit(cls, x: Float64, y: Float64, prior: Float64, *, seed: int = 0) -> Self:
        """Fit labels.

        Parameters
        ----------
        x : array, (n, d), float
            Places of the labels; the objects' root mean square distance from their centre is 1.
        y : array, (n, T), float
        prior : array, (T,), float
            Mean far from every label.
        seed : int
            Chooses the labels on which length and noise are fitted, where there are many.
        """
        x, residuals = np.asarray(x, np.float64), np.asarray(y - prior, np.float64)
        some = np.arange(len(x))
        if len(x) > _MOST_FITTED:
            some = np.sort(np.random.default_rng(seed).choice(len(x), _MOST_FITTED, replace=False))
        tried = [(_surprise(x[some], residuals[some], length, s), length, s) for length in LENGTHS for s in NOISES]
        _, length, noise = min(tried)
        return cls(x, residuals, np.asarray(prior, np.float64), length, noise)

    def predict(self, x: NDArray[np.floating]) -> Posterior:
        """Say what is expected at points; in float32, some thousand points at a time.

        Parameters
        ----------
        x : array, (M, d), float

        Returns
        -------
        Posterior
        """
        mean, spread = np.empty((len(x), len(self.amplitude))), np.empty(len(x))
        places = self._x.astype(np.float32)
        weights = self._weights.astype(np.float32)
        shared = self._apart is self._x
        step = max(64, _NUMBERS_AT_ONCE // len(places))
        for start in range(0, len(x), step):
            some = np.asarray(x[start : start + step], np.float32)
            kernel = matern(some, places, self.length)
            mean[start : start + len(some)] = kernel @ weights + self._prior
            near = kernel if shared else matern(some, self._apart.astype(np.float32), self.length)
            known = near @ self._whitening.T
            spread[start : start + len(some)] = 1.0 - np.einsum("ij,ij->i", known, known)
        return Posterior(mean, np.sqrt(np.maximum(spread, 0.0)))

    def known(self, x: NDArray[np.floating]) -> Float64:
        """Whiten the covariance with the labels: the prior covariance of two points less the product of their rows.

        Parameters
        ----------
        x : array, (M, d), float

        Returns
        -------
        array, (M, n)
        """
        kernel = matern(np.asarray(x, np.float64), self._apart, self.length)
        return np.asarray(kernel @ self._whitening.T.astype(np.float64))


def farthest_first(x: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Choose points one after the other, each the farthest from those before; the first is the farthest from the mean.

    Parameters
    ----------
    x : array, (N, d), float
    n : int, <= N

    Returns
    -------
    array of int, (n,)

    Notes
    -----
    Gonzalez 1985: no choice of n points covers the rest with less than half of the radius.
    """
    chosen = [int(np.argmax(((x - x.mean(axis=0)) ** 2).sum(axis=1)))]
    away = np.full(len(x), np.inf)
    while len(chosen) < n:
        away = np.minimum(away, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(np.argmax(away)))
    return np.array(chosen[:n], dtype=np.int64)


def _factor(x: Float64, length: float, noise: float) -> Float64:
    kernel = matern(x, x, length)
    kernel[np.diag_indices_from(kernel)] = 1.0 + noise
    return np.asarray(cholesky(kernel, lower=True))


def _surprise(x: Float64, residuals: Float64, length: float, noise: float) -> float:
    """Give the negative logarithm of the marginal likelihood, the amplitudes at their most likely, up to a constant."""
    factor = _factor(x, length, noise)
    white = solve_triangular(factor, residuals, lower=True)
    power = np.maximum((white * white).mean(axis=0), _FLOOR)
    n, n_targets = residuals.shape
    return float(0.5 * n * np.log(power).sum() + n_targets * np.log(np.diag(factor)).sum())
