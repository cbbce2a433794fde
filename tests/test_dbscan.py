"""DBSCAN on the pixels of a map, its noise as a function of place, and the beam that the noise tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.cluster import DBSCAN

from morphospace.sky.dbscan import beam_of_noise, group_pixels, noise_surface, rare_peak

FWHM = 2.3548


def beam_noise(shape, beam_px, seed=0):
    rng = np.random.default_rng(seed)
    pad = int(5 * beam_px)
    noise = ndimage.gaussian_filter(rng.standard_normal([n + 2 * pad for n in shape]), beam_px / FWHM)
    noise = noise[pad:-pad, pad:-pad]
    return noise / noise.std()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    filled=st.floats(0.01, 0.6),
    radius=st.floats(1.0, 7.0),
    count=st.integers(1, 40),
)
def test_groups_are_those_of_scikit_learn(seed, filled, radius, count):
    above = np.random.default_rng(seed).random((23, 31)) < filled
    points = np.argwhere(above)
    labels = group_pixels(above, radius=radius, count=count)
    assert labels.shape == above.shape
    assert not labels[~above].any()
    if not len(points):
        assert not labels.any()
        return
    oracle = DBSCAN(eps=radius, min_samples=count).fit(points)
    ours = labels[above]
    core = np.zeros(len(points), dtype=bool)
    core[oracle.core_sample_indices_] = True
    # the same pixels are in groups at all, and the cores are divided alike
    np.testing.assert_array_equal(ours > 0, oracle.labels_ >= 0)
    pairs = set(zip(ours[core].tolist(), oracle.labels_[core].tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    # what is no core goes to the group of its nearest core
    for point, label in zip(points[~core], ours[~core], strict=True):
        if label:
            distance = np.hypot(*(points[core] - point).T)
            assert label in ours[core][np.isclose(distance, distance.min())]


def test_groups_are_numbered_from_one_without_gaps():
    above = np.zeros((60, 60), dtype=bool)
    for place in (5, 25, 45):
        above[place : place + 6, place : place + 6] = True
    labels = group_pixels(above, radius=3, count=9)
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_a_ring_with_gaps_is_one_group_and_two_rings_are_two():
    y, x = np.indices((80, 160))
    rings = [(abs(np.hypot(y - 40, x - at) - 20) < 2) & ((x - at) % 12 > 3) for at in (40, 120)]
    labels = group_pixels(rings[0] | rings[1], radius=7, count=10)
    assert labels.max() == 2
    assert all(len(np.unique(labels[ring])) == 1 for ring in rings)


def test_a_map_full_of_emission_is_grouped_without_lists_of_neighbours():
    labels = group_pixels(np.ones((1500, 1500), dtype=bool), radius=9, count=100)
    assert labels.min() == labels.max() == 1


def test_nothing_chosen_makes_no_group():
    assert not group_pixels(np.zeros((20, 30), dtype=bool), radius=3, count=1).any()


@pytest.mark.parametrize("pointing", [(0.0, 0.0), (25.0, -40.0)])
def test_noise_of_a_primary_beam_corrected_map_is_known_everywhere(pointing):
    shape = (240, 300)
    y, x = np.indices(shape)
    r_squared = (y - 119.5 - pointing[0]) ** 2 + (x - 149.5 - pointing[1]) ** 2
    truth = 3e-5 * np.exp(r_squared / (2 * 100**2))
    found = noise_surface(beam_noise(shape, 4) * truth, np.ones(shape, dtype=bool))
    assert found.dtype == np.float32
    ratio = found / truth
    inside = truth < 5 * 3e-5
    assert abs(np.median(ratio) - 1) < 0.1
    assert np.ptp(ratio[inside]) < 0.3
    assert truth[inside].max() / truth.min() > 4.5  # the control: one number would be wrong by this much


def test_noise_under_a_large_faint_disc_is_that_beside_it():
    shape = (160, 160)
    y, x = np.indices(shape)
    disc = 6.0 * (np.hypot(y - 60, x - 90) < 35)
    valid = np.ones(shape, dtype=bool)
    noise = beam_noise(shape, 4)
    with_disc, without = (noise_surface(plane, valid) for plane in (noise + disc, noise))
    assert np.abs(with_disc / without - 1).max() < 0.15


def test_noise_surface_does_not_look_at_invalid_pixels():
    shape = (120, 120)
    noise = beam_noise(shape, 3)
    valid = np.hypot(*(np.indices(shape) - 60)) < 55
    wild = np.where(valid, noise, 1e9)
    blank = np.where(valid, noise, np.nan)
    np.testing.assert_array_equal(noise_surface(wild, valid), noise_surface(blank, valid))


@pytest.mark.parametrize("plane", [np.zeros((50, 50)), np.ones((1, 1)), np.full((40, 40), np.nan)])
def test_a_map_without_noise_has_the_surface_one(plane):
    assert (noise_surface(plane, np.isfinite(plane)) == 1).all()


@pytest.mark.parametrize("beam_px", [2.0, 3.5, 7.0])
def test_the_noise_tells_the_beam(beam_px):
    noise = beam_noise((300, 300), beam_px)
    assert beam_of_noise(noise, np.ones(noise.shape, dtype=bool)) == pytest.approx(beam_px, rel=0.08)


def test_white_noise_has_a_beam_of_about_a_pixel_and_no_noise_does_not_fail():
    noise = np.random.default_rng(0).standard_normal((200, 200))
    everywhere = np.ones(noise.shape, dtype=bool)
    assert 1.0 <= beam_of_noise(noise, everywhere) < 1.2
    assert beam_of_noise(noise, ~everywhere) == 1.0
    assert beam_of_noise(0 * noise, everywhere) == 1.0


def test_rare_peaks_are_as_rare_as_said():
    beam_px, n_beams = 5.0, (400 / 5.0) ** 2
    heights = [beam_noise((400, 400), beam_px, seed).max() for seed in range(60)]
    # a map of 0.001 of the area with 0.001 expected peaks: the height above which this one has 1
    typical = rare_peak(n_beams * 0.001)
    assert 0.5 < np.mean(np.array(heights) > typical) < 0.8  # Poisson: 1 - exp(-1) = 0.63
    assert rare_peak(1e-9) >= 1
    assert np.all(np.diff([rare_peak(n) for n in (1, 100, 1e4, 1e6)]) > 0)
