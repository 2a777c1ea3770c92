"""The pages about documents, without a script: what they show, what they refuse, what they change."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Int64, ObjectId, Regex

from connectome import extjson, relaxed
from connectome.query import Filter, Update
from connectome.service import Service
from connectome.stores import Find, Modify
from connectome.web.console import queries, values
from connectome.web.console.deleted import MAX_KEPT, Bin
from tests.strategies import canonical

BIRDS = [
    {"_id": 1, "name": "Wren", "mass": 9, "seen": datetime(2024, 5, 1, tzinfo=UTC)},
    {"_id": 2, "name": "Robin", "mass": 18},
    {"_id": 3, "name": "Rook", "mass": 460, "tags": ["black", "loud"]},
]
SCHEMA = {"type": "object", "properties": {"mass": {"type": "integer"}}, "required": ["name"]}


@pytest.fixture
def birds(service: Service) -> Any:
    """The collection ``birds``."""
    service.create(id="birds", documents=BIRDS)
    return service.collection("birds")


def everything(collection: Any) -> list[Any]:
    return list(collection.find(Find()))


def text_of(response: Any) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def field(response: Any, name: str) -> str:
    """What stands in a field of a page's form."""
    found = re.search(rf'<textarea[^>]* name="{name}"[^>]*>\n(.*?)</textarea>', response.text, re.DOTALL) or re.search(
        rf'name="{name}"[^>]*? value="([^"]*)"', response.text
    )
    assert found, f"there is no field {name}"
    return html.unescape(found[1])


def links(response: Any) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'href="([^"]*)"', response.text)]


