"""From an image to its objects: the whole image, its middle, or the sources that detection finds in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.curation.crop import (
    Window,
    centre_window,
    crop_mask,
    crop_pixels,
    segment_in,
    shift_header,
    source_window,
)
from morphospace.sky.curation.names import printable
from morphospace.sky.cutouts import Cutout, pixel_sha256
from morphospace.sky.flags import Flag
from morphospace.sky.headers import parse_header
from morphospace.sky.images import Image
from morphospace.sky.noise import Noise, estimate_noise
from morphospace.sky.planes import sigma_of
from morphospace.sky.quality import Quality, assess
from morphospace.sky.wcs import locate

if TYPE_CHECKING:  # photutils takes a second to import, in each process
    from morphospace.sky.companions import Blanked
    from morphospace.sky.detect import Detection, Source

__all__ = ["Blanker", "Finder", "Found", "objects_in"]

Finder: TypeAlias = "Callable[..., list[Source]]"
Blanker: TypeAlias = "Callable[..., Blanked]"

_CELL = 64  # pixels: sky is measured once for all sources in a cell, on the cell and half of one around it
_ENOUGH_SKY = 500  # pixels


class Found(NamedTuple):
    """One object and what its pixels say about it."""

    cutout: Cutout
    quality: Quality


def objects_in(
    image: Image,
    name: str,
    *,
    size: int | None = None,
    detect: Detection | None = None,
    find: Finder | None = None,
    blank: Blanker | None = None,
    columns: Mapping[str, Any] | None = None,
) -> Iterator[Found]:
    """Make the cutouts of one image.

    Parameters
    ----------
    image : Image
        What was read.
    name : str
        Id of the file; sources get ``name#0000`` and so on, the highest peak first.
    size : int, optional
        Side of square cutouts, cropped or padded; nothing is resampled. None keeps the image, or each source's size.
    detect : Detection, optional
        Cut out the sources found so; None makes the image one object.
    find : callable, optional
        What finds them, `find_sources`; needed with `detect`.
    blank : callable, optional
        What blanks the neighbours of each object, `blank_companions`; None leaves them.
    columns : mapping, optional
        Values of the user's columns, for all objects of the image.

    Yields
    ------
    Found
        Level and sigma are those of the whole image, of sources those of the sky around them; sigma is that of the
        variance where there is one. Bands that are missing have level 0 and sigma 1.
    """
    known = {"hdu": image.hdu, "source": printable(image.source), "columns": columns or {}, **_common(image)}
    if detect is None or find is None:
        yield _whole(image, name, size, blank, known)
        return
    sources = find(image.data, image.mask, detect, beam_px=_beam_px(image), variance=image.variance)
    sky = _Sky(image, sources)
    cards = parse_header(image.wcs.encode("ascii"), image.source) if image.wcs else None
    for number, source in enumerate(sources):
        window = source_window(source, size=size, padding=detect.padding)
        place: dict[str, Any] = {"x": source.x, "y": source.y}
        if cards is not None:
            at_source = locate(shift_header(cards, x=source.x, y=source.y), (1, 1), image.source)
            wcs = locate(shift_header(cards, x=window.x0, y=window.y0), window[2:], image.source).wcs
            place |= {"ra": at_source.ra, "dec": at_source.dec, "wcs": wcs}
        cut = _cut(image, window, sky.around(source))
        footprint = segment_in(source, window)
        yield _found(image, cut, f"{name}#{number:04d}", {**known, **place}, blank=blank, footprint=footprint)


def _whole(image: Image, name: str, size: int | None, blank: Blanker | None, known: Mapping[str, Any]) -> Found:
    noise = _known_noise(image, estimate_noise(image.data, image.mask), image.variance, image.mask)
    height, width = image.data.shape[1:]
    cut = _Cut(image.data, image.mask, image.variance, noise)
    left, bottom = image.origin
    place: dict[str, Any] = {"x": left + (width - 1) / 2, "y": bottom + (height - 1) / 2, "object": image.object}
    place |= {"ra": image.ra, "dec": image.dec, "wcs": image.wcs}
    if size is not None and (height, width) != (size, size):
        window = centre_window(image.data.shape, size)
        cut = _cut(image, window, noise)
        place |= {"x": left + window.x0 + (size - 1) / 2, "y": bottom + window.y0 + (size - 1) / 2}
        if image.wcs:
            cards = shift_header(parse_header(image.wcs.encode("ascii"), image.source), x=window.x0, y=window.y0)
            moved = locate(cards, (size, size), image.source)
            place |= {"ra": moved.ra, "dec": moved.dec, "wcs": moved.wcs}
    return _found(image, cut, name, {**known, **place}, blank=blank)


class _Cut(NamedTuple):
    """The pixels of one object."""

    data: NDArray[Any]
    mask: NDArray[np.bool_] | None
    variance: NDArray[np.float32] | None
    noise: Noise


def _cut(image: Image, window: Window, noise: Noise) -> _Cut:
    data = crop_pixels(image.data, window, noise.level)
    mask = crop_mask(image.mask, image.data.shape, window)
    if image.variance is None:
        return _Cut(data, mask, None, noise)
    variance = crop_pixels(image.variance, window, noise.level)  # floats: NaN beyond the border
    return _Cut(data, mask, variance, _known_noise(image, noise, variance, mask))


def _known_noise(
    image: Image, noise: Noise, variance: NDArray[np.float32] | None, mask: NDArray[np.bool_] | None
) -> Noise:
    """Put what is known of the noise in the place of what the pixels say."""
    if variance is None and not image.missing:
        return noise
    level, sigma = noise.level.copy(), noise.sigma.copy()
    if variance is not None:
        given = sigma_of(variance, mask)
        sigma = np.where(np.isfinite(given), given, sigma)
    absent = np.isin(image.bands, image.missing)
    level[absent], sigma[absent] = 0, 1
    return Noise(level, sigma)


def _found(
    image: Image,
    cut: _Cut,
    name: str,
    known: Mapping[str, Any],
    *,
    blank: Blanker | None,
    footprint: NDArray[np.bool_] | None = None,
) -> Found:
    data, mask, variance, noise = cut
    if blank is not None:
        data = blank(data, noise.level, noise.sigma, mask=mask).image
    quality = assess(data, mask, noise, saturate=_saturate(image), footprint=footprint)
    if image.missing:
        quality = quality._replace(flags=quality.flags | Flag.MISSING_BAND)
    cutout = Cutout(
        id=name,
        image=data,
        mask=mask,
        variance=variance,
        level=tuple(noise.level.tolist()),
        sigma=tuple(noise.sigma.tolist()),
        flags=int(quality.flags),
        group=name,
        sha256=pixel_sha256(data),
        **known,
    )
    return Found(cutout, quality)


def _common(image: Image) -> dict[str, Any]:
    names = ("unit", "bands", "wavelength_nm", "pixel_scale_arcsec", "beam")
    return {name: getattr(image, name) for name in names}


def _beam_px(image: Image) -> float | None:
    """Full width of the beam in pixels, NaN where it is unknown."""
    major, minor, _ = image.beam
    return math.sqrt(major * minor) / image.pixel_scale_arcsec if major * minor > 0 else None


def _saturate(image: Image) -> float | None:
    value = image.header.get("SATURATE")
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good and value is not None else None


class _Sky:
    """Level and noise of a field without its sources, measured where it is asked for."""

    def __init__(self, image: Image, sources: list[Source]) -> None:
        self._image, self._data = image, image.data
        self._free = np.ones(image.data.shape[1:], dtype=np.bool_) if image.mask is None else image.mask.copy()
        for source in sources:
            y0, y1, x0, x1 = source.bbox
            self._free[y0:y1, x0:x1] &= ~source.segment
        self._field = estimate_noise(image.data, self._free if self._free.any() else image.mask)
        self._cells: dict[tuple[int, int], Noise] = {}

    def around(self, source: Source) -> Noise:
        """Measure the sky about a source; where too little is free of sources, that of the field has to do."""
        cell = (int(source.y) // _CELL, int(source.x) // _CELL)
        if cell not in self._cells:
            y, x = (slice(max(n * _CELL - _CELL // 2, 0), n * _CELL + _CELL + _CELL // 2) for n in cell)
            free = self._free[y, x]
            enough = np.count_nonzero(free) >= _ENOUGH_SKY
            found = estimate_noise(self._data[:, y, x], free) if enough else self._field
            self._cells[cell] = _known_noise(self._image, found, None, None)
        return self._cells[cell]
