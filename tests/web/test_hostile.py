"""
Requests that mean harm, or were made by accident, by the thousand.

Whatever comes, it is answered with a problem or with what it asked for, never with a failure of ours; what is refused
leaves the documents as they were, and the server answers the next one.
"""

from __future__ import annotations

import itertools
import json
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from connectome.config import Settings
from connectome.query.accumulators import ACCUMULATORS
from connectome.query.conditions import FIELD_OPERATORS, TOP_LEVEL_OPERATORS
from connectome.query.expressions.language import OPERATORS as EXPRESSIONS
from connectome.query.pipeline import STAGES
from connectome.query.stages import DOCUMENT_STAGES
from connectome.query.update import OPERATORS as UPDATES
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app, serving
from connectome.web.atlas import ACTIONS

KEYS = {"read": "cr_reader", "write": "cw_writer"}
DOCUMENTS = [
    {"_id": 1, "n": 1, "s": "text", "a": [1, 2, 3], "d": {"x": 1}, "at": {"$date": "2026-05-01"}},
    {"_id": 2, "n": -0.5, "s": "", "a": [{"x": 1}, {"x": [1]}], "d": None},
    {"_id": 3, "n": {"$numberDecimal": "1E+6000"}, "s": "\u0000\U0001f600", "a": [], "d": {}},
]
# One of each type, and of each what is odd.
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    -(2**63),
    0.5,
    -0.0,
    1e308,
    5e-324,
    {"$numberDouble": "NaN"},
    {"$numberDouble": "-Infinity"},
    {"$numberDecimal": "9.999E+6144"},
    {"$numberDecimal": "NaN"},
    "",
    "a",
    "$",
    "$$",
    "$n",
    "$$NOW",
    "$$ROOT",
    "a.b",
    "a..b",
    ".",
    "\u0000",
    "\ud83d\ude00",
    "(",
    "x" * 5000,
    {"$date": "0001-01-01T00:00:00Z"},
    {"$date": {"$numberLong": str(2**63 - 1)}},
    {"$oid": "6703a5c09c41d27e3b5a10c2"},
    {"$binary": {"base64": "", "subType": "00"}},
    {"$timestamp": {"t": 0, "i": 0}},
    {"$minKey": 1},
    {"$maxKey": 1},
    {"$regularExpression": {"pattern": "(a+)+$", "options": ""}},
    {"$regularExpression": {"pattern": "(", "options": "z"}},
    [],
    [[]],
    [{}],
    [None],
    [1, "a"],
    ["$n", "$s"],
    [[1, 2], [3]],
    [0, 0],
    [1, 2, 3, 4, 5],
    {},
    {"a": 1},
    {"": 1},
    {"$gt": 1},
    {"$": 1},
    {"$gtt": 1},
    {"input": 1},
    {"input": "$a", "in": 1, "as": "$"},
    {"$each": 1},
    {"$each": [1], "$slice": "a"},
    {"$expr": 1},
    {"a.b": {"$x": 1}},
    {"$in": 1},
]
TEXTS = [
    b"", b" ", b"\x00", b"{", b"}", b"[", b"{]", b"nul", b"NaN", b"Infinity", b"-", b"01", b"1.", b".5", b"1e", b"+1",
    b"'a'", b"{a: 1}", b'{"a": 1,}', b'{"a": 1 "b": 2}', b'{"a" 1}', b"[1, , 2]", b"/* */ {}", b"{} {}", b"{}x",
    b'{"a": 1, "a": 2}', b'{"\\u0061": 1, "a": 2}', b'{"a": 1e400}', b'{"a": 123456789012345678901234567890}',
    b'{"a": 9223372036854775808}', b'"\\ud800"', b'{"a": "\\udc00\\ud800"}', b'{"a\\u0000": 1}', b'"\\x41"', b'"\\u12"',
    b'"\n"', b'"\x1f"', b'"', b"\xff\xfe{\x00}\x00", b'{"a": "\xff"}', b'{"a": "\xc0\xaf"}',
    b'{"a": "\xed\xa0\x80"}', b'{"a": "\xf4\x90\x80\x80"}', b'{"a": "\xe2\x82"}', b"[" * 101 + b"]" * 101,
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"-" * 100_000, b"1" * 100_000,
    b'{"a": 1' + b"0" * 100_000 + b"}", b'{"$date": 1}', b'{"a": {"$date": []}}',
    b'{"a": {"$oid": "x"}}', b'{"a": {"$numberLong": "9223372036854775808"}}', b'{"a": {"$numberInt": "1", "b": 2}}',
    b'{"a": {"$binary": {"base64": "*", "subType": "zz"}}}', b'{"a": {"$numberDecimal": "1E+99999999999"}}',
    b'{"a": {"$regularExpression": {"pattern": "\\u0000", "options": "i"}}}', b'{"a": {"$code": "f"}}',
    b'{"a": {"$uuid": "x"}}', b'{"a": {"$undefined": true}}', b'{"__proto__": {"a": 1}, "constructor": 1',
]  # fmt: skip


