"""Signatures read from source text: what a function takes, without importing its module (and torch with it)."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

__all__ = ["REQUIRED", "Kind", "Parameter", "Signature", "definition", "signature_of"]

ROOT = Path(__file__).parents[2]
#: Default of a parameter that has none.
REQUIRED = object()

_SCALARS = {"int": "int", "float": "float", "str": "str", "bool": "bool", "Path": "path"}
_SEQUENCES = {"Sequence", "Iterable", "list", "tuple", "Collection"}

#: Of each parameter, its type and its description as a docstring has them.
Words = dict[str, tuple[str, str]]
Base = Literal["int", "float", "str", "bool", "path", "value", "object"]


@dataclass(frozen=True)
class Kind:
    """What a parameter may hold, as far as a command line can say it.

    Parameters
    ----------
    base : str
        ``"value"`` is any TOML value (unions of scalars), ``"object"`` what no text can stand for.
    choices : tuple of str
        The texts allowed, where only these are.
    many : bool
        A sequence of the base.
    length : int
        Of that sequence where it is fixed, else 0.
    optional : bool
        None is allowed.
    fields : tuple of Parameter
        Of a dataclass of options.
    """

    base: Base
    choices: tuple[str, ...] = ()
    many: bool = False
    length: int = 0
    optional: bool = False
    fields: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, kind, default (or REQUIRED), the words of its docstring and the texts it lists."""

    name: str
    kind: Kind
    default: object
    help: str
    listed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signature:
    """A function or class: summary line, the text after it, and its parameters."""

    summary: str
    text: str
    parameters: tuple[Parameter, ...]


@cache
def signature_of(where: str) -> Signature:
    """Read what a function or class of morphospace takes from its source.

    Parameters
    ----------
    where : str
        Module and name: ``"morphospace.sky.curate:curate"``.

    Returns
    -------
    Signature

    Raises
    ------
    LookupError
        If the module or the name does not exist.
    """
    module, node = definition(where)
    summary, text, words = _parse_docstring(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        return Signature(summary, text, _class_parameters(module, node, words))
    return Signature(summary, text, _parameters(module, node, words))


def definition(where: str) -> tuple[str, ast.FunctionDef | ast.ClassDef]:
    """Find where a function or class is defined, following imports within morphospace.

    Parameters
    ----------
    where : str
        Module and name: ``"morphospace.learn.methods:BYOL"``.

    Returns
    -------
    str
        The module that defines it.
    FunctionDef or ClassDef

    Raises
    ------
    LookupError
        If the module or the name does not exist.
    """
    module, name = _home(*where.split(":"))
    node = _names(module).get(name)
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        msg = f"no function or class {name!r} in {module}"
        raise LookupError(msg)
    return module, node


@cache
def _names(module: str) -> dict[str, ast.stmt]:
    """Return the statement that binds each name at the top of a module."""
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        msg = f"no module {module}"
        raise LookupError(msg)
    names: dict[str, ast.stmt] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            names.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: node for alias in node.names})
    return names


def _home(module: str, name: str) -> tuple[str, str]:
    """Follow imports of a name within morphospace to the module that defines it."""
    node = _names(module).get(name)
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("morphospace"):
        original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
        return _home(str(node.module), original)
    return module, name


def _parameters(module: str, node: ast.FunctionDef, words: Words, *, method: bool = False) -> tuple[Parameter, ...]:
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = list(zip(positional, defaults, strict=True))[1 if method else 0 :]
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return tuple(
        Parameter(arg.arg, _kind(module, arg.annotation), _default(module, default), *_told(module, arg.arg, words))
        for arg, default in pairs
    )


def _told(module: str, name: str, words: Words) -> tuple[str, tuple[str, ...]]:
    """Return the words on a parameter and the texts that its type lists, ``{"a", "b"}``.

    "See `Other`" are those on the parameter of the same name there.
    """
    kind, text = words.get(name, ("", ""))
    if other := re.match(r"See `(\w+)`", text):
        with suppress(LookupError):
            docstring = ast.get_docstring(definition(f"{module}:{other[1]}")[1]) or ""
            kind, text = _parse_docstring(docstring)[2].get(name, (kind, text))
    listed = re.match(r"\{(.*?)\}", kind)
    return _plain(text), tuple(re.findall(r'"([^"]+)"', listed[1])) if listed else ()


def _class_parameters(module: str, node: ast.ClassDef, words: Words) -> tuple[Parameter, ...]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return _parameters(module, each, words, method=True)
    return tuple(
        Parameter(
            each.target.id,
            _kind(module, each.annotation),
            _default(module, each.value),
            *_told(module, each.target.id, words),
        )
        for each in node.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not _is(each.annotation, "ClassVar")
    )


