"""Labels: durable, undone in any number of steps, shared by processes, the same in every export."""

from __future__ import annotations

import csv
import multiprocessing
import os
import sqlite3
import time

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.space import labels as labels_module
from morphospace.space.embeddings import Embeddings
from morphospace.space.labels import Labels, labels_path

IDS = ["a", "GG Tau", "<script>alert(1)</script>", "größe 🌌", "x'; DROP TABLE clicks; --", "=1+1"]


def held(folder, ids=IDS, **columns):
    return Embeddings.from_arrays(folder / "disks.emb", ids, np.eye(len(ids)), columns, overwrite=True)


@pytest.fixture
def emb(tmp_path):
    return held(tmp_path, ra=[1.0, None, 3.0, 4.0, 5.0, 6.0], dec=np.arange(6.0) - 3)


def test_labels_lie_beside_the_embeddings_and_reading_makes_no_file(emb, tmp_path):
    labels = Labels(emb)
    assert labels.path == labels_path(emb) == (tmp_path / "disks.labels.sqlite").resolve()
    assert labels.sets() == []
    with pytest.raises(DataError, match=r"there are no labels for embeddings 'disks\.emb' yet"):
        labels.values("mergers")
    assert not labels.path.exists()
    with pytest.raises(DataError, match="in memory only"):
        Labels(Embeddings.from_arrays(None, ["a"], [[1.0]]))


def test_sets_hold_what_was_given_whatever_the_names(emb):
    with Labels(emb) as labels:
        labels.create("mergers")
        labels.create("Art, größer", "class", classes=["ring", "'; --", "<b>"])
        for value, identifier in enumerate(IDS):
            assert labels.give("mergers", identifier, value) == 1
        assert labels.give("Art, größer", IDS[:3], "<b>") == 3
        assert labels.give("mergers", IDS[0], None) == 1
    with Labels(emb) as again:
        assert again.values("mergers") == {i: v for v, i in enumerate(IDS) if v}
        assert again.values("Art, größer") == dict.fromkeys(IDS[:3], "<b>")
        assert [(s.name, s.kind, s.classes, s.n, s.can_undo) for s in again.sets()] == [
            ("mergers", "interest", (), 5, True),
            ("Art, größer", "class", ("ring", "'; --", "<b>"), 3, True),
        ]


def test_a_click_that_changes_nothing_is_no_step(emb):
    labels = Labels(emb)
    labels.create("s")
    assert labels.give("s", "a", 3) == 1
    assert labels.give("s", "a", 3) == 0
    assert labels.give("s", ["a", "a", "GG Tau"], 3) == 1
    assert labels.give("s", "=1+1", None) == 0
    assert labels.give("s", "a", 4) == 1
    assert labels.give("s", "a", 4) == 0
    assert labels.give("s", "a", 3) == 1
    assert labels.undo("s") == labels.undo("s") == ("a",)
    assert labels.values("s") == {"a": 3, "GG Tau": 3}
    assert labels.undo("s") == ("GG Tau",)
    assert labels.undo("s") == ("a",)
    assert labels.undo("s") == ()
    assert labels.values("s") == {}


steps = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
        st.one_of(st.none(), st.integers(0, 5)),
    ),
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(0, 14))
def test_undo_gives_back_every_earlier_state_of_its_set_alone(emb, tmp_path, done, n_undone):
    for file in tmp_path.glob("disks.labels.sqlite*"):
        file.unlink()
    with Labels(emb) as labels:
        states = {"one": [{}], "two": [{}]}
        for name in states:
            labels.create(name)
        for name, ids, value in done:
            if labels.give(name, ids, value):
                states[name].append(labels.values(name))
        for _ in range(n_undone):
            changed = labels.undo("one")
            assert bool(changed) == (len(states["one"]) > 1)
            if changed:
                states["one"].pop()
            assert labels.values("one") == states["one"][-1]
        assert labels.values("two") == states["two"][-1]
        assert labels.find("one").can_undo == (len(states["one"]) > 1)


@pytest.mark.parametrize("value", [6, -1, 2.5, float("nan"), True, "3", "merger"])
def test_interest_out_of_range_is_refused(emb, value):
    labels = Labels(emb)
    labels.create("s")
    with pytest.raises(DataError, match="label set 's' takes whole numbers from 0"):
        labels.give("s", "a", value)
    assert labels.values("s") == {}


