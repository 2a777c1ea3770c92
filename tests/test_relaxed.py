"""The shell's syntax: it spells the values of Extended JSON, refuses what extjson refuses, and says where."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectome import extjson, relaxed
from connectome.errors import InvalidJSON
from tests.strategies import canonical, values

OID = "57e193d7a9cc81b4027498b5"
UUID_TEXT = "73ffd264-44b3-4c69-90e8-e7d1dfc035d4"


def refusal(text: str) -> InvalidJSON:
    with pytest.raises(InvalidJSON) as caught:
        relaxed.loads(text)
    return caught.value


class TestReading:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("{}", {}),
            ("{amount: {$gte: 30}}", {"amount": {"$gte": 30}}),
            ('{a: \'say "hi"\', b: "it\'s"}', {"a": 'say "hi"', "b": "it's"}),
            ("{a: 1, b: [1, 2,],}", {"a": 1, "b": [1, 2]}),
            ("{address.city: 'Wien', items.0.n: 1, 0: 2}", {"address.city": "Wien", "items.0.n": 1, "0": 2}),
            ("{é: 1, $or: [], _id: 2, __proto__: 3}", {"é": 1, "$or": [], "_id": 2, "__proto__": 3}),
            ("{a: 1, // one\n /* two\n lines */ b: 2} // end", {"a": 1, "b": 2}),
            ("{a: 1};", {"a": 1}),
            ("[null, true, false]", [None, True, False]),
            ("[1, -1, +1, 1.0, 1., .5, -.5e-3, 1E3]", [1, -1, 1, 1.0, 1.0, 0.5, -0.0005, 1000.0]),
            ("9223372036854775807", 2**63 - 1),
            ("[Infinity, -Infinity]", [float("inf"), float("-inf")]),
            (r"'\x41\u0042\u{1F600}\n\'\\'", "AB\U0001f600\n'\\"),
            (r"'\ud83d\ude00'", "\U0001f600"),
            ('"</script>\t"', "</script>\t"),
            (f'ObjectId("{OID}")', ObjectId(OID)),
            (f"new ObjectId('{OID}')", ObjectId(OID)),
            ('ISODate("2020-01-02")', datetime(2020, 1, 2, tzinfo=UTC)),
            ('new Date("2020-01-02T03:04:05.678Z")', datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
            ("new Date(-1)", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
            ('[NumberLong("5"), NumberLong(5), Long(5)]', [Int64(5)] * 3),
            ("NumberLong(9223372036854775807)", Int64(2**63 - 1)),
            ("[NumberInt(5), NumberInt('5'), Int32(5)]", [5, 5, 5]),
            ('[NumberDecimal("1.10"), NumberDecimal(1.10), Decimal128("1.10")]', [Decimal128("1.10")] * 3),
            ("NumberDecimal(0.1234567890123456789)", Decimal128("0.1234567890123456789")),
            ("[Double(5), Double('5')]", [5.0, 5.0]),
            (f'UUID("{UUID_TEXT}")', Binary.from_uuid(UUID(UUID_TEXT))),
            ('[BinData(0, "AQI="), HexData(0, "0102")]', [Binary(b"\1\2", 0)] * 2),
            ("[Timestamp(1, 2), Timestamp({t: 1, i: 2})]", [Timestamp(1, 2)] * 2),
            ("[MinKey, MinKey(), MaxKey, new MaxKey()]", [MinKey(), MinKey(), MaxKey(), MaxKey()]),
            ("/^mo[/]v\\/ie$/im", Regex("^mo[/]v/ie$", "im")),
            ('[RegExp("a/b"), new RegExp("a", "i")]', [Regex("a/b"), Regex("a", "i")]),
            ('{$date: "2020-01-02T00:00:00Z"}', datetime(2020, 1, 2, tzinfo=UTC)),
            ('{"$numberLong": "5"}', Int64(5)),
        ],
    )
    def test_a_spelling_means_a_value(self, text, value):
        """Everything that the shell takes for a value, and both forms of JSON."""
        assert canonical(relaxed.loads(text)) == canonical(value)

    @settings(deadline=None)
    @given(values)
    def test_extended_json_means_here_what_it_means_there(self, value):
        """Whatever extjson writes, in either form, this reads as the same value."""
        for mode in ("stored", "canonical"):
            text = extjson.dumps(value, mode=mode)

            assert canonical(relaxed.loads(text)) == canonical(extjson.loads(text))

    def test_a_hundred_levels_are_read_and_one_more_is_not(self):
        """The depth is that of extjson; a wrapper in the last level is a value."""
        deepest = "[" * 100 + f'ObjectId("{OID}")' + "]" * 100

        assert canonical(relaxed.loads(deepest)) == canonical(extjson.loads(extjson.dumps(relaxed.loads(deepest))))
        assert refusal(f"[{deepest}]").detail.endswith(
            "expected at most 100 levels of objects and arrays, not one more"
        )

    def test_nesting_without_end_is_refused_early(self):
        """A text of brackets alone does not exhaust the stack."""
        assert "at most 100 levels" in refusal("[" * 100_000).detail


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "detail"),
        [
            ("", "line 1, column 1: expected a value, not an empty text"),
            ("{a: 1", "line 1, column 6: expected a comma or }, not the end of the text"),
            ("{a 1}", "line 1, column 4: expected : after the key a, not 1"),
            ("{a: 1 b: 2}", "line 1, column 7: expected a comma or }, not b"),
            ("{a:\n  1,\n  ,}", 'line 3, column 3: expected a key or }, not ","'),
            ("[1 2]", "line 1, column 4: expected a comma or ], not 2"),
            ("{} {}", 'line 1, column 4: expected the end, not "{"'),
            ("{a: Movie}", 'line 1, column 5: expected a value, not Movie: text stands in quotes, "Movie"'),
            ("{a: True}", "line 1, column 5: expected a value, not True: did you mean true?"),
            ('{a: ObjectID("x")}', "line 1, column 5: expected a value, not ObjectID: did you mean ObjectId?"),
            (
                "{a: ObjectId}",
                'line 1, column 5: expected ObjectId("…") with 24 hexadecimal digits, not the name alone',
            ),
            ("ObjectId()", 'line 1, column 1: expected ObjectId("…") with 24 hexadecimal digits, not 0 arguments'),
            ("ObjectId(5)", 'line 1, column 10: expected ObjectId("…") with 24 hexadecimal digits, not ObjectId(5)'),
            ('{_id: ObjectId("5")}', 'line 1, column 16: expected 24 hexadecimal digits, not "5"'),
            (
                "{a: undefined}",
                'line 1, column 5: expected a value, not undefined, which is deprecated: write null, or "$exists"',
            ),
            ("{a: 1, 'a': 2}", 'line 1, column 8: expected every key of an object once, not "a" twice'),
            (
                "9223372036854775808",
                "line 1, column 1: expected a whole number within 64 bits, not 9223372036854775808",
            ),
            ("[1e400]", "line 1, column 2: expected a number within the range of a 64-bit float, not 1e400"),
            ("{n: 007}", "line 1, column 5: expected a number without a leading zero, not 007"),
            ("{n: 1_000}", "line 1, column 5: expected a value, not 1_000"),
            (
                "NumberInt(2147483648)",
                'line 1, column 11: expected a whole number within 32 bits, as a string, not "2147483648"',
            ),
            ("{a: 'x}", "line 1, column 5: expected ' at the end of the text, on the same line, not \"'x}\""),
            (r"{a: '\q'}", "line 1, column 6: expected an escape such as \\n, \\\\ or \\u00e9, not \\q"),
            ("/a/g", "line 1, column 4: expected options out of i, m, s, x, u and l, not g"),
            ("/* x", "line 1, column 1: expected */ at the end of the comment"),
            ('"\\ud800"', 'line 1, column 1: expected Unicode text, not the lone surrogate in "\\ud800"'),
            ('{a: {$code: "x"}}', "line 1, column 6: $code is not supported: there is no server-side JavaScript here"),
            ("`a`", 'line 1, column 1: expected a value, not "`"'),
        ],
    )
    def test_a_refusal_says_where_what_was_expected_and_what_came(self, text, detail):
        """Every refusal is one sentence with its place."""
        assert refusal(text).detail == detail

    def test_a_refusal_carries_its_place(self):
        """Line and column are data, not only words."""
        assert refusal("{a:\n  nope()}").place == (2, 3)

    def test_what_extjson_refuses_keeps_its_pointer(self):
        """The value is to blame, and so is its place in the value."""
        error = refusal('{a: [{b: ObjectId("no")}]}')

        assert (error.pointer, error.place) == ("/a/0/b/$oid", (1, 19))

    @settings(deadline=None)
    @given(st.text(alphabet="{}[]():,'\"/\\*ab1.-+$ \nOI", max_size=12))
    @example("'\\")
    @example("/")
    @example("new")
    @example("new MinKey")
    @example("Timestamp({t: [], i: 2})")
    def test_any_text_is_read_or_refused(self, text):
        """Nothing but InvalidJSON, with a place inside the text, comes out of any text."""
        try:
            relaxed.loads(text)
        except InvalidJSON as error:
            line, column = error.place
            lines = text.split("\n")
            assert 1 <= line <= len(lines)
            assert 1 <= column <= len(lines[line - 1]) + 1


class TestPlaces:
    @pytest.mark.parametrize(
        ("pointer", "place"),
        [
            ("", (1, 1)),
            ("/$or", (1, 2)),
            ("/$or/1", (2, 3)),
            ("/$or/1/n/$gtt", (2, 8)),
            ("/$or/1/n/$gtt/deeper", (2, 8)),
            ("/elsewhere", (1, 1)),
        ],
    )
    def test_a_pointer_leads_to_a_place(self, pointer, place):
        """To the key, the element, or what is around a place that the text does not hold."""
        assert relaxed.place("{$or: [{n: 1},\n  {n: {$gtt: 5}}]}", pointer) == place


class TestWriting:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({}, "{}"),
            ([], "[]"),
            ({"amount": {"$gte": 30}, "first name": 'a"b'}, '{amount: {$gte: 30}, "first name": "a\\"b"}'),
            ({"a.b": 1, "0": 2, "__proto__": 3, "é": 4}, '{"a.b": 1, "0": 2, "__proto__": 3, "é": 4}'),
            (
                [1, 1.0, Int64(1), Int64(2**40), Decimal128("1.0")],
                '[1, 1.0, NumberLong("1"), 1099511627776, NumberDecimal("1.0")]',
            ),
            ([float("nan"), float("inf"), float("-inf"), None, True], "[NaN, Infinity, -Infinity, null, true]"),
            (datetime(1815, 12, 10, tzinfo=UTC), 'ISODate("1815-12-10T00:00:00Z")'),
            (DatetimeMS(253402300800000), "new Date(253402300800000)"),
            (ObjectId(OID), f'ObjectId("{OID}")'),
            (Binary.from_uuid(UUID(UUID_TEXT)), f'UUID("{UUID_TEXT}")'),
            (Binary(b"\1\2", 128), 'BinData(128, "AQI=")'),
            (b"\1\2", 'BinData(0, "AQI=")'),
            (
                [Regex("^a/b", "i"), Regex("\\/"), Regex(""), Regex("*")],
                '[/^a\\/b/i, RegExp("\\\\/"), RegExp(""), RegExp("*")]',
            ),
            ([Timestamp(1, 2), MinKey(), MaxKey()], "[Timestamp(1, 2), MinKey(), MaxKey()]"),
            ("\u202etxt.exe\u2066", '"\\u202etxt.exe\\u2066"'),
        ],
    )
    def test_a_value_is_spelled_as_in_the_shell(self, value, text):
        """Keys are quoted where the shell needs it, and characters that deceive the eye are escapes."""
        assert relaxed.dumps(value) == text

    def test_with_an_indent_every_member_has_its_line(self):
        """The form of the editor: what holds a few scalars alone stays whole, but for the document itself."""
        assert relaxed.dumps({"a": [1, {"b": {}}], "c": [], "d": {"e": [1, 2], "f": {"g": 3}}}, indent=2) == (
            "{\n  a: [\n    1,\n    {\n      b: {}\n    }\n  ],\n  c: [],\n"
            "  d: {\n    e: [1, 2],\n    f: {g: 3}\n  }\n}"
        )
        assert relaxed.dumps({"a": 1}, indent=2) == "{\n  a: 1\n}"
        assert relaxed.dumps({"a": ["x" * 80]}, indent=2).count("\n") == 4

    def test_a_preview_is_the_start_of_it(self):
        """At most as long as the limit; what is short is whole."""
        assert relaxed.preview({"a": [1, 2]}) == "{a: [1, 2]}"
        assert relaxed.preview(["x" * 100, 1], limit=6) == '["xxx…'

    @settings(deadline=None)
    @given(values, st.sampled_from([None, 0, 2]))
    @example({"a": Regex("a]/[/]\\]", "i")}, None)
    def test_what_is_written_is_read_back(self, value, indent):
        """Down to the type of every number and the order of every field."""
        assert canonical(relaxed.loads(relaxed.dumps(value, indent=indent))) == canonical(value)

    @settings(deadline=None)
    @given(st.text())
    def test_any_text_is_read_back(self, text):
        """As a value, as a key, and as a pattern."""
        try:
            extjson.loads(extjson.dumps({text: [text]}))
        except (InvalidJSON, UnicodeEncodeError):
            return
        value = {text: [text, Regex(text)]}

        assert canonical(relaxed.loads(relaxed.dumps(value))) == canonical(value)

    def test_a_type_without_a_spelling_is_refused(self):
        """What is no BSON value is a mistake of the program."""
        with pytest.raises(TypeError):
            relaxed.dumps({"a": {1, 2}})
