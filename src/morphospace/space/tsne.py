"""t-SNE maps through openTSNE: neighbours exact where that is affordable, a start by principal components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from openTSNE import TSNEEmbedding
from openTSNE.affinity import Affinities, PerplexityBasedNN, joint_probabilities_nn
from openTSNE.nearest_neighbors import PrecomputedNeighbors
from scipy.sparse import csr_matrix
from tqdm import tqdm

from morphospace.space.nearest import nearest_among, nearest_to

__all__ = ["fit_tsne", "tsne_placer"]

_EARLY, _LATE = 250, 500  # iterations, and the factor of the first: openTSNE's, from Belkina et al. 2019
_EXAGGERATION = 12
_STEP = 50  # iterations between two looks at the progress
_FFT_ROWS = 10_000  # where interpolation on a grid overtakes the tree of Barnes and Hut
_PLACE_PERPLEXITY = 5  # openTSNE's for new points
_PLACE_NEIGHBOURS = 15


def fit_tsne(
    x: NDArray[np.float32], start: NDArray[np.float64], *, perplexity: float, seed: int = 0
) -> NDArray[np.float64]:
    """Lay out vectors by t-SNE.

    Parameters
    ----------
    x : array, (N, D), float32
        N of at least 4, not all equal.
    start : array, (N, 2 or 3)
        First places, e.g. principal components, of any scale.
    perplexity : float
        At most (N - 1) / 3: each vector hangs on its 3 x perplexity nearest.
    seed : int

    Returns
    -------
    array, (N, 2 or 3), float64
        The middle of its extent is the origin. Same seed and threads: same numbers.

    Notes
    -----
    van der Maaten & Hinton 2008. Two dimensions and 10,000 rows or more: repulsion by interpolation on a grid (FIt-SNE,
    Linderman et al. 2019); else by a tree (van der Maaten 2014, theta = 0.5). Learning rate N / exaggeration (Belkina et
    al. 2019); start by principal components (Kobak & Berens 2019).
    """
    found = nearest_among(x, min(len(x) - 1, int(3 * perplexity)), seed=seed)
    jobs = torch.get_num_threads()
    affinities = PerplexityBasedNN(
        perplexity=perplexity,
        knn_index=PrecomputedNeighbors(found.rows, found.distances),
        n_jobs=jobs,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    spread = start[:, 0].std() or 1.0
    small = 1e-4 * (start / spread + 0.01 * rng.standard_normal(start.shape))  # equal vectors must not coincide
    y = TSNEEmbedding(small, affinities, n_jobs=jobs, random_state=seed, **_repulsion(*start.shape))
    with tqdm(total=_EARLY + _LATE, desc="t-SNE", unit="iteration", disable=None) as bar:
        for n, factor in ((_EARLY, _EXAGGERATION), (_LATE, 1)):
            for _ in range(0, n, _STEP):
                y.optimize(_STEP, inplace=True, exaggeration=factor, momentum=0.8, learning_rate="auto")
                bar.update(_STEP)
    places = np.array(y, dtype=np.float64)
    return np.asarray(places - (places.max(axis=0) + places.min(axis=0)) / 2)


def tsne_placer(
    x: NDArray[np.float32], places: NDArray[np.float64]
) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Make what finds places for new vectors in a t-SNE map that stays as it is.

    Parameters
    ----------
    x : array, (N, D), float32
        The vectors of the map.
    places : array, (N, 2 or 3)
        Where they lie.

    Returns
    -------
    callable
        Takes vectors, (M, D), float32, and gives places, (M, 2 or 3), float64. Each depends on the map alone and, but
        for rounding, not on the other new ones.

    Notes
    -----
    Policar et al. 2021: start at the median of the nearest 15, then 250 steps against the fixed map at perplexity 5.
    """
    middle = (places.max(axis=0) + places.min(axis=0)) / 2  # openTSNE moves the map it is given there
    jobs = torch.get_num_threads()
    fixed = TSNEEmbedding(places - middle, _Fixed(x, jobs), n_jobs=jobs, **_repulsion(*places.shape))
    perplexity, k = min(_PLACE_PERPLEXITY, len(x) / 3), min(_PLACE_NEIGHBOURS, len(x))

    def place(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        found: Any = fixed.transform(vectors, perplexity=perplexity, k=k)
        return np.asarray(np.array(found, dtype=np.float64) + middle)

    return place


class _Fixed(Affinities):  # type: ignore[misc]
    """How new vectors hang on those of a map; the hold of these on one another is not needed any more."""

    def __init__(self, x: NDArray[np.float32], jobs: int) -> None:
        super().__init__()
        self.x, self.jobs = x, jobs
        self.P = csr_matrix((len(x), len(x)))

    def to_new(
        self, data: NDArray[np.float32], perplexity: float = _PLACE_PERPLEXITY, return_distances: bool = False
    ) -> Any:  # noqa: ANN401 - as openTSNE has it
        found = nearest_to(self.x, data, min(len(self.x), _PLACE_NEIGHBOURS))
        p = joint_probabilities_nn(
            found.rows,
            found.distances,
            [perplexity],
            symmetrize=False,
            normalization="point-wise",
            n_reference_samples=len(self.x),
            n_jobs=self.jobs,
        )
        return (p, found.rows, found.distances) if return_distances else p


def _repulsion(n: int, dims: int) -> dict[str, str]:
    return {"negative_gradient_method": "fft" if dims == 2 and n >= _FFT_ROWS else "bh"}
