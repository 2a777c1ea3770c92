"""
The rows over HTTP: Connectome as it is served, a bare Flask application on the same servers, and json-server.

Each route is asked in as many variants as the questions are, and answers are compared before anything is measured.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.documents import QUESTIONS, VARIANTS, documents
from benchmarks.load import Load, Request, put
from benchmarks.measure import NoFigure
from benchmarks.peers import NODE_MODULES, Peer, dumps, write_lines
from benchmarks.rows import ROUTES

LEAST_SIZE: Final = 10_000
_LARGEST_WITH_CEILING: Final = 10_000
_CONNECTIONS: Final = (8, 64)
_JSON_SERVER: Final = Peer("json-server", "json-server", ("json-server",), node=True)
_ROOT: Final = Path(__file__).parents[1]

Say = Callable[[str], None]
Routes = dict[str, list[Request]]


def measure(
    size: int, home: Path, *, rounds: int, seconds: float = 1, skipped: dict[str, str], say: Say
) -> dict[str, dict[str, dict[str, Any]]]:
    """
    Requests a second and their 99th percentile.

    Args:
        seconds: How long the load on a route lasts, in each round and for each number of connections.
        skipped: Gets who could not be measured, and why.

    Raises:
        NoFigure: Connectome, or the bare application, cannot be served.

    Returns:
        Route → who answers → ``loads``, by number of connections, and ``note``, where there are none.
    """
    say(f"HTTP, {size:,}: importing")
    write_lines(home / "films.ndjson", list(documents(size)))
    data = home / "connectome"
    _connectome("import", "films", str(home / "films.ndjson"), "--data", str(data))
    with ExitStack() as stack:
        servers: dict[str, tuple[str, Routes]] = {}
        routes = _connectome_routes(size, _credentials(data))
        second = home / "second"
        shutil.copytree(data, second)

        url, kind = stack.enter_context(_served(data))
        servers[f"Connectome, {kind}"] = (url, routes)
        answers = home / "answers"
        answers.mkdir()
        expected = _record(url, routes, answers)
        if size <= _LARGEST_WITH_CEILING:
            for other, start in (("granian", _granian), ("waitress", _waitress)):
                if not importlib.util.find_spec(other):
                    skipped[f"Flask on {other}"] = f"{other} is not installed (pip install -e '.[bench]')"
                    continue
                if other != kind:
                    environment = {"CONNECTOME_DATA": str(second)}
                    servers[f"Connectome, {other}"] = (stack.enter_context(start("app:app", environment)), routes)
                bare = {route: [Request(f"/{route}", r.body) for r in sent] for route, sent in routes.items()}
                environment = {"BENCH_ANSWERS": str(answers)}
                servers[f"Flask, {other}"] = (stack.enter_context(start("benchmarks.bare:app", environment)), bare)
        try:
            servers["json-server"] = (stack.enter_context(_json_server(size, home)), _json_server_routes(size))
        except NoFigure as reason:
            skipped["json-server"] = str(reason)

        table: dict[str, dict[str, dict[str, Any]]] = {}
        for route in routes:
            say(f"HTTP, {size:,}: {route}")
            table[route] = _loads(servers, route, expected, rounds, seconds)
        return table


def _loads(
    servers: dict[str, tuple[str, Routes]], route: str, expected: dict[str, list[str]], rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Each server under load, in turn."""
    taken: dict[str, dict[int, list[Load]]] = {}
    notes: dict[str, str] = {}
    for turn in range(rounds):
        for connections in _CONNECTIONS:
            for name, (url, routes) in servers.items():
                if name in notes:
                    continue
                try:
                    if turn == 0 and connections == _CONNECTIONS[0] and route in expected:
                        _require_same(url, routes[route][0], expected[route])
                    done = put(url, routes[route], connections, seconds=seconds)
                    taken.setdefault(name, {}).setdefault(connections, []).append(done)
                except NoFigure as reason:
                    notes[name] = str(reason)
    return {
        name: {
            "note": notes.get(name, ""),
            "loads": {
                str(connections): asdict(Load(median(load.rate for load in loads), median(load.p99 for load in loads)))
                for connections, loads in taken.get(name, {}).items()
                if loads
            },
        }
        for name in servers
    }


def _identities(text: bytes) -> list[str]:
    found = json.loads(text)
    return [document["_id"] for document in (found if isinstance(found, list) else [found])]


def _require_same(url: str, request: Request, expected: list[str]) -> None:
    """Refuse to measure who answers something else."""
    found = _identities(_send(url, request))
    if found != expected:
        raise NoFigure(f"differs: {len(found)} documents, not the {len(expected)} of Connectome")


def _record(url: str, routes: Routes, answers: Path) -> dict[str, list[str]]:
    """Keep Connectome's answer to each route for the bare application, and return the documents in each that reads."""
    expected = {}
    for route, requests in routes.items():
        text = _send(url, requests[0])
        (answers / route).write_bytes(text)
        if route != "create":
            expected[route] = _identities(text)
    return expected


