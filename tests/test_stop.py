"""Early stopping, by the rank of the space or by k-NN on labels, and never by the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn.data import MemoryData, open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import Method, SimCLR
from morphospace.learn.methods.base import Loss
from morphospace.learn.prepare import Preparation
from morphospace.learn.settings import Loop
from morphospace.learn.stop import Stop, Watch, labels_of
from morphospace.learn.train import train
from morphospace.learn.views import views
from small_runs import PLAIN

LOOKS = views("radio", size=16, scale="image")


class Doubles:
    """Small images of two classes: a bar or a dot, with noise."""

    def __init__(self, n=60, label="label"):
        self.n, self.label = n, label

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        rng = np.random.default_rng(i)
        image = rng.normal(size=(1, 20, 20)).astype(np.float32)
        image[0, 8:12, 2 : 18 if i % 2 else 12] += 30
        return {"image": image, "id": str(i), self.label: ["dot", "bar"][i % 2]}


class Script(Method):
    """Its figure is whatever the test says, so that the rule alone is seen."""

    def __init__(self, network):
        super().__init__(network)
        self.mark = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("epochs", torch.zeros(()))

    def forward(self, batch, progress):
        z = self.encoder(batch.views[0])
        return Loss(z.square().mean() + (self.mark - 1).square().sum(), {}, {})

    def after_step(self, loss, progress):
        self.epochs += 1


def scripted(tmp_path, monkeypatch, figures, patience, epochs=8):
    told = iter(figures)
    monkeypatch.setattr(Watch, "measure", lambda self, method: next(told))
    loop = replace(PLAIN, stop=Stop("rank", patience=patience))
    method = Script(encoder("light"))
    run = train(method, Doubles(), out=tmp_path / "run", views=LOOKS, epochs=epochs, batch_size=60, loop=loop)
    rows = (run.path / "history.csv").read_text().splitlines()[1:]
    return run, len(rows)


def test_stops_after_patience_and_keeps_the_best_weights(tmp_path, monkeypatch):
    run, epochs = scripted(tmp_path, monkeypatch, [1.0, 3.0, 2.0, 2.5, 9.0], patience=2)
    assert epochs == 4
    assert float(run.tensors()["epochs"]) == 2  # one step an epoch: the weights are those after the second


def test_goes_on_while_the_figure_rises(tmp_path, monkeypatch):
    run, epochs = scripted(tmp_path, monkeypatch, range(8), patience=1)
    assert epochs == 8
    assert float(run.tensors()["epochs"]) == 8


def test_the_figure_stands_in_the_history(tmp_path, monkeypatch):
    run, _ = scripted(tmp_path, monkeypatch, [1.0, 0.5], patience=1, epochs=3)
    assert "stop_rank" in (run.path / "history.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("figure", ["rank", "knn"])
def test_a_real_training_stops_by_its_figure(figure, tmp_path):
    torch.manual_seed(0)
    loop = replace(PLAIN, stop=Stop(figure, patience=1))
    run = train(
        SimCLR(encoder("light")), Doubles(), out=tmp_path / "run", views=LOOKS, epochs=3, batch_size=30, loop=loop
    )
    values = [float(r.split(",")[-1]) for r in (run.path / "history.csv").read_text().splitlines()[1:]]
    assert 1 <= len(values) <= 3
    assert all(v > 0 for v in values)


def test_measuring_changes_neither_the_method_nor_the_random_numbers():
    method = SimCLR(encoder("light")).train()
    data = open_data(Doubles(), LOOKS.prepare)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    state = torch.get_rng_state()
    first = Watch(Stop("rank"), data, None, seed=0).measure(method)
    assert Watch(Stop("rank"), data, None, seed=0).measure(method) == first
    assert method.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


def test_knn_needs_two_classes():
    with pytest.raises(DataError, match="needs two classes in 'label'; there are 0"):
        Watch(Stop("knn"), open_data(Doubles(), LOOKS.prepare), labels_of(Doubles(label="kind"), "label"), seed=0)


@pytest.mark.parametrize("options", [{"figure": "loss"}, {"figure": "rank", "patience": 0}])
def test_other_rules_are_refused(options):
    with pytest.raises(ConfigError, match="figure none, rank or knn and patience >= 1"):
        Stop(**options)


# the sampler


def test_a_sampler_decides_the_order():
    data = open_data(Doubles(8), LOOKS.prepare, sampler=lambda n, g: torch.zeros(n, dtype=torch.int64))
    assert isinstance(data, MemoryData)
    rows = torch.cat([b.rows for b in data.epoch(torch.Generator().manual_seed(0), 4)])
    assert rows.tolist() == [0] * 8
    streamed = open_data(Doubles(8), LOOKS.prepare, memory_bytes=0, sampler=lambda n, g: torch.arange(n).flip(0) // 2)
    rows = torch.cat([b.rows for b in streamed.epoch(torch.Generator().manual_seed(0), 4)])
    assert sorted(rows.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_sampler_that_gives_too_few_rows_is_refused():
    data = open_data(Doubles(8), Preparation(size=16), sampler=lambda n, g: torch.arange(3))
    with pytest.raises(ShapeError, match="sampler must return 8 row numbers from 0 to 7"):
        next(data.epoch(torch.Generator(), 4))


# the device


@pytest.mark.parametrize(
    "device, expected",
    [
        ("auto", ("auto", 1)),
        ("cpu", ("cpu", 1)),
        ("cpu:2", ("cpu", 2)),
        ("cuda:0,2", ("cuda", [0, 2])),
        ("mps", ("mps", 1)),
    ],
)
def test_devices_by_name(device, expected):
    assert Loop(device=device).fabric_devices == expected


def test_a_device_that_cannot_be_read_is_refused():
    with pytest.raises(ConfigError, match="got 'cuda:first'"):
        Loop(device="cuda:first").fabric_devices  # noqa: B018
