"""Companions blanked: simulated galaxies whose neighbours are known to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from morphospace.errors import ShapeError
from morphospace.sky.companions import blank_companions
from morphospace.sky.noise import estimate_noise
from morphospace.sky.simulate import galaxies, simulate


def blank(image, mask=None):
    return blank_companions(image, *estimate_noise(image, mask), mask=mask)


@pytest.fixture(scope="module")
def pairs():
    """Galaxies with companions, and the same, noise and all, without."""
    options = {"size": 100, "seed": 3, "snr": (60, 300), "beam_px": 3.0}
    kinds = ["galaxy", "elliptical"]
    with_them = simulate(kinds, 90, **options)
    paint = galaxies._paint_companions

    def dark(draws, stage):
        layers, columns = paint(draws, stage)
        return [layer._replace(light=0 * layer.light) for layer in layers], columns

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(galaxies, "_paint_companions", dark)
        return with_them, simulate(kinds, 90, **options)


def measured(pairs):
    """Number of companions, nearest in radii of the galaxy, change of its flux, and part of theirs that stays."""
    rows = []
    with_them, without = pairs
    known = with_them.factors
    for row, (image, clean) in enumerate(zip(with_them.images, without.images, strict=True)):
        done = blank(image)
        n = int(known["n_companions"][row])
        away = [
            np.hypot(*(known[f"companion{k}_{axis}"][row] - known[f"center_{axis}"][row] for axis in "xy"))
            for k in range(1, n + 1)
        ]
        theirs = (image - clean)[0]
        change = (done.image - clean)[0][done.mask].sum() / known["flux"][row]
        stays = theirs[~done.mask].sum() / theirs.sum() if n else 0.0
        rows.append((n, min(away, default=np.nan) / known["radius_px"][row], abs(change), stays))
    return np.array(rows).T


def test_companions_go_and_the_galaxy_stays(pairs):
    n, away, change, stays = measured(pairs)
    beside = (n > 0) & (away > 3)
    assert np.count_nonzero(beside) > 15
    assert change[beside].max() < 0.02
    assert stays[beside].max() < 0.05
    # within the galaxy, where a companion may lie on an arm, most do as well
    assert np.median(change[n > 0]) < 0.01
    assert np.median(stays[n > 0]) < 0.01
    assert np.quantile(change[n > 0], 0.75) < 0.02
    assert np.quantile(stays[n > 0], 0.75) < 0.05
    # arms are no companions
    assert np.quantile(change[n == 0], 0.8) < 0.02


def test_the_rest_of_the_image_is_untouched_and_the_input_too(pairs):
    image = pairs[0].images[int(np.flatnonzero(pairs[0].factors["n_companions"] == 3)[0])]
    before = image.copy()
    done = blank(image)
    np.testing.assert_array_equal(image, before)
    assert done.mask.any()
    assert done.image.dtype == image.dtype
    np.testing.assert_array_equal(done.image[:, ~done.mask], image[:, ~done.mask])
    again = blank(image)
    np.testing.assert_array_equal(done.image, again.image)
    np.testing.assert_array_equal(done.mask, again.mask)


def scene(*others, seed=0, shape=(90, 110), bands=1, noise=1.0):
    """A round galaxy in the middle and stars at (y, x, peak)."""
    y, x = np.indices(shape)
    galaxy = 200 * np.exp(-np.hypot(y - 44.5, x - 54.5) / 6)
    stars = sum((p * np.exp(-((y - b) ** 2 + (x - a) ** 2) / (2 * 1.5**2)) for b, a, p in others), np.zeros(shape))
    rng = np.random.default_rng(seed)
    image = np.stack([100 + galaxy + stars + rng.normal(0, noise, shape) for _ in range(bands)])
    return image.astype(np.float32), galaxy, stars


@pytest.mark.parametrize("bands", [1, 3])
def test_what_replaces_a_star_on_the_sky_is_like_the_sky(bands):
    image, galaxy, stars = scene((15, 20, 500.0), (70, 95, 80.0), bands=bands)
    done = blank(image)
    assert done.mask.shape == image.shape[1:]
    assert stars[~done.mask].sum() < 0.01 * stars.sum()
    replaced = done.image[:, done.mask] - galaxy[done.mask]
    assert replaced.mean() == pytest.approx(100, abs=0.3)
    assert replaced.std() == pytest.approx(1, abs=0.25)


def test_a_star_over_the_galaxy_leaves_the_galaxys_own_light():
    image, galaxy, stars = scene((52, 66, 400.0))
    done = blank(image)
    assert stars[~done.mask].sum() < 0.02 * stars.sum()
    rest = (done.image[0] - 100 - galaxy)[done.mask]
    assert abs(rest.sum()) < 0.02 * galaxy.sum()
    assert galaxy[done.mask].sum() > 0.02 * galaxy.sum()  # the control: plain sky would have left a hole


def test_stars_opposite_to_each_other_become_sky():
    image, _, stars = scene((15, 20, 500.0), (74, 89, 100.0))
    done = blank(image)
    bright = stars > 200
    assert done.mask[bright].all()
    # beyond the border there is no opposite pixel: an off-centre galaxy's far corner is drawn from the sky
    corner = blank(np.ascontiguousarray(image[:, :, 10:]))
    assert np.abs(corner.image[0][corner.mask] - 100).max() < 110


def test_a_lone_galaxy_and_noise_alone_are_left_as_they_are():
    for image in (scene()[0], np.random.default_rng(1).normal(0, 1, (1, 64, 64))):
        done = blank(image)
        assert not done.mask.any()
        np.testing.assert_array_equal(done.image, image)


def test_pixels_that_are_not_valid_are_neither_read_nor_written():
    image, _, stars = scene((15, 20, 500.0), (70, 30, 300.0))
    image[0, 60:80, 70:100] = np.nan  # opposite of the first star
    mask = np.ones(image.shape[1:], dtype=bool)
    mask[0:5] = False
    image[0, 2, 2] = 1e9
    done = blank(image, mask & np.isfinite(image[0]))
    np.testing.assert_array_equal(np.isnan(done.image), np.isnan(image))
    np.testing.assert_array_equal(done.image[:, :5], image[:, :5])
    assert done.image[0][done.mask].max() < 110
    assert stars[~done.mask].sum() < 0.02 * stars.sum()


def test_integers_stay_integers():
    image = np.rint(scene((15, 20, 500.0), noise=3.0)[0]).astype(np.int16)
    done = blank(image)
    assert done.image.dtype == np.int16
    assert done.mask[15, 20]
    assert abs(int(done.image[0, 15, 20]) - 100) < 15


def test_nothing_is_replaced_where_there_is_no_noise():
    image = np.zeros((1, 50, 50), dtype=np.float32)
    image[0, 20:30, 20:30] = 5
    image[0, 5:8, 5:8] = 3
    assert not blank(image).mask.any()
    assert not blank(np.full((1, 40, 40), np.nan, dtype=np.float32)).mask.any()


@pytest.mark.parametrize(
    ("shape", "bands", "mask", "message"),
    [
        ((40, 40), 1, None, r"image must be \(C, H, W\)"),
        ((1, 40, 40), 2, None, "level must have one value per band"),
        ((1, 40, 40), 1, (40, 41), r"mask must be \(H, W\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(shape, bands, mask, message):
    good = None if mask is None else np.ones(mask, dtype=bool)
    with pytest.raises(ShapeError, match=message):
        blank_companions(np.zeros(shape), np.zeros(bands), np.ones(bands), mask=good)
