"""Where images come from: files, arrays, records, tables with paths, positions in mosaics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from morphospace.errors import ConfigError, DataError
from morphospace.sky._intake import guarded, refusal
from morphospace.sky.images import find_files
from morphospace.sky.sources.base import Label, Source
from morphospace.sky.sources.files import FileSource, ReadsFile
from morphospace.sky.sources.reading import file_reader

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["FileSource", "Label", "Source", "open_source"]

_TABLES = (".csv", ".tsv", ".ecsv", ".dat", ".tbl", ".cat", ".vot", ".votable")
_ARRAYS = b"\x89HDF\r\n\x1a\n"
_COLUMNS = ("image_column", "path_column", "ra_column", "dec_column", "mosaics")


def open_source(
    source: str | Path | Sequence[str | Path],
    intake: Intake,
    *,
    size: int | None = None,
    hdu: str | int | None = None,
) -> Source:
    """Choose how to read what the user names, by its content.

    HDF5 is an array of images, Parquet with a column of images (a file or a folder) records; a table (CSV, ECSV, FITS,
    VOTable, Parquet, and any text where a column is named) holds positions where `intake.mosaics` is set, else paths.
    Everything else is files, as `find_files` finds them: with `intake.bands` one image for the files of all bands, else
    one each, cubes and planes read as `intake` says.

    Parameters
    ----------
    source : path or sequence of paths
        As for `morphospace.sky.curate.curate`.
    intake : Intake
        Columns and mosaics named by the user.
    size : int, optional
        Side of the windows in pixels; mosaics need it.
    hdu : str or int, optional
        As for `read_image`.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        If there is nothing to read, a table lacks a column, or a file is damaged.
    ConfigError
        If an option of `intake` is for another kind of source.
    """
    reader = file_reader(intake)
    alone = source if isinstance(source, str | Path) else source[0] if len(source) == 1 else None
    if alone is not None and os.path.isfile(alone):
        found = _open_file(alone, intake, size=size, hdu=hdu, reader=reader)
        if found is not None:
            return found
    elif alone is not None and os.path.isdir(alone) and _has_records(alone, intake):
        from morphospace.sky.sources.records import RecordSource

        return RecordSource(alone, intake, hdu=hdu)
    files = reader.without_planes(find_files(source))
    if named := next((name for name in _COLUMNS if getattr(intake, name)), None):
        msg = f"{named} is for tables, Parquet and HDF5 files; '{files[0]}' is none of them."
        raise ConfigError(msg)
    if not intake.bands:
        return FileSource(files, hdu, reader)
    from morphospace.sky.sources.band_files import BandSource

    return BandSource(files, intake.bands, hdu, reader)


def _open_file(
    path: str | Path, intake: Intake, *, size: int | None, hdu: str | int | None, reader: ReadsFile
) -> Source | None:
    """Open a file that holds many images or names them; None where it is an image or a list."""
    with open(path, "rb") as stream:
        head = stream.read(4096)
    if head.startswith(_ARRAYS):
        from morphospace.sky.sources.arrays import ArraySource

        return ArraySource(path, intake)
    if head.startswith(b"PAR1") and not (intake.mosaics or intake.path_column) and _holds_images(path, intake):
        from morphospace.sky.sources.records import RecordSource

        return RecordSource(path, intake, hdu=hdu)
    if not _is_table(path, head, intake):
        return None
    return _open_table(path, intake, size=size, hdu=hdu, reader=reader)


def _open_table(
    path: str | Path, intake: Intake, *, size: int | None, hdu: str | int | None, reader: ReadsFile
) -> Source:
    from morphospace.sky.sources.mosaics import MosaicSource
    from morphospace.sky.sources.rows import DECS, PATHS, RAS, find_column
    from morphospace.sky.sources.tables import PathSource, read_table

    if intake.mosaics:
        return MosaicSource(path, intake, size=size, hdu=hdu)
    table = read_table(path, texts=(intake.path_column, intake.id_column))
    names, source = table.columns.column_names, os.fspath(path)
    has_paths = find_column(names, intake.path_column, PATHS, source=source, setting="path_column")
    positions = [find_column(names, "", usual, source=source, setting="") for usual in (RAS, DECS)]
    if has_paths is None and None not in positions:
        remedy = "name the images to cut them out of with mosaics, or a column of paths with path_column"
        raise refusal(source, f"has positions ('{positions[0]}', '{positions[1]}') but no column of paths", remedy)
    return PathSource(path, intake, hdu=hdu, reader=reader)


def _holds_images(path: str | Path, intake: Intake) -> bool:
    from morphospace.sky.sources.records import image_columns

    if intake.image_column:
        return True
    with guarded(os.fspath(path), "is a truncated or damaged Parquet file", "fetch or copy it again"):
        schema: pa.Schema = pq.read_schema(path)
    return bool(image_columns(schema))


def _has_records(folder: str | Path, intake: Intake) -> bool:
    """Say whether a folder holds Parquet files and no images."""
    if intake.image_column:
        return True
    try:
        find_files(folder)
    except DataError:
        return next(Path(folder).rglob("*.parquet"), None) is not None
    return False


def _is_table(path: str | Path, head: bytes, intake: Intake) -> bool:
    is_asked = any(getattr(intake, name) for name in _COLUMNS)
    if head.startswith((b"PAR1", b"# %ECSV")) or b"<VOTABLE" in head.upper():
        return True
    if head.startswith(b"SIMPLE"):
        return is_asked or _is_fits_table(os.fspath(path))
    return b"\0" not in head and (is_asked or os.fspath(path).lower().endswith(_TABLES))


def _is_fits_table(path: str) -> bool:
    """Say whether a FITS file holds a table and no image."""
    try:
        with guarded(path, "cannot be opened as FITS", "fetch it again"), fits.open(path) as hdus:
            images = [unit for unit in hdus if unit.is_image and len(getattr(unit, "shape", ())) > 1]
            return not images and any(isinstance(unit, fits.BinTableHDU | fits.TableHDU) for unit in hdus)
    except DataError:
        return False  # the reader of images says what is wrong with it
