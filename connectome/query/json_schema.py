"""
``$jsonSchema``: MongoDB's dialect of JSON Schema, draft 4, over BSON values.

Not ``connectome.schemas``, which checks documents against standard JSON Schema before they are kept: this one is a
condition in a filter, knows BSON's types, and takes the keywords that MongoDB takes, no more.

Source:
    MongoDB manual, ``$jsonSchema``; the server's ``json_schema_parser.cpp`` for what is refused, and how.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from decimal import Context
from typing import Final

from bson import Regex

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.numbers import to_decimal
from connectome.query.paths import Predicate, Test
from connectome.query.patterns import compile_pattern
from connectome.query.values import (
    NUMBER_CODES,
    TYPE_ALIASES,
    Document,
    SortKey,
    Value,
    integral,
    is_nan,
    is_number,
    sort_key,
    type_code,
)

# Operand, and the schema that it stands in → what a value must pass.
_Keyword = Callable[[Value, Document], Test]
_KEYWORDS: Final[dict[str, _Keyword]] = {}

_UNSUPPORTED: Final = frozenset({"$ref", "$schema", "default", "definitions", "format", "id"})
_ENCRYPTION: Final = frozenset({"encrypt", "encryptMetadata"})
_JSON_TYPES: Final = {"array": 4, "boolean": 8, "null": 10, "object": 3, "string": 2}
# Wide enough for the remainder of any two decimals: 34 digits, exponents from -6176 to 6111.
_WIDE: Final = Context(prec=12_400, Emin=-9_999, Emax=9_999)


def compile_schema(source: Value) -> Predicate:
    """
    A test on whole documents.

    Args:
        source: The schema as MongoDB takes it; ``{}`` matches every document.

    Raises:
        QueryError: ``TypeMismatch`` -- a keyword's operand, or the schema itself, is of the wrong type;
            ``FailedToParse`` -- a keyword that is unknown or not supported, or an operand that cannot be;
            ``BadValue`` -- an unknown type, an empty ``allOf``, ``anyOf`` or ``oneOf``; for a pattern as
            ``compile_pattern``.
    """
    return _schema(source, "$jsonSchema")


def _schema(source: Value, name: str) -> Test:
    if type(source) is not dict:
        raise _mismatch(name, "an object", source)
    for keyword in source:
        if keyword not in _KEYWORDS:
            with at(keyword):
                raise _unknown(keyword)
    if "type" in source and "bsonType" in source:
        raise _unparsable("a schema has 'type' or 'bsonType', not both")
    tests = []
    # additionalItems and additionalProperties last: they take what stands beside them as it should be.
    for keyword in sorted(source, key=lambda keyword: keyword.startswith("additional")):
        with at(keyword):
            tests.append(_KEYWORDS[keyword](source[keyword], source))
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _unknown(name: str) -> QueryError:
    if name in _UNSUPPORTED or name in _ENCRYPTION:
        return _unparsable(f"$jsonSchema keyword {name!r} is not supported")
    nearest = difflib.get_close_matches(name, _KEYWORDS, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return _unparsable(f"unknown $jsonSchema keyword: {name!r}{hint}")


def _unparsable(detail: str) -> QueryError:
    return QueryError(detail, code="FailedToParse")


def _mismatch(name: str, expected: str, operand: Value) -> QueryError:
    return QueryError(f"{name} needs {expected}, not {preview(operand)}", code="TypeMismatch")


def _keyword(name: str, *, on: Callable[[Value], bool] | None = None) -> Callable[[_Keyword], _Keyword]:
    """
    Declare a function from an operand, and the schema around it, to a test.

    Args:
        on: The values that the keyword speaks of; all others pass.
    """

    def declare(function: _Keyword) -> _Keyword:
        def restricted(operand: Value, schema: Document) -> Test:
            test = function(operand, schema)
            return test if on is None else lambda value: not on(value) or test(value)

        _KEYWORDS[name] = restricted
        return function

    return declare


def _is_string(value: Value) -> bool:
    return type(value) is str


def _is_array(value: Value) -> bool:
    return type(value) is list


def _is_object(value: Value) -> bool:
    return type(value) is dict


def _always(_: Value) -> bool:
    return True


@_keyword("type")
def type_(operand: Value, _: Document) -> Test:
    """Pass values of a JSON type, or of one of several; ``integer`` is not one of MongoDB's."""
    return _of_types(operand, "type", _JSON_TYPES)


