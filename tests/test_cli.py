"""The connectome command, as a person at a terminal meets it: real processes, their exit codes, what they print."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from connectome import __version__, config
from connectome.query import Filter
from connectome.service import Service
from connectome.stores import Find, open_store
from connectome.stores.files import Disk
from connectome.stores.journal import JournalFiles, Recovery
from connectome.web.snippets import LANGUAGES

ROOT = Path(__file__).parent.parent
# How the greeting calls the command that started it.
PROGRAM = f"{sys.executable} -m connectome"
FILMS = [
    {"_id": "a", "title": "Movie ABC", "amount": 10},
    {"_id": "b", "title": "Movie BDD", "amount": 100},
    {"_id": "c", "title": "Movie XYZ", "amount": 39},
]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of ours and without proxies, and with these variables."""
    ours = {name: value for name, value in os.environ.items() if not re.match("CONNECTOME_|.*_proxy$", name, re.I)}
    return {**ours, **variables}


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit code and its streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def credentials(self) -> dict[str, str]:
        """What the lines ``read  cr_…`` and ``write  cw_…`` show."""
        return dict(line.split() for line in self.stdout.splitlines())


def connectome(*arguments: str | Path | bytes, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Ended:
    """Run the command to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "connectome", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=cwd,
        env=environment(**(env or {})),
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def refused(ended: Ended) -> tuple[int, str]:
    """The exit code and the one line of a command that was refused; it printed nothing else."""
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("connectome: ")
    return ended.code, ended.stderr.removeprefix("connectome: ").removesuffix("\n")


class Running:
    """A process that serves, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = ""
        # The last line of the greeting; the end of the stream where it fails to start.
        for line in process.stdout:
            self.printed += line
            if line == "Ctrl+C stops it.\n":
                break
        found = re.search(r" at (http://\S+),", self.printed)
        self.url = found[1] if found else ""

    @property
    def greeting(self) -> str:
        """What it printed, without the secret of the link that signs in, which no test can know."""
        return re.sub(r"token=[\w-]{43}\n", "token=…\n", self.printed)

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """End it with a signal."""
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=30)
        return Ended(self.process.returncode, stdout, stderr)

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, timeout=30)


