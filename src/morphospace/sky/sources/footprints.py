"""Which mosaic each of many sky positions lies in, at which pixel, and which others fill its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy.coordinates import ICRS, SkyCoord
from astropy.units import deg
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from morphospace.sky._intake import guarded, quiet, refusal
from morphospace.sky.sources.positions import unit_vectors
from morphospace.sky.sources.windows import Mosaic

__all__ = ["Fill", "Places", "first_pixel", "place"]

_ALIKE = 0.02  # pixels: two mosaics whose pixels differ by less from whole steps have one grid
_STEPS = 33  # points along each axis of a mosaic that outline it
_ROUND = 1e-6  # pixels: positions closer than this to the edge of a pixel are taken to lie on it

Floats = NDArray[np.float64]


class Fill(NamedTuple):
    """Mosaics that have pixels of a window beside the one its position lies in, row by row."""

    start: NDArray[np.int64]
    """(N + 1,): row i has the fills start[i] to start[i + 1]."""
    mosaic: NDArray[np.int32]
    dx: NDArray[np.int64]
    """Pixel in this mosaic less pixel in the first."""
    dy: NDArray[np.int64]


class Places(NamedTuple):
    """Where N positions lie."""

    mosaic: NDArray[np.int32]
    """(N,): the one in which the position lies deepest; -1 where it lies in none."""
    x: Floats
    y: Floats
    fill: Fill


def first_pixel(centre: float, size: int) -> int:
    """First pixel of a window of `size` about a position, as `astropy.nddata.Cutout2D` has it."""
    return int(np.ceil(np.round((centre - size / 2) / _ROUND) * _ROUND))


class _Grid:
    """The pixels of a mosaic on the sky."""

    def __init__(self, mosaic: Mosaic) -> None:
        self.path = mosaic.path
        self.height, self.width = mosaic.shape[1:]
        with guarded(self.path, "has a WCS that astropy cannot use", "leave it out of the mosaics"), quiet(self.path):
            self.wcs = WCS(mosaic.image.wcs)
            frame = wcs_to_celestial_frame(self.wcs)
            self.frame = None if isinstance(frame, ICRS) else frame
        self.order = (self.wcs.wcs.lng, self.wcs.wcs.lat)
        self.scale = mosaic.image.pixel_scale_arcsec
        x, y = (np.linspace(-0.5, n - 0.5, min(n + 1, _STEPS)) for n in (self.width, self.height))
        outline = unit_vectors(*self.sky(*(part.ravel() for part in np.meshgrid(x, y))))
        self.centre = unit_vectors(*self.sky(np.array([(self.width - 1) / 2]), np.array([(self.height - 1) / 2])))[0]
        reach = np.linalg.norm(outline - self.centre, axis=1).max()
        self.reach = 1.02 * reach if np.isfinite(reach) else 2.0  # the chord of the farthest point; 2 is the whole sky

    def sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """ICRS degrees of pixels."""
        lng, lat = self.order
        world = self.wcs.all_pix2world(np.stack([x, y], axis=-1), 0)
        lon, lat_deg = world[:, lng], world[:, lat]
        if self.frame is None:
            return lon, lat_deg
        known = np.isfinite(lon) & np.isfinite(lat_deg)
        icrs = SkyCoord(np.where(known, lon, 0) * deg, np.where(known, lat_deg, 0) * deg, frame=self.frame).icrs
        return np.where(known, icrs.ra.deg, np.nan), np.where(known, icrs.dec.deg, np.nan)

    def pixels(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Pixels of ICRS degrees, from 0; NaN where the projection does not reach."""
        lon, lat = ra, dec
        if self.frame is not None:
            coord = SkyCoord(ra * deg, dec * deg, frame="icrs").transform_to(self.frame)
            lon, lat = coord.spherical.lon.deg, coord.spherical.lat.deg
        world = np.empty((len(lon), 2))
        world[:, self.order[0]], world[:, self.order[1]] = lon, lat
        x, y = self.wcs.all_world2pix(world, 0, quiet=True).T
        if self.wcs.has_distortion:  # the inverse of a polynomial may end anywhere
            back = unit_vectors(*self.sky(x, y))
            far = ~(np.linalg.norm(back - unit_vectors(ra, dec), axis=1) < np.radians(self.scale / 3600))
            x, y = np.where(far, np.nan, x), np.where(far, np.nan, y)
        return self._unwrapped(x), y

    def _unwrapped(self, x: Floats) -> Floats:
        """Take a whole turn off cylindrical pixels that lie beyond the mosaic."""
        kind = str(self.wcs.wcs.ctype[self.order[0]])[-3:]
        if kind not in ("CAR", "CEA", "MER", "CYP"):
            return x
        turn = 360 / abs(self.wcs.wcs.get_cdelt()[self.order[0]] * self.wcs.wcs.get_pc()[0, self.order[0]])
        if not np.isfinite(turn):
            return x
        turns = np.where(x < -0.5, np.ceil((-0.5 - x) / turn), -np.ceil(np.maximum(x - (self.width - 0.5), 0) / turn))
        moved = x + turns * turn
        inside = (moved >= -0.5) & (moved <= self.width - 0.5)
        return np.where(inside, moved, x)


