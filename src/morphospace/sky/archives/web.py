"""Asking a server over HTTP, politely: one request at a time, not too fast, again after a while when it is busy."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from morphospace.errors import ConfigError, DataError
from morphospace.sky._intake import one_line

__all__ = ["Client", "Response", "WebError", "check_url", "user_agent"]

# Attempts at one request before it is given up.
ATTEMPTS = 5
# Seconds before the second attempt; doubled before each further one.
BACKOFF_S = 1.0
# The longest wait between two attempts, whatever Retry-After asks.
LONGEST_WAIT_S = 120.0
TIMEOUT_S = 60.0
# Statuses of a server that may answer later.
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})

_logger = logging.getLogger(__name__)

T = TypeVar("T")
Response = HTTPResponse  # the one module that speaks HTTP names the type for the others


class WebError(DataError):
    """A request was not answered as it should.

    Parameters
    ----------
    what : str
        What happened, without the address.
    temporary : bool
        Whether the same request may work later.
    status : int
        Of HTTP, 0 where no answer came.
    retry_after_s : float
        How long the server asks to be left alone, 0 where it does not say.
    """

    def __init__(self, what: str, *, temporary: bool, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(what)
        self.temporary, self.status, self.retry_after_s = temporary, status, retry_after_s


def check_url(url: str) -> str:
    """Return an address if it is one of http or https.

    Raises
    ------
    ConfigError
        If it is of another scheme or names no host.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() or ord(c) < 32 for c in url):
        msg = f"'{url}' is no address to fetch from; give a whole one, of http or https."
        raise ConfigError(msg)
    return url


def user_agent() -> str:
    """Name morphospace and its version, as servers like to know who asks."""
    try:
        return f"morphospace/{version('morphospace')}"
    except PackageNotFoundError:
        return "morphospace"


def _opener() -> urllib.request.OpenerDirector:
    """Build an opener that knows http and https alone, so that no redirect leads to a file of this machine."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", user_agent())]
    return opener


@dataclass
class Client:
    """Requests to one service, one after the other.

    Parameters
    ----------
    per_second : float
        The most requests a second, attempts counted; 0 is no limit.
    """

    per_second: float = 0.0
    _last: float = field(default=-1e9, init=False)
    _open: urllib.request.OpenerDirector = field(default_factory=_opener, init=False)

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[HTTPResponse]:
        """Ask once for an address; what goes wrong, also while the answer is read, becomes a `WebError`.

        Parameters
        ----------
        url : str
            The address.
        headers : mapping, optional
            Of the request.

        Yields
        ------
        HTTPResponse
            With a status below 300.
        """
        self._wait_for_turn()
        try:
            request = urllib.request.Request(url, headers=dict(headers or {}))
            with self._open.open(request, timeout=TIMEOUT_S) as response:
                yield response
        except HTTPError as error:
            with error:
                raise _refused(error) from error
        except WebError:
            raise
        except (URLError, TimeoutError, HTTPException, ConnectionError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error
            what = f"no answer came from {urlsplit(url).hostname} ({one_line(reason)})"
            raise WebError(what, temporary=True) from error

    def body_once(self, url: str, *, most: int) -> bytes:
        """Fetch a small answer whole, in one attempt.

        Parameters
        ----------
        url : str
            The address.
        most : int
            Bytes that are read at most.

        Returns
        -------
        bytes

        Raises
        ------
        WebError
            If it is refused, cut off or longer.
        """
        with self.get(url) as response:
            announced = response.length
            body = response.read(most + 1)
        if len(body) > most:
            msg = f"the answer is longer than {most:,} bytes"
            raise WebError(msg, temporary=False)
        if announced is not None and len(body) < announced:
            msg = f"the connection was cut after {len(body):,} of {announced:,} bytes"
            raise WebError(msg, temporary=True)
        return body

    def attempt(self, ask: Callable[[], T]) -> T:
        """Call `ask` until it works, with waits that double, or as long as the server says.

        Parameters
        ----------
        ask : callable
            Raises `WebError` when it does not work.

        Returns
        -------
        object
            What `ask` returns.

        Raises
        ------
        WebError
            The last one, when it is not temporary or all attempts are spent.
        """
        for n in range(1, ATTEMPTS):
            try:
                return ask()
            except WebError as error:
                if not error.temporary:
                    raise
                wait = min(max(BACKOFF_S * 2 ** (n - 1), error.retry_after_s), LONGEST_WAIT_S)
                _logger.info("%s; attempt %d of %d in %.0f s", error, n + 1, ATTEMPTS, wait)
                time.sleep(wait)
        return ask()

    def _wait_for_turn(self) -> None:
        if self.per_second > 0:
            time.sleep(max(0.0, self._last + 1 / self.per_second - time.monotonic()))
        self._last = time.monotonic()


def _refused(error: HTTPError) -> WebError:
    """Say what a status of 300 and above means."""
    what = f"{urlsplit(error.url or '').hostname or 'the server'} answered {error.code} ({error.reason or 'no reason'})"
    retry_after_s = _seconds(error.headers.get("Retry-After", "") if error.headers else "")
    return WebError(what, temporary=error.code in _BUSY, status=error.code, retry_after_s=retry_after_s)


def _seconds(retry_after: str) -> float:
    """Read Retry-After: a number of seconds, or a date; 0 for anything else."""
    try:
        return max(0.0, float(retry_after)) if retry_after.strip().isdigit() else _until(retry_after)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
