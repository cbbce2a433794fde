"""The atlas: on one page, exemplars of every cluster at one scale, to be printed."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from morphospace.errors import DataError
from morphospace.sky.cutouts import Cutout, Cutouts
from morphospace.space.clustering.result import Clusters
from morphospace.space.clustering.stamps import STRETCH, Frame, draw_stamp, frame_of
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import legible, save_figure
from morphospace.space.names import one_line
from morphospace.space.tiles import finder

__all__ = ["plot_atlas", "write_atlas"]

_PAGE = (8.27, 11.69)  # inches: A4
_MARGIN, _TOP, _BOTTOM, _NAMES = 0.55, 1.25, 1.05, 1.3
_LARGEST, _GAP, _CAPTION = 1.15, 0.07, 0.11
_CAPTIONED = 0.62  # stamps of this side and more have room for their id
_FILLED = 0.8  # share of the height that stamps fill, where they can
_DPI = 300
_FONT = "DejaVu Sans"
_INK, _SOFT = "#1d2126", "#5c646d"


class _Grid(NamedTuple):
    """Stamps of each cluster; lengths in inches."""

    side: float
    pitch: float
    """From line to line."""
    room: float
    """From cluster to cluster."""
    columns: int
    lines: int
    """Of stamps, for each cluster."""


class _Stamp(NamedTuple):
    cluster: int
    place: int
    cutout: Cutout
    frame: Frame


def write_atlas(emb: Embeddings, clusters: Clusters, cuts: Cutouts, out: str | Path) -> Path:
    """Write the atlas as one page: .pdf, .svg or .png.

    Parameters
    ----------
    emb : Embeddings
        Those that were clustered.
    clusters : Clusters
    cuts : Cutouts
        Those embedded.
    out : path

    Raises
    ------
    DataError
        If there is no cluster, or an id is not among the cutouts.
    StoreError
        If it cannot be written.
    """
    return save_figure(plot_atlas(emb, clusters, cuts), out)


def plot_atlas(emb: Embeddings, clusters: Clusters, cuts: Cutouts) -> Figure:
    """Draw the most typical objects of each cluster on one A4 page, in as many lines as fill it.

    All stamps have one scale on the sky, north is up and east to the left; a scale bar, the stretch and what is not
    known are on the page. Stamps show the middle of the cutouts; their field is the median of the longer sides. An
    image without a WCS is shown as it lies in its file and marked; one without pixel scale too is shown in pixels.

    Parameters
    ----------
    emb, clusters, cuts
        As for `write_atlas`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if clusters.k == 0:
        msg = "there is no cluster to draw; cluster again with other options."
        raise DataError(msg)
    grid = _grid(clusters.k)
    stamps = _stamps(emb, clusters, cuts, grid)
    on_sky = [s.frame.side for s in stamps if s.frame.kind != "pixel"]
    in_pixels = [s.frame.side for s in stamps if s.frame.kind == "pixel"]
    fields = {"sky": _median(on_sky), "pixel": _median(in_pixels)}
    figure = Figure(figsize=_PAGE, facecolor="white")
    FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, _PAGE[0]), ylim=(0, _PAGE[1]))
    page.set_axis_off()
    _write_head(page, emb, clusters)
    for c in range(clusters.k):
        _write_name(page, clusters, c, grid)
    mixed = len({s.frame.kind for s in stamps}) > 1
    for stamp in stamps:
        field = fields["pixel" if stamp.frame.kind == "pixel" else "sky"]
        _draw(page, stamp, field, grid, mark=mixed)
    _write_foot(page, [s.frame.kind for s in stamps], fields, grid)
    return figure


def _median(sides: list[float]) -> float:
    return float(np.median(sides)) if sides else math.nan


def _grid(k: int) -> _Grid:
    """Take the largest stamps that fill the page well, or those that fill it best."""
    room, width = (_PAGE[1] - _TOP - _BOTTOM) / k, _PAGE[0] - 2 * _MARGIN - _NAMES
    gap = min(_GAP, room / 4)
    fewest = math.ceil((width + gap) / (min(_LARGEST, room) + gap))
    found = []
    for columns in range(fewest, 3 * fewest):
        side = (width + gap) / columns - gap
        pitch = side + gap + (_CAPTION if side >= _CAPTIONED else 0.0)
        found.append(_Grid(side, pitch, room, columns, math.floor(room / pitch)))
    filling = [grid for grid in found if grid.lines * grid.pitch >= _FILLED * room]
    return filling[0] if filling else max(found, key=lambda grid: grid.lines * grid.pitch)


def _stamps(emb: Embeddings, clusters: Clusters, cuts: Cutouts, grid: _Grid) -> list[_Stamp]:
    n = grid.columns * grid.lines
    places = [(c, i, row) for c in range(clusters.k) for i, row in enumerate(clusters.typical(c, n))]
    read = cuts.read(finder(cuts, emb)([row for _, _, row in places]))
    return [_Stamp(c, i, cutout, frame_of(cutout)) for (c, i, _), cutout in zip(places, read, strict=True)]


def _corner(grid: _Grid, cluster: int, place: int) -> tuple[float, float]:
    """Lower left corner of a stamp, in inches from that of the page."""
    line, column = divmod(place, grid.columns)
    width = _PAGE[0] - 2 * _MARGIN - _NAMES
    left = _MARGIN + _NAMES + column * (width - grid.side) / max(1, grid.columns - 1)
    return left, _PAGE[1] - _TOP - cluster * grid.room - line * grid.pitch - grid.side


