"""A decoder of residual blocks, the counterpart of the residual encoder."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from morphospace.learn.decoders.grid import cropped, first_grid
from morphospace.learn.encoders.residual import ResidualBlock

__all__ = ["ResidualDecoder"]


class ResidualDecoder(nn.Module):
    """A dense layer to a grid of 4 to 7 pixels, then a residual block after each doubling: images of any size.

    Parameters
    ----------
    latents, bands, size : int
        See `decoder`.

    Notes
    -----
    He et al. 2016; doubling by repetition and the block's convolutions in the place of transposed convolutions, whose
    chequered pattern (Odena et al. 2016) would pass for structure. The last convolution is linear.
    """

    def __init__(self, *, latents: int, bands: int = 1, size: int = 64) -> None:
        super().__init__()
        self.size = size
        self.side, doublings = first_grid(size)
        widths = [max(16, 128 >> max(0, i - 1)) for i in range(doublings + 1)]
        self.start = nn.Linear(latents, widths[0] * self.side**2)
        stages: list[nn.Module] = [ResidualBlock(widths[0], widths[0])]
        for n_in, n_out in itertools.pairwise(widths):
            stages += [nn.Upsample(scale_factor=2, mode="nearest"), ResidualBlock(n_in, n_out)]
        self.stages = nn.Sequential(*stages)
        self.last = nn.Conv2d(widths[-1], bands, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return (N, bands, size, size) for vectors (N, latents)."""
        x = self.start(z).unflatten(1, (-1, self.side, self.side))  # (N, 128, side, side)
        return cropped(self.last(self.stages(x)), self.size)
