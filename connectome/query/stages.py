"""
Stages of an aggregation pipeline.

A stage is one function under ``@stage``, from its operand to what it does with documents as they come.  One that makes
one document of one document is declared with ``@document_stage``: an update may have it too.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from bson import Int64

from connectome.errors import QueryError, at
from connectome.extjson import MAX_DEPTH, preview
from connectome.query.accumulators import MAX_HELD, Accumulator, check_held, compile_accumulator, value_of
from connectome.query.deadline import check
from connectome.query.expressions import compile_expression
from connectome.query.expressions.language import SYSTEM_VARIABLES, named_arguments, null_if_missing, read
from connectome.query.filter import Filter
from connectome.query.paths import Path, parse_field_path, with_value
from connectome.query.projection import Projection
from connectome.query.sort import Sort
from connectome.query.values import (
    INT64,
    MISSING,
    Document,
    Value,
    exact,
    index_key,
    integral,
    is_nan,
    is_number,
    rank,
    sort_key,
)

Transform = Callable[[Document], Document]
Stage = Callable[[Iterable[Document]], Iterable[Document]]

DOCUMENT_STAGES: Final[dict[str, Callable[[Value], Transform]]] = {}
STAGES: Final[dict[str, Callable[[Value], Stage]]] = {}

# As MongoDB's: what a stage makes is to be sent to somebody.
MAX_DOCUMENT_BYTES: Final = 16 * 2**20
# How many documents a stage makes between two looks at the clock.
_CHUNK: Final = 256


def stage(name: str) -> Callable[[Callable[[Value], Stage]], Callable[[Value], Stage]]:
    """Declare a function from operand to what it does with documents as a stage."""

    def declare(function: Callable[[Value], Stage]) -> Callable[[Value], Stage]:
        STAGES[name] = function
        return function

    return declare


def document_stage(*names: str) -> Callable[[Callable[[Value], Transform]], Callable[[Value], Transform]]:
    """Declare a function from operand to what it does with each document as a stage, under each of its names."""

    def declare(function: Callable[[Value], Transform]) -> Callable[[Value], Transform]:
        DOCUMENT_STAGES.update(dict.fromkeys(names, function))
        return function

    return declare


def of_each(transform: Transform) -> Stage:
    """The stage that does this with each document."""
    if isinstance(transform, Projection) and not transform.may_fail:
        return lambda documents: map(transform, documents)  # to keep or drop fields makes nothing larger
    return lambda documents: (bounded(transform(document)) for document in documents)


def in_time(documents: Iterable[Document]) -> Iterator[Document]:
    """
    The same documents, for as long as there is time.

    Raises:
        QueryError: ``MaxTimeMSExpired``.
    """
    for count, document in enumerate(documents):
        if count % _CHUNK == 0:
            check()
        yield document


def few(documents: Iterable[Document]) -> Iterator[Document]:
    """
    The same documents, where all of them can be held at one time.

    Raises:
        QueryError: ``QueryExceededMemoryLimitNoDiskUseAllowed``.
    """
    for count, document in enumerate(documents, 1):
        check_held(count)
        yield document


def bounded(document: Document) -> Document:
    """
    The document itself.

    Raises:
        QueryError: ``BSONObjectTooLarge``, ``Overflow`` -- expressions made it larger, or deeper, than one may be.
    """
    level: list[Value] = [document]
    total = levels = 0
    while level:
        levels += 1
        if levels > MAX_DEPTH:
            raise QueryError(
                f"a document has up to {MAX_DEPTH} levels, and a stage made more", code="Overflow", pointer=None
            )
        below: list[Value] = []
        for container in level:
            total += 8 * len(container)
            for value in container.values() if type(container) is dict else container:
                kind = type(value)
                if kind is str or kind is bytes:
                    total += len(value)
                elif kind is dict or kind is list:
                    below.append(value)
            if total > MAX_DOCUMENT_BYTES:
                raise QueryError(
                    f"a document has up to {MAX_DOCUMENT_BYTES} bytes, and a stage made more",
                    code="BSONObjectTooLarge",
                    pointer=None,
                )
        level = below
    return document


@document_stage("$set", "$addFields")
def set_(operand: Value) -> Transform:
    """Add fields, or replace them, by the values of expressions over the document as it comes."""
    if type(operand) is not dict:
        raise QueryError(
            f"$set needs an object of fields and expressions, not {preview(operand)}", code="Location40272"
        )
    computed: dict[Path, Callable[[Document], Value]] = {}
    _read_fields(operand, (), computed, {})

    def transform(document: Document) -> Document:
        changed: Document = document
        for path, value in [(path, value_for(document)) for path, value_for in computed.items()]:
            changed = with_value(changed, path, value)
        return changed

    return transform


def _read_fields(
    source: Document, above: Path, computed: dict[Path, Callable[[Document], Value]], inside: dict[Path, Path]
) -> None:
    """
    Add what fields are computed, by path.

    Args:
        inside: The path of each document in which a field is computed, with the path of the first such field.
    """
    for name, value in source.items():
        with at(name):
            if above and "." in name:
                raise QueryError(f"a name inside a nested document has no dot: {name!r}", code="Location40183")
            path = (*above, *parse_field_path(name))
            operators = sum(each.startswith("$") for each in value) if type(value) is dict else 0
            if operators and len(value) > 1:
                raise QueryError(
                    f"an operator stands alone in its object, not in {preview(value)}", code="Location40181"
                )
            if type(value) is dict and value and not operators:
                _read_fields(value, path, computed, inside)
                continue
            documents = [path[:length] for length in range(1, len(path))]
            if other := inside.get(path) or next((each for each in (*documents, path) if each in computed), None):
                raise QueryError(
                    f"two conflicting paths: {'.'.join(other)!r} and {'.'.join(path)!r}", code="Location40176"
                )
            for document in documents:
                inside.setdefault(document, path)
            computed[path] = compile_expression(value)


@document_stage("$unset")
def unset(operand: Value) -> Transform:
    """Drop fields: a path, or an array of paths."""
    paths = operand if type(operand) is list else [operand]
    if not paths:
        raise QueryError("$unset names at least one field", code="Location31119")
    for path in paths:
        if type(path) is not str:
            raise QueryError(
                f"$unset needs a path, or an array of paths, not {preview(path)}",
                code="Location31120" if type(operand) is list else "Location31002",
            )
    if len(set(paths)) < len(paths):
        raise QueryError(f"$unset names a path twice: {', '.join(paths)}", code="Location31250")
    return Projection(dict.fromkeys(paths, 0))


@document_stage("$project")
def project(operand: Value) -> Transform:
    """Keep, drop and compute fields, as a projection does."""
    if type(operand) is not dict or not operand:
        raise QueryError(
            f"$project needs an object of at least one field, not {preview(operand)}",
            code="Location51272" if operand == {} else "Location15969",
        )
    return Projection(operand)


@document_stage("$replaceWith")
def replace_with(operand: Value) -> Transform:
    """Replace the document by the value of an expression, which is a document."""
    value_for = compile_expression(operand)

    def transform(document: Document) -> Document:
        value = value_for(document)
        if type(value) is not dict:
            raise QueryError(
                f"the new root must be a document, and it is {'missing' if value is MISSING else preview(value)}",
                code="Location40228",
                pointer=None,
            )
        return value

    return transform


_REPLACE_ROOT_CODES: Final = {"object": "Location40229", "unknown": "Location40415", "newRoot": "Location40414"}


@document_stage("$replaceRoot")
def replace_root(operand: Value) -> Transform:
    """Replace the document by the value of ``newRoot``, which is a document."""
    given = named_arguments("$replaceRoot", operand, ("newRoot",), ("newRoot",), _REPLACE_ROOT_CODES)
    with at("newRoot"):
        return replace_with(given["newRoot"])


@dataclass(frozen=True, slots=True)
class Match:
    """Let through what matches."""

    filter: Filter

    def __call__(self, documents: Iterable[Document]) -> Iterable[Document]:
        return filter(self.filter.matches, documents)


@stage("$match")
def match(operand: Value) -> Match:
    """Let through the documents that match a filter."""
    if type(operand) is not dict:
        raise QueryError(f"$match needs a filter, an object, not {preview(operand)}", code="Location15959")
    compiled = Filter(operand)
    if compiled.distance:
        raise QueryError("$near and $nearSphere sort, which $match cannot; $geoWithin can", code="Location5626500")
    return Match(compiled)


@dataclass(frozen=True, slots=True)
class Sorted:
    """
    Bring documents into order.

    limit: how many of them, the first ones, will be wanted; 0 for all.
    """

    sort: Sort
    limit: int = 0

    def __call__(self, documents: Iterable[Document]) -> Iterable[Document]:
        held: list[Document] = []
        for document in documents:
            held.append(document)
            if self.limit and len(held) > 4 * self.limit + _CHUNK:
                held = self.sort(held, limit=self.limit)
            check_held(len(held))
        return self.sort(held, limit=self.limit)


@stage("$sort")
def sort(operand: Value) -> Sorted:
    """Bring the documents into order; those that tie keep the order in which they came."""
    if type(operand) is not dict:
        raise QueryError(
            f"$sort needs an object of fields and directions, not {preview(operand)}", code="Location15973"
        )
    if not operand:
        raise QueryError("$sort names at least one field", code="Location15976")
    for name in operand:
        with at(name):
            parse_field_path(name)
    return Sorted(Sort(operand))


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave out the first documents."""

    count: int

    def __call__(self, documents: Iterable[Document]) -> Iterable[Document]:
        return islice(documents, self.count, None)


