"""
The time, and the identities that are made where a document has none: what no two runs share.

Whoever has to have them the same in every run, such as a mock server, rules over them for the length of a ``with``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Protocol

from bson import ObjectId


class Clock(Protocol):
    """What says the time, and makes identities, in place of the machine."""

    def now(self) -> datetime:
        """The time, in UTC."""

    def new_id(self) -> str:
        """An identity that was never given before, of 24 hexadecimal digits."""


_ruling: Final[ContextVar[Clock | None]] = ContextVar("connectome.clock", default=None)


def now() -> datetime:
    """The time, in UTC."""
    clock = _ruling.get()
    return datetime.now(UTC) if clock is None else clock.now()


def seconds() -> float:
    """The time in seconds since 1970."""
    clock = _ruling.get()
    return time.time() if clock is None else clock.now().timestamp()


def new_id() -> str:
    """A fresh identity, of 24 hexadecimal digits."""
    clock = _ruling.get()
    return str(ObjectId()) if clock is None else clock.new_id()


@contextmanager
def ruled_by(clock: Clock) -> Iterator[None]:
    """Have this clock asked, by this thread, inside."""
    token = _ruling.set(clock)
    try:
        yield
    finally:
        _ruling.reset(token)
