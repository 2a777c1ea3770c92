"""What goes in and out over HTTP: strict JSON, Extended JSON, identities, and the forms that a client may ask for."""

from __future__ import annotations

import csv
import gzip
import io

import pytest
import requests

UUID = "73ffd264-44b3-4c69-90e8-e7d1dfc035d4"
OID = "57e193d7a9cc81b4027498b5"

# The value as it is sent, as it comes back, and as it comes back to application/ejson.
VALUES = [
    ("null", "null", "null"),
    ("true", "true", "true"),
    ('"text ☃ \\u00e9"', '"text ☃ é"', '"text ☃ é"'),
    ("5", "5", '{"$numberInt":"5"}'),
    ("5.0", "5.0", '{"$numberDouble":"5.0"}'),
    ("-0.0", "-0.0", '{"$numberDouble":"-0.0"}'),
    ("1099511627776", "1099511627776", '{"$numberLong":"1099511627776"}'),
    ("9223372036854775807", "9223372036854775807", '{"$numberLong":"9223372036854775807"}'),
    ('{"$numberInt":"5"}', "5", '{"$numberInt":"5"}'),
    ('{"$numberLong":"5"}', "5", '{"$numberLong":"5"}'),
    ('{"$numberDouble":"5"}', "5.0", '{"$numberDouble":"5.0"}'),
    ('{"$numberDouble":"NaN"}', '{"$numberDouble":"NaN"}', '{"$numberDouble":"NaN"}'),
    ('{"$numberDouble":"-Infinity"}', '{"$numberDouble":"-Infinity"}', '{"$numberDouble":"-Infinity"}'),
    ('{"$numberDecimal":"1.10"}', '{"$numberDecimal":"1.10"}', '{"$numberDecimal":"1.10"}'),
    (f'{{"$oid":"{OID}"}}', f'{{"$oid":"{OID}"}}', f'{{"$oid":"{OID}"}}'),
    (
        '{"$date":"2020-01-02T03:04:05Z"}',
        '{"$date":"2020-01-02T03:04:05Z"}',
        '{"$date":{"$numberLong":"1577934245000"}}',
    ),
    (
        '{"$date":"2020-01-02T04:04:05.678+01:00"}',
        '{"$date":"2020-01-02T03:04:05.678Z"}',
        '{"$date":{"$numberLong":"1577934245678"}}',
    ),
    (
        '{"$date":{"$numberLong":"-62135596800001"}}',
        '{"$date":{"$numberLong":"-62135596800001"}}',
        '{"$date":{"$numberLong":"-62135596800001"}}',
    ),
    (
        '{"$binary":{"base64":"AQI=","subType":"00"}}',
        '{"$binary":{"base64":"AQI=","subType":"00"}}',
        '{"$binary":{"base64":"AQI=","subType":"00"}}',
    ),
    (
        f'{{"$uuid":"{UUID}"}}',
        f'{{"$uuid":"{UUID}"}}',
        '{"$binary":{"base64":"c//SZESzTGmQ6OfR38A11A==","subType":"04"}}',
    ),
    (
        '{"$regularExpression":{"pattern":"^a","options":"i"}}',
        '{"$regularExpression":{"pattern":"^a","options":"i"}}',
        '{"$regularExpression":{"pattern":"^a","options":"i"}}',
    ),
    ('{"$timestamp":{"t":5,"i":1}}', '{"$timestamp":{"t":5,"i":1}}', '{"$timestamp":{"t":5,"i":1}}'),
    ('{"$minKey":1}', '{"$minKey":1}', '{"$minKey":1}'),
    ('{"$maxKey":1}', '{"$maxKey":1}', '{"$maxKey":1}'),
    ('{"z":[{"y":1}],"a":{}}', '{"z":[{"y":1}],"a":{}}', '{"z":[{"y":{"$numberInt":"1"}}],"a":{}}'),
]


@pytest.fixture
def empty(admin):
    """A fresh collection without documents."""
    return admin.collection()


