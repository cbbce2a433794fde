"""Training with labels: what moves and what stays, targets of each kind, resume, encoders of timm."""

from __future__ import annotations

import copy
import json
import sys
import types

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, MissingDependencyError, StoreError
from morphospace.learn.encoders import encoder
from morphospace.learn.encoders.timm import timm_encoder
from morphospace.learn.methods.base import Batch
from morphospace.learn.settings import Loop
from morphospace.runs import Run
from morphospace.science.finetune import Tuning, finetune, predict_images, trained_on
from morphospace.science.prediction import Prediction
from morphospace.science.supervised import Answer, Supervised, blocks_of
from morphospace.science.votes import dirichlet_multinomial_loss
from morphospace.sky.cutouts import Cutout, CutoutsWriter
from small_runs import EAGER, LOOKS, PLAIN, Own, fit, tiny

N = 24


class Discs(Own):
    """Small and large squares."""

    def __init__(self, n=N):
        super().__init__(n, sides=(12,))
        self.size = [2 + 4 * (i % 2) for i in range(n)]
        for image, size in zip(self.images, self.size, strict=True):
            image[..., 3 : 3 + size, 3 : 3 + size] += 60


def kinds(n=N):
    return {f"own {i}": ["small", "large"][i % 2] for i in range(n)}


def tuned(out, labels=None, *, start=None, data=None, seed=0, **options):
    torch.manual_seed(seed)
    given = {"views": LOOKS, "epochs": 3, "lr": 1e-2, "tuning": Tuning(batch_size=8, loop=PLAIN), **options}
    return finetune(start or tiny(), data or Discs(), labels=labels or kinds(), out=out, **given)


def batch_of(n=6, *, label=None, rows=None):
    x = torch.randn(n, 1, 16, 16)
    return Batch([x], [], [], torch.ones(n, 1), torch.arange(n) if rows is None else rows, label)


# the method


def test_blocks_hold_every_parameter_once():
    for network in (encoder("light"), encoder("resnet18"), encoder("light", stacksize=3), tiny(), Rows()):
        found = [p for block in blocks_of(network) for p in block.parameters()]
        assert len({id(p) for p in found}) == len(found)
        assert {id(p) for p in found} == {id(p) for p in network.parameters()}
    assert len(blocks_of(encoder("light"))) == 4
    assert len(blocks_of(Rows())) == 4  # stem with the token, three of the row


