"""How many requests are being worked on: a layer of WSGI around the application."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class InFlight:
    """
    Counts requests until the last byte of their answers is sent.

    count: how many have begun and not ended.
    onward: the application that gets them.
    """

    def __init__(self, onward: WSGIApplication) -> None:
        self.onward = onward
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            self.count += 1
        try:
            answer = self.onward(environ, start_response)
        except BaseException:
            self._end()
            raise
        if type(answer) is list:  # it is whole, and waits for nobody
            self._end()
            return answer
        return ClosingIterator(answer, [self._end])

    def _end(self) -> None:
        with self._lock:
            self.count -= 1
