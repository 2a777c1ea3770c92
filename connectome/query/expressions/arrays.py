"""Arrays and sets, and the accumulators that give one value for all the values of an array."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from bson import Decimal128, Int64

from connectome.errors import QueryError, at
from connectome.extjson import preview
from connectome.query.deadline import check
from connectome.query.expressions.language import (
    ANY,
    ARRAY,
    INT,
    Expression,
    Scope,
    Shape,
    Variables,
    accepted,
    coded,
    folded,
    is_nullish,
    named_arguments,
    null_if_missing,
    operator,
    syntax,
)
from connectome.query.expressions.logic import argument, arguments, comparison_key, variable_name
from connectome.query.numbers import decimal_result
from connectome.query.paths import Path, is_index, parse_path
from connectome.query.sort import Sort
from connectome.query.values import (
    INT32,
    INT64,
    MISSING,
    Document,
    SortKey,
    Value,
    exact,
    integral,
    is_nan,
    is_number,
    sort_key,
    truthy,
    type_alias,
)

Array = list[Value]

# 100 MB of MongoDB's values at 16 bytes: its limit for what $map, $range and $reduce make.
MAX_VALUES: Final = 6_553_600
MAX_DEPTH: Final = 200
# What an array or object takes beside its elements.
_CONTAINER_VALUES: Final = 3
# So much text counts as a value.
_VALUE_BYTES: Final = 16
# How many elements are looked at before the clock is.
_LOOK_EVERY: Final = 256
_CONTAINERS: Final[frozenset[type]] = frozenset({dict, list})


def _int32(no_number: str, no_int32: str) -> Shape:
    """A whole number of 32 bits, with MongoDB's code for what is no number and its code for what does not fit."""

    def accept(value: Value) -> Value:
        if not is_number(value):
            raise ValueError
        return _whole(value, INT.says, no_int32)

    return Shape(accept, INT.says, code=no_number)


def _whole(value: Value, says: str, code: str) -> int:
    number = integral(value)
    if number is None or number not in INT32:
        raise QueryError(f"expected {says}, not {preview(value)}", code=code)
    return number


def _array(value: Value, of: str, code: str) -> Array | None:
    """An array that an operator works on, or None for null and missing."""
    if is_nullish(value):
        return None
    if type(value) is not list:
        raise QueryError(f"{of} needs an array, not {preview(value)}", code=code)
    return value


def _arrays(values: Iterable[Value], of: str, code: str) -> list[Array] | None:
    """Arrays, or None where null or a missing value stands before anything that is no array."""
    arrays = []
    for value in values:
        array = _array(value, of, code)
        if array is None:
            return None
        arrays.append(array)
    return arrays


def _in_time(array: Array) -> Iterator[Value]:
    """The elements, for as long as the request may take: there may be millions of them."""
    for position, element in enumerate(array):
        if not position % _LOOK_EVERY:
            check()
        yield element


def _room_left(room: int, value: Value, depth: int = MAX_DEPTH) -> int:
    """
    How many more values may be made after this one, with all that it holds.

    Values are shared while they are evaluated, so that a few steps make what could never be written out.

    Raises:
        QueryError: ``ExceededMemoryLimit`` -- none; ``Overflow`` -- it nests too deep to be kept.
    """
    room -= 1
    if type(value) is str:
        room -= len(value) // _VALUE_BYTES
    elif type(value) in _CONTAINERS:
        room -= _CONTAINER_VALUES
        if not depth:
            raise QueryError(f"an expression makes a value of more than {MAX_DEPTH} levels", code="Overflow")
        members = value.values() if type(value) is dict else value
        types = set(map(type, members))
        if _CONTAINERS.isdisjoint(types) and str not in types:
            room -= len(members)
        else:
            for member in members:
                room = _room_left(room, member, depth - 1)
    if room < 0:
        raise QueryError(f"an expression makes more than {MAX_VALUES} values", code="ExceededMemoryLimit")
    return room


