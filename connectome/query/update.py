"""
Updates: the compiler, and every update operator.

An operator is one function under ``@update_operator``: it gets its operand once and returns a change of one value.
Where the changes go, and what two of them may not do to each other, is ``writes``'s.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, Final, Protocol

from bson import Regex, Timestamp

from connectome.errors import QueryError, UpdateError, at
from connectome.extjson import MAX_DEPTH, WRAPPERS, preview
from connectome.query import clock
from connectome.query.conditions import NEAR, element_test, is_operator
from connectome.query.filter import Filter
from connectome.query.numbers import Overflow64, combined
from connectome.query.paths import Path, Test, is_index, parse_path
from connectome.query.pipeline import compile_update
from connectome.query.values import (
    INT64,
    MISSING,
    Document,
    Value,
    depth,
    equal,
    identical,
    integral,
    is_nan,
    is_number,
    sort_key,
    type_alias,
    type_code,
)
from connectome.query.writes import (
    ArrayFilters,
    Branch,
    Change,
    Leaf,
    Occasion,
    identifier_of,
    is_all,
    writable_path,
)


class Update:
    """
    A compiled update.

    Args:
        source: Update operators; or plain fields, which mean ``$set``; or an array: a pipeline of stages.
        array_filters: Which elements ``$[identifier]`` stands for, see ``compile_array_filters``.

    Raises:
        UpdateError: ``FailedToParse``, ``ConflictingUpdateOperators`` and others as MongoDB names them, with the
            pointer to the place in ``source``.
    """

    def __init__(self, source: Value, array_filters: ArrayFilters = MappingProxyType({})) -> None:
        self.source = source
        self.array_filters = array_filters
        self._change = _pipeline(source, array_filters) if type(source) is list else _Operators(source, array_filters)

    def apply(self, document: Document, filter: Filter | None = None) -> Document:
        """
        The document as the update leaves it: a new one, or the same object where nothing changes.

        Args:
            filter: By which the document was found, for the positional ``$``.

        Raises:
            UpdateError: The document refuses: ``PathNotViable``, ``TypeMismatch``, ``ImmutableField``, …
        """
        changed = self._change(document, filter, inserting=False)
        return document if changed is document else _bounded(changed)

    def insert(self, filter: Filter) -> Document:
        """
        The document that an upsert creates: the equalities of the filter, then the update.

        Raises:
            QueryError: ``NotSingleValueField`` -- the filter fixes one place twice.
            UpdateError: As ``apply``.
        """
        return _bounded(self._change(_seed(filter), None, inserting=True))


def _bounded(document: Document) -> Document:
    """Refuse what a client could not send back: an update may put one deep value into another."""
    levels = depth(document)
    if levels > MAX_DEPTH:
        raise UpdateError(
            f"a document has up to {MAX_DEPTH} levels, and this one would have {levels}", code="Overflow", pointer=None
        )
    return document


class _Transformation(Protocol):
    def __call__(self, document: Document, filter: Filter | None, /, *, inserting: bool) -> Document: ...


def _pipeline(source: list[Value], array_filters: ArrayFilters) -> _Transformation:
    if array_filters:
        raise UpdateError("an update by a pipeline takes no arrayFilters", code="FailedToParse", pointer=None)
    stages = compile_update(source)

    def transformed(document: Document, _: Filter | None, *, inserting: bool) -> Document:
        changed = document
        for stage in stages:
            changed = stage(changed)
        # A root without the _id, or with it elsewhere, is another one, and counts, whatever is kept of it.
        if identical(document, changed):
            return document
        if "_id" in document:
            # A pipeline that makes a new root need not carry the _id over.
            becomes = changed.get("_id", document["_id"])
            if not equal(document["_id"], becomes):
                raise _immutable(document["_id"], becomes)
            if next(iter(changed), None) != "_id":
                changed = {"_id": becomes, **changed}
        return changed

    return transformed


def _immutable(was: Value, becomes: Value) -> UpdateError:
    what = "be removed" if becomes is MISSING else f"become {preview(becomes)}"
    return UpdateError(f"_id cannot be changed: it is {preview(was)}, and would {what}", code="ImmutableField")


class _Operators:
    """What the operators of an update change, merged into one tree of paths."""

    def __init__(self, source: Value, array_filters: ArrayFilters) -> None:
        self._root = Branch()
        self._positional = False
        used: set[str] = set()
        for place, name, path, operand in _changes(source):
            with at(*place):
                for target, leaf in _operator(name)(path, operand, place):
                    parts = writable_path(target)
                    self._positional |= "$" in parts
                    used |= {identifier for part in parts if (identifier := identifier_of(part))}
                    for identifier in used - array_filters.keys():
                        raise UpdateError(f"no array filter was given for the identifier {identifier!r} in {target!r}")
                    self._root.plant(parts, leaf)
        for identifier in array_filters.keys() - used:
            raise UpdateError(
                f"the array filter for the identifier {identifier!r} is not used in the update",
                code="FailedToParse",
                pointer=None,
            )
        self._root.finish(array_filters)

    def __call__(self, document: Document, filter: Filter | None, *, inserting: bool) -> Document:
        position = filter.position(document) if filter and self._positional else None
        changed: Document = self._root(document, Occasion(document, inserting, position))
        if changed is document:
            return document
        was, becomes = document.get("_id", MISSING), changed.get("_id", MISSING)
        if was is not MISSING and not identical(was, becomes):
            with self._at_change_of("_id"):
                raise _immutable(was, becomes)
        for name in changed:
            # An insert may bring such a name, and a part below the top may be one; so it is since MongoDB 5.0.
            if name.startswith("$") and not inserting and changed[name] is not document.get(name):
                with self._at_change_of(name):
                    raise UpdateError(
                        f"the name of a field does not start with '$': {name!r}", code="DollarPrefixedFieldName"
                    )
        return changed

    def _at_change_of(self, name: str) -> at:
        """The place in the update of what changes a top-level field."""
        return at(*next(leaf.place for path, leaf in self._root.leaves() if path[0] == name))


def compile_array_filters(source: list[Document]) -> dict[str, Filter]:
    """
    The array filters of an update, by the identifier that each of them is about.

    Raises:
        QueryError, UpdateError: ``FailedToParse`` -- a filter about no identifier, or about two, or two about one;
            ``BadValue`` -- an identifier that is none; with the pointer from the array on.
    """
    filters: dict[str, Filter] = {}
    for position, each in enumerate(source):
        with at(position):
            compiled = _plain_filter(each, "an array filter")
            names = sorted(compiled.fields)
            if len(names) != 1:
                raise UpdateError(
                    f"an array filter is about one identifier, not {' and '.join(map(repr, names)) or 'none'}",
                    code="FailedToParse",
                )
            if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", names[0]):
                raise UpdateError(
                    f"an identifier starts with a small letter and has letters and digits, and {names[0]!r} does not"
                )
            if names[0] in filters:
                raise UpdateError(f"two array filters are about the identifier {names[0]!r}", code="FailedToParse")
            filters[names[0]] = compiled
    return filters


def _plain_filter(source: Value, what: str) -> Filter:
    """
    A filter on elements, which may not ask for everything that one on documents may.

    Raises:
        QueryError: ``QueryFeatureNotAllowed`` -- it has ``$expr`` or ``$jsonSchema``; ``Location5626500`` -- ``$near``.
    """
    compiled = Filter(source)
    for name in ("$expr", "$jsonSchema"):
        if name in compiled.operators:
            raise QueryError(
                f"{name} is about a whole document, and cannot stand in {what}", code="QueryFeatureNotAllowed"
            )
    if compiled.distance:
        raise _no_near(what)
    return compiled


def _no_near(what: str) -> QueryError:
    return QueryError(f"$near puts documents in order, and cannot stand in {what}", code="Location5626500")


def _changes(source: Value) -> Iterator[tuple[tuple[str, ...], str, str, Value]]:
    """
    Each change that an update asks for.

    Yields:
        Its place in the source, the operator, the path, the operand.
    """
    if type(source) is not dict:
        raise UpdateError(f"an update is an object, not {preview(source)}", code="FailedToParse")
    if not any(name.startswith("$") for name in source):
        for path, operand in source.items():
            yield (path,), "$set", path, operand
        return
    for name, fields in source.items():
        with at(name):
            if not name.startswith("$"):
                raise UpdateError(
                    f"an update holds operators or plain fields, never both, and {name!r} is a plain field",
                    code="FailedToParse",
                )
            _operator(name)
            if type(fields) is not dict:
                raise UpdateError(
                    f"{name} needs an object of paths and operands, not {preview(fields)}", code="FailedToParse"
                )
        for path, operand in fields.items():
            yield (name, path), name, path, operand


def _operator(name: str) -> _Operator:
    if name not in OPERATORS:
        nearest = difflib.get_close_matches(name, OPERATORS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "expected one of " + ", ".join(sorted(OPERATORS))
        raise UpdateError(f"unknown update operator: {name}; {hint}", code="FailedToParse")
    return OPERATORS[name]


def _seed(filter: Filter) -> Document:
    """The document that the equalities of a filter describe, by name."""
    seed: Document = {}
    fixed: set[Path] = set()
    equalities = [(parse_path(path), value) for path, value in filter.equalities.items()]
    for parts, value in sorted(equalities, key=operator.itemgetter(0)):
        above, last = parts[:-1], parts[-1]
        if any(parts[:length] in fixed for length in range(1, len(parts))):
            raise QueryError(
                f"cannot tell what an upsert shall insert: the filter fixes {'.'.join(parts)!r}, and a path above it",
                code="NotSingleValueField",
            )
        if not WRAPPERS.isdisjoint(parts):
            raise QueryError(
                f"an upsert cannot create {'.'.join(parts)!r}: a part of it is the name of an Extended JSON type",
                code="DollarPrefixedFieldName",
            )
        fixed.add(parts)
        document = seed
        for part in above:
            document = document.setdefault(part, {})
        document[last] = value
    return seed


# Path, operand and place in the source → the changes to plant, each with its path.
_Operator = Callable[[str, Value, tuple[str, ...]], list[tuple[str, Leaf]]]
OPERATORS: dict[str, _Operator] = {}


def update_operator(name: str, *, needs_way: bool = True) -> Callable[[Callable[[Value], Change]], Any]:
    """
    Declare a function from operand to ``Change`` as an update operator.

    Args:
        needs_way: False for an operator that ignores a path which leads through a scalar.
    """

    def declare(function: Callable[[Value], Change]) -> Callable[[Value], Change]:
        def plan(path: str, operand: Value, place: tuple[str, ...]) -> list[tuple[str, Leaf]]:
            return [(path, Leaf(place, function(operand), needs_way))]

        plan.__doc__ = function.__doc__
        OPERATORS[name] = plan
        return function

    return declare


@update_operator("$set")
def set_(operand: Value) -> Change:
    """Set the field, creating the documents on the way to it."""
    return lambda value, _: value if identical(value, operand) else operand


@update_operator("$setOnInsert", needs_way=False)
def set_on_insert(operand: Value) -> Change:
    """Set the field where an upsert creates the document; else do nothing."""
    return lambda value, occasion: operand if occasion.inserting else value


@update_operator("$unset", needs_way=False)
def unset(_: Value) -> Change:
    """Remove the field; an element of an array becomes null."""
    return lambda _, __: MISSING


def rename(path: str, operand: Value, place: tuple[str, ...]) -> list[tuple[str, Leaf]]:
    """
    Give the field another name, which may lie in another document; a field of that name is replaced.

    Raises:
        UpdateError: ``BadValue`` -- not a name, the same name, one path inside the other; from the change: either
            leads through an array.
    """
    if type(operand) is not str:
        raise UpdateError(f"$rename needs the new name as a string, not {preview(operand)}")
    source, target = writable_path(path), writable_path(operand)
    if any(part == "$" or is_all(part) for part in (*source, *target)):
        raise UpdateError(f"$rename takes no positional part: {path!r} to {preview(operand)}")
    if source == target:
        raise UpdateError(f"$rename needs two different names, and both are {operand!r}")
    shorter = min(len(source), len(target))
    if source[:shorter] == target[:shorter]:
        raise UpdateError(f"$rename cannot move a field into or out of itself: {path!r} to {operand!r}")

    def take(value: Value, occasion: Occasion) -> Value:
        taken = _at(source, occasion.document)
        if taken is MISSING:
            return value
        _refuse_arrays(source, occasion.document, "source")
        _refuse_arrays(target, occasion.document, "target")
        if target[0] == "_id" and value is not MISSING:
            # Not even by an equal value: MongoDB does not look at it.
            raise UpdateError(f"_id cannot be replaced, and $rename would put {path!r} there", code="ImmutableField")
        return taken

    return [(path, Leaf(place, lambda _, __: MISSING)), (operand, Leaf(place, take, needs_way=False))]


OPERATORS["$rename"] = rename


def _at(path: Path, value: Value) -> Value:
    """What stands at a path, positions in arrays included."""
    for part in path:
        value = _member(value, part)
    return value


def _refuse_arrays(path: Path, document: Document, end: str) -> None:
    """Refuse a path that leads through an array; one may stand at its end."""
    for length in range(1, len(path)):
        if type(_at(path[:length], document)) is list:
            raise UpdateError(f"the {end} of $rename cannot lie in an array, and {'.'.join(path)!r} does")


@update_operator("$currentDate")
def current_date(operand: Value) -> Change:
    """
    Set the field to the time at which the update was compiled: one time for the whole request.

    Args:
        operand: ``true`` or ``{"$type": "date"}`` for a date, ``{"$type": "timestamp"}`` for a timestamp.
    """
    now = clock.now()
    date = now.replace(microsecond=now.microsecond // 1000 * 1000)
    if type(operand) is bool:
        return lambda _, __: date
    if type(operand) is not dict:
        raise UpdateError(f'$currentDate needs true or {{"$type": "date" or "timestamp"}}, not {preview(operand)}')
    for name in operand:
        if name != "$type":
            with at(name):
                raise UpdateError(f"$currentDate knows only $type, not {name!r}")
    if operand.get("$type") not in ("date", "timestamp"):
        raise UpdateError(f'the $type of $currentDate is "date" or "timestamp", not {preview(operand)}')
    stamp = Timestamp(int(now.timestamp()), 1)
    return lambda _, __: date if operand["$type"] == "date" else stamp


@update_operator("$inc")
def inc(operand: Value) -> Change:
    """Add to a number; a missing field starts at 0."""
    return _arithmetic(operand, "$inc", operator.add, missing=operand)


@update_operator("$mul")
def mul(operand: Value) -> Change:
    """Multiply a number; a missing field becomes 0 of the operand's type."""
    return _arithmetic(operand, "$mul", operator.mul, missing=_times_zero(operand))


