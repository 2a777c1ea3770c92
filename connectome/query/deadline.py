"""
How long a request may still take: one deadline in a context variable, set by whoever serves the request.

The language only asks.  Where nobody has set a deadline, each question is answered with ``DEFAULT_SECONDS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Final

from connectome.errors import QueryError

DEFAULT_SECONDS: Final = 10.0

_DEADLINE: Final[ContextVar[float | None]] = ContextVar("connectome_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give what runs inside this many seconds; a deadline around it that comes sooner stays."""
    ends = monotonic() + seconds
    outer = _DEADLINE.get()
    token = _DEADLINE.set(ends if outer is None else min(ends, outer))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def remaining() -> float:
    """
    The seconds that are left, always more than none.

    Raises:
        QueryError: ``MaxTimeMSExpired`` -- none are left.
    """
    ends = _DEADLINE.get()
    if ends is None:
        return DEFAULT_SECONDS
    seconds = ends - monotonic()
    if seconds <= 0:
        raise expired()
    return seconds


def check() -> None:
    """
    Do nothing while there is time.

    Raises:
        QueryError: ``MaxTimeMSExpired`` -- there is none left.
    """
    remaining()


def expired() -> QueryError:
    """The error for whatever is stopped by the clock; no place in the request is to blame."""
    return QueryError("the request took longer than it may", code="MaxTimeMSExpired", pointer=None)
