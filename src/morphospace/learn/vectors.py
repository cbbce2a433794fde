"""Vectors of prepared images, inside a training."""

from __future__ import annotations

import torch
from torch import Tensor

from morphospace.learn.data import Data
from morphospace.learn.methods.base import Method
from morphospace.learn.views import plain_view

__all__ = ["vectors_of"]

_BATCH = 256


@torch.no_grad()
def vectors_of(method: Method, data: Data, rows: list[int]) -> Tensor:
    """Return the vectors of chosen rows, (n, D) float32 on the CPU, as `embed` without averaging gives them."""
    device = next(method.parameters()).device
    found = []
    for start in range(0, len(rows), _BATCH):
        block = data.rows(rows[start : start + _BATCH]).to(device)
        x = plain_view(block, data.preparation)
        found.append(method.outputs(x)["vector"].float().cpu())
    return torch.cat(found)
