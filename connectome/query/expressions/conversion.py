"""Conversion between types, and what type a value has."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, Overflow, Underflow
from typing import Any, Final, Literal
from uuid import UUID

from bson import Binary, Decimal128, Int64, ObjectId
from bson.decimal128 import create_decimal128_context

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.calendar import date_at, instant
from connectome.query.date_text import understood, written
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
from connectome.query.numbers import to_decimal, typed
from connectome.query.values import (
    INT32,
    INT64,
    TYPE_ALIASES,
    Value,
    exact,
    integral,
    is_number,
    truthy,
    type_alias,
)


@operator("$type", ANY, nulls=False)
def type_(value: Value) -> str:
    """The name of the value's type; "missing" where there is none."""
    return type_alias(value)


@operator("$isNumber", ANY, nulls=False)
def is_number_(value: Value) -> bool:
    """Whether the value is an int, long, double or decimal."""
    return is_number(value)


@dataclass(frozen=True, slots=True)
class Manner:
    """
    How a conversion is done, where its types leave a choice.

    base: of whole numbers written as text.
    encoding: of binary written as text; named ``format`` in MongoDB.
    subtype: of the binary that is made, not yet checked.
    byte_order: of numbers in binary, as ``struct`` names it.
    """

    base: int | None = None
    encoding: str | None = None
    subtype: Value = 0
    byte_order: Literal["<", ">"] = "<"


Conversion = Callable[[Any, Manner], Value]


def _failure(value: Value, to: str, why: str = "") -> QueryError:
    return QueryError(
        f"{preview(value)} cannot be converted to {to}{why and f': {why}'}, and there is no onError",
        code="ConversionFailure",
    )


# Numbers


def _whole(number: Value, within: range, to: str) -> int:
    """A number cut toward zero; a double must be in range before, a decimal after."""
    precise = exact(number)
    if not math.isfinite(precise):
        raise _failure(number, to, "it is not finite")
    whole = int(precise)
    if not within[0] <= (precise if isinstance(precise, float) else whole) <= within[-1]:
        raise _failure(number, to, "it is out of range")
    return whole


def _to_int(number: Value, _: Manner) -> int:
    return _whole(number, INT32, "an int")


def _to_long(number: Value, _: Manner) -> Int64:
    return Int64(_whole(number, INT64, "a long"))


def _to_double(number: Value, _: Manner) -> float:
    if type(number) is not Decimal128:
        return float(number)
    return _double(number.to_decimal(), number)


def _double(number: Decimal, of: Value) -> float:
    double = float(number)
    # What C's strtod calls out of range: too great, or so small that digits are lost.
    lost = abs(double) < sys.float_info.min and double != number
    if number.is_finite() and (math.isinf(double) or lost):
        raise _failure(of, "a double", "it is out of range")
    return double


def _to_decimal(number: Value, _: Manner) -> Decimal128:
    return number if type(number) is Decimal128 else Decimal128(to_decimal(number))


