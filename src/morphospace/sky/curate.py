"""From files to a store of cutouts in which every file is accounted for."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from morphospace._manifest import MANIFEST, replacing
from morphospace._parts import Parts
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.sky.curation.journal import JOURNAL, Entry, Journal, Row, Stamp, read_journal
from morphospace.sky.curation.keep import Keep, parse_keep
from morphospace.sky.curation.keywords import check_keywords, column_types, column_values
from morphospace.sky.curation.names import name_files, printable
from morphospace.sky.curation.objects import Found, objects_in
from morphospace.sky.curation.prune import clear_leftovers, drop_rows
from morphospace.sky.curation.reader import Reader
from morphospace.sky.curation.report import REPORT, count_remarks, write_report
from morphospace.sky.curation.verdicts import Verdict, settle
from morphospace.sky.cutouts import Cutouts, CutoutsWriter
from morphospace.sky.detect import Detection
from morphospace.sky.flags import Flag
from morphospace.sky.images import find_files
from morphospace.sky.store_schema import COLUMNS, FORM
from morphospace.sky.thumbs import ThumbsWriter

__all__ = ["LEFT_OUT", "curate"]

LEFT_OUT = REPORT.with_name("left_out.parquet")  # not beside the parts: DuckDB reads all of *.parquet there
_FILES_ASKED = 32
_REMARKS_LOGGED = 5
_NO_SOURCE = "no source stands out of the field"
_LEFT_OUT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("flags", pa.int32(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
_logger = logging.getLogger(__name__)


def curate(
    source: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    size: int | None = None,
    detect: Detection | None = None,
    columns: Sequence[str] = (),
    keep: str = "usable",
    hdu: str | int | None = None,
    group_radius_arcsec: float = 1.0,
    resume: bool = False,
    overwrite: bool = False,
) -> Cutouts:
    """Turn image files into a store of cutouts, and say what was left out and why.

    Every file is read, measured and flagged; what is kept goes into the store with its native pixels. A page,
    ``_report/report.html`` in the store, shows what came in, what was kept and every flag with examples;
    ``left_out.parquet`` beside it lists what is not in the store with the reason. Nothing is left out silently, and no bad file
    ends the run.

    Parameters
    ----------
    source : path or sequence of paths
        A folder, a glob pattern, a text list of files, or files.
    out : path
        Folder to make, by custom ``NAME.cutouts``.
    size : int, optional
        Side of the cutouts in pixels: images are cropped about their centre or padded, never resampled; pixels beyond
        the border are masked. None keeps each image whole, and with `detect` each source's own size.
    detect : Detection, optional
        Find the sources of each image and cut them out. By default one image is one object.
    columns : sequence of str
        Header keywords that become columns; 32 files decide their types.
    keep : str
        What is kept: ``"all"``, ``"usable"`` (all but CONSTANT, DUPLICATE and blank images), ``"clean"`` (no flag), or
        flags to leave out, ``"-EDGE,-LOW_SNR"`` or ``"usable,-EDGE"``.
    hdu : str or int, optional
        Name or number of the FITS HDU; by default the first that holds an image.
    group_radius_arcsec : float, >= 0
        Images from different files whose centres lie within this distance show one object.
    resume : bool
        Go on with a store that is there: files it has seen are passed over unless they have changed.
    overwrite : bool
        Put a new store in place of one that is there.

    Returns
    -------
    Cutouts
        The store, opened; rows in the order of the files.

    Raises
    ------
    ConfigError
        If an argument is out of range.
    DataError
        If there is nothing to read, or nothing was kept; the report is there then.
    StoreError
        If `out` is there and neither `resume` nor `overwrite` is given, was made with other arguments, or cannot be
        written.

    Notes
    -----
    Ids are file names without suffix, with their folder where two files have one name; sources found by `detect` get
    ``#0000`` and so on. Killed at any moment, ``resume=True`` goes on and ends with the store that an uninterrupted
    run makes. A flag that compares rows (DUPLICATE, SAME_OBJECT) does not depend on their order.
    """
    keywords = (columns,) if isinstance(columns, str) else tuple(columns)
    job = _Job(Path(out), size, detect, keywords, keep, hdu, group_radius_arcsec)
    job.check(resume=resume, overwrite=overwrite)
    by_path: dict[str, Path] = {}  # one file may be named by two paths
    for file in find_files(source):
        by_path.setdefault(os.path.abspath(file), file)
    files = list(by_path.values())
    try:
        past = job.past(files) if resume else {}
        entries, verdicts = job.take_in(files, past, resume=resume, overwrite=overwrite)
        store = job.finish(verdicts, entries, call=_call(source, job))
    except StoreError:
        raise
    except OSError as error:
        msg = f"cannot write '{out}' ({error}); make room and go on with resume=True."
        raise StoreError(msg) from error
    for remark, found in count_remarks(entries)[:_REMARKS_LOGGED]:
        _logger.warning("%s: %s", f"'{found[0]}'" if len(found) == 1 else f"{len(found):,} files", remark)
    if not len(store):
        reason = next((v.reason for v in verdicts), None) or next((e.error for e in entries if e.error), _NO_SOURCE)
        what = f"of {len(entries):,} files nothing" if len(entries) > 1 else "nothing"
        msg = f"{what} was kept (first reason: {reason.rstrip('.')}); see '{job.out / REPORT}'."
        raise DataError(msg)
    return store


@dataclass(frozen=True)
class _Job:
    """The arguments that shape a store, and the steps of making it."""

    out: Path
    size: int | None = None
    detect: Detection | None = None
    columns: tuple[str, ...] = ()
    keep: str = "usable"
    hdu: str | int | None = None
    group_radius_arcsec: float = 1.0

    @property
    def kept(self) -> Keep:
        return parse_keep(self.keep)

    @property
    def exists(self) -> bool:
        return (self.out / MANIFEST).exists()

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "detect": self.detect and asdict(self.detect),
            "columns": list(self.columns),
            "keep": self.keep,
            "hdu": self.hdu,
            "group_radius_arcsec": self.group_radius_arcsec,
        }

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse what cannot work before anything is read."""
        if self.size is not None and self.size < 1:
            msg = f"size must be at least 1 pixel; got {self.size}."
            raise ConfigError(msg)
        if not self.group_radius_arcsec >= 0:
            msg = f"group_radius_arcsec must be 0 or more; got {self.group_radius_arcsec}."
            raise ConfigError(msg)
        if resume and overwrite:
            msg = "resume goes on with a store and overwrite replaces it; give one of them."
            raise ConfigError(msg)
        parse_keep(self.keep)
        check_keywords(self.columns)
        if self.exists and not (resume or overwrite):
            msg = f"'{self.out}' is there already; resume=True adds what is new, overwrite=True starts anew."
            raise StoreError(msg)

    def past(self, files: Sequence[Path]) -> dict[str, Entry]:
        """Take up what earlier runs have done, and remove from the store what has to be done again."""
        settings, entries = read_journal(self.out / JOURNAL)
        if not self.exists or not entries:
            return {}
        differ = [name for name, value in self.settings.items() if settings.get(name) != value]
        if differ:
            was, now = settings.get(differ[0]), self.settings[differ[0]]
            msg = f"'{self.out}' was made with {differ[0]}={was!r}, not {now!r}; give the same, or overwrite=True."
            raise StoreError(msg)
        rows = Parts(self.out, FORM).table(["id"])["id"].to_pylist()
        done = self._done(files, entries, set(rows))
        theirs = {row.id for entry in done.values() for row in entry.rows}
        drop_rows(self.out, np.array([row in theirs for row in rows], dtype=np.bool_))
        return done

    def _done(self, files: Sequence[Path], entries: Mapping[str, Entry], present: Collection[str]) -> dict[str, Entry]:
        """Entries of files that have not changed and whose rows are all where they should be."""
        paths = {os.path.abspath(file): file for file in files}
        changed = {path for path, entry in entries.items() if path in paths and Stamp.of(paths[path]) != entry.stamp}
        same = [entry for path, entry in entries.items() if path not in changed]
        # rows left out for the sake of another row are missed only if that other row may have changed
        verdicts = [] if changed else settle(same, self.kept, self.group_radius_arcsec)
        excused = {verdict.row.id for verdict in verdicts if verdict.reason is not None}
        return {
            entry.path: entry
            for entry in same
            if all(row.reason or row.id in present or row.id in excused for row in entry.rows)
        }

    def take_in(
        self, files: Sequence[Path], past: Mapping[str, Entry], *, resume: bool, overwrite: bool
    ) -> tuple[list[Entry], list[Verdict]]:
        """Read the files that are new and write their rows; then compare all rows, old and new."""
        clear_leftovers(self.out)
        names = name_files(files, {path: entry.id for path, entry in past.items()})
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(Reader(self.hdu))
            types = self._column_types(files, past, reader)
            writer = stack.enter_context(CutoutsWriter(self.out, columns=types, resume=resume, overwrite=overwrite))
            thumbs = stack.enter_context(ThumbsWriter(self.out, resume=bool(past)))
            journal = stack.enter_context(Journal(self.out / JOURNAL, self.settings, past.values()))
            desk = _Desk(writer, thumbs, self.kept, past.values())
            new = [file for file in files if os.path.abspath(file) not in past]
            for file in tqdm(new, desc="curate", unit="file", disable=None):
                name = names[os.path.abspath(file)]
                journal.add(self._take_file(file, name, reader, types, desk))
            entries = list(journal.entries.values())
            verdicts = settle(entries, self.kept, self.group_radius_arcsec)
            of = {verdict.row.id: verdict for verdict in verdicts}
            ids = writer.table(["id"])["id"].to_pylist()
            writer.replace({"flags": [int(of[i].flags) for i in ids], "group": [of[i].group for i in ids]})
        return entries, verdicts

    def _column_types(self, files: Sequence[Path], past: Mapping[str, Entry], reader: Reader) -> dict[str, pa.DataType]:
        if past:
            schema = Parts(self.out, FORM).schema
            return {name: schema.field(name).type for name in schema.names if name not in COLUMNS.names}
        # by name, so that the types do not depend on the order of the files
        asked = reader.peek(sorted(files), _FILES_ASKED) if self.columns else []
        return column_types(self.columns, (image.header for image in asked))

    def _take_file(self, file: Path, name: str, reader: Reader, types: Mapping[str, pa.DataType], desk: _Desk) -> Entry:
        stamp = Stamp.of(file)  # before reading: a change meanwhile is then seen the next time
        reading = reader.take(file)
        error, remarks = reading.error, reading.remarks
        rows: list[Row] = []
        if reading.image is not None:
            values, misfits = column_values(types, reading.image.header)
            remarks += misfits
            found = objects_in(reading.image, name, size=self.size, detect=self.detect, columns=values)
            for item in _measured(found, file):
                if isinstance(item, str):
                    error = item
                else:
                    rows.append(desk.take(item))
        return Entry(
            path=os.path.abspath(file),
            source=printable(str(file)),
            id=name,
            stamp=stamp,
            error=None if error is None else printable(error),
            rows=tuple(rows),
            remarks=tuple(map(printable, remarks)),
        )

    def finish(self, verdicts: Sequence[Verdict], entries: Sequence[Entry], *, call: str) -> Cutouts:
        """Take out what other rows make superfluous, list it, and write the report."""
        kept = {verdict.row.id for verdict in verdicts if verdict.reason is None}
        rows = Parts(self.out, FORM).table(["id"])["id"].to_pylist()
        drop_rows(self.out, np.array([row in kept for row in rows], dtype=np.bool_))
        (self.out / LEFT_OUT).parent.mkdir(exist_ok=True)
        with replacing(self.out / LEFT_OUT) as beside:
            pq.write_table(_left_out(verdicts, entries), beside)
        store = Cutouts.open(self.out)
        write_report(store, verdicts, entries, call=call)
        return store


