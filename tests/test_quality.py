"""The pieces of bench_quality: loaders on a folder made here, scores on known features, the tables."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

FILE = Path(__file__).parent.parent / "benchmarks" / "_quality.py"
DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_quality", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_quality"] = module  # its dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def make_task(quality, rng, n=200, balanced=False):
    labels = np.array(["FRI", "FRII"])[(np.arange(n) % 4 == 0).astype(int)]
    images = rng.normal(size=(n, 8, 8)).astype(np.float32)
    return quality.Task("toy", images, np.arange(n), labels, tuple(map(str, range(n))), balanced, 5)


@pytest.fixture(scope="module")
def board(quality):
    """Weak and strong features on one task."""
    task = make_task(quality, np.random.default_rng(0))
    board = quality.Board(task)
    board.add_baselines(task.images)
    weak, strong = ([features(task, s, seed) for seed in range(3)] for s in (0.2, 1.5))
    board.add("untrained", weak, d4=weak)
    board.add("BYOL", strong, d4=strong)
    return board


def features(task, strength, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(task.labels), 6)) + strength * (task.labels == "FRI")[:, None]


def test_radio_is_read_with_its_certain_classes(quality, tmp_path):
    folder = tmp_path / "radio" / "fits"
    folder.mkdir(parents=True)
    lines, rng = ["id,fr_class,certain"], np.random.default_rng(0)
    for i, (label, certain) in enumerate([("FRI", 1), ("FRII", 0), ("hybrid", 1), ("FRII", 1)]):
        pixels = rng.normal(size=(20, 20)).astype(np.float32) + i
        fits.CompImageHDU(pixels, compression_type="RICE_1").writeto(folder / f"J{i}.fits")
        lines.append(f"J{i},{label},{certain}")
    (tmp_path / "radio" / "labels.csv").write_text("\n".join(lines) + "\n")
    task = quality.load_radio(tmp_path)
    assert task.images.shape == (4, 20, 20)
    assert task.images.dtype == np.float32
    np.testing.assert_allclose(task.images.mean((1, 2)), range(4), atol=0.3)
    assert task.ids == ("J0", "J3")
    assert task.labels.tolist() == ["FRI", "FRII"]
    assert task.rows.tolist() == [0, 3]
    assert not task.balanced


def test_galaxies_are_read_with_spirals_as_one(quality, tmp_path):
    folder = tmp_path / "galaxies" / "images"
    folder.mkdir(parents=True)
    labels = ["spiral_cw", "dont_know", "spiral_acw", "merger"]
    for i in range(4):
        Image.fromarray(np.full((128, 128, 3), 40 * i, dtype=np.uint8)).save(folder / f"{i}.jpg")
    rows = "".join(f"{i},{label}\n" for i, label in enumerate(labels))
    (tmp_path / "galaxies" / "labels.csv").write_text(f"id,gz1_class\n{rows}")
    task = quality.load_galaxies(tmp_path)
    assert task.images.shape == (4, 128, 128, 3)
    assert task.labels.tolist() == ["spiral", "spiral", "merger"]
    assert task.rows.tolist() == [0, 2, 3]
    assert task.balanced
    pixels = quality.galaxy_pixels(task.images)
    assert pixels.shape == (4, 64, 64, 3)
    np.testing.assert_allclose(pixels[3], 120 / 255, atol=0.02)


@pytest.mark.skipif(not DATA.exists(), reason="the data beside the project are not here")
@pytest.mark.slow
def test_real_sets_have_the_numbers_of_their_readme(quality):
    radio = quality.load_radio(DATA)
    assert radio.images.shape == (1255, 150, 150)
    assert len(radio.labels) == len(radio.ids) == 832
    galaxies = quality.load_galaxies(DATA)
    assert galaxies.images.shape == (5331, 128, 128, 3)
    assert {c: int((galaxies.labels == c).sum()) for c in np.unique(galaxies.labels)} == {
        "edge_on": 798,
        "elliptical": 3716,
        "merger": 92,
        "spiral": 680,
    }


def test_radio_pixels_are_clipped_and_scaled(quality):
    rng = np.random.default_rng(0)
    images = rng.normal(5, 1, size=(3, 40, 40)).astype(np.float32)
    images[0, 20, 20] += 100
    images[2] = 5.0  # constant: nothing above the level
    pixels = quality.radio_pixels(images)
    assert pixels[0, 20, 20] == 1
    assert (pixels[0] > 0).mean() < 0.02
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert not pixels[2].any()


def test_a_board_ranks_features_and_tells_the_difference(quality, board):
    rows = {row["method"]: row for row in board.rows()}
    assert list(rows) == ["majority", "pixel-PCA", "untrained", "BYOL"]
    assert rows["majority"]["linear"] == "75.0 ± 0.0"
    assert rows["majority"]["linear d4"] is None
    assert rows["majority"]["effective rank"] is None
    assert float(rows["BYOL"]["linear"].split()[0]) > 90
    differences = board.differences("BYOL")
    assert [(d["average"], d["against"]) for d in differences] == [
        (a, b) for a in ("plain", "d4") for b in quality.BASELINES
    ]
    for d in differences:
        assert d["low"] <= d["difference"] <= d["high"]
        assert d["difference"] == pytest.approx(np.mean(d["seeds"]), abs=0.06)
    assert board.excludes_zero("BYOL")
    assert board.excludes_zero("BYOL", "d4")
    assert not board.excludes_zero("untrained")


def test_features_equal_to_a_baseline_exclude_nothing(quality):
    task = make_task(quality, np.random.default_rng(0))
    same = [features(task, 0.5, seed) for seed in range(3)]
    board = quality.Board(task)
    board.add("untrained", same)
    board.add("BYOL", same)
    (only,) = board.differences("BYOL")
    assert (only["difference"], only["low"], only["high"]) == (0, 0, 0)
    assert not board.excludes_zero("BYOL")


def test_balanced_scores_weigh_classes_equally(quality):
    task = make_task(quality, np.random.default_rng(0), balanced=True)
    board = quality.Board(task)
    board.add_baselines(task.images)
    assert board.rows()[0]["linear"] == "50.0 ± 0.0"


def test_one_array_per_seed_is_asked_for(quality):
    task = make_task(quality, np.random.default_rng(0))
    with pytest.raises(ValueError, match="zip"):
        quality.Board(task).add("BYOL", [features(task, 1, 0)])


def test_markdown_has_both_tables(board):
    text = board.markdown("BYOL")
    assert text.startswith("Accuracy in per cent on 200 objects of 2 classes")
    assert "| method | k-NN | linear | k-NN d4 | linear d4 | effective rank |" in text
    assert "| majority | 75.0 ± 0.0 | 75.0 ± 0.0 | – | – | – |" in text
    assert "BYOL − untrained" in text
    assert "BYOL d4 − pixel-PCA" in text
    for block in text.split("\n\n")[1:]:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_markdown_table_of_dicts(quality):
    table = quality.markdown_table([{"a": 1, "b": None}, {"a": "x", "c": 2.5}])
    assert table.splitlines() == ["| a | b | c |", "| --- | ---: | ---: |", "| 1 | – | – |", "| x | – | 2.5 |"]
