"""
gunicorn, run from our own process, on a socket that is bound already.

The process that was started looks after workers; each of those is forked off first and opens the store then: threads
and connections do not survive a fork.  gunicorn's own log goes the way of all others, and what it refuses before the
application sees it is answered with a problem.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.sock import TCP6Socket, TCPSocket
from gunicorn.workers.gthread import ThreadWorker

from connectome.config import Settings
from connectome.web import pace, problems
from connectome.web.pace import Turns
from connectome.web.serving import GRACE_SECONDS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# What a worker has: an application, and what closes the store behind it.  The argument says whether it is the first.
Prepare = Callable[[bool], "tuple[WSGIApplication, Callable[[], None]]"]

_log: Final = logging.getLogger("gunicorn.error")


class _Answered:
    """A socket to gunicorn, which keeps what is written to it."""

    def __init__(self) -> None:
        self.content = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, content: bytes) -> None:
        self.content += content


class _Worker(ThreadWorker):  # type: ignore[misc]  # it has no types
    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer bytes that are no request: with gunicorn's status, as a problem."""
        answered = _Answered()
        super().handle_error(req, answered, addr, exc)
        status, _, reason = answered.content.partition(b"\r\n")[0].decode("latin-1").partition(" ")[2].partition(" ")
        if status.isdigit():
            # Not what came: a credential may stand in it.
            refusal = problems.refusal(int(status), reason.title(), "this cannot be read as a request of HTTP/1.1")
            lines = [f"HTTP/1.1 {refusal.status_line}", *(f"{name}: {value}" for name, value in refusal.all_headers)]
            head = "\r\n".join([*lines, "Connection: close", "", ""])
            client.sendall(b"".join([head.encode("latin-1"), *refusal.pieces]))


class _Arbiter(Arbiter):  # type: ignore[misc]
    def handle_int(self) -> NoReturn:
        """End as well as by SIGTERM: what has begun is finished."""
        raise StopIteration

    def _ignore(self) -> None:
        """Workers beyond the first ones could not have the store, nor a second program the socket."""

    handle_hup = handle_usr2 = handle_ttin = handle_ttou = _ignore


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, prepare: Prepare, port: int, settings: Settings) -> None:
        self._prepare = prepare
        self._port = port
        self._settings = settings
        self._close: Callable[[], None] = lambda: None
        # What a worker that could not begin leaves as the exit code, for all processes to see.
        self.failed = mmap.mmap(-1, 1)
        self._first = True
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "workers": self._settings.workers,
            "threads": self._settings.threads,
            "worker_connections": self._settings.max_connections,
            "worker_class": _Worker,
            "graceful_timeout": GRACE_SECONDS,
            # A store that takes long to open is no worker that hangs.
            "timeout": 0,
            "control_socket_disable": True,
            "errorlog": None,
            "loglevel": "info" if _log.isEnabledFor(logging.INFO) else "error",
            "proc_name": "connectome",
            "pre_fork": self._forking,
            "worker_exit": lambda _, __: self._close(),
        }.items():
            self.cfg.set(name, value)

    def _forking(self, _: object, worker: Any) -> None:
        self._first = worker.age == 1

    def load(self) -> WSGIApplication:
        """Called in each worker."""
        try:
            app, self._close = self._prepare(self._first)
        except SystemExit as error:
            if not error.code:  # a signal came, and ends it well
                raise
            self.failed[0] = error.code if type(error.code) is int else 1
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
        turns = Turns(app, self._settings.threads)
        pace.watch(self._port, self._settings, turns.works_since)
        return turns


def _without_what_came(record: logging.LogRecord) -> bool:
    """Whether to keep a record, of which what quotes a request is cut: a credential may stand anywhere in that."""
    opening = re.match(r"Invalid request|Error handling request", record.getMessage())
    if opening:
        record.msg, record.args = opening[0], None
    return record.levelno > logging.DEBUG


def run(prepare: Prepare, bound: socket.socket, settings: Settings) -> NoReturn:
    """
    Serve until a signal, by as many processes and threads as are set.

    Args:
        prepare: Called in each worker; what it cannot begin for it says itself, and leaves with the exit code.
        settings: The limits of connections are read of them, too.

    Raises:
        SystemExit: In the first process with the exit code, and in each worker when that ends.
    """
    first = os.getpid()
    application = _Application(prepare, bound.getsockname()[1], settings)
    arbiter = _Arbiter(application)
    # Of a worker that could not begin, the reason has been told.
    _log.addFilter(lambda _: not application.failed[0])
    _log.addFilter(_without_what_came)
    _log.propagate = True
    kind = TCP6Socket if bound.family == socket.AF_INET6 else TCPSocket
    arbiter.LISTENERS = [kind(None, application.cfg, arbiter.log, fd=bound.detach())]
    try:
        arbiter.run()
    except SystemExit:
        if os.getpid() == first and application.failed[0]:
            sys.exit(application.failed[0])
        raise
    raise RuntimeError("gunicorn has ended by itself")
