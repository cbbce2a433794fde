"""Probes, folds, paired intervals, figures of a space and pixel-PCA: known answers and naive oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn import probe as probe_module
from morphospace.learn.baselines import pixel_pca
from morphospace.learn.compare import Difference, folds, paired_difference
from morphospace.learn.probe import Probe, knn_probe, linear_probe, linear_r2, majority_probe
from morphospace.learn.spread import effective_rank, mean_cosine, rankme


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def blobs(rng, n=300, d=6, classes=3, apart=3.0):
    """Gaussian classes around far corners, with string labels."""
    y = np.arange(n) % classes
    centre = np.eye(classes, d) * apart
    return centre[y] + rng.normal(size=(n, d)), np.array(["FRI", "FRII", "hybrid", "bent"])[y]


# ---------------------------------------------------------------- folds


def test_folds_deal_classes_evenly(rng):
    y = rng.permutation(np.repeat([0, 1, 2], [403, 71, 12]))
    fold = folds(y, n_folds=5, seed=3)
    for c in range(3):
        count = np.bincount(fold[y == c], minlength=5)
        assert np.ptp(count) <= 1
    assert np.ptp(np.bincount(fold)) <= 3


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_folds_keep_groups_whole(seed, n_folds):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 60, 200)
    y = (group % 3).astype(str)
    fold = folds(y, n_folds=n_folds, group=group, seed=seed)
    for g in np.unique(group):
        assert len(np.unique(fold[group == g])) == 1
    assert set(fold) == set(range(n_folds))
    for c in np.unique(y):
        assert np.ptp(np.bincount(fold[y == c], minlength=n_folds)) <= 10  # the largest group


def test_folds_are_reproducible_and_differ_by_seed():
    y = np.arange(100) % 4
    np.testing.assert_array_equal(folds(y, seed=1), folds(y, seed=1))
    assert (folds(y, seed=1) != folds(y, seed=2)).any()


def test_folds_refuse_what_cannot_be_dealt():
    with pytest.raises(DataError, match="class 'merger' has 3 separate objects"):
        folds(["spiral"] * 20 + ["merger"] * 3)
    with pytest.raises(DataError, match="class 'b' has 1 separate objects"):
        folds(["a"] * 10 + ["b"] * 10, group=[*range(10), *[99] * 10])
    with pytest.raises(DataError, match="no object"):
        folds([])
    with pytest.raises(ConfigError, match="at least 2; got 1"):
        folds([0, 1], n_folds=1)
    with pytest.raises(ShapeError, match="one entry per object"):
        folds([0, 1, 0, 1], n_folds=2, group=[1, 2])


# ---------------------------------------------------------------- classification


def test_knn_probe_equals_a_naive_vote(rng):
    z, y = blobs(rng, n=60, apart=1.0)
    fold = folds(y, n_folds=3)
    ours = knn_probe(z, y, fold=fold, k=5)
    classes = sorted(set(y))
    for i in range(len(z)):
        cosines = [
            (float(np.dot(z[i], z[j]) / np.linalg.norm(z[i]) / np.linalg.norm(z[j])), y[j])
            for j in range(len(z))
            if fold[j] != fold[i]
        ]
        near = sorted(cosines, reverse=True)[:5]
        votes = [sum(c == name for _, c in near) for name in classes]
        sums = [sum(s for s, c in near if c == name) for name in classes]
        assert classes[ours.p[i].argmax()] == max(zip(votes, sums, classes, strict=True))[2]
        np.testing.assert_allclose(ours.p[i], np.array(votes) / 5, atol=1e-4)


def test_knn_probe_agrees_with_sklearn_where_there_are_no_ties(rng):
    z, y = blobs(rng, n=150, classes=2, apart=1.0)
    fold = folds(y)
    ours = knn_probe(z, y, fold=fold, k=7)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    for f in range(5):
        theirs = KNeighborsClassifier(7).fit(unit[fold != f], y[fold != f]).predict(unit[fold == f])
        np.testing.assert_array_equal(ours.classes[ours.p[fold == f].argmax(1)], theirs)


def test_knn_probe_takes_blocks_and_more_neighbours_than_rows(rng, monkeypatch):
    z, y = blobs(rng, n=40, classes=2)
    whole = knn_probe(z, y, k=1000)
    monkeypatch.setattr(probe_module, "_BLOCK", 3)
    np.testing.assert_allclose(knn_probe(z, y, k=1000).p, whole.p)
    np.testing.assert_allclose(whole.p, 0.5, atol=1e-3)  # every training object votes


def test_zero_vectors_are_no_failure(rng):
    z, y = blobs(rng, n=40, classes=2)
    z[:5] = 0
    assert np.isfinite(knn_probe(z, y).p).all()
    assert np.isfinite(linear_probe(np.zeros((40, 3)), y).p).all()


@pytest.mark.parametrize("balanced", [False, True])
def test_linear_probe_equals_sklearn_at_one_penalty(rng, monkeypatch, balanced):
    penalty = 0.03
    monkeypatch.setattr(probe_module, "PENALTIES", (penalty,))
    z, y = blobs(rng, n=240, apart=1.5)
    y[: len(y) // 3] = "FRI"  # wrong labels: a noisy, unequal problem
    fold = folds(y)
    ours = linear_probe(z, y, fold=fold, balanced=balanced)
    for f in range(5):
        train = fold != f
        x = (z - z[train].mean(0)) / z[train].std(0)
        # sklearn minimises C * sum of losses + |W|^2 / 2
        theirs = LogisticRegression(
            C=1 / (penalty * train.sum()), class_weight="balanced" if balanced else None, max_iter=2000, tol=1e-8
        ).fit(x[train], y[train])
        np.testing.assert_allclose(ours.p[~train], theirs.predict_proba(x[~train]), atol=2e-3)


def test_linear_probe_chooses_a_strong_penalty_where_features_are_noise(rng):
    y = np.arange(200) % 2
    noise = rng.normal(size=(200, 300))
    p = linear_probe(noise, y).p
    assert np.abs(p - 0.5).mean() < 0.25  # an unpenalised fit would be sure of itself: 0.5
    strong = np.where(y[:, None] == 1, 1.0, -1.0) + 0.1 * rng.normal(size=(200, 1))
    assert linear_probe(strong, y).accuracy == 1.0


def test_probes_do_not_feel_scale_offset_or_order(rng):
    z, y = blobs(rng, apart=1.0)
    fold = folds(y)
    before = linear_probe(z, y, fold=fold)
    after = linear_probe(1e4 * z * np.arange(1, 7) + 1e3, y, fold=fold)
    np.testing.assert_allclose(after.p, before.p, atol=2e-3)
    order = rng.permutation(len(y))
    np.testing.assert_allclose(knn_probe(z[order], y[order], fold=fold[order]).p, knn_probe(z, y, fold=fold).p[order])


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_separable_classes_are_found_and_noise_is_not(rng, probe):
    z, y = blobs(rng, apart=8.0)
    assert probe(z, y).accuracy > 0.97
    y = np.arange(600) % 2
    assert abs(probe(rng.normal(size=(600, 8)), y).accuracy - 0.5) < 0.1


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_held_out_objects_do_not_leak(rng, probe):
    """Labels unknown to the features: a classifier that saw the held-out ones would beat chance by far."""
    z = np.repeat(rng.normal(size=(100, 20)), 3, axis=0)  # triplets of equal vectors
    y = np.repeat(np.arange(100) % 2, 3)
    group = np.repeat(np.arange(100), 3)
    leaky = probe(z, y, fold=folds(y, seed=0))
    clean = probe(z, y, fold=folds(y, group=group, seed=0))
    assert clean.accuracy < 0.7
    if probe is knn_probe:
        assert probe(z, y, fold=folds(y, seed=0), k=1).accuracy == 1.0 or leaky.accuracy > clean.accuracy


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_views_are_averaged_as_probabilities(rng, probe):
    z, y = blobs(rng, n=120, apart=1.2)
    same = np.stack([z, z, z])
    one, three = probe(z, y), probe(same, y)
    assert three.p.shape == one.p.shape
    if probe is linear_probe:
        np.testing.assert_allclose(three.p, one.p, atol=2e-3)  # views do not sway the choice of the penalty
    noisy = z + rng.normal(size=(8, *z.shape)) * 2.0
    assert probe(noisy, y).accuracy > probe(noisy[0], y).accuracy


def test_balanced_weights_help_the_rare_class(rng):
    y = np.repeat([0, 1], [900, 60])
    z = rng.normal(size=(960, 3)) + 1.2 * y[:, None]
    plain, fair = linear_probe(z, y), linear_probe(z, y, balanced=True)
    assert plain.accuracy > fair.accuracy
    assert fair.balanced_accuracy > plain.balanced_accuracy + 0.05


def test_majority_probe_is_the_floor():
    y = np.repeat(["elliptical", "merger"], [75, 25])
    floor = majority_probe(y)
    assert floor.accuracy == 0.75
    assert floor.balanced_accuracy == 0.5
    np.testing.assert_allclose(floor.p, np.tile([0.75, 0.25], (100, 1)), atol=1e-9)


def test_probe_scores_are_means_of_hits():
    p = Probe(np.array(["a", "b"]), np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]))
    np.testing.assert_array_equal(p.correct, [True, True, False, True])
    assert p.accuracy == 0.75
    assert p.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)


def test_probes_name_what_is_wrong(rng):
    z, y = blobs(rng, n=30)
    with pytest.raises(ShapeError, match=r"N = 29"):
        knn_probe(z, y[:-1])
    with pytest.raises(ConfigError, match="k of knn_probe must be at least 1; got 0"):
        knn_probe(z, y, k=0)
    with pytest.raises(ShapeError, match="fold must have one entry"):
        linear_probe(z, y, fold=[0, 1])
    with pytest.raises(DataError, match="class 'FRI' lies in one fold only"):
        linear_probe(z, y, fold=np.where(y == "FRI", 0, np.arange(30) % 4))
    with pytest.raises(DataError, match="at least 3 folds"):
        linear_probe(z, y, fold=np.arange(30) % 2)
    z[3, 2] = np.nan
    with pytest.raises(DataError, match="1 of 30 vectors hold NaN"):
        linear_probe(z, y)


# ---------------------------------------------------------------- regression


def test_linear_r2_known_answers(rng):
    z = rng.normal(size=(2000, 5))
    exact = z @ np.array([1.0, -2.0, 0.5, 0, 0]) + 7
    assert linear_r2(z, exact) > 0.9999
    assert abs(linear_r2(z, exact + rng.normal(size=2000) * exact.std()) - 0.5) < 0.06
    assert -0.1 < linear_r2(z, rng.normal(size=2000)) < 0.05
    assert np.isnan(linear_r2(z, np.ones(2000)))
    assert linear_r2(np.ones((2000, 5)), exact) == pytest.approx(0.0, abs=1e-12)  # predicts the training mean


def test_linear_r2_sums_over_targets(rng):
    z = rng.normal(size=(300, 4))
    angle = np.arctan2(z[:, 0], z[:, 1])
    both = np.stack([np.cos(angle), np.sin(angle)], 1)
    score = linear_r2(z, both)
    assert 0.6 < score < 0.95  # unit vectors are a curved function of z
    assert score == pytest.approx(np.mean([linear_r2(z, both[:, i]) for i in range(2)]), abs=0.01)


def test_linear_r2_equals_naive_ridge_with_explicit_leave_one_out(rng, monkeypatch):
    ridges = np.array([0.01, 0.3, 3.0])
    monkeypatch.setattr(probe_module, "RIDGES", ridges)
    z, t = rng.normal(size=(24, 6)) * 3 + 1, rng.normal(size=24)
    fold = np.arange(24) % 3
    left = total = 0.0
    for f in range(3):
        a, b = fold != f, fold == f
        x, mean = (z - z[a].mean(0)) / z[a].std(0), t[a].mean()

        def fit(x, t, strength):
            m, c = x.mean(0), t.mean()
            w = np.linalg.solve((x - m).T @ (x - m) + strength * np.eye(6), (x - m).T @ (t - c))
            return lambda new: (new - m) @ w + c

        errors = []
        for r in ridges:
            error = 0.0
            for i in np.flatnonzero(a):
                rest = a & (np.arange(24) != i)
                error += float((t[i] - fit(x[rest], t[rest], r * a.sum())(x[i])) ** 2)
            errors.append(error)
        best = ridges[int(np.argmin(errors))]
        left += ((t[b] - fit(x[a], t[a], best * a.sum())(x[b])) ** 2).sum()
        total += ((t[b] - mean) ** 2).sum()
    assert linear_r2(z, t, fold=fold) == pytest.approx(1 - left / total, rel=1e-8)


def test_linear_r2_with_more_dimensions_than_objects(rng):
    z = rng.normal(size=(80, 300))
    assert linear_r2(z, rng.normal(size=80)) < 0.2
    low = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 300))
    assert linear_r2(low, low[:, 0]) > 0.999


def test_linear_r2_refuses_missing_targets(rng):
    with pytest.raises(DataError, match="1 targets are NaN"):
        linear_r2(rng.normal(size=(20, 2)), [np.nan] + [1.0] * 19)


# ---------------------------------------------------------------- paired differences


def test_paired_difference_known_answers():
    a, b = np.r_[np.ones(80), np.zeros(20)], np.r_[np.ones(60), np.zeros(40)]
    d = paired_difference(a, b)
    assert d.difference == pytest.approx(0.2)
    assert isinstance(d, Difference)
    # 20 gains of 1 in 100: the standard error is sqrt(0.2 * 0.8 / 100) = 0.04
    assert d.low == pytest.approx(0.2 - 1.96 * 0.04, abs=0.015)
    assert d.high == pytest.approx(0.2 + 1.96 * 0.04, abs=0.015)
    assert paired_difference(a, a) == (0, 0, 0)


def test_paired_difference_is_that_of_the_balanced_accuracies(rng):
    y = np.repeat([0, 1, 2], [500, 50, 10])
    a, b = rng.random((3, 560)) < 0.8, rng.random((3, 560)) < 0.6
    d = paired_difference(a, b, y=y)
    expected = np.mean([a[:, y == c].mean() - b[:, y == c].mean() for c in range(3)])
    assert d.difference == pytest.approx(expected)
    assert d.low < expected < d.high
    assert d.high - d.low > 2 * np.subtract(*paired_difference(a, b)[:0:-1])  # ten objects carry a third of the weight


def test_paired_difference_equals_drawing_objects_one_by_one(rng):
    y = np.repeat([0, 1], [60, 20])
    a, b = (rng.random((2, 80)) < 0.7).astype(float), (rng.random((2, 80)) < 0.5).astype(float)
    gain, values = (a - b).mean(0), []
    for _ in range(4000):
        means = [gain[rng.choice(np.flatnonzero(y == c), (y == c).sum())].mean() for c in (0, 1)]
        values.append(np.mean(means))
    naive = np.quantile(values, [0.025, 0.975])
    np.testing.assert_allclose(paired_difference(a, b, y=y)[1:], naive, atol=0.02)


def test_paired_difference_covers_the_truth(rng):
    """95 % intervals hold the true difference in about 95 % of 300 repetitions (binomial: 92 to 98)."""
    hits = 0
    for i in range(300):
        both, only_a, only_b = rng.random((3, 200))
        d = paired_difference((both < 0.5) | (only_a < 0.4), (both < 0.5) | (only_b < 0.2), n_boot=600, seed=i)
        hits += d.low <= 0.1 <= d.high
    assert 0.91 <= hits / 300 <= 0.985


def test_groups_widen_the_interval(rng):
    a, b = np.repeat(rng.random(50) < 0.8, 8), np.repeat(rng.random(50) < 0.6, 8)
    alone = paired_difference(a, b)
    grouped = paired_difference(a, b, group=np.repeat(np.arange(50), 8))
    assert grouped.difference == pytest.approx(alone.difference)
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(8), rel=0.15)


def test_paired_difference_refuses_other_shapes():
    with pytest.raises(ShapeError, match="one class each"):
        paired_difference([1, 0], [0, 0], y=[1, 2, 3])


# ---------------------------------------------------------------- figures of a space


def test_mean_cosine_equals_the_loop_over_pairs(rng):
    p = rng.normal(size=(20, 5)) + 0.5
    pairs = [p[i] @ p[j] / np.linalg.norm(p[i]) / np.linalg.norm(p[j]) for i in range(20) for j in range(20) if i != j]
    assert mean_cosine(p) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_mean_cosine_known_answers(rng):
    assert mean_cosine(np.ones((10, 4)) * np.arange(1, 11)[:, None]) == pytest.approx(1)
    assert mean_cosine(np.eye(6)) == pytest.approx(0)
    assert mean_cosine([[1.0, 0], [-1, 0]]) == pytest.approx(-1)
    assert mean_cosine(np.zeros((5, 3))) == pytest.approx(1)
    assert mean_cosine([[0.0, 0], [0, 0], [1, 0]]) == pytest.approx(1 / 3)
    assert abs(mean_cosine(rng.normal(size=(2000, 64)))) < 0.01


def naive_exp_entropy(shares):
    return float(np.exp(-sum(q * np.log(q) for q in shares if q > 0)))


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (30, 30)])
def test_effective_rank_equals_its_formula(rng, shape):
    z = rng.normal(size=shape) * np.linspace(0.1, 3, shape[1]) + 100
    values = np.linalg.eigvalsh(np.cov(z.T))
    values = values[values > 1e-9]
    assert effective_rank(z) == pytest.approx(naive_exp_entropy(values / values.sum()), rel=1e-6)


def test_effective_rank_known_answers(rng):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    assert effective_rank(corners) == pytest.approx(3)
    assert effective_rank(corners + 50) == pytest.approx(3)  # centred
    assert effective_rank(np.outer(rng.normal(size=30), rng.normal(size=5))) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.full((30, 5), 3.7)) == 0.0
    jitter = np.full((300, 64), 3.7, dtype=np.float32) * (1 + 1e-7 * rng.normal(size=(300, 64)))
    assert effective_rank(jitter) == 0.0  # rounding noise is no dimension


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_rankme_equals_equation_1_of_garrido_2023(rng, shape):
    z = rng.normal(size=shape) * np.linspace(0.1, 3, shape[1]) + 1
    s = np.linalg.svd(z, compute_uv=False)
    p = [float(v) / float(s.sum()) + 1e-7 for v in s]
    assert rankme(z) == pytest.approx(np.exp(-sum(q * np.log(q) for q in p)), rel=1e-6)


def test_rankme_known_answers():
    assert rankme(np.eye(7)) == pytest.approx(7, rel=1e-4)
    assert rankme(np.ones((20, 7))) == pytest.approx(1, rel=1e-3)  # not centred, unlike the effective rank
    assert rankme(np.zeros((20, 7))) == 0


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 30))
def test_figures_stay_in_their_range_and_do_not_feel_order(seed, n, d):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    order = rng.permutation(n)
    assert -1 / (n - 1) - 1e-9 <= mean_cosine(z) <= 1 + 1e-9
    assert 1 - 1e-9 <= effective_rank(z) <= min(n - 1, d) + 1e-6
    assert 0.99 <= rankme(z) <= min(n, d) + 0.01
    for figure in (mean_cosine, effective_rank, rankme):
        assert figure(z[order]) == pytest.approx(figure(z), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("figure", [mean_cosine, effective_rank, rankme])
def test_figures_refuse_bad_input(figure):
    with pytest.raises(ShapeError, match="at least 2 rows"):
        figure(np.ones((1, 4)))
    with pytest.raises(DataError, match="in 1 rows"):
        figure([[1.0, 2.0], [np.nan, 0.0], [0.0, 1.0]])


# ---------------------------------------------------------------- pixel-PCA


def test_pixel_pca_equals_the_svd(rng):
    images = rng.normal(size=(60, 5, 4)) * np.linspace(1, 9, 20).reshape(5, 4)
    flat = images.reshape(60, 20) - images.reshape(60, 20).mean(0)
    u, s, _ = np.linalg.svd(flat, full_matrices=False)
    np.testing.assert_allclose(
        np.abs(pixel_pca(images, n_components=4)), np.abs(u[:, :4] * s[:4]), rtol=0.02, atol=0.05
    )


def test_pixel_pca_bounds_and_bad_input(rng):
    assert pixel_pca(rng.normal(size=(6, 3, 3)), n_components=64).shape == (6, 6)
    assert np.isfinite(pixel_pca(np.ones((6, 3, 3)))).all()
    with pytest.raises(ShapeError, match="at least 2 images"):
        pixel_pca(np.ones((1, 3, 3)))
    with pytest.raises(DataError, match="NaN"):
        pixel_pca(np.full((4, 3), np.nan))