@contextmanager
def serving(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Iterator[Running]:
    """A server for the length of a ``with``."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(**(env or {})),
    ) as process:
        try:
            running = Running(process)
            if not running.url:
                process.kill()
                raise AssertionError(f"it did not start: {running.printed}{process.stderr.read()}")
            yield running
        finally:
            process.kill()


def serve(data: Path, *options: str | Path, **settings: Any) -> Any:
    return serving("-m", "connectome", "serve", data, "--port", "0", *options, **settings)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A file to start from."""
    file = tmp_path / "short_films.json"
    file.write_text(json.dumps(FILMS))
    return file


def kept(data: Path, collection: str) -> list[Any]:
    """The documents that a data directory holds, once nobody serves it."""
    with closing(open_store(data)) as store:
        return list(store.collection(collection, None).find(Find()))


def catalogued(data: Path) -> list[dict[str, Any]]:
    """What the catalog of a data directory says, once nobody serves it."""
    with closing(open_store(data)) as store:
        return Service(store).collections()


class TestServe:
    def test_it_prints_what_is_served_and_where(self, data, example):
        """Where it is, its collections with masked credentials, and a line to paste: nothing on stderr."""
        with serve(data, "--example", example) as server:
            printed = server.greeting
            ended = server.stop()

        keys = json.loads((data / "connectome.credentials.json").read_text())["short_films"]
        masked = {role: f"{key[:3]}…{key[-4:]}" for role, key in keys.items()}
        shown = f"{PROGRAM} credentials show short_films"
        question = (
            '{"query": {"amount": {"$gte": 10}}, "project": {"title": 1, "amount": 1}, '
            '"sort": {"amount": -1}, "limit": 2}'
        )
        assert printed == (
            f"Connectome {__version__} at {server.url}, data in {data}: 1 collection, 3 documents\n"
            "\n"
            f"  console  {server.url}/login?token=…\n"
            f"  API      {server.url}/collection\n"
            f"  docs     {server.url}/-/docs\n"
            "\n"
            "  Short films, 3 documents\n"
            f"    read   {masked['read']}\n"
            f"    write  {masked['write']}\n"
            "\n"
            "Show them in full:\n"
            f"  {shown} --data {data}\n"
            "\n"
            "Try it:\n"
            f"  curl -s {server.url}/collection/readwithquery/$({shown} read --data {data})/short_films"
            f" -H 'Content-Type: application/json' -d '{question}'\n"
            "\n"
            "Ctrl+C stops it.\n"
        )
        assert ended == Ended(0, "", "")

    @pytest.mark.parametrize(
        ("documents", "answer"),
        [
            (
                FILMS,
                [{"_id": "b", "title": "Movie BDD", "amount": 100}, {"_id": "c", "title": "Movie XYZ", "amount": 39}],
            ),
            ([{"_id": 1, "name": "no number"}, {"_id": 2}, {"_id": 3}], [{"_id": 1, "name": "no number"}, {"_id": 2}]),
            ([{"_id": 1, "it's $(touch x)": 5, "né": 7}], [{"_id": 1, "né": 7}]),
            ([], []),
        ],
        ids=["numbers", "no numbers", "names that a shell would mind", "nothing"],
    )
    def test_the_line_to_paste_works(self, data, tmp_path, documents, answer):
        """A shell that is given the line prints documents of the collection."""
        example = tmp_path / "films.json"
        example.write_text(json.dumps(documents))

        with serve(data, "--example", example) as server:
            line = server.printed.partition("Try it:\n")[2].splitlines()[0]
            pasted = subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True, env=environment()
            )

        assert json.loads(pasted.stdout) == answer

    def test_without_a_collection_it_says_how_to_make_one(self, data):
        """An empty directory is a beginning, not an error."""
        with serve(data) as server:
            assert server.greeting == (
                f"Connectome {__version__} at {server.url}, data in {data}: 0 collections, 0 documents\n"
                "\n"
                f"  console  {server.url}/login?token=…\n"
                f"  API      {server.url}/collection\n"
                f"  docs     {server.url}/-/docs\n"
                "\n"
                "No collection yet.  Make one:\n"
                f"  {PROGRAM} collections create movies --data {data}\n"
                "\n"
                "Ctrl+C stops it.\n"
            )
            assert server.get("/-/health").json() == {"status": "ok", "version": __version__, "store": "embedded"}

    def test_the_link_to_the_console_works_once(self, data):
        """It signs in whoever opens it first."""
        with serve(data) as server:
            path = re.search(r"console  http://[^/]+(/login\S+)", server.printed)[1]

            opened = [server.get(path) for _ in range(2)]

        assert [each.status_code for each in opened] == [200, 403]
        assert "No collection yet" in opened[0].text

    def test_where_other_machines_reach_it_the_console_needs_a_token(self, data):
        """Without a token that somebody chose there is no link, but what to do; with one there is."""
        with serve(data, "--host", "0.0.0.0") as server:
            assert "console  off, since other machines reach it: set CONNECTOME_ADMIN_TOKEN" in server.printed
        with serve(data, "--host", "0.0.0.0", env={"CONNECTOME_ADMIN_TOKEN": "chosen"}) as server:
            assert "/login?token=…\n" in server.greeting
            assert "chosen" not in server.printed

    def test_an_example_fills_an_empty_directory(self, data, example):
        """As a collection of the file's name; the file itself is not touched."""
        before = example.read_bytes()

        with serve(data, "--example", example) as server:
            server.stop()

        assert kept(data, "short_films") == FILMS
        assert [each["title"] for each in catalogued(data)] == ["Short films"]
        assert example.read_bytes() == before

    def test_an_example_does_not_touch_a_filled_directory(self, data, example):
        """What was deleted stays deleted, credentials stay, nothing comes twice."""
        with serve(data, "--example", example) as server:
            server.stop()
        with closing(open_store(data)) as store:
            store.collection("short_films", None).delete_many(Filter({"_id": "a"}))
        before = {file.name: file.read_bytes() for file in data.glob("*.json")}

        with serve(data, "--example", example) as server:
            assert "1 collection, 2 documents\n" in server.printed
            server.stop()

        assert {file.name: file.read_bytes() for file in data.glob("*.json")} == before

    def test_an_example_is_not_added_beside_another_collection(self, data, example):
        """The directory is not empty, even where the collection in it is."""
        connectome("collections", "create", "mine", "--data", data)

        with serve(data, "--example", example) as server:
            server.stop()

        assert [each["id"] for each in catalogued(data)] == ["mine"]

    def test_an_example_that_is_refused_leaves_nothing(self, data, tmp_path):
        """The place in the file is named, and the next start begins anew."""
        example = tmp_path / "films.json"
        example.write_text('[{"_id": 1}, {"_id": 1}]')

        assert refused(connectome("serve", data, "--port", "0", "--example", example)) == (
            4,
            "_id 1 is taken (at /1/_id)",
        )
        assert catalogued(data) == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_well(self, data, number):
        """Exit 0, and not a word."""
        with serve(data) as server:
            assert server.stop(number) == Ended(0, "", "")

    def test_a_signal_at_once_ends_it_well(self, data, example):
        """It can be stopped from its first line on: a supervisor does not wait for the last."""
        with subprocess.Popen(
            [sys.executable, "-m", "connectome", "serve", data, "--port", "0", "--example", example],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=30)

        assert (process.returncode, stderr) == (0, "")

    def test_a_directory_that_was_served_can_be_served_again(self, data, example):
        """The credentials stay, so clients need not change."""
        with serve(data, "--example", example) as server:
            first = re.findall(r"c[rw]_…\S{4}", server.printed)
            server.stop()

        with serve(data) as server:
            assert first == re.findall(r"c[rw]_…\S{4}", server.printed) != []

    def test_settings_come_from_the_environment_and_arguments_win(self, data, tmp_path):
        """The same names, in capitals."""
        variables = {"CONNECTOME_DATA": str(tmp_path / "other"), "CONNECTOME_ADMIN_TOKEN": "from-the-environment"}

        with serving(
            "-m", "connectome", "serve", data, env={**variables, "CONNECTOME_PORT": "0", "CONNECTOME_THREADS": "2"}
        ) as server:
            assert f"data in {data}:" in server.printed

        assert not (tmp_path / "other").exists()


