"""VaDE: the loss of its paper, the phases of s3VDC, kinds that are known, and components that die."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from torch import nn

from generative import SIDE, STILL, drawn, small, started, tiny
from morphospace.errors import ConfigError, DataError, NotFittedError
from morphospace.learn import train as train_module
from morphospace.learn.data import open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.health import Health, Verdict
from morphospace.learn.loop import draw_batch
from morphospace.learn.methods import AstroVaDEr, Phase, Plan, VaDE
from morphospace.learn.prepare import Preparation
from morphospace.learn.record import load_method
from morphospace.learn.views import plain_view, views
from morphospace.sky.simulate import simulate, write_sky
from morphospace.sky.stretch import Stretch
from morphospace.space.embed import embed
from small_runs import EAGER, assert_same, failing, fit, history


def accuracy(label, chosen):
    """Clustering accuracy: the best one-to-one naming of the groups."""
    n = int(max(label.max(), chosen.max())) + 1
    table = np.zeros((n, n), int)
    np.add.at(table, (chosen, label), 1)
    return table[linear_sum_assignment(-table)].sum() / len(label)


# the loss


def vade_by_hand(method, mean, log_variance, z=None):
    """The bound of Jiang et al. 2017, section 3, in loops; gamma of the sample z, or the one that makes the bound highest."""
    log_pi, mu, log_s2 = (t.double().tolist() for t in method.mixture())
    k, d = len(mu), len(mu[0])
    out = []
    for i in range(len(mean)):
        m, v = mean[i].double().tolist(), log_variance[i].double().exp().tolist()
        joint = []
        for c in range(k):
            at, more = (m, v) if z is None else (z[i].double().tolist(), [0.0] * d)
            joint.append(log_pi[c])
            for j in range(d):
                s2 = math.exp(log_s2[c][j])
                joint[c] -= 0.5 * (math.log(2 * math.pi * s2) + (more[j] + (at[j] - mu[c][j]) ** 2) / s2)
        top = max(joint)
        total = sum(math.exp(a - top) for a in joint)
        gamma = [math.exp(a - top) / total for a in joint]
        kl = 0.0
        for c in range(k):
            inner = 0.0
            for j in range(d):
                s2 = math.exp(log_s2[c][j])
                inner += math.log(s2) + v[j] / s2 + (m[j] - mu[c][j]) ** 2 / s2
            kl += 0.5 * gamma[c] * inner
            if gamma[c] > 0:
                kl -= gamma[c] * (log_pi[c] - math.log(gamma[c]))
        out.append(kl - 0.5 * sum(1 + math.log(a) for a in v))
    return np.array(out)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(
    "phase, progress, weight", [("anneal 1", 0.5, 0.125), ("anneal 1", 1.0, 1.0), ("static 1", 0.1, 1.0)]
)
def test_the_loss_is_that_of_the_paper(sampled, phase, progress, weight):
    method = started(small(VaDE, likelihood="squared", plan=Plan(sampled=sampled, beta=2.0)), phase=phase).eval()
    batch = drawn(method)
    x = batch.views[0]
    with torch.no_grad():
        mean, log_variance = method.encode(x)
        torch.manual_seed(4)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        cost = (method.make(z) - x).square().sum(dim=(1, 2, 3)).mean()
        kl = vade_by_hand(method, mean, log_variance, z if sampled else None).mean()
        torch.manual_seed(4)
        loss = method(batch, progress)
    assert float(loss.stats["nats"]) == pytest.approx(kl, rel=1e-4)
    assert float(loss.total) * x[0].numel() == pytest.approx(float(cost) + 2 * weight * kl, rel=1e-4)


def test_the_warm_up_has_a_weak_normal_prior():
    method = small(VaDE, likelihood="squared", plan=Plan(weight=0.03)).eval()
    batch = drawn(method)
    torch.manual_seed(4)
    loss = method(batch, 0.9)
    mean, log_variance = method.encode(batch.views[0])
    nats = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean().detach()
    torch.testing.assert_close(loss.stats["nats"], nats)
    torch.testing.assert_close(loss.terms["divergence"], 0.03 * nats / SIDE**2)
    loss.total.backward()
    assert not method.component_means.grad.any()


@pytest.mark.parametrize("balance", [0.0, 0.5, 0.8, 1.0])
def test_balance_shares_the_gradient_and_keeps_the_value(balance):
    plain = started(small(VaDE))
    shared = started(small(VaDE, plan=Plan(balance=balance)))
    batch = drawn(plain)
    losses = []
    for method in (plain.eval(), shared.eval()):
        torch.manual_seed(0)
        losses.append(method(batch, 1.0))
        z = torch.zeros(12, 3)
        kl = method.divergence(*method.encode(batch.views[0]), z, 1.0)
        method.zero_grad()
        (kl.dimensions.sum() + kl.rest.sum()).backward()
    torch.testing.assert_close(losses[0].total, losses[1].total)
    for name, p in plain.named_parameters():
        if p.grad is not None:
            part = balance if name.startswith("component") else 1 - balance
            torch.testing.assert_close(shared.get_parameter(name).grad, part * p.grad, rtol=1e-3, atol=1e-5)


def test_responsibilities_are_those_of_scikit_learn():
    method = started(small(VaDE, k=3), n=90)
    mixture = method.mixture()
    theirs = GaussianMixture(3, covariance_type="diag")
    theirs.weights_ = mixture.log_weights.detach().double().exp().numpy()
    theirs.means_ = mixture.means.detach().double().numpy()
    theirs.covariances_ = mixture.log_variances.detach().double().exp().numpy()
    theirs.precisions_cholesky_ = 1 / np.sqrt(theirs.covariances_)
    z = torch.randn(20, 3)
    points = torch.full_like(z, -60.0)  # without a width
    found = method.responsibilities(z, points).detach()
    np.testing.assert_allclose(found, theirs.predict_proba(z.numpy()), rtol=1e-3, atol=1e-5)


def test_the_columns_are_the_most_probable_component_and_its_probability():
    method = small(VaDE, k=3).eval()
    x = drawn(method).views[0]
    with torch.no_grad():
        before = method.outputs(x)
        assert bool(before["component"].isnan().all() & before["probability"].isnan().all())
        started(method, n=90)
        out = method.outputs(x)
        gamma = method.responsibilities(*method.encode(x))
    torch.testing.assert_close(out["component"], gamma.argmax(dim=1).float())
    torch.testing.assert_close(out["probability"], gamma.amax(dim=1))
    torch.testing.assert_close(torch.stack([out[f"p_{c}"] for c in range(3)], dim=1), gamma)
    assert not [name for name in before if name.startswith("p_")]


def test_a_mixture_that_has_not_started_is_named():
    with pytest.raises(NotFittedError, match="this AstroVaDEr has no mixture yet: it begins after the warm-up"):
        small(AstroVaDEr).mixture()


# phases


def test_the_phases_of_s3vdc():
    found = small(VaDE, plan=Plan(warmup=0.2, periods=2, anneal=0.25, settle=3)).phases()
    assert [p.name for p in found] == ["warm-up", "anneal 1", "static 1", "anneal 2", "static 2"]
    np.testing.assert_allclose([p.share for p in found], [0.2, 0.1, 0.3, 0.1, 0.3])
    assert [p.settle for p in found] == [3, 0, 3, 0, 3]


def test_the_preset_has_the_schedule_of_its_paper():
    """Spindler et al. 2021: 100 epochs, then five times 25 and 25."""
    method = small(AstroVaDEr, k=12, latents=20)
    found = [round(350 * p.share) for p in method.phases()]
    assert found == [100] + [25] * 10
    assert (method.plan.beta, method.plan.weight, method.plan.batches) == (0.3, 0.3, 200)
    assert (method.likelihood, method.decoder) == ("squared", "astrovader")


def test_the_preset_adds_the_squares_of_the_weights():
    plan = Plan(beta=0.3)
    one = started(small(VaDE, likelihood="squared", decoder="astrovader", plan=plan))
    other = started(small(AstroVaDEr, plan=plan))
    other.load_state_dict(one.state_dict())
    batch = drawn(one)
    losses = []
    for method in (one.eval(), other.eval()):
        torch.manual_seed(0)
        losses.append(method(batch, 1.0))
    squares = sum(
        float(m.weight.detach().square().sum()) for m in one.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    )
    assert float((losses[1].total - losses[0].total).detach()) == pytest.approx(0.01 * squares / SIDE**2, rel=1e-3)


@pytest.mark.parametrize("at", [2, 8, 11, 14])
@pytest.mark.parametrize("where", ["forward", "on_phase_start"])
def test_phases_go_on_exactly(where, at, tmp_path):
    """At any step, and in the middle of the mixture's start."""
    options = {"size": 8, "plan": Plan(start="map", hold=5.0, settle=1)}
    one = fit(tmp_path / "one", small(VaDE, **options), epochs=8)
    method = failing(small(VaDE, **options), KeyboardInterrupt(), at=at if where == "forward" else at % 4, where=where)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two", method, epochs=8, loop=EAGER)
    torch.manual_seed(77)
    assert_same(fit(tmp_path / "two", small(VaDE, seed=3, **options), epochs=8, resume=True), one)


