"""Comparison, boolean and conditional operators, variables and literals."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.expressions.language import (
    ANY,
    Expression,
    Scope,
    Variables,
    constant,
    folded,
    is_nullish,
    named_arguments,
    operator,
    read,
    syntax,
)
from connectome.query.values import MISSING, SortKey, Value, sort_key, truthy


def comparison_key(value: Value) -> SortKey:
    """The key that orders values in an expression, where a missing one is less than null; to a sort they tie."""
    return (0,) if value is MISSING else sort_key(value)


def _comparison(name: str, holds: Callable[[Any, Any], bool], says: str) -> None:
    def compare(one: Value, other: Value) -> bool:
        return holds(comparison_key(one), comparison_key(other))

    compare.__doc__ = says
    operator(name, ANY, ANY, nulls=False)(compare)


_comparison("$eq", lambda one, other: one == other, "Whether two values are equal.")
_comparison("$ne", lambda one, other: one != other, "Whether two values are not equal.")
_comparison("$gt", lambda one, other: one > other, "Whether the first value is greater, over all BSON types.")
_comparison("$gte", lambda one, other: one >= other, "Whether the first value is greater or equal.")
_comparison("$lt", lambda one, other: one < other, "Whether the first value is less, over all BSON types.")
_comparison("$lte", lambda one, other: one <= other, "Whether the first value is less or equal.")


@operator("$cmp", ANY, ANY, nulls=False)
def cmp(one: Value, other: Value) -> int:
    """-1, 0 or 1: how two values compare over all BSON types."""
    return (comparison_key(one) > comparison_key(other)) - (comparison_key(one) < comparison_key(other))


def arguments(operand: Value, scope: Scope) -> list[Expression]:
    """The arguments by position, compiled; one may also be given without the array around it."""
    if type(operand) is not list:
        return [read(operand, scope)]
    return [argument(operand, position, scope) for position in range(len(operand))]


def argument(given: Any, name: str | int, scope: Scope) -> Expression:
    """One of the arguments by name or position, compiled."""
    with at(name):
        return read(given[name], scope)


def _junction(name: str, decisive: bool, says: str) -> None:
    def compile_(operand: Value, scope: Scope) -> Expression:
        parts = arguments(operand, scope)
        if any(part.constant and truthy(part.evaluate({})) is decisive for part in parts):
            return constant(decisive)

        def evaluate(variables: Variables) -> bool:
            for part in parts:
                if truthy(part.evaluate(variables)) is decisive:
                    return decisive
            return not decisive

        return folded(evaluate, *parts)

    compile_.__doc__ = says
    syntax(name)(compile_)


_junction("$and", False, "Whether every argument is true; those behind the first false one are not evaluated.")
_junction("$or", True, "Whether any argument is true; those behind the first true one are not evaluated.")


@operator("$not", ANY, nulls=False)
def not_(value: Value) -> bool:
    """Whether the argument is not true."""
    return not truthy(value)


_COND = {"unknown": "Location17083", "if": "Location17080", "then": "Location17081", "else": "Location17082"}


@syntax("$cond")
def cond(operand: Value, scope: Scope) -> Expression:
    """The second argument where the first is true, else the third; or ``if``, ``then``, ``else`` by name."""
    if type(operand) is dict:
        names = ("if", "then", "else")
        given = named_arguments("$cond", operand, names, names, _COND)
        parts = [argument(given, name, scope) for name in names]
    else:
        parts = arguments(operand, scope)
        if len(parts) != 3:
            raise QueryError(f"$cond takes 3 arguments, and {len(parts)} came", code="Location16020")
    condition, then, otherwise = parts

    def chosen(variables: Variables) -> Expression:
        return then if truthy(condition.evaluate(variables)) else otherwise

    return chosen({}) if condition.constant else Expression(lambda variables: chosen(variables).evaluate(variables))


@syntax("$ifNull")
def if_null(operand: Value, scope: Scope) -> Expression:
    """The first argument that is neither null nor missing, else the last."""
    parts = arguments(operand, scope)
    if len(parts) < 2:
        raise QueryError(f"$ifNull takes at least 2 arguments, not {preview(operand)}", code="Location1257300")

    def evaluate(variables: Variables) -> Value:
        for part in parts:
            value = part.evaluate(variables)
            if not is_nullish(value):
                break
        return value

    return folded(evaluate, *parts)


_SWITCH = {"object": "Location40060", "unknown": "Location40067", "branches": "Location40068"}
_BRANCH = {"object": "Location40062", "unknown": "Location40063", "case": "Location40064", "then": "Location40065"}


@syntax("$switch")
def switch(operand: Value, scope: Scope) -> Expression:
    """The ``then`` of the first of ``branches`` whose ``case`` is true, else ``default``."""
    given = named_arguments("$switch", operand, ["branches"], ("branches", "default"), _SWITCH)
    sources = given["branches"]
    if type(sources) is not list:
        raise QueryError(f"branches of $switch is an array, not {preview(sources)}", code="Location40061")
    if not sources:
        raise QueryError("$switch needs at least one branch", code="Location40068")
    branches: list[tuple[Expression, Expression]] = []
    for position, source in enumerate(sources):
        with at("branches", position):
            branch = named_arguments("a branch of $switch", source, ("case", "then"), ("case", "then"), _BRANCH)
            branches.append((argument(branch, "case", scope), argument(branch, "then", scope)))
    default = argument(given, "default", scope) if "default" in given else None
    if default is None and all(case.constant and not truthy(case.evaluate({})) for case, _ in branches):
        raise QueryError("no branch of $switch can be true, and it has no default", code="Location40069")

    def evaluate(variables: Variables) -> Value:
        for case, then in branches:
            if truthy(case.evaluate(variables)):
                return then.evaluate(variables)
        if default is None:
            raise QueryError("no branch of $switch is true, and it has no default", code="Location40066")
        return default.evaluate(variables)

    every = [each for branch in branches for each in branch]
    return folded(evaluate, *every, default) if default else Expression(evaluate)


# ASCII names start with a small letter, so that they never meet a system variable.
_VARIABLE_NAME = re.compile(r"[a-z\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*")


def variable_name(name: Value) -> str:
    """
    A name that a variable of the user's may have.

    Raises:
        QueryError: ``FailedToParse`` -- it may not.
    """
    if type(name) is not str or not (_VARIABLE_NAME.fullmatch(name) or name == "CURRENT"):
        raise QueryError(
            f"a variable's name starts with a small letter and has letters, digits and '_', not {preview(name)}",
            code="FailedToParse",
        )
    return name


_LET = {"object": "Location16874", "unknown": "Location16875", "vars": "Location16876", "in": "Location16877"}


@syntax("$let")
def let(operand: Value, scope: Scope) -> Expression:
    """``in`` evaluated with the variables that ``vars`` names."""
    given = named_arguments("$let", operand, ("vars", "in"), ("vars", "in"), _LET)
    sources = given["vars"]
    if type(sources) is not dict:
        raise QueryError(f"vars of $let is an object, not {preview(sources)}", code="Location10065")
    bound: dict[str, Expression] = {}
    for name in sources:
        with at("vars"):
            bound[name] = argument(sources, name, scope)
            variable_name(name)
    body = argument(given, "in", scope | bound.keys())

    def evaluate(variables: Variables) -> Value:
        return body.evaluate({**variables, **{name: each.evaluate(variables) for name, each in bound.items()}})

    return Expression(evaluate) if bound else body


@syntax("$literal")
def literal(operand: Value, _: Scope) -> Expression:
    """The operand as it stands."""
    return constant(operand)


@syntax("$const")
def const(operand: Value, _: Scope) -> Expression:
    """The operand as it stands: ``$literal`` by its older name."""
    return constant(operand)


@syntax("$rand")
def rand(operand: Value, _: Scope) -> Expression:
    """A number from 0 to 1, another one for each document."""
    if type(operand) not in (dict, list):
        raise QueryError(f"$rand takes an empty object, not {preview(operand)}", code="Location10065")
    if operand:
        raise QueryError(f"$rand takes no arguments, and {preview(operand)} came", code="Location3040501")
    return Expression(lambda _: random.random())