class TestServeRefuses:
    def test_a_port_in_use(self, data):
        """One line, exit 3, and the data directory is not even made."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            assert refused(connectome("serve", data, "--port", str(port))) == (
                3,
                f"cannot listen on 127.0.0.1 port {port}: Address already in use; another --port may do",
            )
        assert not data.exists()

    def test_the_port_of_another_server(self, data, tmp_path):
        """A server that runs is not disturbed."""
        with serve(data) as server:
            code, line = refused(connectome("serve", tmp_path / "other", "--port", server.url.rpartition(":")[2]))

            assert code == 3
            assert "Address already in use" in line
            assert server.get("/-/health").status_code == 200

    @pytest.mark.parametrize("port", ["65536", "-1"])
    def test_a_port_that_is_none(self, data, port):
        """It is not taken for another one."""
        code, line = refused(connectome("serve", data, f"--port={port}"))

        assert code in (2, 3)
        assert port in line

    @pytest.mark.parametrize("option", ["--threads=0", "--max-body-bytes=-1"])
    def test_a_setting_with_which_nothing_can_be_served(self, data, option):
        """A server without a thread would take requests and never answer."""
        code, line = refused(connectome("serve", data, "--port", "0", option))

        assert code == 2
        assert option.partition("=")[2] in line

    def test_a_host_that_is_not_there(self, data):
        """The name is in the line."""
        code, line = refused(connectome("serve", data, "--host", "nowhere.invalid", "--port", "0"))

        assert code == 3
        assert line.startswith("cannot listen on nowhere.invalid port 0: ")

    @pytest.mark.parametrize(
        ("place", "reason"),
        [("file/data", "Not a directory"), ("file", "File exists")],
        ids=["below a file", "a file itself"],
    )
    def test_a_directory_that_cannot_be_made(self, tmp_path, place, reason):
        """One line which names it."""
        (tmp_path / "file").touch()

        assert refused(connectome("serve", tmp_path / place, "--port", "0")) == (
            5,
            f"{reason} while making the data directory {tmp_path / place}",
        )

    def test_a_directory_that_cannot_be_written(self):
        """One line which names it."""
        code, line = refused(connectome("serve", "/proc/self", "--port", "0"))

        assert code == 5
        assert line.endswith(" while locking /proc/self")

    def test_a_directory_that_another_server_holds(self, data):
        """The line says which process has it, and where that one listens."""
        with serve(data) as server:
            assert refused(connectome("serve", data, "--port", "0")) == (
                3,
                f"the data directory {data} is in use by process {server.process.pid} at {server.url}; "
                "the embedded store serves one process: use threads, not workers",
            )
            assert server.get("/-/health").status_code == 200

    def test_a_collection_that_is_damaged(self, data, example):
        """It is barred, and its file not touched; the log names the file and the byte, and the others serve."""
        with serve(data, "--example", example) as server:
            server.stop()
        connectome("collections", "create", "birds", "--data", data)
        (data / "short_films.json").write_text('{"_default": {"1"')

        with serve(data) as server:
            listed = connectome("collections", "ls", "--data", data).stdout
            ended = server.stop()

        assert "damaged: see the log" in server.printed
        assert [line.split()[:2] for line in listed.splitlines()] == [["short_films", "damaged"], ["birds", "0"]]
        assert ended.stderr.startswith("the collection short_films is barred: short_films.json, byte ")
        assert (data / "short_films.json").read_text() == '{"_default": {"1"'


class TestSettings:
    @pytest.mark.parametrize("command", [["serve"], ["collections", "create", "x"]], ids=["serve", "create"])
    def test_an_unknown_variable_is_refused_with_a_suggestion(self, data, command):
        """A misspelt setting would be ignored for ever."""
        env = {"CONNECTOME_PROT": "1", "CONNECTOME_DATA": str(data)}

        assert refused(connectome(*command, env=env)) == (
            2,
            "CONNECTOME_PROT is no setting; did you mean CONNECTOME_PORT?",
        )
        assert not data.exists()

    def test_a_variable_that_is_no_number_is_refused(self, data):
        """With what came."""
        assert refused(connectome("serve", data, env={"CONNECTOME_PORT": "http"})) == (
            2,
            "CONNECTOME_PORT needs a whole number, not 'http'",
        )

    def test_every_setting_is_an_option_of_serve(self):
        """With its variable beside it; but no token is, which other users of the machine could see."""
        help = connectome("serve", "--help").stdout
        words = " ".join(help.split())

        for name, _ in config.described():
            if name != "data" and config.option(name):
                assert re.search(rf"{config.option(name)}\b", words)
                assert config.variable(name) in words.replace("- ", "-")
        assert not [word for word in re.findall(r"--[a-z-]+", words) if "token" in word]

    def test_the_version_is_told(self):
        """On one line."""
        assert connectome("--version") == Ended(0, f"connectome, version {__version__}\n", "")

    def test_help_names_every_command(self):
        """Each with its sentence."""
        help = connectome("--help").stdout

        assert set(re.findall(r"^  ([a-z]+)  ", help, re.MULTILINE)) >= {
            "serve",
            "init",
            "collections",
            "credentials",
            "import",
        }


class Place:
    """A data directory on which commands work, either alone with it or beside the server that holds it."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *arguments: str | Path | bytes, **settings: Any) -> Ended:
        return connectome(*arguments, "--data", self.data, **settings)

    def _read(self, name: str) -> dict[str, Any]:
        file = self.data / name
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def catalog(self) -> dict[str, Any]:
        """What is kept of every collection, by its id."""
        catalog = self._read("connectome.catalog.json")
        catalog.pop("connectome.sha256", None)
        return catalog

    def credentials(self, id: str) -> dict[str, str]:
        """The credentials that are kept of a collection."""
        kept = self._read("connectome.credentials.json")[id]
        return {name: each if isinstance(each, str) else each["secret"] for name, each in kept.items()}

    def documents(self, id: str) -> list[Any]:
        """The documents of a collection, as they stand in its files."""
        own = JournalFiles(Disk(), self.data / f"{id}.json")
        return list(Recovery(own).read().state.rows().values()) if own.disk.read(own.path) else []


