"""Cut-outs of a survey at the positions of a table, one file each, with a list of what became of every position."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from tqdm import tqdm

from morphospace._manifest import replacing
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.sky._intake import one_line
from morphospace.sky.archives.positions import Position, positions_of
from morphospace.sky.archives.surveys import Format, Wanted, choose, cutout_url
from morphospace.sky.archives.web import Client, WebError
from morphospace.sky.images import read_image

__all__ = ["LIST", "Fetched", "fetch"]

#: In the folder: a row for each position.
LIST = "fetched.csv"
_SETTINGS = "_fetch.json"
_MOST_BYTES = 1 << 28
_SILENT = 3  # positions in a row without an answer, after which the service is left alone
_ALL_FAILED = 10  # positions from the first on without an image, after which that is said
_MAGIC = {"fits": b"SIMPLE  =", "jpg": b"\xff\xd8\xff"}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What became of the positions of a table."""

    folder: Path
    """With the files and ``fetched.csv``."""
    n: int
    """Positions in the table."""
    new: int
    """Fetched now."""
    passed_over: int
    """There before."""
    failed: int
    """Without a file; the list says why."""

    @property
    def table(self) -> Path:
        """The table with id, ra, dec, file, status and reason of each position."""
        return self.folder / LIST


class _Row(NamedTuple):
    id: str
    ra: str
    dec: str
    file: str
    status: str
    reason: str


def fetch(
    table: str | Path,
    *,
    survey: str,
    out: str | Path,
    size_arcsec: float = 60.0,
    pixels: int | None = None,
    format: Format | None = None,
    bands: str = "",
    columns: tuple[str, str, str] | None = None,
    per_second: float | None = None,
    url: str = "",
) -> Fetched:
    """Download a cut-out of a survey for each position of a table.

    One request at a time and not too many a second; a service that is busy is asked again after a while, as long as it
    wishes. A position that gives no image is a row of ``fetched.csv`` with its reason and does not end the run. The
    same call goes on after anything: files that are there are passed over, what failed is tried again.

    Parameters
    ----------
    table : path
        CSV, FITS, VOTable or Parquet with an id and ICRS positions, in degrees unless it says otherwise.
    survey : str
        "sdss" (SkyServer), a layer of the Legacy Survey such as "ls-dr10", or the id of any HiPS, such as
        "CDS/P/PanSTARRS/DR1/r", from CDS hips2fits.
    out : path
        Folder for the files, ``fetched.csv`` among them; one survey and size each.
    size_arcsec : float
        Side of the cut-outs on the sky.
    pixels : int, optional
        Side in pixels; by default at the pixel scale of the survey, where it is known.
    format : str, optional
        FITS with the values and the world coordinates, or JPEG; by default FITS where the service has it.
    bands : str
        Of a layer of the Legacy Survey, such as "grz"; by default the service's own.
    columns : tuple of str, optional
        Names of the columns with id, ra and dec, where they are not the usual ones.
    per_second : float, optional
        The most requests a second; by default that of the service, 1 or 2.
    url : str
        Address of the service, in place of its own: a mirror.

    Returns
    -------
    Fetched

    Raises
    ------
    ConfigError
        If the survey is none, or does not come in this format, size or bands.
    DataError
        If the table gives no position, or the service stops answering; what came is kept.
    StoreError
        If the folder holds something else, or cut-outs of another survey, size or format.
    """
    cutout = choose(survey, size_arcsec=size_arcsec, pixels=pixels, format=format, bands=bands, url=url)
    rate = cutout.survey.per_second if per_second is None else per_second
    if not 0 < rate <= 50:
        msg = f"per_second must be above 0 and at most 50; got {rate}."
        raise ConfigError(msg)
    positions = positions_of(table, columns)
    folder = Path(out)
    _claim(folder, cutout)
    known = _read_list(folder)
    _write_list(folder, known.values())  # without the line that a kill may have cut
    try:
        return _Run(folder, cutout, Client(rate), known).take(positions)
    finally:
        _write_list(folder, _ordered(positions, known))


class _Run:
    """One pass over the positions of a table."""

    def __init__(self, folder: Path, cutout: Wanted, client: Client, known: dict[str, _Row]) -> None:
        self.folder, self.cutout, self.client, self.known = folder, cutout, client, known
        self.silent = 0

    def take(self, positions: Sequence[Position]) -> Fetched:
        """Fetch what is not there."""
        counts = {"new": 0, "there": 0, "failed": 0}
        with (self.folder / LIST).open("a", encoding="utf-8", newline="") as stream:
            for position in tqdm(positions, desc="fetch", unit="position", disable=None):
                counts[self._one(position, stream)] += 1
                if counts["failed"] == _ALL_FAILED == sum(counts.values()):
                    _logger.warning("none of the first %d positions gave an image: see '%s'", _ALL_FAILED, LIST)
                if self.silent == _SILENT:
                    there = counts["new"] + counts["there"]
                    last = self.known[position.id].reason
                    msg = (
                        f"the service gave no answer for {_SILENT} positions in a row ({last}); {there} of "
                        f"{len(positions)} cut-outs are in '{self.folder}', the same command goes on there."
                    )
                    raise DataError(msg)
        return Fetched(self.folder, len(positions), counts["new"], counts["there"], counts["failed"])

    def _one(self, position: Position, stream: TextIO) -> str:
        """Fetch one position and write its row; return what became of it."""
        if position.wrong:
            return "failed"
        name = _file_name(position.id, self.cutout.format)
        target = self.folder / name
        row = self.known.get(position.id)
        if row is not None and (row.ra, row.dec) != _texts(position):  # the table has moved it
            target.unlink(missing_ok=True)
        if _is_there(target, self.cutout.format):
            if row is None:  # killed before its row was written
                self._note(position, name, "", stream)
            return "there"
        reason = self._try(position, target)
        self._note(position, "" if reason else name, reason, stream)
        return "failed" if reason else "new"

    def _try(self, position: Position, target: Path) -> str:
        """Fetch one file; return why there is none, "" where there is."""
        address = cutout_url(self.cutout, position.ra, position.dec)

        def ask() -> None:
            body = self.client.body_once(address, most=_MOST_BYTES)
            _check_magic(body, self.cutout.format)
            with replacing(target) as beside:
                beside.write_bytes(body)
                _check_image(beside, self.cutout.pixels)

        try:
            self.client.attempt(ask)
        except WebError as error:
            self.silent = self.silent + 1 if error.temporary and error.status in (0, 429, 502, 503, 504) else 0
            return one_line(error)
        self.silent = 0
        return ""

    def _note(self, position: Position, name: str, reason: str, stream: TextIO) -> None:
        """Append a row to the list."""
        row = _Row(position.id, *_texts(position), name, "failed" if reason else "fetched", reason)
        self.known[position.id] = row
        csv.writer(stream).writerow(row)
        stream.flush()


