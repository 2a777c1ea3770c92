"""
What can be done: the catalog of collections, their credentials, their schemas.

Which credential opens which side of which collection is decided here and nowhere else: a read credential yields a
``Reader``, a write credential a ``Writer``.  The command line, the web and the tests stand on this one class.
"""

from __future__ import annotations

import difflib
import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as Sized
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from secrets import token_hex, token_urlsafe
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from connectome import archives, credentials
from connectome.config import Settings
from connectome.credentials import ROLES as ROLES
from connectome.credentials import Credential, Credentials, digest_of, expiry, new_secret
from connectome.credentials import Role as Role
from connectome.credentials import same_secret as same_secret
from connectome.errors import (
    CollectionDamaged,
    CollectionExists,
    ConnectomeError,
    Forbidden,
    InvalidRequest,
    LedgerChanged,
    NoSuchCollection,
    NoSuchCredential,
    OutcomeUnknown,
    ReadOnly,
    StoreError,
    StoreFailed,
    Unauthorized,
    at,
)
from connectome.extjson import preview
from connectome.query import Document, Filter, clock
from connectome.schemas import Schema
from connectome.stores import (
    Barred,
    Collection,
    Find,
    Index,
    Ledger,
    Loaded,
    OnDuplicate,
    Reader,
    Store,
    Watched,
    Writer,
    index_path,
    open_store,
)
from connectome.stores.readonly import read_only

_log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OTHER: Final[dict[Role, Role]] = {"read": "write", "write": "read"}
# On a shared store: how old what is known of the catalog may be.
LOOK_SECONDS: Final = 1.0
# How often a change is tried again because another process was faster.
_ATTEMPTS: Final = 20
# Who has not said for so long that he still makes or removes a collection has ended; while documents of a new one come,
# it is said so often.
BUSY_SECONDS: Final = 180.0
RENEW_SECONDS: Final = 60.0
# When credentials were used is written this often, and at the end.
USES_SECONDS: Final = 3600.0
# More is no grace any more, but a credential of its own.
MAX_GRACE_SECONDS: Final = 30 * 24 * 3600

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


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


@dataclass(frozen=True)
class Condition:
    """
    How a collection is.

    documents: how many there are; None where it is barred.
    size: in bytes, where they are kept.
    figures: as ``stores.Watched`` has them; empty where the store has none.
    """

    id: str
    documents: int | None
    size: int
    figures: Mapping[str, int]


class _Uses:
    """
    When credentials were used last: in memory, and now and then in a ledger, never a write for a request.

    latest: digest of a credential → seconds since 1970, as this process saw it.
    due: when it is to be written again, in seconds since 1970.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.latest: dict[bytes, float] = {}
        self.due = clock.seconds() + USES_SECONDS
        self._ledger = ledger
        self._writing = threading.Lock()
        self._kept = self._load()

    def _load(self) -> dict[str, float]:
        """What is kept: the first half of the digest in hexadecimal → seconds since 1970."""
        try:
            return {key: float(each) for key, each in self._ledger.load().items()}
        except (StoreFailed, TypeError, ValueError) as error:
            _log.warning("when credentials were used last is not known: %s", error)
            return {}

    def of(self, digest: bytes) -> str | None:
        """When the credential with this digest was used last, ISO 8601; None where nobody knows."""
        seconds = max(self.latest.get(digest, 0.0), self._kept.get(_key(digest), 0.0))
        return datetime.fromtimestamp(int(seconds), UTC).isoformat() if seconds else None

    def read(self) -> None:
        """See what other processes have written."""
        if self._ledger.changed():
            self._kept = self._load()

    def write(self, known: Sized[bytes]) -> None:
        """Keep what there is to say of these credentials, where it is news."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            self.due = clock.seconds() + USES_SECONDS
            for _ in range(_ATTEMPTS):
                self.read()
                latest = {_key(digest): float(int(each)) for digest, each in self.latest.copy().items()}
                merged = {key: max(latest.get(key, 0.0), self._kept.get(key, 0.0)) for key in map(_key, known)}
                merged = {key: seconds for key, seconds in merged.items() if seconds}
                if merged == self._kept:
                    return
                try:
                    self._ledger.save(merged)
                except LedgerChanged:
                    continue
                self._kept = merged
                return
        except ReadOnly:
            pass  # who only reads leaves no trace
        except StoreError as error:
            _log.warning("when credentials were used last could not be kept: %s", error.detail)
        finally:
            self._writing.release()


