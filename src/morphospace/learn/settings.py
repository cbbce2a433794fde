"""The settings of a training, and which of them decide its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from morphospace.errors import ConfigError
from morphospace.learn.schedule import Schedule
from morphospace.learn.stop import Stop

__all__ = ["Loop", "Precision", "Settings", "check_same"]

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]

# may change in the course of a training: they decide how it runs, not what comes out
_FREE = {
    ("data", "path"),
    ("loop", "device"),
    ("loop", "checkpoint_minutes"),
    ("loop", "tensorboard"),
}
# what runs from before a setting was there had in its place
_LATER = {("preparation", "align"): False}


@dataclass(frozen=True)
class Loop:
    """The rarer settings of a training.

    Parameters
    ----------
    schedule : Schedule
        Of the learning rate.
    optimizer : callable, optional
        From parameter groups to an optimiser; AdamW with `weight_decay` if not given.
    sampler : callable, optional
        From the number n of images and a torch.Generator to n row numbers, the order of an epoch (rows may repeat);
        without it every image once, shuffled.
    weight_decay : float, >= 0
        Of weight matrices; norms and biases have none.
    clip : float, >= 0
        Largest norm of the gradient; 0 for no clipping.
    precision : {"auto", "32-true", "bf16-mixed", "16-mixed"}
        ``auto`` takes bf16 where the processor computes in it.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``; ``cuda:0,2`` trains on two GPUs, ``cpu:2`` in two processes.
    checkpoint_minutes : float, >= 0
        A checkpoint is written when the last is older than this, and on Ctrl-C.
    tensorboard : bool
        Whether to write TensorBoard events beside ``history.csv``.
    stop : Stop
        When to stop before the last epoch; by default not.
    """

    schedule: Schedule = field(default_factory=Schedule)
    optimizer: Callable[[list[dict[str, object]]], Optimizer] | None = None
    sampler: Callable[[int, torch.Generator], Tensor] | None = None
    weight_decay: float = 1e-4
    clip: float = 5.0
    precision: Precision = "auto"
    device: str = "auto"
    checkpoint_minutes: float = 5.0
    tensorboard: bool = False
    stop: Stop = field(default_factory=Stop)

    @property
    def fabric_devices(self) -> tuple[str, int | list[int]]:
        """The accelerator and the devices, as Lightning Fabric wants them.

        Raises
        ------
        ConfigError
            If `device` cannot be read.
        """
        kind, colon, numbers = self.device.partition(":")
        chosen = [int(n) for n in numbers.split(",") if n.isdecimal()]
        unread = bool(colon) and len(chosen) != len(numbers.split(","))
        if kind not in ("auto", "cpu", "cuda", "mps") or unread or (kind == "cpu" and chosen == [0]):
            msg = (
                f"device must be auto, cpu, cuda, mps, or one of these with numbers as 'cuda:0,1'; got '{self.device}'."
            )
            raise ConfigError(msg)
        return (kind, chosen[0] if chosen else 1) if kind == "cpu" else (kind, chosen or 1)

    @property
    def n_devices(self) -> int:
        """How many devices, or processes on a CPU, share a batch."""
        devices = self.fabric_devices[1]
        return devices if isinstance(devices, int) else len(devices)


@dataclass(frozen=True)
class Settings:
    """The settings that every training has; see `train`."""

    epochs: int
    batch_size: int
    lr: float
    seed: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not 0 < self.lr < math.inf or self.seed < 0:
            msg = (
                "train needs epochs >= 1, batch_size >= 2, lr > 0 and seed >= 0; "
                f"got {self.epochs}, {self.batch_size}, {self.lr} and {self.seed}."
            )
            raise ConfigError(msg)


def check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose configuration decides another result.

    Raises
    ------
    ConfigError
        If a setting differs; versions, the place of the store and what changes the speed alone may.
    """
    for table in ("bands", "layer", "encoder", "method", "preparation", "views", "train", "loop", "data"):
        before, now = (
            found if isinstance(found, Mapping) else {"": found} for found in (old.get(table), new.get(table))
        )
        for key in sorted({*before, *now}, key=lambda k: (k != "name", k)):
            default = _LATER.get((table, key))
            if (table, key) not in _FREE and before.get(key, default) != now.get(key, default):
                name = f"{table}.{key}".removesuffix(".")
                msg = (
                    f"the interrupted run has {name} = {before.get(key)}, this call {now.get(key)}; "
                    "resume it unchanged, or begin another run with a new out=."
                )
                raise ConfigError(msg)
