"""What stands beside the images of a table: names of rows, and columns for the store."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.sky._intake import refusal
from morphospace.sky.curation.names import printable
from morphospace.sky.store_schema import COLUMNS

__all__ = ["DECS", "IDS", "IMAGES", "PATHS", "RAS", "SCALES", "Columns", "Names", "find_column", "list_names"]

_logger = logging.getLogger(__name__)

# Usual names of columns, compared without case; the first that a table has is taken.
IDS = (
    *("id", "objid", "obj_id", "object_id", "objectid", "source_id", "sourceid", "galaxy_id", "dr7objid", "dr8objid"),
    *("iauname", "iau_name", "designation", "objname", "object_name", "name", "source_name", "target"),
)
PATHS = (
    *("path", "filepath", "file_path", "file", "filename", "file_name", "fname", "fits", "fits_file", "fitsfile"),
    *("image_path", "image_file", "image_filename", "imagefile", "image", "img_path", "img", "cutout", "stamp"),
)
RAS = (
    *("ra", "ra_icrs", "raj2000", "_raj2000", "ra_j2000", "alpha_j2000", "ra_deg", "radeg", "ra2000", "target_ra"),
    *("right_ascension", "rightascension", "ramean", "meanra", "obj_ra"),
)
DECS = (
    *("dec", "de_icrs", "dec_icrs", "dej2000", "decj2000", "_dej2000", "dec_j2000", "delta_j2000", "dec_deg", "decdeg"),
    *("dedeg", "dec2000", "target_dec", "declination", "decmean", "meandec", "obj_dec"),
)
IMAGES = (
    "image",
    "images",
    "image_array",
    "flux",
    "img",
    "cutout",
    "cutouts",
    "stamp",
    "stamps",
    "rgb_image",
    "photo",
    "picture",
    "data",
)
SCALES = ("pxscale", "pixel_scale", "pixscale", "pixel_scale_arcsec", "pixelscale")

_OURS = {name.lower() for name in COLUMNS.names}


def find_column(names: Iterable[str], asked: str, usual: Sequence[str], *, source: str, setting: str) -> str | None:
    """Find a column of a table.

    Parameters
    ----------
    names : iterable of str
        The columns there are.
    asked : str
        The one named by the user; "" for none.
    usual : sequence of str
        Where the user named none: usual names in lower case, the best first.
    source, setting : str
        The table, and the setting that names the column, for the message.

    Returns
    -------
    str or None
        None where none was asked for and none of the usual names is there.

    Raises
    ------
    DataError
        If the column asked for is not there.
    """
    by_lower: dict[str, str] = {}
    known = list(names)
    for name in known:
        by_lower.setdefault(name.lower(), name)
    if not asked:
        return next((by_lower[name] for name in usual if name in by_lower), None)
    if asked in known:
        return asked
    if asked.lower() in by_lower:
        return by_lower[asked.lower()]
    hint = nearest(asked, known) if len(known) > 20 else ""
    raise refusal(source, f"has no column '{asked}'{hint}; it has {list_names(known)}", f"name one with {setting}")


def list_names(names: Sequence[str]) -> str:
    """Write up to 20 names of columns in quotation marks, for messages."""
    shown = ", ".join(f"'{' '.join(name.split())}'" for name in names[:20])
    return f"{shown}, ..." if len(names) > 20 else shown or "no columns"


class Columns:
    """Scalar columns of a table, values looked up row by row; no Python object per row is kept.

    A column whose name every store has gets ``table_`` before it. Columns that hold lists, bytes or nothing are left
    out; times and dates become text.

    Parameters
    ----------
    table : pyarrow.Table
        The columns.
    without : collection of str
        Names of columns that are used otherwise.
    """

    def __init__(self, table: pa.Table, without: Collection[str] = ()) -> None:
        self.types: dict[str, pa.DataType] = {}
        self._values: list[pa.Array] = []
        taken: set[str] = set()
        for name in table.column_names:
            plain = None if name in without else _plain(table.column(name))
            if plain is None:
                continue
            wished = printable(f"table_{name}" if name.lower() in _OURS else name)
            while wished.lower() in taken:
                wished = f"{wished}_"
            taken.add(wished.lower())
            self.types[wished] = plain.type
            self._values.append(plain)

    def row(self, i: int) -> dict[str, Any]:
        """Look up the values of one row; None where there is none."""
        return {name: values[i].as_py() for name, values in zip(self.types, self._values, strict=True)}


class Names:
    """Ids of rows from a column of ids; without one, a stem and the number of the row.

    Parameters
    ----------
    n : int
        Number of rows.
    stem : str
        Name of the table without suffix.
    ids : pyarrow.ChunkedArray, optional
        The column. A value that comes twice gets the number of its row behind it, a missing one is replaced by that.
    """

    def __init__(self, n: int, stem: str, ids: pa.ChunkedArray | None = None) -> None:
        self._stem, self._digits = printable(stem), len(str(max(n - 1, 0)))
        self._ids: pa.Array | None = None
        self._repeats: NDArray[np.bool_] | None = None
        if ids is not None and (plain := _plain(ids)) is not None:
            texts = plain if pa.types.is_string(plain.type) else pc.cast(plain, pa.string())
            self._ids = pc.utf8_trim_whitespace(texts)
            codes = self._ids.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
            counts = np.bincount(codes[codes >= 0], minlength=1)
            self._repeats = (codes < 0) | (counts[codes] > 1)

    def name(self, i: int) -> str:
        """Name row `i`."""
        number = f"{i:0{self._digits}d}"
        text = None if self._ids is None else self._ids[i].as_py()
        if not text or self._repeats is None:
            return f"{self._stem}-{number}"
        return f"{text}-{number}" if self._repeats[i] else printable(text)


def _plain(column: pa.ChunkedArray) -> pa.Array | None:
    """One array of a type that a column of the store may have; None where there is none."""
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # pyarrow gives one for an empty column
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_temporal(kind) or str(kind) == "string_view":
        return values.cast(pa.string())
    if pa.types.is_decimal(kind):
        return values.cast(pa.float64())
    if pa.types.is_float16(kind):
        return values.cast(pa.float32())
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return values if numeric or pa.types.is_string(kind) else None
