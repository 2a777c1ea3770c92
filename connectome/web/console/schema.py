"""What a collection's documents look like, in charts; and the JSON Schema that they shall satisfy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from bson.datetime_ms import DatetimeMS
from flask import Blueprint, Response, request

from connectome import extjson, inference, relaxed
from connectome.errors import Failure, InvalidRequest, RequestError, SchemaViolation
from connectome.inference import Bar, Shape
from connectome.query import Document
from connectome.query.deadline import check, deadline
from connectome.schemas import Schema
from connectome.stores import Find
from connectome.web.console import queries, site, values

blueprint: Final = Blueprint("schema", __name__)

MAX_PATHS: Final = 150
MAX_FAILURES: Final = 50
MAX_SHOWN: Final = 3
SAMPLES: Final = (100, 1000, 10_000)
_CHUNK: Final = 64


@dataclass(frozen=True)
class Chart:
    """
    Bars, and the address of the documents that each stands for.

    kind: ``columns`` for numbers, dates and lengths; ``rows`` for values that have names.
    says: what the bars count.
    """

    kind: str
    says: str
    bars: list[tuple[Bar, str]]


@dataclass(frozen=True)
class Described:
    """One path: in how many of the values that could hold it it is, its types with their shares, its charts."""

    path: str
    present: int
    of: int
    types: list[tuple[str, int, float]]
    charts: list[Chart]
    note: str


@dataclass(frozen=True)
class Failing:
    """A document that fails a schema: its name, where it is opened, how it fails, and in how many ways more."""

    id: str
    href: str
    failures: list[Failure]
    more: int


@dataclass(frozen=True)
class Verdict:
    """What a check of all documents found; ``failing`` holds the first of those that fail."""

    checked: int
    failed: int
    failing: list[Failing]


@blueprint.get("/collections/<id>/schema")
def page(id: str) -> Response:
    """Each path of a sample of the documents, and the schema of the collection."""
    return _page(id)


@blueprint.post("/collections/<id>/schema")
def change(id: str) -> Response:
    """Check all documents against a schema, demand it of them from now on, or lift it."""
    request.max_form_memory_size = request.max_content_length
    step = request.form.get("step")
    if step == "lift":
        site.service().change(id, {"schema": None})
        site.flash("The schema is lifted: documents of any shape are taken")
        return site.see(f"/collections/{id}/schema")
    text = request.form.get("schema", "").replace("\r\n", "\n")
    try:
        if not text.strip():
            raise InvalidRequest("expected a JSON Schema, and nothing came", pointer=None)
        source = extjson.loads(text, extended=False)
        schema = Schema(source)
    except RequestError as error:
        return _page(id, 400, text=text, fault=queries.fault_in(text, error))
    if step == "enforce":
        try:
            site.service().change(id, {"schema": source})
        except SchemaViolation:
            return _page(id, 422, text=_text(source), verdict=_verdict(id, schema), refused=True)
        site.flash("The schema is enforced: every document satisfies it, and every later one has to")
        return site.see(f"/collections/{id}/schema")
    return _page(id, text=_text(source), verdict=_verdict(id, schema))


def _verdict(id: str, schema: Schema) -> Verdict:
    checked = failed = 0
    failing: list[Failing] = []
    with deadline(site.settings().max_time_seconds):
        for document in site.service().collection(id).find(Find()):
            if checked % _CHUNK == 0:
                check()
            checked += 1
            if failures := schema.failures(extjson.to_json(document)):
                failed += 1
                if len(failing) < MAX_FAILURES:
                    shown = failures[:MAX_SHOWN]
                    name, more = values.cell(document["_id"]).text, len(failures) - len(shown)
                    failing.append(Failing(name, _opens(id, document), shown, more))
    return Verdict(checked, failed, failing)


def _opens(id: str, document: Document) -> str:
    return f"/collections/{id}/document?" + urlencode({"_id": values.identity(document["_id"])})


def _text(source: Any) -> str:
    return json.dumps(source, indent=2, ensure_ascii=False)


def _page(id: str, status: int = 200, *, text: str | None = None, **state: Any) -> Response:
    described = site.service().describe(id)
    size = next((each for each in SAMPLES if str(each) == request.args.get("sample")), inference.SAMPLE)
    seed = request.args.get("seed", "0")
    number = int(seed) if seed.isascii() and seed.isdecimal() and len(seed) < 10 else 0
    with deadline(site.settings().max_time_seconds):
        sampled = inference.sample(site.service().collection(id).find(Find()), size, seed=number)
        shape = inference.shape_of(sampled)
    proposing = text is None and "propose" in request.args
    if text is None:
        text = _text(inference.proposed_schema(shape)) if proposing else ""
        text = text or (_text(described["schema"]) if described["schema"] is not None else "")
    paths = [(path, each, of) for path, each, of in shape.walk()]
    return site.render(
        "schema.html",
        status,
        described=described,
        tab="Schema",
        base=f"/collections/{id}",
        sampled=len(sampled),
        sample_sizes=SAMPLES,
        size=size,
        seed=number,
        paths=[_described(id, path, each, of) for path, each, of in paths[:MAX_PATHS]],
        more=max(0, len(paths) - MAX_PATHS),
        text=text,
        proposing=proposing,
        **state,
    )


def _described(id: str, path: tuple[str, ...], shape: Shape, of: int) -> Described:
    charts: list[Chart] = []
    note = ""

    def chart(kind: str, says: str, bars: Iterable[Bar], condition: Any) -> None:
        charts.append(Chart(kind, says, [(bar, _finds(id, path, condition(bar))) for bar in bars]))

    if shape.flags:
        chart("rows", "values", inference.top(shape.flags), lambda bar: bar.low)
    if shape.numbers:
        chart("columns", "numbers", inference.histogram(shape.numbers), _between)
    if shape.dates and (bars := inference.timeline(shape.dates)):
        chart("columns", "dates", bars, lambda bar: {"$gte": _date(bar.low), "$lt": _date(bar.high)})
    if shape.strings:
        different, total = len(shape.strings), shape.strings.total()
        if different == total and total > inference.TOP:
            note = f"{site.number(total)} strings, each different"
        else:
            note = f"{site.number(different)} different string{'' if different == 1 else 's'}"
            chart("rows", "strings", inference.top(shape.strings), lambda bar: bar.low)
    if shape.lengths:
        chart("columns", "lengths of the arrays", inference.histogram(shape.lengths), lambda _: None)
    types = [(alias, count, count / shape.count) for alias, count in shape.types.most_common()]
    return Described(inference.path_text(path), shape.count, of, types, charts, note)


def _between(bar: Bar) -> Any:
    if bar.low == bar.high:
        return _plain(bar.low)
    return {"$gte": _plain(bar.low), "$lt": _plain(bar.high)}


def _plain(number: float) -> Any:
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else number


def _date(milliseconds: int) -> Any:
    return extjson.from_json({"$date": {"$numberLong": str(int(DatetimeMS(milliseconds)))}})


def _finds(id: str, path: tuple[str, ...], condition: Any) -> str:
    """The address of the documents with such a value; none where the path is none for a filter, or the value long."""
    names = [name for name in path if name != inference.ELEMENTS]
    if condition is None or not all(name and "." not in name and not name.startswith("$") for name in names):
        return ""
    filter = relaxed.dumps({".".join(names): condition})
    return f"/collections/{id}?" + urlencode({"filter": filter}) if len(filter) <= 500 else ""
