"""Collections in TinyDB files: all or nothing, in natural order, durable, and held by one process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId, Regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import canonical, documents
from tinydb import TinyDB

from connectome import extjson
from connectome.errors import (
    ConnectomeError,
    DuplicateKey,
    Failure,
    InvalidRequest,
    NoSpace,
    QueryError,
    SchemaViolation,
    StoreFailed,
    StoreLocked,
    TooManyAffected,
    UpdateError,
)
from connectome.query import Filter, Projection, Sort, Update
from connectome.schemas import Schema
from connectome.stores import Collection, Find, Guard, Modified, Modify, Store, open_store
from connectome.stores.embedded import EmbeddedStore


@pytest.fixture(params=["texts", "documents"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs with documents kept as texts, and as they are where msgspec is not installed."""
    monkeypatch.setattr(extjson, "HAS_MSGSPEC", request.param == "texts")


@pytest.fixture
def collection(store: Store) -> Collection:
    """A collection of three birds."""
    collection = store.collection("birds", None, new=True)
    collection.insert_many(BIRDS)
    return collection


BIRDS = [
    {"_id": "kestrel", "wings": 2, "eggs": [4, 5]},
    {"_id": "owl", "wings": 2, "eggs": [3]},
    {"_id": "wren", "wings": 2, "sings": {"well": True}},
]


def everything(collection: Collection) -> list[Any]:
    return list(collection.find(Find()))


def reopened(store: Store, *, schema: Schema | None = None) -> Collection:
    """The birds as a fresh look at the disk finds them."""
    return store.collection("birds", schema)


def change(filter: Any, update: Any, **options: bool) -> Modify:
    return Modify(Filter(filter), Update(update), **options)


def assert_identical(got: Any, expected: Any) -> None:
    """Equal down to the type of every number and the order of every field."""
    assert canonical(got) == canonical(expected)


class TestInsertOne:
    def test_a_document_is_kept_as_it_came(self, store):
        """Its fields stay in their order, its _id is the answer."""
        collection = store.collection("birds", None, new=True)

        assert collection.insert_one({"_id": 7, "b": 1, "a": 2}) == 7
        assert_identical(everything(collection), [{"_id": 7, "b": 1, "a": 2}])

    def test_an_id_is_made_where_there_is_none(self, store):
        """24 hexadecimal digits, in front of the other fields."""
        collection = store.collection("birds", None, new=True)

        identity = collection.insert_one({"b": 1})

        assert ObjectId.is_valid(identity)
        assert type(identity) is str
        assert_identical(everything(collection), [{"_id": identity, "b": 1}])

    def test_the_id_moves_to_the_front(self, store):
        """As MongoDB keeps it; the other fields stay in their order."""
        collection = store.collection("birds", None, new=True)

        collection.insert_one({"b": 1, "_id": 7, "a": 2})

        assert_identical(everything(collection), [{"_id": 7, "b": 1, "a": 2}])

    def test_the_document_that_came_is_not_changed(self, store):
        """The caller's own dict gets no _id."""
        document = {"b": 1}

        store.collection("birds", None, new=True).insert_one(document)

        assert document == {"b": 1}

    def test_a_taken_id_is_refused_at_its_place(self, collection):
        """The pointer leads from the document on."""
        with pytest.raises(DuplicateKey) as caught:
            collection.insert_one({"_id": "owl"})

        assert (caught.value.detail, caught.value.pointer) == ('_id "owl" is taken', "/_id")
        assert everything(collection) == BIRDS

    @pytest.mark.parametrize("identity", [[1], [], Regex("a")])
    def test_an_array_or_a_pattern_is_no_id(self, collection, identity):
        """Neither could be looked up."""
        with pytest.raises(InvalidRequest) as caught:
            collection.insert_one({"_id": identity})

        assert caught.value.pointer == "/_id"
        assert everything(collection) == BIRDS

    @pytest.mark.parametrize("identity", [None, True, 1.5, {"a": [1]}, float("nan"), Int64(5), ObjectId("0" * 24)])
    def test_any_other_value_is_an_id(self, store, identity):
        """It is unique like every other, also after the store is opened again."""
        store.collection("birds", None, new=True).insert_one({"_id": identity})

        with pytest.raises(DuplicateKey):
            reopened(store).insert_one({"_id": identity})

    @pytest.mark.parametrize(("one", "other"), [(1, 1.0), (Int64(1), 1), (0.0, -0.0)])
    def test_ids_that_are_equal_in_bson_are_one(self, store, one, other):
        """``1`` and ``1.0`` name the same document."""
        collection = store.collection("birds", None, new=True)
        collection.insert_one({"_id": one})

        with pytest.raises(DuplicateKey):
            collection.insert_one({"_id": other})

    def test_true_is_not_one(self, store):
        """Two brackets, two documents."""
        collection = store.collection("birds", None, new=True)

        assert collection.insert_many([{"_id": 1}, {"_id": True}, {"_id": "1"}]) == [1, True, "1"]


