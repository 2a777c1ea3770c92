"""
Collections in TinyDB files beside the program: queries are evaluated here, writes happen as a whole or not at all.

A collection is one file, ``<id>.json``, in TinyDB's own format: plain TinyDB reads it once the server has stopped.
While it runs, its documents live in memory.  They are never changed in place: a write makes a new mapping and
publishes it when the file holds it, so that a reader works on a snapshot, waits for nobody, and sees each write
wholly or not at all.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tinydb import Storage
from tinydb.table import Table

from connectome import extjson
from connectome.errors import (
    DuplicateKey,
    Failure,
    InvalidJSON,
    InvalidRequest,
    OutcomeUnknown,
    SchemaViolation,
    StoreFailed,
    at,
)
from connectome.extjson import preview
from connectome.query import Document, Filter, Value, sort_key
from connectome.query.values import SortKey
from connectome.schemas import Schema
from connectome.stores import files
from connectome.stores.base import (
    MAX_EXAMPLES,
    NO_GUARD,
    Deleted,
    Example,
    Find,
    Guard,
    Modified,
    Modify,
    identified,
)

Rows = dict[int, Document]


class WholeFileStorage(Storage):
    """
    A TinyDB storage that replaces its file, where TinyDB's own overwrites it and can leave half of it.

    Raises:
        StoreFailed, NoSpace: From each call; the file is as it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]] | None:
        with files.disk_errors(f"reading {self.path.name}"):
            if not self.path.exists():
                return None
            content = self.path.read_bytes()
        return _parsed(self.path, content)

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        files.replace(self.path, json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


class LiveTable(Table):
    """
    TinyDB's table with its documents in memory: it hands the storage what changed, and publishes it after.

    Raises:
        StoreFailed: The file holds what is no table of documents.
    """

    def __init__(self, storage: WholeFileStorage) -> None:
        super().__init__(storage, "_default", cache_size=0)
        # Tables that somebody else keeps in the same file stay in it.
        self._tables = storage.read() or {}
        self.rows = _rows(storage.path.name, self._tables.get(self.name, {}))
        self._last = max(self.rows, default=0)
        self._failed: OutcomeUnknown | None = None

    def numbered(self, documents: Iterable[Document]) -> Rows:
        """New rows for documents that are not in the table."""
        rows = dict(enumerate(documents, self._last + 1))
        self._last = max(rows, default=self._last)
        return rows

    def commit(self, put: Mapping[int, Document], *, removed: Iterable[int] = ()) -> None:
        """
        Keep rows and remove others, as one change.

        Raises:
            StoreFailed, NoSpace: Nothing was changed.
            OutcomeUnknown: Nor is anything changed any more: no later write could be believed.
        """
        if self._failed:
            raise StoreFailed(f"the collection only reads since a write failed: {self._failed.detail}")
        rows = {**self.rows, **put}
        for number in removed:
            del rows[number]
        stored = {str(number): extjson.to_json(row, mode="stored") for number, row in rows.items()}
        try:
            self._storage.write({**self._tables, self.name: stored})
        except OutcomeUnknown as error:
            self._failed = error
            raise
        self.rows = rows


def _rows(file: str, table: Any) -> Rows:
    """The documents of a table as it stands in its file."""
    if type(table) is not dict:
        raise StoreFailed(f"{file}: a table is an object of rows, not {preview(table)}")
    rows: Rows = {}
    identities: set[SortKey] = set()
    for number, row in table.items():
        where = f"{file}, row {number!r}"
        if not (number.isdecimal() and number.isascii()):
            raise StoreFailed(f"{where}: the number of a row is a whole number")
        if type(row) is not dict or "_id" not in row:
            raise StoreFailed(f"{where}: a row is a document with an _id, not {preview(row)}")
        try:
            document = extjson.from_json(row)
        except InvalidJSON as error:
            raise StoreFailed(f"{where}, at {error.pointer}: {error.detail}") from None
        identity = sort_key(document["_id"])
        if identity in identities:
            raise StoreFailed(f"{where}: its _id, {preview(document['_id'])}, is in the file already")
        identities.add(identity)
        rows[int(number)] = document
    return rows


class EmbeddedCollection:
    """The documents of one collection; any number of threads may call it."""

    def __init__(self, path: Path, schema: Schema | None = None) -> None:
        self._schema = schema
        self._path = path
        self._table = LiveTable(WholeFileStorage(path))
        self._writing = threading.Lock()
        self._number_of: dict[Any, int] = {
            sort_key(document["_id"]): number for number, document in self._table.rows.items()
        }

    @property
    def size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def set_schema(self, schema: Schema | None, *, satisfied: bool = False) -> None:
        with self._writing:
            for document in self._table.rows.values() if schema and not satisfied else ():
                _require(schema, document)
            self._schema = schema

    def find(self, find: Find) -> Iterator[Document]:
        documents = find.filter.select(self._table.rows.values())
        stop = find.skip + find.limit if find.limit else None
        if find.sort.source:
            documents = find.sort(documents, limit=stop or 0)
        return map(find.projection, documents[find.skip : stop])

    def count(self, filter: Filter) -> int:
        return len(filter.select(self._table.rows.values()))

    def insert_one(self, document: Document) -> Value:
        with self._writing:
            admitted = self._admitted([((), document)])
            self._keep(admitted)
            return admitted[0]["_id"]

    def insert_many(self, documents: Sequence[Document]) -> list[Value]:
        with self._writing:
            admitted = self._admitted([((position,), document) for position, document in enumerate(documents)])
            self._keep(admitted)
            return [document["_id"] for document in admitted]

    def _admitted(self, placed: Sequence[tuple[tuple[int, ...], Document]]) -> list[Document]:
        """New documents as they will be kept, each given with its place in the request; or the first refusal."""
        admitted: list[Document] = []
        keys: set[SortKey] = set()
        failures: list[Failure] = []
        for place, document in placed:
            with at(*place):
                document = identified(document)
                key = sort_key(document["_id"])
                if key in self._number_of or key in keys:
                    raise DuplicateKey(f"_id {preview(document['_id'])} is taken", pointer="/_id")
            admitted.append(document)
            keys.add(key)
            if self._schema:
                failures += self._schema.failures(extjson.to_json(document), *place)
        if failures:
            raise SchemaViolation(failures)
        return admitted

    def _keep(self, admitted: list[Document]) -> None:
        if admitted:
            rows = self._table.numbered(admitted)
            self._table.commit(rows)
            self._number_of.update((sort_key(document["_id"]), number) for number, document in rows.items())

    def update(self, modify: Modify, guard: Guard = NO_GUARD) -> Modified:
        with self._writing:
            matches = modify.filter.matches
            found = (row for row in self._table.rows.items() if matches(row[1]))
            chosen = list(found if modify.multi else islice(found, 1))
            if not chosen and modify.upsert:
                return self._upsert(modify, guard)

            changed: Rows = {}
            examples: list[Example] = []
            for number, document in chosen:
                after = modify.update.apply(document, modify.filter)
                if after is not document:
                    _require(self._schema, after)
                    changed[number] = after
                    if len(examples) < MAX_EXAMPLES:
                        examples.append((document, after))
            guard.check(len(changed))
            if changed and not guard.dry_run:
                self._table.commit(changed)
            return Modified(len(chosen), len(changed), examples=examples)

    def _upsert(self, modify: Modify, guard: Guard) -> Modified:
        """Insert what the update makes of the filter; what is refused has no place of its own in the request."""
        try:
            admitted = self._admitted([((), modify.update.insert(modify.filter))])
        except (DuplicateKey, InvalidRequest) as error:
            error.pointer = None
            raise
        guard.check(1)
        if not guard.dry_run:
            self._keep(admitted)
        return Modified(0, 0, upserted=admitted[0], examples=[(None, admitted[0])])

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        with self._writing:
            matches = filter.matches
            removed = {number: document for number, document in self._table.rows.items() if matches(document)}
            guard.check(len(removed))
            if removed and not guard.dry_run:
                self._table.commit({}, removed=removed)
                for document in removed.values():
                    del self._number_of[sort_key(document["_id"])]
            return Deleted(len(removed), [(document, None) for document in islice(removed.values(), MAX_EXAMPLES)])


def _require(schema: Schema | None, document: Document) -> None:
    if schema and (failures := schema.failures(extjson.to_json(document))):
        raise SchemaViolation(failures, document_id=document["_id"])


class FileLedger:
    """A record in a JSON file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def load(self) -> dict[str, Any]:
        with files.disk_errors(f"reading {self._path.name}"):
            if not self._path.exists():
                return {}
            content = self._path.read_bytes()
        return _parsed(self._path, content)

    def save(self, record: dict[str, Any]) -> None:
        content = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
        files.replace(self._path, content.encode())


class EmbeddedStore:
    """A data directory: a file per collection, and the ledgers beside them under names no collection can have."""

    name = "embedded"

    def __init__(self, directory: Path, *, holder: str = "") -> None:
        with files.disk_errors(f"making the data directory {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._lock = files.DirectoryLock(directory, says=holder)

    def collection(self, name: str, schema: Schema | None) -> EmbeddedCollection:
        return EmbeddedCollection(self._directory / f"{name}.json", schema)

    def holds(self, name: str) -> bool:
        return any((WholeFileStorage(self._directory / f"{name}.json").read() or {}).values())

    def drop(self, name: str) -> None:
        files.remove(self._directory / f"{name}.json")

    def ledger(self, name: str) -> FileLedger:
        return FileLedger(self._directory / f"connectome.{name}.json")

    def close(self) -> None:
        self._lock.release()


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreFailed(f"{path.name} is not the JSON that was written there: {error}") from error
    if type(record) is not dict:
        raise StoreFailed(f"{path.name} should hold a JSON object, and holds {preview(record)}")
    return record
