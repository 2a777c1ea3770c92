"""
The operations of a collection, one function each, and what serves them on every road.

``@operation`` says everything there is to know of one: method, credential, the shape of its body.  ``Api`` opens the
side of the collection that the credential opens, reads the body, and hands both to the function.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from werkzeug.exceptions import MethodNotAllowed, NotFound

from connectome.config import Settings
from connectome.errors import InvalidRequest, NoMatch, QueryError, UpdateError, at
from connectome.query import Filter, Projection, Sort, Update, compile_array_filters
from connectome.query.deadline import deadline
from connectome.schemas import Schema
from connectome.service import Role, Service
from connectome.stores import Example, Find, Guard, Modify, Reader, Writer
from connectome.web import bodies, problems
from connectome.web.activity import Activity
from connectome.web.contract import NUMBER, TEXT, Success, elements, members
from connectome.web.envelopes import BOOLEAN, COUNT, OBJECT, OBJECT_OR_ARRAY, Shape, array, envelope
from connectome.web.exchange import Answer, Request
from connectome.web.limits import RequestRate
from connectome.web.sizes import Sizes
from connectome.web.validators import entity_tag, is_known

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# From a Reader or a Writer, the decoded body (None where the operation has none) and the request to the answer.
_Function = Callable[[Any, Any, Request], Answer]


@dataclass(frozen=True)
class Operation:
    """
    One operation of the API.

    says: one sentence for people.
    success: what it answers.
    body: the schema of the request body; None where there is none.
    fits: a quick test that passes the bodies which satisfy ``body``, and no others.
    """

    name: str
    method: str
    role: Role
    says: str
    success: Success
    body: Schema | None
    fits: Callable[[Any], bool]
    function: _Function

    @property
    def methods(self) -> list[str]:
        """The methods that HTTP has for it, by name."""
        return sorted({self.method, "OPTIONS"} | ({"HEAD"} if self.method == "GET" else set()))

    def received(self, request: Request) -> bytes:
        """
        The body of a request, where this operation has one.

        Raises:
            BodyTooLarge: It is larger than the server reads.
        """
        return b"" if self.body is None else request.body()

    def decoded(self, content: bytes) -> Any:
        """
        What the body of a request says.

        Raises:
            InvalidRequest, InvalidJSON: It is not what this operation takes.
        """
        if self.body is None:
            return None
        body = bodies.decoded(content)
        if not self.fits(body):
            bodies.require(self.body, body)
        return body


OPERATIONS: Final[dict[str, Operation]] = {}


# Any value that BSON has, as Extended JSON has it.
_VALUE: Final[dict[str, Any]] = {}
_DOCUMENTS: Final = Success(
    "Documents, in the form that ``Accept`` asks for",
    elements({"type": "object"}),
    forms=(bodies.JSON, bodies.CANONICAL, bodies.NDJSON, bodies.CSV),
)
_EXPLANATION: Final = members(
    winningPlan=members(stage=TEXT, path={"type": ["string", "null"]}),
    nReturned=NUMBER,
    totalDocsExamined=NUMBER,
    executionTimeMillis={"type": "number", "minimum": 0},
)
# What a dry run says beside its counts.
_REHEARSED: Final = {
    "dryRun": {"const": True},
    "examples": elements(members(before={"type": ["object", "null"]}, after={"type": ["object", "null"]})),
}


def _counts(says: str, **counts: Any) -> Success:
    counted = members(**counts)
    return Success(says, {**counted, "properties": counts | _REHEARSED})


def operation(
    name: str, *, method: str, role: Role, success: Success, body: Shape | None = None
) -> Callable[[_Function], _Function]:
    """
    Declare a function as an operation.

    The function gets the ``Reader`` or ``Writer`` that ``role`` opens, the decoded body and the request.
    """

    def declare(function: _Function) -> _Function:
        says = (function.__doc__ or "").strip().split("\n")[0]
        schema, fits = (Schema(body.schema), body.fits) if body else (None, lambda _: True)
        OPERATIONS[name] = Operation(name, method, role, says, success, schema, fits, function)
        return function

    return declare


class Api:
    """
    Answers ``/collection/<operation>/<credential>/<collection>``.

    Args:
        activity: what is told of every answer.
        settings: The limits are read of them.

    rate: how often a credential may ask, by whatever route; None where that is not bounded.
    """

    def __init__(
        self,
        service: Service,
        activity: Activity,
        settings: Settings,
    ) -> None:
        self._service = service
        self._activity = activity
        self._max_time_seconds = settings.max_time_seconds
        self._bounds = settings.max_body_bytes, settings.max_result_documents, settings.max_result_bytes
        self._sizes = Sizes(settings.max_query_terms, settings.max_in_values)
        self.rate = RequestRate(settings.request_rate) if settings.request_rate else None

    def __call__(self, environ: WSGIEnvironment, operation: str, credential: str, collection: str) -> Answer:
        """The answer to a request for these parts of its path; whatever goes wrong is one too."""
        started = time.perf_counter()
        request = Request(environ, *self._bounds)
        body = None
        standing: tuple[tuple[str, str], ...] = ()
        try:
            declared = _declared(operation, request.method)
            if request.method == "OPTIONS":
                answer = Answer(b"", "text/html; charset=utf-8", headers=(("Allow", ", ".join(declared.methods)),))
            else:
                if credential == "-":
                    credential = request.bearer("the path holds '-' in place of the credential")
                side = self._side(declared, credential, collection)
                if self.rate:
                    standing = self.rate.take((collection, credential))
                content = declared.received(request)
                tag = entity_tag(side, request, content) if declared.role == "read" else None
                if tag is not None and is_known(request, tag):
                    answer = Answer(b"", "", 304, (("ETag", tag),))
                else:
                    body = declared.decoded(content)
                    self._sizes.check(operation, body, len(content))
                    with deadline(self._max_time_seconds):
                        answer = declared.function(side, body, request)
                    if tag is not None:
                        answer = answer.saying(("ETag", tag))
        except Exception as error:
            answer = problems.of(error, request.method)
        if standing:
            answer = answer.saying(*standing)
        # A name that nothing has is a stranger's, perhaps a credential in the wrong place.
        self._activity.record(
            operation if operation in OPERATIONS else "",
            collection if collection in self._service else "",
            answer.status,
            time.perf_counter() - started,
            _filter_of(operation, body),
        )
        return answer

    def _side(self, declared: Operation, credential: str, collection: str) -> Any:
        opened = self._service.reader if declared.role == "read" else self._service.writer
        return opened(credential, collection)


def _declared(name: str, method: str) -> Operation:
    declared = OPERATIONS.get(name)
    if declared is None:
        raise NotFound
    if method != declared.method and method not in declared.methods:
        raise MethodNotAllowed(declared.methods)
    return declared


_GUARDS: Final = ("dry_run", "max_affected")
# Of each operation that has a filter, where it stands in the body; None where it is the body.
_FILTERS: Final = {"readwithquery": "query", "updatewithupsert": "search query", "batchdelete": None}


def _filter_of(operation: str, body: Any = None) -> Any:
    """The filter in the body of an operation; None where it has none."""
    if body is None or operation not in _FILTERS:
        return None
    name = _FILTERS[operation]
    return body if name is None else body.get(name, {})


@operation(
    "readwithquery",
    method="POST",
    role="read",
    success=replace(_DOCUMENTS, schema={"anyOf": [_DOCUMENTS.schema, _EXPLANATION]}),
    body=envelope({"query": OBJECT, "project": OBJECT, "sort": OBJECT_OR_ARRAY, "skip": COUNT, "limit": COUNT}),
)
def read_with_query(collection: Reader, body: dict[str, Any], request: Request) -> Answer:
    """Read the documents that match a filter: projected, sorted, skipped, limited."""
    explain = request.flag("explain")
    with at("query"):
        filter = Filter(body.get("query", {}))
    # What is left out is what a Find has by itself, and need not be made anew.
    projection, sort = Find.projection, Find.sort
    if "project" in body:
        with at("project"):
            projection = Projection(body["project"], filter)
    if "sort" in body:
        with at("sort"):
            sort = Sort(body["sort"])
    find = Find(filter, projection, sort, int(body.get("skip", 0)), int(body.get("limit", 0)))
    return _explained(collection, find, request) if explain else bodies.documents(request, collection, find)


def _explained(collection: Reader, find: Find, request: Request) -> Answer:
    """How a question was answered, in the words of MongoDB's ``explain``; milliseconds with a fraction."""
    explanation = collection.explain(find)
    return bodies.answer(
        request,
        {
            "winningPlan": {"stage": explanation.stage, "path": explanation.path},
            "nReturned": explanation.returned,
            "totalDocsExamined": explanation.examined,
            "executionTimeMillis": round(explanation.seconds * 1000, 3),
        },
    )


