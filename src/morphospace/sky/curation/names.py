"""Ids for files: short where they can be, never the same twice."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from morphospace.sky.images import SUFFIXES

__all__ = ["name_files", "printable"]

_LONGEST_FIRST = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES, key=len, reverse=True))
_SUFFIX = re.compile(rf"(?<=.)(?:{_LONGEST_FIRST})\Z", re.IGNORECASE | re.DOTALL)  # .fits.gz goes as a whole


def name_files(files: Sequence[str | Path], taken: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give each file an id.

    The name without suffix where no other file has it, else the path below the folder that all share without suffix,
    else the same with suffix, else the whole path.

    Parameters
    ----------
    files : sequence of path
        The files, each once.
    taken : mapping of str to str, optional
        Ids given before, by absolute path: those files keep them, others do not get them.

    Returns
    -------
    dict
        Id by absolute path, in the order of `files`. It does not depend on that order.
    """
    paths = [os.path.abspath(file) for file in files]
    known = dict(taken or {})
    used = set(known.values())
    short = {path: _without_suffix(printable(os.path.basename(path))) for path in paths}
    seen = Counter(short.values())
    named = {path: name for path, name in short.items() if path not in known and seen[name] == 1 and name not in used}
    rest = [path for path in paths if path not in named and path not in known]
    if rest:
        base = os.path.commonpath([os.path.dirname(path) for path in paths])
        named |= _longer_names(rest, base, used | {*named.values()})
    return {path: known.get(path) or named[path] for path in paths}


def printable(text: str) -> str:
    r"""Write out the bytes of a file name that are no UTF-8, as ``\udcff``: Parquet and HTML take no others."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _longer_names(paths: Sequence[str], base: str, used: Set[str]) -> dict[str, str]:
    """Name the files whose short names are not theirs alone, by their paths below a folder."""
    below = {path: printable(os.path.relpath(path, base)).replace(os.sep, "/") for path in paths}
    options = {path: dict.fromkeys((_without_suffix(text), text)) for path, text in below.items()}
    wanted = Counter(name for names in options.values() for name in names)
    free = {path: (n for n in names if wanted[n] == 1 and n not in used) for path, names in options.items()}
    return {path: next(free[path], printable(path)) for path in paths}


def _without_suffix(name: str) -> str:
    found = _SUFFIX.search(name)
    return name[: found.start()] if found else name
