"""Documents on the command line: found, written, imported, exported, checked; alone with them or beside a server."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner
from conftest import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectome import formats, inference
from connectome.cli import files, main, schemas
from connectome.cli.administration import replacing
from connectome.stores import Find, OnDuplicate, open_store

NUMBERS = itertools.count()
FILMS = [
    {"_id": 1, "title": "Alien", "year": 1979, "tags": ["space", "cat"]},
    {"_id": 2, "title": "Brazil", "year": 1985, "by": {"name": "Terry"}},
    {"_id": 3, "title": "Coma", "year": 1978},
]


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def documents(self) -> list[Any]:
        """The lines of its output, each as JSON."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Place:
    """A data directory on which commands work."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *arguments: str | Path, input: str | None = None) -> Ended:
        result = CliRunner().invoke(main, [*map(str, arguments), "--data", str(self.data)], input=input)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    def process(self, *arguments: str | Path, input: bytes = b"", **variables: str) -> Ended:
        """The same in a process of its own, with pipes."""
        ended = subprocess.run(
            [sys.executable, "-m", "connectome", *map(str, arguments), "--data", str(self.data)],
            input=input,
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, **variables},
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.fixture(scope="module", params=["directory", "server"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Every command works in both places, and answers the same."""
    data = tmp_path_factory.mktemp("data")
    if request.param == "directory":
        yield Place(data)
        return
    server = Server(data)
    yield Place(data)
    server.end()


@pytest.fixture
def films(place: Place, tmp_path: Path) -> str:
    """A collection that no other test has, with three films."""
    id = f"films-{next(NUMBERS)}"
    file = tmp_path / "films.json"
    file.write_text(json.dumps(FILMS))
    assert place("import", id, file).code == 0
    return id


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """A file of this name with this content."""

    def write(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


class TestFind:
    def test_lines_of_json_where_nobody_looks(self, place, films):
        """All documents, in their order."""
        assert place("find", films).documents == FILMS

    def test_a_filter_is_typed_as_in_the_shell(self, place, films):
        """With the options of a question."""
        ended = place(
            "find",
            films,
            "{year: {$lt: 1985}, title: /a/i,}",
            "--project",
            "{title: 1}",
            "--sort",
            "{year: 1}",
            "--skip",
            "1",
        )

        assert ended.documents == [{"_id": 1, "title": "Alien"}]
        assert place("find", films, "--sort", "{year: -1}", "--limit", "1").documents == [FILMS[1]]

    def test_they_are_counted(self, place, films):
        """With what is passed over."""
        assert place("find", films, "{year: {$gt: 1978}}", "--count").stdout == "2\n"
        assert place("find", films, "--count", "--limit", "1").stdout == "1\n"

    def test_how_they_are_found_is_explained(self, place, films):
        """For people, and for programs."""
        assert place("find", films, "{_id: 2}", "--explain").stdout.startswith(
            "stage         IDHACK\npath          _id\n"
        )
        assert json.loads(place("find", films, "{_id: 2}", "--explain", "--json").stdout)["examined"] == 1

    @pytest.mark.parametrize(
        ("format", "printed"),
        [
            ("json", '[\n{"_id":3,"title":"Coma"}\n]\n'),
            ("ndjson", '{"_id":3,"title":"Coma"}\n'),
            ("csv", "_id,title\r\n3,Coma\r\n"),
            ("ejson", '[\n{"_id":{"$numberInt":"3"},"title":"Coma"}\n]\n'),
            ("table", "_id  title\n  3  Coma\n"),
        ],
    )
    def test_formats(self, place, films, format, printed):
        """Each as asked for."""
        ended = place("find", films, "{_id: 3}", "--project", "{title: 1}", "--format", format)

        assert (ended.code, ended.stdout.replace("\r\n", "\n")) == (0, printed.replace("\r\n", "\n"))

    def test_nothing_is_found(self, place, films):
        """That is no error, in any format."""
        assert place("find", films, "{_id: 9}") == Ended(0, "", "")
        assert place("find", films, "{_id: 9}", "--json").stdout == "[]\n"
        assert place("find", films, "{_id: 9}", "--format", "table") == Ended(0, "", "no documents match\n")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (
                ["{year: {$gtt: 1}}"],
                "the filter: unknown operator: $gtt; did you mean $gt?\n  {year: {$gtt: 1}}\n          ^",
            ),
            (
                ["{\n  year: {$gt 1}\n}"],
                "the filter: line 2, column 14: expected : after the key $gt, not 1\n"
                "    year: {$gt 1}\n               ^",
            ),
            (["[]"], "the filter: expected an object such as {year: 1990}, not []\n  []\n  ^"),
            (
                ["--sort", "{year: 2}"],
                "--sort: a sort direction is 1 (ascending) or -1 (descending), not 2\n  {year: 2}\n   ^",
            ),
            (["--project", "{a: 1, b: 0}"], "--project: "),
        ],
    )
    def test_a_mistake_is_shown_where_it_stands(self, place, films, arguments, says):
        """The line, and a caret under the place."""
        ended = place("find", films, *arguments)

        assert (ended.code, ended.stdout) == (4, "")
        assert ended.stderr.startswith(f"connectome: {says}")

    def test_a_long_filter_is_shown_around_the_mistake(self, place, films):
        """And what would move the cursor is not written."""
        filter = "{a: '" + "x" * 500 + "\x1b[2J', b: {$gtt: 1}, c: '" + "y" * 500 + "'}"
        line, caret = place("find", films, filter).stderr.splitlines()[1:]

        assert len(line) < 140
        assert "\x1b" not in line
        assert line[len(caret) - 1 :].startswith("$gtt")

    def test_a_collection_that_is_not_there(self, place, films):
        """Is named, with the nearest one."""
        assert place("find", films + "x") == Ended(
            1, "", f"connectome: there is no collection '{films}x'; did you mean '{films}'?\n"
        )


