"""Probes of a space: what a simple classifier or regression reads from the vectors, and how rich the space is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from morphospace.errors import ConfigError, DataError, ShapeError

__all__ = [
    "Difference",
    "Probe",
    "effective_rank",
    "folds",
    "knn_probe",
    "linear_probe",
    "linear_r2",
    "majority_probe",
    "mean_cosine",
    "paired_difference",
    "rankme",
]

Float = NDArray[np.float64]
Int = NDArray[np.intp]

# Ridge penalties tried, on the mean log-loss of standardised features. Strongest first: each fit starts from the last.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
INNER_FOLDS = 3
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


class Difference(NamedTuple):
    """Difference of two accuracies on the same objects with its interval, as fractions, not per cent."""

    difference: float
    low: float
    high: float


def folds(y: ArrayLike, *, n_folds: int = 5, group: ArrayLike | None = None, seed: int = 0) -> Int:
    """Deal objects into folds, each class evenly and each group whole.

    Parameters
    ----------
    y : array-like, (N,)
        Class of each object, of any sortable type; one constant for plain folds.
    n_folds : int, >= 2
        Number of folds.
    group : array-like, (N,), optional
        Objects of one group (the same source on the sky) share a fold. None: every object for itself.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of int, (N,)
        Fold of each object, 0 to `n_folds` - 1.

    Raises
    ------
    ConfigError
        If `n_folds` < 2.
    ShapeError
        If the lengths differ.
    DataError
        If a class comes in fewer groups than there are folds.

    Notes
    -----
    Groups are taken in random order, large ones first; each goes to the fold with the fewest objects of the group's
    commonest class, then to the smallest.
    """
    if n_folds < 2:
        msg = f"n_folds of folds must be at least 2; got {n_folds}."
        raise ConfigError(msg)
    names, code = np.unique(np.asarray(y), return_inverse=True)
    unit = _units(group, len(code))
    table = np.zeros((unit.max(initial=-1) + 1, len(names)), dtype=np.intp)
    np.add.at(table, (unit, code), 1)
    spread = (table > 0).sum(0)
    if len(code) == 0 or spread.min() < n_folds:
        what = f"class '{names[spread.argmin()]}' has {spread.min()} separate objects" if len(code) else "no object"
        msg = f"{n_folds} folds need as many separate objects of each class; {what}. Use fewer folds or drop it."
        raise DataError(msg)
    fold_of = _deal(table, n_folds, np.random.default_rng(seed))
    return fold_of[unit]


def _units(group: ArrayLike | None, n: int) -> Int:
    """Number the groups; without any, each object is one."""
    if group is None:
        return np.arange(n)
    unit = np.unique(np.asarray(group), return_inverse=True)[1]
    if unit.shape != (n,):
        msg = f"group must have one entry per object, ({n},); got shape {np.shape(group)}."
        raise ShapeError(msg)
    return unit


def _deal(table: Int, n_folds: int, rng: np.random.Generator) -> Int:
    """Give each group (row of counts per class) a fold."""
    fold_of = np.zeros(len(table), dtype=np.intp)
    load = np.zeros((n_folds, table.shape[1]))
    size = np.zeros(n_folds)
    order = rng.permutation(len(table))
    for i in order[np.argsort(-table[order].sum(1), kind="stable")]:
        f = int(np.lexsort((size, load[:, table[i].argmax()]))[0])
        fold_of[i] = f
        load[f] += table[i]
        size[f] += table[i].sum()
    return fold_of


def majority_probe(y: ArrayLike, *, fold: ArrayLike | None = None) -> Probe:
    """Guess by the class frequencies of the training folds: the floor that any probe must pass.

    Parameters
    ----------
    y : array-like, (N,)
        Classes.
    fold : array-like of int, (N,), optional
        Folds from `folds`; the default is ``folds(y)``.
    """

    def fit(train: Float, label: Int, n_classes: int) -> Callable[[Float], Float]:
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

    def fit(train: Float, label: Int, n_classes: int) -> Callable[[Float], Float]:
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

    Notes
    -----
    Minimises the (weighted) mean log-loss + penalty / 2 |W|^2, the intercept free; features standardised on the training
    fold. The penalty is that of `PENALTIES` with the lowest mean log-loss over `INNER_FOLDS` folds inside the training
    fold. The fit is convex; L-BFGS in the coordinates of Böhning's (1992) bound on the Hessian takes some ten steps.
    """

    def fit(train: Float, label: Int, n_classes: int) -> Callable[[Float], Float]:
        x, basis = _standard_basis(train)
        weight = _class_weights(label, n_classes, balanced)
        inner = _inner_folds(label)
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
    fit: Callable[[Float, Int, int], Callable[[Float], Float]],
) -> Probe:
    """Run one classifier over all folds, views flattened for it and averaged after it."""
    classes, code = np.unique(np.asarray(y), return_inverse=True)
    views = _views(z, len(code))
    part = folds(code) if fold is None else _checked_fold(fold, code, classes)
    p = np.zeros((len(code), len(classes)))
    for f in np.unique(part):
        train, test = part != f, part == f
        x = views[:, train].reshape(-1, views.shape[2])  # (V * n_train, D)
        predict = fit(x, np.tile(code[train], len(views)), len(classes))
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

    A ridge penalty does not feel a rotation, so the fit is that on the standardised features; along these axes the bound
    on the Hessian is diagonal.
    """
    mean, sd = x.mean(0), x.std(0)
    # A column that is constant but for rounding would otherwise be blown up to unit variance.
    scale = np.where(sd > 1e-7 * (np.abs(mean) + sd.max(initial=0.0)), 1.0 / np.where(sd > 0, sd, 1.0), 0.0)
    s = (x - mean) * scale
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


def _inner_folds(label: Int) -> Int:
    """Deal the training rows into inner folds, each class in turn; the rows keep their order, so no seed is needed."""
    order = np.argsort(label, kind="stable")
    part = np.empty(len(label), dtype=np.intp)
    part[order] = np.arange(len(label)) % INNER_FOLDS
    return part


def _best_penalty(x: Float, label: Int, weight: Float, inner: Int, n_classes: int) -> int:
    """Index of the penalty with the lowest held-out log-loss; the path ends where the loss has begun to rise."""
    loss: list[float] = []
    w: list[Float | None] = [None] * INNER_FOLDS
    for penalty in PENALTIES:
        total = 0.0
        for f in range(INNER_FOLDS):
            a, b = inner != f, inner == f
            w[f] = _logistic(x[a], label[a], weight[a], penalty, n_classes, w[f])
            log_p = log_softmax(_affine(x[b], w[f]), axis=1)
            total -= float(weight[b] @ log_p[np.arange(len(log_p)), label[b]])
        loss.append(total)
        if total > 1.01 * min(loss):
            break
    return int(np.argmin(loss))


def _affine(x: Float, w: Float | None) -> Float:
    """Scores (N, K); the last row of w is the intercept."""
    if w is None:
        return np.zeros((len(x), 1))
    return np.asarray(x @ w[:-1] + w[-1])


def _logistic(x: Float, label: Int, weight: Float, penalty: float, n_classes: int, start: Float | None) -> Float:
    """Fit weights (D + 1, K), the last row the intercept, on features along their principal axes."""
    n, d = x.shape
    hot = np.eye(n_classes)[label]
    # Böhning 1992: the Hessian of the mean log-loss is at most half the second moments; this is the change of scale.
    scale = np.append(1.0 / np.sqrt(0.5 * (weight @ x**2) / n + penalty), np.sqrt(2.0))[:, None]

    def loss(v: Float) -> tuple[float, Float]:
        w = v.reshape(d + 1, n_classes) * scale
        log_p = log_softmax(_affine(x, w), axis=1)
        slope = weight[:, None] * (np.exp(log_p) - hot) / n  # (N, K)
        gradient = np.vstack([x.T @ slope + penalty * w[:-1], slope.sum(0)]) * scale
        value = -float(np.einsum("n,nk,nk->", weight, log_p, hot)) / n + 0.5 * penalty * float((w[:-1] ** 2).sum())
        return value, gradient.ravel()

    v0 = np.zeros((d + 1, n_classes)) if start is None else start / scale
    found = minimize(
        loss, v0.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300, "gtol": 1e-5, "ftol": 1e-9}
    )
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
    error = [
        float(
            (
                ((t - s @ (st / (power + r * n)[:, None])) / (1 - 1 / n - u2 @ (power / (power + r * n)))[:, None]) ** 2
            ).sum()
        )
        for r in RIDGES
    ]
    return basis, st / (power + RIDGES[int(np.argmin(error))] * n)[:, None]


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    y: ArrayLike | None = None,
    group: ArrayLike | None = None,
    level: float = 0.95,
    n_boot: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare two classifiers on the same objects: accuracy of `a` minus that of `b`.

    Parameters
    ----------
    a, b : array-like, (N,) or (S, N), bool or float
        Whether each object was correct (`Probe.correct`), in any number of seeds; averaged over them.
    y : array-like, (N,), optional
        Classes: then the difference is that of the balanced accuracies. None: of the accuracies.
    group : array-like, (N,), optional
        Objects of one group are drawn together, since they are no independent evidence.
    level : float, 0 to 1
        Coverage of the interval.
    n_boot : int
        Number of resamples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Difference
        As fractions.

    Notes
    -----
    Percentile bootstrap (Efron 1979) over objects, or groups, within the strata of their (commonest) class when `y` is
    given. It says how the difference would vary with other objects for these trained networks; how it varies with the
    seed of the training is to be read from the values per seed.
    """
    gain = np.atleast_2d(np.asarray(a, dtype=np.float64)).mean(0) - np.atleast_2d(np.asarray(b, dtype=np.float64)).mean(
        0
    )
    code = np.zeros(len(gain), dtype=np.intp) if y is None else np.unique(np.asarray(y), return_inverse=True)[1]
    if len(gain) == 0 or code.shape != gain.shape or not 0 < level < 1 or n_boot < 1:
        msg = f"paired_difference needs N > 0 objects with one class each; got {gain.shape} and {code.shape}."
        raise ShapeError(msg)
    unit = _units(group, len(gain))
    n_classes = int(code.max()) + 1
    rows = np.zeros((unit.max() + 1, 2 * n_classes))  # per group: gains, then counts, of each class
    np.add.at(rows, (unit, code), gain)
    np.add.at(rows, (unit, n_classes + code), 1.0)
    drawn = _resample(rows, rows[:, n_classes:].argmax(1), n_boot, np.random.default_rng(seed))
    tail = (1.0 - level) / 2.0
    low, high = np.nanquantile(_class_mean(drawn, n_classes), [tail, 1.0 - tail])
    return Difference(float(_class_mean(rows.sum(0), n_classes)), float(low), float(high))


