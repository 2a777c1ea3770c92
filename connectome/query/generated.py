"""
The second form of the common conditions: generated source, one guarded loop for a whole filter.

A loop over dicts is bound by memory, so a type test in front of each comparison is all but free, and a call is not.
What can be said as an expression is inlined; for the rest the loop calls the closures, which are the meaning of it all.

The source holds no word of the user: constants, field names and closures are handed over as values, so that the source
is the shape of a filter, and is compiled once for all filters of that shape.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from types import NoneType
from typing import Any, Final

from bson import Decimal128, Int64, Regex

from connectome.query.paths import Test, is_plain, without_path
from connectome.query.tree import At, Condition, Every, Leaf, Not, Some
from connectome.query.values import MISSING, Document, Value

# Documents → the positions of those that match.
Scan = Callable[[Sequence[Document]], list[int]]

# Below this many documents even the source costs more (10-40 µs) than its loop saves.
_WORTH_WRITING: Final = 64
# Below this many documents compiling an unseen shape (110-880 µs) costs more than its loop saves.
_WORTH_COMPILING: Final = 1_000
_MOST_LEAVES: Final = 32
# The inlined way through arrays doubles with each part.
_MOST_PARTS: Final = 3
_MOST_SHAPES: Final = 1_000

_NUMBERS: Final = frozenset({int, float, Int64})
# What stands for several values at a path: an array, and what a path found in an array of documents.
_MANY: Final = frozenset({list, tuple})
_PLAIN: Final = _NUMBERS | {str, NoneType, type(MISSING)}
_SCOPE: Final = {
    "MISSING": MISSING,
    "NUMBERS": _NUMBERS,
    "MANY": _MANY,
    "MANY_OR_DECIMAL": _MANY | {Decimal128},
    "MANY_OR_REGEX": _MANY | {Regex},
}


@dataclass(frozen=True, slots=True)
class _Inline:
    """
    How a leaf says itself as an expression.

    guarded: right for any value.  ``{first}`` is the value where it is evaluated first, ``{v}`` wherever else,
        ``{k}`` the constant, ``{slow}`` the closure for all values.
    bare: right for values of the types in ``safe``.
    """

    guarded: str
    bare: str
    safe: frozenset[type]
    constant: Value = None


def _equality(operand: Value) -> _Inline | None:
    kind = type(operand)
    if operand is None:
        return _Inline(
            "({first} is None or {v} is MISSING or type({v}) in MANY and {slow}({v}))",
            "({first} is None or {v} is MISSING)",
            _PLAIN | {bool},
        )
    if kind is bool:
        return _Inline(
            "({first} is {k} or type({v}) in MANY and {slow}({v}))", "{first} is {k}", _PLAIN | {bool}, operand
        )
    if kind is str:
        # Nothing but the same string equals a string, so that an array can be asked as it is.
        return _Inline(
            "({first} == {k} or type({v}) in MANY and ({k} in {v} if type({v}) is list else {slow}({v})))",
            "{first} == {k}",
            _PLAIN,
            operand,
        )
    if kind in _NUMBERS and operand == operand:
        # True == 1, and is no number.
        return _Inline(
            "(type({v}) in NUMBERS if {first} == {k} else type({v}) in MANY_OR_DECIMAL and {slow}({v}))",
            "{first} == {k}",
            _PLAIN,
            operand,
        )
    return None


def _ordering(symbol: str) -> Callable[[Value], _Inline | None]:
    def inline(operand: Value) -> _Inline | None:
        holds = f"{{v}} {symbol} {{k}}"
        bare = f"{{first}} {symbol} {{k}}"
        if type(operand) is str:
            return _Inline(
                f"({holds} if type({{first}}) is str else type({{v}}) in MANY and {{slow}}({{v}}))",
                bare,
                frozenset({str}),
                operand,
            )
        if type(operand) in _NUMBERS and operand == operand:
            return _Inline(
                f"({holds} if type({{first}}) in NUMBERS else type({{v}}) in MANY_OR_DECIMAL and {{slow}}({{v}}))",
                bare,
                _NUMBERS,
                operand,
            )
        return None

    return inline


def _membership(operand: Value) -> _Inline | None:
    kinds = set(map(type, operand))
    if kinds == {str}:
        return _Inline(
            "({v} in {k} if type({first}) is str else type({v}) in MANY and {slow}({v}))",
            "{first} in {k}",
            _PLAIN,
            frozenset(operand),
        )
    if kinds and kinds <= _NUMBERS and all(number == number for number in operand):
        return _Inline(
            "({v} in {k} if type({first}) in NUMBERS else type({v}) in MANY_OR_DECIMAL and {slow}({v}))",
            "{first} in {k}",
            _PLAIN,
            frozenset(operand),
        )
    return None


def _existence(_: Value) -> _Inline:
    return _Inline(
        "({first} is not MISSING and (type({v}) is not tuple or {slow}({v})))",
        "{first} is not MISSING",
        _PLAIN | {bool, list, dict},
    )


def pattern_prefix(operand: Value) -> str | None:
    """The text that all strings begin with, and only they, which a pattern without options finds; else None."""
    if type(operand) is Regex:
        if operand.flags:
            return None
        operand = operand.pattern
    found = re.fullmatch(r"\^([\w ,:;/@%&=~'\"<>!#-]+)", operand) if type(operand) is str else None
    return found[1] if found else None


def _pattern(operand: Value) -> _Inline:
    prefix = pattern_prefix(operand)
    if prefix is None:
        return _Inline(
            "({slow}({v}) if type({first}) is str else type({v}) in MANY_OR_REGEX and {slow}({v}))",
            "{slow}({first})",
            frozenset({str}),
        )
    return _Inline(
        "({v}.startswith({k}) if type({first}) is str else type({v}) in MANY_OR_REGEX and {slow}({v}))",
        "{first}.startswith({k})",
        frozenset({str}),
        prefix,
    )


_INLINES: Final[dict[str, Callable[[Value], _Inline | None]]] = {
    "$eq": _equality,
    "$ne": _equality,
    "$gt": _ordering(">"),
    "$gte": _ordering(">="),
    "$lt": _ordering("<"),
    "$lte": _ordering("<="),
    "$in": _membership,
    "$nin": _membership,
    "$exists": _existence,
    "$regex": _pattern,
}


def _inline(leaf: Leaf) -> _Inline | None:
    if leaf.name not in _INLINES or leaf.operand is MISSING:
        return None
    return _INLINES[leaf.name](leaf.operand)


def _slow(leaf: Leaf) -> Test:
    located = without_path(leaf.test, leaf.arrays)
    return lambda value: any(map(located, value)) if type(value) is tuple else located(value)


class _Source:
    """The expression of a condition, and the values that its names stand for."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.leaves = 0
        self._variables = 0

    def value(self, value: Any) -> str:
        """The name of a value that the source is handed."""
        self.values.append(value)
        return f"k{len(self.values) - 1}"

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def expression(self, condition: Condition) -> str:
        """A condition on ``document``."""
        match condition:
            case Every(of=conditions):
                return f"({' and '.join(map(self.expression, conditions))})" if conditions else "True"
            case Some(of=conditions):
                return f"({' or '.join(map(self.expression, conditions))})"
            case Not(of=inner):
                return f"(not {self.expression(inner)})"
            case At(path=path, leaf=leaf):
                self.leaves += 1
                parts = tuple(path.split("."))
                inline = _inline(leaf)
                if inline and is_plain(parts) and len(parts) <= _MOST_PARTS:
                    otherwise = str(without_path(leaf.test, leaf.arrays)(MISSING))
                    names = [self.value(part) for part in parts]
                    constants = {"k": self.value(inline.constant), "slow": self.value(_slow(leaf))}
                    return self._entered("document", names, inline.guarded, constants, otherwise)
        self.leaves += 1
        return f"{self.value(condition.predicate)}(document)"

    def _entered(self, document: str, names: list[str], test: str, constants: dict[str, str], otherwise: str) -> str:
        value = self._variable()
        if len(names) == 1:
            return test.format(first=f"({value} := {document}.get({names[0]}, MISSING))", v=value, **constants)
        element = self._variable()
        in_document = self._entered(value, names[1:], test, constants, otherwise)
        in_element = self._entered(element, names[1:], test, constants, otherwise)
        return (
            f"({in_document} if type({value} := {document}.get({names[0]})) is dict"
            f" else [1 for {element} in {value} if type({element}) is dict and {in_element}]"
            f" if type({value}) is list else {otherwise})"
        )


