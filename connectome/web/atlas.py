"""
MongoDB's Atlas Data API, as its clients know it: its routes, envelopes, plain JSON and errors, over our collections.

That service ended in September 2025; a program that was written for it goes on with another base URL.  An action is one
function under ``@action``, from the side of a collection and the decoded body to what the service would answer.  What
differs from the service, and why, is told in docs/from-atlas-data-api.md.
"""

from __future__ import annotations

import base64
import difflib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import werkzeug
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from werkzeug.datastructures import Authorization
from werkzeug.exceptions import MethodNotAllowed, NotFound, SecurityError

from connectome import extjson
from connectome.config import Settings
from connectome.errors import (
    AccessError,
    ConnectomeError,
    DuplicateKey,
    Forbidden,
    InvalidJSON,
    InvalidRequest,
    QueryError,
    Unauthorized,
    UpdateError,
    at,
)
from connectome.extjson import preview
from connectome.query import Document, Filter, Pipeline, Projection, Sort, Update, Value, compile_array_filters
from connectome.query.clock import new_id
from connectome.query.deadline import deadline
from connectome.query.values import regex_options
from connectome.schemas import Schema
from connectome.service import Role, Service
from connectome.stores import Find, Modify, Reader, Writer
from connectome.web import bodies, problems
from connectome.web.activity import Activity
from connectome.web.contract import NUMBER, Success, elements, members
from connectome.web.envelopes import (
    BOOLEAN,
    COUNT,
    OBJECT,
    OBJECT_OR_ARRAY,
    STRING,
    Shape,
    array,
    described,
    envelope,
    or_null,
)
from connectome.web.exchange import Answer, Request
from connectome.web.limits import RequestRate
from connectome.web.sizes import Sizes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Whatever is asked below it comes from a program for the service, and is answered in its words.
PREFIX: Final = "/app/"
ROUTE: Final = "/app/<app>/endpoint/data/<version>/action/<action>"
# The endpoints of the actions are their names behind this; that of what is none is nothing behind it.
ENDPOINT: Final = "atlas."
# Alike, here.
VERSIONS: Final = ("v1", "beta")
METHODS: Final = ("POST", "OPTIONS")
# What comes here by another method is refused here, in the shape of the service.
ROUTED_METHODS: Final = (*METHODS, "GET", "HEAD", "PUT", "PATCH", "DELETE")
# Stands in no credential, and may stand in a bearer token: a program has one key, for reading and for writing.
_JOINS: Final = "+"
# What the service calls a key that is there, and empty.
_NOT_GIVEN: Final = "MissingParameter"
# By which users of the service signed in.
_OF_USERS: Final = frozenset({"HTTP_EMAIL", "HTTP_PASSWORD", "HTTP_JWTTOKENSTRING"})
# What every action takes: of these only the collection is looked at.
_NAMESPACE: Final = {
    "dataSource": described(STRING, "The name of a cluster: not looked at."),
    "database": described(STRING, "The name of a database: not looked at."),
    "collection": described(STRING, "The id of a collection."),
}
_EXAMPLE: Final = {"dataSource": "mongodb-atlas", "database": "todo", "collection": "tasks"}


@dataclass(frozen=True)
class Found:
    """
    Documents that are the answer.

    texts: whether they shall be canonical Extended JSON, or plain → each of them as text.
    """

    texts: Callable[[bool], Iterator[bytes]]


_Function = Callable[[Any, dict[str, Any]], dict[str, Any] | Found]
# Any value that BSON has.
_VALUE: Final[dict[str, Any]] = {}


@dataclass(frozen=True)
class Action:
    """
    One action of the service.

    role: what it asks of the credential.
    says: one sentence for people.
    fails: what an error says that it failed to do.
    success: what it answers.
    example: a body that it takes.
    """

    name: str
    role: Role
    says: str
    fails: str
    success: Success
    example: dict[str, Any]
    body: Schema
    fits: Callable[[Any], bool]
    function: _Function

    def decoded(self, content: bytes) -> dict[str, Any]:
        """
        What the body of a request says; what is null in it is left out, as many a client writes it.

        Raises:
            InvalidRequest, InvalidJSON: It is not what this action takes.
        """
        body: dict[str, Any] = bodies.decoded(content)
        if not self.fits(body):
            bodies.require(self.body, body)
        return {name: value for name, value in body.items() if value is not None}


