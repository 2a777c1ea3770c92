"""Questions: whichever way an answer is found, by columns, by indexes, by a walk, it is the same answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from bson import Decimal128, Int64, Regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query.test_spec import cases
from strategies import canonical, filters, paths, plain_documents, plain_values, scalars, top_level_names

from connectome import extjson
from connectome.errors import QueryError
from connectome.query import MISSING, Filter, Sort
from connectome.stores import Find, questions
from connectome.stores.indexes import Paths
from connectome.stores.questions import answer, select
from connectome.stores.rows import Rows, columns_of

laws = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Documents whose values are of all kinds, so that a column holds many.
mixed_documents = st.dictionaries(top_level_names, plain_values | scalars, max_size=3)
collections = st.lists(plain_documents | mixed_documents, max_size=12)
sorts = st.dictionaries(paths, st.sampled_from([1, -1]), max_size=2)
# Ranges and equalities on a field: what an index is asked for.
bounds = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq"]), plain_values | scalars, max_size=2)
memberships = st.lists(plain_values, max_size=3).map(lambda each: {"$in": each})
index_filters = st.dictionaries(top_level_names | paths, bounds | memberships, max_size=2)


@pytest.fixture(scope="module", params=["documents", "texts", "texts, read by json"], autouse=True)
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test here runs for each form in which rows keep documents, and with each reader of texts."""
    columns_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extjson, "HAS_MSGSPEC", "json" not in request.param)
        patch.setattr(Form, "texts", request.param != "documents")
        yield request.param
    columns_of.cache_clear()


class Form:
    """How the rows of a test keep their documents."""

    texts = False


def texts_of(documents: dict[int, Any]) -> dict[int, bytes]:
    """The texts of numbered documents, where rows shall keep these."""
    return {number: extjson.encode(each, mode="stored") for number, each in documents.items()} if Form.texts else {}


def rows_of(documents: list[Any], *, size: int = 4) -> Rows:
    """Documents in segments so small that several are there."""
    numbered = dict(enumerate(documents, 1))
    return Rows.of(numbered, texts_of(numbered), size=size)


def changed(rows: Rows, put: dict[int, Any]) -> Rows:
    """Rows after a write that puts documents."""
    return rows.changed(put, texts=texts_of(put))


def asked_before() -> Paths:
    """Paths of a collection, of which even a small one is worth an index."""
    return Paths(worth=0)


