"""A plane drawn through a larger space, and the images that lie on it: a map with its inverse, decoded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, DataError
from morphospace.runs import Run
from morphospace.space.embeddings import Embeddings
from morphospace.space.generating.decoder import Decoder, opened
from morphospace.space.generating.traverse import Grid

__all__ = ["inverse_map"]

_MOST_ROWS = 20_000  # umap's inverse compares places with the rows that it was fitted to
_LEAST_ROWS = 20


def inverse_map(
    run: Run | str | Path | Decoder,
    emb: Embeddings,
    *,
    method: Literal["pca", "umap"] = "umap",
    steps: int = 12,
    neighbours: int = 15,
    seed: int = 0,
) -> Grid:
    """Draw a 2-D map of the latents, go back from a grid of its places to latents, and decode them.

    Parameters
    ----------
    run : Run, path or Decoder
        Of a method with a decoder.
    emb : Embeddings
        Latents of that run; of more than 20,000 a random 20,000 are taken.
    method : {"pca", "umap"}
        ``pca`` is linear and goes back exactly within its plane. ``umap`` needs its extra; its inverse is an estimate from the
        objects near by.
    steps : int, >= 2
        Images along each axis.
    neighbours : int, >= 2
        For ``umap``: neighbours of each object.
    seed : int

    Returns
    -------
    Grid
        Its places with an object within half the diagonal of a cell; the others are NaN: there a map cannot be inverted.

    Raises
    ------
    ConfigError
        If the method is unknown or an option out of range.
    DataError
        If the embeddings are of another run, or fewer than 20 have a vector.
    MissingDependencyError
        If umap-learn is not installed.

    Notes
    -----
    UMAP: McInnes et al. 2018; the inverse by barycentric weights of neighbours on the map and descent, of umap-learn.
    """
    decoder = opened(run)
    decoder.check_space(emb)
    if method not in ("pca", "umap") or steps < 2 or neighbours < 2:
        msg = (
            "an inverse map needs method 'pca' or 'umap', steps >= 2 and neighbours >= 2; "
            f"got {method!r}, {steps} and {neighbours}."
        )
        raise ConfigError(msg)
    x = emb.vectors[np.isfinite(emb.vectors).all(axis=1)]
    if len(x) < _LEAST_ROWS or decoder.dim < 2:
        msg = (
            f"a map needs {_LEAST_ROWS} vectors of 2 dimensions; embeddings {emb.name} have {len(x)} of {decoder.dim}."
        )
        raise DataError(msg)
    if len(x) > _MOST_ROWS:
        x = x[np.sort(np.random.default_rng(seed).choice(len(x), _MOST_ROWS, replace=False))]
    model = PCA(2, random_state=seed) if method == "pca" else _umap(len(x), neighbours, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # umap's: one core, since a seed is given
        points = np.asarray(model.fit_transform(x), np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low) / (2 * steps)
    axes = [np.linspace(low[i] + half[i], high[i] - half[i], steps) for i in range(2)]
    places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    near = _near(places, points, float(np.hypot(*half)))
    images = np.full((len(places), decoder.bands, decoder.size, decoder.size), np.nan, np.float32)
    if near.any():
        images[near] = decoder.images(np.asarray(model.inverse_transform(places[near].astype(np.float32)), np.float32))
    name = "PC" if method == "pca" else "UMAP"
    return Grid(axes[0], axes[1], images.reshape(steps, steps, *images.shape[1:]), points, (f"{name} 1", f"{name} 2"))


def _near(places: NDArray[np.float64], points: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    distance, _ = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(places)
    return np.asarray(distance[:, 0] <= radius)


def _umap(n: int, neighbours: int, seed: int) -> Any:  # noqa: ANN401
    umap = optional_import("umap", extra="umap", purpose="A map with an inverse")
    return umap.UMAP(n_components=2, n_neighbors=min(neighbours, n - 1), random_state=seed)