@pytest.fixture(scope="module", params=["directory", "server"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Every command works in both places, and answers the same; the tests share each, and have ids of their own."""
    data = tmp_path_factory.mktemp("data")
    with serve(data) if request.param == "server" else nullcontext():
        yield Place(data)


@pytest.fixture
def id() -> str:
    """An id that no other test has."""
    return f"films-{next(NUMBERS)}"


NUMBERS = itertools.count()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """A file of this name with this content."""

    def write(name: str, content: str) -> Path:
        file = tmp_path / name
        file.write_text(content)
        return file

    return write


class TestCreate:
    def test_a_collection_is_made_and_its_credentials_shown(self, place, id):
        """The credentials on stdout, for a program to read; the rest on stderr."""
        ended = place("collections", "create", id, "--title", "Films é")

        assert ended.code == 0
        assert re.fullmatch(r"read   cr_[\w-]{32}\nwrite  cw_[\w-]{32}\n", ended.stdout)
        assert ended.stderr == f"created {id}\n"
        assert place.catalog[id]["title"] == "Films é"
        assert place.credentials(id) == ended.credentials

    def test_a_schema_may_come_from_a_file(self, place, id, write):
        """It is demanded of every document from then on; a date is an object with ``$date`` to it."""
        date = {"type": "object", "properties": {"$date": {"type": "string"}}, "required": ["$date"]}
        schema = {"properties": {"released": date}}
        bad = write("bad.json", '[{"released": "2020"}]')
        good = write("good.json", '[{"_id": 1, "released": {"$date": "2020-01-01T00:00:00Z"}}]')

        assert place("collections", "create", id, "--schema", write("schema.json", json.dumps(schema))).code == 0

        assert place.catalog[id]["schema"] == schema
        assert refused(place("import", id, bad)) == (4, 'expected object, not "2020" (at /0/released)')
        assert place("import", id, good).code == 0
        assert place.documents(id) == [{"_id": 1, "released": {"$date": "2020-01-01T00:00:00Z"}}]

    def test_a_schema_that_is_none_is_refused(self, place, id, write):
        """With the place in the file; no collection is made."""
        code, line = refused(place("collections", "create", id, "--schema", write("schema.json", '{"type": "strin"}')))

        assert code == 4
        assert line.startswith("not a JSON Schema: ")
        assert line.endswith(" (at /schema/type)")
        assert id not in place.catalog

    @pytest.mark.parametrize(
        ("content", "place_in_it"), [('{"a": 1, "a": 2}', " (at /a)"), ("{", "")], ids=["a key twice", "no JSON"]
    )
    def test_a_schema_file_that_cannot_be_read_is_refused(self, data, write, content, place_in_it):
        """Before anything is made."""
        code, line = refused(
            connectome("collections", "create", "x", "--schema", write("schema.json", content), "--data", data)
        )

        assert code == 4
        assert line.endswith(place_in_it)
        assert not data.exists()

    def test_an_id_that_cannot_be_one_is_refused(self, place):
        """What an id may be is in the line."""
        assert refused(place("collections", "create", "a.b")) == (
            4,
            "an id has 1 to 64 letters, digits, '_' and '-', and \"a.b\" does not (at /id)",
        )

    def test_a_taken_id_is_refused(self, place, id):
        """Whatever its case; the collection that is there is not touched."""
        first = place("collections", "create", id).credentials

        assert refused(place("collections", "create", id.upper())) == (1, f"the id {id!r} is taken")
        assert place.credentials(id) == first

    def test_text_that_is_not_unicode_is_refused(self, place, id):
        """A terminal may send any bytes; they are no accident."""
        code, _ = refused(place("collections", "create", id, "--title", b"\xff"))

        assert code != 0
        assert id not in place.catalog


class TestList:
    def test_collections_are_listed(self, place, id, write):
        """Id, documents, bytes, title, in columns."""
        place("collections", "create", id, "--title", "Films")
        place("import", id, write("films.json", json.dumps(FILMS)))

        ended = place("collections", "ls")

        size = sum(path.stat().st_size for path in place.data.glob(f"{id}.*"))
        assert (ended.code, ended.stderr) == (0, "")
        assert [id, "3", str(size), "Films"] in [line.split() for line in ended.stdout.splitlines()]
        assert [line.split()[0] for line in ended.stdout.splitlines()] == list(place.catalog)

    def test_nothing_to_list_is_said_on_stderr(self, tmp_path):
        """A program that reads stdout gets nothing."""
        assert connectome("collections", "ls", "--data", tmp_path) == Ended(
            0, "", "no collections yet; 'connectome collections create ID' makes one\n"
        )

    def test_a_directory_that_is_not_there_is_not_made(self, data):
        """A misspelt name is no new data directory."""
        assert refused(connectome("collections", "ls", "--data", data)) == (
            2,
            f"there is no data directory {data}; --data names another",
        )
        assert not data.exists()


class TestCredentials:
    def test_they_are_shown(self, place, id):
        """The same as when the collection was made."""
        created = place("collections", "create", id)

        assert place("credentials", "show", id) == Ended(0, created.stdout, "")

    @pytest.mark.parametrize(("role", "other", "prefix"), [("read", "write", "cr_"), ("write", "read", "cw_")])
    def test_one_of_them_is_replaced(self, place, id, role, other, prefix):
        """The new one is printed, and the other role's stays."""
        before = place("collections", "create", id).credentials

        ended = place("credentials", "rotate", id, role)

        assert (ended.code, ended.stderr) == (0, "")
        assert re.fullmatch(prefix + r"[\w-]{32}\n", ended.stdout)
        assert ended.stdout.strip() != before[role]
        assert place.credentials(id) == {role: ended.stdout.strip(), other: before[other]}

    def test_the_old_one_stops_at_once(self, data):
        """In the server that runs, without a restart."""
        with serve(data) as server:
            old = connectome("collections", "create", "movies", "--data", data).credentials["read"]
            assert server.get(f"/collection/read/{old}/movies").status_code == 200

            new = connectome("credentials", "rotate", "movies", "read", "--data", data).stdout.strip()

            assert server.get(f"/collection/read/{old}/movies").status_code == 401
            assert server.get(f"/collection/read/{new}/movies").json() == []

    @pytest.mark.parametrize("command", [["show", "no-film"], ["rotate", "no-film", "read"]], ids=["show", "rotate"])
    def test_those_of_a_missing_collection_are_refused(self, place, command):
        """The name that came is in the line."""
        code, line = refused(place("credentials", *command))

        assert code == 1
        assert line.startswith("there is no collection 'no-film'")

    def test_a_name_that_is_none_is_refused(self, place, id):
        """With the nearest that there is."""
        place("collections", "create", id)

        assert refused(place("credentials", "rotate", id, "reed")) == (
            1,
            f"the collection {id!r} has no credential 'reed'; did you mean 'read'?",
        )


IMPORTED = [{"_id": "a", "n": 1}, {"_id": "b", "n": 2}]


class TestIndexes:
    def test_an_index_is_pinned_listed_and_let_go(self, data):
        """On a data directory that no server holds; the second command sees what the first one did."""
        connectome("collections", "create", "birds", "--data", data)

        pinned = connectome("indexes", "birds", "--pin", "address.city", "--data", data)
        listed = connectome("indexes", "birds", "--data", data)
        none = connectome("indexes", "birds", "--unpin", "address.city", "--data", data)

        assert pinned.stdout.split() == ["address.city", "pinned", "0", "0"]
        assert listed.stdout == pinned.stdout
        assert (none.code, none.stdout) == (0, "")
        assert none.stderr == "no indexes: a running server makes them as questions come, and --pin keeps one\n"

    def test_a_path_that_can_have_no_index_is_refused(self, data):
        """With the reason, and nothing else."""
        connectome("collections", "create", "birds", "--data", data)

        code, says = refused(connectome("indexes", "birds", "--pin", "a.0", "--data", data))

        assert (code, says) == (4, 'an index is of a path without positions, not "a.0"')


class TestImport:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("films.json", json.dumps(IMPORTED)),
            ("films.ndjson", "".join(json.dumps(document) + "\n" for document in IMPORTED)),
            ("FILMS.CSV", "_id,n\na,1\nb,2\n"),
        ],
        ids=["JSON array", "NDJSON", "CSV"],
    )
    def test_the_ending_of_a_file_says_what_it_is(self, place, id, write, name, content):
        """All its documents go into a collection, which is made where there is none."""
        assert place("import", id, write(name, content)) == Ended(
            0, "", f"created {id}\nimported 2 documents into {id}\n"
        )
        assert place.documents(id) == IMPORTED
        assert place.catalog[id]["title"] == id

    def test_documents_are_added_to_those_that_are_there(self, place, id, write):
        """Nothing is made anew, and the credentials stay."""
        keys = place("collections", "create", id).credentials

        assert place("import", id, write("one.json", '[{"_id": 1}]')) == Ended(
            0, "", f"imported 1 document into {id}\n"
        )
        assert place("import", id, write("lines.jsonl", '{"_id": 2}\n{"_id": 3}')).code == 0

        assert place.documents(id) == [{"_id": 1}, {"_id": 2}, {"_id": 3}]
        assert place.credentials(id) == keys

    def test_a_format_may_be_said(self, data, write):
        """Where the ending tells nothing, or something else."""
        file = write("films.txt", "_id,n\na,1\nb,2\n")

        assert connectome("import", "films", file, "--format", "csv", "--data", data).code == 0
        assert kept(data, "films") == IMPORTED

    def test_an_ending_that_tells_nothing_is_a_wrong_use(self, data, write):
        """The endings there are stand in the line."""
        assert refused(connectome("import", "films", write("films.txt", "[]"), "--data", data)) == (
            2,
            "films.txt does not end in .json, .ndjson, .jsonl, .csv, .tsv, .ejson: say --format",
        )

    def test_types_are_found_out_and_may_be_said(self, place, id, write):
        """A date comes out as a date, a code keeps its zeros where it is said to be one."""
        file = write("films.csv", "_id,zip,year,released,price,address.city\n1,12345,1999,2020-01-02,1.50,Berlin\n")

        assert place("import", id, file, "--types", "zip=string,price=decimal").code == 0

        assert place.documents(id) == [
            {
                "_id": 1,
                "zip": "12345",
                "year": 1999,
                "released": {"$date": "2020-01-02T00:00:00Z"},
                "price": {"$numberDecimal": "1.50"},
                "address": {"city": "Berlin"},
            }
        ]

    def test_typed_values_survive(self, place, id, write):
        """Extended JSON is read as what it stands for, and kept to the last bit."""
        line = '{"_id":{"$oid":"507f1f77bcf86cd799439011"},"n":{"$numberLong":"5"},"x":{"$numberDouble":"NaN"},"f":1.0}'

        assert place("import", id, write("films.ndjson", line)).code == 0

        assert json.dumps(place.documents(id)[0], separators=(",", ":")) == line

    @pytest.mark.parametrize(
        ("name", "content", "line"),
        [
            ("bad.json", '[{"_id": 1}, 2]', "a document is an object, not 2 (at /1)"),
            (
                "bad.json",
                '[{"_id": 1},\n{"_id": 2]',
                "malformed JSON in line 2, column 10: expected ',' delimiter, not \"]\"",
            ),
            (
                "bad.ndjson",
                '{"_id": 1}\n\n{"a": 1, "a": 2}\n',
                'line 3: expected every key of an object once, not "a" twice (at /1/a)',
            ),
            ("bad.csv", "_id,n\n1,2\n1,2,3\n", "line 3 has 3 cells, and the header has 2"),
        ],
        ids=["no document", "no JSON", "a key twice", "a long row"],
    )
    def test_a_bad_file_is_refused_with_the_place(self, data, write, name, content, line):
        """Exit 4 and one line, before anything is made."""
        assert refused(connectome("import", "films", write(name, content), "--data", data)) == (4, line)
        assert not data.exists()

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ('[{"_id": 1}, {"_id": 1}]', "_id 1 is taken (at /1/_id)"),
            (
                '[{"_id": 1}, {"_id": [1]}]',
                "_id may be any value but an array or a regular expression, not [1] (at /1/_id)",
            ),
        ],
        ids=["an _id twice", "an array as _id"],
    )
    def test_documents_that_are_refused_make_no_collection(self, place, id, write, content, line):
        """Exit 4, one line with the place, and no trace of the collection that they were for."""
        assert refused(place("import", id, write("bad.json", content))) == (4, line)
        assert id not in place.catalog
        assert not (place.data / f"{id}.json").exists()

    def test_a_collection_that_is_there_stays_as_it_was(self, place, id, write):
        """One _id that is taken keeps the others out."""
        place("import", id, write("good.json", '[{"_id": "there"}]'))

        assert refused(place("import", id, write("bad.json", '[{"_id": 1}, {"_id": "there"}]'))) == (
            4,
            '_id "there" is taken (at /1/_id)',
        )
        assert place.documents(id) == [{"_id": "there"}]

    @pytest.mark.parametrize(
        ("types", "code", "line"),
        [
            ("_id=int,year=int", 4, "line 3, column 'year': expected int, not \"soon\""),
            ("year", 2, "--types takes COLUMN=TYPE,…, not 'year'"),
            ("jear=int", 4, "there is no column 'jear'; the header has _id, year"),
        ],
    )
    def test_types_that_do_not_fit_are_refused(self, data, write, types, code, line):
        """Before anything is made."""
        file = write("films.csv", "_id,year\n1,1999\n2,soon\n")

        assert refused(connectome("import", "films", file, "--types", types, "--data", data)) == (code, line)
        assert not data.exists()

    def test_a_header_that_cannot_be_kept_is_refused(self, data, write):
        """A field called ``$oid`` would be read as something else."""
        code, line = refused(connectome("import", "films", write("films.csv", "a,$oid\n1,2\n"), "--data", data))

        assert code == 4
        assert "$oid" in line

    def test_a_file_that_is_not_there_is_a_wrong_use(self, data, tmp_path):
        """Exit 2, as for every argument that is wrong."""
        ended = connectome("import", "films", tmp_path / "nothing.json", "--data", data)

        assert ended.code == 2
        assert "nothing.json" in ended.stderr

    def test_more_than_a_request_may_hold_can_be_imported(self, data, write):
        """The limit on bodies is for clients, not for the owner."""
        file = write("films.json", json.dumps([{"_id": 1, "text": "x" * 5000}]))

        with serve(data, "--max-body-bytes", "1000"):
            ended = connectome("import", "films", file, "--data", data)

        assert ended == Ended(0, "", "created films\nimported 1 document into films\n")


