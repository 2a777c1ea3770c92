"""Connectome's store without HTTP: the calls that the web layer makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.documents import Document
from connectome.query import Filter, Projection, Sort, Update
from connectome.schemas import Schema
from connectome.stores import Find, Modify, open_store


class Connectome:
    """A collection of the embedded store, as durable as it is by default."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fill(self, documents: Sequence[Document]) -> None:
        self._store = open_store(self._directory)
        self._collection = self._store.collection("films", None, new=True)
        for start in range(0, len(documents), 10_000):
            self._collection.insert_many(documents[start : start + 10_000])

    def open(self) -> None:
        self._store = open_store(self._directory)
        self._collection = self._store.collection("films", None)

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes:
        filter = Filter(find["filter"])
        projection = Projection(find.get("projection", {}), filter)
        asked = Find(filter, projection, Sort(find.get("sort", {})), limit=find.get("limit", 0))
        return b"[" + b",".join(self._collection.encoded(asked)) + b"]"

    def update(self, code: str) -> None:
        self._collection.update(Modify(Filter({"code": code}), Update({"$inc": {"votes": 1}})))

    def insert(self, document: Document) -> None:
        self._collection.insert_one(document)

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        self._store.drop("batch")
        collection = self._store.collection("batch", Schema(schema) if schema else None, new=True)
        collection.insert_many(documents)

    def delete(self, low: float, high: float) -> int:
        return self._collection.delete_many(Filter({"amount": {"$gte": low, "$lt": high}})).deleted

    def close(self) -> None:
        self._store.close()
