"""
Every snippet, run as it stands against a server by the tool of its language.

A language whose tool is not on this machine is reported as not executed here, with what is missing.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from connectome.web.api import OPERATIONS
from connectome.web.snippets import AUTHS, LANGUAGES, Auth, Request, render, to_operation

# Where ``npm install axios typescript @types/node`` was run.
NODE_MODULES = Path(os.environ.get("CONNECTOME_TEST_NODE_MODULES", "node_modules")).absolute()
# Debian's librust-…-dev packages put the sources of crates here, which serve as a registry.
CRATES = Path("/usr/share/cargo/registry")
Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Tool:
    """
    What runs the snippets of a language.

    name: what has to be installed.
    probe: a shell command that succeeds where it is.
    file: what a snippet is saved as.
    steps: commands in the directory of the file; the last one runs the snippet, those before it compile.
    beside: other files of the directory.
    """

    name: str
    probe: str
    file: str
    steps: tuple[str, ...]
    beside: tuple[tuple[str, str], ...] = ()


def shell(name: str, program: str) -> Tool:
    return Tool(name, f"{program} --version", "example.sh", ("sh example.sh",))


def python(*modules: str) -> Tool:
    interpreter = shlex.quote(sys.executable)
    probe = f"{interpreter} -W ignore -c 'import {', '.join(modules or ('json',))}'"
    return Tool(f"Python's {' and '.join(modules)}", probe, "example.py", (f"{interpreter} example.py",))


def npm(*packages: str) -> str:
    return " && ".join(f"test -d {shlex.quote(str(NODE_MODULES / package))}" for package in packages)


NODE: Final = Tool("node", "node -e 'fetch'", "example.mjs", ("node example.mjs",))
CARGO: Final = (
    (
        "Cargo.toml",
        '[package]\nname = "example"\nversion = "0.1.0"\nedition = "2021"\n'
        '[dependencies]\nureq = { version = "2", default-features = false }\n',
    ),
    (".cargo/config.toml", f'[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "{CRATES}"\n'),
)
TYPESCRIPT: Final = "node node_modules/typescript/bin/tsc --strict --target es2022 --module nodenext --types node"

TOOLS: Final = {
    "curl": shell("curl", "curl"),
    "httpie": shell("HTTPie", "http"),
    "wget": shell("GNU wget", "wget"),
    "python-requests": python("requests"),
    "python-httpx": python("httpx"),
    "python-urllib": python(),
    "python-pandas": python("pandas", "requests"),
    "javascript": NODE,
    "node": NODE,
    "axios": replace(NODE, name="npm's axios", probe=npm("axios")),
    "typescript": Tool(
        "npm's typescript and @types/node",
        npm("typescript", "@types/node"),
        "example.mts",
        (f"{TYPESCRIPT} example.mts", "node example.mjs"),
    ),
    "go": Tool("go", "go version", "main.go", ("go run main.go",)),
    "java": Tool("a JDK of 17 or newer", "java --list-modules | grep jdk.compiler@", "Main.java", ("java Main.java",)),
    "kotlin": Tool(
        "kotlinc",
        "kotlinc -version",
        "Main.kt",
        ("kotlinc Main.kt -include-runtime -d main.jar", "java -jar main.jar"),
    ),
    "csharp": Tool(
        "mono with mcs",
        "mcs --version && mono --version",
        "Program.cs",
        ("mcs -r:System.Net.Http.dll -main:Entry -out:Program.exe Program.cs Entry.cs", "mono Program.exe"),
        # mono's compiler is older than an asynchronous Main.
        (("Entry.cs", "class Entry { static void Main() { Program.Main().GetAwaiter().GetResult(); } }"),),
    ),
    "php": Tool(
        "php with curl", "php -r 'exit((int) !extension_loaded(\"curl\"));'", "example.php", ("php example.php",)
    ),
    "ruby": Tool("ruby", "ruby --version", "example.rb", ("ruby example.rb",)),
    "r": Tool("R's httr2", "Rscript -e 'library(httr2)'", "example.R", ("Rscript example.R",)),
    "rust": Tool(
        "cargo with the crate ureq 2",
        f"cargo --version && ls -d {CRATES}/ureq-2.*",
        "src/main.rs",
        ("cargo run --quiet --offline",),
        CARGO,
    ),
}


@cache
def there(tool: Tool) -> bool:
    return subprocess.run(["sh", "-c", tool.probe], capture_output=True).returncode == 0


@pytest.fixture
def run(
    language: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Request], subprocess.CompletedProcess[str]]:
    """Runs the snippet of a request in the language of the test."""
    tool = TOOLS[language]
    if not there(tool):
        pytest.skip(f"snippets in {language} are not executed here: {tool.name} is missing")
    directory = workshop(language, tmp_path_factory)

    def run(request: Request) -> Ended:
        (directory / tool.file).write_text(render(language, request), encoding="utf-8")
        *compiling, running = tool.steps
        for step in compiling:
            done = step_of(step, directory)
            assert done.returncode == 0, done.stdout + done.stderr
        return step_of(running, directory)

    return run


WORKSHOPS: dict[str, Path] = {}


def workshop(language: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the snippets of a language are run, for the whole session: compilers keep things there."""
    if language not in WORKSHOPS:
        WORKSHOPS[language] = directory = tmp_path_factory.mktemp(language)
        for name, content in TOOLS[language].beside:
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(content)
        (directory / TOOLS[language].file).parent.mkdir(exist_ok=True)
        if NODE_MODULES.is_dir():
            (directory / "node_modules").symlink_to(NODE_MODULES)
    return WORKSHOPS[language]


