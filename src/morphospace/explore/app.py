"""The application: addresses, the built page, and how each question is answered in a thread."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from morphospace.errors import StoreError
from morphospace.explore import asking, labelling, questions, results, routes, samp
from morphospace.explore.answers import Asked, Handler, as_error
from morphospace.explore.scene import Scene
from morphospace.explore.security import Guard, TooLargeError

__all__ = ["STATIC", "make_app", "page_with_token"]

STATIC = Path(__file__).parent / "static"
_THREADS = 4  # questions that are worked on at a time: beyond the cores they only take memory
_TOKEN = "__MORPHOSPACE_TOKEN__"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
_API: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/api/space", routes.space),
    ("GET", "/api/map/{name:path}", routes.map_places),
    ("GET", "/api/column/{name:path}", routes.column),
    ("GET", "/api/rows", routes.rows),
    ("GET", "/api/thumbs", routes.thumbs),
    ("GET", "/api/thumbs/dropped/{token}", asking.dropped_thumb),
    ("GET", "/api/pixels/dropped/{token}", asking.dropped_pixels),
    ("GET", "/api/pixels/{row}", routes.pixels),
    ("GET", "/api/clusters/{name}", results.clusters),
    ("GET", "/api/anomalies/{name}", results.anomalies),
    ("POST", "/api/table", questions.table),
    ("POST", "/api/where", questions.where),
    ("POST", "/api/neighbours", questions.neighbours),
    ("POST", "/api/drop", asking.drop),
    ("POST", "/api/selection/export", questions.export_selection),
    ("POST", "/api/samp", samp.send_selection),
    ("POST", "/api/alike", asking.compare),
    ("POST", "/api/labels/{name:path}/score", labelling.score),
    ("GET", "/api/labels/{name:path}/next", labelling.next_objects),
    ("GET", "/api/labels/{name:path}/export", labelling.export_labels),
    ("POST", "/api/labels/{name:path}/undo", labelling.undo_label),
    ("GET", "/api/labels/{name:path}", labelling.label_set),
    ("POST", "/api/labels/{name:path}", labelling.give_label),
    ("POST", "/api/labels", labelling.new_set),
)


def make_app(scene: Scene, *, port: int, token: str) -> ASGIApp:
    """Make the ASGI application of a page.

    Parameters
    ----------
    scene : Scene
    port : int
        Under which it is reached: part of the names of host and origin that are let through.
    token : str
        What changing requests must carry.

    Raises
    ------
    StoreError
        If the built page is not in the package.
    """
    limiter = anyio.CapacityLimiter(_THREADS)
    built = _built_files(STATIC)
    page = page_with_token(token)
    api = [Route(path, _answering(scene, handler, limiter), methods=[method]) for method, path, handler in _API]
    files = [Route("/", _giving(page, "text/html; charset=utf-8"))]
    files += [Route(path, _giving_file(file)) for path, file in built.items()]
    app = Starlette(routes=[*api, *files], exception_handlers={HTTPException: _http_error, Exception: _any_error})
    return Guard(app, port=port, token=token)


def _built_files(folder: Path) -> dict[str, Path]:
    """List what may be served besides the page, by its address: what is not listed has none."""
    assets = {f"/{file.relative_to(folder).as_posix()}": file for file in folder.glob("assets/**/*") if file.is_file()}
    icon = folder / "favicon.svg"
    return assets | ({"/favicon.svg": icon} if icon.is_file() else {})


def page_with_token(token: str) -> bytes:
    """Read the built page and write the token into it."""
    file = STATIC / "index.html"
    try:
        page = file.read_text("utf-8")
    except OSError:
        msg = f"the built page '{file.name}' is not in this installation; install morphospace again."
        raise StoreError(msg) from None
    if _TOKEN not in page:
        msg = f"the built page '{file.name}' has no place for the token; install morphospace again."
        raise StoreError(msg)
    return page.replace(_TOKEN, html.escape(token)).encode()


def _answering(
    scene: Scene, handler: Handler, limiter: anyio.CapacityLimiter
) -> Callable[[Request], Awaitable[Response]]:
    """Read a question, answer it in a thread so that others need not wait, and tell errors in a sentence."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            asked = Asked(_texts(request.path_params), dict(request.query_params), body)
            return await anyio.to_thread.run_sync(partial(handler, scene, asked), limiter=limiter)
        except TooLargeError as error:
            return as_error(HTTPException(413, str(error)))
        except Exception as error:  # the page shows a sentence, whatever happened
            return as_error(error)

    return endpoint


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}


def _giving(content: bytes, media: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(content, headers={"Content-Type": media})

    return endpoint


def _giving_file(file: Path) -> Callable[[Request], Awaitable[Response]]:
    media = _MEDIA.get(file.suffix, "application/octet-stream")

    async def endpoint(request: Request) -> Response:
        try:
            return Response(await anyio.Path(file).read_bytes(), headers={"Content-Type": media})
        except OSError:
            return as_error(HTTPException(404, f"'{file.name}' is gone; install morphospace again."))

    return endpoint


async def _http_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 404:
        return as_error(HTTPException(404, "there is no such address here."))
    if isinstance(error, HTTPException) and error.status_code == 405:
        return as_error(HTTPException(405, "this address is not asked in this way."))
    return as_error(error)


async def _any_error(request: Request, error: Exception) -> Response:
    return as_error(error)
