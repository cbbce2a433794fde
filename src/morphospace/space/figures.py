"""Figures: what lies nearest to what; and the writing of any figure."""

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
from morphospace.errors import DataError, StoreError
from morphospace.space.names import one_line
from morphospace.space.search import Hits
from morphospace.space.tiles import Thumbs, take_thumbs

__all__ = ["FONT", "legible", "new_figure", "plot_hits", "save_figure"]

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure looks the same everywhere
_QUERY_COLOUR = "#d95f02"
_TILE, _GAP, _CAPTION = 1.1, 0.12, 0.42  # inches


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
    figure = new_figure(width, height)
    if title:
        figure.text(
            0.5, 1 - 0.12 / height, legible(title), va="top", ha="center", fontsize=11, font=FONT, parse_math=False
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
    known = get_font(findfont(FONT)).get_char_index
    return "".join(c if known(ord(c)) else "?" for c in text)


def new_figure(width: float, height: float) -> Figure:
    """Make a white figure of that size in inches, without pyplot, which would keep it in memory."""
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
            font=FONT,
            parse_math=False,
        )
