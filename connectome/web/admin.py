"""Administration over HTTP, guarded by the administrator's token; and, without one, the server's health."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, current_app, request

from connectome import __version__, formats
from connectome.errors import Unauthorized
from connectome.schemas import Schema
from connectome.service import Role, Service, same_secret
from connectome.web import bodies
from connectome.web.api import bearer

blueprint: Final = Blueprint("admin", __name__, url_prefix="/-/admin")
health: Final = Blueprint("health", __name__, url_prefix="/-")

_TEXT: Final = {"type": "string"}
_SCHEMA: Final = {"type": ["object", "boolean", "null"]}

_CREATE: Final = Schema(
    {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "title": _TEXT,
            "schema": _SCHEMA,
            "credentials": {
                "type": "object",
                "properties": {"read": _TEXT, "write": _TEXT},
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }
)
_CHANGE: Final = Schema(
    {"type": "object", "properties": {"title": _TEXT, "schema": _SCHEMA}, "additionalProperties": False}
)


def _service() -> Service:
    service: Service = current_app.extensions["connectome"]
    return service


@blueprint.before_request
def require_token() -> None:
    """Refuse whoever does not hold the administrator's token."""
    if not same_secret(bearer("administration needs a token"), current_app.config["ADMINISTRATOR_TOKEN"]):
        raise Unauthorized("this is not the administrator's token")


@blueprint.get("/collections")
def collections() -> Response:
    """Describe every collection."""
    return bodies.answer(_service().collections())


@blueprint.post("/collections")
def create() -> Response:
    """Make a collection; without ``id`` one is made."""
    return bodies.answer(_service().create(**bodies.received(_CREATE, extended=False)), 201)


@blueprint.get("/collections/<collection>")
def describe(collection: str) -> Response:
    """Describe one collection, credentials included."""
    return bodies.answer(_service().describe(collection))


@blueprint.patch("/collections/<collection>")
def change(collection: str) -> Response:
    """Rename a collection, or set or lift its schema."""
    return bodies.answer(_service().change(collection, bodies.received(_CHANGE, extended=False)))


@blueprint.delete("/collections/<collection>")
def drop(collection: str) -> Response:
    """Remove a collection with its documents and credentials."""
    _service().drop(collection)
    return Response(status=204)


@blueprint.post("/collections/<collection>/credentials/<any(read, write):role>")
def rotate(collection: str, role: Role) -> Response:
    """Replace a credential; the old one stops at once."""
    return bodies.answer({role: _service().rotate(collection, role)})


@blueprint.get("/collections/<collection>/indexes")
def indexes(collection: str) -> Response:
    """List the indexes of a collection: those that are pinned, then those that made themselves."""
    return bodies.answer([asdict(index) for index in _service().indexes(collection)])


@blueprint.put("/collections/<collection>/indexes/<path>")
def pin(collection: str, path: str) -> Response:
    """Keep an index of a path, whatever is asked and however short memory is."""
    return bodies.answer(asdict(_service().pin(collection, path)))


@blueprint.delete("/collections/<collection>/indexes/<path>")
def unpin(collection: str, path: str) -> Response:
    """Let the index of a path come and go as questions do."""
    _service().unpin(collection, path)
    return Response(status=204)


@blueprint.post("/collections/<collection>/import")
def import_documents(collection: str) -> Response:
    """Add the documents of a JSON array, NDJSON or CSV: all of them, or none; the size of the body is not limited."""
    request.max_content_length = sys.maxsize  # None would mean the limit of all requests
    _service().describe(collection)
    of_type: dict[str, formats.Format] = {bodies.NDJSON: "ndjson", bodies.CSV: "csv"}
    format = of_type.get(request.mimetype, "json")
    documents = list(formats.read_documents(bodies.received_bytes(), format))
    return bodies.answer({"insertedCount": _service().import_documents(collection, documents)}, 201)


@blueprint.get("/backup")
def backup() -> Response:
    """All collections in one zip archive; with ``?credentials=true``, their credentials too."""
    content = _service().backup(credentials=request.args.get("credentials") == "true")
    return Response(content, mimetype="application/zip")


@blueprint.post("/restore")
def restore() -> Response:
    """Make the collections of a backup anew: all of them, or none."""
    request.max_content_length = sys.maxsize
    return bodies.answer({"restored": _service().restore(bodies.received_bytes())}, 201)


@health.get("/health")
def status() -> Response:
    """Say that the server answers, which version it is, and over which store."""
    return bodies.answer({"status": "ok", "version": __version__, "store": _service().store})
