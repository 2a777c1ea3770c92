"""
The operations of a collection, one function each.

``@operation`` says everything there is to know of one: route, method, credential, the schema of its body.  The view
opens the side of the collection that the credential opens, reads the body, and hands both over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, current_app, g, request

from connectome.errors import InvalidRequest, NoMatch, QueryError, Unauthorized, UpdateError, at
from connectome.query import Filter, Projection, Sort, Update, compile_array_filters
from connectome.query.deadline import deadline
from connectome.schemas import Schema
from connectome.service import Role, Service
from connectome.stores import Example, Find, Guard, Modify, Reader, Writer
from connectome.web import bodies
from connectome.web.activity import Activity

blueprint: Final = Blueprint("collection", __name__, url_prefix="/collection")


@dataclass(frozen=True)
class Operation:
    """
    One operation of the API.

    says: one sentence for people.
    body: the schema of the request body; None where there is none.
    """

    name: str
    method: str
    role: Role
    says: str
    body: Schema | None


OPERATIONS: Final[dict[str, Operation]] = {}

_OBJECT: Final = {"type": "object"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SORT: Final = {"type": ["object", "array"]}


def operation(
    name: str, *, method: str, role: Role, body: dict[str, Any] | None = None
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """
    Declare a function as an operation.

    The function gets the ``Reader`` or ``Writer`` that ``role`` opens and, where there is one, the decoded body.
    """

    def declare(function: Callable[..., Response]) -> Callable[..., Response]:
        says = (function.__doc__ or "").strip().split("\n")[0]
        OPERATIONS[name] = declared = Operation(name, method, role, says, Schema(body) if body else None)

        def view(credential: str, collection: str) -> Response:
            service: Service = current_app.extensions["connectome"]
            opened = service.reader if role == "read" else service.writer
            side = opened(_credential(credential), collection)
            body = () if declared.body is None else (bodies.received(declared.body),)
            g.body = body
            with deadline(current_app.config["MAX_TIME_SECONDS"]):
                return function(side, *body)

        blueprint.add_url_rule(f"/{name}/<credential>/<collection>", endpoint=name, view_func=view, methods=[method])
        return function

    return declare


@blueprint.before_request
def _start() -> None:
    g.started = time.perf_counter()


@blueprint.after_request
def _record(response: Response) -> Response:
    """Keep what was asked, how it ended and how long it took; a name that no collection has is a stranger's."""
    collection: str = (request.view_args or {})["collection"]
    service: Service = current_app.extensions["connectome"]
    name = (request.endpoint or "").rpartition(".")[2]
    activity: Activity = current_app.extensions["connectome.activity"]
    activity.record(
        name,
        collection if collection in service else "",
        response.status_code,
        time.perf_counter() - g.started,
        filter_of(name, *g.get("body", ())),
    )
    return response


def filter_of(operation: str, body: Any = None) -> Any:
    """The filter in the body of an operation; None where it has none."""
    if operation == "batchdelete":
        return body
    key = {"readwithquery": "query", "updatewithupsert": "search query"}.get(operation)
    return body.get(key, {}) if key and body else None


def _credential(in_path: str) -> str:
    """The credential of the path, or, where that is ``-``, of the Authorization header."""
    if in_path != "-":
        return in_path
    return bearer("the path holds '-' in place of the credential")


def bearer(why: str) -> str:
    """
    The token of ``Authorization: Bearer <token>``.

    Raises:
        Unauthorized: There is none; ``why`` says what needs it.
    """
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise Unauthorized(f"{why}, and no 'Authorization: Bearer …' came")
    return given.token


