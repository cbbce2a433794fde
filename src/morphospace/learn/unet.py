"""A small U-Net: a number for each pixel, from images of any size."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphospace.errors import ConfigError, ShapeError

__all__ = ["UNet", "generalised_cross_entropy"]

_GROUPS = 4


class UNet(nn.Module):
    """Contract, expand, and join what lies at the same scale.

    Parameters
    ----------
    channels : int, >= 1
        Planes of the input.
    width : int, a multiple of 4
        Features at full resolution; they double at each of the lower ones.
    depth : int, >= 1
        How often the image is halved. Sides need not be multiples of 2^depth: the image is continued by its edge.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Ronneberger, Fischer & Brox 2015, fig. 1, with padded convolutions, group norm (Wu & He 2018: the same for every size
    of batch) and bilinear upsampling; two convolutions at each scale.
    """

    def __init__(self, channels: int = 1, *, width: int = 8, depth: int = 3) -> None:
        super().__init__()
        if channels < 1 or depth < 1 or width < _GROUPS or width % _GROUPS:
            msg = (
                f"UNet needs channels and depth of at least 1 and a width that is a multiple of {_GROUPS}; "
                f"got {channels}, {depth} and {width}."
            )
            raise ConfigError(msg)
        self.channels, self.width, self.depth = channels, width, depth
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(_twice(b + a, a) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to logits (B, 1, H, W).

        Raises
        ------
        ShapeError
            If `x` has another number of planes.
        """
        if x.ndim != 4 or x.shape[1] != self.channels:
            msg = f"UNet was made for images (B, {self.channels}, H, W); got {tuple(x.shape)}."
            raise ShapeError(msg)
        height, width = x.shape[-2:]
        step = 2**self.depth
        x = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        kept = [self.down[0](x)]
        for block in self.down[1:]:
            kept.append(block(F.max_pool2d(kept[-1], 2)))
        z = kept.pop()
        for block in reversed(self.up):
            z = F.interpolate(z, scale_factor=2, mode="bilinear", align_corners=False)
            z = block(torch.cat([kept.pop(), z], dim=1))
        logits: Tensor = self.head(z)
        return logits[..., :height, :width]


def _twice(n_in: int, n_out: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for first in (n_in, n_out):
        parts += [
            nn.Conv2d(first, n_out, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, n_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*parts)


def generalised_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor, *, q: float = 0.7) -> Tensor:
    """Compare logits with labels some of which are wrong: (1 - p^q) / q, p the probability of the label.

    Parameters
    ----------
    logits : Tensor, any shape
        Any float; computed in float32.
    labels : Tensor of bool, same shape
    weight : Tensor, same shape, >= 0
        0 leaves a pixel out.
    q : float, 0 < q <= 1
        Towards 0 it becomes cross entropy, which believes every label; 1 is the mean absolute error, which learns slowly.

    Returns
    -------
    Tensor, ()
        Weighted mean; 0 where all weights are 0.

    Notes
    -----
    Zhang & Sabuncu 2018, eq. 6, without the truncation of their sect. 3.3; q = 0.7 as there.
    """
    log_p = F.logsigmoid(torch.where(labels, logits, -logits).float())
    loss = -torch.expm1(q * log_p) / q
    total = weight.sum()
    return (loss * weight).sum() / total.clamp_min(torch.finfo(torch.float32).tiny)
