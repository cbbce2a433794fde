"""Search: the exact index against a float64 oracle, queries of every form, conditions, exclusions, quantiles."""

from __future__ import annotations

import math
import string
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import seuclidean

from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError
from morphospace.space.embeddings import Embeddings
from morphospace.space.index import METRICS, ExactIndex
from morphospace.space.names import did_you_mean, fold, one_line
from morphospace.space.places import Places, radius_arcsec
from morphospace.space.search import search
from morphospace.space.where import columns_of, rows_where


def oracle(x, q, metric):
    """Similarity of every row to one query, row by row in float64 from the definitions."""
    x, q = np.asarray(x, np.float64), np.asarray(q, np.float64)
    if metric == "cosine":
        return np.array([math.fsum(r * q) / math.sqrt(math.fsum(r * r) * math.fsum(q * q)) for r in x])
    variance = np.var(x, axis=0, ddof=1)
    varying = variance > 0
    found = [seuclidean(r[varying], q[varying], variance[varying]) ** 2 for r in x]
    return 1 - np.array(found) / (2 * varying.sum())


def filled(x, metric="cosine"):
    index = ExactIndex(metric=metric)
    index.add([str(i) for i in range(len(x))], x)
    return index


@pytest.fixture
def sky():
    """300 vectors of 3 kinds, with positions, names, files and S/N; row 9 has no vector, row 100 no name."""
    rng = np.random.default_rng(1)
    n = 300
    x = rng.normal(size=(n, 16)).astype(np.float32)
    x[9] = np.nan
    objects = [f"NGC {i // 2}" for i in range(n)]
    objects[7], objects[100] = "ngc1", None
    columns = {
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(-90, 90, n),
        "object": objects,
        "group": [f"g{i}" for i in range(n)],
        "source": [f"night{i % 2}/f{i}.fits" for i in range(n)],
        "snr": np.arange(n) / 10,
        "flags": np.arange(n) % 4,
    }
    return Embeddings.from_arrays(None, [f"id{i}" for i in range(n)], x, columns, {"space_id": "9f3a" * 4})


# ---- the index


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n,dim,k", [(1, 1, 1), (7, 3, 10), (500, 5, 7), (3000, 128, 12), (200, 2048, 5)])
def test_index_equals_the_oracle(metric, n, dim, k):
    rng = np.random.default_rng(n + dim)
    x = (rng.normal(size=(n, dim)) * rng.uniform(0.1, 10, dim) + rng.normal(size=dim)).astype(np.float32)
    q = rng.normal(size=(3, dim))
    if metric == "euclidean" and n == 1:
        pytest.skip("one row has no variance")
    found = filled(x, metric).query(q, k)
    assert found.rows.shape == found.scores.shape == (3, min(n, k))
    for one, rows, scores in zip(q, found.rows, found.scores, strict=True):
        expected = oracle(x, one, metric)
        np.testing.assert_allclose(scores, expected[rows], atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(scores, np.sort(expected)[::-1][:k], atol=1e-6, rtol=1e-6)
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_index_picks_right_where_float32_cannot_tell(metric):
    # 2,000 rows within 1e-6 of one another: the order must come from float64, not from the float32 product.
    rng = np.random.default_rng(0)
    base = rng.normal(size=64)
    x = (base + 1e-5 * rng.normal(size=(2000, 64))).astype(np.float32)
    x = np.concatenate([x, rng.normal(size=(2000, 64)).astype(np.float32)])
    expected = oracle(x, base, metric)
    found = filled(x, metric).query(base, 20)
    np.testing.assert_allclose(found.scores[0], np.sort(expected)[::-1][:20], atol=1e-12, rtol=0)


@pytest.mark.parametrize("metric", METRICS)
def test_ties_are_ordered_by_row_number(metric):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 24)).astype(np.float32)
    same = np.array([3999, 17, 2048, 5, 1000])
    x[same] = x[17]
    found = filled(x, metric).query(x[17], 7)
    assert found.rows[0, :5].tolist() == sorted(same.tolist())
    assert len(set(found.scores[0, :5])) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_collapsed_space_gives_the_first_rows(metric):
    x = np.ones((50_000, 4), np.float32)
    assert filled(x, metric).query(x[3], 4).rows.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("metric", METRICS)
