"""Sorting by several fields in BSON's order, as MongoDB sorts arrays, missing fields and mixed types."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from bson import Int64

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.paths import (
    EMPTY_ARRAY,
    ParallelArrays,
    Path,
    column_value,
    is_plain,
    parse_field_path,
    values_along,
)
from connectome.query.values import MISSING, Document, SortKey, Value, integral, is_number, rank, sort_key

MAX_SORT_FIELDS: Final = 32

# BSON's undefined, in front of null.
_EMPTY_ARRAY_KEY: Final[SortKey] = (0,)


class Sort:
    """
    A compiled sort.  Stable: documents that tie keep the order in which they came.

    Args:
        source: ``{"field": 1, "other.field": -1}``, or an array of ``[field, direction]`` pairs.

    Raises:
        QueryError: ``Location15974``, ``Location15975`` -- a direction other than 1 and -1; ``Location17312`` and
            others -- one by ``$meta``; ``Location7472500`` -- a field twice; ``Location13103`` -- more than 32 fields;
            others for a path that means nothing.
    """

    def __init__(self, source: Value) -> None:
        self.source = source
        # 1 or -1 for a sort by $natural, the order in which documents were inserted; 0 for any other.
        self.natural = _natural(source)
        # Each path, and whether it descends.
        self.fields: Sequence[tuple[Path, bool]] = () if self.natural else _pairs(source)
        self._key = _key_function([path for path, _ in self.fields], [descends for _, descends in self.fields])

    def __call__(self, documents: Iterable[Document], *, limit: int = 0) -> list[Document]:
        """
        The documents in order; the first ``limit`` of them where it is not 0.

        Raises:
            QueryError: ``BadValue`` -- two of the fields lead into different arrays of one document;
                ``Location16746`` -- a number in a path is a position of an array and a field of its documents.
        """
        documents = list(documents)
        return [documents[position] for position in self.positions(documents, limit=limit)]

    def positions(self, documents: Sequence[Document], *, limit: int = 0) -> Sequence[int]:
        """Where the documents of ``__call__`` stand among those that came."""
        if not self.fields:
            ordered = range(len(documents))[:: self.natural or 1]
            return ordered[:limit] if limit else ordered
        if all(is_plain(path) for path, _ in self.fields):
            order = self.order([list(map(column_value(path), documents)) for path, _ in self.fields], limit=limit)
            if order is not None:
                return order
        keys = list(map(self._key, documents))
        order = list(range(len(documents)))
        for part, (_, descends) in reversed(list(enumerate(self.fields))):
            order.sort(key=lambda position: keys[position][part], reverse=descends)
        return order[:limit] if limit else order

    def order(self, columns: Sequence[Sequence[Value]], *, limit: int = 0) -> Sequence[int] | None:
        """
        The positions of documents in order, from the values at the fields.

        Args:
            columns: For each field, its value in each document, as ``column_value`` has it.

        Returns:
            None where one of the values is an array: then documents are compared as a whole.
        """
        kinds = [set(map(type, column)) for column in columns]
        if any(not _MANY.isdisjoint(each) for each in kinds):
            return None
        order: Sequence[int] = range(len(columns[0]))
        if 0 < limit < len(order) // 4:
            order = _front(order, columns[0], kinds[0], descending=self.fields[0][1], count=limit)
        for column, kinds_there, (_, descends) in reversed(list(zip(columns, kinds, self.fields, strict=True))):
            order = [
                position
                for bracket, key in _brackets(order, column, kinds_there, descending=descends)
                for position in sorted(bracket, key=key, reverse=descends)
            ]
        return order[:limit] if limit else order


_MANY: Final = frozenset({list, tuple})
_NUMBERS: Final = frozenset({int, float, Int64})
# Positions that belong together, and what orders them.
_Bracket = tuple[Sequence[int], Callable[[int], Any]]


def _brackets(
    order: Sequence[int], column: Sequence[Value], kinds: set[type], *, descending: bool
) -> Sequence[_Bracket]:
    """Positions parted by the bracket of their value, in the order of brackets; each is then sorted alone."""
    if kinds <= {str} or (kinds <= _NUMBERS and not any(value != value for value in column)):
        return [(order, column.__getitem__)]
    parted: dict[int, list[int]] = {}
    plain: dict[int, bool] = {}
    ranks = {kind: rank(next(value for value in column if type(value) is kind)) for kind in kinds}
    for position in order:
        parted.setdefault(ranks[type(column[position])], []).append(position)
    for kind, bracket in ranks.items():
        plain[bracket] = plain.get(bracket, True) and (kind is str or kind in _NUMBERS)
    return [
        (
            parted[bracket],
            column.__getitem__
            if plain[bracket] and not any(column[position] != column[position] for position in parted[bracket])
            else lambda position: sort_key(column[position]),
        )
        for bracket in sorted(parted, reverse=descending)
    ]


def _front(
    order: Sequence[int], column: Sequence[Value], kinds: set[type], *, descending: bool, count: int
) -> Sequence[int]:
    """The positions that can be among the first ``count`` by this column, still in their own order."""
    front: set[int] = set()
    for bracket, key in _brackets(order, column, kinds, descending=descending):
        missing = count - len(front)
        if len(bracket) < missing:
            front.update(bracket)
            continue
        nth = (heapq.nlargest if descending else heapq.nsmallest)(missing, map(key, bracket))[-1]
        front.update(position for position in bracket if (key(position) >= nth if descending else key(position) <= nth))
        break
    return sorted(front)


def _natural(source: Value) -> int:
    if type(source) is not dict or "$natural" not in source:
        return 0
    with at("$natural"):
        direction = integral(source["$natural"])
        if direction not in (1, -1) or len(source) > 1:
            raise QueryError(f"$natural is 1 or -1, and stands alone in its sort, not {preview(source)}")
    return direction


def _pairs(source: Value) -> list[tuple[Path, bool]]:
    if type(source) is dict:
        items: list[tuple[str | int, Value, Value]] = [(name, name, value) for name, value in source.items()]
    elif type(source) is list:
        items = []
        for position, pair in enumerate(source):
            if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str:
                with at(position):
                    raise QueryError(f'a sort given as an array holds pairs such as ["title", 1], not {preview(pair)}')
            items.append((position, pair[0], pair[1]))
    else:
        raise QueryError(
            f"a sort is an object of field: direction, or an array of pairs, not {preview(source)}",
            code="TypeMismatch",
        )
    if len(items) > MAX_SORT_FIELDS:
        raise QueryError(
            f"a sort may have {MAX_SORT_FIELDS} fields, and this one has {len(items)}", code="Location13103"
        )

    pairs: list[tuple[Path, bool]] = []
    for step, name, direction in items:
        with at(step):
            descends = _descends(direction)
            path = parse_field_path(name)
            if any(path == earlier for earlier, _ in pairs):
                raise QueryError(f"a sort names each field once, and {name!r} came twice", code="Location7472500")
            pairs.append((path, descends))
    return pairs


def _descends(direction: Value) -> bool:
    if type(direction) is dict:
        raise _by_expression(direction)
    if not is_number(direction):
        raise QueryError(f"a sort direction is a number, 1 or -1, not {preview(direction)}", code="Location15974")
    if integral(direction) not in (1, -1):
        raise QueryError(
            f"a sort direction is 1 (ascending) or -1 (descending), not {preview(direction)}", code="Location15975"
        )
    return integral(direction) == -1


# What $meta can sort by in MongoDB → the code for where there is no such thing, as here.
_METADATA: Final = {"textScore": "Location40218", "geoNearDistance": "Location40218", "randVal": "Location17312"}


def _by_expression(direction: Document) -> QueryError:
    """Why a direction that is an object is none."""
    refusal = f"a sort by {preview(direction)} is not supported: 1 or -1"
    if next(iter(direction), None) != "$meta":
        return QueryError(refusal, code="Location17312")
    if len(direction) > 1:
        return QueryError(f"$meta stands alone, not in {preview(direction)}", code="FailedToParse")
    metadata = direction["$meta"]
    return QueryError(refusal, code=_METADATA.get(metadata if type(metadata) is str else "", "Location31138"))


def _key_function(paths: list[Path], descending: list[bool]) -> Callable[[Document], tuple[SortKey, ...]]:
    def best_way(document: Document) -> tuple[SortKey, ...]:
        """An array sorts by its smallest element when ascending, by its largest when descending."""
        try:
            ways = [tuple(map(_element_key, way)) for way in values_along(paths, document)]
        except ParallelArrays:
            raise QueryError(
                "cannot sort by two fields that lead into different arrays of one document: "
                + ", ".join(repr(".".join(path)) for path in paths)
                + f", _id: {preview(document.get('_id', MISSING))}",
                pointer=None,
            ) from None
        for position, largest in enumerate(descending):
            if len(ways) == 1:
                break
            best = (max if largest else min)(way[position] for way in ways)
            ways = [way for way in ways if way[position] == best]
        return ways[0]

    if any(len(path) > 1 for path in paths):
        return best_way

    names = [path[0] for path in paths]

    def key(document: Document) -> tuple[SortKey, ...]:
        values = [document.get(name) for name in names]
        if list in map(type, values):
            return best_way(document)
        return tuple(map(sort_key, values))

    return key


def _element_key(value: Value) -> SortKey:
    return _EMPTY_ARRAY_KEY if value is EMPTY_ARRAY else sort_key(value)