@operator("$arrayElemAt", coded(ARRAY, "Location28689"), _int32("Location28690", "Location28691"))
def array_elem_at(array: Array, position: int) -> Value:
    """The element at a position, counted from the end where it is negative; missing where there is none."""
    return array[position] if -len(array) <= position < len(array) else MISSING


@operator("$first", ARRAY, code="Location28689")
def first(array: Array) -> Value:
    """The first element of an array; missing where it is empty."""
    return array_elem_at(array, 0)


@operator("$last", ARRAY, code="Location28689")
def last(array: Array) -> Value:
    """The last element of an array; missing where it is empty."""
    return array_elem_at(array, -1)


@operator("$slice", ANY, ANY, ANY, optional=1, nulls=False)
def slice_(value: Value, position: Value, *third: Value) -> Array | None:
    """The first elements of an array, the last where the number is negative, or so many from a position."""
    array = None if is_nullish(position) else _array(value, "$slice", "Location28724")
    if array is None:
        return None
    start = accepted(position, _int32("Location28725", "Location28726"), "$slice")
    if not third:
        return array[:start] if start >= 0 else array[start:]
    if is_nullish(third[0]):
        return None
    count = accepted(third[0], _int32("Location28727", "Location28728"), "$slice")
    if count <= 0:
        raise QueryError(f"the third argument to $slice is greater than 0, not {count}", code="Location28729")
    start = start if start >= 0 else max(0, len(array) + start)
    return array[start : start + count]


@operator("$in", ANY, coded(ARRAY, "Location40081"), nulls=False)
def in_(value: Value, array: Array) -> bool:
    """Whether a value is an element of an array."""
    key = comparison_key(value)
    return any(key == sort_key(element) for element in array)


@operator(
    "$indexOfArray",
    *(ANY, ANY, ANY, ANY),
    optional=2,
    nulls=False,
    constants={
        0: Shape(lambda value: value if is_nullish(value) else ARRAY.accept(value), ARRAY.says, code="Location50809")
    },
)
def index_of_array(value: Value, wanted: Value, start: Value = 0, end: Value = INT32[-1]) -> int | None:
    """The position of the first element that equals a value, from a start and before an end; -1 without one."""
    array = _array(value, "$indexOfArray", "Location40090")
    if array is None:
        return None
    bounds = [_whole(bound, "a position in an array", "Location40096") for bound in (start, end)]
    if min(bounds) < 0:
        raise QueryError(f"a position in an array is not negative, and {min(bounds)} is", code="Location40097")
    key = comparison_key(wanted)
    within = range(bounds[0], min(bounds[1], len(array)))
    return next((position for position in within if sort_key(array[position]) == key), -1)


@operator("$size", ARRAY, code="Location17124", nulls=False)
def size(array: Array) -> int:
    """How many elements an array has."""
    return len(array)


@operator("$isArray", ANY, nulls=False)
def is_array(value: Value) -> bool:
    """Whether a value is an array."""
    return type(value) is list


@operator("$concatArrays", rest=ANY, nulls=False)
def concat_arrays(*values: Value) -> Array | None:
    """One array of the elements of several, one after another."""
    arrays = _arrays(values, "$concatArrays", "Location28664")
    if arrays is None:
        return None
    if sum(map(len, arrays)) > MAX_VALUES:
        raise QueryError(f"$concatArrays makes at most {MAX_VALUES} elements", code="ExceededMemoryLimit")
    return [element for array in arrays for element in array]


@operator("$reverseArray", ARRAY, code="Location34435")
def reverse_array(array: Array) -> Array:
    """The elements of an array in the opposite order."""
    return array[::-1]


@operator(
    "$range",
    _int32("Location34443", "Location34444"),
    _int32("Location34445", "Location34446"),
    _int32("Location34447", "Location34448"),
    optional=1,
    nulls=False,
)
def range_(start: int, end: int, step: int = 1) -> list[int]:
    """The whole numbers from a start up to an end, without the end, by a step."""
    if not step:
        raise QueryError("the step of $range is not 0", code="Location34449")
    numbers = range(start, end, step)
    if len(numbers) >= MAX_VALUES:
        raise QueryError(f"$range makes less than {MAX_VALUES} numbers", code="ExceededMemoryLimit")
    return list(numbers)


