"""UMAP maps through umap-learn: the same neighbours and the same start as t-SNE's."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from morphospace._optional import optional_import
from morphospace.space.nearest import nearest_among

__all__ = ["fit_umap", "umap_placer"]

_ONE = threading.Lock()


def fit_umap(
    x: NDArray[np.float32], start: NDArray[np.float64], *, neighbors: int, seed: int = 0
) -> NDArray[np.float64]:
    """Lay out vectors by UMAP.

    Parameters
    ----------
    x : array, (N, D), float32
        N of at least 4, not all equal.
    start : array, (N, 2 or 3)
        First places, e.g. principal components, of any scale.
    neighbors : int, from 2 to N - 1
    seed : int
        With one, umap-learn uses one core.

    Returns
    -------
    array, (N, 2 or 3), float64
        The middle of its extent is the origin.

    Raises
    ------
    MissingDependencyError
        Without the extra ``umap``.

    Notes
    -----
    McInnes, Healy & Melville 2018, with min_dist = 0.1. Departure: the start is by principal components and not
    spectral, which keeps as much of the whole (Kobak & Linderman 2021) and never fails.
    """
    umap = _umap()
    found = nearest_among(x, neighbors - 1, seed=seed)  # umap-learn counts a vector among its own neighbours
    itself = np.arange(len(x))[:, None]
    graph = np.hstack([itself, found.rows]), np.hstack([np.zeros(itself.shape), found.distances]).astype(np.float32)
    rng = np.random.default_rng(seed)
    spread = np.abs(start).max() or 1.0
    first = 10 * start / spread + 1e-4 * rng.standard_normal(start.shape)  # umap-learn moves points that coincide
    model = umap.UMAP(
        n_neighbors=neighbors,
        n_components=start.shape[1],
        init=first.astype(np.float32),
        precomputed_knn=(*graph, None),
        random_state=seed,
        n_jobs=1,
    )
    with _threads_kept(), warnings.catch_warnings():
        # new points are placed by a model of their own, which has the index
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]", category=UserWarning)
        places = np.array(model.fit_transform(x), dtype=np.float64)
    return np.asarray(places - (places.max(axis=0) + places.min(axis=0)) / 2)


def umap_placer(
    x: NDArray[np.float32], places: NDArray[np.float64], *, neighbors: int, seed: int = 0
) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Make what finds places for new vectors in a UMAP map that stays as it is.

    Parameters
    ----------
    x : array, (N, D), float32
        The vectors of the map.
    places : array, (N, 2 or 3)
        Where they lie.
    neighbors : int
        As the map was made with.
    seed : int

    Returns
    -------
    callable
        Takes vectors, (M, D), float32, and gives places, (M, 2 or 3), float64, by umap-learn's ``transform``. Its steps
        are drawn at random, so that a place shifts a little with which other vectors are placed along.

    Raises
    ------
    MissingDependencyError
        Without the extra ``umap``.

    Notes
    -----
    umap-learn keeps its model by pickle, which is never read here: the graph is built anew from the vectors and nothing
    is laid out (0 epochs); then the model is given the places that were kept.
    """
    umap = _umap()
    model = umap.UMAP(
        n_neighbors=neighbors,
        n_components=places.shape[1],
        init=places.astype(np.float32),
        n_epochs=0,
        random_state=seed,
        transform_seed=seed,
        n_jobs=1,
    )
    with _threads_kept():
        model.fit(x)
    model.embedding_ = places.astype(np.float32)  # it had scaled them
    model.n_epochs = None  # the number of steps for new ones is umap-learn's to choose

    def place(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        with _threads_kept():
            return np.array(model.transform(vectors), dtype=np.float64)

    return place


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Give torch its threads back: numba sets those of OpenMP, which are torch's too.

    One at a time: without OpenMP numba ends the process when two threads enter its own pool.
    """
    with _ONE:
        n = torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_num_threads(n)


def _umap() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # its network version, which needs TensorFlow, is not used
        return optional_import("umap", extra="umap", purpose="a UMAP map")
