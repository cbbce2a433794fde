"""A map as a figure for a paper: thumbnails at their places, none over another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from morphospace.errors import ShapeError
from morphospace.space.figures import FONT, legible, new_figure
from morphospace.space.map_colours import Colours, colours_of
from morphospace.space.project import Projection
from morphospace.space.tiles import Thumbs, take_thumbs

__all__ = ["plot_map", "spread_out"]

_SKY, _INK, _PALE = "#0b0e14", "#1b1f27", "#6b7280"
_LEAST_CELLS, _MOST_CELLS = 6, 24  # thumbnails along the longer side
_FILLED = 0.94  # of a cell
_CANDIDATES = 20_000  # points that are tried for the room between
_PIXELS = 2400  # of the longer side
_VECTOR_DOTS = 20_000  # with more, the dots of a vector file are painted
_LONG, _BAR = 9.0, 2.2  # inches: the longer side, and room beside it
_NAMES = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}


def plot_map(
    projection: Projection,
    thumbs: Thumbs | None = None,
    *,
    color: str | ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """Draw a map of all rows: thumbnails at their places where they do not hide one another, dots for the others.

    Parameters
    ----------
    projection : Projection
        The first two axes are drawn.
    thumbs : Thumbs, optional
        Pictures of the rows, or those of ``masked_thumbs``, (H, W, 4), whose background is transparent: these take the
        colour of their object where they are grey, and an edge of it where they are in colour; others get a frame.
    color : str or array, (N,), optional
        A column of the embeddings; ``"density"``, how common a shape is; or values, e.g. ``Clusters.labels``. Numbers
        make a colour bar, words and whole numbers of at most 12 values a legend.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Rows without a vector are left out. Everything but the pictures (and more than 20,000 dots) stays vectors in
        a PDF or SVG file.

    Raises
    ------
    ShapeError
        If the projection has one axis only, or there is not one value of ``color`` for each row.
    ConfigError
        If there is no column ``color``, or it holds neither numbers nor words.
    """
    if projection.coordinates.shape[1] < 2:
        msg = "a map needs two axes; project with dims=2."
        raise ShapeError(msg)
    colours = colours_of(color, projection.embeddings)
    rows = np.flatnonzero(np.isfinite(projection.coordinates).all(axis=1))
    xy = projection.coordinates[rows, :2]
    cell = _cell(xy)
    low, high = xy.min(axis=0) - cell, xy.max(axis=0) + cell
    figure, ax = _page(projection, colours, high - low, title)
    chosen = spread_out(xy, cell, _FILLED * cell) if thumbs is not None else np.empty(0, np.int64)
    dots = np.delete(np.arange(len(rows)), chosen)
    size = min(7.0, max(0.4, 12_000 / max(1, len(rows))))
    x, y = xy[dots].T
    many = len(dots) > _VECTOR_DOTS
    ax.scatter(x, y, s=size, c=colours.rgb[rows[dots]], linewidths=0, alpha=0.75, rasterized=many)
    if thumbs is not None:
        tiles = _take(thumbs, rows[chosen].tolist())
        tint = colours.rgb[rows[chosen]] if color is not None else None
        canvas = _paint(xy[chosen] - low, tiles, tint, _FILLED * cell, high - low)
        extent = (low[0], high[0], low[1], high[1])
        ax.imshow(canvas, extent=extent, zorder=2, interpolation="antialiased")
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    return figure


def spread_out(xy: NDArray[np.float64], cell: float, side: float) -> NDArray[np.int64]:
    """Choose points that are at least ``side`` apart along x or y, as many as find room.

    Of each cell of a grid the point nearest to its middle comes first, so that all parts of the map are shown; then
    others, where there is room between.

    Parameters
    ----------
    xy : array, (N, 2)
    cell : float
        Side of a cell of the grid.
    side : float, <= cell
        Side of the squares that must not overlap.

    Returns
    -------
    array of int
        Indices, in increasing order.
    """
    place = (xy - xy.min(axis=0)) / cell
    cells = np.floor(place).astype(np.int64)
    order = np.argsort(np.abs(place - cells - 0.5).max(axis=1), kind="stable")
    _, first = np.unique(cells[order], axis=0, return_index=True)
    later = np.setdiff1d(np.arange(len(order)), first)[:_CANDIDATES]
    taken: dict[tuple[int, int], list[int]] = {}  # by cell: only those of the nine around can be in the way
    for i in order[[*np.sort(first), *later]].tolist():
        x, y = cells[i].tolist()
        around = [j for u in (x - 1, x, x + 1) for v in (y - 1, y, y + 1) for j in taken.get((u, v), ())]
        if not around or (np.abs(xy[around] - xy[i]).max(axis=1) >= side).all():
            taken.setdefault((x, y), []).append(i)
    return np.sort(np.array([i for each in taken.values() for i in each], dtype=np.int64))


def _cell(xy: NDArray[np.float64]) -> float:
    longest = float(np.ptp(xy, axis=0).max()) or 1.0  # a collapsed space is a point
    return longest / min(_MOST_CELLS, max(_LEAST_CELLS, round(0.9 * math.sqrt(len(xy)))))


def _page(projection: Projection, colours: Colours, span: NDArray[np.float64], title: str) -> tuple[Figure, Axes]:
    """Make the figure with all but the objects: axes, what they are, colour bar or legend."""
    width, height = _LONG * np.clip(span / span.max(), 0.4, 1)
    beside = _BAR if colours.legend or colours.scale else 0.2
    figure = new_figure(float(width) + beside, float(height) + (0.9 if title else 0.6))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    ax = figure.add_subplot(facecolor=_SKY)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    text: dict[str, Any] = {"font": FONT, "color": _INK, "parse_math": False}
    shares = projection.explained
    if len(shares):
        ax.set_xlabel(f"PC 1 ({100 * shares[0]:.0f} % of the variance)", fontsize=9, **text)
        ax.set_ylabel(f"PC 2 ({100 * shares[1]:.0f} % of the variance)", fontsize=9, **text)
    else:
        ax.set_xlabel(_told(projection), fontsize=9, loc="left", **(text | {"color": _PALE}))
    if title:
        ax.set_title(legible(title), fontsize=13, loc="left", pad=10, **text)
    if colours.scale is not None:
        bar = figure.colorbar(ScalarMappable(*colours.scale), ax=ax, shrink=0.5, aspect=28, pad=0.02, extend="neither")
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, color=_PALE, labelcolor=_INK, labelfontfamily=FONT)
        bar.set_label(legible(colours.name), fontsize=9, **text)
    if colours.legend:
        marks = [
            Line2D([], [], marker="o", linestyle="", color=rgb, markersize=7, label=legible(label))
            for label, rgb in colours.legend
        ]
        legend = ax.legend(
            handles=marks, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, title=legible(colours.name) or None,
            prop={"family": FONT, "size": 9}, title_fontproperties={"family": FONT, "size": 9, "weight": "bold"},
            alignment="left", labelcolor=_INK,
        )  # fmt: skip
        for each in (*legend.get_texts(), legend.get_title()):
            each.set_parse_math(False)
    return figure, ax


def _told(projection: Projection) -> str:
    """Say how the map was made, under it: its axes mean nothing."""
    settings = projection.settings
    own = "perplexity" if projection.method == "tsne" else "neighbors"
    n = int(np.isfinite(projection.coordinates).all(axis=1).sum())
    return f"{_NAMES[projection.method]} of {n:,} objects, {settings['metric']} metric, {own} {settings[own]:g}"


def _take(thumbs: Thumbs, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Get pictures as (H, W, 4); one without its own transparency is opaque."""
    taken = thumbs(rows) if callable(thumbs) else [thumbs[row] for row in rows]
    alphas = [np.asarray(t)[:, :, 3] if np.ndim(t) == 3 and np.shape(t)[2] == 4 else None for t in taken]
    plain = take_thumbs(lambda _: [t if a is None else t[:, :, :3] for t, a in zip(taken, alphas, strict=True)], rows)
    return [
        np.dstack([t, np.full(t.shape[:2], 255, np.uint8) if a is None else a])
        for t, a in zip(plain, alphas, strict=True)
    ]