@operation("read", method="GET", role="read", success=_DOCUMENTS)
def read(collection: Reader, _: None, request: Request) -> Answer:
    """Read all documents."""
    return bodies.documents(request, collection, Find())


@operation(
    "write",
    method="POST",
    role="write",
    success=Success("The ``_id`` of the new document", members(insertedId=_VALUE), 201),
    body=OBJECT,
)
def write(collection: Writer, document: dict[str, Any], request: Request) -> Answer:
    """Add one document."""
    _require_guards(request)
    return bodies.answer(request, {"insertedId": collection.insert_one(document)}, 201)


@operation(
    "batchwrite",
    method="POST",
    role="write",
    success=Success(
        "How many documents were added, and their ``_id``s in order",
        members(insertedCount=NUMBER, insertedIds=elements(_VALUE)),
        201,
    ),
    body=array(OBJECT),
)
def batch_write(collection: Writer, documents: list[dict[str, Any]], request: Request) -> Answer:
    """Add an array of documents: all of them, or none."""
    _require_guards(request)
    identities = collection.insert_many(documents)
    return bodies.answer(request, {"insertedCount": len(identities), "insertedIds": identities}, 201)


@operation(
    "updatewithupsert",
    method="POST",
    role="write",
    success=_counts(
        "How many documents matched, in how many something changed, and the ``_id`` of the one that was created",
        matchedCount=NUMBER,
        modifiedCount=NUMBER,
        upsertedId=_VALUE,
    ),
    body=envelope(
        {
            "search query": OBJECT,
            "data": OBJECT_OR_ARRAY,
            "upsert": BOOLEAN,
            "multi": BOOLEAN,
            "arrayFilters": array(OBJECT),
        },
        required=["search query", "data"],
    ),
)
def update_with_upsert(collection: Writer, body: dict[str, Any], request: Request) -> Answer:
    """Change every document that matches; with ``upsert``, create one where none does."""
    with at("search query"):
        filter = Filter(body["search query"])
    with at("arrayFilters"):
        array_filters = compile_array_filters(body.get("arrayFilters", []))
    with at("data"):
        update = Update(body["data"], array_filters)
    guard = _guard(request)
    try:
        modify = Modify(filter, update, upsert=body.get("upsert", False), multi=body.get("multi", True))
        modified = collection.update(modify, guard)
    except (QueryError, UpdateError) as error:
        with at("data" if isinstance(error, UpdateError) else "search query"):
            raise
    if not modified.matched and modified.upserted is None:
        raise NoMatch("no document matches the search query, and upsert is false: nothing was changed")
    return _changes(
        request,
        guard,
        modified.examples,
        matchedCount=modified.matched,
        modifiedCount=modified.modified,
        upsertedId=modified.upserted and modified.upserted["_id"],
    )