class Settling(VaDE):
    """A loss that falls for two epochs, and then no more."""

    def phases(self):
        return [Phase("warm-up", 0.5, 2), Phase("anneal 1", 0.5)]

    def forward(self, batch, progress):
        loss = super().forward(batch, progress)
        value = max(0.0, 1 - int(self.stage) - progress * 5)
        return loss._replace(total=0 * loss.total + value)


def test_a_phase_ends_when_its_loss_has_settled(tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
    run = fit(tmp_path / "run", small(Settling, size=8), epochs=20)
    names = [row["phase"] for row in history(run)]
    assert names == ["warm-up"] * 5 + ["anneal 1"] * 10
    rates = [float(row["lr"]) for row in history(run)]
    whole = fit(
        tmp_path / "whole",
        small(
            type("Unsettled", (Settling,), {"phases": lambda _: [Phase("warm-up", 0.5), Phase("anneal 1", 0.5)]}),
            size=8,
        ),
        epochs=20,
    )
    kept = [float(row["lr"]) for row in history(whole)]
    assert rates == kept[:5] + kept[10:]


# starts


@pytest.mark.parametrize("start", ["gmm", "round", "map"])
def test_the_start_keeps_what_the_decoder_makes(start):
    """Turning the space is undone before the decoder."""
    method = small(VaDE, plan=Plan(start=start)).eval()
    x = drawn(method).views[0]
    with torch.no_grad():
        before = method.decode(method.encode(x)[0])
        phase = method.phases()[1]
        method.on_phase_start(phase, [drawn(method, 80)])
        torch.testing.assert_close(method.decode(method.encode(x)[0]), before, rtol=1e-3, atol=1e-4)
    turned = not torch.equal(method.axes, torch.eye(3))
    assert turned == (start != "gmm")
    torch.testing.assert_close(method.axes @ method.axes_inverse, torch.eye(3), atol=1e-4, rtol=0.0)


def test_a_start_from_posteriors_wider_than_the_kinds_still_tells_them_apart():
    """After a short warm-up; with widths as they are all images would be in the heaviest component."""
    method = small(VaDE, plan=Plan(start="map"))
    rng = np.random.default_rng(0)
    kind = np.arange(200) % 2
    mean = torch.from_numpy(rng.normal(0, 0.02, (200, 3)) + 0.2 * kind[:, None]).float()
    method._start(mean, torch.zeros(200, 3), torch.arange(200))
    turned = (mean - method.centre) @ method.axes.T
    width = method.encoder.head.bias[3:].detach().expand(200, 3)
    gamma = method.responsibilities(turned, width).detach()
    assert accuracy(kind, gamma.argmax(dim=1).numpy()) == 1.0
    assert float(gamma.amax(dim=1).median()) > 0.99


def test_batch_norms_are_settled_before_a_start():
    """Averages that lag behind would put the mixture where training never puts an image."""
    norm = nn.BatchNorm2d(1)
    network = nn.Sequential(norm, nn.AdaptiveAvgPool2d(2), nn.Flatten())
    network.dim = 4
    method = small(VaDE, network)
    batch = drawn(method, 80)
    batch = batch._replace(views=[7 + 3 * batch.views[0]])
    norm.train()
    norm(torch.full((4, 1, 8, 8), 50.0))  # long ago
    method.on_phase_start(method.phases()[1], [batch])
    assert float(norm.running_mean) == pytest.approx(float(batch.views[0].mean()), rel=1e-3)
    assert float(norm.running_var) == pytest.approx(float(batch.views[0].var()), rel=1e-3)
    assert norm.momentum == 0.1


def test_leaving_the_groups_of_the_map_costs_in_the_first_anneal():
    method = small(VaDE, likelihood="squared", plan=Plan(start="map", hold=5.0)).eval()
    phases = method.phases()
    method.on_phase_start(phases[1], [drawn(method, 80)])
    assert sorted(set(method.groups.tolist())) == [0, 1]
    batch = drawn(method)
    unknown = torch.where(batch.rows < 4, batch.rows, batch.rows + 1000)  # four of twelve were at the start
    with torch.no_grad():
        gamma = method.responsibilities(*method.encode(batch.views[0]))
        cost = -gamma[torch.arange(12), method.groups[:12]].log()
        free = float(method(batch._replace(rows=batch.rows + 1000), 1.0).terms["held"])
        held = [float(method(batch._replace(rows=rows), 1.0).terms["held"]) for rows in (batch.rows, unknown)]
    assert free == 0
    found = [5 * float(part.sum()) / 12 / SIDE**2 for part in (cost, cost[:4])]
    np.testing.assert_allclose(held, found, rtol=1e-3, atol=1e-7)
    method.on_phase_start(phases[2], [drawn(method, 80)])
    assert "held" not in method(batch, 1.0).terms


def test_groups_in_a_state_come_back():
    one, other = (small(VaDE, plan=Plan(start="map", hold=5.0)) for _ in range(2))
    one.on_phase_start(one.phases()[1], [drawn(one, 80)])
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.groups, other.groups)


