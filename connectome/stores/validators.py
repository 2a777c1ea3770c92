"""
A collection's JSON Schema as the validator of a MongoDB collection.

A schema of ours (draft 2020-12) speaks of documents as they travel, MongoDB's ``$jsonSchema`` (draft 4, ``bsonType``)
of BSON.  What cannot be said in the other language is refused: a schema is enforced as it was given, or not taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from connectome.errors import InvalidRequest, at
from connectome.extjson import from_json
from connectome.query.values import sort_key

# A schema of MongoDB's, and what contributes to it.
_Dialect = dict[str, Any]
_Keyword = Callable[[Any, "_Scope"], _Dialect]

_NEVER: Final[_Dialect] = {"not": {}}
_TYPES: Final[Mapping[str, _Dialect]] = {
    "string": {"bsonType": "string"},
    "boolean": {"bsonType": "bool"},
    "null": {"bsonType": "null"},
    "array": {"bsonType": "array"},
    "object": {"bsonType": "object"},
    # A decimal travels as {"$numberDecimal": …}, which is no number to JSON.
    "number": {"bsonType": ["int", "long", "double"]},
    "integer": {"bsonType": ["int", "long", "double"], "multipleOf": 1},
}
# The types that travel as an object of one key: a schema that demands just this key means the type.
_WRAPPED: Final[Mapping[str, str]] = {
    "$oid": "objectId",
    "$date": "date",
    "$numberDecimal": "decimal",
    "$numberDouble": "double",
    "$binary": "binData",
    "$uuid": "binData",
    "$regularExpression": "regex",
    "$timestamp": "timestamp",
    "$minKey": "minKey",
    "$maxKey": "maxKey",
}
# Those of them that always travel with a text inside.
_AS_TEXT: Final = {key: {key: {"type": "string"}} for key in ("$oid", "$numberDecimal", "$uuid")}
# Keywords that demand nothing; a format is a remark since draft 2019-09.
_REMARKS: Final = frozenset(
    {
        *("$schema", "$id", "$comment", "$defs", "$anchor", "$vocabulary", "title", "description", "default"),
        *("examples", "deprecated", "readOnly", "writeOnly", "format"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    }
)
_SAME: Final = frozenset(
    {
        *("minimum", "maximum", "multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems"),
        *("uniqueItems", "minProperties", "maxProperties"),
    }
)
# Keywords of JSON Schema for which MongoDB has no word.
_UNTRANSLATED: Final = frozenset(
    {
        *("if", "then", "else", "contains", "minContains", "maxContains", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$dynamicAnchor"),
    }
)


# Keywords that name fields, which MongoDB reads as paths.
_NAMING: Final = frozenset({"properties", "required", "dependentRequired", "dependentSchemas"})


class _Scope:
    """Where a schema stands: the root's definitions, and those that lead here."""

    def __init__(self, definitions: Mapping[str, Any], inside: frozenset[str] = frozenset()) -> None:
        self._definitions = definitions
        self._inside = inside

    def referred(self, reference: str) -> _Dialect:
        found = re.fullmatch(r"#/\$defs/([^/~%]+)", reference)
        if not found or found[1] not in self._definitions:
            raise _refused(f"MongoDB has no '$ref', and only one to '#/$defs/…' can be put in place, not {reference!r}")
        name = found[1]
        if name in self._inside:
            raise _refused(f"MongoDB has no '$ref', and {reference!r} cannot be put in place, since it holds itself")
        return _translated(self._definitions[name], _Scope(self._definitions, self._inside | {name}))


def validator(source: Any) -> dict[str, Any]:
    """
    What ``create`` and ``collMod`` take as a validator.

    Args:
        source: A schema that is one, see ``schemas.Schema``.

    Raises:
        InvalidRequest: ``InvalidSchema`` -- a keyword that MongoDB cannot enforce, with the pointer to it.
    """
    definitions = source.get("$defs", {}) if type(source) is dict else {}
    return {"$jsonSchema": _translated(source, _Scope(definitions))}


def _refused(detail: str) -> InvalidRequest:
    return InvalidRequest(detail, code="InvalidSchema")


