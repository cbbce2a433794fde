"""Deblending: what an object would look like without its companion, by its neighbours that have none."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.runs import Run
from morphospace.sky.companions import blank_companions
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.shape import COMPANION_RATIO, measure_shapes
from morphospace.sky.stacks import Stack, stacks
from morphospace.space.embeddings import Embeddings
from morphospace.space.generating.decoder import Decoder, opened
from morphospace.space.generating.path import LatentPath, between

__all__ = ["Deblended", "count_companions", "deblend"]

_AT_A_TIME = 64  # neighbours measured before the next are
_OUTLINE = 3.0  # sigma from which a pixel is the object's


class Deblended(NamedTuple):
    """An object with a companion, and the nearest that has none.

    Attributes
    ----------
    id : str
    neighbour : str
        Nearest object without a companion.
    distance : float
        Between their latents, in units of the spread of each latent.
    rank : int
        Objects that are nearer and have companions, or show nothing, plus 1.
    n_companions : int
        Of the object.
    images : array of float32, (2, C, S, S)
        Both objects as the network sees them.
    path : LatentPath
        From the reconstruction of the one to that of the other.
    """

    id: str
    neighbour: str
    distance: float
    rank: int
    n_companions: int
    images: NDArray[np.float32]
    path: LatentPath


def deblend(
    run: Run | str | Path | Decoder,
    emb: Embeddings,
    *,
    cutouts: Cutouts,
    name: str,
    steps: int = 6,
) -> Deblended:
    """Find the nearest object without a companion, and decode the way to it.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder.
    emb : Embeddings
        Latents of that run.
    cutouts : Cutouts
        Images of the embeddings, in which companions are counted.
    name : str
        Id of an object with a companion.
    steps : int, >= 1
        Images on the way, that of the neighbour included.

    Returns
    -------
    Deblended

    Raises
    ------
    DataError
        If the object is not there, has no companion, or all others have one.
    ConfigError
        If the run has no decoder or `steps` is out of range.

    Notes
    -----
    A neighbour is another object: its arms are not those of the one asked for. Companions are parts above 3 sigma with 5 % of
    the flux of the main one (`measure_shapes`), and what touches it and has no counterpart opposite (`blank_companions`).
    """
    decoder = opened(run)
    decoder.check_space(emb)
    if steps < 1:
        msg = f"a path needs steps >= 1; got {steps}."
        raise ConfigError(msg)
    row = emb.row_of(name)
    place = {identifier: number for number, identifier in enumerate(cutouts.ids)}
    n_own = count_companions(cutouts, [_row_in(place, name, cutouts)])[0]
    if not n_own > 0:
        found = "nothing above the noise" if np.isnan(n_own) else "no companion"
        msg = f"'{name}' has {found} in its image, so there is nothing to take away; name an object with a companion."
        raise DataError(msg)
    order, distance = _by_distance(emb, row, decoder.spread()[1])
    for first in range(0, len(order), _AT_A_TIME):
        near = order[first : first + _AT_A_TIME]
        counts = count_companions(cutouts, [_row_in(place, emb.ids[r], cutouts) for r in near.tolist()])
        alone = np.flatnonzero(counts == 0)
        if len(alone):
            at = first + int(alone[0])
            neighbour = emb.ids[int(order[at])]
            pair = [_row_in(place, each, cutouts) for each in (name, neighbour)]
            images = np.concatenate([p.x.float().cpu().numpy() for p in decoder.encode(cutouts, pair)])
            line = between(decoder, emb, np.array([row, order[at]]), steps=steps)
            return Deblended(name, neighbour, float(distance[at]), at + 1, int(n_own), images, line)
    msg = f"each of the other {len(order)} objects of embeddings {emb.name} has a companion, or shows nothing."
    raise DataError(msg)


def count_companions(cutouts: Cutouts, rows: list[int]) -> NDArray[np.float64]:
    """Count the companions of some objects.

    Parameters
    ----------
    cutouts : Cutouts
    rows : list of int

    Returns
    -------
    array of float64, (n,)
        As of `measure_shapes`; 1 where there is none apart, but `blank_companions` takes away as much as a companion has: one
        that touches the object. NaN where nothing stands out of the noise.
    """
    found = []
    for stack in stacks(cutouts, rows):
        shapes = measure_shapes(stack.images, level=stack.level, sigma=stack.sigma, mask=stack.mask, parts="main")
        n = shapes.n_companions.copy()
        for i in np.flatnonzero(n == 0):
            n[i] = float(_touching_share(stack, int(i)) >= COMPANION_RATIO)
        found.append(n)
    return np.concatenate(found)


def _touching_share(stack: Stack, i: int) -> float:
    """Return the flux of what is no part of a symmetric object, over that of the object."""
    image, level, sigma = stack.images[i], stack.level[i], stack.sigma[i]
    alone = blank_companions(image, level, sigma, mask=None if stack.mask is None else stack.mask[i])
    above = alone.image.astype(np.float64) - level[:, None, None]
    kept = float(above[above > _OUTLINE * sigma[:, None, None]].sum())
    gone = float((image.astype(np.float64) - alone.image)[:, alone.mask].sum())
    return gone / kept if kept > 0 else 0.0


def _by_distance(
    emb: Embeddings, row: int, spread: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order the other rows by their distance, each latent in units of its spread."""
    away = (emb.vectors.astype(np.float64) - emb.vectors[row]) / np.where(spread > 0, spread, 1.0)
    distance = np.linalg.norm(away, axis=1)
    if np.isnan(distance[row]):
        msg = f"'{emb.ids[row]}' has no vector (NaN), so nothing is near it; look at the flags of its image."
        raise DataError(msg)
    distance[row] = np.nan
    order = np.argsort(distance, kind="stable")[: np.isfinite(distance).sum()]  # NaN comes last
    return order, distance[order]


def _row_in(place: dict[str, int], name: str, cutouts: Cutouts) -> int:
    if name not in place:
        msg = f"'{name}' is not in cutouts '{cutouts.path.name}'; give those that the embeddings were made of."
        raise DataError(msg)
    return place[name]
