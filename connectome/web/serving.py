"""
The server: an address bound before anything is opened, and what speaks HTTP there.

waitress is always installed, and here speaks problems like all else.  granian answers several times as many requests
a second; it is taken where it is installed, and runs in this process, which holds the data directory.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import socket
import threading
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from connectome.errors import AddressUnavailable, ConfigurationError
from connectome.web import problems

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# How many connections may wait to be accepted.
BACKLOG: Final = 1024
# How long requests that have begun are given to end once the server shall.
GRACE_SECONDS: Final = 5
# The stack of a thread that works on requests.
STACK_BYTES: Final = 16 * 1024 * 1024

Run = Callable[["WSGIApplication", socket.socket, int], None]


def bind(host: str, port: int) -> socket.socket:
    """
    A socket that listens, so that nobody else can have the address, and its port is known before anything is opened.

    Raises:
        AddressUnavailable: The address is in use, not of this machine, or not ours to take.
    """
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: what is sent in two parts does not wait for the client to confirm the first.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(address)
        # Two servers may bind one port; only one of them may listen.
        bound.listen(BACKLOG)
    except OSError as error:
        if bound:
            bound.close()
        reason = error.strerror or error
        raise AddressUnavailable(f"cannot listen on {host} port {port}: {reason}; another --port may do") from None
    return bound


def url_of(host: str, bound: socket.socket) -> str:
    """Where a client on this machine reaches a server."""
    port = bound.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{reachable}:{port}"


def chosen(server: str) -> Run:
    """
    What serves an application on a bound socket with so many threads, until SystemExit or KeyboardInterrupt.

    Args:
        server: ``granian``, ``waitress``, or ``auto`` for granian where it is installed.

    Raises:
        ConfigurationError: granian is asked for, and not installed.
    """
    installed = has_granian()
    if server == "granian" and not installed:
        raise ConfigurationError(
            "server is granian, and none from 2.8.2 on is installed: pip install 'connectome[fast]'"
        )
    return _with_granian if installed and server != "waitress" else _with_waitress


def has_granian() -> bool:
    """Whether a granian is installed whose parts are those that are used here."""
    try:
        version = re.findall(r"\d+", metadata.version("granian"))
    except metadata.PackageNotFoundError:
        return False
    return (2, 8, 2) <= tuple(map(int, version[:3])) < (3,)


def require_gunicorn() -> None:
    """
    Look whether ``forking`` can be imported.

    Raises:
        ConfigurationError: gunicorn is not installed.
    """
    if not find_spec("gunicorn"):
        raise ConfigurationError("server is gunicorn, which is not installed: pip install 'connectome[gunicorn]'")


class _Problem(ErrorTask):
    """What waitress answers to bytes that are no request, which never reach the application."""

    def execute(self) -> None:
        request: Any = self.request  # typed wrongly in the stubs
        error = request.error
        refusal = problems.refusal(error.code, error.reason, str(error.body))
        self.status, self.response_headers = refusal.status_line, refusal.all_headers
        self.set_close_on_finish()
        self.content_length = refusal.length
        for piece in refusal.pieces:
            self.write(piece)


class _Channel(HTTPChannel):
    error_task_class = _Problem


def _with_waitress(app: WSGIApplication, bound: socket.socket, threads: int) -> None:
    # "Task queue depth is 1" is no news to anybody.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server: Any = create_server(
        app,
        sockets=[bound],
        threads=threads,
        backlog=BACKLOG,
        # Whom to believe is for the application to say, on every server alike.
        clear_untrusted_proxy_headers=False,
    )
    server.channel_class = _Channel
    server.run()


def _with_granian(app: WSGIApplication, bound: socket.socket, threads: int) -> None:
    """
    Run granian's WSGI worker in a thread.

    granian's own ``serve`` starts a process for it: one that would hold the store, and outlive the death of its
    parent.  Its server for free-threaded Python has the worker in a thread, which is all that is taken of it.
    """
    # Rust's threads have 2 MiB, in which a recursion dies before it comes to Python's limit.
    os.environ.setdefault("RUST_MIN_STACK", str(STACK_BYTES))
    from granian.constants import HTTPModes, Interfaces, RuntimeModes
    from granian.net import SocketHolder  # type: ignore[attr-defined]
    from granian.server.mt import MTServer

    server: Any = MTServer(
        "connectome",
        interface=Interfaces.WSGI,
        blocking_threads=threads,
        runtime_mode=RuntimeModes.mt,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    server._shd = SocketHolder(bound.detach(), False, BACKLOG)  # type: ignore[call-arg]  # the stubs know none
    ended = threading.Event()  # a join that a signal interrupts takes its thread for ended

    def work(*arguments: Any) -> None:
        try:
            server._spawn_wsgi_worker(*arguments)
        finally:
            ended.set()

    worker = server._spawn_worker(0, work, app)
    worker.inner.daemon = True  # a request that does not end does not keep the process
    try:
        worker.inner.start()
        ended.wait()
        raise RuntimeError("granian's worker has ended by itself")
    finally:
        worker.terminate()
        if not ended.wait(GRACE_SECONDS):
            # A thread of granian's that comes back to an interpreter which is ending aborts the process.
            atexit.register(os._exit, 0)
