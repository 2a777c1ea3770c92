"""JSON text and Extended JSON v2.  Where MongoDB's BSON corpus has a case, it is the one that stands here."""

from __future__ import annotations

import gc
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import values as bson_values

from connectome import extjson
from connectome.errors import InvalidJSON

OID = "57e193d7a9cc81b4027498b5"
UUID_TEXT = "73ffd264-44b3-4c69-90e8-e7d1dfc035d4"
UUID_BYTES = UUID(UUID_TEXT).bytes
LAST_MS = 253402300799999
FIRST_MS = -62135596800000


@pytest.fixture(scope="module", params=["orjson", "json"], autouse=True)
def road(request):
    """Every test here runs twice: as with the extra ``fast`` installed, and as without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extjson, "_scan", getattr(extjson, f"_scan_with_{request.param}"))
        patch.setattr(extjson, "_write", getattr(extjson, f"_write_with_{request.param}"))
        yield request.param


def utc(*fields):
    return datetime(*fields, tzinfo=UTC)


def nested(levels, innermost="", opening="[", closing="]"):
    return opening * levels + innermost + closing * levels


def refusal(text):
    with pytest.raises(InvalidJSON) as caught:
        extjson.loads(text)
    return caught.value


def assert_same(left, right, *, type_of=type):
    """Equal in type, value and order of fields, NaN to NaN and -0.0 not to 0.0; ``==`` sees none of these."""
    assert type_of(left) == type_of(right)
    if type(left) is dict:
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key], type_of=type_of)
    elif type(left) is list:
        assert len(left) == len(right)
        for ours, theirs in zip(left, right, strict=True):
            assert_same(ours, theirs, type_of=type_of)
    elif type(left) is float:
        assert repr(left) == repr(right)
    elif type(left) is tuple:
        assert_same([*left], [*right], type_of=type_of)
    else:
        assert left == right


def bson_type(value):
    """Name the BSON type: an int beyond 32 bits and an Int64 are both a long."""
    if type(value) is int:
        return "int" if -(2**31) <= value < 2**31 else "long"
    return "long" if type(value) is Int64 else type(value).__name__


class TestPlainJSON:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("null", None),
            ("true", True),
            ("5", 5),
            ("-0", 0),
            ("5.0", 5.0),
            ("-0.0", -0.0),
            ("1e2", 100.0),
            ("1e-400", 0.0),
            ("9223372036854775807", 2**63 - 1),
            ("-9223372036854775808", -(2**63)),
            ('"é\\u00e9\\ud83d\\ude00"', "éé😀"),
            ('"\\u0000"', "\0"),
            (' {"b": [1, {}], "a": ""} ', {"b": [1, {}], "a": ""}),
        ],
    )
    def test_plain_json_is_read_as_it_is(self, text, value):
        """What JSON can say comes back as the plain Python value, a NUL inside a string included."""
        assert_same(extjson.loads(text), value)

    def test_bytes_are_utf8(self):
        """Bytes are read as UTF-8."""
        assert extjson.loads('{"é": "😀"}'.encode()) == {"é": "😀"}

    @pytest.mark.parametrize("text", [b"\xef\xbb\xbf[1]", "\ufeff[1]"])
    def test_a_byte_order_mark_is_skipped(self, text):
        """A byte order mark at the start is no part of the JSON."""
        assert extjson.loads(text) == [1]

    def test_query_operators_are_plain_keys(self):
        """Keys that start with a dollar and name no wrapper pass through, together and in their order."""
        query = {
            "name": {"$regex": "^a", "$options": "i", "$nin": ["ab"]},
            "kind": {"$type": "string"},
            "ref": {"$ref": "birds", "$id": 5, "$db": "zoo"},
            "$or": [{"n": {"$gt": 1}}, {"$set": {"$where": 1}}],
        }

        assert_same(extjson.loads(json.dumps(query)), query)

    def test_a_wrapper_stands_behind_an_operator(self):
        """The operand of an operator may be a wrapper."""
        text = '{"$regex": {"$regularExpression": {"pattern": "a", "options": ""}}, "$options": "ix"}'

        assert extjson.loads(text) == {"$regex": Regex("a"), "$options": "ix"}


WRAPPERS = [
    (f'{{"$oid": "{OID}"}}', ObjectId(OID)),
    (f'{{"$oid": "{OID.upper()}"}}', ObjectId(OID)),
    ('{"$numberInt": "42"}', 42),
    ('{"$numberInt": "-2147483648"}', -(2**31)),
    ('{"$numberLong": "42"}', Int64(42)),
    ('{"$numberLong": "-9223372036854775808"}', Int64(-(2**63))),
    ('{"$numberDouble": "1"}', 1.0),
    ('{"$numberDouble": "-0.0"}', -0.0),
    ('{"$numberDouble": "1.2345678901234568E+18"}', 1.2345678901234568e18),
    ('{"$numberDouble": "NaN"}', math.nan),
    ('{"$numberDouble": "Infinity"}', math.inf),
    ('{"$numberDouble": "-Infinity"}', -math.inf),
    ('{"$numberDecimal": "1234.50"}', Decimal128("1234.50")),
    ('{"$numberDecimal": "NaN"}', Decimal128("NaN")),
    ('{"$numberDecimal": "-Infinity"}', Decimal128("-Infinity")),
    ('{"$binary": {"base64": "//8=", "subType": "00"}}', Binary(b"\xff\xff", 0)),
    ('{"$binary": {"subType": "80", "base64": ""}}', Binary(b"", 0x80)),
    ('{"$binary": {"base64": "//8=", "subType": "5"}}', Binary(b"\xff\xff", 5)),
    (f'{{"$uuid": "{UUID_TEXT}"}}', Binary(UUID_BYTES, 4)),
    ('{"$regularExpression": {"pattern": "ab/\\\\d", "options": ""}}', Regex("ab/\\d")),
    ('{"$regularExpression": {"options": "xusmli", "pattern": "a"}}', Regex("a", "ilmsux")),
    ('{"$timestamp": {"t": 42, "i": 1}}', Timestamp(42, 1)),
    ('{"$timestamp": {"i": 4294967295, "t": 4294967295}}', Timestamp(2**32 - 1, 2**32 - 1)),
    ('{"$minKey": 1}', MinKey()),
    ('{"$maxKey": 1}', MaxKey()),
]

DATES = [
    ('"2020-01-02"', utc(2020, 1, 2)),
    ('"2020-01-02T03:04Z"', utc(2020, 1, 2, 3, 4)),
    ('"2020-01-02T03:04:05Z"', utc(2020, 1, 2, 3, 4, 5)),
    ('"2020-01-02T03:04:05.123Z"', utc(2020, 1, 2, 3, 4, 5, 123000)),
    ('"2020-01-02T03:04:05.5Z"', utc(2020, 1, 2, 3, 4, 5, 500000)),
    ('"2020-01-02T03:04:05.1239999999Z"', utc(2020, 1, 2, 3, 4, 5, 123000)),
    ('"2020-01-02T03:04:05+01:00"', utc(2020, 1, 2, 2, 4, 5)),
    ('"2020-01-02T03:04:05-0130"', utc(2020, 1, 2, 4, 34, 5)),
    ('"0001-01-01T00:00:00Z"', utc(1, 1, 1)),
    ('"0001-01-01T00:00:00+01:00"', DatetimeMS(FIRST_MS - 3_600_000)),
    ('"9999-12-31T23:59:59.999Z"', utc(9999, 12, 31, 23, 59, 59, 999000)),
    ("1356351330500", utc(2012, 12, 24, 12, 15, 30, 500000)),
    ("-1", utc(1969, 12, 31, 23, 59, 59, 999000)),
    ('{"$numberLong": "-284643869500"}', utc(1960, 12, 24, 12, 15, 30, 500000)),
    (f'{{"$numberLong": "{LAST_MS}"}}', utc(9999, 12, 31, 23, 59, 59, 999000)),
    (f'{{"$numberLong": "{LAST_MS + 1}"}}', DatetimeMS(LAST_MS + 1)),
    (f'{{"$numberLong": "{FIRST_MS - 1}"}}', DatetimeMS(FIRST_MS - 1)),
    ("9223372036854775807", DatetimeMS(2**63 - 1)),
]


class TestWrappers:
    @pytest.mark.parametrize(("text", "value"), WRAPPERS)
    def test_a_wrapper_is_read_as_its_type(self, text, value):
        """Every wrapper of the specification becomes its BSON type, whatever the order of its members."""
        assert_same(extjson.loads(text), value)

    @pytest.mark.parametrize(("operand", "value"), DATES)
    def test_a_date_is_read_to_the_millisecond(self, operand, value):
        """A date is a time in UTC, or milliseconds where Python's calendar ends; what is finer is cut off."""
        assert_same(extjson.loads(f'{{"$date": {operand}}}'), value)

    def test_wrappers_are_read_wherever_they_stand(self):
        """A wrapper in a field or in an array of arrays is read; what stands around it is kept."""
        text = '{"a": [1, [{"$minKey": 1}, "x"]], "b": {"c": {"$numberLong": "5"}, "d": null}}'

        assert_same(extjson.loads(text), {"a": [1, [MinKey(), "x"]], "b": {"c": Int64(5), "d": None}})

    def test_a_dollar_may_be_escaped(self):
        """Escapes are resolved before a wrapper is looked for."""
        assert extjson.loads('{"\\u0024minKey": 1}') == MinKey()

    @pytest.mark.parametrize("key", ["$code", "$symbol", "$dbPointer"])
    def test_an_unsupported_wrapper_beside_a_plain_key_is_plain(self, key):
        """What only looks like an unsupported type is a plain object."""
        assert extjson.loads(f'{{"{key}": "x", "n": 1}}') == {key: "x", "n": 1}


