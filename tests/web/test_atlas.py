"""The routes of the Atlas Data API: called as its documentation says, as curl calls them, and by a client of npm's."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from strategies import documents

from connectome import extjson
from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app
from connectome.web.atlas import ACTIONS, plain, plain_text

# Where ``npm install mongodb-data-api`` was run.
NODE_MODULES = Path(os.environ.get("CONNECTOME_TEST_NODE_MODULES", "node_modules")).absolute()
ROUTE = "/app/myapp-abcde/endpoint/data/v1/action/"
OID = re.compile("[0-9a-f]{24}")
EJSON = "application/ejson"


class Program:
    """A program that was written for the service: one key, one collection."""

    def __init__(self, collection):
        self.collection = collection
        self.key = f"{collection.read_credential}+{collection.write_credential}"

    def post(self, action, body=None, *, headers=None, accept=None, path=ROUTE, **members):
        """The response to an action."""
        sent = {"dataSource": "mongodb-atlas", "database": "todo", "collection": self.collection.id, **members}
        given = {"apiKey": self.key} if headers is None else headers
        given = {**given, "Content-Type": "application/json", **({"Accept": accept} if accept else {})}
        return self.collection.server.request("POST", path + action, sent if body is None else body, headers=given)

    def call(self, action, *, accept=None, **members):
        """The body of a good answer."""
        response = self.post(action, accept=accept, **members)
        assert response.status_code == (201 if action.startswith("insert") else 200), response.text
        assert response.headers["Content-Type"] == (accept or "application/json")
        return response.json()

    def refused(self, response, status):
        """The error of a bad answer, once its form has been checked."""
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"] == "application/json"
        error = response.json()
        assert [*error] == ["error", "error_code", "link"]
        assert error["link"] == self.collection.server.url + "/"
        assert self.collection.read_credential not in response.text
        assert self.collection.write_credential not in response.text
        return error["error_code"], error["error"]


@pytest.fixture
def program(admin):
    """A program over an empty collection."""
    collection = admin.collection()
    yield Program(collection)
    admin.request("DELETE", f"/{collection.id}")


@pytest.fixture
def todo(program):
    """The same program, with three tasks."""
    program.call(
        "insertMany",
        documents=[
            {"_id": 1, "text": "Do the dishes", "status": "open"},
            {"_id": 2, "text": "Feed the dog", "status": "complete"},
            {"_id": 3, "text": "Mop the floor", "status": "open"},
        ],
    )
    return program


class TestFind:
    def test_one(self, todo):
        """``findOne`` answers the first document that matches."""
        assert todo.call("findOne", filter={"status": "open"}) == {
            "document": {"_id": 1, "text": "Do the dishes", "status": "open"}
        }

    def test_one_of_none(self, todo):
        """Where nothing matches the document is null."""
        assert todo.call("findOne", filter={"status": "lost"}) == {"document": None}

    def test_many(self, todo):
        """``find`` projects, sorts, skips and limits."""
        found = todo.call("find", filter={}, projection={"_id": 1}, sort={"text": -1}, skip=1, limit=1)

        assert found == {"documents": [{"_id": 2}]}

    def test_without_a_filter(self, todo):
        """A filter may be left out: then all match, and none is left out of the answer."""
        assert [each["_id"] for each in todo.call("find")["documents"]] == [1, 2, 3]

    def test_more_than_a_thousand(self, program):
        """No limit is there that nobody asked for."""
        program.call("insertMany", documents=[{"n": n} for n in range(1500)])

        assert len(program.call("find", filter={})["documents"]) == 1500

    def test_aggregate(self, todo):
        """A pipeline is run."""
        pipeline = [{"$group": {"_id": "$status", "n": {"$sum": 1}}}, {"$sort": {"_id": -1}}]

        assert todo.call("aggregate", pipeline=pipeline) == {
            "documents": [{"_id": "open", "n": 2}, {"_id": "complete", "n": 1}]
        }


class TestRequest:
    @pytest.mark.parametrize(
        "headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": EJSON}]
    )
    def test_the_type_of_a_body_is_not_looked_at(self, program, headers):
        """Extended JSON is understood whatever it is called: curl calls it a form where nobody says otherwise."""
        body = {"dataSource": "a", "database": "b", "collection": program.collection.id}
        body["document"] = {"_id": {"$oid": "629971c0d71aad65bd59c595"}}

        response = program.collection.server.request(
            "POST", ROUTE + "insertOne", body, headers={"api-key": program.key, **headers}
        )

        assert (response.status_code, response.json()) == (201, {"insertedId": "629971c0d71aad65bd59c595"})

    def test_a_small_board(self, program):
        """HTTP/1.0 without a host, as microcontrollers write it by hand, is answered to its end."""
        body = json.dumps(
            {"dataSource": "a", "database": "b", "collection": program.collection.id, "document": {"_id": 1, "t": 21.5}}
        )
        server = urlsplit(program.collection.server.url)
        with closing(socket.create_connection((server.hostname, server.port), timeout=30)) as connection:
            connection.sendall(
                f"POST {ROUTE}insertOne HTTP/1.0\r\napiKey: {program.key}\r\nContent-Type: {EJSON}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(4096), b""))

        assert answer.split(b" ")[1] == b"201"
        assert answer.endswith(b'\r\n\r\n{"insertedId":1}')


class TestInsert:
    def test_an_id_is_made(self, program):
        """A document without ``_id`` gets an ObjectId, as it did there."""
        made = program.call("insertOne", document={"text": "Hello, world!"})["insertedId"]

        assert OID.fullmatch(made)
        assert program.call("findOne", filter={"_id": {"$oid": made}}, accept=EJSON) == {
            "document": {"_id": {"$oid": made}, "text": "Hello, world!"}
        }

    def test_an_id_is_kept(self, program):
        """An ``_id`` in Extended JSON is one, and so is a date."""
        document = {"_id": {"$oid": "629971c0d71aad65bd59c595"}, "date": {"$date": {"$numberLong": "1654589430998"}}}

        assert program.call("insertOne", document=document, accept=EJSON) == {"insertedId": document["_id"]}
        assert program.call("findOne", accept=EJSON) == {"document": document}
        assert program.call("findOne") == {
            "document": {"_id": "629971c0d71aad65bd59c595", "date": "2022-06-07T08:10:30.998Z"}
        }

    def test_many(self, program):
        """Several are answered by their ids, in order."""
        made = program.call("insertMany", documents=[{"a": 1}, {"_id": "x"}])["insertedIds"]

        assert OID.fullmatch(made[0])
        assert made[1] == "x"

    def test_all_or_none(self, program):
        """Where one is refused none is kept."""
        response = program.post("insertMany", documents=[{"_id": 1}, {"_id": 1}])

        code, text = program.refused(response, 400)
        assert (code, text) == (
            "MongoDBError",
            "Failed to insert documents: FunctionError: (DuplicateKey) E11000 duplicate key error: "
            "_id 1 is taken (at /documents/1/_id)",
        )
        assert program.call("find") == {"documents": []}


class TestUpdate:
    def test_one(self, todo):
        """``updateOne`` changes the first that matches."""
        answer = todo.call("updateOne", filter={"status": "open"}, update={"$set": {"status": "complete"}})

        assert answer == {"matchedCount": 1, "modifiedCount": 1}
        assert [each["status"] for each in todo.call("find")["documents"]] == ["complete", "complete", "open"]

    def test_many(self, todo):
        """``updateMany`` changes all; what is so already is matched, and not modified."""
        answer = todo.call("updateMany", filter={}, update={"$set": {"status": "open"}}, accept=EJSON)

        assert answer == {"matchedCount": {"$numberInt": "3"}, "modifiedCount": {"$numberInt": "1"}}

    def test_none(self, todo):
        """Where nothing matches nothing happens, and that is no error."""
        answer = todo.call("updateOne", filter={"status": "lost"}, update={"$set": {"a": 1}})

        assert answer == {"matchedCount": 0, "modifiedCount": 0}

    @pytest.mark.parametrize("update", [{"$set": {"a": 1}}, [{"$set": {"a": 1}}]])
    def test_upsert(self, todo, update):
        """An upsert makes an ObjectId, and says so."""
        answer = todo.call("updateOne", filter={"text": "new"}, update=update, upsert=True)

        assert (answer["matchedCount"], answer["modifiedCount"]) == (0, 0)
        assert todo.call("findOne", filter={"_id": {"$oid": answer["upsertedId"]}}) == {
            "document": {"_id": answer["upsertedId"], "text": "new", "a": 1}
        }

    def test_upsert_of_an_id(self, todo):
        """An ``_id`` that the filter fixes is the new document's."""
        answer = todo.call("updateMany", filter={"_id": 9}, update={"$set": {"a": 1}}, upsert=True)

        assert answer == {"matchedCount": 0, "modifiedCount": 0, "upsertedId": 9}

    def test_plain_fields_are_refused(self, todo):
        """An update without operators is a mistake, not a replacement."""
        code, text = todo.refused(todo.post("updateMany", filter={}, update={"status": "open"}), 400)

        assert code == "InvalidParameter"
        assert "must contain atomic operators" in text

    def test_replacement(self, todo):
        """``replaceOne`` leaves nothing of the document but its ``_id``, and takes every value as it is."""
        replacement = {"text": "$status", "steps": [{"$dollar": 1}]}

        answer = todo.call("replaceOne", filter={"status": "open"}, replacement=replacement)

        assert answer == {"matchedCount": 1, "modifiedCount": 1}
        assert todo.call("findOne") == {"document": {"_id": 1, **replacement}}

    def test_replacement_with_upsert(self, todo):
        """Where nothing matches the replacement is the document; of the filter it takes the ``_id`` alone."""
        made = todo.call("replaceOne", filter={"text": "x"}, replacement={"a": 1}, upsert=True)["upsertedId"]
        fixed = todo.call("replaceOne", filter={"_id": 9, "b": 2}, replacement={"a": 2}, upsert=True)["upsertedId"]

        assert todo.call("findOne", filter={"a": 1}) == {"document": {"_id": made, "a": 1}}
        assert todo.call("findOne", filter={"_id": {"$oid": made}})["document"]
        assert todo.call("findOne", filter={"_id": fixed}) == {"document": {"_id": 9, "a": 2}}

    def test_replacement_cannot_change_the_id(self, todo):
        """The ``_id`` of a document stays."""
        response = todo.post("replaceOne", filter={"_id": 1}, replacement={"_id": 2})

        code, text = todo.refused(response, 400)
        assert code == "MongoDBError"
        assert "(ImmutableField)" in text

    def test_replacement_with_operators_is_refused(self, todo):
        """An update in the place of a replacement is a mistake."""
        code, text = todo.refused(todo.post("replaceOne", filter={}, replacement={"$set": {"a": 1}}), 400)

        assert (code, text) == ("InvalidParameter", "a replacement has no operators, such as $set (at /replacement)")


