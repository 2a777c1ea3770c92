"""
What a collection's documents look like: their paths, types and values, and a JSON Schema that they all satisfy.

What is described is a sample, the same one for the same seed.  No store here, no HTTP.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from connectome import extjson
from connectome.query import Document, Value
from connectome.query.deadline import check
from connectome.query.values import exact, is_number, milliseconds, type_alias

SAMPLE: Final = 1000
BINS: Final = 20
TOP: Final = 8
# How many fields of one object are looked at: an object with more is a map, whose keys are data.
MAX_FIELDS: Final = 500
# How many documents are looked at between two looks at the clock.
_CHUNK: Final = 64

# Between the names of a path, where it goes on in the elements of an array.
ELEMENTS: Final = "[]"


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: how many values lie from ``low`` up to, not including, ``high``, and what to call them."""

    label: str
    count: int
    low: Value
    high: Value


@dataclass
class Shape:
    """
    What was found at one path.

    count: how many values there were.
    types: MongoDB's alias of each type → how many values are of it.
    kinds: how a value travels → how many do: a type of JSON Schema, or the key of a wrapper such as ``$date``.
    fields: what the documents among the values hold, by name, as first met; at most ``MAX_FIELDS``.
    elements: what the arrays among the values hold; None where there is no array.
    cut: there were more fields than are kept.
    numbers, strings, flags, dates, lengths: the values themselves: finite numbers, dates in milliseconds since 1970,
        and how long the arrays are.
    """

    count: int = 0
    types: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Shape] = field(default_factory=dict)
    elements: Shape | None = None
    cut: bool = False
    numbers: list[float] = field(default_factory=list)
    strings: Counter[str] = field(default_factory=Counter)
    flags: Counter[bool] = field(default_factory=Counter)
    dates: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, value: Value) -> None:
        """Look at one more value."""
        self.count += 1
        alias = type_alias(value)
        self.types[alias] += 1
        self.kinds[_kind(value)] += 1
        if type(value) is dict:
            for name, member in value.items():
                if name not in self.fields:
                    if len(self.fields) == MAX_FIELDS:
                        self.cut = True
                        continue
                    self.fields[name] = Shape()
                self.fields[name].add(member)
        elif type(value) is list:
            self.lengths.append(len(value))
            self.elements = self.elements or Shape()
            for element in value:
                self.elements.add(element)
        elif type(value) is str:
            self.strings[value] += 1
        elif type(value) is bool:
            self.flags[value] += 1
        elif alias == "date":
            self.dates.append(milliseconds(value))
        elif is_number(value) and math.isfinite(number := _float(value)):
            self.numbers.append(number)

    @property
    def documents(self) -> int:
        """How many of the values are documents."""
        return self.types["object"]

    def walk(self, path: tuple[str, ...] = (), of: int = 0) -> Iterator[tuple[tuple[str, ...], Shape, int]]:
        """Each path below this one, with what was found there, and in how many documents or values it could be."""
        if path:
            yield path, self, of
        for name, shape in self.fields.items():
            yield from shape.walk((*path, name), self.documents)
        if self.elements and self.elements.count:
            yield from self.elements.walk((*path, ELEMENTS), self.elements.count)


def sample(documents: Iterable[Document], size: int = SAMPLE, *, seed: int = 0) -> list[Document]:
    """At most ``size`` of the documents, in their order; the same ones for the same seed."""
    everything = list(documents)
    if len(everything) <= size:
        return everything
    return [everything[position] for position in sorted(random.Random(seed).sample(range(len(everything)), size))]


def shape_of(documents: Sequence[Document]) -> Shape:
    """
    What documents look like.

    Raises:
        QueryError: ``MaxTimeMSExpired`` -- the request took longer than it may.
    """
    shape = Shape()
    rest = iter(documents)
    while chunk := list(islice(rest, _CHUNK)):
        check()
        for document in chunk:
            shape.add(document)
    return shape


def path_text(path: tuple[str, ...]) -> str:
    """A path as people read it: ``reviews[].stars``."""
    return ".".join(path).replace("." + ELEMENTS, ELEMENTS)


def _float(number: Value) -> float:
    try:
        return float(exact(number))
    except (OverflowError, ValueError):
        return math.inf


def histogram(numbers: Sequence[float]) -> list[Bar]:
    """At most ``BINS`` bars of one round width over numbers that are finite."""
    low, high = min(numbers), max(numbers)
    # Half of each: the difference of two doubles may be beyond any double.
    half = high / 2 - low / 2
    if not half:
        return [Bar(_number(low), len(numbers), low, low)]
    step = _round_up(half / BINS * 2) if half < 1e300 else half / (BINS / 2 - 1)
    whole = all(float(number).is_integer() for number in numbers)
    step = max(step, 1.0) if whole else step
    first = math.floor(low / step)
    counts = Counter(min(math.floor(number / step) - first, BINS) for number in numbers)
    return [
        Bar(_range_label(edge, min(edge + step, sys.float_info.max), whole), counts[position], edge, edge + step)
        for position in range(max(counts) + 1)
        for edge in [(first + position) * step]
    ]


def _round_up(width: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    magnitude = 10.0 ** math.floor(math.log10(width)) if width > 1e-300 else 1e-300
    return next((each * magnitude for each in (1, 2, 5) if each * magnitude >= width), 10 * magnitude)


def _range_label(low: float, high: float, whole: bool) -> str:
    if whole and high - low == 1:
        return _number(low)
    return f"{_number(low)} – {_number(high - 1 if whole else high)}"


def _number(number: float) -> str:
    if not float(number).is_integer() or abs(number) >= 1e15:
        return f"{number:.6g}"
    # Four digits are as often a year as an amount.
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.0f}"


