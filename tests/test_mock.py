"""``connectome mock`` as a process: files in and out, and faults as they are on the wire."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from mocks import DB, MockProcess, mocking

from connectome.cli import main
from connectome.service import Service
from connectome.stores import open_store


def refused(*arguments: object) -> Result:
    """What the command says to arguments with which it cannot begin."""
    return CliRunner().invoke(main, ["mock", "--port", "0", *map(str, arguments)])


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread of the server does in its own time."""
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The ``db.json`` of json-server's README."""
    path = tmp_path / "db.json"
    path.write_text(DB)
    return path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockProcess]:
    """One server for those tests that leave nothing behind."""
    path = tmp_path_factory.mktemp("shared") / "db.json"
    path.write_text(DB)
    with mocking(path, "--id", "id") as mock:
        yield mock


class TestServing:
    def test_it_greets_with_what_can_be_pasted(self, shared):
        """Collections, credentials, control API and a line to try are said in full, and the line works."""
        line = re.search(r"curl -s (\S+)", shared.greeting)[1]

        assert "3 collections, 5 documents, in memory" in shared.greeting
        assert f"{shared.url}/collection/write/write/posts" in shared.greeting
        assert f"{shared.url}/-/mock/" in shared.greeting
        assert [each["_id"] for each in shared.session.get(line).json()] == ["1", "2"]

    def test_the_administrators_token_is_known(self, shared):
        """On this machine administration is opened by the token that the greeting names."""
        answer = shared.send("GET", "/-/admin/collections", headers={"Authorization": "Bearer admin"})

        assert [each["id"] for each in answer.json()] == ["posts", "comments", "profile"]

    def test_the_store_is_memory(self, shared):
        """The health of a mock server names its store."""
        assert shared.send("GET", "/-/health").json()["store"] == "memory"

    def test_what_is_about_a_data_directory_is_passed_over(self, db, tmp_path):
        """Neither the file of settings there counts, nor a store, a server and workers out of the environment."""
        (tmp_path / "connectome.toml").write_text("no_setting = true\n")
        environ = {
            "CONNECTOME_DATA": str(tmp_path),
            "CONNECTOME_STORE": "mongodb://127.0.0.1:1/x",
            "CONNECTOME_SERVER": "gunicorn",
            "CONNECTOME_WORKERS": "2",
        }
        with mocking(db, environ=environ) as mock:
            assert "\n  console  http" in mock.greeting
            assert mock.send("GET", "/-/health").json()["store"] == "memory"

    def test_several_files_are_one_server(self, db, tmp_path):
        """Collections of all files are served together, with the credentials that were named."""
        birds = tmp_path / "birds.csv"
        birds.write_text("name\nOwl\n")
        with mocking(db, birds, "--read-credential", "r", "--write-credential", "w") as mock:
            assert mock.send("GET", "/collection/read/r/birds").json()[0]["name"] == "Owl"
            assert mock.send("POST", "/collection/write/w/posts", {"_id": 1}).status_code == 201

    @pytest.mark.parametrize(
        ("content", "options", "status", "says"),
        [
            ('{"posts": [3]}', [], 4, "a document is an object, not 3 (at /posts/0)"),
            ("{", [], 4, "malformed JSON"),
            (DB, ["--fail", "often"], 2, "--fail takes"),
            (DB, ["--delay", "raed=5"], 2, "did you mean read?"),
            ('{"posts": [{"id": 1}, {"id": 1}]}', ["--id", "id"], 4, "(at /posts/1/_id)"),
        ],
    )
    def test_what_cannot_be_served_is_said(self, tmp_path, content, options, status, says):
        """A wrong file is exit code 4, a wrong option 2, each with one line."""
        path = tmp_path / "db.json"
        path.write_text(content)
        ran = refused(path, *options)

        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (status, "", 1)
        assert says in ran.stderr

    def test_nothing_to_serve_is_said(self):
        """Without a file and a directory there is nothing to serve."""
        ran = refused()

        assert (ran.exit_code, "name a JSON, NDJSON or CSV file" in ran.stderr) == (2, True)