def test_numbers_of_numpy_and_json_are_numbers(emb):
    labels = Labels(emb)
    labels.create("s")
    labels.give("s", "a", np.int64(3))
    labels.give("s", "GG Tau", 4.0)
    assert labels.values("s") == {"a": 3, "GG Tau": 4}


def test_bad_input_is_told_in_a_sentence(emb):
    labels = Labels(emb)
    labels.create("kinds", "class", classes=["ring", "spiral"])
    with pytest.raises(DataError, match=r"'rings' is no class of label set 'kinds'; did you mean 'ring'\?"):
        labels.give("kinds", "a", "rings")
    with pytest.raises(DataError, match=r"'GG Tua' is no id in embeddings 'disks.emb'; did you mean 'GG Tau'\?"):
        labels.give("kinds", ["a", "GG Tua"], "ring")
    assert labels.values("kinds") == {}
    with pytest.raises(DataError, match=r"there is no label set 'kind' in .*; did you mean 'kinds'\?"):
        labels.give("kind", "a", "ring")
    with pytest.raises(DataError, match="label set 'kinds' exists with kind 'class', not 'interest'"):
        labels.create("kinds")
    with pytest.raises(ConfigError, match="unknown kind of labels 'classes'; did you mean 'class'"):
        labels.create("other", "classes")
    with pytest.raises(ConfigError, match="of kind 'class' needs at least one class; got 0"):
        labels.create("other", "class")
    with pytest.raises(ConfigError, match="has no classes; got 1"):
        labels.create("other", classes=["ring"])
    with pytest.raises(ConfigError, match="classes must each come once"):
        labels.create("other", "class", classes=["ring", "ring"])


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\0b", "x" * 81])
def test_names_that_cannot_be_shown_are_refused(emb, name):
    with pytest.raises(ConfigError, match="names of 1 to 80 printable characters"):
        Labels(emb).create(name)
    with pytest.raises(ConfigError, match="names of 1 to 80 printable characters"):
        Labels(emb).create("s", "class", classes=[name])


def test_a_set_made_again_gets_new_classes_and_loses_nothing(emb):
    labels = Labels(emb)
    labels.create("kinds", "class", classes=["ring"])
    labels.give("kinds", "a", "ring")
    assert labels.create("kinds", "class", classes=["spiral", "ring"]).classes == ("ring", "spiral")
    assert labels.values("kinds") == {"a": "ring"}


def test_labels_of_ids_that_are_gone_are_kept(emb, tmp_path):
    with Labels(emb) as labels:
        labels.create("s")
        labels.give("s", ["a", "GG Tau"], 5)
    with Labels(held(tmp_path, ["GG Tau"], ra=[7.0])) as labels:
        assert labels.values("s") == {"a": 5, "GG Tau": 5}
        assert labels.table("s")["ra"].to_pylist() == [None, 7.0]


# files


def test_exports_hold_every_label(emb, tmp_path):
    labels = Labels(emb)
    labels.create("s")
    labels.create("kinds", "class", classes=["r,ing", "größe"])
    for value, identifier in enumerate(IDS):
        labels.give("s", identifier, value)
        labels.give("kinds", identifier, ["r,ing", "größe"][value % 2])
    for name in ("s", "kinds"):
        want = labels.values(name)
        with labels.export(name, tmp_path / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["id"]: row["label"] for row in rows} == {i: str(v) for i, v in want.items()}
        assert [row["ra"] for row in rows][:3] == ["1", "", "3"]
        table = Table.read(labels.export(name, tmp_path / f"{name}.vot"))
        assert {str(row["id"]): row["label"] for row in table} == want
        assert str(table["dec"].unit) == "deg"
        assert [e.when for e in labels.labels(name)] == [str(w) for w in table["when"]]
    with pytest.raises(StoreError, match="is there already"):
        labels.export("s", tmp_path / "s.csv")
    labels.give("s", "a", 5)
    labels.export("s", tmp_path / "s.csv", overwrite=True)
    assert '"a",5' in (tmp_path / "s.csv").read_text()
    with pytest.raises(ConfigError, match=r"'s.txt' does not say which format to write"):
        labels.export("s", tmp_path / "s.txt")
    with pytest.raises(ConfigError, match="unknown format 'vot' for labels; did you mean 'votable'"):
        labels.export("s", tmp_path / "s.txt", format="vot")
    with pytest.raises(StoreError, match="cannot be written"):
        labels.export("s", tmp_path / "absent" / "s.csv")