def top(values: Counter[Any]) -> list[Bar]:
    """The most frequent of strings or flags, at most ``TOP``."""
    return [
        Bar(value if type(value) is str else extjson.dumps(value), count, value, value)
        for value, count in values.most_common(TOP)
    ]


_DAY: Final = 86_400_000
# What the bars of a timeline may be wide, the narrowest first: milliseconds, and how a bar is called.
_UNITS: Final = [
    (1, "%Y-%m-%d %H:%M:%S.%f"),
    (1000, "%Y-%m-%d %H:%M:%S"),
    (60_000, "%Y-%m-%d %H:%M"),
    (3_600_000, "%Y-%m-%d %H:00"),
    (_DAY, "%Y-%m-%d"),
    (7 * _DAY, "%Y-%m-%d"),
]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The first and last moment that a calendar has a name for.
_NAMED: Final = range(milliseconds(datetime(1, 1, 1, tzinfo=UTC)), milliseconds(datetime(9999, 12, 31, tzinfo=UTC)))


def timeline(dates: Sequence[int]) -> list[Bar]:
    """
    At most ``BINS`` bars of one unit of the calendar over dates in milliseconds since 1970.

    Those before year 1 and after 9999 are left out; where there are no others, there is no bar.
    """
    named = [date for date in dates if date in _NAMED]
    if not named:
        return []
    low, high = min(named), max(named)
    for width, form in _UNITS:
        if high // width - low // width < BINS:
            counts = Counter(date // width for date in named)
            bins = range(low // width, high // width + 1)
            return [Bar(_called(each * width, form), counts[each], each * width, (each + 1) * width) for each in bins]
    return _by_months([_month(date) for date in named])


def _by_months(months: list[int]) -> list[Bar]:
    """A timeline of wider bars, over months counted from year 0."""
    low, high = min(months), max(months)
    width = next(each for each in (1, 3, 12, 60, 120, 600, 1200, 6000, 12000) if high // each - low // each < BINS)
    counts = Counter(month // width for month in months)
    return [
        Bar(_months_label(each * width, width), counts[each], _first_of(each * width), _first_of((each + 1) * width))
        for each in range(low // width, high // width + 1)
    ]


def _months_label(month: int, width: int) -> str:
    year = month // 12
    if width < 12:
        return f"{year:04}-{month % 12 + 1:02}"
    return f"{year:04}" if width == 12 else f"{year:04} – {year + width // 12 - 1:04}"


def _called(date: int, form: str) -> str:
    return _moment(date).strftime(form).removesuffix("000")


def _moment(date: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=date)


def _month(date: int) -> int:
    moment = _moment(date)
    return moment.year * 12 + moment.month - 1


def _first_of(month: int) -> int:
    year = min(max(month // 12, 1), 9999)
    return milliseconds(datetime(year, month % 12 + 1, 1, tzinfo=UTC))


# From the type of a plain value to its name in JSON Schema.
_JSON_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


def _kind(value: Value) -> str:
    """How a value travels: a type of JSON Schema, or the key of its wrapper."""
    if type(value) in (dict, list):
        return _JSON_TYPES[type(value)]
    plain = extjson.to_json(value)
    return next(iter(plain)) if type(plain) is dict else _JSON_TYPES[type(plain)]


# A wrapper in words, for the name of its definition.
_NAMES: Final = {
    "$oid": "objectId",
    "$date": "date",
    "$numberDecimal": "decimal",
    "$numberDouble": "notFinite",
    "$binary": "binData",
    "$uuid": "uuid",
    "$regularExpression": "regex",
    "$timestamp": "timestamp",
    "$minKey": "minKey",
    "$maxKey": "maxKey",
}


def proposed_schema(shape: Shape) -> dict[str, Any]:
    """
    A JSON Schema that every document which the shape was made of satisfies.

    It asks for the fields that all documents have and for the types that were seen, and forbids no other field: what
    has not been seen yet may still come.  A typed value is described as it travels, as its Extended JSON.
    """
    wrappers: dict[str, None] = {}
    body = _schema(shape, wrappers)
    definitions = {
        _NAMES[key]: {"type": "object", "properties": {key: True}, "required": [key], "additionalProperties": False}
        for key in wrappers
    }
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}
    return {**schema, "$defs": definitions} if definitions else schema


def _schema(shape: Shape, wrappers: dict[str, None]) -> dict[str, Any]:
    types = [kind for kind in shape.kinds if not kind.startswith("$")]
    if "number" in types and "integer" in types:
        types.remove("integer")
    plain: dict[str, Any] = {}
    if types:
        plain["type"] = types[0] if len(types) == 1 else types
    if shape.fields:
        plain["properties"] = {name: _schema(each, wrappers) for name, each in shape.fields.items()}
        required = [name for name, each in shape.fields.items() if each.count == shape.documents]
        if required:
            plain["required"] = required
    if shape.elements and shape.elements.count:
        plain["items"] = _schema(shape.elements, wrappers)
    keys = [kind for kind in shape.kinds if kind.startswith("$")]
    wrappers.update(dict.fromkeys(keys))
    references = [{"$ref": f"#/$defs/{_NAMES[key]}"} for key in keys]
    if not references:
        return plain
    choices = [plain, *references] if types else references
    return choices[0] if len(choices) == 1 else {"anyOf": choices}
