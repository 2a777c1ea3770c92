"""
What can be done: the catalog of collections, their credentials, their schemas.

Which credential opens which side of which collection is decided here and nowhere else: a read credential yields a
``Reader``, a write credential a ``Writer``.  The command line, the web and the tests stand on this one class.
"""

from __future__ import annotations

import difflib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal

from connectome import archives
from connectome.errors import (
    CollectionExists,
    ConnectomeError,
    Forbidden,
    InvalidRequest,
    NoSuchCollection,
    OutcomeUnknown,
    StoreError,
    StoreFailed,
    Unauthorized,
    at,
)
from connectome.extjson import preview
from connectome.query import Document, Filter
from connectome.schemas import Schema
from connectome.stores import Barred, Collection, Find, Index, Ledger, Reader, Store, Writer, index_path

Role = Literal["read", "write"]
ROLES: Final[tuple[Role, ...]] = ("read", "write")

_log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What stands in a URL as it is.  A lone "-" there means "see the Authorization header".
_CREDENTIAL: Final = re.compile(r"(?!-$)[A-Za-z0-9._~-]{1,256}")
_PREFIX: Final[dict[Role, str]] = {"read": "cr_", "write": "cw_"}


@dataclass(frozen=True)
class Credentials:
    """
    The two keys of a collection.

    digests: what ``same_secret`` would compare of each, taken once.
    """

    read: str
    write: str
    digests: dict[Role, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digests", {role: _digest(self.of(role)) for role in ROLES})

    @classmethod
    def new(cls) -> Credentials:
        """Two fresh ones, of 192 random bits each."""
        return cls(*(_PREFIX[role] + secrets.token_urlsafe(24) for role in ROLES))

    def of(self, role: Role) -> str:
        """The one for this role."""
        return self.read if role == "read" else self.write


@dataclass(frozen=True)
class _Entry:
    """One collection, as the catalog has it; never changed in place."""

    id: str
    title: str
    created: str
    credentials: Credentials
    collection: Collection
    schema: Schema | None = None
    pinned: tuple[str, ...] = ()


class Service:
    """
    The collections of one store.

    Raises:
        StoreFailed: The catalog, or a collection in it, cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.ledger("catalog")
        self._keys = store.ledger("credentials")
        self._changing = threading.Lock()
        keys = _checked(self._keys, _KEYS)
        self._entries: dict[str, _Entry] = {}
        catalog = _checked(self._catalog, _CATALOG)
        # Collections that were dropped, and whose files may still be there.
        self._dropped: set[str] = set(catalog.pop(_DROPPED, ()))
        for name, entry in catalog.items():
            if name not in keys:
                raise StoreFailed(f"{self._catalog.name} names the collection {name!r}, and {self._keys.name} does not")
            schema = _stored_schema(self._catalog, name, entry["schema"])
            collection: Collection
            try:
                collection = store.collection(name, schema)
                collection.pin(entry.get("indexes", ()))
            except StoreError as error:
                _log.error("the collection %s is barred: %s", name, getattr(error, "damage", error.detail))
                collection = Barred(error)
            self._entries[name] = _Entry(
                name,
                entry["title"],
                entry["created"],
                Credentials(**keys[name]),
                collection,
                schema,
                tuple(entry.get("indexes", ())),
            )
        self._remove_dropped()
        # Compared with where there is no such collection, so that the answer takes the same work.
        self._nobody = Credentials.new()

    @property
    def store(self) -> str:
        """The kind of store."""
        return self._store.name

    @property
    def place(self) -> str:
        """Where the store is, for people."""
        return self._store.place

    def reader(self, credential: str, collection: str) -> Reader:
        """
        The reading side of a collection.

        Raises:
            Unauthorized: The credential is not valid for this collection, or there is none of this name.
            Forbidden: It is the write credential.
        """
        return self._open(credential, collection, "read")

    def writer(self, credential: str, collection: str) -> Writer:
        """
        The writing side of a collection.

        Raises:
            Unauthorized: The credential is not valid for this collection, or there is none of this name.
            Forbidden: It is the read credential.
        """
        return self._open(credential, collection, "write")

    def _open(self, credential: str, collection: str, role: Role) -> Collection:
        entry = self._entries.get(collection)
        keys = entry.credentials if entry else self._nobody
        given = _digest(credential)
        valid_for = [role for role, digest in keys.digests.items() if hmac.compare_digest(given, digest)]
        if not entry or not valid_for:
            raise Unauthorized("the credential is not valid for this collection")
        if role not in valid_for:
            raise Forbidden(f"this operation needs the {role} credential, and this is the {valid_for[0]} credential")
        return entry.collection

    def collections(self) -> list[dict[str, Any]]:
        """A description of every collection, in the order in which they were created."""
        return [_description(entry) for entry in self._entries.values()]

    def describe(self, collection: str) -> dict[str, Any]:
        """
        One collection: id, title, created, count of documents (None where it is damaged), size in bytes, schema,
        credentials.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        return _description(self._entry(collection))

    def collection(self, collection: str) -> Collection:
        """
        Both sides of a collection, for its owner, who needs no credential.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        return self._entry(collection).collection

    def first_documents(self, collection: str, count: int) -> list[Document]:
        """
        The first documents of a collection, up to ``count``; they are shared and never to be changed.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        return list(self.collection(collection).find(Find(limit=count)))

    def __contains__(self, collection: object) -> bool:
        """Whether there is a collection of this id."""
        return collection in self._entries

    def _entry(self, collection: str) -> _Entry:
        entry = self._entries.get(collection)
        if not entry:
            nearest = difflib.get_close_matches(collection, self._entries, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise NoSuchCollection(f"there is no collection {collection!r}{hint}")
        return entry

    def create(
        self,
        *,
        id: str | None = None,
        title: str | None = None,
        schema: Any = None,
        credentials: dict[str, str] | None = None,
        documents: Sequence[Document] = (),
    ) -> dict[str, Any]:
        """
        Make a collection, with its first documents where there are any.

        Args:
            id: ``[A-Za-z0-9_-]{1,64}``; one is made where it is not given.
            title: For people; the id where it is not given.
            schema: A JSON Schema that every document satisfies.
            credentials: ``read`` and ``write`` where the owner fixes them; made where not.

        Returns:
            Its description.

        Raises:
            CollectionExists: The id is taken, or one that differs in case alone.
            InvalidRequest: An id, a credential or a schema that cannot be one.
        """
        name = secrets.token_hex(6) if id is None else id
        with at("id"):
            if not _ID.fullmatch(name):
                raise InvalidRequest(f"an id has 1 to 64 letters, digits, '_' and '-', and {preview(name)} does not")
        with at("title"):
            _require_text(title or "")
        with at("credentials"):
            keys = _fixed_or_new(credentials or {})
        with at("schema"):
            compiled = None if schema is None else self._store.schema(schema)
        with self._changing:
            for taken in self._entries:
                # Two names that differ in case alone are one file where the file system does not tell them apart.
                if taken.lower() == name.lower():
                    raise CollectionExists(f"the id {taken!r} is taken")
            if name in self._dropped:
                # First the catalog: while an older one might still name it, its files stay.
                self._catalog.save(self._catalog_record(self._entries))
                self._remove_dropped()
            if self._store.holds(name):
                raise CollectionExists(
                    f"the store holds something under the id {name!r} that is no collection here: "
                    "move it away, then import it"
                )
            collection = self._store.collection(name, compiled, new=True)
            try:
                collection.insert_many(documents)
                collection.sync()  # the catalog, which is synced, must not name what is not
            except ConnectomeError:
                self._store.drop(name)
                raise
            created = datetime.now(UTC).isoformat(timespec="seconds")
            entry = _Entry(name, name if title is None else title, created, keys, collection, compiled)
            try:
                self._keep({**self._entries, name: entry})
            except OutcomeUnknown:
                # The catalog on the disk may name it: its files must be there when it is read back.
                raise
            except StoreError:
                self._store.drop(name)
                raise
            return _description(entry)

    def change(self, collection: str, changes: dict[str, Any]) -> dict[str, Any]:
        """
        Change the title, or the schema, of a collection.

        Args:
            changes: ``title``; ``schema``, None to lift it.  Nothing else changes.

        Raises:
            NoSuchCollection: There is none of this name.
            InvalidRequest: Not a schema.
            SchemaViolation: Documents that are there do not satisfy it.
        """
        with self._changing:
            entry = self._entry(collection)
            if "title" in changes:
                with at("title"):
                    _require_text(changes["title"])
                entry = replace(entry, title=changes["title"])
            if "schema" in changes:
                with at("schema"):
                    compiled = None if changes["schema"] is None else self._store.schema(changes["schema"])
                entry.collection.set_schema(compiled)
                entry = replace(entry, schema=compiled)
            try:
                self._keep({**self._entries, collection: entry})
            except StoreError:
                entry.collection.set_schema(self._entries[collection].schema, satisfied=True)
                raise
            return _description(entry)

    def drop(self, collection: str) -> None:
        """
        Remove a collection, its documents and its credentials.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        with self._changing:
            self._entry(collection)
            self._dropped.add(collection)
            try:
                self._keep({name: entry for name, entry in self._entries.items() if name != collection})
            except OutcomeUnknown:
                raise
            except StoreError:
                self._dropped.discard(collection)
                raise
            self._remove_dropped()

    def _remove_dropped(self) -> None:
        """Remove the files of dropped collections; what cannot be removed is remembered, and tried again."""
        if not self._dropped:
            return
        try:
            for name in sorted(self._dropped):
                self._store.drop(name)
                self._dropped.discard(name)
            self._catalog.save(self._catalog_record(self._entries))
        except StoreError as error:
            _log.warning("files of dropped collections are still on disk: %s", error.detail)

    def rotate(self, collection: str, role: Role) -> str:
        """
        Replace a credential by a fresh one; the old one stops at once.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        with self._changing:
            entry = self._entry(collection)
            fresh = Credentials.new().of(role)
            keys = Credentials(**{each: fresh if each == role else entry.credentials.of(each) for each in ROLES})
            self._keep({**self._entries, collection: replace(entry, credentials=keys)})
            return fresh

    def indexes(self, collection: str) -> list[Index]:
        """
        The columns and indexes of a collection, those of pinned paths first.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        return self._entry(collection).collection.indexes()

    def pin(self, collection: str, path: str) -> Index:
        """
        Keep an index of a path, whatever is asked and however short memory is.

        Raises:
            NoSuchCollection: There is none of this name.
            InvalidRequest: There can be no index of this path.
        """
        self._pin(collection, lambda pinned: (*(each for each in pinned if each != path), index_path(path)))
        return next(index for index in self.indexes(collection) if index.path == path)

    def unpin(self, collection: str, path: str) -> None:
        """
        Let the index of a path come and go as questions do.

        Raises:
            NoSuchCollection: There is none of this name.
            InvalidRequest: It is not pinned.
        """

        def without(pinned: tuple[str, ...]) -> tuple[str, ...]:
            if path not in pinned:
                raise InvalidRequest(f"there is no pinned index of {preview(path)}", pointer=None)
            return tuple(each for each in pinned if each != path)

        self._pin(collection, without)

    def _pin(self, collection: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        with self._changing:
            entry = self._entry(collection)
            entry = replace(entry, pinned=change(entry.pinned))
            self._keep({**self._entries, collection: entry})
            entry.collection.pin(entry.pinned)

    def import_documents(self, collection: str, documents: Sequence[Document]) -> int:
        """
        Add documents, all of them or none; how many there were.

        Raises:
            NoSuchCollection: There is none of this name.
            DuplicateKey, SchemaViolation: As ``Writer.insert_many``.
        """
        return len(self._entry(collection).collection.insert_many(documents))

    def empty(self, collection: str) -> int:
        """
        Delete every document of a collection, which stays, as do its credentials and its schema; how many there were.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        return self._entry(collection).collection.delete_many(Filter({})).deleted

    def backup(self, *, credentials: bool = False) -> bytes:
        """
        All collections in one archive: of each, the documents at one moment.

        Raises:
            CollectionDamaged: One of them cannot be read.
        """
        return archives.write(
            archives.Archived(
                entry.id,
                entry.title,
                entry.schema.source if entry.schema else None,
                list(entry.collection.find(Find())),
                {role: entry.credentials.of(role) for role in ROLES} if credentials else None,
            )
            for entry in self._entries.values()
        )

    def restore(self, content: bytes) -> list[str]:
        """
        Make the collections of an archive anew: all of them, or none; their ids.

        Raises:
            CollectionExists: One of them is there.
            InvalidRequest: It is no archive of ours.
        """
        made: list[str] = []
        try:
            for each in archives.read(content):
                self.create(
                    id=each.id,
                    title=each.title,
                    schema=each.schema,
                    credentials=dict(each.credentials or {}),
                    documents=each.documents,
                )
                made.append(each.id)
        except ConnectomeError:
            for name in made:
                self.drop(name)
            raise
        return made

    def administrator_token(self) -> str:
        """The token that opens administration: the one kept in the store, made at first use."""
        ledger = self._store.ledger("administrator")
        record = ledger.load()
        if "token" not in record:
            record = {"token": "ca_" + secrets.token_urlsafe(24)}
            ledger.save(record)
        return str(record["token"])

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _keep(self, entries: dict[str, _Entry]) -> None:
        """
        Save what differs from what is saved, then have everybody see it.

        The catalog decides: wherever a crash or a full disk comes in between, it never names a collection without
        credentials, and credentials without a collection open nothing.
        """
        keys, catalog = _key_record(entries), self._catalog_record(entries)
        saved = _key_record(self._entries)
        if any(saved.get(name) != each for name, each in keys.items()):
            self._keys.save({**saved, **keys})
        removed = self._entries.keys() - entries.keys()
        if removed or catalog != self._catalog_record(self._entries):
            try:
                self._catalog.save(catalog)
            except OutcomeUnknown:
                # Served is what both the old catalog and the new one name: a write is acknowledged to nothing else.
                self._entries = {name: entry for name, entry in self._entries.items() if name in entries}
                raise
        self._entries = entries
        if removed:
            try:
                self._keys.save(keys)
            except StoreError as error:
                _log.warning("the credentials of %s are still on disk, and open nothing: %s", removed, error)

    def _catalog_record(self, entries: dict[str, _Entry]) -> dict[str, Any]:
        record: dict[str, Any] = {
            name: {
                "title": entry.title,
                "created": entry.created,
                "schema": entry.schema.source if entry.schema else None,
                **({"indexes": list(entry.pinned)} if entry.pinned else {}),
            }
            for name, entry in entries.items()
        }
        return {**record, **({_DROPPED: sorted(self._dropped)} if self._dropped else {})}


def _key_record(entries: dict[str, _Entry]) -> dict[str, Any]:
    return {name: {role: entry.credentials.of(role) for role in ROLES} for name, entry in entries.items()}


_KEYS: Final = Schema(
    {
        "additionalProperties": {
            "type": "object",
            "properties": {role: {"type": "string"} for role in ROLES},
            "required": list(ROLES),
            "additionalProperties": False,
        }
    }
)
# A key of the catalog that no collection's id can be.
_DROPPED: Final = "connectome.dropped"
_CATALOG: Final = Schema(
    {
        "properties": {_DROPPED: {"type": "array", "items": {"type": "string"}}},
        "additionalProperties": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "created": {"type": "string"},
                "indexes": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["title", "created", "schema"],
        },
    }
)


def _checked(ledger: Ledger, schema: Schema) -> dict[str, Any]:
    record = ledger.load()
    for failure in schema.failures(record):
        raise StoreFailed(f"{ledger.name} cannot be understood at {failure.pointer}: {failure.detail}")
    return record


def _stored_schema(catalog: Ledger, name: str, source: Any) -> Schema | None:
    try:
        return None if source is None else Schema(source)
    except InvalidRequest as error:
        raise StoreFailed(f"{catalog.name} has for the collection {name!r} what is {error.detail}") from None


def _require_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a title is Unicode text, and this one is not") from None


def same_secret(one: str, other: str) -> bool:
    """Compare two secrets in a time that tells nothing of where they differ, nor how long they are."""
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _fixed_or_new(fixed: dict[str, str]) -> Credentials:
    for role, credential in fixed.items():
        with at(role):
            if not _CREDENTIAL.fullmatch(credential):
                raise InvalidRequest(
                    "a credential has 1 to 256 letters, digits, '.', '_', '~' and '-', and is not a lone '-'"
                )
    fresh = Credentials.new()
    return Credentials(**{role: fixed.get(role, fresh.of(role)) for role in ROLES})


def _description(entry: _Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "title": entry.title,
        "created": entry.created,
        "count": None if isinstance(entry.collection, Barred) else entry.collection.count(Filter({})),
        "size": entry.collection.size,
        "schema": entry.schema.source if entry.schema else None,
        "credentials": {role: entry.credentials.of(role) for role in ROLES},
    }