_ZIP = {"object": "Location34460", "unknown": "Location34464", "inputs": "Location34465"}


@syntax("$zip")
def zip_(operand: Value, scope: Scope) -> Expression:
    """Arrays of the first elements of all ``inputs``, of the second, and so on: their transposition."""
    given = named_arguments("$zip", operand, ["inputs"], ("inputs", "useLongestLength", "defaults"), _ZIP)
    for name, code in (("inputs", "Location34461"), ("defaults", "Location34462")):
        if type(given.get(name, [])) is not list:
            raise QueryError(f"{name} of $zip is an array, not {preview(given[name])}", code=code)
    longest = given.get("useLongestLength", False)
    if type(longest) is not bool:
        raise QueryError(f"useLongestLength of $zip is true or false, not {preview(longest)}", code="Location34463")
    with at("inputs"):
        inputs = arguments(given["inputs"], scope)
    with at("defaults"):
        defaults = arguments(given.get("defaults", []), scope)
    if not inputs:
        raise QueryError("$zip needs at least one input", code="Location34465")
    if defaults and not longest:
        raise QueryError("defaults of $zip are for useLongestLength: true only", code="Location34466")
    if defaults and len(defaults) != len(inputs):
        raise QueryError("$zip has one of the defaults for each of the inputs", code="Location34467")

    def evaluate(variables: Variables) -> list[Array] | None:
        arrays = _arrays((each.evaluate(variables) for each in inputs), "$zip", "Location34468")
        if arrays is None:
            return None
        lengths = set(map(len, arrays))
        fillings = [None] * len(inputs)
        if defaults and len(lengths) > 1:
            fillings = [null_if_missing(each.evaluate(variables)) for each in defaults]
        rows = max(lengths) if longest else min(lengths)
        return [
            [array[row] if row < len(array) else filling for array, filling in zip(arrays, fillings, strict=True)]
            for row in range(rows)
        ]

    return folded(evaluate, *inputs, *defaults)


_SORT_ARRAY = {
    "object": "Location2942500",
    "unknown": "Location2942501",
    "input": "Location2942502",
    "sortBy": "Location2942503",
}


@syntax("$sortArray")
def sort_array(operand: Value, scope: Scope) -> Expression:
    """The elements of ``input`` in the order of ``sortBy``: 1 or -1, or fields as in a sort."""
    given = named_arguments("$sortArray", operand, ("input", "sortBy"), ("input", "sortBy"), _SORT_ARRAY)
    source = argument(given, "input", scope)
    with at("sortBy"):
        orders = _orders(given["sortBy"])

    def evaluate(variables: Variables) -> Array | None:
        array = _array(source.evaluate(variables), "$sortArray", "Location2942504")
        if array is not None:
            for key, descending in reversed(orders):
                array = sorted(array, key=key, reverse=descending)
        return array

    return folded(evaluate, source)


def _orders(sort_by: Value) -> list[tuple[Callable[[Value], SortKey], bool]]:
    """By what to sort, the most important first, and whether from the greatest."""
    if is_number(sort_by):
        if integral(sort_by) not in (1, -1):
            raise QueryError(f"sortBy of $sortArray is 1 or -1, not {preview(sort_by)}", code="Location2942506")
        return [(sort_key, integral(sort_by) == -1)]
    if type(sort_by) is not dict:
        raise QueryError(f"sortBy is 1, -1 or an object of fields, not {preview(sort_by)}", code="Location2942507")
    try:
        Sort(sort_by)
    except QueryError as error:
        error.code = "Location2942505"
        raise
    if not sort_by:
        raise QueryError("sortBy of $sortArray names at least one field", code="Location2942505")
    return [(_key_at(parse_path(name)), integral(order) == -1) for name, order in sort_by.items()]


def _key_at(path: Path) -> Callable[[Value], SortKey]:
    # Unlike a sort of documents this one opens no array: an array is compared as a whole, and entered by index only.
    def key(element: Value) -> SortKey:
        value: Value = element if type(element) is dict else None
        for part in path:
            if type(value) is dict:
                value = value.get(part)
            elif type(value) is list and is_index(part) and int(part) < len(value):
                value = value[int(part)]
            else:
                value = None
        return sort_key(value)

    return key