class TestInsertMany:
    def test_the_ids_come_back_in_order(self, store):
        """One for each document, made or given."""
        identities = store.collection("birds", None, new=True).insert_many([{"_id": "a"}, {"n": 1}, {"_id": "b"}])

        assert identities[::2] == ["a", "b"]
        assert ObjectId.is_valid(identities[1])

    def test_nothing_is_kept_when_one_document_is_refused(self, collection, store):
        """A batch with one duplicate inserts none of its documents."""
        with pytest.raises(DuplicateKey) as caught:
            collection.insert_many([{"_id": "robin"}, {"_id": "owl"}])

        assert caught.value.pointer == "/1/_id"
        assert everything(collection) == BIRDS
        assert everything(reopened(store)) == BIRDS

    def test_a_batch_may_not_hold_an_id_twice(self, collection):
        """The second is the one to blame."""
        with pytest.raises(DuplicateKey) as caught:
            collection.insert_many([{"_id": 1}, {"_id": 2}, {"_id": 1.0}])

        assert caught.value.pointer == "/2/_id"
        assert everything(collection) == BIRDS

    def test_an_id_of_a_refused_batch_is_free(self, collection):
        """A refused request leaves no trace."""
        with pytest.raises(DuplicateKey):
            collection.insert_many([{"_id": "robin"}, {"_id": "owl"}])

        assert collection.insert_one({"_id": "robin"}) == "robin"

    def test_an_empty_batch_is_no_error(self, collection):
        """It holds nothing to refuse."""
        assert collection.insert_many([]) == []
        assert everything(collection) == BIRDS

    def test_every_document_that_fails_the_schema_is_named(self, store):
        """Nothing is kept, and each failure has its place in the batch."""
        collection = store.collection("birds", Schema({"properties": {"wings": {"type": "integer"}}}), new=True)

        with pytest.raises(SchemaViolation) as caught:
            collection.insert_many([{"wings": "two"}, {"wings": 2}, {"wings": 2.5}])

        assert caught.value.failures == [
            Failure('expected integer, not "two"', "/0/wings"),
            Failure("expected integer, not 2.5", "/2/wings"),
        ]
        assert everything(collection) == []


