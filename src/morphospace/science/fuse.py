"""Late fusion: what each part says of an object, put together with weights, whatever parts it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from morphospace.errors import ShapeError
from morphospace.science.votes import dirichlet_multinomial_loss

__all__ = ["Pool", "fit_pool"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_SHRINK = 1e-3  # pull of the weights towards equal ones: parts that say the same share the weight


@dataclass(frozen=True, eq=False)
class Pool:
    """Weights of the parts.

    Classes: log p = log prior + sum over the parts there of weight * (log p_part - log prior) + bias, normalised (a
    logarithmic opinion pool; Genest & Zidek 1986, sect. 3). Values and concentrations of votes: the mean, by their
    weights, of the parts there and of the prior. An object without any part gets the prior.

    Attributes
    ----------
    task : str
    weight : ndarray, (M,), >= 0
        Of each part; in a mean those of all parts and of the prior add up to 1.
    prior : ndarray, (K,)
        Log frequencies of the classes, mean of the values, or concentrations, of the training objects.
    bias : ndarray, (K,)
        Of the classes; else 0.
    prior_weight : float
        Of the prior in a mean.
    """

    task: str
    weight: Float
    prior: Float
    bias: Float
    prior_weight: float

    def __call__(self, scores: Float, there: Bool) -> Float:
        """Put scores together.

        Parameters
        ----------
        scores : ndarray, (M, N, K), float64
            Of each part; anything where it is not there.
        there : ndarray of bool, (M, N)

        Returns
        -------
        ndarray, (N, K)
            Log-probabilities, means or concentrations.

        Raises
        ------
        ShapeError
            If the numbers of parts differ.
        """
        if len(scores) != len(self.weight) or there.shape != scores.shape[:2]:
            msg = f"the pool has {len(self.weight)} parts; got scores {scores.shape} and presence {there.shape}."
            raise ShapeError(msg)
        return _pooled(self, _deviations(scores, there, self.prior), there)


def _deviations(scores: Float, there: Bool, prior: Float) -> Float:
    return np.asarray(np.where(there[:, :, None], scores - prior, 0.0))


def _pooled(pool: Pool, deviation: Float, there: Bool) -> Float:
    moved = np.einsum("m,mnk->nk", pool.weight, deviation)
    if pool.task == "classes":
        return np.asarray(log_softmax(pool.prior + pool.bias + moved, axis=1))
    total = pool.prior_weight + pool.weight @ there
    return np.asarray(pool.prior + moved / np.maximum(total, 1e-12)[:, None])


def fit_pool(
    scores: Float, there: Bool, y: NDArray[np.generic], *, task: str, weight: Float, questions: tuple[int, ...] = ()
) -> Pool:
    """Find the weights with which parts that were fitted without these objects predict them best.

    Parameters
    ----------
    scores : ndarray, (M, N, K), float64
        Of each part, from folds that did not hold the object.
    there : ndarray of bool, (M, N)
        Whether the object has the part.
    y : ndarray
        (N,) class numbers or values, or (N, K) votes.
    task : {"classes", "values", "votes"}
    weight : ndarray, (N,)
        Of the objects, mean 1.
    questions : tuple of int
        Of votes.

    Returns
    -------
    Pool

    Notes
    -----
    Least mean log-loss (classes), squared error in units of the variance (values) or negative log-likelihood (votes) by
    L-BFGS-B under weights >= 0, plus 1e-3 times the scatter of the weights (of their shares in a mean) about their mean, each
    part by the share of objects that have it: parts that say the same share the weight.
    """
    m, _, k = scores.shape
    prior = _prior(y, task, weight, k)
    deviation = _deviations(scores, there, prior)
    spread = max(float(np.average((y - prior[0]) ** 2, weights=weight)), 1e-300) if task == "values" else 1.0
    judge = _judge(y, task, weight / weight.sum(), spread, questions)
    extra = k if task == "classes" else 1

    covered = there @ (weight / weight.sum())  # (M,): what the loss can say of a part, and so how strongly it is pulled

    def pool_of(v: Float) -> Pool:
        if task == "classes":
            return Pool(task, v[:m], prior, v[m:] - v[m:].mean(), 0.0)
        share = v / v.sum()  # a mean does not change with their sum, and shares can be read
        return Pool(task, share[:m], prior, np.zeros(k), float(share[m]))

    def loss(v: Float) -> float:
        pool = pool_of(v)
        # of the shares: a mean would escape a pull on v by making all of v small
        away = pool.weight - covered @ pool.weight / max(float(covered.sum()), 1e-12)
        rest = v[m:] if task == "classes" else np.array([pool.prior_weight])
        pull = _SHRINK * float(covered @ away**2 + (rest**2).sum())
        return judge(_pooled(pool, deviation, there)) + pull

    start = np.concatenate([np.full(m, 1.0 / m), np.zeros(extra) if task == "classes" else [0.05]])
    bounds = [(0.0, 5.0)] * m + ([(None, None)] * extra if task == "classes" else [(1e-6, 5.0)])
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100})
    return pool_of(np.asarray(found.x, dtype=np.float64))


def _prior(y: NDArray[np.generic], task: str, weight: Float, k: int) -> Float:
    if task == "classes":
        share = np.bincount(y.astype(np.intp), weight, minlength=k)
        return np.asarray(np.log(np.maximum(share, 1e-6 * share.sum()) / share.sum()))
    if task == "values":
        return np.array([np.average(y.astype(np.float64), weights=weight)])
    share = y.astype(np.float64).sum(0)
    return np.asarray(1.0 + k * share / max(share.sum(), 1e-12))


def _judge(
    y: NDArray[np.generic], task: str, share: Float, spread: float, questions: tuple[int, ...]
) -> Callable[[Float], float]:
    if task == "classes":
        rows, label = np.arange(len(y)), y.astype(np.intp)
        return lambda out: -float(share @ out[rows, label])
    if task == "values":
        value = y.astype(np.float64)
        return lambda out: float(share @ (out[:, 0] - value) ** 2) / spread
    votes = torch.from_numpy(y.astype(np.float64))
    return lambda out: float(share @ dirichlet_multinomial_loss(torch.from_numpy(out), votes, questions).numpy())
