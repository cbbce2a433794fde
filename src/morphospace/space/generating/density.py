"""The density of a latent space: Gaussians with weights, to draw from and to ask which of them a point belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from morphospace.errors import ConfigError, ShapeError
from morphospace.learn.mixture_start import fit_mixture

__all__ = ["BLOCK", "Gaussians", "check_components"]

BLOCK = 256  # latents drawn by one generator: what is row 1,000 of a seed does not depend on how many were asked for
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Gaussians:
    """A mixture of Gaussians with diagonal covariances.

    Attributes
    ----------
    weights : array of float64, (k,)
        Sum 1.
    means : array of float64, (k, d)
    sigmas : array of float64, (k, d), > 0
        Standard deviations.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    sigmas: NDArray[np.float64]

    @classmethod
    def normal(cls, dim: int) -> Gaussians:
        """Give N(0, I), the prior of a variational autoencoder, as a mixture of one."""
        return cls(np.ones(1), np.zeros((1, dim)), np.ones((1, dim)))

    @classmethod
    def fit(cls, vectors: ArrayLike, *, k: int | Literal["auto"] = 10, seed: int = 0) -> Gaussians:
        """Fit a mixture to latents, for a method that has learned none.

        Parameters
        ----------
        vectors : array, (N, d)
            Rows with NaN are left out.
        k : int or "auto"
            Number of components; ``auto``: as many as a Dirichlet process uses, at most 30.
        seed : int
            Of the starts.

        Raises
        ------
        DataError
            If there are fewer than 5 vectors for each component.
        """
        z = np.asarray(vectors, np.float64)
        found = fit_mixture(z[np.isfinite(z).all(axis=1)], k, seed=seed)
        weights, means, log_variances = (t.double().numpy() for t in found)
        weights = np.exp(weights)
        return cls(weights / weights.sum(), means, np.exp(0.5 * log_variances))

    @property
    def k(self) -> int:
        """Number of components."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """Number of latents."""
        return int(self.means.shape[1])

    def only(self, components: Sequence[int] | None) -> Gaussians:
        """Keep the weights of some components, made to sum to 1; those of the others become 0.

        Parameters
        ----------
        components : sequence of int or None
            Numbers from 0; None keeps all.

        Raises
        ------
        ConfigError
            If there is no such component, none is named, or those named have no weight.
        """
        if components is None:
            return self
        chosen = check_components(components, self.k)
        weights = np.zeros(self.k)
        weights[chosen] = self.weights[chosen]
        total = float(weights.sum())
        if total <= 0:
            msg = f"components {', '.join(map(str, chosen))} have no weight in the mixture; choose others."
            raise ConfigError(msg)
        return Gaussians(weights / total, self.means, self.sigmas)

    def draw(self, n: int, *, seed: int = 0, start: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw latents; rows `start` to `start + n` of the endless table that the seed stands for.

        Parameters
        ----------
        n : int, >= 0
        seed : int, >= 0
        start : int, >= 0

        Returns
        -------
        latents : array of float32, (n, d)
        components : array of int64, (n,)
        """
        first, last = start // BLOCK, -(-(start + n) // BLOCK)
        blocks = [self._block(number, seed) for number in range(first, last)]
        if not blocks:
            return np.empty((0, self.dim), np.float32), np.empty(0, np.int64)
        part = slice(start - first * BLOCK, start - first * BLOCK + n)
        return np.concatenate([z for z, _ in blocks])[part], np.concatenate([c for _, c in blocks])[part]

    def _block(self, number: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        component = rng.choice(self.k, size=BLOCK, p=self.weights)
        noise = rng.standard_normal((BLOCK, self.dim))
        return (self.means[component] + self.sigmas[component] * noise).astype(np.float32), component

    def log_joint(self, z: ArrayLike) -> NDArray[np.float64]:
        """Compute log(pi_c N(z; mu_c, diag s2_c)), (N, k); minus infinity for a component without weight."""
        points = np.asarray(z, np.float64)
        if points.ndim != 2 or points.shape[1] != self.dim:
            msg = f"latents must be (N, {self.dim}), as the mixture has them; got shape {points.shape}."
            raise ShapeError(msg)
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        joint = np.empty((len(points), self.k))
        for c in range(self.k):  # (N, k, d) at once would not fit for many rows
            away = (points - self.means[c]) / self.sigmas[c]
            joint[:, c] = -0.5 * np.einsum("nd,nd->n", away, away)
        norm = np.log(self.sigmas).sum(axis=1) + 0.5 * self.dim * _LOG_2PI
        return np.asarray(joint - norm + log_weights)

    def responsibilities(self, z: ArrayLike) -> NDArray[np.float64]:
        """Compute the probability that each point belongs to each component, (N, k); rows sum to 1, NaN for NaN.

        Notes
        -----
        Jiang et al. 2017, q(c|x) = p(c|z), by log-sum-exp, at z itself.
        """
        joint = self.log_joint(z)
        return np.asarray(np.exp(joint - logsumexp(joint, axis=1, keepdims=True)))

    def overlaps(self) -> NDArray[np.float64]:
        """Compute the Bhattacharyya coefficient of each two components, (k, k): 1 for equal ones, 0 for ones apart.

        Notes
        -----
        The integral of sqrt(N_a N_b) (Bhattacharyya 1943): exp of minus the sum over the latents of
        (m_a - m_b)^2 / (8 v) + ln(v / (s_a s_b)) / 2, where v = (s_a^2 + s_b^2) / 2. Weights have no part in it.
        """
        variance = self.sigmas**2
        middle = (variance[:, None] + variance[None]) / 2  # (k, k, d)
        away = (self.means[:, None] - self.means[None]) ** 2 / middle
        logs = np.log(self.sigmas)
        width = np.log(middle) - logs[:, None] - logs[None]
        return np.asarray(np.exp(-(away / 8 + width / 2).sum(axis=2)))


def check_components(components: Sequence[int], k: int) -> NDArray[np.int64]:
    """Return component numbers in increasing order, each once.

    Raises
    ------
    ConfigError
        If there is none, or one that the mixture does not have.
    """
    wanted = sorted({int(c) for c in components})
    if not wanted:
        msg = f"no component was named; the mixture has {k}, numbered from 0 to {k - 1}."
        raise ConfigError(msg)
    absent = [c for c in wanted if not 0 <= c < k]
    if absent:
        msg = f"component {absent[0]} is not there: the mixture has {k}, numbered from 0 to {k - 1}."
        raise ConfigError(msg)
    return np.array(wanted, dtype=np.int64)
