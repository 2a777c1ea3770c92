"""Many documents on their way into a collection: checked and encoded one by one, kept all together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from connectome import extjson
from connectome.errors import ConnectomeError, DuplicateKey, Failure, InvalidRequest, SchemaViolation, at
from connectome.extjson import preview
from connectome.query import Document
from connectome.query.values import index_key
from connectome.schemas import Schema
from connectome.stores.base import Loaded, OnDuplicate, identified

# A file of which every document fails is not read to its end.
MAX_FAILURES: Final = 100


def require_size(text: bytes, document: Document, limit: int) -> None:
    """
    Refuse a document whose text, as it is stored, is longer than ``limit`` bytes.

    Raises:
        InvalidRequest: ``BSONObjectTooLarge``.
    """
    if len(text) > limit:
        raise InvalidRequest(
            f"a document may take {limit} bytes of JSON, and that with the _id {preview(document['_id'])} would take "
            f"{len(text)}",
            code="BSONObjectTooLarge",
            pointer=None,
        )


class Staged:
    """
    Documents in the form in which rows keep them; nothing else of a document stays in memory.

    places: the key of each ``_id`` → its place in ``kept``, in the order of the places.
    kept: the documents, as texts where rows have texts; None for one that is skipped.
    bytes: how long their texts are, together.

    Args:
        documents: New ones; each is let go of before the next one is asked for.
        max_document_bytes: A larger document, as it is stored, is refused.

    Raises:
        DuplicateKey, SchemaViolation, InvalidRequest: With the pointer from the position of the document on; of
            failures the first hundred.
    """

    def __init__(
        self, documents: Iterable[Document], on_duplicate: OnDuplicate, schema: Schema | None, max_document_bytes: int
    ) -> None:
        self._max_document_bytes = max_document_bytes
        self._on_duplicate = on_duplicate
        self._schema = schema
        self.places: dict[Any, int] = {}
        self.kept: list[Any] = []
        self.bytes = 0
        self._skipped = self._replaced = 0
        failures: list[Failure] = []
        for position, document in enumerate(documents):
            try:
                document = identified(document)
                self._stage(document)
            except ConnectomeError:
                with at(position):
                    raise
            if schema:
                failures += schema.failures(extjson.to_json(document), position)
                if len(failures) >= MAX_FAILURES:
                    break
        if failures:
            raise SchemaViolation(failures)

    def _stage(self, document: Document) -> None:
        key = index_key(document["_id"])
        place = self.places.get(key)
        if place is None:
            self.places[key] = len(self.kept)
            self.kept.append(self._form(document))
        elif self._on_duplicate == "stop":
            raise _taken(document)
        elif self._on_duplicate == "skip":
            self._skipped += 1
        else:
            self._replaced += 1
            self.kept[place] = self._form(document)

    def _form(self, document: Document) -> Any:
        text = extjson.encode(document, mode="stored")
        require_size(text, document, self._max_document_bytes)
        self.bytes += len(text)
        return text if extjson.HAS_MSGSPEC else document

    def document(self, place: int) -> Document:
        """The document at a place."""
        kept = self.kept[place]
        document: Document = extjson.decode(kept) if type(kept) is bytes else kept
        return document

    def require(self, schema: Schema | None) -> None:
        """
        Check the documents once more, where the schema is another one by now.

        Raises:
            SchemaViolation: As from the constructor.
        """
        if schema is None or schema is self._schema:
            return
        failures: list[Failure] = []
        for place in range(len(self.kept)):
            failures += schema.failures(extjson.to_json(self.document(place)), place)
            if len(failures) >= MAX_FAILURES:
                break
        if failures:
            raise SchemaViolation(failures)

    def settle(self, number_of: Callable[[Any], int | None]) -> tuple[dict[int, int], Loaded]:
        """
        Decide what becomes of each document, now that nobody else writes.

        Args:
            number_of: From a key to the number of the document that is there.

        Returns:
            The number of each document that is replaced → the place of the one that replaces it, and what the load
            does; ``places`` and ``kept`` are left with what is new.

        Raises:
            DuplicateKey: One is there, and duplicates stop.
        """
        there = {key: number for key in self.places if (number := number_of(key)) is not None}
        replaced: dict[int, int] = {}
        for key, number in there.items():
            place = self.places[key]
            if self._on_duplicate == "stop":
                with at(place):
                    raise _taken(self.document(place))
            del self.places[key]
            if self._on_duplicate == "replace":
                replaced[number] = place
            else:
                self.kept[place] = None
        if self._on_duplicate == "skip":
            self._skipped += len(there)
        return replaced, Loaded(len(self.places), self._skipped, self._replaced + len(replaced))


def _taken(document: Document) -> DuplicateKey:
    return DuplicateKey(f"_id {preview(document['_id'])} is taken", pointer="/_id")
