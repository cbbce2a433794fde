"""The parts that networks share: heads, interception, repeated bands, the length of a representation."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch import nn

from morphospace.errors import ConfigError, ShapeError
from morphospace.learn.encoders import encoder
from morphospace.learn.layers import (
    Intercept,
    RepeatBands,
    channels_last_gradients,
    fold_norms,
    input_bands,
    mlp,
    representation_size,
)


class Tokens(nn.Module):
    """A small transformer's habits: patches to (B, N, D), a class token, a tuple from one block."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 6, 8, stride=8)
        self.block = nn.Linear(6, 10)
        self.memory = nn.LSTM(10, 4, batch_first=True)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        tokens = self.block(self.patch(x).flatten(2).transpose(1, 2))
        return self.memory(tokens)[0][:, 0]


# heads


def test_mlp_is_linear_norm_relu_linear():
    kinds = [type(m).__name__ for m in mlp(4, 8, 3, layers=3, last_norm=True)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert [type(m).__name__ for m in mlp(4, 8, 3, layers=1)] == ["Linear"]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_mlp_has_the_sizes_asked_for(layers):
    assert mlp(4, 8, 3, layers=layers)(torch.randn(5, 4)).shape == (5, 3)


# interception


def test_intercept_by_name_number_and_from_the_end_are_one():
    network = encoder("resnet18")
    x = torch.randn(2, 1, 40, 40)
    network.eval()
    names = list(dict(network.named_children()))
    by_name = Intercept(network, "layer2")(x)
    assert by_name.shape == (2, 128)
    torch.testing.assert_close(Intercept(network, names.index("layer2"))(x), by_name)
    torch.testing.assert_close(Intercept(network, names.index("layer2") - len(names))(x), by_name)


def test_intercept_averages_the_maps_of_the_layer():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.randn(4, 1, 9, 9)
    torch.testing.assert_close(Intercept(network, 0)(x), network[0](x).mean(dim=(2, 3)))
    torch.testing.assert_close(Intercept(network, 2)(x), network[:3](x))


def test_intercept_reaches_inner_layers_by_their_full_name():
    network = encoder("resnet18", last_layer=2)
    assert Intercept(network, "layer1.0.conv2")(torch.randn(2, 1, 32, 32)).shape == (2, 64)


def test_intercept_averages_tokens_over_the_patches():
    network, x = Tokens(), torch.randn(3, 1, 32, 32)
    z = Intercept(network, "block")(x)
    assert z.shape == (3, 10)
    torch.testing.assert_close(z, network.block(network.patch(x).flatten(2).transpose(1, 2)).mean(dim=1))


def test_intercept_sees_through_repeated_bands():
    network = encoder("resnet18", bands=1, stacksize=3)
    x = torch.randn(2, 1, 32, 32)
    assert Intercept(network, "layer1")(x).shape == (2, 64)
    assert Intercept(network, -1)(x).shape == (2, 512)


def test_intercept_lets_gradients_through_and_leaves_no_hook():
    network = encoder("light")
    Intercept(network, "layer1")(torch.randn(2, 1, 32, 32)).sum().backward()
    assert network.stem[0].weight.grad.abs().sum() > 0
    assert network.layer2[0].weight.grad is None
    assert all(not m._forward_hooks for m in network.modules())


def test_a_copy_of_an_interception_reads_its_own_network():
    cut = Intercept(encoder("light"), "layer1")
    other = copy.deepcopy(cut)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    x = torch.randn(2, 1, 32, 32)
    assert cut(x).abs().sum() > 0
    assert other(x).abs().sum() == 0


@pytest.mark.parametrize("layer", ["layer9", "", 6, -7])
def test_a_layer_that_is_not_there_is_named_with_those_that_are(layer):
    with pytest.raises(ConfigError, match=r"no layer .*; its layers are conv1, bn1, relu, maxpool, layer1"):
        Intercept(encoder("resnet18", last_layer=2), layer)


def test_a_layer_that_does_not_run_is_told():
    with pytest.raises(ConfigError, match="layer 'spare' did not run"):
        Intercept(Tokens(), "spare")(torch.randn(2, 1, 16, 16))


def test_a_layer_without_a_tensor_is_told():
    with pytest.raises(ShapeError, match="layer 'memory' must return a tensor; it returns tuple"):
        Intercept(Tokens(), "memory")(torch.randn(2, 1, 16, 16))


# bands


def test_repeated_bands_are_the_band_thrice():
    inner = nn.Conv2d(3, 4, 3)
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(RepeatBands(inner, 3)(x), inner(torch.cat((x, x, x), dim=1)))
    cube = nn.Conv3d(2, 4, 3)
    x = torch.randn(2, 1, 5, 8, 8)
    torch.testing.assert_close(RepeatBands(cube, 2)(x), cube(torch.cat((x, x), dim=1)))


def test_bands_are_read_off_the_first_convolution():
    assert input_bands(encoder("light", bands=5)) == 5
    assert input_bands(encoder("light", bands=2, stacksize=3)) == 2
    assert input_bands(nn.Sequential(nn.Conv3d(4, 2, 3))) == 4
    assert input_bands(nn.Linear(3, 2)) is None


def test_stacksize_must_be_positive():
    with pytest.raises(ConfigError, match="stacksize must be at least 1; got 0"):
        RepeatBands(nn.Identity(), 0)


# length of the representation


def test_the_length_is_found_by_itself():
    assert representation_size(encoder("light")) == 128
    assert representation_size(encoder("resnet18", last_layer=3)) == 256
    assert representation_size(Intercept(encoder("resnet18"), "layer1")) == 64
    assert representation_size(nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 7)), bands=1) == 7


