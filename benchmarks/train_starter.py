"""Train the starter: the small encoder that comes with morphospace, from simulated skies alone.

    python benchmarks/train_starter.py --out src/morphospace/starter

The same seed gives the same skies and, on one machine, the same weights. About three minutes on one core.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _env import arguments, print_environment, report, set_threads
from morphospace.learn.doctor import doctor
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import SimCLR
from morphospace.learn.train import train
from morphospace.learn.views import views
from morphospace.runs import save_tensors
from morphospace.sky.simulate import simulate

README = """# The starter encoder

A small network (`light`, one band, 128 numbers an image) trained without labels on {n:,} **simulated** images: discs with
rings and spirals, galaxies, ellipticals, radio doubles and clouds, with noise and beams of many kinds. It has never seen
the sky. It is here so that `morphospace embed --run starter` and `search` work seconds after installing; for results,
train on your own images.

Made by `benchmarks/train_starter.py`, seed {seed}. BSD-3-Clause, like the rest.
"""


class Skies:
    """Simulated images of many sizes and kinds, as samples."""

    def __init__(self, n: int, seed: int) -> None:
        self.sky = simulate("mixed", n, size=(32, 96), seed=seed, snr=(5, 200), noise="mixed")

    def __len__(self) -> int:
        return len(self.sky)

    def __getitem__(self, index: int) -> Any:
        return {"image": self.sky.image(index), "id": self.sky.ids[index], "kind": str(self.sky.factors["kind"][index])}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--out", default="starter", help="folder to write")
    parser.add_argument("--images", type=int, default=8_000, help="how many simulated images")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the training")
    args = parser.parse_args()
    set_threads(args.threads)
    n, epochs = (400, 1) if args.quick else (args.images, args.epochs)
    print_environment(images=n, epochs=epochs, out=args.out)
    skies = Skies(n, args.seed)
    out = Path(args.out)
    with tempfile.TemporaryDirectory() as scratch:
        torch.manual_seed(args.seed)
        run = train(
            SimCLR(encoder("light")),
            skies,
            out=Path(scratch) / "run",
            views=views("radio"),
            epochs=epochs,
            seed=args.seed,
        )
        health = doctor(run, Skies(min(n, 2000), args.seed + 1), labels="kind")
        out.mkdir(parents=True, exist_ok=True)
        for name in ("run.toml", "reference.safetensors", "METHODS.md", "health.json", "history.csv"):
            shutil.copy(run.path / name, out / name)
        # the projector served the training only
        save_tensors(out / "weights.safetensors", {k: v for k, v in run.tensors().items() if k.startswith("encoder.")})
    (out / "README.md").write_text(README.format(n=n, seed=args.seed), encoding="utf-8")
    size = sum(file.stat().st_size for file in out.iterdir())
    print(health.text())
    figures = {k: v for k, v in health.figures.items() if np.isscalar(v)}
    report([], args.json, bytes=size, verdict=str(health.verdict), **figures)


if __name__ == "__main__":
    main()
