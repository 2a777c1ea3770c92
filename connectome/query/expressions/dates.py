"""
Dates: their parts, arithmetic on the calendar, from and to strings, in every time zone; and the parts of timestamps.

An instant is a whole number of milliseconds since 1970 UTC, so that no year is out of reach; ``Local`` is what the
calendar and the clock of a zone show then.  Days and longer units follow that calendar, hours and shorter ones pass.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from bson import DatetimeMS, Int64, ObjectId, Timestamp

from connectome.errors import QueryError, at
from connectome.extjson import preview
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
from connectome.query.values import INT64, Document, Value, integral, milliseconds

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# The Gregorian calendar repeats itself, weekdays included, every 400 years; datetime.date knows the first 24 times.
_CYCLE_YEARS: Final = 400
_CYCLE_DAYS: Final = 146_097
_DAYS_TO_1970: Final = date(1970, 1, 1).toordinal()


# Arguments by name; strings.py reads them so too.

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
    given: Mapping[str, Expression], shapes: Mapping[str, Shape], function: Callable[..., Value]
) -> Expression:
    """A function of named arguments; null where one of these is null or missing."""
    accepts = _accepts(given, shapes)

    def evaluate(variables: Variables) -> Value:
        values = {key: each.evaluate(variables) for key, each in given.items()}
        if any(map(is_nullish, values.values())):
            return None
        for key, value in values.items():
            with at(key):
                values[key] = accepts[key](value)
        return function(**values)

    return folded(evaluate, *given.values())


def _by_name(
    name: str, codes: Mapping[str, str], shapes: Mapping[str, Shape]
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Declare a function from values to value as an operator that takes them by name, as ``named_arguments`` reads."""

    def declare(function: Callable[..., Value]) -> Callable[..., Value]:
        def compile_(operand: Value, scope: Scope) -> Expression:
            return _applied(read_named(name, operand, scope, codes, shapes), shapes, function)

        compile_.__doc__ = function.__doc__
        syntax(name)(compile_)
        return function

    return declare


# Instants, calendars, zones.


def instant(value: Value) -> int:
    """
    The milliseconds since 1970 that a date, an ObjectId or a timestamp stands for.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, datetime | DatetimeMS):
        return milliseconds(value)
    if type(value) is Timestamp:
        return value.time * SECOND
    if type(value) is ObjectId:
        return int.from_bytes(value.binary[:4], "big", signed=True) * SECOND
    raise ValueError


def date_at(moment: int, *, code: str = "DurationOverflow") -> datetime | DatetimeMS:
    """
    The date at an instant.

    Raises:
        QueryError: ``code`` -- it is beyond 64 bits.
    """
    try:
        return _EPOCH + timedelta(milliseconds=moment)
    except OverflowError:
        if moment not in INT64:
            raise QueryError("the date is beyond 64 bits of milliseconds", code=code) from None
        return DatetimeMS(moment)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 on the calendar; month and day may overflow."""
    years, month = divmod(month - 1, 12)
    cycles, year = divmod(year + years - 1, _CYCLE_YEARS)
    return cycles * _CYCLE_DAYS + date(year + 1, month + 1, 1).toordinal() - _DAYS_TO_1970 + day - 1


def _iso_days(year: int, week: int, weekday: int) -> int:
    """Days since 1970-01-01 on the ISO calendar, whose first week holds January 4th; week and day may overflow."""
    january_4th = _days(year, 1, 4)
    return january_4th - _iso_weekday(january_4th) + 7 * (week - 1) + weekday


