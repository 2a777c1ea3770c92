"""Administration over HTTP, guarded by the administrator's token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final, TypeVar, get_args

import flask
from flask import Blueprint, Response, current_app

from connectome import extjson, formats
from connectome.errors import ConnectomeError, InvalidRequest, NotFound, Unauthorized
from connectome.schemas import Schema
from connectome.service import MAX_GRACE_SECONDS, ROLES, Service, same_secret
from connectome.snapshots import Snapshots
from connectome.stores import Find, OnDuplicate
from connectome.web import bodies, console
from connectome.web.contract import FLAG, NUMBER, TEXT, Body, Parameter, Success, contract, elements, members
from connectome.web.exchange import NO_LIMIT, PIECE_BYTES, Answer, Request

_Name = TypeVar("_Name", bound=str)

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
_SNAPSHOT: Final = members(name=TEXT, taken=_WHEN, size=NUMBER)
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


# How documents travel as each format.
_MIMETYPES: Final[dict[formats.Format, str]] = {
    "json": bodies.JSON,
    "ndjson": bodies.NDJSON,
    "csv": bodies.CSV,
    "tsv": "text/tab-separated-values",
    "ejson": bodies.CANONICAL,
}


@blueprint.post("/collections/<collection>/import")
@_administered(
    Success(
        "What became of the documents",
        members(insertedCount=NUMBER, skippedCount=NUMBER, replacedCount=NUMBER),
        201,
    ),
    body=Body({"type": "array", "items": {"type": "object"}}, tuple(_MIMETYPES.values())),
    parameters=[
        Parameter(
            "on_duplicate",
            {"enum": list(get_args(OnDuplicate)), "default": "stop"},
            "What becomes of a document whose `_id` is taken.",
        )
    ],
    problems=(409, 422),
)
def import_documents(collection: str) -> Answer:
    """
    Add the documents of a file: all of them, or none; the size of the body is not limited.

    They are read as they come.  ``?on_duplicate=skip`` or ``replace`` says what becomes of an ``_id`` that is taken.
    """
    _service().describe(collection)
    on_duplicate = _chosen("on_duplicate", get_args(OnDuplicate), "stop")
    mimetype = flask.request.mimetype
    format: formats.Format = next((each for each, its in _MIMETYPES.items() if its == mimetype), "json")
    upload = _request(unlimited=True).upload(ends_itself=format in ("json", "ejson"))
    try:
        documents = formats.read_documents(upload, format)
        loaded = _service().import_documents(collection, documents, on_duplicate=on_duplicate)
    except ConnectomeError:
        # Whoever still sends would not see an answer.
        while upload.read(PIECE_BYTES):
            pass
        raise
    counts = {"insertedCount": loaded.inserted, "skippedCount": loaded.skipped, "replacedCount": loaded.replaced}
    return _answer(counts, 201)


@blueprint.get("/collections/<collection>/export")
@_administered(
    Success("The documents", elements({"type": "object"}), forms=tuple(_MIMETYPES.values())),
    parameters=[Parameter("format", {"enum": list(formats.FORMATS), "default": "ndjson"}, "What they are written as.")],
    problems=(400,),
)
def export(collection: str) -> Response:
    """All documents of a collection as a file: NDJSON, or what ``?format`` says."""
    format = _chosen("format", formats.FORMATS, "ndjson")
    pieces = formats.write_documents(_service().collection(collection), Find(), format)
    return Response(_gathered(pieces), mimetype=_MIMETYPES[format])


def _chosen(name: str, among: Sequence[_Name], otherwise: _Name) -> _Name:
    """What an argument of the URL says."""
    given = flask.request.args.get(name, otherwise)
    for each in among:
        if given == each:
            return each
    raise InvalidRequest(f"{name} is one of {', '.join(among)}, not {given!r}", pointer=None)


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that are worth a call of the server."""
    gathered = bytearray()
    try:
        for piece in pieces:
            gathered += piece
            if len(gathered) >= PIECE_BYTES:
                yield bytes(gathered)
                gathered.clear()
    except Exception:
        yield formats.CUT
        raise
    if gathered:  # to HTTP a piece of no bytes would be the end
        yield bytes(gathered)


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


def _snapshots() -> Snapshots:
    return Snapshots(_service(), current_app.extensions["connectome.settings"])


@blueprint.get("/snapshots")
@_administered(Success("Every snapshot", elements(_SNAPSHOT)))
def snapshots() -> Answer:
    """List the snapshots, the oldest first."""
    return _answer([asdict(each) for each in _snapshots().all()])


@blueprint.route("/snapshots/<name>", methods=["POST", "PUT"])
@_administered(Success("The snapshot", _SNAPSHOT, 201), problems=(400, 409))
def take_snapshot(name: str) -> Answer:
    """Take a snapshot of all collections; PUT takes it in place of the one that has the name."""
    return _answer(asdict(_snapshots().take(name, again=flask.request.method == "PUT")), 201)


@blueprint.delete("/snapshots/<name>")
@_administered(Success("It is gone", status=204), problems=(400,))
def remove_snapshot(name: str) -> Response:
    """Remove a snapshot."""
    _snapshots().remove(name)
    return Response(status=204)


@blueprint.post("/snapshots/<name>/restore")
@_administered(Success("The ids of the collections", members(restored=elements(TEXT))), problems=(400, 409))
def restore_snapshot(name: str) -> Answer:
    """Have the collections of a snapshot hold what they held; the snapshot ``undo`` keeps what they hold now."""
    return _answer({"restored": _snapshots().restore(name)})


@blueprint.post("/login")
@_administered(Success("The link", members(url=TEXT), 201), problems=(404,))
def login() -> Answer:
    """A link that signs in to the console once, within fifteen minutes."""
    path = console.login_path(current_app)
    if path is None:
        raise NotFound("the console of this server is off")
    return _answer({"url": console.site.base_url() + path}, 201)
