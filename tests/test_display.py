"""The display threshold: known skies, 8-bit pictures, what has no noise, and the mask of a cutout."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morphospace.sky.cutouts import Cutout
from morphospace.sky.display import display_mask, display_threshold


@pytest.mark.parametrize("mean,sigma", [(0, 1), (3, 2), (-1e-5, 1.7e-4), (1e6, 10)])
@pytest.mark.parametrize("share", [0, 0.3])
def test_threshold_is_mean_plus_five_sigma_of_the_sky(mean, sigma, share):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(5):
        sky = rng.normal(mean, sigma, 10_000)
        stars = mean + rng.exponential(20 * sigma, int(share * 10_000))
        found.append(display_threshold(np.r_[sky, stars, np.nan, np.inf].astype(np.float32)))
    assert np.mean(found) == pytest.approx(mean + 5 * sigma, abs=0.3 * sigma)


@pytest.mark.parametrize("sigma", [0.8, 2, 9])
def test_threshold_of_an_8_bit_picture(sigma):
    rng = np.random.default_rng(1)
    x = np.rint(np.r_[rng.normal(30, sigma, 20_000), 30 + rng.exponential(60, 4000)]).clip(0, 255).astype(np.uint8)
    assert display_threshold(x) == pytest.approx(30 + 5 * sigma, abs=0.5 + 0.4 * sigma)


def test_threshold_without_noise():
    assert display_threshold(np.zeros(100)) == 0
    assert display_threshold(np.r_[np.zeros(90), np.arange(1, 11)]) == 0  # clipped: all that is left stands out
    assert display_threshold(np.array([])) == math.inf
    assert display_threshold(np.array([np.nan])) == math.inf
    assert display_threshold(np.array([7.0])) == 7


@pytest.mark.parametrize("far", [-1e6, 1e6])
def test_threshold_minds_no_pixel_far_off(far):
    x = np.random.default_rng(0).normal(0, 1e-9, 1000)
    assert display_threshold(np.r_[x, far]) == pytest.approx(display_threshold(x), rel=0.1)


@given(hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(-1e6, 1e6, width=32)))
def test_threshold_is_a_number_for_any_pixels(x):
    assert math.isfinite(display_threshold(x))


def test_threshold_scales_with_the_unit():
    x = np.random.default_rng(2).normal(1, 0.1, 5000)
    assert display_threshold(1e-6 * x) == pytest.approx(1e-6 * display_threshold(x))


def test_mask_shows_what_stands_out_in_any_band():
    rng = np.random.default_rng(3)
    image = rng.normal(size=(2, 60, 60)).astype(np.float32)
    image[0, 20:25, 20:25] += 30
    image[1, 40:45, 40:45] += 30
    image[0, 0, 0] = np.nan
    mask = display_mask(Cutout("a", image))
    expected = np.zeros((60, 60), bool)
    expected[20:25, 20:25] = expected[40:45, 40:45] = True
    assert (mask == expected).mean() > 0.999
    assert mask[expected].all()
    masked = np.ones((60, 60), bool)
    masked[20:25] = False
    assert not display_mask(Cutout("a", image, mask=masked))[20:25].any()


def test_mask_of_an_image_in_which_nothing_stands_out_shows_it_whole():
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 4, 4] = np.nan
    mask = display_mask(Cutout("a", image))
    assert mask.sum() == 80
    assert not mask[4, 4]
    assert not display_mask(Cutout("a", np.full((1, 4, 4), np.nan, np.float32))).any()
