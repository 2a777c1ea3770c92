"""
How slow a client may be: connections that stand still, or nearly so, are closed, whichever server speaks HTTP.

No server has a least speed for what comes and for what is sent, and granian and gunicorn wait for a body as long as it
takes.  Linux counts the bytes of every connection, so that it can be seen from outside of them.  No Flask.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from connectome.config import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Where a body is read at once, before anything is held that another request may wait for.
OPERATIONS: Final = ("/collection/", "/app/")
# A connection is looked at this often while it may idle.
_LOOKS: Final = 4
_OPEN_FILES: Final = "/proc/self/fd"
# Of struct tcp_info the bytes that the client has confirmed, and those that came from it; Linux 4.1.
_COUNTED: Final = struct.Struct("120xQQ")
_COUNT: Final = struct.Struct("i")
# What is not sent yet is thrown away, and the client hears of an error.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Turns:
    """
    Has so many operations worked on at the same time, however many threads there are to wait for their clients.

    Who waits for a body has given up its turn, and so has who waits for its answer to be taken.

    onward: the application that answers.
    """

    def __init__(self, onward: WSGIApplication, most: int) -> None:
        self.onward = onward
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(most):
            self._free.put(None)
        self._begun: set[_Work] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        takes_turn = environ.get("PATH_INFO", "").startswith(OPERATIONS)
        work = _Work(environ["wsgi.input"], environ.get("REMOTE_ADDR", ""), self._free if takes_turn else None)
        environ["wsgi.input"] = work
        self._begun.add(work)
        if takes_turn:
            self._free.get()
        try:
            return self.onward(environ, start_response)
        finally:
            if takes_turn:
                self._free.put(None)
            self._begun.discard(work)

    def works_since(self, remote: str, moment: float) -> bool:
        """Whether anything has been worked on for this address since then, or longer."""
        return any(_without_zone(work.remote) == remote and work.since <= moment for work in list(self._begun))


class _Work:
    """
    A request that is worked on, which has the place of its body, so as to know when that is waited for.

    since: when it was begun, or its body had come; infinity where it waits for that.
    """

    __slots__ = ("_free", "_stream", "remote", "since")

    def __init__(self, stream: Any, remote: str, free: SimpleQueue[None] | None) -> None:
        self._stream, self.remote, self._free = stream, remote, free
        self.since = time.monotonic()

    def read(self, size: int) -> bytes:
        """As the stream does, which is read by this alone; meanwhile another one has the turn."""
        self.since = float("inf")
        if self._free is not None:
            self._free.put(None)
        try:
            content: bytes = self._stream.read(size)
            return content
        finally:
            self.since = time.monotonic()
            if self._free is not None:
                self._free.get()


@dataclass(frozen=True, slots=True)
class Counted:
    """
    What the system has counted of a connection.

    received, sent: bytes that came, and those of which the client has confirmed that they have come.
    unread, unsent: bytes that wait for the server to take them, and those that wait for the client.
    """

    received: int
    sent: int
    unread: int
    unsent: int


class Watched:
    """
    A connection that is looked at again and again.

    Args:
        idle_seconds: How long it may stand still, and over how long its speed is taken.
        least: bytes a second.
    """

    def __init__(self, first: Counted, now: float, *, idle_seconds: float, least: int) -> None:
        self._idle_seconds = idle_seconds
        self._least = least
        self._last = first
        self._moved = now
        # Since when bytes have come, or waited to be taken, without a break; and how many had moved then.
        self._coming: tuple[float, int] | None = None
        self._leaving: tuple[float, int] | None = None

    def is_too_slow(self, counted: Counted, now: float) -> bool:
        """Whether a request comes, or its answer is taken, at less than the least speed."""
        last, self._last = self._last, counted
        if (counted.received, counted.sent) != (last.received, last.sent):
            self._moved = now
        if counted.sent != last.sent:  # what came has been answered
            self._coming = None
        elif counted.received != last.received:
            self._coming = self._coming or (now, last.received)
            if self._is_over(self._coming, now):
                if self._is_less(self._coming, counted.received, now):
                    return True
                self._coming = now, counted.received
        self._leaving = (self._leaving or (now, counted.sent)) if counted.unsent else None
        if self._leaving and self._is_over(self._leaving, now):
            if self._is_less(self._leaving, counted.sent, now):
                return True
            self._leaving = now, counted.sent
        return False

    def stands_since(self, counted: Counted) -> float:
        """Since when nothing has moved, and nothing waits to be read or taken; else infinity."""
        return float("inf") if counted.unread or counted.unsent else self._moved

    def _is_over(self, since: tuple[float, int], now: float) -> bool:
        return now - since[0] >= self._idle_seconds

    def _is_less(self, since: tuple[float, int], moved: int, now: float) -> bool:
        return moved - since[1] < max(self._least * (now - since[0]), 1)


def watch(port: int, settings: Settings, works_since: Callable[[str, float], bool] | None = None) -> None:
    """
    Close, from now on and in a thread, connections of this process that are too slow; nothing where not on Linux.

    Args:
        port: That on which they came.
        works_since: Whether something is worked on for an address.  Where it is given, connections that stand still are
            closed too, be they in the middle of a request; a server that does so itself needs none.
    """
    if sys.platform == "linux" and os.path.isdir(_OPEN_FILES):
        threading.Thread(target=_watch, args=(port, settings, works_since), name="pace", daemon=True).start()


def _watch(port: int, settings: Settings, works_since: Callable[[str, float], bool] | None) -> None:
    idle_seconds = settings.idle_seconds
    watched: dict[int, Watched] = {}
    while True:
        time.sleep(idle_seconds / _LOOKS)
        now = time.monotonic()
        seen: dict[int, Watched] = {}
        for inode, connection, remote in _connections(port):
            counted = _counted(connection)
            found = watched.get(inode)
            if found is None:
                found = Watched(counted, now, idle_seconds=idle_seconds, least=settings.min_bytes_per_second)
            elif found.is_too_slow(counted, now) or (
                works_since
                and found.stands_since(counted) <= now - idle_seconds
                # What has been worked on for a shorter time came later than anything did on this connection.
                and not works_since(remote, now - idle_seconds / 2)
            ):
                _close(connection)
            seen[inode] = found
        watched = seen


def _connections(port: int) -> Iterator[tuple[int, socket.socket, str]]:
    """Those that came on a port: what the system calls each, a socket for as long as it is looked at, the address."""
    for name in os.listdir(_OPEN_FILES):
        # It may be closed at any moment by whoever has it, and its number be another file's.
        with suppress(OSError):
            if not _is_socket(int(name)):
                continue
            descriptor = os.dup(int(name))
            if not _is_socket(descriptor):
                os.close(descriptor)
                continue
            with closing(socket.socket(fileno=descriptor)) as connection:
                own = connection.getsockname()
                if type(own) is tuple and own[1:2] == (port,):
                    yield os.fstat(descriptor).st_ino, connection, _without_zone(connection.getpeername()[0])


def _without_zone(address: str) -> str:
    """An address as every server writes it: to some ``fe80::1`` is ``fe80::1%eth0``."""
    return address.partition("%")[0]


def _is_socket(descriptor: int) -> bool:
    return stat.S_ISSOCK(os.fstat(descriptor).st_mode)


def _counted(connection: socket.socket) -> Counted:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _COUNTED.size)
    sent, received = _COUNTED.unpack(info)
    unread, unsent = (
        _COUNT.unpack(fcntl.ioctl(connection, of, bytes(_COUNT.size)))[0] for of in (termios.FIONREAD, termios.TIOCOUTQ)
    )
    return Counted(received, sent, unread, unsent)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        connection.shutdown(socket.SHUT_RDWR)