class TestRefusedJSON:
    @pytest.mark.parametrize(
        ("text", "detail"),
        [
            ('{"a": 1,\n "b" 2}', "line 2, column 6: expected ':' delimiter, not \"2\""),
            ("[1 2]", "line 1, column 4: expected ',' delimiter, not \"2\""),
            ("{'a': 1}", 'line 1, column 2: expected property name enclosed in double quotes, not "\'"'),
            ('{"a":', "line 1, column 6: expected value, not the end"),
            ("[nul]", 'line 1, column 2: expected value, not "n"'),
            ("[1,\n ]", 'line 2, column 2: expected value, not "]"'),
            ('{"a": 1, }', 'line 1, column 10: expected property name enclosed in double quotes, not "}"'),
            ("{} {}", 'line 1, column 4: expected the end, not "{"'),
            ('["abc', "line 1, column 2: Unterminated string"),
            ('"a\nb"', "line 1, column 3: Invalid control character"),
            ('"\\x"', "line 1, column 2: Invalid \\escape"),
            ("[\ud800]", 'line 1, column 2: expected value, not "\\ud800"'),
        ],
    )
    def test_malformed_text_is_placed_by_line_and_column(self, text, detail):
        """Text that is not JSON has no tree to point into: the detail says line, column and what is wrong."""
        error = refusal(text)

        assert error.pointer is None
        assert error.detail.startswith("malformed JSON in " + detail)

    @pytest.mark.parametrize("text", ["", b"", " \n", b"\xef\xbb\xbf"])
    def test_nothing_is_not_json(self, text):
        """An empty text, or one of white space, is refused as such."""
        error = refusal(text)

        assert error.pointer is None
        assert error.detail == "expected a JSON value, and nothing came: the text is empty"

    @pytest.mark.parametrize(
        ("text", "detail"),
        [
            (b'{"a": "\xff"}', "expected UTF-8, not 0xff at byte 7"),
            (b'\xef\xbb\xbf["\xc3"]', "expected UTF-8, not 0xc3 at byte 5"),
            (b'"\xed\xa0\x80"', "expected UTF-8, not 0xed at byte 1"),
            ("[1]".encode("utf-16"), "expected UTF-8, not 0xff at byte 0"),
        ],
    )
    def test_invalid_utf8_is_placed_by_its_byte(self, text, detail):
        """Bytes that are not UTF-8, surrogates among them, are refused with the offset in the whole text."""
        error = refusal(text)

        assert error.pointer is None
        assert error.detail.startswith(detail)

    @pytest.mark.parametrize(
        ("text", "pointer", "detail"),
        [
            ('{"a": {"x": 1, "y": 2, "x": 1}}', "/a/x", 'every key of an object once, not "x" twice'),
            ('[{"a": 1, "\\u0061": 2}]', "/0/a", '"a" twice'),
            # Texts that hold as many colons behind a quote as there are keys.
            ('{"a" :1,"a":2}', "/a", '"a" twice'),
            ('{"a"\n:1,"a"\t:2,"b":":"}', "/a", '"a" twice'),
            ('{"a":1,"a":2,"b":"\\u0022:"}', "/a", '"a" twice'),
            ('{"a":{"b":1,"c":2},"a":{"b":1,"c":2}}', "/a", '"a" twice'),
            ('{"a": {"$oid": "x", "$oid": "y"}}', "/a/$oid", '"$oid" twice'),
            ('{"\\ud800": 1, "\\ud800": 2}', "/\ufffd", '"\\ud800" twice'),
            ("NaN", "", "expected a number, not NaN"),
            ('{"a/b": [{"~": NaN}]}', "/a~1b/0/~0", 'write {"$numberDouble": "NaN"}'),
            ("[Infinity]", "/0", "expected a number, not Infinity"),
            ("[0, -Infinity]", "/1", "expected a number, not -Infinity"),
            ('{"a": 1e400}', "/a", "within the range of a 64-bit float, not 1e400"),
            ('{"a": -1e400}', "/a", "within the range of a 64-bit float, not -1e400"),
            ("[9223372036854775808]", "/0", "a whole number within 64 bits, not 9223372036854775808"),
            ("[-9223372036854775809]", "/0", "a whole number within 64 bits, not -9223372036854775809"),
            ("[" + "1" * 5000 + "]", "/0", "11… (5000 characters)"),
            ("[1, -" + "1" * 5000 + "]", "/1", "11… (5001 characters)"),
            ('"\\ud800"', "", 'expected Unicode text, not the lone surrogate in "\\ud800"'),
            ('{"a": ["\\udc00\\ud800"]}', "/a/0", "lone surrogate"),
            ('{"a": ["\ud800"]}', "/a/0", "lone surrogate"),
            ('{"a": {"b\\ud800": 1}}', "/a/b\ufffd", 'lone surrogate in "b\\ud800"'),
            ('{"\ud800": NaN}', "/\ufffd", "lone surrogate"),
            ('{"a": {"b\\u0000": 1}}', "/a/b\0", "expected a key without the NUL character"),
        ],
    )
    def test_what_would_be_converted_silently_is_refused_at_its_place(self, text, pointer, detail):
        """Keys, numbers and characters that Python would change or drop are refused with their pointer."""
        error = refusal(text)

        assert error.pointer == pointer
        assert detail in error.detail

    def test_an_error_can_always_be_sent(self):
        """Neither pointer nor detail ever holds a surrogate, whatever the text held."""
        error = refusal('{"\\ud800": {"\\udfff": {"$oid": "\\udabc"}}}')

        assert (error.detail + str(error.pointer)).encode()

    def test_the_first_fault_is_the_one_reported(self):
        """Of two faults, the one that stands first in the text is named."""
        assert refusal("[1, {}, 1e999, NaN]").pointer == "/2"


