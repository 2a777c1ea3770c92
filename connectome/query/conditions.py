"""
The conditions of filters: the compiler, and every filter operator.

A source is read whole, once, and nonsense is refused wherever it stands, whatever the collection holds; what is kept
is a tree of closures.  An operator is one function under ``@field_operator``: it gets its operand once and returns a
test on one value.  Arrays are a property of the operator; negation stands outside the path, so that ``$ne`` means "no
value here equals", not "some value here differs".
"""

from __future__ import annotations

import difflib
import operator
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeVar

from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query import geometry
from connectome.query.expressions import compile_expression
from connectome.query.json_schema import compile_schema
from connectome.query.paths import DBREF_FIELDS, Arrays, Test, any_element, without_path
from connectome.query.patterns import compile_pattern
from connectome.query.tree import Condition, Leaf, Locate, every, negated, some
from connectome.query.tree import at as placed_at
from connectome.query.values import (
    INT64,
    MISSING,
    NUMBER_CODES,
    TYPE_ALIASES,
    Document,
    SortKey,
    Value,
    exact,
    integral,
    is_nan,
    is_number,
    rank,
    sort_key,
    truthy,
    type_code,
    whole_number,
)


def document_condition(source: Value) -> Condition:
    """The condition on whole documents of a filter, or of one arm of ``$and``, ``$or`` or ``$nor``."""
    if type(source) is not dict:
        raise QueryError(f"a filter is an object, not {preview(source)}", code="TypeMismatch")
    conditions = []
    for name, operand in source.items():
        with at(name):
            if name in DBREF_FIELDS:
                conditions.append(placed_at(name)(Leaf("$eq", operand, eq(operand), "each")))
            elif name.startswith("$"):
                conditions.append(_top_level(name)(operand))
            else:
                conditions.append(located(operand, placed_at(name)))
    return every(conditions)


def element_test(condition: Value) -> Test:
    """The test on an element for operators or a regular expression, as if it stood at a path of its own."""
    return located(condition, lambda leaf: Condition(without_path(leaf.test, leaf.arrays))).predicate


def located(condition: Value, locate: Locate) -> Condition:
    """The condition for what stands behind a field's name: operators, a regular expression, or a value."""
    if is_condition(condition):
        return field_condition(condition, locate)
    return locate(_value_or_pattern(condition))


def is_condition(value: Value) -> bool:
    """Whether a value is an object of operators, not a literal: its first key starts with ``$``."""
    if type(value) is not dict or not value:
        return False
    # A DBRef is a literal.
    return next(iter(value)).startswith("$") and not ("$ref" in value and "$id" in value)


_TestMaker = TypeVar("_TestMaker", bound=Callable[..., Test])

# Operand, what the companions beside it say, and where to look → condition.
_FieldOperator = Callable[[Value, Mapping[str, Any], Locate], Condition]
FIELD_OPERATORS: dict[str, _FieldOperator] = {}
# An operator that only says more about others → those others, and what reads its operand.
COMPANIONS: dict[str, tuple[list[str], Callable[[Value], Any]]] = {}
# Operators that stand first, and beside which nothing stands but companions → the code for what does.
ALONE: dict[str, str] = {}
# Operators that match where their test fails: an element that passes it is not what was found.
NEGATIVE: set[str] = {"$not"}
TOP_LEVEL_OPERATORS: dict[str, Callable[[Value], Condition]] = {}


def _documented(compile_: _FieldOperator, function: Callable[..., Any]) -> _FieldOperator:
    compile_.__doc__ = function.__doc__
    return compile_


def field_operator(
    name: str,
    *,
    arrays: Arrays = "each",
    negative: bool = False,
    beside: Mapping[str, Callable[[Value], Any]] = MappingProxyType({}),
    alone: str | None = None,
) -> Callable[[_TestMaker], _TestMaker]:
    """
    Declare a function from operand to test as a field operator.

    Args:
        arrays: ``"each"`` tries the elements of an array, then the array; ``"whole"`` the array as it stands.
        negative: The operator matches where no value at the path passes the test.
        beside: Companions that may stand beside it, each with what reads its operand; what was read is given to
            the function after its own operand, MISSING where the companion is not there.
        alone: For an operator that stands first, and has no others but its companions beside it: the code of the
            refusal of those.
    """

    def declare(function: _TestMaker) -> _TestMaker:
        def compile_(operand: Value, said: Mapping[str, Any], locate: Locate) -> Condition:
            test = function(operand, *(said.get(companion, MISSING) for companion in beside))
            condition = locate(Leaf(name, MISSING if said else operand, test, arrays))
            return negated(condition) if negative else condition

        FIELD_OPERATORS[name] = _documented(compile_, function)
        if negative:
            NEGATIVE.add(name)
        if alone:
            ALONE[name] = alone
        for companion, read in beside.items():
            COMPANIONS.setdefault(companion, ([], read))[0].append(name)
        return function

    return declare