def _arithmetic(operand: Value, name: str, combine: Callable[[Any, Any], Any], *, missing: Value) -> Change:
    if not is_number(operand):
        raise UpdateError(f"{name} needs a number, not {preview(operand)}", code="TypeMismatch")

    def change(value: Value, _: Occasion) -> Value:
        if value is MISSING:
            return missing
        if not is_number(value):
            raise UpdateError(
                f"{name} changes numbers, and the field holds {preview(value)}, of type {type_alias(value)}",
                code="TypeMismatch",
            )
        try:
            return _kept(value, combined(value, operand, combine))
        except Overflow64:
            raise UpdateError(f"{name} of {preview(value)} by {preview(operand)} is beyond 64 bits") from None

    return change


def _times_zero(number: Value) -> Value:
    """0 with the type, the sign and the digits that multiplying gives it; what is no number is refused elsewhere."""
    return combined(number, 0, operator.mul) if is_number(number) else 0


def _kept(before: Value, after: Value) -> Value:
    """The number that was there, where the new one is equal and of the same type: of 1.0 and 1.00 the first stays."""
    return before if type_code(before) == type_code(after) and equal(before, after) and not is_nan(after) else after


@update_operator("$bit")
def bit(operand: Value) -> Change:
    """Combine a whole number bit by bit, by ``and``, ``or``, ``xor``; a missing field starts at 0."""
    if type(operand) is not dict or not operand:
        raise UpdateError(f"$bit needs an object of and, or, xor and whole numbers, not {preview(operand)}")
    for name, number in operand.items():
        with at(name):
            if name not in _BITWISE:
                raise UpdateError(f"$bit knows and, or and xor, not {name!r}")
            if type_alias(number) not in ("int", "long"):
                raise UpdateError(f"$bit needs an int or a long, not {preview(number)}, of type {type_alias(number)}")

    def change(value: Value, _: Occasion) -> Value:
        result = 0 if value is MISSING else value
        if type_alias(result) not in ("int", "long"):
            raise UpdateError(
                f"$bit changes ints and longs, and the field holds {preview(value)}, of type {type_alias(value)}"
            )
        for name, number in operand.items():
            result = combined(result, number, _BITWISE[name])
        return result if value is MISSING else _kept(value, result)

    return change


