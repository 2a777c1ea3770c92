"""
A server that speaks MongoDB's protocol, in a process of its own.

No mongod can be installed as a Python package.  SecantusDB can, and answers nearly as mongod does: where it is known
not to, ``tests/spec_on_mongodb.json`` says so.  ``CONNECTOME_TEST_MONGODB`` points the tests at another server.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest
from pymongo.errors import ConnectionFailure

START_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class MongoDBServer:
    """
    A process that serves until it is closed.

    storage: where it keeps everything; memory where that is not given.
    """

    def __init__(self, storage: Path | None = None, *options: str) -> None:
        self._command = shutil.which("secantusd-py", path=str(Path(sys.executable).parent))
        if self._command is None:
            pytest.skip("no MongoDB: pip install -e '.[test-mongodb]', or name one by CONNECTOME_TEST_MONGODB")
        self._storage = str(storage) if storage else ":memory:"
        self._options = options
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = subprocess.Popen(
            [
                *(self._command, "--host", "127.0.0.1", "--port", str(self.port)),
                *("--storage-path", self._storage, "--log-level", "ERROR", *self._options),
            ],
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + START_SECONDS
        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=200) as client:
            while True:
                try:
                    client.admin.command("ping")
                except ConnectionFailure:
                    assert self._process.poll() is None, "the MongoDB server of the tests did not start"
                    assert time.monotonic() < until, "the MongoDB server of the tests does not answer"
                else:
                    return

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        self._process.wait()

    # Nobody needs what it holds, and it takes five seconds to end well.
    close = kill


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """The URL of a database that lasts as long as the ``with``."""
    name = f"connectome-{uuid4().hex[:12]}"
    host, _, options = server.partition("?")
    try:
        yield f"{host.rstrip('/')}/{name}{'?' + options if options else ''}"
    finally:
        with pymongo.MongoClient(server) as client:
            client.drop_database(name)
