"""Masks of objects, kept in a file of their own beside the cutouts they belong to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.errors import DataError, StoreError
from morphospace.science.files import free_file, write_file

__all__ = ["COMPARED", "Masks", "compared", "intersection_over_union"]

#: Columns of the intersection over union of two masks, and which.
COMPARED = {
    "iou_otsu": "network and Otsu",
    "iou_photutils": "network and photutils",
    "iou_otsu_photutils": "Otsu and photutils",
}

_ABOUT = b"morphospace"
_VERSION = 1
_KIND = "masks"


class Masks(Mapping[str, NDArray[np.bool_]]):
    """Masks by id: ``masks["GG Tau"]`` is (H, W), True where the object is; give them to ``measure`` as ``labels``.

    Attributes
    ----------
    table : pyarrow.Table
        Columns ``id``, ``mask`` (bits, as of a store of cutouts), ``shape`` and figures of each mask.
    about : dict
        How they were made.
    path : Path or None
        File they are kept in.
    """

    def __init__(self, table: pa.Table, about: Mapping[str, Any], path: Path | None = None) -> None:
        self.table, self.about, self.path = table, dict(about), path
        self._rows = {name: row for row, name in enumerate(table["id"].to_pylist())}

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        masks: Sequence[NDArray[np.bool_]],
        columns: Mapping[str, Any],
        about: Mapping[str, Any],
    ) -> Masks:
        """Make them of arrays, (H, W) each, and of columns with a value for each."""
        table = pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "mask": pa.array([np.packbits(mask).tobytes() for mask in masks], pa.binary()),
                "shape": pa.array([mask.shape for mask in masks], pa.list_(pa.int32())),
                **columns,
            }
        )
        return cls(table, about)

    @classmethod
    def open(cls, path: str | Path) -> Masks:
        """Open a file that `segment` wrote.

        Raises
        ------
        StoreError
            If there is none, it is something else, damaged or of a newer release.
        """
        try:
            table = pq.read_table(path)
            told = json.loads((table.schema.metadata or {})[_ABOUT])
            if told["kind"] != _KIND:
                raise KeyError(_KIND)
        except (OSError, pa.ArrowException) as error:
            msg = f"'{path}' cannot be read as a table of masks ({error})."
            raise StoreError(msg) from error
        except (KeyError, ValueError, TypeError):
            msg = f"'{path}' is no table of masks; give one that `morphospace segment` wrote."
            raise StoreError(msg) from None
        if told["version"] > _VERSION:
            msg = f"'{path}' was written by a newer release; upgrade with pip install -U morphospace."
            raise StoreError(msg)
        return cls(table.replace_schema_metadata(None), told["about"], Path(path))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Masks:
        """Write them beside and rename.

        Raises
        ------
        ConfigError
            If the ending is not one of Parquet.
        StoreError
            If the file is there and `overwrite` is not given, or it cannot be written.
        """
        target = free_file(path, overwrite=overwrite)
        told = {"kind": _KIND, "version": _VERSION, "about": self.about}
        write_file(target, partial(pq.write_table, self.table.replace_schema_metadata({_ABOUT: json.dumps(told)})))
        return Masks(self.table, self.about, target)

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        """Give one mask, (H, W).

        Raises
        ------
        DataError
            If there is none of that id; the message names the nearest. A `KeyError` too, as mappings have it.
        """
        if name not in self._rows:
            msg = f"there is no mask of '{name}'{nearest(str(name), list(self._rows))}"
            raise _NoMaskError(msg)
        row = self._rows[name]
        shape = self.table["shape"][row].as_py()
        bits = np.frombuffer(self.table["mask"][row].as_py(), np.uint8)
        if len(bits) != (math.prod(shape) + 7) // 8:
            msg = f"the mask of '{name}' has {len(bits)} bytes, not those of {tuple(shape)}: the file is damaged."
            raise StoreError(msg)
        return np.unpackbits(bits, count=math.prod(shape)).astype(bool).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __repr__(self) -> str:
        return f"<Masks: {len(self)}>"


class _NoMaskError(DataError, KeyError):
    __str__ = Exception.__str__


def intersection_over_union(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Compare two masks: pixels in both over pixels in any; NaN where both are empty."""
    union = int((one | two).sum())
    return int((one & two).sum()) / union if union else math.nan


def compared(masks: Masks) -> dict[str, dict[str, float]]:
    """Give the table of comparisons: for each of `COMPARED` the median and the 16 and 84 % quantiles over objects.

    Returns
    -------
    dict
        Keys ``median``, ``low``, ``high`` (NaN without an object) and ``n``, the objects of which a mask is not empty.
    """
    found = {}
    for name in COMPARED:
        values = masks.table[name].to_numpy()
        values = values[np.isfinite(values)]
        low, median, high = np.quantile(values, [0.16, 0.5, 0.84]) if len(values) else (math.nan,) * 3
        found[name] = {"median": float(median), "low": float(low), "high": float(high), "n": len(values)}
    return found