@_keyword("bsonType")
def bson_type(operand: Value, _: Document) -> Test:
    """Pass values of a BSON type by the name that ``$type`` has for it, or of one of several."""
    return _of_types(operand, "bsonType", TYPE_ALIASES)


def _of_types(operand: Value, name: str, aliases: dict[str, int]) -> Test:
    expected = "a type's name or an array of them"
    if type(operand) not in (str, list):
        raise _mismatch(name, expected, operand)
    codes: set[int] = set()
    for alias in _distinct(operand, name, expected) if type(operand) is list else [operand]:
        if alias == "integer":
            raise _unparsable("$jsonSchema type 'integer' is not supported; use bsonType: 'int' or 'long'")
        if alias != "number" and alias not in aliases:
            raise QueryError(f"unknown type name alias: {alias}")
        codes |= NUMBER_CODES if alias == "number" else {aliases[alias]}
    return lambda value: type_code(value) in codes


def _distinct(operand: Value, name: str, expected: str = "an array of names") -> list[str]:
    """An array of strings that is not empty and has none twice."""
    if type(operand) is not list:
        raise _mismatch(name, expected, operand)
    for position, text in enumerate(operand):
        with at(position):
            if type(text) is not str:
                raise _mismatch(name, f"{expected}, all of them strings", text)
            if text in operand[:position]:
                raise _unparsable(f"{name} names {text!r} twice")
    if not operand:
        raise _unparsable(f"{name} needs at least one name, and the array is empty")
    return operand


@_keyword("title")
def title(operand: Value, _: Document) -> Test:
    """Pass every value: it is there for the reader."""
    return _text(operand, "title")


@_keyword("description")
def description(operand: Value, _: Document) -> Test:
    """Pass every value: it is there for the reader."""
    return _text(operand, "description")


def _text(operand: Value, name: str) -> Test:
    if type(operand) is not str:
        raise _mismatch(name, "a string", operand)
    return _always


@_keyword("enum")
def enum(operand: Value, _: Document) -> Test:
    """Pass values that equal one of these; the order of an object's fields does not count."""
    if type(operand) is not list:
        raise _mismatch("enum", "an array", operand)
    if not operand:
        raise _unparsable("enum needs at least one value, and the array is empty")
    keys = {_unordered(choice) for choice in operand}
    if len(keys) < len(operand):
        raise _unparsable("enum has a value twice")
    return lambda value: _unordered(value) in keys


def _unordered(value: Value) -> SortKey:
    """A key that two values share when they are equal apart from the order of fields."""
    if type(value) is dict:
        return (_is_object, *sorted((name, _unordered(member)) for name, member in value.items()))
    if type(value) is list:
        return (_is_array, *map(_unordered, value))
    return sort_key(value)


@_keyword("allOf")
def all_of(operand: Value, _: Document) -> Test:
    """Pass values that pass every schema of the array."""
    tests = _schemas(operand, "allOf")
    return lambda value: all(test(value) for test in tests)


@_keyword("anyOf")
def any_of(operand: Value, _: Document) -> Test:
    """Pass values that pass at least one schema of the array."""
    tests = _schemas(operand, "anyOf")
    return lambda value: any(test(value) for test in tests)


@_keyword("oneOf")
def one_of(operand: Value, _: Document) -> Test:
    """Pass values that pass exactly one schema of the array."""
    tests = _schemas(operand, "oneOf")
    return lambda value: sum(test(value) for test in tests) == 1


def _schemas(operand: Value, name: str) -> list[Test]:
    if type(operand) is not list:
        raise _mismatch(name, "an array of schemas", operand)
    if not operand:
        raise QueryError(f"{name} needs at least one schema, and the array is empty")
    tests = []
    for position, source in enumerate(operand):
        with at(position):
            tests.append(_schema(source, name))
    return tests


@_keyword("not")
def not_(operand: Value, _: Document) -> Test:
    """Pass values that do not pass the schema."""
    test = _schema(operand, "not")
    return lambda value: not test(value)


