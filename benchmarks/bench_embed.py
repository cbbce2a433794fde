"""Embedding speed: from a store of cutouts to a folder of embeddings, beside the bare forward pass in the same run.

The bare pass takes the same images, prepared and in memory, through the same network in the same batches: float32, no
gradients, in that of the two memory formats (contiguous, channels_last) which is the faster.
"""

from __future__ import annotations

# ruff: noqa: E402
from morphospace.learn.memory import keep_freed_memory

keep_freed_memory()  # before all other imports, as the command line does

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from _env import arguments, median_of, paired, print_environment, report, set_threads
from _runs import untrained_run
from morphospace.learn.data import open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import SimCLR
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.views import plain_view, views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.simulate import simulate
from morphospace.space.embed import embed

BATCH = 256
TARGET = 0.90
_PIECE = 512
SOURCES = ("disc", "galaxy", "elliptical", "double")  # what the preset, which brings sources to one size, is made for
# images embedded, so that each pass takes a second or more
CASES = {("light", 64): 16_384, ("light", 150): 4_096, ("resnet18", 64): 2_048, ("resnet18", 150): 512}
QUICK = {("light", 64): 512, ("light", 150): 256, ("resnet18", 64): 64, ("resnet18", 150): 16}


def write(path: Path, n: int, size: int, seed: int) -> Cutouts:
    """Write a store as the intake leaves it: without the many columns that a simulated sky has of its own."""
    with CutoutsWriter(path) as writer:
        for start in range(0, n, _PIECE):
            sky = simulate(SOURCES, min(_PIECE, n - start), size=size, seed=seed, start=start)
            known = zip(
                *(sky.factors[name].tolist() for name in ("background_level", "sigma", "ra", "dec")), strict=True
            )
            for row, (level, sigma, ra, dec) in enumerate(known):
                name, image = sky.ids[row], np.ascontiguousarray(sky.image(row))
                writer.append(Cutout(name, image, level=(level,), sigma=(sigma,), ra=ra, dec=dec, object=name))
    return Cutouts.open(path)


def prepared(run: Run, cutouts: Cutouts) -> list[Tensor]:
    """Return the batches that the network sees, in memory."""
    preparation = preparation_of(run)
    data = open_data(cutouts, preparation, memory_bytes=1 << 40)
    starts = range(0, len(data), BATCH)
    return [plain_view(data.rows(range(s, min(s + BATCH, len(data)))), preparation) for s in starts]


@torch.no_grad()
def forward(network: nn.Module, batches: list[Tensor]) -> None:
    for x in batches:
        network(x)


def faster_format(network: nn.Module, x: Tensor) -> torch.memory_format:
    """Bring a network to the memory format in which it is faster, and name that."""
    formats = torch.contiguous_format, torch.channels_last
    seconds = []
    for memory_format in formats:
        network.to(memory_format=memory_format)  # type: ignore[call-overload]
        batch = x.contiguous(memory_format=memory_format)
        seconds.append(median_of(3, lambda batch=batch: forward(network, [batch])))
    best = formats[seconds.index(min(seconds))]
    network.to(memory_format=best)  # type: ignore[call-overload]
    return best


def measure(name: str, cutouts: Cutouts, work: Path, options) -> dict[str, object]:
    """Time both, in turn."""
    size = cutouts.read([0])[0].image.shape[-1]
    torch.manual_seed(options.seed)
    looks = views("radio", size=size)
    run = untrained_run(work / f"{name}-{size}", SimCLR(encoder(name)), cutouts, looks, seed=options.seed)
    network = load_method(run).encoders["image"]
    batches = prepared(run, cutouts)
    best = faster_format(network, batches[0])
    batches = [x.contiguous(memory_format=best) for x in batches]
    number = itertools.count()
    found = paired(
        options.rounds,
        lambda: embed(run, cutouts, out=work / f"{name}-{size}-{next(number)}.emb", batch_size=BATCH),
        lambda: forward(network, batches),
    )
    return {
        "encoder": name,
        "size": size,
        "images": len(cutouts),
        "images/s": len(cutouts) / found.ours,
        "bare images/s": len(cutouts) / found.other,
        "ratio": found.ratio,
        "bare format": str(best).removeprefix("torch."),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5, help="passes timed, ours and the bare one in turn")
    parser.add_argument("--encoder", action="append", choices=sorted({name for name, _ in CASES}), help="only this one")
    parser.add_argument(
        "--size", action="append", type=int, choices=sorted({s for _, s in CASES}), help="only this one"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    set_threads(options.threads)
    print_environment(batch=BATCH, seed=options.seed, rounds=options.rounds)
    chosen = {
        (name, size): n
        for (name, size), n in (QUICK if options.quick else CASES).items()
        if name in (options.encoder or [name]) and size in (options.size or [size])
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for size in sorted({size for _, size in chosen}):
            most = max(n for (_, s), n in chosen.items() if s == size)
            cutouts = write(work / f"{size}.cutouts", most, size, options.seed)
            for (name, s), n in chosen.items():
                if s == size:
                    rows.append(measure(name, cutouts.keep(range(n)), work, options))
    ratio = min(float(str(row["ratio"])) for row in rows)
    report(rows, options.json, ratio_to_bare=ratio, targets_met=bool(ratio >= TARGET))


if __name__ == "__main__":
    main()
