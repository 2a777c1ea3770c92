"""
The syntax in which people type: MongoDB's shell, beside strict JSON and Extended JSON.

Keys without quotes, single quotes, comments, a comma too many, ``ObjectId("…")``, ``ISODate("…")``, ``/re/i``.  This
module only spells: what is read becomes Extended JSON and is then judged by ``extjson``, so that both syntaxes mean
the same and have the same limits.  It must not know what a value is for.

>>> from connectome import relaxed
>>> relaxed.loads("{amount: {$gte: 30}, title: /^movie/i,}")
{'amount': {'$gte': 30}, 'title': Regex('^movie', re.IGNORECASE)}
>>> print(relaxed.dumps({"amount": {"$gte": 30}, "first name": "Ada"}))
{amount: {$gte: 30}, "first name": "Ada"}

Source:
    MongoDB manual, mongosh data types.
"""

from __future__ import annotations

import base64
import difflib
import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from inspect import signature
from typing import Any, Final, NamedTuple
from uuid import UUID

from bson import Binary, Int64, Regex

from connectome import extjson
from connectome.errors import InvalidJSON, pointer_to

_SPACE: Final = re.compile(r"(?:[\s\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NAME: Final = re.compile(r"(?:[^\W\d]|\$)[\w$]*")
# A path is one key, and a position in it is one too: nothing else could be meant.
_KEY: Final = re.compile(r"[\w$]+(?:\.[\w$]+)*")
_NUMBER: Final = re.compile(r"[+-]?(?:Infinity|NaN|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])")
_STRING: Final = re.compile(r""""[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'""", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", **{c: c for c in "\"'\\/`$"}}
_REGEX: Final = re.compile(r"/(?![*/])((?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/(\w*)")
# What would reorder the line that it stands in, or not be seen at all, is written as an escape.
_INVISIBLE: Final = re.compile("[\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# An array or object of scalars that is no longer than this stays on one line.
_LINE: Final = 80
# JSON's own limit counts levels of the value; here the parentheses of a wrapper and its objects may come on top.
_MAX_DEPTH: Final = extjson.MAX_DEPTH + 2


def loads(text: str) -> Any:
    """
    Read a value in the shell's syntax, in JSON or in Extended JSON.

    Returns:
        What ``extjson.loads`` returns for the same value.

    Raises:
        InvalidJSON: With the place in the text, in the sentence and as ``place``; with a pointer where ``extjson``
            refuses the value that is spelled.
    """
    reader = _Text(text)
    plain = reader.value()
    reader.end()
    try:
        # Not ``from_json``, which trusts: the limits on depth, numbers and text are those of what comes from outside.
        return extjson.loads(json.dumps(plain))
    except InvalidJSON as error:
        position = _nearest(reader.places, error.pointer or "")
        raise reader.error(error.detail, position, pointer=error.pointer) from None


def place(text: str, pointer: str) -> tuple[int, int]:
    """
    Where in a text that ``loads`` reads a pointer leads: line and column, each from 1.

    Returns:
        The place of the member's key, or of the array's element; the nearest one around it that the text holds.
    """
    reader = _Text(text)
    reader.value()
    return reader.line_and_column(_nearest(reader.places, pointer))


def dumps(value: Any, *, indent: int | None = None) -> str:
    """
    Write a value in the shell's syntax: on one line, or with each member on its own, small ones of scalars whole.

    ``loads`` reads it back as the same value, down to the type of every number.  Characters that cannot be seen, or
    that turn the direction of text, are written as escapes.

    Args:
        indent: The spaces of each level; None writes one line.

    Raises:
        TypeError: A Python type that has no Extended JSON.
    """
    return "".join(_written(value, indent, "\n" if indent is not None else ""))


def preview(value: Any, *, limit: int = 80) -> str:
    """The start of a value on one line; no more of it is written than is shown."""
    shown = ""
    for piece in _written(value, None, ""):
        shown += piece
        if len(shown) > limit:
            return shown[: limit - 1] + "…"
    return shown


def _nearest(places: dict[str, int], pointer: str) -> int:
    while pointer not in places:
        pointer = pointer.rpartition("/")[0]
    return places[pointer]


class _Argument(NamedTuple):
    """What stands between the parentheses: the value, how it was spelled, and where."""

    value: Any
    spelled: str
    position: int


class _Text:
    """
    One text, and how far it has been read.

    places: pointer → position, for the root, each member's key and each element that has been read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.places: dict[str, int] = {}
        self._skip()

    def value(self, pointer: str = "", depth: int = 0) -> Any:
        """Read one value, as the plain structure of Extended JSON."""
        start = self.position
        self.places.setdefault(pointer, start)
        first = self.text[start : start + 1]
        if first == "{":
            return self._object(pointer, depth)
        if first == "[":
            return self._array(pointer, depth)
        if first in ("'", '"') and first:
            return self._string()
        if number := _NUMBER.match(self.text, start):
            self.position = number.end()
            return self._number(number[0])
        if first == "/":
            return self._regex()
        if name := _NAME.match(self.text, start):
            return self._named(name[0], pointer)
        raise self._unexpected("a value")

    def end(self) -> None:
        """Refuse what stands behind the value; a semicolon may."""
        self._skip()
        self._take(";")
        if self.position < len(self.text):
            raise self._unexpected("the end")

    def line_and_column(self, position: int) -> tuple[int, int]:
        """A position as an editor counts it."""
        before = self.text[:position]
        return before.count("\n") + 1, position - before.rfind("\n")

    def error(self, detail: str, position: int, *, pointer: str | None = None) -> InvalidJSON:
        """An error with its place."""
        line, column = place = self.line_and_column(position)
        return InvalidJSON(f"line {line}, column {column}: {detail}", pointer=pointer, place=place)

    def _skip(self) -> None:
        space = _SPACE.match(self.text, self.position)
        self.position = space.end() if space else self.position
        if self.text.startswith("/*", self.position):
            raise self.error("expected */ at the end of the comment", self.position)

    def _at(self, mark: str) -> bool:
        return self.text.startswith(mark, self.position)

    def _take(self, mark: str) -> bool:
        if not self._at(mark):
            return False
        self.position += len(mark)
        self._skip()
        return True

    def _expect(self, mark: str, where: str) -> None:
        if not self._take(mark):
            raise self._unexpected(f"{mark} {where}")

    def _unexpected(self, expected: str) -> InvalidJSON:
        if self.position >= len(self.text):
            came = "the end of the text" if self.text.strip() else "an empty text"
        else:
            word = _KEY.match(self.text, self.position)
            came = _cut(word[0]) if word else _quoted(self.text[self.position])
        return self.error(f"expected {expected}, not {came}", self.position)

    def _object(self, pointer: str, depth: int) -> dict[str, Any]:
        self._enter("{", depth)
        members: dict[str, Any] = {}
        while not self._at("}"):
            start = self.position
            key = self._key()
            if key in members:
                raise self.error(f"expected every key of an object once, not {_quoted(key)} twice", start)
            inside = pointer + pointer_to(key)
            self.places[inside] = start
            self._skip()
            self._expect(":", f"after the key {_cut(key)}")
            members[key] = self.value(inside, depth + 1)
            self._skip()
            if not self._take(",") and not self._at("}"):
                raise self._unexpected("a comma or }")
        self.position += 1
        return members

    def _array(self, pointer: str, depth: int) -> list[Any]:
        self._enter("[", depth)
        elements: list[Any] = []
        while not self._at("]"):
            elements.append(self.value(f"{pointer}/{len(elements)}", depth + 1))
            self._skip()
            if not self._take(",") and not self._at("]"):
                raise self._unexpected("a comma or ]")
        self.position += 1
        return elements

    def _enter(self, mark: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise self.error(
                f"expected at most {extjson.MAX_DEPTH} levels of objects and arrays, not one more", self.position
            )
        self._take(mark)

    def _key(self) -> str:
        if self.text[self.position : self.position + 1] in ("'", '"') and self.position < len(self.text):
            return self._string()
        if not (key := _KEY.match(self.text, self.position)):
            raise self._unexpected("a key or }")
        self.position = key.end()
        return key[0]

    def _string(self) -> str:
        start = self.position
        if not (string := _STRING.match(self.text, start)):
            line = self.text[start:].partition("\n")[0]
            raise self.error(f"expected {line[0]} at the end of the text, on the same line, not {_quoted(line)}", start)
        self.position = string.end()

        def character(escape: re.Match[str]) -> str:
            code = escape[1] or escape[2] or escape[3]
            if code and int(code, 16) <= 0x10FFFF:
                return chr(int(code, 16))
            if escape[4] not in _ESCAPED:
                raise self.error(
                    f"expected an escape such as \\n, \\\\ or \\u00e9, not {_cut(escape[0])}",
                    start + 1 + escape.start(),
                )
            return _ESCAPED[escape[4]]

        # A pair of \u escapes is one character, as in JSON.
        unescaped = _ESCAPE.sub(character, string[0][1:-1])
        return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), unescaped)

    def _number(self, spelled: str) -> Any:
        start = self.position - len(spelled)
        unsigned = spelled.lstrip("+-")
        if unsigned in ("NaN", "Infinity"):
            sign = "-" if spelled[0] == "-" and unsigned == "Infinity" else ""
            return {"$numberDouble": sign + unsigned}
        if unsigned.isdecimal():
            if unsigned[0] == "0" and len(unsigned) > 1:
                raise self.error(f"expected a number without a leading zero, not {_cut(spelled)}", start)
            # The length first: Python's int() raises on more than 4,300 digits.
            if len(unsigned) > 19 or not -(2**63) <= int(spelled) < 2**63:
                raise self.error(f"expected a whole number within 64 bits, not {_cut(spelled)}", start)
            return int(spelled)
        if math.isinf(number := float(spelled)):
            raise self.error(f"expected a number within the range of a 64-bit float, not {_cut(spelled)}", start)
        return number

    def _regex(self) -> Any:
        if not (regex := _REGEX.match(self.text, self.position)):
            raise self._unexpected("a value, or a regular expression such as /^a/i on one line")
        self._options(regex[2], regex.start(2))
        self.position = regex.end()
        return _regular_expression(regex[1].replace("\\/", "/"), regex[2])

    def _options(self, options: str, position: int) -> None:
        for option in options:
            if option not in "ilmsux":
                raise self.error(f"expected options out of i, m, s, x, u and l, not {_cut(option)}", position)

    def _named(self, name: str, pointer: str) -> Any:
        start = self.position
        if name in _WORDS:
            self.position += len(name)
            return _WORDS[name]
        self.position += len(name)
        self._skip()
        if name == "new" and (called := _NAME.match(self.text, self.position)):
            name = called[0]
            self.position = called.end()
            self._skip()
        if name not in _CALLS or not (self._at("(") or name in ("MinKey", "MaxKey")):
            raise self._unknown(name, start)
        arguments = self._arguments() if self._at("(") else []
        try:
            _SIGNATURES[name].bind(*arguments)
        except TypeError:
            raise self.error(f"expected {_SAYS[name]}, not {len(arguments)} arguments", start) from None
        position = arguments[0].position if arguments else start
        try:
            wrapper = _CALLS[name](*arguments)
        except _Unfit as unfit:
            raise self.error(f"expected {_SAYS[name]}, not {name}({_cut(str(unfit))})", position) from None
        self.places[pointer + pointer_to(*wrapper)] = position
        return wrapper

    def _arguments(self) -> list[_Argument]:
        arguments: list[_Argument] = []
        self._take("(")
        # An argument is no member of the value around it: it has no pointer, and its place is noted by the caller.
        places, self.places = self.places, {}
        while not self._at(")"):
            start = self.position
            inner = self.value("", _MAX_DEPTH)
            arguments.append(_Argument(inner, self.text[start : self.position], start))
            self._skip()
            if not self._take(",") and not self._at(")"):
                raise self._unexpected("a comma or )")
        self.position += 1
        self.places = places
        return arguments

    def _unknown(self, name: str, start: int) -> InvalidJSON:
        self.position = start
        if name == "undefined":
            return self.error('expected a value, not undefined, which is deprecated: write null, or "$exists"', start)
        if name in _CALLS:
            return self.error(f"expected {_SAYS[name]}, not the name alone", start)
        called = re.compile(r"\s*\(").match(self.text, start + len(name))
        known = [*_CALLS] if called else [*_WORDS, *_CALLS]
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if nearest:
            return self.error(f"expected a value, not {_cut(name)}: did you mean {nearest[0]}?", start)
        if called:
            return self.error(f"expected one of {', '.join(_CALLS)}, not {_cut(name)}(…)", start)
        return self.error(f'expected a value, not {_cut(name)}: text stands in quotes, "{_cut(name)}"', start)


_SURROGATES: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _quoted(text: str) -> str:
    return _cut(json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


class _Unfit(Exception):
    """An argument is not what the function takes."""


def _text(argument: _Argument) -> str:
    if type(argument.value) is not str:
        raise _Unfit(argument.spelled)
    return argument.value


def _number_text(argument: _Argument) -> str:
    """A number as it was spelled, so that none of its digits passes through a float."""
    if type(argument.value) is str:
        return argument.value
    if type(argument.value) not in (int, float) and argument.value not in _NOT_FINITE:
        raise _Unfit(argument.spelled)
    return argument.spelled.removeprefix("+")


def _regular_expression(pattern: str, options: str) -> Any:
    return {"$regularExpression": {"pattern": pattern, "options": options}}


def _date(date: _Argument) -> Any:
    if type(date.value) not in (int, str):
        raise _Unfit(date.spelled)
    return {"$date": date.value if type(date.value) is str else {"$numberLong": str(date.value)}}


def _bin_data(subtype: _Argument, payload: _Argument) -> Any:
    if type(subtype.value) is not int or not 0 <= subtype.value <= 255:
        raise _Unfit(f"{subtype.spelled}, …")
    return {"$binary": {"base64": _text(payload), "subType": f"{subtype.value:02x}"}}


def _hex_data(subtype: _Argument, payload: _Argument) -> Any:
    try:
        encoded = base64.b64encode(bytes.fromhex(_text(payload))).decode()
    except ValueError:
        raise _Unfit(f"…, {payload.spelled}") from None
    return _bin_data(subtype, payload._replace(value=encoded))


def _timestamp(seconds: _Argument, increment: _Argument | None = None) -> Any:
    if increment is not None:
        return {"$timestamp": {"t": seconds.value, "i": increment.value}}
    if type(seconds.value) is not dict:
        raise _Unfit(seconds.spelled)
    return {"$timestamp": seconds.value}


def _reg_exp(pattern: _Argument, options: _Argument | None = None) -> Any:
    return _regular_expression(_text(pattern), _text(options) if options else "")


def _wrapped(key: str, read: Callable[[_Argument], Any]) -> Callable[[_Argument], Any]:
    def call(argument: _Argument) -> Any:
        return {key: read(argument)}

    return call


_NOT_FINITE: Final = [{"$numberDouble": name} for name in ("NaN", "Infinity", "-Infinity")]
_WORDS: Final[dict[str, Any]] = {"null": None, "true": True, "false": False}
_DATE: Final = 'a date such as ISODate("2020-01-02T03:04:05Z"), or milliseconds since 1970'
_DECIMAL: Final = 'a decimal number such as NumberDecimal("9.99")'
_LONG: Final = 'a whole number such as NumberLong("5")'
_INT: Final = "a whole number within 32 bits such as NumberInt(5)"
# Each function of the shell: what it makes of its arguments in Extended JSON, and what it takes.
_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], str]]] = {
    "ObjectId": (_wrapped("$oid", _text), 'ObjectId("…") with 24 hexadecimal digits'),
    "ISODate": (_date, _DATE),
    "Date": (_date, _DATE),
    "NumberLong": (_wrapped("$numberLong", _number_text), _LONG),
    "Long": (_wrapped("$numberLong", _number_text), _LONG),
    "NumberInt": (_wrapped("$numberInt", _number_text), _INT),
    "Int32": (_wrapped("$numberInt", _number_text), _INT),
    "NumberDecimal": (_wrapped("$numberDecimal", _number_text), _DECIMAL),
    "Decimal128": (_wrapped("$numberDecimal", _number_text), _DECIMAL),
    "Double": (_wrapped("$numberDouble", _number_text), "a number such as Double(5)"),
    "UUID": (_wrapped("$uuid", _text), 'UUID("…") with 32 hexadecimal digits and their hyphens'),
    "BinData": (_bin_data, 'BinData(subtype, "base64")'),
    "HexData": (_hex_data, 'HexData(subtype, "hexadecimal digits")'),
    "Timestamp": (_timestamp, "Timestamp(seconds, increment) or Timestamp({t: seconds, i: increment})"),
    "RegExp": (_reg_exp, 'RegExp("pattern", "options")'),
    "MinKey": (lambda: {"$minKey": 1}, "MinKey()"),
    "MaxKey": (lambda: {"$maxKey": 1}, "MaxKey()"),
}
_CALLS: Final = {name: call for name, (call, _) in _FUNCTIONS.items()}
_SIGNATURES: Final = {name: signature(call) for name, call in _CALLS.items()}
_SAYS: Final = {name: says for name, (_, says) in _FUNCTIONS.items()}


def _written(value: Any, indent: int | None, newline: str) -> Iterator[str]:
    """The pieces of a value; ``newline`` starts a line of the level that the value stands in, and is empty on one."""
    if type(value) not in (dict, list):
        yield _scalar(value)
        return
    # Not the whole: a document is read field by field, however few it has.
    if (len(newline) > 1 or (newline and type(value) is list)) and (line := _one_line(value)):
        yield line
        return
    opening, closing = "{}" if type(value) is dict else "[]"
    inner = newline and newline + " " * (indent or 0)
    separator = opening + inner
    for key, member in value.items() if type(value) is dict else ((None, each) for each in value):
        yield separator
        if key is not None:
            yield f"{_key(key)}: "
        yield from _written(member, indent, inner)
        separator = "," + (inner or " ")
    yield newline + closing if value else opening + closing


def _one_line(value: Any) -> str:
    """An array or object of a few scalars; empty where its members need lines of their own."""
    members = value.values() if type(value) is dict else value
    if len(value) > _LINE // 2 or any(type(each) in (dict, list) for each in members):
        return ""
    line = preview(value, limit=_LINE)
    return "" if line.endswith("…") else line


def _key(key: str) -> str:
    # What the shell itself takes without quotes; and not what JavaScript gives a meaning of its own.
    return key if _NAME.fullmatch(key) and key.isascii() and key != "__proto__" else _string(key)


def _string(text: str) -> str:
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _scalar(value: Any) -> str:
    if type(value) is str:
        return _string(value)
    if type(value) is float and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if type(value) is Int64:
        # Beyond 32 bits a whole number is a long by itself.
        return str(int(value)) if not -(2**31) <= value < 2**31 else f'NumberLong("{int(value)}")'
    if type(value) is Regex:
        return _regex_text(value)
    if type(value) in (bytes, UUID, Binary):
        return _binary_text(Binary.from_uuid(value) if type(value) is UUID else Binary(value, _subtype(value)))
    if type(value) is datetime:
        date = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
        return f'ISODate("{date.isoformat(timespec="milliseconds" if date.microsecond else "seconds")}Z")'
    plain = extjson.to_json(value)
    if type(plain) is not dict:
        return json.dumps(plain)
    ((key, operand),) = plain.items()
    return _SPELLINGS[key](operand)


def _subtype(value: Any) -> int:
    return value.subtype if type(value) is Binary else 0


def _binary_text(value: Binary) -> str:
    if value.subtype == 4 and len(value) == 16:
        return f'UUID("{UUID(bytes=bytes(value))}")'
    return f'BinData({value.subtype}, "{base64.b64encode(value).decode()}")'


def _regex_text(value: Regex[str]) -> str:
    """A literal where one says exactly this; what it cannot hold is written as the function's argument."""
    operand: dict[str, str] = extjson.to_json(value)["$regularExpression"]
    pattern, options = operand["pattern"], operand["options"]
    literal = "/" + pattern.replace("/", "\\/") + "/" + options
    read = _REGEX.fullmatch(literal)
    if read and read[1].replace("\\/", "/") == pattern and pattern.isprintable() and not _INVISIBLE.search(pattern):
        return literal
    return f"RegExp({_string(pattern)}{', ' + _string(options) if options else ''})"


# How what ``extjson.to_json`` makes of a value is spelled, by its key.
_SPELLINGS: Final[dict[str, Callable[[Any], str]]] = {
    "$oid": lambda operand: f'ObjectId("{operand}")',
    # Only what ``datetime`` cannot hold comes here.
    "$date": lambda operand: f"new Date({operand['$numberLong']})",
    "$numberDecimal": lambda operand: f'NumberDecimal("{operand}")',
    "$timestamp": lambda operand: f"Timestamp({operand['t']}, {operand['i']})",
    "$minKey": lambda _: "MinKey()",
    "$maxKey": lambda _: "MaxKey()",
}
