"""
The behaviour of the language, read from tests/spec, once more: over TCP, by a MongoDB server, through the store.

Cases that our compiler refuses never reach a server.  Those in which the server of the tests is known to differ from
mongod are in ``tests/spec_on_mongodb.json``, each under the reason; one that begins to pass must leave it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mongodb_server import new_database
from pymongo.errors import PyMongoError

from connectome import extjson
from connectome.errors import ConnectomeError, RequestError
from connectome.query import Filter, Pipeline, Projection, Sort, Update, compile_array_filters
from connectome.query.accumulators import compile_accumulator
from connectome.query.expressions import compile_expression
from connectome.query.values import identical
from connectome.stores import Collection, Find, Modify, Store, open_store

TESTS = Path(__file__).parent.parent
FILES = {f"{path.parent.name}/{path.stem}": path for path in sorted((TESTS / "spec").glob("*/*.json"))}
# File → reason → sentences.
KNOWN: dict[str, dict[str, list[str]]] = (
    {}
    if "CONNECTOME_TEST_MONGODB" in os.environ
    else json.loads((TESTS / "spec_on_mongodb.json").read_bytes())["cases"]
)
# What the collection holds now, where that is known.
THERE: list[str] = []
# The _id of a document that has none in its case.
NONE = "connectome.spec"


@pytest.fixture(scope="module")
def store(mongodb: str) -> Iterator[Store]:
    with new_database(mongodb) as url, closing(open_store(url)) as store:
        yield store


@pytest.fixture(scope="module")
def collection(store: Store) -> Collection:
    return store.collection("spec", None, new=True)


def identified(document: dict[str, Any], position: int = 0) -> dict[str, Any]:
    return document if "_id" in document else {"_id": f"{NONE}.{position}", **document}


def as_given(document: dict[str, Any]) -> dict[str, Any]:
    """Without an ``_id`` that the case did not give it."""
    mine = str(document.get("_id", "")).startswith(NONE)
    return {name: value for name, value in document.items() if name != "_id" or not mine}


def filled(collection: Collection, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents, as they are kept."""
    kept = [identified(document, position) for position, document in enumerate(documents)]
    # There are thousands of cases, and most of them read what the one before has read.
    if [text := canonical(kept)] != THERE:
        THERE.clear()
        # Without the transactions in which a store does the same.
        there = collection._documents  # type: ignore[attr-defined]
        there.delete_many({})
        if kept:
            there.insert_many(kept)
        THERE.append(text)
    return kept


def assert_identical(got: Any, expected: Any) -> None:
    assert identical(got, expected), f"{canonical(got)} is not {canonical(expected)}"


def canonical(value: Any) -> str:
    return extjson.dumps(value, mode="canonical")


def positions(found: Iterator[dict[str, Any]], kept: list[dict[str, Any]]) -> list[int]:
    keys = [canonical(document) for document in kept]
    return [keys.index(canonical(document)) for document in found]


def filter_(case: dict[str, Any], collection: Collection) -> None:
    filter = Filter(case["filter"])
    kept = filled(collection, case["documents"])
    found = positions(collection.find(Find(filter)), kept)
    if "order" in case:
        assert found == case["order"]
    else:
        assert sorted(found) == sorted(case["matches"])


def projection(case: dict[str, Any], collection: Collection) -> None:
    filter = Filter(case.get("filter", {}))
    find = Find(filter, Projection(case["projection"], filter))
    filled(collection, [case.get("document", {})])
    (found,) = collection.find(find)
    assert_identical(as_given(found), case.get("gives"))


def sort(case: dict[str, Any], collection: Collection) -> None:
    find = Find(sort=Sort(case["sort"]))
    kept = filled(collection, case.get("documents", []))
    assert positions(collection.find(find), kept) == case.get("order")


