"""Curation: nothing is lost, nothing is left out without a word, and no order or kill changes the result."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.sky.curate import LEFT_OUT, curate
from morphospace.sky.curation import work
from morphospace.sky.curation.journal import Journal
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.detect import Detection
from morphospace.sky.flags import Flag
from morphospace.sky.images import read_image
from morphospace.sky.intake import Intake
from morphospace.sky.noise import estimate_noise
from morphospace.sky.sources.files import FileSource
from morphospace.sky.thumbs import decode_thumb, load_thumbs
from sky_files import disc_image, wcs_header, write_bad, write_good, write_picture

DATA = Path(__file__).parents[2] / "shared" / "data"


def left_out(store):
    return {row["id"]: row for row in pq.read_table(store / LEFT_OUT).to_pylist()}


def flags_of(cuts):
    table = cuts.table(["id", "flags"])
    return {i: Flag(f) for i, f in zip(table["id"].to_pylist(), table["flags"].to_pylist(), strict=True)}


def rows_of(cuts):
    """All that is in a store, in a form that can be compared: NaN is equal to NaN."""
    return [repr(row) for row in cuts.table(cuts.columns).to_pylist()]


# -- what is kept --------------------------------------------------------------------------------------------------


def test_curate_keeps_pixels_position_and_noise_of_every_image(tmp_path):
    files = write_good(tmp_path / "in", 5)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    assert cuts.ids == [file.stem for file in files]
    for file, cutout in zip(files, cuts.read(range(5)), strict=True):
        data, header = fits.getdata(file), fits.getheader(file)
        np.testing.assert_array_equal(cutout.image[0], data)
        assert cutout.image.dtype == np.float32
        noise = estimate_noise(data[None].astype(np.float32))
        assert cutout.level[0] == pytest.approx(float(noise.level[0]))
        assert cutout.sigma[0] == pytest.approx(float(noise.sigma[0]))
        assert (cutout.ra, cutout.dec) == pytest.approx((header["CRVAL1"], header["CRVAL2"]))
        assert cutout.pixel_scale_arcsec == pytest.approx(1)
        assert (cutout.x, cutout.y) == (19.5, 19.5)
        assert cutout.object == header["OBJECT"]
        assert cutout.group == cutout.id
        assert cutout.flags == 0
        assert cutout.source == str(file)
        assert cutout.hdu == "0"


def test_pandas_and_duckdb_read_the_folder_with_its_report_and_pictures(tmp_path):
    write_good(tmp_path / "in", 3)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    assert (cuts.path / "_report" / "report.html").exists()
    assert len(pd.read_parquet(cuts.path)) == 3
    found = duckdb.sql(f"select id, ra from '{cuts.path}/*.parquet' where id = 'good0001'").fetchall()
    assert found == [("good0001", pytest.approx(1.0))]


def test_a_text_list_with_blank_lines_and_comments_is_read(tmp_path):
    files = write_good(tmp_path / "in", 2)
    listed = tmp_path / "in" / "files.txt"
    listed.write_text(f"\n# mine\n{files[0].name}\n\n   \n{files[1].name}\nmissing.fits\n")
    cuts = curate(listed, out=tmp_path / "x.cutouts")
    assert cuts.ids == ["good0000", "good0001"]
    assert "does not exist" in left_out(cuts.path)["missing"]["reason"]


def test_rows_keep_the_order_of_the_input(tmp_path):
    files = write_good(tmp_path / "in", 6)
    order = [files[i] for i in (3, 0, 5, 1, 4, 2)]
    assert curate(order, out=tmp_path / "x.cutouts").ids == [file.stem for file in order]


def test_two_files_with_one_name_are_two_rows(tmp_path):
    for number, folder in enumerate(("a", "b")):
        write_good(tmp_path / "in" / folder, 1, first=number)[0].rename(tmp_path / "in" / folder / "same.fits")
    assert curate(tmp_path / "in", out=tmp_path / "x.cutouts").ids == ["a/same", "b/same"]


# -- bad input -----------------------------------------------------------------------------------------------------


def test_bad_files_are_told_one_line_each_and_cost_no_good_row(tmp_path):
    good = write_good(tmp_path / "in", 3)
    bad = write_bad(tmp_path / "in")
    cuts = curate([*bad.values(), *good], out=tmp_path / "x.cutouts")
    assert cuts.ids == [file.stem for file in good]
    lost = left_out(cuts.path)
    assert sorted(lost) == sorted(bad)
    for name in ("empty", "truncated", "text", "no_image", "missing", "page"):
        assert Flag(lost[name]["flags"]) == Flag.UNREADABLE
        assert lost[name]["reason"].startswith(f"'{bad[name]}' ")
    assert Flag(lost["constant"]["flags"]) == Flag.CONSTANT
    assert Flag(lost["one_pixel"]["flags"]) == Flag.CONSTANT
    assert Flag(lost["all_nan"]["flags"]) == Flag.MISSING_PIXELS
    assert all("\n" not in row["reason"] for row in lost.values())
    page = (cuts.path / "_report" / "report.html").read_text()
    assert all(name in page for name in bad)


def test_a_folder_with_nothing_to_read_says_so_and_makes_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.md").write_text("hello")
    with pytest.raises(DataError, match="holds no image file"):
        curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    assert not (tmp_path / "x.cutouts").exists()


def test_nothing_kept_is_an_error_that_names_the_first_reason_and_the_report(tmp_path):
    bad = write_bad(tmp_path / "in")
    with pytest.raises(DataError, match=r"of 9 files nothing was kept .*report\.html"):
        curate(list(bad.values()), out=tmp_path / "x.cutouts")
    assert len(left_out(tmp_path / "x.cutouts")) == 9
    assert (tmp_path / "x.cutouts" / "_report" / "report.html").exists()


def test_a_fault_of_our_own_ends_one_image_and_not_the_run(tmp_path, monkeypatch, caplog):
    files = write_good(tmp_path / "in", 3)
    real = work.objects_in

    def broken(image, name, **options):
        if name == "good0001":
            msg = "surprise"
            raise TypeError(msg)
        yield from real(image, name, **options)

    monkeypatch.setattr(work, "objects_in", broken)
    cuts = curate(files, out=tmp_path / "x.cutouts")
    assert cuts.ids == ["good0000", "good0002"]
    assert "could not be measured (TypeError: surprise)" in left_out(cuts.path)["good0001"]["reason"]
    assert "Traceback" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are no UTF-8")
def test_a_file_name_that_is_no_utf8_is_curated(tmp_path):
    file = write_good(tmp_path / "in", 1)[0]
    shutil.copy(file, os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9.fits"))
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", keep="all")
    assert "caf\\udce9" in cuts.ids
    curate(tmp_path / "in", out=tmp_path / "x.cutouts", keep="all", resume=True)


def test_one_file_by_two_paths_is_one_row(tmp_path):
    files = write_good(tmp_path / "in", 2)
    twice = [files[1], files[0], tmp_path / "in" / ".." / "in" / files[1].name]
    assert curate(twice, out=tmp_path / "x.cutouts").ids == ["good0001", "good0000"]


def test_a_full_disk_is_told_in_one_sentence_and_the_store_goes_on_later(tmp_path, monkeypatch):
    write_good(tmp_path / "in", 6)
    real = Journal.add

    def full(self, lines):
        if "good0004" in lines:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, lines)

    monkeypatch.setattr(work, "_PATIENCE_S", 0)
    monkeypatch.setattr(Journal, "add", full)
    with pytest.raises(StoreError, match=r"No space left on device.*go on with resume=True"):
        curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    assert len(Cutouts.open(tmp_path / "x.cutouts")) >= 4
    monkeypatch.setattr(Journal, "add", real)
    again = curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)
    assert again.fingerprint == curate(tmp_path / "in", out=tmp_path / "y.cutouts").fingerprint


# -- keep ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def flagged(tmp_path):
    """One image for each flag that an image can have by itself, one good, and two of one object."""
    folder = tmp_path / "flagged"
    write_good(folder, 1)
    blank = disc_image(1)
    blank[:, :3] = np.nan
    edge = disc_image(2, centre=(1, 20))
    faint = np.random.default_rng(3).normal(0, 1, (40, 40)).clip(-3, 3).astype(np.float32)
    flat = disc_image(4)
    flat[18:22, 18:22] = 99
    images = {"blank": blank, "edge": edge, "faint": faint, "flat": flat, "const": np.ones((9, 9), np.float32)}
    for number, (name, image) in enumerate(images.items(), start=50):
        fits.writeto(folder / f"{name}.fits", image, wcs_header(number, 10))
    again = disc_image(9)
    fits.writeto(folder / "one.fits", again, wcs_header(100, 0))
    fits.writeto(folder / "one_again.fits", disc_image(10), wcs_header(100, 0.5 / 3600))
    fits.writeto(folder / "one_copy.fits", again, wcs_header(100, 0, HISTORY="the same pixels"))
    fits.writeto(folder / "nan.fits", np.full((5, 5), np.nan, np.float32))
    return folder


def test_keep_all_keeps_every_image_with_its_flags(tmp_path, flagged):
    cuts = curate(flagged, out=tmp_path / "x.cutouts", keep="all")
    same = Flag.SAME_OBJECT
    assert flags_of(cuts) == {
        "good0000": Flag(0),
        "blank": Flag.MISSING_PIXELS,
        "edge": Flag.EDGE,
        "faint": Flag.LOW_SNR,
        "flat": Flag.SATURATED,
        "const": Flag.CONSTANT,
        "nan": Flag.MISSING_PIXELS,
        "one": same,
        "one_again": same,
        "one_copy": same | Flag.DUPLICATE,
    }
    assert left_out(cuts.path) == {}
    groups = dict(zip(cuts.ids, cuts.table(["group"])["group"].to_pylist(), strict=True))
    assert {groups[name] for name in ("one", "one_again", "one_copy")} == {"one"}
    assert groups["blank"] == "blank"


def test_keep_usable_leaves_out_constant_duplicate_and_blank(tmp_path, flagged):
    cuts = curate(flagged, out=tmp_path / "x.cutouts")
    assert set(left_out(cuts.path)) == {"const", "one_copy", "nan"}
    assert left_out(cuts.path)["one_copy"]["reason"] == "DUPLICATE: the same pixels as 'one'"
    assert left_out(cuts.path)["nan"]["reason"] == "MISSING_PIXELS: no pixel is valid"


def test_keep_clean_leaves_one_row_of_each_object_and_no_flag(tmp_path, flagged):
    cuts = curate(flagged, out=tmp_path / "x.cutouts", keep="clean")
    assert flags_of(cuts) == {"good0000": Flag(0), "one": Flag(0)}
    assert left_out(cuts.path)["one_again"]["reason"] == "SAME_OBJECT: the same place as 'one'"


def test_keep_leaves_out_the_flags_that_are_named(tmp_path, flagged):
    cuts = curate(flagged, out=tmp_path / "x.cutouts", keep="-EDGE,-LOW_SNR")
    assert set(left_out(cuts.path)) == {"edge", "faint"}


def test_every_image_is_in_the_store_or_among_what_was_left_out(tmp_path, flagged):
    for keep in ("all", "usable", "clean", "-MISSING_PIXELS,-DUPLICATE"):
        cuts = curate(flagged, out=tmp_path / "x.cutouts", keep=keep, overwrite=True)
        lost = left_out(cuts.path)
        assert not set(cuts.ids) & set(lost)
        assert set(cuts.ids) | set(lost) == {file.stem for file in flagged.glob("*.fits")}


def test_rows_without_position_are_grouped_by_object_name_and_not_flagged(tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate(["GG Tau", "gg tau", "IM Lup"]):
        header = fits.Header({"OBJECT": name})
        fits.writeto(tmp_path / "in" / f"{number}.fits", disc_image(number), header)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    assert cuts.table(["group"])["group"].to_pylist() == ["0", "0", "2"]
    assert set(flags_of(cuts).values()) == {Flag(0)}


# -- order ---------------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), keep=st.sampled_from(["all", "usable", "clean", "all,-SAME_OBJECT"]))
def test_results_do_not_depend_on_the_order_of_the_files(tmp_path_factory, seed, keep):
    tmp_path = tmp_path_factory.mktemp("order")
    write_good(tmp_path / "in", 3)
    for name in ("a", "z"):  # copies that sort before and after
        shutil.copy(tmp_path / "in" / "good0001.fits", tmp_path / "in" / f"{name}.fits")
    fits.writeto(tmp_path / "in" / "m.fits", disc_image(77), wcs_header(2, 0.7 / 3600))
    files = sorted((tmp_path / "in").glob("*.fits"))
    straight = curate(files, out=tmp_path / "1.cutouts", keep=keep)
    shuffled = curate(random.Random(seed).sample(files, len(files)), out=tmp_path / "2.cutouts", keep=keep)
    assert sorted(straight.ids) == sorted(shuffled.ids)
    columns = ["id", "flags", "group", "sha256"]
    assert straight.table(columns).sort_by("id").equals(shuffled.table(columns).sort_by("id"))
    assert left_out(straight.path) == left_out(shuffled.path)


# -- size and detection --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20, 21, 40, 41, 64])
def test_size_crops_and_pads_about_the_centre_and_the_sky_stays_true(tmp_path, size):
    file = write_good(tmp_path / "in", 1, first=77)[0]
    (cutout,) = curate(file, out=tmp_path / "x.cutouts", size=size).read([0])
    assert cutout.image.shape == (1, size, size)
    there = WCS(fits.getheader(file)).pixel_to_world(cutout.x, cutout.y)
    assert (cutout.ra, cutout.dec) == pytest.approx((there.ra.deg, there.dec.deg), abs=1e-8)
    here = WCS(fits.Header.fromstring(cutout.wcs)).pixel_to_world((size - 1) / 2, (size - 1) / 2)
    assert here.separation(there).arcsec < 1e-4
    data = fits.getdata(file)
    if size <= 40:
        assert cutout.mask is None
        start = (40 - size) // 2
        np.testing.assert_array_equal(cutout.image[0], data[start : start + size, start : start + size])
        assert cutout.flags == 0
    else:
        assert np.count_nonzero(cutout.mask) == 1600
        np.testing.assert_array_equal(np.sort(cutout.image[0][cutout.mask]), np.sort(data.ravel()))
        assert np.isnan(cutout.image[0][~cutout.mask]).all()
        assert Flag(cutout.flags) == Flag.MISSING_PIXELS


def field_file(folder, places, shape=(200, 240)):
    folder.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).normal(5, 1, shape)
    rows, columns = np.indices(shape)
    for y, x, peak in places:
        image += peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18)
    header = wcs_header(150, 2, OBJECT="a field")
    fits.writeto(folder / "field.fits", image.astype(np.float32), header)
    return folder / "field.fits"


def test_detection_cuts_out_each_source_at_its_place(tmp_path):
    places = [(60, 50, 90), (140.3, 180.6, 60), (3, 120, 40)]
    file = field_file(tmp_path / "in", places)
    cuts = curate(file, out=tmp_path / "x.cutouts", size=32, detect=Detection())
    assert cuts.ids == ["field#0000", "field#0001", "field#0002"]
    wcs = WCS(fits.getheader(file))
    for (y, x, _), cutout in zip(places, cuts.read(range(3)), strict=True):
        assert cutout.image.shape == (1, 32, 32)
        assert (cutout.y, cutout.x) == pytest.approx((y, x), abs=0.9)
        there = wcs.pixel_to_world(cutout.x, cutout.y)
        assert (cutout.ra, cutout.dec) == pytest.approx((there.ra.deg, there.dec.deg), abs=1e-9)
        mine = WCS(fits.Header.fromstring(cutout.wcs)).world_to_pixel(there)
        assert mine == pytest.approx((15.5, 15.5), abs=0.51)
        assert cutout.level[0] == pytest.approx(5, abs=0.15)
        assert cutout.sigma[0] == pytest.approx(1, abs=0.1)
        assert cutout.object is None
    edge = Flag(cuts.read([2])[0].flags)
    assert edge == Flag.EDGE | Flag.MISSING_PIXELS
    assert Flag(cuts.read([0])[0].flags) == Flag(0)


def test_detection_without_a_size_takes_that_of_each_source(tmp_path):
    file = field_file(tmp_path / "in", [(60, 50, 400), (140, 180, 30)])
    big, small = curate(file, out=tmp_path / "x.cutouts", detect=Detection(padding=2)).read([0, 1])
    assert big.image.shape[1] > small.image.shape[1]
    assert big.image.shape[1] == big.image.shape[2]


def test_sources_that_are_close_in_one_file_are_two_objects(tmp_path):
    file = field_file(tmp_path / "in", [(60, 50, 200), (60, 66, 200)])
    cuts = curate(file, out=tmp_path / "x.cutouts", size=32, detect=Detection(), intake=Intake(group_radius_arcsec=60))
    assert cuts.table(["group"])["group"].to_pylist() == ["field#0000", "field#0001"]
    assert not any(Flag.SAME_OBJECT in flags for flags in flags_of(cuts).values())


def test_a_field_in_which_nothing_stands_out_is_accounted_for(tmp_path):
    field_file(tmp_path / "in", []).rename(tmp_path / "in" / "empty_field.fits")
    field_file(tmp_path / "in", [(60, 50, 200)])
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", size=32, detect=Detection())
    assert cuts.ids == ["field#0000"]
    assert left_out(cuts.path)["empty_field"]["reason"] == "no source stands out of the field"


def test_pictures_keep_their_type_and_colours(tmp_path):
    (tmp_path / "in").mkdir()
    picture = write_picture(tmp_path / "in" / "a.png", 1)
    (cutout,) = curate(picture, out=tmp_path / "x.cutouts", size=50).read([0])
    assert cutout.image.dtype == np.uint8
    assert cutout.bands == ("R", "G", "B")
    np.testing.assert_array_equal(cutout.image[:, 5:45, 5:45], read_image(picture).data)
    assert np.count_nonzero(~cutout.mask) == 50 * 50 - 40 * 40


# -- columns -------------------------------------------------------------------------------------------------------


def test_header_keywords_become_typed_columns(tmp_path):
    write_good(tmp_path / "in", 3)
    fits.writeto(tmp_path / "in" / "z.fits", disc_image(9), fits.Header({"EXPTIME": "long"}))
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", columns=["EXPTIME", "NAXIS1", "FILTER9"])
    table = cuts.table(["EXPTIME", "NAXIS1", "FILTER9"])
    assert [str(field.type) for field in table.schema] == ["string", "int64", "string"]
    assert table["NAXIS1"].to_pylist() == [40] * 4
    assert table["FILTER9"].null_count == 4


def test_one_keyword_may_come_as_a_word(tmp_path):
    cuts = curate(write_good(tmp_path / "in", 1), out=tmp_path / "x.cutouts", columns="EXPTIME")
    assert cuts.table(["EXPTIME"])["EXPTIME"].to_pylist() == [0.0]


def test_a_value_that_does_not_fit_is_null_and_in_the_report(tmp_path):
    write_good(tmp_path / "in", 33)
    fits.writeto(tmp_path / "in" / "z.fits", disc_image(99), fits.Header({"EXPTIME": "long"}))
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", columns=["EXPTIME"])
    assert cuts.table(["EXPTIME"])["EXPTIME"].to_pylist()[-2:] == [32.0, None]
    assert "the value of EXPTIME is no double" in (cuts.path / "_report" / "report.html").read_text()


# -- a store that is there -----------------------------------------------------------------------------------------


def test_a_store_that_is_there_is_not_touched_without_a_word(tmp_path):
    write_good(tmp_path / "in", 2)
    first = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    before = first.fingerprint
    with pytest.raises(StoreError, match="is there already; resume=True adds what is new, overwrite=True starts anew"):
        curate(tmp_path / "in", out=tmp_path / "x.cutouts", keep="all")
    assert Cutouts.open(tmp_path / "x.cutouts").fingerprint == before
    assert len(curate(write_good(tmp_path / "other", 1), out=tmp_path / "x.cutouts", overwrite=True)) == 1


def test_resume_takes_only_new_files(tmp_path, monkeypatch):
    write_good(tmp_path / "in", 4)
    write_bad(tmp_path / "in")
    curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    write_good(tmp_path / "in", 2, first=10)
    asked = []

    real = FileSource.read

    def counted(source, row):
        asked.append(Path(source.files[row]).name)
        return real(source, row)

    monkeypatch.setattr(FileSource, "read", counted)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)
    assert asked == ["good0010.fits", "good0011.fits"]
    assert len(cuts) == 6
    once = curate(tmp_path / "in", out=tmp_path / "once.cutouts")
    assert sorted(rows_of(once)) == sorted(rows_of(cuts))
    assert left_out(once.path) == left_out(cuts.path)


def test_resume_with_nothing_new_changes_nothing(tmp_path):
    write_good(tmp_path / "in", 4)
    shutil.copy(tmp_path / "in" / "good0003.fits", tmp_path / "in" / "again.fits")
    first = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    times = {file: file.stat().st_mtime_ns for file in first.path.glob("part-*")}
    second = curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)
    assert second.fingerprint == first.fingerprint
    assert {file: file.stat().st_mtime_ns for file in first.path.glob("part-*")} == times


def test_resume_sees_that_a_new_file_has_the_pixels_of_an_old_one(tmp_path):
    write_good(tmp_path / "in", 3)
    curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    shutil.copy(tmp_path / "in" / "good0001.fits", tmp_path / "in" / "a.fits")  # sorts before the one in the store
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)
    assert sorted(cuts.ids) == ["a", "good0000", "good0002"]
    assert left_out(cuts.path)["good0001"]["reason"] == "DUPLICATE: the same pixels as 'a'"


def test_resume_reads_files_that_have_changed_again(tmp_path):
    files = write_good(tmp_path / "in", 3)
    shutil.copy(files[1], tmp_path / "in" / "z.fits")
    assert len(curate(tmp_path / "in", out=tmp_path / "x.cutouts")) == 3
    fits.writeto(files[1], disc_image(55), wcs_header(1, 0), overwrite=True)
    os.utime(files[1], ns=(1, 1))
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)
    assert sorted(cuts.ids) == ["good0000", "good0001", "good0002", "z"]  # z is no duplicate any more
    (changed,) = cuts.read([cuts.ids.index("good0001")])
    np.testing.assert_array_equal(changed.image[0], disc_image(55))
    assert len(set(load_thumbs(cuts, range(4)))) == 4


def test_resume_reads_a_file_again_that_was_missing(tmp_path):
    files = write_good(tmp_path / "in", 2)
    kept = files[1].read_bytes()
    files[1].unlink()
    assert curate(files, out=tmp_path / "x.cutouts").ids == ["good0000"]
    files[1].write_bytes(kept)
    cuts = curate(files, out=tmp_path / "x.cutouts", resume=True)
    assert cuts.ids == ["good0000", "good0001"]
    assert left_out(cuts.path) == {}


def test_resume_with_other_arguments_is_refused(tmp_path):
    write_good(tmp_path / "in", 2)
    curate(tmp_path / "in", out=tmp_path / "x.cutouts", size=30)
    with pytest.raises(StoreError, match="was made with size=30, not 20; give the same, or overwrite=True"):
        curate(tmp_path / "in", out=tmp_path / "x.cutouts", size=20, resume=True)


def test_resume_without_a_store_begins_one(tmp_path):
    write_good(tmp_path / "in", 2)
    assert len(curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)) == 2


def test_detected_sources_of_a_file_are_taken_up_again_as_a_whole(tmp_path):
    places = [(60, 50, 200), (140, 180, 60)]
    file = field_file(tmp_path / "in", places)
    first = curate(file, out=tmp_path / "x.cutouts", size=32, detect=Detection())
    again = curate(file, out=tmp_path / "x.cutouts", size=32, detect=Detection(), resume=True)
    assert first.fingerprint == again.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be at least 1 pixel; got 0"),
        ({"keep": "good"}, "keep must be all, usable, clean"),
        ({"columns": ["flags"]}, "every store has a column 'flags'"),
        ({"resume": True, "overwrite": True}, "give one of them"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_read(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        curate(tmp_path / "nowhere", out=tmp_path / "x.cutouts", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_radius_arcsec": -1.0}, "'group_radius_arcsec' must be 0 or more; got -1"),
        ({"group_radius_arcsec": float("nan")}, "'group_radius_arcsec' must be 0 or more; got nan"),
        ({"processes": -1}, "'processes' must be 0 or more; got -1"),
        ({"cube_sigma": -1.0}, "'cube_sigma' must be 0 or more"),
        ({"cube_components": 0}, "'cube_components' must be 1 or more"),
        ({"companions": "drop"}, "'companions' must be 'keep' or 'blank'; got 'drop'"),
    ],
)
def test_rarer_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Intake(**options)


# -- kills ---------------------------------------------------------------------------------------------------------

KILLED = """
import sys
import morphospace._parts as parts
parts.PART_BYTES = 200_000
parts.PartWriter.__init__.__kwdefaults__["part_bytes"] = 200_000
parts.PartWriter.__init__.__kwdefaults__["group_bytes"] = 40_000
from morphospace.sky.curate import curate
curate(sys.argv[1], out=sys.argv[2], resume=True)
"""


def run_curate(source, out):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(source, out):
    process = run_curate(source, out)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told.decode()
    return Cutouts.open(out)


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    files = [*write_good(tmp_path / "in", 120), *write_bad(tmp_path / "in").values()]
    for place, name in ((60, "z"), (110, "a")):  # repeats that sort after and before what they repeat
        files.insert(place, tmp_path / "in" / f"{name}.fits")
        shutil.copy(tmp_path / "in" / "good0050.fits", files[place])
    listed = tmp_path / "files.txt"
    listed.write_text("\n".join(map(str, files)))
    whole = finished(listed, tmp_path / "whole.cutouts")
    assert "a" in whole.ids
    assert "good0050" not in whole.ids
    assert len(list(whole.path.glob("part-*.parquet"))) > 3
    out = tmp_path / "killed.cutouts"
    lengths = []
    for parts in (1, 3):
        process = run_curate(listed, out)
        until = time.monotonic() + 120
        while process.poll() is None and len(list(out.glob("part-*.parquet"))) < parts:
            assert time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lengths.append(len(Cutouts.open(out)))
    assert lengths[0] < len(whole)  # at least the first kill struck before the end
    resumed = finished(listed, out)
    assert resumed.ids == whole.ids
    assert rows_of(resumed) == rows_of(whole)
    assert resumed.fingerprint == whole.fingerprint
    assert left_out(resumed.path) == left_out(whole.path)


def test_ctrl_c_leaves_a_store_that_opens_and_goes_on(tmp_path, monkeypatch):
    files = write_good(tmp_path / "in", 5)

    real = FileSource.read

    def interrupted(source, row):
        if source.files[row] == str(files[3]):
            raise KeyboardInterrupt
        return real(source, row)

    monkeypatch.setattr(work, "_PATIENCE_S", 0)
    monkeypatch.setattr(FileSource, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    monkeypatch.setattr(FileSource, "read", real)
    assert Cutouts.open(tmp_path / "x.cutouts").ids == ["good0000", "good0001", "good0002"]
    assert len(curate(tmp_path / "in", out=tmp_path / "x.cutouts", resume=True)) == 5


def test_a_run_broken_off_while_repeats_are_taken_out_goes_on(tmp_path, monkeypatch):
    files = write_good(tmp_path / "in", 8)
    files.append(shutil.copy(files[2], tmp_path / "in" / "a.fits"))  # makes good0002 superfluous at the end
    whole = curate(files, out=tmp_path / "whole.cutouts")
    with monkeypatch.context() as patch:
        stop = SimpleNamespace(ParquetFile=lambda file: os.kill(os.getpid(), signal.SIGINT))
        patch.setattr("morphospace.sky.curation.prune.pq", stop)
        with pytest.raises(KeyboardInterrupt):
            curate(files, out=tmp_path / "x.cutouts")
    assert list((tmp_path / "x.cutouts").glob("_old-*"))
    resumed = curate(files, out=tmp_path / "x.cutouts", resume=True)
    assert resumed.ids == [*(f"good{n:04d}" for n in (0, 1, 3, 4, 5, 6, 7)), "a"]
    assert resumed.fingerprint == whole.fingerprint
    assert not list(resumed.path.glob("_old-*"))


# -- real data -----------------------------------------------------------------------------------------------------


def test_the_untouched_files_of_a_survey_are_read_and_their_blanks_flagged(tmp_path):
    if not (DATA / "radio" / "raw").exists():
        pytest.skip("the folder of real data is not here")
    cuts = curate(DATA / "radio" / "raw", out=tmp_path / "x.cutouts")
    assert len(cuts) == 26
    blank = [name for name, flags in flags_of(cuts).items() if Flag.MISSING_PIXELS in flags]
    truth = [i for i, cutout in zip(cuts.ids, cuts.read(range(26)), strict=True) if np.isnan(cutout.image).any()]
    assert blank == truth
    assert len(blank) == 5
    assert np.isfinite(cuts.table(["ra"])["ra"].to_numpy()).all()


def test_sources_of_a_photographic_plate_lie_where_astropy_says(tmp_path):
    file = DATA / "fields" / "HorseHead.fits"
    if not file.exists():
        pytest.skip("the folder of real data is not here")
    cuts = curate(file, out=tmp_path / "x.cutouts", detect=Detection(min_pixels=200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the header has old cards
        wcs = WCS(fits.getheader(file))
    assert len(cuts) > 10
    for cutout in cuts.read(range(len(cuts))):
        there = wcs.pixel_to_world(cutout.x, cutout.y)
        assert (cutout.ra, cutout.dec) == pytest.approx((there.ra.deg, there.dec.deg), abs=1e-7)


def test_pictures_of_all_rows_are_there(tmp_path):
    write_good(tmp_path / "in", 3)
    cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts")
    assert [decode_thumb(thumb).shape for thumb in load_thumbs(cuts, [2, 0])] == [(40, 40, 3)] * 2
