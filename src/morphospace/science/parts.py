"""Parts of what is known of an object: its vector, its measured shape, its photometry; any may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.science.measure import Measures
from morphospace.sky.sources.rows import IDS
from morphospace.sky.sources.tables import read_table as read_any
from morphospace.space.embeddings import Embeddings

__all__ = ["EMBEDDING", "Part", "Scaling", "Source", "gather_parts", "read_table"]

Float = NDArray[np.float64]

EMBEDDING = "embedding"
#: Where the columns of a part come from: a table with a column ``id``, its file, or names of columns of the embeddings.
Source: TypeAlias = Measures | pa.Table | str | Path | Sequence[str]


@dataclass(frozen=True, eq=False)
class Part:
    """One kind of knowledge of N objects.

    Attributes
    ----------
    name : str
    x : ndarray, (N, D)
        Vectors in float32 as they are kept, not copied; columns of a table in float64, NaN where one is not known.
    there : ndarray of bool, (N,)
        Whether the object has this part at all.
    columns : tuple of str
        Names of the columns of a table; empty for vectors.
    """

    name: str
    x: NDArray[np.floating[Any]]
    there: NDArray[np.bool_]
    columns: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Part:
        """Select objects."""
        return Part(self.name, self.x[rows], self.there[rows], self.columns)


@dataclass(frozen=True, eq=False)
class Scaling:
    """Brings columns to comparable numbers; fitted on training objects only.

    Vectors are standardised. Columns of a table, which may have long tails, become
    asinh((x - median) / spread) with half the range of the middle 68 per cent as spread; NaN becomes the median.

    Attributes
    ----------
    centre, width : ndarray, (D,)
        A width of infinity takes a column without variance, or without a known value, out.
    table : bool
        Whether the columns are those of a table.
    """

    centre: Float
    width: Float
    table: bool

    @classmethod
    def fit(cls, x: NDArray[np.floating[Any]], *, table: bool) -> Scaling:
        """Measure centre and width of each column."""
        if not table:
            centre, width = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
            floor = 1e-6 * (np.abs(centre) + width.max(initial=0.0))
        else:
            known = np.isfinite(x).any(0)
            filled = np.where(known, x, 0.0)
            low, centre, high = np.nanquantile(np.where(np.isfinite(filled), filled, np.nan), (0.16, 0.5, 0.84), axis=0)
            width = (high - low) / 2
            # most values equal and a few not: the standard deviation still tells them apart
            width = np.where(width > 0, width, np.nanstd(np.where(np.isfinite(filled), filled, np.nan), axis=0))
            floor = 1e-12 * np.abs(centre)
        return cls(centre, np.where(width > floor, width, np.inf), table)

    def __call__(self, x: NDArray[np.floating[Any]]) -> Float:
        """Scale (N, D) into float64."""
        with np.errstate(invalid="ignore"):
            scaled = (x - self.centre) / self.width
        if not self.table:
            return np.asarray(scaled, dtype=np.float64)
        return np.asarray(np.arcsinh(np.where(np.isfinite(scaled), scaled, 0.0)))


def gather_parts(emb: Embeddings, parts: Mapping[str, Source] | None = None, *, embedding: bool = True) -> list[Part]:
    """Bring vectors and tables of the same objects together, in the order of the embeddings.

    Parameters
    ----------
    emb : Embeddings
        The objects.
    parts : mapping of str to table, file or names of columns, optional
        Name of each part, and where its columns come from. Of a table all columns of numbers are taken but flags and
        ``id``. An object that a table lacks, or of which it knows less than half of the columns, lacks this part.
    embedding : bool
        Whether the vectors are a part themselves. A vector all of NaN is one that the object lacks.

    Returns
    -------
    list of Part

    Raises
    ------
    DataError
        If vectors are not finite, a table has ids twice or none of ours, or a part has no column of numbers.
    ConfigError
        If a column is unknown, or there is no part.
    StoreError
        If a file cannot be read.
    """
    found = [_vectors(emb, alone=not parts)] if embedding else []
    for name, source in (parts or {}).items():
        if name == EMBEDDING:
            msg = f"'{EMBEDDING}' is the name of the vectors; give the part another."
            raise ConfigError(msg)
        found.append(_table_part(name, _rows_of(name, source, emb)))
    if not found:
        msg = "there is nothing to predict from; give parts=, or leave embedding=True."
        raise ConfigError(msg)
    return found


def _vectors(emb: Embeddings, *, alone: bool) -> Part:
    x = emb.vectors
    finite = np.isfinite(x)
    whole = np.asarray(finite.all(1))
    bad = ~whole if alone else ~whole & finite.any(1)
    if bad.any():
        first = emb.ids[int(np.flatnonzero(bad)[0])]
        msg = (
            f"{int(bad.sum())} of {len(x)} vectors hold NaN or infinity (the first is '{first}'); leave them out first."
        )
        raise DataError(msg)
    return Part(EMBEDDING, x, whole)


def _rows_of(name: str, source: Source, emb: Embeddings) -> pa.Table:
    """Return the columns of a part, a row for each object; null where it is not known."""
    if isinstance(source, Measures):
        table = source.table
    elif isinstance(source, pa.Table):
        table = source
    elif isinstance(source, str | Path):
        table = read_table(source)
    else:
        return emb.table(list(source))
    if "id" not in table.column_names:
        msg = f"the table of part '{name}' has no column 'id'; it has {', '.join(table.column_names[:8])}."
        raise DataError(msg)
    row_of: dict[str, int] = {}
    for row, identifier in enumerate(str(i) for i in table["id"].to_pylist()):
        if row_of.setdefault(identifier, row) != row:
            msg = f"the table of part '{name}' has the id '{identifier}' twice; give one row for each object."
            raise DataError(msg)
    rows = pa.array([row_of.get(identifier) for identifier in emb.ids], pa.int64())
    if rows.null_count == len(rows):
        msg = f"none of the {len(rows)} objects is in the table of part '{name}'; its first id is '{next(iter(row_of), '')}'."
        raise DataError(msg)
    return table.drop_columns(["id"]).take(rows)


def _table_part(name: str, table: pa.Table) -> Part:
    numeric = [
        field.name
        for field in table.schema
        if (pa.types.is_floating(field.type) or pa.types.is_integer(field.type) or pa.types.is_decimal(field.type))
        and not field.name.endswith("flags")
    ]
    if not numeric:
        msg = f"part '{name}' has no column of numbers; it has {', '.join(table.column_names[:8])}."
        raise DataError(msg)
    columns = [np.array(table[c].cast(pa.float64()).to_numpy(), dtype=np.float64) for c in numeric]
    x = np.stack(columns, axis=1)
    x[~np.isfinite(x)] = np.nan
    there = np.asarray(np.isfinite(x).mean(1) >= 0.5, dtype=np.bool_)
    if not there.any():
        msg = f"no object has half of the {len(numeric)} columns of part '{name}'; check the table."
        raise DataError(msg)
    return Part(name, x, there, tuple(numeric))


def read_table(path: str | Path) -> pa.Table:
    """Read a table of any kind: CSV, ECSV, FITS, VOTable or Parquet; ids are text.

    Raises
    ------
    StoreError
        If it is missing or cannot be read.
    """
    try:
        return read_any(path, texts=IDS).columns
    except DataError as error:
        raise StoreError(str(error)) from error


def known_column(table: pa.Table, column: str, where: str) -> pa.ChunkedArray:
    """Return a column of a table, or name the nearest.

    Raises
    ------
    ConfigError
        If it is unknown.
    """
    if column not in table.column_names:
        msg = f"unknown column '{column}' in {where}{nearest(column, table.column_names)}"
        raise ConfigError(msg)
    return table[column]
