"""Classify and regress: fine-tuning, fusion, few labels, redshifts, each beside what it has to beat.

    python benchmarks/bench_predict.py radio galaxies mergers redshift --data ../shared/data --work /tmp/predict

`radio`: accuracy on the official test split (87 of its 88 certain sources; the published 96 to 98 % are on 104), after
fine-tuning on the other certain ones, from a self-supervised start and from scratch, with 50, 145, 300 and all labels.
`galaxies`: balanced accuracy of 4 classes over 5 folds. `mergers`: average precision for 92 among 5,286 from a few labels
of each side. `redshift`: of the galaxies of a table, from their photometry. What has been trained stays in --work, and
a second call goes on from there. With --quick the images are made up.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from _env import arguments, environment, print_environment, report, set_threads
from _quality import Task, load_galaxies, load_radio, markdown_table
from bench_quality import Images, pixels, trained, vectors
from morphospace.learn.baselines import pixel_pca
from morphospace.learn.compare import folds, paired_difference
from morphospace.learn.data import open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.record import load_method
from morphospace.learn.views import Views, views
from morphospace.runs import Run
from morphospace.science.curves import Curve, draw_labels
from morphospace.science.figures import plot_curves
from morphospace.science.finetune import Tuning, finetune, predict_images
from morphospace.science.measure import Measures, measure
from morphospace.science.predict import predict
from morphospace.science.prediction import Prediction
from morphospace.science.predictor import Predictor
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import save_figure

BATCH = 64
SIZES = (50, 145, 300, 10**9)
EACH = (5, 10, 20, 40)
SSL_EPOCHS = {"radio": 80, "galaxies": 20}  # as in bench_quality
PRESETS = {"radio": "radio", "galaxies": "optical"}


class Source:
    """A labelled set with everything that the tasks share: images, views, the self-supervised run and its vectors."""

    def __init__(self, task: Task, options: Any, run: Path | None) -> None:
        self.task, self.options = task, options
        self.images = Images(task)
        self.looks: Views = views(PRESETS[task.name], size=options.size)
        self.labels = {str(r): str(k) for r, k in zip(task.rows, task.labels, strict=True)}
        self.given = run

    def start(self) -> Run:
        """Return the self-supervised run, trained where it is not there."""
        if self.given is not None:
            return Run.open(self.given)
        out = self.options.work / f"{self.task.name}-ssl"
        epochs = self.options.ssl_epochs or SSL_EPOCHS[self.task.name]
        trained("SimCLR", self.images, self.looks, epochs, self.options.seed, out)
        return Run.open(out)

    def embedded(self) -> NDArray[np.float32]:
        """Return d4-averaged vectors of the scored rows."""
        out = self.options.work / f"{self.task.name}-vectors.npy"
        if not out.exists():
            data = open_data(self.images, self.looks.prepare)
            np.save(out, vectors(load_method(self.start()), data, self.task.rows)[1])
        return np.load(out)

    def tuned(self, name: str, start: Any, labels: Mapping[str, str], seed: int, **tuning: Any) -> Run:
        """Fine-tune, or take up what an earlier call has left; as many steps however few the labels."""
        o = self.options
        epochs = max(1, math.ceil(o.steps / max(1, len(labels) // min(BATCH, len(labels)))))
        how = Tuning(batch_size=BATCH, balanced=self.task.balanced, **tuning)
        out = o.work / f"{self.task.name}-{name}"
        torch.manual_seed(seed)
        begin = start if isinstance(start, Run) else encoder("light", bands=self.images.images.shape[1])
        return finetune(
            begin, self.images, labels=labels, out=out, views=self.looks, epochs=epochs, lr=o.lr, seed=seed,
            resume=out.exists(), tuning=how,
        )  # fmt: skip

    def judged(self, run: Run, rows: NDArray[np.intp]) -> Prediction:
        """Predict chosen images, averaged over the 8 symmetries."""
        return predict_images(run, Chosen(self.images, rows), average="d4")


class Chosen:
    """Some of the samples."""

    def __init__(self, images: Images, rows: NDArray[np.intp]) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.images[int(self.rows[index])]


# radio


def radio(source: Source, official: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Accuracy on the official test split for each start and number of labels."""
    task, o = source.task, source.options
    test, pool = task.rows[official], np.flatnonzero(~official)
    truth = task.labels[official]
    rows, curves = [], []
    starts = {"self-supervised start": source.start(), "from scratch": None}
    tuned: dict[str, dict[int, NDArray[np.bool_]]] = {}
    for name, start in starts.items():
        tuned[name] = {}
        for n in o.sizes:
            hits = []
            for seed in range(o.seeds):
                chosen = pool[draw_labels(task.labels[pool], n, seed=seed)]
                labels = {str(task.rows[i]): str(task.labels[i]) for i in chosen}
                run = source.tuned(f"{name.split()[0]}-{len(chosen)}-{seed}", start, labels, seed, layer_decay=o.decay)
                hits.append(source.judged(run, test).classes == truth)
            tuned[name][len(chosen)] = np.array(hits)
    z = source.embedded()
    tuned["frozen, linear head"] = {}
    for n in o.sizes:
        draws = [pool[draw_labels(task.labels[pool], n, seed=seed)] for seed in range(o.seeds)]
        tuned["frozen, linear head"][len(draws[0])] = np.array([frozen(z, task, c, official) == truth for c in draws])
    for name, by_size in tuned.items():
        for n, hits in by_size.items():
            rows.append({"start": name, "labels": n, **accuracy(hits), "test": len(truth)})
        sizes = np.array(list(by_size))
        curves.append(Curve(name, "accuracy", sizes, np.array([h.mean(1) for h in by_size.values()])))
    last = max(tuned["from scratch"])
    gain = paired_difference(tuned["self-supervised start"][last], tuned["from scratch"][last])
    print("self-supervised start - from scratch, all labels: {:+.3f} ({:+.3f} to {:+.3f})".format(*gain))
    save_figure(plot_curves(curves, title="radio, official test split"), o.work / "radio-labels.png")
    return rows


