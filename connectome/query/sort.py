"""Sorting by several fields in BSON's order, as MongoDB sorts arrays, missing fields and mixed types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.paths import EMPTY_ARRAY, ParallelArrays, Path, parse_field_path, values_along
from connectome.query.values import MISSING, Document, SortKey, Value, integral, is_number, sort_key

MAX_SORT_FIELDS: Final = 32

# BSON's undefined, in front of null.
_EMPTY_ARRAY_KEY: Final[SortKey] = (0,)


class Sort:
    """
    A compiled sort.  Stable: documents that tie keep the order in which they came.

    Args:
        source: ``{"field": 1, "other.field": -1}``, or an array of ``[field, direction]`` pairs.

    Raises:
        QueryError: ``Location15974``, ``Location15975`` -- a direction other than 1 and -1; ``BadValue`` -- a field
            twice, more than 32 fields; others for a path that means nothing.
    """

    def __init__(self, source: Value) -> None:
        self.source = source
        self._natural = _natural(source)
        pairs = [] if self._natural else _pairs(source)
        self._descending = [descends for _, descends in pairs]
        self._key = _key_function([path for path, _ in pairs], self._descending)

    def __call__(self, documents: Iterable[Document], *, limit: int = 0) -> list[Document]:
        """
        The documents in order; the first ``limit`` of them where it is not 0.

        Raises:
            QueryError: ``BadValue`` -- two of the fields lead into different arrays of one document.
        """
        if self._natural:
            ordered = list(documents)[:: self._natural]
            return ordered[:limit] if limit else ordered
        keyed = [(self._key(document), document) for document in documents]
        for position, descending in reversed(list(enumerate(self._descending))):
            keyed.sort(key=lambda pair: pair[0][position], reverse=descending)
        return [document for _, document in (keyed[:limit] if limit else keyed)]


def _natural(source: Value) -> int:
    """1 or -1 for a sort by ``$natural``, the order in which documents were inserted; 0 for any other."""
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
        raise QueryError(f"a sort may have {MAX_SORT_FIELDS} fields, and this one has {len(items)}")

    pairs: list[tuple[Path, bool]] = []
    for step, name, direction in items:
        with at(step):
            path = parse_field_path(name)
            if any(path == earlier for earlier, _ in pairs):
                raise QueryError(f"a sort names each field once, and {name!r} came twice")
            pairs.append((path, _descends(direction)))
    return pairs


def _descends(direction: Value) -> bool:
    if type(direction) is dict:
        raise QueryError(f"a sort by {preview(direction)} is not supported: 1 or -1", code="Location17312")
    if not is_number(direction):
        raise QueryError(f"a sort direction is a number, 1 or -1, not {preview(direction)}", code="Location15974")
    if integral(direction) not in (1, -1):
        raise QueryError(
            f"a sort direction is 1 (ascending) or -1 (descending), not {preview(direction)}", code="Location15975"
        )
    return integral(direction) == -1


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
