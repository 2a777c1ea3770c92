"""
The express lane: WSGI in front of the application, for the six operations.

Routing, contexts and hooks of Flask take 200 µs, an operation on a document a tenth of that.  The lane takes what it
knows at a glance; whatever else there is goes on to Flask, where the same ``Api`` stands behind the same routes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from connectome.web.api import Api

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PREFIX: Final = "/collection/"


class ExpressLane:
    """
    Answers the operations of ``api`` itself.

    onward: the application that gets everything else.
    """

    def __init__(self, onward: WSGIApplication, api: Api) -> None:
        self.onward = onward
        self._api = api

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        # An upgrade of the protocol is a matter for the router.
        if path.startswith(_PREFIX) and "HTTP_UPGRADE" not in environ:
            parts = (path if path.isascii() else path.encode("latin1").decode(errors="replace")).split("/")
            if len(parts) == 5 and all(parts[2:]):
                return self._api(environ, *parts[2:])(environ, start_response)
        return self.onward(environ, start_response)