def frozen(z: NDArray, task: Task, rows: NDArray[np.intp], test: NDArray[np.bool_]) -> NDArray[np.str_]:
    emb = Embeddings.from_arrays(None, list(task.ids), z, {"kind": task.labels.tolist()})
    model = Predictor(balanced=task.balanced).fit(emb.keep(rows), "kind")
    return model.predict(emb.keep(test), calibrated=False).classes


def accuracy(hits: NDArray[np.bool_]) -> dict[str, str]:
    """Mean over seeds and objects, interval over objects, and each seed."""
    whole = paired_difference(hits, np.zeros_like(hits))
    seeds = ", ".join(f"{100 * h.mean():.1f}" for h in hits)
    return {
        "accuracy": f"{100 * whole.difference:.1f}",
        "95 %": f"{100 * whole.low:.1f} to {100 * whole.high:.1f}",
        "seeds": seeds,
    }


# galaxies


def galaxies(source: Source) -> list[dict[str, Any]]:
    """Balanced accuracy over the folds: each kind of knowledge, and all fused."""
    task, o = source.task, source.options
    tables = {"shape": shapes(source), "colour": colours(source)}
    emb = Embeddings.from_arrays(None, [str(r) for r in task.rows], source.embedded(), {"kind": task.labels.tolist()})
    found: dict[str, list[NDArray[np.bool_]]] = {}
    parts: list[str] = []
    for seed in range(o.seeds):
        fold = folds(task.labels, n_folds=o.folds, seed=seed)
        held = {name: held_out(source, name, fold, seed) for name in ("CNN from scratch", "fine-tuned")}
        for name, p in held.items():
            found.setdefault(name, []).append(np.unique(task.labels)[p.argmax(1)] == task.labels)
        scores = pa.table({"id": emb.ids, **{f"p{k}": np.log(p + 1e-6) for k, p in enumerate(held["fine-tuned"].T)}})
        ways: dict[str, dict[str, Any]] = {
            "frozen, linear head": {},
            "shape alone": {"parts": {"shape": tables["shape"]}, "embedding": False},
            "colour alone": {"parts": {"colour": tables["colour"]}, "embedding": False},
            "frozen + shape": {"parts": {"shape": tables["shape"]}},
            "frozen + colour": {"parts": {"colour": tables["colour"]}},
            "frozen + shape + colour": {"parts": tables},
            "all fused": {"parts": {**tables, "fine-tuned": scores}},
        }
        for name, way in ways.items():
            fused = predict(emb, "kind", balanced=True, n_folds=o.folds, seed=seed, **way)
            found.setdefault(name, []).append(fused.classes == task.labels)
            if name == "all fused":
                parts += [
                    f"  {c.part}: alone {c.alone:.3f}, drop {c.drop:+.3f} ({c.low:+.3f} to {c.high:+.3f})"
                    for c in fused.parts
                ]
    print("What each part gives to the fusion, by seed:", *parts, sep="\n")
    return [balanced_row(name, np.array(hits), task.labels) for name, hits in found.items()]


