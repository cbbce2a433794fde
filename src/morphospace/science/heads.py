"""Heads: from features to classes, values or votes by nearest neighbours, linear fits or a small network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import ConfigError, DataError
from morphospace.science.votes import concentrations, dirichlet_multinomial_loss
from morphospace.space.workers import Workers

__all__ = ["HEADS", "Head", "Job", "KNNHead", "LinearHead", "MLPHead", "fit_head", "open_head"]

Float = NDArray[np.float64]
Int = NDArray[np.intp]
Arrays = Mapping[str, NDArray[Any]]

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)  # on the mean log-loss of standardised features; strongest first
RIDGES = 10.0 ** np.arange(-6, 2.1, 0.5)  # in units of the number of training rows
_BLOCK = 1024  # rows compared at a time, at most
_CELLS = 2**23  # distances held at a time, at most
_BETTER = 1e-4  # of the held-out loss, below which an epoch is no better
_ABSENT = -12.0  # log-odds of a class that the training rows of a part lack


class Job(NamedTuple):
    """What a head is fitted to, beside the features of n objects."""

    task: str  # "classes", "values" or "votes"
    y: NDArray[Any]  # (n,) class numbers or values, (n, K) votes
    width: int  # numbers predicted for each object
    weight: Float  # (n,) of the objects, mean 1
    inner: Int  # (n,) folds on which penalties are chosen and training is stopped
    seed: int = 0
    k: int = 10  # neighbours
    hidden: int = 128  # units of the network
    questions: tuple[int, ...] = ()
    penalty: float | None = None  # of the linear head for classes, where it has been chosen already


class Head(Protocol):
    """A fitted head.

    `scores` are log-probabilities (N, K) of classes, the mean (N, 1) of a value, or concentrations (N, K) of votes;
    `arrays` hold all that is needed to make it again.
    """

    kind: ClassVar[str]
    penalty: float | None

    @classmethod
    def fit(cls, x: Float, job: Job) -> Self:
        """Fit to features (n, D)."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Make a fitted head again."""

    def scores(self, x: Float) -> Float:
        """Score features (N, D)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state."""