def _paint(
    places: NDArray[np.float64],
    tiles: Sequence[NDArray[np.uint8]],
    tint: NDArray[np.float64] | None,
    side: float,
    span: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Put the pictures on one transparent canvas: an artist of matplotlib for each would take seconds."""
    per_unit = _PIXELS / span.max()
    n_columns, n_rows = (max(1, math.ceil(e * per_unit)) for e in span)
    canvas = np.zeros((n_rows, n_columns, 4), dtype=np.uint8)
    size = max(8, int(side * per_unit))
    for i, ((x, y), tile) in enumerate(zip(places, tiles, strict=True)):
        left, top = int(x * per_unit - size / 2), int(n_rows - y * per_unit - size / 2)
        canvas[top : top + size, left : left + size] = _coloured(_fitted(tile, size), None if tint is None else tint[i])
    return canvas


def _fitted(tile: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Fit a picture into a square, its proportions kept, transparent around."""
    scale = size / max(tile.shape[:2])
    small = tuple(max(1, round(n * scale)) for n in tile.shape[1::-1])
    picture = np.asarray(Image.fromarray(tile).resize(small, Image.Resampling.LANCZOS))
    full = np.zeros((size, size, 4), dtype=np.uint8)
    top, left = (size - small[1]) // 2, (size - small[0]) // 2
    full[top : top + small[1], left : left + small[0]] = picture
    return full


def _coloured(tile: NDArray[np.uint8], colour: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """Give a picture the colour of its object: a frame, a tint where it is grey, an edge where it has colours."""
    if colour is None:
        return tile
    rgb, alpha = tile[:, :, :3] / 255.0, tile[:, :, 3] / 255.0
    if alpha.min() == 1:
        framed = tile.copy()
        for edge in (np.s_[:3], np.s_[-3:], np.s_[:, :3], np.s_[:, -3:]):
            framed[edge] = [*np.rint(255 * colour), 255]
        return framed
    if (np.ptp(rgb, axis=2) * alpha).max() < 0.02:
        light = rgb[:, :, :1]
        rgb = np.where(light < 0.6, colour * light / 0.6, colour + (1 - colour) * (light - 0.6) / 0.4)
    else:
        around = np.clip(3.0 * gaussian_filter(alpha, max(1.0, len(tile) / 45)), 0, 1)
        weight = alpha[:, :, None]
        rgb = rgb * weight + colour * (1 - weight)
        alpha = np.maximum(alpha, around)
    return np.asarray(np.rint(255 * np.dstack([rgb, alpha])).clip(0, 255).astype(np.uint8))
