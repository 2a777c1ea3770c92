"""
The calendar and the clock, in every time zone.

An instant is a whole number of milliseconds since 1970 UTC, so that no year is out of reach; ``Local`` is what the
calendar and the clock of a zone show then.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from bson import DatetimeMS, Int64, ObjectId, Timestamp

from connectome.errors import QueryError
from connectome.extjson import preview
from connectome.query.values import INT64, Value, milliseconds

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


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 on the calendar; month and day may overflow."""
    years, month = divmod(month - 1, 12)
    cycles, year = divmod(year + years - 1, _CYCLE_YEARS)
    return cycles * _CYCLE_DAYS + date(year + 1, month + 1, 1).toordinal() - _DAYS_TO_1970 + day - 1


def iso_days_of(year: int, week: int, weekday: int) -> int:
    """Days since 1970-01-01 on the ISO calendar, whose first week holds January 4th; week and day may overflow."""
    january_4th = days_of(year, 1, 4)
    return january_4th - iso_weekday(january_4th) + 7 * (week - 1) + weekday


def iso_weekday(days: int) -> int:
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


_YEAR_2: Final = days_of(2, 1, 1) * DAY
_YEAR_9000: Final = days_of(9000, 1, 1) * DAY


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


def _day_of_week(local: Local) -> int:
    return local.cycle_day.isoweekday() % 7 + 1


def _day_of_year(local: Local) -> int:
    return local.cycle_day.timetuple().tm_yday


def _week(local: Local) -> int:
    # The days before the first Sunday are in week 0.
    return (_day_of_year(local) - _day_of_week(local) + 7) // 7


PARTS: Final[dict[str, tuple[Callable[[Local], int], str]]] = {
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


WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def weekday_named(value: Value) -> int:
    """
    The ISO 8601 number, from 1 for Monday to 7 for Sunday, of a day's name or the first three letters of one.

    Raises:
        ValueError: It is not a string.
        QueryError: No day has that name.
    """
    if type(value) is not str:
        raise ValueError
    for number, name in enumerate(WEEKDAYS, start=1):
        if value.lower() in (name, name[:3]):
            return number
    raise QueryError(f"a day of the week is monday to sunday, or mon to sun, not {value!r}", code="Location5439016")