def test_rows_added_in_pieces_equal_rows_added_at_once(metric):
    rng = np.random.default_rng(4)
    x, q = rng.normal(size=(900, 9)).astype(np.float32), rng.normal(size=(4, 9))
    pieces = ExactIndex(metric=metric)
    for start in range(0, 900, 250):
        pieces.add([str(i) for i in range(start, min(start + 250, 900))], x[start : start + 250])
        pieces.query(q, 1)  # a query between two adds must not freeze the standard deviations
    a, b = pieces.query(q, 11), filled(x, metric).query(q, 11)
    assert a.ids == b.ids
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_many_queries_equal_one_by_one(metric, monkeypatch):
    monkeypatch.setattr("morphospace.space.index._SCORES_AT_ONCE", 2000)
    monkeypatch.setattr("morphospace.space.index._ROWS_AT_ONCE", 64)
    rng = np.random.default_rng(5)
    index, q = filled(rng.normal(size=(700, 6)).astype(np.float32), metric), rng.normal(size=(9, 6))
    together = index.query(q, 5)
    for i, one in enumerate(q):
        assert together.ids[i] == index.query(one, 5).ids[0]


def test_where_limits_what_is_found_and_k():
    x = np.random.default_rng(6).normal(size=(50, 4)).astype(np.float32)
    where = np.zeros(50, bool)
    where[[4, 30, 31]] = True
    found = filled(x).query(x[0], 10, where)
    assert sorted(found.rows[0].tolist()) == [4, 30, 31]
    assert filled(x).query(x[:2], 10, np.zeros(50, bool)).rows.shape == (2, 0)


@pytest.mark.parametrize("metric,hidden", [("cosine", [2, 3, 4]), ("euclidean", [2, 3])])
def test_rows_without_a_vector_are_never_found(metric, hidden):
    x = np.random.default_rng(7).normal(size=(6, 3)).astype(np.float32)
    x[2, 1], x[3, 0], x[4] = np.nan, np.inf, 0.0
    index = filled(x, metric)
    assert not set(hidden) & set(index.query(x[0], 6).rows[0].tolist())
    assert np.flatnonzero(~index.valid).tolist() == hidden


def test_cosine_of_very_long_and_short_vectors():
    x = np.array([[1e30, 1e30], [1e-25, 0], [3e37, -3e37], [1e-40, 1e-40]], np.float32)
    found = filled(x).query([1e-200, 1e-200], 4)
    assert found.rows[0].tolist() == [0, 1, 2]  # the last is a denormal: it counts as zero
    np.testing.assert_allclose(found.scores[0], [1, math.sqrt(0.5), 0], atol=1e-7)


def test_euclidean_leaves_out_what_does_not_vary():
    x = np.random.default_rng(8).normal(size=(40, 3)).astype(np.float32)
    with_constant = np.concatenate([x, np.full((40, 1), 1234.5, np.float32)], axis=1)
    q = np.append(x[3], 0.0)  # far away in the dimension that tells nothing
    a, b = filled(with_constant, "euclidean").query(q, 5), filled(x, "euclidean").query(x[3], 5)
    assert a.ids == b.ids
    np.testing.assert_allclose(a.scores, b.scores)


def test_euclidean_does_not_depend_on_units():
    rng = np.random.default_rng(9)
    x, scale = rng.normal(size=(60, 4)), np.array([1, 1e3, 1e-3, 50])
    a = filled(x, "euclidean").query(x[0], 9)
    b = filled(x * scale + 7 * scale, "euclidean").query(x[0] * scale + 7 * scale, 9)
    assert a.ids == b.ids
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)


def test_euclidean_similarity_is_zero_for_the_mean_pair():
    index = filled(np.random.default_rng(10).gamma(2, size=(80, 7)), "euclidean")
    pairs = index.random_pairs(10_000)
    assert len(pairs) == 80 * 79 // 2
    assert abs(pairs.mean()) < 1e-12  # exactly: sum over pairs of (a - b)^2 = n sum (a - mean)^2


