"""
The tree of paths that an update writes: where each change goes, through arrays and positions.

All operators of an update are planted in one tree, so that two writes of one place are refused once, while compiling.
Applying it copies only the way to what changes: documents that a reader may hold are never touched, and a document in
which nothing changes comes back as the same object.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from connectome.errors import UpdateError, at
from connectome.extjson import WRAPPERS, preview
from connectome.query.filter import Filter
from connectome.query.paths import Path, Test, parse_path
from connectome.query.values import MISSING, Document, Value

MAX_PADDING: Final = 1_500_000
_MAX_INDEX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an operator may know of the moment at which it is applied."""

    document: Document
    inserting: bool
    # The position that ``$`` stands for; None where the filter matched by no element of an array.
    position: int | None = None


# The value at a path, or MISSING, to the value that shall stand there: the same object where nothing changes, MISSING
# where it is removed.  What leaves an equal value may be a change all the same, and counts as one.
Change = Callable[[Value, Occasion], Value]
ArrayFilters = Mapping[str, Filter]


@dataclass(frozen=True, slots=True)
class Leaf:
    """
    One change at the end of a path.

    place: where it stands in the update's source, for the pointer of what a document refuses.
    needs_way: a path that leads through a scalar is refused even where the change would create nothing.
    """

    place: tuple[str, ...]
    change: Change
    needs_way: bool = True

    def __call__(self, value: Value, occasion: Occasion) -> Value:
        with at(*self.place):
            return self.change(value, occasion)

    def no_way(self, value: Value, part: str, occasion: Occasion) -> None:
        """Refuse a path that leads into a scalar, or by a name into an array, where something would be written."""
        if self.needs_way or self(MISSING, occasion) is not MISSING:
            with at(*self.place):
                raise UpdateError(f"cannot create field {part!r} in {preview(value)}", code="PathNotViable")

    def leaves(self) -> Iterator[tuple[Path, Leaf]]:
        yield (), self

    def finish(self, array_filters: ArrayFilters) -> None:
        """A leaf has nothing below it."""


class Branch:
    """What an update changes below one document or array, by the name of the part."""

    __slots__ = ("_array_filters", "_children", "_filters", "_merged")

    def __init__(self) -> None:
        self._children: dict[str, Branch | Leaf] = {}
        # Of ``$[]`` and ``$[identifier]``: which elements each is about.
        self._filters: list[tuple[Test, Branch | Leaf]] = []
        self._array_filters: ArrayFilters = {}
        self._merged: dict[tuple[int, ...], Branch | Leaf] = {}

    def plant(self, path: Path, leaf: Leaf) -> None:
        """
        Add a change at the end of a path.

        Raises:
            UpdateError: ``ConflictingUpdateOperators`` -- the path is written already, or one inside or above it, or
                elements by their positions beside elements by ``$[]``.
        """
        branch = self
        *parents, last = path
        for position, part in enumerate(path):
            if any(is_all(other) != is_all(part) for other in branch._children):
                raise _conflict(path, path[:position])
            if position < len(parents):
                below = branch._children.setdefault(part, Branch())
                if isinstance(below, Leaf):
                    raise _conflict(path, path[: position + 1])
                branch = below
        if last in branch._children:
            raise _conflict(path, path)
        branch._children[last] = leaf

    def finish(self, array_filters: ArrayFilters) -> None:
        """Put the parts in the order in which MongoDB adds new fields, by name, numbers by value; bind the filters."""
        self._array_filters = array_filters
        self._children = dict(sorted(self._children.items(), key=lambda item: _part_order(item[0])))
        for part, child in self._children.items():
            child.finish(array_filters)
            if is_all(part):
                self._filters.append((_element_filter(identifier_of(part), array_filters), child))

    def leaves(self) -> Iterator[tuple[Path, Leaf]]:
        """Every change below, with its path from here."""
        for part, child in self._children.items():
            for path, leaf in child.leaves():
                yield (part, *path), leaf

    def __call__(self, value: Value, occasion: Occasion) -> Value:
        """The value with everything below it changed: a copy, or the same object where nothing changes."""
        if self._filters:
            return self._in_elements(value, occasion)
        if type(value) is dict:
            return self._in_document(value, occasion)
        if type(value) is list:
            return self._in_array(value, occasion)
        if value is MISSING:
            return self._in_document({}, occasion) or MISSING
        for part, child in self._by_name(occasion):
            child.no_way(value, part, occasion)
        return value

    def no_way(self, value: Value, part: str, occasion: Occasion) -> None:
        """Refuse what cannot be written below, as the path ends before it."""
        if self._filters:
            self._in_elements(MISSING, occasion)
        for _, child in self._by_name(occasion):
            child.no_way(value, part, occasion)

    def _in_elements(self, value: Value, occasion: Occasion) -> Value:
        if type(value) is not list:
            with at(*next(self.leaves())[1].place):
                if value is MISSING:
                    raise UpdateError("the path to the array of '$[]' must exist, and it does not")
                raise UpdateError(f"'$[]' changes the elements of an array, not {preview(value)}")
        changed = [self._in_element(element, occasion) for element in value]
        return value if all(map(operator.is_, value, changed)) else changed

    def _in_element(self, element: Value, occasion: Occasion) -> Value:
        children = [child for test, child in self._filters if test(element)]
        if not children:
            return element
        after = self._one(children)(element, occasion)
        return None if after is MISSING else after

    def _one(self, children: list[Branch | Leaf]) -> Branch | Leaf:
        """Several changes of one element as one."""
        if len(children) == 1:
            return children[0]
        key = tuple(map(id, children))
        if key not in self._merged:
            self._merged[key] = _merge(children, self._array_filters)
        return self._merged[key]

    def _in_document(self, document: Document, occasion: Occasion) -> Document:
        changed = document
        for part, child in self._by_name(occasion):
            before = document.get(part, MISSING)
            after = child(before, occasion)
            if after is not before:
                changed = dict(document) if changed is document else changed
                if after is MISSING:
                    del changed[part]
                else:
                    changed[part] = after
        return changed

    def _in_array(self, array: list[Value], occasion: Occasion) -> list[Value]:
        changed = array
        for part, child in self._by_name(occasion):
            index = _index(part)
            if index is None:
                child.no_way(array, part, occasion)
                continue
            before = array[index] if index < len(array) else MISSING
            after = child(before, occasion)
            if after is not before:
                changed = list(array) if changed is array else changed
                _put(changed, index, after, child)
        return changed

    def _by_name(self, occasion: Occasion) -> Iterable[tuple[str, Branch | Leaf]]:
        """The parts with their changes, and ``$`` as the position that it stands for."""
        if "$" not in self._children:
            return self._children.items()
        positional = self._children["$"]
        if occasion.position is None:
            with at(*next(positional.leaves())[1].place):
                raise UpdateError("the positional '$' needs a query that matched by an element of an array")
        part = str(occasion.position)
        named = {name: child for name, child in self._children.items() if name != "$"}
        named[part] = self._one([named[part], positional]) if part in named else positional
        return sorted(named.items(), key=lambda item: _part_order(item[0]))


