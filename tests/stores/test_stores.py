"""What every store does: the same requests, the same answers, the same refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from birds import BIRDS, assert_identical, change, everything, new_birds, outcome, reopened
from bson import DatetimeMS, Int64, ObjectId, Regex
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import documents

from connectome import extjson
from connectome.errors import (
    ConnectomeError,
    DuplicateKey,
    Failure,
    InvalidRequest,
    QueryError,
    SchemaViolation,
    TooManyAffected,
    UpdateError,
)
from connectome.query import Filter, Pipeline, Projection, Sort
from connectome.schemas import Schema
from connectome.stores import Collection, Find, Guard, Store, open_store
from connectome.stores.base import Loaded


@pytest.fixture(params=["texts", "documents", "mongodb"])
def store(request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Each store; the embedded one with documents kept as texts, and as they are where msgspec is not installed."""
    if request.param != "mongodb":
        monkeypatch.setattr(extjson, "HAS_MSGSPEC", request.param == "texts")
    place = request.getfixturevalue("database") if request.param == "mongodb" else directory
    with closing(open_store(place)) as store:
        yield store


@pytest.fixture
def collection(store: Store) -> Collection:
    """A collection of three birds."""
    return new_birds(store)


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


class TestLoad:
    NEW = ({"_id": "tit", "n": 1}, {"_id": "owl", "n": 2}, {"_id": "tit", "n": 3})

    def test_a_taken_id_stops_it(self, collection):
        """Nothing is kept then."""
        with pytest.raises(DuplicateKey) as caught:
            collection.load(iter(self.NEW[:2]))

        assert caught.value.pointer == "/1/_id"
        assert everything(collection) == BIRDS

    def test_a_taken_id_is_passed_over(self, collection):
        """Where that is asked for: the first stays."""
        assert collection.load(self.NEW, on_duplicate="skip") == Loaded(1, skipped=2)
        assert everything(collection) == [*BIRDS, {"_id": "tit", "n": 1}]

    def test_of_many_the_place_is_told(self, collection):
        """However many came before it, which may be made one by one; nothing of them is kept."""
        with pytest.raises(DuplicateKey) as caught:
            collection.load({"_id": n} if n != 1005 else {"_id": 7.0} for n in range(1010))

        assert caught.value.pointer == "/1005/_id"
        assert everything(collection) == BIRDS

    @pytest.mark.parametrize(
        ("on_duplicate", "loaded", "first"),
        [("skip", Loaded(1030, skipped=20), 0), ("replace", Loaded(1030, replaced=20), 1030)],
    )
    def test_what_comes_twice_far_apart_is_one(self, collection, on_duplicate, loaded, first):
        """Skipped or replaced, and counted."""
        many = ({"_id": n % 1030, "n": n} for n in range(1050))

        assert collection.load(many, on_duplicate=on_duplicate) == loaded
        kept = everything(collection)[3:]
        assert (len(kept), kept[0], kept[20]) == (1030, {"_id": 0, "n": first}, {"_id": 20, "n": 20})

    def test_of_many_that_fail_the_schema_a_hundred_are_told(self, store):
        """With their places."""
        collection = store.collection("birds", Schema({"required": ["wings"]}), new=True)

        with pytest.raises(SchemaViolation) as caught:
            collection.load({"wings": n} if n < 1005 else {} for n in range(1200))

        assert [each.pointer for each in caught.value.failures] == [f"/{n}" for n in range(1005, 1105)]
        assert everything(collection) == []

    def test_or_replaced(self, collection):
        """By the last."""
        assert collection.load(self.NEW, on_duplicate="replace") == Loaded(1, replaced=2)
        assert everything(collection) == [BIRDS[0], {"_id": "owl", "n": 2}, BIRDS[2], {"_id": "tit", "n": 3}]


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


class TestLedgers:
    def test_a_ledger_gives_back_what_was_saved_last(self, store):
        """Empty at first; replaced as a whole."""
        ledger = store.ledger("catalog")
        assert ledger.load() == {}

        ledger.save({"a": 1, "é": [None]})
        ledger.save({"b": {"c": "d"}})

        assert store.ledger("catalog").load() == {"b": {"c": "d"}}


def has_far_date(value: Any) -> bool:
    """Whether a date that Python's ``datetime`` cannot hold is in a value."""
    if isinstance(value, dict | list):
        return any(map(has_far_date, value.values() if isinstance(value, dict) else value))
    return isinstance(value, DatetimeMS)


class TestRoundTrip:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(documents, max_size=4))
    def test_what_is_written_is_read(self, store, written):
        """Every type, every value, the order of the fields."""
        # The server of the tests reads its messages with Python's dates; mongod has no such bounds.
        assume(store.name != "mongodb" or not any(map(has_far_date, written)))
        collection = store.collection("things", None, new=True)
        identities = collection.insert_many(written)
        expected = [{"_id": identity, **document} for identity, document in zip(identities, written, strict=True)]

        assert_identical(everything(collection), expected)
        assert_identical(everything(store.collection("things", None)), expected)
        store.drop("things")


