"""Two roads lead to the operations, Flask's and the express lane: nobody can tell from an answer which it took."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from connectome.config import Settings
from connectome.query import Filter
from connectome.service import Service
from connectome.stores import Find, open_store
from connectome.web import create_app
from connectome.web.api import OPERATIONS
from connectome.web.express import ExpressLane

KEYS = {"read": "cr_reader", "write": "cw_writer"}
DOCUMENTS = [
    {"_id": 1, "amount": 10, "title": "Movie ABC"},
    {"_id": 2, "amount": 100, "title": "Movie BDD", "cast": [{"name": "é"}]},
    {"_id": 3, "title": "Movie XYZ", "amount": "none"},
]


def made(text):
    """A text with one word for each identity that was made."""
    return re.sub(rb'"[0-9a-f]{24}"', b'"made"', text)


class Road:
    """One application over a store of its own, and the WSGI callable that leads to it."""

    def __init__(self, directory, name):
        self.service = Service(open_store(directory, durability="memory"))
        self.service.create(id="movies", credentials=KEYS)
        self.app = create_app(Settings(data=directory, max_body_bytes=2000, admin_token="token"), self.service)
        lane = self.app.wsgi_app
        while not isinstance(lane, ExpressLane):
            lane = lane.onward
        self.wsgi = lane if name == "express" else lane.onward

    def begin(self):
        """Put the documents back as they were."""
        collection = self.service.writer(KEYS["write"], "movies")
        collection.delete_many(Filter({}))
        collection.insert_many(DOCUMENTS)

    def documents(self):
        """What the collection holds."""
        return [made(text) for text in self.service.reader(KEYS["read"], "movies").encoded(Find())]

    def answer(self, environ):
        """Status, headers and body, without what is new each time: identities that are made, and times."""
        body, status, headers = run_wsgi_app(self.wsgi, {**environ, "wsgi.input": io.BytesIO(environ["body"])})
        # Each store has versions of its own; the question is the same.
        same = [
            (name, re.sub('"[0-9a-f]+-[0-9]+-', '"', value) if name == "ETag" else value) for name, value in headers
        ]
        return status, same, re.sub(rb'(?<="executionTimeMillis":)[0-9.e-]+', b"0", made(b"".join(body)))


@pytest.fixture(scope="module")
def roads(tmp_path_factory):
    """The express lane, and Flask."""
    both = [Road(tmp_path_factory.mktemp(name), name) for name in ("express", "flask")]
    yield both
    for each in both:
        each.service.close()


def environ(method, path, body=b"", **more):
    """A request as a WSGI server hands it on; the path as it stands in ``PATH_INFO``."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "body": body,
        **({"CONTENT_LENGTH": str(len(body))} if body else {}),
        **more,
    }


def same(roads, request):
    """Ask both roads; what they answer, which is the same to the byte."""
    for each in roads:
        each.begin()
    express, flask = (each.answer(request) for each in roads)
    assert express == flask
    assert roads[0].documents() == roads[1].documents()
    return express


PATHS = st.one_of(
    st.tuples(
        st.sampled_from([*OPERATIONS, *OPERATIONS, "raed", "READ", "re%61d", ""]),
        st.sampled_from(
            [
                "cr_reader",
                "cw_writer",
                "cr_reader",
                "cw_writer",
                "nonsense",
                "-",
                "",
                "\xc3\xa9",
                "\xff",
                "a\nb",
            ]
        ),
        st.sampled_from(
            [
                "movies",
                "movies",
                "movies",
                "nowhere",
                "",
                "movies/",
                "movies/more",
                "m\xf6vies",
                "movies\n",
            ]
        ),
    ).map(lambda parts: "/collection/" + "/".join(parts)),
    st.sampled_from(
        [
            "/collection",
            "/collection/",
            "//collection/read/cr_reader/movies",
            "/Collection/read/a/b",
            "",
            "/",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=8).map(lambda end: "/collection/read/cr_reader/" + end),
)
BODIES = st.one_of(
    st.sampled_from(
        [
            {},
            [],
            [{}],
            [{"_id": 7}, {"_id": 1}],
            {"_id": 1},
            {"_id": 9, "at": {"$date": "2020-01-02T03:04:05Z"}},
            {"query": {"amount": {"$gte": 10}}, "sort": {"amount": -1}, "limit": 2},
            {"query": {"amount": {"$gtt": 10}}},
            {"project": {"x": {"$divide": [1, {"$subtract": ["$_id", 3]}]}}},
            {"qury": {}},
            {"skip": -1},
            {"search query": {}, "data": {"seen": True}},
            {"search query": {"_id": 8}, "data": {"seen": True}, "upsert": True},
            {"search query": {"_id": 8}, "data": {"seen": True}},
            {"search query": {}, "data": {"$inc": {"amount": 1}}},
            {"data": {}},
            {"amount": 10},
            {"$or": []},
            5,
            None,
        ]
    ).map(lambda body: json.dumps(body).encode()),
    st.sampled_from([b"", b" ", b"{", b'{"a": 1, "a": 2}', b"\xff", b'{"a": "' + b"x" * 2000 + b'"}']),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_ACCEPT": st.sampled_from(
            [
                "*/*",
                "application/json",
                "application/ejson",
                "application/x-ndjson",
                "text/csv",
                "text/html",
                "nonsense",
                "text/csv;q=0.5, application/x-ndjson;q=0.6, */*;q=0.1",
                "application/*",
                "*/*;q=0",
                "",
            ]
        ),
        "HTTP_IF_NONE_MATCH": st.sampled_from(["*", '"old"', "", "\xff"]),
        "HTTP_AUTHORIZATION": st.sampled_from(
            [
                "Bearer cr_reader",
                "bearer cw_writer",
                "Basic YTpi",
                "Bearer",
                "",
                "\xff",
            ]
        ),
        "HTTP_CONTENT_ENCODING": st.sampled_from(["gzip", ""]),
        "CONTENT_TYPE": st.sampled_from(
            ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"]
        ),
        "CONTENT_LENGTH": st.sampled_from(["", "0", "1", "5000", "many", "-1", "99999999999999999999"]),
        "HTTP_TRANSFER_ENCODING": st.just("chunked"),
        "QUERY_STRING": st.sampled_from(
            [
                "dry_run=true",
                "dry_run=yes",
                "max_affected=1",
                "max_affected=x",
                "explain=true",
                "explain=",
                "a=b&&=",
                "%",
            ]
        ),
        "HTTP_HOST": st.sampled_from(["127.0.0.1:8000", "example.org", "bad host", ""]),
        "HTTP_UPGRADE": st.just("websocket"),
        "HTTP_CONNECTION": st.just("Upgrade"),
        "HTTP_COOKIE": st.just("session=x"),
        "SCRIPT_NAME": st.just("/mounted"),
        "SERVER_PROTOCOL": st.just("HTTP/1.0"),
    },
)
METHODS = st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "get", "MADE-UP"])
PLAUSIBLE = st.sampled_from(sorted(OPERATIONS)).flatmap(
    lambda name: st.builds(
        environ,
        st.just(OPERATIONS[name].method),
        st.just(f"/collection/{name}/{KEYS[OPERATIONS[name].role]}/movies"),
        BODIES,
    )
)
ANY = st.builds(
    lambda method, path, body, headers: environ(method, path, body) | headers, METHODS, PATHS, BODIES, HEADERS
)