class TestDelete:
    def test_one(self, todo):
        """``deleteOne`` removes the first that matches."""
        assert todo.call("deleteOne", filter={"status": "open"}) == {"deletedCount": 1}
        assert [each["_id"] for each in todo.call("find")["documents"]] == [2, 3]

    def test_many(self, todo):
        """``deleteMany`` removes all that match."""
        assert todo.call("deleteMany", filter={"status": "open"}, accept=EJSON) == {"deletedCount": {"$numberInt": "2"}}

    @pytest.mark.parametrize("action", ["deleteOne", "deleteMany"])
    def test_a_filter_is_needed(self, todo, action):
        """Without a filter, or with one under a wrong name, nothing is deleted."""
        for members in ({}, {"fliter": {"_id": 1}}):
            assert todo.refused(todo.post(action, **members), 400)[0] == "InvalidParameter"

        assert len(todo.call("find")["documents"]) == 3


class TestAccess:
    @pytest.mark.parametrize("header", ["apiKey", "api-key", "Authorization"])
    def test_a_key_comes_in_any_of_three_headers(self, todo, header):
        """``apiKey``, ``api-key`` and a bearer's token are one."""
        headers = {header: f"Bearer {todo.key}" if header == "Authorization" else todo.key}

        assert todo.post("find", headers=headers).status_code == 200
        assert todo.post("deleteOne", headers=headers, filter={}).status_code == 200

    def test_the_order_of_the_two_does_not_matter(self, todo):
        """Reading and writing go with either before the other."""
        headers = {"apiKey": "+".join(reversed(todo.key.split("+")))}

        assert todo.post("find", headers=headers).status_code == 200
        assert todo.post("deleteOne", headers=headers, filter={}).status_code == 200

    @pytest.mark.parametrize("action", ACTIONS)
    def test_one_credential_does_what_it_does_elsewhere(self, todo, action):
        """A read credential alone reads, a write credential alone writes, and neither does more."""
        members = {
            "find": {},
            "findOne": {},
            "aggregate": {"pipeline": []},
            "insertOne": {"document": {}},
            "insertMany": {"documents": []},
            "replaceOne": {"filter": {}, "replacement": {}},
        }.get(action, {"filter": {}, **({"update": {"$set": {"a": 1}}} if action.startswith("update") else {})})
        reads = action in ("find", "findOne", "aggregate")
        mine, other = todo.collection.read_credential, todo.collection.write_credential
        good, bad = (mine, other) if reads else (other, mine)

        code, text = todo.refused(todo.post(action, headers={"apiKey": bad}, **members), 403)

        assert code == "NoMatchingRuleFound"
        assert text.endswith("a key that does both is the two credentials, joined by '+'")
        assert todo.post(action, headers={"apiKey": good}, **members).status_code < 300

    @pytest.mark.parametrize("key", ["cr_wrong", "cr_wrong+cw_wrong", "+", "a+b+c"])
    def test_a_wrong_key_is_refused(self, todo, key):
        """A key that opens nothing is answered as the service did."""
        assert todo.refused(todo.post("find", headers={"apiKey": key}), 401) == (
            "InvalidSession",
            "invalid session: error finding user for endpoint",
        )

    def test_an_unknown_collection_is_answered_as_a_wrong_key_is(self, todo):
        """Nobody learns which collections there are."""
        assert todo.refused(todo.post("find", collection="nowhere"), 401) == (
            "InvalidSession",
            "invalid session: error finding user for endpoint",
        )

    def test_no_key_at_all(self, todo):
        """A request without a key is answered as the service did."""
        assert todo.refused(todo.post("find", headers={}), 400) == (
            "InvalidParameter",
            "no authentication methods were specified",
        )

    @pytest.mark.parametrize("header", ["apiKey", "api-key"])
    def test_an_empty_key(self, todo, header):
        """A key that is there, and empty, is answered as the service did."""
        code, text = todo.refused(todo.post("find", headers={header: ""}), 400)

        assert code == "MissingParameter"
        assert text.startswith("must specify some form of authentication")

    @pytest.mark.parametrize("headers", [{"email": "a@b.c", "password": "x"}, {"jwtTokenString": "a.b.c"}])
    def test_a_user_of_the_service(self, todo, headers):
        """Who signed in otherwise is told what to send here; beside a key it does not matter."""
        code, text = todo.refused(todo.post("find", headers=headers), 400)

        assert code == "InvalidParameter"
        assert text.startswith("there are no users here: send a key")
        assert todo.post("find", headers={**headers, "apiKey": todo.key}).status_code == 200

    def test_who_has_no_key_has_no_body_read(self, application):
        """A key that opens nothing at all is refused before the body is read; one of another collection is not."""
        app = application()
        app.extensions["connectome"].create(id="other", credentials={"read": "cr_2", "write": "cw_2"})

        def answered(key):
            sent = io.BytesIO(b"{" * 99)
            response = app.test_client().post(
                ROUTE + "find", input_stream=sent, content_length=99, headers={"apiKey": key}
            )
            return response.status_code, sent.tell()

        assert [answered(key) for key in ("cr_3", "cr_3+cw_3", "+")] == [(401, 0)] * 3
        assert [answered(key) for key in ("cr_1", "cw_1", "cr_2", "cr_3+cw_2")] == [(400, 99)] * 4

    def test_a_key_that_has_ended_has_no_body_read(self, application):
        """A credential that was rotated, or is not valid any more, is one that opens nothing."""
        app = application()
        service = app.extensions["connectome"]
        fresh = service.rotate("tasks", "read")

        assert [service.knows(each) for each in ("cr_1", "cw_1", fresh, "")] == [False, True, True, False]
        service.drop("tasks")
        assert not service.knows(fresh)


