"""Downloads of labelled sets, against a server on loopback that cuts, ignores, delays and lies."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

import morphospace as ms
from archive_server import Answer, Remote, Server, in_turn, running
from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, MissingDependencyError, StoreError
from morphospace.sky.archives import datasets, download, web

CONTENT = random.Random(5).randbytes(300_000)
DOCS = Path(__file__).parents[1] / "docs" / "getting-data.md"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(*, checksum: str = "", n_bytes: int = 0, name: str = "set.bin") -> str:
    words = dict.fromkeys(("title", "pixels", "size", "licence", "citation", "page", "use"), "some")
    lines = ["[[dataset]]", 'name = "tiny"', "images = 3", *(f'{key} = "{value}"' for key, value in words.items())]
    lines += ["[[dataset.file]]", f'name = "{name}"', 'url = "http://127.0.0.1:9/none"']
    lines += [f"bytes = {n_bytes}", f'checksum = "{checksum}"']
    return "\n".join(lines)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACKOFF_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sets.toml"
    path.write_text(entry(checksum=f"sha256:{sha256(CONTENT)}"))
    monkeypatch.setattr(datasets, "CATALOGUE", path)
    return path


def get(server: Server, out: Path) -> Path:
    (path,) = ms.download("tiny", out=out, url=server.url)
    return path


# what works


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_download_is_checked_and_recorded(server: Server, catalogue: Path, tmp_path: Path, algorithm: str) -> None:
    catalogue.write_text(entry(checksum=f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest().upper()}"))
    server.routes["/set.bin"] = Remote(CONTENT)
    path = get(server, tmp_path / "out")
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == ["checksums.txt", "set.bin"]
    assert (path.parent / "checksums.txt").read_text() == f"{sha256(CONTENT)}  set.bin\n"
    assert server.asked[0].headers["user-agent"] == f"morphospace/{ms.__version__}"
    get(server, tmp_path / "out")
    assert len(server.asked) == 1  # there and right: not asked for again


def test_a_cut_connection_is_taken_up_where_it_broke(server: Server, catalogue: Path, tmp_path: Path) -> None:
    server.routes["/set.bin"] = Remote(CONTENT, cuts=[100_000, 50_000, 1])
    assert get(server, tmp_path / "out").read_bytes() == CONTENT
    assert [a.headers.get("range") for a in server.asked] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
        "bytes=150001-",
    ]
    assert {a.headers.get("if-range") for a in server.asked[1:]} == {'"1"'}


def test_a_connection_that_is_cut_often_is_taken_up_as_long_as_it_gives(
    server: Server, catalogue: Path, tmp_path: Path
) -> None:
    server.routes["/set.bin"] = Remote(CONTENT, cuts=[20_000] * 14)
    assert get(server, tmp_path / "out").read_bytes() == CONTENT
    assert len(server.asked) == 15


def test_a_download_that_stops_says_how_to_go_on_and_goes_on(server: Server, catalogue: Path, tmp_path: Path) -> None:
    server.routes["/set.bin"] = Remote(CONTENT, cuts=[100_000] + [0] * 20)
    with pytest.raises(
        DataError, match=r"'set.bin' could not be fetched .* cut after 100,000 of 300,000 bytes"
    ) as told:
        get(server, tmp_path / "out")
    part = tmp_path / "out" / "set.bin.part"
    assert f"100,000 bytes are kept in '{part}': the same command goes on there." in str(told.value)
    assert part.read_bytes() == CONTENT[:100_000]
    assert not (tmp_path / "out" / "set.bin").exists()
    server.routes["/set.bin"] = Remote(CONTENT)
    server.asked.clear()
    assert get(server, tmp_path / "out").read_bytes() == CONTENT
    assert [a.headers.get("range") for a in server.asked] == ["bytes=100000-"]
    assert not part.exists()


def test_a_server_without_ranges_is_read_from_the_start(server: Server, catalogue: Path, tmp_path: Path) -> None:
    server.routes["/set.bin"] = Remote(CONTENT, ranges=False, cuts=[100_000, 200_000])
    assert get(server, tmp_path / "out").read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("etag", ['"2"', ""])
def test_pieces_of_two_states_of_a_file_are_never_joined(
    server: Server, catalogue: Path, tmp_path: Path, etag: str
) -> None:
    catalogue.write_text(entry())  # no checksum that would tell
    server.routes["/set.bin"] = Remote(CONTENT, cuts=[100_000] + [0] * 20, etag='"1"' if etag else "")
    with pytest.raises(DataError, match="could not be fetched"):
        get(server, tmp_path / "out")
    other = CONTENT[::-1]
    server.routes["/set.bin"] = Remote(other, etag=etag)
    assert get(server, tmp_path / "out").read_bytes() == other


def test_without_a_known_checksum_the_first_download_is_recorded_and_said(
    server: Server, catalogue: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue.write_text(entry())
    server.routes["/set.bin"] = Remote(CONTENT)
    path = get(server, tmp_path / "out")
    assert f"no published checksum; its SHA-256 {sha256(CONTENT)} is recorded in checksums.txt" in caplog.text
    assert get(server, tmp_path / "out") == path
    path.unlink()
    server.routes["/set.bin"] = Remote(CONTENT[::-1])
    with pytest.raises(DataError, match="not that of the first download"):
        get(server, tmp_path / "out")


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(
    server: Server, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waits.append)
    later = formatdate(time.time() + 40, usegmt=True)
    server.routes["/set.bin"] = in_turn(
        Answer(status=429, headers={"Retry-After": "7"}),
        Answer(status=503, headers={"Retry-After": later}),
        Answer(status=503, headers={"Retry-After": "99999"}),
        Answer(status=503, headers={"Retry-After": "soon"}),
        Answer(CONTENT),
    )
    assert get(server, tmp_path / "out").read_bytes() == CONTENT
    waits = [wait for wait in waits if wait]
    assert waits[0] == 7
    assert 30 < waits[1] <= 40
    assert waits[2:] == [web.LONGEST_WAIT_S, pytest.approx(0.08)]


def test_redirects_lead_on(server: Server, catalogue: Path, tmp_path: Path) -> None:
    server.routes["/set.bin"] = in_turn(Answer(status=302, headers={"Location": f"{server.url}/there"}))
    server.routes["/there"] = Remote(CONTENT, cuts=[1000])
    assert get(server, tmp_path / "out").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_not_asked_for_again(server: Server, catalogue: Path, tmp_path: Path) -> None:
    catalogue.write_text(entry(checksum=f"sha256:{sha256(CONTENT)}", n_bytes=len(CONTENT)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set.bin.part").write_bytes(CONTENT)
    assert get(server, tmp_path / "out").read_bytes() == CONTENT
    assert server.asked == []


def test_a_part_that_is_longer_than_the_file_is_dropped(server: Server, catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set.bin.part").write_bytes(CONTENT + b"more")
    server.routes["/set.bin"] = Remote(CONTENT)
    assert get(server, tmp_path / "out").read_bytes() == CONTENT


SCRIPT = """
import sys
from pathlib import Path
import morphospace as ms
from morphospace.sky.archives import datasets
datasets.CATALOGUE = Path(sys.argv[1])
ms.download("tiny", out=sys.argv[2], url=sys.argv[3])
"""


def test_a_killed_download_goes_on_and_gives_the_same_file(server: Server, catalogue: Path, tmp_path: Path) -> None:
    gate = threading.Event()
    server.routes["/set.bin"] = Remote(CONTENT, piece=120_000, gate=gate)
    words = [sys.executable, "-c", SCRIPT, str(catalogue), str(tmp_path / "out"), server.url]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1", "no_proxy": "127.0.0.1"})
    part, deadline = tmp_path / "out" / "set.bin.part", time.monotonic() + 60
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size == 120_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    gate.set()
    assert part.read_bytes() == CONTENT[:120_000]
    server.routes["/set.bin"] = Remote(CONTENT)
    subprocess.run(words, check=True, timeout=120, env={**os.environ, "no_proxy": "127.0.0.1"})
    assert (tmp_path / "out" / "set.bin").read_bytes() == CONTENT
    assert server.asked[-1].headers["range"] == "bytes=120000-"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["checksums.txt", "set.bin"]


# what goes wrong


def test_a_wrong_checksum_is_told_and_the_file_put_aside(server: Server, catalogue: Path, tmp_path: Path) -> None:
    wrong = CONTENT[:-1] + b"x"
    server.routes["/set.bin"] = Remote(wrong)
    with pytest.raises(DataError) as told:
        get(server, tmp_path / "out")
    bad = tmp_path / "out" / "set.bin.bad"
    assert str(told.value) == (
        f"'set.bin' from {server.url}/set.bin is not what it should be: its checksum is {sha256(wrong)}, not its "
        f"publisher's {sha256(CONTENT)}; it is kept as '{bad}', start again to fetch it anew."
    )
    assert bad.read_bytes() == wrong
    assert sorted(p.name for p in bad.parent.iterdir()) == ["set.bin.bad"]
    server.routes["/set.bin"] = Remote(CONTENT)
    assert get(server, tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("route", "told"),
    [
        (in_turn(Answer(b"gone", status=404)), r"answered 404 \(Not Found\); look whether"),
        (in_turn(Answer(status=503)), r"answered 503 \(Service Unavailable\)"),
        (in_turn(Answer(status=302, headers={"Location": "file:///etc/passwd"})), "not allowed|unknown url type"),
        (in_turn(Answer(b"<html>log in</html>")), "it has 19 bytes there, not 300,000"),
    ],
)
def test_what_the_server_refuses_is_one_sentence(
    server: Server, catalogue: Path, tmp_path: Path, route: Any, told: str
) -> None:
    catalogue.write_text(entry(checksum=f"sha256:{sha256(CONTENT)}", n_bytes=len(CONTENT)))
    server.routes["/set.bin"] = route
    with pytest.raises(DataError, match=told) as error:
        get(server, tmp_path / "out")
    assert "'set.bin' could not be fetched from" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_host_that_does_not_answer_is_one_sentence(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no answer came from 127.0.0.1 \(.*refused\)"):
        ms.download("tiny", out=tmp_path / "out")


def test_a_body_whose_end_nobody_knows_is_refused_without_checksum(
    server: Server, catalogue: Path, tmp_path: Path
) -> None:
    catalogue.write_text(entry())
    server.routes["/set.bin"] = in_turn(Answer(CONTENT, length=False))
    with pytest.raises(DataError, match="a cut would not be seen"):
        get(server, tmp_path / "out")
    catalogue.write_text(entry(checksum=f"sha256:{sha256(CONTENT)}"))
    assert get(server, tmp_path / "out").read_bytes() == CONTENT


def test_files_that_are_there_are_never_overwritten(server: Server, catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set.bin").write_bytes(b"mine")
    with pytest.raises(StoreError, match="is there already and differs from what the set holds"):
        get(server, tmp_path / "out")
    catalogue.write_text(entry())
    with pytest.raises(StoreError, match="nothing is known to check it against"):
        get(server, tmp_path / "out")
    assert (tmp_path / "out" / "set.bin").read_bytes() == b"mine"
    assert server.asked == []


def test_a_small_disk_is_told_before(
    server: Server, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: Usage)
    server.routes["/set.bin"] = Remote(CONTENT)
    with pytest.raises(StoreError, match="needs 300,000 more bytes and the disk has 1,000"):
        get(server, tmp_path / "out")


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc", "//host", "http://", "http://a b/", "http://[x"])
def test_only_addresses_of_http_are_asked(catalogue: Path, tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="is no address to fetch from"):
        ms.download("tiny", out=tmp_path / "out", url=url)


def test_without_pooch_the_install_line_is_told_before_anything_is_asked(
    server: Server, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'morphospace[data]'")):
        get(server, tmp_path / "out")
    assert server.asked == []


# the list


def test_the_list_is_complete_and_can_be_checked() -> None:
    listed = ms.datasets()
    page = DOCS.read_text()
    assert len({each.name for each in listed}) == len(listed) >= 5
    for each in listed:
        assert all((each.title, each.pixels, each.size, each.licence, each.citation, each.use, each.files))
        assert each.images > 0
        assert f"`{each.name}`" in page
        for file in each.files:
            assert web.check_url(file.url) in page
            assert re.fullmatch(r"(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})?", file.checksum)
            assert file.url.endswith(file.name)


def test_names_are_found_in_any_case_and_the_nearest_is_told() -> None:
    assert datasets.find_dataset("Galaxy10-SDSS").images == 21785
    with pytest.raises(ConfigError, match="did you mean 'mirabest'"):
        datasets.find_dataset("mira-best")


# the verb


def test_data_lists_and_downloads(
    server: Server, catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data"]) == 0
    assert "tiny: 3 images" in capsys.readouterr().out
    assert main(["data", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["datasets"]] == ["tiny"]
    server.routes["/set.bin"] = Remote(CONTENT)
    assert main(["data", "tiny", "--out", str(tmp_path / "out"), "--url", server.url]) == 0
    said = capsys.readouterr().out
    assert "1 files" not in said
    assert f"1 file in '{tmp_path / 'out'}', checked" in said
    assert "cite: some" in said


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["data", "tiny"], 2, "morphospace data tiny --out FOLDER"),
        (["data", "--out", "x"], 2, "go with the NAME of a set"),
        (["data", "tyni", "--out", "x"], 1, "there is no data set 'tyni'; there is 'tiny'"),
    ],
)
def test_what_is_missing_is_told(
    catalogue: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, told: str
) -> None:
    assert main(words) == status
    assert told in capsys.readouterr().err
