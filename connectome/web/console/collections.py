"""The collections, the page that every visit starts on; and how a new one is made."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response, request

import connectome
from connectome import formats
from connectome.errors import ConnectomeError, NotFound
from connectome.web.console import importing, site

blueprint: Final = Blueprint("collections", __name__)

# It lies in the repository; whoever installed a package has none.
EXAMPLE: Final = Path(connectome.__file__).parents[1] / "data" / "examples" / "movies.json"


@blueprint.get("/")
def page() -> Response:
    """Every collection, with what is in it and what can be done with it."""
    service = site.service()
    found = [{**each, "changed": service.collection(each["id"]).changed} for each in service.collections()]
    return site.render("collections.html", section="collections", collections=found, example=EXAMPLE.is_file())


@blueprint.post("/example")
def make_example() -> Response:
    """Make the collection of the movies example."""
    if not EXAMPLE.is_file():
        raise NotFound("the example is in the source of Connectome only, and this is an installed package")
    documents = list(formats.read_documents(EXAMPLE.read_bytes(), "json"))
    _made(site.service().create(id="movies", title="Movies", documents=documents))
    return site.see("/collections/movies/created")


@blueprint.get("/new")
def new() -> Response:
    """The form for a collection."""
    return _form()


@blueprint.post("/new")
def create() -> Response:
    """Show what the documents would become, or make the collection with them."""
    request.max_content_length = request.max_form_memory_size = sys.maxsize
    try:
        given = importing.given()
        if request.form.get("step") == "preview":
            return _form(given, preview=importing.preview(given) if given else None)
        title = request.form.get("title", "").strip()
        described = site.service().create(
            id=request.form.get("id", "").strip() or id_from(title) or None,
            title=title or None,
            documents=given.documents() if given else (),
        )
    except ConnectomeError as error:
        return _form(error=error)
    _made(described)
    return site.see(f"/collections/{described['id']}/created")


def _made(described: dict[str, Any]) -> None:
    for role, credential in described["credentials"].items():
        site.made(described["id"], role, credential)


def _form(
    given: importing.Given | None = None,
    *,
    preview: importing.Preview | None = None,
    error: ConnectomeError | None = None,
) -> Response:
    if error and not given:
        try:
            given = importing.given()
        except ConnectomeError:
            given = None
    answer: dict[str, Any] = {
        "title": request.form.get("title", ""),
        "id": request.form.get("id", ""),
        "text": given.text if given else "",
        "lost": bool(given and not given.text),
        "types": given.types if given else {},
        "format": request.form.get("format", ""),
    }
    return site.render(
        "new.html",
        400 if error else 200,
        section="collections",
        form=answer,
        preview=preview,
        error=error,
        column_types=list(formats.COLUMN_TYPES),
    )


def id_from(title: str) -> str:
    """The id that a title proposes: ``Café menus 2024`` → ``cafe-menus-2024``; empty where no letter is left."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:64].rstrip("-")


@blueprint.get("/collections/<id>/created")
def created(id: str) -> Response:
    """What whoever made a collection needs next: its credentials, and the way to the code."""
    described = site.service().describe(id)
    keys = {each["name"]: each for each in site.credentials(id)}
    return site.render("created.html", described=described, tab="", keys=keys, base=site.base_url())
