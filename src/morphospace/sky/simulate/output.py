"""Simulated skies as a store of cutouts, or as FITS files for the intake to read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from numpy.typing import NDArray

from morphospace.errors import StoreError
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.simulate.skies import KINDS, Sky

__all__ = ["PIXEL_SCALE_ARCSEC", "write_fits", "write_sky"]

PIXEL_SCALE_ARCSEC = 1.0
_FIELDS = ("id", "ra", "dec", "sigma")  # factors that every cutout has a place for


def write_sky(sky: Sky | Iterable[Sky], out: str | Path, *, overwrite: bool = False) -> Cutouts:
    """Write a sky into a store of cutouts, its factors as columns.

    Parameters
    ----------
    sky : Sky or iterable of Sky
        Several pieces of one sky, made with ``start=``, are written one after the other, so a sky need not fit in
        memory. At least one piece.
    out : path
        Folder to make.
    overwrite : bool
        Put the new store in the place of an old one.

    Returns
    -------
    Cutouts
        The store; ``id``, ``ra``, ``dec``, ``sigma`` (the true one), ``level`` (the true background at the middle),
        ``unit`` and ``beam`` are filled in, with pixels of 1 arcsec.

    Raises
    ------
    StoreError
        If `out` exists and `overwrite` is not given.
    """
    pieces = iter([sky] if isinstance(sky, Sky) else sky)
    first = next(pieces)
    columns = {name: _type(values) for name, values in first.factors.items() if name not in _FIELDS}
    with CutoutsWriter(out, columns=columns, overwrite=overwrite) as writer:
        for piece in chain([first], pieces):
            for row in range(len(piece)):
                writer.append(_cutout(piece, row, tuple(columns)))
    return Cutouts.open(out)


def write_fits(sky: Sky, folder: str | Path) -> list[Path]:
    """Write one FITS file an image, ``ID.fits``, into a new or empty folder.

    With several bands the array is (C, H, W). The header has a TAN projection with pixels of 1 arcsec, OBJECT (the
    id), BUNIT, BMAJ, BMIN, BPA, and KIND.

    Parameters
    ----------
    sky : Sky
    folder : path

    Returns
    -------
    list of Path
        The files, in the order of the rows.

    Raises
    ------
    StoreError
        If the folder holds something already.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        msg = f"'{folder}' is not empty; simulated files go into a folder of their own."
        raise StoreError(msg)
    files = []
    for row, name in enumerate(sky.ids):
        image = sky.image(row)
        files.append(folder / f"{name}.fits")
        fits.writeto(files[-1], image[0] if len(image) == 1 else image, _header(sky, row))
    return files


def _type(values: NDArray[Any]) -> pa.DataType:
    return pa.string() if values.dtype.kind == "U" else pa.from_numpy_dtype(values.dtype)


def _beam(sky: Sky, row: int) -> tuple[float, float, float]:
    """Beam of one row: axes in arcsec, position angle in degrees."""
    major, minor, pa_deg = (float(sky.factors[f"beam_{name}"][row]) for name in ("major_px", "minor_px", "pa_deg"))
    return major * PIXEL_SCALE_ARCSEC, minor * PIXEL_SCALE_ARCSEC, pa_deg


def _cutout(sky: Sky, row: int, columns: tuple[str, ...]) -> Cutout:
    bands = sky.images.shape[1]
    return Cutout(
        id=str(sky.factors["id"][row]),
        image=np.ascontiguousarray(sky.image(row)),
        level=(float(sky.factors["background_level"][row]),) * bands,
        sigma=(float(sky.factors["sigma"][row]),) * bands,
        unit=KINDS[str(sky.factors["kind"][row])].unit,
        bands=tuple(str(band) for band in range(bands)),
        ra=float(sky.factors["ra"][row]),
        dec=float(sky.factors["dec"][row]),
        pixel_scale_arcsec=PIXEL_SCALE_ARCSEC,
        beam=_beam(sky, row),
        object=str(sky.factors["id"][row]),
        source="simulate",
        columns={name: sky.factors[name][row].item() for name in columns},
    )


def _header(sky: Sky, row: int) -> fits.Header:
    step, middle = PIXEL_SCALE_ARCSEC / 3600, (int(sky.factors["size"][row]) + 1) / 2
    kind = str(sky.factors["kind"][row])
    major, minor, pa_deg = _beam(sky, row)
    cards = [
        ("OBJECT", str(sky.factors["id"][row]), "simulated"),
        ("KIND", kind, "what was simulated"),
        ("BUNIT", KINDS[kind].unit, ""),
        ("WCSAXES", 2, "the image plane"),
        ("RADESYS", "ICRS", ""),
        ("CTYPE1", "RA---TAN", ""),
        ("CTYPE2", "DEC--TAN", ""),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRPIX1", middle, "the middle of the image"),
        ("CRPIX2", middle, ""),
        ("CRVAL1", float(sky.factors["ra"][row]), ""),
        ("CRVAL2", float(sky.factors["dec"][row]), ""),
        ("CDELT1", -step, "east is left"),
        ("CDELT2", step, ""),
        ("BMAJ", major / 3600, "[deg]"),
        ("BMIN", minor / 3600, "[deg]"),
        ("BPA", pa_deg, "[deg] north through east"),
    ]
    header = fits.Header()
    for card in cards:
        header.append(card)
    return header