@stage("$skip")
def skip(operand: Value) -> Skip:
    """Leave out so many documents, the first ones."""
    return Skip(_count("$skip", operand, "Location5107200"))


@dataclass(frozen=True, slots=True)
class Limit:
    """Let through the first documents."""

    count: int

    def __call__(self, documents: Iterable[Document]) -> Iterable[Document]:
        return islice(documents, self.count)


@stage("$limit")
def limit(operand: Value) -> Limit:
    """Let through so many documents, the first ones."""
    count = _count("$limit", operand, "Location5107201")
    if not count:
        raise QueryError("$limit needs a positive number, not 0", code="Location15958")
    return Limit(count)


def _count(name: str, operand: Value, code: str) -> int:
    number = integral(operand)
    if number is None or number < 0 or number not in INT64:
        raise QueryError(f"{name} needs a whole number that is not negative, not {preview(operand)}", code=code)
    return number


@dataclass(frozen=True, slots=True)
class Count:
    """Say how many documents there are."""

    field: str

    def __call__(self, documents: Iterable[Document]) -> Iterator[Document]:
        yield from self.of(sum(1 for _ in documents))

    def of(self, count: int) -> list[Document]:
        """What the stage makes of so many documents."""
        return [{self.field: count}] if count else []


@stage("$count")
def count(operand: Value) -> Count:
    """Say how many documents there are, in one document with this field; of no documents, nothing."""
    if type(operand) is not str or not operand:
        raise QueryError(
            f"$count needs the name of a field, not {preview(operand)}",
            code="Location40157" if operand == "" else "Location40156",
        )
    if operand.startswith("$"):
        raise QueryError(f"the field of $count does not start with '$': {operand!r}", code="Location40158")
    if "\0" in operand:
        raise QueryError("the field of $count has no null byte", code="Location40159")
    if "." in operand:
        raise QueryError(f"the field of $count has no dot: {operand!r}", code="Location40160")
    if operand == "_id":
        raise QueryError("the field of $count cannot be _id", code="Location9039800")
    return Count(operand)


