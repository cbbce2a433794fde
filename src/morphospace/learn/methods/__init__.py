"""Methods: one paper, one file."""

from __future__ import annotations

from morphospace.learn.methods.ae import AE
from morphospace.learn.methods.astrovader import AstroVaDEr
from morphospace.learn.methods.base import Batch, Loss, Method, Phase
from morphospace.learn.methods.byol import BYOL
from morphospace.learn.methods.simclr import SimCLR
from morphospace.learn.methods.vade import Plan, VaDE
from morphospace.learn.methods.vae import VAE
from morphospace.learn.methods.vicreg import VICReg

__all__ = [
    "AE",
    "BYOL",
    "GENERATIVE",
    "JOINT",
    "METHODS",
    "VAE",
    "AstroVaDEr",
    "Batch",
    "Loss",
    "Method",
    "Phase",
    "Plan",
    "SimCLR",
    "VICReg",
    "VaDE",
]

#: Methods that compare two views of an object.
JOINT: dict[str, type[Method]] = {"BYOL": BYOL, "SimCLR": SimCLR, "VICReg": VICReg}
#: Methods with a decoder.
GENERATIVE: dict[str, type[AE]] = {"AE": AE, "VAE": VAE, "VaDE": VaDE, "AstroVaDEr": AstroVaDEr}
METHODS: dict[str, type[Method]] = {**JOINT, **GENERATIVE}
