"""
The operators on dates: their parts, arithmetic on the calendar, from and to strings; and the parts of timestamps.

Days and longer units follow the calendar of a zone, hours and shorter ones pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from bson import Int64, Timestamp

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.calendar import (
    DAY,
    HOUR,
    MINUTE,
    PARTS,
    SECOND,
    UTC_ZONE,
    Local,
    Zone,
    date_at,
    days_of,
    instant,
    iso_days_of,
    iso_weekday,
    weekday_named,
    zone,
)
from connectome.query.date_text import (
    READERS,
    SPECIFIER,
    WRITERS,
    understood,
    written,
)
from connectome.query.expressions.language import (
    BOOL,
    Expression,
    Scope,
    Shape,
    Variables,
    coded,
    folded,
    is_nullish,
    named_arguments,
    operator,
    read,
    syntax,
)
from connectome.query.values import INT64, Document, Value, integral

_MONTHS: Final = {"year": 12, "quarter": 3, "month": 1}
_WHOLE_DAYS: Final = {"week": 7, "day": 1}
_TIMES: Final = {"hour": HOUR, "minute": MINUTE, "second": SECOND, "millisecond": 1}

# Those that MongoDB reads before the first document, where they are constant.
_EARLY: Final = frozenset({"binSize", "format", "startOfWeek", "timezone", "unit"})


def read_named(
    name: str, operand: Value, scope: Scope, codes: Mapping[str, str], known: Collection[str]
) -> dict[str, Expression]:
    """The arguments, compiled; those are required that have a code for their absence."""
    expressions = {}
    for key, source in named_arguments(name, operand, [key for key in known if key in codes], known, codes).items():
        with at(key):
            expressions[key] = read(source, scope)
    return expressions


def _accepting(shape: Shape) -> Callable[[Value], Value]:
    def accept(value: Value) -> Value:
        try:
            return shape.accept(value)
        except ValueError:
            raise QueryError(f"expected {shape.says}, not {preview(value)}", code=shape.code) from None

    return accept


def _accepts(given: Mapping[str, Expression], shapes: Mapping[str, Shape]) -> dict[str, Callable[[Value], Value]]:
    """For each argument the function from its value to what the operator works with; decided now where it can be."""
    accepts = {}
    for key, expression in given.items():
        accepts[key] = _accepting(shapes[key])
        if key in _EARLY and expression.constant and not is_nullish(value := expression.evaluate({})):
            with at(key):
                accepts[key] = functools.partial(_always, accepts[key](value))
    return accepts


def _always(accepted: Value, _: Value) -> Value:
    return accepted


def _applied(
    given: Mapping[str, Expression],
    shapes: Mapping[str, Shape],
    function: Callable[..., Value],
    *,
    late: Collection[str] = (),
) -> Expression:
    """
    A function of named arguments, which are looked at one by one, in the order of ``shapes``, which is MongoDB's.

    The first that is null or missing makes the result null; those before it have been checked, those behind have not.

    Args:
        late: The arguments that are checked when none is null.
    """
    in_order = [(key, given[key]) for key in shapes if key in given]
    if all(each.constant for each in given.values()):
        accepts = {key: _accepting(shapes[key]) for key in given}
    elif any(key in _EARLY and each.constant and is_nullish(each.evaluate({})) for key, each in in_order):
        return _NEVER
    else:
        accepts = _accepts(given, shapes)

    def evaluate(variables: Variables) -> Value:
        values: dict[str, Value] = {}
        for key, each in in_order:
            # MongoDB asks on which day weeks begin only where it counts in weeks.
            if key == "startOfWeek" and values["unit"] != "week":
                continue
            value = each.evaluate(variables)
            if is_nullish(value):
                return None
            values[key] = value if key in late else _accepted(accepts, key, value)
        for key in late:
            values[key] = _accepted(accepts, key, values[key])
        return function(**values)

    return folded(evaluate, *given.values())


def _accepted(accepts: Mapping[str, Callable[[Value], Value]], key: str, value: Value) -> Value:
    with at(key):
        return accepts[key](value)


def _by_name(
    name: str, codes: Mapping[str, str], shapes: Mapping[str, Shape], *, late: Collection[str] = ()
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Declare a function from values to value as an operator that takes them by name, as ``named_arguments`` reads."""

    def declare(function: Callable[..., Value]) -> Callable[..., Value]:
        def compile_(operand: Value, scope: Scope) -> Expression:
            return _applied(read_named(name, operand, scope, codes, shapes), shapes, function, late=late)

        compile_.__doc__ = function.__doc__
        syntax(name)(compile_)
        return function

    return declare


