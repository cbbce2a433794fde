"""A band per file or HDU: grouped by name, stacked on one grid, reprojected where the grids differ."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morphospace.errors import ConfigError, DataError, MissingDependencyError
from morphospace.sky.bands import group_bands, read_bands, stack_bands
from morphospace.sky.images import Image, read_image

PLACE = (150.0, 2.0)


def names(sets):
    return [(found.name, [file and str(file) for file in found.files]) for found in sets]


def header(scale=1.0, size=(40, 50), angle=0.0, shift=(0.0, 0.0), **cards):
    """A tangential WCS around one place: scale in arcsec, shift in pixels."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": PLACE[0], "CRVAL2": PLACE[1]}
    wcs |= {"CRPIX1": (size[1] + 1) / 2 + shift[0], "CRPIX2": (size[0] + 1) / 2 + shift[1]}
    step = scale / 3600
    return wcs | {"CD1_1": -step * cos, "CD1_2": step * sin, "CD2_1": step * sin, "CD2_2": step * cos} | cards


def scene(cards, size=(40, 50)):
    """Surface brightness of two Gaussian blobs fixed on the sky, in whatever grid."""
    y, x = np.indices(size)
    sky = WCS(fits.Header(cards | {"NAXIS": 2, "NAXIS1": size[1], "NAXIS2": size[0]})).pixel_to_world(x, y)
    east = (sky.ra.deg - PLACE[0]) * np.cos(np.radians(PLACE[1])) * 3600
    north = (sky.dec.deg - PLACE[1]) * 3600
    blobs = [np.exp(-((east - e) ** 2 + (north - n) ** 2) / (2 * 4.0**2)) for e, n in ((3, 5), (-8, -4))]
    return (10 * blobs[0] + 4 * blobs[1]).astype(np.float32)


def image(folder, name="x", cards=None, size=(40, 50), data=None, **more):
    cards = header(size=size) if cards is None else cards
    data = scene(cards, size) if data is None else data
    fits.writeto(folder / f"{name}.fits", data, fits.Header(cards | more))
    return read_image(folder / f"{name}.fits")


# Groups


def test_files_that_differ_only_in_the_band_are_one_image():
    files = ["d/b_g.fits", "d/a_r.fits", "d/a_g.fits", "e/a_g.fits", "d/a_i.fits"]
    assert names(group_bands(files, ("g", "r", "i"))) == [
        ("b", ["d/b_g.fits", None, None]),
        ("a", ["d/a_g.fits", "d/a_r.fits", "d/a_i.fits"]),
        ("a", ["e/a_g.fits", None, None]),
    ]


@pytest.mark.parametrize(
    "files, bands, name",
    [
        (["reprojected_sdss_g.fits.bz2", "reprojected_sdss_r.fits.bz2"], ("g", "r"), "reprojected_sdss"),
        (["11051203.acs.v_6ac_.fits", "11051203.acs.i_6ac_.fits"], ("v", "i"), "11051203.acs_6ac"),
        (["HSC-I-1.fits", "HSC-R-1.fits"], ("I", "R"), "HSC-1"),
        (["g-ngc1.fits", "r-ngc1.fits"], ("g", "r"), "ngc1"),
        (["n_f606w_drz.fits", "n_f814w_drz.fits"], ("f606w", "f814w"), "n_drz"),
        (["cutoutg.fits", "cutoutr.fits"], ("cutout{band}.", "g", "r"), "cutout"),
        (["g_r_g.fits", "g_r_r.fits"], ("g", "r", "_{band}."), "g_r"),
        (["/d/g/7.fits", "/d/r/7.fits"], ("/{band}/", "g", "r"), "7"),
        (["a_W1.fits", "a_W12.fits"], ("a_{band}.", "W1", "W12"), "a"),
    ],
)
def test_names_of_archives(files, bands, name):
    assert names(group_bands(files, bands)) == [(name, files)]


