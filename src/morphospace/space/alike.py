"""What makes two objects alike: how their similarity changes when a part of one is covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from morphospace.errors import ConfigError, DataError
from morphospace.learn.data import collate_stacks, major_axes, pixels_per_output
from morphospace.learn.prepare import Preparation
from morphospace.learn.views import plain_view
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.stacks import stacks
from morphospace.space.embed import Average, Embedder, symmetries
from morphospace.space.figures import legible
from morphospace.space.names import did_you_mean

__all__ = ["Alike", "Heat", "alike", "plot_alike"]

_PATCHES_PER_SIDE = 8  # a patch is an eighth of the view's side, and they overlap by half
_AT_ONCE = 64
_TINY = 1e-12


class Heat(NamedTuple):
    """One object of a pair, and how much each part of it makes them alike."""

    id: str
    view: NDArray[np.float32]
    """(C, S, S), what the network saw, stretched; cubes (C, Z, S, S)."""
    change: NDArray[np.float64]
    """(S, S): by how much the cosine similarity falls when the part around a pixel is covered; negative where covering
    makes them more alike. Mean over the patches that cover the pixel."""
    pixels: float
    """Pixels of the cutout for one of the view; both have the same centre."""
    angle: float
    """Direction in the cutout, radians from columns towards rows, that lies along the rows of the view."""
    upward: bool
    """Whether row 0 is shown at the bottom, as of FITS; False: at the top, as of pictures."""


@dataclass(frozen=True)
class Alike:
    """What makes a pair alike.

    Attributes
    ----------
    a, b : Heat
        The same question in both directions: parts of ``a`` covered, then parts of ``b``.
    similarity : float
        Cosine of the two vectors, nothing covered.
    patch : int
        Side of the patches, pixels of the view.
    """

    a: Heat
    b: Heat
    similarity: float
    patch: int

    def shown(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give both maps of what makes them alike for display: from 0 to 1, the strongest of both is 1."""
        top = max(float(self.a.change.max()), float(self.b.change.max()), _TINY)
        first, second = (np.clip(heat.change / top, 0.0, 1.0) for heat in (self.a, self.b))
        return first, second


