"""Config files: TOML tables whose keys are the parameters of the calls they configure.

An option exists once, in the signature of what it configures: names, types and defaults are read from there. Paths
in a config are relative to the current directory, as on the command line.
"""

from __future__ import annotations

import inspect
import json
import math
import numbers
import re
import sys
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union

from morphospace.errors import ConfigError

__all__ = [
    "apply_overrides",
    "arguments_from",
    "call_from",
    "dump_toml",
    "load_toml",
    "nearest",
    "parse_value",
]

T = TypeVar("T")

#: A TOML file cannot say None; this word does where a parameter may be None.
NONE = "none"

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
_SEQUENCES = (list, tuple, Sequence, Iterable)
_MAPPINGS = (dict, Mapping)


def nearest(name: str, known: Iterable[str]) -> str:
    """End a sentence about an unknown name with the nearest known one, or with all of them.

    Parameters
    ----------
    name : str
        What came.
    known : iterable of str
        What there is.

    Returns
    -------
    str
        Begins with "; ", or is empty where nothing is known.

    Examples
    --------
    >>> nearest("epoch", ["epochs", "lr"])
    "; did you mean 'epochs'?"
    >>> nearest("x", ["epochs", "lr"])
    "; there are 'epochs', 'lr'"
    """
    names = {candidate.casefold(): candidate for candidate in sorted(known)}
    if close := get_close_matches(name.casefold(), names, n=1):
        return f"; did you mean {names[close[0]]!r}?"
    listed = ", ".join(repr(candidate) for candidate in names.values())
    return f"; there {'are' if len(names) > 1 else 'is'} {listed}" if names else ""


def load_toml(path: str | Path) -> dict[str, Any]:
    """Read a config file.

    Parameters
    ----------
    path : str or Path
        A TOML file in UTF-8.

    Returns
    -------
    dict
        Its tables, as written.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML; the message names line and column.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"config '{path}' cannot be read: {error.strerror or error}"
        raise ConfigError(msg) from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are its children
        msg = f"config '{path}' is not TOML: {error}"
        raise ConfigError(msg) from error


def parse_value(text: str) -> Any:  # noqa: ANN401 - any TOML value
    """Read one value as TOML writes it; what is not TOML is the text itself.

    Parameters
    ----------
    text : str
        Such as ``10``, ``true``, ``[1, 2]``, ``"1"`` or ``radio``.

    Returns
    -------
    bool, int, float, str, list or dict
        Dates stay text: no parameter takes one.

    Examples
    --------
    >>> parse_value("1e-3"), parse_value("radio"), parse_value('"1"')
    (0.001, 'radio', '1')
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    return value if len(parsed) == 1 and isinstance(value, bool | int | float | str | list | dict) else text


