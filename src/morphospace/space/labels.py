"""Labels that an observer gives to objects: in one SQLite file beside the embeddings, every click on disk at once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.space.embeddings import Embeddings
from morphospace.space.label_files import write_labels

__all__ = ["KINDS", "MOST_INTEREST", "Label", "LabelSet", "Labels", "Value", "labels_path"]

KINDS = ("interest", "class")
MOST_INTEREST = 5
Value = int | str

_APPLICATION = 0x6D6F7270  # "morp": marks the file as one of labels
_WAIT_SECONDS = 30.0  # for another process that is writing
_LONGEST_NAME = 80


class LabelSet(NamedTuple):
    """One question that an observer answers for objects."""

    name: str
    kind: str
    """``"interest"``: values from 0 to 5. ``"class"``: one of ``classes``."""
    classes: tuple[str, ...]
    n: int
    """Number of objects that have a label now."""
    can_undo: bool


class Label(NamedTuple):
    """The label that an object has now."""

    id: str
    value: Value
    when: str
    """Time of the click, ISO 8601, UTC."""


def labels_path(emb: Embeddings) -> Path:
    """Say where the labels of embeddings are kept: ``disks.labels.sqlite`` beside ``disks.emb``.

    Parameters
    ----------
    emb : Embeddings

    Raises
    ------
    DataError
        If the embeddings are in memory only.
    """
    if emb.path is None:
        msg = "labels are kept beside the folder of the embeddings and these are in memory only; write them with out=."
        raise DataError(msg)
    path = emb.path.resolve()
    return path.parent / f"{path.name.removesuffix('.emb')}.labels.sqlite"


class Labels:
    """The label sets of embeddings; threads and processes may share the file.

    Nothing is written before the first set is made. A call that has returned has its labels on the disk: neither a
    killed process nor a power cut loses them.

    Parameters
    ----------
    emb : Embeddings
        Opened from a folder; labels are for its ids. Labels given to ids that it no longer has are kept.

    Raises
    ------
    DataError
        If the embeddings are in memory only.
    """

    def __init__(self, emb: Embeddings) -> None:
        self.path = labels_path(emb)
        self._emb = emb
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Labels('{self.path.name}', {len(self.sets())} sets)"

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def sets(self) -> list[LabelSet]:
        """List the sets in the order in which they were made.

        Raises
        ------
        StoreError
            If the file is damaged, no file of labels or of a newer release.
        """
        if not self.path.exists():
            return []
        with self._transaction() as db:
            found = db.execute("SELECT id, name, kind FROM sets ORDER BY id").fetchall()
            return [_described(db, *row) for row in found]

    def create(self, name: str, kind: str = "interest", *, classes: Sequence[str] = ()) -> LabelSet:
        """Make a set; one that is there with the same kind is given the classes that it does not have yet.

        Parameters
        ----------
        name : str
            1 to 80 printable characters.
        kind : {"interest", "class"}
        classes : sequence of str
            Of kind ``"class"``: at least one; named like the set.

        Raises
        ------
        ConfigError
            If the kind is unknown, a name cannot be used, or classes and kind do not go together.
        DataError
            If the set exists with another kind.
        StoreError
            If the file cannot be written.
        """
        _check_new(name, kind, classes)
        with self._transaction(write=True, create=True) as db:
            row = db.execute("SELECT id, kind FROM sets WHERE name = ?", (name,)).fetchone()
            if row is not None and row[1] != kind:
                msg = f"label set '{name}' exists with kind '{row[1]}', not '{kind}'; choose another name."
                raise DataError(msg)
            if row is None:
                made = db.execute("INSERT INTO sets (name, kind, made) VALUES (?, ?, ?)", (name, kind, _now()))
                row = (made.lastrowid, kind)
            new = [(row[0], each) for each in classes]
            db.executemany("INSERT OR IGNORE INTO classes (set_id, name) VALUES (?, ?)", new)
            return _described(db, int(row[0]), name, kind)

    def give(self, name: str, ids: str | Sequence[str], value: Value | None) -> int:
        """Label objects: one step, which ``undo`` takes back as one.

        Parameters
        ----------
        name : str
            A set.
        ids : str or sequence of str
        value : int, str or None
            From 0 to 5, or one of the classes; None takes the label away.

        Returns
        -------
        int
            How many objects have another label than before. If none has, there is no step.

        Raises
        ------
        DataError
            If there is no such set, the value is not one of its own, or an id is not in the embeddings.
        StoreError
            If the file cannot be written; nothing has changed then.
        """
        wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        for each in wanted:
            self._emb.row_of(each)
        with self._transaction(write=True) as db:
            number, kind = self._find(db, name)
            checked = _checked(name, kind, _classes(db, number), value)
            changed = [each for each in wanted if _value(db, number, each) != checked]
            last = db.execute("SELECT coalesce(max(step), 0) FROM clicks WHERE set_id = ?", (number,)).fetchone()[0]
            now = _now()
            rows = [(number, last + 1, each, checked, now) for each in changed]
            db.executemany("INSERT INTO clicks (set_id, step, object, value, given) VALUES (?, ?, ?, ?, ?)", rows)
            return len(changed)

    def undo(self, name: str) -> tuple[str, ...]:
        """Take back the last step of a set; again for the one before, down to the first.

        Returns
        -------
        tuple of str
            Ids whose label changed; empty when there is nothing to take back.

        Raises
        ------
        DataError
            If there is no such set.
        """
        with self._transaction(write=True) as db:
            number, _ = self._find(db, name)
            last = db.execute("SELECT max(step) FROM clicks WHERE set_id = ?", (number,)).fetchone()[0]
            where = (number, last)
            ids = db.execute("SELECT object FROM clicks WHERE set_id = ? AND step = ? ORDER BY n", where).fetchall()
            db.execute("DELETE FROM clicks WHERE set_id = ? AND step = ?", where)
            return tuple(row[0] for row in ids)

    def labels(self, name: str) -> list[Label]:
        """Give the labels that objects have now, in the order of their clicks.

        Raises
        ------
        DataError
            If there is no such set.
        """
        with self._transaction() as db:
            number, _ = self._find(db, name)
            return [Label(*row) for row in db.execute(_CURRENT, (number,))]

    def values(self, name: str) -> dict[str, Value]:
        """Give the labels that objects have now, by id.

        Raises
        ------
        DataError
            If there is no such set.
        """
        return {each.id: each.value for each in self.labels(name)}

    def find(self, name: str) -> LabelSet:
        """Look up a set.

        Raises
        ------
        DataError
            If there is no such set; the nearest is named.
        """
        with self._transaction() as db:
            number, kind = self._find(db, name)
            return _described(db, number, name, kind)

    def table(self, name: str) -> pa.Table:
        """Give an Arrow table: ``id``, ``label`` (int8 or text), ``when``, and ``ra`` and ``dec`` where there are.

        Raises
        ------
        DataError
            If there is no such set.
        """
        found, kind = self.labels(name), self.find(name).kind
        columns = {
            "id": pa.array([each.id for each in found], pa.string()),
            "label": pa.array([each.value for each in found], pa.int8() if kind == "interest" else pa.string()),
            "when": pa.array([each.when for each in found], pa.string()),
        }
        rows = pa.array([self._emb.row_of(e.id) if e.id in self._emb else None for e in found], pa.int64())
        for axis in ("ra", "dec"):
            if axis in self._emb.columns:
                columns[axis] = self._emb.table([axis])[axis].combine_chunks().take(rows).cast(pa.float64())
        return pa.table(columns)

    def export(self, name: str, out: str | Path, *, format: str | None = None, overwrite: bool = False) -> Path:
        """Write the labels of a set for another program.

        Parameters
        ----------
        name : str
        out : path
        format : {"csv", "votable"}, optional
            Default: by the suffix of ``out`` (.csv; .vot, .votable, .xml).
        overwrite : bool
            Replace a file that is there.

        Returns
        -------
        Path
            The file, written beside and renamed.

        Raises
        ------
        DataError
            If there is no such set.
        ConfigError
            If the format is unknown or the suffix does not tell it.
        StoreError
            If ``out`` is there and ``overwrite`` is not given, or it cannot be written.
        """
        return write_labels(self.table(name), name, out, format=format, overwrite=overwrite)

    # ---- inside

    @contextmanager
    def _transaction(self, *, write: bool = False, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Open the file if need be and hold it for one transaction; SQLite's errors become sentences."""
        if not create and not self.path.exists():
            msg = f"there are no labels for embeddings {self._emb.name} yet; make a label set first."
            raise DataError(msg)
        try:
            with self._lock:
                db = self._opened()
                db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            msg = f"the labels '{self.path}' cannot be used ({error}); nothing of this step was written."
            raise StoreError(msg) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(self.path)
        return self._connection

    def _find(self, db: sqlite3.Connection, name: str) -> tuple[int, str]:
        row = db.execute("SELECT id, kind FROM sets WHERE name = ?", (name,)).fetchone()
        if row is None:
            known = [r[0] for r in db.execute("SELECT name FROM sets")]
            hint = nearest(name, known) if known else "; there is none yet, make one"
            msg = f"there is no label set '{name}' in '{self.path.name}'{hint}"
            raise DataError(msg)
        return int(row[0]), str(row[1])