class TestDepth:
    @pytest.mark.parametrize("text", [nested(100), nested(100, "1", '{"a":', "}"), nested(50, "1", '[{"a":', "}]")])
    def test_a_hundred_levels_are_read(self, text):
        """The outermost array or object is level 1, and level 100 is still read."""
        assert extjson.loads(text) == json.loads(text)

    @pytest.mark.parametrize("levels", [101, 500, 5_000, 100_000])
    @pytest.mark.parametrize(
        ("opening", "closing", "innermost", "step"),
        [("[", "]", "", "/0"), ('{"a":', "}", "{}", "/a"), ('[7, "]", ', "]", "[]", "/2")],
    )
    def test_the_first_level_too_deep_is_pointed_at(self, levels, opening, closing, innermost, step):
        """However deep the text is, the pointer names the first object or array of level 101."""
        error = refusal(nested(levels, innermost, opening, closing))

        assert error.pointer == step * 100
        assert "at most 100 levels" in error.detail

    def test_the_pointer_finds_its_way_through_what_stands_before(self):
        """Members, arrays and strings before the deep place are counted, whatever brackets they hold."""
        before = '{"a": [1, {"]": "}\\"{"}, [[]], '

        error = refusal(before + nested(5_000) + "]}")

        assert error.pointer == "/a/3" + "/0" * 98

    def test_a_surrogate_does_not_reach_the_pointer_of_a_deep_place(self):
        """A key on the way to level 101 is shown with its surrogate replaced, however far the scanner got."""
        assert refusal('{"\\ud800":' + nested(5_000) + "}").pointer.startswith("/\ufffd")

    def test_a_wrapper_is_a_value_and_no_level(self):
        """Any wrapper may stand inside level 100."""
        text = nested(100, '{"$date": {"$numberLong": "0"}}, {"$timestamp": {"t": 1, "i": 1}}')

        value = extjson.loads(text)
        for _ in range(99):
            value = value[0]
        assert value == [utc(1970, 1, 1), Timestamp(1, 1)]

    def test_wrappers_in_wrappers_are_not_followed(self):
        """A tower of wrappers is refused at its first operand, or as too deep, without a RecursionError."""
        assert refusal(nested(300, "1", '{"$date":', "}")).pointer == "/$date"
        assert "levels" in refusal(nested(100_000, "1", '{"$date":', "}")).detail