@stage("$group")
def group(operand: Value) -> Stage:
    """Make one document for each value of ``_id``, with accumulators over the documents that have it."""
    if type(operand) is not dict:
        raise QueryError(f"$group needs an object, not {preview(operand)}", code="Location15947")
    if "_id" not in operand:
        raise QueryError("$group needs an _id: what it groups by, or null for all as one", code="Location15955")
    with at("_id"):
        key = _group_key(operand["_id"])
    accumulators = _accumulators({field: source for field, source in operand.items() if field != "_id"})
    return lambda documents: _grouped(documents, key, accumulators)


@dataclass(frozen=True, slots=True)
class _GroupKey:
    """
    What documents are grouped by.

    value_for: what is taken of each document.
    finds: what finds its group, from that.
    identity: the ``_id`` of the group, from that of its first document.
    """

    value_for: Callable[[Document], Any]
    finds: Callable[[Any], Any] = index_key
    identity: Callable[[Any], Value] = null_if_missing


def _group_key(source: Value) -> _GroupKey:
    value_for = value_of(source)
    if type(source) is not dict or next(iter(source), "$").startswith("$"):
        return _GroupKey(value_for)
    parts = {}
    for name, value in source.items():
        with at(name):
            if type(value) is bool or is_number(value):
                raise QueryError(
                    f"_id of $group computes its fields, and {preview(value)} would keep or drop one; "
                    'a constant is {"$literal": …}',
                    code="Location17390",
                )
            parts[name] = value_of(value)
    # As MongoDB does it, the document is made once for its group; of a single field missing is null, of several not.
    if len(parts) == 1:
        ((name, value_for),) = parts.items()
        return _GroupKey(value_for, identity=lambda value: {name: null_if_missing(value)})
    return _GroupKey(
        lambda document: [value_for(document) for value_for in parts.values()],
        lambda values: tuple([value if value is MISSING else index_key(value) for value in values]),
        lambda values: {name: value for name, value in zip(parts, values, strict=True) if value is not MISSING},
    )


