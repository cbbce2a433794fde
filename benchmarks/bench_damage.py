"""Damaged FITS: bits flipped, files cut, header cards edited; what a curation makes of thousands of them.

Each file is one of a dozen good ones (plain, integers with BSCALE, tile-compressed, packed, bands, a cube, several HDUs)
with one to three damages. Every file must end as an image or as one sentence, in less than 5 seconds, in a process that
stays below 1 GB.
"""

from __future__ import annotations

import collections
import gzip
import io
import logging
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from tqdm import tqdm

from _env import arguments, print_environment, report, set_threads
from morphospace.errors import DataError
from morphospace.sky.cubes import CubeReading
from morphospace.sky.curate import LEFT_OUT, curate
from morphospace.sky.images import read_image
from morphospace.sky.intake import Intake

SECONDS, MEGABYTES = 5.0, 1000.0
_BLOCK, _CARD = 2880, 80
_VALUES = ("-1", "0", "7", "99999999999", "1E400", "NaN", "T", "'text'", "'", "", "1.5", "2147483648", "-64", "(1,2)")
_KEYS = (
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "NAXIS3",
    "EXTEND",
    "BSCALE",
    "BZERO",
    "BLANK",
    "CTYPE1",
    "CRVAL1",
)
_KEYS += (
    "CRPIX1",
    "CDELT1",
    "CTYPE2",
    "PCOUNT",
    "GCOUNT",
    "TFORM1",
    "ZNAXIS1",
    "ZTILE1",
    "ZCMPTYPE",
    "ZBITPIX",
    "XTENSION",
    "END",
)


def originals(seed: int) -> list[bytes]:
    """Make the good files."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(40, 40)).astype(np.float32)
    wcs = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 20.5})
    wcs.update({"CRPIX2": 20.5, "CDELT1": -1e-4, "CDELT2": 1e-4, "BUNIT": "Jy/beam", "OBJECT": "source"})
    holed = image.copy()
    holed[:5] = np.nan
    cube = rng.normal(size=(12, 20, 20)).astype(np.float32)
    spectral = fits.Header({"CTYPE3": "VRAD", "CUNIT3": "m/s", "CRVAL3": 0.0, "CRPIX3": 1.0, "CDELT3": 100.0})
    integers = (100 * image).astype(np.int16)
    many = [fits.PrimaryHDU(), fits.ImageHDU(image, wcs, name="SCI"), fits.ImageHDU(np.abs(image), name="STAT")]
    columns = [fits.Column("x", "J", array=np.arange(5)), fits.Column("s", "8A", array=["a"] * 5)]
    hdus = [
        [fits.PrimaryHDU(image, wcs)],
        [fits.PrimaryHDU(holed.astype(np.float64), wcs)],
        [fits.PrimaryHDU(integers, fits.Header({"BSCALE": 0.01, "BZERO": 3.0, "BLANK": -32768}))],
        [fits.PrimaryHDU((integers.astype(np.int32) + 32768).astype(np.uint16))],
        [fits.PrimaryHDU(rng.integers(0, 255, (3, 30, 30), dtype=np.uint8))],
        [fits.PrimaryHDU(image[None, None], wcs)],
        [fits.PrimaryHDU(cube, spectral)],
        many,
        [fits.PrimaryHDU(), fits.CompImageHDU(image, wcs, compression_type="RICE_1")],
        [fits.PrimaryHDU(), fits.CompImageHDU(integers, wcs, compression_type="GZIP_1")],
        [fits.PrimaryHDU(image), fits.BinTableHDU.from_columns(columns)],
    ]
    made = []
    for units in hdus:
        stream = io.BytesIO()
        fits.HDUList(units).writeto(stream)
        made.append(stream.getvalue())
    return [*made, gzip.compress(made[0])]


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    stop = len(data) if rng.random() < 0.5 else min(len(data), 4 * _BLOCK)
    for place in rng.integers(0, stop, rng.choice([1, 2, 8, 64])):
        data[place] ^= 1 << int(rng.integers(8))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(0, len(data))) :]


def _edit(data: bytearray, rng: np.random.Generator) -> None:
    key = str(rng.choice(_KEYS)).ljust(8).encode()
    places = [i for i in range(0, len(data), _CARD) if data[i : i + 8] == key]
    place = int(rng.choice(places)) if places else _CARD * int(rng.integers(0, max(1, min(len(data), _BLOCK) // _CARD)))
    card = f"{key.decode()}= {rng.choice(_VALUES):>20}".ljust(_CARD)[:_CARD].encode()
    data[place : place + _CARD] = card


def _drop(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(data)))
    del data[place : place + int(rng.choice([1, _CARD, _BLOCK]))]


def _blank(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(data)))
    stop = min(len(data), place + int(rng.choice([8, _CARD, 4096])))
    data[place:stop] = bytes([int(rng.choice([0, 32, 255]))]) * (stop - place)


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (_flip, _cut, _edit, _edit, _drop, _blank)


def damaged(good: list[bytes], rng: np.random.Generator) -> bytes:
    """Damage one of the good files."""
    data = bytearray(good[int(rng.integers(len(good)))])
    for _ in range(int(rng.integers(1, 4))):
        if data:
            DAMAGES[int(rng.integers(len(DAMAGES)))](data, rng)
    return bytes(data)


def read_all(files: list[Path]) -> tuple[collections.Counter[str], float, list[str]]:
    """Read each file with a cube's way and without; count what came, time the slowest, keep the faults."""
    outcome: collections.Counter[str] = collections.Counter()
    slowest, faults = 0.0, []
    for file in tqdm(files, desc="read", unit="file", disable=None):
        for cube in (None, CubeReading("peak")):
            start = time.perf_counter()
            try:
                read_image(file, cube=cube)
                result = "image"
            except DataError as refused:
                result = "sentence" if "\n" not in str(refused) else "several lines"
            except Exception:
                result = "fault"
                faults.append(f"{file.name}\n{traceback.format_exc()}")
            slowest = max(slowest, time.perf_counter() - start)
        outcome[result] += 1
    return outcome, slowest, faults


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--files", type=int, default=20_000, help="number of damaged files")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    set_threads(options.threads)
    n = 200 if options.quick else options.files
    print_environment(files=n, seed=options.seed)
    rng = np.random.default_rng(options.seed)
    good = originals(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "fits"
        place.mkdir()
        files = [place / f"d{i:06d}.fits" for i in range(n)]
        for file in files:
            file.write_bytes(damaged(good, rng))
        outcome, slowest, faults = read_all(files)
        store = curate(place, out=Path(folder) / "all.cutouts", keep="all", intake=Intake(cube="peak"))
        accounted = len(store) + pq.read_metadata(store.path / LEFT_OUT).num_rows
    peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    for fault in faults[:5]:
        print(fault, file=sys.stderr)
    met = not faults and slowest < SECONDS and max(peak) < MEGABYTES and accounted == n
    figures = {"faults": len(faults), "slowest_s": slowest, "peak_mb": max(peak), "accounted": accounted}
    report([dict(outcome)], options.json, **figures, targets_met=met)


if __name__ == "__main__":
    main()
