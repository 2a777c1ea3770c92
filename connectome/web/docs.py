"""
The reference at ``/-/docs``: Swagger UI over the OpenAPI document, from this server alone.

Of the flask-swagger-ui package its ``dist`` is served, and nothing else; the page and its script are ours, so that no
script stands in the page, and nothing is asked of another host.  Everybody may see it: it says nothing of collections.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request, send_from_directory
from werkzeug.exceptions import NotFound

blueprint: Final = Blueprint("docs", __name__, url_prefix="/-/docs")

# React sets styles by script, which the policy does not concern; images of the style sheet are data.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_OWN: Final = Path(__file__).with_suffix("")
_THEIRS: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")


@cache
def _dist() -> Path:
    return Path(str(files("flask_swagger_ui"))) / "dist"


@blueprint.after_request
def secure(response: Response) -> Response:
    """Tell the browser that the page loads nothing from elsewhere, and stands in no frame."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


@blueprint.get("")
def page() -> Response:
    """The reference, to read and to try out."""
    if request.path.endswith("/"):
        # What the page loads stands beside it: with a slash more it would be looked for below.
        return Response(status=308, headers={"Location": "../docs"})
    return send_from_directory(_OWN, "index.html")


@blueprint.get("/<filename>")
def file(filename: str) -> Response:
    """A script, a style sheet, an icon of the page."""
    if filename in _THEIRS:
        return send_from_directory(_dist(), filename)
    if filename == "index.html":
        raise NotFound
    return send_from_directory(_OWN, filename)
