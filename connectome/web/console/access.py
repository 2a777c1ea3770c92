"""
Who may see the console, and how a browser signs in.

A one-time link or the administrator's token is exchanged for a cookie.  On a loopback server only the loopback's own
names are answered, so that no web page can reach the console through a name of its own that it points here (DNS
rebinding).  What changes something must come from a page of this origin.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from flask import Blueprint, Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from connectome.config import Settings
from connectome.errors import Unauthorized
from connectome.network import is_loopback
from connectome.service import same_secret
from connectome.web.console import site
from connectome.web.console.sessions import LINK_SECONDS, SESSION_SECONDS, Sessions

blueprint: Final = Blueprint("access", __name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
# What anybody may have: it says nothing about this server.
_STATIC: Final = "console.static"
_OPEN: Final = (_STATIC, "console.access.login", "console.access.sign_in")


class _Misdirected(HTTPException):
    code = 421
    description = "this server answers on its own machine only: expected the host name localhost, 127.0.0.1 or [::1]"


class _CrossOrigin(HTTPException):
    code = 403
    description = "a change has to come from a page of this console, and this request came from elsewhere"


class ConsoleOff(HTTPException):
    """The console is not offered on this server."""

    code = 403
    description = (
        "the console is off: this server listens to other machines, and no administrator's token was set; "
        "start it with CONNECTOME_ADMIN_TOKEN, or on 127.0.0.1"
    )


def is_off(settings: Settings) -> bool:
    """Whether there is no console: other machines can reach the server, and nobody chose a token."""
    return not is_loopback(settings.host) and not settings.admin_token


def login_path(app: Flask) -> str | None:
    """The path of a link that signs in once, within fifteen minutes; None where the console is off."""
    settings: Settings = app.extensions["connectome.settings"]
    if not settings.has_console or is_off(settings):
        return None
    sessions: Sessions = app.extensions["connectome.sessions"]
    return f"/login?token={sessions.link()}"


def guard() -> Response | None:
    """
    Refuse whoever has no business here; lead who is not signed in to the login.

    Raises:
        HTTPException: 421 for a foreign host name, 403 for a change from elsewhere and where the console is off.
        Unauthorized: A script without a session.
    """
    settings = site.settings()
    if is_loopback(settings.host) and not is_loopback(_host_name()) and _host_name() != _public(settings).hostname:
        raise _Misdirected
    if request.endpoint == _STATIC:
        return None
    if is_off(settings):
        raise ConsoleOff
    if request.method not in _SAFE and not _same_origin():
        raise _CrossOrigin
    g.console_session = site.sessions().get(request.cookies.get(_cookie(), ""))
    if g.console_session or request.endpoint in _OPEN:
        return None
    if not site.wants_page():
        raise Unauthorized("the console needs a session: sign in at /login")
    wanted = request.full_path.rstrip("?") if request.method == "GET" else "/"
    return site.see("/login" if wanted == "/" else f"/login?next={quote(wanted)}")


def secure(response: Response) -> Response:
    """Tell the browser what a page of the console may load, and who may show it: itself alone."""
    response.headers["Content-Security-Policy"] = POLICY
    # Of no-referrer some browsers make a null Origin, which could not be told from somebody else's.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


@blueprint.get("/login")
def login() -> Response:
    """The login; a one-time link comes here with ``?token=``."""
    token = request.args.get("token")
    if token is None:
        return site.see(_next()) if site.session() else _login_page()
    if site.session():
        return site.see("/")
    if request.method == "HEAD":  # what looks at a link before a person follows it must not use it up
        return _login_page()
    if secret := site.sessions().redeem(token):
        return _signed_in(secret, "/")
    return _login_page(
        403, f"This link has been used, or is older than {LINK_SECONDS // 60} minutes. Sign in with the token instead."
    )


@blueprint.post("/login")
def sign_in() -> Response:
    """Exchange the administrator's token for a session."""
    if same_secret(request.form.get("token", "").strip(), current_app.config["ADMINISTRATOR_TOKEN"]):
        return _signed_in(site.sessions().open(), _next())
    return _login_page(403, "This is not the administrator's token of this server.")


@blueprint.post("/logout")
def sign_out() -> Response:
    """End the session."""
    site.sessions().close(request.cookies.get(_cookie(), ""))
    response = site.see("/login")
    response.delete_cookie(_cookie(), httponly=True, samesite="Strict")
    return response


def not_found(error: HTTPException) -> Response:
    """A path that leads nowhere: a page for a browser that is signed in, a problem for all others."""
    if not site.wants_page() or request.path.startswith(("/collection/", "/-/")) or is_off(site.settings()):
        return site.problem_of(error)
    g.console_session = site.sessions().get(request.cookies.get(_cookie(), ""))
    return secure(site.failed(error))


def _login_page(status: int = 200, error: str = "") -> Response:
    settings = site.settings()
    return site.render(
        "login.html",
        status,
        error=error,
        next=_next(),
        own_token=bool(settings.admin_token),
        data=settings.data,
    )


def _signed_in(secret: str, path: str) -> Response:
    response = site.see(path)
    response.set_cookie(
        _cookie(),
        secret,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure or _through_https(),
    )
    return response


def _next() -> str:
    """Where the login leads: a path of this console, never another host."""
    wanted = request.values.get("next", "/")
    parts = urlsplit(wanted)
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return wanted if inside and wanted.isprintable() else "/"


def _public(settings: Settings) -> SplitResult:
    return urlsplit(settings.public_url)


def _through_https() -> bool:
    """Whether the browser is known to have come by the public URL, and that is HTTPS up to the proxy."""
    public = _public(site.settings())
    return public.scheme == "https" and public.netloc == request.host


def _host_name() -> str:
    return urlsplit(f"//{request.host}").hostname or ""


def _cookie() -> str:
    # Browsers keep the cookies of all ports of a machine together; two servers must not sign each other out.
    return f"connectome_{urlsplit(f'//{request.host}').port or 80}"


def _same_origin() -> bool:
    site_of = request.headers.get("Sec-Fetch-Site")
    if site_of is not None:
        return site_of in ("same-origin", "none")
    return urlsplit(request.headers.get("Origin", "")).netloc == request.host
