"""Views: symmetries exact, flux kept, every knob does what it says and only that."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from morphospace.errors import ConfigError
from morphospace.learn.prepare import Preparation
from morphospace.learn.views import PRESETS, Collated, Views, make_view, pad_block, plain_view, views
from morphospace.sky.stretch import STRETCHES, Stretch

LINEAR = Stretch("linear")
STILL = Views(
    Preparation(size=32, units="none", stretch=LINEAR),
    rotate=False,
    flip=False,
    zoom=(1.0, 1.0),
    shift=0.0,
    blur=0.0,
    noise=0.0,
    gain=0.0,
)
SYMMETRIES = [(k, flip) for k in range(4) for flip in (False, True)]


def turned(x, k, flip):
    x = torch.rot90(x, k, (-2, -1))
    return x.flip(-1) if flip else x


def collated(images, *, factor=1.0, mask=None, sigma=1.0):
    images = [torch.as_tensor(im, dtype=torch.float32) for im in images]
    n, bands = len(images), images[0].shape[0]
    return Collated(
        x=pad_block(images),
        mask=None if mask is None else pad_block([torch.as_tensor(m, dtype=torch.float32)[None] for m in mask]),
        shape=torch.tensor([im.shape[-2:] for im in images]),
        factor=torch.as_tensor(factor, dtype=torch.float32).expand(n),
        sigma=torch.full((n, bands), float(sigma)),
        rows=torch.arange(n),
    )


def source(size=32, *, width=2.5, ratio=0.5, pa=0.4, x0=0.0, y0=0.0, bands=1):
    """An elliptical Gaussian of flux 1 about the centre, (bands, size, size)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    u = (x - x0) * math.cos(pa) + (y - y0) * math.sin(pa)
    v = -(x - x0) * math.sin(pa) + (y - y0) * math.cos(pa)
    image = np.exp(-0.5 * ((u / width) ** 2 + (v / width / ratio) ** 2))
    return np.repeat((image / image.sum())[None], bands, axis=0)


def moments(x):
    """Flux, centroid about the centre (x, y) and second moments (xx, xy, yy) of (..., S, S) in float64."""
    x = np.asarray(x, np.float64)
    side = x.shape[-1]
    v, u = np.mgrid[:side, :side] - (side - 1) / 2
    flux = x.sum(axis=(-2, -1))
    cx, cy = ((x * t).sum(axis=(-2, -1)) / flux for t in (u, v))
    du, dv = u - cx[..., None, None], v - cy[..., None, None]
    return flux, (cx, cy), tuple((x * t).sum(axis=(-2, -1)) / flux for t in (du * du, du * dv, dv * dv))


def look(images, changed, *, seed=0, sigma=1.0, **options):
    with_ = replace(STILL, **changed)
    return make_view(collated(images, sigma=sigma), with_, generator=torch.Generator().manual_seed(seed), **options)


# the plain view


@pytest.mark.parametrize("size", [20, 21, 32, 33, 45])
def test_the_plain_view_crops_and_pads_about_the_centre(size):
    image = np.random.default_rng(0).random((1, size, size)).astype(np.float32)
    got = plain_view(collated([image]), STILL.prepare)[0, 0].numpy()
    margin = (32 - size) / 2
    if margin == int(margin):
        m = int(margin)
        expected = np.pad(image[0], m) if m >= 0 else image[0, -m:m, -m:m]
        np.testing.assert_array_equal(got, expected)
    else:  # half a pixel to each side
        np.testing.assert_allclose(got.sum(), image[0].sum() if size < 32 else got.sum(), rtol=1e-5)
        np.testing.assert_allclose(moments(got)[1], moments(np.pad(image[0], 0))[1], atol=0.6)


