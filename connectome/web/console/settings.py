"""The settings of a collection; and of the server, which are only looked at."""

from __future__ import annotations

import platform
import time
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, request

from connectome import config
from connectome.errors import InvalidRequest
from connectome.service import Role
from connectome.web.console import site

blueprint: Final = Blueprint("settings", __name__)

_started: Final = time.time()


@blueprint.get("/collections/<id>/settings")
def page(id: str) -> Response:
    """A collection's title, credentials and limits, and how to empty or drop it."""
    return _page(id)


def _page(id: str, status: int = 200, **errors: str) -> Response:
    described = site.service().describe(id)
    settings = [each for each in effective() if each["name"] in ("max_body_bytes", "max_time_seconds", "durability")]
    return site.render(
        "settings.html",
        status,
        described=described,
        tab="Settings",
        limits=settings,
        errors=errors,
        changed=site.service().collection(id).changed,
    )


@blueprint.post("/collections/<id>/settings/title")
def retitle(id: str) -> Response:
    """Give a collection another title."""
    title = request.form.get("title", "").strip()
    if not title:
        return _page(id, 400, title="A title has at least one character.")
    try:
        site.service().change(id, {"title": title})
    except InvalidRequest as error:
        return _page(id, 400, title=error.detail)
    site.flash(f"The title is now “{title}”.")
    return site.see(f"/collections/{id}/settings")


@blueprint.post("/collections/<id>/settings/credentials/<any(read, write):role>")
def rotate(id: str, role: Role) -> Response:
    """Replace a credential."""
    site.service().rotate(id, role)
    site.flash(f"The {role} credential is new. The old one has stopped: whoever used it needs the new one.")
    return site.see(f"/collections/{id}/settings")


@blueprint.post("/collections/<id>/settings/empty")
def empty(id: str) -> Response:
    """Delete every document."""
    if wrong := _unconfirmed(id):
        return _page(id, 400, empty=wrong)
    deleted = site.service().empty(id)
    site.flash(f"{site.number(deleted)} document{'' if deleted == 1 else 's'} deleted. The credentials are as before.")
    return site.see(f"/collections/{id}/settings")


@blueprint.post("/collections/<id>/settings/drop")
def drop(id: str) -> Response:
    """Remove the collection."""
    if wrong := _unconfirmed(id):
        return _page(id, 400, drop=wrong)
    title = site.service().describe(id)["title"]
    site.service().drop(id)
    site.flash(f"“{title}” ({id}) has been dropped.")
    return site.see("/")


def _unconfirmed(id: str) -> str:
    site.service().describe(id)
    typed = request.form.get("confirm", "").strip()
    return "" if typed == id else f"Type {id} to confirm: nothing was changed."


@blueprint.get("/server")
def server() -> Response:
    """The server: its version, its store, and every setting with where it comes from."""
    collections = site.service().collections()
    settings = site.settings()
    facts = {
        "python": platform.python_version(),
        "store": site.service().store,
        "data": site.service().place if settings.store else settings.data.resolve(),
        "started": datetime.fromtimestamp(_started, UTC).isoformat(timespec="seconds"),
        "collections": len(collections),
        "documents": sum(each["count"] or 0 for each in collections),
        "size": sum(each["size"] for each in collections),
        "damaged": [each["id"] for each in collections if each["count"] is None],
    }
    return site.render("server.html", section="server", facts=facts, settings=effective())


@blueprint.get("/server/backup")
def backup() -> Response:
    """All collections in one zip archive, without credentials."""
    name = f"connectome-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.zip"
    return Response(
        site.service().backup(),
        mimetype="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def effective() -> list[dict[str, Any]]:
    """Every setting: name, variable, value for people, where it comes from, help; no secret."""
    settings = site.settings()
    found = []
    for name, field in config.described():
        value = getattr(settings, name)
        if name == "admin_token":
            shown = "set" if value else "kept in the store"
        elif name == "store":
            # The URL itself may hold a password.
            shown = site.service().place if value else "none"
        elif name.endswith("_bytes"):
            shown = f"{site.number(value)} ({site.size(value)})"
        else:
            shown = site.number(value) if type(value) is int and name != "port" else str(value)
        found.append(
            {
                "name": name,
                "variable": config.variable(name),
                "value": shown,
                "origin": settings.origin(name),
                "help": field.metadata["help"],
            }
        )
    return found
