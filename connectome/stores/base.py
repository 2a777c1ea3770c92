"""What every store offers, and the requests it answers.  No HTTP, no files here."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NoReturn, Protocol, runtime_checkable

from bson import Regex

from connectome.errors import InvalidRequest, QueryError, StoreError, TooManyAffected, at
from connectome.extjson import preview
from connectome.query import Document, Filter, Pipeline, Projection, Sort, Update, Value
from connectome.query.clock import new_id
from connectome.query.paths import is_plain, parse_field_path
from connectome.schemas import Schema


@dataclass(frozen=True)
class Find:
    """
    A question.

    skip, limit: whole numbers, not negative; a limit of 0 is none.
    """

    filter: Filter = Filter({})
    projection: Projection = Projection({})
    sort: Sort = Sort({})
    skip: int = 0
    limit: int = 0


@dataclass(frozen=True)
class Modify:
    """
    A change of documents that are there, or, with ``upsert``, of the one that should be.

    multi: every document that matches; else the first in natural order.
    new_id: the ``_id`` of a document that is created, where neither filter nor update fixes one; None for a 24-hex
        string.
    """

    filter: Filter
    update: Update
    upsert: bool = False
    multi: bool = True
    new_id: Value = None

    def __post_init__(self) -> None:
        """
        Refuse an upsert by what fixes no values.

        Raises:
            QueryError: ``QueryFeatureNotAllowed`` -- with ``upsert``, the filter has ``$expr``.
        """
        if self.upsert and "$expr" in self.filter.operators:
            raise QueryError(
                "$expr cannot stand in the filter of an upsert: what it would create could not be told",
                code="QueryFeatureNotAllowed",
            )


@dataclass(frozen=True)
class Guard:
    """
    What keeps a change of many documents from going too far.

    dry_run: find out what would happen, and change nothing.
    max_affected: refuse to change or delete more documents than this; None where there is no such bound.
    """

    dry_run: bool = False
    max_affected: int | None = None

    def check(self, affected: int) -> None:
        """
        Refuse what goes too far.

        Raises:
            TooManyAffected: More documents would change than ``max_affected``.
        """
        if self.max_affected is not None and affected > self.max_affected:
            raise TooManyAffected(
                f"{affected} document{'s' * (affected != 1)} would change, and the request allows {self.max_affected}: nothing was changed"
            )


NO_GUARD: Final = Guard()


@dataclass(frozen=True)
class Explanation:
    """
    How a question was answered, in the words of MongoDB's ``explain``.

    stage: ``IDHACK`` (by ``_id``), ``IXSCAN`` (by an index), ``COLLSCAN`` (every document was looked at).
    path: the path of the index; None where none was used.
    examined, returned: how many documents were looked at, and how many the answer holds.
    seconds: how long it took.
    """

    stage: str
    path: str | None
    examined: int
    returned: int
    seconds: float


# A document before and after; None where there was none, or is none any more.
Example = tuple[Document | None, Document | None]
MAX_EXAMPLES: Final = 3


@dataclass(frozen=True)
class Modified:
    """
    What an update did, or, in a dry run, would do.

    matched: documents that the filter found.
    modified: those of them in which something changed.
    upserted: the document that was created, or None.
    examples: up to three of the changes.
    """

    matched: int
    modified: int
    upserted: Document | None = None
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class Deleted:
    """
    What a deletion did, or, in a dry run, would do.

    deleted: how many documents matched.
    examples: up to three of them.
    """

    deleted: int
    examples: Sequence[Example] = ()


# What becomes of a new document whose ``_id`` is taken: nothing at all is kept, or not that one, or it in place of the
# other.
OnDuplicate = Literal["stop", "skip", "replace"]


@dataclass(frozen=True)
class Loaded:
    """
    What became of documents that were loaded: each is one of these.

    inserted: they are new.
    skipped: their ``_id`` was taken, by a document that was there or by an earlier one of the load.
    replaced: they are in the place of such a document.
    """

    inserted: int
    skipped: int = 0
    replaced: int = 0


@dataclass(frozen=True)
class Index:
    """
    What a collection keeps of one path, so that it need not look at every document.

    pinned: the owner wants it; else it was made since it was asked for, and goes when memory is short.
    uses: how many questions were about the path since the store was opened.
    bytes: about how much memory it takes; 0 where it is not made yet.
    """

    path: str
    pinned: bool
    uses: int
    bytes: int


class Reader(Protocol):
    """What a read credential yields: no method here writes."""

    def find(self, find: Find) -> Iterator[Document]:
        """
        The documents that the question asks for; they are shared and never to be changed.

        They are those of one moment, made one by one as they are taken.  What is wrong with the question is raised
        before the first.
        """

    def encoded(self, find: Find) -> Iterator[bytes]:
        """The same documents, each as relaxed Extended JSON in UTF-8: what ``extjson.dumps`` writes."""

    def explain(self, find: Find) -> Explanation:
        """Answer the question, and say how."""

    def count(self, filter: Filter) -> int:
        """How many documents match."""

    def aggregate(self, pipeline: Pipeline) -> Iterator[Document]:
        """
        What the stages of a pipeline make of the documents.

        Raises:
            QueryError: A stage is not done by this store, or meets a value that it cannot take.
        """

    @property
    def version(self) -> str | None:
        """
        A name for what can be read now: another one after each write, and never again for anything else, not after
        a restart and not of another collection.  None where nobody can say.

        What is read afterwards is that, or newer.
        """


class Writer(Protocol):
    """What a write credential yields.  Every call happens as a whole or not at all."""

    def insert_one(self, document: Document) -> Value:
        """Keep one new document; as ``insert_many``, with pointers from the document on."""

    def insert_many(self, documents: Sequence[Document]) -> list[Value]:
        """
        Keep new documents.

        Returns:
            Their ``_id``, in order; a 24-hex string is made where there was none.

        Raises:
            DuplicateKey, SchemaViolation, InvalidRequest: With the pointer from the position of the document on.
        """

    def update(self, modify: Modify, guard: Guard = NO_GUARD) -> Modified:
        """
        Change documents.

        Raises:
            TooManyAffected: The guard forbids it.
            UpdateError: One of the documents refuses the update.
            DuplicateKey: An upsert would create an ``_id`` that is taken.
            SchemaViolation: A document would no longer satisfy the schema.
        """

    def delete_one(self, filter: Filter) -> Deleted:
        """Remove the first document, in natural order, that matches."""

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        """
        Remove every document that matches.

        Raises:
            TooManyAffected: The guard forbids it.
        """


class Collection(Reader, Writer, Protocol):
    """The documents of one collection."""

    def load(self, documents: Iterable[Document], *, on_duplicate: OnDuplicate = "stop") -> Loaded:
        """
        Keep new documents, however many, as a whole or not at all; nobody waits while they are read.

        Args:
            documents: They may be made one by one: no more of them is in memory than the store itself keeps there.
                Whatever is raised while they are made leaves nothing of them.

        Raises:
            DuplicateKey, SchemaViolation, InvalidRequest: With the pointer from the position of the document on; of
                a schema's failures the first hundred.
        """

    def set_schema(self, schema: Schema | None, *, satisfied: bool = False) -> None:
        """
        Demand a schema of every document from now on; None lifts it.

        Args:
            satisfied: The documents that are there are known to satisfy it, and are not looked at.

        Raises:
            SchemaViolation: Documents that are there do not satisfy it; the old one stays.
        """

    def indexes(self) -> list[Index]:
        """The columns and indexes that are there, those of pinned paths first."""

    def pin(self, paths: Iterable[str]) -> None:
        """Keep indexes of exactly these paths, whatever is asked and however short memory is."""

    def sync(self) -> None:
        """Have the disk keep everything that was written so far, whatever the durability."""

    @property
    def size(self) -> int:
        """Bytes that the documents take where they are kept."""

    @property
    def changed(self) -> datetime | None:
        """
        When a document was written last; None where nobody knows.

        Of a collection that was not written since the server started: when its files were, which may be later.
        """


@runtime_checkable
class Watched(Protocol):
    """A collection that has more to say of its state than how many documents it holds."""

    @property
    def figures(self) -> Mapping[str, int]:
        """
        What an operator watches, by name.

        journal_bytes, journal_writes: what was written since the last checkpoint.
        checkpoints: how many there were since the collection was made.
        index_bytes: about how much memory columns and indexes take.
        failed: 1 where a write has failed, so that the collection only reads until the server starts again.
        torn: 1 where a write that a crash had cut was set aside when the server started.
        """


class Barred:
    """A collection whose files are damaged, or cannot be had: it answers nothing but that, and takes nothing."""

    size = 0
    changed = version = None

    def __init__(self, error: StoreError) -> None:
        self._error = error

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise copy.copy(self._error)

    find = encoded = explain = count = aggregate = _refuse
    insert_one = insert_many = load = update = delete_one = delete_many = _refuse
    set_schema = indexes = pin = sync = _refuse


class Ledger(Protocol):
    """
    A small record that is read and written whole, such as the catalog of collections.

    name: where it is kept, for whoever has to look.
    """

    name: str

    def load(self) -> dict[str, Any]:
        """What was saved last; empty at first."""

    def save(self, record: dict[str, Any]) -> None:
        """
        Keep a record in place of the last one: wholly, or not at all.

        Raises:
            LedgerChanged: Another process saved one since this ledger loaded or saved last.
        """

    def changed(self) -> bool:
        """Whether another process saved a record since this ledger loaded or saved last."""


class Store(Protocol):
    """
    A place for collections.

    name: the kind of store.
    place: where it is, for people: no password stands in it.
    shared: other processes may change it at the same time; what ``collection`` gives finds the documents by name.
    """

    name: str
    place: str
    shared: bool

    def schema(self, source: Any) -> Schema:
        """
        A compiled schema that this store can have documents satisfy.

        Raises:
            InvalidRequest: ``InvalidSchema`` -- no schema, or one that it cannot enforce.
        """

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> Collection:
        """
        The collection of this name, whose documents are known to satisfy ``schema``; or a ``new`` one.

        Raises:
            CollectionDamaged: What is kept of it is not what was written.
        """

    def holds(self, name: str) -> bool:
        """Whether there is anything under this name, be it a collection of ours or not."""

    def drop(self, name: str) -> None:
        """Remove a collection and its documents."""

    def ledger(self, name: str) -> Ledger:
        """The record of this name, readable by the owner of the store alone."""

    def close(self) -> None:
        """Write what is not written yet, and let go of the place."""


def index_path(path: str) -> str:
    """
    A path of which there can be an index.

    Raises:
        InvalidRequest: ``BadValue`` -- it names no field, or has a part that could be a position.
    """
    try:
        parts = parse_field_path(path)
    except QueryError as error:
        raise InvalidRequest(error.detail, pointer=None) from None
    if not is_plain(parts):
        raise InvalidRequest(f"an index is of a path without positions, not {preview(path)}", pointer=None)
    return path


def identified(document: Document) -> Document:
    """
    A document as it is kept: ``_id`` first, as MongoDB puts it, and made where there is none.

    Raises:
        InvalidRequest: ``InvalidIdField`` -- an ``_id`` that cannot be one: an array or a regular expression;
            ``DollarPrefixedFieldName`` -- it is a document with a field whose name starts with ``$``.
    """
    if "_id" not in document:
        return {"_id": new_id(), **document}
    identity = document["_id"]
    if type(identity) in (list, Regex):
        with at("_id"):
            raise InvalidRequest(
                f"_id may be any value but an array or a regular expression, not {preview(identity)}",
                code="InvalidIdField",
            )
    if type(identity) is dict:
        with at("_id"):
            _require_plain_names(identity)
    return document if next(iter(document)) == "_id" else {"_id": identity, **document}


def _require_plain_names(value: Value) -> None:
    """Refuse a name that starts with ``$`` anywhere in a value, but those of a DBRef."""
    members = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for name, below in members:
        with at(name):
            if str(name).startswith("$") and name not in ("$ref", "$id", "$db"):
                raise InvalidRequest(
                    f"a name in an _id does not start with '$': {name!r}", code="DollarPrefixedFieldName"
                )
            _require_plain_names(below)
