"""Isolated copies of what a mock server serves: each with its documents, faults, journal, clock and snapshots."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from flask import Flask

from connectome.config import Settings
from connectome.errors import Conflict, InvalidRequest, NotFound, at
from connectome.extjson import preview
from connectome.query.clock import ruled_by
from connectome.seeds import Planted
from connectome.service import Service
from connectome.stores import Find
from connectome.stores.memory import MemoryStore
from connectome.stores.readonly import read_only
from connectome.web import assembled
from connectome.web.mocking.faults import Fault, Faults
from connectome.web.mocking.journal import Journal
from connectome.web.mocking.timing import MockClock, Moment

DEFAULT: Final = "default"
MAX_WORKSPACES: Final = 1000
MAX_SNAPSHOTS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Start:
    """
    What every workspace starts from.

    credentials: of each collection that says nothing of its own.
    seed: what random numbers and identities are made of.
    """

    planted: Sequence[Planted]
    credentials: Mapping[str, str]
    faults: Sequence[Fault] = ()
    seed: int = 1


@dataclass(frozen=True)
class Snapshot:
    """A workspace at one moment: its collections, and how its clock stood."""

    planted: Sequence[Planted]
    moment: Moment


@dataclass(frozen=True)
class _Live:
    """What answers just now; put in place as a whole."""

    service: Service
    app: Flask


class Workspace:
    """
    One copy.

    Raises:
        InvalidRequest, DuplicateKey, SchemaViolation: What it starts from cannot be served, with the pointer.
    """

    def __init__(self, name: str, start: Start, settings: Settings, *, like: Flask | None = None) -> None:
        self.name = name
        self.clock = MockClock(start.seed)
        self.faults = Faults(start.seed, start.faults)
        self.journal = Journal()
        self._start = start
        self._settings = settings
        self._changing = threading.Lock()
        self._snapshots: dict[str, Snapshot] = {}
        self._live: _Live = self._served(start.planted, self.clock, like)

    @property
    def service(self) -> Service:
        """Its collections."""
        return self._live.service

    @property
    def app(self) -> Flask:
        """What answers for it."""
        return self._live.app

    def _served(self, planted: Sequence[Planted], clock: MockClock, old: Flask | None) -> _Live:
        store = MemoryStore(cache_bytes=self._settings.cache_bytes)
        service = Service(store)
        with ruled_by(clock):
            for each in planted:
                clock.pass_over(document.get("_id") for document in each.documents)
            for each in planted:
                with at(each.id):
                    _create(service, each, self._start.credentials)
        if self._settings.read_only:
            service = Service(read_only(store))
        if old is None:
            return _Live(service, assembled(self._settings, service))
        app = old.extensions["connectome.create_app"](self._settings, service)
        # Who is signed in to the console stays so.
        app.extensions["connectome.sessions"] = old.extensions["connectome.sessions"]
        return _Live(service, app)

    def reset(self, start: Start | None = None) -> None:
        """
        Everything as it was in the beginning, but the snapshots, which stay.

        Args:
            start: A new beginning, now and for every reset to come.

        Raises:
            InvalidRequest, DuplicateKey, SchemaViolation: The new beginning cannot be served; nothing has changed.
        """
        with self._changing:
            start = start or self._start
            clock = MockClock(start.seed)
            before, self._start = self._start, start
            try:
                live = self._served(start.planted, clock, self.app)
            except Exception:
                self._start = before
                raise
            self._live, self.clock = live, clock
            self.faults.reset()
            self.journal.clear()

    def planted(self) -> list[Planted]:
        """Its collections as they are now."""
        alone = {each.id: each.alone for each in self._start.planted}
        service = self.service
        return [
            Planted(
                each["id"],
                list(service.collection(each["id"]).find(Find())),
                each["title"],
                each["schema"],
                each["credentials"],
                alone.get(each["id"], False),
            )
            for each in service.collections()
        ]

    def take(self, name: str) -> dict[str, Any]:
        """
        Keep it as it is now, in place of a snapshot of that name.

        Raises:
            InvalidRequest: No name for a snapshot.
            Conflict: There are as many snapshots as there may be.
        """
        require_name(name, "a snapshot")
        with self._changing:
            if name not in self._snapshots and len(self._snapshots) >= MAX_SNAPSHOTS:
                raise Conflict(f"there are {MAX_SNAPSHOTS} snapshots, and no more are kept: delete one")
            self._snapshots[name] = Snapshot(self.planted(), self.clock.moment)
            return _summary(name, self._snapshots[name])

    def restore(self, name: str) -> dict[str, Any]:
        """
        Collections and clock as they were in a snapshot; faults and journal stay as they are.

        Raises:
            NotFound: There is none of this name.
        """
        with self._changing:
            snapshot = self._snapshot(name)
            clock = MockClock(self._start.seed, snapshot.moment)
            self._live, self.clock = self._served(snapshot.planted, clock, self.app), clock
            return _summary(name, snapshot)

    def forget(self, name: str) -> None:
        """
        Drop a snapshot.

        Raises:
            NotFound: There is none of this name.
        """
        with self._changing:
            self._snapshot(name)
            del self._snapshots[name]

    def _snapshot(self, name: str) -> Snapshot:
        if name not in self._snapshots:
            raise NotFound(f"there is no snapshot {preview(name)}")
        return self._snapshots[name]

    def snapshots(self) -> list[dict[str, Any]]:
        """All snapshots, in the order in which they were taken first."""
        with self._changing:
            return [_summary(name, each) for name, each in self._snapshots.items()]


def _create(service: Service, planted: Planted, credentials: Mapping[str, str]) -> None:
    said: dict[str, Any] = {"schema": planted.schema, "credentials": {**credentials, **planted.credentials}}
    service.create(id=planted.id, title=planted.title, **said, documents=planted.documents)


def _summary(name: str, snapshot: Snapshot) -> dict[str, Any]:
    return {"name": name, "collections": {each.id: len(each.documents) for each in snapshot.planted}}


def require_name(name: str, what: str) -> None:
    """
    Refuse what would not stand in a URL and a header as it is.

    Raises:
        InvalidRequest: It is no name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"the name of {what} has 1 to 64 letters, digits, '_', '-' and '.', and begins with a letter or digit; "
            f"{preview(name)} does not",
            pointer=None,
        )


