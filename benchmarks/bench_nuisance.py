"""The nuisance question: how much of a latent space do companions and orientation take?

AstroVaDEr's components sorted galaxies by where their neighbours stood. Encoders (`--methods`) are trained on the galaxies of
`--data` as they are and with their companions replaced by the pixels opposite through the object, with views that are
turned at random, with views that are not, and of images that were turned along their major axes before (`align`); vectors
are taken as they are and averaged over the eight symmetries.
For each: R2 of (cos, sin) of the angle read from held-out vectors by a linear map (1 = without error), and the share of
the variance of the vectors that goes with it, for the direction of the brightest companion (of galaxies that have
one, measured before anything is replaced), and two and four times the position angle (of elongated galaxies). Below
stands the same of 64 principal components of the pixels.

    python benchmarks/bench_nuisance.py --data DATA --picture nuisance.png
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from _env import arguments, print_environment, report, set_threads
from morphospace.learn.baselines import pixel_pca
from morphospace.learn.data import open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import METHODS
from morphospace.learn.nuisance import Nuisances, audit_nuisances, measure_nuisances
from morphospace.learn.train import train
from morphospace.learn.views import Views, plain_view, views
from morphospace.sky.curate import curate
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.intake import Intake
from morphospace.space.embed import embed

SIZE = 64
ANGLES = ("position_angle_deg", "companion_angle_deg")
NAMES = {"companion angle": "companion", "position angle (2PA)": "2PA", "position angle (4PA)": "4PA"}


def read(z: NDArray[Any], known: Nuisances) -> dict[str, float]:
    """Give R2 and share of each angle."""
    found: dict[str, float] = {}
    for reading in audit_nuisances(z, known):
        if reading.name in NAMES:
            name = NAMES[reading.name]
            found |= {f"R2 {name}": reading.score, f"share {name}": reading.share}
    return found


def stores(images: Path, n: int, seed: int, work: Path) -> dict[str, Cutouts]:
    """Curate the same galaxies as they are and without their companions."""
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".fits"))
    chosen = np.random.default_rng(seed).permutation(len(files))[:n]
    some = [files[i] for i in np.sort(chosen)]
    kinds = {"kept": Intake(), "replaced": Intake(companions="blank")}
    return {
        name: curate(some, out=work / f"{name}.cutouts", keep="all", intake=intake, resume=True)
        for name, intake in kinds.items()
    }


def known_of(cuts: Cutouts, rows: int = 256) -> Nuisances:
    """Measure angles in the images as they came."""
    parts = []
    for start in range(0, len(cuts), rows):
        some = cuts.read(range(start, min(start + rows, len(cuts))))
        parts.append(measure_nuisances([cutout.image for cutout in some], masks=[cutout.mask for cutout in some]))
    joined = [np.concatenate([np.asarray(getattr(p, name)) for p in parts]) for name in ANGLES]
    return Nuisances(*joined)


def seen(cuts: Cutouts, looks: Views) -> NDArray[Any]:
    """Give what a network would see, for the principal components."""
    data = open_data(cuts, looks.prepare)
    blocks = [data.rows(range(i, min(i + 256, len(data)))) for i in range(0, len(data), 256)]
    return np.concatenate([plain_view(block, data.preparation).numpy() for block in blocks])


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    """Draw bars: one group for each space, one bar for each angle."""
    figure, places = plt.subplots(1, 2, figsize=(11, 0.32 * len(rows) + 1.4), sharey=True, layout="constrained")
    labels = [f"{r['method']}, companions {r['companions']}, {r['views']}, {r['average']}" for r in rows]
    y = np.arange(len(rows))
    for place, kind, title in zip(
        places, ("R2", "share"), ("read by a linear map, R²", "share of the variance"), strict=True
    ):
        for i, (name, colour) in enumerate(zip(NAMES.values(), ("#0072b2", "#d55e00", "#009e73"), strict=True)):
            values = [max(r[f"{kind} {name}"], 0) for r in rows]
            place.barh(y + (i - 1) * 0.26, values, 0.26, label=name, color=colour)
        place.set_xlabel(title)
        place.spines[["top", "right"]].set_visible(False)
    places[0].set_yticks(y, labels, fontsize=8)
    places[0].invert_yaxis()
    places[1].legend(frameon=False)
    figure.savefig(out, dpi=130)


def main() -> None:
    """Train, read, print the table and draw the figure."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder with galaxies/images")
    parser.add_argument("--methods", nargs="+", default=["VAE", "SimCLR"], choices=sorted(METHODS))
    parser.add_argument("--images", type=int, default=3_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--picture", type=Path, help="figure to make")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    set_threads(options.threads)
    n, epochs = (300, 1) if options.quick else (options.images, options.epochs)
    print_environment(images=n, epochs=epochs, size=SIZE, seed=options.seed)
    turned = views("optical", size=SIZE)
    upright = replace(turned, rotate=False, flip=False)
    aligned = replace(upright, prepare=replace(turned.prepare, align=True), flip=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cuts = stores(options.data / "galaxies" / "images", n, options.seed, work)
        known = known_of(cuts["kept"])
        for kind, store in cuts.items():
            for how, looks in (("upright", upright), ("aligned", aligned)):
                z = pixel_pca(seen(store, looks), n_components=64)
                rows.append({"method": "pixel-PCA", "companions": kind, "views": how, "average": "-", **read(z, known)})
        for name in options.methods:
            for kind, store in cuts.items():
                for how, looks in (("upright", upright), ("turned", turned), ("aligned", aligned)):
                    torch.manual_seed(options.seed)
                    network = METHODS[name](encoder("light", bands=3))
                    out = work / f"{name}-{kind}-{how}"
                    run = train(network, store, out=out, views=looks, epochs=epochs, seed=options.seed)
                    for average in (None, "d4") if how == "turned" else (None,):
                        emb = embed(run, store, out=work / f"{out.name}-{average}.emb", average=average)  # type: ignore[arg-type]
                        told = {"method": name, "companions": kind, "views": how, "average": average or "-"}
                        rows.append({**told, **read(emb.vectors, known)})
    if options.picture:
        draw(rows, options.picture)
    report(rows, options.json, n=n, epochs=epochs)


if __name__ == "__main__":
    main()
