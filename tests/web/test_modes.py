"""What switches of ``connectome serve`` change: read-only, no console, a public URL, readiness, the browser."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app

TOKEN = "the-token-of-the-administrator"


@pytest.fixture
def application(tmp_path):
    """Applications over one collection of one document, with these settings."""
    services = []

    def application(**settings):
        configured = Settings(data=tmp_path, admin_token=TOKEN, **settings)
        store = open_store(tmp_path)
        service = Service(store)
        if not service.collections():
            service.create(id="films", documents=[{"_id": 1}], credentials={"read": "r", "write": "w"})
        service.close()
        from connectome.service import opened

        services.append(opened(configured))
        return create_app(configured, services[-1])

    yield application
    for service in services:
        service.close()


def signed_in(app, host="localhost"):
    """A browser that has a session."""
    client = app.test_client()
    answer = client.post("/login", data={"token": TOKEN}, headers={"Host": host, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    return client


class TestReadOnly:
    @pytest.mark.parametrize("path", ["/-/ready", "/-/metrics", "/-/admin/collections", "/-/admin/backup"])
    def test_what_is_watched_is_answered(self, application, path):
        """It is as well as one that is written to."""
        client = application(read_only=True).test_client()

        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200

    def test_it_ends_without_a_word(self, application, tmp_path, caplog):
        """When its credentials were used is not kept, and that is nothing to warn of."""
        app = application(read_only=True)
        assert app.test_client().get("/collection/read/r/films").status_code == 200

        app.extensions["connectome"].close()

        assert caplog.text == ""
        assert not (tmp_path / "connectome.uses.json").exists()

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/collection/write/w/films", {}),
            ("POST", "/collection/batchwrite/w/films", [{}]),
            ("POST", "/collection/updatewithupsert/w/films", {"search query": {}, "data": {"$set": {"a": 1}}}),
            ("DELETE", "/collection/batchdelete/w/films", {}),
            ("POST", "/-/admin/collections", {"id": "new"}),
            ("PATCH", "/-/admin/collections/films", {"title": "x"}),
            ("DELETE", "/-/admin/collections/films", None),
            ("POST", "/-/admin/collections/films/credentials/read", None),
            ("PUT", "/-/admin/collections/films/indexes/a", None),
            ("POST", "/-/admin/collections/films/empty", None),
            ("POST", "/-/admin/collections/films/import", [{"_id": 2}]),
        ],
    )
    def test_every_write_is_refused(self, application, method, path, body):
        """403 with a code of its own; what is there is read as ever."""
        client = application(read_only=True).test_client()

        answer = client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {TOKEN}"})

        assert (answer.status_code, answer.get_json(force=True)["code"]) == (403, "ReadOnly")
        assert client.get("/collection/read/r/films").get_json(force=True) == [{"_id": 1}]

    def test_the_console_refuses_as_well(self, application):
        """A page that says so; exports work."""
        client = signed_in(application(read_only=True))

        refused = client.post(
            "/collections/films/settings/title",
            data={"title": "x"},
            headers={"Host": "localhost", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"},
        )

        assert refused.status_code == 403
        assert "--read-only" in refused.text
        assert client.get("/server/backup", headers={"Host": "localhost"}).status_code == 200

    def test_a_directory_that_is_not_there_is_not_made(self, tmp_path):
        """There is nothing to read in it."""
        ended = subprocess.run(
            [sys.executable, "-m", "connectome", tmp_path / "none" / "", "--read-only", "-p", "0"],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (ended.returncode, ended.stdout) == (2, "")
        assert not (tmp_path / "none").exists()


class TestNoConsole:
    def test_there_are_no_pages(self, application):
        """The API and administration are as they were; a fresh link is refused with the reason."""
        client = application(console=False).test_client()
        token = {"Authorization": f"Bearer {TOKEN}"}

        assert [client.get(path).status_code for path in ("/", "/login", "/collections/films")] == [404] * 3
        assert client.get("/collection/read/r/films").status_code == 200
        assert client.get("/-/admin/collections", headers=token).status_code == 200
        assert client.post("/-/admin/login", headers=token).get_json(force=True)["detail"] == (
            "the console of this server is off"
        )


class TestPublicUrl:
    def test_the_console_shows_it_and_answers_under_it(self, application):
        """Behind an HTTPS proxy on this machine, which hands the name on."""
        app = application(public_url="https://data.example.org/api")
        client = signed_in(app, "data.example.org")

        page = client.get("/collections/films/integration/api", headers={"Host": "data.example.org"})

        assert page.status_code == 200
        assert "https://data.example.org/api/collection/" in page.text
        assert "http://data.example.org" not in page.text

    def test_without_it_the_name_is_foreign(self, application):
        """No page of another name gets in."""
        client = application().test_client()

        assert client.get("/", headers={"Host": "data.example.org"}).status_code == 421

    @pytest.mark.parametrize(("host", "secure"), [("data.example.org", True), ("localhost", False)])
    def test_the_cookie_keeps_to_https_there(self, application, host, secure):
        """And can still be had on this machine."""
        client = application(public_url="https://data.example.org").test_client()

        answer = client.post("/login", data={"token": TOKEN}, headers={"Host": host, "Sec-Fetch-Site": "same-origin"})

        assert ("Secure" in answer.headers["Set-Cookie"]) is secure

    def test_a_link_is_under_it(self, application):
        """For the person at whose browser it ends."""
        app = application(public_url="https://data.example.org")

        made = app.test_client().post("/-/admin/login", headers={"Authorization": f"Bearer {TOKEN}"})

        assert made.status_code == 201
        assert made.get_json(force=True)["url"].startswith("https://data.example.org/login?token=")


class TestReady:
    @pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
    def test_a_file_is_there_while_it_serves(self, tmp_path, kind):
        """With what a program needs to talk to it and to stop it; quiet, and colourless where told to be."""
        file = tmp_path / "ready.json"
        file.write_text("of an earlier life")
        command = [sys.executable, "-m", "connectome", "serve", tmp_path / "data", "-p", "0", "-q", "--server", kind]
        browser = (
            f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.argv[2])' {tmp_path / 'opened'} %s"
        )
        with subprocess.Popen(
            [*command, "--ready-file", file, "--open", "--public-url", "http://localhost"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"BROWSER": browser, "PATH": "/usr/bin:/bin"},
        ) as process:
            try:
                ready = json.loads(
                    until(lambda: file.exists() and file.read_text().startswith("{") and file.read_text())
                )
                opened = until(lambda: (tmp_path / "opened").exists() and (tmp_path / "opened").read_text())
            finally:
                process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=30)

        assert ready == {"url": ready["url"], "pid": process.pid}
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", ready["url"])
        assert opened.startswith("http://localhost/login?token=")
        assert (process.returncode, said) == (0, (b"", b""))
        assert not file.exists()

    def test_verbose_says_what_is_done(self, tmp_path):
        """On stderr; what is printed is the same."""
        command = [sys.executable, "-m", "connectome", "serve", tmp_path / "data", "-p", "0", "-v"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("Ctrl+C"):
                    break
            process.terminate()
            said = process.stderr.read()

        assert " DEBUG connectome.cli.serving: opened the embedded store in " in said

    def test_the_greeting_stays_short_and_says_what_is_off(self, tmp_path):
        """Of many collections the first ten are shown; without a console there is nothing to open."""
        service = Service(open_store(tmp_path))
        for number in range(12):
            service.create(id=f"c{number}")
        service.close()
        command = [sys.executable, "-m", "connectome", "serve", tmp_path, "-p", "0", "--no-console", "--open"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            printed = "".join(iter(process.stdout.readline, "Ctrl+C stops it.\n"))
            said = process.stderr.readline()
            process.terminate()

        assert "  console  off, as it was told to be\n" in printed
        assert "\n  c9, 0 documents\n" in printed
        assert "c10, " not in printed
        assert "\n  and 2 collections more\n" in printed
        assert said == "there is nothing to open: the console is off\n"


def until(found):
    """What is found in the end."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come")