ACTIONS: Final[dict[str, Action]] = {}


def route(name: str) -> str:
    """The route of an action."""
    return ROUTE.replace("<action>", name)


def action(
    name: str,
    *,
    role: Role,
    fails: str,
    success: Success,
    example: dict[str, Any],
    required: Mapping[str, Shape] = MappingProxyType({}),
    optional: Mapping[str, Shape] = MappingProxyType({}),
) -> Callable[[_Function], _Function]:
    """Declare a function as an action; it gets the ``Reader`` or ``Writer`` that ``role`` opens, and the body."""

    def declare(function: _Function) -> _Function:
        needed = {**_NAMESPACE, **required}
        shape = envelope({**needed, **{each: or_null(kind) for each, kind in optional.items()}}, required=[*needed])
        says = (function.__doc__ or "").strip()
        sent = {**_EXAMPLE, **example}
        ACTIONS[name] = Action(name, role, says, fails, success, sent, Schema(shape.schema), shape.fits, function)
        return function

    return declare


class Atlas:
    """
    Answers ``/app/<app>/endpoint/data/v1/action/<action>``.

    Args:
        activity: what is told of every answer.
        settings: The limits are read of them.
        rate: How often a credential may ask, here and elsewhere together.
    """

    def __init__(self, service: Service, activity: Activity, settings: Settings, rate: RequestRate | None) -> None:
        self._service = service
        self._activity = activity
        self._max_time_seconds = settings.max_time_seconds
        self._bounds = settings.max_body_bytes, settings.max_result_documents, settings.max_result_bytes
        self._sizes = Sizes(settings.max_query_terms, settings.max_in_values)
        self._rate = rate
        self._public_url = settings.public_url

    def __call__(self, environ: WSGIEnvironment, version: str, name: str) -> Answer:
        """
        The answer to a request for an action; whatever goes wrong is one too, in the words of the service.

        Args:
            version, name: As they stand in the path; both empty where it is none of an action.
        """
        started = time.perf_counter()
        request = Request(environ, *self._bounds)
        body: dict[str, Any] = {}
        standing: tuple[tuple[str, str], ...] = ()
        try:
            declared = _declared(version, name, request.method)
            if request.method == "OPTIONS":
                answer = Answer(b"", "text/html; charset=utf-8", headers=(("Allow", ", ".join(sorted(METHODS))),))
            else:
                keys = _keys(request)
                # The collection is named in the body, which nobody has read who opens none.
                if not any(map(self._service.knows, keys)):
                    raise Unauthorized("the credential is not valid for any collection")
                content = request.body()
                body = declared.decoded(content)
                credential, side = self._side(keys, body["collection"], declared.role)
                if self._rate:
                    standing = self._rate.take((body["collection"], credential))
                self._sizes.check(name, body, len(content))
                with deadline(self._max_time_seconds):
                    answer = _answer(request, declared.function(side, body), declared.success.status)
        except Exception as error:
            answer = self.failure(error, environ, ACTIONS.get(name))
        if standing:
            answer = answer.saying(*standing)
        collection = body.get("collection", "")
        self._activity.record(
            name if name in ACTIONS else "",
            collection if collection in self._service else "",
            answer.status,
            time.perf_counter() - started,
            body.get("filter"),
        )
        return answer

    def failure(self, error: Exception, environ: WSGIEnvironment, declared: Action | None = None) -> Answer:
        """The problem that an error is to everybody else, in the words and the shape of the service."""
        problem = problems.of(error, environ["REQUEST_METHOD"].upper())
        status, text = problem.status, json.loads(b"".join(problem.pieces))["detail"]
        place = f" (at {error.pointer})" if isinstance(error, ConnectomeError) and error.pointer else ""
        code = _FAILED if status >= 500 else _CODES.get(status, "InvalidParameter")
        if isinstance(error, Unauthorized):
            text = "invalid session: error finding user for endpoint"
        elif isinstance(error, Forbidden):
            text += "; a key that does both is the two credentials, joined by '+'"
        elif isinstance(error, NotFound):
            text = error.description or text
        elif isinstance(error, (InvalidRequest, InvalidJSON)):
            code = _NOT_GIVEN if error.code == _NOT_GIVEN else code
            text += place
        elif isinstance(error, ConnectomeError) and declared and (status == 400 or status in _AS_400):
            duplicate = "E11000 duplicate key error: " if isinstance(error, DuplicateKey) else ""
            text = f"Failed to {declared.fails}: FunctionError: ({error.code}) {duplicate}{text}{place}"
            status, code = 400, _REFUSED
        body = extjson.encode({"error": text, "error_code": code, "link": self._link(environ)})
        return Answer(body, bodies.JSON, status, problem.headers)

    def _link(self, environ: WSGIEnvironment) -> str:
        """Where the console is: as the settings say, or as this server was called, where that tells."""
        if self._public_url:
            return f"{self._public_url}/"
        with suppress(SecurityError):
            called = werkzeug.Request(environ)
            if called.host:
                return called.host_url
        return "/"

    def _side(self, keys: Sequence[str], collection: str, role: Role) -> tuple[str, Reader | Writer]:
        """The credential, of one or two, that opens the side, and the side; else the last refusal."""
        opened = self._service.reader if role == "read" else self._service.writer
        *first, last = keys
        for key in first:
            with suppress(AccessError):
                return key, opened(key, collection)
        return last, opened(last, collection)


