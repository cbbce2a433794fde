"""Stacks: images of one shape, their noise beside them, from a store or from a user's own samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import DataError, ShapeError
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.noise import estimate_noise
from morphospace.sky.stacks import COLUMNS, batch_stacks, mean_planes, sample_stack, stacks

SHAPES = [(1, 12, 12), (1, 12, 12), (1, 12, 12), (2, 9, 11), (2, 9, 11), (1, 12, 12), (1, 1, 1), (3, 40, 5)]
TYPES = ["<f4", "<f4", "<i2", "u1", "u1", "<f8", "<f4", "<u2"]


def image_of(i):
    return (np.random.default_rng(i).normal(100, 20, SHAPES[i])).astype(TYPES[i])


def cutout_of(i, **known: Any):
    c = SHAPES[i][0]
    return Cutout(id=f"row {i}", image=image_of(i), **{"level": (100.0,) * c, "sigma": (20.0 + i,) * c, **known})


def written(path, cutouts):
    with CutoutsWriter(path) as writer:
        for cutout in cutouts:
            writer.append(cutout)
    return Cutouts.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rows = [cutout_of(i) for i in range(len(SHAPES))]
    rows[1] = cutout_of(1, mask=image_of(1)[0] > 90, pixel_scale_arcsec=0.5, beam=(4.0, 1.0, 30.0))
    return written(tmp_path_factory.mktemp("stacks") / "mixed.cutouts", rows)


class Own:
    """The least that a user's data set needs."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def flat(found):
    """Undo the stacking: row number to (image, mask, level, sigma, id)."""
    rows = {}
    for stack in found:
        assert len({len(part) for part in (stack.rows, stack.images, stack.level, stack.sigma, stack.ids)}) == 1
        for j, row in enumerate(stack.rows.tolist()):
            mask = None if stack.mask is None else stack.mask[j]
            rows[row] = (stack.images[j], mask, stack.level[j], stack.sigma[j], stack.ids[j])
    return rows


# from a store


def test_a_store_comes_in_stacks_of_one_shape_and_type_in_its_order(store):
    found = list(stacks(store))
    assert [s.rows.tolist() for s in found] == [[0, 1], [2], [3, 4], [5], [6], [7]]
    for row, (image, _, level, sigma, name) in flat(found).items():
        np.testing.assert_array_equal(image, image_of(row))
        assert image.dtype == np.dtype(TYPES[row])
        assert name == f"row {row}"
        assert level.tolist() == [100.0] * SHAPES[row][0]
        assert sigma.tolist() == [20.0 + row] * SHAPES[row][0]


def test_neighbours_are_looked_at_in_place(tmp_path):
    many = written(tmp_path / "a.cutouts", [Cutout(id=str(i), image=image_of(0) + i) for i in range(50)])
    (stack,) = stacks(many)
    assert stack.images.shape == (50, 1, 12, 12)
    assert not stack.images.flags.writeable
    assert not stack.images.flags.owndata
    for i, image in enumerate(stack.images):
        np.testing.assert_array_equal(image, image_of(0) + i)


def test_masks_pixel_scale_and_beam_come_along(store):
    first = next(iter(stacks(store)))
    assert first.mask[0].all()
    np.testing.assert_array_equal(first.mask[1], image_of(1)[0] > 90)
    np.testing.assert_array_equal(first.pixel_scale_arcsec, [np.nan, 0.5])
    np.testing.assert_array_equal(first.beam_arcsec, [np.nan, 2.0])
    assert all(s.mask is None for s in list(stacks(store))[1:])


@settings(max_examples=25)
@given(rows=st.lists(st.integers(0, len(SHAPES) - 1), max_size=12))
def test_rows_asked_for_equal_those_of_the_whole_in_the_order_asked(store, rows):
    whole = flat(stacks(store))
    found = list(stacks(store, rows))
    assert [row for stack in found for row in stack.rows.tolist()] == rows
    for stack in found:
        for j, row in enumerate(stack.rows.tolist()):
            image, mask, level, sigma, name = whole[row]
            np.testing.assert_array_equal(stack.images[j], image)
            assert stack.images.dtype == image.dtype
            full = np.ones(image.shape[-2:], bool)
            seen, expected = full if stack.mask is None else stack.mask[j], full if mask is None else mask
            np.testing.assert_array_equal(seen, expected)
            np.testing.assert_array_equal(stack.level[j], level)
            np.testing.assert_array_equal(stack.sigma[j], sigma)
            assert stack.ids[j] == name


def test_a_selection_numbers_its_own_rows(store):
    kept = store.keep([2, 5, 7])
    assert [s.rows.tolist() for s in stacks(kept)] == [[0], [1], [2]]
    assert [s.ids[0] for s in stacks(kept)] == ["row 2", "row 5", "row 7"]


