"""Documents as files: JSON arrays, NDJSON and CSV."""

from __future__ import annotations

import io
import resource
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import canonical, dates

from connectome.errors import RequestError, StoreFailed
from connectome.formats import csv_documents, read_documents, write_csv


def read(content: bytes | str, format: Any, **types: str) -> list[Any]:
    content = content.encode() if type(content) is str else content
    return list(read_documents(content, format, types=types))


def read_csv(text: str, **types: str) -> list[Any]:
    return read(text, "csv", **types)


def refusal(content: bytes | str, format: Any, **types: str) -> tuple[str, str | None]:
    """What is said of a file that cannot be read: the sentence and the pointer."""
    with pytest.raises(RequestError) as caught:
        read(content, format, **types)
    return caught.value.detail, caught.value.pointer


def assert_identical(got: Any, expected: Any) -> None:
    """Equal down to the type of every number and the order of every field."""
    assert canonical(got) == canonical(expected)


class TestJSON:
    def test_an_array_is_its_documents(self):
        """Each element is a document, with its types and the order of its fields."""
        documents = read('[{"b": 1, "a": {"$oid": "507f1f77bcf86cd799439011"}}, {}]', "json")

        assert_identical(documents, [{"b": 1, "a": ObjectId("507f1f77bcf86cd799439011")}, {}])

    def test_an_empty_array_holds_none(self):
        """That is no error."""
        assert read("[]", "json") == []

    def test_a_file_that_is_no_array_is_refused(self):
        """One document alone is not a list of documents."""
        assert refusal('{"a": 1}', "json") == (
            'a JSON file to import holds an array of documents, or is TinyDB\'s, not {"a":1}',
            "",
        )

    def test_a_tinydb_file_is_its_default_table(self):
        """In the order of its rows; what the store says of a file of its own is left out."""
        file = '{"_default": {"2": {"_id": "b"}, "1": {"n": 1}}, "_connectome": {"1": {"seq": 5}}}'

        assert read(file, "json") == [{"_id": "b"}, {"n": 1}]

    def test_what_is_no_document_is_pointed_at(self):
        """The position in the array says which."""
        assert refusal('[{"a": 1}, 2]', "json") == ("a document is an object, not 2", "/1")

    def test_malformed_json_names_line_and_column(self):
        """The place is in the sentence, since there is nothing to point into."""
        assert refusal('[{"a": 1},\n {"a" 2}]', "json") == (
            "malformed JSON in line 2, column 7: expected ':' delimiter, not \"2\"",
            None,
        )

    def test_what_is_not_strict_is_pointed_at(self):
        """A place in a document starts with the document's position."""
        assert refusal('[{"a": 1}, {"a": NaN}]', "json")[1] == "/1/a"


class TestNDJSON:
    def test_each_line_is_a_document(self):
        """With Unix ends, Windows ends, or none at the last line."""
        assert read('{"a": 1}\r\n{"a": 2}\n{"a": 3}', "ndjson") == [{"a": 1}, {"a": 2}, {"a": 3}]

    def test_blank_lines_are_passed_over(self):
        """They are no documents, and no error."""
        assert read('\n{"a": 1}\n\n  \n{"a": 2}\n\n', "ndjson") == [{"a": 1}, {"a": 2}]

    def test_an_empty_file_holds_none(self):
        """That is no error."""
        assert read("", "ndjson") == []

    def test_a_byte_order_mark_is_passed_over(self):
        """Windows programs write one."""
        assert read(b'\xef\xbb\xbf{"a": 1}\n', "ndjson") == [{"a": 1}]

    def test_a_bad_line_is_named_with_the_place_in_it(self):
        """Blank lines count for the number of the line, not for the position of the document."""
        detail, pointer = refusal('{"a": 1}\n\n{"a": {"b": NaN}}\n', "ndjson")

        assert detail.startswith("line 3: expected a number, not NaN")
        assert pointer == "/1/a/b"

    def test_a_line_that_is_not_json_is_named(self):
        """A file cut off in the middle of a line is refused."""
        detail, pointer = refusal('{"a": 1}\n{"a": ', "ndjson")

        assert detail.startswith("line 2: malformed JSON")
        assert pointer == "/1"

    def test_a_line_that_is_no_document_is_named(self):
        """An array file under the wrong name is seen at its first line."""
        assert refusal('{"a": 1}\n[1, 2]\n', "ndjson") == ("a document is an object, not [1,2]", "/1")

    def test_bytes_that_are_not_utf_8_are_refused(self):
        """Nothing is guessed."""
        assert refusal(b'{"a": 1}\n{"a": "\xff"}\n', "ndjson")[0].startswith("line 2: ")