class Target:
    """An application over three documents, which tells whether anything in them was changed."""

    def __init__(self, directory):
        self.service = Service(open_store(directory, durability="memory"))
        self.service.create(id="movies", credentials=KEYS)
        options = Settings(data=directory, admin_token="token", max_time_seconds=2, max_body_bytes=2**20)
        self.client = Client(create_app(options, self.service))
        assert self.ask("batchwrite", DOCUMENTS).status_code == 201

    @property
    def version(self):
        """Another one after each change."""
        return self.service.reader(KEYS["read"], "movies").version

    def ask(self, operation, body, parameters=""):
        """The response to an operation with a body, a text or a value."""
        method = {"read": "GET", "batchdelete": "DELETE"}.get(operation, "POST")
        key = KEYS["read" if operation.startswith("read") else "write"]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.open(f"/collection/{operation}/{key}/movies{parameters}", method=method, data=content)

    def stands(self, operation, body, parameters=""):
        """Ask, and make sure of what must hold in any case; the status."""
        before = self.version
        response = self.ask(operation, body, parameters)
        assert response.status_code < 500, (operation, str(body)[:300], response.text)
        if response.status_code >= 400:
            assert response.content_type == "application/problem+json"
            found = response.json
            assert (found["status"], found["type"]) == (response.status_code, f"urn:connectome:{found['code']}")
            assert found["code"] != "InternalError"
            assert len(found["detail"]) < 2000
            assert self.version == before
        else:
            json.loads(response.data)  # all of it came
        return response.status_code

    def acts(self, action, body):
        """As ``stands``, of an action of the Atlas Data API, whose members stand beside where its documents are."""
        before = self.version
        place = {"dataSource": "a", "database": "b", "collection": "movies"}
        response = self.client.post(
            f"/app/any/endpoint/data/v1/action/{action}",
            data=body if isinstance(body, bytes) else json.dumps({**place, **body}).encode(),
            headers={"apiKey": "+".join(KEYS.values())},
        )
        assert response.status_code in (200, 201, 400), (action, str(body)[:300], response.text)
        found = json.loads(response.data)
        if response.status_code == 400:
            assert [*found] == ["error", "error_code", "link"]
            assert found["error_code"] in ("InvalidParameter", "MongoDBError")
            assert self.version == before
        return response.status_code


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """What is aimed at; dry runs leave it as it is."""
    target = Target(tmp_path_factory.mktemp("hostile"))
    yield target
    target.service.close()


WITH_BODY = ["readwithquery", "write", "batchwrite", "updatewithupsert", "batchdelete"]
DRY = "?dry_run=true"


