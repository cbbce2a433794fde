"""Who may ask the page's server and what it gives out: each rule broken on purpose has its status."""

from __future__ import annotations

import json
import socket

import anyio
import pytest

import explore_server as small
from explore_server import BREAK, EVIL, TOKEN, page
from morphospace.explore import app
from morphospace.explore.answers import told_json
from morphospace.explore.explore import open_scene
from morphospace.explore.security import new_token


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("security")
    cuts = small.write_cutouts(folder / "a.cutouts")
    scene = open_scene(small.embeddings(folder / "a.emb", cuts), cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "STATIC", small.static(folder))
        with page(scene) as running:
            yield running


def raw(here, request: bytes) -> bytes:
    """Send bytes that no well-bred client would."""
    with socket.create_connection(("127.0.0.1", here.port), timeout=30) as connection:
        connection.sendall(request)
        got = b""
        while block := connection.recv(65_536):
            got += block
        return got


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_other_host_is_misdirected(here, host):
    answer = here.get("/", Host=host.format(port=here.port))
    assert answer.status == 421
    assert TOKEN not in answer.body.decode()


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}"])
def test_own_host_is_answered(here, host):
    assert here.get("/api/space", Host=host.format(port=here.port)).status == 200


def test_two_hosts_are_misdirected(here):
    hosts = f"Host: 127.0.0.1:{here.port}\r\nHost: evil.example\r\n"
    got = raw(here, f"GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
    assert got.split(b" ")[1] in (b"400", b"421")
    assert TOKEN.encode() not in got


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
@pytest.mark.parametrize("path", ["/", "/api/space"])
def test_other_origin_is_refused(here, origin, path):
    assert here.get(path, Origin=origin.format(port=here.port)).status == 403


def test_own_origin_is_answered(here):
    assert here.get("/api/space", Origin=f"http://127.0.0.1:{here.port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "é".encode().decode("latin-1")])
def test_changing_needs_the_token(here, method, token):
    headers = {} if token is None else {"X-Morphospace-Token": token}
    answer = here.ask(method, "/api/labels", {"name": "x", "kind": "interest"}, headers)
    assert answer.status == 403
    assert "token" in answer.json()["error"].lower()
    assert here.scene.labels.sets() == []


def test_token_lets_through(here):
    assert here.post("/api/where", {"where": "snr > 3"}).status == 200
    assert here.ask("PUT", "/api/where", {}, {"X-Morphospace-Token": TOKEN}).status == 405


def test_token_is_only_in_the_page(here):
    assert TOKEN in here.get("/").body.decode()
    assert "__MORPHOSPACE_TOKEN__" not in here.get("/").body.decode()
    for path in ("/api/space", "/assets/page.js", "/api/rows?rows=0", "/nothing"):
        assert TOKEN not in here.get(path).body.decode()


def test_tokens_are_long_and_differ():
    found = {new_token() for _ in range(50)}
    assert len(found) == 50
    assert min(map(len, found)) >= 43  # 256 bits in base64


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../index.html",
        "/assets/../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e%2fnotes.txt",
        "/assets//etc/passwd",
        "/assets/..\\..\\secret.txt",
        "/assets/%5c..%5c..%5csecret.txt",
        "/assets/page.js%00.txt",
        "//etc/passwd",
        "/notes.txt",
        "/static/index.html",
        "/single.html",
        "/assets/",
        "/assets",
        "/api/",
        "/api/map/..%2f..%2f_manifest.json",
        "/api/clusters/..%2f..%2fsecret",
    ],
)
def test_nothing_else_is_served(here, path):
    answer = here.get(path)
    assert answer.status == 404
    assert "secret\n" not in answer.body.decode()
    assert answer.json()["error"]


def test_built_files_are_served(here):
    answer = here.get("/assets/page.js")
    assert (answer.status, answer.body) == (200, b"run()")
    assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/", "/api/space", "/assets/page.js", "/nothing", "/api/rows?rows=x", "/api/thumbs?rows=0"]
)
@pytest.mark.parametrize("host", [None, "evil.example"])
def test_every_answer_has_the_headers(here, path, host):
    headers = here.get(path, **({} if host is None else {"Host": host})).headers
    rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["object-src"] == rules["base-uri"] == "'none'"
    assert "script-src" not in rules  # so that of default-src: no inline scripts, no eval
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers or "uvicorn" in headers["server"]