def step_of(command: str, directory: Path) -> Ended:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env={**environment, "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )


EXECUTED: Final = pytest.mark.parametrize("language", TOOLS)
FILM: Final = {"title": 'It’s "é" $5 \\n', "amount": 7}
BODIES: Final[dict[str, Any]] = {
    "readwithquery": {"query": {"amount": {"$gte": 30}}, "project": {"_id": 0}, "sort": {"amount": 1}, "limit": 10},
    "read": None,
    "write": FILM,
    "batchwrite": [FILM, {}],
    "updatewithupsert": {"search query": {"title": "Movie ABC"}, "data": {"$inc": {"amount": 1}}, "upsert": True},
    "batchdelete": {"title": "Movie ABC"},
}
ABC = {"amount": 10, "title": "Movie ABC"}
BDD = {"amount": 100, "title": "Movie BDD"}
XYZ = {"amount": 39, "title": "Movie XYZ"}
# What is printed, and which documents are there afterwards.
EFFECTS: Final[dict[str, tuple[str, list[Any]]]] = {
    "readwithquery": (r"Movie XYZ[\s\S]*Movie BDD", [ABC, BDD, XYZ]),
    "read": (r"Movie ABC[\s\S]*Movie BDD[\s\S]*Movie XYZ", [ABC, BDD, XYZ]),
    "write": ("insertedId", [ABC, BDD, XYZ, FILM]),
    "batchwrite": ("insertedCount", [ABC, BDD, XYZ, FILM, {}]),
    "updatewithupsert": ("matchedCount", [{**ABC, "amount": 11}, BDD, XYZ]),
    "batchdelete": ("deletedCount", [BDD, XYZ]),
}


# One road to the operations is enough: what a snippet sends is the same on each.
@pytest.mark.parametrize("server", ["express"], indirect=True)
class TestOperations:
    @pytest.mark.parametrize(("auth", "operation"), [*zip(AUTHS * 3, OPERATIONS, strict=True)])
    @EXECUTED
    def test_a_snippet_does_what_its_request_says(self, language, auth, operation, run, collection):
        """Pasted and run, it reads or changes what it should, prints the answer, and ends well."""
        printed, documents = EFFECTS[operation]

        ended = run(request_for(collection, operation, auth, BODIES[operation]))

        assert (ended.returncode, ended.stderr) == (0, "")
        assert re.search(printed, ended.stdout)
        assert collection.documents == documents

    @EXECUTED
    def test_a_snippet_fails_where_the_server_refuses(self, language, run, collection):
        """An answer that is no success is none to the program either: it says so, and its exit status too."""
        ended = run(
            request_for(collection, "updatewithupsert", "header", {"search query": {"title": "none"}, "data": {}})
        )

        assert ended.returncode != 0
        assert "404" in ended.stdout + ended.stderr


def request_for(collection: Any, operation: str, auth: Auth, body: Any) -> Request:
    return to_operation(
        collection.server.url,
        collection.id,
        OPERATIONS[operation].method,
        operation,
        collection.credential(operation),
        auth=auth,
        body=body,
    )


def test_every_language_is_executed_or_says_that_it_is_not():
    """The page says of a language that it was not run exactly where there is no tool to run it."""
    assert {name for name, language in LANGUAGES.items() if language.executed} == set(TOOLS)


# Bodies.  All of them travel in one array, so that a language compiles one program.

NASTY: Final = json.loads(Path(__file__).with_name("nasty.json").read_text(encoding="utf-8"))


def invented(seed: int) -> list[Any]:
    """Documents put together at random, the same for a seed."""
    chance = random.Random(seed)

    def text() -> str:
        return "".join(chance.choice(NASTY["texts"]) for _ in range(chance.randrange(4)))

    def value(depth: int) -> Any:
        kind = chance.randrange(6 if depth else 4)
        if kind == 4:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        if kind == 5:
            return {text(): value(depth - 1) for _ in range(chance.randrange(4))}
        return text() if kind < 3 else chance.choice(NASTY["values"])

    return [{text(): value(3) for _ in range(chance.randrange(1, 5))} for _ in range(60)]


DOCUMENTS: Final = [
    *({text: text} for text in [*NASTY["texts"], "x" * 300]),
    *({"value": value} for value in NASTY["values"]),
    *invented(7),
]


class Recorder(ThreadingHTTPServer):
    """A server that keeps the requests that come, and answers each with an empty array."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Keeping)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.came: list[tuple[str, str, dict[str, str], str]] = []


class Keeping(BaseHTTPRequestHandler):
    server: Recorder

    def keep(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers.get(name, "") for name in ("Authorization", "Content-Type")}
        self.server.came.append((self.command, self.path, headers, body.decode()))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    do_GET = do_POST = do_DELETE = keep  # noqa: N815 -- http.server calls them so

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as recorder:
        threading.Thread(target=recorder.serve_forever, daemon=True).start()
        yield recorder
        recorder.shutdown()


class TestBodies:
    @pytest.mark.parametrize(
        ("language", "exact"),
        [
            *((language, True) for language in TOOLS),
            *((language, False) for language in TOOLS if not LANGUAGES[language].exact(DOCUMENTS)),
        ],
    )
    def test_what_is_received_is_what_was_meant(self, language, exact, run, recorder):
        """Whatever stands in a body, key or value, arrives as it is: text, order of keys, and kinds of numbers."""
        spoken = LANGUAGES[language]
        documents = [each for each in DOCUMENTS if spoken.exact(each)] if exact else DOCUMENTS

        ended = run(Request("DELETE", f"{recorder.url}/a", documents, token="cw_1"))

        assert ended.returncode == 0, ended.stdout + ended.stderr
        ((method, path, headers, body),) = recorder.came
        assert (method, path, headers["Authorization"]) == ("DELETE", "/a", "Bearer cw_1")
        assert re.fullmatch("application/json(; ?charset=utf-8)?", headers["Content-Type"], re.IGNORECASE)
        received = json.loads(body)
        assert len(received) == len(documents)
        for came, meant in zip(received, documents, strict=True):
            assert told_apart(came) == told_apart(meant)


def told_apart(value: Any) -> str:
    """A value as text that shows the order of keys, 1 apart from 1.0 and from true, and 0.0 from -0.0."""
    return json.dumps(value)
