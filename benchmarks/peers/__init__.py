"""
Who is measured: one short module for each kind of peer, and what every one of them offers.

A peer lives in a process of its own, started by ``worker`` for Python and by ``node.mjs`` for Node; ``PEERS`` is what
the rest knows of them.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.documents import Document

dumps: Callable[[Any], bytes]
loads: Callable[[bytes | str], Any]
try:
    from orjson import dumps as dumps
    from orjson import loads as loads
except ImportError:
    loads = json.loads

    def _dumps(value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    dumps = _dumps


class Cannot(Exception):
    """The peer has no such thing; the message says what."""


class Subject(Protocol):
    """
    A peer at work on one collection in a directory.

    Every question ends in the text of a JSON array; every write returns when the peer calls it done.
    """

    def __init__(self, directory: Path) -> None: ...

    def fill(self, documents: Sequence[Document]) -> None:
        """Make a new collection of these documents in the fastest way there is; it is open afterwards."""

    def open(self) -> None:
        """Open in a new process what ``fill`` has left."""

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes | str:
        """Answer a question: its name and arguments, or the same in MongoDB's words."""

    def update(self, code: str) -> None:
        """Add one to ``votes`` where ``code`` is this."""

    def insert(self, document: Document) -> None:
        """Add one document; where the peer allows it, from many threads."""

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        """Add all to a new, empty collection, which has this JSON Schema."""

    def delete(self, low: float, high: float) -> int:
        """Delete where ``amount`` lies from low to below high; return how many went."""

    def close(self) -> None:
        """Let go of the files."""


@dataclass(frozen=True)
class Peer:
    """
    What is known of a peer without starting it.

    name: as the tables show it.
    subject: ``module:Class`` for Python, the name of a class in ``node.mjs`` for Node.
    needs: the Python modules, or the Node packages, without which it is skipped.
    speaks: ``mongodb`` where it takes MongoDB's filters as they are.
    unsafe: why a write that returned may not survive a power cut; empty where it does.
    keeps: whether what is written outlives the process.
    on_disk: its documents are read from the disk for each question, so that they take no memory.
    threads: whether many may insert at the same time.
    writes_only: it answers no questions.
    most: the largest collection at which it is worth its time.
    """

    name: str
    subject: str
    needs: tuple[str, ...] = ()
    speaks: str = "its own"
    unsafe: str = ""
    keeps: bool = True
    on_disk: bool = False
    threads: bool = False
    writes_only: bool = False
    most: int = 1_000_000
    node: bool = False

    def missing(self) -> str:
        """Why it cannot run here; empty where it can."""
        if not self.node:
            absent = [module for module in self.needs if importlib.util.find_spec(module) is None]
            return f"{', '.join(absent)} not installed (pip install -e '.[bench]')" if absent else ""
        if not shutil.which("node"):
            return "Node is not installed"
        absent = [package for package in self.needs if not (NODE_MODULES / package).is_dir()]
        return f"{', '.join(absent)} not installed (npm install in benchmarks/peers)" if absent else ""

    @property
    def embedded_mongodb(self) -> bool:
        """Whether it is what Connectome is compared with first: MongoDB's language, in Python."""
        return self.speaks == "mongodb" and not self.node


NODE_MODULES: Final = Path(__file__).parent / "node_modules"

_REWRITES = "rewrites its file, without fsync"

PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in [
        Peer("hand", "benchmarks.peers.hand:Hand", threads=True),
        Peer("Connectome", "benchmarks.peers.connectome:Connectome", ("connectome",), "mongodb", threads=True),
        Peer("raw", "benchmarks.peers.hand:Raw", threads=True, writes_only=True),
        Peer("TinyDB", "benchmarks.peers.tinydb:Tiny", ("tinydb",), unsafe=_REWRITES, on_disk=True),
        Peer(
            "mongomock",
            "benchmarks.peers.mongo:Mongomock",
            ("mongomock",),
            "mongodb",
            "keeps nothing",
            keeps=False,
            most=10_000,
        ),
        Peer("mongita", "benchmarks.peers.mongo:Mongita", ("mongita",), "mongodb", "writes without fsync", most=10_000),
        Peer(
            "neosqlite",
            "benchmarks.peers.mongo:Neosqlite",
            ("neosqlite",),
            "mongodb",
            "has SQLite sync at checkpoints only",
            on_disk=True,
        ),
        Peer("SQLite", "benchmarks.peers.sqlite:Sqlite", speaks="SQL", threads=True, on_disk=True),
        Peer("SQLite indexed", "benchmarks.peers.sqlite:IndexedSqlite", speaks="SQL", threads=True, on_disk=True),
        Peer("mingo", "Mingo", ("mingo",), "mongodb", "keeps nothing", keeps=False, node=True),
        Peer("LokiJS", "Loki", ("lokijs",), unsafe=_REWRITES, node=True),
        Peer("NeDB", "Nedb", ("@seald-io/nedb",), "mongodb", "appends without fsync", node=True),
    ]
}


def lines(path: Path) -> Iterator[Document]:
    """The documents of a file of one JSON text a line."""
    with path.open("rb") as file:
        for line in file:
            yield loads(line)


def write_lines(path: Path, documents: Sequence[Document]) -> None:
    """Write such a file."""
    with path.open("wb") as file:
        file.writelines(dumps(document) + b"\n" for document in documents)