@pytest.mark.parametrize("length", [str((16 << 20) + 1), "9" * 30, "-1"])
def test_large_announcement_is_refused(here, length):
    head = f"POST /api/where HTTP/1.1\r\nHost: 127.0.0.1:{here.port}\r\nX-Morphospace-Token: {TOKEN}\r\n"
    got = raw(here, f"{head}Content-Length: {length}\r\nConnection: close\r\n\r\n".encode())
    assert got.split(b" ")[1] in ((b"400",) if length == "-1" else (b"413", b"400"))
    assert b"413" in got.split(b"\r\n")[0] or length != str((16 << 20) + 1)


@pytest.mark.parametrize(("n_blocks", "status"), [(16, 400), (17, 413)])
def test_body_that_is_not_announced_is_counted(here, n_blocks, status):
    left, sent = list(range(n_blocks)), []

    async def receive():
        left.pop()
        return {"type": "http.request", "body": b" " * (1 << 20), "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    headers = [(b"host", f"127.0.0.1:{here.port}".encode()), (b"x-morphospace-token", TOKEN.encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/where", "query_string": b"", "headers": headers}
    anyio.run(app.make_app(here.scene, port=here.port, token=TOKEN), scope, receive, send)
    assert sent[0]["status"] == status
    assert "error" in json.loads(sent[1]["body"])


def test_dropped_file_may_be_larger(here):
    answer = here.post("/api/drop?name=x.fits", b"SIMPLE" + b" " * (17 << 20))
    assert answer.status in (400, 503)  # read, and no image
    head = f"POST /api/drop HTTP/1.1\r\nHost: 127.0.0.1:{here.port}\r\nX-Morphospace-Token: {TOKEN}\r\n"
    got = raw(here, f"{head}Content-Length: {(256 << 20) + 1}\r\nConnection: close\r\n\r\n".encode())
    assert got.split(b" ")[1] == b"413"


def test_hostile_name_is_plain_text(here):
    answer = here.get("/api/rows?rows=0")
    assert b"<" not in answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()[0]["object"] == answer.json()[0]["columns"]["object"] == EVIL
    assert b"<" not in here.get("/api/space").body


def test_line_break_in_a_unit_begins_no_header(here):
    answer = here.get("/api/pixels/2")
    assert "x-evil" not in answer.headers
    assert answer.headers["x-unit"] == "Jy%0D%0AX-Evil%3A%201"
    assert BREAK.encode() not in answer.body


def test_name_of_a_dropped_file_is_plain_text(here):
    answer = here.post("/api/drop?name=%3Cimg%20src%3Dx%3E", b"no image")
    assert answer.status == 400
    assert b"<" not in answer.body
    assert "'<img src=x>' is not an image" in answer.json()["error"]


def test_names_of_downloads_are_encoded(here):
    here.post("/api/labels", {"name": 'a"\u2028; x=<b>', "kind": "interest"})
    answer = here.get("/api/labels/a%22%E2%80%A8%3B%20x%3D%3Cb%3E/export?format=csv")
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.headers["content-disposition"].isascii()
        assert "<" not in answer.headers["content-disposition"]


def test_bug_is_told_without_its_insides(here, monkeypatch, caplog):
    monkeypatch.setattr(here.scene, "map", lambda name: 1 / 0)
    answer = here.get("/api/map/pca")
    assert answer.status == 500
    assert "ZeroDivisionError" in answer.json()["error"]
    assert "Traceback" not in answer.body.decode()
    assert "division by zero" in caplog.text  # where the person who started it can see


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000])
def test_body_that_is_no_object_is_refused(here, body):
    answer = here.post("/api/neighbours", body)
    assert answer.status == 400
    assert answer.json()["error"].endswith(".")


def test_json_holds_what_it_cannot():
    text = told_json({"a": float("nan"), "b": b"x", "c": "<\u2028&>", "d": [float("inf"), 1]})
    assert json.loads(text) == {"a": None, "b": None, "c": "<\u2028&>", "d": [None, 1]}
    assert text.isascii()
    assert not set(text) & set("<>&")