class TestRefusedWrappers:
    @pytest.mark.parametrize(
        ("operand", "where", "expected", "came"),
        [
            ('{"$oid": 42}', "/$oid", "24 hexadecimal digits", "42"),
            ('{"$oid": "57e193d7a9cc81b4027498b"}', "/$oid", "24 hexadecimal", '"57e193d7a9cc81b4027498b"'),
            ('{"$oid": "57e193d7a9cc81b4027498b "}', "/$oid", "24 hexadecimal", '"57e193d7a9cc81b4027498b "'),
            ('{"$oid": [[1]]}', "/$oid", "24 hexadecimal digits", "an array"),
            ('{"$oid": {"$oid": "x"}}', "/$oid", "24 hexadecimal digits", 'an object with "$oid"'),
            ('{"$oid": NaN}', "/$oid", "a number", "NaN"),
            ('{"$numberInt": 42}', "/$numberInt", "32 bits, as a string", "42"),
            ('{"$numberInt": "2147483648"}', "/$numberInt", "32 bits", '"2147483648"'),
            ('{"$numberInt": "-2147483649"}', "/$numberInt", "32 bits", '"-2147483649"'),
            ('{"$numberInt": "4.0"}', "/$numberInt", "a whole number", '"4.0"'),
            ('{"$numberLong": 42}', "/$numberLong", "64 bits, as a string", "42"),
            ('{"$numberLong": "9223372036854775808"}', "/$numberLong", "64 bits", '"9223372036854775808"'),
            ('{"$numberLong": "٣"}', "/$numberLong", "a whole number", '"٣"'),
            ('{"$numberLong": "1_0"}', "/$numberLong", "a whole number", '"1_0"'),
            ('{"$numberLong": ""}', "/$numberLong", "a whole number", '""'),
            (f'{{"$numberLong": "{"1" * 5000}"}}', "/$numberLong", "64 bits", "11… (5002 characters)"),
            ('{"$numberDouble": 42}', "/$numberDouble", "as a string", "42"),
            ('{"$numberDouble": "nan"}', "/$numberDouble", '"NaN"', '"nan"'),
            ('{"$numberDouble": "1e400"}', "/$numberDouble", "the range of a 64-bit float", '"1e400"'),
            ('{"$numberDouble": "1_0.5"}', "/$numberDouble", "as a string", '"1_0.5"'),
            ('{"$numberDouble": " 1"}', "/$numberDouble", "as a string", '" 1"'),
            ('{"$numberDecimal": 42}', "/$numberDecimal", "a decimal number", "42"),
            ('{"$numberDecimal": "1.2.3"}', "/$numberDecimal", "a decimal number", '"1.2.3"'),
            ('{"$numberDecimal": "1E6145"}', "/$numberDecimal", "E+6144", '"1E6145"'),
            (f'{{"$numberDecimal": "{"1" * 35}"}}', "/$numberDecimal", "34 digits", f'"{"1" * 35}"'),
            ('{"$numberDecimal": "sNaN"}', "/$numberDecimal", "a decimal number", '"sNaN"'),
            ('{"$date": null}', "/$date", "ISO-8601", "null"),
            ('{"$date": true}', "/$date", "ISO-8601", "true"),
            ('{"$date": 1.5}', "/$date", "whole milliseconds", "1.5"),
            ('{"$date": 9223372036854775808}', "/$date", "within 64 bits", "9223372036854775808"),
            ('{"$date": "today"}', "/$date", "ISO-8601", '"today"'),
            ('{"$date": "20200102"}', "/$date", "ISO-8601", '"20200102"'),
            ('{"$date": "2020-02-30"}', "/$date", "ISO-8601", '"2020-02-30"'),
            ('{"$date": "0000-01-01"}', "/$date", "ISO-8601", '"0000-01-01"'),
            ('{"$date": "2020-01-02T03:04:05"}', "/$date", "+01:00", '"2020-01-02T03:04:05"'),
            ('{"$date": "2020-01-02T24:00Z"}', "/$date", "ISO-8601", '"2020-01-02T24:00Z"'),
            ('{"$date": "2020-01-02T03:04:60Z"}', "/$date", "ISO-8601", '"2020-01-02T03:04:60Z"'),
            ('{"$date": "2020-01-02T03:04+01:75"}', "/$date", "ISO-8601", '"2020-01-02T03:04+01:75"'),
            ('{"$date": {}}', "/$date", '"$numberLong"', "an object with nothing in it"),
            ('{"$date": {"$numberLong": 5}}', "/$date/$numberLong", "64 bits, as a string", "5"),
            ('{"$date": {"$numberLong": "5", "a": 1}}', "/$date", '"$numberLong"', '"$numberLong", "a"'),
            ('{"$binary": "AQID"}', "/$binary", 'an object with "base64" and "subType"', '"AQID"'),
            ('{"$binary": {"base64": "AQID"}}', "/$binary", '"base64" and "subType"', 'with "base64"'),
            ('{"$binary": {"base64": "AQI", "subType": "00"}}', "/$binary/base64", "padding", '"AQI"'),
            ('{"$binary": {"base64": "A?ID", "subType": "00"}}', "/$binary/base64", "base64", '"A?ID"'),
            ('{"$binary": {"base64": "//9=", "subType": "00"}}', "/$binary/base64", "base64", '"//9="'),
            ('{"$binary": {"base64": 1, "subType": "00"}}', "/$binary/base64", "base64", "1"),
            ('{"$binary": {"base64": "", "subType": 0}}', "/$binary/subType", "hexadecimal digits", "0"),
            ('{"$binary": {"base64": "", "subType": "100"}}', "/$binary/subType", "one or two", '"100"'),
            (f'{{"$uuid": "{UUID_TEXT.replace("-", "")}"}}', "/$uuid", "with its hyphens", '"73ffd264'),
            ('{"$uuid": {"data": ""}}', "/$uuid", "a UUID", 'an object with "data"'),
            ('{"$regularExpression": "a"}', "/$regularExpression", '"pattern" and "options"', '"a"'),
            (
                '{"$regularExpression": {"pattern": 1, "options": ""}}',
                "/$regularExpression/pattern",
                "a pattern",
                "1",
            ),
            (
                '{"$regularExpression": {"pattern": "a\\u0000", "options": ""}}',
                "/$regularExpression/pattern",
                "without NUL",
                '"a\\u0000"',
            ),
            (
                '{"$regularExpression": {"pattern": "\\ud800", "options": ""}}',
                "/$regularExpression/pattern",
                "lone surrogates",
                '"\\ud800"',
            ),
            (
                '{"$regularExpression": {"pattern": "a", "options": "ig"}}',
                "/$regularExpression/options",
                '"ilmsux"',
                '"ig"',
            ),
            ('{"$timestamp": 42}', "/$timestamp", '"t" and "i"', "42"),
            ('{"$timestamp": {"t": 1}}', "/$timestamp", '"t" and "i"', 'an object with "t"'),
            ('{"$timestamp": {"t": "1", "i": 1}}', "/$timestamp/t", "from 0 to 4294967295", '"1"'),
            ('{"$timestamp": {"t": 1, "i": -1}}', "/$timestamp/i", "from 0 to 4294967295", "-1"),
            ('{"$timestamp": {"t": 1, "i": 4294967296}}', "/$timestamp/i", "from 0 to", "4294967296"),
            ('{"$timestamp": {"t": 1, "i": 1, "i": 1}}', "/$timestamp/i", "every key", '"i" twice'),
            ('{"$minKey": true}', "/$minKey", "1", "true"),
            ('{"$minKey": 0}', "/$minKey", "1", "0"),
            ('{"$maxKey": 1.0}', "/$maxKey", "1", "1.0"),
        ],
    )
    def test_a_malformed_operand_is_refused_at_its_place(self, operand, where, expected, came):
        """A wrapper with a wrong operand names the operand, what it should be and what it is."""
        error = refusal(f'{{"a": [{operand}]}}')

        assert error.pointer == "/a/0" + where
        assert error.detail.startswith("expected ")
        assert expected in error.detail.split(", not ")[0]
        assert came in error.detail.split(", not ")[-1]

    @pytest.mark.parametrize(
        ("text", "pointer", "key", "other"),
        [
            (f'{{"a": {{"$oid": "{OID}", "n": 1}}}}', "/a", "$oid", "n"),
            ('{"n": 1, "$date": 0}', "", "$date", "n"),
            ('[{"$numberLong": "1", "$numberInt": "1"}]', "/0", "$numberLong", "$numberInt"),
            ('{"$binary": "AQID", "$type": "00"}', "", "$binary", "$type"),
            ('{"$code": "f()", "$minKey": 1}', "", "$minKey", "$code"),
        ],
    )
    def test_a_wrapper_stands_alone(self, text, pointer, key, other):
        """A wrapper beside any other key is neither document nor value: both keys are named."""
        error = refusal(text)

        assert error.pointer == pointer
        assert error.detail == f'expected {key} as the only key of its object, not beside "{other}"'

    @pytest.mark.parametrize(
        ("operand", "key", "reason"),
        [
            ('{"$code": "f()"}', "$code", "no server-side JavaScript"),
            ('{"$code": "f()", "$scope": {}}', "$code", "no server-side JavaScript"),
            ('{"$scope": {}}', "$scope", "no server-side JavaScript"),
            ('{"$symbol": "x"}', "$symbol", "deprecated"),
            ('{"$undefined": true}', "$undefined", "deprecated"),
            (f'{{"$dbPointer": {{"$ref": "a", "$id": {{"$oid": "{OID}"}}}}}}', "$dbPointer", "deprecated"),
        ],
    )
    def test_an_unsupported_type_is_refused_by_name(self, operand, key, reason):
        """JavaScript and the deprecated BSON types are refused with the reason."""
        error = refusal(f'{{"a": {operand}}}')

        assert error.pointer == f"/a/{key}"
        assert f"{key} is not supported" in error.detail
        assert reason in error.detail


