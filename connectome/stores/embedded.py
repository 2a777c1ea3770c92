"""
Collections in TinyDB files beside the program: queries are evaluated here, writes happen as a whole or not at all.

A collection is one file, ``<id>.json``, in TinyDB's own format: plain TinyDB reads it once the server has stopped;
``journal`` keeps what was written since.  Its documents live in memory as ``Rows``, which never change.  A write is
evaluated against what is pending, goes to the journal with all others that wait, and is published when it is there: a
reader works on the rows of one moment, waits for nobody, and sees each write wholly or not at all.
"""

from __future__ import annotations

import copy
import gc
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tinydb.table import Table

from connectome import extjson
from connectome.errors import (
    CollectionDamaged,
    ConnectomeError,
    DuplicateKey,
    Failure,
    InvalidJSON,
    InvalidRequest,
    SchemaViolation,
    StoreError,
    StoreFailed,
    at,
)
from connectome.extjson import preview
from connectome.query import Document, Filter, Pipeline, Projection, Value
from connectome.query.deadline import check
from connectome.query.values import index_key
from connectome.schemas import Schema
from connectome.stores import files
from connectome.stores.base import (
    MAX_EXAMPLES,
    NO_GUARD,
    Deleted,
    Example,
    Explanation,
    Find,
    Guard,
    Index,
    Loaded,
    Modified,
    Modify,
    OnDuplicate,
    identified,
)
from connectome.stores.files import Disk, Files
from connectome.stores.indexes import Paths
from connectome.stores.journal import (
    Content,
    Durability,
    JournaledStorage,
    JournalFiles,
    Recovery,
    Tables,
    change,
    line,
)
from connectome.stores.loading import Staged, require_size
from connectome.stores.questions import Selection, answer, demanded_identities, select
from connectome.stores.rows import SEGMENT, Rows

_log = logging.getLogger(__name__)

# Documents by their numbers in the file.
Numbered = dict[int, Document]

# Of a key: nothing is pending.
_PUBLISHED: Final[Any] = object()
SYNC_SECONDS: Final = 1.0
_BACKOFF_SECONDS: Final = 30.0
# So many documents that may refuse a projection are kept, until it is known that all of them take it.
_PROJECTED: Final = 1_000
# After so many questions it is looked at how much memory their columns and indexes take.
_TRIM_EVERY: Final = 32


@dataclass
class _Waiting:
    """
    A write that waits for the journal, and how it ended.

    rows: what there is after it.
    seq, line: the record, as it stands in the journal.
    numbers: by the key of each ``_id`` that it made or removed, the number of its document, or None.
    whole: a new data file keeps it, and no record.
    """

    rows: Rows
    numbers: Mapping[Any, int | None]
    seq: int
    line: bytes
    whole: bool = False
    done: bool = False
    error: StoreError | None = None
    # Each of those who wait for it holds one, and goes on when it is released.
    turns: list[threading.Lock] = field(default_factory=list)


