"""The server: an address bound before anything is opened, and waitress, which here speaks problems like all else."""

from __future__ import annotations

import logging
import socket
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from connectome.errors import AddressUnavailable
from connectome.web import problems


class _Problem(ErrorTask):
    """What waitress answers to bytes that are no request, which never reach the application."""

    def execute(self) -> None:
        request: Any = self.request  # typed wrongly in the stubs
        error = request.error
        response = problems.refusal(error.code, error.reason, str(error.body))
        self.status = response.status
        self.response_headers = list(response.headers.items())
        self.set_close_on_finish()
        self.content_length = len(response.data)
        self.write(response.data)


class _Channel(HTTPChannel):
    error_task_class = _Problem


def bind(host: str, port: int) -> socket.socket:
    """
    A socket that listens, so that nobody else can have the address, and its port is known before anything is opened.

    Raises:
        AddressUnavailable: The address is in use, not of this machine, or not ours to take.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Two servers may bind one port; only one of them may listen.
        bound.listen(1)
    except OSError as error:
        reason = error.strerror or error
        raise AddressUnavailable(f"cannot listen on {host} port {port}: {reason}; another --port may do") from None
    return bound


def url_of(host: str, bound: socket.socket) -> str:
    """Where a client on this machine reaches a server."""
    port = bound.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{reachable}:{port}"


def run(app: Flask, bound: socket.socket, *, threads: int) -> None:
    """Serve until SystemExit or KeyboardInterrupt; requests that have begun are finished."""
    # "Task queue depth is 1" is no news to anybody.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server: Any = create_server(app, sockets=[bound], threads=threads)
    server.channel_class = _Channel
    server.run()
