"""What a store does for the Atlas Data API's routes: pipelines, the deletion of one document, ids that are given."""

from __future__ import annotations

from contextlib import closing

import pytest
from bson import Decimal128, Int64, ObjectId

from connectome.errors import CollectionDamaged, QueryError
from connectome.extjson import encode
from connectome.query import Filter, Pipeline, Update
from connectome.stores import Barred, Find, Modify, open_store


@pytest.fixture(params=["embedded", "mongodb"])
def store(request, directory):
    """Each store."""
    place = request.getfixturevalue("database") if request.param == "mongodb" else directory
    with closing(open_store(place)) as store:
        yield store


@pytest.fixture
def numbers(store):
    """A collection of a hundred documents, ``_id`` from 0 on, ``n`` from 99 down, ``odd``."""
    collection = store.collection("numbers", None, new=True)
    collection.insert_many([{"_id": n, "n": 99 - n, "odd": n % 2 == 1} for n in range(100)])
    return collection


def documents(collection):
    return list(collection.find(Find()))


class TestAggregate:
    @pytest.mark.parametrize(
        ("stages", "expected"),
        [
            ([{"$match": {"_id": 7}}], [{"_id": 7, "n": 92, "odd": True}]),
            ([{"$match": {"n": {"$lt": 2}}}, {"$project": {"n": 1}}], [{"_id": 98, "n": 1}, {"_id": 99, "n": 0}]),
            ([{"$sort": {"n": 1}}, {"$skip": 1}, {"$limit": 1}, {"$unset": "odd"}], [{"_id": 98, "n": 1}]),
            ([{"$match": {"odd": True}}, {"$count": "odd"}], [{"odd": 50}]),
            ([{"$match": {"odd": 1}}, {"$group": {"_id": None, "odd": {"$sum": 1}}}], []),
            ([{"$skip": 90}, {"$count": "n"}], [{"n": 10}]),
            (
                [{"$group": {"_id": "$odd", "sum": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}],
                [{"_id": False, "sum": 2500}, {"_id": True, "sum": 2450}],
            ),
        ],
    )
    def test_makes_of_the_documents_what_the_stages_say(self, numbers, stages, expected):
        """Whatever part of a pipeline the store does by itself, the answer is that of the stages."""
        assert list(numbers.aggregate(Pipeline(stages))) == expected

    @pytest.mark.parametrize("store", ["embedded"], indirect=True)
    @pytest.mark.parametrize(
        "stages",
        [
            [{"$group": {"_id": "$a", "n": {"$sum": 1}, "b": {"$push": "$b"}}}],
            [{"$match": {"_id": {"$gt": 1}}}, {"$group": {"_id": {"a": "$a", "c": "$b.c"}}}],
            [{"$unwind": "$b"}, {"$set": {"x": "$b.c"}}, {"$group": {"_id": "$x", "n": {"$sum": "$d"}}}],
            [{"$sort": {"d": -1}}, {"$group": {"_id": "$a", "first": {"$first": "$_id"}}}],
            [{"$match": {"a": "x"}}, {"$skip": 1}, {"$unwind": "$b"}, {"$count": "n"}],
            [{"$group": {"_id": None, "n": {"$count": {}}}}],
        ],
    )
    def test_decodes_no_less_than_is_read(self, store, directory, stages):
        """Of documents that are kept as text only some members are decoded, and the answer is the same."""
        documents = [
            {"_id": 1, "a": "x", "b": [{"c": 1}, {"c": None}], "d": Int64(5)},
            {"_id": 2, "b": {"c": [1]}, "a": "x", "d": 2.5},
            {"_id": 3, "a": None, "d": Decimal128("0.5"), "e": "not read"},
            {"_id": 4, "d": 1, "b": []},
            {"_id": 5, "a": {"$b": 1}, "b": "y"},
        ]
        store.collection("texts", None, new=True).insert_many(documents)
        store.close()

        with closing(open_store(directory)) as reopened:
            found = list(reopened.collection("texts", None).aggregate(Pipeline(stages)))

        assert list(map(encode, found)) == list(map(encode, Pipeline(stages)(documents)))

    @pytest.mark.parametrize("store", ["embedded"], indirect=True)
    def test_what_is_not_there_is_not_counted(self, numbers):
        """Of no documents there is no count; the server of the tests differs from MongoDB in that."""
        assert list(numbers.aggregate(Pipeline([{"$match": {"odd": 1}}, {"$count": "odd"}]))) == []

    @pytest.mark.parametrize("store", ["embedded"], indirect=True)
    def test_makes_the_index_that_a_find_would_make(self, numbers):
        """A filter at the beginning is asked as a find asks it, so that its path gets an index of its own."""
        numbers.insert_many([{"n": n} for n in range(100, 3000)])

        for _ in range(3):
            list(numbers.aggregate(Pipeline([{"$match": {"n": 5}}, {"$project": {"n": 1}}])))

        assert [index.path for index in numbers.indexes()] == ["n"]

    @pytest.mark.parametrize("store", ["embedded"], indirect=True)
    def test_a_stage_of_mongodb_is_refused_by_its_place(self, numbers):
        """What is not done here is refused when it is asked for, before any document is made."""
        pipeline = Pipeline([{"$match": {}}, {"$facet": {"a": [{"$bucketAuto": {}}]}}])

        with pytest.raises(QueryError) as caught:
            numbers.aggregate(pipeline)

        assert caught.value.pointer == "/1/$facet/a/0/$bucketAuto"

    @pytest.mark.parametrize("store", ["mongodb"], indirect=True)
    def test_a_stage_of_mongodb_is_done_by_it(self, numbers):
        """The stages reach the server as they were sent."""
        pipeline = Pipeline([{"$bucketAuto": {"groupBy": "$_id", "buckets": 2}}])

        assert [group["count"] for group in numbers.aggregate(pipeline)] == [50, 50]

    def test_what_the_documents_refuse_has_its_name(self, numbers):
        """The stages are good, a value in a document is not."""
        with pytest.raises(QueryError) as caught:
            list(numbers.aggregate(Pipeline([{"$match": {"odd": True}}, {"$set": {"m": {"$toInt": "x"}}}])))

        assert caught.value.code == "ConversionFailure"

    @pytest.mark.parametrize(
        ("stages", "pointer"),
        [
            ([{"$lookup": {"from": "connectome.records", "pipeline": [], "as": "all"}}], "/0/$lookup"),
            ([{"$match": {}}, {"$unionWith": "connectome.records"}], "/1/$unionWith"),
            ([{"$graphLookup": {"from": "connectome.records"}}], "/0/$graphLookup"),
            ([{"$facet": {"a": [{"$unionWith": {"coll": "connectome.records"}}]}}], "/0/$facet/a/0/$unionWith"),
            (
                [{"$rankFusion": {"input": {"pipelines": {"a": [{"$lookup": {"from": "connectome.records"}}]}}}}],
                "/0/$rankFusion/input/pipelines/a/0/$lookup",
            ),
            ([{"$out": "numbers"}], "/0/$out"),
            ([{"$merge": {"into": "connectome.records"}}], "/0/$merge"),
            ([{"$redact": {"$function": {"body": "f", "args": [], "lang": "js"}}}], "/0/$redact/$function"),
            (
                [{"$bucketAuto": {"groupBy": "$n", "buckets": 1, "output": {"a": {"$accumulator": {}}}}}],
                "/0/$bucketAuto/output/a/$accumulator",
            ),
            ([{"$geoNear": {"near": [0, 0], "query": {"$where": "1"}}}], "/0/$geoNear/query/$where"),
        ],
    )
    def test_no_stage_leads_out_of_the_collection(self, store, numbers, stages, pointer):
        """What reaches the records of the store, writes, or runs JavaScript is refused before a server sees it."""
        store.ledger("catalog").save({"credential": "digest"})

        with pytest.raises(QueryError) as caught:
            list(numbers.aggregate(Pipeline(stages)))

        assert (caught.value.code, caught.value.pointer) == ("CommandNotSupported", pointer)
        assert len(documents(numbers)) == 100
        assert store.ledger("catalog").load() == {"credential": "digest"}

    def test_leaves_the_documents_alone(self, numbers):
        """Stages make new documents."""
        before = documents(numbers)

        list(numbers.aggregate(Pipeline([{"$set": {"n": 0}}, {"$unset": "odd"}])))

        assert documents(numbers) == before


class TestDeleteOne:
    def test_removes_the_first(self, numbers):
        """Of the documents that match the first in natural order goes."""
        assert numbers.delete_one(Filter({"odd": True})).deleted == 1
        assert [each["_id"] for each in documents(numbers)][:3] == [0, 2, 3]

    def test_of_none(self, numbers):
        """Where nothing matches nothing goes."""
        assert numbers.delete_one(Filter({"odd": "x"})).deleted == 0
        assert len(documents(numbers)) == 100


class TestNewId:
    @pytest.mark.parametrize("source", [{"a": 1}, {"$set": {"a": 1}}, [{"$set": {"a": 1}}]])
    def test_is_that_of_the_document_which_an_upsert_creates(self, numbers, source):
        """Where nothing fixes the ``_id``, it is the one that was given."""
        identity = ObjectId()

        upserted = numbers.update(Modify(Filter({"b": 2}), Update(source), upsert=True, new_id=identity)).upserted

        assert upserted == {"_id": identity, "b": 2, "a": 1}
        assert list(numbers.find(Find(Filter({"_id": identity})))) == [upserted]

    @pytest.mark.parametrize(
        ("filter", "source"), [({"_id": -1}, {"a": 1}), ({"b": 1}, {"_id": -1}), ({}, [{"$replaceWith": {"_id": -1}}])]
    )
    def test_is_not_wanted_where_another_is_fixed(self, numbers, filter, source):
        """The filter's, or the update's, comes first."""
        modify = Modify(Filter({**filter, "none": 1}), Update(source), upsert=True, new_id=ObjectId())

        assert numbers.update(modify).upserted["_id"] == -1


class TestBarred:
    def test_answers_nothing_here_either(self):
        """A collection that is damaged neither aggregates nor deletes."""
        barred = Barred(CollectionDamaged("a byte"))

        for refused in (lambda: barred.aggregate(Pipeline([])), lambda: barred.delete_one(Filter({}))):
            with pytest.raises(CollectionDamaged):
                refused()
