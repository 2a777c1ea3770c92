"""What settings say of the network, as the owner writes it."""

from __future__ import annotations

import pytest

from connectome.config import Settings
from connectome.errors import ConfigurationError
from connectome.network import Origins, Proxies, Rate


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


class TestRate:
    @pytest.mark.parametrize(
        ("text", "rate"),
        [("50/s", Rate(50, 1)), ("10/min", Rate(10, 60)), (" 1000 / h ", Rate(1000, 3600)), ("", None)],
    )
    def test_it_is_read(self, text, rate):
        """So many in a second, a minute, an hour; or no limit."""
        assert Rate.read("rate_limit", text) == rate

    @pytest.mark.parametrize("text", ["50", "0/s", "-1/s", "50/d", "1.5/s", "50/s/s", "s", "off"])
    def test_what_is_no_rate_is_refused(self, text):
        """With what is expected, and what came."""
        with pytest.raises(ConfigurationError, match=f"failure_limit is so many requests .*, not {text!r}"):
            Settings(failure_limit=text)


class TestProxies:
    @pytest.mark.parametrize(
        ("listed", "address"),
        [("127.0.0.1", "127.0.0.1"), ("10.0.0.0/8, ::1", "10.1.2.3"), ("10.0.0.0/8, ::1", "::1"),
         ("2001:db8::/32", "[2001:db8::7]:80"), ("192.0.2.1", "::ffff:192.0.2.1"), ("192.0.2.1", "192.0.2.1:4711")],
    )  # fmt: skip
    def test_an_address_is_found(self, listed, address):
        """By itself or in its network, however it is written."""
        assert address in Proxies.read(listed)

    @pytest.mark.parametrize("address", ["", "unknown", "_hidden", "192.0.2.2", "192.0.2.1.evil.test", "::1"])
    def test_another_is_not(self, address):
        """Nor is what is none."""
        assert address not in Proxies.read("192.0.2.1")

    @pytest.mark.parametrize("text", ["proxy.example.com", "10.0.0.1/8", "10.0.0.0/33", "*"])
    def test_what_is_no_network_is_refused(self, text):
        """With what is expected, and what came."""
        with pytest.raises(ConfigurationError, match="trusted_proxy is a comma-separated list of the addresses of "):
            Settings(trusted_proxy=text)