class KNNHead:
    """The nearest neighbours in Euclidean distance: their votes for a class, or the mean of their values.

    Notes
    -----
    To the votes of k neighbours one is added, divided by the class frequencies, so that no class is impossible.
    """

    kind: ClassVar[str] = "knn"
    penalty: float | None = None

    def __init__(self, bank: NDArray[np.float32], y: Float, prior: Float, k: int) -> None:
        self.bank, self.y, self.prior, self.k = bank, y, prior, k

    @classmethod
    def fit(cls, x: Float, job: Job) -> Self:
        """Keep the training rows."""
        if job.task == "votes":
            msg = "votes need the head 'linear' or 'mlp'; nearest neighbours give no concentrations."
            raise ConfigError(msg)
        if job.task == "values":
            return cls(x.astype(np.float32), job.y[:, None].astype(np.float64), np.zeros(0), job.k)
        hot = np.eye(job.width)[job.y] * job.weight[:, None]
        prior = np.maximum(hot.sum(0), 1e-6 * hot.sum())
        return cls(x.astype(np.float32), hot, prior / prior.sum(), job.k)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Make it again."""
        return cls(arrays["bank"], arrays["y"], arrays["prior"], int(arrays["k"][0]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its state."""
        return {"bank": self.bank, "y": self.y, "prior": self.prior, "k": np.array([self.k])}

    def scores(self, x: Float) -> Float:
        """Score rows (N, D)."""
        k = min(self.k, len(self.bank))
        square = (self.bank.astype(np.float64) ** 2).sum(1)
        found = []
        block = max(1, min(_BLOCK, _CELLS // len(self.bank)))
        for start in range(0, len(x), block):
            far = square - 2 * (x[start : start + block].astype(np.float32) @ self.bank.T)
            near = np.argpartition(far, k - 1, axis=1)[:, :k]
            found.append(self.y[near].sum(1))
        votes = np.concatenate(found) if found else np.zeros((0, self.y.shape[1]))
        if not len(self.prior):
            return votes / k
        p = votes + self.prior
        return np.asarray(np.log(p / p.sum(1, keepdims=True)))


class LinearHead:
    """Multinomial logistic regression, ridge regression, or a linear map to concentrations of votes.

    Notes
    -----
    The ridge penalty is chosen on the training objects: for classes by the mean log-loss of inner folds among
    `PENALTIES`, for values by leave-one-out in closed form among `RIDGES` (Golub, Heath & Wahba 1979). As `linear_probe`
    and `linear_r2` do, by scikit-learn.
    """

    kind: ClassVar[str] = "linear"

    def __init__(self, weight: Float, bias: Float, task: str, penalty: float | None = None) -> None:
        self.weight, self.bias, self.task, self.penalty = weight, bias, task, penalty

    @classmethod
    def fit(cls, x: Float, job: Job) -> Self:
        """Fit weights (D, K) and intercepts (K,)."""
        penalty = None
        if job.task == "classes":
            penalty = _best_penalty(x, job) if job.penalty is None else job.penalty
            ((w, b),) = _path(x, job.y, job.weight, job.width, [penalty])
        elif job.task == "values":
            ridge = RidgeCV(alphas=RIDGES * len(x)).fit(x, job.y)
            w, b = np.asarray(ridge.coef_)[:, None], np.atleast_1d(ridge.intercept_)
        else:
            weight, bias = _train(x, job, hidden=0)
            w, b = weight.T, bias
        return cls(np.ascontiguousarray(w, dtype=np.float64), np.asarray(b, dtype=np.float64), job.task, penalty)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Make it again."""
        return cls(arrays["weight"], arrays["bias"], bytes(arrays["task"].tolist()).decode())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its state."""
        return {"weight": self.weight, "bias": self.bias, "task": _text(self.task)}

    def scores(self, x: Float) -> Float:
        """Score rows (N, D)."""
        return _finish(x @ self.weight + self.bias, self.task)


class MLPHead:
    """A network with one hidden layer, stopped when a held-out fold of the training objects is predicted best.

    Notes
    -----
    GELU, dropout 0.2, AdamW with rate 1e-3 and decay 1e-2, batches of 256, at most 300 epochs. Values are standardised
    inside. Fitted in float32 on one processor; the same seed gives the same network.
    """

    kind: ClassVar[str] = "mlp"
    penalty: float | None = None

    def __init__(self, weights: Sequence[Float], centre: Float, task: str) -> None:
        self.weights, self.centre, self.task = list(weights), centre, task

    @classmethod
    def fit(cls, x: Float, job: Job) -> Self:
        """Train the network."""
        centre = np.array([0.0, 1.0])
        if job.task == "values":
            centre = np.array([job.y.mean(), job.y.std() or 1.0])
            job = job._replace(y=(job.y - centre[0]) / centre[1])
        return cls(_train(x, job, hidden=job.hidden), centre, job.task)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Make it again."""
        weights = [arrays[f"w{i}"] for i in range(4)]
        return cls(weights, arrays["centre"], bytes(arrays["task"].tolist()).decode())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its state."""
        return {**{f"w{i}": w for i, w in enumerate(self.weights)}, "centre": self.centre, "task": _text(self.task)}

    def scores(self, x: Float) -> Float:
        """Score rows (N, D)."""
        w1, b1, w2, b2 = (torch.from_numpy(w) for w in self.weights)
        out = (functional.gelu(torch.from_numpy(x) @ w1.T + b1) @ w2.T + b2).numpy()
        if self.task == "values":
            out = out * self.centre[1] + self.centre[0]
        return _finish(out, self.task)


HEADS: dict[str, type[KNNHead] | type[LinearHead] | type[MLPHead]] = {
    "knn": KNNHead,
    "linear": LinearHead,
    "mlp": MLPHead,
}


def fit_head(name: str, x: Float, job: Job) -> Head:
    """Fit a head by name.

    Parameters
    ----------
    name : {"knn", "linear", "mlp"}
    x : ndarray, (n, D), float64
        Scaled features, finite.
    job : Job

    Raises
    ------
    ConfigError
        If the name is unknown.
    DataError
        If the features are not finite.
    """
    if name not in HEADS:
        msg = f"unknown head '{name}'; known heads are {', '.join(HEADS)}."
        raise ConfigError(msg)
    if not np.isfinite(x).all():
        msg = f"{int((~np.isfinite(x)).any(1).sum())} of {len(x)} rows of features hold NaN or infinity; leave them out first."
        raise DataError(msg)
    return HEADS[name].fit(x, job)


def open_head(name: str, arrays: Arrays) -> Head:
    """Make a fitted head again from its arrays."""
    return HEADS[name].from_arrays(arrays)


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()


def _finish(scores: Float, task: str) -> Float:
    if task == "classes":
        return np.asarray(log_softmax(scores, axis=1))
    if task == "votes":
        return np.asarray(concentrations(torch.from_numpy(scores)).numpy())
    return scores


def _best_penalty(x: Float, job: Job) -> float:
    """Choose the penalty with the lowest log-loss on the inner folds."""
    loss = np.zeros(len(PENALTIES))
    for f in np.unique(job.inner):
        a, b = job.inner != f, job.inner == f
        if len(np.unique(job.y[a])) < 2:  # one fold, or one class beside it
            continue
        for i, (w, c) in enumerate(_path(x[a], job.y[a], job.weight[a], job.width, PENALTIES)):
            log_p = log_softmax(x[b] @ w + c, axis=1)
            loss[i] -= float(job.weight[b] @ log_p[np.arange(len(log_p)), job.y[b]])
    return PENALTIES[int(np.argmin(loss))] if loss.any() else 0.1


def _path(x: Float, y: Int, weight: Float, width: int, penalties: Sequence[float]) -> list[tuple[Float, Float]]:
    """Fit along falling penalties, each from where the last ended."""
    model = LogisticRegression(warm_start=True, max_iter=100, tol=1e-3)
    found = []
    narrow = x.astype(np.float32)  # the fit is bound by memory
    with warnings.catch_warnings():
        # a fit that is stopped early is held to the same judge as the others: the held-out loss
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in penalties:
            model.set_params(C=1 / (penalty * len(x))).fit(narrow, y, sample_weight=weight)
            coef, bias = model.coef_, model.intercept_
            if len(coef) == 1:  # of two classes the second's odds are given
                coef, bias = np.vstack([-coef / 2, coef / 2]), np.concatenate([-bias / 2, bias / 2])
            w, c = np.zeros((x.shape[1], width)), np.full(width, bias.min() + _ABSENT)
            w[:, model.classes_], c[model.classes_] = coef.T, bias
            found.append((w, c))
    return found


def _train(x: Float, job: Job, *, hidden: int) -> list[Float]:
    """Train a small network and return its weights and biases, of the epoch that predicted the held-out fold best."""
    with Workers(1) as one:  # several threads would wait for one another longer than such small steps take
        return next(one.map(lambda x: _trained(x, job, hidden=hidden), [x]))


def _trained(x: Float, job: Job, *, hidden: int) -> list[Float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        first = [nn.Linear(x.shape[1], hidden), nn.GELU(), nn.Dropout(0.2)] if hidden else []
        net = nn.Sequential(*first, nn.Linear(hidden or x.shape[1], job.width))
        held = job.inner == job.inner.max() if len(np.unique(job.inner)) > 1 else np.ones(len(x), dtype=bool)
        fitted = ~held if not held.all() else held
        xs, ws = torch.from_numpy(x).float(), torch.from_numpy(job.weight).float()
        ys = torch.from_numpy(np.asarray(job.y))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3 if hidden else 1e-2, weight_decay=1e-2)
        rows = torch.from_numpy(np.flatnonzero(fitted))
        judge = torch.from_numpy(np.flatnonzero(held))
        best, waited, kept = float("inf"), 0, [p.detach().clone() for p in net.parameters()]
        for _ in range(300):
            net.train()
            for batch in torch.split(rows[torch.randperm(len(rows))], 256):
                optimizer.zero_grad()
                (ws[batch] * _losses(net(xs[batch]), ys[batch], job)).mean().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            net.eval()
            with torch.no_grad():
                value = float((ws[judge] * _losses(net(xs[judge]), ys[judge], job)).mean())
            if value < best - _BETTER:
                best, waited, kept = value, 0, [p.detach().clone() for p in net.parameters()]
            elif (waited := waited + 1) >= 20:
                break
    return [p.double().numpy().copy() for p in kept]


def _losses(out: Tensor, y: Tensor, job: Job) -> Tensor:
    if job.task == "classes":
        return functional.cross_entropy(out, y, reduction="none")
    if job.task == "values":
        return (out[:, 0] - y.float()) ** 2
    return dirichlet_multinomial_loss(concentrations(out), y.float(), job.questions)
