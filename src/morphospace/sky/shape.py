"""Size, elongation, position angle and companions of many images at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from morphospace.errors import ConfigError, ShapeError

__all__ = ["Shapes", "is_elongated", "measure_radii", "measure_shapes"]

Float = NDArray[np.float64]
Int = NDArray[np.intp]

MIN_PIXELS = 5  # a component of fewer is noise
PEAK_SIGMA = 5.0  # so is one whose peak is lower: at 3 sigma an image of 150 x 150 has a dozen
COMPANION_RATIO = 0.05  # of the flux of the main component, the least that a companion may have
ELLIPTICITY = 0.2  # 1 - b/a from which a position angle means something
SNR = 10.0  # and the total S/N from which
_CHUNK = 2**19  # pixels worked on at a time: what is made of them stays in the processor's cache
_BISECTIONS = 10  # of one pixel; what is left is interpolated


class Shapes(NamedTuple):
    """Shapes of N images: arrays (N,) of float64, NaN where nothing stands out of the noise.

    Positions are in pixels from the centre of pixel (0, 0). Angles run counter-clockwise from +y where row 0 is the
    bottom (as FITS is displayed): north through east if north is up and east left.

    Attributes
    ----------
    flux : ndarray
        Sum above the level, in the unit of the image; in sigma for several bands. 0 where nothing was found.
    snr : ndarray
        `flux` / (sigma * sqrt(number of pixels)), noise taken as independent from pixel to pixel. Infinite for sigma 0.
    peak_snr : ndarray
        Brightest valid pixel above the level, in sigma; measured in every image.
    x, y : ndarray
        Centroid: column and row.
    a, b : ndarray
        Flux-weighted rms along the major and minor axis, pixels.
    ellipticity : ndarray
        1 - b / a.
    pa_deg : ndarray
        Position angle of the major axis, 0 to 180.
    r50, r90 : ndarray
        Radii about the centroid that hold 50 and 90 per cent of `flux`, pixels.
    n_companions : ndarray
        Components beside the main one with at least `COMPANION_RATIO` of its flux.
    companion_pa_deg : ndarray
        Direction from the main component to the brightest companion, 0 to 360; NaN without.
    companion_distance : ndarray
        Distance of the two centroids, pixels; NaN without.
    companion_ratio : ndarray
        Flux of the companion divided by that of the main component; NaN without.
    """

    flux: Float
    snr: Float
    peak_snr: Float
    x: Float
    y: Float
    a: Float
    b: Float
    ellipticity: Float
    pa_deg: Float
    r50: Float
    r90: Float
    n_companions: Float
    companion_pa_deg: Float
    companion_distance: Float
    companion_ratio: Float


class _Runs(NamedTuple):
    """Footprints as runs of pixels along rows: few runs hold many pixels, and most sums can be made of sums over runs."""

    image: Int  # (R,), ascending
    row: Int  # (R,)
    column: Int  # (R,), of the first pixel
    length: Int  # (R,)
    flux: Float  # (P,), of all pixels, run after run

    def spread(self, value: NDArray[Any]) -> NDArray[Any]:
        """Repeat a value of each run for its pixels, (P,)."""
        return np.repeat(value, self.length)

    def add_up(self, value: Float) -> Float:
        """Sum up over the pixels of each run, (R,)."""
        return np.asarray(np.add.reduceat(value, np.cumsum(self.length) - self.length))

    def columns(self, origin: Float | None = None) -> Float:
        """Columns of all pixels, counted from an origin of each image, (P,)."""
        first = np.cumsum(self.length) - self.length - self.column
        return np.asarray(
            np.arange(len(self.flux)) - self.spread(first if origin is None else first + origin[self.image])
        )


class _Components(NamedTuple):
    """Connected parts of footprints, as parallel arrays (M,), and the index of each image's main one (-1: none)."""

    image: Int
    kept: NDArray[np.bool_]
    flux: Float
    x: Float
    y: Float
    main: Int


