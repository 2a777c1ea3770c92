"""The pages about documents in a browser, as their owner uses them."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Administrator
from tests.web.console.conftest import TOKEN, watched

BIRDS = [
    {"_id": 1, "name": "Wren", "mass": 9, "seen": {"$date": "2024-05-01T00:00:00Z"}},
    {"_id": 2, "name": "Robin", "mass": 18, "seen": None},
    {"_id": 3, "name": "Rook", "mass": 460, "tags": ["black", "loud"]},
]
# A browser reports each answer of 400 and above on its console, pages too.
REFUSAL = r"the server responded with a status of 4\d\d"


@pytest.fixture
def birds(console_server: Any) -> Any:
    """A fresh collection of birds."""
    admin = Administrator(console_server, TOKEN)
    collection = admin.collection(BIRDS, title="Birds")
    yield collection
    admin.request("DELETE", f"/{collection.id}")


@pytest.fixture
def path(birds: Any) -> str:
    """Where its documents are."""
    return f"/collections/{birds.id}"


def names(page: Page) -> list[str]:
    """The column of names, as it is shown."""
    # Before the first name stands the column of the pencils.
    column = page.locator("#grid th bdi").all_inner_texts().index("name") + 2
    return page.locator(f"#grid tbody td:nth-child({column})").all_inner_texts()


class TestQueryBar:
    def test_a_query_is_typed_with_completion_and_found_by_key(self, page, path):
        """Slash goes there, fields and operators are offered, Ctrl+Enter finds; the address is the state."""
        page.goto(path)
        page.keyboard.press("/")
        expect(page.get_by_label("Filter")).to_be_focused()

        page.keyboard.type("{ma")
        expect(page.get_by_role("option", name="mass")).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.type("{$gte")
        expect(page.get_by_role("option", name=re.compile(r"^\$gte"))).to_have_count(0)
        page.keyboard.type(": 18}}")
        expect(page.get_by_label("Filter")).to_have_value("{mass: {$gte: 18}}")
        page.keyboard.press("Control+Enter")

        page.wait_for_url("**/collections/*?filter=*")
        expect(page.get_by_text("2 documents of 3")).to_be_visible()
        assert names(page) == ["Robin", "Rook"]
        page.go_back()
        # From its beginning: an id that ends in 3 stands before the tab "Documents".
        expect(page.get_by_text(re.compile(r"^\s*3 documents"))).to_be_visible()

    def test_an_operator_is_completed(self, page, path):
        """With what it does beside it; Escape leaves what was typed."""
        page.goto(path)
        page.get_by_label("Filter").press_sequentially("{mass: {$l")
        option = page.get_by_role("option").first
        expect(option).to_contain_text("$lt")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Escape")
        expect(page.get_by_role("listbox")).to_have_count(0)
        expect(page.get_by_label("Filter")).to_have_value("{mass: {$l")

    def test_an_error_is_shown_at_its_place(self, page, path, accessible):
        """The page stays, the field has the focus, and the wrong word is marked."""
        page.allowed.append(REFUSAL)
        page.goto(path)
        page.get_by_label("Filter").fill("{mass: {$gtt: 1}}")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Find").click()

        expect(page.locator(".fault mark")).to_have_text("$gtt")
        expect(page.get_by_label("Filter")).to_be_focused()
        accessible(page)

    def test_a_column_sorts_by_a_click(self, page, path):
        """Up, down, and as they were written."""
        page.goto(path)
        for sort, order in [
            ("ascending", ["Robin", "Rook", "Wren"]),
            ("descending", ["Wren", "Rook", "Robin"]),
            (None, ["Wren", "Robin", "Rook"]),
        ]:
            page.locator("#grid th a", has_text="name").click()
            header = page.locator("#grid th", has_text="name")
            expect(header).to_have_attribute("aria-sort", sort) if sort else expect(header).not_to_have_attribute(
                "aria-sort", re.compile(".*")
            )
            assert names(page) == order

    def test_the_table_is_one_stop_and_the_arrows_move_in_it(self, page, path):
        """From the pencil to a value, and Enter filters by it."""
        page.goto(path)
        page.locator("#grid th a").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#grid tbody tr:nth-child(2) td:nth-child(3) a")).to_be_focused()
        page.keyboard.press("Enter")

        page.wait_for_url("**filter=*")
        assert names(page) == ["Robin"]


class TestEditing:
    def test_a_document_is_edited_with_a_diff(self, page, path, birds, accessible):
        """Open, change, review, save."""
        page.goto(path)
        page.get_by_role("link", name="Open document 1").click()
        editor = page.get_by_label("Edit")
        editor.fill(editor.input_value().replace("mass: 9", "mass: 10"))
        page.keyboard.press("Control+Enter")

        expect(page.locator(".diff .goes")).to_contain_text("mass: 9")
        expect(page.locator(".diff .comes")).to_contain_text("mass: 10")
        accessible(page)
        page.get_by_role("button", name="Save").click()

        expect(page.get_by_text("Saved the document 1")).to_be_visible()
        assert birds.read({"query": {"_id": 1}})[0]["mass"] == 10

    def test_somebody_elses_change_is_not_overwritten(self, page, path, birds, accessible):
        """The page shows what they changed, and both texts are there."""
        page.allowed.append(REFUSAL)
        page.goto(f"{path}/document?_id=2")
        birds.call("updatewithupsert", {"search query": {"_id": 2}, "data": {"mass": 20}})
        editor = page.get_by_label("Edit")
        editor.fill(editor.input_value().replace("Robin", "Redbreast"))
        page.get_by_role("button", name="Review changes").click()

        expect(page.get_by_role("heading", name="Somebody else changed this document meanwhile")).to_be_visible()
        expect(page.locator(".diff .comes").first).to_contain_text("mass: 20")
        accessible(page)

    def test_a_document_is_deleted_and_brought_back(self, page, path, birds):
        """Delete needs no question, because Undo answers it."""
        page.goto(path + "?view=json")
        page.get_by_role("button", name="Delete").first.click()
        expect(page.get_by_text(re.compile(r"^\s*2 documents"))).to_be_visible()
        assert [each["_id"] for each in birds.documents] == [2, 3]

        page.get_by_role("button", name="Undo").click()

        expect(page.get_by_text("Brought back the document 1")).to_be_visible()
        assert sorted(each["_id"] for each in birds.documents) == [1, 2, 3]

    def test_a_document_is_added(self, page, path, birds, accessible):
        """By key and in the relaxed syntax."""
        page.goto(path)
        page.keyboard.press("n")
        page.wait_for_url("**/new")
        accessible(page)
        page.get_by_label("Document").fill("{_id: 4, when: ISODate('2024-01-02')}")
        page.get_by_role("button", name="Add document").click()

        expect(page.get_by_text("Added the document 4")).to_be_visible()
        assert birds.documents[3]["when"] == {"$date": "2024-01-02T00:00:00Z"}


class TestManyAtOnce:
    def test_matching_documents_are_updated_after_a_dry_run(self, page, path, birds, accessible):
        """The number and the examples come before the question."""
        page.goto(path + "?filter={mass: {$lt: 100}}")
        page.get_by_text("Change many").click()
        page.get_by_role("link", name="Update matching documents").click()
        expect(page.get_by_label("Filter")).to_have_value("{mass: {$lt: 100}}")
        page.get_by_label("Update", exact=True).fill("{$inc: {mass: 1}}")
        page.get_by_role("button", name="Dry run").click()

        expect(page.get_by_role("heading", name="2 documents would change")).to_be_visible()
        assert [each["mass"] for each in birds.documents] == [9, 18, 460]
        accessible(page)
        page.get_by_role("button", name="Update 2 documents").click()

        expect(page.get_by_text("Changed 2 documents")).to_be_visible()
        assert [each["mass"] for each in birds.documents] == [10, 19, 460]

    def test_matching_documents_are_deleted_after_a_dry_run(self, page, path, birds):
        """The button says how many."""
        page.goto(path + "/remove?filter={mass: {$lt: 100}}")
        page.get_by_role("button", name="Dry run").click()
        page.get_by_role("button", name="Delete 2 documents").click()

        expect(page.get_by_text("Deleted 2 documents")).to_be_visible()
        assert [each["_id"] for each in birds.documents] == [3]


class TestImportAndExport:
    def test_what_was_exported_is_imported_again(self, page, path, birds, tmp_path):
        """As a file that the browser saved."""
        page.goto(path)
        page.get_by_text("Export", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Canonical Extended JSON").click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        before = birds.documents
        birds.call("batchdelete", {})

        page.goto(path + "/import")
        page.get_by_label("File").set_input_files(file)
        page.get_by_role("button", name="Import").click()

        expect(page.get_by_text("Imported 3 documents")).to_be_visible()
        assert birds.documents == before


class TestSchema:
    def test_a_schema_is_proposed_checked_enforced_and_lifted(self, page, path, accessible):
        """The whole life of one."""
        page.goto(path + "/schema")
        accessible(page)
        page.get_by_role("link", name="Propose a schema").click()
        page.get_by_role("button", name="Check all documents").click()
        expect(page.get_by_text("All 3 documents satisfy this schema.")).to_be_visible()
        accessible(page)
        page.get_by_role("button", name="Enforce").click()
        expect(page.get_by_text("The schema is enforced")).to_be_visible()
        page.get_by_role("button", name="Lift it").click()
        expect(page.get_by_text("The schema is lifted")).to_be_visible()


class TestWithoutScript:
    def test_everything_is_done_by_forms_and_links(self, browser, console_server, path, birds):
        """Find, sort, filter by a value, edit, delete, undo."""
        with watched(browser, console_server.url, java_script_enabled=False) as page:
            page.goto(path)
            page.get_by_label("Filter").fill("{mass: {$gt: 10}}")
            page.get_by_role("button", name="Find").click()
            page.locator("#grid th a", has_text="name").click()
            assert names(page) == ["Robin", "Rook"]

            page.get_by_role("link", name="Rook").click()
            page.get_by_role("link", name="Open document 1").click()
            editor = page.get_by_label("Edit")
            editor.fill(editor.input_value().replace("460", "461"))
            page.get_by_role("button", name="Review changes").click()
            page.get_by_role("button", name="Save").click()
            assert [each["mass"] for each in birds.documents] == [9, 18, 461]

            page.goto(path + "?view=json")
            page.get_by_role("button", name="Delete").first.click()
            page.get_by_role("button", name="Undo").click()
            assert len(birds.documents) == 3


class TestEveryPage:
    @pytest.mark.parametrize(
        "rest",
        ["", "?view=json", "?filter={nmae: 1, mass: 9}", "/document?_id=3", "/new", "/update", "/import", "/schema"],
    )
    def test_it_is_accessible_and_reflows(self, page, path, rest, accessible, reflowed):
        """Axe finds no violation, in both themes; at 320 px nothing scrolls sideways but what may."""
        page.goto(path + rest)
        accessible(page)
        page.set_viewport_size({"width": 320, "height": 640})
        reflowed(page)
        accessible(page)

    def test_hostile_documents_do_no_harm(self, page, path, birds):
        """No script of theirs runs, and nothing is asked of another host."""
        hostile = {
            "_id": "</script><script>document.title='hacked'</script>",
            "<img src=//elsewhere.example/x onerror=document.title='hacked'>": "<svg onload=document.title='hacked'>",
            "__proto__": {"hacked": True},
            "turned": "\u202egnp.exe",
        }
        birds.call("write", hostile)
        its_page = "/document?" + urlencode({"_id": json.dumps(hostile["_id"])})
        for rest in ("", "?view=json", "/schema", its_page):
            page.goto(path + rest)
            expect(page).not_to_have_title("hacked")
            page.keyboard.press("/")
            assert page.evaluate("({}).hacked") is None