class TestUpdate:
    def test_every_match_is_changed(self, collection):
        """The others stay as they are, and all in their order."""
        assert outcome(collection.update(change({"eggs": {"$exists": True}}, {"$set": {"nest": 1}}))) == (2, 2, None)
        assert_identical(
            everything(collection),
            [
                {"_id": "kestrel", "wings": 2, "eggs": [4, 5], "nest": 1},
                {"_id": "owl", "wings": 2, "eggs": [3], "nest": 1},
                {"_id": "wren", "wings": 2, "sings": {"well": True}},
            ],
        )

    def test_without_multi_the_first_match_is_changed(self, collection):
        """The first in natural order."""
        assert outcome(collection.update(change({"wings": 2}, {"$inc": {"wings": 1}}, multi=False))) == (1, 1, None)
        assert [bird["wings"] for bird in everything(collection)] == [3, 2, 2]

    def test_what_does_not_change_is_matched_and_not_modified(self, collection):
        """modifiedCount counts changes alone."""
        assert outcome(collection.update(change({}, {"$set": {"sings": {"well": True}}}))) == (3, 2, None)

    def test_an_update_that_changes_nothing_writes_nothing(self, collection, directory):
        """The file is not even touched."""
        before = (directory / "birds.json").stat().st_mtime_ns

        collection.update(change({}, {"$set": {"wings": 2}}))

        assert (directory / "birds.json").stat().st_mtime_ns == before

    def test_one_document_that_refuses_keeps_all_as_they_are(self, collection, store):
        """Stronger than MongoDB, which would have changed the first two."""
        with pytest.raises(UpdateError):
            collection.update(change({}, {"$set": {"sings.well": True}, "$push": {"wings": 3}}))

        assert everything(collection) == BIRDS
        assert everything(reopened(store)) == BIRDS

    def test_one_document_that_breaks_the_schema_keeps_all_as_they_are(self, store):
        """The violation names the document."""
        collection = store.collection("birds", Schema({"properties": {"wings": {"maximum": 3}}}), new=True)
        collection.insert_many([{"_id": "a", "wings": 1}, {"_id": "b", "wings": 3}])

        with pytest.raises(SchemaViolation) as caught:
            collection.update(change({}, {"$inc": {"wings": 1}}))

        assert (caught.value.document_id, caught.value.pointer) == ("b", "/wings")
        assert everything(collection) == [{"_id": "a", "wings": 1}, {"_id": "b", "wings": 3}]

    def test_nothing_matched_is_no_error_here(self, collection):
        """What an answer makes of it is not the store's business."""
        assert outcome(collection.update(change({"_id": "dodo"}, {"$set": {"wings": 0}}))) == (0, 0, None)

    def test_an_id_cannot_be_changed(self, collection):
        """It is what a document is known by."""
        with pytest.raises(UpdateError) as caught:
            collection.update(change({"_id": "owl"}, {"$set": {"_id": "eagle"}}))

        assert caught.value.code == "ImmutableField"
        assert everything(collection) == BIRDS

    @pytest.mark.parametrize(
        "update",
        [{"$set": {"egg.$oid": "x"}}, {"$rename": {"wings": "egg.$date"}}, {"$set": {"sings.$numberLong": "1"}}],
    )
    def test_a_field_that_would_be_read_as_something_else_is_refused(self, collection, store, update):
        """A field called ``$date`` would come back from the file as a date, or not at all."""
        with pytest.raises(ConnectomeError):
            collection.update(change({}, update))

        assert everything(collection) == BIRDS
        assert everything(reopened(store)) == BIRDS

    def test_a_document_cannot_grow_deeper_than_it_can_be_kept(self, store):
        """Moving a document into itself again and again ends in a refusal, not in a crash, and what is there stays."""
        collection = store.collection("birds", None, new=True)
        collection.insert_one({"_id": 1, "a": {}})
        deep = ".".join("b" * 90)

        def dig() -> None:
            for _ in range(30):
                collection.update(change({}, {"$rename": {"a": f"c.{deep}"}}))
                collection.update(change({}, {"$rename": {"c": "a"}}))

        with pytest.raises(UpdateError):
            dig()

        assert canonical(everything(reopened(store))) == canonical(everything(collection))


def outcome(modified: Modified) -> tuple[int, int, Any]:
    return modified.matched, modified.modified, modified.upserted


class TestUpsert:
    def test_what_is_not_there_is_created(self, collection):
        """From the equalities of the filter, then the update; the new document comes last."""
        modified = collection.update(
            change(
                {"_id": "tit", "wings": {"$gt": 1}}, {"$set": {"eggs": [9]}, "$setOnInsert": {"new": True}}, upsert=True
            )
        )

        assert outcome(modified) == (0, 0, {"_id": "tit", "eggs": [9], "new": True})
        assert_identical(everything(collection), [*BIRDS, {"_id": "tit", "eggs": [9], "new": True}])

    def test_what_is_there_is_changed(self, collection):
        """Nothing is created, and $setOnInsert sets nothing."""
        modified = collection.update(
            change({"_id": "owl"}, {"$set": {"eggs": []}, "$setOnInsert": {"new": True}}, upsert=True)
        )

        assert outcome(modified) == (1, 1, None)
        assert everything(collection)[1] == {"_id": "owl", "wings": 2, "eggs": []}

    def test_a_taken_id_is_refused(self, collection):
        """The filter missed the document, and its _id is taken: no place in the request is to blame alone."""
        with pytest.raises(DuplicateKey) as caught:
            collection.update(change({"_id": "owl", "wings": 5}, {"$set": {"n": 1}}, upsert=True))

        assert caught.value.pointer is None
        assert everything(collection) == BIRDS

    def test_what_fails_the_schema_is_not_created(self, store):
        """As an insert."""
        collection = store.collection("birds", Schema({"required": ["wings"]}), new=True)

        with pytest.raises(SchemaViolation):
            collection.update(change({"_id": 1}, {"$set": {"eggs": 2}}, upsert=True))

        assert everything(collection) == []

    def test_a_filter_that_fixes_a_field_twice_cannot_seed_one(self, collection):
        """Nobody can tell which of the two is meant."""
        with pytest.raises(QueryError) as caught:
            collection.update(change({"$and": [{"n": 1}, {"n": 2}]}, {"$set": {"a": 1}}, upsert=True))

        assert caught.value.code == "NotSingleValueField"
        assert everything(collection) == BIRDS