class TestFoundOutColumns:
    @pytest.mark.parametrize(
        ("cells", "values"),
        [
            (["1", "-20", "0"], [1, -20, 0]),
            (["1", "2.5"], [1.0, 2.5]),
            (["1e3", "-0.5"], [1000.0, -0.5]),
            (["true", "FALSE"], [True, False]),
            (["2020-01-02", "2021-12-31"], [datetime(2020, 1, 2, tzinfo=UTC), datetime(2021, 12, 31, tzinfo=UTC)]),
            (
                ["2020-01-02T03:04:05.678Z", "2020-01-02T03:04:05+01:00"],
                [datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), datetime(2020, 1, 2, 2, 4, 5, tzinfo=UTC)],
            ),
            (['"[1,""a""]"', '"{""b"":null}"'], [[1, "a"], {"b": None}]),
            (["one", "two"], ["one", "two"]),
            (["1", "two"], ["1", "two"]),
            (["true", "1"], ["true", "1"]),
            (["2020-01-02", "soon"], ["2020-01-02", "soon"]),
            (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        ],
    )
    def test_a_column_gets_the_first_type_that_all_its_cells_are_of(self, cells, values):
        """int, double, bool, date, arrays and objects, and else strings."""
        assert_identical(read_csv("n\n" + "\n".join(cells) + "\n"), [{"n": value} for value in values])

    @pytest.mark.parametrize(
        "cell",
        [
            "007",
            "+49",
            "1_000",
            " 7",
            "7 ",
            "0x10",
            "1.",
            ".5",
            "1,5",
            "Infinity",
            "NaN",
            "-",
            "٣",
            "1e",
            "--1",
            "00.5",
        ],
    )
    def test_what_only_looks_like_a_number_stays_a_string(self, cell):
        """A code keeps its zeros, a telephone number its plus."""
        assert_identical(read_csv(f'n\n"{cell}"\n'), [{"n": cell}])

    @pytest.mark.parametrize("cell", ["9223372036854775808", "-9223372036854775809", "12345678901234567890"])
    def test_a_whole_number_beyond_64_bits_stays_a_string(self, cell):
        """As a double it would lose digits, silently."""
        assert_identical(read_csv(f"n\n{cell}\n"), [{"n": cell}])

    @pytest.mark.parametrize("cell", ["1e999", "-1e999"])
    def test_a_number_beyond_a_double_stays_a_string(self, cell):
        """As a double it would be an infinity, silently."""
        assert_identical(read_csv(f"n\n{cell}\n"), [{"n": cell}])

    def test_an_array_that_does_not_close_is_a_string(self):
        """Text may begin with a bracket."""
        assert read_csv("n\n[1\n") == [{"n": "[1"}]

    def test_a_cell_of_extended_json_is_the_value(self):
        """A value that has no column type of its own travels as JSON."""
        assert_identical(
            read_csv('n\n"{""$regularExpression"":{""pattern"":""^a"",""options"":""i""}}"\n'),
            [{"n": Regex("^a", "i")}],
        )


class TestTypedColumns:
    @pytest.mark.parametrize(
        ("type_", "cell", "value"),
        [
            ("int", "42", 42),
            ("double", "42", 42.0),
            ("bool", "True", True),
            ("date", "2020-01-02", datetime(2020, 1, 2, tzinfo=UTC)),
            ("json", '"[1]"', [1]),
            ("string", "42", "42"),
            ("long", "42", Int64(42)),
            ("decimal", "1.50", Decimal128("1.50")),
            ("objectId", "507f1f77bcf86cd799439011", ObjectId("507f1f77bcf86cd799439011")),
        ],
    )
    def test_a_column_has_the_type_that_it_is_given(self, type_, cell, value):
        """Whatever its cells look like."""
        assert_identical(read_csv(f"n\n{cell}\n", n=type_), [{"n": value}])

    def test_other_columns_are_still_found_out(self):
        """Only what is named is fixed."""
        assert_identical(read_csv("zip,n\n12345,1\n", zip="string"), [{"zip": "12345", "n": 1}])

    @pytest.mark.parametrize(
        ("type_", "cell"),
        [
            ("int", "1.5"),
            ("int", "007"),
            ("int", "9223372036854775808"),
            ("double", "one"),
            ("double", "1e999"),
            ("bool", "yes"),
            ("date", "soon"),
            ("date", "2020-13-01"),
            ("json", "text"),
            ("long", "x"),
            ("decimal", "1,5"),
            ("objectId", "xyz"),
        ],
    )
    def test_a_cell_of_another_type_is_refused(self, type_, cell):
        """With its line, its column, what was expected and what came."""
        assert refusal(f'id,n\n1,\n2,"{cell}"\n', "csv", n=type_) == (
            f"line 3, column 'n': expected {type_}, not \"{cell}\"",
            None,
        )

    def test_a_type_that_is_none_is_refused(self):
        """The types there are stand in the sentence."""
        assert refusal("n\n1\n", "csv", n="number") == (
            "the type of a column is one of int, double, bool, date, json, string, long, decimal, objectId, "
            "not 'number'",
            None,
        )

    def test_a_type_for_no_column_is_refused(self):
        """A misspelt column does not go unnoticed."""
        assert refusal("name,zip\na,1\n", "csv", zipcode="string") == (
            "there is no column 'zipcode'; the header has name, zip",
            None,
        )


