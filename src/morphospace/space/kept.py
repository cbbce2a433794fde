"""Results kept beside the embeddings that they belong to: maps, clusters, anomalies, scores.

``EMB/_<kind>/<name>.parquet`` holds a column ``id`` in the row order of the embeddings and what the kind adds; what is
told about it is JSON in the metadata of the schema. Arrays of a fitted model lie beside it in
``<name>.<hash>.safetensors``; the table tells the hash, so that an old table never stands beside a new model alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from morphospace._manifest import replacing
from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.space.embeddings import Embeddings

__all__ = ["KINDS", "Kept", "fingerprint", "keep", "kept", "place_of"]

KINDS = ("maps", "clusters", "anomalies", "scores")

_ABOUT = b"morphospace"
_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class Kept:
    """One result that was kept.

    Attributes
    ----------
    name : str
    columns : tuple of str
        ``id`` and those of its kind.
    about : dict
        What was told of it.
    fresh : bool
        False where it was made of other ids, in another order, or of vectors of another space: its rows are then not
        those of the embeddings, and it has to be made again.
    path : Path
        File of the table.
    stamp : tuple of int
        Another for each file that was ever written there.
    """

    name: str
    columns: tuple[str, ...]
    about: dict[str, Any]
    fresh: bool
    path: Path
    stamp: tuple[int, ...] = field(repr=False)
    _model: str = field(repr=False)

    @property
    def current(self) -> bool:
        """Whether the file is the one that was found, and has not been replaced or deleted since."""
        try:
            return _stamp(self.path.stat()) == self.stamp
        except OSError:
            return False

    @property
    def table(self) -> pa.Table:
        """All columns, one row for each object; read anew each time."""
        return self.read(self.columns)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Read some columns.

        Parameters
        ----------
        columns : sequence of str

        Raises
        ------
        StoreError
            If the file is damaged, or has been replaced or deleted since it was found.
        """
        try:
            with self.path.open("rb") as file:
                if _stamp(os.fstat(file.fileno())) == self.stamp:
                    return pq.read_table(file, columns=list(columns)).replace_schema_metadata(None)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise _damaged(self.path, error) from error
        msg = f"'{self.path}' has been replaced or deleted meanwhile; ask again."
        raise StoreError(msg)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Read the arrays of the model that was kept with the table; none where there was no model.

        Raises
        ------
        StoreError
            If their file is missing, damaged or of another result.
        """
        if not self._model:
            return {}
        path = _model_path(self.path, self._model)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == self._model:
                return dict(load(content))
            why = "it is damaged"
        except (OSError, SafetensorError) as error:
            why = str(error)
        msg = f"the model '{path}' cannot be used ({why}); make '{self.name}' again."
        raise StoreError(msg)


def fingerprint(emb: Embeddings) -> str:
    """Hash the ids, in their order: SHA-256 of the ids joined by newlines, as 64 hexadecimal digits.

    Parameters
    ----------
    emb : Embeddings
    """
    return hashlib.sha256("\n".join(emb.ids).encode("utf-8", "surrogatepass")).hexdigest()


def keep(
    emb: Embeddings,
    kind: str,
    name: str,
    table: pa.Table,
    about: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Keep a result beside the embeddings.

    Parameters
    ----------
    emb : Embeddings
        Opened from a folder.
    kind : {"maps", "clusters", "anomalies", "scores"}
    name : str
        Letters, digits and ``. _ + -``, at most 100; begins with a letter or digit.
    table : pyarrow.Table
        Column ``id``: the ids of ``emb`` in its order; the other columns as the kind has them.
    about : mapping
        Must survive JSON; NaN and infinity become null, numpy numbers and arrays plain ones.
    arrays : mapping of str to array, optional
        A fitted model, kept as safetensors; read back by ``Kept.arrays``.
    overwrite : bool
        Replace one of the same name. One of other rows, or of another space, is replaced in any case.

    Returns
    -------
    Path
        File of the table, written beside and renamed.

    Raises
    ------
    DataError
        If the embeddings are in memory only, or the ids are not theirs.
    ConfigError
        If the kind is unknown or the name has other characters.
    StoreError
        If one of the same name is there and ``overwrite`` is not given, or it cannot be written.
    """
    path = place_of(emb, kind, name, overwrite=overwrite)
    if "id" not in table.column_names or table["id"].to_pylist() != emb.ids:
        msg = f"the ids of '{name}' are not those of embeddings {emb.name} in their order; give one row for each."
        raise DataError(msg)
    model = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrays:
            content = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
            model = hashlib.sha256(content).hexdigest()
            with replacing(_model_path(path, model)) as beside:
                beside.write_bytes(content)
        told = {"version": _VERSION, "ids": fingerprint(emb), "space_id": emb.space_id, "model": model, "about": about}
        metadata = {_ABOUT: json.dumps(_plain(told), ensure_ascii=False).encode("utf-8", "backslashreplace")}
        with replacing(path) as beside:
            pq.write_table(table.replace_schema_metadata(metadata), beside)
        for older in _models_of(path):
            if older != _model_path(path, model):
                older.unlink(missing_ok=True)
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path