# The row with the largest n of each object: SQLite takes the bare columns from there (its manual, lang_select 2.4).
_CURRENT = """SELECT object, value, given FROM
    (SELECT object, value, given, max(n) AS last FROM clicks WHERE set_id = ? GROUP BY object)
    WHERE value IS NOT NULL ORDER BY last"""


def _value(db: sqlite3.Connection, number: int, identifier: str) -> Value | None:
    last = "SELECT value FROM clicks WHERE set_id = ? AND object = ? ORDER BY n DESC LIMIT 1"
    row = db.execute(last, (number, identifier)).fetchone()
    return None if row is None else row[0]


def _classes(db: sqlite3.Connection, number: int) -> tuple[str, ...]:
    rows = db.execute("SELECT name FROM classes WHERE set_id = ? ORDER BY rowid", (number,)).fetchall()
    return tuple(row[0] for row in rows)


def _described(db: sqlite3.Connection, number: int, name: str, kind: str) -> LabelSet:
    n = db.execute(f"SELECT count(*) FROM ({_CURRENT})", (number,)).fetchone()[0]
    any_step = db.execute("SELECT 1 FROM clicks WHERE set_id = ? LIMIT 1", (number,)).fetchone()
    return LabelSet(name, kind, _classes(db, number), int(n), any_step is not None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- the file


def _m001_create(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE sets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, made TEXT)")
    db.execute("CREATE TABLE classes (set_id INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (set_id, name))")
    db.execute(
        "CREATE TABLE clicks (n INTEGER PRIMARY KEY AUTOINCREMENT, set_id INTEGER NOT NULL, step INTEGER NOT NULL, "
        "object TEXT NOT NULL, value, given TEXT NOT NULL)"
    )
    db.execute("CREATE INDEX by_object ON clicks (set_id, object, n)")
    db.execute("CREATE INDEX by_step ON clicks (set_id, step)")


#: Migration number i takes the file from version i to i + 1; applied when it is opened.
MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_m001_create]


