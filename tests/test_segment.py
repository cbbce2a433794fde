"""segment: better than the labels it learned from where the sky is noisy; every size, hole and bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import ndimage

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.learn.unet import UNet, generalised_cross_entropy
from morphospace.science import segment as segment_module
from morphospace.science.masks import Masks, compared, intersection_over_union
from morphospace.science.measure import measure
from morphospace.science.segment import otsu_mask, segment
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter


def disc(rng, shape, peak):
    """A tilted disc of even brightness behind a small beam, in noise of 1, and its footprint."""
    side = min(shape)
    y, x = (np.indices(shape).T - (np.array(shape) - 1) / 2 - rng.uniform(-0.1, 0.1, 2) * side).T
    radius, ratio, angle = rng.uniform(0.15, 0.3) * side, rng.uniform(0.5, 1), rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    footprint = np.hypot(along, across / ratio) < radius
    return ndimage.gaussian_filter(peak * footprint, 0.8) + rng.normal(size=shape), footprint


def store(path, images, **known):
    with CutoutsWriter(path) as writer:
        for i, image in enumerate(images):
            writer.append(Cutout(f"n{i}", np.asarray(image, np.float32)[None], level=(0.0,), sigma=(1.0,), **known))
    return Cutouts.open(path)


@pytest.fixture(scope="module")
def discs():
    rng = np.random.default_rng(0)
    shapes = [(32, 32), (27, 35), (13, 40)]
    return [disc(rng, shapes[i % 3], 6.0) for i in range(9)]


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory, discs):
    return store(tmp_path_factory.mktemp("cutouts") / "d.cutouts", [image for image, _ in discs])


@pytest.fixture(scope="module")
def masks(cutouts):
    return segment(cutouts, steps=8, seed=1)


# what it finds


@pytest.mark.slow
def test_network_finds_footprints_better_than_otsu_where_it_is_noisy(tmp_path):
    rng = np.random.default_rng(1)
    peaks = np.exp(rng.uniform(0, np.log(4), 150))
    made = [disc(rng, (32, 32), peak) for peak in peaks]
    found = segment(store(tmp_path / "d.cutouts", [image for image, _ in made]), steps=200)
    valid = np.ones((32, 32), bool)
    ours = np.array([intersection_over_union(found[f"n{i}"], truth) for i, (_, truth) in enumerate(made)])
    otsu = np.array([intersection_over_union(otsu_mask(image, valid), truth) for image, truth in made])
    assert np.nanmean(ours) > np.nanmean(otsu)
    noisy = peaks < 2
    assert np.nanmean(ours[noisy]) > np.nanmean(otsu[noisy]) + 0.05
    assert np.nanmean(ours) > 0.75


def test_otsu_mask_of_a_bright_disc_is_its_footprint():
    rng = np.random.default_rng(2)
    for peak in (10, 30):
        image, truth = disc(rng, (48, 48), peak)
        assert intersection_over_union(otsu_mask(image, np.ones(image.shape, bool)), truth) > 0.8


def test_otsu_mask_does_not_split_blank_sky_in_two():
    image = np.random.default_rng(3).normal(size=(64, 64))
    assert otsu_mask(image, np.ones((64, 64), bool)).mean() < 0.06


def test_otsu_mask_of_nothing_is_empty():
    assert not otsu_mask(np.ones((9, 9)), np.ones((9, 9), bool)).any()
    assert not otsu_mask(np.ones((9, 9)), np.zeros((9, 9), bool)).any()


def test_otsu_mask_leaves_out_what_is_not_valid():
    image = np.zeros((32, 32))
    image[10:20, 10:20] = 50
    valid = np.ones((32, 32), bool)
    valid[:, 15:] = False
    found = otsu_mask(image + np.random.default_rng(0).normal(size=(32, 32)), valid)
    assert found[12:18, 12:14].all()
    assert not found[:, 15:].any()


# any size, any hole, the same again


def test_masks_have_the_shape_of_their_image(masks, discs):
    assert list(masks) == [f"n{i}" for i in range(len(discs))]
    for i, (image, _) in enumerate(discs):
        assert masks[f"n{i}"].shape == image.shape
        assert masks[f"n{i}"].dtype == bool
    assert masks.table["area_px"].to_pylist() == [int(m.sum()) for m in masks.values()]


def test_segment_is_the_same_again_and_other_with_another_seed(cutouts, masks):
    assert segment(cutouts, steps=8, seed=1).table.equals(masks.table)
    assert not segment(cutouts, steps=8, seed=2).table.equals(masks.table)


def test_segment_leaves_the_random_state_alone(cutouts):
    state = torch.random.get_rng_state()
    segment(cutouts.keep([0, 1]), steps=1)
    assert torch.equal(state, torch.random.get_rng_state())


def test_masks_do_not_depend_on_neighbours_and_missing_pixels_are_in_none(tmp_path, discs):
    images = [image.copy() for image, _ in discs[::3]]
    images[1][:, :9] = np.nan
    hidden = np.ones((32, 32), bool)
    hidden[20:] = False
    cuts = store(tmp_path / "holes.cutouts", images, mask=hidden)
    found = segment(cuts, steps=8)
    assert not found["n1"][:, :9].any()
    assert not any(mask[20:].any() for mask in found.values())


def test_samples_and_pictures_without_noise_are_segmented(discs):
    class Own:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            image = np.where(discs[3 * (i % 3)][1], 9.0, 0.0)
            return {"image": np.stack([image, image]), "id": f"s{i}"}

    found = segment(Own(), steps=8)
    assert list(found) == ["s0", "s1", "s2", "s3"]
    assert found["s0"].shape == (32, 32)


def test_of_large_planes_parts_are_taught(cutouts, discs, monkeypatch):
    def taught(pixels, side):
        monkeypatch.setattr(segment_module, "_TAUGHT_PIXELS", pixels)
        monkeypatch.setattr(segment_module, "_SIDE", side)
        return segment_module._sample(cutouts, None, 0)

    whole = taught(2**26, 8)
    assert [each.x.shape for each in whole] == [image.shape for image, _ in discs]
    parts = taught(9 * 200, 8)
    assert all(64 <= each.x.size <= 200 for each in parts)
    for each, plane in zip(parts, whole, strict=True):
        assert each.x.shape == each.valid.shape == each.otsu.shape
        assert each.x.base is None  # else the whole plane is held
        windows = np.lib.stride_tricks.sliding_window_view(plane.x, each.x.shape)
        assert (windows == each.x).all((2, 3)).any()
    assert all(
        each.x.shape == (min(16, h), min(16, w))
        for each, (h, w) in zip(taught(9, 16), ((i.shape) for i, _ in discs), strict=True)
    )


# the file


def test_masks_are_kept_beside_the_cutouts_whose_pixels_stay(cutouts, masks, tmp_path):
    before = cutouts.fingerprint
    path = tmp_path / "d.masks.parquet"
    written = segment(cutouts, steps=8, seed=1, out=path)
    opened = Masks.open(path)
    assert written.path == opened.path == path
    assert opened.table.equals(masks.table)
    assert opened.about["cutouts"] == Cutouts.open(cutouts.path).fingerprint == before
    for name in masks:
        np.testing.assert_array_equal(opened[name], masks[name])
    with pytest.raises(StoreError, match="is there already"):
        segment(cutouts, steps=1, out=path)


def test_masks_are_what_measure_takes(cutouts, masks):
    areas = np.array([mask.sum() for mask in masks.values()])
    shapes = measure(cutouts, labels=masks)
    assert len(shapes) == len(areas)


def test_masks_say_which_is_missing(masks):
    with pytest.raises(DataError, match=r"there is no mask of 'n22'; did you mean 'n2'\?"):
        masks["n22"]
    assert "n22" not in masks
    assert masks.get("n22") is None


def test_other_files_are_no_masks(tmp_path):
    with pytest.raises(StoreError, match="cannot be read as a table of masks"):
        Masks.open(tmp_path / "none.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(StoreError, match="is no table of masks"):
        Masks.open(tmp_path / "other.parquet")
    newer = pa.table({"id": ["a"]}).replace_schema_metadata(
        {b"morphospace": json.dumps({"kind": "masks", "version": 9, "about": {}})}
    )
    pq.write_table(newer, tmp_path / "newer.parquet")
    with pytest.raises(StoreError, match="written by a newer release"):
        Masks.open(tmp_path / "newer.parquet")


def test_a_damaged_mask_is_told(masks):
    table = masks.table.set_column(1, "mask", pa.array([b"1"] * len(masks)))
    with pytest.raises(StoreError, match=r"mask of 'n0' has 1 bytes, not those of \(32, 32\)"):
        Masks(table, {})["n0"]


def test_comparison_gives_medians_over_masks_that_are_not_empty():
    columns = {"iou_otsu": [0.5, 1.0, math.nan], "iou_photutils": [0.1, 0.2, 0.3], "iou_otsu_photutils": [math.nan] * 3}
    told = compared(Masks.of(["a", "b", "c"], [np.ones((2, 2), bool)] * 3, columns, {}))
    assert told["iou_otsu"]["median"] == 0.75
    assert [told[name]["n"] for name in columns] == [2, 3, 0]
    assert math.isnan(told["iou_otsu_photutils"]["median"])


def test_intersection_over_union():
    one, two = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert intersection_over_union(one, two) == pytest.approx(1 / 3)
    assert math.isnan(intersection_over_union(one & ~one, two & ~two))


# the network and its loss


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 16), (33, 5)])
def test_unet_keeps_every_size(shape):
    assert UNet(2, width=4, depth=3)(torch.zeros(2, 2, *shape)).shape == (2, 1, *shape)


def test_unet_gives_each_image_its_own_answer():
    network = UNet(1, width=4, depth=2).eval()
    x = torch.randn(3, 1, 12, 12)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_unet_computes_in_bfloat16():
    x = torch.randn(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        logits = UNet(1, width=4, depth=1)(x)
    loss = generalised_cross_entropy(logits, torch.ones_like(logits, dtype=torch.bool), torch.ones_like(logits))
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@pytest.mark.parametrize(("given", "error"), [({"channels": 0}, "got 0"), ({"width": 6}, "got 1, 3 and 6")])
def test_unet_refuses_numbers_out_of_range(given, error):
    with pytest.raises(ConfigError, match=error):
        UNet(**given)


def test_unet_refuses_other_planes():
    with pytest.raises(ShapeError, match=r"made for images \(B, 2, H, W\); got \(1, 1, 8, 8\)"):
        UNet(2)(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_loss_is_that_of_the_paper(q):
    # Zhang & Sabuncu 2018, eq. 6: (1 - f_y^q) / q
    rng = np.random.default_rng(0)
    logits, labels, weight = rng.normal(0, 3, 20), rng.random(20) < 0.5, rng.random(20)
    wanted = 0.0
    for logit, label, each in zip(logits, labels, weight, strict=True):
        p = 1 / (1 + math.exp(-logit))
        wanted += each * (1 - (p if label else 1 - p) ** q) / q
    got = generalised_cross_entropy(torch.tensor(logits), torch.tensor(labels), torch.tensor(weight), q=q)
    assert float(got) == pytest.approx(wanted / weight.sum(), rel=1e-5)


def test_loss_is_cross_entropy_for_small_q_and_nothing_without_weight():
    logits, labels = torch.tensor([-2.0, 0.5]), torch.tensor([True, True])
    small = generalised_cross_entropy(logits, labels, torch.ones(2), q=1e-4)
    assert float(small) == pytest.approx(float(torch.nn.functional.softplus(-logits).mean()), rel=1e-3)
    assert float(generalised_cross_entropy(logits, labels, torch.zeros(2))) == 0


def test_loss_has_a_gradient_where_the_network_is_sure_and_wrong():
    logits = torch.tensor([-80.0, 80.0], requires_grad=True)
    generalised_cross_entropy(logits, torch.tensor([True, True]), torch.ones(2)).backward()
    assert torch.isfinite(logits.grad).all()


# bad input


@pytest.mark.parametrize("given", [{"steps": 0}, {"q": 0.0}, {"q": 1.5}])
def test_options_out_of_range_are_told(cutouts, given):
    with pytest.raises(ConfigError, match=r"at least 1 step and 0 < q <= 1; got steps="):
        segment(cutouts, **given)


def test_nothing_to_segment_is_told(cutouts, tmp_path):
    with pytest.raises(DataError, match="there is nothing to segment"):
        segment(cutouts.keep([]))
    flat = store(tmp_path / "flat.cutouts", [np.zeros((16, 16))] * 3)
    with pytest.raises(DataError, match="nothing stands out of the noise in 3 pictures"):
        segment(flat)
    with pytest.raises(ConfigError, match="has no band 'z'"):
        segment(cutouts, band="z")
    with pytest.raises(StoreError, match="is a folder"):
        segment(cutouts, out=tmp_path)


def test_command_writes_masks_and_tells_how_alike_they_are(cutouts, tmp_path, capsys):
    given = ["segment", str(cutouts.path), "--out", str(tmp_path / "m.parquet"), "--steps", "4", "--quiet"]
    assert main(given) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("9 masks in '")
    assert "Otsu and photutils" in printed.out
    assert main([*given, "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == 9
    assert told["iou"]["iou_otsu_photutils"]["median"] > 0.3
    assert main(given) == 1
    assert "is there already" in capsys.readouterr().err
