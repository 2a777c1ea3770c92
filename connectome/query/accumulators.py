"""
Accumulators: one value for the documents of a group, as ``$group`` and ``$bucket`` make them.

An accumulator is one function under ``@accumulator``, from its operand to how a value grows document by document.  What
an expression says of the values of an array, an accumulator says of the values of a group: those are computed there.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson import Int64

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.expressions import compile_expression
from connectome.query.expressions.arrays import (
    MEDIAN_ARGUMENTS,
    PERCENTILE_ARGUMENTS,
    ascending,
    avg,
    how_many_of,
    n_and_input,
    numbers_at,
    percentile_arguments,
    shares_of,
    std_dev_pop,
    std_dev_samp,
    sum_,
)
from connectome.query.expressions.language import (
    REFUSED,
    SYSTEM_VARIABLES,
    is_nullish,
    named_arguments,
    null_if_missing,
    read,
)
from connectome.query.expressions.objects import merge_objects
from connectome.query.numbers import typed
from connectome.query.sort import Sort
from connectome.query.values import INT64, MISSING, Document, Value, index_key, is_number, sort_key

# MongoDB allows a stage 100 MB: this many of all but the smallest documents.
MAX_HELD: Final = 1_000_000
# Values that were put aside beyond what is wanted, before they are sorted out.
_SURPLUS: Final = 1024


def check_held(count: int) -> None:
    """
    Do nothing while a stage holds no more than it may at one time.

    Raises:
        QueryError: ``QueryExceededMemoryLimitNoDiskUseAllowed`` -- it holds more; no place is to blame.
    """
    if count > MAX_HELD:
        raise QueryError(
            f"a stage of a pipeline may hold {MAX_HELD} documents or values at one time, and this one needs more",
            code="QueryExceededMemoryLimitNoDiskUseAllowed",
            pointer=None,
        )


@dataclass(frozen=True, slots=True)
class Accumulator:
    """
    How the value of a group grows.

    value_for: what is taken of each document.
    start: the state of a new group, from its ``_id``.
    add: changes the state by a further value.
    finish: the value of the group.
    """

    value_for: Callable[[Document], Any]
    start: Callable[[Value], Any]
    add: Callable[[Any, Any], None]
    finish: Callable[[Any], Value]


ACCUMULATORS: Final[dict[str, Callable[[Value], Accumulator]]] = {}
_Compile = Callable[[Value], Accumulator]


def compile_accumulator(field: str, source: Value) -> Accumulator:
    """
    What ``{<accumulator>: <operand>}`` says of a field of a group.

    Raises:
        QueryError: ``Location40234``, ``Location40238`` -- not an object of one operator; ``Location40235``,
            ``Location40236`` -- a name that the field cannot have; ``Location40237`` -- an array for an operand;
            ``Location15952`` -- no such accumulator.
    """
    if type(source) is not dict or not next(iter(source), "").startswith("$"):
        raise QueryError(
            f'{field!r} is computed by an accumulator, such as {{"$sum": 1}}, not {preview(source)}',
            code="Location40234",
        )
    if "." in field:
        raise QueryError(f"the name of a field of a group has no dot: {field!r}", code="Location40235")
    if field.startswith("$"):
        raise QueryError(f"the name of a field of a group does not start with '$': {field!r}", code="Location40236")
    if len(source) != 1:
        raise QueryError(f"{field!r} has one accumulator, not {', '.join(source)}", code="Location40238")
    ((name, operand),) = source.items()
    with at(name):
        if type(operand) is list:
            raise QueryError(f"{name} takes one expression, not {preview(operand)}", code="Location40237")
        if name in REFUSED:
            raise QueryError(f"{name} is not offered: {REFUSED[name]}", code="Location15952")
        if name not in ACCUMULATORS:
            nearest = difflib.get_close_matches(name, ACCUMULATORS, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(ACCUMULATORS)}"
            raise QueryError(f"{name} is no accumulator; {hint}", code="Location15952")
        return ACCUMULATORS[name](operand)


def accumulator(name: str) -> Callable[[_Compile], _Compile]:
    """Declare a function from operand to accumulator."""

    def declare(function: _Compile) -> _Compile:
        ACCUMULATORS[name] = function
        return function

    return declare


def value_of(source: Value) -> Callable[[Document], Value]:
    """What ``compile_expression`` makes of an expression; the path of a field is followed without more ado."""
    value_for = compile_expression(source)
    if type(source) is not str or not source.startswith("$") or source.startswith("$$"):
        return value_for
    if "." in source:
        along = read(source, SYSTEM_VARIABLES).evaluate
        return lambda document: along({"CURRENT": document})
    name = source[1:]
    return lambda document: document.get(name, MISSING)


def _of_numbers(operand: Value, result: Callable[[Sequence[Value]], Value]) -> Accumulator:
    # What is no number would count for nothing, and is not held.
    def add(numbers: list[Value], value: Value) -> None:
        if is_number(value):
            numbers.append(value)

    return Accumulator(value_of(operand), lambda _: [], add, result)


def _of_documents(result: Callable[[int], Value]) -> Accumulator:
    def add(count: list[int], _: Value) -> None:
        count[0] += 1

    return Accumulator(lambda _: None, lambda _: [0], add, lambda count: result(count[0]))


@accumulator("$sum")
def of_sum(operand: Value) -> Accumulator:
    """The sum of the values that are numbers; 0 where there are none."""
    source = read(operand, SYSTEM_VARIABLES)
    each: Value = typed(source.evaluate({})) if source.constant else None
    if type(each) is float:
        # MongoDB adds a constant without the care that it takes with values: ten times 0.1 are not quite 1.
        return _of_documents(lambda count: functools.reduce(operator.add, itertools.repeat(each, count), 0.0))
    if type(each) in (int, Int64):
        return _of_documents(lambda count: _times(count, each))
    return _of_numbers(operand, sum_)


def _times(count: int, number: int) -> Value:
    """The sum of so many equal whole numbers, which has their type where it can."""
    total = count * int(number)
    if total not in INT64:
        return float(total)
    return Int64(total) if type(number) is Int64 else total


@accumulator("$avg")
def of_avg(operand: Value) -> Accumulator:
    """The mean of the values that are numbers; null where there are none."""
    return _of_numbers(operand, avg)


@accumulator("$stdDevPop")
def of_std_dev_pop(operand: Value) -> Accumulator:
    """The standard deviation of the values that are numbers, which are all there are."""
    return _of_numbers(operand, std_dev_pop)


@accumulator("$stdDevSamp")
def of_std_dev_samp(operand: Value) -> Accumulator:
    """The standard deviation that the values that are numbers let expect where they are a sample."""
    return _of_numbers(operand, std_dev_samp)


@accumulator("$count")
def of_count(operand: Value) -> Accumulator:
    """How many documents the group has; the operand is ``{}``."""
    if operand != {}:
        raise QueryError(f"$count of a group takes no arguments: {{}}, not {preview(operand)}", code="TypeMismatch")
    return _of_documents(lambda count: count)


@accumulator("$first")
def of_first(operand: Value) -> Accumulator:
    """The value of the first document, null where it has none."""

    def add(first: list[Value], value: Value) -> None:
        if not first:
            first.append(value)

    return Accumulator(value_of(operand), lambda _: [], add, lambda first: null_if_missing(first[0]))


@accumulator("$last")
def of_last(operand: Value) -> Accumulator:
    """The value of the last document, null where it has none."""

    def add(last: list[Value], value: Value) -> None:
        last[:] = (value,)

    return Accumulator(value_of(operand), lambda _: [], add, lambda last: null_if_missing(last[0]))


def _extreme(operand: Value, better: Callable[[Any, Any], bool]) -> Accumulator:
    def add(best: list[Any], value: Value) -> None:
        if not is_nullish(value):
            key = sort_key(value)
            if not best or better(key, best[0]):
                best[:] = key, value

    return Accumulator(value_of(operand), lambda _: [], add, lambda best: best[1] if best else None)


@accumulator("$min")
def of_min(operand: Value) -> Accumulator:
    """The least value, over all BSON types; null where all are null or missing."""
    return _extreme(operand, operator.lt)


@accumulator("$max")
def of_max(operand: Value) -> Accumulator:
    """The greatest value, over all BSON types; null where all are null or missing."""
    return _extreme(operand, operator.gt)


def _gathered(operand: Value, elements_of: Callable[[Value], Iterable[Value]]) -> Accumulator:
    """An array of the elements that each value stands for; what is missing stands for none."""

    def add(elements: list[Value], value: Value) -> None:
        if value is not MISSING:
            elements.extend(elements_of(value))
            check_held(len(elements))

    return Accumulator(value_of(operand), lambda _: [], add, lambda elements: elements)


def _distinct(operand: Value, elements_of: Callable[[Value], Iterable[Value]]) -> Accumulator:
    """The same of those elements that differ, in the order in which they came."""

    def add(elements: dict[Any, Value], value: Value) -> None:
        if value is not MISSING:
            for element in elements_of(value):
                elements.setdefault(index_key(element), element)
            check_held(len(elements))

    return Accumulator(value_of(operand), lambda _: {}, add, lambda elements: list(elements.values()))


def _itself(value: Value) -> Iterable[Value]:
    return (value,)


def _elements_for(name: str) -> Callable[[Value], Iterable[Value]]:
    def elements_of(value: Value) -> Iterable[Value]:
        if type(value) is not list:
            raise QueryError(f"{name} of a group takes arrays, not {preview(value)}", code="TypeMismatch", pointer=None)
        return value

    return elements_of


@accumulator("$push")
def of_push(operand: Value) -> Accumulator:
    """An array of the values, without those that are missing."""
    return _gathered(operand, _itself)


@accumulator("$addToSet")
def of_add_to_set(operand: Value) -> Accumulator:
    """An array of the different values, without those that are missing, in the order in which they came."""
    return _distinct(operand, _itself)


@accumulator("$concatArrays")
def of_concat_arrays(operand: Value) -> Accumulator:
    """An array of the elements of all values, which are arrays or missing."""
    return _gathered(operand, _elements_for("$concatArrays"))


@accumulator("$setUnion")
def of_set_union(operand: Value) -> Accumulator:
    """An array of the different elements of all values, which are arrays or missing, as they first came."""
    return _distinct(operand, _elements_for("$setUnion"))


@accumulator("$mergeObjects")
def of_merge_objects(operand: Value) -> Accumulator:
    """One document with the fields of all values, of those by the same name the last."""

    def add(merged: Document, value: Value) -> None:
        merged.update(merge_objects([value]))

    return Accumulator(value_of(operand), lambda _: {}, add, lambda merged: merged)


class _Best:
    """
    The best of many values.

    n: how many are wanted.
    chosen: all values so far → the wanted ones, in order.
    """

    def __init__(self, n: int, chosen: Callable[[list[Any], int], list[Any]]) -> None:
        self._n = n
        self._chosen = chosen
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Have a further value among those that are chosen from."""
        self._values.append(value)
        if len(self._values) > 2 * self._n + _SURPLUS:
            self._values = self.chosen()
        check_held(len(self._values))

    def chosen(self) -> list[Any]:
        """The wanted ones of the values that were added."""
        return self._chosen(self._values, self._n)


