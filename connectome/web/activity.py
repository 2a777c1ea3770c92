"""
What the operations of collections did lately: in memory, of bounded size, cheap to keep.  No HTTP, no credentials here.

Counts and latencies are kept by the minute for an hour; the last requests and the slowest queries one by one.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from connectome.query import clock

MINUTES: Final = 60
MAX_RECENT: Final = 200
MAX_SHAPES: Final = 100
SLOW_SECONDS: Final = 0.01
# Latencies fall into steps of 2 ** (1 / 4), from 10 µs on: a percentile is right to within 10 %.
_FIRST_SECONDS: Final = 1e-5
_STEPS_PER_DOUBLING: Final = 4
_BOUNDS: Final = [_FIRST_SECONDS * 2 ** (step / _STEPS_PER_DOUBLING) for step in range(100)]
_BUCKETS: Final = range(3 * _STEPS_PER_DOUBLING, 21 * _STEPS_PER_DOUBLING + 1, _STEPS_PER_DOUBLING)
_MAX_SHAPE_DEPTH: Final = 6
_MAX_SHAPE_KEYS: Final = 12


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request: ``at`` in seconds since 1970; ``collection`` is empty where it named none that is there."""

    at: float
    operation: str
    collection: str
    status: int
    seconds: float


@dataclass(slots=True)
class Slow:
    """What queries of one shape took: the sum and the longest in seconds, and when the last of them came."""

    operation: str
    collection: str
    shape: str
    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    last: float = 0.0


