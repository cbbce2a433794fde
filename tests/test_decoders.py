"""Decoders: the sizes they make, the sizes they refuse, and the layers of the paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morphospace.errors import ConfigError
from morphospace.learn.decoders import DECODERS, decoder
from morphospace.learn.decoders.grid import cropped, first_grid
from morphospace.learn.encoders import encoder


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("bands, size", [(1, 8), (3, 32), (5, 64), (1, 128)])
def test_images_have_the_size_asked(name, bands, size):
    network = decoder(name, latents=3, bands=bands, size=size).eval()
    x = network(torch.randn(2, 3))
    assert x.shape == (2, bands, size, size)
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("name", ["light", "residual"])
@pytest.mark.parametrize("size", [9, 28, 45, 75, 100])
def test_most_decoders_make_any_size(name, size):
    assert decoder(name, latents=2, size=size).eval()(torch.zeros(1, 2)).shape == (1, 1, size, size)


def test_a_size_that_cannot_be_made_is_named_with_those_that_can():
    with pytest.raises(ConfigError, match=r"side is a multiple of 8; got 100. Use 96 or 104, or 'residual'"):
        decoder("astrovader", latents=20, size=100)


@pytest.mark.parametrize(
    "options, match",
    [
        (
            {"name": "residul", "latents": 2},
            r"unknown decoder 'residul', and no module of your own; did you mean 'residual'\?",
        ),
        ({"name": "mine", "latents": 2}, "unknown decoder 'mine'.*; there are 'astrovader', 'light', 'residual'"),
        ({"latents": 0}, "latents and bands of a decoder must be at least 1; got 0 and 1"),
        ({"latents": 2, "bands": 0}, "got 2 and 0"),
        ({"latents": 2, "size": 7}, "makes images of 8 pixels and more on a side; got size 7"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        decoder(**options)


@pytest.mark.parametrize("size", range(8, 300))
def test_the_grid_doubles_to_the_size(size):
    side, doublings = first_grid(size)
    assert 4 <= side <= 7
    assert 0 <= side * 2**doublings - size < 2**doublings
    assert cropped(torch.zeros(1, 1, side * 2**doublings, side * 2**doublings), size).shape[-1] == size


@pytest.mark.parametrize("name", DECODERS)
def test_rows_do_not_see_each_other_in_evaluation(name):
    network = decoder(name, latents=4, size=16).eval()
    z = torch.randn(5, 4)
    torch.testing.assert_close(network(z)[2:3], network(z[2:3]), rtol=1e-4, atol=1e-5)


def test_astrovader_has_the_layers_of_the_paper():
    """Spindler et al. 2021, table 1, as in design.md: filters 64, 64, 16 and 16, 64, 64."""
    ways = encoder("astrovader"), decoder("astrovader", latents=20, size=128)
    found = [[(m.out_channels, m.kernel_size[0]) for m in way.modules() if isinstance(m, nn.Conv2d)] for way in ways]
    assert found[0] == [(64, 3)] * 2 + [(64, 5)] * 2 + [(16, 5)] * 2
    assert found[1] == [(16, 5)] * 2 + [(64, 5)] * 4 + [(1, 3)]
    dense = [m for m in ways[1].modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in dense] == [(20, 4096)]
    assert {m.negative_slope for way in ways for m in way.modules() if isinstance(m, nn.LeakyReLU)} == {0.1}
    x = ways[0](torch.randn(1, 1, 128, 128))
    assert x.shape == (1, 4096)
    assert float(ways[1](torch.randn(2, 20)).detach().min()) >= 0
    assert ways[0].tokens(torch.randn(1, 1, 128, 128)).shape == (1, 256, 16)


def test_the_flat_vector_of_the_paper_is_all_that_the_last_pooling_leaves():
    network = encoder("astrovader").eval()
    x = torch.randn(2, 1, 128, 128)
    torch.testing.assert_close(network(x), network.stages(x).flatten(1))


def test_the_residual_encoder_knows_where_things_are():
    network = encoder("residual").eval()
    x = torch.zeros(1, 1, 64, 64)
    x[..., :8, :8] = 5.0
    assert not torch.allclose(network(x), network(x.flip(-1)), atol=1e-3)
    assert network.tokens(x).shape == (1, 16, 128)
