"""Training: from cutouts and a method to a run."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from lightning_fabric import Fabric

from morphospace.errors import DataError, StoreError
from morphospace.learn.data import first_shape, open_data
from morphospace.learn.doctor import doctor
from morphospace.learn.finish import finish_run
from morphospace.learn.loop import Loop, Settings, Training
from morphospace.learn.memory import keep_freed_memory
from morphospace.learn.methods.base import Method
from morphospace.learn.record import describe_run
from morphospace.learn.views import Views
from morphospace.learn.views import views as preset_views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples

__all__ = ["Loop", "train"]

logger = logging.getLogger(__name__)


def train(
    method: Method,
    data: Cutouts | Samples,
    *,
    out: str | Path,
    views: Views | None = None,
    epochs: int = 100,
    batch_size: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
    resume: bool = False,
    loop: Loop | None = None,
) -> Run:
    """Train the encoders of a method on images without labels.

    Parameters
    ----------
    method : Method
        BYOL, SimCLR, VICReg or a class of your own.
    data : Cutouts or Samples
        A store, or anything with a length that gives samples by number.
    out : path
        Folder of the run; must be new, unless `resume`.
    views : Views, optional
        How two looks at one object may differ; the preset "radio" for one band, "optical" for more.
    epochs : int, >= 1
        How often all images are seen.
    batch_size : int, >= 2
        Images per step; all of them where there are fewer.
    lr : float, > 0
        Highest learning rate.
    seed : int
        Of the order of the images and of the views. The weights' start is the caller's (``torch.manual_seed``).
    resume : bool
        Whether to go on with an interrupted run; the result equals that of an uninterrupted one.
    loop : Loop, optional
        The rarer settings.

    Returns
    -------
    Run
        With weights, history, health verdict and METHODS.md.

    Raises
    ------
    ConfigError
        If a setting is out of range or does not fit the interrupted run.
    DataError
        If there are fewer than 2 images or they cannot be brought to the units asked for.
    StoreError
        If `out` exists and `resume` is not set.
    TrainingError
        If the loss is not finite; the last good checkpoint stays.
    """
    loop = loop or Loop()
    settings = Settings(epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
    run = _open_folder(Path(out), resume=resume)
    if run.finished:
        return run
    keep_freed_memory()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision on every call
    fabric = Fabric(accelerator=loop.accelerator, devices=loop.devices, precision=_precision(loop))  # type: ignore[arg-type]
    fabric.launch()
    chosen = views or preset_views("radio" if _bands(data) == 1 else "optical")
    opened = open_data(data, chosen.prepare, memory_bytes=None if loop.memory_gb is None else int(loop.memory_gb * 1e9))
    if len(opened) < 2:
        msg = "training compares images with each other and needs at least 2; there is 1. Curate more files."
        raise DataError(msg)
    config = describe_run(method, data, opened, chosen, settings, loop)
    training = Training(run, fabric, method, opened, chosen, settings, loop)
    training.start(config)
    training.fit()
    if fabric.is_global_zero:
        finish_run(run, method, opened, seed=seed)
        network = None if method.encoder_recipe else method.network
        health = doctor(run, data, encoder=network, seed=seed)
        logger.info("health of '%s': %s", run.path, health.text())
    fabric.barrier()
    return run


def _open_folder(path: Path, *, resume: bool) -> Run:
    if path.is_dir() and any(path.iterdir()) and not resume:
        msg = f"'{path}' exists; give another out=, or go on with it: resume=True, morphospace train --resume {path}"
        raise StoreError(msg)
    path.mkdir(parents=True, exist_ok=True)
    return Run(path)


def _bands(data: Cutouts | Samples) -> int:
    if len(data) == 0:
        msg = "there are no cutouts to train on; see the report of curate for what was left out and why."
        raise DataError(msg)
    return first_shape(data)[0]


def _precision(loop: Loop) -> str:
    if loop.precision != "auto":
        return loop.precision
    if loop.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if loop.accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
    return "32-true"