@operation(
    "batchdelete",
    method="DELETE",
    role="write",
    success=_counts("How many documents were deleted", deletedCount=NUMBER),
    body=OBJECT,
)
def batch_delete(collection: Writer, source: dict[str, Any], request: Request) -> Answer:
    """Delete every document that matches a filter."""
    guard = _guard(request)
    deleted = collection.delete_many(Filter(source), guard)
    return _changes(request, guard, deleted.examples, deletedCount=deleted.deleted)


def _guard(request: Request) -> Guard:
    """What ``?dry_run=true`` and ``?max_affected=N`` ask for."""
    _require_guards(request, *_GUARDS)
    dry_run = request.flag("dry_run")
    bound = request.arguments.get("max_affected")
    if bound is not None and not (bound.isdecimal() and bound.isascii() and len(bound) < 16):
        raise InvalidRequest(f"max_affected is a whole number that is not negative, not {bound!r}", pointer=None)
    return Guard(dry_run=dry_run, max_affected=None if bound is None else int(bound))


def _require_guards(request: Request, *known: str) -> None:
    """
    Refuse a parameter of the URL that is meant for a guard, and would be none: what it guards would be lost.

    Raises:
        InvalidRequest: It is another guard than these, or a misspelt one.
    """
    for name in request.arguments:
        nearest = difflib.get_close_matches(name.lower(), _GUARDS, n=1)
        if nearest and name not in known:
            hint = f"did you mean {nearest[0]!r}?" if known else "it is for updatewithupsert and batchdelete"
            raise InvalidRequest(f"{name!r} is no parameter of this operation; {hint}", pointer=None)


def _changes(request: Request, guard: Guard, examples: Sequence[Example], **counts: Any) -> Answer:
    """The counts of what was changed; of a dry run, with examples of what would be."""
    if guard.dry_run:
        counts |= {"dryRun": True, "examples": [{"before": before, "after": after} for before, after in examples]}
    return bodies.answer(request, counts)
