"""Conformal prediction: sets of classes and intervals that hold the truth as often as asked, calibrated with crepes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError
from morphospace.science.calibration import checked_classes, checked_probabilities, refuse_trained
from morphospace.science.coverage import ROUNDING, Grouping, finite, least_objects

__all__ = ["ConformalIntervals", "ConformalSets"]

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Int = NDArray[np.intp]


class _Calibrated:
    """What sets and intervals share: coverage, groups and their order of work."""

    def __init__(self, coverage: float = 0.9) -> None:
        self._needed = least_objects(coverage)
        self.coverage = float(coverage)
        self.grouping: Grouping | None = None

    def _groups(self, by: ArrayLike | None, n: int) -> Int:
        """Give the group of each object: 0 for all where there are none."""
        if (by is None) != (self.grouping is None):
            what = "was calibrated in groups: give the column `by`" if by is None else "has no groups: leave `by` out"
            msg = f"this predictor {what}, as in calibrate."
            raise ConfigError(msg)
        if self.grouping is None or by is None:
            return np.zeros(n, dtype=np.intp)
        codes = self.grouping.codes(by)
        if len(codes) != n:
            msg = f"by must have one value for each of the {n} objects; got {len(codes)}."
            raise ShapeError(msg)
        unknown = int((codes < 0).sum())
        if unknown:
            logger.warning("%d of %d objects are in groups that were not calibrated; nothing is ruled out.", unknown, n)
        return codes

    def _refuse_few(self, counts: Int, names: Sequence[str]) -> None:
        for count, name in zip(counts, names, strict=True):
            if count < self._needed:
                msg = (
                    f"{name} has {count} calibration objects, but coverage {self.coverage:g} needs at least "
                    f"{self._needed} (1 / (1 - coverage) - 1); give more, use fewer groups or ask for less."
                )
                raise DataError(msg)

    def _group_names(self) -> list[str]:
        return ["the calibration"] if self.grouping is None else [f"group '{g}'" for g in self.grouping.labels]

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = {"coverage": self.coverage, "groups": None}
        if self.grouping is not None:
            edges = None if self.grouping.edges is None else self.grouping.edges.tolist()
            about["groups"] = {"names": list(self.grouping.names), "edges": edges}
        return about

    def _restore(self, about: Mapping[str, Any]) -> None:
        groups = about["groups"]
        if groups is not None:
            edges = None if groups["edges"] is None else np.array(groups["edges"], dtype=np.float64)
            self.grouping = Grouping(tuple(groups["names"]), edges)


class ConformalSets(_Calibrated):
    """Sets of classes that hold the true one as often as asked, whatever the classifier is worth.

    Parameters
    ----------
    coverage : float, 0 to 1, both excluded
        How often the true class is to be in the set.
    by_class : bool
        Keep the promise for each class apart, so that a rare class is not left out for the sake of the rest.

    Raises
    ------
    ConfigError
        If the coverage is not between 0 and 1.

    Notes
    -----
    Split conformal prediction (Vovk+ 2005, sect. 4.1; class-conditional and Mondrian: sect. 4.5) with the score 1 - p of a
    class. P-values are those of crepes without smoothing, so that the same objects give the same sets; they are steps at
    the calibration scores, which crepes is asked for once. A class is in the set if its p-value is above 1 - coverage.

    What is promised is a mean over calibrations and over new objects that are like those of the calibration: the coverage
    asked for, and without ties at most 1 / (n + 1) more. **Sets may be empty**: no class fits, the object is unlike those that
    were calibrated on.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.linspace(0.5, 1.0, 19)
    >>> sets = ConformalSets(0.9).calibrate(np.column_stack([p, 1 - p]), np.zeros(19, int))
    >>> sets.predict([[0.9, 0.1], [0.52, 0.48]])
    array([[ True, False],
           [False, False]])
    """

    def __init__(self, coverage: float = 0.9, *, by_class: bool = False) -> None:
        super().__init__(coverage)
        self.by_class = by_class
        self._scores: list[Float] | None = None  # sorted, for each cell
        self._p: list[Float] = []  # p-values at those scores, then beyond them
        self._k = 0

    def __repr__(self) -> str:
        state = "not calibrated" if self._scores is None else f"{sum(map(len, self._scores))} calibration objects"
        return f"ConformalSets({self.coverage:g}, by_class={self.by_class}, {state})"

    def calibrate(
        self,
        p: ArrayLike,
        y: ArrayLike,
        *,
        by: ArrayLike | None = None,
        bins: int = 4,
        ids: Sequence[str] | None = None,
        trained_ids: Iterable[str] = (),
    ) -> Self:
        """Learn from held-out objects how small a probability the true class may have.

        Parameters
        ----------
        p : array-like, (N, K), float
            Probabilities; rows add up to 1.
        y : array-like of int, (N,)
            True classes, 0 to K - 1.
        by : array-like, (N,), optional
            Keep the promise in each group of this column (S/N, redshift, survey): see `Grouping`.
        bins : int, >= 1
            Bins of a column of numbers.
        ids, trained_ids : sequence of str, optional
            Ids of these objects, and of those that the classifier was trained on.

        Raises
        ------
        DataError
            If an object was trained on, or a class or group has too few for the coverage; the number needed is told.
        ShapeError
            If the arrays do not fit.
        MissingDependencyError
            If crepes is not installed.
        """
        prob = checked_probabilities(p)
        label = checked_classes(y, *prob.shape)
        refuse_trained(ids, trained_ids, len(prob))
        self.grouping = None if by is None else Grouping.of(by, bins=bins)
        self._k = prob.shape[1]
        cell = self._cells(self._groups(by, len(prob)), label)
        counts = np.bincount(cell, minlength=self._n_cells)
        self._refuse_few(*self._present(counts))
        crepes = optional_import("crepes", extra="conformal", purpose="conformal prediction")
        scores = 1 - prob[np.arange(len(prob)), label]
        found = [np.sort(scores[cell == c]) for c in range(self._n_cells)]
        self._p = [_p_steps(crepes, each) for each in found]
        self._scores = found
        return self

    def p_values(self, p: ArrayLike, *, by: ArrayLike | None = None) -> Float:
        """Give how well each class fits: the fraction of calibration objects that fit no better, (N, K).

        Parameters
        ----------
        p : array-like, (N, K), float
            Probabilities of new objects.
        by : array-like, (N,), optional
            The column of groups, if it was calibrated by one. 1 for every class of an object in a new group.

        Raises
        ------
        NotFittedError
            If it is not calibrated.
        ShapeError, DataError
            If the probabilities do not fit those of the calibration.
        """
        if self._scores is None:
            msg = "these conformal sets are not calibrated; call calibrate(p, y) with held-out objects first."
            raise NotFittedError(msg)
        prob = checked_probabilities(p)
        if prob.shape[1] != self._k:
            msg = f"the sets were calibrated for {self._k} classes; got probabilities of {prob.shape[1]}."
            raise ShapeError(msg)
        group = self._groups(by, len(prob))
        found = np.ones(prob.shape)
        for c in range(self._k):
            cell = self._cells(group, np.full(len(prob), c))
            for number in np.unique(cell[group >= 0]):
                rows = (cell == number) & (group >= 0)
                step = np.searchsorted(self._scores[number], 1 - prob[rows, c], side="left")
                found[rows, c] = self._p[number][step]
        return found

    def predict(self, p: ArrayLike, *, by: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Give the set of each object: True for the classes in it, (N, K); may be empty.

        Parameters
        ----------
        p, by
            As for `p_values`. An object in a group that was not calibrated gets all classes.

        Raises
        ------
        NotFittedError
            If it is not calibrated.
        """
        return np.asarray(self.p_values(p, by=by) > 1 - self.coverage + ROUNDING)

    def state(self) -> tuple[dict[str, Any], dict[str, Float]]:
        """Give what there is to save: words and numbers for JSON, and arrays.

        Raises
        ------
        NotFittedError
            If it is not calibrated.
        """
        if self._scores is None:
            msg = "these conformal sets are not calibrated; there is nothing to save."
            raise NotFittedError(msg)
        about = {**self._about(), "by_class": self.by_class, "classes": self._k, "n": [len(s) for s in self._scores]}
        return about, {"scores": np.concatenate(self._scores), "p": np.concatenate(self._p)}

    @classmethod
    def from_state(cls, about: Mapping[str, Any], arrays: Mapping[str, Float]) -> ConformalSets:
        """Make calibrated sets again of what `state` gave; crepes is not needed for that."""
        self = cls(about["coverage"], by_class=about["by_class"])
        self._restore(about)
        self._k = int(about["classes"])
        n = np.array(about["n"])
        self._scores = np.split(np.asarray(arrays["scores"], dtype=np.float64), np.cumsum(n)[:-1])
        self._p = np.split(np.asarray(arrays["p"], dtype=np.float64), np.cumsum(n + 1)[:-1])
        return self

    @property
    def _n_cells(self) -> int:
        return len(self._group_names()) * (self._k if self.by_class else 1)

    def _cells(self, group: Int, label: Int) -> Int:
        return group * self._k + label if self.by_class else group

    def _present(self, counts: Int) -> tuple[Int, list[str]]:
        """Give counts and names of the cells that must hold enough: all but the group of missing values, if empty."""
        names = self._group_names()
        total = counts.reshape(len(names), -1).sum(1)
        told, kept = [], []
        for g, name in enumerate(names):
            if total[g] == 0 and g == len(names) - 1 and self.grouping is not None:
                continue
            for c in range(self._k if self.by_class else 1):
                of = name if self.grouping is not None else ""
                told.append(f"class {c}{f' of {of}' if of else ''}" if self.by_class else name)
                kept.append(counts[g * (self._k if self.by_class else 1) + c])
        return np.array(kept), told