def field_connective(
    name: str,
) -> Callable[[Callable[[Value, Locate], Condition]], Callable[[Value, Locate], Condition]]:
    """Declare a function that places its own leaves, from operand and ``Locate`` to condition."""

    def declare(function: Callable[[Value, Locate], Condition]) -> Callable[[Value, Locate], Condition]:
        FIELD_OPERATORS[name] = _documented(lambda operand, _, locate: function(operand, locate), function)
        return function

    return declare


def top_level_operator(name: str) -> Callable[[Callable[[Value], Condition]], Callable[[Value], Condition]]:
    """Declare a function from operand to condition that stands where a field's name could."""

    def declare(function: Callable[[Value], Condition]) -> Callable[[Value], Condition]:
        TOP_LEVEL_OPERATORS[name] = function
        return function

    return declare


# What MongoDB evaluates and we do not, with the reason.
REFUSED: Final[dict[str, str]] = {
    "$where": "it runs JavaScript on the server; $expr can compare fields with each other",
    "$function": "it runs JavaScript on the server",
    "$text": "there is no text index here; $regex finds words",
    "$uniqueDocs": "it is deprecated and has had no effect since MongoDB 2.6",
}


def _refuse_by_name(name: str) -> None:
    if name in REFUSED:
        raise QueryError(f"{name} is not offered: {REFUSED[name]}")


def _top_level(name: str) -> Callable[[Value], Condition]:
    _refuse_by_name(name)
    if name not in TOP_LEVEL_OPERATORS:
        hint = " it is an operator of a field;" if name in FIELD_OPERATORS else ""
        raise QueryError(f"unknown top level operator: {name};{hint} {_expected(name, TOP_LEVEL_OPERATORS)}")
    return TOP_LEVEL_OPERATORS[name]


def is_operator(name: str) -> bool:
    """Whether a name is that of an operator on a field."""
    return name in FIELD_OPERATORS


def field_condition(condition: Document, locate: Locate) -> Condition:
    """The condition for an object of operators such as ``{"$gte": 1, "$lt": 5}``."""
    for name in ALONE.keys() & condition.keys():
        _refuse_company(condition, name)
    said = {}
    for name in COMPANIONS.keys() & condition.keys():
        needed, read = COMPANIONS[name]
        with at(name):
            if condition.keys().isdisjoint(needed):
                raise QueryError(f"{name} needs {' or '.join(needed)} beside it")
            said[name] = read(condition[name])

    conditions = []
    for name, operand in condition.items():
        if name in said:
            continue
        with at(name):
            _refuse_by_name(name)
            if name not in FIELD_OPERATORS:
                raise QueryError(f"unknown operator: {name}; {_expected(name, FIELD_OPERATORS)}")
            conditions.append(FIELD_OPERATORS[name](operand, said, locate))
    return every(conditions)


def _refuse_company(condition: Document, name: str) -> None:
    if next(iter(condition)) != name:
        with at(name):
            raise QueryError(f"{name} stands first in its condition, not behind {next(iter(condition))}")
    for other in condition:
        if other != name and name not in COMPANIONS.get(other, ((),))[0]:
            with at(other):
                raise QueryError(f"{other} cannot stand beside {name}", code=ALONE[name])


def _expected(name: str, table: dict[str, Any]) -> str:
    nearest = difflib.get_close_matches(name, table, n=1)
    return f"did you mean {nearest[0]}?" if nearest else "expected one of " + ", ".join(sorted(table))


def _arms(operand: Value, name: str) -> list[Condition]:
    if type(operand) is not list or not operand:
        raise QueryError(f"{name} needs an array of at least one filter, not {preview(operand)}")
    arms = []
    for position, arm in enumerate(operand):
        with at(position):
            if type(arm) is not dict:
                raise QueryError(f"{name} needs filters, which are objects, not {preview(arm)}")
            arms.append(document_condition(arm))
    return arms