def held_out(source: Source, name: str, fold: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """Probabilities of every object by a network that was trained on the other folds.

    For the fusion these are a part: the weights of the parts are found on them, and each object's own come from a network
    that has not seen it (stacking, Wolpert 1992).
    """
    task = source.task
    p = np.zeros((len(task.rows), len(np.unique(task.labels))))
    start = source.start() if name == "fine-tuned" else None
    for f in range(fold.max() + 1):
        labels = {str(r): str(k) for r, k, g in zip(task.rows, task.labels, fold, strict=True) if g != f}
        decay = source.options.decay if start is not None else 1.0
        run = source.tuned(f"{name.split()[0]}-{seed}-{f}", start, labels, seed, layer_decay=decay)
        p[fold == f] = source.judged(run, task.rows[fold == f]).p
    return p


def balanced_row(name: str, hits: NDArray[np.bool_], y: NDArray[np.str_]) -> dict[str, Any]:
    whole = paired_difference(hits, np.zeros_like(hits), y=y)
    row: dict[str, Any] = {"features": name, "balanced accuracy": f"{100 * whole.difference:.1f}"}
    row["95 %"] = f"{100 * whole.low:.1f} to {100 * whole.high:.1f}"
    return row | {k: f"{100 * hits[:, y == k].mean():.0f}" for k in np.unique(y)}


def shapes(source: Source) -> pa.Table:
    """Measured shapes of all images, from --work where an earlier call has left them."""
    out = source.options.work / f"{source.task.name}-shapes.parquet"
    return (Measures.open(out) if out.exists() else measure(source.images, out=out)).table


def colours(source: Source) -> pa.Table:
    """Colours from the pictures' own bands (red i, green r, blue g) in three apertures, as magnitudes."""
    images = source.images.images  # (M, 3, H, W)
    side = images.shape[2]
    y_, x_ = np.indices(images.shape[2:]) - (side - 1) / 2
    radius = np.hypot(y_, x_)
    apertures = {"core": radius < 0.04 * side, "middle": radius < 0.1 * side, "whole": radius < 0.25 * side}
    border = radius > 0.47 * side
    flux: dict[str, list[NDArray]] = {name: [] for name in apertures}
    for start in range(0, len(images), 256):
        block = images[start : start + 256].astype(np.float32)
        level = np.median(block[:, :, border], axis=2)
        for name, inside in apertures.items():
            flux[name].append(np.maximum(block[:, :, inside].mean(2) - level, 0.5))
    columns: dict[str, Any] = {"id": [str(i) for i in range(len(images))]}
    for name, parts in flux.items():
        i_, r_, g_ = np.concatenate(parts).T
        columns |= {f"g_r_{name}": -2.5 * np.log10(g_ / r_), f"r_i_{name}": -2.5 * np.log10(r_ / i_)}
        columns[f"r_mag_{name}"] = -2.5 * np.log10(r_)
    return pa.table(columns)


# mergers


def mergers(source: Source) -> list[dict[str, Any]]:
    """Average precision of the rare class from few labels of each side."""
    task, o = source.task, source.options
    wanted = task.labels == o.rare
    pca = pixel_pca(pixels(open_data(source.images, source.looks.prepare)), n_components=task.components)[task.rows]
    ids = [str(r) for r in task.rows]
    kind = {"kind": np.where(wanted, "rare", "other").tolist()}
    sets: dict[str, tuple[NDArray, dict[str, Any]]] = {
        "self-supervised": (source.embedded(), {}),
        "self-supervised, whitened": (whitened(source.embedded()), {}),
        "pixel-PCA": (pca, {}),
        "shape": (pca, {"parts": {"shape": shapes(source)}, "embedding": False}),
    }
    found: dict[tuple[str, int], list[float]] = {}
    for name, (z, way) in sets.items():
        emb = Embeddings.from_arrays(None, ids, z, kind)
        for n in o.each:
            for seed in range(o.repeats):
                rows = draw_labels(wanted.astype(int), n, each=True, seed=seed)
                rest = np.setdiff1d(np.arange(len(ids)), rows)
                model = Predictor("linear", balanced=True, seed=seed).fit(emb.keep(rows), "kind", **way)
                p = model.predict(emb.keep(rest), parts=way.get("parts"), calibrated=False).p
                found.setdefault((name, n), []).append(float(average_precision_score(wanted[rest], p[:, 1])))
    rows_ = []
    for (name, n), values in found.items():
        low, high = mean_interval(np.array(values))
        row = {"features": name, "labels of each": n, "average precision": f"{np.mean(values):.3f}"}
        gain = ""
        if name != "self-supervised":
            g = np.array(found["self-supervised", n]) - values
            gain = "{:+.3f} ({:+.3f} to {:+.3f})".format(g.mean(), *mean_interval(g))
        rows_.append({**row, "95 % of the mean": f"{low:.3f} to {high:.3f}", "self-supervised - this": gain})
    print(f"by chance: {wanted.mean():.3f}")
    return rows_


def whitened(z: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give the small components of all vectors nearly the weight of the large ones; labels have no part in it."""
    z = z - z.mean(axis=0)
    variance, axes = np.linalg.eigh(z.T @ z / len(z))
    return np.asarray(z @ axes / np.sqrt(variance + 0.1 * variance.mean()), dtype=np.float32)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean over the draws of labels, by bootstrap."""
    draws = np.random.default_rng(0).choice(values, (5000, len(values))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


# redshift


def redshift(table: Mapping[str, NDArray], seeds: int) -> list[dict[str, Any]]:
    """R2, errors and conformal intervals of redshifts from magnitudes and colours."""
    u, g, r, i, z = (table[b] for b in "ugriz")
    columns = {"u_g": u - g, "g_r": g - r, "r_i": r - i, "i_z": i - z, "r": r}
    n = len(r)
    place = {"ra": table["ra"], "dec": table["dec"], "redshift": table["redshift"]}
    emb = Embeddings.from_arrays(None, [str(k) for k in range(n)], np.zeros((n, 1)), {**columns, **place})
    rows = []
    for head in ("knn", "linear", "mlp"):
        scores = []
        for seed in range(seeds):
            way = {"parts": {"photometry": list(columns)}, "embedding": False}
            found = predict(emb, "redshift", head=head, task="values", coverage=0.9, seed=seed, **way)
            error = (found.mean - table["redshift"]) / (1 + table["redshift"])
            nmad = 1.4826 * np.median(np.abs(error - np.median(error)))
            far = np.sort((found.mean - table["redshift"]) ** 2)[: int(0.995 * n)].sum()
            rest = 1 - far / ((table["redshift"] - table["redshift"].mean()) ** 2).sum()
            scores.append({**found.scores, "r2 without the worst 0.5 %": rest, "sigma_nmad": float(nmad)})
        mean = {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}
        rows.append({"head": head, "galaxies": n, **{key: f"{v:.4f}" for key, v in mean.items()}})
    return rows


def read_photometry(path: Path) -> dict[str, NDArray]:
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "GALAXY"]
    return {k: np.array([float(row[k]) for row in rows]) for k in ("ra", "dec", *"ugriz", "redshift")}


# what is made up


def made_up(name: str, n: int = 120, side: int = 32) -> Task:
    """Discs of two sizes (radio), or of four axis ratios and colours (galaxies)."""
    rng = np.random.default_rng(0)
    kinds = ["FRI", "FRII"] if name == "radio" else ["edge_on", "elliptical", "merger", "spiral"]
    code = np.arange(n) % len(kinds)
    y, x = np.indices((side, side)) - (side - 1) / 2
    ratio = 1 + code[:, None, None]
    light = np.exp(-np.hypot(x / 2, y * ratio / 4)) * 200 + rng.normal(8, 2, (n, side, side))
    images = light.astype(np.float32)
    if name == "galaxies":
        tint = np.array([1.0, 0.9, 0.8, 0.7])[code][:, None, None, None] ** np.arange(3)
        images = np.clip(light[..., None] * tint, 0, 255).astype(np.uint8)
    names = np.array(kinds)[code]
    return Task(name, images, np.arange(n), names, tuple(str(i) for i in range(n)), name == "galaxies", 8)


def made_up_photometry(n: int = 300) -> dict[str, NDArray]:
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 0.3, n)
    bands = {b: 17 + 4 * z * (5 - k) + rng.normal(0, 0.05, n) for k, b in enumerate("ugriz")}
    return {"ra": rng.uniform(0, 360, n), "dec": rng.uniform(-60, 60, n), **bands, "redshift": z}


def tables(options: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the tasks one after the other."""
    quick, data = options.quick, options.data
    for name in options.tasks:
        if name == "redshift":
            photometry = made_up_photometry() if quick else read_photometry(data / "spectra" / "sdss_photometry.csv")
            yield name, redshift(photometry, options.seeds)
        elif name == "radio":
            task = made_up(name) if quick else load_radio(data)
            official = np.arange(len(task.rows)) % 4 == 0 if quick else official_test(task, data)
            yield name, radio(Source(task, options, options.radio_run), official)
        else:
            task = made_up("galaxies") if quick else load_galaxies(data)
            source = Source(task, options, options.galaxies_run)
            yield name, (galaxies if name == "galaxies" else mergers)(source)


def official_test(task: Task, data: Path) -> NDArray[np.bool_]:
    with (data / "radio" / "labels.csv").open(newline="") as file:
        test = {row["id"] for row in csv.DictReader(file) if row["official_test"] == "1"}
    return np.array([i in test for i in task.ids])


def main() -> None:
    parser = arguments(__doc__ or "")
    tasks = ["radio", "galaxies", "mergers", "redshift"]
    parser.add_argument("tasks", nargs="*", default=tasks, help="which of " + ", ".join(tasks))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the labelled sets")
    parser.add_argument("--work", type=Path, help="folder for what is trained; a temporary one if not given")
    parser.add_argument("--radio-run", type=Path, help="self-supervised run; trained here if not given")
    parser.add_argument("--galaxies-run", type=Path, help="the same for the galaxies")
    parser.add_argument("--seeds", type=int, default=5, help="of fine-tuning, folds and draws")
    parser.add_argument("--repeats", type=int, default=20, help="draws of labels for mergers")
    parser.add_argument("--steps", type=int, default=400, help="of each fine-tuning")
    parser.add_argument("--ssl-epochs", type=int, default=0, help="of the self-supervised start; 0: as bench_quality")
    parser.add_argument("--size", type=int, default=64, help="side of what the networks see")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.7, help="factor of the rate from block to block")
    parser.add_argument("--folds", type=int, default=5, help="of galaxies")
    parser.add_argument("--rare", default="merger", help="class that mergers looks for")
    options = parser.parse_args()
    options.sizes, options.each = SIZES, EACH
    if options.quick:
        small = {
            "seeds": 1,
            "repeats": 2,
            "steps": 2,
            "ssl_epochs": 1,
            "size": 24,
            "folds": 3,
            "each": (5, 10),
            "sizes": (20, 10**9),
        }
        vars(options).update(small)
    set_threads(options.threads)
    print_environment(tasks=options.tasks, seeds=options.seeds, steps=options.steps, size=options.size, lr=options.lr)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        options.work = Path(options.work or folder)
        options.work.mkdir(parents=True, exist_ok=True)
        for name, rows in tables(options):
            found[name] = rows
            print(f"\n{name}\n\n{markdown_table(rows)}\n", flush=True)
            (options.work / f"{name}.json").write_text(json.dumps(rows))
    report([{"task": name, "rows": len(rows)} for name, rows in found.items()], json_flag=False)
    if options.json:
        print(json.dumps({"tables": found, "environment": environment()}))


if __name__ == "__main__":
    main()
