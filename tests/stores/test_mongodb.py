"""MongoDB's own matters: lost connections, several processes, a standalone, schemas, and what is never told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import bson
import pymongo
import pytest
from birds import BIRDS, change, everything, new_birds
from mongodb_server import MongoDBServer, new_database
from strategies import canonical

from connectome.errors import (
    CollectionExists,
    ConfigurationError,
    DuplicateKey,
    InvalidRequest,
    LedgerChanged,
    OutcomeUnknown,
    QueryError,
    SchemaViolation,
    StoreFailed,
    TooManyAffected,
)
from connectome.query import Filter
from connectome.query.deadline import deadline
from connectome.schemas import Schema
from connectome.service import Service
from connectome.stores import Collection, Find, Guard, Store, open_store
from connectome.stores.mongodb import _decoded
from connectome.stores.readonly import read_only
from connectome.stores.validators import validator

TOKEN = "ca_of_the_tests"
# mongod tells a client that waits for it of its stepping down; the server of the tests has to be asked.
MANY = 10**6
POLLING = "serverMonitoringMode=poll&heartbeatFrequencyMS=500"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """The store over a database of its own."""
    with closing(open_store(database)) as store:
        yield store


@pytest.fixture
def collection(store: Store) -> Collection:
    """A collection of three birds."""
    return new_birds(store)


@pytest.fixture(scope="module")
def failing() -> Iterator[MongoDBServer]:
    """A server that can be told to fail."""
    with closing(MongoDBServer(None, "--enable-test-commands")) as server:
        yield server


def fail(server: MongoDBServer, times: int, *commands: str, **how: Any) -> None:
    """Have the next commands of these names fail."""
    with pymongo.MongoClient(server.url) as client:
        client.admin.command(
            "configureFailPoint", "failCommand", mode={"times": times}, data={"failCommands": [*commands], **how}
        )


@pytest.fixture
def unsteady(failing: MongoDBServer) -> Iterator[Collection]:
    """A collection on the server that can be told to fail."""
    with closing(open_store(f"{failing.url}/unsteady?{POLLING}")) as store:
        store.drop("birds")
        collection = store.collection("birds", None, new=True)
        collection.insert_many(BIRDS)
        yield collection


@pytest.fixture
def left(failing: MongoDBServer) -> Iterator[Collection]:
    """The same in a database of its own, where a transaction may be left that nobody ends."""
    with closing(open_store(f"{failing.url}/left-{time.monotonic_ns()}?{POLLING}")) as store:
        collection = store.collection("birds", None, new=True)
        collection.insert_many(BIRDS)
        yield collection


class TestMeetings:
    def test_upserts_of_one_key_meet_however_they_are_written(self, collection):
        """Types of numbers and the order of conditions make no other key."""
        filters = [{"a": 1, "b": "x"}, {"b": "x", "a": 1.0}, {"$and": [{"a": {"$eq": 1}}, {"b": {"$in": ["x"]}}]}]

        def upsert(number: int) -> bool:
            modify = change(filters[number % 3], {"$inc": {"n": 1}}, upsert=True)
            return collection.update(modify).upserted is not None

        with ThreadPoolExecutor(6) as pool:
            assert [*pool.map(upsert, range(12))].count(True) == 1
        assert [each["n"] for each in collection.find(Find(Filter({"a": 1})))] == [12]


class TestLostConnections:
    @pytest.mark.parametrize("how", [{"closeConnection": True}, {"errorCode": 10107}], ids=["closed", "not primary"])
    def test_what_is_lost_once_is_sent_again(self, failing, unsteady, how):
        """Reads and writes are retried, and done once."""
        fail(failing, 1, "find", **how)
        assert everything(unsteady) == BIRDS
        fail(failing, 1, "insert", **how)
        unsteady.insert_one({"_id": "tit", "n": 0})
        fail(failing, 1, "update", **how)
        unsteady.update(change({"_id": "tit"}, {"$inc": {"n": 1}}))

        assert everything(unsteady)[3] == {"_id": "tit", "n": 1}

    def test_a_read_that_is_lost_for_good_is_a_failure(self, failing, unsteady):
        """Nothing was changed by it."""
        fail(failing, MANY, "find", closeConnection=True)

        with pytest.raises(StoreFailed) as caught, deadline(0.3):
            everything(unsteady)
        fail(failing, 0, "find")

        assert type(caught.value) is StoreFailed

    def test_of_a_write_that_is_lost_nobody_knows(self, failing, unsteady):
        """It may have been kept, and the error says so."""
        fail(failing, MANY, "insert", closeConnection=True)

        with pytest.raises(OutcomeUnknown), deadline(0.3):
            unsteady.insert_one({"_id": "tit"})
        fail(failing, 0, "insert")

    @pytest.mark.parametrize("how", [{"closeConnection": True}, {"errorCode": 91}], ids=["closed", "shutting down"])
    def test_of_a_transaction_whose_end_is_lost_nobody_knows(self, failing, left, how):
        """Though the time is over by then, it does not say that nothing was changed."""
        fail(failing, MANY, "commitTransaction", **how)

        with pytest.raises(OutcomeUnknown), deadline(0.5):
            left.update(change({}, {"$inc": {"n": 1}}))
        fail(failing, 0, "commitTransaction")

    def test_a_transaction_that_is_lost_before_its_end_changed_nothing(self, failing, left):
        """So that it may be sent again."""
        fail(failing, MANY, "update", closeConnection=True)

        with pytest.raises(StoreFailed) as caught, deadline(0.5):
            left.update(change({}, {"$inc": {"n": 1}}))
        fail(failing, 0, "update")

        assert type(caught.value) is StoreFailed
        assert everything(left) == BIRDS

    def test_nobody_there_is_told_of_a_transaction_too(self):
        """Long before the time of a batch is over."""
        with ExitStack() as stack:
            server = stack.enter_context(closing(MongoDBServer()))
            url = f"{server.url}/db?serverSelectionTimeoutMS=200&{POLLING}"
            birds = stack.enter_context(closing(open_store(url))).collection("birds", None, new=True)
            server.kill()
            with pytest.raises(StoreFailed, match="could be reached"):
                birds.insert_many(BIRDS)

    def test_what_takes_too_long_is_told_as_everywhere(self, failing, unsteady):
        """The server's maxTimeMS is the deadline of the request."""
        fail(failing, 1, "find", errorCode=50)

        with pytest.raises(QueryError) as caught:
            everything(unsteady)

        assert caught.value.code == "MaxTimeMSExpired"

    def test_nobody_there_is_told_soon(self):
        """Where the password of the URL does not stand."""
        with pytest.raises(StoreFailed) as caught:
            open_store("mongodb://me:secret@127.0.0.1:1/db?serverSelectionTimeoutMS=100")

        assert caught.value.detail == ("no server of mongodb://127.0.0.1:1/db could be reached: nothing was changed")


