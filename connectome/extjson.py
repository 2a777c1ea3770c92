"""
JSON text and Extended JSON v2 to Python values and back: the only place that knows a ``{"$date": …}``.

It must not know what a value is for: query operators pass as plain keys, comparing is ``query.values``'s.
``bson.json_util`` is not used: it drops ``$nin`` beside ``$regex`` and lets NaN and 2**63 through, silently.
orjson, where it is installed, reads and writes what is sure to come out as the standard library's json would have it,
which does the rest and words every refusal; msgspec, where it is installed, reads parts of what was written here.
A value type is one row of ``_DECODERS`` and one of ``_ENCODERS``, which stand together at the end.

Source:
    MongoDB specifications, extended-json.md, and the BSON corpus.
"""

from __future__ import annotations

import base64
import gc
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from math import isfinite, isinf, isnan
from operator import attrgetter
from types import NoneType
from typing import Any, Literal
from uuid import UUID

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from connectome.errors import InvalidJSON, at, pointer_to

try:
    import orjson
except ModuleNotFoundError:
    HAS_ORJSON = False
else:
    HAS_ORJSON = True

try:
    import msgspec
except ModuleNotFoundError:
    HAS_MSGSPEC = False
else:
    HAS_MSGSPEC = True
    _OBJECT_READER = msgspec.json.Decoder(dict[str, msgspec.Raw])
    _SPLITTER = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])

Mode = Literal["relaxed", "canonical", "stored"]
_Decoder = Callable[[Any], Any]  # from what stands behind a wrapper's key, as it was read, to the value
_Encoder = Callable[[Any, Mode], Any]

_ESCAPED = frozenset('"\\') | frozenset(map(chr, range(32)))
# What ``members`` has for a member that is not there.
ABSENT: Any = object()
MAX_DEPTH = 100
_SCALARS: frozenset[type] = frozenset({NoneType, bool, int, float, str})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST_DATE = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST_DATE = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_REGEX_FLAGS = {option: Regex("", option).flags for option in "ilmsux"}


def loads(text: bytes | str, *, extended: bool = True) -> Any:
    """
    Read strict JSON in which Extended JSON v2 stands for the types that JSON lacks.

    Args:
        text: UTF-8 where it is bytes; a byte order mark at the start is skipped.
        extended: False leaves the wrappers of Extended JSON as the objects they are: a JSON Schema may hold them.

    Returns:
        None, bool, int, float, str, list and dict; for the wrappers datetime (UTC, whole milliseconds),
        DatetimeMS (before year 1, after 9999), ObjectId, Decimal128, Int64, Binary, Regex, Timestamp, MinKey
        and MaxKey.

    Raises:
        InvalidJSON: Without a pointer: what is not UTF-8 or not JSON.  With the pointer to the place: a
            duplicate key, NaN or an infinity as a literal, a number beyond 64 bits, a lone surrogate, NUL in
            a key, more than 100 levels of objects and arrays (a wrapper is a value, not a level), a wrapper
            with a malformed operand or beside another key, a BSON type that is not supported.
    """
    if len(text) < _LARGE:
        return _read(text, extended)
    with _collector_paused():
        return _read(text, extended)


def _read(text: bytes | str, extended: bool) -> Any:
    try:
        content = text.encode() if isinstance(text, str) else text
        value = _read_surely(content)
    except (ValueError, RecursionError):
        pass
    else:
        if extended and (b"$" in content or (b"\\" in content and b"\\u0024" in content)):
            return _decode(value, MAX_DEPTH, _SCALARS, WRAPPERS)
        return value
    return _read_strictly(text, WRAPPERS if extended else frozenset())


def _read_strictly(text: bytes | str, wrappers: frozenset[str]) -> Any:
    """The judge of ``loads``: it finds whatever is wrong, its place, and the words for it."""
    read = _unicode(text)
    # Only an escape or a str brings a lone surrogate or NUL.  Where there is neither, no string is looked at.
    careful = "\\u" in read or (isinstance(text, str) and not read.isascii())
    try:
        settled = _SCALARS - {str} if careful else _SCALARS
        return _decode(_parse(read), MAX_DEPTH, settled, wrappers)
    except InvalidJSON as error:
        if error.pointer is not None:
            error.pointer = re.sub("[\ud800-\udfff]", "\ufffd", error.pointer)
        raise