@_keyword("minimum", on=is_number)
def minimum(operand: Value, schema: Document) -> Test:
    """Pass numbers from here on; with ``exclusiveMinimum: true`` only greater ones."""
    bound, exclusive = _bound(operand, schema, "minimum", "exclusiveMinimum")
    if is_nan(operand):
        return lambda value: not exclusive and is_nan(value)
    return lambda value: not is_nan(value) and (sort_key(value) > bound or (not exclusive and sort_key(value) == bound))


@_keyword("maximum", on=is_number)
def maximum(operand: Value, schema: Document) -> Test:
    """Pass numbers up to here; with ``exclusiveMaximum: true`` only smaller ones."""
    bound, exclusive = _bound(operand, schema, "maximum", "exclusiveMaximum")
    if is_nan(operand):
        return lambda value: not exclusive and is_nan(value)
    return lambda value: not is_nan(value) and (sort_key(value) < bound or (not exclusive and sort_key(value) == bound))


def _bound(operand: Value, schema: Document, name: str, exclusive: str) -> tuple[SortKey, bool]:
    if not is_number(operand):
        raise _mismatch(name, "a number", operand)
    return sort_key(operand), schema.get(exclusive) is True


@_keyword("exclusiveMinimum")
def exclusive_minimum(operand: Value, schema: Document) -> Test:
    """Pass every value: it says how the ``minimum`` beside it is meant."""
    return _exclusive(operand, schema, "exclusiveMinimum", "minimum")


@_keyword("exclusiveMaximum")
def exclusive_maximum(operand: Value, schema: Document) -> Test:
    """Pass every value: it says how the ``maximum`` beside it is meant."""
    return _exclusive(operand, schema, "exclusiveMaximum", "maximum")


def _exclusive(operand: Value, schema: Document, name: str, beside: str) -> Test:
    if beside not in schema:
        raise _unparsable(f"{name} needs {beside} beside it")
    if type(operand) is not bool:
        raise _mismatch(name, "a boolean", operand)
    return _always


@_keyword("multipleOf", on=is_number)
def multiple_of(operand: Value, _: Document) -> Test:
    """Pass numbers that are this number times a whole one; decimal arithmetic, so that 0.3 is three times 0.1."""
    if not is_number(operand):
        raise _mismatch("multipleOf", "a number", operand)
    divisor = to_decimal(operand)
    if not divisor.is_nan() and divisor <= 0:
        raise _unparsable(f"multipleOf needs a number greater than zero, not {preview(operand)}")

    def is_multiple(value: Value) -> bool:
        number = to_decimal(value)
        if divisor.is_nan() or not number.is_finite():
            return False
        return not _WIDE.remainder(number, divisor)

    return is_multiple


@_keyword("minLength", on=_is_string)
def min_length(operand: Value, _: Document) -> Test:
    """Pass strings of at least so many characters."""
    least = _count(operand, "minLength")
    return lambda value: len(value) >= least


@_keyword("maxLength", on=_is_string)
def max_length(operand: Value, _: Document) -> Test:
    """Pass strings of at most so many characters."""
    most = _count(operand, "maxLength")
    return lambda value: len(value) <= most


def _count(operand: Value, name: str) -> int:
    number = integral(operand)
    if number is None or number < 0:
        raise _unparsable(f"{name} needs a whole number that is not negative, not {preview(operand)}")
    return number


@_keyword("pattern", on=_is_string)
def pattern(operand: Value, _: Document) -> Test:
    """Pass strings in which the regular expression is found."""
    if type(operand) is not str:
        raise _mismatch("pattern", "a string", operand)
    return compile_pattern(Regex(operand))


@_keyword("minItems", on=_is_array)
def min_items(operand: Value, _: Document) -> Test:
    """Pass arrays of at least so many elements."""
    least = _count(operand, "minItems")
    return lambda value: len(value) >= least


@_keyword("maxItems", on=_is_array)
def max_items(operand: Value, _: Document) -> Test:
    """Pass arrays of at most so many elements."""
    most = _count(operand, "maxItems")
    return lambda value: len(value) <= most


@_keyword("uniqueItems", on=_is_array)
def unique_items(operand: Value, _: Document) -> Test:
    """Pass, where it is true, arrays of which no two elements are equal; the order of fields does not count."""
    if type(operand) is not bool:
        raise _mismatch("uniqueItems", "a boolean", operand)
    return (lambda value: len(set(map(_unordered, value))) == len(value)) if operand else _always


