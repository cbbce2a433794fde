"""Position angles: 1 and 179 degrees are neighbours, so that their numbers have to be doubled and put on a circle."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["doubled_angles", "is_axial"]

Float = NDArray[np.float64]

_NAME = re.compile(r"(^|_)(pa|posang|position_?angle)(_|$)")
_RADIANS = 2 * np.pi


def is_axial(name: str, v: Float) -> bool:
    """Tell whether a column holds position angles in degrees.

    Its name has ``pa``, ``posang`` or ``position_angle`` between underscores or ends, whatever the case, and its values lie
    from -180 to 360 degrees; they are radians where they all lie below 2 pi and the name does not end in ``deg``.
    """
    known = v[np.isfinite(v)]
    if not _NAME.search(name.lower()) or not len(known) or known.min() < -180 or known.max() > 360:
        return False
    return name.lower().endswith("deg") or float(np.abs(known).max()) > _RADIANS


def doubled_angles(values: Mapping[str, Float]) -> tuple[dict[str, Float], list[str]]:
    """Put ``cos 2 NAME`` and ``sin 2 NAME`` in the place of each column of position angles.

    Parameters
    ----------
    values : mapping of str to ndarray, (N,)

    Returns
    -------
    dict
        All columns, in their order.
    list of str
        Names of those that were angles.
    """
    found: dict[str, Float] = {}
    angles = []
    for name, v in values.items():
        if is_axial(name, v):
            angles.append(name)
            twice = np.deg2rad(2 * np.where(np.isfinite(v), v, np.nan))
            found |= {f"cos 2 {name}": np.cos(twice), f"sin 2 {name}": np.sin(twice)}
        else:
            found[name] = v
    return found, angles