_BITWISE: Final[dict[str, Callable[[int, int], int]]] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}


@update_operator("$min")
def min_(operand: Value) -> Change:
    """Set the field where the operand is less, in the order of all BSON types, or the field is missing."""
    key = sort_key(operand)
    return lambda value, _: operand if value is MISSING or key < sort_key(value) else value


@update_operator("$max")
def max_(operand: Value) -> Change:
    """Set the field where the operand is greater, in the order of all BSON types, or the field is missing."""
    key = sort_key(operand)
    return lambda value, _: operand if value is MISSING or key > sort_key(value) else value


def _array(value: Value, name: str, *, code: str = "BadValue") -> list[Value]:
    if type(value) is not list:
        raise UpdateError(
            f"{name} changes arrays, and the field holds {preview(value)}, of type {type_alias(value)}", code=code
        )
    return value


def _each(operand: Value, name: str, *, code: str) -> list[Value]:
    if type(operand["$each"]) is not list:
        with at("$each"):
            raise UpdateError(f"$each of {name} needs an array, not {preview(operand['$each'])}", code=code)
    return operand["$each"]


@update_operator("$push")
def push(operand: Value) -> Change:
    """
    Append to an array, creating it where the field is missing.

    Args:
        operand: The value to append; or ``$each`` with the values, and beside it ``$position`` (where to insert;
            negative from the end), ``$sort`` (1, -1, or fields of the elements), ``$slice`` (how many to keep of
            the front; negative of the back), which take effect in this order.  That a value was appended counts as a
            change, even where ``$slice`` cuts it off again.
    """
    if type(operand) is not dict or "$each" not in operand:
        return lambda value, _: [operand] if value is MISSING else [*_array(value, "$push"), operand]

    for name in operand:
        if name not in ("$each", "$position", "$sort", "$slice"):
            with at(name):
                raise UpdateError(f"$push takes $each, $position, $slice and $sort, not {name!r}")
    each = _each(operand, "$push", code="BadValue")
    position = _whole_clause(operand, "$position")
    slice_ = _whole_clause(operand, "$slice")
    in_order = _order(operand["$sort"]) if "$sort" in operand else None

    def change(value: Value, _: Occasion) -> Value:
        array = [] if value is MISSING else list(_array(value, "$push"))
        at_index = len(array) if position is None else position
        array[at_index:at_index] = each
        if in_order:
            in_order(array)
        if slice_ is not None:
            array = array[:slice_] if slice_ >= 0 else array[slice_:]
        return array if each or value is MISSING or not identical(value, array) else value

    return change


