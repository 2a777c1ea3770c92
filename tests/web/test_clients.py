"""Files of requests: sent as they stand, they do what they say, and nothing worse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from connectome.web import clients
from connectome.web.guides import GUIDES

# Where ``npm install newman`` was run.
NEWMAN = Path(os.environ.get("CONNECTOME_TEST_NODE_MODULES", "node_modules")).absolute() / "newman/bin/newman.js"
STATUSES = {
    "Read with query": 200,
    "Read": 200,
    "Write": 201,
    "Batch write": 201,
    "Update with upsert": 200,
    "Delete by query": 200,
}


@pytest.fixture(scope="module")
def server(servers, tmp_path_factory):
    """A server of these tests' own: how it answers is not what they are about."""
    with servers(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def collection(server):
    """A fresh collection of two movies."""
    return server.admin.collection([{"_id": 1, "title": "Movie ABC", "amount": 10}, {"_id": 2, "title": "Movie BDD"}])


def written(format, collection, documents):
    """A file of this format for a collection on a server."""
    described = collection.server.admin.describe(collection)
    return clients.FORMATS[format].write(collection.server.url, described, documents)


def sent_as_http(text):
    """What an editor sends of an ``.http`` file: the title of each request, and its answer."""
    variables = dict(re.findall(r"^@(\w+) = (.*)$", text, re.MULTILINE))
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        part = re.sub(r"\{\{(\w+)\}\}", lambda name: variables[name[1]], part)
        title, _, rest = part.partition("\n")
        head, _, body = re.sub(r"^#.*\n", "", rest, flags=re.MULTILINE).strip().partition("\n\n")
        first, *headers = head.splitlines()
        method, url = first.split(" ")
        yield (
            title,
            requests.request(method, url, headers=dict(each.split(": ") for each in headers), data=body.encode()),
        )


def sent_as_postman(text):
    """What Postman sends of a collection: the name of each request, and its answer."""
    collection = json.loads(text)
    variables = {each["key"]: each["value"] for each in collection["variable"]}

    def filled(given):
        return re.sub(r"\{\{(\w+)\}\}", lambda name: variables[name[1]], given)

    for item in collection["item"]:
        request = item["request"]
        (token,) = request["auth"]["bearer"]
        headers = {each["key"]: each["value"] for each in request["header"]}
        headers["Authorization"] = f"Bearer {filled(token['value'])}"
        body = filled(request.get("body", {}).get("raw", "")).encode()
        yield (
            item["name"],
            requests.request(request["method"], filled(request["url"]["raw"]), headers=headers, data=body),
        )


SENT = {"http": sent_as_http, "postman": sent_as_postman}


@pytest.mark.parametrize("format", clients.FORMATS)
class TestFiles:
    def test_each_request_is_answered(self, collection, format):
        """As they stand, with the address and the credentials of the collection."""
        answers = {title: each.status_code for title, each in SENT[format](written(format, collection, []))}

        assert answers == STATUSES
        assert list(answers) == [guide.title for guide in GUIDES.values()]

    def test_a_run_through_changes_no_document_that_was_there(self, collection, format):
        """Updates and deletions are dry runs: one click in such a program sends everything."""
        before = collection.call("read").json()

        for _ in SENT[format](written(format, collection, before)):
            pass

        assert collection.call("read").json()[: len(before)] == before

    def test_a_text_arrives_as_it_is(self, server, format):
        """Whatever these programs would take for something of their own."""
        document = {"title": "{{base}} {{{{\n### x", "# a": "# no", "@b": "@c = d", "“é”": "{{$guid}}"}
        collection = server.admin.collection([{"_id": 1, **document}], title="line\n### x")

        answers = dict(SENT[format](written(format, collection, [{"_id": 1, **document}])))

        assert answers["Delete by query"].json()["deletedCount"] == 3
        assert collection.documents[1:] == [document, document]

    def test_a_credential_that_nobody_knows_is_left_to_the_reader(self, collection, format):
        """A word stands in its place."""
        described = {**collection.server.admin.describe(collection), "credentials": {"read": None, "write": None}}

        text = clients.FORMATS[format].write("http://x", described, [])

        assert "READ_CREDENTIAL" in text
        assert "WRITE_CREDENTIAL" in text

    def test_the_command_prints_it(self, collection, format):
        """Through the server that holds the directory."""
        command = [sys.executable, "-m", "connectome", "requests", collection.id, "--format", format]
        ended = subprocess.run(
            [*command, "--data", str(collection.server.data)], capture_output=True, text=True, check=True
        )

        assert ended.stdout == written(format, collection, collection.call("read").json())


@pytest.mark.skipif(not (NEWMAN.is_file() and shutil.which("node")), reason="npm's newman is not installed")
def test_postman_runs_its_collection(collection, tmp_path):
    """Newman, Postman's own program, reads the file and sends every request of it."""
    file = tmp_path / "collection.json"
    file.write_text(written("postman", collection, collection.documents))

    command = ["node", NEWMAN, "run", file, "--reporters", "json", "--reporter-json-export", tmp_path / "report.json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    executed = json.loads((tmp_path / "report.json").read_text())["run"]["executions"]
    assert {each["item"]["name"]: each["response"]["code"] for each in executed} == STATUSES
