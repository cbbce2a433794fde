"""Methods: wired as their papers say, which learning curves cannot show, and equal to their equations."""

from __future__ import annotations

import copy
import inspect
import math
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphospace.errors import ConfigError, ShapeError
from morphospace.learn.encoders import encoder
from morphospace.learn.loop import draw_batch
from morphospace.learn.losses import correlation_loss, mean_cosine, negative_cosine
from morphospace.learn.methods import BYOL, JOINT, Batch, Loss, Method, SimCLR, VICReg
from morphospace.learn.prepare import Preparation
from morphospace.learn.views import Collated, Views

SMALL = {"projection_size": 8, "hidden_size": 16}
LOOKS = Views(Preparation(size=16))


def small(kind, **options):
    torch.manual_seed(0)
    return kind(encoder("light"), **{**SMALL, **options})


def block(n=12, bands=1):
    rng = np.random.default_rng(0)
    return Collated(
        x=torch.from_numpy(rng.normal(size=(n, bands, 20, 20)).astype(np.float32)),
        mask=None,
        shape=torch.full((n, 2), 20),
        factor=torch.ones(n),
        sigma=torch.ones(n, bands),
        rows=torch.arange(n),
    )


def drawn(method, seed=1, n=12):
    return draw_batch(block(n), method, LOOKS, torch.Generator().manual_seed(seed))


def storages(module):
    return {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}


def lasting(method):
    """All state but batch statistics."""
    own = ("running_mean", "running_var", "num_batches_tracked")
    return {k: v.clone() for k, v in method.state_dict().items() if not k.endswith(own)}


@torch.no_grad()
def scatter(module, size=0.05):
    for parameter in module.parameters():
        parameter.add_(size * torch.randn_like(parameter))


@torch.no_grad()
def distance(ones, others):
    return math.sqrt(sum(float((one - other).square().sum()) for one, other in zip(ones, others, strict=True)))