def _element_name(given: Mapping[str, Value]) -> str:
    with at("as"):
        return variable_name(given.get("as", "this"))


_MAP = {"object": "Location16878", "unknown": "Location16879", "input": "Location16880", "in": "Location16882"}


@syntax("$map")
def map_(operand: Value, scope: Scope) -> Expression:
    """What ``in`` gives for each element of ``input``, which it calls ``$$this`` or as ``as`` says."""
    given = named_arguments("$map", operand, ("input", "in"), ("input", "as", "in"), _MAP)
    source = argument(given, "input", scope)
    name = _element_name(given)
    body = argument(given, "in", scope | {name})

    def evaluate(variables: Variables) -> Array | None:
        array = _array(source.evaluate(variables), "$map", "Location16883")
        if array is None:
            return None
        results = []
        room = MAX_VALUES
        for element in _in_time(array):
            results.append(null_if_missing(body.evaluate({**variables, name: element})))
            room = _room_left(room, results[-1])
        return results

    return Expression(evaluate)


_FILTER = {"object": "Location28646", "unknown": "Location28647", "input": "Location28648", "cond": "Location28650"}


@syntax("$filter")
def filter_(operand: Value, scope: Scope) -> Expression:
    """The elements of ``input`` for which ``cond`` is true, at most ``limit`` of them."""
    given = named_arguments("$filter", operand, ("input", "cond"), ("input", "as", "cond", "limit"), _FILTER)
    source = argument(given, "input", scope)
    name = _element_name(given)
    condition = argument(given, "cond", scope | {name})
    most = argument(given, "limit", scope) if "limit" in given else None

    def evaluate(variables: Variables) -> Array | None:
        array = _array(source.evaluate(variables), "$filter", "Location28651")
        if not array:
            return array
        limit = _limit(most.evaluate(variables)) if most else None
        kept = []
        for element in _in_time(array):
            if truthy(condition.evaluate({**variables, name: element})):
                kept.append(element)
                if len(kept) == limit:
                    break
        return kept

    return Expression(evaluate)


def _limit(value: Value) -> int | None:
    if is_nullish(value):
        return None
    limit = _whole(value, f"limit of $filter to be {INT.says}", "Location327391")
    if limit <= 0:
        raise QueryError(f"limit of $filter is greater than 0, not {limit}", code="Location327392")
    return limit


_REDUCE = {
    "object": "Location40075",
    "unknown": "Location40076",
    "input": "Location40077",
    "initialValue": "Location40078",
    "in": "Location40079",
}


@syntax("$reduce")
def reduce(operand: Value, scope: Scope) -> Expression:
    """One value for an array: ``in`` makes of ``$$value`` and each element, ``$$this``, the next ``$$value``."""
    names = ("input", "initialValue", "in")
    given = named_arguments("$reduce", operand, names, names, _REDUCE)
    source, initial = (argument(given, name, scope) for name in names[:2])
    body = argument(given, "in", scope | {"this", "value"})

    def evaluate(variables: Variables) -> Value:
        array = _array(source.evaluate(variables), "$reduce", "Location40080")
        if array is None:
            return None
        value = initial.evaluate(variables)
        for element in _in_time(array):
            value = body.evaluate({**variables, "this": element, "value": value})
            _room_left(MAX_VALUES, value)
        return value

    return Expression(evaluate)


def _set(array: Array) -> dict[SortKey, Value]:
    """The elements by their keys as they come: of those that are equal, the first."""
    elements: dict[SortKey, Value] = {}
    for element in array:
        elements.setdefault(sort_key(element), element)
    return elements


def _in_order(elements: Mapping[SortKey, Value]) -> Array:
    return [elements[key] for key in sorted(elements)]