class LiveTable(Table):
    """
    TinyDB's table with its documents in memory.

    ``pending`` is what writers evaluate against, under ``writing``; what readers see follows it as soon as the journal
    holds it.  Those who wait at the same time share one sync: the first of them writes for all.

    Args:
        storage: The files; None where nothing is kept.
        too_long: Whether the journal has grown so long that it should be folded into its data file.
        too_large: Whether so many bytes would make it so long, or are too many to be in memory twice.
        checkpoint_soon: Has ``checkpoint`` called, by another thread.
        max_document_bytes: A larger document, as it is stored, is refused.

    Raises:
        StoreFailed: The files hold what is no table of documents.
    """

    def __init__(
        self,
        storage: JournaledStorage | None,
        *,
        too_long: Callable[[JournaledStorage], bool],
        too_large: Callable[[JournaledStorage, int], bool],
        checkpoint_soon: Callable[[LiveTable], None],
        max_document_bytes: int = 2**24,
    ) -> None:
        self.max_document_bytes = max_document_bytes
        tables: Tables = storage.read() if storage else {}
        super().__init__(storage, "_default", cache_size=0)  # type: ignore[arg-type]  # without files there is none
        self._files = storage
        self._too_long = too_long
        self._too_large = too_large
        self._checkpoint_soon = checkpoint_soon
        self.changed = storage.modified if storage else None
        # Tables that somebody else keeps in the same file stay in it.
        self._others = {name: table for name, table in tables.items() if name != self.name}
        # The number of each published document, by the key of its _id; and what is pending, None where it is removed.
        self._numbers: dict[Any, int] = {}
        self._pending_numbers: dict[Any, int | None] = {}
        self.pending = self._published = self._loaded(
            storage.name if storage else "", tables.get(self.name, {}), adopted=bool(storage and storage.adopted)
        )
        self._last = max(self._numbers.values(), default=0)
        self._seq, self._crc = (storage.state.seq, storage.state.prev) if storage else (0, 0)
        # A power cut may take back what was published: each opening counts versions of its own.
        incarnation = secrets.token_hex(6)
        self._versions = (f"{incarnation}-{each}" for each in count())
        self.version = next(self._versions)
        self._buffer: list[_Waiting] = []
        # The last of those that are being written just now.
        self._flushed: _Waiting | None = None
        self._evaluating = threading.Lock()
        self._flushing = threading.Lock()
        # Whether a thread writes for all who wait, and the lock on who waits for what.
        self._led = False
        self._queueing = threading.Lock()
        self._publishing = threading.Lock()
        self._checkpointing = threading.Lock()
        self._not_before = 0.0
        if storage:
            storage.begin(lambda: self._content(self._published))

    def _loaded(self, file: str, table: Mapping[str, Any], *, adopted: bool) -> Rows:
        """
        The rows of a table as it stands in its file.

        Documents are kept as texts where some of their members can be read without the others.

        Args:
            adopted: The file was edited, and may hold documents without an ``_id``.
        """
        documents: Numbered = {}
        texts: dict[int, bytes] = {}
        written = [row for row in table.values() if type(row) is bytes]
        identities = iter(extjson.members(["_id"])(written)[0])
        for number, row in table.items():
            where = f"{file}, row {number!r}"
            if not (number.isdecimal() and number.isascii()):
                raise CollectionDamaged(f"{where}: the number of a row is a whole number")
            if type(row) is bytes:
                identity = next(identities)
                texts[int(number)] = row
            else:
                document = _document(row, where, adopted=adopted)
                identity = document["_id"]
                if extjson.HAS_MSGSPEC:
                    texts[int(number)] = extjson.encode(document, mode="stored")
                else:
                    documents[int(number)] = document
            key = index_key(identity)
            if key in self._numbers:
                raise CollectionDamaged(f"{where}: its _id, {preview(identity)}, is in the file already")
            self._numbers[key] = int(number)
        return Rows.of(documents, texts)

    def _content(self, rows: Rows) -> Content:
        return Content(rows.texts(), self._others)

    @property
    def rows(self) -> Rows:
        """What is published."""
        return self._published

    @property
    def figures(self) -> Mapping[str, int]:
        """What there is to say of the files, by the names of ``Watched``; nothing where there are none."""
        return self._files.figures if self._files else {}

    def published(self, keys: Iterable[Any]) -> tuple[Rows, list[int]]:
        """What is published, and the numbers of those documents in it whose ``_id`` has one of the keys."""
        with self._publishing:
            return self._published, [self._numbers[key] for key in keys if key in self._numbers]

    def pending_number(self, key: Any) -> int | None:
        """The number of the pending document whose ``_id`` has this key; for whoever is ``writing``."""
        # What is pending first: between the two looks it may be published, and the other way round it would be missed.
        number = self._pending_numbers.get(key, _PUBLISHED)
        return self._numbers.get(key) if number is _PUBLISHED else number

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Evaluate and ``change`` alone; then, outside, wait for what was changed with ``keep``."""
        with self._evaluating:
            if self._files:
                self._files.require_working()
            yield

    def numbered(self, documents: Iterable[Document]) -> Numbered:
        """New rows for documents that are not in the table."""
        fresh = dict(enumerate(documents, self._last + 1))
        self._last += len(fresh)
        return fresh

    def change(self, put: Mapping[int, Document], removed: Mapping[int, Value] = MappingProxyType({})) -> _Waiting:
        """
        Put rows and remove others, as one change that is pending until it is kept.

        Args:
            removed: The ``_id`` of each document to remove, by its number.

        Raises:
            InvalidRequest: ``BSONObjectTooLarge`` -- a document takes more than ``max_document_bytes``.
        """
        record = b""
        texts = self.texts(put)
        self._seq += 1
        if self._files:
            record = line(self._seq, self._crc, self._files.durable, change(texts.items(), list(removed)))
            self._crc = int(record[:8], 16)
        numbers: dict[Any, int | None] = {index_key(identity): None for identity in removed.values()}
        numbers.update((index_key(document["_id"]), number) for number, document in put.items())
        rows = self.pending.changed(put, list(removed), texts=texts if self._files and extjson.HAS_MSGSPEC else {})
        return self._pend(_Waiting(rows, numbers, self._seq, record))

    def texts(self, put: Mapping[int, Document]) -> dict[int, bytes]:
        """
        Rows as they would stand in the journal.

        Raises:
            InvalidRequest: ``BSONObjectTooLarge`` -- a document takes more than ``max_document_bytes``.
        """
        texts = {number: extjson.encode(document, mode="stored") for number, document in put.items()}
        for number, text in texts.items():
            require_size(text, put[number], self.max_document_bytes)
        return texts

    def _pend(self, waiting: _Waiting) -> _Waiting:
        self.pending = waiting.rows
        with self._publishing:
            self._pending_numbers.update(waiting.numbers)
        self._buffer.append(waiting)
        return waiting

    def keeps_whole(self, staged: Staged) -> bool:
        """Whether a new data file is the better way to keep documents: else they are a record in the journal."""
        return self._files is None or self._too_large(self._files, staged.bytes)

    @contextmanager
    def rewriting(self) -> Iterator[None]:
        """``load`` whole and ``keep`` that, while no checkpoint writes another data file."""
        with self._checkpointing:
            yield

    def load(self, staged: Staged, replaced: Mapping[int, int], *, whole: bool) -> _Waiting | None:
        """
        Put staged documents, and those that replace others, as one change that is pending until it is kept.

        Args:
            replaced: The number of each document that is replaced → the place of the one that replaces it.
            whole: A new data file shall keep them, and ``rewriting`` goes on until it has.
        """
        if not staged.places and not replaced:
            return self.latest
        first = self._last + 1
        if not whole:
            put = {number: staged.document(place) for number, place in replaced.items()}
            return self.change({**put, **self.numbered(map(staged.document, staged.places.values()))})
        rows = self.pending
        # Neighbours are in the same segments, which are copied for each chunk.
        ordered = sorted(replaced.items())
        for start in range(0, len(ordered), SEGMENT):
            put = {number: staged.document(place) for number, place in ordered[start : start + SEGMENT]}
            texts = {number: staged.kept[place] for number, place in ordered[start : start + SEGMENT]}
            rows = rows.changed(put, texts=texts if extjson.HAS_MSGSPEC else {})
        fresh = [staged.kept[place] for place in staged.places.values()]
        self._last += len(fresh)
        rows = rows.followed_by(first, fresh, as_texts=extjson.HAS_MSGSPEC)
        # The same dict, which is as large as it has to be.
        numbers = staged.places
        for number, key in enumerate(numbers, first):
            numbers[key] = number
        return self._pend(_Waiting(rows, numbers, self._seq, b"", whole=True))

    def keep(self, waiting: _Waiting | None) -> None:
        """
        Return when a change is kept and published.

        Raises:
            NoSpace, StoreFailed: It was not kept, or, of the latter, it is not known whether; it is not published.
        """
        if waiting is None:
            return
        # Once is enough, but where a change that goes alone stands before this one.
        while not waiting.done:
            turn = threading.Lock()
            with self._queueing:
                leads = not self._led and not waiting.done
                if leads:
                    self._led = True
                elif not waiting.done:
                    turn.acquire()
                    waiting.turns.append(turn)
            # Where somebody else leads: until it is kept, or until it is this thread's turn to lead.
            with turn:
                if leads or not waiting.done:
                    self._lead()
        if waiting.error:
            raise copy.copy(waiting.error)
        if self._files and self._too_long(self._files) and time.monotonic() >= self._not_before:
            self._not_before = float("inf")
            self._checkpoint_soon(self)

    def _lead(self) -> None:
        """Keep everything that waits now, wake those who wait for it, and let one of the others go on."""
        ended: Sequence[_Waiting] = ()
        try:
            with self._flushing:
                ended = self._flush()
        finally:
            with self._queueing:
                turns = [turn for each in ended for turn in each.turns]
                # Of those that came meanwhile one leads next; whoever is not there yet will find that nobody does.
                next_one = next((each for each in list(self._buffer) if each.turns), None)
                if next_one:
                    turns.append(next_one.turns.pop(0))
                self._led = next_one is not None
            for turn in turns:
                turn.release()

    def _flush(self) -> Sequence[_Waiting]:
        """Write everything that waits, with one sync; what is kept, or given up, then."""
        with self._evaluating:
            # What a new data file keeps goes alone, after all that was evaluated before it.
            before = next((place for place, each in enumerate(self._buffer) if each.whole), len(self._buffer))
            batch, self._buffer = self._buffer[: before or 1], self._buffer[before or 1 :]
            self._flushed = batch[-1]
        try:
            if self._files and before:
                self._files.commit([each.line for each in batch], batch[-1].seq)
            elif self._files:
                self._files.commit_whole(self._content(batch[-1].rows))
        except StoreError as error:
            return self._give_up(batch, error)
        with self._publishing:
            self._published = batch[-1].rows
            for each in batch:
                for key, number in each.numbers.items():
                    if number is None:
                        self._numbers.pop(key, None)
                    else:
                        self._numbers[key] = number
                    if self._pending_numbers.get(key) == number:
                        self._pending_numbers.pop(key, None)
            if not self._pending_numbers:
                # A dict from which everything was taken is still as large as it once had to be.
                self._pending_numbers = {}
        # After the rows: what is read under a version is what it names, or newer.
        self.version = next(self._versions)
        self.changed = datetime.now(UTC)
        for each in batch:
            each.done = True
        self._flushed = None
        return batch

    def _give_up(self, batch: list[_Waiting], error: StoreError) -> Sequence[_Waiting]:
        """Undo a batch, and whatever was evaluated on top of it since."""
        assert self._files
        with self._evaluating:
            ended = [*batch, *self._buffer]
            for each in ended:
                each.done, each.error = True, error
            self._buffer, self._flushed = [], None
            self.pending = self._published
            self._seq, self._crc = self._files.state.seq, self._files.state.prev
            with self._publishing:
                self._pending_numbers.clear()
        return ended

    @property
    def latest(self) -> _Waiting | None:
        """The write that was evaluated last, where it still waits: what a write that changes nothing stands on."""
        return self._buffer[-1] if self._buffer else self._flushed

    def abandon(self) -> None:
        """Let go of the files, which are about to be removed; nothing more is kept."""
        with self._checkpointing, self._flushing:
            if self._files:
                self._files.close()

    def sync(self) -> None:
        """Have the disk keep what the journal holds."""
        if self._files:
            with self._flushing:
                self._files.sync()

    def checkpoint(self) -> None:
        """
        Write the data file anew, and begin a new journal; readers never wait, writers only for the latter.

        Raises:
            NoSpace, StoreFailed: The old files go on.
        """
        if not self._files:
            return
        with self._checkpointing:
            self._not_before = time.monotonic() + _BACKOFF_SECONDS
            with self._flushing:
                meta = self._files.start_journal()
                rows = self._published
            self._files.checkpoint(meta, self._content(rows))
            self._not_before = 0.0

    def close(self) -> None:
        """Keep everything, write the data file where a journal holds more, and let go of the files."""
        if not self._files:
            return
        if self._files.behind and not self._files.failed:
            try:
                self.checkpoint()
            except StoreError as error:
                _log.warning("the journal is kept, since its checkpoint failed: %s", error.detail)
        self._files.close()

    @property
    def size(self) -> int:
        """Bytes in the data file and its journal."""
        return self._files.file_bytes + self._files.journal_bytes if self._files else 0


def _document(row: Any, where: str, *, adopted: bool) -> Document:
    """The document in a row of a file that was edited, or of a journal."""
    if type(row) is dict and adopted and "_id" not in row:
        row = identified(row)
    if type(row) is not dict or "_id" not in row:
        raise CollectionDamaged(f"{where}: a row is a document with an _id, not {preview(row)}")
    try:
        document: Document = extjson.from_json(row)
    except InvalidJSON as error:
        raise CollectionDamaged(f"{where}, at {error.pointer}: {error.detail}") from None
    return document


class EmbeddedCollection:
    """The documents of one collection; any number of threads may call it."""

    def __init__(self, table: LiveTable, schema: Schema | None = None, *, cache_bytes: int = 2**28) -> None:
        self._schema = schema
        self._table = table
        self._paths = Paths(budget_bytes=cache_bytes)
        self._asked = 0

    @property
    def size(self) -> int:
        return self._table.size

    @property
    def changed(self) -> datetime | None:
        return self._table.changed

    @property
    def version(self) -> str:
        return self._table.version

    def set_schema(self, schema: Schema | None, *, satisfied: bool = False) -> None:
        with self._table.writing():
            for document in self._table.pending if schema and not satisfied else ():
                _require(schema, document)
            self._schema = schema

    @property
    def figures(self) -> Mapping[str, int]:
        return {"index_bytes": sum(self._table.rows.column_bytes().values()), **self._table.figures}

    def find(self, find: Find) -> Iterator[Document]:
        return _projected(find.projection, self._found(find))

    def encoded(self, find: Find) -> Iterator[bytes]:
        found = self._found(find)
        if not find.projection.source:
            return found.texts()
        kept = find.projection.kept
        if kept is not None and extjson.HAS_MSGSPEC:
            return found.texts(extjson.keeping(kept))
        return map(extjson.encode, _projected(find.projection, found))

    def explain(self, find: Find) -> Explanation:
        started = time.perf_counter()
        found = self._found(find)
        return Explanation(found.stage, found.path, found.examined, len(found), time.perf_counter() - started)

    def _found(self, find: Find) -> Selection:
        """The documents that a question asks for, projection apart."""
        keys = demanded_identities(find.filter)
        if keys is None:
            self._trim_sometimes()
            return answer(self._table.rows, find, self._paths)
        rows, numbers = self._table.published(keys)
        return answer(rows, find, self._paths, numbers)

    def _trim_sometimes(self) -> None:
        self._asked += 1
        if self._asked % _TRIM_EVERY == 0:
            self._table.rows.trim(self._paths)

    def indexes(self) -> list[Index]:
        sizes = self._table.rows.column_bytes()
        pinned = self._paths.pinned
        found = [Index(path, path in pinned, self._paths.uses(path), sizes.get(path, 0)) for path in {*sizes, *pinned}]
        return sorted(found, key=lambda index: (not index.pinned, index.path))

    def pin(self, paths: Iterable[str]) -> None:
        wanted = frozenset(paths)
        for path in self._paths.pinned - wanted:
            self._paths.forget(path)
            self._table.rows.forget(path)
        self._paths.pinned = wanted

    def count(self, filter: Filter) -> int:
        return len(self._found(Find(filter)))

    def aggregate(self, pipeline: Pipeline) -> Iterator[Document]:
        lead = pipeline.lead
        find = Find(lead.filter, sort=lead.sort, skip=lead.skip, limit=lead.limit)
        if pipeline.counted:
            # No document need be decoded to be counted.
            return iter(pipeline.counted.of(len(self._found(find))))
        return pipeline.after_lead(self._found(find).each(pipeline.fields))

    def insert_one(self, document: Document) -> Value:
        return self._insert([((), document)])[0]

    def insert_many(self, documents: Sequence[Document]) -> list[Value]:
        return self._insert([((position,), document) for position, document in enumerate(documents)])

    def _insert(self, placed: Sequence[tuple[tuple[int, ...], Document]]) -> list[Value]:
        with self._table.writing():
            admitted = self._admitted(placed)
            waiting = self._table.change(self._table.numbered(admitted)) if admitted else self._table.latest
        self._table.keep(waiting)
        return [document["_id"] for document in admitted]

    def load(self, documents: Iterable[Document], *, on_duplicate: OnDuplicate = "stop") -> Loaded:
        staged = Staged(documents, on_duplicate, self._schema, self._table.max_document_bytes)
        whole = self._table.keeps_whole(staged)
        with self._table.rewriting() if whole else nullcontext():
            with self._table.writing():
                staged.require(self._schema)
                replaced, loaded = staged.settle(self._table.pending_number)
                waiting = self._table.load(staged, replaced, whole=whole)
            self._table.keep(waiting)
        return loaded

    def _admitted(self, placed: Sequence[tuple[tuple[int, ...], Document]]) -> list[Document]:
        """New documents as they will be kept, each given with its place in the request; or the first refusal."""
        admitted: list[Document] = []
        keys: set[Any] = set()
        failures: list[Failure] = []
        try:
            for place, document in placed:
                document = identified(document)
                key = index_key(document["_id"])
                if key in keys or self._table.pending_number(key) is not None:
                    raise DuplicateKey(f"_id {preview(document['_id'])} is taken", pointer="/_id")
                admitted.append(document)
                keys.add(key)
                if self._schema:
                    failures += self._schema.failures(extjson.to_json(document), *place)
        except ConnectomeError:
            with at(*place):
                raise
        if failures:
            raise SchemaViolation(failures)
        return admitted

    def sync(self) -> None:
        self._table.sync()

    def update(self, modify: Modify, guard: Guard = NO_GUARD) -> Modified:
        with self._table.writing():
            changed, modified = self._evaluated(modify)
            guard.check(len(changed))
            if guard.dry_run:
                self._table.texts(changed)  # which refuses what is too large to be kept
            waiting = self._table.change(changed) if changed and not guard.dry_run else self._table.latest
        self._table.keep(waiting)
        return modified

    def _matched(self, filter: Filter, *, stop: int = 0) -> Selection:
        """What a change is about: the documents that match now, those included that are not published yet."""
        keys = demanded_identities(filter)
        numbers = None
        if keys is not None:
            numbers = [number for key in keys if (number := self._table.pending_number(key)) is not None]
        return select(self._table.pending, filter, self._paths, numbers=numbers, stop=stop)

    def _evaluated(self, modify: Modify) -> tuple[Numbered, Modified]:
        """What an update puts, and what it says of it."""
        chosen = list(self._matched(modify.filter, stop=0 if modify.multi else 1).numbered())
        if not chosen and modify.upsert:
            document = self._upserted(modify)
            return self._table.numbered([document]), Modified(0, 0, upserted=document, examples=[(None, document)])

        changed: Numbered = {}
        examples: list[Example] = []
        for number, document in chosen:
            check()
            after = modify.update.apply(document, modify.filter)
            if after is not document:
                _require(self._schema, after)
                changed[number] = after
                if len(examples) < MAX_EXAMPLES:
                    examples.append((document, after))
        return changed, Modified(len(chosen), len(changed), examples=examples)

    def _upserted(self, modify: Modify) -> Document:
        """What the update makes of the filter; what is refused has no place of its own in the request."""
        document = modify.update.insert(modify.filter)
        if modify.new_id is not None and "_id" not in document:
            document = {"_id": modify.new_id, **document}
        try:
            return self._admitted([((), document)])[0]
        except (DuplicateKey, InvalidRequest) as error:
            error.pointer = None
            raise

    def delete_one(self, filter: Filter) -> Deleted:
        return self._delete(filter, NO_GUARD, stop=1)

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        return self._delete(filter, guard)

    def _delete(self, filter: Filter, guard: Guard, *, stop: int = 0) -> Deleted:
        with self._table.writing():
            matched = self._matched(filter, stop=stop)
            removed = matched.identities()
            examples = list(islice(matched.each(), MAX_EXAMPLES))
            guard.check(len(removed))
            waiting = self._table.change({}, removed) if removed and not guard.dry_run else self._table.latest
        self._table.keep(waiting)
        return Deleted(len(removed), [(document, None) for document in examples])


def _projected(projection: Projection, found: Selection) -> Iterator[Document]:
    """
    What a projection makes of what was found, one by one.

    Whatever a document refuses it refuses now: of an answer that has begun nothing can be taken back.  What is not
    kept for it is made a second time.
    """
    if not projection.may_fail:
        return map(projection, found.each())
    each = found.each()
    first = list(map(projection, islice(each, _PROJECTED)))
    for position, document in enumerate(each):
        if not position % 100:
            check()
        projection(document)
    if len(first) < _PROJECTED:
        return iter(first)
    return chain(first, map(projection, islice(found.each(), _PROJECTED, None)))


def _require(schema: Schema | None, document: Document) -> None:
    if schema and (failures := schema.failures(extjson.to_json(document))):
        raise SchemaViolation(failures, document_id=document["_id"])


class FileLedger:
    """A record in a JSON file, replaced as a whole, with a checksum that tells decay from what was written."""

    def __init__(self, disk: Files, path: Path) -> None:
        self.name = path.name
        self._disk = disk
        self._path = path

    def load(self) -> dict[str, Any]:
        with files.disk_errors(f"reading {self.name}"):
            content = self._disk.read(self._path)
        if content is None:
            return {}
        try:
            record = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise StoreFailed(f"{self.name} is not the JSON that was written there: {error}") from error
        if type(record) is not dict:
            raise StoreFailed(f"{self.name} should hold a JSON object, and holds {preview(record)}")
        checksum = record.pop(_CHECKSUM, None)
        if checksum not in (None, _checksum(record)):
            raise StoreFailed(
                f"{self.name} does not have the checksum that it names: it is damaged, or was edited; whoever edits it "
                f"removes the line {_CHECKSUM!r}"
            )
        return record

    def save(self, record: dict[str, Any]) -> None:
        signed = {**record, _CHECKSUM: _checksum(record)}
        content = json.dumps(signed, ensure_ascii=False, indent=2) + "\n"
        with files.disk_errors(f"writing {self.name}"):
            files.replace(self._disk, self._path, content.encode())

    def changed(self) -> bool:
        return False  # one process holds the directory


def ledger_path(directory: Path, name: str) -> Path:
    """Where a record is kept: under a name that no collection's id can be."""
    return directory / f"connectome.{name}.json"