def check_wiring(method):
    """Assert what must hold for every method before it may learn anything; each line has its own message."""
    target = getattr(method, "target", None)
    online = [m for name, m in method.named_children() if name != "target"]
    if target is not None:
        shared = storages(target) & set().union(*(storages(m) for m in online))
        assert not shared, "the target shares storage with the online network"
        assert not any(p.requires_grad for p in target.parameters()), "the target asks for gradients"
        scatter(target)  # where target and online network are equal, moving one towards the other goes unseen

    trainable = [p for p in method.parameters() if p.requires_grad]
    given = [id(p) for group in method.param_groups(0.1) for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in trainable), "the optimiser has each trainable parameter once"

    batch = drawn(method)
    assert not torch.equal(batch.views[0], batch.views[1]), "the views do not differ"
    method.train()
    before = lasting(method)
    torch.manual_seed(5)
    loss = method(batch, 0.3)
    after = lasting(method)
    assert all(torch.equal(before[k], after[k]) for k in before), "forward changes state"
    torch.manual_seed(5)
    assert torch.equal(method(batch, 0.3).total, loss.total), "forward twice gives two values"
    assert not any(t.requires_grad for t in (*loss.terms.values(), *loss.stats.values())), "figures carry gradients"

    loss.total.backward()
    without = [n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not without, f"no gradient reaches {without}"
    if target is not None:
        assert all(p.grad is None for p in target.parameters()), "the target gets gradients"

    optimizer = torch.optim.SGD(method.param_groups(0.1))
    optimizer.step()
    if target is not None:
        start = [p.clone() for p in target.parameters()]
        twins = [*method.encoder.parameters(), *method.projector.parameters()]
        method.after_step(loss, 0.3)
        moved, apart = distance(target.parameters(), start), distance(twins, start)
        assert moved > 0, "the target does not move"
        assert moved / apart < 0.2, "the target moves as fast as the online network"

    one_view = batch._replace(views=batch.views[:1])
    with pytest.raises(ConfigError, match=f"{type(method).__name__} needs 2 views per image; got 1"):
        method(one_view, 0.0)


# wiring


@pytest.mark.parametrize("name", JOINT)
def test_wiring(name):
    check_wiring(small(JOINT[name]))


class SharedEncoder(BYOL):
    """The fault of torchgeo's trainer: the target is made of the encoder itself."""

    def __init__(self, encoder, **options):
        super().__init__(encoder, **options)
        self.target = nn.Sequential(self.encoder, copy.deepcopy(self.projector).requires_grad_(requires_grad=False))


class SharedWeights(BYOL):
    """The same, hidden: other modules, one storage."""

    def __init__(self, encoder, **options):
        super().__init__(encoder, **options)
        for mine, theirs in zip(self.target[0].parameters(), self.encoder.parameters(), strict=True):
            mine.data = theirs.data


class TrainedTarget(BYOL):
    def __init__(self, encoder, **options):
        super().__init__(encoder, **options)
        self.target.requires_grad_(requires_grad=True)


class FrozenTarget(BYOL):
    def after_step(self, loss, progress):
        pass


class HastyTarget(BYOL):
    def after_step(self, loss, progress):
        self.target.load_state_dict(nn.Sequential(self.encoder, self.projector).state_dict())


class NoPredictor(BYOL):
    def forward(self, batch, progress):
        p1, p2 = (self.projections(v) for v in self.two_views(batch))
        total = self.loss(p1, p2.detach()).mean() + 0 * sum(p.sum() for p in self.predictor.parameters())
        return Loss(total, {}, {})


class MovesInForward(BYOL):
    def forward(self, batch, progress):
        loss = super().forward(batch, progress)
        self.after_step(loss, progress)
        return loss


class SameView(BYOL):
    view_sizes = (1.0,)

    def forward(self, batch, progress):
        return super().forward(batch._replace(views=batch.views * 2), progress)


class Forgetful(SimCLR):
    def param_groups(self, lr):
        return super().param_groups(lr)[:1]


class Noisy(SimCLR):
    state: ClassVar = np.random.default_rng(0)

    def forward(self, batch, progress):
        loss = super().forward(batch, progress)
        return loss._replace(total=loss.total * (1 + 0.1 * self.state.random()))


@pytest.mark.parametrize(
    "broken, message",
    [
        (SharedEncoder, "the target shares storage with the online network"),
        (SharedWeights, "the target shares storage with the online network"),
        (TrainedTarget, "the target asks for gradients"),
        (FrozenTarget, "the target does not move"),
        (HastyTarget, "the target moves as fast as the online network"),
        (NoPredictor, "no gradient reaches .*predictor"),
        (MovesInForward, "forward changes state"),
        (Forgetful, "the optimiser has each trainable parameter once"),
        (Noisy, "forward twice gives two values"),
    ],
)
def test_the_wiring_check_finds_each_fault(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_wiring(small(broken))


def test_a_method_of_one_view_is_found():
    with pytest.raises(IndexError):
        check_wiring(small(SameView))


# the contract


@pytest.mark.parametrize("name", JOINT)
def test_every_constructor_argument_is_an_attribute(name):
    """A run rebuilds a method from these."""
    method = small(JOINT[name])
    names = set(inspect.signature(JOINT[name]).parameters) - {"encoder", "layer"}
    assert {n for n in names if not hasattr(method, n)} == set()


@pytest.mark.parametrize("name", JOINT)
@pytest.mark.parametrize("layer, dim", [(None, 128), ("layer1", 32), (0, 32)])
def test_vectors_and_projections_have_the_sizes_told(name, layer, dim):
    method = small(JOINT[name], layer=layer).eval()
    x = torch.randn(3, 1, 24, 24)
    assert method.dim == dim
    assert method.outputs(x)["vector"].shape == (3, dim)
    assert method.projections(x).shape == (3, 8)
    assert method.encoders["image"] is method.encoder
    assert method.network.stem is not None


@pytest.mark.parametrize("name", JOINT)
def test_the_order_of_the_batch_does_not_matter(name):
    method = small(JOINT[name])
    batch = drawn(method)
    order = torch.randperm(12)
    one = method(batch, 0.5).total
    other = method(batch._replace(views=[v[order] for v in batch.views]), 0.5).total
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", JOINT)
def test_swapping_the_views_does_not_matter(name):
    method = small(JOINT[name])
    batch = drawn(method)
    one = method(batch, 0.5).total
    torch.testing.assert_close(one, method(batch._replace(views=batch.views[::-1]), 0.5).total)


@pytest.mark.parametrize("name", JOINT)
def test_the_smallest_batch_gives_a_finite_loss(name):
    method = small(JOINT[name])
    loss = method(drawn(method, n=2), 0.0)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    assert all(torch.isfinite(t) for t in (*loss.terms.values(), *loss.stats.values()))


@pytest.mark.parametrize("name", JOINT)
def test_weight_decay_spares_norms_and_biases(name):
    decayed, spared = small(JOINT[name]).param_groups(0.5)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])
    assert spared["weight_decay"] == 0
    assert "weight_decay" not in decayed


@pytest.mark.parametrize("name", JOINT)
def test_the_papers_are_cited(name):
    assert JOINT[name].paper.split()[0].lower() in JOINT[name].bibtex
    assert JOINT[name].paper in JOINT[name].__doc__


