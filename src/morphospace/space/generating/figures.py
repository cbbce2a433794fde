"""Pictures of what a trained space holds and makes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from morphospace.errors import DataError
from morphospace.sky.cutouts import Cutouts
from morphospace.space.figures import legible
from morphospace.space.generating.compare import Agreement
from morphospace.space.generating.components import Components
from morphospace.space.generating.deblend import Deblended
from morphospace.space.generating.decoder import Decoder
from morphospace.space.generating.paint import FONT, PLAIN, Look, Sheet, painted, painted_residuals, short
from morphospace.space.generating.path import LatentPath
from morphospace.space.generating.reconstruct import Pictures
from morphospace.space.generating.sample import Samples
from morphospace.space.generating.traverse import Grid, Traversal
from morphospace.space.names import one_line

__all__ = [
    "plot_agreement",
    "plot_components",
    "plot_deblended",
    "plot_grid",
    "plot_path",
    "plot_reconstructions",
    "plot_samples",
    "plot_traversals",
]

_ACROSS = 12  # tiles in a row of a path
_MOST_SAMPLES = 12  # of a component


def plot_reconstructions(*groups: Pictures, look: Look = PLAIN, title: str = "") -> Figure:
    """Draw images, their reconstructions and the residuals, a group (the best, the worst) under the other.

    Parameters
    ----------
    *groups : Pictures
        At least one with an image. All images and reconstructions have one scale of brightness, all residuals another.
    look : Look
    title : str

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    shown = [group for group in groups if len(group.ids)]
    if not shown:
        msg = "there is no reconstruction to draw."
        raise DataError(msg)
    columns = max(len(group.ids) for group in shown)
    images = np.concatenate([group.images for group in shown])
    residuals, most = painted_residuals(np.concatenate([group.residuals for group in shown]), look)
    under = f"residual: image less reconstruction, black {-most:.2g} to white {most:.2g} in stretched units"
    sheet = Sheet(
        3 * len(shown), columns, left=1.0, below=[0.0, 0.0, 0.32] * len(shown), title=f"{title}\n{under}".strip()
    )
    first = 0
    for number, group in enumerate(shown):
        n = len(group.ids)
        rows = painted(group.images, look, like=images), painted(group.decoded, look, like=images)
        for i, (name, pictures) in enumerate(
            zip(("image", "reconstruction", "residual"), (*rows, residuals[first : first + n]), strict=True)
        ):
            row = 3 * number + i
            sheet.name_row(row, name)
            sheet.strip(row, 0, pictures)
        for column, (identifier, error) in enumerate(zip(group.ids, group.errors, strict=True)):
            sheet.caption(3 * number + 2, column, [short(identifier), f"error {error:.2g}"])
        first += n
    return sheet.figure


def plot_samples(samples: Samples, *, look: Look = PLAIN, title: str = "") -> Figure:
    """Draw synthetic images, those of each component in a row of their own (at most 12), or in a square without components."""
    names = np.unique(samples.components)
    if len(names) == 1:
        across = min(_ACROSS, math.ceil(math.sqrt(len(samples.images))))
        rows = [np.arange(i, min(i + across, len(samples.images))) for i in range(0, len(samples.images), across)]
    else:
        rows = [np.flatnonzero(samples.components == c)[:_MOST_SAMPLES] for c in names]
    pictures = painted(samples.images, look)
    sheet = Sheet(len(rows), max(len(r) for r in rows), left=1.0 if len(names) > 1 else 0.1, title=title)
    for number, row in enumerate(rows):
        if len(names) > 1:
            sheet.name_row(number, f"component {names[number]}")
        sheet.strip(number, 0, pictures[row])
    return sheet.figure


def plot_traversals(*traversals: Traversal, most: int = 16, look: Look = PLAIN, title: str = "") -> Figure:
    """Draw traversals, several runs (of 2, 4, 8 and more latents) side by side.

    Parameters
    ----------
    *traversals : Traversal
        At least one.
    most : int, >= 1
        Latents drawn of each, the first of its list.
    look : Look
    title : str

    Raises
    ------
    DataError
        If there is none.
    """
    if not traversals:
        msg = "there is no traversal to draw."
        raise DataError(msg)
    widths = [len(t.steps) for t in traversals]
    rows = max(min(most, len(t.latents)) for t in traversals)
    sheet = _beside(traversals, rows, title)
    start = 0
    for t, width in zip(traversals, widths, strict=True):
        pictures = painted(t.images[:most], look, like=t.images)
        for row in range(min(most, len(t.latents))):
            x, y = sheet.corner(row, start + 1)
            sheet.strip(row, start + 1, pictures[row])
            _beside_name(sheet, x, y, f"z_{t.latents[row]}\n±{abs(t.values[row, -1] - t.values[row, 0]) / 2:.2g}")
        named = f"{t.name}: " if t.name else ""
        shown = "" if len(t.latents) <= most else f", the first {most} shown"
        sheet.head(start + 1, f"{named}{len(t.base)} latents{shown}", columns=width)
        start += width + 1
    return sheet.figure


