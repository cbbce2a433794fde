"""A small decoder for laptops."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from morphospace.learn.decoders.grid import cropped, first_grid

__all__ = ["LightDecoder"]


class LightDecoder(nn.Module):
    """A dense layer to a grid of 4 to 7 pixels, then a convolution before each doubling: images of any size.

    Parameters
    ----------
    latents, bands, size : int
        See `decoder`.

    Notes
    -----
    Convolutions run before the doubling, where there are four times fewer pixels. The last is linear.
    """

    def __init__(self, *, latents: int, bands: int = 1, size: int = 64) -> None:
        super().__init__()
        self.size = size
        self.side, doublings = first_grid(size)
        widths = [max(16, 128 >> i) for i in range(doublings + 1)]
        self.start = nn.Linear(latents, widths[0] * self.side**2)
        stages: list[nn.Module] = [nn.ReLU(inplace=True)]
        for n_in, n_out in itertools.pairwise(widths):
            stages += [
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(inplace=True),
                nn.Upsample(scale_factor=2, mode="bilinear"),
            ]
        self.stages = nn.Sequential(*stages)
        self.last = nn.Conv2d(widths[-1], bands, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return (N, bands, size, size) for vectors (N, latents)."""
        x = self.start(z).unflatten(1, (-1, self.side, self.side))  # (N, 128, side, side)
        return cropped(self.last(self.stages(x)), self.size)