class TestDeleteMany:
    def test_every_match_is_removed(self, collection, store):
        """The rest stay in their order."""
        assert collection.delete_many(Filter({"eggs": {"$exists": True}})).deleted == 2
        assert everything(collection) == BIRDS[2:]
        assert everything(reopened(store)) == BIRDS[2:]

    def test_nothing_matched_is_no_error(self, collection):
        """None were removed."""
        assert collection.delete_many(Filter({"_id": "dodo"})).deleted == 0

    def test_the_id_of_what_is_removed_is_free(self, collection):
        """A new document may have it, and comes last."""
        collection.delete_many(Filter({"_id": "owl"}))

        collection.insert_one({"_id": "owl", "eggs": []})

        assert everything(collection) == [BIRDS[0], BIRDS[2], {"_id": "owl", "eggs": []}]

    def test_a_collection_can_be_emptied_and_filled_again(self, collection, store):
        """The row numbers of the file do not matter."""
        collection.delete_many(Filter({}))
        collection.insert_many(BIRDS[::-1])

        assert everything(reopened(store)) == BIRDS[::-1]


class TestChanged:
    def test_is_the_time_of_the_last_write(self, collection):
        """Whatever writes sets it; what changes nothing, or reads, does not."""
        before = datetime.now(UTC)
        collection.insert_one({})
        written = collection.changed
        collection.delete_many(Filter({"n": "none"}))
        collection.count(Filter({}))

        assert before <= written <= datetime.now(UTC)
        assert collection.changed == written

    def test_after_a_start_it_is_that_of_the_files(self, directory):
        """Of a collection that was not written since, the files say when they were."""
        with closing(open_store(directory)) as store:
            store.collection("birds", None, new=True).insert_one({})
        for file in directory.glob("birds.*"):
            os.utime(file, (1e9, 1e9))

        with closing(open_store(directory)) as store:
            assert store.collection("birds", None).changed == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)

    def test_of_a_new_collection_nobody_knows(self, store):
        """Before the first write there is none."""
        assert store.collection("new", None, new=True).changed is None


class TestGuards:
    def test_a_dry_run_changes_nothing(self, collection, store):
        """It answers what would have happened."""
        dry = Guard(dry_run=True)

        assert outcome(collection.update(change({}, {"$inc": {"wings": 1}}), dry)) == (3, 3, None)
        assert collection.update(change({"_id": "tit"}, {"$set": {"n": 1}}, upsert=True), dry).upserted == {
            "_id": "tit",
            "n": 1,
        }
        assert collection.delete_many(Filter({}), dry).deleted == 3
        assert everything(collection) == BIRDS
        assert everything(reopened(store)) == BIRDS

    @pytest.mark.parametrize(("allowed", "refused"), [(0, True), (2, True), (3, False), (None, False)])
    def test_a_change_of_more_than_was_allowed_is_refused(self, collection, allowed, refused):
        """Nothing is changed then; as many as were allowed may."""
        guard = Guard(max_affected=allowed)
        for write in (
            lambda: collection.update(change({}, {"$inc": {"wings": 1}}), guard),
            lambda: collection.delete_many(Filter({}), guard),
        ):
            before = everything(collection)
            if refused:
                with pytest.raises(TooManyAffected):
                    write()
            else:
                write()
            assert (everything(collection) == before) is refused