class TestTable:
    def test_long_cells_are_cut_and_unseen_characters_shown(self, place, films):
        """A document cannot write to the terminal."""
        place("insert", films, json.dumps({"_id": 9, "title": "\x1b[31m" + "x" * 100}))

        lines = place("find", films, "{_id: 9}", "--format", "table").stdout.splitlines()

        assert lines[0].split() == ["_id", "title"]
        assert lines[1].startswith("  9  \\u001b[31mxxx")
        assert lines[1].endswith("x…")

    def test_wide_characters_take_two_columns(self, place, films):
        """So that the next column stands where it should."""
        place("insert", films, '[{_id: "w", a: "日本", b: "!"}, {_id: "v", a: "abcd", b: "!"}]')

        lines = place("find", films, "{b: '!'}", "--format", "table").stdout.splitlines()

        assert lines[1:] == ["w    日本  !", "v    abcd  !"]


def on_terminal(*arguments: str | Path, answer: bytes = b"", columns: int = 40, **variables: str) -> tuple[int, str]:
    """Run a command at a terminal so wide, type an answer; the exit code, and what stood there."""
    leading, following = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-m", "connectome", *map(str, arguments)],
        stdin=following,
        stdout=following,
        stderr=following,
        env={**environment, "COLUMNS": str(columns), "TERM": "xterm", **variables},
    ) as process:
        os.close(following)
        os.write(leading, answer)
        shown = b""
        while select.select([leading], [], [], 30)[0]:
            try:
                piece = os.read(leading, 4096)
            except OSError:  # so Linux says that nobody has the other end any more
                break
            if not piece:
                break
            shown += piece
        os.close(leading)
        return process.wait(30), shown.decode().replace("\r\n", "\n")


