"""A path through a space: the most typical member of each component, in the shortest order, and what lies between."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import numpy as np
from networkx.algorithms import approximation
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.runs import Run
from morphospace.space.embeddings import Embeddings
from morphospace.space.generating.decoder import Decoder, opened
from morphospace.space.generating.density import Gaussians, check_components

__all__ = ["LatentPath", "between", "shortest_order", "tour", "typical_members"]

_STARTS = 4  # greedy tours that are improved


class LatentPath(NamedTuple):
    """Images along a line through latent space.

    Attributes
    ----------
    ids : tuple of str
        Objects that the line passes through, in order.
    stops : array of int64, (n,)
        Which of the images these are.
    components : array of int64, (n,)
        Component that each stands for; -1 where it stands for none.
    latents : array of float64, (M, d)
    images : array of float32, (M, C, S, S)
        Decoded, in stretched units; at the stops too.
    length : float
        Euclidean length of the line.
    """

    ids: tuple[str, ...]
    stops: NDArray[np.int64]
    components: NDArray[np.int64]
    latents: NDArray[np.float64]
    images: NDArray[np.float32]
    length: float


def tour(
    run: Run | str | Path | Decoder,
    emb: Embeddings,
    *,
    components: Sequence[int] = (),
    density: Gaussians | None = None,
    steps: int = 6,
    seed: int = 0,
) -> LatentPath:
    """Go through the most typical member of each component on the shortest way, and decode the way.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder.
    emb : Embeddings
        Latents of that run.
    components : sequence of int
        Components to pass through; all that have a member if none is given.
    density : Gaussians, optional
        Mixture to take the components of, instead of the run's own.
    steps : int, >= 1
        Images from each stop to the next, that of the next included.
    seed : int
        Of the search for the order.

    Returns
    -------
    LatentPath
        From one end to the other, no return. The most typical member of a component is the object most probably in it
        whose latents are the most probable under it.

    Raises
    ------
    ConfigError
        If the run has no decoder, a component is not there or has no member, or there is one component only.
    DataError
        If the embeddings are of another run.
    """
    decoder = opened(run)
    decoder.check_space(emb)
    mixture = density or decoder.mixture()
    if mixture.k < 2:
        msg = f"a path needs a mixture of two components or more; {decoder.name} has {mixture.k}. Train VaDE, or give density=."
        raise ConfigError(msg)
    if steps < 1:
        msg = f"a path needs steps >= 1; got {steps}."
        raise ConfigError(msg)
    typical = typical_members(mixture, emb.vectors)
    wanted = check_components(components, mixture.k) if len(components) else np.flatnonzero(typical >= 0)
    empty = [int(c) for c in wanted if typical[c] < 0]
    if empty or len(wanted) < 2:
        what = f"component {empty[0]} has no member" if empty else f"there is {len(wanted)}"
        msg = f"a path needs two components with members and {what} among embeddings {emb.name}."
        raise ConfigError(msg)
    rows = typical[wanted]
    order = shortest_order(emb.vectors[rows].astype(np.float64), seed=seed)
    return between(decoder, emb, rows[order], steps=steps, components=wanted[order])


def between(
    decoder: Decoder,
    emb: Embeddings,
    rows: NDArray[np.int64],
    *,
    steps: int,
    components: NDArray[np.int64] | None = None,
) -> LatentPath:
    """Decode the straight lines from each of some rows of embeddings to the next, `steps` images a line."""
    stops = emb.vectors[rows].astype(np.float64)
    if not np.isfinite(stops).all():
        lacking = emb.ids[int(rows[~np.isfinite(stops).all(axis=1)][0])]
        msg = f"'{lacking}' has no vector (NaN), so no path leads to it."
        raise DataError(msg)
    share = np.arange(1, steps + 1)[:, None] / steps
    pieces = [stops[:1], *(a + (b - a) * share for a, b in itertools.pairwise(stops))]
    latents = np.concatenate(pieces)
    length = float(np.linalg.norm(np.diff(stops, axis=0), axis=1).sum())
    named = np.full(len(rows), -1) if components is None else components
    ids = tuple(emb.ids[int(r)] for r in rows)
    return LatentPath(ids, np.arange(len(rows)) * steps, named, latents, decoder.images(latents), length)


def typical_members(mixture: Gaussians, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the most typical member of each component.

    Parameters
    ----------
    mixture : Gaussians
    vectors : array, (N, d)
        Rows with NaN are left out.

    Returns
    -------
    array of int64, (k,)
        Row of the member with the highest density under the component, among those that are most probably in it; -1 where
        none is.
    """
    valid = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    joint = mixture.log_joint(vectors[valid])
    member = joint.argmax(axis=1)
    found = np.full(mixture.k, -1, np.int64)
    for c in range(mixture.k):
        own = np.flatnonzero(member == c)
        if len(own):
            found[c] = valid[own[joint[own, c].argmax()]]
    return found


