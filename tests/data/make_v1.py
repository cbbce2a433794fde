"""Make the stores of format version 1 that later releases must still open: `python tests/data/make_v1.py NAME`.

What is made is committed and never made again: once a format has a version 2, this script writes that. It refuses to
touch a store that is there. Each store is one function in `STORES`; the values come from `cutouts()` and the like, with
which the tests compare what they read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from morphospace.sky.cutouts import Cutout, CutoutsWriter

FOLDER = Path(__file__).parent / "v1"
COLUMNS = {"redshift": pa.float64(), "observer": pa.string(), "n_visits": pa.int32()}
DTYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64", "float16", ">f4")


def cutouts() -> Iterator[Cutout]:
    """Give rows that use every column, in all types, with and without what may be unknown."""
    for i, dtype in enumerate(DTYPES):
        shape = (1 + i % 3, 5 + i, 4)
        image = (np.arange(np.prod(shape)).reshape(shape) * (i + 1) % 200).astype(dtype)
        yield Cutout(f"full-{i}", image)
    image = np.linspace(-1, 1, 2 * 6 * 7).reshape(2, 6, 7).astype("float32")
    image[0, 1, 2] = np.nan
    yield Cutout(
        "ünï-日本-☄ #0001",
        image,
        mask=np.isfinite(image).all(axis=0),
        variance=(image * image + 1).astype("float32"),
        level=(0.25, 1.5),
        sigma=(0.125, float("nan")),
        unit="Jy/beam",
        bands=("g", "r"),
        wavelength_nm=(475.0, 622.5),
        ra=83.6331,
        dec=-5.375,
        x=1201.5,
        y=33.0,
        wcs="WCSAXES =                    2",
        pixel_scale_arcsec=0.396,
        beam=(0.5, 0.25, -30.0),
        object="GG Tau",
        group="GG Tau",
        flags=65,
        source="field/épi 1.fits",
        hdu="SCI",
        columns={"redshift": 0.5, "observer": "Ångström", "n_visits": 12},
    )
    yield Cutout("one pixel", np.array([[[7]]], "uint8"), columns={"redshift": float("nan")})


def make_cutouts(path: Path) -> None:
    """Write the store of cutouts."""
    with CutoutsWriter(path, columns=COLUMNS) as writer:
        for cutout in cutouts():
            writer.append(cutout)


STORES: dict[str, Callable[[Path], None]] = {"cutouts": make_cutouts}


def main() -> None:
    """Make the stores named on the command line."""
    for name in sys.argv[1:]:
        if (FOLDER / name).exists():
            sys.exit(f"{FOLDER / name} is there; a store of an old format is never made again.")
        STORES[name](FOLDER / name)


if __name__ == "__main__":
    main()
