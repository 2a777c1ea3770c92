"""What comes in and what goes out: strict JSON bodies, and documents in the form that the client accepts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

from connectome import extjson, formats
from connectome.errors import InvalidRequest
from connectome.schemas import Schema
from connectome.stores import Find, Reader
from connectome.web.exchange import PIECE_BYTES, WHOLE_BYTES, Answer, Pieces, Request, Stream

JSON: Final = "application/json"
CANONICAL: Final = "application/ejson"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_AT_A_TIME: Final = 64


def received(request: Request, *, extended: bool = True) -> Any:
    """
    The body of a request, decoded; not ``extended`` where it holds a JSON Schema.

    Raises:
        InvalidRequest: It is empty.
        InvalidJSON: It is not strict JSON.
        BodyTooLarge: It is larger than the server reads.
    """
    content = request.body()
    if not content:
        raise InvalidRequest("a JSON body was expected, and none came")
    return extjson.loads(content, extended=extended)


def require(schema: Schema, value: Any) -> None:
    """
    Refuse a value that is not what an operation takes.

    Raises:
        InvalidRequest: With the sentence and the pointer of the first failure.
    """
    for failure in schema.failures(value):
        raise InvalidRequest(failure.detail, pointer=failure.pointer)


def answer(request: Request, value: Any, status: int = 200) -> Answer:
    """A value as JSON, canonical where the client asks for that."""
    form = request.preferred(JSON, CANONICAL)
    mode: extjson.Mode = "canonical" if form == CANONICAL else "relaxed"
    return Answer(extjson.encode(value, mode=mode) + b"\n", form, status)


def documents(request: Request, collection: Reader, find: Find) -> Answer:
    """Documents as a JSON array, or in the form that the client asks for: canonical, NDJSON or CSV."""
    form = request.preferred(JSON, CANONICAL, NDJSON, CSV)
    if form == CSV:
        lines = (line.encode() for line in formats.write_csv(collection.find(find)))
        return Answer(_joined(lines, b"", b"", b""), f"{CSV}; charset=utf-8")
    if form == CANONICAL:
        texts = (extjson.encode(document, mode="canonical") for document in collection.find(find))
    else:
        texts = collection.encoded(find)
    if form == NDJSON:
        return Answer(_joined((text + b"\n" for text in texts), b"", b"", b""), form)
    return Answer(_joined(texts, b"[", b",", b"]\n"), form)


def _joined(texts: Iterator[bytes], before: bytes, between: bytes, after: bytes) -> bytes | Pieces | Stream:
    """What is not large as a whole; the rest of what is large is made as it is sent."""
    first: list[bytes] = []
    size = 0
    while size < WHOLE_BYTES:
        more = list(islice(texts, _AT_A_TIME))
        first += more
        size += sum(map(len, more))
        if len(more) < _AT_A_TIME:
            pieces = Pieces(first, before=before, between=between, after=after)
            return pieces.whole() if len(pieces) <= PIECE_BYTES else pieces
    return Stream(chain(first, texts), before=before, between=between, after=after)