def measure_shapes(
    images: ArrayLike,
    *,
    level: ArrayLike,
    sigma: ArrayLike,
    mask: ArrayLike | None = None,
    threshold: float = 3.0,
    parts: Literal["all", "main"] = "all",
) -> Shapes:
    """Measure the shape of what stands out of the noise in each image.

    Parameters
    ----------
    images : array-like, (N, H, W) or (N, C, H, W)
        Any numeric type. Several bands are averaged in units of their sigma. NaN and infinite pixels are left out.
    level, sigma : array-like, (N,) or (N, C), or scalars
        Background and noise of each image and band, in its unit. Where sigma is 0 everything above the level counts.
    mask : array-like of bool, (N, H, W), optional
        True = valid.
    threshold : float, > 0
        Pixels of at least this many sigma make the footprint. Its connected components need `MIN_PIXELS` pixels and a
        peak of `PEAK_SIGMA` to count.
    parts : {"all", "main"}
        Whether flux, moments and radii are of all components (a double radio source is one object) or of the main one:
        that with the most flux, weighted by a Gaussian about the centre whose s.d. is a quarter of the shorter side.

    Returns
    -------
    Shapes

    Raises
    ------
    ShapeError
        If the shapes do not fit each other.
    ConfigError
        If `parts` is unknown or `threshold` not positive.

    Notes
    -----
    Moments are weighted by the flux above the level and cut at the footprint, so sizes are those of the visible part;
    the pixel's own variance, 1/12 along each axis, is added, so that a line of pixels has a finite axis ratio.
    """
    chunks = [_measure(*chunk, threshold, parts) for chunk in _chunks(images, level, sigma, mask, threshold, parts)]
    return Shapes(*(np.concatenate(column) for column in zip(*chunks, strict=True)))


def measure_radii(
    images: ArrayLike,
    *,
    level: ArrayLike,
    sigma: ArrayLike,
    mask: ArrayLike | None = None,
    threshold: float = 3.0,
    parts: Literal["all", "main"] = "all",
) -> Float:
    """Measure `Shapes.r90` of each image, (N,), and nothing else: in about half of the time of `measure_shapes`.

    Parameters
    ----------
    images, level, sigma, mask, threshold, parts
        See `measure_shapes`.
    """
    found: list[Float] = []
    runs: list[_Runs] = []
    noises: list[Float] = []
    size: tuple[int, ...] = (0, 0)
    for data, noise in _chunks(images, level, sigma, mask, threshold, parts):
        first = sum(map(len, noises))
        size = data.shape[1:]
        bright = _footprints(data, noise, threshold)
        runs.append(bright._replace(image=bright.image + first))
        noises.append(noise)
        if sum(len(r.flux) for r in runs) > _CHUNK:
            found.append(_radii_of(runs, noises, size, parts))
            runs, noises = [], []
    return np.concatenate([*found, _radii_of(runs, noises, size, parts)]) if noises else np.concatenate(found)


def _radii_of(runs: list[_Runs], noises: list[Float], size: tuple[int, ...], parts: str) -> Float:
    # few pixels stand out of a chunk: those of several are worked on at once, since each step has its price
    joined = _Runs(*map(np.concatenate, zip(*runs, strict=True)))
    p, _ = _chosen(joined, np.concatenate(noises), size, parts)
    flux, x, y = _centroids(p, sum(map(len, noises)))
    return _radii(p, x, y, flux, (0.9,))[0]


def is_elongated(shapes: Shapes) -> NDArray[np.bool_]:
    """Tell which position angles mean something.

    Returns
    -------
    ndarray of bool, (N,)
        Ellipticity of at least `ELLIPTICITY` and total S/N of at least `SNR`; False where they are NaN.
    """
    return np.asarray((shapes.ellipticity >= ELLIPTICITY) & (shapes.snr >= SNR))


