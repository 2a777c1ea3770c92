"""
The commands: what each does, on a directory and through a server.

They run in this process, where a process of its own would add nothing; pipes, signals and what a command loads are
looked at from outside.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from connectome import __version__
from connectome.cli import COMMANDS, main
from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_settings_of_others(monkeypatch):
    for name in [*os.environ]:
        if name.startswith("CONNECTOME_") or name in ("PORT", "NO_COLOR"):
            monkeypatch.delenv(name)


def run(*arguments, **options):
    """A command, run in this process to its end."""
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="connectome", **options)


def done(*arguments, **options):
    """What a command prints that works."""
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def environment(**variables):
    """For a process: without settings, with these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTOME_")}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def wait_until_it_reads(pid):
    """Until a process sleeps in a system call that reads from its standard input."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/syscall").read_text().startswith("0 0x0 "):
            return
        time.sleep(0.02)
    raise AssertionError("it reads nothing")


@pytest.fixture
def data(tmp_path):
    """A data directory with a collection of two films."""
    directory = tmp_path / "data"
    service = Service(open_store(directory))
    service.create(id="films", title="Films", documents=[{"_id": 1}, {"_id": 2}])
    service.close()
    return directory


@pytest.fixture(scope="module")
def server(servers, tmp_path_factory):
    """A server that the tests of this module share."""
    with servers(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(params=["directory", "server", "url"])
def place(request, tmp_path, monkeypatch):
    """
    The options by which a command finds its collections: on a directory, and through a server, found or named.

    Whatever was there before is dropped.
    """
    if request.param == "directory":
        Service(open_store(tmp_path / "data")).close()
        return ["--data", tmp_path / "data"]
    server = request.getfixturevalue("server")
    for each in server.admin.request("GET").json():
        server.admin.request("DELETE", f"/{each['id']}")
    if request.param == "server":
        return ["--data", server.data]
    monkeypatch.setenv("CONNECTOME_ADMIN_TOKEN", server.admin.token)
    return ["--url", server.url + "/"]


class TestCollections:
    def test_a_collection_comes_and_goes(self, place):
        """Made, listed, renamed, described, dropped: the same through a server as on its files."""
        made = json.loads(done("collections", "create", "films", "--title", "Films", "--json", *place))
        done("collections", "rename", "films", "Old films", *place)
        listed = json.loads(done("collections", "ls", "--json", *place))
        described = json.loads(done("collections", "stats", "films", "--json", *place))

        assert list(made) == ["id", "title", "created", "count", "size", "credentials"]
        assert [(each["id"], each["title"], each["count"]) for each in listed] == [("films", "Old films", 0)]
        assert described == {**listed[0], "averageSize": None, "schema": False, "indexes": []}
        assert re.search(r"^title +Old films$", done("collections", "stats", "films", *place), re.MULTILINE)

        dropped = run("collections", "drop", "films", "--yes", *place)
        assert (dropped.exit_code, dropped.stdout, dropped.stderr) == (0, "", "dropped films, with 0 documents\n")
        assert json.loads(done("collections", "ls", "--json", *place)) == []

    def test_nothing_is_dropped_without_a_word(self, data):
        """Where nobody can be asked, that is an error; exit 1."""
        result = run("collections", "drop", "films", "--data", data)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "connectome: this would remove films with 2 documents, and nobody can be asked: say --yes\n"
        )
        assert json.loads(done("collections", "ls", "--json", "--data", data))[0]["count"] == 2

    @pytest.mark.parametrize(("answer", "exit_code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1)])
    def test_a_person_is_asked(self, data, monkeypatch, answer, exit_code, left):
        """With what would go; a no is a refusal, exit 1."""
        monkeypatch.setattr("connectome.cli.administration.has_terminal", lambda: True)

        result = run("collections", "drop", "films", "--data", data, input=answer)

        assert "This will remove films with 2 documents.  Go on? [y/N]: " in result.stderr
        assert result.exit_code == exit_code
        assert len(json.loads(done("collections", "ls", "--json", "--data", data))) == left

    @pytest.mark.parametrize(
        "command", [["rename", "no-film", "x"], ["drop", "no-film", "--yes"], ["stats", "no-film"]]
    )
    def test_one_that_is_not_there_is_refused(self, place, command):
        """In one line, exit 1."""
        result = run("collections", *command, *place)

        assert (result.exit_code, result.stderr) == (1, "connectome: there is no collection 'no-film'\n")


class TestCredentials:
    def test_they_are_listed_masked_and_shown_in_full(self, place):
        """And one of them bare, for a shell to take."""
        done("collections", "create", "films", *place)
        keys = json.loads(done("credentials", "show", "films", "--json", *place))

        listed = done("credentials", "ls", *place)
        masked = json.loads(done("credentials", "ls", "--json", *place))

        assert [line.split()[:4] for line in listed.splitlines()] == [
            ["films", role, role, f"…{key[-4:]}"] for role, key in keys.items()
        ]
        assert not [key for key in keys.values() if key in listed]
        assert (masked[0]["collection"], masked[0]["role"]) == ("films", "read")
        assert masked[0]["ending"] == keys["read"][-4:]
        assert done("credentials", "show", "films", "write", *place) == f"{keys['write']}\n"
        added = done("credentials", "add", "films", "ci", "--role", "read", *place)
        assert done("credentials", "show", "films", "ci", *place) == added
        done("credentials", "revoke", "films", "ci", *place)
        assert done("credentials", "show", "films", *place) == f"read   {keys['read']}\nwrite  {keys['write']}\n"


class TestSnapshots:
    def test_a_snapshot_is_taken_and_restored(self, place):
        """Through a server they lie beside its data."""
        done("collections", "create", "films", *place)
        done("snapshot", "take", "before", "--again", *place)
        done("collections", "drop", "films", "--yes", *place)
        restored = run("snapshot", "restore", "before", *place)

        assert restored.stderr == "restored films; 'connectome snapshot restore undo' takes it back\n"
        assert [each["id"] for each in json.loads(done("collections", "ls", "--json", *place))] == ["films"]
        assert [line.split()[0] for line in done("snapshot", "ls", *place).splitlines()] == ["before", "undo"]
        assert [each["name"] for each in json.loads(done("snapshot", "ls", "--json", *place))] == ["before", "undo"]

        for name in ("before", "undo"):
            done("snapshot", "rm", name, *place)
        none = run("snapshot", "ls", *place)
        assert (none.stdout, none.stderr) == ("", "no snapshots yet; 'connectome snapshot take NAME' takes one\n")

    def test_what_cannot_be_has_the_same_exit_code_everywhere(self, place):
        """A name that is taken, one that is not there, one that is none."""
        done("snapshot", "take", "again", *place)
        codes = [
            run("snapshot", *words, *place).exit_code for words in (["take", "again"], ["rm", "no"], ["take", "a.b"])
        ]
        done("snapshot", "rm", "again", *place)

        assert codes == [1, 1, 4]


class TestInit:
    def test_a_directory_is_made(self, tmp_path):
        """With a token, and a file that has every setting with its default; nobody else may read it."""
        directory = tmp_path / "new"

        result = run("init", directory)

        file = directory / "connectome.toml"
        assert (result.exit_code, result.stdout) == (0, "")
        assert json.loads((directory / "connectome.administrator.json").read_text())["token"].startswith("ca_")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        uncommented = re.sub(r"^# (?=\w+ = )", "", file.read_text(), flags=re.MULTILINE)
        file.write_text(uncommented)
        settings = Settings.from_environ({}, data=directory)
        assert settings == Settings(data=directory)
        assert {settings.origin(name) for name in ("port", "console", "admin_token")} == {"file"}

    def test_what_is_there_stays(self, data, tmp_path):
        """The collections, the token, the file."""
        (data / "connectome.toml").write_text("port = 81\n")
        example = tmp_path / "other.json"
        example.write_text("[{}]")

        result = run("init", data, "--example", example)

        assert f"{data / 'connectome.toml'} stays as it is\n" in result.stderr
        assert (data / "connectome.toml").read_text() == "port = 81\n"
        assert [each["id"] for each in json.loads(done("collections", "ls", "--json", "--data", data))] == ["films"]

    def test_it_may_begin_with_an_example(self, tmp_path):
        """As a collection of the file's name."""
        example = tmp_path / "birds.json"
        example.write_text('[{"_id": 1}]')

        result = run("init", "--data", tmp_path / "new", "--example", example)

        assert "is ready: 1 collection, settings in" in result.stderr

    def test_two_directories_are_one_too_many(self, tmp_path):
        """Which of them was meant?"""
        result = run("init", tmp_path / "a", "--data", tmp_path / "b")

        assert result.exit_code == 2
        assert "one of them is enough" in result.stderr


