"""How often sets and intervals hold the truth, over all objects and in the groups of a column."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.science.calibration import checked_classes

__all__ = ["Achieved", "Grouping", "achieved", "finite", "least_objects"]

Float = NDArray[np.float64]
Int = NDArray[np.intp]

#: 1 - 0.9 is a little less than 0.1.
ROUNDING = 1e-9
_MISSING = "missing"


def least_objects(coverage: float) -> int:
    """Give the least number of calibration objects that can hold a coverage: 1 / (1 - coverage) - 1.

    With fewer, only sets of all classes and endless intervals keep the promise.

    Parameters
    ----------
    coverage : float, 0 to 1, both excluded

    Raises
    ------
    ConfigError
        If it is not between 0 and 1.

    Examples
    --------
    >>> least_objects(0.9)
    9
    """
    if not 0 < coverage < 1:
        hint = f"; did you mean {coverage / 100:g}?" if 50 <= coverage < 100 else ", e.g. 0.9 for 90 %."
        msg = f"coverage must lie between 0 and 1, both excluded; got {coverage:g}{hint}"
        raise ConfigError(msg)
    return int(np.ceil(1 / (1 - coverage) - 1 - ROUNDING))


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of objects by one column: bins with as many objects each for numbers, the values themselves for names.

    Attributes
    ----------
    names : tuple of str
        Of the groups, in the order of their numbers; missing values (NaN, None) are a group of their own, the last.
    edges : ndarray of float64, (B - 1,), or None
        Between the bins of numbers; a value on an edge belongs to the bin above. None for names.
    """

    names: tuple[str, ...]
    edges: Float | None = None

    @classmethod
    def of(cls, values: ArrayLike, *, bins: int = 4) -> Grouping:
        """Make groups from the values of the calibration objects.

        Parameters
        ----------
        values : array-like, (N,)
            Numbers (float) are cut at their quantiles; text, whole numbers and truth values are names.
        bins : int, >= 1
            Number of bins of numbers; fewer where values repeat.

        Raises
        ------
        ConfigError
            If `bins` is below 1.
        ShapeError
            If there is not one value for each object.
        """
        if bins < 1:
            msg = f"bins must be at least 1; got {bins}."
            raise ConfigError(msg)
        array = _one_for_each(values)
        if array.dtype.kind != "f":
            return cls(tuple(sorted({str(v) for v in array.tolist() if v is not None})))
        finite = array[np.isfinite(array)].astype(np.float64)
        inner = np.arange(1, bins) / bins
        edges = np.unique(np.quantile(finite, inner)) if len(finite) else np.empty(0)
        edges = edges[edges > finite.min()] if len(finite) else edges  # none lies below the first otherwise
        if not len(edges):
            return cls(("all",), edges)
        between = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
        return cls((f"below {edges[0]:.3g}", *between, f"{edges[-1]:.3g} and above"), edges)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all groups, that of missing values included."""
        return (*self.names, _MISSING)

    def codes(self, values: ArrayLike) -> Int:
        """Give the number of each object's group, (N,); -1 for a name that was not there."""
        array = _one_for_each(values)
        if self.edges is None:
            number = {name: i for i, name in enumerate(self.names)}
            missing = len(self.names)
            found = [missing if v is None or v != v else number.get(str(v), -1) for v in array.tolist()]
            return np.array(found, dtype=np.intp)
        try:
            numbers = array.astype(np.float64)
        except (TypeError, ValueError):
            msg = f"the groups are bins of numbers, but these values are {array.dtype}, e.g. {array[0]!r}."
            raise DataError(msg) from None
        code = np.searchsorted(self.edges, numbers, side="right")
        return np.asarray(np.where(np.isfinite(numbers), code, len(self.names)), dtype=np.intp)


@dataclass(frozen=True)
class Achieved:
    """What was achieved in one group.

    Attributes
    ----------
    group : str
        ``all`` or the name of the group.
    n : int
        Objects.
    coverage : float
        Fraction whose truth was inside; NaN without objects.
    low, high : float
        Its 95 % interval (Clopper & Pearson 1934), for objects that are independent.
    size : float
        Mean number of classes in the set, or median width of the interval.
    empty : float
        Fraction of empty sets; 0 for intervals.
    """

    group: str
    n: int
    coverage: float
    low: float
    high: float
    size: float
    empty: float


def achieved(predicted: ArrayLike, y: ArrayLike, *, group: ArrayLike | None = None) -> list[Achieved]:
    """Say how often sets or intervals hold the truth, over all objects and in each group.

    Parameters
    ----------
    predicted : array-like, (N, K) of bool, or (N, 2) of float
        What `ConformalSets.predict` or `ConformalIntervals.predict` gave.
    y : array-like, (N,)
        True classes or values.
    group : array-like, (N,), optional
        Any column of names; for numbers, ``Grouping.of(...)`` gives bins.

    Returns
    -------
    list of Achieved
        First ``all``, then the groups in plain order.

    Raises
    ------
    ShapeError
        If the arrays do not fit.
    """
    what = np.asarray(predicted)
    if what.ndim != 2 or (what.dtype != np.bool_ and what.shape[1] != 2):
        msg = (
            f"predicted must be sets, bool (N, K), or intervals, float (N, 2); got {what.dtype} of shape {what.shape}."
        )
        raise ShapeError(msg)
    if what.dtype == np.bool_:
        truth = checked_classes(y, *what.shape)
        inside, size = what[np.arange(len(what)), truth], what.sum(1).astype(np.float64)
    else:
        value = finite(y, "y", len(what))
        inside, size = (what[:, 0] <= value) & (value <= what[:, 1]), what[:, 1] - what[:, 0]
    sets = what.dtype == np.bool_
    found = [_achieved("all", inside, size, sets)]
    if group is not None:
        names = np.array([str(v) for v in _one_for_each(group).tolist()])
        if len(names) != len(what):
            msg = f"group must have one value for each of the {len(what)} objects; got {len(names)}."
            raise ShapeError(msg)
        found += [_achieved(str(g), inside[names == g], size[names == g], sets) for g in np.unique(names)]
    return found


def _achieved(name: str, inside: NDArray[np.bool_], size: Float, sets: bool) -> Achieved:
    n, hits = len(inside), int(inside.sum())
    if n == 0:
        return Achieved(name, 0, *[float("nan")] * 5)
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    middle = float(size.mean() if sets else np.median(size))
    return Achieved(name, n, hits / n, low, high, middle, float((size == 0).mean()) if sets else 0.0)


def _one_for_each(values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        msg = f"a column of groups must be (N,); got shape {array.shape}."
        raise ShapeError(msg)
    return array


def finite(values: ArrayLike, name: str, n: int | None = None) -> Float:
    """See to it that an array holds finite numbers, (N,).

    Raises
    ------
    ShapeError
        If it is not (N,), or N is not `n`.
    DataError
        If it holds no numbers, or NaN or infinity.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        msg = f"{name} must hold numbers; got {array.dtype}."
        raise DataError(msg)
    if array.ndim != 1 or (n is not None and len(array) != n):
        msg = f"{name} must be ({'N' if n is None else n},); got shape {array.shape}."
        raise ShapeError(msg)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        msg = f"{bad} of {len(array)} values of {name} are NaN or infinite; leave these objects out."
        raise DataError(msg)
    return array.astype(np.float64)
