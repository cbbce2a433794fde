"""Figures of clusters: oracles from scikit-learn and by hand, exact cases, what rows in no cluster do."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    calinski_harabasz_score,
    jaccard_score,
    silhouette_samples,
    silhouette_score,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.space.clustering.choose import choose_k, count_distinct
from morphospace.space.clustering.fit import Plan, fit_dpgmm, fit_gmm, fit_kmeans
from morphospace.space.clustering.models import Centres
from morphospace.space.clustering.reduction import Reduction, fit_reduction
from morphospace.space.clustering.result import label_rows
from morphospace.space.clustering.stability import jaccards, rands, resample_stability
from morphospace.space.clustering.tables import compare
from morphospace.space.clustering.validity import counts_above, measure, overlap_matrix, to_centroids


def groups(n=120, k=3, d=4, seed=0, spread=0.8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return 2 * rng.normal(size=(k, d))[labels] + spread * rng.normal(size=(n, d)), labels


# ---- validity


def test_validity_is_that_of_scikit_learn():
    x, labels = groups()
    found = measure(x, labels)
    assert found.silhouette == pytest.approx(silhouette_score(x, labels))
    each = silhouette_samples(x, labels)
    np.testing.assert_allclose(found.silhouettes, [each[labels == c].mean() for c in range(3)])
    assert found.n_sampled == 120
    assert found.calinski_harabasz == pytest.approx(calinski_harabasz_score(x, labels))


def test_rows_in_no_cluster_have_no_part():
    x, labels = groups()
    some = labels.copy()
    some[::7] = -1
    assert measure(x, some)[0] == measure(x[some >= 0], some[some >= 0])[0]
    expected = calinski_harabasz_score(x[some >= 0], some[some >= 0])
    assert measure(x, some).calinski_harabasz == pytest.approx(expected)


def test_many_rows_are_never_held_in_float64():
    """A million vectors of 128 numbers in float64 are 1 GB."""
    vectors = np.random.default_rng(0).normal(size=(200_000, 16)).astype(np.float32)
    rows, x = fit_reduction(vectors, "euclidean", None, 0)(vectors)
    assert x.dtype == np.float32
    model = Centres(np.eye(16)[:3], 1.0)
    tracemalloc.start()
    labels = label_rows(model.memberships(x))
    model.typicality(x, labels)
    to_centroids(x, labels)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows) == len(x)
    assert most < vectors.nbytes


def test_simplified_silhouette_by_hand():
    x, labels = groups(n=30)
    centers = [x[labels == c].mean(axis=0) for c in range(3)]
    values = []
    for row, label in zip(x, labels, strict=True):
        distance = [np.linalg.norm(row - center) for center in centers]
        a, b = distance[label], min(d for c, d in enumerate(distance) if c != label)
        values.append((b - a) / max(a, b))
    assert to_centroids(x, labels)[0] == pytest.approx(np.mean(values))
    assert measure(x, labels).simplified_silhouette == pytest.approx(np.mean(values))


def test_silhouette_of_many_rows_is_near_that_of_all():
    x, labels = groups(n=7000)
    found = measure(x, labels, seed=1)
    assert found.n_sampled == 5000
    assert found.silhouette == pytest.approx(silhouette_score(x, labels), abs=0.01)


@pytest.mark.parametrize("labels", [[0] * 6, [-1] * 6, list(range(6))])
def test_figures_without_meaning_are_nan(labels):
    found = measure(np.random.default_rng(0).normal(size=(6, 2)), np.array(labels))
    assert np.isnan(found.silhouette)
    assert np.isnan(found.calinski_harabasz)
    assert len(found.silhouettes) == max(labels) + 1


def test_overlap_and_counts_by_hand():
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.0, 1.0], [np.nan, np.nan]])
    labels = np.array([0, 0, 1, 1, -1])
    np.testing.assert_allclose(overlap_matrix(p, labels), [[0.75, 0.25], [0.1, 0.9]])
    assert counts_above(p, labels, (0.5, 0.7, 0.9, 0.99)).tolist() == [[2, 2], [1, 2], [0, 1], [0, 1]]


# ---- models against scikit-learn


def test_gmm_memberships_are_those_of_scikit_learn():
    x, _ = groups(n=300)
    ours = fit_gmm(x, Plan(3, 2, 5, 0))
    theirs = GaussianMixture(3, n_init=2, random_state=5, reg_covar=1e-4, max_iter=300).fit(x)
    np.testing.assert_allclose(ours.model.memberships(x), theirs.predict_proba(x), atol=1e-9)
    assert ours.score == pytest.approx(theirs.bic(x))
    kept = ours.model.take(np.array([2, 0])).memberships(x)
    p = theirs.predict_proba(x)[:, [2, 0]]
    sure = p.sum(axis=1) > 1e-6
    np.testing.assert_allclose(kept[sure], p[sure] / p[sure].sum(axis=1, keepdims=True), atol=1e-6)


def test_dpgmm_memberships_are_those_of_scikit_learn():
    x, _ = groups(n=150)
    ours = fit_dpgmm(x, Plan(6, 1, 5, 0))
    theirs = BayesianGaussianMixture(n_components=6, random_state=5, reg_covar=1e-4, max_iter=300).fit(x)
    np.testing.assert_allclose(ours.model.memberships(x), theirs.predict_proba(x), atol=1e-9)


def test_kmeans_memberships_are_the_posterior_of_round_gaussians():
    x, _ = groups(n=200)
    model = fit_kmeans(x, Plan(3, 3, 0, 0)).model
    p = model.memberships(x)
    nearest = np.array([[np.linalg.norm(row - c) for c in model.centers] for row in x])
    np.testing.assert_array_equal(p.argmax(axis=1), nearest.argmin(axis=1))
    own = nearest.min(axis=1)
    variance = (own**2).sum() / ((200 - 3) * 4)
    for i in (0, 50, 199):
        weights = [np.exp(-(d**2) / (2 * variance)) for d in nearest[i]]
        np.testing.assert_allclose(p[i], np.array(weights) / sum(weights), rtol=1e-4, atol=1e-12)


# ---- reduction


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dims", [None, 3])
def test_reduction_is_normalising_then_principal_axes(metric, dims):
    rng = np.random.default_rng(0)
    v = (rng.normal(size=(80, 6)) * [5, 4, 3, 1, 1, 1] + 2).astype(np.float32)
    v[4] = np.nan
    found = fit_reduction(v, metric, dims, 0)
    rows, x = found(v)
    assert rows.tolist() == [i for i in range(80) if i != 4]
    good = np.delete(v, 4, axis=0).astype(float)
    unit = good / np.linalg.norm(good, axis=1)[:, None]
    expected = unit if metric == "cosine" else (good - good.mean(axis=0)) / good.std(axis=0, ddof=1)
    if dims:
        centred = expected - expected.mean(axis=0)
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        first = np.sqrt((centred @ axes[0]).var(ddof=1))
        np.testing.assert_allclose(np.abs(x), np.abs(centred @ axes[:3].T / first), atol=1e-5)
        assert found.explained == pytest.approx((singular[:3] ** 2).sum() / (singular**2).sum())
    else:
        np.testing.assert_allclose(x, expected, atol=1e-5)
    again = Reduction.of(metric, found.arrays())
    np.testing.assert_array_equal(again(v)[1], x)
    assert again.dims == found.dims == (dims or 6)


def test_dimension_without_spread_is_left_out():
    v = np.ones((10, 3), dtype=np.float32)
    v[:, 0] = np.arange(10)
    _, x = fit_reduction(v, "euclidean", None, 0)(v)
    assert (x[:, 1:] == 0).all()
    with pytest.raises(ConfigError, match="dims must be 1"):
        fit_reduction(v, "cosine", -2, 0)


# ---- number of clusters


@pytest.mark.parametrize("k", [2, 3, 6])
def test_the_true_number_is_chosen(k):
    rng = np.random.default_rng(k)
    x = 3 * np.eye(6)[rng.integers(0, k, 60 * k)] + 0.5 * rng.normal(size=(60 * k, 6))
    found = choose_k(x, most=20, seed=0)
    assert found.k == k
    assert min(found.tried, key=found.tried.get) == k
    assert max(found.tried) <= k + 4


def test_different_rows_are_counted():
    x = np.repeat(np.arange(6.0), 50)[:, None]
    assert count_distinct(x, 6) == 6
    assert count_distinct(x, 300) == 6
    assert count_distinct(np.arange(9.0)[:, None], 2) >= 2


# ---- stability


def test_jaccard_and_rand_of_the_best_partner_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-1, 3, 60), rng.integers(-1, 4, 60)
    shares = [[jaccard_score(a == c, b == d) for d in range(4)] for c in range(3)]
    np.testing.assert_allclose(jaccards(a, b, 3), np.max(shares, axis=1))
    expected = [adjusted_rand_score(a == c, b == np.argmax(shares[c])) for c in range(3)]
    np.testing.assert_allclose(rands(a, b, 3), expected)
    assert np.isnan(jaccards(a, b, 4)[3])
    assert (jaccards(a, np.full(60, -1), 3) == 0).all()
    np.testing.assert_array_equal(jaccards(a, a, 3), 1)


def test_clear_clusters_are_stable_and_slices_of_noise_are_not():
    x, labels = groups(n=300, spread=0.1, seed=2)

    def refit(k):
        return lambda rows, i: fit_kmeans(rows, Plan(k, 3, i, 0)).model.memberships(rows).argmax(axis=1)

    clear = resample_stability(x, labels, refit(3), distinct=False, n_resamples=5, seed=0)
    assert clear.rand == 1
    assert (clear.jaccards == 1).all()
    noise = np.random.default_rng(0).normal(size=(300, 4))
    cut = refit(6)(noise, 99)
    found = resample_stability(noise, cut, refit(6), distinct=False, n_resamples=5, seed=0)
    assert found.rand < 0.6
    assert found.jaccards.max() < 0.75
    none = resample_stability(noise, cut, refit(6), distinct=False, n_resamples=0, seed=0)
    assert np.isnan(none.rand)
    assert np.isnan(none.jaccards).all()


# ---- against labels


def test_comparison_by_hand_and_by_scikit_learn():
    rng = np.random.default_rng(0)
    labels, kinds = rng.integers(0, 4, 80), rng.choice(["a", "b", "c"], 80)
    found = compare(labels, list(kinds))
    assert found.classes == ("a", "b", "c")
    for c, (j, kind) in itertools.product(range(4), enumerate("abc")):
        assert found.counts[c, j] == ((labels == c) & (kinds == kind)).sum()
    assert found.n == 80
    assert found.purity == pytest.approx(found.counts.max(axis=1).sum() / 80)
    assert found.ami == pytest.approx(adjusted_mutual_info_score(kinds, labels))
    assert found.ari == pytest.approx(adjusted_rand_score(kinds, labels))
    best = max(
        sum(found.counts[c, j] for c, j in zip(chosen, range(3), strict=True))
        for chosen in itertools.permutations(range(4), 3)
    )
    assert found.accuracy == pytest.approx(best / 80)
    assert sum(m is not None for m in found.matched) == 3


def test_rows_without_a_label_are_left_out_and_noise_counts_as_wrong():
    found = compare(np.array([0, 0, 1, 1, -1, -1, 0]), ["x", "x", "y", "y", "x", "y", None])
    assert found.counts.tolist() == [[2, 0], [0, 2], [1, 1]]
    assert found.purity == found.accuracy == pytest.approx(4 / 6)
    assert found.matched == ("x", "y")
    same = compare(np.array([0, 0, 1, 1]), ["x", "x", "y", "y"])
    assert (same.purity, same.ami, same.accuracy) == (1, 1, 1)
    numbers = compare(np.array([0, 0, 1, 1, 1]), [1.0, 1.0, 2.0, 2.0, float("nan")])
    assert numbers.n == 4


@pytest.mark.parametrize(
    "truth,words", [(["a"] * 4, "got 1, 'a'"), ([None] * 4, "got 0"), (["", "a", "", "a"], "got 1")]
)
def test_one_label_is_refused(truth, words):
    with pytest.raises(DataError, match=f"from 2 to 200 different values to compare clusters with; {words}"):
        compare(np.array([0, 0, 1, 1]), truth)
    with pytest.raises(ShapeError, match="one label for each of the 3"):
        compare(np.array([0, 0, 1]), truth)
