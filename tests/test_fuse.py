"""Fusion of parts, votes, and what each part gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import dirichlet_multinomial

from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError
from morphospace.science.fuse import fit_pool
from morphospace.science.parts import Part, Scaling, gather_parts
from morphospace.science.predict import predict
from morphospace.science.predictor import Predictor
from morphospace.science.votes import concentrations, dirichlet_multinomial_loss, expected_fractions
from morphospace.space.embeddings import Embeddings


def sky(n=300, seed=0, noise=1.0):
    """Two parts that know one half each of which of four classes an object is of."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, n), rng.integers(0, 2, n)
    vectors = np.column_stack([3.0 * a, np.zeros(n)]) + noise * rng.normal(size=(n, 2))
    colour = 3.0 * b + noise * rng.normal(size=n)
    names = np.array(["aa", "ab", "ba", "bb"])[2 * a + b]
    ids = [f"o{i}" for i in range(n)]
    emb = Embeddings.from_arrays(None, ids, vectors, {"kind": names.tolist()})
    return emb, pa.table({"id": ids, "g_r": colour, "shape_flags": rng.integers(0, 9, n), "note": ["x"] * n})


# votes


@pytest.mark.parametrize("seed", range(5))
def test_votes_have_the_likelihood_of_scipy(seed):
    rng = np.random.default_rng(seed)
    alpha, votes = rng.uniform(0.5, 60, (7, 4)), rng.integers(0, 30, (7, 4))
    ours = dirichlet_multinomial_loss(torch.from_numpy(alpha), torch.from_numpy(votes)).numpy()
    theirs = [-dirichlet_multinomial.logpmf(v, a, int(v.sum())) for v, a in zip(votes, alpha, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_questions_add_up_and_silence_costs_nothing():
    alpha, votes = torch.rand(3, 5) + 1, torch.tensor([[3, 1, 0, 0, 0], [0, 0, 2, 2, 2], [0, 0, 0, 0, 0]])
    both = dirichlet_multinomial_loss(alpha, votes, (2, 3))
    first = dirichlet_multinomial_loss(alpha[:, :2], votes[:, :2])
    second = dirichlet_multinomial_loss(alpha[:, 2:], votes[:, 2:])
    torch.testing.assert_close(both, first + second)
    assert both[2] == 0
    assert dirichlet_multinomial_loss(alpha, votes * 0, (2, 3)).sum() == 0


def test_concentrations_lie_between_1_and_101_and_give_fractions():
    found = concentrations(torch.tensor([[-50.0, 0.0, 50.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 51.0, 101.0]]))
    share = expected_fractions(torch.tensor([[1.0, 3.0, 5.0, 5.0]]), (2, 2))
    torch.testing.assert_close(share, torch.tensor([[0.25, 0.75, 0.5, 0.5]]))
    with pytest.raises(ConfigError, match=r"at least 2 answers each and 4 together; got \(1, 3\)"):
        expected_fractions(torch.ones(1, 4), (1, 3))
    with pytest.raises(ShapeError, match=r"must both be \(B, A\)"):
        dirichlet_multinomial_loss(torch.ones(2, 3), torch.ones(2, 2))


# pools


def test_a_part_alone_says_what_it_says():
    emb, _ = sky()
    model = Predictor().fit(emb, "kind")
    expert = model.fused.experts[0]
    raw = expert.scores(emb.vectors.astype(np.float64))
    np.testing.assert_allclose(model.predict(emb, calibrated=False).p, np.exp(raw), atol=1e-12)


def test_fusion_beats_each_part():
    emb, colour = sky()
    fused = predict(emb, "kind", parts={"colour": colour})
    assert fused.scores["accuracy"] > 0.8
    alone = {c.part: c.alone for c in fused.parts}
    assert all(0.35 < a < 0.6 for a in alone.values())  # half of the answer each
    for c in fused.parts:
        assert c.n == 300
        assert c.low > 0.2
        assert c.drop == pytest.approx(fused.scores["accuracy"] - (1 - 0.5) * 0.9, abs=0.12)
        assert 0.5 < c.weight < 2


def test_noise_gets_little_weight_and_gives_nothing():
    emb, colour = sky()
    noise = pa.table({"id": emb.ids, "x": np.random.default_rng(9).normal(size=len(emb))})
    fused = predict(emb, "kind", parts={"colour": colour, "noise": noise})
    found = {c.part: c for c in fused.parts}
    assert abs(found["noise"].drop) < 0.03
    assert found["noise"].low < 0.01
    assert found["colour"].drop > 0.2


def test_missing_parts_fall_back_on_the_others():
    emb, colour = sky()
    has = np.arange(300) % 3 != 0
    fused = predict(emb, "kind", parts={"colour": colour.filter(pa.array(has))})
    assert [c.n for c in fused.parts] == [300, 200]
    right = fused.classes == np.array(emb.table(["kind"])["kind"].to_pylist())
    assert right[has].mean() > 0.8
    assert 0.35 < right[~has].mean() < 0.6
    np.testing.assert_allclose(fused.p.sum(1), 1)


def test_vectors_may_be_missing_where_a_table_is_there():
    emb, colour = sky()
    vectors = emb.vectors.copy()
    vectors[:100] = np.nan
    gappy = Embeddings.from_arrays(None, emb.ids, vectors, {"kind": emb.table(["kind"])["kind"].to_pylist()})
    fused = predict(gappy, "kind", parts={"colour": colour})
    assert [c.n for c in fused.parts] == [200, 300]
    with pytest.raises(DataError, match=r"100 of 300 vectors hold NaN or infinity \(the first is 'o0'\)"):
        predict(gappy, "kind")


def test_an_object_without_any_part_gets_the_prior():
    emb, colour = sky()
    model = Predictor().fit(emb, "kind", parts={"colour": colour.slice(0, 200)}, embedding=False)
    found = model.predict(emb, parts={"colour": colour.slice(0, 299)}, calibrated=False)
    counts = [emb.table(["kind"])["kind"].to_pylist().count(name) / 300 for name in found.names]
    np.testing.assert_allclose(found.p[299], counts, atol=0.02)


def test_values_are_fused_too():
    emb, colour = sky()
    a, b = emb.vectors[:, 0], colour["g_r"].to_numpy()
    labels = dict(zip(emb.ids, (a + b).astype(float).tolist(), strict=True))
    fused = predict(emb, labels, parts={"colour": colour.slice(0, 250)})
    assert fused.scores["r2"] > 0.6
    assert all(c.drop > 0.1 for c in fused.parts)


@pytest.mark.parametrize("task", ["classes", "values"])
def test_pool_has_the_weights_that_the_problem_has(task):
    """One part is right and the other says nothing: all weight goes to the first."""
    rng = np.random.default_rng(0)
    n = 400
    there = np.ones((2, n), dtype=bool)
    if task == "classes":
        y = rng.integers(0, 3, n)
        good = np.log(np.where(np.eye(3)[y] > 0, 0.8, 0.1))
        pool = fit_pool(np.stack([good, np.log(np.full((n, 3), 1 / 3))]), there, y, task=task, weight=np.ones(n))
        assert pool.weight[0] > 1  # it is right more often than it says
        assert pool(np.stack([good, good * 0 - 1]), there).shape == (n, 3)
    else:
        y = rng.normal(size=n)
        scores = np.stack([y[:, None], rng.normal(size=(n, 1))])
        pool = fit_pool(scores, there, y, task=task, weight=np.ones(n))
        assert pool.weight[1] < 0.05 * pool.weight[0]
        np.testing.assert_allclose(pool(scores, there)[:, 0], y, atol=0.2)
    with pytest.raises(ShapeError, match="the pool has 2 parts"):
        pool(np.zeros((1, n, 3)), there)


# parts


@pytest.mark.parametrize("task", ["classes", "values", "votes"])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_parts_that_say_nearly_the_same_share_the_weight(task, share):
    """The second differs from the first by so little that the pull outweighs it, whatever the kind and the coverage."""
    rng = np.random.default_rng(5)
    n = 4000
    there = np.stack([rng.random(n) < share] * 2)
    if task == "classes":
        logit = rng.normal(size=n)
        y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
        near = [logit, logit + 0.01 * rng.normal(size=n)]
        scores = np.stack([np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], 1) for z in near])
    elif task == "values":
        y = rng.normal(size=n)
        good = y + 0.3 * rng.normal(size=n)
        scores = np.stack([good, good + 0.01 * rng.normal(size=n)])[:, :, None]
    else:
        p = rng.beta(2, 2, n)
        y = np.stack([cast := rng.binomial(20, p), 20 - cast], 1)
        good = 1 + 10 * np.stack([p, 1 - p], 1)
        scores = np.stack([good, good * (1 + 0.005 * rng.normal(size=good.shape))])
    pool = fit_pool(scores, there, y, task=task, weight=np.ones(n))
    assert pool.weight[1] / pool.weight[0] == pytest.approx(1, abs=0.25)


