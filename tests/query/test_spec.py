"""The behaviour of the language, read from tests/spec: one test per case, the truth is the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectome import extjson
from connectome.errors import RequestError
from connectome.query import MISSING, Filter, Pipeline, Projection, Sort, Update, compile_array_filters
from connectome.query.accumulators import compile_accumulator
from connectome.query.dependencies import fields_read
from connectome.query.expressions import compile_expression
from connectome.query.generated import generated_scan
from connectome.query.values import identical
from connectome.stores.base import identified

SPEC = Path(__file__).parent.parent / "spec"


def cases(kind: str) -> list[Any]:
    """Every case of one kind, named after its file and its sentence."""
    return list(_cases(kind))


def _cases(kind: str) -> Iterator[Any]:
    for file in sorted((SPEC / kind).glob("*.json")):
        subject = extjson.loads(file.read_bytes())
        for case in subject["cases"]:
            if "documents" in subject:
                case.setdefault("documents", subject["documents"])
            yield pytest.param(case, id=f"{file.stem}: {case['says']}")


def refused(case: dict[str, Any], action: Any) -> None:
    """Assert that MongoDB's refusal is ours, at the same place."""
    with pytest.raises(RequestError) as caught:
        action()
    expected = case["refused"]
    got = {"code": caught.value.code, "pointer": caught.value.pointer}
    assert {key: got[key] for key in expected} == expected, caught.value.detail


def assert_identical(got: Any, expected: Any) -> None:
    """Equal to the last bit: types, and the order of fields."""
    assert identical(got, expected), (
        f"{extjson.dumps(got, mode='canonical')} is not {extjson.dumps(expected, mode='canonical')}"
    )


@pytest.mark.parametrize("case", cases("filter"))
def test_filter(case: dict[str, Any]) -> None:
    """A filter finds exactly these documents, by its closures and by generated source, or is refused before."""
    if "refused" in case:
        refused(case, lambda: Filter(case["filter"]))
    else:
        documents = case["documents"]
        filter = Filter(case["filter"])
        found = filter.select(documents)
        position = {id(document): i for i, document in enumerate(documents)}
        assert [position[id(document)] for document in found] == case.get("order", case.get("matches"))
        assert generated_scan(filter.condition)(documents) == sorted(case.get("order", case.get("matches")))


@pytest.mark.parametrize("case", cases("projection"))
def test_projection(case: dict[str, Any]) -> None:
    """A projection gives exactly this document."""
    if "refused" in case:
        refused(case, lambda: Projection(case["projection"], Filter(case.get("filter", {})))(case.get("document", {})))
    else:
        projection = Projection(case["projection"], Filter(case.get("filter", {})))
        assert_identical(projection(case["document"]), case["gives"])


@pytest.mark.parametrize("case", cases("sort"))
def test_sort(case: dict[str, Any]) -> None:
    """A sort puts the documents in exactly this order."""
    documents = case.get("documents", [])
    if "refused" in case:
        refused(case, lambda: Sort(case["sort"])(documents))
    else:
        position = {id(document): i for i, document in enumerate(documents)}
        assert [position[id(document)] for document in Sort(case["sort"])(documents)] == case["order"]


@pytest.mark.parametrize("case", cases("update"))
def test_update(case: dict[str, Any]) -> None:
    """An update leaves exactly this document, and the one it was given as it was."""
    if "document" not in case and "filter" in case:
        upsert(case)
    elif "refused" in case:
        refused(case, lambda: updated(case))
    else:
        before = extjson.dumps(case["document"], mode="canonical")
        got = updated(case)
        assert extjson.dumps(case["document"], mode="canonical") == before
        if "unchanged" in case:
            assert got is case["document"]
        else:
            assert got is not case["document"]
            assert_identical(got, case["gives"])


def compiled(case: dict[str, Any]) -> Update:
    """The update of a case, with its array filters."""
    return Update(case["update"], compile_array_filters(case.get("arrayFilters", [])))