@top_level_operator("$and")
def and_(operand: Value) -> Condition:
    """Match documents that match every filter of the array."""
    return every(_arms(operand, "$and"))


@top_level_operator("$or")
def or_(operand: Value) -> Condition:
    """Match documents that match at least one filter of the array."""
    return some(_arms(operand, "$or"))


@top_level_operator("$nor")
def nor(operand: Value) -> Condition:
    """Match documents that match no filter of the array."""
    return negated(some(_arms(operand, "$nor")))


@field_connective("$not")
def not_(operand: Value, locate: Locate) -> Condition:
    """Match where the operators, or the regular expression, do not; missing fields match."""
    if type(operand) is Regex:
        return negated(locate(_value_or_pattern(operand)))
    if type(operand) is not dict or not operand:
        raise QueryError(f"$not needs a regular expression or an object of operators, not {preview(operand)}")
    return negated(field_condition(operand, locate))


_PLAIN_NUMBERS = frozenset({int, Int64, float})


@field_operator("$eq")
def eq(operand: Value) -> Test:
    """Match values that equal the operand; null also matches a missing field."""
    kind = type(operand)
    if operand is None:
        return lambda value: value is None or value is MISSING
    if kind is str or kind is ObjectId:
        return lambda value: bool(value == operand)
    if kind is bool:
        return lambda value: value is operand
    key, bracket = sort_key(operand), rank(operand)
    if kind in _PLAIN_NUMBERS and not is_nan(operand):

        def equals_number(value: Value) -> bool:
            if type(value) in _PLAIN_NUMBERS:  # bool is an int to Python; to BSON it is a bracket of its own
                return bool(value == operand)
            return type(value) is Decimal128 and sort_key(value) == key

        return equals_number
    return lambda value: rank(value) == bracket and sort_key(value) == key


@field_operator("$ne", negative=True)
def ne(operand: Value) -> Test:
    """Match where no value equals the operand."""
    _refuse_regex(operand, "$ne")
    return eq(operand)


@field_operator("$gt")
def gt(operand: Value) -> Test:
    """Match values of the operand's bracket that are greater."""
    return _ordering(operand, "$gt", operator.gt)


@field_operator("$gte")
def gte(operand: Value) -> Test:
    """Match values of the operand's bracket that are greater or equal."""
    return _ordering(operand, "$gte", operator.ge)


@field_operator("$lt")
def lt(operand: Value) -> Test:
    """Match values of the operand's bracket that are less."""
    return _ordering(operand, "$lt", operator.lt)


@field_operator("$lte")
def lte(operand: Value) -> Test:
    """Match values of the operand's bracket that are less or equal."""
    return _ordering(operand, "$lte", operator.le)


def _ordering(operand: Value, name: str, holds: Callable[[Any, Any], bool]) -> Test:
    _refuse_regex(operand, name)
    if operand is None or is_nan(operand):  # neither is less or greater than anything, only equal to itself
        return eq(operand) if holds(0, 0) else lambda _: False
    if type(operand) in (MinKey, MaxKey):
        # The two ends compare with every type, and with what is missing.
        end = rank(operand)
        return lambda value: holds(rank(value), end)

    key, bracket = sort_key(operand), rank(operand)

    def by_key(value: Value) -> bool:
        # A NaN has the right bracket and the smallest key, and still is on no side of a number.
        return rank(value) == bracket and not is_nan(value) and holds(sort_key(value), key)

    if type(operand) in _PLAIN_NUMBERS:
        return lambda value: (
            holds(value, operand) if type(value) in _PLAIN_NUMBERS else type(value) is Decimal128 and by_key(value)
        )
    if type(operand) is str:
        # By code point, which is the order of the UTF-8 bytes that BSON compares.
        return lambda value: type(value) is str and holds(value, operand)
    return by_key


def _refuse_regex(operand: Value, name: str) -> None:
    if type(operand) is Regex:
        raise QueryError(f"{name} compares values and takes no regular expression; use $regex or $not")


@field_operator("$in")
def in_(operand: Value) -> Test:
    """Match values that equal one of the array's, or match one of its regular expressions."""
    return _one_of(operand, "$in")


@field_operator("$nin", negative=True)
def nin(operand: Value) -> Test:
    """Match where no value is one of the array's or matches one of its regular expressions."""
    return _one_of(operand, "$nin")