def test_a_plan_left_alone_is_recorded(tmp_path):
    run = fit(tmp_path / "run", small(VaDE, size=8), epochs=4)
    assert run.config["method"]["plan"]["warmup"] == 0.3
    assert load_method(run, network=tiny()).plan == Plan()


def test_a_dead_component_is_left_out_with_a_word(caplog):
    method = started(small(VaDE, k=3), n=90)
    with torch.no_grad():
        method.component_means[1] = 1e4
    with caplog.at_level(logging.WARNING):
        method.on_phase_start(method.phases()[-1], [drawn(method, 60)])
    assert "component 1 of 3 holds less than 0.0033 of the images and is left out; 2 remain" in caplog.text
    assert len(method.mixture().means) == 2
    assert method.responsibilities(torch.zeros(4, 3), torch.zeros(4, 3)).shape == (4, 2)
    assert float(method.mixture().log_weights.exp().sum().detach()) == pytest.approx(1)
    loss = method(drawn(method), 0.5)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert not method.component_means.grad[1].any()


def test_phases_without_an_epoch_are_told(tmp_path, caplog):
    fit(tmp_path / "run", small(VaDE, size=8), epochs=2)
    assert "2 epochs are too few for the 5 phases of VaDE; without any: anneal 1, static 1, static 2." in caplog.text
    caplog.clear()
    fit(tmp_path / "whole", small(VaDE, size=8), epochs=8)
    assert "too few" not in caplog.text


