"""The shared frame and the pages of collections, in Chromium: both themes, narrow, and with axe."""

from __future__ import annotations

import pytest

PATHS = ["/"]


@pytest.mark.parametrize("path", PATHS)
class TestEveryPage:
    def test_has_no_barrier(self, page, accessible, path):
        """axe finds nothing, in either theme; the browser has nothing to complain of."""
        page.goto(path)

        accessible(page)

    def test_reflows(self, narrow_page, reflowed, path):
        """At 320 px nothing scrolls sideways."""
        narrow_page.goto(path)

        reflowed(narrow_page)


class TestFrame:
    def test_the_theme_is_kept(self, page):
        """The button changes the theme, and the next page still has it."""
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")

        page.get_by_role("button", name="Light or dark").click()
        page.reload()

        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