def updated(case: dict[str, Any]) -> Any:
    """The document of a case, updated; where it has none, compiling is all there is to do."""
    update = compiled(case)
    if "document" not in case:
        return None
    filter = Filter(case.get("filter", {}))
    assert filter.matches(case["document"]), "the filter of this case does not match its document"
    return update.apply(case["document"], filter)


def upsert(case: dict[str, Any]) -> None:
    """An upsert that finds nothing creates exactly this document; an _id that is made is left out."""

    def insert() -> Any:
        return compiled(case).insert(Filter(case["filter"]))

    if "refused" in case:
        refused(case, insert)
        return
    created = insert()
    kept = identified(created)
    if "_id" not in created:
        del kept["_id"]
    assert_identical(kept, case["inserts"])


@pytest.mark.parametrize("case", cases("expression"))
def test_expression(case: dict[str, Any]) -> None:
    """An expression has exactly this value for a document, or is refused."""
    if "refused" in case:
        refused(case, lambda: compile_expression(case["expression"])(case.get("document", {})))
        return
    got = compile_expression(case["expression"])(case.get("document", {}))
    if "missing" in case:
        assert got is MISSING
    else:
        assert_identical(got, case["gives"])


def aggregated(pipeline: list[Any], documents: list[Any]) -> list[Any]:
    """What a pipeline makes of documents, which stay as they were."""
    before = extjson.dumps(documents, mode="canonical")
    made = list(Pipeline(pipeline)(documents))
    assert extjson.dumps(documents, mode="canonical") == before
    return made


@pytest.mark.parametrize("case", cases("stage"))
def test_stage(case: dict[str, Any]) -> None:
    """A stage, or several in a row, makes exactly these documents, or is refused."""
    stages = case["stage"] if type(case["stage"]) is list else [case["stage"]]
    documents = case.get("documents", [])
    if "refused" in case:
        refused(case, lambda: aggregated(stages, documents))
    elif "unordered" in case:
        made = aggregated(stages, documents)
        assert_identical(sorted(made, key=extjson.dumps), sorted(case["unordered"], key=extjson.dumps))
    else:
        assert_identical(aggregated(stages, documents), case["gives"])


@pytest.mark.parametrize("case", cases("accumulator"))
def test_accumulator(case: dict[str, Any]) -> None:
    """An accumulator has exactly this value over the documents, or is refused."""
    pipeline = [{"$group": {"_id": None, "value": case["accumulator"]}}]
    if "documents" not in case:
        refused(case, lambda: compile_accumulator("value", case["accumulator"]))
    elif "refused" in case:
        refused(case, lambda: aggregated(pipeline, case["documents"]))
    else:
        (group,) = aggregated(pipeline, case["documents"])
        assert_identical(group["value"], case["gives"])


def reading_cases() -> Iterator[Any]:
    """What the stages and accumulators of cases make of documents, where it is known which fields they read."""
    for kind in ("stage", "accumulator"):
        for parameter in cases(kind):
            (case,) = parameter.values
            if "refused" in case or "unordered" in case:
                continue
            stages = case["stage"] if kind == "stage" else {"$group": {"_id": None, "value": case["accumulator"]}}
            stages = stages if type(stages) is list else [stages]
            if (fields := fields_read(stages)) is not None:
                yield pytest.param(stages, fields, case["documents"], id=f"{kind}/{parameter.id}")


@pytest.mark.parametrize(("stages", "fields", "documents"), list(reading_cases()))
def test_stages_read_no_field_but_those_that_they_are_said_to_read(
    stages: list[Any], fields: frozenset[str], documents: list[Any]
) -> None:
    """Documents that are cut to these fields, in another order, are as good as the whole."""
    cut = [{name: document[name] for name in sorted(fields & document.keys())} for document in documents]
    assert_identical(aggregated(stages, cut), aggregated(stages, documents))


def test_every_case_is_a_sentence_of_its_own() -> None:
    """No case is there twice, and each file says what it is about."""
    for file in SPEC.glob("*/*.json"):
        subject = json.loads(file.read_bytes())
        sentences = [case["says"] for case in subject["cases"]]
        assert len(sentences) == len(set(sentences)), file
        assert subject["operator"], file
        assert subject["says"], file