def _accumulators(fields: Document) -> dict[str, Accumulator]:
    compiled = {}
    for field, source in fields.items():
        with at(field):
            compiled[field] = compile_accumulator(field, source)
    return compiled


def _grouped(documents: Iterable[Document], by: _GroupKey, accumulators: dict[str, Accumulator]) -> Iterator[Document]:
    groups: dict[Any, tuple[Value, list[Any]]] = {}
    growing = [(each.value_for, each.add) for each in accumulators.values()]
    try:
        for document in documents:
            value = by.value_for(document)
            key = by.finds(value)
            if key not in groups:
                identity = by.identity(value)
                groups[key] = (identity, [each.start(identity) for each in accumulators.values()])
                check_held(len(groups))
            for (value_for, add), state in zip(growing, groups[key][1], strict=True):
                add(state, value_for(document))
    except QueryError as error:
        error.pointer = None  # a document is to blame, no place in the pipeline
        raise
    for identity, states in groups.values():
        values = (each.finish(state) for each, state in zip(accumulators.values(), states, strict=True))
        yield bounded({"_id": identity, **dict(zip(accumulators, values, strict=True))})


@stage("$sortByCount")
def sort_by_count(operand: Value) -> Stage:
    """Count the documents for each value of an expression, the most frequent value first."""
    if type(operand) is dict and not next(iter(operand), "").startswith("$"):
        raise QueryError(f"$sortByCount needs an expression, not {preview(operand)}", code="Location40147")
    if type(operand) is str and not operand.startswith("$"):
        raise QueryError(
            f"a path of $sortByCount starts with '$', and {preview(operand)} does not", code="Location40148"
        )
    if type(operand) not in (dict, str):
        raise QueryError(f"$sortByCount needs a path or an expression, not {preview(operand)}", code="Location40149")
    counted = group({"_id": operand, "count": {"$sum": 1}})
    ordered = Sorted(Sort({"count": -1}))
    return lambda documents: ordered(counted(documents))