@operator("$setUnion", rest=ANY, nulls=False)
def set_union(*values: Value) -> Array | None:
    """The values that are in any of the arrays, each once, in order."""
    arrays = _arrays(values, "$setUnion", "Location17043")
    return None if arrays is None else _in_order(_set([element for array in arrays for element in array]))


@operator("$setIntersection", rest=ANY, nulls=False)
def set_intersection(*values: Value) -> Array | None:
    """The values that are in each of the arrays, each once, in order."""
    arrays = _arrays(values, "$setIntersection", "Location17047")
    if not arrays:
        return arrays
    return _in_order(functools.reduce(_common, map(_set, arrays)))


def _common(one: Mapping[SortKey, Value], other: Mapping[SortKey, Value]) -> Mapping[SortKey, Value]:
    # Of two values that are equal, as 1 and 1.0, the one out of the smaller set is kept.
    kept, tried = (other, one) if len(one) > len(other) else (one, other)
    return {key: element for key, element in kept.items() if key in tried}


@operator("$setDifference", coded(ARRAY, "Location17048"), coded(ARRAY, "Location17049"))
def set_difference(one: Array, other: Array) -> Array:
    """The values that are in the first array and not in the second, each once, as they come."""
    without = _set(other)
    return [element for key, element in _set(one).items() if key not in without]


@operator(
    "$setIsSubset",
    coded(ARRAY, "Location17046"),
    coded(ARRAY, "Location17042"),
    nulls=False,
    constants={1: coded(ARRAY, "Location17311")},
)
def set_is_subset(one: Array, other: Array) -> bool:
    """Whether each value of the first array is in the second."""
    return _set(one).keys() <= _set(other).keys()


@syntax("$setEquals")
def set_equals(operand: Value, scope: Scope) -> Expression:
    """Whether the arrays have the same values, however often and in whatever order."""
    parts = arguments(operand, scope)
    if len(parts) < 2:
        raise QueryError(f"$setEquals takes at least 2 arguments, and {len(parts)} came", code="Location17045")
    for part in parts:
        if part.constant:
            _keys(part.evaluate({}), "Location5887502")

    # MongoDB's order: a constant is compared with the others, and none is looked at behind one that differs.
    first = next((part for part in parts if part.constant), parts[0])
    others = [part for part in parts if part is not first]

    def evaluate(variables: Variables) -> bool:
        one = _keys(first.evaluate(variables), "Location17044")
        return all(one == _keys(other.evaluate(variables), "Location17044") for other in others)

    return folded(evaluate, *parts)


def _keys(value: Value, code: str) -> set[SortKey]:
    if type(value) is not list:
        raise QueryError(f"$setEquals needs arrays, not {preview(value)}", code=code)
    return set(map(sort_key, value))


@operator("$allElementsTrue", ARRAY, code="Location17040", nulls=False)
def all_elements_true(array: Array) -> bool:
    """Whether no element of an array is false, null or 0."""
    return all(map(truthy, array))


@operator("$anyElementTrue", ARRAY, code="Location17041", nulls=False)
def any_element_true(array: Array) -> bool:
    """Whether an element of an array is neither false, null nor 0."""
    return any(map(truthy, array))


OverValues = Callable[[Sequence[Value]], Value]


def accumulator(name: str) -> Callable[[OverValues], OverValues]:
    """Declare a function of many values: the arguments, or the elements of the one array that is the argument."""

    def declare(function: OverValues) -> OverValues:
        @operator(name, rest=ANY, nulls=False)
        @functools.wraps(function)
        def over(*values: Value) -> Value:
            return function(values[0] if len(values) == 1 and type(values[0]) is list else values)

        return function

    return declare


@accumulator("$sum")
def sum_(values: Sequence[Value]) -> Value:
    """The sum of the numbers among the values; 0 where there are none."""
    numbers = list(filter(is_number, values))
    types = set(map(type_alias, numbers))
    if "decimal" in types:
        return decimal_result(lambda: _decimal_sum(numbers))
    if "double" in types:
        return _double_sum(numbers)
    total = sum(map(int, numbers))
    if total not in INT64:
        return float(total)
    return Int64(total) if "long" in types else total


