"""
Strings: joined, cut, searched, replaced and measured, in code points or in bytes of UTF-8.

Many of these look at their arguments one by one, each with its own code, before they ask for the next: they are
declared to take anything, and ask with ``_expect``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import bson
from bson import Decimal128, Int64, Regex, Timestamp

from connectome.errors import QueryError
from connectome.extjson import preview
from connectome.query.calendar import instant
from connectome.query.date_text import written
from connectome.query.expressions.dates import read_named
from connectome.query.expressions.language import (
    ANY,
    INT,
    NUMBER,
    OBJECT,
    STRING,
    Expression,
    Scope,
    Shape,
    Variables,
    folded,
    is_nullish,
    operator,
    syntax,
)
from connectome.query.patterns import Match, finder
from connectome.query.values import INT32, REGEX_FLAGS, Document, Value, regex_options, type_alias


def _expect(value: Value, shape: Shape, name: str, code: str) -> Any:
    """The value, of this shape, or else the error of the operator ``name``."""
    try:
        return shape.accept(value)
    except ValueError:
        raise QueryError(f"{name} needs {shape.says}, not {preview(value)}", code=code) from None


def _text(value: Value) -> str:
    """A value as the text that string operators take it for; null and missing are empty."""
    if type(value) is str:
        return value
    if is_nullish(value):
        return ""
    if type(value) is float:
        return f"{value:.16g}"
    if type(value) in (int, Int64, Decimal128):
        return str(value)
    if type(value) is Timestamp:
        return f"{value.as_datetime():%b %e %H:%M:%S}:{value.inc}"
    if type_alias(value) == "date":
        return written(instant(value))
    raise ValueError


MAX_TEXT: Final = 16 * 1024 * 1024
_TEXT: Final = Shape(_text, "a string, a number or a date", code="Location16007")


@operator("$concat", rest=ANY, nulls=False)
def concat(*values: Value) -> str | None:
    """The strings joined; null where one is null or missing."""
    for value in values:
        if is_nullish(value):
            return None
        _expect(value, STRING, "$concat", "Location16702")
    _expect_room(sum(map(len, values)), "$concat")
    return "".join(values)


def _expect_room(length: int, name: str) -> None:
    """Refuse a string of a length that no document holds: a few steps, each twice the last, would fill the memory."""
    if length > MAX_TEXT:
        raise QueryError(f"{name} makes a string of at most {MAX_TEXT} characters", code="ExceededMemoryLimit")


# MongoDB folds the letters of ASCII only; so do Python's bytes.


@operator("$toLower", _TEXT, nulls=False)
def to_lower(text: str) -> str:
    """A string with small letters for capital ones, of the ASCII alphabet; empty for null."""
    return text.encode().lower().decode()


@operator("$toUpper", _TEXT, nulls=False)
def to_upper(text: str) -> str:
    """A string with capital letters for small ones, of the ASCII alphabet; empty for null."""
    return text.encode().upper().decode()


@operator("$strcasecmp", _TEXT, _TEXT, nulls=False)
def strcasecmp(one: str, other: str) -> int:
    """-1, 0 or 1: how two strings compare, byte by byte, whatever the case of their ASCII letters."""
    one_folded, other_folded = one.encode().upper(), other.encode().upper()
    return (one_folded > other_folded) - (one_folded < other_folded)


# Measures.


@operator("$strLenBytes", STRING, nulls=False, code="Location34473")
def str_len_bytes(text: str) -> int:
    """How many bytes of UTF-8 a string has."""
    return len(text.encode())


@operator("$strLenCP", STRING, nulls=False, code="Location34471")
def str_len_cp(text: str) -> int:
    """How many code points a string has."""
    return len(text)


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if type(value) is str:
        return value.encode()
    raise ValueError


@operator("$binarySize", Shape(_bytes, "a string or binary data"), code="Location51276")
def binary_size(content: bytes) -> int:
    """How many bytes binary data, or a string in UTF-8, has."""
    return len(content)


@operator("$bsonSize", OBJECT, code="Location31393")
def bson_size(document: Document) -> int:
    """How many bytes a document has in BSON."""
    return len(bson.encode(document))


# Parts by position.


def _whole(number: Value) -> int:
    """A number without its fraction; a decimal is rounded to the nearest whole one, as MongoDB has it."""
    NUMBER.accept(number)
    try:
        return round(number.to_decimal()) if type(number) is Decimal128 else int(number)
    except OverflowError:  # an infinity
        raise ValueError from None


_A_POSITION: Final = Shape(_whole, "a number")


def _substr_bytes(name: str, says: str) -> None:
    def substr_bytes(text: str, start: Value, length: Value) -> str:
        start = _expect(start, _A_POSITION, f"the start of {name}", "Location16034")
        length = _expect(length, _A_POSITION, f"the length of {name}", "Location16035")
        if start < 0:
            raise QueryError(f"{name} starts at a byte from 0 on, not {start}", code="Location50752")
        content = text.encode()
        end = start + length if length >= 0 else len(content)
        for position, place, code in ((start, "starts", "Location28656"), (end, "ends", "Location28657")):
            if position < len(content) and content[position] & 0xC0 == 0x80:
                raise QueryError(f"{name} {place} in the middle of a character, at byte {position}", code=code)
        return content[start:end].decode()

    substr_bytes.__doc__ = says
    operator(name, _TEXT, ANY, ANY, nulls=False)(substr_bytes)


_substr_bytes("$substrBytes", "The part of a string from a byte of its UTF-8 on, so many bytes long, or to its end.")
_substr_bytes("$substr", "The part of a string by bytes: ``$substrBytes`` by its older name.")


def _index(value: Value, what: str, type_code: str, range_code: str) -> int:
    _expect(value, NUMBER, what, type_code)
    index: int = _expect(value, INT, what, range_code)
    return index


@operator("$substrCP", _TEXT, ANY, ANY, nulls=False)
def substr_cp(text: str, start: Value, length: Value) -> str:
    """The part of a string from a code point on, so many code points long."""
    start = _index(start, "the start of $substrCP", "Location34450", "Location34451")
    length = _index(length, "the length of $substrCP", "Location34452", "Location34453")
    if length < 0:
        raise QueryError(f"the length of $substrCP is not negative, as {length} is", code="Location34454")
    if start < 0:
        raise QueryError(f"the start of $substrCP is not negative, as {start} is", code="Location34455")
    return text[start : start + length]


def _bound(value: Value, what: str) -> int:
    bound: int = _expect(value, INT, what, "Location40096")
    if bound < 0:
        raise QueryError(f"{what} is not negative, as {bound} is", code="Location40097")
    return bound


def _index_of(name: str, codes: tuple[str, str], find: Callable[[str, str, int, int], int], says: str) -> None:
    def index_of(text: Value, part: Value, start: Value = 0, end: Value = INT32.stop - 1) -> int | None:
        if is_nullish(text):
            return None
        _expect(text, STRING, name, codes[0])
        _expect(part, STRING, f"the part that {name} looks for", codes[1])
        return find(text, part, _bound(start, f"the start of {name}"), _bound(end, f"the end of {name}"))

    index_of.__doc__ = says
    operator(name, ANY, ANY, ANY, ANY, optional=2, nulls=False)(index_of)


def _byte_index(text: str, part: str, start: int, end: int) -> int:
    return text.encode().find(part.encode(), start, end)


def _code_point_index(text: str, part: str, start: int, end: int) -> int:
    # Unlike the bytes, the part need only begin before the end; where the text is over, not even an empty one does.
    index = text.find(part, start) if start <= end else -1
    return index if index < min(end, len(text)) or not (text or part) else -1


_index_of(
    "$indexOfBytes",
    ("Location40091", "Location40092"),
    _byte_index,
    "The byte at which a string begins in another, between two bytes where these are given; -1 where it does not.",
)
_index_of(
    "$indexOfCP",
    ("Location40093", "Location40094"),
    _code_point_index,
    "The code point at which a string begins in another, between two of them where these are given, or else -1.",
)


@operator("$split", ANY, ANY)
def split(text: Value, separator: Value) -> list[str]:
    """The parts of a string that a separator parts, as an array."""
    _expect(text, STRING, "$split", "Location40085")
    _expect(separator, STRING, "the separator of $split", "Location40086")
    if not separator:
        raise QueryError("the separator of $split is not empty", code="Location40087")
    parts: list[str] = text.split(separator)
    return parts


# Trimmed and replaced.

_WHITESPACE: Final = "\0 \t\n\v\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"


def _trim(name: str, strip: Callable[[str, str], str], says: str) -> None:
    codes = {"object": "Location50696", "unknown": "Location50694", "input": "Location50695"}

    def compile_(operand: Value, scope: Scope) -> Expression:
        given = read_named(name, operand, scope, codes, ("input", "chars"))

        def evaluate(variables: Variables) -> str | None:
            text = given["input"].evaluate(variables)
            if is_nullish(text):
                return None
            _expect(text, STRING, name, "Location50699")
            if "chars" not in given:
                return strip(text, _WHITESPACE)
            characters = given["chars"].evaluate(variables)
            if is_nullish(characters):
                return None
            return strip(text, _expect(characters, STRING, f"chars of {name}", "Location50700"))

        return folded(evaluate, *given.values())

    compile_.__doc__ = says
    syntax(name)(compile_)


_trim("$trim", str.strip, "A string without the white space, or the characters in ``chars``, at both its ends.")
_trim("$ltrim", str.lstrip, "A string without the white space, or the characters in ``chars``, at its beginning.")
_trim("$rtrim", str.rstrip, "A string without the white space, or the characters in ``chars``, at its end.")


def _replace(name: str, times: int, says: str) -> None:
    arguments = {"input": "Location51746", "find": "Location51745", "replacement": "Location51744"}
    codes = {
        "object": "Location51751",
        "unknown": "Location51750",
        "input": "Location51749",
        "find": "Location51748",
        "replacement": "Location51747",
    }

    def compile_(operand: Value, scope: Scope) -> Expression:
        given = read_named(name, operand, scope, codes, tuple(arguments))

        def evaluate(variables: Variables) -> str | None:
            values = {key: given[key].evaluate(variables) for key in arguments}
            for key, code in arguments.items():
                if not is_nullish(values[key]):
                    _expect(values[key], STRING, f"{key} of {name}", code)
            if any(map(is_nullish, values.values())):
                return None
            text, find, replacement = values.values()
            count = text.count(find) if times < 0 else times
            _expect_room(len(text) + count * max(0, len(replacement) - len(find)), name)
            replaced: str = text.replace(find, replacement, times)
            return replaced

        return folded(evaluate, *given.values())

    compile_.__doc__ = says
    syntax(name)(compile_)


_replace("$replaceOne", 1, "A string with another put in place of the first occurrence of ``find``.")
_replace("$replaceAll", -1, "A string with another put in place of every occurrence of ``find``.")


# Regular expressions.

_Find = Callable[[str, int], Match | None]


def _regex(name: str, pattern: Value, options: Value = None) -> _Find | None:
    """
    The search that a pattern, a string or a regular expression, stands for; None where it is null or missing.

    Raises:
        QueryError: MongoDB's reason, in its order.
    """
    flags = ""
    if type(pattern) is Regex:
        flags = regex_options(pattern)
    elif not is_nullish(pattern):
        _expect(pattern, STRING, f"regex of {name}", "Location51105")
    if not is_nullish(options):
        _expect(options, STRING, f"options of {name}", "Location51106")
        if flags:
            raise QueryError(f"{name} has options in 'regex' and in 'options'", code="Location51107")
        flags = options
    if "\0" in flags:
        raise QueryError(f"options of {name} cannot contain a null character", code="Location51110")
    if is_nullish(pattern):
        return None
    if unknown := set(flags) - set("imsux"):
        raise QueryError(f"{name} knows the options i, m, s, u and x, not {min(unknown)}", code="Location51108")
    bits = 0
    for letter in flags:
        bits |= REGEX_FLAGS[letter]
    try:
        return finder(Regex(pattern.pattern if type(pattern) is Regex else pattern, bits))
    except QueryError as error:
        if error.code == "Location51091":
            error.code = "Location51111"
        raise


def _found(match: Match) -> Document:
    return {"match": match[0], "idx": match.start(), "captures": list(match.groups())}


def _matches(find: _Find, text: str) -> Iterator[Match]:
    """
    Every match that begins where the one before it ended.

    As MongoDB has it, an empty one moves on by one code point, and behind the last one that is not, at the end of
    the text, there is none.
    """
    position = 0
    while match := find(text, position):
        yield match
        position = match.end() + (match.end() == match.start())
        if position >= len(text):
            break


def _regex_operator(name: str, nothing: Callable[[], Value], answer: Callable[[_Find, str], Value], says: str) -> None:
    codes = {"object": "Location51103", "unknown": "Location31024", "input": "Location31022", "regex": "Location31023"}

    def compile_(operand: Value, scope: Scope) -> Expression:
        given = read_named(name, operand, scope, codes, ("input", "regex", "options"))
        pattern = folded(
            lambda variables: _regex(
                name, *(given[key].evaluate(variables) for key in ("regex", "options") if key in given)
            ),
            *(given[key] for key in ("regex", "options") if key in given),
        )

        def evaluate(variables: Variables) -> Value:
            find = pattern.evaluate(variables)
            text = given["input"].evaluate(variables)
            if not is_nullish(text):
                _expect(text, STRING, f"input of {name}", "Location51104")
            return nothing() if find is None or is_nullish(text) else answer(find, text)

        return folded(evaluate, given["input"], pattern)

    compile_.__doc__ = says
    syntax(name)(compile_)


def _first(find: _Find, text: str) -> Document | None:
    match = find(text, 0)
    return _found(match) if match else None


_regex_operator(
    "$regexMatch",
    lambda: False,
    lambda find, text: find(text, 0) is not None,
    "Whether a regular expression matches somewhere in a string.",
)
_regex_operator(
    "$regexFind",
    lambda: None,
    _first,
    "The first match of a regular expression in a string: the ``match``, its code point ``idx``, its ``captures``.",
)
_regex_operator(
    "$regexFindAll",
    list,
    lambda find, text: [_found(match) for match in _matches(find, text)],
    "Every match of a regular expression in a string, as an array of what ``$regexFind`` gives.",
)
