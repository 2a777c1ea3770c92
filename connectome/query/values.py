"""
BSON's values: their types, the brackets they sort in, their one total order, and when two are the same.

Every other module of the language asks here; none compares two values by itself.  A value type is one row of
the table.  No I/O, no operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from connectome.errors import QueryError
from connectome.extjson import preview

Value = Any
Document = dict[str, Value]
SortKey = tuple[Any, ...]


class _Missing:
    """The value of a field that is not there.  It sorts as null and equals only itself."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()

INT32: Final = range(-(2**31), 2**31)
INT64: Final = range(-(2**63), 2**63)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def milliseconds(date: datetime | DatetimeMS) -> int:
    """Milliseconds since 1970 UTC, as BSON keeps a date."""
    if type(date) is datetime:
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MILLISECOND
    return int(date)  # type: ignore[arg-type]  # DatetimeMS


# bson.Regex keeps options as the flags of Python's re module.
REGEX_FLAGS: Final = {letter: Regex("", letter).flags for letter in "ilmsux"}


def regex_options(regex: Regex[Any]) -> str:
    """The options of a regular expression as MongoDB writes them, in alphabetical order."""
    return "".join(letter for letter, flag in REGEX_FLAGS.items() if regex.flags & flag)


class _Row(NamedTuple):
    """
    What the language knows of one Python type.

    alias, code: the names that ``$type`` takes.
    rank: the bracket; values of different brackets are ordered by it and match no range of each other.
    key: value → what orders it within its bracket; appended to ``(rank,)``.
    """

    alias: str
    code: int
    rank: int
    key: Callable[[Value], SortKey]


def _number_key(number: float) -> SortKey:
    # NaN is the smallest number: a tuple that has run out sorts before one that goes on.
    return (number,) if number == number else ()


def _decimal_key(number: Decimal128) -> SortKey:
    decimal = number.to_decimal()
    return () if decimal.is_nan() else (decimal,)


def _document_key(document: Document) -> SortKey:
    # BSON compares field by field: the bracket first, then the name, then the value; fewer fields first.
    return tuple((_TYPES[type(value)].rank, name, sort_key(value)) for name, value in document.items())


def _binary_key(binary: bytes) -> SortKey:
    return (len(binary), binary.subtype if isinstance(binary, Binary) else 0, bytes(binary))


_NUMBER: Final = 10
_NULL: Final = 5
_DOCUMENT: Final = 20
_ARRAY: Final = 25

_TYPES: Final[dict[type, _Row]] = {
    MinKey: _Row("minKey", -1, -1, lambda _: ()),
    _Missing: _Row("missing", 0, _NULL, lambda _: ()),
    type(None): _Row("null", 10, _NULL, lambda _: ()),
    int: _Row("int", 16, _NUMBER, lambda number: (number,)),
    Int64: _Row("long", 18, _NUMBER, lambda number: (number,)),
    float: _Row("double", 1, _NUMBER, _number_key),
    Decimal128: _Row("decimal", 19, _NUMBER, _decimal_key),
    str: _Row("string", 2, 15, lambda text: (text,)),
    dict: _Row("object", 3, _DOCUMENT, _document_key),
    list: _Row("array", 4, _ARRAY, lambda array: tuple(map(sort_key, array))),
    bytes: _Row("binData", 5, 30, _binary_key),
    Binary: _Row("binData", 5, 30, _binary_key),
    ObjectId: _Row("objectId", 7, 35, lambda oid: (oid.binary,)),
    bool: _Row("bool", 8, 40, lambda flag: (flag,)),
    datetime: _Row("date", 9, 45, lambda date: (milliseconds(date),)),
    DatetimeMS: _Row("date", 9, 45, lambda date: (milliseconds(date),)),
    Timestamp: _Row("timestamp", 17, 47, lambda stamp: (stamp.time, stamp.inc)),
    Regex: _Row("regex", 11, 50, lambda regex: (regex.pattern, regex_options(regex))),
    MaxKey: _Row("maxKey", 127, 127, lambda _: ()),
}

# Types that BSON has and Extended JSON here refuses: ``$type`` may ask for them and finds none.
_ABSENT_TYPES: Final = {
    "undefined": 6,
    "dbPointer": 12,
    "javascript": 13,
    "symbol": 14,
    "javascriptWithScope": 15,
}
TYPE_ALIASES: Final = {
    **{row.alias: row.code for row in _TYPES.values() if row.alias != "missing"},
    **_ABSENT_TYPES,
}
NUMBER_CODES: Final = frozenset({1, 16, 18, 19})


