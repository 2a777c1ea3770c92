"""SQLite's JSON functions, by hand: each question in SQL, each write synced (WAL, synchronous=FULL)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.documents import Document
from benchmarks.peers import Cannot, dumps

_AMOUNT: Final = "json_extract(body, '$.amount')"
_YEAR: Final = "json_extract(body, '$.year')"
_TITLE: Final = "json_extract(body, '$.title')"
_CITY: Final = "json_extract(body, '$.address.city')"
_CODE: Final = "json_extract(body, '$.code')"

_ALL: Final = "SELECT body FROM films"
_SQL: Final = {
    "range": f"{_ALL} WHERE {_AMOUNT} >= ? AND {_AMOUNT} < ?",
    "half": f"{_ALL} WHERE {_AMOUNT} >= ?",
    "compound": f"{_ALL} WHERE {_YEAR} >= ? AND json_extract(body, '$.rating') > ?"
    f" AND json_extract(body, '$.language') <> ? AND {_CITY} IN ({','.join('?' * 20)})"
    " AND json_extract(body, '$.votes') < ?",
    "member": f"{_ALL} WHERE EXISTS (SELECT 1 FROM json_each(body, '$.genres') WHERE value = ?)",
    "dotted": f"{_ALL} WHERE {_CITY} = ?",
    "cast": f"{_ALL} WHERE EXISTS (SELECT 1 FROM json_each(body, '$.cast') WHERE json_extract(value, '$.role') = ?)",
    "prefix": f"{_ALL} WHERE {_TITLE} >= ? AND {_TITLE} < ?",
    "limit": f"{_ALL} WHERE {_YEAR} >= ? ORDER BY {_AMOUNT} DESC LIMIT 10",
    "sort": f"{_ALL} ORDER BY {_AMOUNT}",
    "keys": f"{_ALL} ORDER BY {_YEAR} DESC, {_AMOUNT}",
    "projection": f"SELECT json_object('_id', id, 'title', {_TITLE}, 'amount', {_AMOUNT}) FROM films",
    "point": f"{_ALL} WHERE id = ?",
}


def _rows(documents: Sequence[Document]) -> list[tuple[str, str]]:
    return [(document["_id"], dumps(document).decode()) for document in documents]


class Sqlite:
    """A table of ``_id`` and JSON text; a connection for each thread."""

    indexes: tuple[str, ...] = ()

    def __init__(self, directory: Path) -> None:
        self._path = directory / "films.sqlite"
        self._connections = threading.local()

    @property
    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._connections, "own"):
            self._connections.own = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            self._connections.own.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        connection: sqlite3.Connection = self._connections.own
        return connection

    def _table(self, name: str) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {name}")
        self._connection.execute(f"CREATE TABLE {name} (id TEXT PRIMARY KEY, body TEXT NOT NULL)")

    def _insert_many(self, name: str, documents: Sequence[Document]) -> None:
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", _rows(documents))

    def fill(self, documents: Sequence[Document]) -> None:
        self._table("films")
        self._insert_many("films", documents)
        for path in self.indexes:
            self._connection.execute(f"CREATE INDEX [{path}] ON films ({path})")

    def open(self) -> None:
        self._connection.execute("SELECT 1 FROM films LIMIT 1").fetchone()

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> str:
        match question:
            case "compound":
                *first, cities, votes = arguments
                arguments = [*first, *cities, votes]
            case "prefix":
                arguments = [arguments[0], arguments[0] + "\U0010ffff"]
        return f"[{','.join([row[0] for row in self._connection.execute(_SQL[question], arguments)])}]"

    def update(self, code: str) -> None:
        self._connection.execute(
            f"UPDATE films SET body = json_set(body, '$.votes', json_extract(body, '$.votes') + 1) WHERE {_CODE} = ?",
            (code,),
        )

    def insert(self, document: Document) -> None:
        self._connection.execute("INSERT INTO films VALUES (?, ?)", (document["_id"], dumps(document).decode()))

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        if schema:
            raise Cannot("no schemas")
        self._table("batch")
        self._insert_many("batch", documents)

    def delete(self, low: float, high: float) -> int:
        deletion = f"DELETE FROM films WHERE {_AMOUNT} >= ? AND {_AMOUNT} < ?"
        return self._connection.execute(deletion, (low, high)).rowcount

    def close(self) -> None:
        self._connection.close()


class IndexedSqlite(Sqlite):
    """The same, with an index on each path that SQLite can index: not those through arrays."""

    indexes = (_AMOUNT, _YEAR, _TITLE, _CITY, _CODE)
