"""Draw what a VaDE has learned of a store of galaxies: reconstructions, components, samples, a path, deblending, latents.

    python benchmarks/gallery_generate.py galaxies.cutouts pictures --labels gz1_class

Trains VaDE and, to show what 2, 4, 8 and 16 latents hold, four VAE; runs that are there are used again. On 2 cores about an
hour for 5,000 images of 64 pixels in colour; ``--epochs 3 --vae-epochs 2 --size 32`` shows in minutes that it works.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from morphospace.errors import MorphospaceError
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import VAE, Method, VaDE
from morphospace.learn.settings import Loop
from morphospace.learn.train import train
from morphospace.learn.views import Views, views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.stretch import Stretch
from morphospace.space.embed import embed
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import save_figure
from morphospace.space.generate import (
    Components,
    Decoder,
    compare_labels,
    components,
    deblend,
    inverse_map,
    look_of,
    plot_agreement,
    plot_components,
    plot_deblended,
    plot_grid,
    plot_path,
    plot_reconstructions,
    plot_samples,
    plot_traversals,
    reconstruct,
    sample,
    tour,
    traverse,
)
from morphospace.space.generating.deblend import count_companions

LATENTS = (2, 4, 8, 16)
EXAMPLES = 6  # of deblending


def looks(size: int, scale: str) -> Views:
    """Images in [0, 1] on a linear scale, along their major axes and flipped: what the decoder makes is what was seen."""
    base = views("optical", size=size, stretch=Stretch("linear"))
    prepare = {"size": size, "scale": scale, "units": "range", "stretch": Stretch("linear"), "align": True}
    prepare |= {"scale_value": 0.3, "parts": "main"} if scale == "object" else {}
    still = {
        "rotate": False,
        "zoom": (1.0, 1.0),
        "shift": 0.0,
        "blur": 0.0,
        "noise": 0.0,
        "gain": 0.0,
        "band_gain": 0.0,
    }
    return Views(prepare=type(base.prepare)(**prepare), **still)


def trained(path: Path, make: Callable[[], Method], cutouts: Cutouts, seen: Views, epochs: int, seed: int) -> Run:
    """Train a run, or take the one that is there."""
    if path.exists() and Run.open(path).finished:
        return Run.open(path)
    torch.manual_seed(seed)
    return train(make(), cutouts, out=path, views=seen, epochs=epochs, batch_size=128, lr=1e-3, seed=seed, loop=Loop())


def embedded(run: Run, cutouts: Cutouts, out: Path) -> Embeddings:
    """Embed, or take the embeddings that are there and of this run."""
    if out.exists() and Embeddings.open(out).space_id == run.space_id() and len(Embeddings.open(out)) == len(cutouts):
        return Embeddings.open(out)
    return embed(run, cutouts, out=out, overwrite=True)


def with_companions(cutouts: Cutouts, seed: int) -> list[str]:
    """Choose objects with one companion among the first random 300."""
    rows = np.random.default_rng(seed).permutation(len(cutouts))[:300]
    counts = count_companions(cutouts, rows.tolist())
    ids = cutouts.ids
    return [ids[r] for r in rows[counts == 1][:EXAMPLES]]


def pictures(decoder: Decoder, emb: Embeddings, cutouts: Cutouts, options) -> dict[str, Callable[[], Figure]]:
    """Return the pictures of one run, drawn when called."""
    look = look_of(cutouts)
    read: Components = components(decoder, emb)
    print("\n".join(str(row) for row in read.summary().to_pylist()), flush=True)

    def reconstructions() -> Figure:
        found = reconstruct(decoder, cutouts)
        title = f"the 8 best and the 8 worst of {len(found):,}; {len(found.artefacts())} may be artefacts"
        return plot_reconstructions(found.best(8), found.worst(8), look=look, title=title)

    def deblended() -> Figure:
        names = with_companions(cutouts, options.seed)
        return plot_deblended(*(deblend(decoder, emb, cutouts=cutouts, name=name) for name in names), look=look)

    def labels() -> Figure:
        known = cutouts.table([options.labels])[options.labels].to_pylist()
        return plot_agreement(compare_labels(read.labels, known), title=options.labels)

    found = {
        "reconstructions": reconstructions,
        "components": lambda: plot_components(decoder, read, cutouts, look=look),
        "samples": lambda: plot_samples(
            sample(decoder, 200, seed=options.seed), look=look, title="drawn from the mixture"
        ),
        "path": lambda: plot_path(tour(decoder, emb, seed=options.seed), look=look),
        "deblending": deblended,
        "map": lambda: plot_grid(inverse_map(decoder, emb, method=options.map, seed=options.seed), look=look),
    }
    return found | ({"labels": labels} if options.labels else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("cutouts", type=Path, help="store of cutouts")
    parser.add_argument("out", type=Path, help="folder for runs, embeddings and pictures")
    parser.add_argument("--run", type=Path, help="a finished VaDE to read, instead of training one")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--scale", default="object", choices=("image", "pixel", "object"))
    parser.add_argument("--latents", type=int, default=20, help="of the VaDE")
    parser.add_argument("-k", type=int, default=12, help="components")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--vae-epochs", type=int, default=20)
    parser.add_argument("--labels", help="column of classes to compare with")
    parser.add_argument("--map", default="umap", choices=("umap", "pca"))
    parser.add_argument("--only", action="append", help="draw this picture only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cutouts, out, seed = Cutouts.open(options.cutouts), options.out, options.seed
    seen, size = looks(options.size, options.scale), options.size
    bands = int(cutouts.table(["shape"])["shape"][0].as_py()[0])

    def vade() -> Method:
        return VaDE(encoder("light", bands=bands), latents=options.latents, size=size, k=options.k)

    out.mkdir(parents=True, exist_ok=True)
    run = Run.open(options.run) if options.run else trained(out / "vade", vade, cutouts, seen, options.epochs, seed)
    decoder = Decoder.open(run)
    drawn = pictures(decoder, embedded(run, cutouts, out / "vade.emb"), cutouts, options)

    def latents() -> Figure:
        runs = [
            trained(
                out / f"vae{n}",
                lambda n=n: VAE(encoder("light", bands=bands), latents=n, size=size),
                cutouts,
                seen,
                options.vae_epochs,
                seed,
            )
            for n in LATENTS
        ]
        return plot_traversals(*(traverse(each, steps=7) for each in runs), look=look_of(cutouts))

    for name, draw in (drawn | {"latents": latents}).items():
        if options.only and name not in options.only:
            continue
        try:
            print(save_figure(draw(), out / f"{name}.png"), flush=True)
        except MorphospaceError as error:  # a space of one component has no path; the other pictures are still drawn
            print(f"{name}: {error}", flush=True)


if __name__ == "__main__":
    main()
