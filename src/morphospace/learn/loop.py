"""The training loop: views, loss, step, again; stops anywhere and goes on as if it had not."""

from __future__ import annotations

import csv
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, TrainingError
from morphospace.learn.checkpoint import Progress, load_checkpoint, save_checkpoint
from morphospace.learn.data import Data
from morphospace.learn.methods.base import Batch, Loss, Method, Phase
from morphospace.learn.schedule import Schedule
from morphospace.learn.views import Collated, Views, make_view
from morphospace.runs import Run, save_tensors

__all__ = ["Loop", "Settings", "Training", "draw_batch"]


@dataclass(frozen=True)
class Loop:
    """The rarer settings of a training.

    Parameters
    ----------
    schedule : Schedule
        Of the learning rate.
    optimizer : callable, optional
        From parameter groups to an optimiser; AdamW with `weight_decay` if not given.
    weight_decay : float, >= 0
        Of weight matrices; norms and biases have none.
    clip : float, >= 0
        Largest norm of the gradient; 0 for no clipping.
    precision : {"auto", "32-true", "bf16-mixed", "16-mixed"}
        ``auto`` takes bf16 where the processor computes in it.
    accelerator : str
        As Lightning Fabric names them: ``auto``, ``cpu``, ``cuda``, ``mps``.
    devices : int, >= 1
        How many of them.
    checkpoint_minutes : float, >= 0
        A checkpoint is written when the last is older than this, and on Ctrl-C.
    tensorboard : bool
        Whether to write TensorBoard events beside ``history.csv``.
    memory_gb : float, optional
        What the prepared images may take before they are streamed; 40 % of the free memory if not given.
    """

    schedule: Schedule = field(default_factory=Schedule)
    optimizer: Callable[[list[dict[str, object]]], Optimizer] | None = None
    weight_decay: float = 1e-4
    clip: float = 5.0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    accelerator: str = "auto"
    devices: int = 1
    checkpoint_minutes: float = 5.0
    tensorboard: bool = False
    memory_gb: float | None = None


@dataclass(frozen=True)
class Settings:
    """The settings that every training has; see `train`."""

    epochs: int
    batch_size: int
    lr: float
    seed: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not 0 < self.lr < math.inf:
            msg = (
                "train needs epochs >= 1, batch_size >= 2 and lr > 0; "
                f"got {self.epochs}, {self.batch_size} and {self.lr}."
            )
            raise ConfigError(msg)


def draw_batch(block: Collated, method: Method, views: Views, generator: torch.Generator) -> Batch:
    """Draw the views that a method asks for."""
    size = views.prepare.size
    drawn = [
        make_view(block, views, generator=generator, size=round(share * size), with_flux=method.needs_flux)
        for share in method.view_sizes
    ]
    return Batch(
        views=[v.x.contiguous(memory_format=torch.channels_last) if v.x.ndim == 4 else v.x for v in drawn],
        flux=[v.flux for v in drawn if v.flux is not None],
        mask=[v.mask for v in drawn if v.mask is not None],
        sigma=block.sigma,
        rows=block.rows,
        label=block.label,
    )