def test_rank_is_the_weighted_sum():
    rng = np.random.default_rng(11)
    x, q, w = rng.normal(size=(300, 8)).astype(np.float32), rng.normal(size=(3, 8)), np.array([0.5, 0.5, -0.5])
    for metric in METRICS:
        expected = sum(wi * oracle(x, qi, metric) for wi, qi in zip(w, q, strict=True))
        found = filled(x, metric).rank(q, w, 10)
        np.testing.assert_allclose(found.scores[0], np.sort(expected)[::-1][:10], atol=1e-6)
        assert found.rows[0].tolist() == np.argsort(-expected, kind="stable")[:10].tolist()


def test_random_pairs_are_seeded_and_never_of_one_row():
    index = filled(np.random.default_rng(12).normal(size=(400, 4)))
    a = index.random_pairs(500, seed=1)
    assert len(a) == 500
    assert a.max() < 1
    assert (np.diff(a) >= 0).all()
    np.testing.assert_array_equal(a, filled(np.random.default_rng(12).normal(size=(400, 4))).random_pairs(500, seed=1))
    assert not np.array_equal(a, index.random_pairs(500, seed=2))
    assert len(filled(np.ones((1, 2))).random_pairs()) == 0


@pytest.mark.parametrize(
    "call,error,words",
    [
        (lambda i: ExactIndex().query([1.0], 1), NotFittedError, "empty"),
        (lambda i: ExactIndex(metric="manhattan"), ConfigError, "'manhattan'"),
        (lambda i: i.query([1.0, 2.0], 0), ConfigError, "k must be 1 or more; got 0"),
        (lambda i: i.query([1.0, 2.0, 3.0], 1), ShapeError, "the 2 dimensions"),
        (lambda i: i.query([np.nan, 2.0], 1), DataError, "NaN"),
        (lambda i: i.query([0.0, 0.0], 1), DataError, "all zeros"),
        (lambda i: i.query([1.0, 2.0], 1, np.ones(2, bool)), ShapeError, "3 booleans"),
        (lambda i: i.query([1.0, 2.0], 1, np.ones(3, int)), ShapeError, "3 booleans"),
        (lambda i: i.rank([[1.0, 2.0]], [1.0, 2.0], 1), ShapeError, "weights"),
        (lambda i: i.add(["a"], [[1.0]]), ShapeError, "2 dimensions as those added"),
        (lambda i: i.add(["a"], [[1.0, 2.0], [1.0, 2.0]]), ShapeError, "one row for each of the 1 ids"),
    ],
)
def test_index_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call(filled(np.eye(3, 2) + 1))


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 45), st.integers(0, 9), st.sampled_from(METRICS))
def test_index_on_coarse_grids_of_ties(n, dim, k, seed, metric):
    """Small whole numbers: many exact ties, so that any slip in their order shows."""
    x = np.random.default_rng(seed).integers(1, 3, (n, dim)).astype(np.float32)
    index = filled(x, metric)
    found = index.query(x[0], k)
    every = index.similarities(np.arange(n), x[:1])[:, 0]
    assert found.rows[0].tolist() == np.lexsort((np.arange(n), -every))[:k].tolist()


# ---- queries


def test_query_forms_agree(sky):
    by_id = search(sky, "id4", k=5)
    assert "id4" not in by_id.ids
    assert len(by_id) == 5
    assert by_id.ids == search(sky, "f4.fits", k=5).ids == search(sky, "night0/f4.fits", k=5).ids
    assert by_id.ids == search(sky, Path("elsewhere/f4.fits"), k=5).ids
    assert by_id.ids == search(sky, ["id4"], k=5).ids == search(sky, sky.keep([4]), k=5).ids
    by_vector = search(sky, sky.vectors[4], k=6)  # a bare vector is nobody: its own row is found
    assert by_vector.ids == ("id4", *by_id.ids)
    assert by_vector.ids == search(sky, sky.vectors[4].tolist(), k=6).ids
    assert by_vector.scores[0] == pytest.approx(1.0)


