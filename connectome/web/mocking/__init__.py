"""
A mock server: the application, some copies of it, and around them what a test wants to go wrong.

WSGI outside of everything else.  Which copy answers is chosen here, faults are applied here, requests are noted here;
the application within is the one that ``connectome serve`` runs, and knows nothing of it.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from waitress.channel import ClientDisconnected
from werkzeug.test import Client
from werkzeug.wsgi import get_content_length

from connectome.config import Settings
from connectome.query.clock import ruled_by
from connectome.web import problems
from connectome.web.api import OPERATIONS
from connectome.web.atlas import ACTIONS
from connectome.web.exchange import Answer, Request
from connectome.web.mocking import access, control
from connectome.web.mocking.faults import Outcome, asked_for
from connectome.web.mocking.journal import MAX_BODY_BYTES, entry, readable
from connectome.web.mocking.workspaces import DEFAULT, Start, Workspace, Workspaces

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADER: Final = "Connectome-Workspace"
# How long a client is kept waiting that would wait for ever.
TIMEOUT_SECONDS: Final = 60
# An answer that dribbles comes in so many pieces, so far apart.
DRIBBLE_PIECES: Final = 20
DRIBBLE_SECONDS: Final = 0.1
_LOOK_AGAIN_SECONDS: Final = 0.05
# Of waitress: whether the client has gone.  Where it is missing there is no connection that could be cut.
_GONE: Final = "waitress.client_disconnected"


class Mock:
    """
    A mock server as a WSGI application.

    settings: Those that it was made with.

    Raises:
        InvalidRequest, DuplicateKey, SchemaViolation: What it starts from cannot be served, with the pointer.
    """

    def __init__(self, start: Start, settings: Settings) -> None:
        self.workspaces = Workspaces(start, settings)
        self.settings = settings
        self._closing = threading.Event()

    def close(self) -> None:
        """Let go of the clients that are kept waiting."""
        self._closing.set()

    def asked(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a request, without a socket."""
        answer = Client(self).open(path, method=method, data=body)
        return answer.status_code, answer.data

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            access.require_known_host(environ, self.settings)
            path, workspace_name = _placed(environ)
            is_control = path == control.PREFIX or path.startswith(control.PREFIX + "/")
            access.require_known_origin(environ, self.settings, control=is_control)
            if access.is_preflight(environ):
                answer = Answer(b"", "text/plain", 204, tuple(access.preflight(environ)))
                return answer(environ, start_response)
            start_response = _sharing(environ, start_response)
            workspace = self.workspaces.get(workspace_name)
            if is_control:
                return self._controlled(environ, workspace, path)(environ, start_response)
            return self._operated(environ, start_response, workspace, path)
        except (ClientDisconnected, TimeoutError):
            raise
        except Exception as error:
            return problems.of(error, environ["REQUEST_METHOD"])(environ, start_response)

    def _controlled(self, environ: WSGIEnvironment, workspace: Workspace, path: str) -> Answer:
        request = Request(environ, self.settings.max_body_bytes)
        call = control.Call(request, workspace, self.workspaces, self.settings.max_time_seconds)
        return control.answered(call, path.removeprefix(control.PREFIX) or "/")

    def _operated(
        self, environ: WSGIEnvironment, start_response: StartResponse, workspace: Workspace, path: str
    ) -> Iterable[bytes]:
        clock, journal, app = workspace.clock, workspace.journal, workspace.app
        asked = asked_for(environ.get("HTTP_CONNECTOME_DELAY"), environ.get("HTTP_CONNECTOME_FAULT"))
        body = readable(self._kept_body(environ))
        operation, collection = _operation(path, body)
        outcome = workspace.faults.outcome(operation, collection, asked) if operation else asked.outcome

        def note(status: int | None) -> None:
            if operation or status == 404:
                journal.add(
                    entry(
                        at=clock.now(),
                        method=environ["REQUEST_METHOD"],
                        path=path,
                        operation=operation,
                        collection=collection,
                        query_string=environ.get("QUERY_STRING", ""),
                        headers=_headers(environ),
                        body=body,
                        status=status,
                        fault=outcome.name,
                        delay=round(outcome.seconds * 1000),
                    )
                )

        if outcome.seconds:
            self._wait(environ, outcome.seconds)
        if outcome.kind == "timeout":
            note(None)
            return self._never(environ)
        if outcome.status:
            note(outcome.status)
            return _failed(outcome)(environ, start_response)
        with ruled_by(clock):
            status, headers, chunks = _run(app, environ)
        note(int(status[:3]))
        if outcome.kind and environ["REQUEST_METHOD"] != "HEAD":
            return self._spoilt(outcome.kind, status, headers, b"".join(_drained(chunks)), start_response)
        start_response(status, headers)
        return chunks

    def _kept_body(self, environ: WSGIEnvironment) -> bytes | None:
        """The body of a request, which is put back for the application; None where it is too large to be kept."""
        length = get_content_length(environ)
        if length is None or not 0 < length <= MAX_BODY_BYTES:
            return None
        body: bytes = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        return body

    def _wait(self, environ: WSGIEnvironment, seconds: float) -> None:
        """Sleep; not on while the client has gone, nor while the server shall end."""
        gone = environ.get(_GONE, lambda: False)
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not gone():
            if self._closing.wait(min(left, _LOOK_AGAIN_SECONDS)):
                return

    def _never(self, environ: WSGIEnvironment) -> Iterable[bytes]:
        if _GONE not in environ:
            raise TimeoutError("the fault 'timeout': this request is never answered")
        self._wait(environ, TIMEOUT_SECONDS)
        # To waitress: close the connection, without a byte.
        raise ClientDisconnected

    def _spoilt(
        self, kind: str, status: str, headers: list[tuple[str, str]], body: bytes, start_response: StartResponse
    ) -> Iterable[bytes]:
        headers = [each for each in headers if each[0].lower() not in ("content-length", "transfer-encoding")]
        if kind == "dribble":
            start_response(status, [*headers, ("Content-Length", str(len(body)))])
            return self._drops(body)
        # waitress cuts the connection where less came than was announced.
        start_response(status, [*headers, ("Content-Length", str(max(1, len(body))))])
        return [body[: len(body) // 2]]

    def _drops(self, body: bytes) -> Iterator[bytes]:
        size = max(1, -(-len(body) // DRIBBLE_PIECES))
        for start in range(0, len(body), size):
            if start:
                self._closing.wait(DRIBBLE_SECONDS)
            yield body[start : start + size]


def _placed(environ: WSGIEnvironment) -> tuple[str, str]:
    """
    The path of a request, and the workspace that it names: by ``/~name`` in front of it, or by a header.

    What stands in front moves to where WSGI has what an application need not know.
    """
    path: str = environ.get("PATH_INFO", "")
    if path.startswith("/~"):
        name, slash, rest = path[2:].partition("/")
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + "/~" + name
        environ["PATH_INFO"] = slash + rest
        return slash + rest, name
    return path, environ.get("HTTP_" + HEADER.upper().replace("-", "_"), DEFAULT)


def _operation(path: str, body: Any) -> tuple[str | None, str | None]:
    """The operation, or the Atlas action, and the collection that a request names; None where it names none."""
    match path.split("/"):
        case ["", "collection", operation, _, collection] if operation in OPERATIONS:
            return operation, collection
        case ["", "app", _, "endpoint", "data", _, "action", action] if action in ACTIONS:
            named = body.get("collection") if type(body) is dict else None
            return action, named if type(named) is str else None
    return None, None


def _headers(environ: WSGIEnvironment) -> Iterator[tuple[str, str]]:
    """The headers of a request, in small letters."""
    for name, value in environ.items():
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            yield name.removeprefix("HTTP_").replace("_", "-").lower(), value


def _name(outcome: Outcome) -> str:
    return f"fault {outcome.by}" if (outcome.by or "").isdigit() else "Connectome-Fault"


def _failed(outcome: Outcome) -> Answer:
    """The problem that a fault answers with."""
    status = outcome.status or 0
    answer = problems.refusal(status, "Mock Fault", f"the mock server was told to fail, by {_name(outcome)}")
    after = outcome.retry_after
    headers = () if after is None else (("Retry-After", str(after)),)
    return Answer(answer.body, answer.content_type, status, (*answer.headers, *headers))


def _sharing(environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
    """A start of the answer that lets the page have it which asked, where the application has not said so itself."""
    shared = access.shared(environ)
    if not shared:
        return start_response

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        said = any(name.lower() == "access-control-allow-origin" for name, _ in headers)
        return start_response(status, headers if said else [*headers, *shared], *exc_info)

    return start


def _run(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
    """Status, headers and body of what an application answers."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        started[:] = status, headers
        return lambda _: None

    chunks = app(environ, start_response)
    status, headers = started
    return status, headers, chunks


def _drained(chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    finally:
        if close := getattr(chunks, "close", None):
            close()
