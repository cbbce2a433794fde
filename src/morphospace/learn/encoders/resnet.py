"""ResNet18 and its shorter forms."""

from __future__ import annotations

from torch import Tensor, nn

from morphospace.errors import ConfigError

__all__ = ["ResNet18"]


class _BasicBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        short = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(out + short)
        return result


class ResNet18(nn.Module):
    """ResNet18 without its classifier, cut after any of its four stages.

    Parameters
    ----------
    bands : int, >= 1
        Number of input bands.
    last_layer : {1, 2, 3, 4}
        Last stage kept; the output has 64, 128, 256 or 512 dimensions. Fewer stages see larger patterns less.

    Raises
    ------
    ConfigError
        If `last_layer` is not 1 to 4.

    Notes
    -----
    He et al. 2016, table 1. Parameters are named as in torchvision, so that its weights can be loaded from a file.
    """

    def __init__(self, *, bands: int = 1, last_layer: int = 4) -> None:
        super().__init__()
        if last_layer not in (1, 2, 3, 4):
            msg = f"last_layer of resnet18 must be 1, 2, 3 or 4; got {last_layer}."
            raise ConfigError(msg)
        self.last_layer = last_layer
        self.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        widths = (64, 64, 128, 256, 512)
        for i in range(1, last_layer + 1):
            first = _BasicBlock(widths[i - 1], widths[i], stride=1 if i == 1 else 2)
            self.add_module(f"layer{i}", nn.Sequential(first, _BasicBlock(widths[i], widths[i])))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def tokens(self, x: Tensor) -> Tensor:
        """Return the features of each patch, (B, N, D), row by row."""
        return self._features(x).flatten(2).transpose(1, 2)  # (B, N, D)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) for images (B, bands, H, W)."""
        return self._features(x).mean(dim=(2, 3))

    def _features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(1, self.last_layer + 1):
            x = self.get_submodule(f"layer{i}")(x)
        return x
