"""
Updates against a slow and obvious model, and compiled filters against the definition of a path.

The model knows nothing of the engine: it sorts the paths, copies the whole document, and walks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st
from strategies import PARTS, canonical, paths

from connectome.errors import RequestError
from connectome.query import MISSING, Filter, Update
from connectome.query.paths import Arrays, yielded

laws = settings(max_examples=150, deadline=None)

numbers = st.sampled_from([0, 1, 2, -1, 1.0, 1.5, -0.0])
scalars = st.one_of(numbers, st.none(), st.booleans(), st.sampled_from(["a", "b", ""]))


def containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inside, max_size=3) | st.dictionaries(PARTS, inside, max_size=3)


values = st.recursive(scalars, containers, max_leaves=4)
# Arrays, and arrays of arrays, more often than not: that is where paths have their traps.
documents = st.dictionaries(PARTS, containers(containers(values) | values) | values, max_size=3)


# The model.

Container = dict[str, Any] | list[Any]


class Refused(Exception):
    """MongoDB refuses this update, whatever its reason."""


def order(value: Any) -> tuple[Any, ...]:
    """What BSON's order compares, for the few types that these tests draw."""
    if value is None:
        return (1,)
    if type(value) is bool:
        return (6, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, dict):
        return (4, [(order(each)[0], name, order(each)) for name, each in value.items()])
    return (5, [order(each) for each in value])


def same(one: Any, other: Any) -> bool:
    """Equal across the types of numbers; documents only in the same order of fields."""
    return order(one) == order(other)


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def names(container: Container) -> list[str]:
    """The parts that lead into a document or an array."""
    return [str(index) for index in range(len(container))] if isinstance(container, list) else list(container)


def inside(container: Container, part: str) -> Any:
    return container[int(part)] if isinstance(container, list) else container[part]


def put(container: Container, part: str, value: Any) -> None:
    """Set a field or an element, filling an array with null up to it."""
    if isinstance(container, dict):
        container[part] = value
    else:
        while len(container) <= int(part):
            container.append(None)
        container[int(part)] = value


def descend(document: dict[str, Any], parts: list[str]) -> tuple[Any, list[str]]:
    """The last thing that exists on a path, and the parts that are left."""
    current: Any = document
    for position, part in enumerate(parts):
        if not isinstance(current, dict | list) or part not in names(current):
            return current, parts[position:]
        current = inside(current, part)
    return current, []


def viable(current: Any, left: list[str]) -> bool:
    """Whether a part could be put there: any name in a document, only an index in an array, nothing in a scalar."""
    return isinstance(current, dict) or (isinstance(current, list) and left[0].isdigit())


def write(document: dict[str, Any], parts: list[str], value: Any) -> None:
    """Set what a path leads to, making the documents on the way."""
    current, left = descend(document, parts)
    if left:
        if not viable(current, left):
            raise Refused
        for part in reversed(left[1:]):
            value = {part: value}
        put(current, left[0], value)
    else:
        parent, _ = descend(document, parts[:-1])
        put(parent, parts[-1], value)


Change = Callable[[Any, Any], Any]


def arrays_only(old: Any) -> list[Any]:
    if not isinstance(old, list):
        raise Refused
    return old


def inc(old: Any, operand: Any) -> Any:
    if old is MISSING:
        return operand
    if not is_number(old):
        raise Refused
    new = old + operand
    return old if type(new) is type(old) and new == old else new  # minus zero stays


def least(old: Any, operand: Any) -> Any:
    return operand if old is MISSING or order(operand) < order(old) else old


def greatest(old: Any, operand: Any) -> Any:
    return operand if old is MISSING or order(operand) > order(old) else old


