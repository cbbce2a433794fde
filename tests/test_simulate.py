"""simulate: what all kinds share: rows, beam, noise, background, sizes, colours, files."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import ConfigError, StoreError
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.simulate import KINDS, Sky, simulate, write_fits, write_sky
from morphospace.sky.simulate.observe import FWHM, Beam, crop, expose, noise_field
from morphospace.sky.simulate.profiles import fast_side, round_gaussians
from morphospace.sky.simulate.stage import Draws, Layer, Stage, rotated, unit_sum


def make_stage(n: int = 1, side: int = 64, size: int = 64, x: float = 0.0, y: float = 0.0) -> Stage:
    """Stages whose object lies (x, y) pixels from pixel side // 2."""
    pixel = np.arange(side, dtype=np.float32) - side // 2
    dx = np.repeat((pixel - np.float32(x))[None, None, :], n, 0)
    dy = np.repeat((pixel - np.float32(y))[None, :, None], n, 0)
    rngs = [np.random.default_rng(row) for row in range(n)]
    return Stage(side, np.full(n, float(size)), np.full(n, x), np.full(n, y), dx, dy, rngs)


def moments(image: np.ndarray) -> tuple[float, float, float, float, float]:
    """Centroid x, y and second moments xx, yy, xy, written naively."""
    y, x = np.indices(image.shape, dtype=float)
    total = float(image.sum())
    cx, cy = float((x * image).sum()) / total, float((y * image).sum()) / total
    xx = float(((x - cx) ** 2 * image).sum()) / total
    yy = float(((y - cy) ** 2 * image).sum()) / total
    xy = float(((x - cx) * (y - cy) * image).sum()) / total
    return cx, cy, xx, yy, xy


def split(kind: str, n: int, **options: object) -> tuple[np.ndarray, np.ndarray, Sky]:
    """Source (in sigma, per unit S/N) and noise (in sigma) of the same rows, told apart by two S/N."""
    faint = simulate(kind, n, snr=10.0, **options)
    bright = simulate(kind, n, snr=1010.0, **options)
    sigma = faint.sigma[:, None, None, None]
    source = (bright.images - faint.images) / sigma / 1000
    return source, faint.images / sigma - 10 * source, faint


# ---- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
@pytest.mark.parametrize("bands", [1, 3])
def test_simulate_gives_finite_images_of_the_asked_shape(kind: str, bands: int) -> None:
    sky = simulate(kind, 12, size=33, bands=bands, seed=3)
    assert sky.images.shape == (12, bands, 33, 33)
    assert sky.images.dtype == sky.sigma.dtype == np.float32
    assert np.isfinite(sky.images).all()
    assert len(sky) == 12
    assert len(set(sky.ids)) == 12


@given(start=st.integers(0, 150), n=st.integers(0, 70))
@settings(max_examples=12)
def test_simulate_row_depends_on_seed_and_number_only(start: int, n: int) -> None:
    whole = _whole()
    piece = simulate("mixed", n, size=24, seed=5, start=start, noise="mixed", background=1.0)
    same = slice(start, start + n)
    assert np.array_equal(piece.images, whole.images[same])
    assert list(piece.factors) == list(whole.factors)
    for name, values in piece.factors.items():
        assert values.dtype.kind == whole.factors[name].dtype.kind, name
        assert np.array_equal(values, whole.factors[name][same], equal_nan=values.dtype.kind == "f"), name


def _whole(cache: list[Sky] = []) -> Sky:  # noqa: B006 - made once
    if not cache:
        cache.append(simulate("mixed", 220, size=24, seed=5, noise="mixed", background=1.0))
    return cache[0]


def test_simulate_other_seeds_give_other_skies() -> None:
    one, other = simulate("disc", 4, size=24, seed=0), simulate("disc", 4, size=24, seed=1)
    assert not np.isin(one.factors["pa_deg"], other.factors["pa_deg"]).any()
    assert not np.array_equal(one.images, other.images)