def _whole_clause(clauses: Document, name: str) -> int | None:
    if name not in clauses:
        return None
    number = integral(clauses[name])
    if number is None or number not in INT64:
        with at(name):
            raise UpdateError(f"{name} of $push needs a whole number of 64 bits, not {preview(clauses[name])}")
    return number


def _order(operand: Value) -> Callable[[list[Value]], None]:
    """What sorts an array in place by ``$sort``: whole elements, or fields of those that are documents."""
    with at("$sort"):
        if integral(operand) in (1, -1):
            return lambda array: array.sort(key=sort_key, reverse=integral(operand) == -1)
        if type(operand) is not dict or not operand:
            raise UpdateError(f"$sort of $push needs 1, -1, or an object of field: direction, not {preview(operand)}")
        fields: list[tuple[str, bool]] = []
        for name, direction in operand.items():
            with at(name):
                if integral(direction) not in (1, -1):
                    raise UpdateError(f"a sort direction is 1 or -1, not {preview(direction)}")
                if not all(parse_path(name)):
                    raise UpdateError(f"a field to sort by has no empty parts, and {name!r} has one")
                fields.append((name, integral(direction) == -1))

    def sort(array: list[Value]) -> None:
        for path, descending in reversed(fields):
            array.sort(key=lambda element: sort_key(_field(element, path)), reverse=descending)

    return sort