@pytest.mark.parametrize("unknown", [{"level": (), "sigma": ()}, {"sigma": (np.nan,)}, {"level": (np.nan,)}])
def test_noise_that_a_store_does_not_know_is_measured(unknown, tmp_path):
    mask = np.ones((12, 12), bool)
    mask[3:] = False
    rows = [cutout_of(0), cutout_of(1, mask=mask, **unknown), cutout_of(5, **unknown)]
    found = flat(stacks(written(tmp_path / "a.cutouts", rows)))
    assert found[0][3].tolist() == [20.0]
    expected = estimate_noise(image_of(1), mask)
    np.testing.assert_array_equal(found[1][2:4], expected)
    np.testing.assert_array_equal(found[2][2:4], estimate_noise(image_of(5)))
    assert expected.sigma[0] != estimate_noise(image_of(1)).sigma[0]


def test_a_batch_of_nothing_gives_nothing(store):
    batch = next(iter(store.chunks(list(COLUMNS)))).slice(0, 0)
    assert list(batch_stacks(batch, np.arange(0))) == []


def test_a_slice_of_a_batch_is_stacked_as_such(store):
    batch = next(iter(store.chunks(list(COLUMNS)))).slice(3, 3)
    found = flat(batch_stacks(batch, np.arange(10, 13)))
    assert sorted(found) == [10, 11, 12]
    np.testing.assert_array_equal(found[12][0], image_of(5))


# from samples


def test_samples_of_a_users_own_data_set():
    own = Own([{"image": image_of(i), "id": i} for i in (0, 3, 7)])
    found = flat(stacks(own))
    for row, i in enumerate((0, 3, 7)):
        image, mask, level, sigma, name = found[row]
        np.testing.assert_array_equal(image, image_of(i))
        np.testing.assert_array_equal((level, sigma), estimate_noise(image_of(i)))
        assert mask is None
        assert name == str(i)
    assert [int(s.rows[0]) for s in stacks(own, [2, 0, 2])] == [2, 0, 2]


def test_tensors_are_taken_as_well():
    mask = torch.ones(12, 12, dtype=torch.bool)
    sample = {"image": torch.ones(2, 12, 12), "id": "a", "mask": mask, "level": torch.zeros(2), "sigma": torch.ones(2)}
    stack = sample_stack(sample, 4)
    assert stack.rows.tolist() == [4]
    assert stack.images.shape == (1, 2, 12, 12)
    assert stack.mask.all()
    assert stack.sigma.tolist() == [[1.0, 1.0]]


def test_one_number_holds_for_all_bands():
    sample = {"image": np.ones((3, 4, 4)), "id": "a", "level": 1.5, "sigma": [2.0]}
    stack = sample_stack(sample, 0)
    assert stack.level.tolist() == [[1.5] * 3]
    assert stack.sigma.tolist() == [[2.0] * 3]


def test_the_mean_of_planes_leaves_out_what_is_not_finite():
    cubes = np.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_allclose(mean_planes(cubes), cubes.mean(axis=1))
    cubes[0, 1, 0, 0], cubes[0, 2, 0, 0], cubes[1, :, 1, 1] = np.nan, np.inf, np.nan
    found = mean_planes(cubes)
    assert found[0, 0, 0] == cubes[0, 0, 0, 0]
    assert np.isnan(found[1, 1, 1])
    assert np.isfinite(found).sum() == 7
    assert mean_planes(np.ones((3, 4, 5), np.uint8)).tolist() == [[1.0] * 5] * 4


def test_the_noise_of_a_cube_is_that_of_all_planes_of_a_band():
    cube = np.random.default_rng(0).normal(5, 2, (2, 7, 20, 20)).astype(np.float32)
    mask = np.ones((20, 20), bool)
    mask[:, :10] = False
    cube[..., :10] = 1e5
    stack = sample_stack({"image": cube, "id": "cube", "mask": mask}, 0)
    assert stack.images.shape == (1, 2, 7, 20, 20)
    assert stack.level.shape == (1, 2)
    np.testing.assert_allclose(stack.level, 5, atol=0.2)
    np.testing.assert_allclose(stack.sigma, 2, atol=0.2)


@pytest.mark.parametrize(
    "sample, error, match",
    [
        ({"id": "a"}, DataError, "sample 7 must be a dict with 'image'.*got dict"),
        ({"image": np.ones((1, 2, 2))}, DataError, "sample 7 must be a dict"),
        ((np.ones((1, 2, 2)), "a"), DataError, "got tuple"),
        (
            {"image": np.ones((4, 4)), "id": "a"},
            ShapeError,
            r"image of sample 'a' must be .*got \(4, 4\). Add the band axis",
        ),
        ({"image": np.ones((1, 0, 4)), "id": "a"}, ShapeError, r"got \(1, 0, 4\)"),
        ({"image": np.ones((1, 4, 4), complex), "id": "a"}, DataError, "must hold integers or floats; got complex128"),
        ({"image": np.ones((1, 4, 4)), "id": "a", "mask": np.ones((4, 5))}, ShapeError, r"\(4, 4\); got \(4, 5\)"),
        (
            {"image": np.ones((3, 4, 4)), "id": "a", "sigma": [1.0, 1.0]},
            ShapeError,
            "sigma of sample 'a' must have one",
        ),
        ({"image": np.ones((1, 4, 4)), "id": "a", "level": [[1.0]]}, ShapeError, r"got shape \(1, 1\)"),
    ],
)
def test_bad_samples_are_named(sample, error, match):
    with pytest.raises(error, match=match):
        sample_stack(sample, 7)
