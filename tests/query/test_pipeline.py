"""Aggregation pipelines: what of them is a find, what they may hold, and the laws that tie them to finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import filters, plain_documents, top_level_names

from connectome import extjson
from connectome.errors import QueryError
from connectome.query import Filter, Pipeline, Sort, accumulators, stages
from connectome.query.deadline import deadline
from connectome.query.values import sort_key

laws = settings(max_examples=40, deadline=None)
collections = st.lists(plain_documents, max_size=6)
directions = st.sampled_from([1, -1])


def made(pipeline: list[Any], documents: list[Any]) -> list[Any]:
    return list(Pipeline(pipeline)(documents))


def text(value: Any) -> str:
    return extjson.dumps(value, mode="canonical")


class TestLaws:
    @laws
    @given(filters, collections)
    def test_a_match_is_a_find(self, filter, documents):
        """What ``$match`` lets through is what the filter selects."""
        assert text(made([{"$match": filter}], documents)) == text(Filter(filter).select(documents))

    @laws
    @given(filters, filters, collections)
    def test_two_matches_are_one(self, one, other, documents):
        """Of two filters in a row the lead makes one, which finds the same."""
        pipeline = [{"$match": one}, {"$match": other}]

        assert text(made(pipeline, documents)) == text(Pipeline(pipeline).lead.filter.select(documents))

    @laws
    @given(filters, collections)
    def test_a_group_of_all_counts_as_count_does(self, filter, documents):
        """``$count``, a group with ``$sum: 1`` and one with ``$count`` have one number."""
        count = len(Filter(filter).select(documents))
        expected = [{"n": count}] if count else []

        assert made([{"$match": filter}, {"$count": "n"}], documents) == expected
        for counter in ({"$sum": 1}, {"$count": {}}):
            groups = made([{"$match": filter}, {"$group": {"_id": None, "n": counter}}], documents)
            assert [{"n": each["n"]} for each in groups] == expected

    @laws
    @given(top_level_names, collections)
    def test_groups_part_the_documents(self, name, documents):
        """Every document is in exactly one group, and no two groups have one key."""
        groups = made([{"$group": {"_id": f"${name}", "all": {"$push": "$$ROOT"}}}], documents)

        assert sorted(text(each) for group in groups for each in group["all"]) == sorted(map(text, documents))
        assert len({sort_key(group["_id"]) for group in groups}) == len(groups)

    @laws
    @given(top_level_names, directions, st.integers(0, 4), st.integers(1, 4), collections)
    def test_a_sort_that_is_cut_off_is_the_beginning_of_the_sort(self, name, direction, skip, limit, documents):
        """``$sort``, ``$skip`` and ``$limit`` give that part of what the whole sort gives."""
        ordered = Sort({name: direction})(documents)
        pipeline = [{"$sort": {name: direction}}, {"$skip": skip}, {"$limit": limit}]

        assert text(made(pipeline, documents)) == text(ordered[skip : skip + limit])

    @laws
    @given(st.lists(st.tuples(st.sampled_from(["$skip", "$limit"]), st.integers(1, 5)), max_size=4))
    def test_any_row_of_skips_and_limits_is_led_right(self, windows):
        """What the lead takes of them, and what it leaves, are together what they are one by one."""
        documents = [{"_id": number} for number in range(8)]
        pipeline = Pipeline([{name: count} for name, count in windows])
        lead = pipeline.lead
        found = documents[lead.skip :][: lead.limit or None]

        assert list(pipeline.after_lead(found)) == list(pipeline(documents))

    @laws
    @given(filters, top_level_names, collections)
    def test_a_facet_is_its_pipelines(self, filter, name, documents):
        """Each field of ``$facet`` has what its pipeline makes alone."""
        pipelines = {"one": [{"$match": filter}], "other": [{"$sortByCount": f"${name}"}], "all": []}

        (together,) = made([{"$facet": pipelines}], documents)

        assert text(together) == text({each: made(source, documents) for each, source in pipelines.items()})

    @laws
    @given(top_level_names, collections)
    def test_unwinding_and_pushing_give_the_array_back(self, name, documents):
        """The elements of an array, one document each, are in its order."""
        numbered = [{"_id": number, **document} for number, document in enumerate(documents)]
        pipeline = [{"$unwind": f"${name}"}, {"$group": {"_id": "$_id", "all": {"$push": f"${name}"}}}]
        whole = {
            each["_id"]: each[name] if type(each[name]) is list else [each[name]]
            for each in numbered
            if each.get(name) not in (None, [])
        }

        assert text({str(each["_id"]): each["all"] for each in made(pipeline, numbered)}) == text(
            {str(key): value for key, value in whole.items()}
        )


class TestLead:
    def test_takes_what_a_find_can_ask(self):
        """A filter, a sort and a window at the beginning are one question; the rest is left."""
        pipeline = Pipeline(
            [
                {"$match": {"a": 1}},
                {"$match": {"b": 2}},
                {"$sort": {"c": -1}},
                {"$skip": 2},
                {"$limit": 3},
                {"$unset": "a"},
            ]
        )

        assert pipeline.lead.filter.source == {"$and": [{"a": 1}, {"b": 2}]}
        assert pipeline.lead.sort.source == {"c": -1}
        assert (pipeline.lead.skip, pipeline.lead.limit) == (2, 3)
        assert list(pipeline.after_lead([{"a": 1, "c": 5}])) == [{"c": 5}]

    @pytest.mark.parametrize("first", [{"$limit": 3}, {"$unwind": "$a"}, {"$sample": {"size": 2}}])
    def test_takes_no_filter_from_behind_what_is_none(self, first):
        """A filter behind another stage is asked of what that stage makes."""
        pipeline = Pipeline([first, {"$match": {"a": 1}}])

        assert pipeline.lead.filter.source == {}

    def test_knows_when_only_a_count_is_wanted(self):
        """A count right behind the question is told; behind another stage it is not."""
        assert Pipeline([{"$match": {"a": 1}}, {"$count": "n"}]).counted == stages.Count("n")
        assert Pipeline([{"$unwind": "$a"}, {"$count": "n"}]).counted is None


class TestBounds:
    def test_a_stage_stops_when_the_time_is_over(self):
        """However many documents a stage could make, it makes none beyond the deadline."""
        documents = [{"a": list(range(300)), "b": list(range(300))}] * 300
        pipeline = Pipeline([{"$unwind": "$a"}, {"$unwind": "$b"}, {"$group": {"_id": None, "n": {"$sum": 1}}}])

        with pytest.raises(QueryError) as caught, deadline(0.05):
            list(pipeline(documents))

        assert caught.value.code == "MaxTimeMSExpired"

    def test_a_limit_ends_the_work_in_front_of_it(self):
        """Documents behind the last that is wanted are not even looked at."""

        def documents():
            yield {"a": [1, 2]}
            raise AssertionError("one document was enough")

        assert list(Pipeline([{"$unwind": "$a"}, {"$limit": 2}])(documents())) == [{"a": 1}, {"a": 2}]

    @pytest.mark.parametrize(
        "holding",
        [
            {"$sort": {"b": 1}},
            {"$group": {"_id": "$a"}},
            {"$group": {"_id": None, "all": {"$push": "$a"}}},
            {"$group": {"_id": None, "all": {"$addToSet": "$a"}}},
            {"$group": {"_id": None, "all": {"$topN": {"n": 5000, "sortBy": {"a": 1}, "output": "$a"}}}},
            {"$facet": {"all": []}},
        ],
    )
    def test_a_stage_holds_no_more_than_it_may(self, holding, monkeypatch):
        """What would hold too many documents or values is refused, before memory runs out."""
        monkeypatch.setattr(accumulators, "MAX_HELD", 1000)
        documents = [{"a": number} for number in range(2000)]

        with pytest.raises(QueryError) as caught:
            made([{"$unwind": "$a"}, holding], documents)

        assert (caught.value.code, caught.value.pointer) == ("QueryExceededMemoryLimitNoDiskUseAllowed", None)

    def test_a_document_does_not_double_for_ever(self):
        """Forty stages that put a document twice into itself are refused, not carried out."""
        with pytest.raises(QueryError) as caught:
            made([{"$replaceWith": {"a": "$$ROOT", "b": "$$ROOT"}}] * 40, [{"x": 1}])

        assert caught.value.code == "BSONObjectTooLarge"

    def test_a_document_does_not_grow_deeper_than_a_client_could_send_it(self):
        """A hundred levels are as many as a document may have."""
        with pytest.raises(QueryError) as caught:
            made([{"$replaceWith": {"a": "$$ROOT"}}] * 120, [{"x": 1}])

        assert caught.value.code == "Overflow"

    def test_a_pipeline_has_a_thousand_stages_at_most(self):
        """As MongoDB's."""
        with pytest.raises(QueryError) as caught:
            Pipeline([{"$match": {}}] * 1001)

        assert caught.value.code == "Location7749501"