_DIGITS: Final = {2: "[01]", 8: "[0-7]", 10: "[0-9]", 16: "[0-9A-Fa-f]"}
_NUMERAL: Final = re.compile(r"[+-]?(?:(\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE)


def _whole_from_text(text: str, base: int, within: range, to: str) -> int:
    if not re.fullmatch(f"[+-]?0*{_DIGITS[base]}{{1,64}}", text):
        raise _failure(text, to, f"it is not a whole number to the base {base}")
    whole = int(text, base)
    if whole not in within:
        raise _failure(text, to, "it is out of range")
    return whole


def _int_from_text(text: str, manner: Manner) -> int:
    return _whole_from_text(text, manner.base or 10, INT32, "an int")


def _long_from_text(text: str, manner: Manner) -> Int64:
    return Int64(_whole_from_text(text, manner.base or 10, INT64, "a long"))


def _double_from_text(text: str, manner: Manner) -> float:
    if manner.base:
        return float(_whole_from_text(text, manner.base, INT64, "a double"))
    if not _NUMERAL.fullmatch(text):
        raise _failure(text, "a double", "it is not a number")
    return _double(Decimal(text), text)


def _decimal_from_text(text: str, manner: Manner) -> Decimal128:
    if manner.base:
        return Decimal128(Decimal(_whole_from_text(text, manner.base, INT64, "a decimal")))
    if not _NUMERAL.fullmatch(text):
        raise _failure(text, "a decimal", "it is not a number")
    context = create_decimal128_context()
    decimal = context.create_decimal(text)
    if context.flags[Overflow] or context.flags[Underflow]:
        raise _failure(text, "a decimal", "it is out of range")
    return Decimal128(decimal)


_FORMATS: Final = {2: "b", 8: "o", 10: "d", 16: "X"}


def _number_to_text(number: Value, manner: Manner) -> str:
    if manner.base:
        whole = integral(number)
        if whole is None or whole not in (INT64 if isinstance(number, int) else INT32):
            raise _failure(number, f"a string to the base {manner.base}", "it is not a whole number")
        return format(whole, _FORMATS[manner.base])
    if type(number) is float:
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return "NaN" if math.isnan(number) else repr(number).removesuffix(".0")
    return str(number)


def _date_from_number(number: Value, _: Manner) -> Value:
    return date_at(_whole(number, INT64, "a date"))


# Binary

_LENGTHS: Final = {
    "int": {1: "b", 2: "h", 4: "i"},
    "long": {1: "b", 2: "h", 4: "i", 8: "q"},
    "double": {4: "f", 8: "d"},
}


def _number_from_binary(to: str, make: Callable[[Any], Value]) -> Conversion:
    def number(binary: bytes, manner: Manner) -> Value:
        form = _LENGTHS[to].get(len(binary))
        if form is None:
            raise _failure(binary, to, f"it has {len(binary)} bytes")
        return make(struct.unpack(manner.byte_order + form, binary)[0])

    return number


def _number_to_binary(form: str) -> Conversion:
    def binary(number: Value, manner: Manner) -> Binary:
        return Binary(struct.pack(manner.byte_order + form, number), _subtype(manner.subtype))

    return binary


def _subtype(subtype: Value) -> int:
    if not is_number(subtype):
        raise QueryError(f"the subtype of $convert is a number, not {preview(subtype)}", code="Location4341108")
    code = integral(subtype)
    if code is None or code not in INT32:
        raise QueryError(f"the subtype of $convert is a whole number, not {preview(subtype)}", code="Location4341106")
    if code not in range(10) and code not in range(128, 256):
        raise QueryError(f"no subtype of binary is {code}", code="Location4341107")
    return code


def _base64(alphabet: str, *, padded: bool) -> Callable[[str], bytes]:
    def decode(text: str) -> bytes:
        if padded and len(text) % 4:
            raise ValueError("it has no padding")
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), alphabet, validate=True)

    return decode


