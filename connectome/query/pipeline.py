"""
Stages of an aggregation pipeline that make one document of one document: those that an update may have.

A stage is one function under ``@stage``, from its operand to a function on documents.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final

from connectome.errors import QueryError, UpdateError, at
from connectome.extjson import preview
from connectome.query.expressions import compile_expression
from connectome.query.paths import Path, parse_field_path, with_value
from connectome.query.projection import Projection
from connectome.query.values import MISSING, Document, Value

Transform = Callable[[Document], Document]

STAGES: Final[dict[str, Callable[[Value], Transform]]] = {}


# Stages of other pipelines, which an update may not have.
_ELSEWHERE: Final = frozenset(
    {
        "$bucket",
        "$bucketAuto",
        "$changeStream",
        "$collStats",
        "$count",
        "$densify",
        "$documents",
        "$facet",
        "$fill",
        "$geoNear",
        "$graphLookup",
        "$group",
        "$indexStats",
        "$limit",
        "$lookup",
        "$match",
        "$merge",
        "$out",
        "$redact",
        "$sample",
        "$search",
        "$setWindowFields",
        "$skip",
        "$sort",
        "$sortByCount",
        "$unionWith",
        "$unwind",
        "$vectorSearch",
    }
)


def compile_stages(source: list[Value]) -> list[Transform]:
    """
    The stages of an update pipeline.

    Raises:
        UpdateError: ``InvalidOptions`` -- a stage that an update may not have; ``Location40324`` -- no stage at all;
            ``Location40323``, ``TypeMismatch`` -- not an object of one stage.  With the pointer from the array on.
        QueryError: What is wrong inside a stage.
    """
    stages = []
    for position, each in enumerate(source):
        with at(position):
            if type(each) is not dict or len(each) != 1:
                raise UpdateError(
                    f"a stage of a pipeline is an object with one key, not {preview(each)}",
                    code="Location40323" if type(each) is dict else "TypeMismatch",
                )
            ((name, operand),) = each.items()
            with at(name):
                if name not in STAGES:
                    nearest = difflib.get_close_matches(name, STAGES, n=1)
                    hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(STAGES)}"
                    raise UpdateError(
                        f"{name} is no stage of an update; {hint}",
                        code="InvalidOptions" if name in _ELSEWHERE else "Location40324",
                    )
                stages.append(STAGES[name](operand))
    return stages


def stage(*names: str) -> Callable[[Callable[[Value], Transform]], Callable[[Value], Transform]]:
    """Declare a function from operand to what it does with a document as a stage, under each of its names."""

    def declare(function: Callable[[Value], Transform]) -> Callable[[Value], Transform]:
        STAGES.update(dict.fromkeys(names, function))
        return function

    return declare


@stage("$set", "$addFields")
def set_(operand: Value) -> Transform:
    """Add fields, or replace them, by the values of expressions over the document as it comes."""
    if type(operand) is not dict:
        raise QueryError(
            f"$set needs an object of fields and expressions, not {preview(operand)}", code="Location40272"
        )
    computed: dict[Path, Callable[[Document], Value]] = {}
    _read_fields(operand, (), computed)

    def transform(document: Document) -> Document:
        changed: Document = document
        for path, value in [(path, value_for(document)) for path, value_for in computed.items()]:
            changed = with_value(changed, path, value)
        return changed

    return transform


def _read_fields(source: Document, above: Path, computed: dict[Path, Callable[[Document], Value]]) -> None:
    for name, value in source.items():
        with at(name):
            if above and "." in name:
                raise QueryError(f"a name inside a nested document has no dot: {name!r}", code="Location40183")
            path = (*above, *parse_field_path(name))
            if type(value) is dict and value and not next(iter(value)).startswith("$"):
                _read_fields(value, path, computed)
                continue
            if type(value) is dict and len(value) > 1:
                raise QueryError(
                    f"an operator stands alone in its object, not in {preview(value)}", code="Location40181"
                )
            for other in computed:
                shorter = min(len(other), len(path))
                if other[:shorter] == path[:shorter]:
                    raise QueryError(
                        f"two conflicting paths: {'.'.join(other)!r} and {'.'.join(path)!r}", code="Location40176"
                    )
            computed[path] = compile_expression(value)


@stage("$unset")
def unset(operand: Value) -> Transform:
    """Drop fields: a path, or an array of paths."""
    paths = operand if type(operand) is list else [operand]
    if not paths:
        raise QueryError("$unset names at least one field", code="Location31119")
    for path in paths:
        if type(path) is not str:
            raise QueryError(
                f"$unset needs a path, or an array of paths, not {preview(path)}",
                code="Location31120" if type(operand) is list else "Location31002",
            )
    if len(set(paths)) < len(paths):
        raise QueryError(f"$unset names a path twice: {', '.join(paths)}", code="Location31250")
    return Projection(dict.fromkeys(paths, 0))


@stage("$project")
def project(operand: Value) -> Transform:
    """Keep, drop and compute fields, as a projection does."""
    if type(operand) is not dict or not operand:
        raise QueryError(
            f"$project needs an object of at least one field, not {preview(operand)}",
            code="Location51272" if operand == {} else "Location15969",
        )
    return Projection(operand)


@stage("$replaceWith")
def replace_with(operand: Value) -> Transform:
    """Replace the document by the value of an expression, which is a document."""
    value_for = compile_expression(operand)

    def transform(document: Document) -> Document:
        value = value_for(document)
        if type(value) is not dict:
            raise UpdateError(
                f"the new root must be a document, and it is {'missing' if value is MISSING else preview(value)}",
                code="Location40228",
                pointer=None,
            )
        return value

    return transform


@stage("$replaceRoot")
def replace_root(operand: Value) -> Transform:
    """Replace the document by the value of ``newRoot``, which is a document."""
    if type(operand) is not dict or list(operand) != ["newRoot"]:
        raise QueryError(f'$replaceRoot needs {{"newRoot": …}}, not {preview(operand)}', code="Location40229")
    with at("newRoot"):
        return replace_with(operand["newRoot"])