class TestFind:
    def test_documents_come_in_natural_order(self, collection):
        """That of insertion, whatever was changed since."""
        collection.update(change({"_id": "kestrel"}, {"$set": {"wings": 9}}))

        assert [bird["_id"] for bird in collection.find(Find())] == ["kestrel", "owl", "wren"]

    def test_filter_sort_skip_limit_and_projection_work_together(self, collection):
        """In this order."""
        find = Find(Filter({"wings": 2}), Projection({"eggs": 1}), Sort({"_id": -1}), skip=1, limit=1)

        assert list(collection.find(find)) == [{"_id": "owl", "eggs": [3]}]

    @pytest.mark.parametrize(
        ("skip", "limit", "found"),
        [(0, 0, [0, 1, 2]), (1, 0, [1, 2]), (0, 2, [0, 1]), (2, 5, [2]), (3, 1, []), (9, 0, [])],
    )
    @pytest.mark.parametrize("sort", [{}, {"_id": 1}], ids=["natural", "sorted"])
    def test_a_limit_of_none_is_none(self, collection, skip, limit, found, sort):
        """Beyond the end there is nothing."""
        assert list(collection.find(Find(sort=Sort(sort), skip=skip, limit=limit))) == [BIRDS[i] for i in found]

    def test_a_count_is_of_the_matches(self, collection):
        """As many as a find would yield."""
        assert collection.count(Filter({"eggs": {"$exists": True}})) == 2


class TestSnapshots:
    @pytest.mark.parametrize(
        "write",
        [
            lambda birds: birds.delete_many(Filter({})),
            lambda birds: birds.update(change({}, {"$set": {"wings": 0}})),
            lambda birds: birds.insert_one({"_id": "robin"}),
        ],
        ids=["delete", "update", "insert"],
    )
    @pytest.mark.parametrize("sort", [{}, {"_id": 1}], ids=["natural", "sorted"])
    def test_an_answer_that_has_begun_is_of_one_moment(self, collection, write, sort):
        """A write in the middle of a read changes nothing in it."""
        found = collection.find(Find(sort=Sort(sort)))
        first = next(found)

        write(collection)

        assert [first, *found] == BIRDS

    def test_documents_handed_out_are_never_changed(self, collection):
        """Whatever an update does, deep inside or at the top."""
        handed_out = everything(collection)
        before = canonical(handed_out)

        for update in (
            {"$push": {"eggs": 1}},
            {"$set": {"sings.well": False, "eggs.0": 0}},
            {"$inc": {"wings": 1}},
            {"$rename": {"wings": "arms"}},
            {"$unset": {"sings.well": ""}},
        ):
            collection.update(change({}, update))
        collection.delete_many(Filter({}))

        assert canonical(handed_out) == before


class TestPersistence:
    def test_everything_is_there_when_the_store_is_opened_again(self, directory):
        """Documents, their order, their types."""
        documents = [*BIRDS, {"_id": Int64(5), "n": 1.0, "at": extjson.loads('{"$date": 5}')}]
        with closing(open_store(directory)) as store:
            store.collection("birds", None, new=True).insert_many(documents)

        with closing(open_store(directory)) as store:
            assert_identical(everything(store.collection("birds", None)), documents)

    def test_plain_tinydb_reads_the_file(self, collection, store, directory):
        """Once the store is closed; typed values are Extended JSON to it."""
        collection.insert_one({"_id": "gull", "seen": extjson.loads('{"$date": "2020-01-02T00:00:00Z"}')})
        store.close()

        with TinyDB(directory / "birds.json", access_mode="r") as db:
            assert db.all() == [*BIRDS, {"_id": "gull", "seen": {"$date": "2020-01-02T00:00:00Z"}}]

    def test_what_plain_tinydb_wrote_is_read(self, store, directory):
        """The format is TinyDB's own, row numbers and all."""
        with TinyDB(directory / "birds.json") as db:
            db.insert_multiple(BIRDS)
            db.remove(doc_ids=[2])

        collection = store.collection("birds", None)
        collection.insert_one({"_id": "gull"})

        assert everything(reopened(store)) == [BIRDS[0], BIRDS[2], {"_id": "gull"}]

    def test_a_collection_that_was_never_written_is_empty(self, store, directory):
        """Its name is free for another."""
        assert everything(store.collection("nothing", None, new=True)) == []
        assert not store.holds("nothing")

    def test_a_dropped_collection_is_gone(self, collection, store, directory):
        """With its files; one that never had any is dropped as well."""
        store.drop("birds")
        store.drop("nothing")

        assert not store.holds("birds")
        assert not [name for name in os.listdir(directory) if name.startswith("birds")]

    def test_the_size_is_that_of_the_files(self, collection, directory):
        """Bytes in the data file and its journal."""
        assert collection.size == sum(path.stat().st_size for path in directory.glob("birds.*"))

    def test_documents_of_plain_tinydb_get_an_id(self, store, directory):
        """The same one from then on."""
        with TinyDB(directory / "birds.json") as db:
            db.insert({"n": 1})

        first = everything(store.collection("birds", None))

        assert [list(each) for each in first] == [["_id", "n"]]
        assert everything(reopened(store)) == first

    def test_only_the_owner_may_read_the_documents(self, collection, directory):
        """They are nobody else's business."""
        assert (directory / "birds.json").stat().st_mode & 0o777 == 0o600

    def test_what_a_crash_left_behind_is_in_nobodys_way(self, collection, store, directory):
        """A file that was being written when the power went is no file of ours."""
        (directory / "birds.json.tmp").write_text('{"_default": {"1": {"_id": "half')

        collection.insert_one({"_id": "robin"})

        assert everything(reopened(store)) == [*BIRDS, {"_id": "robin"}]

    def test_a_ledger_gives_back_what_was_saved_last(self, store):
        """Empty at first; replaced as a whole."""
        ledger = store.ledger("catalog")
        assert ledger.load() == {}

        ledger.save({"a": 1, "é": [None]})
        ledger.save({"b": {"c": "d"}})

        assert store.ledger("catalog").load() == {"b": {"c": "d"}}


