"""
Collections in a MongoDB replica set or sharded cluster: the client's query goes to the server as it is.

A collection here is a collection there, of the same name; its schema is the validator.  Beside them lies one collection
of records, under a name that no collection's id can be.  Any number of processes may work on one database.

No engine of ours stands in between.  Ours is asked afterwards alone: where the server refuses a request, for the place
in it that is to blame, which the server does not tell; and on a standalone, which has no transactions, for what a dry
run says.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import bson
import pymongo
from bson import ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference, ReplaceOne, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.errors import (
    ConfigurationError as InvalidSettings,
)

from connectome import extjson
from connectome.errors import (
    CollectionExists,
    ConfigurationError,
    ConnectomeError,
    DuplicateKey,
    Failure,
    InvalidRequest,
    LedgerChanged,
    NoSpace,
    OutcomeUnknown,
    QueryError,
    RequestError,
    SchemaViolation,
    StoreFailed,
    at,
    pointer_to,
)
from connectome.extjson import preview
from connectome.query import Document, Filter, Pipeline, Projection, Value
from connectome.query.clock import new_id
from connectome.query.deadline import expired, remaining
from connectome.query.values import SortKey, integral, sort_key
from connectome.schemas import Schema
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
from connectome.stores.files import disk_errors, roomy_directory
from connectome.stores.loading import MAX_FAILURES, require_size
from connectome.stores.validators import validator

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_Documents = pymongo.collection.Collection[Document]
_Session = ClientSession | None
# A new document, and its place in the request.
_Placed = tuple[tuple[int, ...], Document]

# What the store itself keeps: no collection's id has a dot.
RECORDS: Final = "connectome.records"
MEETINGS: Final = "connectome.meetings"
_MEETINGS: Final = 1024

# What comes back is what the language knows: UUIDs as the binaries that they are, dates that Python has no word for.
_CODEC: Final[CodecOptions[Document]] = CodecOptions(
    document_class=dict, tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
# With documents that are not looked into; so that a {"$ref": …, "$id": …} stays the document that it is.
_UNREAD: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    document_class=RawBSONDocument, tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
# Where the URL does not say it: an acknowledged write has been kept by most members, and survives one that is lost; a
# request learns soon that there is nobody to answer, or too few to keep it, and may come again.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "w": "majority",
    "wTimeoutMS": 10000,
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 5000,
}
# As long as MongoDB lets a transaction live.
_BATCH_SECONDS: Final = 60.0
# So long a server that was lost is asked to forget a transaction.
_ENDING_SECONDS: Final = 1.0
# And so long to keep one, which is time enough for another member to become primary.
_COMMIT_SECONDS: Final = 15.0
# An upsert that finds nothing, and is told that somebody was faster, looks again.
_UPSERT_ATTEMPTS: Final = 5
# Of so many documents it is looked at what a refused request does to them, or a rehearsed one.
_SAMPLE: Final = 1000

# Documents that are loaded wait in a file beyond so many bytes.
_LOADED_IN_MEMORY: Final = 2**24

# Beyond it nothing can be skipped or counted: MongoDB takes 64 bits.
_MOST: Final = 2**63 - 1

# How our engine refuses a stage that the server knows, and it does not.
_MONGODB_ALONE: Final = "CommandNotSupported"

_TIME_EXPIRED: Final = 50
_INDEX_THERE_OTHERWISE: Final = frozenset({85, 86})
_NO_INDEX: Final = frozenset({26, 27})
_ALREADY_THERE: Final = frozenset({48})
_NOT_ALLOWED: Final = frozenset({13})
_CANNOT_CREATE_INDEX: Final = 67
_INVALID_DOCUMENT: Final = 121
_DUPLICATE: Final = frozenset({11000, 11001, 12582})
_DISK_FULL: Final = 14031
# The server, or the user it knows us by, is to blame, whatever was asked.
_NOT_THE_REQUEST: Final = frozenset(
    {6, 7, 11, 13, 18, 24, 43, 46, 64, 70, 89, 91, 94, 100, 112, 117, 133, 134, 143, 149, 150, 175, 189, 202, 211}
    | {215, 216, 217, 225, 234, 237, 239, 246, 249, 250, 251, 262, 267, 272, 279, 281, 282, 290, 314, 317, 319, 355}
    | {358, 363, 365, 371, 384, 391, 402, 407, 412, 433, 449, 8000, 9001, 10107, 11600, 11601, 11602, 13388, 13435}
    | {13436}
)
# Names of codes: a refused write comes with its number alone.
_NAMES: Final[Mapping[int, str]] = {
    2: "BadValue",
    9: "FailedToParse",
    14: "TypeMismatch",
    15: "Overflow",
    16: "InvalidLength",
    17: "ProtocolError",
    20: "IllegalOperation",
    22: "InvalidBSON",
    28: "PathNotViable",
    30: "InvalidPath",
    34: "CannotBackfillArray",
    40: "ConflictingUpdateOperators",
    52: "DollarPrefixedFieldName",
    53: "InvalidIdField",
    54: "NotSingleValueField",
    55: "InvalidDBRef",
    56: "EmptyFieldName",
    57: "DottedFieldName",
    61: "ShardKeyNotFound",
    66: "ImmutableField",
    72: "InvalidOptions",
    115: "CommandNotSupported",
    146: "ExceededMemoryLimit",
    159: "DurationOverflow",
    168: "InvalidPipelineOperator",
    171: "CannotIndexParallelArrays",
    224: "QueryFeatureNotAllowed",
    238: "NotImplemented",
    241: "ConversionFailure",
    257: "TransactionTooLarge",
    263: "OperationNotSupportedInTransaction",
    292: "QueryExceededMemoryLimitNoDiskUseAllowed",
    388: "TransactionTooLargeForCache",
    10334: "BSONObjectTooLarge",
    # What an update, and an upsert, would make of a document.
    17419: "BSONObjectTooLarge",
    17420: "BSONObjectTooLarge",
}


@dataclass(frozen=True)
class _Refusal:
    """
    What the server says of a request that it did not do.

    position: of the document in a batch that it is about; None where it is about no batch.
    keys: of a duplicate, the values that are taken, by path.
    """

    code: int
    name: str
    message: str
    position: int | None = None
    keys: Mapping[str, Value] | None = None


def _refusal(error: OperationFailure) -> _Refusal:
    """The refusal in an error of pymongo's, which keeps it in different places."""
    told: Mapping[str, Any] = error.details or {}
    position = None
    for each in told.get("writeErrors", ())[:1]:
        told, position = each, each["index"]
    code = told.get("code", error.code) or 0
    name = told.get("codeName") or _NAMES.get(code, f"Location{code}")
    return _Refusal(code, name, told.get("errmsg", "no reason"), position, told.get("keyValue"))


