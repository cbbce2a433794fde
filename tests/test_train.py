"""Training: stops anywhere and goes on as if it had not, says why it cannot go on, and leaves a whole run behind."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
import threading
import tomllib
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from morphospace.errors import ConfigError, DataError, ShapeError, StoreError, TrainingError
from morphospace.learn import loop as loop_module
from morphospace.learn import train as train_module
from morphospace.learn.checkpoint import load_checkpoint
from morphospace.learn.data import open_data
from morphospace.learn.doctor import doctor
from morphospace.learn.encoders import encoder
from morphospace.learn.health import Health, Verdict
from morphospace.learn.loop import HeldInterrupts
from morphospace.learn.memory import keep_freed_memory
from morphospace.learn.methods import BYOL, JOINT, Loss, Method, Phase, SimCLR
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.schedule import Schedule
from morphospace.learn.stop import Stop, Watch
from morphospace.learn.views import plain_view, views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.simulate import simulate, write_sky
from morphospace.sky.stretch import Stretch
from small_runs import (
    BATCH,
    EAGER,
    EPOCHS,
    LOOKS,
    PLAIN,
    STEPS,
    N,
    Own,
    assert_same,
    failing,
    fit,
    history,
    kill_at_mark,
    process,
    small,
    tiny,
    train_until,
)


@pytest.fixture(autouse=True)
def judged(monkeypatch):
    """The verdict on health has its own tests and takes longer than these trainings."""
    calls = []

    def doctor(run, data, **options):
        calls.append((run, data, options))
        return Health(Verdict.UNKNOWN, ("not looked at",), {})

    monkeypatch.setattr(train_module, "doctor", doctor)
    return calls


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The uninterrupted training that others must equal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
        return fit(tmp_path_factory.mktemp("whole") / "run")


def interrupted(out, error, *, at, where="forward", **options):
    method = failing(small(options.pop("kind", BYOL), options.pop("network", None)), error, at=at, where=where)
    with pytest.raises(type(error)):
        fit(out, method, **{"loop": EAGER, **options})
    assert not Run(out).finished


# going on as if nothing had been


@pytest.mark.parametrize(
    "error, at",
    [
        (KeyboardInterrupt(), 0),
        (KeyboardInterrupt(), 1),
        (KeyboardInterrupt(), STEPS - 1),
        (RuntimeError("the machine is gone"), 4),
        (SystemExit(1), 4),
    ],
    ids=repr,
)
def test_interrupted_and_resumed_equals_uninterrupted(error, at, whole, tmp_path):
    interrupted(tmp_path / "run", error, at=at)
    other = small(seed=99)  # another start: that of the interrupted run counts
    assert_same(fit(tmp_path / "run", other, resume=True), whole)


@pytest.mark.parametrize("at, minutes", [(0, 0.0), (2, 0.0), (3, 60.0), (STEPS - 1, 0.0)])
def test_a_step_cut_in_half_is_done_again(at, minutes, whole, tmp_path):
    """Weights have moved, the target has not: such a state is never saved."""
    loop = replace(EAGER, checkpoint_minutes=minutes)
    interrupted(tmp_path / "run", KeyboardInterrupt(), at=at, where="after_step", loop=loop)
    assert_same(fit(tmp_path / "run", resume=True), whole)


def test_interrupted_again_and_again(whole, tmp_path):
    for seed, at in enumerate((2, 1, 3)):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "run", failing(small(seed=seed), KeyboardInterrupt(), at=at), resume=True, loop=EAGER)
    assert_same(fit(tmp_path / "run", resume=True), whole)


def test_before_the_first_checkpoint_is_due_the_start_is_kept(whole, tmp_path):
    interrupted(tmp_path / "run", RuntimeError("gone"), at=5, loop=PLAIN)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["progress"].step == 0
    assert_same(fit(tmp_path / "run", small(seed=4), resume=True), whole)


@pytest.mark.parametrize("leftover", [[], ["initial.safetensors"], ["initial.safetensors", "checkpoint.pt"]])
def test_killed_before_it_began(leftover, whole, tmp_path):
    (tmp_path / "run").mkdir()
    for name in leftover:
        (tmp_path / "run" / name).write_bytes(b"half")
    assert_same(fit(tmp_path / "run", resume=True), whole)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "owner, name", [(loop_module, "save_tensors"), (loop_module, "save_checkpoint"), (Run, "write_config")]
)
def test_killed_at_any_write_of_its_start(owner, name, when, whole, tmp_path, monkeypatch):
    original = getattr(owner, name)

    def killed(*args):
        if when == "after":
            original(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "run")
    begun = (tmp_path / "run" / "run.toml").exists()
    other = small(seed=5 if begun else 0)  # where it has begun, its own start counts
    assert_same(fit(tmp_path / "run", other, resume=True), whole)


def test_killed_while_it_ended(whole, tmp_path, monkeypatch):
    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "finish_run", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "run")
    assert not Run(tmp_path / "run").finished
    assert_same(fit(tmp_path / "run", resume=True), whole)


def test_killed_before_its_verdict(judged, tmp_path, monkeypatch):
    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "doctor", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "run")
    run = fit(tmp_path / "run", failing(small(), AssertionError(), at=0), resume=True)
    assert [call[0] for call in judged] == [run]


@pytest.mark.parametrize(
    "name, network",
    [*((name, lambda: tiny(dropout=0.3)) for name in JOINT), ("BYOL", lambda: encoder("light"))],
    ids=[*JOINT, "BYOL of light"],
)
def test_every_method_goes_on_exactly(name, network, tmp_path):
    """Dropout draws from torch's own generator, whose state must come back too."""
    kind = JOINT[name]
    torch.manual_seed(0)
    first, other = network(), network()
    other.load_state_dict(first.state_dict())
    one = fit(tmp_path / "one", small(kind, first))
    torch.rand(7)
    interrupted(tmp_path / "two", KeyboardInterrupt(), at=5, kind=kind, network=other)
    torch.manual_seed(12345)
    assert_same(fit(tmp_path / "two", small(kind, network(), seed=5), resume=True), one)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": lambda groups: torch.optim.SGD(groups, momentum=0.9)},
        {"schedule": Schedule("exponential", gamma=0.5)},
        {"schedule": Schedule("constant", warmup=0.5), "clip": 0.0},
        {"precision": "bf16-mixed"},
    ],
    ids=["SGD", "exponential", "constant", "bf16"],
)
def test_every_setting_goes_on_exactly(options, tmp_path):
    one = fit(tmp_path / "one", loop=replace(PLAIN, **options))
    interrupted(tmp_path / "two", KeyboardInterrupt(), at=5, loop=replace(EAGER, **options))
    assert_same(fit(tmp_path / "two", resume=True, loop=replace(PLAIN, **options)), one)


