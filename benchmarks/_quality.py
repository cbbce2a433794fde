"""Pieces of bench_quality: the two labelled sets, scores of any features on them, and the table with its intervals.

Everything takes plain arrays, so that a script only has to bring the vectors of trained encoders:

    task = load_radio(data)
    board = Board(task)
    board.add_baselines(pixels)
    board.add("untrained", [z0, z1, z2], d4=[...])
    board.add("BYOL", [z0, z1, z2], d4=[...])
    print(board.markdown("BYOL"))

One array per seed of the training, (N, D) with N = len(task.labels). Seed s of every method is probed on the same folds,
so that differences are paired object by object. Probes are fitted on training folds only; pixel-PCA and encoders may have
seen all images, without labels.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image

from morphospace.learn.baselines import pixel_pca
from morphospace.learn.compare import Difference, folds, paired_difference
from morphospace.learn.probe import Probe, knn_probe, linear_probe, majority_probe
from morphospace.learn.spread import effective_rank
from morphospace.sky.noise import estimate_noise

SEEDS = (0, 1, 2)
N_FOLDS = 5
BASELINES = ("majority", "pixel-PCA", "untrained")

Single = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Task:
    """A labelled set: all its images, and which of them are scored with what label."""

    name: str
    images: NDArray  # (M, H, W) float32, native units; or (M, H, W, 3) uint8
    rows: NDArray[np.intp]  # (N,) the images that are scored
    labels: NDArray[np.str_]  # (N,)
    ids: tuple[str, ...]  # (N,)
    balanced: bool  # judge by balanced accuracy, with equal weights of the classes in the linear probe
    components: int  # of pixel-PCA


class Scored(NamedTuple):
    """Hits of one kind of features: (S, N) for S seeds."""

    knn: NDArray[np.bool_]
    linear: NDArray[np.bool_]
    rank: tuple[float, ...]


def load_radio(data: str | Path) -> Task:
    """Read the FIRST cut-outs: 1,255 images of 150 x 150; scored are the 832 certain FRI and FRII."""
    folder = Path(data) / "radio"
    table = _table(folder / "labels.csv")
    images = np.stack([np.asarray(fits.getdata(folder / "fits" / f"{r['id']}.fits", 1), np.float32) for r in table])
    label = np.array([r["fr_class"] for r in table])
    certain = np.array([r["certain"] == "1" for r in table])
    rows = np.flatnonzero(certain & (label != "hybrid"))
    return _task("radio", images, rows, label, [r["id"] for r in table], balanced=False, components=32)


def load_galaxies(data: str | Path) -> Task:
    """Read the SDSS cut-outs: 5,331 colour images of 128 x 128; scored are 5,286 of 4 classes, both spirals as one."""
    folder = Path(data) / "galaxies"
    table = _table(folder / "labels.csv")
    images = np.stack([np.asarray(Image.open(folder / "images" / f"{r['id']}.jpg")) for r in table])
    label = np.array(
        [{"spiral_cw": "spiral", "spiral_acw": "spiral"}.get(c, c) for c in (r["gz1_class"] for r in table)]
    )
    rows = np.flatnonzero(label != "dont_know")
    return _task("galaxies", images, rows, label, [r["id"] for r in table], balanced=True, components=64)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _task(
    name: str, images: NDArray, rows: NDArray, label: NDArray, ids: list[str], *, balanced: bool, components: int
) -> Task:
    return Task(name, images, rows, label[rows], tuple(ids[i] for i in rows), balanced, components)


def radio_pixels(images: Single) -> Single:
    """Clip at 3 sigma above the level and divide by the peak: 0 to 1; images without a source become 0."""
    noise = [estimate_noise(image) for image in images]
    level = np.array([n.level[0] for n in noise])[:, None, None]
    sigma = np.array([n.sigma[0] for n in noise])[:, None, None]
    flux = images - level
    flux = np.where(flux > 3 * sigma, flux, 0)
    peak = flux.max((1, 2), keepdims=True)
    return (flux / np.where(peak > 0, peak, 1)).astype(np.float32)


def galaxy_pixels(images: NDArray[np.uint8], size: int = 64) -> Single:
    """Cut out the central square and scale to 0 to 1."""
    start = (images.shape[1] - size) // 2
    part = slice(start, start + size)
    return images[:, part, part].astype(np.float32) / 255


def score(features: Sequence[NDArray], task: Task, *, group: NDArray | None = None) -> Scored:
    """Probe the features of each seed on the folds of that seed."""
    knn, linear, rank = [], [], []
    for z, fold in zip(features, _folds(task, group), strict=True):
        knn.append(knn_probe(z, task.labels, fold=fold).correct)
        linear.append(linear_probe(z, task.labels, fold=fold, balanced=task.balanced).correct)
        rank.append(effective_rank(z))
    return Scored(np.array(knn), np.array(linear), tuple(rank))


def _folds(task: Task, group: NDArray | None) -> list[NDArray[np.intp]]:
    return [folds(task.labels, n_folds=N_FOLDS, group=group, seed=seed) for seed in SEEDS]


@dataclass
class Board:
    """Collects scores and writes the tables."""

    task: Task
    group: NDArray | None = None  # (N,), objects of one group share a fold
    plain: dict[str, Scored] = field(default_factory=dict)
    d4: dict[str, Scored] = field(default_factory=dict)

    def add(self, name: str, features: Sequence[NDArray], *, d4: Sequence[NDArray] | None = None) -> None:
        """Score one method: an array (N, D) per seed, and as many averaged over the 8 symmetries."""
        self.plain[name] = score(features, self.task, group=self.group)
        if d4 is not None:
            self.d4[name] = score(d4, self.task, group=self.group)

    def add_baselines(self, pixels: Single) -> None:
        """Score majority and pixel-PCA of all M images; the encoder's start is up to the caller."""
        floor = np.array([_majority(self.task, fold).correct for fold in _folds(self.task, self.group)])
        self.plain["majority"] = Scored(floor, floor, ())
        pca = [pixel_pca(pixels, n_components=self.task.components, seed=s)[self.task.rows] for s in SEEDS]
        self.add("pixel-PCA", pca)

    def rows(self) -> list[dict[str, object]]:
        """One row per method, for `report` and JSON: per cent, mean and standard deviation over the seeds."""
        return [self._row(name) for name in self.plain]

    def differences(self, name: str) -> list[dict[str, object]]:
        """Paired differences of one method to every baseline on the linear probe, in per cent with 95 % intervals.

        With d4 the untrained encoder is averaged too; majority and pixel-PCA have no such form and stay as they are.
        """
        out = []
        for kind, ours in (("plain", self.plain.get(name)), ("d4", self.d4.get(name))):
            for other in (b for b in BASELINES if ours is not None and b in self.plain and b != name):
                theirs = self.d4.get(other, self.plain[other]) if kind == "d4" else self.plain[other]
                d = self._difference(ours.linear, theirs.linear)
                value = {key: round(100 * v, 2) for key, v in d._asdict().items()}
                pairs = zip(ours.linear, theirs.linear, strict=True)
                seeds = [round(100 * (self._figures(a) - self._figures(b)), 1) for a, b in pairs]
                out.append({"method": name, "average": kind, "against": other, **value, "seeds": seeds})
        return out

    def excludes_zero(self, name: str, average: str = "plain") -> bool:
        """Whether the whole interval of every difference lies above 0."""
        return all(float(str(d["low"])) > 0 for d in self.differences(name) if d["average"] == average)

    def markdown(self, default: str) -> str:
        """Write the table of all methods and that of the default's differences, as they go into the docs."""
        kind = "Balanced accuracy" if self.task.balanced else "Accuracy"
        n, classes = len(self.task.labels), len(np.unique(self.task.labels))
        head = (
            f"{kind} in per cent on {n:,} objects of {classes} classes, {N_FOLDS}-fold cross-validation, mean ± standard "
            f"deviation over {len(SEEDS)} seeds (of training and folds). d4: vectors averaged over the 8 symmetries.\n"
        )
        gaps = [
            {
                "linear probe": f"{d['method']}{' d4' if d['average'] == 'd4' else ''} − {d['against']}",
                "difference": f"{d['difference']:+.1f}",
                "95 % interval": f"[{d['low']:+.1f}, {d['high']:+.1f}]",
                "by seed": ", ".join(f"{s:+.1f}" for s in d["seeds"]),  # type: ignore[attr-defined]
            }
            for d in self.differences(default)
        ]
        return "\n".join([head, markdown_table(self.rows()), "", markdown_table(gaps)])

    def _row(self, name: str) -> dict[str, object]:
        row: dict[str, object] = {"method": name}
        for suffix, scored in (("", self.plain[name]), (" d4", self.d4.get(name))):
            for kind in ("knn", "linear"):
                title = f"{'k-NN' if kind == 'knn' else 'linear'}{suffix}"
                row[title] = None if scored is None else _spread([self._figures(h) for h in getattr(scored, kind)])
        rank = self.plain[name].rank
        row["effective rank"] = f"{np.mean(rank):.1f}" if rank else None
        return row

    def _figures(self, hits: NDArray[np.bool_]) -> float:
        """Accuracy of one seed's hits, balanced or not."""
        if not self.task.balanced:
            return float(hits.mean())
        return float(np.mean([hits[self.task.labels == c].mean() for c in np.unique(self.task.labels)]))

    def _difference(self, a: NDArray, b: NDArray) -> Difference:
        return paired_difference(a, b, y=self.task.labels if self.task.balanced else None, group=self.group)


def _majority(task: Task, fold: NDArray[np.intp]) -> Probe:
    return majority_probe(task.labels, fold=fold)


def _spread(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"


def markdown_table(rows: Sequence[dict[str, object]]) -> str:
    """Write dicts as a Markdown table; None is a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] + ["---:"] * (len(names) - 1)]
    lines += [["–" if row.get(name) is None else str(row[name]) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
