"""Weights from elsewhere, read without executing code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from morphospace.errors import StoreError

__all__ = ["read_state"]

_INSIDE = ("state_dict", "model")  # where checkpoints of others keep the weights


def read_state(path: str | Path) -> dict[str, Any]:
    """Read a state dict from a ``.safetensors`` file or one of ``torch.save``, alone or inside a checkpoint.

    Raises
    ------
    StoreError
        If the file is missing or is no file of weights.
    """
    path = Path(path)
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, weights_only=True, map_location="cpu")
        )
    except FileNotFoundError:
        msg = f"weights '{path}' do not exist."
        raise StoreError(msg) from None
    except Exception as error:  # safetensors, zipfile and the unpickler each raise their own kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"weights '{path}' are not a safetensors file nor a plain state dict ({first}); nothing was executed."
        raise StoreError(msg) from None
    if not isinstance(state, dict):
        return {}
    return dict(next((state[key] for key in _INSIDE if isinstance(state.get(key), dict)), state))
