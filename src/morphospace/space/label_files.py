"""Labels as files for other programs: CSV and VOTable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from astropy.io.votable import from_table
from astropy.io.votable.tree import Info
from astropy.table import MaskedColumn, Table
from numpy.typing import NDArray

from morphospace._manifest import replacing
from morphospace.config import nearest
from morphospace.errors import ConfigError, StoreError
from morphospace.space.plain import to_numpy

__all__ = ["FORMATS", "write_labels"]

FORMATS = {"csv": (".csv",), "votable": (".vot", ".votable", ".xml")}

_UCDS = {"id": "meta.id;meta.main", "ra": "pos.eq.ra;meta.main", "dec": "pos.eq.dec;meta.main"}


def write_labels(labels: pa.Table, name: str, out: str | Path, *, format: str | None, overwrite: bool) -> Path:
    """Write a table of labels; see ``Labels.export``.

    Parameters
    ----------
    labels : pyarrow.Table
        As ``Labels.table`` makes it.
    name : str
        Of the set; goes into a VOTable.
    out, format, overwrite
        As for ``Labels.export``.
    """
    path = Path(out)
    format = _format_of(path, format)
    if path.exists() and not overwrite:
        msg = f"'{path}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    try:
        with replacing(path) as beside:
            if format == "csv":
                pyarrow.csv.write_csv(labels, str(beside))
            else:
                _write_votable(labels, name, beside)
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path


def _format_of(path: Path, format: str | None) -> str:
    if format is not None:
        if format not in FORMATS:
            msg = f"unknown format '{format}' for labels{nearest(format, FORMATS)}"
            raise ConfigError(msg)
        return format
    for name, suffixes in FORMATS.items():
        if path.suffix.casefold() in suffixes:
            return name
    msg = f"'{path.name}' does not say which format to write; end it in .csv or .vot, or give format=."
    raise ConfigError(msg)


def _write_votable(labels: pa.Table, name: str, path: Path) -> None:
    table = Table()
    for column in labels.column_names:
        values = to_numpy(labels[column])
        values = _text(values) if values.dtype == object else values
        table[column] = MaskedColumn(values) if isinstance(values, np.ma.MaskedArray) else values
        if column in ("ra", "dec"):
            table[column].unit = "deg"
    file = from_table(table, table_id="labels")
    for field in file.get_first_table().fields:
        field.ucd = _UCDS.get(field.name)
    file.resources[0].infos.append(Info(name="label_set", value=name))
    # Not TABLEDATA: XML cannot hold every character that an id may have, and drops blanks.
    file.to_xml(str(path), tabledata_format="binary2")


def _text(texts: NDArray[np.object_]) -> NDArray[np.str_]:
    """Leave room for pairs of surrogates: VOTable counts a character in units of 16 bits."""
    widest = max((len(t.encode("utf-16-be")) // 2 for t in texts), default=1)
    return np.array(texts, dtype=f"U{max(1, widest)}")
