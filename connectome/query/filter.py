"""
Filters: which documents match, and what else a filter says of those it finds.

Beside its answer a filter tells where in an array a document matched (``$`` in projections and updates), which values
it fixes (what an upsert starts from), and how far a document is (``$near``).  The operators are ``conditions``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import Final

from bson import Regex

from connectome.errors import QueryError, at
from connectome.query.conditions import (
    DISTANCES,
    NEAR,
    NEGATIVE,
    document_condition,
    field_condition,
    is_condition,
    is_elem_match,
    located,
)
from connectome.query.deadline import check
from connectome.query.generated import document_scan
from connectome.query.paths import Arrays, Predicate, Test, yielded
from connectome.query.tree import Condition, Leaf
from connectome.query.values import MISSING, Document, Value, equal, truthy

# How many documents are matched between two looks at the clock.
_CHUNK: Final = 1024


class Filter:
    """
    A compiled filter.

    Args:
        source: The filter as MongoDB takes it; ``{}`` matches every document.

    Raises:
        QueryError: ``BadValue`` and others as MongoDB names them, with the pointer to the place in ``source``.
    """

    def __init__(self, source: Value) -> None:
        self.source = source
        self.condition = document_condition(source)
        self.matches: Predicate = self.condition.predicate
        # With $near: how far a document that matches is from its point.
        self.distance = _distance(source)

    def select(self, documents: Iterable[Document]) -> list[Document]:
        """The documents that match, in the order in which they come; with ``$near``, the nearest first."""
        rest = list(documents)
        scan = document_scan(self.condition, len(rest))
        found: list[Document] = []
        for start in range(0, len(rest), _CHUNK):
            check()
            chunk = rest[start : start + _CHUNK]
            found += [chunk[position] for position in scan(chunk)]
        if self.distance:
            found.sort(key=self.distance)
        return found

    @cached_property
    def fields(self) -> frozenset[str]:
        """The top-level fields that conditions of the filter are about."""
        return frozenset(path.partition(".")[0] for path in _paths(self.source))

    @cached_property
    def operators(self) -> frozenset[str]:
        """The operators of the filter that stand where a field's name could."""
        return frozenset(_operators(self.source))

    def position(self, document: Document) -> int | None:
        """
        Where, in the first array on its way, a matching document was found to match: what ``$`` stands for.

        Returns:
            The position that the last condition on an array found first; None where no condition opened an array.
        """
        found = None
        for recorded in self._recorders:
            position = recorded(document)
            found = found if position is None else position
        return found

    @cached_property
    def _recorders(self) -> list[Callable[[Document], int | None]]:
        return list(_recorders(self.source))

    @property
    def equalities(self) -> dict[str, Value]:
        """
        The fields whose value the filter fixes, by path: what an upsert starts from.

        Raises:
            QueryError: ``NotSingleValueField`` -- a path is fixed twice.
        """
        found: dict[str, Value] = {}
        for path, value in _equalities(self.source):
            if path in found:
                raise QueryError(
                    f"cannot tell what an upsert shall insert: the filter fixes {path!r} twice",
                    code="NotSingleValueField",
                )
            found[path] = value
        return found


def _distance(source: Document) -> Callable[[Document], float] | None:
    """How far a document is from the point of ``$near``; None for a filter that has none."""
    found = list(_nears(source, allowed=True))
    if not found:
        return None
    if len(found) > 1:
        raise QueryError("a filter has one $near or $nearSphere, and this one has two")
    ((path, condition),) = found
    name = next(each for each in condition if each in NEAR)
    nearness = NEAR[name](condition[name], *(condition.get(each, MISSING) for each in DISTANCES))

    def distance(document: Document) -> float:
        distances = (nearness.distance(value) for value, _ in yielded(path, document, "whole"))
        return min(each for each in distances if each is not None)

    return distance