def parse(content: bytes) -> Any:
    """
    Read JSON as ``json.loads`` does, wrappers left as the objects they are: what a file holds, not what a client sends.

    Raises:
        ValueError, RecursionError: as ``json.loads``.
    """
    with suppress(ValueError, RecursionError):
        if _scan is _scan_with_orjson and not _may_be_beyond_64_bits(content, content.translate(_FIGURES)):
            return _scan(content)
    return json.loads(content)


def decode(text: bytes) -> Any:
    """
    Read what ``encode(mode="stored")`` wrote.

    Args:
        text: Trusted, as ``from_json``'s value is.
    """
    value = _scan(text)
    return from_json(value) if b"$" in text else value


def members(names: Sequence[str]) -> Callable[[Sequence[bytes]], list[list[Any]]]:
    """
    What reads some members of objects that ``encode(mode="stored")`` wrote, without reading the others where it can.

    Returns:
        A function from texts to a list for each name, which holds the value of that member in each text; ``ABSENT``
        where there is none.
    """
    # msgspec takes no name that JSON would have to escape.
    if not HAS_MSGSPEC or any(set(name) & _ESCAPED for name in names):
        return lambda texts: [
            [document.get(name, ABSENT) for document in documents]
            for documents in [list(map(decode, texts))]
            for name in names
        ]
    fields = [f"member{number}" for number in range(len(names))]
    struct = msgspec.defstruct(
        "Members",
        [(field, Any, ABSENT) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        gc=False,
    )
    read = msgspec.json.Decoder(struct).decode
    value_of = [attrgetter(field) for field in fields]

    def columns(texts: Sequence[bytes]) -> list[list[Any]]:
        found = list(map(read, texts))
        made = [list(map(each, found)) for each in value_of]
        if any(b"$" in text for text in texts):
            made = [[from_json(value) if type(value) in (dict, list) else value for value in each] for each in made]
        return made

    return columns


def keeping(names: Iterable[str]) -> Callable[[bytes], bytes]:
    """What takes all other members out of an object that ``encode(mode="stored")`` wrote; needs msgspec."""
    heads = {name: encode(name) for name in names}
    read = _OBJECT_READER.decode

    def kept(text: bytes) -> bytes:
        found = read(text)
        return b"{%s}" % b",".join([b"%s:%s" % (heads[name], found[name]) for name in found if name in heads])

    return kept


def split(content: bytes) -> dict[str, dict[str, bytes]]:
    """
    Part an object of objects of objects into the texts of the innermost, which are not read.

    Raises:
        ValueError: It is no such object.
    """
    tables = _SPLITTER.decode(content).items()
    return {name: {key: bytes(each) for key, each in table.items()} for name, table in tables}


def from_json(value: Any) -> Any:
    """
    Decode the plain structure that ``to_json(mode="stored")`` made or ``json.load`` read.

    Args:
        value: Trusted: neither depth nor text is checked; updates may nest documents deeper than requests.

    Returns:
        The decoded value.  ``value`` is not changed; where it holds no wrapper, it is returned itself.

    Raises:
        InvalidJSON: a wrapper that cannot be read, with its pointer.
    """
    return _decode(value, sys.maxsize, _SCALARS, WRAPPERS)


def encode(value: Any, *, mode: Mode = "relaxed") -> bytes:
    """
    Write what ``to_json`` returns as compact JSON in UTF-8: no spaces, characters as they are, fields in order.

    Returns:
        The same bytes whether orjson is installed or not.

    Raises:
        TypeError, ValueError: as ``to_json``; ValueError for text with a lone surrogate, too.
    """
    return _write(value, mode)


def dumps(value: Any, *, mode: Mode = "relaxed") -> str:
    """Write what ``encode`` writes, as a str."""
    return encode(value, mode=mode).decode()


def to_json(value: Any, *, mode: Mode = "relaxed") -> Any:
    """
    Turn a value into the plain JSON structure that ``dumps`` writes.

    Args:
        mode: ``relaxed`` is for people: numbers are numbers.  ``canonical`` names the type of every number.
            ``stored`` is relaxed without its one loss: an Int64 that would come back as int32 stays
            ``{"$numberLong": …}``.

    Returns:
        dict, list, str, int, float, bool and None only.  ``value`` is not changed; where it holds no special
        type, it is returned itself.

    Raises:
        TypeError: a Python type that has no Extended JSON.
        ValueError: in ``stored`` only, a field named like a wrapper: it would come back as something else.
    """
    plain = _PLAIN[mode]
    return value if type(value) in plain else _encode(value, mode, plain)


def preview(value: Any, *, limit: int = 60) -> str:
    """A value as one short text for an error message; what has no Extended JSON is shown as Python writes it."""
    try:
        text = dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


# The sure way: a parser without hooks takes what it gets, and the text shows whether the judge could object.

# More than this many bytes make so many objects that the collector would look at them, and at all others, again and
# again, for circles that JSON has none of: 10,000 documents take 4.6 µs each without it, 14.5 with it.
_LARGE = 1 << 16
_FIGURES = bytes.maketrans(b"123456789\t\n\r", b"000000000   ")
_LONG = b"0" * 19
_DIGITS = re.compile(rb"[0-9]+")


@contextmanager
def _collector_paused() -> Iterator[None]:
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _read_surely(content: bytes) -> Any:
    """
    Read what is certainly strict JSON, wrappers left as they are.

    Raises:
        ValueError, RecursionError: It is not, or that cannot be told from the text and its tree alone.
    """
    # All digits are 0 there, and all white space is a blank.
    figures = content.translate(_FIGURES)
    # One byte is found in a third of the time that several take.
    if b"\\" in content and b"\\u0000" in content:
        raise ValueError("perhaps a NUL in a key")
    if _may_be_beyond_64_bits(content, figures):
        raise ValueError("perhaps a whole number beyond 64 bits")
    value = _scan(content)
    members = _member_count(value, MAX_DEPTH) if type(value) in (dict, list) else 0
    # A key that came twice is a member of the text and none of the tree.  The text has at most as many members as
    # colons, and at most as many as colons behind a quote or white space: the rest stand in strings.
    if members != content.count(b":") and members != figures.count(b'":') + figures.count(b" :"):
        raise ValueError("perhaps a key twice")
    return value


def _may_be_beyond_64_bits(content: bytes, figures: bytes) -> bool:
    """Whether there are so many digits where a whole number may stand; ``figures`` is the content translated."""
    start = figures.find(_LONG)
    while start >= 0:
        digits: Any = _DIGITS.match(content, start)
        # Elsewhere they stand in a string, or in a fraction.
        if figures[start - 1 : start] in b":,[- " and (len(digits[0]) > 19 or digits[0] >= b"92"):
            return True
        start = figures.find(_LONG, digits.end())
    return False


def _member_count(value: Any, room: int) -> int:
    """Count the members of all objects in an object or array with at most ``room`` levels."""
    if not room:
        raise ValueError("perhaps too deep")
    count = 0
    if type(value) is dict:
        count = len(value)
        value = value.values()
    for each in value:
        if type(each) is dict or type(each) is list:
            count += _member_count(each, room - 1)
    return count


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _finite(text: str) -> float:
    return value if isfinite(value := float(text)) else _refuse(text)


_SCANNER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)


