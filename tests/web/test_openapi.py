"""The OpenAPI document: it is one, leaves no route out, holds no secret; and the server keeps to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from connectome import config
from connectome.config import Settings
from connectome.schemas import Schema
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app, openapi, status
from connectome.web.api import OPERATIONS
from connectome.web.atlas import ACTIONS
from connectome.web.problems import STATUS

HERE = Path(__file__).parent
KEYS = {"read": "cr_reader", "write": "cw_writer"}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An application with a collection of one document."""
    directory = tmp_path_factory.mktemp("data")
    service = Service(open_store(directory, durability="memory"))
    service.create(id="movies", credentials=KEYS, documents=[{"_id": 1}])
    service.create(id="tasks", credentials=KEYS)  # of which the examples of the Data API speak
    yield create_app(Settings(data=directory, admin_token="ca_administrator", metrics_token="mt_metrics"), service)
    service.close()


@pytest.fixture
def document(app):
    """Its OpenAPI document, as a client gets it."""
    return app.test_client().get("/-/openapi.json").get_json()


def operations(document):
    """Every operation of the document: method, path, and itself."""
    return [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


class TestDocument:
    def test_it_is_openapi(self, document):
        """It satisfies the schema of OpenAPI 3.1, and so does every JSON Schema in it."""
        OpenAPIV31SpecValidator(document).validate()

    def test_no_route_is_left_out(self, app):
        """Whoever adds a route declares with ``@contract`` what it takes and answers."""
        assert openapi.undescribed(app.url_map, app.view_functions) == []

    def test_it_has_the_routes_and_no_others(self, app, document):
        """Each with the methods that Flask has for it."""
        routes = {
            (method, re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule))
            for rule in app.url_map.iter_rules()
            if not openapi.is_page(rule)
            for method in openapi.methods(rule)
        }

        assert {(method, path) for method, path, _ in operations(document)} == routes

    def test_a_route_without_a_contract_is_named(self, app):
        """With its methods, so that whoever forgot it finds it."""
        other = Flask("other")
        forgotten = Blueprint("forgotten", "other", url_prefix="/-")
        forgotten.post("/forgotten")(lambda: "")
        other.register_blueprint(forgotten)

        assert "POST /-/forgotten" in openapi.undescribed(other.url_map, other.view_functions)

    def test_two_routes_that_look_alike_are_named(self, app):
        """The document has no converters: of two routes that differ in one alone it could describe one."""
        other = Flask("other")
        other.register_blueprint(status.blueprint)
        other.add_url_rule("/-/<int:a>", "number", status.health)
        other.add_url_rule("/-/<a>", "text", status.health)

        with pytest.raises(ValueError, match=r"two routes are GET /-/\{a\}"):
            openapi.document(other.url_map, other.view_functions, Settings(), url="/")

    def test_it_holds_no_secret(self, document):
        """No credential, no token, and no name of a collection."""
        text = json.dumps(document)

        for secret in [*KEYS.values(), "ca_administrator", "mt_metrics", "movies"]:
            assert secret not in text

    def test_each_operation_has_its_own_id(self, document):
        """From which clients make the names of their functions."""
        ids = [operation["operationId"] for _, _, operation in operations(document)]

        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_a_body_is_what_is_checked(self, document, name):
        """The schema of a body is the one that validates; it says more of its keys, and of nothing else."""
        operation = OPERATIONS[name]
        described = document["paths"][f"/collection/{name}/{{credential}}/{{collection}}"][operation.method.lower()]
        schema = described.get("requestBody", {"content": {"application/json": {"schema": None}}})
        schema = schema["content"]["application/json"]["schema"]
        for each in (schema or {}).get("properties", {}).values():
            assert each.pop("description")
            each.pop("default", None)

        assert schema == (operation.body.source if operation.body else None)

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_its_examples_are_accepted(self, app, document, name):
        """What stands as an example of a body is one that the operation takes."""
        operation = OPERATIONS[name]
        described = document["paths"][f"/collection/{name}/{{credential}}/{{collection}}"][operation.method.lower()]
        sent = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")

        path = f"/collection/{name}/{KEYS[operation.role]}/movies"
        answer = app.test_client().open(path, method=operation.method, data=sent and json.dumps(sent))

        assert (sent is None) is (operation.body is None)
        assert answer.status_code == operation.success.status

    def test_each_problem_that_can_come_is_described(self, document):
        """Every status of the table of errors is that of an answer somewhere, and a problem in form."""
        described = {int(status) for _, _, each in operations(document) for status in each["responses"]}

        assert {status for status, _ in STATUS.values()} <= described
        forms = {"Problem": "application/problem+json", "AtlasError": "application/json"}
        for name, response in document["components"]["responses"].items():
            assert list(response["content"]) == [forms[name.rstrip("0123456789")]]

    @pytest.mark.parametrize("name", ACTIONS)
    def test_an_action_of_the_data_api(self, document, name):
        """The body is what is checked, errors have the form of that service, any of three headers brings the key."""
        described = document["paths"][f"/app/{{app}}/endpoint/data/{{version}}/action/{name}"]["post"]
        content = described["requestBody"]["content"]

        assert content["application/json"] == {
            "schema": ACTIONS[name].body.source,
            "example": ACTIONS[name].example,
        }
        assert all("description" in each for each in ACTIONS[name].body.source["properties"].values())
        assert [key for each in described["security"] for key in each] == [
            "dataApiKey",
            "dataApiKeyHyphened",
            "dataApiBearer",
        ]
        assert {each["$ref"].rpartition("/")[2][:-3] for each in described["responses"].values() if "$ref" in each} == {
            "AtlasError"
        }

    def test_the_examples_of_the_data_api_are_accepted(self, app):
        """What stands as an example of an action is one that it takes, with the answer that is described."""
        path = "/app/myapp/endpoint/data/v1/action/"
        for name, action in ACTIONS.items():
            answer = app.test_client().post(path + name, json=action.example, headers={"apiKey": "cr_reader+cw_writer"})
            assert (name, answer.status_code) == (name, action.success.status)
            assert Schema(action.success.schema).failures(answer.json) == []

    def test_it_says_the_limits_of_the_server(self, document):
        """Every setting that is one, with its value, for programs and for people."""
        limits = {name for name, _ in config.described() if config.is_limit(name)}

        assert limits <= set(document["x-limits"])
        assert document["x-limits"]["max_body_bytes"]["value"] == Settings.max_body_bytes
        assert all(f"`{name}`" in document["info"]["description"] for name in limits)
        assert "| fields of a sort | 32 | `Location13103` |" in document["info"]["description"]