def _best(
    name: str,
    n: Callable[[Document], Value],
    value_for: Callable[[Document], Any],
    chosen: Callable[[list[Any], int], list[Any]],
    finish: Callable[[_Best], Value] = _Best.chosen,
) -> Accumulator:
    def start(identity: Value) -> _Best:
        # MongoDB reads n from the fields of an _id that is a document.
        return _Best(how_many_of(name, n(identity if type(identity) is dict else {})), chosen)

    return Accumulator(value_for, start, _Best.add, finish)


def _n_of_input(name: str, operand: Value, chosen: Callable[[list[Any], int], list[Any]]) -> Accumulator:
    given = n_and_input(name, operand)
    n, value_for = (_argument(given, each) for each in ("n", "input"))
    return _best(name, n, lambda document: null_if_missing(value_for(document)), chosen)


def _argument(given: Document, name: str) -> Callable[[Document], Value]:
    with at(name):
        return value_of(given[name])


@accumulator("$firstN")
def of_first_n(operand: Value) -> Accumulator:
    """An array of the values of the first ``n`` documents, with null for those that are missing."""
    return _n_of_input("$firstN", operand, lambda values, n: values[:n])


@accumulator("$lastN")
def of_last_n(operand: Value) -> Accumulator:
    """An array of the values of the last ``n`` documents, with null for those that are missing."""
    return _n_of_input("$lastN", operand, lambda values, n: values[-n:])