def _send(url: str, request: Request) -> bytes:
    sent = urllib.request.Request(
        url + request.path, request.body or None, {"Content-Type": "application/json"}, method=request.method
    )
    try:
        with urllib.request.urlopen(sent, timeout=30) as response:
            text: bytes = response.read()
            return text
    except OSError as error:
        raise NoFigure(f"{request.method} {request.path}: {error}") from None


def _new_film() -> dict[str, Any]:
    return {name: value for name, value in next(documents(1)).items() if name != "_id"}


def _connectome_routes(size: int, credentials: dict[str, str]) -> Routes:
    path = "/collection/{}/{}/films"
    read, write = path.format("readwithquery", credentials["read"]), path.format("write", credentials["write"])
    routes: Routes = {}
    for name, route in ROUTES.items():
        asked = QUESTIONS[route.question].variants(size) if route.question else [{"find": {"filter": {}}}]
        bodies = [{"query": each["find"].pop("filter"), **each["find"]} for each in asked]
        more = {"limit": route.limit} if route.limit else {}
        routes[name] = [Request(read, dumps({**body, **more})) for body in bodies]
    return {**routes, "create": [Request(write, dumps(_new_film()))]}


def _json_server_routes(size: int) -> Routes:
    def arguments(question: str) -> list[list[Any]]:
        return [QUESTIONS[question].variants(size)[number]["arguments"] for number in range(VARIANTS)]

    def asked(**parameters: Any) -> Request:
        return Request(f"/films?{urlencode(parameters)}")

    return {
        "one": [Request(f"/films/{identity}") for (identity,) in arguments("point")],
        "page": [asked(_limit=10)],
        "filter-limit": [asked(**{"address.city": city, "_limit": 10}) for (city,) in arguments("dotted")],
        "filter-sort-limit": [
            asked(year_gte=year, _sort="amount", _order="desc", _limit=10) for (year,) in arguments("limit")
        ],
        "filter-1pct": [asked(amount_gte=low, amount_lte=high) for low, high in arguments("range")],
        "create": [Request("/films", dumps(_new_film()))],
    }


def _connectome(*arguments: str) -> str:
    run = subprocess.run([sys.executable, "-m", "connectome", *arguments], capture_output=True, text=True, cwd=_ROOT)
    if run.returncode:
        raise NoFigure(f"connectome {arguments[0]}: {run.stderr.strip()}")
    return run.stdout


def _credentials(data: Path) -> dict[str, str]:
    shown = _connectome("credentials", "show", "films", "--data", str(data))
    return dict(re.findall(r"^(read|write)\s+(\S+)", shown, re.MULTILINE))


@contextmanager
def _running(command: list[str], environment: dict[str, str] | None = None) -> Iterator[Callable[[], str]]:
    """A server for the length of a ``with``; what it yields tells what the server has printed so far."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=_ROOT, env={**os.environ, **(environment or {})}
        )

        def printed() -> str:
            text = os.pread(log.fileno(), 100_000, 0).decode()
            if process.poll() is not None:
                raise NoFigure(f"{' '.join(command)} has ended: {text}")
            return text

        try:
            yield printed
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _served(data: Path) -> Iterator[tuple[str, str]]:
    """``connectome serve``, and by which server it does so."""
    with _running([sys.executable, "-m", "connectome", "serve", str(data), "--port", "0"]) as printed:
        while not (found := re.search(r"http://[\d.]+:\d+", printed())):
            time.sleep(0.05)
        _wait_for(found[0], printed)
        with urllib.request.urlopen(found[0] + "/-/health", timeout=10) as response:
            kind = str(response.headers.get("Server", "")).split("/")[0].lower()
        yield found[0], kind if kind in ("granian", "waitress") else "serve"


@contextmanager
def _granian(application: str, environment: dict[str, str]) -> Iterator[str]:
    port = _free_port()
    options = ["--interface", "wsgi", "--workers", "1", "--blocking-threads", "8", "--port", str(port)]
    with _running([sys.executable, "-m", "granian", *options, application], environment) as printed:
        yield _wait_for(f"http://127.0.0.1:{port}", printed)


@contextmanager
def _waitress(application: str, environment: dict[str, str]) -> Iterator[str]:
    port = _free_port()
    with _running([sys.executable, "-m", "benchmarks.on_waitress", application, str(port)], environment) as printed:
        yield _wait_for(f"http://127.0.0.1:{port}", printed)


@contextmanager
def _json_server(size: int, home: Path) -> Iterator[str]:
    if missing := _JSON_SERVER.missing():
        raise NoFigure(missing)
    port = _free_port()
    database = home / "db.json"
    database.write_bytes(dumps({"films": list(documents(size))}))
    program = str(NODE_MODULES / ".bin" / "json-server")
    with _running(
        [program, "--quiet", "--id", "_id", "--host", "127.0.0.1", "--port", str(port), str(database)]
    ) as printed:
        yield _wait_for(f"http://127.0.0.1:{port}", printed)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_for(url: str, printed: Callable[[], str]) -> str:
    """The same URL, once the server answers there, be it with an error."""
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return url
        except urllib.error.HTTPError:
            return url
        except OSError:
            printed()
            if time.monotonic() > until:
                raise NoFigure(f"nobody answers at {url}") from None
            time.sleep(0.05)
