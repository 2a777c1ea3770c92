"""What is logged: the route of a request, its id, errors; and what is taken out of all that."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from connectome.config import Settings
from connectome.errors import InvalidRequest
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import console, create_app, logs

READ = "cr_0123456789abcdefghijABCDEFGHIJ-_"
FIXED = "the-owners-own-credential"
BEARER = {"Authorization": f"Bearer {READ}"}
TOKEN = "the administrator's token"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a process has once is put back: what makes its records, the hooks, and the handlers of the root."""
    root = logging.getLogger()
    kept = (logging.getLogRecordFactory(), sys.excepthook, threading.excepthook, sys.unraisablehook)
    handlers, root.handlers = root.handlers, []
    yield
    logging.setLogRecordFactory(kept[0])
    sys.excepthook, threading.excepthook, sys.unraisablehook = kept[1:]
    root.handlers = handlers
    logging.getLogger("connectome.access").setLevel(logging.NOTSET)
    logs.scrub.known = []


@pytest.fixture
def service(directory: Path) -> Iterator[Service]:
    service = Service(open_store(directory))
    service.create(id="movies", credentials={"read": READ, "write": FIXED}, documents=[{"_id": 1}])
    yield service
    service.close()


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def apps(directory: Path, service: Service, output: io.StringIO) -> Callable[..., Flask]:
    """Makes applications whose log goes to ``output``."""

    def make(**settings: Any) -> Flask:
        logging.getLogger().addHandler(logging.StreamHandler(output))
        return create_app(Settings(data=directory, admin_token=TOKEN, **settings), service)

    return make