def _scan_with_json(content: bytes) -> Any:
    if b"\\" in content and (b"\\ud" in content or b"\\uD" in content):
        raise ValueError("perhaps a lone surrogate, which orjson refuses")
    return _SCANNER.decode(content.decode())


def _scan_with_orjson(content: bytes) -> Any:
    return orjson.loads(content)


# In place of a value that cannot be taken the scanner's hooks leave an InvalidJSON: _decode, which knows the
# place, raises it.


def _object(pairs: list[tuple[str, Any]]) -> Any:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    key = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    return InvalidJSON(f"expected every key of an object once, not {_shown(key)} twice", pointer=pointer_to(key))


def _int(text: str) -> Any:
    # The length first: Python's int() raises on more than 4,300 digits.
    if len(text) < 19 or (len(text) <= 20 and _fits(int(text), 64)):
        return int(text)
    return InvalidJSON(f"expected a whole number within 64 bits, not {_cut(text)}")


def _float(text: str) -> Any:
    if isfinite(value := float(text)):
        return value
    return InvalidJSON(f"expected a number within the range of a 64-bit float, not {_cut(text)}")


def _constant(name: str) -> Any:
    return InvalidJSON(f'expected a number, not {name}, which JSON lacks: write {{"$numberDouble": "{name}"}}')


