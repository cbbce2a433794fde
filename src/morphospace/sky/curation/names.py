"""Ids for files: short where they can be, never the same twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from morphospace.sky.images import SUFFIXES

__all__ = ["name_files", "printable"]

_LONGEST_FIRST = sorted(SUFFIXES, key=len, reverse=True)  # so that .fits.gz goes as a whole


def name_files(files: Sequence[Path], taken: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give each file an id.

    The name without suffix where no other file has it, else the path below the folder that all share without suffix,
    else the same with suffix, else the whole path.

    Parameters
    ----------
    files : sequence of Path
        The files, each once.
    taken : mapping of str to str, optional
        Ids given before, by absolute path: those files keep them, others do not get them.

    Returns
    -------
    dict
        Id by absolute path, in the order of `files`. It does not depend on that order.
    """
    paths = [os.path.abspath(file) for file in files]
    base = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    options = {path: list(_options(path, base)) for path in paths}
    wanted = Counter(name for names in options.values() for name in dict.fromkeys(names))
    known = dict(taken or {})
    used = set(known.values())
    named = {}
    for path in paths:
        free = (name for name in options[path] if wanted[name] == 1 and name not in used)
        named[path] = known.get(path) or next(free, printable(path))
    return named


def printable(text: str) -> str:
    r"""Write out the bytes of a file name that are no UTF-8, as ``\udcff``: Parquet and HTML take no others."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _options(path: str, base: str) -> Iterator[str]:
    name = printable(os.path.basename(path))
    below = printable(os.path.relpath(path, base)).replace(os.sep, "/")
    yield _without_suffix(name)
    yield _without_suffix(below)
    yield below


def _without_suffix(name: str) -> str:
    for suffix in _LONGEST_FIRST:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