def push(old: Any, operand: Any) -> Any:
    array = [] if old is MISSING else list(arrays_only(old))
    if not (isinstance(operand, dict) and "$each" in operand):
        return [*array, operand]
    position = operand.get("$position", len(array))
    # A slice of Python's counts a negative position from the end, and stops at both ends, as $position does.
    array[position:position] = operand["$each"]
    if "$sort" in operand:
        array.sort(key=order, reverse=operand["$sort"] == -1)
    if "$slice" in operand:
        count = operand["$slice"]
        array = array[:count] if count >= 0 else array[count:]
    return array


def add_to_set(old: Any, operand: Any) -> Any:
    array = [] if old is MISSING else list(arrays_only(old))
    each = operand["$each"] if isinstance(operand, dict) and "$each" in operand else [operand]
    for new in each:
        if not any(same(new, element) for element in array):
            array.append(new)
    return array


def pull(old: Any, operand: Any) -> Any:
    return [element for element in arrays_only(old) if not pulled(element, operand)]


def pulled(element: Any, operand: Any) -> bool:
    if isinstance(operand, dict):  # these tests draw no other condition
        bound = operand["$gte"]
        among = [*element, element] if isinstance(element, list) else [element]
        return any(is_number(each) and each >= bound for each in among)
    return same(element, operand)


def pull_all(old: Any, operand: Any) -> Any:
    return [element for element in arrays_only(old) if not any(same(element, each) for each in operand)]


def pop(old: Any, operand: Any) -> Any:
    return arrays_only(old)[:-1] if operand == 1 else arrays_only(old)[1:]


# Operators that make what is missing, and those that pass over it.
CREATING: dict[str, Change] = {
    "$set": lambda _, operand: operand,
    "$inc": inc,
    "$min": least,
    "$max": greatest,
    "$push": push,
    "$addToSet": add_to_set,
}
CULLING: dict[str, Change] = {"$pull": pull, "$pullAll": pull_all, "$pop": pop}


def change(document: dict[str, Any], operator: str, path: str, operand: Any) -> None:
    """Do one operator at one path, in place."""
    parts = path.split(".")
    current, left = descend(document, parts)
    if operator == "$unset":
        if not left:
            parent, _ = descend(document, parts[:-1])
            if isinstance(parent, list):
                parent[int(parts[-1])] = None
            else:
                del parent[parts[-1]]
    elif operator == "$rename":
        rename(document, parts, operand.split("."))
    elif operator in CREATING:
        write(document, parts, CREATING[operator](MISSING if left else current, operand))
    elif not left:
        write(document, parts, CULLING[operator](current, operand))
    elif not viable(current, left):
        raise Refused


def rename(document: dict[str, Any], source: list[str], target: list[str]) -> None:
    """Move a field: through documents only, on both sides."""
    value, left = descend(document, source)
    if left:
        if not viable(value, left):
            raise Refused
        return
    for path in (source, target):
        if any(isinstance(descend(document, path[:length])[0], list) for length in range(1, len(path))):
            raise Refused
    write(document, target, value)
    parent, _ = descend(document, source[:-1])
    del parent[source[-1]]


def touched(update: dict[str, Any]) -> Iterator[list[str]]:
    """Every path that an update names."""
    for operator, fields in update.items():
        for path, operand in fields.items():
            yield path.split(".")
            if operator == "$rename":
                yield operand.split(".")


