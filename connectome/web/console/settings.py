"""The settings of a collection; and of the server, which are only looked at."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flask import Blueprint, Response, request

from connectome import config
from connectome.errors import InvalidRequest
from connectome.service import ROLES, Role
from connectome.web.console import site

blueprint: Final = Blueprint("settings", __name__)

_started: Final = time.time()

# How long an old credential may work beside the new one, in seconds; and when an added one stops, in days.
GRACES: Final = {
    0: "stops at once",
    3600: "works for another hour",
    24 * 3600: "works for another day",
    7 * 24 * 3600: "works for another 7 days",
}
ENDS: Final = {0: "Never", 7: "In 7 days", 30: "In 30 days", 90: "In 90 days", 365: "In a year"}


@blueprint.get("/collections/<id>/settings")
def page(id: str) -> Response:
    """A collection's title, credentials and limits, and how to empty or drop it."""
    return _page(id)


def _page(id: str, status: int = 200, **errors: str) -> Response:
    described = site.service().describe(id)
    credentials = {each["name"]: each for each in site.credentials(id)}
    settings = [each for each in effective() if each["name"] in ("max_body_bytes", "max_time_seconds", "durability")]
    return site.render(
        "settings.html",
        status,
        described=described,
        tab="Settings",
        limits=settings,
        main=[credentials.pop(role) for role in ROLES],
        named=credentials.values(),
        graces=GRACES.items(),
        ends=ENDS.items(),
        now=datetime.now(UTC).isoformat(),
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


@blueprint.post("/collections/<id>/settings/credentials")
def add_credential(id: str) -> Response:
    """Make a credential with a name."""
    role: Role = "write" if request.form.get("role") == "write" else "read"
    days = _chosen("expires", ENDS)
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds") if days else None
    name = request.form.get("name", "").strip()
    try:
        added = site.service().add_credential(id, name, role, expires=expires)
    except InvalidRequest as error:
        return _page(id, 400, name=error.detail)
    site.made(id, name, added["credential"])
    site.flash(f"The credential {name} is ready.")
    return site.see(f"/collections/{id}/settings#credentials")


@blueprint.post("/collections/<id>/settings/credentials/<name>")
def rotate(id: str, name: str) -> Response:
    """Replace a credential."""
    grace = _chosen("grace", GRACES)
    try:
        site.made(id, name, site.service().rotate(id, name, grace=grace))
    except InvalidRequest as error:
        site.flash(f"{error.detail[:1].upper()}{error.detail[1:]}.", "failed")
        return site.see(f"/collections/{id}/settings#credentials")
    ends = GRACES[grace] if grace else "has stopped"
    site.flash(f"The {name} credential is new. The old one {ends}: whoever used it needs the new one.")
    return site.see(f"/collections/{id}/settings#credentials")


@blueprint.post("/collections/<id>/settings/credentials/<name>/revoke")
def revoke(id: str, name: str) -> Response:
    """Stop a credential with a name."""
    try:
        site.service().revoke(id, name)
    except InvalidRequest as error:
        site.flash(f"{error.detail[:1].upper()}{error.detail[1:]}.", "failed")
    else:
        site.flash(f"The credential {name} is revoked.")
    return site.see(f"/collections/{id}/settings#credentials")


def _chosen(name: str, among: Mapping[int, str]) -> int:
    """The number that a form chose; the first where it chose none that there is."""
    return next((number for number in among if request.form.get(name) == str(number)), next(iter(among)))


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
        if name.endswith("_token"):
            shown = "set" if value else "kept in the data directory" if name == "admin_token" else "none"
        elif name == "store":
            # The URL itself may hold a password.
            shown = site.service().place if value else "none"
        elif type(value) is bool:
            shown = "on" if value else "off"
        elif name.endswith("_bytes"):
            shown = f"{site.number(value)} ({site.size(value)})"
        else:
            shown = site.number(value) if type(value) is int and name != "port" else str(config.shown(name, value))
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
