"""The rules of the flags, each with an image that has it and one that only nearly has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.sky import quality
from morphospace.sky.flags import Flag
from morphospace.sky.noise import Noise, estimate_noise
from morphospace.sky.quality import assess


def noisy(shape=(1, 80, 80), seed=0, sigma=1.0, level=0.0):
    return (level + np.random.default_rng(seed).normal(0, sigma, shape)).astype(np.float32)


def with_disc(image, y, x, radius, peak):
    rows, columns = np.indices(image.shape[1:])
    image = image.copy()
    distance = np.hypot(rows - y, columns - x)
    image[:, distance <= radius] += peak * (1 - distance[distance <= radius] / (2 * radius))
    return image


def judge(image, mask=None, **options):
    return assess(image, mask, estimate_noise(image, mask), **options)


def test_a_source_in_the_middle_has_no_flag_and_its_peak_is_told():
    image = with_disc(noisy(), 40, 40, 6, 50)
    quality = judge(image)
    assert quality.flags == Flag(0)
    noise = estimate_noise(image)
    assert quality.snr == pytest.approx((image.max() - noise.level[0]) / noise.sigma[0])
    assert quality.n_valid == 6400


# -- MISSING_PIXELS ------------------------------------------------------------------------------------------------


def test_one_blank_pixel_is_missing_and_a_mask_of_true_is_not():
    image = with_disc(noisy(), 40, 40, 6, 50)
    mask = np.ones((80, 80), dtype=bool)
    assert judge(image, mask).flags == Flag(0)
    mask[3, 5] = False
    image[0, 3, 5] = np.nan
    assert judge(image, mask).flags == Flag.MISSING_PIXELS


def test_without_a_valid_pixel_nothing_else_is_said():
    image = np.full((2, 8, 8), np.nan, dtype=np.float32)
    quality = judge(image, np.zeros((8, 8), dtype=bool))
    assert quality.flags == Flag.MISSING_PIXELS
    assert np.isnan(quality.snr)
    assert quality.n_valid == 0


# -- CONSTANT ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "bool"])
def test_equal_pixels_are_constant_and_nothing_else(dtype):
    assert judge(np.ones((3, 9, 9), dtype=dtype)).flags == Flag.CONSTANT


def test_each_band_with_its_own_value_is_constant():
    image = np.stack([np.full((5, 5), value, dtype=np.uint8) for value in (255, 3, 80)])
    assert judge(image).flags == Flag.CONSTANT
    image[1, 2, 2] = 4
    assert Flag.CONSTANT not in judge(image).flags


def test_one_pixel_is_constant():
    assert judge(np.ones((1, 1, 1), dtype=np.float32)).flags == Flag.CONSTANT


def test_pixels_equal_where_valid_are_constant_and_missing():
    image = np.full((1, 6, 6), 2.0, dtype=np.float32)
    mask = np.ones((6, 6), dtype=bool)
    image[0, 0], mask[0] = np.nan, False
    assert judge(image, mask).flags == Flag.CONSTANT | Flag.MISSING_PIXELS


# -- LOW_SNR -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peak", "flags"), [(4.9, Flag.LOW_SNR), (5.1, Flag(0))])
def test_low_snr_is_a_peak_below_5_sigma(peak, flags):
    image = np.clip(noisy(), -2, 2)
    image[0, 40, 40] = peak
    noise = Noise(np.zeros(1, np.float32), np.ones(1, np.float32))
    assert assess(image, None, noise).flags == flags


def test_one_band_that_stands_out_is_enough():
    image = np.concatenate([noisy(seed=1), with_disc(noisy(seed=2), 40, 40, 5, 30)])
    assert judge(image).flags == Flag(0)
    assert judge(image[:1]).flags == Flag.LOW_SNR


def test_where_sigma_is_0_the_rules_of_noise_say_nothing():
    clipped = np.zeros((1, 50, 50), dtype=np.float32)
    clipped[0, :10, 20:30] = np.arange(100).reshape(10, 10)  # at the border, and faint beside nothing
    quality = judge(clipped)
    assert quality.flags == Flag(0)
    assert np.isnan(quality.snr)


def test_a_band_without_noise_does_not_count_beside_one_with_noise():
    clipped = np.zeros((1, 80, 80), dtype=np.float32)
    clipped[0, 10, 10] = 1e9
    assert judge(np.concatenate([clipped, noisy()])).flags == Flag.LOW_SNR


# -- SATURATED -----------------------------------------------------------------------------------------------------


def test_a_pixel_at_saturate_of_the_header_is_saturated():
    image = with_disc(noisy(), 40, 40, 6, 50)
    top = float(image.max())
    assert judge(image, saturate=top).flags == Flag.SATURATED
    assert judge(image, saturate=np.nextafter(np.float32(top), np.float32(np.inf))).flags == Flag(0)


@pytest.mark.parametrize(
    ("places", "saturated"),
    [
        ([(40, 40), (40, 41), (41, 40), (41, 41)], True),
        ([(40, 40), (41, 40), (42, 40), (43, 40)], True),
        ([(40, 40), (40, 41), (41, 40)], False),
        ([(10, 10), (20, 20), (30, 30), (40, 40)], False),
    ],
    ids=["square", "column", "three", "apart"],
)
def test_four_connected_pixels_at_the_maximum_are_saturated(places, saturated):
    image = with_disc(noisy(), 40, 40, 6, 50)
    for y, x in places:
        image[0, y, x] = 90.0
    assert (Flag.SATURATED in judge(image).flags) is saturated


def test_an_8_bit_picture_is_saturated_at_255_and_not_where_its_steps_are_coarse():
    sky = np.random.default_rng(0).integers(8, 17, (3, 60, 60)).astype(np.uint8)
    plateau = sky.copy()
    plateau[1, 28:33, 28:33] = 180
    assert judge(plateau).flags == Flag(0)
    plateau[1, 28:33, 28:33] = 255
    assert judge(plateau).flags == Flag.SATURATED


def test_counts_of_16_bits_are_saturated_where_they_are_flat():
    image = np.random.default_rng(0).poisson(200, (1, 60, 60)).astype(np.uint16)
    image[0, 30:33, 30:33] = 60000
    assert judge(image).flags == Flag.SATURATED


def test_the_white_paper_of_a_negative_and_flat_noise_are_not_saturated():
    paper = np.full((1, 60, 60), 255, dtype=np.uint8)
    paper[0, 20:40, 20:40] = np.arange(400).reshape(20, 20) % 200
    assert Flag.SATURATED not in judge(paper).flags
    flat = np.round(noisy(sigma=0.4) + 300).astype(np.int16)  # the highest step is reached often, by noise alone
    assert Flag.SATURATED not in judge(flat).flags


def test_masked_pixels_do_not_saturate():
    image = with_disc(noisy(), 40, 40, 6, 50)
    image[0, 10:14, 10:14] = 1e6
    mask = np.ones((80, 80), dtype=bool)
    mask[10:14, 10:14] = False
    assert judge(image, mask, saturate=1e5).flags == Flag.MISSING_PIXELS


# -- EDGE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("y", "x"), [(2, 40), (77, 40), (40, 2), (40, 77), (0, 0)])
def test_a_source_that_reaches_the_border_is_at_the_edge(y, x):
    assert judge(with_disc(noisy(), y, x, 5, 60)).flags == Flag.EDGE


def test_a_neighbour_at_the_edge_does_not_speak_for_the_source_in_the_middle():
    image = with_disc(noisy(), 40, 41, 6, 20)
    assert judge(with_disc(image, 0, 20, 6, 500)).flags == Flag(0)


def test_a_source_in_the_middle_that_reaches_the_border_is_at_the_edge():
    image = noisy()
    image[0, 38:43, :] += 30  # edge-on, from border to border
    assert judge(image).flags == Flag.EDGE


def test_noise_at_the_border_is_no_source():
    image = np.clip(noisy(), -2, 2)
    image[0, 0, 5] = 4.5
    assert judge(image).flags == Flag.LOW_SNR


def test_a_blank_corner_is_a_border_and_a_dead_pixel_is_not():
    image = with_disc(noisy(), 40, 40, 8, 60)
    dead = np.ones((80, 80), dtype=bool)
    dead[40, 40] = False
    assert judge(image, dead).flags == Flag.MISSING_PIXELS
    corner = np.ones((80, 80), dtype=bool)
    corner[:, :36] = False
    assert judge(image, corner).flags == Flag.MISSING_PIXELS | Flag.EDGE


def test_a_given_footprint_is_judged_instead_of_the_brightest():
    image = with_disc(with_disc(noisy(), 0, 40, 6, 900), 40, 40, 6, 30)
    mine = np.hypot(*(np.indices((80, 80)) - 40)) < 5
    quality = judge(image, footprint=mine)
    assert quality.flags == Flag(0)
    assert 25 < quality.snr < 40
    theirs = np.zeros((80, 80), dtype=bool)
    theirs[:4, 38:43] = True
    assert Flag.EDGE in judge(image, footprint=theirs).flags


# -- properties ----------------------------------------------------------------------------------------------------


@given(
    scale=st.floats(0.01, 1e3),
    level=st.floats(-1e3, 1e3),
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_flags_do_not_depend_on_units_or_orientation(scale, level, turns, mirrored, seed):
    rng = np.random.default_rng(seed)
    image = noisy(shape=(1, 41, 41), seed=seed).astype(np.float64)
    image = with_disc(image, *rng.integers(0, 41, 2), rng.integers(2, 6), rng.choice([2.0, 20.0]))
    moved = np.rot90(image, turns, axes=(1, 2)) * scale + level
    moved = moved[..., ::-1] if mirrored else moved
    here, there = judge(image), judge(np.ascontiguousarray(moved))
    if abs(here.snr - 5) > 1e-3:  # rounding decides at the limit
        assert here.flags == there.flags
    assert there.snr == pytest.approx(here.snr, rel=1e-3)


@given(st.integers(0, 2**32 - 1))
def test_flags_do_not_depend_on_what_is_under_the_mask(seed):
    rng = np.random.default_rng(seed)
    image = with_disc(noisy(seed=seed % 1000), *rng.integers(0, 80, 2), 5, 40)
    mask = rng.random((80, 80)) > 0.1
    other = image.copy()
    other[:, ~mask] = rng.choice([np.nan, np.inf, 1e9], size=np.count_nonzero(~mask))
    first, second = judge(image, mask), judge(other, mask)
    assert first == second


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), h=st.integers(3, 9), w=st.integers(3, 9), n=st.integers(1, 2), rise=st.floats(2, 30))
def test_looking_at_the_border_first_changes_no_verdict(seed, h, w, n, rise):
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 1, (n, h, w)).astype(np.float32) + np.float32(rise) * (rng.random((n, h, w)) < 0.3)
    noise = Noise(np.zeros(n, np.float32), np.ones(n, np.float32))
    short = quality._touches_border(data, None, noise, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "_may_touch", lambda data, noise: True)
        assert quality._touches_border(data, None, noise, None) == short
