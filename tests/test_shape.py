"""Shapes of many images: known answers, oracle in loops, the symmetries of the square, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from morphospace.errors import ConfigError, ShapeError
from morphospace.sky import shape as shape_module
from morphospace.sky.shape import Shapes, is_elongated, measure_radii, measure_shapes

Y, X = np.mgrid[:64, :64].astype(float)


def gaussian(x=31.5, y=31.5, a=5.0, b=2.5, pa=0.0, flux=1000.0):
    """Elliptical Gaussian; the position angle counts counter-clockwise from +y."""
    t = np.radians(pa + 90)
    u, v = (X - x) * np.cos(t) + (Y - y) * np.sin(t), -(X - x) * np.sin(t) + (Y - y) * np.cos(t)
    return flux * np.exp(-0.5 * (u / a) ** 2 - 0.5 * (v / b) ** 2) / (2 * np.pi * a * b)


def measure(*images, sigma=1e-6, **options):
    return measure_shapes(np.stack(images), level=0.0, sigma=sigma, **options)


def row(shapes: Shapes, i: int) -> Shapes:
    return Shapes(*(column[i] for column in shapes))


@pytest.mark.parametrize("pa", [0, 17, 45, 90, 133, 179])
def test_gaussian_gives_back_its_parameters(pa):
    s = row(measure(gaussian(30.3, 32.8, 5, 2.5, pa)), 0)
    assert s.flux == pytest.approx(1000, rel=1e-3)
    assert (s.x, s.y) == (pytest.approx(30.3, abs=0.01), pytest.approx(32.8, abs=0.01))
    assert (s.a, s.b) == (pytest.approx(5, rel=0.01), pytest.approx(2.5, rel=0.02))
    assert s.ellipticity == pytest.approx(0.5, abs=0.01)
    assert abs((s.pa_deg - pa + 90) % 180 - 90) < 0.2


@pytest.mark.parametrize("width", [1.0, 2.0, 4.0, 6.0])
@pytest.mark.parametrize("centre", [(31.5, 31.5), (32.0, 32.0), (31.2, 32.4)])
def test_radii_of_a_round_gaussian(width, centre):
    s = row(measure(gaussian(*centre, width, width)), 0)
    assert s.r50 == pytest.approx(np.sqrt(2 * np.log(2)) * width, abs=0.13)
    assert s.r90 == pytest.approx(np.sqrt(2 * np.log(10)) * width, abs=0.13)


def test_radii_of_a_uniform_disc():
    s = row(measure((np.hypot(X - 31.5, Y - 31.5) < 20).astype(float)), 0)
    assert s.r50 == pytest.approx(20 * np.sqrt(0.5), rel=0.01)
    assert s.r90 == pytest.approx(20 * np.sqrt(0.9), rel=0.01)


def test_position_angle_runs_from_up_to_left():
    up, left = (np.abs(X - 31) < 2) & (np.abs(Y - 31) < 12), (np.abs(Y - 31) < 2) & (np.abs(X - 31) < 12)
    upper_left = (np.abs(X + Y - 63) < 3) & (
        np.hypot(X - 31.5, Y - 31.5) < 12
    )  # row 0 at the bottom: y grows as x falls
    s = measure(up, left, upper_left)
    np.testing.assert_allclose(s.pa_deg, [0, 90, 45], atol=1e-6)


def test_companion_direction_distance_and_ratio():
    for dx, dy, pa in [(0, 18, 0), (-18, 0, 90), (0, -18, 180), (18, 0, 270), (-12, 12, 45)]:
        s = row(measure(gaussian(a=3, b=3) + gaussian(31.5 + dx, 31.5 + dy, 2, 2, flux=300), sigma=0.3), 0)
        assert abs((s.companion_pa_deg - pa + 180) % 360 - 180) < 1
        assert s.companion_distance == pytest.approx(np.hypot(dx, dy), abs=0.2)
        assert s.companion_ratio == pytest.approx(0.3, abs=0.05)
        assert s.n_companions == 1


def test_the_brightest_companion_counts_and_faint_ones_do_not():
    image = gaussian(a=2, b=2) + gaussian(10, 31.5, 2, 2, flux=300) + gaussian(50, 31.5, 2, 2, flux=200)
    s = row(measure(image + gaussian(31.5, 55, 2, 2, flux=30), sigma=0.01), 0)
    assert s.n_companions == 2
    assert s.companion_pa_deg == pytest.approx(90, abs=0.5)


def test_all_parts_or_the_main_one():
    double = gaussian(31.5, 18, 2, 2, flux=500) + gaussian(31.5, 45, 2, 2, flux=500)
    whole, main = row(measure(double, sigma=0.01), 0), row(measure(double, sigma=0.01, parts="main"), 0)
    assert abs((whole.pa_deg + 90) % 180 - 90) < 0.5
    assert whole.ellipticity > 0.8
    assert whole.r50 == pytest.approx(13.5, abs=0.5)
    assert main.ellipticity < 0.02
    assert main.flux == pytest.approx(whole.flux / 2, rel=0.01)


def test_the_main_part_is_the_central_one():
    """A brighter star at the border does not become the object."""
    star = gaussian(58, 58, 1.5, 1.5, flux=3000)
    s = row(measure(gaussian(a=4, b=3) + star, sigma=0.01, parts="main"), 0)
    assert (s.x, s.y) == (pytest.approx(31.5, abs=0.1), pytest.approx(31.5, abs=0.1))
    assert s.companion_pa_deg == pytest.approx(315, abs=1)


def test_noise_alone_has_no_shape():
    noise = np.random.default_rng(0).normal(size=(20, 64, 64))
    s = measure_shapes(noise, level=0, sigma=1.0)
    assert np.isnan(s.r50).all()
    assert np.isnan(s.pa_deg).all()
    assert np.isnan(s.n_companions).all()
    np.testing.assert_array_equal(s.flux, 0)
    np.testing.assert_allclose(s.peak_snr, noise.max((1, 2)), rtol=1e-6)
    assert not is_elongated(s).any()


def test_a_source_is_measured_through_noise():
    rng = np.random.default_rng(1)
    pas = rng.uniform(0, 180, 60)
    images = np.stack([gaussian(31.5, 31.5, 6, 3, pa, 3000) for pa in pas]) + rng.normal(7, 1, (60, 64, 64))
    s = measure_shapes(images, level=np.full(60, 7.0), sigma=np.ones(60))
    assert is_elongated(s).all()
    error = np.abs((s.pa_deg - pas + 90) % 180 - 90)
    assert np.median(error) < 2
    assert error.max() < 15


def test_elongated_needs_shape_and_signal():
    images = [gaussian(a=5, b=2.5), gaussian(a=4, b=3.8), gaussian(a=5, b=2.5, flux=1000), np.zeros((64, 64))]
    s = measure_shapes(np.stack(images), level=0, sigma=[0.1, 0.1, 2.4, 0.1])
    np.testing.assert_array_equal(is_elongated(s), [True, False, s.snr[2] >= shape_module.SNR, False])
    assert s.snr[0] > 100


def test_missing_pixels_and_mask_are_left_out():
    image = gaussian(a=3, b=3)
    spoiled, mask = image.copy(), np.ones((2, 64, 64), dtype=bool)
    spoiled[5:8, 5:8], mask[1, 5:8, 5:8] = np.nan, False
    hot = image.copy()
    hot[5:8, 5:8] = 1e6
    s = measure_shapes(np.stack([spoiled, hot]), level=0, sigma=1e-3, mask=mask)
    clean = row(measure(image, sigma=1e-3), 0)
    for i in range(2):
        np.testing.assert_allclose(row(s, i), clean, rtol=1e-6)
    infinite = np.full((1, 64, 64), np.inf)
    assert np.isnan(measure_shapes(infinite, level=0, sigma=1).peak_snr).all()


def test_without_noise_everything_above_the_level_counts():
    digit = np.zeros((1, 28, 28), dtype=np.uint8)
    digit[0, 4:24, 12:16] = 200
    s = measure_shapes(digit, level=0, sigma=0)
    assert s.flux[0] == 200 * 80
    assert s.snr[0] == np.inf
    assert is_elongated(s)[0]
    assert s.pa_deg[0] == pytest.approx(0)


def test_bands_are_averaged_in_units_of_their_noise():
    image = gaussian(a=4, b=2, pa=30)
    three = np.stack([image * g + level for g, level in ((1, 5), (10, -3), (0.1, 0))])[None]
    s = measure_shapes(three, level=[[5, -3, 0]], sigma=[[0.1, 1.0, 0.01]])
    np.testing.assert_allclose(s.pa_deg, 30, atol=0.2)
    np.testing.assert_allclose(s.flux, 1000 / 0.1, rtol=0.02)
    flat = measure_shapes(three, level=[[5, -3, 0]], sigma=[[0.1, 0.0, 0.01]])  # one band without noise: none is used
    np.testing.assert_allclose(flat.flux, 1000 * (1 + 10 + 0.1) / 3, rtol=0.01)


def naive(image, sigma, threshold=3.0):
    """Flood fill, float64, loops: shape of all components that count."""
    height, width = image.shape
    seen, pixels = np.zeros(image.shape, dtype=bool), []
    for r in range(height):
        for c in range(width):
            stack, part = [(r, c)], []
            while stack:
                i, j = stack.pop()
                if 0 <= i < height and 0 <= j < width and not seen[i, j] and image[i, j] >= threshold * sigma:
                    seen[i, j] = True
                    part.append((i, j))
                    stack += [(i + k, j + m) for k in (-1, 0, 1) for m in (-1, 0, 1)]
            if len(part) >= 5 and max(image[p] for p in part) >= 5 * sigma:
                pixels += part
    flux = sum(image[p] for p in pixels)
    x, y = (sum(image[p] * p[axis] for p in pixels) / flux for axis in (1, 0))
    xx, yy, xy = (
        sum(image[p] * (p[1] - x) ** i * (p[0] - y) ** j for p in pixels) / flux for i, j in ((2, 0), (0, 2), (1, 1))
    )
    values, axes = np.linalg.eigh([[xx + 1 / 12, xy], [xy, yy + 1 / 12]])
    pa = np.degrees(np.arctan2(-axes[0, 1], axes[1, 1])) % 180  # from +y towards -x
    r = [np.hypot(p[1] - x, p[0] - y) for p in pixels]
    grid = np.linspace(0, max(r) + 0.5, 1000)

    def inside(g, q):
        start = max(q - 0.5, 0)
        return min(max((g - start) / (q + 0.5 - start), 0), 1)

    grown = [sum(image[p] * inside(g, q) for p, q in zip(pixels, r, strict=True)) for g in grid]
    r50 = grid[np.searchsorted(grown, flux / 2)]
    return flux, x, y, np.sqrt(values[1]), np.sqrt(values[0]), pa, r50


def test_moments_equal_the_naive_ones(monkeypatch):
    monkeypatch.setattr(shape_module, "_CHUNK", 2 * 64 * 64)  # in chunks of two
    rng = np.random.default_rng(4)
    images = rng.normal(size=(5, 64, 64))
    for image in images:
        for _ in range(3):
            image += gaussian(
                *rng.uniform(10, 54, 2), *rng.uniform(1, 4, 2), rng.uniform(0, 180), rng.uniform(100, 900)
            )
    s = measure_shapes(images, level=0, sigma=1.0)
    for i, image in enumerate(images):
        expected = naive(image, 1.0)
        got = (s.flux[i], s.x[i], s.y[i], s.a[i], s.b[i], s.pa_deg[i])
        np.testing.assert_allclose(got, expected[:6], rtol=1e-5)
        assert s.r50[i] == pytest.approx(expected[6], abs=0.05)


@given(st.integers(0, 500))
def test_symmetries_turn_the_angles_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    image = gaussian(*rng.uniform(28, 36, 2), 5, 2.5, rng.uniform(0, 180))
    image += gaussian(*rng.uniform(8, 20, 2), 2, 2, 0, 400)
    turned = np.rot90(image, axes=(0, 1))  # clockwise where row 0 is at the bottom: +x goes to -y
    mirrored = image[:, ::-1]
    s = measure(image, turned, mirrored, sigma=0.5, parts="main")
    np.testing.assert_allclose(s.pa_deg[1], (s.pa_deg[0] - 90) % 180, atol=1e-3)
    np.testing.assert_allclose(s.pa_deg[2], -s.pa_deg[0] % 180, atol=1e-3)
    np.testing.assert_allclose(s.companion_pa_deg[1], (s.companion_pa_deg[0] - 90) % 360, atol=1e-3)
    np.testing.assert_allclose(s.companion_pa_deg[2], -s.companion_pa_deg[0] % 360, atol=1e-3)
    for name in ("flux", "snr", "a", "b", "r50", "r90", "n_companions", "companion_distance", "companion_ratio"):
        column = getattr(s, name)
        np.testing.assert_allclose(column[1:], column[0], rtol=1e-4, atol=1e-4)


def test_images_do_not_touch_each_other():
    """Bright pixels at the end of one image and the start of the next are two sources."""
    pair = np.zeros((2, 16, 16))
    pair[0, :, :], pair[1, :8, :] = 10.0, 10.0
    s = measure_shapes(pair, level=0, sigma=1)
    np.testing.assert_allclose(s.flux, [2560, 1280])
    np.testing.assert_array_equal(s.n_companions, 0)


@given(
    n=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    share=st.sampled_from([0.05, 0.3, 0.5, 0.8, 1.0]),
    seed=st.integers(0, 999),
)
def test_components_are_those_of_a_labelled_image(n, height, width, share, seed):
    bright = np.random.default_rng(seed).random((n, height, width)) < share
    runs = shape_module._footprints(np.where(bright, 9, 0).astype(np.float32), np.ones(n), 3.0)
    got = np.zeros(bright.shape, int)
    got[bright] = runs.spread(shape_module._join_runs(runs, width + 1)) + 1
    links = np.zeros((3, 3, 3), dtype=bool)
    links[1] = True  # diagonals too, never across images
    expected, count = ndimage.label(bright, structure=links)
    assert got.max(initial=0) == count
    pairs = np.unique(np.stack((got[bright], expected[bright])), axis=1)
    assert pairs.shape[1] == count  # one number each, whatever it is


@pytest.mark.parametrize("parts", ["all", "main"])
def test_radii_alone_are_those_of_the_shapes(parts):
    rng = np.random.default_rng(5)
    images = np.stack([gaussian(*rng.uniform(20, 44, 2), *rng.uniform(1, 9, 2), 20) for _ in range(6)])
    images += gaussian(10, 50, 2, 2, flux=300)
    images[2] = 0
    images[3, :9] = np.nan
    given = {"level": 0.01, "sigma": np.linspace(0.02, 0.3, 6), "parts": parts}
    np.testing.assert_array_equal(measure_radii(images, **given), measure_shapes(images, **given).r90)
    assert measure_radii(np.zeros((0, 8, 8)), level=0, sigma=1).shape == (0,)
    with pytest.raises(ConfigError, match="'some'"):
        measure_radii(images, level=0, sigma=1, parts="some")


def test_a_radius_holds_its_part_of_the_flux_to_many_digits():
    rng = np.random.default_rng(6)
    image = gaussian(30.3, 33.1, 6, 3, 40) + rng.random((64, 64))
    s = row(measure(image, sigma=0.0), 0)  # every pixel counts
    r = np.hypot(X - s.x, Y - s.y)
    start = np.maximum(r - 0.5, 0)
    for radius, share in ((s.r50, 0.5), (s.r90, 0.9)):
        inside = (image * np.clip((radius - start) / (r + 0.5 - start), 0, 1)).sum()
        assert inside == pytest.approx(share * image.sum(), rel=1e-6)


def test_empty_and_odd_sizes():
    assert measure_shapes(np.zeros((0, 8, 8)), level=0, sigma=1).flux.shape == (0,)
    assert np.isnan(measure_shapes(np.ones((1, 1, 1)), level=0, sigma=0).r50).all()  # one pixel is no source
    assert measure_shapes(np.ones((2, 5, 9)), level=0, sigma=0).x == pytest.approx([4, 4])


def test_bad_input_is_named():
    with pytest.raises(ShapeError, match=r"images must be \(N, H, W\)"):
        measure_shapes(np.zeros((8, 8)), level=0, sigma=1)
    with pytest.raises(ShapeError, match="mask"):
        measure_shapes(np.zeros((2, 8, 8)), level=0, sigma=1, mask=np.ones((8, 8)))
    with pytest.raises(ShapeError, match="level must be"):
        measure_shapes(np.zeros((2, 8, 8)), level=[1, 2, 3], sigma=1)
    with pytest.raises(ConfigError, match="'some'"):
        measure_shapes(np.zeros((2, 8, 8)), level=0, sigma=1, parts="some")
    with pytest.raises(ConfigError, match="threshold positive"):
        measure_shapes(np.zeros((2, 8, 8)), level=0, sigma=1, threshold=0)