class _Desk:
    """Where measured objects go: to the store if they are kept, and in any case to the pictures."""

    def __init__(self, writer: CutoutsWriter, thumbs: ThumbsWriter, keep: Keep, past: Iterable[Entry]) -> None:
        self._writer, self._thumbs, self._keep = writer, thumbs, keep
        self._first: dict[str, str] = {}
        for entry in past:
            for row in entry.rows:
                if row.reason is None:
                    self._is_repeat(row.id, row.sha256)

    def take(self, found: Found) -> Row:
        """Write an object where it belongs and return its line of the journal."""
        cutout, quality = found
        reason = self._keep.reason_against(quality.flags, quality.n_valid)
        self._thumbs.append(cutout)
        # a repeat whose id sorts first is written all the same: the other one goes once all rows are known
        if reason is None and not (self._is_repeat(cutout.id, cutout.sha256) and self._drops_repeats):
            self._writer.append(cutout)
        return Row(
            id=cutout.id,
            flags=int(quality.flags),
            snr=quality.snr,
            shape=cutout.image.shape,
            sha256=cutout.sha256,
            ra=cutout.ra,
            dec=cutout.dec,
            object=cutout.object,
            reason=reason,
        )

    @property
    def _drops_repeats(self) -> bool:
        return Flag.DUPLICATE in self._keep.dropped

    def _is_repeat(self, name: str, sha256: str) -> bool:
        first = self._first.get(sha256, name)
        self._first[sha256] = min(first, name)
        return first < name