class TestSnippet:
    def test_the_request_is_made_from_the_documents(self, place, id, write):
        """With the real credential; what is printed is code and nothing else."""
        place("import", id, write("films.json", json.dumps(FILMS)))

        ended = place("snippet", id, "updatewithupsert", "--lang", "python-requests")

        assert (ended.code, ended.stderr) == (0, "")
        assert f"/collection/updatewithupsert/{place.credentials(id)['write']}/{id}" in ended.stdout
        assert '"search query": {"title": "Movie ABC"}' in ended.stdout
        assert '"data": {"$inc": {"amount": 1}}' in ended.stdout

    def test_without_a_language_it_is_for_a_shell(self, place, id):
        """Ready to be pasted where the command was typed."""
        place("collections", "create", id)

        printed = place("snippet", id, "batchdelete", "--auth", "header", "--body", "{title: 'foo'}").stdout

        assert printed.endswith(
            f"/collection/batchdelete/-/{id}' \\\n"
            f"  -H 'Authorization: Bearer {place.credentials(id)['write']}' \\\n"
            "  -H 'Content-Type: application/json' \\\n"
            """  -d '{"title": "foo"}'\n"""
        )

    def test_the_address_is_that_of_the_server(self, data):
        """Of the one that runs; where none does, of the one that would."""
        connectome("collections", "create", "films", "--data", data)
        alone = connectome("snippet", "films", "read", "--data", data, env={"CONNECTOME_PORT": "8123"})
        with serve(data) as server:
            beside = connectome("snippet", "films", "read", "--data", data)

        assert "'http://127.0.0.1:8123/collection/read/" in alone.stdout
        assert f"'{server.url}/collection/read/" in beside.stdout

    def test_the_languages_can_be_listed(self, place, id):
        """Each with what people call it."""
        place("collections", "create", id)

        lines = place("snippet", id, "read", "--lang", "list").stdout.splitlines()

        assert [line.split()[0] for line in lines] == list(LANGUAGES)

    @pytest.mark.parametrize(
        ("arguments", "code", "line"),
        [
            (("raed",), 2, "the operation is one of readwithquery, read, .*; did you mean read[?]"),
            (("read", "--lang", "rubi"), 2, "--lang is one of curl, .*; did you mean ruby[?]"),
            (("read", "--auth", "body"), 2, "--auth is one of url, header, not 'body'"),
            (("read", "--body", "{}"), 2, "read takes no body, and --body gives one"),
            (("write", "--body", "{"), 4, "line 1, column 2: .*"),
        ],
    )
    def test_what_cannot_be_is_refused(self, place, id, arguments, code, line):
        """With what could be, and what was meant."""
        place("collections", "create", id)

        came, said = refused(place("snippet", id, *arguments))

        assert came == code
        assert re.fullmatch(line, said)

    def test_a_collection_that_is_not_there_is_refused(self, place):
        """As by every command."""
        assert refused(place("snippet", "nothing", "read")) == (1, "there is no collection 'nothing'")


