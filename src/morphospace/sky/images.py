"""Reading one image, whatever file it comes in, and finding the files."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import DataError
from morphospace.sky._intake import MAX_BANDS, band_shape, guarded, one_line, refusal
from morphospace.sky.cubes import CubeReading, Flattened, flatten_cube, read_spectral_axis
from morphospace.sky.fits import FitsImage, read_fits
from morphospace.sky.pictures import COLOURS, read_npy, read_npz, read_picture
from morphospace.sky.wcs import locate

_logger = logging.getLogger(__name__)

__all__ = ["SUFFIXES", "Image", "find_files", "read_image", "read_stream"]

_FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fz")
SUFFIXES = (
    *(suffix + packing for suffix in _FITS_SUFFIXES for packing in ("", ".gz", ".bz2")),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".npz"),
)
_LISTS = (".txt", ".lst", ".list")
_MAX_UNPACKED = 2**32  # bytes that a .gz or .bz2 may hold

# What the first bytes say; the suffix is not asked, since archives and servers are careless with it.
_KINDS = (
    (b"SIMPLE", "fits"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x89PNG", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
)
_OTHERS = (
    (b"<", "is a web page or XML", "the server may have answered with an error, so fetch it again"),
    (b"XTENSION", "is a FITS extension without its primary header", "fetch or write it again"),
    (b"\xfd7zXZ", "is packed with xz", "unpack it first"),
    (b"\x1f\x9d", "is packed with compress (.Z)", "unpack it first"),
    (b"GIF8", "is a GIF picture", "convert it to PNG"),
    (b"%PDF", "is a PDF document", "export its picture as PNG"),
    (b"\x89HDF", "is an HDF5 file", "pass it, or a folder of such files, alone"),
)
_C_NM_PER_S = 299_792_458e9


@dataclass(frozen=True, eq=False)
class Image:
    """One image in its native units, with what its file says about it.

    Rows stand as in the file: in FITS row 0 is the bottom by convention, in pictures the top; NPY as saved.
    """

    data: NDArray[Any]
    """(C, H, W), native-endian, in the type of the file; float32 (float64 from float64) where BSCALE and BZERO apply."""
    mask: NDArray[np.bool_] | None
    """(H, W), True where all bands are finite; None where all pixels are."""
    source: str
    """The path as given."""
    hdu: str = ""
    """Number of the HDU, "" where there is none."""
    header: Mapping[str, Any] = field(default_factory=dict)
    """FITS keywords and values, of duplicates the last; what an extension lacks comes from the primary header."""
    unit: str | None = None
    """BUNIT."""
    bands: tuple[str, ...] = ("0",)
    """Names of the bands: the filter of a single band, ("R", "G", "B") in colour, the channels or moments of a cube,
    else "0", "1", ..."""
    wavelength_nm: tuple[float, ...] = (np.nan,)
    """One per band, from a spectral axis, PHOTPLAM or the rest frequency; NaN when unknown."""
    wcs: str | None = None
    """Header string of the celestial WCS, for `astropy.wcs.WCS`."""
    ra: float = np.nan
    """ICRS, degrees, of the centre of the image; NaN without WCS."""
    dec: float = np.nan
    """Likewise."""
    pixel_scale_arcsec: float = np.nan
    """Side of a square with the area of a pixel."""
    beam: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    """BMAJ and BMIN in arcsec, BPA in degrees."""
    object: str | None = None
    """OBJECT."""
    variance: NDArray[np.float32] | None = None
    """(C, H, W), in the square of the unit, NaN where it is unknown; see `morphospace.sky.planes.with_planes`."""
    missing: tuple[str, ...] = ()
    """Those of the bands that no file gave: their pixels are all 0; see `morphospace.sky.bands.stack_bands`."""
    origin: tuple[int, int] = (0, 0)
    """Column and row of the first pixel in the mosaic that the image was cut out of."""


def read_image(path: str | Path, *, hdu: str | int | None = None, cube: CubeReading | None = None) -> Image:
    """Read one image from a FITS, PNG, JPEG, TIFF, NPY or NPZ file; what it is, its first bytes say.

    FITS may be packed as .gz or .bz2 and tile-compressed (RICE and others). Axes of length 1 before the last two
    are dropped; a third axis of up to 5 planes is bands. Blank pixels are NaN and the mask shows them: an image of
    NaN alone is no error here, curation flags it.

    Parameters
    ----------
    path : str or Path
        The file.
    hdu : str or int, optional
        Name or number of the FITS HDU; without it the first that holds an image. Other files ignore it.
    cube : CubeReading, optional
        How a FITS cube becomes an image; see `morphospace.sky.cubes.flatten_cube`. Its spectral axis is the one whose
        CTYPE says so; the cards of that axis stay in `Image.header`. What is no cube is read as ever. Without it a
        cube is refused.

    Returns
    -------
    Image

    Raises
    ------
    DataError
        If the file gives no image: missing, a folder, empty, truncated, damaged, of another kind, a cube. One
        sentence says what came and what to do. Broken header cards and an unusable WCS are logged instead.
    """
    source = os.fspath(path)
    try:
        with closing(_open(source)) as stream:
            return read_stream(stream, source, hdu=hdu, cube=cube)
    except OSError as error:
        raise refusal(source, f"cannot be read ({error.strerror or error})", "check the disk and try again") from error
    except MemoryError:
        raise refusal(source, "does not fit into memory", "cut it into smaller images") from None


def read_stream(
    stream: BinaryIO, source: str, *, hdu: str | int | None = None, cube: CubeReading | None = None
) -> Image:
    """Read what the first bytes of an open file announce; see `read_image`."""
    kind = _kind(stream.read(32), source)
    stream.seek(0)
    if kind == "fits":
        return _from_fits(stream, source, hdu, cube)
    if kind in ("gzip", "bzip2"):
        return _from_fits(_unpack(stream, kind, source), source, hdu, cube)
    if kind == "picture":
        data = read_picture(stream, source)
    elif kind == "npy":
        data = read_npy(stream, os.fstat(stream.fileno()).st_size, source)
    else:
        data = read_npz(stream, source)
    is_colour = kind == "picture" and len(data) == len(COLOURS)
    return Image(
        data=data,
        mask=_mask(data),
        source=source,
        bands=COLOURS if is_colour else tuple(str(band) for band in range(len(data))),
        wavelength_nm=(np.nan,) * len(data),
    )


def _open(source: str) -> BinaryIO:
    """Open a regular file; say why not otherwise."""
    try:
        status = os.stat(source)
        if stat.S_ISDIR(status.st_mode):
            raise refusal(source, "is a folder", "pass a file in it, or the folder to curate")
        if not stat.S_ISREG(status.st_mode):
            raise refusal(source, "is a device or pipe", "pass a file")
        if status.st_size == 0:
            raise refusal(source, "is empty (0 bytes)", "fetch or copy it again")
        return open(source, "rb")
    except FileNotFoundError:
        raise refusal(source, "does not exist", "check the name and the folder") from None
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise refusal(source, f"cannot be opened ({reason})", "check its name and permissions") from None


def _kind(head: bytes, source: str) -> str:
    """Name the kind of file by its first bytes."""
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what, remedy in _OTHERS:
        if text.startswith(start):
            raise refusal(source, what, remedy)
    begin = ascii(text[:16].decode("latin-1"))
    raise refusal(source, f"is not an image (it begins with {begin})", "pass FITS, PNG, JPEG, TIFF, NPY or NPZ")


def _unpack(stream: BinaryIO, kind: str, source: str) -> BinaryIO:
    """Unpack a .gz or .bz2 into memory."""
    plain = io.BytesIO()
    packed: io.BufferedIOBase = gzip.GzipFile(fileobj=stream) if kind == "gzip" else bz2.BZ2File(stream)
    with guarded(source, f"is a damaged {kind} file", "fetch or copy it again"), packed:
        while block := packed.read(2**24):
            if not plain.tell() and not block.startswith(b"SIMPLE"):
                raise refusal(source, f"is a {kind} file without FITS in it", "unpack it first")
            plain.write(block)
            if plain.tell() > _MAX_UNPACKED:
                raise refusal(source, f"unpacks to more than {_MAX_UNPACKED} bytes", "unpack it first")
    return plain


def _from_fits(stream: BinaryIO, source: str, hdu: str | int | None, cube: CubeReading | None) -> Image:
    """Read an image and what its header tells."""
    fits = read_fits(stream, source, hdu=hdu, cubes=cube is not None)
    header = {**fits.inherited, **fits.header}
    flat = _as_bands(header, fits.data) if cube is None else _flatten(fits, header, source, cube)
    place = locate(fits.header, flat.data.shape[1:], source)
    major, minor, angle = (_number(header, key) for key in ("BMAJ", "BMIN", "BPA"))
    return Image(
        data=flat.data,
        mask=_mask(flat.data),
        source=source,
        hdu=str(fits.hdu),
        header=header,
        unit=flat.unit,
        bands=flat.bands,
        wavelength_nm=flat.wavelength_nm,
        wcs=place.wcs,
        ra=place.ra,
        dec=place.dec,
        pixel_scale_arcsec=place.pixel_scale_arcsec,
        beam=(major * 3600, minor * 3600, angle),
        object=_text(header, "OBJECT"),
    )


def _as_bands(header: Mapping[str, Any], data: NDArray[Any]) -> Flattened:
    """Name the planes of an image."""
    n = len(data)
    name = _filter(header) if n == 1 else None
    bands = (name,) if name else tuple(str(band) for band in range(n))
    return Flattened(data, bands, (_wavelength(header) if n == 1 else np.nan,) * n, _text(header, "BUNIT"))


def _flatten(fits: FitsImage, header: Mapping[str, Any], source: str, cube: CubeReading) -> Flattened:
    """Make an image of a cube; an image, and a few planes that nothing calls channels, are taken as bands."""
    axis = read_spectral_axis(header, fits.data.shape, source)
    if axis is None or (not axis.name and len(axis.values) <= MAX_BANDS):
        return _as_bands(header, fits.data.reshape(band_shape(fits.data.shape, source)))
    planes = fits.data.reshape(-1, *fits.data.shape[-2:])
    unit = _text(header, "BUNIT")
    try:
        return flatten_cube(planes, axis, cube.how, sigma=cube.sigma, components=cube.components, unit=unit)
    except DataError as error:
        raise refusal(
            source, f"cannot be read as {cube.how}: {one_line(error)}", "choose another way with cube="
        ) from None


def _mask(data: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where all bands are finite; None where every pixel is."""
    if data.dtype.kind != "f":
        return None
    valid: NDArray[np.bool_] = np.isfinite(data).all(axis=0)
    return None if valid.all() else valid


