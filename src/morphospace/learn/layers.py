"""Small parts that several networks share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphospace.errors import ConfigError, ShapeError

__all__ = ["Intercept", "RepeatBands", "input_bands", "mlp", "representation_size"]


def mlp(n_in: int, hidden: int, n_out: int, *, layers: int = 2, last_norm: bool = False) -> nn.Sequential:
    """Build a projector or predictor: linear, batch norm, ReLU, ..., linear.

    Parameters
    ----------
    n_in, hidden, n_out : int
        Sizes of input, hidden layers and output.
    layers : int, >= 1
        Number of linear layers.
    last_norm : bool
        Whether a batch norm without scale and shift ends it.
    """
    parts: list[nn.Module] = []
    for i in range(layers - 1):
        parts += [
            nn.Linear(n_in if i == 0 else hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
        ]
    parts.append(nn.Linear(hidden if layers > 1 else n_in, n_out))
    if last_norm:
        parts.append(nn.BatchNorm1d(n_out, affine=False))
    return nn.Sequential(*parts)


class Intercept(nn.Module):
    """A network cut at one of its layers, averaged over what is left of the image.

    Parameters
    ----------
    network : Module
        Any network that takes (B, C, H, W).
    layer : str or int
        Name as in ``named_modules`` or number among the children (negative counts from the end). The rest of the
        network still runs; what it returns is thrown away.

    Raises
    ------
    ConfigError
        If there is no such layer; the message lists the children.
    """

    def __init__(self, network: nn.Module, layer: str | int) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        _find_layer(network, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D): the layer's output, averaged over all axes after the second."""
        seen: list[Tensor] = []
        # the hook lives for this call only: a lasting one would be copied, and shared, by deepcopy of a target network
        module = _find_layer(self.network, self.layer)
        hook = module.register_forward_hook(lambda _m, _i, out: seen.append(out))
        try:
            self.network(x)
        finally:
            hook.remove()
        if not seen:
            msg = f"layer '{self.layer}' did not run in the network's forward pass; choose another layer."
            raise ConfigError(msg)
        return seen[-1].flatten(2).mean(dim=2) if seen[-1].ndim > 2 else seen[-1]


class RepeatBands(nn.Module):
    """Repeat the bands before a network that was made for more of them, RGB networks for one.

    Parameters
    ----------
    network : Module
        Takes (B, C * stacksize, H, W).
    stacksize : int, >= 1
        How often each image is repeated along its band axis.
    """

    def __init__(self, network: nn.Module, stacksize: int) -> None:
        super().__init__()
        if stacksize < 1:
            msg = f"stacksize must be at least 1; got {stacksize}."
            raise ConfigError(msg)
        self.network = network
        self.stacksize = stacksize

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network makes of the repeated bands."""
        out: Tensor = self.network(x.repeat(1, self.stacksize, 1, 1))
        return out


def input_bands(network: nn.Module) -> int | None:
    """Guess how many bands a network takes, from its first convolution; None without one."""
    stack = 1
    for module in network.modules():
        if isinstance(module, RepeatBands):
            stack = module.stacksize
        if isinstance(module, nn.Conv2d):
            return module.in_channels // stack
    return None


def representation_size(network: nn.Module, *, bands: int | None = None, size: int = 64) -> int:
    """Find the length D of what a network returns, by running it once on zeros.

    Parameters
    ----------
    network : Module
        Takes (B, C, H, W); left as it was, its batch statistics included.
    bands : int, optional
        Number of bands; found from the first convolution if not given.
    size : int
        Side of the trial image in pixels.

    Raises
    ------
    ShapeError
        If the network does not return (B, D); the message says how to add pooling.
    ConfigError
        If the number of bands cannot be found.
    """
    bands = bands or input_bands(network)
    if bands is None:
        msg = "the number of bands cannot be read off an encoder without a Conv2d; give it as bands=."
        raise ConfigError(msg)
    parameter = next(network.parameters(), torch.zeros(()))
    x = torch.zeros(2, bands, size, size, device=parameter.device, dtype=parameter.dtype)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            z = network(x)
    finally:
        network.train(was_training)
    check_vectors(z, x)
    return int(z.shape[1])


def check_vectors(z: object, x: Tensor) -> None:
    """Refuse anything but (B, D) from an encoder, with the line that mends it."""
    if isinstance(z, Mapping | tuple | list) or not isinstance(z, Tensor):
        msg = f"encoder must return a tensor (B, D); got {type(z).__name__} for input {tuple(x.shape)}."
        raise ShapeError(msg)
    if z.ndim != 2 or len(z) != len(x):
        msg = (
            f"encoder must return (B, D); got {tuple(z.shape)} for input {tuple(x.shape)}. Add pooling, e.g. "
            "nn.Sequential(enc, nn.AdaptiveAvgPool2d(1), nn.Flatten())."
        )
        raise ShapeError(msg)


def _find_layer(network: nn.Module, layer: str | int) -> nn.Module:
    children: dict[str, nn.Module] = dict(network.named_children())
    if isinstance(layer, int):
        if -len(children) <= layer < len(children):
            return list(children.values())[layer]
    elif layer and layer in dict(network.named_modules()):
        return network.get_submodule(layer)
    msg = f"network has no layer {layer!r}; its layers are {', '.join(children)}."
    raise ConfigError(msg)
