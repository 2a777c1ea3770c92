"""The servers: what must hold of ``connectome serve`` whichever of them speaks HTTP."""

from __future__ import annotations

import csv
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
import zlib
from importlib import metadata
from importlib.util import find_spec

import pytest
import requests
import urllib3

from connectome.errors import ConfigurationError
from connectome.formats import CUT
from connectome.web import serving


@pytest.fixture(scope="module", params=["waitress", "granian"])
def kind(request):
    """The name of a server."""
    if request.param == "granian" and not serving.has_granian():
        pytest.skip("granian is not installed: the extra 'fast' brings it")
    return request.param


@pytest.fixture(scope="module")
def server(servers, kind, tmp_path_factory):
    """A server of this kind that reads bodies of up to 100,000 bytes."""
    with servers(tmp_path_factory.mktemp("data"), "--server", kind, "--max-body-bytes", "100000") as server:
        yield server


@pytest.fixture
def collection(server):
    """A fresh collection of three documents."""
    return server.admin.collection([{"_id": n} for n in range(3)])


def connected(server):
    """A connection to a server, without an HTTP client."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def raw(server, sent, *, half_close=True):
    """Everything that comes back for some bytes, after which no more are sent."""
    with connected(server) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.read()


class TestBodies:
    @pytest.mark.parametrize("size", [100_001, 20_000_000])
    def test_a_body_over_the_limit_is_413(self, collection, problem, size):
        """And the client is told, however much it sends; the connection may end there, with what was not read."""
        alone = {"Connection": "close"}

        assert problem(collection.call("write", b"x" * size, headers=alone))["status"] == 413

    def test_a_body_in_chunks_is_measured_too(self, collection, problem):
        """Without a Content-Length the limit is the same, and what is over it is not cut off."""
        response = requests.delete(collection.url("batchdelete"), data=iter([b"{}", *[b" " * 1000] * 200]))

        assert problem(response)["status"] == 413
        assert len(collection.documents) == 3

    def test_a_body_in_chunks_is_read(self, collection):
        """A client need not know the length of what it sends."""
        response = requests.post(collection.url("write"), data=iter([b'{"_i', b'd": 9}']))

        assert response.json() == {"insertedId": 9}

    def test_a_body_that_breaks_off_changes_nothing(self, server, collection):
        """Half of what was announced is no request, also where it could be read as one."""
        head = f"DELETE {collection.path('batchdelete')} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"

        assert not raw(server, head.encode() + b"{}").startswith(b"HTTP/1.1 200")
        assert len(collection.documents) == 3

    def test_an_import_that_breaks_off_brings_nothing(self, server, collection):
        """A connection that breaks between two lines does not leave the first half of them."""
        head = (
            f"POST /-/admin/collections/{collection.id}/import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            f"Authorization: Bearer {server.admin.token}\r\nContent-Type: application/x-ndjson\r\n\r\n"
        )

        assert b" 201 " not in raw(server, head.encode() + b'a\r\n{"_id": 7}\n\r\n')
        assert len(collection.documents) == 3

    def test_a_deep_document_comes_back(self, server):
        """A hundred levels, under a schema that looks at each of them: the threads' stacks hold that."""
        schema = {"$defs": {"any": {"items": {"$ref": "#/$defs/any"}}}, "additionalProperties": {"$ref": "#/$defs/any"}}
        collection = server.admin.collection(schema=schema)
        body = '{"_id":1,"a":' + "[" * 99 + "]" * 99 + "}"

        assert collection.call("write", body).status_code == 201
        assert collection.call("read").text == f"[{body}]\n"


ENDLESS = """
import signal, sys
from connectome.web import serving

def endless(n):
    return max((n,), key=lambda each: endless(each + 1))

def app(environ, start_response):
    try:
        endless(0)
    except RecursionError:
        start_response("200 OK", [])
    return [b"too deep"]

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
sys.setrecursionlimit(10_000)
bound = serving.bind("127.0.0.1", 0)
print(serving.url_of("127.0.0.1", bound), flush=True)
serving.chosen(sys.argv[1])(app, bound, 2)
"""


