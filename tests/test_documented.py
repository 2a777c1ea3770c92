"""What README and docs/ say is true: commands are run, examples are compiled, nothing that exists is left out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from connectome import config, extjson
from connectome.cli import EXIT_CODES, main
from connectome.config import Settings
from connectome.errors import ConnectomeError
from connectome.query import Filter, Pipeline, Projection, Sort, Update, compile_array_filters, conditions
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import atlas, create_app
from connectome.web.problems import STATUS
from connectome.web.snippets import LANGUAGES

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/configuration.md",
    "docs/console.md",
    "docs/durability.md",
    "docs/from-atlas-data-api.md",
    "docs/integration.md",
    "docs/limits.md",
    "docs/mock.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/query-language.md",
    "docs/scaling.md",
    "docs/security.md",
    "docs/testing.md",
]
URL = "http://127.0.0.1:8000"
EXAMPLE = "data/examples/movies.json"

COMPILED_BY = {
    "filter": Filter,
    "projection": lambda source: Projection(source, Filter({"cast.billing": 1})),  # for the positional "cast.$"
    "sort": Sort,
    "update": Update,
    "aggregation": Pipeline,
}

# What differs from run to run, and what stands for it in a comparison.
VARYING = {
    r"\btoken=(?:[\w-]{43}|…)": "token=…",
    r"\bc([rw])_(?:[A-Za-z0-9_-]{32}|…[A-Za-z0-9_-]{4}|…)": r"c\1_…",
    r"\b[0-9a-f]{24}\b": "<id>",
    r'"size":\d+': '"size":<bytes>',
    r'"executionTimeMillis":[\d.]+': '"executionTimeMillis":<time>',
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00": "<time>",
}


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def comparable(text):
    for pattern, stand_in in VARYING.items():
        text = re.sub(pattern, stand_in, text)
    return text.strip()


def blocks(name):
    """The fenced blocks of a page: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


def steps(name):
    """What a reader types, and what the page shows after it, in order: ("console" or "python", typed, shown)."""
    found = []
    for language, text in blocks(name):
        if language == "console":
            for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                typed, _, shown = step.partition("\n")
                found.append((language, typed, shown))
        elif language == "python":
            found.append((language, text, ""))
        elif language == "text":
            *found, (before, typed, _) = found
            found.append((before, typed, text))
    return found


def section(name, heading):
    """The text under a heading, up to the next one of any level."""
    return re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page(name), re.MULTILINE | re.DOTALL)[1]