class TestDecoding:
    def test_what_pymongo_takes_for_a_reference_keeps_the_order_of_its_fields(self):
        """Which the server of the tests, made with pymongo, does not."""
        documents = [{"_id": 1, "to": [{"more": {"$id": 1, "$ref": "b"}, "$id": 2, "$ref": "a"}]}, {"_id": 2}]

        decoded = _decoded(b"".join(map(bson.encode, documents)))

        assert canonical(decoded) == canonical(documents)


class TestImports:
    def test_the_client_is_loaded_by_this_store_alone(self):
        """Whoever keeps documents in files waits for no driver."""
        program = (
            "import pathlib, sys, tempfile, connectome.cli.serving; from connectome.stores import open_store; "
            "open_store(pathlib.Path(tempfile.mkdtemp())).close(); sys.exit('pymongo' in sys.modules)"
        )

        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class TestURLs:
    @pytest.mark.parametrize(
        "url",
        [
            "mongodb://me:secret@127.0.0.1:1",
            "mongodb://me:sec/ret@127.0.0.1:1/db",
            "mongodb://me:secret@127.0.0.1:secret/db",
            "mongodb:///secret",
            "postgres://me:secret@host/db",
        ],
    )
    def test_one_that_is_none_is_refused_and_not_repeated(self, url):
        """A password may stand anywhere in it."""
        with pytest.raises(ConfigurationError) as caught:
            open_store(url)

        assert "secret" not in caught.value.detail
        assert "mongodb://" in caught.value.detail

    def test_writes_that_nobody_acknowledges_are_refused(self, database):
        """Whoever is told of a success shall be told the truth."""
        with pytest.raises(ConfigurationError, match="w=0"):
            open_store(f"{database}?w=0")

    def test_the_place_holds_no_password(self, database):
        """It is what people are shown."""
        with closing(open_store(f"{database}?appName=secret")) as store:
            assert store.place == database


