"""Where tensors are computed: devices by name."""

from __future__ import annotations

import torch

from morphospace.errors import ConfigError

__all__ = ["named_device"]


def named_device(name: str) -> torch.device:
    """Find a device.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes a GPU if there is one.

    Raises
    ------
    ConfigError
        If torch does not know the name, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # a name that torch does not know, or a device that is not there
        msg = f"device '{name}' cannot be used ({str(error).splitlines()[0]}); use 'auto' or 'cpu'."
        raise ConfigError(msg) from None
    return torch.device(name)