_BUCKET: Final = ("groupBy", "boundaries", "default", "output")
_BUCKET_CODES: Final = {
    "object": "Location40201",
    "unknown": "Location40197",
    "groupBy": "Location40198",
    "boundaries": "Location40198",
}


@stage("$bucket")
def bucket(operand: Value) -> Stage:
    """Group documents by the range, between two of ``boundaries``, in which the value of ``groupBy`` lies."""
    given = named_arguments("$bucket", operand, ("groupBy", "boundaries"), _BUCKET, _BUCKET_CODES)
    with at("groupBy"):
        source = given["groupBy"]
        if not (next(iter(source), "") if type(source) is dict else source if type(source) is str else "").startswith(
            "$"
        ):
            raise QueryError(
                f"groupBy of $bucket is a path with '$' or an expression, not {preview(source)}", code="Location40202"
            )
        value_for = compile_expression(source)
    with at("boundaries"):
        boundaries = _boundaries(given["boundaries"])
    otherwise = MISSING
    if "default" in given:
        with at("default"):
            otherwise = _constant(given["default"], "the default of $bucket", "Location40195")
            key = sort_key(otherwise)
            if rank(otherwise) == rank(boundaries[0]) and sort_key(boundaries[0]) <= key < sort_key(boundaries[-1]):
                raise QueryError(
                    f"the default of $bucket lies outside its boundaries, not at {preview(otherwise)}",
                    code="Location40199",
                )
    output = given.get("output", {"count": {"$sum": 1}})
    with at("output"):
        if type(output) is not dict:
            raise QueryError(f"output of $bucket is an object, not {preview(output)}", code="Location40196")
        if "_id" in output:
            with at("_id"):
                raise QueryError("_id is the lower boundary of a bucket, not an output", code="Location15948")
        accumulators = _accumulators(output)
    keys = list(map(sort_key, boundaries))

    def bucket_of(document: Document) -> Value:
        value = value_for(document)
        position = bisect_right(keys, sort_key(value))
        if 0 < position < len(keys):
            return boundaries[position - 1]
        if otherwise is MISSING:
            raise QueryError(
                f"$bucket has no range for {'a missing value' if value is MISSING else preview(value)}, and no default",
                code="Location40066",
                pointer=None,
            )
        return otherwise

    by_id = Sorted(Sort({"_id": 1}))
    return lambda documents: by_id(_grouped(documents, _GroupKey(bucket_of), accumulators))


def _boundaries(source: Value) -> list[Value]:
    if type(source) is not list:
        raise QueryError(f"boundaries of $bucket is an array, not {preview(source)}", code="Location40200")
    boundaries: list[Value] = []
    for position, each in enumerate(source):
        with at(position):
            value = _constant(each, "a boundary of $bucket", "Location40191")
            if boundaries and rank(boundaries[-1]) != rank(value):
                raise QueryError(
                    f"boundaries of $bucket are of one type, not {preview(boundaries[-1])} and {preview(value)}",
                    code="Location40193",
                )
            if boundaries and sort_key(boundaries[-1]) >= sort_key(value):
                raise QueryError(
                    f"boundaries of $bucket ascend, and {preview(value)} comes after {preview(boundaries[-1])}",
                    code="Location40194",
                )
            boundaries.append(value)
    if len(boundaries) < 2:
        raise QueryError(f"$bucket needs at least 2 boundaries, not {len(boundaries)}", code="Location40192")
    return boundaries


def _constant(source: Value, what: str, code: str) -> Value:
    expression = read(source, SYSTEM_VARIABLES)
    if not expression.constant:
        raise QueryError(f"{what} depends on no document, as {preview(source)} does", code=code)
    return expression.evaluate({})