class TestOnTheWire:
    REQUEST = "GET /collection/read/read/posts HTTP/1.1\r\nHost: localhost\r\nConnectome-Fault: {}\r\n\r\n"

    def received(self, connection: socket.socket) -> bytes:
        content = b""
        while piece := connection.recv(65536):
            content += piece
        return content

    def test_truncate_cuts_the_connection(self, shared):
        """Half of the announced bytes arrive, then the connection ends."""
        with shared.raw(self.REQUEST.format("truncate")) as connection:
            head, _, body = self.received(connection).partition(b"\r\n\r\n")

        announced = int(re.search(rb"Content-Length: (\d+)", head)[1])
        assert head.startswith(b"HTTP/1.1 200")
        assert len(body) == announced // 2 > 0

    def test_a_client_notices_the_cut(self, shared):
        """A truncated answer is an error to a client of HTTP, not a short document."""
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            shared.send("GET", "/collection/read/read/posts", headers={"Connectome-Fault": "truncate"})

    def test_dribble_comes_in_pieces(self, shared):
        """The answer arrives piece by piece, whole in the end, and the connection lives on."""
        pieces = []
        with shared.raw(self.REQUEST.format("dribble")) as connection:
            while b"]\n" not in b"".join(pieces):
                pieces.append(connection.recv(65536))
            connection.sendall(self.REQUEST.format("none").encode())
            again = connection.recv(65536)

        assert len(pieces) > 10
        assert again.startswith(b"HTTP/1.1 200")
        assert json.loads(b"".join(pieces).partition(b"\r\n\r\n")[2])[0]["_id"] == "1"

    def test_a_timeout_is_silence(self, shared):
        """Not a byte arrives while the client waits, and the server goes on when it leaves."""
        with shared.raw(self.REQUEST.format("timeout")) as connection:
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)

        assert shared.send("GET", "/collection/read/read/posts").status_code == 200

    def test_silence_ends_with_the_server(self, db):
        """A server that is stopped leaves nobody hanging: the connection is cut without an answer."""
        with mocking(db) as mock:
            connection = mock.raw(self.REQUEST.format("timeout"))
            until(lambda: len(mock.send("GET", "/-/mock/requests").json()) == 1)
        with connection:
            assert self.received(connection) == b""

    def test_many_may_wait_at_the_same_time(self, shared):
        """Requests that are never answered keep no other from its answer."""
        hanging = [shared.raw(self.REQUEST.format("timeout")) for _ in range(20)]
        try:
            assert shared.send("GET", "/collection/read/read/posts").status_code == 200
        finally:
            for connection in hanging:
                connection.close()

    def test_options_set_faults(self, db):
        """What the command line says happens: the delay of one operation, the failure of another."""
        with mocking(db, "--delay", "read=1", "--fail", "write=100%:500", "--jitter", "1", "--seed", "7") as mock:
            assert mock.send("GET", "/collection/read/read/posts").status_code == 200
            assert mock.send("POST", "/collection/write/write/posts", {}).status_code == 500
            assert [each["operation"] for each in mock.send("GET", "/-/mock/faults").json()] == ["*", "read", "write"]