def test_a_band_is_known_by_its_case():
    assert names(group_bands(["a_R.fits", "a_r.fits"], ("r", "R"))) == [("a", ["a_r.fits", "a_R.fits"])]


def test_hdus_may_be_bands():
    (found,) = group_bands(["d/x.fits"], ("hdu:SCI_{band}", "g", "r"))
    assert found == ("x", (Path("d/x.fits"),) * 2, ("SCI_g", "SCI_r"))


def test_files_without_a_band_are_left_out_and_logged(caplog):
    caplog.set_level(logging.WARNING)
    assert names(group_bands(["a_g.fits", "dark.fits", "flat.fits"], ("g", "r"))) == [("a", ["a_g.fits", None])]
    assert "'dark.fits' has no band of g, r in its name and is left out, as are 1 others" in caplog.text


@pytest.mark.parametrize(
    "files, bands, match",
    [
        (["dark.fits", "flat.fits"], ("g", "r"), r"'dark.fits' has no band of g, r .* nor has any other file; say"),
        (["g_r.fits"], ("g", "r"), r"'g_r.fits' holds more than one band in its name \(g, r\); say with a pattern"),
    ],
)
def test_files_that_cannot_be_told_are_refused(files, bands, match):
    with pytest.raises(DataError, match=match):
        group_bands(files, bands)


def test_a_file_listed_twice_is_one_file():
    assert len(group_bands(["a_g.fits", "a_g.fits"], ("g",))) == 1


@pytest.mark.parametrize("bands", [(), ("g", "g"), ("{band}",), ("{band}_", "_{band}", "g"), ("g", "")])
def test_bad_bands_are_refused(bands):
    with pytest.raises(ConfigError, match="bands need each name once"):
        group_bands(["a_g.fits"], bands)


# Stacks


def test_images_on_one_grid_are_stacked_as_they_are(tmp_path):
    images = [image(tmp_path, f"x_{band}", BUNIT="nJy", PHOTPLAM=w) for band, w in (("g", 4800.0), ("r", 6200.0))]
    found = stack_bands(images, ["g", "r"])
    np.testing.assert_array_equal(found.data, np.concatenate([one.data for one in images]))
    assert (found.bands, found.wavelength_nm, found.unit, found.mask) == (("g", "r"), (480.0, 620.0), "nJy", None)
    assert (found.missing, found.source, found.wcs) == ((), images[0].source, images[0].wcs)


def test_equal_grids_written_differently_are_one(tmp_path, monkeypatch):
    monkeypatch.setattr("morphospace.sky.bands._reproject", None)
    moved = header(shift=(10, 0)) | {"CRVAL1": PLACE[0] - 10 / 3600 / np.cos(np.radians(PLACE[1]))}
    images = [image(tmp_path, "g"), image(tmp_path, "r", moved)]
    assert images[0].wcs != images[1].wcs
    assert stack_bands(images, "gr").data.shape == (2, 40, 50)


def test_blank_pixels_of_any_band_are_masked(tmp_path):
    images = [image(tmp_path, band) for band in "gr"]
    for one, place in zip(images, ((1, 2), (3, 4)), strict=True):
        one.data[0][place] = np.nan
    images = [replace(one, mask=np.isfinite(one.data[0])) for one in images]
    assert np.argwhere(~stack_bands(images, "gr").mask).tolist() == [[1, 2], [3, 4]]


def test_a_missing_band_is_level_and_named(tmp_path):
    one = image(tmp_path)
    found = stack_bands([None, one, None], ["u", "g", "z"])
    assert found.missing == ("u", "z")
    assert found.bands == ("u", "g", "z")
    assert found.mask is None
    assert (found.data[[0, 2]] == 0).all()
    np.testing.assert_array_equal(found.data[1], one.data[0])
    assert np.isnan(found.wavelength_nm).all()


