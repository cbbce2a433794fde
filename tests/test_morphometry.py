"""Measures of shape: known answers, oracles, invariances."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.special import gammainc, gammaincinv

from morphospace.science.morphometry.apertures import Ellipses, circles, running_sums, sums_within
from morphospace.science.morphometry.asymmetry import Turns, _within
from morphospace.science.morphometry.clouds import Fields, measure_clouds, perimeter, power_slope, structure_slope
from morphospace.science.morphometry.filters import box_smoothed, gauss_smoothed
from morphospace.science.morphometry.flags import BAD, DEFINITIONS, ShapeFlag, decode_shape_flags
from morphospace.science.morphometry.gini import gini, m20
from morphospace.science.morphometry.moments import axes_about, raw_moments
from morphospace.science.morphometry.quantities import QUANTITIES
from morphospace.science.morphometry.segmentation import Segmentation, main_labels, segment
from morphospace.science.morphometry.shapes import measure_images
from morphospace.science.morphometry.simplex import minimise
from morphospace.science.morphometry.stamps import Images

SIDE = 129
MIDDLE = (SIDE - 1) / 2


def grid(side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices((side, side), dtype=float)
    return x, y


def elliptical_radius(x0=MIDDLE, y0=MIDDLE, ratio=1.0, angle=0.0, side=SIDE) -> np.ndarray:
    x, y = grid(side)
    along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    across = -(x - x0) * np.sin(angle) + (y - y0) * np.cos(angle)
    return np.hypot(along, across / ratio)


def segmented(planes, labels=None, valid=None, sigma=0.01) -> dict[str, np.ndarray]:
    planes = np.atleast_3d(np.asarray(planes, float)) if np.ndim(planes) == 3 else np.asarray(planes, float)[None]
    labels = (planes > 0.02 * planes.max((1, 2), keepdims=True)).astype(np.int32) if labels is None else labels
    valid = np.ones(planes.shape, bool) if valid is None else valid
    main = main_labels(labels, np.where(valid, planes, 0))
    return measure_images(Images(planes, valid, labels, main, np.full((len(planes), 1, 1), sigma)))


# apertures against photutils


@pytest.mark.parametrize("ratio", [0.2, 0.6, 1.0])
def test_sums_within_are_those_of_exact_apertures(ratio: float) -> None:
    from photutils.aperture import EllipticalAperture

    rng = np.random.default_rng(1)
    image = rng.normal(1, 1, (40, 44))
    for x, y, angle, radius in ((20.3, 18.8, 0.4, 9.7), (21, 20, -1.2, 2.5), (2.2, 39.0, 1.5, 12.0), (20, 20, 0, 70)):
        shape = Ellipses(*(torch.tensor([v], dtype=torch.float64) for v in (x, y, ratio, angle)))
        ours = sums_within(running_sums(torch.tensor(image)[None, None]), shape, torch.tensor([[radius]]).double())
        exact = EllipticalAperture((x, y), radius, radius * ratio, theta=angle).do_photometry(image, method="exact")
        assert float(ours) == pytest.approx(exact[0][0], rel=2e-3, abs=0.1)


def test_area_of_a_circle() -> None:
    at = torch.tensor([31.4], dtype=torch.float64)
    ones = running_sums(torch.ones(1, 1, 64, 64).double())
    radii = torch.tensor([[2.0, 5.5, 20.0]], dtype=torch.float64)
    assert sums_within(ones, circles(at, at), radii)[0, 0].numpy() == pytest.approx(
        np.pi * radii[0].numpy() ** 2, rel=1e-3
    )


# filters against scipy


def test_filters_are_those_of_scipy() -> None:
    from scipy import ndimage

    image = np.random.default_rng(2).normal(size=(30, 24))
    padded = torch.zeros(1, 32, 32, dtype=torch.float64)
    padded[0, :30, :24] = torch.tensor(image)
    size = (torch.tensor([30]), torch.tensor([24]))
    for box in (0, 1, 4, 7):
        expected = ndimage.uniform_filter(image, box) if box else image
        assert box_smoothed(padded, torch.tensor([box]), *size)[0, :30, :24].numpy() == pytest.approx(
            expected, abs=1e-9
        )
    expected = ndimage.gaussian_filter(image, 2.3, mode="constant")
    smooth = gauss_smoothed(padded, torch.tensor([2.3], dtype=torch.float64))
    assert smooth[0, :30, :24].numpy() == pytest.approx(expected, abs=1e-9)


def test_simplex_finds_minima_of_many_functions() -> None:
    centres = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [10.0, 10.0]], dtype=torch.float64)

    def bowl(points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return ((points - centres[rows]) ** 2 * torch.tensor([1.0, 5.0])).sum(1)

    corners = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]] * 3, dtype=torch.float64)
    best, value = minimise(bowl, corners, x_tolerance=1e-5, f_tolerance=1e-8)
    assert best.numpy() == pytest.approx(centres.numpy(), abs=1e-4)
    assert value.numpy() == pytest.approx(0, abs=1e-7)


def test_turn_is_that_of_skimage() -> None:
    from skimage.transform import rotate

    image = torch.tensor(np.random.default_rng(3).normal(size=(20, 20)))[None]
    none = torch.zeros(1, 20, 20, dtype=torch.bool)
    turns = Turns(image, none, ~none, torch.zeros(1))
    for x, y in ((9.5, 9.5), (8.3, 11.9), (10, 7.25)):
        ours, _ = turns.turned(torch.tensor([x]).double(), torch.tensor([y]).double(), torch.tensor([0]))
        expected = rotate(image[0].numpy(), 180, center=(x, y), clip=False)
        assert ours[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_turned_masks_are_those_of_the_nearest_pixel() -> None:
    from skimage.transform import rotate

    masked = torch.tensor(np.random.default_rng(4).random((1, 20, 20)) < 0.2)
    turns = Turns(torch.zeros(1, 20, 20), masked, torch.ones_like(masked), torch.zeros(1))
    for x, y in ((9.5, 9.5), (8.3, 11.9), (10, 7.2)):
        _, clear = turns.turned(torch.tensor([x]).double(), torch.tensor([y]).double(), torch.tensor([0]))
        expected = rotate(masked[0].double().numpy(), 180, center=(x, y), order=0)
        assert (clear[0] == 0).numpy() == pytest.approx(expected > 0.5)


@pytest.mark.parametrize("radius", [1.0, 3.3, 12.0])
def test_circles_of_the_search_have_their_area(radius: float) -> None:
    points = torch.tensor(np.random.default_rng(5).uniform(18, 20, (40, 2)))
    part = _within((40, 40), points, torch.full((40,), radius))
    assert part.sum((1, 2)).numpy() == pytest.approx(np.pi * radius**2, rel=0.1 / radius)
    distance = np.hypot(*(np.indices((40, 40)) - points[0].numpy()[::-1, None, None]))
    assert (part[0].numpy()[distance < radius - 0.6] == 1).all()
    assert (part[0].numpy()[distance > radius + 0.8] == 0).all()


# profiles with known answers


def test_exponential_disc_has_its_radii() -> None:
    scale = 5.0
    found = segmented(np.exp(-elliptical_radius() / scale))
    r = np.linspace(1, 60, 60_000)
    within = scale**2 * (1 - np.exp(-r / scale) * (1 + r / scale))
    petrosian = r[np.argmin(np.abs(np.exp(-r / scale) / (2 * within / r**2) - 0.2))]
    assert found["shape_flags"][0] & int(BAD) == 0
    assert found["r_petro_circ"][0] == pytest.approx(petrosian, rel=0.01)
    total = np.interp(1.5 * petrosian, r, within)
    expected = [np.interp(f * total, within, r) for f in (0.2, 0.5, 0.8)]
    assert [found[n][0] for n in ("r20", "r50", "r80")] == pytest.approx(expected, rel=0.02)
    assert found["concentration"][0] == pytest.approx(5 * np.log10(expected[2] / expected[0]), abs=0.05)


@pytest.mark.parametrize("index", [0.5, 1.0, 2.0])
def test_sersic_half_light_radius_and_concentration(index: float) -> None:
    effective, b = 8.0, gammaincinv(2 * index, 0.5)
    fine = elliptical_radius(x0=5 * MIDDLE + 2, y0=5 * MIDDLE + 2, side=5 * SIDE) / 5
    image = np.exp(-b * (fine / effective) ** (1 / index)).reshape(SIDE, 5, SIDE, 5).mean((1, 3))
    found = segmented(image)
    within = lambda r: gammainc(2 * index, b * (r / effective) ** (1 / index))  # noqa: E731
    total = within(1.5 * found["r_petro_circ"][0])
    r = np.linspace(0.1, 60, 20_000)
    expected = [np.interp(f * total, within(r), r) for f in (0.2, 0.5, 0.8)]
    assert [found[n][0] for n in ("r20", "r50", "r80")] == pytest.approx(expected, rel=0.02)


def test_gaussian_ellipse_has_its_axes() -> None:
    angle = 0.6
    found = segmented(
        np.exp(-0.5 * (elliptical_radius(60.3, 66.8, 0.5, angle) / 10) ** 2), np.ones((1, SIDE, SIDE), np.int32)
    )
    assert found["x_centroid"][0] == pytest.approx(60.3, abs=1e-3)
    assert found["y_centroid"][0] == pytest.approx(66.8, abs=1e-3)
    assert found["major"][0] == pytest.approx(10, rel=1e-3)
    assert found["ellipticity"][0] == pytest.approx(0.5, abs=1e-3)
    assert found["pa_deg"][0] == pytest.approx((np.degrees(angle) - 90) % 180, abs=0.01)
    assert found["moment_30"][0] == pytest.approx(0, abs=1e-6)
    assert found["flux_segment"][0] == pytest.approx(2 * np.pi * 10 * 5, rel=1e-4)
    assert found["peak"][0] == pytest.approx(1, abs=0.02)


def test_petrosian_ellipse_of_a_flat_disc_is_its_major_axis() -> None:
    shape = elliptical_radius(ratio=0.5, angle=0.3)
    found = segmented(np.exp(-shape / 6))
    round_ = segmented(np.exp(-elliptical_radius() / 6))
    assert found["r_petro_ellip"][0] == pytest.approx(round_["r_petro_circ"][0], rel=0.03)
    assert found["r_petro_circ"][0] < found["r_petro_ellip"][0]


def test_symmetric_source_has_no_asymmetry_and_one_arm_has() -> None:
    disc = np.exp(-elliptical_radius(63.7, 64.4, 0.7, 0.4) / 5)
    lump = 0.3 * np.exp(-0.5 * (elliptical_radius(72, 66) / 2) ** 2)
    plain, lopsided = segmented(disc), segmented(disc + lump)
    assert plain["asymmetry"][0] == pytest.approx(0, abs=0.01)
    assert plain["x_asymmetry"][0] == pytest.approx(63.7, abs=0.05)
    assert plain["y_asymmetry"][0] == pytest.approx(64.4, abs=0.05)
    assert lopsided["asymmetry"][0] > plain["asymmetry"][0] + 0.05
    assert lopsided["smoothness"][0] > plain["smoothness"][0]
    assert abs(lopsided["moment_30"][0]) > abs(plain["moment_30"][0])


def test_gini_of_equal_pixels_is_0_and_of_one_pixel_1() -> None:
    pixels = torch.ones(2, 8, 8, dtype=torch.bool)
    image = torch.ones(2, 8, 8)
    image[1] = 0
    image[1, 3, 4] = 7
    assert gini(image, pixels).numpy() == pytest.approx([0, 1], abs=1e-6)
    assert torch.isnan(gini(image, torch.zeros_like(pixels))).all()


def test_gini_and_m20_are_the_papers_sums() -> None:
    rng = np.random.default_rng(4)
    image, pixels = rng.exponential(1, (11, 13)), rng.random((11, 13)) < 0.6
    values = sorted(image[pixels])
    n, mean = len(values), np.mean(values)
    lotz6 = sum((2 * i - n - 1) * v for i, v in enumerate(values, 1)) / (mean * n * (n - 1))
    y, x = np.nonzero(pixels)
    light = image[pixels]
    cx, cy = (light * x).sum() / light.sum(), (light * y).sum() / light.sum()
    moments = light * ((x - cx) ** 2 + (y - cy) ** 2)
    order, total, part = np.argsort(light)[::-1], 0.0, 0.0
    for i in order:  # brightest first, until they hold a fifth of the light
        total, part = total + light[i], part + moments[i]
        if total > 0.2 * light.sum():
            break
    batch = torch.tensor(image)[None], torch.tensor(pixels)[None]
    assert float(gini(*batch)) == pytest.approx(lotz6, rel=1e-6)
    assert float(m20(*batch)) == pytest.approx(np.log10(part / moments.sum()), rel=1e-6)


def test_thin_source_has_a_finite_axis() -> None:
    line = torch.zeros(1, 16, 16)
    line[0, 8, 3:12] = 1
    raw = raw_moments(line)
    axes = axes_about(raw, torch.tensor([7.0]), torch.tensor([8.0]))
    assert float(axes.minor) > 0.1
    assert float(axes.angle) == pytest.approx(0, abs=1e-9)


# clouds


def power_law(slope: float, n: int, side: int = 128) -> torch.Tensor:
    rng = np.random.default_rng(5)
    k = np.hypot(np.fft.fftfreq(2 * side)[:, None], np.fft.rfftfreq(2 * side))
    k[0, 0] = np.inf
    white = np.fft.rfft2(rng.normal(size=(n, 2 * side, 2 * side)))
    return torch.tensor(np.fft.irfft2(white * k ** (slope / 2))[:, :side, :side])  # a part: it does not repeat


@pytest.mark.parametrize("slope", [0.0, -2.0, -3.0])
def test_power_spectrum_of_a_field_has_its_slope(slope: float) -> None:
    fields = power_law(slope, 12)
    assert float(power_slope(fields, torch.ones_like(fields, dtype=torch.bool)).mean()) == pytest.approx(
        slope, abs=0.15
    )


def test_structure_function_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(6)
    image, valid = rng.normal(size=(64, 64)).cumsum(0).cumsum(1), rng.random((64, 64)) < 0.9
    sums: dict[int, list[float]] = {}
    for dy in range(-9, 10):
        for dx in range(-9, 10):
            a = image[max(dy, 0) : 64 + min(dy, 0), max(dx, 0) : 64 + min(dx, 0)]
            b = image[max(-dy, 0) : 64 + min(-dy, 0), max(-dx, 0) : 64 + min(-dx, 0)]
            seen = (
                valid[max(dy, 0) : 64 + min(dy, 0), max(dx, 0) : 64 + min(dx, 0)]
                & valid[max(-dy, 0) : 64 + min(-dy, 0), max(-dx, 0) : 64 + min(-dx, 0)]
            )
            lag = np.hypot(dx, dy)
            if 2 <= round(lag) <= 8:
                sums.setdefault(round(lag), []).append((((a - b) ** 2)[seen].mean(), lag))
    means = np.array([np.mean(sums[k], axis=0) for k in sorted(sums)])
    expected = np.polyfit(np.log(means[:, 1]), np.log(means[:, 0]), 1)[0]
    ours = structure_slope(torch.tensor(image)[None], torch.tensor(valid)[None])
    assert float(ours) == pytest.approx(expected, abs=0.01)


def test_structure_function_follows_the_power_spectrum() -> None:
    fields = power_law(-3.0, 8)
    assert float(structure_slope(fields, torch.ones_like(fields, dtype=torch.bool)).mean()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("radius", [6.0, 15.0, 40.0])
def test_perimeter_of_a_disc(radius: float) -> None:
    disc = torch.tensor(elliptical_radius() <= radius)[None]
    assert float(perimeter(disc)) == pytest.approx(2 * np.pi * radius, rel=0.05)


def test_outline_of_a_disc_and_of_two() -> None:
    one = elliptical_radius() <= 20
    two = (elliptical_radius(30, 30) <= 14) | (elliptical_radius(95, 95) <= 14)
    both = torch.tensor(np.stack([one, two]))
    image = both.float() * torch.tensor(np.random.default_rng(0).lognormal(0, 0.4, (2, SIDE, SIDE))).float()
    found = measure_clouds(Fields(image, torch.ones_like(both), both))
    assert found["n_fragments"].tolist() == [1, 2]
    assert float(found["area_perimeter_ratio"][0]) == pytest.approx(1, abs=0.05)
    assert float(found["filling_factor"][0]) == pytest.approx(1, abs=0.01)
    assert float(found["filling_factor"][1]) < 0.5
    assert found["log_flux_width"].numpy() == pytest.approx(0.4, abs=0.03)


def test_outlines_of_smooth_clouds_are_lines_and_rough_ones_are_more() -> None:
    smooth = np.exp(-((elliptical_radius() / 18) ** 2))
    rough = np.exp(power_law(-2.5, 1)[0].numpy() / power_law(-2.5, 1)[0].numpy().std())
    full = torch.ones(1, 128, 128, dtype=torch.bool)
    flat = measure_clouds(Fields(torch.tensor(smooth[:128, :128])[None], full, full))["perimeter_dimension"]
    fractal = measure_clouds(Fields(torch.tensor(rough)[None], full, full))["perimeter_dimension"]
    assert float(flat) == pytest.approx(1, abs=0.1)
    assert 1.2 < float(fractal) < 2.5


def test_small_or_empty_images_have_no_slopes() -> None:
    small = torch.rand(2, 10, 10)
    assert torch.isnan(power_slope(small, torch.ones_like(small, dtype=torch.bool))).all()
    assert torch.isnan(structure_slope(small, torch.ones_like(small, dtype=torch.bool))).all()
    flat = torch.ones(1, 128, 128)
    assert torch.isnan(structure_slope(flat, torch.ones_like(flat, dtype=torch.bool))).all()


# invariances

SAME_UNDER_TURNS = ("r_petro_circ", "r20", "r50", "concentration", "asymmetry", "gini", "m20", "flux_circ", "area")


def lopsided_galaxy() -> np.ndarray:
    disc = np.exp(-elliptical_radius(63.2, 65.1, 0.6, 0.5) / 6)
    return disc + 0.2 * np.exp(-0.5 * (elliptical_radius(74, 60) / 3) ** 2)


@pytest.mark.parametrize("turn", [lambda a: np.rot90(a), np.fliplr, np.flipud, np.transpose])
def test_figures_are_the_same_for_turned_images(turn) -> None:
    image = lopsided_galaxy()
    before, after = segmented(image), segmented(np.ascontiguousarray(turn(image)))
    for name in SAME_UNDER_TURNS:
        assert after[name][0] == pytest.approx(before[name][0], rel=0.01, abs=0.005), name


def test_figures_move_with_the_source_and_scale_with_its_flux() -> None:
    image = lopsided_galaxy()
    before = segmented(image)
    moved = segmented(np.roll(image, (5, -7), (0, 1)))
    brighter = segmented(1000 * image, sigma=10.0)
    assert moved["x_asymmetry"][0] - before["x_asymmetry"][0] == pytest.approx(-7, abs=0.05)
    assert moved["y_centroid"][0] - before["y_centroid"][0] == pytest.approx(5, abs=0.01)
    assert brighter["flux_ellip"][0] == pytest.approx(1000 * before["flux_ellip"][0], rel=1e-3)
    for name in (*SAME_UNDER_TURNS[:7], "snr_per_pixel", "smoothness"):
        assert moved[name][0] == pytest.approx(before[name][0], rel=0.01, abs=0.005), name
        if name != "flux_circ":
            assert brighter[name][0] == pytest.approx(before[name][0], rel=0.01, abs=0.002), name


def test_figures_do_not_depend_on_the_company() -> None:
    rng = np.random.default_rng(7)
    planes = np.stack([lopsided_galaxy() + rng.normal(0, 0.003, (SIDE, SIDE)) for _ in range(5)])
    labels = np.stack([segment(p, np.ones(p.shape, bool), Segmentation()) for p in planes])
    together = segmented(planes, labels)
    for i in (0, 3):
        alone = segmented(planes[i : i + 1], labels[i : i + 1])
        for name, values in alone.items():
            assert values[0] == pytest.approx(together[name][i], rel=1e-4, abs=1e-5, nan_ok=True), name


# masks, noise, flags


def test_masked_pixels_do_not_count() -> None:
    image = lopsided_galaxy()
    valid = np.ones((1, SIDE, SIDE), bool)
    valid[0, 80:84, 70:74] = False
    spoilt = image.copy()
    spoilt[80:84, 70:74] = 1e6
    labels = (image > 0.02).astype(np.int32)[None]
    clean, hidden = segmented(image, labels, valid), segmented(np.where(valid[0], spoilt, 0), labels, valid)
    for name, values in clean.items():
        assert values[0] == pytest.approx(hidden[name][0], nan_ok=True), name


def test_other_sources_are_masked() -> None:
    image = np.exp(-elliptical_radius() / 4)
    other = 5 * np.exp(-0.5 * (elliptical_radius(100, 64) / 2) ** 2)
    labels = ((image > 0.01) * 1).astype(np.int32)
    labels[elliptical_radius(100, 64) < 12] = 2
    alone, pair = segmented(image), segmented(image + other, labels[None])
    assert pair["r50"][0] == pytest.approx(alone["r50"][0], rel=0.02)
    assert pair["asymmetry"][0] == pytest.approx(alone["asymmetry"][0], abs=0.02)
    assert pair["n_fragments"][0] == 2


def test_noise_alone_is_nan_and_flagged() -> None:
    planes = np.random.default_rng(8).normal(size=(3, 64, 64))
    labels = np.stack([segment(p, np.ones(p.shape, bool), Segmentation()) for p in planes])
    found = segmented(planes, labels)
    assert (labels == 0).all()
    assert (found["shape_flags"] == int(ShapeFlag.NO_SOURCE)).all()
    assert all(np.isnan(values).all() for name, values in found.items() if name != "shape_flags")


def test_flags_say_why_a_figure_is_missing() -> None:
    flat = np.ones((1, 64, 64))  # brightness never falls
    negative = -np.ones((1, 64, 64))
    labels = np.ones((1, 64, 64), np.int32)
    found = segmented(flat, labels)
    assert {"NO_PETROSIAN", "NO_SKY", "EDGE"} <= set(decode_shape_flags(int(found["shape_flags"][0])))
    assert np.isnan(found["gini"][0])
    found = segmented(negative, labels)
    assert "NO_FLUX" in decode_shape_flags(int(found["shape_flags"][0]))
    assert np.isnan(found["x_centroid"][0])
    quiet = segmented(np.exp(-elliptical_radius() / 4), sigma=0.0)
    assert "NO_NOISE" in decode_shape_flags(int(quiet["shape_flags"][0]))
    assert np.isnan(quiet["snr_per_pixel"][0])
    assert np.isfinite(quiet["gini"][0])


def test_every_flag_is_defined_once_and_every_quantity_is_measured() -> None:
    assert [d.flag for d in DEFINITIONS] == list(ShapeFlag)
    found = segmented(lopsided_galaxy())
    assert set(found) == {"shape_flags", *(q.name for q in QUANTITIES)} - {"level", "sigma"}
    assert all(q.source for q in QUANTITIES)


def test_segment_counts_from_one_and_takes_the_central_source() -> None:
    rng = np.random.default_rng(9)
    image = rng.normal(0, 0.02, (SIDE, SIDE)) + np.exp(-0.5 * (elliptical_radius() / 5) ** 2)
    image += 1.5 * np.exp(-0.5 * (elliptical_radius(10, 10) / 3) ** 2)
    labels = segment(image, np.ones(image.shape, bool), Segmentation())
    assert set(np.unique(labels)) == {0, 1, 2}
    assert main_labels(labels[None], image[None])[0] == labels[64, 64]
    clipped = np.where(image > 0.3, image, 0)
    assert segment(clipped, np.ones(image.shape, bool), Segmentation()).max() == 2


# statmorph


def test_figures_are_those_of_statmorph() -> None:
    statmorph = pytest.importorskip("statmorph")
    rng = np.random.default_rng(10)
    image = lopsided_galaxy() + rng.normal(0, 0.004, (SIDE, SIDE))
    labels = segment(image, np.ones(image.shape, bool), Segmentation())
    main = int(main_labels(labels[None], image[None])[0])
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        names = [n for n in statmorph.statmorph._quantity_names if "sersic" not in n]
        patch.setattr(statmorph.statmorph, "_quantity_names", names)
        theirs = statmorph.SourceMorphology(image, labels, main, weightmap=np.full(image.shape, 0.004))
    ours = segmented(image, labels[None], sigma=0.004)
    assert theirs.flag == 0
    for name, other, tolerance in (
        ("x_asymmetry", "xc_asymmetry", 0.02),
        ("r_petro_circ", "rpetro_circ", 0.02),
        ("r_petro_ellip", "rpetro_ellip", 0.05),
        ("r20", "r20", 0.01),
        ("r80", "r80", 0.01),
        ("concentration", "concentration", 0.005),
        ("asymmetry", "asymmetry", 0.001),
        ("smoothness", "smoothness", 0.001),
        ("gini", "gini", 0.003),
        ("m20", "m20", 0.01),
        ("gini_m20_merger", "gini_m20_merger", 0.004),
        ("ellipticity", "ellipticity_centroid", 1e-5),
        ("sky_sigma", "sky_sigma", 1e-6),
    ):
        assert ours[name][0] == pytest.approx(float(getattr(theirs, other)), abs=tolerance), name
    assert ours["snr_per_pixel"][0] == pytest.approx(theirs.sn_per_pixel, rel=0.01)
    assert ours["flux_ellip"][0] == pytest.approx(theirs.flux_ellip, rel=0.002)
