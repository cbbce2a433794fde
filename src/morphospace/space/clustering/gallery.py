"""The gallery: one page that needs nothing else, with the members and figures of every cluster."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from morphospace._manifest import replacing
from morphospace.errors import StoreError
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.thumbs import load_thumbs
from morphospace.space.clustering.result import Clusters
from morphospace.space.clustering.tables import Comparison
from morphospace.space.clustering.validity import ABOVE
from morphospace.space.embeddings import Embeddings
from morphospace.space.tiles import finder

__all__ = ["write_gallery"]

Thumbs: TypeAlias = Callable[[NDArray[np.int64]], list[bytes]]

_MEMBERS = 12
_CSS = Path(__file__).with_name("gallery.css")
_METHODS = {"kmeans": "k-means", "gmm": "Gaussian mixture", "dpgmm": "Dirichlet-process mixture", "hdbscan": "HDBSCAN"}


def write_gallery(
    emb: Embeddings,
    clusters: Clusters,
    cuts: Cutouts,
    out: str | Path,
    *,
    comparison: Comparison | None = None,
    label: str = "label",
) -> Path:
    """Write a page with the 12 most typical and 12 random members of each cluster, and all figures.

    Pictures and styles are inside and there is no script, so the page makes no request; names from headers and file
    names are shown as text.

    Parameters
    ----------
    emb : Embeddings
        Those that were clustered.
    clusters : Clusters
    cuts : Cutouts
        Those embedded.
    out : path
        File to write, .html by custom.
    comparison : Comparison, optional
        Its table is shown as well.
    label : str
        Name of the column that was compared with.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If an id is not among the cutouts.
    StoreError
        If it cannot be written.
    """
    path = Path(out)
    name = "Clusters" if emb.path is None else emb.path.name
    parts = [_head(name), _summary(clusters), _figures(clusters)]
    if comparison is not None:
        parts.append(_comparison(comparison, label))
    rows_in = finder(cuts, emb)

    def thumbs(rows: NDArray[np.int64]) -> list[bytes]:
        return load_thumbs(cuts, rows_in(rows))

    parts += [_cluster(clusters, thumbs, c) for c in range(clusters.k)]
    parts += [_none(clusters, thumbs), _overlap(clusters), _above(clusters), _foot()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text("\n".join(parts), "utf-8", errors="backslashreplace")
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path


def _head(name: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>Clusters: {escape(name)}</title>\n<style>\n{_CSS.read_text('utf-8')}</style>\n</head>\n"
        f'<body>\n<main>\n<p class="over">Clusters</p>\n<h1>{escape(name)}</h1>'
    )


def _foot() -> str:
    made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    return f"<footer>Written {made} by morphospace {version('morphospace')}.</footer>\n</main>\n</body>\n</html>\n"


def _summary(clusters: Clusters) -> str:
    n, lost = int(clusters.sizes.sum()), int(np.count_nonzero(clusters.labels < 0))
    none = f", {lost:,} in none" if lost else ""
    validity, stability = clusters.validity, clusters.stability
    words = [
        f"{_METHODS[clusters.method]}: {clusters.k} clusters of {n:,} objects{none}.",
        f"Silhouette {_number(validity.silhouette)} ({_number(validity.simplified_silhouette)} to centroids), "
        f"Calinski-Harabasz index {_number(validity.calinski_harabasz, 1)}.",
    ]
    if stability.n_resamples and math.isfinite(stability.rand):
        words.append(
            f"Over {stability.n_resamples} bootstrap samples the adjusted Rand index is {_number(stability.rand)} "
            f"± {_number(stability.rand_spread)}; a cluster with a stability (Jaccard) below 0.6 should not be trusted."
        )
    reduced = clusters.reduction
    space = f"{reduced.dims} principal axes ({100 * reduced.explained:.0f} % of the variance)"
    seen = space if reduced.axes is not None else f"all {reduced.dims} dimensions"
    rest = f"Found in {seen}, {reduced.metric} metric."
    return f'<p class="lead">{escape(words[0])}</p>\n<p>{escape(" ".join([*words[1:], rest]))}</p>'


def _figures(clusters: Clusters) -> str:
    own = np.diagonal(clusters.overlap)
    rows = [
        [
            f'<a href="#c{c}">{c}</a>',
            f"{clusters.sizes[c]:,}",
            _number(own[c]),
            _number(clusters.stability.jaccards[c]),
            _number(clusters.stability.rands[c]),
            _number(clusters.validity.silhouettes[c]),
        ]
        for c in range(clusters.k)
    ]
    head = ("Cluster", "Objects", "Mean membership", "Stability (Jaccard)", "Adjusted Rand", "Silhouette")
    return f"<h2>Figures</h2>\n{_table(head, rows)}"


def _comparison(found: Comparison, label: str) -> str:
    rows = []
    for c, counts in enumerate(found.counts):
        last = c == len(found.counts) - 1
        if last and not counts.any():
            continue
        matched = "" if last else escape(found.matched[c] or "")
        rows.append(["none" if last else str(c), *_shaded(counts), f"{counts.sum():,}", matched])
    head = ("Cluster", *(escape(name) for name in found.classes), "All", "Matched with")
    told = (
        f"{found.n:,} labelled objects: purity {_number(found.purity)}, adjusted mutual information {_number(found.ami)}, "
        f"adjusted Rand index {_number(found.ari)}, accuracy after the best one-to-one matching {_number(found.accuracy)}."
    )
    return f"<h2>Against “{escape(label)}”</h2>\n<p>{told}</p>\n{_table(head, rows)}"


def _shaded(counts: NDArray[np.int64]) -> list[str]:
    total = max(1, int(counts.sum()))
    return [_cell(f"{n:,}", n / total) for n in counts]


def _cell(text: str, share: float) -> str:
    """Mark a cell to be drawn darker the larger its share; `_table` knows the mark."""
    return f"{share:.2f}\0{text}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join("<tr>" + "".join(_td(cell) for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _td(cell: str) -> str:
    share, mark, text = cell.partition("\0")
    if not mark:
        return f"<td>{cell}</td>"
    return f'<td style="background: rgba(var(--fill), {0.6 * float(share):.2f})">{text}</td>'


def _cluster(clusters: Clusters, thumbs: Thumbs, c: int) -> str:
    n = int(clusters.sizes[c])
    told = [f"{n:,} object{'' if n == 1 else 's'}", f"mean membership {_number(clusters.overlap[c, c])}"]
    if math.isfinite(clusters.stability.jaccards[c]):
        told.append(f"stability {_number(clusters.stability.jaccards[c])}")
    if math.isfinite(clusters.validity.silhouettes[c]):
        told.append(f"silhouette {_number(clusters.validity.silhouettes[c])}")
    typical = _strip(clusters, thumbs, clusters.typical(c, _MEMBERS))
    drawn = _strip(clusters, thumbs, clusters.random(c, _MEMBERS)) if n > _MEMBERS else ""
    return (
        f'<section class="cluster" id="c{c}">\n<h2>Cluster {c}</h2>\n<p class="told">{", ".join(told)}</p>\n'
        f"<h3>Most typical</h3>\n{typical}\n" + (f"<h3>At random</h3>\n{drawn}\n" if drawn else "") + "</section>"
    )


def _none(clusters: Clusters, thumbs: Thumbs) -> str:
    placed = np.isfinite(clusters.probabilities).all(axis=1)
    rows = np.flatnonzero((clusters.labels < 0) & placed)
    if not len(rows):
        return ""
    some = np.sort(np.random.default_rng(0).choice(rows, min(_MEMBERS, len(rows)), replace=False))
    return (
        f'<section class="cluster" id="none">\n<h2>In no cluster</h2>\n<p class="told">{len(rows):,} objects</p>\n'
        f"<h3>At random</h3>\n{_strip(clusters, thumbs, some)}\n</section>"
    )


def _strip(clusters: Clusters, thumbs: Thumbs, rows: NDArray[np.int64]) -> str:
    figures = []
    for row, thumb in zip(rows, thumbs(rows), strict=True):
        name, label = escape(clusters.ids[row]), clusters.labels[row]
        told = f"{name}, membership {clusters.probabilities[row, label]:.2f}" if label >= 0 else name
        data = base64.b64encode(thumb).decode("ascii")
        figures.append(
            f'<figure title="{told}"><div class="frame"><img alt="{told}" src="data:image/jpeg;base64,{data}"></div>'
            f"<figcaption>{name}</figcaption></figure>"
        )
    return f'<div class="strip">{"".join(figures)}</div>'


def _overlap(clusters: Clusters) -> str:
    rows = [[str(c), *(_cell(_number(p), float(p)) for p in row)] for c, row in enumerate(clusters.overlap)]
    words = "Mean memberships of the objects of each cluster (rows) in every cluster (columns)."
    head = ("Cluster", *(str(c) for c in range(clusters.k)))
    return f"<h2>Overlap</h2>\n<p>{words}</p>\n{_table(head, rows)}"


def _above(clusters: Clusters) -> str:
    rows = [[str(c), f"{clusters.sizes[c]:,}", *(f"{n:,}" for n in clusters.above[:, c])] for c in range(clusters.k)]
    head = ("Cluster", "All", *(f"p &gt; {least:g}" for least in ABOVE))
    words = "Objects of each cluster whose membership in it is above a value."
    return f"<h2>Clear members</h2>\n<p>{words}</p>\n{_table(head, rows)}"


def _number(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"
