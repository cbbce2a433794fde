"""VaDE: does it find kinds that are known, without labels?

    python benchmarks/bench_vade.py digits --data ../shared/data --threads 2
    python benchmarks/bench_vade.py digits --data ../shared/data --threads 2 --phases 0.1
    python benchmarks/bench_vade.py galaxies --data ../shared/data --threads 2

`digits`: clustering accuracy (the best one-to-one naming of ten components, Hungarian) on 15,000 real MNIST digits, trained on
them without labels; with --fashion FOLDER also on Fashion-MNIST's test images (Debian: dataset-fashion-mnist). Views are
shifted by up to a tenth of the side, zoomed and stretched along any axis by up to a fifth and a third, which no digit minds;
there are no turns. The decoder makes the undistorted image of a view. `galaxies`: 64 pixels around SDSS galaxies, turned along
their major axes (all methods see them so; without it VaDE was no better than a mixture on principal components), against
the classes of Galaxy Zoo 1. --phases makes every phase of the training longer or shorter.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score
from sklearn.mixture import GaussianMixture
from torch import nn

from _env import arguments, print_environment, report, set_threads
from _quality import load_galaxies
from morphospace.errors import MorphospaceError
from morphospace.learn import train as training
from morphospace.learn.baselines import pixel_pca
from morphospace.learn.data import Data, open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.health import Health, Verdict
from morphospace.learn.likelihoods import negative_log_likelihood
from morphospace.learn.methods import AE, Plan, VaDE
from morphospace.learn.mixture import kl_mixture, log_responsibilities
from morphospace.learn.prepare import Preparation
from morphospace.learn.schedule import Schedule
from morphospace.learn.settings import Loop
from morphospace.learn.views import Views, plain_view
from morphospace.sky.stretch import Stretch

DIGITS = Views(
    Preparation(size=28, units="range", stretch=Stretch("linear")),
    rotate=False,
    flip=False,
    zoom=(1 / 1.2, 1.2),
    stretch_axis=0.35,
    shift=0.1,
    blur=0.0,
    noise=0.0,
    gain=0.0,
)
GALAXIES = Views(
    Preparation(size=64, units="range", stretch=Stretch("linear"), align=True),
    rotate=False,
    zoom=(1 / 1.3, 1.3),
    shift=0.05,
    blur=0.0,
    noise=0.0,
    gain=0.3,
)
EPOCHS = {"digits": 300, "galaxies": 35}
PLAN = Plan(warmup=0.75, weight=0.0, periods=1, anneal=0.7, target="plain", start="map", hold=20.0)
COMPONENTS = {"digits": 10, "galaxies": 12}
LATENTS = {"digits": 10, "galaxies": 20}
BATCH = {"digits": 256, "galaxies": 128}
RATE = {"digits": 3e-3, "galaxies": 1e-3}
SEEDS = 5


class Images:
    """Pictures of one size as samples."""

    def __init__(self, images: NDArray) -> None:
        self.images = images  # (N, C, S, S) uint8

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        zero = np.zeros(self.images.shape[1], np.float32)  # black is black: no level is taken off
        return {"image": self.images[index], "id": str(index), "level": zero, "sigma": zero}


class Dense(nn.Module):
    """The encoder of digits: dense layers, which a processor computes fast."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.dim = widths[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in zip((784, *widths), widths, strict=False):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class DenseDecoder(nn.Module):
    """The same backwards."""

    def __init__(self, latents: int, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in zip((latents, *widths), widths, strict=False):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 784))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z).reshape(-1, 1, 28, 28)


class Task(NamedTuple):
    name: str
    images: NDArray  # (N, C, S, S)
    labels: NDArray  # (N,) whole numbers; -1 is not scored
    looks: Views


class Found(NamedTuple):
    """What a trained VaDE makes of the images."""

    component: NDArray
    mean: NDArray
    bound: float  # nats for each image
    error: float