_AN_INSTANT: Final = Shape(instant, "a date")


_DATE: Final = coded(_AN_INSTANT, "Location16006")


_ZONE: Final = Shape(zone, "a time zone", code="Location40517")


def _part_operator(name: str, part: Callable[[Local], int], says: str) -> None:
    codes = {"unknown": "Location40535", "date": "Location40539"}
    shapes = {"date": _DATE, "timezone": _ZONE}

    def part_of(date: int, timezone: Zone = UTC_ZONE) -> int:
        return part(Local.at(date, timezone))

    def compile_(operand: Value, scope: Scope) -> Expression:
        if type(operand) is dict and not next(iter(operand), "").startswith("$"):
            given = read_named(name, operand, scope, codes, shapes)
        elif type(operand) is not list:
            given = {"date": read(operand, scope)}
        elif len(operand) == 1:
            with at(0):
                given = {"date": read(operand[0], scope)}
        else:
            raise QueryError(f"{name} takes one date, and {len(operand)} came", code="Location40536")
        return _applied(given, shapes, part_of)

    compile_.__doc__ = says
    syntax(name)(compile_)


for _name, (_part, _says) in PARTS.items():
    _part_operator(_name, _part, _says)


@_by_name(
    "$dateToParts",
    {"object": "Location40524", "unknown": "Location40520", "date": "Location40522"},
    {"timezone": _ZONE, "iso8601": coded(BOOL, "Location40521"), "date": _DATE},
)
def date_to_parts(date: int, timezone: Zone = UTC_ZONE, iso8601: bool = False) -> Document:
    """The parts of a date, as an object; those of its ISO week where ``iso8601`` is true."""
    names = ("isoWeekYear", "isoWeek", "isoDayOfWeek") if iso8601 else ("year", "month", "dayOfMonth")
    local = Local.at(date, timezone)
    parts = {name: int(PARTS[f"${name}"][0](local)) for name in (*names, "hour", "minute", "second", "millisecond")}
    return {"day" if name == "dayOfMonth" else name: part for name, part in parts.items()}


def _whole(value: Value) -> int:
    number = integral(value)
    if number is None or number not in INT64:
        raise ValueError
    return number


_WHOLE: Final = Shape(_whole, "a whole number of 64 bits")


_LONG_PART: Final = coded(_WHOLE, "Location40515")


def _short(value: Value) -> int:
    number: int = _accepting(_LONG_PART)(value)
    if number not in _INT16:
        raise ValueError
    return number


_INT16: Final = range(-(2**15), 2**15)
_SHORT_PART: Final = Shape(_short, "a whole number of 16 bits", code="Location31034")


_PART_SHAPES: Final = {
    "hour": _SHORT_PART,
    "minute": _SHORT_PART,
    "second": _LONG_PART,
    "millisecond": _LONG_PART,
    "timezone": _ZONE,
    "year": _LONG_PART,
    "month": _SHORT_PART,
    "day": _SHORT_PART,
    "isoWeekYear": _LONG_PART,
    "isoWeek": _SHORT_PART,
    "isoDayOfWeek": _SHORT_PART,
}


