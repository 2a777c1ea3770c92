"""gunicorn, as ``connectome serve`` runs it: what must hold of it as of the servers in our own process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import requests

from connectome.errors import ConfigurationError
from connectome.web import serving

pytestmark = pytest.mark.skipif(
    not find_spec("gunicorn"), reason="gunicorn is not installed: the extra 'gunicorn' brings it"
)


def worker_of(server):
    """The process that holds the data directory."""
    return int((server.data / ".lock").read_text().split("\n")[0])


class TestServing:
    def test_it_serves_ends_well_and_lets_go(self, servers, tmp_path):
        """Writes are kept, status 0 on SIGTERM, not a word more; the directory can be had at once."""
        with servers(tmp_path, "--server", "gunicorn") as server:
            collection = server.admin.collection([{"_id": 1}])
            assert collection.documents == [{"_id": 1}]
            assert server.end(signal.SIGTERM) == 0
            assert server.output.endswith("\nCtrl+C stops it.\n")

        assert json.loads(collection.file.read_text())["_default"] == {"1": {"_id": 1}}
        with servers(tmp_path) as server:
            assert server.request("GET", f"/collection/read/{collection.read_credential}/{collection.id}").ok

    def test_a_key_ends_it_well(self, servers, tmp_path):
        """As Ctrl+C does, which goes to every process of the terminal."""
        with servers(tmp_path, "--server", "gunicorn") as server:
            worker, first = worker_of(server), server.process.pid
            os.kill(worker, signal.SIGINT)
            assert server.end(signal.SIGINT) == 0
            assert worker != first

        assert not server.output.partition("stops it.\n")[2]

    def test_a_worker_that_dies_is_started_anew(self, servers, tmp_path):
        """What was acknowledged is there; the greeting is not said again."""
        with servers(tmp_path, "--server", "gunicorn") as server:
            collection = server.admin.collection([{"_id": 1}])
            os.kill(worker_of(server), signal.SIGKILL)
            for _ in range(200):
                if alive(server):
                    break
                time.sleep(0.1)
            assert collection.documents == [{"_id": 1}]
            server.end()

        assert server.output.count("Ctrl+C stops it.") == 1

    def test_signals_that_change_workers_do_nothing(self, servers, tmp_path):
        """A second worker could not have the directory, and gunicorn would give up over it."""
        with servers(tmp_path, "--server", "gunicorn") as server:
            before = worker_of(server)
            for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR2, signal.SIGTTOU):
                server.process.send_signal(number)
            time.sleep(0.3)  # for them to be taken up
            assert server.request("GET", "/-/health").ok
            assert worker_of(server) == before

    @pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that counts the bytes of connections")
    def test_clients_that_send_no_end_are_let_go(self, servers, tmp_path):
        """Heads and bodies, more than there are threads: after the idle time the others have their turn."""
        with servers(tmp_path, "--server", "gunicorn", "--threads", "2", "--idle-seconds", "1") as server:
            collection = server.admin.collection()
            host, _, port = server.url.removeprefix("http://").partition(":")
            head = f"POST {collection.path('write')} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n"
            slow = [socket.create_connection((host, int(port)), timeout=60) for _ in range(6)]
            try:
                for number, connection in enumerate(slow):
                    connection.sendall((head + "\r\n{" if number % 2 else head).encode())
                assert collection.call("write", {"_id": 1}, timeout=60).status_code == 201
                assert collection.documents == [{"_id": 1}]
            finally:
                for connection in slow:
                    connection.close()

    def test_what_is_no_request_is_a_problem(self, servers, tmp_path):
        """With gunicorn's status; nothing of what came is repeated, since a credential may stand in it."""
        with servers(tmp_path, "--server", "gunicorn") as server:
            host, _, port = server.url.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(b"GET /collection/read/cr_secret/x HTTP/1.1\r\nno header\r\n\r\n")
                with connection.makefile("rb") as answer:
                    head, _, body = answer.read().partition(b"\r\n\r\n")

        assert head.split()[1] == b"400"
        assert b"application/problem+json" in head
        assert json.loads(body)["code"] == "BadRequest"
        assert b"secret" not in body


WORKERS = """
import os, sys
from connectome.config import Settings
from connectome.web import forking, serving

def prepared(first):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    print("first" if first else "another", flush=True)
    return app, lambda: print("closed", flush=True)

bound = serving.bind("127.0.0.1", 0)
print(serving.url_of("127.0.0.1", bound), flush=True)
forking.run(prepared, bound, Settings(server="gunicorn", store="mongodb://nowhere/x", workers=2, threads=1))
"""


class TestWorkers:
    def test_each_is_prepared_and_closed_after_the_fork(self):
        """One of them is the first, whose task it is to greet; requests are answered by forks alone."""
        with subprocess.Popen([sys.executable, "-c", WORKERS], stdout=subprocess.PIPE, text=True) as process:
            url = process.stdout.readline().strip()
            roles = [process.stdout.readline().strip() for _ in range(2)]
            answered = {int(requests.get(url, timeout=30).text) for _ in range(40)}
            process.terminate()
            rest = process.stdout.read().split()

        assert sorted(roles) == ["another", "first"]
        assert process.pid not in answered
        assert (process.returncode, rest) == (0, ["closed", "closed"])


class TestWorkersOverMongoDB:
    def test_what_one_has_written_all_of_them_have(self, servers, tmp_path, database):
        """Two processes answer, from one database; a signal to the first ends all of them well."""
        options = ("--server", "gunicorn", "--workers", "2", "--store", database, "--log-format", "json")
        with servers(tmp_path, *options, token="ca_of_the_tests") as server:
            collection = server.admin.collection()
            workers, written = set(), 0
            for _ in range(300):
                # On a connection of its own, which any of them may accept.
                answer = collection.call("write", {"_id": written}, headers={"Connection": "close"})
                if answer.status_code == 401:  # the other one has made it, and this one hears of it in a second
                    time.sleep(0.1)
                    continue
                assert answer.status_code == 201, answer.text
                written += 1
                # The first part of the id of a request is that of a process.
                workers.add(answer.headers["X-Request-Id"].partition("-")[0])
                if len(workers) == 2 and written > 20:
                    break
            assert len(workers) == 2

            alone = {"Connection": "close"}
            found = [collection.call("readwithquery", {"sort": {"_id": 1}}, headers=alone) for _ in range(20)]
            assert {each.text for each in found} == {found[0].text}
            assert [each["_id"] for each in found[0].json()] == list(range(written))
            assert server.end(signal.SIGTERM) == 0
            assert not server.output.partition("stops it.\n")[2]


def alive(server):
    """Whether requests are answered."""
    try:
        return server.request("GET", "/-/health", timeout=5).ok
    except OSError:
        return False


class TestRefusing:
    def test_a_directory_in_use_has_its_exit_code(self, servers, tmp_path):
        """The worker finds it out; one line, and the exit code of the first process."""
        with servers(tmp_path) as server:
            ended = subprocess.run(
                [sys.executable, "-m", "connectome", "serve", tmp_path, "--server", "gunicorn", "--port", "0"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert server.request("GET", "/-/health").ok

        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (3, "", 1)
        assert "is in use by process" in ended.stderr

    def test_without_it_the_way_to_it_is_named(self, monkeypatch):
        """Before a port is taken."""
        monkeypatch.setattr(serving, "find_spec", lambda _: None)

        with pytest.raises(ConfigurationError, match=r"pip install 'connectome\[gunicorn\]'"):
            serving.require_gunicorn()
