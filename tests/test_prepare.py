"""From native pixels to network units: by hand, against slow averages, and with everything hostile in the pixels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import ConfigError, DataError
from morphospace.learn.prepare import Geometry, Preparation, prepare_stack

NOISE = Preparation(size=8, units="noise")
SYMMETRIES = [(k, flip) for k in range(4) for flip in (False, True)]


def turned(x, k, flip):
    x = torch.rot90(x, k, (-2, -1))
    return x.flip(-1) if flip else x


def prepared(x, preparation=NOISE, *, mask=None, level=0.0, sigma=1.0, **geometry):
    x = torch.as_tensor(np.asarray(x))
    bands = (len(x), x.shape[1])
    noise = tuple(torch.as_tensor(v, dtype=torch.float32).expand(bands) for v in (level, sigma))
    h, w = x.shape[-2:]
    scale = Geometry(h, w, **geometry).pixels_per_output(preparation, "a")
    return prepare_stack(x, mask, noise, torch.full((len(x),), scale), preparation)


def averaged(image, weight, h, w):
    """Weighted area average of one plane in float64, bins as of adaptive pooling."""
    out, kept = np.zeros((h, w)), np.zeros((h, w))
    rows, cols = image.shape
    for i in range(h):
        for j in range(w):
            box = np.s_[i * rows // h : -(-(i + 1) * rows // h), j * cols // w : -(-(j + 1) * cols // w)]
            kept[i, j] = weight[box].mean()
            out[i, j] = (image[box] * weight[box]).sum() / weight[box].sum() if weight[box].any() else 0.0
    return out, kept


# units


def test_noise_units_are_sigmas_above_the_level():
    x = np.full((1, 2, 3, 3), 10.0)
    got = prepared(x, level=[4.0, 7.0], sigma=[2.0, 0.5])
    assert got.x[0, :, 0, 0].tolist() == [3.0, 6.0]
    assert got.sigma.tolist() == [[1.0, 1.0]]
    assert got.mask is None
    assert got.factor == 1.0


def test_range_units_divide_by_the_brightest_pixel_of_the_image():
    x = np.zeros((2, 2, 3, 3), np.float32)
    x[:] = 1.0
    x[0, 1, 2, 2], x[1, 0, 0, 0] = 5.0, 11.0
    got = prepared(x, replace(NOISE, units="range"), level=1.0, sigma=0.5)
    assert got.x[0, 1, 2, 2] == 1
    assert got.x[1, 0, 0, 0] == 1
    assert got.x.sum() == 2
    torch.testing.assert_close(got.sigma, torch.tensor([[0.125, 0.125], [0.05, 0.05]]))


def test_pictures_are_divided_by_255():
    x = np.array([[[[10, 61], [10, 10]]]], np.uint8)
    got = prepared(x, replace(NOISE, units="range"), level=10.0, sigma=2.55)
    torch.testing.assert_close(got.x, torch.tensor([[[[0.0, 0.2], [0.0, 0.0]]]]))
    torch.testing.assert_close(got.sigma, torch.tensor([[0.01]]))


def test_no_units_leave_the_pixels_as_they_are():
    x = np.random.default_rng(0).normal(100, 5, (2, 1, 5, 5)).astype(np.float32)
    got = prepared(x, replace(NOISE, units="none"), level=100.0, sigma=5.0)
    assert torch.equal(got.x, torch.from_numpy(x))
    assert got.sigma.tolist() == [[5.0], [5.0]]


def test_clipping_puts_faint_pixels_on_the_level():
    x = np.array([[[[2.9, 3.1], [-9.0, 3.0]]]], np.float32)
    got = prepared(x * 2 + 7, replace(NOISE, clip_sigma=3.0), level=7.0, sigma=2.0)
    torch.testing.assert_close(got.x, torch.tensor([[[[0.0, 3.1], [0.0, 3.0]]]]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.float16, np.float64, np.bool_])
@pytest.mark.parametrize("units", ["noise", "range", "none"])
def test_any_real_type_gives_float32(dtype, units):
    x = (np.random.default_rng(0).random((2, 1, 6, 6)) * 100).astype(dtype)
    got = prepared(x, replace(NOISE, units=units), level=1.0, sigma=3.0)
    assert got.x.dtype == got.sigma.dtype == torch.float32
    assert torch.isfinite(got.x).all()


# hostile pixels


@pytest.mark.parametrize("units", ["noise", "range", "none"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [6, 70])
def test_bad_pixels_become_background_and_are_masked(units, bad, size):
    x = np.random.default_rng(0).normal(5, 1, (2, 3, size, size)).astype(np.float32)
    x[0, 1, 2, 3] = bad
    preparation = replace(NOISE, units=units, scale="image" if size > 16 else "pixel")
    got = prepared(x, preparation, level=5.0, sigma=1.0)
    assert torch.isfinite(got.x).all()
    assert got.mask is not None
    if size == 6:
        assert got.x[0, :, 2, 3].tolist() == [0, 0, 0]
        assert (got.mask == 0).nonzero().tolist() == [[0, 0, 2, 3]]


def test_a_pixel_beyond_float32_is_a_bad_pixel():
    x = np.ones((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1e300
    got = prepared(x)
    assert got.x[0, 0, 1, 1] == 0
    assert got.mask[0, 0, 1, 1] == 0


@pytest.mark.parametrize("units", ["noise", "range", "none"])
@pytest.mark.parametrize("clip", [None, 3.0])
@pytest.mark.parametrize("fill", [np.nan, 0.0, 7.0])
@pytest.mark.parametrize("noise", [np.nan, 0.0])
def test_blank_images_are_background(units, clip, fill, noise):
    x = np.full((1, 2, 6, 6), fill, np.float32)
    level = fill if math.isnan(fill) or units != "none" else 0.0
    got = prepared(x, replace(NOISE, units=units, clip_sigma=clip), level=level, sigma=noise)
    assert got.x.abs().max() == (fill if units == "none" and fill == 7.0 else 0)
    assert torch.isfinite(got.sigma).all()


def test_absorption_stays_finite_in_range_units():
    """Nothing rises above the level: there is no brightest pixel to divide by."""
    x = np.zeros((1, 1, 4, 4), np.float32)
    x[0, 0, 1, 1] = -8.0
    got = prepared(x, replace(NOISE, units="range"))
    assert got.x.min() == -1
    assert got.x.max() == 0


@pytest.mark.parametrize("units", ["noise", "range", "none"])
@pytest.mark.parametrize("size, scale", [(5, "pixel"), (40, "image")])
def test_masked_pixels_do_not_reach_the_network(units, size, scale):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (2, 1, size, size)).astype(np.float32)
    mask = torch.ones(2, size, size, dtype=torch.bool)
    mask[0, 1:3, 1:3] = False
    bright = x.copy()
    bright[0, 0, 1:3, 1:3] = 1e6
    preparation = replace(NOISE, units=units, scale=scale)
    one, other = prepared(x, preparation, mask=mask), prepared(bright, preparation, mask=mask)
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.mask, other.mask)
    assert one.mask.min() < 1


# scale and averaging


@given(
    h=st.integers(2, 40), w=st.integers(2, 40), size=st.integers(8, 12), seed=st.integers(0, 999), masked=st.booleans()
)
def test_large_images_are_averaged_over_areas(h, w, size, seed, masked):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, 2, h, w)).astype(np.float32)
    mask = torch.from_numpy(rng.random((1, h, w)) > 0.3) if masked else None
    got = prepared(x, Preparation(size=size, scale="image", units="noise"), mask=mask)
    k = max(1, int(max(h, w) / size))
    shape = [max(1, round(n / k)) for n in (h, w)] if k > 1 else [h, w]
    weight = np.ones((h, w)) if mask is None else mask[0].numpy()
    for band in range(2):
        expected, kept = averaged(x[0, band].astype(np.float64) * weight, weight, *shape)
        expected *= math.sqrt(h / shape[0] * w / shape[1])  # in units of the averaged noise
        np.testing.assert_allclose(got.x[0, band], expected, rtol=1e-4, atol=1e-5)
        if got.mask is not None:
            np.testing.assert_allclose(got.mask[0, 0], kept, rtol=1e-5)


@pytest.mark.parametrize("side", [64, 90, 128])
def test_noise_after_averaging_has_the_sigma_that_is_told(side):
    x = np.random.default_rng(0).normal(3, 2, (64, 1, side, side)).astype(np.float32)
    for units in ("range", "none", "noise"):
        got = prepared(x, Preparation(size=16, scale="image", units=units), level=3.0, sigma=2.0)
        measured = got.x.std(dim=(1, 2, 3))
        assert float((measured / got.sigma[:, 0]).mean()) == pytest.approx(1, abs=0.05)


def test_clipping_counts_in_sigmas_after_averaging():
    """A faint extended source, 1 sigma a pixel, is 4 sigma after averaging 4 x 4 pixels and survives a clip at 3."""
    x = np.zeros((1, 1, 64, 64), np.float32)
    x[..., 16:48, 16:48] = 1.0
    got = prepared(x, Preparation(size=16, scale="image", units="noise", clip_sigma=3.0))
    assert got.x.max() == pytest.approx(4.0)
    assert int((got.x > 0).sum()) == 64


@pytest.mark.parametrize(
    "scale, value, geometry, expected",
    [
        ("pixel", None, {}, 1.0),
        ("image", None, {}, 100 / 32),
        ("object", 0.25, {"radius_px": 24.0}, 3.0),
        ("sky", 0.5, {"pixel_scale_arcsec": 0.2}, 2.5),
        ("beam", 4.0, {"pixel_scale_arcsec": 0.2, "beam_arcsec": 1.2}, 1.5),
    ],
)
def test_the_five_scales_by_hand(scale, value, geometry, expected):
    preparation = Preparation(size=32, scale=scale, scale_value=value, units="none")
    assert Geometry(100, 60, **geometry).pixels_per_output(preparation, "a") == pytest.approx(expected)
    got = prepared(np.zeros((1, 1, 100, 60), np.float32), preparation, **geometry)
    k = int(expected)
    assert got.factor * (k if k > 1 else 1) == pytest.approx(expected, rel=0.02)
    assert got.factor < 2


@pytest.mark.parametrize(
    "scale, geometry, what",
    [
        ("sky", {}, "pixel scale"),
        ("beam", {"pixel_scale_arcsec": 0.2}, "beam or pixel scale"),
        ("beam", {"beam_arcsec": 1.0}, "beam or pixel scale"),
    ],
)
def test_a_scale_without_its_figure_is_refused(scale, geometry, what):
    preparation = Preparation(scale=scale, scale_value=1.0)
    with pytest.raises(DataError, match=f"scale='{scale}' needs the {what} of every image; 'NGC 1' has none"):
        Geometry(10, 10, **geometry).pixels_per_output(preparation, "NGC 1")


@pytest.mark.parametrize("radius", [math.nan, 0.0])
def test_an_image_in_which_nothing_stands_out_is_taken_whole(radius):
    preparation = Preparation(size=32, scale="object", scale_value=0.25)
    assert Geometry(100, 60, radius_px=radius).pixels_per_output(preparation, "a") == 100 / 32


def test_small_sources_are_magnified_three_times_at_most():
    preparation = Preparation(size=32, scale="object", scale_value=0.25)
    found = [Geometry(100, 60, radius_px=r).pixels_per_output(preparation, "a") for r in (8.0, 4.0, 2.0, 0.1)]
    assert found == pytest.approx([1.0, 0.5, 1 / 3, 1 / 3])


def test_images_of_one_stack_keep_their_own_scales():
    x = torch.zeros(3, 1, 60, 60)
    noise = torch.zeros(3, 1), torch.ones(3, 1)
    got = prepare_stack(x, None, noise, torch.tensor([2.0, 2.5, 2.9]), Preparation(size=8))
    torch.testing.assert_close(got.factor, torch.tensor([1.0, 1.25, 1.45]))
    assert got.factor.dtype == torch.float32


@given(h=st.integers(1, 60), w=st.integers(1, 60))
def test_the_crop_keeps_the_centre_and_at_most_twice_the_size(h, w):
    x = np.arange(h * w, dtype=np.float32).reshape(1, 1, h, w)
    got = prepared(x, Preparation(size=8, units="none")).x[0, 0]
    assert max(got.shape) <= 16
    assert min(got.shape) >= min(15, h, w)
    assert float(got.mean()) == pytest.approx((h * w - 1) / 2, rel=1e-4)


@given(
    h=st.integers(2, 40),
    w=st.integers(2, 40),
    units=st.sampled_from(["noise", "range", "none"]),
    scale=st.sampled_from(["pixel", "image"]),
    symmetry=st.sampled_from(SYMMETRIES),
    seed=st.integers(0, 999),
)
def test_preparation_commutes_with_turns_and_flips(h, w, units, scale, symmetry, seed):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(2, 2, h, w)).astype(np.float32))
    mask = torch.from_numpy(rng.random((2, h, w)) > 0.1)
    preparation = Preparation(size=8, scale=scale, units=units, clip_sigma=1.0)
    there = prepared(x, preparation, mask=mask, level=0.1, sigma=0.5)
    back = prepared(turned(x, *symmetry), preparation, mask=turned(mask, *symmetry), level=0.1, sigma=0.5)
    torch.testing.assert_close(turned(there.x, *symmetry), back.x, rtol=1e-5, atol=1e-6)
    assert there.factor == pytest.approx(back.factor)


# bad options


@pytest.mark.parametrize(
    "options, match",
    [
        ({"size": 7}, "must be at least 8 pixels; got 7"),
        ({"scale": "arcsec"}, "scale must be pixel, image, object, sky or beam; got 'arcsec'"),
        ({"units": "jansky"}, "units must be noise, range or none and parts all or main; got 'jansky'"),
        ({"scale": "sky"}, "scale='sky' needs scale_value=, arcseconds per pixel of the network; got None"),
        ({"scale": "beam", "scale_value": -1.0}, "needs scale_value=, pixels of the network per beam; got -1.0"),
        ({"scale": "object", "scale_value": 0}, "the measured radius as a fraction of the side"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        Preparation(**options)
