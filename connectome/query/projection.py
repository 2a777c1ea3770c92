"""Projections: which fields of a document an answer holds, and what is computed into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from connectome.errors import QueryError, at, pointer_to
from connectome.extjson import preview
from connectome.query.conditions import NEAR, elem_match, is_condition
from connectome.query.expressions import compile_expression, is_expression_operator
from connectome.query.filter import Filter
from connectome.query.paths import DBREF_FIELDS, Path, parse_field_path, with_value
from connectome.query.values import INT32, MISSING, Document, Value, exact, is_nan, is_number, truthy

# A field's name → None where the field itself is named, else the tree of what is named below it.
_Tree = dict[str, Any]

_ID: Final = ("_id",)
# Stands, as no field's name can, in a tree below which something is computed: what is no document becomes one.
_COMPUTES: Final = "\0computes"


class Projection:
    """
    A compiled projection.

    Args:
        source: ``{"field": 1, …}`` keeps the named fields and ``_id``; ``{"field": 0, …}`` keeps the others; ``_id``
            may be kept or dropped in either.  A field may also be ``$slice``, ``$elemMatch``, an expression, or,
            as ``field.$``, the element by which the filter matched.  ``{}`` keeps everything.
        filter: The filter of the same question, for ``field.$``; None where there is none, as in a stage of a
            pipeline: then ``field.$`` and ``$elemMatch`` are refused, and ``$slice`` is the expression.

    Raises:
        QueryError: ``Location31253``, ``Location31254`` -- inclusion mixed with exclusion; ``Location31249``,
            ``Location31250`` -- a path inside another; others for a path or a value that means nothing.
    """

    def __init__(self, source: Value, filter: Filter | None = None) -> None:
        if type(source) is not dict:
            raise QueryError(f"a projection is an object, not {preview(source)}", code="TypeMismatch")
        self.source = source
        named = _Named(filter)
        named.read(source, ())

        with_id = named.flags.get(_ID)
        others = (keep for path, keep in named.flags.items() if path != _ID)
        alone = bool(with_id or named.computed or (named.elem_matches and not named.slices))
        self._includes = next(others, alone)
        self._tree: _Tree = {}
        for path, keep in named.flags.items():
            if keep == self._includes:
                _plant(self._tree, path)
        if self._includes:
            if "_id" not in named.taken:
                _plant(self._tree, _ID)
            for path in named.slices:
                _plant(self._tree, path)
            for path in named.computed:
                # The documents on the way are kept, without their other fields.
                tree = self._tree
                for part in path[:-1]:
                    tree = tree.setdefault(part, {})
                    tree[_COMPUTES] = None
        self._steps = named.steps()

    @property
    def kept(self) -> frozenset[str] | None:
        """The top-level fields of which the projection keeps the whole, and it does nothing else; None if it does."""
        if not self._includes or self._steps or any(self._tree.values()):
            return None
        return frozenset(self._tree)

    @property
    def may_fail(self) -> bool:
        """Whether there may be documents that it refuses: what does nothing but keep or drop fields takes them all."""
        return bool(self._steps)

    def __call__(self, document: Document) -> Document:
        """What the projection makes of a document, a new one; the document itself for ``{}``."""
        if not self.source:
            return document
        projected = _included(self._tree, document) if self._includes else _excluded(self._tree, document)
        for step in self._steps:
            projected = step(projected, document)
        return projected


# From what is projected so far and the whole document to what is projected then.
_Step = Callable[[Document, Document], Document]


class _Named:
    """What a projection names, by path: flags, and what is done beside keeping and dropping."""

    def __init__(self, filter: Filter | None) -> None:
        self.taken: _Tree = {}
        self.flags: dict[Path, bool] = {}
        self.slices: dict[Path, Callable[[list[Value]], list[Value]]] = {}
        self.elem_matches = False
        self.computed: dict[Path, Callable[[Document], Value]] = {}
        # What is computed, elements that match included.
        self._added: dict[Path, Callable[[Document], Value]] = {}
        self.positional: Path | None = None
        self._filter = filter

    def read(self, source: Document, above: Path) -> None:
        """Add what a projection, or a part of it nested below the path ``above``, names."""
        for name, value in source.items():
            with at(name):
                if name.endswith(".$") or ".$." in name:
                    self._read_positional(name, value, above)
                    continue
                path = (*above, *parse_field_path(name))
                operator = next(iter(value)) if type(value) is dict and len(value) == 1 else ""
                if type(value) is dict and not value:
                    raise QueryError("a nested projection names at least one field", code="Location51270")
                if type(value) is dict and (not operator.startswith("$") or operator in DBREF_FIELDS):
                    _refuse_whole(self.taken, path)
                    self.read(value, path)
                    continue
                _plant(self.taken, path)
                if type(value) is bool or is_number(value):
                    self._flag(path, truthy(value))
                elif operator == "$slice" and self._filter and (cut := _slice(value)):
                    self.slices[path] = cut
                elif operator == "$elemMatch" and self._filter:
                    self._read_elem_match(path, value)
                else:
                    self._compute(path, value)

    def _flag(self, path: Path, keep: bool) -> None:
        if path != _ID:
            self._refuse_mixture(path, keep)
        self.flags[path] = keep

    @property
    def _keeps(self) -> bool | None:
        """Whether the fields that were named so far are kept, or all are dropped, _id apart; None where none was."""
        return next((keep for path, keep in self.flags.items() if path != _ID), None)

    def _refuse_mixture(self, path: Path, keep: bool) -> None:
        others = True if self._keeps is None and self.computed else self._keeps
        name = ".".join(path)
        if keep and others is False:
            raise QueryError(
                f"cannot keep {name!r} in a projection that names what to drop; only _id may be kept there",
                code="Location31253",
            )
        if others and not keep:
            raise QueryError(
                f"cannot drop {name!r} in a projection that names what to keep; only _id may be dropped there",
                code="Location31254",
            )

    def _read_positional(self, name: str, value: Value, above: Path) -> None:
        if self._filter is None:
            raise QueryError("a positional part '$' belongs to a query, and here is none", code="Location31324")
        if ".$." in name:
            raise QueryError(f"a positional part '$' stands at the end of a path: {name!r}", code="Location31394")
        if type(value) is dict:
            raise QueryError("a positional part '.$' computes nothing", code="Location31271")
        if not (type(value) is bool or is_number(value)):
            raise QueryError(f"a positional part '.$' is kept with 1, not {preview(value)}", code="Location31308")
        if not truthy(value):
            raise QueryError("a positional part '.$' says what to keep, and cannot be dropped", code="Location31395")
        if self.positional is not None:
            raise QueryError("a projection has one positional part '.$', and this is another", code="Location31276")
        if self.elem_matches:
            raise QueryError("a projection has '.$' or $elemMatch, never both", code="Location31256")
        if name == ".$":
            raise QueryError("a positional part '$' stands behind a field", code="Location5392900")
        path = (*above, *parse_field_path(name.removesuffix(".$")))
        _refuse_special(self._filter.source)
        _plant(self.taken, path)
        self._flag(path, True)
        self.positional = path

    def _read_elem_match(self, path: Path, value: Document) -> None:
        with at("$elemMatch"):
            if len(path) > 1:
                raise QueryError("$elemMatch in a projection takes no dotted path", code="Location31275")
            if self.positional is not None:
                raise QueryError("a projection has '.$' or $elemMatch, never both", code="Location31255")
            if type(value["$elemMatch"]) is not dict:
                raise QueryError(
                    f"$elemMatch needs an object, not {preview(value['$elemMatch'])}", code="Location31274"
                )
            self._added[path] = _first_match(path[0], elem_match(value["$elemMatch"]))
            _refuse_special(value["$elemMatch"])
            self.elem_matches = True

    def _compute(self, path: Path, value: Value) -> None:
        if type(value) is dict:
            first = next(iter(value))
            if not is_expression_operator(first):
                code = "InvalidPipelineOperator" if first == "$elemMatch" else "Location31325"
                raise QueryError(f"unknown expression {first}", code=code, pointer=pointer_to(first))
        if self._keeps is False:
            raise QueryError(
                "a projection that names what to drop computes nothing",
                code="Location31252" if type(value) is dict else "Location31310",
            )
        self.computed[path] = self._added[path] = compile_expression(value)

    def steps(self) -> list[_Step]:
        """What is done with the fields that are kept, in order."""
        steps: list[_Step] = [_sliced(path, cut) for path, cut in self.slices.items()]
        if self.positional and self._filter:
            steps.append(_positioned(self.positional, self._filter))
        # New fields come in the order in which they, or others beside them in a new document, are named first.
        steps += [_computed(path, self._added[path]) for path in _leaves(self.taken) if path in self._added]
        return steps


def _refuse_special(source: Document) -> None:
    """Refuse, in a filter or condition that shall tell a position, the operators for which MongoDB records none."""
    if not NEAR.keys().isdisjoint(source):
        raise QueryError("$near is not allowed with '.$' or $elemMatch", code="Location5626500")
    for name, operand in source.items():
        if name in ("$expr", "$jsonSchema"):
            raise QueryError(f"{name} is not allowed with '.$' or $elemMatch", code="QueryFeatureNotAllowed")
        if name in ("$and", "$or", "$nor"):
            for arm in operand:
                _refuse_special(arm)
        elif type(operand) is dict and (name in ("$not", "$elemMatch") or is_condition(operand)):
            _refuse_special(operand)


def _plant(tree: _Tree, path: Path) -> None:
    *parents, last = path
    for position, part in enumerate(parents):
        below = tree.setdefault(part, {})
        if below is None:
            raise QueryError(
                f"path collision: {'.'.join(path[: position + 1])!r} is named already, and holds {'.'.join(path)!r}",
                code="Location31249",
            )
        tree = below
    if last in tree:
        raise _collision(path)
    tree[last] = None


def _leaves(tree: _Tree, above: Path = ()) -> Iterator[Path]:
    for name, below in tree.items():
        if below is None:
            yield (*above, name)
        else:
            yield from _leaves(below, (*above, name))


def _refuse_whole(tree: _Tree, path: Path) -> None:
    """Refuse to name something inside of what is named as a whole."""
    for part in path[:-1]:
        tree = tree.get(part) or {}
    if tree.get(path[-1], MISSING) is None:
        raise _collision(path)


def _collision(path: Path) -> QueryError:
    return QueryError(
        f"path collision: {'.'.join(path)!r}, or a field inside it, is named already", code="Location31250"
    )


def _included(tree: _Tree, document: Document) -> Document:
    if not any(tree.values()):
        return {name: value for name, value in document.items() if name in tree}
    kept = {}
    for name, value in document.items():
        if name in tree:
            below = tree[name]
            part = value if below is None else _included_below(below, value)
            if part is not MISSING:
                kept[name] = part
    return kept


def _included_below(tree: _Tree, value: Value) -> Value:
    """What is kept of a value of which only something inside is named: of a scalar, nothing but what is computed."""
    if type(value) is dict:
        return _included(tree, value)
    if type(value) is list:
        return [part for element in value if (part := _included_below(tree, element)) is not MISSING]
    return {} if _COMPUTES in tree else MISSING


def _excluded(tree: _Tree, document: Document) -> Document:
    return {
        name: value if name not in tree else _excluded_below(tree[name], value)
        for name, value in document.items()
        if tree.get(name, MISSING) is not None
    }


def _excluded_below(tree: _Tree, value: Value) -> Value:
    if type(value) is dict:
        return _excluded(tree, value)
    if type(value) is list:
        return [_excluded_below(tree, element) for element in value]
    return value


def _slice(value: Document) -> Callable[[list[Value]], list[Value]] | None:
    """What cuts an array by ``$slice``; None where it is the expression of that name, which names its array."""
    operand = value["$slice"]
    with at("$slice"):
        if is_number(operand):
            count = _whole(operand)
            return lambda array: array[:count] if count >= 0 else array[count:]
        if type(operand) is not list:
            raise QueryError(
                f"$slice needs a number, or an array of how many to skip and to keep, not {preview(operand)}",
                code="Location28667",
            )
        if len(operand) != 2 or not is_number(operand[0]):
            return None
        if not is_number(operand[1]):
            raise QueryError(f"$slice keeps a number of elements, not {preview(operand[1])}", code="Location28724")
        skip, limit = map(_whole, operand)
        if limit <= 0:
            raise QueryError(f"$slice keeps a positive number of elements, not {limit}", code="Location28724")

    def cut(array: list[Value]) -> list[Value]:
        start = skip if skip >= 0 else max(len(array) + skip, 0)
        return array[start : start + limit]

    return cut


def _whole(value: Value) -> int:
    """A number cut toward zero, within 32 bits; NaN is 0."""
    number = exact(value)
    if is_nan(value):
        return 0
    return int(max(INT32.start, min(number, INT32.stop - 1)))


def _sliced(path: Path, cut: Callable[[list[Value]], list[Value]]) -> _Step:
    return lambda projected, _: _replaced(projected, path, lambda value: cut(value) if type(value) is list else value)


def _replaced(value: Value, path: Path, change: Callable[[Value], Value]) -> Value:
    """A value in which what stands at a path, in each document of arrays on the way, is changed."""
    if not path:
        return change(value)
    if type(value) is list:
        return [_replaced(element, path, change) if type(element) is dict else element for element in value]
    if type(value) is not dict or path[0] not in value:
        return value
    return {**value, path[0]: _replaced(value[path[0]], path[1:], change)}


def _positioned(path: Path, filter: Filter) -> _Step:
    def step(projected: Document, document: Document) -> Document:
        kept: Document = _only(projected, path, lambda: filter.position(document))
        return kept

    return step


def _only(value: Value, path: Path, position: Callable[[], int | None]) -> Value:
    """A value with the first array on the way cut to one element; without an array, as it is."""
    if type(value) is list:
        found = position()
        if found is None:
            raise QueryError(
                "the query did not match by an element of an array, which '.$' stands for",
                code="Location51246",
                pointer=None,
            )
        if found >= len(value):
            raise QueryError(
                f"the query matched by position {found}, and the array that '.$' cuts has {len(value)} elements",
                code="Location51247",
                pointer=None,
            )
        return [value[found]]
    if not path or type(value) is not dict or path[0] not in value:
        return value
    return {**value, path[0]: _only(value[path[0]], path[1:], position)}


def _first_match(name: str, test: Callable[[Value], bool]) -> Callable[[Document], Value]:
    def value_for(document: Document) -> Value:
        array = document.get(name)
        elements = array if type(array) is list else []
        return next(([element] for element in elements if test(element)), MISSING)

    return value_for


def _computed(path: Path, value_for: Callable[[Document], Value]) -> _Step:
    def step(projected: Document, document: Document) -> Document:
        result: Document = with_value(projected, path, value_for(document))
        return result

    return step
