"""From files to a store of cutouts in which every file is accounted for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from morphospace._manifest import MANIFEST, replacing
from morphospace._parts import Parts
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.sky.companions import blank_companions
from morphospace.sky.curation.desk import Desk
from morphospace.sky.curation.hands import curate_rows
from morphospace.sky.curation.journal import JOURNAL, Entry, Journal, read_journal
from morphospace.sky.curation.keep import Keep, parse_keep
from morphospace.sky.curation.keywords import check_keywords, column_types
from morphospace.sky.curation.names import printable
from morphospace.sky.curation.prune import clear_leftovers, drop_rows
from morphospace.sky.curation.reader import Reader
from morphospace.sky.curation.report import REPORT, count_remarks, write_report
from morphospace.sky.curation.verdicts import Verdict, settle
from morphospace.sky.curation.work import Work
from morphospace.sky.cutouts import Cutouts, CutoutsWriter
from morphospace.sky.detect import Detection, find_sources
from morphospace.sky.flags import Flag
from morphospace.sky.intake import Intake
from morphospace.sky.sources import open_source
from morphospace.sky.sources.base import Label, Source
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
    intake: Intake | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Cutouts:
    """Turn images into a store of cutouts, and say what was left out and why.

    Every file is read, measured and flagged; what is kept goes into the store with its native pixels. A page,
    ``_report/report.html`` in the store, shows what came in, what was kept and every flag with examples;
    ``left_out.parquet`` beside it lists what is not in the store with the reason. Nothing is left out silently, and no bad file
    ends the run.

    Parameters
    ----------
    source : path or sequence of paths
        A folder, a glob pattern, a text list of files, or files; an HDF5 or Parquet file with images; a table with a
        column of paths or, to be cut out of `intake.mosaics`, with positions.
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
    intake : Intake, optional
        The rarer settings: cubes, bands, planes, tables, grouping, number of processes.
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
    job = _Job(Path(out), size, detect, keywords, keep, hdu, intake or Intake())
    job.check(resume=resume, overwrite=overwrite)
    rows = open_source(source, job.intake, size=size, hdu=hdu)
    try:
        past = job.past(rows) if resume else {}
        entries, verdicts = job.take_in(rows, past, resume=resume, overwrite=overwrite)
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
    intake: Intake = field(default_factory=Intake)

    @property
    def kept(self) -> Keep:
        return parse_keep(self.keep)

    @property
    def exists(self) -> bool:
        return (self.out / MANIFEST).exists()

    @property
    def settings(self) -> dict[str, Any]:
        rarer = {f"intake.{name}": value for name, value in asdict(self.intake).items() if name != "processes"}
        return {
            "size": self.size,
            "detect": self.detect and asdict(self.detect),
            "columns": list(self.columns),
            "keep": self.keep,
            "hdu": self.hdu,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in rarer.items()},
        }

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse what cannot work before anything is read."""
        if self.size is not None and self.size < 1:
            msg = f"size must be at least 1 pixel; got {self.size}."
            raise ConfigError(msg)
        if resume and overwrite:
            msg = "resume goes on with a store and overwrite replaces it; give one of them."
            raise ConfigError(msg)
        parse_keep(self.keep)
        check_keywords(self.columns)
        if self.exists and not (resume or overwrite):
            msg = f"'{self.out}' is there already; resume=True adds what is new, overwrite=True starts anew."
            raise StoreError(msg)

    def past(self, source: Source) -> dict[str, Entry]:
        """Take up what earlier runs have done, and remove from the store what has to be done again."""
        settings, entries = read_journal(self.out / JOURNAL)
        if not self.exists or not settings:
            return {}
        differ = [name for name, value in self.settings.items() if settings.get(name) != value]
        if differ:
            was, now = settings.get(differ[0]), self.settings[differ[0]]
            msg = f"'{self.out}' was made with {differ[0]}={was!r}, not {now!r}; give the same, or overwrite=True."
            raise StoreError(msg)
        rows = Parts(self.out, FORM).table(["id"])["id"].to_pylist()
        done = self._done(source, entries, set(rows))
        theirs = {row.id for entry in done.values() for row in entry.rows}
        drop_rows(self.out, np.array([row in theirs for row in rows], dtype=np.bool_))
        return done

    def _done(self, source: Source, entries: Mapping[str, Entry], present: Collection[str]) -> dict[str, Entry]:
        """Entries of files that have not changed and whose rows are all where they should be."""
        labels = (source.label(row) for row in range(len(source)))
        changed = {label.key for label in labels if label.key in entries and label.stamp != entries[label.key].stamp}
        same = [entry for path, entry in entries.items() if path not in changed]
        # rows left out for the sake of another row are missed only if that other row may have changed
        verdicts = [] if changed else settle(same, self.kept, self.intake.group_radius_arcsec)
        excused = {verdict.row.id for verdict in verdicts if verdict.reason is not None}
        return {
            entry.path: entry
            for entry in same
            if all(row.reason or row.id in present or row.id in excused for row in entry.rows)
        }

    def take_in(
        self, source: Source, past: Mapping[str, Entry], *, resume: bool, overwrite: bool
    ) -> tuple[list[Entry], list[Verdict]]:
        """Read the files that are new and write their rows; then compare all rows, old and new."""
        clear_leftovers(self.out)
        find = find_sources if self.detect else None
        blank = blank_companions if self.intake.companions == "blank" else None
        work = Work(source, self.kept, self.size, self.detect, find, blank, self._keywords(source, past))
        new = [row for row in range(len(source)) if source.label(row).key not in past] if past else range(len(source))
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(
                CutoutsWriter(self.out, columns=work.columns, resume=resume, overwrite=overwrite)
            )
            thumbs = stack.enter_context(ThumbsWriter(self.out, resume=bool(past)))
            journal = stack.enter_context(Journal(self.out / JOURNAL, self.settings, past.values()))
            desk = Desk(writer, thumbs, journal, self.kept, past.values())
            bar = stack.enter_context(tqdm(total=len(new), desc="curate", unit="image", disable=None))
            for piece in curate_rows(work, _labelled(source, new, past), len(new), self.intake.processes):
                desk.take(piece)
                bar.update(piece.n)
            entries = list(read_journal(self.out / JOURNAL)[1].values())
            verdicts = settle(entries, self.kept, self.intake.group_radius_arcsec)
            of = {verdict.row.id: verdict for verdict in verdicts}
            ids = writer.table(["id"])["id"].to_pylist()
            writer.replace({"flags": [int(of[i].flags) for i in ids], "group": [of[i].group for i in ids]})
        return entries, verdicts

    def _keywords(self, source: Source, past: Mapping[str, Entry]) -> dict[str, pa.DataType]:
        twice = [name for name in self.columns if name in source.types]
        if twice:
            msg = f"columns names '{twice[0]}', which the table has already; leave it out of columns."
            raise ConfigError(msg)
        if past:
            schema = Parts(self.out, FORM).schema
            names = [name for name in schema.names if name not in COLUMNS.names and name not in source.types]
            return {name: schema.field(name).type for name in names}
        return column_types(self.columns, _some_headers(source)) if self.columns else {}

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


def _labelled(source: Source, rows: Iterable[int], past: Mapping[str, Entry]) -> Iterator[tuple[int, Label]]:
    """Name rows; an id that a row of an earlier run has goes to no other."""
    taken = {entry.id for entry in past.values()}
    for row in rows:
        label = source.label(row)
        yield row, label._replace(name=printable(label.key)) if label.name in taken else label


def _some_headers(source: Source) -> list[Mapping[str, Any]]:
    """Read some images; the first by name, so that what is decided on them does not depend on the order of the rows."""
    labels = sorted((source.label(row).key, row) for row in range(len(source)))
    found: list[Mapping[str, Any]] = []
    with Reader(source) as reader:
        for _, row in labels:
            image = reader.take(row, source.label(row)).image
            if image is not None:
                found.append(image.header)
            if len(found) == _FILES_ASKED:
                break
    return found


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
    for each in fields(thing):  # type: ignore[arg-type]
        value = getattr(thing, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if default is not MISSING and value != default:
            inner = f"{type(value).__name__}({', '.join(_changed(value))})" if is_dataclass(value) else repr(value)
            yield f"{each.name}={inner}"