@contextmanager
def _at_the_server(place: str, *, writing: bool = False) -> Iterator[None]:
    """
    Turn what pymongo raises inside into errors of ours, where no request is to blame.

    Raises:
        StoreFailed: The server cannot be reached, or cannot do it; nothing was changed.
        OutcomeUnknown: It was lost while it was ``writing``.
        OperationFailure: As it came, where it is about the request.
    """
    try:
        yield
    except ServerSelectionTimeoutError as error:
        # Behind what each server answered pymongo tells all that it knows of them.
        _log.warning("%s: %s", place, re.sub(r" \(configured timeouts: [^)]*\)|, Timeout: .*", "", str(error)))
        raise StoreFailed(f"no server of {place} could be reached: nothing was changed") from None
    except ConnectionFailure as error:  # NotPrimaryError and network timeouts included
        _log.warning("%s: %s", place, error)
        # Before a transaction is committed nothing of it is kept.
        if writing and not error.has_error_label("TransientTransactionError"):
            raise OutcomeUnknown(
                f"the connection to {place} was lost, and it is not known whether the change was kept"
            ) from None
        raise StoreFailed(f"the connection to {place} was lost") from None
    except WriteConcernError as error:
        raise OutcomeUnknown(
            f"{place} could not confirm in time that enough of its members have kept the change"
        ) from error
    except OperationFailure as error:
        refusal = _refusal(error)
        if refusal.code == _TIME_EXPIRED:
            raise expired() from None
        if refusal.code == _DISK_FULL:
            raise NoSpace(f"the disk of {place} is full: nothing was changed") from error
        if refusal.code in _NOT_THE_REQUEST or error.has_error_label("TransientTransactionError"):
            raise StoreFailed(f"{place} could not do it: {refusal.name}") from error
        if isinstance(error, BulkWriteError) and not (error.details or {}).get("writeErrors"):
            raise OutcomeUnknown(
                f"{place} could not confirm that enough of its members have kept the change"
            ) from error
        raise
    except DocumentTooLarge as error:
        raise InvalidRequest(f"MongoDB cannot keep it: {error}", code="BSONObjectTooLarge", pointer=None) from None
    except (BSONError, OverflowError) as error:
        raise InvalidRequest(f"MongoDB cannot take it: {error}", code="BadValue", pointer=None) from None
    except InvalidSettings as error:  # of a mongodb+srv:// URL, what DNS says is found out late
        _log.warning("%s: %s", place, error)
        raise StoreFailed(f"{place} cannot be connected to: DNS does not know it, or an option is wrong") from None
    except PyMongoError as error:
        raise StoreFailed(f"{place} could not do it") from error


@contextmanager
def _keeping(place: str, *, writing: bool = False) -> Iterator[None]:
    """The same where no client's request is behind it: whatever the server refuses is then a failure of the store."""
    try:
        with _at_the_server(place, writing=writing):
            yield
    except OperationFailure as error:
        raise StoreFailed(f"{place} refuses: {_refusal(error).name}") from error


def _milliseconds() -> int:
    """What is left to the request, at least one."""
    return max(1, math.ceil(remaining() * 1000))


def _blamed(error: OperationFailure, *attempts: Callable[[], object]) -> RequestError:
    """
    What the server refused, with the place in the request: our engine, tried on the same, finds it.

    Args:
        attempts: What may raise the same error.  Where none does, nobody knows the place.
    """
    refusal = _refusal(error)
    for attempt in attempts:
        try:
            with pymongo.timeout(remaining()):
                attempt()
        except RequestError as ours:
            if ours.code == refusal.name:
                return ours
            if ours.code == _MONGODB_ALONE:
                continue
            return type(ours)(refusal.message, code=refusal.name, pointer=ours.pointer)
        except (ConnectomeError, PyMongoError):
            continue  # the server is away by now: what it said stands
    return QueryError(refusal.message, code=refusal.name, pointer=None)


