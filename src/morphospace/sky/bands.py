"""An image of several bands from a file, or an HDU, for each band."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, DataError
from morphospace.sky._intake import guarded, quiet, refusal
from morphospace.sky.images import Image, read_image

__all__ = ["BandSet", "ImageReader", "group_bands", "read_bands", "stack_bands"]

_logger = logging.getLogger(__name__)

_SAME_PIXEL = 0.05  # pixels by which two grids may differ and still be one
_SAME_SCALE = 1.01  # ratio up to which two pixel scales count as equal
_FIELD = "{band}"
_HDU = "hdu:"


class ImageReader(Protocol):
    """What reads one image."""

    def __call__(self, path: str | Path, *, hdu: str | int | None) -> Image:
        """Read it; raise DataError where there is none."""
        ...


class BandSet(NamedTuple):
    """The files of one image."""

    name: str
    """Name of the files without band and suffix."""
    files: tuple[Path | None, ...]
    """One per band; None where there is none."""
    hdus: tuple[str | None, ...]
    """HDU of each band, None: as asked for when reading."""


def group_bands(files: Iterable[str | Path], bands: Sequence[str]) -> list[BandSet]:
    """Put together the files whose names differ only in the band.

    Parameters
    ----------
    files : iterable of path
        As `find_files` gives them.
    bands : sequence of str
        Names of the bands as they stand in the names of the files: a word of their own, between characters that are
        neither letters nor digits (``"g"`` in ``ngc1_g.fits``), in their own case. One of them may hold ``{band}``
        and be a pattern instead, that says what stands around the names: ``("cutout{band}.", "g", "r")`` for
        ``cutoutg.fits``; with a slash it is looked for in the whole path, else in the name of the file alone:
        ``("/{band}/", "g", "r")`` for a folder per band. ``("hdu:SCI_{band}", "g", "r")``: the bands are the HDUs
        SCI_g and SCI_r of every file.

    Returns
    -------
    list of BandSet
        In the order of their first files; bands may be missing in a set. Files without a band in their names are
        left out, which is logged.

    Raises
    ------
    ConfigError
        If no band or one of them twice is named, or more than one pattern.
    DataError
        If no name holds a band, one holds two, or two files are the same band of one set.

    Examples
    --------
    >>> sets = group_bands(["a_g.fits", "a_r.fits", "b_r.fits"], ["g", "r"])
    >>> [(found.name, [file and file.name for file in found.files]) for found in sets]
    [('a', ['a_g.fits', 'a_r.fits']), ('b', [None, 'b_r.fits'])]
    """
    names, pattern = _names(bands)
    paths = [Path(file) for file in files]
    if pattern.startswith(_HDU):
        hdus = tuple(pattern.removeprefix(_HDU).replace(_FIELD, name) for name in names)
        return [BandSet(_stem(path.name), (path,) * len(names), hdus) for path in paths]
    expression = _expression(names, pattern)
    found: dict[str, list[Path | None]] = {}
    titles: dict[str, str] = {}
    others = []
    for path in paths:
        text = path.as_posix()
        begin = 0 if "/" in pattern else len(text) - len(path.name)
        hits = list(expression.finditer(text, begin))
        if not hits:
            others.append(path)
            continue
        if len(hits) > 1:
            what = f"holds more than one band in its name ({', '.join(hit['band'] for hit in hits)})"
            raise refusal(str(path), what, f"say with a pattern such as '_{_FIELD}.' which it is")
        start, stop = hits[0].span("band")
        key = text[:start] + "\0" + text[stop:]
        titles.setdefault(key, _title(text, start, stop, len(text) - len(path.name)))
        places = found.setdefault(key, [None] * len(names))
        i = names.index(hits[0]["band"])
        if places[i] not in (None, path):
            raise refusal(str(path), f"is the same band of one image as '{places[i]}'", "leave one of them out")
        places[i] = path
    none = (None,) * len(names)
    _account_for(others, names, len(paths))
    return [BandSet(titles[key], tuple(places), none) for key, places in found.items()]


def _account_for(others: Sequence[Path], names: Sequence[str], n: int) -> None:
    """Log the files without a band; refuse if they are all."""
    if not others:
        return
    what = f"no band of {', '.join(names)} in its name"
    if len(others) == n:
        raise refusal(
            str(others[0]), f"has {what}, nor has any other file", f"say with a pattern of {_FIELD} where it is"
        )
    _logger.warning("'%s' has %s and is left out, as are %d others", others[0], what, len(others) - 1)


def _names(bands: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Tell the bands from the pattern around them, "" without one."""
    patterns = [band for band in bands if _FIELD in band]
    names = tuple(band for band in bands if _FIELD not in band)
    if not names or len(set(names)) < len(names) or len(patterns) > 1 or "" in names:
        msg = f"bands need each name once, and at most one pattern with {{band}}; got {', '.join(map(repr, bands))}."
        raise ConfigError(msg)
    return names, "".join(patterns)


