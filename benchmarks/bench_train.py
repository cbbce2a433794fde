"""Training speed: BYOL at 150 px from files to optimiser steps, beside astromorph 0.1.2 and beside a bare loop.

The network is astromorph's light CNN in all three. astromorph is optional; it pins Python 3.12, so install it beside,
without its dependencies, and name the folder:

    pip install --no-deps --ignore-requires-python --target /tmp/astromorph \
        astromorph==0.1.2 loguru typer==0.15.4 shellingham torchvision==0.28.0
    pip install --target /tmp/astromorph-more pydantic
    python benchmarks/bench_train.py --astromorph /tmp/astromorph --astromorph /tmp/astromorph-more

Its default augmentation crashes, so that it gets the augmentation of its own pipeline in torch; torchvision's operators
`nms` and `qnms`, which its wheel lacks for this torch, are defined and never called.
"""

from __future__ import annotations

import copy
import csv
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.optim import AdamW
from torch.utils.flop_counter import FlopCounterMode

from _env import arguments, median_of, print_environment, report, set_threads
from morphospace.learn.data import MemoryData, open_data
from morphospace.learn.layers import channels_last_gradients
from morphospace.learn.loop import draw_batch
from morphospace.learn.memory import keep_freed_memory
from morphospace.learn.methods import BYOL
from morphospace.learn.settings import Loop
from morphospace.learn.train import train
from morphospace.learn.views import Views, views
from morphospace.sky.curate import curate
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.simulate import simulate, write_fits

SIZE = 150
BATCH = 128


class LightCNN(nn.Module):
    """The layers of astromorph's AstroMorphologyModel, written from its description; bands 1, 64 outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 7, stride=2, padding=3), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.features(x)).flatten(1))


def byol(seed: int) -> BYOL:
    torch.manual_seed(seed)
    return BYOL(LightCNN(), layer="avgpool")


def ours(folder: Path, work: Path, epochs: int, seed: int) -> tuple[float, float, Cutouts]:
    """Curate the files and train on them; images a second over all of it, and in the median epoch."""
    start = time.perf_counter()
    cutouts = curate(folder, out=work / "files.cutouts")
    run = train(
        byol(seed),
        cutouts,
        out=work / "run",
        views=views("radio", size=SIZE),
        epochs=epochs,
        batch_size=BATCH,
        seed=seed,
    )
    whole = time.perf_counter() - start
    with (run.path / "history.csv").open() as stream:
        rates = [float(row["images_per_s"]) for row in csv.DictReader(stream)]
    return len(cutouts) * epochs / whole, statistics.median(rates[1:] or rates), cutouts


def bare_step_loop(data: MemoryData, looks: Views, steps: int, seed: int) -> float:
    """Images a second of views, network and optimiser alone, on tensors in memory."""
    method = byol(seed)
    method.to(memory_format=torch.channels_last).train()
    optimizer = AdamW(method.param_groups(1e-3), lr=1e-3, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    block = data.rows(torch.randperm(len(data), generator=generator)[:BATCH])
    bf16 = torch.cpu._is_avx512_bf16_supported()
    start = time.perf_counter()
    with channels_last_gradients(method):
        for step in range(steps):
            if step == 1:  # the first is the warm-up
                start = time.perf_counter()
            batch = draw_batch(block, method, looks, generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = method(batch, step / steps)
            loss.total.backward()
            nn.utils.clip_grad_norm_(method.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            method.after_step(loss, step / steps)
    return BATCH * (steps - 1) / (time.perf_counter() - start)


def loop_rate(cutouts: Cutouts, work: Path, steps: int, seed: int) -> float:
    """Images a second of the same number of steps in the library's loop."""
    per_epoch = max(1, len(cutouts) // BATCH)
    out = Path(tempfile.mkdtemp(dir=work))
    run = train(
        byol(seed), cutouts, out=out, views=views("radio", size=SIZE), epochs=max(2, steps // per_epoch), batch_size=BATCH,
        seed=seed, loop=Loop(checkpoint_minutes=60),
    )  # fmt: skip
    with (run.path / "history.csv").open() as stream:
        rates = [float(row["images_per_s"]) for row in csv.DictReader(stream)]
    return statistics.harmonic_mean(rates[1:] or rates)


def theirs(files: list[Path], paths: list[str], seed: int) -> float | None:
    """Images a second of astromorph's own trainer over one epoch of these files; None where it is not installed."""
    for path in reversed(paths):
        sys.path.insert(0, path)
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    try:
        from astromorph.byol import ByolTrainer
        from astromorph.datasets import FitsFilelistDataset
        from astromorph.models import DEFAULT_MODELS
        from torchvision import transforms
    except ImportError as error:
        print(f"astromorph is not installed ({error}); see --help. The ratio to it is left out.", file=sys.stderr)
        return None
    torch.manual_seed(seed)
    augment = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandomRotation(degrees=(0, 360))])
    trainer = ByolTrainer(
        DEFAULT_MODELS["amm"](), hidden_layer="avgpool", representation_size=128, augmentation_function=augment
    )
    loader = torch.utils.data.DataLoader(FitsFilelistDataset([str(f) for f in files]), batch_size=1, shuffle=True)
    trainer.train_epoch([next(iter(loader)) for _ in range(17)], batch_size=16)
    start = time.perf_counter()
    trainer.train_epoch(loader, batch_size=16)
    return len(files) / (time.perf_counter() - start)