class TestQueryBar:
    def test_a_query_finds_and_is_shown_back_as_it_was_understood(self, client, birds):
        """The relaxed syntax comes back normalised, with the count."""
        page = client.get(
            "/collections/birds", query_string={"filter": "{'mass':{$gt:10,},}", "sort": "{ mass : -1 }", "limit": "05"}
        )

        assert page.status_code == 200
        assert field(page, "filter") == "{mass: {$gt: 10}}"
        assert field(page, "sort") == "{mass: -1}"
        assert field(page, "limit") == "5"
        assert "2 documents of 3" in text_of(page)
        assert page.text.index("Rook") < page.text.index("Robin")
        assert "Wren" not in page.text

    @pytest.mark.parametrize(
        ("query", "detail", "marked", "pointer"),
        [
            ({"filter": "{mass: {$gtt: 5}}"}, "unknown operator: $gtt; did you mean $gt?", "$gtt", "/query/mass/$gtt"),
            ({"filter": "{mass: Wren}"}, "line 1, column 8: expected a value, not Wren", "Wren", None),
            ({"filter": "[]"}, "the filter is an object such as {year: {$gte: 2000}}, not []", None, None),
            ({"sort": "{mass: 2}"}, "", "mass", "/sort/mass"),
            ({"project": "{mass: 1, name: 0}"}, "", "name", "/project/name"),
            ({"limit": "-1"}, 'expected a whole number that is not negative, not "-1"', None, None),
        ],
    )
    def test_an_error_stands_at_its_place(self, client, birds, query, detail, marked, pointer):
        """With the API's own sentence and pointer, and what was typed left as it is."""
        page = client.get("/collections/birds", query_string=query)

        assert page.status_code == 400
        assert detail in text_of(page)
        if marked:
            assert f"<mark>{marked}</mark>" in page.text
        if pointer:
            assert f"At <code>{pointer}</code>" in page.text
        ((name, typed),) = query.items()
        assert field(page, name) == typed

    @pytest.mark.parametrize(
        ("query", "field_"),
        [
            ({"filter": "{$expr: {$divide: ['$mass', 0]}}"}, "filter"),
            ({"project": "{x: {$divide: ['$mass', 0]}}"}, "project"),
        ],
    )
    def test_an_error_of_a_document_is_that_of_the_field_that_met_it(self, client, birds, query, field_):
        """What can be seen with a document alone is refused with the page, too."""
        page = client.get("/collections/birds", query_string=query)

        assert page.status_code == 400
        assert f'id="error-{field_}"' in page.text

    def test_the_answer_comes_in_pages(self, client, service):
        """The address says which; skip and limit are the query's own."""
        service.create(id="many", documents=[{"_id": number} for number in range(100)])

        page = client.get("/collections/many?skip=10&limit=60&page=2")
        behind = client.get("/collections/many?limit=60&page=99")

        assert "60 documents" in text_of(page)
        assert "26–50 of 60" in text_of(page)
        assert re.findall(r"<bdi>(\d+)</bdi>", page.text) == [str(number) for number in range(35, 60)]
        assert "51–60 of 60" in text_of(behind)
        assert re.findall(r"<bdi>(\d+)</bdi>", behind.text) == [str(number) for number in range(50, 60)]

    def test_a_column_sorts_up_then_down_then_not(self, client, birds):
        """Its header is a link to each."""
        up = client.get("/collections/birds?sort={mass: 1}")
        down = client.get("/collections/birds?sort={mass: -1}")

        assert 'aria-sort="ascending"' in up.text
        assert "/collections/birds?sort=%7Bmass%3A+-1%7D" in links(up)
        assert 'aria-sort="descending"' in down.text
        assert "/collections/birds" in links(down)

    def test_a_cell_filters_by_its_value(self, client, birds):
        """On top of the filter that is there."""
        page = client.get("/collections/birds?filter={mass: {$gt: 5}}")

        filtered = [link for link in links(page) if "filter=" in link and "Wren" in link]
        assert len(filtered) == 1
        assert "1 document of 3" in text_of(client.get(filtered[0]))

    def test_the_columns_of_a_wide_document_are_chosen(self, client, service):
        """The first twenty are shown; an address names others."""
        service.create(id="wide", documents=[{"_id": 1, **{f"c{number}": number for number in range(500)}}])

        page = client.get("/collections/wide")
        chosen = client.get("/collections/wide?column=c499&column=c7")

        assert "20 of 501 columns" in text_of(page)
        assert page.text.count("<th ") == 21
        assert re.findall(r'<th scope="col"[^>]*><a [^>]*><bdi>(\w+)', chosen.text) == ["c7", "c499"]

    def test_a_projection_keeps_the_way_to_the_document(self, client, birds):
        """Though the _id is not shown, the row leads to it."""
        page = client.get("/collections/birds?project={_id: 0, name: 1, heavy: {$gt: ['$mass', 100]}}")

        assert "/collections/birds/document?_id=1" in " ".join(links(page))
        assert "460" not in page.text

    def test_use_in_code_carries_the_query(self, client, birds):
        """As the body of readwithquery, in Extended JSON."""
        page = client.get("/collections/birds?filter={_id: ObjectId('57e193d7a9cc81b4027498b5')}&limit=2")

        assert (
            "/collections/birds/integration/api?operation=readwithquery&body="
            "%7B%22query%22%3A%7B%22_id%22%3A%7B%22%24oid%22%3A%2257e193d7a9cc81b4027498b5%22%7D%7D%2C%22limit%22%3A2%7D"
        ) in links(page)

    def test_fields_and_operators_are_offered(self, client, birds):
        """Paths through arrays and documents, with their types; operators with what they do."""
        offered = client.get("/collections/birds/fields", headers={"Accept": "application/json"}).get_json()

        assert {"name": "tags", "says": "array, string"} in offered["fields"]
        assert {"name": "$size", "says": "Match arrays of exactly this length."} in offered["filter"]
        assert "$push" in [each["name"] for each in offered["update"]]
        assert all(each["says"] for each in offered["filter"] + offered["update"])


class TestNothingFound:
    def test_the_condition_that_excludes_everything_is_named(self, client, birds):
        """Alone, with what would match without it."""
        page = text_of(client.get("/collections/birds?filter={mass: {$gt: 5, $lt: 6}, name: 'Wren'}"))

        assert "This condition excludes every document by itself: {mass: {$lt: 6}}" in page
        assert "Without it 1 document matches" in page

    def test_conditions_that_exclude_each_other_are_named(self, client, birds):
        """Each finds something, together they find nothing."""
        page = text_of(client.get("/collections/birds?filter={name: 'Wren', mass: 18}"))

        assert "none meets all of them" in page
        assert page.count("By itself it finds 1.") == 2

    def test_a_field_that_no_document_has_is_named(self, client, birds):
        """With the nearest one that they have."""
        page = text_of(client.get("/collections/birds?filter={nmae: 'Wren'}"))

        assert "No document has a field nmae: did you mean name?" in page

    def test_an_empty_collection_shows_the_way_in(self, client, service):
        """Nothing was asked that could exclude anything."""
        service.create(id="empty")

        assert "No document yet" in text_of(client.get("/collections/empty"))


