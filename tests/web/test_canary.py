"""A credential that goes through everything is found nowhere: in no log, in no answer, in no file but its own."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from connectome.web.serving import has_granian
from tests.conftest import COMMANDS, METHODS, Server

FIXED = {"read": "the-owners-own-canary-r", "write": "the-owners-own-canary-w"}
WRONG = ["cr_CanaryCanaryCanaryCanaryCanaryCa", "a-canary-of-no-form-at-all", "ca_CanaryCanaryCanaryCanaryCanaryCa"]
# Everything is logged that anything here logs; and one operation fails in a way that nobody foresaw.
PROGRAM = """
import logging
from dataclasses import replace
logging.basicConfig(level=logging.DEBUG)
from connectome import cli
from connectome.web import api

def fail(collection, body, request):
    raise RuntimeError(f"{request.environ['PATH_INFO']} {request.environ}")

api.OPERATIONS["read"] = replace(api.OPERATIONS["read"], function=fail)
cli.main()
"""
BODIES = ["", "{", "[]", '{"query": {"$gtt": 1}}', '{"a": {"$date": "x"}}', "{}"]
PAGES = ["/", "/activity", "/server", "/new", *(f"/collections/films{each}" for each in ("", "/activity", "/schema"))]


class Passage:
    """
    A server, and everything that could betray a credential.

    canaries: what must not be found.
    answers: what each answer said, by what was asked.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.admin = server.admin
        self.canaries = [*FIXED.values(), *WRONG, self.admin.token]
        self.answers: list[tuple[str, str]] = []
        self.keys: list[dict[str, str]] = []

    def create(self, **settings: Any) -> None:
        keys = self.admin.request("POST", "", settings).json()["credentials"]
        self.keys.append(keys)
        self.canaries += keys.values()

    def ask(self, method: str, path: str, body: str = "", **options: Any) -> requests.Response:
        answer = self.server.request(method, path, body, allow_redirects=False, **options)
        self.answers.append((f"{method} {path[:12]}", f"{answer.headers} {answer.text}"))
        return answer

    def raw(self, request: str) -> None:
        """Bytes that are no request."""
        host, port = self.server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request.encode("latin1"))
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while more := connection.recv(4096):
                answer += more
        self.answers.append(("raw", answer.decode("latin1")))


def every_operation(passage: Passage) -> None:
    credentials = [*FIXED.values(), *WRONG, *(each for keys in passage.keys for each in keys.values())]
    for credential in credentials:
        for operation, method in METHODS.items():
            for collection in ("films", "nothing", credential):
                passage.ask(method, f"/collection/{operation}/{credential}/{collection}", "{}")
            passage.ask(
                method, f"/collection/{operation}/-/films", "{}", headers={"Authorization": f"Bearer {credential}"}
            )
            passage.ask("PUT", f"/collection/{operation}/{credential}/films")
            for body in BODIES:
                passage.ask(method, f"/collection/{operation}/{credential}/films?max_affected=no&explain=no", body)
        for method in ("HEAD", "OPTIONS", "TRACE"):
            passage.ask(method, f"/collection/read/{credential}/films")


def every_wrong_place(passage: Passage) -> None:
    for credential in [*WRONG, passage.keys[0]["read"], FIXED["write"]]:
        for path in (
            "/{}",
            "/collection/{}",
            "/collection/{}/read/films",
            "/collection/read/{}",
            "/-/{}",
            "/-/admin/{}",
        ):
            passage.ask("GET", path.format(credential))
        passage.ask("GET", f"/collection/read/{credential}/films/more")
        passage.ask("GET", f"//collection//read/{credential}/films")
        passage.ask(
            "GET", f"/-/health?token={credential}", headers={"Referer": f"http://x/collection/read/{credential}/y"}
        )
        passage.ask("GET", f"/login?token={credential}")
        passage.ask("GET", "/-/admin/collections", headers={"Authorization": f"Bearer {credential}"})
        passage.ask("GET", "/-/admin/collections", headers={"Authorization": f"Basic {credential}"})
        # What has no form of ours is as good a name for a request as any.
        named = {"X-Request-Id": credential} if credential != WRONG[1] else {}
        passage.ask("GET", "/-/health", headers={"Cookie": f"session={credential}", **named})
        passage.ask(
            "POST", "/login", f"token={credential}", headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        passage.raw(f"GET /collection/read/{credential}/films\r\n\r\n")
        passage.raw(f"GET /collection/read/{credential}/films HTTP/1.1\r\nContent-Length: x\r\n\r\n")
        passage.raw(f"GET /collection/read/{credential}/films HTTP/1.1\r\nHost: x\r\nX: \x00{credential}\r\n\r\n")
        passage.raw(f"POST /collection/write/{credential}/films HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{")
        passage.raw(f"{credential}\r\n\r\n")


def every_page(passage: Passage, link: str) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        browser.headers["Accept"] = "text/html"
        assert browser.get(link).status_code == 200
        for path in PAGES:
            answer = browser.get(passage.server.url + path)
            assert answer.status_code == 200
            passage.answers.append((path, answer.text))


@pytest.fixture(params=["waitress", "granian", "gunicorn"])
def speaking(request: pytest.FixtureRequest) -> str:
    """Each server that is installed."""
    if request.param == "granian" and not has_granian():
        pytest.skip("granian is an extra, and not installed here")
    return str(request.param)


@pytest.fixture(params=["text", "json"])
def passage(
    tmp_path: Path, speaking: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Passage]:
    monkeypatch.setitem(COMMANDS, "canary", ["-c", PROGRAM])
    options = ("--server", speaking, "--access-log", "--log-format", request.param)
    server = Server(tmp_path / "data", *options, road="canary")
    try:
        yield Passage(server)
    finally:
        server.end()


def test_no_credential_is_found_where_it_has_no_business(passage):
    """Right, fixed and wrong ones, in their place and in others, with all that can go wrong, unforeseen too."""
    data = passage.server.data
    link = next(found[0] for line in passage.server.process.stdout if (found := re.search(r"http\S+/login\S+", line)))
    passage.create(id="films")
    passage.create(id="fixed", credentials=FIXED)
    passage.create(id="gone")
    passage.keys.append(passage.admin.request("POST", "/films/credentials/read", {"grace": 60}).json())
    added = passage.admin.request("POST", "/films/credentials", {"name": "ci", "role": "write"}).json()
    passage.keys.append({"ci": added["credential"]})
    passage.canaries += [each for keys in passage.keys for each in keys.values()]
    passage.admin.request("DELETE", "/gone")

    every_operation(passage)
    every_wrong_place(passage)
    every_page(passage, link)
    title = Path(f"/proc/{passage.server.process.pid}/cmdline")
    texts = {"the process title": title.read_text() if title.exists() else ""}
    passage.server.end()

    output = passage.server.output
    assert any('"status":500' in text for _, text in passage.answers)
    assert "RuntimeError: /collection/read/…" in output
    texts["the output"] = output
    texts |= {f"{n} {asked}": text for n, (asked, text) in enumerate(passage.answers)}
    texts |= {
        path.name: path.read_text("latin1")
        for path in data.rglob("*")
        if path.is_file() and path.name not in ("connectome.credentials.json", "connectome.administrator.json")
    }
    found = [(where, canary) for where, text in texts.items() for canary in passage.canaries if canary in text]
    assert found == []
    assert re.search(r"/collection/readwithquery/<credential>/films", output)