class TestThreads:
    def test_their_stacks_hold_what_python_allows(self, kind):
        """A recursion without an end is an error of one request, and not the end of the process."""
        with subprocess.Popen([sys.executable, "-c", ENDLESS, kind], stdout=subprocess.PIPE, text=True) as process:
            try:
                url = process.stdout.readline().strip()
                assert requests.get(url, timeout=30).text == "too deep"
            finally:
                process.terminate()
        assert process.returncode == 0


CUT_OFF = """
import signal, sys
from connectome.config import Settings
from connectome.web import forking, serving
from connectome.web.compression import Compressed
from connectome.web.exchange import Answer, Stream

def texts():
    for n in range(5000):
        yield b'{"_id":%d,"text":"%s"}' % (n, b"x" * 500)
    raise RuntimeError("the disk is gone")

def app(environ, start_response):
    match environ["PATH_INFO"]:
        case "/-/json":
            body = Stream(texts(), before=b"[", between=b",", after=b"]")
        case "/-/csv":
            body = Stream(b"%d,x\\r\\n" % len(text) for text in texts())
    return Answer(body, "application/json")(environ, start_response)

bound = serving.bind("127.0.0.1", 0)
print(serving.url_of("127.0.0.1", bound), flush=True)
app = Compressed(app, 1)
if sys.argv[1] == "gunicorn":
    forking.run(lambda first: (app, lambda: None), bound, Settings(server="gunicorn"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
serving.chosen(sys.argv[1])(app, bound, 2)
"""


class TestCutAnswers:
    @pytest.mark.parametrize("name", ["waitress", "granian", "gunicorn"])
    def test_nobody_takes_a_part_for_the_whole(self, name):
        """What fails midway ends without the last chunk; granian sends one, and what came cannot be read."""
        if not find_spec(name):
            pytest.skip(f"{name} is not installed: an extra brings it")
        command = [sys.executable, "-c", CUT_OFF, name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                url = process.stdout.readline().strip()
                for path, accepted in itertools.product(["json", "csv"], ["identity", "gzip"]):
                    answer = requests.get(
                        f"{url}/-/{path}", headers={"Accept-Encoding": accepted}, stream=True, timeout=30
                    )
                    assert answer.status_code == 200
                    # Raw, since the client of the tests takes gzip without an end for whole.
                    if name != "granian":
                        with pytest.raises(urllib3.exceptions.ProtocolError):
                            answer.raw.read(decode_content=False)
                        continue
                    content = answer.raw.read(decode_content=False)
                    if accepted == "gzip":
                        unpacking = zlib.decompressobj(31)
                        content = unpacking.decompress(content)
                        assert not unpacking.eof
                    assert content.endswith(CUT)
                    with pytest.raises((ValueError, csv.Error)):
                        json.loads(content) if path == "json" else list(csv.reader([content.decode()], strict=True))
            finally:
                process.terminate()


class TestAnswers:
    def test_a_large_answer_comes_whole(self, server):
        """Ten megabytes, in pieces, and its end can be told from a cut."""
        collection = server.admin.collection([{"_id": n, "text": "x" * 900} for n in range(100)])
        for start in range(100, 10_000, 100):
            collection.call("batchwrite", [{"_id": start + n, "text": "x" * 900} for n in range(100)])

        response = collection.call("read")

        assert response.headers["Transfer-Encoding"] == "chunked"
        assert [each["_id"] for each in response.json()] == list(range(10_000))

    def test_head_has_no_body(self, server, collection):
        """The headers are those of GET, and the connection goes on."""
        path = collection.path("read")
        head = f"HEAD {path} HTTP/1.1\r\nHost: x\r\n"

        answers = raw(server, f"{head}\r\n{head}Connection: close\r\n\r\n".encode(), half_close=False)

        assert answers.count(b"HTTP/1.1 200") == 2
        assert answers.lower().count(b"content-length: 32\r\n") == 2
        assert answers.endswith(b"\r\n\r\n")

    def test_a_connection_is_kept(self, server, collection):
        """Many requests over one, and none waits for the network's timers."""
        with requests.Session() as session:
            answers = [session.get(server.url + path) for path in ["/-/health", collection.path("read")] * 20]

        assert {each.status_code for each in answers} == {200}

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET /-/health HTTP/1.1\r\nnot a header\r\n\r\n",
            b"POST /-/health HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        ],
        ids=["no header", "no length"],
    )
    def test_what_is_no_request_is_400(self, server, kind, sent):
        """What a server refuses before any route sees it: a problem, where the server lets us write it."""
        head, _, body = raw(server, sent).partition(b"\r\n\r\n")

        assert head.split()[1] == b"400"
        if kind == "waitress":
            assert b"Content-Type: application/problem+json" in head
            assert json.loads(body)["status"] == 400
        else:
            assert body == b""

    def test_a_request_of_far_too_much_is_413(self, server, collection):
        """Its length is enough to say so."""
        head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n"

        answer = raw(server, head.encode())

        assert answer.split()[1] == b"413"
        assert b"application/problem+json" in answer


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_well(self, servers, kind, tmp_path, number):
        """Status 0, not a word, and the journal is folded into the data file."""
        with servers(tmp_path, "--server", kind) as server:
            collection = server.admin.collection([{"_id": 1}])
            assert server.end(number) == 0
            assert server.output.endswith("\nCtrl+C stops it.\n")

        assert json.loads(collection.file.read_text())["_default"] == {"1": {"_id": 1}}

    def test_a_request_that_has_begun_is_finished(self, servers, kind, tmp_path):
        """A write that comes in while the server is told to stop is answered, and kept."""
        with servers(tmp_path, "--server", kind) as server:
            collection = server.admin.collection()
            documents = json.dumps([{"_id": n, "text": "x" * 100} for n in range(20_000)]).encode()
            head = f"POST {collection.path('batchwrite')} HTTP/1.1\r\nHost: x\r\n"
            with connected(server) as connection:
                connection.sendall(f"{head}Content-Length: {len(documents)}\r\n\r\n".encode() + documents)
                time.sleep(0.2)  # for the server to take it up
                server.process.send_signal(signal.SIGTERM)
                with connection.makefile("rb") as answer:
                    assert answer.readline().split()[1] == b"201"
            assert server.end() == 0

        assert len(json.loads(collection.file.read_text())["_default"]) == 20_000

    def test_a_client_that_never_ends_does_not_keep_it(self, servers, kind, tmp_path):
        """A request without an end is given a few seconds, and the store is closed well."""
        with servers(tmp_path, "--server", kind) as server:
            collection = server.admin.collection([{"_id": 1}])
            with connected(server) as connection:
                head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"
                connection.sendall(head.encode() + b"{")
                time.sleep(0.2)  # for the server to take it up
                assert server.end() == 0

        assert json.loads(collection.file.read_text())["_default"] == {"1": {"_id": 1}}

    def test_it_is_one_process(self, servers, kind, tmp_path):
        """Killed, it leaves nobody behind who holds the directory or the port."""
        with servers(tmp_path, "--server", kind) as server:
            port = server.url.rpartition(":")[2]
            server.end(signal.SIGKILL)

        with servers(tmp_path, "--server", kind, "--port", port) as server:
            assert server.request("GET", "/-/health").status_code == 200