HOSTILE: list[dict[str, Any]] = [
    {"_id": "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>": "<b>bold</b>"},
    {"_id": 2, "__proto__": {"polluted": True}, "constructor": 1, "": "empty name", "a.b": 1, "$where": "x"},
    {"_id": 3, "name": "\u202egnp.exe\u2066 \u0000\u2028", "quote": "\"'`&<>{{ 7 * 7 }}"},
    {"_id": 4, "long": "x" * 1_000_000},
    {"_id": {"x": [1, {"y": Regex("</textarea>", "i")}]}, "deep": {"a": [[[{"b": "</textarea><i>"}]]]}},
    {"_id": ObjectId("57e193d7a9cc81b4027498b5"), "n": float("nan"), "l": Int64(5)},
]


class TestHostileDocuments:
    @pytest.fixture
    def hostile(self, service: Service) -> Any:
        """A collection of documents that mean harm; the names that no request can bring come by an update."""
        service.create(id="hostile", documents=[{"_id": each["_id"]} for each in HOSTILE])
        collection = service.collection("hostile")
        for each in HOSTILE:
            collection.update(
                Modify(Filter({"_id": {"$eq": each["_id"]}}), Update([{"$replaceWith": {"$literal": each}}]))
            )
        return collection

    @pytest.mark.parametrize("view", ["table", "json"])
    def test_nothing_of_a_document_becomes_markup(self, client, hostile, view):
        """Neither of its values nor of its names; and long strings are cut."""
        page = client.get(f"/collections/hostile?view={view}")

        assert page.status_code == 200
        assert len(page.data) < 100_000
        for markup in ("<script>alert", "<img src=x", "<b>bold", "</textarea><i>"):
            assert markup not in page.text
        assert "{{ 7 * 7 }}" in html.unescape(page.text)
        assert "\u202e" not in re.sub(r"<bdi[^>]*>.*?</bdi>|title=\"[^\"]*\"", "", page.text, flags=re.DOTALL)

    def test_every_document_opens_and_saves_unchanged(self, client, hostile):
        """Whatever its _id is, the address names it, and its text reads back as the same document."""
        listed = client.get("/collections/hostile?view=json")
        opened = [link for link in dict.fromkeys(links(listed)) if "/document?" in link]

        assert len(opened) == len(HOSTILE)
        for link, document in zip(opened, HOSTILE, strict=True):
            page = client.get(link)
            assert page.status_code == 200
            assert canonical(relaxed.loads(field(page, "text"))) == canonical(document)
            assert "<script>alert" not in page.text

    def test_a_schema_page_shows_them_harmlessly(self, client, hostile):
        """Names and values are charted as text."""
        page = client.get("/collections/hostile/schema?propose=1")

        assert page.status_code == 200
        assert len(page.data) < 200_000
        for markup in ("<script>alert", "<img src=x", "<b>bold"):
            assert markup not in page.text


def edit(client: Any, page: Any, text: str, step: str = "review") -> Any:
    return client.post(
        "/collections/birds/document",
        data={
            "_id": field(page, "_id"),
            "original": field(page, "original"),
            "text": text.replace("\n", "\r\n"),
            "back": "?filter=%7B%7D",
            "step": step,
        },
    )


