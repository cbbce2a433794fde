"""Fine-tuning: train an encoder further, or from scratch, with labels; and predict images with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.learn.data import MemoryData, collate_stacks
from morphospace.learn.devices import named_device
from morphospace.learn.encoders import ENCODERS
from morphospace.learn.encoders import encoder as build_encoder
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.settings import Loop
from morphospace.learn.train import train
from morphospace.learn.views import Views, plain_view
from morphospace.runs import Run, write_text
from morphospace.science.prediction import Prediction
from morphospace.science.splits import check_members, object_groups
from morphospace.science.supervised import Answer, Supervised
from morphospace.science.targets import LabelSource, Target, target_of
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Sample, Samples
from morphospace.sky.stacks import stacks
from morphospace.space.embed import symmetries
from morphospace.space.embeddings import Embeddings

__all__ = ["Tuning", "finetune", "predict_images", "seeded", "trained_on"]

_LABELS = "labels.json"
_BATCH = 256


@dataclass(frozen=True)
class Tuning:
    """What of an encoder is trained, and how.

    Parameters
    ----------
    blocks : int, optional
        How many of its blocks, from the last, are trained; 0 for the head alone; all when not given.
    layer_decay : float, above 0, up to 1
        Factor of the learning rate from each block to the one before it.
    dropout : float, 0 to 1
        Of the vector, before the head.
    smoothing : float, 0 to 1
        Label smoothing of classes.
    balanced : bool
        Weigh the classes equally.
    batch_size : int, >= 2
        Images per step.
    questions : tuple of int
        Votes: numbers of answers of each question.
    loop : Loop
        The rarer settings of the training.
    """

    blocks: int | None = None
    layer_decay: float = 1.0
    dropout: float = 0.0
    smoothing: float = 0.0
    balanced: bool = False
    batch_size: int = 64
    questions: tuple[int, ...] = ()
    loop: Loop = field(default_factory=Loop)


class _Labelled:
    """The labelled rows of a data set, as samples with their labels."""

    def __init__(self, data: Cutouts | Samples, rows: NDArray[np.intp], label: NDArray[np.intp] | None) -> None:
        self._data, self._rows, self._label = data, rows, label
        self._first, self._block = 0, []  # type: ignore[var-annotated]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        sample = self._read(index) if isinstance(self._data, Cutouts) else dict(self._data[int(self._rows[index])])
        sample.pop("label", None)
        if self._label is not None:
            sample["label"] = int(self._label[index])
        return cast(Sample, sample)

    def _read(self, index: int) -> dict[str, Any]:
        if not self._first <= index < self._first + len(self._block):
            # most readers go from the first row to the last
            self._first = index
            self._block = cast(Cutouts, self._data).read(self._rows[index : index + _BATCH])
        c = self._block[index - self._first]
        known = {"mask": c.mask, "level": c.level, "sigma": c.sigma, "pixel_scale_arcsec": c.pixel_scale_arcsec}
        return {"image": c.image, "id": c.id, "beam": c.beam, **known}


def finetune(
    start: Run | str | Path | nn.Module,
    data: Cutouts | Samples,
    *,
    labels: LabelSource,
    out: str | Path,
    views: Views | None = None,
    epochs: int = 30,
    lr: float = 1e-3,
    seed: int = 0,
    resume: bool = False,
    tuning: Tuning | None = None,
) -> Run:
    """Train an encoder with labels, from the weights of a run or from scratch.

    Parameters
    ----------
    start : Run, path or Module
        A finished run (or ``"starter"``) to go on from, or any encoder (B, C, H, W) to (B, D) as it is: one from
        ``encoder`` without weights is the CNN baseline, one from ``timm_encoder`` brings its own.
    data : Cutouts or Samples
        Only labelled objects are trained on.
    labels : str, sequence of str or mapping
        A column of the store; several columns of numbers of votes; or id to label. Objects to be judged by later must
        have no label here.
    out : path
        Folder of the new run; must be new, unless `resume`.
    views : Views, optional
        How images are prepared and varied; those of the run, or the preset of `train`.
    epochs : int, >= 1
        How often the labelled images are seen.
    lr : float, > 0
        Highest learning rate, that of the head.
    seed : int
        Of the order of the images, of the views and of the start of the head.
    resume : bool
        Go on with an interrupted training; starts one if there is none.
    tuning : Tuning, optional
        What is trained: all by default.

    Returns
    -------
    Run
        Its encoder can be embedded with like any other; `predict_images` uses the head too. ``labels.json`` names
        what was trained on.

    Raises
    ------
    DataError
        If labels are for unknown ids, of one class, or a class has fewer than 2 objects.
    ConfigError
        If a setting is out of range, or an interrupted run had other labels.
    StoreError
        If `out` exists and `resume` is not set.
    """
    how = tuning or Tuning()
    catalogue = _catalogue(data, labels)
    target = target_of(catalogue, labels, where=f"'{data.path}'" if isinstance(data, Cutouts) else "the data")
    rows = np.flatnonzero(target.known)
    known = target.take(rows)
    if known.task == "classes":
        check_members(np.array(known.names)[known.y], group=object_groups(catalogue)[rows], least=2)
    ids = [catalogue.ids[r] for r in rows]
    about = _about(known, ids, how)
    _keep_labels(Path(out), about, resume=resume)
    source = _Labelled(data, rows, known.y if known.task == "classes" else None)
    with seeded(seed):
        network, layer, found_views = _start(start)
        run = train(
            _method(network, layer, known, about, how),
            source,
            out=out,
            views=views or found_views,
            epochs=epochs,
            batch_size=how.batch_size,
            lr=lr,
            seed=seed,
            resume=True,  # the folder is ours by now
            loop=how.loop,
        )
    write_text(run.path / "METHODS.md", _methods_text(run, start, known, how))
    return run


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed; its random state is the caller's again afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _method(
    network: nn.Module, layer: str | int | None, known: Target, about: Mapping[str, Any], how: Tuning
) -> Supervised:
    method = Supervised(
        network,
        answer=Answer(known.task, known.width, how.questions),  # type: ignore[arg-type]
        layer=layer,
        blocks=how.blocks,
        layer_decay=how.layer_decay,
        dropout=how.dropout,
        smoothing=how.smoothing,
        class_weights=_class_weights(known) if how.balanced and known.task == "classes" else (),
    )
    method.encoder.train()
    if known.task != "classes":
        y = (known.y[:, None] - about["mean"]) / about["sd"] if known.task == "values" else known.y
        method.set_targets(torch.from_numpy(np.ascontiguousarray(y)))
    return method


def trained_on(run: Run | str | Path) -> frozenset[str]:
    """Name the objects whose labels a run was trained with; none for a run without labels.

    Raises
    ------
    StoreError
        If there is no run, or its list is damaged.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    return frozenset(_read_about(run)["ids"]) if (run.path / _LABELS).is_file() else frozenset()


