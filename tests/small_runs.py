"""A training of a tenth of a second: whole, interrupted, or in a process that is killed."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from morphospace.learn.methods import BYOL
from morphospace.learn.settings import Loop
from morphospace.learn.train import train
from morphospace.learn.views import views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.space import going_on
from morphospace.space.embed import embed

N, EPOCHS, BATCH = 20, 3, 6
STEPS = EPOCHS * (N // BATCH)
PLAIN = Loop(precision="32-true", device="cpu")
EAGER = Loop(precision="32-true", device="cpu", checkpoint_minutes=0.0)
LOOKS = views(size=8, scale="pixel")


class Own:
    """A data set of a user's own: anything with a length that gives samples by number."""

    def __init__(self, n=N, bands=1, seed=0, sides=(10, 13, 8), cube=()):
        rng = np.random.default_rng(seed)
        side = [sides[i % len(sides)] for i in range(n)]
        self.images = [rng.normal(3, 1, (bands, *cube, s, s)).astype(np.float32) for s in side]
        for image in self.images:
            image[..., 3:6, 3:6] += 20

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        bands = len(self.images[index])
        known = {"level": [3.0] * bands, "sigma": [1.0] * bands}
        return {"image": self.images[index], "id": f"own {index}", **known}


def tiny(bands=1, *, dropout=0.0):
    """An encoder of 5 numbers, of a user's own."""
    return nn.Sequential(
        nn.Conv2d(bands, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def small(kind=BYOL, network=None, *, seed=0, **options: Any):
    torch.manual_seed(seed)
    return kind(network or tiny(), **{"projection_size": 4, "hidden_size": 8, **options})


def fit(out, method=None, data=None, **options: Any) -> Run:
    given = {"views": LOOKS, "epochs": EPOCHS, "batch_size": BATCH, "lr": 1e-2, "seed": 1, "loop": PLAIN, **options}
    return train(method or small(), Own() if data is None else data, out=out, **given)


def failing(method, error: BaseException, *, at: int, where: str = "forward"):
    """Let a method raise at its call number `at`."""
    original, calls = getattr(method, where), [0]

    def wrapped(*args):
        calls[0] += 1
        if calls[0] == at + 1:
            raise error
        return original(*args)

    setattr(method, where, wrapped)
    return method


def history(run: Run) -> list[dict[str, str]]:
    with (run.path / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def assert_same(one: Run, other: Run) -> None:
    """Two trainings left the same behind, bit for bit, but for the time they took."""
    for name in ("initial", "weights", "reference"):
        a, b = one.tensors(name), other.tensors(name)
        assert a.keys() == b.keys()
        for key in a:
            assert torch.equal(a[key], b[key]), f"{name}: {key} differs"
    rows = [[{k: v for k, v in row.items() if k != "images_per_s"} for row in history(run)] for run in (one, other)]
    assert rows[0] == rows[1]
    assert (one.path / "METHODS.md").read_text() == (other.path / "METHODS.md").read_text()


# processes that are killed; a server that has torch loaded forks them in milliseconds


def process(target: Callable[..., None], *args: Any):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["morphospace.learn.train", "morphospace.space.embed"])
    return context.Process(target=target, args=args, daemon=True)


def kill_at_mark(child: Any, mark: Path, *, timeout: float = 300.0) -> None:
    """Start a process and kill it with -9 when it has written its mark and waits."""
    child.start()
    end = time.monotonic() + timeout
    while not mark.exists():
        assert child.is_alive(), f"the process ended by itself with {child.exitcode}"
        assert time.monotonic() < end, "the process did not come so far"
        time.sleep(0.002)
    child.kill()
    child.join()
    assert child.exitcode == -9


def waiting(method, mark: Path, *, at: int, where: str = "forward"):
    """Let a method write a mark at its call number `at`, and wait for its end."""
    original, calls = getattr(method, where), [0]

    def wrapped(*args):
        calls[0] += 1
        if calls[0] == at + 1:
            mark.touch()
            time.sleep(600)
        return original(*args)

    setattr(method, where, wrapped)
    return method


def train_until(out: Path, at: int, where: str, mark: Path) -> None:
    torch.set_num_threads(1)
    fit(out, waiting(small(), mark, at=at, where=where), loop=EAGER)


def embed_until(run: Path, store: Path, out: Path, at: int, mark: Path) -> None:
    torch.set_num_threads(1)
    going_on.SAVE_SECONDS = 0.0
    embed(run, Cutouts.open(store), out=out, encoder=waiting(tiny(), mark, at=at), batch_size=3)