def test_tables_are_brought_to_the_order_of_the_objects():
    emb, colour = sky(20)
    order = np.random.default_rng(1).permutation(20)
    part = gather_parts(emb, {"colour": colour.take(pa.array(order))})[1]
    np.testing.assert_array_equal(part.x[:, 0], colour["g_r"].to_numpy())
    assert part.columns == ("g_r",)  # no text, no flags


def test_parts_can_be_files_and_columns(tmp_path):
    from pyarrow import csv, parquet

    emb, colour = sky(30)
    parquet.write_table(colour, tmp_path / "c.parquet")
    csv.write_csv(colour, tmp_path / "c.csv")
    for source in (tmp_path / "c.parquet", str(tmp_path / "c.csv")):
        np.testing.assert_allclose(gather_parts(emb, {"c": source})[1].x[:, 0], colour["g_r"].to_numpy())
    own = Embeddings.from_arrays(None, emb.ids, emb.vectors, {"g_r": colour["g_r"].to_numpy()})
    np.testing.assert_allclose(gather_parts(own, {"c": ["g_r"]})[1].x[:, 0], colour["g_r"].to_numpy())


def test_scaling_bears_tails_gaps_and_constants():
    x = np.column_stack([np.random.default_rng(0).standard_cauchy(500) * 1e6, np.full(500, 7.0), np.zeros(500)])
    x[::5, 0] = np.nan
    x[:, 2] = np.nan
    scaled = Scaling.fit(x, table=True)(x)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() < 10
    assert (scaled[:, 1:] == 0).all()
    assert (scaled[::5, 0] == 0).all()


