"""AstroVaDEr (Spindler et al. 2021): VaDE with the architecture and the schedule of its paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from morphospace.learn.methods.base import Batch, Loss
from morphospace.learn.methods.vade import Plan, VaDE

__all__ = ["AstroVaDEr"]

_L2 = 0.01
PAPER = Plan(warmup=100 / 350, weight=0.3, beta=0.3, batches=200, periods=5, anneal=0.5, spread=20.0, sampled=True)


class AstroVaDEr(VaDE):
    """VaDE as it was trained on galaxies of Galaxy Zoo.

    Parameters
    ----------
    encoder : Module
        The paper's is ``encoder("astrovader")``.
    layer, latents, size, k, plan
        See `VaDE`; the paper's values by default. Decoder and likelihood are the paper's: others are a `VaDE`.

    Notes
    -----
    Spindler et al. 2021, sections 3 and 4: images of 128 pixels in [0, 1], 20 latents, 12 components, squared error times
    the number of pixels, weight 0.3 of the divergence, 100 epochs of warm-up, a start from 200 batches, five times 25 epochs
    of annealing and 25 static ones, 0.01 times the squared weights as a term of the loss. Batches of 180, plain Adam with a
    rate from 3e-4 to 1e-6, and flips as the only views belong to `train` (docs/generative.md). Departure: log-likelihoods
    of a row are scaled into a range of 20 nats, which the paper does not tell.
    """

    paper = "Spindler et al. 2021"
    bibtex = """@article{spindler2021astrovader,
  title = {{AstroVaDEr}: astronomical variational deep embedder for unsupervised morphological classification of galaxies
           and synthetic image generation},
  author = {Spindler, Ashley and Geach, James E. and Smith, Michael J.},
  journal = {MNRAS},
  volume = {502},
  pages = {985},
  year = {2021}
}"""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        latents: int = 20,
        size: int = 128,
        k: int | Literal["auto"] = 12,
        plan: Plan | Mapping[str, Any] = PAPER,
    ) -> None:
        super().__init__(
            encoder,
            layer=layer,
            latents=latents,
            decoder="astrovader",
            size=size,
            likelihood="squared",
            k=k,
            plan=plan,
        )

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the loss of `VaDE` and the squares of the weights, in nats for each pixel."""
        loss = super().forward(batch, progress)
        kernels = [m.weight for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        squares = _L2 * torch.stack([w.float().square().sum() for w in kernels]).sum() / batch.views[0][0].numel()
        return Loss(loss.total + squares, {**loss.terms, "weights": squares.detach()}, loss.stats)