def _open(path: Path) -> sqlite3.Connection:
    """Open the file, new or old, and bring it to the newest version."""
    db = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = FULL")  # a commit returns when the disk has it
        if _version(db, path) < len(MIGRATIONS):
            db.execute("PRAGMA journal_mode = WAL")  # stays with the file: readers see the last step while one writes
            db.execute("BEGIN IMMEDIATE")
            version = _version(db, path)  # again: another process may have been faster
            for number, migrate in enumerate(MIGRATIONS[version:], version + 1):
                migrate(db)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Read the version of the file, 0 for a new one, and refuse what is not ours or is newer."""
    version, owner = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
    if owner != _APPLICATION and (version or db.execute("SELECT 1 FROM sqlite_master").fetchone()):
        msg = f"'{path}' is a SQLite file of another program, not one of labels; move it away."
        raise StoreError(msg)
    if version > len(MIGRATIONS):
        msg = f"'{path}' was written by a newer release; upgrade with pip install -U morphospace."
        raise StoreError(msg)
    return int(version)


# ---- input


def _check_new(name: str, kind: str, classes: Sequence[str]) -> None:
    if kind not in KINDS:
        msg = f"unknown kind of labels '{kind}'{nearest(kind, KINDS)}"
        raise ConfigError(msg)
    for each in (name, *classes):
        if (
            not isinstance(each, str)
            or not each.isprintable()
            or each != each.strip()
            or not 0 < len(each) <= _LONGEST_NAME
        ):
            msg = (
                f"a label set and its classes have names of 1 to {_LONGEST_NAME} printable characters, no blank at "
                f"either end; got {each!r}."
            )
            raise ConfigError(msg)
    if len(set(classes)) != len(classes):
        msg = f"classes must each come once; got {', '.join(classes)}."
        raise ConfigError(msg)
    if (kind == "class") != bool(classes):
        need = "needs at least one class" if kind == "class" else "goes from 0 to 5 and has no classes"
        msg = f"label set '{name}' of kind '{kind}' {need}; got {len(classes)}."
        raise ConfigError(msg)


def _checked(name: str, kind: str, classes: Sequence[str], value: object) -> Value | None:
    """Give a value as the set keeps it."""
    if value is None:
        return None
    if kind == "class":
        if isinstance(value, str) and value in classes:
            return value
        msg = f"'{value}' is no class of label set '{name}'{nearest(str(value), classes)}"
        raise DataError(msg)
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if number and value in range(MOST_INTEREST + 1):
        return int(value)  # type: ignore[call-overload,no-any-return]
    msg = f"label set '{name}' takes whole numbers from 0 (dull) to {MOST_INTEREST} (interesting); got {value!r}."
    raise DataError(msg)