class TestCommand:
    def test_it_needs_neither_server_nor_data(self, tmp_path, document):
        """It prints the document of its settings, and leaves nothing behind."""
        command = [sys.executable, "-m", "connectome", "openapi", "--url", "https://data.example.com"]
        ended = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), "CONNECTOME_MAX_TIME_SECONDS": "7"},
            capture_output=True,
            text=True,
            check=True,
        )
        printed = json.loads(ended.stdout)

        assert printed["paths"] == document["paths"]
        assert printed["servers"] == [{"url": "https://data.example.com"}]
        assert printed["x-limits"]["max_time_seconds"]["value"] == 7
        assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def schemathesis(servers, tmp_path_factory):
    """What schemathesis finds when it turns the document against a server: its output, its end, the server's."""
    directory = tmp_path_factory.mktemp("schemathesis")
    with servers(directory / "data") as server:
        for collection in ("movies", "tasks"):
            server.admin.request("POST", "", {"id": collection, "credentials": KEYS})
        settings = (HERE / "schemathesis.toml").read_text()
        (directory / "schemathesis.toml").write_text(f'hooks = "{HERE / "schemathesis_media.py"}"\n{settings}')
        program = [sys.executable, "-W", "ignore", "-m", "schemathesis.cli", "run"]
        bounds = ["--mode", "all", "--max-examples", "6", "--seed", "1", "--no-color"]
        ended = subprocess.run(
            [*program, server.url + "/-/openapi.json", *bounds],
            cwd=directory,
            env={**os.environ, "CONNECTOME_TEST_TOKEN": server.admin.token},
            capture_output=True,
            text=True,
            check=False,
        )
        alive = server.request("GET", "/-/ready").status_code
        server.end()
    return ended, alive, server.output


class TestServer:
    def test_it_keeps_to_the_document(self, schemathesis):
        """Every check of schemathesis holds of every route: whatever is sent, the answer is one that is described."""
        ended, alive, _ = schemathesis

        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert alive == 200

    def test_nothing_is_unexpected(self, schemathesis):
        """No request was answered with 500, and none left a word in the log."""
        ended, _, output = schemathesis

        assert " passed" in ended.stdout
        assert "unexpected" not in output
