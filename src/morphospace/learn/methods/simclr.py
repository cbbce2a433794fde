"""A simple framework for contrastive learning (Chen et al. 2020)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from morphospace.errors import ConfigError
from morphospace.learn.layers import mlp
from morphospace.learn.losses import mean_cosine, nt_xent
from morphospace.learn.methods.base import Batch, Loss, Method

__all__ = ["SimCLR"]


class SimCLR(Method):
    """Tell each object's other view from all other objects of the batch.

    Parameters
    ----------
    encoder : Module
        (B, C, H, W) to (B, D).
    layer : str or int, optional
        Layer of the encoder to read instead of its output.
    projection_size, hidden_size : int
        Sizes of the projector.
    temperature : float, > 0
        Divides the cosines.
    decorrelate : float, >= 0
        Weight of the correlation between dimensions of the encoder's vectors; 0 is the paper's method.

    Raises
    ------
    ConfigError
        If the temperature is not positive.

    Notes
    -----
    Chen et al. 2020, eq. 1. Departures: batch norm in the projector, and `decorrelate`. Statistic ``mutual_information`` is
    log(2B - 1) minus the loss, the bound on the information between views, in nats (van den Oord et al. 2018, section 2.3).
    """

    paper = "Chen et al. 2020"
    bibtex = """@inproceedings{chen2020simclr,
  title = {A Simple Framework for Contrastive Learning of Visual Representations},
  author = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  booktitle = {ICML},
  year = {2020}
}"""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        projection_size: int = 128,
        hidden_size: int = 512,
        temperature: float = 0.2,
        decorrelate: float = 0.05,
    ) -> None:
        super().__init__(encoder, layer=layer, decorrelate=decorrelate)
        if not temperature > 0:
            msg = f"temperature of SimCLR must be positive; got {temperature}."
            raise ConfigError(msg)
        self.projection_size = projection_size
        self.hidden_size = hidden_size
        self.projector = mlp(self.dim, hidden_size, projection_size)
        self.temperature = temperature

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the contrastive loss of the two views."""
        first, second = self.two_views(batch)
        z1, z2 = self.encoder(first), self.encoder(second)
        p1, p2 = self.projector(z1), self.projector(z2)
        total = nt_xent(p1, p2, temperature=self.temperature)
        known = total.detach().new_tensor(math.log(2 * len(p1) - 1)) - total.detach()
        stats = {"mean_cosine": mean_cosine(p1), "mutual_information": known}
        return self.with_redundancy(Loss(total, {"contrast": total.detach()}, stats), z1, z2)

    def projections(self, x: Tensor) -> Tensor:
        """Return the projections (B, projection_size)."""
        out: Tensor = self.projector(self.encoder(x))
        return out