class TestEditing:
    def test_changes_are_shown_before_they_are_kept(self, client, birds):
        """The review changes nothing; saving leads back to where the person came from."""
        page = client.get("/collections/birds/document?_id=1")
        text = field(page, "text").replace("mass: 9", "mass: 10")

        review = edit(client, page, text)

        assert "removed: mass: 9," in text_of(review)
        assert "added: mass: 10," in text_of(review)
        assert everything(birds)[0] == BIRDS[0]

        saved = edit(client, review, field(review, "text"), "save")

        assert (saved.status_code, saved.location) == (303, "/collections/birds?filter=%7B%7D")
        assert everything(birds)[0] == {**BIRDS[0], "mass": 10}
        assert "Saved the document 1" in text_of(client.get(saved.location))

    def test_an_edit_replaces_the_document(self, client, birds):
        """A field that is gone from the text is gone; types and the order of fields are what the text says."""
        page = client.get("/collections/birds/document?_id=1")

        edit(client, page, '{_id: 1, big: NumberLong("7"), name: "Wren"}', "save")

        assert canonical(everything(birds)[0]) == canonical({"_id": 1, "big": Int64(7), "name": "Wren"})

    def test_nothing_to_save_is_said(self, client, birds):
        """The text means the same document."""
        page = client.get("/collections/birds/document?_id=2")

        assert "Nothing has changed yet" in text_of(edit(client, page, "{_id:2,name:'Robin',mass:18}"))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{_id: 2, name: }", "line 1, column 16: expected a value"),
            ("[]", "a document is an object, not []"),
            ("{_id: 9, name: 'Robin'}", "_id cannot be changed: it is 2, and would become 9"),
        ],
    )
    def test_what_cannot_be_kept_is_refused_at_its_place(self, client, birds, text, says):
        """And what was typed stays."""
        page = client.get("/collections/birds/document?_id=2")

        refused = edit(client, page, text, "save")

        assert refused.status_code == 400
        assert says in text_of(refused)
        assert relaxed.loads(field(refused, "original")) == BIRDS[1]
        assert everything(birds) == BIRDS

    def test_an_error_of_the_schema_stands_beside_its_line(self, client, service, birds):
        """Each under the line that it is about."""
        service.change("birds", {"schema": SCHEMA})
        page = client.get("/collections/birds/document?_id=2")

        refused = edit(client, page, "{_id: 2, mass: 'much', name: 'Robin'}")

        assert refused.status_code == 422
        assert 'added: mass: "much", ↑ expected integer, not "much"' in text_of(refused)

    def test_a_change_that_came_between_is_a_conflict(self, client, birds):
        """Nothing is overwritten unseen: what was changed is shown, and a second save knows of it."""
        page = client.get("/collections/birds/document?_id=2")
        birds.update(Modify(Filter({"_id": 2}), Update({"mass": 20})))

        conflict = edit(client, page, "{_id: 2, name: 'Robin redbreast', mass: 18}", "save")

        assert conflict.status_code == 409
        assert "Somebody else changed this document meanwhile" in text_of(conflict)
        assert "added: mass: 20" in text_of(conflict)
        assert everything(birds)[1] == {"_id": 2, "name": "Robin", "mass": 20}
        assert relaxed.loads(field(conflict, "text"))["name"] == "Robin redbreast"

        edit(client, conflict, field(conflict, "text"), "save")

        assert everything(birds)[1] == {"_id": 2, "name": "Robin redbreast", "mass": 18}

    def test_a_type_that_changed_is_a_change(self, client, birds):
        """Though 9 and 9.0 are equal, nobody's 9.0 is overwritten unseen."""
        page = client.get("/collections/birds/document?_id=1")
        birds.update(Modify(Filter({"_id": 1}), Update([{"$set": {"mass": 9.0}}])))

        assert edit(client, page, "{_id: 1, name: 'Wren', mass: 9}", "save").status_code == 409

    def test_a_document_that_was_deleted_between_is_said_to_be(self, client, birds):
        """The text is not lost."""
        page = client.get("/collections/birds/document?_id=2")
        birds.delete_many(Filter({"_id": 2}))

        gone = edit(client, page, "{_id: 2, name: 'x'}", "save")

        assert gone.status_code == 409
        assert "This document was deleted meanwhile" in text_of(gone)
        assert relaxed.loads(field(gone, "text")) == {"_id": 2, "name": "x"}

    def test_a_document_that_is_not_there_is_404(self, client, birds):
        """The page says which."""
        assert client.get("/collections/birds/document?_id=77").status_code == 404


