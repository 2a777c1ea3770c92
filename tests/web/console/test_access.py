"""Who may see the console: links, tokens, sessions, host names, origins; and what a browser may load."""

from __future__ import annotations

import re

import pytest
from flask import url_for
from flask.testing import FlaskClient

from connectome.web import console
from connectome.web.console.sessions import LINK_SECONDS, MAX_LINKS, MAX_SESSIONS, SESSION_SECONDS, Sessions

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
TOKEN = "a-token-that-somebody-chose"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(clock)


class TestSessions:
    def test_a_link_opens_one_session(self, sessions):
        """A link is used up by its first use."""
        link = sessions.link()

        assert sessions.get(sessions.redeem(link))
        assert sessions.redeem(link) is None

    def test_a_link_ends(self, sessions, clock):
        """After fifteen minutes a link opens nothing."""
        link = sessions.link()
        clock.now += LINK_SECONDS

        assert sessions.redeem(link) is None

    def test_a_session_ends(self, sessions, clock):
        """After a week a session is none any more."""
        secret = sessions.open()
        clock.now += SESSION_SECONDS

        assert sessions.get(secret) is None

    def test_a_closed_session_is_none(self, sessions):
        """Who signed out is nobody."""
        secret = sessions.open()
        sessions.close(secret)

        assert sessions.get(secret) is None

    def test_a_guess_is_none(self, sessions):
        """What was never given out opens nothing, a lone surrogate included."""
        sessions.open(), sessions.link()

        assert [sessions.get(guess) for guess in ("", "x", "\ud800")] == [None] * 3
        assert sessions.redeem("\ud800") is None

    def test_neither_grows_without_bound(self, sessions):
        """The oldest gives way to the newest."""
        opened = [sessions.open() for _ in range(MAX_SESSIONS + 1)]
        links = [sessions.link() for _ in range(MAX_LINKS + 1)]

        assert (sessions.get(opened[0]), bool(sessions.get(opened[1]))) == (None, True)
        assert (sessions.redeem(links[0]), bool(sessions.redeem(links[1]))) == (None, True)


class TestLogin:
    def test_a_page_leads_to_the_login(self, console_):
        """Who is not signed in is led to the login, and from there to where they wanted to go."""
        response = console_.client(signed_in=False).get("/activity?a=b")

        assert (response.status_code, response.headers["Location"]) == (303, "/login?next=/activity%3Fa%3Db")

    def test_a_script_is_told(self, console_, problem_of):
        """A script without a session gets a problem, no page."""
        response = console_.client(signed_in=False).get("/", headers={"Accept": "application/json"})

        assert problem_of(response) == (401, "the console needs a session: sign in at /login")

    def test_the_link_signs_in_once(self, console_):
        """The link of the start is exchanged for a cookie that no script can read, and no other site can send."""
        client, path = console_.client(signed_in=False), console.login_path(console_.app)

        response = client.get(path)
        again = console_.client(signed_in=False).get(path)

        assert (response.status_code, response.headers["Location"]) == (303, "/")
        assert re.fullmatch(
            r"connectome_80=[\w-]{43}; Expires=[^;]+; Max-Age=604800; HttpOnly; Path=/; SameSite=Strict",
            response.headers["Set-Cookie"],
        )
        assert client.get("/").status_code == 200
        assert (again.status_code, "Set-Cookie" in again.headers) == (403, False)

    def test_looking_at_a_link_does_not_use_it_up(self, console_):
        """HEAD, which programs send to preview a link, leaves it as it is."""
        client, path = console_.client(signed_in=False), console.login_path(console_.app)

        client.head(path)

        assert client.get(path).headers["Location"] == "/"

    def test_a_link_is_not_used_up_by_who_is_signed_in(self, client, console_):
        """A second click in the same browser leads to the console."""
        path = console.login_path(console_.app)

        assert client.get(path).headers["Location"] == "/"
        assert console_.client(signed_in=False).get(path).headers["Location"] == "/"

    def test_the_administrator_s_token_signs_in(self, console_, service):
        """The token of the data directory does what the link does, and leads to where one wanted to go."""
        client = console_.client(signed_in=False)

        response = client.post("/login", data={"token": service.administrator_token(), "next": "/server"})

        assert (response.status_code, response.headers["Location"]) == (303, "/server")
        assert client.get("/server").status_code == 200

    @pytest.mark.parametrize("token", ["", "wrong", "\u00fc", "cr_"])
    def test_another_token_does_not(self, console_, token):
        """A wrong token is refused, with the form once more."""
        client = console_.client(signed_in=False)

        response = client.post("/login", data={"token": token})

        assert response.status_code == 403
        assert "not the administrator’s token" in response.text.replace("&#39;", "’")
        assert client.get("/").status_code == 303

    @pytest.mark.parametrize(
        "wanted",
        ["//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", "/a\r\nb: c", ""],
    )
    def test_the_login_leads_nowhere_else(self, console_, service, wanted):
        """Whatever ``next`` says, it is a path of this console."""
        response = console_.client(signed_in=False).post(
            "/login", data={"token": service.administrator_token(), "next": wanted}
        )

        assert response.headers["Location"] == "/"

    def test_who_signs_out_is_out(self, client):
        """The session has ended at the server, not in the browser alone."""
        cookie = client.get_cookie("connectome_80").value
        client.post("/logout")
        client.set_cookie("connectome_80", cookie)

        assert client.get("/").status_code == 303

    def test_servers_of_one_machine_do_not_share_a_cookie(self, consoles):
        """Browsers keep cookies by host, whatever the port: each server's has a name of its own."""
        client = consoles().client(signed_in=False)

        response = client.get("/login", headers={"Host": "localhost:8001"})
        assert response.status_code == 200
        response = client.get(console.login_path(client.application), headers={"Host": "localhost:8001"})

        assert response.headers["Set-Cookie"].startswith("connectome_8001=")

    def test_the_token_is_on_no_page(self, client, service):
        """The administrator's token is shown nowhere."""
        for path in ("/", "/server", "/activity", "/login", "/collections/movies/settings"):
            assert service.administrator_token() not in client.get(path).text


