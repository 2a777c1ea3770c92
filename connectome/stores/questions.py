"""
How a question is answered over rows: by ``_id``, by an index, by columns, or by looking at every document.

Each way finds the same documents; which one is taken depends on what was asked before.  The first question about a
path looks at every document; from the second on its values are kept in a column, and an index is made where one can
help: one new index a question at most, so that no single question pays for many.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice
from typing import Any, Final, TypeVar

from bson import Regex

from connectome.query import Document, Filter, Sort, Value
from connectome.query.deadline import check
from connectome.query.generated import ColumnScan, Scan, document_scan
from connectome.query.paths import is_plain, parse_path
from connectome.query.tree import At, Condition, Every, Not, Some, every
from connectome.stores.base import Find
from connectome.stores.indexes import Lookup, Ordered, Paths, conjunction, lookups, points
from connectome.stores.rows import Rows, Segment, answers, picked

_T = TypeVar("_T")

# Operators whose values are found without a look at each, but for regular expressions.
_LOOKED_UP: Final = ("$in", "$nin")

# Some documents of a segment, by position, in order.
Part = tuple[Segment, Sequence[int]]

# Of more than this part of a collection an index gains nothing over a column.
_SELECTIVE: Final = 0.1
# A scan lets other threads in this often, and for about as long as one of them needs to wake up.
_SLICE_SECONDS: Final = 0.005
_PAUSE_SECONDS: Final = 0.00005
# A scan looks at the clock once for so many names and elements of its filter, times documents: at a microsecond each,
# and ten where a path leads through arrays.
_WEIGHED: Final = 20_000
# So many documents are asked, or columns made, between two looks, where nothing says what each of them costs.
_AT_A_TIME: Final = 64
# So many documents are decoded, or made texts, at a time, of an answer that is sent as it is made.
_SLICE: Final = 128
# A walk along an index is the better way where it is to find no more than one in so many documents.
_WALKED: Final = 8
# One in so many documents it may look at in vain, before a scan is the better way after all.
_PATIENCE: Final = 200
# What a walk takes for a document, beside what it takes to sort one that an index has found.
_STEP: Final = 6


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What was found, and how.

    parts: the documents, in natural order.
    stage, path: as ``Explanation`` has them.
    examined: how many documents were looked at.
    order: which of the documents, counted through all parts, in which order; None for all of them as they are.
    """

    parts: Sequence[Part]
    stage: str
    path: str | None
    examined: int
    order: Sequence[int] | None = None

    def __len__(self) -> int:
        return sum(len(positions) for _, positions in self.parts) if self.order is None else len(self.order)

    def numbered(self) -> Iterator[tuple[int, Document]]:
        """The number and the document of each, in natural order."""
        for segment, positions in self.parts:
            yield from zip(picked(segment.numbers, positions), segment.documents_at(positions), strict=True)

    def identities(self) -> dict[int, Value]:
        """The number of each, with its ``_id``."""
        numbers = [number for segment, positions in self.parts for number in picked(segment.numbers, positions)]
        return dict(zip(numbers, replace(self, order=None).values("_id"), strict=True))

    def documents(self) -> list[Document]:
        """The documents."""
        return self._each(Segment.documents_at)

    def each(self, fields: Collection[str] | None = None) -> Iterator[Document]:
        """
        The documents, one by one: not all of them are decoded at the same time.

        Args:
            fields: Of the members those that will be read; None for all, in their order.
        """
        if fields is None or self.order is not None:
            for segment, positions in self._in_slices():
                yield from segment.documents_at(positions)
        else:
            names = tuple(sorted(fields or ("_id",)))
            for segment, positions in self._in_slices():
                yield from segment.members_at(names, positions)

    def texts(self, cut: Callable[[bytes], bytes] | None = None) -> Iterator[bytes]:
        """The documents as relaxed JSON, one by one; ``cut`` as ``rows.answers`` has it."""
        if self.order is not None:
            # What is stored is there already, and need not be made for each.
            stored = self._each(Segment.texts_at)
            slices = (stored[start : start + _SLICE] for start in range(0, len(stored), _SLICE))
            return chain.from_iterable(answers(texts, cut) for texts in slices)
        if len(self.parts) == 1 and len(self.parts[0][1]) == 1:  # as it is by _id, where a generator is felt
            segment, positions = self.parts[0]
            return iter(answers(segment.texts_at(positions), cut))
        # A chain takes no step of Python for each text.
        return chain.from_iterable(
            answers(segment.texts_at(positions), cut) for segment, positions in self._in_slices()
        )

    def _in_slices(self) -> Iterator[Part]:
        """The documents in their order, some at a time."""
        if self.order is None:
            for segment, positions in self.parts:
                if len(positions) <= _SLICE:
                    yield segment, positions
                else:
                    for start in range(0, len(positions), _SLICE):
                        yield segment, positions[start : start + _SLICE]
            return
        ends = list(accumulate(len(positions) for _, positions in self.parts))
        for place in self.order:
            index = bisect_right(ends, place)
            segment, positions = self.parts[index]
            yield segment, (positions[place - ends[index]],)

    def values(self, path: str) -> list[Value]:
        """What a plain path yields in each."""
        return self._each(lambda segment, positions: segment.values_at(path, positions))

    def _each(self, of: Callable[[Segment, Sequence[int]], Sequence[_T]]) -> list[_T]:
        if self.order is None:
            return [each for segment, positions in self.parts for each in of(segment, positions)]
        ends = list(accumulate(len(positions) for _, positions in self.parts))
        if ends and len(self.order) * 4 < ends[-1]:
            return [each for segment, positions in self._in_slices() for each in of(segment, positions)]
        everything = [each for segment, positions in self.parts for each in of(segment, positions)]
        return [everything[place] for place in self.order]