@pytest.mark.parametrize(
    "figures, epochs, where, at",
    [
        ([1.0, 3.0, 2.0], 3, "forward", 4),
        ([1.0, 3.0, 2.0], 3, "measure", 1),
        ([3.0, 1.0, 1.0], 2, "forward", 5),
        ([3.0, 1.0, 1.0], 2, "measure", 0),
    ],
)
def test_a_training_that_stops_early_goes_on_exactly(figures, epochs, where, at, tmp_path, monkeypatch):
    seen: dict[float, float] = {}
    breaks = []

    def measure(_watch, method):
        """A figure that depends on the weights alone, as every figure does."""
        if breaks and len(seen) == breaks[0]:
            breaks.clear()
            raise KeyboardInterrupt
        return seen.setdefault(float(method.encoder[0].weight.detach().double().sum()), figures[len(seen) % 3])

    monkeypatch.setattr(Watch, "measure", measure)
    loop = replace(EAGER, stop=Stop("rank", patience=1))
    one = fit(tmp_path / "one", loop=loop)
    assert len(history(one)) == epochs
    seen.clear()
    breaks += [at] if where == "measure" else []
    method = failing(small(), KeyboardInterrupt(), at=at if where == "forward" else STEPS)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two", method, loop=loop)
    assert_same(fit(tmp_path / "two", resume=True, loop=loop), one)
    assert not list((tmp_path / "two").glob("best*"))


