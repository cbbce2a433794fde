"""Draw the space in two or three dimensions: principal components, t-SNE, UMAP."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.space.embeddings import Embeddings
from morphospace.space.frames import Frame, frame_of
from morphospace.space.kept import Kept, keep, kept
from morphospace.space.tsne import fit_tsne, tsne_placer
from morphospace.space.umap import fit_umap, umap_placer

__all__ = ["METHODS", "Projection", "open_projection", "project"]

METHODS = ("pca", "tsne", "umap")
logger = logging.getLogger(__name__)

_LEAST_ROWS = 4  # three neighbours: the fewest that say anything of who is nearer


@dataclass(frozen=True, eq=False)
class Projection:
    """A few coordinates for each row: a map.

    Attributes
    ----------
    ids : tuple of str
    coordinates : array of float64, (N, dims)
        NaN for rows without a vector.
    explained : array of float64, (dims,) or (0,)
        Share of the variance of the vectors along each axis, for principal components; empty for the others, whose axes
        mean nothing.
    method : {"pca", "tsne", "umap"}
    settings : mapping
        What was asked for: ``dims, metric, perplexity, neighbors, seed``, those that the method has.
    embeddings : Embeddings
        Those that it is a map of.
    """

    ids: tuple[str, ...]
    coordinates: NDArray[np.float64]
    explained: NDArray[np.float64]
    method: str
    settings: Mapping[str, Any]
    embeddings: Embeddings = field(repr=False)
    _model: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    _vectors: str = field(default="", repr=False)
    _placers: list[tuple[Frame, Callable[[NDArray[np.float32]], NDArray[np.float64]]]] = field(
        default_factory=list, repr=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def current(self) -> bool:
        """Whether the embeddings hold the vectors that the map was made of; reads them all."""
        return self._vectors in ("", _digest(self.embeddings))

    def table(self) -> pa.Table:
        """Give an Arrow table with columns ``id``, ``pca_1``, ``pca_2`` and so on, named after the method."""
        axes = {f"{self.method}_{i + 1}": axis for i, axis in enumerate(self.coordinates.T)}
        return pa.table({"id": pa.array(self.ids, pa.string()), **axes})

    def place(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """Find the places of new vectors; the map stays as it is.

        Parameters
        ----------
        vectors : array, (M, D) or (D,), float
            Of the same space, e.g. from ``Embedder.vectors``.

        Returns
        -------
        array, (M, dims), float64
            NaN where a vector has NaN or, under the cosine, is zero.

        Raises
        ------
        ShapeError
            If the vectors have another number of dimensions.
        DataError
            If the embeddings hold other vectors than the map was made of.
        """
        new = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        if new.ndim != 2 or new.shape[1] != self.embeddings.dim:
            msg = f"vectors must be (M, {self.embeddings.dim}) as those of the map; got shape {np.shape(vectors)}."
            raise ShapeError(msg)
        places = np.full((len(new), self.coordinates.shape[1]), np.nan)
        if self.method == "pca":
            good = np.isfinite(new).all(axis=1)
            places[good] = (new[good] - self._model["mean"]) @ self._model["axes"].T
            return places
        with self._lock:
            if not self._placers:
                self._placers.append(self._new_placer())
        frame, find = self._placers[0]
        good = frame.valid(new)
        if good.any():
            places[good] = find(frame(new[good]))
        return places

    def _new_placer(self) -> tuple[Frame, Callable[[NDArray[np.float32]], NDArray[np.float64]]]:
        """Set up what places new vectors: seconds, for many rows, and so only if it is asked for, and once."""
        vectors = self.embeddings.vectors
        if not self.current:
            msg = f"embeddings {self.embeddings.name} hold other vectors than this map was made of; project again."
            raise DataError(msg)
        frame = frame_of(vectors, str(self.settings["metric"]))
        known = frame.valid(vectors)
        x, y = frame(vectors[known]), self.coordinates[known]
        if (y == y[0]).all():  # a collapsed space: there is one place only
            return frame, lambda new: np.repeat(y[:1], len(new), axis=0)
        if self.method == "tsne":
            return frame, tsne_placer(x, y)
        k = min(int(self.settings["neighbors"]), len(x) - 1)
        return frame, umap_placer(x, y, neighbors=k, seed=int(self.settings["seed"]))

    def save(self, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Keep the map beside its embeddings.

        Parameters
        ----------
        name : str, optional
            Default: that of the method, ``tsne``, and in other than two dimensions ``tsne-3d``.
        overwrite : bool
            Replace a map of the same name.

        Returns
        -------
        Path
            A Parquet file with columns ``id, x, y`` and ``z`` (of more: ``axis_4`` and so on).

        Raises
        ------
        DataError
            If the embeddings are in memory only.
        StoreError
            If there is a map of the same name and ``overwrite`` is not given.
        """
        axes = {_axis(i): axis for i, axis in enumerate(self.coordinates.T)}
        about = {
            "method": self.method,
            "settings": dict(self.settings),
            "explained": self.explained.tolist(),
            "vectors": _digest(self.embeddings),
        }
        table = pa.table({"id": pa.array(self.ids, pa.string()), **axes})
        name = name or default_name(self.method, self.coordinates.shape[1])
        return keep(self.embeddings, "maps", name, table, about, dict(self._model), overwrite=overwrite)