def test_too_few_images_for_the_components_are_named(tmp_path):
    with pytest.raises(
        DataError, match="a mixture of 8 components needs at least 40 images to start from; there are 18"
    ):
        fit(tmp_path / "run", small(VaDE, size=8, k=8), epochs=4)
    # at once, and not after hours of warm-up; the folder is free for the mended call
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, match",
    [
        ({"k": 0}, "k of VaDE must be at least 1, or 'auto'; got 0"),
        ({"k": "many"}, "got 'many'"),
        ({"likelihood": "noisy", "plan": {"target": "plain"}}, "target 'plain' has no noise for likelihood 'noisy'"),
        ({"k": "auto", "plan": {"start": "map"}}, "start 'map' needs a number k"),
        (
            {"plan": {"warmupp": 0.5}},
            "unknown key 'method.plan.warmupp' in options of VaDE; did you mean 'method.plan.warmup'",
        ),
        ({"plan": {"periods": "two"}}, "'method.plan.periods' in options of VaDE must be .* got 'two'"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        small(VaDE, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"warmup": 1.0},
        {"anneal": 1.5},
        {"balance": -0.1},
        {"periods": 0},
        {"batches": 0},
        {"weight": -1},
        {"beta": math.nan},
        {"start": "map", "hold": -1},
    ],
)
def test_bad_plans_are_refused(options):
    with pytest.raises(ConfigError, match=r"of a plan must (lie|be at least)"):
        Plan(**options)


