"""What tests share: a data directory, its store; a real ``connectome serve``, its administrator, a collection."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from mongodb_server import MongoDBServer, new_database
from playwright.sync_api import Browser, sync_playwright

from connectome.stores import Store, open_store

MOVIES = [
    {"amount": 10, "title": "Movie ABC"},
    {"amount": 100, "title": "Movie BDD"},
    {"amount": 39, "title": "Movie XYZ"},
]
METHODS = {
    "readwithquery": "POST",
    "read": "GET",
    "write": "POST",
    "batchwrite": "POST",
    "updatewithupsert": "POST",
    "batchdelete": "DELETE",
}
# The command, and the same without the express lane, so that Flask serves everything.
COMMANDS = {
    "express": ["-m", "connectome"],
    "flask": ["-c", "from connectome import cli, web; web.ExpressLane = lambda onward, _: onward; cli.main()"],
}
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SECRET = re.compile(r"c[arw]_[A-Za-z0-9_-]{32}")


def encoded(body: Any) -> bytes:
    """A body as it is sent: bytes and text as they are, any other value as JSON."""
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


class Server:
    """
    A ``connectome serve`` process over a data directory.

    url: where it listens, as its first line says.
    output: all that it wrote, stdout then stderr; known once it has ended.
    """

    def __init__(self, data: Path, *options: str, road: str = "express", token: str = "") -> None:
        self.data = data
        self.token = token
        self.output = ""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed when the process has ended
        self.process = subprocess.Popen(
            [sys.executable, *COMMANDS[road], "serve", str(data), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("CONNECTOME_")},
                **({"CONNECTOME_ADMIN_TOKEN": token} if token else {}),
            },
        )
        self._session = requests.Session()
        self._session.trust_env = False
        self._greeting = self.process.stdout.readline()
        if not (found := re.search(r" at (http://\S+),", self._greeting)):
            self.end()
            raise AssertionError(f"the server did not start: {self.output}")
        self.url = found[1]

    @property
    def admin(self) -> Administrator:
        """The administrator, with the token that the server was given, or that the data directory keeps."""
        if self.token:
            return Administrator(self, self.token)
        return Administrator(self, json.loads((self.data / "connectome.administrator.json").read_text())["token"])

    def request(self, method: str, path: str, body: Any = b"", **options: Any) -> requests.Response:
        """One request; an empty body is none."""
        return self._session.request(method, self.url + path, data=encoded(body) or None, **options)

    def end(self, signal: int = signal.SIGTERM) -> int:
        """Stop the process with a signal, where it still runs; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal)
        if not self._errors.closed:
            try:
                self.process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
            self.output = self._greeting + self.process.stdout.read()
            self.process.stdout.close()
            self._errors.seek(0)
            self.output += self._errors.read()
            self._errors.close()
            self._session.close()
        return self.process.returncode


class Collection:
    """A collection on a server, with the credentials of both roles."""

    def __init__(self, server: Server, described: dict[str, Any]) -> None:
        self.server = server
        self.id = described["id"]
        self.read_credential = described["credentials"]["read"]
        self.write_credential = described["credentials"]["write"]

    def credential(self, operation: str) -> str:
        """The credential that an operation needs."""
        return self.read_credential if operation.startswith("read") else self.write_credential

    def path(self, operation: str, credential: str | None = None) -> str:
        """The path of an operation, with its own credential where no other is given."""
        return f"/collection/{operation}/{credential or self.credential(operation)}/{self.id}"

    def url(self, operation: str, credential: str | None = None) -> str:
        """The URL of an operation."""
        return self.server.url + self.path(operation, credential)

    def call(self, operation: str, body: Any = b"", *, credential: str | None = None, **options: Any) -> Any:
        """The response to an operation, by its own method and credential."""
        return self.server.request(METHODS[operation], self.path(operation, credential), body, **options)

    def read(self, body: Any) -> list[Any]:
        """The documents that ``readwithquery`` finds, without those ``_id`` that were made."""
        found = self.call("readwithquery", body)
        assert found.status_code == 200, found.text
        return [without_made_id(document) for document in found.json()]

    @property
    def documents(self) -> list[Any]:
        """All documents, without those ``_id`` that were made."""
        return self.read({})

    @property
    def file(self) -> Path:
        """Where the server keeps the documents."""
        return self.server.data / f"{self.id}.json"


def without_made_id(document: dict[str, Any]) -> dict[str, Any]:
    """A document without an ``_id`` of 24 hexadecimal digits."""
    made = re.fullmatch("[0-9a-f]{24}", str(document.get("_id", "")))
    return {name: value for name, value in document.items() if name != "_id" or not made}


