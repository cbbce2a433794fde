"""Encoders: sizes, bands, stages, weights from a file that may be hostile."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from morphospace.errors import ConfigError, StoreError
from morphospace.learn.encoders import ENCODERS, encoder, load_weights
from morphospace.learn.layers import RepeatBands, representation_size

DIM = {"light": 128, "resnet18": 512, "residual": 2048, "astrovader": 4096}
POOLED = ("light", "resnet18")  # the others keep where things are


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("bands, side", [(1, 32), (3, 45), (5, 64)])
def test_any_bands_and_any_size_give_vectors(name, bands, side):
    network = encoder(name, bands=bands)
    z = network(torch.randn(2, bands, side, side + 3))
    assert z.shape == (2, DIM[name])
    assert torch.isfinite(z).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_the_smallest_input_passes(name):
    assert torch.isfinite(encoder(name).eval()(torch.randn(1, 1, 8, 8))).all()


@pytest.mark.parametrize("name", POOLED)
def test_the_vector_is_the_mean_of_the_tokens(name):
    network = encoder(name).eval()
    x = torch.randn(2, 1, 64, 48)
    tokens = network.tokens(x)
    assert tokens.ndim == 3
    assert tokens.shape[2] == DIM[name]
    torch.testing.assert_close(tokens.mean(dim=1), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_rows_do_not_see_each_other_in_evaluation(name):
    network = encoder(name).eval()
    x = torch.randn(5, 1, 32, 32)
    with torch.no_grad():
        whole = network(x)
        torch.testing.assert_close(network(x[3:4]), whole[3:4], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(x.flip(0)), whole.flip(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("last_layer, dim", [(1, 64), (2, 128), (3, 256), (4, 512)])
def test_stages_of_resnet18(last_layer, dim):
    network = encoder("resnet18", last_layer=last_layer)
    assert representation_size(network) == dim
    assert not hasattr(network, f"layer{last_layer + 1}")


def test_resnet18_has_the_parameters_of_the_paper():
    """He et al. 2016, table 1: 11.69 million with the classifier's 513,000 and a first layer for 3 bands."""
    assert sum(p.numel() for p in encoder("resnet18", bands=3).parameters()) == 11_689_512 - 513_000


def test_stacksize_repeats_one_band_for_a_network_of_three():
    network = encoder("light", bands=1, stacksize=3).eval()
    assert isinstance(network, RepeatBands)
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(network(x), network.network(x.expand(-1, 3, -1, -1)))


def test_an_encoder_is_rebuilt_from_its_recipe():
    network = encoder("resnet18", bands=2, stacksize=2, last_layer=2)
    again = encoder(**network.recipe)
    assert [v.shape for v in again.state_dict().values()] == [v.shape for v in network.state_dict().values()]