_UNWIND: Final = ("path", "includeArrayIndex", "preserveNullAndEmptyArrays")
_UNWIND_CODES: Final = {"unknown": "Location28811", "path": "Location28812"}


@stage("$unwind")
def unwind(operand: Value) -> Stage:
    """Make one document for each element of an array, with the element in its place."""
    if type(operand) not in (str, dict):
        raise QueryError(f"$unwind needs a path or an object, not {preview(operand)}", code="Location15981")
    given = {"path": operand} if type(operand) is str else operand
    named_arguments("$unwind", given, ("path",), _UNWIND, _UNWIND_CODES)
    preserve = given.get("preserveNullAndEmptyArrays", False)
    if type(preserve) is not bool:
        with at("preserveNullAndEmptyArrays"):
            raise QueryError(f"it is true or false, not {preview(preserve)}", code="Location28809")
    index = _index_path(given["includeArrayIndex"]) if "includeArrayIndex" in given else ()
    if type(operand) is str:
        path = _unwound_path(operand)
    else:
        with at("path"):
            path = _unwound_path(given["path"])

    def unwound(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            value = _inside(document, path)
            if type(value) is list and value:
                for position, element in enumerate(value):
                    made = _with_field(document, path, element)
                    yield _with_field(made, index, Int64(position)) if index else made
            elif preserve or not (value is None or value is MISSING or type(value) is list):
                made = with_value(document, path, MISSING) if type(value) is list else document
                yield _with_field(made, index, None) if index else made

    return unwound


def _inside(document: Document, path: Path) -> Value:
    """What stands at a path through documents alone."""
    value: Value = document
    for part in path:
        value = value.get(part, MISSING) if type(value) is dict else MISSING
    return value


def _with_field(document: Document, path: Path, value: Value) -> Document:
    """A document with a value at a path; what is no document on the way, an array among it, becomes one."""
    name, rest = path[0], path[1:]
    if rest:
        below = document.get(name)
        value = _with_field(below if type(below) is dict else {}, rest, value)
    return {**document, name: value}


def _unwound_path(source: Value) -> Path:
    if type(source) is not str:
        raise QueryError(f"the path of $unwind is a string, not {preview(source)}", code="Location28808")
    if not source:
        raise QueryError("$unwind names a path, and this one is empty", code="Location28812")
    if not source.startswith("$"):
        raise QueryError(f"the path of $unwind starts with '$', and {source!r} does not", code="Location28818")
    return parse_field_path(source[1:])


def _index_path(source: Value) -> Path:
    with at("includeArrayIndex"):
        if type(source) is not str or not source:
            raise QueryError(f"it is the name of a field, not {preview(source)}", code="Location28810")
        if source.startswith("$"):
            raise QueryError(f"it does not start with '$', as {source!r} does", code="Location28822")
        return parse_field_path(source)


_SAMPLE_CODES: Final = {"object": "Location28745", "unknown": "Location28748", "size": "Location28749"}


@stage("$sample")
def sample(operand: Value) -> Stage:
    """Let through so many documents, chosen at random, in an order at random."""
    given = named_arguments("$sample", operand, ("size",), ("size",), _SAMPLE_CODES)
    with at("size"):
        if not is_number(given["size"]):
            raise QueryError(f"the size of $sample is a number, not {preview(given['size'])}", code="Location28746")
        size = _cut(given["size"])
        if size <= 0:
            raise QueryError(
                f"the size of $sample is a positive whole number, not {preview(given['size'])}", code="Location28747"
            )

    def chosen(documents: Iterable[Document]) -> Iterable[Document]:
        # Of a small sample the others are let go as they come.
        some = few(documents) if size > MAX_HELD else documents
        return heapq.nsmallest(size, some, key=lambda _: random.random())

    return chosen


def _cut(number: Value) -> int:
    """A number cut toward zero, within 64 bits; NaN is 0."""
    if is_nan(number):
        return 0
    return int(max(INT64[0], min(exact(number), INT64[-1])))
