"""Write embeddings for other programs: CSV, Parquet, FITS table, VOTable, HDF5, TensorBoard projector."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Info
from astropy.table import MaskedColumn, Table
from numpy.typing import NDArray

from morphospace._manifest import replacing
from morphospace.config import nearest
from morphospace.errors import ConfigError, StoreError
from morphospace.space.embeddings import Embeddings, vector_column
from morphospace.space.plain import plain_table, to_numpy, unique_names
from morphospace.space.projector import write_projector
from morphospace.space.tiles import Thumbs

__all__ = ["FORMATS", "export"]

_ROWS_AT_ONCE = 16_384
_DEGREES = ("ra", "dec")
_UCDS = {"id": "meta.id;meta.main", "ra": "pos.eq.ra;meta.main", "dec": "pos.eq.dec;meta.main"}


class _Format(NamedTuple):
    suffixes: tuple[str, ...]
    write: Callable[[Embeddings, Path], None] | None  # None: a folder


def export(
    emb: Embeddings,
    out: str | Path,
    *,
    format: str | None = None,
    thumbs: Thumbs | None = None,
    overwrite: bool = False,
) -> Path:
    """Write all rows, with vectors and columns, for another program.

    Parameters
    ----------
    emb : Embeddings
    out : path
        File to write; for the projector a folder.
    format : {"csv", "parquet", "fits", "votable", "hdf5", "tensorboard"}, optional
        Default: by the suffix of ``out`` (.csv; .parquet, .pq; .fits, .fit; .vot, .votable, .xml; .h5, .hdf5).
    thumbs : array or callable, optional
        Pictures for the sprite of the projector; see ``Thumbs``.
    overwrite : bool
        Replace what is there.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ConfigError
        If the format is unknown, or ``thumbs`` is given for one without pictures.
    StoreError
        If ``out`` is there and ``overwrite`` is not given, or it cannot be written. A file or folder is written
        beside and renamed, so that a kill leaves the old or the new one.

    Notes
    -----
    CSV has the vector as columns ``vector_0`` and so on; the others have one column ``vector``. Lists become JSON text,
    and bytes are left out, in all but Parquet. A missing text is empty in FITS and HDF5 and VOTable, and unquoted
    nothing in CSV (an empty text is ``""``). FITS texts are UTF-8; readers drop white space at their end.
    Ids are written as they are in every format, one that starts with ``=`` too: a spreadsheet would take it for a
    formula, so import such a CSV with its columns as text.
    """
    path, name = Path(out), format or _format_of(Path(out))
    if name not in FORMATS:
        msg = f"unknown export format '{name}'{nearest(name, FORMATS)}"
        raise ConfigError(msg)
    write = FORMATS[name].write
    if thumbs is not None and write is not None:
        msg = f"thumbs are for format='tensorboard'; '{name}' has no pictures. Leave thumbs out."
        raise ConfigError(msg)
    if path.exists() and not overwrite:
        msg = f"'{path}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    if write is None:
        write_projector(emb, path, thumbs)
        return path
    if path.is_dir():
        msg = f"'{path}' is a folder; format '{name}' needs the name of a file."
        raise StoreError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            write(emb, beside)
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path


def _format_of(path: Path) -> str:
    suffix = path.suffix.casefold()
    for name, known in FORMATS.items():
        if suffix in known.suffixes:
            return name
    every = ", ".join(s for f in FORMATS.values() for s in f.suffixes)
    msg = f"'{path.name}' does not say which format to write; end it in {every}, or give format=, e.g. 'tensorboard'."
    raise ConfigError(msg)


def _told(emb: Embeddings) -> dict[str, str]:
    """Say where the vectors came from, as text."""
    return {"space_id": emb.space_id, "provenance": json.dumps(emb.provenance, default=str)}


def _write_csv(emb: Embeddings, path: Path) -> None:
    table = plain_table(emb.table())
    names = unique_names([*table.column_names, *(f"vector_{i}" for i in range(emb.dim))])
    kinds = [*(f.type for f in table.schema), *[pa.float32()] * emb.dim]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    with pyarrow.csv.CSVWriter(str(path), schema) as writer:
        for start in range(0, len(emb), _ROWS_AT_ONCE):
            some = table.slice(start, _ROWS_AT_ONCE)
            vectors = emb.vectors[start : start + _ROWS_AT_ONCE]
            arrays = [*(c.combine_chunks() for c in some.columns), *(pa.array(v) for v in vectors.T.copy())]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _write_parquet(emb: Embeddings, path: Path) -> None:
    light = [c for c in emb.schema.names if c != "vector"]
    table = emb.table()
    schema = emb.schema.with_metadata({**(emb.schema.metadata or {}), **_told(emb)})
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=light, write_statistics=light) as writer:
        for start in range(0, max(1, len(emb)), _ROWS_AT_ONCE):
            some = table.slice(start, _ROWS_AT_ONCE)
            vectors = vector_column(emb.vectors[start : start + _ROWS_AT_ONCE])
            arrays = [vectors if c == "vector" else some[c] for c in schema.names]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _astropy_table(emb: Embeddings, text: Callable[[NDArray[Any]], NDArray[Any]], *, plain_names: bool) -> Table:
    """Make a table of astropy: columns of the embeddings, then the vector."""
    plain = plain_table(emb.table())
    names = unique_names([*plain.column_names, "vector"], plain=plain_names)
    table = Table()
    for name, column in zip(names, plain.columns, strict=False):
        values = to_numpy(column)
        values = text(values) if values.dtype == object else values
        table[name] = MaskedColumn(values) if isinstance(values, np.ma.MaskedArray) else values
        if name in _DEGREES and values.dtype.kind == "f":
            table[name].unit = "deg"
    table[names[-1]] = emb.vectors
    return table


def _utf8(texts: NDArray[Any]) -> NDArray[Any]:
    return np.array([t.encode() for t in texts], dtype=np.bytes_)


def _utf16(texts: NDArray[Any]) -> NDArray[Any]:
    """Leave room for pairs of surrogates: VOTable counts a character in units of 16 bits."""
    widest = max((len(t.encode("utf-16-be")) // 2 for t in texts), default=1)
    return np.array(texts, dtype=f"U{max(1, widest)}")


def _write_fits(emb: Embeddings, path: Path) -> None:
    hdu = fits.table_to_hdu(_astropy_table(emb, _utf8, plain_names=True))
    hdu.header["EXTNAME"] = "EMBEDDINGS"
    told = _told(emb)
    hdu.header["SPACEID"] = told["space_id"]
    hdu.header.add_history(f"morphospace {told['provenance']}")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def _write_votable(emb: Embeddings, path: Path) -> None:
    file = from_table(_astropy_table(emb, _utf16, plain_names=False), table_id="embeddings")
    for field in file.get_first_table().fields:
        field.ucd = _UCDS.get(field.name)
    file.resources[0].infos.extend(Info(name=name, value=value) for name, value in _told(emb).items())
    # Not TABLEDATA: XML cannot hold every character that an id may have, and drops blanks.
    file.to_xml(str(path), tabledata_format="binary2")


def _write_hdf5(emb: Embeddings, path: Path) -> None:
    plain = plain_table(emb.table())
    names = unique_names([*plain.column_names, "vector"], plain=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(_told(emb))
        for name, column in zip(names, plain.columns, strict=False):
            values = to_numpy(column)
            if values.dtype == object:
                file.create_dataset(name, data=values, dtype=h5py.string_dtype())
                continue
            dataset = file.create_dataset(name, data=np.ma.filled(values))
            if isinstance(values, np.ma.MaskedArray):
                dataset.attrs["missing_value"] = values.fill_value
        file.create_dataset(names[-1], data=emb.vectors)


FORMATS: dict[str, _Format] = {
    "csv": _Format((".csv",), _write_csv),
    "parquet": _Format((".parquet", ".pq"), _write_parquet),
    "fits": _Format((".fits", ".fit"), _write_fits),
    "votable": _Format((".vot", ".votable", ".xml"), _write_votable),
    "hdf5": _Format((".h5", ".hdf5"), _write_hdf5),
    "tensorboard": _Format((), None),
}
