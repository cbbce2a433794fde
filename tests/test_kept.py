"""Results kept beside embeddings: round trip, what makes one stale, bad names, damage."""

from __future__ import annotations

import hashlib
import re
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest

from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.space import kept as kept_module
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import fingerprint, keep, kept, place_of

IDS = ["a", "b\tc", "d é"]


def stored(path, ids=IDS, space="s1", overwrite=False):
    x = np.arange(2.0 * len(ids)).reshape(-1, 2)
    return Embeddings.from_arrays(path, ids, x, provenance={"space_id": space}, overwrite=overwrite)


def table(ids=IDS, label=None):
    return pa.table({"id": ids, "label": pa.array(label or list(range(len(ids))), pa.int32())})


def test_what_was_kept_comes_back(tmp_path):
    emb = stored(tmp_path / "e.emb")
    about = {"k": np.int64(3), "x": [1.5, float("nan")], "m": np.eye(2), "t": "<é>"}
    model = {"means": np.arange(6.0).reshape(2, 3), "n": np.array([1, 2], np.int32)}
    path = keep(emb, "clusters", "gmm-3", table(), about, model)
    assert path == tmp_path / "e.emb" / "_clusters" / "gmm-3.parquet"
    (found,) = kept(Embeddings.open(emb.path), "clusters").values()
    assert found.name == "gmm-3"
    assert found.fresh
    assert found.about == {"k": 3, "x": [1.5, None], "m": [[1.0, 0.0], [0.0, 1.0]], "t": "<é>"}
    assert found.table.equals(table())
    arrays = found.arrays()
    assert sorted(arrays) == ["means", "n"]
    for key, value in model.items():
        np.testing.assert_array_equal(arrays[key], value)
        assert arrays[key].dtype == value.dtype
    assert kept(emb, "maps") == {}
    assert len(Embeddings.open(emb.path)) == 3  # the store is read as before
    model_file, table_file = sorted(p.name for p in path.parent.iterdir())
    assert re.fullmatch(r"gmm-3\.[0-9a-f]{16}\.safetensors", model_file)
    assert table_file == "gmm-3.parquet"


def test_one_of_the_same_name_is_replaced_only_if_that_is_asked_for(tmp_path):
    emb = stored(tmp_path / "e.emb")
    keep(emb, "scores", "s", table(), {"n": 1}, {"w": np.ones(2)})
    for refusing in (place_of, lambda *those: keep(*those, table(), {})):
        with pytest.raises(
            StoreError, match=r"s.parquet' is there already; choose another name or give overwrite=True"
        ):
            refusing(emb, "scores", "s")
    assert kept(emb, "scores")["s"].about == {"n": 1}
    keep(emb, "scores", "s", table(label=[5, 6, 7]), {"n": 2}, overwrite=True)
    keep(emb, "scores", "B", table(), {})
    found = kept(emb, "scores")
    assert list(found) == ["B", "s"]
    assert found["s"].about == {"n": 2}
    assert found["s"].table["label"].to_pylist() == [5, 6, 7]
    assert found["s"].arrays() == {}


def test_a_kill_between_model_and_table_leaves_the_old_pair(tmp_path, monkeypatch):
    emb = stored(tmp_path / "e.emb")
    path = keep(emb, "maps", "m", table(), {"n": 1}, {"w": np.ones(2)})
    keep(emb, "maps", "m.0123456789abcdef", table(), {}, {"w": np.full(2, 3.0)})  # its model is not taken for one of m
    other = {"w": np.full(2, 2.0)}
    with monkeypatch.context() as patched:
        patched.setattr(kept_module.pq, "write_table", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            keep(emb, "maps", "m", table(), {"n": 2}, other, overwrite=True)
    found = kept(emb, "maps")["m"]
    assert found.about == {"n": 1}
    np.testing.assert_array_equal(found.arrays()["w"], 1)
    keep(emb, "maps", "m", table(), {"n": 3}, other, overwrite=True)
    np.testing.assert_array_equal(kept(emb, "maps")["m"].arrays()["w"], 2)
    assert len(list(path.parent.glob("*.safetensors"))) == 2
    np.testing.assert_array_equal(kept(emb, "maps")["m.0123456789abcdef"].arrays()["w"], 3)
    keep(emb, "maps", "m", table(), {}, overwrite=True)
    assert len(list(path.parent.glob("*.safetensors"))) == 1


def test_rows_of_another_result_are_never_read_as_those_that_were_found(tmp_path):
    emb = stored(tmp_path / "e.emb")
    keep(emb, "scores", "s", table(), {"n": 1})
    found = kept(emb, "scores")["s"]
    assert found.current
    assert found.columns == ("id", "label")
    assert found.read(["label"]).column_names == ["label"]
    keep(emb, "scores", "s", table(label=[5, 6, 7]), {"n": 2}, overwrite=True)
    assert not found.current
    with pytest.raises(StoreError, match="replaced or deleted meanwhile"):
        found.read(["label"])
    found.path.unlink()
    assert not found.current
    with pytest.raises(StoreError, match="replaced or deleted meanwhile"):
        _ = found.table


def test_fingerprint_is_the_hash_of_the_ids():
    emb = stored(None)
    assert fingerprint(emb) == hashlib.sha256("\n".join(IDS).encode()).hexdigest()


@pytest.mark.parametrize("ids,space", [(IDS[::-1], "s1"), ([*IDS, "e"], "s1"), (IDS, "s2")])
def test_other_ids_or_vectors_make_it_stale(tmp_path, ids, space):
    keep(stored(tmp_path / "e.emb"), "maps", "tsne", table(), {})
    new = stored(tmp_path / "e.emb", ids, space, overwrite=True)
    found = kept(new, "maps")
    assert all(not each.fresh for each in found.values())
    keep(new, "maps", "tsne", table(ids), {})
    assert kept(new, "maps")["tsne"].fresh


def test_embeddings_in_memory_keep_nothing():
    assert kept(stored(None), "maps") == {}
    with pytest.raises(DataError, match="in memory only"):
        keep(stored(None), "maps", "m", table(), {})


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "_x", "a b", "x" * 101, "a\n"])
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="letters, digits"):
        keep(stored(tmp_path / "e.emb"), "maps", name, table(), {})


def test_bad_input_is_told(tmp_path):
    emb = stored(tmp_path / "e.emb")
    with pytest.raises(ConfigError, match=r"unknown kind of result 'map'; did you mean 'maps'"):
        kept(emb, "map")
    with pytest.raises(DataError, match="ids of 'm' are not those"):
        keep(emb, "maps", "m", table(IDS[::-1]), {})
    with pytest.raises(DataError, match="ids of 'm' are not those"):
        keep(emb, "maps", "m", pa.table({"x": [1, 2, 3]}), {})


def test_damage_is_told(tmp_path):
    emb = stored(tmp_path / "e.emb")
    path = keep(emb, "maps", "m", table(), {}, {"w": np.ones(2)})
    (model,) = path.parent.glob("m.*.safetensors")
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(StoreError, match="make 'm' again"):
        kept(emb, "maps")["m"].arrays()
    model.unlink()
    with pytest.raises(StoreError, match="make 'm' again"):
        kept(emb, "maps")["m"].arrays()
    path.write_bytes(b"PAR1 no")
    with pytest.raises(StoreError, match="is damaged"):
        kept(emb, "maps")
