"""Several opinions on one object: Monte-Carlo dropout and deep ensembles, and what their disagreement says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr
from torch import Tensor, nn

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.science.calibration import checked_probabilities
from morphospace.science.coverage import ROUNDING, least_objects

__all__ = ["Spread", "credible_sets", "deep_ensemble", "ensemble_classes", "ensemble_values", "mc_dropout"]

Float = NDArray[np.float64]

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_BLOCK = 1024  # rows at a time


@dataclass(frozen=True, eq=False)
class Spread:
    """What several members say together, and why they are unsure.

    Attributes
    ----------
    mean : ndarray of float64, (N, K) or (N,)
        Mean of the members' probabilities, or predictions.
    total : ndarray of float64, (N,)
        Entropy of the mean in nats, or variance.
    aleatoric : ndarray of float64, (N,)
        What the members hold unsure themselves, and more training data would not change.
    epistemic : ndarray of float64, (N,)
        What they differ by: the rest.
    """

    mean: Float
    total: Float
    aleatoric: Float
    epistemic: Float


def mc_dropout(model: nn.Module, x: Tensor | ArrayLike, *, times: int = 30, seed: int = 0) -> NDArray[np.float32]:
    """Run a network many times with its dropout left on.

    Parameters
    ----------
    model : nn.Module
        With dropout layers; takes `x` and gives a tensor. Everything else (batch norm) runs as in evaluation, and all is
        put back as it was.
    x : Tensor or array-like, (N, ...)
        What the network takes, whatever its device; run in blocks of 1,024 rows.
    times : int, >= 2
        Number of passes T.
    seed : int
        Seed of the masks; the global state of the random numbers stays what it was.

    Returns
    -------
    ndarray of float32, (T, N, ...)
        Outputs of each pass, e.g. logits.

    Raises
    ------
    ConfigError
        If `times` is below 2.
    DataError
        If the network has no dropout that does anything: every pass would be the same.

    Notes
    -----
    Gal & Ghahramani 2016, eq. 6. Masks are drawn anew for every pass and object.
    """
    if times < 2:
        msg = f"times must be at least 2; got {times}."
        raise ConfigError(msg)
    layers = [m for m in model.modules() if isinstance(m, _DROPOUT) and m.p > 0]
    if not layers:
        msg = (
            f"{type(model).__name__} has no dropout layer with p above 0, so that all passes would be alike; "
            "train it with dropout, or use a deep ensemble."
        )
        raise DataError(msg)
    before = {module: module.training for module in model.modules()}
    given = next((p.device for p in model.parameters()), torch.device("cpu"))
    data = (x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x, dtype=np.float32))).to(given)
    devices = [given] if given.type == "cuda" else []
    try:
        model.eval()
        for layer in layers:
            layer.train()
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            return np.stack([_outputs(model, data) for _ in range(times)])
    finally:
        for module, training in before.items():
            module.training = training


def deep_ensemble(models: Sequence[nn.Module], x: Tensor | ArrayLike) -> NDArray[np.float32]:
    """Run the members of an ensemble, each in evaluation mode.

    Parameters
    ----------
    models : sequence of nn.Module
        At least 2, trained from different seeds; put back as they were.
    x : Tensor or array-like, (N, ...)

    Returns
    -------
    ndarray of float32, (M, N, ...)
        Outputs of each member, e.g. logits.

    Raises
    ------
    ConfigError
        If there are fewer than 2 members.

    Notes
    -----
    Lakshminarayanan+ 2017, sect. 2.4, without adversarial training.
    """
    if len(models) < 2:
        msg = f"an ensemble needs at least 2 members; got {len(models)}."
        raise ConfigError(msg)
    found = []
    for model in models:
        before = {module: module.training for module in model.modules()}
        given = next((p.device for p in model.parameters()), torch.device("cpu"))
        data = (x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x, dtype=np.float32))).to(given)
        try:
            model.eval()
            with torch.no_grad():
                found.append(_outputs(model, data))
        finally:
            for module, training in before.items():
                module.training = training
    return np.stack(found)


def ensemble_classes(p: ArrayLike) -> Spread:
    """Put the probabilities of members, or of passes with dropout, together.

    Parameters
    ----------
    p : array-like, (M, N, K), float
        Probabilities of each member.

    Returns
    -------
    Spread
        ``total`` = ``aleatoric`` + ``epistemic``, in nats: entropy of the mean, mean entropy of the members, and the mutual
        information of member and class.

    Raises
    ------
    ShapeError
        If it is not (M, N, K).
    DataError
        If a row is no probabilities.

    Notes
    -----
    Depeweg+ 2018, eq. 3 and 4.
    """
    array = np.asarray(p, dtype=np.float64)
    if array.ndim != 3 or len(array) == 0:
        msg = f"probabilities of members must be (M, N, K) with M of at least 1; got shape {array.shape}."
        raise ShapeError(msg)
    each = checked_probabilities(array.reshape(-1, array.shape[2])).reshape(array.shape)
    mean = each.mean(0)
    total = np.asarray(entr(mean.clip(0)).sum(1))
    aleatoric = np.asarray(entr(each.clip(0)).sum(2).mean(0))
    return Spread(mean, total, aleatoric, np.maximum(total - aleatoric, 0))


def ensemble_values(prediction: ArrayLike, sigma: ArrayLike | None = None) -> Spread:
    """Put the predictions of members together.

    Parameters
    ----------
    prediction : array-like, (M, N), float
        Of each member; NaN gives NaN.
    sigma : array-like, (M, N), float, optional
        What each member says of its own error; 0 where it says nothing.

    Returns
    -------
    Spread
        Variances: ``total`` = ``aleatoric`` (mean of sigma squared) + ``epistemic`` (variance of the predictions).

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    Lakshminarayanan+ 2017, sect. 2.4: moments of an even mixture of Gaussians.
    """
    each = np.asarray(prediction, dtype=np.float64)
    own = np.zeros_like(each) if sigma is None else np.asarray(sigma, dtype=np.float64)
    if each.ndim != 2 or len(each) == 0 or own.shape != each.shape:
        msg = f"predictions of members must be (M, N), and sigma alike; got {each.shape} and {own.shape}."
        raise ShapeError(msg)
    aleatoric, epistemic = (own**2).mean(0), each.var(0)
    return Spread(each.mean(0), aleatoric + epistemic, aleatoric, epistemic)


def credible_sets(p: ArrayLike, coverage: float = 0.9) -> NDArray[np.bool_]:
    """Take the most probable classes until their probabilities add up to the coverage.

    What a classifier's own probabilities promise, and nothing guarantees: to be shown beside conformal sets.

    Parameters
    ----------
    p : array-like, (N, K), float
        Probabilities, e.g. the mean of an ensemble.
    coverage : float, 0 to 1, both excluded

    Returns
    -------
    ndarray of bool, (N, K)
        Never empty.

    Raises
    ------
    ConfigError
        If the coverage is not between 0 and 1.
    """
    least_objects(coverage)
    prob = checked_probabilities(p)
    order = np.argsort(-prob, axis=1, kind="stable")
    ranked = np.take_along_axis(prob, order, 1)
    before = np.cumsum(ranked, axis=1) - ranked  # what the more probable ones hold
    found = np.zeros(prob.shape, dtype=bool)
    np.put_along_axis(found, order, before < coverage - ROUNDING, 1)
    return found


def _outputs(model: nn.Module, x: Tensor) -> NDArray[np.float32]:
    parts = [model(x[i : i + _BLOCK]).float().cpu().numpy() for i in range(0, max(len(x), 1), _BLOCK)]
    return np.concatenate(parts)
