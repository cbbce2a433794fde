"""Windows: pixels as they are, the sky where it is."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from morphospace.sky.curation.crop import (
    Window,
    centre_window,
    crop_mask,
    crop_pixels,
    segment_in,
    shift_header,
    source_window,
)
from morphospace.sky.detect import Source


def source(y=20.0, x=30.0, bbox=(15, 26, 20, 41)):
    y0, y1, x0, x1 = bbox
    return Source(x=x, y=y, bbox=bbox, radius=5, peak=9, segment=np.ones((y1 - y0, x1 - x0), dtype=bool))


@pytest.mark.parametrize(
    ("shape", "size", "window"),
    [((1, 100, 100), 50, (25, 25, 50, 50)), ((3, 9, 7), 3, (3, 2, 3, 3)), ((1, 4, 4), 6, (-1, -1, 6, 6))],
)
def test_centre_window_keeps_the_middle(shape, size, window):
    assert centre_window(shape, size) == Window(*window)


@given(height=st.integers(1, 50), width=st.integers(1, 50), size=st.integers(1, 60))
def test_centre_window_is_at_most_half_a_pixel_off(height, width, size):
    window = centre_window((1, height, width), size)
    assert abs(window.y0 + (size - 1) / 2 - (height - 1) / 2) <= 0.5
    assert abs(window.x0 + (size - 1) / 2 - (width - 1) / 2) <= 0.5


@given(y=st.floats(0, 100), x=st.floats(0, 100), size=st.integers(1, 64))
def test_source_window_has_the_centroid_within_half_a_pixel_of_its_centre(y, x, size):
    window = source_window(source(y, x), size=size, padding=1.5)
    assert window[2:] == (size, size)
    assert abs(window.y0 + (size - 1) / 2 - y) <= 0.5
    assert abs(window.x0 + (size - 1) / 2 - x) <= 0.5


def test_source_window_of_own_size_is_the_longer_side_padded():
    assert source_window(source(), size=None, padding=1.5)[2:] == (32, 32)  # 21 x 1.5, rounded up


@given(y0=st.integers(-30, 30), x0=st.integers(-30, 30), height=st.integers(1, 30), width=st.integers(1, 30))
def test_crop_equals_a_padded_array_sliced(y0, x0, height, width):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, 12, 17)).astype(np.float32)
    mask = rng.random((12, 17)) > 0.2
    window = Window(y0, x0, height, width)
    pad = 70  # beyond any window
    wide = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), constant_values=np.nan)
    cut = (slice(y0 + pad, y0 + pad + height), slice(x0 + pad, x0 + pad + width))
    np.testing.assert_array_equal(crop_pixels(image, window, np.zeros(2)), wide[:, *cut])
    wanted = np.pad(mask, pad)[cut]
    found = crop_mask(mask, image.shape, window)
    np.testing.assert_array_equal(np.ones_like(wanted) if found is None else found, wanted)
    assert (found is None) == wanted.all()
    whole = crop_mask(None, image.shape, window)
    np.testing.assert_array_equal(~np.isnan(wide[0][cut]), np.ones_like(wanted) if whole is None else whole)


@pytest.mark.parametrize(
    ("dtype", "fill", "stands"), [("uint8", 300.2, 255), ("int16", -7.6, -8), ("uint16", np.nan, 0), ("bool", 1, 1)]
)
def test_integers_keep_their_type_and_get_the_level_beyond_the_border(dtype, fill, stands):
    image = np.ones((1, 2, 2), dtype=dtype)
    cut = crop_pixels(image, Window(-1, 0, 3, 2), np.array([fill]))
    assert cut.dtype == image.dtype
    assert cut[0, 0].tolist() == [stands, stands]
    assert cut[0, 1:].tolist() == [[1, 1], [1, 1]]


def test_crop_is_a_copy():
    image = np.zeros((1, 5, 5))
    crop_pixels(image, Window(0, 0, 5, 5), np.zeros(1))[:] = 9
    assert not image.any()


def test_segment_in_draws_the_footprint_where_it_lies():
    window = Window(10, 18, 20, 20)
    drawn = segment_in(source(), window)
    wanted = np.zeros((100, 100), dtype=bool)
    wanted[15:26, 20:41] = True
    np.testing.assert_array_equal(drawn, wanted[10:30, 18:38])


@given(x=st.integers(-20, 20), y=st.integers(-20, 20))
def test_shift_header_keeps_every_pixel_at_its_place_on_the_sky(x, y):
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 33.0, "CRVAL2": -5.0, "CRPIX1": 7.25, "CRPIX2": 3.0}
    header |= {"CDELT1": -0.01, "CDELT2": 0.01, "CROTA2": 30.0}
    moved = WCS(fits.Header(shift_header(header, x=x, y=y)))
    here = WCS(fits.Header(header)).pixel_to_world(x + 4, y + 6)
    assert here.separation(moved.pixel_to_world(4, 6)).arcsec < 1e-6


def test_shift_header_begins_at_0_where_there_is_no_reference_pixel():
    assert shift_header({}, x=3, y=-2) == {"CRPIX1": -3, "CRPIX2": 2}


def test_shift_header_moves_a_plate_solution_too():
    moved = shift_header({"CNPIX1": 100, "CNPIX2": 7, "CRPIX1": 1.0, "CRPIX2": 2.0, "PPO3": 177500.0}, x=5, y=-1)
    assert moved == {"CNPIX1": 105, "CNPIX2": 6, "CRPIX1": -4.0, "CRPIX2": 3.0, "PPO3": 177500.0}