def _translated(source: Any, scope: _Scope) -> _Dialect:
    if type(source) is bool:
        return {} if source else _NEVER
    if wrapped := _wrapped(source):
        return {"bsonType": wrapped}
    for keyword in ("properties", "required"):
        if wrappers := _WRAPPED.keys() & {*source.get(keyword, ())}:
            with at(keyword):
                raise _refused(f"MongoDB knows a date, and not what {min(wrappers)!r} holds: demand just that key")
    parts: list[_Dialect] = []
    for keyword, operand in source.items():
        with at(keyword):
            if keyword in _NAMING and (pathlike := [name for name in operand if not name or "." in name]):
                raise _refused(f"MongoDB takes {pathlike[0]!r} for a path and not for the name of a field")
            if keyword in _UNTRANSLATED:
                raise _refused(f"MongoDB cannot enforce the keyword {keyword!r}")
            if keyword in _SAME:
                parts.append({keyword: operand})
            elif keyword in _KEYWORDS:
                parts.append(_KEYWORDS[keyword](operand, scope))
            # Like the remarks, keywords that JSON Schema does not know demand nothing.
    parts += _elements(source, scope)
    return _merged(parts)


def _wrapped(source: Mapping[str, Any]) -> str | None:
    """The type that an object of one key stands for, where a schema asks for just that."""
    demanded = source.get("required")
    if (
        not demanded
        or len(demanded) != 1
        or {*source}
        - _REMARKS
        - {
            "type",
            "properties",
            "required",
            "additionalProperties",
        }
    ):
        return None
    (key,) = demanded
    inside = source.get("properties", {key: True})
    plain = source.get("type", "object") == "object" and inside in ({key: True}, {key: {}}, _AS_TEXT.get(key))
    return _WRAPPED.get(key) if plain and not source.get("additionalProperties", False) else None


def _merged(parts: list[_Dialect]) -> _Dialect:
    """All of them: in one schema where no keyword is there twice."""
    merged: _Dialect = {}
    rest: list[_Dialect] = []
    for part in parts:
        if merged.keys().isdisjoint(part):
            merged |= part
        else:
            rest.append(part)
    return {"allOf": [merged, *rest]} if rest else merged


def _type(operand: Any, _: _Scope) -> _Dialect:
    names = [operand] if type(operand) is str else operand
    if len(names) == 1:
        return _TYPES[names[0]]
    return {"anyOf": [_TYPES[name] for name in names]}


def _enum(operand: list[Any], _: _Scope) -> _Dialect:
    if not operand:
        return _NEVER
    # MongoDB takes each value once.
    return {"enum": list({sort_key(each): each for each in map(from_json, operand)}.values())}


def _one(keyword: str) -> _Keyword:
    return lambda operand, scope: {keyword: _translated(operand, scope)}


def _several(keyword: str) -> _Keyword:
    def translated(operand: list[Any], scope: _Scope) -> _Dialect:
        schemas = []
        for position, each in enumerate(operand):
            with at(position):
                schemas.append(_translated(each, scope))
        return {keyword: schemas}

    return translated


def _named(keyword: str) -> _Keyword:
    def translated(operand: Mapping[str, Any], scope: _Scope) -> _Dialect:
        schemas = {}
        for name, each in operand.items():
            with at(name):
                schemas[name] = _translated(each, scope)
        return {keyword: schemas}

    return translated


def _additional(operand: Any, scope: _Scope) -> _Dialect:
    return {"additionalProperties": operand if type(operand) is bool else _translated(operand, scope)}


def _exclusive(keyword: str, bound: str) -> _Keyword:
    return lambda operand, _: {bound: operand, keyword: True}


def _elements(source: Mapping[str, Any], scope: _Scope) -> list[_Dialect]:
    """``prefixItems`` and ``items``, which are ``items`` and ``additionalItems`` in draft 4."""
    if "prefixItems" in source:
        with at("prefixItems"):
            first = _several("items")(source["prefixItems"], scope)
        with at("items"):
            return [{**first, "additionalItems": _translated(source.get("items", True), scope)}]
    if "items" in source:
        with at("items"):
            return [{"items": _translated(source["items"], scope)}]
    return []


_KEYWORDS: Final[Mapping[str, _Keyword]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda operand, scope: _enum([operand], scope),
    "$ref": lambda operand, scope: {"allOf": [scope.referred(operand)]},
    "required": lambda operand, _: {"required": operand} if operand else {},
    "not": _one("not"),
    **{keyword: _several(keyword) for keyword in ("allOf", "anyOf", "oneOf")},
    **{keyword: _named(keyword) for keyword in ("properties", "patternProperties")},
    "additionalProperties": _additional,
    "dependentSchemas": _named("dependencies"),
    "dependentRequired": lambda operand, _: {"dependencies": {name: each for name, each in operand.items() if each}},
    "exclusiveMinimum": _exclusive("exclusiveMinimum", "minimum"),
    "exclusiveMaximum": _exclusive("exclusiveMaximum", "maximum"),
}