class Rows(nn.Module):
    """A transformer in form: stem, a token of its own, a row of blocks."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(3)))

    def forward(self, x):
        return self.blocks(self.stem(x)).mean((2, 3)) + self.token


@pytest.mark.parametrize("blocks", [0, 1, 2, 4, None])
def test_only_the_last_blocks_are_trained(blocks):
    torch.manual_seed(0)
    method = Supervised(Rows(), blocks=blocks)
    parts = blocks_of(method.network)
    moving = parts if blocks is None else parts[len(parts) - blocks :]
    ids = {id(p) for part in moving for p in part.parameters()} | {id(p) for p in method.head.parameters()}
    groups = method.param_groups(1e-3)
    assert {id(p) for g in groups for p in g["params"]} == ids
    method(batch_of(label=torch.arange(6) % 2), 0.0).total.backward()
    for p in method.parameters():
        assert (p.grad is not None and bool((p.grad != 0).any())) == (id(p) in ids)


def test_frozen_blocks_keep_their_batch_statistics():
    method = Supervised(encoder("light"), blocks=1)
    method.train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    method(batch_of(label=torch.arange(6) % 2), 0.0)
    changed = {k for k, v in method.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.startswith(("encoder.norm", "head.")) for k in changed)


def test_rates_fall_from_the_head_to_the_first_block():
    method = Supervised(Rows(), layer_decay=0.5)
    rates = sorted({float(g["lr"]) for g in method.param_groups(1.0)}, reverse=True)
    assert rates == [1.0, 0.5, 0.25, 0.125, 0.0625]
    first = [g for g in method.param_groups(1.0) if g["lr"] == 0.0625]
    assert any(p is method.network.token for g in first for p in g["params"])
    assert all(g["weight_decay"] == 0 for g in method.param_groups(1.0) if all(p.ndim < 2 for p in g["params"]))


def test_losses_are_those_of_their_task():
    torch.manual_seed(0)
    batch = batch_of(label=torch.tensor([0, 1, 2, -1, 0, 1]))
    method = Supervised(tiny(), answer=Answer(width=3), class_weights=(1.0, 2.0, 4.0)).eval()
    log_p = method.scores(batch.views[0]).log_softmax(1)
    w, y = torch.tensor([1.0, 2.0, 4.0, 1.0, 2.0]), torch.tensor([0, 1, 2, 0, 1])
    by_hand = -(w * log_p[[0, 1, 2, 4, 5]][torch.arange(5), y]).sum() / w.sum()
    torch.testing.assert_close(method(batch, 0.0).total, by_hand)
    votes = Supervised(tiny(), answer=Answer("votes", 5, (2, 3))).eval()
    cast = torch.randint(0, 9, (20, 5))
    votes.set_targets(cast)
    rows = torch.tensor([3, 19, 0, 7, 7, 2])
    alpha = votes.scores(batch.views[0])
    expected = dirichlet_multinomial_loss(alpha, cast[rows].float(), (2, 3)).mean()
    torch.testing.assert_close(votes(batch_of(rows=rows)._replace(views=batch.views), 0.0).total, expected)


def test_method_refuses_what_it_cannot_train():
    for options, words in (
        ({"task": "colours"}, "must be classes, values or votes; got 'colours'"),
        ({"task": "values", "width": 2}, "width 1 for values"),
        ({"width": 1}, "at least 2 for classes; got 1"),
        ({"task": "votes", "width": 4, "questions": (3,)}, "4 together"),
    ):
        with pytest.raises(ConfigError, match=words):
            Answer(**options)
    with pytest.raises(ConfigError, match="0 < layer_decay <= 1"):
        Supervised(tiny(), layer_decay=0.0)
    with pytest.raises(ConfigError, match="the samples bring none"):
        Supervised(tiny())(batch_of(), 0.0)
    with pytest.raises(ConfigError, match="needs targets for values"):
        Supervised(tiny(), answer=Answer("values", 1))(batch_of(), 0.0)


# the verb


def test_classes_are_learned_and_predicted(tmp_path):
    labels = {k: v for i, (k, v) in enumerate(kinds().items()) if i < 16}
    run = tuned(tmp_path / "run", labels, epochs=12)
    found = predict_images(run, Discs(), encoder=tiny())
    assert found.ids == tuple(kinds())
    assert (found.classes == list(kinds().values())).mean() > 0.9
    assert trained_on(run) == set(labels)
    averaged = predict_images(run, Discs(), encoder=tiny(), average="d4")
    np.testing.assert_allclose(averaged.p.sum(1), 1, atol=1e-6)
    assert not np.allclose(averaged.p, found.p)
    text = (run.path / "METHODS.md").read_text()
    assert "16 labelled objects (classes: large, small), all blocks" in text
    assert "without labels" not in text


@pytest.mark.parametrize("task", ["values", "votes"])
def test_values_and_votes_are_learned(tmp_path, task):
    data = Discs()
    if task == "values":
        labels = {f"own {i}": float(s) for i, s in enumerate(data.size)}
    else:
        labels = {f"own {i}": {"large": 3 * s, "small": 20 - 3 * s} for i, s in enumerate(data.size)}
    run = tuned(tmp_path / "run", labels, data=data, epochs=25)
    found = predict_images(run, data, encoder=tiny())
    assert found.task == task
    guess = found.mean if task == "values" else found.fractions[:, 0]
    assert np.corrcoef(guess, data.size)[0, 1] > 0.8


def test_training_goes_on_from_a_run_and_keeps_its_eyes(tmp_path):
    before = fit(tmp_path / "ssl", data=Discs())
    with pytest.raises(ConfigError, match="encoder of your own"):
        finetune(before, Discs(), labels=kinds(), out=tmp_path / "a")
    source = fit_light(tmp_path)
    run = finetune(
        source,
        Discs(),
        labels=kinds(),
        out=tmp_path / "head",
        epochs=2,
        tuning=Tuning(blocks=0, batch_size=8, loop=PLAIN),
    )
    assert run.config["preparation"] == source.config["preparation"]
    assert run.config["views"] == source.config["views"]
    old, new = source.tensors(), run.tensors()
    assert all(torch.equal(v, new[k]) for k, v in old.items() if k.startswith("encoder."))
    assert run.config["method"]["answer"] == {"task": "classes", "width": 2, "questions": []}
    assert predict_images(run, Discs()).p.shape == (N, 2)
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace("[method.answer]", "[method.other]"))
    with pytest.raises(StoreError, match="was fine-tuned by another version of morphospace; fine-tune anew"):
        predict_images(run, Discs())


def fit_light(tmp_path):
    from morphospace.learn.methods import SimCLR

    torch.manual_seed(0)
    return fit(tmp_path / "light", SimCLR(encoder("light"), projection_size=4, hidden_size=8), Discs(), epochs=1)


def test_an_interrupted_training_goes_on_as_if_it_had_not(tmp_path, monkeypatch):
    whole = tuned(tmp_path / "whole", tuning=Tuning(batch_size=8, loop=EAGER))
    calls, original = [0], Supervised.forward

    def failing(self, *args):
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(Supervised, "forward", failing)
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "cut", tuning=Tuning(batch_size=8, loop=EAGER))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="exists; give another out="):
        tuned(tmp_path / "cut")
    other = {k: "small" if v == "large" else "large" for k, v in kinds().items()}
    with pytest.raises(ConfigError, match="had other labels"):
        tuned(tmp_path / "cut", other, resume=True, tuning=Tuning(batch_size=8, loop=EAGER))
    resumed = tuned(tmp_path / "cut", resume=True, tuning=Tuning(batch_size=8, loop=EAGER))
    for key, value in whole.tensors().items():
        assert torch.equal(value, resumed.tensors()[key]), key


def test_balanced_training_hears_the_rare_class(tmp_path):
    labels = {k: v for i, (k, v) in enumerate(kinds().items()) if v == "small" or i < 6}
    run = tuned(tmp_path / "run", labels, epochs=1, tuning=Tuning(balanced=True, batch_size=8, loop=PLAIN))
    weights = run.config["method"]["class_weights"]
    assert weights == pytest.approx([15 / 6, 15 / 24])


def test_bad_labels_and_runs_are_told(tmp_path):
    with pytest.raises(DataError, match="1 of 25 labels are for ids"):
        tuned(tmp_path / "a", {**kinds(), "nobody": "small"})
    with pytest.raises(DataError, match="all 24 labels are 'small'"):
        tuned(tmp_path / "a", dict.fromkeys(kinds(), "small"))
    with pytest.raises(DataError, match="'ring' has 1"):
        tuned(tmp_path / "a", {**kinds(), "own 3": "ring"})
    assert not (tmp_path / "a").exists()
    plain = fit(tmp_path / "ssl", data=Discs(), epochs=1)
    assert trained_on(plain) == frozenset()
    with pytest.raises(StoreError, match="was trained without labels"):
        predict_images(plain, Discs(), encoder=tiny())
    run = tuned(tmp_path / "run", epochs=1)
    with pytest.raises(ConfigError, match="pass it as encoder="):
        predict_images(run, Discs())
    with pytest.raises(ConfigError, match="average must be 'd4'"):
        predict_images(run, Discs(), encoder=tiny(), average="c4")
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used"):
        predict_images(run, Discs(), encoder=tiny(), device="gpu")


# timm


class FakeNet(nn.Module):
    """What this code asks of a network of timm."""

    num_features = 4
    num_prefix_tokens = 1
    pretrained_cfg = {"input_size": (3, 28, 28), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}  # noqa: RUF012

    def __init__(self, bands, state=None):
        super().__init__()
        self.patch_embed = nn.Conv2d(bands, 4, 14, stride=14)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        if state:
            self.load_state_dict(state)

    def forward_features(self, x):
        z = self.patch_embed(x).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([z.mean(1, keepdim=True), z], 1))

    def forward(self, x):
        return self.forward_features(x)[:, 0]


@pytest.fixture
def timm(monkeypatch):
    module = types.ModuleType("timm")
    module.calls = []

    def create_model(name, *, pretrained, num_classes, in_chans, pretrained_cfg_overlay=None, **others):
        module.calls.append({"name": name, "pretrained": pretrained, "num_classes": num_classes, **others})
        if others and name == "cnn":
            msg = "unexpected keyword img_size"
            raise TypeError(msg)
        if pretrained and pretrained_cfg_overlay is None and name == "offline":
            msg = "cannot reach the hub"
            raise OSError(msg)
        return FakeNet(in_chans, (pretrained_cfg_overlay or {}).get("state_dict"))

    module.create_model = create_model
    module.is_model = lambda name: name in ("vit", "cnn", "offline")
    module.list_models = lambda pattern: ["vit_tiny"]
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_timm_networks_are_encoders(timm):
    net = timm_encoder("vit", bands=3)
    assert timm.calls == [{"name": "vit", "pretrained": True, "num_classes": 0}]
    x = torch.rand(2, 3, 40, 33)
    assert net(x).shape == (2, 4)
    assert net.tokens(x).shape == (2, 4, 4)  # 28 x 28 in patches of 14, without the class token
    exact = torch.rand(2, 3, 28, 28)
    torch.testing.assert_close(net(exact), net.model((exact - 0.5) / 0.25))
    assert timm_encoder("vit", bands=1, weights=None, size=56)(torch.rand(1, 1, 9, 9)).shape == (1, 4)
    assert timm.calls[-1]["img_size"] == 56
    assert timm_encoder("cnn", size=56).side == 56
    assert len(blocks_of(net)) == 3


def test_timm_weights_come_from_a_local_file(timm, tmp_path):
    from safetensors.torch import save_file

    state = FakeNet(1).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        net = timm_encoder("vit", bands=1, weights=tmp_path / name)
        torch.testing.assert_close(net.model.patch_embed.weight, state["patch_embed.weight"])
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(StoreError, match="nothing was executed"):
        timm_encoder("vit", weights=tmp_path / "code.pth")
    with pytest.raises(StoreError, match="do not exist"):
        timm_encoder("vit", weights=tmp_path / "none.pth")
    with pytest.raises(StoreError, match=r"cannot be loaded \(cannot reach the hub\); give a local file"):
        timm_encoder("offline")


def test_timm_networks_can_be_fine_tuned(timm, tmp_path):
    net = timm_encoder("vit", bands=1, weights=None)
    how = Tuning(blocks=1, layer_decay=0.7, batch_size=8, loop=Loop(precision="32-true", device="cpu"))
    run = finetune(net, Discs(), labels=kinds(), out=tmp_path / "run", views=LOOKS, epochs=1, tuning=how)
    assert predict_images(run, Discs(), encoder=timm_encoder("vit", bands=1, weights=None)).p.shape == (N, 2)


def test_timm_missing_or_unknown_is_told(timm, monkeypatch):
    with pytest.raises(ConfigError, match="timm knows no network 'vitt'; did you mean vit_tiny"):
        timm_encoder("vitt")
    with pytest.raises(ConfigError, match="bands and size"):
        timm_encoder("vit", bands=0)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'morphospace\[timm\]'"):
        timm_encoder("vit")


# the command


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory):
    """Thirty small and large squares; the last ten without a label."""
    path = tmp_path_factory.mktemp("tuned") / "d.cutouts"
    rng = np.random.default_rng(0)
    with CutoutsWriter(path, columns={"kind": pa.string(), "row": pa.int64()}) as writer:
        for i in range(30):
            image, size = rng.normal(size=(1, 12, 12)).astype("f4"), 2 + 4 * (i % 2)
            image[0, 3 : 3 + size, 3 : 3 + size] += 20
            kind = ["small", "large"][i % 2] if i < 20 else None
            known = {"level": (0.0,), "sigma": (1.0,)}
            writer.append(Cutout(f"n{i}", image, columns={"kind": kind, "row": i}, **known))
    return path


def test_command_trains_from_scratch_and_on_and_predicts(cutouts, tmp_path, capsys):
    fast = ["--epochs", "8", "--batch-size", "8", "--device", "cpu", "--precision", "32-true", "--quiet", "--json"]
    scratch, on = str(tmp_path / "scratch"), str(tmp_path / "on")
    words = ["finetune", "light", str(cutouts), "kind", "--out", scratch, "--size", "12", "--scale", "pixel", *fast]
    state = torch.random.get_rng_state()
    assert main([*words, "--lr", "0.01"]) == 0
    assert torch.equal(state, torch.random.get_rng_state())
    assert json.loads(capsys.readouterr().out)["n_trained_on"] == 20
    assert Run.open(scratch).config["views"]
    assert (
        main(["finetune", scratch, str(cutouts), "kind", "--out", on, "--where", "row < 10", "--blocks", "1", *fast])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["n_trained_on"] == 10
    assert Run.open(on).config["method"]["blocks"] == 1
    out = tmp_path / "p.parquet"
    assert main(["predict", str(cutouts), "--model", scratch, "--average", "d4", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["n_trained_on"], told["names"]) == (30, 20, ["large", "small"])
    found = Prediction.open(out)
    assert (found.classes == np.array(["small", "large"] * 15)).mean() > 0.9
    assert main(["predict", str(cutouts), "--model", on]) == 0
    assert "trained on 10 of them" in capsys.readouterr().out


def test_command_takes_labels_from_a_table(cutouts, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    labels.write_text("id,size\n" + "".join(f"n{i},{1.5 + 4 * (i % 2)}\n" for i in range(8)))
    out = str(tmp_path / "run")
    words = ["finetune", "starter", str(cutouts), "size", "--labels", str(labels), "--blocks", "0", "--epochs", "1"]
    assert main([*words, "--out", out, "--device", "cpu", "--quiet"]) == 0
    assert "trained on 8 labelled objects" in capsys.readouterr().out
    assert main(["predict", str(cutouts), "--model", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "values"


def test_command_tells_what_does_not_fit(cutouts, tmp_path, capsys):
    out = str(tmp_path / "run")

    def told(status, *words):
        assert main([*words]) == status, words
        return " ".join(capsys.readouterr().err.split())

    data = str(cutouts)
    assert "no run and no encoder 'lihgt'; did you mean 'light'" in told(
        1, "finetune", "lihgt", data, "kind", "--out", out
    )
    scratch = ("finetune", "starter", data, "kind", "--out", out, "--size", "9")
    assert "--size is for an encoder from scratch (astrovader, light" in told(2, *scratch)
    preset = ("finetune", "starter", data, "kind", "--out", out, "--views", "radio")
    assert "--views is for an encoder from scratch" in told(2, *preset)
    assert "no column 'kin'; did you mean 'kind'" in told(1, "finetune", "starter", data, "kin", "--out", out)
    for columns in (("id",), ("kind", "kind")):
        words = ("finetune", "starter", data, *columns, "--out", out)
        assert "labels need columns of their own, each named once; got" in told(1, *words)
    labels = tmp_path / "l.csv"
    labels.write_text("id,kind\nn0,a\nzz,b\n")
    unknown = told(1, "finetune", "starter", data, "kind", "--labels", str(labels), "--out", out)
    assert f"1 of 2 labels are for ids that are not in '{data}'; the first is 'zz'" in unknown
    model = ("predict", data, "--model", str(tmp_path / "none"))
    assert "is not there; give a predictor that predict --save wrote, or a run of finetune" in told(1, *model)
    assert "is no run: it has no run.toml" in told(1, "predict", data, "--model", data)
    part = told(2, "predict", data, "--model", data, "--part", "a=row")
    assert "is a run, which looks at images alone; leave --part out" in part
    assert "--average needs --model with a run of finetune" in told(2, "predict", data, "kind", "--average", "d4")


def test_finetune_leaves_the_random_state_alone(tmp_path):
    network = tiny()
    start = copy.deepcopy(network)
    state = torch.random.get_rng_state()
    how = Tuning(batch_size=8, loop=PLAIN, dropout=0.5)
    run = finetune(network, Discs(), labels=kinds(), out=tmp_path / "a", views=LOOKS, epochs=1, seed=5, tuning=how)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)  # the head starts from the seed, whatever the caller drew before
    again = finetune(
        copy.deepcopy(start), Discs(), labels=kinds(), out=tmp_path / "b", views=LOOKS, epochs=1, seed=5, tuning=how
    )
    for key, value in run.tensors().items():
        assert torch.equal(value, again.tensors()[key]), key