@pytest.fixture(scope="module", autouse=True)
def every_index_is_worth_it() -> Iterator[None]:
    """However few documents there are, and however many of them an index finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "_SELECTIVE", 1.0)
        patch.setattr(questions, "_WALKED", 0)
        patch.setattr(questions, "_PATIENCE", 1)
        patch.setattr(questions, "_STEP", 0)
        yield


def refused(filter: Any) -> bool:
    try:
        Filter(filter)
    except QueryError:
        return True
    return False


class TestFilters:
    @laws
    @given(filters | index_filters, collections)
    def test_the_answer_does_not_depend_on_what_was_asked_before(self, filter, documents):
        """First the documents, then columns, then an index: three times the same."""
        if refused(filter):
            return
        rows, paths = rows_of(documents), asked_before()
        expected = [canonical(document) for document in documents if Filter(filter).matches(document)]

        for _ in range(4):
            assert list(map(canonical, select(rows, Filter(filter), paths).documents())) == expected

    @laws
    @given(index_filters, collections)
    def test_an_index_finds_what_the_documents_show(self, filter, documents):
        """Where every path is indexed, whatever part of the collection that is."""
        if refused(filter):
            return
        rows, paths = rows_of(documents), asked_before()
        paths.pinned = frozenset(filter)
        expected = [canonical(document) for document in documents if Filter(filter).matches(document)]

        assert list(map(canonical, select(rows, Filter(filter), paths).documents())) == expected

    @laws
    @given(index_filters, collections, st.integers(1, 4))
    def test_the_first_are_the_first_of_all(self, filter, documents, stop):
        """A limit without a sort ends the search early, and changes nothing."""
        if refused(filter):
            return
        rows, paths = rows_of(documents), asked_before()

        for _ in range(4):
            everything = select(rows, Filter(filter), paths).documents()
            assert select(rows, Filter(filter), paths, stop=stop).documents() == everything[:stop]

    @pytest.mark.parametrize("case", [case for case in cases("filter") if "matches" in case.values[0]])
    def test_columns_find_what_the_specification_says(self, case, monkeypatch):
        """Every case of the language that finds something or nothing, answered from columns alone."""
        monkeypatch.setattr(questions, "_SELECTIVE", -1)
        rows, paths = rows_of(case["documents"]), asked_before()

        for _ in range(3):
            found = select(rows, Filter(case["filter"]), paths)
            assert found.stage == "COLLSCAN"
            assert [number - 1 for number, _ in found.numbered()] == case["matches"]

    def test_what_asks_for_nothing_finds_everything(self):
        """An empty filter, however deep it stands, beside one that finds nothing."""
        rows, paths = rows_of([{"a": n} for n in range(6)]), asked_before()
        filter = Filter({"$or": [{"$and": [{}, {}]}, {"a": {"$in": []}}]})

        for _ in range(4):
            assert select(rows, filter, paths).documents() == [{"a": n} for n in range(6)]

    def test_each_bound_may_be_met_by_another_element(self):
        """Of an array; of a single value one index look-up takes both bounds."""
        rows, paths = rows_of([{"a": [0, 9]}, {"a": [4]}, {"a": 4}, {"a": 9}, {"a": 4}]), asked_before()
        paths.pinned = frozenset("a")

        found = select(rows, Filter({"a": {"$gt": 3, "$lt": 5}}), paths).documents()

        assert found == [{"a": [0, 9]}, {"a": [4]}, {"a": 4}, {"a": 4}]

    def test_one_question_makes_one_index(self):
        """However many paths could have one: no single question pays for many."""
        rows, paths = rows_of([{"a": n, "b": n, "c": n} for n in range(9)]), asked_before()
        filter = Filter({"a": {"$gte": 1}, "b": 2, "c": 3})

        stages = [(found.stage, found.path) for found in (select(rows, filter, paths) for _ in range(3))]

        assert stages[:2] == [("COLLSCAN", None), ("IXSCAN", "b")]
        assert not paths.is_indexed("a")

    def test_an_index_that_finds_too_much_is_not_used(self, monkeypatch):
        """Half of a collection is found faster in a column."""
        monkeypatch.setattr(questions, "_SELECTIVE", 0.1)
        rows, paths = rows_of([{"a": n % 2} for n in range(40)]), asked_before()

        stages = [select(rows, Filter({"a": 1}), paths).stage for _ in range(4)]

        assert stages == ["COLLSCAN"] * 4

    def test_a_document_counts_as_examined_when_it_was_looked_at(self):
        """Of an index only what it led to."""
        rows, paths = rows_of([{"a": n, "b": 1} for n in range(9)]), asked_before()
        filter = Filter({"a": {"$lt": 3}, "b": 2})

        examined = [select(rows, filter, paths).examined for _ in range(2)]
        paths.pinned = frozenset("a")

        assert examined == [9, 0]
        assert select(rows, Filter({"a": {"$lt": 3}}), paths).examined == 3

    @pytest.mark.parametrize(
        ("bound", "found"),
        [
            ({"$gte": 1}, [1, 1.0, Int64(1), Decimal128("1"), 2, float("inf"), [0, 1]]),
            ({"$lte": 0}, [0, [0, 1]]),
            ({"$gte": True}, [True]),
            ({"$gte": "a"}, ["a", "b"]),
            ({"$regex": "^a"}, ["a", Regex("^a")]),
            ({"$eq": 1}, [1, 1.0, Int64(1), Decimal128("1"), [0, 1]]),
            ({"$eq": None}, [None, MISSING]),
            ({"$in": [True, 2]}, [2, True]),
            ({"$gte": float("nan")}, [float("nan"), Decimal128("NaN")]),
            ({"$eq": []}, [[]]),
        ],
    )
    def test_brackets_are_kept_apart(self, bound, found):
        """A bool is no number, NaN on no side of one, null is missing, an array matches by element."""
        values = [0, 1, 1.0, Int64(1), Decimal128("1"), 2, float("inf"), float("nan"), Decimal128("NaN"), True, False]
        values += ["a", "b", None, MISSING, [], [0, 1], {"a": 1}, Regex("^a")]
        rows = rows_of([{} if value is MISSING else {"a": value} for value in values])
        expected = [{} if value is MISSING else {"a": value} for value in found]

        for pinned in ((), ("a",)):
            paths = asked_before()
            paths.pinned = frozenset(pinned)
            for _ in range(3):
                got = select(rows, Filter({"a": bound}), paths).documents()
                assert sorted(map(canonical, got)) == sorted(map(canonical, expected))


class TestAnswers:
    @laws
    @given(filters | index_filters, sorts, st.integers(0, 3), st.integers(0, 4), collections)
    def test_sort_skip_and_limit_are_those_of_the_documents(self, filter, sort, skip, limit, documents):
        """As if the documents had been filtered, then sorted, then cut."""
        if refused(filter):
            return
        rows, paths = rows_of(documents), asked_before()
        found = [document for document in documents if Filter(filter).matches(document)]
        find = Find(Filter(filter), sort=Sort(sort), skip=skip, limit=limit)
        try:
            expected = Sort(sort)(found)[skip : skip + limit if limit else None]
        except QueryError:  # two paths into different arrays of one document
            return

        for _ in range(4):
            selection = answer(rows, find, paths)
            assert list(map(canonical, selection.documents())) == list(map(canonical, expected))
            assert [text.decode() for text in selection.texts()] == list(map(extjson.dumps, expected))
            assert len(selection) == len(expected)

    @laws
    @given(top_level_names, st.sampled_from([1, -1]), st.integers(1, 4), st.lists(mixed_documents, max_size=12))
    def test_a_walk_gives_the_first_of_the_whole_sort(self, path, direction, limit, documents):
        """Ties in natural order, arrays by their least or greatest element, empty ones before null."""
        rows, paths = rows_of(documents), asked_before()
        paths.pinned = frozenset([path])
        find = Find(sort=Sort({path: direction}), limit=limit)
        expected = Sort({path: direction})(documents)[:limit]

        assert list(map(canonical, answer(rows, find, paths).documents())) == list(map(canonical, expected))

    @pytest.mark.parametrize("direction", [1, -1])
    def test_a_walk_looks_at_no_more_than_it_must(self, direction):
        """Wherever the first ones are, of all segments together it looks at twice as many as it is to find."""
        rows, paths = rows_of([{"a": n * 37 % 100} for n in range(100)], size=10), asked_before()
        paths.pinned = frozenset("a")

        found = answer(rows, Find(sort=Sort({"a": direction}), limit=3), paths)

        assert (found.stage, found.examined) == ("IXSCAN", 6)
        assert [each["a"] for each in found.each()] == ([0, 1, 2] if direction == 1 else [99, 98, 97])

    def test_few_that_an_index_finds_are_sorted(self, monkeypatch):
        """A walk would meet them late."""
        monkeypatch.setattr(questions, "_STEP", 6)
        rows, paths = rows_of([{"a": n, "b": n % 50} for n in range(100)]), asked_before()
        paths.pinned = frozenset("ab")

        found = answer(rows, Find(Filter({"b": 7}), sort=Sort({"a": -1}), limit=1), paths)

        assert (found.stage, found.path, found.examined) == ("IXSCAN", "b", 2)
        assert found.documents() == [{"a": 57, "b": 7}]

    def test_the_nearest_come_first(self):
        """$near puts what it finds in order, and a limit cuts that order."""
        documents = [{"_id": n, "at": [n, 0]} for n in (3, 1, 2)]
        find = Find(Filter({"at": {"$near": [0, 0]}}), limit=2)

        assert [each["_id"] for each in answer(rows_of(documents), find, asked_before()).documents()] == [1, 2]


numbered_writes = st.lists(
    st.tuples(st.sampled_from(["insert", "replace", "delete"]), st.integers(0, 30), mixed_documents), max_size=30
)


def same(rows: Rows, model: dict[int, Any]) -> bool:
    """Whether rows hold the documents of a model, by number, to the last bit."""
    held = dict(rows.items())
    return list(held) == sorted(model) and all(canonical(held[number]) == canonical(model[number]) for number in model)


LARGE = {
    "one path": {"$or": [{"d.x": -n} for n in range(1, 1001)]},
    "many paths": {"$or": [{f"d.x{n}": 1} for n in range(1000)]},
    "positions": {"$or": [{f"t.{n % 9}": -n} for n in range(1, 1001)]},
    "none of": {"$nor": [{"d.x": {"$lt": -1}, f"d.q{n}": 1} for n in range(500)]},
    "in an element": {"e": {"$elemMatch": {"$or": [{"z": -n} for n in range(1, 1001)]}}},
    "patterns": {"s": {"$in": [Regex(f"^{n}$") for n in range(1000)]}},
}


class TestTheClock:
    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[None]:
        """One element for each time that a question has looked at the clock."""
        seen: list[None] = []
        monkeypatch.setattr(questions, "check", lambda: seen.append(None))
        return seen

    @pytest.mark.parametrize("filter", LARGE.values(), ids=LARGE)
    @pytest.mark.parametrize("before", [0, 2], ids=["first", "asked before"])
    def test_a_large_question_looks_at_it_more_often(self, looks, filter, before):
        """As often as there is work, in one segment as in many, and whether columns are asked or documents."""
        documents = [{"_id": n, "d": {"x": n}, "t": [n] * 3, "e": [{"z": n}], "s": "a"} for n in range(1000)]
        rows, paths, compiled = rows_of(documents, size=1024), asked_before(), Filter(filter)
        for _ in range(before):
            select(rows, compiled, paths)
        looks.clear()

        select(rows, compiled, paths)

        assert len(looks) >= 15

    def test_a_small_one_does_not(self, looks):
        """Once for a segment, and once for a column."""
        rows = rows_of([{"_id": n, "d": {"x": n}} for n in range(1000)], size=1024)

        select(rows, Filter({"d.x": 5, "s": {"$in": [str(n) for n in range(50_000)]}}), asked_before())

        assert len(looks) <= 5

    @pytest.mark.parametrize(
        "filter", [{"d.x": {"$gt": 3}}, {"$or": [{"t.0": 2}, {"d.x": 7}]}, {"$nor": [{"t.0": {"$lt": 5}}]}]
    )
    def test_what_is_found_is_the_same(self, monkeypatch, filter):
        """In whatever slices the documents are looked at, and where some are deleted."""
        monkeypatch.setattr(questions, "_WEIGHED", 7)
        monkeypatch.setattr(questions, "_AT_A_TIME", 2)
        documents = [{"_id": n, "d": {"x": n}, "t": [n]} for n in range(10)]
        rows, paths, compiled = rows_of(documents, size=8).changed({}, {2: 1, 9: 8}), asked_before(), Filter(filter)

        for _ in range(3):
            found = select(rows, compiled, paths).documents()
            assert [each["_id"] for each in found] == [
                each["_id"] for each in documents if each["_id"] not in (1, 8) and compiled.matches(each)
            ]


class TestWrites:
    @laws
    @given(numbered_writes, index_filters, sorts)
    def test_rows_hold_what_was_written_and_answer_as_new_ones(self, writes, filter, sort):
        """Columns and indexes that a write hands on say what fresh ones would."""
        if refused(filter):
            return
        rows, paths, model = Rows(), asked_before(), {}
        for number, (kind, which, document) in enumerate(writes, 1):
            before, was = rows, dict(model)
            there = sorted(model)
            if kind == "insert" or not there:
                rows, model = changed(rows, {number: document}), {**model, number: document}
            elif kind == "replace":
                chosen = there[which % len(there)]
                rows, model = changed(rows, {chosen: document}), {**model, chosen: document}
            else:
                chosen = there[which % len(there)]
                rows = rows.changed({}, [chosen])
                model = {each: kept for each, kept in model.items() if each != chosen}
            assert list(select(rows, Filter({}), paths).texts()) == [extjson.dumps(each).encode() for each in rows]
            select(rows, Filter(filter), paths)
            assert same(before, was)
        assert same(rows, model)
        assert len(rows) == len(model)
        for number in range(len(writes) + 2):
            assert canonical(rows.get(number)) == canonical(model.get(number))

        fresh = rows_of(list(model.values()))
        find = Find(Filter(filter), sort=Sort(sort))
        try:
            expected = answer(fresh, find, asked_before()).documents()
        except QueryError:  # two paths into different arrays of one document
            return
        for _ in range(3):
            assert list(map(canonical, answer(rows, find, paths).documents())) == list(map(canonical, expected))

    @pytest.mark.parametrize("selective", [-1, 1.0])
    def test_what_is_deleted_is_found_in_no_way(self, monkeypatch, selective):
        """Neither in documents, nor in columns, nor by an index, nor by an expression that would fail on it."""
        monkeypatch.setattr(questions, "_SELECTIVE", selective)
        rows = rows_of([{"_id": n, "a": n % 2, "d": n} for n in range(8)])
        filter = Filter({"a": 0, "$expr": {"$gt": [{"$divide": [1, "$d"]}, 0]}})
        rows, paths = rows.changed({}, [1]), asked_before()

        for _ in range(4):
            assert [each["_id"] for each in select(rows, filter, paths).documents()] == [2, 4, 6]
            assert [each["_id"] for each in select(rows, Filter({"a": {"$ne": 1}}), paths).documents()] == [2, 4, 6]

    def test_many_single_insertions_make_full_segments(self):
        """What gathers in small segments is put together: a scan does not pay for how documents came."""
        rows = Rows()
        for number in range(1, 3_001):
            rows = changed(rows, {number: {"_id": number}})

        assert [each["_id"] for each in rows] == list(range(1, 3_001))
        assert len(rows.segments) <= 6

    def test_what_is_deleted_is_packed_away(self):
        """A collection that shrinks does not drag along what it held."""
        rows = Rows.of({number: {"_id": number} for number in range(10_000)})
        rows = rows.changed({}, [number for number in range(10_000) if number % 100])

        assert [each["_id"] for each in rows] == list(range(0, 10_000, 100))
        assert sum(len(segment.documents) for segment in rows.segments) == 100
        assert len(rows.segments) == 1

    def test_the_form_that_is_kept_for_good_is_never_forgotten(self):
        """However often memory is short, and whatever was asked for in between."""
        rows, documents = rows_of([{"_id": n, "a": n} for n in range(9)]), [{"_id": n, "a": n} for n in range(9)]
        first_form = [segment.is_decoded for segment in rows.segments]

        for _ in range(3):
            assert rows.segments[0].documents[0] == documents[0]
            assert list(select(rows, Filter({}), asked_before()).texts()) == list(map(extjson.encode, documents))
            rows.trim(Paths(budget_bytes=0))
            assert [segment.is_decoded for segment in rows.segments] == first_form
            assert list(rows) == documents

    def test_readers_do_not_mind_that_memory_is_short(self):
        """Columns and second forms are let go while others read."""
        documents = [{"_id": n, "a": n % 7, "b": n} for n in range(3_000)]
        rows, paths, failed = rows_of(documents, size=1_024), asked_before(), []
        done = threading.Event()

        def trim() -> None:
            while not done.is_set():
                rows.trim(Paths(budget_bytes=0))
                for path in ("a", "b"):
                    rows.forget(path)

        def read() -> None:
            try:
                for n in range(60):
                    find = Find(Filter({"a": n % 7, "b": {"$gte": 0}}), sort=Sort({"b": -1}), limit=1 + n % 3)
                    found = answer(rows, find, paths)
                    assert [each["a"] for each in found.documents()] == [n % 7] * len(found)
                    assert len(list(found.texts())) == len(found) == 1 + n % 3
                    assert len(rows.segments[0].documents) == 1_024
            except Exception as error:  # whatever it is, the test says so
                failed.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        trimmer = threading.Thread(target=trim)
        for thread in (trimmer, *readers):
            thread.start()
        for thread in readers:
            thread.join()
        done.set()
        trimmer.join()
        assert not failed

    def test_a_write_shares_what_it_does_not_touch(self):
        """One segment is new, and of it only the column that changed."""
        rows = rows_of([{"_id": n, "a": n, "b": str(n)} for n in range(12)])
        columns = [(segment.column("a"), segment.column("b")) for segment in rows.segments]

        after = changed(rows, {6: {"_id": 5, "a": 99, "b": "5"}})

        assert [new is old for new, old in zip(after.segments, rows.segments, strict=True)] == [True, False, True]
        assert after.segments[1].column("b") is columns[1][1]
        assert after.segments[1].column("a").values == [4, 99, 6, 7]
        assert columns[1][0].values == [4, 5, 6, 7]