@pytest.mark.parametrize(
    "options, match",
    [
        (
            {"name": "resnet19"},
            r"unknown encoder 'resnet19'; did you mean 'resnet18'\?",
        ),
        ({"name": "vgg"}, "unknown encoder 'vgg'; there are 'astrovader', 'light', 'residual', 'resnet18'"),
        ({"name": "light", "last_layer": 2}, "last_layer belongs to resnet18"),
        ({"name": "resnet18", "last_layer": 5}, "must be 1, 2, 3 or 4; got 5"),
        ({"name": "light", "bands": 0}, "bands and stacksize of an encoder must be at least 1; got 0 and 1"),
        ({"name": "light", "stacksize": 0}, "bands and stacksize of an encoder must be at least 1; got 1 and 0"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        encoder(**options)


# weights from elsewhere


def randomized(network):
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor))
    return network


@pytest.fixture
def trained():
    return randomized(encoder("light"))


def save(state, path):
    if path.suffix == ".safetensors":
        save_file({k: v.contiguous() for k, v in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt", "w.pth"])
def test_weights_come_from_a_local_file(file, trained, tmp_path):
    path = save(trained.state_dict(), tmp_path / file)
    network = encoder("light", weights=path)
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(network.eval()(x), trained.eval()(x))
    assert torch.equal(encoder("light", weights=str(path)).eval()(x), trained(x))


def test_a_checkpoint_of_lightning_and_a_classifier_are_read(trained, tmp_path):
    state = {**trained.state_dict(), "fc.weight": torch.ones(3, 128), "epoch": 3}
    path = save({"state_dict": state, "epoch": 3}, tmp_path / "w.ckpt")
    assert torch.equal(encoder("light", weights=path).stem[0].weight, trained.stem[0].weight)


def test_weights_for_three_bands_serve_one_band_with_stacksize(tmp_path):
    trained = randomized(encoder("light", bands=3))
    path = save(trained.state_dict(), tmp_path / "w.pt")
    x = torch.randn(2, 1, 32, 32)
    network = encoder("light", stacksize=3, weights=path).eval()
    torch.testing.assert_close(network(x), trained.eval()(x.expand(-1, 3, -1, -1)))


def test_torchvision_names_and_old_files_without_counters(tmp_path):
    trained = randomized(encoder("resnet18", last_layer=1))
    names = {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer1.1.bn2.bias"}
    assert names < set(trained.state_dict())
    old = {k: v for k, v in trained.state_dict().items() if not k.endswith("num_batches_tracked")}
    network = encoder("resnet18", last_layer=1, weights=save(old, tmp_path / "w.pt"))
    assert torch.equal(network.layer1[1].bn2.running_var, trained.layer1[1].bn2.running_var)
    assert "layer2.0.downsample.0.weight" in encoder("resnet18").state_dict()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_a_malicious_file_is_refused_and_not_executed(form, tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "w.pt"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark)))
    else:
        torch.save({"conv1.weight": Trap(mark)}, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(StoreError, match=r"nor a plain state dict .*nothing was executed"):
        encoder("resnet18", weights=path)
    assert not mark.exists()
    if form == "torch":  # the control: the trap does work
        with zipfile.ZipFile(path) as archive:
            pickle.loads(archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl"))))
        assert mark.exists()


@pytest.mark.parametrize("content", [b"", b"SIMPLE  =                    T", b"\x80\x02}q\x00."])
@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_what_is_no_file_of_weights_is_refused(content, file, tmp_path):
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"are not a safetensors file nor a plain|hold no layer of this encoder"):
        encoder("light", weights=path)


def test_half_a_file_is_refused(trained, tmp_path):
    path = save(trained.state_dict(), tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StoreError, match="are not a safetensors file"):
        load_weights(encoder("light"), path)


@pytest.mark.parametrize("place", ["nowhere.pt", "nowhere.safetensors"])
def test_a_missing_file_is_named(place, tmp_path):
    with pytest.raises(StoreError, match=f"weights '.*{place}' do not exist"):
        encoder("light", weights=tmp_path / place)


@pytest.mark.parametrize("state", [{}, {"a": torch.ones(2)}, [torch.ones(2)], torch.ones(2), {"stem.0.weight": "text"}])
def test_weights_of_something_else_are_refused(state, tmp_path):
    with pytest.raises(StoreError, match="hold no layer of this encoder; its first layers are stem"):
        encoder("light", weights=save(state, tmp_path / "w.pt"))


def test_weights_of_other_shapes_are_refused_with_the_reason(trained, tmp_path):
    path = save(trained.state_dict(), tmp_path / "w.pt")
    with pytest.raises(StoreError, match=r"stem\.0\.weight of shape \(\d+, 1, .* the encoder \(\d+, 3, .*check bands="):
        encoder("light", bands=3, weights=path)


def test_weights_that_lack_layers_are_refused_and_change_nothing(tmp_path):
    state = randomized(encoder("resnet18", last_layer=1)).state_dict()
    network = encoder("resnet18", last_layer=2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(StoreError, match=r"lack \d+ layers of this encoder, the first is layer2"):
        load_weights(network, save(state, tmp_path / "w.pt"))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_any_module_takes_weights(tmp_path: Path):
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_weights(other, save(network.state_dict(), tmp_path / "w.safetensors"))
    assert torch.equal(other.weight, network.weight)


@pytest.mark.parametrize("inside", ["state_dict", "model"])
def test_weights_inside_a_checkpoint_are_found(inside, tmp_path):
    torch.manual_seed(0)
    given = encoder("light")
    torch.save({inside: given.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    again = encoder("light", weights=tmp_path / "w.pt")
    for key, value in given.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
