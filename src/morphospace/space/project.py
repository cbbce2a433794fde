"""Draw the space on a plane: principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from morphospace.errors import ConfigError, DataError
from morphospace.space.embeddings import Embeddings

__all__ = ["METHODS", "Projection", "project"]

METHODS = ("pca",)


@dataclass(frozen=True)
class Projection:
    """A few coordinates for each row.

    Attributes
    ----------
    ids : tuple of str
    coordinates : array of float64, (N, dims)
        NaN for rows without a vector.
    explained : array of float64, (dims,)
        Share of the variance of the vectors along each axis.
    method : str
    """

    ids: tuple[str, ...]
    coordinates: NDArray[np.float64]
    explained: NDArray[np.float64]
    method: str

    def table(self) -> pa.Table:
        """Give an Arrow table with columns ``id``, ``pca_1``, ``pca_2`` and so on."""
        axes = {f"{self.method}_{i + 1}": axis for i, axis in enumerate(self.coordinates.T)}
        return pa.table({"id": pa.array(self.ids, pa.string()), **axes})


def project(emb: Embeddings, method: str = "pca", *, dims: int = 2, seed: int = 0) -> Projection:
    """Project the vectors onto a few axes.

    Parameters
    ----------
    emb : Embeddings
    method : {"pca"}
        Principal components of the vectors as they are, centred and not scaled (Pearson 1901), through scikit-learn.
    dims : int, >= 1
        At most the number of rows with a vector, and of dimensions.
    seed : int
        For the randomised solver that scikit-learn takes for large data.

    Returns
    -------
    Projection
        Signs are fixed: the same data give the same picture.

    Raises
    ------
    ConfigError
        If the method is unknown or dims out of range.
    DataError
        If fewer than two rows have a vector.
    """
    if method not in METHODS:
        msg = f"unknown projection method {method!r}; there is 'pca'."
        raise ConfigError(msg)
    valid = np.isfinite(emb.vectors).all(axis=1)
    n = int(np.count_nonzero(valid))
    if n < 2:
        msg = f"a projection needs two rows with a vector; embeddings {emb.name} have {n}."
        raise DataError(msg)
    if not 1 <= dims <= min(n, emb.dim):
        msg = f"dims must be from 1 to {min(n, emb.dim)}; got {dims}."
        raise ConfigError(msg)
    x = emb.vectors[valid].astype(np.float64)
    if (x == x[0]).all():  # a collapsed space: shares of no variance are not numbers
        found, explained = np.zeros((n, dims)), np.zeros(dims)
    else:
        model = PCA(dims, random_state=seed)
        found, explained = model.fit_transform(x), np.asarray(model.explained_variance_ratio_)
    coordinates = np.full((len(emb), dims), np.nan)
    coordinates[valid] = found
    return Projection(tuple(emb.ids), coordinates, explained, method)
