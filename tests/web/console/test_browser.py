"""The frame and the pages of collections, settings and activity in Chromium: both themes, narrow, and with axe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest
import requests
from playwright.sync_api import Page, expect

from connectome.web.console.collections import EXAMPLE

PATHS = [
    "/",
    "/new",
    "/activity",
    "/server",
    "/collections/movies/created",
    "/collections/movies/activity",
    "/collections/movies/settings",
]
HOSTILE = "<img src=//evil.example onerror=alert(1)>"
CSV = "name,price,since\nSoup,4.5,2024-01-02\nTea,3,2023-05-06\n"
_numbers = count()


@pytest.fixture(scope="module", autouse=True)
def asked(console_server):
    """Requests that the pages of activity have something to show of."""
    keys = administration(console_server, "GET", "/movies").json()["credentials"]
    for credential in (*keys.values(), "cr_nobody"):
        requests.get(f"{console_server.url}/collection/read/{credential}/movies", timeout=30)


def administration(server, method, path="", **options):
    """A request of the administrator."""
    headers = {"Authorization": "Bearer the-administrator-s-own-token"}
    return requests.request(method, f"{server.url}/-/admin/collections{path}", headers=headers, timeout=30, **options)


@pytest.fixture
def made(console_server) -> Iterator[str]:
    """A collection of the test's own, by its id; it may be gone when the test ends."""
    id = f"made{next(_numbers)}"
    answer = administration(console_server, "POST", json={"id": id, "title": f"Made {HOSTILE}"})
    requests.post(
        f"{console_server.url}/collection/write/{answer.json()['credentials']['write']}/{id}", json={"n": 1}, timeout=30
    )
    yield id
    administration(console_server, "DELETE", f"/{id}")


@pytest.mark.parametrize("path", PATHS)
class TestEveryPage:
    def test_has_no_barrier(self, page, accessible, path):
        """axe finds nothing, in either theme, with everything unfolded; the browser has nothing to complain of."""
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")

        accessible(page)

    def test_reflows(self, narrow_page, reflowed, path):
        """At 320 px nothing scrolls sideways, with everything unfolded."""
        narrow_page.goto(path)
        narrow_page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")

        reflowed(narrow_page)

    def test_reads_without_a_script(self, browser, console_server, path):
        """Without JavaScript the heading of the page is there, and no button that could do nothing."""
        with closing(browser.new_context(base_url=console_server.url, java_script_enabled=False)) as context:
            page = context.new_page()
            page.goto(f"/login?next={path}")
            page.get_by_label("Administrator’s token").fill("the-administrator-s-own-token")
            page.get_by_role("button", name="Sign in").click()

            expect(page.locator("main h1")).to_be_visible()
            assert page.url == console_server.url + path
            expect(page.locator(".scripted:visible")).to_have_count(0)


