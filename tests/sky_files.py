"""Image files for the tests of curation: good ones with a known source, and the bad ones of real life."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image


def disc_image(seed: int, size: int = 40, peak: float = 60.0, centre: tuple[float, float] | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = centre or ((size - 1) / 2, (size - 1) / 2)
    rows, columns = np.indices((size, size))
    distance = np.hypot(rows - y, columns - x)
    return (rng.normal(0, 1, (size, size)) + peak * np.exp(-(distance**2) / 18)).astype(np.float32)


def wcs_header(ra: float, dec: float, size: int = 40, **cards: object) -> fits.Header:
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec})
    header["CRPIX1"] = header["CRPIX2"] = (size + 1) / 2
    header["CDELT1"], header["CDELT2"] = -1 / 3600, 1 / 3600
    for name, value in cards.items():
        header[name] = value
    return header


def write_good(folder: Path, n: int, *, first: int = 0, size: int = 40) -> list[Path]:
    """Write n sources a degree apart, as FITS with a WCS."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(first, first + n):
        header = wcs_header(number % 360, number // 360, size, OBJECT=f"S {number}", EXPTIME=float(number))
        files.append(folder / f"good{number:04d}.fits")
        fits.writeto(files[-1], disc_image(number, size), header)
    return files


def write_bad(folder: Path) -> dict[str, Path]:
    """Write the bad input that the issue lists, each under the name of what is wrong with it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        name: folder / f"{name}.fits"
        for name in ("empty", "truncated", "text", "no_image", "all_nan", "constant", "one_pixel", "missing")
    }
    good = write_good(folder / "whole", 1)[0]
    files["empty"].write_bytes(b"")
    files["truncated"].write_bytes(good.read_bytes()[:4000])
    files["text"].write_text("no image at all\n")
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(files["no_image"])
    fits.writeto(files["all_nan"], np.full((30, 30), np.nan, dtype=np.float32))
    fits.writeto(files["constant"], np.full((30, 30), 3, dtype=np.int16))
    fits.writeto(files["one_pixel"], np.ones((1, 1), dtype=np.float32))
    good.unlink()
    good.parent.rmdir()
    files["page"] = folder / "page.png"
    files["page"].write_text("<html>404</html>")
    return files


def write_picture(file: Path, seed: int) -> Path:
    """Write a colour picture with a source in it."""
    planes = [disc_image(seed + band, peak=120).clip(-10, 240) + 12 for band in range(3)]
    Image.fromarray(np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)).save(file)
    return file