class TestThroughTheServer:
    def test_a_token_of_the_environment_opens_it(self, data):
        """The one that the server was started with."""
        token = {"CONNECTOME_ADMIN_TOKEN": "from-the-environment"}

        with serve(data, env=token):
            assert connectome("collections", "create", "movies", "--data", data, env=token).code == 0

    def test_another_token_does_not(self, data):
        """One line; nothing of the token is in it."""
        with serve(data, env={"CONNECTOME_ADMIN_TOKEN": "from-the-environment"}):
            code, line = refused(
                connectome("collections", "ls", "--data", data, env={"CONNECTOME_ADMIN_TOKEN": "of-somebody-else"})
            )

        assert code == 1
        assert "token" in line
        assert "of-somebody-else" not in line

    def test_a_proxy_is_not_asked(self, data):
        """The server is on this machine."""
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")

        with serve(data):
            assert connectome("collections", "ls", "--data", data, env=proxies).code == 0

    def test_a_server_that_listens_everywhere_is_reached(self, data):
        """0.0.0.0 is no address to connect to; the lock names one that is."""
        with serve(data, "--host", "0.0.0.0") as server:
            assert server.url.startswith("http://127.0.0.1:")
            assert connectome("collections", "ls", "--data", data).code == 0

    def test_a_process_that_serves_nothing_is_named(self, data):
        """A directory held by a program without an address cannot be worked on."""
        with closing(open_store(data)):
            assert refused(connectome("collections", "ls", "--data", data)) == (
                3,
                f"the data directory {data} is in use by process {os.getpid()}; "
                "the embedded store serves one process: use threads, not workers",
            )

    def test_a_server_that_does_not_answer_is_one_line(self, data):
        """Nobody listens at the address that the lock names."""
        with closing(open_store(data, holder="http://127.0.0.1:9")):
            code, line = refused(connectome("collections", "ls", "--data", data))

        assert code == 5
        assert line.startswith("the server at http://127.0.0.1:9 does not answer: ")

    @pytest.mark.parametrize(
        "answer",
        [b"", b"SSH-2.0\r\n", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!"],
        ids=["hangs up", "speaks something else", "is no Connectome"],
    )
    def test_a_server_that_answers_nonsense_is_one_line(self, data, answer):
        """Whatever came, there is no traceback."""
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def once() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

            thread = Thread(target=once)
            thread.start()
            with closing(open_store(data, holder=f"http://127.0.0.1:{listening.getsockname()[1]}")):
                code, _ = refused(connectome("collections", "ls", "--data", data))
            thread.join()

        assert code == 5


class TestTheApplication:
    def test_python_app_py_serves(self, data):
        """With the settings of the environment."""
        env = {"CONNECTOME_DATA": str(data), "CONNECTOME_PORT": "0"}

        with serving("app.py", env=env) as server:
            assert server.get("/-/health").json() == {"status": "ok", "version": __version__, "store": "embedded"}
            assert server.stop() == Ended(0, "", "")

        assert data.is_dir()

    def test_app_app_is_a_wsgi_application(self, data):
        """Any WSGI server can be given it."""
        program = (
            "from app import app\n"
            "from werkzeug.test import Client\n"
            "print(Client(app).get('/-/health').get_data(as_text=True))\n"
        )

        ended = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=ROOT,
            env=environment(CONNECTOME_DATA=str(data)),
        )

        assert (ended.returncode, ended.stderr) == (0, "")
        assert json.loads(ended.stdout) == {"status": "ok", "version": __version__, "store": "embedded"}
        open_store(data).close()


