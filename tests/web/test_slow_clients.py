"""Clients that send slowly, stop, or go away: what each server does about them, and that all others are answered."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from connectome.config import Settings
from connectome.web import serving
from connectome.web.pace import Counted, Turns, Watched

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that counts the bytes of connections")


@pytest.fixture(params=["waitress", "granian"])
def kind(request):
    """One of the servers, where it is installed."""
    if request.param == "granian" and not serving.has_granian():
        pytest.skip("granian comes with the extra fast")
    return request.param


def connected(server):
    """A connection to a server, which gives up after some seconds."""
    parts = urlsplit(server.url)
    return closing(socket.create_connection((parts.hostname, parts.port), timeout=30))


def received(connection):
    """Everything that comes until the server closes; it may do so hard."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65536):
            content += more
    return content


class TestUnfinished:
    def test_a_head_that_does_not_come_is_waited_for_so_long(self, servers, kind, tmp_path):
        """Then the connection is closed."""
        with servers(tmp_path, "--server", kind, "--idle-seconds", "1") as server, connected(server) as connection:
            connection.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\n")
            received(connection)
            assert server.request("GET", "/-/health").status_code == 200

    def test_bodies_that_do_not_come_stall_nobody(self, servers, kind, tmp_path):
        """However many more than threads there are; and then they are closed."""
        options = ("--server", kind, "--threads", "2", "--idle-seconds", "2")
        with servers(tmp_path, *options) as server, contextlib.ExitStack() as stack:
            collection = server.admin.collection()
            head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{"
            slow = [stack.enter_context(connected(server)) for _ in range(20)]
            for connection in slow:
                connection.sendall(head.encode())

            assert collection.call("write", {"_id": 1}).status_code == 201
            assert [received(connection) for connection in slow] == [b""] * 20
            assert collection.documents == [{"_id": 1}]

    @on_linux
    def test_a_body_that_drips_is_given_up(self, servers, kind, tmp_path):
        """A byte now and then does not keep a connection, where a least speed is set."""
        options = ("--server", kind, "--idle-seconds", "1", "--min-bytes-per-second", "1000")
        with servers(tmp_path, *options) as server, connected(server) as connection:
            collection = server.admin.collection()
            head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{{"
            connection.sendall(head.encode())
            with contextlib.suppress(ConnectionError):
                for _ in range(300):
                    connection.sendall(b" ")
                    time.sleep(0.1)
                raise AssertionError("the connection was kept")
            assert collection.documents == []

    def test_a_head_that_is_too_large_is_refused(self, servers, kind, tmp_path, problem):
        """With a problem by waitress, by granian in its own words."""
        with servers(tmp_path, "--server", kind, "--max-header-bytes", "8192") as server:
            response = server.request("GET", "/-/health", headers={"X-Long": "x" * 20_000})

            assert response.status_code == 431
            if kind == "waitress":
                assert problem(response)["code"] == "RequestHeaderFieldsTooLarge"
            assert server.request("GET", "/-/health").status_code == 200


class TestLargeBodies:
    @pytest.mark.parametrize("credential", [None, "cw_none"])
    def test_a_body_over_the_limit_is_refused(self, servers, kind, tmp_path, problem, credential):
        """By our own problem, once it has been sent, or at once to a client that asks first."""
        with servers(tmp_path, "--server", kind, "--max-body-bytes", "1000") as server:
            collection = server.admin.collection()
            refused = collection.call("write", {"text": "x" * 3_000_000}, credential=credential)
            expected = 413 if credential is None or kind == "waitress" else 401
            assert problem(refused)["status"] == expected
            if expected == 413:
                assert refused.json()["code"] == "BodyTooLarge"
                assert refused.json()["detail"] == "the server reads bodies of up to 1000 bytes, not 3000012 bytes"

            with connected(server) as connection:
                head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n"
                connection.sendall(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
                assert received(connection).startswith(b"HTTP/1.1 413 ")
            assert collection.documents == []

    def test_a_body_in_chunks_over_the_limit_is_refused(self, servers, kind, tmp_path):
        """However it is cut."""
        with servers(tmp_path, "--server", kind, "--max-body-bytes", "1000") as server:
            collection = server.admin.collection()
            with connected(server) as connection:
                head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                connection.sendall(head.encode() + b"200\r\n" + b" " * 512 + b"\r\n200\r\n" + b" " * 512 + b"\r\n")
                connection.sendall(b"0\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
            assert collection.documents == []

    def test_an_import_may_be_larger(self, servers, kind, tmp_path):
        """Its size is not limited."""
        with servers(tmp_path, "--server", kind, "--max-body-bytes", "1000") as server:
            collection = server.admin.collection()
            documents = [{"_id": n, "text": "x" * 100} for n in range(100)]
            assert server.admin.request("POST", f"/{collection.id}/import", documents).status_code == 201


class TestUnread:
    def test_a_client_that_goes_away_ends_the_work(self, servers, kind, tmp_path):
        """In the middle of a large answer; the server is at once there for others."""
        with servers(tmp_path, "--server", kind, "--threads", "1") as server:
            collection = server.admin.collection()
            for start in range(0, 40_000, 10_000):
                documents = [{"_id": n, "text": "x" * 500} for n in range(start, start + 10_000)]
                collection.call("batchwrite", documents)
            for _ in range(3):
                with connected(server) as connection:
                    connection.sendall(f"GET {collection.path('read')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
            assert collection.call("readwithquery", {"query": {"_id": 7}}, timeout=20).json()[0]["_id"] == 7

    @on_linux
    def test_clients_that_stop_reading_are_let_go(self, servers, kind, tmp_path):
        """After the time that a connection may idle; until then they hold up nobody."""
        options = ("--server", kind, "--threads", "1", "--idle-seconds", "3")
        with servers(tmp_path, *options) as server, contextlib.ExitStack() as stack:
            collection = server.admin.collection()
            for start in range(0, 120_000, 10_000):
                documents = [{"_id": n, "text": "x" * 500} for n in range(start, start + 10_000)]
                collection.call("batchwrite", documents)
            slow = [stack.enter_context(connected(server)) for _ in range(3)]
            for connection in slow:
                connection.sendall(f"GET {collection.path('read')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

            assert collection.call("readwithquery", {"query": {"_id": 7}}, timeout=30).json()[0]["_id"] == 7
            time.sleep(7)  # they are cut while they do not read
            assert not [connection for connection in slow if received(connection).endswith(b"0\r\n\r\n")]


class TestPace:
    """What is judged too slow: with a second to idle, and 100 bytes in it at the least."""

    @staticmethod
    def judged(*looks):
        """At which looks, a quarter of a second apart, a connection with such counts was too slow."""
        counted = [Counted(*each) for each in looks]
        watched = Watched(counted[0], 0.0, idle_seconds=1, least=100)
        return [number for number, each in enumerate(counted) if watched.is_too_slow(each, number / 4)]

    def test_a_trickle_is(self):
        """Once it has lasted."""
        assert self.judged(*[(300 + 10 * n, 0, 0, 0) for n in range(8)])[0] == 5

    def test_a_stream_is_not(self):
        """However long."""
        assert self.judged(*[(30 * n, 0, 0, 0) for n in range(40)]) == []

    def test_a_request_that_is_worked_on_is_not(self):
        """It came, and nothing more does."""
        assert self.judged((0, 0, 0, 0), *[(200, 0, 0, 0)] * 40) == []

    def test_small_requests_in_a_row_are_not(self):
        """Each is answered before the next one comes."""
        assert self.judged(*[(20 * ((n + 1) // 2), 30 * (n // 2), 0, 0) for n in range(40)]) == []

    def test_an_answer_that_is_not_read_is(self):
        """Be it never, or so slowly that bytes wait all the while."""
        assert self.judged(*[(200, 5000, 0, 9000)] * 8)[0] == 4
        assert self.judged(*[(200, 5000 + 10 * n, 0, 9000) for n in range(8)])[0] == 4

    def test_an_answer_that_is_read_is_not(self):
        """However long it is."""
        assert self.judged(*[(200, 30 * n, 0, 9000) for n in range(40)]) == []

    def test_standing_still_is_told_from_waiting(self):
        """What the server has not read yet, or the client not taken, is no sign that nobody asks."""
        counted = Counted(200, 0, 0, 0)
        watched = Watched(counted, 5.0, idle_seconds=1, least=100)

        assert watched.stands_since(counted) == 5.0
        assert watched.stands_since(Counted(200, 0, 1, 0)) > 1e9
        assert watched.stands_since(Counted(200, 0, 0, 1)) > 1e9


class TestTurns:
    def test_so_many_work_at_a_time_and_more_wait_for_bodies(self):
        """Who reads a body leaves its turn to others, and takes it again."""
        seen = []

        class Body:
            def read(self, size):
                seen.append("waits")
                list(turns({**other, "wsgi.input": None}, None))
                return b"x" * size

        def app(environ, start_response):
            seen.append(environ["PATH_INFO"])
            assert turns.works_since("a", time.monotonic())
            return [environ["wsgi.input"].read(2)] if environ["PATH_INFO"].endswith("first") else [b""]

        turns = Turns(app, 1)
        other = {"PATH_INFO": "/collection/second", "REMOTE_ADDR": "a"}

        with ThreadPoolExecutor(1) as pool:
            first = {"PATH_INFO": "/collection/first", "REMOTE_ADDR": "a", "wsgi.input": Body()}
            assert pool.submit(turns, first, None).result(timeout=30) == [b"xx"]

        assert seen == ["/collection/first", "waits", "/collection/second"]
        assert not turns.works_since("a", time.monotonic())


class TestWhichServer:
    @pytest.mark.parametrize(
        ("settings", "taken"),
        [({"host": "127.0.0.1"}, "_with_granian"), ({"host": "0.0.0.0"}, "_with_waitress"),
         ({"host": "0.0.0.0", "trusted_proxy": "10.0.0.1"}, "_with_granian")],
    )  # fmt: skip
    def test_strangers_are_not_given_threads_by_default(self, settings, taken):
        """Where they come directly it is waitress that reads their bodies first; who wants granian says so."""
        if not serving.has_granian():
            pytest.skip("granian comes with the extra fast")

        assert serving.chosen("auto", Settings(**settings)).func.__name__ == taken
        assert serving.chosen("granian", Settings(**settings)).func.__name__ == "_with_granian"