class TestHostNames:
    @pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:80", "127.9.9.9", "[::1]:8000"])
    def test_the_loopback_s_own_are_answered(self, client, host):
        """A server on the loopback answers to the loopback's names, on any port."""
        assert client.get("/login", headers={"Host": host}).status_code in (200, 303)

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8000",
            "10.0.0.1",
            "[::2]",
            "",
            "[",
            "localhost:99999",
            "localhost:x",
            "a@localhost",
        ],
    )
    @pytest.mark.parametrize("path", ["/", "/login", "/-/console/console.js"])
    def test_no_other_is(self, client, host, path):
        """What a name of somebody else's leads here for is not even looked at: DNS rebinding."""
        response = client.get(path, headers={"Host": host})

        assert response.status_code in (400, 421)
        assert "Set-Cookie" not in response.headers

    def test_the_api_answers_to_any(self, client, service):
        """Behind a proxy the API has a public name; its credentials are guard enough."""
        read = service.describe("movies")["credentials"]["read"]

        response = client.get(f"/collection/read/{read}/movies", headers={"Host": "api.example"})

        assert response.status_code == 200


class TestOrigins:
    def change(self, client, **headers):
        return client.post("/collections/movies/settings/title", data={"title": "Films"}, headers=headers).status_code

    def test_a_page_of_ours_may_change_things(self, client):
        """A browser says that the form came from here."""
        assert self.change(client, **{"Sec-Fetch-Site": "same-origin"}) == 303

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
    def test_a_page_of_others_may_not(self, client, service, site):
        """Not even another port of this machine may post a form here."""
        assert self.change(client, **{"Sec-Fetch-Site": site, "Origin": "http://localhost"}) == 403
        assert service.describe("movies")["title"] == "Movies"

    @pytest.mark.parametrize(
        ("origin", "status"),
        [
            ("http://localhost", 303),
            ("http://localhost:81", 403),
            ("http://evil.example", 403),
            ("null", 403),
            (None, 403),
        ],
    )
    def test_an_old_browser_is_asked_for_the_origin(self, console_, client, origin, status):
        """Where a browser does not say whether it is the same site, the origin decides; without one nothing changes."""
        plain = FlaskClient(console_.app, console_.app.response_class)
        plain.set_cookie("connectome_80", client.get_cookie("connectome_80").value)

        assert self.change(plain, **({"Origin": origin} if origin else {})) == status

    def test_nobody_can_be_signed_in_by_others(self, console_, service):
        """A page elsewhere cannot sign a browser in."""
        response = console_.client(signed_in=False).post(
            "/login", data={"token": service.administrator_token()}, headers={"Sec-Fetch-Site": "cross-site"}
        )

        assert (response.status_code, "Set-Cookie" in response.headers) == (403, False)


