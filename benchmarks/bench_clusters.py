"""Clusters against labels: AMI, purity, Hungarian accuracy and stability for each method and several k, pixel-PCA beside.

    python benchmarks/bench_clusters.py --emb disks.emb --labels kind
    python benchmarks/bench_clusters.py radio --data ../shared/data --run runs/byol

Without either, on a simulated mixture of 6 clusters. The first form compares one embedding; the second embeds the images of a
labelled set with a run and with the weights that the run began with, and puts pixel-PCA beside them.

One vector set, several seeds of the clustering: the interval is the standard deviation over the seeds (starts and
resamples), not over trainings.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.torch import save_file

from _env import arguments, print_environment, report, set_threads
from _quality import Task, galaxy_pixels, load_galaxies, load_radio, markdown_table, radio_pixels
from morphospace.learn.baselines import pixel_pca
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.noise import estimate_noise
from morphospace.space.cluster import cluster
from morphospace.space.clustering.tables import compare
from morphospace.space.embed import embed
from morphospace.space.embeddings import Embeddings

METHODS = ("kmeans", "gmm", "dpgmm", "hdbscan")
LOADERS = {"radio": (load_radio, radio_pixels), "galaxies": (load_galaxies, galaxy_pixels)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("task", nargs="?", choices=sorted(LOADERS), help="labelled set; needs --data and --run")
    parser.add_argument("--data", type=Path, help="folder of the labelled sets")
    parser.add_argument("--run", type=Path, help="run that embeds the set")
    parser.add_argument("--average", choices=["d4"], help="average the vectors over the 8 symmetries")
    parser.add_argument("--emb", type=Path, help="embeddings that are there")
    parser.add_argument("--labels", help="their column of labels")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--k", nargs="+", default=["auto", "4", "8", "12"], help="numbers of clusters; auto is one")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=20)
    options = parser.parse_args()
    if (options.task and options.emb) or (options.task and not (options.data and options.run)):
        parser.error("give --emb PATH --labels COLUMN, or radio|galaxies --data FOLDER --run RUN, or nothing")
    if options.emb is not None and options.labels is None:
        parser.error("--emb needs --labels COLUMN")
    if options.quick:
        options.k, options.seeds, options.resamples = options.k[:2], 2, 2
    set_threads(options.threads)
    name = options.task or (options.emb.name if options.emb else "simulated")
    print_environment(of=name, run=options.run, seeds=options.seeds, resamples=options.resamples, seed=options.seed)
    spaces, truth = (from_task if options.task else from_embeddings if options.emb else simulated)(options)
    classes, counts = np.unique([t for t in truth if t is not None], return_counts=True)
    print(
        f"{counts.sum():,} labelled objects of {len(classes)} classes; the commonest has {counts.max() / counts.sum():.3f}\n"
    )
    rows = []
    for space, emb in spaces.items():
        for method in options.methods:
            for k in dict.fromkeys(options.k) if method != "hdbscan" else ["auto"]:
                rows.append(measure(space, emb, truth, method, k, options))
                print(markdown_table(rows[-1:]).splitlines()[-1], flush=True)
    print(f"\n{markdown_table(rows)}\n")
    report(rows if options.json else [], options.json, n_labelled=int(counts.sum()), n_classes=len(classes))


def measure(space: str, emb: Embeddings, truth: list[str | None], method: str, k: str, options) -> dict[str, object]:
    """One line of the table: mean ± standard deviation over the seeds."""
    figures = []
    for seed in range(options.seed, options.seed + options.seeds):
        asked = k if k == "auto" else int(k)
        found = cluster(emb, method, k=asked, resamples=options.resamples, seed=seed)
        against = compare(found.labels, truth)
        stable, share = found.stability, float((found.labels >= 0).mean())
        middle = float(np.median(stable.jaccards)) if found.k else np.nan
        apart = found.validity.silhouette
        figures.append([found.k, share, against.ami, against.purity, against.accuracy, stable.rand, middle, apart])
    names = ("AMI", "purity", "accuracy", "adjusted Rand", "Jaccard, median", "silhouette")
    table = np.array(figures)
    ks, shares = table[:, 0].astype(int), table[:, 1]
    spread = {name: interval(column) for name, column in zip(names, table[:, 2:].T, strict=True)}
    found_k = f"{ks.min()}" if ks.min() == ks.max() else f"{ks.min()} to {ks.max()}"
    return {
        "space": space,
        "method": method,
        "k asked": k,
        "k": found_k,
        "in a cluster": f"{shares.mean():.2f}",
        **spread,
    }


def interval(values: NDArray[np.float64]) -> str:
    if not np.isfinite(values).all():
        return "–"
    return f"{values.mean():.3f} ± {values.std(ddof=1) if len(values) > 1 else 0:.3f}"


def simulated(options) -> tuple[dict[str, Embeddings], list[str | None]]:
    """Six unequal Gaussians of 10 dimensions within 128, with noise in all."""
    rng = np.random.default_rng(options.seed)
    n, k, signal, dim = 300 if options.quick else 3000, 6, 10, 128
    kind = rng.choice(k, n, p=rng.dirichlet(np.full(k, 8.0)))
    inner = 1.3 * rng.normal(size=(k, signal))[kind] + 0.5 * rng.normal(size=(n, signal))
    axes = np.linalg.qr(rng.normal(size=(dim, signal)))[0]
    vectors = inner @ axes.T + axes.sum(axis=1) + 0.08 * rng.normal(size=(n, dim))
    return {"simulated": Embeddings.from_arrays(None, [str(i) for i in range(n)], vectors)}, [str(c) for c in kind]


def from_embeddings(options) -> tuple[dict[str, Embeddings], list[str | None]]:
    emb = Embeddings.open(options.emb)
    values = emb.table([options.labels])[options.labels].to_pylist()
    return {emb.path.name: emb}, [None if value in (None, "") else str(value) for value in values]


def from_task(options) -> tuple[dict[str, Embeddings], list[str | None]]:
    """Embed the images of a set that have a label, and take their pixel-PCA."""
    load, pixels = LOADERS[options.task]
    task = load(options.data)
    if options.quick:
        some = np.random.default_rng(options.seed).permutation(len(task.rows))[:300]
        task = Task(task.name, task.images, task.rows[some], task.labels[some], tuple(task.ids[i] for i in some),
                    task.balanced, task.components)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        cuts = write_cutouts(Path(folder) / "set.cutouts", task)
        spaces = {"trained": vectors_of(Run.open(options.run), cuts, Path(folder) / "trained.emb", options.average)}
        if (first := first_weights(options.run, Path(folder) / "first")) is not None:
            spaces["untrained"] = vectors_of(first, cuts, Path(folder) / "untrained.emb", options.average)
    pca = pixel_pca(pixels(task.images[task.rows]), n_components=task.components, seed=options.seed)
    return {**spaces, "pixel-PCA": Embeddings.from_arrays(None, list(task.ids), pca)}, [str(c) for c in task.labels]


def vectors_of(run: Run, cuts: Cutouts, out: Path, average: str | None) -> Embeddings:
    found = embed(run, cuts, out=out, average=average)
    return Embeddings.from_arrays(None, found.ids, np.array(found.vectors))


def first_weights(path: Path, out: Path) -> Run | None:
    """Copy a run with the weights that its training began with; None where it has not kept them."""
    if not (path / "initial.safetensors").is_file():
        return None
    shutil.copytree(path, out)
    run = Run.open(out)
    save_file({**run.tensors("weights"), **run.tensors("initial")}, out / "weights.safetensors")
    return Run.open(out)


def write_cutouts(path: Path, task: Task) -> Cutouts:
    with CutoutsWriter(path, columns={"label": pa.string()}) as writer:
        for row, identifier, label in zip(task.rows, task.ids, task.labels, strict=True):
            image = task.images[row]
            planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                noise = estimate_noise(planes)
            level, sigma = (tuple(map(float, values)) for values in noise)
            names = ("0",) if image.ndim == 2 else ("R", "G", "B")
            known = {"level": level, "sigma": sigma, "bands": names, "columns": {"label": str(label)}}
            writer.append(Cutout(identifier, np.ascontiguousarray(planes), hdu="0" if image.ndim == 2 else "", **known))
    return Cutouts.open(path)


if __name__ == "__main__":
    main()
