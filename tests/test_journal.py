"""The journal: what was written is read back, whatever was cut off at its end."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.sky.curation.journal import JOURNAL, Entry, Journal, Row, Stamp, line_of, read_journal
from morphospace.sky.curation.prune import clear_leftovers, drop_rows
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter

NAN = math.nan
ROW = Row("a", 3, 7.5, (1, 4, 5), "00ff", 10.0, -5.0, "GG Tau", None)


def add(journal, *entries):
    journal.add("".join(map(line_of, entries)))


def entry(path="/d/a.fits", rows=(ROW,), error=None):
    return Entry(path, "a.fits", "a", Stamp(10, 20), error, rows, ("a remark",))


def test_entries_are_read_back_as_they_were(tmp_path):
    rows = (ROW, Row("b", 0, NAN, (3, 1, 1), "x", NAN, NAN, None, "CONSTANT"))
    entries = [entry(rows=rows), entry("/d/\udce9.fits", (), "it is 'bad'\n")]
    with Journal(tmp_path / JOURNAL, {"size": None, "keep": "all"}) as journal:
        add(journal, *entries)
    settings, found = read_journal(tmp_path / JOURNAL)
    assert settings == {"size": None, "keep": "all"}
    assert [repr(one) for one in found.values()] == [repr(one) for one in entries]


@given(cut=st.integers(0, 400))
def test_a_journal_cut_short_anywhere_keeps_its_whole_lines(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / JOURNAL
    with Journal(path, {}) as journal:
        add(journal, entry("/1"))
        add(journal, entry("/2"))
    raw = path.read_bytes()
    path.write_bytes(raw[: max(len(raw) - cut, 0)])
    _, found = read_journal(path)
    assert list(found) == ["/1", "/2"][: len(found)]
    if cut == 0:
        assert len(found) == 2


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path):
    with Journal(tmp_path / JOURNAL, {}, [entry("/1", error="old"), entry("/2")]) as journal:
        add(journal, entry("/1", error="new"))
    _, found = read_journal(tmp_path / JOURNAL)
    assert [(path, one.error) for path, one in found.items()] == [("/2", None), ("/1", "new")]


def test_a_journal_that_is_not_there_is_empty(tmp_path):
    assert read_journal(tmp_path / JOURNAL) == ({}, {})


def test_a_stamp_changes_with_the_file(tmp_path):
    file = tmp_path / "a"
    assert Stamp.of(file) == Stamp(-1, -1)
    file.write_text("x")
    first = Stamp.of(file)
    assert first == Stamp.of(file)
    file.write_text("xy")
    assert Stamp.of(file) != first


# -- taking rows out of the store ----------------------------------------------------------------------------------


def write_store(path, rows):
    with CutoutsWriter(path) as writer:
        for row in rows:
            pixels = np.random.default_rng(row).normal(size=(1, 20, 20)).astype(np.float32)
            writer.append(Cutout(id=str(row), image=pixels, group=str(row)))
    return Cutouts.open(path)


@pytest.fixture
def _small_parts(monkeypatch):
    from morphospace._parts import PartWriter

    monkeypatch.setitem(PartWriter.__init__.__kwdefaults__, "part_bytes", 12_000)
    monkeypatch.setitem(PartWriter.__init__.__kwdefaults__, "group_bytes", 4_000)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("gone", [[0], [29], [4, 5, 17], [*range(10, 30)], [*range(30)], []])
def test_dropping_rows_is_as_if_they_had_never_been_written(tmp_path, gone):
    store = write_store(tmp_path / "x", range(30))
    assert len(list(Path(store.path).glob("part-*"))) > 4
    drop_rows(store.path, np.array([row not in gone for row in range(30)]))
    wanted = write_store(tmp_path / "y", [row for row in range(30) if row not in gone])
    found = Cutouts.open(store.path)
    assert found.ids == wanted.ids
    assert found.fingerprint == wanted.fingerprint
    assert sorted(p.name for p in found.path.iterdir()) == sorted(p.name for p in wanted.path.iterdir())


@pytest.mark.usefixtures("_small_parts")
def test_parts_before_the_first_dropped_row_are_left_as_they_are(tmp_path):
    store = write_store(tmp_path / "x", range(30))
    before = {file.name: file.stat().st_mtime_ns for file in sorted(store.path.glob("part-*"))}
    drop_rows(store.path, np.arange(30) != 29)
    after = {file.name: file.stat().st_mtime_ns for file in sorted(store.path.glob("part-*"))}
    unchanged = [name for name in after if after[name] == before[name]]
    assert len(unchanged) >= len(before) - 2


def test_leftovers_of_a_kill_are_removed(tmp_path):
    (tmp_path / "_old-part-00001.parquet").touch()
    (tmp_path / "part-00001.parquet").touch()
    clear_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["part-00001.parquet"]
