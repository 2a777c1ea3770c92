"""What the server says of itself: that it lives, that it can serve, what it counts, and what its routes are."""

from __future__ import annotations

import time
from typing import Final

import flask
from flask import Blueprint, Flask, Response, current_app, g

from connectome import __version__
from connectome.config import Settings
from connectome.errors import Unauthorized
from connectome.service import Service, same_secret
from connectome.web import atlas, bodies, openapi
from connectome.web.activity import Activity
from connectome.web.api import OPERATIONS
from connectome.web.contract import NUMBER, TEXT, Success, contract, members
from connectome.web.exchange import Answer, Request

blueprint: Final = Blueprint("status", __name__, url_prefix="/-")

_METRICS: Final = ("text/plain", "application/openmetrics-text")


def _service() -> Service:
    service: Service = current_app.extensions["connectome"]
    return service


def _settings() -> Settings:
    settings: Settings = current_app.extensions["connectome.settings"]
    return settings


def _request() -> Request:
    return Request(flask.request.environ, current_app.config["MAX_CONTENT_LENGTH"])


def count_requests(app: Flask, activity: Activity) -> None:
    """Have what Flask answers counted by route; operations count themselves, on whichever road they come."""

    def begin() -> None:
        g.started = time.perf_counter()

    def count(response: Response) -> Response:
        rule = flask.request.url_rule
        if rule is None or not (rule.endpoint in OPERATIONS or rule.endpoint.startswith(atlas.ENDPOINT)):
            seconds = time.perf_counter() - g.get("started", time.perf_counter())
            method, route = ("", "") if rule is None else (flask.request.method, rule.rule)
            activity.count(method, route, response.status_code, seconds)
        return response

    app.before_request(begin)
    app.after_request(count)


@blueprint.get("/health")
@contract(Success("The server answers", members(status={"const": "ok"}, version=TEXT, store=TEXT)))
def health() -> Answer:
    """Say that the server answers, which version it is, and over which store."""
    return bodies.answer(_request(), {"status": "ok", "version": __version__, "store": _service().store})


@blueprint.get("/ready")
@contract(
    Success(
        "The store can be had",
        members(status={"const": "ready"}, collections=NUMBER, barred=NUMBER, failed=NUMBER, torn=NUMBER),
    )
)
def ready() -> Answer:
    """Say whether the store can be had, and how many collections are not as they should be."""
    _service().require_store()
    found = _service().watch()
    condition = {
        "status": "ready",
        "collections": len(found),
        # How many, not which: whoever has no credential is not told what collections there are.
        "barred": sum(each.documents is None for each in found),
        "failed": sum(each.figures.get("failed", 0) for each in found),
        "torn": sum(each.figures.get("torn", 0) for each in found),
    }
    return bodies.answer(_request(), condition)


@blueprint.get("/metrics")
@contract(
    Success("Metrics in the text format of Prometheus, or of OpenMetrics", TEXT, forms=_METRICS),
    opened_by="metrics",
)
def measured() -> Response:
    """Say what was counted since the start, for Prometheus."""
    given = _request().bearer("the metrics need a token")
    own = _settings().metrics_token
    if not same_secret(given, current_app.config["ADMINISTRATOR_TOKEN"]) and not (own and same_secret(given, own)):
        raise Unauthorized("this is neither the token of the metrics nor the administrator's")
    from connectome.web import metrics

    text, form = metrics.exposition(
        _service().watch(),
        current_app.extensions["connectome.activity"],
        current_app.extensions["connectome.in_flight"].count,
        accept=flask.request.headers.get("Accept", ""),
    )
    return Response(text, content_type=form)


@blueprint.get("/openapi.json")
@contract(Success("This document", {"type": "object"}, forms=(bodies.JSON,)))
def reference() -> Answer:
    """Describe every route, as OpenAPI 3.1."""
    document = openapi.document(current_app.url_map, current_app.view_functions, _settings(), url="/")
    return Answer(openapi.encoded(document), bodies.JSON)