def predict_images(
    run: Run | str | Path,
    data: Cutouts | Samples,
    *,
    average: str | None = None,
    encoder: nn.Module | None = None,
    device: str = "cpu",
) -> Prediction:
    """Predict images with a fine-tuned run.

    Parameters
    ----------
    run : Run or path
        What `finetune` made.
    data : Cutouts or Samples
        Objects; those that the run was trained on are predicted too, better than new ones: see `trained_on`.
    average : {"d4"}, optional
        Average the probabilities over the 8 rotations and flips.
    encoder : Module, optional
        The encoder, if it is not one of morphospace's own.
    device : str
        ``cpu`` or ``cuda``; ``auto`` takes a GPU if there is one.

    Raises
    ------
    StoreError
        If the run was not fine-tuned.
    ConfigError
        If the encoder is the user's own and was not given, `average` is unknown, or the device is not there.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    about = _read_about(run)
    if average not in (None, "d4"):
        msg = f"average must be 'd4' or none; got '{average}'."
        raise ConfigError(msg)
    place = named_device(device)
    method = _load(run, encoder).to(place)
    preparation = preparation_of(run)
    ids: list[str] = []
    found: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(data), _BATCH):
            parts = list(stacks(data, range(start, min(start + _BATCH, len(data)))))
            ids += [i for part in parts for i in part.ids]
            block = MemoryData(collate_stacks(parts, preparation), preparation)
            x = plain_view(block.rows(range(len(block))), preparation).to(place)
            seen = [x, *(symmetries(x) if average else ())]
            found.append(torch.stack([_probable(method, each) for each in seen]).mean(0).double().cpu())
    p = torch.cat(found).numpy()
    if about["task"] == "values":
        p = p * about["sd"] + about["mean"]
    return Prediction(
        tuple(ids),
        about["task"],
        tuple(about["names"]),
        p,
        questions=tuple(about["questions"]),
        about={"run": str(run.path), "average": average, "n_trained_on": len(set(about["ids"]).intersection(ids))},
    )


def _probable(method: Supervised, x: Tensor) -> Tensor:
    scores = method.scores(x)
    return scores.softmax(1) if method.answer.task == "classes" else scores


def _catalogue(data: Cutouts | Samples, labels: LabelSource) -> Embeddings:
    """Make a table of the objects that labels can be brought to."""
    if isinstance(data, Cutouts):
        wanted = [] if isinstance(labels, Mapping) else [labels] if isinstance(labels, str) else list(labels)
        if "id" in wanted or len(set(wanted)) < len(wanted):
            msg = f"labels need columns of their own, each named once; got {', '.join(wanted)}."
            raise ConfigError(msg)
        beside = [c for c in ("group", "ra", "dec", "source", "object") if c not in wanted]
        table = data.table(["id", *wanted, *beside])
        ids = table["id"].to_pylist()
        columns = {name: table[name].combine_chunks() for name in table.column_names if name != "id"}
    else:
        samples = [data[i] for i in range(len(data))]
        ids = [str(s["id"]) for s in samples]
        columns = {}
        if any("group" in s for s in samples):
            columns["group"] = pa.array([s.get("group") for s in samples], pa.string())
        if isinstance(labels, str):
            columns[labels] = pa.array([s.get(labels) for s in samples])
    if not ids:
        msg = "there is nothing to train on: the data hold no object."
        raise DataError(msg)
    return Embeddings.from_arrays(None, ids, np.zeros((len(ids), 1), dtype=np.float32), columns)


def _start(start: Run | str | Path | nn.Module) -> tuple[nn.Module, str | int | None, Views | None]:
    """Return encoder, layer and views to begin with."""
    if isinstance(start, nn.Module):
        return start, None, None
    run = start if isinstance(start, Run) else Run.open(start)
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in run.config.get("views", {}).items()}
    return load_method(run).network, run.config.get("layer"), Views(prepare=preparation_of(run), **kept)


def _load(run: Run, network: nn.Module | None) -> Supervised:
    config = run.config
    recipe = config.get("encoder", {})
    if network is None and recipe.get("name") not in ENCODERS:
        msg = f"run '{run.path}' has an encoder of your own ({recipe.get('name')}); pass it as encoder=."
        raise ConfigError(msg)
    options = {k: v for k, v in config["method"].items() if k not in ("name", "decorrelate")}
    if "answer" not in options:
        msg = f"run '{run.path}' was fine-tuned by another version of morphospace; fine-tune anew."
        raise StoreError(msg)
    answer = Answer(**options.pop("answer"))
    method = Supervised(network or build_encoder(**recipe), answer=answer, layer=config.get("layer"), **options)
    method.load_state_dict(run.tensors())
    return method.eval()


def _class_weights(known: Target) -> tuple[float, ...]:
    count = np.bincount(known.y, minlength=known.width)
    return tuple((count.sum() / (len(count) * count)).tolist())


def _about(known: Target, ids: list[str], how: Tuning) -> dict[str, Any]:
    digest = hashlib.sha256("\n".join(ids).encode("utf-8", "surrogatepass"))
    digest.update(np.ascontiguousarray(known.y, dtype=np.float64).tobytes())
    values = known.task == "values"
    return {
        "task": known.task,
        "names": list(known.names),
        "questions": list(how.questions),
        "mean": float(known.y.mean()) if values else 0.0,
        "sd": (float(known.y.std()) or 1.0) if values else 1.0,
        "fingerprint": digest.hexdigest(),
        "ids": ids,
    }


def _keep_labels(out: Path, about: Mapping[str, Any], *, resume: bool) -> None:
    """Keep the labels of a run that begins, and refuse to go on with others."""
    file = out / _LABELS
    if resume and file.is_file():
        if _read_about(Run(out))["fingerprint"] != about["fingerprint"]:
            msg = f"the interrupted run '{out}' had other labels; resume it with the same, or begin another with a new out=."
            raise ConfigError(msg)
    elif out.is_dir() and any(out.iterdir()) and not resume:
        msg = f"'{out}' exists; give another out=, or go on with it: resume=True."
        raise StoreError(msg)
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(about))


def _read_about(run: Run) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run.path / _LABELS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"run '{run.path}' was trained without labels; fine-tune it first, or use predict on its embeddings."
        raise StoreError(msg) from None
    except ValueError as error:
        msg = f"'{run.path / _LABELS}' cannot be read ({error}); restore it from a copy of the run."
        raise StoreError(msg) from None
    return found


def _methods_text(run: Run, start: object, known: Target, how: Tuning) -> str:
    config = run.config
    of = "from scratch" if isinstance(start, nn.Module) else "from self-supervised weights"
    what = {None: "all blocks", 0: "the head alone"}.get(how.blocks, f"the last {how.blocks} blocks")
    votes = "; votes by the Dirichlet-multinomial likelihood of Walmsley et al. (2022)" if known.task == "votes" else ""
    versions = config["versions"]
    settings, batch = config["train"], how.batch_size
    sentences = (
        f"We trained the encoder {config['encoder']['name']} with a linear head {of} on {len(known.known):,} labelled objects",
        f"({known.task}: {', '.join(known.names) or 'standardised'}{votes}), {what}, with a factor of",
        f"{how.layer_decay:g} in learning rate from block to block, for {settings['epochs']} epochs with batches of {batch}",
        f"and a highest rate of {settings['lr']:g} (seed {settings['seed']}).",
        f"We used morphospace {versions['morphospace']} and PyTorch {versions['torch']}.",
    )
    return "# Methods\n\n" + " ".join(sentences) + "\n"