def _declared(version: str, name: str, method: str) -> Action:
    if not version:
        raise NotFound(f"there is nothing at this path: expected POST {ROUTE}")
    if version not in VERSIONS:
        raise NotFound(f"there is no such version; expected {' or '.join(VERSIONS)}")
    declared = ACTIONS.get(name)
    if declared is None:
        nearest = difflib.get_close_matches(name, ACTIONS, n=1)
        raise NotFound(f"there is no such action; {f'did you mean {nearest[0]}?' if nearest else _known()}")
    if method not in METHODS:
        raise MethodNotAllowed(METHODS)
    return declared


def _known() -> str:
    return f"expected one of {', '.join(ACTIONS)}"


def _keys(request: Request) -> list[str]:
    """
    The credentials, one or two, in the key of a request: a bearer's token, else that of either header.

    Raises:
        InvalidRequest: There is no key.
    """
    environ = request.environ
    given = Authorization.from_header(environ.get("HTTP_AUTHORIZATION"))
    if given is not None and given.type == "bearer":
        return (given.token or "").split(_JOINS, 1)
    key = environ.get("HTTP_APIKEY") or environ.get("HTTP_API_KEY")
    if not key:
        raise _no_key(environ)
    return str(key).split(_JOINS, 1)


def _no_key(environ: WSGIEnvironment) -> InvalidRequest:
    """What is wrong with a request without a key: two sentences of the service, and one for those who had users."""
    if environ.keys() & _OF_USERS:
        detail = (
            "there are no users here: send a key, as apiKey, as api-key or as Authorization: Bearer, in place of "
            "e-mail and password or a JSON Web Token"
        )
        return InvalidRequest(detail, pointer=None)
    if environ.keys() & {"HTTP_APIKEY", "HTTP_API_KEY"}:
        detail = (
            "must specify some form of authentication (either email+password, api-key, or jwt) "
            "in the request header or body"
        )
        return InvalidRequest(detail, code=_NOT_GIVEN, pointer=None)
    return InvalidRequest("no authentication methods were specified", pointer=None)


def _answer(request: Request, value: dict[str, Any] | Found, status: int) -> Answer:
    """An answer in canonical Extended JSON where the client asks for that, else in plain JSON."""
    form = request.preferred(bodies.JSON, bodies.CANONICAL)
    canonical = form == bodies.CANONICAL
    if isinstance(value, Found):
        texts = value.texts(canonical)
        if most := request.max_result_documents:
            texts = bodies.at_most(texts, most)
        return Answer(bodies.joined(request, texts, b'{"documents":[', b",", b"]}"), form, status)
    text = extjson.encode(value, mode="canonical") if canonical else extjson.encode(plain(value))
    return Answer(text, form, status)