def test_a_sampler_of_ones_own_goes_on_exactly(tmp_path):
    def twice(n, generator):
        return torch.randint(n // 2, (n,), generator=generator)

    loop = replace(EAGER, sampler=twice)
    one = fit(tmp_path / "one", loop=loop)
    interrupted(tmp_path / "two", KeyboardInterrupt(), at=4, loop=loop)
    assert_same(fit(tmp_path / "two", resume=True, loop=loop), one)


def test_a_training_begun_in_memory_goes_on_streamed(tmp_path, monkeypatch):
    data = Own(sides=(12,))
    one = fit(tmp_path / "one", data=data)
    interrupted(tmp_path / "two", KeyboardInterrupt(), at=4, data=data)
    monkeypatch.setattr("morphospace.learn.data.MEMORY_SHARE", 0.0)
    assert_same(fit(tmp_path / "two", data=data, resume=True), one)


def test_two_trainings_are_equal_and_other_seeds_differ(whole, tmp_path):
    method = small()
    torch.rand(99)  # what others draw decides neither the order nor the views
    assert_same(fit(tmp_path / "same", method), whole)
    other = fit(tmp_path / "other", seed=2)
    assert torch.equal(other.tensors("initial")["encoder.0.weight"], whole.tensors("initial")["encoder.0.weight"])
    assert not torch.equal(other.tensors()["encoder.0.weight"], whole.tensors()["encoder.0.weight"])


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: a shell's background job, as CI may be, has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("at", [1, 4, STEPS - 1])
def test_ctrl_c_waits_for_the_end_of_the_step(at, whole, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    method, calls = small(), [0]
    original = method.forward

    def pressed(*args):
        calls[0] += 1
        if calls[0] == at + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args)

    method.forward = pressed
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", method)
    assert signal.getsignal(signal.SIGINT) == before
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["progress"].step == at + 1
    assert_same(fit(tmp_path / "run", resume=True), whole)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_pressed_twice_does_not_wait(whole, tmp_path):
    method = small()
    original = method.after_step

    def pressed(*args):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return original(*args)

    method.after_step = pressed
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", method)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["progress"].step == 0
    assert_same(fit(tmp_path / "run", resume=True), whole)


def test_an_ignored_interrupt_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with HeldInterrupts() as held:
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
            held.raise_if_pressed()
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread(whole, tmp_path):
    """Signals belong to the main thread; a notebook's or a server's thread trains all the same."""
    runs = []
    thread = threading.Thread(target=lambda: runs.append(fit(tmp_path / "run")))
    thread.start()
    thread.join()
    assert_same(runs[0], whole)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
@pytest.mark.parametrize("where, at", [("forward", 1), ("after_step", 5)])
def test_killed_and_resumed_equals_uninterrupted(where, at, whole, tmp_path):
    kill_at_mark(process(train_until, tmp_path / "run", at, where, tmp_path / "mark"), tmp_path / "mark")
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["progress"].step == at
    assert_same(fit(tmp_path / "run", small(seed=3), resume=True), whole)


# what may and may not change on the way


CHANGES = {
    "train.epochs": {"epochs": 5},
    "train.batch_size": {"batch_size": 5},
    "train.lr": {"lr": 0.02},
    "train.seed": {"seed": 3},
    "views.flip": {"views": replace(LOOKS, flip=False)},
    "preparation.size": {"views": views(size=9, scale="pixel")},
    "preparation.stretch": {"views": views(size=8, scale="pixel", stretch=Stretch("sqrt"))},
    "method.ema_decay": {"method": lambda: small(ema_decay=0.9)},
    "method.ema_schedule": {"method": lambda: small(ema_schedule="constant")},
    "method.name": {"method": lambda: small(SimCLR)},
    "encoder.name": {"method": lambda: small(network=encoder("light"))},
    "layer": {"method": lambda: small(layer=0)},
    "loop.schedule": {"loop": replace(PLAIN, schedule=Schedule("constant"))},
    "loop.clip": {"loop": replace(PLAIN, clip=1.0)},
    "loop.weight_decay": {"loop": replace(PLAIN, weight_decay=0.0)},
    "loop.optimizer": {"loop": replace(PLAIN, optimizer=torch.optim.SGD)},
    "loop.precision": {"loop": replace(PLAIN, precision="bf16-mixed")},
    "data.rows": {"data": Own(N + 1)},
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    out = tmp_path_factory.mktemp("begun") / "run"
    interrupted(out, KeyboardInterrupt(), at=1)
    return Run(out)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_another_setting_is_refused_with_its_name(name, finished, whole, begun):
    options = dict(CHANGES[name])
    method = options.pop("method", small)()
    with pytest.raises(ConfigError, match=rf"the interrupted run has {name} = .*, this call .*; resume it unchanged"):
        fit((whole if finished else begun).path, method, resume=True, **options)


def test_what_changes_nothing_may_change(whole, tmp_path):
    interrupted(tmp_path / "run", KeyboardInterrupt(), at=3)
    loop = replace(PLAIN, checkpoint_minutes=3.0, device="cpu" if torch.cuda.is_available() else "auto")
    assert_same(fit(tmp_path / "run", resume=True, loop=loop), whole)


def test_a_store_may_move_but_not_change(tmp_path):
    sky = simulate("disc", 12, size=10, seed=0)
    store = write_sky(sky, tmp_path / "a.cutouts")
    for out in ("one", "two"):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / out, failing(small(), KeyboardInterrupt(), at=1), data=store)
    moved = (tmp_path / "a.cutouts").rename(tmp_path / "b.cutouts")
    assert fit(tmp_path / "one", data=Cutouts.open(moved), resume=True).finished
    other = write_sky(simulate("disc", 12, size=10, seed=1), tmp_path / "c.cutouts")
    with pytest.raises(ConfigError, match=r"the interrupted run has data\.fingerprint"):
        fit(tmp_path / "two", data=other, resume=True)


def test_a_finished_run_is_given_back_as_it_is(whole):
    before = {p: p.stat().st_mtime_ns for p in whole.path.iterdir()}
    again = fit(whole.path, failing(small(), AssertionError(), at=0), resume=True)
    assert again == whole
    assert {p: p.stat().st_mtime_ns for p in whole.path.iterdir()} == before


def test_a_folder_that_is_there_is_not_trained_into(whole, tmp_path):
    with pytest.raises(StoreError, match="exists; give another out=, or go on with it: resume=True, morphospace train"):
        fit(whole.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="exists"):
        fit(tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    assert fit(tmp_path / "empty", epochs=1).finished


@pytest.mark.parametrize("damage", ["truncated", "missing", "other"])
def test_a_damaged_checkpoint_is_named(damage, tmp_path):
    interrupted(tmp_path / "run", KeyboardInterrupt(), at=3)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    if damage == "missing":
        checkpoint.unlink()
    else:
        checkpoint.write_bytes(checkpoint.read_bytes()[:300] if damage == "truncated" else b"SIMPLE  =")
    with pytest.raises(StoreError, match=r"checkpoint '.*checkpoint.pt' cannot be read \(.*new out="):
        fit(tmp_path / "run", resume=True)


def train_on_a_full_disk(out, limit):
    """Files may not grow beyond a limit, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        fit(out, loop=EAGER)
    except StoreError as error:
        with (out.parent / "said.txt").open("w") as said:
            said.write(str(error))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file size limits of Linux")
def test_a_full_disk_keeps_the_last_checkpoint(whole, tmp_path):
    interrupted(tmp_path / "run", KeyboardInterrupt(), at=3)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    kept = checkpoint.read_bytes()
    child = process(train_on_a_full_disk, tmp_path / "new", 3000)
    child.start()
    child.join(60)
    said = (tmp_path / "said.txt").read_text()
    assert said.startswith("cannot write")
    assert said.endswith("make room and go on with resume=True.")
    assert not list((tmp_path / "new").glob("*.tmp"))
    assert_same(fit(tmp_path / "new", resume=True), whole)
    assert checkpoint.read_bytes() == kept


# losses that are not finite


class Breaks(BYOL):
    """A method of one's own that gives NaN at a step."""

    at: ClassVar = 4
    how: ClassVar = "loss"

    def __init__(self, encoder, *, projection_size=4, hidden_size=8):
        super().__init__(encoder, projection_size=projection_size, hidden_size=hidden_size)
        self.calls = 0

    def forward(self, batch, progress):
        loss = super().forward(batch, progress)
        self.calls += 1
        if self.calls != self.at + 1:
            return loss
        if self.how == "loss":
            return Loss(loss.total * math.nan, {**loss.terms, "mine": loss.total.detach() * math.nan}, loss.stats)
        # a finite loss with an infinite gradient
        zero = (self.predictor[0].weight * 0).sum()
        return loss._replace(total=loss.total + torch.sqrt(zero) * 1.0)


def finite(state):
    return all(bool(torch.isfinite(t).all()) for t in state.values())


@pytest.mark.parametrize("eager", [False, True])
def test_a_loss_that_is_not_a_number_stops_with_its_cause(eager, tmp_path):
    with pytest.raises(TrainingError) as caught:
        fit(tmp_path / "run", small(Breaks), loop=EAGER if eager else PLAIN)
    said = str(caught.value)
    assert said.startswith("the loss became nan in epoch 2, step 5: term mine overflowed; lower lr")
    assert said.endswith(f"The last good state is {tmp_path / 'run' / 'checkpoint.pt'}.")
    kept = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert kept["progress"].step == (4 if eager else 0)
    assert finite(kept["method"])
    assert not Run(tmp_path / "run").finished


@pytest.mark.parametrize("at", [2, STEPS - 1])
def test_weights_that_are_not_finite_are_never_kept(at, tmp_path, monkeypatch):
    """The loss was finite and its gradient not: the weights break after the step, the last one too."""
    monkeypatch.setattr(Breaks, "how", "gradient")
    monkeypatch.setattr(Breaks, "at", at)
    with pytest.raises(TrainingError, match=r"the weights are no longer finite in epoch \d, step \d+: .*lower lr"):
        fit(tmp_path / "run", small(Breaks), loop=EAGER)
    kept = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert kept["progress"].step == at
    assert finite(kept["method"])
    assert not Run(tmp_path / "run").finished


@pytest.mark.parametrize("optimizer", [None, torch.optim.SGD], ids=["AdamW", "SGD"])
def test_a_learning_rate_that_is_far_too_large(optimizer, tmp_path):
    loop = replace(EAGER, optimizer=optimizer, clip=0.0, schedule=Schedule("constant", warmup=0.0))
    with pytest.raises(TrainingError, match="lower lr or train in precision='32-true'"):
        fit(tmp_path / "run", lr=1e30, loop=loop)
    assert finite(load_checkpoint(tmp_path / "run" / "checkpoint.pt")["method"])


@pytest.mark.parametrize("units", ["range", "none", "noise"])
@pytest.mark.parametrize("kind", ["asinh", "percentile"])
def test_whatever_is_in_the_files_the_network_sees_numbers(units, kind, tmp_path):
    data = Own()
    data.images[0][:] = np.nan
    data.images[1][0, 2:4, 3] = np.nan
    data.images[2][0, 5, 5] = np.inf
    data.images[3][:] = 3.0
    data.images[4] = -data.images[4]
    method, seen = small(), []
    original = method.forward

    def watched(batch, progress):
        seen.extend(v for v in (*batch.views, batch.sigma))
        return original(batch, progress)

    method.forward = watched
    looks = replace(LOOKS, prepare=replace(LOOKS.prepare, units=units, stretch=Stretch(kind)))
    run = fit(tmp_path / "run", method, data=data, views=looks, batch_size=N, epochs=2)
    assert len(seen) == 6
    assert all(bool(torch.isfinite(v).all()) for v in seen)
    assert all(math.isfinite(float(row["loss"])) for row in history(run))


def test_an_image_that_makes_an_infinite_view_is_named(tmp_path):
    data = Own()
    data.images[7] *= 1e30
    looks = replace(LOOKS, prepare=replace(LOOKS.prepare, units="none", stretch=Stretch("linear", a=1e-20)))
    with pytest.raises(TrainingError, match="the view of row 7 is not finite; check that image"):
        fit(tmp_path / "run", data=data, views=looks)


# what is left behind


def test_the_run_says_what_it_is(whole):
    config = tomllib.loads((whole.path / "run.toml").read_text())
    assert config == whole.config
    assert config["bands"] == 1
    assert config["encoder"] == {"name": "Sequential"}
    assert config["method"]["name"] == "BYOL"
    assert config["method"]["projection_size"] == 4
    assert config["method"]["ema_schedule"] == "cosine"
    assert config["train"] == {"epochs": EPOCHS, "batch_size": BATCH, "lr": 1e-2, "seed": 1}
    assert config["loop"]["precision"] == "32-true"
    assert config["data"] == {"rows": N}
    assert set(config["versions"]) == {"morphospace", "torch", "numpy", "astropy"}
    assert preparation_of(whole) == LOOKS.prepare
    names = {p.name for p in whole.path.iterdir()}
    assert names == {
        "METHODS.md",
        "history.csv",
        "initial.safetensors",
        "reference.safetensors",
        "run.toml",
        "weights.safetensors",
    }


def test_the_paragraph_for_the_paper(tmp_path):
    torch.manual_seed(0)
    method = SimCLR(encoder("light", bands=2), projection_size=4, hidden_size=8)
    run = fit(
        tmp_path / "run", method, data=Own(bands=2), views=replace(LOOKS, prepare=replace(LOOKS.prepare, size=16))
    )
    text = (run.path / "METHODS.md").read_text()
    for said in (
        "the encoder light without labels with SimCLR (Chen et al. 2020) on 20 images in 2 bands, for 3 epochs",
        "batches of 6 and a highest learning rate of 0.01 (seed 1)",
        "16 x 16 pixels (scale: pixel) in units 'range'",
        "stretch 'asinh' (a = 0.1)",
        f"PyTorch {torch.__version__}",
        "@inproceedings{chen2020simclr",
    ):
        assert said in text.replace("\n", " ")


def test_the_history_has_a_row_for_each_epoch(whole):
    rows = history(whole)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {row["phase"] for row in rows} == {"train"}
    assert all(
        math.isfinite(float(row[k])) for row in rows for k in ("loss", "predict", "redundancy", "mean_cosine", "lr")
    )
    assert all(float(row["images_per_s"]) > 0 for row in rows)
    for row in rows:
        assert float(row["loss"]) == pytest.approx(float(row["predict"]) + float(row["redundancy"]), rel=1e-4)


def test_the_weights_that_it_began_with_are_kept(whole):
    expected = small().encoder.state_dict()
    initial = whole.tensors("initial")
    assert {k.removeprefix("encoder.") for k in initial} == set(expected)
    for key, value in expected.items():
        assert torch.equal(initial[f"encoder.{key}"], value)


def test_a_trained_method_is_rebuilt_with_its_weights(tmp_path):
    network = encoder("resnet18", last_layer=2, stacksize=3)
    method = small(network=network, layer="layer1", momentum=False)
    run = fit(tmp_path / "run", method, epochs=1)
    again = load_method(run)
    assert type(again) is BYOL
    assert not again.training
    assert again.target is None
    assert again.dim == 64
    x = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(again.outputs(x)["vector"], method.eval().outputs(x)["vector"])
    torch.testing.assert_close(again.projections(x), method.projections(x))


def test_the_reference_describes_the_training_vectors(whole):
    method = load_method(whole, network=tiny())
    block = open_data(Own(), LOOKS.prepare).rows(range(N))
    with torch.no_grad():
        vectors = method.encoder(plain_view(block, LOOKS.prepare))
    reference = whole.tensors("reference")
    torch.testing.assert_close(reference["mean"], vectors.mean(dim=0))
    assert reference["precision"].shape == (5, 5)
    assert len(reference["quantiles"]) == 1001


def test_events_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    run = fit(tmp_path / "run", loop=replace(PLAIN, tensorboard=True))
    events = list(run.path.glob("events.out.tfevents.*"))
    assert len(events) == 1
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    tags = {v.tag for event in EventFileLoader(str(events[0])).Load() for v in event.summary.value}
    assert {"loss", "mean_cosine"} <= tags


# parts of a user's own


class Means(Method):
    """The shortest method: vectors of two views shall agree."""

    paper = "nobody 2026"

    def __init__(self, encoder, *, weight=1.0, centre=None):
        super().__init__(encoder)
        self.weight = weight
        self.centre = centre
        self.head = nn.Linear(self.dim, 3)

    def forward(self, batch, progress):
        z1, z2 = (self.head(self.encoder(v)) for v in self.two_views(batch))
        total = self.weight * (z1 - z2).square().mean() + (1 - z1.std(dim=0)).square().mean()
        return Loss(total, {}, {"progress": torch.tensor(progress)})


def test_an_own_method_trains_without_registering(tmp_path):
    run = fit(tmp_path / "run", Means(tiny(), weight=2.0, centre=np.zeros(3)))
    assert run.config["method"] == {"name": "Means", "weight": 2.0, "centre": "ndarray"}
    assert float(history(run)[-1]["loss"]) < float(history(run)[0]["loss"])
    assert type(load_method(run, network=tiny())) is Method
    with pytest.raises(ConfigError, match=r"has an encoder of your own \(Sequential\); pass it as encoder="):
        load_method(run)


def test_an_own_loss_is_used_and_named(tmp_path):
    def angular(prediction, target):
        return torch.acos(torch.cosine_similarity(prediction, target).clamp(-0.99, 0.99))

    run = fit(tmp_path / "run", small(loss=angular), loop=PLAIN)
    assert run.config["method"]["loss"].endswith("angular")
    assert 0 < float(history(run)[0]["predict"]) < 2 * math.pi


@pytest.mark.parametrize("layer, dim", [(0, 6), ("0", 6), (-3, 5), (None, 5)])
def test_a_layer_of_an_own_network(layer, dim, tmp_path):
    run = fit(tmp_path / "run", small(layer=layer), epochs=1)
    assert run.config.get("layer") == layer
    assert run.tensors("reference")["mean"].shape == (dim,)


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images,
        lambda images: [np.full_like(im, np.nan) if i == 2 else im for i, im in enumerate(images)],
        lambda images: [im * 0 for im in images],
        lambda images: [im.astype(">f4") for im in images],
        lambda images: [np.clip(im, 0, 60).astype(np.uint8) for im in images],
        lambda images: images[:2],
        lambda images: [np.repeat(im[:, None], 4, axis=1) for im in images],
    ],
    ids=["plain", "a blank one", "constant", "big-endian", "pictures", "two", "cubes"],
)
def test_a_training_ends_with_a_verdict_whatever_it_was_given(change, tmp_path, monkeypatch):
    """At the end of a long training nothing about its data may come as a surprise."""
    monkeypatch.setattr(train_module, "doctor", doctor)
    data = Own(60)
    data.images = change(data.images)
    network = None
    if data.images[0].ndim == 4:
        network = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    run = fit(tmp_path / "run", small(network=network), data=data, epochs=1)
    assert run.health["verdict"] in set(Verdict)
    assert run.health["sentences"]