def test_groups_can_be_held_only_where_a_map_finds_some():
    with pytest.raises(ConfigError, match="hold of a plan is for the groups of start 'map'; start is 'round'"):
        Plan(start="round", hold=1.0)


def test_the_plain_image_is_the_target_of_a_distorted_view():
    method = small(VaDE, likelihood="squared", plan=Plan(target="plain"))
    looks = replace(STILL, rotate=True)
    batch = drawn(method, views=looks)
    assert len(batch.views) == 2
    assert not torch.equal(*batch.views)
    torch.testing.assert_close(batch.views[1], drawn(method).views[1])
    raw = torch.zeros_like(batch.views[1])
    torch.testing.assert_close(method.reconstruction_cost(batch, raw), batch.views[1].square().sum(dim=(1, 2, 3)))
    assert torch.isfinite(method(batch, 0.0).total)


def test_two_views_share_a_component():
    method = started(small(VaDE, likelihood="squared", plan=Plan(pairs=True)), n=60).eval()
    looks = replace(STILL, rotate=True)
    batch = drawn(method, views=looks)
    assert len(batch.views) == 2
    with torch.no_grad():
        mean, log_variance = method.encode(torch.cat(batch.views))
        torch.manual_seed(4)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        cost = (method.make(z) - torch.cat(batch.views)).square().sum(dim=(1, 2, 3)).mean()
        torch.manual_seed(4)
        loss = method(batch, 1.0)
        same = method(batch._replace(views=batch.views[::-1]), 1.0)
    total = float(loss.total) * SIDE**2
    assert total == pytest.approx(float(cost + loss.stats["nats"]), rel=1e-4)
    assert float(same.stats["nats"]) == pytest.approx(float(loss.stats["nats"]), rel=1e-4)


# kinds that are known


class Pictures:
    """Images of one size in the hands of a test."""

    def __init__(self, images):
        self.images = images.astype(np.float32)[:, None]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "id": str(index), "level": [0.0], "sigma": [0.0]}


LOOKS = replace(STILL, prepare=Preparation(size=8, units="none", stretch=Stretch("linear")))