class TestErrors:
    def test_a_wrong_query(self, todo):
        """What MongoDB refuses is told in its words, with its code and its place."""
        assert todo.refused(todo.post("find", filter={"a": {"$gtt": 1}}), 400) == (
            "MongoDBError",
            "Failed to find documents: FunctionError: (BadValue) unknown operator: $gtt; did you mean $gt? "
            "(at /filter/a/$gtt)",
        )

    def test_a_wrong_pipeline(self, todo):
        """A stage that is not offered is refused by its name."""
        code, text = todo.refused(todo.post("aggregate", pipeline=[{"$match": {}}, {"$out": "x"}]), 400)

        assert code == "MongoDBError"
        assert text.endswith("$out is not offered: an aggregation reads, and writes nothing (at /pipeline/1/$out)")

    @pytest.mark.parametrize("missing", ["dataSource", "database", "collection", "document"])
    def test_a_key_is_missing(self, program, missing):
        """Every action needs where its documents are, and what to do with them."""
        body = {"dataSource": "a", "database": "b", "collection": program.collection.id, "document": {}}
        del body[missing]

        code, text = program.refused(program.post("insertOne", body), 400)

        assert code == "InvalidParameter"
        assert missing in text

    @pytest.mark.parametrize("action", ACTIONS)
    def test_null_is_as_if_it_were_left_out(self, todo, action):
        """Clients that write null for what they were not given are understood; what is needed is not null."""
        declared = ACTIONS[action]
        needed = declared.body.source["required"]
        optional = dict.fromkeys(name for name in declared.body.source["properties"] if name not in needed)
        body = {**declared.example, **optional, "collection": todo.collection.id}
        body |= {name: declared.example[name] for name in needed if name != "collection"}

        assert todo.post(action, body).status_code == declared.success.status
        for name in needed:
            assert todo.refused(todo.post(action, {**body, name: None}), 400)[0] == "InvalidParameter"

    def test_a_body_that_is_packed(self, program):
        """What is no matter of MongoDB's is not called so."""
        headers = {"apiKey": program.key, "Content-Encoding": "gzip"}

        assert program.refused(program.post("find", headers=headers), 415)[0] == "InvalidParameter"

    @pytest.mark.parametrize("body", ["{", "[]", '{"a": 1, "a": 2}', '{"n": NaN}'])
    def test_no_json_that_is_accepted(self, program, body):
        """A body that is no strict JSON object is refused."""
        assert program.refused(program.post("find", body), 400)[0] == "InvalidParameter"

    def test_an_unknown_action(self, program):
        """Another action than the ten is not there; the nearest is named."""
        assert program.refused(program.post("findone"), 404) == (
            "EndpointNotFound",
            "there is no such action; did you mean findOne?",
        )

    @pytest.mark.parametrize("path", ["/app/myapp/endpoint/data/v1//action/find", "/app/myapp/endpoint/mine"])
    def test_another_path(self, program, path):
        """Custom endpoints, and a base URL with a slash too many, are answered in the words of the service too."""
        response = program.collection.server.request("POST", path)

        assert program.refused(response, 404) == (
            "EndpointNotFound",
            "there is nothing at this path: expected POST /app/<app>/endpoint/data/<version>/action/<action>",
        )

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_another_method(self, program, method):
        """Actions are posted."""
        response = program.collection.server.request(method, ROUTE + "find")

        assert program.refused(response, 405)[0] == "MethodNotAllowed"
        assert response.headers["Allow"] == "OPTIONS, POST"

    def test_a_schema_is_not_satisfied(self, admin):
        """A document that fails the schema is refused, as the service refused it."""
        program = Program(admin.collection(schema={"required": ["text"]}))

        code, text = program.refused(program.post("insertOne", document={}), 400)

        assert (code, "(DocumentValidationFailure)" in text) == ("MongoDBError", True)

    def test_another_version(self, todo):
        """``beta`` is the same; another version is not there."""
        path = ROUTE.replace("v1", "beta")

        assert todo.post("find", path=path).status_code == 200
        assert todo.refused(todo.post("find", path=ROUTE.replace("v1", "v2")), 404) == (
            "EndpointNotFound",
            "there is no such version; expected v1 or beta",
        )