class MemoryLedger:
    """A record that is kept for as long as the process lives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._record: dict[str, Any] = {}

    def load(self) -> dict[str, Any]:
        return self._record

    def save(self, record: dict[str, Any]) -> None:
        self._record = record

    def changed(self) -> bool:
        return False


# A key that no collection's id can be.
_CHECKSUM: Final = "connectome.sha256"


def _checksum(record: dict[str, Any]) -> str:
    return sha256(json.dumps(record, ensure_ascii=False).encode()).hexdigest()


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Load documents, which are no garbage, without the collector's looking through them again and again."""
    was_working = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_working:
            gc.enable()


class EmbeddedStore:
    """
    A data directory: the files of each collection, and the ledgers beside them under names no collection can have.

    Args:
        holder: What the lock says of this process to others, such as the URL that it serves.
        durability: When a write is synced, see docs/durability.md; ``"memory"`` keeps no documents at all.
        checkpoint_writes, checkpoint_bytes: A journal of more records than this, or of more bytes than this and than
            its data file, is folded into the file.
        cache_bytes: How much memory the columns, indexes and encoded documents of one collection may take.
        max_document_bytes: A larger document, as JSON, is refused.
        load_bytes: What is loaded and is longer than this is kept by a new data file, without a record in memory.
        disk: The file system.

    Raises:
        StoreLocked, StoreFailed: The directory cannot be had.
    """

    name = "embedded"
    shared = False

    def __init__(
        self,
        directory: Path,
        *,
        holder: str = "",
        durability: Durability = "full",
        checkpoint_writes: int = 100_000,
        checkpoint_bytes: int = 2**20,
        cache_bytes: int = 2**28,
        max_document_bytes: int = 2**24,
        load_bytes: int = 2**24,
        disk: Files | None = None,
    ) -> None:
        self._load_bytes = load_bytes
        self._directory = directory
        self.place = str(directory)
        self._durability = durability
        self._checkpoint_writes = checkpoint_writes
        self._checkpoint_bytes = checkpoint_bytes
        self._cache_bytes = cache_bytes
        self._max_document_bytes = max_document_bytes
        self._disk = disk or Disk()
        self._tables: dict[str, LiveTable] = {}
        with files.disk_errors(f"making the data directory {directory}"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = files.DirectoryLock(directory, says=holder)
        try:
            with files.disk_errors(f"tidying {directory}"):
                for name in self._disk.names(directory):
                    if name.endswith(".tmp"):
                        self._disk.unlink(directory / name)
        except StoreError:
            self._lock.release()
            raise
        self._background = ThreadPoolExecutor(1, thread_name_prefix="connectome-checkpoint")
        self._closing = threading.Event()
        self._syncing = threading.Thread(target=self._sync_often, name="connectome-sync", daemon=True)
        if durability == "interval":
            self._syncing.start()

    def schema(self, source: Any) -> Schema:
        return Schema(source)

    def _sync_often(self) -> None:
        while not self._closing.wait(SYNC_SECONDS):
            for table in list(self._tables.values()):
                try:
                    table.sync()
                except StoreError as error:
                    _log.error("%s", error.detail)

    def _files_of(self, name: str) -> JournalFiles:
        return JournalFiles(self._disk, self._directory / f"{name}.json")

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> EmbeddedCollection:
        storage = None
        if self._durability != "memory":
            with _collector_at_rest():
                storage = JournaledStorage(self._files_of(name), new=new, durability=self._durability)
        with _collector_at_rest():
            table = LiveTable(
                storage,
                too_long=self._is_too_long,
                too_large=self._is_too_large,
                checkpoint_soon=self._checkpoint_soon,
                max_document_bytes=self._max_document_bytes,
            )
        self._tables[name] = table
        return EmbeddedCollection(table, schema, cache_bytes=self._cache_bytes)

    def _is_too_long(self, storage: JournaledStorage) -> bool:
        return storage.records >= self._checkpoint_writes or storage.journal_bytes > max(
            self._checkpoint_bytes, storage.file_bytes
        )

    def _is_too_large(self, storage: JournaledStorage, size: int) -> bool:
        return size > min(max(self._checkpoint_bytes, storage.file_bytes), self._load_bytes)

    def _checkpoint_soon(self, table: LiveTable) -> None:
        def checkpoint() -> None:
            try:
                table.checkpoint()
            except StoreError as error:
                _log.warning("a checkpoint failed, and the journal goes on: %s", error.detail)

        if not self._closing.is_set():
            self._background.submit(checkpoint)

    def holds(self, name: str) -> bool:
        own = self._files_of(name)
        with files.disk_errors(f"reading {name}.json"):
            # Journals without a file are what a crash left of a collection that was made, or dropped, just then.
            if self._disk.read(own.path) is None:
                return False
        try:
            return any(Recovery(own).read().state.tables.values())
        except CollectionDamaged:
            return True

    def drop(self, name: str) -> None:
        table = self._tables.pop(name, None)
        if table is not None:  # an empty table is false to Python
            table.abandon()
        with files.disk_errors(f"removing {name}.json"):
            self._files_of(name).remove()

    def ledger(self, name: str) -> FileLedger | MemoryLedger:
        if self._durability == "memory" and name != "administrator":
            return MemoryLedger(name)
        return FileLedger(self._disk, ledger_path(self._directory, name))

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._background.shutdown()
        if self._durability == "interval":
            self._syncing.join()
        for table in self._tables.values():
            table.close()
        self._lock.release()
