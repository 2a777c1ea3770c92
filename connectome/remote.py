"""Administration of a server that runs: what ``Service`` offers, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from connectome import extjson
from connectome.errors import (
    CollectionExists,
    ConnectomeError,
    DuplicateKey,
    Failure,
    InvalidJSON,
    InvalidRequest,
    NoSpace,
    NoSuchCollection,
    NoSuchCredential,
    SchemaViolation,
    StoreFailed,
    Unauthorized,
)
from connectome.query import Document
from connectome.service import Role
from connectome.stores import Index

# Without a byte from the server; an import of many documents is worked on for a while.
_TIMEOUT_SECONDS: Final = 300

_BY_CODE: Final = {
    cls.default_code: cls
    for cls in (DuplicateKey, CollectionExists, NoSuchCollection, NoSuchCredential, InvalidJSON, NoSpace)
}
_BY_STATUS: Final[dict[int, type[ConnectomeError]]] = {400: InvalidRequest, 401: Unauthorized}


class RemoteService:
    """
    The collections of a running server.

    Args:
        url: Where it listens, such as ``http://127.0.0.1:8000``.
        token: The administrator's.

    Raises:
        ConnectomeError: From each call, what the server answered; ``StoreFailed`` where it does not answer.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        # The server is on this machine: a proxy of the environment has no business in between.
        self._opener = build_opener(ProxyHandler({}))

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._url

    def collections(self) -> list[dict[str, Any]]:
        """As ``Service.collections``."""
        described: list[dict[str, Any]] = self._call("GET", "")
        return described

    def describe(self, collection: str) -> dict[str, Any]:
        """As ``Service.describe``."""
        described: dict[str, Any] = self._call("GET", f"/{quote(collection, safe='')}")
        return described

    def create(self, *, documents: Sequence[Document] = (), **settings: Any) -> dict[str, Any]:
        """As ``Service.create``: where the documents are refused, there is no collection either."""
        given = {name: value for name, value in settings.items() if value is not None}
        described: dict[str, Any] = self._call("POST", "", json.dumps(given))
        if documents:
            try:
                self.import_documents(described["id"], documents)
            except ConnectomeError:
                self._call("DELETE", f"/{described['id']}")
                raise
        return described

    def first_documents(self, collection: str, count: int) -> list[Document]:
        """As ``Service.first_documents``; none where the read credential is not known any more."""
        credential = self.describe(collection)["credentials"]["read"]
        if credential is None:
            return []
        path = f"/collection/readwithquery/-/{quote(collection, safe='')}"
        content = self._exchange("POST", path, json.dumps({"limit": count}).encode(), credential)
        documents: list[Document] = extjson.loads(content)
        return documents

    def indexes(self, collection: str) -> list[Index]:
        """As ``Service.indexes``."""
        return [Index(**each) for each in self._call("GET", f"/{quote(collection, safe='')}/indexes")]

    def pin(self, collection: str, path: str) -> Index:
        """As ``Service.pin``."""
        return Index(**self._call("PUT", f"/{quote(collection, safe='')}/indexes/{quote(path, safe='')}"))

    def unpin(self, collection: str, path: str) -> None:
        """As ``Service.unpin``."""
        self._call("DELETE", f"/{quote(collection, safe='')}/indexes/{quote(path, safe='')}")

    def import_documents(self, collection: str, documents: Sequence[Document]) -> int:
        """As ``Service.import_documents``."""
        lines = "".join(extjson.dumps(document, mode="stored") + "\n" for document in documents)
        answer = self._call("POST", f"/{quote(collection, safe='')}/import", lines, mimetype="application/x-ndjson")
        return int(answer["insertedCount"])

    def backup(self, *, credentials: bool = False) -> bytes:
        """As ``Service.backup``."""
        return self._send("GET", f"/backup?credentials={str(credentials).lower()}")

    def restore(self, content: bytes) -> list[str]:
        """As ``Service.restore``."""
        names: list[str] = json.loads(self._send("POST", "/restore", content, mimetype="application/zip"))["restored"]
        return names

    def credentials(self, collection: str) -> list[dict[str, Any]]:
        """As ``Service.credentials``."""
        found: list[dict[str, Any]] = self._call("GET", f"/{quote(collection, safe='')}/credentials")
        return found

    def add_credential(self, collection: str, name: str, role: Role, *, expires: str | None = None) -> dict[str, Any]:
        """As ``Service.add_credential``."""
        given = json.dumps({"name": name, "role": role, "expires": expires})
        added: dict[str, Any] = self._call("POST", f"/{quote(collection, safe='')}/credentials", given)
        return added

    def rotate(self, collection: str, name: str, *, grace: float = 0) -> str:
        """As ``Service.rotate``."""
        path = f"/{quote(collection, safe='')}/credentials/{quote(name, safe='')}"
        return str(self._call("POST", path, json.dumps({"grace": grace}))[name])

    def revoke(self, collection: str, name: str) -> None:
        """As ``Service.revoke``."""
        self._call("DELETE", f"/{quote(collection, safe='')}/credentials/{quote(name, safe='')}")

    def close(self) -> None:
        """Nothing is held."""

    def _call(self, method: str, path: str, body: str = "", *, mimetype: str = "application/json") -> Any:
        content = self._send(method, f"/collections{path}", body.encode(), mimetype=mimetype)
        try:
            return json.loads(content or "null")
        except ValueError as error:
            raise StoreFailed(f"the server at {self._url} is no Connectome: {error}") from None

    def _send(self, method: str, path: str, body: bytes = b"", *, mimetype: str = "application/json") -> bytes:
        return self._exchange(method, f"/-/admin{path}", body, self._token, mimetype=mimetype)

    def _exchange(
        self, method: str, path: str, body: bytes, token: str, *, mimetype: str = "application/json"
    ) -> bytes:
        request = Request(
            self._url + path,
            data=body or None,
            method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": mimetype},
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                return bytes(response.read())
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPError) and (raised := self._raised(error)):
                raise raised from None
            if type(error) is URLError:
                raise StoreFailed(f"the server at {self._url} does not answer: {error.reason}") from None
            raise StoreFailed(f"the server at {self._url} is no Connectome: {str(error).strip()}") from None

    def _raised(self, error: HTTPError) -> ConnectomeError | None:
        """The error that the server turned into a problem; None where the answer is none of Connectome's."""
        try:
            problem = json.loads(error.read())
            known = {"detail", "code", "status"} <= problem.keys()
        except (ValueError, AttributeError):
            known = False
        if not known:
            return None
        if problem["code"] == SchemaViolation.default_code:
            failures = [Failure(each["detail"], each["pointer"]) for each in problem["errors"]]
            return SchemaViolation(failures, document_id=problem.get("_id"))
        cls = _BY_CODE.get(problem["code"]) or _BY_STATUS.get(problem["status"], StoreFailed)
        return cls(problem["detail"], code=problem["code"], pointer=problem.get("pointer"))