class MongoDBCollection:
    """The documents of one collection; any number of threads, and of processes, may call it."""

    # Nobody knows: any process may have written, this one or another.
    changed: datetime | None = None
    version: str | None = None

    def __init__(self, store: MongoDBStore, name: str, schema: Schema | None) -> None:
        self._store = store
        self._name = name
        self._schema = schema
        self._pinned: frozenset[str] = frozenset()

    @property
    def _documents(self) -> _Documents:
        return self._store.database[self._name]

    @contextmanager
    def _answering(self, *, writing: bool = False, seconds: float | None = None) -> Iterator[None]:
        """
        Ask the server something; what it is to blame for is raised as ours.

        Args:
            seconds: How long all that is sent may take; the server is told it as maxTimeMS.
        """
        with _at_the_server(self._store.place, writing=writing):
            if seconds is None:
                yield
                return
            self._store.await_primary()
            with pymongo.timeout(seconds):
                yield

    # Reading

    def find(self, find: Find) -> Iterator[Document]:
        return self._begun(self._cursor(find), lambda: self._asked(find))

    def encoded(self, find: Find) -> Iterator[bytes]:
        return map(extjson.encode, self.find(find))

    def _cursor(self, find: Find) -> Any:
        return self._documents.find_raw_batches(
            find.filter.source,
            find.projection.source or None,
            sort=_sort(find.sort.source),
            **_window(find),
            max_time_ms=_milliseconds(),
        )

    def _begun(self, batches: Any, *attempts: Callable[[], object]) -> Iterator[Document]:
        """The documents of a cursor; what the server refuses is raised here and now, before an answer begins."""
        try:
            with self._answering():
                first = list(islice(batches, 1))
        except OperationFailure as error:
            raise _blamed(error, *attempts) from None
        return self._streamed(first, batches)

    def _streamed(self, first: Sequence[bytes], batches: Any) -> Iterator[Document]:
        with batches:
            for batch in first:
                yield from _decoded(batch)
            try:
                with self._answering():
                    for batch in batches:
                        yield from _decoded(batch)
            except OperationFailure as error:
                raise _blamed(error) from None

    def _matching(
        self, filter: Any, projection: Any = None, *, limit: int = 0, session: _Session = None
    ) -> Iterator[Document]:
        """What matches, for the store itself: as the primary has it now, and nothing that is raised is translated."""
        there = self._documents.with_options(read_preference=ReadPreference.PRIMARY)
        batches: Any = there.find_raw_batches(filter, projection, limit=limit, session=session)
        with batches:
            for batch in batches:
                yield from _decoded(batch)

    def _asked(self, find: Find) -> None:
        """Answer a question about some documents by our engine."""
        some = list(self._matching({}, limit=_SAMPLE))
        found = find.sort(find.filter.select(some))
        for document in found:
            find.projection(document)

    def aggregate(self, pipeline: Pipeline) -> Iterator[Document]:
        def tried() -> None:
            """Have our engine run the pipeline over some documents, where it knows all the stages."""
            for _ in pipeline(list(self._matching({}, limit=_SAMPLE))):
                pass

        try:
            with self._answering():
                batches = self._documents.aggregate_raw_batches(pipeline.source, maxTimeMS=_milliseconds())
        except OperationFailure as error:
            raise _blamed(error, tried) from None
        return self._begun(batches, tried)

    def explain(self, find: Find) -> Explanation:
        question = {
            "find": self._name,
            "filter": find.filter.source,
            "projection": find.projection.source,
            "sort": dict(_sort(find.sort.source) or ()),
            **_window(find),
        }
        try:
            with self._answering():
                told = self._store.database.command(
                    "explain", question, verbosity="executionStats", maxTimeMS=_milliseconds()
                )
        except OperationFailure as error:
            raise _blamed(error, lambda: self._asked(find)) from None
        stage, path = _winning(told["queryPlanner"]["winningPlan"])
        # Where it can be told without a look that nothing matches, the server looks nowhere.
        stage = stage or "EOF"
        executed = told["executionStats"]
        return Explanation(
            stage, path, executed["totalDocsExamined"], executed["nReturned"], executed["executionTimeMillis"] / 1000
        )

    def count(self, filter: Filter) -> int:
        try:
            with self._answering():
                if not filter.source:
                    # Known to the server; to count them it would read a whole index.
                    return self._documents.estimated_document_count(maxTimeMS=_milliseconds())
                return self._counted(filter)
        except OperationFailure as error:
            raise _blamed(error, lambda: self._asked(Find(filter))) from None

    def _counted(self, filter: Filter) -> int:
        if not filter.distance:
            return self._documents.count_documents(filter.source, maxTimeMS=_milliseconds())
        # MongoDB counts by a pipeline, which knows no $near.
        batches = self._cursor(Find(filter, Projection({"_id": 1})))
        return sum(len(_decoded(batch)) for batch in batches)

    # Writing

    def insert_one(self, document: Document) -> Value:
        return self._insert([((), document)])[0]

    def insert_many(self, documents: Sequence[Document]) -> list[Value]:
        return self._insert([((position,), document) for position, document in enumerate(documents)])

    def _insert(self, placed: Sequence[tuple[tuple[int, ...], Document]]) -> list[Value]:
        admitted: list[Document] = []
        for place, document in placed:
            with at(*place):
                admitted.append(self._admitted(document))
        if not admitted:
            return []
        alone = len(admitted) == 1
        try:
            with self._answering(writing=True, seconds=None if alone else _BATCH_SECONDS):
                if alone:
                    self._documents.insert_one(admitted[0])
                elif self._store.transactions:
                    self._together(lambda session: self._documents.insert_many(admitted, session=session))
                else:
                    self._insert_one_after_the_other(admitted)
        except OperationFailure as error:
            places = [place for place, _ in placed]
            place = places[_refusal(error).position or 0]
            raise self._not_inserted(error, place, zip(places, admitted, strict=True)) from None
        return [document["_id"] for document in admitted]

    def _admitted(self, document: Document) -> Document:
        """A new document as it is kept, where it is not too large: what an update makes of one MongoDB bounds alone."""
        kept = identified(document)
        require_size(extjson.encode(kept, mode="stored"), kept, self._store.max_document_bytes)
        return kept

    def load(self, documents: Iterable[Document], *, on_duplicate: OnDuplicate = "stop") -> Loaded:
        # They wait outside memory, since a transaction that MongoDB sends back begins anew with the first.
        with SpooledTemporaryFile(_LOADED_IN_MEMORY, dir=roomy_directory()) as file:
            with self._answering():
                for position, document in enumerate(documents):
                    with at(position):
                        content = bson.encode(self._admitted(document))
                    with disk_errors("writing a temporary file"):
                        file.write(content)
            reached = 0

            def act(session: _Session) -> Loaded:
                nonlocal reached
                reached = 0
                done = Loaded(0)
                waiting = _waiting(file)
                while chunk := list(islice(waiting, _SAMPLE)):
                    part = self._settled(chunk, on_duplicate, session)
                    done = Loaded(
                        done.inserted + part.inserted, done.skipped + part.skipped, done.replaced + part.replaced
                    )
                    reached += len(chunk)
                return done

            try:
                with self._answering(writing=True, seconds=_BATCH_SECONDS):
                    if self._store.transactions:
                        return self._together(act)
                    try:
                        return act(None)
                    except BulkWriteError as error:
                        if on_duplicate == "stop":
                            self._take_out(islice(_waiting(file), reached + error.details["nInserted"]))
                        raise
            except OperationFailure as error:
                place = (reached + (_refusal(error).position or 0),)
                placed = (((position,), document) for position, document in enumerate(_waiting(file)))
                raise self._not_inserted(error, place, placed, at_most=MAX_FAILURES) from None

    def _settled(self, documents: list[Document], on_duplicate: OnDuplicate, session: _Session) -> Loaded:
        """Keep a thousand documents; skip or replace by those whose ``_id`` is taken, be it by an earlier one."""
        if on_duplicate == "stop":
            self._documents.insert_many(documents, session=session)
            return Loaded(len(documents))
        unique: dict[SortKey, Document] = {}
        positions: dict[SortKey, int] = {}
        for position, document in enumerate(documents):
            key = sort_key(document["_id"])
            if on_duplicate == "replace" or key not in unique:
                unique[key], positions[key] = document, position
        again = len(documents) - len(unique)
        query = {"_id": {"$in": [document["_id"] for document in unique.values()]}}
        taken: dict[SortKey, Value] = {
            sort_key(found["_id"]): found["_id"] for found in self._matching(query, {"_id": 1}, session=session)
        }
        fresh = {key: document for key, document in unique.items() if key not in taken}
        if fresh:
            with _placing([positions[key] for key in fresh]):
                self._documents.insert_many(fresh.values(), session=session)
        if on_duplicate == "skip":
            return Loaded(len(fresh), skipped=len(taken) + again)
        replacing = [
            ReplaceOne({"_id": {"$eq": identity}}, {**unique[key], "_id": identity}) for key, identity in taken.items()
        ]
        if replacing:
            with _placing([positions[key] for key in taken]):
                self._documents.bulk_write(replacing, session=session)
        return Loaded(len(fresh), replaced=len(taken) + again)

    def _insert_one_after_the_other(self, documents: list[Document]) -> None:
        """Without a transaction: what is in when one is refused is taken out again, as well as that can be done."""
        try:
            self._documents.insert_many(documents)
        except BulkWriteError as error:
            self._take_out(iter(documents[: error.details["nInserted"]]))
            raise

    def _take_out(self, inserted: Iterator[Document]) -> None:
        while chunk := list(islice(inserted, _SAMPLE)):
            self._documents.delete_many({"_id": {"$in": [document["_id"] for document in chunk]}})

    def _not_inserted(
        self, error: OperationFailure, place: tuple[int, ...], placed: Iterable[_Placed], *, at_most: int = _MOST
    ) -> ConnectomeError:
        """
        Why new documents were refused.

        Args:
            place: Of the one that the server names.
            placed: All of them.
            at_most: So many failures of a schema are told.
        """
        refusal = _refusal(error)
        if refusal.code in _DUPLICATE:
            return _duplicate(refusal, *place)
        if refusal.code == _INVALID_DOCUMENT:
            return self._violation(refusal, placed, *place, at_most=at_most)
        return InvalidRequest(refusal.message, code=refusal.name, pointer=pointer_to(*place))

    def _violation(
        self,
        refusal: _Refusal,
        placed: Iterable[_Placed],
        *place: int,
        identity: Any = None,
        at_most: int = _MOST,
    ) -> SchemaViolation:
        """What our validator finds in documents that the server's refused."""
        failures: list[Failure] = []
        for where, document in placed if self._schema else ():
            failures += self._schema.failures(extjson.to_json(document), *where)  # type: ignore[union-attr]
            if len(failures) >= at_most:
                break
        if not failures:
            failures = [Failure("the document does not satisfy the schema as MongoDB reads it", pointer_to(*place))]
        return SchemaViolation(failures[:at_most], document_id=identity)

    def _together(self, act: Callable[[ClientSession], _Result]) -> _Result:
        """Do it in a transaction, again where the server asks for that; it is given up when the time is over."""

        lost: ConnectionFailure | None = None

        def tried(session: ClientSession) -> _Result:
            nonlocal lost
            self._store.await_primary()
            try:
                done = act(session)
            except ConnectionFailure as error:
                lost = error
                # Left alone pymongo asks for an end of it until the time is over; the server ends it by itself, too.
                with pymongo.timeout(_ENDING_SECONDS):
                    session.abort_transaction()
                raise
            if session.in_transaction:
                with pymongo.timeout(_COMMIT_SECONDS):
                    session.commit_transaction()
            return done

        with self._store.client.start_session() as session:
            try:
                return session.with_transaction(
                    tried, write_concern=WriteConcern("majority"), read_preference=ReadPreference.PRIMARY
                )
            except PyMongoError as error:
                if error.has_error_label("UnknownTransactionCommitResult"):
                    _log.warning("%s: %s", self._store.place, error)
                    raise OutcomeUnknown(
                        f"{self._store.place} was lost when it was to keep the change, and nobody knows whether it did"
                    ) from None
                # When the time is over, that is all that pymongo says, be it the server that was away.
                reason = (error.__cause__ or lost) if isinstance(error, ExecutionTimeout) else None
                raise reason or error from None

    def update(self, modify: Modify, guard: Guard = NO_GUARD) -> Modified:
        if modify.upsert:
            _require_identity(modify.filter)
        attempt = 0
        while True:
            try:
                with self._answering(writing=True, seconds=remaining()):
                    return self._updated(modify, guard)
            except OperationFailure as error:
                attempt += 1
                refusal = _refusal(error)
                if refusal.code in _DUPLICATE:
                    if modify.upsert and attempt < _UPSERT_ATTEMPTS:
                        continue
                    duplicate = _duplicate(refusal)
                    duplicate.pointer = None
                    raise duplicate from None
                if refusal.code == _INVALID_DOCUMENT:
                    raise self._update_violates(refusal, modify) from None
                raise _blamed(error, lambda: self._rehearsed(modify, at_most=_SAMPLE)) from None

    def _updated(self, modify: Modify, guard: Guard) -> Modified:
        alone = _is_about_one(modify) and not _makes_identity(modify)
        if guard == NO_GUARD and (alone or not self._store.transactions):
            return self._sent(modify, None)
        if not self._store.transactions:
            foreseen = self._rehearsed(modify)
            guard.check(foreseen.modified + (foreseen.upserted is not None))
            return foreseen if guard.dry_run else self._sent(modify, None)

        def guarded(session: ClientSession) -> Modified:
            matching = self._matching(modify.filter.source, limit=_SAMPLE if modify.multi else 1, session=session)
            before = list(matching) if guard.dry_run else []
            modified = self._sent(modify, session)
            guard.check(modified.modified + (modified.upserted is not None))
            if not guard.dry_run:
                return modified
            examples = self._examples(before, modified, session)
            session.abort_transaction()
            return Modified(modified.matched, modified.modified, modified.upserted, examples)

        if modify.upsert:
            _ = self._store.meetings
        return self._together(guarded)

    def _examples(self, before: list[Document], modified: Modified, session: ClientSession) -> Sequence[Example]:
        """Some of the documents that an update changed, as they were and as they are in this transaction."""
        if modified.upserted is not None:
            return [(None, modified.upserted)]
        identities = [document["_id"] for document in before]
        after = {
            extjson.encode(document["_id"], mode="canonical"): document
            for document in self._matching({"_id": {"$in": identities}}, session=session)
        }
        pairs = ((old, after[extjson.encode(old["_id"], mode="canonical")]) for old in before)
        changed = (
            (old, new)
            for old, new in pairs
            if extjson.encode(old, mode="canonical") != extjson.encode(new, mode="canonical")
        )
        return list(islice(changed, MAX_EXAMPLES))

    def _sent(self, modify: Modify, session: _Session) -> Modified:
        """Have the server do an update."""
        source = _as_sent(modify.update.source)
        if not _makes_identity(modify):
            return self._modified(modify, modify.filter.source, source, session, upsert=modify.upsert)
        found = self._modified(modify, modify.filter.source, source, session, upsert=False)
        if found.matched:
            return found
        if session:
            self._meet_others(modify.filter, session)
        if type(source) is dict:
            return self._modified(
                modify, modify.filter.source, _with_identity(source, _made_identity(modify)), session, upsert=True
            )
        # A pipeline has no $setOnInsert: here the filter fixes the _id that we make.
        made: Any = modify.filter.source
        if not _gives_identity(source):
            made = {"$and": [made, {"_id": {"$eq": _made_identity(modify)}}]}
        return self._modified(modify, made, source, session, upsert=True)

    def _meet_others(self, filter: Filter, session: ClientSession) -> None:
        """
        Have only one of those who create what the same filter describes go on.

        To MongoDB two upserts that find nothing have nothing in common, and both create a document, unless an index is
        unique.  Here both change one record: the later one is sent back, looks again, and finds what the other created.
        Filters that fix the same values meet, however they are written.
        """
        fixed = {
            path: value if (whole := integral(value)) is None else whole for path, value in _equalities(filter).items()
        }
        text = f"{self._name} {extjson.dumps(dict(sorted(fixed.items())), mode='canonical')}"
        meeting = int.from_bytes(sha256(text.encode()).digest()[:8], "big") % _MEETINGS
        self._store.meetings.update_one({"_id": meeting}, {"$inc": {"n": 1}}, upsert=True, session=session)

    def _modified(self, modify: Modify, filter: Any, source: Any, session: _Session, *, upsert: bool) -> Modified:
        # A command about one document can be sent again when the connection is lost.
        result = (self._documents.update_one if _is_about_one(modify) else self._documents.update_many)(
            filter,
            source,
            upsert=upsert,
            array_filters=[each.source for each in modify.update.array_filters.values()] or None,
            session=session,
        )
        told = result.raw_result or {}
        if "upserted" not in told:
            return Modified(told["n"], told["nModified"])
        identity = told["upserted"]
        (document,) = [*self._matching({"_id": {"$eq": identity}}, limit=1, session=session)] or [{"_id": identity}]
        return Modified(0, 0, upserted=document)

    def _rehearsed(self, modify: Modify, *, at_most: int = 0) -> Modified:
        """What our engine makes of an update of all that matches, or ``at_most`` so many; where it refuses one."""
        matched = modified = 0
        examples: list[Example] = []
        for document in self._matching(modify.filter.source, limit=at_most if modify.multi else 1):
            after = modify.update.apply(document, modify.filter)
            matched += 1
            modified += after is not document
            if after is not document and len(examples) < MAX_EXAMPLES:
                examples.append((document, after))
        if not matched and modify.upsert:
            created = _created(modify)
            return Modified(0, 0, created, [(None, created)])
        return Modified(matched, modified, examples=examples)

    def _update_violates(self, refusal: _Refusal, modify: Modify) -> SchemaViolation:
        """Which document an update would have broken, and how: our engine finds out, where it can."""
        try:
            with pymongo.timeout(remaining()):
                return self._found_violating(refusal, modify)
        except (ConnectomeError, PyMongoError):
            return self._violation(refusal, [])

    def _found_violating(self, refusal: _Refusal, modify: Modify) -> SchemaViolation:
        for document in self._matching(modify.filter.source, limit=_SAMPLE if modify.multi else 1):
            after = modify.update.apply(document, modify.filter)
            if after is not document and self._schema and self._schema.failures(extjson.to_json(after)):
                return self._violation(refusal, [((), after)], identity=document["_id"])
        created = [((), _created(modify))] if modify.upsert else []
        return self._violation(refusal, created)

    def delete_one(self, filter: Filter) -> Deleted:
        try:
            with self._answering(writing=True, seconds=remaining()):
                return Deleted(self._documents.delete_one(filter.source).deleted_count)
        except OperationFailure as error:
            raise _blamed(error, lambda: self._asked(Find(filter))) from None

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        try:
            with self._answering(writing=not guard.dry_run, seconds=remaining()):
                if guard.dry_run or (guard.max_affected is not None and not self._store.transactions):
                    count = self._counted(filter)
                    guard.check(count)
                    if guard.dry_run:
                        some = self._matching(filter.source, limit=MAX_EXAMPLES)
                        return Deleted(count, [(document, None) for document in some])
                one = guard.max_affected is None and "_id" in _equalities(filter)
                if one or not self._store.transactions:
                    return Deleted(self._removed(filter, None))

                def guarded(session: ClientSession) -> Deleted:
                    deleted = self._removed(filter, session)
                    guard.check(deleted)
                    return Deleted(deleted)

                return self._together(guarded)
        except OperationFailure as error:
            raise _blamed(error, lambda: self._asked(Find(filter))) from None

    def _removed(self, filter: Filter, session: _Session) -> int:
        single = "_id" in _equalities(filter)
        delete = self._documents.delete_one if single else self._documents.delete_many
        return delete(filter.source, session=session).deleted_count

    # Keeping

    def set_schema(self, schema: Schema | None, *, satisfied: bool = False) -> None:
        with _keeping(self._store.place, writing=True):
            self._validate_by(schema)
            if schema and not satisfied:
                # What is written from now on satisfies it, so that looking at what is there is enough.
                try:
                    self._require_satisfied(schema)
                except ConnectomeError:
                    self._validate_by(self._schema)
                    raise
        self._schema = schema

    def _validate_by(self, schema: Schema | None) -> None:
        with _taking_schemas():
            self._store.database.command("collMod", self._name, **_validation(schema))

    def _require_satisfied(self, schema: Schema) -> None:
        for document in self._matching({"$nor": [validator(schema.source)]}, limit=1):
            failures = schema.failures(extjson.to_json(document)) or [
                Failure("the document does not satisfy the schema as MongoDB reads it", "")
            ]
            raise SchemaViolation(failures, document_id=document["_id"])

    def indexes(self) -> list[Index]:
        with _keeping(self._store.place):
            sizes = self._store.database.command("collStats", self._name).get("indexSizes", {})
            keys = {each["name"]: list(each["key"]) for each in self._documents.list_indexes()}
            # Each shard tells of its own.
            uses: dict[str, int] = {}
            # Whoever has readWrite and dbAdmin may not ask for it: uses are then not known.
            with _tolerating(_NOT_ALLOWED):
                for each in self._documents.aggregate([{"$indexStats": {}}]):
                    uses[each["name"]] = uses.get(each["name"], 0) + each["accesses"]["ops"]
        found = [
            Index(path := ", ".join(paths), path in self._pinned, uses.get(name, 0), int(sizes.get(name, 0)))
            for name, paths in keys.items()
            if paths != ["_id"]
        ]
        return sorted(found, key=lambda index: (not index.pinned, index.path))

    def pin(self, paths: Iterable[str]) -> None:
        wanted = frozenset(paths)
        with _keeping(self._store.place, writing=True):
            for path in sorted(wanted - self._pinned):
                with _tolerating(_INDEX_THERE_OTHERWISE), _making_indexes(path):
                    self._documents.create_index([(path, pymongo.ASCENDING)], name=_index_name(path))
            # By name: an index of the same path that the database's owner made is nobody else's to drop.
            for path in self._pinned - wanted:
                with _tolerating(_NO_INDEX):
                    self._documents.drop_index(_index_name(path))
        self._pinned = wanted

    def sync(self) -> None:
        """What was acknowledged is kept already, by as many members as the write concern says."""

    @property
    def size(self) -> int:
        with _keeping(self._store.place):
            return int(self._store.database.command("collStats", self._name).get("size", 0))


