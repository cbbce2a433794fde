"""Probes of a space: what a simple classifier or regression reads from its vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn.compare import folds

__all__ = ["Probe", "knn_probe", "linear_probe", "linear_r2", "majority_probe"]

Float = NDArray[np.float64]
Int = NDArray[np.intp]
Single = NDArray[np.float32]

# Ridge penalties tried, on the mean log-loss of standardised features. Strongest first: each fit starts from the last.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
INNER_FOLDS = 4  # at most
# Ridge penalties tried by linear_r2, in units of the number of training rows.
RIDGES = 10.0 ** np.arange(-6, 2.1, 0.5)
_BLOCK = 1024  # rows compared at a time by k-NN: 1024 x 50,000 cosines are 200 MB


@dataclass(frozen=True, eq=False)
class Probe:
    """Probabilities of every object, from a classifier that was fitted on the other folds.

    Attributes
    ----------
    classes : ndarray, (K,)
        Names of the classes, sorted.
    y : ndarray of int, (N,)
        True class of each object, as an index into `classes`.
    p : ndarray of float64, (N, K)
        Probabilities; each row adds up to 1.
    """

    classes: NDArray[Any]
    y: Int
    p: Float

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one, (N,)."""
        return np.asarray(self.p.argmax(1) == self.y)

    @property
    def accuracy(self) -> float:
        """Fraction of objects that are correct."""
        return float(self.correct.mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes of the fraction that is correct; 1 / K by chance."""
        return float(np.mean([self.correct[self.y == c].mean() for c in range(len(self.classes))]))


def majority_probe(y: ArrayLike, *, fold: ArrayLike | None = None) -> Probe:
    """Guess by the class frequencies of the training folds: the floor that any probe must pass.

    Parameters
    ----------
    y : array-like, (N,)
        Classes.
    fold : array-like of int, (N,), optional
        Folds from `folds`; the default is ``folds(y)``.
    """

    def fit(train: Float, label: Int, part: Int, n_classes: int) -> Callable[[Float], Float]:
        p = np.bincount(label, minlength=n_classes) / len(label)
        return lambda test: np.tile(p, (len(test), 1))

    return _classify(np.zeros((len(np.asarray(y)), 1)), y, fold, fit)


def knn_probe(z: ArrayLike, y: ArrayLike, *, fold: ArrayLike | None = None, k: int = 10) -> Probe:
    """Classify by the votes of the nearest neighbours in cosine.

    Parameters
    ----------
    z : array-like, (N, D) or (V, N, D), float
        Vectors as they are (not standardised), finite. With V views of each object (the 8 symmetries) all views of the
        training objects are neighbours and the probabilities of an object are the mean over its views.
    y : array-like, (N,)
        Classes.
    fold : array-like of int, (N,), optional
        Folds from `folds`; the default is ``folds(y)``.
    k : int, >= 1
        Neighbours; at most the size of the training fold.

    Returns
    -------
    Probe

    Notes
    -----
    Each neighbour has one vote; a tie goes to the class with the larger sum of cosines. Classes are not weighted. A
    vector of length 0 has cosine 0 with all.
    """
    if k < 1:
        msg = f"k of knn_probe must be at least 1; got {k}."
        raise ConfigError(msg)

    def fit(train: Float, label: Int, part: Int, n_classes: int) -> Callable[[Float], Float]:
        bank = _unit_rows(train).astype(np.float32).T
        hot = np.eye(n_classes)[label]
        n = min(k, len(label))

        def predict(test: Float) -> Float:
            cosine = _unit_rows(test).astype(np.float32) @ bank
            near = np.argpartition(-cosine, n - 1, axis=1)[:, :n]
            close = (1.0 + np.take_along_axis(cosine, near, 1)) / 2.0  # 0 to 1: can break a tie, never outvote
            p = np.einsum("tn,tnc->tc", 1.0 + 1e-4 * close / n, hot[near])
            return np.asarray(p / p.sum(1, keepdims=True))

        return lambda test: np.concatenate([predict(test[i : i + _BLOCK]) for i in range(0, len(test), _BLOCK)])

    return _classify(z, y, fold, fit)


def linear_probe(z: ArrayLike, y: ArrayLike, *, fold: ArrayLike | None = None, balanced: bool = False) -> Probe:
    """Classify by multinomial logistic regression on standardised features.

    Parameters
    ----------
    z : array-like, (N, D) or (V, N, D), float
        Vectors, finite. With V views of each object the fit takes all views of the training objects and the
        probabilities of an object are the mean over its views.
    y : array-like, (N,)
        Classes.
    fold : array-like of int, (N,), optional
        Folds from `folds`; the default is ``folds(y)``.
    balanced : bool
        Weigh the classes equally in the fit: the right probe for balanced accuracy where some class is rare.

    Returns
    -------
    Probe

    Raises
    ------
    DataError
        If there are fewer than 3 folds: the penalty is chosen on the training folds.

    Notes
    -----
    Minimises the (weighted) mean log-loss + penalty / 2 |W|^2, the intercept free; features are standardised on the
    training folds. The penalty is that of `PENALTIES` with the lowest mean log-loss when the training folds, put together
    to at most `INNER_FOLDS` parts, are held out in turn. The fit is convex; L-BFGS in the coordinates of Böhning's
    (1992) bound on the Hessian takes some twenty steps.
    """

    def fit(train: Float, label: Int, part: Int, n_classes: int) -> Callable[[Float], Float]:
        turned, basis = _standard_basis(train)
        x = turned.astype(np.float32)  # the fit is bound by memory
        if len(np.unique(part)) < 2:
            msg = "linear_probe needs at least 3 folds, so that two remain to choose the penalty on; got 2."
            raise DataError(msg)
        weight = _class_weights(label, n_classes, balanced)
        # The other folds serve inside too: they keep groups whole, and all views of an object lie in one.
        inner = np.unique(part, return_inverse=True)[1] % INNER_FOLDS
        best = _best_penalty(x, label, weight, inner, n_classes)
        w: Float | None = None
        for penalty in PENALTIES[: best + 1]:
            w = _logistic(x, label, weight, penalty, n_classes, w)
        return lambda test: np.asarray(np.exp(log_softmax(_affine(basis(test), w), axis=1)))

    return _classify(z, y, fold, fit)


def _classify(
    z: ArrayLike,
    y: ArrayLike,
    fold: ArrayLike | None,
    fit: Callable[[Float, Int, Int, int], Callable[[Float], Float]],
) -> Probe:
    """Run one classifier over all folds, views flattened for it and averaged after it."""
    classes, code = np.unique(np.asarray(y), return_inverse=True)
    views = _views(z, len(code))
    part = folds(code) if fold is None else _checked_fold(fold, code, classes)
    p = np.zeros((len(code), len(classes)))
    for f in np.unique(part):
        train, test = part != f, part == f
        x = views[:, train].reshape(-1, views.shape[2])  # (V * n_train, D)
        predict = fit(x, np.tile(code[train], len(views)), np.tile(part[train], len(views)), len(classes))
        held = predict(views[:, test].reshape(-1, views.shape[2]))  # (V * n_test, K)
        p[test] = held.reshape(len(views), -1, len(classes)).mean(0)
    return Probe(classes, code, p)


def _views(z: ArrayLike, n: int) -> Float:
    """Check vectors and give them the axis of views."""
    x = np.asarray(z, dtype=np.float64)
    if x.ndim == 2:
        x = x[None]
    if x.ndim != 3 or x.shape[1] != n:
        msg = f"vectors must be (N, D) or (V, N, D) with N = {n}, the number of labels; got {np.shape(z)}."
        raise ShapeError(msg)
    if not np.isfinite(x).all():
        msg = f"{int((~np.isfinite(x)).any((0, 2)).sum())} of {n} vectors hold NaN or infinity; leave them out first."
        raise DataError(msg)
    return x


def _checked_fold(fold: ArrayLike, code: Int, classes: NDArray[Any]) -> Int:
    """See to it that every class can be learned whatever fold is held out."""
    part = np.asarray(fold, dtype=np.intp)
    if part.shape != code.shape:
        msg = f"fold must have one entry per object, {code.shape}; got {part.shape}."
        raise ShapeError(msg)
    for c, name in enumerate(classes):
        if len(np.unique(part[code == c])) < 2:
            msg = f"class '{name}' lies in one fold only, so no probe can learn it; use folds() or drop the class."
            raise DataError(msg)
    return part


def _unit_rows(x: Float) -> Float:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(norm > 0, norm, 1.0))


def _standard_basis(x: Float) -> tuple[Float, Callable[[Float], Float]]:
    """Standardise, then turn to the principal axes and drop those without variance.

    A ridge penalty does not feel a rotation, so the fit is that on the standardised features; along these axes the
    bound on the Hessian is diagonal.
    """
    mean, sd = x.mean(0), x.std(0)
    # A column that is constant but for rounding would otherwise be blown up to unit variance.
    scale = np.where(sd > 1e-6 * (np.abs(mean) + sd.max(initial=0.0)), 1.0 / np.where(sd > 0, sd, 1.0), 0.0)
    s = (x - mean) * scale
    if len(s) < s.shape[1]:
        _, singular, across = np.linalg.svd(s, full_matrices=False)
        value, axes = singular**2 / len(s), across.T
    else:
        value, axes = np.linalg.eigh(s.T @ s / len(s))
    keep = value > 1e-9 * max(value.max(initial=0.0), 1e-300)
    turn = scale[:, None] * axes[:, keep]
    return s @ axes[:, keep], lambda new: (new - mean) @ turn


def _class_weights(label: Int, n_classes: int, balanced: bool) -> Float:
    """Weights of the objects with mean 1."""
    if not balanced:
        return np.ones(len(label))
    count = np.bincount(label, minlength=n_classes)
    weight = 1.0 / np.maximum(count, 1)[label]
    return np.asarray(weight / weight.mean())


def _best_penalty(x: Single, label: Int, weight: Float, inner: Int, n_classes: int) -> int:
    """Index of the penalty with the lowest held-out log-loss; the path ends where the loss has begun to rise."""
    loss = np.full((inner.max() + 1, len(PENALTIES)), np.inf)
    for f in range(len(loss)):
        a, b = inner != f, inner == f
        part, rest = (x[a], label[a], weight[a]), x[b]
        w: Float | None = None
        for i, penalty in enumerate(PENALTIES):
            w = _logistic(*part, penalty, n_classes, w)
            log_p = log_softmax(_affine(rest, w), axis=1)
            loss[f, i] = -float(weight[b] @ log_p[np.arange(len(log_p)), label[b]])
            if loss[f, i] > 1.02 * loss[f].min():
                break
    return int(np.argmin(loss.sum(0)))


def _affine(x: NDArray[Any], w: Float | None) -> Float:
    """Scores (N, K); the last row of w is the intercept."""
    if w is None:
        return np.zeros((len(x), 1))
    return np.asarray((x @ w[:-1].astype(x.dtype)).astype(np.float64) + w[-1])


def _logistic(x: Single, label: Int, weight: Float, penalty: float, n_classes: int, start: Float | None) -> Float:
    """Fit weights (D + 1, K), the last row the intercept, on features along their principal axes."""
    n, d = x.shape
    hot = np.eye(n_classes)[label]
    # Böhning 1992: the Hessian of the mean log-loss is at most half the second moments; this is the change of scale.
    moment = weight.astype(np.float32) @ x**2 / n
    scale = np.append(1.0 / np.sqrt(0.5 * moment + penalty), np.sqrt(2.0))[:, None]

    def loss(v: Float) -> tuple[float, Float]:
        w = v.reshape(d + 1, n_classes) * scale
        log_p = log_softmax(_affine(x, w), axis=1)
        slope = weight[:, None] * (np.exp(log_p) - hot) / n  # (N, K)
        pull = (slope.T.astype(np.float32) @ x).T + penalty * w[:-1]  # (D, K); this order is the fast one
        gradient = np.vstack([pull, slope.sum(0)]) * scale
        value = -float(weight @ log_p[np.arange(n), label]) / n + 0.5 * penalty * float((w[:-1] ** 2).sum())
        return value, gradient.ravel()

    v0 = np.zeros((d + 1, n_classes)) if start is None else start / scale
    options = {"maxiter": 300, "gtol": 1e-5, "ftol": 1e-7}  # ftol: the noise of the float32 products
    found = minimize(loss, v0.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(d + 1, n_classes) * scale)


def linear_r2(z: ArrayLike, t: ArrayLike, *, fold: ArrayLike | None = None) -> float:
    """Measure how much of a quantity a linear map reads from the vectors, out of sample.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors, finite.
    t : array-like, (N,) or (N, T), float
        Targets, finite; T targets (cosine and sine of one angle) are summed over.
    fold : array-like of int, (N,), optional
        Folds from `folds`; the default is five plain ones.

    Returns
    -------
    float
        1 - sum (t - prediction)^2 / sum (t - mean of the training folds)^2: 1 perfect, 0 as good as the mean, negative
        worse than the mean. NaN when the target is constant.

    Notes
    -----
    Ridge regression on standardised features, intercept free; the penalty is that of `RIDGES` with the smallest
    leave-one-out error on the training folds, in closed form (Golub, Heath & Wahba 1979, sect. 1, Allen's PRESS).
    """
    x = _views(z, len(np.asarray(t)))[0]
    target = np.asarray(t, dtype=np.float64).reshape(len(x), -1)
    if not np.isfinite(target).all():
        msg = f"{int((~np.isfinite(target)).any(1).sum())} targets are NaN or infinite; leave these objects out first."
        raise DataError(msg)
    part = folds(np.zeros(len(x))) if fold is None else np.asarray(fold, dtype=np.intp)
    left = total = 0.0
    for f in np.unique(part):
        train, test = part != f, part == f
        mean = target[train].mean(0)
        basis, w = _ridge(x[train], target[train] - mean)
        left += float(((target[test] - mean - basis(x[test]) @ w) ** 2).sum())
        total += float(((target[test] - mean) ** 2).sum())
    return 1.0 - left / total if total > 0 else float("nan")


def _ridge(x: Float, t: Float) -> tuple[Callable[[Float], Float], Float]:
    """Ridge weights (D, T) along the principal axes for centred targets, the penalty by leave-one-out."""
    s, basis = _standard_basis(x)  # orthogonal columns
    n = len(s)
    power = (s**2).sum(0)
    u2 = s**2 / power  # squares of the left singular vectors
    st = s.T @ t
    error = []
    for r in RIDGES:
        shrink = power + r * n
        leverage = 1 / n + u2 @ (power / shrink)
        residual = (t - s @ (st / shrink[:, None])) / np.maximum(1 - leverage, 1e-9)[:, None]
        error.append(float((residual**2).sum()))
    return basis, st / (power + RIDGES[int(np.argmin(error))] * n)[:, None]