_READER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)


def _unicode(text: bytes | str) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        came = f"0x{text[error.start]:02x} at byte {error.start}"
        raise InvalidJSON(f"expected UTF-8, not {came} ({error.reason})", pointer=None) from None


def _parse(text: str) -> Any:
    try:
        return _READER.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(error) from None
    except RecursionError:
        steps = _first_too_deep(text)
        if steps is None:  # the caller's own stack is nearly spent
            raise
        raise _too_deep(*steps) from None


def _malformed(error: json.JSONDecodeError) -> InvalidJSON:
    if not error.doc.strip(" \t\n\r"):
        return InvalidJSON("expected a JSON value, and nothing came: the text is empty", pointer=None)
    if error.msg.startswith("Illegal trailing comma"):
        # Python 3.13 blames the comma; as before, the place to look at is behind it.
        missing = "value" if error.msg.endswith("array") else "property name enclosed in double quotes"
        behind = len(error.doc) - len(error.doc[error.pos + 1 :].lstrip(" \t\n\r"))
        error = json.JSONDecodeError(f"Expecting {missing}", error.doc, behind)
    expected = error.msg.replace("Extra data", "Expecting the end").partition("Expecting ")[2]
    came = _shown(error.doc[error.pos]) if error.pos < len(error.doc) else "the end"
    fault = f"expected {expected}, not {came}" if expected else error.msg.removesuffix(": ").removesuffix(" at")
    return InvalidJSON(f"malformed JSON in line {error.lineno}, column {error.colno}: {fault}", pointer=None)


_TOKEN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[\[{\]},]')


def _first_too_deep(text: str) -> list[str | int] | None:
    """Find the first object or array beyond the last level, in text that nests too deep for the scanner."""
    steps: list[str | int] = []
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                if len(steps) == MAX_DEPTH:
                    return steps
                steps.append(0)
            case "]" | "}":
                steps.pop()
            case ",":
                if isinstance(step := steps[-1], int):
                    steps[-1] = step + 1
            case _ if token[2]:
                steps[-1] = json.loads(token[1])
    return None


def _too_deep(*steps: str | int) -> InvalidJSON:
    detail = f"expected at most {MAX_DEPTH} levels of objects and arrays, not one more"
    return InvalidJSON(detail, pointer=pointer_to(*steps))


def _decode(value: Any, room: int, settled: frozenset[type], wrappers: frozenset[str]) -> Any:
    """
    Decode the wrappers in a tree and raise what the hooks left there, in one walk.

    Args:
        room: How many levels of objects and arrays may still open.
        settled: The types that need no look: every scalar, without ``str`` where a surrogate may hide.
        wrappers: The keys that make an object a typed value.

    Returns:
        The same object where nothing in it changed, otherwise a copy.
    """
    members: Any
    if type(value) is dict:
        if not wrappers.isdisjoint(value) and (wrapper := _wrapper(value)):
            return _unwrap(wrapper, value)
        members = value.items()
    elif type(value) is list:
        members = enumerate(value)
    elif type(value) is InvalidJSON:
        raise value
    else:
        return _text(value) if type(value) is str else value
    if not room:
        raise _too_deep()
    decoded = value
    step: Any = None
    # Not `with at(step)`: a try is free until something is raised (450 bytes of JSON: 2.0 µs instead of 3.9).
    try:
        if str not in settled and type(value) is dict:
            for step in value:
                _text(step, key=True)
        for step, member in members:
            if type(member) not in settled:
                new = _decode(member, room - 1, settled, wrappers)
                if new is not member:
                    if decoded is value:
                        decoded = value.copy()
                    decoded[step] = new
    except InvalidJSON as error:
        error.pointer = pointer_to(step) + (error.pointer or "")
        raise
    return decoded


def _wrapper(members: dict[str, Any]) -> str | None:
    """Return the key that makes an object a wrapper; beside a plain key, an unsupported one does not."""
    for key in members:
        if key in _DECODERS:
            return key
    return next(iter(members)) if members.keys() <= _UNSUPPORTED.keys() else None