class TestTerminal:
    def test_documents_are_a_table_as_wide_as_the_terminal(self, place, films):
        """In colour, unless NO_COLOR is set; what has no room is told."""
        code, shown = on_terminal("find", films, "--data", place.data, columns=22)
        lines = shown.splitlines()

        assert code == 0
        assert lines[0] == "\x1b[1m_id  title   year\x1b[0m"
        assert lines[1] == "  1  Alien   1979"
        assert lines[-1] == "2 columns more: --project chooses, --format json shows all"
        assert "\x1b" not in on_terminal("find", films, "--data", place.data, NO_COLOR="1")[1]

    def test_a_deletion_is_asked_about(self, place, films):
        """With how many would go; no is the answer of whoever says nothing."""
        code, shown = on_terminal("delete", films, "{year: {$lt: 1980}}", "--data", place.data, answer=b"\n")
        assert code == 1
        assert "This will delete 2 documents.  Go on? [y/N]" in shown
        assert place("find", films, "--count").stdout == "3\n"

        code, _ = on_terminal("delete", films, "{year: {$lt: 1980}}", "--data", place.data, answer=b"y\n")
        assert code == 0
        assert place("find", films, "--count").stdout == "1\n"

    def test_an_import_shows_how_far_it_is(self, place, films, write):
        """On a terminal only."""
        file = write("more.ndjson", "".join(json.dumps({"_id": f"m{n}"}) + "\n" for n in range(100)))

        code, shown = on_terminal("import", films, file, "--data", place.data, columns=80)

        assert code == 0
        assert "Reading more.ndjson" in shown
        assert "100%" in shown


class TestInsert:
    def test_a_document_is_inserted(self, place, films):
        """Its _id is printed."""
        assert place("insert", films, "{_id: 'new', n: NumberLong(5)}") == Ended(
            0, "new\n", f"inserted 1 document into {films}\n"
        )
        assert place("find", films, "{_id: 'new'}", "--format", "ejson").stdout == (
            '[\n{"_id":"new","n":{"$numberLong":"5"}}\n]\n'
        )

    def test_an_array_comes_from_a_pipe(self, place, films):
        """All of it, or nothing."""
        ended = place.process("insert", films, "-", "--json", input=b'[{"_id": 8}, {"_id": 9}]')
        assert ended == Ended(0, '{"insertedCount":2,"insertedIds":[8,9]}\n', "")

        ended = place("insert", films, "[{_id: 10}, {_id: 9}]")
        assert ended == Ended(4, "", "connectome: _id 9 is taken (at /1/_id)\n")
        assert place("find", films, "{_id: 10}", "--count").stdout == "0\n"

    def test_what_is_no_document_is_pointed_at(self, place, films):
        """In an array, the element."""
        assert place("insert", films, "[{}, 5]").stderr.splitlines()[1:] == ["  [{}, 5]", "       ^"]


class TestUpdate:
    def test_documents_are_updated(self, place, films):
        """All that match; of those, how many changed."""
        ended = place("update", films, "{year: {$lt: 1980}}", "{$set: {old: true}}", "--yes")

        assert ended == Ended(0, "", "matched 2, modified 2\n")
        assert [each.get("old") for each in place("find", films).documents] == [True, None, True]

    def test_only_the_first(self, place, films):
        """In natural order; for programs as JSON."""
        ended = place("update", films, "{}", "{$inc: {year: 1}}", "--one", "--yes", "--json")

        assert ended == Ended(0, '{"matchedCount":1,"modifiedCount":1,"upsertedId":null}\n', "")

    def test_an_upsert_makes_a_document(self, place, films):
        """Where none matches; without it that is no error."""
        assert place("update", films, "{_id: 7}", "{n: 1}", "--yes") == Ended(0, "", "matched 0, modified 0\n")
        assert place("update", films, "{_id: 7}", "{n: 1}", "--yes", "--upsert") == Ended(
            0, "", "matched 0, modified 0, made 7\n"
        )

    def test_array_filters(self, place, films):
        """Each names elements."""
        ended = place(
            "update", films, "{_id: 1}", "{$set: {'tags.$[t]': 'dog'}}", "--array-filter", "{t: 'cat'}", "--yes"
        )

        assert ended.code == 0
        assert place("find", films, "{_id: 1}").documents[0]["tags"] == ["space", "dog"]

    def test_a_rehearsal_changes_nothing(self, place, films):
        """And shows what would be."""
        ended = place("update", films, "{_id: 3}", "{$inc: {year: 1}}", "--dry-run")

        assert ended == Ended(
            0,
            '- {_id: 3, title: "Coma", year: 1978}\n+ {_id: 3, title: "Coma", year: 1979}\n',
            "matched 1, would modify 1\n",
        )
        assert place("find", films).documents == FILMS

    def test_a_mistake_is_shown_where_it_stands(self, place, films):
        """In the update as in the filter."""
        ended = place("update", films, "{}", "{$incc: {year: 1}}", "--yes")

        assert ended.code == 4
        assert ended.stderr.splitlines()[1:] == ["  {$incc: {year: 1}}", "   ^"]

    def test_what_a_document_refuses_changes_nothing(self, place, films):
        """Of all that match."""
        ended = place("update", films, "{}", "{$inc: {title: 1}}", "--yes")

        assert ended.code == 4
        assert "title" in ended.stderr
        assert place("find", films).documents == FILMS