def test_cubes_stay_whole_for_an_own_network(tmp_path):
    network = nn.Sequential(nn.Conv3d(1, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    run = fit(tmp_path / "run", small(network=network), data=Own(cube=(6,)))
    assert run.config["bands"] == 1
    assert run.tensors("reference")["mean"].shape == (4,)


def test_planes_of_a_cube_for_a_network_that_takes_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"does not take images of shape \(2, 1, 6, 8, 8\)"):
        fit(tmp_path / "run", small(), data=Own(cube=(6,)))


@pytest.mark.parametrize("bands, network", [(3, tiny), (1, lambda: encoder("light", bands=3))])
def test_an_encoder_for_other_bands_is_refused_with_both_shapes(bands, network, tmp_path):
    with pytest.raises(
        ConfigError, match=rf"the encoder does not take images of shape \(2, {bands}, 8, 8\).*choose bands="
    ):
        fit(tmp_path / "run", small(network=network()), data=Own(bands=bands))


def test_an_encoder_that_changes_its_mind_is_refused(tmp_path):
    class Maps(nn.Conv2d):
        def forward(self, x):
            z = super().forward(x)
            return z.mean(dim=(2, 3)) if x.shape[-1] == 64 else z

    with pytest.raises(ShapeError, match=r"encoder must return \(B, D\)"):
        fit(tmp_path / "run", small(network=Maps(1, 4, 3)))


def test_bands_choose_the_views(tmp_path):
    one = fit(tmp_path / "one", epochs=1, views=None)
    three = fit(tmp_path / "three", small(network=tiny(3)), data=Own(bands=3), epochs=1, views=None)
    assert one.config["views"]["band_gain"] == 0
    assert three.config["views"]["band_gain"] > 0


# phases


class Staged(Method):
    """Two phases with state, as VaDE has."""

    def __init__(self, encoder, *, shares=(1.0, 2.0)):
        super().__init__(encoder)
        self.shares = shares
        self.register_buffer("centre", torch.zeros(self.dim))
        self.seen = []

    def phases(self):
        return [Phase(f"stage {i}", share) for i, share in enumerate(self.shares)]

    def on_phase_start(self, phase, batches):
        self.seen.append((phase.name, sum(len(b.rows) for b in batches)))
        self.centre += torch.rand(self.dim)  # not the same when done twice

    def forward(self, batch, progress):
        z1, z2 = (self.encoder(v) for v in self.two_views(batch))
        self.seen.append(progress)
        total = (z1 - z2).square().mean() + (z1 - self.centre).square().mean()
        return Loss(total, {f"at {len(self.shares)}": total.detach()}, {})


def test_phases_follow_each_other_with_progress_from_0_to_1(tmp_path):
    method = Staged(tiny())
    run = fit(tmp_path / "run", method)
    first, second = [method.seen.index((f"stage {i}", 18)) for i in (0, 1)]
    assert first == 0
    assert method.seen[1:second] == pytest.approx([i / 3 for i in range(3)])
    assert method.seen[second + 1 :] == pytest.approx([i / 6 for i in range(6)])
    assert [row["phase"] for row in history(run)] == ["stage 0", "stage 1", "stage 1"]


@pytest.mark.parametrize(
    "where, at",
    [("forward", 0), ("forward", 2), ("forward", 3), ("forward", 8), ("on_phase_start", 0), ("on_phase_start", 1)],
)
def test_phases_go_on_exactly(where, at, tmp_path):
    torch.manual_seed(0)
    one = fit(tmp_path / "one", Staged(tiny()))
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two", failing(Staged(tiny()), KeyboardInterrupt(), at=at, where=where), loop=EAGER)
    resumed = Staged(tiny())
    assert_same(fit(tmp_path / "two", resumed, resume=True), one)
    assert torch.equal(resumed.centre, one.tensors()["centre"])


@pytest.mark.parametrize("at", [0, 1, 3])
def test_phases_go_on_exactly_where_an_epoch_was_about_to_begin(at, tmp_path):
    """The order of an epoch is asked for after a phase was prepared: that must not be done twice."""
    breaks = []

    def order(n, generator):
        if breaks and breaks.pop() == 0:
            raise KeyboardInterrupt
        return torch.randperm(n, generator=generator)

    loop = replace(EAGER, sampler=order)
    torch.manual_seed(0)
    one = fit(tmp_path / "one", Staged(tiny()), loop=loop)
    torch.manual_seed(0)
    breaks += range(at + 1)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two", Staged(tiny()), loop=loop)
    assert_same(fit(tmp_path / "two", Staged(tiny()), resume=True, loop=loop), one)


def test_a_phase_too_short_for_an_epoch_is_passed_through(tmp_path):
    method = Staged(tiny(), shares=(0.01, 1.0, 0.01))
    run = fit(tmp_path / "run", method)
    assert [row["phase"] for row in history(run)] == ["stage 1"] * 3
    assert [s[0] for s in method.seen if isinstance(s, tuple)] == ["stage 0", "stage 1", "stage 2"]


# few images, settings


@pytest.mark.parametrize(
    "n, batch_size, size, steps", [(2, 256, 2, 1), (3, 256, 3, 1), (7, 3, 3, 2), (9, 9, 9, 1), (5, 2, 2, 2)]
)
def test_fewer_images_than_a_batch_train_properly(n, batch_size, size, steps, tmp_path):
    method, sizes = small(), []
    original = method.forward

    def counted(batch, progress):
        sizes.append(len(batch.rows))
        return original(batch, progress)

    method.forward = counted
    run = fit(tmp_path / "run", method, data=Own(n), batch_size=batch_size)
    assert sizes == [size] * steps * EPOCHS
    assert all(math.isfinite(float(row["loss"])) for row in history(run))
    assert finite(run.tensors("reference"))


@pytest.mark.parametrize("n, match", [(0, "there are no cutouts to train on"), (1, "needs at least 2; there is 1")])
def test_too_few_images_are_told(n, match, tmp_path):
    with pytest.raises(DataError, match=match):
        fit(tmp_path / "run", data=Own(n))
    with CutoutsWriter(tmp_path / "a.cutouts") as writer:
        for i in range(n):
            writer.append(Cutout(id=str(i), image=np.ones((1, 9, 9), np.float32)))
    with pytest.raises(DataError, match=match):
        fit(tmp_path / "other", data=Cutouts.open(tmp_path / "a.cutouts"))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"epochs": 0}, "got 0, 6, 0.01 and 1"),
        ({"batch_size": 1}, "batch_size >= 2, .* got 3, 1, 0.01 and"),
        ({"lr": 0.0}, "seed >= 0; got 3, 6, 0.0 and 1"),
        ({"seed": -1}, "seed >= 0; got 3, 6, 0.01 and -1"),
        ({"lr": math.nan}, "got 3, 6, nan and 1"),
        ({"lr": math.inf}, "got 3, 6, inf and 1"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(options, match, tmp_path):
    with pytest.raises(ConfigError, match=match):
        fit(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "scale, value", [("pixel", None), ("image", None), ("object", 0.3), ("sky", 1.5), ("beam", 2.0)]
)
def test_mixed_sizes_train_in_one_batch_at_every_scale(scale, value, tmp_path, monkeypatch):
    store = write_sky(simulate("mixed", 16, size=(16, 48), seed=2), tmp_path / "a.cutouts")
    looks = views("radio", size=12, scale=scale, scale_value=value)
    for place, share in (("memory", 0.4), ("streamed", 0.0)):
        monkeypatch.setattr("morphospace.learn.data.MEMORY_SHARE", share)
        run = fit(tmp_path / place, data=store, views=looks, batch_size=8, epochs=2)
        assert run.config["preparation"]["scale"] == scale
        assert all(math.isfinite(float(row["loss"])) for row in history(run))


def test_every_epoch_has_its_own_order_and_every_step_its_own_views(tmp_path):
    method, seen = small(), []
    original = method.forward

    def watched(batch, progress):
        seen.append((batch.rows.clone(), [v.clone() for v in batch.views]))
        return original(batch, progress)

    method.forward = watched
    fit(tmp_path / "run", method, data=Own(12), batch_size=12)
    rows = [r.tolist() for r, _ in seen]
    assert len(rows) == EPOCHS
    assert all(sorted(r) == list(range(12)) for r in rows)
    assert len({tuple(r) for r in rows}) == EPOCHS
    of_row_0 = [view[r.index(0)] for r, (_, views_) in zip(rows, seen, strict=True) for view in views_]
    assert len({tuple(v.flatten().tolist()) for v in of_row_0}) == 2 * EPOCHS


def test_the_learning_rate_follows_its_schedule(tmp_path):
    schedule = Schedule("exponential", gamma=0.5, warmup=0.0)
    run = fit(tmp_path / "run", loop=replace(PLAIN, schedule=schedule))
    assert [float(row["lr"]) for row in history(run)] == pytest.approx([0.01, 0.005, 0.0025])


# schedules


def test_schedules_by_hand():
    assert [Schedule("cosine", warmup=0.0).factor(s, 4, 1) for s in range(5)] == pytest.approx(
        [(1 + math.cos(math.pi * s / 4)) / 2 for s in range(5)]
    )
    assert [Schedule("constant", warmup=0.5).factor(s, 6, 1) for s in range(5)] == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1]
    )
    assert [Schedule("exponential", warmup=0.0, gamma=0.1).factor(s, 4, 2) for s in range(4)] == pytest.approx(
        [1, 1, 0.1, 0.1]
    )