def _unwrap(key: str, members: dict[str, Any]) -> Any:
    if key in _UNSUPPORTED:
        raise InvalidJSON(f"{key} is not supported: {_UNSUPPORTED[key]}", pointer=pointer_to(key))
    for other in members:
        if other != key:
            raise InvalidJSON(f"expected {key} as the only key of its object, not beside {_shown(other)}")
    # Not `with at(key)`, for the reason given in _decode.
    try:
        return _DECODERS[key](members[key])
    except InvalidJSON as error:
        error.pointer = pointer_to(key) + (error.pointer or "")
        raise


def _text(text: str, *, key: bool = False) -> str:
    """Return text that is Unicode and, as a key, which BSON ends with a NUL, holds none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidJSON(f"expected Unicode text, not the lone surrogate in {_shown(text)}") from None
    if key and "\0" in text:
        raise InvalidJSON(f"expected a key without the NUL character, not {_shown(text)}")
    return text


def _shown(value: Any) -> str:
    """Say what came; an object or array is not written out, since it may be of any size and depth."""
    if type(value) is dict:
        return f"an object with {', '.join(_shown(key) for key in [*value][:3]) or 'nothing in it'}"
    if type(value) is list:
        return "an array"
    return _cut(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}… ({len(text)} characters)"


def _unexpected(operand: Any, expected: str) -> InvalidJSON:
    if type(operand) is InvalidJSON:
        return operand
    return InvalidJSON(f"expected {expected}, not {_shown(operand)}")


def _fits(value: int, bits: int) -> bool:
    return -(1 << bits - 1) <= value < 1 << bits - 1


def _string(form: str, make: Callable[[str], Any], expected: str) -> _Decoder:
    """Decode a string of this form; ``make`` may still refuse it with a ValueError or ArithmeticError."""
    fullmatch = re.compile(form, re.ASCII).fullmatch

    def decode(operand: Any) -> Any:
        if type(operand) is not str or not fullmatch(operand):
            raise _unexpected(operand, expected)
        try:
            return make(operand)
        except (ValueError, ArithmeticError):
            raise _unexpected(operand, expected) from None

    return decode


def _whole(low: int, high: int, make: Callable[[int], Any], expected: str) -> _Decoder:
    """Decode a whole number from ``low`` to ``high``."""

    def decode(operand: Any) -> Any:
        if type(operand) is int and low <= operand <= high:
            return make(operand)
        raise _unexpected(operand, expected)

    return decode


def _members(make: Callable[..., Any], **decoders: _Decoder) -> _Decoder:
    """Decode an object that has exactly these members, in any order."""
    expected = f"an object with {' and '.join(map(_shown, decoders))}"

    def decode(operand: Any) -> Any:
        if type(operand) is not dict or operand.keys() != decoders.keys():
            raise _unexpected(operand, expected)
        values = []
        for name, decoder in decoders.items():
            with at(name):
                values.append(decoder(operand[name]))
        return make(*values)

    return decode


def _integer(text: str, bits: int) -> int:
    if _fits(value := int(text), bits):
        return value
    raise ValueError(text)


def _double(text: str) -> float:
    if isinf(value := float(text)) and not text.endswith("Infinity"):
        raise ValueError(text)
    return value


def _base64(text: str) -> bytes:
    payload = base64.b64decode(text)
    # b64decode skips what it does not know and forgives padding; what was written must come back.
    if base64.b64encode(payload).decode() != text:
        raise ValueError(text)
    return payload


def _instant(milliseconds: int) -> datetime | DatetimeMS:
    if _FIRST_DATE <= milliseconds <= _LAST_DATE:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    return DatetimeMS(int(milliseconds))


def _milliseconds(date: datetime) -> int:
    """Count the whole milliseconds since 1970, never through a float; a date without a zone is in UTC."""
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _date_from_iso(date: datetime) -> datetime | DatetimeMS:
    if date.tzinfo is UTC and not date.microsecond % 1000:
        return date
    return _instant(_milliseconds(date))


_long = _string(r"-?\d{1,19}", lambda text: Int64(_integer(text, 64)), "a whole number within 64 bits, as a string")
_date_long = _members(_instant, **{"$numberLong": _long})
_date_string = _string(
    r"\d{4}-\d\d-\d\d(T([01]\d|2[0-3]):\d\d(:\d\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d))?",
    lambda text: _date_from_iso(datetime.fromisoformat(text)),
    'an ISO-8601 date such as "2020-01-02", "2020-01-02T03:04:05.678Z" or "2020-01-02T03:04:05+01:00",'
    ' whole milliseconds or {"$numberLong": …}',
)
_uint32 = _whole(0, 2**32 - 1, int, "a whole number from 0 to 4294967295")


def _date(operand: Any) -> Any:
    if type(operand) is int:
        return _instant(operand)
    return _date_long(operand) if type(operand) is dict else _date_string(operand)


_WRITER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def _write_with_json(value: Any, mode: Mode) -> bytes:
    return _WRITER.encode(to_json(value, mode=mode)).encode()


def _write_with_orjson(value: Any, mode: Mode) -> bytes:
    if mode != "canonical" and type(value) in (dict, list) and _is_written_alike(value, mode):
        try:
            text: bytes = orjson.dumps(value, _ENCODE_ANY[mode], _OPTIONS)
            # Of what is kept a copy: the text itself holds on to all the room that was made for it, which is ten
            # times as much (400 bytes: 4,100, of 700: 8,200; the copy takes 0.1 µs).
            return bytes(memoryview(text)) if mode == "stored" else text
        except TypeError:  # an integer beyond 64 bits, a key that is no str, deep nesting: json takes them
            pass
    return _write_with_json(value, mode)


def _is_written_alike(value: Any, mode: Mode) -> bool:
    """Whether orjson writes an object or array as json does, or refuses it: what it would write otherwise is here."""
    if type(value) is dict:
        if mode == "stored" and not WRAPPERS.isdisjoint(value):
            return False
        value = value.values()
    for each in value:
        kind = type(each)
        if kind not in _ALIKE:
            if kind is float:
                # Beyond, json writes an exponent, in its own way, or there is none to write: NaN.
                if not (1e-4 <= each < 1e16 or -1e16 < each <= -1e-4 or each == 0):
                    return False
            elif kind is dict or kind is list:
                if not _is_written_alike(each, mode):
                    return False
            else:
                return False
    return True


def _encode(value: Any, mode: Mode, plain: frozenset[type]) -> Any:
    """Encode a value whose type is not in ``plain``; the same object where nothing in it changed."""
    members: Any
    if type(value) is dict:
        if mode == "stored" and not WRAPPERS.isdisjoint(value) and _wrapper(value):
            raise ValueError(f"{_shown(value)} would come back as something else: it looks like Extended JSON")
        members = value.items()
    elif type(value) is list:
        members = enumerate(value)
    elif encoder := _ENCODERS.get(type(value)):
        return encoder(value, mode)
    else:
        raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no Extended JSON")
    encoded = value
    for step, member in members:
        if type(member) not in plain and (type(member) is not float or mode == "canonical" or not isfinite(member)):
            new = _encode(member, mode, plain)
            if new is not member:
                if encoded is value:
                    encoded = value.copy()
                encoded[step] = new
    return encoded


def _encode_int64(value: Int64, mode: Mode) -> Any:
    typed = mode == "canonical" or (mode == "stored" and _fits(value, 32))
    return {"$numberLong": str(value)} if typed else int(value)


def _encode_float(value: float, mode: Mode) -> Any:
    if not isfinite(value):
        return {"$numberDouble": "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    return {"$numberDouble": repr(value)} if mode == "canonical" else value


def _encode_date(milliseconds: int, mode: Mode) -> Any:
    if mode == "canonical" or not 0 <= milliseconds <= _LAST_DATE:
        return {"$date": {"$numberLong": str(milliseconds)}}
    date = (_EPOCH + timedelta(milliseconds=milliseconds)).replace(tzinfo=None)
    return {"$date": date.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds") + "Z"}


def _encode_binary(value: Binary, mode: Mode) -> Any:
    if value.subtype == 4 and len(value) == 16 and mode != "canonical":
        return {"$uuid": str(UUID(bytes=bytes(value)))}
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{value.subtype:02x}"}}


def _encode_regex(value: Regex[str], _: Mode) -> Any:
    options = "".join(option for option, flag in _REGEX_FLAGS.items() if value.flags & flag)
    return {"$regularExpression": {"pattern": value.pattern, "options": options}}


_UNSUPPORTED = {
    **dict.fromkeys(("$code", "$scope"), "there is no server-side JavaScript here"),
    **dict.fromkeys(("$symbol", "$undefined", "$dbPointer"), "its BSON type is deprecated"),
}
_DECODERS: dict[str, _Decoder] = {
    "$oid": _string(r"[0-9a-fA-F]{24}", ObjectId, "24 hexadecimal digits"),
    "$numberInt": _string(r"-?\d{1,10}", lambda text: _integer(text, 32), "a whole number within 32 bits, as a string"),
    "$numberLong": _long,
    "$numberDouble": _string(
        r"NaN|-?Infinity|[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?",
        _double,
        'a number within the range of a 64-bit float, as a string, or "NaN", "Infinity", "-Infinity"',
    ),
    "$numberDecimal": _string(
        # Not -NaN and sNaN: Decimal128 tells them from NaN, but writes them all as "NaN".
        r"(?i:nan|[+-]?(inf(inity)?|(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?))",
        Decimal128,
        "a decimal number of at most 34 digits and up to 9.99…E+6144, as a string",
    ),
    "$date": _date,
    "$binary": _members(
        Binary,
        base64=_string(r"[\w+/=]*", _base64, "base64 with its padding"),
        subType=_string(r"[0-9a-fA-F]{1,2}", lambda text: int(text, 16), "one or two hexadecimal digits, as a string"),
    ),
    "$uuid": _string(
        r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        lambda text: Binary.from_uuid(UUID(text)),
        "a UUID with its hyphens",
    ),
    "$regularExpression": _members(
        Regex,
        pattern=_string(r"[^\0\ud800-\udfff]*", str, "a pattern without NUL and lone surrogates"),
        options=_string("[ilmsux]*", str, 'a string of options out of "ilmsux"'),
    ),
    "$timestamp": _members(Timestamp, t=_uint32, i=_uint32),
    "$minKey": _whole(1, 1, lambda _: MinKey(), "1"),
    "$maxKey": _whole(1, 1, lambda _: MaxKey(), "1"),
}
WRAPPERS = frozenset(_DECODERS) | frozenset(_UNSUPPORTED)

_ENCODERS: dict[type, _Encoder] = {
    ObjectId: lambda value, _: {"$oid": str(value)},
    int: lambda value, _: {"$numberInt" if _fits(value, 32) else "$numberLong": str(value)},
    Int64: _encode_int64,
    float: _encode_float,
    Decimal128: lambda value, _: {"$numberDecimal": str(value)},
    datetime: lambda value, mode: _encode_date(_milliseconds(value), mode),
    DatetimeMS: lambda value, mode: _encode_date(int(value), mode),
    Binary: _encode_binary,
    bytes: lambda value, mode: _encode_binary(Binary(value), mode),
    UUID: lambda value, mode: _encode_binary(Binary.from_uuid(value), mode),
    Regex: _encode_regex,
    Timestamp: lambda value, _: {"$timestamp": {"t": value.time, "i": value.inc}},
    MinKey: lambda value, _: {"$minKey": 1},
    MaxKey: lambda value, _: {"$maxKey": 1},
}
# What json writes as it should be.  float is not here: NaN and the infinities are float.
_PLAIN: dict[Mode, frozenset[type]] = {
    "relaxed": _SCALARS - {float},
    "stored": _SCALARS - {float},
    "canonical": _SCALARS - {float, int},
}

# What orjson, too, writes as it is or hands to the encoders.  It would write a UUID as a string.
_ALIKE = (_SCALARS - {float}) | (_ENCODERS.keys() - {float, UUID})
_ENCODE_ANY: dict[Mode, Callable[[Any], Any]] = {
    "relaxed": lambda value: _ENCODERS[type(value)](value, "relaxed"),
    "stored": lambda value: _ENCODERS[type(value)](value, "stored"),
}
if HAS_ORJSON:
    _scan: Callable[[bytes], Any] = _scan_with_orjson
    _write: Callable[[Any, Mode], bytes] = _write_with_orjson
    _OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
else:
    _scan, _write = _scan_with_json, _write_with_json