def place_of(emb: Embeddings, kind: str, name: str, *, overwrite: bool = False) -> Path:
    """Say where a result would be kept; asked before the work, it refuses what ``keep`` would refuse after it.

    Parameters
    ----------
    emb, kind, name, overwrite
        As for `keep`.

    Raises
    ------
    DataError
        If the embeddings are in memory only.
    ConfigError
        If the kind is unknown or the name has other characters.
    StoreError
        If one of the same name is there and ``overwrite`` is not given.
    """
    folder = _folder(emb, kind)
    if not _NAME.fullmatch(name):
        msg = f"a result may be named by letters, digits and . _ + - and begins with a letter or digit; got {name!r}."
        raise ConfigError(msg)
    path = folder / f"{name}.parquet"
    if not overwrite and path.exists() and _look(path, fingerprint(emb), emb.space_id).fresh:
        msg = f"'{path}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    return path


def kept(emb: Embeddings, kind: str, *, damaged: list[StoreError] | None = None) -> dict[str, Kept]:
    """Find all results of a kind that are kept beside the embeddings; their rows are read when asked for.

    Parameters
    ----------
    emb : Embeddings
    kind : {"maps", "clusters", "anomalies", "scores"}
    damaged : list, optional
        Takes what is wrong with files that cannot be read, which are then left out; without it that is raised.

    Returns
    -------
    dict of str to Kept
        By name, in alphabetical order; empty where none was kept, and for embeddings in memory.

    Raises
    ------
    ConfigError
        If the kind is unknown.
    StoreError
        If a file is damaged or of a newer release.
    """
    if emb.path is None:
        _check_kind(kind)
        return {}
    paths = sorted(p for p in _folder(emb, kind).glob("*.parquet") if _NAME.fullmatch(p.stem))
    ids = fingerprint(emb) if paths else ""
    found = {}
    for path in paths:
        try:
            found[path.stem] = _look(path, ids, emb.space_id)
        except StoreError as error:
            if damaged is None:
                raise
            damaged.append(error)
    return found


def _look(path: Path, ids: str, space_id: str) -> Kept:
    """Read what is told about a table, without its rows."""
    try:
        with path.open("rb") as file:
            stamp, schema = _stamp(os.fstat(file.fileno())), pq.read_schema(file)
        told = json.loads(schema.metadata[_ABOUT])
        version, about, model = int(told["version"]), dict(told["about"]), str(told["model"])
        fresh = (told["ids"], told["space_id"]) == (ids, space_id)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    if version > _VERSION:
        msg = f"'{path}' was written by a newer release; upgrade with pip install -U morphospace."
        raise StoreError(msg)
    return Kept(path.stem, tuple(schema.names), about, fresh, path, stamp, model)


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"'{path}' is damaged ({type(error).__name__}: {error}); delete it and make it again.")


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _model_path(path: Path, model: str) -> Path:
    return path.with_name(f"{path.stem}.{model[:16]}.safetensors")


def _models_of(path: Path) -> list[Path]:
    """Find all models of a table: that which it names, and what a writing that was broken off left."""
    name = re.compile(re.escape(path.stem) + r"\.[0-9a-f]{16}\.safetensors")
    return [each for each in path.parent.glob("*.safetensors") if name.fullmatch(each.name)]


def _folder(emb: Embeddings, kind: str) -> Path:
    _check_kind(kind)
    if emb.path is None:
        msg = f"{kind} are kept in the folder of the embeddings and these are in memory only; write them with out=."
        raise DataError(msg)
    return emb.path / f"_{kind}"


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        msg = f"unknown kind of result '{kind}'{nearest(kind, KINDS)}"
        raise ConfigError(msg)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
