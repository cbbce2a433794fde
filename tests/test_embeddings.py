"""The store of embeddings: round trips, selections, readers of others, kills, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.space.embeddings import (
    Embeddings,
    EmbeddingsWriter,
    check_same_space,
    embeddings_schema,
    vector_column,
)


def some(n=50, dim=8, seed=0):
    rng = np.random.default_rng(seed)
    columns = {
        "ra": rng.uniform(0, 360, n),
        "object": [None if i % 3 == 0 else f"NGC {i}" for i in range(n)],
        "flags": np.arange(n, dtype=np.int64),
        "wavelengths": [[float(i), 2.0] for i in range(n)],
    }
    return [f"id{i}" for i in range(n)], rng.normal(size=(n, dim)).astype(np.float32), columns


def batches(ids, vectors, size):
    """Cut rows into record batches of ``size``."""
    table = pa.table({"id": pa.array(ids, pa.string()), "vector": vector_column(vectors)})
    return table.cast(embeddings_schema(vectors.shape[1])).to_batches(max_chunksize=size)


@pytest.mark.parametrize("stored", [True, False])
def test_round_trip(tmp_path, stored):
    ids, x, columns = some()
    told = {"space_id": "9f3a", "run": "byol", "stretch": {"name": "asinh", "a": 1.0}}
    emb = Embeddings.from_arrays(tmp_path / "a.emb" if stored else None, ids, x, columns, told)
    assert (len(emb), emb.dim, emb.ids, emb.space_id) == (50, 8, ids, "9f3a")
    np.testing.assert_array_equal(emb.vectors, x)
    assert emb.vectors.dtype == np.float32
    assert emb.columns == ["id", *columns]
    assert emb.provenance["stretch"] == told["stretch"]
    assert emb.table().column_names == ["id", *columns]
    for name, values in columns.items():
        assert emb.table([name])[name].to_pylist() == list(values)
    assert emb.table(["flags", "vector"])["vector"].to_pylist()[3] == x[3].tolist()
    assert repr(emb) == f"Embeddings({emb.name}, 50 x 8, space 9f3a)"
    assert emb.name == ("'a.emb'" if stored else "in memory")


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), unique=True, max_size=20), st.integers(1, 4))
def test_any_ids_come_back(tmp_path_factory, ids, dim):
    x = np.arange(len(ids) * dim, dtype=np.float32).reshape(-1, dim)
    path = tmp_path_factory.mktemp("any") / "a.emb"
    emb = Embeddings.from_arrays(path, ids, x)
    assert emb.ids == ids
    np.testing.assert_array_equal(emb.vectors, x)
    for row, identifier in enumerate(ids):
        assert emb.row_of(identifier) == row


def test_nothing_and_a_hundred_thousand_rows(tmp_path):
    empty = Embeddings.from_arrays(tmp_path / "0.emb", [], np.empty((0, 3)), {"ra": []})
    assert (len(empty), empty.ids, empty.vectors.shape) == (0, [], (0, 3))
    ids = [f"J{i}" for i in range(100_000)]
    x = np.random.default_rng(0).random((100_000, 4), dtype=np.float32)
    big = Embeddings.from_arrays(tmp_path / "big.emb", ids, x)
    assert big.ids == ids
    assert np.array_equal(big.vectors, x)
    assert big.row_of("J99999") == 99_999


def test_special_floats_are_kept_bit_for_bit(tmp_path):
    x = np.array([[np.nan, np.inf, -np.inf, -0.0], [1e-45, 3.4e38, 1 / 3, 0.0]], np.float32)
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ["a", "b"], x)
    assert emb.vectors.tobytes() == x.tobytes()


def test_vectors_take_no_more_room_than_they_must(tmp_path):
    ids, x, columns = some(30_000, 128)
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ids, x, columns)
    taken = 0
    for path in emb.path.glob("*.parquet"):
        footer = pq.ParquetFile(path).metadata
        for group in range(footer.num_row_groups):
            chunks = [footer.row_group(group).column(i) for i in range(footer.num_columns)]
            vector = next(c for c in chunks if c.path_in_schema.startswith("vector"))
            assert vector.compression == "UNCOMPRESSED"
            assert "PLAIN" in vector.encodings
            assert not vector.has_dictionary_page
            taken += vector.total_compressed_size
    assert x.nbytes <= taken <= 1.02 * x.nbytes


def test_vectors_are_read_once_and_cannot_be_changed(tmp_path):
    ids, x, _ = some()
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ids, x)
    assert emb.vectors is emb.vectors
    with pytest.raises(ValueError, match="read-only"):
        emb.vectors[0] = 0
    assert emb.index() is emb.index()
    before = x.copy()
    held = Embeddings.from_arrays(None, ids, x)
    assert np.shares_memory(held.vectors, held._source["vector"].chunk(0).flatten().to_numpy())  # held once
    x[:] = 5.0  # the caller's array stays writable, and is the caller's
    np.testing.assert_array_equal(held.vectors, before)


def test_other_readers_open_the_folder(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pd = pytest.importorskip("pandas")
    ids, x, columns = some()
    path = tmp_path / "a.emb"
    Embeddings.from_arrays(path, ids, x, columns, {"space_id": "9f3a"})
    frame = pd.read_parquet(path)
    assert frame["id"].tolist() == ids
    np.testing.assert_array_equal(np.stack(frame["vector"]), x)
    found = duckdb.sql(f"select id, list_sum(vector::float[]) from '{path}/*.parquet' where flags = 7").fetchall()
    assert found[0][0] == "id7"
    assert found[0][1] == pytest.approx(float(x[7].sum()), abs=1e-5)
    told = json.loads(pq.read_schema(path / "part-00000.parquet").metadata[b"morphospace"])
    assert (told["kind"], told["format_version"], told["space_id"]) == ("embeddings", 1, "9f3a")


def test_columns_asked_for_are_read_once(tmp_path, monkeypatch):
    ids, x, columns = some()
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ids, x, columns)
    asked = []
    read = type(emb._source).table
    monkeypatch.setattr(type(emb._source), "table", lambda self, names=None: asked.append(names) or read(self, names))
    for store in (emb, emb.keep([3, 4]), emb):
        assert store.table(["flags", "id"]).column_names == ["flags", "id"]
        assert store.table(["flags", "ra"])["flags"].to_pylist()[0] == (3 if len(store) == 2 else 0)
    assert asked == [["flags", "id"], ["ra"]]


# ---- selections


def test_keep_by_mask_and_by_rows(tmp_path):
    ids, x, columns = some()
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ids, x, columns)
    odd = emb.keep(np.arange(50) % 2 == 1)
    assert odd.ids == ids[1::2]
    np.testing.assert_array_equal(odd.vectors, x[1::2])
    assert odd.table(["flags"])["flags"].to_pylist() == list(range(1, 50, 2))
    again = odd.keep([3, 0, 3])
    assert again.ids == ["id7", "id1", "id7"]
    np.testing.assert_array_equal(again.vectors, x[[7, 1, 7]])
    assert again.row_of("id7") == 0
    assert again.space_id == emb.space_id
    assert len(emb.keep([])) == 0
    assert len(emb.keep(np.zeros(50, bool)).vectors) == 0
    assert "id7" in odd
    assert "id8" not in odd


@pytest.mark.parametrize("rows", [[50], [-1], [0.5], [[1]], [True] * 3, ["id1"]])
def test_keep_refuses(rows):
    with pytest.raises(ShapeError, match="rows must be a mask"):
        Embeddings.from_arrays(None, *some()[:2]).keep(rows)


def test_unknown_names_are_told_with_the_nearest():
    emb = Embeddings.from_arrays(None, *some())
    with pytest.raises(DataError, match=r"'id5O' is no id .* did you mean 'id5'"):
        emb.row_of("id5O")
    with pytest.raises(ConfigError, match=r"unknown column 'flag' .* did you mean 'flags'"):
        emb.table(["id", "flag"])


# ---- bad input


@pytest.mark.parametrize(
    "ids,vectors,columns,error,words",
    [
        (["a"], [1.0, 2.0], {}, ShapeError, r"\(N, D\)"),
        (["a"], [[1.0], [2.0]], {}, ShapeError, "the 1 ids"),
        (["a"], np.empty((1, 0)), {}, ShapeError, r"\(N, D\)"),
        (["a", "a"], [[1.0], [2.0]], {}, DataError, "'a' comes twice"),
        (["a", 3], [[1.0], [2.0]], {}, DataError, "got 3"),
        (["a", None], [[1.0], [2.0]], {}, DataError, "got None"),
        (["\ud800"], [[1.0]], {}, DataError, "column 'id' cannot be stored"),
        (["a"], [[1.0]], {"vector": [1]}, ConfigError, "'vector'"),
        (["a"], [[1.0]], {"ra": [1, 2]}, ShapeError, "'ra' must have 1 values"),
        (["a", "b"], [[1.0], [1.0]], {"x": [1, "two"]}, DataError, "column 'x' cannot be stored"),
    ],
)
def test_from_arrays_refuses(ids, vectors, columns, error, words):
    with pytest.raises(error, match=words):
        Embeddings.from_arrays(None, ids, vectors, columns)


def test_columns_of_many_kinds(tmp_path):
    columns = {
        "nothing": [None, None],
        "masked": np.ma.MaskedArray([1, 2], [True, False]),
        "text": np.array(["a", "ü"]),
        "chunked": pa.chunked_array([[1], [2]]),
        "bool": [True, None],
    }
    emb = Embeddings.from_arrays(tmp_path / "a.emb", ["x", "y"], np.eye(2), columns)
    table = emb.table()
    assert table["nothing"].to_pylist() == [None, None]
    assert table["masked"].to_pylist() == [None, 2]
    assert table["text"].to_pylist() == ["a", "ü"]
    assert table["chunked"].to_pylist() == [1, 2]
    assert table["bool"].to_pylist() == [True, None]


def test_nothing_is_overwritten_unasked(tmp_path):
    ids, x, _ = some()
    path = tmp_path / "a.emb"
    Embeddings.from_arrays(path, ids, x)
    with pytest.raises(StoreError, match="is there already"):
        Embeddings.from_arrays(path, ids, x)
    assert len(Embeddings.from_arrays(path, ids[:5], x[:5], overwrite=True)) == 5
    assert len(Embeddings.open(path)) == 5


def test_open_refuses(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        Embeddings.open(tmp_path / "nothing.emb")
    ids, x, _ = some()
    path = tmp_path / "a.emb"
    Embeddings.from_arrays(path, ids, x)
    manifest = path / "_manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "format_version": 99}))
    with pytest.raises(StoreError, match="format version 99"):
        Embeddings.open(path)
    manifest.write_text(json.dumps({**told, "kind": "cutouts"}))
    with pytest.raises(StoreError, match="holds cutouts, not embeddings"):
        Embeddings.open(path)


# ---- writing as they come


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_rows_do_not_depend_on_the_batches(tmp_path, size):
    ids, x, _ = some(200, 5)
    with EmbeddingsWriter(tmp_path / "a.emb", embeddings_schema(5)) as writer:
        for batch in batches(ids, x, size):
            writer.append(batch)
        assert writer.rows == 200
    emb = Embeddings.open(tmp_path / "a.emb")
    assert emb.ids == ids
    np.testing.assert_array_equal(emb.vectors, x)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    ids, x, _ = some(300, 5)
    with EmbeddingsWriter(tmp_path / "whole.emb", embeddings_schema(5)) as writer:
        for batch in batches(ids, x, 40):
            writer.append(batch)
    path = tmp_path / "cut.emb"

    def write_three_batches():
        with EmbeddingsWriter(path, embeddings_schema(5)) as writer:
            for batch in batches(ids, x, 40)[:3]:
                writer.append(batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_three_batches()
    assert Embeddings.open(path).ids == ids[:120]  # what was complete opens
    with EmbeddingsWriter(path, embeddings_schema(5), resume=True) as writer:
        done = len(writer.done())
        for batch in batches(ids[done:], x[done:], 33):
            writer.append(batch)
    whole, cut = Embeddings.open(tmp_path / "whole.emb"), Embeddings.open(path)
    assert whole.ids == cut.ids
    np.testing.assert_array_equal(whole.vectors, cut.vectors)


_SLOW_WRITER = """
import sys, time
import numpy as np
from tests.test_embeddings import batches, embeddings_schema, some
from morphospace.space.embeddings import EmbeddingsWriter
ids, x, _ = some(40_000, 64)
with EmbeddingsWriter(sys.argv[1], embeddings_schema(64)) as writer:
    for batch in batches(ids, x, 2_000):
        writer.append(batch)
        writer._writer.flush()
        print("more", flush=True)
        time.sleep(0.05)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
