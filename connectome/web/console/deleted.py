"""What was deleted lately, so that it can be had back.  In memory, and only a little of it; no HTTP here."""

from __future__ import annotations

import secrets
import threading
from typing import Final

from connectome.query import Document

MAX_KEPT: Final = 50


class Bin:
    """The documents that were deleted last, each under a name of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], Document] = {}

    def keep(self, collection: str, document: Document) -> str:
        """Keep a document of a collection; the name under which it can be taken back."""
        name = secrets.token_urlsafe(9)
        with self._lock:
            self._kept[collection, name] = document
            while len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
        return name

    def get(self, collection: str, name: str) -> Document | None:
        """The document of this name, where it is still kept."""
        with self._lock:
            return self._kept.get((collection, name))

    def drop(self, collection: str, name: str) -> None:
        """Forget a document: it was taken back."""
        with self._lock:
            self._kept.pop((collection, name), None)
