"""Folders of Parquet parts: layout, manifest, and what a kill, a full disk or Ctrl-C leave."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace import _manifest, _parts
from morphospace._lru import Lru
from morphospace._parts import Form, Parts, PartWriter, one_batch, read_manifest
from morphospace._rowwise import hash_rows, row_bytes
from morphospace.errors import DataError, ShapeError, StoreError
from part_rows import FORM, SCHEMA, SMALL, row_size, rows, write_all


def everything(path: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(path.iterdir())}


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writing not wait for the disk; the processes that are killed below do."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


# one writer


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "s", FORM, SCHEMA, **SMALL) as first:
        first.write(rows(0, 3, lambda _: 5))
        with pytest.raises(StoreError, match=r"another process is writing the things in '.*'; wait until it has ended"):
            PartWriter(tmp_path / "s", FORM, SCHEMA, resume=True, **SMALL)
    with PartWriter(tmp_path / "s", FORM, SCHEMA, resume=True, **SMALL) as second:
        assert second.rows == 3


# layout


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["write", "flush", "resume"])), max_size=8),
)
def test_files_depend_on_the_rows_alone(
    sizes: list[int], cuts: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    n = len(sizes)
    whole = tmp_path_factory.mktemp("a") / "s"
    with PartWriter(whole, FORM, SCHEMA, **SMALL) as writer:
        writer.write(rows(0, n, sizes.__getitem__))
    pieces = tmp_path_factory.mktemp("b") / "s"
    writer = PartWriter(pieces, FORM, SCHEMA, **SMALL)
    done = 0
    for stop, what in [*sorted(cuts), (n, "write")]:
        stop = min(stop, n)
        writer.write(rows(done, stop, sizes.__getitem__))
        done = stop
        assert writer.rows == done
        if what != "write":
            writer.flush()
            assert len(Parts(pieces, FORM)) == done
        if what == "resume":
            del writer  # as the end of a process does, which leaves the folder to another
            writer = PartWriter(pieces, FORM, SCHEMA, resume=True, **SMALL)
            assert writer.rows == done
    writer.close()
    assert everything(pieces) == everything(whole)
    assert Parts(whole, FORM).table().equals(pa.Table.from_batches([rows(0, n, sizes.__getitem__)]))


def test_groups_and_parts_keep_their_limits(tmp_path: Path) -> None:
    def size(i: int) -> int:
        return 50_000 if i == 70 else 37 * i % 900

    with PartWriter(tmp_path / "s", FORM, SCHEMA, **SMALL) as writer:
        writer.write(rows(0, 200, size))
    parts = Parts(tmp_path / "s", FORM)
    assert len(parts.manifest.parts) > 4
    for part, group, first, n in parts.groups():
        batch = parts.group(part, group)
        assert n == 1 or row_bytes(batch).sum() <= SMALL["group_bytes"]
        assert batch["id"][0].as_py() == f"ö{first}"
        if first == 70:
            assert n == 1
    for part in range(len(parts.manifest.parts)):
        only_big = parts.group_rows(part) == [1]
        rows_of_part = one_batch(parts.part_table(part))
        assert only_big or row_bytes(rows_of_part).sum() <= SMALL["part_bytes"]


def test_files_stay_below_64_mib(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "s", FORM, SCHEMA) as writer:
        for start in range(0, 1400, 100):
            writer.write(rows(start, start + 100, lambda i: 50_000))
    sizes = [f.stat().st_size for f in sorted((tmp_path / "s").glob("part-*"))]
    assert len(sizes) == 2
    assert 59 << 20 < sizes[0] <= 64 << 20
    assert all(n <= 4 << 20 for n in _chunk_sizes(tmp_path / "s"))


def _chunk_sizes(path: Path) -> list[int]:
    found = []
    for file in path.glob("part-*"):
        footer = pq.read_metadata(file)
        found += [footer.row_group(g).column(1).total_uncompressed_size for g in range(footer.num_row_groups)]
    return found


def test_a_group_has_at_most_8192_rows(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "s", FORM, SCHEMA) as writer:
        for start in range(0, 100_000, 5_000):
            writer.write(rows(start, start + 5_000, lambda i: 1))
    parts = Parts(tmp_path / "s", FORM)
    assert len(parts) == 100_000
    assert {n for *_, n in parts.groups()} == {8192, 100_000 % 8192}
    assert parts.table(["id"])["id"].to_pylist() == [f"ö{i}" for i in range(100_000)]


def test_heavy_columns_are_plain_without_statistics(tmp_path: Path) -> None:
    write_all(tmp_path / "s")
    group = pq.read_metadata(tmp_path / "s" / "part-00000.parquet").row_group(0)
    by_name = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {c.compression for c in by_name.values()} == {"UNCOMPRESSED"}
    assert not by_name["heavy"].is_stats_set
    assert not by_name["heavy"].has_dictionary_page
    assert by_name["value"].is_stats_set
    assert by_name["tags.list.element"].has_dictionary_page


def test_an_empty_store_opens_here_and_with_pyarrow(tmp_path: Path) -> None:
    write_all(tmp_path / "s", 0)
    parts = Parts(tmp_path / "s", FORM)
    assert (len(parts), parts.manifest.complete) == (0, True)
    assert parts.table().schema.names == SCHEMA.names
    assert list(parts.groups()) in ([], [(0, 0, 0, 0)])
    assert pq.read_table(tmp_path / "s").num_rows == 0
    with PartWriter(tmp_path / "s", FORM, SCHEMA, resume=True, **SMALL) as writer:
        writer.write(rows(0, 200))
    assert everything(tmp_path / "s") == everything(write_all(tmp_path / "whole"))


def test_a_row_counts_the_bytes_of_its_values() -> None:
    batch = rows(0, 8)
    expected = []
    for row in batch.to_pylist():
        tags = row["tags"] or []
        expected.append(len(row["id"].encode()) + 4 + len(row["heavy"]) + 4 + 8 + 4 + sum(len(t) + 4 for t in tags))
    assert row_bytes(batch).tolist() == expected
    assert row_bytes(batch.slice(3, 4)).tolist() == expected[3:7]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 3)
    structs = pa.array([{"a": 1}, None])
    assert row_bytes(pa.RecordBatch.from_arrays([vectors, structs], ["v", "s"])).tolist() == [76, 76]


# content


KINDS = st.sampled_from(["text", "float", "lists", "flag", "date", "vector"])


@given(KINDS, st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=20), st.data())
def test_hash_of_rows_forgets_slices_and_copies(kind: str, seeds: list[int | None], data: st.DataObject) -> None:
    array = _array(kind, seeds)
    start = data.draw(st.integers(0, len(seeds)))
    stop = data.draw(st.integers(start, len(seeds)))
    sliced = pa.RecordBatch.from_arrays([array.slice(start, stop - start)], ["x"])
    again = pa.RecordBatch.from_arrays([_array(kind, seeds[start:stop])], ["x"])
    assert hash_rows(sliced) == hash_rows(again)
    if stop > start:
        other = list(seeds[start:stop])
        other[0] = None if other[0] is not None else 3
        assert hash_rows(pa.RecordBatch.from_arrays([_array(kind, other)], ["x"])) != hash_rows(again)


def _array(kind: str, seeds: list[int | None]) -> Any:
    made: dict[str, tuple[Any, Callable[[int], Any]]] = {
        "text": (pa.string(), lambda i: "é" * i),
        "float": (pa.float32(), lambda i: i / 3),
        "lists": (pa.list_(pa.string()), lambda i: ["a"] * i),
        "flag": (pa.bool_(), lambda i: i % 2 == 0),
        "date": (pa.date32(), lambda i: i),
        "vector": (pa.list_(pa.float32(), 2), lambda i: [i, -i]),
    }
    arrow, value = made[kind]
    return pa.array([None if i is None else value(i) for i in seeds], arrow)


def test_content_is_that_of_the_values(tmp_path: Path) -> None:
    first = Parts(write_all(tmp_path / "a"), FORM).manifest
    same = Parts(write_all(tmp_path / "b", metadata={"told": "otherwise"}), FORM).manifest
    longer = Parts(write_all(tmp_path / "c", 201), FORM).manifest
    assert first.content == same.content != longer.content
    assert first.metadata != same.metadata


def test_manifest_tells_parts_rows_content_version_columns_and_metadata(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "s", FORM, SCHEMA, metadata={"space": "9f3a", "größe": [1, 2]}, **SMALL) as writer:
        writer.write(rows(0, 200))
        writer.close({"at the end": True})
    told = json.loads((tmp_path / "s" / "_manifest.json").read_text("utf-8"))
    assert (told["kind"], told["format_version"], told["complete"], told["rows"]) == ("things", 1, True, 200)
    assert told["columns"]["tags"] == "list<item: string>"
    assert [p["name"] for p in told["parts"]] == sorted(f.name for f in (tmp_path / "s").glob("part-*"))
    assert sum(p["rows"] for p in told["parts"]) == 200
    assert len(told["content"]) == 64
    assert told["metadata"]["space"] == "9f3a"
    assert told["metadata"]["at the end"] is True
    assert "pyarrow" in told["metadata"]["software"]
    footer = pq.read_schema(tmp_path / "s" / "part-00000.parquet").metadata[b"morphospace"]
    inside = json.loads(footer)
    assert (inside["kind"], inside["format_version"], inside["größe"]) == ("things", 1, [1, 2])


# opening what is not as it should be


def test_open_refuses_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        Parts(tmp_path / "none", FORM)
    with pytest.raises(StoreError, match=r"no store of things: it has no _manifest\.json"):
        Parts(tmp_path, FORM)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="no store of things"):
        Parts(tmp_path / "file", FORM)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "things", "format_version": 1}', "\x00"])
def test_open_refuses_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    write_all(tmp_path / "s")
    (tmp_path / "s" / "_manifest.json").write_text(text)
    with pytest.raises(StoreError, match="damaged"):
        Parts(tmp_path / "s", FORM)


def test_open_says_which_release_reads_a_newer_format(tmp_path: Path) -> None:
    write_all(tmp_path / "s")
    file = tmp_path / "s" / "_manifest.json"
    told = json.loads(file.read_text())
    told["format_version"] = 7
    told["metadata"]["software"]["morphospace"] = "3.1.4"
    del told["parts"]  # whatever else a newer format changes
    file.write_text(json.dumps(told))
    with pytest.raises(StoreError, match=r"format version 7, written by morphospace 3\.1\.4.*up to version 1: upgrade"):
        Parts(tmp_path / "s", FORM)
    with pytest.raises(StoreError, match="version 7"):
        PartWriter(tmp_path / "s", FORM, SCHEMA, resume=True)


def test_open_says_what_a_store_of_another_kind_holds(tmp_path: Path) -> None:
    write_all(tmp_path / "s")
    with pytest.raises(StoreError, match="holds things, not embeddings"):
        read_manifest(tmp_path / "s", kind="embeddings", format_version=1)


def test_a_missing_and_a_cut_part_are_named(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s")
    cut = path / "part-00001.parquet"
    cut.write_bytes(cut.read_bytes()[:-9])
    parts = Parts(path, FORM)
    with pytest.raises(StoreError, match=r"part-00001\.parquet' cannot be read"):
        parts.table()
    cut.unlink()
    with pytest.raises(StoreError, match=r"lacks part-00001\.parquet"):
        Parts(path, FORM)


def test_a_damaged_schema_is_named(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s")
    (path / "_common_metadata").write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match="_common_metadata' cannot be read"):
        Parts(path, FORM)
    pq.write_metadata(SCHEMA, path / "_common_metadata", store_schema=False)
    with pytest.raises(StoreError, match="_common_metadata' cannot be read"):
        Parts(path, FORM)


def test_a_part_with_other_rows_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s")
    (path / "part-00000.parquet").write_bytes((path / "part-00002.parquet").read_bytes())
    with pytest.raises(StoreError, match="but the manifest says"):
        Parts(path, FORM).table()


def test_the_writer_overwrites_nothing_unasked(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s")
    before = everything(path)
    with pytest.raises(StoreError, match="resume=True to go on with it, overwrite=True to replace it"):
        PartWriter(path, FORM, SCHEMA)
    with pytest.raises(StoreError, match="begun with other columns \\(see 'extra'\\)"):
        PartWriter(path, FORM, SCHEMA.append(pa.field("extra", pa.int8())), resume=True)
    with pytest.raises(StoreError, match="see 'tags'"):
        PartWriter(path, FORM, SCHEMA.remove(3), resume=True)
    with pytest.raises(StoreError, match="holds things"):
        PartWriter(path, Form("cutouts", 1, ()), SCHEMA, overwrite=True)
    assert everything(path) == before
    write_all(path, 20, overwrite=True)
    assert everything(path) == everything(write_all(tmp_path / "whole", 20))


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_writer_leaves_other_folders_and_files_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="no store of things; choose another place"):
        PartWriter(tmp_path, FORM, SCHEMA, overwrite=overwrite)
    with pytest.raises(StoreError, match="no store of things; choose another place"):
        PartWriter(tmp_path / "thesis.tex", FORM, SCHEMA, overwrite=overwrite)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"]


def test_rows_that_do_not_fit_are_refused_and_the_next_may_follow(tmp_path: Path) -> None:
    with PartWriter(tmp_path / "s", FORM, SCHEMA, **SMALL) as writer:
        writer.write(rows(0, 100))
        with pytest.raises(DataError, match="do not fit the columns"):
            writer.write(rows(0, 1).select(["id"]))
        texts = pa.array(["a"])
        bad = pa.RecordBatch.from_arrays([texts, texts, texts, texts], SCHEMA.names)
        with pytest.raises(DataError, match="do not fit the columns"):
            writer.write(bad)
        writer.write(rows(100, 200))
    assert everything(tmp_path / "s") == everything(write_all(tmp_path / "whole"))


# interruptions


@pytest.fixture
def ram() -> Iterator[Path]:
    """Give a folder in memory where the system has one: renaming thousands of files on a disk takes long."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