def test_simulate_mixed_holds_every_kind_in_random_order() -> None:
    kinds = simulate("mixed", 500, size=8, beam_px=1.5).factors["kind"]
    names, counts = np.unique(kinds, return_counts=True)
    assert sorted(names) == sorted(KINDS)
    assert counts.min() > 60
    assert len(np.unique(kinds[::5])) == 5  # no cycle that folds by row number would catch
    few = simulate(["disc", "double"], 60, size=8, beam_px=1.5).factors["kind"]
    assert set(few) == {"disc", "double"}


@pytest.mark.parametrize("kind", KINDS)
def test_simulate_factors_are_filled_where_they_apply_only(kind: str) -> None:
    factors = simulate(kind, 200, size=8, beam_px=1.5).factors
    own = set(KINDS[kind].factors)
    painted = {name for k in KINDS.values() for name in k.factors}
    for name in painted - own:
        assert np.isnan(factors[name]).all(), name
    for name in own:
        assert np.isfinite(factors[name]).any(), name
    for name in set(factors) - painted:
        assert factors[name].dtype.kind in "Ui" or np.isfinite(factors[name]).all(), name


def test_simulate_positions_are_all_different() -> None:
    factors = simulate("disc", 400, size=8, beam_px=1.5).factors
    places = SkyCoord(factors["ra"] * u.deg, factors["dec"] * u.deg)
    _, nearest, _ = places.match_to_catalog_sky(places, nthneighbor=2)
    assert nearest.min() > 1 * u.deg


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "nebula"}, "kind of simulate must be one of disc, galaxy"),
        ({"kind": []}, "kind of simulate"),
        ({"n": -1}, "n of simulate must be a whole number of at least 0; got -1"),
        ({"n": 2.5}, "n of simulate"),
        ({"size": 4}, "size of simulate must be a whole number of at least 8"),
        ({"size": (64, 32)}, "size of simulate must be a side"),
        ({"seed": -3}, "seed of simulate"),
        ({"bands": 0}, "bands of simulate"),
        ({"snr": 0.0}, "snr of simulate"),
        ({"snr": (50, 5)}, "snr of simulate"),
        ({"snr": (1, 2, 3)}, "snr of simulate"),
        ({"beam_px": 1.0}, "beam_px of simulate must be a number of at least 1.5"),
        ({"beam_px": float("nan")}, "beam_px of simulate"),
        ({"noise": "pink"}, "noise of simulate must be one of white, beam, mixed"),
        ({"background": -1.0}, "background of simulate"),
    ],
)
def test_simulate_refuses_bad_options(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        simulate(**{"kind": "disc", **options})


def test_simulate_of_no_rows_is_empty_with_all_columns() -> None:
    sky = simulate("mixed", 0, size=16)
    assert sky.images.shape == (0, 1, 16, 16)
    assert list(sky.factors) == list(simulate("mixed", 1, size=16).factors)


# ---- sizes ----------------------------------------------------------------------------------------------------------


def test_simulate_mixed_sizes_pad_with_nan_and_scale_the_objects() -> None:
    sky = simulate("disc", 60, size=(24, 64), seed=2)
    size = sky.factors["size"]
    assert sky.images.shape[-1] == 64
    assert size.min() >= 24
    assert 50 < size.max() <= 64
    assert len(np.unique(size)) > 15
    for row in range(len(sky)):
        assert sky.image(row).shape == (1, size[row], size[row])
        assert np.isfinite(sky.image(row)).all()
        assert np.isfinite(sky.images[row]).sum() == size[row] ** 2
    ratio = sky.factors["radius_px"] / size
    assert np.abs(np.corrcoef(ratio, size)[0, 1]) < 0.35  # the radius in units of the side knows nothing of the side
    offset = (sky.factors["center_x"] - (size - 1) / 2) / size
    assert np.abs(offset).max() <= 0.02


def test_crop_takes_the_middle_into_the_corner() -> None:
    canvas = np.arange(2 * 100, dtype=np.float32).reshape(2, 1, 10, 10)
    cut = crop(canvas, np.array([4.0, 6.0]), largest=6)
    assert np.array_equal(cut[0, 0, :4, :4], canvas[0, 0, 3:7, 3:7])
    assert np.array_equal(cut[1, 0], canvas[1, 0, 2:8, 2:8])
    assert not cut[0, 0, 4:].any()


def test_fast_side_is_even_smooth_and_near() -> None:
    assert [fast_side(n) for n in (2, 7, 64, 71, 77, 122)] == [2, 8, 64, 72, 80, 128]


# ---- light, beam, noise ---------------------------------------------------------------------------------------------


def test_snr_is_the_peak_of_the_object_over_sigma() -> None:
    source, _, sky = split("disc", 20, size=48, seed=1)
    assert np.allclose(source.max(axis=(1, 2, 3)), 1, atol=1e-3)
    assert np.allclose(sky.factors["peak"], 10 * sky.factors["sigma"])
    flux = 10 * sky.sigma * source.sum(axis=(1, 2, 3))
    assert np.allclose(flux, sky.factors["flux"], rtol=1e-3)


def test_snr_counts_the_brightest_band_and_no_companion() -> None:
    source, _, sky = split("elliptical", 60, size=48, bands=3)
    peak = source.max(axis=(1, 2, 3))
    alone = sky.factors["n_companions"] == 0
    assert alone.any()
    assert np.allclose(peak[alone], 1, atol=1e-3)
    assert peak[~alone].max() > 1.2  # a bright star does not make the galaxy fainter
    assert (peak > 0.999).all()


def test_color_is_the_ratio_of_last_to_first_band_in_magnitudes() -> None:
    source, _, sky = split("disc", 10, size=32, bands=4)
    flux = source.sum(axis=(2, 3))
    assert np.allclose(2.5 * np.log10(flux[:, 3] / flux[:, 0]), sky.factors["color_mag"], atol=0.01)
    bulges = simulate("galaxy", 40, size=32, bands=2, snr=1e5).images
    center = bulges[:, :, 15:17, 15:17].mean(axis=(2, 3))
    whole = bulges.mean(axis=(2, 3))
    assert np.median(center[:, 1] / center[:, 0]) > np.median(whole[:, 1] / whole[:, 0])  # red bulges, blue arms


@pytest.mark.parametrize(("noise", "correlation"), [("white", 0.0), ("beam", np.exp(-(FWHM**2) / (4 * 3.0**2)))])
def test_noise_has_the_sigma_and_correlation_of_its_kind(noise: str, correlation: float) -> None:
    _, field, sky = split("disc", 80, size=64, noise=noise, beam_px=3.0, bands=2)
    assert set(sky.factors["noise"]) == {noise}
    assert field.std(axis=(2, 3)).mean() == pytest.approx(1, abs=0.01)
    assert field.std(axis=(2, 3)).std() < 0.06
    assert field.mean() == pytest.approx(0, abs=0.01)
    assert np.mean(field[..., 1:] * field[..., :-1]) == pytest.approx(correlation, abs=0.015)
    assert np.mean(field[:, 0] * field[:, 1]) == pytest.approx(0, abs=0.02)  # bands are independent
    assert np.mean(field[..., 0] * field[..., -1]) == pytest.approx(0, abs=0.03)  # nothing wraps around
    assert 0.49 < sky.sigma.min() < 0.6
    assert 1.7 < sky.sigma.max() < 2.01


def test_noise_mixed_is_beam_noise_in_half_of_the_images() -> None:
    _, field, sky = split("disc", 100, size=48, noise="mixed", beam_px=3.0)
    smooth = np.mean(field[..., 1:] * field[..., :-1], axis=(1, 2, 3)) > 0.25
    assert np.array_equal(smooth, sky.factors["noise"] == "beam")
    assert 30 < smooth.sum() < 70


def test_noise_field_is_scaled_for_each_beam() -> None:
    beam = Beam(np.array([1.5, 6.0]), np.array([1.5, 4.0]), np.array([0.0, 30.0]))
    stage = make_stage(2, side=200)
    field = noise_field(stage, beam, bands=1, correlated=np.array([True, True]))
    assert field.std(axis=(1, 2, 3)) == pytest.approx([1, 1], abs=0.03)


@pytest.mark.parametrize("pa", [0.0, 30.0, 90.0, 135.0])
@pytest.mark.parametrize("soft", [True, False])
def test_beam_has_its_widths_and_position_angle_and_keeps_flux(pa: float, soft: bool) -> None:
    stage = make_stage(x=0.3 if soft else 0.0)
    zero = np.zeros((1, 1))
    if soft:
        point = round_gaussians(stage, dx=zero, dy=zero, width=zero, flux=zero + 1)
    else:
        point = ((stage.dx == 0) & (stage.dy == 0)).astype(np.float32)
    beam = Beam(np.array([5.0]), np.array([3.0]), np.array([pa]))
    image = expose([Layer(point, np.zeros(1), soft)], beam, bands=1)[0, 0]
    assert image.sum() == pytest.approx(1, abs=4e-3)
    cx, _, xx, yy, xy = moments(image)
    assert cx == pytest.approx(32.3 if soft else 32.0, abs=0.01)
    major, minor = (5 / FWHM) ** 2, (3 / FWHM) ** 2
    x, y = -np.sin(np.deg2rad(pa)), np.cos(np.deg2rad(pa))  # north through east, which is left
    assert xx == pytest.approx(major * x * x + minor * y * y, rel=0.01)
    assert yy == pytest.approx(major * y * y + minor * x * x, rel=0.01)
    assert xy == pytest.approx((major - minor) * x * y, abs=0.02)


def test_beam_number_is_round_and_pair_is_a_range() -> None:
    factors = simulate("disc", 300, size=8, beam_px=2.5).factors
    assert np.all(factors["beam_major_px"] == 2.5)
    assert np.all(factors["beam_minor_px"] == 2.5)
    factors = simulate("disc", 300, size=8, beam_px=(1.6, 4.0)).factors
    assert 1.6 <= factors["beam_major_px"].min() < 1.7 < 3.8 < factors["beam_major_px"].max() <= 4.0
    ratio = factors["beam_minor_px"] / factors["beam_major_px"]
    assert 0.75 <= ratio.min() < 0.78
    assert ratio.max() <= 1
    assert factors["beam_minor_px"].min() >= 1.5
    assert factors["beam_pa_deg"].max() > 170


def test_background_is_a_plane_of_the_stated_level_and_slopes() -> None:
    options = {"size": (30, 40), "snr": 20.0, "seed": 4}
    dark, bright = simulate("disc", 20, **options), simulate("disc", 20, background=5.0, **options)
    for row in range(20):
        plane = (bright.image(row) - dark.image(row))[0].astype(float)
        y, x = np.indices(plane.shape) - (len(plane) - 1) / 2
        design = np.stack([np.ones(plane.size), x.ravel(), y.ravel()], axis=1)
        found = np.linalg.lstsq(design, plane.ravel(), rcond=None)[0]
        names = ("background_level", "background_slope_x", "background_slope_y")
        assert found == pytest.approx([bright.factors[name][row] for name in names], abs=1e-4)
    level = np.abs(bright.factors["background_level"] / bright.sigma)
    step = np.hypot(bright.factors["background_slope_x"], bright.factors["background_slope_y"])
    assert 3 < level.max() <= 5
    assert (step * bright.factors["size"] / bright.sigma).max() <= 5 + 1e-6


# ---- draws and stage ------------------------------------------------------------------------------------------------


@given(low=st.floats(-5, 5), width=st.floats(0, 10), seed=st.integers(0, 99))
def test_draws_stay_in_their_range(low: float, width: float, seed: int) -> None:
    draws = Draws(np.random.default_rng(seed).random((200, 5)))
    values = draws.uniform(low, low + width)
    assert ((values >= low) & (values <= low + width)).all()
    values = draws.log_uniform(np.exp(low), np.exp(low + width))
    assert (np.log(values) >= low - 1e-9).all()
    assert (np.log(values) <= low + width + 1e-9).all()
    assert set(draws.integers(2, 4)) <= {2, 3, 4}
    assert 0 < draws.happens(0.5).mean() < 1
    assert set(draws.sign()) == {-1.0, 1.0}


def test_rotated_axes_follow_north_through_east() -> None:
    along, across = rotated(make_stage(side=9), np.array([0.0]))
    assert along[0, 8, 4] == 4  # north is up
    assert across[0, 4, 0] == 4  # 90 degrees on lies east, which is left
    along, _ = rotated(make_stage(side=9), np.array([90.0]))
    assert along[0, 4, 0] == pytest.approx(4)


def test_unit_sum_leaves_an_empty_canvas_empty() -> None:
    scaled = unit_sum(np.stack([np.full((3, 3), 2.0), np.zeros((3, 3))]).astype(np.float32))
    assert scaled.sum(axis=(1, 2)).tolist() == pytest.approx([1.0, 0.0])


# ---- files ----------------------------------------------------------------------------------------------------------


def test_write_sky_keeps_pixels_and_factors(tmp_path) -> None:
    sky = simulate("mixed", 25, size=(16, 24), bands=2, seed=8, background=2.0)
    store = write_sky(sky, tmp_path / "a.cutouts")
    assert store.ids == sky.ids
    table = store.table().to_pandas()
    for name in set(sky.factors) - {"sigma"}:
        given, kept = sky.factors[name], table[name].to_numpy()
        if given.dtype.kind == "f":
            assert np.array_equal(given, kept.astype(float), equal_nan=True), name
        else:
            assert given.tolist() == kept.tolist(), name
    for row, cutout in enumerate(Cutouts.open(tmp_path / "a.cutouts").read(range(25))):
        assert np.array_equal(cutout.image, sky.image(row))
        assert cutout.sigma == pytest.approx([sky.sigma[row]] * 2)
        assert cutout.level == pytest.approx([sky.factors["background_level"][row]] * 2)
        assert cutout.beam[0] == pytest.approx(sky.factors["beam_major_px"][row])
        assert cutout.unit == KINDS[sky.factors["kind"][row]].unit


def test_write_sky_in_pieces_gives_the_same_store(tmp_path) -> None:
    whole = write_sky(simulate("mixed", 20, size=16), tmp_path / "whole")
    pieces = write_sky((simulate("mixed", 5, size=16, start=s) for s in (0, 5, 10, 15)), tmp_path / "pieces")
    assert pieces.fingerprint == whole.fingerprint
    with pytest.raises(StoreError, match="overwrite"):
        write_sky(simulate("disc", 2, size=16), tmp_path / "whole")
    assert len(write_sky(simulate("disc", 2, size=16), tmp_path / "whole", overwrite=True)) == 2


@pytest.mark.parametrize("bands", [1, 3])
def test_write_fits_gives_files_an_observer_can_read(tmp_path, bands: int) -> None:
    sky = simulate("mixed", 6, size=(16, 24), bands=bands, beam_px=(2.0, 4.0))
    files = write_fits(sky, tmp_path / "new" / "fits")
    assert [file.stem for file in files] == sky.ids
    for row, file in enumerate(files):
        data, header = fits.getdata(file, header=True)
        assert data.ndim == (2 if bands == 1 else 3)
        assert np.array_equal(data.reshape(sky.image(row).shape), sky.image(row))
        assert header["OBJECT"] == sky.ids[row]
        assert header["KIND"] == sky.factors["kind"][row]
        assert header["BMAJ"] * 3600 == pytest.approx(sky.factors["beam_major_px"][row])
        assert header["BMIN"] * 3600 == pytest.approx(sky.factors["beam_minor_px"][row])
        assert header["BPA"] == sky.factors["beam_pa_deg"][row]
        assert header["BUNIT"]
        wcs = WCS(header).celestial
        middle = wcs.pixel_to_world((data.shape[-1] - 1) / 2, (data.shape[-2] - 1) / 2)
        assert middle.separation(SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg")).arcsec < 1e-6


def test_write_fits_position_angles_are_those_of_the_sky(tmp_path) -> None:
    sky = simulate("disc", 3, size=32)
    wcs = WCS(fits.getheader(write_fits(sky, tmp_path)[2]))
    pa = np.deg2rad(40.0)
    near, far = wcs.pixel_to_world(15.5, 15.5), wcs.pixel_to_world(15.5 - 9 * np.sin(pa), 15.5 + 9 * np.cos(pa))
    assert near.position_angle(far).deg == pytest.approx(40, abs=0.01)
    assert near.separation(far).arcsec == pytest.approx(9, abs=1e-3)


def test_write_fits_wants_an_empty_folder(tmp_path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty"):
        write_fits(simulate("disc", 1, size=16), tmp_path)
