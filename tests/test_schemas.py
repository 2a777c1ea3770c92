"""JSON Schema: what is refused as a schema, and what is said of a value that fails one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from bson import Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from connectome import extjson, schemas
from connectome.errors import Failure, InvalidRequest
from connectome.schemas import Schema

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(scope="module", params=[True, False], ids=["gate", "judge alone"], autouse=True)
def road(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here runs twice: as with the extra ``fast`` installed, and as without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemas, "HAS_GATE", request.param)
        yield


def refusal(source: Any) -> InvalidRequest:
    """What is said of something that is no schema."""
    with pytest.raises(InvalidRequest) as caught:
        Schema(source)
    assert caught.value.code == "InvalidSchema"
    return caught.value


def failures(source: Any, value: Any) -> list[Failure]:
    return Schema(source).failures(value)


class TestSentences:
    @pytest.mark.parametrize(
        ("source", "value", "detail"),
        [
            ({"type": "string"}, 5, "expected string, not 5"),
            ({"type": ["string", "null"]}, True, "expected string or null, not true"),
            ({"type": "object"}, [], "expected object, not []"),
            ({"enum": ["a", 1]}, "b", 'expected one of ["a",1], not "b"'),
            ({"const": 1}, 2, "expected 1, not 2"),
            ({"minimum": 0}, -1, "expected a number of at least 0, not -1"),
            ({"exclusiveMaximum": 5}, 5, "expected a number less than 5, not 5"),
            ({"multipleOf": 2}, 3, "expected a multiple of 2, not 3"),
            ({"maxLength": 1}, "ab", 'expected at most 1 characters, not "ab"'),
            ({"pattern": "^a"}, "b", 'expected text that matches "^a", not "b"'),
            ({"minItems": 1}, [], "expected at least 1 elements, not []"),
            ({"maxProperties": 0}, {"a": 1}, 'expected at most 0 keys, not {"a":1}'),
            ({"required": ["title"]}, {}, "'title' is a required property"),
            (
                {"anyOf": [{"type": "string"}, {"minimum": 6}]},
                5,
                "expected string, not 5 or expected a number of at least 6, not 5",
            ),
            (
                {"not": {"type": "integer"}},
                5,
                '5 does not satisfy \'not\' of the schema, {"type":"integer"}',
            ),
            ({"uniqueItems": True}, [1, 1], "[1,1] does not satisfy 'uniqueItems' of the schema, true"),
        ],
    )
    def test_a_sentence_says_what_was_expected_then_what_came(self, source, value, detail):
        """One sentence for each keyword, with the value as it came."""
        assert failures(source, value) == [Failure(detail, "")]

    def test_a_large_value_is_cut(self):
        """The sentence never repeats a whole document."""
        (failure,) = failures({"type": "string"}, ["x" * 1000])

        assert len(failure.detail) < 100

    @pytest.mark.parametrize("source", [False, {"properties": {"a": False}}, {"items": False}])
    def test_a_schema_that_nothing_satisfies_is_said_in_words(self, source):
        """``false`` has no keyword, and None is no word for that."""
        (failure,) = failures(source, [1] if type(source) is dict and "items" in source else {"a": 1})

        assert "None" not in failure.detail


class TestPlaces:
    def test_every_failure_has_its_pointer(self):
        """The place in the value, escaped as RFC 6901 wants it."""
        source = {
            "properties": {"a/b": {"items": {"type": "integer"}}, "m~n": {"type": "string"}},
            "required": ["title"],
        }

        assert failures(source, {"a/b": [1, "two"], "m~n": 3}) == [
            Failure("'title' is a required property", ""),
            Failure("expected string, not 3", "/m~0n"),
            Failure('expected integer, not "two"', "/a~1b/1"),
        ]

    def test_steps_stand_in_front(self):
        """A document of a batch is named by its position."""
        assert Schema({"properties": {"n": {"type": "integer"}}}).failures({"n": "x"}, "documents", 3) == [
            Failure('expected integer, not "x"', "/documents/3/n")
        ]

    def test_a_valid_value_has_no_failure(self):
        """None is an empty list."""
        assert failures({"type": "object", "required": ["a"]}, {"a": 1}) == []


KNOWN = {"properties": {"query": {}, "project": {}, "limit": {}}, "additionalProperties": False}


class TestUnknownKeys:
    def test_an_unknown_key_gets_the_nearest_known_one(self):
        """A slip of the finger is named, with its pointer."""
        assert failures(KNOWN, {"querry": {}}) == [Failure("unknown key 'querry'; did you mean 'query'?", "/querry")]

    def test_where_nothing_is_near_all_are_named(self):
        """Somebody who guessed gets the list."""
        assert failures(KNOWN, {"xyz": 1}) == [
            Failure("unknown key 'xyz'; expected 'query', 'project', 'limit'", "/xyz")
        ]

    def test_each_unknown_key_is_a_failure_of_its_own(self):
        """Two slips, two sentences, two places."""
        assert [failure.pointer for failure in failures(KNOWN, {"querry": 1, "limit": 2, "lim": 3})] == [
            "/querry",
            "/lim",
        ]

    def test_a_key_that_a_pattern_allows_is_known(self):
        """What patternProperties names is no additional property."""
        source = {"properties": {"a": {}}, "patternProperties": {"^x_": {}}, "additionalProperties": False}

        assert [failure.pointer for failure in failures(source, {"a": 1, "x_1": 2, "zz": 3})] == ["/zz"]

    def test_where_no_key_is_known_none_is_suggested(self):
        """The sentence does not end in the middle."""
        (failure,) = failures({"additionalProperties": False}, {"a": 1})

        assert failure.pointer == "/a"
        assert not failure.detail.endswith(" ")


class TestWhatIsNoSchema:
    @pytest.mark.parametrize("source", [5, "object", [], None, ObjectId()])
    def test_a_schema_is_an_object_or_a_boolean(self, source):
        """Nothing else can be one."""
        assert refusal(source).detail == (
            f"not a JSON Schema: a JSON Schema is an object or a boolean, not {extjson.preview(source)}"
        )

    @pytest.mark.parametrize(
        "dialect",
        [
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2019-09/schema",
            "https://example.org/my-own",
            "",
        ],
    )
    def test_another_draft_is_refused(self, dialect):
        """A schema of another draft would be misread."""
        error = refusal({"$schema": dialect})

        assert error.pointer == "/$schema"
        assert error.detail == f'not a JSON Schema: $schema is {DRAFT}, not "{dialect}"'

    @pytest.mark.parametrize("dialect", [5, None, {}, ["x"]])
    def test_a_dialect_that_is_no_text_is_refused(self, dialect):
        """What ``$schema`` holds is looked at before it is read."""
        assert refusal({"$schema": dialect}).pointer == "/$schema"

    @pytest.mark.parametrize("dialect", [DRAFT, DRAFT + "#"])
    def test_its_own_draft_may_be_named(self, dialect):
        """With or without the empty fragment."""
        assert failures({"$schema": dialect, "type": "string"}, 5) == [Failure("expected string, not 5", "")]

    @pytest.mark.parametrize(
        ("source", "pointer"),
        [
            ({"type": "strin"}, "/type"),
            ({"minimum": "x"}, "/minimum"),
            ({"properties": {"a/b": {"type": 5}}}, "/properties/a~1b/type"),
            ({"pattern": "("}, "/pattern"),
            ({"patternProperties": {"(": {}}}, "/patternProperties"),
            ({"$defs": {"a": {"required": "b"}}}, "/$defs/a/required"),
            ({"items": 5}, "/items"),
        ],
    )
    def test_a_keyword_that_means_nothing_is_pointed_at(self, source, pointer):
        """The place in the schema, before any document meets it."""
        assert refusal(source).pointer == pointer


class TestBooleanSchemas:
    def test_true_takes_everything(self):
        """The schema without a demand."""
        assert failures(True, {"a": 1}) == []

    def test_false_takes_nothing(self):
        """Whatever comes fails, at the place where it stands."""
        assert [failure.pointer for failure in failures(False, {"a": 1})] == [""]

    def test_the_source_is_kept(self):
        """A boolean is given back as it was."""
        assert Schema(False).source is False


LOCAL = {
    "a pointer": {"$ref": "#/$defs/text", "$defs": {"text": {"type": "string"}}},
    "an escaped pointer": {"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "string"}}},
    "an anchor": {"$ref": "#here", "$defs": {"text": {"$anchor": "here", "type": "string"}}},
    "an id inside": {
        "$ref": "https://example.org/text",
        "$defs": {"text": {"$id": "https://example.org/text", "type": "string"}},
    },
    "a relative id": {
        "$id": "https://example.org/root",
        "$ref": "text",
        "$defs": {"text": {"$id": "text", "type": "string"}},
    },
    "a reference to a reference": {
        "$ref": "#/$defs/one",
        "$defs": {"one": {"$ref": "#/$defs/two"}, "two": {"type": "string"}},
    },
    "a dynamic anchor": {"$dynamicRef": "#here", "$defs": {"text": {"$dynamicAnchor": "here", "type": "string"}}},
}

NOWHERE = {
    "another machine": "https://example.org/text.json",
    "this machine": "http://127.0.0.1:9/text.json",
    "a file": "file:///etc/passwd",
    "a relative address": "text.json",
    "a pointer to nothing": "#/$defs/nothing",
    "an anchor that is not there": "#nothing",
    "what is no address": "http://[",
}


class TestReferences:
    @pytest.mark.parametrize("source", LOCAL.values(), ids=LOCAL)
    def test_a_reference_inside_the_schema_works(self, source):
        """What lies in the schema itself is found, however it is named."""
        assert failures(source, "text") == []
        assert failures(source, 5) == [Failure("expected string, not 5", "")]

    @pytest.mark.parametrize("address", NOWHERE.values(), ids=NOWHERE)
    @pytest.mark.parametrize("depth", ["at the root", "in a property", "behind $defs"])
    def test_a_reference_out_of_the_schema_is_refused_and_never_followed(self, address, depth, no_network):
        """Nothing is fetched, neither now nor when a document comes."""
        source = {
            "at the root": {"$ref": address},
            "in a property": {"properties": {"a": {"items": {"$ref": address}}}},
            "behind $defs": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": address}}},
        }[depth]

        error = refusal(source)

        assert error.detail == (
            f'not a JSON Schema: $ref "{address}" leads to no schema in this schema, '
            "and nothing is fetched from elsewhere"
        )
        assert no_network == []

    def test_a_property_may_be_called_ref(self):
        """Under ``properties`` it is a name, not a keyword."""
        source = {"properties": {"$ref": {"type": "string"}}}

        assert failures(source, {"$ref": 5}) == [Failure("expected string, not 5", "/$ref")]

    def test_a_constant_may_look_like_a_reference(self):
        """What is compared with a document is no schema."""
        source = {"const": {"$ref": "https://example.org/text.json"}}

        assert failures(source, {"$ref": "https://example.org/text.json"}) == []

    @pytest.mark.parametrize("default", [5, {"$ref": "https://example.org/text.json"}], ids=["a number", "a way out"])
    def test_a_reference_into_what_is_no_schema_is_refused(self, default, no_network):
        """A pointer may lead to a default; a schema it is not thereby, and no way round the check."""
        refusal({"$ref": "#/default", "default": default})

        assert no_network == []

    @pytest.mark.parametrize(
        "source",
        [
            {"$ref": "#"},
            {"allOf": [{"$ref": "#/allOf/0"}]},
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        ],
        ids=["itself", "an arm of itself", "a circle of two"],
    )
    def test_a_reference_that_never_arrives_is_refused(self, source):
        """A circle in which no step goes into the value would run for ever, on every document."""
        refusal(source)

    def test_a_schema_may_be_about_trees(self):
        """A circle that goes into the value ends where the value does."""
        tree = {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
            "additionalProperties": False,
        }

        assert failures(tree, {"children": [{"children": []}, {"children": [{"child": 1}]}]}) == [
            Failure("unknown key 'child'; did you mean 'children'?", "/children/1/children/0/child")
        ]


class TestWhatADocumentLooksLike:
    def test_a_typed_value_is_its_extended_json(self):
        """A schema speaks of JSON: to it a date is an object with ``$date``."""
        source = {
            "properties": {
                "released": {"type": "object", "properties": {"$date": {"type": "string"}}, "required": ["$date"]},
                "votes": {"type": "integer"},
            }
        }
        document = {"released": extjson.loads('{"$date": "2020-01-02T00:00:00Z"}'), "votes": Int64(5)}

        assert failures(source, extjson.to_json(document)) == []
        assert [failure.pointer for failure in failures(source, {"released": "2020", "votes": 1.5})] == [
            "/released",
            "/votes",
        ]


PLAIN: dict[str, tuple[Any, Any]] = {
    "true": (True, {"a": 1}),
    "types and limits": (
        {
            "$schema": DRAFT,
            "$id": "https://example.org/movie",
            "title": "a movie",
            "type": "object",
            "required": ["title"],
            "properties": {
                "title": {"type": "string", "minLength": 1},
                "year": {"type": ["integer", "null"], "minimum": 1870, "exclusiveMaximum": 2100.5},
                "genres": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
            },
            "additionalProperties": False,
        },
        {"title": "Ikiru", "year": 1952, "genres": ["Drama"]},
    ),
    "references": (
        {"items": {"$ref": "#/$defs/role"}, "$defs": {"role": {"properties": {"under": {"$ref": "#"}}}}},
        [{"name": "Watanabe", "under": []}],
    ),
    "patterns": ({"patternProperties": {"^x_[a-z]*$": {"pattern": r"^\d{4}-\d{2}(-\d\d)?$"}}}, {"x_at": "1952-10-09"}),
    "alternatives": ({"oneOf": [{"const": "a"}, {"enum": [1, None]}], "not": {"pattern": "^(b|c)$"}}, "a"),
    "what says nothing": ({"format": "email", "x-note": {"multipleOf": 2}, "default": 5}, 5),
}

PATTERNS = [
    "a",
    "^a$",
    "a|b$",
    "^[a-c]+$",
    "[^a]",
    "^(?:a|b){1,2}$",
    r"^\d+$",
    r"^\w$",
    "^.$",
    r"\.$",
    r"a\$",
    r"\S",
    "(?i)A",
    "a*?",
    "",
    "$",
]
TEXTS = [
    "",
    "a",
    "A",
    "b",
    "ab",
    "aa",
    "a\n",
    "\n",
    "\r",
    "\u2028",
    "1",
    "\u0663",
    "\u00e9",
    "\U0001f600",
    ".",
    "$",
    "a$",
    "a.\n",
    "c",
]
NUMBERS = [0, 1, 2, -1, 3, 0.0, -0.0, 1.0, 0.5, 1e300, 2**53, 2**53 + 1, 2.0**53, 2**60, 2.0**60, 2**63 - 1, -(2**63)]
VALUES = st.recursive(
    st.sampled_from([None, True, False, *NUMBERS, *TEXTS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=8,
)
COUNTS = st.sampled_from([0, 1, 2, 2.0])
NAMES = st.lists(st.sampled_from(TEXTS[:6]), unique=True, max_size=2)


def schemas_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of up to four keywords."""
    several = st.lists(inner, min_size=1, max_size=3)
    operands = {
        **dict.fromkeys(("not", "if", "then", "else", "items", "contains", "propertyNames"), inner),
        **dict.fromkeys(("additionalProperties", "unevaluatedItems", "unevaluatedProperties"), inner),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several),
        **dict.fromkeys(("properties", "dependentSchemas"), st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3)),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), COUNTS),
        **dict.fromkeys(("minProperties", "maxProperties"), COUNTS),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.sampled_from(NUMBERS)),
        "patternProperties": st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2),
        "type": st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"]),
        "required": NAMES,
        "dependentRequired": st.dictionaries(st.sampled_from(TEXTS[:6]), NAMES, max_size=2),
        "multipleOf": st.sampled_from([1, 2, 0.1]),
        "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(PATTERNS),
        "format": st.sampled_from(["email", "date"]),
        "const": VALUES,
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b"]),
    }
    pairs = st.one_of([st.tuples(st.just(keyword), operand) for keyword, operand in operands.items()])
    return st.lists(pairs, max_size=4).map(dict)


