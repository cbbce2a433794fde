"""Downloading public labelled sets: resumed where they stopped, checked, and never half there under their name."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from morphospace._manifest import publish, replacing
from morphospace._optional import optional_import
from morphospace.errors import DataError, StoreError
from morphospace.sky.archives.datasets import File, find_dataset
from morphospace.sky.archives.web import Client, Response, WebError, check_url

__all__ = ["CHECKSUMS", "download"]

#: In the folder of a set: the SHA-256 of each file, as ``sha256sum -c`` reads it.
CHECKSUMS = "checksums.txt"
_CHUNK = 1 << 20
_logger = logging.getLogger(__name__)


def download(name: str, *, out: str | Path, url: str = "") -> tuple[Path, ...]:
    """Download a public labelled set and check it.

    Each file is written beside its place, as ``NAME.part``, and takes its name when it is complete and its checksum is
    right, so whatever stopped a download, the same call goes on where it was. A file that is there and right is passed
    over. Checksums that are published are compared; for the other files the SHA-256 of the first download is recorded
    in ``checksums.txt``, said so, and compared from then on. `morphospace data` alone lists the sets.

    Parameters
    ----------
    name : str
        Name of the set.
    out : path
        Folder for its files; made where there is none.
    url : str
        Address of a mirror, under which the files lie by their names; by default each comes from its publisher.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    ConfigError
        If the name or the address is none.
    DataError
        If a download stops half-way (the same call goes on), or its checksum differs (it is kept as ``NAME.bad``).
    StoreError
        If a file of that name is there that is not the one of the set, or the disk is too small.
    MissingDependencyError
        Without pooch, which the extra ``data`` brings.
    """
    dataset = find_dataset(name)
    folder = Path(out)
    files = [replace(file, url=f"{url.rstrip('/')}/{quote(file.name)}") if url else file for file in dataset.files]
    for file in files:
        check_url(file.url)
    _hash(None, "sha256")  # without pooch nothing is downloaded
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        _place(file, folder)
    return tuple(folder / file.name for file in files)


def _place(file: File, folder: Path) -> None:
    """Bring one file to its place, unless it is there."""
    target, recorded = folder / file.name, _recorded(folder)
    expected = file.checksum or (f"sha256:{recorded[file.name]}" if file.name in recorded else "")
    if target.exists():
        _check_present(target, expected)
        return
    part = _Part(file, target, exact=bool(expected))
    part.complete()
    found = _hash(part.path, "sha256")
    told = _hash(part.path, "md5") if expected.startswith("md5:") else found
    if expected and told != expected.partition(":")[2].lower():
        bad = target.with_name(f"{target.name}.bad")
        part.path.replace(bad)
        part.forget()
        whose = "its publisher's" if file.checksum else "that of the first download,"
        msg = (
            f"'{target.name}' from {file.url} is not what it should be: its checksum is {told}, not {whose} "
            f"{expected.partition(':')[2].lower()}; it is kept as '{bad}', start again to fetch it anew."
        )
        raise DataError(msg)
    _record(folder, {**recorded, file.name: found})
    if not expected:
        _logger.warning("'%s' has no published checksum; its SHA-256 %s is recorded in %s", target, found, CHECKSUMS)
    publish(part.path, target)
    part.forget()


def _check_present(target: Path, expected: str) -> None:
    """Refuse a file of the right name and another content; one of unknown checksum is recorded."""
    if not expected:
        msg = (
            f"'{target}' is there already and nothing is known to check it against; move it away to download it, or "
            f"keep it and add its SHA-256 to '{CHECKSUMS}' beside it."
        )
        raise StoreError(msg)
    algorithm, _, wanted = expected.partition(":")
    if _hash(target, algorithm) != wanted.lower():
        msg = f"'{target}' is there already and differs from what the set holds; move it away and start again."
        raise StoreError(msg)


class _Part:
    """A file on its way: what has come so far, and which state of the remote file it belongs to.

    With ``exact`` a checksum will tell whether the pieces fit; else only an unchanged remote file is resumed.
    """

    def __init__(self, file: File, target: Path, *, exact: bool) -> None:
        self.file, self.target, self.exact = file, target, exact
        self.path = target.with_name(f"{target.name}.part")
        self.state = target.with_name(f"{target.name}.part.json")
        self.client = Client()

    def forget(self) -> None:
        """Remove what was noted about the download."""
        self.state.unlink(missing_ok=True)

    def complete(self) -> None:
        """Fetch what is missing, with several attempts after each piece that came."""
        while True:
            before = self._size()
            try:
                self.client.attempt(self._continue)
            except WebError as error:
                there = self._size()
                if error.temporary and there > before:
                    continue
                kept = f"{there:,} bytes are kept in '{self.path}': the same command goes on there"
                advice = kept if there else "look whether the address opens in a browser and start again"
                msg = f"'{self.file.name}' could not be fetched from {self.file.url}: {error}; {advice}."
                raise DataError(msg) from error
            return

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _continue(self) -> None:
        """Ask for the rest and append it; a server that does not know ranges sends all and is taken from the start."""
        start = self._size()
        if start and start == self._noted().get("bytes", self.file.bytes):
            return
        try:
            with self.client.get(self.file.url, self._range(start)) as response:
                self._take(response, start if response.status == 206 else 0)
        except WebError as error:
            if error.status != 416:
                raise
            self.path.unlink(missing_ok=True)  # longer than what is there now: it is of another file
            self.forget()
            msg = "what had come before does not belong to it"
            raise WebError(msg, temporary=True) from error

    def _range(self, start: int) -> dict[str, str]:
        """Return the headers that ask for the rest, none to ask for all."""
        validator = str(self._noted().get("validator", ""))
        if not start or not (validator or self.exact):
            return {}
        return {"Range": f"bytes={start}-", **({"If-Range": validator} if validator else {})}

    def _take(self, response: Response, start: int) -> None:
        """Write the body from ``start`` on and see that it is all."""
        length = response.length
        total = start + length if length is not None else 0
        if start and not str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
            msg = "the server sent another range than was asked for"
            raise WebError(msg, temporary=False)
        if self.file.bytes and total and total != self.file.bytes:
            msg = f"it has {total:,} bytes there, not {self.file.bytes:,}"
            raise WebError(msg, temporary=False)
        if not (total or self.exact or response.chunked):
            msg = "the server does not say how long it is and no checksum is known, so a cut would not be seen"
            raise WebError(msg, temporary=False)
        self._check_room(length or 0)
        self._note(response, total)
        here = start
        for chunk in self._chunks(response, start, total):
            here += len(chunk)
        if total and here < total:
            msg = f"the connection was cut after {here:,} of {total:,} bytes"
            raise WebError(msg, temporary=True)

    def _chunks(self, response: Response, start: int, total: int) -> Iterator[bytes]:
        """Append the chunks of a body to the file, with a bar."""
        bar = tqdm(total=total or None, initial=start, unit="B", unit_scale=True, desc=self.file.name, disable=None)
        with bar, self.path.open("rb+" if start else "wb") as stream:
            stream.seek(start)
            while chunk := response.read1(_CHUNK):  # what has come: a kill loses none of it
                stream.write(chunk)
                stream.flush()
                bar.update(len(chunk))
                yield chunk

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            msg = f"'{self.target}' needs {needed:,} more bytes and the disk has {free:,}; choose another folder."
            raise StoreError(msg)

    def _noted(self) -> dict[str, Any]:
        """Return what was noted when the download began, nothing where it is of another address or damaged."""
        try:
            noted = json.loads(self.state.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) and noted.get("url") == self.file.url else {}

    def _note(self, response: Response, total: int) -> None:
        """Note what tells this state of the remote file from others: a strong ETag, else its date."""
        etag, date = response.headers.get("ETag") or "", response.headers.get("Last-Modified") or ""
        validator = date if not etag or etag.startswith("W/") else etag
        noted = {"url": self.file.url, "validator": validator, **({"bytes": total} if total else {})}
        with replacing(self.state) as beside:
            beside.write_text(json.dumps(noted), "utf-8")


def _hash(path: Path | None, algorithm: str) -> str:
    """Return the checksum of a file, in lower case."""
    pooch = optional_import("pooch", extra="data", purpose="Downloading data sets")
    return str(pooch.file_hash(str(path), alg=algorithm)).lower() if path else ""


def _recorded(folder: Path) -> dict[str, str]:
    """Read the checksums of earlier downloads."""
    try:
        text = (folder / CHECKSUMS).read_text("utf-8")
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {pair[1].lstrip("*"): pair[0].lower() for pair in pairs if len(pair) == 2}


def _record(folder: Path, checksums: Mapping[str, str]) -> None:
    with replacing(folder / CHECKSUMS) as beside:
        beside.write_text("".join(f"{checksum}  {name}\n" for name, checksum in sorted(checksums.items())), "utf-8")
