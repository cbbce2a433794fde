"""Early stopping by what a space is good for, never by the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from morphospace.errors import ConfigError, DataError
from morphospace.learn.data import Data
from morphospace.learn.methods.base import Method
from morphospace.learn.probe import knn_probe
from morphospace.learn.spread import effective_rank
from morphospace.learn.vectors import vectors_of
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples

__all__ = ["Stop", "Watch", "labels_of"]

_ROWS = 1000


@dataclass(frozen=True)
class Stop:
    """When to stop before the last epoch.

    The loss of a method without decoder or negatives falls while the space collapses, so that it is not offered.

    Parameters
    ----------
    figure : {"none", "rank", "knn"}
        What must still rise: the effective rank of the vectors, or the balanced accuracy of k-NN on the labels. With
        "none" all epochs are run.
    patience : int, >= 1
        Epochs without a new best after which the training stops; the best weights are then the run's.
    label : str
        Column of the store, or key of the samples, with the classes for "knn"; empty or missing is unknown.

    Raises
    ------
    ConfigError
        If the figure is unknown or the patience below 1.
    """

    figure: Literal["none", "rank", "knn"] = "none"
    patience: int = 10
    label: str = "label"

    def __post_init__(self) -> None:
        if self.figure not in ("none", "rank", "knn") or self.patience < 1:
            msg = f"stop needs figure none, rank or knn and patience >= 1; got '{self.figure}' and {self.patience}."
            raise ConfigError(msg)


class Watch:
    """Measures the figure of a stopping rule on a fixed sample of images."""

    def __init__(self, stop: Stop, data: Data, labels: NDArray[np.str_] | None, *, seed: int) -> None:
        self.stop = stop
        self._data = data
        rows = np.arange(len(data)) if labels is None else np.flatnonzero(labels != "")
        if labels is not None and len(np.unique(labels[rows])) < 2:
            msg = f"stopping by knn needs two classes in '{stop.label}'; there are {len(np.unique(labels[rows]))}."
            raise DataError(msg)
        self._rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_ROWS])
        self._labels = None if labels is None else labels[self._rows]

    def measure(self, method: Method) -> float:
        """Return the figure; the method is left in training mode, its random numbers untouched."""
        method.eval()
        with torch.random.fork_rng(devices=[]):
            z = vectors_of(method, self._data, self._rows.tolist()).numpy()
        method.train()
        if self._labels is None:
            return effective_rank(z)
        return knn_probe(z, self._labels).balanced_accuracy


def labels_of(source: Cutouts | Samples, name: str) -> NDArray[np.str_]:
    """Read a column of classes as text, "" where unknown.

    Raises
    ------
    ConfigError
        If a store has no such column.
    """
    if isinstance(source, Cutouts):
        values = source.table([name])[name].to_pylist()
    else:
        values = [source[i].get(name) for i in range(len(source))]
    return np.array(["" if v is None or v != v else str(v) for v in values], dtype=np.str_)
