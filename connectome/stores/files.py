"""How bytes reach the disk: files replaced as a whole, a directory held by one process, the system's errors named."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectome.errors import NoSpace, OutcomeUnknown, StoreFailed, StoreLocked


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """
    Name what the system refuses.

    Raises:
        NoSpace: The disk is full, or a quota is.
        StoreFailed: Anything else that an ``OSError`` says.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space left while {doing}: nothing was changed") from error
        raise StoreFailed(f"{error.strerror or error} while {doing}") from error


def replace(path: Path, content: bytes) -> None:
    """
    Put a file in place of another, so that whoever opens the name finds one of the two, whole, at every moment.

    Only its owner may read it: documents are nobody else's business, credentials even less.

    Raises:
        NoSpace, StoreFailed: The old file is still there, untouched.
        OutcomeUnknown: The new file is there, and may be gone again after a power cut.
    """
    temporary = path.with_name(path.name + ".tmp")
    with disk_errors(f"writing {path.name}"):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise OutcomeUnknown(
            f"{error.strerror or error} after writing {path.name}: whether it was kept is not known; "
            "nothing more is written until the store is opened again"
        ) from error


def remove(path: Path) -> None:
    """Remove a file, and have the directory remember that it is gone."""
    with disk_errors(f"removing {path.name}"):
        path.unlink(missing_ok=True)
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the disk keep the names in a directory: without it a renamed file may be gone after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
