"""Administration over HTTP, guarded by the administrator's token."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any, Final

import flask
from flask import Blueprint, Response, current_app

from connectome import extjson, formats
from connectome.errors import Unauthorized
from connectome.schemas import Schema
from connectome.service import MAX_GRACE_SECONDS, ROLES, Service, same_secret
from connectome.web import bodies
from connectome.web.contract import FLAG, NUMBER, TEXT, Body, Parameter, Success, contract, elements, members
from connectome.web.exchange import NO_LIMIT, Answer, Request

blueprint: Final = Blueprint("admin", __name__, url_prefix="/-/admin")

_SCHEMA: Final = {"type": ["object", "boolean", "null"]}

_CREATE: Final = Schema(
    {
        "type": "object",
        "properties": {
            "id": TEXT,
            "title": TEXT,
            "schema": _SCHEMA,
            "credentials": {
                "type": "object",
                "properties": {"read": TEXT, "write": TEXT},
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }
)
_CHANGE: Final = Schema(
    {"type": "object", "properties": {"title": TEXT, "schema": _SCHEMA}, "additionalProperties": False}
)
_ADD_CREDENTIAL: Final = Schema(
    {
        "type": "object",
        "properties": {"name": TEXT, "role": {"enum": list(ROLES)}, "expires": {"type": ["string", "null"]}},
        "required": ["name", "role"],
        "additionalProperties": False,
    }
)
_ROTATE: Final = Schema(
    {
        "type": "object",
        "properties": {"grace": {"type": "number", "minimum": 0, "maximum": MAX_GRACE_SECONDS}},
        "additionalProperties": False,
    }
)

_WHEN: Final = {"type": "string", "format": "date-time"}
_NULLABLE: Final = {"type": ["string", "null"]}
_DESCRIPTION: Final = members(
    id=TEXT,
    title=TEXT,
    created=_WHEN,
    count={"type": ["integer", "null"], "minimum": 0},
    size=NUMBER,
    schema=_SCHEMA,
    credentials=members(**dict.fromkeys(ROLES, _NULLABLE)),
)
_CREDENTIAL: Final = members(
    name=TEXT,
    role={"enum": list(ROLES)},
    credential=_NULLABLE,
    ending=TEXT,
    created=_WHEN,
    expires=_NULLABLE,
    lastUsed=_NULLABLE,
)
_INDEX: Final = members(path=TEXT, pinned={"type": "boolean"}, uses=NUMBER, bytes=NUMBER)
_DOCUMENTS: Final = Body({"type": "array", "items": {"type": "object"}}, (bodies.JSON, bodies.NDJSON, bodies.CSV))
_ARCHIVE: Final = "application/zip"

_administered: Final = partial(contract, opened_by="administrator")


def _service() -> Service:
    service: Service = current_app.extensions["connectome"]
    return service


def _request(*, unlimited: bool = False) -> Request:
    return Request(flask.request.environ, NO_LIMIT if unlimited else current_app.config["MAX_CONTENT_LENGTH"])


def _answer(value: Any, status: int = 200) -> Answer:
    return bodies.answer(_request(), value, status)


def _received(schema: Schema) -> Any:
    """The body of the request: plain JSON, since it may hold a JSON Schema."""
    body = bodies.received(_request(), extended=False)
    bodies.require(schema, body)
    return body


@blueprint.before_request
def require_token() -> None:
    """Refuse whoever does not hold the administrator's token."""
    if not same_secret(_request().bearer("administration needs a token"), current_app.config["ADMINISTRATOR_TOKEN"]):
        raise Unauthorized("this is not the administrator's token")


@blueprint.get("/collections")
@_administered(Success("Every collection", elements(_DESCRIPTION)))
def collections() -> Answer:
    """Describe every collection."""
    return _answer(_service().collections())


@blueprint.post("/collections")
@_administered(Success("The new collection", _DESCRIPTION, 201), body=_CREATE, problems=(409,))
def create() -> Answer:
    """Make a collection; without ``id`` one is made."""
    return _answer(_service().create(**_received(_CREATE)), 201)


@blueprint.get("/collections/<collection>")
@_administered(Success("The collection", _DESCRIPTION))
def describe(collection: str) -> Answer:
    """Describe one collection, credentials included."""
    return _answer(_service().describe(collection))


@blueprint.patch("/collections/<collection>")
@_administered(Success("The collection as it is now", _DESCRIPTION), body=_CHANGE, problems=(422,))
def change(collection: str) -> Answer:
    """Rename a collection, or set or lift its schema."""
    return _answer(_service().change(collection, _received(_CHANGE)))