def answer(rows: Rows, find: Find, paths: Paths, numbers: Sequence[int] | None = None) -> Selection:
    """
    The documents that a question asks for, in its order; not projected yet.

    Args:
        numbers: Those of the documents whose ``_id`` is one that the filter demands; None where it demands none.
    """
    sort, stop = find.sort, find.skip + find.limit if find.limit else 0
    if not (sort.source or find.filter.distance):
        found = select(rows, find.filter, paths, numbers=numbers, stop=stop)
        return replace(found, parts=_without_first(found.parts, find.skip)) if find.skip else found
    walked = _walked(rows, find.filter, sort, paths, stop) if numbers is None else None
    found = select(rows, find.filter, paths, numbers=numbers) if walked is None else walked
    order: Sequence[int] = range(len(found))
    if distance := find.filter.distance:
        distances = list(map(distance, found.documents()))
        order = sorted(order, key=distances.__getitem__)
    if sort.natural:
        order = order[:: sort.natural]
    elif sort.fields:
        order = _in_order(replace(found, order=order), sort, stop)
    return replace(found, order=order[find.skip : stop or None])


def _in_order(found: Selection, sort: Sort, stop: int) -> Sequence[int]:
    """What was found as a sort has it; of equal documents that comes first which came first."""
    order = None
    if all(is_plain(path) for path, _ in sort.fields):
        order = sort.order([found.values(".".join(path)) for path, _ in sort.fields], limit=stop)
    if order is None:
        documents = found.documents()
        # By the object: equal documents are two.
        place = {id(document): position for position, document in enumerate(documents)}
        order = [place[id(document)] for document in sort(documents, limit=stop)]
    before = found.order
    return order if before is None or type(before) is range else [before[position] for position in order]


def _without_first(parts: Sequence[Part], skip: int) -> list[Part]:
    left: list[Part] = []
    for segment, positions in parts:
        if len(positions) > skip:
            left.append((segment, positions[skip:]))
        skip = max(skip - len(positions), 0)
    return left


def demanded_identities(filter: Filter) -> frozenset[Any] | None:
    """The keys of which the ``_id`` of a document has one if it matches; None where the filter does not say."""
    for condition in conjunction(filter.condition):
        if isinstance(condition, At) and condition.path == "_id" and (lookup := points(condition)):
            return lookup.points
    return None


