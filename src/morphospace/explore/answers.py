"""What the server is asked and what it answers: JSON, binary arrays, and one sentence where something is wrong."""

from __future__ import annotations

import json
import logging
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.responses import Response

from morphospace.errors import DataError, MissingDependencyError, MorphospaceError, StoreError

__all__ = ["Asked", "Handler", "arrays", "as_error", "joined", "plain", "refuse", "sentence", "told", "told_json"]

logger = logging.getLogger(__name__)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as JSON can hold it: numpy numbers by what they mean, NaN and infinity as null, bytes as none."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, bytes) else str(value)


def told_json(value: Any) -> str:  # noqa: ANN401
    """Write a value as JSON in ASCII that no page can take for markup.

    Text that came from a header or a file name stays text: ``<``, ``>`` and ``&`` are written as escapes, which JSON
    reads back as the same characters.
    """
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def told(value: Any, *, status: int = 200) -> Response:  # noqa: ANN401
    """Answer with JSON."""
    return Response(told_json(value), status_code=status, media_type="application/json")


def arrays(values: NDArray[Any], headers: Mapping[str, str] | None = None) -> Response:
    """Answer with the bytes of an array, little-endian and in C order.

    Parameters
    ----------
    values : array
    headers : mapping, optional
        Text that came from a file goes through `joined` before, so that no line break in it begins a header of its own.
    """
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    content = little.data.cast("B") if little.size else b""
    return Response(content, media_type="application/octet-stream", headers=headers)


def joined(values: Iterable[str | float | None]) -> str:
    """Join values by commas for a header, percent-encoded; an unknown number is nan, no text is nothing."""
    return ",".join("nan" if value is None else quote(str(value), safe="") for value in values)


def sentence(message: str, status: int) -> Response:
    """Answer that something is wrong, in one sentence."""
    return told({"error": " ".join(message.split())}, status=status)


def refuse(message: str, status: int = 404) -> HTTPException:
    """Make the exception that ends a question with a sentence."""
    return HTTPException(status, message)


def as_error(error: Exception) -> Response:
    """Turn what was raised while an answer was made into a status and a sentence."""
    if isinstance(error, HTTPException):
        return sentence(error.detail, error.status_code)
    if isinstance(error, MissingDependencyError):
        return sentence(str(error), 501)
    if isinstance(error, StoreError):
        return sentence(str(error), 503)
    if isinstance(error, MorphospaceError):
        return sentence(str(error), 400)
    logger.error("the page asked for something that failed", exc_info=error)
    return sentence(
        f"unexpected {type(error).__name__}; this is a bug of morphospace: see the terminal, report it.", 500
    )


@dataclass(frozen=True)
class Asked:
    """One question of the page.

    Attributes
    ----------
    path : mapping of str to str
        Parts of the address that vary, decoded.
    query : mapping of str to str
        What follows the question mark, decoded.
    body : bytes
        Empty for GET.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """Read the body, which must be a JSON object.

        Raises
        ------
        DataError
            If it is none.
        """
        try:
            found = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            msg = "the body of this question must be a JSON object."
            raise DataError(msg)
        return found

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """Read a whole number that follows the question mark.

        Raises
        ------
        DataError
            If it is none, or out of its range.
        """
        return whole(self.query.get(name, default), name, least=least, most=most)

    def rows(self, n: int, *, most: int) -> NDArray[np.int64]:
        """Read the row numbers of ``?rows=1,2,3``; see `row_numbers`."""
        texts = [text for text in self.query.get("rows", "").split(",") if text]
        try:
            found = [int(text) for text in texts[: most + 1]]
        except ValueError:
            msg = "rows must be whole numbers joined by commas."
            raise DataError(msg) from None
        return row_numbers(found, n, most=most)


Handler: TypeAlias = Callable[[Any, Asked], Response]


def whole(value: object, name: str, *, least: int, most: int) -> int:
    """Read a whole number from least to most, or raise a DataError."""
    try:
        found = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
    except ValueError:
        found = None
    if found is None or not least <= found <= most:
        msg = f"{name} must be a whole number from {least} to {most}; got {str(value)[:40]!r}."
        raise DataError(msg)
    return found


def row_numbers(values: object, n: int, *, most: int) -> NDArray[np.int64]:
    """Check a list of row numbers: whole, from 0 to n - 1, at most so many; else raise a DataError."""
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        msg = "rows must be a list of whole numbers."
        raise DataError(msg)
    if len(values) > most:
        msg = f"at most {most:,} rows can be asked for at once; got {len(values):,}."
        raise DataError(msg)
    outside = next((value for value in values if not 0 <= value < n), None)
    if outside is not None:
        msg = f"there is no row {outside}; rows go from 0 to {n - 1}."
        raise DataError(msg)
    return np.array(values, dtype=np.int64)


def text(value: object, name: str, *, most: int = 2_000) -> str | None:
    """Read a text or nothing, or raise a DataError."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > most:
        msg = f"{name} must be a text of at most {most:,} characters."
        raise DataError(msg)
    return value