class TestValues:
    @pytest.mark.parametrize(("sent", "relaxed"), [(sent, relaxed) for sent, relaxed, _ in VALUES])
    def test_a_value_comes_back_relaxed(self, empty, sent, relaxed):
        """What was written is read again as relaxed Extended JSON, to the letter."""
        assert empty.call("write", f'{{"_id":"x","v":{sent}}}').status_code == 201

        assert empty.call("read").text.rstrip("\n") == f'[{{"_id":"x","v":{relaxed}}}]'

    @pytest.mark.parametrize(("sent", "canonical"), [(sent, canonical) for sent, _, canonical in VALUES])
    def test_a_value_comes_back_canonical(self, empty, sent, canonical):
        """``Accept: application/ejson`` names the type of every value that JSON does not tell."""
        assert empty.call("write", f'{{"_id":"x","v":{sent}}}').status_code == 201

        response = empty.call("read", headers={"Accept": "application/ejson"})

        assert response.headers["Content-Type"] == "application/ejson"
        assert response.text.rstrip("\n") == f'[{{"_id":"x","v":{canonical}}}]'

    def test_a_date_is_a_date_inside(self, empty):
        """A filter by date compares instants, not the texts that they were sent as."""
        empty.call("batchwrite", [{"_id": 1, "at": {"$date": "2020-01-02T00:30:00+01:00"}}, {"_id": 2, "at": "2020"}])

        late = {"query": {"at": {"$lt": {"$date": "2020-01-02T00:00:00Z"}}}, "project": {"_id": 1}}
        assert empty.read(late) == [{"_id": 1}]

    def test_canonical_holds_for_the_answers_to_writes(self, empty):
        """The answer to a write is canonical too where that is asked for."""
        headers = {"Accept": "application/ejson"}

        response = empty.call("batchwrite", [{"_id": 1}, {"_id": 2.5}], headers=headers)

        assert response.headers["Content-Type"] == "application/ejson"
        assert response.text.rstrip("\n") == (
            '{"insertedCount":{"$numberInt":"2"},"insertedIds":[{"$numberInt":"1"},{"$numberDouble":"2.5"}]}'
        )


class TestFieldOrder:
    def test_fields_come_back_in_their_order(self, empty):
        """The order of the fields is data, at every level."""
        document = '{"_id":1,"zebra":1,"apple":{"z":1,"b":2,"a":3},"Zoo":[{"y":1,"x":2}],"0":0}'
        empty.call("write", document)

        assert empty.call("read").text.rstrip("\n") == f"[{document}]"

    def test_the_identity_comes_first(self, empty):
        """As in MongoDB, _id leads its document, wherever it was sent."""
        empty.call("write", '{"b":1,"_id":7,"a":2}')

        assert empty.call("read").text.rstrip("\n") == '[{"_id":7,"b":1,"a":2}]'

    def test_documents_in_another_order_are_not_equal(self, empty):
        """A filter by a whole document asks for the same order."""
        empty.call("write", '{"_id":1,"size":{"w":1,"h":2}}')

        assert empty.read('{"query":{"size":{"w":1,"h":2}},"project":{"_id":1}}') == [{"_id": 1}]
        assert empty.read('{"query":{"size":{"h":2,"w":1}}}') == []

    def test_an_update_keeps_the_order(self, empty):
        """A changed field stays where it was, a new one comes last."""
        empty.call("write", '{"_id":1,"b":1,"a":2}')
        empty.call("updatewithupsert", '{"search query":{},"data":{"c":3,"b":9}}')

        assert empty.call("read").text.rstrip("\n") == '[{"_id":1,"b":9,"a":2,"c":3}]'


IDENTITIES = [
    "null",
    "true",
    "0",
    "-5",
    "1.5",
    '""',
    '"text/with ☃"',
    '{"$numberLong":"9223372036854775807"}',
    '{"$numberDouble":"NaN"}',
    '{"$numberDecimal":"0.1"}',
    f'{{"$oid":"{OID}"}}',
    '{"$date":"2020-01-02T03:04:05Z"}',
    f'{{"$uuid":"{UUID}"}}',
    '{"$timestamp":{"t":5,"i":1}}',
    '{"$minKey":1}',
    '{"$maxKey":1}',
    "{}",
    '{"b":1,"a":[1,{"c":null}]}',
]