class TestFrame:
    def test_the_theme_is_kept(self, page):
        """The button changes the theme, and the next page still has it."""
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")

        page.get_by_role("button", name="Light or dark").click()
        page.reload()

        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before

    def test_help_opens_with_a_key(self, page, accessible):
        """``?`` shows the keys, and Escape puts them away."""
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        accessible(page)

        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()

    def test_keys_lead_to_pages(self, page):
        """``g a`` leads to the activity; in a field a letter is a letter."""
        page.keyboard.press("g")
        page.keyboard.press("a")
        page.wait_for_url("**/activity")

        page.goto("/new")
        page.get_by_label("Name").press_sequentially("gas?")
        expect(page.get_by_label("Name")).to_have_value("gas?")
        expect(page.get_by_role("dialog")).to_be_hidden()

    def test_the_first_tab_skips_to_the_content(self, page):
        """Whoever uses the keyboard alone need not walk through the header."""
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")

        assert page.evaluate("document.activeElement.id") == "main"

    def test_who_signs_out_sees_the_login(self, page, accessible):
        """And the login has no barrier either."""
        page.get_by_role("button", name="Sign out").click()

        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        accessible(page)

    def test_a_page_that_is_not_there(self, page, accessible):
        """It says so, without a barrier."""
        page.allowed.append("404")
        page.goto("/collections/nothing/settings")

        expect(page.locator("main")).to_contain_text("there is no collection 'nothing'")
        accessible(page)

    def test_a_wrong_token_is_refused(self, browser, console_server, accessible):
        """The form stays, and says why."""
        with closing(browser.new_context(base_url=console_server.url)) as context:
            page = context.new_page()
            page.goto("/login")
            page.get_by_label("Administrator’s token").fill("wrong")
            page.keyboard.press("Enter")

            expect(page.get_by_role("alert")).to_contain_text("not the administrator's token")
            accessible(page)

    def test_the_printed_link_signs_in(self, browser, servers, tmp_path):
        """From the output of a server into its console, where the example is one click away."""
        with servers(tmp_path / "data") as server:
            for line in server.process.stdout:
                if "console" in line:
                    break
            with closing(browser.new_context()) as context:
                page = context.new_page()
                page.goto(line.split()[1])
                page.get_by_role("button", name="Start with the movies example").click()
                page.get_by_role("link", name="Documents").first.wait_for()

                assert page.url == f"{server.url}/collections/movies/created"


class TestNewCollection:
    def test_from_nothing_to_both_credentials(self, page: Page, console_server):
        """A name, a paste, a look at the types, and there are the credentials; Copy copies the real one."""
        id = f"cafe-{next(_numbers)}"
        page.get_by_role("link", name="New collection").click()
        page.get_by_label("Name").fill(id.replace("cafe-", "Café "))
        expect(page.get_by_label("Id")).to_have_value(id)
        page.get_by_label("Or paste").fill(CSV)
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("region", name="Preview")).to_contain_text("Soup")
        page.get_by_label("Type of price").select_option("string")
        expect(page.get_by_role("region", name="Preview").get_by_text("find out")).to_have_count(1)
        page.get_by_role("button", name="Create collection").click()
        page.wait_for_url(f"**/collections/{id}/created")

        described = administration(console_server, "GET", f"/{id}").json()
        page.get_by_role("button", name="Copy the read credential").click()
        assert page.evaluate("navigator.clipboard.readText()") == described["credentials"]["read"]
        found = requests.get(
            f"{console_server.url}/collection/read/{described['credentials']['read']}/{id}", timeout=30
        ).json()
        assert [each["price"] for each in found] == ["4.5", "3"]
        expect(page.get_by_text(described["credentials"]["write"])).to_be_hidden()
        page.get_by_text("Show the write credential").click()
        expect(page.get_by_text(described["credentials"]["write"])).to_be_visible()
        administration(console_server, "DELETE", f"/{id}")

    def test_a_file_is_previewed_as_soon_as_it_is_chosen(self, page, accessible):
        """Its name is proposed, its fields and types are shown, and the page has no barrier then."""
        page.goto("/new")
        page.get_by_label("File").set_input_files(EXAMPLE)

        expect(page.get_by_label("Name")).to_have_value("movies")
        expect(page.locator("#preview")).to_contain_text("271 documents of JSON")
        accessible(page)

    def test_a_file_can_be_dropped(self, page):
        """It is as if it had been chosen."""
        page.goto("/new")
        transfer = page.evaluate_handle(
            "(text) => { const all = new DataTransfer(); all.items.add(new File([text], 'menu.csv')); return all; }",
            CSV,
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})

        expect(page.locator("#preview")).to_contain_text("2 documents of CSV")
        expect(page.get_by_label("Id")).to_have_value("menu")

    def test_a_mistake_is_said_before_anything_is_made(self, page):
        """The preview shows the API's own words in place of the fields."""
        page.allowed.append("400")
        page.goto("/new")
        page.get_by_label("Or paste").fill('[{"a": 1}, {"a": NaN}]')
        page.get_by_role("button", name="Preview").click()

        expect(page.get_by_role("alert")).to_contain_text("expected a number, not NaN")
        expect(page.get_by_role("alert")).to_contain_text("at /1/a")

    def test_hostile_values_do_nothing(self, page):
        """A preview shows them as text; nothing is loaded, and nothing runs."""
        page.goto("/new")
        page.get_by_label("Or paste").fill(f'[{{"{HOSTILE}": "{HOSTILE}", "__proto__": "</table>"}}]')
        page.get_by_role("button", name="Preview").click()

        expect(page.locator("#preview td").nth(0)).to_have_text(HOSTILE)
        assert page.locator("#preview img").count() == 0


