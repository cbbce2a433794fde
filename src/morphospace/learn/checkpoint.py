"""The state of a training on disk, so that it can stop anywhere and go on as if it had not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphospace.errors import StoreError
from morphospace.runs import placing

__all__ = ["Progress", "load_checkpoint", "restore_random_state", "save_checkpoint"]


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    step, epoch, phase : int
        Steps done in all, epochs done in all, number of the phase.
    started : int
        Number of the last phase that the method has prepared; -1 before the first.
    batch : int
        Batches done in the epoch under way.
    sums : dict of str to float
        Sums over these batches of all that the history records.
    began : int
        Epochs done when the phase under way began.
    least, unimproved : float, int
        Least loss of an epoch of this phase, and epochs since then.
    best : float
        Best figure of the stopping rule so far.
    waited : int
        Checks since then.
    """

    step: int = 0
    epoch: int = 0
    phase: int = 0
    started: int = -1
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    began: int = 0
    least: float = float("inf")
    unimproved: int = 0
    best: float = float("-inf")
    waited: int = 0


def save_checkpoint(
    path: Path,
    progress: Progress,
    method: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    scaler: Mapping[str, Any],
) -> None:
    """Write a checkpoint beside and rename it, so that the last one stays until the next is whole.

    The random states of torch and of each GPU go along; `scaler` is the loss scale of float16, empty in any other
    precision.

    Raises
    ------
    StoreError
        If the disk does not take it.
    """
    state = {
        "progress": asdict(progress),
        "method": {k: v.detach().cpu() for k, v in method.items()},
        "optimizer": optimizer,
        "scaler": scaler,
        "generator": torch.get_rng_state(),
        "gpu_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with placing(path) as beside:
        torch.save(state, beside)


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Give torch the random states of a checkpoint; those of GPUs only where there are as many."""
    torch.set_rng_state(state["generator"])
    of_gpus = state["gpu_generators"]
    if of_gpus and torch.cuda.is_available() and torch.cuda.device_count() == len(of_gpus):
        torch.cuda.set_rng_state_all(of_gpus)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing code.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    """
    try:
        # a run may go on where there is no GPU; the optimiser moves its state to its parameters
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # zipfile and the unpickler raise many kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"checkpoint '{path}' cannot be read ({first}); restore it from a copy, or begin a run with a new out=."
        raise StoreError(msg) from None
    state["progress"] = Progress(**state["progress"])
    return state
