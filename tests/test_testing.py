"""The pytest plugin, and what docs/testing.md shows: run by pytest, by node, and as Java."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mocks import DB, MockProcess, mocking

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
PAGE = "docs/testing.md"


def block(language: str, number: int = 0) -> str:
    """A fenced block of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / PAGE).read_text(), re.MULTILINE | re.DOTALL)[number]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs a test module by a pytest of its own, with the plugin; the numbers of its outcomes."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Whatever else is installed: what a test needs, it names.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def ran(source: str, *arguments: str, **outcomes: int) -> pytest.RunResult:
        pytester.makepyfile(source)
        options = ("-p", "connectome.testing", "-p", "no:cacheprovider", "-W", "error", "--strict-markers")
        result = pytester.runpytest_subprocess(*options, *arguments)
        result.assert_outcomes(**outcomes)
        return result

    return ran


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockProcess]:
    """A mock server of json-server's example, as somebody would start it beside the tests."""
    path = tmp_path_factory.mktemp("running") / "db.json"
    path.write_text(DB)
    with mocking(path, "--id", "id") as mock:
        yield mock


class TestPlugin:
    def test_the_process_of_the_tests_stays_as_it_is(self, run):
        """What others log there keeps its exceptions and its words; nobody else's hooks are taken."""
        run(
            """
            import logging, sys

            def test_logging(connectome_server, connectome_app, caplog):
                try:
                    raise ValueError("cw_0123456789abcdefghijklmnopqrstuv")
                except ValueError:
                    logging.getLogger("theirs").exception("token=secret")
                (record,) = (each for each in caplog.records if each.name == "theirs")
                assert record.exc_info[0] is ValueError
                assert record.getMessage() == "token=secret"
                assert "cw_0123456789" in caplog.text
            """,
            passed=1,
        )

    def test_nothing_is_imported_until_it_is_used(self):
        """The plugin costs a pytest that does not use it no import of the server, nor of any of its parts."""
        program = (
            "import sys, pytest; before = {*sys.modules}; import connectome.testing; "
            "print(*sys.modules.keys() - before)"
        )
        loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

        ours = {name for name in loaded.stdout.split() if name.startswith("connectome")}
        assert ours == {"connectome", "connectome.testing"}
        assert not {"flask", "werkzeug", "waitress", "bson", "jsonschema"} & {*loaded.stdout.split()}

    def test_it_is_found_by_pytest(self):
        """The distribution names the plugin where pytest looks for such."""
        assert "pytest11 =\n" in (ROOT / "setup.cfg").read_text()
        assert "    connectome.testing = connectome.testing\n" in (ROOT / "setup.cfg").read_text()

    def test_the_page_runs(self, run):
        """The client with retries of the page meets its faults and passes its tests."""
        run(block("python"), passed=3)

    def test_each_test_begins_anew(self, run):
        """What one test writes, breaks or asks is gone in the next, on the same server."""
        run(
            """
            import pytest, requests

            pytestmark = pytest.mark.connectome_seed({"movies": [{"_id": 1}]})
            addresses = set()

            @pytest.mark.parametrize("turn", [1, 2])
            def test_write(connectome_server, connectome_url, turn):
                addresses.add(connectome_url)
                assert connectome_server.requests == []
                assert connectome_server["movies"].documents == [{"_id": 1}]
                url = connectome_server.operation_url("write", "movies")
                assert requests.post(url, json={"_id": 2}).status_code == 201
                assert len(connectome_server["movies"].documents) == 2
                connectome_server.reset()
                assert connectome_server["movies"].documents == [{"_id": 1}]
                requests.post(url, json={"_id": 2})
                connectome_server.control("POST", "/faults", {"status": 500})
                assert len(addresses) == 1
            """,
            passed=2,
        )

    def test_seeds_may_be_files(self, run, pytester):
        """A file beside the test is a seed, with its schema and its ``id``."""
        pytester.makefile(".json", db=DB)
        run(
            """
            import datetime, pytest, requests

            @pytest.mark.connectome_seed("db.json", id="id")
            def test_file(connectome_server):
                assert [each["_id"] for each in connectome_server["posts"].documents] == ["1", "2"]

            @pytest.mark.connectome_seed({"a": [{"_id": 1, "at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}]})
            def test_values(connectome_server):
                (document,) = connectome_server["a"].documents
                assert document["at"] == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

            @pytest.mark.connectome_seed({"collections": {"a": {"schema": {"required": ["n"]}}}})
            def test_schema(connectome_server):
                assert requests.post(connectome_server.operation_url("write", "a"), json={}).status_code == 422

            @pytest.mark.connectome_seed({"posts": [{"id": 7}]}, id="id")
            def test_identity(connectome_server, connectome_app):
                assert connectome_server["posts"].documents == connectome_app["posts"].documents == [{"_id": 7}]

            def test_nothing(connectome_server):
                assert connectome_server.control("GET", "/")["collections"] == {}
            """,
            passed=5,
        )

    @pytest.mark.parametrize("fixture", ["connectome_server", "connectome_app"])
    @pytest.mark.parametrize(
        ("marker", "says"),
        [
            ("({'movies': [3]})", "a document is an object, not 3 (at /movies/0)"),
            ("({'movies': [{'_id': 1}, {'_id': 1}]})", "*_id 1 is taken (at */movies/1/_id)"),
            ("('none.json')", "*none.json: No such file or directory"),
            ("([])", "a seed is an object of collections, not []"),
            ("", "expected one seed, and id='…' where another field is to be _id, not ()"),
            ("({}, seed=3)", "expected one seed, and id='…' where another field is to be _id, not ({}, seed=3)"),
        ],
    )
    def test_a_wrong_seed_is_said_in_one_line(self, run, fixture, marker, says):
        """With its place, and without the plugin's own frames."""
        result = run(
            f"""
            import pytest

            @pytest.mark.connectome_seed{marker}
            def test_seed({fixture}): ...
            """,
            errors=1,
        )
        result.stdout.fnmatch_lines([f"@pytest.mark.connectome_seed: {says}".replace("[", "[[]")])
        result.stdout.no_fnmatch_line("*testing.py*")

    def test_where_no_mock_server_answers_is_said(self, run):
        """The option is named, with the address and the reason."""
        url = "http://127.0.0.1:1"

        result = run("def test_it(connectome_server): ...", "--connectome-url", url, errors=1)

        result.stdout.fnmatch_lines(
            [f"--connectome-url: no 'connectome mock' answers at {url}: [[]Errno *[]] Connection refused"]
        )

    def test_times_may_be_pythons(self, run):
        """A clock stops at a datetime, and a filter compares with one."""
        run(
            """
            import datetime
            from werkzeug.test import Client

            NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)

            def test_noon(connectome_app):
                with connectome_app.frozen(NOON):
                    Client(connectome_app).get("/collection/read/read/movies")
                connectome_app.verify({"at": {"$gte": NOON, "$lte": NOON}}, count=1)
            """,
            passed=1,
        )

    def test_the_application_needs_no_socket(self, run):
        """werkzeug and httpx call the application, which has documents, requests, faults and a clock, too."""
        run(
            """
            import httpx, pytest
            from werkzeug.test import Client

            pytestmark = pytest.mark.connectome_seed({"movies": [{"_id": 1}]})

            def test_werkzeug(connectome_app):
                with connectome_app.fault(status=418, operation="reads"):
                    assert Client(connectome_app).get("/collection/read/read/movies").status_code == 418
                assert Client(connectome_app).get("/collection/read/read/movies").json == [{"_id": 1}]
                assert connectome_app.verify({"collection": "movies"}) == 2

            def test_httpx(connectome_app):
                transport = httpx.WSGITransport(connectome_app)
                with httpx.Client(transport=transport, base_url="http://any.example") as client:
                    with connectome_app.frozen("2026-01-01T00:00:00Z"):
                        body = {"search query": {}, "data": {"$currentDate": {"at": True}}}
                        assert client.post("/collection/updatewithupsert/write/movies", json=body).is_success
                assert connectome_app["movies"].documents[0]["at"].isoformat() == "2026-01-01T00:00:00+00:00"
                assert [each["operation"] for each in connectome_app["movies"].requests] == ["updatewithupsert"]

            def test_timeout(connectome_app):
                with connectome_app.fault(fault="timeout"), pytest.raises(TimeoutError):
                    Client(connectome_app).get("/collection/read/read/movies")
            """,
            passed=3,
        )

    def test_what_was_not_asked_fails_the_test(self, run):
        """``verify`` is an assertion that says what came instead."""
        result = run(
            "def test_verify(connectome_app): connectome_app.verify({'operation': 'write'}, count=1)", failed=1
        )
        result.stdout.fnmatch_lines(['*expected exactly 1 to match {"operation":"write"}, and 0 of 0 did'])

    def test_workers_share_one_server(self, run, running):
        """Two workers of pytest-xdist on one server, which write and fail at the same time, see each their own."""
        run(
            """
            import pytest, requests

            @pytest.mark.parametrize("turn", range(12))
            def test_alone(connectome_server, turn, worker_id):
                assert worker_id.startswith("gw")
                write = connectome_server.operation_url("write", "posts")
                with connectome_server.fault(status=503, times=1):
                    assert [requests.post(write, json={"n": turn}).status_code for _ in range(2)] == [503, 201]
                assert [each.get("n") for each in connectome_server["posts"].documents] == [None, None, turn]
                connectome_server.verify({"status": 201}, count=1)
            """,
            *("-p", "xdist.plugin", "-n", "2", "--connectome-url", running.url),
            passed=12,
        )
        assert [each["name"] for each in running.send("GET", "/-/mock/workspaces").json()] == ["default"]