def project(
    emb: Embeddings,
    method: str = "pca",
    *,
    dims: int = 2,
    metric: str = "cosine",
    perplexity: float = 30.0,
    neighbors: int = 15,
    seed: int = 0,
) -> Projection:
    """Make a map: a few coordinates for each object, so that similar shapes lie close.

    Parameters
    ----------
    emb : Embeddings
    method : {"pca", "tsne", "umap"}
        "pca": principal components of the vectors as they are, centred and not scaled. "tsne": neighbours are kept best;
        distances between groups and their sizes mean little. "umap": tighter groups, needs the extra umap.
    dims : int
        2 or 3; for principal components any from 1 to the number of dimensions.
    metric : {"cosine", "euclidean"}
        How t-SNE and UMAP normalise the vectors before, as for search.
    perplexity : float, >= 1
        Of t-SNE: about the number of neighbours that each object holds on to. Lowered to (N - 1) / 3 for few objects.
    neighbors : int, >= 2
        Of UMAP, the object itself included. Lowered to N - 1 for few objects.
    seed : int
        Same seed, vectors, threads and releases: same map.

    Returns
    -------
    Projection
        Rows without a vector have NaN.

    Raises
    ------
    ConfigError
        If the method or metric is unknown or a number out of range.
    DataError
        If too few rows have a vector: two for principal components, else four.
    MissingDependencyError
        For "umap" without its extra.

    Notes
    -----
    Pearson 1901; van der Maaten & Hinton 2008 through openTSNE; McInnes, Healy & Melville 2018 through umap-learn. The
    last two start from the principal components of the normalised vectors. In a collapsed space all coordinates are 0.
    """
    if method not in METHODS:
        msg = f"unknown projection method {method!r}{nearest(method, METHODS)}"
        raise ConfigError(msg)
    if method == "pca":
        return _principal(emb, dims, seed)
    own = {"perplexity": perplexity} if method == "tsne" else {"neighbors": neighbors}
    settings = {"dims": dims, "metric": metric, **own, "seed": seed}
    _check_settings(settings)
    frame = frame_of(emb.vectors, metric)
    valid = frame.valid(emb.vectors)
    x = frame(emb.vectors[valid])
    if len(x) < _LEAST_ROWS:
        msg = f"a map by {method} needs {_LEAST_ROWS} rows with a vector; embeddings {emb.name} have {len(x)}."
        raise DataError(msg)
    coordinates = np.full((len(emb), dims), np.nan)
    coordinates[valid] = _laid_out(x, method, settings, emb.name)
    return Projection(tuple(emb.ids), coordinates, np.empty(0), method, settings, emb)


def open_projection(emb: Embeddings, name: str) -> Projection:
    """Open a map that was kept beside the embeddings.

    Parameters
    ----------
    emb : Embeddings
    name : str
        As of ``Projection.save``.

    Returns
    -------
    Projection
        It places new vectors as the one that was saved.

    Raises
    ------
    ConfigError
        If there is none of that name; the nearest is named.
    DataError
        If it was made of other rows than the embeddings have now.
    """
    found = kept(emb, "maps")
    if name not in found:
        msg = f"there is no map '{name}' beside embeddings {emb.name}{nearest(name, found)}"
        raise ConfigError(msg)
    if not found[name].fresh:
        msg = f"map '{name}' was made of other rows than embeddings {emb.name} have now; project again."
        raise DataError(msg)
    return _opened(emb, found[name])


