"""The quick checks of request bodies pass what the schemas pass, and nothing else."""

from __future__ import annotations

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from connectome.web.api import OPERATIONS

WITH_BODY = sorted(name for name, each in OPERATIONS.items() if each.body)
NAMES = sorted({name for each in OPERATIONS.values() if each.body for name in each.body.source.get("properties", {})})

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2, 2).map(Int64),
    st.integers(-2, 2).map(float),
    st.floats(),
    st.text(max_size=3),
    st.just(ObjectId("57e193d7a9cc81b4027498b5")),
    st.just(Decimal128("1")),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
# Most of them are nearly right, since few others would come past the first line of a check.
BODIES = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(NAMES), VALUES | st.just({}) | st.just([]) | st.just([{}]), max_size=5),
    st.fixed_dictionaries(
        {"search query": st.just({}), "data": st.just({}) | VALUES},
        optional={"upsert": st.booleans(), "arrayFilters": st.lists(st.just({}) | VALUES, max_size=2), "more": SCALARS},
    ),
    st.lists(st.just({}) | VALUES, max_size=3),
)


@pytest.mark.parametrize("name", WITH_BODY)
@given(body=BODIES)
def test_the_quick_check_and_the_schema_agree(name, body):
    """Whatever the body, one passes it if the other does."""
    operation = OPERATIONS[name]

    assert operation.fits(body) == (not operation.body.failures(body))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("readwithquery", {"query": {}, "project": {}, "sort": [["a", 1]], "skip": 1.0, "limit": Int64(2)}),
        ("write", {"a": 1}),
        ("batchwrite", [{}, {"a": 1}]),
        ("updatewithupsert", {"search query": {}, "data": [{"$set": {}}], "multi": False, "arrayFilters": [{"x": 1}]}),
        ("batchdelete", {}),
    ],
)
def test_a_good_body_is_not_shown_to_the_schema(monkeypatch, name, body):
    """The quick check is enough for it."""
    monkeypatch.setattr(OPERATIONS[name].body, "failures", None)

    assert OPERATIONS[name].fits(body)
