"""How common a shape is: the crowding of the space around each object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from morphospace.errors import ConfigError, DataError
from morphospace.space.embeddings import Embeddings
from morphospace.space.frames import frame_of
from morphospace.space.nearest import nearest_among

__all__ = ["density"]


def density(emb: Embeddings, *, k: int = 10, metric: str = "cosine", seed: int = 0) -> NDArray[np.float64]:
    """Rank objects by the density of the space around them.

    The density around an object is k divided by the volume that reaches its k-th nearest neighbour, so that ranking by
    it is ranking by the distance to that neighbour, whatever the number of dimensions.

    Parameters
    ----------
    emb : Embeddings
    k : int, >= 1
        Lowered to the number of other objects.
    metric : {"cosine", "euclidean"}
        As for search.
    seed : int
        Above 100,000 rows, where neighbours are found by random trees.

    Returns
    -------
    array, (N,), float64
        Share of the objects whose neighbourhood is emptier, from 0 (the loneliest) to 1; ties have their mean. NaN for
        rows without a vector.

    Raises
    ------
    ConfigError
        If k is below 1 or the metric unknown.
    DataError
        If fewer than two rows have a vector.

    Notes
    -----
    Loftsgaarden & Quesenberry 1965, of which the rank is kept. Measured in the space of the vectors and not on a map:
    t-SNE and UMAP give each object the room that its neighbours need, so that crowded and empty places look alike there.
    """
    if k < 1:
        msg = f"k must be 1 or more; got {k}."
        raise ConfigError(msg)
    frame = frame_of(emb.vectors, metric)
    valid = frame.valid(emb.vectors)
    n = int(np.count_nonzero(valid))
    if n < 2:
        msg = f"a density needs two rows with a vector; embeddings {emb.name} have {n}."
        raise DataError(msg)
    found = nearest_among(frame(emb.vectors[valid]), min(k, n - 1), seed=seed)
    ranks = np.full(len(emb), np.nan)
    ranks[valid] = (rankdata(-found.distances[:, -1]) - 1) / (n - 1)
    return ranks
