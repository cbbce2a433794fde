"""The page of `relate`: correlations, axes with their extreme objects and canonical pairs; it needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

import morphospace.sky.curation.report as curation_report
from morphospace.space.tiles import Thumbs, square, take_thumbs

__all__ = ["Axis", "Page", "write_page"]

_SHOWN = 20  # quantities in the figure; the table below has all
_TOLD = 5  # of an axis
_SIDE = 96
_CSS = Path(curation_report.__file__).with_name("report.css")
_OWN_CSS = """
.matrix td, .matrix th { padding: 0.3rem 0.5rem; }
.matrix th:first-child { width: auto; }
.matrix td { text-align: right; white-space: nowrap; }
.matrix .weak { color: var(--faint); }
.matrix tbody th { font-weight: 400; text-align: left; }
.wide { overflow-x: auto; }
.axis { border-top: 1px solid var(--line); padding: 1.25rem 0; }
.axis h3 { font-size: 1rem; margin: 0 0 0.25rem; }
.axis p { margin: 0 0 0.25rem; }
.ends { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; }
.ends > div { flex: 1 1 20rem; }
.ends .strip { gap: 0.5rem; }
.ends figure, .ends figure .frame { width: 80px; } .ends figure .frame { height: 80px; }
.ends figcaption { max-height: 2.7em; }
details { margin: 1rem 0 0; } summary { cursor: pointer; color: var(--soft); margin-bottom: 0.75rem; }
"""


@dataclass(frozen=True)
class Axis:
    """One component: its number from 1, its share of the variance, and the rows at its ends, from low to high."""

    number: int
    explained: float
    low: Sequence[int]
    high: Sequence[int]


@dataclass(frozen=True)
class Page:
    """What stands on the page: the tables of `Related`, the axes, ids and pictures of all rows."""

    table: pa.Table
    quantities: pa.Table
    canonical: pa.Table
    axes: Sequence[Axis]
    ids: Sequence[str]
    thumbs: Thumbs | None
    about: Mapping[str, Any]


def write_page(page: Page, path: Path) -> None:
    """Write the page.

    Pictures are inside, so it makes no request; names of columns and ids are shown as text whatever they hold.

    Parameters
    ----------
    page : Page
    path : Path
        HTML file.
    """
    pairs = page.table.to_pylist()
    parts = [
        _head(page),
        _lead(page, pairs),
        _section("Axes against quantities", _matrix(page, pairs)),
        _section("The axes", "\n".join(_axis(page, axis, pairs) for axis in page.axes)),
        _canonical(page),
        _section("How this was made", _made(page)),
        _foot(page),
    ]
    path.write_text("\n".join(parts), "utf-8")


def _head(page: Page) -> str:
    name = escape(str(page.about["embeddings"]).strip("'"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What the axes mean: {name}</title>\n<style>\n{_CSS.read_text('utf-8')}{_OWN_CSS}</style>\n</head>\n"
        f'<body>\n<main>\n<p class="over">What the axes mean</p>\n<h1>{name}</h1>'
    )


def _lead(page: Page, pairs: Sequence[Mapping[str, Any]]) -> str:
    stand = sum(pair["stands"] for pair in pairs)
    share = 100 * sum(axis.explained for axis in page.axes)
    text = (
        f"{page.about['objects']:,} objects in {page.about['dimensions']} dimensions. The first {len(page.axes)} principal "
        f"components hold {share:.0f} % of the variance. Of {len(pairs):,} pairs of component and quantity "
        f"{stand:,} stand at a false discovery rate of {100 * page.about['level']:g} %."
    )
    return f'<p class="lead">{text}</p>'


def _matrix(page: Page, pairs: Sequence[Mapping[str, Any]]) -> str:
    by_pair = {(pair["quantity"], pair["component"]): pair for pair in pairs}
    rows = page.quantities.to_pylist()
    caption = (
        "<p>Spearman's rank correlation of each quantity with each principal component, and the fraction of its variance that "
        "the whole vector tells on objects that were not fitted on (R², ridge regression and 10 nearest neighbours). "
        "Pale: does not stand after correction for the number of tests.</p>"
    )
    shown = caption + _matrix_table(page.axes, rows[:_SHOWN], by_pair)
    if len(rows) > _SHOWN:
        rest = _matrix_table(page.axes, rows[_SHOWN:], by_pair)
        shown += f"<details><summary>{len(rows) - _SHOWN} weaker quantities</summary>{rest}</details>"
    return shown


def _matrix_table(
    axes: Sequence[Axis], rows: Iterable[Mapping[str, Any]], by_pair: Mapping[tuple[str, int], Mapping[str, Any]]
) -> str:
    heads = "".join(
        f'<th scope="col" class="number" title="{100 * a.explained:.1f} % of the variance">PC {a.number}</th>'
        for a in axes
    )
    body = []
    for row in rows:
        cells = "".join(_cell(by_pair[row["quantity"], axis.number]) for axis in axes)
        told = "".join(f"<td>{_figure(row[key])}</td>" for key in ("linear_r2", "knn_r2"))
        body.append(
            f'<tr><th scope="row">{escape(row["quantity"])}</th>{cells}{told}<td class="soft">{row["n"]:,}</td></tr>'
        )
    top = f'<th scope="col">Quantity</th>{heads}<th class="number">R² linear</th><th class="number">R² k-NN</th>'
    return (
        f'<div class="wide"><table class="matrix"><thead><tr>{top}<th class="number">Objects</th></tr></thead>\n'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(pair: Mapping[str, Any]) -> str:
    rho = pair["spearman"]
    told = (
        f"{pair['quantity']}, PC {pair['component']}: {rho:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}], "
        f"p {_probability(pair['p'])}, corrected {_probability(pair['q'])}, {pair['n']:,} objects"
    )
    if not pair["stands"]:
        return f'<td class="weak" title="{escape(told)}">{rho:+.2f}</td>'
    colour = "--kept" if rho > 0 else "--out"
    fill = f"background: color-mix(in srgb, var({colour}) {round(75 * abs(rho))}%, transparent)"
    return f'<td style="{fill}" title="{escape(told)}">{rho:+.2f}</td>'


def _axis(page: Page, axis: Axis, pairs: Sequence[Mapping[str, Any]]) -> str:
    own = sorted((p for p in pairs if p["component"] == axis.number), key=lambda p: -abs(p["spearman"]))
    named = [
        f"{escape(p['quantity'])} {p['spearman']:+.2f} [{p['low']:+.2f}, {p['high']:+.2f}]"
        for p in own[:_TOLD]
        if p["stands"]
    ]
    told = "; ".join(named) or "Nothing stands: this axis goes with none of the quantities."
    ends = "".join(
        f'<div><p class="soft">{name}</p>{_strip(page, rows)}</div>'
        for name, rows in (("Low", axis.low), ("High", axis.high))
    )
    title = f"PC {axis.number} <span class='soft'>· {100 * axis.explained:.1f} % of the variance</span>"
    return f'<div class="axis"><h3>{title}</h3><p>{told}</p><div class="ends">{ends}</div></div>'


def _strip(page: Page, rows: Sequence[int]) -> str:
    if page.thumbs is None:
        return f"<p>{', '.join(escape(page.ids[row]) for row in rows)}</p>"
    figures = []
    for row, thumb in zip(rows, take_thumbs(page.thumbs, list(rows)), strict=True):
        name = escape(page.ids[row])
        figures.append(
            f'<figure title="{name}"><div class="frame"><img alt="{name}" src="data:image/jpeg;base64,{_jpeg(thumb)}">'
            f"</div><figcaption>{name}</figcaption></figure>"
        )
    return f'<div class="strip">{"".join(figures)}</div>'


def _jpeg(thumb: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(square(thumb, 2 * _SIDE if max(thumb.shape[:2]) > _SIDE else _SIDE)).save(
        stream, "JPEG", quality=88
    )
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _canonical(page: Page) -> str:
    rows = page.canonical.to_pylist()[:_TOLD]
    if not rows:
        return ""
    body = "".join(
        f'<tr><td>{row["pair"]}</td><td class="number">{row["correlation"]:.2f}</td><td class="number">{row["fitted"]:.2f}</td>'
        f"<td>{escape(row['quantities'])}</td></tr>"
        for row in rows
    )
    told = (
        "<p>The combinations of vector and table that go together best. The correlation is that on objects that were not "
        "fitted on; beside it the one on those that were, which is too large. Signs are common to a pair.</p>"
    )
    head = (
        '<th scope="col" style="width:4rem">Pair</th><th class="number">Correlation</th><th class="number">Fitted</th>'
        "<th>Goes with</th>"
    )
    return _section(
        "Canonical correlations", f"{told}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _made(page: Page) -> str:
    about = page.about
    lines = [
        "Interval: 95 % percentile bootstrap over objects, every resample ranked anew. p: permutations of the quantity. "
        "Corrected for the number of tests after Benjamini and Hochberg (1995).",
        "R² by five-fold cross-validation, objects of one group in one fold; values clipped to their central 99 %.",
        "Components are turned so that the strongest correlation of each is positive.",
    ]
    if about["distinct"] < about["used"]:
        lines.append(f"Rows that show one object were averaged for the tests: {about['distinct']:,} objects.")
    if about["angles"]:
        lines.append(f"Position angles are related as cos and sin of twice the angle: {', '.join(about['angles'])}.")
    if about["used"] < about["objects"]:
        lines.append(f"{about['used']:,} of the {about['objects']:,} objects, drawn by chance, were used.")
    text = "".join(f"<p>{line}</p>" for line in lines)
    if about["left_out"]:
        items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(why)}</dd>" for name, why in about["left_out"].items())
        text += f"<details><summary>{len(about['left_out'])} columns left out</summary><dl>{items}</dl></details>"
    return text


def _foot(page: Page) -> str:
    made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    software = ", ".join(f"{escape(n)} {escape(str(v))}" for n, v in page.about["software"].items())
    return f"<footer>Written {made} by {software}.</footer>\n</main>\n</body>\n</html>\n"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>"


def _figure(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.2f}"


def _probability(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-3 else f"{p:.0e}"