class TestLookingAfterTheFiles:
    @pytest.fixture
    def filled(self, data, example):
        """A data directory with a collection of three films, after a clean stop."""
        connectome("import", "films", example, "--data", data)
        return data

    def test_check_says_what_is_there(self, filled):
        """A line for each ledger and each collection; exit 0."""
        ended = connectome("check", filled)

        assert ended.code == 0
        lines = [line.split(None, 2) for line in ended.stdout.splitlines()]
        assert [line[:2] for line in lines] == [
            ["ok", "connectome.catalog.json"],
            ["ok", "connectome.credentials.json"],
            ["ok", "connectome.administrator.json"],
            ["ok", "films"],
        ]
        assert lines[-1][2].startswith("3 documents; generation ")

    def test_check_says_what_is_damaged_and_where(self, filled):
        """Exit 4, the file and the byte; the way out on stderr."""
        journal = next(filled.glob("films.journal.*"))
        journal.write_bytes(b"x" + journal.read_bytes()[1:])

        ended = connectome("check", filled)

        assert ended.code == 4
        assert f"DAMAGED  films                          {journal.name}, byte 0: the header is not that" in ended.stdout
        assert "connectome repair --salvage" in ended.stderr

    def test_repair_writes_what_can_be_read_to_a_new_place(self, filled, tmp_path):
        """The old directory stays as it is; the new one is whole."""
        file = filled / "films.json"
        content = file.read_bytes().replace(b'{"_default":{', b'{"_default":{"9":{"_id":', 1)
        file.write_bytes(content)

        ended = connectome("repair", filled, "--salvage", tmp_path / "new")

        assert ended.code == 0
        assert file.read_bytes() == content
        assert connectome("check", tmp_path / "new").code == 0
        assert len(kept(tmp_path / "new", "films")) >= 2

    def test_repair_does_not_write_over_anything(self, filled, tmp_path):
        """A directory that is not empty is refused."""
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "precious").touch()

        code, line = refused(connectome("repair", filled, "--salvage", tmp_path / "new"))

        assert code == 5
        assert "is not empty" in line

    @pytest.mark.parametrize("command", [["check"], ["repair", "--salvage", "elsewhere"]], ids=["check", "repair"])
    def test_a_directory_that_is_served_is_left_alone(self, data, command):
        """What a server writes cannot be looked at from outside; exit 3."""
        with serve(data):
            code, line = refused(connectome(command[0], data, *command[1:]))

        assert code == 3
        assert "is in use by process" in line