def _text(header: Mapping[str, Any], key: str) -> str | None:
    """Value of a card as text without blanks around it; None if it is missing or empty."""
    value = header.get(key)
    return str(value).strip() or None if value is not None else None


def _number(header: Mapping[str, Any], key: str) -> float:
    """Value of a card as a number, NaN if it is none."""
    try:
        return float(header.get(key, np.nan))
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _filter(header: Mapping[str, Any]) -> str | None:
    """Name of the filter; of two wheels (FILTER1, FILTER2) the one that is not clear."""
    for keys in (("FILTER",), ("BAND",), ("FILTNAM1", "FILTNAM2"), ("FILTER1", "FILTER2")):
        names = [name for key in keys if (name := _text(header, key)) and not name.upper().startswith("CLEAR")]
        if names:
            return "+".join(names)
    return None


def _wavelength(header: Mapping[str, Any]) -> float:
    """Wavelength in nm: of a single plane on a frequency axis, else the pivot wavelength, else the rest frequency."""
    frequencies = (_plane_frequency(header), _number(header, "RESTFRQ"), _number(header, "RESTFREQ"))
    axis, *rest = (_C_NM_PER_S / f if f > 0 else np.nan for f in frequencies)
    pivot = _number(header, "PHOTPLAM") / 10  # Angstrom
    return next((wavelength for wavelength in (axis, pivot, *rest) if wavelength > 0), np.nan)


