"""A residual encoder that keeps where things are, for methods with a decoder."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ResidualBlock", "ResidualEncoder"]


class ResidualBlock(nn.Module):
    """Two convolutions around which the input goes as well (He et al. 2016, fig. 2).

    Parameters
    ----------
    n_in, n_out : int
        Numbers of maps.
    stride : int
        Of the first convolution.
    """

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.short: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.short = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        short = x if self.short is None else self.short(x)
        out: Tensor = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + short)
        return out


class ResidualEncoder(nn.Module):
    """Four residual blocks, each of half the size of the one before, and 4 x 4 patches of 128 numbers.

    Parameters
    ----------
    bands : int, >= 1
        Number of input bands.

    Notes
    -----
    An average over the whole image, as in the other encoders, would forget where things are, which a decoder has to know.
    """

    def __init__(self, *, bands: int = 1) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(bands, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            ResidualBlock(32, 32),
            ResidualBlock(32, 64, stride=2),
            ResidualBlock(64, 128, stride=2),
            ResidualBlock(128, 128, stride=2),
        )
        self.grid = nn.AdaptiveAvgPool2d(4)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the features of each patch of 16 x 16 pixels, (B, N, 128), row by row."""
        out: Tensor = self.stages(x).flatten(2).transpose(1, 2)  # (B, N, 128)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2048) for images (B, bands, H, W)."""
        out: Tensor = self.grid(self.stages(x)).flatten(1)  # (B, 2048)
        return out