def test_kill_leaves_a_store_that_opens_and_goes_on(tmp_path):
    path = tmp_path / "a.emb"
    root = str(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITER, str(path)], stdout=subprocess.PIPE, cwd=root, text=True
    ) as process:
        for _ in range(3):
            process.stdout.readline()
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    ids, x, _ = some(40_000, 64)
    cut = Embeddings.open(path)
    done = len(cut)
    assert 0 < done < 40_000
    assert cut.ids == ids[:done]
    np.testing.assert_array_equal(cut.vectors, x[:done])
    with EmbeddingsWriter(path, embeddings_schema(64), resume=True) as writer:
        for batch in batches(ids[done:], x[done:], 20_000):
            writer.append(batch)
    assert Embeddings.open(path).ids == ids


def test_resume_in_another_space_is_refused(tmp_path):
    ids, x, _ = some(10, 5)
    path = tmp_path / "byol.emb"
    Embeddings.from_arrays(path, ids, x, provenance={"space_id": "9f3a0000ff"})
    with pytest.raises(StoreError, match=r"'byol.emb' was written with encoder 9f3a0000… .* Re-embed with run 'byol2'"):
        EmbeddingsWriter(path, embeddings_schema(5), provenance={"space_id": "41bc", "run": "byol2"}, resume=True)
    with pytest.raises(StoreError):
        EmbeddingsWriter(path, embeddings_schema(6), provenance={"space_id": "9f3a0000ff"}, resume=True)
    with EmbeddingsWriter(path, embeddings_schema(5), provenance={"space_id": "41bc"}, overwrite=True):
        pass
    assert Embeddings.open(path).space_id == "41bc"


def test_check_same_space():
    one, other = (Embeddings.from_arrays(None, ["a"], [[1.0]], provenance={"space_id": s}) for s in ("1", "2"))
    check_same_space(one, one)
    with pytest.raises(DataError, match=r"mean nothing\. Re-embed both with one run"):
        check_same_space(one, other)
    with pytest.raises(DataError, match="none given"):
        check_same_space(one, Embeddings.from_arrays(None, ["a"], [[1.0]]))
