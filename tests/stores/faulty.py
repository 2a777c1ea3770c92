"""
A disk in memory that fails when it is told to, and that forgets in a power cut what was not synced.

Every call is counted and logged, so that a test may say "the 17th call fails" and try every 17.  ``crash`` and ``kill``
make the disk that a restarted program finds; what is left to chance there comes from a seed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from connectome.stores import Collection, Find
from connectome.stores.embedded import EmbeddedStore

BLOCK = 512


@dataclass
class Inode:
    """
    What is behind a name.

    data: the bytes as every process sees them; synced: as the disk is known to have them.
    modified: when it was written, on a clock that ticks with each write; synced_modified: as the disk has it.
    lost: a sync of it failed: the system took the pages for clean, and no later sync brings them to the disk.
    """

    data: bytes = b""
    synced: bytes = b""
    modified: int = 0
    synced_modified: int = 0
    lost: bool = False


@dataclass
class Directory:
    """
    Names.

    seen: name → inode as every process sees it; synced: as the disk is known to have it.
    changes: what was done to the names since the last sync, in order: (old name or None, new name or None, inode).
    """

    seen: dict[str, Inode] = field(default_factory=dict)
    synced: dict[str, Inode] = field(default_factory=dict)
    changes: list[tuple[str | None, str | None, Inode]] = field(default_factory=list)


@dataclass
class Fault:
    """A call that is to fail: the n-th from now, of one kind or of any, once or from then on."""

    n: int
    call: str | None
    error: int
    once: bool
    short: bool
    seen: int = 0

    def strikes(self, call: str) -> bool:
        """Count a call; whether it fails."""
        if self.call not in (None, call):
            return False
        self.seen += 1
        return self.seen == self.n or (self.seen > self.n and not self.once)


class MemoryFile:
    """A file that is open for appending."""

    def __init__(self, disk: MemoryDisk, path: Path, inode: Inode) -> None:
        self._disk, self._path, self._inode = disk, path, inode

    def write(self, content: bytes) -> None:
        self._disk.called("write", self._path, content=bytes(content), inode=self._inode)

    def sync(self) -> None:
        self._disk.called("sync", self._path, inode=self._inode)

    def truncate(self, size: int) -> None:
        self._disk.called("truncate", self._path, size=size, inode=self._inode)

    def close(self) -> None:
        self._disk.called("close", self._path, inode=self._inode)


class MemoryDisk:
    """
    ``Files`` in memory.

    log: every call so far, as (kind, name); failures: how many of them failed on purpose.
    after: called after each call, failed or not, with the disk itself.
    before: called before each call with its kind and name, outside the disk's own lock: a test may wait in it.
    """

    def __init__(self) -> None:
        self._directories: dict[Path, Directory] = {}
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._clock = 1_000_000_000
        self._dead = False
        self.log: list[tuple[str, str]] = []
        self.failures = 0
        self.after: Callable[[MemoryDisk], None] = lambda _: None
        self.before: Callable[[str, str], None] = lambda _call, _name: None

    # What a test does to it.

    def fail(
        self, n: int, call: str | None = None, error: int = errno.EIO, *, once: bool = True, short: bool = False
    ) -> None:
        """
        Have the n-th call from now fail, of one kind or of any; ``once``, or that one and all after it.

        Args:
            short: A write that fails leaves the first half of its bytes.
        """
        self._faults.append(Fault(n, call, error, once, short))

    def heal(self) -> None:
        """No call fails from now on."""
        self._faults.clear()

    def stop(self) -> None:
        """The program that had it is dead: whatever of it still runs reaches nothing any more."""
        self._dead = True

    def count(self, call: str) -> int:
        """How many calls of a kind there were."""
        return sum(kind == call for kind, _ in self.log)

    def put(self, path: Path, content: bytes, *, modified: int | None = None) -> None:
        """Put content in a file as from outside, synced; with another time of writing, unless one is given."""
        with self._lock:
            directory = self._directory(path)
            self._clock += 1
            moment = self._clock if modified is None else modified
            inode = Inode(content, content, moment, moment)
            directory.seen[path.name] = directory.synced[path.name] = inode

    def remove(self, path: Path) -> None:
        """Take a file away as from outside."""
        for names in (self._directory(path).seen, self._directory(path).synced):
            names.pop(path.name, None)

    def content(self, path: Path) -> bytes | None:
        """What is in a file; no call of the program's."""
        inode = self._directory(path).seen.get(path.name)
        return None if inode is None else inode.data

    def files(self, directory: Path) -> dict[str, bytes]:
        """Name → content of all there is in a directory."""
        return {name: inode.data for name, inode in sorted(self._directory(directory / "x").seen.items())}

    def copy(self) -> MemoryDisk:
        """The same, with the same that is synced and that is not, without faults."""
        with self._lock:
            other = MemoryDisk()
            other._clock = self._clock
            twins: dict[int, Inode] = {}

            def twin(inode: Inode) -> Inode:
                return twins.setdefault(
                    id(inode), Inode(inode.data, inode.synced, inode.modified, inode.synced_modified, inode.lost)
                )

            for path, directory in self._directories.items():
                other._directories[path] = Directory(
                    {name: twin(inode) for name, inode in directory.seen.items()},
                    {name: twin(inode) for name, inode in directory.synced.items()},
                    [(old, new, twin(inode)) for old, new, inode in directory.changes],
                )
            return other

    def kill(self) -> MemoryDisk:
        """After ``kill -9``: everything written is there; what was not synced still is not."""
        return self.copy()

    def crash(self, seed: object) -> MemoryDisk:
        """
        After a power cut.

        Of unsynced names each change is kept or lost; of unsynced bytes a prefix is kept, all, none, or some blocks of
        512 bytes while others are zeros.  What is there then is on the disk for good.
        """
        chance = Random(repr(seed))
        other = self.copy()
        for directory in other._directories.values():
            names = dict(directory.synced)
            # Lost are, at times, all, none, the last ones, or any.
            how = chance.randrange(4)
            cut = chance.randint(0, len(directory.changes))
            for position, (old, new, inode) in enumerate(directory.changes):
                if how == 0 or (how == 1 and position >= cut) or (how > 1 and chance.random() < 0.5):
                    continue
                if old is not None:
                    names.pop(old, None)
                if new is not None:
                    names[new] = inode
            directory.seen, directory.synced, directory.changes = names, dict(names), []
            for inode in {id(inode): inode for _, inode in sorted(names.items())}.values():
                inode.data = inode.synced = _survives(inode, chance)
                inode.modified = inode.synced_modified = chance.choice((inode.modified, inode.synced_modified))
        return other

    # What the program does.

    def _directory(self, path: Path) -> Directory:
        return self._directories.setdefault(path.parent, Directory())

    def called(self, call: str, path: Path, **said: object) -> object:
        """Count a call, fail it where it is to fail, do it otherwise."""
        self.before(call, path.name)
        with self._lock:
            if self._dead:
                raise OSError(errno.EIO, "the program is dead")
            self.log.append((call, path.name))
            # All of them count, also when an earlier one strikes.
            striking = [fault for fault in self._faults if fault.strikes(call)]
            try:
                if striking:
                    self.failures += 1
                    if striking[0].short and call == "write":
                        content = said["content"]
                        assert isinstance(content, bytes)
                        self._write(path, content=content[: len(content) // 2], inode=said["inode"])
                    if call == "sync":
                        inode = said["inode"]
                        assert isinstance(inode, Inode)
                        inode.lost = True
                    raise OSError(striking[0].error, os.strerror(striking[0].error), str(path))
                return getattr(self, f"_{call}")(path, **said)
            finally:
                self.after(self)

    def names(self, directory: Path) -> list[str]:
        return self.called("names", directory / ".")  # type: ignore[return-value]

    def _names(self, path: Path) -> list[str]:
        return list(self._directories.setdefault(path, Directory()).seen)

    def read(self, path: Path) -> bytes | None:
        return self.called("read", path)  # type: ignore[return-value]

    def _read(self, path: Path) -> bytes | None:
        return self.content(path)

    def create(self, path: Path) -> MemoryFile:
        return self.called("create", path)  # type: ignore[return-value]

    def _create(self, path: Path) -> MemoryFile:
        directory = self._directory(path)
        inode = directory.seen.get(path.name)
        if inode is None:
            inode = directory.seen[path.name] = Inode()
            directory.changes.append((None, path.name, inode))
        # What is written from now on is dirty again, whatever became of the old content.
        inode.data, inode.lost = b"", False
        return MemoryFile(self, path, inode)

    def append(self, path: Path) -> MemoryFile:
        return self.called("append", path)  # type: ignore[return-value]

    def _append(self, path: Path) -> MemoryFile:
        return MemoryFile(self, path, self._there(path))

    def _there(self, path: Path) -> Inode:
        inode = self._directory(path).seen.get(path.name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return inode

    def rename(self, old: Path, new: Path) -> None:
        self.called("rename", old, new=new)

    def _rename(self, path: Path, *, new: Path) -> None:
        assert path.parent == new.parent
        inode = self._there(path)
        directory = self._directory(path)
        directory.seen[new.name] = directory.seen.pop(path.name)
        directory.changes.append((path.name, new.name, inode))

    def unlink(self, path: Path) -> None:
        self.called("unlink", path)

    def _unlink(self, path: Path) -> None:
        inode = self._there(path)
        directory = self._directory(path)
        del directory.seen[path.name]
        directory.changes.append((path.name, None, inode))

    def sync_directory(self, directory: Path) -> None:
        self.called("sync_directory", directory / ".")

    def _sync_directory(self, path: Path) -> None:
        directory = self._directories.setdefault(path, Directory())
        directory.synced, directory.changes = dict(directory.seen), []

    def modified_ns(self, path: Path) -> int:
        return self.called("modified_ns", path)  # type: ignore[return-value]

    def _modified_ns(self, path: Path) -> int:
        return self._there(path).modified

    def set_modified_ns(self, path: Path, moment: int) -> None:
        self.called("set_modified_ns", path, moment=moment)

    def _set_modified_ns(self, path: Path, *, moment: int) -> None:
        self._there(path).modified = moment

    def _write(self, path: Path, *, content: bytes, inode: Inode) -> None:
        self._clock += 1
        inode.data += content
        inode.modified = self._clock

    def _sync(self, path: Path, *, inode: Inode) -> None:
        if not inode.lost:
            inode.synced, inode.synced_modified = inode.data, inode.modified

    def _truncate(self, path: Path, *, size: int, inode: Inode) -> None:
        self._clock += 1
        inode.data = inode.data[:size]
        inode.modified = self._clock

    def _close(self, path: Path, *, inode: Inode) -> None:
        """Nothing is behind a descriptor here."""


def _survives(inode: Inode, chance: Random) -> bytes:
    """What a power cut leaves of a file's bytes."""
    data, synced = inode.data, inode.synced
    if data == synced:
        return data
    same = next((at for at, (one, other) in enumerate(zip(data, synced, strict=False)) if one != other), None)
    if same is None:
        same = min(len(data), len(synced))
    how = chance.randrange(5)
    if how == 0:
        return synced
    if how == 1:
        return data
    if how == 2:
        return data[: chance.randint(same, max(same, len(data)))]
    longest = max(data, synced, key=len)
    kept = bytearray(longest[:same])
    while len(kept) < len(longest):
        end = min(len(longest), (len(kept) // BLOCK + 1) * BLOCK)
        piece = longest[len(kept) : end]
        if how == 4 and chance.random() < 0.2:
            break
        kept += piece if chance.random() < 0.6 else bytes(len(piece))
    return bytes(kept)


def opened(directory: Path, disk: MemoryDisk, **settings: Any) -> EmbeddedStore:
    """A store whose lock is in a real directory, and whose files are on this disk; every load is a large one."""
    return EmbeddedStore(directory, disk=disk, **{"load_bytes": 0, **settings})


def settle(store: EmbeddedStore) -> None:
    """Return when the checkpoints that were asked for so far have ended."""
    store._background.submit(lambda: None).result()


def abandon(store: EmbeddedStore, disk: MemoryDisk) -> None:
    """Leave a store as a program that was killed does; its disk is dead from now on."""
    disk.stop()
    store._closing.set()
    store._background.shutdown()
    store._lock.release()


def everything(collection: Collection) -> list[Any]:
    """The documents, in natural order."""
    return list(collection.find(Find()))