def test_unit_and_beam_are_known_only_if_shared(tmp_path):
    beam = {"BMAJ": 5 / 3600, "BMIN": 4 / 3600, "BPA": 30.0}
    images = [image(tmp_path, "a", BUNIT="K", **beam), image(tmp_path, "b", BUNIT="Jy", **beam)]
    found = stack_bands(images, "ab")
    assert found.unit is None
    assert found.beam == images[0].beam
    other = image(tmp_path, "c", BUNIT="K", **(beam | {"BPA": 0.0}))
    found = stack_bands([images[0], other], "ac")
    assert found.unit == "K"
    assert np.isnan(found.beam).all()


@pytest.mark.parametrize(
    "scale, size, angle, shift",
    [(1.05, (40, 50), 0.0, (0.5, -0.25)), (1.5, (40, 50), 20.0, (0, 0)), (1.2, (50, 60), 90.0, (3.3, 1.7))],
)
def test_other_grids_are_reprojected_and_keep_surface_brightness(tmp_path, scale, size, angle, shift):
    first = image(tmp_path, "g", header(scale, size, angle, shift), size)
    fine = image(tmp_path, "r")
    found = stack_bands([first, fine], "gr")
    assert found.data.shape == (2, 40, 50)
    expected = scene(header())
    np.testing.assert_array_equal(found.data[1], expected)  # the finest pixels: left as they are
    valid = np.ones((40, 50), bool) if found.mask is None else found.mask
    assert valid[10:30, 10:40].all()
    middle = (slice(10, 30), slice(10, 40))
    assert np.abs(found.data[0] - expected)[middle].max() < 0.03 * expected.max()
    peak = np.unravel_index(found.data[0][middle].argmax(), (20, 30))
    assert np.abs(np.subtract(peak, np.unravel_index(expected[middle].argmax(), (20, 30)))).max() <= 1


def test_the_finest_grid_is_taken(tmp_path):
    images = [image(tmp_path, "a", header(2.0)), image(tmp_path, "b"), image(tmp_path, "c", header(1.005))]
    found = stack_bands(images, "abc")
    assert found.source == images[1].source
    assert found.pixel_scale_arcsec == pytest.approx(1)


def test_outside_the_footprint_and_under_blank_pixels_nothing_is_valid(tmp_path):
    base, moved = image(tmp_path, "a"), image(tmp_path, "b", header(shift=(-20.0, 0)))
    moved.data[0, 20, 12] = np.nan
    moved = replace(moved, mask=np.isfinite(moved.data[0]))
    found = stack_bands([base, moved], "ab")
    assert not found.mask[:, :19].any()  # column 0 of the second is column 20 of the first
    assert not found.mask[20, 32]
    assert found.mask[1:18, 21:].all()


def test_variance_goes_along(tmp_path):
    images = [image(tmp_path, "a"), image(tmp_path, "b", header(1.5))]
    images = [
        replace(one, variance=np.full(one.data.shape, v, np.float32)) for one, v in zip(images, (4, 9), strict=True)
    ]
    found = stack_bands([*images, None], "abc")
    assert found.variance.shape == (3, 40, 50)
    assert (found.variance[0] == 4).all()
    np.testing.assert_allclose(found.variance[1][np.isfinite(found.variance[1])], 9, rtol=1e-6)
    assert np.isnan(found.variance[2]).all()
    assert stack_bands([images[0], replace(images[1], variance=None)], "ab").variance is None