# How binary is written as text, by the names of $convert's format: to text, and back.
_ENCODINGS: Final[dict[str, tuple[Callable[[bytes], str], Callable[[str], bytes]]]] = {
    "base64": (lambda data: base64.b64encode(data).decode(), _base64("+/", padded=True)),
    "base64url": (lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="), _base64("-_", padded=False)),
    "hex": (lambda data: data.hex().upper(), binascii.unhexlify),
    "utf8": (lambda data: data.decode(), str.encode),
    "uuid": (lambda data: str(UUID(bytes=data)), lambda text: UUID(text).bytes),
}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _encoding(value: Value, manner: Manner) -> str:
    if manner.encoding is None:
        raise QueryError(f"$convert needs a format to convert {preview(value)}", code="Location4341115")
    return manner.encoding


def _binary_from_text(text: str, manner: Manner) -> Binary:
    encoding, subtype = _encoding(text, manner), _subtype(manner.subtype)
    if (encoding == "uuid") != (subtype == 4):
        raise _failure(text, "binData", "the format uuid and the subtype 4 belong together")
    if encoding == "auto" or (encoding == "uuid" and not _UUID.fullmatch(text)):
        raise _failure(text, "binData", f"it is not in the format {encoding}")
    try:
        return Binary(_ENCODINGS[encoding][1](text), subtype)
    except ValueError as error:
        raise _failure(text, "binData", str(error)) from None


def _binary_to_text(binary: bytes, manner: Manner) -> str:
    encoding = _encoding(binary, manner)
    is_uuid = isinstance(binary, Binary) and binary.subtype == 4 and len(binary) == 16
    if encoding == "auto":
        encoding = "uuid" if is_uuid else "base64"
    if encoding == "uuid" and not is_uuid:
        raise _failure(binary, "a string", "it is not a UUID")
    try:
        return _ENCODINGS[encoding][0](binary)
    except ValueError as error:
        raise _failure(binary, "a string", str(error)) from None


def _same_subtype(binary: bytes, manner: Manner) -> bytes:
    if (binary.subtype if isinstance(binary, Binary) else 0) != _subtype(manner.subtype):
        raise _failure(binary, "binData", "it has another subtype")
    return binary


def _object_id_from_text(text: str, _: Manner) -> ObjectId:
    if not re.fullmatch("[0-9A-Fa-f]{24}", text):
        raise _failure(text, "an objectId", "expected 24 hexadecimal digits")
    return ObjectId(text)


def _of_numbers(conversion: Conversion) -> dict[str, Conversion]:
    return dict.fromkeys(("int", "long", "double", "decimal"), conversion)


def _same(value: Value, _: Manner) -> Value:
    return value


# To a type, from a type; what is not here cannot be converted.
_CONVERSIONS: Final[dict[str, dict[str, Conversion]]] = {
    "int": {
        **_of_numbers(_to_int),
        "bool": lambda flag, _: int(flag),
        "string": _int_from_text,
        "binData": _number_from_binary("int", int),
    },
    "long": {
        **_of_numbers(_to_long),
        "bool": lambda flag, _: Int64(flag),
        "string": _long_from_text,
        "date": lambda date, _: Int64(instant(date)),
        "binData": _number_from_binary("long", Int64),
    },
    "double": {
        **_of_numbers(_to_double),
        "bool": lambda flag, _: float(flag),
        "string": _double_from_text,
        "date": lambda date, _: float(instant(date)),
        "binData": _number_from_binary("double", float),
    },
    "decimal": {
        **_of_numbers(_to_decimal),
        "bool": lambda flag, _: Decimal128(Decimal(flag)),
        "string": _decimal_from_text,
        "date": lambda date, _: Decimal128(Decimal(instant(date))),
    },
    "string": {
        **_of_numbers(_number_to_text),
        "string": _same,
        "bool": lambda flag, _: "true" if flag else "false",
        "date": lambda date, _: written(instant(date)),
        "objectId": lambda oid, _: str(oid),
        "binData": _binary_to_text,
    },
    "bool": dict.fromkeys(TYPE_ALIASES, lambda value, _: truthy(value)),
    "date": {
        **_of_numbers(_date_from_number),
        "date": _same,
        "string": lambda text, _: understood(text),
        "objectId": lambda oid, _: date_at(instant(oid)),
        "timestamp": lambda stamp, _: date_at(instant(stamp)),
    },
    "objectId": {"objectId": _same, "string": _object_id_from_text},
    "binData": {
        "binData": _same_subtype,
        "string": _binary_from_text,
        "int": _number_to_binary("i"),
        "long": _number_to_binary("q"),
        "double": _number_to_binary("d"),
    },
}
# An int is too short for the milliseconds of a date.
del _CONVERSIONS["date"]["int"]


def _converted(value: Value, to: str, manner: Manner) -> Value:
    conversion = _CONVERSIONS.get(to, {}).get(type_alias(value))
    if conversion is None:
        raise _failure(value, to, f"nothing of the type {type_alias(value)} can")
    return conversion(typed(value), manner)


_ALIASES: Final = {code: alias for alias, code in TYPE_ALIASES.items()}


def _type_named(to: Value) -> str:
    if type(to) is str:
        if to not in TYPE_ALIASES and to != "missing":
            raise QueryError(f"no type is named {to!r}", code="BadValue")
        return to
    if not is_number(to):
        raise QueryError(f"the type to convert to is a string or a number, not {preview(to)}", code="FailedToParse")
    code = integral(to)
    if code not in _ALIASES:
        raise QueryError(f"no type has the number {preview(to)}", code="FailedToParse")
    return _ALIASES[code]


def _target(to: Value) -> tuple[str, Value]:
    """The type to convert to and, for binary, its subtype."""
    if type(to) is not dict:
        return _type_named(to), 0
    given = named_arguments("to of $convert", to, ["type"], {"type": None, "subtype": None})
    return _type_named(given["type"]), given.get("subtype", 0)


def _base(base: Value) -> int | None:
    if is_nullish(base):
        return None
    number = integral(base)
    if number is None or number not in INT32:
        raise QueryError(f"the base of $convert is a whole number, not {preview(base)}", code="Location3501300")
    if number not in _DIGITS:
        raise QueryError(f"the base of $convert is 2, 8, 10 or 16, not {number}", code="Location3501301")
    return number


def _choice(name: str, value: Value, choices: tuple[str, ...], codes: tuple[str, str]) -> Any:
    """One of the names that an argument of $convert may have; None where it is null."""
    if is_nullish(value):
        return None
    if type(value) is not str:
        raise QueryError(f"the {name} of $convert is a string, not {preview(value)}", code=codes[0])
    if value not in choices:
        raise QueryError(f"the {name} of $convert is one of {', '.join(choices)}, not {value!r}", code=codes[1])
    return value


def _conversion(arguments: Mapping[str, Expression]) -> Expression:
    """A conversion from the arguments of $convert by their names."""

    def evaluate(variables: Variables) -> Value:
        def argument(name: str) -> Value:
            return arguments[name].evaluate(variables) if name in arguments else None

        to, value = argument("to"), argument("input")
        given = {name: argument(name) for name in ("base", "format", "byteOrder")}
        target = None if is_nullish(to) else _target(to)
        if is_nullish(value):
            return argument("onNull")
        if target is None:
            return None
        order = _choice("byteOrder", given["byteOrder"], ("little", "big"), ("Location9130001", "Location9130002"))
        manner = Manner(
            _base(given["base"]),
            _choice("format", given["format"], ("auto", *_ENCODINGS), ("Location4341114", "Location4341125")),
            target[1],
            ">" if order == "big" else "<",
        )
        try:
            return _converted(value, target[0], manner)
        except QueryError as error:
            if error.code == "ConversionFailure" and "onError" in arguments:
                return argument("onError")
            raise

    return folded(evaluate, *arguments.values())


@syntax("$convert")
def convert(operand: Value, scope: Scope) -> Expression:
    """``input`` as the type ``to``; ``onNull`` for null, ``onError`` where it cannot be converted."""
    known = dict.fromkeys(("input", "to", "base", "format", "byteOrder", "onError", "onNull"))
    arguments = {}
    for name, source in named_arguments("$convert", operand, ["input", "to"], known).items():
        with at(name):
            arguments[name] = read(source, scope)
    return _conversion(arguments)


def _shorthand(name: str, says: str, to: Value, encoding: str | None = None) -> None:
    """Declare an operator that is $convert to one type."""

    def shorthand(operand: Value, scope: Scope) -> Expression:
        if type(operand) is list:
            if len(operand) != 1:
                raise QueryError(f"{name} takes 1 argument, and {len(operand)} came", code="Location50723")
            with at(0):
                value = read(operand[0], scope)
        else:
            value = read(operand, scope)
        return _conversion({"input": value, "to": constant(to), "format": constant(encoding)})

    shorthand.__doc__ = says
    syntax(name)(shorthand)


_shorthand("$toBool", "The value as a bool: false for false and for zero alone.", "bool")
_shorthand("$toDate", "The value as a date: from milliseconds, ISO-8601 text, an objectId or a timestamp.", "date")
_shorthand("$toDecimal", "The value as a decimal: from a number, a bool, text, or a date in milliseconds.", "decimal")
_shorthand("$toDouble", "The value as a double: from a number, a bool, text, or a date in milliseconds.", "double")
_shorthand("$toInt", "The value as an int, cut toward zero: from a number, a bool or text.", "int")
_shorthand("$toLong", "The value as a long, cut toward zero: from a number, a bool, text, or a date.", "long")
_shorthand("$toObjectId", "The text of 24 hexadecimal digits as an objectId.", "objectId")
_shorthand("$toString", "The value as text.", "string", "auto")
_shorthand("$toUUID", "The text of a UUID as binary.", {"type": "binData", "subtype": 4}, "uuid")