class TestDumps:
    @pytest.mark.parametrize(
        ("value", "relaxed", "canonical"),
        [
            (None, "null", "null"),
            (True, "true", "true"),
            ("é\n😀", '"é\\n😀"', '"é\\n😀"'),
            (5, "5", '{"$numberInt":"5"}'),
            (-(2**31), "-2147483648", '{"$numberInt":"-2147483648"}'),
            (2**31, "2147483648", '{"$numberLong":"2147483648"}'),
            (Int64(5), "5", '{"$numberLong":"5"}'),
            (Int64(2**40), "1099511627776", '{"$numberLong":"1099511627776"}'),
            (5.0, "5.0", '{"$numberDouble":"5.0"}'),
            (-0.0, "-0.0", '{"$numberDouble":"-0.0"}'),
            (1.2345678901234568e18, "1.2345678901234568e+18", '{"$numberDouble":"1.2345678901234568e+18"}'),
            (math.nan, '{"$numberDouble":"NaN"}', '{"$numberDouble":"NaN"}'),
            (math.inf, '{"$numberDouble":"Infinity"}', '{"$numberDouble":"Infinity"}'),
            (-math.inf, '{"$numberDouble":"-Infinity"}', '{"$numberDouble":"-Infinity"}'),
            (Decimal128("1.50"), '{"$numberDecimal":"1.50"}', '{"$numberDecimal":"1.50"}'),
            (ObjectId(OID), f'{{"$oid":"{OID}"}}', f'{{"$oid":"{OID}"}}'),
            (utc(1970, 1, 1), '{"$date":"1970-01-01T00:00:00Z"}', '{"$date":{"$numberLong":"0"}}'),
            (
                utc(2012, 12, 24, 12, 15, 30, 50999),
                '{"$date":"2012-12-24T12:15:30.050Z"}',
                '{"$date":{"$numberLong":"1356351330050"}}',
            ),
            (
                utc(9999, 12, 31, 23, 59, 59, 999000),
                '{"$date":"9999-12-31T23:59:59.999Z"}',
                f'{{"$date":{{"$numberLong":"{LAST_MS}"}}}}',
            ),
            (
                utc(1969, 12, 31, 23, 59, 59, 999000),
                '{"$date":{"$numberLong":"-1"}}',
                '{"$date":{"$numberLong":"-1"}}',
            ),
            (
                DatetimeMS(LAST_MS + 1),
                f'{{"$date":{{"$numberLong":"{LAST_MS + 1}"}}}}',
                f'{{"$date":{{"$numberLong":"{LAST_MS + 1}"}}}}',
            ),
            (datetime(2020, 1, 2), '{"$date":"2020-01-02T00:00:00Z"}', None),
            (
                datetime(2020, 1, 2, tzinfo=timezone(timedelta(hours=2))),
                '{"$date":"2020-01-01T22:00:00Z"}',
                None,
            ),
            (Binary(b"\xff\xff", 5), '{"$binary":{"base64":"//8=","subType":"05"}}', None),
            (b"\xff\xff", '{"$binary":{"base64":"//8=","subType":"00"}}', None),
            (
                Binary(UUID_BYTES, 4),
                f'{{"$uuid":"{UUID_TEXT}"}}',
                '{"$binary":{"base64":"c//SZESzTGmQ6OfR38A11A==","subType":"04"}}',
            ),
            (
                UUID(UUID_TEXT),
                f'{{"$uuid":"{UUID_TEXT}"}}',
                '{"$binary":{"base64":"c//SZESzTGmQ6OfR38A11A==","subType":"04"}}',
            ),
            (Binary(b"\xff\xff", 4), '{"$binary":{"base64":"//8=","subType":"04"}}', None),
            (
                Regex("a/b", "xusmli"),
                '{"$regularExpression":{"pattern":"a/b","options":"ilmsux"}}',
                '{"$regularExpression":{"pattern":"a/b","options":"ilmsux"}}',
            ),
            (Timestamp(42, 1), '{"$timestamp":{"t":42,"i":1}}', '{"$timestamp":{"t":42,"i":1}}'),
            (MinKey(), '{"$minKey":1}', '{"$minKey":1}'),
            (MaxKey(), '{"$maxKey":1}', '{"$maxKey":1}'),
            (
                {"b": [1, Int64(2)], "a": {"é": MinKey()}},
                '{"b":[1,2],"a":{"é":{"$minKey":1}}}',
                '{"b":[{"$numberInt":"1"},{"$numberLong":"2"}],"a":{"é":{"$minKey":1}}}',
            ),
        ],
    )
    def test_a_value_is_written_as_the_specification_shows(self, value, relaxed, canonical):
        """Compact text, fields in order, characters as they are; canonical names every numeric type."""
        assert extjson.dumps(value) == relaxed
        if canonical is not None:
            assert extjson.dumps(value, mode="canonical") == canonical

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Int64(5), '{"$numberLong":"5"}'),
            (Int64(-(2**31)), '{"$numberLong":"-2147483648"}'),
            (Int64(2**31), "2147483648"),
            (5, "5"),
            (2**40, "1099511627776"),
            (5.0, "5.0"),
            (Binary(UUID_BYTES, 4), f'{{"$uuid":"{UUID_TEXT}"}}'),
            (utc(2020, 1, 2), '{"$date":"2020-01-02T00:00:00Z"}'),
        ],
    )
    def test_stored_is_relaxed_but_keeps_a_small_int64(self, value, text):
        """Only an Int64 that would come back as int32 is written otherwise than relaxed."""
        assert extjson.dumps(value, mode="stored") == text

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            ({1, 2}, "builtins.set"),
            ({"a": [Decimal(1)]}, "decimal.Decimal"),
            ((1, 2), "builtins.tuple"),
            (Code("f()"), "bson.code.Code"),
        ],
    )
    @pytest.mark.parametrize("mode", ["relaxed", "canonical", "stored"])
    def test_any_other_type_is_named(self, value, name, mode):
        """A Python type that no BSON type stands for is a TypeError with its name."""
        with pytest.raises(TypeError, match=f"^{name} has no Extended JSON"):
            extjson.to_json(value, mode=mode)

    @pytest.mark.parametrize("document", [{"$date": 5}, {"n": 1, "$oid": 2}, {"$code": "x"}])
    def test_a_field_named_like_a_wrapper_is_not_stored(self, document):
        """Such a document, which loads never makes, could not be read back from its file."""
        with pytest.raises(ValueError, match="Extended JSON"):
            extjson.to_json([document], mode="stored")

    def test_a_field_named_like_an_unsupported_wrapper_is_stored_beside_another(self):
        """What loads takes for a plain object is written as one."""
        assert extjson.dumps({"$code": "x", "n": 1}, mode="stored") == '{"$code":"x","n":1}'

    def test_the_value_is_not_changed(self):
        """Encoding returns a new structure and leaves the document alone."""
        inner = [Int64(5), "x"]
        document = {"a": inner, "b": 1}

        assert extjson.to_json(document, mode="canonical") != document
        assert document == {"a": inner, "b": 1}
        assert_same(inner, [Int64(5), "x"])

    def test_plain_documents_are_not_copied(self):
        """A document without special types is its own JSON structure."""
        document = {"a": [1, 2.5, {"b": None}], "c": "x"}

        assert extjson.to_json(document) is document
        assert extjson.to_json(document, mode="stored") is document


