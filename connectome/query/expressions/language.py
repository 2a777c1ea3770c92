"""
The language of aggregation expressions: how a source is read, variables, field paths, and how an operator is declared.

An operator is one function under ``@operator``, which says the shape of its arguments: the machinery counts and
checks them, and answers null for null where the operator does.  It gets values and returns a value.  What must see
its arguments before they are evaluated (``$cond``, ``$let``, ``$map``) is declared with ``@syntax`` instead.  An
expression of constants is evaluated once, while compiling, so that what cannot work is refused whatever the
collection holds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query import clock
from connectome.query.deadline import check
from connectome.query.paths import DBREF_FIELDS, Path, parse_field_path
from connectome.query.values import INT32, MISSING, Document, Value, integral, is_number, type_alias

# The values of the variables in scope, by name without ``$$``.
Variables = Mapping[str, Value]
Scope = frozenset[str]

# ASCII names start with a letter.
_VARIABLE_NAME = re.compile(r"[A-Za-z\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*")
SYSTEM_VARIABLES: Final[Scope] = frozenset({"ROOT", "CURRENT", "NOW", "REMOVE"})


@dataclass(frozen=True, slots=True)
class Expression:
    """
    A compiled expression.

    evaluate: variables → value, or MISSING.
    constant: it gives the same value whatever the variables are.
    """

    evaluate: Callable[[Variables], Value]
    constant: bool = False


def compile_expression(source: Value) -> Callable[[Document], Value]:
    """
    A function from document to value, or MISSING where the expression has none.

    ``$$NOW`` is the time of this call, or of the ``one_moment`` in which it happens.

    Raises:
        QueryError: As MongoDB names it, with the pointer to the place in ``source``.  From the function: a document
            holds what an operator cannot take; without a pointer.
    """
    expression = read(source, SYSTEM_VARIABLES)
    now = _MOMENT.get() or _now()

    def value_for(document: Document) -> Value:
        check()  # of an expression as long as a request may be, one document alone takes a while
        try:
            return expression.evaluate({"ROOT": document, "CURRENT": document, "NOW": now, "REMOVE": MISSING})
        except QueryError as error:
            error.pointer = None
            raise

    return value_for


_MOMENT: Final[ContextVar[datetime | None]] = ContextVar("connectome_moment", default=None)


def _now() -> datetime:
    now = clock.now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@contextmanager
def one_moment() -> Iterator[None]:
    """Give all expressions that are compiled inside one and the same ``$$NOW``."""
    token = _MOMENT.set(_MOMENT.get() or _now())
    try:
        yield
    finally:
        _MOMENT.reset(token)


def read(source: Value, scope: Scope) -> Expression:
    """
    Compile one expression, or one argument of another.

    Args:
        scope: The variables that it may name.
    """
    if type(source) is str and source.startswith("$"):
        return _variable(source, scope) if source.startswith("$$") else _field(source)
    if type(source) is list:
        elements = [_read_at(position, each, scope) for position, each in enumerate(source)]
        return folded(lambda variables: [null_if_missing(each.evaluate(variables)) for each in elements], *elements)
    if type(source) is dict:
        first = next(iter(source), "")
        if first.startswith("$"):
            return _operation(source, first, scope)
        return _object(source, scope)
    return constant(source)


def _read_at(step: str | int, source: Value, scope: Scope) -> Expression:
    with at(step):
        return read(source, scope)


def constant(value: Value) -> Expression:
    """An expression that is always this value."""
    return Expression(lambda _: value, constant=True)


def folded(evaluate: Callable[[Variables], Value], *arguments: Expression) -> Expression:
    """An expression over arguments; where all of these are constant, so is it, and it is evaluated here and now."""
    if all(argument.constant for argument in arguments):
        return constant(evaluate({}))
    return Expression(evaluate)


def null_if_missing(value: Value) -> Value:
    """What an array, or null propagation, makes of a missing value."""
    return None if value is MISSING else value


def is_nullish(value: Value) -> bool:
    """Whether a value is null or missing."""
    return value is None or value is MISSING


def _field(source: str) -> Expression:
    if source == "$":
        raise QueryError("'$' by itself is not a field path", code="Location16872")
    return field_of("CURRENT", parse_field_path(source[1:]))


def _variable(source: str, scope: Scope) -> Expression:
    name = source[2:].partition(".")[0]
    if not _VARIABLE_NAME.fullmatch(name):
        raise QueryError(f"the name of a variable has letters, digits and '_', not {name!r}", code="FailedToParse")
    if name not in scope:
        nearest = difflib.get_close_matches(name, scope, n=1)
        hint = f"; did you mean $${nearest[0]}?" if nearest else ""
        raise QueryError(f"use of undefined variable: {name}{hint}", code="Location17276")
    path = parse_field_path(source[2:])[1:]
    return constant(MISSING) if name == "REMOVE" else field_of(name, path)


def field_of(variable: str, path: Path) -> Expression:
    """What stands at a path of a variable's value: through arrays, an array of what their documents have there."""
    if not path:
        return Expression(lambda variables: variables[variable])
    if len(path) == 1:
        name = path[0]

        def top_level(variables: Variables) -> Value:
            value = variables[variable]
            return value.get(name, MISSING) if type(value) is dict else _along(path, value)

        return Expression(top_level)
    return Expression(lambda variables: _along(path, variables[variable]))