def rows(text):
    """The rows of all tables in a text: header of the column → cell."""
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        header, _, *lines = ([cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines())
        found += [dict(zip(header, line, strict=True)) for line in lines]
    return found


def values(cell):
    """The values that stand as code in a cell."""
    return [extjson.loads(code) for code in re.findall(r"`([^`]+)`", cell)]


@contextmanager
def served(directory):
    """A server over a fresh copy of the example, as ``make run`` starts it: its greeting and its URL."""
    examples = directory / Path(EXAMPLE).parent
    examples.mkdir(parents=True)
    shutil.copy(ROOT / EXAMPLE, examples)
    command = [sys.executable, "-m", "connectome", "serve", "data", "--example", EXAMPLE, "--port", "0"]
    with subprocess.Popen(
        command, cwd=directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as server:
        try:
            yield _greeting(server.stdout)
        finally:
            server.terminate()


def _greeting(output: Iterator[str]) -> tuple[str, str]:
    lines = []
    for line in output:
        lines.append(line)
        if line.startswith("Ctrl+C"):
            break
    greeting = "".join(lines)
    address = re.search(r"http://127\.0\.0\.1:\d+", greeting)
    assert address, greeting
    return greeting, address[0]


def environment():
    """The environment of the tests without what would steer the product or curl."""
    kept = {name: value for name, value in os.environ.items() if not re.match("(?i)CONNECTOME_|.*_PROXY$", name)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


def run_in_order(name, directory, url):
    """Type every step of a page in one shell: [(what was typed, what was shown, what came)]."""
    program = directory / ".venv/bin/connectome"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m connectome "$@"\n')
    program.chmod(0o755)

    script = []
    typed_steps = [step for step in steps(name) if step[1] != "make run"]
    for number, (language, typed, _) in enumerate(typed_steps):
        if language == "python":
            source = directory / f"step{number}.py"
            source.write_text(typed.replace(URL, url), encoding="utf-8")
            script.append(f'sed -i.bak "s/cr_…/$READ/" {source.name} && "{sys.executable}" {source.name}')
        else:
            script.append(typed.replace(URL, url))
    # Each output ends with a record separator, which no output holds.
    ran = subprocess.run(
        ["bash", "-c", "exec 2>&1\n" + "".join(f"{line}\nprintf '\\036'\n" for line in script)],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=120,
    )
    *came, rest = ran.stdout.replace(url, URL).split("\036")
    assert (ran.returncode, rest) == (0, "")
    return [(typed, shown, output) for (_, typed, shown), output in zip(typed_steps, came, strict=True)]


def commands(command, words):
    """Every command that does something: its words and itself."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), f"{words} {name}")
    else:
        yield words, command


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="the pages use bash and curl")
class TestCommands:
    @pytest.mark.parametrize("name", ["README.md", "docs/api.md", "docs/from-atlas-data-api.md", "docs/integration.md"])
    def test_each_prints_what_the_page_shows(self, name, tmp_path):
        """Typed one after another, the commands of a page print what stands below them."""
        with served(tmp_path) as (_, url):
            ran = run_in_order(name, tmp_path, url)

        assert ran
        for typed, shown, came in ran:
            assert (typed, comparable(came)) == (typed, comparable(shown))

    def test_make_run_greets_as_shown(self, tmp_path):
        """The server says what README shows under ``make run``."""
        shown = next(shown for _, typed, shown in steps("README.md") if typed == "make run")

        with served(tmp_path) as (greeting, url):
            printed = greeting.replace(url, URL).replace(f"{sys.executable} -m connectome", ".venv/bin/connectome")
            assert comparable(printed) == comparable(shown)

    def test_make_run_starts_that_server(self):
        """What ``make run`` runs is what the tests here run, at the address that the pages show."""
        assert f" serve $(DATA) --example {EXAMPLE} --host $(HOST) --port $(PORT)" in page("Makefile")
        assert (Settings.host, Settings.port) == ("127.0.0.1", 8000)


class TestConfiguration:
    @pytest.mark.parametrize("name", [name for name, _ in config.described()])
    def test_each_setting_is_described(self, name):
        """A setting stands in the table with its variable, its option and its default."""
        default = getattr(Settings, name)
        row = next(
            row for row in rows(page("docs/configuration.md")) if row.get("variable") == f"`{config.variable(name)}`"
        )

        short = Settings.__dataclass_fields__[name].metadata["short"]
        options = ", ".join(f"`{option}`" for option in (config.option(name), f"-{short}" if short else "") if option)
        assert row["default"] == (f"`{config.written(default)}`".replace('"', "") if str(default) else "none")
        assert row["option of `connectome serve`"] == ("the argument `DATA`" if name == "data" else options or "none")

    def test_no_setting_is_described_that_does_not_exist(self):
        """Every variable in README and docs/ is one that is read, or a pattern for some."""
        described = {word for name in PAGES for word in re.findall(r"CONNECTOME_[A-Z_]+[A-Z]", page(name))}

        settings = dict(config.described())
        files = {f"{config.variable(name)}_FILE" for name, field in settings.items() if field.metadata["secret"]}
        assert described <= {*map(config.variable, settings), *files, config.FILE_VARIABLE, "CONNECTOME_TEST"}

    def test_each_command_and_option_is_described(self):
        """Every command of the program has a row, in which its options stand, but for those that many have."""
        table = rows(page("docs/configuration.md"))
        described = {row["command"]: row["does"] for row in table if "command" in row}
        of_many = {row["option"].strip("`").split()[0] for row in table if "option" in row}

        for words, command in commands(main, "connectome"):
            row = next((does for usage, does in described.items() if re.match(rf"`{words}\b", usage)), None)
            assert row, f"{words} is not described"
            settings = {f"--{name.replace('_', '-')}" for name, _ in config.described()}
            for option in {option for each in command.params for option in each.opts if option.startswith("--")}:
                assert option in settings | of_many or f"`{option}" in row, f"{option} of {words} is not described"

    @pytest.mark.parametrize("words", [words for words, _ in commands(main, "connectome")])
    def test_each_command_has_help_and_a_test(self, words):
        """Every command says what it does, and is run by some test under its whole name."""
        command = dict(commands(main, "connectome"))[words]
        name = r",\s*".join(f'"{word}"' for word in words.split()[1:])

        assert command.help
        assert any(re.search(name, file.read_text("utf-8")) for file in (ROOT / "tests").rglob("test_*.py"))

    def test_each_exit_code_is_described(self):
        """Every exit code that the program gives has a row."""
        described = {row["code"] for row in rows(section("docs/configuration.md", "Exit codes"))}

        assert described == {"0", *map(str, EXIT_CODES.values())}


class TestLanguage:
    def test_the_tables_of_operators_are_those_of_the_program(self):
        """The tables say what the operators and their specs say; ``make docs`` makes them anew."""
        made = subprocess.run(
            [sys.executable, "docs/build.py", "--check"], cwd=ROOT, env=environment(), capture_output=True, text=True
        )

        assert (made.returncode, made.stdout + made.stderr) == (0, "")

    @pytest.mark.parametrize("name", sorted(conditions.COMPANIONS))
    def test_each_companion_has_a_row_with_an_example(self, name):
        """An operator that says more about another stands in the table for that, and its example uses it."""
        (example,) = (
            row["example"]
            for row in rows(section("docs/query-language.md", "Filters"))
            if row["operator"] == f"`{name}`"
        )

        assert f'"{name}"' in example

    @pytest.mark.parametrize(
        ("heading", "kind"),
        [
            ("Filters", "filter"),
            ("Projections", "projection"),
            ("Sort", "sort"),
            ("Updates", "update"),
        ],
    )
    def test_each_example_compiles(self, heading, kind):
        """An example in a table of the language is one."""
        examples = [row["example"] for row in rows(section("docs/query-language.md", heading)) if "example" in row]

        assert examples
        for example in examples:
            (value,) = values(example.replace("\\|", "|"))
            COMPILED_BY[kind](value)

    def test_each_position_is_one(self):
        """The paths in the table of positions are taken, with an array filter where they name one."""
        filters = compile_array_filters([{"lead.billing": {"$lte": 2}}])
        for row in rows(section("docs/query-language.md", "Positions in arrays")):
            (value,) = values(row["example"])
            Update(value, filters if "lead" in row["example"] else {})

    @pytest.mark.parametrize(
        ("kind", "example"),
        [(row["in"], row["example"]) for row in rows(section("docs/query-language.md", "What is refused"))],
    )
    def test_what_is_refused_is_refused(self, kind, example):
        """An example of what is not offered is refused; the day it is not, the page has to change."""
        (value,) = values(example)

        with pytest.raises(ConnectomeError):
            COMPILED_BY[kind](value)

    def test_the_rules_of_filters_hold(self):
        """A filter in the rules matches the documents of its row, and does not match the others."""
        for row in rows(section("docs/query-language.md", "Rules of filters")):
            (source,) = values(row["filter"])
            for column, matches in [("matches", True), ("does not match", False)]:
                for document in values(row[column]):
                    assert (source, document, Filter(source).matches(document)) == (source, document, matches)

    def test_the_rules_of_sorts_hold(self):
        """The documents of a row stand in the order of its sort."""
        for row in rows(section("docs/query-language.md", "Sort")):
            if "order" in row:
                (source,) = values(row["sort"])
                assert Sort(source)(reversed(values(row["order"]))) == values(row["order"])

    def test_the_rules_of_updates_hold(self):
        """The update of a row makes of its document what the row says, field order included."""
        for row in rows(section("docs/query-language.md", "Rules of updates")):
            (before,), (source,), (after,) = values(row["document"]), values(row["update"]), values(row["becomes"])
            assert extjson.dumps(Update(source).apply(before)) == extjson.dumps(after)

    def test_the_rules_of_upserts_hold(self):
        """The search query and the data of a row create the document that the row says."""
        for row in rows(section("docs/query-language.md", "Upserts")):
            (query,), (data,), (created,) = values(row["search query"]), values(row["data"]), values(row["created"])
            assert extjson.dumps(Update(data).insert(Filter(query))) == extjson.dumps(created)


class TestReference:
    def test_each_route_is_described(self, tmp_path):
        """Every route of ours stands in a reference, the API's or the console's, with its method."""
        store = open_store(tmp_path)
        service = Service(store)
        try:
            rules = list(create_app(Settings(data=tmp_path), service).url_map.iter_rules())
        finally:
            service.close()

        for rule in (each for each in rules if not each.endpoint.startswith(atlas.ENDPOINT)):
            route = re.sub(r"<(?:[^<>]*:)?(\w+)>", r"<\1>", rule.rule)
            reference = "docs/console.md" if rule.endpoint.startswith("console.") else "docs/api.md"
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                assert f"`{method} {route}`" in page(reference)

    def test_each_action_is_described(self):
        """Every action of the Atlas Data API has a row with what it takes, in bold what is needed."""
        described = {
            name: (sorted(re.findall(r"\*\*`(\w+)`\*\*", row["takes"])), sorted(re.findall(r"`(\w+)`", row["takes"])))
            for row in rows(section("docs/from-atlas-data-api.md", "Actions"))
            for name in re.findall(r"`(\w+)`", row["action"])
        }

        everywhere = {"dataSource", "database", "collection"}
        for name, action in atlas.ACTIONS.items():
            needed, taken = ({*action.body.source[key]} - everywhere for key in ("required", "properties"))
            assert described.pop(name) == (sorted(needed), sorted(taken))
        assert described == {}
        assert f"`POST {atlas.ROUTE}`" in page("docs/from-atlas-data-api.md")

    def test_each_status_is_described(self):
        """Every status that an error is answered with has a row."""
        described = {row["status"] for row in rows(section("docs/api.md", "Errors")) if "status" in row}

        assert {str(status) for status, _ in STATUS.values()} <= described

    def test_types_travel_as_described(self):
        """What is sent for a type is answered in the two forms that the table shows."""
        for row in rows(section("docs/api.md", "Types")):
            for value in values(row["send"]):
                assert f"`{extjson.dumps(value)}`" == row["relaxed answer"]
                assert f"`{extjson.dumps(value, mode='canonical')}`" == row["canonical answer"]

    def test_what_strict_json_refuses_is_refused(self):
        """Every example in the table of strict JSON is refused."""
        for row in rows(section("docs/api.md", "Strict JSON")):
            for example in re.findall(r"`([^`]+)`", row["example"]):
                with pytest.raises(ConnectomeError):
                    extjson.loads(example)


class TestLanguages:
    def test_each_has_a_row(self):
        """Every language of snippets stands in the table, marked where its snippets are not executed."""
        described = {row["`--lang`"]: row for row in rows(section("docs/integration.md", "Languages"))}

        assert list(described) == [f"`{name}`" for name in LANGUAGES]
        for name, language in LANGUAGES.items():
            row = described[f"`{name}`"]
            assert row["needs"].strip("`") == language.needs
            assert row["language"].endswith("†") is not language.executed


class TestLinks:
    @pytest.mark.parametrize("name", PAGES)
    def test_each_leads_somewhere(self, name):
        """A link to a page of ours finds the file, and the heading in it."""
        for target in re.findall(r"\]\(([^)]+)\)", page(name)):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / name).parent / path if path else ROOT / name
            assert file.is_file(), target
            assert not anchor or anchor in anchors(file), target


def anchors(file):
    """The anchors that headings get: small letters, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
