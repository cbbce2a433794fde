"""Learning: what a probe reads before and after, on skies whose kinds are known, with a control that must not learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from morphospace.learn import train as train_module
from morphospace.learn.data import open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.health import Health, Verdict, check_health
from morphospace.learn.losses import mean_cosine
from morphospace.learn.methods import BYOL, JOINT
from morphospace.learn.methods.base import Loss
from morphospace.learn.probe import knn_probe
from morphospace.learn.vectors import vectors_of
from morphospace.learn.views import plain_view, views
from morphospace.runs import Run
from morphospace.sky.simulate import simulate, write_sky

pytestmark = pytest.mark.slow

LOOKS = views("radio", size=32)
SEEDS = (0, 1, 2, 3)
SMALLER = {"VICReg": {"projection_size": 256, "hidden_size": 256}}


class NoStopNoPredictor(BYOL):
    """The negative control: both branches pull together and nothing holds them apart."""

    def forward(self, batch, progress):
        first, second = self.two_views(batch)
        p1, p2 = self.projections(first), self.projections(second)
        return Loss(2 * self.loss(p1, p2).mean(), {}, {"mean_cosine": mean_cosine(p1)})


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return write_sky(
        simulate("mixed", 1500, size=32, seed=7, snr=(8, 60)), tmp_path_factory.mktemp("sky") / "a.cutouts"
    )


@pytest.fixture(scope="module")
def data(sky):
    return open_data(sky, LOOKS.prepare)


@pytest.fixture(scope="module")
def kinds(sky):
    return np.array(sky.table(["kind"])["kind"].to_pylist())


def learn(method, sky, data, kinds, out, *, seed):
    """Train, and return the k-NN accuracy before and after, the vectors and the projections."""
    rows = list(range(len(data)))
    before = knn_probe(vectors_of(method.eval(), data, rows).numpy(), kinds).balanced_accuracy
    train_module.train(method, sky, out=out, views=LOOKS, epochs=12, batch_size=128, lr=2e-3, seed=seed)
    z = vectors_of(method, data, rows).numpy()
    with torch.no_grad():
        p = method.projections(plain_view(data.rows(rows), LOOKS.prepare))
    return before, knn_probe(z, kinds).balanced_accuracy, z, p


@pytest.fixture(autouse=True)
def judged_here(monkeypatch):
    monkeypatch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))


@pytest.mark.parametrize("name", JOINT)
def test_shapes_are_told_apart_better_after_training(name, sky, data, kinds, tmp_path):
    gains = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        method = JOINT[name](encoder("light"), **SMALLER.get(name, {}))
        before, after, z, p = learn(method, sky, data, kinds, tmp_path / str(seed), seed=seed)
        gains.append(after - before)
        assert float(mean_cosine(p)) < 0.7
        assert check_health(z, projections=p.numpy()).verdict == Verdict.HEALTHY
    assert min(gains) > 0, gains
    assert np.mean(gains) > 0.02, gains


def test_without_predictor_and_stopped_gradient_the_projections_collapse(sky, data, kinds, tmp_path):
    gains = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        method = NoStopNoPredictor(encoder("light"), decorrelate=0.0)
        before, after, z, p = learn(method, sky, data, kinds, tmp_path / str(seed), seed=seed)
        gains.append(after - before)
        assert float(mean_cosine(p)) > 0.95
        assert check_health(z, projections=p.numpy()).verdict == Verdict.COLLAPSED
    assert np.mean(gains) < 0, gains


SCRIPT = """
import sys
from pathlib import Path
from small_runs import PLAIN, Own, fit, small
from dataclasses import replace
if __name__ == "__main__":
    fit(Path(sys.argv[1]), small(), Own(24), batch_size=8, loop=replace(PLAIN, device="cpu:2"))
"""


def test_two_processes_train_one_network(tmp_path):
    """Lightning Fabric starts the script once more for the second process."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    for out in ("one", "two"):
        subprocess.run(
            [sys.executable, str(script), str(tmp_path / out)],
            env={"PYTHONPATH": str(Path(__file__).parent), "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
            check=True,
            timeout=300,
        )
    one, two = Run.open(tmp_path / "one"), Run.open(tmp_path / "two")
    assert one.finished
    assert len((one.path / "history.csv").read_text().splitlines()) == 4
    for key, value in one.tensors().items():
        assert torch.equal(value, two.tensors()[key])
        assert torch.isfinite(value).all()
    moved = {k: v for k, v in one.tensors().items() if k in one.tensors("initial")}
    assert any(not torch.equal(v, one.tensors("initial")[k]) for k, v in moved.items())
