"""
What the API says to a request, without doing it: the request is made to a copy of some documents, in memory.

The copy is served by an application of its own, so the answers are those of the API, whatever it becomes.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, cast

from flask import Flask, current_app
from flask.testing import FlaskClient

from connectome import extjson
from connectome.errors import ConnectomeError
from connectome.query import Document
from connectome.service import Service
from connectome.stores import open_store
from connectome.web.console import site

_KEYS: Final = {"read": "rehearsal-read", "write": "rehearsal-write"}


@dataclass(frozen=True)
class Answer:
    """What was answered: the status, its name, and the decoded body, Extended JSON left as it is."""

    status: int
    name: str
    body: Any


class Stage:
    """An application over a store in memory, for the length of the application that it belongs to."""

    def __init__(self) -> None:
        directory = tempfile.mkdtemp(prefix="connectome-rehearsal-")
        self.service = Service(open_store(Path(directory), durability="memory"))
        settings = replace(site.settings(), data=Path(directory), admin_token=secrets.token_urlsafe(), access_log=False)
        make_app = current_app.extensions["connectome.create_app"]
        self.app = cast(Flask, make_app(settings, self.service))
        weakref.finalize(self, _strike, self.service, directory)


def _strike(service: Service, directory: str) -> None:
    service.close()
    shutil.rmtree(directory, ignore_errors=True)


_setting_up: Final = threading.Lock()


def _stage() -> Stage:
    with _setting_up:
        stage = current_app.extensions.get("connectome.rehearsal")
        if stage is None:
            stage = current_app.extensions["connectome.rehearsal"] = Stage()
        return cast(Stage, stage)


class Copy:
    """Some documents of a collection on the stage."""

    def __init__(self, client: FlaskClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    def ask(self, method: str, operation: str, body: bytes, *, role: str, parameters: str = "") -> Answer:
        """
        The answer to a request.

        Args:
            role: Whose credential is sent; one that is no role is a credential that opens nothing.
            parameters: Of the URL, such as ``max_affected=0``.
        """
        path = f"/collection/{operation}/{_KEYS.get(role, role)}/{self._collection}"
        answer = self._client.open(f"{path}?{parameters}", method=method, data=body)
        return Answer(
            answer.status_code, HTTPStatus(answer.status_code).phrase, extjson.loads(answer.data, extended=False)
        )


@contextmanager
def copy(documents: Sequence[Document], schema: Any) -> Iterator[Copy]:
    """The documents as a collection of their own, for the length of a ``with``."""
    stage = _stage()
    name = secrets.token_hex(8)
    try:
        stage.service.create(id=name, schema=schema, credentials=_KEYS, documents=documents)
    except ConnectomeError:
        # An update may have left documents that no schema sees; the request is answered without it.
        stage.service.create(id=name, credentials=_KEYS, documents=documents)
    try:
        yield Copy(stage.app.test_client(), name)
    finally:
        stage.service.drop(name)