def test_scores_are_the_cosine_and_never_increase(sky):
    hits = search(sky, "id4", k=40)
    expected = oracle(np.nan_to_num(sky.vectors, nan=1), sky.vectors[4], "cosine")[hits.rows]
    np.testing.assert_allclose(hits.scores, expected, atol=1e-6)
    assert (np.diff(hits.scores) <= 0).all()
    np.testing.assert_array_equal(hits.scores, hits.similarities)
    assert hits.ids == tuple(sky.ids[r] for r in hits.rows)


def test_an_object_name_means_all_its_observations(sky):
    hits = search(sky, "NGC1", k=300)
    assert not {"id2", "id3", "id7"} & set(hits.ids)
    assert hits.ids == search(sky, ["id2", "id3", "id7"], k=300).ids
    assert "id2" in search(sky, "id3", k=300).ids  # an id means one


def test_several_positives_score_the_mean_and_negatives_take_off_half(sky):
    hits = search(sky, ["id1", "id2"], k=300, not_like="id5")
    x = np.nan_to_num(sky.vectors, nan=1)
    like = (oracle(x, x[1], "cosine") + oracle(x, x[2], "cosine")) / 2
    np.testing.assert_allclose(hits.similarities, like[hits.rows], atol=1e-6)
    np.testing.assert_allclose(hits.scores, (like - 0.5 * oracle(x, x[5], "cosine"))[hits.rows], atol=1e-6)
    assert not {"id1", "id2", "id5", "id9"} & set(hits.ids)
    assert len(hits) == 296


def test_negatives_push_away(sky):
    x = np.array([[1, 0.1, 0], [1, 0, 0.1], [1, 0, 0], [0.9, 0.5, 0], [0.9, 0, 0.5]], np.float32)
    emb = Embeddings.from_arrays(None, ["red", "blue", "query", "reddish", "bluish"], x)
    assert search(emb, "query", k=2, not_like="red").ids[0] == "blue"
    assert search(emb, "query", k=2, not_like="blue").ids[0] == "red"


def test_quantile_is_the_share_of_pairs_below(sky):
    hits = search(sky, "id4", k=300)
    good = np.delete(np.arange(300), 9)
    x = sky.vectors[good].astype(float)
    x /= np.linalg.norm(x, axis=1)[:, None]
    every = (x @ x.T)[np.triu_indices(len(x), 1)]
    expected = [(every < s).mean() for s in hits.similarities]
    np.testing.assert_allclose(hits.quantiles, expected, atol=0.012)
    assert hits.quantiles.max() < 1
    np.testing.assert_array_equal(hits.quantiles, search(sky, "id4", k=300).quantiles)
    assert not np.array_equal(hits.quantiles, search(sky, "id4", k=300, seed=1).quantiles)


def test_where_is_met_by_every_hit(sky):
    hits = search(sky, "id4", k=300, where="snr > 10 and object != 'NGC 60' and flags & EDGE == 0")
    kept = sky.table().take(pa.array(hits.rows)).to_pylist()
    assert all(r["snr"] > 10 and r["object"] != "NGC 60" and r["flags"] in (0, 1) for r in kept)
    assert len(hits) == sum(
        r["snr"] > 10 and r["object"] != "NGC 60" and r["flags"] < 2 for r in sky.table().to_pylist()
    )
    assert len(search(sky, "id4", where="snr > 1e9")) == 0
    assert len(search(sky, "id4", k=3, where="id == 'id5'")) == 1


def test_exclude_radius_leaves_out_other_observations():
    centre = SkyCoord(359.9999 * u.deg, 89.0 * u.deg)
    ring = [
        centre.directional_offset_by(a * u.deg, r * u.arcsec) for a in (0, 90, 200, 271) for r in (0.5, 9.9, 10.1, 60)
    ]
    x = np.random.default_rng(0).normal(size=(17, 4))
    ra, dec = [centre.ra.deg, *(c.ra.deg for c in ring)], [centre.dec.deg, *(c.dec.deg for c in ring)]
    emb = Embeddings.from_arrays(None, [str(i) for i in range(17)], x, {"ra": ra, "dec": dec})
    far = {str(i + 1) for i in range(16) if i % 4 >= 2}
    for radius in ("10arcsec", 10, 10.0, 10 * u.arcsec, (10 / 60) * u.arcmin, "10"):
        assert set(search(emb, "0", k=20, exclude_radius=radius).ids) == far
    assert len(search(emb, "0", k=20)) == 16


