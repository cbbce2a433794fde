"""Autoencoders: their likelihoods against the equations, their wiring, what they give and what they refuse."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from generative import GENERATIVE, SIDE, STILL, block, drawn, small, started, tiny
from morphospace.errors import ConfigError, ShapeError
from morphospace.learn.encoders import encoder
from morphospace.learn.likelihoods import negative_log_likelihood, noisy_loss, stretched_sigma
from morphospace.learn.loop import draw_batch
from morphospace.learn.methods import AE, VAE, VaDE
from morphospace.learn.prepare import Preparation
from morphospace.learn.record import load_method
from morphospace.sky.stretch import Stretch
from morphospace.space.embed import embed
from morphospace.space.generate import Decoder
from small_runs import EAGER, Own, assert_same, failing, fit, history

KINDS = list(GENERATIVE)
FREE = [name for name in KINDS if name != "AstroVaDEr"]  # which has the decoder and the likelihood of its paper


def pictures(n=4, bands=2, side=5, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, bands, side, side))), torch.tensor(rng.uniform(size=(n, bands, side, side)))


# likelihoods against loops


@pytest.mark.parametrize("kind", ["squared", "gaussian", "bernoulli"])
def test_likelihoods_are_the_equations(kind):
    raw, x = pictures()
    variance = float((raw - x).square().mean())
    expected = []
    for a, b in zip(raw.flatten(1).tolist(), x.flatten(1).tolist(), strict=True):
        total = 0.0
        for r, t in zip(a, b, strict=True):
            if kind == "squared":
                total += (r - t) ** 2
            elif kind == "gaussian":
                total += 0.5 * ((r - t) ** 2 / variance + math.log(2 * math.pi * variance))
            else:
                p = 1 / (1 + math.exp(-r))
                total -= t * math.log(p) + (1 - t) * math.log(1 - p)
        expected.append(total)
    np.testing.assert_allclose(negative_log_likelihood(kind, raw, x), expected, rtol=1e-4)


def test_the_gradient_of_gaussian_is_that_of_the_best_variance():
    """Rybkin et al. 2021: D / 2 log MSE has the gradient of the loss with its variance held."""
    raw, x = pictures()
    one, other = raw.float().requires_grad_(), raw.float().requires_grad_()
    negative_log_likelihood("gaussian", one, x).mean().backward()
    (0.5 * x[0].numel() * (other - x.float()).square().mean().log()).backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_a_perfect_reconstruction_is_finite():
    x = pictures()[1]
    for kind in ("squared", "gaussian"):
        assert torch.isfinite(negative_log_likelihood(kind, x, x)).all()
    assert torch.isfinite(negative_log_likelihood("bernoulli", 1e6 * (x - 0.5), x)).all()


def test_noisy_is_the_equation_and_blank_pixels_cost_nothing():
    raw, x = pictures()
    rng = np.random.default_rng(1)
    sigma = torch.tensor(rng.uniform(0.1, 2, x.shape))
    weight = torch.tensor((rng.uniform(size=(4, 1, 5, 5)) > 0.3).astype(float))
    expected = np.zeros(4)
    for i, c, a, b in np.ndindex(*x.shape):
        if weight[i, 0, a, b]:
            s = float(sigma[i, c, a, b])
            expected[i] += 0.5 * (float(x[i, c, a, b] - raw[i, c, a, b]) ** 2 / s**2 + math.log(2 * math.pi * s**2))
    np.testing.assert_allclose(noisy_loss(raw, x, sigma, weight), expected, rtol=1e-5)
    blank = torch.where(weight > 0, x, torch.nan).float()
    made = raw.float().requires_grad_()
    unknown = torch.where(weight > 0, sigma, torch.nan).float()
    cost = noisy_loss(made, blank, unknown, weight.float())
    np.testing.assert_allclose(cost.detach(), expected, rtol=1e-4)
    cost.sum().backward()
    assert torch.isfinite(made.grad).all()
    assert not made.grad[(weight == 0).expand_as(made)].any()


@pytest.mark.parametrize("kind, slope", [("linear", lambda f: 1 / 0.5), ("asinh", lambda f: 1 / np.hypot(f, 0.5))])
def test_the_noise_of_stretched_pixels_is_the_slope_times_sigma(kind, slope):
    flux = pictures()[0].float() * 5
    found = stretched_sigma(flux, torch.full((4, 2), 0.01), Stretch(kind, a=0.5), least=1e-9)
    expected = np.broadcast_to(0.01 * slope(flux.numpy()), flux.shape)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    held = stretched_sigma(flux, torch.zeros(4, 2), Stretch(kind, a=0.5), least=0.02)
    assert bool((held == 0.02).all())


# wiring


def ready(name, **options):
    method = small(GENERATIVE[name], **options)
    return started(method) if isinstance(method, VaDE) else method


@pytest.mark.parametrize(
    "name, options",
    [
        ("AstroVaDEr", {}),
        *((name, {"likelihood": kind}) for name in FREE for kind in ("squared", "gaussian", "bernoulli", "noisy")),
    ],
)
def test_forward_is_pure_and_every_parameter_gets_a_gradient(name, options):
    method = ready(name, **options)
    batch = drawn(method)
    method.train()
    own = ("running_mean", "running_var", "num_batches_tracked")
    before = {k: v.clone() for k, v in method.state_dict().items() if not k.endswith(own)}
    torch.manual_seed(5)
    loss = method(batch, 0.3)
    assert all(torch.equal(method.state_dict()[k], v) for k, v in before.items())
    torch.manual_seed(5)
    assert torch.equal(method(batch, 0.3).total, loss.total)
    assert not any(t.requires_grad for t in (*loss.terms.values(), *loss.stats.values()))
    torch.testing.assert_close(sum(loss.terms.values()), loss.total.detach())
    loss.total.backward()
    dark = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [n for n in dark if not (name == "AstroVaDEr" and n.endswith("bias"))], dark
    given = [id(p) for group in method.param_groups(0.1) for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in method.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_what_a_method_gives(name):
    method = ready(name, bands=2).eval()
    x = torch.rand(5, 2, SIDE, SIDE)
    with torch.no_grad():
        out = method.outputs(x)
        mean, log_variance = method.encode(x)
        made = method.decode(mean)
    assert made.shape == x.shape
    assert mean.shape == log_variance.shape == (5, 3)
    assert mean.dtype == log_variance.dtype == made.dtype == torch.float32
    torch.testing.assert_close(out["vector"], mean)
    torch.testing.assert_close(out["error"], (made - x).square().mean(dim=(1, 2, 3)))
    assert all(v.shape == (5,) for k, v in out.items() if k != "vector")
    assert method.dim == 3
    assert method.encoders["image"] is method.encoder


@pytest.mark.parametrize("name", FREE)
def test_probabilities_are_decoded_from_logits(name):
    method = ready(name, likelihood="bernoulli").eval()
    with torch.no_grad():
        z = torch.randn(4, 3)
        torch.testing.assert_close(method.decode(z), method.generator(z).sigmoid())


@pytest.mark.parametrize("name", KINDS)
def test_the_contract_of_methods(name):
    kind = GENERATIVE[name]
    method = small(kind)
    names = set(inspect.signature(kind).parameters) - {"encoder", "layer"}
    assert {n for n in names if not hasattr(method, n)} == set()  # a run reads them there
    assert len(names) + 3 <= 10  # encoder, layer and self
    assert kind.paper.split()[0].lower() in kind.bibtex
    assert kind.paper in kind.__doc__
    assert isinstance(method.network, nn.Sequential)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layer", ["layer1", 0])
def test_a_layer_of_an_encoder_serves(name, layer):
    method = small(GENERATIVE[name], encoder("light"), layer=layer)
    assert method.network.stem is not None
    assert method.encode(torch.zeros(2, 1, SIDE, SIDE))[0].shape == (2, 3)


class OwnDecoder(nn.Module):
    """A decoder of a user's own."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 64)

    def forward(self, z):
        return self.linear(z).reshape(-1, 1, 8, 8)