class Killed(BaseException):
    """Stands for SIGKILL: nothing runs after it."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the process die before the n-th operation on the file system, and every one after it."""
    state = {"left": -1}

    def guard(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def guarded(*args: Any, **options: Any) -> Any:
            if state["left"] == 0:
                raise Killed
            state["left"] -= 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, guarded)

    for owner, name in [(Path, "replace"), (Path, "unlink"), (Path, "write_text"), (Path, "mkdir"), (os, "fsync")]:
        guard(owner, name)
    guard(pq, "write_metadata")
    guard(_parts._OpenPart, "add")

    def arm(n: int) -> None:
        state["left"] = n

    return arm


def _job(path: Path) -> None:
    """Write 40 rows, go on where an earlier call stopped, then put new values into a column of the first rows."""
    with PartWriter(path, FORM, SCHEMA, resume=True, part_bytes=8_000, group_bytes=3_000) as writer:
        done = writer.done(["id"])["id"].to_pylist()
        assert done == [f"ö{i}" for i in range(len(done))]
        for start in range(len(done), 40, 5):
            writer.write(rows(start, min(start + 5, 40)))
            if start == 10:
                writer.flush()
        writer.flush()
        old = writer.done(["value"])["value"].to_pylist()
        writer.replace({"value": [-1.0 if i < 9 else v for i, v in enumerate(old)]})


