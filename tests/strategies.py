"""
What hypothesis draws from: BSON values, documents, paths, filters and updates.

Names, numbers and texts come from few, so that things meet: a path leads somewhere, a filter finds something.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import strategies as st

from connectome import extjson

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NAMES = st.sampled_from(["a", "b", "c", "é", "0", "1"])
PARTS = st.sampled_from(["a", "b", "c", "0", "1"])
paths = st.lists(PARTS, min_size=1, max_size=3).map(".".join)
top_level_names = st.sampled_from(["a", "b", "c"])

small_numbers = st.sampled_from([0, 1, -1, 2, Int64(1), 1.0, -0.0, 1.5, Decimal128("1"), Decimal128("1.50")])
# Two numbers that are often equal, and seldom identical.
near_numbers = st.tuples(small_numbers, small_numbers)
large_numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.decimals(places=3, min_value=-(10**20), max_value=10**20).map(Decimal128),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1E+6144", "1E-6143", "-0"]).map(Decimal128),
)
dates = st.one_of(
    # Whole milliseconds, as BSON keeps them.
    st.integers(-62135596800000, 253402300799999).map(lambda number: EPOCH + timedelta(milliseconds=number)),
    st.sampled_from([-(2**63), -62135596800001, 253402300800000, 2**63 - 1]).map(DatetimeMS),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    small_numbers,
    large_numbers,
    st.sampled_from(["", "a", "A", "ab", "é", "\U0001f600", "\uffff"]),
    st.text(max_size=5),
    st.sampled_from(["0" * 24, "f" * 24, "507f1f77bcf86cd799439011"]).map(ObjectId),
    dates,
    st.builds(Binary, st.binary(max_size=3), st.sampled_from([0, 3, 5, 128])),
    st.uuids().map(Binary.from_uuid) | st.just(Binary.from_uuid(UUID(int=0))),
    st.builds(Regex, st.sampled_from(["a", "^a", "b$"]), st.sampled_from(["", "i", "im"])),
    st.builds(Timestamp, st.integers(0, 3) | st.just(2**32 - 1), st.integers(0, 3)),
    st.just(MinKey()),
    st.just(MaxKey()),
)


def containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=3)


# Any BSON value.
values = st.recursive(scalars, containers, max_leaves=6)
# Values that meet each other often: for filters and updates.
plain_values = st.recursive(
    st.one_of(st.none(), st.booleans(), small_numbers, st.sampled_from(["a", "b", ""])), containers, max_leaves=4
)
documents = st.dictionaries(NAMES, values, max_size=4)
plain_documents = st.dictionaries(NAMES, plain_values, max_size=4)

operands = plain_values | scalars.filter(lambda value: type(value) is not Regex)
# Conditions of one field that match where some value at the path passes.
positive_conditions = st.one_of(
    st.builds(lambda name, value: {name: value}, st.sampled_from(["$eq", "$gt", "$gte", "$lt", "$lte"]), operands),
    st.builds(lambda choices: {"$in": choices}, st.lists(operands, max_size=3)),
    st.builds(lambda choices: {"$all": choices}, st.lists(operands, max_size=2)),
    st.builds(lambda flag: {"$exists": flag}, st.booleans()),
    st.builds(lambda name: {"$type": name}, st.sampled_from(["number", "string", "array", "object", "null", 2])),
    st.builds(lambda length: {"$size": length}, st.integers(0, 3)),
    st.builds(lambda remainder: {"$mod": [2, remainder]}, st.integers(0, 1)),
    st.builds(lambda pattern: {"$regex": pattern}, st.sampled_from(["a", "^b", ".", "^$"])),
    st.builds(lambda bound: {"$elemMatch": {"$gte": bound}}, small_numbers),
)
_conditions = st.one_of(
    positive_conditions,
    st.builds(lambda value: {"$ne": value}, operands),
    st.builds(lambda choices: {"$nin": choices}, st.lists(operands, max_size=3)),
    st.builds(lambda condition: {"$not": condition}, positive_conditions),
    st.builds(lambda filter: {"$elemMatch": filter}, st.dictionaries(paths, operands, max_size=2)),
    st.builds(lambda one, other: {**one, **other}, positive_conditions, positive_conditions),
)


@st.composite
def conditions(draw: st.DrawFn) -> Any:
    """Any condition of a field; a function, since hypothesis warns of a strategy that is long to print."""
    return draw(_conditions)


filters = st.recursive(
    st.dictionaries(paths, conditions() | plain_values, max_size=2),
    lambda inside: st.builds(
        lambda name, arms: {name: arms},
        st.sampled_from(["$and", "$or", "$nor"]),
        st.lists(inside, min_size=1, max_size=3),
    ),
    max_leaves=4,
)


_UPDATES: dict[str, st.SearchStrategy[Any]] = {
    "$set": plain_values,
    "$setOnInsert": plain_values,
    "$unset": st.just(""),
    "$inc": small_numbers,
    "$mul": small_numbers,
    "$min": plain_values,
    "$max": plain_values,
    "$rename": paths,
    "$push": plain_values
    | st.fixed_dictionaries(
        {"$each": st.lists(plain_values, max_size=2)},
        optional={
            "$position": st.integers(-2, 2),
            "$slice": st.integers(-2, 2),
            "$sort": st.sampled_from([1, -1, {"a": 1}]),
        },
    ),
    "$addToSet": plain_values | st.lists(plain_values, max_size=2).map(lambda each: {"$each": each}),
    "$pop": st.sampled_from([1, -1]),
    "$pull": plain_values,
    "$pullAll": st.lists(plain_values, max_size=2),
}
# Updates of which many are refused, by the compiler or by a document: both are part of the game.
updates = st.lists(
    st.one_of(
        *(
            st.dictionaries(paths, operand, min_size=1, max_size=2).map(lambda fields, name=name: {name: fields})
            for name, operand in _UPDATES.items()
        )
    ),
    min_size=1,
    max_size=2,
).map(lambda several: {name: fields for each in several for name, fields in each.items()})


def canonical(value: Any) -> str:
    """A value down to the type of every number and the order of every field."""
    return extjson.dumps(value, mode="canonical")
