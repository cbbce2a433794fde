"""Mask, variance and weight planes: found by HDU or name, with known answers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.io import fits

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.sky.cubes import CubeReading
from morphospace.sky.images import read_image
from morphospace.sky.planes import plane_file, sigma_of, with_planes

SHAPE = (7, 9)


def values(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(60, 12, shape).astype(np.float32)


def write(path, *planes, **named):
    """An image with its planes in further HDUs."""
    hdus = [fits.PrimaryHDU(values()), *(fits.ImageHDU(plane) for plane in planes)]
    hdus += [fits.ImageHDU(plane, name=name) for name, plane in named.items()]
    fits.HDUList(hdus).writeto(path)
    return path


def bad_pixels(*places, dtype=np.int16):
    mask = np.zeros(SHAPE, dtype)
    for place in places:
        mask[place] = 4
    return mask


# Masks


@pytest.mark.parametrize(
    "mask, planes", [("1", "number"), ("DQ", "name"), ("dq", "name"), ("{stem}_mask.fits", "file")]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_what_is_not_zero_is_bad(tmp_path, mask, planes, dtype):
    bad = bad_pixels((1, 2), (3, 4), dtype=dtype)
    if dtype == np.float32:
        bad[5, 6] = np.nan
    path = tmp_path / "x.fits"
    if planes == "file":
        write(path)
        fits.writeto(tmp_path / "x_mask.fits", bad)
    else:
        write(path, **{"DQ": bad})
    found = with_planes(read_image(path), mask=mask)
    np.testing.assert_array_equal(found.mask, bad == 0)
    assert found.variance is None


def test_a_mask_adds_to_what_is_blank(tmp_path):
    data = values(shape=(2, *SHAPE))
    data[1, 0, 0] = np.nan
    fits.writeto(tmp_path / "x.fits", data)
    np.save(tmp_path / "bad.npy", bad_pixels((2, 2)))
    image = read_image(tmp_path / "x.fits")
    found = with_planes(image, mask="bad.npy")
    assert np.argwhere(~found.mask).tolist() == [[0, 0], [2, 2]]
    assert image.mask.sum() == 62  # the image given is as it was


def test_a_mask_per_band_counts_in_every_band(tmp_path):
    fits.writeto(tmp_path / "x.fits", values(shape=(2, *SHAPE)))
    fits.writeto(tmp_path / "m.fits", np.stack([bad_pixels((1, 1)), bad_pixels((2, 2))]))
    found = with_planes(read_image(tmp_path / "x.fits"), mask="m.fits")
    assert np.argwhere(~found.mask).tolist() == [[1, 1], [2, 2]]


def test_a_mask_without_bad_pixels_is_none(tmp_path):
    assert with_planes(read_image(write(tmp_path / "x.fits", bad_pixels())), mask="1").mask is None


def test_without_planes_nothing_changes(tmp_path):
    image = read_image(write(tmp_path / "x.fits"))
    found = with_planes(image)
    assert found.mask is None
    assert found.data is image.data


# Variance and weight


@pytest.mark.parametrize("kind", ["variance", "weight"])
def test_variance_and_its_inverse(tmp_path, kind):
    variance = np.full(SHAPE, 4.0)
    plane = variance if kind == "variance" else 1 / variance
    plane[0, :4] = [0, -1, np.nan, np.inf]
    found = with_planes(read_image(write(tmp_path / "x.fits", plane)), **{kind: "1"})
    assert found.variance.shape == (1, *SHAPE)
    assert found.variance.dtype == np.float32
    expected = variance.astype(np.float32)
    expected[0, :4] = np.nan
    np.testing.assert_array_equal(found.variance[0], expected)
    np.testing.assert_array_equal(found.mask, np.isfinite(expected))
    assert sigma_of(found.variance, found.mask).tolist() == [2.0]


def test_one_plane_holds_for_all_bands(tmp_path):
    fits.writeto(tmp_path / "x_sci.fits", values(shape=(3, *SHAPE)))
    fits.writeto(tmp_path / "x_wht.fits", np.full(SHAPE, 0.25))
    found = with_planes(read_image(tmp_path / "x_sci.fits"), weight="sci:wht")
    assert found.mask is None
    np.testing.assert_array_equal(found.variance, np.full((3, *SHAPE), 4.0))


def test_mask_and_variance_together(tmp_path):
    variance = np.ones(SHAPE)
    variance[6, 8] = 0
    found = with_planes(
        read_image(write(tmp_path / "x.fits", bad_pixels((0, 0)), STAT=variance)), mask="1", variance="STAT"
    )
    assert np.argwhere(~found.mask).tolist() == [[0, 0], [6, 8]]


def test_a_plane_in_another_file_is_in_the_same_hdu(tmp_path):
    for name, first, second in (("x_sci", 0, 60), ("x_var", 1, 9)):
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(np.full(SHAPE, float(v))) for v in (first, second))]
        fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
    image = read_image(tmp_path / "x_sci.fits", hdu=2)
    found = with_planes(image, hdu=2, variance="sci:var")
    assert (found.variance == 9).all()


def test_the_variance_of_a_cube_fits_its_channels(tmp_path):
    header = fits.Header({"CTYPE3": "FREQ", "CRVAL3": 1e11, "CRPIX3": 1.0, "CDELT3": 1e6})
    cube = values(shape=(8, *SHAPE))
    fits.HDUList([fits.PrimaryHDU(cube, header), fits.ImageHDU(cube**2, header, name="STAT")]).writeto(
        tmp_path / "x.fits"
    )
    channels = read_image(tmp_path / "x.fits", cube=CubeReading("channels"))
    np.testing.assert_allclose(with_planes(channels, variance="STAT").variance, cube**2, rtol=1e-6)
    peak = read_image(tmp_path / "x.fits", cube=CubeReading("peak"))
    with pytest.raises(DataError, match=r"variance plane 'STAT' of shape \(8, 7, 9\) beside an image of \(1, 7, 9\)"):
        with_planes(peak, variance="STAT")


# Sigma


def test_sigma_is_the_root_of_the_median_of_what_is_valid():
    variance = np.stack([np.full(SHAPE, 4.0), np.full(SHAPE, np.nan), np.arange(63.0).reshape(SHAPE)])
    variance[0, 0] = [np.nan, np.inf, 0, -1, 1e9, 1e9, 1e9, 1e9, 1e9]
    mask = np.ones(SHAPE, bool)
    mask[3:] = False
    found = sigma_of(variance, mask)
    assert found.dtype == np.float32
    assert found[0] == 2
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(np.sqrt(np.median(np.arange(1, 27))))
    assert sigma_of(np.full((1, 2, 2), 1e-40)) == pytest.approx(1e-20)


@pytest.mark.parametrize("shape, mask", [(SHAPE, None), ((1, *SHAPE), (3, 3))])
def test_sigma_of_other_shapes_is_refused(shape, mask):
    with pytest.raises(ShapeError, match=r"variance must be \(C, H, W\) and its mask \(H, W\)"):
        sigma_of(np.ones(shape), None if mask is None else np.ones(mask, bool))


# Names


@pytest.mark.parametrize(
    "source, plane, expected",
    [
        ("/a/x.fits", "{stem}_mask.fits", "/a/x_mask.fits"),
        ("/a/x.FITS.gz", "{stem}.wht.fits", "/a/x.wht.fits"),
        ("/a/x.y.fits.bz2", "{stem}_m.npy", "/a/x.y_m.npy"),
        ("/a/x.fits", "../masks/{stem}.fits", "/a/../masks/x.fits"),
        ("/a/x.fits", "/m/{stem}.fits", "/m/x.fits"),
        ("/a/x.fits", "flat.fits", "/a/flat.fits"),
        ("/a/sci_sci.fits", "sci:wht", "/a/sci_wht.fits"),
        ("/a/x.fits", "STAT", None),
        ("/a/x.fits", "2", None),
    ],
)
def test_the_name_says_where_a_plane_is(source, plane, expected):
    assert plane_file(source, plane) == expected


# Bad input: one sentence each


@pytest.mark.parametrize(
    "planes, match",
    [
        ({"mask": "DQ"}, r"has no mask plane 'DQ': .* has no image in HDU 'DQ' \(.*\); mend the name"),
        ({"mask": "0"}, "has no mask plane '0' beside its image"),
        (
            {"weight": "{stem}_wht.fits"},
            r"has no weight plane '\{stem\}_wht.fits': '.*x_wht.fits' does not exist; mend",
        ),
        ({"weight": "sci:wht"}, "has no 'sci' in its name to replace"),
        ({"variance": "NAN"}, "has a variance plane 'NAN' without one finite and positive value; leave"),
        ({"variance": "ZERO"}, "has a variance plane 'ZERO' without one finite and positive value; leave"),
        ({"weight": "ZERO"}, "has a weight plane 'ZERO' without one finite and positive value; leave"),
        ({"variance": "nan.fits"}, r"plane 'nan.fits' \(file '.*nan.fits'\) without one finite and positive"),
        ({"variance": "SMALL"}, r"variance plane 'SMALL' of shape \(1, 3, 3\) beside an image of \(1, 7, 9\); give"),
        ({"mask": "SMALL"}, "mask plane 'SMALL' of shape"),
    ],
)
def test_bad_planes_give_one_sentence(tmp_path, planes, match):
    path = write(tmp_path / "x.fits", NAN=np.full(SHAPE, np.nan), ZERO=np.zeros(SHAPE), SMALL=np.ones((3, 3)))
    fits.writeto(tmp_path / "nan.fits", np.full(SHAPE, np.nan))
    with pytest.raises(DataError, match=match) as refused:
        with_planes(read_image(path), **planes)
    assert re.fullmatch(rf"'{re.escape(str(path))}' [^\n;]*; [^\n;]*\.", str(refused.value))


def test_a_damaged_plane_names_its_own_file(tmp_path):
    path = write(tmp_path / "x.fits")
    (tmp_path / "x_mask.fits").write_bytes(path.read_bytes()[:2900])
    with pytest.raises(DataError, match=r"'.*x_mask.fits' is truncated"):
        with_planes(read_image(path), mask="{stem}_mask.fits")


def test_a_picture_has_no_further_hdu(tmp_path):
    np.save(tmp_path / "x.npy", values())
    with pytest.raises(DataError, match="has no mask plane 'DQ' beside its image"):
        with_planes(read_image(tmp_path / "x.npy"), mask="DQ")


@pytest.mark.parametrize(
    "planes, match",
    [
        ({"variance": "A", "weight": "B"}, "variance 'A' and weight 'B' tell the same thing; give one"),
        ({"mask": "{name}.fits"}, r"pattern '\{name\}.fits' of a plane may have the field \{stem\} only"),
        ({"mask": "{stem"}, r"pattern '\{stem' of a plane may have"),
        ({"mask": "{stem.x}"}, "may have the field"),
    ],
)
def test_contradictions_are_refused(tmp_path, planes, match):
    with pytest.raises(ConfigError, match=match):
        with_planes(read_image(write(tmp_path / "x.fits")), **planes)
