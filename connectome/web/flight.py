"""How many requests are being worked on: a layer of WSGI around the application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class InFlight:
    """
    Counts requests until the last byte of their answers is sent.

    onward: the application that gets them.
    """

    def __init__(self, onward: WSGIApplication) -> None:
        self.onward = onward
        # One element for each: a list grows and shrinks as one, in a tenth of the time that a lock takes.
        self._begun: list[None] = []

    @property
    def count(self) -> int:
        """How many requests have begun and not ended."""
        return len(self._begun)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._begun.append(None)
        try:
            answer = self.onward(environ, start_response)
        except BaseException:
            self._begun.pop()
            raise
        if type(answer) is list:  # it is whole, and waits for nobody
            self._begun.pop()
            return answer
        return ClosingIterator(answer, [self._begun.pop])