@pytest.mark.parametrize("name", FREE)
def test_a_decoder_of_ones_own_is_trained_and_its_run_has_vectors(name, tmp_path):
    torch.manual_seed(0)
    method = small(GENERATIVE[name], encoder("light"), decoder=OwnDecoder(), size=8)
    run = fit(tmp_path / "run", method)
    emb = embed(run, Own(), out=tmp_path / "own.emb")
    assert np.isnan(emb.table(["error"])["error"].to_numpy()).all()
    with pytest.raises(
        ConfigError, match=r"decoder of your own \(OwnDecoder\), which no file holds; give it: Decoder.open"
    ):
        Decoder.open(run)
    whole = Decoder.open(run, decoder=OwnDecoder())
    z = torch.tensor(emb.vectors)
    torch.testing.assert_close(whole.decode(z), method.eval().decode(z).detach())


# bad input


def test_images_of_another_size_leave_the_folder_free(tmp_path):
    with pytest.raises(ShapeError, match="give size=8"):
        fit(tmp_path / "run", small(AE, size=16))
    assert not (tmp_path / "run").exists()
    fit(tmp_path / "run", small(AE, size=8))


def test_an_option_that_this_version_does_not_know_is_named(tmp_path):
    run = fit(tmp_path / "run", small(AE, encoder("light"), size=8))
    run.write_config({**run.config, "method": {**run.config["method"], "gain": 2}})
    with pytest.raises(ConfigError, match=r"'method.gain' in '.*run.toml' is no option of AE"):
        load_method(run)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize(
    "options, match",
    [
        (
            {"likelihood": "poisson"},
            "likelihood of {} must be one of squared, gaussian, bernoulli, noisy; got 'poisson'",
        ),
        ({"latents": 0}, "latents of {} must be at least 1; got 0"),
        ({"decoder": "astrovader", "size": 20}, "side is a multiple of 8; got 20. Use 16 or 24"),
        ({"decoder": "lite"}, "unknown decoder 'lite', and no module of your own; did you mean 'light'"),
        ({"layer": "layer9"}, "network has no layer 'layer9'"),
    ],
)
def test_bad_options_are_refused(name, options, match):
    with pytest.raises(ConfigError, match=match.format(name)):
        small(GENERATIVE[name], **options)


