"""How often a credential may ask, how often an address may be wrong, and who it is behind a proxy."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

from connectome.config import Settings
from connectome.network import Proxies, Rate
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app
from connectome.web.limits import Buckets
from connectome.web.proxies import Forwarded

READ = "/collection/read/cr_reader/movies"
STRANGER = "/collection/read/cr_none/movies"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class TestBuckets:
    def test_as_many_as_are_allowed_may_come_at_once(self):
        """Then one for each part of the time that has passed."""
        clock = Clock()
        buckets = Buckets(Rate(3, 60), clock=clock)

        assert [buckets.take("a").left for _ in range(3)] == [2, 1, 0]
        assert buckets.take("a").wait_seconds == pytest.approx(20)
        clock.now += 20
        assert buckets.take("a").wait_seconds == 0
        assert buckets.take("a").wait_seconds == pytest.approx(20)

    def test_each_has_its_own(self):
        """One that is empty is nothing to another."""
        buckets = Buckets(Rate(1, 1), clock=Clock())
        buckets.take("a")

        assert (buckets.look("a").left, buckets.look("b").left) == (0, 1)

    def test_there_are_never_more_than_so_many(self):
        """Those that were asked for longest are forgotten."""
        buckets = Buckets(Rate(1, 1), size=2, clock=Clock())
        for key in ("a", "b", "a", "c"):
            buckets.take(key)

        assert [buckets.look(key).left for key in ("a", "b", "c")] == [1, 0, 0]

    @given(st.integers(1, 20), st.sampled_from([1, 60, 3600]), st.lists(st.floats(0, 100), max_size=80))
    def test_nobody_has_more_than_the_rate(self, count, seconds, waits):
        """Whenever requests come: in any stretch of time no more than fill the bucket and what flows in."""
        clock = Clock()
        buckets = Buckets(Rate(count, seconds), clock=clock)
        taken = []
        for wait in waits:
            clock.now += wait
            found = buckets.take("a")
            assert 0 <= found.left < count
            if not found.wait_seconds:
                taken.append(clock.now)
            else:
                assert 0 < found.wait_seconds <= seconds / count + 1e-3

        for first, start in enumerate(taken):
            for number, end in enumerate(taken[first:], 1):
                assert number <= count + (end - start) * count / seconds + 1e-3


@pytest.fixture
def clients(tmp_path):
    """Makes clients of an application over one collection, by settings; they come from 192.0.2.1."""
    with closing(Service(open_store(tmp_path / "data"))) as service:
        service.create(id="movies", credentials={"read": "cr_reader", "write": "cw_writer"})

        def make(**settings):
            settings = {"admin_token": "token", "data": tmp_path, "host": "0.0.0.0", **settings}
            return Client(create_app(Settings(**settings), service))

        yield make


def get(client, path=READ, address="192.0.2.1", **headers):
    """A GET from an address."""
    return client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


class TestRequestRate:
    def test_one_too_many_is_429(self, clients):
        """With when to come again, and the rest of the answer as every problem's."""
        client = clients(rate_limit="3/min")

        answers = [get(client) for _ in range(4)]

        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert answers[3].json == {
            "type": "urn:connectome:TooManyRequests",
            "title": "Too many requests",
            "status": 429,
            "detail": "this credential may be used for 3 requests in 60 s, and these have been sent",
            "code": "TooManyRequests",
        }
        assert answers[3].headers["Retry-After"] == "20"
        assert answers[3].headers["RateLimit"] == '"credential";r=0;t=60'

    def test_each_answer_says_where_one_stands(self, clients):
        """As the draft has it; a problem too."""
        client = clients(rate_limit="3/min")

        answers = [get(client), client.post(READ.replace("read", "readwithquery", 1), data=b"{")]

        assert [each.status_code for each in answers] == [200, 400]
        assert {each.headers["RateLimit-Policy"] for each in answers} == {'"credential";q=3;w=60'}
        assert [each.headers["RateLimit"] for each in answers] == ['"credential";r=2;t=20', '"credential";r=1;t=40']

    def test_each_credential_is_counted_alone(self, clients):
        """In the path or in the header, it is the same one."""
        client = clients(rate_limit="1/h")
        write = {"path": "/collection/write/cw_writer/movies", "data": b"{}"}

        assert get(client).status_code == 200
        assert get(client, READ.replace("cr_reader", "-"), Authorization="Bearer cr_reader").status_code == 429
        assert client.post(**write).status_code == 201
        assert get(client, STRANGER).status_code == 401

    def test_by_default_there_is_none(self, clients):
        """And nothing is said of one."""
        assert "RateLimit" not in get(clients()).headers


