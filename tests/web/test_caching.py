"""What a client has already: entity tags, and what they may never say."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from werkzeug.test import Client

from connectome.config import Settings
from connectome.query import Filter, Update
from connectome.service import Service
from connectome.stores import Modify, open_store
from connectome.web import create_app

READ = "/collection/read/cr_reader/movies"
ASK = "/collection/readwithquery/cr_reader/movies"


@pytest.fixture
def service(tmp_path):
    """One collection of two documents."""
    with closing(Service(open_store(tmp_path / "data"))) as service:
        service.create(id="movies", credentials={"read": "cr_reader", "write": "cw_writer"})
        service.writer("cw_writer", "movies").insert_many([{"_id": 1}, {"_id": 2}])
        yield service


@pytest.fixture
def client(service, tmp_path):
    """A client of an application over it."""
    return Client(create_app(Settings(data=tmp_path, admin_token="token"), service))


def tag(client, body=b"{}", **headers):
    """The tag of what a question is answered with."""
    return client.post(ASK, data=body, headers=headers).headers.get("ETag")


class TestTags:
    def test_who_has_an_answer_is_told_so(self, client):
        """With the tag, without the documents."""
        known = client.get(READ).headers["ETag"]

        again = client.get(READ, headers={"If-None-Match": f'"other", {known}'})

        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == known
        assert again.headers["Cache-Control"] == "no-store"
        assert "Content-Type" not in again.headers

    def test_a_question_is_known_as_a_document_is(self, client):
        """``readwithquery`` is a POST that reads."""
        known = tag(client, b'{"query": {"_id": 1}}')

        again = client.post(ASK, data=b'{"query": {"_id": 1}}', headers={"If-None-Match": known})

        assert (again.status_code, again.data) == (304, b"")

    def test_the_strong_form_of_a_tag_is_known_too(self, client):
        """If-None-Match compares weakly."""
        known = client.get(READ).headers["ETag"]

        assert known.startswith("W/")
        assert client.get(READ, headers={"If-None-Match": known.removeprefix("W/")}).status_code == 304

    @pytest.mark.parametrize(
        "write",
        [
            lambda writer: writer.insert_one({"_id": 3}),
            lambda writer: writer.update(Modify(Filter({"_id": 1}), Update({"a": 1}))),
            lambda writer: writer.delete_many(Filter({"_id": 1})),
        ],
    )
    def test_a_write_makes_an_answer_new(self, client, service, write):
        """Whatever it wrote."""
        known = client.get(READ).headers["ETag"]

        write(service.writer("cw_writer", "movies"))

        assert client.get(READ, headers={"If-None-Match": known}).status_code == 200

    def test_a_tag_names_the_question_and_the_form(self, client):
        """Another filter, or another Accept, is another answer."""
        tags = [
            tag(client),
            tag(client, b'{"limit": 1}'),
            tag(client, Accept="application/ejson"),
            tag(client, Accept="application/x-ndjson"),
            client.get(READ).headers["ETag"],
        ]

        assert len({*tags}) == len(tags)

    def test_a_collection_that_is_made_anew_is_another(self, client, service):
        """However much it looks like the old one."""
        known = client.get(READ).headers["ETag"]
        service.drop("movies")
        service.create(id="movies", credentials={"read": "cr_reader", "write": "cw_writer"})
        service.writer("cw_writer", "movies").insert_many([{"_id": 1}, {"_id": 3}])

        assert client.get(READ, headers={"If-None-Match": known}).status_code == 200

    def test_no_tag_outlives_the_process(self, tmp_path):
        """After a power cut the same numbers may stand for other writes."""
        versions = []
        for _ in range(2):
            with closing(open_store(tmp_path / "again")) as store:
                versions.append(store.collection("birds", None, new=not versions).version)

        assert versions[0] != versions[1]

    @pytest.mark.parametrize(
        "body",
        [
            b'{"query": {"$expr": {"$lt": ["$at", "$$NOW"]}}}',
            b'{"project": {"x": {"$rand": {}}}}',
            b'{"project": {"x": {"$\\u0072and": {}}}}',
            b'{"query": {"$sampleRate": 0.5}}',
        ],
    )
    def test_what_is_new_each_time_has_no_tag(self, client, body):
        """Chance and the clock change an answer without a write."""
        response = client.post(ASK, data=body)

        assert response.status_code == 200
        assert "ETag" not in response.headers

    def test_neither_has_an_explanation_or_a_problem(self, client):
        """Only documents have."""
        assert "ETag" not in client.post(f"{ASK}?explain=true", data=b"{}").headers
        assert tag(client, b'{"query": {"$gtt": 1}}') is None

    def test_a_tag_opens_nothing(self, client):
        """Who has one and no credential is a stranger."""
        known = client.get(READ).headers["ETag"]

        assert client.get(READ.replace("cr_reader", "cr_none"), headers={"If-None-Match": known}).status_code == 401

    def test_a_tag_never_says_less_than_was_read(self, client, service):
        """While somebody writes: whoever has the answer of a tag, and is told that it is known, has the newest."""
        writer = service.writer("cw_writer", "movies")
        written = 2
        ended = threading.Event()

        def write():
            nonlocal written
            for number in range(3, 400):
                writer.insert_one({"_id": number})
                written = number
            ended.set()

        thread = threading.Thread(target=write)
        thread.start()
        read = client.get(READ)
        rounds = known = 0
        while not ended.is_set() or not known:
            before = written
            again = client.get(READ, headers={"If-None-Match": read.headers["ETag"]})
            if again.status_code == 304:
                known += 1
                assert len(read.json) >= before
            else:
                read = again
            rounds += 1
        thread.join()
        assert len(client.get(READ).json) == 399