def _decoded(batch: bytes) -> list[Document]:
    """Documents that lie one behind the other, in the values of the language alone."""
    if b"$ref\0" not in batch:
        return bson.decode_all(batch, _CODEC)
    # Of a document with such a field pymongo would make a reference, of which the order of fields cannot be told.
    return [_plain(document) for document in bson.decode_all(batch, _UNREAD)]


def _plain(value: Any) -> Any:
    if isinstance(value, RawBSONDocument):
        return {name: _plain(each) for name, each in value.items()}
    return [*map(_plain, value)] if type(value) is list else value


def _waiting(file: IO[bytes]) -> Iterator[Document]:
    """The documents in a file, from the first on."""
    file.seek(0)
    for document in bson.decode_file_iter(file, _UNREAD):
        yield from _decoded(bytes(document.raw))


def _window(find: Find) -> dict[str, int]:
    """How many documents to skip and to find, as far as MongoDB can count."""
    skip = min(find.skip, _MOST)
    return {"skip": skip, "limit": min(find.limit, _MOST - skip)}


def _sort(source: Any) -> list[tuple[str, Any]] | None:
    """A sort as pymongo takes it: directions are Python's integers to it."""
    pairs = source.items() if type(source) is dict else source
    return [(path, direction if (whole := integral(direction)) is None else whole) for path, direction in pairs] or None


