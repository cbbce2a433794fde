"""Encoders: networks from an image to a vector, by name."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from morphospace.config import nearest
from morphospace.errors import ConfigError, StoreError
from morphospace.learn.encoders.astrovader import AstroVaDErEncoder
from morphospace.learn.encoders.light import Light
from morphospace.learn.encoders.residual import ResidualEncoder
from morphospace.learn.encoders.resnet import ResNet18
from morphospace.learn.layers import RepeatBands
from morphospace.learn.weights import read_state

__all__ = ["ENCODERS", "encoder", "load_weights"]

ENCODERS: dict[str, type[nn.Module]] = {
    "astrovader": AstroVaDErEncoder,
    "light": Light,
    "residual": ResidualEncoder,
    "resnet18": ResNet18,
}


def encoder(
    name: str = "light",
    *,
    bands: int = 1,
    last_layer: int | None = None,
    stacksize: int = 1,
    weights: str | Path | None = None,
) -> nn.Module:
    """Build an encoder of morphospace by its name.

    Parameters
    ----------
    name : str
        ``light`` (128 dimensions), ``resnet18`` (512) or, for methods with a decoder, ``residual`` (2,048) and
        ``astrovader`` (4,096).
    bands : int, >= 1
        Number of bands of the images.
    last_layer : int, optional
        Last stage of ``resnet18`` to keep, 1 to 4.
    stacksize : int, >= 1
        Repeats the bands before the network; 3 lets one band into weights trained on RGB.
    weights : path, optional
        Local file of weights to begin with, ``.safetensors`` or a ``torch.save`` of a state dict, which is read
        without executing code. Layers that the encoder lacks (a classifier) are left out.

    Returns
    -------
    Module
        (B, bands, H, W) to (B, D).

    Raises
    ------
    ConfigError
        If the name is unknown or an option does not belong to it.
    StoreError
        If the weights cannot be read or do not fit.
    """
    if name not in ENCODERS:
        msg = f"unknown encoder '{name}'{nearest(name, ENCODERS)}"
        raise ConfigError(msg)
    if last_layer is not None and name != "resnet18":
        msg = f"last_layer belongs to resnet18; encoder '{name}' has no such option."
        raise ConfigError(msg)
    if bands < 1 or stacksize < 1:
        msg = f"bands and stacksize of an encoder must be at least 1; got {bands} and {stacksize}."
        raise ConfigError(msg)
    inner = bands * stacksize
    options = {} if last_layer is None else {"last_layer": last_layer}
    network = ENCODERS[name](bands=inner, **options)
    if weights is not None:
        load_weights(network, weights)
    result = RepeatBands(network, stacksize) if stacksize != 1 else network
    # read back by runs.py, so that a run can rebuild its encoder
    result.recipe = {"name": name, "bands": bands, "stacksize": stacksize, **options}  # type: ignore[assignment]
    return result


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load weights from a local file into a network, never executing code from it.

    Raises
    ------
    StoreError
        If the file is missing or no file of weights, if no layer fits, or if one has another shape.
    """
    own = network.state_dict()
    shared = {k: v for k, v in read_state(path).items() if k in own and isinstance(v, Tensor)}
    if not shared:
        msg = f"weights '{path}' hold no layer of this encoder; its first layers are {', '.join(list(own)[:3])}."
        raise StoreError(msg)
    for key, value in shared.items():
        if value.shape != own[key].shape:
            msg = (
                f"weights '{path}' have {key} of shape {tuple(value.shape)}, the encoder {tuple(own[key].shape)}; "
                "check bands= and stacksize=."
            )
            raise StoreError(msg)
    missing = [k for k in own if k not in shared and not k.endswith("num_batches_tracked")]
    if missing:
        msg = f"weights '{path}' lack {len(missing)} layers of this encoder, the first is {missing[0]}."
        raise StoreError(msg)
    network.load_state_dict({**own, **shared})