def _expression(names: Sequence[str], pattern: str) -> re.Pattern[str]:
    """Find a band in the name of a file; hits may share the characters around them."""
    band = f"(?P<band>{'|'.join(re.escape(name) for name in sorted(names, key=len, reverse=True))})"
    if not pattern:
        return re.compile(rf"(?<![A-Za-z0-9]){band}(?![A-Za-z0-9])")
    before, after = pattern.split(_FIELD, 1)
    return re.compile(f"(?<={re.escape(before)}){band}(?={re.escape(after)})")


def _title(text: str, start: int, stop: int, begin: int) -> str:
    """Name a set: its file's name without the band and the characters that set it off."""
    if start < begin:  # a folder per band
        return _stem(text[begin:])
    before, after = text[begin:start].rstrip("._- "), text[stop:]
    rest = _stem(after) if before else after.lstrip("._- ")
    return (before + rest).rstrip("._- ") if before else _stem(rest)


def _stem(name: str) -> str:
    """Take the suffixes from the name of an image file."""
    return re.sub(r"(?i)\.(?:fits?|fts|fz|png|jpe?g|tiff?|npy|npz)(?:\.(?:fz|gz|bz2))?$", "", name)


def read_bands(
    found: BandSet, bands: Sequence[str], *, hdu: str | int | None = None, reader: ImageReader = read_image
) -> Image:
    """Read the files of a set and stack them; see `stack_bands`.

    Parameters
    ----------
    found : BandSet
        Of `group_bands`.
    bands : sequence of str
        As given to `group_bands`.
    hdu : str or int, optional
        As for `read_image`, where the bands are not HDUs themselves.
    reader : callable
        What reads each band, as `read_image` does; it must give one band.

    Raises
    ------
    DataError
        If a file gives no image, or they do not fit on each other.
    """
    names, _ = _names(bands)
    images = [
        None if file is None else reader(file, hdu=hdu if own is None else own)
        for file, own in zip(found.files, found.hdus, strict=True)
    ]
    return stack_bands(images, names)


def stack_bands(images: Sequence[Image | None], names: Sequence[str]) -> Image:
    """Make one image of several bands.

    Images on one grid are stacked as they are. If their WCS differ they are reprojected, with bilinear
    interpolation, to the grid of the finest pixels, the first of them where several are as fine. Without WCS on all
    of them, they must have one shape and are taken as aligned.

    Parameters
    ----------
    images : sequence of Image or None
        One band each; None where the band is missing.
    names : sequence of str
        Names of the bands.

    Returns
    -------
    Image
        ``mask``: True where every band that is there is valid; what lies outside a reprojected image is not.
        ``missing``: the bands that are not there: their pixels are 0 without any noise, so their level is 0 and
        their sigma unknown. Source, header and place are those of the image that gives the grid; unit and beam
        those of all, or unknown where they differ. ``variance`` where each band has one.

    Raises
    ------
    DataError
        If no band is there, an image has several bands itself, shapes differ without WCS, or the images do not
        overlap on the sky.
    MissingDependencyError
        If images must be reprojected and `reproject` is not installed.

    Notes
    -----
    Interpolation keeps surface brightness (Jy/beam, nanomaggies per arcsec2, counts of equal pixels), not the sum
    over the pixels: images in flux per pixel whose pixels differ in size need a factor of the ratio of the areas.
    Bands are not brought to a common resolution. Interpolated variance leaves out that neighbours are correlated.
    """
    given = [image for image in images if image is not None]
    if not given or len(images) != len(names):
        msg = f"{len(names)} bands need an image each, at least one of them not missing; got {len(given)} images."
        raise DataError(msg)
    for image in given:
        if len(image.data) != 1:
            raise refusal(image.source, f"holds {len(image.data)} bands where one is expected", "take its planes apart")
    base = _finest(given)
    aligned = {id(image): _align(image, base) for image in given}
    kind = np.result_type(*(image.data for image in aligned.values()))
    shape = (len(names), *base.data.shape[1:])
    data = np.zeros(shape, kind)
    variance = np.full(shape, np.nan, np.float32) if all(image.variance is not None for image in given) else None
    valid = np.ones(shape[1:], bool)
    for i, one in enumerate(images):
        if one is None:
            continue
        layer = aligned[id(one)]
        data[i] = layer.data[0]
        valid &= True if layer.mask is None else layer.mask
        if variance is not None and layer.variance is not None:
            variance[i] = layer.variance[0]
    return replace(
        base,
        data=data,
        mask=None if valid.all() else valid,
        unit=_common([image.unit for image in given], None),
        bands=tuple(names),
        wavelength_nm=tuple(np.nan if image is None else image.wavelength_nm[0] for image in images),
        beam=_common([image.beam for image in given], (np.nan,) * 3),
        variance=variance,
        missing=tuple(name for name, image in zip(names, images, strict=True) if image is None),
    )


