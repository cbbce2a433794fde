"""Where images come from: files, arrays, records, tables with paths, positions in mosaics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits

from morphospace._manifest import MANIFEST
from morphospace.errors import ConfigError, DataError
from morphospace.sky._intake import guarded, refusal
from morphospace.sky.images import find_files
from morphospace.sky.sources.arrays import ArraySource
from morphospace.sky.sources.band_files import BandSource
from morphospace.sky.sources.base import Label, Source
from morphospace.sky.sources.files import FileSource, ReadsFile
from morphospace.sky.sources.mosaics import MosaicSource
from morphospace.sky.sources.reading import file_reader
from morphospace.sky.sources.records import RecordSource, image_columns, read_columns
from morphospace.sky.sources.rows import DECS, IDS, PATHS, RAS, find_column
from morphospace.sky.sources.tables import PathSource, read_table

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["FileSource", "Label", "Source", "open_source"]

_TABLES = (".csv", ".tsv", ".ecsv", ".dat", ".tbl", ".cat", ".vot", ".votable")
_ARRAYS = b"\x89HDF\r\n\x1a\n"
_PARQUET = b"PAR1"
_MANY = ((".parquet",), (".h5", ".hdf5", ".hdf"))
_COLUMNS = ("image_column", "path_column", "ra_column", "dec_column", "mosaics")


def open_source(
    source: str | Path | Sequence[str | Path],
    intake: Intake,
    *,
    size: int | None = None,
    hdu: str | int | None = None,
) -> Source:
    """Choose how to read what the user names, by its content.

    HDF5 holds arrays of images, Parquet with a column of images records, in one file or many, also as folders without other
    images; a table (CSV, ECSV, FITS,
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
        if (table := _open_table(alone, intake, size=size, hdu=hdu, reader=reader)) is not None:
            return table
        files = find_files(alone)
    elif alone is not None and os.path.isdir(alone):
        files = _files_below(alone, intake)
    else:
        files = find_files(source)
    if (many := _open_many(files, intake, hdu)) is not None:
        return many
    if named := next((name for name in (*_COLUMNS, "id_column") if getattr(intake, name)), None):
        msg = f"{named} is for tables, Parquet and HDF5 files; '{files[0]}' is none of them."
        raise ConfigError(msg)
    files = reader.without_planes(files)
    if not intake.bands:
        return FileSource(files, hdu, reader)
    return BandSource(files, intake.bands, hdu, reader)


def _open_many(files: Sequence[Path], intake: Intake, hdu: str | int | None) -> Source | None:
    """Open files that hold many images each; None where the first is none of these."""
    head = _head(files[0])
    if head.startswith(_ARRAYS):
        return ArraySource(files, intake)
    if head.startswith(_PARQUET):
        return RecordSource(files, intake, hdu=hdu)
    return None


def _open_table(
    path: str | Path, intake: Intake, *, size: int | None, hdu: str | int | None, reader: ReadsFile
) -> Source | None:
    """Open a table of positions or paths; None where the file is no table."""
    if not _is_table(path, _head(path), intake):
        return None
    if intake.mosaics:
        return MosaicSource(path, intake, size=size, hdu=hdu)
    table = read_table(path, texts=(intake.path_column, intake.id_column, *PATHS, *IDS))
    names, source = table.columns.column_names, os.fspath(path)
    has_paths = find_column(names, intake.path_column, PATHS, source=source, setting="path_column")
    positions = [find_column(names, "", usual, source=source, setting="") for usual in (RAS, DECS)]
    if has_paths is None and None not in positions:
        remedy = "name the images to cut them out of with mosaics, or a column of paths with path_column"
        raise refusal(source, f"has positions ('{positions[0]}', '{positions[1]}') but no column of paths", remedy)
    return PathSource(path, intake, hdu=hdu, reader=reader, table=table)


def _head(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(4096)
    except OSError:
        return b""  # reading the row says what is wrong with the file


def _files_below(folder: str | Path, intake: Intake) -> list[Path]:
    """List the images below a folder or, where there is none or a column is named, its files of many images."""
    if os.path.exists(os.path.join(folder, MANIFEST)):
        raise refusal(os.fspath(folder), "is a store of morphospace", "open it with Cutouts.open or Embeddings.open")
    error: DataError | None = None
    if not intake.image_column:
        try:
            return find_files(folder)
        except DataError as refused:
            error = refused
    for suffixes in _MANY:
        found = sorted(file for suffix in suffixes for file in Path(folder).rglob(f"*{suffix}"))
        shown = [file for file in found if not any(part[0] in "._" for part in file.relative_to(folder).parts)]
        if shown:
            return shown
    raise error or refusal(os.fspath(folder), "holds no Parquet or HDF5 file", "pass the folder that does")


def _holds_images(path: str | Path, intake: Intake) -> bool:
    return bool(intake.image_column or image_columns(read_columns(os.fspath(path))))


def _is_table(path: str | Path, head: bytes, intake: Intake) -> bool:
    is_asked = any(getattr(intake, name) for name in _COLUMNS)
    if head.startswith(_PARQUET):
        return bool(intake.mosaics or intake.path_column) or not _holds_images(path, intake)
    if head.startswith(b"# %ECSV") or b"<VOTABLE" in head.upper():
        return True
    if head.startswith(b"SIMPLE"):
        return is_asked or _is_fits_table(os.fspath(path))
    return b"\0" not in head and (is_asked or os.fspath(path).lower().endswith(_TABLES))


def _is_fits_table(path: str) -> bool:
    """Say whether a FITS file holds a table and no image."""
    try:
        # opened here, since astropy leaves a file open that it cannot read
        with (
            open(path, "rb") as stream,
            guarded(path, "cannot be opened as FITS", "fetch it again"),
            fits.open(stream) as hdus,
        ):
            images = [unit for unit in hdus if unit.is_image and len(getattr(unit, "shape", ())) > 1]
            return not images and any(isinstance(unit, fits.BinTableHDU | fits.TableHDU) for unit in hdus)
    except DataError:
        return False  # the reader of images says what is wrong with it
