"""Conditions on columns, such as ``"snr > 10 and object != 'M51'"``: parsed here, never run as Python."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.sky.flags import Flag

__all__ = ["columns_of", "rows_where"]

_LONGEST = 2_000  # characters; a longer condition was not typed by a person
_HELP = "write e.g. \"snr > 10 and object != 'M51' and flags == 0\""
_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`([^`]*)`", re.DOTALL)

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


class _Part(NamedTuple):
    """A compiled piece: a condition or a value."""

    expression: pc.Expression
    condition: bool


def rows_where(table: pa.Table, where: str) -> NDArray[np.bool_]:
    """Tell which rows of a table meet a condition.

    Parameters
    ----------
    table : pyarrow.Table
        With every column that the condition names.
    where : str
        Comparisons ``< <= > >= == !=`` (chained too: ``10 < snr < 20``), ``in`` and ``not in`` with a list,
        ``is None`` and ``is not None``, joined by ``and``, ``or``, ``not`` and parentheses. Values: columns, numbers,
        strings in quotes, ``+ - * /``. Flags by name: ``flags & EDGE == 0``. A column whose name is not a Python name
        goes in backticks: ``` `DATE-OBS` > '2020' ```.

    Returns
    -------
    array of bool, (N,)
        A comparison with a missing value (null) is false, and ``!=`` is true, as in pandas; so
        ``object != 'M51'`` keeps rows without an object name. ``is None`` is true for null and for NaN.

    Raises
    ------
    ConfigError
        If the condition cannot be read, names a column that is not there (the nearest is named), or compares a
        string with a number.

    Examples
    --------
    >>> table = pa.table({"snr": [5.0, 20.0, 30.0], "object": ["M51", None, "M51"]})
    >>> rows_where(table, "snr > 10 and object != 'M51'").tolist()
    [False, True, False]
    """
    part = _Compiler(where, {name: table.schema.field(name).type for name in table.column_names}).compile()
    # Only the columns used: others may have a type that the scanner does not know, or be large.
    used = table.select(columns_of(where, table.column_names)) if table.num_columns else table
    if used.num_columns == 0:  # "1 < 2": a table without columns would forget how many rows it has
        used = pa.table({"": pa.nulls(len(table))})
    try:
        found = ds.dataset(used).to_table(columns={"found": part.expression})["found"]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        msg = f"where={where!r} cannot be computed ({str(error).splitlines()[0]}); {_HELP}."
        raise ConfigError(msg) from None
    mask: NDArray[np.bool_] = found.combine_chunks().to_numpy(zero_copy_only=False)
    return mask.astype(np.bool_)


def columns_of(where: str, known: list[str]) -> list[str]:
    """Name the columns that a condition uses, each once, so that only these need be read.

    Parameters
    ----------
    where : str
    known : list of str
        Names of the columns there are.

    Returns
    -------
    list of str

    Raises
    ------
    ConfigError
        If the condition cannot be read or names a column that is not in ``known``.
    """
    compiler = _Compiler(where, dict.fromkeys(known))
    tree = compiler.parse()
    names = [compiler.quoted.get(n.id, n.id) for n in ast.walk(tree) if isinstance(n, ast.Name)]
    return [name for name in dict.fromkeys(names) if compiler.is_column(name)]


class _Compiler:
    """Turn the syntax tree of one condition into an expression of pyarrow."""

    def __init__(self, where: str, types: Mapping[str, Any]) -> None:
        self.where = where
        self.types = types
        self.quoted: dict[str, str] = {}  # stand-in -> name written in backticks

    def compile(self) -> _Part:
        try:
            part = self.visit(self.parse())
        except RecursionError:
            self.refuse("it is nested too deep")
        if not part.condition:
            self.refuse("it is a value and not a condition")
        return part

    def parse(self) -> ast.expr:
        if len(self.where) > _LONGEST:
            msg = f"where must have at most {_LONGEST:,} characters; got {len(self.where):,}."
            raise ConfigError(msg)
        try:
            return ast.parse(_TOKEN.sub(self._unquote, self.where).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deep
            self.refuse("it is not a condition that can be read")

    def _unquote(self, match: re.Match[str]) -> str:
        if match.group(1) is None:  # a string: left as it is
            return match.group(0)
        stand_in = f"_column_{len(self.quoted)}_"
        self.quoted[stand_in] = match.group(1)
        return stand_in

    def refuse(self, reason: str) -> NoReturn:
        msg = f"where={self.where!r} cannot be used: {reason}; {_HELP}."
        raise ConfigError(msg) from None

    def is_column(self, name: str) -> bool:
        if name in self.types:
            return True
        if name in Flag.__members__:
            return False
        msg = f"unknown column '{name}' in where={self.where!r}{nearest(name, self.types)}"
        raise ConfigError(msg)

    def visit(self, node: ast.expr) -> _Part:
        method = _VISITORS.get(type(node))
        if method is None:
            self.refuse(f"{ast.unparse(node)[:60]!r} is not allowed in it")
        return method(self, node)

    def condition(self, node: ast.expr) -> pc.Expression:
        part = self.visit(node)
        if not part.condition:
            self.refuse(f"{ast.unparse(node)[:60]!r} is a value where a condition is needed")
        return part.expression

    def value(self, node: ast.expr) -> pc.Expression:
        part = self.visit(node)
        if part.condition and not isinstance(node, ast.Name | ast.Constant):
            self.refuse(f"{ast.unparse(node)[:60]!r} is a condition where a value is needed")
        return part.expression

    def name(self, node: ast.Name) -> _Part:
        name = self.quoted.get(node.id, node.id)
        if not self.is_column(name):
            return _Part(pc.scalar(int(Flag[name])), condition=False)
        column = pc.field(name)
        if self.types[name] is not None and pa.types.is_boolean(self.types[name]):
            return _Part(pc.coalesce(column, pc.scalar(False)), condition=True)
        return _Part(column, condition=False)

    def constant(self, node: ast.Constant) -> _Part:
        if isinstance(node.value, bool):
            return _Part(pc.scalar(node.value), condition=True)
        if not isinstance(node.value, int | float | str) or _too_large(node.value):
            self.refuse(f"{ast.unparse(node)[:60]} is not allowed in it")
        return _Part(pc.scalar(node.value), condition=False)

    def join(self, node: ast.BoolOp) -> _Part:
        parts = [self.condition(v) for v in node.values]
        joined = parts[0]
        for part in parts[1:]:
            joined = joined & part if isinstance(node.op, ast.And) else joined | part
        return _Part(joined, condition=True)

    def unary(self, node: ast.UnaryOp) -> _Part:
        if isinstance(node.op, ast.Not):
            return _Part(~self.condition(node.operand), condition=True)
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return self.constant(ast.Constant(-_number(self, node.operand)))
        if isinstance(node.op, ast.USub):
            return _Part(pc.negate(self.value(node.operand)), condition=False)
        self.refuse(f"{ast.unparse(node)[:60]!r} is not allowed in it; write not for 'is not so'")

    def binary(self, node: ast.BinOp) -> _Part:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.BitAnd):
            return _Part(pc.bit_wise_and(left, right), condition=False)
        if isinstance(node.op, ast.Div):  # whole numbers divide as in Python 3, and x / 0 is not an error
            return _Part(pc.divide(left.cast(pa.float64()), right.cast(pa.float64())), condition=False)
        if type(node.op) not in _ARITHMETIC:
            self.refuse(f"{ast.unparse(node)[:60]!r} is not allowed in it; join conditions with and, or, not")
        return _Part(_ARITHMETIC[type(node.op)](left, right), condition=False)

    def compare(self, node: ast.Compare) -> _Part:
        steps = zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
        joined = None
        for left, op, right in steps:
            one = self.compare_two(left, op, right)
            joined = one if joined is None else joined & one
        return _Part(joined, condition=True)

    def compare_two(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(op, ast.In | ast.NotIn):
            found = self.is_in(left, right)
            return ~found if isinstance(op, ast.NotIn) else found
        none = isinstance(right, ast.Constant) and right.value is None
        if isinstance(op, ast.Is | ast.IsNot) and none:
            missing = pc.is_null(self.value(left), nan_is_null=True)
            return ~missing if isinstance(op, ast.IsNot) else missing
        if none or type(op) not in _COMPARE:
            self.refuse("missing values are asked for with 'is None' or 'is not None'")
        compared = _COMPARE[type(op)](self.value(left), self.value(right))
        return pc.coalesce(compared, pc.scalar(isinstance(op, ast.NotEq)))

    def is_in(self, left: ast.expr, right: ast.expr) -> pc.Expression:
        if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
            self.refuse("'in' needs a list, e.g. object in ['M51', 'M81']")
        wanted = self.value(left)
        found = None
        for item in right.elts:
            if not isinstance(item, ast.Constant | ast.UnaryOp):
                self.refuse("the list after 'in' may hold numbers and strings only")
            one = pc.coalesce(wanted == self.value(item), pc.scalar(False))
            found = one if found is None else found | one
        return found


def _too_large(value: float | str) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _number(compiler: _Compiler, node: ast.Constant) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        compiler.refuse(f"{ast.unparse(node)[:60]} has no negative")
    return node.value


_VISITORS: dict[type[ast.expr], Callable[[_Compiler, Any], _Part]] = {
    ast.Name: _Compiler.name,
    ast.Constant: _Compiler.constant,
    ast.BoolOp: _Compiler.join,
    ast.UnaryOp: _Compiler.unary,
    ast.BinOp: _Compiler.binary,
    ast.Compare: _Compiler.compare,
}