class TestFromJSON:
    @pytest.mark.parametrize(("text", "value"), WRAPPERS)
    def test_wrappers_are_decoded(self, text, value):
        """What json.load read is decoded as loads decodes it."""
        assert_same(extjson.from_json({"a": [json.loads(text)]}), {"a": [value]})

    def test_the_structure_is_not_changed(self):
        """Decoding returns a new structure where something changed, and the same object where nothing did."""
        plain = {"x": [1, "y"]}
        structure = {"a": {"$numberLong": "5"}, "b": plain}

        decoded = extjson.from_json(structure)

        assert_same(decoded, {"a": Int64(5), "b": {"x": [1, "y"]}})
        assert structure == {"a": {"$numberLong": "5"}, "b": {"x": [1, "y"]}}
        assert decoded["b"] is plain

    def test_a_stored_document_may_be_deeper_than_a_request(self):
        """Depth is a limit for what comes from outside, not for what is kept."""
        deep = json.loads(nested(200, '{"$minKey": 1}'))

        value = extjson.from_json(deep)

        for _ in range(200):
            value = value[0]
        assert value == MinKey()

    def test_a_damaged_wrapper_is_pointed_at(self):
        """A file that was changed by hand is refused with the place of the damage."""
        with pytest.raises(InvalidJSON) as caught:
            extjson.from_json({"birds": [{"seen": {"$date": "yesterday"}}]})

        assert caught.value.pointer == "/birds/0/seen/$date"


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$"), max_size=8),
    st.sampled_from(["$gt", "$set", "$regex", "$options", "$type", "$ref", "$id", "a.b", "a/b", "~"]),
)
INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-5, 5)
PLAIN_SCALARS = st.one_of(
    st.none(), st.booleans(), SMALL, INT64, st.floats(allow_nan=False, allow_infinity=False), TEXT
)
SCALARS = st.one_of(
    PLAIN_SCALARS,
    st.sampled_from([math.nan, math.inf, -math.inf, MinKey(), MaxKey()]),
    st.builds(Int64, SMALL | INT64),
    st.builds(ObjectId, st.binary(min_size=12, max_size=12)),
    st.integers(FIRST_MS, LAST_MS).map(lambda ms: utc(1970, 1, 1) + timedelta(milliseconds=ms)),
    st.builds(DatetimeMS, st.integers(LAST_MS + 1, 2**63 - 1) | st.integers(-(2**63), FIRST_MS - 1)),
    st.decimals(allow_nan=False, places=5, min_value=-(10**20), max_value=10**20).map(Decimal128),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "-0", "1E+6144", "1E-6176"]).map(Decimal128),
    st.builds(Binary, st.binary(max_size=20), st.integers(0, 255)),
    st.builds(Binary, st.binary(min_size=16, max_size=16), st.just(4)),
    st.builds(
        Regex,
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        st.lists(st.sampled_from("ilmsux")).map("".join),
    ),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)


def trees(scalars):
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