def _beside(traversals: Sequence[Traversal], rows: int, title: str) -> Sheet:
    columns = sum(len(t.steps) + 1 for t in traversals)
    extent = max(float(t.steps[-1]) for t in traversals)
    under = f"each row moves one latent by ±{extent:g} standard deviations of the training images and holds the others"
    return Sheet(rows, columns, tile=0.6, left=0.0, title=f"{title}\n{under}\n ".strip("\n"))


def _beside_name(sheet: Sheet, x: float, y: float, text: str) -> None:
    width, height = sheet.width, sheet.height
    words = legible(text.splitlines()[0]) + "\n" + legible(text.splitlines()[1])
    sheet.figure.text((x - 0.06) / width, (y + 0.3) / height, words, ha="right", va="center", fontsize=6.5, font=FONT)


def plot_grid(found: Grid, *, look: Look = PLAIN, title: str = "") -> Figure:
    """Draw the images of a grid where they lie on the plane, and beside them the objects of a map."""
    ny, nx = found.images.shape[:2]
    pictures = painted(found.images, look)[::-1]  # row 0 of a grid is the lowest
    side = pictures.shape[2]
    canvas = pictures.transpose(0, 2, 1, 3, 4).reshape(ny * side, nx * side, 3)
    panels = 2 if len(found.points) else 1
    figure = Figure(figsize=(6.2 * panels, 6.6), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    axes[0].imshow(canvas, interpolation="antialiased")
    ticks = np.unique(np.linspace(0, nx - 1, min(nx, 5)).round().astype(int))
    axes[0].set_xticks((ticks + 0.5) * side, [f"{found.x[i]:.2g}" for i in ticks])
    ticks = np.unique(np.linspace(0, ny - 1, min(ny, 5)).round().astype(int))
    axes[0].set_yticks((ny - ticks - 0.5) * side, [f"{found.y[i]:.2g}" for i in ticks])
    if panels == 2:
        axes[1].scatter(found.points[:, 0], found.points[:, 1], s=3, linewidths=0, c="0.3")
        axes[1].set_box_aspect(1)
    for ax in axes:
        ax.set_xlabel(found.axes[0], font=FONT)
        ax.set_ylabel(found.axes[1], font=FONT)
    names = ("decoded; white: no object near", "the objects") if panels == 2 else ("decoded",)
    for ax, name in zip(axes, names, strict=True):
        ax.set_title(name, font=FONT, fontsize=9)
    if title:
        figure.suptitle(legible(title), font=FONT, parse_math=False)
    return figure


def plot_path(path: LatentPath, *, look: Look = PLAIN, title: str = "") -> Figure:
    """Draw the images of a path in reading order, its stops framed, under each its id and component."""
    n = len(path.images)
    rows = math.ceil(n / _ACROSS)
    pictures = painted(path.images, look)
    under = f"decoded along straight lines of latents, {path.length:.3g} long in all; framed: objects"
    sheet = Sheet(rows, min(n, _ACROSS), below=0.28, title=f"{title}\n{under}".strip())
    stop_of = {int(at): number for number, at in enumerate(path.stops)}
    for row in range(rows):
        first = row * _ACROSS
        framed = [i - first for i in stop_of if first <= i < first + _ACROSS]
        sheet.strip(row, 0, pictures[first : first + _ACROSS], framed=framed)
    for i, number in stop_of.items():
        component = path.components[number]
        lines = [short(path.ids[number]), *([f"component {component}"] if component >= 0 else [])]
        sheet.caption(i // _ACROSS, i % _ACROSS, lines)
    return sheet.figure


def plot_deblended(*found: Deblended, look: Look = PLAIN, title: str = "") -> Figure:
    """Draw objects with companions, the way to the nearest object without, and that object.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    if not found:
        msg = "there is no object with a companion to draw."
        raise DataError(msg)
    columns = max(len(f.path.images) for f in found) + 2
    under = "image, its reconstruction, the way to that of the neighbour, image of the neighbour"
    sheet = Sheet(len(found), columns, below=0.28, title=f"{title}\n{under}".strip())
    for row, one in enumerate(found):
        everything = np.concatenate([one.images[:1], one.path.images, one.images[1:]])
        pictures = painted(everything, look, like=one.images)
        last = len(pictures) - 1
        sheet.strip(row, 0, pictures, framed=(0, last))
        plural = "companion" if one.n_companions == 1 else "companions"
        sheet.caption(row, 0, [short(one.id), f"{one.n_companions} {plural}"])
        sheet.caption(row, last, [short(one.neighbour), f"neighbour {one.rank}"])
    return sheet.figure


def plot_components(
    decoder: Decoder, found: Components, cutouts: Cutouts, *, n: int = 6, look: Look = PLAIN, title: str = ""
) -> Figure:
    """Draw each component in a row: its mean decoded, its most typical members, and samples drawn from it.

    Parameters
    ----------
    decoder : Decoder
    found : Components
    cutouts : Cutouts
        Images of the objects.
    n : int, >= 1
        Members and samples of each.
    look : Look
    title : str

    Raises
    ------
    DataError
        If no component has a member, or one is not in the cutouts.
    """
    used = [int(c) for c in np.argsort(-found.sizes, kind="stable") if found.sizes[c]]
    if not used:
        msg = "no component has a member, so there is nothing to draw."
        raise DataError(msg)
    place = {identifier: row for row, identifier in enumerate(cutouts.ids)}
    members = _typical_rows(found, used, n)
    absent = [found.ids[r] for row in members for r in row if found.ids[r] not in place]
    if absent:
        msg = f"'{absent[0]}' is not in cutouts '{cutouts.path.name}'; give those that the embeddings were made of."
        raise DataError(msg)
    real = [
        np.concatenate([p.x.float().cpu().numpy() for p in decoder.encode(cutouts, [place[found.ids[r]] for r in row])])
        for row in members
    ]
    everything = np.concatenate(real)
    sheet = Sheet(len(used), 2 * n + 3, tile=0.7, left=1.3, title=f"{title}\n ".lstrip("\n"))
    for row, c in enumerate(used):
        drawn, _ = found.mixture.only([c]).draw(n, seed=0)
        mean = decoder.images(found.mixture.means[c][None])
        sheet.name_row(row, f"component {c}\n{found.sizes[c]:,} objects\nweight {found.mixture.weights[c]:.3f}")
        sheet.strip(row, 0, painted(mean, look, like=everything))
        sheet.strip(row, 2, painted(real[row], look, like=everything))
        sheet.strip(row, n + 3, painted(decoder.images(drawn), look, like=everything))
    sheet.head(0, "mean, decoded")
    sheet.head(2, "its most typical objects", columns=n)
    sheet.head(n + 3, "drawn from it", columns=n)
    return sheet.figure


def _typical_rows(found: Components, used: Sequence[int], n: int) -> list[NDArray[np.int64]]:
    labels = found.labels
    rows = []
    for c in used:
        own = np.flatnonzero(labels == c)
        density = found.mixture.log_joint(found.vectors[own])[:, c]
        rows.append(own[np.argsort(-density, kind="stable")[:n]])
    return rows


def plot_agreement(found: Agreement, *, title: str = "") -> Figure:
    """Draw components beside classes: the share of each class in each component, and numbers of objects."""
    used = np.flatnonzero(found.counts.sum(axis=1))
    counts = found.counts[used]
    n = counts.sum(axis=1)
    share = counts / n[:, None]
    figure = Figure(figsize=(2.2 + 0.75 * len(found.classes), 1.4 + 0.32 * len(used)), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    ax = figure.add_subplot()
    ax.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row in range(len(used)):
        for column in range(len(found.classes)):
            colour = "white" if share[row, column] > 0.6 else "black"
            words = f"{counts[row, column]:,}"
            ax.text(column, row, words, ha="center", va="center", fontsize=7, color=colour, font=FONT)
    names = [legible(one_line(c, 16)) for c in found.classes]
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8, font=FONT, parse_math=False)
    ax.set_yticks(range(len(used)), [f"component {c}" for c in used], fontsize=8, font=FONT)
    under = f"AMI {found.ami:.3f}, purity {found.purity:.3f} (majority {found.majority:.3f})"
    ax.set_title(legible(f"{title}: {under}" if title else under), fontsize=9, font=FONT, parse_math=False)
    return figure