# In JSON a quote inside of a string has a backslash in front: what looks like a type here is one.
_TYPED: Final = b'{"$'
_PLAIN_TEXTS: Final = re.compile(
    rb'\{"\$(?:oid|date)":("(?:[0-9a-f]{24}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,2}[1-9])?Z)")\}'
)
# What may be a double that is whole, or be said in a string.
_WHOLE: Final = re.compile(rb"[\[:,]-?\d{1,15}\.0[,\]}]")
# What is one: the quote in front ends a name, since what begins a string stands behind one of "[:,{".
_WHOLE_MEMBERS: Final = re.compile(rb'(?<=[^\\\[:,{]":)(?!-0\.)(-?\d{1,15})\.0(?=[,}])')
# As many figures.
_MOST_WHOLE: Final = 1e15


def plain_text(text: bytes) -> bytes:
    """What ``plain`` makes of a document, from its relaxed Extended JSON; a tenth of the time where types are few."""
    if b".0" in text and _WHOLE.search(text):
        text = _WHOLE_MEMBERS.sub(rb"\1", text)
        if _WHOLE.search(text):
            return extjson.encode(plain(extjson.loads(text)))
    if _TYPED not in text:
        return text
    text = _PLAIN_TEXTS.sub(rb"\1", text)
    return text if _TYPED not in text else extjson.encode(plain(extjson.loads(text)))


def plain(value: Value) -> Any:
    """
    A value in the plain JSON of the service, which loses the types that JSON lacks; the same object where it has none.

    A double that is whole has no fraction, as Go writes it: clients may read integers there.  What the service could
    not say at all, such as NaN or a date before the year 1, is Extended JSON.
    """
    kind = type(value)
    if kind is dict:
        members = {name: plain(each) for name, each in value.items()}
        return value if all(map(_same, members.values(), value.values())) else members
    if kind is list:
        elements = list(map(plain, value))
        return value if all(map(_same, elements, value)) else elements
    return _PLAIN[kind](value) if kind in _PLAIN else value


def _same(one: object, other: object) -> bool:
    return one is other


def _plain_double(value: float) -> float | int:
    # To integers minus zero is zero.
    whole = value.is_integer() and abs(value) < _MOST_WHOLE and str(value) != "-0.0"
    return int(value) if whole else value


def _plain_date(date: datetime) -> str:
    utc = date if date.tzinfo is None else date.astimezone(UTC)
    text = utc.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return text.rstrip("0").rstrip(".") + "Z"


def _plain_binary(binary: bytes) -> dict[str, Any]:
    subtype = binary.subtype if isinstance(binary, Binary) else 0
    return {"Subtype": subtype, "Data": base64.b64encode(binary).decode()}


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    ObjectId: str,
    Int64: int,
    float: _plain_double,
    Decimal128: str,
    datetime: _plain_date,
    DatetimeMS: extjson.to_json,
    Binary: _plain_binary,
    bytes: _plain_binary,
    Regex: lambda regex: {"Pattern": regex.pattern, "Options": regex_options(regex)},
    Timestamp: lambda stamp: {"T": stamp.time, "I": stamp.inc},
    MinKey: lambda _: {},
    MaxKey: lambda _: {},
}

# Of the errors of these statuses all have one code: what the service calls it, or would.
_CODES: Final = {
    401: "InvalidSession",
    403: "NoMatchingRuleFound",
    404: "EndpointNotFound",
    405: "MethodNotAllowed",
    411: "InvalidParameter",
    413: "RequestTooLarge",
    415: "InvalidParameter",
    429: "TooManyRequests",
}
_FAILED: Final = "InternalServerError"
# What is about documents or a query; the service answers 400 to whatever MongoDB refuses.
_REFUSED: Final = "MongoDBError"
_AS_400: Final = frozenset({409, 422})


def codes(status: int) -> list[str]:
    """What the errors of a status are called."""
    if status == 400:
        return ["InvalidParameter", _NOT_GIVEN, _REFUSED]
    return [_FAILED if status >= 500 else _CODES[status]]


