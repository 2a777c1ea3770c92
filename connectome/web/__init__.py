"""HTTP: Flask lives here and only here.  ``create_app`` is the one place where the parts are put together."""

from __future__ import annotations

import atexit
import gc
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import admin, console, docs, problems, status
from connectome.web.activity import Activity
from connectome.web.api import OPERATIONS, Api
from connectome.web.cors import CrossOrigin
from connectome.web.exchange import NEVER_KEPT, Answer
from connectome.web.express import ExpressLane
from connectome.web.flight import InFlight

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class _Application(Flask):
    """Flask, with views that may return our own ``Answer``."""

    def make_response(self, rv: Any) -> Response:
        # Flask would take one for the WSGI application that it is, run it, and lose the form of its body.
        return super().make_response(_response(rv) if isinstance(rv, Answer) else rv)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.all_headers)


def create_app(settings: Settings, service: Service | None = None) -> Flask:
    """
    The WSGI application over a data directory.

    Args:
        service: The collections to serve, where they are open already; its owner closes it.

    Raises:
        StoreLocked, StoreFailed: The data directory cannot be had.
    """
    if service is None:
        service = Service(open_store(settings.data, **settings.embedded))
        atexit.register(service.close)

    # A hundred levels of a document under a schema of many parts, which Python's thousand frames do not hold.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))
    app = _assembled(settings, service)
    # The documents that are loaded are no garbage: the collector need not look through them again and again.
    gc.freeze()
    return app


def _assembled(settings: Settings, service: Service) -> Flask:
    app = _Application("connectome", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["ADMINISTRATOR_TOKEN"] = settings.admin_token or service.administrator_token()
    app.extensions["connectome"] = service
    app.extensions["connectome.settings"] = settings
    app.extensions["connectome.activity"] = activity = Activity()
    # What is rehearsed runs on an application of its own.
    app.extensions["connectome.create_app"] = _assembled
    # A redirect from "//" to "/" would repeat the credential in its body.
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    for blueprint in (admin.blueprint, status.blueprint, docs.blueprint):
        app.register_blueprint(blueprint)
    app.register_error_handler(Exception, lambda error: problems.of(error, request.method))
    console.register(app)
    app.after_request(_never_kept)
    status.count_requests(app, activity)

    api = Api(service, activity, max_body_bytes=settings.max_body_bytes, max_time_seconds=settings.max_time_seconds)
    for each in OPERATIONS.values():
        app.add_url_rule(
            f"/collection/{each.name}/<credential>/<collection>",
            each.name,
            partial(_operation, api, each.name),
            methods=each.methods,
            provide_automatic_options=False,
        )
    app.extensions["connectome.in_flight"] = in_flight = InFlight(ExpressLane(app.wsgi_app, api))
    app.wsgi_app = _layered(in_flight, settings)  # type: ignore[assignment,method-assign]
    return app


def _layered(application: WSGIApplication, settings: Settings) -> WSGIApplication:
    """What stands around the application; what is off is not there."""
    if origins := settings.origins_allowed:
        application = CrossOrigin(application, origins)
    return application


def _operation(api: Api, name: str, credential: str, collection: str) -> Answer:
    return api(request.environ, name, credential, collection)


def _never_kept(response: Response) -> Response:
    for name, value in NEVER_KEPT:
        response.headers.setdefault(name, value)
    return response