def _plane_frequency(header: Mapping[str, Any]) -> float:
    """Frequency in Hz of the single plane of a third or fourth axis, as radio maps have; else NaN."""
    for i in "34":
        if header.get(f"NAXIS{i}") == 1 and str(header.get(f"CTYPE{i}")).startswith("FREQ"):
            value, pixel, step = (_number(header, f"{key}{i}") for key in ("CRVAL", "CRPIX", "CDELT"))
            return value if pixel == 1 or np.isnan(pixel * step) else value + (1 - pixel) * step
    return np.nan


def find_files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """List the image files that a source names, each once.

    Parameters
    ----------
    source : str, Path or sequence of them
        A folder (all files below it with a suffix of `SUFFIXES`, hidden ones left out, sorted), a glob pattern
        (sorted; ``**`` for any depth), a text list (.txt, .lst, .list: one path a line, relative to the list's own
        folder, else to the current one, blank lines and lines beginning with # skipped), one file, or a sequence of
        any of these.

    Returns
    -------
    list of Path
        A file named in a list or sequence stays in it though it is missing: reading it says so.

    Raises
    ------
    DataError
        If nothing is found.
    """
    names = [os.fspath(name) for name in ([source] if isinstance(source, str | Path) else source)]
    files = list(dict.fromkeys(Path(file) for name in names for file in _expand(name)))
    if not files:
        what = f"'{names[0]}' holds" if len(names) == 1 else f"the {len(names)} sources hold"
        msg = f"{what} no image file; pass a folder, pattern or list of FITS, PNG, JPEG, TIFF, NPY or NPZ files."
        raise DataError(msg)
    if isinstance(source, str | Path) and files == [Path(source)] and not files[0].exists():
        raise refusal(names[0], "does not exist", "check the name and the folder")
    return files


def _expand(name: str) -> Iterator[str]:
    """Name the files that one source stands for."""
    if os.path.isdir(name):
        yield from sorted(_walk(name, set()))
    elif os.path.exists(name):
        yield from _read_list(name) if name.lower().endswith(_LISTS) else (name,)
    elif glob.has_magic(name):
        yield from sorted(file for file in glob.glob(name, recursive=True) if not os.path.isdir(file))
    else:
        yield name


def _walk(folder: str, visited: set[str]) -> Iterator[str]:
    """Name the image files below a folder; links are followed, rings of them are not."""
    place = os.path.realpath(folder)
    if place in visited:
        return
    visited.add(place)
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        _logger.warning("folder '%s' is left out: %s", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, visited)
        elif entry.name.lower().endswith(SUFFIXES):
            yield entry.path


def _read_list(name: str) -> Iterator[str]:
    """Name the files of a text list."""
    with closing(_open(name)) as stream:
        text = os.fsdecode(stream.read().removeprefix(b"\xef\xbb\xbf"))
    for line in (line.strip() for line in text.splitlines()):
        if line and not line.startswith("#"):
            file = os.path.expanduser(line)
            beside = os.path.join(os.path.dirname(name), file)
            # lists are also written from where the program is called
            yield file if not os.path.exists(beside) and os.path.exists(file) else beside