class TestDelete:
    def test_documents_are_deleted(self, place, films):
        """With a word on how many."""
        assert place("delete", films, "{_id: {$gt: 1}}", "--yes") == Ended(0, "", "deleted 2 documents\n")
        assert place("delete", films, "{}", "--yes", "--json") == Ended(0, '{"deletedCount":1}\n', "")

    @pytest.mark.parametrize("command", [["delete", "{}"], ["update", "{}", "{n: 1}"]])
    def test_where_nobody_can_be_asked_it_needs_a_yes(self, place, films, command):
        """Exit 1, and nothing is changed."""
        ended = place(command[0], films, *command[1:])

        assert (ended.code, ended.stdout) == (1, "")
        assert ended.stderr.endswith("3 documents, and nobody can be asked: say --yes, or --dry-run\n")
        assert place("find", films).documents == FILMS

    @pytest.mark.parametrize("command", [["delete", "{}"], ["update", "{}", "{n: 1}"]])
    def test_not_more_than_was_allowed(self, place, films, command):
        """Exit 1, and nothing is changed."""
        ended = place(command[0], films, *command[1:], "--yes", "--max-affected", "2")

        assert (ended.code, ended.stderr) == (
            1,
            "connectome: 3 documents would change, and the request allows 2: nothing was changed\n",
        )
        assert place("find", films).documents == FILMS

    def test_everything_is_said_explicitly(self, place, films):
        """No filter, or an empty one, is a wrong use."""
        for arguments in ([], [""], ["  "]):
            assert place("delete", films, *arguments, "--yes").code == 2
        assert place("find", films).documents == FILMS

    def test_a_rehearsal(self, place, films):
        """For programs, too."""
        ended = place("delete", films, "{_id: 3}", "--dry-run", "--json")

        assert json.loads(ended.stdout) == {
            "deletedCount": 1,
            "dryRun": True,
            "examples": [{"before": FILMS[2], "after": None}],
        }
        assert place("find", films).documents == FILMS


