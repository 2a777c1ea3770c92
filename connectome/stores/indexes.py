"""
What makes a selective question not look at everything: columns, and indexes over them.

A column holds the values of one path in one segment of documents, by position.  Its indexes are made when they are
first asked for, and never change: a write makes a new column where a value changed, and shares the old one where not.
An index never decides what a condition means: its keys are equal where ``sort_key`` says that values are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any, Final

from bson import Decimal128, Int64, ObjectId, Regex

from connectome.query import Value, sort_key
from connectome.query.generated import pattern_prefix
from connectome.query.paths import is_plain, parse_path
from connectome.query.tree import At, Condition, Every
from connectome.query.values import index_key, is_nan, rank

_NUMBERS: Final = frozenset({int, float, Int64})
_NUMBER: Final = rank(0)
_STRING: Final = rank("")
# Pseudo brackets, where BSON has none: an empty array sorts as undefined, NaN before all other numbers.
_EMPTY: Final = 0
_NAN: Final = 9
_LAST_BEFORE_SURROGATES: Final = 0xD7FF


class Column:
    """
    The values of one plain path, by position; a tuple where the path led through an array.

    kinds: the types of the values.
    """

    def __init__(self, values: Sequence[Value], kinds: frozenset[type] | None = None) -> None:
        self.kinds = frozenset(map(type, values)) if kinds is None else kinds
        self.values = _shared(values) if self.kinds == {str} else values

    def with_values(self, changed: Mapping[int, Value]) -> Column:
        """The column with other values at some positions; itself where they are the same."""
        old = self.values
        fresh = {position: value for position, value in changed.items() if not _is_same(old[position], value)}
        if not fresh:
            return self
        values = list(old)
        for position, value in fresh.items():
            values[position] = value
        # A type that is no more among the values costs a guard, no answer.
        return Column(values, self.kinds.union(map(type, fresh.values())))

    @property
    def holds_many(self) -> bool:
        """Whether at some position there is more than one value."""
        return not self.kinds.isdisjoint((list, tuple))

    @property
    def is_hashed(self) -> bool:
        """Whether the column has been asked for ``hashed``."""
        return "hashed" in self.__dict__

    @cached_property
    def hashed(self) -> Mapping[Any, Sequence[int]]:
        """Key → the positions at which a value, or an element of an array, has it, in order."""
        found: dict[Any, Any] = {}
        for position, value in enumerate(self.values):
            for key in (index_key(value),) if type(value) not in (list, tuple) else set(_keys(value)):
                positions = found.get(key)
                if positions is None:
                    found[key] = (position,)
                elif type(positions) is tuple:
                    found[key] = [*positions, position]
                else:
                    positions.append(position)
        return found

    @cached_property
    def ordered(self) -> Ordered:
        """The values, and the elements of arrays, in order."""
        return Ordered(self)

    @property
    def bytes(self) -> int:
        """About how much memory the column and its indexes take."""
        size = 8 * len(self.values)
        if self.is_hashed:
            size += 120 * len(self.hashed)
        if "ordered" in self.__dict__:
            size += 12 * len(self.values)
        return size


def _is_same(one: Value, other: Value) -> bool:
    return one is other or (type(one) is type(other) and type(one) in _SHARED and bool(one == other))


# Types of which two equal values are as good as one.
_SHARED: Final = frozenset({str, int, bool})


def _shared(texts: Sequence[str]) -> Sequence[str]:
    """The same texts; where few differ, equal ones are one object, which the processor's cache then holds."""
    distinct = dict(zip(texts, texts, strict=True))
    return texts if len(distinct) * 4 > len(texts) else [distinct[text] for text in texts]


def _keys(value: Value) -> Iterator[Any]:
    """The keys of a value that may be an array, or several values: each as a whole, and the elements of arrays."""
    if type(value) is tuple:
        for each in value:
            yield from _keys(each)
        return
    yield index_key(value)
    if type(value) is list:
        yield from map(index_key, value)


def _elements(value: Value) -> Iterator[Value]:
    """The values as which a value sorts: of an array its elements."""
    if type(value) is tuple:
        for each in value:
            yield from _elements(each)
    elif type(value) is list:
        yield from value
    else:
        yield value


