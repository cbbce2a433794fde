"""Embeddings: a vector for each object, with its id, its place on the sky and where the vector came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from morphospace._manifest import MANIFEST, read_manifest
from morphospace._parts import Form, Parts, PartWriter, one_batch
from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.space.index import ExactIndex
from morphospace.space.names import did_you_mean

__all__ = ["FORM", "Embeddings", "EmbeddingsWriter", "check_same_space", "embeddings_schema", "vector_column"]

FORM = Form(kind="embeddings", version=1, bulk=("vector",))


class Embeddings:
    """Vectors of one space with their ids and columns; made by ``open``, ``from_arrays`` or ``morphospace.embed``.

    Nothing is read before it is asked for, and vectors are then read once.

    Attributes
    ----------
    path : Path or None
        Folder of the store; None for vectors in memory only.
    provenance : dict
        Where the vectors came from: ``space_id``, ``run``, ``stretch``, ``software`` and so on.
    """

    def __init__(
        self,
        source: Parts | pa.Table,
        *,
        path: Path | None,
        provenance: Mapping[str, Any],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.path = path
        self.provenance = dict(provenance)
        self._source = source
        self._rows = rows
        self._ids: list[str] | None = None
        self._row_of: dict[str, int] | None = None
        self._vectors: NDArray[np.float32] | None = None
        self._parent: Embeddings | None = None
        self._indexes: dict[str, ExactIndex] = {}
        self._read: dict[str, pa.ChunkedArray] = {}

    @classmethod
    def open(cls, path: str | Path) -> Embeddings:
        """Open a folder of embeddings.

        Parameters
        ----------
        path : path

        Raises
        ------
        StoreError
            If there is no store of embeddings, or it is damaged or of a newer release. A store whose writing was
            interrupted opens with the rows it has.
        """
        parts = Parts(path, FORM)
        return cls(parts, path=Path(path), provenance=parts.manifest.metadata)

    @classmethod
    def from_arrays(
        cls,
        out: str | Path | None,
        ids: Sequence[str],
        vectors: ArrayLike,
        columns: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> Embeddings:
        """Make embeddings of vectors that came from elsewhere.

        Parameters
        ----------
        out : path or None
            Folder to write; None keeps them in memory.
        ids : sequence of str
            Each once.
        vectors : array, (N, D), float
            Kept as float32. A row with NaN is an object without a vector.
        columns : mapping of str to array, optional
            ``ra`` and ``dec`` (degrees, ICRS), ``object``, ``group``, ``source`` and ``flags`` are known to
            ``search``; any other goes along.
        provenance : mapping, optional
            ``space_id`` says within which space vectors may be compared; default ``""``, a space of its own.
        overwrite : bool
            Put them in place of a store that is there.

        Raises
        ------
        ShapeError
            If the lengths differ or ``vectors`` is not (N, D).
        DataError
            If an id is not a str or comes twice, or a column cannot be stored.
        StoreError
            If ``out`` is there and ``overwrite`` is not given.

        Examples
        --------
        >>> Embeddings.from_arrays(None, ["a", "b"], [[0.0, 1.0], [1.0, 0.0]])
        Embeddings(in memory, 2 x 2)
        """
        table = _table_of(ids, vectors, columns or {})
        if out is None:
            return cls(table, path=None, provenance=provenance or {})
        with EmbeddingsWriter(out, table.schema, provenance=provenance, overwrite=overwrite) as writer:
            for batch in table.to_batches():
                writer.append(batch)
        return cls.open(out)

    def __len__(self) -> int:
        if self._rows is not None:
            return len(self._rows)
        return len(self._source)

    def __repr__(self) -> str:
        space = f", space {self.space_id[:8]}" if self.space_id else ""
        return f"Embeddings({self.name}, {len(self):,} x {self.dim}{space})"

    @property
    def name(self) -> str:
        """Name for messages: that of the folder in quotes, or ``in memory``."""
        return "in memory" if self.path is None else f"'{self.path.name}'"

    @property
    def space_id(self) -> str:
        """Fingerprint of the space; vectors are compared only within one. ``""`` where none was given."""
        return str(self.provenance.get("space_id", ""))

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of all columns, the vector among them."""
        return self._source.schema

    @property
    def columns(self) -> list[str]:
        """Names of all columns but the vector."""
        return [name for name in self.schema.names if name != "vector"]

    @property
    def dim(self) -> int:
        """Number of dimensions D."""
        return int(self.schema.field("vector").type.list_size)

    @property
    def ids(self) -> list[str]:
        """Ids in row order."""
        if self._ids is None:
            self._ids = self.table(["id"])["id"].to_pylist()
        return self._ids

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All vectors, (N, D), float32, read-only; read on first use and kept."""
        if self._vectors is None:
            if self._parent is not None and self._rows is not None:
                vectors = self._parent.vectors[self._rows]
            elif isinstance(self._source, Parts):
                vectors = _read_vectors(self._source, self.dim)
            else:
                vectors = _as_matrix(one_batch(self._source.select(["vector"])).column(0), self.dim)
            vectors.flags.writeable = False
            self._vectors = vectors
        return self._vectors

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns as an Arrow table.

        Parameters
        ----------
        columns : sequence of str, optional
            Default: all but ``vector``. Columns asked for by name are read once and kept.

        Raises
        ------
        ConfigError
            If a column is not there; the nearest is named.
        """
        wanted = self.columns if columns is None else list(columns)
        for column in wanted:
            if column not in self.schema.names:
                msg = f"unknown column '{column}' in embeddings {self.name}{nearest(column, self.schema.names)}"
                raise ConfigError(msg)
        if isinstance(self._source, pa.Table):
            found = self._source.select(wanted)
        elif columns is None or "vector" in wanted:
            found = self._source.table(wanted)
        else:
            found = self._read_once(self._source, wanted)
        return found if self._rows is None else found.take(pa.array(self._rows))

    def _read_once(self, parts: Parts, columns: list[str]) -> pa.Table:
        """Read columns and keep them: a search asks for the same few each time."""
        new = [column for column in dict.fromkeys(columns) if column not in self._read]
        if new:
            table = parts.table(new)
            self._read.update({column: table[column] for column in new})
        return pa.table([self._read[c] for c in columns], schema=pa.schema([self.schema.field(c) for c in columns]))

    def keep(self, rows: ArrayLike) -> Embeddings:
        """Select rows; nothing is copied before it is read.

        Parameters
        ----------
        rows : array of bool, (N,), or of int
            A mask, or row numbers in the order wanted.

        Returns
        -------
        Embeddings
            With its own row numbers, from 0.

        Raises
        ------
        ShapeError
            If a mask has another length, or a row number is out of range.
        """
        wanted = _row_numbers(rows, len(self))
        absolute = wanted if self._rows is None else self._rows[wanted]
        kept = Embeddings(self._source, path=self.path, provenance=self.provenance, rows=absolute)
        kept._parent = self if self._parent is None else self._parent
        kept._read = self._read  # columns of the whole store, whatever the rows kept
        return kept

    def row_of(self, identifier: str) -> int:
        """Find the row of an id.

        Raises
        ------
        DataError
            If there is none; the nearest ids are named.
        """
        row = self._rows_by_id.get(identifier)
        if row is None:
            msg = f"'{identifier}' is no id in embeddings {self.name}{did_you_mean(identifier, self.ids)}"
            raise DataError(msg)
        return row

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._rows_by_id

    @property
    def _rows_by_id(self) -> dict[str, int]:
        if self._row_of is None:
            self._row_of = {identifier: row for row, identifier in reversed(list(enumerate(self.ids)))}
        return self._row_of

    def index(self, metric: str = "cosine") -> ExactIndex:
        """Give the exact index of all vectors; built on first use and kept.

        Parameters
        ----------
        metric : {"cosine", "euclidean"}
            As for ``ExactIndex``.
        """
        if metric not in self._indexes:
            index = ExactIndex(metric=metric)
            index.add(self.ids, self.vectors)
            self._indexes[metric] = index
        return self._indexes[metric]