class TestIdentities:
    @pytest.mark.parametrize("identity", IDENTITIES)
    def test_any_value_is_an_identity(self, empty, identity):
        """A document is written, found, refused a second time, changed and deleted by an _id of any type."""
        assert empty.call("write", f'{{"_id":{identity}}}').status_code == 201
        assert empty.call("write", f'{{"_id":{identity}}}').status_code == 409
        assert len(empty.call("readwithquery", f'{{"query":{{"_id":{identity}}}}}').json()) == 1
        changed = empty.call("updatewithupsert", f'{{"search query":{{"_id":{identity}}},"data":{{"a":1}}}}')
        assert changed.json() == {"matchedCount": 1, "modifiedCount": 1, "upsertedId": None}
        assert empty.call("batchdelete", f'{{"_id":{identity}}}').json() == {"deletedCount": 1}

    def test_identities_of_all_types_live_together(self, empty):
        """Values of different types are different identities."""
        documents = "[" + ",".join(f'{{"_id":{identity}}}' for identity in IDENTITIES) + "]"

        assert empty.call("batchwrite", documents).status_code == 201
        relaxed = documents.replace('{"$numberLong":"9223372036854775807"}', "9223372036854775807")
        assert empty.call("read").text.rstrip("\n") == relaxed

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("1", "1.0"),
            ("1", '{"$numberLong":"1"}'),
            ("1.5", '{"$numberDecimal":"1.50"}'),
            ("0.0", "-0.0"),
            ('{"a":1}', '{"a":1.0}'),
            ('{"$date":"2020-01-02T00:00:00Z"}', '{"$date":"2020-01-02T01:00:00+01:00"}'),
        ],
    )
    def test_equal_values_are_one_identity(self, empty, problem, first, second):
        """``1`` and ``1.0`` are one number, and cannot both be an _id."""
        empty.call("write", f'{{"_id":{first}}}')

        refused = problem(empty.call("write", f'{{"_id":{second}}}'))

        assert (refused["status"], refused["code"], refused["pointer"]) == (409, "DuplicateKey", "/_id")

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("1", "true"),
            ("0", "false"),
            ("null", '""'),
            ("1", '"1"'),
            ('{"a":1,"b":2}', '{"b":2,"a":1}'),
            (f'"{OID}"', f'{{"$oid":"{OID}"}}'),
        ],
    )
    def test_values_that_look_alike_are_two_identities(self, empty, first, second):
        """``true`` is not ``1``, and the order of fields tells documents apart."""
        assert empty.call("batchwrite", f'[{{"_id":{first}}},{{"_id":{second}}}]').status_code == 201

    @pytest.mark.parametrize(
        ("identity", "shown"),
        [
            ([], "[]"),
            ([1], "[1]"),
            (
                {"$regularExpression": {"pattern": "a", "options": ""}},
                '{"$regularExpression":{"pattern":"a","options":""}}',
            ),
        ],
    )
    def test_an_array_and_a_regular_expression_are_none(self, empty, problem, identity, shown):
        """These two alone cannot be an _id."""
        refused = problem(empty.call("write", {"_id": identity}))

        assert refused == {
            "type": "urn:connectome:InvalidIdField",
            "title": "The body is not what the operation takes",
            "status": 400,
            "detail": f"_id may be any value but an array or a regular expression, not {shown}",
            "code": "InvalidIdField",
            "pointer": "/_id",
        }

    def test_no_name_in_one_starts_with_a_dollar_sign(self, empty, problem):
        """A document is an _id, as long as no field of it, however deep, looks like an operator."""
        refused = problem(empty.call("write", {"_id": {"a": [{"$b": 1}]}}))

        assert (refused["status"], refused["code"]) == (400, "DollarPrefixedFieldName")
        assert refused["pointer"] == "/_id/a/0/$b"