class Workspaces:
    """
    All copies of one server; the default one is there from the beginning, and to the end.

    Raises:
        InvalidRequest, DuplicateKey, SchemaViolation: What they start from cannot be served, with the pointer.
    """

    def __init__(self, start: Start, settings: Settings) -> None:
        self._start = start
        self._settings = settings
        self._lock = threading.Lock()
        self.default = Workspace(DEFAULT, start, settings)
        self._all = {DEFAULT: self.default}

    def get(self, name: str) -> Workspace:
        """
        The workspace of this name, made where there is none.

        Raises:
            InvalidRequest: No name for one.
            Conflict: There are as many as there may be.
        """
        return self._all.get(name) or self._made(name, self._start)[0]

    def create(self, name: str, planted: Sequence[Planted] | None) -> Workspace:
        """
        A new workspace, with what all start from, or with collections of its own.

        Raises:
            InvalidRequest, DuplicateKey, SchemaViolation: No name for one, or collections that cannot be.
            Conflict: There is one of this name, or there are as many as there may be.
        """
        workspace, new = self._made(name, self._start if planted is None else replace(self._start, planted=planted))
        if not new:
            raise Conflict(f"there is a workspace {name!r}")
        return workspace

    def _made(self, name: str, start: Start) -> tuple[Workspace, bool]:
        require_name(name, "a workspace")
        with self._lock:
            if name in self._all:
                return self._all[name], False
            if len(self._all) >= MAX_WORKSPACES:
                raise Conflict(f"there are {MAX_WORKSPACES} workspaces, and no more are made: delete one")
            self._all[name] = workspace = Workspace(name, start, self._settings, like=self.default.app)
            return workspace, True

    def all(self) -> list[Workspace]:
        """Every workspace, in the order in which they were made."""
        with self._lock:
            return list(self._all.values())

    def delete(self, name: str) -> None:
        """
        Drop a workspace.

        Raises:
            NotFound: There is none of this name.
            Conflict: It is the default one.
        """
        if name == DEFAULT:
            raise Conflict("the default workspace stays: reset it")
        with self._lock:
            if self._all.pop(name, None) is None:
                raise NotFound(f"there is no workspace {preview(name)}")

    def start_from(self, planted: Sequence[Planted]) -> None:
        """
        Have the default workspace, and those that are made from now on, start from other collections.

        Raises:
            InvalidRequest, DuplicateKey, SchemaViolation: These cannot be served; nothing has changed.
        """
        start = replace(self._start, planted=planted)
        self.default.reset(start)
        self._start = start
