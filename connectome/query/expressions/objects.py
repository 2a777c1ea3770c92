"""Documents: merging them, taking them apart, and fields whose names no path can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from connectome.errors import QueryError, at
from connectome.extjson import WRAPPERS, preview
from connectome.query.expressions.arrays import accumulator
from connectome.query.expressions.language import (
    ARRAY,
    OBJECT,
    Expression,
    Scope,
    Variables,
    folded,
    is_nullish,
    named_arguments,
    operator,
    read,
    syntax,
)
from connectome.query.expressions.logic import argument
from connectome.query.values import MISSING, Document, Value


def field_name(name: str) -> str:
    """
    A name that a new field may have.

    Raises:
        QueryError: ``BadValue`` -- the document would be read as something else when it comes back: ``{"$date": …}``.
    """
    if name in WRAPPERS or "\0" in name:
        raise QueryError(f"a field cannot be named {preview(name)}: no document could keep it", code="BadValue")
    return name


@accumulator("$mergeObjects")
def merge_objects(documents: Sequence[Value]) -> Document:
    """One document with the fields of several, of those by the same name the last."""
    merged: Document = {}
    for document in documents:
        if not is_nullish(document):
            if type(document) is not dict:
                raise QueryError(f"$mergeObjects needs objects, not {preview(document)}", code="Location40400")
            merged.update(document)
    return merged


@operator("$objectToArray", OBJECT, code="Location40390")
def object_to_array(document: Document) -> list[Document]:
    """The fields of a document as an array of ``{k: name, v: value}``."""
    return [{"k": name, "v": value} for name, value in document.items()]


@operator("$arrayToObject", ARRAY, code="Location40386")
def array_to_object(array: list[Value]) -> Document:
    """A document of the fields that an array gives as ``{k: name, v: value}`` or as ``[name, value]``."""
    pair = _named_pair if array and type(array[0]) is dict else _listed_pair
    if array and type(array[0]) not in (dict, list):
        raise QueryError(f"$arrayToObject needs objects or arrays, not {preview(array[0])}", code="Location40398")
    return {field_name(name): value for name, value in map(pair, array)}


def _listed_pair(element: Value) -> tuple[str, Value]:
    if type(element) is not list:
        raise QueryError(f"$arrayToObject got arrays, and then {preview(element)}", code="Location40396")
    if len(element) != 2:
        raise QueryError(f"$arrayToObject needs pairs, not {preview(element)}", code="Location40397")
    if type(element[0]) is not str:
        raise QueryError(
            f"a pair of $arrayToObject starts with a name, not {preview(element[0])}", code="Location40395"
        )
    return element[0], element[1]


def _named_pair(element: Value) -> tuple[str, Value]:
    if type(element) is not dict:
        raise QueryError(f"$arrayToObject got objects, and then {preview(element)}", code="Location40391")
    if len(element) != 2:
        raise QueryError(f"$arrayToObject needs objects of k and v, not {preview(element)}", code="Location40392")
    if element.keys() != {"k", "v"}:
        raise QueryError(f"$arrayToObject needs objects of k and v, not {preview(element)}", code="Location40393")
    if type(element["k"]) is not str:
        raise QueryError(f"k of $arrayToObject is a name, not {preview(element['k'])}", code="Location40394")
    return element["k"], element["v"]


_GET_FIELD: Final = {"unknown": "Location3041701", "field": "Location3041702", "input": "Location3041703"}


@syntax("$getField")
def get_field(operand: Value, scope: Scope) -> Expression:
    """The value of the field ``field`` of ``input``, or of the document, whatever dots and dollars its name has."""
    if type(operand) is dict and not next(iter(operand), "").startswith("$"):
        given = named_arguments("$getField", operand, ("field", "input"), ("field", "input"), _GET_FIELD)
        field, source = argument(given, "field", scope), argument(given, "input", scope)
    else:
        field, source = read(operand, scope), read("$$CURRENT", scope)

    def evaluate(variables: Variables) -> Value:
        name = _string(field.evaluate(variables), "$getField", "Location3041704")
        document = source.evaluate(variables)
        if document is None:
            return None
        return document.get(name, MISSING) if type(document) is dict else MISSING

    if field.constant:
        _string(field.evaluate({}), "$getField", "Location3041704")
    return folded(evaluate, field, source)


def _is_literal(source: Value) -> bool:
    """Whether an argument is a constant as it is written, and not only once it has been evaluated."""
    if type(source) is dict:
        return next(iter(source), "") in ("$literal", "$const")
    return type(source) is not list and not (type(source) is str and source.startswith("$"))


def _string(value: Value, of: str, code: str) -> str:
    if type(value) is not str:
        raise QueryError(f"field of {of} is a string, not {preview(value)}", code=code)
    return value


_SET_FIELD: Final = {
    "object": "Location4161100",
    "unknown": "Location4161101",
    "field": "Location4161102",
    "value": "Location4161103",
    "input": "Location4161109",
}


@syntax("$setField")
def set_field(operand: Value, scope: Scope) -> Expression:
    """``input`` with the field ``field`` set to ``value``, or without it where that is missing."""
    names = ("field", "value", "input")
    return _changed("$setField", named_arguments("$setField", operand, names, names, _SET_FIELD), scope)


@syntax("$unsetField")
def unset_field(operand: Value, scope: Scope) -> Expression:
    """``input`` without the field ``field``."""
    names = ("field", "input")
    given = named_arguments("$unsetField", operand, names, names, _SET_FIELD)
    return _changed("$unsetField", {**given, "value": "$$REMOVE"}, scope)


def _changed(name: str, given: Document, scope: Scope) -> Expression:
    with at("field"):
        constant = read(given["field"], scope)
        if type(given["field"]) is str and given["field"].startswith("$"):
            raise QueryError(
                f"field of {name} is no path; did you mean {{$literal: {preview(given['field'])}}}?",
                code="Location4161108",
            )
        if not _is_literal(given["field"]):
            raise QueryError(f"field of {name} is a constant string, not an expression", code="Location4161106")
        field = _string(constant.evaluate({}), name, "Location4161107")
    source, value = argument(given, "input", scope), argument(given, "value", scope)
    if not (value.constant and value.evaluate({}) is MISSING):
        with at("field"):
            field_name(field)

    def evaluate(variables: Variables) -> Document | None:
        document = source.evaluate(variables)
        if is_nullish(document):
            return None
        if type(document) is not dict:
            raise QueryError(f"input of {name} is an object, not {preview(document)}", code="Location4161105")
        changed = {**document, field: value.evaluate(variables)}
        if changed[field] is MISSING:
            del changed[field]
        return changed

    return folded(evaluate, source, value)
