"""Methods: one paper, one file."""

from __future__ import annotations

from morphospace.learn.methods.base import Batch, Loss, Method, Phase
from morphospace.learn.methods.byol import BYOL
from morphospace.learn.methods.simclr import SimCLR
from morphospace.learn.methods.vicreg import VICReg

__all__ = ["BYOL", "METHODS", "Batch", "Loss", "Method", "Phase", "SimCLR", "VICReg"]

METHODS: dict[str, type[Method]] = {"BYOL": BYOL, "SimCLR": SimCLR, "VICReg": VICReg}