class TestAdding:
    def test_a_document_is_added(self, client, birds):
        """In the relaxed syntax, with the types that it names."""
        added = client.post("/collections/birds/new", data={"text": "{_id: 4, when: ISODate('2024-01-02')}"})

        assert added.status_code == 303
        assert everything(birds)[3] == {"_id": 4, "when": datetime(2024, 1, 2, tzinfo=UTC)}

    @pytest.mark.parametrize(
        ("text", "status", "says"),
        [("{_id: 1}", 409, "_id 1 is taken"), ("{_id: [1]}", 400, "_id may be any value but"), ("{", 400, "line 1")],
    )
    def test_what_cannot_be_added_is_refused(self, client, birds, text, status, says):
        """And stays in the form."""
        refused = client.post("/collections/birds/new", data={"text": text})

        assert refused.status_code == status
        assert says in text_of(refused)
        assert field(refused, "text") == text

    def test_the_schema_speaks_beside_the_lines(self, client, service, birds):
        """Before anything is kept."""
        service.change("birds", {"schema": SCHEMA})

        refused = client.post("/collections/birds/new", data={"text": "{_id: 4, mass: 1.5, name: 'x'}"})

        assert refused.status_code == 422
        assert "mass: 1.5, ↑ expected integer, not 1.5" in text_of(refused)
        assert len(everything(birds)) == 3

    def test_a_clone_starts_without_the_id(self, client, birds):
        """Everything else is there."""
        page = client.get("/collections/birds/new?like=3")

        assert relaxed.loads(field(page, "text")) == {"name": "Rook", "mass": 460, "tags": ["black", "loud"]}


class TestDeleting:
    def delete(self, client: Any, document: Any) -> Any:
        return client.post(
            "/collections/birds/document/delete",
            data={"_id": values.identity(document["_id"]), "digest": values.digest(document), "back": "?view=json"},
        )

    def test_a_deletion_can_be_undone(self, client, birds):
        """The next page offers the document back, once."""
        deleted = self.delete(client, BIRDS[0])

        assert deleted.location.startswith("/collections/birds?view=json&undo=")
        assert everything(birds) == BIRDS[1:]
        page = client.get(deleted.location)
        assert "Deleted one document. Undo" in text_of(page)

        name = field(page, "undo")
        back = client.post("/collections/birds/undo", data={"undo": name, "back": field(page, "back")})

        assert back.location == "/collections/birds?view=json"
        assert canonical(everything(birds)[-1]) == canonical(BIRDS[0])
        assert client.post("/collections/birds/undo", data={"undo": name}).status_code == 404
        assert "Undo" not in text_of(client.get(deleted.location))

    def test_a_document_that_was_changed_is_not_deleted(self, client, birds):
        """What was shown is what is deleted, or nothing."""
        birds.update(Modify(Filter({"_id": 1}), Update({"mass": 10})))

        refused = self.delete(client, BIRDS[0])

        assert refused.status_code == 409
        assert "was not deleted" in text_of(refused)
        assert len(everything(birds)) == 3

    def test_what_is_gone_is_gone(self, client, birds):
        """A second click says so."""
        self.delete(client, BIRDS[0])

        assert "already deleted" in text_of(client.get(self.delete(client, BIRDS[0]).location))


class TestBin:
    def test_only_the_last_deletions_are_kept(self):
        """Each under a name of its own, and for its collection alone."""
        kept = Bin()

        names = [kept.keep("birds", {"_id": number}) for number in range(MAX_KEPT + 1)]

        assert kept.get("birds", names[0]) is None
        assert kept.get("birds", names[1]) == {"_id": 1}
        assert kept.get("movies", names[1]) is None


