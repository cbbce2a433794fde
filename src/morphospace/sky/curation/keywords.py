"""Header keywords that become columns of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from morphospace.errors import ConfigError
from morphospace.sky.store_schema import COLUMNS

__all__ = ["check_keywords", "column_types", "column_values"]


def check_keywords(keywords: Sequence[str]) -> None:
    """Refuse keywords that cannot be columns.

    Raises
    ------
    ConfigError
        If one is named twice, whatever its case, or is the name of a column that every store has.
    """
    for place, keyword in enumerate(keywords):
        if keyword in COLUMNS.names:
            msg = f"every store has a column '{keyword}'; leave it out of columns or write the keyword in capitals."
            raise ConfigError(msg)
        if keyword.lower() in (other.lower() for other in keywords[:place]):
            msg = f"columns names '{keyword}' twice; name each keyword once."
            raise ConfigError(msg)


def column_types(keywords: Sequence[str], headers: Iterable[Mapping[str, Any]]) -> dict[str, pa.DataType]:
    """Choose a type for each keyword from some headers.

    Parameters
    ----------
    keywords : sequence of str
        Header keywords.
    headers : iterable of mapping
        Values by keyword.

    Returns
    -------
    dict
        bool, int64, float64 or string by keyword; whole numbers among others become float64, mixtures with text and
        keywords that no header has become string.
    """
    kinds: dict[str, set[type]] = {keyword: set() for keyword in keywords}
    for header in headers:
        for keyword, found in kinds.items():
            value = _look_up(header, keyword)
            if value is not None:
                found.add(type(value))
    return {keyword: _type_for(found) for keyword, found in kinds.items()}


def column_values(
    types: Mapping[str, pa.DataType], header: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Look up the values of one header.

    Returns
    -------
    values : dict
        By keyword; None where the header lacks it or its value does not fit the type.
    misfits : tuple of str
        A sentence for each keyword whose value did not fit.
    """
    values: dict[str, Any] = {}
    misfits = []
    for keyword, kind in types.items():
        value = _look_up(header, keyword)
        values[keyword] = _converted(value, kind)
        if value is not None and values[keyword] is None:
            misfits.append(f"the value of {keyword} is no {kind}, as those of the first files are; the row has null")
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