def test_a_kill_before_any_operation_on_files_loses_and_doubles_nothing(
    ram: Path, dying: Callable[[int], None]
) -> None:
    whole = ram / "whole"
    _job(whole)
    expected = Parts(whole, FORM).table()
    n = 0
    while True:
        path = ram / f"{n}"
        dying(n)
        try:
            _job(path)
        except Killed:
            pass
        else:
            break
        finally:
            dying(-1)
        if (path / "_manifest.json").exists():
            left = Parts(path, FORM)
            ids = left.table(["id"])["id"].to_pylist()
            assert ids == [f"ö{i}" for i in range(len(ids))]
            assert not left.manifest.complete or len(left) == 40
        _job(path)
        assert Parts(path, FORM).table().equals(expected)
        assert {f.name for f in path.iterdir()} - {"_manifest.json.tmp", "_common_metadata.tmp"} == {
            f.name for f in whole.iterdir()
        }
        assert Parts(path, FORM).manifest == Parts(whole, FORM).manifest
        n += 1
    assert n > 30  # the walk really went through all of it


def test_a_kill_while_overwriting_leaves_the_old_store_or_a_beginning_of_the_new(
    ram: Path, dying: Callable[[int], None]
) -> None:
    whole = write_all(ram / "whole", 30)
    n = 0
    while True:
        path = write_all(ram / f"{n}", 60)
        dying(n)
        try:
            write_all(path, 30, overwrite=True)
        except Killed:
            pass
        else:
            break
        finally:
            dying(-1)
        left = Parts(path, FORM)
        ids = left.table(["id"])["id"].to_pylist()
        assert ids == [f"ö{i}" for i in range(len(ids))]
        assert len(ids) in (60, 30) if left.manifest.complete else len(ids) <= 30
        write_all(path, 30, overwrite=True)
        assert everything(path) == everything(whole)
        n += 1
    assert n > 10


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from part_rows import *
with PartWriter({path!r}, FORM, SCHEMA, resume=True, **SMALL) as writer:
    start = writer.done(["id"]).num_rows
    print("ready", flush=True)
    for i in range(start, 400):
        writer.write(rows(i, i + 1))
        time.sleep(0.0005)
        if i % 50 == 0:
            writer.flush()