class Training:
    """One training under way."""

    def __init__(
        self, run: Run, fabric: Fabric, method: Method, data: Data, views: Views, settings: Settings, loop: Loop
    ) -> None:
        self.run, self.fabric, self.method = run, fabric, method
        self.data, self.views, self.settings, self.loop = data, views, settings, loop
        self.progress = Progress()
        world = fabric.world_size
        self.batch_size = max(2, min(settings.batch_size, len(data)) // world)
        self.batches = max(1, len(data) // (self.batch_size * world))
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if world > 1 and fabric.device.type == "cuda":
            method = torch.nn.SyncBatchNorm.convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
        optimizer = self._optimizer()
        self.wrapped, self.optimizer = fabric.setup(method, optimizer)
        self._rates = [float(g["lr"]) for g in optimizer.param_groups]
        self._saved_at = time.monotonic()
        self._events: Any = None

    @property
    def _checkpoint(self) -> Any:  # noqa: ANN401
        return self.run.path / "checkpoint.pt"

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin, or take up the checkpoint of an interrupted training with the same configuration.

        Raises
        ------
        ConfigError
            If the interrupted training had another configuration.
        """
        if (self.run.path / "run.toml").is_file():
            _check_same(self.run.config, config)
        elif self.fabric.is_global_zero:
            self.run.write_config(config)
            save_tensors(self.run.path / "initial.safetensors", _encoder_state(self.method))
        if self._checkpoint.is_file():
            state = load_checkpoint(self._checkpoint)
            self.progress = state["progress"]
            self.method.load_state_dict(state["method"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["generator"])
        self._trim_history()
        if self.loop.tensorboard and self.fabric.is_global_zero:
            module = optional_import("torch.utils.tensorboard", extra="tensorboard", purpose="the TensorBoard history")
            self._events = module.SummaryWriter(self.run.path)

    def fit(self) -> None:
        """Run all phases to their end, writing weights at the end.

        Raises
        ------
        TrainingError
            If a loss is not finite; the last checkpoint stays as it was.
        """
        phases = self.method.phases()
        epochs = _phase_epochs(phases, self.settings.epochs)
        total = sum(epochs) * self.batches
        shown = self.fabric.is_global_zero and sys.stderr.isatty()
        bar = tqdm(total=total, initial=self.progress.step, unit="step", disable=not shown, desc="train")
        self.method.train()
        try:
            while self.progress.phase < len(phases):
                self._phase(phases[self.progress.phase], sum(epochs[: self.progress.phase]), epochs, bar)
                self.progress.phase += 1
        except KeyboardInterrupt:
            self._save()
            raise
        finally:
            bar.close()
            if self._events is not None:
                self._events.close()
        if self.fabric.is_global_zero:
            self._save()

    def _phase(self, phase: Phase, first_epoch: int, epochs: list[int], bar: Any) -> None:  # noqa: ANN401
        p = self.progress
        length = epochs[p.phase]
        if p.epoch == first_epoch and p.batch == 0:
            generator = self._generator(-1 - p.phase)
            self.method.on_phase_start(phase, self._batches(self._generator(-1 - p.phase), generator))
        while p.epoch < first_epoch + length:
            began, done = time.monotonic(), p.batch
            for block in self._rest_of_epoch():
                part = (p.step - first_epoch * self.batches) / (length * self.batches)
                loss = self._step(block, part, sum(epochs) * self.batches)
                for name, value in self._figures(loss).items():
                    p.sums[name] = p.sums.get(name, 0.0) + value
                p.step, p.batch = p.step + 1, p.batch + 1
                bar.update()
                bar.set_postfix(loss=f"{float(loss.total.detach()):.3f}", refresh=False)
                if time.monotonic() - self._saved_at > 60 * self.loop.checkpoint_minutes:
                    self._save()
            rate = (p.batch - done) * self.batch_size * self.fabric.world_size / (time.monotonic() - began)
            self._end_epoch(phase, rate)

    def _step(self, block: Collated, part: float, steps: int) -> Loss:
        p = self.progress
        factor = self.loop.schedule.factor(p.step, steps, self.settings.epochs)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        block = block.to(self.fabric.device)
        batch = draw_batch(block, self.method, self.views, self._generator(p.step))
        loss: Loss = self.wrapped(batch, part)
        # a device that computes ahead is waited for every 50 steps only
        if (self.fabric.device.type == "cpu" or p.step % 50 == 0) and not bool(torch.isfinite(loss.total)):
            raise TrainingError(self._explain(loss, batch))
        self.fabric.backward(loss.total)
        if self.loop.clip:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.loop.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step(loss, part)
        return loss

    def _rest_of_epoch(self) -> Iterator[Collated]:
        p, world, rank = self.progress, self.fabric.world_size, self.fabric.global_rank
        order = torch.Generator().manual_seed(_mixed(self.settings.seed, p.epoch, 1))
        for i, block in enumerate(self.data.epoch(order, self.batch_size)):
            if i // world >= self.batches:
                return
            if i % world == rank and i // world >= p.batch:
                yield block

    def _batches(self, order: torch.Generator, generator: torch.Generator) -> Iterator[Batch]:
        for block in self.data.epoch(order, self.batch_size):
            yield draw_batch(block.to(self.fabric.device), self.method, self.views, generator)

    def _generator(self, step: int) -> torch.Generator:
        # a generator for each step: a resumed training draws what the uninterrupted one would have drawn
        return torch.Generator().manual_seed(_mixed(self.settings.seed, step, 2 + self.fabric.global_rank))

    def _optimizer(self) -> Optimizer:
        groups = self.method.param_groups(self.settings.lr)
        if self.loop.optimizer is not None:
            return self.loop.optimizer(groups)
        return AdamW(groups, lr=self.settings.lr, weight_decay=self.loop.weight_decay)

    def _figures(self, loss: Loss) -> dict[str, float]:
        return {k: float(v) for k, v in {"loss": loss.total.detach(), **loss.terms, **loss.stats}.items()}

    def _end_epoch(self, phase: Phase, rate: float) -> None:
        p = self.progress
        figures = {k: v / max(1, p.batch) for k, v in p.sums.items()}
        lr = float(self.optimizer.param_groups[0]["lr"])
        p.epoch, p.batch, p.sums = p.epoch + 1, 0, {}
        if not self.fabric.is_global_zero:
            return
        row = {"epoch": p.epoch, "phase": phase.name, "lr": lr, "images_per_s": round(rate, 1), **figures}
        file = self.run.path / "history.csv"
        old = _read_history(file)
        _append_row(file, old[0] if old else [], row)
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(name, value, p.epoch)

    def _trim_history(self) -> None:
        # epochs after the checkpoint are done again; their rows would stand twice
        file = self.run.path / "history.csv"
        rows = _read_history(file)
        if rows and self.fabric.is_global_zero:
            kept = [rows[0], *(r for r in rows[1:] if r and r[0].isdigit() and int(r[0]) <= self.progress.epoch)]
            with file.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows(kept)

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            state = self.optimizer.state_dict()
            save_checkpoint(self._checkpoint, self.progress, self.method.state_dict(), state, torch.get_rng_state())
        self._saved_at = time.monotonic()

    def _explain(self, loss: Loss, batch: Batch) -> str:
        p = self.progress
        bad = [name for name, value in loss.terms.items() if not bool(torch.isfinite(value).all())]
        inputs = [i for v in batch.views for i in torch.isfinite(v).flatten(1).all(1).logical_not().nonzero()[:, 0]]
        if inputs:
            cause = f"the view of row {int(batch.rows[int(inputs[0])])} is not finite; check that image"
        elif any(not bool(torch.isfinite(w).all()) for w in self.method.parameters()):
            cause = "the weights are no longer finite; lower lr or train in precision='32-true'"
        else:
            cause = f"term {', '.join(bad) or 'total'} overflowed; lower lr or train in precision='32-true'"
        kept = (
            f"the last good state is {self._checkpoint}" if self._checkpoint.is_file() else "no checkpoint was due yet"
        )
        return f"the loss became {float(loss.total)} in epoch {p.epoch + 1}, step {p.step + 1}: {cause}; {kept}."


def _phase_epochs(phases: list[Phase], epochs: int) -> list[int]:
    shares = list(itertools.accumulate((phase.share for phase in phases), initial=0.0))
    ends = [round(share / shares[-1] * epochs) for share in shares]
    return [end - start for start, end in itertools.pairwise(ends)]


def _mixed(seed: int, number: int, stream: int) -> int:
    # numbers far apart for neighbouring seeds and steps; SplitMix64's finaliser
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + stream * 0x94D049BB133111EB) & (2**64 - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (z ^ (z >> 31)) & (2**63 - 1)


def _encoder_state(method: Method) -> dict[str, Tensor]:
    return {k: v for k, v in method.state_dict().items() if k.startswith("encoder.")}


def _read_history(file: Any) -> list[list[str]]:  # noqa: ANN401
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def _append_row(file: Any, header: list[str], row: Mapping[str, Any]) -> None:  # noqa: ANN401
    # a phase may bring new columns; the file is small and is then written anew
    names = [*header, *(k for k in row if k not in header)]
    if header == names:
        with file.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, names, restval="").writerow(row)
        return
    old = [dict(zip(header, r, strict=False)) for r in _read_history(file)[1:]]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows([*old, row])


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for table in ("encoder", "method", "preparation", "views", "train", "data"):
        before, now = old.get(table, {}), new.get(table, {})
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                msg = (
                    f"the interrupted run has {table}.{key} = {before.get(key)}, this call {now.get(key)}; "
                    "resume it unchanged, or begin another run with a new out=."
                )
                raise ConfigError(msg)