class ConformalIntervals(_Calibrated):
    """Intervals of a quantity that hold the true value as often as asked, whatever the regressor is worth.

    Parameters
    ----------
    coverage : float, 0 to 1, both excluded
        How often the true value is to be inside.

    Raises
    ------
    ConfigError
        If the coverage is not between 0 and 1.

    Notes
    -----
    Split conformal regression (Papadopoulos+ 2002) with the score |y - prediction|, or over `sigma` where that is given
    (normalised), in Mondrian groups by any column (Boström & Johansson 2020); half widths by crepes.
    """

    def __init__(self, coverage: float = 0.9) -> None:
        super().__init__(coverage)
        self._half: Float | None = None  # for each group, in units of sigma where that is used
        self._with_sigma = False

    def __repr__(self) -> str:
        return f"ConformalIntervals({self.coverage:g}, {'not ' if self._half is None else ''}calibrated)"

    def calibrate(
        self,
        prediction: ArrayLike,
        y: ArrayLike,
        *,
        sigma: ArrayLike | None = None,
        by: ArrayLike | None = None,
        bins: int = 4,
        ids: Sequence[str] | None = None,
        trained_ids: Iterable[str] = (),
    ) -> Self:
        """Learn from held-out objects how far off the predictions are.

        Parameters
        ----------
        prediction, y : array-like, (N,), float
            Predicted and true values, finite.
        sigma : array-like, (N,), float, > 0, optional
            How hard each object is (the regressor's own error, say): intervals become wider where it is large.
        by, bins, ids, trained_ids
            As for `ConformalSets.calibrate`.

        Raises
        ------
        DataError
            If a value is not finite, an object was trained on, or a group has too few; the number needed is told.
        ShapeError
            If the arrays do not fit.
        MissingDependencyError
            If crepes is not installed.
        """
        guess = finite(prediction, "prediction")
        true = finite(y, "y", len(guess))
        refuse_trained(ids, trained_ids, len(guess))
        scale = _sigmas(sigma, len(guess))
        self.grouping = None if by is None else Grouping.of(by, bins=bins)
        group = self._groups(by, len(guess))
        names = self._group_names()
        counts = np.bincount(group, minlength=len(names))
        bare = self.grouping is not None and counts[-1] == 0  # no missing values
        self._refuse_few(counts[: len(names) - bare], names[: len(names) - bare])
        crepes = optional_import("crepes", extra="conformal", purpose="conformal prediction")
        fitted = crepes.ConformalRegressor().fit((true - guess) / scale, bins=group)
        used = np.flatnonzero(counts)
        half = np.full(len(names), np.inf)
        # Its own alpha is 1 - confidence, which rounding makes too small for the last object that would do.
        half[used] = fitted.predict_int(np.zeros(len(used)), bins=used, confidence=self.coverage - ROUNDING)[:, 1]
        self._half, self._with_sigma = half, sigma is not None
        return self

    def predict(
        self, prediction: ArrayLike, *, sigma: ArrayLike | None = None, by: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Give the interval of each object, (N, 2): low, high.

        Parameters
        ----------
        prediction : array-like, (N,), float
            NaN gives NaN.
        sigma, by
            As in `calibrate`. An object in a group that was not calibrated gets an endless interval.

        Raises
        ------
        NotFittedError
            If it is not calibrated.
        ConfigError
            If `sigma` or `by` is given here and was not there, or the other way round.
        """
        if self._half is None:
            msg = "these conformal intervals are not calibrated; call calibrate(prediction, y) first."
            raise NotFittedError(msg)
        guess = np.asarray(prediction, dtype=np.float64)
        if guess.ndim != 1:
            msg = f"prediction must be (N,); got shape {guess.shape}."
            raise ShapeError(msg)
        if (sigma is not None) != self._with_sigma:
            told = "with sigma: give it here too" if self._with_sigma else "without sigma: leave it out"
            msg = f"the intervals were calibrated {told}."
            raise ConfigError(msg)
        group = self._groups(by, len(guess))
        half = np.where(group >= 0, self._half[group], np.inf) * _sigmas(sigma, len(guess))
        return np.column_stack([guess - half, guess + half])

    def state(self) -> tuple[dict[str, Any], dict[str, Float]]:
        """Give what there is to save: words and numbers for JSON, and arrays.

        Raises
        ------
        NotFittedError
            If it is not calibrated.
        """
        if self._half is None:
            msg = "these conformal intervals are not calibrated; there is nothing to save."
            raise NotFittedError(msg)
        return {**self._about(), "sigma": self._with_sigma}, {"half": self._half}

    @classmethod
    def from_state(cls, about: Mapping[str, Any], arrays: Mapping[str, Float]) -> ConformalIntervals:
        """Make calibrated intervals again of what `state` gave."""
        self = cls(about["coverage"])
        self._restore(about)
        self._half, self._with_sigma = np.asarray(arrays["half"], dtype=np.float64), bool(about["sigma"])
        return self


def _p_steps(crepes: Any, scores: Float) -> Float:  # noqa: ANN401 - an optional module
    """Ask crepes for the p-value at each of the sorted scores, and beyond the last: (n + 1,).

    The p-value of any score is that of the next calibration score above it, or of the one beyond.
    """
    fitted = crepes.ConformalClassifier().fit(scores)
    return np.asarray(fitted.predict_p(np.append(scores, np.inf), smoothing=False), dtype=np.float64)


def _sigmas(sigma: ArrayLike | None, n: int) -> Float:
    if sigma is None:
        return np.ones(n)
    scale = finite(sigma, "sigma", n)
    if (scale <= 0).any():
        msg = f"{int((scale <= 0).sum())} of {n} values of sigma are not above 0; leave these objects out."
        raise DataError(msg)
    return scale