class TestLogin:
    def test_the_link_signs_in(self, server):
        """Once; it is all that stdout has."""
        link = done("login", "--data", server.data).strip()

        answers = [server.request("GET", link.removeprefix(server.url)) for _ in range(2)]

        assert link.startswith(f"{server.url}/login?token=")
        assert [each.status_code for each in answers[:1]] == [200]
        assert answers[1].url.endswith("/")  # signed in already

    def test_without_a_server_there_is_none(self, data):
        """With what starts one."""
        result = run("login", "--data", data)

        assert (result.exit_code, result.stdout) == (2, "")
        assert "'connectome serve' starts one" in result.stderr


def url_of(listening):
    """Where a socket listens."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


class TestUrl:
    def test_it_needs_a_token_of_the_environment(self, server, data):
        """What a file says of the server here is nothing for another one to see."""
        (data / "connectome.toml").write_text('admin_token = "of-the-server-here"\n')

        result = run("collections", "ls", "--url", server.url, "--data", data)

        assert result.exit_code == 2
        assert "set CONNECTOME_ADMIN_TOKEN or CONNECTOME_ADMIN_TOKEN_FILE" in result.stderr

    def test_a_token_may_lie_in_a_file(self, server, tmp_path, monkeypatch):
        """As a container is handed it."""
        (tmp_path / "token").write_text(server.admin.token + "\n")
        monkeypatch.setenv("CONNECTOME_ADMIN_TOKEN_FILE", str(tmp_path / "token"))

        done("collections", "create", "tokens", "--url", server.url)

        assert json.loads(done("indexes", "tokens", "--json", "--url", server.url)) == []

    def test_what_is_no_url_is_a_wrong_use(self):
        """Exit 2."""
        assert run("collections", "ls", "--url", "localhost:8000").exit_code == 2

    def test_the_token_follows_no_redirect(self, monkeypatch):
        """It goes to the server that was named, and to nobody to whom that one points."""
        monkeypatch.setenv("CONNECTOME_ADMIN_TOKEN", "x")
        with socket.create_server(("127.0.0.1", 0)) as pointing, socket.create_server(("127.0.0.1", 0)) as other:
            answer = f"HTTP/1.1 302 Found\r\nLocation: {url_of(other)}\r\nContent-Length: 0\r\n\r\n"

            def once():
                connection, _ = pointing.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer.encode())

            thread = Thread(target=once)
            thread.start()
            result = run("collections", "ls", "--url", url_of(pointing))
            thread.join()
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.accept()

        assert result.exit_code == 5
        assert "302" in result.stderr

    def test_a_server_that_is_not_there_is_one_line(self, monkeypatch):
        """Exit 5."""
        monkeypatch.setenv("CONNECTOME_ADMIN_TOKEN", "x")

        result = run("collections", "ls", "--url", "http://127.0.0.1:9")

        assert (result.exit_code, result.stdout) == (5, "")
        assert result.stderr.startswith("connectome: the server at http://127.0.0.1:9 does not answer: ")


class TestBackup:
    def test_it_goes_through_pipes(self, data, tmp_path):
        """``backup - | restore -`` moves everything to another directory."""
        content = subprocess.run(
            [sys.executable, "-m", "connectome", "backup", "-", "--data", data],
            stdout=subprocess.PIPE,
            check=True,
            env=environment(),
            cwd=tmp_path,
        ).stdout
        (tmp_path / "b.zip").write_bytes(content)

        with zipfile.ZipFile(tmp_path / "b.zip") as archive:
            assert sorted(archive.namelist()) == ["catalog.json", "films.ndjson"]
        assert run("restore", "-", "--data", tmp_path / "other", input=content).stderr == "restored films\n"

    def test_a_file_that_cannot_be_written_is_a_wrong_use(self, data, tmp_path):
        """One line, no traceback."""
        result = run("backup", tmp_path / "no" / "b.zip", "--data", data)

        assert (result.exit_code, result.stderr) == (
            2,
            f"connectome: {tmp_path / 'no' / 'b.zip'} cannot be written: No such file or directory\n",
        )


class TestCheck:
    def test_findings_are_json_too(self, data):
        """For the program that watches."""
        found = json.loads(done("check", data, "--json"))

        assert [(each["name"], each["damaged"]) for each in found][-1] == ("films", False)
        assert (
            json.loads(done("repair", "--data", data, "--salvage", data.parent / "new", "--json"))[0]["name"] == "films"
        )

    @pytest.mark.parametrize("command", [["check"], ["repair", "--salvage", "x"]], ids=["check", "repair"])
    def test_a_directory_that_is_not_there_is_not_made(self, tmp_path, command):
        """A misspelt name is no empty directory that is well."""
        result = run(*command, "--data", tmp_path / "none")

        assert result.exit_code == 2
        assert not (tmp_path / "none").exists()


class TestDoctor:
    def observed(self, *arguments):
        """The exit code, and by what it is about: the verdict and the words of each line."""
        result = run("doctor", "--json", *arguments)
        found = json.loads(result.stdout)
        return result.exit_code, {each["about"]: (each["verdict"], each["says"]) for each in found}

    @pytest.fixture(autouse=True)
    def _free_port(self, monkeypatch):
        monkeypatch.setenv("CONNECTOME_PORT", "0")

    def test_what_is_well(self, data):
        """Exit 0; every line says of what."""
        code, found = self.observed(data)

        assert code == 0
        assert "fail" not in {verdict for verdict, _ in found.values()}
        assert {"connectome", "orjson", "settings", "data directory", "lock", "files", "disk", "port"} <= set(found)
        assert found["connectome.credentials.json"][0] == "ok"

    def test_lines_are_for_people(self, data):
        """Verdict, subject, words; no colour where no terminal is."""
        lines = done("doctor", data).splitlines()

        assert all(re.match(r"(ok  |warn|fail)  \S", line) for line in lines)

    def test_colour_is_for_terminals(self, data, monkeypatch):
        """Where it is wanted there."""
        assert "\x1b[" in done("doctor", data, color=True)

        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b[" not in done("doctor", data, color=True)

    def test_secrets_that_others_can_read_fail(self, data):
        """Exit 1, and how to change it."""
        file = data / "connectome.credentials.json"
        file.chmod(0o644)

        code, found = self.observed(data)

        assert (code, found[file.name]) == (1, ("fail", f"{file} has mode 0644: others can see it; chmod 600 {file}"))

    def test_a_file_of_settings_with_a_token_is_a_secret(self, data):
        """One without is not."""
        file = data / "connectome.toml"
        file.write_text("port = 0\n")
        file.chmod(0o644)
        assert self.observed(data)[0] == 0

        file.write_text('admin_token = "x"\n')
        assert self.observed(data)[0] == 1

    def test_damage_and_torn_tails_are_found(self, data):
        """What is damaged fails; what a crash left is a warning."""
        service = Service(open_store(data))
        service.create(id="torn")
        service.close()
        with next(data.glob("torn.journal.*")).open("ab") as journal:
            journal.write(b"half a rec")
        (data / "torn.journal.1.torn-20260101").touch()
        assert self.observed(data)[1]["torn"][0] == "warn"
        (data / "films.json").write_text("{")

        code, found = self.observed(data)

        assert code == 1
        assert found["films"][0] == "fail"
        assert found["torn writes"][0] == "warn"

    def test_a_server_that_runs_is_no_fault(self, server, monkeypatch):
        """It holds the lock, and its port."""
        monkeypatch.setenv("CONNECTOME_PORT", server.url.rpartition(":")[2])

        code, found = self.observed(server.data)

        assert code == 0
        assert server.url in found["lock"][1]
        assert found["port"][1].endswith("is the server's")

    def test_a_port_that_others_have_fails(self, data, monkeypatch):
        """With the reason."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            monkeypatch.setenv("CONNECTOME_PORT", str(taken.getsockname()[1]))
            code, found = self.observed(data)

        assert (code, found["port"][0]) == (1, "fail")

    def test_settings_that_cannot_be_fail(self, tmp_path):
        """With what is wrong about them."""
        (tmp_path / "connectome.toml").write_text("prot = 1")

        code, found = self.observed("--data", tmp_path)

        assert code == 1
        assert "did you mean port?" in found["settings"][1]

    def test_a_directory_that_is_not_there_is_a_beginning(self, tmp_path):
        """It is made when it is needed; a file in its place is not."""
        assert self.observed(tmp_path / "none")[0] == 0
        (tmp_path / "file").touch()
        assert self.observed(tmp_path / "file")[0] == 1


