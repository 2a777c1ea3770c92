"""
Dotted paths: how a filter reads through arrays, and what a sort finds there.

A path is compiled into a fold of its steps over the test, once; no walker runs per document.

Source: MongoDB's ``ElementPath``.  What a path yields on its way, in its words: a document is entered by name; an
array met before the last step yields what its documents yield, and what stands at the index when the step is a
number; a scalar met before the last step yields "missing".  An array at the last step is opened, unless
an index led to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from connectome.errors import QueryError
from connectome.query.values import MISSING, Document, Value

Test = Callable[[Value], bool]
Predicate = Callable[[Document], bool]
Arrays = Literal["each", "whole", "elements"]
Path = tuple[str, ...]

# Fields in spite of their names, in a path too: those of a DBRef.
DBREF_FIELDS: Final = frozenset({"$ref", "$id", "$db"})

MAX_PATH_PARTS: Final = 100
MAX_PATH_INDEXES: Final = 20


def parse_path(path: str) -> Path:
    """
    The parts of a dotted path.

    Raises:
        QueryError: ``Overflow`` -- more than 100 parts, or more than 20 that are numbers.
    """
    parts = tuple(path.split("."))
    if len(parts) > MAX_PATH_PARTS:
        raise QueryError(f"a path may have {MAX_PATH_PARTS} parts, and this one has {len(parts)}", code="Overflow")
    # Each may be a field or a position, and both are tried: 20 are some 10,000 ways through the worst document.
    if sum(map(is_index, parts)) > MAX_PATH_INDEXES:
        raise QueryError(f"a path may have {MAX_PATH_INDEXES} parts that are numbers: {path!r}", code="Overflow")
    return parts


def parse_field_path(path: str) -> Path:
    """
    The parts of a path in a sort or a projection, where MongoDB is stricter than in a filter.

    Raises:
        QueryError: ``Location40352``, ``Location40353``, ``Location15998`` -- an empty path, last part, other part;
            ``Location16410`` -- a part that starts with ``$`` and is no field of a DBRef; ``Overflow`` -- more than
            100 parts.
    """
    if not path:
        raise QueryError("a path names a field, and this one is empty", code="Location40352")
    parts = parse_path(path)
    if not parts[-1]:
        raise QueryError(f"a path does not end with a dot: {path!r}", code="Location40353")
    for part in parts:
        if not part:
            raise QueryError(f"a path has no empty parts: {path!r}", code="Location15998")
        if part.startswith("$") and part not in DBREF_FIELDS:
            raise QueryError(f"a part of a path does not start with '$': {path!r}", code="Location16410")
    return parts


def is_index(part: str) -> bool:
    """Whether a part of a path can name a position in an array: digits without a leading zero."""
    # No array has a position of more digits, and of some thousands Python makes no number.
    return len(part) <= 10 and part.isdecimal() and part.isascii() and (part == "0" or part[0] != "0")


def at_path(path: str, test: Test, arrays: Arrays) -> Predicate:
    """
    A predicate that is true where any value at the path passes the test.

    Args:
        arrays: ``"each"`` opens an array at the end of the path: its elements are tried, then the array itself.
            ``"whole"`` hands the array to the test as it stands.  ``"elements"`` tries only the elements of an array.
    """
    parts = parse_path(path)
    last = without_path(test, arrays)
    if arrays == "elements":
        test = last

    # From the last part to the first: what a part does with a document, and with an array, calls what the next does.
    in_document = _into_document(parts[-1], last)
    # Not ``last``: an array found by its index is not opened.
    in_array = _into_array(parts[-1], in_document, test)
    for name in reversed(parts[:-1]):
        at_index = _entering(in_document, in_array, otherwise=lambda _: False)
        in_document = _into_document(name, _entering(in_document, in_array, otherwise=lambda _: test(MISSING)))
        in_array = _into_array(name, in_document, at_index)
    return in_document


def opened(test: Test) -> Test:
    """The test on a value of which, where it is an array, the elements are tried first."""

    def any_or_whole(value: Value) -> bool:
        if type(value) is list:
            return any(map(test, value)) or test(value)
        return test(value)

    return any_or_whole


def any_element(test: Test) -> Test:
    """The test that a value is an array of which an element passes."""
    return lambda value: type(value) is list and any(map(test, value))


def without_path(test: Test, arrays: Arrays) -> Test:
    """The test on a value that is there already, as if a path had led to it."""
    if arrays == "elements":
        return any_element(test)
    return opened(test) if arrays == "each" else test


def _entering(in_document: Predicate, in_array: Callable[[list[Value]], bool], *, otherwise: Test) -> Test:
    """The test on a value in which a path goes on."""

    def entered(value: Value) -> bool:
        kind = type(value)
        if kind is dict:
            return in_document(value)
        if kind is list:
            return in_array(value)
        return otherwise(value)

    return entered


def _into_document(name: str, entered: Test) -> Predicate:
    return lambda document: entered(document.get(name, MISSING))


def _into_array(part: str, in_document: Predicate, at_index: Test) -> Callable[[list[Value]], bool]:
    """What a path does with an array that it meets before ``part``."""

    def in_elements(array: list[Value]) -> bool:
        return any(type(element) is dict and in_document(element) for element in array)

    if not is_index(part):
        return in_elements
    index = int(part)
    # Documents first, then the index: MongoDB tries both ("a.0" may be a field or a position).
    return lambda array: in_elements(array) or (index < len(array) and at_index(array[index]))


def is_plain(path: Path) -> bool:
    """Whether no part of a path could be a position: what it yields is then the same for every operator."""
    return not any(map(is_index, path))


def column_value(path: Path) -> Callable[[Document], Value]:
    """
    What a plain path yields, as one value for a column.

    Returns:
        A function from document to the value, MISSING where there is none; where the path leads through an array, a
        tuple of all values that it yields.
    """
    name, rest = path[0], path[1:]
    if not rest:
        return lambda document: document.get(name, MISSING)
    below = column_value(rest)

    def value_of(document: Document) -> Value:
        value = document.get(name)
        if type(value) is dict:
            return below(value)
        if type(value) is not list:
            return MISSING
        found: list[Value] = []
        for element in value:
            if type(element) is dict:
                inner = below(element)
                if type(inner) is tuple:
                    found.extend(inner)
                else:
                    found.append(inner)
        return tuple(found)

    return value_of


def yielded(path: str, document: Document, arrays: Arrays) -> Iterator[tuple[Value, int | None]]:
    """
    What a path yields, one by one: the definition that ``at_path`` is the fold of.

    Yields:
        A value, or MISSING, and the position in the first array on the way; None where no array is opened.
    """
    yield from _yielded(parse_path(path), document, arrays)


def _yielded(parts: Path, document: Document, arrays: Arrays) -> Iterator[tuple[Value, int | None]]:
    value, rest = document.get(parts[0], MISSING), parts[1:]
    if not rest:
        if type(value) is list and arrays != "whole":
            yield from ((element, position) for position, element in enumerate(value))
        if arrays != "elements":
            yield value, None
    elif type(value) is dict:
        yield from _yielded(rest, value, arrays)
    elif type(value) is list:
        yield from _yielded_in_array(rest, value, arrays)
    elif arrays != "elements":
        yield MISSING, None


def _yielded_in_array(parts: Path, array: list[Value], arrays: Arrays) -> Iterator[tuple[Value, int | None]]:
    for position, element in enumerate(array):
        if type(element) is dict:
            yield from ((value, position) for value, _ in _yielded(parts, element, arrays))
    if not (is_index(parts[0]) and int(parts[0]) < len(array)):
        return
    # An index that the path names is no position that was found.
    element, rest = array[int(parts[0])], parts[1:]
    if not rest:
        if arrays != "elements":
            yield element, None
        elif type(element) is list:
            yield from ((inner, position) for position, inner in enumerate(element))
    elif type(element) is dict:
        yield from _yielded(rest, element, arrays)
    elif type(element) is list:
        yield from _yielded_in_array(rest, element, arrays)


def with_value(value: Value, path: Path, new: Value) -> Value:
    """A value with a new one at a path, in each element of arrays on the way; what is no document becomes one."""
    if not path:
        return new
    if type(value) is list:
        return [with_value(element, path, new) for element in value]
    document = dict(value) if type(value) is dict else {}
    below = with_value(document.get(path[0], MISSING), path[1:], new)
    if below is MISSING:
        document.pop(path[0], None)
    else:
        document[path[0]] = below
    return document


class ParallelArrays(Exception):
    """Two paths of one sort lead into different arrays of a document."""


# What an empty array sorts as: BSON's undefined, which comes before null.
EMPTY_ARRAY: Final = object()


def values_along(paths: Sequence[Path], document: Value) -> list[tuple[Value, ...]]:
    """
    What the paths yield together, as MongoDB makes the keys of an index.

    Returns:
        One tuple, in the order of ``paths``, for each way through the document: one where no array is met, else
        one per element of the array, so that the parts of a tuple come from the same element.  A missing value is
        None, an empty array at the end of a path is ``EMPTY_ARRAY``.

    Raises:
        ParallelArrays: Two paths lead into different arrays.
        QueryError: ``Location16746`` -- a number in a path is a position of an array and a field of its documents.
    """
    return _ways([(document, path, False) for path in paths])


def _ways(starts: Sequence[tuple[Value, Path, bool]]) -> list[tuple[Value, ...]]:
    """The ways from values on, each by a path; and whether an index led to an array, which is then not opened."""
    found: list[Value] = [None] * len(starts)
    met: list[Value] | None = None
    ended: list[int] = []
    going_on: list[tuple[int, Path]] = []
    whole = False
    for position, (start, path, by_index) in enumerate(starts):
        value, rest = _until_array(path, start)
        if type(value) is not list:
            found[position] = value
            continue
        if met is not None and met is not value:
            raise ParallelArrays
        met = value
        whole = whole or by_index
        if rest:
            going_on.append((position, rest))
        else:
            ended.append(position)
    if met is None:
        return [tuple(found)]

    ends = [met] if whole and met else met or [EMPTY_ARRAY]
    if not going_on:
        return [tuple(end if position in ended else value for position, value in enumerate(found)) for end in ends]

    chosen = [_element_at(rest[0], met) for _, rest in going_on]
    # What is the same for each element is asked of the first.
    one_way = not ended and None not in chosen
    ways = []
    for element in met[:1] if one_way else met or [EMPTY_ARRAY]:
        for position in ended:
            found[position] = met if whole and met else element
        # An array inside the array is not opened: what a path would find in it counts as missing.
        document = element if type(element) is dict else None
        inner = [
            (document, rest, False) if at_index is None else (at_index[0], rest[1:], type(at_index[0]) is list)
            for (_, rest), at_index in zip(going_on, chosen, strict=True)
        ]
        for way in _ways(inner):
            for (position, _), value in zip(going_on, way, strict=True):
                found[position] = value
            ways.append(tuple(found))
    return ways


def _element_at(part: str, array: list[Value]) -> tuple[Value] | None:
    """The element at the index that a part of a path is; None where it is none."""
    if not (is_index(part) and int(part) < len(array)):
        return None
    if any(type(element) is dict and part in element for element in array):
        raise QueryError(
            f"ambiguous in a sort: {part!r} is a position of an array, and a field of a document in it",
            code="Location16746",
            pointer=None,
        )
    return (array[int(part)],)


def _until_array(path: Path, value: Value) -> tuple[Value, Path]:
    """The value at the end of a path, or the first array on the way with the path that is left."""
    for position, part in enumerate(path):
        if type(value) is dict:
            value = value.get(part)
        elif type(value) is list:
            return value, path[position:]
        else:
            return None, ()
    return value, ()