def apply_overrides(config: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a config with single values replaced.

    Parameters
    ----------
    config : mapping
        Tables of a config; not changed.
    overrides : iterable of str
        Each ``table.key=value``, read by `parse_value`; later ones win.

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        If one has no ``=`` or no key, or goes through a value that is no table.
    """
    result = _copied(config)
    for override in overrides:
        key, equals, text = override.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            msg = f"an override is written table.key=value; got {override!r}"
            raise ConfigError(msg)
        table = result
        for depth, name in enumerate(names[:-1], start=1):
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                msg = f"override {override!r} goes through '{'.'.join(names[:depth])}', which is not a table"
                raise ConfigError(msg)
        table[names[-1]] = parse_value(text.strip())
    return result


def call_from(
    table: Mapping[str, Any],
    target: Callable[..., T],
    where: str,
    *,
    source: str = "the config",
) -> T:
    """Call a function or class with the keys of a table as its arguments.

    Parameters
    ----------
    table : mapping
        Keys are parameters of `target`.
    target : callable
        What to call; its annotations say what each key may hold. Arguments that are objects already, such as the
        encoder of a method, are bound with `functools.partial`; no key may name them.
    where : str
        Name of the table, for messages: ``"train"``.
    source : str
        Where the table was read, for messages: ``"run.toml"``.

    Returns
    -------
    object
        What `target` returns.

    Raises
    ------
    ConfigError
        If a key is unknown, has the wrong type or is missing.
    """
    return target(**arguments_from(table, target, where, source=source))


def arguments_from(
    table: Mapping[str, Any],
    target: Callable[..., Any],
    where: str,
    *,
    source: str = "the config",
) -> dict[str, Any]:
    """Check and convert the keys of a table for a call; parameters as of `call_from`.

    Integers become floats, lists tuples, texts paths and tables dataclasses where the annotation asks for them;
    ``"none"`` is None where None is allowed, and ``true`` is a dataclass with its defaults.

    Returns
    -------
    dict
        Keyword arguments, only those that the table gives.

    Raises
    ------
    ConfigError
        If a key is unknown, has the wrong type or is missing.
    """
    parameters, open_ended = _parameters(target)
    arguments = {}
    for key, value in table.items():
        place = _Place(f"{where}.{key}", source)
        if key in parameters:
            arguments[key] = _convert(value, parameters[key].annotation, place)
        elif open_ended:
            arguments[key] = value
        else:
            raise ConfigError(_unknown_key(place, [f"{where}.{name}" for name in parameters]))
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in table:
            msg = f"'{where}.{name}' is missing in {source}; it must be {_words(parameter.annotation)}"
            raise ConfigError(msg)
    return arguments


def dump_toml(table: Mapping[str, Any]) -> str:
    """Write tables as TOML that `load_toml` reads back to equal values.

    Parameters
    ----------
    table : mapping
        Of str, bool, int, float, lists and mappings of these. A tuple is written as a list, a path as text and None
        as ``"none"``, which `call_from` takes for None again.

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If a value is of another kind, or a key is not a str.
    """
    lines: list[str] = []
    _dump_table(table, "", lines)
    return "".join(f"{line}\n" for line in lines)


class _Place(NamedTuple):
    key: str
    source: str

    def wrong(self, kind: Any, value: Any) -> ConfigError:  # noqa: ANN401
        msg = f"'{self.key}' in {self.source} must be {_words(kind)}; got {_shown(value)}"
        if _choices(kind) and isinstance(value, str):
            msg += nearest(value, _choices(kind)) if len(_choices(kind)) > 1 else ""
        return ConfigError(msg)


def _unknown_key(place: _Place, known: list[str]) -> str:
    if not known:
        return f"unknown key '{place.key}' in {place.source}; there is nothing to set here"
    return f"unknown key '{place.key}' in {place.source}{nearest(place.key, known)}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "a table" if isinstance(value, Mapping) else repr(value)


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that may be named, annotations resolved, and whether any other name is taken too."""
    bound = set(target.keywords) if isinstance(target, partial) else set()
    body = inspect.unwrap(target.func if isinstance(target, partial) else target)
    scope = vars(sys.modules[body.__module__])
    every = [each for each in inspect.signature(target).parameters.values() if each.name not in bound]
    named = {
        parameter.name: parameter.replace(annotation=_resolved(parameter.annotation, scope))
        for parameter in every
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    return named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in every)


def _resolved(annotation: Any, scope: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the type that an annotation names; `object` where its name exists for the type checker only."""
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(holder, globalns=scope)["it"]
    except NameError:
        return object


def _members(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the alternatives of a union, or the one kind."""
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, UnionType) else (kind,)


def _choices(kind: Any) -> list[str]:  # noqa: ANN401
    return [
        value
        for member in _members(kind)
        if typing.get_origin(member) is Literal
        for value in typing.get_args(member)
        if isinstance(value, str)
    ]


def _words(kind: Any) -> str:  # noqa: ANN401
    """Say in words what a key may hold."""
    words = [_word(member) for member in _members(kind) if member is not NoneType]
    words = [word for word in dict.fromkeys(words) if word]
    if NoneType in _members(kind):
        words.append(f'"{NONE}"')
    return " or ".join(words) or "set in Python, for no text can stand for it"


def _word(kind: Any) -> str:  # noqa: ANN401
    origin = typing.get_origin(kind) or kind
    if kind is Any:
        return "a value"
    if origin is Literal:
        return " or ".join(repr(value) for value in typing.get_args(kind))
    if origin in _WORDS:
        return _WORDS[origin]
    if origin in _SEQUENCES:
        return "a list"
    return "a table" if origin in _MAPPINGS or is_dataclass(origin) else ""


def _convert(value: Any, kind: Any, place: _Place) -> Any:  # noqa: ANN401
    """Return the value as its annotation wants it, or raise ConfigError."""
    if kind is Any:
        return value
    origin: Any = typing.get_origin(kind) or kind
    if origin in (Union, UnionType):
        return _convert_union(value, kind, place)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in typing.get_args(kind)):
            return value
        raise place.wrong(kind, value)
    if origin in _SEQUENCES:
        return _convert_sequence(value, kind, place)
    if origin in _MAPPINGS and isinstance(value, Mapping):
        item = (*typing.get_args(kind), Any, Any)[1]
        return {key: _convert(each, item, _Place(f"{place.key}.{key}", place.source)) for key, each in value.items()}
    if isinstance(origin, type) and is_dataclass(origin) and (value is True or isinstance(value, Mapping)):
        return call_from({} if value is True else value, origin, place.key, source=place.source)
    return _convert_scalar(value, origin, place)


