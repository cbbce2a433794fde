"""Cubes: the spectral axis by its name, moments against a line of known flux, place and width, and numpy."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.sky.cubes import (
    CUBE_WAYS,
    CubeReading,
    SpectralAxis,
    channel_noise,
    flatten_cube,
    read_spectral_axis,
)
from morphospace.sky.images import read_image

SKY = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 8.0, "CRPIX2": 6.0}
SKY |= {"CDELT1": -1 / 3600, "CDELT2": 1 / 3600}
VRAD = {"CTYPE3": "VRAD", "CUNIT3": "m/s", "CRVAL3": -3000.0, "CRPIX3": 1.0, "CDELT3": 200.0, "RESTFRQ": 110.201354e9}
FREQ = {"CTYPE3": "FREQ", "CUNIT3": "Hz", "CRVAL3": 230e9, "CRPIX3": 2.0, "CDELT3": -5e5, "RESTFRQ": 229.9e9}
MUSE = {"CTYPE3": "AWAV", "CUNIT3": "Angstrom", "CRVAL3": 4750.0, "CRPIX3": 1.0, "CD3_3": 1.25}
STOKES = {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CRPIX4": 1.0, "CDELT4": 1.0}
VELOCITIES = -3000 + 200 * np.arange(31.0)


def axis(values=VELOCITIES, unit="m/s", kind="velocity", name="VRAD", rest_nm=2.72e6):
    return SpectralAxis(np.asarray(values, float), unit, kind, name, rest_nm)


def line(values=VELOCITIES, flux=7.0, centre=150.0, width=500.0, shape=(12, 14)):
    """A Gaussian line of the same flux, centre and width in each pixel: (Z, H, W)."""
    profile = flux / (width * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((values - centre) / width) ** 2)
    return np.broadcast_to(profile[:, None, None], (len(values), *shape)).astype(np.float64)


def noise(z=31, shape=(12, 14), sigma=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, (z, *shape)).astype(np.float32)


def write(path, data, **cards):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.PrimaryHDU(data, fits.Header(SKY | cards)).writeto(path)
    return path


def spectral(header, shape=(31, 12, 14)):
    return read_spectral_axis({"NAXIS": len(shape)} | header, shape, "x.fits")


# The axis


@pytest.mark.parametrize(
    "cards, name, kind, unit",
    [(VRAD, "VRAD", "velocity", "m/s"), (FREQ, "FREQ", "frequency", "Hz"), (MUSE, "AWAV", "wavelength", "Angstrom")],
)
def test_the_axis_is_that_of_wcslib(cards, name, kind, unit):
    found = spectral(SKY | cards)
    assert (found.name, found.kind, found.unit) == (name, kind, unit)
    header = fits.Header(SKY | cards | {"NAXIS": 3, "WCSAXES": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CD3_3 beside CDELT1
        wcs = WCS(header).sub(["spectral"])
    scale = 1e10 if unit == "Angstrom" else 1
    np.testing.assert_allclose(found.values, wcs.all_pix2world(np.arange(31), 0)[0] * scale, rtol=1e-12)
    np.testing.assert_allclose(found.widths, abs(np.diff(found.values)[0]), rtol=1e-6)


def test_a_turned_or_logarithmic_axis_is_that_of_wcslib():
    cards = {"CTYPE3": "WAVE-LOG", "CUNIT3": "Angstrom", "CRVAL3": 3600.0, "CRPIX3": 1.0, "CDELT3": 0.83}
    found = spectral(SKY | cards)
    np.testing.assert_allclose(found.values, 3600 * np.exp(0.83 / 3600 * np.arange(31)), rtol=1e-10)
    turned = spectral(SKY | VRAD | {"PC3_3": -1.0})
    np.testing.assert_allclose(turned.values, -3000 - 200 * np.arange(31))


def test_felo_is_regular_in_frequency():
    cards = VRAD | {"CTYPE3": "FELO-HEL", "VELREF": 2}
    found = spectral(SKY | cards)
    assert found.kind == "velocity"
    frequency = found.rest_nm / found.wavelength_nm
    step = np.diff(VRAD["RESTFRQ"] / (1 + found.values / 299792458))
    assert np.isfinite(frequency).all()
    np.testing.assert_allclose(step, step[0], rtol=1e-6)
    assert found.values[:2] == pytest.approx([-3000, -2800], abs=0.5)


def test_which_axis_is_spectral_is_said_by_its_name():
    third, fourth = spectral(SKY | FREQ | STOKES, (1, 31, 12, 14)), {}
    fourth = {"CTYPE3": "STOKES"} | {key.replace("3", "4"): value for key, value in FREQ.items()}
    swapped = spectral(SKY | fourth, (31, 1, 12, 14))
    assert third.name == swapped.name == "FREQ"
    np.testing.assert_array_equal(third.values, swapped.values)


@pytest.mark.parametrize("shape", [(12, 14), (1, 12, 14), (1, 1, 12, 14)])
def test_one_plane_is_no_cube(shape):
    assert spectral(SKY | FREQ | STOKES, shape) is None


def test_stokes_planes_are_no_cube():
    assert spectral(SKY | STOKES, (4, 1, 12, 14)) is None


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE3": "VRAD"},
        VRAD | {"CDELT3": 0.0},
        VRAD | {"CRVAL3": "high"},
        VRAD | {"CDELT3": 1e-30},
        VRAD | {"CDELT3": 1e308},
    ],
)
def test_planes_without_values_are_numbered(cards):
    found = spectral(SKY | cards)
    np.testing.assert_array_equal(found.values, np.arange(31))
    assert (found.kind, found.unit, found.labels[:2]) == ("unknown", "", ("0", "1"))
    assert np.isnan(found.wavelength_nm).all()


@pytest.mark.parametrize("order", [("RA---SIN", "FREQ", "DEC--SIN"), ("VRAD", "RA---SIN", "DEC--SIN")])
def test_odd_orders_are_refused(order):
    header = {f"CTYPE{i}": name for i, name in enumerate(order, 1)}
    with pytest.raises(DataError, match=r"'x.fits' has its spectral axis among the first two \(.*\); reorder it"):
        spectral(header)


def test_two_axes_of_planes_are_refused():
    with pytest.raises(DataError, match=r"planes along 2 axes \(31 FREQ x 4 STOKES\); save one Stokes plane"):
        spectral(SKY | FREQ | STOKES, (4, 31, 12, 14))


def test_wavelengths_by_the_three_conventions_of_velocity():
    rest, v, c = 2.6e6, np.array([-3e6, 0.0, 3e6]), 299792458.0
    expected = {"VRAD": rest / (1 - v / c), "VOPT": rest * (1 + v / c), "VELO": rest * np.sqrt((c + v) / (c - v))}
    for name, wavelength in expected.items():
        np.testing.assert_allclose(axis(v, name=name, rest_nm=rest).wavelength_nm, wavelength)
        np.testing.assert_allclose(axis(v / 1000, "km/s", name=name, rest_nm=rest).wavelength_nm, wavelength)
    np.testing.assert_allclose(spectral(SKY | FREQ).wavelength_nm[1], 299792458e9 / 230e9)
    np.testing.assert_allclose(spectral(SKY | MUSE).wavelength_nm[:2], [475, 475.125])
    assert np.isnan(axis(v, rest_nm=np.nan).wavelength_nm).all()
    assert np.isnan(axis(v, "furlong").wavelength_nm).all()


def test_channels_are_named_apart():
    assert spectral(SKY | VRAD).labels[:2] == ("-3.00 km/s", "-2.80 km/s")
    assert spectral(SKY | FREQ).labels[:2] == ("230.00050 GHz", "230.00000 GHz")
    assert spectral(SKY | MUSE).labels[0] == "4750.0 Angstrom"
    for cards in (VRAD, FREQ, MUSE):
        assert len(set(spectral(SKY | cards).labels)) == 31


# The ways


@pytest.mark.parametrize("values", [VELOCITIES, VELOCITIES[::-1], np.sort(VELOCITIES + 40 * np.sin(VELOCITIES))])
def test_moments_of_a_line_of_known_flux_centre_and_width(values):
    found = flatten_cube(line(values), axis(values), "moments", sigma=0)
    assert found.bands == ("moment0", "moment1", "moment2")
    assert found.unit is None
    assert found.data.dtype == np.float32
    np.testing.assert_allclose(found.data[0], 7, rtol=1e-3)
    np.testing.assert_allclose(found.data[1], 150, atol=2)
    np.testing.assert_allclose(found.data[2], 500, atol=2)


def test_a_line_at_a_frequency_keeps_its_digits():
    values = 229.759e9 + 30e3 * np.arange(-50, 50.0)
    cube = line(values, flux=1.0, centre=229.759e9 + 4e3, width=3e5)
    found = flatten_cube(cube, axis(values, "Hz", "frequency", "FREQ"), "moment1", sigma=0)
    np.testing.assert_allclose(found.data - 229.759e9, 4e3, atol=10)
    width = flatten_cube(cube, axis(values, "Hz", "frequency", "FREQ"), "moment2", sigma=0)
    np.testing.assert_allclose(width.data, 3e5, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_moments_equal_numpy(seed):
    cube = noise(seed=seed) + line(flux=3e4).astype(np.float32)
    cube[np.random.default_rng(seed).random(cube.shape) < 0.05] = np.nan
    cube[:, 0, 0] = np.nan
    x = axis()
    threshold = 2.5 * channel_noise(cube)[:, None, None]
    weight = np.where(cube > threshold, cube, 0).astype(float) * 200
    v = VELOCITIES[:, None, None]
    moment0 = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        moment1 = (weight * v).sum(axis=0) / moment0
        moment2 = np.sqrt((weight * (v - moment1) ** 2).sum(axis=0) / moment0)
    moment0[0, 0] = np.nan
    found = flatten_cube(cube, x, "moments", sigma=2.5)
    np.testing.assert_allclose(found.data[0], moment0, rtol=1e-5)
    np.testing.assert_allclose(found.data[1], moment1, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found.data[2], moment2, rtol=1e-3, atol=1)
    for i in range(3):
        one = flatten_cube(cube, x, f"moment{i}", sigma=2.5)
        np.testing.assert_array_equal(one.data[0], found.data[i])


def test_where_nothing_is_above_moment_0_is_0_and_the_others_nan():
    found = flatten_cube(-np.abs(noise()), axis(), "moments").data
    assert (found[0] == 0).all()
    assert np.isnan(found[1:]).all()


def test_without_threshold_every_voxel_counts():
    cube = noise()
    cube[3, 2, 2] = np.nan
    found = flatten_cube(cube, axis(), "moments", sigma=0).data
    total = np.nansum(cube.astype(float), axis=0) * 200
    np.testing.assert_allclose(found[0], total, rtol=1e-4, atol=1e-2)
    assert np.isnan(found[1:, total <= 0]).all()
    assert np.isfinite(found[1, total > 0]).all()


def test_units_are_those_of_brightness_and_axis():
    cube, x = line(), axis()
    units = {how: flatten_cube(cube, x, how, unit="K").unit for how in CUBE_WAYS}
    assert units == dict.fromkeys(("channels", "peak", "pca"), "K") | {
        "moments": None,
        "moment0": "K m/s",
        "moment1": "m/s",
        "moment2": "m/s",
    }
    assert flatten_cube(cube, x, "moment0").unit is None


def test_the_peak_is_the_maximum():
    cube = noise()
    cube[3, 2, 2], cube[:, 0, 0], cube[4, 5, 5] = np.nan, np.nan, np.inf
    clean = np.where(np.isfinite(cube), cube, -np.inf).max(axis=0)
    clean[0, 0] = np.nan
    found = flatten_cube(cube, axis(), "peak")
    np.testing.assert_array_equal(found.data[0], clean)
    assert found.bands == ("peak",)


def test_channels_are_bands_with_wavelengths():
    cube, x = noise(), axis()
    found = flatten_cube(cube, x, "channels", unit="K")
    np.testing.assert_array_equal(found.data, cube)
    assert found.bands == x.labels
    np.testing.assert_allclose(found.wavelength_nm, x.wavelength_nm)


def test_other_ways_have_the_wavelength_of_the_line_or_of_the_middle():
    assert flatten_cube(noise(), axis(), "peak").wavelength_nm == (2.72e6,)
    x = axis(4750 + 10 * np.arange(31.0), "Angstrom", "wavelength", "AWAV", np.nan)
    assert flatten_cube(noise(), x, "pca").wavelength_nm == pytest.approx((490.0,) * 3)


@pytest.mark.parametrize("shape, most", [((12, 14), 4096), ((4, 5), 4096), ((12, 14), 8)])
def test_principal_channels_equal_an_svd(monkeypatch, shape, most):
    """With more pixels than channels, with fewer, and too many of both for a Gram matrix."""
    monkeypatch.setattr("morphospace.sky.cubes._MOST_GRAM", most)
    cube = noise(shape=shape) + line(flux=3e4, shape=shape) * np.linspace(0, 1, shape[1])
    found = flatten_cube(cube, axis(), "pca", components=4)
    assert found.bands == ("pc1", "pc2", "pc3", "pc4")
    x = cube.reshape(31, -1).astype(float)
    x -= x.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    for i in range(4):
        expected = s[i] * vt[i] * np.sign(u[:, i].sum())
        np.testing.assert_allclose(found.data[i].ravel(), expected, rtol=1e-3, atol=1e-3)


def test_principal_channels_find_two_clouds_in_blank_surroundings():
    """Two spectra mixed with known weights: the first two components span them; blank pixels stay blank."""
    y, x = np.indices((20, 20))
    maps = [np.exp(-((y - 6) ** 2 + (x - 6) ** 2) / 8), np.exp(-((y - 13) ** 2 + (x - 13) ** 2) / 8)]
    spectra = [line(centre=c, flux=1e4, shape=(1, 1))[:, 0, 0] for c in (-1000.0, 1500.0)]
    cube = sum(s[:, None, None] * m for s, m in zip(spectra, maps, strict=True)) + noise(shape=(20, 20), sigma=0.01)
    cube[:, :, 0], cube[5] = np.nan, np.nan
    cube[7, 3, 3] = np.nan
    found = flatten_cube(cube, axis(), "pca", components=2).data
    assert np.isnan(found[:, :, 0]).all()
    assert np.isfinite(found[:, :, 1:]).all()
    basis = np.stack([np.ones(380), *(plane[:, 1:].ravel() for plane in found)], axis=1)
    for m in maps:
        rest = m[:, 1:].ravel() - basis @ np.linalg.lstsq(basis, m[:, 1:].ravel(), rcond=None)[0]
        assert rest.std() < 0.03 * m.std()


@pytest.mark.parametrize("sigma", [0.02, 5.0])
def test_the_noise_of_channels(sigma):
    found = channel_noise(noise(shape=(60, 60), sigma=sigma))
    np.testing.assert_allclose(found, sigma, rtol=0.06)


def test_large_planes_are_sampled():
    assert channel_noise(noise(2, (600, 600), sigma=3)) == pytest.approx(3, rel=0.02)
    assert channel_noise(noise(2, (1, 300_000), sigma=3)) == pytest.approx(3, rel=0.02)


def test_a_cloud_that_fills_its_channels_does_not_pass_for_noise():
    y, x = np.indices((60, 60))
    cloud = line(width=800, flux=2e5, shape=(60, 60)) * (1 + np.sin(x / 9) * np.cos(y / 7))
    cube = cloud + noise(shape=(60, 60), seed=5)
    from_channels = 1.4826 * np.median(np.abs(cube[15] - np.median(cube[15])))
    assert from_channels > 20
    assert channel_noise(cube)[15] < 8
    assert channel_noise(cube)[0] == pytest.approx(1, rel=0.1)


def test_a_noisy_channel_keeps_its_noise():
    cube = noise(shape=(60, 60))
    cube[10] *= 6
    assert 3 < channel_noise(cube)[10] <= 6.5


def test_blank_channels_have_no_noise_and_count_nothing():
    cube = noise() + line(flux=3e4)
    cube[15] = np.nan
    assert np.isnan(channel_noise(cube)[15])
    assert np.isfinite(flatten_cube(cube, axis(), "moment0").data).all()
    assert np.isnan(flatten_cube(np.full_like(cube, np.nan), axis(), "moments").data).all()


@pytest.mark.parametrize("how", CUBE_WAYS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "f8"])
def test_any_type_of_pixels(how, dtype):
    cube = (noise(sigma=10) + 60).astype(dtype)
    found = flatten_cube(cube, axis(), how)
    assert found.data.shape == (len(found.bands), 12, 14)
    assert found.data.dtype == np.float32


@pytest.mark.parametrize(
    "options, match",
    [
        ({"how": "moment"}, "cannot be read as 'moment'; did you mean 'moment[s0-2]'"),
        ({"how": "whole"}, "choose one of channels, moments"),
        ({"sigma": -1}, "0 sigma or more; got -1"),
        ({"sigma": np.nan}, "0 sigma or more; got nan"),
        ({"components": 0}, "at least 1 principal channel; got 0"),
    ],
)
def test_bad_readings_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        CubeReading(**options)


def test_bad_cubes_are_refused():
    with pytest.raises(ShapeError, match=r"with the 31 channels of its axis; got shape \(30, 12, 14\)"):
        flatten_cube(noise(30), axis(), "peak")
    with pytest.raises(DataError, match="a cube of 31 channels and 168 pixels has fewer than 99 principal channels"):
        flatten_cube(noise(), axis(), "pca", components=99)


# Files


@pytest.mark.parametrize("shape, more", [((31, 12, 14), {}), ((1, 31, 12, 14), STOKES)])
def test_a_file_becomes_an_image(tmp_path, shape, more):
    cube = noise() + line(flux=3e4).astype(np.float32)
    path = write(tmp_path / "x.fits", cube.reshape(shape), BUNIT="K", OBJECT="L1448", **VRAD, **more)
    image = read_image(path, cube=CubeReading("moment0", sigma=2))
    np.testing.assert_array_equal(image.data, flatten_cube(cube, axis(), "moment0", sigma=2).data)
    assert (image.unit, image.bands, image.object) == ("K m/s", ("moment0",), "L1448")
    assert image.wavelength_nm == pytest.approx((299792458e9 / VRAD["RESTFRQ"],))
    assert image.header["CTYPE3"] == "VRAD"
    assert image.pixel_scale_arcsec == pytest.approx(1)
    channels = read_image(path, cube=CubeReading("channels"))
    assert channels.data.shape == (31, 12, 14)
    assert len(channels.bands) == len(channels.wavelength_nm) == 31


def test_the_mask_shows_where_a_moment_is_unknown(tmp_path):
    cube = noise(sigma=0.1)
    cube[:, 4:8, 4:8] += line(flux=3e4, shape=(4, 4)).astype(np.float32)
    image = read_image(write(tmp_path / "x.fits", cube, **VRAD), cube=CubeReading("moment1", sigma=5))
    assert image.mask is not None
    assert image.mask[4:8, 4:8].all()
    assert image.mask.sum() <= 18


def test_without_a_reading_a_cube_is_refused_with_the_ways(tmp_path):
    path = write(tmp_path / "x.fits", noise(), **VRAD)
    with pytest.raises(DataError) as refused:
        read_image(path)
    assert re.fullmatch(r"'.*' holds a cube of 31 planes [^;\n]*; [^;\n]*\.", str(refused.value))
    assert all(way in str(refused.value) for way in CUBE_WAYS)


def test_what_is_no_cube_is_read_as_ever(tmp_path):
    plane = write(tmp_path / "plane.fits", noise()[0])
    bands = write(tmp_path / "bands.fits", noise(3))
    stokes = write(tmp_path / "stokes.fits", noise(4)[:, None], **STOKES)
    for path in (plane, bands, stokes):
        with_reading, without = read_image(path, cube=CubeReading("peak")), read_image(path)
        np.testing.assert_array_equal(with_reading.data, without.data)
        assert with_reading.bands == without.bands
    few = write(tmp_path / "few.fits", noise(3), **VRAD)
    assert read_image(few, cube=CubeReading("peak")).data.shape == (1, 12, 14)
    many = write(tmp_path / "many.fits", noise(9))
    assert read_image(many, cube=CubeReading("channels")).bands == tuple("012345678")


def test_tile_compressed_cubes(tmp_path):
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise(), fits.Header(SKY | VRAD), quantize_level=0)])
    hdus[1].header["BUNIT"] = "K"
    hdus.writeto(tmp_path / "x.fits")
    with pytest.raises(DataError, match="cube of 31 planes"):
        read_image(tmp_path / "x.fits")
    image = read_image(tmp_path / "x.fits", cube=CubeReading("channels"))
    assert image.bands == axis().labels
    assert image.unit == "K"


@pytest.mark.parametrize(
    "data, cards, match",
    [
        (noise(), {"CTYPE1": "RA---SIN", "CTYPE2": "FREQ", "CTYPE3": "DEC--SIN"}, "spectral axis among the first two"),
        (noise(8).reshape(4, 2, 12, 14), FREQ | STOKES, "planes along 2 axes"),
        (noise(4), VRAD, "cannot be read as pca: a cube of 4 channels and 168 pixels has fewer than 7"),
    ],
)
def test_bad_files_give_one_sentence(tmp_path, data, cards, match):
    path = write(tmp_path / "x.fits", data, **cards)
    with pytest.raises(DataError, match=match) as refused:
        read_image(path, cube=CubeReading("pca", components=7))
    assert re.fullmatch(rf"'{re.escape(str(path))}' [^\n;]*; [^\n;]*\.", str(refused.value))


def test_a_truncated_cube_is_refused(tmp_path):
    path = write(tmp_path / "x.fits", noise(), **VRAD)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match="is truncated"):
        read_image(path, cube=CubeReading())
