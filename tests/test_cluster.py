"""k-means and principal components: known answers, seeds, rows without a vector, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from morphospace.errors import ConfigError, DataError
from morphospace.space.cluster import cluster
from morphospace.space.embeddings import Embeddings
from morphospace.space.project import project


def held(x):
    return Embeddings.from_arrays(None, [f"id{i}" for i in range(len(x))], x)


def blobs(sizes=(60, 30, 10), dim=6, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    x = 5 * np.eye(dim)[kind] + 0.3 * rng.normal(size=(len(kind), dim))
    order = rng.permutation(len(kind))
    return x[order], kind[order]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_clear_groups_are_found_and_numbered_by_size(metric):
    x, kind = blobs()
    found = cluster(held(x), k=3, metric=metric)
    np.testing.assert_array_equal(found.labels, kind)  # kinds are numbered by size too
    assert found.sizes.tolist() == [60, 30, 10]
    assert found.k == 3
    assert found.table().column_names == ["id", "label"]
    assert found.table()["id"].to_pylist() == list(found.ids)


def test_cosine_groups_by_direction_and_euclidean_by_place():
    rng = np.random.default_rng(0)
    near_far = np.repeat([1.0, 10.0], 40)[:, None] * np.array([1.0, 0.2])
    left_right = np.repeat([[3.0, 0.5]], 40, axis=0)
    x = np.concatenate([near_far, -left_right]) + 0.01 * rng.normal(size=(120, 2))
    direction = np.repeat([0, 1], [80, 40])
    assert adjusted_rand_score(cluster(held(x), k=2, metric="cosine").labels, direction) == 1.0
    place = np.repeat([0, 1, 2], 40)
    assert adjusted_rand_score(cluster(held(x), k=3, metric="euclidean").labels, place) == 1.0


def test_inertia_and_centres_are_those_of_the_labels():
    x, _ = blobs()
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    found = cluster(held(x), k=4)
    for c in range(4):
        np.testing.assert_allclose(found.centers[c], unit[found.labels == c].mean(axis=0), atol=1e-5)
    assert found.inertia == pytest.approx(((unit - found.centers[found.labels]) ** 2).sum(), rel=1e-4)


def test_same_seed_same_labels():
    x = np.random.default_rng(0).normal(size=(300, 5))
    one, again, other = (cluster(held(x), k=6, seed=s).labels for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_rows_without_a_vector_get_minus_one():
    x, kind = blobs()
    x[5] = np.nan
    x[7] = 0.0  # no direction
    found = cluster(held(x), k=3)
    assert np.flatnonzero(found.labels == -1).tolist() == [5, 7]
    assert adjusted_rand_score(np.delete(found.labels, [5, 7]), np.delete(kind, [5, 7])) == 1.0
    assert cluster(held(x), k=3, metric="euclidean").labels[7] >= 0
    assert found.sizes.sum() == 98


@settings(max_examples=10)
@given(st.integers(2, 30), st.integers(2, 6), st.integers(0, 99))
def test_every_cluster_has_rows_in_falling_numbers(n, k, seed):
    k = min(n, k)
    found = cluster(held(np.random.default_rng(seed).normal(size=(n, 4))), k=k, seed=seed)
    assert found.sizes.min() >= 1
    assert (np.diff(found.sizes) <= 0).all()
    assert found.sizes.sum() == n


@pytest.mark.parametrize(
    "options,words",
    [
        ({"k": 1}, "k must be from 2 to 5"),
        ({"k": 6}, "k must be from 2 to 5"),
        ({"k": 4}, "number of different vectors; got 4"),
        ({"method": "gmm"}, "unknown cluster method 'gmm'"),
        ({"metric": "l1", "k": 2}, "metric must be"),
    ],
)
def test_cluster_refuses(options, words):
    with pytest.raises(ConfigError, match=words):
        cluster(held(np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [1, 1]])), **options)


def test_nothing_to_group_or_project():
    x = np.full((4, 2), np.nan)
    with pytest.raises(DataError, match="has a vector"):
        cluster(held(x), k=2)
    with pytest.raises(DataError, match="have 0"):
        project(held(x))


# ---- principal components


def test_pca_equals_the_eigenvectors():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))).astype(np.float32).astype(float) + 3
    found = project(held(x), dims=3)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(found.explained, values[::-1][:3] / values.sum(), rtol=1e-6)
    expected = (x - x.mean(axis=0)) @ vectors[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(expected), atol=1e-5)
    assert found.table().column_names == ["id", "pca_1", "pca_2", "pca_3"]
    np.testing.assert_array_equal(found.coordinates, project(held(x), dims=3).coordinates)


def test_pca_leaves_rows_without_a_vector_empty():
    x = np.random.default_rng(0).normal(size=(20, 4))
    x[3, 1] = np.nan
    found = project(held(x)).coordinates
    assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == [3]
    np.testing.assert_allclose(
        np.delete(found, 3, axis=0), project(held(np.delete(x, 3, axis=0))).coordinates, atol=1e-9
    )


def test_pca_of_a_collapsed_space_is_a_point():
    found = project(held(np.ones((30, 4))))
    assert (found.coordinates == 0).all()
    assert found.explained.tolist() == [0, 0]


@pytest.mark.parametrize(
    "options,words", [({"dims": 0}, "dims"), ({"dims": 4}, "from 1 to 3"), ({"method": "umap"}, "umap")]
)
def test_project_refuses(options, words):
    with pytest.raises(ConfigError, match=words):
        project(held(np.random.default_rng(0).normal(size=(9, 3))), **options)
