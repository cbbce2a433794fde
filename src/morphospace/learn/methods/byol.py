"""Bootstrap your own latent (Grill et al. 2020)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from morphospace.errors import ConfigError
from morphospace.learn.layers import mlp
from morphospace.learn.losses import mean_cosine, negative_cosine
from morphospace.learn.methods.base import Batch, Loss, Method

__all__ = ["BYOL"]


class BYOL(Method):
    """Predict, from one view, what a slow copy of the network makes of the other.

    Parameters
    ----------
    encoder : Module
        (B, C, H, W) to (B, D).
    layer : str or int, optional
        Layer of the encoder to read instead of its output.
    projection_size, hidden_size : int
        Sizes of projector and predictor.
    loss : callable
        (B, P) prediction and (B, P) target to (B,) or ().
    ema_decay : float, 0 to 1
        Decay tau of the target at the start.
    ema_schedule : {"cosine", "constant"}
        Whether tau rises to 1 by a cosine, or stays.
    momentum : bool
        Whether the target is a moving average; if not, it is the online network with stopped gradient (SimSiam).
    decorrelate : float, >= 0
        Weight of the correlation between dimensions of the encoder's vectors; 0 is the paper's method.

    Raises
    ------
    ConfigError
        If the decay is outside [0, 1] or the schedule unknown.

    Notes
    -----
    Grill et al. 2020, eq. 2 for both orders of the two views, as in section 3.1. Departures: the target's buffers are averaged
    like its parameters; tau starts at 0.99, which suits sets of thousands (paper: 0.996); no LARS; `decorrelate`.
    """

    paper = "Grill et al. 2020"
    bibtex = """@inproceedings{grill2020byol,
  title = {Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning},
  author = {Grill, Jean-Bastien and others},
  booktitle = {NeurIPS},
  year = {2020}
}"""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        projection_size: int = 256,
        hidden_size: int = 1024,
        loss: Callable[[Tensor, Tensor], Tensor] = negative_cosine,
        ema_decay: float = 0.99,
        ema_schedule: Literal["cosine", "constant"] = "cosine",
        momentum: bool = True,
        decorrelate: float = 0.02,
    ) -> None:
        super().__init__(encoder, layer=layer, decorrelate=decorrelate)
        if not 0 <= ema_decay <= 1:
            msg = f"ema_decay of BYOL must lie in [0, 1]; got {ema_decay}."
            raise ConfigError(msg)
        if ema_schedule not in ("cosine", "constant"):
            msg = f"ema_schedule of BYOL must be cosine or constant; got '{ema_schedule}'."
            raise ConfigError(msg)
        self.projection_size = projection_size
        self.hidden_size = hidden_size
        self.projector = mlp(self.dim, hidden_size, projection_size)
        self.predictor = mlp(projection_size, hidden_size, projection_size)
        self.target: nn.Module | None = None
        if momentum:
            self.target = copy.deepcopy(nn.Sequential(self.encoder, self.projector)).requires_grad_(requires_grad=False)
        self.loss = loss
        self.ema_decay = ema_decay
        self.ema_schedule = ema_schedule
        self.momentum = momentum

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the loss over both orders of the two views."""
        first, second = self.two_views(batch)
        z1, z2 = self.encoder(first), self.encoder(second)
        p1, p2 = self.projector(z1), self.projector(z2)
        with torch.no_grad():
            t1, t2 = (p1, p2) if self.target is None else (self.target(first), self.target(second))
        predict = self.loss(self.predictor(p1), t2.detach()) + self.loss(self.predictor(p2), t1.detach())
        total = predict.mean()
        terms = {"predict": total.detach()}
        return self.with_redundancy(Loss(total, terms, {"mean_cosine": mean_cosine(p1)}), z1, z2)

    def after_step(self, loss: Loss, progress: float) -> None:
        """Move the target a little towards the online network."""
        if self.target is None:
            return
        tau = self.decay(progress)
        online = nn.Sequential(self.encoder, self.projector)
        for old, new in zip(
            (*self.target.parameters(), *self.target.buffers()),
            (*online.parameters(), *online.buffers()),
            strict=True,
        ):
            if old.is_floating_point():
                old.data.lerp_(new.data, 1 - tau)
            else:
                old.data.copy_(new.data)

    def decay(self, progress: float) -> float:
        """Return tau: 1 - (1 - tau_0) (cos(pi progress) + 1) / 2."""
        if self.ema_schedule == "constant":
            return self.ema_decay
        return 1 - (1 - self.ema_decay) * (math.cos(math.pi * progress) + 1) / 2

    def projections(self, x: Tensor) -> Tensor:
        """Return the online projections (B, projection_size)."""
        out: Tensor = self.projector(self.encoder(x))
        return out
