"""Names as people type them: the nearest known ones, and text that is safe on one line of a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

__all__ = ["did_you_mean", "fold", "one_line"]

_MOST_COMPARED = 20_000  # difflib takes tens of microseconds a name; a typing error must not cost a minute


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
        What exists; of more than 20,000 names those that begin and end most like it are compared.
    most : int
        How many to name at most.

    Returns
    -------
    str
        Case and white space do not count as differences.
    """
    wanted = fold(name)
    by_fold: dict[str, str] = {}
    for candidate in known:
        by_fold.setdefault(fold(candidate), candidate)
    near = list(by_fold)
    if len(near) > _MOST_COMPARED:
        near = _alike_at_the_ends(near, wanted)[:most]
    found = [by_fold[f] for f in difflib.get_close_matches(wanted, near, n=most, cutoff=0.6)]
    return f"; did you mean {' or '.join(repr(n) for n in found)}?" if found else ""


def _alike_at_the_ends(names: list[str], wanted: str) -> list[str]:
    """Choose those with the longest common beginning and end together: after one typing error, all but one letter."""
    codes = np.array([ord(c) for c in wanted], dtype=np.uint32)
    scores, ranked = [np.empty(0, dtype=np.int64)], []
    for length in range(max(1, len(wanted) - 2), len(wanted) + 3):
        group = [name for name in names if len(name) == length]
        letters = np.array(group, dtype=f"U{length}").view(np.uint32).reshape(len(group), length)
        n = min(length, len(wanted))
        begin = np.cumprod(letters[:, :n] == codes[:n], axis=1).sum(axis=1)
        end = np.cumprod(letters[:, ::-1][:, :n] == codes[::-1][:n], axis=1).sum(axis=1)
        scores.append(begin + end)
        ranked += group
    return [ranked[i] for i in np.argsort(-np.concatenate(scores), kind="stable")]


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
