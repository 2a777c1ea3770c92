"""The reference at /-/docs: from this server alone, for everybody."""

from __future__ import annotations

import re

import pytest


class TestPage:
    def test_it_loads_what_this_server_has(self, server):
        """Every file that the page names is there, beside it; no script stands in the page."""
        page = server.request("GET", "/-/docs")

        named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "docs/swagger-ui-bundle.js" in named
        assert {server.request("GET", f"/-/{each}").status_code for each in named} == {200}
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)

    def test_a_slash_behind_it_leads_to_it(self, server):
        """What the page names stands beside it, not below."""
        answer = server.request("GET", "/-/docs/")

        assert [each.status_code for each in answer.history] == [308]
        assert (answer.status_code, answer.url) == (200, server.url + "/-/docs")

    @pytest.mark.parametrize("path", ["/-/docs", "/-/docs/swagger-ui-bundle.js"])
    def test_nothing_may_come_from_elsewhere(self, server, path):
        """The policy allows this origin, no inline script and no inline style; and nobody frames the page."""
        headers = server.request("GET", path).headers

        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        "name", ["index.html", "nothing.js", "swagger-ui.js", "oauth2-redirect.html", "..%2fdocs.py"]
    )
    def test_no_other_file_is_served(self, server, name):
        """Of the package what the page needs, and the page under one address."""
        assert server.request("GET", f"/-/docs/{name}").status_code == 404

    def test_the_checker_of_another_host_is_off(self, server):
        """Swagger UI would send the document to validator.swagger.io."""
        assert "validatorUrl: null" in server.request("GET", "/-/docs/reference.js").text
