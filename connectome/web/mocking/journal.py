"""Which requests a mock server was sent, and what became of them: documents, so that they can be asked like any."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs

from connectome import extjson
from connectome.errors import InvalidJSON
from connectome.query import Document

MAX_REQUESTS: Final = 10_000
# A larger body is not kept; 10 000 requests shall not fill a machine.
MAX_BODY_BYTES: Final = 64 * 1024
# What a browser sends for its user, and nobody needs in order to test a client.
_LEFT_OUT: Final = ("cookie",)


class Journal:
    """The last requests to the operations of one workspace, and those that led nowhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Document] = deque(maxlen=MAX_REQUESTS)
        self._last = 0

    def add(self, entry: Document) -> None:
        """Keep one request."""
        with self._lock:
            self._last += 1
            self._entries.append({"_id": self._last, **entry})

    def entries(self) -> list[Document]:
        """The requests that are still known, the oldest first."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()


def entry(
    *,
    at: datetime,
    method: str,
    path: str,
    operation: str | None,
    collection: str | None,
    query_string: str,
    headers: Iterable[tuple[str, str]],
    body: Any,
    status: int | None,
    fault: str | None,
    delay: int,
) -> Document:
    """
    One request as a document.

    Args:
        operation, collection: None where it names none.
        body: As ``readable`` has it.
        status: None where no answer was given.
        fault: What went wrong on purpose.
        delay: Milliseconds that it was made to wait.
    """
    parameters = {name: given[-1] for name, given in parse_qs(query_string, keep_blank_values=True).items()}
    return {
        "at": at,
        "method": method,
        "path": path,
        "operation": operation,
        "collection": collection,
        "parameters": parameters,
        "headers": {name: value for name, value in headers if name not in _LEFT_OUT},
        "body": body,
        "status": status,
        "fault": fault,
        "delay": delay,
    }


def readable(body: bytes | None) -> Any:
    """A body as the value that it stands for; as text where it is no JSON; None where there is none."""
    if not body:
        return None
    try:
        return extjson.loads(body)
    except InvalidJSON:
        return body.decode(errors="replace")