class TestFailedCredentials:
    def test_an_address_that_is_wrong_too_often_is_barred(self, clients):
        """For right credentials too: who guesses learns nothing."""
        client = clients(failure_limit="3/min")

        answers = [get(client, path) for path in (READ, STRANGER, STRANGER, STRANGER, STRANGER, READ)]

        assert [each.status_code for each in answers] == [200, 401, 401, 401, 429, 429]
        assert answers[-1].headers["Retry-After"] == "20"
        assert answers[-1].json["code"] == "TooManyRequests"
        assert answers[-1].json["detail"] == "more than 3 wrong credentials came from this address in 60 s"

    def test_another_address_is_not(self, clients):
        """Of version 6, another subscriber's; one subscriber has more addresses than could be counted."""
        client = clients(failure_limit="1/h")
        get(client, STRANGER, "2001:db8:0:1::1")

        assert get(client, READ, "2001:db8:0:1::2").status_code == 429
        assert get(client, READ, "2001:db8:0:2::1").status_code == 200
        assert get(client, READ, "192.0.2.7").status_code == 200

    def test_a_wrong_token_of_the_administrator_counts(self, clients):
        """Where the right one opens most."""
        client = clients(failure_limit="1/h")
        path = "/-/admin/collections"

        answers = [get(client, path, Authorization=f"Bearer {token}") for token in ("wrong", "token")]

        assert [each.status_code for each in answers] == [401, 429]

    def test_so_does_a_wrong_login(self, clients):
        """To the console, by token or by link."""
        client = clients(failure_limit="2/h")
        options = {"headers": {"Sec-Fetch-Site": "same-origin"}, "environ_base": {"REMOTE_ADDR": "192.0.2.1"}}

        answers = [
            client.post("/login", data={"token": "wrong"}, **options),
            client.get("/login?token=wrong", **options),
            client.post("/login", data={"token": "token"}, **options),
        ]

        assert [each.status_code for each in answers] == [403, 403, 429]

    def test_the_other_role_is_no_guess(self, clients):
        """Nor is a session that has ended."""
        client = clients(failure_limit="1/h")

        for _ in range(3):
            assert get(client, READ.replace("cr_reader", "cw_writer")).status_code == 403
            assert get(client, "/collections/movies", Accept="application/json").status_code == 401

    @pytest.mark.parametrize(("settings", "barred"), [({}, False), ({"failure_limit": "10/min"}, False),
                                                      ({"failure_limit": "9/min"}, True)])  # fmt: skip
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_this_machine_is_counted_only_where_its_owner_wants_it(self, clients, address, settings, barred):
        """Who is wrong here is at work, and not yet done."""
        client = clients(**settings)

        answers = [get(client, STRANGER, address).status_code for _ in range(11)]

        assert (answers[-1] == 429) == barred

    def test_by_default_others_are(self, clients):
        """Ten times a minute."""
        client = clients()

        assert [get(client, STRANGER).status_code for _ in range(11)] == [401] * 10 + [429]

    def test_the_owner_may_have_no_limit(self, clients):
        """With an empty setting."""
        client = clients(failure_limit="")

        assert {get(client, STRANGER).status_code for _ in range(12)} == {401}


def seen(proxies, address, **headers):
    """Address, scheme and host of a client as the application sees them."""
    found = []

    def application(environ, _):
        found.append((environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]))
        return []

    given = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    environ = {"REMOTE_ADDR": address, "wsgi.url_scheme": "http", "HTTP_HOST": "inner:8000", **given}
    Forwarded(application, Proxies.read(proxies))(environ, None)
    return found[0]


