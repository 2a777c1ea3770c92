"""Pages of other origins: who may call what, and what a browser makes of the answers."""

from __future__ import annotations

import http.server
import threading
from contextlib import closing

import pytest
from werkzeug.test import Client

from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app

PAGE = "https://app.example.com"
READ = "/collection/readwithquery/cr_reader/movies"


@pytest.fixture
def clients(tmp_path):
    """Makes clients of an application over one collection, by the setting: ``clients("loopback")``."""
    with closing(Service(open_store(tmp_path / "data"))) as service:
        service.create(id="movies", credentials={"read": "cr_reader", "write": "cw_writer"})
        service.writer("cw_writer", "movies").insert_one({"_id": 1})
        yield lambda cors: Client(create_app(Settings(data=tmp_path, cors=cors, admin_token="token"), service))


def preflight(client, path=READ, origin=PAGE, **headers):
    """What a browser asks before it sends a page's request."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return client.options(path, headers=asked)


class TestPreflight:
    def test_it_is_answered(self, clients):
        """A page that may is told of methods, headers, and for how long."""
        response = preflight(clients(PAGE))

        assert (response.status_code, response.data) == (204, b"")
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE"
        allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"Authorization", "Content-Type", "If-None-Match"} <= {*allowed}
        assert response.headers["Access-Control-Max-Age"] == "7200"
        assert response.headers.getlist("Vary")[0] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers

    def test_headers_of_our_own_are_allowed_by_their_name(self, clients):
        """There is no pattern for them in the header; what else is asked for is not repeated."""
        response = preflight(
            clients(PAGE),
            **{"Access-Control-Request-Headers": "x-evil, connectome-delay, connectome-é, connectome-\x01"},
        )

        allowed = response.headers["Access-Control-Allow-Headers"]
        assert allowed.endswith(", connectome-delay")
        assert "evil" not in allowed

    def test_a_server_of_the_local_network_says_that_it_may_be_called(self, clients):
        """To a page of a public origin that asks for it."""
        response = preflight(clients(PAGE), **{"Access-Control-Request-Private-Network": "true"})

        assert response.headers["Access-Control-Allow-Private-Network"] == "true"

    @pytest.mark.parametrize("cors", ["", "https://other.example.com", "loopback"])
    def test_a_page_that_may_not_is_told_nothing(self, clients, cors):
        """The browser takes that for a no."""
        response = preflight(clients(cors))

        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]

    @pytest.mark.parametrize("path", ["/-/admin/collections", "/-/health", "/login", "/"])
    def test_administration_and_console_are_for_no_page(self, clients, path):
        """Whatever the setting says."""
        client = clients("*")

        for response in (preflight(client, path), client.get(path, headers={"Origin": PAGE})):
            assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


class TestAnswers:
    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [(READ, b"{}", 200), (READ, b"{", 400), (READ.replace("cr_reader", "cr_none"), b"{}", 401),
         (READ.replace("readwithquery", "raed"), b"{}", 404), (READ.replace("/movies", ""), b"{}", 404)],
    )  # fmt: skip
    def test_a_page_that_may_reads_every_answer(self, clients, path, body, status):
        """Problems too, whichever road they come."""
        response = clients(PAGE).post(path, data=body, headers={"Origin": PAGE})

        assert response.status_code == status
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
        assert response.headers["Vary"] == "Origin"

    def test_any_page_may_where_all_may(self, clients):
        """The answer is the same for each, so it does not hang on the origin."""
        response = clients("*").post(READ, data=b"{}", headers={"Origin": "null"})

        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in response.headers

    def test_a_page_that_may_not_is_answered_as_anybody(self, clients):
        """It is the browser that keeps it from reading; a shared cache learns that the origin matters."""
        response = clients(PAGE).post(READ, data=b"{}", headers={"Origin": "https://evil.test"})

        assert response.status_code == 200
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"


@pytest.fixture
def page_url(tmp_path):
    """Where an empty page of another origin is served."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Another origin</title>")

        def log_message(self, *_):
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


ASK = """async ([url, method, body]) => {
    try {
        const answer = await fetch(url, {method, body, headers: {
            "Authorization": "Bearer cr_reader", "Content-Type": "application/json", "If-None-Match": '"old"'}});
        return [answer.status, answer.headers.get("Retry-After"), await answer.text()];
    } catch (error) {
        return error.message;
    }
}"""


class TestBrowser:
    def test_a_page_of_another_origin_reads_what_it_may(self, servers, tmp_path, page_url, browser):
        """Chromium lets a page on this machine call the operations, and keeps it from administration."""
        with (
            servers(tmp_path / "data", "--cors", "loopback") as server,
            closing(browser.new_page()) as page,
        ):
            credentials = {"read": "cr_reader", "write": "cw_writer"}
            server.admin.collection([{"_id": 1}], id="movies", credentials=credentials)
            page.goto(page_url)

            def ask(method, path, body=None):
                return page.evaluate(ASK, [server.url + path, method, body])

            assert ask("POST", "/collection/readwithquery/-/movies", "{}") == [200, None, '[{"_id":1}]\n']
            assert ask("POST", "/collection/readwithquery/cr_none/movies", "{}")[0] == 401
            assert ask("DELETE", "/collection/batchdelete/cw_writer/movies", "{}")[0] == 200
            assert ask("GET", "/-/admin/collections") == "Failed to fetch"

    def test_a_page_of_an_origin_that_is_not_listed_reads_nothing(self, servers, tmp_path, page_url, browser):
        """By default there is none that may."""
        with (
            servers(tmp_path / "data") as server,
            closing(browser.new_page()) as page,
        ):
            server.admin.collection([{"_id": 1}], id="movies", credentials={"read": "cr_reader", "write": "cw_writer"})
            page.goto(page_url)

            asked = [f"{server.url}/collection/read/cr_reader/movies", "GET", None]

            assert page.evaluate(ASK, asked) == "Failed to fetch"