class TestCSV:
    def test_an_empty_cell_is_a_missing_field(self):
        """Neither null nor an empty string."""
        assert_identical(read_csv('a,b,c\n1,,3\n,"",\n'), [{"a": 1, "c": 3}, {}])

    def test_a_short_row_lacks_the_last_fields(self):
        """As if its last cells were empty."""
        assert read_csv("a,b,c\n1\n1,2\n") == [{"a": 1}, {"a": 1, "b": 2}]

    def test_a_dotted_header_makes_a_nested_document(self):
        """Columns of one document need not stand beside each other."""
        assert_identical(
            read_csv("address.city,name,address.geo.lat\nBerlin,A,52.5\n,B,\n"),
            [{"address": {"city": "Berlin", "geo": {"lat": 52.5}}, "name": "A"}, {"name": "B"}],
        )

    def test_quotes_commas_and_line_ends_are_data(self):
        """As RFC 4180 has them."""
        assert read_csv('a,b\r\n"x, ""y""","two\r\nlines"\r\n') == [{"a": 'x, "y"', "b": "two\r\nlines"}]

    def test_a_byte_order_mark_is_no_part_of_the_header(self):
        """Spreadsheets write one."""
        assert read(b"\xef\xbb\xbfname\nx\n", "csv") == [{"name": "x"}]

    def test_blank_lines_are_passed_over(self):
        """They are no documents."""
        assert read_csv("a\n\n1\n\n") == [{"a": 1}]

    def test_columns_without_a_name_may_be_empty(self):
        """A spreadsheet writes commas as far as its widest row goes."""
        assert read_csv("a,b,,\n1,2,,\n3,,,\n") == [{"a": 1, "b": 2}, {"a": 3}]

    def test_a_header_alone_holds_no_document(self):
        """That is no error."""
        assert read_csv("a,b\n") == []

    def test_a_cell_may_be_long(self):
        """No hidden limit: Python's csv stops at 131 072 characters unless told."""
        assert read_csv(f"a\n{'x' * 200_000}\n") == [{"a": "x" * 200_000}]

    @pytest.mark.parametrize(
        ("content", "detail"),
        [
            ("", "a CSV file starts with a header, and this one is empty"),
            ("\n\n", "a CSV file starts with a header, and this one is empty"),
            ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, and the header has 2"),
            ('a,b\n"two\nlines",2\n1,2,3\n', "line 4 has 3 cells, and the header has 2"),
            ("a,b,a\n1,2,3\n", "the header names 'a' twice"),
            ("a,a.b\n1,2\n", "the header names 'a', and a field inside it, 'a.b'"),
            ("a.b.c,a.b\n1,2\n", "the header names 'a.b', and a field inside it, 'a.b.c'"),
            ("a..b\n1\n", "the header names 'a..b', and no step of a path is empty"),
            ("a,.b\n1\n", "the header names '.b', and no step of a path is empty"),
            (",a\n,1\n7,2\n", 'line 3 has "7" in a column without a name'),
            (b"a\n\xff\n", "line 2: a CSV file is UTF-8, and 0xff at byte 2 is not"),
        ],
    )
    def test_what_is_no_table_of_documents_is_refused(self, content, detail):
        """With the line, where one is to blame."""
        assert refusal(content, "csv") == (detail, None)

    @pytest.mark.parametrize("header", ["$oid", "released.$date", "$numberLong.a"])
    def test_a_header_that_would_be_read_as_something_else_is_refused(self, header):
        """A document with a field called ``$date`` cannot be kept."""
        detail, pointer = refusal(f"a,{header}\n1,2\n", "csv")

        assert repr(header) in detail
        assert pointer is None

    @pytest.mark.parametrize("content", ['a\n1\n"x', 'a\n1\n"x"y\n'])
    def test_a_quote_that_is_astray_is_refused(self, content):
        """With the line in which it was noticed."""
        detail, pointer = refusal(content, "csv")

        assert detail.startswith("line 3 is not CSV: ")
        assert pointer is None


