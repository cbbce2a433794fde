"""Cut-outs by position, against a server on loopback that behaves as the services do on bad days."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

import morphospace as ms
from archive_server import Answer, Asked, Server, in_turn, running
from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.sky.archives import web
from morphospace.sky.archives.fetch import _file_name
from morphospace.sky.archives.surveys import choose, cutout_url
from morphospace.sky.intake import Intake
from morphospace.sky.sources import open_source

PLACES = [("a", 10.0, -5.0), ("b/1", 150.5, 2.25), ("0012", 359.99999, 89.0), ("ü", 200.0, 0.0)]
DOCS = Path(__file__).parents[1] / "docs" / "getting-data.md"
HIPS = "CDS/P/DSS2/red"


def stamp(ra: float, dec: float, format: str = "fits", n: int = 8) -> bytes:
    """Return the image that the server cuts out at a position: it tells which one it is."""
    pixels = np.full((n, n), ra, dtype=np.float32)
    pixels[0, 0] = dec
    stream = io.BytesIO()
    if format == "fits":
        fits.PrimaryHDU(pixels).writeto(stream)
    else:
        Picture.fromarray(np.uint8(pixels % 255)).save(stream, "JPEG")
    return stream.getvalue()


def cut_out(asked: Asked) -> Answer:
    return Answer(stamp(float(asked.query["ra"]), float(asked.query["dec"]), asked.query.get("format", "jpg")))


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.routes["/cut"] = cut_out
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACKOFF_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "places.csv"
    path.write_text("id,ra,dec\n" + "".join(f"{name},{ra},{dec}\n" for name, ra, dec in PLACES), "utf-8")
    return path


def get(server: Server, table: Path, out: Path, **options: object) -> object:
    settings = {"survey": HIPS, "per_second": 50, "url": f"{server.url}/cut", "size_arcsec": 8, **options}
    return ms.fetch(table, out=out, **settings)  # type: ignore[arg-type]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "fetched.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def spoil(server: Server, ra: float, *answers: Answer) -> None:
    """Let the server give these answers at one position, and good ones elsewhere."""
    route = in_turn(*answers)
    server.routes["/cut"] = lambda asked: route(asked) if float(asked.query["ra"]) == ra else cut_out(asked)


# what works


@pytest.mark.parametrize("format", ["fits", "jpg"])
def test_every_position_gets_its_file_and_its_row(server: Server, table: Path, tmp_path: Path, format: str) -> None:
    done = get(server, table, tmp_path / "out", format=format)
    assert (done.n, done.new, done.passed_over, done.failed) == (4, 4, 0, 0)  # type: ignore[attr-defined]
    listed = rows(tmp_path / "out")
    assert [(r["id"], float(r["ra"]), float(r["dec"]), r["status"], r["reason"]) for r in listed] == [
        (name, ra, dec, "fetched", "") for name, ra, dec in PLACES
    ]
    for row, (_, ra, dec) in zip(listed, PLACES, strict=True):
        assert (tmp_path / "out" / row["file"]).read_bytes() == stamp(ra, dec, format)
    assert listed[0]["file"] == f"a.{format}"
    assert listed[2]["file"] == f"0012.{format}"
    assert {a.headers["user-agent"] for a in server.asked} == {f"morphospace/{ms.__version__}"}


def test_services_are_asked_as_they_want_it() -> None:
    def asked(name: str, **options: object) -> str:
        settings = {"size_arcsec": 60.0, "pixels": None, "format": None, "bands": "", "url": "", **options}
        return cutout_url(choose(name, **settings), 150.1, -2.25)  # type: ignore[arg-type]

    assert asked("CDS/P/DSS2/red", pixels=30) == (
        "https://alasky.cds.unistra.fr/hips-image-services/hips2fits?ra=150.1000000&dec=-2.2500000&"
        "hips=CDS%2FP%2FDSS2%2Fred&width=30&height=30&fov=0.0166666667&projection=TAN&coordsys=icrs&format=fits"
    )
    assert asked("sdss", size_arcsec=39.6) == (
        "https://skyserver.sdss.org/dr18/SkyServerWS/ImgCutout/getjpeg?ra=150.1000000&dec=-2.2500000&"
        "scale=0.396&width=100&height=100"
    )
    assert asked("ls-dr10", size_arcsec=26.2, bands="grz") == (
        "https://www.legacysurvey.org/viewer/fits-cutout?ra=150.1000000&dec=-2.2500000&"
        "layer=ls-dr10&pixscale=0.262&size=100&bands=grz"
    )
    assert asked("ls-dr9-north", format="jpg", pixels=50) == (
        "https://www.legacysurvey.org/viewer/jpeg-cutout?ra=150.1000000&dec=-2.2500000&"
        "layer=ls-dr9-north&pixscale=1.2&size=50"
    )
    assert asked("X/Y", pixels=9, url="http://mirror/x?key=1").startswith("http://mirror/x?key=1&ra=")


def test_the_page_names_every_service_and_survey() -> None:
    from morphospace.sky.archives import surveys

    tables = surveys.tomllib.loads(surveys._SURVEYS.read_text())
    page = DOCS.read_text()
    assert [name for name in tables["survey"] if f"`{name}`" not in page] == []
    assert [a for service in tables["service"].values() for a in service["url"].values() if a not in page] == []


def test_files_that_are_there_are_passed_over_and_what_failed_is_tried_again(
    server: Server, table: Path, tmp_path: Path
) -> None:
    spoil(server, 150.5, Answer(b"nothing here", status=404))
    done = get(server, table, tmp_path / "out")
    assert (done.new, done.failed) == (3, 1)  # type: ignore[attr-defined]
    assert "answered 404 (Not Found)" in rows(tmp_path / "out")[1]["reason"]
    server.routes["/cut"] = cut_out
    server.asked.clear()
    again = get(server, table, tmp_path / "out")
    assert (again.new, again.passed_over, again.failed) == (1, 3, 0)  # type: ignore[attr-defined]
    assert [a.query["ra"] for a in server.asked] == ["150.5000000"]
    assert {row["status"] for row in rows(tmp_path / "out")} == {"fetched"}


def test_a_grown_table_asks_for_what_is_new_and_a_moved_position_is_fetched_again(
    server: Server, table: Path, tmp_path: Path
) -> None:
    get(server, table, tmp_path / "out")
    server.asked.clear()
    table.write_text("id,ra,dec\nnew,1,2\na,11.0,-5.0\n0012,359.99999,89.0\n")
    done = get(server, table, tmp_path / "out")
    assert (done.new, done.passed_over) == (2, 1)  # type: ignore[attr-defined]
    assert (tmp_path / "out" / "a.fits").read_bytes() == stamp(11.0, -5.0)
    assert [row["id"] for row in rows(tmp_path / "out")] == ["new", "a", "0012", "b/1", "ü"]


def test_a_position_that_moved_where_nothing_is_loses_its_file(server: Server, table: Path, tmp_path: Path) -> None:
    get(server, table, tmp_path / "out")
    table.write_text("id,ra,dec\na,11.0,-5.0\n")
    spoil(server, 11.0, Answer(status=404))
    for _ in range(2):
        assert get(server, table, tmp_path / "out").failed == 1  # type: ignore[attr-defined]
    assert not (tmp_path / "out" / "a.fits").exists()


def test_a_service_is_asked_no_faster_than_told(server: Server, table: Path, tmp_path: Path) -> None:
    get(server, table, tmp_path / "out", per_second=10)
    times = [a.at for a in server.asked]
    assert min(np.diff(times)) > 0.08


def test_a_busy_service_is_waited_for(
    server: Server, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    good = Answer(stamp(10.0, -5.0))
    busy = Answer(status=503)
    spoil(server, 10.0, Answer(status=429, headers={"Retry-After": "9"}), busy, busy, busy, good)
    assert get(server, table, tmp_path / "out").new == 4  # type: ignore[attr-defined]
    assert [round(w, 2) for w in waits if w in (9, 0.02, 0.04, 0.08)] == [9, 0.02, 0.04, 0.08]


SCRIPT = """
import sys
import morphospace as ms
ms.fetch(sys.argv[1], survey="X/Y", out=sys.argv[2], url=sys.argv[3], pixels=8, per_second=50)
"""


def test_a_killed_fetch_goes_on_and_gives_the_same_folder(server: Server, tmp_path: Path) -> None:
    table = tmp_path / "many.csv"
    table.write_text("id,ra,dec\n" + "".join(f"o{i},{i}.5,{i - 20}\n" for i in range(16)) + "bad,400,0\n")
    gate = threading.Event()

    def held(asked: Asked) -> Answer:
        if len(server.asked) >= 7:
            gate.wait(60)
        return cut_out(asked)

    server.routes["/cut"] = held
    words = [sys.executable, "-c", SCRIPT, str(table), str(tmp_path / "out"), f"{server.url}/cut"]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1", "no_proxy": "127.0.0.1"})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(server.asked) < 7:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    gate.set()
    with (tmp_path / "out" / "fetched.csv").open("a") as stream:
        stream.write("o9,9.5000000,-11.000")  # a line that a kill cut
    server.asked.clear()
    subprocess.run(words, check=True, timeout=120, env={**os.environ, "no_proxy": "127.0.0.1"})
    assert len(server.asked) == 16 - 6
    get(server, table, tmp_path / "whole", survey="X/Y", pixels=8, size_arcsec=60)
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if not p.name.endswith(".tmp")) == names
    assert all((tmp_path / "out" / n).read_bytes() == (tmp_path / "whole" / n).read_bytes() for n in names)


# what goes wrong


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            (Answer(b"<html><title>Oops</title>No <b>data</b></html>"),),
            r"a web page and not a fits image: 'Oops No data'",
        ),
        ((Answer(b"outside of the survey"),), "something else and not a fits image: 'outside of the survey'"),
        ((Answer(b""),), "the service sent nothing"),
        ((Answer(stamp(1, 2, "jpg")),), "something else and not a fits image"),
        ((Answer(stamp(1, 2)[:3000]),), "the image is truncated"),
        ((Answer(stamp(1, 2), cut=3000),), "the connection was cut after 3,000 of 5,760 bytes"),
        ((Answer(stamp(1, 2), cut=3000, length=False),), "the image is truncated"),
        ((Answer(stamp(1, 2, n=9)),), "the service sent 9 x 9 pixels, not the 8 x 8 it was asked for"),
        ((Answer(status=400),), r"answered 400 \(Bad Request\)"),
        ((Answer(status=500),), r"answered 500 \(Internal Server Error\)"),
        ((Answer(status=302, headers={"Location": "file:///etc/passwd"}),), "not allowed|unknown url type"),
    ],
)
def test_a_bad_answer_is_a_row_with_its_reason(
    server: Server, table: Path, tmp_path: Path, answers: tuple[Answer, ...], told: str
) -> None:
    spoil(server, 150.5, *answers)
    done = get(server, table, tmp_path / "out")
    assert (done.new, done.failed) == (3, 1)  # type: ignore[attr-defined]
    row = rows(tmp_path / "out")[1]
    assert (row["id"], row["file"], row["status"]) == ("b/1", "", "failed")
    assert re.search(told, row["reason"])
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".csv", ".fits", ".fits", ".fits", ".json"]


def test_bad_positions_are_rows_and_are_not_asked_for(server: Server, table: Path, tmp_path: Path) -> None:
    with table.open("a") as stream:
        stream.write("far,400,0\na,1,1\n")
    done = get(server, table, tmp_path / "out")
    assert (done.new, done.failed) == (4, 2)  # type: ignore[attr-defined]
    assert len(server.asked) == 4
    listed = rows(tmp_path / "out")
    assert listed[4]["reason"] == "no position: ra 400.0, dec 0.0"
    assert listed[5]["reason"] == "row 1 has the same id"
    again = get(server, table, tmp_path / "out")
    assert (again.passed_over, again.failed) == (4, 2)  # type: ignore[attr-defined]
    assert rows(tmp_path / "out") == listed


def test_a_service_that_is_silent_is_left_alone_and_what_came_is_kept(
    server: Server, table: Path, tmp_path: Path
) -> None:
    server.routes["/cut"] = lambda asked: cut_out(asked) if asked.query["ra"] == "10.0000000" else Answer(status=503)
    with pytest.raises(DataError, match=r"gave no answer for 3 positions in a row \(127.0.0.1 answered 503 .*1 of 4"):
        get(server, table, tmp_path / "out")
    assert [row["status"] for row in rows(tmp_path / "out")] == ["fetched", "failed", "failed", "failed"]
    server.routes["/cut"] = cut_out
    assert get(server, table, tmp_path / "out").new == 3  # type: ignore[attr-defined]


def test_positions_outside_of_a_survey_are_warned_of(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.csv").write_text("id,ra,dec\n" + "".join(f"{i},{i},0\n" for i in range(12)))
    server.routes["/cut"] = lambda asked: Answer(status=404)
    assert get(server, tmp_path / "t.csv", tmp_path / "out").failed == 12  # type: ignore[attr-defined]
    assert caplog.text.count("none of the first 10 positions gave an image") == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"survey": "sdsss"}, "there is no survey 'sdsss'; did you mean 'sdss'"),
        ({"survey": "sdss", "format": "fits"}, "sdss comes as jpg only, not as fits"),
        ({"bands": "grz"}, "bands='grz' is for layers of the Legacy Survey"),
        ({"survey": "X/Y"}, "the pixel scale of X/Y is not known here; give pixels"),
        ({"pixels": 9999}, "a cut-out of 9999 pixels is not to be had"),
        ({"pixels": 0}, "a cut-out of 0 pixels is not to be had"),
        ({"size_arcsec": -1}, "size_arcsec must be above 0"),
        ({"size_arcsec": float("nan")}, "size_arcsec must be above 0"),
        ({"per_second": 0}, "per_second must be above 0"),
        ({"url": "ftp://x"}, "is no address to fetch from"),
    ],
)
def test_what_cannot_be_asked_is_told_before(
    server: Server, table: Path, tmp_path: Path, options: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        get(server, table, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_holds_one_kind_of_cutouts(server: Server, table: Path, tmp_path: Path) -> None:
    get(server, table, tmp_path / "out")
    with pytest.raises(StoreError, match=r"holds cut-outs with size_arcsec 8\.0, not 9\.0"):
        get(server, table, tmp_path / "out", size_arcsec=9)
    (tmp_path / "out" / "_fetch.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        get(server, table, tmp_path / "out")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "_fetch.json.tmp").write_text("{")
    get(server, table, tmp_path / "killed")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.fits").touch()
    with pytest.raises(StoreError, match="mine' holds other files"):
        get(server, table, tmp_path / "mine")


@given(st.lists(st.text(min_size=1, max_size=120), unique=True, max_size=40))
def test_ids_give_names_that_any_disk_takes_and_no_two_one(ids: list[str]) -> None:
    names = [_file_name(name, "fits") for name in ids]
    assert len(set(names)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,110}\.fits", name) for name in names)


# the verb


def test_fetch_says_how_to_go_on_and_that_works(
    server: Server, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fetch", str(table), "--survey", HIPS, "--out", "my stamps", "--url", f"{server.url}/cut"]
    words += ["--pixels", "8", "--per-second", "50", "--columns", "id", "ra", "dec"]
    spoil(server, 200.0, Answer(status=404))
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 cut-outs fetched into 'my stamps', 0 were there, 1 failed"
    assert said[-1] == "go on with: morphospace curate 'my stamps/fetched.csv' --out 'my stamps.cutouts'"
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["new"], told["passed_over"], told["failed"]) == (4, 0, 3, 1)
    source = open_source("my stamps/fetched.csv", Intake(), size=None)
    assert [source.label(i).name for i in range(len(source))] == [name for name, _, _ in PLACES]
    for i, (_, ra, dec) in enumerate(PLACES[:3]):
        image = source.read(i)
        assert (image.ra, image.dec) == (ra, dec)  # of the table, where the file has none
        assert image.data[0, 1, 1] == np.float32(ra)
    with pytest.raises(DataError, match="names no file"):
        source.read(3)
