"""Learning-rate schedules: functions of the part of a training that is done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from morphospace.errors import ConfigError

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Factor of the learning rate in the course of a training.

    Parameters
    ----------
    kind : {"cosine", "exponential", "constant"}
        ``cosine`` falls from 1 to 0; ``exponential`` is gamma to the power of the epoch.
    warmup : float, 0 to 1
        Part of the training over which the rate first rises linearly from 0.
    gamma : float, 0 to 1
        Factor per epoch of ``exponential``.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    kind: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup: float = 0.05
    gamma: float = 0.99

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "exponential", "constant"):
            msg = f"schedule must be cosine, exponential or constant; got '{self.kind}'."
            raise ConfigError(msg)
        if not 0 <= self.warmup < 1 or not 0 < self.gamma <= 1:
            msg = f"schedule needs 0 <= warmup < 1 and 0 < gamma <= 1; got {self.warmup} and {self.gamma}."
            raise ConfigError(msg)

    def factor(self, step: int, steps: int, epochs: int) -> float:
        """Return the factor at a step.

        Parameters
        ----------
        step : int
            Number of the step, from 0.
        steps : int
            Number of all steps.
        epochs : int
            Number of all epochs.
        """
        warm = self.warmup * steps
        rise = min(1.0, (step + 1) / (warm + 1))
        if self.kind == "cosine":
            done = max(0.0, step - warm) / max(1.0, steps - warm)
            return rise * 0.5 * (1 + math.cos(math.pi * done))
        if self.kind == "exponential":
            return rise * self.gamma ** (step * epochs // steps)
        return rise