def expected(update: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The document that an update leaves: one operator after the other, in the order of the paths that are written."""
    several = list(touched(update))
    for position, one in enumerate(several):
        for other in several[position + 1 :]:
            if one[: len(other)] == other[: len(one)]:
                raise Refused

    def place(change: tuple[str, str, Any]) -> list[tuple[bool, int, str]]:
        operator, path, operand = change
        written = operand if operator == "$rename" else path
        # Indexes in numeric order, then names.
        return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in written.split(".")]

    changes = [(operator, path, operand) for operator, fields in update.items() for path, operand in fields.items()]
    result = deepcopy(document)
    for operator, path, operand in sorted(changes, key=place):
        change(result, operator, path, deepcopy(operand))
    return result


# What is drawn.

value_lists = st.lists(values, max_size=3)
operands: dict[str, st.SearchStrategy[Any]] = {
    "$set": values,
    "$unset": st.just(""),
    "$inc": numbers,
    "$min": values,
    "$max": values,
    "$rename": paths,
    "$push": values
    | st.fixed_dictionaries(
        {"$each": value_lists},
        optional={
            "$position": st.integers(-3, 3),
            "$slice": st.integers(-3, 3),
            "$sort": st.sampled_from([1, -1]),
        },
    ),
    "$addToSet": values | value_lists.map(lambda several: {"$each": several}),
    "$pull": scalars | st.lists(scalars, max_size=2) | numbers.map(lambda bound: {"$gte": bound}),
    "$pullAll": value_lists,
    "$pop": st.sampled_from([1, -1]),
}
# Of a few short paths, so that conflicts are rare enough and documents are hit often enough.
short_paths = st.lists(PARTS, min_size=1, max_size=3).map(".".join)


def of_operator(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(short_paths, operands[name], min_size=1, max_size=2).map(lambda fields: {name: fields})


any_operator = st.one_of(*map(of_operator, operands))
updates = st.lists(any_operator, min_size=1, max_size=3).map(
    lambda several: {name: fields for one in several for name, fields in one.items()}
)


class TestUpdatesAgainstTheModel:
    @settings(laws, max_examples=600)
    @given(updates, documents)
    @example({"$set": {"a.1": 1, "a.0.b": 2}}, {"a": []})
    @example({"$set": {"a.0": 1}}, {})
    @example({"$unset": {"a.0": ""}}, {"a": [1, 2]})
    @example({"$rename": {"a": "c"}, "$set": {"b": 1}}, {"a": 0})
    @example({"$push": {"a": {"$each": [1], "$position": -1, "$slice": -2}}}, {"a": [3, 2]})
    @example({"$pull": {"a": {"$gte": 1}}}, {"a": [0, [1], {"a": 1}, 2]})
    @example({"$rename": {"a.0": "b"}}, {"a": []})
    @example({"$pop": {"a.5": 1}}, {"a": []})
    @example({"$inc": {"a": 0}}, {"a": -0.0})
    @example({"$push": {"a": {"$each": [2], "$slice": 1}}}, {"a": [1]})
    def test_an_update_leaves_what_the_model_says(self, update, document):
        """The same document to the last bit and the order of fields, or refused by both."""
        before = canonical(document)
        try:
            wanted = expected(update, document)
        except Refused:
            event("refused")
            with pytest.raises(RequestError):
                Update(update).apply(document)
        else:
            event("applied")
            got = Update(update).apply(document)

            assert canonical(got) == canonical(wanted)
            # MongoDB counts an element of an array that was null already, and what is pushed and cut off again.
            if update.keys().isdisjoint({"$unset", "$push"}) or got is document:
                assert (got is document) is (canonical(wanted) == before)
        assert canonical(document) == before

    @pytest.mark.parametrize("operator", operands)
    @laws
    @given(st.data())
    def test_each_operator_alone_does(self, operator, data):
        """One operator at a path that leads somewhere, or nearly."""
        document = data.draw(documents)
        # A path drawn from the document itself: chance alone seldom goes deep.
        path = data.draw(st.sampled_from(sorted(leading(document))) | short_paths)
        update = {operator: {path: data.draw(operands[operator])}}
        try:
            wanted = canonical(expected(update, document))
        except Refused:
            wanted = "refused"
        try:
            got = canonical(Update(update).apply(document))
        except RequestError:
            got = "refused"

        assert got == wanted

    @laws
    @given(st.lists(any_operator, min_size=2, max_size=2), documents)
    def test_a_failing_update_leaves_no_trace(self, two, document):
        """What one operator did before another was refused is not seen, and a later update knows nothing of it."""
        update = {name: fields for one in two for name, fields in one.items()}
        first = Update({"$set": {"z": 1}})
        before = canonical(document), canonical(first.apply(document))
        try:
            Update(update).apply(document)
        except RequestError:
            assert (canonical(document), canonical(first.apply(document))) == before
        else:
            assume(False)

    @pytest.mark.parametrize("operator", ["$set", "$min", "$max", "$addToSet", "$pull", "$pullAll"])
    @laws
    @given(st.data())
    def test_doing_it_again_changes_nothing(self, operator, data):
        """The second time the very same document comes back."""
        document = data.draw(documents)
        try:
            update = Update(data.draw(of_operator(operator)))
            once = update.apply(document)
        except RequestError:
            assume(False)

        assert update.apply(once) is once

    @laws
    @given(of_operator("$unset"), documents)
    def test_removing_again_changes_nothing(self, update, document):
        """What is gone stays gone, and what is null stays null."""
        try:
            unset = Update(update)
        except RequestError:  # a path inside another
            assume(False)
        once = unset.apply(document)

        assert canonical(unset.apply(once)) == canonical(once)


def leading(container: Any, prefix: str = "") -> Iterator[str]:
    """Every path that leads to something in a document, and one beyond."""
    yield prefix + "a"
    if isinstance(container, dict | list):
        for part in names(container):
            yield prefix + part
            yield from leading(inside(container, part), f"{prefix}{part}.")


# A condition, how a path meets arrays under it, and the test it makes of one value.
Condition = tuple[Any, Arrays, Callable[[Any], bool]]


def equality(operand: Any) -> Condition:
    def test(value: Any) -> bool:
        return operand is None if value is MISSING else same(value, operand)

    return {"$eq": operand}, "each", test


def greater(bound: Any) -> Condition:
    return {"$gt": bound}, "each", lambda value: is_number(value) and value > bound


def at_most(bound: str) -> Condition:
    return {"$lte": bound}, "each", lambda value: isinstance(value, str) and value <= bound


def of_size(length: int) -> Condition:
    return {"$size": length}, "whole", lambda value: isinstance(value, list) and len(value) == length


def there(_: Any) -> Condition:
    return {"$exists": True}, "whole", lambda value: value is not MISSING


def with_element(bound: Any) -> Condition:
    def test(value: Any) -> bool:
        return isinstance(value, list) and any(is_number(element) and element >= bound for element in value)

    return {"$elemMatch": {"$gte": bound}}, "whole", test


def string_typed(_: Any) -> Condition:
    return {"$type": "string"}, "each", lambda value: isinstance(value, str)


simple_conditions = st.one_of(
    values.map(equality),
    numbers.map(greater),
    st.sampled_from(["", "a", "b"]).map(at_most),
    st.integers(0, 3).map(of_size),
    st.none().map(there),
    numbers.map(with_element),
    st.none().map(string_typed),
)


class TestFiltersAgainstTheDefinitionOfAPath:
    @settings(laws, max_examples=600)
    @given(st.data())
    def test_compiled_and_reference_agree(self, data):
        """The fold of a path over a test finds what the values of the path, one by one, would find."""
        document = data.draw(documents)
        path = data.draw(st.sampled_from(sorted(leading(document))) | paths)
        condition, arrays, test = data.draw(simple_conditions)
        wanted = any(test(value) for value, _ in yielded(path, document, arrays))
        event("matches" if wanted else "does not")

        assert Filter({path: condition}).matches(document) is wanted

    @laws
    @given(st.data())
    def test_a_negated_condition_is_the_reference_turned_round(self, data):
        """``$not`` is true where no value of the path passes."""
        document = data.draw(documents)
        path = data.draw(st.sampled_from(sorted(leading(document))) | paths)
        condition, arrays, test = data.draw(simple_conditions)
        wanted = not any(test(value) for value, _ in yielded(path, document, arrays))

        assert Filter({path: {"$not": condition}}).matches(document) is wanted
