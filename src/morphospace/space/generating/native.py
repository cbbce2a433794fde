"""From what a decoder makes back to flux: the stretch undone, and the units and the noise of a survey."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn.data import collate_stacks
from morphospace.learn.prepare import Preparation
from morphospace.sky.cutouts import Cutout, Cutouts
from morphospace.sky.samples import Sample
from morphospace.sky.stacks import sample_stack
from morphospace.space.generating.density import BLOCK

__all__ = ["Donor", "Survey", "unit_of", "unstretched", "with_units"]

_EIGHT_BITS = 255.0  # what 8-bit pictures are divided by in units "range"
_UNITS = {"noise": "sigma", "range": "fraction of the brightest pixel", "none": None}


class Donor(NamedTuple):
    """What a synthetic image takes from a real one: its brightness, its background and its noise."""

    cutout: Cutout
    scale: NDArray[np.float32]  # (C,) native units of one unit of the network
    level: NDArray[np.float32]  # (C,)
    sigma: NDArray[np.float32]  # (C,) noise of a pixel of the network, in native units; 0 where unknown


class Survey:
    """Real images whose units and noise synthetic ones take on, drawn at random.

    Parameters
    ----------
    cutouts : Cutouts
    preparation : Preparation
        Of the run.

    Raises
    ------
    DataError
        If there is no image.
    """

    def __init__(self, cutouts: Cutouts, preparation: Preparation) -> None:
        if not len(cutouts):
            msg = (
                f"survey '{cutouts.path}' has no image to take noise and units from; give the cutouts of the training."
            )
            raise DataError(msg)
        self.cutouts = cutouts
        # the steps of the run but for its units, so that averaging pixels takes from the noise what it took there; turning
        # takes from its brightest pixel, by which the run divided before
        self._native = replace(preparation, units="none", clip_sigma=None, align=False)
        self._units = preparation.units

    def donors(self, n: int, *, seed: int, start: int) -> list[Donor]:
        """Draw donors; rows `start` to `start + n` of the endless list that the seed stands for."""
        first, last = start // BLOCK, -(-(start + n) // BLOCK)
        drawn = [
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, block))).integers(
                len(self.cutouts), size=BLOCK
            )
            for block in range(first, last)
        ]
        rows = np.concatenate(drawn)[start - first * BLOCK :][:n]
        return [self._donor(cutout) for cutout in self.cutouts.read(rows)]

    def _donor(self, cutout: Cutout) -> Donor:
        sample: Sample = {
            "image": cutout.image,
            "id": cutout.id,
            "mask": cutout.mask,
            "pixel_scale_arcsec": cutout.pixel_scale_arcsec,
            "beam": cutout.beam,
        }
        if cutout.level and cutout.sigma:
            sample["level"], sample["sigma"] = (np.asarray(v, np.float32) for v in (cutout.level, cutout.sigma))
        stack = sample_stack(sample, 0)
        collated = collate_stacks([stack], self._native)
        level, sigma = stack.level[0], collated.sigma[0].numpy()
        if self._units == "none":
            return Donor(cutout, np.ones_like(level), np.zeros_like(level), sigma)
        if self._units == "noise":
            return Donor(cutout, sigma, level, sigma)
        if cutout.image.dtype == np.uint8:
            return Donor(cutout, np.full_like(level, _EIGHT_BITS), level, sigma)
        above = collated.x[0].numpy() - level[:, None, None]
        if collated.mask is not None:
            above = above * collated.mask[0].numpy()
        top = float(above.max()) or 1.0
        return Donor(cutout, np.full_like(level, top if top > 0 else abs(float(above.min()))), level, sigma)


def unstretched(images: NDArray[np.float32], preparation: Preparation) -> NDArray[np.float32]:
    """Undo the stretch of a run.

    Parameters
    ----------
    images : array, (N, C, S, S), float32
        As a decoder makes them.
    preparation : Preparation

    Returns
    -------
    array, (N, C, S, S), float32
        In the units of the preparation; as they came in where the stretch has no inverse (zscale, percentile).
    """
    return preparation.stretch.inverse(images) if preparation.stretch.invertible else images


def unit_of(preparation: Preparation) -> str | None:
    """Name the unit of `unstretched` images: None where it is that of the stored pixels."""
    return _UNITS[preparation.units] if preparation.stretch.invertible else "stretched"


def with_units(image: NDArray[np.float32], donor: Donor, noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Give an image (C, S, S) the units of a donor and, with standard normal numbers of its shape, its noise.

    Raises
    ------
    ShapeError
        If the donor has other bands.
    ConfigError
        If the noise of the donor is unknown.
    """
    if len(donor.scale) != len(image):
        msg = f"'{donor.cutout.id}' of the survey has {len(donor.scale)} bands and the run {len(image)}; give another survey."
        raise ShapeError(msg)
    flux = image * donor.scale[:, None, None] + donor.level[:, None, None]
    if noise is None:
        return flux.astype(np.float32)
    if not (donor.sigma > 0).all():
        msg = f"'{donor.cutout.id}' of the survey has no noise (sigma {donor.sigma.tolist()}); generate without noise."
        raise ConfigError(msg)
    return (flux + donor.sigma[:, None, None] * noise).astype(np.float32)
