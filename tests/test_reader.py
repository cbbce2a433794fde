"""The reader of a curation: each file once, remarks gathered and not shouted."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits

from morphospace.sky.curate import curate
from morphospace.sky.curation import reader as reader_module
from morphospace.sky.curation.reader import Reader
from morphospace.sky.curation.report import REPORT
from morphospace.sky.images import read_image
from sky_files import disc_image, wcs_header, write_bad, write_good


@pytest.fixture
def asked(monkeypatch):
    """Names of the files that were opened."""
    names = []

    def counted(path, **options):
        names.append(path.name)
        return read_image(path, **options)

    monkeypatch.setattr(reader_module, "read_image", counted)
    return names


def odd_file(folder, number):
    """Write a file with a byte in its header that FITS does not allow."""
    folder.mkdir(exist_ok=True)
    file = folder / f"odd{number}.fits"
    fits.writeto(file, disc_image(number), wcs_header(number, 0, OBSERVER="Muller"))
    file.write_bytes(file.read_bytes().replace(b"Muller", b"M\xfcller"))
    return file


def test_what_was_looked_at_before_is_not_read_again(tmp_path, asked):
    files = write_good(tmp_path, 5)
    with Reader(None) as reader:
        assert [image.source for image in reader.peek(files, 3)] == [str(file) for file in files[:3]]
        for file in files:
            np.testing.assert_array_equal(reader.take(file).image.data, read_image(file).data)
    assert asked == [file.name for file in files]


def test_files_that_cannot_be_read_do_not_count_among_the_first(tmp_path, asked):
    bad = write_bad(tmp_path / "bad")
    files = [bad["empty"], bad["missing"], *write_good(tmp_path, 3)]
    reader = Reader(None)
    assert len(reader.peek(files, 2)) == 2
    assert "is empty" in reader.take(bad["empty"]).error
    assert asked == ["empty.fits", "missing.fits", "good0000.fits", "good0001.fits"]


def test_only_so_much_is_kept(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(reader_module, "_AHEAD_BYTES", 2 * 6400)
    files = write_good(tmp_path, 3)
    reader = Reader(None)
    assert len(reader.peek(files, 3)) == 3
    assert all(reader.take(file).image is not None for file in files)
    assert asked == [file.name for file in [*files, files[2]]]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_remarks_are_held_however_quiet_the_log_and_it_is_as_before_afterwards(tmp_path, caplog, level):
    file = odd_file(tmp_path, 1)
    caplog.set_level(level)
    with Reader(None) as reader:
        reading = reader.take(file)
        assert reader.take(write_good(tmp_path, 1)[0]).remarks == ()
    assert reading.remarks == ("header characters that FITS does not allow are read as '?'",)
    assert caplog.text == ""
    read_image(file)
    assert ("does not allow" in caplog.text) is (level == logging.DEBUG)


def test_a_remark_on_many_files_is_one_line_in_log_and_report(tmp_path, caplog):
    for number in range(12):
        odd_file(tmp_path / "in", number)
    with caplog.at_level(logging.WARNING):
        cuts = curate(tmp_path / "in", out=tmp_path / "x.cutouts", columns=["OBSERVER", "OBJECT"])
    assert caplog.messages == ["12 files: header characters that FITS does not allow are read as '?'"]
    assert cuts.table(["OBSERVER"])["OBSERVER"].to_pylist() == ["M?ller"] * 12
    page = (cuts.path / REPORT).read_text()
    assert page.count("header characters that FITS does not allow") == 1
