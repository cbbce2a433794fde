"""A small convolutional network for laptops."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Light"]


class Light(nn.Module):
    """Five convolutions, an average over the image and a norm: 128 numbers from images of any size.

    Parameters
    ----------
    bands : int, >= 1
        Number of input bands.

    Notes
    -----
    The layer sizes are those of the AstroMorphologyModel of astromorph 0.1.2, without its last linear layer, which
    that package never reads in inference. The norm at the end, without weights of its own, gives all dimensions one
    mean and one spread over the training images: else the few that follow brightness decide every distance. About
    0.12 million parameters.
    """

    def __init__(self, *, bands: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(bands, 32, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.layer1 = nn.Sequential(*_block(32, 32), *_block(32, 32))
        self.layer2 = nn.Sequential(*_block(32, 64, stride=2), *_block(64, 128))

        self.norm = nn.BatchNorm1d(128, affine=False)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the features of each patch of about 8 x 8 pixels, (B, N, 128), row by row."""
        return self._features(x).flatten(2).transpose(1, 2)  # (B, N, 128)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 128) for images (B, bands, H, W)."""
        out: Tensor = self.norm(self._features(x).mean(dim=(2, 3)).float())
        return out

    def _features(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer2(self.layer1(self.stem(x)))
        return out


def _block(n_in: int, n_out: int, *, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    ]
