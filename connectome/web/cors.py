"""
Pages of other origins: which of them may call the operations, and read what is answered.  WSGI, no Flask.

Only what a credential of a collection opens is offered to them, never administration nor the console, where a browser
brings along by itself what signs a person in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from connectome.network import Origins

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What pages of other origins may call.
PREFIXES: Final = ("/collection/", "/app/")

_METHODS: Final = "GET, HEAD, POST, DELETE"
_HEADERS: Final = "Accept, Authorization, Content-Type, If-None-Match, X-Request-Id, Api-Key, apiKey"
_OWN: Final = "connectome-"
_EXPOSED: Final = "ETag, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Allow"
# The longest for which a browser believes it: Chromium's bound.
_MAX_AGE_SECONDS: Final = "7200"


class CrossOrigin:
    """
    Answers preflights, and tells browsers whose pages may read an answer, be it a document or a problem.

    origins: those of which pages may.
    onward: the application that gets everything else.
    """

    def __init__(self, onward: WSGIApplication, origins: Origins) -> None:
        self.onward = onward
        self._origins = origins

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(PREFIXES):
            return self.onward(environ, start_response)
        origin = environ.get("HTTP_ORIGIN")
        headers = [("Vary", "Origin")] if not self._origins.every else []
        if origin is not None and origin in self._origins:
            headers.append(("Access-Control-Allow-Origin", "*" if self._origins.every else origin))
            if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
                start_response("204 NO CONTENT", headers + _preflight(environ))
                return []
            headers.append(("Access-Control-Expose-Headers", _EXPOSED))

        def start(status: str, given: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            return start_response(status, given + headers, *error)

        return self.onward(environ, start)


def _preflight(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """What a page of an origin that may is told of the request that it is about to send."""
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",")
    own = sorted({name for each in asked if (name := each.strip().lower()).startswith(_OWN) and _is_token(name)})
    headers = [
        ("Vary", "Access-Control-Request-Headers, Access-Control-Request-Private-Network"),
        ("Access-Control-Allow-Methods", _METHODS),
        ("Access-Control-Allow-Headers", ", ".join([_HEADERS, *own])),
        ("Access-Control-Max-Age", _MAX_AGE_SECONDS),
    ]
    # A page of a public origin asks before it calls a server of the local network.
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK") == "true":
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    return headers


def _is_token(name: str) -> bool:
    return name.isascii() and name.replace("-", "").isalnum()