def test_the_length_of_a_network_for_cubes():
    cube = nn.Sequential(nn.Conv3d(1, 6, 3, stride=4), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    assert representation_size(cube) == 6


def test_the_trial_leaves_the_network_as_it_was():
    network = encoder("light")
    network.layer1.eval()  # a part frozen by the user
    before = {k: v.clone() for k, v in network.state_dict().items()}
    modes = [m.training for m in network.modules()]
    representation_size(network)
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_a_network_for_one_size_tells_its_length_itself():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 30 * 30, 9))
    with pytest.raises(ConfigError, match=r"does not take images of shape \(2, 1, 64, 64\) \(mat1 and mat2.*'dim'"):
        representation_size(network)
    assert representation_size(network, size=32) == 9
    network.dim = 9
    assert representation_size(network) == 9
    flat = nn.Sequential(nn.Flatten(), nn.Linear(10, 3))
    with pytest.raises(ConfigError, match="without a convolution; give it an attribute 'dim'"):
        representation_size(flat)
    flat.dim = 3
    assert representation_size(flat) == 3


def test_an_attribute_that_means_something_else_is_not_believed():
    network = encoder("light")
    network.dim = 64
    assert representation_size(network) == 128


@pytest.mark.parametrize(
    "network, match",
    [
        (nn.Conv2d(1, 3, 3), r"encoder must return \(B, D\); got \(2, 3, 62, 62\) .*AdaptiveAvgPool2d"),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(0)), r"got \(23064,\)"),
        (
            nn.Sequential(nn.Conv2d(1, 64, 1), nn.Flatten(2), nn.LSTM(4096, 2)),
            r"must return a tensor \(B, D\); got tuple",
        ),
    ],
)
def test_what_is_no_vector_is_refused_with_the_line_that_mends_it(network, match):
    with pytest.raises(ShapeError, match=match):
        representation_size(network)


@pytest.mark.parametrize("name", ["light", "resnet18"])
def test_folded_norms_change_nothing_but_the_last_digits(name):
    network = encoder(name).train()
    x = torch.randn(8, 1, 40, 40)
    for _ in range(3):
        network(3 * x + 1)  # statistics of its own
    network.eval()
    with torch.no_grad():
        before = network(x)
        fold_norms(network)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
        torch.testing.assert_close(network(x), before, rtol=1e-4, atol=1e-5)


def test_gradients_keep_the_order_of_the_images_and_their_values():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)).to(
        memory_format=torch.channels_last
    )
    x = torch.randn(5, 1, 9, 9)
    orders, gradients = [], []
    for context in (contextlib.nullcontext(), channels_last_gradients(network)):
        network.zero_grad()
        with context:
            z = network(x)
            z.register_hook(lambda g: orders.append(g.is_contiguous(memory_format=torch.channels_last)))
            (z.mean(dim=(2, 3)) ** 2).sum().backward()
        gradients.append(network[0].weight.grad.clone())
    assert orders == [False, True]
    torch.testing.assert_close(*gradients)
    assert not network[1]._forward_hooks