@settings(max_examples=40)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=4),
    factors=st.lists(st.sampled_from([1.0, 0.5, 1.7, 1.31]), min_size=4, max_size=4),
    seed=st.integers(0, 999),
)
def test_the_plain_view_is_bilinear_sampling(shapes, factors, seed):
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=(2, *shape)) for shape in shapes]
    got = plain_view(collated(images, factor=factors[: len(images)]), STILL.prepare)
    u = np.arange(32) - 15.5
    for image, factor, view in zip(images, factors, got, strict=False):
        factor = float(np.float32(factor))
        at = np.meshgrid(*(u * factor + (n - 1) / 2 for n in image.shape[1:]), indexing="ij")
        for band in range(2):
            padded = np.pad(image[band], 1)  # beyond the edge the image falls to 0 within one pixel
            expected = map_coordinates(padded, [a + 1 for a in at], order=1, mode="constant")
            np.testing.assert_allclose(view[band], expected, atol=1e-5)


@settings(max_examples=40)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=4),
    factors=st.lists(st.sampled_from([1.0, 0.5, 1.7, 1.31]), min_size=4, max_size=4),
    kind=st.sampled_from(STRETCHES),
    size=st.sampled_from([16, 17]),
    symmetry=st.sampled_from(SYMMETRIES),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_plain_view_commutes_with_turns_and_flips(shapes, factors, kind, size, symmetry, masked, seed):
    rng = np.random.default_rng(seed)
    images = [torch.from_numpy(rng.normal(size=(1, *shape))).float() for shape in shapes]
    masks = [torch.from_numpy(rng.random(shape) > 0.2) for shape in shapes] if masked else None
    preparation = Preparation(size=size, units="none", stretch=Stretch(kind))
    factors = factors[: len(images)]
    there = plain_view(collated(images, factor=factors, mask=masks), preparation)
    other = [turned(im, *symmetry) for im in images]
    masks = None if masks is None else [turned(m, *symmetry) for m in masks]
    back = plain_view(collated(other, factor=factors, mask=masks), preparation)
    torch.testing.assert_close(turned(there, *symmetry), back, rtol=1e-5, atol=1e-5)


def test_without_resampling_the_symmetry_is_exact_to_the_bit():
    images = [torch.randn(3, n, m) for n, m in [(32, 32), (20, 40), (64, 64), (30, 2)]]
    for symmetry in SYMMETRIES:
        there = plain_view(collated(images), STILL.prepare)
        back = plain_view(collated([turned(im, *symmetry) for im in images]), STILL.prepare)
        assert torch.equal(turned(there, *symmetry), back)


@pytest.mark.parametrize("kind", STRETCHES)
def test_an_image_looks_the_same_whatever_its_neighbours(kind):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, *shape)) for shape in [(20, 20), (21, 33), (80, 64), (20, 20), (5, 60)]]
    preparation = Preparation(size=24, units="none", stretch=Stretch(kind))
    factors = [1.0, 1.5, 1.2, 0.7, 1.0]
    together = plain_view(collated(images, factor=factors), preparation)
    for i, image in enumerate(images):
        assert torch.equal(plain_view(collated([image], factor=factors[i]), preparation)[0], together[i])


@pytest.mark.parametrize("kind", ["zscale", "percentile"])
def test_padding_has_no_part_in_the_limits_of_an_image(kind):
    image = np.random.default_rng(0).normal(50, 1, (1, 20, 20))
    stretch = Stretch(kind)
    small = plain_view(collated([image]), Preparation(size=20, units="none", stretch=stretch))
    padded = plain_view(collated([image]), Preparation(size=64, units="none", stretch=stretch))
    assert torch.equal(padded[..., 22:42, 22:42], small)
    assert small.std() > 0.1
    still = replace(STILL, prepare=Preparation(size=64, units="none", stretch=stretch))
    seen = make_view(collated([image]), still, generator=torch.Generator()).x
    torch.testing.assert_close(seen[..., 22:42, 22:42], small, rtol=1e-3, atol=1e-3)


# random views


def test_a_view_without_randomness_is_the_plain_view():
    images = [np.random.default_rng(i).normal(size=(2, 20 + 7 * i, 40)) for i in range(3)]
    block = collated(images, factor=[1.0, 1.4, 0.8])
    got = make_view(block, STILL, generator=torch.Generator())
    torch.testing.assert_close(got.x, plain_view(block, STILL.prepare), atol=1e-4, rtol=1e-4)
    assert got.flux is None
    assert got.mask is None