def _one_of(operand: Value, name: str) -> Test:
    if type(operand) is not list:
        raise QueryError(f"{name} needs an array, not {preview(operand)}")
    texts: set[str] = set()
    keys: set[SortKey] = set()
    tests: list[Test] = []
    for position, choice in enumerate(operand):
        with at(position):
            if is_condition(choice):
                raise QueryError(f"{name} takes values, and no operators such as {preview(choice)}")
            if type(choice) is Regex:
                tests.append(_pattern_test(choice))
            elif type(choice) is str:
                texts.add(choice)
            else:
                keys.add(sort_key(choice))

    def is_listed(value: Value) -> bool:
        return value in texts if type(value) is str else sort_key(value) in keys

    if not tests:
        return is_listed
    return lambda value: is_listed(value) or any(test(value) for test in tests)


@field_connective("$exists")
def exists(operand: Value, locate: Locate) -> Condition:
    """Match where the field is there (null counts), or, with a false operand, where it is not."""
    present = locate(Leaf("$exists", True, lambda value: value is not MISSING, "each"))
    return present if truthy(operand) else negated(present)


@field_operator("$type")
def type_(operand: Value) -> Test:
    """
    Match values of a BSON type.

    Args:
        operand: A name (``"string"``, ``"number"`` for all four), BSON's number for it, or an array of these.

    Raises:
        QueryError: ``BadValue`` -- no such type; ``TypeMismatch`` -- neither a name nor a number;
            ``FailedToParse`` -- an empty array.
    """
    if type(operand) is not list:
        codes = _type_codes(operand)
    elif not operand:
        raise QueryError("$type needs at least one type, and the array is empty", code="FailedToParse")
    else:
        codes = frozenset()
        for position, choice in enumerate(operand):
            with at(position):
                codes |= _type_codes(choice)
    return lambda value: value is not MISSING and type_code(value) in codes