class TestExport:
    @pytest.mark.parametrize(
        ("name", "start"),
        [
            ("films.json", '[\n{"_id":1,'),
            ("films.ndjson", '{"_id":1,'),
            ("films.csv", "_id,title,year,tags,by.name\r\n1,"),
            ("films.tsv", "_id\ttitle\tyear\ttags\tby.name\r\n1\t"),
            ("films.ejson", '[\n{"_id":{"$numberInt":"1"},'),
        ],
    )
    def test_what_is_exported_can_be_imported(self, place, films, tmp_path, name, start):
        """In every format, by the ending of the file, packed or not."""
        for file in (tmp_path / f"out-{name}", tmp_path / f"out-{name}.gz"):
            assert place("export", films, file).code == 0
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            assert content.decode().startswith(start)
            copy = f"copy-{next(NUMBERS)}"
            assert place("import", copy, file).code == 0
            assert place("find", copy).documents == FILMS

    def test_nothing_on_stdin_is_said_in_one_line(self, place, films):
        """There is no line to show, and no place in it."""
        ended = place("insert", films, input="\n")

        assert ended == Ended(
            4, "", "connectome: the document: line 2, column 1: expected a value, not an empty text\n"
        )

    @pytest.mark.parametrize("place", ["directory"], indirect=True)
    def test_a_pipe_with_a_name_is_written_to(self, place, films, tmp_path):
        """It stays where it is: a shell's ``>(…)`` is one."""
        os.mkfifo(pipe := tmp_path / "out.ndjson")
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
            ended = place.process("export", films, pipe)
            content = reader.stdout.read()

        assert (ended, content.count(b"\n")) == (Ended(0, "", f"exported {films} to {pipe}\n"), 3)
        assert pipe.is_fifo()

    def test_a_file_is_replaced_when_all_is_written(self, tmp_path):
        """An end in the middle leaves what was there, and nothing beside it."""
        (file := tmp_path / "b.zip").write_bytes(b"whole")

        def interrupted() -> None:
            with replacing(file) as target:
                target.write(b"half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()

        assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("b.zip", b"whole")]

    @pytest.mark.parametrize("place", ["directory"], indirect=True)
    @pytest.mark.parametrize("command", [("find",), ("find", "--count"), ("export",)])
    def test_a_stdout_that_takes_nothing_is_said(self, place, films, command):
        """In one line, without a traceback, and without Python's own complaint at its end."""
        name, *options = command
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "connectome", name, films, *options, "--data", place.data],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
            )

        assert (ended.returncode, ended.stderr) == (1, "connectome: No space left on device\n")

    @pytest.mark.parametrize("place", ["directory"], indirect=True)
    def test_from_pipe_to_pipe(self, place, films):
        """stdout is data and nothing else; what stdin is can be seen at its start, or is said."""
        for format, said in (("ndjson", ()), ("json", ()), ("tsv", ("--format", "tsv"))):
            out = place.process("export", films, "--format", format)
            assert (out.code, out.stderr) == (0, "")
            copy = f"copy-{next(NUMBERS)}"
            ended = place.process("import", copy, "-", *said, input=out.stdout.encode())
            assert ended == Ended(0, "", f"created {copy}\nimported 3 documents into {copy}\n")
            assert place("find", copy).documents == FILMS

    def test_stdin_that_says_nothing(self, place, films):
        """Is a wrong use."""
        assert place.process("import", films, "-", input=b"a,b\n1,2\n") == Ended(
            2, "", "connectome: stdin begins neither with [ nor with {: say --format\n"
        )

    def test_a_file_that_is_there_is_replaced_when_all_is_written(self, place, films, tmp_path):
        """By its owner's alone."""
        file = tmp_path / "out.ndjson"
        file.write_text("before")

        assert place("export", films + "x", file).code == 1
        assert file.read_text() == "before"
        assert place("export", films, file).code == 0
        assert len(file.read_text().splitlines()) == 3
        assert [each.name for each in tmp_path.iterdir() if each.name.startswith("out")] == ["out.ndjson"]