def _draw(page: Axes, stamp: _Stamp, field: float, grid: _Grid, *, mark: bool) -> None:
    left, bottom = _corner(grid, stamp.cluster, stamp.place)
    picture = draw_stamp(stamp.cutout, stamp.frame, field, round(grid.side * _DPI * 0.6))
    extent = (left, left + grid.side, bottom, bottom + grid.side)
    page.imshow(picture, extent=extent, interpolation="nearest", aspect="auto", zorder=2)
    page.set(xlim=(0, _PAGE[0]), ylim=(0, _PAGE[1]))
    if mark and stamp.frame.kind != "sky":
        words = "px" if stamp.frame.kind == "pixel" else "N?"
        _text(page, left + 0.03, bottom + 0.03, words, 5, "white")
    if grid.side >= _CAPTIONED:
        letters = int(grid.side * 17)
        name = one_line(stamp.cutout.object or stamp.cutout.id, letters)
        _text(page, left, bottom - 0.095, name, 4.5, _SOFT)


def _write_head(page: Axes, emb: Embeddings, clusters: Clusters) -> None:
    title = "Atlas of clusters" if emb.path is None else f"Atlas of clusters: {one_line(emb.path.name, 50)}"
    _text(page, _MARGIN, _PAGE[1] - 0.62, title, 15, _INK, weight="bold")
    words = {"kmeans": "k-means", "gmm": "Gaussian mixture", "dpgmm": "Dirichlet-process mixture", "hdbscan": "HDBSCAN"}
    n = int(clusters.sizes.sum())
    told = f"{words[clusters.method]}, {clusters.k} clusters of {n:,} objects; the most typical of each, first on the left."
    _text(page, _MARGIN, _PAGE[1] - 0.88, told, 8, _SOFT)


def _write_name(page: Axes, clusters: Clusters, c: int, grid: _Grid) -> None:
    top = _PAGE[1] - _TOP - c * grid.room
    share = clusters.sizes[c] / max(1, int(clusters.sizes.sum()))
    lines = [f"{clusters.sizes[c]:,} objects, {100 * share:.0f} %"]
    stable = clusters.stability.jaccards[c]
    if np.isfinite(stable):
        lines.append(f"stability {stable:.2f}")
    size = 10 if grid.side > 0.45 else 7
    _text(page, _MARGIN, top - size / 72, f"{c}", size, _INK, weight="bold")
    if grid.side > 0.45:
        for i, line in enumerate(lines):
            _text(page, _MARGIN, top - size / 72 - 0.17 - 0.13 * i, line, 6.5, _SOFT)
    else:
        _text(page, _MARGIN + 0.25, top - size / 72, lines[0], 6, _SOFT)


def _write_foot(page: Axes, kinds: list[str], fields: dict[str, float], grid: _Grid) -> None:
    y = _BOTTOM - 0.32
    left = _MARGIN
    if math.isfinite(fields["sky"]):
        left = _scale_bar(page, left, y, fields["sky"], grid.side, "″")
    if math.isfinite(fields["pixel"]):
        _scale_bar(page, left, y, fields["pixel"], grid.side, " px")
    for i, line in enumerate([*_orientation(kinds), f"Stretch: {STRETCH}; 8-bit pictures as they are.", _maker()]):
        _text(page, _MARGIN, y - 0.24 - 0.125 * i, line, 6, _SOFT)


def _orientation(kinds: list[str]) -> list[str]:
    """Say what is known of the directions."""
    n, n_sky, n_scale, n_pixel = len(kinds), *(kinds.count(kind) for kind in ("sky", "scale", "pixel"))
    if n_sky == n:
        return ["North is up, east to the left, one scale for all."]
    if n_pixel == n:
        return ["No image has a WCS or a pixel scale: all are shown in pixels, as they lie in their files."]
    if n_scale == n:
        return ["One scale for all. No image has a WCS: directions are those of the files."]
    odd = []
    if n_scale:
        odd.append(f"{n_scale} without a WCS lie as in their files (N?)")
    if n_pixel:
        odd.append(f"{n_pixel} without WCS and pixel scale are shown in pixels (px)")
    first = "North is up, east to the left, one scale for all" if n_sky else "One scale for all"
    return [f"{first}; but {' and '.join(odd)}."]


def _maker() -> str:
    return f"Made with morphospace {version('morphospace')}."


def _scale_bar(page: Axes, left: float, y: float, field: float, side: float, unit: str) -> float:
    """Draw a bar of a round length near half a stamp; give where the next thing may begin."""
    length = _round(field / 2)
    width = length / field * side
    page.add_patch(Rectangle((left, y), width, 0.028, color=_INK, linewidth=0))
    text = f"{length:g}{unit}" if unit != "″" or length < 120 else f"{length / 60:g}′"
    _text(page, left + width + 0.08, y - 0.025, text, 7.5, _INK)
    return left + width + 0.9


def _round(value: float) -> float:
    """Largest of 1, 2, 3, 5 times a power of ten, or of whole minutes, that is not above a value."""
    if value >= 120:
        return 60 * _round(value / 60)
    power = 10.0 ** math.floor(math.log10(value))
    return max(n for n in (1, 2, 3, 5) if n * power <= value * (1 + 1e-9)) * power


def _text(page: Axes, x: float, y: float, text: str, size: float, colour: str, weight: str = "normal") -> None:
    page.text(
        x, y, legible(text), fontsize=size, color=colour, fontweight=weight, font=_FONT, parse_math=False, zorder=3
    )
