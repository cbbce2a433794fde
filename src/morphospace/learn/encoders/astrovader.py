"""The encoder of AstroVaDEr."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["AstroVaDErEncoder"]


class AstroVaDErEncoder(nn.Module):
    """Three blocks of two convolutions and a 2 x 2 max-pool, flattened to 4,096 numbers.

    Parameters
    ----------
    bands : int, >= 1
        Number of input bands.

    Notes
    -----
    Spindler et al. 2021, table 1: 64, 64 and 16 filters with kernels of 3 x 3, 5 x 5 and 5 x 5, LeakyReLU 0.1. The paper
    has images of 128 pixels, of which 16 x 16 x 16 numbers are left; of other sizes the last maps are brought to 16 x 16 by
    averaging or repeating, so that the vector keeps its length.
    """

    def __init__(self, *, bands: int = 1) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for n_in, n_out, kernel in ((bands, 64, 3), (64, 64, 5), (64, 16, 5)):
            for first in (n_in, n_out):
                stages += [nn.Conv2d(first, n_out, kernel, padding=kernel // 2), nn.LeakyReLU(0.1)]
            stages.append(nn.MaxPool2d(2))
        self.stages = nn.Sequential(*stages)
        self.grid = nn.AdaptiveAvgPool2d(16)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the features of each patch of 8 x 8 pixels, (B, N, 16), row by row."""
        out: Tensor = self.stages(x).flatten(2).transpose(1, 2)  # (B, N, 16)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4096) for images (B, bands, H, W)."""
        out: Tensor = self.grid(self.stages(x)).flatten(1)  # (B, 4096)
        return out
