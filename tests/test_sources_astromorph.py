"""Config files of astromorph say in our tables what they say in its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from morphospace.cli.astromorph import from_astromorph, is_astromorph
from morphospace.cli.pipeline import Pipeline, check
from morphospace.config import load_toml
from morphospace.errors import ConfigError
from morphospace.sky.images import find_files

FULL = """
datafile = "data/inputfiles.txt"
epochs = 5
batch_size = 8
learning_rate = 5e-4
exponential_lr = true
gamma = 0.98
core_limit = 2
network_name = "n_layer_resnet"
export_to_csv = true

[data_settings]
stacksize = 3

[network_settings]
last_layer = "layer2"

[byol_settings]
representation_size = 128
projection_size = 16
projection_hidden_size = 64
use_momentum = true
moving_average_decay = 0.98
"""
SMALL = 'datafile = "list.txt"\nnetwork_name = "amm"\n[network_settings]\n[byol_settings]\n'


def translated(tmp_path, text, name="settings.toml"):
    path = tmp_path / name
    path.write_text(text)
    config = load_toml(path)
    assert is_astromorph(config)
    tables = from_astromorph(config, name)
    check(tables, name)  # every key of ours exists and has the right type
    return tables


def test_every_setting_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert translated(tmp_path, FULL, "discs.toml") == {
        "curate": {
            "source": "data/inputfiles.txt",
            "out": "discs.cutouts",
            "columns": ["OBSRA", "OBSDEC", "RESTFRQ"],
            "intake": {"processes": 2},
        },
        "encoder": {"name": "resnet18", "last_layer": 2, "stacksize": 3},
        "method": {
            "name": "BYOL",
            "projection_size": 16,
            "hidden_size": 64,
            "momentum": True,
            "ema_decay": 0.98,
            "ema_schedule": "constant",
        },
        "train": {
            "out": "runs/discs",
            "epochs": 5,
            "batch_size": 8,
            "lr": 5e-4,
            "loop": {"schedule": {"kind": "exponential", "warmup": 0.0, "gamma": 0.98}},
        },
        "embed": {"out": "discs.emb"},
        "export": {"out": "discs.csv"},
    }


def test_what_is_not_given_is_ours(tmp_path):
    tables = translated(tmp_path, SMALL)
    assert tables["encoder"] == {"name": "light"}
    assert tables["train"] == {"out": "runs/settings"}
    assert "export" not in tables
    assert not is_astromorph({"curate": {}})


def test_lists_with_paths_from_the_current_directory(tmp_path, monkeypatch):
    """``find data/ -name '*.fits' > data/list.txt``, as astromorph's README has it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.fits").touch()
    text = SMALL.replace("list.txt", "data/list.txt")
    (tmp_path / "data" / "list.txt").write_text("data/a.fits\n\n")
    assert translated(tmp_path, text)["curate"]["source"] == "data/list.txt"
    assert find_files("data/list.txt") == [Path("data/a.fits")]
    (tmp_path / "data" / "list").write_text(f"{tmp_path}/data/a.fits\n")
    text = SMALL.replace("list.txt", "data/list")
    assert translated(tmp_path, text)["curate"]["source"] == [f"{tmp_path}/data/a.fits"]


def test_what_cannot_be_taken_over_is_told(tmp_path, caplog):
    for text, what in [
        (SMALL.replace("amm", "amn"), "'network_name' in settings.toml is 'amn'; did you mean 'amm'"),
        (FULL.replace('"layer2"', '"conv1"'), "must be one of layer1, layer2, layer3, layer4; got 'conv1'"),
        (FULL.replace("epochs = 5", 'epochs = "5"'), "'epochs' in settings.toml must be a whole number; got '5'"),
        ('trained_network_name = "saved_models/net.pt"\n' + SMALL, "a pickle of astromorph that would run code"),
        ("data_settings = 3\n" + SMALL, "must be a table"),
    ]:
        with pytest.raises(ConfigError, match=what):
            translated(tmp_path, text)
    assert "maskfile" not in str(translated(tmp_path, 'maskfile = "m.fits"\n' + SMALL))
    assert "'maskfile' in settings.toml is no setting of astromorph and is left out" in caplog.text


def test_inference_takes_a_run_of_ours(tmp_path):
    tables = translated(tmp_path, 'trained_network_name = "runs/discs"\nepochs = 5\n' + SMALL)
    assert tables["embed"] == {"out": "settings.emb", "run": "runs/discs"}
    assert not {"train", "method", "encoder"} & set(tables)


@pytest.mark.parametrize("network", ["amm", "n_layer_resnet"])
def test_a_translated_config_trains(tmp_path, monkeypatch, network):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for number in range(6):
        rows, columns = np.indices((24, 20 + number % 2))
        disc = 50 * np.exp(-((rows - 12) ** 2 + (columns - 10) ** 2) / (4 + 3 * number))
        pixels = (rng.normal(size=disc.shape) + disc).astype(np.float32)
        fits.writeto(tmp_path / "data" / f"d{number}.fits", pixels, fits.Header({"OBSRA": 1.0 * number}))
    (tmp_path / "data" / "list.txt").write_text("".join(f"data/d{number}.fits\n" for number in range(6)))
    text = FULL.replace("inputfiles.txt", "list.txt").replace("epochs = 5", "epochs = 1")
    pipeline = Pipeline(translated(tmp_path, text.replace('"n_layer_resnet"', f'"{network}"'), "t.toml"), "t.toml")
    cuts = pipeline.curate()
    assert len(cuts) == 6
    assert cuts.table(["OBSRA"])["OBSRA"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    emb = pipeline.embed(pipeline.train(cuts), cuts)
    assert emb.vectors.shape == (6, 128)
    assert pipeline.export(emb).name == "t.csv"
