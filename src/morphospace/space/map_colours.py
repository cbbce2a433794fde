"""Colours of a map: numbers on a colour bar, words in a legend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.space.density import density
from morphospace.space.embeddings import Embeddings
from morphospace.space.names import one_line

__all__ = ["DENSITY", "GREY", "Colours", "colours_of"]

DENSITY = "density"
GREY = to_rgb("#8b93a1")
_MOST = 12  # categories with a colour of their own
_ENDS = (0.02, 0.98)  # quantiles at the ends of the colour bar: a few far values shall not take it all
# Of one lightness and far apart in hue, seen on black; the first eight also by most of the colour blind.
_PALETTE = (
    "#56b4e9", "#f5a623", "#2ec4a0", "#f4e04d", "#ff7262", "#d28cd6", "#9aa8ff", "#b5dd5b",
    "#ff9ecb", "#c9a27a", "#6fe3e1", "#e8e8e8",
)  # fmt: skip
# viridis from where it can be told from black
_RAMP = (
    "#4a5fd0", "#3f78c9", "#3490b5", "#2aa5a0", "#3ab789", "#66c96b", "#9cd750", "#d3e14a", "#fdf06f",
)  # fmt: skip


@dataclass(frozen=True)
class Colours:
    """A colour for each row, and what tells its meaning.

    Attributes
    ----------
    rgb : array, (N, 3), float, 0 to 1
    name : str
        Over the legend or beside the colour bar.
    legend : tuple of (str, (3,) floats)
        Empty for numbers.
    scale : (Normalize, Colormap), or None for words
    """

    rgb: NDArray[np.float64]
    name: str = ""
    legend: tuple[tuple[str, tuple[float, float, float]], ...] = ()
    scale: tuple[Normalize, ListedColormap] | None = None


def colours_of(color: str | ArrayLike | None, emb: Embeddings) -> Colours:
    """Give each row of embeddings its colour.

    Parameters
    ----------
    color : str or array, (N,), or None
        A column of the embeddings, ``"density"``, or values. Numbers make a scale from the 2nd to the 98th percentile;
        words, booleans and whole numbers of at most 12 different values make a legend, rarer ones than the 12 most
        frequent being grey. Grey also: what is missing, NaN, and -1 among whole numbers (in no cluster).
    emb : Embeddings

    Raises
    ------
    ConfigError
        If there is no such column, or it holds neither numbers nor words.
    ShapeError
        If there is not one value for each row.
    """
    if color is None:
        return Colours(np.tile(GREY, (len(emb), 1)))
    if isinstance(color, str):
        name = one_line(color, 60)
        if color == DENSITY and DENSITY not in emb.columns:
            return _numbers(100 * density(emb), "commoner than … % of all shapes", (0.0, 100.0))
        column = emb.table([color])[color].combine_chunks()
    else:
        name = ""
        column = _array(color)
    if len(column) != len(emb):
        msg = f"color must be one value for each of the {len(emb)} rows; got {len(column)}."
        raise ShapeError(msg)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    whole = pa.types.is_integer(kind)
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _words(column.to_pylist(), name)
    if whole and pc.count_distinct(column).as_py() <= _MOST + 1:
        return _words([None if value == -1 else value for value in column.to_pylist()], name)
    if whole or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return _numbers(column.cast(pa.float64()).to_numpy(zero_copy_only=False), name)
    msg = f"'{name}' holds {kind}, which has no colour; give a column of numbers or words."
    raise ConfigError(msg)


def _array(color: ArrayLike) -> Any:  # noqa: ANN401 - pyarrow has no types
    values = np.asarray(color)
    if values.ndim != 1:
        msg = f"color must be one value for each row; got shape {values.shape}."
        raise ShapeError(msg)
    try:
        return pa.array(values)
    except pa.ArrowException as error:
        msg = f"color must hold numbers or words; these cannot be read ({error})."
        raise DataError(msg) from None


def _numbers(values: NDArray[np.float64], name: str, ends: tuple[float, float] | None = None) -> Colours:
    good = np.isfinite(values)
    low, high = ends or (np.quantile(values[good], _ENDS) if good.any() else (0.0, 1.0))
    if low == high:
        low, high = low - 0.5, high + 0.5
    ramp = _ramp()
    scale = Normalize(float(low), float(high), clip=True)
    rgb = np.tile(np.array(GREY), (len(values), 1))
    rgb[good] = ramp(scale(values[good]))[:, :3]
    return Colours(rgb, name, (), (scale, ramp))


def _ramp() -> ListedColormap:
    steps = np.array([to_rgb(c) for c in _RAMP])
    at = np.linspace(0, len(steps) - 1, 256)
    return ListedColormap(np.column_stack([np.interp(at, np.arange(len(steps)), s) for s in steps.T]))


def _words(values: list[Any], name: str) -> Colours:
    counts = Counter(value for value in values if value is not None)
    frequent = sorted(each for each, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST])
    colour = {value: to_rgb(_PALETTE[i]) for i, value in enumerate(frequent)}
    legend = [(f"{one_line(str(value), 24)} ({counts[value]:,})", colour[value]) for value in frequent]
    n_other = sum(counts.values()) - sum(counts[value] for value in frequent)
    n_none = len(values) - sum(counts.values())
    legend += [(f"other ({n_other:,})", GREY)] if n_other else []
    legend += [(f"none ({n_none:,})", GREY)] if n_none else []
    return Colours(np.array([colour.get(value, GREY) for value in values]).reshape(-1, 3), name, tuple(legend))