class TestStrictJSON:
    @pytest.mark.parametrize(
        ("body", "pointer", "detail"),
        [
            ('{"b": {"a": 1, "a": 2}}', "/b/a", 'expected every key of an object once, not "a" twice'),
            ('{"a": NaN}', "/a", 'expected a number, not NaN, which JSON lacks: write {"$numberDouble": "NaN"}'),
            (
                '{"a": [-Infinity]}',
                "/a/0",
                'expected a number, not -Infinity, which JSON lacks: write {"$numberDouble": "-Infinity"}',
            ),
            ('{"a": 1e400}', "/a", "expected a number within the range of a 64-bit float, not 1e400"),
            (
                '{"a": 9223372036854775808}',
                "/a",
                "expected a whole number within 64 bits, not 9223372036854775808",
            ),
            ('{"a/b": "\\ud800"}', "/a~1b", 'expected Unicode text, not the lone surrogate in "\\ud800"'),
            ('{"a\\u0000": 1}', "/a\0", 'expected a key without the NUL character, not "a\\u0000"'),
            (
                '{"a":' + "[" * 100 + "]" * 100 + "}",
                "/a" + "/0" * 99,
                "expected at most 100 levels of objects and arrays, not one more",
            ),
            (
                "[" * 100_000,
                "/0" * 100,
                "expected at most 100 levels of objects and arrays, not one more",
            ),
            ('{"a": {"$oid": "5"}}', "/a/$oid", 'expected 24 hexadecimal digits, not "5"'),
            (
                '{"a": {"$numberLong": "5", "b": 1}}',
                "/a",
                'expected $numberLong as the only key of its object, not beside "b"',
            ),
        ],
    )
    def test_what_cannot_be_kept_as_it_is_is_refused_at_its_place(self, empty, problem, body, pointer, detail):
        """Nothing is converted silently: each is 400, with the place and what was expected."""
        refused = problem(empty.call("write", body))

        assert refused == {
            "type": "urn:connectome:InvalidJSON",
            "title": "The body is not the JSON that is accepted",
            "status": 400,
            "detail": detail,
            "code": "InvalidJSON",
            "pointer": pointer,
        }
        assert empty.documents == []

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ('{"a": 1', "malformed JSON in line 1, column 8: expected ',' delimiter, not the end"),
            ('{"a": 1} x', 'malformed JSON in line 1, column 10: expected the end, not "x"'),
            (b'{"a": "\xff"}', "expected UTF-8, not 0xff at byte 7 (invalid start byte)"),
            (" \n", "expected a JSON value, and nothing came: the text is empty"),
        ],
    )
    def test_what_is_not_json_has_no_place(self, empty, problem, body, detail):
        """Text that cannot be read has a line and a column, and no pointer."""
        refused = problem(empty.call("write", body))

        assert refused == {
            "type": "urn:connectome:InvalidJSON",
            "title": "The body is not the JSON that is accepted",
            "status": 400,
            "detail": detail,
            "code": "InvalidJSON",
        }

    def test_a_hundred_levels_are_read(self, empty):
        """The deepest document that is accepted comes back."""
        body = '{"_id":1,"a":' + "[" * 99 + "]" * 99 + "}"

        assert empty.call("write", body).status_code == 201
        assert empty.call("read").text.rstrip("\n") == f"[{body}]"

    @pytest.mark.parametrize("body", [b'\xef\xbb\xbf{"_id": 1}', b' \r\n{"_id": 1}\t\n'])
    def test_a_byte_order_mark_and_space_are_passed_over(self, empty, body):
        """What stands around the JSON value means nothing."""
        assert empty.call("write", body).json() == {"insertedId": 1}

    @pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"])
    def test_the_content_type_does_not_matter(self, empty, content_type):
        """A body is JSON, whatever a client such as ``curl -d`` calls it."""
        response = empty.call("write", '{"_id": 1}', headers={"Content-Type": content_type})

        assert response.json() == {"insertedId": 1}

    def test_a_body_may_come_in_chunks(self, empty):
        """A client need not know the length of what it sends."""
        response = requests.post(empty.url("write"), data=iter([b'{"_i', b'd": 1}']))

        assert response.json() == {"insertedId": 1}


class TestContentEncoding:
    @pytest.mark.parametrize("operation", ["readwithquery", "write", "batchwrite", "updatewithupsert", "batchdelete"])
    def test_a_compressed_body_is_refused(self, empty, problem, operation):
        """A body with a Content-Encoding is 415: what it would unpack to is not known."""
        response = empty.call(operation, gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})

        refused = problem(response)
        assert (refused["status"], refused["code"]) == (415, "UnsupportedMediaType")
        assert refused["detail"] == "a body is sent as it is, not with Content-Encoding: gzip"


@pytest.fixture
def birds(admin):
    """Two birds with nested fields, an array, a date, and fields that one of them lacks."""
    return admin.collection(
        [
            {"_id": 1, "name": "Wren, small", "size": {"cm": 10, "g": 9.5}, "songs": ["a", 'b"c']},
            {"_id": {"$oid": OID}, "name": None, "seen": {"$date": "2020-01-02T03:04:05Z"}, "rare": True},
        ]
    )