def written(documents: list[Any]) -> str:
    return "".join(write_csv(documents))


class TestWriteCSV:
    def test_the_header_has_every_path_in_the_order_of_appearance(self):
        """Nested documents are dotted; what a document lacks is an empty cell."""
        documents = [{"_id": "1", "b": {"c": 1, "d": {"e": 2}}}, {"_id": "2", "a": "x", "b": {"c": 3}}]

        assert written(documents) == "_id,b.c,b.d.e,a\r\n1,1,2,\r\n2,3,,x\r\n"

    @pytest.mark.parametrize(
        ("value", "cell"),
        [
            (None, ""),
            ("text", "text"),
            ('a "b", c', '"a ""b"", c"'),
            ("two\nlines", '"two\nlines"'),
            (5, "5"),
            (2.5, "2.5"),
            (True, "true"),
            (Int64(5), "5"),
            (Decimal128("1.50"), "1.50"),
            (ObjectId("507f1f77bcf86cd799439011"), "507f1f77bcf86cd799439011"),
            (datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), "2020-01-02T03:04:05Z"),
            (datetime(1965, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "1965-01-02T03:04:05.678Z"),
            ([1, {"a": "b"}], '"[1,{""a"":""b""}]"'),
            ([], "[]"),
            ({}, "{}"),
            (float("nan"), "NaN"),
            (Binary(b"\x01"), '"{""$binary"":{""base64"":""AQ=="",""subType"":""00""}}"'),
        ],
    )
    def test_a_value_is_the_text_that_a_spreadsheet_shows(self, value, cell):
        """Of a typed value only the operand; arrays, and what has no short text, as JSON."""
        assert written([{"_id": 1, "v": value}]) == f"_id,v\r\n1,{cell}\r\n"

    def test_each_line_comes_alone(self):
        """A large answer can be sent while it is made."""
        assert list(write_csv([{"a": 1}, {"a": 2}])) == ["a\r\n", "1\r\n", "2\r\n"]

    def test_where_there_is_no_room_for_the_cells_it_says_so(self):
        """Before the header, and where another place may be named."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, hard))
        try:
            with pytest.raises(StoreFailed, match=r"File too large while writing a temporary file in .*; TMPDIR names"):
                next(write_csv({"a": "x" * 1000} for _ in range(5000)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


plain = st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")
cells: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(plain, min_size=1, max_size=8),
    "int": st.integers(-(2**63), 2**63 - 1),
    "long": st.integers(-(2**63), 2**63 - 1).map(Int64),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "date": dates.filter(lambda value: isinstance(value, datetime)),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9).map(
        Decimal128
    ),
    "objectId": st.binary(min_size=12, max_size=12).map(ObjectId),
    "json": st.lists(st.integers(0, 9) | st.text(plain, max_size=3), max_size=3),
}
names = st.text(plain, min_size=1, max_size=4).filter(lambda name: "." not in name and not name.startswith("$"))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Flat documents of which each field has one type, and the types; every field is in the first document."""
    types = draw(st.dictionaries(names, st.sampled_from(list(cells)), min_size=1, max_size=4))
    whole = st.fixed_dictionaries({name: cells[type_] for name, type_ in types.items()})
    part = st.fixed_dictionaries({}, optional={name: cells[type_] for name, type_ in types.items()})
    rows = [draw(whole), *draw(st.lists(part, max_size=4))]
    return [{name: row[name] for name in types if name in row} for row in rows], types


WELL_KNOWN = {
    "whole": cells["int"],
    "fraction": st.integers(-(10**6), 10**6).map(lambda number: number + 0.5),
    "flag": st.booleans(),
    "date": cells["date"],
    "array": st.lists(st.integers(0, 9), max_size=2),
    "text": st.text("abc ,\"'\n").map(lambda text: "a" + text),
}


def well_known(**fields: Any) -> dict[str, Any]:
    """A document of which every field shows its type."""
    return {**{name: fields[name] for name in WELL_KNOWN}, "nested": {"text": fields["text"]}}


class TestThereAndBack:
    @settings(max_examples=100, deadline=None)
    @given(tables())
    def test_typed_flat_documents_come_back_as_they_were(self, table):
        """With the types said, every value and the order of the fields survive."""
        documents, types = table

        assert_identical(list(csv_documents(io.BytesIO(written(documents).encode()), types)), documents)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.builds(well_known, **WELL_KNOWN), min_size=1, max_size=4))
    def test_found_out_types_are_those_that_were_written(self, documents):
        """Numbers, flags, dates, arrays and nested documents need no types to come back."""
        assert_identical(list(csv_documents(io.BytesIO(written(documents).encode()), {})), documents)