def flops_per_image(data: MemoryData, looks: Views, seed: int) -> float:
    """Multiplications and additions of one training step, per image, as torch counts them."""
    method = byol(seed)
    batch = draw_batch(data.rows(range(8)), method, looks, torch.Generator().manual_seed(seed))
    with FlopCounterMode(display=False) as counter:
        method(batch, 0.0).total.backward()
    return counter.get_total_flops() / 8


def matrix_peak() -> float:
    """Operations a second of a large bf16 matrix product."""
    a, b = (torch.randn(2048, 2048).bfloat16() for _ in range(2))
    return 2 * 2048**3 / median_of(5, lambda: a @ b)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(threads=2)
    parser.add_argument(
        "--astromorph", action="append", default=[], metavar="FOLDER", help="where it is installed; may be repeated"
    )
    parser.add_argument("--files", type=int, default=1024, help="number of FITS files")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of the whole run from files")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    set_threads(args.threads)
    n, epochs, rounds, steps = (
        (BATCH * 2, 2, 1, 4) if args.quick else (args.files, args.epochs, 5, 2 * args.files // BATCH)
    )
    print_environment(files=n, size=SIZE, batch=BATCH, epochs=epochs)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        files = write_fits(simulate("double", n, size=SIZE, seed=args.seed), work / "fits")
        whole, epoch, cutouts = ours(work / "fits", work, epochs, args.seed)
        other = theirs(files[: 34 if args.quick else 256], args.astromorph, args.seed)
        looks = views("radio", size=SIZE)
        data = open_data(cutouts, looks.prepare)
        pairs = [
            (loop_rate(cutouts, work, steps, args.seed), bare_step_loop(copy.copy(data), looks, steps, args.seed))
            for _ in range(rounds)
        ]
        ratio = statistics.median(a / b for a, b in pairs)
        share = flops_per_image(data, looks, args.seed) * epoch / matrix_peak()
    rows = [
        {"what": f"morphospace, files to {epochs} epochs", "images/s": whole},
        {"what": "morphospace, an epoch", "images/s": epoch},
        {"what": "bare loop", "images/s": statistics.median(b for _, b in pairs)},
        {"what": "astromorph 0.1.2, an epoch", "images/s": other},
    ]
    report(
        rows,
        args.json,
        ratio_to_astromorph=None if other is None else whole / other,
        ratio_to_bare=ratio,
        share_of_bf16_peak=share,
    )


if __name__ == "__main__":
    main()
