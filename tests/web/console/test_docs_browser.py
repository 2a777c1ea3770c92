"""The reference at /-/docs in Chromium: nothing refused by its policy, nothing asked of another host."""

from __future__ import annotations

import re

from playwright.sync_api import expect


class TestTryItOut:
    def test_an_operation_is_tried_with_a_credential(self, page, console_server):
        """Authorized once, a request is sent and its answer shown."""
        read = console_server.request(
            "GET", "/-/admin/collections/movies", headers={"Authorization": "Bearer the-administrator-s-own-token"}
        ).json()["credentials"]["read"]
        page.goto("/-/docs")
        page.get_by_role("button", name="Authorize", exact=True).click()
        form = page.locator(".auth-container", has_text="readCredential")
        form.locator("input").fill(read)
        form.get_by_role("button", name="Apply credentials").click()
        page.locator("button.btn-done").first.click()
        operation = page.locator("#operations-Operations-readwithquery")
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.locator("tr[data-param-name=collection] input").fill("movies")
        operation.locator("button.execute").click()

        answer = operation.locator(".live-responses-table .response")
        expect(answer.locator(".response-col_status").first).to_contain_text("200")
        expect(answer).to_contain_text("Nagareboshi Kōjō")

    def test_an_action_of_the_data_api_is_tried_with_a_key(self, page, console_server):
        """Its example is there to be changed, and the key goes in the header that the service had."""
        keys = console_server.request(
            "GET", "/-/admin/collections/movies", headers={"Authorization": "Bearer the-administrator-s-own-token"}
        ).json()["credentials"]
        page.goto("/-/docs")
        page.get_by_role("button", name="Authorize", exact=True).click()
        form = page.locator(".auth-container", has=page.locator("code", has_text=re.compile("^dataApiKey$")))
        form.locator("input").fill(f"{keys['read']}+{keys['write']}")
        form.get_by_role("button", name="Apply credentials").click()
        page.locator("button.btn-done").first.click()
        action = page.locator(".opblock[id$=atlas_findOne]")
        action.locator(".opblock-summary-control").click()
        action.get_by_role("button", name="Try it out").click()
        body = action.locator("textarea.body-param__text")
        expect(body).to_have_value(re.compile("Do the dishes"))
        body.fill(
            '{"dataSource": "a", "database": "b", "collection": "movies", "filter": {"title": "Nagareboshi Kōjō"}}'
        )
        action.locator("button.execute").click()

        answer = action.locator(".live-responses-table .response")
        expect(answer.locator(".response-col_status").first).to_contain_text("200")
        expect(answer).to_contain_text('"title": "Nagareboshi Kōjō"')

    def test_the_limits_of_the_server_stand_above(self, page):
        """With their values."""
        page.goto("/-/docs")

        row = page.locator("tr", has_text="max_body_bytes")
        expect(row).to_contain_text("16777216")
