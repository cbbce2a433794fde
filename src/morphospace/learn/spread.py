"""How richly vectors fill their space, without labels: mean cosine, effective rank, RankMe."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import DataError, ShapeError

__all__ = ["effective_rank", "mean_cosine", "rankme"]

Float = NDArray[np.float64]


def mean_cosine(p: ArrayLike) -> float:
    """Average the cosine over all pairs of different rows.

    Parameters
    ----------
    p : array-like, (N, P), float
        Projections, N >= 2; normalised here. Rows of length 0 count as equal to one another and at right angles to the
        rest.

    Returns
    -------
    float
        (|sum u|^2 - N) / (N (N - 1)) for unit rows u. Near 1: all images get one projection (collapse). Near 0: they
        are spread. At the least -1 / (N - 1).
    """
    x = _matrix(p, "projections")
    u = _unit_rows(x)
    n_zero = int((np.linalg.norm(x, axis=1) == 0).sum())
    n = len(u)
    return float(((u.sum(0) ** 2).sum() - (n - n_zero) + n_zero * (n_zero - 1)) / (n * (n - 1)))


def effective_rank(z: ArrayLike) -> float:
    """Count the dimensions that the vectors fill.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors, N >= 2.

    Returns
    -------
    float
        exp(H) with H = -sum q_j ln q_j over the shares q_j of the eigenvalues of the covariance of the centred vectors:
        from 1 (all on a line) to min(N - 1, D). 0 when all vectors are equal within the rounding of float32.

    Notes
    -----
    Roy & Vetterli 2007 with variances in the place of singular values.
    """
    x = _matrix(z, "vectors")
    centred = x - x.mean(0)
    # What is left of equal vectors is rounding noise, which has a high rank of its own.
    if (centred**2).sum() <= (4 * np.finfo(np.float32).eps) ** 2 * (x**2).sum():
        return 0.0
    return _exp_entropy(_eigenvalues(centred))


def rankme(z: ArrayLike) -> float:
    """Compute RankMe, the effective rank of the vectors as they are, not centred.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors, N >= 2.

    Returns
    -------
    float
        From 1 to min(N, D). 0 when all vectors are 0.

    Notes
    -----
    Garrido et al. 2023 (RankMe): exp(-sum p_k ln p_k), p_k = s_k / |s|_1 + 1e-7, with the singular values s. The
    authors compare it between runs of one method only.
    """
    value = np.sqrt(np.maximum(_eigenvalues(_matrix(z, "vectors")), 0.0))
    if value.sum() == 0:
        return 0.0
    p = value / value.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


def _matrix(x: ArrayLike, name: str) -> Float:
    """Check a finite matrix of at least two rows."""
    matrix = np.asarray(x, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < 2 or matrix.shape[1] < 1:
        msg = f"{name} must be (N, D) with at least 2 rows; got shape {matrix.shape}."
        raise ShapeError(msg)
    if not np.isfinite(matrix).all():
        msg = f"{name} hold NaN or infinity in {int((~np.isfinite(matrix)).any(1).sum())} rows; leave these out first."
        raise DataError(msg)
    return matrix


def _eigenvalues(x: Float) -> Float:
    """Squares of the min(N, D) singular values."""
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    return np.asarray(np.linalg.eigvalsh(gram))


def _exp_entropy(value: Float) -> float:
    q = value[value > 0] / value[value > 0].sum()
    return float(np.exp(-(q * np.log(q)).sum()))


def _unit_rows(x: Float) -> Float:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(norm > 0, norm, 1.0))