class Ordered:
    """
    A column in order.

    brackets: bracket → the keys in order, and the position of each.
    """

    def __init__(self, column: Column) -> None:
        self.brackets: dict[int, tuple[Sequence[Any], Sequence[int]]] = {}
        values = column.values
        homogeneous = _homogeneous(column)
        if homogeneous is not None:
            order = sorted(range(len(values)), key=values.__getitem__)
            self.brackets[homogeneous] = [values[position] for position in order], array("H", order)
            return
        entries: dict[int, list[tuple[Any, int]]] = {}
        for position, value in enumerate(values):
            if type(value) is list and not value:
                entries.setdefault(_EMPTY, []).append((0, position))
            for element in _elements(value):
                bracket, key = placed(element)
                entries.setdefault(bracket, []).append((key, position))
        for bracket in sorted(entries):
            in_order = sorted(entries[bracket])
            self.brackets[bracket] = [key for key, _ in in_order], array("H", [position for _, position in in_order])

    def within(self, interval: Interval) -> Sequence[int]:
        """The positions of the keys in an interval, by key; one may come several times where there are arrays."""
        keys, positions = self.brackets.get(interval.bracket, ((), ()))
        start, stop = 0, len(keys)
        if interval.low is not None:
            start = (bisect_left if interval.low_included else bisect_right)(keys, interval.low)
        if interval.high is not None:
            stop = (bisect_right if interval.high_included else bisect_left)(keys, interval.high)
        return positions[start:stop]

    def walk(self, *, descending: bool) -> Iterator[tuple[tuple[int, Any], int]]:
        """All positions as a sort by the path has them, each once, ties in natural order; with bracket and key."""
        seen: set[int] = set()
        for bracket, (keys, positions) in list(self.brackets.items())[:: -1 if descending else 1]:
            for place in _ties_turned(keys) if descending else range(len(keys)):
                position = positions[place]
                if position not in seen:
                    seen.add(position)
                    yield (bracket, keys[place]), position


def _ties_turned(keys: Sequence[Any]) -> Iterator[int]:
    """The places of keys from the last to the first, of equal keys in natural order."""
    stop = len(keys)
    while stop:
        start = bisect_left(keys, keys[stop - 1], 0, stop)
        yield from range(start, stop)
        stop = start


def _homogeneous(column: Column) -> int | None:
    """The one bracket of numbers, or of strings, that all values are of as they are; else None."""
    if column.kinds <= {str}:
        return _STRING
    if column.kinds <= _NUMBERS and all(value == value for value in column.values):
        return _NUMBER
    return None


def placed(value: Value) -> tuple[int, Any]:
    """The bracket of a value that is no array, and its key in there: what ``Ordered`` puts it in order by."""
    if type(value) is str:
        return _STRING, value
    bracket = rank(value)
    if bracket == _NUMBER:
        return (_NAN, 0) if is_nan(value) else (_NUMBER, index_key(value))
    return bracket, sort_key(value)


@dataclass(frozen=True, slots=True)
class Interval:
    """Keys of one bracket between two bounds; None is no bound."""

    bracket: int
    low: Any = None
    high: Any = None
    low_included: bool = True
    high_included: bool = True


@dataclass(frozen=True, slots=True)
class Lookup:
    """
    What an index of one path can find.

    points: keys of which a value has one; intervals: in one of which a value lies.  One of the two is there.
    answers: the condition that is met by what is found, and only by that.
    narrower: an interval that takes in a second bound, and the condition that this bound is.  It is right where the
        path yields one value alone: of an array one element may meet one bound, and another the other.
    """

    path: str
    answers: Condition
    points: frozenset[Any] = frozenset()
    intervals: Sequence[Interval] = ()
    narrower: tuple[Interval, Condition] | None = None

    def found(self, column: Column) -> Sequence[int]:
        """The positions in a column at which ``answered`` is met, in order."""
        if not self.intervals:
            hashed = column.hashed
            if len(self.points) == 1:
                (key,) = self.points
                return hashed.get(key, ())
            return _united([hashed[key] for key in self.points if key in hashed])
        if column.holds_many:
            return _united([column.ordered.within(interval) for interval in self.intervals])
        if self.narrower:
            return sorted(column.ordered.within(self.narrower[0]))
        return sorted(chain.from_iterable(column.ordered.within(interval) for interval in self.intervals))

    def answered(self, column: Column) -> Sequence[Condition]:
        """The conditions that need not be looked at any more for what is found in a column."""
        return (self.answers, self.narrower[1]) if self.narrower and not column.holds_many else (self.answers,)


def _united(several: Sequence[Sequence[int]]) -> Sequence[int]:
    return sorted({position for positions in several for position in positions})


# What a range may ask for by an index: types of which the keys of a bracket are all that the comparison looks at.
_RANGED: Final = _NUMBERS | {str, bool, datetime, ObjectId, Decimal128}