class TestForwarded:
    @pytest.mark.parametrize(
        ("listed", "client"),
        [
            ("192.0.2.9", "192.0.2.9"),
            ("1.1.1.1, 192.0.2.9", "192.0.2.9"),
            ("192.0.2.9, 10.0.0.2", "192.0.2.9"),
            ("1.1.1.1, 192.0.2.9 , 10.0.0.3,10.0.0.2", "192.0.2.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("192.0.2.9:4711", "192.0.2.9"),
            ("nonsense", "10.0.0.1"),
            ("192.0.2.9, unknown, 10.0.0.2", "10.0.0.2"),
            ("", "10.0.0.1"),
            (",,,", "10.0.0.1"),
        ],
    )
    def test_the_client_is_the_first_from_the_right_who_is_no_proxy(self, listed, client):
        """What stands left of that it may have written itself."""
        assert seen("10.0.0.0/8", "10.0.0.1", x_forwarded_for=listed, x_forwarded_proto="https")[0] == client

    @pytest.mark.parametrize(
        ("forwarded", "expected"),
        [
            ("for=192.0.2.9", ("192.0.2.9", "http", "inner:8000")),
            ('For="[2001:db8::1]:4711";Proto=https;host=api.example.com', ("2001:db8::1", "https", "api.example.com")),
            ("for=1.1.1.1, for=192.0.2.9;proto=https, for=10.0.0.2", ("192.0.2.9", "http", "inner:8000")),
            ("for=_hidden", ("10.0.0.1", "http", "inner:8000")),
            (";=;,", ("10.0.0.1", "http", "inner:8000")),
        ],
    )
    def test_the_standard_header_is_read_too(self, forwarded, expected):
        """As RFC 7239 has it."""
        assert seen("10.0.0.0/8", "10.0.0.1", forwarded=forwarded) == expected

    def test_scheme_and_host_are_those_of_the_nearest_proxy(self):
        """The last of several."""
        headers = {"x_forwarded_proto": "http, https", "x_forwarded_host": "evil.test, api.example.com:8443"}

        assert seen("10.0.0.1", "10.0.0.1", **headers) == ("10.0.0.1", "https", "api.example.com:8443")

    @pytest.mark.parametrize(("proto", "host"), [("ftp", "a b"), ("", ""), ("javascript", "a/b"), ("https:", "é")])
    def test_what_is_neither_scheme_nor_host_is_left(self, proto, host):
        """As it was."""
        assert seen("10.0.0.1", "10.0.0.1", x_forwarded_proto=proto, x_forwarded_host=host)[1:] == (
            "http",
            "inner:8000",
        )

    def test_nobody_else_is_believed(self):
        """Whatever it sends."""
        headers = {"x_forwarded_for": "192.0.2.9", "x_forwarded_proto": "https", "x_forwarded_host": "evil.test"}

        assert seen("10.0.0.1", "192.0.2.1", **headers) == ("192.0.2.1", "http", "inner:8000")

    def test_of_two_headers_one_may_be_the_client_s(self):
        """A proxy that writes one and passes on the other is believed neither."""
        headers = {"x_forwarded_for": "192.0.2.9", "forwarded": "for=1.1.1.1"}

        assert seen("10.0.0.1", "10.0.0.1", **headers)[0] == "10.0.0.1"

    @pytest.mark.parametrize("kind", ["waitress", "granian"])
    def test_both_servers_pass_the_headers_on(self, servers, tmp_path, kind):
        """A client behind a proxy on this machine is barred, and the proxy is not."""
        pytest.importorskip("granian", reason="granian comes with the extra fast")
        options = ("--server", kind, "--trusted-proxy", "127.0.0.1", "--failure-limit", "1/h")
        with servers(tmp_path / "data", *options) as server:
            collection = server.admin.collection([])

            def status(address, credential=None):
                headers = {"X-Forwarded-For": address}
                return collection.call("read", credential=credential, headers=headers).status_code

            assert [status("192.0.2.1", "cr_none"), status("192.0.2.1"), status("192.0.2.2")] == [401, 429, 200]