@accumulator("$minN")
def of_min_n(operand: Value) -> Accumulator:
    """An array of the ``n`` least values, without null, the least first."""
    return _n_of_input("$minN", operand, lambda values, n: ascending(values)[:n])


@accumulator("$maxN")
def of_max_n(operand: Value) -> Accumulator:
    """An array of the ``n`` greatest values, without null, the greatest first."""
    return _n_of_input("$maxN", operand, lambda values, n: ascending(values)[::-1][:n])


_SORTED_CODES: Final = {
    "object": "Location5788001",
    "unknown": "Location5788002",
    "n": "Location5788003",
    "output": "Location5788004",
    "sortBy": "Location5788005",
}


def _sorted(name: str, operand: Value, *, last: bool, single: bool) -> Accumulator:
    names = ("output", "sortBy") if single else ("n", "output", "sortBy")
    given = named_arguments(name, operand, names, names, _SORTED_CODES)
    with at("sortBy"):
        if type(given["sortBy"]) is not dict or not given["sortBy"]:
            raise QueryError(
                f"sortBy of {name} is an object of fields and directions, not {preview(given['sortBy'])}",
                code="Location9657900" if given["sortBy"] == {} else "Location10065",
            )
        sort = Sort(given["sortBy"])
    output = _argument(given, "output")

    def chosen(pairs: list[Any], n: int) -> list[Any]:
        documents = [document for document, _ in pairs]
        order = _last_positions(sort, documents, n) if last else sort.positions(documents, limit=n)
        return [pairs[position] for position in order]

    def outputs(best: _Best) -> Value:
        values = [value for _, value in best.chosen()]
        return values[0] if single else values

    return _best(
        name,
        (lambda _: 1) if single else _argument(given, "n"),
        lambda document: (document, null_if_missing(output(document))),
        chosen,
        outputs,
    )


