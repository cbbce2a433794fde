"""Tables of positions: every format, the usual names, and what is no position."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from astropy import units as u
from astropy.table import Table

from morphospace.errors import DataError
from morphospace.sky.archives.positions import Position, positions_of

IDS = ["587722982000000123", "0012", "M 51, b"]
RA = [150.1190512345678, 0.0, 359.5]
DEC = [2.2056312345678, -90.0, 90.0]
ROWS = [Position(name, ra, dec, "") for name, ra, dec in zip(IDS, RA, DEC, strict=True)]


def write(path: Path, kind: str, names: tuple[str, str, str] = ("objid", "RA", "Dec")) -> Path:
    columns = dict(zip(names, (IDS, RA, DEC), strict=True))
    if kind == "parquet":
        pa.parquet.write_table(pa.table(columns), path)
    elif kind in ("csv", "tsv"):
        options = pa.csv.WriteOptions(delimiter="," if kind == "csv" else "\t")
        pa.csv.write_csv(pa.table(columns), path, options)
    else:
        Table(columns).write(path, format={"fits": "fits", "vot": "votable", "ecsv": "ascii.ecsv"}[kind])
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "fits", "vot", "ecsv", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    assert positions_of(write(tmp_path / "no-suffix", kind)) == ROWS


@pytest.mark.parametrize(
    "names", [("ID", "RAJ2000", "DEJ2000"), ("source_id", "ra", "dec"), ("name", "ALPHA_J2000", "DELTA_J2000")]
)
def test_usual_names_are_found(tmp_path: Path, names: tuple[str, str, str]) -> None:
    assert positions_of(write(tmp_path / "t.csv", "csv", names)) == ROWS


def test_other_names_can_be_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", "parquet", ("who", "x", "y"))
    assert positions_of(path, ("who", "x", "y")) == ROWS
    with pytest.raises(
        DataError, match=r"t.parquet' has no column 'z'; it has 'who', 'x', 'y'; name one with columns\."
    ):
        positions_of(path, ("who", "x", "z"))


def test_rows_without_ids_are_named_by_their_position(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ra,dec\n150.1190499,2.20563\n0.5,-9\n150.11905,2.205630001\n")
    rows = positions_of(path)
    assert [row.id for row in rows] == ["J150.11905+02.20563", "J000.50000-09.00000", "J150.11905+02.20563"]
    assert [row.wrong for row in rows] == ["", "", "row 1 has the same position"]


def test_declared_units_are_converted(tmp_path: Path) -> None:
    table = Table({"id": ["a"], "ra": [np.pi] * u.rad, "dec": [600.0] * u.arcmin})
    table.write(tmp_path / "t.fits")
    (row,) = positions_of(tmp_path / "t.fits")
    assert (row.ra, row.dec) == pytest.approx((180.0, 10.0), abs=1e-12)


def test_numbers_as_ids_and_masked_values(tmp_path: Path) -> None:
    table = Table({"id": np.array([7, 8]), "ra": np.ma.array([1.0, 2.0], mask=[False, True]), "dec": [3.0, 4.0]})
    table.write(tmp_path / "t.vot", format="votable")
    rows = positions_of(tmp_path / "t.vot")
    assert [(row.id, row.wrong) for row in rows] == [("7", ""), ("8", "no position: ra missing, dec 4.0")]


def test_bad_rows_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,ra,dec\na,1,2\nb,361,2\nc,1,-91\ne,,2\nf,nan,2\n,1,2\na,5,6\ng,1,inf\n")
    assert [row.wrong for row in positions_of(path)] == [
        "",
        "no position: ra 361, dec 2.0",
        "no position: ra 1, dec -91.0",
        "no position: ra missing, dec 2.0",
        "no position: ra missing, dec 2.0",
        "it has no id",
        "row 1 has the same id",
        "no position: ra 1, dec inf",
    ]


def test_sexagesimal_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,ra,dec\na,12:30:00,-00:30:00\nb,12 61 00,+1 0 0\n")
    rows = positions_of(path)
    assert (rows[0].ra, rows[0].dec) == (187.5, -0.5)
    assert rows[1].wrong == "no position: ra 12 61 00, dec +1 0 0"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,flux\n1,2\n", "has no column known as ra; it has 'id', 'flux'; name id, ra and dec with columns."),
        ("id,ra\n1,2\n", "has no column known as dec;"),
        ("id,l,b\n1,2,3\n", "known as ra, and galactic l and b are not taken;"),
        ("id,ra,dec\n", "holds no row"),
        ("id,ra,dec\na,1,95\n", "has no position in its columns 'ra' and 'dec'"),
        ("id,ra,dec\na,here,there\n", "has 'here' in its column 'ra', which is no angle"),
        ("id,ra,dec\n1,2,3\n1,2\n", "cannot be read as a table"),
        ("", "is empty"),
    ],
)
def test_tables_that_cannot_be_used_are_one_sentence(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(told)) as error:
        positions_of(path)
    assert str(error.value).startswith(f"'{path}' ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"SIMPLE  = no", b"PAR1 no", b"<?xml version='1.0'?><html/>", b"\x00\xff" * 300])
def test_damaged_tables_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(DataError, match="t' ") as error:
        positions_of(tmp_path / "t")
    assert "\n" not in str(error.value)


def test_a_wrong_unit_is_one_sentence(tmp_path: Path) -> None:
    Table({"id": ["a"], "ra": [1.0] * u.Jy, "dec": [3.0] * u.deg}).write(tmp_path / "t.fits")
    with pytest.raises(DataError, match=r"has the unit 'Jy' in its column 'ra', which is none of an angle .*; convert"):
        positions_of(tmp_path / "t.fits")


def test_a_table_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist"):
        positions_of(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"is a folder"):
        positions_of(tmp_path)


@pytest.mark.parametrize(
    ("top", "word"), [((23.9, 60.0), "hours"), ((6.2, 1.5), "radians"), ((300.0, 60.0), ""), ((9.0, 60.0), "")]
)
def test_hours_and_radians_are_suspected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, top: tuple[float, float], word: str
) -> None:
    rows: Any = [f"{i},{top[0] * i / 29},{top[1] * i / 29}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["id,ra,dec", *rows]))
    positions_of(tmp_path / "t.csv")
    assert bool(caplog.text) == bool(word)
    assert word in caplog.text
