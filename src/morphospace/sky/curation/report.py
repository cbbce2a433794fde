"""The report of a curation: one page that needs nothing else, for people."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from morphospace._manifest import replacing, software_versions
from morphospace.sky.curation.charts import histogram
from morphospace.sky.curation.journal import Entry
from morphospace.sky.curation.verdicts import Verdict
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.flags import DEFINITIONS, Flag, FlagDefinition
from morphospace.sky.quality import PEAK_SIGMA
from morphospace.sky.thumbs import read_thumbs

__all__ = ["REPORT", "count_remarks", "write_report"]

#: In the store. The folder begins with an underscore, so that pandas and others take no page for a table.
REPORT = Path("_report") / "report.html"
_EXAMPLES = 6
_KEPT_EXAMPLES = 16
_LISTED = 200
_CSS = Path(__file__).with_name("report.css")


def write_report(store: Cutouts, verdicts: Sequence[Verdict], entries: Sequence[Entry], *, call: str) -> Path:
    """Write ``_report/report.html`` into a store.

    It says what came in, what was kept and why the rest was left out; every flag with its count, rule and examples;
    sizes and peaks; the files that gave nothing; the call. Pictures are inside, so the page makes no request; whatever
    stands in headers is shown as text.

    Parameters
    ----------
    store : Cutouts
        What was kept.
    verdicts : sequence of Verdict
        All objects, kept or not.
    entries : sequence of Entry
        All files.
    call : str
        As it would be typed.

    Returns
    -------
    Path
        The file.
    """
    pages = [
        _head(store.path.name),
        _summary(store, verdicts, entries),
        _kept(store, verdicts),
        _flags(store.path, verdicts, entries),
        _left_out(verdicts, entries),
        _unreadable(entries),
        _remarks(entries),
        _section("The call", f"<pre>{escape(call)}</pre>"),
        _foot(store),
    ]
    path = store.path / REPORT
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as beside:
        beside.write_text("\n".join(pages), "utf-8")
    return path


def _head(name: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Curation report: {escape(name)}</title>\n<style>\n{_CSS.read_text('utf-8')}</style>\n</head>\n"
        f'<body>\n<main>\n<p class="over">Curation report</p>\n<h1>{escape(name)}</h1>'
    )


def _foot(store: Cutouts) -> str:
    made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    software = ", ".join(f"{escape(name)} {escape(version)}" for name, version in software_versions().items())
    return (
        f"<footer>Written {made} by {software}.<br>Store {escape(store.fingerprint[:16])}; what was left out is "
        "listed in <code>left_out.parquet</code> beside this page.</footer>\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>"


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _summary(store: Cutouts, verdicts: Sequence[Verdict], entries: Sequence[Entry]) -> str:
    bad = sum(entry.error is not None for entry in entries)
    bare = sum(entry.error is None and not entry.rows for entry in entries)
    kept = len(store)
    out = len(verdicts) - kept
    came = f"{_plural(len(entries), 'file')} came in and gave {_plural(len(verdicts), 'object')}"
    counts = [("kept", kept, "kept"), ("out", out, "left out"), ("bad", bad, f"unreadable file{'s' * (bad != 1)}")]
    if bare:
        counts.append(("bare", bare, f"file{'s' * (bare != 1)} without a source"))
    total = sum(n for _, n, _ in counts) or 1
    bar = "".join(f'<span class="{name}" style="width:{100 * n / total:.3f}%"></span>' for name, n, _ in counts if n)
    legend = "".join(f'<li><i class="{name}"></i><b>{n:,}</b> {text}</li>' for name, n, text in counts)
    lead = f'<p class="lead">{came}: {kept:,} kept, {out:,} left out.</p>'
    return f'{lead}\n<div class="bar">{bar}</div>\n<ul class="legend">{legend}</ul>'


def _kept(store: Cutouts, verdicts: Sequence[Verdict]) -> str:
    kept = [verdict for verdict in verdicts if verdict.reason is None]
    if not kept:
        return _section("What was kept", '<p class="soft">Nothing.</p>')
    sides = np.array([max(verdict.row.shape[1:]) for verdict in kept], dtype=np.float64)
    peaks = np.array([verdict.row.snr for verdict in kept])
    n_bare = int(np.count_nonzero(~np.isfinite(peaks)))
    noiseless = (
        f" {_plural(n_bare, 'image')} without noise {'is' if n_bare == 1 else 'are'} not in it." if n_bare else ""
    )
    charts = (
        "<div><h3>Peak over noise</h3><p>Highest pixel above the level, sigma."
        f"{noiseless}</p>{histogram(peaks, limit=PEAK_SIGMA)}</div>"
    )
    if sides.min() < sides.max():
        charts = f"<div><h3>Size</h3><p>Longer side, pixels.</p>{histogram(sides)}</div>{charts}"
    pictures = _strip(store.path, _spread(kept, _KEPT_EXAMPLES))
    return _section("What was kept", f'{pictures}\n<div class="charts">{charts}</div>\n<dl>{_facts(store)}</dl>')


def _facts(store: Cutouts) -> str:
    """Say what the rows have in common, each fact once."""
    table = store.table(["dtype", "shape", "bands", "unit", "ra", "pixel_scale_arcsec", "beam"])
    n = len(table)
    scales = table["pixel_scale_arcsec"].drop_null().to_pylist()
    facts = {
        "Pixels": _common(_counts(table["shape"], lambda shape: f"{shape[2]} × {shape[1]}")),
        "Bands": _common(_counts(table["bands"], _band_names)),
        "Type": _common(_counts(table["dtype"], str)),
        "Unit": _common(_counts(table["unit"], lambda unit: unit or "not given")),
        "Position on the sky": f"known for {n - table['ra'].null_count:,} of {n:,}",
        "Pixel scale": _range(scales, n),
        "Beam": f"known for {n - table['beam'].null_count:,} of {n:,}",
    }
    return "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())


def _band_names(bands: Sequence[str]) -> str:
    if not bands:
        return "not given"
    return f"{len(bands)} without a name" if bands[0].isdigit() else ", ".join(bands)


def _counts(column: pa.ChunkedArray, say: Callable[[Any], str]) -> Counter[str]:
    """Count the values of a column in words; each value that differs is put into words once."""
    if pa.types.is_list(column.type):
        keys = Counter(map(tuple, _lists(column)))
    else:
        keys = Counter({each["values"]: each["counts"] for each in column.value_counts().to_pylist()})
    words: Counter[str] = Counter()
    for key, count in keys.items():
        words[say(key)] += count
    return words


def _lists(column: pa.ChunkedArray) -> Iterator[list[Any]]:
    """Give the lists of a column, of nulls an empty one; flat values first, since pyarrow takes long for each list."""
    lengths = column.combine_chunks().value_lengths().to_pylist()
    values = iter(column.combine_chunks().flatten().to_pylist())
    return ([*islice(values, length or 0)] for length in lengths)


def _common(values: Counter[str]) -> str:
    """Name the one value, or the most frequent three and how many more there are."""
    found = values.most_common()
    if len(found) == 1:
        return found[0][0]
    shown = ", ".join(f"{value} ({n:,})" for value, n in found[:3])
    return shown + (f" and {len(found) - 3:,} more" if len(found) > 3 else "")


def _range(values: Sequence[float], n: int) -> str:
    if not values:
        return f"known for 0 of {n:,}"
    low, high = min(values), max(values)
    text = f"{low:.3g}″" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g}″ to {high:.3g}″"
    return text if len(values) == n else f"{text}, known for {len(values):,} of {n:,}"


def _flags(store: Path, verdicts: Sequence[Verdict], entries: Sequence[Entry]) -> str:
    unreadable = sum(entry.error is not None for entry in entries)
    body = "".join(
        _one_flag(store, definition, [v for v in verdicts if int(v.flags) & int(definition.flag)])
        if definition.flag is not Flag.UNREADABLE
        else _flag_row(definition, unreadable, "see the list below" if unreadable else "", "")
        for definition in DEFINITIONS
    )
    clean = sum(not verdict.flags for verdict in verdicts)
    intro = f"{clean:,} of {_plural(len(verdicts), 'object')} without a flag. One object may have several."
    return _section("Flags", f"<p>{intro}</p>{body}")


def _one_flag(store: Path, definition: FlagDefinition, found: Sequence[Verdict]) -> str:
    kept = sum(verdict.reason is None for verdict in found)
    split = f"{kept:,} kept, {len(found) - kept:,} left out" if found else ""
    return _flag_row(definition, len(found), split, _strip(store, _spread(found, _EXAMPLES)))


def _flag_row(definition: FlagDefinition, n: int, split: str, pictures: str) -> str:
    return (
        f'<div class="flag{"" if n else " none"}"><div><h3>{definition.flag.name}</h3>'
        f'<div class="count">{n:,}</div><div class="split">{split}</div></div>'
        f'<div><p>{escape(definition.description.capitalize())}.</p><p class="rule">{escape(definition.rule)}</p>'
        f"{pictures}</div></div>\n"
    )


def _left_out(verdicts: Sequence[Verdict], entries: Sequence[Entry]) -> str:
    rows = [(v.row.id, v.source, v.reason) for v in verdicts if v.reason is not None]
    rows += [(e.id, e.source, "No source stands out of the field.") for e in entries if not e.error and not e.rows]
    if not rows:
        return _section("Left out", '<p class="soft">No object was left out.</p>')
    more = ""
    if len(rows) > _LISTED:
        more = f'<p class="soft">The first {_LISTED} of {len(rows):,}; <code>left_out.parquet</code> has all.</p>'
    return _section("Left out", more + _table(("Id", "File", "Why"), rows[:_LISTED]))


def _unreadable(entries: Sequence[Entry]) -> str:
    # the sentence begins with the file, which the first column names already
    rows = [(entry.source, entry.error.removeprefix(f"'{entry.source}' ")) for entry in entries if entry.error]
    if not rows:
        return _section("Unreadable files", '<p class="soft">Every file gave an image.</p>')
    return _section("Unreadable files", _table(("File", "Why"), rows))


def count_remarks(entries: Iterable[Entry]) -> list[tuple[str, list[str]]]:
    """Gather the files of each remark, the most frequent first."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for remark in entry.remarks:
            found.setdefault(remark, []).append(entry.source)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def _remarks(entries: Sequence[Entry]) -> str:
    found = count_remarks(entries)
    if not found:
        return ""
    rows = [(remark, f"{len(files):,}", files[0]) for remark, files in found]
    return _section("Remarks on files that were read", _table(("Remark", "Files", "The first"), rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    top = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell or '')}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _spread(found: Sequence[Verdict], n: int) -> list[Verdict]:
    """Take `n` evenly from all, in the order of their ids, so that the choice does not hang on the order of files."""
    ordered = sorted(found, key=lambda verdict: verdict.row.id)
    if len(ordered) <= n:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, n).round().astype(int)]


def _strip(store: Path, shown: Sequence[Verdict]) -> str:
    thumbs = read_thumbs(store, [(verdict.row.id, verdict.row.sha256) for verdict in shown])
    figures = []
    for verdict in shown:
        thumb = thumbs.get((verdict.row.id, verdict.row.sha256))
        if thumb is None:
            continue
        caption = "<br>".join(escape(name) for name in (verdict.row.id, verdict.row.object) if name)
        told = ". ".join(filter(None, (verdict.row.id, verdict.row.object, verdict.reason)))
        data = base64.b64encode(thumb).decode("ascii")
        figures.append(
            f'<figure title="{escape(told)}"><div class="frame"><img alt="{escape(told)}" '
            f'src="data:image/jpeg;base64,{data}"></div><figcaption>{caption}</figcaption></figure>'
        )
    return f'<div class="strip">{"".join(figures)}</div>' if figures else ""