class TestForms:
    @pytest.mark.parametrize(
        ("accept", "content_type"),
        [
            ("application/json", "application/json"),
            ("*/*", "application/json"),
            ("text/html", "application/json"),
            ("application/ejson", "application/ejson"),
            ("application/x-ndjson", "application/x-ndjson"),
            ("text/csv", "text/csv; charset=utf-8"),
            ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
            ("text/csv; charset=utf-8", "text/csv; charset=utf-8"),
            ("application/json;q=0.5, application/ejson;charset=UTF-8", "application/ejson"),
        ],
    )
    @pytest.mark.parametrize(("operation", "body"), [("read", ""), ("readwithquery", {})])
    def test_reads_answer_in_the_form_that_is_asked_for(self, birds, operation, body, accept, content_type):
        """Both reads know four forms; what is none of them gets JSON."""
        response = birds.call(operation, body, headers={"Accept": accept})

        assert (response.status_code, response.headers["Content-Type"]) == (200, content_type)

    def test_ndjson_is_one_document_a_line(self, birds):
        """Every line is a whole JSON document, the last one too."""
        response = birds.call("read", headers={"Accept": "application/x-ndjson"})

        assert response.content.decode() == (
            '{"_id":1,"name":"Wren, small","size":{"cm":10,"g":9.5},"songs":["a","b\\"c"]}\n'
            f'{{"_id":{{"$oid":"{OID}"}},"name":null,"seen":{{"$date":"2020-01-02T03:04:05Z"}},"rare":true}}\n'
        )

    def test_csv_has_a_column_for_every_path(self, birds):
        """The header holds dotted paths; arrays are JSON; what is missing or null is an empty cell."""
        response = birds.call("read", headers={"Accept": "text/csv"})

        assert list(csv.reader(io.StringIO(response.content.decode(), newline=""))) == [
            ["_id", "name", "size.cm", "size.g", "songs", "seen", "rare"],
            ["1", "Wren, small", "10", "9.5", '["a","b\\"c"]', "", ""],
            [OID, "", "", "", "", "2020-01-02T03:04:05Z", "true"],
        ]

    def test_forms_hold_for_what_a_query_selects(self, birds):
        """Filter, projection and sort come before the form."""
        body = {"query": {"size.cm": 10}, "project": {"name": 1, "_id": 0}}

        assert birds.call("readwithquery", body, headers={"Accept": "application/x-ndjson"}).text == (
            '{"name":"Wren, small"}\n'
        )
        assert birds.call("readwithquery", body, headers={"Accept": "text/csv"}).content == (
            b'name\r\n"Wren, small"\r\n'
        )

    def test_a_query_that_is_refused_is_a_problem_in_every_form(self, birds, problem):
        """A problem is application/problem+json, whatever form the documents would have had."""
        for accept in ("application/x-ndjson", "text/csv", "application/ejson"):
            response = birds.call("readwithquery", {"query": {"a": {"$gtt": 1}}}, headers={"Accept": accept})

            assert problem(response)["status"] == 400

    def test_nothing_is_no_line(self, empty):
        """No documents are no lines of NDJSON."""
        assert empty.call("read", headers={"Accept": "application/x-ndjson"}).content == b""

    @pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "application/ejson", "text/csv"])
    def test_a_failure_at_the_last_document_is_a_problem(self, empty, problem, accept):
        """Nothing goes out before everything is known to be right, however large the answer."""
        empty.call("batchwrite", [{"n": n, "text": "x" * 900} for n in range(200, -1, -1)])

        response = empty.call(
            "readwithquery", {"project": {"x": {"$divide": [1, "$n"]}, "text": 1}}, headers={"Accept": accept}
        )

        assert problem(response)["status"] == 400

    @pytest.mark.parametrize("size", [1, 1000, 100_000])
    def test_an_answer_has_its_length(self, empty, size):
        """Sent whole or in pieces, a client sees where it ends, and how far it is."""
        document = {"_id": 1, "text": "☃" * size}
        empty.call("batchwrite", [document, {**document, "_id": 2}])

        response = empty.call("read", headers={"Accept-Encoding": "identity"})

        assert int(response.headers["Content-Length"]) == len(response.content)
        assert response.json() == [document, {**document, "_id": 2}]