class Administrator:
    """Who holds the token of a server: ``/-/admin/collections`` and what lies below it."""

    def __init__(self, server: Server, token: str) -> None:
        self.server = server
        self.token = token

    def request(self, method: str, path: str = "", body: Any = b"", **options: Any) -> requests.Response:
        """One request, with the token."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.server.request(method, "/-/admin/collections" + path, body, headers=headers, **options)

    def describe(self, collection: Collection) -> dict[str, Any]:
        """What the server says of a collection."""
        return self.request("GET", f"/{collection.id}").json()

    def collection(self, documents: list[Any] | None = None, **settings: Any) -> Collection:
        """A new collection with these documents."""
        created = self.request("POST", "", settings)
        assert created.status_code == 201, created.text
        collection = Collection(self.server, created.json())
        if documents:
            written = collection.call("batchwrite", documents)
            assert written.status_code == 201, written.text
        return collection


@contextmanager
def running(data: Path, *options: str, road: str = "express", token: str = "") -> Iterator[Server]:
    """A server for the length of a ``with``; it writes no traceback, and ends well where the test did not end it."""
    server = Server(data, *options, road=road, token=token)
    try:
        yield server
        stopped_by_the_test = server.process.poll() is not None
    finally:
        status = server.end()
    assert "Traceback" not in server.output, server.output
    assert stopped_by_the_test or status == 0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a data directory may be made; nothing is there yet."""
    return tmp_path / "data"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    """The store of ``directory``, opened in this process."""
    with closing(open_store(directory)) as store:
        yield store


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a MongoDB server, without a database: the one that is named, else one of the tests' own."""
    if named := os.environ.get("CONNECTOME_TEST_MONGODB"):
        yield named.rstrip("/")
        return
    with closing(MongoDBServer()) as server:
        yield server.url


@pytest.fixture
def database(mongodb: str) -> Iterator[str]:
    """The URL of a database in which nothing is yet, and after the test nothing is left."""
    with new_database(mongodb) as url:
        yield url


@pytest.fixture(scope="session")
def servers() -> Callable[..., AbstractContextManager[Server]]:
    """Servers over any directory: ``with servers(tmp_path, "--threads", "2") as server``."""
    return running


@pytest.fixture(scope="session", params=["express", "flask", "mongodb"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """
    A server that the whole session shares, once for each road to the operations, and once over MongoDB.

    The first runs on what is taken by itself, which is granian where it is installed, the second on waitress.
    """
    data = tmp_path_factory.mktemp("data")
    if request.param == "mongodb":
        with (
            new_database(request.getfixturevalue("mongodb")) as url,
            running(data, "--store", url, token="ca_of_the_tests") as server,
        ):
            yield server
        return
    options = {"express": (), "flask": ("--server", "waitress")}[request.param]
    with running(data, *options, road=request.param) as server:
        yield server


# What else stands on a server is the same code over any store.
_OVER_MONGODB = ("test_api.py", "test_atlas.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask the server over MongoDB for the operations alone."""
    items[:] = [
        item
        for item in items
        if item.path.name in _OVER_MONGODB
        or getattr(item, "callspec", None) is None
        or item.callspec.params.get("server") != "mongodb"
    ]


@pytest.fixture(scope="session")
def admin(server: Server) -> Administrator:
    """The administrator of ``server``."""
    return server.admin


@pytest.fixture
def collection(admin: Administrator) -> Iterator[Collection]:
    """A fresh collection of the three movies."""
    collection = admin.collection(MOVIES)
    yield collection
    admin.request("DELETE", f"/{collection.id}")


@pytest.fixture(scope="session")
def problem() -> Callable[[requests.Response], dict[str, Any]]:
    """What a response says is wrong, once its form has been checked: RFC 9457, and nothing secret in it."""

    def members(response: requests.Response) -> dict[str, Any]:
        assert response.headers["Content-Type"] == "application/problem+json", response.text
        found: dict[str, Any] = response.json()
        assert [*found][:5] == ["type", "title", "status", "detail", "code"]
        assert {*found} <= {"type", "title", "status", "detail", "code", "pointer", "errors", "_id"}
        assert found["type"] == f"urn:connectome:{found['code']}"
        assert found["status"] == response.status_code
        assert found["title"]
        assert found["detail"]
        assert "Traceback" not in response.text
        assert not SECRET.search(response.text)
        return found

    return members


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; one for all tests, since a process drives one browser at a time."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