def _chunks(
    images: ArrayLike, level: ArrayLike, sigma: ArrayLike, mask: ArrayLike | None, threshold: float, parts: str
) -> Iterator[tuple[NDArray[np.float32], Float]]:
    """Check what was given; yield level-subtracted images and their sigma, so many at a time as fit in little memory."""
    stack = np.asarray(images)
    if parts not in ("all", "main") or not threshold > 0:
        msg = f"parts must be 'all' or 'main' and threshold positive; got {parts!r} and {threshold}."
        raise ConfigError(msg)
    stack = stack[:, None] if stack.ndim == 3 else stack
    valid = None if mask is None else np.asarray(mask, dtype=bool)
    if stack.ndim != 4 or (valid is not None and valid.shape != (len(stack), *stack.shape[2:])):
        came = f"{np.shape(images)} with mask {None if mask is None else np.shape(mask)}"
        msg = f"images must be (N, H, W) or (N, C, H, W) and mask (N, H, W); got {came}."
        raise ShapeError(msg)
    levels, sigmas = _per_band(level, stack, "level"), _per_band(sigma, stack, "sigma")
    step = max(1, _CHUNK // max(1, int(np.prod(stack.shape[1:]))))
    for i in range(0, max(len(stack), 1), step):
        s = slice(i, i + step)
        yield _combine(stack[s], levels[s], sigmas[s], None if valid is None else valid[s])


def _per_band(value: ArrayLike, stack: NDArray[Any], name: str) -> Float:
    """Bring level or sigma to (N, C)."""
    v = np.asarray(value, dtype=np.float64)
    shape = stack.shape[:2]
    if v.ndim == 1:
        v = v[:, None]
    if v.ndim > 2 or (v.ndim == 2 and (v.shape[0] != shape[0] or v.shape[1] not in (1, shape[1]))):
        msg = f"{name} must be a number, (N,) or (N, C) for images with (N, C) = {shape}; got {np.shape(value)}."
        raise ShapeError(msg)
    return np.broadcast_to(v, shape)


def _combine(
    stack: NDArray[Any], level: Float, sigma: Float, valid: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], Float]:
    """Subtract the level and average the bands: data (N, H, W), NaN where not valid, and sigma (N,)."""
    data = stack.astype(np.float32) - level.astype(np.float32)[:, :, None, None]
    noise = sigma.astype(np.float64)
    if data.shape[1] > 1:
        known: NDArray[np.bool_] = np.all(noise > 0, axis=1, keepdims=True)
        data /= np.where(known, noise, 1.0).astype(np.float32)[:, :, None, None]
        # Noise taken as common to the bands, as in a colour picture: careful where it is not.
        noise = known.astype(np.float64)
    mean = data.mean(1) if data.shape[1] > 1 else data[:, 0]  # (N, H, W)
    good = np.isfinite(mean) if valid is None else np.isfinite(mean) & valid
    if not good.all():
        mean[~good] = np.nan
    return mean, noise[:, 0]


def _measure(data: NDArray[np.float32], sigma: Float, threshold: float, parts: str) -> Shapes:
    """Shapes of one chunk of level-subtracted images."""
    n = len(data)
    p, components = _chosen(_footprints(data, sigma, threshold), sigma, data.shape[1:], parts)
    count = _sums(p.image, p.length, n)
    flux, x, y = _centroids(p, n)
    # fmax leaves NaN out
    peak = np.fmax.reduce(data, axis=(1, 2), initial=-np.inf).astype(np.float64)
    peak[np.isinf(peak)] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        peak_snr = peak / sigma
        snr = np.where(count > 0, flux / (sigma * np.sqrt(count)), np.nan)
    a, b, pa = _axes(p, x, y, flux)
    r50, r90 = _radii(p, x, y, flux, (0.5, 0.9))
    with np.errstate(invalid="ignore"):
        ellipticity = 1.0 - b / a
    return Shapes(flux, snr, peak_snr, x, y, a, b, ellipticity, pa, r50, r90, *_companions(components, n))


def _chosen(p: _Runs, sigma: Float, size: tuple[int, ...], parts: str) -> tuple[_Runs, _Components]:
    """Find all parts of the footprints in images of one size, and the runs of those that count."""
    component = _join_runs(p, size[1] + 1)
    components = _components(p, component, sigma, (len(sigma), *size))
    chosen = components.kept if parts == "all" else np.isin(np.arange(len(components.flux)), components.main)
    good = chosen[component]
    kept = (p.image[good], p.row[good], p.column[good], p.length[good])
    return _Runs(*kept, p.flux[p.spread(good)]), components