def sort_key(value: Value) -> SortKey:
    """
    A key that orders any two values as BSON does.

    Equal keys mean equal values (``1`` and ``1.0``; null and missing; NaN and itself; never ``true`` and ``1``),
    and the key can be hashed: it is also what finds a value in a set or an index.
    """
    row = _TYPES[type(value)]
    if row.rank == _DOCUMENT or row.rank == _ARRAY:
        return (row.rank, row.key(value))
    return (row.rank, *row.key(value))


_PLAIN_NUMBERS: Final = frozenset({int, float, Int64})


def index_key(value: Value) -> Any:
    """What finds a value in a dict: equal for equal values, and never for others; strings and numbers are their own."""
    kind = type(value)
    if kind is str or (kind in _PLAIN_NUMBERS and value == value):
        return value
    if kind is Decimal128 and not is_nan(value):
        return value.to_decimal()
    return sort_key(value)


def rank(value: Value) -> int:
    """The bracket in which BSON sorts a value."""
    return _TYPES[type(value)].rank


def type_code(value: Value) -> int:
    """BSON's number for the type of a value; 0 for one that is missing."""
    code = _TYPES[type(value)].code
    return 18 if code == 16 and value not in INT32 else code


def type_alias(value: Value) -> str:
    """The name that ``$type`` has for the type of a value."""
    alias = _TYPES[type(value)].alias
    return "long" if alias == "int" and value not in INT32 else alias


def equal(one: Value, other: Value) -> bool:
    """Whether BSON's comparison finds no difference: ``1`` equals ``1.0``, documents in the same key order."""
    return rank(one) == rank(other) and sort_key(one) == sort_key(other)


def identical(one: Value, other: Value) -> bool:
    """Whether two values are the same bytes in BSON: ``1`` and ``1.0`` are equal, but not identical."""
    if one is other:
        return True
    if type_code(one) != type_code(other):
        return False
    if type(one) is dict:
        return (
            len(one) == len(other)
            and all(a == b for a, b in zip(one, other, strict=True))
            and all(identical(a, b) for a, b in zip(one.values(), other.values(), strict=True))
        )
    if type(one) is list:
        return len(one) == len(other) and all(map(identical, one, other))
    if type(one) is float:
        return bool(one.hex() == other.hex())
    if type(one) is Decimal128:
        return bool(one.bid == other.bid)
    return sort_key(one) == sort_key(other)


def depth(value: Value) -> int:
    """How many levels of documents and arrays a value has; 0 for a scalar."""
    if type(value) is dict:
        return 1 + max((depth(each) for each in value.values() if type(each) in _CONTAINERS), default=0)
    if type(value) is list:
        return 1 + max((depth(each) for each in value if type(each) in _CONTAINERS), default=0)
    return 0


_CONTAINERS: Final = frozenset({dict, list})


def is_number(value: Value) -> bool:
    """Whether a value is an int, long, double or decimal; a bool is not."""
    return _TYPES[type(value)].rank == _NUMBER


def is_nan(value: Value) -> bool:
    """Whether a value is the double or decimal NaN."""
    return is_number(value) and len(sort_key(value)) == 1


def truthy(value: Value) -> bool:
    """What BSON takes for true where a flag is expected: everything but false, zero, null and missing."""
    if is_number(value):
        return is_nan(value) or sort_key(value) != (_NUMBER, 0)
    return value is not None and value is not False and value is not MISSING


def exact(number: Value) -> int | float | Decimal:
    """A number as Python's own, for comparing and for whole-number arithmetic."""
    return number.to_decimal() if type(number) is Decimal128 else number


def integral(value: Value) -> int | None:
    """The whole number that a value stands for (``2``, ``2.0``, ``NumberDecimal("2")``), or None."""
    if not is_number(value):
        return None
    number = exact(value)
    if isinstance(number, int):
        return int(number)
    if not math.isfinite(number) or number != int(number):
        return None
    return int(number)


def whole_number(operand: Value, *, of: str) -> int:
    """
    An operand that must be a whole number of 32 bits, and not negative.

    Raises:
        QueryError: ``BadValue`` -- it is not; ``of`` names the operator.
    """
    number = integral(operand)
    if number is None or number < 0:
        raise QueryError(f"{of} needs a whole number that is not negative, not {preview(operand)}")
    if number not in INT32:
        raise QueryError(f"{of} needs a whole number below {INT32.stop}, not {preview(operand)}")
    return number