@pytest.mark.parametrize("seed", range(3))
def test_turning_keeps_flux_and_shape(seed):
    got = look([source(64)] * 8, {"rotate": True, "prepare": replace(STILL.prepare, size=64)}, seed=seed).x[:, 0]
    flux, centre, (xx, xy, yy) = moments(got)
    np.testing.assert_allclose(flux, 1, atol=2e-3)
    np.testing.assert_allclose(centre, 0, atol=0.02)
    _, _, (xx0, xy0, yy0) = moments(source(64)[0])
    np.testing.assert_allclose(xx + yy, xx0 + yy0, rtol=0.1)  # bilinear sampling adds up to 1/4 pixel^2 to each
    np.testing.assert_allclose(np.hypot(xx - yy, 2 * xy), math.hypot(xx0 - yy0, 2 * xy0), rtol=0.05)


def test_turns_are_uniform_and_half_are_mirrored():
    n = 4000
    image = source(16, width=3, ratio=0.3)[:, :16]
    got = look([image] * n, {"rotate": True, "prepare": replace(STILL.prepare, size=16)}).x[:, 0]
    _, _, (xx, xy, yy) = moments(got)
    phase = np.exp(1j * np.arctan2(2 * xy, xx - yy))
    assert abs(phase.mean()) < 4 / math.sqrt(n)
    lopsided = source(16, x0=3, y0=1)  # its mirror image has the opposite sense
    got = look([lopsided] * n, {"flip": True, "prepare": replace(STILL.prepare, size=16)}).x[:, 0]
    cx, cy = moments(got)[1]
    assert abs((cx > 0).mean() - 0.5) < 4 / math.sqrt(n) / 2
    np.testing.assert_allclose(np.abs(cx), 3, atol=0.1)
    np.testing.assert_allclose(cy, 1, atol=0.1)


def test_oriented_views_keep_the_direction():
    oriented = replace(PRESETS["oriented"], prepare=replace(STILL.prepare, size=64), noise=0.0)
    block = collated([source(64, ratio=0.4, pa=0.7, width=4)] * 50)
    got = make_view(block, oriented, generator=torch.Generator().manual_seed(0)).x[:, 0]
    _, _, (xx, xy, yy) = moments(got)
    np.testing.assert_allclose(np.exp(1j * np.arctan2(2 * xy, xx - yy)), np.exp(2j * 0.7), atol=0.05)


def test_zoom_magnifies_within_its_range():
    got = look([source(64)] * 200, {"zoom": (0.8, 1.25), "prepare": replace(STILL.prepare, size=64)}).x[:, 0]
    scale = np.sqrt(moments(got)[0])  # surface brightness stays, so flux goes with the area
    assert 0.79 < scale.min() < 0.85
    assert 1.18 < scale.max() < 1.26
    assert np.log(scale).mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("zoom", [0.6, 1.7])
def test_a_zoom_above_one_makes_the_object_larger(zoom):
    got = look([source(64)], {"zoom": (zoom, zoom), "prepare": replace(STILL.prepare, size=64)}).x[0, 0]
    flux, _, (xx, _, _) = moments(got)
    assert flux == pytest.approx(zoom**2, rel=0.03)
    assert math.sqrt(xx) == pytest.approx(zoom * math.sqrt(moments(source(64)[0])[2][0]), rel=0.03)


def test_stretching_an_axis_keeps_the_flux_and_changes_the_ratio():
    round_one = source(64, ratio=1.0, width=4)
    got = look([round_one] * 100, {"stretch_axis": 0.5, "prepare": replace(STILL.prepare, size=64)}).x[:, 0]
    flux, _, (xx, xy, yy) = moments(got)
    np.testing.assert_allclose(flux, 1, atol=0.01)
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    ratio = np.sqrt((mean + half) / (mean - half))
    assert 1.4 < ratio.max() < 1.52
    assert ratio.min() < 1.1
    assert abs(np.exp(1j * np.arctan2(2 * xy, xx - yy)).mean()) < 0.4