@blueprint.delete("/collections/<collection>")
@_administered(Success("It is gone", status=204))
def drop(collection: str) -> Response:
    """Remove a collection with its documents and credentials."""
    _service().drop(collection)
    return Response(status=204)


@blueprint.get("/collections/<collection>/credentials")
@_administered(Success("Its credentials", elements(_CREDENTIAL)))
def credentials(collection: str) -> Answer:
    """List the credentials of a collection: name, role, when each was made, stops, and was used last."""
    return _answer(_service().credentials(collection))


@blueprint.post("/collections/<collection>/credentials")
@_administered(Success("The new credential", _CREDENTIAL, 201), body=_ADD_CREDENTIAL)
def add_credential(collection: str) -> Answer:
    """Give a collection one more credential, with a name, and perhaps an end."""
    _service().collection(collection)
    return _answer(_service().add_credential(collection, **_received(_ADD_CREDENTIAL)), 201)


@blueprint.post("/collections/<collection>/credentials/<name>")
@_administered(
    Success("The new credential, by its name", {"type": "object", "additionalProperties": TEXT}),
    body=Body(_ROTATE.source, required=False),
)
def rotate(collection: str, name: str) -> Answer:
    """Replace a credential; the old one stops at once, or works beside the new one for ``grace`` seconds."""
    content = _request().body()
    given = extjson.loads(content, extended=False) if content else {}
    bodies.require(_ROTATE, given)
    return _answer({name: _service().rotate(collection, name, **given)})


@blueprint.delete("/collections/<collection>/credentials/<name>")
@_administered(Success("It is gone", status=204), problems=(400,))
def revoke(collection: str, name: str) -> Response:
    """Stop one of the credentials with a name, and forget it."""
    _service().revoke(collection, name)
    return Response(status=204)


@blueprint.get("/collections/<collection>/indexes")
@_administered(Success("Its indexes", elements(_INDEX)))
def indexes(collection: str) -> Answer:
    """List the indexes of a collection: those that are pinned, then those that made themselves."""
    return _answer([asdict(index) for index in _service().indexes(collection)])


@blueprint.put("/collections/<collection>/indexes/<path>")
@_administered(Success("The index", _INDEX), problems=(400,))
def pin(collection: str, path: str) -> Answer:
    """Keep an index of a path, whatever is asked and however short memory is."""
    return _answer(asdict(_service().pin(collection, path)))


@blueprint.delete("/collections/<collection>/indexes/<path>")
@_administered(Success("It is not pinned any more", status=204), problems=(400,))
def unpin(collection: str, path: str) -> Response:
    """Let the index of a path come and go as questions do."""
    _service().unpin(collection, path)
    return Response(status=204)


@blueprint.post("/collections/<collection>/empty")
@_administered(Success("How many documents there were", members(deletedCount=NUMBER)))
def empty(collection: str) -> Answer:
    """Delete every document; the collection, its schema and its credentials stay."""
    return _answer({"deletedCount": _service().empty(collection)})


@blueprint.post("/collections/<collection>/import")
@_administered(
    Success("How many documents there were", members(insertedCount=NUMBER), 201), body=_DOCUMENTS, problems=(409, 422)
)
def import_documents(collection: str) -> Answer:
    """Add the documents of a JSON array, NDJSON or CSV: all of them, or none; the size of the body is not limited."""
    _service().describe(collection)
    of_type: dict[str, formats.Format] = {bodies.NDJSON: "ndjson", bodies.CSV: "csv"}
    format = of_type.get(flask.request.mimetype, "json")
    content = _request(unlimited=True).body(ends_itself=format == "json")
    documents = list(formats.read_documents(content, format))
    return _answer({"insertedCount": _service().import_documents(collection, documents)}, 201)


@blueprint.get("/backup")
@_administered(
    Success("The archive", TEXT, forms=(_ARCHIVE,)),
    parameters=[Parameter("credentials", FLAG, "Put the credentials in.")],
    problems=(400,),
)
def backup() -> Response:
    """All collections in one zip archive; with ``?credentials=true``, their credentials too."""
    content = _service().backup(credentials=_request().flag("credentials"))
    return Response(content, mimetype=_ARCHIVE)


@blueprint.post("/restore")
@_administered(
    Success("The ids of the collections", members(restored=elements(TEXT)), 201),
    body=Body(TEXT, (_ARCHIVE,)),
    problems=(409, 422),
)
def restore() -> Answer:
    """Make the collections of a backup anew: all of them, or none."""
    return _answer({"restored": _service().restore(_request(unlimited=True).body())}, 201)