def default_name(method: str, dims: int) -> str:
    """Name a map by how it was made: ``tsne``, ``tsne-3d``."""
    return method if dims == 2 else f"{method}-{dims}d"


def _opened(emb: Embeddings, one: Kept) -> Projection:
    about, table = one.about, one.read(one.columns[1:])
    coordinates = np.column_stack([axis.to_numpy() for axis in table.columns])
    explained = np.asarray(about["explained"], dtype=np.float64)
    return Projection(
        tuple(emb.ids), coordinates, explained, about["method"], about["settings"], emb, one.arrays(), about["vectors"]
    )


def _principal(emb: Embeddings, dims: int, seed: int) -> Projection:
    valid = np.isfinite(emb.vectors).all(axis=1)
    n = int(np.count_nonzero(valid))
    if n < 2:
        msg = f"a projection needs two rows with a vector; embeddings {emb.name} have {n}."
        raise DataError(msg)
    if not 1 <= dims <= min(n, emb.dim):
        msg = f"dims must be from 1 to {min(n, emb.dim)}; got {dims}."
        raise ConfigError(msg)
    x = emb.vectors[valid].astype(np.float64)
    coordinates = np.full((len(emb), dims), np.nan)
    if (x == x[0]).all():  # a collapsed space: shares of no variance are not numbers
        coordinates[valid], explained = 0.0, np.zeros(dims)
        model = {"mean": x[0], "axes": np.zeros((dims, emb.dim))}
    else:
        fitted = PCA(dims, random_state=seed)
        coordinates[valid] = fitted.fit_transform(x)
        explained = np.asarray(fitted.explained_variance_ratio_)
        model = {"mean": fitted.mean_, "axes": np.ascontiguousarray(fitted.components_)}
    return Projection(tuple(emb.ids), coordinates, explained, "pca", {"dims": dims, "seed": seed}, emb, model)


def _check_settings(settings: Mapping[str, Any]) -> None:
    dims, perplexity, neighbors = settings["dims"], settings.get("perplexity", 1), settings.get("neighbors", 2)
    if dims not in (2, 3):
        msg = f"dims must be 2 or 3; got {dims}. Only 'pca' makes other maps."
        raise ConfigError(msg)
    if not 1 <= perplexity < np.inf:
        msg = f"perplexity must be 1 or more; got {perplexity}."
        raise ConfigError(msg)
    if neighbors < 2:
        msg = f"neighbors must be 2 or more; got {neighbors}."
        raise ConfigError(msg)


def _laid_out(x: NDArray[np.float32], method: str, settings: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    n, dims, seed = len(x), int(settings["dims"]), int(settings["seed"])
    if (x == x[0]).all():
        logger.warning("all vectors of embeddings %s are equal, so its map is one point", name)
        return np.zeros((n, dims))
    n_components = min(dims, *x.shape)
    start = np.zeros((n, dims))
    start[:, :n_components] = PCA(n_components, random_state=seed).fit_transform(x)
    if method == "tsne":
        return fit_tsne(x, start, perplexity=_lowered("perplexity", settings, n, (n - 1) / 3), seed=seed)
    return fit_umap(x, start, neighbors=int(_lowered("neighbors", settings, n, n - 1)), seed=seed)


def _lowered(key: str, settings: Mapping[str, Any], n: int, most: float) -> float:
    """Lower what asks for more neighbours than there are."""
    asked = float(settings[key])
    if asked > most:
        logger.warning(
            "%s %g asks for more neighbours than %d objects have; it is lowered to %.3g", key, asked, n, most
        )
    return min(asked, most)


def _axis(i: int) -> str:
    return "xyz"[i] if i < 3 else f"axis_{i + 1}"


def _digest(emb: Embeddings) -> str:
    return hashlib.sha256(np.ascontiguousarray(emb.vectors).data).hexdigest()