def _measured(found: Iterator[Found], file: Path) -> Iterator[Found | str]:
    """Pass objects on; a fault of our own in one image ends that image with a sentence, not the run."""
    try:
        yield from found
    except DataError as refused:
        yield str(refused)
    except Exception as fault:
        _logger.exception("'%s' could not be measured", file)
        what = f"was read but could not be measured ({type(fault).__name__}: {fault})"
        yield f"'{file}' {what}; please report this."


def _left_out(verdicts: Sequence[Verdict], entries: Sequence[Entry]) -> pa.Table:
    lost = [
        (entry.id, entry.source, int(Flag.UNREADABLE) if entry.error else 0, entry.error or _NO_SOURCE)
        for entry in entries
        if entry.error or not entry.rows
    ]
    lost += [(v.row.id, v.source, int(v.flags), v.reason) for v in verdicts if v.reason is not None]
    columns = list(zip(*lost, strict=True)) or [()] * len(_LEFT_OUT_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _LEFT_OUT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_LEFT_OUT_SCHEMA)


def _call(source: str | Path | Sequence[str | Path], job: _Job) -> str:
    """Write the call as it would be typed."""
    given = repr(str(source)) if isinstance(source, str | Path) else f"[{len(source)} paths]"
    return f"curate({', '.join([given, f'out={str(job.out)!r}', *_changed(job)])})"


def _changed(thing: object) -> Iterator[str]:
    """Name the fields of a dataclass that are not as by default, with their values."""
    for field in fields(thing):  # type: ignore[arg-type]
        value = getattr(thing, field.name)
        if field.default is not MISSING and value != field.default:
            inner = f"{type(value).__name__}({', '.join(_changed(value))})" if is_dataclass(value) else repr(value)
            yield f"{field.name}={inner}"