"""


def start_job(path: Path) -> subprocess.Popen[bytes]:
    script = SCRIPT.format(path=str(path), tests=str(Path(__file__).parent))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"ready", child.communicate()[1].decode()
    return child


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_killed_several_times_ends_with_the_same_bytes(tmp_path: Path, how: signal.Signals) -> None:
    if sys.platform == "win32":
        pytest.skip("signals are those of POSIX")
    moments = random.Random(5)
    whole = write_all(tmp_path / "whole", 400)
    path = tmp_path / "s"
    counts = []
    for _ in range(3):
        child = start_job(path)
        time.sleep(moments.uniform(0.0, 0.12))
        child.send_signal(how)
        _, said = child.communicate(timeout=30)
        assert child.returncode == -how, said.decode()
        parts = Parts(path, FORM)
        table = parts.table(["id"])["id"].to_pylist()
        assert table == [f"ö{i}" for i in range(len(table))]
        assert not any(f.name.startswith("_part") for f in path.iterdir()) or how == signal.SIGKILL
        counts.append(len(table))
    assert counts == sorted(counts)
    child = start_job(path)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 0, said.decode()
    assert everything(path) == everything(whole)


def test_parts_that_no_manifest_names_are_ignored_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with PartWriter(path, FORM, SCHEMA, **SMALL) as writer:
        writer.write(rows(0, 100))
    for name in ("part-00007.parquet", "_part-00003.tmp"):
        (path / name).write_bytes(b"rubbish")
    assert len(Parts(path, FORM)) == 100
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        assert writer.done(["id"]).num_rows == 100
        writer.write(rows(100, 200))
    assert everything(path) == everything(write_all(tmp_path / "whole"))


def test_an_exception_keeps_the_rows_so_far(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(ZeroDivisionError), PartWriter(path, FORM, SCHEMA, **SMALL) as writer:  # noqa: PT012
        writer.write(rows(0, 150))
        1 / 0  # noqa: B018
    left = Parts(path, FORM)
    assert (len(left), left.manifest.complete) == (150, False)
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        writer.write(rows(150, 200))
    assert everything(path) == everything(write_all(tmp_path / "whole"))


def test_resuming_a_complete_store_changes_nothing(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s")
    before = everything(path)
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        assert writer.rows == 200
    assert everything(path) == before


def test_a_full_disk_leaves_what_was_complete_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    left = {"writes": 20}
    original = _parts._OpenPart.add

    def full(self: Any, *args: Any) -> None:
        left["writes"] -= 1
        if left["writes"] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(self, *args)

    monkeypatch.setattr(_parts._OpenPart, "add", full)
    with pytest.raises(StoreError, match=r"cannot write .*No space left.*resume=True"):  # noqa: PT012
        with PartWriter(path, FORM, SCHEMA, **SMALL) as writer:
            for i in range(200):
                writer.write(rows(i, i + 1))
    assert writer.failed
    with pytest.raises(StoreError, match="broken off before"):
        writer.write(rows(0, 1))
    n = len(Parts(path, FORM))
    assert 0 < n < 200
    assert not list(path.glob("_part*"))
    monkeypatch.undo()
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        writer.write(rows(n, 200))
    assert everything(path) == everything(write_all(tmp_path / "whole"))


FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
from part_rows import *
from morphospace.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    with PartWriter({path!r}, FORM, SCHEMA, part_bytes={part_bytes}, group_bytes=2_000) as writer:
        for i in range(200):
            writer.write(rows(i, i + 1, lambda i: 60_000 if i == 150 else row_size(i)))
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("part_bytes", [8_000, 40_000])
def test_a_file_that_may_not_grow_ends_like_a_full_disk(tmp_path: Path, part_bytes: int) -> None:
    if sys.platform == "win32":
        pytest.skip("limits are those of POSIX")
    path = tmp_path / "s"
    script = FULL.format(path=str(path), tests=str(Path(__file__).parent), part_bytes=part_bytes)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.stdout.decode().startswith("cannot write"), ended
    assert ended.stderr == b""
    n = len(Parts(path, FORM))
    assert n == (0 if part_bytes == 40_000 else 150)  # the parts before row 150 are complete

    def size(i: int) -> int:
        return 60_000 if i == 150 else row_size(i)

    options = {"part_bytes": part_bytes, "group_bytes": 2_000}
    with PartWriter(path, FORM, SCHEMA, resume=True, **options) as writer:
        writer.write(rows(n, 200, size))
    assert everything(path) == everything(write_all(tmp_path / "whole", size=size, **options))


TINY = """
import os, sys
sys.path.insert(0, {tests!r})
from part_rows import *
from morphospace._parts import Parts
from morphospace.errors import StoreError
store, whole = Path({room!r}) / "s", write_all(Path({whole!r}))
with open({room!r} + "/fill", "wb") as fill:
    fill.write(bytes(100_000))