def test_exclude_radius_goes_by_name_where_a_position_is_missing():
    columns = {
        "ra": [10.0, 10.0, 50.0, None, None, np.nan, 50.0],
        "dec": [0.0, 0.0, 0.0, None, None, np.nan, 0.0],
        "object": ["GG Tau", "x", "GG Tau", "ggtau", "other", None, None],
        "group": ["1", "2", "3", None, "1", None, "1"],
    }
    emb = Embeddings.from_arrays(None, list("abcdefg"), np.random.default_rng(0).normal(size=(7, 3)), columns)
    # b: near; d: same name, no position; e: same group, no position. c and g have positions far away: they stay.
    assert set(search(emb, "a", exclude_radius=5).ids) == {"c", "f", "g"}
    # an example without a position is told apart by its names alone
    assert set(search(emb, "d", exclude_radius=5).ids) == {"b", "e", "f", "g"}
    assert set(search(emb, "a", not_like="b", exclude_radius=0).ids) == {"c", "f", "g"}


def test_exclude_radius_that_could_do_nothing_is_refused(sky):
    with pytest.raises(ConfigError, match="a vector has neither"):
        search(sky, sky.vectors[3], exclude_radius="10arcsec")


@pytest.mark.parametrize("radius", ["10kg", "-1", -3.0, math.nan, math.inf, "ten", None, [1, 2], 700_000, "181deg"])
def test_radius_refuses(radius):
    with pytest.raises(ConfigError, match="exclude_radius"):
        radius_arcsec(radius)


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 360), st.floats(0.01, 1e5))
def test_near_agrees_with_astropy(ra, dec, angle, radius):
    centre = SkyCoord(ra * u.deg, dec * u.deg)
    inside = centre.directional_offset_by(angle * u.deg, radius * 0.999 * u.arcsec)
    outside = centre.directional_offset_by(angle * u.deg, radius * 1.001 * u.arcsec)
    here = Places(np.array([ra]), np.array([dec]), (None,), (None,))
    there = Places(
        np.array([inside.ra.deg, outside.ra.deg]), np.array([inside.dec.deg, outside.dec.deg]), (None,) * 2, (None,) * 2
    )
    assert there.near(here, radius).tolist() == [True, False]


@pytest.mark.parametrize(
    "query,options,error,words",
    [
        ("id44x", {}, DataError, r"'id44x' is no id, object or file .* did you mean 'id44'"),
        ("NGC 1O", {}, DataError, "did you mean 'NGC 1'"),
        (Path("f4O.fits"), {}, DataError, "did you mean .*f40?.fits'"),
        ("", {}, DataError, "'' is no id"),
        ([], {}, DataError, "query is empty"),
        (np.empty((0, 16)), {}, DataError, "query is empty"),
        ("id9", {}, DataError, r"id9 has no vector \(NaN\)"),
        (np.full(16, np.nan), {}, DataError, "NaN"),
        (np.zeros(16), {}, DataError, "all zeros"),
        (np.zeros(5), {}, ShapeError, "the 16 dimensions"),
        (5, {}, DataError, "ids are text"),
        (None, {}, DataError, "got NoneType"),
        (["id1", 5], {}, DataError, "got int"),
        ("id1", {"k": 0}, ConfigError, "k must be"),
        ("id1", {"metric": "l2"}, ConfigError, "metric"),
        ("id1", {"where": "sn > 3"}, ConfigError, "did you mean 'snr'"),
        ("id1", {"not_like": "id9"}, DataError, "no vector"),
    ],
)
def test_search_refuses(sky, query, options, error, words):
    with pytest.raises(error, match=words):
        search(sky, query, **options)