def _convert_scalar(value: Any, kind: Any, place: _Place) -> Any:  # noqa: ANN401
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind in _WORDS and type(value) is kind:
        return value
    raise place.wrong(kind, value)


def _convert_union(value: Any, kind: Any, place: _Place) -> Any:  # noqa: ANN401
    members = _members(kind)
    if NoneType in members and (value is None or (value == NONE and NONE not in _choices(kind))):
        return None
    inner = None
    # The member of the value's own type comes first: 3 stays an int where int and float are both allowed.
    for member in sorted(members, key=lambda each: each is not type(value)):
        try:
            return _convert(value, member, place)
        except ConfigError as error:
            if not str(error).startswith(f"'{place.key}'"):
                inner = inner or error  # about a key inside a table: more to the point than "must be a table"
    raise inner or place.wrong(kind, value)


def _convert_sequence(value: Any, kind: Any, place: _Place) -> Any:  # noqa: ANN401
    if not isinstance(value, list | tuple):
        raise place.wrong(kind, value)
    kinds: tuple[Any, ...] = typing.get_args(kind) or (Any,)
    if typing.get_origin(kind) is tuple and Ellipsis not in kinds:
        if len(kinds) != len(value):
            msg = f"'{place.key}' in {place.source} must be a list of {len(kinds)}; got {len(value)}: {value!r}"
            raise ConfigError(msg)
    else:
        kinds = (kinds[0],) * len(value)
    items = [
        _convert(each, item, _Place(f"{place.key}[{number}]", place.source))
        for number, (each, item) in enumerate(zip(value, kinds, strict=True))
    ]
    return items if (typing.get_origin(kind) or kind) is list else tuple(items)


def _dump_table(table: Mapping[str, Any], path: str, lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (plain or not table):
        lines.extend([""] * bool(lines) + [f"[{path}]"])
    lines.extend(f"{_dumped_key(key)} = {_dumped(value, f'{path}.{key}')}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, Mapping):
            _dump_table(value, f"{path}.{_dumped_key(key)}".removeprefix("."), lines)


def _dumped_key(key: object) -> str:
    if not isinstance(key, str):
        msg = f"a key of a TOML table is a text; got {key!r}"
        raise ConfigError(msg)
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _dumped_text(key)


def _dumped_text(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is, and for pairs of surrogates.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _dumped(value: object, place: str) -> str:
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value)) if math.isfinite(value) else str(float(value))
    if isinstance(value, str | Path):
        return _dumped_text(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_dumped(each, place) for each in value)}]"
    if isinstance(value, Mapping):  # inside a list
        pairs = [f"{_dumped_key(key)} = {_dumped(each, place)}" for key, each in value.items()]
        return f"{{{', '.join(pairs)}}}"
    msg = f"'{place.removeprefix('.')}' cannot be written to TOML: it is a {type(value).__name__}"
    raise ConfigError(msg)
