"""Thumbnails on a transparent ground: what stands out of the noise of each cutout, cropped to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt, label, minimum

from morphospace.sky.cutouts import Cutout, Cutouts
from morphospace.sky.display import display_mask
from morphospace.sky.thumbs import decode_thumb, make_thumb
from morphospace.space.embeddings import Embeddings
from morphospace.space.tiles import finder

__all__ = ["masked_thumbs"]

_BRIDGE = 0.03  # of the longer side: pieces no further apart than twice that are one object
_NEAR = (1.5, 0.05)  # pieces that begin this much further from the middle than the nearest one belong to it: two lobes
_MARGIN = 1.12
_LEAST = 14  # pixels of a crop's side


def masked_thumbs(cuts: Cutouts, emb: Embeddings) -> Callable[[Sequence[int]], list[NDArray[np.uint8]]]:
    """Give the thumbnails of embeddings without their background, found by id in the cutouts that they were made of.

    Parameters
    ----------
    cuts : Cutouts
    emb : Embeddings

    Returns
    -------
    callable
        Takes row numbers of ``emb`` and gives pictures, (H, W, 4), uint8: opaque where a pixel is above the mean + 5 sigma
        of a Gaussian fitted to the core of the histogram around its mode, in any band, and transparent elsewhere, so also
        where another object stands beside the one in the middle. Each is cropped to its object: they are not at one scale.

    Raises
    ------
    DataError
        If an id of ``emb`` is not in ``cuts``.
    """
    rows_in = finder(cuts, emb)
    rows_in(np.arange(len(emb)))
    return lambda wanted: [_masked(cutout) for cutout in cuts.read(rows_in(wanted))]


def _masked(cutout: Cutout) -> NDArray[np.uint8]:
    mask = _in_the_middle(display_mask(cutout))
    part = _around(mask)
    mask = mask[part]
    valid = None if cutout.mask is None else cutout.mask[part]
    picture = decode_thumb(make_thumb(replace(cutout, image=cutout.image[(slice(None), *part)], mask=valid)))
    alpha = Image.fromarray((255 * binary_dilation(mask)).astype(np.uint8))  # a pixel more, for a soft edge
    soft = np.asarray(alpha.resize((picture.shape[1], picture.shape[0]), Image.Resampling.BOX))
    return np.dstack([picture, soft[::-1] if cutout.hdu else soft])


def _in_the_middle(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep of what stands out the object in the middle, with all pieces of it."""
    longest = max(mask.shape)
    bridged = distance_transform_edt(~mask) <= _BRIDGE * longest
    pieces, n = label(bridged, np.ones((3, 3)))
    if n < 2:
        return mask
    rows, columns = np.nonzero(mask)
    middle = (np.array(mask.shape) - 1) / 2
    away = minimum(np.hypot(rows - middle[0], columns - middle[1]), pieces[mask], np.arange(1, n + 1))
    near = away <= _NEAR[0] * away.min() + _NEAR[1] * longest
    return np.asarray(mask & np.r_[False, near][pieces])


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Give the square that holds what is marked, as far as the image reaches."""
    at = np.argwhere(mask)
    if not len(at):  # a blank image
        return slice(None), slice(None)
    middle = (at.min(axis=0) + at.max(axis=0) + 1) / 2
    half = max(_MARGIN * np.ptp(at, axis=0).max() / 2 + 1.5, _LEAST / 2)
    first = np.maximum(np.floor(middle - half), 0).astype(int)
    last = np.minimum(np.ceil(middle + half), mask.shape).astype(int)
    return slice(first[0], last[0]), slice(first[1], last[1])