WRITES: dict[str, Callable[[Collection], Any]] = {
    "insert_one": lambda birds: birds.insert_one({"_id": "robin"}),
    "insert_many": lambda birds: birds.insert_many([{"_id": "robin"}, {"_id": "tit"}]),
    "update": lambda birds: birds.update(change({}, {"$inc": {"wings": 1}})),
    "upsert": lambda birds: birds.update(change({"_id": "robin"}, {"$set": {"wings": 2}}, upsert=True)),
    "delete_many": lambda birds: birds.delete_many(Filter({"_id": "owl"})),
}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Have one call of a system function fail: ``with failing("fsync", 1, errno.EIO):``."""

    @contextmanager
    def failing(name: str, which: int, number: int) -> Iterator[None]:
        real, calls = getattr(os, name), 0

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == which:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, call)
            yield
            assert calls >= which, "the fault never came"

    return failing


class TestFailingDisk:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_a_full_disk_changes_nothing(self, collection, store, directory, failing, write, number):
        """Neither in memory nor on disk; a quota that is used up is a full disk."""
        before = {name: (directory / name).read_bytes() for name in os.listdir(directory)}

        with failing("write", 1, number), pytest.raises(NoSpace) as caught:
            write(collection)

        assert caught.value.detail == "no space left while writing the journal of birds.json: nothing was changed"
        assert everything(collection) == BIRDS
        assert {name: (directory / name).read_bytes() for name in os.listdir(directory)} == before

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_after_a_failed_sync_nothing_more_is_written(self, collection, store, failing, write):
        """No later sync could be believed: reads go on, and writes come back with a reopening."""
        with failing("fsync", 1, errno.EIO), pytest.raises(StoreFailed):
            write(collection)

        assert everything(collection) == BIRDS
        with pytest.raises(StoreFailed) as caught:
            write(collection)
        assert caught.value.detail == "the collection only reads since a write failed: Input/output error"

        again = reopened(store)
        again.insert_one({"_id": "kea"})
        assert everything(again)[-1] == {"_id": "kea"}

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_the_next_write_works(self, collection, store, failing, write):
        """The same one, now that the disk is well again; all its _ids are free."""
        with failing("write", 1, errno.ENOSPC), pytest.raises(NoSpace):
            write(collection)

        write(collection)

        undisturbed = store.collection("others", None, new=True)
        undisturbed.insert_many(BIRDS)
        write(undisturbed)
        assert everything(collection) == everything(undisturbed)
        assert everything(reopened(store)) == everything(undisturbed)

    def test_a_ledger_that_cannot_be_saved_is_as_it_was(self, store, failing):
        """The catalog of collections is a file like every other."""
        ledger = store.ledger("catalog")
        ledger.save({"a": 1})

        with failing("rename", 1, errno.EIO), pytest.raises(StoreFailed):
            ledger.save({"a": 2})

        assert ledger.load() == {"a": 1}

    def test_a_directory_that_cannot_be_made_is_refused(self, tmp_path):
        """Below a file there is no directory."""
        (tmp_path / "file").touch()

        with pytest.raises(StoreFailed) as caught:
            open_store(tmp_path / "file" / "data")

        assert caught.value.detail == f"Not a directory while making the data directory {tmp_path / 'file' / 'data'}"


DAMAGED = {
    "an empty file": b"",
    "half a file": b'{"_default": {"1": {"_id": 1',
    "what is not UTF-8": b"\xff\xfe",
    "an array": b"[]",
    "null": b"null",
    "a table that is no object": b'{"_default": 5}',
    "a table that is an array": b'{"_default": [{"_id": 1}]}',
    "a row that is no object": b'{"_default": {"1": 5}}',
    "a row without a number": b'{"_default": {"one": {"_id": 1}}}',
    "an _id twice": b'{"_default": {"1": {"_id": 1}, "2": {"_id": 1}}}',
    "a date that is none": b'{"_default": {"1": {"_id": 1, "at": {"$date": "soon"}}}}',
    "nesting without end": b'{"_default": {"1": {"_id": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
}


class TestDamage:
    @pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
    def test_a_file_that_was_not_written_here_is_refused_by_name(self, store, directory, content):
        """It is neither read as something else nor overwritten."""
        (directory / "birds.json").write_bytes(content)

        with pytest.raises(StoreFailed) as caught:
            store.collection("birds", None)

        assert "birds.json" in str(caught.value.damage)
        assert (directory / "birds.json").read_bytes() == content

    def test_another_collection_is_not_affected(self, store, collection, directory):
        """One file, one damage."""
        (directory / "fish.json").write_bytes(b"{")

        with pytest.raises(StoreFailed):
            store.collection("fish", None)

        assert everything(reopened(store)) == BIRDS

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
    def test_a_damaged_ledger_is_refused_by_name(self, store, directory, content):
        """Better no start than a start without collections."""
        (directory / "connectome.catalog.json").write_bytes(content)

        with pytest.raises(StoreFailed) as caught:
            store.ledger("catalog").load()

        assert "connectome.catalog.json" in caught.value.detail


HOLD = """
import sys, time
from pathlib import Path
from connectome.stores import open_store
store = open_store(Path(sys.argv[1]), holder="http://127.0.0.1:1")
print("held", flush=True)
time.sleep(60)
"""
OPEN = """
import sys
from pathlib import Path
from connectome.errors import StoreLocked
from connectome.stores import open_store
try:
    open_store(Path(sys.argv[1]))
