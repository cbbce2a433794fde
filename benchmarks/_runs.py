"""What the benchmark scripts share: runs whose encoder has not been trained."""

from __future__ import annotations

from pathlib import Path

import torch

from morphospace.learn.data import open_data
from morphospace.learn.finish import finish_run
from morphospace.learn.methods import Method
from morphospace.learn.record import describe_run
from morphospace.learn.settings import Loop, Settings
from morphospace.learn.views import Views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts


def untrained_run(path: Path, method: Method, data: Cutouts, looks: Views, *, seed: int) -> Run:
    """Write a run of a method as it is, without a step of training, its reference taken from the first rows of data."""
    path.mkdir(parents=True)
    head = data.keep(range(min(len(data), 256)))
    opened = open_data(head, looks.prepare)
    run = Run(path)
    settings = Settings(epochs=1, batch_size=256, lr=1e-3, seed=seed)
    run.write_config(describe_run(method, head, looks, settings, Loop()))
    finish_run(run, method.to(memory_format=torch.channels_last), opened, seed=seed)
    return run