@accumulator("$avg")
def avg(values: Sequence[Value]) -> Value:
    """The mean of the numbers among the values; null where there are none."""
    numbers = list(filter(is_number, values))
    if not numbers:
        return None
    if any(type(number) is Decimal128 for number in numbers):
        return decimal_result(lambda: _decimal_sum(numbers) / len(numbers))
    return _double_sum(numbers) / len(numbers)


def _double_parts(numbers: Iterable[Value]) -> Iterator[float]:
    """The doubles that are together exactly these numbers: a long can be longer than a double."""
    for number in numbers:
        yield float(number)
        if isinstance(number, int):
            yield float(int(number) - int(float(number)))


def _double_sum(numbers: Iterable[Value]) -> float:
    parts = list(_double_parts(numbers))
    try:
        return math.fsum(parts) if all(map(math.isfinite, parts)) else sum(parts, 0.0)
    except OverflowError:
        return sum(parts, 0.0)


def _decimal_sum(numbers: Sequence[Value]) -> Decimal:
    # MongoDB keeps two sums, so that a double which is no decimal does not disturb those that are.
    total = sum((number.to_decimal() for number in numbers if type(number) is Decimal128), Decimal(0))
    others = [number for number in numbers if type(number) is not Decimal128]
    double = _double_sum(others)
    rest = math.fsum([*_double_parts(others), -double]) if math.isfinite(double) else 0.0
    return total + (Decimal(double) + Decimal(rest))


def _std_dev(name: str, fewer: int, says: str) -> OverValues:
    def std_dev(values: Sequence[Value]) -> float | None:
        # Welford's algorithm, as MongoDB has it, to the last bit.
        count, mean, squares = 0, 0.0, 0.0
        for value in filter(is_number, values):
            count += 1
            delta = float(exact(value)) - mean
            if delta:
                mean += delta / count
                squares += delta * (float(exact(value)) - mean)
        return math.sqrt(squares / (count - fewer)) if count > fewer else None

    std_dev.__doc__ = says
    return accumulator(name)(std_dev)


std_dev_pop: Final = _std_dev(
    "$stdDevPop", 0, "The standard deviation of the numbers among the values, which are all there are."
)
std_dev_samp: Final = _std_dev(
    "$stdDevSamp", 1, "The standard deviation that the numbers among the values let expect where they are a sample."
)


@accumulator("$min")
def min_(values: Sequence[Value]) -> Value:
    """The least of the values that are neither null nor missing, over all BSON types."""
    return min(_present(values), key=sort_key, default=None)


@accumulator("$max")
def max_(values: Sequence[Value]) -> Value:
    """The greatest of the values that are neither null nor missing, over all BSON types."""
    return max(_present(values), key=sort_key, default=None)


def _present(values: Iterable[Value]) -> Iterator[Value]:
    return (value for value in values if not is_nullish(value))


def n_and_input(name: str, operand: Value) -> Document:
    """The arguments, not compiled, of an operator for so many values of ``input``."""
    codes = {
        "object": "Location5787900" if name in ("$minN", "$maxN") else "Location5787801",
        "unknown": "Location5787901",
        "n": "Location5787906",
        "input": "Location5787907",
    }
    return named_arguments(name, operand, ("n", "input"), ("n", "input"), codes)


def _first_n(name: str, chosen: Callable[[Array, int], Array], says: str) -> None:
    def compile_(operand: Value, scope: Scope) -> Expression:
        given = n_and_input(name, operand)
        how_many, source = (argument(given, each, scope) for each in ("n", "input"))

        def evaluate(variables: Variables) -> Array:
            n = how_many_of(name, how_many.evaluate(variables))
            array = source.evaluate(variables)
            if type(array) is not list:
                raise QueryError(f"input of {name} is an array, not {preview(array)}", code="Location5788200")
            return chosen(array, n)

        return folded(evaluate, how_many, source)

    compile_.__doc__ = says
    syntax(name)(compile_)