@pytest.mark.parametrize("kind", ["cosine", "exponential", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("steps, epochs", [(1, 1), (2, 2), (100, 7), (7, 100)])
def test_factors_rise_once_and_never_again(kind, warmup, steps, epochs):
    found = [Schedule(kind, warmup=warmup).factor(s, steps, epochs) for s in range(steps)]
    assert all(0 < f <= 1 or (kind == "cosine" and s > 0) for s, f in enumerate(found))
    top = int(np.argmax(found))
    assert top <= warmup * steps + 1
    assert (np.diff(found[top:]) <= 1e-12).all()
    assert (np.diff(found[: top + 1]) > 0).all()


@pytest.mark.parametrize(
    "options, match",
    [
        ({"kind": "linear"}, "schedule must be cosine, exponential or constant; got 'linear'"),
        ({"warmup": 1.0}, "0 <= warmup < 1 and 0 < gamma <= 1; got 1.0 and 0.99"),
        ({"gamma": 0.0}, "got 0.05 and 0.0"),
    ],
)
def test_bad_schedules_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        Schedule(**options)


# memory of the C library


def test_freed_memory_is_kept_where_glibc_is(monkeypatch):
    asked = []

    class Library:
        def __init__(self, _name):
            pass

        def mallopt(self, what, value):
            asked.append((what, value))

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
    assert asked == [(-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 26), (-8, 1)]
    monkeypatch.setattr(sys, "platform", "darwin")
    keep_freed_memory()
    assert len(asked) == 4

    def missing(_name):
        msg = "no glibc here"
        raise OSError(msg)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
