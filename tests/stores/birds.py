"""A collection of three birds, and how tests of stores speak of it."""

from __future__ import annotations

from typing import Any

from strategies import canonical

from connectome.query import Filter, Update
from connectome.schemas import Schema
from connectome.stores import Collection, Find, Modified, Modify, Store

BIRDS = [
    {"_id": "kestrel", "wings": 2, "eggs": [4, 5]},
    {"_id": "owl", "wings": 2, "eggs": [3]},
    {"_id": "wren", "wings": 2, "sings": {"well": True}},
]


def new_birds(store: Store) -> Collection:
    """The three, in a new collection."""
    collection = store.collection("birds", None, new=True)
    collection.insert_many(BIRDS)
    return collection


def reopened(store: Store, *, schema: Schema | None = None) -> Collection:
    """The birds as a fresh look finds them."""
    return store.collection("birds", schema)


def everything(collection: Collection) -> list[Any]:
    """All documents, in the order in which they come."""
    return list(collection.find(Find()))


def change(filter: Any, update: Any, **options: bool) -> Modify:
    """An update, compiled."""
    return Modify(Filter(filter), Update(update), **options)


def outcome(modified: Modified) -> tuple[int, int, Any]:
    """What an update says of itself."""
    return modified.matched, modified.modified, modified.upserted


def assert_identical(got: Any, expected: Any) -> None:
    """Equal down to the type of every number and the order of every field."""
    assert canonical(got) == canonical(expected)