class TestCollections:
    def test_a_name_is_given_once(self, store, collection):
        """Whoever is later is refused, whichever process it is."""
        with pytest.raises(CollectionExists):
            store.collection("birds", None, new=True)

    def test_what_is_there_is_told(self, store, collection):
        """By the database, not by the catalog."""
        assert (store.holds("birds"), store.holds("fish")) == (True, False)
        store.drop("birds")
        assert not store.holds("birds")

    def test_indexes_are_real(self, collection):
        """They are used, listed, and dropped again; of others' this process keeps its hands off."""
        collection.pin(["wings", "sings.well"])
        assert [(index.path, index.pinned) for index in collection.indexes()] == [("sings.well", True), ("wings", True)]
        explanation = collection.explain(Find(Filter({"wings": 2})))
        assert (explanation.stage, explanation.path) == ("IXSCAN", "wings")

        collection.pin([])
        assert collection.indexes() == []

    def test_what_is_near_is_counted(self, store, collection):
        """By a question, since MongoDB's pipelines, which count, do not know it."""
        store.database["birds"].create_index([("at", "2dsphere")])
        collection.insert_many([{"_id": n, "at": {"type": "Point", "coordinates": [n, 0]}} for n in range(3)])
        near = Filter(
            {"at": {"$near": {"$geometry": {"type": "Point", "coordinates": [0, 0]}, "$maxDistance": 150000}}}
        )

        assert collection.count(near) == len(list(collection.find(Find(near)))) == 2
        assert collection.delete_many(near, Guard(dry_run=True)).deleted == 2

    def test_skip_and_limit_may_be_as_large_as_they_are_elsewhere(self, collection):
        """Together they are no more than a server of a cluster adds up."""
        assert list(collection.find(Find(skip=2**70, limit=2**70))) == []
        assert [each["_id"] for each in collection.find(Find(skip=2, limit=2**63 - 1))] == ["wren"]

    def test_where_nothing_can_match_nothing_is_looked_at(self, collection):
        """Which plan the server has for it, it says."""
        assert collection.explain(Find(Filter({"_id": {"$in": []}}))).stage

    def test_an_index_of_the_owner_is_not_dropped(self, store, collection):
        """Not even where its path was pinned, and is no more: it may be unique."""
        store.database["birds"].create_index("name", unique=True, sparse=True)
        collection.insert_one({"_id": "tit", "name": "t"})

        collection.pin(["name"])
        assert {(index.path, index.pinned) for index in collection.indexes()} == {("name", True)}
        collection.pin([])

        assert [(index.path, index.pinned) for index in collection.indexes()] == [("name", False)]
        with pytest.raises(DuplicateKey) as caught:
            collection.load([{"_id": "wren"}, {"_id": 2, "name": "t"}], on_duplicate="skip")
        assert caught.value.pointer == "/1/name"

    def test_who_may_not_see_the_use_of_indexes_sees_them(self, failing, unsteady):
        """The roles readWrite and dbAdmin do not let anybody."""
        unsteady.pin(["wings"])
        fail(failing, 1, "aggregate", errorCode=13)

        assert [(index.path, index.uses) for index in unsteady.indexes()] == [("wings", 0)]

    def test_one_index_too_many_is_refused_and_spoils_nothing(self, failing):
        """The catalog does not name it, and what names one from elsewhere is served without."""
        with closing(Service(open_store(f"{failing.url}/indexed?{POLLING}"))) as service:
            service.create(id="birds")
            service.pin("birds", "wings")
            fail(failing, 2, "createIndexes", errorCode=67)

            with pytest.raises(InvalidRequest) as caught:
                service.pin("birds", "eggs")
            assert caught.value.code == "CannotCreateIndex"
            with closing(Service(open_store(f"{failing.url}/indexed?{POLLING}"))) as other:
                assert [(index.path, index.pinned) for index in other.indexes("birds")] == [("wings", True)]

    def test_who_only_reads_sees_what_is_pinned(self, database):
        """Though it makes no index."""
        with closing(Service(open_store(database))) as service:
            service.create(id="birds")
            service.pin("birds", "wings")
        with closing(Service(read_only(open_store(database)))) as service:
            assert [(index.path, index.pinned) for index in service.indexes("birds")] == [("wings", True)]

    def test_what_was_left_half_made_is_made_anew(self, store):
        """Whoever made it was cut short before the catalog named it; documents would be somebody's."""
        for name, documents in (("birds", []), ("fish", [{"_id": 1}])):
            store.collection(name, None, new=True).insert_many(documents)
        store.ledger("catalog").save({"connectome.busy": dict.fromkeys(("birds", "fish"), "2020-01-01T00:00:00+00:00")})
        service = Service(store)

        assert service.create(id="birds", documents=BIRDS)["count"] == 3
        with pytest.raises(CollectionExists, match="is no collection here"):
            service.create(id="fish")

    def test_several_ledgers_cannot_overwrite_each_other(self, store):
        """Who read before another saved is told."""
        one, other = store.ledger("catalog"), store.ledger("catalog")
        assert (one.load(), other.load()) == ({}, {})
        one.save({"a.b": {"$c": 1}})

        assert other.changed()
        with pytest.raises(LedgerChanged):
            other.save({})
        assert other.load() == {"a.b": {"$c": 1}}
        other.save({"d": 2})
        assert one.changed()
        assert not other.changed()