def _iso_weekday(days: int) -> int:
    return (days + 3) % 7 + 1  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Zone:
    """
    A time zone: the rules of a place, or else so many milliseconds ahead of UTC.

    Source:
        MongoDB's timelib, ``do_adjust_timezone``: what it makes of a time that a clock skips or shows twice.
    """

    fixed: int = 0
    rules: zoneinfo.ZoneInfo | None = None

    @property
    def is_utc(self) -> bool:
        return not self.fixed and self.rules is None

    def offset(self, moment: int) -> int:
        """How far the clock is ahead of UTC at an instant, in milliseconds."""
        if self.rules is None:
            return self.fixed
        return _offset((_EPOCH + timedelta(milliseconds=_near(moment))).astimezone(self.rules))

    def instant(self, wall: int, *, summer: bool = False) -> int:
        """
        The instant at which the clock shows this.

        Args:
            wall: Milliseconds since the clock showed 1970-01-01 00:00.
            summer: Of a time shown twice, the one before the clock was set back, as after a time in summer.
        """
        if self.rules is None:
            return wall - self.fixed
        shown = _EPOCH.replace(tzinfo=self.rules) + timedelta(milliseconds=_near(wall))
        before, after = (_offset(shown.replace(fold=fold)) for fold in (0, 1))
        return wall - (before if before < after or summer else after)

    def is_summer(self, moment: int) -> bool:
        """Whether daylight saving time is in force at an instant."""
        if self.rules is None:
            return False
        return bool((_EPOCH + timedelta(milliseconds=_near(moment))).astimezone(self.rules).dst())


def _offset(shown: datetime) -> int:
    offset = shown.utcoffset()
    assert offset is not None  # every date here has a zone
    return offset // _MILLISECOND


_YEAR_2: Final = _days(2, 1, 1) * DAY
_YEAR_9000: Final = _days(9000, 1, 1) * DAY


def _near(moment: int) -> int:
    """An instant within datetime's years that has the same offset: rules repeat with the calendar."""
    if moment < _YEAR_9000:
        return max(moment, _YEAR_2)
    return _YEAR_9000 - (_CYCLE_DAYS * DAY) + (moment - _YEAR_9000) % (_CYCLE_DAYS * DAY)


UTC_ZONE: Final = Zone()
_OFFSET: Final = re.compile(r"([+-])(\d\d)(?::?(\d\d))?", re.ASCII)


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def zone(name: Value) -> Zone:
    """
    A time zone by its name in the Olson database, or by its offset: ``+01:00``, ``+0100``, ``+01``.

    Raises:
        ValueError: Not a string.
        QueryError: ``Location40485`` -- there is no such zone.
    """
    if type(name) is not str:
        raise ValueError
    if offset := _OFFSET.fullmatch(name):
        size = int(offset[2]) * HOUR + int(offset[3] or 0) * MINUTE
        return Zone(size if offset[1] == "+" else -size)
    if name == "UTC":
        return UTC_ZONE
    if name not in _zone_names():
        raise QueryError(
            f"a time zone is an Olson name or an offset such as +01:00, not {preview(name)}", code="Location40485"
        )
    return Zone(rules=zoneinfo.ZoneInfo(name))


@dataclass(frozen=True, slots=True)
class Local:
    """
    What the calendar and the clock of a zone show.

    days: Since 1970-01-01.
    clock: Milliseconds since midnight.
    cycle_day, cycle_years: A day in years 1 to 400, and the years to add to it.
    offset: How far the clock is ahead of UTC, in milliseconds.
    """

    days: int
    clock: int
    cycle_day: date
    cycle_years: int
    offset: int

    @classmethod
    def at(cls, moment: int, zone: Zone) -> Local:
        """What they show at an instant."""
        offset = zone.offset(moment)
        days, clock = divmod(moment + offset, DAY)
        cycles, rest = divmod(days + _DAYS_TO_1970 - 1, _CYCLE_DAYS)
        return cls(days, clock, date.fromordinal(rest + 1), cycles * _CYCLE_YEARS, offset)

    @property
    def wall(self) -> int:
        """Milliseconds since the clock showed 1970-01-01 00:00."""
        return self.days * DAY + self.clock

    @property
    def year(self) -> int:
        return self.cycle_day.year + self.cycle_years

    @property
    def months(self) -> int:
        """Months since year 0."""
        return 12 * self.year + self.cycle_day.month - 1