@pytest.mark.parametrize("name", KINDS)
def test_views_that_do_not_fit_are_named(name):
    method = small(GENERATIVE[name], size=24)
    with pytest.raises(
        ShapeError, match=rf"this {name} makes images of 1 x 24 x 24 .* views are 1 x 16 x 16; give size=16"
    ):
        method(drawn(method), 0.0)
    batch = drawn(method)
    with pytest.raises(ConfigError, match=rf"{name} needs 1 view\(s\) per image; got 2"):
        method(batch._replace(views=batch.views * 2), 0.0)


def test_images_that_are_no_probabilities_are_refused():
    method = small(AE, likelihood="bernoulli")
    with pytest.raises(ConfigError, match=r"needs pixels from 0 to 1; these lie between -.* Use units='range'"):
        method.on_phase_start(method.phases()[0], [drawn(method)])


def test_noise_behind_a_stretch_of_each_image_is_refused():
    method = small(AE, likelihood="noisy")
    method.stretch = Stretch("zscale")
    with pytest.raises(ConfigError, match="needs a stretch with an inverse; 'zscale' has none"):
        method.on_phase_start(method.phases()[0], [])


def test_noisy_flux_asks_for_masks_and_ignores_what_is_blank():
    looks = replace(STILL, prepare=Preparation(size=SIDE, stretch=Stretch("asinh", a=0.3)))
    method = small(AE, likelihood="noisy").eval()
    method.stretch = looks.prepare.stretch
    mask = torch.ones(12, 1, SIDE, SIDE)
    mask[..., :6] = 0
    blocks = [block()._replace(mask=mask)]
    blocks.append(blocks[0]._replace(x=torch.where(mask > 0, blocks[0].x, 50.0)))
    one, other = (draw_batch(b, method, looks, torch.Generator().manual_seed(0)) for b in blocks)
    assert one.mask[0].shape == (12, 1, SIDE, SIDE)
    raw = torch.zeros(12, 1, SIDE, SIDE)
    costs = [method.reconstruction_cost(b, raw) for b in (one, other)]
    torch.testing.assert_close(*costs)


# runs


@pytest.mark.parametrize("name", KINDS)
def test_training_goes_on_exactly_and_embeds(name, tmp_path):
    options = {"size": 8}

    def method(seed=0):
        torch.manual_seed(seed)
        return small(GENERATIVE[name], encoder("light"), seed=seed, **options)

    one = fit(tmp_path / "one", method(), epochs=6)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two", failing(method(), KeyboardInterrupt(), at=13), epochs=6, loop=EAGER)
    torch.manual_seed(999)
    two = fit(tmp_path / "two", method(seed=7), epochs=6, resume=True)
    assert_same(one, two)
    again = load_method(one)
    assert type(again) is GENERATIVE[name]
    for key, value in method().__dict__.items():
        if not key.startswith("_") and key not in ("stretch", "training"):
            assert getattr(again, key) == value, key
    emb = embed(one, Own(), out=tmp_path / "a.emb", device="cpu")
    assert emb.dim == 3
    wanted = {"AE": ["error"], "VAE": ["error", "width"]}.get(name, ["error", "width", "component", "probability"])
    table = emb.table(wanted)
    assert all(np.isfinite(table[c].to_numpy()).all() for c in wanted)


@pytest.mark.parametrize("kind", [AE, VAE])
def test_an_autoencoder_learns_a_single_number(kind, tmp_path):
    """Images of one blob whose brightness differs: one latent tells it."""
    rng = np.random.default_rng(0)
    bright = rng.uniform(1, 5, 64)
    data = Own(64, sides=(8,))
    for image, b in zip(data.images, bright, strict=True):
        image[...] = 3.0
        image[..., 2:6, 2:6] += b
    looks = replace(STILL, prepare=Preparation(size=8, units="none"))
    torch.manual_seed(0)
    method = kind(tiny(), latents=1, decoder="light", size=8)
    run = fit(tmp_path / "run", method, data, views=looks, epochs=40, batch_size=16, lr=1e-2)
    z = embed(run, data, out=tmp_path / "a.emb", device="cpu", encoder=tiny()).vectors[:, 0]
    assert abs(np.corrcoef(z, bright)[0, 1]) > 0.95
    losses = [float(row["loss"]) for row in history(run)]
    assert losses[-1] < losses[0]