def update(case: dict[str, Any], collection: Collection) -> None:
    array_filters = compile_array_filters(case.get("arrayFilters", []))
    upserts = "document" not in case and "filter" in case
    modify = Modify(Filter(case.get("filter", {})), Update(case["update"], array_filters), upsert=upserts, multi=False)
    filled(collection, [] if upserts else [case.get("document", {})])
    THERE.clear()
    modified = collection.update(modify)
    (after,) = collection.find(Find())
    if upserts:
        made = "_id" not in case.get("inserts", {})
        assert_identical({k: v for k, v in after.items() if k != "_id" or not made}, case.get("inserts"))
    elif "unchanged" in case:
        assert (modified.matched, modified.modified) == (1, 0)
        assert_identical(as_given(after), case["document"])
    else:
        assert (modified.matched, modified.modified) == (1, 1)
        assert_identical(as_given(after), case.get("gives"))


def expression(case: dict[str, Any], collection: Collection) -> None:
    compile_expression(case["expression"])
    pipeline = [{"$replaceWith": {"value": case["expression"]}}]
    (after,) = aggregated(pipeline, [case.get("document", {})], collection)
    assert ("value" not in after) == ("missing" in case)
    if "missing" not in case:
        assert_identical(after["value"], case.get("gives"))


def aggregated(pipeline: list[Any], documents: list[Any], collection: Collection) -> list[Any]:
    """What the server's pipeline makes of documents, without the _id that their cases did not give them."""
    compiled = Pipeline(pipeline)
    filled(collection, documents)
    return [as_given(document) for document in collection.aggregate(compiled)]


def stage(case: dict[str, Any], collection: Collection) -> None:
    stages = case["stage"] if type(case["stage"]) is list else [case["stage"]]
    made = aggregated(stages, case["documents"], collection)
    if "unordered" in case:
        assert_identical(sorted(made, key=canonical), sorted(case["unordered"], key=canonical))
    else:
        assert_identical(made, case.get("gives"))


def accumulator(case: dict[str, Any], collection: Collection) -> None:
    compile_accumulator("value", case["accumulator"])
    made = aggregated([{"$group": {"_id": None, "value": case["accumulator"]}}], case["documents"], collection)
    assert_identical(made[0]["value"], case.get("gives"))


RUN: dict[str, Callable[[dict[str, Any], Collection], None]] = {
    "filter": filter_,
    "projection": projection,
    "sort": sort,
    "update": update,
    "expression": expression,
    "stage": stage,
    "accumulator": accumulator,
}


def difference(case: dict[str, Any], run: Callable[[], None]) -> str:
    """In what the server differs from a case; nothing where it does not."""
    try:
        run()
    except RequestError as error:
        expected = case.get("refused", {})
        if "refused" in case and {key: getattr(error, key) for key in expected} == expected:
            return ""
        return f"refused: {error.code} at {error.pointer}: {error.detail}"
    except (AssertionError, ConnectomeError, PyMongoError, RecursionError, ValueError) as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "not refused" if "refused" in case else ""


@pytest.mark.parametrize("name", FILES)
def test_a_server_does_what_the_specification_says(name: str, collection: Collection) -> None:
    """Every case of the file, but those that are known."""
    kind = name.partition("/")[0]
    subject = extjson.loads(FILES[name].read_bytes())
    known = {says for sentences in KNOWN.get(name, {}).values() for says in sentences}
    never_ends = KNOWN.get(name, {}).get("never ends", [])
    differing = dict.fromkeys(never_ends, "not run")
    for case in subject["cases"]:
        if case["says"] in never_ends:
            continue
        case.setdefault("documents", subject.get("documents", []))
        if found := difference(case, lambda case=case: RUN[kind](case, collection)):
            differing[case["says"]] = found

    assert {says: found for says, found in differing.items() if says not in known} == {}
    assert sorted(known - differing.keys()) == [], "these are known to differ, and do not any more"


def test_every_known_difference_is_of_a_case() -> None:
    """Nothing in the list is left of what was renamed."""
    for name, reasons in KNOWN.items():
        sentences = {case["says"] for case in json.loads(FILES[name].read_bytes())["cases"]}
        assert {says for each in reasons.values() for says in each} <= sentences, name
