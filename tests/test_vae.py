"""Variational autoencoders: the bound, warm-up, free bits, and ten seeds without a NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from generative import GENERATIVE, Plan, drawn, small, started
from morphospace.errors import ConfigError
from morphospace.learn.methods import VAE, VaDE
from morphospace.learn.methods.ae import NARROWEST, WIDEST


def parts_by_hand(method, batch, seed):
    """Kingma & Welling 2014, eq. 7 and appendix B, in loops: cost and divergence of each image."""
    x = batch.views[0]
    with torch.no_grad():
        mean, log_variance = method.encode(x)
        torch.manual_seed(seed)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        raw = method.generator(z)
    costs, kls = [], []
    for i in range(len(x)):
        a, b = (t[i].double().flatten().tolist() for t in (raw, x))
        costs.append(sum((r - t) ** 2 for r, t in zip(a, b, strict=True)))
        pairs = zip(mean[i].tolist(), log_variance[i].tolist(), strict=True)
        kls.append([-0.5 * (1 + lv - m * m - math.exp(lv)) for m, lv in pairs])
    return np.array(costs), np.array(kls)


@pytest.mark.parametrize("beta, progress, weight", [(1.0, 1.0, 1.0), (4.0, 0.5, 4.0), (2.0, 0.1, 1.0), (2.0, 0.0, 0.0)])
def test_the_loss_is_the_bound(beta, progress, weight):
    method = small(VAE, likelihood="squared", beta=beta, warmup=0.2)
    batch = drawn(method)
    method.eval()
    costs, kls = parts_by_hand(method, batch, 3)
    torch.manual_seed(3)
    loss = method(batch, progress)
    pixels = batch.views[0][0].numel()
    expected = (costs.mean() + weight * kls.sum(axis=1).mean()) / pixels
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(loss.stats["nats"]) == pytest.approx(kls.sum(axis=1).mean(), rel=1e-4)
    assert float(loss.stats["bound"]) == pytest.approx(-(costs + kls.sum(axis=1)).mean(), rel=1e-4)
    assert int(loss.stats["used"]) == int((kls.mean(axis=0) > 0.01).sum())


def test_without_warmup_the_weight_is_whole_from_the_start():
    method = small(VAE, likelihood="squared", warmup=0.0)
    batch = drawn(method)
    torch.manual_seed(0)
    one = method.eval()(batch, 0.0).total
    torch.manual_seed(0)
    torch.testing.assert_close(method(batch, 1.0).total, one)


@pytest.mark.parametrize("free_bits", [0.01, 0.3, 100.0])
def test_free_bits_cost_nothing_more(free_bits):
    """Kingma et al. 2016, eq. 15: each latent costs the larger of its divergence, averaged over the batch, and lambda."""
    method = small(VAE, likelihood="squared", warmup=0.0, free_bits=free_bits).eval()
    batch = drawn(method)
    costs, kls = parts_by_hand(method, batch, 3)
    torch.manual_seed(3)
    loss = method(batch, 1.0)
    expected = costs.mean() + np.maximum(kls.mean(axis=0), free_bits).sum()
    assert float(loss.total.detach()) * batch.views[0][0].numel() == pytest.approx(expected, rel=1e-4)
    if free_bits == 100.0:
        method.zero_grad()
        loss.terms.clear()
        torch.manual_seed(3)
        method(batch, 1.0).total.backward()
        free = [p.grad.clone() for p in method.encoder.parameters()]
        plain = small(VAE, likelihood="squared", beta=0.0).eval()
        torch.manual_seed(3)
        plain(batch, 1.0).total.backward()
        for one, other in zip(free, plain.encoder.parameters(), strict=True):
            torch.testing.assert_close(one, other.grad, rtol=1e-4, atol=1e-8)


def test_the_width_is_the_mean_sigma_of_the_posterior():
    method = small(VAE).eval()
    x = drawn(method).views[0]
    with torch.no_grad():
        found = method.outputs(x)["width"]
        sigma = method.encode(x)[1].mul(0.5).exp()
    torch.testing.assert_close(found, sigma.mean(dim=1))


def test_the_width_is_bounded_whatever_the_network_says():
    method = small(VAE).eval()
    with torch.no_grad():
        for size in (1e3, -1e3, 1e8):
            method.encoder.head.bias[3:] = size
            log_variance = method.encode(drawn(method).views[0])[1]
            assert NARROWEST <= float(log_variance.min()) <= float(log_variance.max()) <= WIDEST


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", GENERATIVE)
def test_ten_seeds_without_a_nan(name, precision):
    """With a rate of the learning that is far too high."""
    for seed in range(10):
        method = small(GENERATIVE[name], seed=seed)
        optimizer = torch.optim.Adam(method.param_groups(3e-2))
        stages = ["warm-up", "anneal 1", "static 1"] if isinstance(method, VaDE) else ["train"]
        phases = {p.name: p for p in method.phases()}
        for stage in stages:
            method.on_phase_start(phases[stage], [drawn(method, 40, seed=seed)])
            for step in range(6):
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    loss = method(drawn(method, 8, seed=step), step / 6)
                assert torch.isfinite(loss.total), (seed, stage, step)
                assert all(torch.isfinite(t) for t in (*loss.terms.values(), *loss.stats.values()))
                loss.total.backward()
                optimizer.step()
                optimizer.zero_grad()
        assert all(torch.isfinite(p).all() for p in method.parameters())


@pytest.mark.parametrize(
    "kind, options",
    [
        (VAE, {"likelihood": "squared"}),
        (VaDE, {"likelihood": "squared"}),
        (VaDE, {"plan": Plan(sampled=True, spread=9.0)}),
    ],
)
def test_the_gradient_is_that_of_finite_differences(kind, options):
    options.setdefault("likelihood", "bernoulli")
    method = small(kind, **options)
    if kind is VaDE:
        started(method)
    method.double().eval()
    batch = drawn(method, 4)
    batch = batch._replace(views=[batch.views[0].double().clamp(0, 1)])

    def value():
        torch.manual_seed(0)
        x = batch.views[0]
        mean, raw = method.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * raw) * torch.randn_like(mean)
        kl = method.divergence(mean, raw, z, 1.0)
        return kl.dimensions.sum() + kl.rest.sum()

    value().backward()
    for parameter in method.encoder.parameters():
        place = tuple(0 for _ in parameter.shape)
        if parameter.grad is None:
            continue
        with torch.no_grad():
            step = 1e-5
            parameter[place] += step
            high = float(value())
            parameter[place] -= 2 * step
            low = float(value())
            parameter[place] += step
        assert float(parameter.grad[place]) == pytest.approx((high - low) / (2 * step), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("options", [{"beta": -1.0}, {"free_bits": -0.1}, {"warmup": 1.5}, {"beta": math.nan}])
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match=r"VAE needs beta >= 0, free_bits >= 0 and warmup in \[0, 1\]; got"):
        small(VAE, **options)