class TestBodies:
    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_what_is_no_json_is_refused(self, target, operation):
        """Cut off, doubled, nested without end, not UTF-8, numbers without end, wrappers of nothing."""
        assert {target.stands(operation, text) for text in TEXTS} == {400}

    @pytest.mark.parametrize("operation", ["write", "batchwrite"])
    def test_what_is_no_json_is_refused_inside_too(self, target, operation):
        """Where a document is as it should be but for one value."""
        for text in TEXTS:
            if text.strip() and not text.startswith(b"\xef"):
                around = b'{"_id": 1, "x": %s}' if operation == "write" else b'[{"_id": 1, "x": %s}]'
                assert target.stands(operation, around % text) in (400, 409)

    @pytest.mark.parametrize("operation", WITH_BODY)
    def test_every_type_is_answered(self, target, operation):
        """As the whole body, and as each part of it."""
        parts = {
            "readwithquery": ["query", "project", "sort", "skip", "limit"],
            "updatewithupsert": ["search query", "data", "upsert", "multi", "arrayFilters"],
        }
        good = {"search query": {"_id": "none"}, "data": {"a": 1}} if operation == "updatewithupsert" else {}
        for value in VALUES:
            if operation not in ("write", "batchwrite"):
                target.stands(operation, value, DRY if operation == "batchdelete" else "")
            else:
                target.stands(operation, [{"_id": 1}, value] if operation == "batchwrite" else {"_id": 1, "a": value})
            for name in parts.get(operation, ()):
                target.stands(operation, {**good, name: value}, DRY if operation == "updatewithupsert" else "")

    @given(
        st.recursive(
            st.sampled_from(VALUES) | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(
                        [*FIELD_OPERATORS, *TOP_LEVEL_OPERATORS, *EXPRESSIONS, "n", "a", "a.0", "d.x", "", "$"]
                    ),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=400, deadline=None)
    def test_anything_at_all_is_answered(self, target, value):
        """As filter, projection, sort, update."""
        target.stands("readwithquery", {"query": value})
        target.stands("readwithquery", {"query": {"$expr": value}, "project": {"x": value}})
        target.stands("updatewithupsert", {"search query": {}, "data": value}, DRY)


class TestOperators:
    @pytest.mark.parametrize("operator", sorted({*FIELD_OPERATORS, *TOP_LEVEL_OPERATORS}))
    def test_of_a_filter(self, target, operator):
        """Each with every type, on a field, in a field, at the top, negated."""
        for value in VALUES:
            condition = {operator: value}
            for query in ({"a": condition}, {"a.x": condition}, condition, {"a": {"$not": condition}},
                          {"a": {"$elemMatch": condition}}, {"a": {"$size": 1, **condition}}):  # fmt: skip
                target.stands("readwithquery", {"query": query})
            target.stands("batchdelete", {"s": condition}, DRY)

    @pytest.mark.parametrize("operator", sorted(EXPRESSIONS))
    def test_of_an_expression(self, target, operator):
        """Each with every type, alone and beside a good argument."""
        for value in VALUES:
            for operand in (value, [value, value], ["$a", value, "$n"]):
                target.stands("readwithquery", {"project": {"x": {operator: operand}}})

    @pytest.mark.parametrize("operator", sorted(UPDATES))
    def test_of_an_update(self, target, operator):
        """Each with every type, as what it changes and as how."""
        for value in VALUES:
            for data in ({operator: value}, *({operator: {path: value}} for path in ("a", "n", "d.x", "a.$[]", "a.$[e]",
                         "a.10000000", "_id", "", "a..b", "$a", "s.x", "new.field"))):  # fmt: skip
                target.stands("updatewithupsert", {"search query": {}, "data": data}, DRY)
                target.stands("updatewithupsert", {"search query": {"k": 1}, "data": data, "upsert": True}, DRY)

    @pytest.mark.parametrize("stage", sorted(STAGES))
    def test_of_a_pipeline(self, target, stage):
        """Each stage with every type."""
        for value in VALUES:
            for operand in (value, {"a": value}, {"newRoot": value}):
                target.stands("updatewithupsert", {"search query": {}, "data": [{stage: operand}]}, DRY)

    def test_pairs_of_operators_of_an_update(self, target):
        """That may stand in each other's way."""
        for first, second in itertools.product(UPDATES, repeat=2):
            data = (
                {first: {"a": 1}, second: {"a.0": {"$each": [1]}}} if first != second else {first: {"a": 1, "a.b": 1}}
            )
            target.stands("updatewithupsert", {"search query": {}, "data": data}, DRY)


class TestDataApi:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_what_is_no_json_is_refused(self, target, action):
        """As it is by the operations."""
        assert {target.acts(action, text) for text in TEXTS} == {400}

    @pytest.mark.parametrize("action", ACTIONS)
    def test_every_type_is_answered(self, target, action):
        """As each member of a body; what would change is of no document."""
        good = {"filter": {"_id": "none"}, "update": {"$set": {"a": 1}}, "replacement": {}, "document": {}}
        taken = ACTIONS[action].body.source["properties"]
        for name in taken.keys() - {"collection", *(["filter"] if ACTIONS[action].role == "write" else [])}:
            for value in VALUES:
                target.acts(action, {**{each: good[each] for each in good if each in taken}, name: value})

    @pytest.mark.parametrize("stage", sorted({*STAGES, *DOCUMENT_STAGES}))
    def test_every_stage_is_answered(self, target, stage):
        """Each with every type, as what it takes and as a part of that, on documents that have been through another."""
        for value in VALUES:
            for operand in (value, {"a": value}, {"_id": "$a", "x": value}, {"path": "$a", "includeArrayIndex": value},
                            {"groupBy": "$n", "boundaries": value}, {"groupBy": value, "buckets": 2}):  # fmt: skip
                target.acts("aggregate", {"pipeline": [{"$unwind": "$a"}, {stage: operand}]})

    @pytest.mark.parametrize("accumulator", sorted(ACCUMULATORS))
    def test_every_accumulator_is_answered(self, target, accumulator):
        """Each with every type, as what it takes and as a part of that."""
        for value in VALUES:
            for operand in (value, {"input": "$a", "n": value}, {"sortBy": value, "output": "$a"},
                            {"input": "$n", "p": value, "method": "approximate"}):  # fmt: skip
                target.acts("aggregate", {"pipeline": [{"$group": {"_id": None, "x": {accumulator: operand}}}]})


class TestSizes:
    @pytest.mark.parametrize(
        ("operation", "body", "code"),
        [
            ("readwithquery", {"query": {"$or": [{"a": n} for n in range(5_001)]}}, "TooManyTerms"),
            ("readwithquery", {"query": {f"a{n}": 1 for n in range(10_001)}}, "TooManyTerms"),
            ("readwithquery", {"project": {f"a{n}": 1 for n in range(10_001)}}, "TooManyTerms"),
            ("readwithquery", {"sort": {f"a{n}": 1 for n in range(10_001)}}, "TooManyTerms"),
            ("readwithquery", {"query": {"$expr": {"$add": [1] * 10_001}}}, "TooManyTerms"),
            ("readwithquery", {"query": {"$expr": {"a": [1] * 10_001}}}, "TooManyTerms"),
            ("readwithquery", {"query": {"a": {"$all": list(range(10_001))}}}, "TooManyTerms"),
            ("readwithquery", {"query": {"a": {"$elemMatch": {f"a{n}": 1 for n in range(10_001)}}}}, "TooManyTerms"),
            ("readwithquery", {"query": {"a": {"$in": [0] * 100_001}}}, "TooManyValues"),
            ("batchdelete", {"a": {"$nin": [0] * 100_001}}, "TooManyValues"),
            ("batchdelete", {"$nor": [{"a": 1}] * 5_001}, "TooManyTerms"),
            ("updatewithupsert", {"search query": {}, "data": {f"a{n}": 1 for n in range(10_001)}}, "TooManyTerms"),
            (
                "updatewithupsert",
                {"search query": {}, "data": {"$inc": {f"a{n}": 1 for n in range(10_001)}}},
                "TooManyTerms",
            ),
            ("updatewithupsert", {"search query": {}, "data": [{"$set": {"a": 1}}] * 5_001}, "TooManyTerms"),
            ("readwithquery", {"query": {".".join("a" * 101): 1}}, "Overflow"),
            ("readwithquery", {"query": {"a": {"$regex": "a" * 32765}}}, "Location51091"),
            ("readwithquery", {"sort": {f"a{n}": 1 for n in range(33)}}, "Location13103"),
            ("updatewithupsert", {"search query": {}, "data": {"new.1000000000": 1}}, None),
            ("updatewithupsert", {"search query": {"_id": 1}, "data": {"a.1000000000": 1}}, "CannotBackfillArray"),
            ("write", {"text": "x" * 2**20}, "BodyTooLarge"),
        ],
    )
    def test_what_is_too_large_is_refused(self, target, operation, body, code):
        """Each with a code of its own."""
        response = target.ask(operation, body, DRY if operation.startswith(("update", "batchd")) else "")

        assert response.json.get("code") == code

    @pytest.mark.parametrize(
        ("operation", "body"),
        [
            ("readwithquery", {"query": {"a": {"$in": list(range(50_000))}}}),
            ("readwithquery", {"query": {"$or": [{"a": n} for n in range(4_999)]}}),
            ("readwithquery", {"query": {"a": list(range(50_000))}}),
            ("readwithquery", {"query": {"a": {"$not": {"$eq": {f"b{n}": n for n in range(50_000)}}}}}),
            ("readwithquery", {"query": {"$or": [{"a": {f"b{n}": {"c": [n]} for n in range(20_000)}}]}}),
            ("updatewithupsert", {"search query": {"_id": 1}, "data": {"$set": {"big": list(range(20_000))}}}),
            ("updatewithupsert", {"search query": {"_id": 1}, "data": {"$push": {"a": {"$each": [0] * 20_000}}}}),
        ],
    )
    def test_what_is_only_large_is_not(self, target, operation, body):
        """Values are no terms."""
        assert target.stands(operation, body, DRY if operation.startswith("update") else "") == 200

    @pytest.mark.parametrize(
        "query",
        [
            {"s": {"$regex": "^(a|a)*$"}},
            {
                "$expr": {
                    "$gt": [
                        {
                            "$strLenCP": {
                                "$reduce": {
                                    "input": {"$range": [0, 60]},
                                    "initialValue": "xx",
                                    "in": {"$concat": ["$$value", "$$value"]},
                                }
                            }
                        },
                        1,
                    ]
                }
            },
            {
                "$expr": {
                    "$gt": [{"$size": {"$map": {"input": {"$range": [0, 6_000_000]}, "in": {"$range": [0, 1000]}}}}, 1]
                }
            },
            {
                "$expr": {
                    "$gt": [
                        {
                            "$reduce": {
                                "input": {"$range": [0, 6_000_000]},
                                "initialValue": 0,
                                "in": {"$add": ["$$value", 1]},
                            }
                        },
                        -1,
                    ]
                }
            },
        ],
    )
    def test_what_would_never_end_is_ended(self, target, query):
        """By the clock, or because it would fill the memory."""
        target.stands("readwithquery", {"query": query})

    def test_an_answer_may_have_a_bound(self, tmp_path):
        """Of documents or of bytes, in every form: it is refused, never cut."""
        with closing(Service(open_store(tmp_path))) as service:
            service.create(id="movies", credentials=KEYS)
            service.writer(KEYS["write"], "movies").insert_many([{"_id": n, "text": "x" * 100} for n in range(100)])
            for bound in ({"max_result_documents": 50}, {"max_result_bytes": 8000}):
                client = Client(create_app(Settings(data=tmp_path, admin_token="token", **bound), service))
                for accept in ("application/json", "application/ejson", "application/x-ndjson", "text/csv"):

                    def ask(limit, client=client, accept=accept):
                        path = "/collection/readwithquery/cr_reader/movies"
                        return client.post(path, data=json.dumps({"limit": limit}), headers={"Accept": accept})

                    assert [ask(limit).status_code for limit in (0, 50, 100)] == [400, 200, 400]
                    assert ask(0).json["code"] == "ResultTooLarge"

    def test_a_document_may_not_grow_beyond_its_size(self, tmp_path):
        """Not by one update, nor by many, nor in a dry run; nothing of it is kept."""
        with closing(Service(open_store(tmp_path, max_document_bytes=1000))) as service:
            service.create(id="movies", credentials=KEYS)
            client = Client(create_app(Settings(data=tmp_path, admin_token="token"), service))
            write = "/collection/{}/cw_writer/movies"
            assert client.post(write.format("write"), json={"_id": 1, "a": ["x" * 400]}).status_code == 201
            push = {"search query": {}, "data": {"$push": {"a": "x" * 400}}}

            answers = [client.post(write.format("updatewithupsert"), json=push) for _ in range(3)]
            answers.append(client.post(write.format("updatewithupsert") + "?dry_run=true", json=push))
            answers.append(client.post(write.format("batchwrite"), json=[{"_id": 2}, {"_id": 3, "a": "x" * 1000}]))

            assert [each.status_code for each in answers] == [200, 400, 400, 400, 400]
            assert {each.json["code"] for each in answers[1:]} == {"BSONObjectTooLarge"}
            assert len(service.reader(KEYS["read"], "movies").version.split("-")) == 2
            assert [len(each["a"]) for each in client.get("/collection/read/cr_reader/movies").json] == [2]


@pytest.fixture(scope="module", params=["waitress", "granian"])
def server(request, servers, tmp_path_factory):
    """A server of each kind, with one document in one collection."""
    if request.param == "granian" and not serving.has_granian():
        pytest.skip("granian comes with the extra fast")
    with servers(tmp_path_factory.mktemp("http"), "--server", request.param, "--max-header-bytes", "16384") as server:
        server.kind = request.param
        server.collection = server.admin.collection([{"_id": 1}])
        yield server


WRITE = b"POST /collection/write/cw_writer/movies HTTP/1.1\r\nHost: x\r\n"
# No body here is a document: whatever a server makes of the rest, nothing is written.
BROKEN = [
    b"\r\n\r\n\r\n",
    b"\x00\x01\x02\x03\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%ff%fe%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    b"A" * 100_000,
    b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a=b;" * 3000 + b"\r\n\r\n",
    WRITE + b"Content-Length: -1\r\n\r\n[]",
    WRITE + b"Content-Length: 1e3\r\n\r\n[]",
    WRITE + b"Content-Length: +2\r\n\r\n[]",
    WRITE + b"Content-Length: 99999999999999999999999\r\n\r\n[]",
    WRITE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]x",
    WRITE + b"Content-Length: 50\r\n\r\n[]",
    WRITE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    WRITE + b"Transfer-Encoding: gzip\r\n\r\n[]",
    WRITE + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    WRITE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n",
    WRITE + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n[]\r\n0\r\n\r\n",
    WRITE + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n[]\r\n",
    WRITE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]",
    WRITE + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 50_000 + b"\r\n[]\r\n0\r\n\r\n",
    WRITE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]xx0\r\n\r\n",
    WRITE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    WRITE + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    WRITE + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n[]",
    WRITE + b"Content-Type: \xff\r\nAccept: \xff;q=\xff\r\nContent-Length: 2\r\n\r\n[]",
    WRITE + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nContent-Length: 2\r\n\r\n[]",
]


