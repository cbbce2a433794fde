"""Tables of any kind, and rows whose images are files named in a table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.table import Column, MaskedColumn, Table

from morphospace.sky._intake import guarded, refusal
from morphospace.sky.curation.journal import Stamp
from morphospace.sky.images import Image, read_image
from morphospace.sky.sources.base import Label
from morphospace.sky.sources.files import ReadsFile
from morphospace.sky.sources.positions import read_positions
from morphospace.sky.sources.rows import DECS, IDS, PATHS, RAS, Columns, Names, find_column, list_names

if TYPE_CHECKING:
    from morphospace.sky.intake import Intake

__all__ = ["PathSource", "TableData", "read_table"]

_AGAIN = "open it with TOPCAT or astropy and save it as CSV, FITS, VOTable or Parquet"
_ONE_PATH = 1 << 16


class TableData(NamedTuple):
    """A table in memory."""

    columns: pa.Table
    units: Mapping[str, str]
    """Units of the columns that have one, as astropy writes them."""


def read_table(path: str | Path, *, texts: Sequence[str] = ()) -> TableData:
    """Read a table: CSV (also with semicolons, tabs or blanks), ECSV, FITS, VOTable or Parquet, by its first bytes.

    Parameters
    ----------
    path : str or Path
        The file.
    texts : sequence of str
        Columns of a CSV that stay text although they look like numbers: 00123 is not 123. Names without case.

    Returns
    -------
    TableData
        Columns with one value a row, and of Parquet all; missing values are null.

    Raises
    ------
    DataError
        If it is missing, empty, damaged or no table.
    """
    source = os.fspath(path)
    head = _first_bytes(source)
    with guarded(source, "cannot be read as a table", _AGAIN):
        if head.startswith(b"PAR1"):
            table = pq.read_table(source)
            return TableData(table, {})
        if head.startswith(b"SIMPLE"):
            with open(source, "rb") as stream:  # astropy leaves a file open that it cannot read
                return _from_astropy(Table.read(stream, format="fits"))
        if b"<VOTABLE" in head[:4096].upper():
            return _from_astropy(Table.read(source, format="votable"))
        if head.startswith(b"# %ECSV"):
            return _from_astropy(Table.read(source, format="ascii.ecsv"))
        return _from_text(source, head, {name.lower() for name in texts})


class PathSource:
    """One image a row, in the file that a column names.

    Parameters
    ----------
    path : path
        The table; paths in it are relative to its folder.
    intake : Intake
        Columns named by the user.
    hdu : str or int, optional
        As for `read_image`.
    reader : callable
        What reads a file; it must be picklable.
    table : TableData, optional
        The table, where it has been read already.

    Raises
    ------
    DataError
        If the table cannot be read or has no such column.
    """

    def __init__(
        self,
        path: str | Path,
        intake: Intake,
        *,
        hdu: str | int | None = None,
        reader: ReadsFile = read_image,
        table: TableData | None = None,
    ) -> None:
        self._source = os.fspath(path)
        self._folder = os.path.dirname(self._source)
        self._base = os.getcwd()  # of this process, whatever later ones think
        texts = (intake.path_column, intake.id_column, *PATHS, *IDS)
        columns, units = table or read_table(path, texts=texts)
        names = columns.column_names
        at = find_column(names, intake.path_column, PATHS, source=self._source, setting="path_column")
        if at is None:
            raise refusal(
                self._source, f"has no column of paths; it has {list_names(names)}", "name one with path_column"
            )
        ident = find_column(names, intake.id_column, IDS, source=self._source, setting="id_column")
        self._columns = Columns(columns, without={at, *([ident] if ident else [])})
        self.types: Mapping[str, pa.DataType] = self._columns.types
        self._paths = columns.column(at).cast(pa.string()).combine_chunks()
        ids = columns.column(ident) if ident else _stems(self._paths)
        self._names = Names(len(columns), Path(self._source).stem, ids)
        self._repeats = _repeats(self._paths)
        self._ra, self._dec = _positions(columns, units, intake, self._source)
        self._hdu, self._reader = hdu, reader

    def __len__(self) -> int:
        return len(self._paths)

    def label(self, i: int) -> Label:
        """Name row `i`; the key is its file, with the number of the row where several rows name that file."""
        file = self._file(i)
        name = self._names.name(i)
        if file is None:
            return Label(f"{os.path.abspath(self._source)}#{i}", f"{self._source}#{i}", name, Stamp(-1, -1))
        key = os.path.normpath(os.path.join(self._base, file))
        return Label(f"{key}#{i}" if self._repeats[i] else key, file, name, Stamp.of(Path(file)))

    def read(self, i: int) -> Image:
        """Read the file of row `i`; the table's position is taken where the file has none."""
        file = self._file(i)
        if file is None:
            row = f"{self._source}#{i}"
            raise refusal(row, "names no file", "fill in its path or leave the row out")
        image = self._reader(Path(file), hdu=self._hdu)
        if np.isnan(image.ra) and self._ra is not None and self._dec is not None:
            image = replace(image, ra=float(self._ra[i]), dec=float(self._dec[i]))
        return image

    def columns(self, i: int) -> dict[str, Any]:
        """Look up the other columns of row `i`."""
        return self._columns.row(i)

    def _file(self, i: int) -> str | None:
        text = (self._paths[i].as_py() or "").strip()
        return os.path.join(self._folder, os.path.expanduser(text)) if text and text.isprintable() else None