def _element_filter(identifier: str, array_filters: ArrayFilters) -> Test:
    if not identifier:
        return lambda _: True
    matches = array_filters[identifier].matches
    return lambda element: matches({identifier: element})


def _merge(children: list[Branch | Leaf], array_filters: ArrayFilters) -> Branch | Leaf:
    merged = Branch()
    for child in children:
        for path, leaf in child.leaves():
            with at(*leaf.place):
                if not path:
                    raise UpdateError(
                        "two changes of the update reach one element of an array", code="ConflictingUpdateOperators"
                    )
                merged.plant(path, leaf)
    merged.finish(array_filters)
    return merged


def _put(array: list[Value], index: int, value: Value, child: Branch | Leaf) -> None:
    """Write one element; what is removed from an array leaves null, so that the others keep their places."""
    missing = index - len(array)
    if missing > MAX_PADDING:
        with at(*next(child.leaves())[1].place):
            raise UpdateError(
                f"an array may be padded with {MAX_PADDING} nulls, and position {index} needs {missing}",
                code="CannotBackfillArray",
            )
    if missing >= 0:
        array.extend([None] * (missing + 1))
    array[index] = None if value is MISSING else value


def _conflict(path: Path, taken: Path) -> UpdateError:
    return UpdateError(
        f"updating the path {'.'.join(path)!r} would create a conflict at {'.'.join(taken)!r}",
        code="ConflictingUpdateOperators",
    )


def _index(part: str) -> int | None:
    """Which element of an array a part names; a filter knows no zeros before the digits, an update does."""
    if not (part.isdecimal() and part.isascii()):
        return None
    digits = part.lstrip("0") or "0"
    return int(digits) if len(digits) <= 10 and int(digits) <= _MAX_INDEX else None


def _part_order(part: str) -> tuple[str, int, str]:
    """By name; of names that start with a digit other than 0, the longer comes later, as it does of numbers."""
    return ("1", len(part), part) if part[0] in "123456789" else (part, 0, "")


def identifier_of(part: str) -> str:
    """The identifier of ``$[identifier]``; empty for ``$[]`` and for any other part."""
    return part[2:-1] if part.startswith("$[") and part.endswith("]") else ""


def is_all(part: str) -> bool:
    """Whether a part stands for several elements: ``$[]`` or ``$[identifier]``."""
    return part.startswith("$[") and part.endswith("]")


def writable_path(path: str) -> Path:
    parts = parse_path(path)
    if not all(parts):
        raise UpdateError(f"the path {path!r} has an empty part", code="EmptyFieldName")
    if parts[0] == "$" or is_all(parts[0]):
        raise UpdateError(f"a path starts with a field, and {path!r} with the positional {parts[0]!r}")
    if parts.count("$") > 1:
        raise UpdateError(f"a path has one positional '$', and {path!r} has {parts.count('$')}")
    for part in parts:
        if part in WRAPPERS:
            raise UpdateError(
                f"the part {part!r} of {path!r} is the name of an Extended JSON type, and would be read as one",
                code="DollarPrefixedFieldName",
            )
    return parts