def answers(server, sent, *, half_close=True):
    """All that comes back of what is sent, until the server closes, or has nothing more to say."""
    parts = urlsplit(server.url)
    content = b""
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=10)) as connection:
        try:
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                content += more
        except OSError:  # it has closed hard, or waits for more
            pass
    return content


class TestHTTP:
    @pytest.mark.parametrize("number", range(len(BROKEN)))
    def test_what_is_broken_is_refused(self, server, number):
        """With 4xx, 501 or 505 by the book, or without a word; the collection and the next request are as before."""
        sent = BROKEN[number].replace(b"cw_writer/movies", server.collection.path("write").split("write/")[1].encode())

        answer = answers(server, sent)

        if answer:
            status = int(answer.split()[1])
            assert status < 500 or status in (501, 505), answer[:500]
            head = answer.partition(b"\r\n\r\n")[0].lower()
            if status >= 400 and server.kind == "waitress":
                assert b"content-type: application/problem+json" in head
        assert server.collection.documents == [{"_id": 1}]

    def test_a_connection_without_a_word_is_let_go(self, server):
        """Closed by the client, at once, half, or after a part of a line."""
        for sent in (b"", b"G", b"GET / HT"):
            answers(server, sent)
        assert server.request("GET", "/-/health").status_code == 200

    def test_requests_in_a_row_are_answered_in_a_row(self, server):
        """A hundred at once on one connection, good and bad; each gets its own answer."""
        path = server.collection.path("readwithquery")
        bodies = [b'{"query": {"_id": %d}}' % (n % 2) for n in range(100)]
        heads = [f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() for body in bodies]
        last = b"GET /-/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

        answer = answers(server, b"".join(map(b"".join, zip(heads, bodies, strict=True))) + last, half_close=False)

        assert answer.count(b"HTTP/1.1 200 ") == 101
        assert (answer.count(b'\r\n[{"_id":1}]\n'), answer.count(b"\r\n[]\n")) == (50, 50)

    def test_many_connections_do_nobody_harm(self, server):
        """Three hundred that say nothing, and one that asks."""
        parts = urlsplit(server.url)
        idle = [socket.create_connection((parts.hostname, parts.port)) for _ in range(300)]
        try:
            with requests.Session() as session:
                session.trust_env = False
                assert session.get(server.url + "/-/health", timeout=20).status_code == 200
        finally:
            for each in idle:
                each.close()