@pytest.fixture
def application(directory):
    """A server with some settings over a collection of ten documents, in this process."""
    with closing(Service(open_store(directory))) as service:
        service.create(
            id="tasks", credentials={"read": "cr_1", "write": "cw_1"}, documents=[{"n": n} for n in range(10)]
        )
        yield lambda **settings: create_app(Settings(data=directory, **settings), service)


@pytest.fixture
def posted(application):
    """What a server with some settings answers to actions."""

    def post(settings, *calls):
        client = application(**settings).test_client()
        return [
            client.post(
                ROUTE + action,
                json={"dataSource": "a", "database": "b", "collection": "tasks", **body},
                headers={"apiKey": "cr_1+cw_1"},
            )
            for action, body in calls
        ]

    return post


class TestLimits:
    @pytest.mark.parametrize("call", [("find", {}), ("aggregate", {"pipeline": []})])
    @pytest.mark.parametrize("limit", ["max_result_documents", "max_result_bytes"])
    def test_of_an_answer(self, posted, call, limit):
        """An answer that the owner finds too large is refused, never cut."""
        (refused,) = posted({limit: 5}, call)

        assert refused.status_code == 400
        assert [*refused.json] == ["error", "error_code", "link"]
        assert "ResultTooLarge" in refused.json["error"]

    @pytest.mark.parametrize(
        "call",
        [
            ("find", {"filter": {"a": {"$in": [1, 2, 3]}}}),
            ("aggregate", {"pipeline": [{"$match": {"a": {"$in": [1, 2, 3]}}}]}),
            ("updateOne", {"filter": {"a": {"$in": [1, 2, 3]}}, "update": {"$set": {"b": 1}}}),
            ("deleteMany", {"filter": {"a": {"$in": [1, 2, 3]}}}),
        ],
    )
    def test_of_a_question(self, posted, call):
        """A list of values that the owner finds too long is refused by its place."""
        (refused,) = posted({"max_in_values": 2}, call)

        assert refused.status_code == 400
        assert "(TooManyValues)" in refused.json["error"]
        assert "(at /" in refused.json["error"]

    def test_of_requests(self, posted):
        """A credential that asks too often is told when to come again."""
        good, refused = posted({"rate_limit": "1/min"}, ("find", {}), ("find", {}))

        assert good.status_code == 200
        assert refused.status_code == 429
        assert refused.json["error_code"] == "TooManyRequests"
        assert int(refused.headers["Retry-After"]) > 0

    def test_of_wrong_keys(self, application):
        """An address from which too many came is barred in the words of the service."""
        client = application(failure_limit="1/min").test_client()

        refused, barred = (client.post(ROUTE + "find", headers={"apiKey": "cr_2"}) for _ in range(2))

        assert (refused.status_code, barred.status_code) == (401, 429)
        assert [*barred.json] == ["error", "error_code", "link"]
        assert barred.json["error_code"] == "TooManyRequests"
        assert int(barred.headers["Retry-After"]) > 0


