"""What a decoder makes of the images it was given: best, worst, and those it has no idea of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.noise import MAD_TO_SIGMA
from morphospace.space.generating.decoder import Decoder, opened

__all__ = ["Pictures", "Reconstructions", "reconstruct"]

_ARTEFACT = 3.0  # robust sigmas of ln(error) above its median; one in 740 of a Gaussian
_SMALL_PART = 0.02  # of the pixels
_LOCAL = 0.5  # of the squared residuals in that part of the pixels: something small was not made


class Pictures(NamedTuple):
    """Some images, what the decoder makes of them, and what is left.

    Attributes
    ----------
    ids : tuple of str
    images, decoded : array of float32, (n, C, S, S)
        In stretched units.
    errors : array of float64, (n,)
    """

    ids: tuple[str, ...]
    images: NDArray[np.float32]
    decoded: NDArray[np.float32]
    errors: NDArray[np.float64]

    @property
    def residuals(self) -> NDArray[np.float32]:
        """Image minus reconstruction, (n, C, S, S)."""
        return self.images - self.decoded


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """How well each image is reconstructed from the mean of its posterior.

    Attributes
    ----------
    ids : tuple of str
    errors : array of float64, (N,)
        Mean squared residual of a pixel, in stretched units squared.
    concentration : array of float64, (N,)
        Share of the squared residuals that is in the 2 % of the pixels with the largest: 0.02 if all are equal, near 1 for a
        spike or a trail that the decoder cannot make.
    scores : array of float64, (N,)
        ln(error) above its median, in robust sigmas (median absolute deviation).
    """

    ids: tuple[str, ...]
    errors: NDArray[np.float64]
    concentration: NDArray[np.float64]
    scores: NDArray[np.float64]
    _decoder: Decoder
    _cutouts: Cutouts

    def __len__(self) -> int:
        return len(self.ids)

    def best(self, n: int = 8) -> Pictures:
        """Give the n images with the smallest error, the best first."""
        return self.pictures(np.argsort(self.errors, kind="stable")[:n])

    def worst(self, n: int = 8) -> Pictures:
        """Give the n images with the largest error, the worst first."""
        return self.pictures(np.argsort(-self.errors, kind="stable")[:n])

    def pictures(self, rows: Sequence[int] | NDArray[np.int64]) -> Pictures:
        """Read and reconstruct chosen rows again, in the order asked."""
        wanted = np.asarray(rows, np.int64)
        pieces = list(self._decoder.encode(self._cutouts, wanted))
        images = np.concatenate([p.x.float().cpu().numpy() for p in pieces])
        decoded = np.concatenate([self._decoder.decode(p.mean).float().cpu().numpy() for p in pieces])
        return Pictures(tuple(self.ids[r] for r in wanted), images, decoded, self.errors[wanted])

    def artefacts(self, *, above: float = _ARTEFACT) -> pa.Table:
        """List what may be an artefact: images reconstructed far worse than the others.

        Parameters
        ----------
        above : float, > 0
            Least score, in robust sigmas.

        Returns
        -------
        pyarrow.Table
            ``id``, ``error``, ``score``, ``concentration`` and ``reason``, the worst first. What is rare looks the same to a
            decoder as what is broken: look at them.

        Raises
        ------
        ConfigError
            If `above` is not positive.
        """
        if not above > 0:
            msg = f"above must be a positive number of sigmas; got {above}."
            raise ConfigError(msg)
        rows = np.flatnonzero(self.scores > above)
        rows = rows[np.argsort(-self.scores[rows], kind="stable")]
        reasons = [
            "a small part is not reconstructed" if share > _LOCAL else "all of it is reconstructed badly"
            for share in self.concentration[rows]
        ]
        return self.table().take(pa.array(rows)).append_column("reason", pa.array(reasons, pa.string()))

    def table(self) -> pa.Table:
        """Give an Arrow table with columns ``id``, ``error``, ``score`` and ``concentration``."""
        return pa.table(
            {
                "id": pa.array(self.ids, pa.string()),
                "error": self.errors,
                "score": self.scores,
                "concentration": self.concentration,
            }
        )


def reconstruct(run: Run | str | Path | Decoder, cutouts: Cutouts) -> Reconstructions:
    """Encode and decode every image, and measure what is lost.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder.
    cutouts : Cutouts

    Returns
    -------
    Reconstructions

    Raises
    ------
    ConfigError
        If the run has no decoder.
    DataError
        If there is no image.
    """
    decoder = opened(run)
    if not len(cutouts):
        msg = f"'{cutouts.path}' has no image to reconstruct."
        raise DataError(msg)
    ids: list[str] = []
    errors, shares = [], []
    for piece in decoder.encode(cutouts):
        square = (piece.x.float() - decoder.decode(piece.mean).float()).square().flatten(1)  # (B, C * S * S)
        top = square.topk(max(1, round(_SMALL_PART * square.shape[1])), dim=1).values.sum(dim=1)
        errors.append(square.mean(dim=1).double().cpu().numpy())
        total = square.sum(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        shares.append((top / total).double().cpu().numpy())
        ids += piece.ids
    error = np.concatenate(errors)
    return Reconstructions(tuple(ids), error, np.concatenate(shares), robust_scores(error), decoder, cutouts)


def robust_scores(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Say how far ln(error) is above its median in robust sigmas; 0 where all are alike."""
    logs = np.log(np.maximum(errors, np.finfo(np.float64).tiny))
    away = logs - np.median(logs)
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(away)))
    return np.asarray(away / sigma if sigma > 0 else np.zeros_like(away))