def _type_codes(choice: Value) -> frozenset[int]:
    if type(choice) is str:
        if choice == "number":
            return NUMBER_CODES
        if choice not in TYPE_ALIASES:
            nearest = difflib.get_close_matches(choice, TYPE_ALIASES, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise QueryError(f"unknown type name alias: {preview(choice)}{hint}")
        return frozenset({TYPE_ALIASES[choice]})
    if not is_number(choice):
        raise QueryError(
            f"$type needs a type's name or number, or an array of them, not {preview(choice)}", code="TypeMismatch"
        )
    code = integral(choice)
    if code is None or code not in TYPE_ALIASES.values():
        hint = "; use {$exists: false} for a missing field" if code == 0 else ""
        raise QueryError(f"invalid numerical type code: {preview(choice)}{hint}")
    return frozenset({code})


@field_operator("$mod")
def mod(operand: Value) -> Test:
    """
    Match numbers that leave the given remainder.

    Args:
        operand: ``[divisor, remainder]``, two finite numbers; a fraction is cut toward zero.

    Returns:
        A test on one value: false for whatever is not a number, and for NaN and what is beyond 64 bits.

    Raises:
        QueryError: ``BadValue`` -- not an array of two numbers, or a divisor of zero after cutting.

    Source:
        MongoDB manual, ``$mod``.  Cases: tests/spec/filter/mod.json.
    """
    if type(operand) is not list or len(operand) != 2:
        raise QueryError(f"$mod needs an array of two numbers, [divisor, remainder], not {preview(operand)}")
    cut = []
    for position, number in enumerate(operand):
        with at(position):
            whole = _toward_zero(number)
            if whole is None or whole not in INT64:
                raise QueryError(f"$mod needs a finite number of at most 64 bits, not {preview(number)}")
            cut.append(whole)
    divisor, remainder = cut
    if divisor == 0:
        raise QueryError("the divisor of $mod cannot be 0")

    def leaves_remainder(value: Value) -> bool:
        dividend = _toward_zero(value)
        if dividend is None or dividend not in INT64:
            return False
        # The sign of the dividend, as in C: -7 leaves -3 when divided by 4.
        left = abs(dividend) % abs(divisor)
        return (left if dividend >= 0 else -left) == remainder

    return leaves_remainder


def _toward_zero(value: Value) -> int | None:
    if not is_number(value):
        return None
    try:
        return int(exact(value))
    except (ValueError, OverflowError):  # NaN and the infinities
        return None


def _regex_options(operand: Value) -> str:
    """Letters that change how the pattern of ``$regex`` is read: ``i m s x u``."""
    if type(operand) is not str:
        raise QueryError(f"$options needs a string, not {preview(operand)}")
    for letter in operand:
        if letter not in "imsxu":
            raise QueryError(f"invalid flag in regex options: {letter}", code="Location51108")
    return operand


@field_operator("$regex", beside={"$options": _regex_options})
def regex(operand: Value, options: Value = MISSING) -> Test:
    """Match strings in which the pattern is found; ``$options`` beside it takes ``i m s x u``."""
    if type(operand) is Regex:
        if operand.flags and options is not MISSING:
            raise QueryError("options are set both in the regular expression and in $options", code="Location51075")
        return _pattern_test(operand if options is MISSING else Regex(operand.pattern, options))
    if type(operand) is not str:
        raise QueryError(f"$regex needs a string or a regular expression, not {preview(operand)}")
    return _pattern_test(Regex(operand, options or ""))


def _value_or_pattern(operand: Value) -> Leaf:
    """What a plain value means where a field is compared with it: equality, or a search for a pattern."""
    if type(operand) is Regex:
        return Leaf("$regex", operand, _pattern_test(operand), "each")
    return Leaf("$eq", operand, eq(operand), "each")


def _pattern_test(expression: Regex[str]) -> Test:
    """True for strings in which the pattern is found, and for the same regular expression kept as a value."""
    found = compile_pattern(expression)
    same = sort_key(expression)
    return lambda value: found(value) if type(value) is str else type(value) is Regex and sort_key(value) == same


@field_connective("$all")
def all_(operand: Value, locate: Locate) -> Condition:
    """
    Match where each of the array's values is found: an AND of equalities, or of ``$elemMatch``.

    Raises:
        QueryError: ``BadValue`` -- not an array; operators other than ``$elemMatch``, or a mixture of both.
    """
    if type(operand) is not list:
        raise QueryError(f"$all needs an array, not {preview(operand)}")
    if not operand:
        return Condition(lambda _: False)
    conditions = []
    elem_matches = is_elem_match(operand[0])
    for position, choice in enumerate(operand):
        with at(position):
            if elem_matches != is_elem_match(choice):
                raise QueryError(
                    f"$all takes only $elemMatch, or no operators, not {preview(choice)} beside the others"
                )
            if elem_matches:
                conditions.append(field_condition(choice, locate))
            elif is_condition(choice):
                raise QueryError(f"$all takes values or $elemMatch, and no operators such as {preview(choice)}")
            else:
                conditions.append(locate(_value_or_pattern(choice)))
    return every(conditions)


def is_elem_match(value: Value) -> bool:
    return type(value) is dict and next(iter(value), None) == "$elemMatch"


@field_operator("$elemMatch", arrays="elements")
def elem_match(operand: Value) -> Test:
    """
    Match arrays of which one element meets every condition.

    Args:
        operand: Operators that the element itself meets (``{"$gte": 1, "$lt": 5}``), or a filter that an element
            which is a document meets; an element which is an array is a document of its positions to the filter.
    """
    if type(operand) is not dict:
        raise QueryError(f"$elemMatch needs an object, not {preview(operand)}")
    first = next(iter(operand), "")
    if first.startswith("$") and first not in TOP_LEVEL_OPERATORS and first not in DBREF_FIELDS:
        # Not opened: what holds is said of the element itself, be it an array.
        return field_condition(
            operand, lambda leaf: Condition(any_element(leaf.test) if leaf.arrays == "elements" else leaf.test)
        ).predicate

    matches = document_condition(operand).predicate
    _refuse_whole_documents(operand)

    def element_matches(element: Value) -> bool:
        if type(element) is dict:
            return matches(element)
        return type(element) is list and matches({str(index): item for index, item in enumerate(element)})

    return element_matches


def _refuse_whole_documents(source: Document) -> None:
    """Refuse, in a filter for elements, what is said of whole documents alone."""
    for name, operand in source.items():
        with at(name):
            if name in ("$expr", "$sampleRate"):
                raise QueryError(f"{name} is said of whole documents, not of the elements of an array")
            if name in ("$and", "$or", "$nor"):
                for position, arm in enumerate(operand):
                    with at(position):
                        _refuse_whole_documents(arm)


@field_operator("$size", arrays="whole")
def size(operand: Value) -> Test:
    """Match arrays of exactly this length."""
    length = whole_number(operand, of="$size")
    return lambda value: type(value) is list and len(value) == length


def _bits(operand: Value) -> Callable[[int], tuple[bool, bool]]:
    """From a whole number to whether any of the asked bits is set in it, and whether any is clear."""
    if type(operand) is list:
        positions = []
        for step, each in enumerate(operand):
            with at(step):
                positions.append(whole_number(each, of="a bit's position"))

        def at_positions(number: int) -> tuple[bool, bool]:
            bits = {number >> position & 1 for position in positions}
            return 1 in bits, 0 in bits

        return at_positions
    mask = _as_bits(operand)
    if mask is None or (is_number(operand) and mask < 0):
        raise QueryError(
            f"bits are asked for by a whole number that is not negative, binary data or an array of positions, "
            f"not {preview(operand)}",
            code="FailedToParse" if is_number(operand) else "BadValue",
        )
    return lambda number: (number & mask != 0, number & mask != mask)


def _as_bits(value: Value) -> int | None:
    """The bits of a whole number, or of binary data from its first byte on; None for anything else."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "little")
    number = integral(value)
    return number if number is not None and number in INT64 else None


def _bit_test(operand: Value, holds: Callable[[bool, bool], bool]) -> Test:
    asked = _bits(operand)

    def test(value: Value) -> bool:
        bits = _as_bits(value)
        return bits is not None and holds(*asked(bits))

    return test


field_operator("$geoWithin", alone="BadValue")(geometry.geo_within)
field_operator("$geoIntersects", alone="BadValue")(geometry.geo_intersects)


def _any_operand(operand: Value) -> Value:
    """A distance beside ``$near`` and ``$nearSphere``, in metres, or, from a legacy pair, in its own unit."""
    return operand


DISTANCES: Final = {"$maxDistance": _any_operand, "$minDistance": _any_operand}
NEAR: Final[dict[str, Callable[..., geometry.Near]]] = {"$near": geometry.near, "$nearSphere": geometry.near_sphere}
for _name, _near in NEAR.items():
    field_operator(_name, arrays="whole", beside=DISTANCES, alone="Location34413")(_near)


@field_operator("$bitsAllSet")
def bits_all_set(operand: Value) -> Test:
    """Match numbers and binary data in which every asked bit is 1."""
    return _bit_test(operand, lambda any_set, any_clear: not any_clear)


@field_operator("$bitsAllClear")
def bits_all_clear(operand: Value) -> Test:
    """Match numbers and binary data in which every asked bit is 0."""
    return _bit_test(operand, lambda any_set, any_clear: not any_set)


@field_operator("$bitsAnySet")
def bits_any_set(operand: Value) -> Test:
    """Match numbers and binary data in which at least one asked bit is 1."""
    return _bit_test(operand, lambda any_set, any_clear: any_set)


@field_operator("$bitsAnyClear")
def bits_any_clear(operand: Value) -> Test:
    """Match numbers and binary data in which at least one asked bit is 0."""
    return _bit_test(operand, lambda any_set, any_clear: any_clear)


@top_level_operator("$expr")
def expr(operand: Value) -> Condition:
    """Match documents for which an aggregation expression is true."""
    value_for = compile_expression(operand)
    return Condition(lambda document: truthy(value_for(document)))


@top_level_operator("$jsonSchema")
def json_schema(operand: Value) -> Condition:
    """Match documents that satisfy a JSON Schema in MongoDB's dialect, with ``bsonType``."""
    return Condition(compile_schema(operand))


@top_level_operator("$comment")
def comment(_: Value) -> Condition:
    """Say something to whoever reads the query; it matches every document."""
    return every([])


@top_level_operator("$alwaysTrue")
def always_true(operand: Value) -> Condition:
    """Match every document."""
    _require_one(operand, "$alwaysTrue")
    return every([])


@top_level_operator("$alwaysFalse")
def always_false(operand: Value) -> Condition:
    """Match no document."""
    _require_one(operand, "$alwaysFalse")
    return Condition(lambda _: False)


def _require_one(operand: Value, name: str) -> None:
    if integral(operand) != 1:
        raise QueryError(f"the operand of {name} is 1, not {preview(operand)}", code="FailedToParse")


@top_level_operator("$sampleRate")
def sample_rate(operand: Value) -> Condition:
    """Match each document with a probability from 0 to 1."""
    number = exact(operand) if is_number(operand) else -1
    if (isinstance(number, Decimal) and number.is_nan()) or not 0 <= number <= 1:
        raise QueryError(f"$sampleRate needs a number from 0 to 1, not {preview(operand)}")
    rate = float(number)
    return Condition(lambda _: random.random() < rate)