def _common(values: Sequence[Any], otherwise: Any) -> Any:  # noqa: ANN401
    """Give the value that all share (NaN equals NaN here), else the other."""
    return values[0] if len({repr(value) for value in values}) == 1 else otherwise


def _finest(images: Sequence[Image]) -> Image:
    """Choose the image whose grid the others take."""
    scales = [image.pixel_scale_arcsec if image.wcs else np.inf for image in images]
    return next(image for image, scale in zip(images, scales, strict=True) if scale <= min(scales) * _SAME_SCALE)


def _align(image: Image, base: Image) -> Image:
    """Bring an image to the grid of another."""
    same_shape = image.data.shape == base.data.shape
    if image is base or (same_shape and (image.wcs is None or base.wcs is None or _same_grid(image, base))):
        return image
    if image.wcs is None or base.wcs is None:
        lacking = image if image.wcs is None else base
        sizes = " and ".join(f"{'x'.join(map(str, one.data.shape[1:]))}" for one in (image, base))
        other = base if lacking is image else image
        what = f"and '{other.source}' are of different sizes, {sizes} pixels, and the first has no WCS"
        raise refusal(lacking.source, what, "give both a WCS or the same size")
    return _reproject(image, base)


def _wcs(image: Image) -> WCS:
    """Celestial WCS of an image."""
    with quiet(image.source):
        return WCS(Header.fromstring(image.wcs or ""))


def _same_grid(image: Image, base: Image) -> bool:
    """Say whether corners and middle of one image have the same pixels in the other."""
    if image.wcs == base.wcs:
        return True
    height, width = image.data.shape[1:]
    x = np.array([0, width - 1, 0, width - 1, (width - 1) / 2])
    y = np.array([0, 0, height - 1, height - 1, (height - 1) / 2])
    with guarded(image.source, "has a WCS that cannot be compared", "mend its WCS"):
        sky = _wcs(image).pixel_to_world(x, y)
        px, py = _wcs(base).world_to_pixel(sky)
    return bool((np.hypot(px - x, py - y) < _SAME_PIXEL).all())


def _reproject(image: Image, base: Image) -> Image:
    """Interpolate an image, its mask and its variance on the grid of another."""
    reproject = optional_import("reproject", extra="mosaics", purpose="bringing bands to a common grid")
    target, shape, origin = _wcs(base), base.data.shape[1:], _wcs(image)

    def interpolate(plane: NDArray[Any]) -> NDArray[Any]:
        blank = plane if image.mask is None else np.where(image.mask, plane, np.nan)
        result: NDArray[Any] = reproject.reproject_interp(
            (blank.astype(np.float64), origin), target, shape_out=shape, order="bilinear", return_footprint=False
        )
        return result

    with guarded(image.source, f"cannot be reprojected to the grid of '{base.source}'", "mend its WCS"):
        data = interpolate(image.data[0]).astype(np.result_type(image.data.dtype, np.float32))
        variance = None if image.variance is None else interpolate(image.variance[0]).astype(np.float32)
    valid = np.isfinite(data)
    if not valid.any():
        raise refusal(
            image.source, f"has no valid pixel in the field of '{base.source}'", "group images of one field only"
        )
    return replace(
        image,
        data=data[None],
        mask=None if valid.all() else valid,
        variance=None if variance is None else variance[None],
    )
