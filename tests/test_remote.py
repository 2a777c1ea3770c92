"""A server that fails in the middle of an answer, as the commands see it: what came is never taken for the whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connectome.errors import StoreFailed
from connectome.formats import CUT
from connectome.query import Filter, Projection, Sort
from connectome.remote import RemoteService
from connectome.stores import Find
from connectome.web.admin import _gathered

EVERYTHING = Find(Filter({}), Projection({}), Sort({}))


class Failing(BaseHTTPRequestHandler):
    """Answers as Connectome behind granian does whose store fails: with a good end of a bad answer."""

    def do_GET(self) -> None:
        is_export = "/export" in self.path
        self._answer(b'{"_id":1}\n' + CUT if is_export else b'{"id":"x","credentials":{"read":"r","write":"w"}}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'[{"_id":1}' + CUT)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def failing() -> Iterator[RemoteService]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield RemoteService(f"http://127.0.0.1:{server.server_port}", "token")
        server.shutdown()
        thread.join()


class TestBrokenOff:
    def test_half_an_export_is_none(self, failing):
        """What came before the failure is there, and then the error."""
        pieces = []
        with pytest.raises(StoreFailed, match="broke off: its answer is not whole"):
            pieces.extend(failing.exported("x", "ndjson"))

        assert b"".join(pieces) == b'{"_id":1}\n'

    def test_half_of_the_documents_are_not_all(self, failing):
        """It is the server that failed, and nothing that the person has typed."""
        found = failing.collection("x").find(EVERYTHING)

        assert next(found) == {"_id": 1}
        with pytest.raises(StoreFailed, match="broke off: its answer is not whole"):
            next(found)

    def test_an_export_that_fails_says_so_at_its_end(self):
        """granian ends an answer well, whatever becomes of it."""

        def pieces() -> Iterator[bytes]:
            yield b"a row\n"
            raise RuntimeError("the store is gone")

        sent: list[bytes] = []
        with pytest.raises(RuntimeError):
            sent.extend(_gathered(pieces()))

        assert sent == [CUT]