class TestManyAtOnce:
    def test_an_update_is_run_dry_first(self, client, birds):
        """The number and examples, and nothing changed; then the change that was shown."""
        query = {"filter": "{mass: {$lt: 100}}", "update": "{$inc: {mass: 1}}"}

        dry = client.post("/collections/birds/update", data={**query, "step": "dry"})

        assert "2 documents would change" in text_of(dry)
        assert "- removed: mass: 9, + added: mass: 10," in text_of(dry)
        assert everything(birds) == BIRDS

        done = client.post(
            "/collections/birds/update", data={**query, "expected": field(dry, "expected"), "step": "run"}
        )

        assert "Changed 2 documents" in text_of(client.get(done.location))
        assert [each["mass"] for each in everything(birds)] == [10, 19, 460]

    def test_no_more_is_changed_than_was_shown(self, client, birds):
        """Documents that came between make it refuse."""
        query = {"filter": "{mass: {$lt: 100}}", "update": "{$inc: {mass: 1}}"}
        birds.insert_one({"_id": 4, "mass": 1})

        refused = client.post("/collections/birds/update", data={**query, "expected": "2", "step": "run"})

        assert refused.status_code == 409
        assert "3 documents would change, and the request allows 2" in text_of(refused)
        assert [each["mass"] for each in everything(birds)] == [9, 18, 460, 1]

    def test_a_run_without_a_dry_one_changes_nothing(self, client, birds):
        """There is no number that the person could have seen."""
        assert client.post("/collections/birds/remove", data={"filter": "{}", "step": "run"}).status_code == 409
        assert everything(birds) == BIRDS

    def test_a_deletion_is_run_dry_first(self, client, birds):
        """It shows what would go."""
        dry = client.post("/collections/birds/remove", data={"filter": "{name: /^Ro/}", "step": "dry"})

        assert "2 documents would be deleted" in text_of(dry)
        assert '"Robin"' in text_of(dry)
        assert everything(birds) == BIRDS

        client.post("/collections/birds/remove", data={"filter": "{name: /^Ro/}", "expected": "2", "step": "run"})

        assert everything(birds) == BIRDS[:1]

    @pytest.mark.parametrize(
        ("query", "says", "status"),
        [
            ({"filter": "{a: {$x: 1}}", "update": "{$set: {b: 1}}"}, "unknown operator: $x", 400),
            ({"filter": "{}", "update": "{$sett: {b: 1}}"}, "did you mean $set?", 400),
            ({"filter": "{}", "update": ""}, "expected a value", 400),
            ({"filter": "{}", "update": "{$inc: {name: 1}}"}, "name", 400),
        ],
    )
    def test_errors_stand_at_their_field(self, client, birds, query, says, status):
        """Of the filter, of the update, and of a document that refuses it."""
        page = client.post("/collections/birds/update", data={**query, "step": "dry"})

        assert page.status_code == status
        assert says in text_of(page)

    def test_the_schema_may_refuse(self, client, service, birds):
        """The dry run already says so."""
        service.change("birds", {"schema": SCHEMA})

        page = client.post(
            "/collections/birds/update", data={"filter": "{}", "update": "{$set: {mass: 'x'}}", "step": "dry"}
        )

        assert page.status_code == 422
        assert "the document 1 would no longer satisfy the schema" in text_of(page)


