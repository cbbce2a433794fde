"""Make a gallery of what came out of every image file of a folder: the way to see that each is right way up.

Images are shown with an asinh stretch of their flux in units of noise, velocities from blue to red; of a cube, in a row,
its peak, its moments, moment 0 without threshold and three principal channels in colour; with ``--bands`` also the colour
pictures of files that differ in their band only. Rows of FITS run upwards, as in the file:
north is where its header has it. Blank pixels are slate.

    python benchmarks/gallery_fields.py FOLDER fields.webp --bands g r i
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from morphospace.errors import DataError
from morphospace.sky._intake import MAX_BANDS
from morphospace.sky.bands import group_bands, read_bands
from morphospace.sky.cubes import CubeReading
from morphospace.sky.images import Image, find_files, read_image
from morphospace.sky.noise import estimate_noise
from morphospace.sky.stretch import Stretch

BLANK = "#2e3440"
DEEPEST = 3.0  # the asinh stretch is linear below this many sigma
COLUMNS = 6
INCHES = 2.0
CURVED = Stretch("asinh", a=DEEPEST)


class Panel(NamedTuple):
    """One picture: (H, W) of brightness or (H, W, 3), what is written over it, its colours and its limits."""

    title: str
    pixels: NDArray[Any]
    colours: str
    limits: tuple[float, float]
    origin: str


def brightness(plane: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[NDArray[Any], tuple[float, float]]:
    """Stretch flux in units of noise; where there is no noise, between percentiles."""
    level, sigma = (float(values[0]) for values in estimate_noise(plane, valid))
    values = np.where(valid, plane.astype(np.float64), np.nan)
    if not sigma > 0:
        low, high = np.nanpercentile(values, [0.5, 99.5]) if valid.any() else (0.0, 1.0)
        return values, (float(low), float(high) if high > low else float(low) + 1)
    curved = CURVED((values - level) / sigma)
    white = float(np.nanpercentile(curved, 99.8))
    return curved, (float(CURVED(np.array([-1.5]))[0]), max(white, 1.5))


def panel_of(image: Image, band: int, title: str) -> Panel:
    """Draw one band; positions and widths on the spectral axis get colours of their own and a linear scale."""
    plane, name = image.data[band], image.bands[band]
    valid = np.isfinite(plane)
    origin = "lower" if image.hdu else "upper"
    is_position = name == "moment1" or image.unit in ("m/s", "km/s")
    if is_position or name == "moment2":
        values = np.where(valid, plane, np.nan)
        low, high = np.nanpercentile(values, [5, 95]) if valid.any() else (0.0, 1.0)
        return Panel(title, values, "viridis" if name == "moment2" else "RdBu_r", (float(low), float(high)), origin)
    valid &= True if image.mask is None else image.mask
    pixels, limits = brightness(plane, valid)
    return Panel(title, pixels, "inferno" if name in ("peak", "moment0") else "gray", limits, origin)


def colour_panel(image: Image, title: str) -> Panel:
    """Draw three bands as a colour picture; those of FITS are named from blue to red, those of pictures are red first."""
    valid = np.ones(image.data.shape[1:], bool) if image.mask is None else image.mask
    layers = []
    for plane in image.data[::-1] if image.hdu else image.data:
        pixels, (low, high) = (plane / 255, (0, 1)) if plane.dtype == np.uint8 else brightness(plane, valid)
        layers.append(np.where(valid, ((pixels - low) / (high - low)).clip(0, 1), 0.2))
    return Panel(title, np.stack(layers, axis=-1), "gray", (0, 1), "lower" if image.hdu else "upper")


def panels(file: Path, folder: Path) -> Iterator[Panel]:
    """Read a file, and say what came out of it."""
    name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
    try:
        image = read_image(file)
    except DataError as refused:
        if "--intake-cube" not in str(refused):
            yield refused_panel(name, refused)
        return
    height, width = image.data.shape[1:]
    title = f"{name}\n{width} x {height} {image.unit or ''}"
    if len(image.data) == 3:
        yield colour_panel(image, title)
    else:
        for band in range(len(image.data)):
            yield panel_of(image, band, title)


def cube_panels(file: Path) -> Iterator[Panel]:
    """Draw what becomes of a cube, if this is one."""
    readings = [CubeReading(how) for how in ("peak", "moment0", "moment1", "moment2")]
    readings += [CubeReading("moment0", sigma=0), CubeReading("pca", components=3)]
    try:
        channels = len(read_image(file, cube=CubeReading("channels")).data)
        if channels <= MAX_BANDS:
            return
        images = [read_image(file, cube=reading) for reading in readings]
    except DataError:
        return
    for image, reading in zip(images, readings, strict=True):
        height, width = image.data.shape[1:]
        how = f"{reading.how}, no threshold" if reading.sigma == 0 else reading.how
        title = f"{file.name}\n{width} x {height} x {channels}: {how}\n{image.unit or ''}"
        yield colour_panel(image, title) if reading.how == "pca" else panel_of(image, 0, title)


def refused_panel(name: str, refused: DataError) -> Panel:
    """Show that a file gave no image, and print why."""
    print(refused, file=sys.stderr)
    return Panel(f"{name}\nrefused", np.full((2, 2), np.nan), "gray", (0, 1), "upper")


def colour_sets(files: Sequence[Path], bands: Sequence[str]) -> Iterator[Panel]:
    """Draw the images whose bands lie in files of their own."""
    for found in group_bands(files, bands):
        image = read_bands(found, bands)
        height, width = image.data.shape[1:]
        lack = f", without {', '.join(image.missing)}" if image.missing else ""
        yield colour_panel(image, f"{found.name}\n{width} x {height} {', '.join(bands)}{lack}")


def draw(shown: Sequence[Panel | None], out: Path) -> None:
    """Put the panels on one page."""
    rows = -(-len(shown) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(COLUMNS * INCHES, rows * (INCHES + 0.45)), squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    for place, panel in zip(axes.flat, shown, strict=False):
        if panel is None:
            continue
        colours = mpl.colormaps[panel.colours].with_extremes(bad=BLANK)
        low, high = panel.limits
        place.imshow(panel.pixels, origin=panel.origin, cmap=colours, vmin=low, vmax=high, interpolation="antialiased")
        place.set_title(panel.title, fontsize=5.5, pad=2, parse_math=False)
    figure.tight_layout(pad=0.4)
    figure.savefig(out, dpi=130)
    plt.close(figure)


def main() -> None:
    """Draw the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of image files, at any depth")
    parser.add_argument("out", type=Path, help="picture to make: .png or .webp")
    parser.add_argument("--bands", nargs="*", default=[], help="three bands in the names of files, from blue to red")
    options = parser.parse_args()
    files = find_files(options.folder)
    shown = [panel for file in files for panel in panels(file, options.folder)]
    cubes = [panel for file in files for panel in cube_panels(file)]
    if options.bands:
        shown += colour_sets(files, options.bands)
    space = [None] * (-len(shown) % COLUMNS) if cubes else []
    draw([*shown, *space, *cubes], options.out)
    print(f"{len(files)} files, {len(shown) + len(cubes)} pictures: {options.out}")


if __name__ == "__main__":
    main()
