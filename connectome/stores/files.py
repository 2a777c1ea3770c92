"""
How bytes reach the disk: the few calls that the store makes of a file system, behind one interface.

``Disk`` is the real one.  Tests put another in its place, which fails the n-th call or forgets what was not synced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from connectome.errors import NoSpace, OutcomeUnknown, StoreFailed, StoreLocked


class File(Protocol):
    """A file that is written at its end."""

    def write(self, content: bytes) -> None:
        """Append all of it."""

    def sync(self) -> None:
        """Return when the disk has the file's bytes; not its name, which is the directory's."""

    def truncate(self, size: int) -> None:
        """Cut the file to its first ``size`` bytes."""

    def close(self) -> None:
        """Let go of it."""


class Files(Protocol):
    """What the store asks of a file system; every call may raise OSError."""

    def names(self, directory: Path) -> list[str]:
        """The names in a directory."""

    def read(self, path: Path) -> bytes | None:
        """The content of a file; None where there is none."""

    def create(self, path: Path) -> File:
        """A new file, or an old one emptied, that its owner alone may read."""

    def append(self, path: Path) -> File:
        """A file that is there, to be written at its end."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of the file that had it."""

    def unlink(self, path: Path) -> None:
        """Remove a name; FileNotFoundError where there is none."""

    def sync_directory(self, directory: Path) -> None:
        """Return when the disk has the names in a directory."""

    def modified_ns(self, path: Path) -> int:
        """When a file was last written, in nanoseconds since 1970."""

    def set_modified_ns(self, path: Path, moment: int) -> None:
        """Say when a file was last written."""


class _DiskFile:
    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor = os.open(path, flags | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        if sys.platform == "darwin":
            # fsync there only reaches the drive, which may keep the bytes in memory of its own.
            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


class Disk:
    """The file system of this machine."""

    def names(self, directory: Path) -> list[str]:
        return os.listdir(directory)

    def read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def create(self, path: Path) -> File:
        return _DiskFile(path, os.O_CREAT | os.O_TRUNC)

    def append(self, path: Path) -> File:
        return _DiskFile(path, 0)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def modified_ns(self, path: Path) -> int:
        return os.stat(path).st_mtime_ns

    def set_modified_ns(self, path: Path, moment: int) -> None:
        os.utime(path, ns=(moment, moment))


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """
    Name what the system refuses.

    Raises:
        NoSpace: The disk is full, or a quota is.
        OutcomeUnknown: A file was replaced, and after a power cut it may be the old one.
        StoreFailed: Anything else that an ``OSError`` says.
    """
    try:
        yield
    except NotYetOnDisk as error:
        raise OutcomeUnknown(f"{error.strerror or error} after {doing}: whether it was kept is not known") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space left while {doing}: nothing was changed") from error
        raise StoreFailed(f"{error.strerror or error} while {doing}") from error


def roomy_directory() -> str | None:
    """Where large temporary files go: where ``TMPDIR`` says, else not to /tmp, which is memory on many systems."""
    return None if "TMPDIR" in os.environ or not os.access("/var/tmp", os.W_OK) else "/var/tmp"


class NotYetOnDisk(OSError):
    """A file has its new name, and the directory could not be synced: after a power cut it may have the old one."""


def replace(files: Files, path: Path, content: bytes | Iterable[bytes], *, modified_ns: int | None = None) -> int:
    """
    Put a file in place of another, so that whoever opens the name finds one of the two, whole, at every moment.

    Args:
        content: All of it, or its pieces in order.

    Returns:
        How many bytes it has.

    Without a sync before the rename a power cut may leave a name with nothing behind it; without one of the directory
    after it, the old file.

    Raises:
        NotYetOnDisk: The new file is there.
        OSError: The old one is.
    """
    temporary = path.with_name(path.name + ".tmp")
    size = 0
    try:
        file = files.create(temporary)
        try:
            for piece in [content] if isinstance(content, bytes) else content:
                file.write(piece)
                size += len(piece)
            if modified_ns is not None:
                files.set_modified_ns(temporary, modified_ns)
            file.sync()
        finally:
            file.close()
        files.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            files.unlink(temporary)
        raise
    try:
        files.sync_directory(path.parent)
    except OSError as error:
        raise NotYetOnDisk(error.errno, error.strerror) from error
    return size


def remove(files: Files, path: Path) -> None:
    """Remove a file where there is one, and have the directory remember that it is gone."""
    with suppress(FileNotFoundError):
        files.unlink(path)
    files.sync_directory(path.parent)


class DirectoryLock:
    """
    A data directory held by this process until it ends; the kernel lets go of it even after ``kill -9``.

    Args:
        says: One line for whoever finds the directory locked, such as the URL that is served from it.

    Raises:
        StoreLocked: Another process holds it; the message repeats what that one said.
    """

    # flock, not lockf: lockf is dropped when any descriptor of the file is closed in the process.
    def __init__(self, directory: Path, *, says: str = "") -> None:
        path = lock_path(directory)
        with disk_errors(f"locking {directory}"):
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreLocked(
                f"the data directory {directory} is in use by process {' at '.join(filter(None, holder(directory)))}; "
                "the embedded store serves one process: use threads, not workers"
            ) from None
        with disk_errors(f"locking {directory}"):
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n{says}".encode())

    def release(self) -> None:
        """Let others have the directory; once is enough."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lock_path(directory: Path) -> Path:
    """The file that is locked while a process holds the directory."""
    return directory / ".lock"


def holder(directory: Path) -> list[str]:
    """What the process that holds a directory said of itself: its number, and, where it serves one, its URL."""
    try:
        return lock_path(directory).read_text().split("\n")
    except OSError:
        return ["unknown"]
