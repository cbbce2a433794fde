"""Header keywords that become columns of the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from morphospace.errors import ConfigError, DataError
from morphospace.sky.images import read_image
from morphospace.sky.store_schema import COLUMNS

__all__ = ["column_types", "column_values"]

_FILES_ASKED = 32
_logger = logging.getLogger(__name__)


def check_keywords(keywords: Sequence[str]) -> None:
    """Refuse keywords that cannot be columns.

    Raises
    ------
    ConfigError
        If one is named twice, or every store has a column of that name; case does not count, as it does not in SQL.
    """
    taken = {name.lower(): name for name in COLUMNS.names}
    for keyword in keywords:
        if keyword.lower() in taken:
            msg = f"column '{keyword}' is in the store already, as '{taken[keyword.lower()]}'; leave it out of columns."
            raise ConfigError(msg)
        taken[keyword.lower()] = keyword


def column_types(keywords: Sequence[str], files: Sequence[Path], *, hdu: str | int | None) -> dict[str, pa.DataType]:
    """Choose a type for each keyword from the first files, in the order of their names.

    Parameters
    ----------
    keywords : sequence of str
        Header keywords.
    files : sequence of Path
        The input; 32 files that can be read are asked.
    hdu : str, int or None
        As for `read_image`.

    Returns
    -------
    dict
        bool, int64, float64 or string by keyword; whole numbers among others become float64, mixtures with text and
        keywords that no file has become string.
    """
    kinds: dict[str, set[type]] = {keyword: set() for keyword in keywords}
    asked = 0
    for file in sorted(files) if keywords else ():
        try:
            header = read_image(file, hdu=hdu).header
        except DataError:
            continue
        for keyword, found in kinds.items():
            value = _look_up(header, keyword)
            if value is not None:
                found.add(type(value))
        asked += 1
        if asked == _FILES_ASKED:
            break
    return {keyword: _type_for(found) for keyword, found in kinds.items()}


def column_values(
    types: Mapping[str, pa.DataType], header: Mapping[str, Any], source: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Look up the values of one header.

    Returns
    -------
    values : dict
        By keyword; None where the header lacks it or its value does not fit the type.
    misfits : tuple of str
        A sentence for each value that did not fit; they are logged, too.
    """
    values: dict[str, Any] = {}
    misfits = []
    for keyword, kind in types.items():
        value = _look_up(header, keyword)
        values[keyword] = _converted(value, kind)
        if value is not None and values[keyword] is None:
            misfits.append(f"{keyword} = {value!r} is no {kind}, the type that the first files gave this column")
            _logger.warning("'%s': %s; the row has null.", source, misfits[-1])
    return values, tuple(misfits)


def _look_up(header: Mapping[str, Any], keyword: str) -> bool | int | float | str | None:
    value = header.get(keyword, header.get(keyword.upper()))
    return value if isinstance(value, bool | int | float | str) else None


def _type_for(found: set[type]) -> pa.DataType:
    if found == {bool}:
        return pa.bool_()
    if found == {int}:
        return pa.int64()
    if found and found <= {int, float}:
        return pa.float64()
    return pa.string()


def _converted(value: bool | int | float | str | None, kind: pa.DataType) -> Any:  # noqa: ANN401
    if value is None:
        return None
    if pa.types.is_string(kind):
        return str(value).strip()
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool | str):
        return None
    if pa.types.is_floating(kind):
        return float(value)
    return int(value) if float(value).is_integer() and abs(value) < 2**63 else None
