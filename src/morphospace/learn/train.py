"""Training: from cutouts and a method to a run."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.learn.data import Data, first_shape, open_data
from morphospace.learn.doctor import doctor
from morphospace.learn.finish import finish_run
from morphospace.learn.layers import check_vectors, trial_run
from morphospace.learn.loop import Training
from morphospace.learn.memory import keep_freed_memory
from morphospace.learn.methods.base import Method
from morphospace.learn.record import describe_run
from morphospace.learn.settings import Loop, Precision, Settings, check_same
from morphospace.learn.stop import Watch, labels_of
from morphospace.learn.views import Views, plain_view
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
    seed : int, >= 0
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
    loop = replace(loop, precision=_precision(loop))
    settings = Settings(epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
    run = _open_folder(Path(out), resume=resume)
    if len(data) < 2 * loop.n_devices:
        raise DataError(_too_few(len(data), loop.n_devices))
    chosen = views or preset_views("radio" if first_shape(data)[0] == 1 else "optical")
    config = describe_run(method, data, chosen, settings, loop)
    if run.finished:
        check_same(run.config, config)
    else:
        keep_freed_memory()
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision on every call
        fabric = _fabric(loop)
        fabric.launch()
        opened = open_data(data, chosen.prepare, sampler=loop.sampler)
        _check_encoder(method, opened)
        training = Training(run, fabric, method, opened, chosen, settings, loop)
        if loop.stop.figure != "none":
            labels = labels_of(data, loop.stop.label) if loop.stop.figure == "knn" else None
            training.watch(Watch(loop.stop, opened, labels, seed=seed))
        training.start(config)
        training.fit()
        if fabric.is_global_zero:
            finish_run(run, method, opened, seed=seed)
        fabric.barrier()
        if not fabric.is_global_zero:
            return run
    if not run.health:
        network = None if method.encoder_recipe else method.network
        health = doctor(run, data, encoder=network, seed=seed)
        logger.info("health of '%s': %s", run.path, health.verdict)
    return run


def _fabric(loop: Loop) -> Fabric:
    kind, devices = loop.fabric_devices
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, True):
        msg = f"device '{loop.device}' is not on this machine; use 'auto' or 'cpu'."
        raise ConfigError(msg)
    return Fabric(accelerator=kind, devices=devices, precision=loop.precision)  # type: ignore[arg-type]


def _too_few(n: int, devices: int) -> str:
    if n == 0:
        return "there are no cutouts to train on; see the report of curate for what was left out and why."
    where = f" on each of {devices} devices" if devices > 1 else ""
    return f"training compares images with each other and needs at least 2{where}; there is {n}. Curate more files."


def _check_encoder(method: Method, data: Data) -> None:
    x = plain_view(data.rows([0, 1]), data.preparation)
    z, _ = trial_run(method.encoder, x.to(next(method.parameters()).device))
    check_vectors(z, x)


def _open_folder(path: Path, *, resume: bool) -> Run:
    if path.is_dir() and any(path.iterdir()) and not resume:
        msg = f"'{path}' exists; give another out=, or go on with it: resume=True, morphospace train --resume {path}"
        raise StoreError(msg)
    path.mkdir(parents=True, exist_ok=True)
    return Run(path)


def _precision(loop: Loop) -> Precision:
    if loop.precision != "auto":
        return loop.precision
    kind = loop.fabric_devices[0]
    if kind in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if kind in ("auto", "cpu") and not torch.backends.mps.is_available():
        return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
    return "32-true"