class _Shapes:
    """Functions by their source: each is compiled once."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., list[int]]] = {}
        self._lock = Lock()

    def __contains__(self, source: str) -> bool:
        return source in self._functions

    def function(self, source: str) -> Callable[..., list[int]]:
        """The function ``found`` that a source defines."""
        function = self._functions.get(source)
        if function is None:
            with self._lock:
                if len(self._functions) >= _MOST_SHAPES:
                    for number in range(len(self._functions)):
                        linecache.cache.pop(_file(number), None)
                    self._functions = {}
                file = _file(len(self._functions))
                # Where a traceback, a profiler and a debugger look for the lines.
                linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
                scope: dict[str, Any] = dict(_SCOPE)
                # The source is ours, down to each name in it.
                exec(compile(source, file, "exec"), scope)
                function = self._functions[source] = scope["found"]
        return function


def _file(number: int) -> str:
    return f"<connectome scan {number}>"


_SHAPES: Final = _Shapes()


def document_scan(condition: Condition, count: int) -> Scan:
    """What finds a condition in documents: a generated loop where ``count`` of them, or its shape, are worth it."""
    if count < _WORTH_WRITING:
        return closure_scan(condition)
    source, values, leaves = _loop(condition)
    if leaves > _MOST_LEAVES or (count < _WORTH_COMPILING and source not in _SHAPES):
        return closure_scan(condition)
    return _compiled(source, values)


def closure_scan(condition: Condition) -> Scan:
    """What finds a condition in documents by its closures alone."""
    matches = condition.predicate
    return lambda documents: [position for position, document in enumerate(documents) if matches(document)]


def generated_scan(condition: Condition) -> Scan:
    """What finds a condition in documents by a generated loop, whatever that costs."""
    source, values, _ = _loop(condition)
    return _compiled(source, values)


def _compiled(source: str, values: Sequence[Any]) -> Scan:
    function = _SHAPES.function(source)
    return lambda documents: function(documents, values)


def _loop(condition: Condition) -> tuple[str, Sequence[Any], int]:
    """The source of a loop, the values that it is handed, and how many leaves it has."""
    source = _Source()
    expression = source.expression(condition)
    names = "".join(f"k{number}, " for number in range(len(source.values)))
    text = (
        "def found(documents, values):\n" + (f"    ({names}) = values\n" if names else "") + "    positions = []\n"
        "    keep = positions.append\n"
        "    for position, document in enumerate(documents):\n"
        f"        if {expression}:\n"
        "            keep(position)\n"
        "    return positions\n"
    )
    return text, source.values, source.leaves


class ColumnScan:
    """
    What finds a leaf in a column: the values of one path, by position.

    A column holds MISSING where a document has nothing at the path, and a tuple of all that the path found where it led
    through an array.
    """

    def __init__(self, leaf: Leaf) -> None:
        inline = _inline(leaf) or _Inline("{slow}({first})", "", frozenset())
        self._inline = inline
        self._values = (inline.constant, _slow(leaf))

    def __call__(self, column: Sequence[Value], kinds: frozenset[type], within: Sequence[int] | None) -> list[int]:
        """
        The positions of the values that pass, in order.

        Args:
            kinds: The types of the column's values.
            within: The positions to look at; None for all.
        """
        test = self._inline.bare if kinds <= self._inline.safe else self._inline.guarded
        expression = test.format(first="v", v="v", k="constant", slow="slow")
        if within is None:
            source = f"[position for position, v in enumerate(column) if {expression}]"
            return _SHAPES.function(_COLUMN_SOURCE + source)(column, *self._values)
        source = f"[position for position in within for v in (column[position],) if {expression}]"
        return _SHAPES.function(_WITHIN_SOURCE + source)(column, *self._values, within)


_COLUMN_SOURCE: Final = "def found(column, constant, slow):\n    return "
_WITHIN_SOURCE: Final = "def found(column, constant, slow, within):\n    return "
