"""
A mock server on a port: waitress, in the foreground or in a thread.

waitress alone: it sends what it is given when it is given it, cuts a connection whose answer is shorter than was
announced, and says when a client has gone.  granian 2.8 leaves the connection of such an answer open.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from waitress import wasyncore

from connectome.web import serving
from connectome.web.mocking import Mock

# A request that waits holds a thread; sleeping ones cost nothing but their stack.
THREADS: Final = 64


class Listening:
    """A mock server that listens on a bound socket."""

    def __init__(self, mock: Mock, bound: socket.socket) -> None:
        self._mock = mock
        # A fault is no news; "Task queue depth is 1" neither.
        for name in ("waitress", "waitress.queue"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # A look ahead, so that it is seen when a client leaves.
        self._server: Any = serving.waitress_server(mock, bound, THREADS, mock.settings, channel_request_lookahead=1)
        self._thread = threading.Thread(target=self._server.run, name="connectome-mock", daemon=True)

    def run(self) -> None:
        """Serve until SystemExit or KeyboardInterrupt."""
        self._server.run()

    def start(self) -> None:
        """Serve in a thread, until ``close``."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; requests that have begun are given some seconds to end."""
        self._mock.close()
        # In the thread of the loop, which nothing else may take its sockets from.  Where that is awake already, it may
        # have closed them before it is woken.
        with suppress(OSError):
            self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._server._map))
        self._thread.join()
        self._server.task_dispatcher.shutdown()