class TestVersion:
    def test_it_is_told(self):
        """To people and to programs."""
        told = json.loads(done("version", "--json"))

        assert done("version") == f"{__version__}\n"
        assert told["connectome"] == __version__
        assert {"python", "platform", "orjson", "gunicorn"} <= set(told)


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_each_shell_gets_its_own(self, shell):
        """What it reads asks the command for words."""
        assert f"_CONNECTOME_COMPLETE={shell}_complete" in done("completion", shell)

    def test_a_shell_completes_a_command(self):
        """As bash asks for it."""
        asked = {"_CONNECTOME_COMPLETE": "bash_complete", "COMP_WORDS": "connectome collections re", "COMP_CWORD": "2"}

        ended = subprocess.run(
            [sys.executable, "-c", "from connectome.cli import main; main(prog_name='connectome')"],
            capture_output=True,
            text=True,
            check=False,
            env=environment(**asked),
        )

        assert ended.stdout == "plain,rename\n"


class TestWrongUse:
    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["create", "films"], "there is no command 'create'; did you mean collections create?"),
            (["list"], "there is no command 'list'; did you mean collections ls?"),
            (["serv"], "there is no command 'serv'; did you mean serve?"),
            (["qqq"], "there is no command 'qqq'; there are serve, init, "),
            (["collections", "list"], "there is no command 'list'; did you mean ls?"),
            (["collections", "renam"], "there is no command 'renam'; did you mean rename?"),
            (["snapshot", "show"], "there is no command 'show'; did you mean ls?"),
            (["schema", "infr"], "there is no command 'infr'; did you mean infer?"),
            (["serve", "--durabilty", "os"], "No such option '--durabilty'. Did you mean '--durability'?"),
            (["collections", "ls", "--jsn"], "No such option '--jsn'. Did you mean '--json'?"),
        ],
    )
    def test_what_was_meant_is_named(self, words, says):
        """Exit 2, and nothing on stdout."""
        result = run(*words)

        assert (result.exit_code, result.stdout) == (2, "")
        assert says in result.stderr