@_keyword("items", on=_is_array)
def items(operand: Value, _: Document) -> Test:
    """Pass arrays of which every element passes the schema, or each the one at its position."""
    if type(operand) is dict:
        test = _schema(operand, "items")
        return lambda value: all(map(test, value))
    if type(operand) is not list:
        raise _mismatch("items", "a schema or an array of schemas", operand)
    tests = _schemas(operand, "items") if operand else []
    return lambda value: all(test(element) for test, element in zip(tests, value, strict=False))


@_keyword("additionalItems", on=_is_array)
def additional_items(operand: Value, schema: Document) -> Test:
    """Pass arrays whose elements beyond those that an array of ``items`` speaks of pass too."""
    test = _schema_or_flag(operand, "additionalItems")
    if type(schema.get("items")) is not list:
        return _always
    spoken_of = len(schema["items"])
    return lambda value: all(map(test, value[spoken_of:]))


def _schema_or_flag(operand: Value, name: str) -> Test:
    if type(operand) is bool:
        return lambda _: operand
    if type(operand) is not dict:
        raise _mismatch(name, "a schema or a boolean", operand)
    return _schema(operand, name)


@_keyword("required", on=_is_object)
def required(operand: Value, _: Document) -> Test:
    """Pass objects that have all these fields."""
    names = _distinct(operand, "required")
    return lambda value: all(name in value for name in names)


@_keyword("minProperties", on=_is_object)
def min_properties(operand: Value, _: Document) -> Test:
    """Pass objects of at least so many fields."""
    least = _count(operand, "minProperties")
    return lambda value: len(value) >= least


@_keyword("maxProperties", on=_is_object)
def max_properties(operand: Value, _: Document) -> Test:
    """Pass objects of at most so many fields."""
    most = _count(operand, "maxProperties")
    return lambda value: len(value) <= most


@_keyword("properties", on=_is_object)
def properties(operand: Value, _: Document) -> Test:
    """Pass objects of which each of these fields, where it is there, passes its schema."""
    tests = _by_name(operand, "properties")
    return lambda value: all(test(value[name]) for name, test in tests if name in value)


@_keyword("patternProperties", on=_is_object)
def pattern_properties(operand: Value, _: Document) -> Test:
    """Pass objects of which each field whose name a regular expression is found in passes its schema."""
    tests = _by_pattern(operand)
    return lambda value: all(test(value[name]) for name in value for found, test in tests if found(name))


@_keyword("additionalProperties", on=_is_object)
def additional_properties(operand: Value, schema: Document) -> Test:
    """Pass objects whose fields that ``properties`` and ``patternProperties`` do not speak of pass too."""
    test = _schema_or_flag(operand, "additionalProperties")
    names = frozenset(schema.get("properties", ()))
    expressions = [compile_pattern(Regex(name)) for name in schema.get("patternProperties", ())]
    return lambda value: all(
        test(member)
        for name, member in value.items()
        if name not in names and not any(found(name) for found in expressions)
    )


def _by_name(operand: Value, keyword: str) -> list[tuple[str, Test]]:
    if type(operand) is not dict:
        raise _mismatch(keyword, "an object of schemas", operand)
    tests = []
    for name, source in operand.items():
        with at(name):
            tests.append((name, _schema(source, keyword)))
    return tests


def _by_pattern(operand: Value) -> list[tuple[Callable[[str], bool], Test]]:
    tests = []
    for name, test in _by_name(operand, "patternProperties"):
        with at(name):
            tests.append((compile_pattern(Regex(name)), test))
    return tests


@_keyword("dependencies", on=_is_object)
def dependencies(operand: Value, _: Document) -> Test:
    """Pass objects that, where they have one of these fields, have others too or pass a schema."""
    if type(operand) is not dict:
        raise _mismatch("dependencies", "an object", operand)
    tests: list[tuple[str, Test]] = []
    for name, dependency in operand.items():
        with at(name):
            if type(dependency) is dict:
                tests.append((name, _schema(dependency, "dependencies")))
            elif type(dependency) is list:
                tests.append((name, required(dependency, {})))
            else:
                raise _mismatch("dependencies", "an array of names or a schema", dependency)
    return lambda value: all(test(value) for name, test in tests if name in value)