# The parts of a date.


def _day_of_week(local: Local) -> int:
    return local.cycle_day.isoweekday() % 7 + 1


def _day_of_year(local: Local) -> int:
    return local.cycle_day.timetuple().tm_yday


def _week(local: Local) -> int:
    # The days before the first Sunday are in week 0.
    return (_day_of_year(local) - _day_of_week(local) + 7) // 7


_PARTS: Final[dict[str, tuple[Callable[[Local], int], str]]] = {
    "$year": (lambda local: local.year, "The year of a date."),
    "$month": (lambda local: local.cycle_day.month, "The month of a date, from 1 to 12."),
    "$dayOfMonth": (lambda local: local.cycle_day.day, "The day of the month of a date, from 1 to 31."),
    "$dayOfWeek": (_day_of_week, "The day of the week of a date, from 1 for Sunday to 7 for Saturday."),
    "$dayOfYear": (_day_of_year, "The day of the year of a date, from 1 to 366."),
    "$hour": (lambda local: local.clock // HOUR, "The hour of a date, from 0 to 23."),
    "$minute": (lambda local: local.clock // MINUTE % 60, "The minute of a date, from 0 to 59."),
    "$second": (lambda local: local.clock // SECOND % 60, "The second of a date, from 0 to 59."),
    "$millisecond": (lambda local: local.clock % SECOND, "The millisecond of a date, from 0 to 999."),
    "$week": (_week, "The week of the year of a date, from 0 to 53; weeks begin on Sundays, week 1 on the first one."),
    "$isoWeek": (lambda local: local.cycle_day.isocalendar().week, "The ISO 8601 week of a date, from 1 to 53."),
    "$isoWeekYear": (
        lambda local: Int64(local.cycle_day.isocalendar().year + local.cycle_years),
        "The year that the ISO 8601 week of a date belongs to.",
    ),
    "$isoDayOfWeek": (
        lambda local: local.cycle_day.isoweekday(),
        "The day of the week of a date, from 1 for Monday to 7 for Sunday.",
    ),
}

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


for _name, (_part, _says) in _PARTS.items():
    _part_operator(_name, _part, _says)


@_by_name(
    "$dateToParts",
    {"object": "Location40524", "unknown": "Location40520", "date": "Location40522"},
    {"date": _DATE, "timezone": _ZONE, "iso8601": coded(BOOL, "Location40521")},
)
def date_to_parts(date: int, timezone: Zone = UTC_ZONE, iso8601: bool = False) -> Document:
    """The parts of a date, as an object; those of its ISO week where ``iso8601`` is true."""
    names = ("isoWeekYear", "isoWeek", "isoDayOfWeek") if iso8601 else ("year", "month", "dayOfMonth")
    local = Local.at(date, timezone)
    parts = {name: int(_PARTS[f"${name}"][0](local)) for name in (*names, "hour", "minute", "second", "millisecond")}
    return {"day" if name == "dayOfMonth" else name: part for name, part in parts.items()}


def _whole(value: Value) -> int:
    number = integral(value)
    if number is None or number not in INT64:
        raise ValueError
    return number


_WHOLE: Final = Shape(_whole, "a whole number of 64 bits")
_LONG_PART: Final = coded(_WHOLE, "Location40515")


def _within(low: int, high: int, code: str) -> Shape:
    def accept(value: Value) -> int:
        number: int = _accepting(_LONG_PART)(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return Shape(accept, f"a whole number from {low} to {high}", code=code)


_SHORT_PART: Final = _within(-(2**15), 2**15 - 1, "Location31034")
_PART_SHAPES: Final = {
    "year": _within(1, 9999, "Location40523"),
    "month": _SHORT_PART,
    "day": _SHORT_PART,
    "isoWeekYear": _within(1, 9999, "Location31095"),
    "isoWeek": _SHORT_PART,
    "isoDayOfWeek": _SHORT_PART,
    "hour": _SHORT_PART,
    "minute": _SHORT_PART,
    "second": _LONG_PART,
    "millisecond": _LONG_PART,
    "timezone": _ZONE,
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
        days = _days(parts["year"], parts.get("month", 1), parts.get("day", 1))
    else:
        days = _iso_days(parts["isoWeekYear"], parts.get("isoWeek", 1), parts.get("isoDayOfWeek", 1))
    units = {"hour": HOUR, "minute": MINUTE, "second": SECOND, "millisecond": 1}
    return date_at(timezone.instant(days * DAY + sum(parts.get(name, 0) * unit for name, unit in units.items())))


# Arithmetic.

_MONTHS: Final = {"year": 12, "quarter": 3, "month": 1}
_WHOLE_DAYS: Final = {"week": 7, "day": 1}
_TIMES: Final = {"hour": HOUR, "minute": MINUTE, "second": SECOND, "millisecond": 1}
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

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


def _weekday(value: Value) -> int:
    if type(value) is not str:
        raise ValueError
    for number, name in enumerate(_WEEKDAYS, start=1):
        if value.lower() in (name, name[:3]):
            return number
    raise QueryError(f"a day of the week is monday to sunday, or mon to sun, not {value!r}", code="Location5439016")


def _bin_size(value: Value) -> int:
    number = _whole(value)
    if number <= 0:
        raise QueryError(f"a bin holds one unit at least, not {number}", code="Location5439018")
    return number


_UNIT: Final = Shape(_unit, "a unit of time", code="Location5439013")
_WEEKDAY: Final = Shape(_weekday, "a day of the week", code="Location5439015")
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
        days = min(_days(year, month + 1, local.cycle_day.day), _days(year, month + 2, 1) - 1)
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
    shapes = {
        "startDate": coded(_AN_INSTANT, "Location5166403"),
        "unit": _UNIT,
        "amount": coded(_WHOLE, "Location5166405"),
        "timezone": _ZONE,
    }
    _by_name(name, codes | dict.fromkeys(("startDate", "unit", "amount"), "Location5166402"), shapes)(add)


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
    return (days - (_iso_weekday(days) - first) % 7 + 7) // 7


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
    {"startDate": _A_DATE, "endDate": _A_DATE, "unit": _UNIT, "timezone": _ZONE, "startOfWeek": _WEEKDAY},
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
    {"date": _A_DATE, "unit": _UNIT, "binSize": _BIN_SIZE, "timezone": _ZONE, "startOfWeek": _WEEKDAY},
)
def date_trunc(
    date: int,
    unit: str,
    binSize: int = 1,  # noqa: N803 -- MongoDB's names
    timezone: Zone = UTC_ZONE,
    startOfWeek: int = _SUNDAY,  # noqa: N803
) -> Value:
    """The beginning of the unit of time, or of the ``binSize`` units counted from 2000, that a date is in."""
    days = _days(2000, 1, 1)
    if unit == "week":
        days += (startOfWeek - _iso_weekday(days)) % 7
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


# Dates to strings.

_MONTH_NAMES: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _digits(part: str, width: int) -> Callable[[Local], str]:
    value = _PARTS[part][0]

    def digits(local: Local) -> str:
        number = value(local)
        if not 0 <= number <= 9999:
            raise QueryError(f"a date is written with parts from 0 to 9999, not {number}", code="Location18537")
        return f"{number:0{width}}"

    return digits


def _offset_digits(local: Local) -> str:
    hours, minutes = divmod(abs(local.offset) // MINUTE, 60)
    return f"{'-' if local.offset < 0 else '+'}{hours:02}{minutes:02}"


_WRITERS: Final[dict[str, Callable[[Local], str]]] = {
    "Y": _digits("$year", 4),
    "m": _digits("$month", 2),
    "d": _digits("$dayOfMonth", 2),
    "H": _digits("$hour", 2),
    "M": _digits("$minute", 2),
    "S": _digits("$second", 2),
    "L": _digits("$millisecond", 3),
    "j": _digits("$dayOfYear", 3),
    "w": _digits("$dayOfWeek", 1),
    "U": _digits("$week", 2),
    "G": _digits("$isoWeekYear", 4),
    "V": _digits("$isoWeek", 2),
    "u": _digits("$isoDayOfWeek", 1),
    "b": lambda local: _MONTH_NAMES[local.cycle_day.month - 1][:3],
    "B": lambda local: _MONTH_NAMES[local.cycle_day.month - 1],
    "z": _offset_digits,
    "Z": lambda local: str(int(local.offset / MINUTE)),
    "%": lambda _: "%",
}
_SPECIFIER: Final = re.compile("%(.?)", re.DOTALL)


def _format(known: Mapping[str, Any], code: str) -> Shape:
    def accept(value: Value) -> str:
        if type(value) is not str:
            raise ValueError
        for specifier in _SPECIFIER.findall(value):
            if not specifier:
                raise QueryError("a format does not end with a single '%'", code="Location18535")
            if specifier not in known:
                raise QueryError(f"a format knows %{', %'.join(known)}, not %{specifier}", code="Location18536")
        return value

    return Shape(accept, "a format", code=code)


def written(moment: int, zone: Zone = UTC_ZONE, format: str | None = None) -> str:
    """An instant as text; without a format as ISO 8601 has it, with a Z where the zone is UTC."""
    local = Local.at(moment, zone)
    if format is None:
        format = "%Y-%m-%dT%H:%M:%S.%LZ" if zone.is_utc else "%Y-%m-%dT%H:%M:%S.%L"
    return _SPECIFIER.sub(lambda specifier: _WRITERS[specifier[1]](local), format)


_NEVER: Final = Expression(lambda _: None, constant=True)


@syntax("$dateToString")
def date_to_string(operand: Value, scope: Scope) -> Expression:
    """A date as text, in a format; ``onNull`` where there is no date."""
    codes = {"object": "Location18629", "unknown": "Location18534", "date": "Location18628"}
    shapes = {"date": _DATE, "timezone": _ZONE, "format": _format(_WRITERS, "Location18533")}
    given = read_named("$dateToString", operand, scope, codes, (*shapes, "onNull"))
    on_null = given.pop("onNull", _NEVER)
    text = _applied(given, shapes, lambda date, timezone=UTC_ZONE, format=None: written(date, timezone, format))

    def evaluate(variables: Variables) -> Value:
        return (on_null if is_nullish(given["date"].evaluate(variables)) else text).evaluate(variables)

    return folded(evaluate, *given.values(), on_null)


# Strings to dates.


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read from a string: days since 1970, milliseconds since midnight, and the offset, if any."""

    days: int
    clock: int = 0
    offset: int | None = None


def _unreadable(text: str, why: str) -> QueryError:
    return QueryError(f"{preview(text)} is no date: {why}", code="ConversionFailure")


_MONTH_NUMBERS: Final = {
    **{name.lower(): number for number, name in enumerate(_MONTH_NAMES, start=1)},
    **{name[:3].lower(): number for number, name in enumerate(_MONTH_NAMES, start=1)},
    "sept": 9,
}
# The abbreviations that people write; hours ahead of UTC.
_ABBREVIATIONS: Final = {
    **dict.fromkeys(("z", "ut", "utc", "gmt", "wet"), 0),
    **dict.fromkeys(("bst", "cet", "west"), 1),
    **dict.fromkeys(("cest", "eet"), 2),
    **dict.fromkeys(("eest", "msk"), 3),
    **dict(zip(("est", "cst", "mst", "pst", "akst", "hst"), range(-5, -11, -1), strict=True)),
    **dict(zip(("edt", "cdt", "mdt", "pdt", "akdt"), range(-4, -9, -1), strict=True)),
}
_ZONE_DIGITS: Final = re.compile(r"(?:GMT)?([+-])(?:(\d\d)(\d\d)(\d\d)|(\d\d?):?(\d\d?)?(?::(\d\d))?)", re.ASCII)


def _offset_written(written: str, text: str) -> int:
    """The offset that a string gives, in milliseconds."""
    if written.lower() in _ABBREVIATIONS:
        return _ABBREVIATIONS[written.lower()] * HOUR
    # Three digits are an hour and two of minutes.
    if match := _ZONE_DIGITS.fullmatch(re.sub(r"(?<=[+-])(?=\d{3}$)", "0", written, count=1)):
        hours, minutes, seconds = (int(match[i] or match[i + 3] or 0) for i in (2, 3, 4))
        size = hours * HOUR + minutes * MINUTE + seconds * SECOND
        return -size if match[1] == "-" else size
    raise _unreadable(text, f"a string has an offset from UTC, not the time zone {written!r}")


def _day(text: str, year: int, month: int, day: int) -> int:
    if not (1 <= month <= 12 and 1 <= day <= _days(year, month + 1, 1) - _days(year, month, 1)) or year < 0:
        raise _unreadable(text, f"there is no day {year}-{month}-{day}")
    return _days(year, month, day)


def _clock(text: str, hour: int, minute: int, second: int, fraction: str) -> int:
    if hour > 23 or minute > 59 or second > 59:
        raise _unreadable(text, f"there is no time {hour}:{minute}:{second}")
    return hour * HOUR + minute * MINUTE + second * SECOND + int(f"{fraction:0<3.3}")


# With a format: what each specifier takes from the string, and nothing back, as timelib reads it.
_READERS: Final = {
    "Y": r"(\d{1,4}+)",
    "m": r"(\d{1,2}+)",
    "d": r"(\d{1,2}+)",
    "H": r"(\d{1,2}+)",
    "M": r"(\d{2})",
    "S": r"(\d{2})",
    "L": r"(\d{1,3}+)",
    "j": r"(\d{1,3}+)",
    "G": r"\D*+(\d{1,4}+)",
    "V": r"\D*+(\d{1,2}+)",
    "u": r"\D*+(\d)",
    "b": r"([A-Za-z]++)",
    "B": r"([A-Za-z]++)",
    "z": r"[ \t(]*+((?:GMT(?=[+-]))?[A-Za-z0-9/_+:-]++)\)*+",
    "Z": r"([+-]\d*+)",
    "%": "%",
}
_NATURAL: Final = frozenset("YmdbBj")
_ISO: Final = frozenset("GVu")


def _read_formatted(text: str, format: str) -> _Reading:
    specifiers = [specifier for specifier in _SPECIFIER.findall(format) if specifier != "%"]
    pieces = _SPECIFIER.split(format)
    pattern = "".join(_READERS[piece] if odd % 2 else re.escape(piece) for odd, piece in enumerate(pieces))
    match = re.fullmatch(pattern, text, re.ASCII)
    if not match:
        raise _unreadable(text, f"it does not follow the format {preview(format)}")
    found: dict[str, str] = dict(zip(specifiers, match.groups(), strict=True))
    number = {key: int(value) for key, value in found.items() if value.isdigit()}
    if not _ISO.isdisjoint(found):
        if "G" not in found or not _NATURAL.isdisjoint(found):
            raise _unreadable(text, "an ISO week has an ISO year, and no other date beside it")
        week, weekday = number.get("V", 1), number.get("u", 1)
        if not (1 <= week <= 53 and 1 <= weekday <= 7):
            raise _unreadable(text, f"there is no day {weekday} in an ISO week {week}")
        days = _iso_days(number["G"], week, weekday)
    elif "j" in found:
        if specifiers.index("j") < "".join(specifiers).find("Y") or "Y" not in found:
            raise _unreadable(text, "a day of the year comes after its year")
        # timelib counts the days of a year from zero.
        days = _days(number["Y"], 1, number["j"] + 1)
    else:
        for name in found.keys() & {"b", "B"}:
            if found[name].lower() not in _MONTH_NUMBERS:
                raise _unreadable(text, f"there is no month {found[name]!r}")
            number["m"] = _MONTH_NUMBERS[found[name].lower()]
        if not number.keys() >= {"Y", "m", "d"}:
            raise _unreadable(text, "its format has no year, month and day")
        days = _day(text, number["Y"], number["m"], number["d"])
    clock = _clock(text, number.get("H", 0), number.get("M", 0), number.get("S", 0), found.get("L", ""))
    offset = _offset_written(found["z"], text) if "z" in found else None
    if "Z" in found:
        offset = int(f"{found['Z']}0") // 10 * MINUTE
    return _Reading(days, clock, offset)


# Without a format: one of these dates, then one of these times.
_MONTH: Final = f"(?P<name>{'|'.join(sorted(_MONTH_NUMBERS, key=len, reverse=True))})"
_SUFFIX: Final = "(?:st|nd|rd|th)?"
_DATE_FORMS: Final = [
    re.compile(
        rf"(?:(?P<weekday>{'|'.join(name[:3] for name in _WEEKDAYS)})[a-z]*[,.\s]+)?{form}", re.ASCII | re.IGNORECASE
    )
    for form in (
        r"(?P<y>[+-]?\d{4})-(?P<m>\d\d?)-(?P<d>\d\d?)(?!\d)",
        r"(?P<y>\d{4})/(?P<m>\d\d?)/(?P<d>\d\d?)/?",
        r"(?P<y>\d{4}):(?P<m>\d\d):(?P<d>\d\d)(?= )",
        r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)",
        r"(?P<m>\d\d?)/(?P<d>\d\d?)/(?P<y>\d{1,4})",
        r"(?P<d>\d\d?)[.\t-](?P<m>\d\d?)[.-](?P<y>\d{4})",
        r"(?P<y>\d{1,2})-(?P<m>\d\d?)-(?P<d>\d\d?)",
        r"(?P<y>\d{4})-?W(?P<week>\d\d)(?:-?(?P<isoday>[0-7])(?!\d))?",
        rf"(?P<d>\d\d?)/{_MONTH}/(?P<y>\d{{4}}):(?=\d)",
        rf"(?P<d>\d\d?){_SUFFIX}[ \t.-]*{_MONTH}[ \t.-]*(?P<y>\d{{1,4}})(?!\d|:)",
        rf"{_MONTH}[ \t.-]*(?P<d>\d\d?)(?!\d)[,.stndrh\t -]+(?P<y>\d{{1,4}})(?!\d|:)",
        rf"(?P<y>\d{{1,4}})-{_MONTH}-(?P<d>\d\d)",
        rf"{_MONTH}[ \t.-]*(?P<y>\d{{4}})",
        rf"(?P<y>\d{{4}})[ \t.-]*{_MONTH}",
        r"(?P<y>\d{4})-(?P<m>\d\d?)",
    )
]
_ZONE_FORM: Final = r"[ \t]*(?:\(?(?P<zone>(?:GMT)?[+-]\d[\d:]*|[A-Za-z][\w/+-]*)\)?)?"
_TIME_FORMS: Final = [
    re.compile(rf"[\s,.]*+{form}{_ZONE_FORM}", re.ASCII)
    for form in (
        r"(?P<h>\d\d?)(?:[:.](?P<i>\d\d)(?:[:.](?P<s>\d\d))?)?\s*(?P<half>[AaPp])\.?[Mm]\.?",
        r"[Tt]?(?P<h>\d\d?)[:.](?P<i>\d\d?)(?:[:.](?P<s>\d\d?)(?:[.:](?P<f>\d+))?)?",
        r"[Tt]?(?P<h>\d\d)(?P<i>\d\d)(?P<s>\d\d)?",
        r"[Tt](?P<h>\d\d?)",
        "",
    )
]
_TIMESTAMP: Final = re.compile(r"@(-?\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)


def _read_freely(text: str) -> _Reading:
    trimmed = text.strip(" \t\n\r\f\v")
    if stamp := _TIMESTAMP.fullmatch(trimmed):
        fraction = int(f"{stamp[2] or '':0<3.3}")
        moment = int(stamp[1]) * SECOND + (-fraction if stamp[1].startswith("-") else fraction)
        return _Reading(*divmod(moment, DAY), offset=0)
    for date_form in _DATE_FORMS:
        if day := date_form.match(trimmed):
            for time_form in _TIME_FORMS:
                if time := time_form.fullmatch(trimmed, day.end()):
                    return _understood(text, day.groupdict(), time.groupdict())
    raise _unreadable(text, "no form of a date is recognized in it")


def _understood(text: str, day: Mapping[str, str | None], time: Mapping[str, str | None]) -> _Reading:
    written_year = day["y"] or ""
    year = int(written_year)
    if len(written_year) < 4 and year < 100:
        year += 2000 if year < 70 else 1900
    if week := day.get("week"):
        days = _iso_days(year, int(week), int(day["isoday"] or 1))
    else:
        month = _MONTH_NUMBERS[name.lower()] if (name := day.get("name")) else int(day["m"] or 0)
        days = _day(text, year, month, int(day.get("d") or 1))
    if weekday := day["weekday"]:
        days += (_weekday(weekday) - _iso_weekday(days)) % 7
    hour = int(time.get("h") or 0)
    if half := time.get("half"):
        if not 1 <= hour <= 12:
            raise _unreadable(text, f"there is no hour {hour} before or after noon")
        hour = hour % 12 + (12 if half in "Pp" else 0)
    clock = _clock(text, hour, int(time.get("i") or 0), int(time.get("s") or 0), time.get("f") or "")
    return _Reading(days, clock, _offset_written(name, text) if (name := time["zone"]) else None)


def understood(text: Value, timezone: Zone = UTC_ZONE, format: str | None = None) -> datetime | DatetimeMS:
    """
    The date that a string means.

    Args:
        timezone: Of the clock that the string was read from; only UTC may stand beside an offset in the string.

    Raises:
        QueryError: ``ConversionFailure`` -- it is no string, or no date.
    """
    if type(text) is not str:
        raise QueryError(f"a date is read from a string, not {preview(text)}", code="ConversionFailure")
    reading = _read_freely(text) if format is None else _read_formatted(text, format)
    wall = reading.days * DAY + reading.clock
    if reading.offset is None:
        return date_at(timezone.instant(wall))
    if not timezone.is_utc:
        raise _unreadable(text, "it has an offset, and the argument 'timezone' stands beside it")
    return date_at(wall - reading.offset)


@syntax("$dateFromString")
def date_from_string(operand: Value, scope: Scope) -> Expression:
    """The date that a string means; ``onNull`` where there is no string, ``onError`` where it is no date."""
    codes = {"object": "Location40540", "unknown": "Location40541", "dateString": "Location40542"}
    shapes = {"timezone": _ZONE, "format": _format(_READERS, "Location40684")}
    given = read_named("$dateFromString", operand, scope, codes, ("dateString", *shapes, "onNull", "onError"))
    settings = {key: given[key] for key in shapes if key in given}
    accepts = _accepts(settings, shapes)
    on_null = given.get("onNull", _NEVER)
    on_error = given.get("onError")

    def evaluate(variables: Variables) -> Value:
        values = {key: each.evaluate(variables) for key, each in settings.items()}
        absent = any(map(is_nullish, values.values()))
        for key, value in values.items():
            if not is_nullish(value):
                with at(key):
                    values[key] = accepts[key](value)
        text = given["dateString"].evaluate(variables)
        if is_nullish(text):
            return on_null.evaluate(variables)
        if absent and type(text) is str:
            return None
        try:
            return understood(text, **values)
        except QueryError as error:
            if error.code != "ConversionFailure" or on_error is None:
                raise
        return on_error.evaluate(variables)

    return folded(evaluate, *given.values())


# Timestamps.


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