class TestLink:
    @pytest.mark.parametrize(
        ("settings", "host", "link"),
        [
            ({}, "data.example.com:81", "http://data.example.com:81/"),
            ({"public_url": "https://data.example.com/here"}, "localhost", "https://data.example.com/here/"),
            ({}, "a b", "/"),
        ],
    )
    def test_it_leads_to_the_console(self, application, settings, host, link):
        """As the settings say; else as the server was called, where that is a name."""
        client = application(**settings).test_client()

        answer = client.post(ROUTE + "find", environ_overrides={"HTTP_HOST": host, "SERVER_NAME": ""})

        assert answer.json["link"] == link


class TestActivity:
    def test_actions_are_counted(self, directory):
        """What is asked here is counted as the operations are: by its action, its collection and how it ended."""
        service = Service(open_store(directory))
        try:
            app = create_app(Settings(data=directory), service)
            service.create(id="tasks", credentials={"read": "cr_1", "write": "cw_1"})
            for action, body in [("find", {}), ("find", {"limit": -1}), ("nothing", {})]:
                app.test_client().post(
                    ROUTE + action,
                    json={"dataSource": "a", "database": "b", "collection": "tasks", **body},
                    headers={"apiKey": "cr_1"},
                )
        finally:
            service.close()

        recent = app.extensions["connectome.activity"].recent()
        assert [(each.operation, each.collection, each.status) for each in recent] == [
            ("", "", 404),
            ("find", "", 400),
            ("find", "tasks", 200),
        ]


