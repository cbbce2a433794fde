"""Pictures of the rows: right way up, right colours, there for every row."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.sky.curate import curate
from morphospace.sky.cutouts import Cutout
from morphospace.sky.thumbs import (
    THUMB_PIXELS,
    THUMBS,
    ThumbsWriter,
    _white,
    decode_thumb,
    load_thumbs,
    make_thumb,
    read_thumbs,
)
from sky_files import write_good


def draw(image, **known):
    return decode_thumb(make_thumb(Cutout(id="a", image=image, **known))).astype(int)


def quarters(picture):
    h, w = picture.shape[0] // 2, picture.shape[1] // 2
    return np.array(
        [[picture[:h, :w].mean(), picture[:h, w:].mean()], [picture[h:, :w].mean(), picture[h:, w:].mean()]]
    )


def test_fits_rows_run_upwards_and_those_of_pictures_downwards():
    image = np.zeros((1, 64, 64), dtype=np.float32)
    image[0, :32, :32] = 100  # the first rows
    known = {"level": (0.0,), "sigma": (1.0,)}
    assert quarters(draw(image, hdu="0", **known)).argmax() == 2  # bottom left
    assert quarters(draw(image, hdu="", **known)).argmax() == 0  # top left


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((40, 40), (40, 40)),
        ((128, 100), (128, 100)),
        ((150, 150), (96, 96)),
        ((300, 100), (96, 32)),
        ((1, 500), (1, 96)),
        ((1, 1), (1, 1)),
    ],
)
def test_thumbs_of_large_images_have_at_most_96_pixels_a_side_and_keep_their_form(shape, wanted):
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    assert draw(image).shape == (*wanted, 3)


def test_large_images_are_averaged_and_not_sampled():
    image = np.zeros((1, 960, 960), dtype=np.float32)
    image[0, ::2, ::2] = 400.0  # every pixel of the picture has 25 of these
    picture = draw(image, level=(0.0,), sigma=(1.0,))
    assert picture.std() < 1
    assert picture.mean() > 200


def test_the_stretch_goes_by_the_noise_and_not_by_the_units():
    image = np.random.default_rng(0).normal(0, 1, (1, 50, 50)).astype(np.float32)
    image[0, 20:30, 20:30] += 40
    here = draw(image, level=(0.0,), sigma=(1.0,))
    there = draw(image * 1e-6 - 3e-5, level=(-3e-5,), sigma=(1e-6,))
    assert abs(here - there).max() <= 3
    assert here[22:28, 22:28].mean() > 3 * here[:15].mean()


def test_blank_pixels_are_slate_and_hide_nothing_else():
    image = np.random.default_rng(0).normal(0, 1, (1, 60, 60)).astype(np.float32)
    mask = np.ones((60, 60), dtype=bool)
    mask[:, :20] = False
    image[:, ~mask] = np.nan
    picture = draw(image, mask=mask, level=(0.0,), sigma=(1.0,))
    assert abs(picture[:, 2:16] - [46, 52, 64]).max() < 12
    nowhere = draw(np.full((1, 30, 30), np.nan, dtype=np.float32))
    assert abs(nowhere - [46, 52, 64]).max() < 12


def test_8_bit_pictures_are_shown_as_they_are():
    image = np.zeros((3, 40, 40), dtype=np.uint8)
    image[0], image[1], image[2] = 200, 100, 20
    assert abs(draw(image) - [200, 100, 20]).max() < 8


def test_the_longest_wavelength_of_three_is_red():
    image = np.zeros((3, 40, 40), dtype=np.float32)
    image[2] = 50.0
    known = {"level": (0.0,) * 3, "sigma": (1.0,) * 3}
    red, _, blue = draw(image, wavelength_nm=(480.0, 620.0, 760.0), **known).mean(axis=(0, 1))
    assert red > blue + 100
    red, _, blue = draw(image, **known).mean(axis=(0, 1))
    assert blue > red + 100


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 20, 20), dtype=np.float32),
        np.full((2, 20, 20), 7, dtype=np.int32),
        np.full((1, 20, 20), 1e300),
        np.eye(20, dtype=bool)[None],
        -np.ones((5, 20, 20), dtype=np.float16),
    ],
    ids=["zero", "two bands", "beyond float32", "bool", "float16"],
)
def test_any_image_can_be_drawn(image):
    assert draw(image).shape == (20, 20, 3)


def test_thumbs_are_read_by_row_in_the_order_asked_for(tmp_path):
    write_good(tmp_path / "in", 5)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    direct = [make_thumb(cutout) for cutout in cuts.read(range(5))]
    assert load_thumbs(cuts, [4, 0, 0, 2]) == [direct[4], direct[0], direct[0], direct[2]]
    assert load_thumbs(cuts.keep([1, 3]), [1]) == [direct[3]]
    assert load_thumbs(cuts, []) == []


def test_thumbs_that_are_not_there_are_drawn(tmp_path):
    write_good(tmp_path / "in", 3)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    stored = load_thumbs(cuts, range(3))
    shutil.rmtree(cuts.path / THUMBS)
    assert read_thumbs(cuts.path, [("good0000", "x")]) == {}
    assert load_thumbs(cuts, range(3)) == stored


def test_thumbs_lie_in_small_row_groups_and_are_not_written_twice(tmp_path):
    rng = np.random.default_rng(0)
    made = [
        Cutout(id=f"c{i}", image=rng.normal(size=(1, THUMB_PIXELS, THUMB_PIXELS)).astype(np.float32), sha256=f"s{i}")
        for i in range(200)
    ]
    for part in (made[:120], made):
        with ThumbsWriter(tmp_path, resume=True) as writer:
            before = len(writer.done)
            writer.extend([(cutout.id, cutout.sha256, make_thumb(cutout)) for cutout in part])
    assert before == 120
    found = read_thumbs(tmp_path, [("c7", "s7"), ("c150", "s150"), ("c7", "other")])
    assert found == {("c7", "s7"): make_thumb(made[7]), ("c150", "s150"): make_thumb(made[150])}


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(1, 7), (30, 41), (128, 128)]),
    n=st.integers(1, 3),
    rise=st.floats(0, 60),
)
def test_white_is_the_percentile_of_all_pixels_and_at_least_6_sigma(seed, shape, n, rise):
    planes = list(np.random.default_rng(seed).exponential(1 + rise, (n, *shape)).astype(np.float32))
    ordered = np.sort(np.concatenate([plane.ravel() for plane in planes]))
    assert _white(planes) == max(ordered[round((ordered.size - 1) * 0.997)], 6)