def _key(digest: bytes) -> str:
    return digest[:16].hex()


def _exclusive(
    change: Callable[Concatenate[Service, _Parameters], _Result],
) -> Callable[Concatenate[Service, _Parameters], _Result]:
    """
    A change of the catalog, one at a time: what it looks at is what it changes.

    On a shared store it is made to what other processes have left, and made anew where one of them was faster: it must
    do nothing but what can be done twice.
    """

    @wraps(change)
    def until_saved(self: Service, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with self._changing:
            for attempt in range(_ATTEMPTS):
                self._catch_up()
                try:
                    return change(self, *args, **kwargs)
                except LedgerChanged:
                    self._behind = True
                time.sleep(random.random() * 0.01 * attempt)
            raise LedgerChanged("other processes change the catalog all the time: nothing was changed; try again")

    return until_saved


def opened(settings: Settings, *, holder: str = "") -> Service:
    """
    The collections of the store that the settings name; to be read alone, where they say so.

    Args:
        holder: What the store says of this process to others that want it, such as the URL that it serves.

    Raises:
        StoreLocked, StoreFailed: The store, or the catalog in it, cannot be had, or a migration into it was cut short.
    """
    store = open_store(settings.place, holder=holder, **settings.embedded)
    service = Service(read_only(store) if settings.read_only else store)
    if service.unfinished is None:
        return service
    service.close()
    raise StoreFailed(
        f"{service.place} has not all that it shall get from {service.unfinished}: go on with the migration by "
        "connectome migrate --resume"
    )


class Service:
    """
    The collections of one store.

    On a store that other processes share, the catalog is looked at again at most ``LOOK_SECONDS`` later, on the way of
    whatever is asked; it holds the credentials too, so that both change in one, as digests: a credential is shown when
    it is made, and never again.  Elsewhere credentials lie in a ledger of their own, and can be read.

    Raises:
        StoreFailed: The catalog, or a collection in it, cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shared = store.shared
        self._catalog = store.ledger("catalog")
        self._keys = store.ledger("credentials")
        self._uses = _Uses(store.ledger("uses"))
        # Held by whoever changes the catalog, or reads it again.
        self._changing = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        # Collections that were dropped, and whose files may still be there.
        self._dropped: set[str] = set()
        # From where a migration comes that has not ended; None where there is none.
        self.unfinished: str | None = None
        # Those that are being made or removed, and since when: nobody else does either.
        self._busy: dict[str, str] = {}
        self._behind = True
        self._look_at = time.monotonic() + LOOK_SECONDS
        # Looked at where there is no such collection, so that the answer takes the same work.
        self._nobody = Credentials.given({}, "")
        # Of every collection, digest → when it stops at the latest; and the entries that this is made of.
        self._opening: tuple[dict[bytes, float], dict[str, _Entry]] = {}, self._entries
        self._catch_up()
        self._remove_dropped()

    def _catch_up(self) -> None:
        """Read the catalog where it is not what was read, or saved, last."""
        if self._behind or self._catalog.changed():
            # Until all of it is read: the ledger itself counts as read once its text is here.
            self._behind = True
            self._load()
            self._behind = False

    def _look(self) -> None:
        """On a shared store, see what others have changed; where the store cannot be had, what is known goes on."""
        if not self._shared or time.monotonic() < self._look_at or not self._changing.acquire(blocking=False):
            return
        try:
            # First: while this waits for the store, others go on with what is known.
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._catch_up()
        except StoreError as error:
            _log.warning("the catalog could not be read again: %s", error.detail)
        finally:
            self._changing.release()

    def _load(self) -> None:
        catalog = _checked(self._catalog, _CATALOG)
        collections = {name: each for name, each in catalog.items() if name not in (_DROPPED, _BUSY, _UNFINISHED)}
        if self._shared:
            keys = {name: each["credentials"] for name, each in collections.items() if "credentials" in each}
        else:
            keys = _checked(self._keys, _KEYS)
        entries = {}
        for name, record in collections.items():
            if name not in keys:
                raise StoreFailed(f"{self._catalog.name} names the collection {name!r}, and {self._keys.name} does not")
            entries[name] = self._read(name, record, keys[name])
        self._entries = entries
        self._dropped = set(catalog.get(_DROPPED, ()))
        self._busy = dict(catalog.get(_BUSY, {}))
        self.unfinished = catalog.get(_UNFINISHED)

    def _read(self, name: str, record: Mapping[str, Any], keys: Mapping[str, Any]) -> _Entry:
        """A collection as it was kept; what is known of it already, and still so, is not opened again."""
        try:
            opens = Credentials.from_record(keys, record["created"])
        except ValueError as error:
            raise StoreFailed(f"{self._keys.name} has for the collection {name!r} what is no moment: {error}") from None
        pinned = tuple(record.get("indexes", ()))
        known = self._entries.get(name)
        if known and known.created == record["created"] and _same(known.schema, record["schema"]):
            if known.pinned != pinned:
                _pin_known(name, known.collection, pinned)
            return replace(known, title=record["title"], credentials=opens, pinned=pinned)
        schema = _stored_schema(self._catalog, name, record["schema"])
        collection: Collection
        try:
            collection = self._store.collection(name, schema)
            _pin_known(name, collection, pinned)
        except StoreError as error:
            if self._shared and not isinstance(error, CollectionDamaged):
                raise  # it is the store that cannot be had, not this collection
            _log.error("the collection %s is barred: %s", name, getattr(error, "damage", error.detail))
            collection = Barred(error)
        return _Entry(name, record["title"], record["created"], opens, collection, schema, pinned)

    @property
    def store(self) -> str:
        """The kind of store."""
        return self._store.name

    @property
    def place(self) -> str:
        """Where the store is, for people."""
        return self._store.place

    def require_store(self) -> None:
        """
        Ask the store for something that it has to fetch.

        Raises:
            StoreFailed: It cannot be reached, or read.
        """
        # By a ledger of its own: what that one has read is not what this service knows.
        self._store.ledger("catalog").load()

    def watch(self) -> list[Condition]:
        """What an operator watches of every collection."""
        self._look()
        return [
            Condition(
                entry.id,
                None if isinstance(entry.collection, Barred) else entry.collection.count(Filter({})),
                entry.collection.size,
                entry.collection.figures if isinstance(entry.collection, Watched) else {},
            )
            for entry in self._entries.values()
        ]

    def reader(self, credential: str, collection: str) -> Reader:
        """
        The reading side of a collection.

        Raises:
            Unauthorized: The credential is not valid for this collection, or not any more, or there is none of this
                name.
            Forbidden: It is a write credential.
        """
        return self._open(credential, collection, "read")

    def writer(self, credential: str, collection: str) -> Writer:
        """
        The writing side of a collection.

        Raises:
            Unauthorized: The credential is not valid for this collection, or not any more, or there is none of this
                name.
            Forbidden: It is a read credential.
        """
        return self._open(credential, collection, "write")

    def _open(self, credential: str, collection: str, role: Role) -> Collection:
        if self._shared:
            self._look()
        entry = self._entries.get(collection)
        opening = (entry.credentials if entry else self._nobody).opening
        # Looked up by digest, which takes the same work however many there are: how long it takes tells of a digest at
        # most, and nobody can choose what the digest of his guess begins with and learn a credential from it.
        given = digest_of(credential)
        now = clock.seconds()
        found = opening[role].get(given)
        if entry is None or found is None or found.expires <= now:
            other = opening[_OTHER[role]].get(given)
            if entry is None or other is None or other.expires <= now:
                raise Unauthorized("the credential is not valid for this collection")
            raise Forbidden(f"this operation needs the {role} credential, and this is the {other.role} credential")
        self._uses.latest[given] = now
        if now >= self._uses.due:
            self._uses.write(self._digests())
        return entry.collection

    def knows(self, credential: str) -> bool:
        """
        Whether a credential opens any side of any collection: for requests that name theirs where it costs to read.

        It takes the same work whatever is given, however many collections and credentials there are.
        """
        if self._shared:
            self._look()
        expires, entries = self._opening
        if entries is not self._entries:
            expires, entries = {}, self._entries
            for each in (each for entry in entries.values() for each in entry.credentials.values()):
                expires[each.digest] = max(each.expires, expires.get(each.digest, 0.0))
            self._opening = expires, entries
        return expires.get(digest_of(credential), 0.0) > clock.seconds()

    def _digests(self) -> list[bytes]:
        return [each.digest for entry in self._entries.values() for each in entry.credentials.values()]

    def collections(self) -> list[dict[str, Any]]:
        """A description of every collection, in the order in which they were created."""
        self._look()
        return [_description(entry) for entry in self._entries.values()]

    def describe(self, collection: str) -> dict[str, Any]:
        """
        One collection: id, title, created, count of documents (None where it is damaged), size in bytes, schema,
        credentials, each None where it is not known any more.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        self._look()
        return _description(self._entry(collection))

    def collection(self, collection: str) -> Collection:
        """
        Both sides of a collection, for its owner, who needs no credential.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        self._look()
        return self._entry(collection).collection

    def recipe(self, collection: str) -> dict[str, Any]:
        """
        What ``create`` takes to make another of a collection, without its documents: its credentials are those of the
        new one too, whether they can be read or not.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        entry = self._entry(collection)
        return {
            "id": entry.id,
            "title": entry.title,
            "schema": entry.schema.source if entry.schema else None,
            "credentials": entry.credentials.record(entry.created),
        }

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
        credentials: Mapping[str, Any] | None = None,
        documents: Iterable[Document] = (),
        on_duplicate: OnDuplicate = "stop",
    ) -> dict[str, Any]:
        """
        Make a collection, with its first documents where there are any.

        Args:
            id: ``[A-Za-z0-9_-]{1,64}``; one is made where it is not given.
            title: For people; the id where it is not given.
            schema: A JSON Schema that every document satisfies.
            credentials: ``read`` and ``write`` where the owner fixes them; made where not.  Those of a backup come as
                they were kept, with their names.
            documents: They may be made one by one, as ``Collection.load`` takes them.
            on_duplicate: What becomes of an ``_id`` that comes twice among them.

        Returns:
            Its description.

        Raises:
            CollectionExists: The id is taken, or one that differs in case alone.
            InvalidRequest: An id, a credential or a schema that cannot be one.
        """
        name = token_hex(6) if id is None else id
        with at("id"):
            if not _ID.fullmatch(name):
                raise InvalidRequest(f"an id has 1 to 64 letters, digits, '_' and '-', and {preview(name)} does not")
        with at("title"):
            _require_text(title or "")
        created = _time()
        with at("credentials"):
            keys = _given(credentials or {}, created)
        with at("schema"):
            compiled = None if schema is None else self._store.schema(schema)
        self._reserve(name)
        try:
            collection = self._store.collection(name, compiled, new=True)
            try:
                collection.load(self._renewing(name, documents), on_duplicate=on_duplicate)
                collection.sync()  # the catalog, which is synced, must not name what is not
            except ConnectomeError:
                self._store.drop(name)
                raise
            entry = _Entry(name, name if title is None else title, created, keys, collection, compiled)
            try:
                self._add(entry)
            except OutcomeUnknown:
                # The catalog on the disk may name it: its files must be there when it is read back.
                raise
            except StoreError:
                self._store.drop(name)
                raise
        finally:
            self._free([name])
        return _description(entry)

    @_exclusive
    def _reserve(self, name: str) -> None:
        """Have nobody else make, or remove, a collection of this name until it is free again."""
        # Two names that differ in case alone are one file where the file system does not tell them apart.
        for taken in self._entries:
            if taken.lower() == name.lower():
                raise CollectionExists(f"the id {taken!r} is taken")
        for taken in self._working():
            if taken.lower() == name.lower():
                raise CollectionExists(
                    f"the id {taken!r} is taken: it is being made or removed; where that was cut short, it is free "
                    f"after {BUSY_SECONDS:.0f} seconds"
                )
        if name in self._dropped:
            # First the catalog: while an older one might still name it, its files stay.
            self._catalog.save(self._catalog_record(self._entries))
            self._remove_dropped()
        if name in self._busy and self._store.holds(name) and self._is_empty(name):
            # By whoever was cut short while he made it.
            self._store.drop(name)
        if self._store.holds(name):
            raise CollectionExists(
                f"the store holds something under the id {name!r} that is no collection here: "
                "move it away, then import it"
            )
        self._work_on([name])

    def _is_empty(self, name: str) -> bool:
        """Whether what the store holds under a name has no documents."""
        return not list(self._store.collection(name, None).find(Find(limit=1)))

    def _renewing(self, name: str, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents of a new collection; as long as they come, nobody takes it for left by its maker."""
        due = time.monotonic() + RENEW_SECONDS
        for document in documents:
            if time.monotonic() >= due:
                self._renew(name)
                due = time.monotonic() + RENEW_SECONDS
            yield document

    @_exclusive
    def _renew(self, name: str) -> None:
        self._work_on([name])

    @_exclusive
    def begin_migration(self, source: str) -> None:
        """Have nobody open the store by ``opened`` until all that comes from somewhere else is there."""
        self.unfinished = source
        self._catalog.save(self._catalog_record(self._entries))

    @_exclusive
    def end_migration(self) -> None:
        """Let everybody open the store again."""
        self.unfinished = None
        self._catalog.save(self._catalog_record(self._entries))

    @_exclusive
    def _add(self, entry: _Entry) -> None:
        """Have the catalog name a collection that is made."""
        self._busy.pop(entry.id, None)
        self._keep({**self._entries, entry.id: entry})

    def _working(self) -> list[str]:
        """The collections that somebody is making or removing."""
        limit = datetime.fromtimestamp(time.time() - BUSY_SECONDS, UTC).isoformat()
        return [name for name, since in self._busy.items() if since > limit]

    def _work_on(self, names: Sequence[str]) -> None:
        """Have everybody know that this process makes or removes these collections."""
        # By the machine's clock: other processes compare it with theirs.
        since = datetime.fromtimestamp(time.time(), UTC).isoformat()
        self._busy.update(dict.fromkeys(names, since))
        if self._shared and names:
            try:
                self._catalog.save(self._catalog_record(self._entries))
            except StoreError:
                for name in names:
                    del self._busy[name]
                raise

    def _free(self, names: Sequence[str]) -> None:
        """Let others make or remove these collections again, where ``_add`` has not done so."""
        try:
            self._have_free(names)
        except StoreError as error:
            _log.warning("%s cannot be made or removed for a while: %s", ", ".join(names), error.detail)

    @_exclusive
    def _have_free(self, names: Sequence[str]) -> None:
        freed = [name for name in names if self._busy.pop(name, None)]
        if freed and self._shared:
            self._catalog.save(self._catalog_record(self._entries))

    @_exclusive
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
        self._forget(collection)
        self._remove_dropped()

    @_exclusive
    def _forget(self, collection: str) -> None:
        """Have the catalog name a collection no more."""
        self._entry(collection)
        self._dropped.add(collection)
        try:
            self._keep({name: entry for name, entry in self._entries.items() if name != collection})
        except OutcomeUnknown:
            raise
        except StoreError:
            self._dropped.discard(collection)
            raise

    def _remove_dropped(self) -> None:
        """Remove the files of dropped collections; what cannot be removed is remembered, and tried again."""
        if not self._dropped:
            return
        names: list[str] = []
        removed: list[str] = []
        try:
            names = self._claim_dropped()
            for name in names:
                self._store.drop(name)
                removed.append(name)
        except StoreError as error:
            _log.warning("files of dropped collections are still on disk: %s", error.detail)
        try:
            self._settle(names, removed)
        except StoreError as error:
            _log.warning("the catalog still names what was dropped: %s", error.detail)

    @_exclusive
    def _claim_dropped(self) -> list[str]:
        working = self._working()
        names = sorted(name for name in self._dropped if name not in working)
        self._work_on(names)
        return names

    @_exclusive
    def _settle(self, names: Sequence[str], removed: Sequence[str]) -> None:
        """Have everybody know that nobody works on these collections any more, and which of them are gone."""
        for name in names:
            self._busy.pop(name, None)
        self._dropped.difference_update(removed)
        if removed or (names and self._shared):
            self._catalog.save(self._catalog_record(self._entries))

    @_exclusive
    def rotate(self, collection: str, name: str, *, grace: float = 0) -> str:
        """
        Replace a credential by a fresh one.

        Args:
            name: That of the credential; of those that every collection has, the role.
            grace: For so many seconds the old one goes on beside it; with 0 it stops at once, and with it what is left
                of earlier rotations.

        Raises:
            NoSuchCollection, NoSuchCredential: There is none of this name.
            InvalidRequest: It has expired.
        """
        entry = self._entry(collection)
        fresh = new_secret(_credential(entry, name).role)
        self._keep_credentials(entry, entry.credentials.rotating(name, fresh, grace=grace))
        return fresh

    def credentials(self, collection: str) -> list[dict[str, Any]]:
        """
        The credentials of a collection, those that every collection has first.

        Returns:
            Of each: name, role, credential (None where it is not known any more), its last four characters as
            ``ending``, created, expires (None where it does not), lastUsed (None where nobody knows), all times ISO
            8601.  Of other processes' uses those of the last hour may be missing.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        self._look()
        self._uses.read()
        return [self._credential(each) for each in self._entry(collection).credentials.values()]

    def fixed_credentials(self) -> list[str]:
        """Credentials that the owner fixed, as far as they can be read: they have not the form of those we make."""
        return [secret for entry in self._entries.values() for secret in entry.credentials.fixed]

    @_exclusive
    def add_credential(self, collection: str, name: str, role: Role, *, expires: str | None = None) -> dict[str, Any]:
        """
        Give a collection one more credential.

        Args:
            name: ``[A-Za-z0-9_-]{1,64}``, for whom or what it is.
            expires: ISO 8601 with an offset; None where it does not.

        Returns:
            It, as ``credentials`` has it.

        Raises:
            NoSuchCollection: There is none of this name.
            InvalidRequest: A name that is none, or taken; a moment that is none, or has passed.
        """
        entry = self._entry(collection)
        with at("expires"):
            seconds = expiry(expires)
        fresh = Credential.of(name, role, new_secret(role), created=_time(), expires=seconds)
        self._keep_credentials(entry, entry.credentials.adding(fresh))
        return self._credential(fresh)

    @_exclusive
    def revoke(self, collection: str, name: str) -> None:
        """
        Stop a credential at once, and forget it.

        Raises:
            NoSuchCollection, NoSuchCredential: There is none of this name.
            InvalidRequest: It is one of those that every collection has.
        """
        entry = self._entry(collection)
        _credential(entry, name)
        if name in ROLES:
            raise InvalidRequest(f"every collection has a {name} credential: rotate it instead", pointer=None)
        self._keep_credentials(entry, entry.credentials.without(name))

    def _keep_credentials(self, entry: _Entry, keys: Credentials) -> None:
        self._keep({**self._entries, entry.id: replace(entry, credentials=keys)})

    def _credential(self, each: Credential) -> dict[str, Any]:
        return {
            "name": each.name,
            "role": each.role,
            "credential": each.secret,
            "ending": each.ending,
            "created": each.created,
            "expires": each.expires_at,
            "lastUsed": self._uses.of(each.digest),
        }

    def indexes(self, collection: str) -> list[Index]:
        """
        The columns and indexes of a collection, those of pinned paths first.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        self._look()
        entry = self._entry(collection)
        # What is pinned stands in the catalog: a server that only reads a database has the store pin nothing.
        found = [replace(index, pinned=index.path in entry.pinned) for index in entry.collection.indexes()]
        return sorted(found, key=lambda index: not index.pinned)

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

    @_exclusive
    def _pin(self, collection: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        entry = self._entry(collection)
        before = entry.pinned
        entry = replace(entry, pinned=change(before))
        # First the store, which may refuse: every process does what the catalog says.
        entry.collection.pin(entry.pinned)
        try:
            self._keep({**self._entries, collection: entry})
        except OutcomeUnknown:
            raise
        except StoreError:
            entry.collection.pin(before)
            raise

    def import_documents(
        self, collection: str, documents: Iterable[Document], *, on_duplicate: OnDuplicate = "stop"
    ) -> Loaded:
        """
        Add documents, which may be made one by one, all of them or none; what became of them.

        Raises:
            NoSuchCollection: There is none of this name.
            DuplicateKey, SchemaViolation: As ``Collection.load``.
        """
        return self.collection(collection).load(documents, on_duplicate=on_duplicate)

    def empty(self, collection: str) -> int:
        """
        Delete every document of a collection, which stays, as do its credentials and its schema; how many there were.

        Raises:
            NoSuchCollection: There is none of this name.
        """
        return self.collection(collection).delete_many(Filter({})).deleted

    def backup(self, *, credentials: bool = False) -> bytes:
        """
        All collections in one archive: of each, the documents at one moment.

        Raises:
            CollectionDamaged: One of them cannot be read.
        """
        self._look()
        return archives.write(
            archives.Archived(
                entry.id,
                entry.title,
                entry.schema.source if entry.schema else None,
                list(entry.collection.find(Find())),
                entry.credentials.record(entry.created) if credentials else None,
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
                    credentials=each.credentials,
                    documents=each.documents,
                )
                made.append(each.id)
        except ConnectomeError:
            for name in made:
                self.drop(name)
            raise
        return made

    def administrator_token(self) -> str:
        """
        The token that opens administration: the one kept in the store, made at first use.

        On a shared store none is kept: it would lie there readable.  One is made for as long as the process lives.
        """
        if self._shared:
            return _new_token()
        ledger = self._store.ledger("administrator")
        record = ledger.load()
        if "token" not in record:
            record = {"token": _new_token()}
            ledger.save(record)
        return str(record["token"])

    def close(self) -> None:
        """Write when credentials were used last, and let go of the store."""
        if self._uses.latest:
            self._uses.write(self._digests())
            self._uses.latest = {}
        self._store.close()

    def _keep(self, entries: dict[str, _Entry]) -> None:
        """
        Save what differs from what is saved, then have everybody see it.

        The catalog decides: wherever a crash or a full disk comes in between, it never names a collection without
        credentials, and credentials without a collection open nothing.
        """
        if self._shared:
            entries = {name: replace(each, credentials=each.credentials.sealed()) for name, each in entries.items()}
            self._catalog.save(self._catalog_record(entries))
            self._entries = entries
            return
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
                **({"credentials": entry.credentials.record(entry.created)} if self._shared else {}),
            }
            for name, entry in entries.items()
        }
        if self._dropped:
            record[_DROPPED] = sorted(self._dropped)
        if self._busy and self._shared:
            record[_BUSY] = dict(self._busy)
        if self.unfinished is not None:
            record[_UNFINISHED] = self.unfinished
        return record


def _pin_known(name: str, collection: Collection, paths: Iterable[str]) -> None:
    """Have a collection keep indexes of the paths that the catalog names; it is served without those that cannot be."""
    try:
        collection.pin(paths)
    except InvalidRequest as error:
        _log.error("%s: %s", name, error.detail)


def _key_record(entries: dict[str, _Entry]) -> dict[str, Any]:
    return {name: entry.credentials.record(entry.created) for name, entry in entries.items()}


_KEYS: Final = Schema({"additionalProperties": credentials.RECORD})
_KEYS_OF_ONE: Final = Schema({**credentials.RECORD, "required": []})
# Keys of the catalog that no collection's id can be.
_DROPPED: Final = "connectome.dropped"
_BUSY: Final = "connectome.busy"
_UNFINISHED: Final = "connectome.unfinished"
_CATALOG: Final = Schema(
    {
        "properties": {
            _DROPPED: {"type": "array", "items": {"type": "string"}},
            _BUSY: {"type": "object", "additionalProperties": {"type": "string"}},
            _UNFINISHED: {"type": "string"},
        },
        "additionalProperties": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "created": {"type": "string"},
                "indexes": {"type": "array", "items": {"type": "string"}},
                "credentials": credentials.RECORD,
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


def _same(schema: Schema | None, source: Any) -> bool:
    """Whether this is the schema; as text, since to Python 1 is True."""
    return json.dumps(schema.source if schema else None) == json.dumps(source)


def _time() -> str:
    return credentials.now().isoformat()


def _new_token() -> str:
    return "ca_" + token_urlsafe(24)


def _given(given: Mapping[str, Any], created: str) -> Credentials:
    """The credentials of a new collection: those that are given, as text or as they were kept, and fresh ones."""
    for failure in _KEYS_OF_ONE.failures(given):
        raise InvalidRequest(failure.detail, pointer=failure.pointer)
    try:
        return Credentials.given(given, created)
    except ValueError as error:
        raise InvalidRequest(f"a moment was expected: {error}") from None


def _credential(entry: _Entry, name: str) -> Credential:
    """
    The credential of this name.

    Raises:
        NoSuchCredential: The collection has none.
    """
    if name not in entry.credentials:
        nearest = difflib.get_close_matches(name, entry.credentials, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise NoSuchCredential(f"the collection {entry.id!r} has no credential {name!r}{hint}")
    return entry.credentials[name]


def _description(entry: _Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "title": entry.title,
        "created": entry.created,
        "count": None if isinstance(entry.collection, Barred) else entry.collection.count(Filter({})),
        "size": entry.collection.size,
        "schema": entry.schema.source if entry.schema else None,
        "credentials": entry.credentials.shown(),
    }
