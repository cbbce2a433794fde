"""Asking: the posterior against naive algebra, the improvement against Monte Carlo, rare kinds found early."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import ConfigError, DataError
from morphospace.space import ask as ask_module
from morphospace.space import gaussian
from morphospace.space.ask import FEWEST_LABELS, ask, safe_name
from morphospace.space.embeddings import Embeddings
from morphospace.space.gaussian import GaussianProcess, expected_improvement, farthest_first, matern
from morphospace.space.kept import kept

# the process


def naive_kernel(a, b, length):
    """Rasmussen & Williams 2006, eq. 4.17, number by number."""
    found = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            r = math.sqrt(3) * math.dist(a[i], b[j]) / length
            found[i, j] = (1 + r) * math.exp(-r)
    return found


def naive_posterior(x, y, prior, new, length, noise):
    """Eqs. 2.25 and 2.26 by an inverse, with a kernel of variance 1."""
    inverse = np.linalg.inv(naive_kernel(x, x, length) + noise * np.eye(len(x)))
    across = naive_kernel(new, x, length)
    mean = prior + across @ inverse @ (y - prior)
    return mean, np.sqrt(1 - np.diag(across @ inverse @ across.T))


@pytest.mark.parametrize("n", [1, 3, 12])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_posterior_is_that_of_the_book(n, n_targets):
    rng = np.random.default_rng(n)
    x, new = rng.normal(size=(n, 4)) / 2, rng.normal(size=(9, 4)) / 2
    y, prior = rng.normal(size=(n, n_targets)), rng.normal(size=n_targets)
    process = GaussianProcess.fit(x, y, prior)
    found = process.predict(new)
    for t in range(n_targets):
        mean, spread = naive_posterior(x, y[:, t], prior[t], new, process.length, process.noise)
        np.testing.assert_allclose(found.mean[:, t], mean, atol=2e-4)
        np.testing.assert_allclose(found.spread, spread, atol=2e-3)
    known = process.known(new)
    np.testing.assert_allclose(np.sqrt(1 - (known**2).sum(axis=1)), spread, atol=1e-4)


def test_length_and_noise_are_the_likeliest_of_the_grid():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) / np.sqrt(3)
    y = np.sin(2 * x[:, 0])[:, None] + 0.01 * rng.normal(size=(40, 1))
    process = GaussianProcess.fit(x, y, np.zeros(1))
    likelihoods = {}
    for length in gaussian.LENGTHS:
        for noise in gaussian.NOISES:
            shape = naive_kernel(x, x, length) + noise * np.eye(40)
            power = float(y[:, 0] @ np.linalg.solve(shape, y[:, 0])) / 40  # maximises eq. 2.30
            covariance = power * shape
            likelihoods[length, noise] = -0.5 * (
                float(y[:, 0] @ np.linalg.solve(covariance, y[:, 0]))
                + np.linalg.slogdet(covariance)[1]
                + 40 * math.log(2 * math.pi)
            )
    assert (process.length, process.noise) == max(likelihoods, key=likelihoods.__getitem__)


def test_many_labels_keep_the_mean_exact_and_the_spread_never_too_small(monkeypatch):
    rng = np.random.default_rng(1)
    x, y, new = rng.normal(size=(80, 3)), rng.normal(size=(80, 1)), rng.normal(size=(50, 3))
    whole = GaussianProcess.fit(x, y, np.zeros(1))
    monkeypatch.setattr(gaussian, "_MOST_SPREAD", 20)
    fewer = GaussianProcess(x, y, np.zeros(1), whole.length, whole.noise)
    np.testing.assert_allclose(fewer.predict(new).mean, whole.predict(new).mean)
    assert (fewer.predict(new).spread >= whole.predict(new).spread - 1e-3).all()
    assert (fewer.predict(new).spread > whole.predict(new).spread + 1e-3).any()


def test_equal_places_with_different_labels_are_borne():
    process = GaussianProcess.fit(np.zeros((6, 2)), np.array([[0.0], [5.0]] * 3), np.array([2.5]))
    found = process.predict(np.zeros((1, 2)))
    assert found.mean[0, 0] == pytest.approx(2.5)
    assert np.isfinite(found.spread).all()


@pytest.mark.parametrize(("mean", "std", "best"), [(0.0, 1.0, 0.0), (1.0, 0.5, 2.0), (3.0, 2.0, 1.0), (-4.0, 1.0, 0.0)])
def test_expected_improvement_is_the_mean_of_what_is_drawn(mean, std, best):
    drawn = np.random.default_rng(0).normal(mean, std, 2_000_000)
    found = expected_improvement(np.array([mean]), np.array([std]), best)
    assert found[0] == pytest.approx(np.maximum(drawn - best, 0).mean(), abs=4e-3 * std)


@given(st.floats(-5, 5), st.floats(0, 3), st.floats(-5, 5))
def test_expected_improvement_grows_with_mean_and_spread(mean, std, best):
    at = [expected_improvement(np.array([m]), np.array([s]), best)[0] for m, s in ((mean, std), (mean + 0.1, std))]
    wider = expected_improvement(np.array([mean]), np.array([std + 0.1]), best)[0]
    assert 0 <= at[0] <= at[1] + 1e-9
    assert at[0] <= wider + 1e-9
    assert at[0] >= mean - best - 1e-9
    assert expected_improvement(np.array([mean]), np.zeros(1), best)[0] == max(mean - best, 0)


def test_kernel_is_one_at_home_and_falls():
    x = np.array([[0.0], [0.5], [1.0], [3.0]])
    row = matern(x[:1], x, 0.6)[0]
    assert row[0] == 1
    assert (np.diff(row) < 0).all()


def test_farthest_first_takes_the_corners():
    x = np.array([[0.0, 0.0], [0.1, 0.0], [10.0, 0.0], [0.0, 9.0], [0.2, 0.1]])
    assert set(farthest_first(x, 3).tolist()) == {2, 3, 0} or set(farthest_first(x, 3).tolist()) == {2, 3, 1}


# asking


def world(n=600, n_rare=15, dim=12, seed=0, **columns):
    """Objects of a common kind in two groups, and a rare kind beside one of them."""
    rng = np.random.default_rng(seed)
    centres = 2.5 * rng.normal(size=(3, dim)) / np.sqrt(dim)
    kind = np.concatenate([np.zeros(n // 2), np.ones(n - n // 2 - n_rare), np.full(n_rare, 2)]).astype(int)
    kind = rng.permutation(kind)
    x = centres[kind] + rng.normal(size=(n, dim)) / np.sqrt(dim)
    return Embeddings.from_arrays(None, [f"o{i}" for i in range(n)], x, columns), kind


def look(emb, truth, total, *, batch=10, **options):
    values, found = {}, []
    while len(found) < total:
        asked = ask(emb, values, n=batch, **options)
        values |= {emb.ids[row]: truth[row] for row in asked.rows}
        found += asked.rows.tolist()
    return found, asked


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_rare_kind_is_found_early(metric):
    emb, kind = world()
    rare = kind == 2
    found, asked = look(emb, (5 * rare).tolist(), 100, metric=metric)
    assert len(set(found)) == 100  # nothing is asked twice
    assert np.count_nonzero(rare[found]) >= 12  # of 15; chance finds 2.5
    assert asked.method == "gp"
    assert asked.n_labels == 90
    assert np.nanmean(asked.score[rare]) > np.nanmean(asked.score[~rare]) + 1
    assert (asked.score >= 0).all()
    assert (asked.score <= 5).all()


def test_a_wanted_class_comes_first_and_doubt_otherwise():
    emb, kind = world()
    names = np.array(["disc", "ball", "ring"])[kind].tolist()
    found, asked = look(emb, names, 100, wanted="ring")
    assert [names[row] for row in found].count("ring") >= 12
    assert asked.classes == ("ball", "disc", "ring")
    np.testing.assert_allclose(asked.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(asked.score, asked.probabilities[:, 2])
    some = {f"o{i}": names[i] for i in range(0, 600, 6)}
    doubt = ask(emb, some)
    first, second = np.sort(doubt.probabilities, axis=1)[:, :-3:-1].T
    np.testing.assert_allclose(doubt.score, 1 - (first - second))
    assert doubt.score[doubt.rows].mean() > doubt.score.mean()
    likely = doubt.table()["predicted"].to_pylist()
    assert np.mean([one == other for one, other in zip(likely, names, strict=True)]) > 0.9


def test_cold_start_offers_the_unusual_and_the_diverse():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)) * 0.1 + [3, 0, 0, 0, 0]
    x[:4] = 3 * np.eye(5)[1:]  # four that lie alone
    emb = Embeddings.from_arrays(None, [f"o{i}" for i in range(400)], x)
    asked = ask(emb, {}, n=8)
    assert asked.method == "cold"
    assert len(set(asked.rows.tolist()) & {0, 1, 2, 3}) >= 3
    assert np.isnan(asked.score).all()
    assert "there are no labels yet to learn from" in asked.why
    assert "1 label is too few" in ask(emb, {"o7": 0}).why
    assert "all 12 labels are equal" in ask(emb, {f"o{i}": 0 for i in range(12)}).why
    again, other = ask(emb, {}, n=8), ask(emb, {}, n=8, seed=1)
    np.testing.assert_array_equal(asked.rows, again.rows)
    assert set(asked.rows.tolist()) != set(other.rows.tolist())


def test_a_batch_is_diverse():
    rng = np.random.default_rng(0)
    good = [np.array([0, 3.0, 0]), np.array([0, 0, 3.0])]
    x = np.concatenate(
        [rng.normal(size=(200, 3)) * 0.3 + [3, 0, 0], *(g + 0.05 * rng.normal(size=(30, 3)) for g in good)]
    )
    emb = Embeddings.from_arrays(None, [f"o{i}" for i in range(260)], x)
    values = {f"o{i}": 0 for i in range(20)} | {"o200": 5, "o230": 5}
    rows = ask(emb, values, n=10).rows
    assert np.count_nonzero((rows >= 200) & (rows < 230)) >= 3
    assert np.count_nonzero(rows >= 230) >= 3


def test_beyond_many_labels_a_forest_answers(monkeypatch):
    monkeypatch.setattr(ask_module, "MOST_FOR_PROCESS", 50)
    emb, kind = world()
    values = {f"o{i}": 5 * int(kind[i] == 2) for i in range(300)}
    asked = ask(emb, values, n=12)
    assert asked.method == "forest"
    assert (asked.rows >= 300).all()
    assert np.count_nonzero(kind[asked.rows] == 2) >= 3
    names = ask(emb, {f"o{i}": str(kind[i]) for i in range(300)})
    assert np.mean(np.argmax(names.probabilities, axis=1)[300:] == kind[300:]) > 0.9


def test_rows_without_a_vector_are_never_offered_nor_scored():
    emb, kind = world()
    x = emb.vectors.copy()
    x[5], x[9] = np.nan, 0.0
    emb = Embeddings.from_arrays(None, emb.ids, x)
    values = {f"o{i}": 5 * int(kind[i] == 2) for i in range(100)} | {"gone": 5}
    asked = ask(emb, values, n=590)
    assert asked.n_labels == 98
    assert len(asked.rows) == 500
    assert not {5, 9} & set(asked.rows.tolist())
    assert np.isnan(asked.score[[5, 9]]).all()
    assert np.isfinite(np.delete(asked.score, [5, 9])).all()


def test_a_condition_holds_for_what_is_offered():
    emb, kind = world(snr=np.arange(600.0))
    values = {f"o{i}": 5 * int(kind[i] == 2) for i in range(60)}
    assert (ask(emb, values, n=30, where="snr > 500").rows > 500).all()
    assert (ask(emb, {}, n=30, where="snr > 500").rows > 500).all()
    nothing = ask(emb, values, where="snr > 1000")
    assert len(nothing.rows) == 0
    assert "nothing is left to look at" in nothing.why
    assert len(ask(emb, {}, where="snr > 1000").rows) == 0


@settings(max_examples=10)
@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 5))
def test_what_is_offered_is_new_and_as_many_as_there_are(n, n_labelled, seed):
    emb, kind = world(40, 4, seed=seed)
    values = {f"o{i}": int(kind[i]) for i in range(n_labelled)}
    rows = ask(emb, values, n=n).rows.tolist()
    assert len(set(rows)) == len(rows) == min(n, 40 - n_labelled)
    assert all(row >= n_labelled for row in rows)


def test_equal_vectors_are_borne():
    emb = Embeddings.from_arrays(None, [f"o{i}" for i in range(40)], np.ones((40, 3)))
    assert len(ask(emb, {}, n=5).rows) == 5
    assert len(ask(emb, {f"o{i}": i % 6 for i in range(20)}, n=5).rows) == 5


def test_scores_are_kept_with_the_embeddings(tmp_path):
    emb, kind = world()
    emb = Embeddings.from_arrays(tmp_path / "w.emb", emb.ids, emb.vectors)
    asked = ask(emb, {f"o{i}": "ring" if kind[i] == 2 else "größe" for i in range(60)}, wanted="ring")
    asked.save(emb, "größe")
    (found,) = kept(emb, "scores").values()
    assert found.name == safe_name("größe") != safe_name("grüße")
    assert found.fresh
    assert found.about["set"] == "größe"
    assert found.about["classes"] == ["größe", "ring"]
    assert found.table.column_names == ["id", "score", "uncertainty", "improvement", "predicted", "p_0", "p_1"]
    np.testing.assert_array_equal(found.table["score"].to_numpy(), asked.score)
    with pytest.raises(DataError, match="there is no score to keep yet"):
        ask(emb, {}).save(emb, "mergers")
    assert str(asked).count("\n") == 20


def test_bad_input_is_told_in_a_sentence():
    emb, _ = world(40, 4)
    with pytest.raises(ConfigError, match=r"n must be 1 or more; got 0\."):
        ask(emb, {}, n=0)
    with pytest.raises(ConfigError, match="metric must be"):
        ask(emb, {}, metric="dot")
    with pytest.raises(DataError, match="these are mixed"):
        ask(emb, {"o1": 3, "o2": "ring"})
    with pytest.raises(DataError, match=r"interest goes from 0 to 5; 'o1' has 7\."):
        ask(emb, {"o1": 7})
    with pytest.raises(ConfigError, match="wanted is for labels that are classes"):
        ask(emb, {"o1": 3}, wanted="ring")
    with pytest.raises(ConfigError, match="snr"):
        ask(emb, {}, where="snr > 3")
    nothing = Embeddings.from_arrays(None, ["a"], [[np.nan, 0]])
    with pytest.raises(DataError, match="no row of embeddings in memory has a vector"):
        ask(nothing, {})


def test_a_wanted_class_without_labels_yet_is_looked_for():
    emb, _ = world(100, 4)
    values = {f"o{i}": "disc" for i in range(FEWEST_LABELS + 2)}
    assert ask(emb, {}, wanted="ring").method == "cold"
    assert ask(emb, values, wanted="ring").method == "cold"
    mixed = values | {"o50": "ball"}
    assert ask(emb, mixed, wanted="ring").classes == ("ball", "disc", "ring")


def test_table_has_a_row_for_each_object():
    emb, kind = world(40, 4)
    table = ask(emb, {f"o{i}": int(kind[i]) for i in range(20)}).table()
    assert table.column_names == ["id", "score", "uncertainty", "improvement"]
    assert table["id"].to_pylist() == emb.ids
    assert table["score"].type == pa.float64()
