"""A request as client code: how values are spelled, and the traps of each language."""

from __future__ import annotations

import ast
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectome.errors import InvalidJSON
from connectome.web import snippets
from connectome.web.snippets import LANGUAGES, Request, render, to_operation, typed, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(SCALARS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
BODIES = st.dictionaries(TEXT, VALUES) | st.lists(st.dictionaries(TEXT, VALUES))
URL = "http://127.0.0.1:8000/collection/write/cw_1/movies"


def code(language, body=None, method="POST", token=""):
    return render(language, Request(method, URL, body, token))


class TestLiterals:
    @settings(deadline=None, max_examples=40)
    @given(BODIES)
    def test_json_says_the_body(self, body):
        """JSON text reads back as the body, in its order, with its kinds of numbers."""
        assert json.dumps(json.loads(write(body, snippets.JSON))) == json.dumps(body)

    @settings(deadline=None, max_examples=40)
    @given(BODIES)
    def test_a_python_literal_says_the_body(self, body):
        """A literal of Python is the body."""
        source = ast.parse(code("python-urllib", body))
        literal = next(node.value for node in source.body if isinstance(node, ast.Assign))

        assert json.dumps(ast.literal_eval(literal)) == json.dumps(body)

    @settings(deadline=None)
    @given(TEXT, st.sampled_from(list(LANGUAGES)))
    def test_nothing_is_sent_that_is_not_seen(self, text, language):
        """Control characters, separators, marks of direction and unusual spaces stand as escapes, in every language."""
        assert re.sub(r"[\n\t]", "", code(language, {text: text})).isprintable()

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_no_line_is_longer_than_it_must_be(self, language):
        """A body that is long is broken at its entries."""
        body = {"query": {"genres": {"$in": ["Drama", "Comedy", "Mystery"]}, "year": {"$gte": 1990, "$lt": 2000}}}

        longest = max(len(line) for line in code(language, body).splitlines() if URL not in line)

        assert longest <= 120

    def test_a_small_body_stands_on_one_line(self):
        """What fits is not broken."""
        assert 'json={"query": {"year": 1951}},\n' in code("python-requests", {"query": {"year": 1951}})

    def test_a_larger_body_has_a_line_for_each_entry(self):
        """Nested values stay on the line of their key where they fit."""
        body = {"query": {"year": {"$gte": 2010}, "genres": "Drama"}, "sort": {"year": -1}, "limit": 1234}

        assert write(body, snippets.JSON) == (
            '{\n  "query": {"year": {"$gte": 2010}, "genres": "Drama"},\n  "sort": {"year": -1},\n  "limit": 1234\n}'
        )


class TestTraps:
    """What goes wrong in code that was written without care."""

    @pytest.mark.parametrize(
        ("language", "body", "expected"),
        [
            ("python-requests", {"a": [True, False, None]}, '{"a": [True, False, None]}'),
            ("ruby", {"a": "#{x} #y"}, r'{ "a" => "\#{x} #y" }'),
            ("ruby", {"a": None}, '{ "a" => nil }'),
            ("php", {}, "(object) []"),
            ("php", {"a": {}}, "['a' => (object) []]"),
            ("php", [{"0": 1}], "[(object) ['0' => 1]]"),
            ("php", {"a": -(2**63)}, "['a' => PHP_INT_MIN]"),
            ("php", {"$a": "$b\n"}, r"""['$a' => "\$b\n"]"""),
            ("php", {"a": 1.0}, """'{"a": 1.0}'"""),
            ("kotlin", {"$gte": "a$"}, """{"${'$'}gte": "a$"}"""),
            ("go", {"a": "`"}, r'`{"a": "\u0060"}`'),
            ("java", {"a": '"\\'}, r'{"a": "\\"\\\\"}'),
            ("csharp", {"a": '"'}, r'@"{""a"": ""\""""}"'),
            ("r", {"a": ')"'}, r'r"({"a": ")\""})"'),
            ("r", [')"', ")"], r'r"-([")\"", ")"])-"'),
            ("rust", {"a": '"#'}, r'r##"{"a": "\"#"}"##'),
            ("dart", {"$a": "it's"}, r"{'\$a': 'it\'s'}"),
            ("javascript", {"__proto__": 1, "a-b": 2, "$c": 3}, '{ ["__proto__"]: 1, "a-b": 2, $c: 3 }'),
            ("javascript", {"a": "</script><!--"}, r'"<\/script>\u003c!--"'),
            ("javascript", {"a": 2**53 + 1}, """body: '{"a": 9007199254740993}'"""),
            ("javascript", {"b": 1, "1": 2}, """body: '{"b": 1, "1": 2}'"""),
            ("axios", {"__proto__": 1}, """data: '{"__proto__": 1}'"""),
            ("curl", {"a": "it's"}, """--data-binary @- <<'JSON'\n{"a": "it's"}\nJSON\n"""),
            ("wget", {"a": "it's"}, """--body-data='{"a": "it'\\''s"}'"""),
            ("powershell", {"$a": "it's"}, """@'\n{"$a": "it's"}\n'@\n"""),
            ("swift", {"a": "\\#("}, '##"""\n{"a": "\\\\#("}\n"""##'),
        ],
    )
    def test_a_body_is_written_for_its_language(self, language, body, expected):
        """What the language would read otherwise is escaped, wrapped or sent as text."""
        assert expected in code(language, body)

    def test_httpx_deletes_with_a_body_by_request(self):
        """httpx.delete takes no json."""
        assert 'httpx.request(\n    "DELETE"' in code("python-httpx", {}, "DELETE")

    def test_pandas_does_not_guess_at_an_id(self):
        """A frame is made from the decoded answer: pandas' own reader makes a number of an _id of digits."""
        made = render("python-pandas", Request("GET", URL, documents=True))

        assert "pd.DataFrame(response.json())" in made
        assert "read_json(" not in made

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_a_batch_is_the_array_itself(self, language):
        """Nothing is wrapped around the documents."""
        assert re.search(r"""[\[]\s*[{\[]\s*\W*a\W{1,8}\s*1\s*[}\]]\s*[\]]""", code(language, [{"a": 1}]))


class TestRequests:
    def test_a_credential_stands_in_the_url_or_in_a_header(self):
        """In the header's case the path holds a hyphen in its place."""
        given = ("http://h:1", "movies", "POST", "write", "cw_1")

        assert to_operation(*given, auth="url", body={}) == Request(
            "POST", "http://h:1/collection/write/cw_1/movies", {}
        )
        in_header = to_operation(*given, auth="header", body={})
        assert in_header == Request("POST", "http://h:1/collection/write/-/movies", {}, "cw_1")
        assert in_header.headers == {"Authorization": "Bearer cw_1", "Content-Type": "application/json"}

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_each_part_of_a_request_is_in_the_code(self, language):
        """The URL, the credential once, and a kind of body."""
        made = code(language, {"a": 1}, token="cw_secret")

        assert URL in made
        assert made.count("cw_secret") == 1
        assert made.endswith("\n")
        assert not re.search(r"[ \t]$", made, re.MULTILINE)

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_without_a_body_nothing_speaks_of_one(self, language):
        """A request without a body and without a header is short."""
        made = code(language, method="GET")

        assert "Content-Type" not in made
        assert "Authorization" not in made

    def test_powershell_neither_cuts_nor_encodes_otherwise(self):
        """Without a depth it prints two levels; without a charset an older one sends Latin-1."""
        made = code("powershell", {"a": 1})

        assert "-Depth 100" in made
        assert "-ContentType 'application/json; charset=utf-8'" in made


class TestTyped:
    def test_json_stays_as_it_was_typed(self):
        """A date is not written in another form, nor a key moved."""
        assert typed('{"b": {"$date": "2026-05-01"}, "a": 1.0}') == {"b": {"$date": "2026-05-01"}, "a": 1.0}

    def test_the_shells_syntax_becomes_extended_json(self):
        """Keys without quotes, ISODate and regular expressions."""
        assert typed("{a: ISODate('2026-05-01'), b: /x/i}") == {
            "a": {"$date": "2026-05-01T00:00:00Z"},
            "b": {"$regularExpression": {"pattern": "x", "options": "i"}},
        }

    @pytest.mark.parametrize(
        "text", ["", "{", '{"a": 9223372036854775808}', '{"a": {"$date": "yesterday"}}', '{"a":1,"a":2}']
    )
    def test_what_the_api_does_not_take_is_refused(self, text):
        """With the place in the text."""
        with pytest.raises(InvalidJSON) as refused:
            typed(text)

        assert refused.value.place
