"""The state of a training on disk, so that it can stop anywhere and go on as if it had not."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphospace.errors import StoreError

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    step, epoch, phase : int
        Steps done in all, epochs done in all, number of the phase.
    batch : int
        Batches done in the epoch under way.
    sums : dict of str to float
        Sums over these batches of all that the history records.
    best : float
        Best figure of the stopping rule so far.
    waited : int
        Checks since then.
    """

    step: int = 0
    epoch: int = 0
    phase: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: float = float("-inf")
    waited: int = 0


def save_checkpoint(
    path: Path, progress: Progress, method: dict[str, Tensor], optimizer: dict[str, Any], generator: torch.Tensor
) -> None:
    """Write a checkpoint beside and rename it, so that the last one stays until the next is whole."""
    state = {
        "progress": asdict(progress),
        "method": {k: v.detach().cpu() for k, v in method.items()},
        "optimizer": optimizer,
        "generator": generator,
    }
    beside = path.with_suffix(".writing")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing code.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # zipfile and the unpickler raise many kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"checkpoint '{path}' cannot be read ({first}); train again with overwrite, or restore it from a copy."
        raise StoreError(msg) from None
    state["progress"] = Progress(**state["progress"])
    return state
