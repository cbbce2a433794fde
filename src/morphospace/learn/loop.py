"""The training loop: views, loss, step, again; stops anywhere and goes on as if it had not."""

from __future__ import annotations

import contextlib
import csv
import itertools
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, DataError, ShapeError, TrainingError
from morphospace.learn.checkpoint import Progress, load_checkpoint, restore_random_state, save_checkpoint
from morphospace.learn.data import Data
from morphospace.learn.layers import channels_last_gradients
from morphospace.learn.methods.base import Batch, Loss, Method, Phase
from morphospace.learn.settings import Loop, Settings, check_same
from morphospace.learn.stop import Watch
from morphospace.learn.views import Collated, Views, make_view, plain_view
from morphospace.runs import Run, placing, save_tensors

__all__ = ["HeldInterrupts", "Training", "draw_batch"]

logger = logging.getLogger(__name__)
_SETTLED = 1e-3  # part of the loss by which an epoch must be better to count


def draw_batch(block: Collated, method: Method, views: Views, generator: torch.Generator) -> Batch:
    """Draw the views that a method asks for."""
    size = views.prepare.size
    drawn = [
        make_view(block, views, generator=generator, size=round(share * size), with_flux=method.needs_flux)
        for share in method.view_sizes
    ]
    seen = [v.x for v in drawn]
    if method.needs_plain:
        seen.append(plain_view(block, views.prepare))
    return Batch(
        views=[x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in seen],
        flux=[v.flux for v in drawn if v.flux is not None],
        mask=[v.mask for v in drawn if v.mask is not None],
        sigma=block.sigma,
        rows=block.rows,
        label=block.label,
    )


class HeldInterrupts:
    """Ctrl-C waits for the end of the step, so that a whole state can be saved; pressed once more it does not wait."""

    def __enter__(self) -> Self:
        self._pressed = False
        before = signal.getsignal(signal.SIGINT)
        # only the main thread may ask for signals; one that is ignored (nohup) stays so
        self._before = before if callable(before) and threading.current_thread() is threading.main_thread() else None
        if self._before is not None:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def raise_if_pressed(self) -> None:
        """Raise the KeyboardInterrupt that was held."""
        if self._pressed:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True


