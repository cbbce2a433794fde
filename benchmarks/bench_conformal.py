"""Do conformal sets hold what they promise? Coverage over many re-splits of a labelled set, beside MC dropout's own sets.

A head is fitted on half of the labelled objects, several times; the other half is split again and again into calibration
and test. Given embeddings of the radio sources (fr_class, certain ones) or of the galaxies (gz1_class, 4 classes), or any
others with --label. Without --emb, four clouds of points stand in for them.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from _env import arguments, print_environment, report, set_threads
from morphospace.science.calibration import Temperature, calibration_error
from morphospace.science.conformal import ConformalSets
from morphospace.science.ensembles import credible_sets, ensemble_classes, mc_dropout
from morphospace.space.embeddings import Embeddings

LEAST = 100  # members of a class that is judged apart
PASSES = 30
EPOCHS = 30
DROPOUT = 0.3
METHODS = ("softmax", "softmax, temperature", "MC dropout", "conformal", "conformal by class")


class Labelled(NamedTuple):
    x: NDArray[np.float32]
    y: NDArray[np.intp]
    names: list[str]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--emb", help="embeddings with a column of classes")
    parser.add_argument("--label", default="", help="column of classes; default fr_class or gz1_class")
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--fits", type=int, default=20, help="heads that are fitted, each on another half")
    parser.add_argument("--splits", type=int, default=200, help="re-splits into calibration and test, over all heads")
    options = parser.parse_args()
    set_threads(options.threads)
    if options.quick:
        options.fits, options.splits = 2, 10
    data = stand_in(options.seed) if options.emb is None else labelled(options.emb, options.label)
    sizes = dict(zip(data.names, np.bincount(data.y).tolist(), strict=True))
    print_environment(data=(options.emb and "embeddings") or "stand-in", classes=sizes, fits=options.fits)
    start = time.perf_counter()
    tally = Tally(data, options.coverage)
    for fit in range(options.fits):
        tally.add(np.random.default_rng((options.seed, fit)), options.splits // options.fits)
    report(tally.rows(), options.json, splits=tally.n, seconds=round(time.perf_counter() - start, 1), **tally.figures())


def labelled(path: str, column: str) -> Labelled:
    """Read vectors and classes; certain radio sources, both spirals as one, what nobody could tell left out."""
    emb = Embeddings.open(path)
    column = column or next(c for c in ("fr_class", "gz1_class") if c in emb.columns)
    label = np.array(emb.table([column])[column].to_pylist(), dtype=object)
    label = np.array([{"spiral_cw": "spiral", "spiral_acw": "spiral"}.get(c, c) for c in label], dtype=object)
    kept = np.array([c not in (None, "", "dont_know", "hybrid") for c in label]) & np.isfinite(emb.vectors).all(1)
    if column == "fr_class":
        kept &= np.array([str(c) in ("1", "True") for c in emb.table(["certain"])["certain"].to_pylist()])
    names, y = np.unique(label[kept].astype(str), return_inverse=True)
    return Labelled(emb.vectors[kept], y, [str(n) for n in names])


def stand_in(seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.choice(4, 1500, p=(0.55, 0.3, 0.1, 0.05))
    x = rng.normal(size=(1500, 16)) + 0.4 * rng.normal(size=(4, 16))[y]
    return Labelled(x.astype(np.float32), y, list("abcd"))


class Tally:
    """Coverage of each method in each re-split, over all objects and by class."""

    def __init__(self, data: Labelled, coverage: float) -> None:
        self.data, self.coverage, self.n = data, coverage, 0
        self.inside: dict[str, list[float]] = {m: [] for m in METHODS}
        self.size: dict[str, list[float]] = {m: [] for m in METHODS}
        self.empty: dict[str, list[float]] = {m: [] for m in METHODS}
        self.by_class: dict[str, list[NDArray[np.float64]]] = {m: [] for m in METHODS}
        self.error: dict[str, list[float]] = {m: [] for m in METHODS[:3]}

    def add(self, rng: np.random.Generator, splits: int) -> None:
        """Fit heads on one half and split the other again and again."""
        train, held = halves(self.data.y, rng)
        logits = linear(self.data, train, held)
        p = softmax(logits, axis=1)
        dropped = dropout(self.data, train, held, int(rng.integers(2**31)))
        y = self.data.y[held]
        for _ in range(splits):
            cal, test = halves(y, rng)
            scaled = Temperature().fit(logits[cal], y[cal]).apply(logits[test])
            found = {"softmax": p[test], "softmax, temperature": scaled, "MC dropout": dropped[test]}
            for name, said in found.items():
                self._note(name, credible_sets(said, self.coverage), y[test])
                self.error[name].append(calibration_error(said, y[test]))
            for name, by_class in (("conformal", False), ("conformal by class", True)):
                sets = ConformalSets(self.coverage, by_class=by_class).calibrate(p[cal], y[cal])
                self._note(name, sets.predict(p[test]), y[test])
            self.n += 1

    def _note(self, name: str, sets: NDArray[np.bool_], y: NDArray[np.intp]) -> None:
        inside = sets[np.arange(len(y)), y]
        self.inside[name].append(inside.mean())
        self.size[name].append(sets.sum(1).mean())
        self.empty[name].append((sets.sum(1) == 0).mean())
        self.by_class[name].append(np.array([inside[y == c].mean() for c in range(len(self.data.names))]))

    def rows(self) -> list[dict[str, Any]]:
        out = []
        for m in METHODS:
            row: dict[str, Any] = {
                "sets": m,
                "coverage %": percent(self.inside[m]),
                "classes": f"{np.mean(self.size[m]):.3f}",
            }
            row["empty %"] = f"{100 * np.mean(self.empty[m]):.1f}"
            row["ECE %"] = f"{100 * np.mean(self.error[m]):.1f}" if m in self.error else None
            for c, name in enumerate(self.data.names):
                row[f"{name} %"] = percent([each[c] for each in self.by_class[m]])
            out.append(row)
        return out

    def figures(self) -> dict[str, object]:
        large = np.bincount(self.data.y) >= LEAST
        off = np.abs(np.mean(self.by_class["conformal by class"], axis=0) - self.coverage)[large].max()
        whole = abs(np.mean(self.inside["conformal"]) - self.coverage)
        return {
            "off_target": float(whole),
            "off_target_worst_class": float(off),
            "met": bool(whole <= 0.01 and off <= 0.02),
        }


def percent(values: list[float]) -> str:
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}"


def halves(y: NDArray[np.intp], rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cut into two by chance, blind to the classes, as the theory has it."""
    order = rng.permutation(len(y))
    return order[: len(y) // 2], order[len(y) // 2 :]


def linear(data: Labelled, train: NDArray[np.intp], held: NDArray[np.intp]) -> NDArray[np.float64]:
    scale = StandardScaler().fit(data.x[train])
    head = LogisticRegression(C=0.1, max_iter=300).fit(scale.transform(data.x[train]), data.y[train])
    scores = head.decision_function(scale.transform(data.x[held]))
    return np.column_stack([np.zeros_like(scores), scores]) if scores.ndim == 1 else scores


def dropout(data: Labelled, train: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """Train a small network with dropout and give the mean probabilities of its passes."""
    scale = StandardScaler().fit(data.x[train])
    torch.manual_seed(seed)
    k = len(data.names)
    model = nn.Sequential(nn.Linear(data.x.shape[1], 128), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(128, k))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    x, y = torch.as_tensor(scale.transform(data.x[train])), torch.as_tensor(data.y[train])
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(128):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    passes = mc_dropout(model, scale.transform(data.x[held]), times=PASSES, seed=seed)
    return ensemble_classes(softmax(passes.astype(np.float64), axis=2)).mean


if __name__ == "__main__":
    main()