class TestPlainJson:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (ObjectId("5d505646cf6d4fe581014ab2"), "5d505646cf6d4fe581014ab2"),
            (datetime(2022, 1, 12, 2, 33, 23, 67000, UTC), "2022-01-12T02:33:23.067Z"),
            (datetime(2022, 1, 12, 2, 33, 20, 0, UTC), "2022-01-12T02:33:20Z"),
            (datetime(1960, 1, 1, tzinfo=UTC), "1960-01-01T00:00:00Z"),
            (Decimal128("9823.1297"), "9823.1297"),
            (Int64(50), 50),
            (10.5, 10.5),
            (-10.0, -10),
            (0.0, 0),
            (1e15, 1e15),
            (Binary(b"abc", 5), {"Subtype": 5, "Data": "YWJj"}),
            (Regex("^H", "i"), {"Pattern": "^H", "Options": "i"}),
            (Timestamp(1565545664, 1), {"T": 1565545664, "I": 1}),
            (MinKey(), {}),
            (MaxKey(), {}),
            (DatetimeMS(-(2**62)), {"$date": {"$numberLong": str(-(2**62))}}),
        ],
    )
    def test_is_as_the_service_had_it(self, value, shown):
        """Types that JSON lacks are shown as the service's manual says, wherever they stand."""
        made = plain({"a": [value]})

        assert made == {"a": [shown]}
        assert type(made["a"][0]) is type(shown)

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(documents)
    def test_is_the_same_from_text(self, document):
        """From the text of a document comes what comes from the document."""
        assert plain_text(extjson.encode(document)) == extjson.encode(plain(document))

    @pytest.mark.parametrize(
        "document",
        [
            {"a": '{"$oid":"5d505646cf6d4fe581014ab2"}'},
            {'{"$oid":"5d505646cf6d4fe581014ab2"}': 1},
            {"a": "\\", "b": ObjectId("5d505646cf6d4fe581014ab2")},
            {"a": {"$dollar": {"b": ObjectId("5d505646cf6d4fe581014ab2")}}},
            {"a": datetime(2022, 1, 12, 2, 33, 23, 60000, UTC), "b": Decimal128("1.50")},
            {"a": [1.0, -2.0, 10.05, 1e15, -0.0, 0.0], "b": 3.0, "c": {"d": 999999999999999.0}},
            {"a": "[1.0,", "b": ':2.0,"c":3.0}', 'c":4.0,': 5.0, "d": '\\"', "e": 6.0},
            {"at": ObjectId("5d505646cf6d4fe581014ab2"), "a": 7.0},
        ],
    )
    def test_is_the_same_from_text_that_looks_like_a_type(self, document):
        """Text that could be taken for a type is none, and a type beside others is found."""
        assert plain_text(extjson.encode(document)) == extjson.encode(plain(document))

    def test_leaves_alone_what_is_json(self):
        """A document that needs nothing is not copied."""
        document = {"a": [1, "b", None, {"c": 2.5}], "d": True}

        assert plain(document) is document


