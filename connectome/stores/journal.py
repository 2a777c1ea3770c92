"""
The TinyDB storage that no crash, full disk or second process can tear.

A collection is a plain TinyDB file and, beside it, an append-only journal of what was written since::

    movies.json               {"_default": {"1": {…}, …}, "_connectome": {"1": {generation, seq, prev, sha256, …}}}
    movies.journal.7          a header, then a record for each request, each one line
    crc32 prev seq durable length json

``crc32`` is of the rest of the line; ``prev`` is the crc of the record before, so that no record can be dropped, moved
or come from another file; ``seq`` counts records; ``durable`` is the last seq that was known to be synced when the line
was written; ``json`` holds after-images, ``{"put": {row: document}, "del": [rows]}``, so that replaying is idempotent.

At every instant the file of generation g and the journals g, g+1, … without a gap are the state.  A checkpoint starts
a new journal, writes a new file of its generation, and removes the journals before it.

What is read back is believed only where the checksums allow it.  At the first bad record of the last journal: where a
later record says that this one was synced, or where a complete line has a wrong checksum, acknowledged data is damaged
and the collection is refused; what no sync covered is cut off, and kept beside for whoever wants to look.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal
from zlib import crc32

from tinydb import Storage

from connectome import extjson
from connectome.errors import CollectionDamaged, NoSpace, OutcomeUnknown, StoreError, StoreFailed
from connectome.stores import files
from connectome.stores.files import File, Files, disk_errors

Durability = Literal["full", "interval", "os", "memory"]
# Of a TinyDB file: the name of a table → row number → document in plain JSON, or, in bytes, its text.
Tables = dict[str, dict[str, Any]]
# The number of each document, and its text as JSON.
Rows = Iterable[tuple[int, bytes]]

_log = logging.getLogger(__name__)

_FORMAT: Final = 1
_META: Final = "_connectome"
_META_NUMBERS: Final = ("generation", "seq", "prev", "saved_ns")
_META_MARK: Final = b',"_connectome":'
_START: Final = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) (\d{1,19}) (\d{1,19}) (\d{1,12}) ")
# A block of zeros that a file system may leave where it had made room and not yet written.
_ZEROS: Final = b"\0" * 16
_BLOCK: Final = 512
# So much of a data file is in memory beside the documents while it is written.
_PIECE_BYTES: Final = 2**20
_MTIME_STEP_NS: Final = 2_000_000_000


@dataclass(frozen=True)
class Record:
    """
    One line of a journal.

    seq: its number; of a header, the number of the last record before it.
    prev: the crc of the record before.
    durable: the last record that was known to be on the disk when this one was written.
    """

    seq: int
    prev: int
    durable: int
    payload: Any
    crc: int


def line(seq: int, prev: int, durable: int, payload: bytes) -> bytes:
    """A record as it stands in the journal, from its payload as JSON; its crc is its first eight digits."""
    rest = b"%08x %d %d %d %s" % (prev, seq, durable, len(payload), payload)
    return b"%08x %s\n" % (crc32(rest), rest)


def change(put: Rows, removed: Sequence[int]) -> bytes:
    """The payload of a record that puts documents and removes others."""
    rest = b',"del":[%s]' % b",".join(b"%d" % number for number in removed) if removed else b""
    return b'{"put":{%s}%s}' % (_members(put), rest)


def _members(rows: Rows) -> bytes:
    return b",".join([b'"%d":%s' % row for row in rows])


def record_at(content: bytes, offset: int) -> tuple[Record, int] | None:
    """
    The record that begins at an offset, and where the next one would; None where none is whole there.

    Its own length says where it ends, so that the last record is whole even without the newline behind it.
    """
    matched = _START.match(content, offset)
    if not matched:
        return None
    end = matched.end() + int(matched[5])
    if end > len(content) or crc32(content[offset + 9 : end]) != int(matched[1], 16):
        return None
    if content[end : end + 1] not in (b"\n", b"") and end + 1 < len(content):
        return None
    try:
        payload = extjson.parse(content[matched.end() : end])
    except ValueError:
        return None
    return Record(int(matched[3]), int(matched[2], 16), int(matched[4]), payload, int(matched[1], 16)), end + 1


@dataclass
class State:
    """
    What files say of a collection.

    tables: the tables of the file, the journals replayed on ``_default``.
    generation: of the file; seq, prev: of the last record that is part of the state.
    replayed: how many records came from journals.
    """

    tables: Tables = field(default_factory=lambda: {"_default": {}})
    generation: int = 0
    seq: int = 0
    prev: int = 0
    replayed: int = 0

    def rows(self) -> dict[str, Any]:
        """The documents by their numbers, in plain JSON."""
        rows = self.tables.get("_default", {})
        return {number: extjson.parse(row) if type(row) is bytes else row for number, row in rows.items()}

    def apply(self, payload: Mapping[str, Any]) -> None:
        """Do what a record says."""
        rows = self.tables.setdefault("_default", {})
        rows.update(payload.get("put", {}))
        for number in payload.get("del", ()):
            rows.pop(str(number), None)


@dataclass(frozen=True)
class Content:
    """What a data file holds: the documents, and the tables that somebody else keeps beside them."""

    documents: Rows
    others: Tables

    def pieces(self, meta: Mapping[str, Any]) -> Iterator[bytes]:
        """The data file, in pieces: the tables as TinyDB has them, then the meta with their checksum."""
        checksum = sha256()
        piece = bytearray(b'{"_default":{')
        between = b""
        for row in self.documents:
            piece += b'%s"%d":%s' % (between, *row)
            between = b","
            if len(piece) >= _PIECE_BYTES:
                checksum.update(piece)
                yield bytes(piece)
                piece.clear()
        piece += b"}"
        for name, table in self.others.items():
            piece += b",%s:%s" % (_text(name), _text(table))
        checksum.update(piece)
        piece += _META_MARK + _text({"1": {**meta, "sha256": checksum.hexdigest()}}) + b"}"
        yield bytes(piece)


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Damage:
    """What is wrong with a file, and where: for the log and ``connectome check``, never for a client."""

    file: str
    byte: int
    says: str

    def __str__(self) -> str:
        return f"{self.file}, byte {self.byte}: {self.says}"


class _Damaged(Exception):
    def __init__(self, file: Path, byte: int, says: str) -> None:
        super().__init__(says)
        self.damage = Damage(file.name, byte, says)


class JournalFiles:
    """The files of one collection, by name."""

    def __init__(self, disk: Files, path: Path) -> None:
        self.disk = disk
        self.path = path

    def journal(self, generation: int) -> Path:
        """The journal that goes with the data file of a generation."""
        return self.path.with_name(f"{self.path.stem}.journal.{generation}")

    def generations(self) -> list[int]:
        """The generations of which there are journals, in order."""
        prefix = f"{self.path.stem}.journal."
        endings = (name.removeprefix(prefix) for name in self.disk.names(self.path.parent) if name.startswith(prefix))
        return sorted(int(ending) for ending in endings if ending.isdecimal())

    def modified(self) -> datetime | None:
        """When the newest of the files was written; None where the disk does not say."""
        try:
            newest = max(map(self.disk.modified_ns, [self.path, *map(self.journal, self.generations())]))
        except OSError:
            return None
        return datetime.fromtimestamp(newest // 10**9, UTC)

    def remove(self) -> None:
        """Remove the data file, then the journals: a file without its journal is never seen."""
        files.remove(self.disk, self.path)
        for generation in self.generations():
            files.remove(self.disk, self.journal(generation))


class Recovery:
    """
    Read the files of a collection as the rules say.

    state: what they say.
    adopted: the data file was edited, or written by TinyDB, while no server ran.
    torn: bytes of the last journal that no sync covered: from where on, and what stands there.
    """

    def __init__(self, own: JournalFiles) -> None:
        self._own = own
        self.state = State()
        self.adopted = False
        self.torn: tuple[int, bytes] | None = None

    def read(self) -> Recovery:
        """
        Raises:
            CollectionDamaged: The files are not what was written; ``damage`` says where.
            StoreFailed: They cannot be read.
        """
        try:
            with disk_errors(f"reading {self._own.path.name}"):
                self._read_file()
                self._read_journals()
        except _Damaged as error:
            raise CollectionDamaged(error.damage) from None
        return self

    def _read_file(self) -> None:
        path = self._own.path
        content = self._own.disk.read(path)
        if content is None:
            raise _Damaged(path, 0, "the file of a collection that the catalog names is missing")
        if self._read_quickly(content):
            return
        try:
            tables = extjson.parse(content)
        except (ValueError, RecursionError) as error:
            raise _Damaged(path, getattr(error, "pos", 0), f"not the JSON that was written: {error}") from None
        if type(tables) is not dict or not all(type(table) is dict for table in tables.values()):
            raise _Damaged(path, 0, "not an object of tables, as TinyDB writes it")
        meta = tables.pop(_META, {}).get("1")
        self.state.tables = tables
        if meta is None:
            self.adopted = True
            return
        if type(meta) is not dict or not all(type(meta.get(key)) is int for key in _META_NUMBERS):
            raise _Damaged(path, content.rfind(_META_MARK), "the meta document is not what was written")
        self.state.generation, self.state.seq, self.state.prev = meta["generation"], meta["seq"], meta["prev"]
        signed = content[: content.rfind(_META_MARK)]
        if sha256(signed).hexdigest() != meta.get("sha256"):
            if self._own.disk.modified_ns(path) == meta["saved_ns"]:
                raise _Damaged(path, 0, "its checksum is wrong, and nobody has written it since: the disk has decayed")
            self.adopted = True

    def _read_quickly(self, content: bytes) -> bool:
        """Take a file that is as it was written, to the last bit, without decoding its documents."""
        mark = content.rfind(_META_MARK)
        if mark < 0 or not extjson.HAS_MSGSPEC:
            return False
        signed = content[:mark]
        try:
            meta = json.loads(content[mark + len(_META_MARK) : -1])["1"]
            if sha256(signed).hexdigest() != meta["sha256"]:
                return False
            tables: Tables = dict(extjson.split(signed + b"}"))
            for name in tables.keys() - {"_default"}:
                tables[name] = {number: extjson.parse(text) for number, text in tables[name].items()}
            self.state.generation, self.state.seq, self.state.prev = meta["generation"], meta["seq"], meta["prev"]
        except (ValueError, KeyError, TypeError):
            # Whatever it is, the slow way says so.
            return False
        self.state.tables = tables
        return True

    def _read_journals(self) -> None:
        generations = [each for each in self._own.generations() if each >= self.state.generation]
        if not self.state.generation:
            # A crash while the file was adopted leaves a journal that holds nothing yet.
            for generation in generations:
                content = self._own.disk.read(self._own.journal(generation)) or b""
                header = record_at(content, 0)
                if header is None or header[1] < len(content):
                    raise _Damaged(self._own.path, 0, "a plain TinyDB file beside a journal with records")
            return
        expected = range(self.state.generation, self.state.generation + max(len(generations), 1))
        for generation, found in zip(expected, [*generations, None], strict=False):
            if generation != found:
                raise _Damaged(self._own.journal(generation), 0, "the journal is missing")
        for generation in generations:
            self._read_journal(generation, last=generation == generations[-1])
        if self.adopted and self.state.replayed:
            raise _Damaged(
                self._own.path,
                0,
                "edited while its journal held records: start once with the unedited file, stop cleanly, then edit",
            )

    def _read_journal(self, generation: int, *, last: bool) -> None:
        path = self._own.journal(generation)
        content = self._own.disk.read(path) or b""
        found = record_at(content, 0)
        wanted = {"format": _FORMAT, "collection": self._own.path.stem, "generation": generation}
        if (
            found is None
            or content[found[1] - 1 : found[1]] != b"\n"
            or (found[0].seq, found[0].prev) != (self.state.seq, self.state.prev)
            or {key: found[0].payload.get(key) for key in wanted} != wanted
        ):
            raise _Damaged(path, 0, "the header is not that of the journal that belongs here")
        offset = found[1]
        while offset < len(content):
            found = record_at(content, offset)
            if found is None or (found[0].seq, found[0].prev) != (self.state.seq + 1, self.state.prev):
                self._bad_record(path, content, offset, last=last)
                return
            record, offset = found
            self.state.apply(record.payload)
            self.state.seq, self.state.prev = record.seq, record.crc
            self.state.replayed += 1

    def _bad_record(self, path: Path, content: bytes, offset: int, *, last: bool) -> None:
        """Cut off what no sync covered, or refuse what one did."""
        if not last:
            raise _Damaged(path, offset, "a record is damaged, and a later journal goes on behind it")
        expected = self.state.seq + 1
        # A record that lost its end has run into the next one: that one may begin anywhere.
        starts = (matched.start() for matched in _START.finditer(content, offset + 1))
        later = [found[0] for start in starts if (found := record_at(content, start)) and found[0].seq >= expected]
        if any(record.durable >= expected for record in later):
            raise _Damaged(path, offset, f"record {expected} is damaged, and was acknowledged: a later one says so")
        # Blocks arrive in any order: of a record that begins just before the end of one, the first may be missing.
        first_block = content[offset : (offset // _BLOCK + 1) * _BLOCK]
        zeros = _ZEROS in content[offset:] or not first_block.strip(b"\0")
        if not later and content.endswith(b"\n") and not zeros:
            raise _Damaged(path, offset, f"record {expected} is complete, and its checksum is wrong")
        self.torn = (offset, content[offset:])


class JournaledStorage(Storage):
    """
    The files of one collection, opened for writing.

    Not for several threads at once: ``LiveTable`` sees to it that one writes at a time.

    Args:
        new: There is nothing yet; otherwise the files are read, and recovered by ``begin``.

    Raises:
        CollectionDamaged, StoreFailed, NoSpace: From the constructor: nothing was changed.
    """

    def __init__(self, own: JournalFiles, *, new: bool, durability: Durability) -> None:
        self._own = own
        self._disk = own.disk
        self._durability = durability
        self._journal: File | None = None
        self.records = 0
        self.journal_bytes = 0
        self.file_bytes = 0
        self._failed: str | None = None
        self._closed = False
        self._journal_generation = 0
        # What begins to write, where there was no room for it at the start.
        self._postponed: Callable[[], Content] | None = None
        # Before recovery writes them anew.
        self.modified = None if new else own.modified()
        self._recovery = None if new else Recovery(own).read()
        self.state = self._recovery.state if self._recovery else State()
        self.adopted = bool(self._recovery and self._recovery.adopted)
        self.durable = self.state.seq

    def begin(self, content: Callable[[], Content]) -> None:
        """
        Start to write, with what was read once it has been understood; until then no file is touched.

        Args:
            content: What is published, whenever it is called.

        Raises:
            StoreFailed: The files are as they were, but for a torn tail that was cut off.
        """
        own, recovery = self._own, self._recovery
        self.state.tables = {}  # what was read lives in the table from now on
        if recovery is None:
            with disk_errors(f"making {own.path.name}"):
                own.remove()
            try:
                self._start_afresh(content())
            except StoreError:
                self.close()
                with suppress(OSError):
                    own.remove()
                raise
            return
        if recovery.adopted:
            _log.warning("%s was edited while no server ran: it is taken as it stands", own.path.name)
        if recovery.torn:
            self._keep_torn(*recovery.torn)
        self._sync_journals()
        if recovery.adopted or recovery.torn or recovery.state.replayed:
            # Into new files: what the system cached of the old ones after a failed sync is not to be believed.
            try:
                self._start_afresh(content())
            except NoSpace as error:
                _log.warning("%s; %s only reads until there is room", error.detail, own.path.name)
                self._postponed = content
            return
        with disk_errors(f"opening the journal of {own.path.name}"):
            self._journal = self._disk.append(own.journal(self.state.generation))
            self._journal_generation = self.state.generation
            self.journal_bytes = len(self._disk.read(own.journal(self.state.generation)) or b"")
            self.file_bytes = len(self._disk.read(own.path) or b"")
            self._remove_before(self.state.generation)

    def _sync_journals(self) -> None:
        """
        Have the disk keep what was read: after a ``kill -9`` it may be the system's memory alone that has it, and a new
        journal must not say that it goes on from there before.
        """
        with disk_errors(f"syncing the journals of {self._own.path.name}"):
            for generation in self._own.generations():
                file = self._disk.append(self._own.journal(generation))
                try:
                    file.sync()
                finally:
                    _let_go(file)

    def _keep_torn(self, offset: int, torn: bytes) -> None:
        last = self._own.journal(self._own.generations()[-1])
        kept = last.with_name(f"{last.name}.torn-{time.time_ns()}")
        _log.warning("%s: %d bytes that no sync covered are cut off, and kept in %s", last.name, len(torn), kept.name)
        with disk_errors(f"cutting {last.name}"):
            files.replace(self._disk, kept, torn)
            file = self._disk.append(last)
            try:
                file.truncate(offset)
                file.sync()
            finally:
                _let_go(file)

    @property
    def name(self) -> str:
        """The name of the data file."""
        return self._own.path.name

    def read(self) -> Tables:
        """The tables as they were recovered."""
        return self.state.tables

    def write(self, data: Tables) -> None:
        """Replace everything, as TinyDB itself would ask for."""
        others = {name: table for name, table in data.items() if name != "_default"}
        documents = [(int(number), _text(document)) for number, document in data.get("_default", {}).items()]
        self.checkpoint(self.start_journal(), Content(documents, others))

    def commit(self, lines: Sequence[bytes], seq: int) -> None:
        """
        Keep records: when this returns, they survive what the durability promises.

        Args:
            lines: The records as they stand in a journal, in order.
            seq: The number of the last of them.

        Raises:
            NoSpace: The disk is full: the journal is as it was.
            StoreFailed: Whether they were kept is not known; nothing more is written until the files are opened again.
        """
        self._require_open()
        assert self._journal is not None
        content = b"".join(lines)
        try:
            self._journal.write(content)
        except OSError as error:
            self._take_back(error)
        self.journal_bytes += len(content)
        if self._durability == "full":
            self.sync()
        self.records += len(lines)
        self.state.seq, self.state.prev = seq, int(lines[-1][:8], 16)
        if self._durability == "full":
            self.durable = seq

    def _require_open(self) -> None:
        """Refuse a write that nothing could be built on; begin to write where there was no room for it at the start."""
        self.require_working()
        if self._postponed:
            self._start_afresh(self._postponed())
            self._postponed = None
        if self._journal is None:
            raise StoreFailed("the collection is closed")

    def commit_whole(self, content: Content) -> None:
        """
        Keep a state of everything, by a new data file: when this returns, it survives a power cut.

        What was committed before it is part of it.  While the new file does not have its name, the old file and all
        journals say what was before; nobody commits meanwhile.

        Raises:
            NoSpace, StoreFailed: Nothing was kept: the old file and all journals go on.
            OutcomeUnknown: The new file has its name, and after a power cut it may not; nothing more is written until
                the files are opened again.
        """
        self._require_open()
        meta = self.start_journal()
        try:
            self.checkpoint(meta, content)
        except OutcomeUnknown as error:
            self._failed = error.detail
            raise

    def _take_back(self, error: OSError) -> None:
        """Cut off what a failed write left; where that fails too, nothing more may be written behind it."""
        assert self._journal is not None
        try:
            self._journal.truncate(self.journal_bytes)
        except OSError as worse:
            self._poison(worse)
        with disk_errors(f"writing the journal of {self._own.path.name}"):
            raise error

    def sync(self) -> None:
        """
        Have the disk keep the journal.

        Raises:
            StoreFailed: It did not; no later sync could be believed either.
        """
        if self._journal is None or self._failed:
            return
        seq = self.state.seq
        try:
            self._journal.sync()
        except OSError as error:
            self._poison(error)
        self.durable = seq

    def _poison(self, error: OSError) -> None:
        self._failed = f"{error.strerror or error}"
        raise StoreFailed(
            f"{self._failed} while syncing the journal of {self._own.path.name}: "
            "whether the write was kept is not known"
        ) from error

    def start_journal(self) -> dict[str, Any]:
        """
        Begin the journal of the next generation; what is committed from now on goes there.

        Returns:
            The meta of the data file that will go with it.

        Raises:
            StoreFailed, NoSpace: The old journal goes on.
        """
        own = self._own
        if self._failed or self._closed:
            raise StoreFailed(f"no journal of {own.path.name} is begun any more: {self._failed or 'it is closed'}")
        with disk_errors(f"starting a journal of {own.path.name}"):
            generation = max([self.state.generation, *own.generations()]) + 1
        payload = {"format": _FORMAT, "collection": own.path.stem, "generation": generation}
        header = line(self.state.seq, self.state.prev, self.state.seq, _text(payload))
        path = own.journal(generation)
        # What the old journal holds must be on the disk before a new one says that it goes on from there.
        self.sync()
        with disk_errors(f"starting {path.name}"):
            try:
                # By rename, never in place: the name must not arrive on the disk before the header.
                files.replace(self._disk, path, header)
                journal = self._disk.append(path)
            except OSError:
                self._take_away(path)
                raise
        if self._journal is not None:
            _let_go(self._journal)
        self._journal, self.journal_bytes, self.records = journal, len(header), 0
        self._journal_generation = generation
        return {
            "format": _FORMAT,
            "id": own.path.stem,
            "generation": generation,
            "seq": self.state.seq,
            "prev": self.state.prev,
        }

    def _take_away(self, path: Path) -> None:
        """Remove a journal that could not be begun: the old one goes on, and the two must never be there together."""
        try:
            files.remove(self._disk, path)
        except OSError as worse:
            self._poison(worse)

    def checkpoint(self, meta: dict[str, Any], content: Content) -> None:
        """
        Write the data file that goes with a journal, and remove the journals before it.

        Args:
            meta: What ``start_journal`` returned.
            content: The state as it was then.

        Raises:
            StoreFailed, NoSpace: The old file and all journals are there: nothing is lost.
        """
        # In whole steps of two seconds, which every file system can keep.
        saved_ns = time.time_ns() // _MTIME_STEP_NS * _MTIME_STEP_NS
        pieces = content.pieces({**meta, "saved_ns": saved_ns})
        with disk_errors(f"writing {self._own.path.name}"):
            file_bytes = files.replace(self._disk, self._own.path, pieces, modified_ns=saved_ns)
        self.state.generation = meta["generation"]
        self.file_bytes = file_bytes
        self._remove_before(meta["generation"])

    def _remove_before(self, generation: int) -> None:
        try:
            for old in self._own.generations():
                if old < generation:
                    files.remove(self._disk, self._own.journal(old))
        except OSError as error:
            # They are older than the file, and are passed over from now on.
            _log.warning("old journals of %s cannot be removed: %s", self._own.path.name, error)

    def _start_afresh(self, content: Content) -> None:
        self.checkpoint(self.start_journal(), content)

    @property
    def figures(self) -> Mapping[str, int]:
        """What there is to say of the files, by the names of ``stores.base.Watched``."""
        return {
            "journal_bytes": self.journal_bytes,
            "journal_writes": self.records,
            "checkpoints": self.state.generation,
            "failed": int(self.failed),
            "torn": int(bool(self._recovery and self._recovery.torn)),
        }

    @property
    def failed(self) -> bool:
        """Whether a sync has failed, so that nothing more is written."""
        return self._failed is not None

    def require_working(self) -> None:
        """
        Refuse a write that nothing could be built on.

        Raises:
            StoreFailed: A sync has failed: what the disk holds is not known.
        """
        if self._failed:
            raise StoreFailed(f"the collection only reads since a write failed: {self._failed}")

    @property
    def behind(self) -> bool:
        """Whether journals hold more than the data file."""
        return self.records > 0 or self._journal_generation > self.state.generation

    def close(self) -> None:
        """Let go of the journal; nothing more is written."""
        self._closed = True
        if self._journal is not None:
            _let_go(self._journal)
            self._journal = None


def _let_go(file: File) -> None:
    """Close a file of which nothing more is asked: what it holds was synced, or is not believed."""
    with suppress(OSError):
        file.close()
