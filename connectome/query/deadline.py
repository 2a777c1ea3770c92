"""
How long a request may still take: one deadline in a context variable, set by whoever serves the request.

The language only asks.  Where nobody has set a deadline, each question is answered with ``DEFAULT_SECONDS``.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from typing import Final

from connectome.errors import QueryError

DEFAULT_SECONDS: Final = 10.0

_DEADLINE: Final[ContextVar[float | None]] = ContextVar("connectome_deadline", default=None)


class deadline:  # noqa: N801  # named like the context managers of the standard library
    """
    Give what runs inside this many seconds; a deadline around it that comes sooner stays.

    A class, since entering and leaving a generator takes a microsecond more.
    """

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        ends = monotonic() + self._seconds
        outer = _DEADLINE.get()
        self._token = _DEADLINE.set(ends if outer is None else min(ends, outer))

    def __exit__(self, *_: object) -> None:
        _DEADLINE.reset(self._token)


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
