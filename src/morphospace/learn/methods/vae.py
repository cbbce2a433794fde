"""Variational autoencoders (Kingma & Welling 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from morphospace.errors import ConfigError
from morphospace.learn.likelihoods import Likelihood
from morphospace.learn.methods.ae import AE, NARROWEST, WIDEST
from morphospace.learn.methods.base import Batch, Loss
from morphospace.learn.mixture import bounded, kl_normal

__all__ = ["VAE", "Divergence"]

_USED = 0.01  # nats that a latent carries at the least to count as used


class Divergence(NamedTuple):
    """Of the posterior from the prior, and how much it weighs at this moment."""

    dimensions: Tensor  # (N, latents) nats
    rest: Tensor  # (N,) nats, of no single latent
    weight: float | Tensor


class VAE(AE):
    """Learn how images are distributed: a few numbers of known spread, and a network that makes images of them.

    Parameters
    ----------
    encoder, layer, latents, decoder, size, likelihood
        See `AE`.
    beta : float, >= 0
        Weight of the divergence; 1 is the bound itself.
    warmup : float, 0 to 1
        Part of the training over which the weight rises from 0 to beta.
    free_bits : float, >= 0
        Nats of each latent, on average over a batch, that cost nothing more.

    Raises
    ------
    ConfigError
        If an option is out of range or the decoder cannot make images of `size`.

    Notes
    -----
    Kingma & Welling 2014, eq. 7 with one sample; `beta` of Higgins et al. 2017, eq. 4; linear warm-up of Sonderby et al.
    2016; `free_bits` of Kingma et al. 2016, appendix C. Departure: log-variances are bent into (-12, 6).
    """

    paper = "Kingma & Welling 2014"
    bibtex = """@inproceedings{kingma2014auto,
  title = {Auto-Encoding Variational {Bayes}},
  author = {Kingma, Diederik P. and Welling, Max},
  booktitle = {ICLR},
  year = {2014}
}"""

    numbers = 2

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        latents: int = 32,
        decoder: str | nn.Module = "residual",
        size: int = 64,
        likelihood: Likelihood = "gaussian",
        beta: float = 1.0,
        warmup: float = 0.2,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__(encoder, layer=layer, latents=latents, decoder=decoder, size=size, likelihood=likelihood)
        if not (beta >= 0 and free_bits >= 0 and 0 <= warmup <= 1):
            msg = (
                f"{type(self).__name__} needs beta >= 0, free_bits >= 0 and warmup in [0, 1]; "
                f"got {beta}, {free_bits} and {warmup}."
            )
            raise ConfigError(msg)
        self.beta = beta
        self.warmup = warmup
        self.free_bits = free_bits

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the posterior, (N, latents) each, float32; the latter in (-12, 6)."""
        mean, raw = self.encoder(x).float().chunk(2, dim=1)
        return mean, bounded(raw, NARROWEST, WIDEST)

    def divergence(self, mean: Tensor, log_variance: Tensor, z: Tensor, progress: float) -> Divergence:
        """Return the divergence of posteriors, of which `z` is a sample, from N(0, I)."""
        weight = self.beta * (min(1.0, progress / self.warmup) if self.warmup else 1.0)
        return Divergence(kl_normal(mean, log_variance), torch.zeros_like(mean[:, 0]), weight)

    def further(self, batch: Batch, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
        """Return further terms of the loss by name, (), in nats for each image; none here."""
        return {}

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the negative bound with the divergence weighted, in nats for each pixel."""
        x = self.seen(batch)
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        cost = self.reconstruction_cost(batch, self.make(z)).mean()
        kl = self.divergence(mean, log_variance, z, progress)
        by_latent, rest = kl.dimensions.mean(dim=0), kl.rest.mean()
        paid = by_latent.clamp_min(self.free_bits) if self.free_bits else by_latent
        pixels = x[0].numel()
        parts = {"reconstruction": cost / pixels, "divergence": kl.weight * (paid.sum() + rest) / pixels}
        parts |= {name: nats / pixels for name, nats in self.further(batch, mean, log_variance).items()}
        nats = (by_latent.sum() + rest).detach()
        stats = {
            "bound": -(cost.detach() + nats),  # nats for each image
            "nats": nats,
            "used": (by_latent.detach() > _USED).sum(),
            "width": torch.exp(0.5 * log_variance.detach()).mean(),
        }
        total = torch.stack(list(parts.values())).sum()
        return Loss(total, {k: v.detach() for k, v in parts.items()}, stats)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return "vector", the posterior's mean; "width", its mean sigma; "error" of the reconstruction from the mean."""
        mean, log_variance = self.encode(x)
        return {
            "vector": mean,
            "width": torch.exp(0.5 * log_variance).mean(dim=1),
            "error": self.errors(x, mean),
        }