def _winning(plan: Any) -> tuple[str, str | None]:
    """The stage of a plan that reaches for documents, and the path of its index."""
    if type(plan) is list:
        return next((found for each in plan if (found := _winning(each))[0]), ("", None))
    if type(plan) is not dict:
        return "", None
    stage = str(plan.get("stage", "")).removeprefix("EXPRESS_")
    if stage in ("IXSCAN", "IDHACK", "CLUSTERED_IXSCAN"):
        path = ", ".join(plan.get("keyPattern", {"_id": 1}))
        return ("IDHACK", None) if path == "_id" else ("IXSCAN", path)
    if stage == "COLLSCAN":
        return stage, None
    return next((found for each in plan.values() if (found := _winning(each))[0]), ("", None))


def _duplicate(refusal: _Refusal, *place: int) -> DuplicateKey:
    """By ``_id``, or by another index that the database's owner made unique."""
    keys = refusal.keys or {"_id": None}
    taken = ", ".join(f"{path} {preview(value)}" for path, value in keys.items())
    return DuplicateKey(f"{taken} is taken", pointer=pointer_to(*place, *next(iter(keys)).split(".")))


def _equalities(filter: Filter) -> Mapping[str, Value]:
    """The paths whose value a filter fixes; none where it fixes one twice, which the server will tell."""
    try:
        return filter.equalities
    except QueryError:
        return {}


