"""The collections: the page that every visit starts on."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from connectome.web.console import site

blueprint: Final = Blueprint("collections", __name__)


@blueprint.get("/")
def page() -> Response:
    """Every collection, with what is in it and what can be done with it."""
    return site.render("collections.html", section="collections", collections=site.service().collections())