@syntax("$dateFromParts")
def date_from_parts(operand: Value, scope: Scope) -> Expression:
    """The date that has these parts, from ``year`` or from ``isoWeekYear`` on; what overflows is carried."""
    codes = {"object": "Location40519", "unknown": "Location40518"}
    given = read_named("$dateFromParts", operand, scope, codes, _PART_SHAPES)
    if "year" not in given and "isoWeekYear" not in given:
        raise QueryError("$dateFromParts needs 'year' or 'isoWeekYear'", code="Location40516")
    if "year" in given and not given.keys().isdisjoint({"isoWeekYear", "isoWeek", "isoDayOfWeek"}):
        raise QueryError("$dateFromParts takes 'year' or parts of an ISO week, not both", code="Location40489")
    if "isoWeekYear" in given and not given.keys().isdisjoint({"month", "day"}):
        raise QueryError("$dateFromParts takes 'isoWeekYear' or parts of the calendar, not both", code="Location40525")
    return _applied(given, _PART_SHAPES, _from_parts)


def _from_parts(timezone: Zone = UTC_ZONE, **parts: int) -> Value:
    if "year" in parts:
        days = days_of(_year(parts, "year", "Location40523"), parts.get("month", 1), parts.get("day", 1))
    else:
        year = _year(parts, "isoWeekYear", "Location31095")
        days = iso_days_of(year, parts.get("isoWeek", 1), parts.get("isoDayOfWeek", 1))
    return date_at(timezone.instant(days * DAY + sum(parts.get(name, 0) * unit for name, unit in _TIMES.items())))


def _year(parts: Mapping[str, int], name: str, code: str) -> int:
    year = parts[name]
    if not 1 <= year <= 9999:
        with at(name):
            raise QueryError(f"{name} is a year from 1 to 9999, not {year}", code=code)
    return year


# What MongoDB adds at most: as many days as 64 bits of milliseconds have, and the years of 365 days that these make.
_MOST_DAYS: Final = (2**64 - 1) // DAY + 1


_MOST: Final = {unit: _MOST_DAYS // days for unit, days in _WHOLE_DAYS.items()}


_MOST.update((unit, (_MOST_DAYS // 365 + 1) * 12 // months) for unit, months in _MONTHS.items())


_MOST.update((unit, _MOST_DAYS * DAY // time) for unit, time in _TIMES.items())


def _unit(value: Value) -> str:
    if type(value) is not str:
        raise ValueError
    if value not in _MOST:
        raise QueryError(f"a unit of time is one of {', '.join(_MOST)}, not {preview(value)}", code="FailedToParse")
    return value


def _bin_size(value: Value) -> int:
    number = _whole(value)
    if number <= 0:
        raise QueryError(f"a bin holds one unit at least, not {number}", code="Location5439018")
    return number


_UNIT: Final = Shape(_unit, "a unit of time", code="Location5439013")


_WEEKDAY: Final = Shape(weekday_named, "a day of the week", code="Location5439015")


_BIN_SIZE: Final = Shape(_bin_size, "a whole number of 64 bits", code="Location5439017")


_SUNDAY: Final = 7


def _added(moment: int, unit: str, amount: int, zone: Zone) -> int:
    """An instant so many units later; a day that the month does not have is its last."""
    if unit in _TIMES:
        return moment + amount * _TIMES[unit]
    local = Local.at(moment, zone)
    if unit in _WHOLE_DAYS:
        days = local.days + amount * _WHOLE_DAYS[unit]
    else:
        year, month = divmod(local.months + amount * _MONTHS[unit], 12)
        days = min(days_of(year, month + 1, local.cycle_day.day), days_of(year, month + 2, 1) - 1)
    return zone.instant(days * DAY + local.clock, summer=zone.is_summer(moment))


def _addition(name: str, sign: int, says: str) -> None:
    def add(startDate: int, unit: str, amount: int, timezone: Zone = UTC_ZONE) -> Value:  # noqa: N803 -- MongoDB's name
        if amount == INT64.start and sign < 0:
            raise QueryError(f"{name} cannot count {amount} {unit}s", code="Location6045000")
        if unit == "millisecond":
            return date_at(startDate + sign * amount)
        if abs(amount) >= _MOST[unit]:
            raise QueryError(f"{name} cannot count {amount} {unit}s", code="Location5976500")
        return date_at(_added(startDate, unit, sign * amount, timezone), code="Location5166406")

    add.__doc__ = says
    codes = {"object": "Location5166400", "unknown": "Location5166401"}
    codes |= dict.fromkeys(("startDate", "unit", "amount"), "Location5166402")
    shapes = {
        "startDate": coded(_AN_INSTANT, "Location5166403"),
        "unit": _UNIT,
        "amount": coded(_WHOLE, "Location5166405"),
        "timezone": _ZONE,
    }
    _by_name(name, codes, shapes, late=("startDate", "amount"))(add)


_addition("$dateAdd", 1, "The date so many units of time later.")


_addition("$dateSubtract", -1, "The date so many units of time earlier.")


def _distance(start: Local, end: Local, unit: str, week: int) -> int:
    """How many boundaries of a unit lie between two readings of a clock."""
    if unit in _MONTHS:
        return end.months // _MONTHS[unit] - start.months // _MONTHS[unit]
    if unit == "day":
        return end.days - start.days
    if unit == "week":
        return _weeks(end.days, week) - _weeks(start.days, week)
    size = _TIMES[unit]
    # The clock may have been set between the two: whole units only, as MongoDB corrects it.
    return end.wall // size - start.wall // size + int((start.offset - end.offset) / size)


def _weeks(days: int, first: int) -> int:
    """Weeks since some week before 1970 that begins on this day."""
    return (days - (iso_weekday(days) - first) % 7 + 7) // 7


_A_DATE: Final = coded(_AN_INSTANT, "Location5166307")


@_by_name(
    "$dateDiff",
    {
        "object": "Location5166301",
        "unknown": "Location5166302",
        "startDate": "Location5166303",
        "endDate": "Location5166304",
        "unit": "Location5166305",
    },
    {"startDate": _A_DATE, "endDate": _A_DATE, "unit": _UNIT, "startOfWeek": _WEEKDAY, "timezone": _ZONE},
    late=("startDate", "endDate"),
)
def date_diff(
    startDate: int,  # noqa: N803 -- MongoDB's names
    endDate: int,  # noqa: N803
    unit: str,
    timezone: Zone = UTC_ZONE,
    startOfWeek: int = _SUNDAY,  # noqa: N803
) -> Int64:
    """How many boundaries of a unit of time, such as midnights for days, lie between two dates."""
    if unit != "millisecond":
        return Int64(_distance(Local.at(startDate, timezone), Local.at(endDate, timezone), unit, startOfWeek))
    if endDate - startDate not in INT64:
        raise QueryError("the milliseconds between the dates are beyond 64 bits", code="Location5166308")
    return Int64(endDate - startDate)


@_by_name(
    "$dateTrunc",
    {
        "object": "Location5439007",
        "unknown": "Location5439008",
        "date": "Location5439009",
        "unit": "Location5439010",
    },
    {
        "date": coded(_AN_INSTANT, "Location5439012"),
        "binSize": _BIN_SIZE,
        "unit": _UNIT,
        "startOfWeek": _WEEKDAY,
        "timezone": _ZONE,
    },
    late=("date",),
)
def date_trunc(
    date: int,
    unit: str,
    binSize: int = 1,  # noqa: N803 -- MongoDB's names
    timezone: Zone = UTC_ZONE,
    startOfWeek: int = _SUNDAY,  # noqa: N803
) -> Value:
    """The beginning of the unit of time, or of the ``binSize`` units counted from 2000, that a date is in."""
    days = days_of(2000, 1, 1)
    if unit == "week":
        days += (startOfWeek - iso_weekday(days)) % 7
    reference = timezone.instant(days * DAY)
    if unit in _TIMES:
        size = binSize * _TIMES[unit]
        if size not in INT64:
            raise QueryError(f"{binSize} {unit}s are beyond 64 bits of milliseconds", code="Location5439002")
        return date_at(date - (date - reference) % size, code="Location5439001")
    if binSize > 100_000_000_000:
        raise QueryError(f"$dateTrunc has bins of at most 100000000000 {unit}s, not {binSize}", code="Location5439006")
    distance = _distance(Local.at(reference, timezone), Local.at(date, timezone), unit, startOfWeek)
    return date_at(_added(reference, unit, distance - distance % binSize, timezone), code="Location5166406")


def _format(known: Mapping[str, Any], code: str) -> Shape:
    def accept(value: Value) -> str:
        if type(value) is not str:
            raise ValueError
        for specifier in SPECIFIER.findall(value):
            if not specifier:
                raise QueryError("a format does not end with a single '%'", code="Location18535")
            if specifier not in known:
                raise QueryError(f"a format knows %{', %'.join(known)}, not %{specifier}", code="Location18536")
        return value

    return Shape(accept, "a format", code=code)


_NEVER: Final = Expression(lambda _: None, constant=True)


def _settings(given: Mapping[str, Expression], shapes: Mapping[str, Shape]) -> Callable[[Variables], dict[str, Value]]:
    """What is given of these arguments, each as the operator works with it, or None where it is null or missing."""
    settings = {key: given[key] for key in shapes if key in given}
    accepts = _accepts(settings, shapes)

    def evaluate(variables: Variables) -> dict[str, Value]:
        values = {}
        for key, each in settings.items():
            value = each.evaluate(variables)
            values[key] = None if is_nullish(value) else _accepted(accepts, key, value)
        return values

    return evaluate


@syntax("$dateToString")
def date_to_string(operand: Value, scope: Scope) -> Expression:
    """A date as text, in a format; ``onNull`` where there is no date."""
    codes = {"object": "Location18629", "unknown": "Location18534", "date": "Location18628"}
    shapes = {"format": _format(WRITERS, "Location18533"), "timezone": _ZONE}
    given = read_named("$dateToString", operand, scope, codes, ("date", *shapes, "onNull"))
    settings = _settings(given, shapes)
    on_null = given.get("onNull", _NEVER)
    moment = _accepting(_DATE)

    def evaluate(variables: Variables) -> Value:
        date = given["date"].evaluate(variables)
        values = settings(variables)
        if is_nullish(date):
            return on_null.evaluate(variables)
        if None in values.values():
            return None
        with at("date"):
            return written(moment(date), **values)

    return folded(evaluate, *given.values())


@syntax("$dateFromString")
def date_from_string(operand: Value, scope: Scope) -> Expression:
    """The date that a string means; ``onNull`` where there is no string, ``onError`` where it is no date."""
    codes = {"object": "Location40540", "unknown": "Location40541", "dateString": "Location40542"}
    shapes = {"format": _format(READERS, "Location40684"), "timezone": _ZONE}
    given = read_named("$dateFromString", operand, scope, codes, ("dateString", *shapes, "onNull", "onError"))
    settings = _settings(given, shapes)
    on_null = given.get("onNull", _NEVER)
    on_error = given.get("onError")

    def evaluate(variables: Variables) -> Value:
        text = given["dateString"].evaluate(variables)
        values = settings(variables)
        if is_nullish(text):
            return on_null.evaluate(variables)
        if None in values.values() and type(text) is str:
            return None
        try:
            return understood(text, **values)
        except QueryError as error:
            if error.code != "ConversionFailure" or on_error is None:
                raise
        return on_error.evaluate(variables)

    return folded(evaluate, *given.values())


def _timestamp(value: Value) -> Timestamp:
    if type(value) is not Timestamp:
        raise ValueError
    return value


_TIMESTAMP_SHAPE: Final = Shape(_timestamp, "a timestamp")


@operator("$tsSecond", _TIMESTAMP_SHAPE, code="Location5687301")
def ts_second(timestamp: Timestamp) -> Int64:
    """The seconds of a timestamp."""
    return Int64(timestamp.time)


@operator("$tsIncrement", _TIMESTAMP_SHAPE, code="Location5687302")
def ts_increment(timestamp: Timestamp) -> Int64:
    """The increment of a timestamp."""
    return Int64(timestamp.inc)
