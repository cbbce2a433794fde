"""Who may ask: only the page that this server gave out, in a browser on this machine."""

from __future__ import annotations

import hmac
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from morphospace.explore.answers import sentence

__all__ = ["TOKEN_HEADER", "Guard", "new_token"]

TOKEN_HEADER = "X-Morphospace-Token"
_MOST_JSON = 16 << 20
MOST_BYTES = 256 << 20
_READING = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """Draw the secret that changing requests must carry: 256 random bits."""
    return secrets.token_urlsafe(32)


class Guard:
    """Let through what comes from the page itself; answer anything else with a status and a sentence.

    A name of another host (421) means that a foreign name was made to point here (DNS rebinding); another origin
    (403) means that a foreign page asks. What is not GET or HEAD needs the token, compared in constant time (403). A
    body has at most 16 MiB, a dropped file 256 MiB (413).

    Parameters
    ----------
    app : ASGI application
    port : int
    token : str
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self.app = app
        self.token = token.encode()
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if port == 80:
            self.hosts |= {"127.0.0.1", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no web socket
            return
        guarded = _with_headers(send)
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is None:
            body = _Body(receive, _most(scope["path"]))
            refusal = body.refusal(Headers(scope=scope).get("content-length"))
            if refusal is None:
                await self.app(scope, body.receive, guarded)
                return
        await sentence(refusal[1], refusal[0])(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 421, "this server answers only under 127.0.0.1 and localhost; open the address it printed."
        allowed = {f"http://{host}" for host in self.hosts}
        if any(origin.lower() not in allowed for origin in headers.getlist("origin")):
            return 403, "another page asked; only the page of this server may."
        if method in _READING:
            return None
        given = headers.getlist(TOKEN_HEADER)
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.token):
            return 403, f"the header {TOKEN_HEADER} is missing or of another start of the server; load the page again."
        return None


def _most(path: str) -> int:
    return MOST_BYTES if path == "/api/drop" else _MOST_JSON


class TooLargeError(Exception):
    """More bytes came than were announced or are allowed."""


class _Body:
    """Count what comes in, since a request need not say how long it is."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._came = 0

    def refusal(self, announced: str | None) -> tuple[int, str] | None:
        if announced is not None and (not announced.isdecimal() or int(announced[:20]) > self._most):
            return 413, f"this is too large: at most {self._most >> 20} MiB are taken."
        return None

    async def receive(self) -> Message:
        message = await self._receive()
        self._came += len(message.get("body", b""))
        if self._came > self._most:
            msg = f"this is too large: at most {self._most >> 20} MiB are taken."
            raise TooLargeError(msg)
        return message


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
