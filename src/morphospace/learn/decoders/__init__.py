"""Decoders: networks from a vector back to an image, by name."""

from __future__ import annotations

from torch import Tensor, nn

from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.learn.decoders.astrovader import AstroVaDErDecoder
from morphospace.learn.decoders.light import LightDecoder
from morphospace.learn.decoders.residual import ResidualDecoder

__all__ = ["DECODERS", "AbsentDecoder", "decoder"]

DECODERS: dict[str, type[nn.Module]] = {
    "astrovader": AstroVaDErDecoder,
    "light": LightDecoder,
    "residual": ResidualDecoder,
}


class AbsentDecoder(nn.Module):
    """Holds the place of a decoder of the user's own, of which a run knows the name only."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: Tensor) -> Tensor:
        """Refuse to make images.

        Raises
        ------
        ConfigError
            Always.
        """
        msg = f"this run has a decoder of your own ({self.name}), which no file holds; give it: Decoder.open(run, decoder=...)."
        raise ConfigError(msg)


def decoder(name: str = "residual", *, latents: int, bands: int = 1, size: int = 64) -> nn.Module:
    """Build a decoder of morphospace by its name.

    Parameters
    ----------
    name : {"light", "residual", "astrovader"}
        ``light`` is quick on a laptop, ``residual`` makes finer images, ``astrovader`` is the paper's.
    latents : int, >= 1
        Length of the vectors.
    bands : int, >= 1
        Bands of the images.
    size : int, >= 8
        Side of the images in pixels; of ``astrovader`` a multiple of 8.

    Returns
    -------
    Module
        (N, latents) to (N, bands, size, size).

    Raises
    ------
    ConfigError
        If the name is unknown or the decoder cannot make the size; the message has the sizes that it can.
    """
    if name not in DECODERS:
        msg = f"unknown decoder '{name}', and no module of your own{nearest(name, DECODERS)}"
        raise ConfigError(msg)
    if latents < 1 or bands < 1:
        msg = f"latents and bands of a decoder must be at least 1; got {latents} and {bands}."
        raise ConfigError(msg)
    if size < 8:
        msg = f"decoder '{name}' makes images of 8 pixels and more on a side; got size {size}."
        raise ConfigError(msg)
    return DECODERS[name](latents=latents, bands=bands, size=size)
