"""Pictures of the space: what lies nearest to what, and a map with thumbnails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray

from morphospace._manifest import replacing
from morphospace.errors import DataError, ShapeError, StoreError
from morphospace.space.names import one_line
from morphospace.space.project import Projection
from morphospace.space.search import Hits
from morphospace.space.tiles import Thumbs, square, take_thumbs

__all__ = ["plot_hits", "plot_map", "save_figure"]

_FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure looks the same everywhere
_QUERY_COLOUR = "#d95f02"
_TILE, _GAP, _CAPTION = 1.1, 0.12, 0.42  # inches
_CELLS = 26  # thumbnails along the longer side of a map
_MAP_PIXELS = 2080
_FRAME = 3  # pixels


def plot_hits(hits: Sequence[Hits], thumbs: Thumbs, *, title: str = "") -> Figure:
    """Draw each query with its hits, one query a row.

    Parameters
    ----------
    hits : sequence of Hits
        At least one; all of one search each, in the same embeddings.
    thumbs : Thumbs
        Pictures of the rows of those embeddings.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Under each hit its similarity and, in percent, the share of random pairs that are less similar.

    Raises
    ------
    DataError
        If there is no hit to draw.
    """
    k = max((len(h) for h in hits), default=0)
    if k == 0:
        msg = "there is no hit to draw; search with other queries or a wider condition."
        raise DataError(msg)
    top = 0.45 if title else 0.1
    width, height = _GAP + (k + 1) * (_TILE + _GAP), top + len(hits) * (_TILE + _CAPTION)
    figure = _new_figure(width, height)
    if title:
        figure.text(
            0.5, 1 - 0.12 / height, legible(title), va="top", ha="center", fontsize=11, font=_FONT, parse_math=False
        )
    for row, found in enumerate(hits):
        pictures = take_thumbs(thumbs, [*found.query_rows[:1].tolist(), *found.rows.tolist()])
        bottom = height - top - row * (_TILE + _CAPTION) - _TILE
        places = [
            figure.add_axes(((_GAP + i * (_TILE + _GAP)) / width, bottom / height, _TILE / width, _TILE / height))
            for i in range(len(found) + 1)
        ]
        query = pictures.pop(0) if len(found.query_rows) else np.full((1, 1, 3), 255, dtype=np.uint8)
        _draw_thumb(places[0], query, one_line(found.query, 18), "query", _QUERY_COLOUR)
        for i, (ax, picture) in enumerate(zip(places[1:], pictures, strict=True)):
            # Rounded down: the share of random pairs below is never all of them.
            figures = f"{found.similarities[i]:.3f}   {math.floor(1e4 * np.nan_to_num(found.quantiles[i])) / 100:.2f} %"
            _draw_thumb(ax, picture, one_line(found.ids[i], 18), figures, "0.25")
    return figure


def plot_map(
    projection: Projection, thumbs: Thumbs, *, labels: NDArray[np.int64] | None = None, title: str = ""
) -> Figure:
    """Draw a map of all rows, with thumbnails where they do not hide one another.

    Parameters
    ----------
    projection : Projection
        Of principal components; the first two are drawn.
    thumbs : Thumbs
    labels : array of int, (N,), optional
        Colours of the points, e.g. ``Clusters.labels``; -1 is grey.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Rows without a vector are left out.

    Raises
    ------
    ShapeError
        If the projection has one axis only, or there is not one label for each row.
    """
    if projection.coordinates.shape[1] < 2:
        msg = "a map needs two axes; project with dims=2."
        raise ShapeError(msg)
    if labels is not None and np.shape(labels) != (len(projection.ids),):
        msg = f"labels must be one for each of the {len(projection.ids)} rows; got shape {np.shape(labels)}."
        raise ShapeError(msg)
    rows = np.flatnonzero(np.isfinite(projection.coordinates).all(axis=1))
    xy = projection.coordinates[rows, :2]
    low, high = xy.min(axis=0), xy.max(axis=0)
    cell = (float((high - low).max()) or 1.0) / _CELLS  # a collapsed space is a point
    low, high = low - cell, high + cell
    width, height = high - low
    figure = _new_figure(11.0, 11.0 * min(1.3, max(0.45, height / width)) + 0.5)
    figure.set_layout_engine("constrained")
    ax = figure.add_subplot()
    colours = _colours(np.full(len(rows), -1) if labels is None else np.asarray(labels)[rows])
    ax.scatter(xy[:, 0], xy[:, 1], s=5, c=colours, linewidths=0, zorder=1)
    chosen = spread_out(xy, cell, 0.9 * cell)
    pictures = take_thumbs(thumbs, rows[chosen].tolist())
    canvas = _paint(xy[chosen] - low, pictures, colours[chosen], 0.9 * cell, (width, height))
    ax.imshow(canvas, extent=(low[0], high[0], low[1], high[1]), zorder=2, interpolation="antialiased")
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    for i, axis in enumerate((ax.xaxis, ax.yaxis)):
        name = f"PC {i + 1} ({100 * projection.explained[i]:.0f} % of the variance)"
        axis.set_label_text(name, font=_FONT)
    if title:
        ax.set_title(legible(title), font=_FONT, parse_math=False)
    return figure


def save_figure(figure: Figure, out: str | Path) -> Path:
    """Write a figure beside and rename it.

    Parameters
    ----------
    figure : Figure
    out : path
        The suffix says the format: .png, .pdf, .svg.

    Raises
    ------
    StoreError
        If it cannot be written, or the suffix is none of these.
    """
    path = Path(out)
    kind = path.suffix.casefold().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        msg = f"'{path.name}' must end in .png, .pdf or .svg."
        raise StoreError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            figure.savefig(beside, format=kind, dpi=160)
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path


def legible(text: str) -> str:
    """Write characters that the font lacks as ``?``."""
    known = get_font(findfont(_FONT)).get_char_index
    return "".join(c if known(ord(c)) else "?" for c in text)


def spread_out(xy: NDArray[np.float64], cell: float, side: float) -> NDArray[np.int64]:
    """Choose points that are at least ``side`` apart along x or y: of each cell of a grid, the one nearest its middle.

    Parameters
    ----------
    xy : array, (N, 2)
    cell : float
        Side of a cell.
    side : float
        Side of the squares that must not overlap.

    Returns
    -------
    array of int
        Indices, in increasing order.
    """
    place = (xy - xy.min(axis=0)) / cell
    cells = np.floor(place).astype(np.int64)
    off = np.abs(place - cells - 0.5).max(axis=1)
    order = np.argsort(off, kind="stable")
    _, first = np.unique(cells[order], axis=0, return_index=True)
    taken: list[int] = []
    for i in order[np.sort(first)]:
        if not taken or (np.abs(xy[taken] - xy[i]).max(axis=1) >= side).all():
            taken.append(int(i))
    return np.sort(np.array(taken, dtype=np.int64))


def _new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _draw_thumb(ax: Axes, thumb: NDArray[np.uint8], first: str, second: str, colour: str) -> None:
    ax.imshow(thumb, interpolation="antialiased")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color=colour, linewidth=2.5 if colour == _QUERY_COLOUR else 0.6)
    for y, text in ((-0.05, first), (-0.19, second)):
        ax.text(
            0.5,
            y,
            legible(text),
            transform=ax.transAxes,
            ha="center",
            va="top",
            fontsize=6.5,
            color=colour,
            font=_FONT,
            parse_math=False,
        )


def _colours(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give each label a colour of its own: steps of the golden angle around a circle of even lightness."""
    hue = 2 * math.pi * 0.618034 * labels
    rgb = 0.55 + 0.35 * np.cos(hue[:, None] - np.array([0, 2, 4]) * math.pi / 3)
    rgb[labels < 0] = 0.75
    return rgb


def _paint(
    places: NDArray[np.float64],
    thumbs: Sequence[NDArray[np.uint8]],
    colours: NDArray[np.float64],
    side: float,
    extent: tuple[float, float],
) -> NDArray[np.uint8]:
    """Put thumbnails on one transparent canvas: an artist of matplotlib for each would take seconds."""
    per_unit = _MAP_PIXELS / max(extent)
    n_columns, n_rows = (max(1, math.ceil(e * per_unit)) for e in extent)
    canvas = np.zeros((n_rows, n_columns, 4), dtype=np.uint8)
    tile = max(2 * _FRAME + 1, int(side * per_unit))
    inner = tile - 2 * _FRAME
    for (x, y), thumb, colour in zip(places, thumbs, colours, strict=True):
        left, top = int(x * per_unit - tile / 2), int(n_rows - y * per_unit - tile / 2)
        canvas[top : top + tile, left : left + tile] = [*(np.round(255 * colour)), 255]
        canvas[top + _FRAME : top + _FRAME + inner, left + _FRAME : left + _FRAME + inner, :3] = square(thumb, inner)
    return canvas