def _centroids(p: _Runs, n: int) -> tuple[Float, Float, Float]:
    """Flux and centroid of each image."""
    light = p.add_up(p.flux)
    flux = _sums(p.image, light, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = _sums(p.image, p.add_up(p.flux * p.columns()), n) / flux
        return flux, x, _sums(p.image, light * p.row, n) / flux


def _sums(place: Int, value: NDArray[Any], n: int) -> Float:
    """Add up values by place; without any values bincount would give integers."""
    return np.bincount(place, value, minlength=n).astype(np.float64)


def _footprints(data: NDArray[np.float32], sigma: Float, threshold: float) -> _Runs:
    """Find the pixels above the threshold."""
    n, height, width = data.shape
    bright = np.maximum(np.float32(threshold) * sigma.astype(np.float32), np.finfo(np.float32).tiny)
    # a border that is never bright keeps rows and images apart
    above = np.zeros((n, height + 1, width + 1), dtype=bool)
    with np.errstate(invalid="ignore"):
        np.greater_equal(data, bright[:, None, None], out=above[:, :height, :width])
    place = np.flatnonzero(above)
    first = np.flatnonzero(np.diff(place, prepend=-2) > 1)
    length = np.diff(first, append=len(place))
    line, column = np.divmod(place[first], width + 1)
    image, row = np.divmod(line, height + 1)
    inside = place - np.repeat(line + image * width, length)  # the border taken out
    return _Runs(image, row, column, length, data.reshape(-1)[inside].astype(np.float64))


def _join_runs(p: _Runs, stride: int) -> Int:
    """Join runs that touch, at corners too; give the number of the component of each."""
    # places in one long row, where a border of one pixel and one row keeps rows and images apart
    start = (p.image * (int(p.row.max(initial=0)) + 2) + p.row) * stride + p.column
    last = start + p.length - 1
    # runs of the next row that reach from one pixel before this run's first to one after its last
    low = np.searchsorted(last, start + stride - 1)
    high = np.searchsorted(start, last + stride + 1, side="right")
    ends = np.concatenate([[0], np.cumsum(high - low)])
    other = np.arange(ends[-1]) + np.repeat(low - ends[:-1], high - low)
    links = csr_array((np.ones(len(other)), other, ends), shape=(len(start), len(start)))
    return connected_components(links, directed=False)[1].astype(np.intp) if len(start) else start


def _components(p: _Runs, component: Int, sigma: Float, shape: tuple[int, ...]) -> _Components:
    """Sum up the components, tell noise from sources and choose the main one of each image."""
    n, height, width = shape
    m = int(component.max(initial=-1)) + 1
    image = np.zeros(m, dtype=np.intp)
    image[component] = p.image
    light = p.add_up(p.flux)
    flux = _sums(component, light, m)
    x = _sums(component, p.add_up(p.flux * p.columns()), m) / flux
    y = _sums(component, light * p.row, m) / flux
    peak = np.zeros(m)
    np.maximum.at(peak, component, np.maximum.reduceat(p.flux, np.cumsum(p.length) - p.length))
    kept = (_sums(component, p.length, m) >= MIN_PIXELS) & (peak >= PEAK_SIGMA * sigma[image])
    centred = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2
    weight = np.where(kept, np.log(flux) - 0.5 * centred / (min(height, width) / 4) ** 2, -np.inf)
    order = np.lexsort((weight, image))  # the last of each image is its best
    main = np.full(n, -1, dtype=np.intp)
    main[image[order]] = order
    main[main >= 0] = np.where(kept[main[main >= 0]], main[main >= 0], -1)
    return _Components(image, kept, flux, x, y, main)


def _axes(p: _Runs, x: Float, y: Float, flux: Float) -> tuple[Float, Float, Float]:
    """Rms along the major and minor axis, and the position angle, from the second moments."""
    n = len(flux)
    dx, dy = p.columns(x), p.row - y[p.image]
    light = p.flux * dx
    with np.errstate(divide="ignore", invalid="ignore"):
        xx = _sums(p.image, p.add_up(light * dx), n) / flux + 1 / 12
        yy = _sums(p.image, p.add_up(p.flux) * dy * dy, n) / flux + 1 / 12
        xy = _sums(p.image, p.add_up(light) * dy, n) / flux
        half = np.hypot((xx - yy) / 2, xy)
        a, b = np.sqrt((xx + yy) / 2 + half), np.sqrt(np.maximum((xx + yy) / 2 - half, 0.0))
        angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))  # from +x
    return a, b, np.mod(angle - 90.0, 180.0)


