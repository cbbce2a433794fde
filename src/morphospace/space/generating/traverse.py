"""What each latent does: images along it, the others held, and images over the plane of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from morphospace.errors import ConfigError
from morphospace.runs import Run
from morphospace.space.generating.decoder import Decoder, opened

__all__ = ["Grid", "Traversal", "grid", "traverse"]


class Traversal(NamedTuple):
    """Images along latents.

    Attributes
    ----------
    name : str
        Of the run, for a title.
    latents : array of int64, (L,)
        Numbers of the latents, in the order asked for.
    values : array of float64, (L, steps)
        Value of the latent in each image.
    steps : array of float64, (steps,)
        The same in standard deviations of the training images, from the base.
    base : array of float64, (d,)
        Where all others are held.
    images : array of float32, (L, steps, C, S, S)
        In stretched units.
    change : array of float64, (L,)
        Root mean square difference of an image from that at the base, in stretched units: near 0 for a latent that the
        decoder does not use.
    """

    name: str
    latents: NDArray[np.int64]
    values: NDArray[np.float64]
    steps: NDArray[np.float64]
    base: NDArray[np.float64]
    images: NDArray[np.float32]
    change: NDArray[np.float64]


def traverse(
    run: Run | str | Path | Decoder,
    *,
    latents: Sequence[int] = (),
    base: Literal["zero", "mean"] = "zero",
    steps: int = 9,
    extent: float = 3.0,
) -> Traversal:
    """Decode along each latent with the others held.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder.
    latents : sequence of int
        Numbers from 0; all if none is given, the one that changes the image most first.
    base : {"zero", "mean"}
        Where the others are held, and the middle of the traversal: 0, or the mean of the training images.
    steps : int, >= 2
        Images along each latent; an odd number has the base in the middle.
    extent : float, > 0
        How far it goes to both sides, in standard deviations of that latent over the training images.

    Returns
    -------
    Traversal

    Raises
    ------
    ConfigError
        If the run has no decoder, there is no such latent, or an option is out of range.
    """
    decoder = opened(run)
    if steps < 2 or not extent > 0 or base not in ("zero", "mean"):
        msg = f"a traversal needs steps >= 2, extent > 0 and base 'zero' or 'mean'; got {steps}, {extent} and {base!r}."
        raise ConfigError(msg)
    chosen = _latents(latents, decoder.dim)
    mean, sigma = decoder.spread()
    middle = mean if base == "mean" else np.zeros(decoder.dim)
    away = np.linspace(-extent, extent, steps)
    values = middle[chosen, None] + away * sigma[chosen, None]  # (L, steps)
    points = np.broadcast_to(middle, (len(chosen), steps, decoder.dim)).copy()
    for i, latent in enumerate(chosen):
        points[i, :, latent] = values[i]
    made = decoder.images(np.concatenate([points.reshape(-1, decoder.dim), middle[None]]))
    images, still = made[:-1].reshape(len(chosen), steps, *made.shape[1:]), made[-1]
    change = np.sqrt(np.square(images - still, dtype=np.float64).mean(axis=(1, 2, 3, 4)))
    order = np.arange(len(chosen)) if len(latents) else np.argsort(-change, kind="stable")
    name = "" if decoder.run is None else decoder.run.path.name
    return Traversal(name, chosen[order], values[order], away, middle, images[order], change[order])


def _latents(latents: Sequence[int], dim: int) -> NDArray[np.int64]:
    chosen = [int(i) for i in latents] or list(range(dim))
    absent = [i for i in chosen if not 0 <= i < dim]
    if absent:
        msg = f"latent {absent[0]} is not there: there are {dim}, numbered from 0 to {dim - 1}."
        raise ConfigError(msg)
    return np.array(chosen, np.int64)


class Grid(NamedTuple):
    """Images over a plane.

    Attributes
    ----------
    x, y : array of float64, (nx,) and (ny,)
        Places along both axes, ascending.
    images : array of float32, (ny, nx, C, S, S)
        In stretched units; row 0 is the lowest y. NaN where nothing is near.
    points : array of float64, (N, 2)
        Objects on the plane; none for a grid that needs none.
    axes : tuple of str
        Names of the axes.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    images: NDArray[np.float32]
    points: NDArray[np.float64]
    axes: tuple[str, str]


def grid(run: Run | str | Path | Decoder, *, steps: int = 15) -> Grid:
    """Decode a grid of the plane of a run with two latents.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder and two latents.
    steps : int, >= 2
        Images along each axis.

    Returns
    -------
    Grid
        Places are quantiles of a Gaussian with the mean and the width of the training images along each axis, as in Kingma &
        Welling 2014, appendix A.

    Raises
    ------
    ConfigError
        If the run has another number of latents, or no decoder.
    """
    decoder = opened(run)
    if decoder.dim != 2:
        msg = (
            f"a grid needs a run with 2 latents and {decoder.name} has {decoder.dim}; draw a map of them (inverse_map), or "
            "traverse each."
        )
        raise ConfigError(msg)
    if steps < 2:
        msg = f"a grid needs steps >= 2; got {steps}."
        raise ConfigError(msg)
    mean, sigma = decoder.spread()
    quantiles = ndtri((np.arange(steps) + 0.5) / steps)
    x, y = (mean[i] + sigma[i] * quantiles for i in range(2))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    images = decoder.images(points)
    return Grid(x, y, images.reshape(steps, steps, *images.shape[1:]), np.empty((0, 2)), ("latent 0", "latent 1"))