class TestPrintConfig:
    def test_each_setting_is_told_with_where_it_comes_from(self, tmp_path, monkeypatch):
        """As it would stand in the file; secrets masked; nothing is served or made."""
        data = tmp_path / "data"
        file = tmp_path / "c.toml"
        file.write_text("threads = 3\n")
        monkeypatch.setenv("CONNECTOME_ADMIN_TOKEN", "a-token-that-is-long-enough")
        monkeypatch.setenv("PORT", "81")

        lines = done(data, "--config", file, "--print-config", "--no-console").splitlines()

        told = {line.partition(" = ")[0]: re.split(r" = |\s+# ", line)[1:] for line in lines}
        assert list(told) == [name for name in Settings.__dataclass_fields__ if name != "origins"]
        assert told["threads"] == ["3", "file"]
        assert told["port"] == ["81", "environment"]
        assert told["console"] == ["false", "argument"]
        assert told["host"] == ['"127.0.0.1"', "default"]
        assert told["admin_token"] == ['"a-t…ough"', "environment"]
        assert not data.exists()


HEAVY = ("flask", "werkzeug", "jinja2", "tinydb", "jsonschema", "waitress", "granian", "gunicorn", "pygments", "regex")
LIGHT = [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS), ["collections", "ls", "--help"]]


