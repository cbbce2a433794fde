"""Images in nested lists of Arrow: plain arrays, and the struct of bands of the Multimodal Universe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace.sky._intake import refusal
from morphospace.sky.images import Image
from morphospace.sky.sources.arrays import image_from, with_beside

__all__ = ["image_of_bands", "is_bands", "is_nested", "to_array"]

_FLUX = ("flux", "array")  # the second in early releases


def is_bands(kind: pa.DataType) -> bool:
    """Say whether a type is a struct of lists per band, or a list of structs per band, with a flux."""
    if _is_list(kind):
        kind = kind.value_type
    return pa.types.is_struct(kind) and any(name in kind.names and _depth(kind.field(name).type) > 1 for name in _FLUX)


def is_nested(kind: pa.DataType) -> bool:
    """Say whether a type is a list of lists, or deeper, of numbers."""
    return _depth(kind) > 1


def to_array(value: pa.Scalar, source: str) -> NDArray[Any]:
    """Turn a value of nested lists into an array.

    Raises
    ------
    DataError
        If its rows are of different lengths, or something is missing within. A single list is taken as a square.
    """
    values, shape = value, []
    array: pa.Array | None = None
    while _is_list(values.type):
        if array is None:
            array = values.values
            shape.append(len(array))
        else:
            n, lengths = len(array), array.value_lengths() if not _is_fixed(array.type) else None
            width = array.type.list_size if lengths is None else _common(lengths, source)
            if array.null_count:
                raise refusal(source, "has missing rows in its image", "write it anew or leave the row out")
            array = array.flatten()
            shape.append(width if n else 0)
        values = array
    if array is None or array.null_count:
        raise refusal(source, "has missing pixels that are no NaN in its image", "write it anew or leave the row out")
    numbers = array.to_numpy(zero_copy_only=False)
    if len(shape) == 1:
        side = round(len(numbers) ** 0.5)
        if side * side != len(numbers):
            what = f"holds a list of {len(numbers)} numbers, which is no square image"
            raise refusal(source, what, "nest the rows of the image")
        shape = [side, side]
    return np.array(numbers.reshape(shape))


def image_of_bands(value: pa.Scalar, source: str) -> Image:
    """Make an image of the bands of a struct.

    What stands beside the ``flux`` is taken as by `with_beside`.

    Raises
    ------
    DataError
        If there is no flux, or the parts differ in shape.
    """
    parts = _parts(value)
    name = next((name for name in _FLUX if name in parts), None)
    if name is None or not len(parts[name]):
        raise refusal(source, "has no band in its image", "leave the row out")
    image = image_from(_stacked(parts[name], source), source)
    beside = {key: _stacked(parts[key], source) for key in ("mask", "ivar") if len(parts.get(key, ()))}
    if "band" in parts:
        beside["band"] = np.array(parts["band"], dtype=np.str_)
    beside["scale"] = np.array([scale for scale in parts.get("scale", ()) if scale is not None], dtype=np.float64)
    return with_beside(image, beside)


def _parts(value: pa.Scalar) -> Mapping[str, Any]:
    """List the values per band, of either form; planes stay Arrow's."""
    if pa.types.is_struct(value.type):
        found = {name: value[name] for name in value.type.names}
        return {
            name: (list(part) if _depth(part.type) > 1 else part.as_py()) if _is_list(part.type) else [part.as_py()]
            for name, part in found.items()
            if part.is_valid
        }
    rows = [row for row in value if row.is_valid]
    names = value.type.value_type.names
    parts: dict[str, list[Any]] = {}
    for name in names:
        items = [row[name] for row in rows]
        if all(item.is_valid for item in items):
            parts[name] = [item if _is_list(item.type) else item.as_py() for item in items]
    return parts


def _stacked(planes: list[Any], source: str) -> NDArray[Any]:
    arrays = [to_array(plane, source) for plane in planes]
    if len({array.shape for array in arrays}) > 1:
        what = f"has bands of different shapes, {', '.join(str(array.shape) for array in arrays[:4])}"
        raise refusal(source, what, "bring them to one grid or leave the row out")
    return np.stack(arrays)


def _common(lengths: pa.Array, source: str) -> int:
    found = lengths.unique().to_pylist()
    if len(found) != 1 or found[0] is None:
        raise refusal(source, "has rows of different lengths in its image", "write it anew or leave the row out")
    return int(found[0])


def _depth(kind: pa.DataType) -> int:
    """Count how many lists lie around numbers; 0 for anything else."""
    depth = 0
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return depth if numeric else 0


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))
