"""A server of files on loopback that can misbehave as those on the net do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """A request as it came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float


@dataclass
class Answer:
    """What the server sends: `cut` bytes of the body and no more, the rest after `piece` bytes when the gate opens."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: bool = True
    piece: int = 0
    gate: threading.Event | None = None


@dataclass
class Remote:
    """A file on the server: whether it can be had in ranges, how it is marked, how often it is cut after how much."""

    content: bytes
    ranges: bool = True
    etag: str = '"1"'
    cuts: list[int] = field(default_factory=list)
    piece: int = 0
    gate: threading.Event | None = None

    def __call__(self, asked: Asked) -> Answer:
        cut = self.cuts.pop(0) if self.cuts else None
        marks = {"ETag": self.etag} if self.etag else {}
        answer = Answer(self.content, headers=marks, cut=cut, piece=self.piece, gate=self.gate)
        wanted, state = asked.headers.get("range", ""), asked.headers.get("if-range", self.etag)
        if not (self.ranges and wanted and state == self.etag):
            return answer
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        total = len(self.content)
        if start >= total:
            return Answer(status=416, headers={"Content-Range": f"bytes */{total}"})
        answer.body, answer.status = self.content[start:], 206
        answer.headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        return answer


Route = Callable[[Asked], Answer]


class Server:
    """Routes by path, and every request that came."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[Asked] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.serve(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass  # the client was killed

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(parts.path, query, headers, time.monotonic())
        self.asked.append(asked)
        route = self.routes.get(parts.path, lambda _: Answer(b"no such file", status=404))
        answer = route(asked)
        handler.send_response(answer.status)
        if answer.length:
            handler.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Connection", "close")
        handler.end_headers()
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        handler.wfile.write(body[: answer.piece or None])
        handler.wfile.flush()
        if answer.gate is not None:
            answer.gate.wait(60)
            handler.wfile.write(body[answer.piece :])
        handler.close_connection = True

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@contextlib.contextmanager
def running() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.stop()


def in_turn(*answers: Answer) -> Route:
    """Give the answers one after the other, then the last one for ever."""
    left = list(answers)

    def route(asked: Asked) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return route
