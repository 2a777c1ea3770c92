"""
A filter as a tree of conditions: what the closures, the generated source and the choice of an index are made from.

Every condition knows its predicate on a document, which is the whole truth about it.  What else it says of itself lets
others find the same documents in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectome.query.paths import Arrays, Predicate, Test, at_path
from connectome.query.values import Value


@dataclass(frozen=True, slots=True)
class Leaf:
    """
    One operator with its operand.

    operand: as it came; MISSING where others beside it say more, so that the test alone knows the meaning.
    test: on one value; arrays: how it meets an array.
    """

    name: str
    operand: Value
    test: Test
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Condition:
    """What a document meets or not; of this class itself, one of which nothing more is known than its predicate."""

    predicate: Predicate


@dataclass(frozen=True, slots=True)
class At(Condition):
    """Some value at a path passes a test."""

    path: str
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """A condition is not met."""

    of: Condition


@dataclass(frozen=True, slots=True)
class Every(Condition):
    """All conditions are met; met where there are none."""

    of: Sequence[Condition]


@dataclass(frozen=True, slots=True)
class Some(Condition):
    """At least one condition is met."""

    of: Sequence[Condition]


# Where a leaf looks: at a path of a document, or, inside $elemMatch, at the element itself.
Locate = Callable[[Leaf], Condition]


def at(path: str) -> Locate:
    """What places leaves at a path."""
    return lambda leaf: At(at_path(path, leaf.test, leaf.arrays), path, leaf)


def negated(condition: Condition) -> Condition:
    """The condition that holds where another does not."""
    predicate = condition.predicate
    return Not(lambda document: not predicate(document), condition)


def every(conditions: Sequence[Condition]) -> Condition:
    """The condition that holds where all others do."""
    if len(conditions) == 1:
        return conditions[0]
    return Every(_all([condition.predicate for condition in conditions]), conditions)


def _all(predicates: Sequence[Predicate]) -> Predicate:
    if not predicates:
        return lambda _: True
    if len(predicates) == 2:
        one, other = predicates
        return lambda document: one(document) and other(document)
    return lambda document: all(predicate(document) for predicate in predicates)


def some(conditions: Sequence[Condition]) -> Condition:
    """The condition that holds where at least one other does."""
    predicates = [condition.predicate for condition in conditions]
    return Some(lambda document: any(predicate(document) for predicate in predicates), conditions)
