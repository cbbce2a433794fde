"""The end of a training: weights, the reference for novelty, and the texts that go with a run."""

from __future__ import annotations

import torch
from torch import Tensor

from morphospace.learn.data import Data
from morphospace.learn.methods.base import Method
from morphospace.learn.record import methods_text
from morphospace.learn.vectors import vectors_of
from morphospace.runs import Run, save_tensors, write_text

__all__ = ["finish_run", "reference_of"]

REFERENCE_ROWS = 20_000


def finish_run(run: Run, method: Method, data: Data, *, seed: int) -> None:
    """Write what makes a training a finished run; the weights come last, since they say that it is whole."""
    method.eval()
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:REFERENCE_ROWS]
    vectors = vectors_of(method, data, rows.sort().values.tolist())
    save_tensors(run.path / "reference.safetensors", reference_of(vectors))
    write_text(run.path / "METHODS.md", methods_text(run))
    save_tensors(run.path / "weights.safetensors", method.state_dict())
    for name in ("checkpoint.pt", "best.safetensors"):
        (run.path / name).unlink(missing_ok=True)


def reference_of(vectors: Tensor) -> dict[str, Tensor]:
    """Summarise training vectors, so that a later image can be told to be unlike them.

    Parameters
    ----------
    vectors : Tensor, (N, D)
        Of the training images.

    Returns
    -------
    dict
        ``mean`` (D,), ``precision`` (D, D) the inverse covariance, shrunk, and ``quantiles`` (1001,) of the Mahalanobis
        distances of the training vectors themselves.

    Notes
    -----
    Covariance shrunk towards its mean variance by the rule of Chen et al. 2010 (OAS, eq. 23), so that it can be inverted where
    N is small or dimensions are tied.
    """
    x = vectors.double()
    mean = x.mean(dim=0)
    centred = x - mean
    n, d = x.shape
    cov = centred.T @ centred / n
    trace = cov.trace()
    square = (cov * cov).sum()
    top = (1 - 2 / d) * square + trace**2
    bottom = (n + 1 - 2 / d) * (square - trace**2 / d)
    rho = 1.0 if float(bottom) <= 0 else min(1.0, float(top / bottom))
    scale = (trace / d).clamp_min(1e-12)
    shrunk = (1 - rho) * cov + rho * scale * torch.eye(d, dtype=torch.float64)
    precision = torch.linalg.inv(shrunk + 1e-6 * scale * torch.eye(d, dtype=torch.float64))
    distance = ((centred @ precision) * centred).sum(dim=1).clamp_min(0).sqrt()
    quantiles = torch.quantile(distance, torch.linspace(0, 1, 1001, dtype=torch.float64))
    return {"mean": mean.float(), "precision": precision.float(), "quantiles": quantiles.float()}
