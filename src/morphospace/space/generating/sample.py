"""Draw images from the density of a latent space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from morphospace.errors import ConfigError
from morphospace.runs import Run
from morphospace.space.generating.decoder import Decoder, opened
from morphospace.space.generating.density import Gaussians

__all__ = ["Drawn", "Samples", "draw", "sample"]


class Drawn(NamedTuple):
    """Some synthetic images, still on the device."""

    latents: NDArray[np.float32]  # (B, d)
    components: NDArray[np.int64]  # (B,)
    images: Tensor  # (B, C, S, S), stretched


class Samples(NamedTuple):
    """Synthetic images in memory.

    Attributes
    ----------
    latents : array of float32, (N, d)
    components : array of int64, (N,)
        Component that each was drawn from; 0 for a prior without components.
    images : array of float32, (N, C, S, S)
        In stretched units.
    """

    latents: NDArray[np.float32]
    components: NDArray[np.int64]
    images: NDArray[np.float32]


def draw(decoder: Decoder, n: int, *, density: Gaussians, seed: int = 0, start: int = 0) -> Iterator[Drawn]:
    """Draw images batch by batch and leave them on the device.

    Parameters
    ----------
    decoder : Decoder
    n : int, >= 0
    density : Gaussians
        As of ``decoder.mixture().only(components)``.
    seed : int, >= 0
        One seed is one endless catalogue, whatever the batch size.
    start : int, >= 0
        Row of that catalogue to begin with.

    Yields
    ------
    Drawn
    """
    for first in range(start, start + n, decoder.batch_size):
        latents, components = density.draw(min(decoder.batch_size, start + n - first), seed=seed, start=first)
        yield Drawn(latents, components, decoder.decode(latents))


def sample(
    run: Run | str | Path | Decoder,
    n: int = 64,
    *,
    components: Sequence[int] | None = None,
    density: Gaussians | None = None,
    seed: int = 0,
) -> Samples:
    """Draw synthetic images into memory; `generate` writes them to disk.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder.
    n : int, >= 1
    components : sequence of int, optional
        Draw from these alone, their weights made to sum to 1; all when None.
    density : Gaussians, optional
        To draw from instead of the run's own: a plain autoencoder has none.
    seed : int, >= 0
        Same seed, same images; the first 10 of 100 are the 10 of 10.

    Returns
    -------
    Samples

    Raises
    ------
    ConfigError
        If the run has no decoder or no density, or a component is not there.
    """
    decoder = opened(run)
    check_count(n, seed)
    chosen = (density or decoder.mixture()).only(components)
    pieces = list(draw(decoder, n, density=chosen, seed=seed))
    return Samples(
        np.concatenate([p.latents for p in pieces]),
        np.concatenate([p.components for p in pieces]),
        np.concatenate([p.images.float().cpu().numpy() for p in pieces]),
    )


def check_count(n: int, seed: int) -> None:
    """Refuse to draw no image, or with a seed below 0.

    Raises
    ------
    ConfigError
        If one is out of range.
    """
    if n < 1 or seed < 0:
        msg = f"n must be at least 1 and seed not negative; got {n} and {seed}."
        raise ConfigError(msg)
