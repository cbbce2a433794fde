"""Small generative methods, and batches for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from morphospace.learn.loop import draw_batch
from morphospace.learn.methods import GENERATIVE, AstroVaDEr, Plan, VaDE
from morphospace.learn.prepare import Preparation
from morphospace.learn.views import Collated, Views

SIDE = 16
STILL = Views(Preparation(size=SIDE), rotate=False, flip=False, zoom=(1, 1), shift=0, blur=0, noise=0, gain=0)


def tiny(bands=1):
    """An encoder of 12 numbers that is quick and keeps where things are."""
    return nn.Sequential(
        nn.Conv2d(bands, 3, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )


def small(kind, network=None, *, seed=0, **options: Any):
    torch.manual_seed(seed)
    given = {"latents": 3, "decoder": "light", "size": SIDE}
    if issubclass(kind, VaDE):
        given["k"] = 2
    if issubclass(kind, AstroVaDEr):
        del given["decoder"]  # it has that of its paper
    return kind(network or tiny(options.pop("bands", 1)), **{**given, **options})


def block(n=12, bands=1, seed=0):
    rng = np.random.default_rng(seed)
    return Collated(
        x=torch.from_numpy(rng.normal(size=(n, bands, SIDE, SIDE)).astype(np.float32)),
        mask=None,
        shape=torch.full((n, 2), SIDE),
        factor=torch.ones(n),
        sigma=torch.ones(n, bands),
        rows=torch.arange(n),
    )


def drawn(method, n=12, views=STILL, seed=0):
    method.stretch = views.prepare.stretch
    return draw_batch(block(n, method.bands, seed), method, views, torch.Generator().manual_seed(1))


def started(method, *, n=60, phase="static 1", views=STILL):
    """Bring a VaDE past its warm-up."""
    phases = {p.name: p for p in method.phases()}
    for name in ("anneal 1", phase):
        method.on_phase_start(phases[name], [drawn(method, n, views)])
    return method


__all__ = ["GENERATIVE", "SIDE", "STILL", "AstroVaDEr", "Plan", "block", "drawn", "small", "started", "tiny"]