@pytest.mark.skipif(
    not (shutil.which("node") and (NODE_MODULES / "mongodb-data-api").is_dir()),
    reason="node, or the package mongodb-data-api in CONNECTOME_TEST_NODE_MODULES, is not here",
)
class TestClientOfNpm:
    def test_all_its_calls(self, program, tmp_path):
        """The package mongodb-data-api, written for the service, does everything that it can do."""
        script = tmp_path / "program.cjs"
        script.write_text(
            """
const { createMongoDBDataAPI } = require('mongodb-data-api')
const [urlEndpoint, apiKey, collection] = process.argv.slice(2)
const api = createMongoDBDataAPI({ apiKey, urlEndpoint }).$cluster('c').$database('d').$collection(collection)

async function main() {
  const done = []
  const add = async (call) => done.push(await call)
  await add(api.insertOne({ document: { _id: 'a', n: 1 } }))
  await add(api.insertMany({ documents: [{ _id: 'b', n: 2 }, { _id: 'c', n: 3 }] }))
  await add(api.findOne({ filter: { n: 2 } }))
  await add(api.find({ filter: { n: { $gte: 2 } }, sort: { n: -1 }, projection: { n: 1 }, limit: 5, skip: 0 }))
  await add(api.updateOne({ filter: { _id: 'a' }, update: { $inc: { n: 10 } } }))
  await add(api.updateMany({ filter: {}, update: { $set: { seen: true } }, upsert: false }))
  await add(api.replaceOne({ filter: { _id: 'd' }, replacement: { n: 4 }, upsert: true }))
  await add(api.aggregate({ pipeline: [{ $group: { _id: '$seen', n: { $sum: '$n' } } }, { $sort: { n: 1 } }] }))
  await add(api.deleteOne({ filter: { _id: 'a' } }))
  await add(api.deleteMany({ filter: { n: { $lt: 4 } } }))
  await add(api.find({}))
  await add(api.find({ filter: { a: { $gtt: 1 } } }).catch((error) => error.status))
  console.log(JSON.stringify(done))
}
main().catch((error) => { console.error(error); process.exit(1) })
""",
            encoding="utf-8",
        )
        url = program.collection.server.url + ROUTE.removesuffix("/action/")

        ran = subprocess.run(
            ["node", str(script), url, program.key, program.collection.id],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES)},
        )

        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == [
            {"insertedId": "a"},
            {"insertedIds": ["b", "c"]},
            {"document": {"_id": "b", "n": 2}},
            {"documents": [{"_id": "c", "n": 3}, {"_id": "b", "n": 2}]},
            {"matchedCount": 1, "modifiedCount": 1},
            {"matchedCount": 3, "modifiedCount": 3},
            {"matchedCount": 0, "modifiedCount": 0, "upsertedId": "d"},
            {"documents": [{"_id": None, "n": 4}, {"_id": True, "n": 16}]},
            {"deletedCount": 1},
            {"deletedCount": 2},
            {"documents": [{"_id": "d", "n": 4}]},
            400,
        ]
