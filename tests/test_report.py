"""The report: one page that needs nothing else, says everything, and runs nothing of what headers hold."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.io import fits

from morphospace.errors import DataError
from morphospace.sky.curate import curate
from morphospace.sky.curation.charts import histogram
from morphospace.sky.curation.report import REPORT
from morphospace.sky.detect import Detection
from morphospace.sky.flags import DEFINITIONS
from sky_files import disc_image, wcs_header, write_bad, write_good

VOID = {"meta", "br", "img", "rect", "line"}


class Page(HTMLParser):
    """Checks that tags are closed in order; collects tags, their attributes and the text that people see."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.seen = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.seen.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.seen).split())


def report(cuts_or_path):
    path = getattr(cuts_or_path, "path", cuts_or_path)
    return Page((path / REPORT).read_text("utf-8"))


@pytest.fixture
def mixed(tmp_path):
    write_good(tmp_path / "in", 4)
    write_bad(tmp_path / "in")
    shutil.copy(tmp_path / "in" / "good0001.fits", tmp_path / "in" / "twin.fits")
    files = [*sorted((tmp_path / "in").glob("*")), tmp_path / "in" / "missing.fits"]
    return curate(files, out=tmp_path / "x.cutouts")


def test_the_report_accounts_for_every_file(mixed):
    text = report(mixed).text
    assert "14 files came in and gave 8 objects: 4 kept, 4 left out." in text
    assert "6 unreadable files" in text


def test_every_flag_has_its_count_its_description_and_its_rule(mixed):
    page = report(mixed)
    for definition in DEFINITIONS:
        assert definition.rule in page.text
        assert definition.description.capitalize() in page.text
    counts = dict(re.findall(r"([A-Z_]{4,}) (\d+) ", page.text))
    assert counts["CONSTANT"] == "2"
    assert counts["DUPLICATE"] == "1"
    assert counts["MISSING_PIXELS"] == "1"
    assert counts["UNREADABLE"] == "6"
    assert counts["EDGE"] == "0"


def test_what_was_left_out_and_what_cannot_be_read_is_listed_with_its_reason(mixed):
    text = report(mixed).text
    assert "DUPLICATE: the same pixels as 'good0001'" in text
    assert "CONSTANT: all pixels are equal" in text
    assert "does not exist; check the name and the folder" in text
    assert "is empty (0 bytes)" in text


def test_all_unreadable_files_are_listed_however_many(tmp_path):
    (tmp_path / "in").mkdir()
    write_good(tmp_path / "in", 1)
    for number in range(300):
        (tmp_path / "in" / f"bad{number:03d}.fits").write_bytes(b"")
    text = report(curate(tmp_path / "in", out=tmp_path / "x.cutouts")).text
    assert all(f"bad{number:03d}.fits" in text for number in range(300))


def test_the_page_asks_nothing_of_anyone(mixed):
    page = report(mixed)
    sources = [attributes[name] for _, attributes in page.tags for name in ("src", "href") if name in attributes]
    assert len(sources) >= 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    raw = (mixed.path / REPORT).read_text("utf-8")
    assert not re.search(r"https?://|@import|url\(", raw)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}


def test_what_headers_and_names_hold_is_shown_as_text(tmp_path):
    (tmp_path / "in").mkdir()
    nasty = '<script>alert("x")</script>'
    fits.writeto(tmp_path / "in" / "a.fits", disc_image(1), wcs_header(1, 1, OBJECT=nasty, BUNIT="<b>Jy</b>"))
    name = tmp_path / "in" / "b<img onerror=x>&.fits"
    fits.writeto(name, disc_image(2), wcs_header(2, 2))
    (tmp_path / "in" / "<i>.fits").write_bytes(b"")
    page = report(curate(tmp_path / "in", out=tmp_path / "x&y.cutouts"))
    assert nasty in page.text
    assert "<b>Jy</b>" in page.text
    assert "b<img onerror=x>&" in page.text
    assert "<i>.fits" in page.text
    assert not any("onerror" in attributes or tag in ("script", "b<img") for tag, attributes in page.tags)


def test_the_call_is_written_as_it_would_be_typed(tmp_path):
    write_good(tmp_path / "in", 1, size=64)
    cuts = curate(
        tmp_path / "in", out=tmp_path / "x.cutouts", size=48, keep="all", detect=Detection(min_pixels=9, deblend=False)
    )
    source, out = str(tmp_path / "in"), str(cuts.path)
    wanted = f"curate({source!r}, out={out!r}, size=48, detect=Detection(min_pixels=9, deblend=False), keep='all')"
    assert wanted in report(cuts).text


def test_sizes_and_positions_of_what_was_kept_are_told(mixed):
    text = report(mixed).text
    assert "Pixels 40 × 40" in text
    assert "Position on the sky known for 4 of 4" in text
    assert "Pixel scale 1″" in text
    assert "Type float32" in text


def test_a_report_is_written_where_nothing_was_kept(tmp_path):
    bad = write_bad(tmp_path / "in")
    with pytest.raises(DataError):
        curate([bad["empty"]], out=tmp_path / "x.cutouts")
    text = report(tmp_path / "x.cutouts").text
    assert "1 file came in and gave 0 objects: 0 kept, 0 left out." in text


def test_examples_do_not_depend_on_the_order_of_the_files(tmp_path):
    files = write_good(tmp_path / "in", 40)
    names = []
    for number, order in enumerate((files, files[::-1])):
        page = report(curate(order, out=tmp_path / f"{number}.cutouts"))
        names.append([attributes["alt"] for tag, attributes in page.tags if tag == "img"])
    assert names[0] == names[1]
    assert len(names[0]) == 16


# -- charts --------------------------------------------------------------------------------------------------------


def bars(svg):
    return np.array([float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', svg)])


def test_histogram_draws_bars_in_proportion():
    values = np.concatenate([np.full(30, 1.0), np.full(60, 2.0)])
    heights = bars(histogram(values))
    assert len(heights) == 2
    assert heights[1] / heights[0] == pytest.approx(2, rel=0.01)


def test_histogram_uses_a_logarithmic_axis_for_wide_ranges_and_marks_the_limit():
    svg = histogram(np.geomspace(1, 10_000, 200), limit=100.0)
    heights = bars(svg)
    assert heights.max() < 1.5 * heights.min()  # even in the logarithm
    assert 'x1="200.0"' in svg  # the middle
    assert ">10,000<" in svg


def test_histogram_of_nothing_or_of_one_value_is_a_sentence():
    assert "Unknown for all" in histogram(np.array([np.nan, np.inf]))
    assert "150 for all" in histogram(np.array([150.0, 150.0, np.nan]))


def test_histogram_takes_negative_values():
    assert bars(histogram(np.array([-5.0, 0.0, 100.0]))).size == 3