class TestImport:
    def test_an_id_that_is_taken(self, place, films, write):
        """Stops everything, is skipped, or replaces."""
        file = write("more.ndjson", '{"_id": 4}\n{"_id": 1, "title": "Aliens"}\n')

        assert place("import", films, file) == Ended(4, "", "connectome: _id 1 is taken (at /1/_id)\n")
        assert place("find", films).documents == FILMS
        assert place("import", films, file, "--on-duplicate", "skip") == Ended(
            0, "", f"imported 1 document into {films}, skipped 1\n"
        )
        assert place("find", films).documents == [*FILMS, {"_id": 4}]
        assert place("import", films, file, "--on-duplicate", "replace", "--json") == Ended(
            0, '{"created": false, "insertedCount": 0, "skippedCount": 0, "replacedCount": 2}\n', ""
        )
        assert place("find", films, "{_id: 1}").documents == [{"_id": 1, "title": "Aliens"}]

    @pytest.mark.parametrize(("on_duplicate", "counts"), [("skip", (1, 1, 0)), ("replace", (1, 0, 1))])
    def test_an_id_that_comes_twice_in_a_new_collection(self, place, write, on_duplicate, counts):
        """Counts as one that is taken."""
        id = f"films-{next(NUMBERS)}"
        file = write("twice.ndjson", '{"_id": 1, "n": 1}\n{"_id": 1, "n": 2}\n')

        ended = place("import", id, file, "--on-duplicate", on_duplicate, "--json")

        assert tuple(json.loads(ended.stdout).values()) == (True, *counts)
        assert place("find", id).documents == [{"_id": 1, "n": 1 if on_duplicate == "skip" else 2}]

    def test_a_packed_file_that_is_cut_off(self, place, films, write):
        """Is refused, and nothing of it is there."""
        file = write("more.ndjson.gz", gzip.compress(b'{"_id": 4}\n' * 1000)[:-12])

        ended = place("import", films, file)

        assert ended.code == 4
        assert "more.ndjson.gz is not what gzip writes" in ended.stderr
        assert place("find", films).documents == FILMS

    def test_types_of_a_table_from_a_pipe(self, place):
        """It is read twice, though a pipe can be read only once."""
        id = f"films-{next(NUMBERS)}"

        ended = place.process(
            "import", id, "-", "--format", "tsv", "--types", "zip=string", input=b"_id\tzip\tn\n1\t123\t7\n2\t45\t8.5\n"
        )

        assert ended.code == 0
        assert place("find", id, "--format", "ejson").stdout == (
            '[\n{"_id":{"$numberInt":"1"},"zip":"123","n":{"$numberDouble":"7.0"}},\n'
            '{"_id":{"$numberInt":"2"},"zip":"45","n":{"$numberDouble":"8.5"}}\n]\n'
        )

    def test_a_crash_in_the_middle_leaves_nothing_of_it(self, tmp_path):
        """Killed while it reads, or while it writes: the next command finds all of it, or what was there before."""
        place = Place(tmp_path / "data")
        assert place("import", "films", "-", "--format", "json", input=json.dumps(FILMS)).code == 0
        content = b"".join(b'{"_id":"m%d","text":"%s"}\n' % (n, b"x" * 1000) for n in range(20_000))
        for seconds in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2):
            with subprocess.Popen(
                [sys.executable, "-m", "connectome", "import", "films", "-", "--data", place.data],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                killer = threading.Timer(seconds, process.kill)
                killer.start()
                with suppress(BrokenPipeError):
                    process.stdin.write(content)
                    process.stdin.close()
                ended = process.wait(60) == 0
                killer.cancel()
            found = place("find", "films", "--count").stdout
            assert found in (("20003\n",) if ended else ("3\n", "20003\n"))
            if found != "3\n":
                break


class TestSchema:
    def test_a_schema_is_inferred_set_shown_and_lifted(self, place, films, tmp_path):
        """What is proposed is satisfied by all documents that were looked at."""
        inferred = place("schema", "infer", films)
        assert json.loads(inferred.stdout)["required"] == ["_id", "title", "year"]
        file = tmp_path / "schema.json"
        file.write_text(inferred.stdout)

        assert place("schema", "check", films, file) == Ended(0, "", "0 of 3 documents fail\n")
        assert place("schema", "set", films, file).code == 0
        assert json.loads(place("schema", "show", films).stdout) == json.loads(inferred.stdout)
        assert place("insert", films, "{title: 5, year: 1}").code == 4
        assert place("schema", "set", films, "--none").code == 0
        assert place("schema", "show", films).stdout == "null\n"

    def test_a_sample_is_said_to_be_one(self, place, films):
        """The same one for the same seed."""
        one = place("schema", "infer", films, "--sample", "1")

        assert one.stderr.startswith("made from a sample of 1 of 3 documents")
        assert one == place("schema", "infer", films, "--sample", "1")

    def test_documents_that_fail_are_printed(self, place, films, write):
        """Each with the place; exit 4."""
        file = write("s.json", '{"required": ["by"], "properties": {"year": {"maximum": 1980}}}')

        assert place("schema", "check", films, file) == Ended(
            4,
            "1  (root)  'by' is a required property\n"
            "2  /year  expected a number of at most 1980, not 1985\n"
            "3  (root)  'by' is a required property\n",
            "3 of 3 documents fail\n",
        )
        assert place("schema", "check", films, file, "--json").documents[1] == {
            "_id": 2,
            "errors": [{"pointer": "/year", "detail": "expected a number of at most 1980, not 1985"}],
        }

    def test_one_that_is_not_satisfied_is_not_set(self, place, films):
        """The first document that fails is named."""
        ended = place("schema", "set", films, "-", input='{"required": ["by"]}')

        assert ended.code == 4
        assert ended.stderr.startswith("connectome: the document 1 does not satisfy it: 'by' is a required property")
        assert place("schema", "show", films).stdout == "null\n"

    @pytest.mark.parametrize("arguments", [[], ["-", "--none"]])
    def test_a_file_or_none(self, place, films, arguments):
        """And not both."""
        assert place("schema", "set", films, *arguments, input="{}").code == 2


class TestChoices:
    """What the help says without loading what it is about."""

    @staticmethod
    def option(command: click.Command, name: str) -> click.Parameter:
        return next(each for each in command.params if each.name == name)

    def test_what_may_become_of_a_duplicate(self):
        """``--on-duplicate`` takes what a store takes, in the same order."""
        assert tuple(self.option(files.import_, "on_duplicate").type.choices) == get_args(OnDuplicate)

    def test_the_size_of_a_sample(self):
        """``schema infer`` looks at as many documents as the console does where nothing is said."""
        assert self.option(schemas.infer, "sample").default == inference.SAMPLE


class TestLarge:
    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of a process starts at its parent's")
    def test_the_memory_of_an_import_is_that_of_its_documents(self, tmp_path, write):
        """A file of 80 MB: its texts, once, beside what Python itself takes."""
        file = write("large.ndjson", b"".join(b'{"_id":%d,"text":"%s"}\n' % (n, b"x" * 2_000) for n in range(40_000)))
        measured = (
            "import sys\n"
            "from connectome.cli import main\n"
            "try:\n"
            "    main(sys.argv[1:])\n"
            "finally:\n"
            "    print(open('/proc/self/status').read())\n"
        )
        arguments = ["import", "large", str(file), "--data", str(tmp_path / "data")]
        ended = subprocess.run(
            [sys.executable, "-c", measured, *arguments], capture_output=True, text=True, timeout=60, check=True
        )

        assert ended.stderr == "created large\nimported 40000 documents into large\n"
        assert int(re.search(r"VmHWM:\s+(\d+) kB", ended.stdout)[1]) < 180_000


cells = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text("ab \t\n\"'é,", min_size=1).filter(str.strip)
)
rows = st.lists(st.dictionaries(st.sampled_from(["_id", "a", "b.c", "tab\there"]), cells, max_size=4), min_size=1)


class TestTSV:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
    @given(rows)
    def test_there_and_back(self, tmp_path, rows):
        """Tabs, quotes and line ends in cells stay in their cells."""
        texts = [{name: "t" + str(cell) for name, cell in row.items() if cell is not None} for row in rows]
        documents = [
            {"_id": number, **{name.replace(".", "_"): cell for name, cell in row.items() if name != "_id"}}
            for number, row in enumerate(texts)
        ]
        with closing(open_store(tmp_path / "tsv", durability="memory")) as store:
            collection = store.collection("birds", None, new=True)
            collection.load(documents)
            content = b"".join(formats.write_documents(collection, Find(), "tsv"))

        assert list(formats.read_documents(content, "tsv")) == documents
