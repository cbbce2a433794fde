"""Clusters: known mixtures, seeds, new vectors, saving, rows without a vector, bad input; principal components."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.space.cluster import METHODS, cluster, open_clusters, reassign
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import kept
from morphospace.space.project import project


def held(x, path=None, overwrite=False):
    return Embeddings.from_arrays(path, [f"id{i}" for i in range(len(x))], x, overwrite=overwrite)


def blobs(sizes=(60, 30, 10), dim=6, seed=0, spread=0.3):
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    x = 5 * np.eye(dim)[kind] + spread * rng.normal(size=(len(kind), dim))
    order = rng.permutation(len(kind))
    return x[order].astype(np.float32), kind[order]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("method", METHODS)
def test_clear_groups_are_found_and_numbered_by_size(method, metric):
    x, kind = blobs((150, 80, 40), dim=40 if metric == "cosine" else 4)
    options = {} if method == "hdbscan" else {"k": 6 if method == "dpgmm" else 3}
    found = cluster(held(x), method, metric=metric, resamples=0, **options)
    if method == "hdbscan":  # some outliers are in no cluster
        assert (found.labels >= 0).mean() > 0.7
        np.testing.assert_array_equal(found.labels[found.labels >= 0], kind[found.labels >= 0])
        assert found.k == 3
        return
    np.testing.assert_array_equal(found.labels, kind)  # kinds are numbered by size too
    assert found.sizes.tolist() == [150, 80, 40]
    assert found.k == 3
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.probabilities.argmax(axis=1), kind)


@pytest.mark.parametrize("k", [2, 4, 7])
@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_auto_finds_the_number_of_clear_groups(method, k):
    x, kind = blobs((60,) * k, dim=30, spread=0.5)
    found = cluster(held(x), method, resamples=0)
    assert found.k == k
    assert adjusted_rand_score(found.labels, kind) == 1.0
    tried = found.told["tried"]
    assert min(tried, key=tried.get) == str(k)
    assert found.told["k_asked"] == "auto"


def test_needless_components_die_with_a_line_in_the_log(caplog):
    x, kind = blobs((120, 120, 120), dim=20)
    with caplog.at_level(logging.INFO):
        found = cluster(held(x), "dpgmm", k=12, resamples=0)
    assert found.k == 3
    assert "9 of 12 clusters died" in caplog.text
    assert adjusted_rand_score(found.labels, kind) == 1.0


def test_cosine_groups_by_direction_and_euclidean_by_place():
    rng = np.random.default_rng(0)
    near_far = np.repeat([1.0, 10.0], 40)[:, None] * np.array([1.0, 0.2])
    left_right = np.repeat([[3.0, 0.5]], 40, axis=0)
    x = np.concatenate([near_far, -left_right]) + 0.01 * rng.normal(size=(120, 2))
    direction = np.repeat([0, 1], [80, 40])
    assert adjusted_rand_score(cluster(held(x), k=2, metric="cosine").labels, direction) == 1.0
    place = np.repeat([0, 1, 2], 40)
    assert adjusted_rand_score(cluster(held(x), k=3, metric="euclidean").labels, place) == 1.0


def test_centres_and_sum_of_squares_are_those_of_the_labels():
    x, _ = blobs()
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    found = cluster(held(x), k=4, resamples=0)
    for c in range(4):
        np.testing.assert_allclose(found.centers[c], unit[found.labels == c].mean(axis=0), atol=1e-5)
    assert found.told["score"] == pytest.approx(((unit - found.centers[found.labels]) ** 2).sum(), rel=1e-4)


def test_same_seed_same_labels():
    x = np.random.default_rng(0).normal(size=(300, 5))
    one, again, other = (cluster(held(x), k=6, seed=s, resamples=2) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.labels, again.labels)
    assert one.about() == again.about()
    assert not np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_does_not_matter(method):
    x, _ = blobs((150, 80, 40), dim=20)
    order = np.random.default_rng(1).permutation(len(x))
    options = {} if method == "hdbscan" else {"k": 3}
    one = cluster(held(x), method, resamples=0, **options)
    other = cluster(held(x[order]), method, resamples=0, **options)
    np.testing.assert_array_equal(other.labels, one.labels[order])
    np.testing.assert_allclose(other.probabilities, one.probabilities[order], atol=1e-4)
    np.testing.assert_allclose(other.validity[:2][0], one.validity[0])


def test_rows_without_a_vector_get_minus_one():
    x, kind = blobs()
    x[5] = np.nan
    x[7] = 0.0  # no direction
    found = cluster(held(x), k=3)
    assert np.flatnonzero(found.labels == -1).tolist() == [5, 7]
    assert np.isnan(found.probabilities[[5, 7]]).all()
    assert np.isnan(found.typicality[[5, 7]]).all()
    assert adjusted_rand_score(np.delete(found.labels, [5, 7]), np.delete(kind, [5, 7])) == 1.0
    assert cluster(held(x), k=3, metric="euclidean").labels[7] >= 0
    assert found.sizes.sum() == 98


@settings(max_examples=10)
@given(st.integers(2, 30), st.integers(2, 6), st.integers(0, 99))
def test_every_cluster_has_rows_in_falling_numbers(n, k, seed):
    k = min(n, k)
    found = cluster(held(np.random.default_rng(seed).normal(size=(n, 4))), k=k, seed=seed, resamples=2)
    assert found.sizes.min() >= 1
    assert (np.diff(found.sizes) <= 0).all()
    assert found.sizes.sum() == n


# ---- new vectors, saving


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("method", METHODS)
def test_own_vectors_are_assigned_as_they_were_after_saving_too(tmp_path, method, metric):
    x, _ = blobs((60, 40, 30), dim=24, spread=1.0)
    x[3] = np.nan
    emb = held(x, tmp_path / "e.emb")
    options = {} if method == "hdbscan" else {"k": 4}
    found = cluster(emb, method, metric=metric, resamples=2, **options)
    found.save(emb, "mine")
    opened = open_clusters(Embeddings.open(emb.path), "mine")
    for one in (found, opened):
        again = one.assign(emb.vectors)
        np.testing.assert_array_equal(again.labels, found.labels)
        np.testing.assert_allclose(again.probabilities, found.probabilities, atol=1e-6)
        some = one.assign(emb.vectors[7:20])
        np.testing.assert_array_equal(some.labels, found.labels[7:20])
    for column in found.table().column_names:
        np.testing.assert_array_equal(opened.table()[column], found.table()[column])
    assert repr(opened.about()) == repr(found.about())
    assert repr(opened) == repr(found)
    assert kept(emb, "clusters")["mine"].fresh


@pytest.mark.parametrize("method", METHODS)
def test_new_vectors_of_a_kind_go_to_its_cluster(method):
    x, _ = blobs((150, 80, 40), dim=20, seed=0)
    new, kind = blobs((30, 20, 10), dim=20, seed=1)
    found = cluster(held(x), method, resamples=0, **({} if method == "hdbscan" else {"k": 3})).assign(new)
    placed = found.labels >= 0
    assert placed.mean() > 0.6
    np.testing.assert_array_equal(found.labels[placed], kind[placed])
    far = cluster(held(x), "hdbscan", metric="euclidean", resamples=0).assign(np.full((1, 20), 100.0))
    assert far.labels.tolist() == [-1]
    assert (far.probabilities == 0).all()


def test_vectors_of_another_size_are_refused():
    x, _ = blobs()
    with pytest.raises(ShapeError, match=r"\(N, 6\)"):
        cluster(held(x), k=2, resamples=0).assign(np.ones((2, 5)))


def test_table_has_the_columns_that_are_kept():
    x, _ = blobs()
    table = cluster(held(x), k=3, resamples=0).table()
    assert table.column_names == ["id", "label", "p_0", "p_1", "p_2", "typicality"]
    assert [str(field.type) for field in table.schema] == ["string", "int32"] + 4 * ["float"]


def test_clusters_of_embeddings_written_anew_are_refused(tmp_path):
    x, _ = blobs()
    emb = held(x, tmp_path / "e.emb")
    found = cluster(emb, k=3, resamples=0)
    found.save(emb, "a")
    with pytest.raises(StoreError, match=r"a\.parquet' is there already"):
        found.save(emb, "a")
    assert found.save(emb, "a", overwrite=True).name == "a.parquet"
    with pytest.raises(ConfigError, match="have no clusters 'aa'; did you mean 'a'"):
        open_clusters(emb, "aa")
    kept_files = emb.path / "_clusters"
    new = held(x[:50], tmp_path / "n.emb")
    kept_files.rename(new.path / "_clusters")
    with pytest.raises(DataError, match="make them again"):
        open_clusters(new, "a")
    with pytest.raises(ConfigError, match="there are none"):
        open_clusters(emb, "a")


# ---- members, ignoring


def test_typical_rows_are_nearest_to_the_centre():
    x, _ = blobs(spread=1.0)
    found = cluster(held(x), k=3, metric="euclidean", resamples=0)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    for c in range(3):
        distance = np.linalg.norm(scaled - found.centers[c], axis=1)
        rows = np.flatnonzero(found.labels == c)
        expected = rows[np.argsort(distance[rows])][:5]
        np.testing.assert_array_equal(found.typical(c, 5), expected)
        drawn = found.random(c, 5)
        assert len(set(drawn.tolist())) == 5
        assert set(found.labels[drawn].tolist()) == {c}
    assert len(found.typical(2, 1000)) == found.sizes[2] == len(found.random(2, 1000))


@pytest.mark.parametrize("method", ["kmeans", "gmm", "dpgmm"])
def test_rows_of_ignored_clusters_go_to_the_second_best(method):
    x, _ = blobs((80, 60, 40, 30), dim=12, spread=1.2)
    emb = held(x)
    found = cluster(emb, method, k=4, resamples=2, **({"min_size": 2} if method == "dpgmm" else {}))
    assert found.k == 4
    less = reassign(emb, found, [1])
    direct = cluster(emb, method, k=4, ignore=[1], resamples=2, **({"min_size": 2} if method == "dpgmm" else {}))
    np.testing.assert_array_equal(direct.labels, less.labels)
    assert less.k == 3
    assert less.told["ignored"] == [[1]]
    np.testing.assert_allclose(less.probabilities.sum(axis=1), 1, atol=1e-6)
    unsure = found.probabilities[:, 1] < 0.999  # there the memberships left over can be compared
    rest = np.delete(found.probabilities, 1, axis=1)[unsure]
    sharper = rest / rest.sum(axis=1, keepdims=True)
    for c in range(3):  # numbers may have changed: find the column that agrees
        errors = np.abs(less.probabilities[unsure] - sharper[:, [c]]).max(axis=0)
        assert errors.min() < 1e-3
    stay = np.flatnonzero(found.labels != 1)
    assert adjusted_rand_score(found.labels[stay], less.labels[stay]) == 1.0
    assert (less.labels >= 0).all()


def test_members_of_ignored_dense_clusters_are_in_none():
    x, _ = blobs((150, 80, 40), dim=20)
    found = cluster(held(x), "hdbscan", resamples=0)
    less = reassign(held(x), found, [0])
    assert (less.labels[found.labels == 0] == -1).all()
    np.testing.assert_array_equal(less.labels[found.labels == 1], 0)


# ---- bad input

FEW = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [1, 1]])


@pytest.mark.parametrize(
    "options,words",
    [
        ({"k": 1}, "k must be from 2 to 3"),
        ({"k": 4}, "from 2 to 3, the number of different vectors; got 4"),
        ({"k": 4, "method": "gmm"}, "from 2 to 3, the number of different vectors; got 4"),
        ({"k": "many"}, "k must be a whole number or 'auto'; got 'many'"),
        ({"method": "gnm"}, "unknown cluster method 'gnm'; did you mean 'gmm'"),
        ({"metric": "l1", "k": 2}, "metric must be"),
        ({"method": "hdbscan", "k": 3}, "hdbscan finds its own number"),
        ({"k": 2, "min_size": 3}, "min_size is for dpgmm and hdbscan"),
        ({"method": "hdbscan", "min_size": 1}, "min_size must be 2 or more"),
        ({"k": 2, "resamples": -1}, "resamples must be 0 or more"),
        ({"k": 2, "dims": -1}, "dims must be 1 or more"),
        ({"k": 2, "ignore": [2]}, "numbered from 0 to 1"),
        ({"k": 2, "ignore": [0, 1]}, "leave at least one"),
    ],
)
def test_cluster_refuses(options, words):
    with pytest.raises(ConfigError, match=words):
        cluster(held(FEW), **options)


def test_few_or_equal_vectors():
    for method in METHODS:
        found = cluster(held(FEW), method, resamples=3)
        assert len(found.labels) == 5
        assert len(cluster(held(np.eye(2)), method, resamples=3).labels) == 2
        for metric in ("cosine", "euclidean"):
            with pytest.raises(DataError, match="nothing to group"):
                cluster(held(np.full((5, 3), np.nan)), method, metric=metric)
        with pytest.raises(DataError, match=r"all 9 vectors .* are equal"):
            cluster(held(np.ones((9, 4))), method)
    with pytest.raises(DataError, match="clusters are of other rows"):
        reassign(held(FEW[:4]), found, [0])


def test_no_dense_region_is_no_error(caplog):
    x = np.random.default_rng(0).normal(size=(60, 3))
    found = cluster(held(x), "hdbscan", metric="euclidean", min_size=40, resamples=2)
    assert found.k == 0
    assert found.probabilities.shape == (60, 0)
    assert (found.labels == -1).all()
    assert "no cluster was found" in caplog.text
    assert found.about()["sizes"] == []


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
    "options,words", [({"dims": 0}, "dims"), ({"dims": 4}, "from 1 to 3"), ({"method": "uamp"}, "uamp")]
)
def test_project_refuses(options, words):
    with pytest.raises(ConfigError, match=words):
        project(held(np.random.default_rng(0).normal(size=(9, 3))), **options)