def shortest_order(points: NDArray[np.float64], *, seed: int = 0) -> NDArray[np.int64]:
    """Order points so that the line through all of them is short.

    Parameters
    ----------
    points : array, (n, d)
        n >= 1.
    seed : int

    Returns
    -------
    array of int64, (n,)
        An open line; of its two directions the one that begins at the smaller number.

    Notes
    -----
    A travelling salesman with one more town at distance 0 from all, which is taken out afterwards; greedy tours of networkx
    from each town, the best then improved by threshold accepting (Dueck & Scheuer 1990) and by turning stretches round until
    no turn helps.
    """
    n = len(points)
    if n < 3:
        return np.arange(n)
    distance = np.zeros((n + 1, n + 1))
    distance[:n, :n] = np.linalg.norm(points[:, None] - points[None], axis=2)
    graph = nx.from_numpy_array(distance + 1e-300)  # networkx takes 0 for no edge
    graph.remove_edges_from(nx.selfloop_edges(graph))
    greedy = [approximation.greedy_tsp(graph, source=town) for town in graph]
    first = min(greedy, key=lambda cycle: _length(distance, cycle))
    better = approximation.threshold_accepting_tsp(graph, first, source=first[0], seed=seed)
    short = sorted(greedy, key=lambda cycle: _length(distance, cycle))[:_STARTS]
    tours = [_untangled(distance, cycle[:-1]) for cycle in (*short, better)]
    best = min(tours, key=lambda cycle: _length(distance, [*cycle, cycle[0]]))
    at = best.index(n)
    order = np.array(best[at + 1 :] + best[:at], np.int64)
    return order if order[0] < order[-1] else order[::-1].copy()


def _length(distance: NDArray[np.float64], cycle: list[int]) -> float:
    return float(distance[cycle[:-1], cycle[1:]].sum())


def _untangled(distance: NDArray[np.float64], towns: list[int]) -> list[int]:
    """Turn stretches of a cycle round, and move short ones elsewhere, while that makes it shorter."""
    cycle, best = list(towns), _length(distance, [*towns, towns[0]])
    while True:
        tries = [
            _changed(cycle, i, j, k) for i in range(len(cycle)) for j in range(i + 1, len(cycle)) for k in (0, 1, 2)
        ]
        lengths = [_length(distance, [*t, t[0]]) for t in tries]
        at = int(np.argmin(lengths))
        if not lengths[at] < best - 1e-12 * max(best, 1.0):
            return cycle
        cycle, best = tries[at], lengths[at]


def _changed(cycle: list[int], i: int, j: int, kind: int) -> list[int]:
    """Turn the stretch from i to j round (2-opt), or move one town from i to j or from j to i (or-opt)."""
    if kind == 0:
        return cycle[:i] + cycle[i : j + 1][::-1] + cycle[j + 1 :]
    a, b = (i, j) if kind == 1 else (j, i)
    rest = cycle[:a] + cycle[a + 1 :]
    return [*rest[:b], cycle[a], *rest[b:]]
