"""Laws of the language: what holds for every value, document, filter, projection, sort and update."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from strategies import (
    canonical,
    conditions,
    documents,
    filters,
    near_numbers,
    operands,
    paths,
    plain_documents,
    plain_values,
    positive_conditions,
    scalars,
    top_level_names,
    updates,
    values,
)

from connectome.errors import QueryError, RequestError, UpdateError
from connectome.query import MISSING, Filter, Projection, Sort, Update, sort_key
from connectome.query.generated import closure_scan, generated_scan
from connectome.query.values import equal, identical

laws = settings(max_examples=40, deadline=None)

collections = st.lists(plain_documents, max_size=6)


def positions(found: list[Any], collection: list[Any]) -> list[int]:
    """Where documents stand in a collection, by the object: equal ones are told apart."""
    position = {id(document): i for i, document in enumerate(collection)}
    return [position[id(document)] for document in found]


def matched(filter: Any, collection: list[Any]) -> list[int]:
    return positions(Filter(filter).select(collection), collection)


class TestOrder:
    @laws
    @given(values, values)
    def test_two_values_stand_in_exactly_one_relation(self, one, other):
        """Any value is before another, after it, or equal to it, whatever their types."""
        a, b = sort_key(one), sort_key(other)

        assert [a < b, a == b, a > b].count(True) == 1

    @laws
    @given(values, values)
    def test_turning_a_comparison_round_turns_its_answer(self, one, other):
        """Before is the other side of after."""
        assert (sort_key(one) < sort_key(other)) is (sort_key(other) > sort_key(one))

    @laws
    @given(st.tuples(values, values, values))
    def test_the_order_is_transitive(self, three):
        """Of three values in order, the first is not after the last."""
        keys = sorted(map(sort_key, three))

        assert all(one <= other for one, other in pairwise(keys))
        assert keys[0] <= keys[2]

    @laws
    @given(values, values)
    def test_equality_agrees_with_the_order(self, one, other):
        """Two values are equal exactly where neither comes first."""
        assert equal(one, other) is (sort_key(one) == sort_key(other))

    @laws
    @given(st.one_of(near_numbers, near_numbers.map(lambda pair: ([pair[0]], [pair[1]])), st.tuples(values, values)))
    def test_equal_values_have_equal_hashes(self, pair):
        """The key finds in a set what the comparison calls equal."""
        one, other = map(sort_key, pair)

        assert len({one, other}) == (1 if equal(*pair) else 2)

    @laws
    @given(values)
    def test_a_value_equals_itself(self, value):
        """NaN too: a document that holds one can be found, and its _id looked up."""
        assert equal(value, value)
        assert identical(value, value)

    @laws
    @given(values, values)
    def test_identical_values_are_equal(self, one, other):
        """What has the same bytes compares as the same."""
        assert equal(one, other) or not identical(one, other)

    @laws
    @given(values, values)
    def test_identical_values_are_the_same_in_canonical_extended_json(self, one, other):
        """The same bytes read the same; 1 and 1.0 are equal and do not."""
        assert identical(one, other) is (canonical(one) == canonical(other))

    @given(st.sampled_from([MISSING]), st.none())
    def test_missing_sorts_as_null(self, missing, null):
        """A field that is not there stands where null stands."""
        assert sort_key(missing) == sort_key(null)


class TestFilters:
    @laws
    @given(filters, collections)
    def test_a_filter_and_its_nor_split_a_collection(self, filter, collection):
        """Every document matches exactly one of the two."""
        inside, outside = matched(filter, collection), matched({"$nor": [filter]}, collection)

        assert sorted(inside + outside) == list(range(len(collection)))

    @settings(max_examples=300, deadline=None)
    @given(filters, st.lists(plain_documents | documents, max_size=6))
    def test_generated_source_finds_what_the_closures_find(self, filter, collection):
        """Two forms of one meaning: whatever is inlined, and whatever is left to the closures."""
        condition = Filter(filter).condition

        assert generated_scan(condition)(collection) == closure_scan(condition)(collection)

    @laws
    @given(paths, operands, collections)
    def test_ne_is_the_complement_of_eq(self, path, value, collection):
        """No document is in both, none in neither, arrays and missing fields included."""
        without = matched({path: {"$ne": value}}, collection)

        assert without == matched({"$nor": [{path: {"$eq": value}}]}, collection)

    @laws
    @given(paths, st.lists(operands, max_size=3), collections)
    def test_nin_is_the_complement_of_in(self, path, choices, collection):
        """No document is in both, none in neither."""
        without = matched({path: {"$nin": choices}}, collection)

        assert without == matched({"$nor": [{path: {"$in": choices}}]}, collection)

    @laws
    @given(paths, conditions(), collections)
    def test_not_is_the_complement_of_its_operand(self, path, condition, collection):
        """Whatever the condition, and whatever arrays the path leads through."""
        without = matched({path: {"$not": condition}}, collection)

        assert without == matched({"$nor": [{path: condition}]}, collection)

    @laws
    @given(paths, operands, collections)
    def test_a_plain_value_means_eq(self, path, value, collection):
        """``{path: value}`` is short for ``{path: {"$eq": value}}``."""
        assert matched({path: value}, collection) == matched({path: {"$eq": value}}, collection)

    @laws
    @given(paths, st.lists(operands, max_size=3), collections)
    def test_in_is_an_or_of_eq(self, path, choices, collection):
        """Membership is nothing but several equalities."""
        assume(choices)

        assert matched({path: {"$in": choices}}, collection) == matched(
            {"$or": [{path: {"$eq": choice}} for choice in choices]}, collection
        )

    @laws
    @given(paths, positive_conditions, positive_conditions, collections)
    def test_two_conditions_on_a_field_are_an_and(self, path, one, other, collection):
        """Beside each other in one object, or as two filters: the same."""
        assume(not one.keys() & other.keys())

        assert matched({path: {**one, **other}}, collection) == matched(
            {"$and": [{path: one}, {path: other}]}, collection
        )

    @laws
    @given(paths, operands, collections)
    def test_gte_is_gt_or_eq(self, path, value, collection):
        """A bound that is included adds exactly what equals it."""
        assert matched({path: {"$gte": value}}, collection) == matched(
            {"$or": [{path: {"$gt": value}}, {path: value}]}, collection
        )

    @laws
    @given(filters, collections)
    def test_a_filter_changes_no_document(self, filter, collection):
        """Reading leaves everything as it was."""
        before = canonical(collection)

        Filter(filter).select(collection)

        assert canonical(collection) == before


def is_part(part: Any, whole: Any) -> bool:
    """Whether a value is another one with fields, or elements of arrays, left out, and nothing put in."""
    if type(part) is dict and type(whole) is dict:
        in_order = [name for name in whole if name in part]
        return list(part) == in_order and all(is_part(part[name], whole[name]) for name in part)
    if type(part) is list and type(whole) is list:
        elements = iter(whole)
        return all(any(is_part(each, element) for element in elements) for each in part)
    return identical(part, whole)


class TestProjections:
    @laws
    @given(st.lists(paths, min_size=1, max_size=3), documents)
    def test_inclusion_never_invents_a_value(self, included, document):
        """What is kept stands in the document, in its order."""
        try:
            projection = Projection(dict.fromkeys(included, 1))
        except QueryError:  # a path inside another
            assume(False)

        assert is_part(projection(document), document)

    @laws
    @given(st.lists(paths, min_size=1, max_size=3), documents)
    def test_exclusion_never_invents_a_value(self, excluded, document):
        """What is left stands in the document, in its order."""
        try:
            projection = Projection(dict.fromkeys(excluded, 0))
        except QueryError:  # a path inside another
            assume(False)

        assert is_part(projection(document), document)

    @laws
    @given(st.sets(top_level_names, min_size=1), st.booleans(), documents)
    def test_inclusion_and_exclusion_part_the_fields(self, names, with_id, document):
        """Each top-level field is in exactly one of the two, whole, and in its place."""
        document = {"_id": 1, **document}
        kept = Projection({**dict.fromkeys(names, 1), "_id": int(with_id)})(document)
        left = Projection({**dict.fromkeys(names, 0), "_id": int(not with_id)})(document)

        assert kept.keys() & left.keys() == set()
        assert canonical({name: {**kept, **left}[name] for name in document}) == canonical(document)
        assert list(kept) == [name for name in document if name in kept]
        assert list(left) == [name for name in document if name in left]

    @laws
    @given(st.lists(paths, min_size=1, max_size=3), st.sampled_from([0, 1]), documents)
    def test_projecting_twice_is_projecting_once(self, named, flag, document):
        """What a projection keeps, it keeps again."""
        try:
            projection = Projection(dict.fromkeys(named, flag))
        except QueryError:  # a path inside another
            assume(False)
        once = projection(document)

        assert canonical(projection(once)) == canonical(once)

    @laws
    @given(st.lists(paths, min_size=1, max_size=3), st.sampled_from([0, 1]), documents)
    def test_a_projection_changes_no_document(self, named, flag, document):
        """Documents are shared with other readers."""
        before = canonical(document)
        try:
            Projection(dict.fromkeys(named, flag))(document)
        except QueryError:  # a path inside another
            assume(False)

        assert canonical(document) == before


sorts = st.dictionaries(paths, st.sampled_from([1, -1]), min_size=1, max_size=2)


class TestSorts:
    @laws
    @given(sorts, collections)
    def test_a_sort_is_a_permutation(self, sort, collection):
        """Nothing is lost, nothing comes twice."""
        try:
            ordered = Sort(sort)(collection)
        except QueryError:  # two paths into different arrays of one document
            assume(False)

        assert sorted(positions(ordered, collection)) == list(range(len(collection)))

    @laws
    @given(top_level_names, st.sampled_from([1, -1]), st.lists(scalars, max_size=8))
    def test_a_sort_by_scalars_is_a_sort_by_their_keys(self, name, direction, column):
        """On one field without arrays, the order is that of sort_key, and ties keep their places."""
        collection = [{name: value} for value in column]
        expected = sorted(collection, key=lambda document: sort_key(document[name]), reverse=direction == -1)

        assert positions(Sort({name: direction})(collection), collection) == positions(expected, collection)

    @laws
    @given(sorts, collections)
    def test_sorting_twice_changes_nothing(self, sort, collection):
        """A sort is stable: what is in order stays as it is."""
        try:
            once = Sort(sort)(collection)
        except QueryError:  # two paths into different arrays of one document
            assume(False)

        assert positions(Sort(sort)(once), collection) == positions(once, collection)

    @laws
    @given(top_level_names, st.sampled_from([1, -1]), st.integers(1, 3), st.lists(scalars, min_size=4, max_size=24))
    def test_a_small_limit_gives_the_first_of_the_whole(self, name, direction, limit, column):
        """Where the limit ends with a type, too: only the documents in front are put in order then."""
        collection = [{name: value} for value in column]
        whole = Sort({name: direction})(collection)

        assert positions(Sort({name: direction})(collection, limit=limit), collection) == positions(
            whole[:limit], collection
        )

    @laws
    @given(sorts, st.integers(1, 4), collections)
    def test_a_limit_gives_the_first_of_the_whole(self, sort, limit, collection):
        """A limit cuts the answer, never changes it."""
        try:
            whole = Sort(sort)(collection)
        except QueryError:  # two paths into different arrays of one document
            assume(False)

        assert positions(Sort(sort)(collection, limit=limit), collection) == positions(whole[:limit], collection)

    @laws
    @given(sorts, collections)
    def test_pairs_sort_as_an_object_does(self, sort, collection):
        """``{"a": 1}`` and ``[["a", 1]]`` are the same sort."""
        try:
            by_object = Sort(sort)(collection)
        except QueryError:  # two paths into different arrays of one document
            assume(False)
        by_pairs = Sort([[path, direction] for path, direction in sort.items()])(collection)

        assert positions(by_pairs, collection) == positions(by_object, collection)


class TestUpdates:
    @settings(laws, max_examples=100)
    @given(updates, plain_documents)
    def test_an_update_never_changes_the_document_it_is_given(self, source, document):
        """Whether it succeeds or is refused on the way: a reader may hold that document."""
        before = canonical(document)

        with suppress(RequestError):
            Update(source).apply(document)

        assert canonical(document) == before

    @settings(laws, max_examples=100)
    @given(updates, plain_documents)
    @example({"$push": {"a": {"$each": []}}}, {"a": []})
    @example({"$set": {"a": 1.0}}, {"a": 1})
    @example({"$inc": {"a": 0}}, {"a": 1})
    @example({"$pull": {"a": 5}}, {"a": [1]})
    def test_where_nothing_changes_the_same_object_comes_back(self, source, document):
        """modifiedCount is an ``is not``: a new object that is identical would be counted."""
        assume("$unset" not in source)  # MongoDB counts an element of an array that was null already
        try:
            after = Update(source).apply(document)
        except RequestError:
            assume(False)

        assert (after is document) is identical(after, document)

    @settings(laws, max_examples=100)
    @given(updates)
    def test_an_update_never_changes_its_own_source(self, source):
        """One compiled update is applied to many documents."""
        before = canonical(source)

        for document in ({}, {"a": [1, 2]}, {"a": {"b": []}, "b": 1}):
            with suppress(RequestError):
                Update(source).apply(document)

        assert canonical(source) == before

    @laws
    @given(st.dictionaries(paths, plain_values, min_size=1, max_size=3), plain_documents)
    def test_set_twice_is_set_once(self, fields, document):
        """The second time nothing changes, so the same object comes back."""
        try:
            update = Update({"$set": fields})
            once = update.apply(document)
        except UpdateError:
            assume(False)

        assert update.apply(once) is once

    @laws
    @given(top_level_names, values, documents)
    def test_what_is_set_is_there(self, name, value, document):
        """A field holds what it was set to, to the last bit, and the others what they held."""
        after = Update({"$set": {name: value}}).apply(document)

        assert canonical(after) == canonical({**document, name: value})

    @laws
    @given(top_level_names, documents)
    def test_what_is_unset_is_gone(self, name, document):
        """Nothing but the field goes."""
        after = Update({"$unset": {name: ""}}).apply(document)

        assert canonical(after) == canonical({other: value for other, value in document.items() if other != name})

    @laws
    @given(st.dictionaries(paths, plain_values, min_size=1, max_size=3), plain_documents)
    def test_plain_fields_mean_set(self, fields, document):
        """An update without operators is a ``$set``, refused where that is refused."""

        def outcome(source: Any) -> str:
            try:
                return canonical(Update(source).apply(document))
            except UpdateError as error:
                return error.code

        assert outcome(fields) == outcome({"$set": fields})

    @laws
    @given(top_level_names, values, documents)
    def test_min_and_max_agree_with_the_order(self, name, value, document):
        """The smaller, or the larger, of the two in the order of all types."""
        document = {**document, name: document.get(name)}
        less, more = Update({"$min": {name: value}}), Update({"$max": {name: value}})

        assert sort_key(less.apply(document)[name]) == min(sort_key(document[name]), sort_key(value))
        assert sort_key(more.apply(document)[name]) == max(sort_key(document[name]), sort_key(value))
