"""
Named snapshots of a store, kept as backups beside its data: ``snapshots/<name>.zip``.

A snapshot is taken collection by collection, each as of one moment.  What ``restore`` replaces is first kept as the
snapshot ``undo``: whatever happens in between, it can be had back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from connectome import archives, extjson
from connectome.archives import Archived
from connectome.config import Settings
from connectome.errors import Conflict, ConnectomeError, InvalidRequest, NotFound, SchemaViolation
from connectome.extjson import preview
from connectome.query import Filter
from connectome.schemas import Schema
from connectome.service import Service
from connectome.stores import Find
from connectome.stores.files import Disk, disk_errors, remove, replace
from connectome.stores.readonly import refuse_write

# What a restore keeps of what it replaces.
UNDO: Final = "undo"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """
    A snapshot that is there.

    taken: when, in ISO 8601.
    size: bytes of its file.
    """

    name: str
    taken: str
    size: int


class Snapshots:
    """
    The snapshots of a service.

    They are in ``snapshots`` in the data directory that the settings name, readable by their owner alone.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._read_only = settings.read_only
        self._directory = settings.data / "snapshots"
        self._disk = Disk()

    def all(self) -> list[Snapshot]:
        """Those that there are, the oldest first."""
        with disk_errors(f"reading {self._directory}"):
            files = list(self._directory.glob("*.zip")) if self._directory.is_dir() else []
            found = [(path.stat(), path.stem) for path in files]
        return [
            Snapshot(name, datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds"), about.st_size)
            for about, name in sorted(found, key=lambda each: each[0].st_mtime_ns)
        ]

    def take(self, name: str, *, again: bool = False) -> Snapshot:
        """
        Keep all collections, with their credentials, under a name.

        Args:
            again: In place of the snapshot that has the name.

        Raises:
            InvalidRequest: The name cannot be one.
            Conflict: It is taken.
            CollectionDamaged: A collection cannot be read.
        """
        path = self._path(name)
        if path.exists() and not again:
            raise Conflict(f"there is a snapshot {name!r} already")
        content = self._service.backup(credentials=True)
        with disk_errors(f"writing {path}"):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(self._disk, path, content)
        return next(each for each in self.all() if each.name == name)

    def remove(self, name: str) -> None:
        """
        Remove a snapshot.

        Raises:
            NotFound: There is none of this name.
        """
        path = self._existing(name)
        with disk_errors(f"removing {path}"):
            remove(self._disk, path)

    def restore(self, name: str) -> list[str]:
        """
        Have the collections of a snapshot hold what they held: documents, title, schema; their ids.

        A collection that is there keeps its credentials, one that was dropped comes back with those it had, one that
        was made since stays as it is.  Where a collection refuses, what was replaced is put back.

        Raises:
            NotFound: There is none of this name.
            InvalidRequest: Its file is not whole.
            ReadOnly, SchemaViolation, StoreError: Nothing was replaced, or all of it was put back.
        """
        if self._read_only:
            refuse_write()
        path = self._existing(name)
        with disk_errors(f"reading {path}"):
            archived = archives.read(path.read_bytes())
        for each in archived:
            _require_satisfied(each)
        before = {each["id"]: self._archived(each) for each in self._service.collections()}
        self.take(UNDO, again=True)
        done: list[str] = []
        try:
            for each in archived:
                done.append(each.id)
                self._put(each)
        except ConnectomeError:
            self._put_back(done, before)
            raise
        return done

    def _put(self, archived: Archived) -> None:
        if archived.id not in self._service:
            self._service.create(
                id=archived.id,
                title=archived.title,
                schema=archived.schema,
                credentials=dict(archived.credentials or {}),
                documents=archived.documents,
            )
            return
        self._service.change(archived.id, {"title": archived.title, "schema": None})
        collection = self._service.collection(archived.id)
        collection.delete_many(Filter({}))
        collection.insert_many(archived.documents)
        if archived.schema is not None:
            self._service.change(archived.id, {"schema": archived.schema})

    def _put_back(self, names: Sequence[str], before: dict[str, Archived]) -> None:
        for name in names:
            try:
                if name in before:
                    self._put(before[name])
                elif name in self._service:
                    self._service.drop(name)
            except ConnectomeError as error:
                _log.error("%s could not be put back, and is in the snapshot %s: %s", name, UNDO, error.detail)

    def _archived(self, described: dict[str, Any]) -> Archived:
        documents = list(self._service.collection(described["id"]).find(Find()))
        return Archived(described["id"], described["title"], described["schema"], documents)

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            names = ", ".join(each.name for each in self.all()) or "none"
            raise NotFound(f"there is no snapshot {name!r}; there are: {names}")
        return path

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"a snapshot's name has 1 to 64 letters, digits, '_' and '-', and {preview(name)} does not",
                pointer=None,
            )
        return self._directory / f"{name}.zip"


def _require_satisfied(archived: Archived) -> None:
    """Look at what would be put there before anything that is there goes."""
    if archived.schema is None:
        return
    schema = Schema(archived.schema)
    for number, document in enumerate(archived.documents):
        if failures := schema.failures(extjson.to_json(document), archived.id, number):
            raise SchemaViolation(failures, document_id=document["_id"])
