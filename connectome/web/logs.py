"""
What is logged: one line for a request where that is asked for, errors, and never a credential.

A URL holds a credential, so no log may hold a URL: the access log is our own, and names the route instead.  Whatever
else is logged in this process, by the servers too, is scrubbed as its record is made, so that no handler, whoever
installed it, sees what was there; and so is what Python writes of an exception that nobody caught.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from connectome.config import Settings
from connectome.credentials import ending_of
from connectome.service import Service
from connectome.web.api import OPERATIONS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Where the route of a request stands in its environment, as far as Flask has found one.
ROUTE: Final = "connectome.route"

_access: Final = logging.getLogger("connectome.access")
_request_id: Final[ContextVar[str | None]] = ContextVar("connectome.request_id", default=None)

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# What a client may call its request: nothing that could break a line, or a log.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
# A shorter text stands in too many places to be a secret wherever it does.
_MIN_SECRET_LENGTH: Final = 8
_HIDDEN: Final = "…"
# The last two are those of the Atlas Data API.
_CREDENTIAL_HEADERS: Final = ("HTTP_AUTHORIZATION", "HTTP_APIKEY", "HTTP_API_KEY")
_SCRUBBED: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # What we made, also with an underscore that a client wrote as %5F.
        (r"(c[arw](?:_|%5f))[a-z0-9_%-]{12,}", rf"\1{_HIDDEN}"),
        # Whatever stands in the place of a credential, right or wrong; and behind it, where one may stand by mistake.
        (r"(/collection/[^/\s?#'\"]*/)[^\s?#'\"]+", rf"\1{_HIDDEN}"),
        (r"([?&](?:token|api-?key)=)[^&\s'\"]+", rf"\1{_HIDDEN}"),
        (
            r"((?:authorization|cookie)\b['\"]?\s*[:=,]\s*(?:b?['\"])?(?:b(?:earer|asic)\s+)?)[^'\"\r\n]+",
            rf"\1{_HIDDEN}",
        ),
        (r"(api-?key\b['\"]?\s*[:=,]\s*(?:b?['\"])?)[^\s'\",]+", rf"\1{_HIDDEN}"),
        (r"(\bbearer\s+)[a-z0-9._~+/=-]{4,}", rf"\1{_HIDDEN}"),
    )
)


class Scrubber:
    """
    Takes credentials out of texts: what has their form, stands where they stand, or is one that we know.

    known: the secrets that have no form of ours, such as those that an owner fixed.
    """

    def __init__(self) -> None:
        self.known: list[Callable[[], Iterable[str]]] = []

    def __call__(self, text: str) -> str:
        for pattern, replacement in _SCRUBBED:
            text = pattern.sub(replacement, text)
        for secret in {secret for each in self.known for secret in each()}:
            if len(secret) >= _MIN_SECRET_LENGTH and secret in text:
                text = text.replace(secret, _HIDDEN)
        return text


scrub: Final = Scrubber()


def install(settings: Settings, service: Service) -> None:
    """Have this process log what it logs in the form that is set, without credentials; any number of times."""
    scrub.known = [service.fixed_credentials, lambda: [settings.admin_token]]
    if logging.getLogRecordFactory() is not _record:
        _made_before[:] = [logging.getLogRecordFactory()]
        logging.setLogRecordFactory(_record)
    # Somebody else's hooks are left alone: a test's, or those of whoever has us in a larger application.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
        root.handlers[0].setFormatter(logging.Formatter(_TEXT))
    if settings.log_format == "json":
        for handler in root.handlers:
            handler.setFormatter(JsonFormatter())
    if settings.access_log:
        _access.setLevel(logging.INFO)


_made_before: Final[list[Callable[..., logging.LogRecord]]] = []


def _record(*args: Any, **options: Any) -> logging.LogRecord:
    """A record without credentials, in its message and in its traceback, which is written here already."""
    record = _made_before[0](*args, **options)
    record.request_id = _request_id.get()
    if record.name == _access.name:
        return record  # it has none, and there are many
    record.msg, record.args = scrub(record.getMessage()), None
    if record.exc_info and record.exc_info[0]:
        # Formatters take this where it is there, and else write their own.
        record.exc_text = scrub("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        record.exc_info = _scrubbed_exception(*record.exc_info[:2])
    if record.stack_info:
        record.stack_info = scrub(record.stack_info)
    return record


def _scrubbed_exception(
    kind: type[BaseException], error: BaseException | None
) -> tuple[type[BaseException], BaseException, None]:
    """
    What handlers that report exceptions elsewhere make theirs of: one of the same name that says the same, scrubbed.

    No traceback, whose frames hold what the functions were called with; no cause, and no attributes.
    """
    text = scrub(str(error))
    try:
        stand_in = kind.__new__(_stand_in(kind), text)
    except TypeError:  # it cannot be made of a text alone, as a group cannot
        stand_in = _stand_in(Exception, kind.__name__)(text)
    stand_in.args = (text,)
    return type(stand_in), stand_in, None


def _stand_in(kind: type[BaseException], name: str = "") -> type[BaseException]:
    """A subclass of the same name, whose exceptions say nothing but their one argument."""
    members = {"__module__": kind.__module__, "__str__": lambda self: str(self.args[0])}
    return type(name or kind.__name__, (kind,), members)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(scrub("".join(traceback.format_exception(kind, error, trace))))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit and args.exc_value is not None:
        name = args.thread.name if args.thread else "?"
        sys.stderr.write(f"Exception in thread {name}:\n")
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    sys.stderr.write(f"{args.err_msg or 'Exception ignored in'}: {type(args.object).__name__}\n")
    if args.exc_value is not None:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message; request_id, traceback and what a request has."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", None):
            line["request_id"] = request_id
        line |= getattr(record, "request", {})
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


class AccessLog:
    """
    Outermost: gives each request an id, which goes back in ``X-Request-Id``, and writes a line when it is answered.

    Args:
        logged: Write the line; else records have the id all the same.
    """

    def __init__(self, onward: WSGIApplication, service: Service, *, logged: bool) -> None:
        self.onward = onward
        self._service = service
        self._logged = logged
        self._own_ids = map((secrets.token_hex(6) + "-{:x}").format, count(1))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if given and _REQUEST_ID.fullmatch(given) and scrub(given) == given else next(self._own_ids)
        status = "500"
        length: int | None = None

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status, length
            status = line[:3]
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
            return start_response(line, [*headers, ("X-Request-Id", request_id)], *exc_info)

        token = _request_id.set(request_id)
        try:
            body = self.onward(environ, start)
        except BaseException:
            if self._logged:
                self._write(environ, request_id, "500", 0, started)
            raise
        finally:
            _request_id.reset(token)
        if not self._logged:
            return body
        if length is None and not isinstance(body, list):
            return _Counted(body, lambda sent: self._write(environ, request_id, status, sent, started))
        sent = sum(map(len, body)) if isinstance(body, list) else length
        self._write(environ, request_id, status, sent or 0, started)
        return body

    def _write(self, environ: WSGIEnvironment, request_id: str, status: str, sent: int, started: float) -> None:
        if not _access.isEnabledFor(logging.INFO):
            return
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        method, (route, ending) = environ["REQUEST_METHOD"], self._named(environ)
        if not method.isalpha() or len(method) > 16:
            method = "?"
        request = {
            "method": method,
            "route": route,
            "credential": ending,
            "status": int(status),
            "bytes": sent,
            "milliseconds": milliseconds,
        }
        shown = f"{method} {route} …{ending} {status} {sent}B {milliseconds}ms {request_id}"
        # As ``Logger.info``, which takes twice the time to find out who called it.
        record = _access.makeRecord(_access.name, logging.INFO, "", 0, shown, (), None, extra={"request": request})
        record.request_id = request_id
        _access.handle(record)

    def _named(self, environ: WSGIEnvironment) -> tuple[str, str]:
        """The route of a request, with the names in it that exist; and the last four characters of its credential."""
        given = next(filter(None, map(environ.get, _CREDENTIAL_HEADERS)), "").rpartition(" ")[2]
        parts = environ.get("PATH_INFO", "").split("/")
        if len(parts) == 5 and parts[1] == "collection":
            _, _, operation, credential, collection = parts
            operation = operation if operation in OPERATIONS else "<operation>"
            collection = collection if collection in self._service else "<collection>"
            shown = "-" if credential == "-" else "<credential>"
            return f"/collection/{operation}/{shown}/{collection}", ending_of(given if shown == "-" else credential)
        return environ.get(ROUTE, "-"), ending_of(given)


class _Counted:
    """A body that says how many bytes of it were sent, once it is closed."""

    def __init__(self, pieces: Iterable[bytes], closed: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._closed = closed
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._sent += len(piece)
            yield piece

    def close(self) -> None:
        try:
            getattr(self._pieces, "close", lambda: None)()
        finally:
            self._closed(self._sent)