def test_bad_tables_are_told():
    emb, colour = sky(20)
    cases = [
        ({"c": colour.drop_columns(["id"])}, DataError, "has no column 'id'"),
        ({"c": pa.concat_tables([colour, colour])}, DataError, "has the id 'o0' twice"),
        ({"c": pa.table({"id": ["z"], "x": [1.0]})}, DataError, "none of the 20 objects is in the table of part 'c'"),
        ({"c": colour.select(["id", "note"])}, DataError, "part 'c' has no column of numbers; it has note"),
        ({"embedding": colour}, ConfigError, "is the name of the vectors"),
        ({"c": pa.table({"id": emb.ids, "x": [float("nan")] * 20})}, DataError, "no object has half of the 1 columns"),
    ]
    for parts, error, words in cases:
        with pytest.raises(error, match=words):
            gather_parts(emb, parts)
    with pytest.raises(ConfigError, match="nothing to predict from"):
        gather_parts(emb, embedding=False)


def test_a_part_of_one_class_only_is_refused():
    emb, colour = sky(200)
    rows = np.array(emb.table(["kind"])["kind"].to_pylist()) == "aa"
    with pytest.raises(DataError, match=r"part 'c' is there for \d+ of 200 labelled objects, all of class 'aa'"):
        Predictor().fit(emb, "kind", parts={"c": colour.filter(pa.array(rows))})


def test_parts_must_be_those_of_the_fit():
    emb, colour = sky()
    model = Predictor().fit(emb, "kind", parts={"colour": colour})
    other = colour.append_column("u_g", colour["g_r"])
    with pytest.raises(DataError, match="part 'colour' has 2 columns, but it was fitted with 1: g_r"):
        model.predict(emb, parts={"colour": other}, calibrated=False)
    with pytest.raises(ConfigError, match="part 'size' was not there in fit, which had embedding, colour"):
        model.predict(emb, parts={"size": colour}, calibrated=False)
    assert model.predict(emb, calibrated=False).scores == {}
    assert set(model.weights) == {"embedding", "colour"}


def test_leaving_out_needs_a_fresh_fit(tmp_path):
    emb, colour = sky()
    model = Predictor().fit(emb, "kind", parts={"colour": colour})
    opened = Predictor.open(model.save(tmp_path / "m.safetensors"))
    with pytest.raises(NotFittedError, match="right after fit"):
        opened.fused.scores_without(
            "colour", *opened.fused.speak([Part("embedding", emb.vectors, np.ones(300, dtype=bool))])
        )


def test_weights_of_a_mean_are_shares():
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    scores = np.stack([y + rng.normal(size=300) * noise for noise in (0.05, 2.0, 2.0)])[:, :, None]
    pool = fit_pool(scores, np.ones((3, 300), dtype=bool), y, task="values", weight=np.ones(300))
    assert pool.weight.sum() + pool.prior_weight == pytest.approx(1)
    assert pool.weight[0] > 0.9