def test_vectors_of_another_space_are_refused(sky):
    other = Embeddings.from_arrays(None, ["q"], sky.vectors[:1], provenance={"space_id": "41bc" * 4, "run": "byol2"})
    with pytest.raises(DataError, match=r"9f3a9f3a… but this search uses 41bc41bc…; distances .* run 'byol2'"):
        search(sky, other)
    same = Embeddings.from_arrays(None, ["q"], sky.vectors[:1], provenance={"space_id": "9f3a" * 4})
    assert search(sky, same, k=1).ids == ("id0",)


def test_a_name_that_means_several_objects_of_one_file_is_refused():
    columns = {"source": ["a/f.fits", "a/f.fits", "b/g.fits", "c/g.fits"], "object": ["M51", "M51", None, None]}
    emb = Embeddings.from_arrays(None, ["f#1", "f#2", "g1", "g2"], np.eye(4), columns)
    with pytest.raises(DataError, match=r"file 'f.fits' holds 2 objects .* e.g. f#1, f#2"):
        search(emb, "f.fits")
    with pytest.raises(DataError, match="object 'M51' holds 2 objects"):
        search(emb, "M51")
    with pytest.raises(DataError, match=r"'g.fits' names 2 files: b/g.fits, c/g.fits"):
        search(emb, "g.fits")
    assert "g1" not in search(emb, "b/g.fits").ids


def test_search_without_columns_and_with_one_row():
    emb = Embeddings.from_arrays(None, ["a", "b"], [[1.0, 0.0], [1.0, 1.0]])
    hits = search(emb, "a")
    assert hits.ids == ("b",)
    assert np.isnan(hits.ra).all()
    assert hits.objects == (None,)
    one = search(emb.keep([0]), [0.5, 0.5])
    assert np.isnan(one.quantiles).all()
    assert "nan" in str(one)
    assert len(search(emb.keep([0]), "a")) == 0


def test_hits_as_table_and_text(sky):
    hits = search(sky, "id4", k=3, not_like="id6")
    table = hits.table()
    assert table.column_names == ["rank", "id", "score", "similarity", "quantile", "ra", "dec", "object", "row"]
    assert table["rank"].to_pylist() == [1, 2, 3]
    assert table["id"].to_pylist() == list(hits.ids)
    lines = str(hits).splitlines()
    assert lines[0] == "3 nearest to id4, not like id6 among 297 (cosine)"
    assert all(i in line for i, line in zip(hits.ids, lines[2:], strict=False))
    assert "less half" in lines[-1]


def test_text_of_hits_cannot_steer_a_terminal():
    emb = Embeddings.from_arrays(None, ["a", "\x1b[31mred\nrow"], [[1.0, 0.0], [1.0, 1.0]], {"object": ["x", "y\tz"]})
    text = str(search(emb, "a"))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3
    assert r"\x1b[31mred\nrow" in text


# ---- conditions


TABLE = pa.table(
    {
        "snr": [1.0, 20.0, math.nan, None],
        "object": ["M51", None, "x", "M51"],
        "flags": pa.array([0, 4, 2, 0], pa.int64()),
        "DATE-OBS": ["2020", "2021", None, "2019"],
        "good": [True, False, None, True],
        "u8": pa.array([0, 1, 2, 255], pa.uint8()),
    }
)


@pytest.mark.parametrize(
    "where,expected",
    [
        ("snr > 10 and object != 'M51' and flags == 0", ""),
        ("snr > 10 and object != 'M51'", "1"),
        ("snr < 10 or object == 'x'", "02"),
        ("not (snr > 10)", "023"),
        ("object != 'M51'", "12"),
        ("10 < snr <= 20", "1"),
        ("snr is None", "23"),
        ("object is not None", "023"),
        ("object in ['x', \"M51\"]", "023"),
        ("object not in ('M51',)", "12"),
        ("flags & LOW_SNR != 0", "1"),
        ("flags & 6 == 0", "03"),
        ("`DATE-OBS` >= '2020'", "01"),
        ("object == 'a`b`c'", ""),
        ("good", "03"),
        ("not good", "12"),
        ("good == True", "03"),
        ("flags / 0 > 1", "12"),
        ("flags / 3 > 1", "1"),
        ("snr * 2 - 1 == 1", "0"),
        ("-snr < -2", "1"),
        ("snr > -1.5", "01"),
        ("u8 < 1.5", "01"),
        ("1 < 2", "0123"),
        ("(snr > 0)", "01"),
        (" snr>0\n", "01"),
    ],
)
def test_where_known_answers(where, expected):
    assert np.flatnonzero(rows_where(TABLE, where)).tolist() == [int(c) for c in expected]