def _class_mean(sums: Float, n_classes: int) -> Float:
    """Mean over the classes of gain / count, from sums (..., 2K)."""
    return np.asarray((sums[..., :n_classes] / np.maximum(sums[..., n_classes:], 1.0)).mean(-1))


def _resample(rows: Float, stratum: Int, n_boot: int, rng: np.random.Generator) -> Float:
    """Sums (n_boot, M) of rows drawn with replacement within strata.

    Most rows are equal, so the numbers of times that each distinct row is drawn are a multinomial sample: the same
    distribution as drawing the objects one by one, thousands of times sooner.
    """
    total = np.zeros((n_boot, rows.shape[1]))
    for s in np.unique(stratum):
        distinct, count = np.unique(rows[stratum == s], axis=0, return_counts=True)
        total += rng.multinomial(count.sum(), count / count.sum(), size=n_boot) @ distinct
    return total


def mean_cosine(p: ArrayLike) -> float:
    """Average the cosine over all pairs of different rows.

    Parameters
    ----------
    p : array-like, (N, P), float
        Projections, N >= 2; normalised here. Rows of length 0 count as equal to one another and at right angles to all else.

    Returns
    -------
    float
        (|sum u|^2 - N) / (N (N - 1)) for unit rows u: near 1, all images get one projection (collapse); near 0, they are
        spread. -1 / (N - 1) at the least.
    """
    x = _matrix(p, "projections")
    u = _unit_rows(x)
    n_zero = int((np.linalg.norm(x, axis=1) == 0).sum())
    n = len(u)
    return float(((u.sum(0) ** 2).sum() - (n - n_zero) + n_zero * (n_zero - 1)) / (n * (n - 1)))