def _nears(source: Document, *, allowed: bool) -> Iterator[tuple[str, Document]]:
    """The conditions with ``$near``, each with its path; refused where its order would mean nothing."""
    for name, condition in source.items():
        with at(name):
            if name in ("$and", "$or", "$nor"):
                for position, arm in enumerate(condition):
                    with at(position):
                        yield from _nears(arm, allowed=allowed and name == "$and")
            elif not name.startswith("$") and is_condition(condition):
                if not NEAR.keys().isdisjoint(condition):
                    if not allowed:
                        raise QueryError("$near stands at the top of a filter or in its $and, and nowhere else")
                    yield name, condition
                for inner in ("$not", "$elemMatch"):
                    if type(condition.get(inner)) is dict:
                        with at(inner):
                            yield from _nears({name: condition[inner]}, allowed=False)


def _paths(source: Document) -> Iterator[str]:
    for name, condition in source.items():
        if not name.startswith("$"):
            yield name
        elif name in ("$and", "$or", "$nor"):
            for arm in condition:
                yield from _paths(arm)


def _operators(source: Document) -> Iterator[str]:
    for name, condition in source.items():
        if name.startswith("$"):
            yield name
        if name in ("$and", "$or", "$nor"):
            for arm in condition:
                yield from _operators(arm)


def _recorders(source: Document) -> Iterator[Callable[[Document], int | None]]:
    """For each condition of a filter, in order, what finds the position at which a document meets it."""
    for name, condition in source.items():
        if name == "$and" or (name == "$or" and len(condition) == 1):
            for arm in condition:
                yield from _recorders(arm)
        elif name == "$or":
            # MongoDB records nothing under $or; but several values of one field are an $in to it.
            path, values = _alternatives(condition)
            if path:
                yield from _recorders({path: {"$in": values}})
        elif not name.startswith("$"):
            for test, arrays in _positive_tests(condition):
                yield partial(_first_position, name, test, arrays)


def _alternatives(arms: list[Document]) -> tuple[str, list[Value]]:
    """The one field that all arms of an ``$or`` compare with a value, and the values; no name where there is none."""
    paths = {path for arm in arms for path in arm}
    if len(paths) != 1 or any(len(arm) != 1 for arm in arms):
        return "", []
    (path,) = paths
    values = [arm[path].get("$eq") if is_condition(arm[path]) else arm[path] for arm in arms]
    plain = all(not is_condition(arm[path]) or list(arm[path]) == ["$eq"] for arm in arms)
    return (path, values) if plain and not path.startswith("$") else ("", [])


def _positive_tests(condition: Value) -> list[tuple[Test, Arrays]]:
    """The tests that a condition places, without those whose failing it asks for."""
    found: list[tuple[Test, Arrays]] = []

    def collect(leaf: Leaf) -> Condition:
        found.append((leaf.test, leaf.arrays))
        return Condition(leaf.test)

    if is_condition(condition):
        positive = {name: operand for name, operand in condition.items() if name not in NEGATIVE}
        if not truthy(positive.get("$exists", True)):
            del positive["$exists"]
        field_condition(positive, collect)
    else:
        located(condition, collect)
    return found


def _first_position(path: str, test: Test, arrays: Arrays, document: Document) -> int | None:
    return next((position for value, position in yielded(path, document, arrays) if test(value)), None)


def _equalities(source: Document) -> Iterable[tuple[str, Value]]:
    """Each path with the value that the filter demands there; ``$or`` and ``$in`` of but one value count."""
    for name, condition in source.items():
        if name == "$and" or (name == "$or" and len(condition) == 1):
            for arm in condition:
                yield from _equalities(arm)
        elif name == "$or":
            path, values = _alternatives(condition)
            if path and all(equal(each, values[0]) for each in values):
                yield from _equalities({path: values[0]})
        elif name.startswith("$"):
            continue
        elif not is_condition(condition):
            if type(condition) is not Regex:
                yield name, condition
        else:
            if "$eq" in condition:
                yield name, condition["$eq"]
            choices = condition.get("$in", ())
            if choices and all(equal(each, choices[0]) for each in choices):
                yield from _equalities({name: choices[0]})
            for choice in condition.get("$all", ()):
                if not is_elem_match(choice):
                    yield from _equalities({name: choice})
