"""Integration → API as Flask serves it: what the page says, what it shows of errors, and the code behind the script."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import urlencode

import pytest

from connectome import extjson
from connectome.web import examples
from connectome.web.api import OPERATIONS
from connectome.web.clients import FORMATS
from connectome.web.guides import GUIDES
from connectome.web.snippets import LANGUAGES

API = "/collections/movies/integration/api"


def text(page):
    """The text of a page, without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.text))


def address(**chosen):
    return f"{API}?{urlencode(chosen)}"


def snippet(client, **chosen):
    answer = client.post(f"{API}/snippet", json=chosen, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    return answer.json


def written(answer):
    return "".join(piece for _, piece in answer["code"])


class TestPath:
    def test_integration_leads_to_the_api(self, client):
        """On the collection there is Integration; on Integration there is API."""
        assert 'href="/collections/movies/integration"' in client.get("/collections/movies").text
        assert f'<a href="{API}">API</a>' in client.get("/collections/movies/integration").text

    @pytest.mark.parametrize("path", ["", "/api"])
    def test_a_collection_that_is_not_there_is_404(self, client, path):
        """As on every page."""
        assert client.get(f"/collections/nothing/integration{path}").status_code == 404


class TestOperations:
    def test_all_are_there_in_their_order(self, client):
        """Read with query, read, write, batch write, update with upsert, delete by query."""
        page = client.get(API).text

        found = re.findall(r"\?operation=(\w+)&", page)
        assert found == ["readwithquery", "read", "write", "batchwrite", "updatewithupsert", "batchdelete"]
        assert set(found) == set(OPERATIONS)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_the_parameters_are_those_of_the_operation(self, operation):
        """Each key of the body that the API takes is described, and no other."""
        body = OPERATIONS[operation].body
        taken = body.source.get("properties", {}) if body else {}

        assert [each.name for each in GUIDES[operation].parameters if each.place == "body"] == list(taken)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_the_example_works(self, client, service, operation):
        """What is shown as the answer is one: the example finds, adds, changes or deletes something."""
        page = client.get(address(operation=operation))

        assert page.status_code == 200
        assert re.search(r"\b20[01] (OK|Created)", text(page))
        assert service.describe("movies")["count"] == 271

    @pytest.mark.parametrize(
        ("operation", "shown"),
        [
            ("readwithquery", ["unknown operator: $gtt; did you mean $gt?", "unknown key 'qury'", "InvalidJSON"]),
            ("read", ["the credential is not valid for this collection", "GET", "MethodNotAllowed"]),
            ("write", ["DuplicateKey", "within 64 bits", "this operation needs the write credential"]),
            ("batchwrite", ['"pointer": "/1/_id"', "expected array"]),
            ("updatewithupsert", ["NoMatch", "TooManyAffected", "$st", "'search query' is a required property"]),
            ("batchdelete", ["a JSON body was expected, and none came", "TooManyAffected"]),
        ],
    )
    def test_errors_are_shown_with_what_the_api_answers(self, client, operation, shown):
        """Their bodies are those of the API, whatever it says today."""
        page = text(client.get(address(operation=operation)))

        for each in shown:
            assert each in page
        assert '"type": "urn:connectome:Unauthorized"' in page

    def test_a_schema_is_shown_refusing(self, client, service):
        """Where a collection has a schema, a document that does not satisfy it is among the errors."""
        service.create(id="birds", documents=[{"name": "Wren"}], schema={"required": ["name"]})

        page = text(client.get("/collections/birds/integration/api?operation=write"))

        assert "DocumentValidationFailure" in page
        assert "'name' is a required property" in page

    def test_nothing_is_done_to_the_collection(self, client, service):
        """The errors and answers of a page were made with a copy."""
        before = extjson.dumps(service.first_documents("movies", 300))

        for operation in OPERATIONS:
            client.get(address(operation=operation))

        assert extjson.dumps(service.first_documents("movies", 300)) == before

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_an_empty_collection_has_a_page_too(self, client, service, operation):
        """With an invented example."""
        service.create(id="empty")

        assert client.get(f"/collections/empty/integration/api?operation={operation}").status_code == 200


class TestCode:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_the_credential_is_masked_until_it_is_shown(self, client, service, language):
        """The code has the mask in its place, in one piece; with ``show`` it has the credential."""
        credential = service.describe("movies")["credentials"]["read"]

        code = re.search(r'<code id="code">(.*?)</code>', client.get(address(language=language)).text, re.DOTALL)[1]
        shown = re.search(
            r'<code id="code">(.*?)</code>', client.get(address(language=language, show=1)).text, re.DOTALL
        )[1]

        assert (code.count("cr_••••••••••••"), code.count(credential)) == (1, 0)
        assert shown.count(credential) == 1

    def test_the_page_without_a_script_takes_language_auth_and_body_from_its_address(self, client):
        """What the form sends is what is shown."""
        page = text(client.get(address(language="ruby", auth="header", body='{"query": {"year": 1951}}')))

        assert '{ "query" => { "year" => 1951 } }' in page
        assert 'request["Authorization"] = "Bearer cr_' in page
        assert "/collection/readwithquery/-/movies" in page

    def test_a_choice_that_is_none_is_the_first(self, client):
        """An old or mistyped address still leads to the page."""
        page = text(client.get(address(operation="nope", language="nope", auth="nope")))

        assert "curl -sS" in page

    def test_hostile_values_are_text(self, client, service):
        """A document full of markup makes an example full of text."""
        service.create(id="hostile", documents=[{"</script><img src=x>": "</code><script>alert(1)</script>", "n": 1}])

        for operation in OPERATIONS:
            page = client.get(f"/collections/hostile/integration/api?operation={operation}").text
            assert "<img" not in page
            assert "<script>alert" not in page


class TestSnippet:
    def test_an_edited_body_is_written_anew(self, client):
        """In the shell's syntax too; what is to be sent comes with it."""
        answer = snippet(client, operation="readwithquery", language="python-requests", body="{query: {year: /^19/}}")

        assert '"$regularExpression"' in written(answer)
        assert json.loads(answer["sent"]) == {
            "query": {"year": {"$regularExpression": {"pattern": "^19", "options": ""}}}
        }
        assert answer["fault"] is None

    @pytest.mark.parametrize(
        ("operation", "body", "detail", "pointer"),
        [
            ("readwithquery", '{"query": ', "line 1, column 11", None),
            ("readwithquery", "", "expected", None),
            ("readwithquery", '{"query": {"year": {"$gtt": 1}}}', "unknown operator: $gtt", "/query/year/$gtt"),
            ("readwithquery", '{"qury": {}}', "unknown key 'qury'; did you mean 'query'?", "/qury"),
            ("write", "[]", "expected object", None),
            ("updatewithupsert", '{"search query": {}, "data": {"$inc": {"title": 1}}}', "$inc", "/data/$inc/title"),
        ],
    )
    def test_what_is_wrong_is_said_as_the_api_says_it(self, client, operation, body, detail, pointer):
        """With the place; the code stays what it was."""
        answer = snippet(client, operation=operation, body=body)

        assert detail in answer["fault"]["detail"]
        assert answer["fault"]["pointer"] == pointer
        assert answer["code"] is None

    def test_what_depends_on_documents_is_no_fault(self, client, service):
        """A taken _id is one when the request is made, not while it is typed."""
        taken = service.first_documents("movies", 1)[0]["_id"]

        assert snippet(client, operation="write", body=json.dumps({"_id": taken}))["fault"] is None

    def test_a_number_of_64_bits_is_sent_as_it_was_typed(self, client):
        """JSON goes through as it is."""
        answer = snippet(client, operation="write", language="node", body='{"n": 9007199254740993, "x": 1.0}')

        assert answer["sent"] == '{"n": 9007199254740993, "x": 1.0}'
        assert answer["sent"] in written(answer)

    @pytest.mark.parametrize("body", [[], "x", 7, None])
    def test_a_request_of_another_shape_is_the_first_choice(self, client, body):
        """No body of a script makes the server fail."""
        answer = client.post(f"{API}/snippet", json=body, headers={"Accept": "application/json"})

        assert answer.status_code == 200

    def test_no_credential_is_in_the_answer(self, client, service):
        """The page knows it; its mask stands in the code."""
        credentials = service.describe("movies")["credentials"]

        for operation in OPERATIONS:
            answer = written(snippet(client, operation=operation))
            assert not any(each in answer for each in credentials.values())


class TestFiles:
    @pytest.mark.parametrize(
        ("format", "name"), [("http", "movies.http"), ("postman", "movies.postman_collection.json")]
    )
    def test_a_file_of_requests_is_downloaded(self, client, service, format, name):
        """Under a name of its own, with the credentials and the address that the console was reached at."""
        answer = client.get(f"/collections/movies/integration/requests.{format}")

        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        for each in (*service.describe("movies")["credentials"].values(), "http://localhost"):
            assert each in answer.text

    def test_the_page_leads_to_what_it_offers(self, client):
        """Files, reference and document: each link finds something."""
        page = client.get("/collections/movies/integration").text

        for path in (
            "/-/docs",
            "/-/openapi.json",
            *(f"/collections/movies/integration/requests.{each}" for each in FORMATS),
        ):
            assert f'href="{path}"' in page
            assert client.get(path).status_code == 200

    def test_another_format_is_404(self, client):
        """There is none."""
        assert client.get("/collections/movies/integration/requests.zip").status_code == 404


class TestExamples:
    def test_values_are_those_of_the_collection(self, service):
        """A filter by a category and a number that documents have, the best first."""
        documents = service.first_documents("movies", examples.SAMPLE)

        body = examples.body("readwithquery", documents)

        genre, year = body["query"]["genres"], body["query"]["year"]["$gte"]
        assert any(genre in each["genres"] and each["year"] == year for each in documents)
        assert body["project"] == {"title": 1, "year": 1}
        assert body["sort"] == {"year": -1}

    def test_what_is_written_satisfies_the_schema(self):
        """The short document where it does, the whole one where that is needed."""
        document = {"_id": 1, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7}

        assert list(examples.body("write", [document])) == ["a", "b", "c", "d", "e", "f"]
        assert list(examples.body("write", [document], {"required": ["g"]})) == [*"abcdefg"]

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"_id": {"a": 1}, "a.b": 1, "$c": 2, "": 3},
            {"_id": 1, "x": float("nan"), "y": None, "z": True},
            {"_id": 1, "a": "", "b": "x" * 1000, "c": [[]], "d": {"e": 1}},
        ],
    )
    def test_any_document_makes_one(self, service, operation, document):
        """Odd names, empty values, numbers that are none."""
        service.create(id="odd", documents=[document])

        body = examples.body(operation, service.first_documents("odd", examples.SAMPLE))

        assert body is None or extjson.loads(json.dumps(body)) is not None
