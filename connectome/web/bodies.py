"""What comes in and what goes out: strict JSON bodies, and documents in the form that the client accepts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from connectome import extjson, formats
from connectome.errors import BodyTooLarge, InvalidRequest
from connectome.query import Document
from connectome.schemas import Schema

JSON: Final = "application/json"
CANONICAL: Final = "application/ejson"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"


def received(schema: Schema, *, extended: bool = True) -> Any:
    """
    The body of the request, decoded; not ``extended`` where it holds a JSON Schema.

    Raises:
        InvalidRequest: It is empty, or not what ``schema`` says.
        InvalidJSON: It is not strict JSON.
        BodyTooLarge: It is larger than the server reads.
    """
    content = received_bytes()
    if not content:
        raise InvalidRequest("a JSON body was expected, and none came")
    body = extjson.loads(content, extended=extended)
    require(schema, body)
    return body


def received_bytes() -> bytes:
    """
    The body of the request as it came.

    Raises:
        BodyTooLarge: It is larger than the server reads.
    """
    if request.content_encoding:
        raise UnsupportedMediaType(f"a body is sent as it is, not with Content-Encoding: {request.content_encoding}")
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        came = f"{request.content_length} bytes" if request.content_length else "more"
        raise BodyTooLarge(f"the server reads bodies of up to {request.max_content_length} bytes, not {came}") from None


def require(schema: Schema, value: Any) -> None:
    """
    Refuse a value that is not what an operation takes.

    Raises:
        InvalidRequest: With the sentence and the pointer of the first failure.
    """
    for failure in schema.failures(value):
        raise InvalidRequest(failure.detail, pointer=failure.pointer)


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON, canonical where the client asks for that."""
    wanted = request.accept_mimetypes.best_match([JSON, CANONICAL], default=JSON)
    mode: extjson.Mode = "canonical" if wanted == CANONICAL else "relaxed"
    return Response(extjson.dumps(value, mode=mode) + "\n", status, mimetype=wanted)


def documents(found: Iterable[Document]) -> Response:
    """Documents as a JSON array, or in the form that the client asks for: canonical, NDJSON (streamed) or CSV."""
    wanted = request.accept_mimetypes.best_match([JSON, CANONICAL, NDJSON, CSV], default=JSON)
    if wanted == NDJSON:
        return Response((extjson.dumps(document) + "\n" for document in found), mimetype=NDJSON)
    if wanted == CSV:
        return Response(formats.write_csv(found), mimetype=CSV)
    return answer(list(found))