except StoreLocked as error:
    sys.exit(error.detail)
"""


def process(program: str, directory: Path) -> list[str]:
    return [sys.executable, "-c", program, str(directory)]


class TestLock:
    def test_another_process_is_kept_out(self, store, directory):
        """It is told which process holds the directory."""
        tried = subprocess.run(process(OPEN, directory), capture_output=True, text=True, check=False)

        assert (tried.returncode, tried.stderr) == (
            1,
            f"the data directory {directory} is in use by process {os.getpid()}; "
            "the embedded store serves one process: use threads, not workers\n",
        )

    def test_a_second_store_in_this_process_is_kept_out(self, store, directory):
        """Two stores would overwrite each other's files wherever they are."""
        with pytest.raises(StoreLocked):
            open_store(directory)

    def test_who_was_kept_out_disturbs_nothing(self, store, directory):
        """The lock still names its holder, and still holds."""
        for _ in range(2):
            with pytest.raises(StoreLocked) as caught:
                open_store(directory)

            assert f"process {os.getpid()};" in caught.value.detail

    def test_a_store_that_is_closed_lets_go(self, directory):
        """The next one may open."""
        open_store(directory).close()

        open_store(directory).close()

    def test_closing_twice_does_no_harm(self, directory):
        """The number of a file that was closed may belong to another by then."""
        store = open_store(directory)
        store.close()

        store.close()

    def test_a_killed_process_lets_go(self, directory):
        """The kernel takes the lock away, whatever the process left in the file."""
        with subprocess.Popen(process(HOLD, directory), stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(StoreLocked) as caught:
                open_store(directory)
            holder.send_signal(signal.SIGKILL)
            holder.wait()

        assert f"in use by process {holder.pid} at http://127.0.0.1:1;" in caught.value.detail
        open_store(directory).close()


def in_threads(work: Callable[[int], Any], *, threads: int = 8) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(threads)))