def place(mosaics: Sequence[Mosaic], ra: Floats, dec: Floats, size: int) -> Places:
    """Find the mosaic of each position.

    Parameters
    ----------
    mosaics : sequence of Mosaic
        The mosaics.
    ra, dec : ndarray, (N,), float64
        ICRS degrees; NaN lies nowhere.
    size : int
        Side of the windows in pixels: other mosaics fill a window where their pixels are on the same grid, of the same
        type, unit and bands.

    Raises
    ------
    DataError
        If a position lies in mosaics of different bands, or a WCS cannot be used.
    """
    grids = [_Grid(mosaic) for mosaic in mosaics]
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    n = len(ra)
    first = np.full(n, -1, dtype=np.int32)
    x, y = np.full(n, np.nan), np.full(n, np.nan)
    row, number, px, py, depth = _touching(grids, known, ra, dec, size)
    order = np.lexsort((number, -depth, row))
    row, number, px, py, depth = row[order], number[order], px[order], py[order], depth[order]
    leads = np.ones(len(row), dtype=np.bool_)
    leads[1:] = row[1:] != row[:-1]
    inside = leads & (depth >= 0)
    first[row[inside]], x[row[inside]], y[row[inside]] = number[inside], px[inside], py[inside]
    rest = ~leads & (first[row] >= 0)
    _check_bands(mosaics, first, row[rest & (depth >= 0)], number[rest & (depth >= 0)])
    fill = _fills(mosaics, grids, (first, x, y), (row[rest], number[rest]), size)
    return Places(first, x, y, fill)


def _touching(
    grids: Sequence[_Grid], known: NDArray[np.int64], ra: Floats, dec: Floats, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats, Floats, Floats]:
    """All pairs of a position and a mosaic that its window touches: row, mosaic, x, y, depth in arcsec."""
    rows, numbers, xs, ys, depths = [], [], [], [], []
    tree = cKDTree(unit_vectors(ra[known], dec[known])) if len(known) else None
    for number, grid in enumerate(grids):
        margin = np.radians(size * grid.scale / 3600)  # a window may reach into a mosaic that its position is not in
        near = tree.query_ball_point(grid.centre, min(grid.reach + margin, 2.0)) if tree is not None else []
        row = known[np.sort(np.array(near, dtype=np.int64))]
        if not len(row):
            continue
        x, y = grid.pixels(ra[row], dec[row])
        depth = np.minimum.reduce([x + 0.5, grid.width - 0.5 - x, y + 0.5, grid.height - 0.5 - y])
        touches = depth > -size / 2  # NaN touches nothing
        rows.append(row[touches])
        numbers.append(np.full(np.count_nonzero(touches), number, dtype=np.int32))
        xs.append(x[touches])
        ys.append(y[touches])
        depths.append(depth[touches] * grid.scale)
    if not rows:
        nothing = np.empty(0)
        return np.empty(0, np.int64), np.empty(0, np.int32), nothing, nothing, nothing
    return (
        np.concatenate(rows),
        np.concatenate(numbers),
        np.concatenate(xs),
        np.concatenate(ys),
        np.concatenate(depths),
    )


def _check_bands(
    mosaics: Sequence[Mosaic], first: NDArray[np.int32], row: NDArray[np.int64], number: NDArray[np.int32]
) -> None:
    """Refuse to choose between bands."""
    pairs = np.unique(np.stack([first[row], number], axis=-1), axis=0) if len(row) else np.empty((0, 2), np.int32)
    for a, b in pairs.tolist():
        one, other = mosaics[a], mosaics[b]
        if one.image.bands != other.image.bands:
            names = " and ".join(f"'{'+'.join(m.image.bands)}'" for m in (one, other))
            what = f"and '{other.path}' show the same sky in the bands {names}"
            raise refusal(one.path, what, "pass the mosaics of one band, by a pattern or a list")


def _fills(
    mosaics: Sequence[Mosaic],
    grids: Sequence[_Grid],
    lead: tuple[NDArray[np.int32], Floats, Floats],
    others: tuple[NDArray[np.int64], NDArray[np.int32]],
    size: int,
) -> Fill:
    """Keep the other mosaics that lie on the same grid about a position, and by how many pixels they differ."""
    first, x, y = lead
    row, number = others
    dx, dy = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
    good = np.zeros(len(row), dtype=np.bool_)
    pair = first[row].astype(np.int64) * len(mosaics) + number
    for code in np.unique(pair):
        a, b = divmod(int(code), len(mosaics))
        if not _is_alike(mosaics[a], mosaics[b]):
            continue
        at = np.flatnonzero(pair == code)
        steps = np.array([[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]]) * size / 2
        px, py = (part[row[at]][:, None] + steps[:, axis] for axis, part in enumerate((x, y)))
        qx, qy = grids[b].pixels(*grids[a].sky(px.ravel(), py.ravel()))
        shift_x, shift_y = qx.reshape(px.shape) - px, qy.reshape(py.shape) - py
        whole_x, whole_y = np.rint(shift_x[:, :1]), np.rint(shift_y[:, :1])
        apart = np.maximum(np.abs(shift_x - whole_x), np.abs(shift_y - whole_y)).max(axis=1)
        good[at] = apart < _ALIKE  # NaN is not
        dx[at[good[at]]] = whole_x[good[at], 0].astype(np.int64)
        dy[at[good[at]]] = whole_y[good[at], 0].astype(np.int64)
    counts = np.bincount(row[good], minlength=len(first))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Fill(start, number[good], dx[good], dy[good])


def _is_alike(one: Mosaic, other: Mosaic) -> bool:
    """Say whether pixels of two mosaics may stand in one image."""
    same = one.shape[0] == other.shape[0] and one.dtype.kind == other.dtype.kind
    return same and one.image.unit == other.image.unit and one.image.bands == other.image.bands