def alike(
    run: Run | str | Path | Embedder,
    cutouts: Cutouts,
    *,
    a: str,
    b: str,
    patch: int | None = None,
    average: Average | None = None,
) -> Alike:
    """Find the parts of two objects that make them alike, by covering them one after the other.

    Each patch of the one's view is put at the background level, the network sees it again, and the cosine similarity to
    the other, left whole, is compared with that of the two as they are; then the other way round.

    Parameters
    ----------
    run : Run, path or Embedder
        That the embeddings were made with; an ``Embedder`` is not made anew for each pair.
    cutouts : Cutouts
    a, b : str
        Ids.
    patch : int, from 1 to the side of the view, optional
        Side of the patches in pixels of the view; they overlap by half. Default: an eighth of the view.
    average : {"d4"}, optional
        As for ``embed``; an ``Embedder`` brings its own.

    Returns
    -------
    Alike

    Raises
    ------
    DataError
        If an id is not in the cutouts.
    ConfigError
        If ``patch`` or ``average`` is out of range.
    ShapeError
        If the cutouts have other bands than the run.

    Notes
    -----
    Occlusion (Zeiler & Fergus 2014, section 4.2), with the similarity of a pair in place of a class's score. The level
    is that of the run's preparation; where its stretch takes limits from each image (``zscale``, ``percentile``), the
    median of the view. A covered patch has no noise, which a network may notice where the image is noisy.
    """
    kernel = run if isinstance(run, Embedder) else _embedder(run, average)
    side = kernel.preparation.size
    patch = max(1, side // _PATCHES_PER_SIDE) if patch is None else patch
    if not 1 <= patch <= side:
        msg = f"patch must be from 1 to {side}, the side of the view in pixels; got {patch}."
        raise ConfigError(msg)
    rows = _rows(cutouts, (a, b))
    views, pixels, angles = zip(*(_view(kernel, cutouts, row) for row in rows), strict=True)
    upward = [bool(cutout.hdu) for cutout in cutouts.read(rows)]
    whole = [_vectors(kernel, view)[0] for view in views]
    similarity = float(_cosines(whole[0][None], whole[1])[0])
    heats = []
    for this, other in ((0, 1), (1, 0)):
        change = _changes(kernel, views[this], whole[other], similarity, patch)
        heats.append(Heat((a, b)[this], views[this][0].cpu().numpy(), change, pixels[this], angles[this], upward[this]))
    return Alike(heats[0], heats[1], similarity, patch)


def plot_alike(found: Alike) -> Figure:
    """Draw both objects as the network saw them, and over them what makes them alike.

    Parameters
    ----------
    found : Alike

    Returns
    -------
    matplotlib.figure.Figure
        The colour is the fall of the similarity, on one scale for both.
    """
    figure = Figure(figsize=(7.2, 7.6), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    top = max(float(found.a.change.max()), float(found.b.change.max()), _TINY)
    for column, heat in zip(axes.T, (found.a, found.b), strict=True):
        grey = heat.view.reshape(-1, *heat.view.shape[-2:]).mean(axis=0)
        origin: Literal["lower", "upper"] = "lower" if heat.upward else "upper"
        low, high = np.percentile(grey, (0.5, 99.5))
        for ax in column:
            ax.imshow(grey, cmap="gray", origin=origin, vmin=low, vmax=max(high, low + _TINY))
            ax.set_xticks([]), ax.set_yticks([])
        strength = np.clip(heat.change / top, 0, 1)
        column[1].imshow(heat.change, cmap="inferno", origin=origin, vmin=0, vmax=top, alpha=0.15 + 0.6 * strength)
        column[0].set_title(legible(heat.id), fontsize=9)
    scale = ScalarMappable(Normalize(0, top), "inferno")
    figure.colorbar(scale, ax=axes[1], label="fall of the cosine similarity when covered", orientation="horizontal")
    figure.suptitle(f"cosine similarity {found.similarity:.3f}; patches of {found.patch} px", fontsize=10)
    return figure


def _embedder(run: Run | str | Path, average: Average | None) -> Embedder:
    return Embedder(run if isinstance(run, Run) else Run.open(run), average=average)


def _rows(cutouts: Cutouts, ids: Sequence[str]) -> list[int]:
    row_of = {identifier: row for row, identifier in enumerate(cutouts.ids)}
    for each in ids:
        if each not in row_of:
            msg = f"'{each}' is no id in the cutouts{did_you_mean(each, row_of)}"
            raise DataError(msg)
    return [row_of[each] for each in ids]


def _view(kernel: Embedder, cutouts: Cutouts, row: int) -> tuple[Tensor, float, float]:
    """Give the view (1, C, S, S) of a row, the pixels of the cutout for one of its own, and the angle it is turned by."""
    (stack,) = stacks(cutouts, [row])
    kernel.vectors([stack])  # refuses other bands, and images without noise, in the words of embed
    view = plain_view(collate_stacks([stack], kernel.preparation).to(kernel.device), kernel.preparation)
    scale, angle = (each(stack, kernel.preparation)[0] for each in (pixels_per_output, major_axes))
    return view, float(scale), float(angle)


@torch.no_grad()
def _vectors(kernel: Embedder, x: Tensor) -> Tensor:
    """Give the vectors (B, D), float64, of views, as ``embed`` does."""
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    total = kernel.method.outputs(x)["vector"].double()
    if kernel.average == "d4":
        for turned in symmetries(x):
            total = total + kernel.method.outputs(turned)["vector"].double()
    return total.cpu()


def _cosines(vectors: Tensor, other: Tensor) -> Tensor:
    lengths = vectors.norm(dim=1) * other.norm()
    return torch.div(vectors @ other, lengths.clamp_min(_TINY))


def _changes(kernel: Embedder, view: Tensor, other: Tensor, similarity: float, patch: int) -> NDArray[np.float64]:
    """Cover the view patch by patch; give the mean fall of the similarity at each pixel, (S, S)."""
    side, step = view.shape[-1], max(1, patch // 2)
    background = _background(view, kernel.preparation)
    # from outside of the corner to outside of the other, so that every pixel is covered equally often
    starts = range(step - patch, side, step)
    corners = [(top, left) for top in starts for left in starts]
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for first in range(0, len(corners), _AT_ONCE):
        some = corners[first : first + _AT_ONCE]
        covered = view.repeat(len(some), *[1] * (view.ndim - 1))
        places = [(slice(max(0, t), t + patch), slice(max(0, le), le + patch)) for t, le in some]
        for image, (down, across) in zip(covered, places, strict=True):
            image[..., down, across] = background
        falls = similarity - _cosines(_vectors(kernel, covered), other).numpy()
        for fall, place in zip(falls, places, strict=True):
            total[place] += fall
            count[place] += 1
    return total / count


def _background(view: Tensor, preparation: Preparation) -> Tensor:
    """Give what the view has where there is nothing: (C, 1, 1), for cubes (C, Z, 1, 1)."""
    if preparation.stretch.invertible:
        level: Tensor = preparation.stretch(torch.zeros_like(view[0, ..., :1, :1]))
        return level
    return view[0].flatten(-2).median(dim=-1).values[..., None, None]
