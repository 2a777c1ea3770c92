"""
JSON Schema (draft 2020-12): what a collection demands of its documents, and an operation of its body.

A collection's schema speaks of JSON, so it sees a document as it travels: a date is ``{"$date": …}`` to it.
jsonschema is the judge; this module turns its verdicts into pointers and sentences.  jsonschema-rs, where it is
installed, is a gate in front of it: it lets through what is plainly valid, by those keywords on which both agree.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from connectome import extjson
from connectome.errors import Failure, InvalidRequest, pointer_to

try:
    import jsonschema_rs
except ModuleNotFoundError:
    HAS_GATE = False
else:
    HAS_GATE = True

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Schema:
    """
    A compiled JSON Schema.

    Args:
        source: An object or a boolean, draft 2020-12.  Nothing that ``$ref`` names is ever fetched: it must lie in
            the schema itself.

    Raises:
        InvalidRequest: ``InvalidSchema`` -- not a schema, another draft, or a ``$ref`` that leads nowhere, with the
            pointer to the place in ``source``.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        if type(source) not in (dict, bool):
            raise _invalid(f"a JSON Schema is an object or a boolean, not {extjson.preview(source)}", "")
        if type(source) is dict and str(source.get("$schema", _DIALECT)).rstrip("#") != _DIALECT:
            raise _invalid(f"$schema is {_DIALECT}, not {extjson.preview(source['$schema'])}", "/$schema")
        if extjson.to_json(source) is not source:
            raise _invalid("a JSON Schema is plain JSON, without values of other types", "")
        try:
            Draft202012Validator.check_schema(source)
        except SchemaError as error:
            raise _invalid(_sentence(error), pointer_to(*error.absolute_path)) from None
        # An explicit registry has no way to retrieve anything: jsonschema's own would ask the network.
        registry: Registry[Any] = Registry()
        _require_references(source, registry)
        self._validator = Draft202012Validator(source, registry=registry)
        self._lets_through = _gate(source) if HAS_GATE else _closed

    def admits(self, value: Any) -> bool:
        """Whether a value is valid; ``value`` as ``failures`` takes it."""
        return self._lets_through(value) or self._validator.is_valid(value)

    def failures(self, value: Any, *steps: str | int) -> list[Failure]:
        """
        Each way in which a value fails, the outermost first; none where it is valid.

        Args:
            value: As the schema sees it: a document of a collection goes through ``extjson.to_json`` first.
            steps: What to put in front of each pointer.
        """
        if self._lets_through(value):
            return []
        found = self._validator.iter_errors(value)
        return [
            Failure(detail, pointer_to(*steps, *path))
            for error in sorted(found, key=_prominence)
            for detail, path in _explained(error)
        ]


def _invalid(detail: str, pointer: str) -> InvalidRequest:
    return InvalidRequest(f"not a JSON Schema: {detail}", code="InvalidSchema", pointer=pointer)


def _prominence(error: ValidationError) -> tuple[int, bool]:
    # An unknown key before a missing one: it is often the missing one misspelt.
    return len(error.absolute_path), error.validator == "required"


# Keywords whose schemas judge the same value as the schema that holds them.
_IN_PLACE: Final[dict[str, Callable[[Any], Iterable[Any]]]] = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), lambda schemas: schemas),
    **dict.fromkeys(("not", "if", "then", "else"), lambda schema: [schema]),
    "dependentSchemas": lambda schemas: schemas.values(),
}


def _require_references(source: Any, registry: Registry[Any]) -> None:
    """Refuse a ``$ref`` that leads out of the schema, to no schema, or round in a circle."""
    root: Resource[Any] = DRAFT202012.create_resource(source)
    pending = [(source, registry.with_resource("", root).resolver_with_root(root))]
    # From each schema to those that judge the same value.
    onward: dict[int, list[int]] = {}
    while pending:
        schema, resolver = pending.pop()
        if type(schema) is not dict or id(schema) in onward:
            continue
        same = [
            each for keyword, schemas in _IN_PLACE.items() if keyword in schema for each in schemas(schema[keyword])
        ]
        for keyword in ("$ref", "$dynamicRef"):
            if keyword in schema:
                target = _target(keyword, schema[keyword], resolver)
                same.append(target.contents)
                pending.append((target.contents, target.resolver))
        onward[id(schema)] = list(map(id, same))
        for below in DRAFT202012.create_resource(schema).subresources():
            pending.append((below.contents, resolver.in_subresource(below)))
    if _has_circle(onward):
        raise _invalid("a $ref leads round in a circle, back to a schema of the same value", "")


