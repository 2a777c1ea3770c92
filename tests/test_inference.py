"""What documents look like, and the schema that is made of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from hypothesis import given, settings
from hypothesis import strategies as st

from connectome import extjson, inference
from connectome.inference import histogram, path_text, proposed_schema, sample, shape_of, timeline, top
from connectome.query.values import milliseconds
from connectome.schemas import Schema
from tests.strategies import documents


def ms(*fields: int) -> int:
    return milliseconds(datetime(*fields, tzinfo=UTC))


def bars(found):
    return [(bar.label, bar.count) for bar in found]


class TestSample:
    def test_few_documents_are_all_taken(self):
        """A small collection is described whole."""
        assert sample([{"n": 1}, {"n": 2}], 2) == [{"n": 1}, {"n": 2}]

    def test_a_seed_takes_the_same_documents_again(self):
        """In their order, and others for another seed."""
        everything = [{"n": number} for number in range(100)]

        chosen = sample(iter(everything), 10, seed=7)

        assert chosen == sample(everything, 10, seed=7)
        assert chosen != sample(everything, 10, seed=8)
        assert [each["n"] for each in chosen] == sorted(each["n"] for each in chosen)
        assert len(chosen) == 10


class TestShape:
    def test_every_path_tells_how_often_it_is_there(self):
        """Fields of documents inside documents and arrays count against what could hold them."""
        shape = shape_of([{"a": {"b": 1}, "tags": ["x", 2]}, {"a": {}, "tags": []}, {"a": None}])

        found = [(path_text(path), each.count, of) for path, each, of in shape.walk()]

        assert found == [("a", 3, 3), ("a.b", 1, 2), ("tags", 2, 3), ("tags[]", 2, 2)]

    def test_types_are_counted_under_their_names_in_the_language(self):
        """As $type calls them."""
        values = [1, Int64(1), 1.5, Decimal128("1"), "x", None, True, ObjectId("0" * 24), [], {}]

        shape = shape_of([{"v": value} for value in values])

        assert shape.fields["v"].types == Counter(
            ["int", "long", "double", "decimal", "string", "null", "bool", "objectId", "array", "object"]
        )

    def test_a_map_is_cut(self):
        """An object whose keys are data does not fill the page."""
        shape = shape_of([{f"k{number}": 1 for number in range(inference.MAX_FIELDS + 1)}])

        assert len(shape.fields) == inference.MAX_FIELDS
        assert shape.cut


class TestCharts:
    @pytest.mark.parametrize(
        ("numbers", "found"),
        [
            ([5, 5], [("5", 2)]),
            ([1, 2, 2, 4], [("1", 1), ("2", 2), ("3", 0), ("4", 1)]),
            ([0, 10, 39, 100], [("0 – 4", 1), ("10 – 14", 1), ("35 – 39", 1), ("100 – 104", 1)]),
            ([0.25, 0.5], [("0.24 – 0.26", 1), ("0.5 – 0.52", 1)]),
        ],
    )
    def test_a_histogram_has_round_edges(self, numbers, found):
        """Whole numbers are counted in whole ranges; empty bars stay in between."""
        made = histogram(numbers)

        assert [bar for bar in bars(made) if bar[1] or len(made) < 5] == found
        assert len(made) <= inference.BINS + 1

    @settings(deadline=None)
    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
    def test_every_number_is_in_one_bar(self, numbers):
        """Whatever the doubles are, down to the smallest and up to the largest."""
        made = histogram(numbers)

        assert sum(bar.count for bar in made) == len(numbers)
        assert 1 <= len(made) <= inference.BINS + 1

    @pytest.mark.parametrize(
        ("dates", "found"),
        [
            ([ms(2020, 1, 1), ms(2020, 1, 3)], [("2020-01-01", 1), ("2020-01-02", 0), ("2020-01-03", 1)]),
            ([ms(2020, 1, 31), ms(2020, 3, 1)], [("2020-01-30", 1), ("2020-02-27", 1)]),
            ([ms(2019, 1, 5), ms(2020, 3, 5)], [("2019-01", 1), ("2020-03", 1)]),
            ([ms(1995, 1, 1), ms(2004, 6, 1)], [("1995", 1), ("2004", 1)]),
            ([ms(1, 1, 1), ms(9999, 1, 1)], [("0000 – 0499", 1), ("9500 – 9999", 1)]),
            ([-(2**63), 2**63 - 1], []),
        ],
    )
    def test_a_timeline_speaks_in_units_of_the_calendar(self, dates, found):
        """Days, weeks, months, years, decades: the narrowest that fits."""
        made = timeline(dates)

        assert [bar for bar in bars(made) if bar[1] or len(made) < 5] == found

    @settings(deadline=None)
    @given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(ms(1, 1, 1), ms(9999, 12, 30)), min_size=1))
    def test_every_date_with_a_name_is_in_one_bar(self, dates):
        """What no calendar names is left out, and nothing else."""
        made = timeline(dates)

        assert sum(bar.count for bar in made) == sum(date in inference._NAMED for date in dates)
        assert len(made) <= inference.BINS

    def test_the_most_frequent_strings_come_first(self):
        """At most eight of them."""
        assert bars(top(Counter("abbccc")))[:2] == [("c", 3), ("b", 2)]
        assert bars(top(Counter([True, False, True]))) == [("true", 2), ("false", 1)]
        assert len(top(Counter(map(str, range(100))))) == inference.TOP


class TestProposedSchema:
    def test_it_describes_documents_as_they_travel(self):
        """A date is an object with $date; what all documents have is required; what varies is a choice."""
        proposed = proposed_schema(
            shape_of(
                [
                    {"_id": "a", "n": 1, "when": datetime(2020, 1, 1, tzinfo=UTC), "tags": ["x"]},
                    {"_id": "b", "n": 1.5, "when": None, "tags": []},
                    {"_id": "c", "when": DatetimeMS(2**62), "tags": [{"k": True}]},
                ]
            )
        )

        assert proposed == {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "_id": {"type": "string"},
                "n": {"type": "number"},
                "when": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/date"}]},
                "tags": {
                    "type": "array",
                    "items": {
                        "type": ["string", "object"],
                        "properties": {"k": {"type": "boolean"}},
                        "required": ["k"],
                    },
                },
            },
            "required": ["_id", "when", "tags"],
            "$defs": {
                "date": {
                    "type": "object",
                    "properties": {"$date": True},
                    "required": ["$date"],
                    "additionalProperties": False,
                }
            },
        }

    @settings(deadline=None)
    @given(st.lists(documents, max_size=4))
    def test_every_document_that_it_was_made_of_satisfies_it(self, sampled):
        """Whatever types and shapes there are, the proposal can be enforced at once."""
        schema = Schema(proposed_schema(shape_of(sampled)))

        assert [schema.failures(extjson.to_json(document)) for document in sampled] == [[] for _ in sampled]

    def test_it_can_be_proposed_for_a_map(self):
        """Fields beyond the limit are not described, and not forbidden."""
        document = {f"k{number}": number for number in range(inference.MAX_FIELDS + 100)}

        assert Schema(proposed_schema(shape_of([document]))).failures(document) == []

    def test_nothing_is_asked_where_there_was_no_document(self):
        """An empty collection proposes a schema that anything satisfies."""
        assert Schema(proposed_schema(shape_of([]))).failures({"any": "thing"}) == []
