"""
Dependencies: which fields of a document a pipeline reads, so that a store need not decode the others.

What is named here may be more than is read, and never less: of an operator that is not known to be harmless the whole
document is said to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from connectome.query.values import Document, Value

# Stands, as no field's name can, for all fields.
_WHOLE: Final = "$$ROOT"


def fields_read(stages: Sequence[Document]) -> frozenset[str] | None:
    """
    The fields at the top of a document that stages read.

    Args:
        stages: As they are sent, and compile.

    Returns:
        None where it may be all fields, and where a document may come out of the stages with what it had before.
    """
    read: set[str] = set()
    for stage in stages:
        ((name, operand),) = stage.items()
        if name not in _READ:
            return None
        read.update(_READ[name](operand))
        if name in _MAKES_OTHERS:
            return None if _WHOLE in read else frozenset(read)
    return None


def _by_expression(source: Value) -> Iterator[str]:
    """What an expression reads, or any operand with expressions in it."""
    if type(source) is str:
        if source.startswith("$$"):
            if source[2:].partition(".")[0] in ("ROOT", "CURRENT"):
                yield _WHOLE
        elif source.startswith("$"):
            yield from _tops([source[1:]])
    elif type(source) is list:
        for each in source:
            yield from _by_expression(each)
    elif type(source) is dict:
        for name, value in source.items():
            if name == "$getField":
                yield _WHOLE  # it reads $$CURRENT where it does not say of what
            if name == "sortBy" and type(value) is dict:
                yield from _tops(value)
            yield from _by_expression(value)


def _by_filter(source: Document) -> Iterator[str]:
    for name, value in source.items():
        if name in ("$and", "$or", "$nor"):
            for each in value:
                yield from _by_filter(each)
        elif name == "$expr":
            yield from _by_expression(value)
        else:
            yield from [_WHOLE] if name.startswith("$") else _tops([name])


def _by_unwind(operand: Value) -> Iterator[str]:
    given = operand if type(operand) is dict else {"path": operand}
    yield from _by_expression(given["path"])
    if "includeArrayIndex" in given:
        yield from _tops([given["includeArrayIndex"]])


def _by_set(operand: Document) -> Iterator[str]:
    # What stands beside a field in a document is kept, so that the document is read.
    yield from _tops(operand)
    yield from _by_expression(operand)


def _by_sort(operand: Document) -> Iterator[str]:
    yield from _tops(("_id", *operand))  # an error names the _id


def _nothing(_: Value) -> Iterator[str]:
    return iter(())


def _tops(paths: Iterable[str]) -> Iterator[str]:
    return (path.partition(".")[0] for path in paths)


_MAKES_OTHERS: Final = frozenset({"$bucket", "$count", "$group", "$replaceRoot", "$replaceWith", "$sortByCount"})
_READ: Final[dict[str, Callable[[Value], Iterator[str]]]] = {
    **dict.fromkeys(_MAKES_OTHERS - {"$count"}, _by_expression),
    **dict.fromkeys(("$count", "$limit", "$sample", "$skip", "$unset"), _nothing),
    "$addFields": _by_set,
    "$match": _by_filter,
    "$set": _by_set,
    "$sort": _by_sort,
    "$unwind": _by_unwind,
}
