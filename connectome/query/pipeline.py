"""
Pipelines: stages in a row, of an aggregation and of an update.

An aggregation's first stages are a question as a find asks it, which a store may answer by its indexes; the others work
on what it finds.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from connectome.errors import QueryError, UpdateError, at
from connectome.extjson import preview
from connectome.query.dependencies import fields_read
from connectome.query.expressions.language import one_moment
from connectome.query.filter import Filter
from connectome.query.paths import parse_field_path
from connectome.query.sort import Sort
from connectome.query.stages import (
    DOCUMENT_STAGES,
    STAGES,
    Count,
    Limit,
    Match,
    Skip,
    Sorted,
    Stage,
    Transform,
    bounded,
    few,
    in_time,
    of_each,
    stage,
)
from connectome.query.values import Document, Value

MAX_STAGES: Final = 1000

_WRITES: Final = "an aggregation reads, and writes nothing"
_ELSEWHERE: Final = "the other collection has credentials of its own"
_SERVER: Final = "it tells of the server, not of the documents"
# Stages that no store is asked for, with the reason.
REFUSED: Final[dict[str, str]] = {
    "$out": _WRITES,
    "$merge": _WRITES,
    "$lookup": _ELSEWHERE,
    "$graphLookup": _ELSEWHERE,
    "$unionWith": _ELSEWHERE,
    "$changeStream": "a stream of changes does not end",
    "$changeStreamSplitLargeEvent": "a stream of changes does not end",
    **dict.fromkeys(
        (
            "$collStats",
            "$currentOp",
            "$indexStats",
            "$listLocalSessions",
            "$listSampledQueries",
            "$listSearchIndexes",
            "$listSessions",
            "$planCacheStats",
            "$queryStats",
            "$shardedDataDistribution",
        ),
        _SERVER,
    ),
    "$documents": "the documents are those of the collection",
}
# Stages that are done by a MongoDB behind the collection alone.
_ON_MONGODB: Final = frozenset(
    {
        "$bucketAuto",
        "$densify",
        "$fill",
        "$geoNear",
        "$rankFusion",
        "$redact",
        "$score",
        "$scoreFusion",
        "$search",
        "$searchMeta",
        "$setWindowFields",
        "$vectorSearch",
    }
)
# What MongoDB would do inside such a stage, which is not compiled here.
_JAVASCRIPT: Final = dict.fromkeys(("$where", "$function", "$accumulator"), "it runs JavaScript on the server")
_NOT_IN_FACET: Final = frozenset({"$facet", "$geoNear", "$search", "$searchMeta", "$vectorSearch"})

_Compiled = TypeVar("_Compiled")


@dataclass(frozen=True)
class Lead:
    """The first stages of a pipeline, as one question; ``skip`` and ``limit`` as a find has them."""

    filter: Filter = Filter({})
    sort: Sort = Sort({})
    skip: int = 0
    limit: int = 0


class Pipeline:
    """
    A compiled aggregation pipeline.

    lead: the first stages, as one question.
    counted: the stage that counts what the question finds, where there is no other behind it; else None.
    fields: those at the top of a document that the stages behind the question read, as ``fields_read`` has them.

    Args:
        source: The stages, as MongoDB takes them.

    Raises:
        QueryError: As MongoDB names it, with the pointer from the array on, whatever the collection holds.
    """

    def __init__(self, source: Value) -> None:
        self.source = source
        with one_moment():
            self._stages = _coalesced(_aggregation(source))
            self.lead, self._rest = _led(self._stages)
        last = self._rest[0] if len(self._rest) == 1 else None
        self.counted = last if isinstance(last, Count) else None
        self.fields = fields_read(source[len(self._stages) - len(self._rest) :])

    def __call__(self, documents: Iterable[Document]) -> Iterator[Document]:
        """
        What the stages make of documents, one by one where they can; the documents are not changed.

        Raises:
            QueryError: A stage needs MongoDB, or meets a value that it cannot take; ``MaxTimeMSExpired``.
        """
        _require_done_here(self._stages)
        return _run(self._stages, documents)

    def after_lead(self, documents: Iterable[Document]) -> Iterator[Document]:
        """What the stages behind ``lead`` make of the documents that it found, or of their ``fields``."""
        _require_done_here(self._stages)
        return _run(self._rest, documents)


def _run(stages: Sequence[Stage], documents: Iterable[Document]) -> Iterator[Document]:
    found = in_time(documents)
    for each in stages:
        found = in_time(each(found))
    return found


@dataclass(frozen=True, slots=True)
class _OnMongoDB:
    """A stage that is not done here."""

    name: str

    def __call__(self, documents: Iterable[Document]) -> Iterable[Document]:
        raise QueryError(
            f"{self.name} is done by MongoDB alone, which does not stand behind this collection",
            code="CommandNotSupported",
        )


def _require_done_here(stages: Sequence[Stage]) -> None:
    for position, each in enumerate(stages):
        if isinstance(each, _OnMongoDB):
            with at(position, each.name):
                each(())
        if isinstance(each, _Facet):
            for name, inside in each.pipelines.items():
                with at(position, "$facet", name):
                    _require_done_here(inside)


def _aggregation(source: Value) -> list[Stage]:
    if type(source) is not list:
        raise QueryError(f"a pipeline is an array of stages, not {preview(source)}", code="TypeMismatch")
    if len(source) > MAX_STAGES:
        raise QueryError(
            f"a pipeline has up to {MAX_STAGES} stages, and this one has {len(source)}", code="Location7749501"
        )
    compilers = {**STAGES, **{name: _of_each(compile_) for name, compile_ in DOCUMENT_STAGES.items()}}
    return _compiled(source, compilers, QueryError, _other_stage)


def _of_each(compile_: Callable[[Value], Transform]) -> Callable[[Value], Stage]:
    return lambda operand: of_each(compile_(operand))


def _other_stage(name: str, operand: Value, known: Iterable[str]) -> Stage:
    """What stands for a stage that is not done here; or the reason why there can be none."""
    if name in _ON_MONGODB:
        _require_harmless(operand)
        return _OnMongoDB(name)
    if name in REFUSED:
        raise QueryError(f"{name} is not offered: {REFUSED[name]}", code="CommandNotSupported")
    raise QueryError(f"{name} is no stage of a pipeline; {_hint(name, known)}", code="Location40324")


def _require_harmless(operand: Value) -> None:
    """Refuse what no store is asked for wherever it is named in an operand that nobody here reads."""
    if type(operand) is list:
        for position, each in enumerate(operand):
            with at(position):
                _require_harmless(each)
    elif type(operand) is dict:
        for name, value in operand.items():
            with at(name):
                if reason := REFUSED.get(name) or _JAVASCRIPT.get(name):
                    raise QueryError(f"{name} is not offered: {reason}", code="CommandNotSupported")
                _require_harmless(value)


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}"


def compile_update(source: list[Value]) -> list[Transform]:
    """
    The stages of an update pipeline.

    Raises:
        UpdateError: ``InvalidOptions`` -- a stage that an update may not have; ``Location40324`` -- no stage at all;
            ``Location40323``, ``TypeMismatch`` -- not an object of one stage.  With the pointer from the array on.
        QueryError: What is wrong inside a stage.
    """
    with one_moment():
        return _compiled(source, DOCUMENT_STAGES, UpdateError, _no_update_stage)


def _no_update_stage(name: str, _: Value, known: Iterable[str]) -> Transform:
    elsewhere = name in STAGES or name in REFUSED or name in _ON_MONGODB
    raise UpdateError(
        f"{name} is no stage of an update; {_hint(name, known)}",
        code="InvalidOptions" if elsewhere else "Location40324",
    )


def _compiled(
    source: list[Value],
    compilers: Mapping[str, Callable[[Value], _Compiled]],
    error: type[QueryError | UpdateError],
    other: Callable[[str, Value, Iterable[str]], _Compiled],
) -> list[_Compiled]:
    compiled: list[_Compiled] = []
    for position, each in enumerate(source):
        with at(position):
            if type(each) is not dict or len(each) != 1:
                raise error(
                    f"a stage of a pipeline is an object with one key, not {preview(each)}",
                    code="Location40323" if type(each) is dict else "TypeMismatch",
                )
            ((name, operand),) = each.items()
            with at(name):
                compiled.append(compilers[name](operand) if name in compilers else other(name, operand, compilers))
    return compiled


@dataclass(frozen=True, slots=True)
class _Facet:
    """Run several pipelines over the same documents, into the fields of one."""

    pipelines: Mapping[str, Sequence[Stage]]

    def __call__(self, documents: Iterable[Document]) -> Iterator[Document]:
        held = list(few(documents))
        yield bounded({name: list(few(_run(stages, held))) for name, stages in self.pipelines.items()})


@stage("$facet")
def facet(operand: Value) -> _Facet:
    """Run several pipelines over the same documents; one document has what each makes of them."""
    if type(operand) is not dict or not operand:
        raise QueryError(
            f"$facet needs an object of at least one name and its pipeline, not {preview(operand)}",
            code="Location40169",
        )
    pipelines = {}
    for name, source in operand.items():
        with at(name):
            if not name:
                raise QueryError("the name of a facet is not empty", code="Location15998")
            if "." in name:
                raise QueryError(f"the name of a facet has no dot: {name!r}", code="Location16412")
            parse_field_path(name)
            if type(source) is not list:
                raise QueryError(f"a facet is a pipeline, an array, not {preview(source)}", code="Location40170")
            for position, each in enumerate(source):
                with at(position):
                    if type(each) is not dict:
                        raise QueryError(f"a stage is an object, not {preview(each)}", code="Location40171")
                    for banned in _NOT_IN_FACET & each.keys():
                        raise QueryError(f"{banned} cannot stand inside $facet", code="Location40600")
            pipelines[name] = _coalesced(_aggregation(source))
    return _Facet(pipelines)


def _coalesced(stages: list[Stage]) -> list[Stage]:
    """The same stages; a sort that is cut off behind it knows how many documents will be wanted."""
    done = list(stages)
    for position, each in enumerate(stages):
        if isinstance(each, Sorted):
            skipped = 0
            for behind in stages[position + 1 :]:
                if isinstance(behind, Limit):
                    done[position] = replace(each, limit=skipped + behind.count)
                if not isinstance(behind, Skip):
                    break
                skipped += behind.count
    return done


def _led(stages: Sequence[Stage]) -> tuple[Lead, Sequence[Stage]]:
    """The first stages as one question, and the others."""
    filters: list[Value] = []
    lead = Lead()
    taken = 0
    for each in stages:
        window = bool(lead.skip or lead.limit)
        if isinstance(each, Match) and not (lead.sort.source or window):
            filters.append(each.filter.source)
        elif isinstance(each, Sorted) and not (lead.sort.source or window):
            lead = replace(lead, sort=each.sort)
        elif isinstance(each, Skip) and (not lead.limit or lead.limit > each.count):
            lead = replace(lead, skip=lead.skip + each.count, limit=lead.limit - each.count if lead.limit else 0)
        elif isinstance(each, Limit):
            lead = replace(lead, limit=min(lead.limit, each.count) if lead.limit else each.count)
        else:
            break
        taken += 1
    if filters:
        lead = replace(lead, filter=Filter(filters[0] if len(filters) == 1 else {"$and": filters}))
    return lead, stages[taken:]