def select(
    rows: Rows, filter: Filter, paths: Paths, *, numbers: Sequence[int] | None = None, stop: int = 0
) -> Selection:
    """
    The documents that match a filter, in natural order.

    Args:
        numbers: As ``answer`` has them.
        stop: How many of them are enough, the first ones; 0 for all.
    """
    condition = filter.condition
    if numbers is not None:
        return _numbered(rows, filter, numbers, stop)
    if isinstance(condition, Every) and not condition.of:
        return _scanned(rows, lambda segment: segment.positions(), stop)
    if len(rows) >= paths.worth:
        asked = _plain_paths(condition)
        paths.ask(asked)
        if (by_index := _by_index(rows, condition, paths, stop)) is not None:
            return by_index
        # What is kept as text gives a column at less than a tenth of what decoding it would take.
        if asked and (not rows.is_decoded or all(map(paths.has_column, asked))):
            in_columns = _in_columns(condition)

            def found_in(segment: Segment) -> Sequence[int]:
                _prepare(segment, list(asked))
                return in_columns(segment, _undeleted(segment))

            return _scanned(rows, found_in, stop)
    scan = document_scan(condition, len(rows))
    at_a_time = max(_WEIGHED // _weight(filter.source), 1)
    return _scanned(rows, lambda segment: _in_documents(scan, segment, at_a_time), stop)


def _weight(source: Document) -> int:
    """How many names and elements a filter has, and 1 at the least; values that are looked up in one go are none."""
    weight, waiting = 1, [source]
    while waiting:
        part: Any = waiting.pop()
        weight += len(part)
        if type(part) is dict:
            for name, inner in part.items():
                if name in _LOOKED_UP and type(inner) is list:
                    weight += sum(type(each) is Regex for each in inner)
                elif type(inner) in (dict, list):
                    waiting.append(inner)
        else:
            waiting += [inner for inner in part if type(inner) in (dict, list)]
    return weight


def _prepare(segment: Segment, asked: Sequence[str]) -> None:
    for start in range(0, len(asked), _AT_A_TIME):
        check()
        segment.prepare(asked[start : start + _AT_A_TIME])


def _numbered(rows: Rows, filter: Filter, numbers: Sequence[int], stop: int) -> Selection:
    parts: list[Part] = []
    for number in sorted(numbers):
        check()
        if place := rows.place(number):
            segment = rows.segments[place[0]]
            # Where the filter asks for nothing but the _id, that has been found.
            if type(filter.condition) is At or filter.matches(segment.documents_at((place[1],))[0]):
                parts.append((segment, (place[1],)))
    return Selection(parts[:stop] if stop else parts, "IDHACK", "_id", len(numbers))


def _scanned(rows: Rows, found_in: Callable[[Segment], Sequence[int]], stop: int) -> Selection:
    parts: list[Part] = []
    examined = found = 0
    breathe = time.monotonic() + _SLICE_SECONDS
    for segment in rows.segments:
        check()
        positions = found_in(segment)
        examined += len(segment)
        if positions:
            parts.append((segment, positions))
            found += len(positions)
            if stop and found >= stop:
                parts[-1] = segment, positions[: len(positions) - (found - stop)]
                break
        if time.monotonic() > breathe:
            time.sleep(_PAUSE_SECONDS)
            breathe = time.monotonic() + _SLICE_SECONDS
    return Selection(parts, "COLLSCAN", None, examined)


def _undeleted(segment: Segment) -> Sequence[int] | None:
    """The positions to look at; None for all."""
    return segment.positions() if segment.deleted else None


def _in_documents(scan: Scan, segment: Segment, at_a_time: int) -> Sequence[int]:
    if not segment.deleted:
        return _in_slices(scan, segment.documents, at_a_time)
    there = segment.positions()
    return [there[position] for position in _in_slices(scan, segment.documents_at(there), at_a_time)]


def _in_slices(scan: Scan, documents: Sequence[Document], at_a_time: int) -> list[int]:
    """The positions that a scan finds in documents, of which it is given so many between two looks at the clock."""
    if len(documents) <= at_a_time:
        return scan(documents)
    positions: list[int] = []
    for start in range(0, len(documents), at_a_time):
        check()
        positions += [start + position for position in scan(documents[start : start + at_a_time])]
    return positions


def _plain_paths(condition: Condition) -> set[str]:
    """The plain paths that a condition is about."""
    match condition:
        case Every(of=conditions) | Some(of=conditions):
            return set().union(*map(_plain_paths, conditions))
        case Not(of=inner):
            return _plain_paths(inner)
        case At(path=path):
            return {path} if is_plain(parse_path(path)) else set()
    return set()


# Of a segment the positions, out of those given or out of all, at which a condition is met.
_InColumns = Callable[[Segment, Sequence[int] | None], Sequence[int]]


def _in_columns(condition: Condition) -> _InColumns:
    """What finds a condition by columns; what is not about a plain path it asks of the documents that are left."""
    match condition:
        case At(path=path) as at if is_plain(parse_path(path)):
            return _leaf_in_column(at)
        case Every(of=conditions) if conditions:
            parted: tuple[list[_InColumns], list[_InColumns]] = ([], [])
            for each in conjunction(condition):
                parted[not _is_in_columns(each)].append(_in_columns(each))
            return _narrowing(*parted)
        case Some(of=conditions):
            return _uniting([_in_columns(each) for each in conditions])
        case Not(of=inner):
            return _turned(_in_columns(inner))
    matches = condition.predicate

    def found(segment: Segment, within: Sequence[int] | None) -> Sequence[int]:
        places = range(len(segment.numbers)) if within is None else within
        documents = segment.documents_at(places)
        met: list[int] = []
        for start in range(0, len(places), _AT_A_TIME):
            check()
            some = slice(start, start + _AT_A_TIME)
            met += [each for each, document in zip(places[some], documents[some], strict=True) if matches(document)]
        return met

    return found


def _leaf_in_column(at: At) -> _InColumns:
    scan, lookup = ColumnScan(at.leaf), points(at)
    at_a_time = max(_WEIGHED // _weight({at.leaf.name: at.leaf.operand}), 1)

    def met(segment: Segment, within: Sequence[int] | None) -> Sequence[int]:
        check()
        column = segment.column(at.path)
        if lookup and column.is_hashed:
            looked_up = lookup.found(column)
            return looked_up if within is None else sorted(set(looked_up).intersection(within))
        places = range(len(column.values)) if within is None else within
        if len(places) <= at_a_time:
            return scan(column.values, column.kinds, within)
        found: list[int] = []
        for start in range(0, len(places), at_a_time):
            check()
            found += scan(column.values, column.kinds, places[start : start + at_a_time])
        return found

    return met


def _is_in_columns(condition: Condition) -> bool:
    """Whether columns alone say if a condition is met."""
    match condition:
        case At(path=path):
            return is_plain(parse_path(path))
        case Every(of=conditions) | Some(of=conditions):
            return all(map(_is_in_columns, conditions))
        case Not(of=inner):
            return _is_in_columns(inner)
    return False


def _narrowing(in_columns: Sequence[_InColumns], others: Sequence[_InColumns]) -> _InColumns:
    """All of several conditions: those in columns first, in the order in which they narrow the first segment most."""
    ordered: list[_InColumns] = []

    def found(segment: Segment, within: Sequence[int] | None) -> Sequence[int]:
        if not ordered:
            ordered.extend(sorted(in_columns, key=lambda arm: len(arm(segment, within))))
            ordered.extend(others)
        for arm in ordered:
            within = arm(segment, within)
            if not within:
                break
        # Where nothing is asked for, everything is found.
        return range(len(segment.numbers)) if within is None else within

    return found


def _uniting(each: Sequence[_InColumns]) -> _InColumns:
    def found(segment: Segment, within: Sequence[int] | None) -> Sequence[int]:
        return sorted(set().union(*(arm(segment, within) for arm in each)))

    return found


def _turned(inner: _InColumns) -> _InColumns:
    def found(segment: Segment, within: Sequence[int] | None) -> Sequence[int]:
        met = set(inner(segment, within))
        return [
            position for position in (range(len(segment.numbers)) if within is None else within) if position not in met
        ]

    return found


def _by_index(rows: Rows, condition: Condition, paths: Paths, stop: int) -> Selection | None:
    """The answer by the best index there is, or by one that is made for it; None where none is selective."""
    possible = lookups(condition)
    most = len(rows) * _SELECTIVE
    best: tuple[Lookup, list[Sequence[int]], int] | None = None
    for lookup in possible:
        if paths.is_indexed(lookup.path):
            best = _better(best, _looked_up(rows, lookup, most))
            if best and best[2] <= most / 10:
                break
    if best is None:
        fresh = next(
            (each for each in possible if paths.has_column(each.path) and not paths.is_indexed(each.path)), None
        )
        if fresh:
            paths.index(fresh.path)
            best = _looked_up(rows, fresh, most)
    if best is None:
        return None
    lookup, found, examined = best
    parts: list[Part] = []
    count = 0
    rests: dict[int, _InColumns | None] = {}
    for segment, positions in zip(rows.segments, found, strict=True):
        if positions and (positions := segment.live(positions)):
            answered = lookup.answered(segment.column(lookup.path))
            if len(answered) not in rests:
                left = [each for each in conjunction(condition) if each not in answered]
                rests[len(answered)] = _in_columns(every(left)) if left else None
            if rest := rests[len(answered)]:
                check()
                positions = rest(segment, positions)
            if positions:
                parts.append((segment, positions))
                count += len(positions)
                if stop and count >= stop:
                    parts[-1] = segment, positions[: len(positions) - (count - stop)]
                    break
    return Selection(parts, "IXSCAN", lookup.path, examined)


_Candidate = tuple[Lookup, list[Sequence[int]], int]


def _looked_up(rows: Rows, lookup: Lookup, most: float) -> _Candidate | None:
    """What an index finds, by segment, and how many that are; None where they are too many."""
    found: list[Sequence[int]] = []
    count = 0
    for segment in rows.segments:
        column = segment.columns.get(lookup.path)
        if column is None:
            check()
            column = segment.column(lookup.path)
        positions = lookup.found(column)
        found.append(positions)
        count += len(positions)
        if count > most:
            return None
    return lookup, found, count


def _better(one: _Candidate | None, other: _Candidate | None) -> _Candidate | None:
    if one is None or other is None:
        return one or other
    return other if other[2] < one[2] else one


def _walked(rows: Rows, filter: Filter, sort: Sort, paths: Paths, stop: int) -> Selection | None:
    """
    Documents among which are the first ``stop`` of a sort, by a walk along an index.

    Returns:
        None where there is no such index, or where the walk would be the longer way.
    """
    if len(rows) < paths.worth or len(sort.fields) != 1 or filter.distance or not is_plain(sort.fields[0][0]):
        return None
    descending = sort.fields[0][1]
    path = ".".join(sort.fields[0][0])
    paths.ask([path])
    if not paths.has_column(path) or not stop or stop * _WALKED > len(rows):
        return None
    paths.index(path)
    columns = [segment.column(path) for segment in rows.segments]
    if any(tuple in column.kinds for column in columns):
        return None
    # Of few that match, spread evenly, the walk meets enough later than they are sorted.
    few = math.sqrt(_STEP * stop * len(rows))
    if any(paths.is_indexed(each.path) and _looked_up(rows, each, few) for each in lookups(filter.condition)):
        return None
    everything = isinstance(filter.condition, Every) and not filter.condition.of
    in_columns = _in_columns(filter.condition)
    walk = _merged([column.ordered for column in columns], descending=descending)
    found: list[tuple[int, int]] = []
    examined = 0
    patience = max(len(rows) // _PATIENCE, stop)
    while len(found) < stop and (places := list(islice(walk, 2 * stop))):
        check()
        examined += len(places)
        asked: dict[int, list[int]] = {}
        for index, position in places:
            asked.setdefault(index, []).append(position)
        met: dict[int, set[int]] = {}
        for index, positions in asked.items():
            segment = rows.segments[index]
            live = segment.live(sorted(positions))
            met[index] = set(live if everything else in_columns(segment, live))
        found += [(index, position) for index, position in places if position in met[index]]
        if examined - len(found) > patience:
            return None
    wanted: dict[int, list[int]] = {}
    for index, position in sorted(found[:stop]):
        wanted.setdefault(index, []).append(position)
    return Selection([(rows.segments[index], wanted[index]) for index in wanted], "IXSCAN", path, examined)


def _merged(each: Sequence[Ordered], *, descending: bool) -> Iterator[tuple[int, int]]:
    """Which of several columns, and the position in it, of all values as a sort has them; ties by column."""
    turn = -1 if descending else 1
    walks = [ordered.walk(descending=descending) for ordered in each]
    waiting = sorted((key, turn * index, position) for index, (key, position) in enumerate(map(next, walks)))
    while waiting:
        _, turned, position = waiting.pop(-1 if descending else 0)
        yield turn * turned, position
        if following := next(walks[turn * turned], None):
            insort(waiting, (following[0], turned, following[1]))