def lookups(condition: Condition) -> list[Lookup]:
    """What indexes can find of a condition, the likely most selective first: equalities, then intervals."""
    leaves = [each for each in conjunction(condition) if isinstance(each, At) and is_plain(parse_path(each.path))]
    found = [lookup for leaf in leaves if (lookup := points(leaf))]
    bounds = [(leaf, interval) for leaf in leaves if (interval := _bound(leaf))]
    for position, (leaf, interval) in enumerate(bounds):
        both = [
            (intersection, other)
            for other, second in bounds[position + 1 :]
            if other.path == leaf.path and (intersection := _intersection(interval, second))
        ]
        found.append(Lookup(leaf.path, leaf, intervals=(interval,), narrower=both[0] if both else None))
    return found + [lookup for leaf in leaves if (lookup := _prefix(leaf))]


def conjunction(condition: Condition) -> Iterator[Condition]:
    """The conditions that all must be met, as far apart as they can be taken."""
    if isinstance(condition, Every):
        for each in condition.of:
            yield from conjunction(each)
    else:
        yield condition


def points(at: At) -> Lookup | None:
    """What an index finds for an equality; None for any other condition."""
    leaf = at.leaf
    if leaf.name == "$eq" and type(leaf.operand) is not Regex:
        return Lookup(at.path, at, points=frozenset({index_key(leaf.operand)}))
    if leaf.name == "$in" and not any(type(choice) is Regex for choice in leaf.operand):
        return Lookup(at.path, at, points=frozenset(map(index_key, leaf.operand)))
    return None


def _prefix(at: At) -> Lookup | None:
    leaf = at.leaf
    prefix = pattern_prefix(leaf.operand) if leaf.name == "$regex" else None
    if prefix is None or ord(prefix[-1]) >= _LAST_BEFORE_SURROGATES:
        return None
    # Up to the first text behind all that begin with the prefix; and the same expression, kept as a value.
    texts = Interval(_STRING, low=prefix, high=prefix[:-1] + chr(ord(prefix[-1]) + 1), high_included=False)
    bracket, key = placed(leaf.operand if type(leaf.operand) is Regex else Regex(leaf.operand))
    return Lookup(at.path, at, intervals=(texts, Interval(bracket, low=key, high=key)))


def _bound(at: At) -> Interval | None:
    leaf = at.leaf
    if leaf.name not in ("$gt", "$gte", "$lt", "$lte") or type(leaf.operand) not in _RANGED or is_nan(leaf.operand):
        return None
    bracket, key = placed(leaf.operand)
    included = leaf.name.endswith("e")
    if leaf.name.startswith("$gt"):
        return Interval(bracket, low=key, low_included=included)
    return Interval(bracket, high=key, high_included=included)


def _intersection(one: Interval, other: Interval) -> Interval | None:
    """What lies in a lower and an upper bound; None where these are not one of each."""
    if one.bracket != other.bracket or None not in (one.low, other.low) or None not in (one.high, other.high):
        return None
    low = one if one.low is not None else other
    high = one if one.high is not None else other
    return Interval(one.bracket, low.low, high.high, low.low_included, high.high_included)


class Paths:
    """
    Which paths of a collection are asked for, and how often: what decides where columns and indexes are worth it.

    Args:
        worth: A collection of fewer documents than this is always looked through.
        budget_bytes: How much memory columns and indexes may take; those that were not asked for longest go first.
    """

    def __init__(self, *, worth: int = 256, budget_bytes: int = 2**28) -> None:
        self.worth = worth
        self.budget_bytes = budget_bytes
        self.pinned: frozenset[str] = frozenset()
        # Path → how often it was asked for; the one that was asked for last is last.
        self._uses: dict[str, int] = {}
        self._indexed: dict[str, None] = {}

    def ask(self, paths: Iterable[str]) -> None:
        """Count a question about these paths."""
        for path in paths:
            # Out and in again: the order is that of the last use.
            self._uses[path] = self._uses.pop(path, 0) + 1
        if len(self._uses) > _MOST_PATHS:
            # A path that had a column keeps its place: trimming finds it by this.
            for path in [path for path, uses in list(self._uses.items()) if uses == 1][: _MOST_PATHS // 2]:
                self._uses.pop(path, None)

    def has_column(self, path: str) -> bool:
        """Whether a path is asked for often enough for its values to be kept by position."""
        return self._uses.get(path, 0) > 1 or path in self.pinned

    def is_indexed(self, path: str) -> bool:
        """Whether there is an index of a path."""
        return path in self._indexed or path in self.pinned

    def index(self, path: str) -> None:
        """There is an index of a path from now on."""
        self._indexed[path] = None

    def forget(self, path: str) -> None:
        """A path is as if it had never been asked for."""
        self._uses.pop(path, None)
        self._indexed.pop(path, None)

    def uses(self, path: str) -> int:
        """How often a path was asked for."""
        return self._uses.get(path, 0)

    @property
    def oldest_first(self) -> Sequence[str]:
        """All paths, the one that was not asked for longest first."""
        return list(self._uses)


_MOST_PATHS: Final = 1_000