def test_flux_and_masks_come_to_a_method_that_asks():
    class NeedsFlux(BYOL):
        needs_flux = True
        view_sizes = (1.0, 1.0, 0.5)

    batch = drawn(small(NeedsFlux))
    assert [tuple(v.shape) for v in batch.views] == [(12, 1, 16, 16), (12, 1, 16, 16), (12, 1, 8, 8)]
    assert [f.shape for f in batch.flux] == [v.shape for v in batch.views]
    assert [m.shape for m in batch.mask] == [v.shape for v in batch.views]
    torch.testing.assert_close(batch.views[0], LOOKS.prepare.stretch(batch.flux[0]))
    plain = drawn(small(BYOL))
    assert plain.flux == plain.mask == []


def test_the_parent_class_asks_for_what_is_missing():
    method = Method(encoder("light"))
    with pytest.raises(NotImplementedError):
        method(drawn(method), 0.0)
    with pytest.raises(NotImplementedError):
        method.projections(torch.zeros(2, 1, 16, 16))


@pytest.mark.parametrize("name", JOINT)
def test_an_encoder_without_vectors_is_refused(name):
    with pytest.raises(ShapeError, match=r"encoder must return \(B, D\)"):
        JOINT[name](nn.Conv2d(1, 4, 3))


# equations


def projections_of(method, batch):
    """Vectors, projections, predictions and targets of both views, by the parts of the method one by one."""
    z = [method.encoder(v) for v in batch.views]
    p = [method.projector(x) for x in z]
    q = [method.predictor(x) for x in p] if hasattr(method, "predictor") else None
    t = [method.target(v) for v in batch.views] if getattr(method, "target", None) is not None else None
    return z, p, q, t


def cos(a, b):
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def test_byol_is_grill_eq_2_and_3():
    method = small(BYOL, decorrelate=0.0)
    scatter(method.target)
    batch = drawn(method)
    _, _, q, t = projections_of(method, batch)
    expected = (2 - 2 * cos(q[0], t[1])).mean() + (2 - 2 * cos(q[1], t[0])).mean()
    got = method(batch, 0.0)
    torch.testing.assert_close(got.total, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.terms["predict"], got.total.detach())


@pytest.mark.parametrize("momentum", [True, False])
def test_no_gradient_flows_through_the_target(momentum):
    """The gradient is that of the equation with its targets as constants."""
    method = small(BYOL, momentum=momentum, decorrelate=0.0)
    batch = drawn(method)
    _, p, q, t = projections_of(method, batch)
    targets = [x.detach() for x in (t if momentum else p)]
    (negative_cosine(q[0], targets[1]) + negative_cosine(q[1], targets[0])).mean().backward()
    expected = [p.grad.clone() for p in method.parameters() if p.requires_grad]
    method.zero_grad()
    method(batch, 0.0).total.backward()
    for got, want in zip((p.grad for p in method.parameters() if p.requires_grad), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_simclr_is_chen_eq_1_and_tells_the_information():
    method = small(SimCLR, decorrelate=0.0, temperature=0.5)
    batch = drawn(method)
    _, p, _, _ = projections_of(method, batch)
    z = F.normalize(torch.stack(p, dim=1).flatten(0, 1).detach().double(), dim=1).numpy()
    total = 0.0
    for i in range(24):
        similar = np.exp(z @ z[i] / 0.5)
        total -= math.log(similar[i ^ 1] / (similar.sum() - similar[i])) / 24
    loss = method(batch, 0.0)
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-4)
    assert float(loss.stats["mutual_information"]) == pytest.approx(math.log(23) - total, abs=1e-4)


def test_vicreg_is_bardes_eq_6():
    method = small(VICReg, decorrelate=0.0, invariance=3.0, variance=5.0, covariance=7.0)
    batch = drawn(method)
    _, p, _, _ = projections_of(method, batch)
    a, b = (x.detach().double().numpy() for x in p)
    n, d = a.shape
    s = ((a - b) ** 2).sum() / n / d
    v = sum(np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean() for z in (a, b)) / 2
    c = 0.0
    for z in (a, b):
        covariance = np.cov(z.T)
        c += (covariance**2).sum() / d - (np.diag(covariance) ** 2).sum() / d
    loss = method(batch, 0.0)
    for name, expected in (("invariance", 3 * s), ("variance", 5 * v), ("covariance", 7 * c)):
        assert float(loss.terms[name]) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert float(loss.total.detach()) == pytest.approx(3 * s + 5 * v + 7 * c, rel=1e-3)


@pytest.mark.parametrize("name", JOINT)
def test_decorrelation_is_added_to_the_papers_loss(name):
    plain, more = small(JOINT[name], decorrelate=0.0), small(JOINT[name], decorrelate=0.3)
    batch = drawn(plain)
    z, p, _, _ = projections_of(more, batch)
    extra = 0.3 * (correlation_loss(z[0]) + correlation_loss(z[1]))
    one, other = plain(batch, 0.0), more(batch, 0.0)
    torch.testing.assert_close(other.total, one.total + extra, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.terms["redundancy"], extra.detach(), rtol=1e-4, atol=1e-5)
    assert "redundancy" not in one.terms
    torch.testing.assert_close(one.stats["mean_cosine"], mean_cosine(p[0]))
    with pytest.raises(ConfigError, match=rf"decorrelate of {name} must not be negative; got -0.1"):
        small(JOINT[name], decorrelate=-0.1)