class TestLaws:
    @given(trees(SCALARS))
    @settings(deadline=None)
    def test_what_is_stored_comes_back(self, value):
        """Every value survives the stored form, in text and as a structure, with its BSON type."""
        assert_same(extjson.loads(extjson.dumps(value, mode="stored")), value, type_of=bson_type)
        assert_same(extjson.from_json(extjson.to_json(value, mode="stored")), value, type_of=bson_type)

    @given(trees(SCALARS))
    @settings(deadline=None)
    def test_canonical_comes_back(self, value):
        """Every value survives the canonical form with its BSON type."""
        assert_same(extjson.loads(extjson.dumps(value, mode="canonical")), value, type_of=bson_type)

    @given(trees(SCALARS))
    @settings(deadline=None)
    def test_relaxed_loses_the_width_of_whole_numbers_at_most(self, value):
        """Every value survives the relaxed form, but for an Int64 that fits 32 bits."""

        def whole(value):
            return "whole" if bson_type(value) in ("int", "long") else type(value).__name__

        assert_same(extjson.loads(extjson.dumps(value)), value, type_of=whole)

    @given(trees(PLAIN_SCALARS), st.booleans(), st.sampled_from([None, 2]))
    @settings(deadline=None)
    def test_plain_json_is_read_as_json_reads_it(self, value, ensure_ascii, indent):
        """On plain JSON, escaped or not, spaced or not, loads and json.loads agree."""
        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

        assert_same(extjson.loads(text), json.loads(text))
        assert_same(extjson.loads(text.encode()), json.loads(text))

    @given(trees(SCALARS), st.sampled_from(["relaxed", "canonical", "stored"]))
    @settings(deadline=None)
    def test_dumps_writes_what_to_json_returns(self, value, mode):
        """The text is exactly the compact JSON of the structure, which json can write in strict mode."""
        structure = extjson.to_json(value, mode=mode)

        written = json.dumps(structure, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        assert extjson.dumps(value, mode=mode) == written

    @given(st.binary(max_size=30) | st.text('[]{}",:0e.-\\u d8"$oiNa', max_size=30))
    @settings(deadline=None)
    def test_any_text_is_read_or_refused(self, text):
        """Whatever comes, loads returns a value or raises InvalidJSON, and the error can be sent."""
        try:
            value = extjson.loads(text)
        except InvalidJSON as error:
            value = error.detail + str(error.pointer)
        assert isinstance(extjson.dumps(value).encode(), bytes)


def outcome(function, *arguments, **options):
    """What a call returned, or what it raised, in the words and with the pointer of the error."""
    try:
        return function(*arguments, **options)
    except InvalidJSON as error:
        return InvalidJSON, error.detail, error.pointer
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def spaced(texts):
    return st.tuples(st.sampled_from(["", "", "", " ", "\n", "\t\r "]), texts).map("".join)


# What looks like something else to whoever counts characters.
KEY_TEXTS = st.sampled_from(
    ['"a"', '"b"', '"c"', '"\\u0061"', '"a\\":"', '"\\u0022:"', '"\\u0000"', '"$date"', '"$code"']
)
STRING_TEXTS = st.sampled_from(
    [
        "",
        "a",
        "b",
        "\\u0061",
        'a\\":',
        ":",
        " :",
        "\\\\",
        "\\u0022:",
        "\\u0000",
        "\\ud800",
        "\\ud83d\\ude00",
        "é",
        "\ud800",
        "https://example.org/",
        "2020-01-02T00:00:00Z",
        "1" * 25,
        "1e400",
        "NaN",
        "\\/",
        "\n",
        "\x7f",
        "$date",
        "$oid",
        OID,
        "$numberLong",
        "$uuid",
        "$code",
        "\\u0024minKey",
        "5e1234",
    ]
).map('"{}"'.format)
NUMBER_TEXTS = st.one_of(
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "1",
            "1E400",
            "1e-400",
            "-1e+0400",
            "1e308",
            "1.7976931348623159e308",
            "9" * 18,
            "9" * 19,
            "1" * 19,
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "0." + "9" * 30,
            "9" * 30 + ".5",
            "1" * 5000,
            "1e5",
            "1E+5",
            "01",
            "1.",
            "NaN",
            "-Infinity",
            "2.2250738585072011e-308",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A-?[1-9][0-9]{16,21}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\Z"),
)
JSON_TEXTS = st.recursive(
    st.one_of(STRING_TEXTS, NUMBER_TEXTS, st.sampled_from(["null", "true", "false", "nul"])),
    lambda inner: (
        st.lists(spaced(inner), max_size=4).map(lambda texts: f"[{','.join(texts)}]")
        | st.lists(
            st.tuples(spaced(KEY_TEXTS | STRING_TEXTS), spaced(st.just(":")), spaced(inner)).map("".join), max_size=4
        ).map(lambda texts: f"{{{','.join(texts)}}}")
        | st.tuples(inner, st.sampled_from([1, 99, 100, 101, 600, 1100])).map(lambda deep: nested(deep[1], deep[0]))
    ),
    max_leaves=10,
)


@st.composite
def damaged(draw, texts):
    """A text of which a part is repeated, or left out."""
    text = draw(texts)
    start, end = sorted(draw(st.tuples(*[st.integers(0, min(len(text), 100))] * 2)))
    return text[:start] + text[start:end] * draw(st.sampled_from([0, 2])) + text[end:]


ORDINARY = {
    "a document": {"title": "Movie", "year": 2010, "rating": 7.5, "cast": [{"name": "A"}, {"name": "B"}], "plot": None},
    "colons in strings": {"url": "https://example.org:80/", "at": "2020-01-02T03:04:05Z"},
    "long digits": {
        "ids": ["9" * 30, "0e" + "9" * 22],
        "fraction": 0.0009876543210987654,
        "tweet": 1234567890123456789,
    },
    "escapes": {"text": 'é\t"\\/\n', "empty": {}},
    "operators": {"query": {"year": {"$gte": 1990}, "genres": {"$in": ["Drama"]}}, "limit": 10},
    "typed values": {"released": {"$date": "2010-12-11T00:00:00Z"}, "ref": {"$oid": OID}},
    "a large text": [{"a": [{"b": 1.5}]}] * 10_000,
}


class TestBothReaders:
    @pytest.mark.parametrize("value", ORDINARY.values(), ids=ORDINARY)
    @pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
    def test_ordinary_text_is_read_once(self, value, separators, monkeypatch):
        """What is plainly right is not read a second time by the strict reader."""
        text = json.dumps(value, separators=separators).encode()
        expected = extjson._read_strictly(text, extjson.WRAPPERS)
        monkeypatch.setattr(extjson, "_read_strictly", None)

        assert_same(extjson.loads(text), expected)

    @given(JSON_TEXTS | damaged(JSON_TEXTS), st.booleans(), st.sampled_from(["", "\ufeff", "\n "]))
    @settings(max_examples=500, deadline=None)
    def test_every_text_is_read_as_the_strict_reader_reads_it(self, text, extended, before):
        """The same value down to types and order of fields, or the same words at the same place."""
        text = before + text

        wrappers = extjson.WRAPPERS if extended else frozenset()

        for content in (text, text.encode("utf-8", "surrogatepass")):
            strictly = outcome(extjson._read_strictly, content, wrappers)
            assert_same(outcome(extjson.loads, content, extended=extended), strictly)

    @pytest.mark.parametrize("end", ["]", "!"])
    @pytest.mark.parametrize("running", [True, False])
    def test_the_collector_is_left_as_it_was(self, end, running):
        """A large text, read or refused, does not switch the garbage collector on or off for good."""
        (gc.enable if running else gc.disable)()
        try:
            outcome(extjson.loads, "[" + "1," * 100_000 + "1" + end)
            assert gc.isenabled() == running
        finally:
            gc.enable()


ODDITIES = [
    *[1e16, -1e16, 9999999999999998.0, 1e-4, -1e-4, 9.999e-05, -9.999e-05, 1e-5, 5e-324, 1.5e300, -0.0],
    *[2**63, -(2**63) - 1, 2**64, Decimal(1), True],
    *["\ud800", Regex("\ud800"), type("Text", (str,), {})("x"), UUID(UUID_TEXT), b"x", datetime(2020, 1, 2)],
    *[(1,), {1}, {1: 2}, {None: 1}, {1.5: 1}, {"$oid": 1}, {"$code": 1, "a": 2}, {"$date": {"a": 1}}],
]


@pytest.mark.parametrize("road", ["orjson"], indirect=True)
class TestBothWriters:
    @pytest.mark.parametrize("value", ODDITIES, ids=repr)
    @pytest.mark.parametrize("mode", ["relaxed", "canonical", "stored"])
    def test_an_odd_value_is_written_as_json_writes_it(self, value, mode):
        """The same bytes, or the same error, wherever it stands."""
        for written in (value, [value], {"a": {"b": value}}):
            as_json = outcome(extjson._write_with_json, written, mode)
            assert outcome(extjson.encode, written, mode=mode) == as_json

    @given(trees(SCALARS), st.sampled_from(["relaxed", "canonical", "stored"]))
    @settings(deadline=None)
    def test_every_value_is_written_as_json_writes_it(self, value, mode):
        """The same bytes, or the same error."""
        assert outcome(extjson.encode, value, mode=mode) == outcome(extjson._write_with_json, value, mode)

    def test_every_character_is_written_as_json_writes_it(self):
        """No character is escaped by one writer alone, in a key or in a string."""
        text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)

        assert extjson.encode({text: text}) == extjson._write_with_json({text: text}, "relaxed")

    @given(trees(SCALARS))
    @settings(deadline=None)
    def test_what_is_encoded_comes_back(self, value):
        """Bytes as they are stored are read again, with the types that they had."""
        assert_same(extjson.loads(extjson.encode(value, mode="stored")), value, type_of=bson_type)

    def test_deep_documents_are_written(self):
        """A document may be deeper than orjson writes."""
        assert extjson.dumps(json.loads(nested(400))) == nested(400)