def _radii(p: _Runs, x: Float, y: Float, flux: Float, quantiles: tuple[float, ...]) -> list[Float]:
    """Radii that hold parts of the flux, for all growth curves at once.

    A pixel at radius r enters between r - 1/2 and r + 1/2, which makes the curve continuous.
    """
    n = len(flux)
    r = np.sqrt(np.square(p.columns(x)) + p.spread(np.square(p.row - y[p.image])))
    start = np.maximum(r - 0.5, 0.0)
    width = r + 0.5 - start
    # the curve at whole radii: a pixel has begun before one of them and is all inside at the next
    whole = start.astype(np.intp) + 1
    entered = p.flux * np.minimum((whole - start) / width, 1.0)
    steps = int(whole.max(initial=0)) + 2
    place = p.spread(p.image * steps) + whole
    gain = _sums(place, entered, n * steps) + _sums(place + 1, p.flux - entered, n * steps)
    curve = gain.reshape(n, steps).cumsum(axis=1)
    return [np.where(flux > 0, _crossing(p, start, width, curve, q * flux), np.nan) for q in quantiles]


def _crossing(p: _Runs, start: Float, width: Float, curve: Float, target: Float) -> Float:
    """Radius at which each growth curve reaches its target: between two whole radii, where few pixels matter."""
    n = len(target)
    top = (curve >= target[:, None]).argmax(axis=1)
    low, high = top - 1.0, top.astype(np.float64)
    near = np.flatnonzero((start < p.spread(high[p.image])) & (start + width > p.spread(low[p.image])))
    image, begin, slope, light = p.spread(p.image)[near], start[near], 1.0 / width[near], p.flux[near]

    def grown(radius: Float) -> Float:
        return _sums(image, light * np.clip((radius[image] - begin) * slope, 0.0, 1.0), n)

    g_low, g_high = grown(low), grown(high)
    target = target - (curve[np.arange(n), top] - g_high)  # less what lies further inside
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        g = grown(middle)
        beyond = g >= target
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        g_low, g_high = np.where(beyond, g_low, g), np.where(beyond, g, g_high)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(g_high > g_low, (target - g_low) / (g_high - g_low), 0.5)
    return np.asarray(low + np.clip(share, 0.0, 1.0) * (high - low))


def _companions(c: _Components, n: int) -> tuple[Float, Float, Float, Float]:
    """Find the number of companions, and direction, distance and flux ratio of the brightest."""
    main_flux = np.append(c.flux, np.nan)[c.main]  # -1 takes the NaN
    is_main = np.isin(np.arange(len(c.flux)), c.main)
    with np.errstate(invalid="ignore"):
        other = np.flatnonzero(c.kept & ~is_main & (c.flux >= COMPANION_RATIO * main_flux[c.image]))
    count = np.where(c.main >= 0, np.bincount(c.image[other], minlength=n), np.nan)
    best = np.full(n, -1, dtype=np.intp)
    order = other[np.lexsort((c.flux[other], c.image[other]))]
    best[c.image[order]] = order
    x, y = np.append(c.x, np.nan), np.append(c.y, np.nan)
    dx, dy = x[best] - x[c.main], y[best] - y[c.main]
    pa = np.mod(np.degrees(np.arctan2(dy, dx)) - 90.0, 360.0)
    return count, pa, np.hypot(dx, dy), np.append(c.flux, np.nan)[best] / main_flux
