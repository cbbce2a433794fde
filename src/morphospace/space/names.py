"""Names as people type them: the nearest known ones, and text that is safe on one line of a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "fold", "one_line"]

_MOST_COMPARED = 20_000  # difflib takes about 10 microseconds a name; a typing error must not cost a minute


def fold(name: str) -> str:
    """Write a name without case and white space, so that ``"GG Tau"`` and ``"ggtau"`` are one.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return "".join(name.split()).casefold()


def did_you_mean(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """Give the end of an error message: ``"; did you mean 'snr'?"``, or ``""`` where nothing is near.

    Parameters
    ----------
    name : str
        What was typed.
    known : iterable of str
        What exists. Of more than 20,000 names only those of nearly its length and with its first letter are compared.
    most : int
        How many to name at most.

    Returns
    -------
    str
        Case and white space do not count as differences.
    """
    candidates = list(known)
    wanted = fold(name)
    if len(candidates) > _MOST_COMPARED:
        candidates = [c for c in candidates if abs(len(c) - len(name)) <= 2 and fold(c)[:1] == wanted[:1]]
    by_fold: dict[str, str] = {}
    for candidate in candidates[:_MOST_COMPARED]:
        by_fold.setdefault(fold(candidate), candidate)
    near = [by_fold[f] for f in difflib.get_close_matches(wanted, by_fold, n=most, cutoff=0.6)]
    if not near:
        return ""
    return f"; did you mean {' or '.join(repr(n) for n in near)}?"


def one_line(text: str, width: int | None = None) -> str:
    """Write control characters as escapes, so that a name from a file cannot break a table or steer a terminal.

    Parameters
    ----------
    text : str
    width : int, optional
        Longest result; what is longer is cut and ends in an ellipsis.

    Returns
    -------
    str
    """
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    if width is not None and len(safe) > width:
        safe = safe[: width - 1] + "…"
    return safe