class TestOtherLanguages:
    def test_the_page_runs_in_node(self, running, tmp_path):
        """The tests of the page pass under Node's own test runner."""
        if not shutil.which("node"):
            pytest.skip("node is not installed")
        (tmp_path / "posts.test.mjs").write_text(block("js"))
        ran = subprocess.run(
            ["node", "--test", "posts.test.mjs"],
            cwd=tmp_path,
            env={**os.environ, "MOCK_URL": running.url},
            capture_output=True,
            text=True,
        )

        assert ran.returncode == 0, ran.stdout
        assert re.search(r"pass 2\b", ran.stdout), ran.stdout

    def test_the_page_compiles_in_java(self, running, tmp_path):
        """The class of the page compiles against JUnit's names, and does what it says when its methods are called."""
        if not shutil.which("javac"):
            pytest.skip("javac is not installed")
        jupiter = tmp_path / "org/junit/jupiter/api"
        jupiter.mkdir(parents=True)
        for name in ("Test", "AfterEach"):
            (jupiter / f"{name}.java").write_text(f"package org.junit.jupiter.api; public @interface {name} {{}}")
        (jupiter / "Assertions.java").write_text(
            "package org.junit.jupiter.api; public class Assertions {"
            "  public static void assertEquals(int expected, int actual) {"
            "    if (expected != actual) throw new AssertionError(actual); } }"
        )
        (tmp_path / "PostsTest.java").write_text(block("java"))
        (tmp_path / "Main.java").write_text(
            "class Main { public static void main(String[] arguments) throws Exception {"
            "  var test = new PostsTest(); test.aBusyServerIsAskedAgain(); test.deleteWorkspace(); } }"
        )
        subprocess.run(["javac", "-d", "out", "Main.java", "PostsTest.java"], cwd=tmp_path, check=True)
        ran = subprocess.run(
            ["java", f"-Dmock={running.url}", "-cp", "out", "Main"], cwd=tmp_path, capture_output=True, text=True
        )

        assert (ran.returncode, ran.stderr) == (0, "")
        assert [each["name"] for each in running.send("GET", "/-/mock/workspaces").json()] == ["default"]