class TestBothRoads:
    @given(st.one_of(PLAUSIBLE, ANY), st.one_of(st.just({}), HEADERS))
    @settings(max_examples=600, deadline=None)
    def test_they_answer_alike(self, roads, asked, headers):
        """Good or bad, a request gets the same status, headers and body, and does the same to the documents."""
        same(roads, asked | headers)

    @pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/csv", "application/ejson"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_they_send_a_large_answer_alike(self, roads, method, accept):
        """Also where it is sent in pieces."""
        for each in roads:
            each.begin()
            each.service.writer(KEYS["write"], "movies").insert_many(
                [{"_id": -n, "text": "x" * 900} for n in range(300)]
            )

        request = environ(method, "/collection/read/cr_reader/movies", HTTP_ACCEPT=accept)
        express, flask = (each.answer(request) for each in roads)

        assert express == flask
        assert dict(express[1])["Content-Length"] > "2"
        assert (express[2] == b"") == (method == "HEAD")

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_they_know_alike_what_a_client_has(self, roads, method):
        """A tag of theirs is answered with 304 and nothing else."""
        for each in roads:
            each.begin()
            each.read = environ(method, "/collection/read/cr_reader/movies")
            _, _, headers = run_wsgi_app(each.wsgi, {**each.read, "wsgi.input": io.BytesIO()})
            each.read["HTTP_IF_NONE_MATCH"] = headers["ETag"]

        express, flask = (each.answer(each.read) for each in roads)

        assert express == flask
        assert (express[0], express[2]) == ("304 NOT MODIFIED", b"")

    def test_an_accident_is_told_alike(self, roads, monkeypatch):
        """What nobody foresaw is the same problem."""

        def accident(*_):
            raise RuntimeError

        for each in roads:
            monkeypatch.setattr(each.service, "reader", accident)

        express, flask = (each.answer(environ("GET", "/collection/read/cr_reader/movies")) for each in roads)

        assert express == flask
        assert express[0] == "500 INTERNAL SERVER ERROR"


class TestTheExpressLane:
    @pytest.mark.parametrize("name", sorted(OPERATIONS))
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
    def test_operations_take_it(self, roads, monkeypatch, name, method):
        """No request for an operation reaches Flask."""
        reached = []
        monkeypatch.setattr(roads[0].wsgi, "onward", lambda *_: reached.append(name))

        roads[0].answer(environ(method, f"/collection/{name}/cr_reader/movies", b"{}"))

        assert reached == []

    @pytest.mark.parametrize(
        "path", ["/-/health", "/collection/read/cr_reader/movies/", "/collection/read//movies", "/"]
    )
    def test_the_rest_goes_on_to_flask(self, roads, monkeypatch, path):
        """What is not plainly an operation is for the router."""
        reached = []

        def onward(environ, start_response):
            reached.append(environ["PATH_INFO"])
            start_response("200 OK", [])
            return []

        monkeypatch.setattr(roads[0].wsgi, "onward", onward)

        roads[0].answer(environ("GET", path))

        assert reached == [path]
