"""Header cards of FITS, read without astropy where they are well formed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from astropy.io.fits import Card

from morphospace.sky._intake import quiet

__all__ = ["format_card", "parse_header", "read_axes"]

_logger = logging.getLogger(__name__)
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY", "END"})
_PRINTABLE = bytes(range(32, 127))
_TO_QUESTION_MARK = bytes(byte if byte in _PRINTABLE else ord("?") for byte in range(256))

# FITS standard 4.0, section 4.2: string, logical, integer, real or nothing, then a comment.
_VALUE = re.compile(
    r" *(?:'(?P<text>(?:[^']|'')*)'|(?P<flag>[TF])|(?P<whole>[+-]?\d+)"
    r"|(?P<real>[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[DE]))(?:[DE][+-]?\d+)?))? *(?:/.*)?"
)
_MANY_CARDS = 4096  # files of one survey share most of their cards


class _BrokenCardError(ValueError):
    """A card has no readable value."""


def parse_header(raw: bytes, source: str) -> dict[str, Any]:
    """Read the keywords and values of a header.

    Parameters
    ----------
    raw : bytes
        Cards of 80 bytes, without END.
    source : str
        Named in the log.

    Returns
    -------
    dict
        str, bool, int, float, complex or None (undefined) by keyword; of duplicates the last. COMMENT, HISTORY
        and blank cards are left out, HIERARCH keywords stand without that word, CONTINUE is joined.

    Notes
    -----
    Cards that the standard's grammar does not cover are put to `astropy.io.fits.Card`; what that cannot read either
    is left out and logged. Bytes that are not printable ASCII are read as '?', which is logged too.
    """
    if raw.translate(None, _PRINTABLE):
        _logger.warning("'%s': header characters that FITS does not allow are read as '?'", source)
    cards = raw.translate(_TO_QUESTION_MARK).decode("ascii")
    header: dict[str, Any] = {}
    broken: list[str] = []
    key = ""
    for start in range(0, len(cards), 80):
        card = cards[start : start + 80]
        name = card[:8].rstrip()
        if name in _COMMENTARY:
            continue
        try:
            if name == "CONTINUE":
                _continue(header, key, card)
                continue
            key, value = _plain_card(card) or _odd_card(card, source)
        except _BrokenCardError:
            broken.append(name)
        else:
            header[key] = value
    if broken:
        _logger.warning("'%s': broken header cards are left out: %s", source, ", ".join(dict.fromkeys(broken)))
    return header


def read_axes(header: Mapping[str, Any], key: str = "NAXIS") -> tuple[int, ...] | None:
    """Read the lengths of the axes in numpy's order; None if a card is missing or no natural number."""
    n = header.get(key)
    if type(n) is not int or not 0 <= n <= 999:
        return None
    axes = tuple(header.get(f"{key}{i}") for i in range(n, 0, -1))
    return axes if all(type(axis) is int and axis >= 0 for axis in axes) else None  # type: ignore[return-value]


def format_card(key: str, value: str | bool | int | float) -> str:
    """Write one card of 80 characters.

    Examples
    --------
    >>> format_card("OBJECT", "GG Tau").rstrip()
    "OBJECT  = 'GG Tau  '"
    """
    if isinstance(value, str):
        text = "'{:8}'".format(value.replace("'", "''"))
    elif isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    else:
        text = f"{value!r:>20}".upper()
    return f"{key:8}= {text}".ljust(80)


@lru_cache(maxsize=_MANY_CARDS)
def _plain_card(card: str) -> tuple[str, Any] | None:
    """Keyword and value of a card of the common form; None if it has another."""
    if card[8:10] != "= ":
        return None
    match = _VALUE.fullmatch(card, 10)
    return (card[:8].strip().upper(), _value(match)) if match else None


def _odd_card(card: str, source: str) -> tuple[str, Any]:
    """Keyword and value of any other card."""
    if card[8:10] != "= " and card[:9] == "HIERARCH " and "=" in card:
        key, text = (part.strip() for part in card[9:].split("=", 1))
        if match := _VALUE.fullmatch(text):
            return key, _value(match)
    return _ask_astropy(card, source)


def _value(match: re.Match[str]) -> str | bool | int | float | None:
    """Value of a card that the grammar covers."""
    kind = match.lastgroup
    if kind is None:
        return None
    text = match[kind]
    if kind == "text":
        return text.replace("''", "'").rstrip()
    if kind == "flag":
        return text == "T"
    return int(text) if kind == "whole" else float(text.replace("D", "E"))


def _ask_astropy(card: str, source: str) -> tuple[str, Any]:
    """Keyword and value as astropy reads a card out of the ordinary."""
    if "= " not in card[:10]:
        raise _BrokenCardError
    try:
        with quiet(source):
            read = Card.fromstring(card)
            key, value = read.keyword, read.value
    except Exception as error:  # VerifyError, and ValueError from its number parser
        raise _BrokenCardError from error
    return key, value if isinstance(value, str | bool | int | float | complex) else None


def _continue(header: dict[str, Any], key: str, card: str) -> None:
    """Lengthen the string before by that of a CONTINUE card (standard 4.0, section 4.2.1.2)."""
    match = _VALUE.fullmatch(card[8:])
    begun = header.get(key)
    if match is None or match["text"] is None or not isinstance(begun, str) or not begun.endswith("&"):
        raise _BrokenCardError
    header[key] = (begun[:-1] + match["text"].replace("''", "'")).rstrip()