def _filter(body: dict[str, Any]) -> Filter:
    with at("filter"):
        return Filter(body.get("filter", {}))


def _find(body: dict[str, Any], limit: int) -> Find:
    filter = _filter(body)
    with at("projection"):
        projection = Projection(body.get("projection", {}), filter)
    with at("sort"):
        sort = Sort(body.get("sort", {}))
    return Find(filter, projection, sort, int(body.get("skip", 0)), limit)


_FILTER: Final = described(OBJECT, "Which documents; `{}` matches all.")
_FIND: Final = {
    "filter": _FILTER,
    "projection": described(OBJECT, "Which of their fields."),
    "sort": described(OBJECT_OR_ARRAY, "Fields to sort by, each with 1 or -1."),
    "skip": described(COUNT, "How many to pass over."),
}


@action(
    "findOne",
    role="read",
    fails="find document",
    success=Success("The document, or null", members(document={"type": ["object", "null"]})),
    optional=_FIND,
    example={"filter": {"text": "Do the dishes"}},
)
def find_one(collection: Reader, body: dict[str, Any]) -> dict[str, Any]:
    """Find the first document that matches; null where none does."""
    return {"document": next(iter(collection.find(_find(body, limit=1))), None)}


_DOCUMENTS: Final = Success("The documents", members(documents=elements({"type": "object"})))


@action(
    "find",
    role="read",
    fails="find documents",
    success=_DOCUMENTS,
    optional={**_FIND, "limit": described(COUNT, "How many at most; without it, or with 0, all of them.")},
    example={"filter": {"status": "open"}, "projection": {"text": 1}, "sort": {"text": 1}, "limit": 10},
)
def find(collection: Reader, body: dict[str, Any]) -> Found:
    """Find the documents that match; without a limit, all of them."""
    question = _find(body, limit=int(body.get("limit", 0)))

    def texts(canonical: bool) -> Iterator[bytes]:
        if canonical:
            return (extjson.encode(each, mode="canonical") for each in collection.find(question))
        return map(plain_text, collection.encoded(question))

    return Found(texts)


@action(
    "aggregate",
    role="read",
    fails="aggregate documents",
    success=_DOCUMENTS,
    required={"pipeline": described(array(OBJECT), "The stages.")},
    example={"pipeline": [{"$group": {"_id": "$status", "count": {"$sum": 1}}}, {"$sort": {"count": -1}}]},
)
def aggregate(collection: Reader, body: dict[str, Any]) -> Found:
    """Run the stages of a pipeline."""
    with at("pipeline"):
        # All of them, before the first is sent: any may be refused.
        made = list(collection.aggregate(Pipeline(body["pipeline"])))
    return Found(
        lambda canonical: (
            extjson.encode(each, mode="canonical") if canonical else extjson.encode(plain(each)) for each in made
        )
    )


def _identified(document: Document) -> Document:
    """A document with the ``_id`` that drivers make, where it has none."""
    return document if "_id" in document else {"_id": ObjectId(new_id()), **document}