class TestThreads:
    def test_no_increment_is_lost(self, collection, store):
        """Writers wait for each other."""

        def increment(_: int) -> None:
            for _ in range(10):
                collection.update(change({"_id": "owl"}, {"$inc": {"n": 1}}))

        in_threads(increment)

        assert everything(collection)[1]["n"] == 80
        assert everything(reopened(store))[1]["n"] == 80

    def test_one_of_many_upserts_creates_the_document(self, collection):
        """The others find it there."""

        def upsert(_: int) -> bool:
            return collection.update(change({"name": "tit"}, {"$inc": {"n": 1}}, upsert=True)).upserted is not None

        created = in_threads(upsert)

        assert created.count(True) == 1
        assert [bird["n"] for bird in collection.find(Find(Filter({"name": "tit"})))] == [8]

    def test_one_of_many_inserts_of_an_id_succeeds(self, collection):
        """The others are refused."""

        def insert(number: int) -> bool:
            try:
                collection.insert_one({"_id": "tit", "number": number})
            except DuplicateKey:
                return False
            return True

        assert in_threads(insert).count(True) == 1
        assert collection.count(Filter({"_id": "tit"})) == 1

    def test_a_reader_never_sees_half_a_batch(self, store):
        """Batches of five come and go as a whole, while somebody counts."""
        collection = store.collection("flocks", None, new=True)

        def work(number: int) -> set[int]:
            if number % 2:
                return {len(everything(collection)) % 5 for _ in range(200)}
            for _ in range(10):
                collection.insert_many([{"flock": number}] * 5)
                collection.delete_many(Filter({"flock": number}))
            return set()

        assert set().union(*in_threads(work)) == {0}


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(documents, max_size=4))
    def test_what_is_written_is_read(self, tmp_path_factory, written):
        """Every type, every value, the order of the fields, from memory and from the file."""
        with closing(open_store(tmp_path_factory.mktemp("data"))) as store:
            collection = store.collection("things", None, new=True)
            identities = collection.insert_many(written)
            expected = [{"_id": identity, **document} for identity, document in zip(identities, written, strict=True)]

            assert_identical(everything(collection), expected)
            assert_identical(everything(store.collection("things", None)), expected)

    def test_the_file_holds_nothing_but_plain_json(self, collection, store, directory):
        """TinyDB's default table, with a row for each document, and a table with what the store says of the file."""
        store.close()

        tables = json.loads((directory / "birds.json").read_bytes())
        assert [*tables] == ["_default", "_connectome"]
        assert tables["_default"] == {"1": BIRDS[0], "2": BIRDS[1], "3": BIRDS[2]}


class TestEncoded:
    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(documents, max_size=4),
        st.sampled_from([{}, {"a": 1}, {"_id": 0, "b": 1, "a": 1}, {"a": 0}, {"a.b": 1}, {"c": {"$literal": 1}}]),
    )
    def test_the_texts_are_those_of_the_documents_found(self, store, contents, projection):
        """Relaxed, projected, in the same order: whatever form they are kept in."""
        collection = store.collection("birds", None, new=True)
        collection.insert_many([{"_id": n, **each} for n, each in enumerate(contents)])
        find = Find(projection=Projection(projection))

        assert [text.decode() for text in collection.encoded(find)] == [
            extjson.dumps(each) for each in collection.find(find)
        ]
        store.drop("birds")


class TestMemory:
    def test_what_can_be_made_again_is_let_go_when_memory_is_short(self, directory):
        """Columns and second forms of documents; answers stay the same, and a pinned index stays."""
        with closing(EmbeddedStore(directory, cache_bytes=0)) as store:
            birds = store.collection("birds", None, new=True)
            birds.insert_many([{"_id": n, "a": n, "b": n % 7} for n in range(600)])
            birds.pin(["b"])
            for _ in range(70):
                assert len(list(birds.encoded(Find(Filter({"a": {"$lt": 9}, "b": 1}))))) == 2
                assert birds.count(Filter({"$expr": {"$eq": ["$a", 5]}})) == 1

            pinned, *others = birds.indexes()
            assert (pinned.path, pinned.uses) == ("b", 70)
            # It was forgotten every now and then, and made again.
            assert all(index.uses < 70 for index in others)