def dense(n):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, n), nn.ReLU())
    network.dim = n
    return network


class Dense(nn.Module):
    def __init__(self, latents, n):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(latents, n), nn.ReLU(), nn.Linear(n, 64))

    def forward(self, z):
        return self.net(z).reshape(-1, 1, 8, 8)


def clusters(method, images, out, **options):
    """Train, and return the component of every image and its probability."""
    fit(out, method, Pictures(images), **{"views": LOOKS, "batch_size": 64, **options})
    data = open_data(Pictures(images), LOOKS.prepare)
    with torch.no_grad():
        found = method.outputs(plain_view(data.rows(range(len(data))), LOOKS.prepare))
    return found["component"].long().numpy(), found["probability"].numpy()


@pytest.mark.parametrize("k", [4, "auto"])
def test_blobs_in_four_corners_are_four_kinds(k, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
    rng = np.random.default_rng(0)
    label = np.arange(256) % 4
    images = np.abs(rng.normal(0, 0.05, (256, 8, 8)))
    for image, corner in zip(images, label, strict=True):
        a, b = 4 * (corner // 2), 4 * (corner % 2)
        image[a : a + 4, b : b + 4] += rng.uniform(0.7, 1.0)
    torch.manual_seed(0)
    method = VaDE(dense(32), latents=3, decoder=Dense(3, 32), size=8, likelihood="gaussian", k=k, plan=Plan(warmup=0.5))
    chosen, probability = clusters(method, images, tmp_path / "run", epochs=30, lr=5e-3)
    assert len(method.mixture().means) == 4
    assert accuracy(label, chosen) == 1.0
    assert float(np.median(probability)) > 0.9


@pytest.mark.slow
def test_discs_and_doubles_are_two_kinds(tmp_path, monkeypatch):
    """A dozen epochs of 200 small radio images, turned by any angle."""
    monkeypatch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
    sky = simulate(["disc", "double"], 200, size=32, seed=5, snr=(50.0, 200.0), beam_px=2.0)
    store = write_sky(sky, tmp_path / "sky.cutouts")
    looks = replace(views("radio", size=32, scale="pixel"), blur=0.0, noise=0.0, gain=0.0, zoom=(0.9, 1.1))
    torch.manual_seed(0)
    plan = Plan(warmup=0.5, periods=1, start="map", target="plain", hold=20.0)
    method = VaDE(encoder("light"), k=2, latents=6, decoder="light", size=32, plan=plan)
    run = fit(tmp_path / "run", method, store, views=looks, epochs=12, batch_size=32, lr=3e-3)
    found = embed(run, store, out=tmp_path / "sky.emb").table(["component"])["component"].to_numpy().astype(int)
    kind = np.unique(np.asarray(sky.factors["kind"]), return_inverse=True)[1]
    assert accuracy(kind, found) > 0.85


@pytest.mark.slow
def test_real_digits_are_found_without_labels(tmp_path, monkeypatch):
    """8 x 8 pixels of scikit-learn: better than k-means and a diagonal mixture on the principal components (0.72, 0.73)."""
    monkeypatch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
    images, label = load_digits(return_X_y=True)
    torch.manual_seed(0)
    plan = Plan(warmup=0.7, periods=1, anneal=0.7, start="map", weight=0.0, target="plain", hold=20.0)
    method = VaDE(dense(256), latents=8, decoder=Dense(8, 256), size=8, likelihood="bernoulli", k=10, plan=plan)
    chosen, _ = clusters(method, images.reshape(-1, 8, 8) / 16, tmp_path / "run", epochs=40, lr=3e-3)
    assert accuracy(label, chosen) > 0.8


def test_a_batch_for_vade_is_drawn_as_for_others():
    method = small(VaDE)
    batch = draw_batch(drawn.__globals__["block"](), method, STILL, torch.Generator().manual_seed(0))
    assert len(batch.views) == 1
    assert batch.flux == batch.mask == []
