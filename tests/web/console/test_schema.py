"""The schema page: what documents look like, and the schema that they shall satisfy."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from connectome.service import Service

BIRDS = [
    {"_id": number, "name": name, "mass": mass, "seen": datetime(2024, number, 1, tzinfo=UTC), "tags": tags, "ok": True}
    for number, name, mass, tags in [(1, "Wren", 9, []), (2, "Robin", 18, ["red"]), (3, "Rook", 460.5, ["black"])]
]
SCHEMA = {"type": "object", "properties": {"mass": {"type": "number", "maximum": 100}}}


@pytest.fixture(autouse=True)
def birds(service: Service) -> None:
    """The collection ``birds``."""
    service.create(id="birds", documents=BIRDS)


def text_of(response: Any) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def schema_in(page: Any) -> Any:
    """What stands in the editor."""
    (text,) = re.findall(r'<textarea id="schema"[^>]*>\n(.*?)</textarea>', page.text, re.DOTALL)
    return json.loads(html.unescape(text))


class TestCharts:
    def test_every_path_is_described(self, client):
        """Presence, types, and a chart with its numbers in a table."""
        page = client.get("/collections/birds/schema")

        said = text_of(page)
        assert "From all 3 documents" in said
        assert "mass 100 % present int 66.7 % double 33.3 %" in said
        assert "tags[] 100 % present string 2 different strings" in said
        assert "2024-01" in said
        assert page.text.count('class="chart"') == 7
        assert 'aria-label="mass: numbers"' in page.text

    def test_a_bar_leads_to_its_documents(self, client):
        """A range of numbers, a value, a part of a calendar."""
        page = client.get("/collections/birds/schema")
        found = [html.unescape(each) for each in re.findall(r'href="(/collections/birds\?filter=[^"]*)"', page.text)]

        assert len(found) >= 12
        for link in found:
            assert re.search(r"[1-3] documents? of 3|^3 documents", text_of(client.get(link))), link

    def test_a_large_collection_is_sampled(self, client, service):
        """The same seed gives the same page, another one another sample."""
        service.create(id="many", documents=[{"_id": number, "n": number % 977} for number in range(2000)])

        page = text_of(client.get("/collections/many/schema?sample=100&seed=1"))

        assert "From a sample of 100 documents · another sample" in page
        assert page == text_of(client.get("/collections/many/schema?sample=100&seed=1"))
        assert page != text_of(client.get("/collections/many/schema?sample=100&seed=2"))

    def test_an_empty_collection_says_so(self, client, service):
        """There is nothing to chart."""
        service.create(id="empty")

        assert "No document yet" in text_of(client.get("/collections/empty/schema"))


class TestSchema:
    def post(self, client: Any, step: str, schema: Any = "") -> Any:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return client.post("/collections/birds/schema", data={"schema": text, "step": step})

    def test_a_proposal_is_satisfied_and_can_be_enforced(self, client, service):
        """From the page to the collection, and lifted again."""
        proposed = schema_in(client.get("/collections/birds/schema?propose=1"))

        assert proposed["properties"]["seen"] == {"$ref": "#/$defs/date"}
        assert "All 3 documents satisfy this schema." in text_of(self.post(client, "check", proposed))
        assert service.describe("birds")["schema"] is None

        enforced = self.post(client, "enforce", proposed)

        assert enforced.status_code == 303
        assert service.describe("birds")["schema"] == proposed
        assert "enforced" in text_of(client.get("/collections/birds/schema"))

        self.post(client, "lift")

        assert service.describe("birds")["schema"] is None

    @pytest.mark.parametrize(("step", "status"), [("check", 200), ("enforce", 422)])
    def test_documents_that_fail_are_listed_with_links(self, client, service, step, status):
        """A check only says so; an enforcement is refused."""
        page = self.post(client, step, SCHEMA)

        assert page.status_code == status
        assert "1 of 3 documents does not satisfy this schema" in text_of(page)
        assert "3 /mass expected a number of at most 100, not 460.5" in text_of(page)
        assert 'href="/collections/birds/document?_id=3"' in page.text
        assert schema_in(page) == SCHEMA
        assert service.describe("birds")["schema"] is None

    @pytest.mark.parametrize(
        ("schema", "says", "marked"),
        [
            ("", "expected a JSON Schema, and nothing came", None),
            ("{", "malformed JSON in line 1, column 2", None),
            ('{"type": "objekt"}', "not a JSON Schema", '"'),
            ('{"$ref": "https://elsewhere.example/"}', "nothing is fetched from elsewhere", None),
        ],
    )
    def test_what_is_no_schema_is_refused(self, client, schema, says, marked):
        """At its place, and what was typed stays."""
        page = self.post(client, "check", schema)

        assert page.status_code == 400
        assert says in text_of(page)
        assert html.escape(schema, quote=False).replace('"', "&#34;") in page.text
        if marked:
            assert "<mark>" in page.text
