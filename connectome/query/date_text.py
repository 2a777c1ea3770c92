"""
Dates as text: written by a format, and understood by one or without.

Source:
    MongoDB's ``date_time_support.cpp``, and the date parser that it uses, timelib.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bson import DatetimeMS

from connectome.errors import QueryError
from connectome.extjson import preview
from connectome.query.calendar import (
    DAY,
    HOUR,
    MINUTE,
    PARTS,
    SECOND,
    UTC_ZONE,
    WEEKDAYS,
    Local,
    Zone,
    date_at,
    days_of,
    iso_days_of,
    iso_weekday,
    weekday_named,
)
from connectome.query.values import Value

_MONTH_NAMES: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _digits(part: str, width: int) -> Callable[[Local], str]:
    value = PARTS[part][0]

    def digits(local: Local) -> str:
        number = value(local)
        if not 0 <= number <= 9999:
            raise QueryError(f"a date is written with parts from 0 to 9999, not {number}", code="Location18537")
        return f"{number:0{width}}"

    return digits


def _offset_digits(local: Local) -> str:
    hours, minutes = divmod(abs(local.offset) // MINUTE, 60)
    return f"{'-' if local.offset < 0 else '+'}{hours:02}{minutes:02}"


WRITERS: Final[dict[str, Callable[[Local], str]]] = {
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


SPECIFIER: Final = re.compile("%(.?)", re.DOTALL)


def written(moment: int, timezone: Zone = UTC_ZONE, format: str | None = None) -> str:
    """An instant as text; without a format as ISO 8601 has it, with a Z where the zone is UTC."""
    local = Local.at(moment, timezone)
    if format is None:
        format = "%Y-%m-%dT%H:%M:%S.%LZ" if timezone.is_utc else "%Y-%m-%dT%H:%M:%S.%L"
    return SPECIFIER.sub(lambda specifier: WRITERS[specifier[1]](local), format)


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


# The abbreviations that people write, and the letters of military time; hours ahead of UTC.
_ABBREVIATIONS: Final = {
    **dict(zip("abcdefghiklm", range(1, 13), strict=True)),
    **dict(zip("nopqrstuvwxy", range(-1, -13, -1), strict=True)),
    **dict.fromkeys(("z", "ut", "utc", "uct", "gmt", "wet"), 0),
    **dict.fromkeys(("bst", "cet", "met", "west", "wat"), 1),
    **dict.fromkeys(("cest", "mest", "eet", "cat", "sast"), 2),
    **dict.fromkeys(("eest", "msk", "eat", "idt"), 3),
    **dict.fromkeys(("pkt",), 5),
    **dict.fromkeys(("awst", "hkt", "wita"), 8),
    **dict.fromkeys(("jst", "wit"), 9),
    **dict.fromkeys(("acst",), 9.5),
    **dict.fromkeys(("aest", "chst"), 10),
    **dict.fromkeys(("acdt",), 10.5),
    **dict(zip(("aedt", "nzst", "nzdt"), (11, 12, 13), strict=True)),
    **dict(zip(("ndt", "nst"), (-2.5, -3.5), strict=True)),
    **dict(zip(("ast", "est", "cst", "mst", "pst", "akst", "hst", "sst"), range(-4, -12, -1), strict=True)),
    **dict(zip(("adt", "edt", "cdt", "mdt", "pdt", "akdt", "hdt"), range(-3, -10, -1), strict=True)),
}


_ZONE_DIGITS: Final = re.compile(r"(?:GMT)?([+-])(?:(\d\d)(\d\d)(\d\d)|(\d\d?):?(\d\d?)?(?::(\d\d))?)", re.ASCII)


def _offset_written(written: str, text: str) -> int:
    """The offset that a string gives, in milliseconds."""
    if written.lower() in _ABBREVIATIONS:
        return int(_ABBREVIATIONS[written.lower()] * HOUR)
    # Three digits are an hour and two of minutes.
    if match := _ZONE_DIGITS.fullmatch(re.sub(r"(?<=[+-])(?=\d{3}$)", "0", written, count=1)):
        hours, minutes, seconds = (int(match[i] or match[i + 3] or 0) for i in (2, 3, 4))
        size = hours * HOUR + minutes * MINUTE + seconds * SECOND
        return -size if match[1] == "-" else size
    raise _unreadable(text, f"a string has an offset from UTC, not the time zone {written!r}")


def _day(text: str, year: int, month: int, day: int) -> int:
    if not (1 <= month <= 12 and 1 <= day <= days_of(year, month + 1, 1) - days_of(year, month, 1)) or year < 0:
        raise _unreadable(text, f"there is no day {year}-{month}-{day}")
    return days_of(year, month, day)


def _clock(text: str, hour: int, minute: int, second: int, fraction: str) -> int:
    if hour > 23 or minute > 59 or second > 59:
        raise _unreadable(text, f"there is no time {hour}:{minute}:{second}")
    return hour * HOUR + minute * MINUTE + second * SECOND + int(f"{fraction:0<3.3}")


# With a format: what each specifier takes from the string, and nothing back, as timelib reads it.
READERS: Final = {
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
    specifiers = [specifier for specifier in SPECIFIER.findall(format) if specifier != "%"]
    pieces = SPECIFIER.split(format)
    pattern = "".join(READERS[piece] if odd % 2 else re.escape(piece) for odd, piece in enumerate(pieces))
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
        days = iso_days_of(number["G"], week, weekday)
    elif "j" in found:
        if specifiers.index("j") < "".join(specifiers).find("Y") or "Y" not in found:
            raise _unreadable(text, "a day of the year comes after its year")
        # timelib counts the days of a year from zero.
        days = days_of(number["Y"], 1, number["j"] + 1)
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
        rf"(?:(?P<weekday>{'|'.join(name[:3] for name in WEEKDAYS)})[a-z]*[,.\s]+)?{form}", re.ASCII | re.IGNORECASE
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
        r"(?i:(?P<word>noon|midnight|today|now))",
        "",
    )
]


# As C's asctime() and the command date have it: the year comes behind the time.
_YEAR_LAST: Final = re.compile(
    rf"((?:[a-z]+,?\s+)?{_MONTH}[ \t.-]*\d\d?)[,.stndrh\t ]+(\d\d?:\d.*?)[ \t]+(\d{{4}})", re.ASCII | re.IGNORECASE
)


_TIMESTAMP: Final = re.compile(r"@(-?\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)


def _read_freely(text: str) -> _Reading:
    trimmed = text.strip(" \t\n\r\f\v")
    if stamp := _TIMESTAMP.fullmatch(trimmed):
        fraction = int(f"{stamp[2] or '':0<3.3}")
        moment = int(stamp[1]) * SECOND + (-fraction if stamp[1].startswith("-") else fraction)
        return _Reading(*divmod(moment, DAY), offset=0)
    if late := _YEAR_LAST.fullmatch(trimmed):
        trimmed = f"{late[1]} {late[4]} {late[3]}"
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
        days = iso_days_of(year, int(week), int(day["isoday"] or 1))
    else:
        month = _MONTH_NUMBERS[name.lower()] if (name := day.get("name")) else int(day["m"] or 0)
        days = _day(text, year, month, int(day.get("d") or 1))
    if weekday := day["weekday"]:
        days += (weekday_named(weekday) - iso_weekday(days)) % 7
    hour = 12 if (time.get("word") or "").lower() == "noon" else int(time.get("h") or 0)
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
