"""Runs on disk: what is written comes back, in one step or not at all, and a space has one name in every process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file

from morphospace import runs
from morphospace.errors import ConfigError, NotFittedError, StoreError
from morphospace.runs import STARTER, Run, placing, save_tensors, software_versions, write_text

CONFIG = {
    "bands": 1,
    "encoder": {"name": "light", "bands": 1, "stacksize": 1},
    "method": {"name": "BYOL", "projection_size": 4},
    "preparation": {"size": 16, "scale": "pixel", "units": "range", "stretch": {"kind": "asinh", "a": 0.1}},
    "views": {"rotate": True},
    "train": {"epochs": 3, "lr": 1e-3},
}


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "encoder.conv.weight": torch.randn(3, 1, 2, 2, generator=generator),
        "encoder.norm.num_batches_tracked": torch.tensor(7),
        "encoder.half": torch.randn(4, generator=generator).bfloat16(),
        "projector.weight": torch.randn(2, 3, generator=generator),
    }


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run")
    made.path.mkdir()
    made.write_config(CONFIG)
    save_tensors(made.path / "weights.safetensors", weights())
    return made


# round trips


def test_a_run_opens_with_what_was_written(run):
    opened = Run.open(str(run.path))
    assert opened == run
    assert opened.config == CONFIG
    assert opened.finished
    assert opened.writable
    for key, value in weights().items():
        assert torch.equal(opened.tensors()[key], value)
        assert opened.tensors()[key].dtype == value.dtype


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    names=st.lists(
        st.text(min_size=1, max_size=20).filter(lambda t: "\x00" not in t and t != "__metadata__"), max_size=5
    ),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.float64]),
    shape=st.lists(st.integers(0, 3), max_size=4),
)
def test_tensors_come_back_bit_for_bit(names, dtype, shape, tmp_path):
    given_tensors = {name: (torch.randn(shape) * 100).to(dtype) for name in names}
    save_tensors(tmp_path / "t.safetensors", given_tensors)
    found = load_file(tmp_path / "t.safetensors")
    assert found.keys() == given_tensors.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in given_tensors.items())


def test_tensors_of_any_memory_layout_and_shared_storage_are_written(tmp_path):
    whole = torch.arange(24.0).reshape(1, 2, 3, 4)
    tensors = {
        "channels": whole.contiguous(memory_format=torch.channels_last),
        "turned": whole.transpose(1, 3),
        "part": whole[:, 1:],
        "same": whole,
        "parameter": torch.nn.Parameter(whole),
    }
    save_tensors(tmp_path / "t.safetensors", tensors)
    found = load_file(tmp_path / "t.safetensors")
    assert all(torch.equal(found[k], v) for k, v in tensors.items())


@pytest.mark.parametrize("text", ["", "a\nb", "σ = 3″, Å, 星"])
def test_texts_come_back(text, tmp_path):
    write_text(tmp_path / "t.md", text)
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == text
    assert [p.name for p in tmp_path.iterdir()] == ["t.md"]


# one step or not at all


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), RuntimeError("torch's own")]
)
def test_a_write_that_breaks_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "t.md"
    write_text(path, "good")

    def broken():
        with placing(path) as beside:
            beside.write_text("half")
            raise error

    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            broken()
    else:
        with pytest.raises(StoreError, match=r"cannot write '.*t\.md' \(.*\); make room and go on with resume=True"):
            broken()
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["t.md"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is of Linux")
def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "_t.md.tmp").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"cannot write '.*t\.md' \(.*No space left.*\); make room"):
        write_text(tmp_path / "t.md", "x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_safetensors_is_one_line_too(tmp_path, monkeypatch):
    def full(*_args):
        msg = "I/O error: No space left on device"
        raise SafetensorError(msg)

    monkeypatch.setattr(runs, "save", full)
    with pytest.raises(StoreError, match=r"cannot write '.*t\.safetensors' \(I/O error.*\); make room"):
        save_tensors(tmp_path / "t.safetensors", weights())


# what cannot be read


def test_a_folder_without_a_run_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreError, match=r"is no run: it has no run\.toml. Give the folder that train\(\) wrote"):
            Run.open(place)


def test_starter_is_the_one_in_the_package(tmp_path, monkeypatch):
    (tmp_path / "starter").mkdir()
    (tmp_path / "starter" / "run.toml").write_text("")
    monkeypatch.setattr(runs, "STARTER", tmp_path / "starter")
    monkeypatch.chdir(tmp_path.parent)
    opened = Run.open("starter")
    assert opened.path == tmp_path / "starter"
    assert not opened.writable
    assert STARTER.parent.name == "morphospace"


def test_a_folder_of_ones_own_named_starter_comes_first(run, monkeypatch):
    run.path.rename(run.path.parent / "starter")
    monkeypatch.chdir(run.path.parent)
    assert Run.open("starter").config == CONFIG


@pytest.mark.parametrize("content", [b"bands = ", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_damaged_configuration_is_named(content, run):
    (run.path / "run.toml").write_bytes(content)
    with pytest.raises(StoreError, match=r"run\.toml' cannot be read .*restore it from a copy"):
        _ = Run.open(run.path).config


def test_what_has_not_been_written_yet_is_told(run):
    (run.path / "weights.safetensors").unlink()
    assert not run.finished
    for name in ("weights", "reference", "initial"):
        with pytest.raises(
            NotFittedError, match=rf"has no {name} yet; finish it with: morphospace train --resume .*run"
        ):
            run.tensors(name)


class Trap:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def test_damaged_and_malicious_weights_are_refused_and_not_executed(run, tmp_path):
    mark = tmp_path / "executed"
    file = run.path / "weights.safetensors"
    for content in (b"", file.read_bytes()[:40], b"\xff" * 100, pickle.dumps(Trap(mark))):
        file.write_bytes(content)
        with pytest.raises(StoreError, match=r"is damaged .*restore it from a copy of the run or train again"):
            run.tensors()
    torch.save({"encoder.weight": Trap(mark)}, file)
    with pytest.raises(StoreError, match="is damaged"):
        run.tensors()
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_a_damaged_verdict_is_told(content, run):
    assert run.health == {}
    (run.path / "health.json").write_bytes(b'{"verdict": "HEALTHY"}')
    assert run.health == {"verdict": "HEALTHY"}
    (run.path / "health.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"health\.json' cannot be read .*write it again with: morphospace doctor"):
        _ = run.health


def test_a_configuration_that_toml_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written to TOML"):
        Run(tmp_path).write_config({"views": {"x": np.zeros(3)}})
    assert list(tmp_path.iterdir()) == []


# the name of a space


def test_a_space_has_the_same_name_in_every_process(run):
    code = "import sys; from pathlib import Path; from morphospace.runs import Run; print(Run(Path(sys.argv[1])).space_id())"
    said = subprocess.run(
        [sys.executable, "-c", code, str(run.path)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == run.space_id()
    assert len(run.space_id()) == 16
    assert int(run.space_id(), 16) >= 0


def test_a_space_keeps_its_name_where_nothing_of_it_changes(run, tmp_path):
    name = run.space_id()
    moved = run.path.rename(tmp_path / "moved")
    assert Run(moved).space_id() == name
    other = {**CONFIG, "train": {"epochs": 9}, "views": {}, "method": {"name": "SimCLR"}, "versions": {"torch": "9"}}
    assert Run(moved).space_id(config=other) == name
    tensors = {**weights(), "projector.weight": torch.zeros(2, 3)}
    save_tensors(moved / "weights.safetensors", dict(reversed(tensors.items())))
    assert Run(moved).space_id() == name


def changed(**tables):
    return {key: {**value, **tables[key]} if key in tables else value for key, value in CONFIG.items()}


def test_whatever_decides_a_vector_changes_the_name(run):
    names = [run.space_id(), run.space_id(average="d4")]
    configs = (
        changed(preparation={"size": 17}),
        changed(preparation={"scale": "image"}),
        changed(preparation={"units": "none"}),
        changed(preparation={"clip_sigma": 3.0}),
        changed(preparation={"stretch": {"kind": "asinh", "a": 0.2}}),
        changed(encoder={"stacksize": 3}),
        {**CONFIG, "bands": 2},
        {**CONFIG, "layer": "layer1"},
        {**CONFIG, "layer": 1},
    )
    names += [run.space_id(config=config) for config in configs]
    for key in ("encoder.conv.weight", "encoder.half"):
        tensors = weights()
        tensors[key].flatten()[-1] += 0.01
        save_tensors(run.path / "weights.safetensors", tensors)
        names.append(run.space_id())
    save_tensors(run.path / "weights.safetensors", {**weights(), "encoder.more": torch.zeros(1)})
    names.append(run.space_id())
    assert len(set(names)) == len(names)


def test_software_versions_are_those_that_run():
    told = software_versions()
    assert told["torch"] == torch.__version__
    assert told["numpy"] == np.__version__
    assert set(told) == {"morphospace", "torch", "numpy", "astropy"}


@pytest.mark.skipif(os.name != "posix", reason="permissions are of POSIX")
def test_weights_are_as_readable_as_other_files(tmp_path):
    before = os.umask(0o022)
    try:
        save_tensors(tmp_path / "t.safetensors", weights())
        write_text(tmp_path / "t.md", "x")
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("t.safetensors", "t.md")} == {0o644}
