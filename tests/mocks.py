"""A ``connectome mock`` as a process, and the file that most of these serve."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

# The example of json-server's README.
DB = """{
  "$schema": "./node_modules/json-server/schema.json",
  "posts": [
    { "id": "1", "title": "a title", "views": 100 },
    { "id": "2", "title": "another title", "views": 200 }
  ],
  "comments": [
    { "id": "1", "text": "a comment about post 1", "postId": "1" },
    { "id": "2", "text": "another comment about post 1", "postId": "1" }
  ],
  "profile": {
    "name": "typicode"
  }
}
"""


class MockProcess:
    """
    A ``connectome mock`` on a free port.

    greeting: what it said when it was ready.
    output: everything else that it wrote, once it has ended.
    """

    def __init__(self, *arguments: object, environ: dict[str, str] | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTOME_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "connectome", "mock", *map(str, arguments), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**kept, **(environ or {})},
        )
        self.greeting = ""
        for line in self.process.stdout:
            self.greeting += line
            if line.startswith("Ctrl+C"):
                break
        self.output = ""
        found = re.search(r" at (http://\S+): ", self.greeting)
        self.url = found[1] if found else ""
        self.session = requests.Session()
        self.session.trust_env = False

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, json=body, timeout=30, **options)

    def documents(self, collection: str) -> Any:
        return self.send("GET", f"/-/mock/documents/{collection}").json()

    def raw(self, request: str) -> socket.socket:
        """A connection on which one request was sent."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=30)
        connection.sendall(request.encode())
        return connection

    def end(self) -> int:
        """Stop it as Ctrl+C does; its exit status."""
        self.session.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.output += self.process.communicate(timeout=30)[0]
        return self.process.returncode


@contextmanager
def mocking(*arguments: object, **options: Any) -> Iterator[MockProcess]:
    mock = MockProcess(*arguments, **options)
    try:
        assert mock.url, mock.greeting
        yield mock
    finally:
        status = mock.end()
    assert (status, "Traceback" in mock.output) == (0, False), mock.output
