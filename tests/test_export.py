"""Exports, each read back with the library that its users have."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.space import projector
from morphospace.space.embeddings import Embeddings
from morphospace.space.export import FORMATS, export
from morphospace.space.plain import plain_table, to_numpy, unique_names
from morphospace.space.projector import sprite_layout, stratified_sample
from morphospace.space.tiles import square, take_thumbs, thumbs_of

h5py = pytest.importorskip("h5py")
pd = pytest.importorskip("pandas")
from astropy.io import fits  # noqa: E402
from astropy.io.votable import parse_single_table  # noqa: E402
from astropy.table import Table  # noqa: E402

SUFFIX = {"csv": "a.csv", "parquet": "a.parquet", "fits": "a.fits", "votable": "a.vot", "hdf5": "a.h5"}
IDS = ["é星 1", "=cmd|' /C calc'!A0", "tab\tand\nline", "🌌", "quote \" and '", "NA", "", "plain,comma", "-1+1"]


@pytest.fixture
def emb():
    n = len(IDS)
    x = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    x[4] = np.nan
    columns = {
        "ra": [None, *np.linspace(0, 359, n - 1)],
        "dec": np.linspace(-89, 89, n),
        "object": [None, "GG Tau", "", *["ü"] * (n - 3)],
        "flags": np.arange(n, dtype=np.int64),
        "counts": pa.array([None, *range(1, n)], pa.int32()),
        "big": pa.array([2**63, *range(1, n)], pa.uint64()),
        "good": [True, None, *[False] * (n - 2)],
        "sure": [True] * n,
        "sizes": [[1.5, 2.0], None, *[[0.0]] * (n - 2)],
        "raw": [b"\x00\x01"] * n,
        "when": pa.array([0] * n, pa.timestamp("ms")),
        "kind": pa.array(["disc"] * n).dictionary_encode(),
        "Ra": np.arange(n, dtype=np.float32) / 3,
    }
    return Embeddings.from_arrays(None, IDS, x, columns, {"space_id": "9f3a" * 16, "run": "byol é"})


def same_floats(found, expected):
    np.testing.assert_array_equal(np.asarray(found, float), np.asarray(expected, float))


def test_csv_with_pandas(emb, tmp_path):
    frame = pd.read_csv(export(emb, tmp_path / "a.csv"), keep_default_na=False, na_values={"object": [], "ra": [""]})
    assert frame["id"].tolist() == IDS
    vectors = frame[[f"vector_{i}" for i in range(5)]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    np.testing.assert_array_equal(vectors, emb.vectors)
    same_floats(frame["dec"], emb.table()["dec"])
    assert frame["object"].tolist()[:3] == ["", "GG Tau", ""]
    assert frame["sizes"].tolist()[:2] == ["[1.5, 2.0]", ""]
    assert frame["when"][0] == "1970-01-01 00:00:00.000"
    assert "raw" not in frame
    assert "Ra_2" in frame  # ra and Ra differ in case only: some readers would lose one
    lines = (tmp_path / "a.csv").read_text("utf-8")
    assert '"GG Tau"' in lines
    assert ",,0,," in lines  # a missing text is nothing, unlike an empty one, which is quoted


def test_parquet_with_pyarrow_and_pandas(emb, tmp_path):
    path = export(emb, tmp_path / "a.parquet")
    table = pq.read_table(path)
    assert table.column_names == emb.schema.names
    assert table.drop_columns("vector").equals(emb.table())
    np.testing.assert_array_equal(np.stack(table["vector"].to_numpy()), emb.vectors)
    assert table.schema.metadata[b"space_id"].decode() == emb.space_id
    assert json.loads(table.schema.metadata[b"provenance"])["run"] == "byol é"
    assert pd.read_parquet(path)["id"].tolist() == IDS


def test_fits_with_astropy(emb, tmp_path):
    path = export(emb, tmp_path / "a.fits")
    table = Table.read(path)
    assert [str(i) for i in table["id"].filled("")] == IDS
    np.testing.assert_array_equal(table["vector"], emb.vectors)
    assert table["dec"].unit == "deg"
    assert table["counts"].mask.tolist() == [True] + [False] * 8
    assert table["counts"][1:].tolist() == list(range(1, 9))
    assert table["big"].dtype.kind == "f"  # FITS has no unsigned 64 bits that all read; this one needs them
    assert table["sure"].dtype == bool
    assert table["good"].mask.tolist() == [False, True] + [False] * 7
    assert table["object"].filled("").tolist()[:3] == ["", "GG Tau", ""]
    assert table["Ra_2"][3] == np.float32(1)
    assert table["ra"].mask.tolist() == [True] + [False] * 8  # NaN in the file
    with fits.open(path) as hdus:
        header = hdus[1].header
        assert (header["EXTNAME"], header["SPACEID"]) == ("EMBEDDINGS", emb.space_id)
        assert "byol" in "".join(header["HISTORY"])
        hdus.verify("exception")


def test_votable_with_astropy(emb, tmp_path):
    path = export(emb, tmp_path / "a.vot")
    file = parse_single_table(path)
    table = file.to_table(use_names_over_ids=True)
    assert table["id"].tolist() == IDS
    np.testing.assert_array_equal(table["vector"], emb.vectors)
    assert table["counts"].mask.tolist() == [True] + [False] * 8
    assert table["object"].tolist()[:3] == ["", "GG Tau", ""]
    assert table["ra"].unit == "deg"
    ucds = {f.name: f.ucd for f in file.fields}
    assert ucds["id"] == "meta.id;meta.main"
    assert ucds["dec"] == "pos.eq.dec;meta.main"
    assert emb.space_id in path.read_text("utf-8")


def test_hdf5_with_h5py(emb, tmp_path):
    with h5py.File(export(emb, tmp_path / "a.h5")) as file:
        assert file["id"].asstr()[:].tolist() == IDS
        np.testing.assert_array_equal(file["vector"][:], emb.vectors)
        assert file.attrs["space_id"] == emb.space_id
        assert json.loads(file.attrs["provenance"])["run"] == "byol é"
        assert file["counts"][0] == file["counts"].attrs["missing_value"] == np.iinfo(np.int32).min
        assert file["object"].asstr()[:3].tolist() == ["", "GG Tau", ""]
        assert set(file) >= {"ra", "Ra_2", "flags", "sizes"}


@pytest.mark.parametrize("name", SUFFIX)
def test_no_rows_and_only_ids(name, tmp_path):
    empty = Embeddings.from_arrays(None, [], np.empty((0, 3)), {"object": [], "flags": pa.array([], pa.int64())})
    export(empty, tmp_path / SUFFIX[name])
    bare = Embeddings.from_arrays(tmp_path / "b.emb", ["a", "b"], np.eye(2))
    export(bare, tmp_path / SUFFIX[name], overwrite=True)
    kept = bare.keep([1])
    path = export(kept, tmp_path / SUFFIX[name], overwrite=True)
    readers = {
        "csv": lambda p: pd.read_csv(p)["id"],
        "parquet": lambda p: pd.read_parquet(p)["id"],
        "hdf5": lambda p: h5py.File(p)["id"].asstr()[:],
    }
    assert list(readers.get(name, lambda p: Table.read(p)["id"])(path)) == ["b"]


# FITS ends a text at a NUL, and readers drop white space at its end; CSV reads a carriage return as a line end outside quotes.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10)


@settings(max_examples=10)
@given(st.lists(TEXTS, unique=True, min_size=1, max_size=8))
def test_any_ids_come_back(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("any")
    emb = Embeddings.from_arrays(None, ids, np.ones((len(ids), 2)), {"object": ids})
    paths = {name: export(emb, folder / file) for name, file in SUFFIX.items()}
    csv = pd.read_csv(paths["csv"], keep_default_na=False, dtype=str, lineterminator="\n")
    assert [i.rstrip("\r") for i in csv["id"]] == [i.rstrip("\r") for i in ids]
    assert pq.read_table(paths["parquet"])["object"].to_pylist() == ids
    from_fits = Table.read(paths["fits"])["id"].tolist()
    assert [i or "" for i in from_fits] == [i.rstrip(" \t\n\r\x0b\x0c") for i in ids]
    assert parse_single_table(paths["votable"]).to_table()["id"].tolist() == ids
    with h5py.File(paths["hdf5"]) as file:
        assert file["object"].asstr()[:].tolist() == ids


def test_many_rows_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("morphospace.space.export._ROWS_AT_ONCE", 7)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    emb = Embeddings.from_arrays(tmp_path / "a.emb", [str(i) for i in range(50)], x).keep(np.arange(49, -1, -1))
    frame = pd.read_csv(export(emb, tmp_path / "a.csv"), dtype={"id": str})
    assert frame["id"].tolist() == emb.ids
    np.testing.assert_array_equal(frame.to_numpy()[:, 1:].astype(np.float32), x[::-1])
    assert pq.read_table(export(emb, tmp_path / "a.parquet"))["id"].to_pylist() == emb.ids


# ---- what is there already, and what cannot be


@pytest.mark.parametrize("name", [*SUFFIX, "tensorboard"])
def test_nothing_is_overwritten_unasked(emb, tmp_path, name):
    path = tmp_path / SUFFIX.get(name, "folder")
    export(emb, path, format=name)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(StoreError, match="is there already"):
        export(emb, path, format=name)
    export(emb, path, format=name, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == before == [path.name]


@pytest.mark.parametrize("name", [*SUFFIX, "tensorboard"])
def test_a_failed_export_leaves_the_old_one(emb, tmp_path, name, monkeypatch):
    path = tmp_path / SUFFIX.get(name, "folder")
    export(emb, path, format=name)
    held = path / "vectors.tsv" if name == "tensorboard" else path
    before = held.read_bytes()

    def fail(*_):
        msg = "No space left on device"
        raise OSError(msg)

    for module in ("export", "projector"):
        monkeypatch.setattr(f"morphospace.space.{module}.plain_table", fail)
    monkeypatch.setattr("morphospace.space.export.vector_column", fail)
    with pytest.raises(StoreError, match=r"cannot be written .No space left"):
        export(emb, path, format=name, overwrite=True)
    assert held.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_export_refuses(emb, tmp_path):
    with pytest.raises(ConfigError, match=r"'a.xlsx' does not say which format.*\.csv.*tensorboard"):
        export(emb, tmp_path / "a.xlsx")
    with pytest.raises(ConfigError, match=r"unknown export format 'fit'; did you mean 'fits'"):
        export(emb, tmp_path / "a", format="fit")
    with pytest.raises(ConfigError, match="thumbs are for format='tensorboard'"):
        export(emb, tmp_path / "a.csv", thumbs=np.zeros((9, 4, 4), np.uint8))
    folder = tmp_path / "x.csv"
    folder.mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        export(emb, folder, overwrite=True)
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no projector folder"):
        export(emb, folder, format="tensorboard", overwrite=True)
    assert (folder / "precious.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        export(emb, tmp_path / "file" / "a.csv")


def test_embeddings_are_never_replaced_by_their_export(tmp_path):
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ["a"], [[1.0]])
    with pytest.raises(StoreError, match="is no projector folder"):
        export(emb, tmp_path / "a.emb", format="tensorboard", overwrite=True)
    assert Embeddings.open(tmp_path / "a.emb").ids == ["a"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_suffix_is_known(emb, tmp_path, name):
    for suffix in FORMATS[name].suffixes:
        assert export(emb, tmp_path / f"x{suffix.upper()}").is_file()


# ---- the projector


def thumbs_like(n, side=20):
    """Thumbnails that tell their row: two pixels hold its number."""
    pictures = np.zeros((n, side, side), np.uint8)
    pictures[:] = (np.arange(n) % 251)[:, None, None]
    return pictures


def read_projector(folder):
    vectors = np.loadtxt(folder / "vectors.tsv", delimiter="\t", ndmin=2, dtype=np.float32)
    lines = (folder / "metadata.tsv").read_text("utf-8").split("\n")
    assert lines[-1] == ""
    return vectors, lines[0].split("\t"), [line.split("\t") for line in lines[1:-1]]


def test_projector_vectors_and_metadata_agree(emb, tmp_path, caplog):
    folder = export(emb, tmp_path / "p", format="tensorboard")
    vectors, header, rows = read_projector(folder)
    assert "1 objects without a vector are left out" in caplog.text
    kept = [i for i in range(9) if i != 4]
    np.testing.assert_array_equal(vectors, emb.vectors[kept])
    assert header[0] == "id"
    assert header[-1] == "row"
    assert [r[-1] for r in rows] == [str(i) for i in kept]
    assert all(len(r) == len(header) for r in rows)
    assert rows[1][0] == IDS[1]
    assert rows[2][0] == "tab and line"
    assert rows[0][header.index("object")] == ""


def test_projector_with_tensorboards_own_reader(emb, tmp_path):
    config_pb2 = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    folder = export(emb, tmp_path / "p", format="tensorboard", thumbs=thumbs_like(9, 24))
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), config_pb2.ProjectorConfig())
    one = config.embeddings[0]
    assert (one.tensor_path, one.metadata_path, one.sprite.image_path) == ("vectors.tsv", "metadata.tsv", "sprite.png")
    assert list(one.sprite.single_image_dim) == [24, 24]
    bare = export(emb, tmp_path / "q", format="tensorboard")
    config = text_format.Parse((bare / "projector_config.pbtxt").read_text(), config_pb2.ProjectorConfig())
    assert not config.embeddings[0].HasField("sprite")
    assert not (bare / "sprite.png").exists()


def test_sprite_shows_each_object_at_its_place(tmp_path):
    n = 200
    emb = Embeddings.from_arrays(None, [str(i) for i in range(n)], np.random.default_rng(0).normal(size=(n, 3)))
    asked = []

    def thumbs(rows):
        asked.extend(rows)
        return [thumbs_like(n)[r] for r in rows]

    with Image.open(export(emb, tmp_path / "p", format="tensorboard", thumbs=thumbs) / "sprite.png") as picture:
        sprite = np.asarray(picture)
    columns = sprite.shape[1] // 20
    assert columns == math.ceil(math.sqrt(n))
    for i in range(n):
        tile = sprite[i // columns * 20 : i // columns * 20 + 20, i % columns * 20 : i % columns * 20 + 20]
        assert (tile == i).all()
    assert set(asked) == set(range(n))


@pytest.mark.parametrize("n", [1, 2, 3, 3136, 3137, 4096, 10_000, 100_000, 262_144, 262_145, 10**8])
@pytest.mark.parametrize("largest", [16, 64, 128])
def test_sprite_never_exceeds_its_limit(n, largest):
    columns, tile = sprite_layout(n, largest)
    shown = min(n, 262_144)
    assert columns * tile <= 8192
    assert math.ceil(shown / columns) * tile <= 8192
    assert 16 <= tile <= max(16, largest)
    if n <= 4096 and largest == 128:
        assert tile == 128


def test_more_objects_mean_smaller_thumbnails():
    tiles = [sprite_layout(n)[1] for n in (10, 4096, 10_000, 50_000, 262_144)]
    assert tiles == sorted(tiles, reverse=True)
    assert tiles[-1] == 16


def test_past_the_capacity_comes_a_stratified_sample(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(projector, "MOST_PIXELS", 16 * 10)  # room for 100
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [900, 90, 10])
    x = np.eye(3)[kind] + 0.01 * rng.normal(size=(1000, 3))
    emb = Embeddings.from_arrays(None, [str(i) for i in range(1000)], x, {"kind": kind})
    with caplog.at_level(logging.WARNING):
        folder = export(emb, tmp_path / "p", format="tensorboard", thumbs=thumbs_like(1000))
    assert "a sprite holds 100 thumbnails; the projector gets a stratified sample of the 1,000 objects" in caplog.text
    vectors, header, rows = read_projector(folder)
    assert len(vectors) == len(rows) == 100
    with Image.open(folder / "sprite.png") as sprite:
        assert sprite.size == (160, 160)
    counts = np.bincount([int(r[header.index("kind")]) for r in rows], minlength=3)
    assert abs(counts - [90, 9, 1]).max() <= 3
    assert counts.min() >= 1  # rare kinds stay
    np.testing.assert_array_equal(vectors, emb.vectors[[int(r[-1]) for r in rows]])


@settings(max_examples=15)
@given(st.integers(1, 400), st.integers(0, 5), st.data())
def test_stratified_sample_is_a_subset(n, seed, data):
    wanted = data.draw(st.integers(1, n))
    x = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    rows = stratified_sample(x, wanted, seed=seed)
    assert len(rows) == wanted == len(np.unique(rows))
    assert rows.min() >= 0
    assert rows.max() < n
    np.testing.assert_array_equal(rows, stratified_sample(x, wanted, seed=seed))


# ---- thumbnails


def test_take_thumbs_from_arrays_lists_and_callables():
    pictures = thumbs_like(5, 4)
    for thumbs in (pictures, list(pictures), lambda rows: pictures[list(rows)], np.stack([pictures] * 3, axis=3)):
        taken = take_thumbs(thumbs, [4, 0])
        assert [t.shape for t in taken] == [(4, 4, 3)] * 2
        assert (taken[0] == 4).all()


@pytest.mark.parametrize(
    "thumbs",
    [lambda rows: [], np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 4, 4), np.uint8), np.zeros((3, 0, 4), np.uint8)],
)
def test_take_thumbs_refuses(thumbs):
    with pytest.raises(ShapeError, match="thumb"):
        take_thumbs(thumbs, [0, 1])


@pytest.mark.parametrize("shape", [(30, 10), (10, 30), (1, 1), (40, 40), (1, 500)])
@pytest.mark.parametrize("side", [16, 20, 33])
def test_square_keeps_the_proportions(shape, side):
    tile = square(np.full((*shape, 3), 200, np.uint8), side)
    assert tile.shape == (side, side, 3)
    lit = tile[:, :, 0] > 0
    height, width = lit.any(axis=1).sum(), lit.any(axis=0).sum()
    assert max(height, width) == side
    assert min(height, width) == max(1, round(side * min(shape) / max(shape)))
    assert set(np.unique(tile)) <= {0, 200}


def test_thumbs_of_finds_pictures_by_id(tmp_path):
    cutouts = pytest.importorskip("morphospace.sky.cutouts")
    path = tmp_path / "a.cutouts"
    with cutouts.CutoutsWriter(path) as writer:
        for i in range(4):
            writer.append(cutouts.Cutout(id=f"id{i}", image=np.full((1, 8, 8 + i), i, np.uint8)))
    cuts = cutouts.Cutouts.open(path)
    emb = Embeddings.from_arrays(None, ["id3", "id1"], np.eye(2))
    assert [t.shape for t in take_thumbs(thumbs_of(cuts, emb), [1, 0, 1])] == [(8, 9, 3), (8, 11, 3), (8, 9, 3)]
    with pytest.raises(DataError, match=r"1 of 1 embeddings are not in the cutouts, e\.g\. 'zzz'"):
        thumbs_of(cuts, Embeddings.from_arrays(None, ["zzz"], [[1.0]]))


# ---- plain columns


def test_plain_table_leaves_out_bytes_with_a_word(caplog):
    table = plain_table(pa.table({"a": [1], "b": [b"x"]}))
    assert table.column_names == ["a"]
    assert "column 'b' holds bytes" in caplog.text


@pytest.mark.parametrize(
    "column,kind,values",
    [
        (pa.array([1, None], pa.int8()), np.int16, [1, None]),
        (pa.array([255], pa.uint8()), np.int16, [255]),
        (pa.array([65535], pa.uint16()), np.int32, [65535]),
        (pa.array([2**32 - 1], pa.uint32()), np.int64, [2**32 - 1]),
        (pa.array([2**63 - 1, None], pa.int64()), np.int64, [2**63 - 1, None]),
        (pa.array([-(2**31)], pa.int32()), np.int32, [-(2**31)]),
        (pa.array([], pa.uint64()), np.int64, []),
        (pa.array([True, False]), np.bool_, [True, False]),
        (pa.array([True, None]), np.int16, [1, None]),
        (pa.array([1.5, None], pa.float32()), np.float32, [1.5, math.nan]),
        (pa.array([np.float16(1.5)], pa.float16()), np.float32, [1.5]),
        (pa.array(["a\0b", None]), object, ["a\ufffdb", ""]),
    ],
)
def test_to_numpy_known_answers(column, kind, values):
    found = to_numpy(column)
    assert found.dtype == kind
    np.testing.assert_equal(found.tolist(), values)


@given(st.lists(st.text(max_size=4), max_size=12), st.booleans())
def test_unique_names_are_unique(names, plain):
    found = unique_names(names, plain=plain)
    assert len({f.casefold() for f in found}) == len(names)
    if plain:
        assert all(f and all(" " <= c <= "~" and c != "/" for c in f) for f in found)
