"""
The shapes of request bodies, each said once and checked twice.

A shape is a test that takes a microsecond and a JSON Schema that takes a hundred: what the test passes is not shown to
jsonschema, which is the judge, and the voice, of whatever the test does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Shape:
    """
    What a value looks like.

    schema: as JSON Schema says it.
    fits: whether a decoded value, as ``extjson.loads`` returns it, is valid; the same answer as the schema's.
    """

    schema: dict[str, Any]
    fits: Callable[[Any], bool]


OBJECT: Final = Shape({"type": "object"}, lambda value: type(value) is dict)
OBJECT_OR_ARRAY: Final = Shape({"type": ["object", "array"]}, lambda value: type(value) in (dict, list))
STRING: Final = Shape({"type": "string"}, lambda value: type(value) is str)
BOOLEAN: Final = Shape({"type": "boolean"}, lambda value: type(value) is bool)
# To JSON Schema 2.0 is an integer, and so is an Int64; true is none.
COUNT: Final = Shape(
    {"type": "integer", "minimum": 0},
    lambda value: (
        value >= 0 and (type(value) is not float or value.is_integer())
        if isinstance(value, (int, float)) and type(value) is not bool
        else False
    ),
)


def array(items: Shape) -> Shape:
    """Arrays whose elements all have one shape."""
    fits = items.fits
    return Shape({"type": "array", "items": items.schema}, lambda value: type(value) is list and all(map(fits, value)))


def or_null(shape: Shape) -> Shape:
    """The same, or null."""
    types = shape.schema["type"]
    schema = {**shape.schema, "type": [*(types if isinstance(types, list) else [types]), "null"]}
    fits = shape.fits
    return Shape(schema, lambda value: value is None or fits(value))


def described(shape: Shape, says: str) -> Shape:
    """The same, with what it is for."""
    return Shape({**shape.schema, "description": says}, shape.fits)


def envelope(properties: dict[str, Shape], *, required: Sequence[str] = ()) -> Shape:
    """Objects with these keys and no others."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: shape.schema for name, shape in properties.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    known = {name: shape.fits for name, shape in properties.items()}
    needed = frozenset(required)

    def fits(value: Any) -> bool:
        if type(value) is not dict or not needed <= value.keys():
            return False
        for name, member in value.items():  # noqa: SIM110 -- all() over a generator takes twice as long
            if name not in known or not known[name](member):
                return False
        return True

    return Shape(schema, fits)
