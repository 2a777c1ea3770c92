"""
The server: an address bound before anything is opened, and what speaks HTTP there.

waitress is always installed, and here speaks problems like all else.  granian answers several times as many requests
a second; it is taken where it is installed, and runs in this process, which holds the data directory.
"""

from __future__ import annotations

import atexit
import copy
import logging
import os
import re
import socket
import threading
from collections.abc import Callable
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import FixedStreamReceiver
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher
from waitress.utilities import RequestEntityTooLarge

from connectome.config import Settings
from connectome.errors import AddressUnavailable, BodyTooLarge, ConfigurationError
from connectome.network import is_loopback
from connectome.web import pace, problems
from connectome.web.pace import OPERATIONS, Turns

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# How many connections may wait to be accepted.
BACKLOG: Final = 1024
# How long requests that have begun are given to end once the server shall.
GRACE_SECONDS: Final = 5
_LOOK_SECONDS: Final = 0.5
# The stack of a thread that works on requests.
STACK_BYTES: Final = 16 * 1024 * 1024

# Where every body has one limit.  Of an import the size is not limited: such go to waitress's temporary files.
_LIMITED: Final = OPERATIONS
_UNLIMITED_BYTES: Final = 2**40
# A client that is still sending does not hear an answer: one that announces no more than this is let finish.
_HEARD_OUT_BYTES: Final = 64 * 1024 * 1024
# So much of an answer may wait for its client, before what makes it waits too.
_UNSENT_BYTES: Final = 1024 * 1024
# How often waitress looks for connections to close.
_LOOKED_AT_SECONDS: Final = 5
# So many requests may wait for their clients, each in a thread; they are made as they are needed.
_WAITING_THREADS: Final = 1000
_DEFAULTS: Final = Settings()

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


def chosen(server: str, settings: Settings = _DEFAULTS) -> Run:
    """
    What serves an application on a bound socket with so many threads, until SystemExit or KeyboardInterrupt.

    Args:
        server: ``granian``, ``waitress``, or ``auto`` for granian where it is installed, and strangers do not reach
            it: there a body that comes in slowly holds a thread of its own, in waitress none.
        settings: The limits of connections are read of them.

    Raises:
        ConfigurationError: granian is asked for, and not installed.
    """
    installed = has_granian()
    if server == "granian" and not installed:
        raise ConfigurationError(
            "server is granian, and none from 2.8.2 on is installed: pip install 'connectome[fast]'"
        )
    exposed = not is_loopback(settings.host) and not settings.trusted_proxy
    run = _with_waitress if not installed or server == "waitress" or (server == "auto" and exposed) else _with_granian
    return run if settings is _DEFAULTS else partial(run, settings=settings)


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
        if error.code == 413:
            refusal = problems.of(BodyTooLarge(str(error.body)), "")
        else:
            refusal = problems.refusal(error.code, error.reason, str(error.body))
        self.status, self.response_headers = refusal.status_line, refusal.all_headers
        self.set_close_on_finish()
        self.content_length = refusal.length
        for piece in refusal.pieces:
            self.write(piece)