class TestParse:
    @pytest.mark.parametrize(
        "text",
        [
            '{"_default":{"1":{"_id":1,"a":[1.5,null,true,"x"]}}}',
            "[1e400,-1e400,1e16,-0.0,0.1]",
            "[NaN,Infinity,-Infinity]",
            "[9223372036854775807,9223372036854775808,123456789012345678901234567890]",
            '"1234567890123456789012345"',
            '{"a":1,"a":2}',
            '"\\ud800"',
            '{"$numberLong":"1"}',
            "[" * 500 + "]" * 500,
        ],
    )
    def test_it_is_what_json_reads(self, text):
        """What a file of plain TinyDB may hold, the odd values included, is never read as something else."""
        got, expected = extjson.parse(text.encode()), json.loads(text)

        assert repr(got) == repr(expected)

    @pytest.mark.parametrize("text", ["", "{", '{"a":1,}', "[1] 2", "nul"])
    def test_what_json_refuses_is_refused(self, text):
        """With its own words and place."""
        with pytest.raises(json.JSONDecodeError) as caught:
            extjson.parse(text.encode())
        with pytest.raises(json.JSONDecodeError) as expected:
            json.loads(text)

        assert str(caught.value) == str(expected.value)


stored = st.dictionaries(st.sampled_from(["a", "b", 'quo"te', "back\\slash", "é", "", "$odd"]), bson_values, max_size=4)


class TestParts:
    """What reads only some of what was written, with msgspec and without."""

    @pytest.fixture(params=[True, False], ids=["msgspec", "decoded"])
    def readers(self, request, monkeypatch):
        monkeypatch.setattr(extjson, "HAS_MSGSPEC", request.param)

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(stored, st.lists(st.sampled_from(["a", "b", 'quo"te', "back\\slash", "é", ""]), unique=True))
    def test_members_are_those_of_the_whole(self, readers, document, names):
        """The same values, types included, and ABSENT where there is none."""
        text = extjson.encode(document, mode="stored")
        whole = extjson.decode(text)

        found = extjson.members(names)([text, text])

        assert len(found) == len(names)
        for name, values in zip(names, found, strict=True):
            for value in values:
                if name in whole:
                    assert_same(value, whole[name])
                else:
                    assert value is extjson.ABSENT
            assert len(values) == 2

    @settings(deadline=None)
    @given(stored, st.sets(st.sampled_from(["a", "b", 'quo"te', "back\\slash", "é", ""])))
    def test_keeping_is_writing_what_is_kept(self, document, names):
        """In the order of the document, byte for byte."""
        text = extjson.encode(document, mode="stored")

        assert extjson.keeping(names)(text) == extjson.encode(
            {name: value for name, value in document.items() if name in names}, mode="stored"
        )

    @settings(deadline=None)
    @given(st.dictionaries(st.sampled_from(["_default", "other"]), st.dictionaries(st.sampled_from("123"), stored)))
    def test_split_gives_the_text_of_each(self, tables):
        """As it was written, to the byte."""
        content = extjson.encode(tables, mode="stored")

        assert extjson.split(content) == {
            name: {key: extjson.encode(each, mode="stored") for key, each in table.items()}
            for name, table in tables.items()
        }