class TestExportAndImport:
    @pytest.mark.parametrize("format", ["json", "ndjson", "ejson"])
    def test_what_is_exported_can_be_imported(self, client, service, birds, format):
        """Every format but CSV gives the same documents again."""
        exported = client.get(f"/collections/birds/export?format={format}")
        service.create(id="copy")

        imported = client.post(
            "/collections/copy/import", data={"text": exported.text}, content_type="multipart/form-data"
        )

        assert imported.status_code == 303
        assert 'filename="birds.' in exported.headers["Content-Disposition"]
        assert everything(service.collection("copy")) == BIRDS

    def test_the_canonical_form_names_every_type(self, client, service):
        """Nothing is lost on the way."""
        document = {"_id": 1, "long": Int64(5), "double": 5.0}
        service.create(id="typed", documents=[document])

        (exported,) = json.loads(client.get("/collections/typed/export?format=ejson").text)

        assert exported["long"] == {"$numberLong": "5"}
        assert canonical(extjson.from_json(exported)) == canonical(document)

    def test_csv_has_a_column_for_each_path(self, client, birds):
        """Of what the query finds, as it is projected and sorted."""
        exported = client.get("/collections/birds/export?format=csv&project={name: 1, _id: 0}&sort={name: -1}&limit=2")

        assert exported.text == "name\r\nWren\r\nRook\r\n"

    def test_an_empty_answer_is_an_empty_array(self, client, birds):
        """And still JSON."""
        assert client.get("/collections/birds/export?format=json&filter={_id: 77}").get_json() == []

    @pytest.mark.parametrize("address", ["format=xml", "filter={a: {$x: 1}}"])
    def test_what_cannot_be_exported_is_refused(self, client, birds, address):
        """No file of an error."""
        assert client.get(f"/collections/birds/export?{address}").status_code == 400

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("[{_id: 10, a: ISODate('2024-01-02')}, {_id: 11},]", 2),
            ("{_id: 10,\n a: 1}", 1),
            ('{"_id": 10}\n{"_id": 11}\n', 2),
            ("_id,name\n10,Rook\n11,Wren\n", 2),
        ],
    )
    def test_the_format_is_found_out(self, client, birds, text, count):
        """Relaxed JSON, one document, a document a line, CSV."""
        client.post("/collections/birds/import", data={"text": text}, content_type="multipart/form-data")

        assert [each["_id"] for each in everything(birds)[3:]] == [10, 11][:count]

    @pytest.mark.parametrize(
        ("text", "status", "says"),
        [
            ("", 400, "expected documents, and none came"),
            ("[{_id: 10}, {_id: ]", 400, "line 1, column 19"),
            ("[{_id: 10}, 5]", 400, "a document is an object, not 5"),
            ('{"_id": 10}\n{"_id": }\n', 400, "line 2"),
            ("[{_id: 10}, {_id: 1}]", 409, "_id 1 is taken"),
        ],
    )
    def test_an_import_is_all_or_nothing(self, client, birds, text, status, says):
        """With the place of the first fault; the text stays in the form."""
        refused = client.post("/collections/birds/import", data={"text": text}, content_type="multipart/form-data")

        assert refused.status_code == status
        assert says in text_of(refused)
        assert field(refused, "text") == text
        assert everything(birds) == BIRDS


class TestDifference:
    def test_what_stays_is_left_out(self):
        """But for some lines around each change."""
        before = "\n".join("abcdefghijklmnop")

        lines = values.difference(before, before.replace("h", "H"), around=1)

        assert [(line.mark, line.text) for line in lines] == [
            ("…", ""),
            ("", "g"),
            ("-", "h"),
            ("+", "H"),
            ("", "i"),
            ("…", ""),
        ]

    def test_large_texts_are_not_compared_for_minutes(self):
        """They are shown as replaced."""
        before, after = "a\n" * 3000, "b\n" * 3000

        lines = values.difference(before, after)

        assert [line.mark for line in lines].count("-") == len(before.split("\n"))


class TestPieces:
    def test_pieces_are_the_text(self):
        """Whatever the value, in colours or not."""
        for each in HOSTILE[:3] + HOSTILE[4:]:
            assert "".join(piece.text for piece in values.pieces(each)) == relaxed.dumps(each, indent=2)

    def test_a_long_string_is_cut(self):
        """And says how much is missing."""
        (cut,) = [piece for piece in values.pieces({"a": "x" * 1000}) if piece.missing]

        assert len(cut.text) == values.MAX_STRING
        assert cut.missing == 1002 - values.MAX_STRING


class TestConditions:
    @pytest.mark.parametrize(
        ("filter", "conditions"),
        [
            ({"a": 1, "b": {"$gt": 1, "$lt": 2}}, [{"a": 1}, {"b": {"$gt": 1}}, {"b": {"$lt": 2}}]),
            ({"$and": [{"a": 1}, {"$and": [{"b": 2}]}]}, [{"a": 1}, {"b": 2}]),
            ({"$or": [{"a": 1}, {"b": 2}]}, [{"$or": [{"a": 1}, {"b": 2}]}]),
            ({"a": {"$regex": "x", "$options": "i"}}, [{"a": {"$regex": "x", "$options": "i"}}]),
            ({"a": {"x": 1, "y": 2}}, [{"a": {"x": 1, "y": 2}}]),
        ],
    )
    def test_a_conjunction_is_taken_apart(self, filter, conditions):
        """As far as its parts mean something by themselves."""
        assert list(queries._conditions(filter)) == conditions
