"""
The pytest plugin: a mock server for the tests of a client.

``connectome_server`` listens on a real port, ``connectome_app`` is the same as a WSGI application, without a socket.
Each test has a workspace of its own, which starts from what ``@pytest.mark.connectome_seed`` names.  Nothing of the
server is imported before a test asks for one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from datetime import datetime

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from connectome.seeds import Planted

_CREDENTIALS: Final = {"read": "read", "write": "write"}
_MARKER: Final = "connectome_seed"
_OPTION: Final = "--connectome-url"

# Sends one request to the control API: method, path, decoded body; what comes is decoded.
_Send = Callable[[str, str, Any], Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the address of a mock server that runs already."""
    parser.getgroup("connectome").addoption(
        _OPTION, metavar="URL", help="Use the 'connectome mock' that runs there, in place of one of this process."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(seed, id='_id'): what the mock server of this test starts from: "
        "collections by name, or a file as 'connectome mock' takes it; id: the field that becomes _id",
    )


class CollectionView:
    """One collection of a mock server, as a test looks at it: without credentials, and unseen by its journal."""

    def __init__(self, workspace: MockWorkspace, id: str) -> None:
        self._workspace = workspace
        self.id = id

    @property
    def documents(self) -> list[Any]:
        """All documents, as they are now."""
        found: list[Any] = self._workspace.control("GET", f"/documents/{self.id}")
        return found

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests to it, the oldest first."""
        return [each for each in self._workspace.requests if each["collection"] == self.id]


class MockWorkspace:
    """
    A mock server as one test has it.

    url: What the client under test is given as the address of the server; it leads into the workspace of the test.
    read_credential, write_credential: What it is given for every collection that says nothing of its own.
    """

    def __init__(self, url: str, send: _Send, credentials: Mapping[str, str] = _CREDENTIALS) -> None:
        self.url = url
        self.read_credential = credentials["read"]
        self.write_credential = credentials["write"]
        self._send = send

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """
        What the control API answers, decoded; None where it answers nothing.

        Args:
            path: Behind ``/-/mock``.

        Raises:
            MockRefused: It answers a problem.
        """
        __tracebackhide__ = True
        return self._send(method, f"/-/mock{path}", body)

    def __getitem__(self, id: str) -> CollectionView:
        return CollectionView(self, id)

    def operation_url(self, operation: str, collection: str) -> str:
        """The URL of an operation, with the credential that it needs."""
        credential = self.read_credential if operation.startswith("read") else self.write_credential
        return f"{self.url}/collection/{operation}/{credential}/{collection}"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests to operations, and those that led nowhere, the oldest first."""
        found: list[dict[str, Any]] = self.control("GET", "/requests")
        return found

    def verify(
        self,
        filter: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> int:
        """
        How many requests match a filter.

        Args:
            count, at_least, at_most: How many shall; at least one where none of these is given.

        Raises:
            AssertionError: More or fewer than that.
        """
        __tracebackhide__ = True
        bounds = {"count": count, "atLeast": at_least, "atMost": at_most}
        wanted = {name: each for name, each in bounds.items() if each is not None}
        try:
            said = self.control("POST", "/verify", {"filter": dict(filter or {}), **wanted})
        except MockRefused as error:
            if error.problem["code"] == "VerificationFailed":
                raise AssertionError(error.problem["detail"]) from None
            raise
        matching: int = said["count"]
        return matching

    @contextmanager
    def fault(self, **fault: Any) -> Iterator[None]:
        """
        Let something go wrong for the length of a ``with``.

        Args:
            fault: ``operation``, ``collection``, ``status``, ``retryAfter``, ``fault``, ``delay``, ``jitter``,
                ``share``, ``times``: see docs/mock.md.
        """
        made = self.control("POST", "/faults", fault)
        try:
            yield
        finally:
            self.control("DELETE", f"/faults/{made['id']}")

    @contextmanager
    def frozen(self, at: str | datetime | bool = True) -> Iterator[None]:
        """Stop the clock of the server, at a time (as text, ISO 8601) or now, for the length of a ``with``."""
        self.control("POST", "/clock", {"freeze": at})
        try:
            yield
        finally:
            self.control("POST", "/clock", {"release": True})

    def advance(self, seconds: float) -> None:
        """Move the clock of the server on."""
        self.control("POST", "/clock", {"advance": seconds})

    def reset(self) -> None:
        """Make everything as it was when the test began."""
        self.control("POST", "/reset")


class MockRefused(Exception):
    """
    The control API answered a problem.

    problem: Its members, such as ``status``, ``code``, ``detail``, ``pointer``.
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        where = f" (at {problem['pointer']})" if problem.get("pointer") else ""
        super().__init__(f"{problem['status']} {problem['code']}: {problem['detail']}{where}")
        self.problem = problem


class MockApplication(MockWorkspace):
    """A mock server as a WSGI application; ``url`` is what clients are given that speak to it without a socket."""

    def __init__(self, app: Any) -> None:
        super().__init__("http://localhost", self._asked)
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        return self._app(environ, start_response)

    def _asked(self, method: str, path: str, body: Any) -> Any:
        __tracebackhide__ = True
        return _decoded(*self._app.asked(method, path, _encoded(body)))


def _over_http(url: str) -> _Send:
    """What sends requests to a server, past any proxy."""
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener

    opener = build_opener(ProxyHandler({}))

    def send(method: str, path: str, body: Any) -> Any:
        __tracebackhide__ = True
        request = Request(url + path, _encoded(body) or None, {"Content-Type": "application/json"}, method=method)
        try:
            answer = opener.open(request)
        except HTTPError as refusal:  # an answer like any other
            answer = refusal
        with answer:
            return _decoded(answer.status, answer.read())

    return send


def _encoded(body: Any) -> bytes:
    from connectome import extjson

    return b"" if body is None else extjson.encode(body)


def _decoded(status: int, content: bytes) -> Any:
    __tracebackhide__ = True
    from connectome import extjson

    value: Any = extjson.loads(content) if content else None
    if status >= 400:
        raise MockRefused(value)
    return value


def _mock(planted: Sequence[Planted], host: str) -> Any:
    from connectome.config import Settings
    from connectome.web.mocking import Mock
    from connectome.web.mocking.workspaces import Start

    settings = Settings(host=host, port=0, cors="loopback", admin_token="admin", durability="memory")
    return Mock(Start(planted, _CREDENTIALS), settings)


@pytest.fixture(scope="session")
def connectome_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the mock server that all tests share: of ``--connectome-url``, or of this process."""
    if url := request.config.getoption(_OPTION):
        url = url.rstrip("/")
        _require_mock(url)
        yield url
        return
    from connectome.web import serving
    from connectome.web.mocking.serving import Listening

    bound = serving.bind("127.0.0.1", 0)
    listening = Listening(_mock([], "127.0.0.1"), bound)
    listening.start()
    yield serving.url_of("127.0.0.1", bound)
    listening.close()


def _require_mock(url: str) -> None:
    """Fail, in one line, where no mock server answers."""
    from http.client import HTTPException

    from connectome.errors import InvalidJSON

    try:
        _over_http(url)("GET", "/-/mock/", None)
    except (OSError, ValueError, HTTPException, InvalidJSON, MockRefused) as error:
        reason = getattr(error, "reason", error)  # of a URLError; its own words are urllib's
        pytest.fail(f"{_OPTION}: no 'connectome mock' answers at {url}: {reason}", pytrace=False)


@pytest.fixture
def connectome_server(connectome_url: str, request: pytest.FixtureRequest) -> Iterator[MockWorkspace]:
    """A mock server on a real port, in a workspace of this test's own."""
    name = _workspace_name(request)
    send = _over_http(connectome_url)
    with _seeded(request) as planted:
        seed = {} if planted is None else {"seed": _as_json(planted)}
        send("POST", "/-/mock/workspaces", {"name": name, **seed})
    workspace = f"{connectome_url}/~{name}"
    yield MockWorkspace(workspace, _over_http(workspace))
    send("DELETE", f"/-/mock/workspaces/{name}", None)


@pytest.fixture
def connectome_app(request: pytest.FixtureRequest) -> MockApplication:
    """A mock server as a WSGI application, of this test's own."""
    with _seeded(request) as planted:
        # Where nothing listens there is nobody to be kept out: a client may call the server as it likes.
        return MockApplication(_mock(planted or [], "0.0.0.0"))


def _workspace_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has, in this process or another, and that a person can read."""
    from secrets import token_hex

    readable = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:40] or "test"
    unique = sha256(f"{request.node.nodeid} {token_hex(8)}".encode()).hexdigest()[:12]
    return f"{readable}-{unique}"


@contextmanager
def _seeded(request: pytest.FixtureRequest) -> Iterator[list[Planted] | None]:
    """
    What the nearest marker names; None where there is no marker.

    Where it cannot be read, or what is inside refuses to serve it, the test fails in one line.
    """
    from connectome.errors import ConnectomeError

    marker = request.node.get_closest_marker(_MARKER)
    try:
        yield None if marker is None else _planted(request, marker)
    except ConnectomeError as error:
        pytest.fail(f"@pytest.mark.{_MARKER}: {error.sentence}", pytrace=False)
    except MockRefused as error:
        pytest.fail(f"@pytest.mark.{_MARKER}: {error}", pytrace=False)


def _planted(request: pytest.FixtureRequest, marker: pytest.Mark) -> list[Planted]:
    """
    The collections that a marker names.

    A file is found from the directory of the test, then from the root of the tests.

    Raises:
        ConfigurationError, InvalidRequest, InvalidJSON: They cannot be had.
    """
    from connectome import extjson
    from connectome.errors import ConfigurationError
    from connectome.seeds import SeedFile, collections

    if len(marker.args) != 1 or marker.kwargs.keys() - {"id"}:
        given = ", ".join([*map(repr, marker.args), *(f"{name}={each!r}" for name, each in marker.kwargs.items())])
        raise ConfigurationError(f"expected one seed, and id='…' where another field is to be _id, not ({given})")
    seed, identity = marker.args[0], marker.kwargs.get("id", "_id")
    if not isinstance(seed, (str, Path)):
        # Python's dates and the like, as JSON has them.
        return collections(extjson.to_json(seed), identity=identity)
    places = [request.path.parent / seed, request.config.rootpath / seed]
    return SeedFile(next((each for each in places if each.is_file()), places[0]), identity=identity).read()


def _as_json(planted: Sequence[Planted]) -> dict[str, Any]:
    """Collections in the fuller form of a seed."""
    from connectome import extjson

    return {
        "collections": {
            each.id: {
                **({} if each.title is None else {"title": each.title}),
                **({} if each.schema is None else {"schema": each.schema}),
                "credentials": dict(each.credentials),
                "documents": [extjson.to_json(document, mode="stored") for document in each.documents],
            }
            for each in planted
        }
    }