@dataclass(slots=True)
class Tally:
    """Requests counted: by their status, and by the step of their latency; and what they took, in seconds."""

    statuses: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Count in what another has counted."""
        for mine, theirs in ((self.statuses, other.statuses), (self.steps, other.steps)):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        self.seconds += other.seconds

    @property
    def classes(self) -> dict[int, int]:
        """By the first digit of their status."""
        found: dict[int, int] = {}
        for status, count in self.statuses.items():
            found[status // 100] = found.get(status // 100, 0) + count
        return found

    @property
    def buckets(self) -> list[tuple[float, int]]:
        """How many requests took so many seconds, or fewer: from 80 µs on, each bound the double of the last."""
        return [
            (_BOUNDS[bound], sum(count for step, count in self.steps.items() if step <= bound)) for bound in _BUCKETS
        ]

    @property
    def count(self) -> int:
        """How many requests there were."""
        return sum(self.statuses.values())

    def percentile(self, share: float) -> float:
        """The seconds within which this share of the requests was answered; 0.0 where there were none."""
        wanted, seen = share * self.count, 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= wanted:
                # The middle of the step.
                return float(_FIRST_SECONDS * 2 ** ((step - 0.5) / _STEPS_PER_DOUBLING))
        return 0.0


class Activity:
    """
    The requests of one server.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = clock.seconds) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # minute since 1970 → (collection, operation) → tally
        self._minutes: dict[int, dict[tuple[str, str], Tally]] = {}
        self._minute, self._current = -1, dict[tuple[str, str], Tally]()
        # What was counted in minutes that are forgotten, by operation; and, by method and route, what is none.
        self._before: dict[str, Tally] = {}
        self._routes: dict[tuple[str, str], Tally] = {}
        # What a Recorded is made of, once somebody looks.
        self._recent: deque[tuple[float, str, str, int, float]] = deque(maxlen=MAX_RECENT)
        self._slow: dict[tuple[str, str, str], Slow] = {}

    def record(self, operation: str, collection: str, status: int, seconds: float, query: Any = None) -> None:
        """
        Keep that a request was answered.

        Args:
            operation, collection: Names that exist, or "": nothing that a stranger made up is kept.
            query: The filter of the request, where it has one: of a slow one its shape is kept, never a value.
        """
        now = self._clock()
        step = bisect_left(_BOUNDS, seconds)
        slow = shape_of(query) if seconds >= SLOW_SECONDS and query is not None else None
        minute = int(now // 60)
        with self._lock:
            if minute != self._minute:
                self._turn(minute)
            tally = self._current.get((collection, operation))
            if tally is None:
                tally = self._current[collection, operation] = Tally()
            statuses, steps = tally.statuses, tally.steps
            statuses[status] = statuses.get(status, 0) + 1
            steps[step] = steps.get(step, 0) + 1
            tally.seconds += seconds
            self._recent.append((now, operation, collection, status, seconds))
            if slow is not None:
                self._note(operation, collection, slow, seconds, now)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request for what is no operation: by the template of its route, "" where there is none."""
        one = Tally({status: 1}, {bisect_left(_BOUNDS, seconds): 1}, seconds)
        with self._lock:
            self._routes.setdefault((method, route), Tally()).add(one)

    def totals(self) -> tuple[dict[str, Tally], dict[tuple[str, str], Tally]]:
        """Everything since the start: by operation; and, by method and route, what is none."""
        operations: dict[str, Tally] = {}
        routes: dict[tuple[str, str], Tally] = {}
        with self._lock:
            kept = ((name, each) for tallies in self._minutes.values() for (_, name), each in tallies.items())
            for operation, tally in chain(self._before.items(), kept):
                operations.setdefault(operation, Tally()).add(tally)
            for route, tally in self._routes.items():
                routes.setdefault(route, Tally()).add(tally)
        return operations, routes

    def _turn(self, minute: int) -> None:
        """Begin a minute, and forget what is older than an hour; a clock that was set back begins none twice."""
        for old in [each for each in self._minutes if each <= minute - MINUTES]:
            for (_, operation), tally in self._minutes.pop(old).items():
                self._before.setdefault(operation, Tally()).add(tally)
        self._minute, self._current = minute, self._minutes.setdefault(minute, {})

    def _note(self, operation: str, collection: str, shape: str, seconds: float, now: float) -> None:
        key = (operation, collection, shape)
        if key not in self._slow and len(self._slow) >= MAX_SHAPES:
            del self._slow[min(self._slow, key=lambda each: self._slow[each].longest)]
        noted = self._slow.setdefault(key, Slow(operation, collection, shape))
        noted.count += 1
        noted.total += seconds
        noted.longest = max(noted.longest, seconds)
        noted.last = now

    def minutes(self, collection: str | None = None) -> list[tuple[int, Tally]]:
        """
        The last hour minute by minute, the current one last.

        Args:
            collection: The only one that counts; None for all.

        Returns:
            Of each minute its start, in seconds since 1970, and its tally.
        """
        current = int(self._clock() // 60)
        with self._lock:
            return [
                (minute * 60, _sum(tally for name, tally in self._of(minute, collection)))
                for minute in range(current - MINUTES + 1, current + 1)
            ]

    def operations(self, collection: str | None = None) -> Mapping[str, Tally]:
        """The last hour by operation, in the order of their names."""
        found: dict[str, Tally] = {}
        oldest = int(self._clock() // 60) - MINUTES
        with self._lock:
            for minute in self._minutes:
                if minute > oldest:
                    for operation, tally in self._of(minute, collection):
                        found.setdefault(operation, Tally()).add(tally)
        return dict(sorted(found.items()))

    def _of(self, minute: int, collection: str | None) -> Iterator[tuple[str, Tally]]:
        for (name, operation), tally in self._minutes.get(minute, {}).items():
            if collection is None or name == collection:
                yield operation, tally

    def recent(self, collection: str | None = None) -> list[Recorded]:
        """The last requests that are still known, the latest first."""
        with self._lock:
            last = [*reversed(self._recent)]
        return [Recorded(*each) for each in last if collection is None or each[2] == collection]

    def slow(self, collection: str | None = None) -> list[Slow]:
        """The shapes of queries that took ``SLOW_SECONDS`` or longer, the slowest first."""
        with self._lock:
            found = [each for each in self._slow.values() if collection is None or each.collection == collection]
        return sorted(found, key=lambda each: -each.longest)


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for each in tallies:
        total.add(each)
    return total


def shape_of(query: Any, depth: int = 0) -> str:
    """
    A filter with ``?`` for every value: ``{year: {$gt: ?}, $or: [{a: ?}, …]}``.

    Of an array that holds filters the first is shown; what goes beyond 12 keys or 6 levels is ``…``.
    """
    if type(query) is dict:
        if depth == _MAX_SHAPE_DEPTH:
            return "{…}"
        shown = [
            f"{str(key)[:64]}: {shape_of(value, depth + 1)}" for key, value in list(query.items())[:_MAX_SHAPE_KEYS]
        ]
        return "{" + ", ".join(shown + ["…"] * (len(query) > _MAX_SHAPE_KEYS)) + "}"
    if type(query) is list and query and type(query[0]) is dict and depth < _MAX_SHAPE_DEPTH:
        return "[" + shape_of(query[0], depth + 1) + (", …]" if len(query) > 1 else "]")
    return "[?]" if type(query) is list else "?"