def _is(node: ast.expr, name: str) -> bool:
    """Tell whether an annotation is `name` or `name[...]`."""
    head = node.value if isinstance(node, ast.Subscript) else node
    return (isinstance(head, ast.Name) and head.id == name) or (isinstance(head, ast.Attribute) and head.attr == name)


def _default(module: str, node: ast.expr | None) -> object:
    """Return a default: its value, or the value of the constant it names; other expressions stay text."""
    if node is None:
        return REQUIRED
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, ast.Name):
        home, name = _home(module, node.id)
        bound = _names(home).get(name)
        if isinstance(bound, ast.Assign | ast.AnnAssign) and bound.value is not None:
            return _default(home, bound.value)
    return _Expression(ast.unparse(node))


class _Expression(str):
    """Source text of a default that is no literal, such as ``Loop()``."""

    __slots__ = ()


def _kind(module: str, node: ast.expr | None) -> Kind:
    """Return what an annotation allows."""
    if isinstance(node, ast.Constant):
        if node.value is None:
            return Kind("object", optional=True)
        if isinstance(node.value, str):  # a quoted annotation
            return _kind(module, ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp):
        return _union(_kind(module, node.left), _kind(module, node.right))
    if isinstance(node, ast.Subscript):
        return _subscript_kind(module, node)
    return _named_kind(module, node.id) if isinstance(node, ast.Name) else Kind("object")


def _subscript_kind(module: str, node: ast.Subscript) -> Kind:
    head = node.value.id if isinstance(node.value, ast.Name) else ""
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if head == "Literal":
        values = [item.value for item in items if isinstance(item, ast.Constant)]
        texts = tuple(value for value in values if isinstance(value, str))
        return Kind("str", choices=texts) if len(texts) == len(values) else Kind("value")
    if head == "Optional":
        return replace(_kind(module, items[0]), optional=True)
    if head in _SEQUENCES:
        fixed = head == "tuple" and not (isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis)
        named = any(isinstance(each, ast.Name) and each.id == "str" for each in ast.walk(items[0]))
        base: Base = "str" if named else _kind(module, items[0]).base  # names stay names: an id may be "12"
        return Kind(base, many=True, length=len(items) if fixed else 0)
    return Kind("object")


def _named_kind(module: str, name: str) -> Kind:
    home, name = _home(module, name)
    node = _names(home).get(name)
    if isinstance(node, ast.ClassDef) and any(_is_dataclass(each) for each in node.decorator_list):
        return Kind("object", fields=signature_of(f"{home}:{name}").parameters)
    if isinstance(node, ast.Assign | ast.AnnAssign):  # an alias such as Units = Literal["noise", "range"]
        return _kind(home, node.value)
    base = _SCALARS.get(name, "object")
    return Kind(base)  # type: ignore[arg-type] # values of _SCALARS are Base


def _is_dataclass(node: ast.expr) -> bool:
    return _is(node.func if isinstance(node, ast.Call) else node, "dataclass")


def _union(left: Kind, right: Kind) -> Kind:
    """Return the kind of ``left | right``: what no text can stand for falls away."""
    optional = left.optional or right.optional
    kinds = [kind for kind in (left, right) if kind.base != "object" or kind.fields]
    if len(kinds) < 2:
        return replace(kinds[0] if kinds else Kind("object"), optional=optional)
    fields = left.fields or right.fields
    length = left.length if left.length == right.length else 0
    many = left.many or right.many
    bases = {kind.base for kind in kinds if kind.base != "object"}
    if bases <= {"str", "path"} and not many:
        choices = left.choices + right.choices if left.choices and right.choices else ()
        return Kind("path" if "path" in bases else "str", choices, many, length, optional, fields)
    if many and bases & {"str", "path"}:
        return Kind("str", (), many, length, optional, fields)
    return Kind(bases.pop() if len(bases) == 1 else "value", (), many, length, optional, fields)


def _parse_docstring(text: str) -> tuple[str, str, Words]:
    """Return the summary, the paragraphs before the first section, and type and words of each parameter."""
    head, *sections = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
    summary, _, rest = head.strip().partition("\n\n")
    words: Words = {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title in ("Parameters", "Attributes"):
            words.update(_parse_parameters(body))
    return _plain(summary), rest.strip(), words


def _parse_parameters(body: str) -> Words:
    """Return type and description of each parameter of a numpydoc section."""
    words: Words = {}
    names: list[str] = []
    for line in body.splitlines():
        if line and not line[0].isspace():
            listed, _, kind = line.partition(" : ")
            names = [name.strip().lstrip("*") for name in listed.split(",")]
            words.update({name: (kind.strip(), "") for name in names})
        for name in names if line[:1].isspace() else ():
            kind, text = words[name]
            words[name] = (kind, f"{text} {line.strip()}".strip())
    return words


def _plain(text: str) -> str:
    """Return docstring prose as one line for a terminal."""
    return " ".join(text.replace("``", "").replace("`", "").split())
