"""HTTP: Flask lives here and only here.  ``create_app`` is the one place where the parts are put together."""

from __future__ import annotations

import atexit
import gc
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from connectome.config import Settings
from connectome.service import Service, opened
from connectome.web import admin, atlas, console, docs, logs, problems, status
from connectome.web.activity import Activity
from connectome.web.api import OPERATIONS, Api
from connectome.web.atlas import ACTIONS, Atlas
from connectome.web.compression import Compressed
from connectome.web.cors import CrossOrigin
from connectome.web.exchange import NEVER_KEPT, Answer
from connectome.web.express import ExpressLane
from connectome.web.flight import InFlight
from connectome.web.limits import FailedCredentials, Refused
from connectome.web.proxies import Forwarded

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


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
        service = opened(settings)
        atexit.register(service.close)

    logs.install(settings, service)
    app = assembled(settings, service)
    # The documents that are loaded are no garbage: the collector need not look through them again and again.
    gc.freeze()
    return app


def assembled(settings: Settings, service: Service) -> Flask:
    """The same application, for a process that is somebody else's: its logging and its collector stay as they are."""
    # A hundred levels of a document under a schema of many parts, which Python's thousand frames do not hold.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))
    app = _Application("connectome", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["ADMINISTRATOR_TOKEN"] = settings.admin_token or service.administrator_token()
    app.extensions["connectome"] = service
    app.extensions["connectome.settings"] = settings
    app.extensions["connectome.activity"] = activity = Activity()
    # What is rehearsed runs on an application of its own.
    app.extensions["connectome.create_app"] = assembled
    # A redirect from "//" to "/" would repeat the credential in its body.
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    for blueprint in (admin.blueprint, status.blueprint, docs.blueprint):
        app.register_blueprint(blueprint)
    app.register_error_handler(Exception, lambda error: problems.of(error, request.method))
    if settings.has_console:
        console.register(app)
    app.after_request(_never_kept)
    status.count_requests(app, activity)

    api = Api(service, activity, settings)
    for each in OPERATIONS.values():
        app.add_url_rule(
            f"/collection/{each.name}/<credential>/<collection>",
            each.name,
            partial(_operation, api, each.name),
            methods=each.methods,
            provide_automatic_options=False,
        )
    data_api = Atlas(service, activity, settings, api.rate)

    def refused(error: Exception, environ: WSGIEnvironment) -> Answer:
        if environ.get("PATH_INFO", "").startswith(atlas.PREFIX):
            return data_api.failure(error, environ)
        return problems.of(error, environ["REQUEST_METHOD"])

    act = partial(_action, data_api)
    for name in ACTIONS:
        app.add_url_rule(
            atlas.route(name),
            atlas.ENDPOINT + name,
            partial(act, action=name),
            methods=atlas.METHODS,
            provide_automatic_options=False,
        )
    for elsewhere in (atlas.ROUTE, atlas.PREFIX + "<path:rest>"):
        app.add_url_rule(elsewhere, atlas.ENDPOINT, act, methods=atlas.ROUTED_METHODS, provide_automatic_options=False)
    if settings.logs_requests:
        app.after_request(_routed)
    app.extensions["connectome.in_flight"] = in_flight = InFlight(ExpressLane(app.wsgi_app, api))
    layered = _layered(in_flight, settings, service, refused)
    app.wsgi_app = layered  # type: ignore[assignment,method-assign]  # as Flask's manual has it
    return app


def _layered(application: WSGIApplication, settings: Settings, service: Service, refused: Refused) -> WSGIApplication:
    """What stands around the application; what is off is not there."""
    if rate := settings.failure_rate:
        spares_loopback = settings.origin("failure_limit") == "default"
        application = FailedCredentials(application, rate, refused, spares_loopback=spares_loopback)
    if settings.compress_bytes:
        application = Compressed(application, settings.compress_bytes)
    if origins := settings.origins_allowed:
        application = CrossOrigin(application, origins)
    if settings.logs_requests:
        application = logs.AccessLog(application, service, logged=settings.access_log)
    if settings.trusted_proxy:
        application = Forwarded(application, settings.proxies)
    return application


def _operation(api: Api, name: str, credential: str, collection: str) -> Answer:
    return api(request.environ, name, credential, collection)


def _action(data_api: Atlas, version: str = "", action: str = "", **_: str) -> Answer:
    # The application is as it was in the URL of the service: there is one here.
    return data_api(request.environ, version, action)


def _routed(response: Response) -> Response:
    if request.url_rule:
        request.environ[logs.ROUTE] = request.url_rule.rule
    return response


def _never_kept(response: Response) -> Response:
    for name, value in NEVER_KEPT:
        response.headers.setdefault(name, value)
    return response