def test_shifts_stay_within_their_range():
    got = look([source(32)] * 200, {"shift": 0.125}).x[:, 0]
    flux, centre, _ = moments(got)
    np.testing.assert_allclose(flux, 1, atol=0.01)
    assert 3.5 < np.abs(centre).max() < 4.05
    np.testing.assert_allclose(np.mean(centre, axis=1), 0, atol=0.6)


def test_blur_keeps_the_flux_and_spreads_half_of_the_images():
    widths = []
    for seed in range(20):
        got = look([source(32, width=2, ratio=1.0)] * 40, {"blur": 2.0}, seed=seed).x[:, 0]
        flux, _, (xx, xy, _) = moments(got)
        np.testing.assert_allclose(flux, 1, atol=0.01)
        np.testing.assert_allclose(xy, 0, atol=0.01)
        widths.append(xx)
    spread = np.concatenate(widths) > 4.05
    assert 0.3 < spread.mean() < 0.6
    assert 6 < np.max(widths) < 8.2


def test_gain_is_one_factor_for_the_image_and_band_gain_one_for_each_band():
    images = [source(32, bands=3)] * 300
    flux = moments(look(images, {"gain": 0.3}).x)[0]
    assert np.abs(np.log(flux)).max() < 0.301
    assert np.abs(np.log(flux)).max() > 0.25
    np.testing.assert_allclose(flux[:, 0], flux[:, 2], rtol=1e-5)
    bands = np.log(moments(look(images, {"band_gain": 0.3}).x)[0])
    assert np.abs(bands).max() < 0.301
    assert abs(np.corrcoef(bands.T)[0, 1]) < 0.2


def test_noise_is_counted_in_the_sigma_of_each_image():
    got = look([np.zeros((2, 32, 32))] * 100, {"noise": 0.5}, sigma=3.0).x
    measured = got.std(dim=(2, 3))
    assert 1.3 < float(measured.max()) < 1.65
    assert float(measured.min()) < 0.3
    torch.testing.assert_close(measured[:, 0], measured[:, 1], rtol=0.2, atol=0.05)
    assert look([np.zeros((1, 32, 32))], {"noise": 0.5}, sigma=0.0).x.abs().max() == 0


def test_all_that_lies_outside_is_background():
    got = look([np.ones((1, 10, 10))] * 20, {"rotate": True, "zoom": (0.5, 0.5)}).x
    assert got[..., 0, :].abs().max() == 0
    assert got[..., 15:17, 15:17].min() == pytest.approx(1)


def test_flux_and_mask_go_the_same_way():
    images = [np.random.default_rng(i).normal(size=(2, 30, 30 + i)) for i in range(4)]
    masks = [np.random.default_rng(i).random((30, 30 + i)) > 0.2 for i in range(4)]
    flux = [im * m for im, m in zip(images, masks, strict=True)]
    changed = replace(
        STILL, rotate=True, flip=True, shift=0.1, prepare=replace(STILL.prepare, stretch=Stretch("asinh"))
    )
    got = make_view(collated(flux, mask=masks), changed, generator=torch.Generator().manual_seed(1), with_flux=True)
    torch.testing.assert_close(got.x, torch.arcsinh(got.flux))
    ones = [np.repeat(m[None].astype(float), 2, axis=0) for m in masks]
    same = make_view(
        collated(ones), replace(changed, prepare=STILL.prepare), generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(got.mask, same.x[:, :1])


def test_without_a_mask_what_lies_outside_is_invalid():
    got = look([np.ones((1, 20, 10)), np.ones((1, 32, 32))], {}, with_flux=True)
    assert got.mask.shape == (2, 1, 32, 32)
    assert got.mask[0].sum() == pytest.approx(200, rel=1e-4)
    assert got.mask[1].min() > 0.999


@pytest.mark.parametrize("size", [16, 48])
def test_other_view_sizes_see_a_smaller_or_larger_field(size):
    got = look([source(64)] * 3, {}, size=size).x
    assert got.shape == (3, 1, size, size)
    expected = plain_view(collated([source(64)] * 3), replace(STILL.prepare, size=size))
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-3)


