"""Orientation: what a linear map reads of the position angle of simulated discs, and how exact average="d4" is.

Discs with inclinations of 40 to 75 degrees and position angles spread evenly; the encoder is trained on other discs.
R2 is that of (cos, sin) of two and of four times the angle: 1 read without error, 0 not at all.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from _env import arguments, print_environment, report, set_threads
from _runs import untrained_run
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import SimCLR
from morphospace.learn.probe import linear_r2
from morphospace.learn.train import train
from morphospace.learn.views import views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Sample
from morphospace.sky.simulate import Sky, simulate, write_sky
from morphospace.sky.stacks import stacks
from morphospace.space.embed import Embedder, embed

SIZE = 64
INCLINATION_DEG = (40.0, 75.0)
TARGET = 1e-5
_PIECE = 256


def discs(n: int, seed: int) -> Iterator[Sky]:
    """Yield skies with n discs of the wanted inclinations in all; simulate draws them of any."""
    low, high = INCLINATION_DEG
    start = found = 0
    while found < n:
        sky = simulate("disc", _PIECE, size=SIZE, seed=seed, start=start, snr=(20.0, 100.0), noise="mixed")
        inclined = (sky.factors["inclination_deg"] >= low) & (sky.factors["inclination_deg"] <= high)
        rows = np.flatnonzero(inclined)[: n - found]
        yield Sky(sky.images[rows], sky.sigma[rows], {name: values[rows] for name, values in sky.factors.items()})
        start, found = start + _PIECE, found + len(rows)


class Turned:
    """Images of a store, turned by k quarters and mirrored or not."""

    def __init__(self, cutouts: Cutouts, n: int, k: int, mirrored: bool) -> None:
        self._rows = cutouts.read(range(min(n, len(cutouts))))
        self._k, self._mirrored = k, mirrored

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        image = np.rot90(row.image, self._k, (-2, -1))
        image = np.ascontiguousarray(image[..., ::-1] if self._mirrored else image)
        level, sigma = (np.asarray(value, np.float32) for value in (row.level, row.sigma))
        return {"image": image, "id": row.id, "level": level, "sigma": sigma}


def changes(run: Run, cutouts: Cutouts, n: int, average: str | None) -> np.ndarray:
    """Changes of n vectors under the seven turns and flips of the square, as fractions of their lengths."""
    kernel = Embedder(run, average=average)  # type: ignore[arg-type]
    upright, *others = (
        kernel.vectors(stacks(Turned(cutouts, n, k, mirrored))) for mirrored in (False, True) for k in range(4)
    )
    return np.linalg.norm(np.stack(others) - upright, axis=2) / np.linalg.norm(upright, axis=1)


def measure(name: str, run: Run, held_out: Cutouts, work: Path, average: str | None) -> dict[str, object]:
    emb = embed(run, held_out, out=work / f"{name}-{average}.emb", average=average)  # type: ignore[arg-type]
    angle = np.deg2rad(held_out.table(["pa_deg"])["pa_deg"].to_numpy())
    r2 = {f"R2 {m}PA": linear_r2(emb.vectors, np.stack([np.cos(m * angle), np.sin(m * angle)], axis=1)) for m in (2, 4)}
    change = changes(run, held_out, 64, average)
    spread = {"median change": float(np.median(change)), "largest change": float(change.max())}
    return {"encoder": name, "average": average or "-", **r2, **spread}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--images", type=int, default=4_096, help="discs to train on; half as many are held out")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of the training")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    set_threads(options.threads)
    n, epochs = (256, 1) if options.quick else (options.images, options.epochs)
    print_environment(images=n, epochs=epochs, size=SIZE, seed=options.seed)
    looks = views("radio", size=SIZE)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        held_out = write_sky(discs(n // 2, options.seed + 1), work / "held_out.cutouts")
        own = write_sky(discs(n, options.seed), work / "own.cutouts")
        torch.manual_seed(options.seed)
        method = SimCLR(encoder("light"))
        untrained = untrained_run(work / "untrained", method, own, looks, seed=options.seed)
        trained = train(method.train(), own, out=work / "trained", views=looks, epochs=epochs, seed=options.seed)
        rows = [
            measure(name, run, held_out, work, average)
            for name, run in (("untrained", untrained), ("trained", trained))
            for average in (None, "d4")
        ]
    exact = max(float(str(row["largest change"])) for row in rows if row["average"] == "d4")
    figures = {
        f"r2_{m}pa_{row['encoder']}{'_d4' if row['average'] == 'd4' else ''}": row[f"R2 {m}PA"]
        for row in rows
        for m in (2, 4)
    }
    report(rows, options.json, **figures, d4_largest_change=exact, targets_met=bool(exact <= TARGET))


if __name__ == "__main__":
    main()