SCHEMAS = st.recursive(st.booleans(), schemas_of, max_leaves=6)


@pytest.mark.parametrize("road", [True], ids=["gate"], indirect=True)
class TestTheGate:
    @pytest.mark.parametrize(("source", "value"), PLAIN.values(), ids=PLAIN)
    def test_what_is_plainly_valid_never_comes_before_the_judge(self, source, value, monkeypatch):
        """jsonschema, a hundred times slower, is asked about what may be wrong, and about keywords that differ."""
        schema = Schema(source)
        monkeypatch.setattr(schema, "_validator", None)

        assert schema.admits(value)
        assert schema.failures(value) == []

    @pytest.mark.parametrize(
        ("source", "value"),
        [
            ({"maximum": 2.0**60}, 2**60 + 1),
            ({"exclusiveMaximum": -(2**63)}, -(2.0**63)),
            ({"not": {"const": 2.0**60}}, 2**60),
            ({"not": {"enum": [2.0**60]}}, 2**60),
            ({"uniqueItems": True}, [2**60, 2.0**60]),
            ({"uniqueItems": True, "prefixItems": [{}, {}], "items": {"type": "string"}}, [2**60, 2.0**60]),
            ({"not": {"pattern": r"^\d$"}}, "\u0663"),
            ({"oneOf": [{"pattern": r"^\w$"}, {"type": "string"}]}, "\u00e9"),
            ({"contains": {"pattern": r"^\d$"}, "maxContains": 0, "minContains": 0}, ["\u0663"]),
            ({"if": {"pattern": r"^\d$"}, "then": False}, "\u0663"),
            ({"patternProperties": {r"^\d$": False}}, {"\u0663": 1}),
            ({"not": {"pattern": "^a$"}}, "a\n"),
        ],
        ids=str,
    )
    def test_where_they_differ_the_judge_is_asked(self, source, value):
        """What jsonschema-rs alone would let through is refused."""
        assert len(failures(source, value)) == 1

    @given(SCHEMAS, SCHEMAS, SCHEMAS, st.lists(VALUES, min_size=1, max_size=6))
    @settings(max_examples=300, deadline=None)
    def test_nothing_passes_the_gate_that_the_judge_refuses(self, source, one, other, values):
        """Any schema and any value: the failures are those that jsonschema alone finds."""
        if type(source) is dict:
            source = {**source, "$defs": {"a": one, "b": other}}
        try:
            schema = Schema(source)
        except InvalidRequest:  # a reference in a circle
            return
        judge = Schema(source)
        judge._lets_through = schemas._closed

        for value in values:
            assert schema.failures(value) == judge.failures(value)
            assert schema.admits(value) == (not judge.failures(value))

    @pytest.mark.parametrize("pattern", PATTERNS)
    @pytest.mark.parametrize(
        "source", [{"pattern": 0}, {"not": {"pattern": 0}}, {"patternProperties": {"0": False}}], ids=str
    )
    def test_a_pattern_is_pythons(self, pattern, source):
        """Whatever another engine makes of it, in a schema, in one turned round, and as a name."""
        source = extjson.loads(extjson.dumps(source).replace('"0"', "0").replace("0", extjson.dumps(pattern)))
        judge = Schema(source)
        judge._lets_through = schemas._closed

        for text in [*TEXTS, *({text: 1} for text in TEXTS)]:
            assert Schema(source).failures(text) == judge.failures(text)

    def test_what_is_no_json_is_left_to_the_judge(self):
        """A value that only Python has does not break the gate."""
        assert failures({"type": "string"}, "\ud800") == []
        assert len(failures({"type": "string"}, object())) == 1


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to look up a name or to open a connection: refused, and kept."""
    attempts: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        attempts.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts
