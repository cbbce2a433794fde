"""From a spectral cube to an image: its channels, moments, peak or principal channels."""

from __future__ import annotations

import difflib
import itertools
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from astropy import units
from astropy.wcs import Wcsprm
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import svds

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.sky._intake import one_line, quiet, refusal
from morphospace.sky.headers import format_card
from morphospace.sky.noise import estimate_noise

__all__ = [
    "CUBE_WAYS",
    "CubeReading",
    "Flattened",
    "SpectralAxis",
    "channel_noise",
    "flatten_cube",
    "read_spectral_axis",
    "ways_sentence",
]

_logger = logging.getLogger(__name__)

CubeWay = Literal["channels", "moments", "moment0", "moment1", "moment2", "peak", "pca"]
CUBE_WAYS: tuple[str, ...] = ("channels", "moments", "moment0", "moment1", "moment2", "peak", "pca")
AxisKind = Literal["frequency", "velocity", "wavelength", "unknown"]

_C = 299_792_458.0  # m/s
_KINDS: dict[str, tuple[AxisKind, str]] = {  # by the first four letters of CTYPE, with the unit where CUNIT is missing
    "FREQ": ("frequency", "Hz"),
    **dict.fromkeys(("VELO", "VRAD", "VOPT", "FELO"), ("velocity", "m/s")),
    **dict.fromkeys(("WAVE", "AWAV", "LAMB"), ("wavelength", "m")),
    **dict.fromkeys(("ENER", "WAVN", "ZOPT", "BETA"), ("unknown", "")),  # spectral, though nothing more is made of them
}
_MOST_GRAM = 4096  # rows of a matrix that is decomposed whole: 128 MiB
_NOISE_PIXELS = 2**17  # of a channel: sigma to 0.3 %
_SPECTRAL = frozenset(_KINDS)
_CURVED = re.compile(r"[FWVA]2[FWVA]|LOG|GRI|GRA|TAB")  # algorithms of the FITS spectral paper (Greisen et al. 2006)


@dataclass(frozen=True)
class CubeReading:
    """How a spectral cube becomes an image.

    Parameters
    ----------
    how : {"channels", "moments", "moment0", "moment1", "moment2", "peak", "pca"}
        See `flatten_cube`.
    sigma : float, >= 0
        Moments count what exceeds this many sigma of the noise of its channel; 0 counts every voxel.
    components : int, >= 1
        Number of principal channels.

    Raises
    ------
    ConfigError
        If one of them is out of its range.
    """

    how: CubeWay = "moments"
    sigma: float = 3.0
    components: int = 3

    def __post_init__(self) -> None:
        if self.how not in CUBE_WAYS:
            near = difflib.get_close_matches(str(self.how), CUBE_WAYS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(CUBE_WAYS)}."
            msg = f"a cube cannot be read as '{self.how}'; {hint}"
            raise ConfigError(msg)
        if not 0 <= self.sigma < math.inf:
            msg = f"moments need a threshold of 0 sigma or more; got {self.sigma}."
            raise ConfigError(msg)
        if self.components < 1:
            msg = f"a cube needs at least 1 principal channel; got {self.components}."
            raise ConfigError(msg)