class EmbeddingsWriter:
    """Write embeddings as they come; killed at any moment, the store opens with the rows that were complete.

    Use it in a ``with`` block, whose end completes the store.

    Parameters
    ----------
    path : path
        Folder to write.
    schema : pyarrow.Schema
        As ``embeddings_schema`` makes it.
    provenance : mapping, optional
        Goes into the metadata of every file; must survive JSON.
    resume : bool
        Go on with the store that is there.
    overwrite : bool
        Replace the store that is there.

    Raises
    ------
    StoreError
        If there is a store and neither is given, or if the one to resume is of another space or has other columns.
    """

    def __init__(
        self,
        path: str | Path,
        schema: pa.Schema,
        *,
        provenance: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        told = dict(provenance or {})
        if resume and (Path(path) / MANIFEST).exists():
            found = read_manifest(Path(path), kind=FORM.kind, format_version=FORM.version).metadata.get("space_id", "")
            if found != told.get("space_id", ""):
                msg = _other_space(f"'{Path(path).name}'", str(found), str(told.get("space_id", "")), told.get("run"))
                raise StoreError(msg)
        self._writer = PartWriter(path, FORM, schema, metadata=told, resume=resume, overwrite=overwrite)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    @property
    def rows(self) -> int:
        """Rows taken so far, those of earlier calls included."""
        return self._writer.rows

    def done(self, columns: Sequence[str] = ("id",)) -> pa.Table:
        """Read columns of the rows that are complete on disk: what a resumed job may skip."""
        return self._writer.done(columns)

    def append(self, batch: pa.RecordBatch) -> None:
        """Add rows; columns as in the schema, in any order.

        Parameters
        ----------
        batch : pyarrow.RecordBatch

        Raises
        ------
        StoreError
            If the disk does not take them; the rows before stay.
        """
        self._writer.write(batch)

    def flush(self) -> None:
        """Put all rows so far on disk; no later event can lose them."""
        self._writer.flush()


def embeddings_schema(dim: int, columns: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """Make the schema of a store: ``id``, ``vector`` (float32, fixed size) and further columns.

    Parameters
    ----------
    dim : int
        D, at least 1.
    columns : mapping of str to pyarrow.DataType, optional
        All but ``id`` and ``vector``.

    Returns
    -------
    pyarrow.Schema
    """
    # Without missing values the decoder is 1.5 times faster; "element" is the name that Parquet gives back.
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
    fields = [pa.field("id", pa.string(), nullable=False), pa.field("vector", vector, nullable=False)]
    return pa.schema([*fields, *(pa.field(name, kind) for name, kind in (columns or {}).items())])


def vector_column(vectors: NDArray[np.float32]) -> pa.Array:
    """Give vectors as an Arrow column of the type that the store has.

    Parameters
    ----------
    vectors : array, (N, D), float32
        C-ordered; not copied.
    """
    kind = embeddings_schema(vectors.shape[1]).field("vector").type
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=kind)


def check_same_space(one: Embeddings, other: Embeddings) -> None:
    """Refuse to compare vectors of two spaces.

    Raises
    ------
    DataError
        If the space ids differ.
    """
    if one.space_id != other.space_id:
        msg = _other_space(one.name, one.space_id, other.space_id, other.provenance.get("run"), what="search")
        raise DataError(msg)


def _other_space(name: str, one: str, other: str, run: object, *, what: str = "job") -> str:
    again = f"Re-embed with run '{run}'." if run else "Re-embed both with one run."
    return (
        f"{name} was written with encoder {_short(one)} but this {what} uses {_short(other)}; "
        f"distances between the two mean nothing. {again}"
    )


def _short(space_id: str) -> str:
    return f"{space_id[:8]}…" if len(space_id) > 8 else space_id or "(none given)"


def _table_of(ids: Sequence[str], vectors: ArrayLike, columns: Mapping[str, Any]) -> pa.Table:
    matrix = np.array(vectors, dtype=np.float32, order="C")  # a copy: what the caller does to its array stays there
    if matrix.ndim != 2 or matrix.shape[1] == 0 or len(matrix) != len(ids):
        msg = f"vectors must be (N, D) with a row for each of the {len(ids)} ids; got shape {matrix.shape}."
        raise ShapeError(msg)
    names: list[Any] = list(ids)
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            msg = f"ids must be str; got {name!r} ({type(name).__name__}). Write them as text, e.g. str(i)."
            raise DataError(msg)
        if name in seen:
            msg = f"ids must each come once; {name!r} comes twice."
            raise DataError(msg)
        seen.add(name)
    arrays = {name: _column(name, values, len(names)) for name, values in columns.items()}
    schema = embeddings_schema(matrix.shape[1], {name: a.type for name, a in arrays.items()})
    return pa.Table.from_arrays(
        [_column("id", names, len(names)), vector_column(matrix), *arrays.values()], schema=schema
    )


def _column(name: str, values: object, n: int) -> pa.Array:
    if name == "vector":
        msg = "a column cannot be named 'vector': that is the vectors' own."
        raise ConfigError(msg)
    try:
        column = pa.array(values, pa.string()) if name == "id" else pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, TypeError) as error:
        msg = f"column '{name}' cannot be stored ({error}); give one kind of value in it."
        raise DataError(msg) from None
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_null(column.type):  # nothing but missing values: they have to have some kind
        column = column.cast(pa.string())
    if len(column) != n:
        msg = f"column '{name}' must have {n} values, one for each id; got {len(column)}."
        raise ShapeError(msg)
    return column