@pytest.fixture
def granian(monkeypatch):
    """Have a version of granian installed, or, with None, none."""

    def installed(version):
        def found(name):
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", found)

    return installed


class TestChoice:
    @pytest.mark.parametrize("version", ["2.8.2", "2.8.10", "2.9.0rc1", "2.10.0"])
    def test_granian_is_taken_where_it_is_installed(self, granian, version):
        """Unless waitress is asked for."""
        granian(version)

        taken = [serving.chosen(name).__name__ for name in ("auto", "granian", "waitress")]

        assert taken == ["_with_granian", "_with_granian", "_with_waitress"]

    @pytest.mark.parametrize("version", [None, "1.7.6", "2.8.1", "3.0.0"])
    def test_waitress_is_taken_where_it_is_not(self, granian, version):
        """Or is one whose parts are others; who asks for granian is told what installs it."""
        granian(version)

        assert [serving.chosen(name).__name__ for name in ("auto", "waitress")] == ["_with_waitress"] * 2
        with pytest.raises(ConfigurationError, match=r"pip install 'connectome\[fast\]'"):
            serving.chosen("granian")

    def test_an_unknown_server_is_refused(self, tmp_path):
        """With those that there are."""
        command = [sys.executable, "-m", "connectome", "serve", str(tmp_path / "data"), "--server", "apache"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

        assert ended.returncode == 2
        assert ended.stderr == "connectome: server is auto or granian or waitress or gunicorn, not apache\n"