class _Nowhere:
    """Takes a body that is refused."""

    def append(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def __len__(self) -> int:
        return 0


class _Parser(HTTPRequestParser):
    """A request as waitress reads it, which keeps no body that is too large."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        this: Any = self  # typed wrongly in the stubs
        self._refused = False
        if this.path.startswith(_LIMITED):
            self._refused = this.content_length > this.adj.max_body_bytes
            if self._refused and not this.expect_continue and this.content_length <= _HEARD_OUT_BYTES:
                this.body_rcv = FixedStreamReceiver(this.content_length, _Nowhere())  # type: ignore[arg-type]
            else:
                this.adj = this.adj.bounded
                # Who asks first is told at once, and not to go on.
                this.expect_continue = this.expect_continue and not self._refused

    def received(self, data: bytes) -> int:
        this: Any = self
        consumed: int = super().received(data)
        if this.completed and (this.error.code == 413 if this.error else getattr(self, "_refused", False)):
            came = f"{this.content_length} bytes" if this.content_length else "more"
            this.error = RequestEntityTooLarge(
                f"the server reads bodies of up to {this.adj.max_body_bytes} bytes, not {came}"
            )
        return consumed


class _Channel(HTTPChannel):
    error_task_class = _Problem
    parser_class = _Parser


class _Dispatcher(ThreadedTaskDispatcher):
    """Starts a thread for whoever would wait for one, up to so many: whose turn it is to work is another matter."""

    def add_task(self, task: Any) -> None:
        super().add_task(task)
        this: Any = self  # typed wrongly in the stubs
        idle = len(this.threads) - this.stop_count - this.active_count
        if len(this.queue) > idle and not this.stop_count and len(this.threads) < _WAITING_THREADS:
            self.set_thread_count(len(this.threads) + 1)


def _with_waitress(app: WSGIApplication, bound: socket.socket, threads: int, settings: Settings = _DEFAULTS) -> None:
    # "Task queue depth is 1" is no news to anybody.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    pace.watch(bound.getsockname()[1], settings)
    dispatcher = _Dispatcher()
    dispatcher.set_thread_count(threads)
    waitress_server(Turns(app, threads), bound, threads, settings, _dispatcher=dispatcher).run()


def waitress_server(
    app: WSGIApplication, bound: socket.socket, threads: int, settings: Settings, **adjustments: Any
) -> Any:
    """A server of waitress that speaks problems like all else, and does not run yet."""
    server: Any = create_server(
        app,
        sockets=[bound],
        threads=threads,
        backlog=BACKLOG,
        connection_limit=settings.max_connections,
        channel_timeout=settings.idle_seconds,
        cleanup_interval=min(settings.idle_seconds, _LOOKED_AT_SECONDS),
        max_request_header_size=settings.max_header_bytes,
        max_request_body_size=_UNLIMITED_BYTES,
        outbuf_high_watermark=_UNSENT_BYTES,
        # select knows no more than 1024 files.
        asyncore_use_poll=True,
        # Whom to believe is for the application to say, on every server alike.
        clear_untrusted_proxy_headers=False,
        **adjustments,
    )
    server.adj.max_body_bytes = settings.max_body_bytes
    server.adj.bounded = copy.copy(server.adj)
    server.adj.bounded.max_request_body_size = settings.max_body_bytes + 1
    server.channel_class = _Channel
    tidied = server.maintenance

    def maintenance(now: float) -> None:
        """Close what is idle; and, which waitress does not, connections whose client has stopped reading."""
        tidied(now)
        for channel in list(server.active_channels.values()):
            if channel.total_outbufs_len and channel.last_activity < now - settings.idle_seconds:
                channel.handle_close()

    server.maintenance = maintenance
    return server


def _with_granian(app: WSGIApplication, bound: socket.socket, threads: int, settings: Settings = _DEFAULTS) -> None:
    """
    Run granian's WSGI worker in a thread.

    granian's own ``serve`` starts a process for it: one that would hold the store, and outlive the death of its
    parent.  Its server for free-threaded Python has the worker in a thread, which is all that is taken of it.
    """
    # Rust's threads have 2 MiB, in which a recursion dies before it comes to Python's limit.
    os.environ.setdefault("RUST_MIN_STACK", str(STACK_BYTES))
    from granian.constants import HTTPModes, Interfaces, RuntimeModes
    from granian.http import HTTP1Settings
    from granian.net import SocketHolder  # type: ignore[attr-defined]
    from granian.server.mt import MTServer

    server: Any = MTServer(
        "connectome",
        interface=Interfaces.WSGI,
        # One for each that may be slow: whose turn it is to be worked on is another matter.
        blocking_threads=max(threads, min(settings.max_connections, _WAITING_THREADS)),
        runtime_mode=RuntimeModes.mt,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=settings.idle_seconds * 1000, max_buffer_size=settings.max_header_bytes
        ),
        backpressure=settings.max_connections,
        websockets=False,
        log_enabled=False,
    )
    turns = Turns(app, threads)
    pace.watch(bound.getsockname()[1], settings, turns.works_since)
    server._shd = SocketHolder(bound.detach(), False, BACKLOG)  # type: ignore[call-arg]  # the stubs know none
    ended = threading.Event()  # a join that a signal interrupts takes its thread for ended

    def work(*arguments: Any) -> None:
        try:
            server._spawn_wsgi_worker(*arguments)
        finally:
            ended.set()

    worker = server._spawn_worker(0, work, turns)
    worker.inner.daemon = True  # a request that does not end does not keep the process
    try:
        worker.inner.start()
        # A signal that the system hands to another thread wakes nobody: it is seen when this one looks up.
        while not ended.wait(_LOOK_SECONDS):
            pass
        raise RuntimeError("granian's worker has ended by itself")
    finally:
        worker.terminate()
        if not ended.wait(GRACE_SECONDS):
            # A thread of granian's that comes back to an interpreter which is ending aborts the process.
            atexit.register(os._exit, 0)
