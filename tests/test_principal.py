"""Principal axes found block by block, against scikit-learn on the whole."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from morphospace.space.principal import find_axes


@pytest.mark.parametrize("n,dim", [(300, 6), (4, 6), (50, 1)])
@pytest.mark.parametrize("size", [7, 1000])
def test_axes_are_those_of_scikit_learn(n, dim, size):
    x = np.random.default_rng(n).normal(size=(n, dim)) * np.arange(1, dim + 1) + 100
    theirs = PCA(min(n, dim), svd_solver="full").fit(x)
    found = find_axes(lambda: (x[start : start + size] for start in range(0, n, size)), dim)
    assert found.n == n
    np.testing.assert_allclose(found.mean, theirs.mean_)
    k = min(n - 1, dim)
    np.testing.assert_allclose(found.variance[:k], theirs.explained_variance_[:k] * (n - 1) / n)
    np.testing.assert_allclose(found.variance[k:], 0, atol=1e-9)
    np.testing.assert_allclose(np.abs(found.axes[:, :k]), np.abs(theirs.components_[:k].T), atol=1e-8)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(dim), atol=1e-12)
    assert (found.axes.max(axis=0) == np.abs(found.axes).max(axis=0)).all()


def test_no_vectors_have_no_variance():
    found = find_axes(lambda: iter([np.empty((0, 3))]), 3)
    assert (found.n, found.variance.tolist(), found.mean.tolist()) == (0, [0, 0, 0], [0, 0, 0])