def _along(path: Path, value: Value) -> Value:
    for position, part in enumerate(path):
        if type(value) is list:
            rest = path[position:]
            found = (_along(rest, element) for element in value if type(element) is dict)
            return [each for each in found if each is not MISSING]
        if type(value) is not dict:
            return MISSING
        value = value.get(part, MISSING)
    return value


def _object(source: Document, scope: Scope) -> Expression:
    fields: dict[str, Expression] = {}
    for name, each in source.items():
        with at(name):
            if not name:
                raise QueryError("the name of a field in an expression is not empty", code="Location15998")
            if name.startswith("$") and name not in DBREF_FIELDS:
                raise QueryError(f"{name} stands among the fields of a document", code="Location16410")
            if "." in name:
                raise QueryError(f"the name of a field in an expression has no dot: {name!r}", code="Location16412")
            fields[name] = read(each, scope)

    def evaluate(variables: Variables) -> Document:
        values = ((name, each.evaluate(variables)) for name, each in fields.items())
        return {name: value for name, value in values if value is not MISSING}

    return folded(evaluate, *fields.values())


def _operation(source: Document, name: str, scope: Scope) -> Expression:
    if len(source) != 1:
        raise QueryError(
            f"an expression is an object with one operator, and this one has {', '.join(source)}", code="Location15983"
        )
    with at(name):
        if name in REFUSED:
            raise QueryError(f"{name} is not offered: {REFUSED[name]}", code="InvalidPipelineOperator")
        if name not in OPERATORS:
            nearest = difflib.get_close_matches(name, OPERATORS, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise QueryError(f"unrecognized expression {name!r}{hint}", code="InvalidPipelineOperator")
        return OPERATORS[name](source[name], scope)


# Operand and scope → expression.
OPERATORS: Final[dict[str, Callable[[Value, Scope], Expression]]] = {}
# What MongoDB evaluates and we do not, with the reason.
REFUSED: Final[dict[str, str]] = {
    "$function": "it runs JavaScript on the server",
    "$accumulator": "it runs JavaScript on the server",
    "$where": "it runs JavaScript on the server",
    "$meta": "there is no text search here that could score a document",
    "$toHashedIndexKey": "it is the inside of an index of MongoDB's",
}


def is_expression_operator(name: str) -> bool:
    """Whether MongoDB evaluates an operator of this name, be it here or refused."""
    return name in OPERATORS or name in REFUSED


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What an argument may be.

    accept: value → the value as the operator's function gets it; ValueError where it is not of this shape.
    says: what it may be, for the error: "a number".
    required: a named argument may be left out where this is False.
    code: MongoDB's code name for what is not of this shape, where it is not the operator's.
    """

    accept: Callable[[Value], Value]
    says: str
    required: bool = True
    code: str | None = None


def optional(shape: Shape) -> Shape:
    """The same shape for a named argument that may be left out."""
    return replace(shape, required=False)


def coded(shape: Shape, code: str) -> Shape:
    """The same shape with a code of its own."""
    return replace(shape, code=code)


def _of(*aliases: str) -> Callable[[Value], Value]:
    def accept(value: Value) -> Value:
        if type_alias(value) not in aliases:
            raise ValueError
        return value

    return accept


def _accept_number(value: Value) -> Value:
    if not is_number(value):
        raise ValueError
    return value


def _accept_int32(value: Value) -> int:
    number = integral(value)
    if number is None or number not in INT32:
        raise ValueError
    return number


def _accept_int64(value: Value) -> int:
    number = integral(value)
    if number is None:
        raise ValueError
    return number


ANY: Final = Shape(lambda value: value, "anything")
NUMBER: Final = Shape(_accept_number, "a number")
INT: Final = Shape(_accept_int32, "a whole number of 32 bits")
LONG: Final = Shape(_accept_int64, "a whole number")
STRING: Final = Shape(_of("string"), "a string")
ARRAY: Final = Shape(_of("array"), "an array")
OBJECT: Final = Shape(_of("object"), "an object")
BOOL: Final = Shape(_of("bool"), "true or false")


def accepted(value: Value, shape: Shape, of: str, code: str = "TypeMismatch") -> Any:
    """
    An argument as the operator ``of`` works with it.

    Raises:
        QueryError: The shape's code, or else ``code`` -- it is not of this shape.
    """
    try:
        return shape.accept(value)
    except ValueError:
        raise QueryError(f"{of} needs {shape.says}, not {preview(value)}", code=shape.code or code) from None


def operator(
    name: str,
    *shapes: Shape,
    optional: int = 0,
    rest: Shape | None = None,
    named: Mapping[str, Shape] | None = None,
    nulls: bool = True,
    code: str = "TypeMismatch",
    constants: Mapping[int, Shape] | None = None,
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """
    Declare a function from values to value as an expression operator.

    Args:
        shapes: Of the arguments by position; one argument may also be given without the array around it.
        optional: How many of the last of these may be left out; the function has defaults for them.
        rest: Of any number of further arguments.
        named: Of arguments given by name in an object, instead of all of the above; passed as keywords.
        nulls: The result is null where any argument is null or missing, and the function never sees one.
        code: MongoDB's code name for an argument that is not of its shape, where the shape has none.
        constants: Of arguments, by position, that MongoDB checks while compiling where they, but not all, are constant.
    """

    def declare(function: Callable[..., Value]) -> Callable[..., Value]:
        def compile_(operand: Value, scope: Scope) -> Expression:
            arguments: dict[Any, Expression]
            if named is None:
                arguments = dict(enumerate(_positional(name, operand, len(shapes), optional, rest is not None, scope)))
                by_position = (*shapes, *([rest] * (len(arguments) - len(shapes)) if rest else ()))
                expected: Mapping[Any, Shape] = dict(enumerate(by_position))
            else:
                arguments = _named(name, operand, named, scope)
                expected = named

            def evaluate(variables: Variables) -> Value:
                values = {key: argument.evaluate(variables) for key, argument in arguments.items()}
                if nulls and any(map(is_nullish, values.values())):
                    return None
                for key, value in values.items():
                    of = name if named is None else f"{key} of {name}"
                    values[key] = accepted(value, expected[key], of, code)
                return function(*values.values()) if named is None else function(**values)

            for key, shape in (constants or {}).items():
                if arguments[key].constant and not all(argument.constant for argument in arguments.values()):
                    with at(key):
                        accepted(arguments[key].evaluate({}), shape, name)
            return folded(evaluate, *arguments.values())

        compile_.__doc__ = function.__doc__
        OPERATORS[name] = compile_
        return function

    return declare


def _positional(name: str, operand: Value, most: int, optional: int, endless: bool, scope: Scope) -> list[Expression]:
    given = operand if type(operand) is list else [operand]
    least = most - optional
    if not least <= len(given) or not (endless or len(given) <= most):
        expected = f"at least {least}" if endless else f"{least}" if not optional else f"{least} to {most}"
        raise QueryError(
            f"{name} takes {expected} argument{'' if expected == '1' else 's'}, and {len(given)} came",
            code="Location28667" if optional or endless else "Location16020",
        )
    if type(operand) is list:
        return [_read_at(position, each, scope) for position, each in enumerate(operand)]
    return [read(operand, scope)]


def _named(name: str, operand: Value, shapes: Mapping[str, Shape], scope: Scope) -> dict[Any, Expression]:
    arguments = named_arguments(name, operand, [key for key in shapes if shapes[key].required], shapes)
    return {key: _read_at(key, each, scope) for key, each in arguments.items()}


def named_arguments(
    name: str, operand: Value, required: Iterable[str], known: Collection[str], codes: Mapping[str, str] | None = None
) -> Document:
    """
    The arguments of an operator that takes them by name, not compiled.

    Args:
        codes: MongoDB's code names for what is no ``object``, for an ``unknown`` name, and by the name of each
            argument for its absence; ``FailedToParse`` where they say nothing.

    Raises:
        QueryError: Not an object, a name that is none, or one that is missing.
    """
    codes = codes or {}
    if type(operand) is not dict:
        raise QueryError(
            f"{name} takes an object of arguments, not {preview(operand)}", code=codes.get("object", "FailedToParse")
        )
    for key in operand:
        if key not in known:
            with at(key):
                nearest = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"expected {', '.join(known)}"
                raise QueryError(
                    f"unrecognized argument to {name}: {key!r}; {hint}", code=codes.get("unknown", "FailedToParse")
                )
    for key in required:
        if key not in operand:
            raise QueryError(f"{name} needs the argument {key!r}", code=codes.get(key, "FailedToParse"))
    return operand


def syntax(name: str) -> Callable[[Callable[[Value, Scope], Expression]], Callable[[Value, Scope], Expression]]:
    """Declare a function that compiles its own operand, from operand and scope to expression."""

    def declare(function: Callable[[Value, Scope], Expression]) -> Callable[[Value, Scope], Expression]:
        OPERATORS[name] = function
        return function

    return declare
