"""What settings say of the network, as the owner writes it."""

from __future__ import annotations

import pytest

from connectome.config import Settings
from connectome.errors import ConfigurationError
from connectome.network import Origins


class TestOrigins:
    @pytest.mark.parametrize(
        ("listed", "origin"),
        [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.Example.com:443", "https://app.example.com"),
            ("http://a.test, http://b.test:8080", "http://b.test:8080"),
            ("http://[2001:db8::1]:81", "http://[2001:db8::1]:81"),
            ("loopback", "http://localhost:5173"),
            ("loopback", "https://127.0.0.1"),
            ("loopback", "http://[::1]:3000"),
            ("*", "null"),
            ("*", "https://anywhere.test"),
        ],
    )
    def test_a_page_of_a_listed_origin_may(self, listed, origin):
        """As browsers write it: lower case, without the port that the scheme has anyway."""
        assert origin in Origins.read(listed)

    @pytest.mark.parametrize(
        ("listed", "origin"),
        [
            ("", "https://app.example.com"),
            ("https://app.example.com", "http://app.example.com"),
            ("https://app.example.com", "https://app.example.com:8443"),
            ("https://app.example.com", "https://app.example.com.evil.test"),
            ("https://app.example.com", "null"),
            ("loopback", "http://localhost.evil.test"),
            ("loopback", "http://127.0.0.1.evil.test"),
            ("loopback", "file://"),
            ("loopback", "null"),
            ("loopback", "http://[::1"),
        ],
    )
    def test_a_page_of_another_may_not(self, listed, origin):
        """However much it looks like one that may."""
        assert origin not in Origins.read(listed)

    @pytest.mark.parametrize(
        "text",
        ["example.com", "https://a.test/", "https://a.test/b", "https://u@a.test", "ftp://a.test", "null",
         "https://*.a.test", "https://a.test:port", "https://é.test", "https://[::1"],
    )  # fmt: skip
    def test_what_is_no_origin_is_refused(self, text):
        """With what is expected, and what came."""
        with pytest.raises(ConfigurationError, match="cors is a comma-separated list of origins such as https://") as e:
            Settings(cors=f"loopback,{text}")

        assert e.value.detail.endswith(f"not {text!r}")