class TestStart:
    def test_help_loads_nothing_heavy(self):
        """Neither the web nor a store nor their libraries: help is there at once, of every command."""
        program = (
            "import sys, json\n"
            "from click.testing import CliRunner\n"
            "from connectome.cli import main\n"
            f"for words in {LIGHT!r}:\n"
            "    result = CliRunner().invoke(main, words)\n"
            "    assert result.exit_code == 0, (words, result.output)\n"
            "    print(json.dumps([words, sorted(sys.modules)]))\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
        )

        for line in ended.stdout.splitlines():
            words, modules = json.loads(line)
            loaded = {name for name in modules if name.split(".")[0] in HEAVY}
            loaded |= {name for name in modules if re.match(r"connectome\.(web|stores|service|query)\b", name)}
            assert (words, loaded) == (words, set())


class TestProcesses:
    def test_a_reader_that_leaves_is_no_accident(self, data):
        """A broken pipe is quiet."""
        service = Service(open_store(data))
        service.create(id="more-than-a-pipe-holds", title="x" * 300_000)
        service.close()

        ended = subprocess.run(
            ["bash", "-c", f'"{sys.executable}" -m connectome collections ls --data "{data}" | head -c 10'],
            capture_output=True,
            check=False,
            env=environment(),
        )

        assert (len(ended.stdout), ended.stderr) == (10, b"")

    @pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="only Linux says what a process waits for")
    def test_an_interruption_is_130(self, data):
        """Ctrl+C while a command waits: no traceback, and nothing has happened."""
        program = [sys.executable, "-m", "connectome", "restore", "-", "--data", data]
        with subprocess.Popen(
            program, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(PYTHONUNBUFFERED="1")
        ) as process:
            # It reads what is to be restored once all is loaded that it needs for that.
            assert process.stdin is not None
            process.stdin.write(b"PK")
            process.stdin.flush()
            wait_until_it_reads(process.pid)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
            stderr = process.stderr.read()

        assert (process.returncode, stderr.strip()) == (130, b"")

    def test_a_directory_in_use_is_3(self, data):
        """By a process that serves nothing."""
        with closing(open_store(data)):
            assert run("collections", "ls", "--data", data).exit_code == 3
