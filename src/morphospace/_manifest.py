"""The manifest of a folder of Parquet parts, and writing files so that a kill leaves the old or the new one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from morphospace.errors import StoreError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "MANIFEST",
    "Manifest",
    "Part",
    "only_writer",
    "read_manifest",
    "replacing",
    "software_versions",
    "write_manifest",
]

MANIFEST = "_manifest.json"
LOCK = "_lock"


@dataclass(frozen=True)
class Part:
    """One Parquet file that is complete.

    ``content`` is a SHA-256 over its values, empty while the values are being replaced.
    """

    name: str
    rows: int
    content: str


@dataclass(frozen=True)
class Manifest:
    """What is complete in a folder of parts.

    ``columns`` names each column with its Arrow type in words; ``metadata`` is free and must survive JSON.
    """

    kind: str
    format_version: int
    complete: bool
    columns: Mapping[str, str]
    parts: tuple[Part, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows in the parts that are complete."""
        return sum(part.rows for part in self.parts)

    @property
    def content(self) -> str:
        """SHA-256 over columns and values: equal rows give equal content, on any machine and however written."""
        told = [self.kind, self.format_version, list(self.columns.items()), [p.content for p in self.parts if p.rows]]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def software_versions() -> dict[str, str]:
    """Name the releases that write a store: morphospace, pyarrow and numpy."""
    found = {}
    for name in ("morphospace", "pyarrow", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def read_manifest(path: Path, *, kind: str, format_version: int) -> Manifest:
    """Read the manifest of a store.

    Parameters
    ----------
    path : Path
        Folder of the store.
    kind : str
        What it must hold, in one plural word: ``"cutouts"`` or ``"embeddings"``.
    format_version : int
        Newest version of the format that this release reads.

    Raises
    ------
    StoreError
        If there is none, or it is damaged, of another kind or of a newer format.
    """
    try:
        raw = json.loads((path / MANIFEST).read_text("utf-8"))
        found_kind, found_version = str(raw["kind"]), int(raw["format_version"])
    except (FileNotFoundError, NotADirectoryError):
        what = "it has no _manifest.json" if path.is_dir() else "there is no such folder"
        msg = f"'{path}' is no store of {kind}: {what}."
        raise StoreError(msg) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(_damaged(path, error)) from error
    if found_kind != kind:
        msg = f"'{path}' holds {found_kind}, not {kind}; give a folder of {kind}."
        raise StoreError(msg)
    if found_version > format_version:
        writer = raw.get("metadata", {}).get("software", {}).get("morphospace", "a newer release")
        msg = (
            f"'{path}' has format version {found_version}, written by morphospace {writer}; this release reads "
            f"up to version {format_version}: upgrade with pip install -U morphospace."
        )
        raise StoreError(msg)
    try:
        return Manifest(
            kind=found_kind,
            format_version=found_version,
            complete=bool(raw["complete"]),
            columns=dict(raw["columns"]),
            parts=tuple(Part(str(p["name"]), int(p["rows"]), str(p["content"])) for p in raw["parts"]),
            metadata=dict(raw["metadata"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"'{path / MANIFEST}' is damaged ({type(error).__name__}: {error}); take the folder from a copy, or delete it."
    )


def only_writer(folder: Path, kind: str) -> Callable[[], None]:
    """Lock a folder for one writer; return what unlocks it. The end of the process does so as well.

    Raises
    ------
    StoreError
        If another process, or another writer of this one, has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    unlock = partial(os.close, lock)
    try:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        unlock()
        msg = (
            f"another process is writing the {kind} in '{folder}'; wait until it has ended, or write to another place."
        )
        raise StoreError(msg) from None
    except OSError:  # some network disks have no locks
        pass
    return unlock


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Put a manifest in place of the one before, in one step."""
    text = json.dumps(
        {
            "kind": manifest.kind,
            "format_version": manifest.format_version,
            "complete": manifest.complete,
            "rows": manifest.rows,
            "content": manifest.content,
            "columns": dict(manifest.columns),
            "parts": [{"name": p.name, "rows": p.rows, "content": p.content} for p in manifest.parts],
            "metadata": dict(manifest.metadata),
        },
        indent=1,
        ensure_ascii=False,
    )
    with replacing(path / MANIFEST) as beside:
        beside.write_text(text, "utf-8")


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside ``target`` to write to; when the block ends well the file is synced and takes its place.

    Its name begins with an underscore, so that whoever reads the folder meanwhile leaves it out. After an
    exception it is removed.
    """
    beside = target.with_name("_" + target.name.lstrip("_") + ".tmp")
    try:
        yield beside
        publish(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def publish(beside: Path, target: Path) -> None:
    """Sync a finished file to the disk and rename it, then sync the folder, so that a power cut leaves no hole."""
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
