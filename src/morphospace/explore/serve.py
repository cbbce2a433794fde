"""Listening on this machine, and opening the browser."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from morphospace.errors import ConfigError, StoreError

__all__ = ["HOST", "bind", "serve"]

HOST = "127.0.0.1"  # this machine only

logger = logging.getLogger(__name__)
_TRIES = 50


def bind(port: int) -> socket.socket:
    """Take a port of 127.0.0.1, or the next one that is free.

    Parameters
    ----------
    port : int
        0 takes any.

    Returns
    -------
    socket
        Not listening yet.

    Raises
    ------
    ConfigError
        If the port is out of range.
    StoreError
        If none of the next 50 can be had.
    """
    if not 0 <= port <= 65_535:
        msg = f"port must be from 0 to 65535; got {port}."
        raise ConfigError(msg)
    for tried in range(port, min(port + _TRIES, 65_536) if port else 1):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # else the port stays taken for a minute after Ctrl-C, and links to the page with it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, tried))
            listening.listen(128)  # only now is it sure: two sockets may be bound to one port
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is in use" if error.errno == errno.EADDRINUSE else "is not for every user to take"
            logger.warning("port %d %s%s", tried, why, f"; trying {tried + 1}" if tried + 1 < port + _TRIES else "")
            continue
        return listening
    msg = f"no port from {port} to {port + _TRIES - 1} is free; give another with port= (--port)."
    raise StoreError(msg)


def serve(app: ASGIApp, listening: socket.socket, *, opened: str | None = None) -> None:
    """Answer until Ctrl-C.

    Parameters
    ----------
    app : ASGI application
    listening : socket
    opened : str, optional
        Address that is opened in the browser once the server answers.
    """
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    _Server(config, None if opened is None else lambda: _open(opened)).run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that does something once it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._when_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._when_started is not None:
            threading.Thread(target=self._when_started, daemon=True).start()  # some browsers return when closed


def _open(address: str) -> None:
    if not webbrowser.open(address):
        logger.warning("no browser could be opened here; open %s yourself.", address)
