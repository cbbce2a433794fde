"""Calibration of probabilities: temperature scaling, reliability, expected calibration error, Brier score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError

__all__ = [
    "Brier",
    "Reliability",
    "Temperature",
    "brier_score",
    "calibration_error",
    "checked_classes",
    "checked_probabilities",
    "refuse_trained",
    "reliability_curve",
]

Float = NDArray[np.float64]
Int = NDArray[np.intp]

_BINS = 15  # as Guo+ 2017 take them
_STEEPEST = 7.0  # |log T| at most: temperatures from 1/1,097 to 1,097
_SUM = 1e-3  # how far the probabilities of an object may be from adding up to 1: half precision passes


class Temperature:
    """Temperature scaling: divide the logits by one number so that the probabilities mean what they say.

    Attributes
    ----------
    value : float or None
        The temperature; above 1 the classifier was too sure. None before `fit`.

    Notes
    -----
    Guo+ 2017, sect. 4.2: the temperature with the least log-loss on held-out objects. The most probable class stays what
    it was. It is sought between 1/1,097 and 1,097: where the held-out objects are all classified correctly the least
    log-loss is that of a temperature of 0, and the lower end is given.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.array([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
    >>> scaled = Temperature().fit(logits, [0, 0, 0, 1]).apply(logits)
    >>> bool(abs(scaled[0, 0] - 0.75) < 1e-4)
    True
    """

    def __init__(self, value: float | None = None) -> None:
        if value is not None and not (np.isfinite(value) and value > 0):
            msg = f"a temperature must be finite and above 0; got {value}."
            raise ConfigError(msg)
        self.value = value

    def __repr__(self) -> str:
        return "Temperature(not fitted)" if self.value is None else f"Temperature({self.value:.4g})"

    def fit(
        self, logits: ArrayLike, y: ArrayLike, *, ids: Sequence[str] | None = None, trained_ids: Iterable[str] = ()
    ) -> Self:
        """Find the temperature on held-out objects.

        Parameters
        ----------
        logits : array-like, (N, K), float
            Scores before the softmax, or log-probabilities; finite.
        y : array-like of int, (N,)
            True classes, 0 to K - 1.
        ids, trained_ids : sequence of str, optional
            Ids of these objects, and of those that the classifier was trained on.

        Raises
        ------
        ShapeError
            If the shapes do not fit.
        DataError
            If there is no object, a logit is not finite, or an object was trained on.
        """
        z = np.asarray(logits, dtype=np.float64)
        if z.ndim != 2 or z.shape[1] < 2:
            msg = f"logits must be (N, K) with K of at least 2; got shape {z.shape}."
            raise ShapeError(msg)
        label = checked_classes(y, len(z), z.shape[1])
        refuse_trained(ids, trained_ids, len(z))
        _refuse_not_finite(z, "logits")
        row = np.arange(len(z))

        def loss(log_t: float) -> float:
            return -float(log_softmax(z / np.exp(log_t), axis=1)[row, label].mean())

        found = minimize_scalar(loss, bounds=(-_STEEPEST, _STEEPEST), method="bounded", options={"xatol": 1e-6})
        self.value = float(np.exp(found.x))
        return self

    def apply(self, logits: ArrayLike) -> Float:
        """Give probabilities at the temperature found, (N, K); a row with NaN stays NaN.

        Raises
        ------
        NotFittedError
            If no temperature was found yet.
        """
        if self.value is None:
            msg = "this temperature is not fitted; call fit(logits, y) with held-out objects first."
            raise NotFittedError(msg)
        return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / self.value, axis=1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often a class said with some confidence is right: the data of a reliability diagram.

    Attributes
    ----------
    low, high : ndarray of float64, (M,)
        Edges of the bins of confidence.
    n : ndarray of int, (M,)
        Objects in each.
    confidence, accuracy : ndarray of float64, (M,)
        Their mean confidence and the fraction that is right; NaN where a bin is empty.
    """

    low: Float
    high: Float
    n: Int
    confidence: Float
    accuracy: Float

    @property
    def error(self) -> float:
        """Expected calibration error (Guo+ 2017, eq. 3)."""
        some = self.n > 0
        return float(self.n[some] @ np.abs(self.accuracy - self.confidence)[some] / self.n.sum())


@dataclass(frozen=True)
class Brier:
    """The Brier score and what it is made of: ``score = reliability - resolution + uncertainty + within``.

    Attributes
    ----------
    score : float
        Mean over the objects of the squared distance between probabilities and truth: 0 perfect, 2 always surely wrong.
    reliability : float
        Distance of the probabilities from the frequencies in their bins; 0 when calibrated.
    resolution : float
        How far the frequencies of the bins are from the mean; more is better.
    uncertainty : float
        That of the classes themselves: the score of their frequencies.
    within : float
        What the spread inside the bins adds; 0 when all probabilities of a bin are equal.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def reliability_curve(p: ArrayLike, y: ArrayLike, *, bins: int = _BINS) -> Reliability:
    """Compare confidence with accuracy, for the most probable class of each object.

    Parameters
    ----------
    p : array-like, (N, K), float
        Probabilities; rows add up to 1.
    y : array-like of int, (N,)
        True classes, 0 to K - 1.
    bins : int, >= 1
        Number of bins M of equal width between 0 and 1; a confidence on an edge belongs to the bin below.

    Returns
    -------
    Reliability

    Raises
    ------
    ShapeError, DataError, ConfigError
        If the arrays do not fit, hold NaN or nothing, or `bins` is below 1.
    """
    prob = checked_probabilities(p)
    label = checked_classes(y, *prob.shape)
    edges = np.linspace(0.0, 1.0, _checked_bins(bins) + 1)
    confidence = prob.max(1)
    code = _bin_of(confidence, bins)
    n = np.bincount(code, minlength=bins)
    right = np.bincount(code, weights=prob.argmax(1) == label, minlength=bins)
    total = np.bincount(code, weights=confidence, minlength=bins)
    count = np.where(n > 0, n, np.nan)
    return Reliability(edges[:-1], edges[1:], n, total / count, right / count)


def calibration_error(p: ArrayLike, y: ArrayLike, *, bins: int = _BINS) -> float:
    """Measure the expected calibration error: mean distance between confidence and accuracy.

    Parameters
    ----------
    p, y, bins
        As for `reliability_curve`.

    Returns
    -------
    float
        0 to 1. With few objects in a bin it is above 0 even for a perfect classifier.

    Notes
    -----
    Guo+ 2017, eq. 3, over the most probable class.
    """
    return reliability_curve(p, y, bins=bins).error


def brier_score(p: ArrayLike, y: ArrayLike, *, bins: int = _BINS) -> Brier:
    """Measure the Brier score and take it apart.

    Parameters
    ----------
    p, y, bins
        As for `reliability_curve`; the bins serve the parts only.

    Returns
    -------
    Brier

    Notes
    -----
    Brier 1950, eq. 2 (sum over the classes); parts of Murphy 1973, eq. 13, in bins of each class's probability and summed
    over the classes; `within` is the within-bin variance less twice the covariance of Stephenson+ 2008, eq. 8, with
    which the parts add up exactly.
    """
    prob = checked_probabilities(p)
    label = checked_classes(y, *prob.shape)
    truth = np.eye(prob.shape[1])[label]
    n_bins = _checked_bins(bins)
    parts = np.zeros(4)
    for said, true in zip(prob.T, truth.T, strict=True):
        code = _bin_of(said, n_bins)
        n = np.bincount(code, minlength=n_bins)
        some = n > 0
        said_mean, true_mean = np.zeros(n_bins), np.zeros(n_bins)
        said_mean[some] = np.bincount(code, weights=said, minlength=n_bins)[some] / n[some]
        true_mean[some] = np.bincount(code, weights=true, minlength=n_bins)[some] / n[some]
        share, mean = n / len(said), true.mean()
        off, missed = said - said_mean[code], true - true_mean[code]
        parts += [
            share @ (said_mean - true_mean) ** 2,
            share @ (true_mean - mean) ** 2,
            mean * (1 - mean),
            float(np.mean(off**2 - 2 * off * missed)),
        ]
    return Brier(float(((prob - truth) ** 2).sum(1).mean()), *(float(part) for part in parts))


def checked_probabilities(p: ArrayLike) -> Float:
    """See to it that an array holds probabilities, (N, K).

    Raises
    ------
    ShapeError
        If it is not (N, K) with K of at least 2.
    DataError
        If a row holds NaN, lies outside 0 to 1 or does not add up to 1.
    """
    prob = np.asarray(p, dtype=np.float64)
    if prob.ndim != 2 or prob.shape[1] < 2:
        msg = f"probabilities must be (N, K) with K of at least 2; got shape {prob.shape}."
        raise ShapeError(msg)
    _refuse_not_finite(prob, "probabilities")
    bad = (prob < -_SUM).any(1) | (prob > 1 + _SUM).any(1) | (np.abs(prob.sum(1) - 1) > _SUM)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        msg = (
            f"{int(bad.sum())} of {len(prob)} rows are no probabilities that add up to 1, e.g. row {row} adds up to "
            f"{prob[row].sum():.4g}; give those of a softmax, not the scores before it."
        )
        raise DataError(msg)
    return prob


def checked_classes(y: ArrayLike, n: int, k: int) -> Int:
    """See to it that classes are whole numbers from 0 to `k` - 1, one for each of `n` objects.

    Raises
    ------
    ShapeError
        If their number is not `n`.
    DataError
        If there is none, or they are names or out of range.
    """
    label = np.asarray(y)
    if label.shape != (n,):
        msg = f"y must have one class for each of the {n} objects; got shape {label.shape}."
        raise ShapeError(msg)
    if n == 0:
        msg = "there is no object to calibrate or judge on; give at least one."
        raise DataError(msg)
    if label.dtype.kind not in "iub":
        msg = f"y must hold the numbers of the classes, 0 to {k - 1}; got {label.dtype}, e.g. {label[0]!r}."
        raise DataError(msg)
    if label.min() < 0 or label.max() >= k:
        msg = f"y must lie between 0 and {k - 1}, the columns of the probabilities; got {label.min()} to {label.max()}."
        raise DataError(msg)
    return label.astype(np.intp)


def refuse_trained(ids: Sequence[str] | None, trained_ids: Iterable[str], n: int) -> None:
    """Refuse to calibrate on objects that were trained on: they look better than new ones will.

    Parameters
    ----------
    ids : sequence of str or None
        Those of the calibration; without them nothing is checked.
    trained_ids : iterable of str
        Those of the training.
    n : int
        Number of objects of the calibration.

    Raises
    ------
    ShapeError
        If there is not one id for each object.
    DataError
        If any id is in both.
    """
    if ids is None:
        return
    if len(ids) != n:
        msg = f"ids must name each of the {n} calibration objects; got {len(ids)}."
        raise ShapeError(msg)
    trained = set(trained_ids)
    both = [identifier for identifier in ids if identifier in trained]
    if both:
        msg = (
            f"{len(both)} of {n} calibration objects were trained on, e.g. '{both[0]}'; "
            "calibrate on objects that the training has not seen."
        )
        raise DataError(msg)


def _refuse_not_finite(x: Float, what: str) -> None:
    bad = int((~np.isfinite(x)).any(1).sum())
    if bad:
        msg = f"{bad} of {len(x)} rows of the {what} hold NaN or infinity; leave these objects out."
        raise DataError(msg)


def _checked_bins(bins: int) -> int:
    if bins < 1:
        msg = f"bins must be at least 1; got {bins}."
        raise ConfigError(msg)
    return bins


def _bin_of(p: Float, bins: int) -> Int:
    """Give the bin of equal width ((m - 1) / M, m / M] of each value; 0 belongs to the first."""
    return np.clip(np.ceil(p * bins).astype(np.intp) - 1, 0, bins - 1)
