"""Small parts that several networks share."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morphospace.errors import ConfigError, ShapeError

__all__ = [
    "Intercept",
    "RepeatBands",
    "channels_last_gradients",
    "fold_norms",
    "input_bands",
    "mlp",
    "representation_size",
]


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
        Name as in ``named_modules`` or number among the children (negative counts from the end), `RepeatBands` left
        out. The rest of the network still runs; what it returns is thrown away.

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
        """Return (B, D): a layer's maps (B, D, h, w) averaged over the image, its tokens (B, N, D) over N.

        Raises
        ------
        ConfigError
            If the layer did not run.
        ShapeError
            If it does not return a tensor.
        """
        seen: list[object] = []
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
        z = seen[-1]
        if not isinstance(z, Tensor):
            msg = f"layer '{self.layer}' must return a tensor; it returns {type(z).__name__}. Choose another layer."
            raise ShapeError(msg)
        if z.ndim == 3:
            return z.mean(dim=1)
        return z.flatten(2).mean(dim=2) if z.ndim > 3 else z


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
        out: Tensor = self.network(x.repeat(1, self.stacksize, *(1,) * (x.ndim - 2)))
        return out


@contextlib.contextmanager
def channels_last_gradients(network: nn.Module) -> Iterator[None]:
    """Keep the gradients of batch norms in the memory order of their images while the context lasts.

    An average over the image hands back a gradient of another order, for which the backward step of the norm before it
    takes 15 times as long on a processor (90 ms of a step of 900, measured).
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    hooks = [m.register_forward_hook(_order_gradient) for m in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _order_gradient(_module: nn.Module, _inputs: object, out: Tensor) -> None:
    if out.requires_grad:
        out.register_hook(_as_channels_last)  # type: ignore[no-untyped-call]


def _as_channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def fold_norms(network: nn.Module) -> None:
    """Put the batch norms that follow a convolution into its weights, for inference; the network is changed in place.

    Only where a convolution and the norm behind it are neighbouring children, as in morphospace's own encoders, where
    they also run in that order. The results differ by rounding; passes are 3 to 7 % faster.
    """
    network.eval()
    for module in list(network.modules()):
        for (name, first), (norm, second) in itertools.pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())


def input_bands(network: nn.Module) -> int | None:
    """Guess how many bands a network takes, from its first convolution; None without one."""
    first = _first_convolution(network)
    stack = next((m.stacksize for m in network.modules() if isinstance(m, RepeatBands)), 1)
    return None if first is None else first.in_channels // stack


def representation_size(network: nn.Module, *, bands: int | None = None, size: int = 64) -> int:
    """Find the length D of what a network returns by running it once on zeros; else its attribute ``dim``.

    Parameters
    ----------
    network : Module
        Takes (B, C, H, W), or (B, C, Z, H, W) if its first convolution is a Conv3d; left as it was, its batch
        statistics included.
    bands : int, optional
        Number of bands; found from the first convolution if not given.
    size : int
        Side of the trial image in pixels; also its depth for a Conv3d.

    Raises
    ------
    ShapeError
        If the network does not return (B, D); the message says how to add pooling.
    ConfigError
        If the number of bands cannot be found or the network refuses the trial image, and it has no ``dim``.
    """
    try:
        bands = bands or input_bands(network)
        if bands is None:
            msg = "the number of bands cannot be read off an encoder without a convolution; give it an attribute 'dim', its D."
            raise ConfigError(msg)
        parameter = next(network.parameters(), torch.zeros(()))
        axes = (size,) * (3 if isinstance(_first_convolution(network), nn.Conv3d) else 2)
        z, x = trial_run(network, torch.zeros(2, bands, *axes, device=parameter.device, dtype=parameter.dtype))
    except ConfigError:
        told = getattr(network, "dim", None)
        if isinstance(told, int):
            return told
        raise
    check_vectors(z, x)
    return int(z.shape[1])


def trial_run(network: nn.Module, x: Tensor) -> tuple[Any, Tensor]:
    """Run a network once, leaving it as it was, and return the result beside the input.

    Raises
    ------
    ConfigError
        If it refuses the input; the message has its reason and shape.
    """
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            return network(x), x
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        msg = (
            f"the encoder does not take images of shape {tuple(x.shape)} ({first}); choose bands= and size= that fit it, and "
            "give one that takes a single size an attribute 'dim', the length of its vectors."
        )
        raise ConfigError(msg) from None
    finally:
        for module, training in was_training.items():
            module.training = training


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


def _first_convolution(network: nn.Module) -> nn.Conv2d | nn.Conv3d | None:
    return next((m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)


def _find_layer(network: nn.Module, layer: str | int) -> nn.Module:
    if isinstance(network, RepeatBands):
        return _find_layer(network.network, layer)
    children: dict[str, nn.Module] = dict(network.named_children())
    if isinstance(layer, int):
        if -len(children) <= layer < len(children):
            return list(children.values())[layer]
    elif layer and layer in dict(network.named_modules()):
        return network.get_submodule(layer)
    msg = f"network has no layer {layer!r}; its layers are {', '.join(children)}."
    raise ConfigError(msg)