def _texts(position: Position) -> tuple[str, str]:
    ra, dec = ("" if math.isnan(value) else f"{value:.7f}" for value in (position.ra, position.dec))
    return ra, dec


def _file_name(name: str, suffix: str) -> str:
    """Return a file name for an id: itself where any system takes it, else what is left of it and a checksum."""
    safe = re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII)[:80]
    if safe != name or not safe[0].isalnum():
        safe = f"id{safe.lstrip('._')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
    return f"{safe}.{suffix}"


def _check_magic(body: bytes, format: Format) -> None:
    """Refuse what is no image of the format; some services send their error pages as if all were well."""
    if body.startswith(_MAGIC[format]):
        return
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body[:4096].decode("utf-8", "replace"), flags=re.S | re.I)
    kind = "a web page" if body.lstrip()[:1] == b"<" else "something else"
    told = f": {one_line(text)[:120]!r}" if text.split() else ""
    msg = f"the service sent {kind} and not a {format} image{told}" if body else "the service sent nothing"
    raise WebError(msg, temporary=False)


def _check_image(path: Path, pixels: int) -> None:
    """Refuse an image that cannot be read to its end, and one of another size: services change sizes without a word."""
    try:
        height, width = read_image(path).data.shape[-2:]
    except DataError as error:
        what = str(error).replace(f"'{path}'", "the image")
        raise WebError(what, temporary=True, status=200) from error
    if (height, width) != (pixels, pixels):
        msg = f"the service sent {width} x {height} pixels, not the {pixels} x {pixels} it was asked for"
        raise WebError(msg, temporary=False, status=200)


def _is_there(path: Path, format: Format) -> bool:
    """Tell whether a file is there; files take their names when they are complete."""
    try:
        with path.open("rb") as stream:
            return stream.read(16).startswith(_MAGIC[format])
    except OSError:
        return False


def _claim(folder: Path, cutout: Wanted) -> None:
    """Make the folder, or see that it holds cut-outs of the same kind."""
    settings = {
        "survey": cutout.survey.name,
        "format": cutout.format,
        "size_arcsec": cutout.size_arcsec,
        "pixels": cutout.pixels,
        "bands": cutout.bands,
    }
    path = folder / _SETTINGS
    if not path.exists():
        if folder.is_dir() and any(each.suffix != ".tmp" for each in folder.iterdir()):  # that of a kill
            msg = f"'{folder}' holds other files; choose a new folder for the cut-outs."
            raise StoreError(msg)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(settings), "utf-8")
        return
    try:
        before = json.loads(path.read_text("utf-8"))
    except ValueError:
        msg = f"'{path}' is damaged; choose a new folder for the cut-outs."
        raise StoreError(msg) from None
    changed = [
        f"{key} {before.get(key)!r}, not {value!r}" for key, value in settings.items() if before.get(key) != value
    ]
    if changed:
        msg = f"'{folder}' holds cut-outs with {changed[0]}; choose another folder, or ask for the same."
        raise StoreError(msg)


def _read_list(folder: Path) -> dict[str, _Row]:
    """Read what earlier runs fetched, by id; a line without end is that of a kill."""
    try:
        text = (folder / LIST).read_text("utf-8")
    except FileNotFoundError:
        return {}
    lines = text[: text.rfind("\n") + 1].splitlines()
    rows = (line for line in csv.reader(lines[1:]) if len(line) == len(_Row._fields))
    return {row.id: row for row in map(_Row._make, rows) if row.file}


def _write_list(folder: Path, rows: Iterable[_Row]) -> None:
    with replacing(folder / LIST) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_Row._fields)
        writer.writerows(rows)


def _ordered(positions: Sequence[Position], known: Mapping[str, _Row]) -> Iterable[_Row]:
    """Return a row for each position that was tried, in the order of the table, then what earlier tables gave."""
    for position in positions:
        if position.wrong:
            yield _Row(position.id, *_texts(position), "", "failed", position.wrong)
        elif position.id in known:
            yield known[position.id]
    there = {position.id for position in positions if not position.wrong}
    yield from (row for name, row in known.items() if name not in there)
