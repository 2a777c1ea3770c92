"""What every page of the console stands on: the service, the template around it, notices, and how errors look."""

from __future__ import annotations

from typing import Any, Final, cast

from flask import Response, current_app, g, make_response, redirect, render_template, request
from werkzeug.exceptions import NotFound

from connectome import __version__
from connectome.config import Settings
from connectome.service import Service
from connectome.web import problems
from connectome.web.console.sessions import Kind, Session, Sessions

# The tabs of a collection: name, and what follows /collections/<id>.
TABS: Final = (
    ("Documents", ""),
    ("Integration", "/integration"),
    ("Schema", "/schema"),
    ("Activity", "/activity"),
    ("Settings", "/settings"),
)


def service() -> Service:
    """The collections that this server serves."""
    return cast(Service, current_app.extensions["connectome"])


def settings() -> Settings:
    """The settings that this server was started with."""
    return cast(Settings, current_app.extensions["connectome.settings"])


def sessions() -> Sessions:
    """Who is signed in."""
    return cast(Sessions, current_app.extensions["connectome.sessions"])


def base_url() -> str:
    """Where clients reach this server: as it was told, else as this browser did."""
    return settings().public_url or request.host_url.rstrip("/")


def session() -> Session | None:
    """Whose request this is; None where nobody is signed in."""
    return cast("Session | None", g.get("console_session"))


def flash(text: str, kind: Kind = "done") -> None:
    """Say something at the top of the next page that this browser is shown."""
    if here := session():
        here.notices.append((kind, text))


def made(collection: str, name: str, credential: str) -> None:
    """Have the next page that lists the credentials of a collection show this one, whether or not it is kept."""
    if here := session():
        here.fresh[collection, name] = credential


def credentials(collection: str) -> list[dict[str, Any]]:
    """As ``Service.credentials``, with those that were made just now and cannot be read again."""
    here = session()
    found = service().credentials(collection)
    for each in found:
        fresh = here.fresh.pop((collection, each["name"]), None) if here else None
        each["credential"] = each["credential"] or fresh
    return found


def render(template: str, status: int = 200, **values: Any) -> Response:
    """A page from its template; ``described``, where it is given, is the collection whose tabs stand above it."""
    here = session()
    notices: list[tuple[Kind, str]] = []
    if here:
        notices, here.notices = here.notices, []
    html = render_template(
        template, **values, notices=notices, signed_in=here is not None, version=__version__, all_tabs=TABS
    )
    return make_response(html, status)


def see(path: str) -> Response:
    """Lead the browser from an action that is done to a page: 303, so that a reload repeats nothing."""
    return make_response(redirect(path, 303))


def wants_page() -> bool:
    """Whether the client is a browser that shows a page, and no script that reads JSON."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def problem_of(error: Exception) -> Response:
    """An error as a problem, as the API has it."""
    return make_response(problems.of(error, request.method))


def failed(error: Exception) -> Response:
    """An error as a page for a browser, as a problem for a script."""
    problem = problem_of(error)
    if not wants_page():
        return problem
    said: dict[str, Any] = problem.get_json(force=True)
    # Of a path that leads nowhere the problem names the routes of the API.
    page = render("error.html", problem.status_code, problem=said, lost=type(error) is NotFound)
    for name in ("Allow", "Retry-After"):
        if name in problem.headers:
            page.headers[name] = problem.headers[name]
    return page


def size(count: int) -> str:
    """A number of bytes for people: ``1.4 MB``, with decimal units."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def number(value: int) -> str:
    """A whole number for people: thousands apart by a thin space."""
    return f"{value:,}".replace(",", "\u202f")
