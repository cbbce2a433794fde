"""What a verb says: results on stdout as text or JSON, the rest on stderr."""

from __future__ import annotations

import json
import logging
import math
import numbers
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import click

__all__ = ["aligned", "emit", "messages_on_stderr", "plain"]


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as JSON can hold it: numpy numbers and paths by what they mean, NaN and infinity as null."""
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
    if hasattr(value, "tolist"):  # numpy arrays and their bool
        return plain(value.tolist())
    return str(value)


def emit(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a verb on stdout.

    Parameters
    ----------
    result : mapping
        For machines.
    text : str
        The same for people.
    as_json : bool
        Whether to print the first.
    """
    click.echo(json.dumps(plain(result)) if as_json else text)


def aligned(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table with its columns aligned, numbers to the right.

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    rows : sequence of sequences
        Texts, numbers or None, which shows as "-"; floats keep four significant digits, integers all.

    Returns
    -------
    str

    Examples
    --------
    >>> print(aligned(["id", "n"], [["M51", 3], ["NGC 1", 12]]))
    id     n
    M51    3
    NGC 1 12
    """
    cells = [[_cell(value) for value in row] for row in rows]
    columns = list(zip(*([list(headings), *cells]), strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    numeric = [all(isinstance(row[i], numbers.Real) or row[i] is None for row in rows) for i in range(len(headings))]
    lines = []
    for line in [list(headings), *cells]:
        padded = [
            cell.rjust(width) if right and rows else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append(" ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.4g}"
    # a name from a file must not steer the terminal
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value))


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(record.getMessage().split())
        return text if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: {text}"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ANN401
    line: str | None = None,
) -> None:
    click.echo(f"Warning: {' '.join(str(message).split())}", err=True)


@contextmanager
def messages_on_stderr(*, quiet: bool) -> Iterator[None]:
    """Show what the library logs and warns about as lines on stderr, while a verb runs.

    Parameters
    ----------
    quiet : bool
        Leave out progress; warnings and errors stay.
    """
    logger = logging.getLogger("morphospace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    level = logger.level
    with ExitStack() as stack, warnings.catch_warnings():
        stack.callback(logger.removeHandler, handler)
        stack.callback(logger.setLevel, level)
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        warnings.showwarning = _show_warning
        if quiet:  # read by tqdm when a verb imports it
            stack.callback(lambda: os.environ.pop("TQDM_DISABLE", None))
            os.environ["TQDM_DISABLE"] = "1"
        yield
