"""Level and sigma against known answers, astropy's sigma clipping and a naive second writing."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.stats import mad_std, sigma_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morphospace.errors import ShapeError
from morphospace.sky.noise import estimate_noise


def naive(values):
    """Median and MAD, clipped at 3 sigma until nothing changes; written without sorting or slicing."""
    kept = np.asarray(values, dtype=np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    while True:
        level = np.median(kept)
        sigma = 1.482602218505602 * np.median(np.abs(kept - level))
        left = kept[np.abs(kept - level) <= 3 * sigma]
        if left.size == kept.size:
            return level, sigma
        kept = left


def test_noise_of_a_gaussian_is_known():
    image = np.random.default_rng(1).normal(3.0, 0.5, (1, 600, 600)).astype(np.float32)
    noise = estimate_noise(image)
    assert noise.level.shape == noise.sigma.shape == (1,)
    assert noise.level.dtype == noise.sigma.dtype == np.float32
    assert noise.level[0] == pytest.approx(3.0, abs=0.01)
    assert noise.sigma[0] == pytest.approx(0.5, rel=0.01)


def test_sources_do_not_move_level_or_sigma():
    image = np.random.default_rng(2).normal(0, 1, (1, 200, 200))
    image[0, 40:80, 40:80] += 500  # 4 % of the pixels
    noise = estimate_noise(image)
    assert abs(noise.level[0]) < 0.02
    assert noise.sigma[0] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u2", "u1", "f2"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 3), (20, 31), (64, 64)])
def test_noise_equals_astropy(dtype, shape):
    rng = np.random.default_rng(3)
    image = (50 + 10 * rng.standard_t(2, shape)).clip(0, 255).astype(dtype)
    clipped = sigma_clip(
        image.astype(float), sigma=3, maxiters=None, cenfunc="median", stdfunc=mad_std, masked=False, axis=None
    )
    clipped = clipped[np.isfinite(clipped)]
    noise = estimate_noise(image)
    assert noise.level[0] == np.float32(np.median(clipped))
    assert noise.sigma[0] == pytest.approx(mad_std(clipped), rel=1e-6, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)))
def test_noise_equals_the_naive_writing(values):
    level, sigma = naive(values)
    noise = estimate_noise(values[None])
    assert noise.level[0] == pytest.approx(level, rel=1e-6, abs=1e-9)
    assert noise.sigma[0] == pytest.approx(sigma, rel=1e-5, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_noise_does_not_depend_on_pixel_order_and_scales(seed, factor):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=400)
    one = estimate_noise(values.reshape(1, 20, 20))
    shuffled = estimate_noise(rng.permutation(values).reshape(1, 20, 20))
    scaled = estimate_noise((factor * values + 5).reshape(1, 20, 20))
    np.testing.assert_array_equal(one, shuffled)
    np.testing.assert_allclose(scaled.level, factor * one.level + 5, rtol=1e-5)
    np.testing.assert_allclose(scaled.sigma, factor * one.sigma, rtol=1e-5)


def test_more_than_half_equal_gives_sigma_zero():
    image = np.random.default_rng(4).normal(10, 1, (1, 100, 100))
    image[0, :51] = 0
    noise = estimate_noise(image)
    assert noise.level[0] == 0
    assert noise.sigma[0] == 0
    assert estimate_noise(np.full((1, 5, 5), 7, np.uint8)).level[0] == 7


def test_blank_and_masked_pixels_are_left_out():
    image = np.random.default_rng(5).normal(0, 1, (2, 60, 60))
    mask = np.ones((60, 60), bool)
    mask[:, :30] = False
    expected = estimate_noise(image[:, :, 30:])
    image[:, :, :20] = np.nan
    image[:, :, 20:25] = np.inf
    image[:, :, 25:30] = -np.inf
    np.testing.assert_array_equal(estimate_noise(image), expected)
    image[:, :, :30] = 1e9
    np.testing.assert_array_equal(estimate_noise(image, mask), expected)


def test_bands_are_independent_and_two_axes_are_one_band():
    rng = np.random.default_rng(6)
    image = np.stack([rng.normal(0, 1, (50, 50)), rng.normal(100, 5, (50, 50))])
    both = estimate_noise(image)
    for band in range(2):
        alone = estimate_noise(image[band])
        assert alone.level[0] == both.level[band]
        assert alone.sigma[0] == both.sigma[band]


@pytest.mark.parametrize("image", [np.full((1, 4, 4), np.nan), np.full((1, 2, 2), np.inf), np.zeros((1, 0, 3))])
def test_nothing_valid_gives_nan(image):
    noise = estimate_noise(image)
    assert np.isnan(noise.level).all()
    assert np.isnan(noise.sigma).all()
    assert np.isnan(estimate_noise(np.ones((3, 3)), np.zeros((3, 3), bool)).level).all()


def test_the_input_is_not_changed():
    image = np.random.default_rng(7).normal(size=(1, 30, 30)).astype(np.float32)
    image.setflags(write=False)
    before = image.copy()
    estimate_noise(image)
    np.testing.assert_array_equal(image, before)


def test_float64_beyond_float32_is_infinite_not_a_warning():
    assert np.isinf(estimate_noise(np.full((2, 2), 1e300)).level[0])


@pytest.mark.parametrize("data, mask", [(np.zeros(5), None), (np.zeros((1, 1, 2, 2)), None)])
def test_wrong_axes_are_refused(data, mask):
    with pytest.raises(ShapeError, match=r"data must be \(C, H, W\) or \(H, W\)"):
        estimate_noise(data, mask)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match="mask must be"):
        estimate_noise(np.zeros((1, 4, 4)), np.ones((4, 5), bool))
