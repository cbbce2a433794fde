"""Make a gallery of what the recipes find: each map with the sources outlined, and the cut-outs that come of them.

Recipe clouds takes the files that are named, recipe alma-discs simulated ALMA maps (`bench_recipes.py`).

    python benchmarks/gallery_recipes.py recipes.webp w5.fits gc_bolocam_gps.fits l1448_13co.fits
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from astropy.io import fits
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bench_recipes import SIZES, alma_map
from gallery_fields import BLANK, brightness
from morphospace.errors import DataError
from morphospace.sky.cubes import CubeReading
from morphospace.sky.curate import curate
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.images import read_image
from morphospace.sky.recipes import RECIPES
from morphospace.sky.simulate import simulate

N_CUTOUTS = 7
N_MAPS = 4
PIXEL_DEG = 0.02 / 3600
INCHES = 1.75


def show(place: Any, plane: NDArray[Any], valid: NDArray[np.bool_], title: str) -> None:
    """Draw a map or a cut-out as the gallery of fields does."""
    pixels, (low, high) = brightness(plane, valid & np.isfinite(plane))
    colours = mpl.colormaps["inferno"].with_extremes(bad=BLANK)
    place.imshow(np.where(valid, pixels, np.nan), origin="lower", cmap=colours, vmin=low, vmax=high)
    place.set_title(title, fontsize=5.5, pad=2, parse_math=False)


def found_in(file: Path, recipe: str, folder: Path) -> Cutouts | str:
    """Curate one file as published; a sentence where nothing is found."""
    try:
        return curate(file, out=folder / f"{file.name}.cutouts", keep="all", **RECIPES[recipe].arguments)
    except DataError as refused:
        return str(refused)


def draw_row(places: Sequence[Any], file: Path, found: Cutouts | str) -> None:
    """Draw a map with what was found in it, and the largest cut-outs."""
    image = read_image(file, cube=CubeReading("moment0"))
    plane = image.data[0].astype(np.float64)
    valid = np.isfinite(plane) if image.mask is None else image.mask
    n = 0 if isinstance(found, str) else len(found)
    show(places[0], plane, valid, f"{file.name}\n{plane.shape[1]} x {plane.shape[0]}, {n} found")
    if isinstance(found, str):
        return
    cutouts = sorted(found.read(range(n)), key=lambda cutout: -cutout.image.size)
    for cutout in cutouts:
        height, width = cutout.image.shape[1:]
        corner = (cutout.x - width / 2, cutout.y - height / 2)
        places[0].add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#7fd4ff", linewidth=0.5))
    for place, cutout in zip(places[1:], cutouts, strict=False):
        mask = np.ones(cutout.image.shape[1:], bool) if cutout.mask is None else cutout.mask
        height, width = cutout.image.shape[1:]
        show(place, cutout.image[0].astype(np.float64), mask, f"{cutout.id.split('#')[-1]}: {width} x {height}")


def alma_files(folder: Path, seed: int) -> list[Path]:
    """Write simulated ALMA maps, the last of noise alone."""
    rng = np.random.default_rng(seed)
    files = []
    for i in range(N_MAPS):
        beam_px = float(rng.uniform(3, 9))
        n_discs = 1 + i % 2 if i < N_MAPS - 1 else 0
        discs = simulate("disc", n_discs, size=SIZES, snr=1e6, beam_px=beam_px, seed=seed + i) if n_discs else None
        header = fits.Header({"BMAJ": beam_px * PIXEL_DEG, "BMIN": beam_px * PIXEL_DEG, "BPA": 0.0, "BUNIT": "Jy/beam"})
        header.update({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CDELT1": -PIXEL_DEG, "CDELT2": PIXEL_DEG})
        header.update({"CRVAL1": 66.0, "CRVAL2": 26.0, "CRPIX1": 1.0, "CRPIX2": 1.0})
        files.append(folder / f"simulated, {n_discs or 'no'} disc{'' if n_discs == 1 else 's'}, {i}.fits")
        fits.PrimaryHDU(alma_map(discs, beam_px, rng).image[0], header).writeto(files[-1])
    return files


def main() -> None:
    """Draw the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture to make: .png or .webp")
    parser.add_argument("files", type=Path, nargs="*", help="maps and cubes of clouds")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maps = [(file, "clouds") for file in options.files]
        maps += [(file, "alma-discs") for file in alma_files(folder, options.seed)]
        figure, axes = plt.subplots(
            len(maps), 1 + N_CUTOUTS, figsize=((1 + N_CUTOUTS) * INCHES, len(maps) * (INCHES + 0.3)), squeeze=False
        )
        for place in axes.flat:
            place.set_axis_off()
        for row, (file, recipe) in enumerate(maps):
            found = found_in(file, recipe, folder)
            draw_row(axes[row], file, found)
            print(f"{recipe} {file.name}: {found if isinstance(found, str) else f'{len(found)} found'}")
        figure.tight_layout(pad=0.4)
        figure.savefig(options.out, dpi=110)
        plt.close(figure)


if __name__ == "__main__":
    main()
