"""
What a programmer would write for the one question at hand: the measure of everything else.

A list of dicts, one comprehension for each question, orjson, one fdatasynced line for each write.  No type checks, no
copies: no rating is null here where it is compared, since the comprehension says so.
"""

from __future__ import annotations

import gc
import os
import re
import threading
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from benchmarks.documents import Document
from benchmarks.peers import Cannot, dumps, lines, write_lines


def _compound(
    documents: list[Document], year: int, rating: float, language: str, cities: list[str], votes: int
) -> list[Document]:
    wanted = set(cities)
    return [
        d
        for d in documents
        if d["year"] >= year
        and (d.get("rating") or 0) > rating
        and d["language"] != language
        and d["address"]["city"] in wanted
        and d["votes"] < votes
    ]


def _limit(documents: list[Document], year: int) -> list[Document]:
    found = [d for d in documents if d["year"] >= year]
    return sorted(found, key=itemgetter("amount"), reverse=True)[:10]


def _keys(documents: list[Document]) -> list[Document]:
    return sorted(sorted(documents, key=itemgetter("amount")), key=itemgetter("year"), reverse=True)


def _prefix(documents: list[Document], start: str) -> list[Document]:
    match = re.compile(re.escape(start)).match
    return [d for d in documents if match(d["title"])]


_ANSWERS: Final[dict[str, Callable[..., list[Document]]]] = {
    "range": lambda documents, low, high: [d for d in documents if low <= d["amount"] < high],
    "half": lambda documents, low: [d for d in documents if d["amount"] >= low],
    "compound": _compound,
    "member": lambda documents, genre: [d for d in documents if genre in d["genres"]],
    "dotted": lambda documents, city: [d for d in documents if d["address"]["city"] == city],
    "cast": lambda documents, role: [d for d in documents if role in [c["role"] for c in d["cast"]]],
    "prefix": _prefix,
    "limit": _limit,
    "sort": lambda documents: sorted(documents, key=itemgetter("amount")),
    "keys": _keys,
    "projection": lambda documents: [{"_id": d["_id"], "title": d["title"], "amount": d["amount"]} for d in documents],
}


class Hand:
    """A list, a dict by ``_id``, a dict by ``code``, and a file of lines."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "hand.ndjson"
        self._documents: list[Document] = []
        self._writing = threading.Lock()

    def fill(self, documents: Sequence[Document]) -> None:
        write_lines(self._path, documents)
        self.open()

    def open(self) -> None:
        gc.disable()
        self._documents = list(lines(self._path))
        self._by_id = {d["_id"]: d for d in self._documents}
        self._by_code: dict[str, Document] = {}
        gc.enable()
        gc.freeze()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes:
        if question == "point":
            return b"[" + dumps(self._by_id[arguments[0]]) + b"]"
        return dumps(_ANSWERS[question](self._documents, *arguments))

    def _keep(self, file: int, text: bytes) -> None:
        os.write(file, text + b"\n")
        os.fdatasync(file)

    def update(self, code: str) -> None:
        # Made at the first update, so that it weighs nothing in the row of memory.
        self._by_code = self._by_code or {d["code"]: d for d in self._documents}
        document = self._by_code[code]
        document["votes"] += 1
        self._keep(self._file, dumps(document))

    def insert(self, document: Document) -> None:
        with self._writing:
            self._keep(self._file, dumps(document))
            self._documents.append(document)
            self._by_id[document["_id"]] = document

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        if schema:
            try:
                from jsonschema_rs import validator_for
            except ImportError:
                raise Cannot("jsonschema-rs is not installed") from None
            valid = validator_for(schema).is_valid
            if not all(map(valid, documents)):
                raise ValueError("the documents do not satisfy the schema")
        file = os.open(self._directory / "batch.ndjson", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self._keep(file, b"\n".join(map(dumps, documents)))
        os.close(file)

    def delete(self, low: float, high: float) -> int:
        kept = [d for d in self._documents if not low <= d["amount"] < high]
        gone = [d["_id"] for d in self._documents if low <= d["amount"] < high]
        self._keep(self._file, dumps({"deleted": gone}))
        self._documents = kept
        for identity in gone:
            del self._by_id[identity]
        return len(gone)

    def close(self) -> None:
        os.close(self._file)


class Raw:
    """Nothing but ``write`` and ``fdatasync``: what the disk allows without sharing a sync."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "raw"

    def fill(self, documents: Sequence[Document]) -> None:
        self._path.touch()
        self.open()

    def open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def insert(self, document: Document) -> None:
        os.write(self._file, dumps(document) + b"\n")
        os.fdatasync(self._file)

    def update(self, code: str) -> None:
        self.insert({"code": code})

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes:
        raise Cannot("writes only")

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        raise Cannot("single writes only")

    def delete(self, low: float, high: float) -> int:
        raise Cannot("writes only")

    def close(self) -> None:
        os.close(self._file)
