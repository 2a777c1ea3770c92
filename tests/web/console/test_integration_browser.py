"""Integration → API in a browser: the owner's path, copying, editing, running; both themes, narrow, and axe."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import requests
from playwright.sync_api import Page, expect

TOKEN = "the-administrator-s-own-token"
FILMS = [{"_id": str(number), "title": f"Film {number}", "amount": number * 10} for number in range(1, 5)]
API = "/integration/api"


class Films:
    """A collection on the server of the console, that a test may change."""

    def __init__(self, url, described):
        self.url = url
        self.id = described["id"]
        self.read_credential = described["credentials"]["read"]
        self.write_credential = described["credentials"]["write"]

    def write(self, content):
        url = f"{self.url}/collection/write/{self.write_credential}/{self.id}"
        requests.post(url, data=content, timeout=30).raise_for_status()

    @property
    def documents(self):
        url = f"{self.url}/collection/read/{self.read_credential}/{self.id}"
        return requests.get(url, timeout=30).json()


@pytest.fixture
def films(console_server):
    """The collection of the four films."""
    administration = {"headers": {"Authorization": f"Bearer {TOKEN}"}, "timeout": 30}
    collections = f"{console_server.url}/-/admin/collections"
    made = requests.post(collections, json={"title": "Films"}, **administration).json()
    requests.post(f"{collections}/{made['id']}/import", json=FILMS, **administration).raise_for_status()
    yield Films(console_server.url, made)
    requests.delete(f"{collections}/{made['id']}", **administration)


def opened(page: Page, films, **chosen: str) -> None:
    page.goto(f"/collections/{films.id}{API}?" + "&".join(f"{name}={value}" for name, value in chosen.items()))


def copied(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def test_the_path_to_the_api(page: Page, films, tmp_path):
    """Go to your collection. Click Integration and select API. The description shows how to access the API using
    different programming languages: what is copied there runs."""
    page.goto("/")
    page.get_by_role("link", name="Films", exact=True).click()
    page.get_by_role("navigation", name="Films").get_by_role("link", name="Integration").click()
    page.get_by_role("link", name="API", exact=True).click()

    page.get_by_label("Language").select_option("python-requests")
    expect(page.locator("#code")).to_contain_text("import requests")
    page.get_by_role("button", name="Copy the code").click()
    program = tmp_path / "example.py"
    program.write_text(copied(page), encoding="utf-8")
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, encoding="utf-8")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Film 4" in ran.stdout


class TestCode:
    def test_the_credential_is_masked_until_it_is_shown(self, page: Page, films):
        """Show credential shows it in the code and in the path; hide masks it again; Copy copies the real one."""
        opened(page, films)
        code, path = page.locator("#code"), page.locator("#path")
        expect(code).to_contain_text("cr_••••••••••••")
        expect(code).not_to_contain_text(films.read_credential)
        page.get_by_role("button", name="Copy the code").click()
        assert films.read_credential in copied(page)
        assert "•" not in copied(page)

        page.get_by_role("button", name="Show credential").click()
        expect(code).to_contain_text(films.read_credential)
        expect(path).to_contain_text(films.read_credential)
        page.get_by_role("button", name="Hide credential").click()
        expect(code).not_to_contain_text(films.read_credential)

    def test_what_an_address_shows_can_be_hidden(self, page: Page, films):
        """An address made without a script may ask for the credential; with one, it is masked and copied as ever."""
        opened(page, films, show="1")
        expect(page.locator("#code")).to_contain_text(films.read_credential)

        page.get_by_role("button", name="Hide credential").click()

        expect(page.locator("#code")).to_contain_text("cr_••••••••••••")
        page.get_by_role("button", name="Copy the code").click()
        assert films.read_credential in copied(page)

    def test_the_credential_moves_into_a_header(self, page: Page, films):
        """The path then has a hyphen in its place."""
        opened(page, films)

        page.get_by_text("In a header").click()

        expect(page.locator("#code")).to_contain_text("-H 'Authorization: Bearer cr_••••••••••••'")
        expect(page.locator("#path")).to_have_text(f"/collection/readwithquery/-/{films.id}")

    def test_every_language_follows_an_edit(self, page: Page, films):
        """The same request in each of them; the address keeps what was chosen."""
        opened(page, films, operation="write")
        page.get_by_label("Request body").fill('{"title": "It’s $5"}')
        select = page.get_by_label("Language")

        for language in select.locator("option").evaluate_all("all => all.map(each => each.value)"):
            select.select_option(language)
            expect(page).to_have_url(re.compile(f"language={language}(&|$)"))
            expect(page.locator("#snippet")).not_to_have_attribute("aria-busy", "true")
            expect(page.locator("#code")).to_contain_text("It’s")

        page.reload()
        expect(page.get_by_label("Request body")).to_have_value('{"title": "It’s $5"}')

    def test_the_language_is_remembered(self, page: Page, films):
        """For this browser, where the address names none."""
        opened(page, films)
        page.get_by_label("Language").select_option("go")
        expect(page).to_have_url(re.compile("language=go"))

        opened(page, films)

        expect(page.get_by_label("Language")).to_have_value("go")
        expect(page.locator("#code")).to_contain_text("package main")

    def test_what_is_wrong_is_said_below_the_editor(self, page: Page, films):
        """With the place, and gone when it is right again; the example can be had back."""
        opened(page, films)
        body = page.get_by_label("Request body")
        example = body.input_value()

        body.fill('{"query": {"amount": {"$gtt": 1}}}')
        expect(page.locator("#fault")).to_contain_text("unknown operator: $gtt; did you mean $gt?")
        expect(page.locator("#fault")).to_contain_text("/query/amount/$gtt")
        expect(body).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_text("Not what is being edited")).to_be_visible()

        page.get_by_role("button", name="Back to the example").click()
        expect(page.locator("#fault")).to_be_empty()
        expect(body).not_to_have_attribute("aria-invalid", "true")
        expect(body).to_have_value(example)


class TestRun:
    def test_a_query_shows_status_time_and_body(self, page: Page, films):
        """By its button, or by Ctrl+Enter in the editor."""
        opened(page, films)
        page.get_by_label("Request body").fill("{query: {amount: {$gte: 40}}, limit: 0}")

        page.get_by_label("Request body").press("Control+Enter")

        result = page.get_by_role("region", name="What the server answered")
        expect(result.locator("#status")).to_have_text("200 OK")
        expect(result).to_contain_text(re.compile(r"\d ms · \d+ B"))
        expect(result.get_by_role("region", name="Body of the answer")).to_have_text(
            re.compile(r'\[\s+\{\s+"_id": "4",\s+"title": "Film 4",\s+"amount": 40\s+\}\s+\]')
        )

    def test_the_answer_is_shown_as_it_came(self, page: Page, films):
        """Long numbers and the order of keys are the server's, not JavaScript's."""
        films.write('{"_id": "n", "b": 9007199254740993, "1": 1.0}')
        opened(page, films)
        page.get_by_label("Request body").fill('{"query": {"_id": "n"}}')

        page.get_by_role("button", name="Run it").click()

        expect(page.get_by_role("region", name="Body of the answer")).to_have_text(
            re.compile(r'"b": 9007199254740993,\s+"1": 1\.0')
        )

    def test_all_documents_are_read_without_a_body(self, page: Page, films):
        """With the credential in a header."""
        opened(page, films, operation="read", auth="header")

        page.get_by_role("button", name="Run it").click()

        expect(page.get_by_role("region", name="Body of the answer")).to_contain_text("Film 3")

    def test_documents_are_added_once_that_is_confirmed(self, page: Page, films):
        """What would be added is shown first."""
        opened(page, films, operation="batchwrite")
        page.get_by_label("Request body").fill('[{"title": "new"}, {"title": "newer"}]')

        page.get_by_role("button", name="Run it").click()
        expect(page.locator("#result")).to_contain_text("2 documents would be added to Films. Nothing is written yet.")
        assert len(films.documents) == 4
        page.get_by_role("button", name="Add 2 documents").click()

        expect(page.locator("#status")).to_have_text("201 CREATED", ignore_case=True)  # each server has its own case
        assert [each["title"] for each in films.documents[4:]] == ["new", "newer"]

    def test_an_update_is_rehearsed_before_it_is_done(self, page: Page, films):
        """The dry run says how many, with examples; nothing is changed until that is confirmed."""
        opened(page, films, operation="updatewithupsert")
        body = '{"search query": {"amount": {"$gt": 20}}, "data": {"$set": {"seen": true}}}'
        page.get_by_label("Request body").fill(body)

        page.get_by_role("button", name="Run it").click()
        expect(page.locator("#result")).to_contain_text("2 documents would be changed. Nothing is changed yet.")
        expect(page.locator("#result")).to_contain_text("Dry run")
        assert not any("seen" in each for each in films.documents)
        page.get_by_role("button", name="Change 2 documents").click()

        expect(page.locator("#status")).to_have_text("200 OK")
        assert sum("seen" in each for each in films.documents) == 2

    def test_a_deletion_is_refused_where_more_matches_than_was_shown(self, page: Page, films):
        """Between the dry run and the yes, another program wrote: nothing is deleted."""
        page.allowed.append("409")  # type: ignore[attr-defined]
        opened(page, films, operation="batchdelete")
        page.get_by_label("Request body").fill('{"amount": {"$gte": 40}}')
        page.get_by_role("button", name="Run it").click()
        confirm = page.get_by_role("button", name="Delete 1 document")
        expect(confirm).to_be_visible()

        films.write('{"amount": 50}')
        confirm.click()

        expect(page.locator("#status")).to_have_text("409 CONFLICT", ignore_case=True)  # each server has its own case
        assert len(films.documents) == 5

    def test_an_edit_withdraws_the_question(self, page: Page, films):
        """What was shown is what would be done, or nothing."""
        opened(page, films, operation="batchdelete")
        page.get_by_role("button", name="Run it").click()
        expect(page.get_by_role("button", name="Delete 1 document")).to_be_visible()

        page.get_by_label("Request body").fill("{}")

        expect(page.locator("#result")).to_be_hidden()
        expect(page).to_have_url(re.compile("body="))
        expect(page.locator("#snippet")).not_to_have_attribute("aria-busy", "true")
        assert len(films.documents) == 4

    def test_a_refusal_is_shown(self, page: Page, films):
        """What depends on the documents is said by the server."""
        page.allowed.append("409")  # type: ignore[attr-defined]
        opened(page, films, operation="write")
        page.get_by_label("Request body").fill('{"_id": "1"}')

        page.get_by_role("button", name="Run it").click()
        page.get_by_role("button", name="Add 1 document").click()

        expect(page.locator("#status")).to_have_text("409 CONFLICT", ignore_case=True)  # each server has its own case
        expect(page.get_by_role("region", name="Body of the answer")).to_contain_text("DuplicateKey")


class TestAccess:
    def test_the_choices_are_accessible(self, page: Page, films, accessible):
        """axe finds nothing, in both themes."""
        page.goto(f"/collections/{films.id}/integration")

        accessible(page)

    @pytest.mark.parametrize("operation", ["readwithquery", "batchdelete"])
    def test_the_api_is_accessible(self, page: Page, films, accessible, operation):
        """axe finds nothing: as it opens, with an error, with its errors open, and with an answer."""
        opened(page, films, operation=operation)
        accessible(page)

        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        page.get_by_role("button", name="Run it").click()
        expect(page.get_by_role("region", name="Body of the answer")).to_be_visible()
        accessible(page)
        page.get_by_label("Request body").fill("{")
        expect(page.locator("#fault")).to_contain_text("line 1")
        accessible(page)

    @pytest.mark.parametrize("path", ["", "/api", "/api?operation=updatewithupsert&language=java"])
    def test_it_fits_a_narrow_page(self, narrow_page: Page, films, reflowed, accessible, path):
        """320 px: nothing but code scrolls sideways."""
        narrow_page.goto(f"/collections/{films.id}/integration{path}")

        reflowed(narrow_page)
        accessible(narrow_page)
