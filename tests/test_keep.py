"""What is kept, how files are named, and which header values become columns."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import ConfigError
from morphospace.sky.curation.keep import parse_keep
from morphospace.sky.curation.keywords import check_keywords, column_types, column_values
from morphospace.sky.curation.names import name_files, printable
from morphospace.sky.flags import DEFINITIONS, Flag

# -- keep ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "dropped", "drops_empty"),
    [
        ("all", Flag(0), False),
        ("usable", Flag.CONSTANT | Flag.DUPLICATE, True),
        ("-EDGE,-LOW_SNR", Flag.EDGE | Flag.LOW_SNR, False),
        (" usable , -edge ", Flag.CONSTANT | Flag.DUPLICATE | Flag.EDGE, True),
        ("all,-SAME_OBJECT", Flag.SAME_OBJECT, False),
    ],
)
def test_parse_keep_reads_words_and_flags(keep, dropped, drops_empty):
    parsed = parse_keep(keep)
    assert parsed.dropped == dropped
    assert parsed.drops_empty is drops_empty


def test_clean_drops_every_flag_there_is():
    assert all(definition.flag in parse_keep("clean").dropped for definition in DEFINITIONS)


@pytest.mark.parametrize("keep", ["", "good", "EDGE", "-EDGE,usable", "usable,EDGE"])
def test_parse_keep_refuses_other_words(keep):
    with pytest.raises(ConfigError, match="keep must be all, usable, clean or flags to leave out"):
        parse_keep(keep)


def test_parse_keep_names_the_flags_there_are():
    with pytest.raises(ConfigError, match="unknown flag 'EDGY'; known flags are MISSING_PIXELS, EDGE"):
        parse_keep("-EDGY")


def test_the_reason_names_each_flag_that_is_dropped_and_no_other():
    keep = parse_keep("-EDGE,-LOW_SNR")
    assert keep.reason_against(Flag.SATURATED, 5) is None
    assert keep.reason_against(Flag.EDGE | Flag.SATURATED, 5) == "EDGE: the source touches the border"
    both = keep.reason_against(Flag.EDGE | Flag.LOW_SNR, 5)
    assert both == "EDGE: the source touches the border; LOW_SNR: no pixel stands out of the noise"
    assert keep.reason_against(Flag.MISSING_PIXELS, 0) is None
    assert parse_keep("usable").reason_against(Flag.MISSING_PIXELS, 0) == "MISSING_PIXELS: no pixel is valid"


# -- names ---------------------------------------------------------------------------------------------------------


def names(*files):
    return list(name_files([Path(file) for file in files]).values())


def test_a_name_alone_is_the_id():
    assert names("/d/a.fits", "/d/b.fits.gz", "/d/c.d.FIT.bz2", "/d/e.png") == ["a", "b", "c.d", "e"]


def test_files_of_one_name_get_their_folder_and_others_keep_theirs():
    assert names("/d/x/a.fits", "/d/y/a.fits", "/d/y/b.fits") == ["x/a", "y/a", "b"]


def test_files_of_one_name_and_folder_get_their_suffix():
    assert names("/d/a.fits", "/d/a.png") == ["a.fits", "a.png"]


def test_ids_given_before_stay_and_are_not_given_again():
    taken = {"/old/a.fits": "a"}
    named = name_files([Path("/new/a.fits"), Path("/old/a.fits")], taken)
    assert named == {"/new/a.fits": "new/a", "/old/a.fits": "a"}
    assert name_files([Path("/new/a.fits")], taken) == {"/new/a.fits": "a.fits"}


@given(st.lists(st.from_regex(r"\A/([ab]/){0,2}[ab](\.fits|\.png|\.fits\.gz)\Z"), unique=True), st.randoms())
def test_ids_are_unique_and_do_not_depend_on_the_order(files, random):
    paths = [Path(file) for file in files]
    named = name_files(paths)
    assert len(set(named.values())) == len(files)
    assert name_files(random.sample(paths, len(paths))) == named


def test_a_name_that_is_no_utf8_is_written_out():
    raw = os.fsdecode(b"/d/caf\xe9.fits")
    assert printable(raw) == "/d/caf\\udce9.fits"
    assert names(raw) == ["caf\\udce9"]
    assert printable("/d/café.fits") == "/d/café.fits"


# -- keywords ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], pa.int64()),
        ([1.5, 2.5], pa.float64()),
        ([1, 2.5, None], pa.float64()),
        ([True, False], pa.bool_()),
        (["a", None], pa.string()),
        ([1, "a"], pa.string()),
        ([True, 1], pa.string()),
        ([None, None], pa.string()),
        ([1 + 2j], pa.string()),
    ],
)
def test_values_decide_the_type_in_any_order(values, kind):
    headers = [{} if value is None else {"KEY": value} for value in values]
    assert column_types(["KEY"], headers) == {"KEY": kind}
    assert column_types(["key"], headers[::-1]) == {"key": kind}
    assert column_types([], headers) == {}


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (pa.int64(), 3, 3),
        (pa.int64(), 3.0, 3),
        (pa.float64(), 3, 3.0),
        (pa.string(), 3.5, "3.5"),
        (pa.string(), " GG Tau  ", "GG Tau"),
        (pa.bool_(), True, True),
    ],
)
def test_values_that_fit_are_taken(kind, value, wanted):
    assert column_values({"KEY": kind}, {"KEY": value}) == ({"KEY": wanted}, ())


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.int64(), 3.5), (pa.int64(), 2**70), (pa.float64(), "x"), (pa.bool_(), 1), (pa.int64(), True)],
)
def test_values_that_do_not_fit_are_null_and_told(kind, value):
    values, misfits = column_values({"KEY": kind}, {"KEY": value})
    assert values == {"KEY": None}
    assert misfits == (f"the value of KEY is no {kind}, as those of the first files are; the row has null",)


def test_a_missing_keyword_is_null_without_a_word_and_case_does_not_matter():
    assert column_values({"KEY": pa.int64()}, {}) == ({"KEY": None}, ())
    assert column_values({"key": pa.int64()}, {"KEY": 4}) == ({"key": 4}, ())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [(["EXPTIME", "exptime"], "columns names 'exptime' twice"), (["OBJECT", "ra"], "every store has a column 'ra'")],
)
def test_keywords_that_cannot_be_columns_are_refused(keywords, message):
    with pytest.raises(ConfigError, match=message):
        check_keywords(keywords)


def test_keywords_that_differ_from_columns_of_the_store_are_taken():
    check_keywords(["OBJECT", "RA", "EXPTIME"])
