"""Documents in memory alone: a store that touches no file, for mock servers and tests."""

from __future__ import annotations

from typing import Any

from connectome.schemas import Schema
from connectome.stores.embedded import EmbeddedCollection, LiveTable, MemoryLedger


class MemoryStore:
    """
    Collections that live as long as the process.

    Args:
        cache_bytes: As ``EmbeddedStore`` takes it.
    """

    name = "memory"
    place = "memory"
    shared = False

    def __init__(self, *, cache_bytes: int = 2**28) -> None:
        self._cache_bytes = cache_bytes
        self._ledgers: dict[str, MemoryLedger] = {}
        self._collections: dict[str, EmbeddedCollection] = {}

    def schema(self, source: Any) -> Schema:
        return Schema(source)

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> EmbeddedCollection:
        if new or name not in self._collections:
            table = LiveTable(
                None, too_long=lambda _: False, too_large=lambda *_: False, checkpoint_soon=lambda _: None
            )
            self._collections[name] = EmbeddedCollection(table, schema, cache_bytes=self._cache_bytes)
        return self._collections[name]

    def holds(self, name: str) -> bool:
        return False

    def drop(self, name: str) -> None:
        self._collections.pop(name, None)

    def ledger(self, name: str) -> MemoryLedger:
        return self._ledgers.setdefault(name, MemoryLedger(name))

    def close(self) -> None:
        pass