def _first_bytes(source: str) -> bytes:
    if os.path.isdir(source):
        raise refusal(source, "is a folder", "pass a table in it")
    try:
        with open(source, "rb") as stream:
            head = stream.read(_ONE_PATH)
    except FileNotFoundError:
        raise refusal(source, "does not exist", "check the name and the folder") from None
    except OSError as error:
        raise refusal(source, f"cannot be opened ({error.strerror})", "check its name and permissions") from None
    if not head:
        raise refusal(source, "is empty (0 bytes)", "fetch or copy it again")
    return head


def _from_text(source: str, head: bytes, texts: set[str]) -> TableData:
    """Read text columns: pyarrow where a separator stands between them, astropy's guesses else."""
    if b"\0" in head:
        raise refusal(source, "is no table (it holds binary data)", _AGAIN)
    lines = head.decode("utf-8-sig", "replace").splitlines()
    skip = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if skip is None:
        raise refusal(source, "holds nothing but comments", _AGAIN)
    separator = next((mark for mark in ",;\t|" if mark in lines[skip]), None)
    if separator is None:
        if len(lines[skip].split()) == 1:
            separator = ","  # one column
        else:
            return _from_astropy(Table.read(source, format="ascii"))
    names = [" ".join(name.split()) for name in next(csv.reader(io.StringIO(lines[skip]), delimiter=separator))]
    as_text = {name: pa.string() for name in names if name.lower() in texts}
    table = pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=skip + 1),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
        convert_options=pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True),
    )
    return TableData(table, {})


def _from_astropy(table: Table) -> TableData:
    """Turn the columns of one value a row into Arrow's."""
    arrays: dict[str, pa.Array] = {}
    units: dict[str, str] = {}
    for name in table.colnames:
        column = table[name]
        if not isinstance(column, Column) or column.ndim != 1 or column.dtype.kind not in "biufSUO":
            continue
        arrays[name] = _to_arrow(column)
        if column.unit is not None:
            units[name] = str(column.unit)
    return TableData(pa.table(arrays), units)


def _to_arrow(column: Column) -> pa.Array:
    """One column of astropy as Arrow's, native-endian, masked values null, bytes as text."""
    hidden = np.asarray(column.mask) if isinstance(column, MaskedColumn) else None
    values = np.asarray(column)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "O":
        shown = ((None if value is None else str(value)) for value in values.tolist())
        values = np.array(list(shown), dtype=object)
    elif values.dtype.kind in "biuf":
        values = values.astype(values.dtype.newbyteorder("="))
    if hidden is not None and hidden.shape != values.shape:
        hidden = None
    return pa.array(values, mask=hidden, type=pa.string() if values.dtype.kind in "UO" else None)


def _stems(paths: pa.Array) -> pa.ChunkedArray:
    """File names without suffix."""
    stems = [Path(path).name.split(".fits")[0].rsplit(".", 1)[0] if path else None for path in paths.to_pylist()]
    return pa.chunked_array([pa.array(stems, pa.string())])


def _repeats(paths: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where a path comes more than once."""
    codes = paths.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes[codes >= 0], minlength=1)
    repeats: np.ndarray[Any, np.dtype[np.bool_]] = (codes >= 0) & (counts[codes] > 1)
    return repeats


def _positions(columns: pa.Table, units: Mapping[str, str], intake: Intake, source: str) -> tuple[Any, Any]:
    """Positions of the rows, ICRS degrees, where the table has any."""
    names = columns.column_names
    ra = find_column(names, intake.ra_column, RAS, source=source, setting="ra_column")
    dec = find_column(names, intake.dec_column, DECS, source=source, setting="dec_column")
    if ra is None or dec is None:
        return None, None
    return read_positions(columns, units, ra, dec, source)