class Training:
    """One training under way."""

    def __init__(
        self, run: Run, fabric: Fabric, method: Method, data: Data, views: Views, settings: Settings, loop: Loop
    ) -> None:
        self.run, self.fabric, self.method = run, fabric, method
        self.data, self.views, self.settings, self.loop = data, views, settings, loop
        self.progress = Progress()
        method.stretch = views.prepare.stretch
        world = fabric.world_size
        self.batch_size = max(2, min(settings.batch_size, len(data)) // world)
        self.batches = max(1, len(data) // (self.batch_size * world))
        if not any(weight.ndim == 5 for weight in method.parameters()):  # of a 3-D network torch takes no such order
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if world > 1 and fabric.device.type == "cuda":
            method = torch.nn.SyncBatchNorm.convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
        optimizer = self._optimizer()
        self.wrapped, self.optimizer = fabric.setup(method, optimizer)
        self._rates = [float(g["lr"]) for g in optimizer.param_groups]
        self._saved_at = time.monotonic()
        self._new = False  # begun by this call, not resumed
        self._whole = True  # between steps: weights, optimiser and progress belong together
        self._events: Any = None
        self._watch: Watch | None = None
        self._exact = torch.float32 if fabric.device.type == "mps" else torch.float64  # which Apple's GPUs lack
        self._sums: dict[str, Tensor] = {}

    @property
    def _checkpoint(self) -> Path:
        return self.run.path / "checkpoint.pt"

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin, or take up the checkpoint of an interrupted training with the same configuration.

        Raises
        ------
        ConfigError
            If the interrupted training had another configuration.
        StoreError
            If its checkpoint cannot be read, or the disk is full.
        """
        board = None
        if self.loop.tensorboard and self.fabric.is_global_zero:
            board = optional_import("torch.utils.tensorboard", extra="tensorboard", purpose="the TensorBoard history")
        begun = (self.run.path / "run.toml").is_file()
        self.fabric.barrier()
        if begun:
            check_same(self.run.config, config)
            state = load_checkpoint(self._checkpoint)
            self.progress = state["progress"]
            self.method.load_state_dict(state["method"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
            self._sums = {
                name: torch.tensor(v, dtype=self._exact, device=self.fabric.device)
                for name, v in self.progress.sums.items()
            }
            restore_random_state(state)
        elif self.fabric.is_global_zero:
            # the configuration comes last: where it is, the weights of the start are, and no other start can slip in
            save_tensors(self.run.path / "initial.safetensors", _encoder_state(self.method))
            self._save()
            self.run.write_config(config)
        self._new = not begun
        self._trim_history()
        if board is not None:
            self._events = board.SummaryWriter(self.run.path)

    def fit(self) -> None:
        """Run all phases to their end, writing weights at the end.

        Raises
        ------
        TrainingError
            If a loss or a weight is not finite; the last checkpoint stays as it was.
        """
        phases = self.method.phases()
        epochs = _phase_epochs(phases, self.settings.epochs)
        total = sum(epochs) * self.batches
        lacking = [phase.name for phase, n in zip(phases, epochs, strict=True) if not n]
        if lacking and self.fabric.is_global_zero:
            logger.warning(
                "%d epochs are too few for the %d phases of %s; without any: %s. Give more epochs.",
                *(self.settings.epochs, len(phases), type(self.method).__name__, ", ".join(lacking)),
            )
        shown = self.fabric.is_global_zero and sys.stderr.isatty()
        bar = tqdm(total=total, initial=self.progress.step, unit="step", disable=not shown, desc="train")
        self.method.train()
        try:
            with HeldInterrupts() as interrupts, channels_last_gradients(self.method):
                while self.progress.phase < len(phases) and not self._patience_lost:
                    first = sum(epochs[: self.progress.phase])
                    self._phase(phases[self.progress.phase], first, epochs, bar, interrupts)
                    self.progress.phase += 1
        except KeyboardInterrupt:
            if self._whole:
                self._save()
            raise
        except (ConfigError, DataError, ShapeError):
            if self._new and not self.progress.step:
                self._withdraw()
            raise
        finally:
            bar.close()
            if self._events is not None:
                self._events.close()
        if self._watch is not None:
            self.method.load_state_dict(load_file(self._best))
        self._save()

    def _withdraw(self) -> None:
        """Take away the beginnings of a run that was refused at once, so that the mended call can have its folder."""
        if self.fabric.is_global_zero:
            if self._events is not None:
                self._events.close()
            for pattern in ("run.toml", "checkpoint.pt", "initial.safetensors", "events.out.tfevents.*"):
                for file in self.run.path.glob(pattern):
                    file.unlink()
            with contextlib.suppress(OSError):  # something else is in it
                self.run.path.rmdir()

    def watch(self, watch: Watch) -> None:
        """Stop by a figure of the space, and end with the weights that were best in it."""
        self._watch = watch

    @property
    def _best(self) -> Path:
        return self.run.path / "best.safetensors"

    @property
    def _patience_lost(self) -> bool:
        return self._watch is not None and self.progress.waited >= self._watch.stop.patience

    def _look(self) -> dict[str, float]:
        """Measure the figure of the stopping rule, and keep the weights where it is the best so far."""
        if self._watch is None:
            return {}
        # one figure for all processes: they must stop together
        value, p = self.fabric.broadcast(self._watch.measure(self.method)), self.progress
        if value > p.best:
            p.best, p.waited = value, 0
            if self.fabric.is_global_zero:
                save_tensors(self._best, self.method.state_dict())
        else:
            p.waited += 1
        return {f"stop_{self._watch.stop.figure}": value}

    def _phase(
        self,
        phase: Phase,
        first_epoch: int,
        epochs: list[int],
        bar: Any,  # noqa: ANN401
        interrupts: HeldInterrupts,
    ) -> None:
        p = self.progress
        length = epochs[p.phase]
        if p.started < p.phase:
            self._whole = False
            generator = self._generator(-1 - p.phase)
            self.method.on_phase_start(phase, self._batches(self._generator(-1 - p.phase), generator))
            self._agree()
            p.began, p.least, p.unimproved = p.epoch, float("inf"), 0
            p.started, self._whole = p.phase, True
        while p.epoch < p.began + length and not self._patience_lost and not self._settled(phase):
            began, done = time.monotonic(), p.batch
            for block in self._rest_of_epoch():
                done_here = p.step - p.began * self.batches
                self._whole = False
                # a phase that ended before its share leaves its place in the schedule of the rate empty
                at = first_epoch * self.batches + done_here
                loss = self._step(block, done_here / (length * self.batches), at, sum(epochs) * self.batches)
                self._add_up(loss)
                p.step, p.batch, self._whole = p.step + 1, p.batch + 1, True
                bar.update()
                if self._may_wait:
                    bar.set_postfix(loss=f"{float(loss.total.detach()):.3f}", refresh=False)
                interrupts.raise_if_pressed()
                if time.monotonic() - self._saved_at > 60 * self.loop.checkpoint_minutes:
                    self._save()
            rate = (p.batch - done) * self.batch_size * self.fabric.world_size / max(time.monotonic() - began, 1e-9)
            self._end_epoch(phase, rate)

    def _settled(self, phase: Phase) -> bool:
        return bool(phase.settle) and self.progress.unimproved >= phase.settle

    def _agree(self) -> None:
        """Give every process what the first has made of a phase's start."""
        if self.fabric.world_size > 1:
            for tensor in self.method.state_dict().values():
                tensor.copy_(self.fabric.broadcast(tensor))

    def _step(self, block: Collated, part: float, at: int, steps: int) -> Loss:
        p = self.progress
        factor = self.loop.schedule.factor(at, steps, self.settings.epochs)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        block = block.to(self.fabric.device)
        batch = draw_batch(block, self.method, self.views, self._generator(p.step))
        loss: Loss = self.wrapped(batch, part)
        if self._may_wait and not bool(torch.isfinite(loss.total)):
            raise TrainingError(self._explain(loss, batch))
        self.fabric.backward(loss.total)
        if self.loop.clip:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.loop.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step(loss, part)
        return loss

    @property
    def _may_wait(self) -> bool:
        # a device that computes ahead is waited for every 50 steps only
        return self.fabric.device.type == "cpu" or self.progress.step % 50 == 0

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

    def _add_up(self, loss: Loss) -> None:
        # on the device: reading a number from it would wait for it
        for name, value in {"loss": loss.total, **loss.terms, **loss.stats}.items():
            value = torch.as_tensor(value, device=self.fabric.device).detach().to(self._exact)
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def _sums_so_far(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._sums.items()}

    def _end_epoch(self, phase: Phase, rate: float) -> None:
        p, self._whole = self.progress, False
        figures = {k: v / max(1, p.batch) for k, v in self._sums_so_far().items()}
        lr = float(self.optimizer.param_groups[0]["lr"])
        p.epoch, p.batch, self._sums = p.epoch + 1, 0, {}
        if phase.settle:
            self._note_loss(self.fabric.broadcast(figures["loss"]))
        figures |= self._look()
        if self.fabric.is_global_zero:
            row = {"epoch": p.epoch, "phase": phase.name, "lr": lr, "images_per_s": round(rate, 1), **figures}
            file = self.run.path / "history.csv"
            old = _read_history(file)
            _append_row(file, old[0] if old else [], row)
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(name, value, p.epoch)
        self._whole = True

    def _note_loss(self, loss: float) -> None:
        p = self.progress
        if loss < p.least - _SETTLED * abs(p.least if math.isfinite(p.least) else loss):
            p.least, p.unimproved = loss, 0
        else:
            p.unimproved += 1

    def _trim_history(self) -> None:
        # epochs after the checkpoint are done again; their rows would stand twice
        file = self.run.path / "history.csv"
        rows = _read_history(file)
        if rows and self.fabric.is_global_zero:
            _write_history(file, rows[: 1 + self.progress.epoch])

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            weights = self.method.state_dict()
            if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
                raise TrainingError(self._stopped("the weights are no longer finite", "a step was too large"))
            self.progress.sums = self._sums_so_far()
            scaler = self.fabric.strategy.precision.state_dict()
            save_checkpoint(self._checkpoint, self.progress, weights, self.optimizer.state_dict(), scaler)
        self._saved_at = time.monotonic()

    def _explain(self, loss: Loss, batch: Batch) -> str:
        bad = [name for name, value in loss.terms.items() if not bool(torch.isfinite(value).all())]
        inputs = [i for v in batch.views for i in torch.isfinite(v).flatten(1).all(1).logical_not().nonzero()[:, 0]]
        if inputs:
            cause = f"the view of row {int(batch.rows[int(inputs[0])])} is not finite"
            return self._stopped(f"the loss became {float(loss.total.detach())}", cause, "check that image")
        if any(not bool(torch.isfinite(w).all()) for w in self.method.parameters()):
            cause = "the weights are no longer finite"
        else:
            cause = f"term {', '.join(bad) or 'total'} overflowed"
        return self._stopped(f"the loss became {float(loss.total.detach())}", cause)

    def _stopped(self, what: str, cause: str, advice: str = "lower lr or train in precision='32-true'") -> str:
        p = self.progress
        return (
            f"{what} in epoch {p.epoch + 1}, step {p.step + 1}: {cause}; {advice}. "
            f"The last good state is {self._checkpoint}."
        )


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


def _read_history(file: Path) -> list[list[str]]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def _append_row(file: Path, header: list[str], row: Mapping[str, Any]) -> None:
    # a phase may bring new columns; the file is small and is then written anew
    names = [*header, *(k for k in row if k not in header)]
    if header == names:
        with file.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, names, restval="").writerow(row)
        return
    old = [dict(zip(header, r, strict=False)) for r in _read_history(file)[1:]]
    _write_history(file, [names, *([r.get(name, "") for name in names] for r in [*old, row])])


def _write_history(file: Path, rows: Iterable[Iterable[Any]]) -> None:
    with placing(file) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
