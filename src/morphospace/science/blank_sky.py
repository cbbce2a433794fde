"""The noise of the user's own pictures: their sky with the sources taken out, or noise drawn after it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphospace.errors import DataError
from morphospace.science.morphometry.segmentation import Segmentation, segment
from morphospace.sky.cutouts import Cutout, Cutouts
from morphospace.sky.noise import estimate_noise

__all__ = ["BlankSky", "blank_skies", "blank_sky"]

LEAST_BLANK = 0.3  # of the valid pixels: with less sky the patches would repeat themselves
ENOUGH = 10  # pictures with sky; from so many on, the others are left out
_SOURCES = Segmentation(threshold_sigma=1.5, peak_sigma=4.0, min_pixels=5, smoothing=3.0)
_SURELY = 5.0  # sigma, what no noise reaches
_MARGIN = 3  # px around a source, where its wings are
_TRIES = 32  # shifted copies of the sky that patches are taken from
_LAGS = 12  # px, the longest correlation of drawn noise
_FEWEST_PAIRS = 200  # pixels that a correlation is measured from

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


class BlankSky(NamedTuple):
    """Noise without sources, from one picture.

    Attributes
    ----------
    cutout : Cutout
        The picture it comes from.
    noise : ndarray of float32, (C, H, W)
        In the unit of the pixels, level 0, defined everywhere.
    level, sigma : ndarray of float64, (C,)
        Background of the picture, and the standard deviation of the noise (robust, of its blank pixels).
    valid : ndarray of bool, (H, W)
        Pixels that the picture has.
    drawn : bool
        True where the picture had too little blank sky and the noise is made up after it.
    """

    cutout: Cutout
    noise: F32
    level: F64
    sigma: F64
    valid: Bool
    drawn: bool


def blank_skies(cutouts: Cutouts, n: int, rng: np.random.Generator) -> list[BlankSky]:
    """Take the noise of up to `n` pictures, drawn at random.

    Where at least `ENOUGH` of them have blank sky, those that have none are left out.

    Raises
    ------
    DataError
        If no picture has noise.
    """
    rows = np.sort(rng.permutation(len(cutouts))[:n])
    found = [sky for cutout in cutouts.read(rows) if (sky := blank_sky(cutout, rng)) is not None]
    if not found:
        msg = (
            f"none of {len(rows)} pictures of '{cutouts.path}' has noise to inject into: their sigma is 0 (masked, already "
            "clipped or a drawing); give cutouts whose background was left as it is."
        )
        raise DataError(msg)
    real = [sky for sky in found if not sky.drawn]
    return real if len(real) >= ENOUGH else found


def blank_sky(cutout: Cutout, rng: np.random.Generator) -> BlankSky | None:
    """Take the sources out of a picture.

    Sources are segmented on the mean of the bands in sigma, with a margin of 3 pixels, and covered with the picture's
    own sky, shifted and turned by 180 degrees, which keeps its correlation. With less than `LEAST_BLANK` of blank sky,
    Gaussian noise is drawn instead, of the sigma of the picture and the correlation of what is blank.

    Parameters
    ----------
    cutout : Cutout
    rng : Generator
        Draws the shifts.

    Returns
    -------
    BlankSky or None
        None where a band has no noise: sigma is 0, or no pixel is valid.
    """
    image = cutout.image.astype(np.float64)
    valid: Bool = np.asarray(np.isfinite(image).all(axis=0))
    if cutout.mask is not None:
        valid &= cutout.mask
    level, sigma = _known_noise(cutout, image, valid)
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        return None
    flat = np.where(valid, image - level[:, None, None], 0.0)
    blank = valid & ~_sources(flat / sigma[:, None, None], valid)
    enough = blank.sum() >= LEAST_BLANK * valid.sum()
    if enough:
        level, flat, sigma = _measured_again(level, flat, blank)
        if not (sigma > 0).all():
            return None
    noise = _covered(flat, blank, rng) if enough else _drawn(flat, blank, sigma, rng)
    return BlankSky(cutout, noise.astype(np.float32), level, sigma, valid, not enough)


def _known_noise(cutout: Cutout, image: F64, valid: Bool) -> tuple[F64, F64]:
    """Give level and sigma of the store, or measure them where it has none."""
    level, sigma = np.asarray(cutout.level, np.float64), np.asarray(cutout.sigma, np.float64)
    if len(level) and len(sigma) and np.isfinite(level + sigma).all():
        return level, sigma
    noise = estimate_noise(image, valid)
    return noise.level.astype(np.float64), noise.sigma.astype(np.float64)


def _sources(in_sigma: F64, valid: Bool) -> Bool:
    plane = in_sigma.mean(axis=0)
    # where an object fills the picture the smoothed image has no noise to be told from: sigma itself then says
    there = (segment(plane, valid, _SOURCES) > 0) | (plane > _SURELY)
    return np.asarray(ndimage.binary_dilation(there, iterations=_MARGIN))


def _measured_again(level: F64, flat: F64, blank: Bool) -> tuple[F64, F64, F64]:
    """Measure level and sigma anew without the sources, whose wings had raised them."""
    noise = estimate_noise(flat, blank)
    offset = noise.level.astype(np.float64)
    return level + offset, flat - offset[:, None, None], noise.sigma.astype(np.float64)


def _covered(flat: F64, blank: Bool, rng: np.random.Generator) -> F64:
    """Cover what is not blank with shifted copies of what is, those first that cover most."""
    sky = np.where(blank, flat, 0.0)
    missing = ~blank
    copies = []
    for number in range(_TRIES):
        shift = (int(rng.integers(blank.shape[0])), int(rng.integers(blank.shape[1])))
        turned = bool(number % 2)
        copies.append((int((missing & _moved(blank, shift, turned)).sum()), shift, turned))
    for _, shift, turned in sorted(copies, reverse=True):
        if not missing.any():
            return sky
        here = missing & _moved(blank, shift, turned)
        sky[:, here] = _moved(flat, shift, turned)[:, here]
        missing &= ~here
    pixels = flat[:, blank]  # (C, P); what no copy covers takes single pixels
    sky[:, missing] = pixels[:, rng.integers(pixels.shape[1], size=int(missing.sum()))]
    return sky


def _moved(values: NDArray[Any], shift: tuple[int, int], turned: bool) -> NDArray[Any]:
    rolled = np.roll(values, shift, axis=(-2, -1))
    return rolled[..., ::-1, ::-1] if turned else rolled


def _drawn(flat: F64, blank: Bool, sigma: F64, rng: np.random.Generator) -> F64:
    """Draw Gaussian noise of given sigma, with the correlation that the blank pixels of each band have."""
    bands, height, width = flat.shape
    shape = (height + 2 * _LAGS, width + 2 * _LAGS)  # what wraps around is cut off
    out = np.empty_like(flat)
    for band in range(bands):
        power = np.fft.rfft2(_correlation(flat[band], blank, shape)).real.clip(0)
        white = np.fft.rfft2(rng.standard_normal(shape))
        noise = np.fft.irfft2(white * np.sqrt(power), s=shape)[:height, :width]
        out[band] = noise * (sigma[band] / noise.std())
    return out


def _correlation(plane: F64, blank: Bool, shape: tuple[int, int]) -> F64:
    """Measure the autocorrelation over pairs of blank pixels, 1 at lag 0 and tapered to 0 at `_LAGS`; periodic."""
    white = np.zeros(shape)
    white[0, 0] = 1.0
    if blank.sum() < _FEWEST_PAIRS:
        return white
    there = np.zeros(shape)
    there[: plane.shape[0], : plane.shape[1]] = blank
    values = np.zeros(shape)
    values[: plane.shape[0], : plane.shape[1]] = np.where(blank, plane - plane[blank].mean(), 0.0)
    pairs = np.fft.irfft2(np.abs(np.fft.rfft2(there)) ** 2, s=shape)
    sums = np.fft.irfft2(np.abs(np.fft.rfft2(values)) ** 2, s=shape)
    if not sums[0, 0] > 0:
        return white
    lags = [np.minimum(np.arange(side), side - np.arange(side)) for side in shape]
    distance = np.hypot(lags[0][:, None], lags[1])
    taper = 0.5 * (1 + np.cos(np.pi * np.minimum(distance / _LAGS, 1.0)))
    known = pairs > 0.5 * _FEWEST_PAIRS
    correlation = np.where(known, sums / np.maximum(pairs, 1.0), 0.0) / (sums[0, 0] / pairs[0, 0])
    return np.asarray(correlation * taper)