def how_many_of(name: str, value: Value) -> int:
    """
    The number of values that an operator shall give.

    Raises:
        QueryError: ``Location5787902``, ``Location5787903``, ``Location5787908`` -- not a whole number above 0.
    """
    n = integral(value)
    if n is None or n not in INT64:
        code = "Location5787903" if is_number(value) else "Location5787902"
        raise QueryError(f"n of {name} is a whole number, not {preview(value)}", code=code)
    if n <= 0:
        raise QueryError(f"n of {name} is greater than 0, not {n}", code="Location5787908")
    return n


def ascending(array: Array) -> Array:
    """The values that are neither null nor missing, the least first."""
    return sorted(_present(array), key=sort_key)


_first_n("$firstN", lambda array, n: array[:n], "The first ``n`` elements of ``input``.")
_first_n("$lastN", lambda array, n: array[-n:], "The last ``n`` elements of ``input``.")
_first_n("$minN", lambda array, n: ascending(array)[:n], "The ``n`` least elements, without null.")
_first_n(
    "$maxN",
    lambda array, n: ascending(array)[::-1][:n],
    "The ``n`` greatest elements, the greatest first.",
)


def percentile_arguments(name: str, names: Sequence[str], operand: Value) -> Document:
    """The arguments, not compiled, of ``$median`` or ``$percentile``, whose ``method`` is one there is."""
    codes = dict.fromkeys(names, "Location40414")
    codes["object"] = "Location7436201" if name == "$median" else "Location7436200"
    codes["unknown"] = "Location40415"
    given = named_arguments(name, operand, names, names, codes)
    method = given["method"]
    if type(method) is not str:
        raise QueryError(f"method of {name} is a string, not {preview(method)}", code="TypeMismatch")
    if method != "approximate":
        raise QueryError(f"method of {name} is 'approximate', not {preview(method)}", code="BadValue")
    return given


MEDIAN_ARGUMENTS: Final = ("input", "method")
PERCENTILE_ARGUMENTS: Final = ("input", "p", "method")


def numbers_at(values: Iterable[Value], shares: Sequence[float]) -> Array:
    """The numbers among values below which such shares of them stand; null for each where there are none."""
    numbers = sorted(float(exact(each)) for each in values if is_number(each) and not is_nan(each))
    if not numbers:
        return [None] * len(shares)
    return [numbers[max(0, math.ceil(len(numbers) * share) - 1)] for share in shares]


def _elements(value: Value) -> Array:
    return value if type(value) is list else [value]


@syntax("$median")
def median(operand: Value, scope: Scope) -> Expression:
    """The number in the middle of those in ``input``: with an even number of them the lesser of the two."""
    source = argument(percentile_arguments("$median", MEDIAN_ARGUMENTS, operand), "input", scope)
    return folded(lambda variables: numbers_at(_elements(source.evaluate(variables)), [0.5])[0], source)


@syntax("$percentile")
def percentile(operand: Value, scope: Scope) -> Expression:
    """For each of ``p``, from 0 to 1, the least number of ``input`` that so large a share does not exceed."""
    given = percentile_arguments("$percentile", PERCENTILE_ARGUMENTS, operand)
    source = argument(given, "input", scope)
    shares = shares_of(given, scope)
    return folded(lambda variables: numbers_at(_elements(source.evaluate(variables)), shares), source)


def shares_of(given: Document, scope: Scope) -> list[float]:
    """``p`` of ``$percentile``: numbers from 0 to 1, which depend on no document."""
    shares = argument(given, "p", scope)
    with at("p"):
        if not shares.constant:
            raise QueryError("p of $percentile is an array of constants", code="Location7750300")
        return _shares(shares.evaluate({}))


def _shares(value: Any) -> list[float]:
    if type(value) is not list or not value:
        raise QueryError(f"p of $percentile is an array of numbers, not {preview(value)}", code="Location7750301")
    for each in value:
        if not is_number(each):
            raise QueryError(f"p of $percentile holds numbers, not {preview(each)}", code="Location7750302")
        if is_nan(each) or not 0 <= exact(each) <= 1:
            raise QueryError(f"p of $percentile holds numbers from 0 to 1, not {preview(each)}", code="Location7750303")
    return [float(exact(each)) for each in value]
