"""Cut-outs at sky positions from mosaics on disk, against astropy.nddata.Cutout2D in a loop; pixels proven equal."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from _env import arguments, print_environment, report, set_threads
from morphospace.sky.intake import Intake
from morphospace.sky.sources import open_source

TARGET = 5.0
SCALE = 0.262 / 3600  # degrees, as in the Legacy Surveys
APART = 0.29  # degrees between centres: neighbours overlap by 2 %
PER_ROW = 10


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="positions")
    parser.add_argument("--tiles", type=int, default=50, help="mosaics")
    parser.add_argument("--side", type=int, default=4096, help="pixels of a side of a mosaic")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side of a cut-out")
    parser.add_argument(
        "--loop", type=int, default=5000, help="positions put to astropy's loop, spread over all mosaics"
    )
    options = parser.parse_args()
    if options.quick:
        options.rows, options.tiles, options.side, options.loop = 2000, 4, 600, 400
    set_threads(options.threads)
    print_environment(rows=options.rows, tiles=options.tiles, side=options.side, size=options.size, seed=options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tiles(folder / "tiles", options)
        write_positions(folder / "positions.parquet", options)
        measure(folder, options)


def centres(n: int) -> list[tuple[float, float]]:
    """Spread mosaics over the sky in rows; near the equator, so that degrees are degrees."""
    return [(150 + APART * (number % PER_ROW), 1 + APART * (number // PER_ROW)) for number in range(n)]


def write_tiles(folder: Path, options) -> None:
    folder.mkdir()
    rng = np.random.default_rng(options.seed)
    noise = rng.standard_normal((options.side + options.tiles, options.side), dtype=np.float32)
    for number, (ra, dec) in enumerate(centres(options.tiles)):
        header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec})
        header.update({"CRPIX1": (options.side + 1) / 2, "CRPIX2": (options.side + 1) / 2})
        header.update({"CDELT1": -SCALE, "CDELT2": SCALE, "BUNIT": "nanomaggy", "FILTER": "r"})
        fits.writeto(folder / f"tile{number:03d}.fits", noise[number : number + options.side] + number, header)


def write_positions(path: Path, options) -> None:
    """Positions on every mosaic, some at its border, in random order."""
    rng = np.random.default_rng(options.seed + 1)
    number = rng.integers(0, options.tiles, options.rows)
    at = np.array(centres(options.tiles))[number]
    half = 0.995 * SCALE * options.side / 2  # the projection bends the borders
    ra, dec = (at[:, axis] + rng.uniform(-half, half, options.rows) for axis in (0, 1))
    table = pa.table({"id": [f"s{row:06d}" for row in range(options.rows)], "ra": ra, "dec": dec})
    pq.write_table(table, path)


def measure(folder: Path, options) -> None:
    begin = time.perf_counter()
    source = open_source(folder / "positions.parquet", Intake(mosaics=str(folder / "tiles")), size=options.size)
    open_s = time.perf_counter() - begin
    begin = time.perf_counter()
    sums = np.fromiter((float(source.read(i).data[0, 0, 0]) for i in range(len(source))), np.float64, len(source))
    read_s = time.perf_counter() - begin
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    step = max(1, options.rows // options.loop)
    picked = range(0, len(source), step)
    loops = {"SkyCoord": with_sky_coord, "vectorised positions": with_pixels}
    ours = (open_s + read_s) / len(source)
    rows = [{"what": "morphospace", "cut-outs": len(source), "us each": 1e6 * ours}]
    equal, ratios = True, {}
    for name, cut_all in loops.items():
        seconds, same = cut_all(folder, source, picked, options.size)
        equal &= same
        ratios[name] = seconds / len(picked) / ours
        rows.append(
            {"what": f"Cutout2D, {name}", "cut-outs": len(picked), "us each": 1e6 * seconds / len(picked)}
            | {"ratio": ratios[name]}
        )
    report(
        rows,
        options.json,
        cutouts_per_second=1 / ours,
        open_s=open_s,
        read_s=read_s,
        pixels_equal=equal and len(sums) == options.rows,
        memory_mb=memory_mb,
        ratio_to_cutout2d=ratios["SkyCoord"],
        ratio_to_cutout2d_vectorised=ratios["vectorised positions"],
        targets_met=bool(equal and ratios["SkyCoord"] >= TARGET),
    )


def rows_by_tile(source, picked) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i in picked:
        groups.setdefault(source.columns(i)["mosaic"], []).append(i)
    return groups


def with_sky_coord(folder: Path, source, picked, size: int) -> tuple[float, bool]:
    """Cut as the documentation of Cutout2D does: a SkyCoord and the WCS of the mosaic; positions grouped by mosaic."""
    place = {i: source.read(i) for i in picked}
    seconds, equal = 0.0, True
    for name, rows in rows_by_tile(source, picked).items():
        coords = SkyCoord([place[i].ra for i in rows], [place[i].dec for i in rows], unit="deg")
        begin = time.perf_counter()
        with fits.open(folder / "tiles" / name) as hdus:
            data, wcs = hdus[0].data, WCS(hdus[0].header)
            cuts = [Cutout2D(data, at, size, wcs=wcs, mode="partial", fill_value=np.nan, copy=True) for at in coords]
            seconds += time.perf_counter() - begin
            equal &= all(is_equal(place[i].data[0], cut.data) for i, cut in zip(rows, cuts, strict=True))
    return seconds, equal


def with_pixels(folder: Path, source, picked, size: int) -> tuple[float, bool]:
    """Cut at pixels that were worked out for all positions of a mosaic at once: the fastest loop there is."""
    place = {i: source.read(i) for i in picked}
    seconds, equal = 0.0, True
    for name, rows in rows_by_tile(source, picked).items():
        ra, dec = ([getattr(place[i], key) for i in rows] for key in ("ra", "dec"))
        begin = time.perf_counter()
        with fits.open(folder / "tiles" / name) as hdus:
            data, wcs = hdus[0].data, WCS(hdus[0].header)
            at = wcs.all_world2pix(np.stack([ra, dec], axis=-1), 0)
            cuts = [Cutout2D(data, tuple(xy), size, wcs=wcs, mode="partial", fill_value=np.nan, copy=True) for xy in at]
            seconds += time.perf_counter() - begin
            equal &= all(is_equal(place[i].data[0], cut.data) for i, cut in zip(rows, cuts, strict=True))
    return seconds, equal


def is_equal(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal where one mosaic has pixels; beyond its border we may have found some in another."""
    inside = ~np.isnan(theirs)
    return ours.shape == theirs.shape and np.array_equal(ours[inside], theirs[inside])


if __name__ == "__main__":
    main()