def _target(keyword: str, reference: str, resolver: Any) -> Any:
    """What a reference leads to: the schema, and the resolver for what that one names."""
    try:
        target = resolver.lookup(reference)
    except Unresolvable:
        target = None
    if target is None or type(target.contents) not in (dict, bool):
        raise _invalid(
            f"{keyword} {extjson.preview(reference)} leads to no schema in this schema, "
            "and nothing is fetched from elsewhere",
            "",
        )
    return target


def _has_circle(onward: dict[int, list[int]]) -> bool:
    """Whether a walk along these edges can come back to where it was: what is left when all ends are taken away."""
    left = {node: set(targets) & onward.keys() for node, targets in onward.items()}
    while ends := [node for node, targets in left.items() if not targets]:
        left = {node: targets.difference(ends) for node, targets in left.items() if targets}
    return bool(left)


def _gate(source: Any) -> Callable[[Any], bool]:
    """A test that never lets through what jsonschema would refuse; it may refuse what jsonschema would not."""
    try:
        # A root's own address names nothing where every $ref starts with "#".
        root = {name: each for name, each in source.items() if name != "$id"} if type(source) is dict else source
        is_valid = jsonschema_rs.Draft202012Validator(_common(root, lax=_INVERTING.isdisjoint(_names(root)))).is_valid
    except ValueError:  # a keyword of which that is not certain, or a pattern too large for it
        return _closed

    def lets_through(value: Any) -> bool:
        try:
            return is_valid(value)
        except ValueError:  # what is no JSON
            return False

    return lets_through


def _closed(_: Any) -> bool:
    return False


def _names(source: Any) -> Iterator[str]:
    """All keys of all objects in a structure."""
    if type(source) is dict:
        yield from source
        source = [*source.values()]
    if type(source) is list:
        for each in source:
            yield from _names(each)


def _common(schema: Any, *, lax: bool) -> Any:
    """
    Reduce a schema to what jsonschema and jsonschema-rs judge alike.

    Args:
        lax: Nothing in the whole schema turns a refusal into a success, so that jsonschema-rs may be the stricter one.

    Raises:
        ValueError: It holds something on which they differ, or may.
    """
    if type(schema) is not dict:
        return schema
    common = {}
    for keyword, operand in schema.items():
        if keyword in _COMMON:
            common[keyword] = _COMMON[keyword](operand, lax)
        elif keyword == "patternProperties":
            common[keyword] = {_pattern(name, False): _common(each, lax=lax) for name, each in operand.items()}
        elif keyword == "uniqueItems":
            # To one of them 2**60 and float(2**60) are the same, to the other they are not.
            items = schema.get("items")
            only_strings = type(items) is dict and items.get("type") == "string" and "prefixItems" not in schema
            if operand and not only_strings:
                raise ValueError("uniqueItems of anything but strings")
            common[keyword] = operand
        elif keyword in _APART or (keyword in Draft202012Validator.VALIDATORS and keyword not in _NEVER_ASSERTED):
            raise ValueError(keyword)
    return common


def _one(schema: Any, lax: bool) -> Any:
    return _common(schema, lax=lax)


def _several(schemas: list[Any], lax: bool) -> Any:
    return [_common(schema, lax=lax) for schema in schemas]


def _named(schemas: dict[str, Any], lax: bool) -> Any:
    return {name: _common(schema, lax=lax) for name, schema in schemas.items()}


def _as_it_is(operand: Any, _: bool) -> Any:
    return operand


def _count(operand: Any, lax: bool) -> Any:
    if type(operand) is not int:
        raise ValueError("a count that is a float")
    return _limit(operand, lax)


def _limit(operand: Any, _: bool) -> Any:
    # From here on neighbouring floats are further apart than 1, and comparing as floats is not comparing exactly.
    if not abs(operand) < 2**53:
        raise ValueError("a limit that is not exact as a float")
    return operand


def _constant(operand: Any, lax: bool) -> Any:
    if type(operand) is int:
        return _limit(operand, lax)
    if operand is not None and type(operand) not in (str, bool):
        raise ValueError("a constant that is a float or holds several values")
    return operand


def _constants(operand: list[Any], lax: bool) -> Any:
    return [_constant(each, lax) for each in operand]