@action(
    "insertOne",
    role="write",
    fails="insert document",
    success=Success("The `_id` of the document", members(insertedId=_VALUE), 201),
    required={"document": described(OBJECT, "The document.")},
    example={"document": {"text": "Do the dishes", "status": "open"}},
)
def insert_one(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Add one document."""
    with at("document"):
        return {"insertedId": collection.insert_one(_identified(body["document"]))}


@action(
    "insertMany",
    role="write",
    fails="insert documents",
    success=Success("The `_id`s of the documents, in order", members(insertedIds=elements(_VALUE)), 201),
    required={"documents": described(array(OBJECT), "The documents.")},
    example={"documents": [{"text": "Mop the floor", "status": "open"}, {"text": "Feed the dog", "status": "open"}]},
)
def insert_many(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Add documents: all of them, or none."""
    with at("documents"):
        return {"insertedIds": collection.insert_many(list(map(_identified, body["documents"])))}


_COUNTED: Final = members(matchedCount=NUMBER, modifiedCount=NUMBER)
_UPDATED: Final = Success(
    "How many documents matched, in how many something changed, and the `_id` of the one that was created, if one was",
    {**_COUNTED, "properties": {**_COUNTED["properties"], "upsertedId": _VALUE}},
)
_UPDATE: Final = {
    "filter": _FILTER,
    "update": described(OBJECT_OR_ARRAY, "Update operators such as `$set`, or a pipeline."),
}
_UPSERT: Final = {"upsert": described(BOOLEAN, "Create a document where none matches.")}
_HOW: Final = {**_UPSERT, "arrayFilters": described(array(OBJECT), "Which elements `$[name]` in a path stands for.")}


@action(
    "updateOne",
    role="write",
    fails="update document",
    success=_UPDATED,
    required=_UPDATE,
    optional=_HOW,
    example={"filter": {"text": "Do the dishes"}, "update": {"$set": {"status": "complete"}}, "upsert": False},
)
def update_one(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Change the first document that matches; with ``upsert``, create one where none does."""
    return _updated(collection, body, multi=False)


@action(
    "updateMany",
    role="write",
    fails="update documents",
    success=_UPDATED,
    required=_UPDATE,
    optional=_HOW,
    example={"filter": {"status": "open"}, "update": {"$set": {"status": "complete"}}},
)
def update_many(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Change every document that matches; with ``upsert``, create one where none does."""
    return _updated(collection, body, multi=True)


def _updated(collection: Writer, body: dict[str, Any], *, multi: bool) -> dict[str, Any]:
    source = body["update"]
    with at("arrayFilters"):
        array_filters = compile_array_filters(body.get("arrayFilters", []))
    with at("update"):
        if type(source) is dict:
            _require_operators(source)
        update = Update(source, array_filters)
    return _modified(collection, body, update, "update", multi=multi)


def _require_operators(update: Document) -> None:
    # Elsewhere plain fields mean $set; drivers, and the service, take them for a replacement in the wrong place.
    for name in update or [""]:
        if not name.startswith("$"):
            raise InvalidRequest(
                f"the update operation document must contain atomic operators, such as $set, not {preview(update)}"
            )


@action(
    "replaceOne",
    role="write",
    fails="replace document",
    success=_UPDATED,
    required={"filter": _FILTER, "replacement": described(OBJECT, "What takes its place, but for its `_id`.")},
    optional=_UPSERT,
    example={"filter": {"text": "Do the dishes"}, "replacement": {"text": "Call Amy", "status": "open"}},
)
def replace_one(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Put a document in the place of the first that matches; with ``upsert``, create it where none does."""
    with at("replacement"):
        for name in body["replacement"]:
            if name.startswith("$"):
                raise InvalidRequest(f"a replacement has no operators, such as {name}")
    update = Update([{"$replaceWith": {"$literal": body["replacement"]}}])
    return _modified(collection, body, update, "replacement", multi=False)


def _modified(collection: Writer, body: dict[str, Any], update: Update, place: str, *, multi: bool) -> dict[str, Any]:
    modify = Modify(_filter(body), update, upsert=body.get("upsert", False), multi=multi, new_id=ObjectId(new_id()))
    try:
        modified = collection.update(modify)
    except (QueryError, UpdateError) as error:
        with at(place if isinstance(error, UpdateError) else "filter"):
            raise
    counts: dict[str, Any] = {"matchedCount": modified.matched, "modifiedCount": modified.modified}
    return counts if modified.upserted is None else {**counts, "upsertedId": modified.upserted["_id"]}


_DELETED: Final = Success("How many documents were deleted", members(deletedCount=NUMBER))


@action(
    "deleteOne",
    role="write",
    fails="delete document",
    success=_DELETED,
    required={"filter": _FILTER},
    example={"filter": {"text": "Do the dishes"}},
)
def delete_one(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Delete the first document that matches."""
    return {"deletedCount": collection.delete_one(_filter(body)).deleted}


@action(
    "deleteMany",
    role="write",
    fails="delete documents",
    success=_DELETED,
    required={"filter": _FILTER},
    example={"filter": {"status": "complete"}},
)
def delete_many(collection: Writer, body: dict[str, Any]) -> dict[str, Any]:
    """Delete every document that matches; ``{}`` matches all."""
    return {"deletedCount": collection.delete_many(_filter(body)).deleted}