@pytest.fixture(scope="module")
def standalone() -> Iterator[Store]:
    with closing(MongoDBServer(None, "--standalone")) as server, closing(open_store(f"{server.url}/db")) as store:
        yield store


class TestStandalone:
    def test_what_was_inserted_of_a_refused_batch_is_taken_out(self, standalone):
        """There are no transactions: the document that was there before stays."""
        birds = standalone.collection("batches", None, new=True)
        birds.insert_many(BIRDS)

        with pytest.raises(DuplicateKey) as caught:
            birds.insert_many([{"_id": "robin"}, {"_id": "tit"}, {"_id": "owl"}])

        assert caught.value.pointer == "/2/_id"
        assert everything(birds) == BIRDS

    def test_so_is_what_was_loaded(self, standalone):
        """However much it was."""
        birds = standalone.collection("loads", None, new=True)
        birds.insert_many(BIRDS)

        with pytest.raises(DuplicateKey) as caught:
            birds.load({"_id": n} if n != 1005 else {"_id": "owl"} for n in range(1010))

        assert caught.value.pointer == "/1005/_id"
        assert everything(birds) == BIRDS

    def test_guards_hold(self, standalone):
        """What would happen is found out before."""
        birds = standalone.collection("guards", None, new=True)
        birds.insert_many(BIRDS)
        update = change({}, {"$inc": {"wings": 1}})

        assert birds.update(update, Guard(dry_run=True)).modified == 3
        for write in (lambda guard: birds.update(update, guard), lambda guard: birds.delete_many(Filter({}), guard)):
            with pytest.raises(TooManyAffected):
                write(Guard(max_affected=2))
        assert everything(birds) == BIRDS
        assert birds.delete_many(Filter({}), Guard(max_affected=3)).deleted == 3


class TestSizes:
    def test_a_new_document_that_is_too_large_is_refused(self, database):
        """As JSON, as on the embedded store, whatever way it takes."""
        with closing(open_store(database, max_document_bytes=100, durability="memory")) as store:
            collection = store.collection("birds", None, new=True)
            collection.insert_one({"_id": 1, "s": "x" * 60})
            large = {"_id": 2, "s": "x" * 100}

            for write in (
                lambda: collection.insert_one(large),
                lambda: collection.insert_many([{"_id": 3}, large]),
                lambda: collection.load([{"_id": 3}, large], on_duplicate="skip"),
            ):
                with pytest.raises(InvalidRequest) as caught:
                    write()
                assert caught.value.code == "BSONObjectTooLarge"
            assert collection.count(Filter({})) == 1

    def test_nobody_can_say_what_version_is_read(self, collection):
        """Another process may have written in the meantime."""
        assert collection.version is None