class TestReferences:
    # References as drivers write them, one of them in an array, and what only looks like one.
    HOLDING: ClassVar = [
        {"_id": 1, "to": {"$ref": "birds", "$id": ObjectId("5" * 24), "$db": "d", "more": 1}},
        {"_id": 2, "list": [[{"$ref": "a", "$id": 2}], {"$ref": 5, "$id": 1}], "$ref": "a", "$id": None},
        {"_id": 3, "text": "$ref\0"},
    ]

    def test_a_document_that_refers_to_another_is_a_document(self, store):
        """It comes back with its fields in their order, whichever way it came and goes."""
        collection = store.collection("things", None, new=True)
        collection.insert_many(self.HOLDING)
        assert_identical(everything(collection), self.HOLDING)

        store.drop("things")
        collection = store.collection("things", None, new=True)
        collection.load(self.HOLDING, on_duplicate="skip")
        assert_identical(everything(collection), self.HOLDING)
        assert list(collection.encoded(Find())) == [extjson.encode(each) for each in self.HOLDING]
        assert_identical(list(collection.aggregate(Pipeline([{"$sort": {"_id": 1}}]))), self.HOLDING)


class TestEncoded:
    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(documents, max_size=4),
        st.sampled_from([{}, {"a": 1}, {"_id": 0, "b": 1, "a": 1}, {"a": 0}, {"a.b": 1}, {"c": {"$literal": 1}}]),
    )
    def test_the_texts_are_those_of_the_documents_found(self, store, contents, projection):
        """Relaxed, projected, in the same order: whatever form they are kept in."""
        assume(store.name != "mongodb" or not any(map(has_far_date, contents)))
        collection = store.collection("birds", None, new=True)
        collection.insert_many([{"_id": n, **each} for n, each in enumerate(contents)])
        find = Find(projection=Projection(projection))

        assert [text.decode() for text in collection.encoded(find)] == [
            extjson.dumps(each) for each in collection.find(find)
        ]
        store.drop("birds")


class TestThreads:
    def in_threads(self, work: Callable[[int], Any]) -> list[Any]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(work, range(8)))

    def test_no_increment_is_lost(self, collection, store):
        """Writers wait for each other."""

        def increment(_: int) -> None:
            for _ in range(10):
                collection.update(change({"_id": "owl"}, {"$inc": {"n": 1}}))

        self.in_threads(increment)

        assert everything(reopened(store))[1]["n"] == 80

    def test_nor_one_of_many_documents(self, collection):
        """A change of several happens as a whole, and again where another came in between."""

        def increment(_: int) -> None:
            for _ in range(3):
                collection.update(change({"wings": 2}, {"$inc": {"n": 1}}))

        self.in_threads(increment)

        assert [bird["n"] for bird in everything(collection)] == [24, 24, 24]

    def test_one_of_many_upserts_of_an_id_creates_the_document(self, collection):
        """The others find it there."""

        def upsert(_: int) -> bool:
            return collection.update(change({"_id": "tit"}, {"$inc": {"n": 1}}, upsert=True)).upserted is not None

        assert self.in_threads(upsert).count(True) == 1
        assert everything(collection)[3] == {"_id": "tit", "n": 8}

    def test_one_of_many_upserts_of_a_key_creates_the_document(self, collection):
        """Though no index is unique: the others find it there."""

        def upsert(_: int) -> bool:
            return collection.update(change({"name": "tit"}, {"$inc": {"n": 1}}, upsert=True)).upserted is not None

        assert self.in_threads(upsert).count(True) == 1
        assert [bird["n"] for bird in collection.find(Find(Filter({"name": "tit"})))] == [8]

    def test_one_of_many_inserts_of_an_id_succeeds(self, collection):
        """The others are refused."""

        def insert(number: int) -> bool:
            try:
                collection.insert_one({"_id": "tit", "number": number})
            except DuplicateKey:
                return False
            return True

        assert self.in_threads(insert).count(True) == 1
        assert collection.count(Filter({"_id": "tit"})) == 1

    def test_a_reader_never_sees_half_a_batch(self, store):
        """Batches of five come and go as a whole, while somebody counts."""
        collection = store.collection("flocks", None, new=True)

        def work(number: int) -> set[int]:
            if number % 2:
                return {len(everything(collection)) % 5 for _ in range(100)}
            for _ in range(5):
                collection.insert_many([{"flock": number}] * 5)
                collection.delete_many(Filter({"flock": number}))
            return set()

        assert set().union(*self.in_threads(work)) == {0}
