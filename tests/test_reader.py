"""The reader of a curation: remarks gathered and not shouted."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits

from morphospace.sky.curate import curate
from morphospace.sky.curation.reader import Reader
from morphospace.sky.curation.report import REPORT
from morphospace.sky.images import read_image
from morphospace.sky.sources.files import FileSource
from sky_files import disc_image, wcs_header, write_bad, write_good


def odd_file(folder, number):
    """Write a file with a byte in its header that FITS does not allow."""
    folder.mkdir(exist_ok=True)
    file = folder / f"odd{number}.fits"
    fits.writeto(file, disc_image(number), wcs_header(number, 0, OBSERVER="Muller"))
    file.write_bytes(file.read_bytes().replace(b"Muller", b"M\xfcller"))
    return file


def take(reader, source, row):
    return reader.take(row, source.label(row))


def test_a_row_gives_its_image_or_one_sentence(tmp_path):
    bad = write_bad(tmp_path / "bad")
    source = FileSource([bad["empty"], bad["missing"], *write_good(tmp_path, 1)])
    with Reader(source) as reader:
        assert "is empty" in take(reader, source, 0).error
        assert "does not exist" in take(reader, source, 1).error
        good = take(reader, source, 2)
    assert good.error is None
    np.testing.assert_array_equal(good.image.data, read_image(source.files[2]).data)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_remarks_are_held_however_quiet_the_log_and_it_is_as_before_afterwards(tmp_path, caplog, level):
    file = odd_file(tmp_path, 1)
    caplog.set_level(level)
    source = FileSource([file, *write_good(tmp_path, 1)])
    with Reader(source) as reader:
        reading = take(reader, source, 0)
        assert take(reader, source, 1).remarks == ()
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