def _last_positions(sort: Sort, documents: Sequence[Document], n: int) -> Sequence[int]:
    """
    Where the last ``n`` documents by a sort stand, in its order.

    Of those that tie for the first of these places MongoDB lets in as many as find room, and each that comes after
    more of the others drives out the one that came before the rest: of a single place the first keeps hold.
    """
    order = sort.positions(documents)
    first = len(order) - n
    if first <= 0:
        return order

    def ties(position: int) -> bool:
        pair = documents[position], documents[order[first]]
        return sort.positions(pair)[0] == sort.positions(pair[::-1])[0] == 0

    start = bisect_left(order, True, hi=first, key=ties)
    end = bisect_left(order, True, lo=first, key=lambda position: not ties(position))
    tied, behind = order[start:end], order[end:]
    let_in = len(set(sorted(order[start:])[:n]).intersection(tied))
    return [*tied[let_in - (n - len(behind)) : let_in], *behind]


@accumulator("$top")
def of_top(operand: Value) -> Accumulator:
    """The ``output`` of the document that comes first by ``sortBy``."""
    return _sorted("$top", operand, last=False, single=True)


@accumulator("$topN")
def of_top_n(operand: Value) -> Accumulator:
    """An array of the ``output`` of the ``n`` documents that come first by ``sortBy``."""
    return _sorted("$topN", operand, last=False, single=False)


@accumulator("$bottom")
def of_bottom(operand: Value) -> Accumulator:
    """The ``output`` of the document that comes last by ``sortBy``."""
    return _sorted("$bottom", operand, last=True, single=True)


@accumulator("$bottomN")
def of_bottom_n(operand: Value) -> Accumulator:
    """An array of the ``output`` of the ``n`` documents that come last by ``sortBy``, in its order."""
    return _sorted("$bottomN", operand, last=True, single=False)


def _require_object(name: str, operand: Value, code: str) -> None:
    # The expression of the same name has a code of its own for it.
    if type(operand) is not dict:
        raise QueryError(f"{name} takes an object of arguments, not {preview(operand)}", code=code)


@accumulator("$median")
def of_median(operand: Value) -> Accumulator:
    """The number in the middle of the values: with an even number of them the lesser of the two."""
    _require_object("$median", operand, "Location7436100")
    given = percentile_arguments("$median", MEDIAN_ARGUMENTS, operand)
    with at("input"):
        return _of_numbers(given["input"], lambda numbers: numbers_at(numbers, [0.5])[0])


@accumulator("$percentile")
def of_percentile(operand: Value) -> Accumulator:
    """For each of ``p``, from 0 to 1, the least value that so large a share of the numbers does not exceed."""
    _require_object("$percentile", operand, "Location7429703")
    given = percentile_arguments("$percentile", PERCENTILE_ARGUMENTS, operand)
    shares = shares_of(given, SYSTEM_VARIABLES)
    with at("input"):
        return _of_numbers(given["input"], lambda numbers: numbers_at(numbers, shares))