def _field(value: Value, path: str) -> Value:
    """What an element has at a path: a field whose name has the dots, or what its parts lead to, positions included."""
    found = _member(value, path) if type(value) is dict else MISSING
    first, dot, rest = path.partition(".")
    while found is MISSING and dot:
        value = _member(value, first)
        found = _member(value, rest)
        first, dot, rest = rest.partition(".")
    return found


def _member(value: Value, name: str) -> Value:
    if type(value) is dict:
        return value.get(name, MISSING)
    if type(value) is list and is_index(name) and int(name) < len(value):
        return value[int(name)]
    return MISSING


@update_operator("$addToSet")
def add_to_set(operand: Value) -> Change:
    """Append the value, or each of ``$each``, that no element of the array equals."""
    if type(operand) is dict and next(iter(operand), None) == "$each":
        for name in operand:
            if name != "$each":
                with at(name):
                    raise UpdateError(f"$addToSet takes only $each, not {name!r} beside it")
        each = _each(operand, "$addToSet", code="TypeMismatch")
    else:
        each = [operand]

    def change(value: Value, _: Occasion) -> Value:
        array = [] if value is MISSING else list(_array(value, "$addToSet"))
        present = set(map(sort_key, array))
        for element in each:
            if (key := sort_key(element)) not in present:
                present.add(key)
                array.append(element)
        return value if value is not MISSING and len(array) == len(value) else array

    return change


