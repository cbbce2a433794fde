"""Features that need no training: what a space must beat to have learned something."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from morphospace.errors import DataError, ShapeError

__all__ = ["pixel_pca"]


def pixel_pca(images: ArrayLike, *, n_components: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """Project the pixels of the images on their principal components.

    Parameters
    ----------
    images : array-like, (N, ...), float
        Images as the network sees them, all of one shape, finite; N >= 2.
    n_components : int, >= 1
        Components kept; at most min(N, number of pixels).
    seed : int
        Seed of the randomised decomposition.

    Returns
    -------
    ndarray of float32, (N, n_components)
        Coordinates, in order of falling variance. Fitted on all images without labels, as self-supervised training is.

    Notes
    -----
    Halko, Martinsson & Tropp 2011, as in scikit-learn.
    """
    x = np.asarray(images, dtype=np.float32)
    if x.ndim < 2 or len(x) < 2:
        msg = f"pixel_pca needs at least 2 images of one shape, (N, ...); got shape {x.shape}."
        raise ShapeError(msg)
    x = x.reshape(len(x), -1)
    if not np.isfinite(x).all():
        msg = "pixel_pca got images with NaN or infinite pixels; fill them with the background level first."
        raise DataError(msg)
    n = min(n_components, *x.shape)
    pca = PCA(n, svd_solver="randomized", random_state=seed)
    with np.errstate(invalid="ignore"):  # shares of variance of constant images, 0 / 0
        return np.asarray(pca.fit_transform(x), dtype=np.float32)