class TestOtherAddresses:
    @pytest.mark.parametrize("path", ["/", "/login", "/activity", "/nowhere"])
    def test_without_a_token_the_console_is_off(self, consoles, path):
        """Where other machines can reach the server, and nobody chose a token, there is no console."""
        made = consoles(host="0.0.0.0")

        response = made.client(signed_in=False).get(path)

        assert response.status_code == (404 if path == "/nowhere" else 403)
        assert console.login_path(made.app) is None

    def test_the_page_says_so(self, consoles):
        """``/`` says why there is no console, and what to do."""
        assert "start it with CONNECTOME_ADMIN_TOKEN" in consoles(host="::").client(signed_in=False).get("/").text

    def test_with_a_token_it_is_on(self, consoles):
        """With a token it is there, under whatever name the server has."""
        client = consoles(host="0.0.0.0", admin_token=TOKEN).client(signed_in=False)
        headers = {"Host": "data.example:8000"}

        assert client.post("/login", data={"token": TOKEN}, headers=headers).status_code == 303

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
    def test_the_loopback_needs_none(self, consoles, host):
        """On the machine's own addresses the link of the start is enough."""
        assert consoles(host=host).client().get("/").status_code == 200


class TestEveryRoute:
    def test_needs_a_session(self, console_):
        """No page of the console but the login is shown to whoever is not signed in."""
        client = console_.client(signed_in=False)
        shown = set()
        for rule in console_.app.url_map.iter_rules():
            if not rule.endpoint.startswith("console."):
                continue
            with console_.app.test_request_context():
                path = url_for(
                    rule.endpoint,
                    **{name: {"role": "read", "format": "http"}.get(name, "movies") for name in rule.arguments},
                )
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                if client.open(path, method=method).status_code != 303:
                    shown.add(f"{method} {rule.rule}")

        assert shown == {"GET /login", "POST /login", "GET /-/console/<path:filename>"}

    @pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/collections/none", "/-/console/console.css"])
    def test_may_load_what_is_here_alone(self, client, path):
        """Every answer of the console carries the policy."""
        headers = client.get(path).headers

        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"

    def test_no_page_holds_what_the_policy_forbids(self, client):
        """No style, handler or script stands in a page: only files of ours are loaded."""
        for path in (
            "/",
            "/new",
            "/activity",
            "/server",
            "/collections/movies/settings",
            "/collections/movies/created",
        ):
            page = client.get(path).text
            assert not re.search(r"\s(style|on\w+)=|<style|<script(?![^>]* src=\"/-/console/)", page)

    def test_pages_are_kept_nowhere_and_files_are_asked_for_anew(self, client):
        """Credentials stand in pages; the files of the console may be kept, and are compared by their ETag."""
        assert client.get("/").headers["Cache-Control"] == "no-store"

        file = client.get("/-/console/console.css")
        assert file.headers["Cache-Control"] == "no-cache"
        etag = {"If-None-Match": file.headers["ETag"]}
        assert client.get("/-/console/console.css", headers=etag).status_code == 304


class TestErrors:
    def test_a_browser_gets_a_page(self, client):
        """An error in the console is a page, with the detail of the problem and its status."""
        response = client.get("/collections/movie/settings")

        assert (response.status_code, response.mimetype) == (404, "text/html")
        assert "there is no collection &#39;movie&#39;; did you mean &#39;movies&#39;?" in response.text

    def test_a_script_gets_a_problem(self, client, problem_of):
        """The same error, for a script."""
        response = client.get("/collections/none/settings", headers={"Accept": "application/json"})

        assert problem_of(response) == (404, "there is no collection 'none'")

    def test_a_path_that_leads_nowhere(self, client):
        """A browser gets a page; a script, and whoever asks the API, a problem."""
        assert client.get("/nowhere").mimetype == "text/html"
        assert client.get("/collection/nowhere").mimetype == "application/problem+json"
        assert client.get("/nowhere", headers={"Accept": "*/*"}).mimetype == "application/problem+json"

    def test_a_wrong_method(self, client):
        """It is 405 with the methods that there are, as everywhere."""
        response = client.post("/activity")

        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