@contextmanager
def _placing(positions: Sequence[int]) -> Iterator[None]:
    """Have an error about the first, second … of some documents be about those that are at these positions."""
    try:
        yield
    except BulkWriteError as error:
        for each in error.details["writeErrors"]:
            each["index"] = positions[each["index"]]
        raise


def _is_about_one(modify: Modify) -> bool:
    """Whether an update can change one document alone, which MongoDB does as a whole by itself."""
    return not modify.multi or "_id" in _equalities(modify.filter)


def _makes_identity(modify: Modify) -> bool:
    """Whether an update may create a document of which the filter does not say the ``_id``."""
    return modify.upsert and not any(map(_is_identity, _equalities(modify.filter)))


def _as_sent(source: Any) -> Any:
    """An update as MongoDB takes it: plain fields mean ``$set``."""
    if source == []:
        return [{"$replaceWith": "$$ROOT"}]
    if type(source) is dict and not next(iter(source), "").startswith("$"):
        return {"$set": source}
    return source


def _require_identity(filter: Filter) -> None:
    """Refuse an upsert that would create an ``_id`` which cannot be one; nothing can match it either."""
    try:
        identified({"_id": _equalities(filter).get("_id")})
    except InvalidRequest as error:
        error.pointer = None
        raise


def _is_identity(path: str) -> bool:
    """Whether a path is that of the ``_id``, or of a part of it."""
    return path.partition(".")[0] == "_id"


