"""Likelihoods of images given what a decoder makes of them, image by image, in nats."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from morphospace.sky.stretch import Stretch

__all__ = ["LIKELIHOODS", "Likelihood", "negative_log_likelihood", "noisy_loss", "stretched_sigma"]

Likelihood = Literal["squared", "gaussian", "bernoulli", "noisy"]
LIKELIHOODS: tuple[str, ...] = ("squared", "gaussian", "bernoulli", "noisy")
_LEAST_VARIANCE = 1e-6  # of a pixel, so that a perfect reconstruction has a finite loss
_LOG_2PI = math.log(2 * math.pi)


def negative_log_likelihood(kind: Likelihood, raw: Tensor, x: Tensor) -> Tensor:
    """Return -log p(x) of each image.

    Parameters
    ----------
    kind : {"squared", "gaussian", "bernoulli"}
        ``squared``: the sum of squared differences, which is a Gaussian of variance 1/2 up to a constant. ``gaussian``: one
        variance for all pixels, the one that fits the batch best. ``bernoulli``: pixels are probabilities in [0, 1] and `raw`
        their logits; other values are cut to the range.
    raw : Tensor, (N, C, S, S)
        What the decoder makes.
    x : Tensor, (N, C, S, S)
        Images, stretched.

    Returns
    -------
    Tensor, (N,), float32
        In nats, for ``squared`` up to a constant.

    Notes
    -----
    ``gaussian`` is the optimal sigma-VAE of Rybkin et al. 2021, its variance a constant of the gradient and at least 1e-6.
    """
    raw, x = raw.float(), x.float()
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(raw, x.clamp(0, 1), reduction="none").flatten(1).sum(dim=1)
    square = (raw - x).square().flatten(1)  # (N, C * S * S)
    if kind == "squared":
        return square.sum(dim=1)
    variance = square.detach().mean().clamp_min(_LEAST_VARIANCE)
    return 0.5 * (square.sum(dim=1) / variance + square.shape[1] * (variance.log() + _LOG_2PI))


def stretched_sigma(flux: Tensor, sigma: Tensor, stretch: Stretch, *, least: float) -> Tensor:
    """Return the noise of stretched pixels: half the width of flux - sigma to flux + sigma after the stretch.

    Parameters
    ----------
    flux : Tensor, (N, C, S, S)
        Before the stretch.
    sigma : Tensor, (N, C)
        Noise in the units of flux; 0 where it is not known.
    stretch : Stretch
        An invertible curve.
    least : float, > 0
        What is returned at the least, in stretched units.
    """
    noise = sigma[:, :, None, None]
    return (0.5 * (stretch(flux + noise) - stretch(flux - noise))).clamp_min(least)


def noisy_loss(raw: Tensor, x: Tensor, sigma: Tensor, weight: Tensor) -> Tensor:
    """Return -log p(x) of each image whose pixels have each their noise.

    Parameters
    ----------
    raw, x : Tensor, (N, C, S, S)
        What the decoder makes, and the image, stretched.
    sigma : Tensor, (N, C, S, S)
        Noise of each stretched pixel, > 0.
    weight : Tensor, (N, 1, S, S)
        1 where a pixel is valid, 0 where it is blank; a blank pixel costs nothing.

    Returns
    -------
    Tensor, (N,), float32
        Sum over valid pixels of 1/2 [(x - raw)^2 / sigma^2 + log(2 pi sigma^2)], in nats.
    """
    raw, x = raw.float(), x.float()
    # where weight is 0 whatever stands there, NaN too, must not reach the sum
    sigma = torch.where(weight > 0, sigma, 1.0)
    away = torch.where(weight > 0, (x - raw) / sigma, 0.0)
    cost = 0.5 * (away.square() + 2 * sigma.log() + _LOG_2PI)
    return (weight * cost).flatten(1).sum(dim=1)
