"""HTTP: Flask lives here and only here.  ``create_app`` is the one place where the parts are put together."""

from __future__ import annotations

import atexit
import sys

from flask import Flask, Response

from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import admin, api, console, problems
from connectome.web.activity import Activity


def create_app(settings: Settings, service: Service | None = None) -> Flask:
    """
    The WSGI application over a data directory.

    Args:
        service: The collections to serve, where they are open already; its owner closes it.

    Raises:
        StoreLocked, StoreFailed: The data directory cannot be had.
    """
    if service is None:
        service = Service(open_store(settings.data, **settings.store))
        atexit.register(service.close)

    # A hundred levels of a document under a schema of many parts, which Python's thousand frames do not hold.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))
    app = Flask("connectome", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_TIME_SECONDS"] = settings.max_time_seconds
    app.config["ADMINISTRATOR_TOKEN"] = settings.admin_token or service.administrator_token()
    app.extensions["connectome"] = service
    app.extensions["connectome.activity"] = Activity()
    # What is rehearsed runs on an application of its own.
    app.extensions["connectome.create_app"] = create_app
    # A redirect from "//" to "/" would repeat the credential in its body.
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    for blueprint in (api.blueprint, admin.blueprint, admin.health):
        app.register_blueprint(blueprint)
    problems.register(app)
    console.register(app, settings)
    app.after_request(_never_kept)
    return app


def _never_kept(response: Response) -> Response:
    """Documents and credentials pass through here: no cache keeps them, no link gives a URL away."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
