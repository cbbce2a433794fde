"""What a verb says: results on stdout as text or JSON, the rest on stderr."""

from __future__ import annotations

import json
import logging
import math
import numbers
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from morphospace.errors import StoreError

__all__ = ["emit", "messages_on_stderr", "plain", "refuse_existing"]


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


def refuse_existing(path: str | Path, *, overwrite: bool) -> None:
    """Refuse to write over a file.

    Parameters
    ----------
    path : path
        What would be written.
    overwrite : bool
        Whether that was asked for.

    Raises
    ------
    StoreError
        If the file is there and it was not.
    """
    if Path(path).exists() and not overwrite:
        msg = f"'{path}' is there already; choose another name, or give --overwrite."
        raise StoreError(msg)


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
