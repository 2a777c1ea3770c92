"""The peers with pymongo's interface: MongoDB's filters as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.documents import Document
from benchmarks.peers import Cannot, dumps, lines, write_lines


class _Pymongo:
    """What the three have in common; ``_collections(name)`` is a collection of theirs."""

    _collection: Any

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _collections(self, name: str) -> Any:
        raise NotImplementedError

    def fill(self, documents: Sequence[Document]) -> None:
        self.open()
        self._collection.insert_many(documents)

    def open(self) -> None:
        self._collection = self._collections("films")

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes:
        projection = [find["projection"]] if "projection" in find else []
        cursor = self._collection.find(find["filter"], *projection)
        if "sort" in find:
            cursor = cursor.sort([*find["sort"].items()])
        if "limit" in find:
            cursor = cursor.limit(find["limit"])
        return dumps(list(cursor))

    def update(self, code: str) -> None:
        self._collection.update_one({"code": code}, {"$inc": {"votes": 1}})

    def insert(self, document: Document) -> None:
        self._collection.insert_one(document)

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        if schema:
            raise Cannot("no schemas")
        collection = self._collections("batch")
        collection.delete_many({})
        collection.insert_many(documents)

    def delete(self, low: float, high: float) -> int:
        return int(self._collection.delete_many({"amount": {"$gte": low, "$lt": high}}).deleted_count)

    def close(self) -> None:
        pass


class Mongomock(_Pymongo):
    """In memory alone: what it opens is a file of lines that was written for it."""

    def _collections(self, name: str) -> Any:
        import mongomock

        return mongomock.MongoClient()["bench"][name]

    def fill(self, documents: Sequence[Document]) -> None:
        write_lines(self._directory / "films.ndjson", documents)
        self.open()

    def open(self) -> None:
        super().open()
        self._collection.insert_many(lines(self._directory / "films.ndjson"))


class Mongita(_Pymongo):
    """A directory of its own."""

    def _collections(self, name: str) -> Any:
        from mongita import MongitaClientDisk

        return MongitaClientDisk(str(self._directory))["bench"][name]

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes:
        if "projection" in find:
            raise Cannot("no projections")
        if question == "prefix":
            raise Cannot("no regular expressions")
        return super().find(question, arguments, find)


class Neosqlite(_Pymongo):
    """A SQLite file."""

    def _collections(self, name: str) -> Any:
        return self._connection[name]

    def open(self) -> None:
        import neosqlite

        self._connection = neosqlite.Connection(str(self._directory / "neo.db"))
        super().open()

    def close(self) -> None:
        self._connection.close()
