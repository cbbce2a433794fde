"""The health of a run on its images: vectors, projections and baselines, measured and judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from morphospace.config import nearest
from morphospace.errors import ConfigError, StoreError
from morphospace.learn.baselines import pixel_pca
from morphospace.learn.data import MemoryData, collate_stacks
from morphospace.learn.health import Health, check_health
from morphospace.learn.methods import Method
from morphospace.learn.nuisance import measure_nuisances
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.views import plain_view
from morphospace.runs import Run, write_text
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.sky.stacks import mean_planes, stacks

__all__ = ["doctor"]

MAX_ROWS = 2_000  # enough for every figure, and a matter of seconds
_BATCH = 128


def doctor(
    run: Run | str | Path,
    data: Cutouts | Samples | None = None,
    *,
    labels: str | None = None,
    instruments: Sequence[str] = (),
    encoder: nn.Module | None = None,
    seed: int = 0,
) -> Health:
    """Judge a run: has it collapsed, does it tell more than pixels do, and does it read what it should not.

    Parameters
    ----------
    run : Run or path
        A finished run, or ``"starter"``.
    data : Cutouts or Samples, optional
        Images to judge it on; the store that it was trained on, if that is still there.
    labels : str, optional
        Column of classes; the probes then stand beside pixel-PCA and the untrained encoder.
    instruments : sequence of str
        Columns that name an instrument, a band or a programme, which shapes should not depend on.
    encoder : Module, optional
        The encoder, if it is not one of morphospace's own.
    seed : int
        Of the sample of images and of the folds.

    Returns
    -------
    Health
        Verdict, sentences and figures; also written to ``health.json`` of a run that is not the starter.

    Raises
    ------
    StoreError
        If no data are given and the run's own are gone.
    ConfigError
        If a column is not there.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    data = _own_data(run) if data is None else data
    method = load_method(run, network=encoder)
    rows = np.sort(np.random.default_rng(seed).permutation(len(data))[:MAX_ROWS])
    found = list(stacks(data, rows.tolist()))
    preparation = preparation_of(run)
    block = MemoryData(collate_stacks(found, preparation), preparation)
    vectors, projections, pixels = _through(method, block)
    classes = _column(data, labels, rows) if labels else None
    health = check_health(
        vectors,
        projections=projections,
        labels=classes,
        baselines=None if classes is None else _baselines(run, method, block, pixels),
        nuisances=measure_nuisances(
            [
                image
                for stack in found
                for image in (mean_planes(stack.images) if stack.images.ndim == 5 else stack.images)
            ],
            masks=[m for stack in found for m in (stack.mask if stack.mask is not None else [None] * len(stack.ids))],
            instrument={name: _column(data, name, rows) for name in instruments},
            oriented=not (run.config.get("views", {}).get("rotate", True) or preparation.align),
        ),
        group=_groups(data, rows),
        seed=seed,
    )
    if run.writable:
        write_text(run.path / "health.json", health.to_json())
    return health


@torch.no_grad()
def _through(method: Method, data: MemoryData) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any]]:
    vectors: list[Tensor] = []
    projections: list[Tensor] = []
    pixels: list[Tensor] = []
    # a bare encoder (the starter, a class of the user's own) has no projector to look at
    projects = type(method).projections is not Method.projections
    for start in range(0, len(data), _BATCH):
        x = plain_view(data.rows(range(start, min(start + _BATCH, len(data)))), data.preparation)
        vectors.append(method.outputs(x)["vector"].float())
        if projects:
            projections.append(method.projections(x).float())
        pixels.append(x.flatten(1))
    shown = torch.cat(projections).numpy() if projects else None
    return torch.cat(vectors).numpy(), shown, torch.cat(pixels).numpy()


def _baselines(run: Run, method: Method, data: MemoryData, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    baselines = {"pixel-PCA": pixel_pca(pixels)}
    if (run.path / "initial.safetensors").is_file():
        trained = {k: v.clone() for k, v in method.state_dict().items()}
        method.load_state_dict({**trained, **run.tensors("initial")})
        baselines["untrained encoder"] = _through(method, data)[0]
        method.load_state_dict(trained)
    return baselines


def _own_data(run: Run) -> Cutouts:
    path = run.config.get("data", {}).get("path")
    if path is None or not Path(path).is_dir():
        msg = f"the images of run '{run.path}' are not at '{path}'; name a store of cutouts to judge it on."
        raise StoreError(msg)
    return Cutouts.open(path)


def _groups(data: Cutouts | Samples, rows: NDArray[np.int64]) -> NDArray[Any]:
    # an image that belongs to no group is one of its own
    known = _column(data, "group", rows)
    return np.array([f"row {row}" if group is None else str(group) for row, group in zip(rows, known, strict=True)])


def _column(data: Cutouts | Samples, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    if isinstance(data, Cutouts):
        if name not in data.columns:
            msg = f"unknown column '{name}' in '{data.path}'{nearest(name, data.columns)}"
            raise ConfigError(msg)
        values = data.table([name])[name].to_pylist()
        return np.array([values[r] for r in rows], dtype=object)
    return np.array([data[int(r)].get(name) for r in rows], dtype=object)