def test_planes_of_a_cube_move_together():
    cube = np.random.default_rng(0).normal(size=(2, 5, 20, 20))
    cube[:, 1:] = cube[:, :1]
    changed = replace(STILL, rotate=True, flip=True, zoom=(0.8, 1.2), shift=0.1)
    block = Collated(
        x=torch.from_numpy(cube[None]).float(),
        mask=None,
        shape=torch.tensor([[20, 20]]),
        factor=torch.ones(1),
        sigma=torch.ones(1, 2),
        rows=torch.zeros(1, dtype=torch.long),
    )
    got = make_view(block, changed, generator=torch.Generator().manual_seed(0), with_flux=True)
    assert got.x.shape == got.flux.shape == (1, 2, 5, 32, 32)
    assert (got.x == got.x[:, :, :1]).all()
    flat = block._replace(x=block.x[:, :, 0])
    same = make_view(flat, changed, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(got.x[:, :, 0], same.x)
    assert plain_view(block, STILL.prepare).shape == (1, 2, 5, 32, 32)
    noisy = make_view(block, replace(STILL, noise=1.0, gain=0.2), generator=torch.Generator().manual_seed(0)).x
    assert noisy.shape == (1, 2, 5, 32, 32)
    for kind in ("percentile", "zscale"):
        prepare = replace(STILL.prepare, stretch=Stretch(kind))
        assert torch.isfinite(make_view(block, replace(STILL, prepare=prepare), generator=torch.Generator()).x).all()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", STRETCHES)
def test_views_are_finite_and_depend_on_the_generator_only(preset, kind):
    images = [np.random.default_rng(i).normal(size=(1, 10 + 9 * i, 30)) * 10**i for i in range(4)] + [
        np.zeros((1, 9, 9))
    ]
    chosen = replace(views(preset, size=16, stretch=Stretch(kind)), stretch_axis=0.2)
    block = collated(images, factor=[1.0, 1.9, 0.3, 1.0, 1.0])
    before = block.x.clone()
    one = make_view(block, chosen, generator=torch.Generator().manual_seed(3)).x
    two = make_view(block, chosen, generator=torch.Generator().manual_seed(3)).x
    other = make_view(block, chosen, generator=torch.Generator().manual_seed(4)).x
    assert torch.isfinite(one).all()
    assert one.shape == (5, 1, 16, 16)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(block.x, before)  # the block is left as it was


# options


def test_presets_with_changes_keep_the_rest():
    chosen = views("radio", size=48, clip_sigma=3.0, scale="sky", scale_value=0.5, units="noise", stretch=LINEAR)
    assert chosen.prepare == Preparation(
        size=48, scale="sky", scale_value=0.5, units="noise", clip_sigma=3.0, stretch=LINEAR
    )
    for field in fields(Views):
        if field.name != "prepare":
            assert getattr(chosen, field.name) == getattr(PRESETS["radio"], field.name)
    assert views() == PRESETS["radio"]
    assert not PRESETS["oriented"].rotate
    assert not PRESETS["oriented"].flip


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: views("infrared"), "unknown preset of views 'infrared'; known are radio, optical, clouds, oriented"),
        (lambda: replace(STILL, zoom=(1.2, 0.8)), "zoom must be two positive numbers, the smaller first"),
        (lambda: replace(STILL, zoom=(0.0, 1.0)), "zoom must be two positive numbers"),
        (lambda: replace(STILL, blur=-1.0), "blur of the views must not be negative; got -1.0"),
        (lambda: replace(STILL, noise=math.nan), "noise of the views must not be negative; got nan"),
    ],
)
def test_bad_options_are_refused(call, match):
    with pytest.raises(ConfigError, match=match):
        call()


def test_a_block_of_any_sizes_is_padded_below_and_to_the_right():
    block = pad_block([torch.ones(2, 3, 4), torch.ones(2, 5, 1)])
    assert block.shape == (2, 2, 5, 4)
    assert block.sum() == 2 * (12 + 5)
    assert block[1, :, :, 1:].abs().max() == 0