@operation(
    "readwithquery",
    method="POST",
    role="read",
    body={
        "type": "object",
        "properties": {"query": _OBJECT, "project": _OBJECT, "sort": _SORT, "skip": _COUNT, "limit": _COUNT},
        "additionalProperties": False,
    },
)
def read_with_query(collection: Reader, body: dict[str, Any]) -> Response:
    """Read the documents that match a filter: projected, sorted, skipped, limited."""
    with at("query"):
        filter = Filter(body.get("query", {}))
    with at("project"):
        projection = Projection(body.get("project", {}), filter)
    with at("sort"):
        sort = Sort(body.get("sort", {}))
    found = collection.find(Find(filter, projection, sort, int(body.get("skip", 0)), int(body.get("limit", 0))))
    return bodies.documents(found)


@operation("read", method="GET", role="read")
def read(collection: Reader) -> Response:
    """Read all documents."""
    return bodies.documents(collection.find(Find()))


@operation("write", method="POST", role="write", body=_OBJECT)
def write(collection: Writer, document: dict[str, Any]) -> Response:
    """Add one document."""
    return bodies.answer({"insertedId": collection.insert_one(document)}, 201)


@operation("batchwrite", method="POST", role="write", body={"type": "array", "items": _OBJECT})
def batch_write(collection: Writer, documents: list[dict[str, Any]]) -> Response:
    """Add an array of documents: all of them, or none."""
    identities = collection.insert_many(documents)
    return bodies.answer({"insertedCount": len(identities), "insertedIds": identities}, 201)


@operation(
    "updatewithupsert",
    method="POST",
    role="write",
    body={
        "type": "object",
        "properties": {
            "search query": _OBJECT,
            "data": {"type": ["object", "array"]},
            "upsert": {"type": "boolean"},
            "multi": {"type": "boolean"},
            "arrayFilters": {"type": "array", "items": _OBJECT},
        },
        "required": ["search query", "data"],
        "additionalProperties": False,
    },
)
def update_with_upsert(collection: Writer, body: dict[str, Any]) -> Response:
    """Change every document that matches; with ``upsert``, create one where none does."""
    with at("search query"):
        filter = Filter(body["search query"])
    with at("arrayFilters"):
        array_filters = compile_array_filters(body.get("arrayFilters", []))
    with at("data"):
        update = Update(body["data"], array_filters)
    guard = _guard()
    modify = Modify(filter, update, upsert=body.get("upsert", False), multi=body.get("multi", True))
    try:
        modified = collection.update(modify, guard)
    except (QueryError, UpdateError) as error:
        with at("data" if isinstance(error, UpdateError) else "search query"):
            raise
    if not modified.matched and modified.upserted is None:
        raise NoMatch("no document matches the search query, and upsert is false: nothing was changed")
    return _changes(
        guard,
        modified.examples,
        matchedCount=modified.matched,
        modifiedCount=modified.modified,
        upsertedId=modified.upserted and modified.upserted["_id"],
    )


@operation("batchdelete", method="DELETE", role="write", body=_OBJECT)
def batch_delete(collection: Writer, source: dict[str, Any]) -> Response:
    """Delete every document that matches a filter."""
    guard = _guard()
    deleted = collection.delete_many(Filter(source), guard)
    return _changes(guard, deleted.examples, deletedCount=deleted.deleted)


def _guard() -> Guard:
    """What ``?dry_run=true`` and ``?max_affected=N`` ask for."""
    flag = request.args.get("dry_run", "false")
    if flag not in ("true", "false"):
        raise InvalidRequest(f"dry_run is true or false, not {flag!r}", pointer=None)
    bound = request.args.get("max_affected")
    if bound is not None and not (bound.isdecimal() and bound.isascii() and len(bound) < 16):
        raise InvalidRequest(f"max_affected is a whole number that is not negative, not {bound!r}", pointer=None)
    return Guard(dry_run=flag == "true", max_affected=None if bound is None else int(bound))


def _changes(guard: Guard, examples: Sequence[Example], **counts: Any) -> Response:
    """The counts of what was changed; of a dry run, with examples of what would be."""
    if guard.dry_run:
        counts |= {"dryRun": True, "examples": [{"before": before, "after": after} for before, after in examples]}
    return bodies.answer(counts)
