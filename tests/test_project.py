"""Maps: neighbours kept, new points placed, saved and opened again, degenerate spaces, density."""

from __future__ import annotations

import json
import logging

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, MissingDependencyError, ShapeError
from morphospace.space import frames
from morphospace.space import nearest as nearest_module
from morphospace.space import tsne as tsne_module
from morphospace.space.density import density
from morphospace.space.embeddings import Embeddings
from morphospace.space.frames import frame_of
from morphospace.space.nearest import nearest_among, nearest_to
from morphospace.space.project import Projection, open_projection, project
from morphospace.space.tsne import fit_tsne

N, N_NEW, DIM = 240, 60, 16


def held(x, path=None, overwrite=False):
    return Embeddings.from_arrays(path, [f"id{i}" for i in range(len(x))], x, overwrite=overwrite)


@pytest.fixture(scope="module")
def groups():
    """Five groups of vectors of various lengths, and to which each belongs."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 5, N + N_NEW)
    x = 3 * rng.normal(size=(5, DIM))[kind] + 0.7 * rng.normal(size=(N + N_NEW, DIM))
    return (x * rng.uniform(0.5, 2, size=(len(x), 1))).astype(np.float32), kind


@pytest.fixture(scope="module")
def store(groups, tmp_path_factory):
    return held(groups[0][:N], tmp_path_factory.mktemp("maps") / "some.emb")


@pytest.fixture(scope="module")
def tsne(store):
    return project(store, "tsne")


def read_by(found, kind):
    """Accuracy of the kinds of new points, read from their neighbours on the map."""
    return KNeighborsClassifier(5).fit(found.coordinates, kind[:N])


# ---- t-SNE


@pytest.mark.parametrize("dims", [2, 3])
def test_tsne_keeps_neighbours_as_well_as_sklearn(store, groups, tsne, dims):
    found = tsne if dims == 2 else project(store, "tsne", dims=3)
    assert found.coordinates.shape == (N, dims)
    assert len(found.explained) == 0
    assert found.table().column_names == ["id", *(f"tsne_{i + 1}" for i in range(dims))]
    unit = groups[0][:N] / np.linalg.norm(groups[0][:N], axis=1, keepdims=True)
    ours = trustworthiness(unit, found.coordinates, n_neighbors=10)
    other = TSNE(2, random_state=0, init="pca").fit_transform(unit)
    assert ours > trustworthiness(unit, other, n_neighbors=10) - 0.01
    assert ours > 0.93
    middle = (found.coordinates.max(axis=0) + found.coordinates.min(axis=0)) / 2
    np.testing.assert_allclose(middle, 0, atol=1e-9)


def test_tsne_lengths_play_no_part_under_the_cosine(store, groups, tsne):
    x = groups[0][:N] * np.float32(4)
    np.testing.assert_allclose(project(held(x), "tsne").coordinates, tsne.coordinates, atol=1e-6)
    assert project(store, "tsne", seed=0).coordinates.tolist() == tsne.coordinates.tolist()


def test_tsne_places_new_points_among_their_kind(groups, tsne):
    x, kind = groups
    places = tsne.place(x[N:])
    assert read_by(tsne, kind).score(places, kind[N:]) > 0.95
    again = tsne.place(x[:N])  # those of the map itself come out near where they are
    scale = np.ptp(tsne.coordinates, axis=0).max()
    assert np.median(np.linalg.norm(again - tsne.coordinates, axis=1)) < 0.05 * scale


def test_tsne_place_depends_on_the_point_alone_and_leaves_the_map(groups, tsne):
    x, _ = groups
    before = tsne.coordinates.copy()
    alone = np.vstack([tsne.place(x[N + i]) for i in range(4)])
    np.testing.assert_allclose(alone, tsne.place(x[N:])[:4], atol=1e-2)
    np.testing.assert_array_equal(tsne.coordinates, before)
    with_bad = tsne.place(np.vstack([x[N : N + 2], np.full((1, DIM), np.nan), np.zeros((1, DIM))]))
    assert np.isnan(with_bad[2:]).all()
    np.testing.assert_allclose(with_bad[:2], alone[:2], atol=1e-2)
    assert tsne.place(np.empty((0, DIM))).shape == (0, 2)


def test_tsne_interpolation_agrees_with_the_tree(groups, monkeypatch):
    x = frame_of(groups[0], "cosine")(groups[0])
    start = x[:, :2].astype(float)
    quality = []
    monkeypatch.setattr(tsne_module, "_EARLY", 100)
    monkeypatch.setattr(tsne_module, "_LATE", 100)
    for least in (10_000, 10):  # rows from where repulsion is interpolated on a grid
        monkeypatch.setattr(tsne_module, "_FFT_ROWS", least)
        places = fit_tsne(x[:N], start[:N], perplexity=20)
        quality.append(trustworthiness(x[:N], places, n_neighbors=10))
        new = tsne_module.tsne_placer(x[:N], places)(x[N:])
        assert KNeighborsClassifier(5).fit(places, groups[1][:N]).score(new, groups[1][N:]) > 0.95
    assert quality[0] == pytest.approx(quality[1], abs=0.02)


def test_tsne_lowers_the_perplexity_for_few_rows(groups, caplog):
    with caplog.at_level(logging.WARNING, "morphospace"):
        found = project(held(groups[0][:13]), "tsne")
    assert "perplexity 30 asks for more neighbours than 13 objects have; it is lowered to 4" in caplog.text
    assert np.isfinite(found.coordinates).all()
    assert np.isfinite(found.place(groups[0][20:22])).all()
    assert np.isfinite(project(held(groups[0][:4]), "tsne", perplexity=1).coordinates).all()
    with pytest.raises(DataError, match="by tsne needs 4 rows with a vector; embeddings in memory have 3"):
        project(held(groups[0][:3]), "tsne")


# ---- rows and spaces that are not as they should be


@pytest.mark.parametrize("method,options", [("tsne", {}), ("tsne", {"metric": "euclidean", "dims": 3}), ("pca", {})])
def test_rows_without_a_vector_have_no_place(groups, method, options):
    x = groups[0][:60].copy()
    x[7], x[9, 2] = 0, np.nan
    found = project(held(x), method, perplexity=5, **options)
    zeros = [] if method == "pca" or options else [7]  # a zero vector has no direction, but it has a place
    assert np.flatnonzero(np.isnan(found.coordinates).any(axis=1)).tolist() == [*zeros, 9]


def test_equal_vectors_lie_together(groups):
    x = np.vstack([np.repeat(groups[0][:3], 30, axis=0), groups[0][:60]])
    places = project(held(x), "tsne", perplexity=10).coordinates
    assert np.isfinite(places).all()
    for first in (0, 30, 60):
        within = np.linalg.norm(places[first : first + 30] - places[first : first + 30].mean(axis=0), axis=1)
        assert np.median(within) < 0.1 * np.ptp(places, axis=0).max()


@pytest.mark.parametrize("x", [np.ones((30, 4)), np.outer(np.arange(1, 31), [1.0, 2, 3, 4])])
def test_a_collapsed_space_is_a_point(x, caplog):
    with caplog.at_level(logging.WARNING, "morphospace"):
        found = project(held(x.astype(np.float32).astype(float) if x.std() else x), "tsne")
    if x.std() == 0:
        assert "all vectors of embeddings in memory are equal" in caplog.text
        assert (found.coordinates == 0).all()
        assert found.place(np.arange(8.0).reshape(2, 4)).tolist() == [[0, 0], [0, 0]]
    assert np.isfinite(found.coordinates).all()


def test_a_plane_has_a_map_in_three_dimensions():
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert np.isfinite(project(held(x), "tsne", dims=3, perplexity=5, metric="euclidean").coordinates).all()


@pytest.mark.parametrize(
    "options,words",
    [
        ({"method": "tnse"}, "unknown projection method 'tnse'; did you mean 'tsne'"),
        ({"dims": 4}, "dims must be 2 or 3; got 4. Only 'pca'"),
        ({"dims": 1}, "dims must be 2 or 3"),
        ({"perplexity": 0.5}, "perplexity must be 1 or more; got 0.5"),
        ({"perplexity": float("nan")}, "perplexity must be 1 or more; got nan"),
        ({"method": "umap", "neighbors": 1}, "neighbors must be 2 or more; got 1"),
        ({"metric": "l1"}, "metric must be 'cosine' or 'euclidean'; got 'l1'"),
    ],
)
def test_project_refuses(groups, options, words):
    with pytest.raises(ConfigError, match=words):
        project(held(groups[0][:20]), **({"method": "tsne"} | options))


# ---- kept beside the embeddings


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_saved_and_opened_again_places_the_same(store, groups, tsne, method):
    found = tsne if method == "tsne" else project(store)
    path = found.save()
    assert path.name == f"{method}.parquet"
    assert pq.read_schema(path).names == ["id", "x", "y"]
    again = open_projection(Embeddings.open(store.path), method)
    np.testing.assert_array_equal(again.coordinates, found.coordinates)
    np.testing.assert_array_equal(again.explained, found.explained)
    np.testing.assert_array_equal(again.place(groups[0][N:]), found.place(groups[0][N:]))
    assert (again.ids, again.method, dict(again.settings)) == (found.ids, found.method, dict(found.settings))


def test_pca_places_by_the_axes_of_the_map(store, groups):
    found = project(store, dims=5)
    np.testing.assert_allclose(found.place(groups[0][:N]), found.coordinates, atol=1e-5)
    assert pq.read_schema(found.save("five")).names == ["id", "x", "y", "z", "axis_4", "axis_5"]
    flat = project(held(np.ones((5, 3))))
    assert flat.place([[1.0, 2, 3]]).tolist() == [[0, 0]]


def test_a_map_of_other_rows_or_vectors_is_refused(groups, tmp_path):
    emb = held(groups[0][:30], tmp_path / "a.emb")
    project(emb, "tsne", perplexity=5).save("mine")
    with pytest.raises(ConfigError, match=r"there is no map 'mien' beside embeddings 'a.emb'; did you mean 'mine'"):
        open_projection(emb, "mien")
    kept = (tmp_path / "a.emb/_maps/mine.parquet").read_bytes()
    other = held(groups[0][1:31], tmp_path / "a.emb", overwrite=True)
    (tmp_path / "a.emb/_maps").mkdir(exist_ok=True)
    (tmp_path / "a.emb/_maps/mine.parquet").write_bytes(kept)
    stale = open_projection(other, "mine")  # same ids, other vectors: it can be drawn
    assert not stale.current
    with pytest.raises(DataError, match="hold other vectors than this map was made of; project again"):
        stale.place(groups[0][:2])
    fewer = held(groups[0][:29], tmp_path / "a.emb", overwrite=True)
    (tmp_path / "a.emb/_maps").mkdir(exist_ok=True)
    (tmp_path / "a.emb/_maps/mine.parquet").write_bytes(kept)
    with pytest.raises(DataError, match="map 'mine' was made of other rows"):
        open_projection(fewer, "mine")
    with pytest.raises(DataError, match="in memory only"):
        project(held(groups[0][:9])).save()


def test_place_takes_vectors_of_the_space(tsne):
    with pytest.raises(ShapeError, match=r"vectors must be \(M, 16\) as those of the map; got shape \(2, 3\)"):
        tsne.place(np.ones((2, 3)))


# ---- UMAP


def test_umap_without_its_extra_says_how_to_get_it(groups, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"a UMAP map needs 'umap'.*morphospace\[umap\]"):
        project(held(groups[0][:30]), "umap")


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_umap_keeps_neighbours_and_places_new_points(store, groups, dims):
    pytest.importorskip("numba")
    x, kind = groups
    found = project(store, "umap", dims=dims)
    unit = x[:N] / np.linalg.norm(x[:N], axis=1, keepdims=True)
    assert trustworthiness(unit, found.coordinates, n_neighbors=10) > 0.9
    places = found.place(x[N:])
    assert read_by(found, kind).score(places, kind[N:]) > 0.95
    assert found.save().name == ("umap.parquet" if dims == 2 else "umap-3d.parquet")
    again = open_projection(Embeddings.open(store.path), "umap" if dims == 2 else "umap-3d")
    np.testing.assert_array_equal(again.coordinates, found.coordinates)
    np.testing.assert_array_equal(again.place(x[N:]), places)
    np.testing.assert_array_equal(project(store, "umap", dims=dims).coordinates, found.coordinates)


@pytest.mark.slow
def test_umap_of_few_rows(groups, caplog):
    pytest.importorskip("numba")
    with caplog.at_level(logging.WARNING, "morphospace"):
        found = project(held(groups[0][:9]), "umap")
    assert "neighbors 15 asks for more neighbours than 9 objects have; it is lowered to 8" in caplog.text
    assert np.isfinite(found.coordinates).all()
    assert np.isfinite(found.place(groups[0][10:13])).all()


# ---- neighbours and density


@settings(max_examples=25)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 99))
def test_neighbours_are_those_of_all_pairs(n, dim, seed):
    rng = np.random.default_rng(seed)
    x = (100 + rng.normal(size=(n, dim))).astype(np.float32)
    k = int(rng.integers(1, n))
    found = nearest_among(x, k)
    d = cdist(x.astype(float), x.astype(float))
    np.fill_diagonal(d, np.inf)
    np.testing.assert_allclose(found.distances, np.sort(d, axis=1)[:, :k], atol=1e-3)
    np.testing.assert_allclose(np.take_along_axis(d, found.rows, axis=1), found.distances, atol=1e-3)
    new = (100 + rng.normal(size=(3, dim))).astype(np.float32)
    np.testing.assert_allclose(
        nearest_to(x, new, k).distances, np.sort(cdist(new.astype(float), x), axis=1)[:, :k], atol=1e-3
    )


def test_neighbours_in_blocks_and_by_trees(groups, monkeypatch):
    x = groups[0]
    whole = nearest_among(x, 7)
    monkeypatch.setattr(nearest_module, "_PAIRS_AT_ONCE", 11 * len(x))
    np.testing.assert_array_equal(nearest_among(x, 7).rows, whole.rows)
    monkeypatch.setattr(nearest_module, "_EXACT_ROWS", 10)
    by_trees = nearest_among(x, 7, seed=1)
    assert (by_trees.rows == whole.rows).mean() > 0.95
    assert by_trees.rows.dtype == np.int64


def test_density_ranks_by_the_distance_to_the_kth_neighbour(groups):
    x = groups[0][:50].copy()
    x[4] = np.nan
    found = density(held(x), k=3)
    assert np.flatnonzero(np.isnan(found)).tolist() == [4]
    rest = np.delete(x, 4, axis=0)
    d = np.sort(pairwise_distances(rest, metric="cosine"), axis=1)[:, 3]
    np.testing.assert_array_equal(np.argsort(-d), np.argsort(np.delete(found, 4)))
    assert (np.nanmin(found), np.nanmax(found)) == (0, 1)


def test_density_of_a_crowd_and_of_loners():
    rng = np.random.default_rng(0)
    x = np.vstack([np.eye(8)[0] + 0.01 * rng.normal(size=(30, 8)), rng.normal(size=(10, 8))])
    found = density(held(x))
    assert found[:30].min() > found[30:].max()
    assert density(held(np.ones((5, 2)))).tolist() == [0.5] * 5
    with pytest.raises(ConfigError, match="k must be 1 or more"):
        density(held(x), k=0)
    with pytest.raises(DataError, match="a density needs two rows with a vector; embeddings in memory have 1"):
        density(held(x[:1]))


def test_frames_normalise_new_vectors_as_the_index_does(groups):
    x = np.hstack([groups[0][:40], np.full((40, 1), 3.0, np.float32)])  # the last dimension does not vary
    for metric in ("cosine", "euclidean"):
        rows, expected = held(x).index(metric).normalised()
        frame = frame_of(x, metric)
        assert len(rows) == frame.valid(x).sum() == 40
        d = cdist(expected, expected)
        np.testing.assert_allclose(cdist(frame(x), frame(x)), d, atol=1e-5)
    assert frame_of(x[:1], "euclidean")(x[:1]).shape == (1, DIM + 1)


def test_centre_and_spread_by_blocks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(frames, "_ROWS_AT_ONCE", 7)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    x[:, 1] += 1000
    x[:, 2] = 5
    x[[3, 20], [0, 1]] = np.nan, np.inf
    good = x[frames.usable(x, direction=False)].astype(np.float64)
    assert len(good) == 38
    centre, spread = frames.centre_and_spread(x)
    np.testing.assert_allclose(centre, good.mean(axis=0))
    np.testing.assert_allclose(spread[:2], good.std(axis=0, ddof=1)[:2])
    assert spread[2] == np.inf
    zero = np.zeros((9, 3), np.float32)
    assert not frames.usable(zero, direction=True).any()
    assert frames.usable(zero, direction=False).all()


# ---- the command


@pytest.fixture
def say(capsys):
    def call(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_command_keeps_a_map_and_uses_it_again(groups, tmp_path, say):
    held(groups[0][:40], tmp_path / "a.emb")
    words = ["project", tmp_path / "a.emb", "--method", "tsne", "--perplexity", "5"]
    status, out, _ = say(*words, "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["method"], told["n"], told["n_without_vector"], told["kept_before"]) == ("tsne", 40, 0, False)
    assert told["settings"] == {"dims": 2, "metric": "cosine", "perplexity": 5.0, "seed": 0}
    kept = open_projection(Embeddings.open(tmp_path / "a.emb"), "tsne")
    assert isinstance(kept, Projection)
    status, out, _ = say(*words, "--picture", tmp_path / "map.png", "--color", "density")
    assert status == 0
    assert "was kept" in out
    assert (tmp_path / "map.png").stat().st_size > 5000
    status, _, err = say(*words[:-1], "6")
    assert status == 1
    assert err == (
        f"Error: '{tmp_path / 'a.emb/_maps/tsne.parquet'}' is there already, made with perplexity 5.0; "
        "choose another name or give overwrite=True (--overwrite).\n"
    )
    assert say(*words[:-1], "6", "--name", "other")[0] == 0
    assert say(*words[:-1], "6", "--overwrite")[0] == 0
    assert open_projection(Embeddings.open(tmp_path / "a.emb"), "tsne").settings["perplexity"] == 6


def test_command_refuses_before_it_works(groups, tmp_path, say):
    held(groups[0][:40], tmp_path / "a.emb")
    status, _, err = say("project", tmp_path / "a.emb", "--color", "density")
    assert status == 2
    assert "give --picture FILE too" in err
    status, _, err = say("project", tmp_path / "a.emb", "--picture", tmp_path / "m.png", "--color", "sise")
    assert status == 1
    assert err.startswith("Error: unknown column 'sise'")
    status, _, err = say("project", tmp_path / "a.emb", "--dims", "1", "--picture", tmp_path / "m.png")
    assert status == 2
    assert "a picture needs two axes" in err
    assert not (tmp_path / "a.emb/_maps").exists()
    assert say("project", tmp_path / "a.emb", "--picture", tmp_path / "m.gif")[0] == 1