class TestFiles:
    def test_nothing_is_written_unless_asked(self, db):
        """Without ``--save`` the file is as it was."""
        with mocking(db) as mock:
            mock.send("POST", "/collection/write/write/posts", {"title": "new"})

        assert db.read_text() == DB
        assert [each.name for each in db.parent.iterdir()] == ["db.json"]

    def test_what_is_written_is_saved_meanwhile_and_at_the_end(self, db):
        """A change is in the file soon after, the last one when the server has ended; other workspaces' are not."""
        with mocking(db, "--save", "--id", "id") as mock:
            mock.send("POST", "/collection/write/write/posts", {"_id": "3"})
            until(lambda: len(json.loads(db.read_text())["posts"]) == 3)
            mock.send("POST", "/~a/collection/write/write/posts", {"_id": "elsewhere"})
            mock.send("POST", "/collection/write/write/posts", {"_id": "4"})

        assert [each["id"] for each in json.loads(db.read_text())["posts"]] == ["1", "2", "3", "4"]
        assert db.read_text().startswith('{\n  "$schema": ')

    def test_a_new_collection_is_saved_to_an_object(self, db, tmp_path):
        """What did not come from any file goes to the first that holds several collections."""
        birds = tmp_path / "birds.ndjson"
        birds.write_text('{"_id":1}\n')
        with mocking(birds, db, "--save") as mock:
            token = {"Authorization": "Bearer admin"}
            mock.send("POST", "/-/admin/collections", {"id": "more"}, headers=token)

        assert json.loads(db.read_text())["more"] == []
        assert birds.read_text() == '{"_id":1}\n'

    def test_a_changed_file_is_read_again(self, db):
        """With ``--watch`` the documents are those of the file, also after a reset."""
        with mocking(db, "--watch") as mock:
            db.write_text('{"posts": [{"_id": "edited"}]}')
            until(lambda: mock.documents("posts") == [{"_id": "edited"}])
            mock.send("POST", "/-/mock/reset")
            assert mock.documents("posts") == [{"_id": "edited"}]

    def test_a_broken_file_changes_nothing(self, db):
        """A file that is just being edited keeps the old documents, and the output says why; once whole it is read."""
        with mocking(db, "--watch", "--save") as mock:
            db.write_text('{"posts": [')
            line = mock.process.stdout.readline()
            assert len(mock.documents("posts")) == 2
            mock.send("POST", "/collection/write/write/posts", {"_id": "lost"})
            unsaved = mock.process.stdout.readline()
            assert db.read_text() == '{"posts": ['
            db.write_text('{"posts": []}')
            until(lambda: mock.documents("posts") == [])

        assert "not reloaded, the documents stay as they are" in line
        assert "not saved: " in unsaved

    def test_a_data_directory_is_imported_and_exported(self, servers, directory, tmp_path):
        """What ``serve`` left behind is served, the directory stays as it is, and the export is served again."""
        with servers(directory) as server:
            collection = server.admin.collection([{"_id": 1}], id="birds", schema={"type": "object"})
        before = {each.name: each.read_bytes() for each in directory.iterdir()}
        exported = tmp_path / "exported"
        with mocking("--import", directory, "--export-on-exit", exported) as mock:
            path = f"/collection/write/{collection.write_credential}/birds"
            assert mock.send("POST", path, {"_id": 2}).status_code == 201
        assert {each.name: each.read_bytes() for each in directory.iterdir() if each.name != ".lock"} == {
            name: content for name, content in before.items() if name != ".lock"
        }

        with mocking("--import", exported, "--export-on-exit", exported) as mock:
            found = mock.send("GET", f"/collection/read/{collection.read_credential}/birds").json()
            assert found == [{"_id": 1}, {"_id": 2}]
            assert mock.send("GET", "/-/admin/collections/birds", headers={"Authorization": "Bearer admin"}).json()[
                "schema"
            ] == {"type": "object"}
        assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "exported"]

    def test_an_export_keeps_what_is_no_collection(self, db, directory):
        """Settings, the administrator's token and snapshots of the directory stay; its collections are replaced."""
        directory.mkdir()
        (directory / "connectome.toml").write_text("port = 8080\n")
        with closing(Service(open_store(directory))) as service:
            service.create(id="connectome", documents=[{"_id": 1}])
            service.create(id="posts", documents=[{"_id": 1}, {"_id": 2}, {"_id": 3}])
        (directory / "connectome.administrator.json").write_text("{}")
        (directory / "snapshots").mkdir()
        (directory / "snapshots" / "one.zip").write_bytes(b"zip")
        with mocking(db, "--id", "id", "--export-on-exit", directory):
            pass

        with closing(Service(open_store(directory))) as service:
            found = {each["id"]: each["count"] for each in service.collections()}
        assert found == {"posts": 2, "comments": 2, "profile": 1}
        assert not (directory / "connectome.json").exists()
        kept = ("connectome.toml", "connectome.administrator.json", "snapshots/one.zip")
        assert [(directory / each).read_bytes() for each in kept] == [b"port = 8080\n", b"{}", b"zip"]

    def test_nothing_is_exported_over_somebody_elses_files(self, db, tmp_path):
        """A directory that is none of ours is refused before anything is served."""
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").touch()
        ran = refused(db, "--export-on-exit", tmp_path / "photos")

        assert (ran.exit_code, "nothing is exported over it" in ran.stderr) == (2, True)

    def test_a_directory_in_use_is_not_imported(self, servers, directory):
        """While a server holds a directory it is not copied half-way."""
        with servers(directory) as server:
            server.admin.collection()
            ran = refused("--import", directory)

        assert (ran.exit_code, "is in use by process" in ran.stderr) == (3, True)


PAGE = """<!doctype html><body><script>
(async () => {
  const said = [];
  const call = async (path, options) => said.push(`${(await fetch("%s" + path, options)).status}`);
  await call("/~page/-/mock/faults", {method: "POST", body: '{"status": 503, "times": 1}'});
  await call("/~page/collection/read/read/posts");
  await call("/collection/write/write/posts", {
    method: "POST",
    headers: {"Content-Type": "application/json", "Connectome-Workspace": "page"},
    body: '{"_id": 3}',
  });
  await call("/~page/-/mock/workspaces/page", {method: "DELETE"});
  document.body.textContent = said.join(" ");
})().catch((error) => { document.body.textContent = `${error}`; });
</script>"""


class TestInABrowser:
    @pytest.mark.parametrize(("host", "shown"), [("localhost", "201 503 201 204"), ("page.example", "Failed to fetch")])
    def test_a_page_of_this_machine_may_and_no_other(self, shared, tmp_path, host, shown):
        """A page of another loopback port uses operations and control API; one of another host gets no answer."""
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        if not chromium:
            pytest.skip("there is no chromium on the path: apt-get install chromium")
        (tmp_path / "index.html").write_text(PAGE % shared.url)

        class Pages(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(tmp_path))

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages:
            threading.Thread(target=pages.serve_forever, daemon=True).start()
            url = f"http://{host}:{pages.server_port}/index.html"
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP *.example 127.0.0.1"]
            profile = f"--user-data-dir={tmp_path / 'profile'}"
            ran = subprocess.run(
                [chromium, *options, profile, "--virtual-time-budget=10000", "--dump-dom", url],
                capture_output=True,
                text=True,
                timeout=120,
            )
            pages.shutdown()

        assert shown in ran.stdout, ran.stdout + ran.stderr
