"""simulate: the pixels of each kind show the factors that its columns state."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.special import gammainc

from morphospace.sky.simulate import KINDS, Sky, simulate
from morphospace.sky.simulate.clouds import paint_clouds
from morphospace.sky.simulate.galaxies import THICKNESS, paint_ellipticals, paint_spirals
from morphospace.sky.simulate.observe import FWHM
from morphospace.sky.simulate.profiles import DE_VAUCOULEURS, EXPONENTIAL, arms, field, gaussians, round_gaussians
from morphospace.sky.simulate.radio import paint_doubles
from morphospace.sky.simulate.stage import Draws, Painting
from test_simulate import make_stage, moments

CLEAR = 1e6  # S/N at which noise does not matter


def paint(painter, n: int, side: int = 128, seed: int = 0) -> Painting:
    """Paint n rows on canvases whose image is half as wide, so that little light lies outside."""
    uniforms = np.random.default_rng(seed).random((n, 112))
    return painter(Draws(uniforms), make_stage(n, side=side, size=side // 2))


def shape_of(sky: Sky, row: int) -> tuple[float, float]:
    """Axis ratio and position angle (degrees) from the second moments, the beam taken out."""
    _, _, xx, yy, xy = moments(sky.images[row, 0].astype(float))
    beam = (sky.factors["beam_major_px"][row] / FWHM) ** 2  # the tests use round beams
    xx, yy = xx - beam, yy - beam
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the major axis, from +x towards +y
    return float(np.sqrt((mean - half) / (mean + half))), float(np.rad2deg(angle) - 90) % 180


def angle_between(a: float, b: float) -> float:
    """Difference of two axes, degrees."""
    return abs((a - b + 90) % 180 - 90)


def polar(sky: Sky, row: int, radii: np.ndarray, n: int = 360) -> np.ndarray:
    """Image of a disc in its own plane, (len(radii), n), by the documented convention."""
    f = sky.factors
    azimuth = np.arange(n) * 2 * np.pi / n
    pa, inclination = np.deg2rad(f["pa_deg"][row]), np.deg2rad(f["inclination_deg"][row])
    along, across = radii[:, None] * np.cos(azimuth), radii[:, None] * np.sin(azimuth) * np.cos(inclination)
    x = f["center_x"][row] - along * np.sin(pa) - across * np.cos(pa)
    y = f["center_y"][row] + along * np.cos(pa) - across * np.sin(pa)
    return map_coordinates(sky.images[row, 0].astype(float), [y, x], order=3, mode="nearest")


# ---- profiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "index", "b"), [(DE_VAUCOULEURS, 4, 7.669), (EXPONENTIAL, 1, 1.678)])
def test_profiles_are_the_sersic_laws_they_stand_for(profile, index: int, b: float) -> None:
    width, share = (np.array(column) for column in profile)
    assert share.sum() == pytest.approx(1, abs=2e-4)
    radius = np.geomspace(0.05, 5, 40)
    surface = (share / (2 * np.pi * width**2) * np.exp(-0.5 * (radius[:, None] / width) ** 2)).sum(axis=1)
    sersic = np.exp(-b * (radius ** (1 / index) - 1))
    assert np.std(np.log(surface / sersic)) < 0.03
    within = (share * (1 - np.exp(-0.5 * (radius[:, None] / width) ** 2))).sum(axis=1)
    total = 0.965 if index == 4 else 1.0
    assert np.allclose(within, gammainc(2 * index, b * radius ** (1 / index)) / total, atol=0.015)


@pytest.mark.parametrize("pa", [0.0, 30.0, 100.0])
def test_gaussians_have_unit_flux_axis_ratio_and_position_angle(pa: float) -> None:
    one = np.ones(1)
    image = gaussians(make_stage(side=200), EXPONENTIAL, radius=12 * one, axis_ratio=0.4 * one, pa_deg=pa * one)[0]
    assert image.sum() == pytest.approx(1, abs=1e-3)
    _, _, xx, yy, xy = moments(image)
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    assert np.sqrt((mean - half) / (mean + half)) == pytest.approx(0.4, abs=0.01)
    assert angle_between(np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) - 90, pa) < 0.5


def test_gaussians_of_small_positive_angle_lean_to_the_left() -> None:
    one = np.ones(1)
    image = gaussians(make_stage(side=65), EXPONENTIAL, radius=10 * one, axis_ratio=0.3 * one, pa_deg=45 * one)[0]
    assert image[44, 20] > 20 * image[44, 44]  # up and left (north-east) against up and right


def test_round_gaussians_keep_flux_and_place_between_pixels() -> None:
    stage = make_stage(2, side=40)
    values = np.array([[0.0, 5.37], [0.5, -4.0]])
    image = round_gaussians(stage, dx=values, dy=-values, width=np.zeros((2, 2)), flux=np.array([[1.0, 0], [0, 3]]))
    assert image.sum(axis=(1, 2)) == pytest.approx([1, 3], rel=4e-3)
    assert moments(image[1])[:2] == pytest.approx((16, 24), abs=0.02)


@pytest.mark.parametrize(("n_arms", "pitch", "winding"), [(1, 12.0, 1), (2, 25.0, -1), (4, 18.0, 1)])
def test_arms_peak_on_logarithmic_spirals(n_arms: int, pitch: float, winding: int) -> None:
    one = np.ones(1)
    for radius in (0.5, 1.0, 3.0):
        ridge = winding * np.log(radius) / np.tan(np.deg2rad(pitch)) + 0.7
        azimuth = (ridge + 2 * np.pi * np.arange(n_arms) / n_arms).reshape(1, 1, -1).astype(np.float32)
        options = {"n_arms": n_arms * one, "pitch_deg": pitch * one, "winding": winding * one, "start": 0.7 * one}
        r = np.full_like(azimuth, radius)
        assert np.allclose(arms(r, azimuth, sharpness=3.0, **options), 1, atol=1e-4)
        between = arms(r, azimuth + np.float32(np.pi / n_arms), sharpness=3.0, **options)
        assert np.allclose(between, np.exp(-6), atol=1e-4)


@pytest.mark.parametrize("slope", [2.2, 3.0, 3.8])
def test_field_has_the_stated_power_spectrum(slope: float) -> None:
    side, n = 96, 80
    maps = field(make_stage(n, side=side), np.full(n, slope))
    assert maps.mean(axis=(1, 2)) == pytest.approx(np.zeros(n), abs=1e-5)
    assert maps.std(axis=(1, 2)) == pytest.approx(np.ones(n), abs=1e-4)
    assert measured_slope(maps) == pytest.approx(slope, abs=0.15)


def measured_slope(maps: np.ndarray) -> float:
    """Slope of the mean power spectrum of maps, under a Hann window, between 4 and side / 4 waves."""
    side = maps.shape[-1]
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.mean(np.abs(np.fft.fft2(maps * window)) ** 2, axis=0)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) * side
    used = (k > 4) & (k < side / 4)
    return float(-np.polyfit(np.log(k[used]), np.log(power[used]), 1)[0])


# ---- discs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def discs() -> Sky:
    return simulate("disc", 200, size=96, seed=11, snr=CLEAR, beam_px=2.0)


def test_disc_inclination_and_position_angle_are_those_of_its_moments(discs: Sky) -> None:
    f = discs.factors
    smooth = np.flatnonzero((f["crescent_contrast"] == 0) & (f["n_arms"] == 0))
    assert len(smooth) > 80
    for row in smooth:
        ratio, pa = shape_of(discs, row)
        assert np.rad2deg(np.arccos(ratio)) == pytest.approx(f["inclination_deg"][row], abs=2 if ratio < 0.95 else 12)
        if ratio < 0.9:
            assert angle_between(pa, f["pa_deg"][row]) < 1.0
    angle = np.deg2rad(2 * f["pa_deg"])
    assert np.hypot(np.cos(angle).mean(), np.sin(angle).mean()) < 0.2  # all angles alike
    assert np.cos(np.deg2rad(f["inclination_deg"])).mean() == pytest.approx(0.63, abs=0.05)


def test_disc_rings_and_gaps_lie_at_their_radii(discs: Sky) -> None:
    f = discs.factors
    seen = 0
    for row in np.flatnonzero((f["n_rings"] > 0) & (f["inclination_deg"] < 60) & (f["n_arms"] == 0)):
        radii = np.arange(2, 40, 0.1)
        in_radii = radii / f["radius_px"][row]
        smooth = (in_radii + 0.08) ** -f["profile_slope"][row] * np.exp(-(in_radii**3))
        profile = polar(discs, row, radii).mean(axis=1) / smooth
        for zone in (1, 2, 3):
            if not f[f"ring{zone}_contrast"][row] > 1.2 or f["ring_width_px"][row] < 1.0:
                continue
            ring, gap = f[f"ring{zone}_px"][row], f[f"gap{zone}_px"][row]
            near = np.abs(radii - (ring + gap) / 2) < ring - gap
            top = radii[near][np.argmax(profile[near])]
            low = radii[near][np.argmin(profile[near & (radii <= ring)])]
            assert top == pytest.approx(ring, abs=1.2)
            assert low == pytest.approx(gap, abs=1.5)
            seen += 1
    assert seen > 25
    names = [f"ring{zone}_px" for zone in (1, 2, 3)]
    assert np.array_equal(sum(np.isfinite(f[name]) for name in names), f["n_rings"])


def test_disc_cavity_is_dark(discs: Sky) -> None:
    f = discs.factors
    big = f["cavity_px"] > 5
    assert big.sum() > 10
    for row in np.flatnonzero(big & (f["inclination_deg"] < 60)):
        inside, rim = polar(discs, row, np.array([0.5, 1.3 * f["cavity_px"][row]])).mean(axis=1)
        assert inside < 0.4 * rim
    assert (f["cavity_px"] == 0).mean() > 0.6


def test_disc_arms_have_their_number_pitch_and_sense(discs: Sky) -> None:
    f = discs.factors
    rows = np.flatnonzero((f["n_arms"] > 0) & (f["crescent_contrast"] == 0) & (f["inclination_deg"] < 50))
    rows = rows[(f["radius_px"][rows] > 22) & (f["pitch_deg"][rows] > 14) & (f["n_rings"][rows] == 0)]
    assert len(rows) >= 3
    for row in rows:
        radii = np.linspace(0.5, 1.1, 25) * f["radius_px"][row]
        waves = np.fft.rfft(polar(discs, row, radii), axis=1)
        m = int(f["n_arms"][row])
        strength = np.abs(waves).mean(axis=0)
        assert int(np.argmax(strength[1:5])) + 1 == m
        ridge = -np.unwrap(np.angle(waves[:, m])) / m
        turn, start = np.polyfit(np.log(radii / f["radius_px"][row]), ridge, 1)
        assert np.sign(turn) == f["winding"][row]
        assert np.rad2deg(np.arctan(1 / abs(turn))) == pytest.approx(f["pitch_deg"][row], abs=2.5)
        period = 2 * np.pi / m
        assert abs((start - np.deg2rad(f["arm_azimuth_deg"][row]) + period / 2) % period - period / 2) < 0.25


def test_disc_crescent_lies_at_its_azimuth(discs: Sky) -> None:
    f = discs.factors
    rows = np.flatnonzero((f["crescent_contrast"] > 2.5) & (f["n_arms"] == 0) & (f["inclination_deg"] < 60))
    assert len(rows) > 5
    for row in rows[f["crescent_px"][rows] > 4]:
        wave = np.fft.rfft(polar(discs, row, f["crescent_px"][row : row + 1])[0])
        off = np.rad2deg(-np.angle(wave[1])) - f["crescent_azimuth_deg"][row]
        assert abs((off + 180) % 360 - 180) < 6


# ---- galaxies -------------------------------------------------------------------------------------------------------


def test_spiral_components_hold_their_shares_of_the_light() -> None:
    painting = paint(paint_spirals, 40)
    f = painting.factors
    bulge, disc, young = (layer.light.sum(axis=(1, 2)) for layer in painting.layers)
    assert np.allclose(bulge, f["bulge_fraction"], rtol=0.1)  # wings beyond the canvas
    rest = 1 - f["bulge_fraction"]
    assert np.allclose(young, rest * f["arm_fraction"], rtol=1e-3)
    assert np.allclose(disc, rest * (1 - f["arm_fraction"]), rtol=1e-3)  # the bar's share is in it
    assert 0.2 < np.isfinite(f["bar_length_px"]).mean() < 0.7
    assert np.array_equal(np.isfinite(f["bar_azimuth_deg"]), f["bar_fraction"] > 0)


def test_spiral_axis_ratio_is_that_of_a_thick_disc() -> None:
    f = simulate("galaxy", 200, size=8, beam_px=1.5).factors
    cos = np.cos(np.deg2rad(f["inclination_deg"]))
    assert np.allclose(f["axis_ratio"] ** 2, cos**2 + (1 - cos**2) * THICKNESS**2)
    assert f["axis_ratio"].min() == pytest.approx(THICKNESS, abs=0.02)


@pytest.mark.parametrize(("kind", "tolerance"), [("galaxy", 0.16), ("elliptical", 0.16)])
def test_galaxy_shape_is_that_of_its_moments(kind: str, tolerance: float) -> None:
    sky = simulate(kind, 150, size=128, seed=2, snr=CLEAR, beam_px=2.0)
    f = sky.factors
    ratios, angles = [], []
    for row in np.flatnonzero((f["n_companions"] == 0) & (f["radius_px"] < 13)):
        ratio, pa = shape_of(sky, row)
        ratios.append(abs(ratio - f["axis_ratio"][row]))
        if f["axis_ratio"][row] < 0.7:
            angles.append(angle_between(pa, f["pa_deg"][row]))
    assert len(angles) > 15
    assert np.max(ratios) < tolerance
    assert np.median(ratios) < 0.08
    assert np.median(angles) < 2.5
    assert np.quantile(angles, 0.9) < 8  # open arms and bars pull at the moments


def test_spiral_arms_wind_as_stated() -> None:
    sky = simulate("galaxy", 400, size=96, seed=6, snr=CLEAR, beam_px=2.0)
    f = sky.factors
    rows = np.flatnonzero((f["inclination_deg"] < 45) & (f["arm_fraction"] > 0.4) & (f["n_companions"] == 0))
    rows = rows[(f["radius_px"][rows] > 7) & (f["pitch_deg"][rows] > 14) & (f["clumpiness"][rows] < 0.4)]
    assert len(rows) >= 5
    for row in rows:
        radii = np.linspace(1.5, 3.0, 20) * f["radius_px"][row]
        m = int(f["n_arms"][row])
        wave = np.fft.rfft(polar(sky, row, radii), axis=1)[:, m]
        turn = np.polyfit(np.log(radii), -np.unwrap(np.angle(wave)) / m, 1)[0]
        assert np.sign(turn) == f["winding"][row]
        assert np.rad2deg(np.arctan(1 / abs(turn))) == pytest.approx(f["pitch_deg"][row], abs=4)


def test_companions_have_their_fluxes_and_places() -> None:
    painting = paint(paint_ellipticals, 60)
    f = painting.factors
    for k, layer in enumerate(painting.neighbours, start=1):
        there = f["n_companions"] >= k
        assert np.array_equal(np.isfinite(f[f"companion{k}_x"]), there)
        for row in range(60):
            if not there[row]:
                assert not layer.light[row].any()
                continue
            assert layer.light[row].sum() == pytest.approx(f[f"companion{k}_flux"][row], rel=0.01)
            cx, cy = moments(layer.light[row])[:2]  # the canvas has its object on pixel 64
            assert (cx - 64, cy - 64) == pytest.approx((f[f"companion{k}_x"][row], f[f"companion{k}_y"][row]), abs=0.05)
    assert set(f["n_companions"]) == {0.0, 1.0, 2.0, 3.0}


def test_companion_place_is_in_pixels_of_the_image() -> None:
    sky = simulate("elliptical", 500, size=64, seed=9, snr=CLEAR)
    f = sky.factors
    rows = np.flatnonzero((f["n_companions"] == 1) & (f["companion1_radius_px"] == 0) & (f["companion1_flux"] > 0.1))
    rows = rows[
        np.hypot(*(f[f"companion1_{a}"][rows] - f[f"center_{a}"][rows] for a in "xy")) > 3 * f["radius_px"][rows]
    ]
    checked = 0
    for row in rows:
        x, y = f["companion1_x"][row], f["companion1_y"][row]
        if 5 < x < 58 and 5 < y < 58:
            around = sky.images[row, 0, round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
            py, px = np.unravel_index(around.argmax(), around.shape)
            assert np.hypot(px - 4 + round(x) - x, py - 4 + round(y) - y) < 1.2
            checked += 1
    assert checked >= 5


# ---- doubles --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doubles() -> Sky:
    return simulate("double", 300, size=128, seed=1, snr=CLEAR, beam_px=2.5)


def test_double_components_hold_their_shares_of_the_light() -> None:
    painting = paint(paint_doubles, 60)
    lobes, core = (layer.light.sum(axis=(1, 2)) for layer in painting.layers)
    assert np.allclose(core, painting.factors["core_fraction"], rtol=5e-3)
    assert np.allclose(lobes + core, 1, atol=0.01)
    assert list(painting.factors) == list(KINDS["double"].factors)


def test_double_classes_differ_in_where_they_are_brightest(doubles: Sky) -> None:
    """Fanaroff & Riley 1974: distance between the brightest places over the whole extent, above or below 1/2."""
    f = doubles.factors
    ratio = np.array([_peak_distance(doubles, row) for row in range(len(doubles))])
    bright_ends = ratio > 0.5
    second = f["fr_class"] == 2
    clear = f["length_px"] > 40
    assert (bright_ends == second)[clear].mean() > 0.93
    assert 0.4 < second.mean() < 0.6
    assert np.array_equal(np.isfinite(f["hot_spot_fraction"]), second)


def _peak_distance(sky: Sky, row: int) -> float:
    """Distance between the brightest pixels on either side of the core, outside of it, in units of the length."""
    along = _along(sky, row)
    image = np.where(np.abs(along) > 4, sky.images[row, 0], -1)
    peaks = []
    for side in (along > 0, along < 0):
        y, x = np.unravel_index(np.where(side, image, -1).argmax(), image.shape)
        peaks.append((x, y))
    return float(np.hypot(*np.subtract(*peaks)) / sky.factors["length_px"][row])


def _along(sky: Sky, row: int) -> np.ndarray:
    y, x = np.indices(sky.images.shape[2:])
    pa = np.deg2rad(sky.factors["pa_deg"][row])
    return (y - sky.factors["center_y"][row]) * np.cos(pa) - (x - sky.factors["center_x"][row]) * np.sin(pa)


def test_double_position_angle_and_fluxes_of_the_arms(doubles: Sky) -> None:
    f = doubles.factors
    straight = (np.abs(f["bend_deg"]) < 3) & (np.abs(f["twist_deg"]) < 3) & (f["length_px"] > 50)
    rows = np.flatnonzero(straight & (f["fr_class"] == 2))
    assert len(rows) > 10
    angles = []
    for row in rows:
        angles.append(angle_between(shape_of(doubles, row)[1], f["pa_deg"][row]))
        image, along = doubles.images[row, 0].astype(float), _along(doubles, row)
        first, second = image[along > 8].sum(), image[along < -8].sum()
        assert second / first == pytest.approx(f["flux_ratio"][row], rel=0.25)
        far = [np.abs(along)[side & (image > 0.03 * image[side].max())].max() for side in (along < -8, along > 8)]
        assert far[0] / far[1] == pytest.approx(f["arm_ratio"][row], rel=0.2)
        assert sum(far) == pytest.approx(f["length_px"][row], rel=0.25)
    assert np.median(angles) < 3
    assert np.max(angles) < 8


def test_double_bends_both_arms_to_the_same_side(doubles: Sky) -> None:
    f = doubles.factors
    rows = np.flatnonzero((np.abs(f["bend_deg"]) > 20) & (np.abs(f["twist_deg"]) < 10) & (f["length_px"] > 30))
    assert len(rows) > 10
    y, x = np.indices(doubles.images.shape[2:])
    for row in rows:
        image = doubles.images[row, 0].astype(float)
        pa = np.deg2rad(f["pa_deg"][row])
        along = _along(doubles, row)
        east = -(x - f["center_x"][row]) * np.cos(pa) - (y - f["center_y"][row]) * np.sin(pa)  # towards larger angles
        for side in (along > 3, along < -3):
            assert np.sign((image * east)[side].sum()) == np.sign(f["bend_deg"][row])


# ---- clouds ---------------------------------------------------------------------------------------------------------


def test_cloud_is_log_normal_with_the_stated_slope_and_spread() -> None:
    painting = paint(paint_clouds, 300, side=64)
    f = painting.factors
    plain = f["filament_contrast"] == 0
    logs = np.log(painting.layers[0].light[plain])
    assert logs.std(axis=(1, 2)) == pytest.approx(f["log_std"][plain], rel=1e-3)
    slopes = f["spectral_slope"][plain]
    scaled = logs / logs.std(axis=(1, 2), keepdims=True)
    for low, high in ((2.2, 2.7), (3.3, 3.8)):
        chosen = (slopes > low) & (slopes < high)
        assert measured_slope(scaled[chosen]) == pytest.approx(slopes[chosen].mean(), abs=0.25)


def test_cloud_image_has_the_slope_on_scales_above_the_beam() -> None:
    sky = simulate("cloud", 60, size=128, seed=3, snr=CLEAR, beam_px=1.5)
    plain = sky.factors["filament_contrast"] == 0
    logs = np.log(np.maximum(sky.images[plain, 0], 1e-3))
    found = measured_slope((logs - logs.mean(axis=(1, 2), keepdims=True)) / logs.std(axis=(1, 2), keepdims=True))
    assert found == pytest.approx(sky.factors["spectral_slope"][plain].mean(), abs=0.5)


def test_cloud_filament_runs_along_its_position_angle() -> None:
    painting = paint(paint_clouds, 200)
    f = painting.factors
    there = np.flatnonzero((f["filament_contrast"] > 4) & (f["log_std"] < 0.7))
    assert len(there) > 10
    assert np.array_equal(np.isfinite(f["filament_width_px"]), f["filament_contrast"] > 0)
    angles = []
    for row in there:
        power = (
            np.abs(
                np.fft.fftshift(np.fft.fft2(painting.layers[0].light[row] * np.hanning(128)[:, None] * np.hanning(128)))
            )
            ** 2
        )
        middle = slice(64 - 12, 64 + 13)
        _, _, xx, yy, xy = moments(power[middle, middle])
        across = np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy))  # a line's spectrum lies across it
        angles.append(angle_between(across, f["pa_deg"][row]))
    assert np.median(angles) < 15


# ---- all ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_painters_give_exactly_the_factors_they_declare(kind: str) -> None:
    painting = paint(KINDS[kind].paint, 5, side=32)
    assert sorted(painting.factors) == sorted(KINDS[kind].factors)
    for values in painting.factors.values():
        assert np.shape(values) == (5,)
    for layer in [*painting.layers, *painting.neighbours]:
        assert layer.light.shape == (5, 32, 32)
        assert layer.light.dtype == np.float32
        assert (layer.light >= 0).all()
        assert np.isfinite(layer.light).all()


@pytest.mark.parametrize("kind", KINDS)
def test_painters_draw_no_more_numbers_than_a_row_has(kind: str) -> None:
    with pytest.raises(IndexError):
        KINDS[kind].paint(Draws(np.zeros((2, 4)) + 0.5), make_stage(2, side=32))


def test_simulate_has_no_light_beyond_the_margin() -> None:
    """A star at the edge does not come back at the opposite one."""
    sky = simulate("elliptical", 2000, size=48, seed=4, snr=CLEAR, beam_px=3.5)
    f = sky.factors
    rows = np.flatnonzero((f["companion1_x"] > 45) & (f["companion1_radius_px"] == 0) & (f["n_companions"] == 1))
    assert len(rows) > 0
    for row in rows:
        height = int(np.clip(round(f["companion1_y"][row]), 2, 45))
        image = sky.images[row, 0] / sky.factors["peak"][row]
        mirrored = image[height - 2 : height + 3, 0].max() - image[:, 0].min()
        assert mirrored < 0.05 * image[height - 2 : height + 3, -1].max()