class TestBackup:
    def test_a_backup_is_restored(self, place, example, tmp_path):
        """Taken from a directory or from the server that holds it, into another directory."""
        place("import", "kept-films", example)
        file = tmp_path / "backup.zip"

        taken = place("backup", file)
        restored = connectome("restore", file, "--data", tmp_path / "other")

        assert (taken.code, taken.stdout, restored.code) == (0, "", 0)
        assert file.stat().st_mode & 0o777 == 0o600
        assert "kept-films" in restored.stderr
        assert [each["title"] for each in kept(tmp_path / "other", "kept-films")] == [
            each["title"] for each in place.documents("kept-films")
        ]

    def test_what_is_there_is_not_overwritten(self, place, example, tmp_path):
        """A backup is restored whole or not at all."""
        place("import", "there-already", example)
        place("backup", tmp_path / "backup.zip")

        code, line = refused(place("restore", tmp_path / "backup.zip"))

        assert code == 1
        assert "is taken" in line

    def test_what_is_no_backup_is_refused(self, place, tmp_path):
        """Exit 4."""
        (tmp_path / "no.zip").write_text("hello")

        code, line = refused(place("restore", tmp_path / "no.zip"))

        assert code == 4
        assert line.startswith("not a backup of Connectome, or not a whole one: ")
