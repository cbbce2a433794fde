"""Variance-invariance-covariance regularisation (Bardes et al. 2022)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from morphospace.learn.layers import mlp
from morphospace.learn.losses import covariance_loss, mean_cosine, variance_loss
from morphospace.learn.methods.base import Batch, Loss, Method

__all__ = ["VICReg"]


class VICReg(Method):
    """Bring two views together while every dimension keeps its spread and says something of its own.

    Parameters
    ----------
    encoder : Module
        (B, C, H, W) to (B, D).
    layer : str or int, optional
        Layer of the encoder to read instead of its output.
    projection_size, hidden_size : int
        Sizes of the expander.
    invariance, variance, covariance : float
        Weights lambda, mu and nu of the three terms.
    decorrelate : float, >= 0
        Weight of the correlation between dimensions of the encoder's vectors; 0 is the paper's method.

    Notes
    -----
    Bardes et al. 2022, eq. 6, with the paper's weights 25, 25, 1. Departures: the squared distance is a mean over
    dimensions and the variance term a mean over both views, as in the authors' code; an expander of 1,024 in the place
    of 8,192 dimensions, for small encoders; `decorrelate`.
    """

    paper = "Bardes et al. 2022"
    bibtex = """@inproceedings{bardes2022vicreg,
  title = {VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning},
  author = {Bardes, Adrien and Ponce, Jean and LeCun, Yann},
  booktitle = {ICLR},
  year = {2022}
}"""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        projection_size: int = 1024,
        hidden_size: int = 1024,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        decorrelate: float = 1.0,
    ) -> None:
        super().__init__(encoder, layer=layer, decorrelate=decorrelate)
        self.projection_size = projection_size
        self.hidden_size = hidden_size
        self.projector = mlp(self.dim, hidden_size, projection_size, layers=3)
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the weighted sum of the three terms."""
        first, second = self.two_views(batch)
        z1, z2 = self.encoder(first), self.encoder(second)
        p1, p2 = self.projector(z1), self.projector(z2)
        invariance = self.invariance * F.mse_loss(p1.float(), p2.float())
        variance = self.variance * (variance_loss(p1) + variance_loss(p2)) / 2
        covariance = self.covariance * (covariance_loss(p1) + covariance_loss(p2))
        total = invariance + variance + covariance
        terms = {
            "invariance": invariance.detach(),
            "variance": variance.detach(),
            "covariance": covariance.detach(),
        }
        return self.with_redundancy(Loss(total, terms, {"mean_cosine": mean_cosine(p1)}), z1, z2)

    def projections(self, x: Tensor) -> Tensor:
        """Return the expanded vectors (B, projection_size)."""
        out: Tensor = self.projector(self.encoder(x))
        return out