try:
    write_all(store)
except StoreError as error:
    print(error)
os.truncate({room!r} + "/fill", 0)
n = len(Parts(store, FORM))
with PartWriter(store, FORM, SCHEMA, resume=True, **SMALL) as writer:
    writer.write(rows(n, 200))
print(n, all((store / f.name).read_bytes() == f.read_bytes() for f in whole.iterdir()))
"""


def test_a_tiny_file_system_that_fills_up(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    script = TINY.format(tests=str(Path(__file__).parent), room=str(room), whole=str(tmp_path / "whole"))
    mount = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=160k tmpfs "{room}" && exec "$@"', "sh"]
    if sys.platform != "linux" or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    ended = subprocess.run([*mount, sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.stderr == b""
    error, told = ended.stdout.decode().splitlines()
    assert "No space left" in error
    n, equal = told.split()
    assert 0 < int(n) < 200
    assert equal == "True"


# replacing values


def test_replace_writes_only_the_parts_that_change(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s")
    parts = Parts(path, FORM)
    old = parts.table(["value"])["value"].to_pylist()
    new = list(old)
    row = int(parts.starts[1]) + 3
    new[row] = 99.0
    before = everything(path)
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        assert writer.replace({"value": old}) == 0
        assert everything(path) == before
        assert writer.replace({"value": new}) == 1
        assert not Parts(path, FORM).manifest.complete
    after = everything(path)
    assert {name for name in after if after[name] != before[name]} == {"part-00001.parquet", "_manifest.json"}
    found = Parts(path, FORM)
    assert found.table(["value"])["value"].to_pylist() == new
    assert found.table(["heavy"]).equals(parts.table(["heavy"]))
    assert found.manifest.complete
    assert found.manifest.content != json.loads(before["_manifest.json"])["content"]
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        writer.replace({"value": pa.array(old)})
    assert everything(path) == before


def test_replace_refuses_what_does_not_fit(tmp_path: Path) -> None:
    path = write_all(tmp_path / "s", 5)
    before = everything(path)
    with PartWriter(path, FORM, SCHEMA, resume=True, **SMALL) as writer:
        with pytest.raises(DataError, match="no column 'valeu'"):
            writer.replace({"valeu": [1.0] * 5})
        with pytest.raises(ShapeError, match="each of the 5 rows; got 4"):
            writer.replace({"value": [1.0] * 4})
        with pytest.raises(DataError, match="does not fit column 'value'"):
            writer.replace({"value": ["x"] * 5})
    assert everything(path) == before


# reading


def test_parts_travel_to_other_processes_and_leave_no_file_open(tmp_path: Path) -> None:
    parts = Parts(write_all(tmp_path / "s"), FORM)
    parts.table()
    again = pickle.loads(pickle.dumps(parts))
    assert again.table().equals(parts.table())
    if sys.platform == "linux":
        held = [
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if fd.isdigit() and os.path.islink(f"/proc/self/fd/{fd}")
        ]
        assert not [name for name in held if str(tmp_path) in name]


def test_lru_forgets_what_was_not_used_for_longest() -> None:
    made: list[str] = []

    def make(key: str, weight: int) -> Callable[[], tuple[str, int]]:
        def now() -> tuple[str, int]:
            made.append(key)
            return key.upper(), weight

        return now

    lru: Lru[str, str] = Lru(10)
    assert lru.get("a", make("a", 4)) == "A"
    lru.get("b", make("b", 4))
    lru.get("a", make("a", 4))
    lru.get("c", make("c", 4))  # b goes
    lru.get("a", make("a", 4))
    lru.get("b", make("b", 4))  # c goes
    assert made == ["a", "b", "c", "b"]
    lru.get("d", make("d", 99))  # too heavy, and kept alone
    assert len(lru) == 1
    assert len(pickle.loads(pickle.dumps(lru))) == 0


def test_lru_serves_threads() -> None:
    lru: Lru[int, int] = Lru(5)
    wrong: list[int] = []

    def use(seed: int) -> None:
        numbers = random.Random(seed)
        for _ in range(2000):
            key = numbers.randrange(12)
            if lru.get(key, lambda key=key: (key * key, 1)) != key * key:
                wrong.append(key)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(lru) <= 5


def test_replacing_removes_what_was_begun(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), _manifest.replacing(target) as beside:  # noqa: PT012
        beside.write_text("half")
        1 / 0  # noqa: B018
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"x.json": "old"}
    with _manifest.replacing(target) as beside:
        assert beside.name.startswith("_")
        beside.write_text("new")
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"x.json": "new"}