def _read_vectors(parts: Parts, dim: int) -> NDArray[np.float32]:
    """Read all vectors into one block, a row group at a time, so that they are in memory once."""
    vectors = np.empty((len(parts), dim), dtype=np.float32)
    for part, group, first, n in parts.groups():
        vectors[first : first + n] = _as_matrix(parts.group(part, group, ["vector"]).column(0), dim)
    return vectors


def _as_matrix(column: pa.Array, dim: int) -> NDArray[np.float32]:
    """View a column of vectors as (N, D) without a copy."""
    values = column.flatten().to_numpy(zero_copy_only=True)
    return np.asarray(values, dtype=np.float32).reshape(len(column), dim)


def _row_numbers(rows: ArrayLike, n: int) -> NDArray[np.int64]:
    wanted = np.asarray(rows)
    if wanted.dtype == np.bool_:
        if wanted.shape != (n,):
            msg = f"rows must be a mask of {n} values; got shape {wanted.shape}."
            raise ShapeError(msg)
        return np.flatnonzero(wanted)
    if wanted.size == 0:
        return np.empty(0, dtype=np.int64)
    if wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer) or wanted.min() < 0 or wanted.max() >= n:
        msg = f"rows must be a mask or row numbers from 0 to {n - 1}; got {wanted.dtype} of shape {wanted.shape}."
        raise ShapeError(msg)
    return wanted.astype(np.int64)
