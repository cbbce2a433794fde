"""The decoder of AstroVaDEr."""

from __future__ import annotations

from torch import Tensor, nn

from morphospace.errors import ConfigError

__all__ = ["AstroVaDErDecoder"]


class AstroVaDErDecoder(nn.Module):
    """A dense layer of 16 maps, three blocks of two convolutions and a doubling, an output convolution with ReLU.

    Parameters
    ----------
    latents, bands, size : int
        See `decoder`; the paper's size is 128.

    Raises
    ------
    ConfigError
        If the size is no multiple of 8.

    Notes
    -----
    Spindler et al. 2021, table 1, with kernels of 5 x 5 in all blocks as in the published weights; LeakyReLU 0.1.
    """

    def __init__(self, *, latents: int, bands: int = 1, size: int = 128) -> None:
        super().__init__()
        if size % 8:
            near = f"{size // 8 * 8} or {size // 8 * 8 + 8}"
            msg = f"decoder 'astrovader' makes images whose side is a multiple of 8; got {size}. Use {near}, or 'residual'."
            raise ConfigError(msg)
        self.side = size // 8
        self.start = nn.Sequential(nn.Linear(latents, 16 * self.side**2), nn.LeakyReLU(0.1))
        stages: list[nn.Module] = []
        for n_in, n_out in ((16, 16), (16, 64), (64, 64)):
            for first in (n_in, n_out):
                stages += [nn.Conv2d(first, n_out, 5, padding=2), nn.LeakyReLU(0.1)]
            stages.append(nn.Upsample(scale_factor=2, mode="bilinear"))
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(nn.Conv2d(64, bands, 3, padding=1), nn.ReLU())

    def forward(self, z: Tensor) -> Tensor:
        """Return (N, bands, size, size), not negative, for vectors (N, latents)."""
        x = self.start(z).unflatten(1, (16, self.side, self.side))  # (N, 16, side, side)
        out: Tensor = self.last(self.stages(x))
        return out