def _local(reference: str, _: bool) -> Any:
    if not re.fullmatch(r"#(/\$defs/[\w-]+)?", reference, re.ASCII):
        raise ValueError("a reference to anywhere but $defs")
    return reference


# One character, as itself, by an escape, or out of a set; a sign of how often; a group, an alternative, a beginning.
_CHARACTER: Final = (
    r"""[\w @/,:;=<>!%"'~&#-]|\\[][(){}.*+?|^$/\\-]|\[\^?(?:\w-\w|[\w .,:;@/+#%!=]|\\[][(){}.*+?|^$/\\-])+-?\]"""
)
_TIMES: Final = r"(?:[*+?]|\{\d+(?:,\d*)?\})?(?![*+?{])"
_EXACT: Final = re.compile(rf"(?:(?:{_CHARACTER}|\)){_TIMES}|\((?:\?:)?(?!\?)|\||\^)*", re.ASCII)
_NARROWER: Final = re.compile(rf"(?:(?:{_CHARACTER}|\\[dw]|\.|\)){_TIMES}|\((?:\?:)?(?!\?)|\||\^)*", re.ASCII)


def _pattern(pattern: str, lax: bool) -> str:
    r"""The same pattern for jsonschema-rs; ``\d``, ``\w`` and the dot may match less to it than to Python."""
    body = pattern.removesuffix("$")
    # A pattern that ends in an escaped dollar has lost half of the escape, and is none of these.
    if not (_NARROWER if lax else _EXACT).fullmatch(body):
        raise ValueError("a pattern that may mean something else")
    # Python's $ also stands before a last line feed.
    return body if body == pattern else body + r"\n?$"


_INVERTING: Final = frozenset({"not", "oneOf", "if", "contains"})
_COMMON: Final[dict[str, Callable[[Any, bool], Any]]] = {
    **dict.fromkeys(("not", "if", "then", "else", "items", "contains", "propertyNames", "additionalProperties"), _one),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _several),
    **dict.fromkeys(("properties", "dependentSchemas", "$defs"), _named),
    **dict.fromkeys(("type", "required", "dependentRequired"), _as_it_is),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _count),
    **dict.fromkeys(("minContains", "maxContains"), _count),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _limit),
    "const": _constant,
    "enum": _constants,
    "pattern": _pattern,
    "$ref": _local,
}
# What gives a schema another name, or a reference another meaning.
_APART: Final = frozenset({"$id", "$anchor", "$dynamicAnchor", "$dynamicRef"})
_NEVER_ASSERTED: Final = frozenset({"format"})


def _explained(error: ValidationError) -> Iterator[tuple[str, list[str | int]]]:
    """The sentences for one verdict, each with the path to what it is about."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties" and error.validator_value is False:
        instance: Any = error.instance
        schema: Any = error.schema
        known = schema.get("properties", {})
        for name in instance:
            if name not in known and not any(re.search(each, name) for each in schema.get("patternProperties", ())):
                yield f"unknown key {name!r}; {_nearest(name, known)}", [*path, name]
    else:
        yield _sentence(error), path


def _nearest(name: str, known: dict[str, Any]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if nearest:
        return f"did you mean {nearest[0]!r}?"
    return f"expected {', '.join(map(repr, known)) or 'none of a fixed name'}"


# What a keyword asks for, with its value.
_ASKS: Final = {
    "enum": "one of {}",
    "const": "{}",
    "minimum": "a number of at least {}",
    "maximum": "a number of at most {}",
    "exclusiveMinimum": "a number greater than {}",
    "exclusiveMaximum": "a number less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "text that matches {}",
    "minItems": "at least {} elements",
    "maxItems": "at most {} elements",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
}


def _sentence(error: ValidationError | SchemaError) -> str:
    """What a keyword expected, and what came: never the whole instance, which may be large."""
    came = extjson.preview(error.instance)
    expected: Any = error.validator_value
    keyword = str(error.validator)
    if error.schema is False:
        return f"the schema allows nothing here, and {came} came"
    if keyword == "required":
        return error.message
    if keyword == "type":
        return f"expected {' or '.join([expected] if isinstance(expected, str) else expected)}, not {came}"
    if keyword in ("anyOf", "oneOf") and error.context:
        return " or ".join(map(_sentence, error.context))
    if keyword in _ASKS:
        return f"expected {_ASKS[keyword].format(extjson.preview(expected))}, not {came}"
    return f"{came} does not satisfy {keyword!r} of the schema, {extjson.preview(expected)}"