class TestSettings:
    def test_the_title_is_changed(self, page, made):
        """The next page has it, and says so."""
        page.goto(f"/collections/{made}/settings")
        page.get_by_label("What people call it").fill("Another <b>title</b>")
        page.get_by_role("button", name="Save title").click()

        expect(page.get_by_role("status").first).to_contain_text("Another <b>title</b>")
        expect(page.locator(".subject-title")).to_have_text("Another <b>title</b>")

    def test_a_credential_is_rotated_after_a_second_click(self, page, made, console_server):
        """Rotate says what will happen; only the button below it does it."""
        before = administration(console_server, "GET", f"/{made}").json()["credentials"]
        page.goto(f"/collections/{made}/settings")
        page.get_by_text("Rotate the read credential").click()
        page.get_by_role("button", name="Replace the read credential").click()

        expect(page.get_by_role("status").first).to_contain_text("The read credential is new")
        after = administration(console_server, "GET", f"/{made}").json()["credentials"]
        assert (after["read"] == before["read"], after["write"] == before["write"]) == (False, True)

    def test_it_is_dropped_once_its_name_is_typed(self, page, made):
        """What differs from the id is refused, and the page says what to type."""
        page.allowed.append("400")
        page.goto(f"/collections/{made}/settings")
        page.get_by_text("Drop the collection …").click()
        form = page.locator("form", has=page.get_by_role("button", name="Drop the collection"))
        form.get_by_role("textbox").fill("movies")
        form.get_by_role("button").click()
        expect(page.locator(".error")).to_have_text(f"Type {made} to confirm: nothing was changed.")

        form.get_by_role("textbox").fill(made)
        form.get_by_role("button").click()
        expect(page.get_by_role("status").first).to_contain_text("has been dropped")
        expect(page.get_by_role("region", name="Collections")).not_to_contain_text(made)


class TestActivity:
    def test_is_live(self, page, made, console_server):
        """What happens while the page is open appears on it, and what was unfolded stays so."""
        page.clock.install()
        page.goto(f"/collections/{made}/activity")
        page.get_by_text("As a table").click()
        before = int(page.locator(".figures dd").first.inner_text())
        read = administration(console_server, "GET", f"/{made}").json()["credentials"]["read"]
        requests.get(f"{console_server.url}/collection/read/{read}/{made}", timeout=30)

        page.get_by_role("heading", name="Activity").click()
        page.clock.fast_forward(5000)
        expect(page.locator(".figures dd").first).to_have_text(str(before + 1))
        expect(page.get_by_role("region", name="Requests per minute")).to_be_visible()

    def test_can_be_held(self, page):
        """Without Live the server is not asked any more."""
        page.clock.install()
        page.goto("/activity")
        asked = []
        page.on("request", lambda request: asked.append(request.url.removeprefix(page.url)))
        with page.expect_request("**/activity"):
            page.clock.fast_forward(5000)
        page.get_by_label("Live").uncheck()
        page.clock.fast_forward(60_000)
        page.evaluate("fetch('/-/console/icon.svg')")

        assert asked.count("") == 1

    def test_the_chart_has_a_bar(self, page):
        """Of the last minutes there is a bar with a height."""
        page.goto("/activity")

        assert page.locator("rect[class='series-1'][x]").last.bounding_box()["height"] > 0
        assert re.match(r"at most \d+", page.locator(".card .muted").first.inner_text())