@pytest.mark.parametrize(
    "where,words",
    [
        ("objct == 'a'", "unknown column 'objct'.*did you mean 'object'"),
        ("DATE-OBS > '2020'", "did you mean 'DATE-OBS'"),
        ("`no such` > 1", "unknown column 'no such'"),
        ("snr", "a value and not a condition"),
        ("object > 5", "cannot be computed"),
        ("snr > 3 & good", "cannot be computed|is a condition where"),
        ("snr > 1 & snr < 3", "cannot be computed"),
        ("__import__('os').system('true')", "not allowed"),
        ("snr.real > 1", "not allowed"),
        ("(lambda: 1)() > 0", "not allowed"),
        ("[x for x in (1, 2)]", "not allowed"),
        ("f'{snr}' == 'a'", "not allowed"),
        ("snr ** 999999 > 1", "not allowed"),
        ("snr := 3", "cannot be used"),
        ("snr = 3", "cannot be used"),
        ("", "not a condition that can be read"),
        ("snr > ", "not a condition that can be read"),
        ("snr > 1; import os", "not a condition that can be read"),
        ("snr\x00 > 1", "not a condition that can be read"),
        ("(" * 300 + "1" + ")" * 300, "not a condition that can be read"),
        ("not " * 480 + "good", "nested too deep|not a condition that can be read"),
        ("snr == None", "is None"),
        ("object in 'abc'", "needs a list"),
        ("object in []", "needs a list"),
        ("snr in [1, [2]]", "numbers and strings only"),
        ("snr > 1 or 5", "a value where a condition is needed"),
        ("(snr > 1) + 1 > 2", "a condition where a value is needed"),
        ("-'a' == 3", "no negative"),
        ("snr > 99999999999999999999", "not allowed"),
        ("~good", "not allowed"),
        ("x" * 3000, "2,000 characters"),
    ],
)
def test_where_refuses_in_one_line(where, words):
    with pytest.raises(ConfigError, match=words):
        rows_where(TABLE, where)


@given(st.text(alphabet=string.printable, max_size=30))
def test_where_never_fails_otherwise(text):
    try:
        mask = rows_where(TABLE, text)
    except ConfigError:
        return
    assert mask.shape == (4,)


def test_columns_of_names_each_once():
    names = TABLE.column_names
    assert columns_of("snr > 1 and (snr < 3 or `DATE-OBS` == 'flags')", names) == ["snr", "DATE-OBS"]
    assert columns_of("flags & EDGE == 0", names) == ["flags"]


# ---- names


def test_fold_and_did_you_mean():
    assert fold(" GG  Tau\t") == fold("ggtau")
    assert did_you_mean("gg tua", ["GG Tau", "M51"]) == "; did you mean 'GG Tau'?"
    assert did_you_mean("zzz", ["GG Tau", "M51"]) == ""


@pytest.mark.parametrize(
    "typed", ["object-000O007", "object-00O0007", "bject-0000007", "object-00000007", "Object-0000007 "]
)
def test_did_you_mean_finds_one_of_many(typed):
    known = [f"object-{i:07d}" for i in range(60_000)]
    assert "'object-0000007'" in did_you_mean(typed, known)
    assert did_you_mean("", known) == did_you_mean("zzzzzz", known) == ""


@given(st.text())
def test_one_line_is_one_line(text):
    assert one_line(text).isprintable()
    assert len(one_line(text, 10)) <= 10
    if text.isprintable():
        assert one_line(text) == text