class TestAccessLog:
    @pytest.mark.parametrize(
        ("method", "path", "headers", "line"),
        [
            ("POST", f"/collection/read/{READ}/movies", {}, "POST /collection/read/<credential>/movies …IJ-_"),
            ("GET", "/collection/read/-/movies", BEARER, "GET /collection/read/-/movies …IJ-_"),
            ("GET", f"/collection/read/{READ}/other", {}, "GET /collection/read/<credential>/<collection> …IJ-_"),
            ("GET", "/collection/read/short/movies", {}, "GET /collection/read/<credential>/movies …"),
            ("GET", f"/collection/{READ}/read/movies", {}, "GET /collection/<operation>/<credential>/movies …"),
            ("GET", "/-/health?x=y", {}, "GET /-/health …"),
            ("GET", "/-/admin/collections/movies", {}, "GET /-/admin/collections/<collection> …"),
            ("GET", f"/{READ}", {}, "GET - …"),
        ],
    )  # fmt: skip
    def test_a_line_names_the_route(self, apps, output, method, path, headers, line):
        """With the names in it that exist, and the end of the credential; never the URL."""
        answer = apps(access_log=True).test_client().open(path, method=method, headers=headers, data=b"{}")

        (written,) = output.getvalue().splitlines()
        request_id = re.escape(answer.headers["X-Request-Id"])
        length = len(answer.data)
        assert re.fullmatch(rf"{re.escape(line)} {answer.status_code} {length}B [\d.]+ms {request_id}", written)

    def test_as_json_it_has_members(self, apps, output):
        """One for each thing that there is to know."""
        headers = {"X-Request-Id": "from-a-proxy.1"}
        client = apps(access_log=True, log_format="json").test_client()
        client.get(f"/collection/read/{READ}/movies", headers=headers)

        line = json.loads(output.getvalue())
        del line["time"], line["milliseconds"], line["message"]
        assert line == {
            "level": "INFO",
            "logger": "connectome.access",
            "request_id": "from-a-proxy.1",
            "method": "GET",
            "route": "/collection/read/<credential>/movies",
            "credential": "IJ-_",
            "status": 200,
            "bytes": 12,
        }

    def test_it_is_off_unless_it_is_asked_for(self, apps, output):
        """And then nothing stands in the way of a request."""
        answer = apps().test_client().get(f"/collection/read/{READ}/movies")

        assert output.getvalue() == ""
        assert "X-Request-Id" not in answer.headers

    def test_what_a_page_rehearses_is_no_request(self, apps, output):
        """The console asks a copy of its own what the API would answer."""
        app = apps(access_log=True)
        client = app.test_client()
        client.get(str(console.login_path(app)))
        output.truncate(0)

        page = client.get("/collections/movies/integration/api", headers={"Accept": "text/html"})

        assert page.status_code == 200
        assert output.getvalue().strip("\0").startswith("GET /collections/<id>/integration/api … 200 ")
        assert output.getvalue().count("\n") == 1

    def test_a_stream_is_counted_to_its_end(self, service, output):
        """Of what has no length the bytes are known when it is closed, be it before its end."""
        logging.getLogger().addHandler(logging.StreamHandler(output))
        logging.getLogger("connectome.access").setLevel(logging.INFO)

        def streaming(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            return iter([b"12345", b"678", b"9"])

        layer = logs.AccessLog(streaming, service, logged=True)
        body = layer({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
        pieces = iter(body)
        assert [next(pieces), next(pieces)] == [b"12345", b"678"]
        assert output.getvalue() == ""
        body.close()

        assert re.match(r"GET - … 200 8B ", output.getvalue())


class TestRequestId:
    def test_that_of_the_client_comes_back(self, apps):
        """Where it has one that is harmless."""
        client = apps(log_format="json").test_client()

        assert client.get("/-/health", headers={"X-Request-Id": "a.b:c/1="}).headers["X-Request-Id"] == "a.b:c/1="

    @pytest.mark.parametrize("given", ["", "a b", "é", "x" * 129, '"', READ, FIXED])
    def test_any_other_is_replaced(self, apps, given):
        """By one that no two requests share."""
        client = apps(log_format="json").test_client()

        made = [client.get("/-/health", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in range(2)]

        assert given not in made
        assert made[0] != made[1]
        assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", made[0])

    def test_what_a_request_logs_has_its_id(self, apps, output, service, monkeypatch):
        """So that an error can be found from an answer."""
        monkeypatch.setattr(service, "describe", lambda _: 1 / 0)
        client = apps(log_format="json").test_client()

        answer = client.get("/-/admin/collections/movies", headers={"Authorization": f"Bearer {TOKEN}"})

        line = json.loads(output.getvalue())
        assert (answer.status_code, line["request_id"]) == (500, answer.headers["X-Request-Id"])
        assert line["message"] == "unexpected ZeroDivisionError"
        assert line["traceback"].endswith("ZeroDivisionError: division by zero")


class TestScrubbing:
    @pytest.mark.parametrize(
        ("text", "scrubbed"),
        [
            (f"GET /collection/read/{READ}/movies", "GET /collection/read/…"),
            ("GET /collection/read/anything/movies HTTP/1.1", "GET /collection/read/… HTTP/1.1"),
            (f"a {READ}, and cw%5F0123456789abcdef0", "a cr_…, and cw%5F…"),
            ("/login?token=abc&next=/", "/login?token=…&next=/"),
            ("Authorization: Bearer abc", "Authorization: Bearer …"),
            ("{'HTTP_AUTHORIZATION': 'Bearer abc', 'X': '1'}", "{'HTTP_AUTHORIZATION': 'Bearer …', 'X': '1'}"),
            ("('Cookie', 'session=abc')", "('Cookie', '…')"),
            ('{"apiKey": "abc"} api-key: abc', '{"apiKey": "…"} api-key: …'),
            (f"with {FIXED}", "with …"),
            (f"with {TOKEN}", "with …"),
            ("cr_ and read, /collection and a bearer", "cr_ and read, /collection and a bearer"),
        ],
    )
    def test_a_text_loses_its_credentials(self, apps, text, scrubbed):
        """What has their form, stands in their place, or is known."""
        apps()

        assert logs.scrub(text) == scrubbed

    def test_a_record_is_scrubbed_for_every_handler_of_every_logger(self, apps):
        """Whoever installed it, and whatever it makes of the record."""
        apps()
        seen: list[logging.LogRecord] = []
        theirs = logging.getLogger("somebody.elses")
        theirs.addHandler(handler := logging.Handler())
        handler.emit = seen.append  # type: ignore[method-assign]

        try:
            raise ValueError(f"no {READ}")
        except ValueError:
            theirs.warning("of %s, %r", FIXED, {"a": READ}, exc_info=True, stack_info=True)

        (record,) = seen
        assert record.getMessage() == "of …, {'a': 'cr_…'}"
        assert record.exc_text.endswith("ValueError: no cr_…")
        written = logging.Formatter().format(record) + repr(vars(record))
        assert READ not in written
        assert FIXED not in written

    @pytest.mark.parametrize(
        "error",
        [
            ValueError(f"no {READ}"),
            InvalidRequest(f"no {READ}", pointer=f"/{READ}"),
            FileNotFoundError(2, "no file", READ),
            UnicodeDecodeError("utf-8", READ.encode(), 0, 1, READ),
            ExceptionGroup(READ, [ValueError(READ)]),
            KeyError(READ),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_a_handler_is_given_an_exception(self, apps, error):
        """Of the same name and kind, which says the same, scrubbed, and holds nothing else of it."""
        apps()

        try:
            raise error from RuntimeError(READ)
        except (Exception, ExceptionGroup) as caught:
            record = logging.getLogRecordFactory()(
                "x", logging.ERROR, "", 1, "failed", (), (type(caught), caught, caught.__traceback__)
            )

        kind, stand_in, trace = record.exc_info
        assert (kind, trace) == (type(stand_in), None)
        assert kind.__name__ == type(error).__name__
        assert isinstance(stand_in, type(error)) or isinstance(error, ExceptionGroup)
        assert str(stand_in) == logs.scrub(str(error))
        assert READ not in repr(stand_in) + str(vars(stand_in)) + record.exc_text
        assert (stand_in.__cause__, stand_in.__context__) == (None, None)
        assert "Traceback" in record.exc_text
        assert logging.Formatter().format(record) == f"failed\n{record.exc_text}"

    def test_an_exception_that_nobody_caught_is_scrubbed(self, apps, capsys, monkeypatch):
        """Of the process, of a thread, and of what cannot raise."""
        monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
        monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
        monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        apps()

        def fail() -> None:
            raise ValueError(f"no {READ}")

        class Failing:
            def __del__(self) -> None:
                fail()

        try:
            fail()
        except ValueError as error:
            sys.excepthook(type(error), error, error.__traceback__)
        thread = threading.Thread(target=fail, name="a-thread")
        thread.start()
        thread.join()
        Failing().__del__  # noqa: B018 -- made, and gone

        written = capsys.readouterr().err
        assert written.count("ValueError: no cr_…") == 3
        assert "Exception in thread a-thread:" in written
        assert READ not in written

    def test_somebody_elses_hooks_stay(self, apps, monkeypatch):
        """Where a larger application has its own."""
        own = print
        monkeypatch.setattr(sys, "excepthook", own)

        apps()

        assert sys.excepthook is own


class TestHeaders:
    @pytest.mark.parametrize(
        "path", ["/-/health", "/nothing", f"/collection/read/{READ}/movies", "/collection/read/x/y", "/"]
    )
    def test_nobody_keeps_an_answer_or_gives_its_url_away(self, apps, path):
        """Whichever road it takes, and whether it is one."""
        headers = apps(access_log=True).test_client().get(path).headers

        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] in ("no-referrer", "same-origin")
