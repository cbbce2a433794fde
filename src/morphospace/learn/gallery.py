"""A page of pictures that shows what views do to images, to look at before a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.learn.data import check_noise, collate_stacks
from morphospace.learn.views import Views, make_view, plain_view
from morphospace.learn.views import views as preset_views
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.images import Image, find_files, read_image
from morphospace.sky.samples import Sample
from morphospace.sky.stacks import Stack, sample_stack, stacks

__all__ = ["plot_views", "sample_of"]

MOST_IMAGES = 12
_PANEL, _CAPTION = 1.2, 0.22  # inches


class _Shown(NamedTuple):
    """One image to show; FITS images have their first row at the bottom."""

    stack: Stack
    upright: bool


def plot_views(
    images: str | Path | Sequence[str | Path] | Cutouts,
    views: Views | None = None,
    *,
    n_views: int = 7,
    hdu: str | int | None = None,
    seed: int = 0,
) -> Figure:
    """Draw what a network would see of some images: each as it is prepared, and several random views of it.

    Parameters
    ----------
    images : path, sequence of paths or Cutouts
        Files as `curate` takes them, or a store. Of more than 12 images 12 are drawn, spread over all.
    views : Views, optional
        The preset "radio" for one band, "optical" for more, as in `train`.
    n_views : int, >= 1
        Random views of each image.
    hdu : str or int, optional
        Name or number of the FITS HDU of files.
    seed : int
        Of the views.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each image; all its pictures have one scale of grey. Three bands are drawn as red, green and blue, of
        other numbers their mean.

    Raises
    ------
    ConfigError
        If `n_views` is below 1.
    DataError
        If there is no image, or one cannot be read or brought to the units asked for.
    """
    if n_views < 1:
        msg = f"n_views must be at least 1; got {n_views}."
        raise ConfigError(msg)
    shown = _from_store(images) if isinstance(images, Cutouts) else _from_files(images, hdu)
    generator = torch.Generator().manual_seed(seed)
    figure = Figure(figsize=((n_views + 1) * _PANEL, len(shown) * (_PANEL + _CAPTION)), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), n_views + 1, squeeze=False)
    for line, one in zip(axes, shown, strict=True):
        pictures = _pictures(one.stack, views, n_views, generator)
        low, high = float(pictures[0].min()), float(pictures[0].max())
        for number, (ax, picture) in enumerate(zip(line, pictures, strict=True)):
            caption = one.stack.ids[0] if number == 0 else f"view {number}"
            _draw(ax, (picture - low) / max(high - low, 1e-12), caption, upright=one.upright)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.2 / figure.get_figheight(), hspace=0.25)
    return figure


def _from_files(source: str | Path | Sequence[str | Path], hdu: str | int | None) -> list[_Shown]:
    files = _spread(find_files(source))
    images = [read_image(file, hdu=hdu) for file in files]
    return [_Shown(sample_stack(sample_of(image), 0), upright=image.hdu == "") for image in images]


def sample_of(image: Image) -> Sample:
    """Return an image that was read from a file as a sample, its id the name of the file."""
    return {
        "image": image.data,
        "id": Path(image.source).name,
        "mask": image.mask,
        "pixel_scale_arcsec": image.pixel_scale_arcsec,
        "beam": image.beam,
    }


def _from_store(cuts: Cutouts) -> list[_Shown]:
    if not len(cuts):
        msg = f"'{cuts.path}' holds no cutouts, so there is nothing to draw; see its report."
        raise DataError(msg)
    rows = _spread(range(len(cuts)))
    hdus = cuts.table(["hdu"])["hdu"].to_pylist()
    return [_Shown(next(stacks(cuts, [row])), upright=hdus[row] == "") for row in rows]


def _spread(items: Sequence[Any]) -> list[Any]:
    """Return at most `MOST_IMAGES` items from all over a sequence."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), MOST_IMAGES)).round().astype(int))
    return [items[int(i)] for i in chosen]


def _pictures(stack: Stack, views: Views | None, n: int, generator: torch.Generator) -> list[NDArray[np.float32]]:
    """Return the prepared image and n views of it, each (S, S) or (S, S, 3)."""
    chosen = views or preset_views("radio" if stack.images.shape[1] == 1 else "optical")
    quiet = [name for name, sigma in zip(stack.ids, stack.sigma, strict=True) if not (sigma > 0).all()]
    check_noise(chosen.prepare, quiet, len(stack.ids))
    block = collate_stacks([stack], chosen.prepare)
    drawn = [plain_view(block, chosen.prepare)]
    drawn += [make_view(block, chosen, generator=generator).x for _ in range(n)]
    return [_picture(x[0].flatten(0, -3).numpy()) for x in drawn]


def _picture(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.moveaxis(planes, 0, -1) if len(planes) == 3 else planes.mean(axis=0)


def _draw(ax: Axes, picture: NDArray[np.float32], caption: str, *, upright: bool) -> None:
    ax.imshow(picture.clip(0, 1), cmap="gray", vmin=0, vmax=1, origin="upper" if upright else "lower")
    ax.set_title(caption[:24], fontsize=6, pad=2, parse_math=False)
    ax.set_axis_off()
