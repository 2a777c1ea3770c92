"""What comes in and what goes out: strict JSON bodies, and documents in the form that the client accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final, TypeVar

from connectome import extjson, formats
from connectome.errors import InvalidRequest, ResultTooLarge
from connectome.schemas import Schema
from connectome.stores import Find, Reader
from connectome.web.exchange import NO_LIMIT, PIECE_BYTES, WHOLE_BYTES, Answer, Pieces, Request, Stream

_T = TypeVar("_T")

JSON: Final = "application/json"
CANONICAL: Final = "application/ejson"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_AT_A_TIME: Final = 64


def received(request: Request, *, extended: bool = True) -> Any:
    """
    The body of a request, decoded; not ``extended`` where it holds a JSON Schema.

    Raises:
        InvalidRequest, InvalidJSON: As ``decoded`` has it.
        BodyTooLarge: It is larger than the server reads.
    """
    return decoded(request.body(), extended=extended)


def decoded(content: bytes, *, extended: bool = True) -> Any:
    """
    The value of a body.

    Raises:
        InvalidRequest: It is empty.
        InvalidJSON: It is not strict JSON.
    """
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
    """
    Documents as a JSON array, or in the form that the client asks for: canonical, NDJSON or CSV.

    Raises:
        ResultTooLarge: They are more, or larger, than the owner of the server wants.
    """
    if most := request.max_result_documents:
        find = replace(find, limit=min(find.limit or NO_LIMIT, most + 1))
    form = request.preferred(JSON, CANONICAL, NDJSON, CSV)
    texts: Iterator[bytes]
    if form == CSV:
        found = collection.find(find)
        lines = formats.write_csv(at_most(found, most) if most else found)
        return Answer(joined(request, (line.encode() for line in lines)), f"{CSV}; charset=utf-8")
    if form == CANONICAL:
        texts = (extjson.encode(document, mode="canonical") for document in collection.find(find))
    else:
        texts = collection.encoded(find)
    if most:
        texts = at_most(texts, most)
    if form == NDJSON:
        return Answer(joined(request, (text + b"\n" for text in texts)), form)
    return Answer(joined(request, texts, b"[", b",", b"]\n"), form)


def joined(
    request: Request, texts: Iterator[bytes], before: bytes = b"", between: bytes = b"", after: bytes = b""
) -> bytes | Pieces | Stream:
    """
    What is not large as a whole; the rest of what is large is made as it is sent, unless it must be weighed.

    Raises:
        ResultTooLarge: It is larger than the owner of the server wants.
    """
    first: list[bytes] = []
    size = 0
    while size < WHOLE_BYTES or request.max_result_bytes or request.max_result_documents:
        more = list(islice(texts, _AT_A_TIME))
        first += more
        size += sum(map(len, more))
        if request.max_result_bytes and size > request.max_result_bytes:
            raise ResultTooLarge(
                f"the server sends answers of up to {request.max_result_bytes} bytes, and this is larger"
            )
        if len(more) < _AT_A_TIME:
            if size + len(between) * len(first) <= PIECE_BYTES:
                return before + between.join(first) + after
            return Pieces(first, before=before, between=between, after=after)
    return Stream(chain(first, texts), before=before, between=between, after=after)


def at_most(found: Iterator[_T], most: int) -> Iterator[_T]:
    """
    What was found, while it is no more than this.

    Raises:
        ResultTooLarge: It is more.
    """
    for count, each in enumerate(found):
        if count == most:
            raise ResultTooLarge(
                f"the server answers up to {most} documents at a time, and there are more: set a limit"
            )
        yield each