def test_galactic_and_equatorial_maps_meet(tmp_path):
    from astropy.coordinates import SkyCoord

    place = SkyCoord(*PLACE, unit="deg").galactic
    cards = header(1.4) | {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": place.l.deg, "CRVAL2": place.b.deg}
    y, x = np.indices((40, 50))
    sky = WCS(fits.Header(cards)).pixel_to_world(x, y).icrs
    north = (sky.dec.deg - PLACE[1]) * 3600
    found = stack_bands([image(tmp_path, "a"), image(tmp_path, "b", cards, data=north.astype(np.float32))], "ab")
    row = np.arange(40) - 19.5
    np.testing.assert_allclose(found.data[1, 12:28, 25], row[12:28], atol=0.1)


def test_pictures_of_one_size_are_taken_as_aligned():
    one = Image(data=np.ones((1, 4, 5), np.uint8), mask=None, source="a.png")
    two = replace(one, data=np.ones((1, 4, 5), np.float64), source="b.png")
    found = stack_bands([one, two], "ab")
    assert found.data.dtype == np.float64


@pytest.mark.parametrize("which", ["first", "second"])
def test_different_sizes_without_wcs_are_refused(tmp_path, which):
    with_wcs = image(tmp_path, "a")
    without = replace(with_wcs, data=np.zeros((1, 9, 9)), wcs=None, source="b.fits", pixel_scale_arcsec=np.nan)
    images = [without, with_wcs] if which == "first" else [with_wcs, without]
    match = r"'b.fits' and '.*a.fits' are of different sizes, .*, and the first has no WCS; give both a WCS"
    with pytest.raises(DataError, match=match) as refused:
        stack_bands(images, "ab")
    assert re.fullmatch(r"'[^\n;]*; [^\n;]*\.", str(refused.value))


def test_fields_that_do_not_overlap_are_refused(tmp_path):
    images = [image(tmp_path, "a"), image(tmp_path, "b", header(shift=(500.0, 0)), data=np.ones((40, 50)))]
    with pytest.raises(DataError, match=r"'.*b.fits' has no valid pixel in the field of '.*a.fits'; group"):
        stack_bands(images, "ab")


def test_images_of_several_bands_are_refused(tmp_path):
    with pytest.raises(DataError, match="'x' holds 3 bands where one is expected"):
        stack_bands([Image(data=np.zeros((3, 4, 5)), mask=None, source="x")], "a")


@pytest.mark.parametrize("images, bands", [([None, None], "ab"), ([], ""), ([None], "ab")])
def test_no_band_at_all_is_refused(images, bands):
    with pytest.raises(DataError, match="bands need an image each"):
        stack_bands(images, bands)


def test_without_reproject_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "reproject", None)
    with pytest.raises(MissingDependencyError, match=r"common grid needs 'reproject'.*morphospace\[mosaics\]"):
        stack_bands([image(tmp_path, "a"), image(tmp_path, "b", header(1.5))], "ab")


# Files


def test_files_are_read_and_stacked(tmp_path):
    for band in "gr":
        image(tmp_path, f"n1_{band}")
    image(tmp_path, "n2_r")
    one, two = group_bands(sorted(tmp_path.glob("*.fits")), ("g", "r"))
    assert read_bands(one, ("g", "r")).missing == ()
    found = read_bands(two, ("g", "r"))
    assert found.missing == ("g",)
    assert found.data.shape == (2, 40, 50)


def test_the_reader_is_the_callers(tmp_path):
    image(tmp_path, "a_g")

    def doubled(path, *, hdu):
        one = read_image(path, hdu=hdu)
        return replace(one, data=2 * one.data)

    (found,) = group_bands(tmp_path.glob("*.fits"), ("g",))
    np.testing.assert_array_equal(read_bands(found, ("g",), reader=doubled).data[0], 2 * scene(header()))


def test_hdus_are_read_and_stacked(tmp_path):
    hdus = [fits.ImageHDU(np.full((5, 6), i, np.float32), name=f"SCI_{band}") for i, band in enumerate("gr")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "x.fits")
    bands = ("hdu:SCI_{band}", "r", "g")
    (found,) = group_bands([tmp_path / "x.fits"], bands)
    stacked = read_bands(found, bands)
    assert stacked.bands == ("r", "g")
    assert stacked.data[:, 0, 0].tolist() == [1, 0]
