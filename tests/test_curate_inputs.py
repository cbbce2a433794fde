"""Curation of what is more than one image a file: arrays, bands, planes, cubes, neighbours."""

from __future__ import annotations

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morphospace.sky.curate import curate
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.detect import Detection
from morphospace.sky.flags import Flag
from morphospace.sky.intake import Intake
from sky_files import disc_image, wcs_header


def write_arrays(path, n):
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([disc_image(number) for number in range(n)])
        file["ans"] = np.arange(n) % 3
    return path


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_of_an_array_come_with_their_columns(tmp_path, processes):
    path = write_arrays(tmp_path / "photo.h5", 70)
    cuts = curate(path, out=tmp_path / "x.cutouts", intake=Intake(processes=processes))
    assert len(cuts) == 70
    assert cuts.table(["ans"])["ans"].to_pylist() == [n % 3 for n in range(70)]
    np.testing.assert_array_equal(cuts.read([40])[0].image[0], disc_image(40))


def test_an_array_that_was_curated_is_passed_over(tmp_path):
    path = write_arrays(tmp_path / "photo.h5", 5)
    first = curate(path, out=tmp_path / "x.cutouts")
    assert curate(path, out=tmp_path / "x.cutouts", resume=True).fingerprint == first.fingerprint


def write_with_variance(path, size=40, variance=4.0):
    image = disc_image(1, size)
    planes = [fits.PrimaryHDU(), fits.ImageHDU(image, wcs_header(10, 20, size), name="SCI")]
    spread = np.full(image.shape, variance, np.float32)
    spread[3, 4] = 0
    fits.HDUList([*planes, fits.ImageHDU(spread, name="STAT")]).writeto(path)
    return path


@pytest.mark.parametrize("size", [None, 20, 50])
def test_the_variance_is_kept_and_gives_sigma(tmp_path, size):
    path = write_with_variance(tmp_path / "a.fits")
    intake = Intake(variance="STAT")
    cutout = curate(path, out=tmp_path / "x.cutouts", size=size, hdu="SCI", intake=intake).read([0])[0]
    assert cutout.sigma == (2.0,)
    assert cutout.variance.shape == cutout.image.shape
    assert cutout.variance[0, 10, 10] == 4
    if size is None:
        assert not cutout.mask[3, 4]
        assert Flag.MISSING_PIXELS in Flag(cutout.flags)


def test_detected_sources_have_their_part_of_the_variance(tmp_path):
    path = write_with_variance(tmp_path / "a.fits", size=100)
    intake = Intake(variance="STAT")
    cuts = curate(path, out=tmp_path / "x.cutouts", size=32, hdu="SCI", detect=Detection(), intake=intake)
    cutout = cuts.read([0])[0]
    assert cutout.sigma == (2.0,)
    assert (cutout.variance == 4).all()


def test_a_missing_band_is_flagged_and_its_noise_is_one(tmp_path):
    for name in ("a_g", "a_r", "b_g"):
        fits.writeto(tmp_path / f"{name}.fits", disc_image(ord(name[0])), wcs_header(10, ord(name[0])))
    cuts = curate(tmp_path, out=tmp_path / "x.cutouts", intake=Intake(bands=("g", "r")))
    flags = [Flag(flag) for flag in cuts.table(["flags"])["flags"].to_pylist()]
    assert [Flag.MISSING_BAND in flag for flag in flags] == [False, True]
    lacking = cuts.read([1])[0]
    assert lacking.bands == ("g", "r")
    assert (lacking.level[1], lacking.sigma[1]) == (0, 1)
    assert not lacking.image[1].any()


def test_a_cube_becomes_what_was_asked_for(tmp_path):
    cube = np.random.default_rng(0).normal(0, 1, (12, 30, 30)).astype(np.float32)
    cube[4:8, 12:18, 12:18] += 20
    header = wcs_header(10, 20, 30, CTYPE3="VRAD", CUNIT3="km/s", CRVAL3=0.0, CRPIX3=1.0, CDELT3=1.0)
    fits.writeto(tmp_path / "cube.fits", cube, header)
    cutout = curate(tmp_path, out=tmp_path / "x.cutouts", intake=Intake(cube="peak")).read([0])[0]
    np.testing.assert_array_equal(cutout.image[0], cube.max(axis=0))


def test_companions_are_blanked_when_asked(tmp_path):
    image = disc_image(0, 80, peak=100) + np.roll(disc_image(1, 80, peak=80), (22, 18), (0, 1))
    fits.writeto(tmp_path / "a.fits", image, wcs_header(1, 2, 80))
    kept = curate(tmp_path / "a.fits", out=tmp_path / "k.cutouts").read([0])[0]
    blanked = curate(tmp_path / "a.fits", out=tmp_path / "b.cutouts", intake=Intake(companions="blank")).read([0])[0]
    np.testing.assert_array_equal(kept.image[0], image)
    assert kept.image[0, 61, 57] > 60
    assert blanked.image[0, 61, 57] < 20
    assert blanked.image[0, 39, 39] == image[39, 39]


def test_settings_of_the_intake_are_remembered(tmp_path):
    write_arrays(tmp_path / "photo.h5", 3)
    curate(tmp_path / "photo.h5", out=tmp_path / "x.cutouts", intake=Intake(image_column="images"))
    with pytest.raises(OSError, match=r"was made with intake\.companions='keep', not 'blank'"):
        curate(
            tmp_path / "photo.h5",
            out=tmp_path / "x.cutouts",
            intake=Intake(image_column="images", companions="blank"),
            resume=True,
        )
    assert len(Cutouts.open(tmp_path / "x.cutouts")) == 3


def test_positions_are_cut_out_of_a_mosaic_and_know_their_place_in_it(tmp_path):
    field = np.random.default_rng(0).normal(size=(120, 90)).astype(np.float32)
    field[75:84, 25:34] += 50
    fits.writeto(tmp_path / "tile.fits", field, wcs_header(10, 20, 90))
    place = WCS(fits.getheader(tmp_path / "tile.fits")).pixel_to_world(29.0, 79.0)
    (tmp_path / "table.csv").write_text(f"id,ra,dec,z\na,{place.ra.deg},{place.dec.deg},0.5\nfar,200,-50,0.1\n")
    intake = Intake(mosaics=str(tmp_path / "tile.fits"))
    cuts = curate(tmp_path / "table.csv", out=tmp_path / "x.cutouts", size=21, intake=intake)
    (cutout,) = cuts.read([0])
    assert (cutout.id, cutout.x, cutout.y, cutout.columns["z"]) == ("a", 29.0, 79.0, 0.5)
    np.testing.assert_array_equal(cutout.image[0], field[69:90, 19:40])
    lost = pq.read_table(tmp_path / "x.cutouts/_report/left_out.parquet").to_pylist()
    assert [row["id"] for row in lost] == ["far"]