def load_digits(data: Path) -> Task:
    """Read the 10,000 official test images and the 5,000 others."""
    images, labels = _idx(data / "mnist" / "t10k-images-idx3-ubyte.gz", data / "mnist" / "t10k-labels-idx1-ubyte.gz")
    with gzip.open(data / "mnist" / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images = np.concatenate([images, table[:, :-1].reshape(-1, 1, 28, 28)])
    return Task("digits", images, np.concatenate([labels, table[:, -1]]).astype(int), DIGITS)


def load_fashion(folder: Path) -> Task:
    """Read Fashion-MNIST's 10,000 test images, as Debian's package has them."""
    images, labels = _idx(folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz")
    return Task("fashion", images, labels.astype(int), DIGITS)


def _idx(images: Path, labels: Path) -> tuple[NDArray, NDArray]:
    with gzip.open(images) as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(labels) as file:
        return x, np.frombuffer(file.read(), np.uint8, offset=8)


def galaxies(data: Path) -> Task:
    """Read the central 96 pixels of the SDSS pictures, in colour; artefacts train and are not scored."""
    task = load_galaxies(data)
    labels = np.full(len(task.images), -1)
    labels[task.rows] = np.unique(task.labels, return_inverse=True)[1]
    images = np.ascontiguousarray(np.moveaxis(task.images[:, 16:112, 16:112], -1, 1))
    return Task("galaxies", images, labels, GALAXIES)


def accuracy(labels: NDArray, chosen: NDArray) -> float:
    """Part of the objects whose group is that of their class, in the best one-to-one naming (Kuhn 1955)."""
    n = int(max(labels.max(), chosen.max())) + 1
    table = np.zeros((n, n), int)
    np.add.at(table, (chosen, labels), 1)
    return float(table[linear_sum_assignment(-table)].sum() / len(labels))


def build(kind: type[AE], task: Task, seed: int) -> AE:
    """Make the network of a task."""
    torch.manual_seed(seed)
    name = "galaxies" if task.name == "galaxies" else "digits"
    more: dict[str, Any] = {"k": COMPONENTS[name], "plan": PLAN} if kind is VaDE else {}
    latents = LATENTS[name]
    if name == "galaxies":
        network = encoder("residual", bands=task.images.shape[1])
        return kind(network, latents=latents, decoder="residual", size=64, likelihood="gaussian", **more)
    parts = Dense(512, 256), DenseDecoder(latents, 256, 512)
    return kind(parts[0], latents=latents, decoder=parts[1], size=28, likelihood="bernoulli", **more)


def fit(method: AE, task: Task, epochs: int, seed: int) -> float:
    """Train, and return the seconds that it took."""
    start = time.perf_counter()
    name = "galaxies" if task.name == "galaxies" else "digits"
    loop = Loop(weight_decay=0.0, schedule=Schedule("cosine", warmup=0.02), checkpoint_minutes=1e9)
    with tempfile.TemporaryDirectory() as out:
        training.train(
            method,
            Images(task.images),
            out=f"{out}/run",
            views=task.looks,
            epochs=epochs,
            batch_size=BATCH[name],
            lr=RATE[name],
            seed=seed,
            loop=loop,
        )
    return time.perf_counter() - start


def seen(data: Data) -> NDArray:
    """Give every image as a network would see it, (N, C, S, S)."""
    blocks = [data.rows(range(first, min(first + 500, len(data)))) for first in range(0, len(data), 500)]
    return np.concatenate([plain_view(block, data.preparation).numpy() for block in blocks])


@torch.no_grad()
def read(method: AE, data: Data) -> Found:
    """Look at every image as it is."""
    method.eval().to("cpu")
    torch.manual_seed(0)
    parts: list[tuple[torch.Tensor, ...]] = []
    for first in range(0, len(data), 500):
        x = plain_view(data.rows(range(first, min(first + 500, len(data)))), data.preparation)
        mean, log_variance = method.encode(x)
        error = method.errors(x, mean)
        if not isinstance(method, VaDE):
            parts.append((mean, torch.zeros(len(x)), torch.zeros(len(x)), error))
            continue
        log_gamma = log_responsibilities(method.mixture(), mean, log_variance)
        kl = kl_mixture(method.mixture(), mean, log_variance, log_gamma)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        cost = negative_log_likelihood(method.likelihood, method.make(z), x)
        parts.append((mean, log_gamma.argmax(dim=1), -(cost + kl.dimensions.sum(dim=1) + kl.component), error))
    mean, component, bound, error = (torch.cat(column) for column in zip(*parts, strict=True))
    return Found(component.numpy().astype(int), mean.numpy(), float(bound.mean()), float(error.mean()))


def figures(task: Task, vectors: NDArray, chosen: NDArray) -> dict[str, float]:
    """Score groups against the classes, and by themselves."""
    scored = task.labels >= 0
    sample = np.random.default_rng(0).permutation(len(vectors))[:3000]
    apart = len(np.unique(chosen[sample])) > 1
    found = {"AMI": float(adjusted_mutual_info_score(task.labels[scored], chosen[scored]))}
    found["silhouette"] = float(silhouette_score(vectors[sample], chosen[sample])) if apart else float("nan")
    if task.name != "galaxies":
        found = {"accuracy": accuracy(task.labels[scored], chosen[scored]), **found}
    return {key: round(value, 4) for key, value in found.items()}


def grouped(task: Task, name: str, vectors: NDArray, seed: int, k: int, **more: Any) -> list[dict[str, Any]]:
    """Score k-means and a mixture with full covariances on any vectors."""
    kinds = {
        "k-means": KMeans(k, n_init=10, random_state=seed),
        "GMM": GaussianMixture(k, n_init=3, reg_covar=1e-4 * float(vectors.var()), random_state=seed),
    }
    return [
        {
            "set": task.name,
            "method": f"{name} + {kind}",
            "seed": seed,
            **more,
            **figures(task, vectors, model.fit_predict(vectors)),
        }
        for kind, model in kinds.items()
    ]


def score(task: Task, seeds: int, phases: float, kept: Path | None) -> list[dict[str, Any]]:
    """Run VaDE and what it must beat; each network's figures are kept at once, and not made again."""
    name = "galaxies" if task.name == "galaxies" else "digits"
    k, epochs = COMPONENTS[name], max(5, round(EPOCHS[name] * phases))
    data = open_data(Images(task.images), task.looks.prepare)
    pixels = pixel_pca(seen(data), n_components=LATENTS[name])
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    rows: list[dict[str, Any]] = []
    for kind in (VaDE, AE):
        for seed in range(seeds):
            this = {"set": task.name, "network": kind.__name__, "seed": seed, "epochs": epochs}
            made = [row["figures"] for row in known if {key: row[key] for key in this} == this]
            if not made:
                made = [trained(kind, task, data, seed, epochs, k)]
                if kept:
                    with kept.open("a") as file:
                        file.write(json.dumps({**this, "figures": made[0]}) + "\n")
            rows += made[0]
            print(*made[0], sep="\n", flush=True)
    for seed in range(seeds):
        rows += grouped(task, "PCA", pixels, seed, k)
    return rows


def trained(kind: type[AE], task: Task, data: Data, seed: int, epochs: int, k: int) -> list[dict[str, Any]]:
    """Train one network, and score its groups, or groups of its latents."""
    method = build(kind, task, seed)
    seconds = round(fit(method, task, epochs, seed), 1)
    found = read(method, data)
    more = {"error": round(found.error, 5), "seconds": seconds}
    if kind is AE:
        return grouped(task, "AE", found.mean, seed, k, **more)
    more |= {"bound": round(found.bound, 2), **figures(task, found.mean, found.component)}
    return [{"set": task.name, "method": "VaDE", "seed": seed, **more}]


def summary(rows: list[dict[str, Any]], figure: str) -> dict[str, float]:
    """Median of each method, and of VaDE the seed with the best bound."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(str(row["method"]) for row in rows):
        found[f"{name}_median"] = statistics.median(row[figure] for row in rows if row["method"] == name)
    own = [row for row in rows if row["method"] == "VaDE"]
    found["VaDE_best_bound"] = max(own, key=lambda row: row["bound"])[figure]
    return found


def tasks_of(args: argparse.Namespace) -> list[Task]:
    """Read the sets that are asked for, few images of each with --quick."""
    data = Path(args.data)
    found = [load_digits(data) if name == "digits" else galaxies(data) for name in args.tasks]
    if args.fashion:
        found.append(load_fashion(Path(args.fashion)))
    return [t._replace(images=t.images[:300], labels=t.labels[:300]) if args.quick else t for t in found]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("tasks", nargs="*", default=["digits"], metavar="TASK", help="digits, galaxies")
    parser.add_argument("--data", default="../shared/data", help="folder with mnist/ and galaxies/")
    parser.add_argument("--fashion", default=None, help="folder with Fashion-MNIST's t10k files")
    parser.add_argument("--phases", type=float, default=1.0, help="length of every phase, as a factor")
    parser.add_argument(
        "--kept", default=None, help="file to which figures are added, and from which a later run goes on"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds")
    args = parser.parse_args()
    set_threads(args.threads)
    print_environment(tasks=args.tasks, phases=args.phases, seeds=args.seeds)
    if not Path(args.data).is_dir():
        report([], args.json, skipped=f"the labelled sets are not at {args.data}")
        return
    # a verdict on the health of a space costs more than a short training, and is not asked for here
    training.doctor = lambda *_, **__: Health(Verdict.UNKNOWN, (), {})
    phases, seeds = (0.01, 1) if args.quick else (args.phases, args.seeds)
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, Any] = {}
    start = time.perf_counter()
    for task in tasks_of(args):
        found = score(task, seeds, phases, Path(args.kept) if args.kept else None)
        rows += found
        figure = "AMI" if task.name == "galaxies" else "accuracy"
        verdicts |= {f"{task.name}_{figure}_{key}": value for key, value in summary(found, figure).items()}
    report(rows, args.json, **verdicts, minutes=round((time.perf_counter() - start) / 60, 1))


if __name__ == "__main__":
    try:
        main()
    except MorphospaceError as error:
        raise SystemExit(f"Error: {error}") from None