def effective_rank(z: ArrayLike) -> float:
    """Count the dimensions that the vectors fill.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors, N >= 2.

    Returns
    -------
    float
        exp(H) with H = -sum q_j ln q_j over the shares q_j of the eigenvalues of the covariance of the centred vectors:
        from 1 (all on a line) to min(N - 1, D). 0 when all vectors are equal within the rounding of float32.

    Notes
    -----
    Roy & Vetterli 2007 with variances in the place of singular values.
    """
    x = _matrix(z, "vectors")
    centred = x - x.mean(0)
    # What is left of equal vectors is rounding noise, which has a high rank of its own.
    if (centred**2).sum() <= (4 * np.finfo(np.float32).eps) ** 2 * (x**2).sum():
        return 0.0
    return _exp_entropy(_eigenvalues(centred))


def rankme(z: ArrayLike) -> float:
    """Compute RankMe, the effective rank of the vectors as they are, not centred.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors, N >= 2.

    Returns
    -------
    float
        From 1 to min(N, D). 0 when all vectors are 0.

    Notes
    -----
    Garrido et al. 2023, eq. 1 and 2: exp(-sum p_k ln p_k), p_k = s_k / |s|_1 + 1e-7, with the singular values s. The
    authors compare it between runs of one method only.
    """
    value = np.sqrt(np.maximum(_eigenvalues(_matrix(z, "vectors")), 0.0))
    if value.sum() == 0:
        return 0.0
    p = value / value.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


def _matrix(x: ArrayLike, name: str) -> Float:
    """Check a finite matrix of at least two rows."""
    matrix = np.asarray(x, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < 2 or matrix.shape[1] < 1:
        msg = f"{name} must be (N, D) with at least 2 rows; got shape {matrix.shape}."
        raise ShapeError(msg)
    if not np.isfinite(matrix).all():
        msg = f"{name} hold NaN or infinity in {int((~np.isfinite(matrix)).any(1).sum())} rows; leave these out first."
        raise DataError(msg)
    return matrix


def _eigenvalues(x: Float) -> Float:
    """Squares of the min(N, D) singular values."""
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    return np.asarray(np.linalg.eigvalsh(gram))


def _exp_entropy(value: Float) -> float:
    q = value[value > 0] / value[value > 0].sum()
    return float(np.exp(-(q * np.log(q)).sum()))