# BYOL's knobs


def test_the_target_is_the_moving_average_of_everything_online():
    method = small(BYOL, ema_decay=0.9, ema_schedule="constant").double()
    online = nn.Sequential(method.encoder, method.projector)
    with torch.no_grad():
        for tensor in online.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor))
        online[0].norm.num_batches_tracked.fill_(7)
    before = {k: v.clone() for k, v in method.target.state_dict().items()}
    method.after_step(Loss(torch.zeros(()), {}, {}), 0.7)
    for key, value in method.target.state_dict().items():
        new = online.state_dict()[key]
        expected = 0.9 * before[key] + 0.1 * new if value.is_floating_point() else new
        torch.testing.assert_close(value, expected)


def test_decay_rises_to_one_by_a_cosine():
    method = small(BYOL, ema_decay=0.99)
    assert method.decay(0.0) == pytest.approx(0.99)
    assert method.decay(0.5) == pytest.approx(0.995)
    assert method.decay(1.0) == 1.0
    found = [method.decay(t / 20) for t in range(21)]
    assert found == sorted(found)
    constant = small(BYOL, ema_decay=0.97, ema_schedule="constant")
    assert {constant.decay(t / 20) for t in range(21)} == {0.97}


@pytest.mark.parametrize("ema_decay", [0.0, 1.0])
def test_the_ends_of_the_decay(ema_decay):
    method = small(BYOL, ema_decay=ema_decay, ema_schedule="constant")
    start = copy.deepcopy(method.target.state_dict())
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.add_(1.0)
    method.after_step(Loss(torch.zeros(()), {}, {}), 0.0)
    online = nn.Sequential(method.encoder, method.projector).state_dict()
    expected = online if ema_decay == 0 else {**start, **{k: v for k, v in online.items() if "tracked" in k}}
    for key, value in method.target.state_dict().items():
        torch.testing.assert_close(value, expected[key])


def test_without_momentum_there_is_no_target():
    method = small(BYOL, momentum=False)
    assert method.target is None
    assert not any(k.startswith("target") for k in method.state_dict())
    check_wiring(method)
    method.after_step(Loss(torch.zeros(()), {}, {}), 0.0)


def test_a_loss_of_ones_own_gets_predictions_and_targets():
    seen = []

    def mine(prediction: Tensor, target: Tensor) -> Tensor:
        seen.append((prediction.shape, target.shape, prediction.requires_grad, target.requires_grad))
        return F.smooth_l1_loss(prediction, target)  # a scalar is taken as well as (B,)

    method = small(BYOL, loss=mine, decorrelate=0.0)
    batch = drawn(method)
    _, _, q, t = projections_of(method, batch)
    expected = F.smooth_l1_loss(q[0], t[1]) + F.smooth_l1_loss(q[1], t[0])
    torch.testing.assert_close(method(batch, 0.0).total, expected)
    assert seen == [((12, 8), (12, 8), True, False)] * 2


def test_sizes_of_the_heads():
    method = BYOL(encoder("light"), projection_size=5, hidden_size=11)
    assert [m.weight.shape for m in method.projector if isinstance(m, nn.Linear)] == [(11, 128), (5, 11)]
    assert [m.weight.shape for m in method.predictor if isinstance(m, nn.Linear)] == [(11, 5), (5, 11)]


def test_the_target_starts_as_a_copy_in_the_same_mode():
    method = small(BYOL)
    for mine, theirs in zip(method.target[0].parameters(), method.encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert method.eval().target[0].training is False


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: small(BYOL, ema_decay=1.1), r"ema_decay of BYOL must lie in \[0, 1\]; got 1.1"),
        (lambda: small(BYOL, ema_decay=math.nan), r"must lie in \[0, 1\]; got nan"),
        (
            lambda: small(BYOL, ema_schedule="linear"),
            "ema_schedule of BYOL must be cosine or constant; got 'linear'",
        ),
        (lambda: small(SimCLR, temperature=0.0), "temperature of SimCLR must be positive; got 0.0"),
        (lambda: small(VICReg, layer="layer7"), "network has no layer 'layer7'"),
    ],
)
def test_bad_options_are_refused(call, match):
    with pytest.raises(ConfigError, match=match):
        call()


def test_batches_carry_what_they_are_told():
    method = small(BYOL)
    batch = draw_batch(block(), method, LOOKS, torch.Generator().manual_seed(0))
    assert isinstance(batch, Batch)
    assert batch.rows.tolist() == list(range(12))
    assert batch.sigma.shape == (12, 1)
    assert batch.label is None