class TestTop:
    def test_ties_are_settled_by_which_came_first(self):
        """Of thousands that tie, the first ones are the top, and the bottom too."""
        documents = [{"n": number, "s": 1} for number in range(5000)]
        arguments = {"n": 2, "sortBy": {"s": 1}, "output": "$n"}

        (group,) = made(
            [{"$group": {"_id": None, "top": {"$topN": arguments}, "bottom": {"$bottomN": arguments}}}], documents
        )

        assert (group["top"], group["bottom"]) == ([0, 1], [0, 1])

    def test_n_may_depend_on_the_group(self):
        """``n`` is computed from the fields of an ``_id`` that is a document."""
        groups = made(
            [{"$group": {"_id": {"g": "$g"}, "all": {"$firstN": {"n": "$g", "input": "$v"}}}}],
            [{"g": 1, "v": "a"}, {"g": 2, "v": "b"}, {"g": 1, "v": "c"}, {"g": 2, "v": "d"}],
        )

        assert [each["all"] for each in groups] == [["a"], ["b", "d"]]


class TestFields:
    @pytest.mark.parametrize(
        ("stages", "fields"),
        [
            ([{"$group": {"_id": "$a.b", "n": {"$sum": {"$add": ["$c", {"$ifNull": ["$d", 1]}]}}}}], {"a", "c", "d"}),
            ([{"$group": {"_id": None, "n": {"$sum": 1}}}], set()),
            ([{"$match": {"a": 1}}, {"$match": {"b.c": 1}}, {"$group": {"_id": "$d"}}], {"d"}),
            ([{"$unwind": "$a.b"}, {"$sortByCount": "$a.b.c"}], {"a"}),
            ([{"$unwind": {"path": "$a", "includeArrayIndex": "i.j"}}, {"$count": "n"}], {"a", "i"}),
            ([{"$set": {"x.y": "$a", "z": {"w": "$b"}}}, {"$group": {"_id": "$x"}}], {"x", "a", "z", "b"}),
            (
                [{"$unset": "q"}, {"$match": {"$or": [{"a": 1}, {"$expr": {"$gt": ["$b", "$c"]}}]}}, {"$count": "n"}],
                {"a", "b", "c"},
            ),
            (
                [{"$unset": "q"}, {"$sort": {"a.b": 1}}, {"$group": {"_id": None, "f": {"$first": "$c"}}}],
                {"_id", "a", "c"},
            ),
            ([{"$group": {"_id": 1, "t": {"$top": {"sortBy": {"s.t": 1}, "output": ["$p", "$$NOW"]}}}}], {"s", "p"}),
            ([{"$replaceWith": {"$mergeObjects": ["$a", {"b": "$b"}]}}], {"a", "b"}),
            ([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1], "output": {"m": {"$max": "$b"}}}}], {"a", "b"}),
            ([{"$group": {"_id": {"$let": {"vars": {"v": "$a"}, "in": "$$v.b"}}}}], {"a"}),
        ],
    )
    def test_are_named_by_the_stages_behind_the_question(self, stages, fields):
        """Up to the stage that makes documents of others, whatever comes after it."""
        assert Pipeline([*stages, {"$project": {"other": "$other"}}]).fields == fields

    @pytest.mark.parametrize(
        "stages",
        [
            [{"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}],
            [{"$group": {"_id": "$$CURRENT.a"}}],
            [{"$group": {"_id": {"$getField": "a"}}}],
            [{"$project": {"a": 1}}, {"$group": {"_id": "$a"}}],
            [{"$unwind": "$a"}],
            [{"$facet": {"a": [{"$count": "n"}]}}],
            [{"$set": {"a": 1}}, {"$match": {"$jsonSchema": {"required": ["b"]}}}, {"$count": "n"}],
        ],
    )
    def test_are_not_known_where_the_whole_document_may_count(self, stages):
        """A variable for it, a stage that hands on what it gets, a schema."""
        assert Pipeline(stages).fields is None