class TestSchemas:
    @pytest.mark.parametrize(
        ("schema", "keyword"),
        [
            ({"if": {}, "then": {}}, "/if"),
            ({"properties": {"a": {"contains": {}}}}, "/properties/a/contains"),
            ({"allOf": [{"unevaluatedProperties": False}]}, "/allOf/0/unevaluatedProperties"),
            ({"properties": {"a": {"$ref": "#"}}}, "/properties/a/$ref"),
            ({"properties": {"$date": {"minLength": 3}}}, "/properties"),
            ({"properties": {"a.b": {"type": "string"}}}, "/properties"),
            ({"not": {"required": ["a", ""]}}, "/not/required"),
        ],
    )
    def test_what_mongodb_cannot_enforce_is_refused_by_name(self, store, schema, keyword):
        """Nothing is left out in silence."""
        with pytest.raises(InvalidRequest) as caught:
            store.schema(schema)

        assert (caught.value.code, caught.value.pointer) == ("InvalidSchema", keyword)

    @pytest.mark.parametrize(
        ("schema", "valid", "invalid"),
        [
            ({"type": "integer"}, [1, 2.0, 2**40], [1.5, "1", True, None]),
            ({"type": ["number", "null"]}, [1, 1.5, None], ["1", True]),
            ({"exclusiveMinimum": 1, "minimum": 0}, [2, 1.5], [1, 0]),
            ({"const": "a"}, ["a"], ["b"]),
            ({"enum": [1, 1.0, True]}, [1, True], [2, False]),
            ({"prefixItems": [{"type": "string"}], "items": False}, [[], ["a"]], [[1], ["a", 1]]),
            ({"items": {"type": "string"}, "minItems": 1}, [["a"]], [[], [1]]),
            ({"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 2}, {}], [{"a": 1}]),
            ({"properties": {"a": False}, "required": []}, [{}], [{"a": 1}]),
            ({"properties": {"a": {}}, "additionalProperties": {"type": "string"}}, [{"a": 1}, {"b": ""}], [{"b": 1}]),
            ({"$ref": "#/$defs/even"}, [2], [3]),
            ({"format": "date", "title": "t", "default": 1}, ["x"], []),
        ],
    )
    def test_a_validator_is_the_schema(self, store, schema, valid, invalid):
        """What our validator lets through and refuses, MongoDB's does."""
        schema = {"properties": {"v": schema}, "$defs": {"even": {"multipleOf": 2}}}
        compiled = store.schema(schema)
        collection = store.collection("values", compiled, new=True)

        for value in valid:
            assert compiled.admits({"v": value})
            collection.insert_one({"v": value})
        for value in invalid:
            with pytest.raises(SchemaViolation) as caught:
                collection.insert_one({"v": value})
            assert [each.pointer for each in caught.value.failures] == [
                each.pointer for each in compiled.failures({"v": value})
            ]

    def test_types_that_travel_as_objects_are_types(self):
        """What the console proposes for a date is a date."""
        date = {"type": "object", "properties": {"$date": True}, "required": ["$date"], "additionalProperties": False}

        assert validator({"properties": {"d": {"$ref": "#/$defs/date"}}, "$defs": {"date": date}}) == {
            "$jsonSchema": {"properties": {"d": {"allOf": [{"bsonType": "date"}]}}}
        }

    def test_a_schema_that_documents_do_not_satisfy_is_not_set(self, collection):
        """One is named, and the old schema stays."""
        with pytest.raises(SchemaViolation) as caught:
            collection.set_schema(Schema({"required": ["eggs"]}))

        assert caught.value.document_id == "wren"
        collection.insert_one({"_id": "tit"})


def created(server: Any, **settings: Any) -> Any:
    return server.admin.collection(**settings)


def through(server: Any, collection: Any) -> Any:
    """The same collection, on another server."""
    keys = {"read": collection.read_credential, "write": collection.write_credential}
    return type(collection)(server, {"id": collection.id, "credentials": keys})


def eventually(holds: Any) -> None:
    """Wait for what takes seconds at most."""
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pair(mongodb: str, servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Two servers in front of one database."""
    with ExitStack() as stack:
        url = stack.enter_context(new_database(mongodb))
        yield [
            stack.enter_context(servers(tmp_path_factory.mktemp("data"), "--store", url, token=TOKEN)) for _ in range(2)
        ]


class TestTwoProcesses:
    def test_a_new_collection_is_seen_by_the_other(self, pair):
        """Within seconds; so is a credential that stops, and a collection that goes."""
        one, other = pair
        made = created(one, id="seen")
        made.call("write", {"n": 1})
        there = through(other, made)

        eventually(lambda: there.call("read").status_code == 200)
        assert there.read({}) == [{"n": 1}]
        one.admin.request("POST", "/seen/credentials/read")
        eventually(lambda: there.call("read").status_code == 401)
        one.admin.request("DELETE", "/seen")
        eventually(lambda: there.call("write", {}).status_code == 401)

    def test_changes_and_upserts_meet_in_one_document(self, pair):
        """Nothing is lost, nothing is there twice."""
        one, other = pair
        made = created(one, id="counted")
        there = through(other, made)
        eventually(lambda: there.call("read").status_code == 200)

        def work(number: int) -> set[int]:
            via = (made, there)[number % 2]
            body = {"search query": {"key": "k"}, "data": {"$inc": {"n": 1}}, "upsert": True}
            return {via.call("updatewithupsert", body).status_code for _ in range(5)}

        with ThreadPoolExecutor(8) as pool:
            assert set().union(*pool.map(work, range(8))) == {200}
        assert made.read({}) == [{"key": "k", "n": 40}]


class RestartedWriter:
    """
    Somebody who writes documents, batches of three and a counter, one after the other, whatever the answers are.

    kept: the ``_id`` of each document that was acknowledged.
    counted, lost: how often a change of the counter was acknowledged, and how often not.
    answers: from each status to the Retry-After that came with it.
    """

    def __init__(self, collection: Any, name: str) -> None:
        self.collection = collection
        self.name = name
        self.kept: set[str] = set()
        self.counted = self.lost = 0
        self.answers: dict[int, str | None] = {}

    def write(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            ids = [f"{self.name}-{number}-{each}" for each in range(3)]
            if self.answered("write", {"_id": f"{self.name}-{number}"}):
                self.kept.add(f"{self.name}-{number}")
            if self.answered("batchwrite", [{"_id": each, "batch": ids[0]} for each in ids]):
                self.kept |= {*ids}
            body = {"search query": {"counter": self.name}, "data": {"$inc": {"n": 1}}, "upsert": True}
            counted = self.answered("updatewithupsert", body)
            self.counted += counted
            self.lost += not counted

    def answered(self, operation: str, body: Any) -> bool:
        answer = self.collection.call(operation, body)
        self.answers[answer.status_code] = answer.headers.get("Retry-After")
        return answer.status_code in (200, 201)


class TestRestart:
    def test_nothing_acknowledged_is_lost(self, servers, tmp_path):
        """While the database is away requests are 503, and may be sent again; then everything goes on by itself."""
        storage = tmp_path / "mongodb"
        storage.mkdir()
        with closing(MongoDBServer(storage, "--sync-on-commit")) as mongodb:
            url = f"{mongodb.url}/restarted?serverSelectionTimeoutMS=1000&{POLLING}"
            with servers(tmp_path / "data", "--store", url, token=TOKEN) as server, ThreadPoolExecutor(4) as pool:
                collection = created(server)
                writers = [RestartedWriter(collection, f"w{number}") for number in range(4)]
                stop = threading.Event()
                try:
                    running = [pool.submit(writer.write, stop) for writer in writers]
                    eventually(lambda: all(writer.counted for writer in writers))
                    mongodb.kill()
                    eventually(lambda: any(503 in writer.answers for writer in writers))
                    mongodb.start()
                    before = [writer.counted for writer in writers]
                    eventually(lambda: all(now.counted > then for now, then in zip(writers, before, strict=True)))
                finally:
                    stop.set()
                for each in running:
                    each.result()

                found = collection.call("read").json()
        batches = Counter(document["batch"] for document in found if "batch" in document)
        counters = {document["counter"]: document["n"] for document in found if "counter" in document}
        assert set(batches.values()) == {3}
        for writer in writers:
            assert writer.kept <= {document["_id"] for document in found}
            # What was on its way is sent again.  mongod knows whether it has it; the server of the tests forgets that
            # when it is killed, and may do it twice, or say that the document is there.
            assert writer.counted <= counters[writer.name] <= writer.counted + writer.lost + 1
            assert {*writer.answers.items()} <= {(200, None), (201, None), (503, "1"), (409, None)}