@dataclass(frozen=True, eq=False)
class SpectralAxis:
    """The axis along which the planes of a cube lie."""

    values: NDArray[np.float64]
    """(Z,) centres of the channels in `unit`; may descend. Numbers from 0 where the header tells nothing."""
    unit: str = ""
    """CUNIT of the header, "" for numbers of planes."""
    kind: AxisKind = "unknown"
    """What is counted."""
    name: str = ""
    """First four letters of CTYPE: FREQ, VRAD, VOPT, VELO, WAVE, AWAV, ...; "" without one."""
    rest_nm: float = math.nan
    """Wavelength of the line in nm, from RESTFRQ, RESTFREQ or RESTWAV."""

    @property
    def widths(self) -> NDArray[np.float64]:
        """(Z,) positive widths of the channels in `unit`, by differences of their centres; of a lone channel 1."""
        if len(self.values) == 1:
            return np.ones(1)
        return np.abs(np.gradient(self.values))

    @property
    def wavelength_nm(self) -> NDArray[np.float64]:
        """(Z,) wavelengths of the channels; NaN where unknown, as for velocities without a rest frequency.

        Radio, optical and relativistic velocities by the name of the axis; wavelengths in air stay so.
        """
        nowhere = np.full(len(self.values), np.nan)
        if self.kind == "unknown":
            return nowhere
        with np.errstate(all="ignore"):  # absurd cards give NaN or infinity
            try:
                si = self.values * units.Unit(self.unit).to({"frequency": "Hz", "velocity": "m/s"}.get(self.kind, "m"))
            except (ValueError, TypeError):  # UnitConversionError is a TypeError, an unreadable unit a ValueError
                return nowhere
            if self.kind == "frequency":
                found = _C / si * 1e9
            elif self.kind == "wavelength":
                found = si * 1e9
            elif self.name == "VRAD":
                found = self.rest_nm / (1 - si / _C)
            elif self.name == "VOPT":
                found = self.rest_nm * (1 + si / _C)
            else:
                found = self.rest_nm * np.sqrt((1 + si / _C) / (1 - si / _C))
        return np.where((found > 0) & (found < np.inf), found, np.nan)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the channels: value and unit, in GHz and km/s where the header has Hz and m/s."""
        if not self.unit:
            return tuple(str(i) for i in range(len(self.values)))
        plain = self.unit.replace(" ", "").replace(".", "").lower()
        factor, unit = {"hz": (1e-9, "GHz"), "m/s": (1e-3, "km/s"), "ms-1": (1e-3, "km/s")}.get(plain, (1.0, self.unit))
        step = float(self.widths.min()) * factor if len(self.values) > 1 else abs(float(self.values[0])) * factor * 1e-3
        decimals = min(max(0, 1 - math.floor(math.log10(step))), 12) if step > 0 else 6
        return tuple(f"{value * factor:.{decimals}f} {unit}" for value in self.values)


class Flattened(NamedTuple):
    """What became of a cube."""

    data: NDArray[Any]  # (C, H, W)
    bands: tuple[str, ...]
    wavelength_nm: tuple[float, ...]
    unit: str | None


def ways_sentence() -> str:
    """Name the ways to read a cube, for refusals."""
    return f"{', '.join(CUBE_WAYS[:-1])} or {CUBE_WAYS[-1]}"


def read_spectral_axis(header: Mapping[str, Any], shape: Sequence[int], source: str) -> SpectralAxis | None:
    """Find the spectral axis of a cube by its CTYPE.

    Parameters
    ----------
    header : mapping
        Values by keyword.
    shape : sequence of int
        Lengths of the axes in numpy's order, as in the file.
    source : str
        Name of the file, for messages.

    Returns
    -------
    SpectralAxis or None
        None where the planes are none of a cube: one plane, or a Stokes axis. An axis without a name counts as a
        spectral one whose values are unknown.

    Raises
    ------
    DataError
        If the spectral axis is the first or second of the file, or there are planes along more axes than one.
    """
    n = len(shape)
    lengths = {i: shape[n - i] for i in range(1, n + 1)}  # by FITS number
    names = {i: str(header.get(f"CTYPE{i}") or "").strip().upper() for i in lengths}
    odd = [i for i in (1, 2) if names.get(i, "")[:4] in _SPECTRAL and lengths[i] > 1]
    long = [i for i in lengths if i > 2 and lengths[i] > 1]
    if odd and long:
        order = ", ".join(f"{names[i] or '?'} ({lengths[i]})" for i in lengths)
        raise refusal(source, f"has its spectral axis among the first two ({order})", "reorder it to x, y, spectral")
    if not long:
        return None
    if len(long) > 1:
        planes = " x ".join(f"{lengths[i]} {names[i] or 'unnamed'}" for i in long)
        raise refusal(
            source, f"holds planes along {len(long)} axes ({planes})", "save one Stokes plane or one cube of it"
        )
    return None if names[long[0]] == "STOKES" else _axis(header, long[0], lengths[long[0]], source)


def _axis(header: Mapping[str, Any], i: int, n: int, source: str) -> SpectralAxis:
    """Read the values of axis i."""
    ctype = str(header.get(f"CTYPE{i}") or "").strip().upper()
    name, algorithm = ctype[:4], ctype[5:8]
    kind, unit = _KINDS.get(name, ("unknown", ""))
    unit = str(header.get(f"CUNIT{i}") or "").strip() or unit
    rest = _rest_nm(header)
    unknown = SpectralAxis(np.arange(n, dtype=np.float64), rest_nm=rest)
    step = _number(header, f"CD{i}_{i}")
    if math.isnan(step):
        turn = _number(header, f"PC{i}_{i}")
        step = _number(header, f"CDELT{i}") * (1.0 if math.isnan(turn) else turn)
    start, pixel = _number(header, f"CRVAL{i}"), _number(header, f"CRPIX{i}")
    if not (math.isfinite(step) and step != 0 and math.isfinite(start)):
        if ctype:
            _logger.warning("'%s': its axis %d (%s) has no values; its planes are numbered", source, i, ctype)
        return unknown
    pixel = 1.0 if math.isnan(pixel) else pixel
    if _CURVED.fullmatch(algorithm) or name == "FELO":
        values = _curved_values(header, (i, n), (start, pixel, step, unit), source)
        return unknown if values is None else SpectralAxis(values, unit, kind, name, rest)
    with np.errstate(over="ignore", invalid="ignore"):
        values = start + (np.arange(1, n + 1, dtype=np.float64) - pixel) * step
        useful = bool(np.isfinite(values).all() and (np.diff(values) != 0).all())
    if not useful:
        _logger.warning("'%s': its axis %d (%s) has no values apart; its planes are numbered", source, i, ctype)
        return unknown
    return SpectralAxis(values, unit, kind, name if name in _SPECTRAL else "", rest)


def _curved_values(
    header: Mapping[str, Any], place: tuple[int, int], linear: tuple[float, float, float, str], source: str
) -> NDArray[np.float64] | None:
    """Ask wcslib for the values of an axis that is not linear; None where it cannot say."""
    (i, n), (start, pixel, step, unit) = place, linear
    cards: dict[str, str | float] = {"CTYPE1": str(header[f"CTYPE{i}"]), "CUNIT1": unit}
    cards |= {"CRVAL1": start, "CRPIX1": pixel, "CDELT1": step}
    rest = {"RESTFRQ": _C / _rest_nm(header) * 1e9, "RESTWAV": _rest_nm(header) * 1e-9}
    cards |= {key: value for key, value in rest.items() if math.isfinite(value)}
    cards |= {f"PV1_{k}": value for k in range(7) if math.isfinite(value := _number(header, f"PV{i}_{k}"))}
    try:
        with quiet(source):
            text = format_card("WCSAXES", 1) + "".join(format_card(key, value) for key, value in cards.items())
            prm = Wcsprm(header=text.encode("ascii"), relax=True, warnings=False)
            prm.fix()
            prm.set()
            si = prm.p2s(np.arange(n, dtype=np.float64)[:, None], 0)["world"][:, 0]
            values: NDArray[np.float64] = si * units.Unit(str(prm.cunit[0])).to(unit)
    except Exception as error:  # wcslib and astropy have many classes; none of them may cost the image
        _logger.warning("'%s': its planes are numbered, its spectral axis is left out: %s", source, one_line(error))
        return None
    return values


def _rest_nm(header: Mapping[str, Any]) -> float:
    """Wavelength of the line in nm."""
    for key in ("RESTFRQ", "RESTFREQ"):
        if 0 < (frequency := _number(header, key)) < math.inf:
            return _C / frequency * 1e9
    wavelength = _number(header, "RESTWAV")
    return wavelength * 1e9 if 0 < wavelength < math.inf else math.nan


def _number(header: Mapping[str, Any], key: str) -> float:
    """Value of a card as a number, NaN if it is none."""
    try:
        return float(header.get(key, math.nan))
    except (TypeError, ValueError, OverflowError):
        return math.nan


def channel_noise(cube: NDArray[Any]) -> NDArray[np.float64]:
    """Estimate the noise of each channel of a cube, also of one that a cloud fills.

    The clipped deviation of a channel, but where emission makes it large no more than the larger of two measures
    that emission hardly enters: the deviation of the difference to its neighbours over the square root of 2, and the
    lower quartile of all channels. A sky line, whose noise is in the difference too, keeps its larger noise. Planes of
    more than 131,072 pixels are sampled: every k-th row and column.

    Parameters
    ----------
    cube : array, (Z, H, W)
        NaN and infinite pixels are left out.

    Returns
    -------
    array, (Z,), float64
        Sigma in the unit of the pixels; NaN in a channel without a valid pixel.
    """
    step = math.ceil(math.sqrt(cube[0].size / _NOISE_PIXELS))
    cube = cube[:, ::step, ::step]
    own = estimate_noise(cube).sigma.astype(np.float64)
    if len(cube) < 2 or np.isnan(own).all():
        return own
    between = np.array([_noise_between(a, b) for a, b in itertools.pairwise(cube)])
    sides = np.stack([np.append(between[:1], between), np.append(between, between[-1:])])
    seen = np.isfinite(sides).sum(axis=0)
    difference = np.nansum(sides, axis=0) / np.maximum(seen, 1)
    noise: NDArray[np.float64] = np.minimum(own, np.maximum(difference, np.nanpercentile(own, 25)))
    return noise


def _noise_between(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Noise of one channel, from two of them."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(estimate_noise(b.astype(np.float32) - a.astype(np.float32)).sigma[0]) / math.sqrt(2)


def flatten_cube(
    cube: NDArray[Any],
    axis: SpectralAxis,
    how: CubeWay,
    *,
    sigma: float = 3.0,
    components: int = 3,
    unit: str | None = None,
) -> Flattened:
    """Make an image of a spectral cube.

    Parameters
    ----------
    cube : array, (Z, H, W)
        Brightness; continuum-subtracted, if moments are to be those of a line. Blank pixels are NaN.
    axis : SpectralAxis
        Its Z channels.
    how : {"channels", "moments", "moment0", "moment1", "moment2", "peak", "pca"}
        ``channels``: each plane is a band. ``moment0``: sum over the voxels above the threshold times the channel
        width. ``moment1``: their mean position on the axis, weighted with brightness times width. ``moment2``: their
        weighted standard deviation about it (the dispersion, as in CASA; not the variance). ``moments``: these three
        as bands. ``peak``: the brightest channel of each pixel, without threshold. ``pca``: the first principal
        channels.
    sigma : float
        Threshold of the moments above zero, in units of `channel_noise`. With 0 there is none and negative voxels
        count, too: moment 0 is the white-light image of a cube with continuum, or too faint in single channels.
    components : int
        Number of principal channels.
    unit : str, optional
        BUNIT.

    Returns
    -------
    Flattened
        ``data`` (C, H, W) in float32, but moment 1 in float64 where the axis needs it (Hz). Pixels without a valid
        channel are NaN; moments 1 and 2 also where nothing is above the threshold, where moment 0 is 0, and where
        without threshold the sum is not positive. ``unit``:
        `unit` for channels, peak and pca, times that of the axis for moment 0, that of the axis for moments 1 and 2,
        None for ``moments``, whose bands differ. ``wavelength_nm``: of each channel; for the others the line's, else
        the mean of the channels'.

    Raises
    ------
    ShapeError
        If the cube is not (Z, H, W) with the axis's Z.
    DataError
        If principal channels are asked for that the cube does not have.
    ConfigError
        If `how`, `sigma` or `components` is out of its range.

    Notes
    -----
    Principal channels are projections of the spectra, less the mean spectrum, on the eigenvectors of their covariance
    (Heyer & Schloerb 1997 without their normalisation); a blank voxel counts as the mean of its channel. The sign is
    that which makes the sum of an eigenvector positive.
    """
    CubeReading(how, sigma, components)
    if cube.ndim != 3 or len(cube) != len(axis.values):
        msg = f"a cube must be (Z, H, W) with the {len(axis.values)} channels of its axis; got shape {cube.shape}."
        raise ShapeError(msg)
    waves = axis.wavelength_nm
    if how == "channels":
        with np.errstate(over="ignore"):
            data = cube.astype(np.float32, copy=False)
        return Flattened(data, axis.labels, tuple(float(wave) for wave in waves), unit)
    known = waves[np.isfinite(waves)]
    line = axis.rest_nm if math.isfinite(axis.rest_nm) else float(known.mean()) if len(known) else math.nan
    bands: tuple[str, ...] = (how,)
    with np.errstate(over="ignore", invalid="ignore"):
        if how == "peak":
            found, unit_of = _peak(cube)[None], unit
        elif how == "pca":
            found, unit_of = _principal(cube, components), unit
            bands = tuple(f"pc{i}" for i in range(1, components + 1))
        elif how == "moments":
            found, unit_of = _moments(cube, axis, sigma), None
            bands = ("moment0", "moment1", "moment2")
        else:
            order = int(how[-1])
            found = _moments(cube, axis, sigma)[order : order + 1]
            unit_of = axis.unit or None if order else _product(unit, axis.unit)
        return Flattened(found.astype(_dtype(bands, axis)), bands, (line,) * len(found), unit_of)


def _dtype(bands: tuple[str, ...], axis: SpectralAxis) -> type[np.floating[Any]]:
    """Choose float32, but float64 for positions that it would round to more than a hundredth of a channel."""
    coarse = np.abs(axis.values).max() * np.finfo(np.float32).eps > 0.01 * axis.widths.min()
    return np.float64 if "moment1" in bands and coarse else np.float32


def _product(first: str | None, second: str) -> str | None:
    """Give the unit of moment 0; None if that of the pixels is unknown."""
    return f"{first} {second}".strip() if first else None


def _peak(cube: NDArray[Any]) -> NDArray[Any]:
    """Maximum over the channels; NaN where all are blank."""
    peak = np.full(cube.shape[1:], np.nan, np.result_type(cube.dtype, np.float32))
    for plane in cube:
        peak = np.fmax(peak, np.where(np.isfinite(plane), plane, np.nan))
    return peak


def _moments(cube: NDArray[Any], axis: SpectralAxis, sigma: float) -> NDArray[np.float64]:
    """Moments 0, 1 and 2, channel by channel: memory for a few planes."""
    thresholds = sigma * channel_noise(cube) if sigma else np.full(len(cube), -np.inf)
    centre = float(axis.values.mean())
    spread = float(np.ptp(axis.values)) or 1.0  # positions in -1/2 ... 1/2: squares of 2e11 Hz would cost digits
    sums = np.zeros((3, *cube.shape[1:]))
    seen = np.zeros(cube.shape[1:], bool)
    for plane, threshold, value, width in zip(cube, thresholds, axis.values, axis.widths, strict=True):
        finite = np.isfinite(plane)
        seen |= finite
        flux = np.where(finite & (plane > threshold), plane, 0).astype(np.float64) * width
        u = (value - centre) / spread
        for power in range(3):
            sums[power] += flux * u**power
    total = np.where(sums[0] > 0, sums[0], np.nan)
    mean = sums[1] / total
    square = sums[2] / total - mean**2  # below 0 by rounding, or by negative voxels where there is no threshold
    dispersion = np.sqrt(np.maximum(square, 0) if sigma else square)
    moment0 = np.where(seen, sums[0], np.nan)
    return np.stack([moment0, centre + spread * mean, spread * dispersion])


def _principal(cube: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Project the spectra on the first n eigenvectors of their covariance."""
    x = cube.reshape(len(cube), -1).astype(np.float64)  # (Z, pixels)
    valid = np.isfinite(x)
    kept, seen = valid.any(axis=1), valid.any(axis=0)
    channels, pixels = int(kept.sum()), int(seen.sum())
    if n > min(channels, pixels):
        msg = f"a cube of {channels} channels and {pixels} pixels has fewer than {n} principal channels."
        raise DataError(msg)
    if valid.all():
        x -= x.mean(axis=1, keepdims=True)
    else:
        x, valid = x[kept][:, seen], valid[kept][:, seen]
        mean = np.where(valid, x, 0).sum(axis=1) / valid.sum(axis=1)
        x = np.where(valid, x - mean[:, None], 0)
    image = np.full((n, cube[0].size), np.nan)
    image[:, seen] = _scores(x, n)
    return image.reshape(n, *cube.shape[1:])


def _scores(x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Project the columns of x on its first n left singular vectors, by the smaller of its two Gram matrices."""
    size = min(x.shape)
    if size > _MOST_GRAM:
        _, _, vectors = svds(x, n, v0=np.ones(size), which="LM")
        right = vectors[::-1]
        right = right * np.linalg.norm(x @ right.T, axis=0)[:, None]
    elif len(x) == size:
        _, columns = eigh(x @ x.T, subset_by_index=[size - n, size - 1])
        right = columns[:, ::-1].T @ x
    else:
        values, columns = eigh(x.T @ x, subset_by_index=[size - n, size - 1])
        right = (columns * np.sqrt(np.maximum(values, 0)))[:, ::-1].T
    up = np.where((x @ right.T).sum(axis=0) < 0, -1.0, 1.0)  # x times a right vector is its left one
    return np.asarray(right * up[:, None], dtype=np.float64)
