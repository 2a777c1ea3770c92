"""Errors as ``application/problem+json`` (RFC 9457): the one table from error to status, for every route and cause."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from connectome import errors, extjson
from connectome.web.exchange import Answer

# Never the path that came: a credential may stand in it.
_ROUTES: Final = "/collection/<operation>/<credential>/<collection>, /-/admin/collections or /-/health"

_log = logging.getLogger(__name__)

# What a status obliges to say above the body.
HEADERS: Final[dict[int, tuple[tuple[str, str], ...]]] = {
    401: (("WWW-Authenticate", 'Bearer realm="Connectome"'),),
    503: (("Retry-After", "1"),),
}

# The most special class that an error is an instance of decides: its status, and a title for its kind.
STATUS: Final[dict[type[errors.ConnectomeError], tuple[int, str]]] = {
    errors.RequestError: (400, "The request is wrong"),
    errors.InvalidJSON: (400, "The body is not the JSON that is accepted"),
    errors.InvalidRequest: (400, "The body is not what the operation takes"),
    errors.QueryError: (400, "The query is wrong"),
    errors.UpdateError: (400, "The update is refused"),
    errors.AccessError: (401, "Access denied"),
    errors.Unauthorized: (401, "The credential is not valid"),
    errors.Forbidden: (403, "The credential is for the other role"),
    errors.NotFound: (404, "Not found"),
    errors.NoSuchCollection: (404, "No such collection"),
    errors.NoSuchCredential: (404, "No such credential"),
    errors.NoMatch: (404, "Nothing matches"),
    errors.Conflict: (409, "Something is in the way"),
    errors.DuplicateKey: (409, "The _id is taken"),
    errors.CollectionExists: (409, "The collection's id is taken"),
    errors.TooManyAffected: (409, "More would change than is allowed"),
    errors.VerificationFailed: (409, "The requests were not those that were expected"),
    errors.BodyTooLarge: (413, "The body is too large"),
    errors.ResultTooLarge: (400, "The answer is too large"),
    errors.TooManyRequests: (429, "Too many requests"),
    errors.SchemaViolation: (422, "The collection's schema is not satisfied"),
    errors.StoreError: (503, "The store has failed"),
    errors.StoreLocked: (503, "The store is in use"),
    errors.LedgerChanged: (503, "The store is in use"),
    errors.StoreFailed: (503, "The store has failed"),
    errors.OutcomeUnknown: (503, "The store has failed"),
    errors.CollectionDamaged: (503, "The collection is damaged"),
    errors.NoSpace: (507, "The disk is full"),
    errors.ReadOnly: (403, "Nothing may be written here"),
    errors.ConfigurationError: (500, "The server is not set up"),
    errors.AddressUnavailable: (500, "The server is not set up"),
}


def of(error: Exception, method: str) -> Answer:
    """The answer to whatever was raised while a request of this method was worked on: by us, werkzeug or accident."""
    if isinstance(error, errors.ConnectomeError):
        return _of_ours(error)
    if isinstance(error, HTTPException):
        return _of_werkzeug(error, method)
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return _problem(500, "Internal error", "the server failed in a way that it did not expect", "InternalError")


def _of_ours(error: errors.ConnectomeError) -> Answer:
    status, title = next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
    members: dict[str, Any] = {}
    if error.pointer is not None:
        members["pointer"] = error.pointer
    if isinstance(error, errors.SchemaViolation):
        members["errors"] = [{"detail": each.detail, "pointer": each.pointer} for each in error.failures]
        if error.document_id is not None:
            members["_id"] = error.document_id
    headers = error.headers if isinstance(error, errors.TooManyRequests) else HEADERS.get(status, ())
    if status >= 500:
        _log.error("%s: %s", error.code, error.detail, exc_info=error.__cause__)
    return _problem(status, title, error.detail, error.code, members, headers)


def _of_werkzeug(error: HTTPException, method: str) -> Answer:
    status = error.code or 500
    detail = error.description or error.name
    if isinstance(error, MethodNotAllowed):
        error = MethodNotAllowed(sorted(error.valid_methods or ()))
        methods = (each for each in error.valid_methods or () if each not in ("HEAD", "OPTIONS"))
        detail = f"{method} is not a method of this route: expected {' or '.join(methods)}"
    elif isinstance(error, NotFound):
        detail = f"there is nothing at this path: expected {_ROUTES}"
    headers = [each for each in error.get_headers() if each[0] not in ("Content-Type", "Content-Length")]
    return _problem(status, error.name, detail, error.name.replace(" ", ""), headers=headers)


def refusal(status: int, title: str, detail: str) -> Answer:
    """What is answered outside of any application, where a request cannot even be read."""
    return _problem(status, title, detail, title.replace(" ", ""))


def _problem(
    status: int,
    title: str,
    detail: str,
    code: str,
    members: Mapping[str, Any] = MappingProxyType({}),
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    body = {"type": f"urn:connectome:{code}", "title": title, "status": status, "detail": detail, "code": code}
    text = extjson.dumps({**body, **members}) + "\n"
    return Answer(text.encode(), "application/problem+json", status, tuple(headers))
