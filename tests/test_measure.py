"""The verb measure: stores and samples in, a table of shapes out, by Python and by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from morphospace._pool import can_fork
from morphospace.cli import program
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.science.measure import Measures, measure
from morphospace.science.morphometry.flags import ShapeFlag
from morphospace.science.morphometry.quantities import QUANTITIES
from morphospace.science.morphometry.segmentation import Segmentation
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter


def galaxy(seed: int, side: int = 64, noise: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side)) - (side - 1) / 2 + rng.uniform(-2, 2, (2, 1, 1))
    return (np.exp(-np.hypot(x, y / 0.7) / 4) + rng.normal(0, noise, (side, side))).astype("f4")


def stored(path: Path, cutouts: list[Cutout]) -> Cutouts:
    with CutoutsWriter(path) as writer:
        for cutout in cutouts:
            writer.append(cutout)
    return Cutouts.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Cutouts:
    noise = Cutout("noise", np.random.default_rng(9).normal(size=(1, 64, 64)).astype("f4"))
    rows = [Cutout(f"g{i}", galaxy(i)[None] + 5) for i in range(4)]
    return stored(tmp_path_factory.mktemp("measure") / "g.cutouts", [*rows, noise, Cutout("wide", galaxy(7, 80)[None])])


def test_measure_writes_a_row_for_each_cutout_in_order(store: Cutouts, tmp_path: Path) -> None:
    found = measure(store, out=tmp_path / "new" / "shapes.parquet")
    again = Measures.open(tmp_path / "new" / "shapes.parquet")
    assert found.table.schema == again.table.schema
    for name in found.table.column_names[1:]:
        assert np.array_equal(found[name], again[name], equal_nan=True), name
    assert again.table["id"].to_pylist() == store.ids
    assert again.table.column_names == ["id", "shape_flags", *(q.name for q in QUANTITIES)]
    assert again.about["segmentation"]["threshold_sigma"] == 3.0
    told = pq.read_schema(found.path).field("r50").metadata
    assert told[b"unit"] == b"pixel"
    assert b"Bershady" in told[b"source"]
    assert found.good.tolist() == [True] * 4 + [False, True]
    assert found["level"][:4] == pytest.approx(5, abs=0.1)
    assert found["sigma"][:4] == pytest.approx(0.03, abs=0.02)
    assert (found["r50"][:4] > 3).all()
    assert found["shape_flags"][4] == ShapeFlag.NO_SOURCE
    assert np.isnan(found["r50"][4])
    assert "6 rows" in repr(found)


def test_table_joins_with_columns_by_id(store: Cutouts) -> None:
    shapes = measure(store)
    joined = store.table(["id", "flags"]).join(shapes.table, "id")
    assert joined.num_rows == len(store) == len(shapes)
    assert {"flags", "shape_flags", "gini"} <= set(joined.column_names)


def test_rows_do_not_depend_on_their_order(store: Cutouts) -> None:
    whole, part = measure(store), measure(store.keep([1, 5]))
    for quantity in QUANTITIES:
        expected = whole[quantity.name][[1, 5]]
        assert part[quantity.name] == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True), quantity.name


def test_a_band_or_the_mean_of_all(tmp_path: Path) -> None:
    one, other = galaxy(1), 3 * galaxy(2)
    data = stored(tmp_path / "c.cutouts", [Cutout("a", np.stack([one, other]), bands=("g", "r"))])
    by_name, by_number, mean = measure(data, band="r"), measure(data, band="1"), measure(data)
    assert by_name.table.equals(by_number.table.replace_schema_metadata(by_name.table.schema.metadata))
    assert by_name["peak"][0] == pytest.approx(3 * measure(data, band=0)["peak"][0], rel=0.2)
    assert mean["peak"][0] == pytest.approx(((one + other) / 2).max(), rel=0.1)
    with pytest.raises(ConfigError, match=r"'a' has no band 'z'"):
        measure(data, band="z")


def test_samples_cubes_masks_and_blank_pixels() -> None:
    image = galaxy(3)
    blank = image.copy()
    blank[40:44, 40:44] = np.nan
    mask = np.isfinite(blank)
    samples = [
        {"id": "nan", "image": blank[None]},
        {"id": "mask", "image": image[None], "mask": mask},
        {"id": "cube", "image": np.stack([image, image, image])[None]},
        {"id": "none", "image": np.full((1, 64, 64), np.nan)},
    ]
    found = measure(samples)
    assert found["gini"][0] == pytest.approx(found["gini"][1], rel=1e-3)
    assert found["r50"][2] == pytest.approx(measure([{"id": "x", "image": image[None]}])["r50"][0], rel=1e-4)
    assert found["shape_flags"][3] == ShapeFlag.NO_SOURCE
    assert np.isnan(found["level"][3])


def test_variance_gives_the_noise(tmp_path: Path) -> None:
    image = galaxy(4)[None]
    variance = np.full(image.shape, 0.2**2, "f4")
    data = stored(tmp_path / "v.cutouts", [Cutout("a", image), Cutout("b", image, variance=variance)])
    plain, known = measure(data)["snr_per_pixel"]
    assert known * 0.2 == pytest.approx(plain * measure(data)["sigma"][0], rel=0.05)


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
@pytest.mark.usefixtures("others_only")
def test_several_processes_measure_the_same(store: Cutouts, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = measure(store)
    monkeypatch.setattr("morphospace.science.measure._FEW", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        shared = measure(store)
        with pytest.raises(DataError, match=r"no segmentation map for '(g0|wide)'"):  # of two blocks
            measure(store, labels={})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for name in alone.table.column_names[1:]:
        assert shared[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-5, nan_ok=True), name


def test_threads_are_as_before_when_nothing_can_be_written(
    store: Cutouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("morphospace.science.measure.Draft.add", full)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(StoreError, match="disk is full") as kept:  # the traceback holds the frames
            measure(store, out=tmp_path / "shapes.parquet")
        assert torch.get_num_threads() == 2, kept
    finally:
        torch.set_num_threads(before)


def test_own_segmentation_maps() -> None:
    image = galaxy(5)
    y, x = np.indices(image.shape) - 31.5
    own = (np.hypot(x, y) < 15).astype(int)
    samples = [{"id": "a", "image": image[None]}]
    assert measure(samples, labels={"a": own})["area"][0] == own.sum()
    assert measure(samples, labels={"a": 0 * own})["shape_flags"][0] == ShapeFlag.NO_SOURCE
    with pytest.raises(DataError, match="no segmentation map for 'a'"):
        measure(samples, labels={"b": own})
    with pytest.raises(DataError, match=r"must hold integers of shape \(64, 64\); got float64 of shape \(64, 64\)"):
        measure(samples, labels={"a": own.astype(float)})


def test_a_source_without_any_flux_is_flagged_not_fatal() -> None:
    marked = np.zeros((64, 64), np.int32)
    marked[20:40, 20:40] = 1
    dark = np.zeros((1, 64, 64), np.float32)
    torn = dark.copy()
    torn[0, 20:40, 20:30], torn[0, 20:40, 30:40] = 1, -1
    samples = [{"image": dark, "id": "dark"}, {"image": torn, "id": "torn"}]
    found = measure(samples, labels={"dark": marked, "torn": marked})
    assert ((found["shape_flags"] & int(ShapeFlag.NO_FLUX)) != 0).all()
    assert np.isnan(found["gini"]).all()
    assert np.isnan(found["asymmetry"]).all()


def test_threads_change_nothing_and_are_put_back(store: Cutouts, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr("morphospace.science.measure._ROWS", 3)
    one = measure(store).table
    torch.set_num_threads(3)
    try:
        three = measure(store).table
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert one["id"].equals(three["id"])
    for name in one.column_names[1:]:
        np.testing.assert_array_equal(one[name].to_numpy(), three[name].to_numpy())


def test_bad_input_is_told_in_a_sentence(store: Cutouts, tmp_path: Path) -> None:
    path = tmp_path / "shapes.parquet"
    with pytest.raises(DataError, match="no cutouts"):
        measure([])
    with pytest.raises(ConfigError, match="'threshold_sigma' must be positive; got 0"):
        Segmentation(threshold_sigma=0)
    with pytest.raises(ConfigError, match="device"):
        measure(store, device="abacus")
    path.write_text("no table")
    with pytest.raises(StoreError, match=r"is there already.*--overwrite"):
        measure(store, out=path)
    assert path.read_text() == "no table"
    with pytest.raises(StoreError, match="is a folder"):
        measure(store, out=tmp_path)
    with pytest.raises(StoreError, match="cannot be read"):
        Measures.open(path)
    pq.write_table(store.table(["id"]), path)
    with pytest.raises(StoreError, match="is no table of shapes"):
        Measures.open(path)
    with pytest.raises(DataError, match="there is no measure 'giny'; did you mean 'gini'"):
        measure(store.keep([0]))["giny"]


def test_command_tells_what_came_of_it(store: Cutouts, tmp_path: Path) -> None:
    out = tmp_path / "shapes.parquet"
    done = CliRunner().invoke(program, ["measure", str(store.path), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "shapes": str(out),
        "n": 6,
        "good": 5,
        "flags": json.loads(done.stdout.splitlines()[-1])["flags"],
    }
    words = ["measure", str(store.path), "--out", str(out), "--overwrite", "--segmentation-threshold-sigma", "2"]
    done = CliRunner().invoke(program, words)
    assert "6 objects in" in done.stdout
    assert "NO_SOURCE: nothing stands out of the noise" in done.stdout
    assert Measures.open(out).about["segmentation"]["threshold_sigma"] == 2.0
