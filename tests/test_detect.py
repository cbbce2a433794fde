"""Sources of a field: known ones found where they are, and none where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.data import hubble_deep_field

from morphospace.errors import ConfigError, ShapeError
from morphospace.sky.detect import Detection, find_sources


def blob(shape, y, x, peak, width=3.0):
    rows, columns = np.indices(shape)
    return peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def field(sources, shape=(150, 170), seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, noise, shape)
    for y, x, peak in sources:
        image += blob(shape, y, x, peak)
    return image[None].astype(np.float32)


PLACES = [(30.0, 40.0, 60.0), (100.3, 50.6, 40.0), (75.0, 130.0, 25.0), (120.0, 110.4, 90.0)]


def test_find_sources_finds_what_was_put_in_and_nothing_else():
    found = find_sources(field(PLACES), None, Detection())
    assert len(found) == len(PLACES)
    for source in found:
        nearest = min(np.hypot(source.y - y, source.x - x) for y, x, _ in PLACES)
        assert nearest < 0.3


def test_sources_come_with_the_highest_peak_first_and_agree_with_their_segments():
    found = find_sources(field(PLACES), None, Detection())
    assert [round(s.y) for s in found] == [120, 30, 100, 75]
    for source in found:
        y0, y1, x0, x1 = source.bbox
        assert source.segment.shape == (y1 - y0, x1 - x0)
        assert y0 <= source.y < y1
        assert x0 <= source.x < x1
        assert source.radius == pytest.approx(np.sqrt(source.segment.sum() / np.pi))
        assert source.segment.any(axis=0).all()
        assert source.segment.any(axis=1).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("smoothing", [0.0, 3.0])
def test_find_sources_finds_nothing_in_pure_noise(seed, smoothing):
    noise = field([], shape=(400, 400), seed=seed)
    assert find_sources(noise, None, Detection(min_pixels=5, smoothing=smoothing)) == []


def test_without_a_peak_condition_noise_makes_false_sources():
    # the control of the test above: it is the 5 sigma that keep noise out, not an accident
    noise = field([], shape=(400, 400))
    assert find_sources(noise, None, Detection(min_pixels=2, threshold_sigma=2, peak_sigma=0))


def test_threshold_is_in_sigma_of_the_smoothed_field():
    # a source whose peak after smoothing is 10 sigma is found below that and not above
    image = field([(75, 85, 5.0)])
    peak = find_sources(image, None, Detection())[0].peak
    assert find_sources(image, None, Detection(min_pixels=1, threshold_sigma=0.9 * peak))
    assert not find_sources(image, None, Detection(min_pixels=1, threshold_sigma=1.1 * peak))


def test_deblending_separates_two_that_touch():
    image = field([(75, 70, 100.0), (75, 84, 100.0)])
    assert len(find_sources(image, None, Detection(deblend=False))) == 1
    apart = find_sources(image, None, Detection(deblend=True))
    assert sorted(round(s.x) for s in apart) == [70, 84]


def test_masked_pixels_hold_no_source_even_if_they_are_nan():
    image = field(PLACES)
    mask = np.ones(image.shape[1:], dtype=bool)
    mask[:60, :70] = False
    image[:, ~mask] = np.nan
    found = find_sources(image, mask, Detection())
    assert sorted(round(s.y) for s in found) == [75, 100, 120]


def test_noise_that_changes_over_the_field_makes_no_false_sources():
    shape = (320, 320)
    noise = np.random.default_rng(3).normal(0, 1, shape) * np.geomspace(1, 8, shape[0])[:, None]
    image = (noise + blob(shape, 60, 250, 40.0) + blob(shape, 250, 60, 100.0))[None].astype(np.float32)
    found = find_sources(image, None, Detection(min_pixels=8))
    assert sorted((round(s.y), round(s.x)) for s in found) == [(60, 250), (250, 60)]
    flat = find_sources(image, None, Detection(min_pixels=8, box=0))
    assert len(flat) > 5  # the control: one noise for the whole field does not do


def test_a_sloping_background_is_removed_box_by_box():
    shape = (320, 320)
    slope = np.linspace(0, 8, shape[1])[None, :]
    noise = np.random.default_rng(3).normal(0, 1, shape)
    image = (noise + slope + blob(shape, 60, 160, 3.0))[None].astype(np.float32)
    assert [(round(s.y), round(s.x)) for s in find_sources(image, None, Detection())] == [(60, 160)]
    assert find_sources(image, None, Detection(box=0)) == []  # the control


def test_bands_are_averaged_so_that_a_source_faint_in_each_is_found_in_all():
    shape = (150, 170)
    rng = np.random.default_rng(5)
    source = blob(shape, 70, 90, 0.7)
    bands = [scale * (rng.normal(0, 1, shape) + source) + level for scale, level in [(1, 0), (50, 900), (0.01, -3)] * 3]
    image = np.stack(bands).astype(np.float32)
    assert [find_sources(image[[i]], None, Detection()) for i in range(3)] == [[], [], []]
    found = find_sources(image, None, Detection())
    assert [(round(s.y), round(s.x)) for s in found] == [(70, 90)]


def test_a_band_without_noise_does_not_outweigh_those_with_noise():
    image = field(PLACES)
    clipped = np.zeros_like(image)
    clipped[0, 5:12, 5:12] = 1e6
    found = find_sources(np.concatenate([image, clipped]), None, Detection())
    assert len(found) == len(PLACES)


def test_a_map_without_noise_is_cut_where_it_rises_above_its_level():
    clipped = np.zeros((1, 100, 100), dtype=np.float32)
    clipped[0, 20:40, 30:50] = 7.0
    (source,) = find_sources(clipped, None, Detection(smoothing=0))
    assert source.bbox == (20, 40, 30, 50)
    assert (source.y, source.x) == (pytest.approx(29.5), pytest.approx(39.5))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 1), dtype=np.float32),
        np.full((3, 64, 64), 17, dtype=np.uint8),
        np.ones((1, 1, 200), dtype=np.float32),
    ],
    ids=["one pixel", "constant", "one row"],
)
def test_nothing_is_found_where_nothing_is(image):
    assert find_sources(image, None, Detection()) == []


def test_nothing_is_found_in_a_field_without_valid_pixels():
    image = np.full((1, 200, 200), np.nan, dtype=np.float32)
    assert find_sources(image, np.zeros((200, 200), dtype=bool), Detection()) == []


DISCS = Detection(method="dbscan", smoothing=0, box=0, min_pixels=5)


def radio_map(sources, shape=(240, 260), seed=0, beam_px=5.0, edge=5.0):
    """Noise that the beam correlates and a primary beam raises towards the corner, by `edge`, and round sources."""
    pad = 40
    noise = np.random.default_rng(seed).standard_normal([n + 2 * pad for n in shape])
    noise = ndimage.gaussian_filter(noise, beam_px / 2.3548)[pad:-pad, pad:-pad]
    y, x = np.indices(shape)
    r_squared = ((y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2) / (shape[0] ** 2 + shape[1] ** 2) * 4
    noise *= edge**r_squared / noise.std()
    image = noise + sum(blob(shape, y, x, peak, 4.0) for y, x, peak in sources)
    return image[None].astype(np.float32), (edge**r_squared)[None].astype(np.float32) ** 2


def test_dbscan_finds_the_sources_of_a_primary_beam_corrected_map_and_nothing_else():
    places = [(60, 70, 15.0), (180, 100, 30.0), (120, 200, 20.0)]
    image, variance = radio_map(places)
    expected = sorted((y, x) for y, x, _ in places)
    for options in ({}, {"beam_px": 5.0}, {"beam_px": np.nan}, {"variance": variance}, {"variance": variance[0]}):
        found = find_sources(image, None, DISCS, **options)
        assert len(found) == 3
        assert np.abs(np.array(sorted((s.y, s.x) for s in found)) - expected).max() < 1.5


def test_dbscan_finds_nothing_in_noise_that_rises_towards_the_edge():
    maps = [radio_map([], seed=seed)[0] for seed in range(20)]
    assert sum(len(find_sources(image, None, DISCS)) for image in maps) == 0
    # the control: with one noise for the whole map the edge is full of sources
    one_noise = Detection(smoothing=0, box=0, min_pixels=5)
    assert sum(len(find_sources(image, None, one_noise)) for image in maps) > 100


def test_dbscan_keeps_a_ring_with_gaps_whole_and_segmentation_does_not():
    image, _ = radio_map([], beam_px=4.0, edge=1.0)
    y, x = np.indices(image.shape[1:])
    ring = np.exp(-((np.hypot(y - 120, x - 130) - 30) ** 2) / 18) * (np.cos(2 * np.arctan2(y - 120, x - 130)) > -0.97)
    image += 20 * ring
    (source,) = find_sources(image, None, DISCS, beam_px=6.0)
    assert (source.y, source.x) == (pytest.approx(120, abs=2), pytest.approx(130, abs=2))
    assert len(find_sources(image, None, Detection(smoothing=0, box=0, min_pixels=5))) > 1


def test_the_peak_condition_rises_with_the_number_of_beams():
    image, _ = radio_map([(100, 100, 5.9)], shape=(200, 200), edge=1.0, seed=3, beam_px=4.0)
    low = Detection(method="dbscan", smoothing=0, box=0, min_pixels=1, peak_sigma=0)
    heights = [source.peak for source in find_sources(image, None, low, beam_px=4.0)]
    assert heights
    assert min(heights) > 4.9  # 2,500 beams: rare noise reaches 5.1


def test_variance_weighs_a_noisy_half_of_the_field():
    shape = (150, 170)
    noise = np.random.default_rng(7).standard_normal(shape)
    sigma = np.where(np.arange(shape[1]) < 85, 1.0, 30.0) * np.ones(shape)
    image = (noise * sigma + blob(shape, 75, 40, 12.0))[None].astype(np.float32)
    found = find_sources(image, None, Detection(min_pixels=8), variance=sigma**2)
    assert [(round(s.y), round(s.x)) for s in found] == [(75, 40)]
    without = find_sources(image, None, Detection(min_pixels=8))
    assert [(round(s.y), round(s.x)) for s in without] != [(75, 40)]  # the control


def test_a_cloud_that_fills_most_of_the_map_is_found_whole():
    y, x = np.indices((160, 160))
    cloud = 400 * np.clip((x + y - 70) / 250, 0, None) ** 1.5
    image = (np.random.default_rng(0).normal(5, 1, cloud.shape) + cloud)[None].astype(np.float32)
    whole = Detection(box=0, deblend=False, threshold_sigma=2)
    (found,) = find_sources(image, None, whole)
    assert found.segment.sum() > 0.8 * np.count_nonzero(cloud > 2)
    # in noise alone the same setting finds nothing
    assert find_sources(np.random.default_rng(1).normal(0, 1, (1, 300, 300)), None, whole) == []


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_nothing_is_found_where_the_variance_says_nothing(bad):
    variance = np.ones((1, 150, 170), dtype=np.float32)
    variance[:, :60, :70] = bad
    found = find_sources(field(PLACES), None, Detection(), variance=variance)
    assert sorted(round(s.y) for s in found) == [75, 100, 120]


def test_a_band_whose_variance_is_unknown_everywhere_counts_by_its_own_noise():
    image = np.concatenate([field(PLACES), field(PLACES, seed=1)])
    variance = np.ones(image.shape, dtype=np.float32)
    variance[1] = np.nan
    assert len(find_sources(image, None, Detection(), variance=variance)) == len(PLACES)


def test_variance_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"variance must have the shape of the field, \(1, 150, 170\)"):
        find_sources(field([]), None, Detection(), variance=np.ones((150, 171)))


@given(scale=st.floats(1e-3, 1e3), level=st.floats(-1e3, 1e3))
def test_units_of_the_image_do_not_matter(scale, level):
    image = field(PLACES[:2], shape=(130, 100)).astype(np.float64)
    here = find_sources(image, None, Detection())
    there = find_sources(image * scale + level, None, Detection())
    assert [(s.bbox, round(s.x, 1)) for s in here] == [(s.bbox, round(s.x, 1)) for s in there]


def test_the_hubble_deep_field_gives_hundreds_of_galaxies_and_its_negative_none():
    image = np.moveaxis(hubble_deep_field(), -1, 0)
    found = find_sources(image, None, Detection(min_pixels=60))
    assert 400 < len(found) < 1000
    # noise is symmetric and galaxies are not: what the negative gives is the number of false ones
    negative = find_sources(255 - image, None, Detection(min_pixels=60))
    assert len(negative) <= len(found) // 100
    # the large spiral and two of the brightest ellipticals, read off the picture by eye
    for y, x in [(400, 123), (475, 726), (490, 977)]:
        assert min(np.hypot(s.y - y, s.x - x) for s in found) < 5


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("method", "hdbscan", "'segmentation' or 'dbscan'"),
        ("threshold_sigma", 0, "positive"),
        ("peak_sigma", -1, "0 or more"),
        ("min_pixels", 0, "1 or more"),
        ("smoothing", -0.1, "0 or more"),
        ("contrast", 1.5, "between 0 and 1"),
        ("box", -1, "0 or more"),
        ("padding", 0.5, "1 or more"),
        ("padding", float("nan"), "1 or more"),
    ],
)
def test_detection_refuses_values_out_of_range(name, value, wanted):
    with pytest.raises(ConfigError, match=f"'{name}' must be {wanted}; got"):
        Detection(**{name: value})