@update_operator("$pop")
def pop(operand: Value) -> Change:
    """Remove the last element with 1, the first with -1."""
    if integral(operand) not in (1, -1):
        raise UpdateError(
            f"$pop needs 1 (the last element) or -1 (the first), not {preview(operand)}", code="FailedToParse"
        )
    kept = slice(None, -1) if integral(operand) == 1 else slice(1, None)

    def change(value: Value, _: Occasion) -> Value:
        if value is MISSING:
            return value
        return _left(value, _array(value, "$pop", code="TypeMismatch")[kept])

    return change


@update_operator("$pull")
def pull(operand: Value) -> Change:
    """
    Remove every element that matches.

    Args:
        operand: A value that an element equals; operators or a regular expression that it meets; or a filter that
            it meets as a document.
    """
    matches = _pull_test(operand)

    def change(value: Value, _: Occasion) -> Value:
        if value is MISSING:
            return value
        return _left(value, [element for element in _array(value, "$pull") if not matches(element)])

    return change


def _pull_test(operand: Value) -> Test:
    if type(operand) is Regex:
        return element_test(operand)
    if type(operand) is dict and _is_condition_of_pull(next(iter(operand), "")):
        if not NEAR.keys().isdisjoint(operand):
            raise _no_near("a condition of $pull")
        return element_test(operand)
    if type(operand) is dict:
        in_document = _plain_filter(operand, "a condition of $pull").matches
        return lambda element: type(element) is dict and in_document(element)
    return lambda element: equal(element, operand)


def _is_condition_of_pull(first: str) -> bool:
    """Whether an operand is about elements as they are, by its first key; ``$not`` there does not say so to MongoDB."""
    return first == "$options" or (is_operator(first) and first != "$not")


@update_operator("$pullAll")
def pull_all(operand: Value) -> Change:
    """Remove every element that equals one of the array's values."""
    if type(operand) is not list:
        raise UpdateError(f"$pullAll needs an array, not {preview(operand)}")
    pulled = set(map(sort_key, operand))

    def change(value: Value, _: Occasion) -> Value:
        if value is MISSING:
            return value
        return _left(value, [element for element in _array(value, "$pullAll") if sort_key(element) not in pulled])

    return change


def _left(before: list[Value], after: list[Value]) -> list[Value]:
    """What is left of an array; the array itself where nothing was taken from it."""
    return before if len(before) == len(after) else after
