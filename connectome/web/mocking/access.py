"""
Who may ask a mock server: everything on this machine, and pages that were served by it.

Its credentials are known to all, so no page from elsewhere may have its answers, nor change anything: neither under a
name of its own that it points here (DNS rebinding), nor by a request across origins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden, HTTPException

from connectome.config import Settings
from connectome.network import Origins, is_loopback

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_LOOPBACK: Final = Origins(loopback=True)


class _Misdirected(HTTPException):
    code = 421
    description = "this server answers on its own machine only: expected the host name localhost, 127.0.0.1 or [::1]"


def require_known_host(environ: WSGIEnvironment, settings: Settings) -> None:
    """
    Refuse a foreign host name, where only this machine is served.

    Raises:
        HTTPException: 421.
    """
    host = environ.get("HTTP_HOST", "localhost")
    if is_loopback(settings.host) and not is_loopback(_host_of(f"//{host}")):
        raise _Misdirected


def require_known_origin(environ: WSGIEnvironment, settings: Settings, *, control: bool) -> None:
    """
    Refuse a page from elsewhere.

    Args:
        control: The request is to the control API, which no setting opens to other origins.

    Raises:
        Forbidden: It is one.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin and origin not in (_LOOPBACK if control else settings.origins_allowed) and not _is_own(environ, origin):
        raise Forbidden(
            "a page of another machine may not use the control API"
            if control
            else "a page of this origin may not use this server; --cors names those that may"
        )


def _is_own(environ: WSGIEnvironment, origin: str) -> bool:
    return urlsplit(origin).netloc == environ.get("HTTP_HOST")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def shared(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """The headers that let the page which asks have an answer; its origin was looked at before."""
    origin = environ.get("HTTP_ORIGIN")
    if not origin:
        return []
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", "*"),
        ("Vary", "Origin"),
    ]


def is_preflight(environ: WSGIEnvironment) -> bool:
    """Whether a browser asks what it may send."""
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def preflight(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """The headers that let a page send what it wants to send."""
    return [
        *shared(environ),
        ("Access-Control-Allow-Methods", environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]),
        ("Access-Control-Allow-Headers", environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "*")),
        ("Access-Control-Max-Age", "600"),
    ]