def test_an_empty_set_is_exported(emb, tmp_path):
    labels = Labels(emb)
    labels.create("s")
    assert len(Table.read(labels.export("s", tmp_path / "s.vot"))) == 0
    assert labels.export("s", tmp_path / "s.csv").read_text().startswith('"id","label","when","ra","dec"')


# the file


def test_old_files_are_migrated_and_newer_ones_refused(emb, monkeypatch):
    with Labels(emb) as labels:
        labels.create("s")
        labels.give("s", "a", 2)

    def m002_note(db):
        db.execute("ALTER TABLE clicks ADD COLUMN note TEXT")

    with monkeypatch.context() as patch:
        patch.setattr(labels_module, "MIGRATIONS", [*labels_module.MIGRATIONS, m002_note])
        with Labels(emb) as labels:
            assert labels.values("s") == {"a": 2}
            labels.give("s", "GG Tau", 3)
    db = sqlite3.connect(labels_path(emb))
    assert db.execute("PRAGMA user_version").fetchone()[0] == 2
    assert db.execute("SELECT count(note), count(*) FROM clicks").fetchone() == (0, 2)
    db.close()
    with pytest.raises(StoreError, match="was written by a newer release"):
        Labels(emb).sets()


def test_a_migration_that_fails_leaves_the_file_as_it_was(emb, monkeypatch):
    with Labels(emb) as labels:
        labels.create("s")

    def fail(db):
        db.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(labels_module, "MIGRATIONS", [*labels_module.MIGRATIONS, fail])
        with pytest.raises(StoreError, match="cannot be used"):
            Labels(emb).sets()
    assert [s.name for s in Labels(emb).sets()] == ["s"]
    db = sqlite3.connect(labels_path(emb))
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    db.close()


def test_foreign_and_damaged_files_are_refused(emb):
    path = labels_path(emb)
    path.write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match=r"the labels .* cannot be used \(file is not a database\)"):
        Labels(emb).create("s")
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="is a SQLite file of another program"):
        Labels(emb).create("s")


# processes


def click_for_ever(folder, said):
    labels = Labels(Embeddings.open(folder / "disks.emb"))
    n = 0
    with said.open("a") as stream:
        while True:
            labels.give("s", f"o{n}", n % 6)
            stream.write(f"{n}\n")  # after the call has returned
            stream.flush()
            n += 1


def click_some(folder, name, first):
    with Labels(Embeddings.open(folder / "disks.emb")) as labels:
        labels.create("s")
        labels.create(name)
        for n in range(first, first + 40):
            labels.give("s", f"o{n}", n % 6)
            labels.give(name, f"o{n}", 5)
            assert len(labels.values("s")) > 0


def process(target, *args):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["morphospace.space.labels"])
    return context.Process(target=target, args=args, daemon=True)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
def test_a_killed_process_loses_no_click_that_was_confirmed(tmp_path):
    said = tmp_path / "said"
    emb = Embeddings.from_arrays(
        tmp_path / "disks.emb", [f"o{i}" for i in range(50_000)], np.ones((50_000, 1)), overwrite=True
    )
    with Labels(emb) as labels:
        labels.create("s")
    child = process(click_for_ever, tmp_path, said)
    child.start()
    end = time.monotonic() + 60
    while not said.exists() or said.read_text().count("\n") < 50:
        assert time.monotonic() < end
        time.sleep(0.01)
    child.kill()
    child.join()
    assert child.exitcode == -9
    confirmed = said.read_text().count("\n")
    with Labels(emb) as labels:
        values = labels.values("s")
        assert confirmed <= len(values) <= confirmed + 1
        assert all(values[f"o{n}"] == n % 6 for n in range(confirmed))
        assert labels.give("s", "o49999", 1) == 1


def test_processes_share_the_file(tmp_path):
    emb = Embeddings.from_arrays(tmp_path / "disks.emb", [f"o{i}" for i in range(200)], np.ones((200, 1)))
    children = [process(click_some, tmp_path, f"own {k}", 40 * k) for k in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    with Labels(emb) as labels:
        assert labels.values("s") == {f"o{n}": n % 6 for n in range(120)}
        assert sorted(s.name for s in labels.sets()) == ["own 0", "own 1", "own 2", "s"]


def test_every_commit_is_synced(emb):
    labels = Labels(emb)
    labels.create("s")
    assert labels._opened().execute("PRAGMA synchronous").fetchone()[0] == 2
    assert labels._opened().execute("PRAGMA journal_mode").fetchone()[0] == "wal"