def _with_identity(source: Mapping[str, Any], identity: Value) -> Mapping[str, Any]:
    """Operators that give a document which an upsert creates this ``_id``, where they do not give it one."""
    paths = (path for fields in source.values() for path in fields)
    if any(map(_is_identity, paths)):
        return source
    return {**source, "$setOnInsert": {**source.get("$setOnInsert", {}), "_id": identity}}


def _gives_identity(stages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a stage of a pipeline says what the ``_id`` shall be."""
    for stage in stages:
        ((name, operand),) = stage.items()
        fields = operand["newRoot"] if name == "$replaceRoot" else operand
        if name != "$unset" and type(fields) is dict and any(map(_is_identity, fields)):
            return True
    return False


def _made_identity(modify: Modify) -> Value:
    """The ``_id`` of a document that an upsert creates, where nothing fixes one."""
    return new_id() if modify.new_id is None else modify.new_id


def _created(modify: Modify) -> Document:
    """What our engine has an upsert create."""
    document = modify.update.insert(modify.filter)
    return identified(document if "_id" in document else {"_id": _made_identity(modify), **document})


def _validation(schema: Schema | None) -> dict[str, Any]:
    return {
        "validator": validator(schema.source) if schema else {},
        "validationLevel": "strict",
        "validationAction": "error",
    }


@contextmanager
def _taking_schemas() -> Iterator[None]:
    """Tell a schema that the server does not take, such as one with a pattern that is none to it, from its failing."""
    try:
        yield
    except OperationFailure as error:
        refusal = _refusal(error)
        if refusal.name not in ("BadValue", "FailedToParse", "TypeMismatch", "InvalidRegex", "Location51091"):
            raise
        raise InvalidRequest(
            f"MongoDB does not take this schema: {refusal.message}", code="InvalidSchema", pointer=None
        ) from None


def _index_name(path: str) -> str:
    """The name of an index that was made here."""
    return f"connectome.{path}"


@contextmanager
def _making_indexes(path: str) -> Iterator[None]:
    """Tell an index that cannot be, such as one more than MongoDB keeps of a collection, from a failing server."""
    try:
        yield
    except OperationFailure as error:
        if (refusal := _refusal(error)).code != _CANNOT_CREATE_INDEX:
            raise
        raise InvalidRequest(
            f"MongoDB makes no index of {preview(path)}: {refusal.message}", code=refusal.name, pointer=None
        ) from None


@contextmanager
def _tolerating(codes: frozenset[int]) -> Iterator[None]:
    """Take a refusal by one of these codes for success: somebody else has done it already."""
    try:
        yield
    except OperationFailure as error:
        if _refusal(error).code not in codes:
            raise


class RecordLedger:
    """A record as a document of its own: its text, since a field's name there may be none here, and a revision."""

    def __init__(self, store: MongoDBStore, name: str) -> None:
        self.name = f"{RECORDS}/{name}"
        self._store = store
        self._key = name
        self._revision: ObjectId | None = None

    @property
    def _records(self) -> _Documents:
        # Whatever the URL says of documents: a credential that was revoked does not come back.
        return self._store.database[RECORDS].with_options(
            read_preference=ReadPreference.PRIMARY, write_concern=WriteConcern("majority")
        )

    def load(self) -> dict[str, Any]:
        with _keeping(self._store.place):
            found = self._records.find_one({"_id": self._key})
        self._revision = found["revision"] if found else None
        record: dict[str, Any] = json.loads(found["record"]) if found else {}
        return record

    def save(self, record: dict[str, Any]) -> None:
        fresh = {"revision": ObjectId(), "record": json.dumps(record, ensure_ascii=False)}
        try:
            with _at_the_server(self._store.place, writing=True), pymongo.timeout(_BATCH_SECONDS):
                if self._revision is None:
                    self._records.insert_one({"_id": self._key, **fresh})
                    saved = True
                else:
                    known = {"_id": self._key, "revision": self._revision}
                    saved = self._records.update_one(known, {"$set": fresh}).matched_count == 1
        except OperationFailure as error:
            if _refusal(error).code not in _DUPLICATE:
                raise StoreFailed(f"{self._store.place} refused to keep {self.name}") from error
            saved = False
        if not saved:
            raise LedgerChanged(f"another process changed {self.name} in the meantime: nothing was changed here")
        self._revision = fresh["revision"]  # type: ignore[assignment]

    def changed(self) -> bool:
        with _keeping(self._store.place):
            found = self._records.find_one({"_id": self._key}, {"revision": 1})
        return (found["revision"] if found else None) != self._revision


_EXPECTED: Final = (
    "the store is mongodb://host/database or mongodb+srv://host/database, with user:password@ in front of the host and "
    "?options behind the database where they are needed, each percent-encoded; the one that was given is not"
)


class MongoDBStore:
    """
    A database of a MongoDB server, replica set or sharded cluster.

    Args:
        url: ``mongodb://host/database`` or ``mongodb+srv://…``, with whatever options pymongo knows.
        max_document_bytes: A larger new document, as JSON, is refused.

    Raises:
        ConfigurationError: The URL cannot be one, or names no database; it is not repeated: a password may stand there.
        StoreFailed: The server cannot be reached, or refuses.
    """

    name = "mongodb"
    shared = True

    def __init__(self, url: str, *, max_document_bytes: int = 2**24) -> None:
        self.max_document_bytes = max_document_bytes
        given = {name.lower() for name, _ in parse_qsl(urlsplit(url).query)}
        defaults = {name: value for name, value in _DEFAULTS.items() if name.lower() not in given}
        try:
            self.client: MongoClient[Document] = MongoClient(url, appname="connectome", connect=False, **defaults)
        except (InvalidURI, InvalidSettings, InvalidName, ValueError):
            raise ConfigurationError(_EXPECTED) from None
        try:
            self.database = self.client.get_default_database(codec_options=_CODEC)
        except (InvalidSettings, InvalidName):
            self.client.close()
            raise ConfigurationError(_EXPECTED) from None
        if not self.database.write_concern.acknowledged:
            self.client.close()
            raise ConfigurationError("with w=0 nobody would know whether a write was kept: leave it out of the URL")
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self.database.name}"
        try:
            _ = self.transactions  # the first thing asked of the server: it is there
        except ConnectomeError:
            self.client.close()
            raise

    @cached_property
    def transactions(self) -> bool:
        """Whether the server has them: a replica set or a sharded cluster, not a standalone."""
        with _keeping(self.place):
            told = self.client.admin.command("hello")
        return "setName" in told or told.get("msg") == "isdbgrid"

    @cached_property
    def meetings(self) -> _Documents:
        """Where upserts meet; made beforehand, since a transaction that reaches several shards can make nothing."""
        with _tolerating(_ALREADY_THERE):
            self.database.create_collection(MEETINGS, check_exists=False)
        return self.database[MEETINGS]

    def await_primary(self) -> None:
        """
        Return when there is a server that writes, which is at once where one is known.

        For an operation with a time of its own pymongo waits so long, and not as long as the URL says.

        Raises:
            ServerSelectionTimeoutError: There is none.
        """
        with pymongo.timeout(None):
            _ = self.client.is_primary

    def schema(self, source: Any) -> Schema:
        compiled = Schema(source)
        validator(source)
        return compiled

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> MongoDBCollection:
        if new:
            with _keeping(self.place, writing=True), _taking_schemas():
                try:
                    self.database.create_collection(name, **_validation(schema))
                except (CollectionInvalid, OperationFailure) as error:
                    # pymongo looks first; somebody may still be faster.
                    if isinstance(error, OperationFailure) and _refusal(error).code not in _ALREADY_THERE:
                        raise
                    raise CollectionExists(f"the database holds a collection {name!r} already") from None
        return MongoDBCollection(self, name, schema)

    def holds(self, name: str) -> bool:
        with _keeping(self.place):
            return bool(self.database.list_collection_names(filter={"name": name}))

    def drop(self, name: str) -> None:
        with _keeping(self.place, writing=True):
            self.database.drop_collection(name)

    def ledger(self, name: str) -> RecordLedger:
        return RecordLedger(self, name)

    def close(self) -> None:
        self.client.close()
