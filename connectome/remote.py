"""Administration of a server that runs: what ``Service`` offers, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, BinaryIO, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from connectome import extjson
from connectome.errors import (
    CollectionExists,
    Conflict,
    ConnectomeError,
    DuplicateKey,
    Failure,
    InvalidJSON,
    InvalidRequest,
    NoMatch,
    NoSpace,
    NoSuchCollection,
    NoSuchCredential,
    NotFound,
    ReadOnly,
    SchemaViolation,
    StoreFailed,
    TooManyAffected,
    Unauthorized,
)
from connectome.formats import CUT, Format, Spooled
from connectome.query import Document, Filter, Value
from connectome.service import Role
from connectome.snapshots import Snapshot
from connectome.splitting import Text
from connectome.stores import (
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
)
from connectome.stores.base import NO_GUARD

# Without a byte from the server; an import of many documents is worked on for a while.
_TIMEOUT_SECONDS: Final = 300
_PIECE_BYTES: Final = 64 * 1024

_BY_CODE: Final = {
    cls.default_code: cls
    for cls in (
        Conflict,
        DuplicateKey,
        CollectionExists,
        NotFound,
        NoSuchCollection,
        NoSuchCredential,
        InvalidJSON,
        NoMatch,
        NoSpace,
        ReadOnly,
        TooManyAffected,
    )
}
_BY_STATUS: Final[dict[int, type[ConnectomeError]]] = {400: InvalidRequest, 401: Unauthorized}


class _Straight(HTTPRedirectHandler):
    """The token goes to the server that was named, and to none that it points to."""

    def redirect_request(self, *_: object) -> None:
        return None


class RemoteService:
    """
    The collections of a running server.

    Args:
        url: Where it listens, such as ``http://127.0.0.1:8000``.
        token: The administrator's.
        elsewhere: It is on another machine, to which a proxy of the environment may lead.

    Raises:
        ConnectomeError: From each call, what the server answered; ``StoreFailed`` where it does not answer.
    """

    def __init__(self, url: str, token: str, *, elsewhere: bool = False) -> None:
        self._url = url
        self._token = token
        # Where the server is on this machine, a proxy of the environment has no business in between.
        self._opener = build_opener(_Straight(), *([] if elsewhere else [ProxyHandler({})]))

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

    def create(
        self, *, documents: Iterable[Document] = (), on_duplicate: OnDuplicate = "stop", **settings: Any
    ) -> dict[str, Any]:
        """As ``Service.create``: where the documents are refused, there is no collection either."""
        given = {name: value for name, value in settings.items() if value is not None}
        described: dict[str, Any] = self._call("POST", "", json.dumps(given))
        if documents:
            try:
                self.import_documents(described["id"], documents, on_duplicate=on_duplicate)
            except (ConnectomeError, KeyboardInterrupt):
                with suppress(ConnectomeError):
                    self._call("DELETE", f"/{described['id']}")
                raise
            return self.describe(described["id"])
        return described

    def change(self, collection: str, changes: dict[str, Any]) -> dict[str, Any]:
        """As ``Service.change``."""
        described: dict[str, Any] = self._call("PATCH", f"/{quote(collection, safe='')}", json.dumps(changes))
        return described

    def collection(self, collection: str) -> RemoteCollection:
        """As ``Service.collection``, for what the command line asks of one."""
        described = self.describe(collection)
        return RemoteCollection(self, described["id"], described["credentials"])

    def first_documents(self, collection: str, count: int) -> list[Document]:
        """As ``Service.first_documents``; none where the read credential is not known any more."""
        if self.describe(collection)["credentials"]["read"] is None:
            return []
        return list(self.collection(collection).find(Find(limit=count)))

    def indexes(self, collection: str) -> list[Index]:
        """As ``Service.indexes``."""
        return [Index(**each) for each in self._call("GET", f"/{quote(collection, safe='')}/indexes")]

    def pin(self, collection: str, path: str) -> Index:
        """As ``Service.pin``."""
        return Index(**self._call("PUT", f"/{quote(collection, safe='')}/indexes/{quote(path, safe='')}"))

    def unpin(self, collection: str, path: str) -> None:
        """As ``Service.unpin``."""
        self._call("DELETE", f"/{quote(collection, safe='')}/indexes/{quote(path, safe='')}")

    def import_documents(
        self, collection: str, documents: Iterable[Document], *, on_duplicate: OnDuplicate = "stop"
    ) -> Loaded:
        """As ``Service.import_documents``: they are all there, in a temporary file, before the first one is sent."""
        spooled = documents if isinstance(documents, Spooled) else Spooled(documents)
        try:
            path = f"/-/admin/collections/{quote(collection, safe='')}/import?on_duplicate={on_duplicate}"
            spooled.file.seek(0)
            mimetype = "application/x-ndjson"
            answer = json.loads(
                self.exchange("POST", path, spooled.file, self._token, mimetype=mimetype, length=spooled.size)
            )
        finally:
            if spooled is not documents:
                spooled.close()
        return Loaded(answer["insertedCount"], answer["skippedCount"], answer["replacedCount"])

    def exported(self, collection: str, format: Format) -> Iterator[bytes]:
        """All documents of a collection as a file, piece by piece as they come."""
        path = f"/-/admin/collections/{quote(collection, safe='')}/export?format={format}"
        last = b""
        with self.answered(), self.opened("GET", path, b"", self._token) as response:
            while piece := response.read(_PIECE_BYTES):
                last += piece
                yield last[: -len(CUT)]
                last = last[-len(CUT) :]
        if last == CUT:
            raise self.broken_off()
        yield last

    def broken_off(self) -> StoreFailed:
        """The error for an answer that has an end, and not the one that it should have."""
        return StoreFailed(f"the server at {self._url} broke off: its answer is not whole")

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
        return self.exchange(method, f"/-/admin{path}", body, self._token, mimetype=mimetype)

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO,
        token: str,
        *,
        mimetype: str = "application/json",
        length: int | None = None,
    ) -> bytes:
        """
        The answer to one request.

        Args:
            length: How many bytes a body has that is a file.

        Raises:
            ConnectomeError: What the server says; ``StoreFailed`` where it says nothing that can be understood.
        """
        with self.answered(), self.opened(method, path, body, token, mimetype=mimetype, length=length) as response:
            return bytes(response.read())

    def opened(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO,
        token: str,
        *,
        mimetype: str = "application/json",
        accept: str = "*/*",
        length: int | None = None,
    ) -> HTTPResponse:
        """The answer to one request, of which nothing has been read yet; to be used inside of ``answered``."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": mimetype, "Accept": accept}
        if length is not None:
            headers["Content-Length"] = str(length)
        request = Request(self._url + path, data=body or None, method=method, headers=headers)
        response: HTTPResponse = self._opener.open(request, timeout=_TIMEOUT_SECONDS)
        return response

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Name what goes wrong between here and the server."""
        try:
            yield
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPError) and (raised := self._raised(error)):
                raise raised from None
            if type(error) is URLError:
                raise StoreFailed(f"the server at {self._url} does not answer: {error.reason}") from None
            if isinstance(error, (IncompleteRead, ConnectionError, TimeoutError)):
                raise StoreFailed(f"the server at {self._url} broke off: {str(error).strip()}") from None
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

    def drop(self, collection: str) -> None:
        """As ``Service.drop``."""
        self._call("DELETE", f"/{quote(collection, safe='')}")

    def login_url(self) -> str:
        """
        A link that signs in to the console once, within fifteen minutes.

        Raises:
            NotFound: The console of the server is off.
        """
        return str(json.loads(self._send("POST", "/login"))["url"])

    def snapshots(self) -> RemoteSnapshots:
        """The snapshots that lie beside the server's data."""
        return RemoteSnapshots(self._send)


class RemoteSnapshots:
    """
    The snapshots of a running server: what ``Snapshots`` offers, over HTTP.

    Args:
        send: Sends a request to a path below ``/-/admin`` with the administrator's token; the body of the answer.
    """

    def __init__(self, send: Callable[[str, str], bytes]) -> None:
        self._send = send

    def all(self) -> list[Snapshot]:
        """As ``Snapshots.all``."""
        return [Snapshot(**each) for each in json.loads(self._send("GET", "/snapshots"))]

    def take(self, name: str, *, again: bool = False) -> Snapshot:
        """As ``Snapshots.take``."""
        method = "PUT" if again else "POST"
        return Snapshot(**json.loads(self._send(method, f"/snapshots/{quote(name, safe='')}")))

    def remove(self, name: str) -> None:
        """As ``Snapshots.remove``."""
        self._send("DELETE", f"/snapshots/{quote(name, safe='')}")

    def restore(self, name: str) -> list[str]:
        """As ``Snapshots.restore``."""
        names: list[str] = json.loads(self._send("POST", f"/snapshots/{quote(name, safe='')}/restore"))["restored"]
        return names


class RemoteCollection:
    """
    The documents of one collection of a running server, as its API has them: what ``Reader`` and ``Writer`` offer.

    Raises:
        ConnectomeError: From each call, what the server answered.
    """

    def __init__(self, service: RemoteService, id: str, credentials: dict[str, str | None]) -> None:
        self._service = service
        self._id = quote(id, safe="")
        self._credentials = credentials

    def find(self, find: Find) -> Iterator[Document]:
        """As ``Reader.find``: one by one, as they come."""
        with self._service.answered(), self._ask(find, accept="application/ejson") as response:
            text = Text(response)
            text.first()
            try:
                for _ in text.elements():
                    yield text.value()
                text.end()
            except InvalidJSON:
                raise self._service.broken_off() from None

    def encoded(self, find: Find) -> Iterator[bytes]:
        """As ``Reader.encoded``."""
        return map(extjson.encode, self.find(find))

    def explain(self, find: Find) -> Explanation:
        """As ``Reader.explain``."""
        with self._service.answered(), self._ask(find, arguments="?explain=true") as response:
            answer = json.load(response)
        plan = answer["winningPlan"]
        return Explanation(
            plan["stage"],
            plan["path"],
            answer["totalDocsExamined"],
            answer["nReturned"],
            answer["executionTimeMillis"] / 1000,
        )

    def count(self, filter: Filter) -> int:
        """As ``Reader.count``."""
        return self.explain(Find(filter)).returned

    def insert_many(self, documents: Sequence[Document]) -> list[Value]:
        """As ``Writer.insert_many``."""
        identities: list[Value] = self._write("POST", "batchwrite", list(documents))["insertedIds"]
        return identities

    def update(self, modify: Modify, guard: Guard = NO_GUARD, *, array_filters: Sequence[Document] = ()) -> Modified:
        """As ``Writer.update``; an update does not tell the array filters that it was compiled with."""
        body = {
            "search query": modify.filter.source,
            "data": modify.update.source,
            "upsert": modify.upsert,
            "multi": modify.multi,
            "arrayFilters": list(array_filters),
        }
        try:
            answer = self._write("POST", "updatewithupsert", body, guard)
        except NoMatch:
            return Modified(0, 0)
        upserted = answer["upsertedId"]
        return Modified(
            answer["matchedCount"],
            answer["modifiedCount"],
            upserted=None if upserted is None else {"_id": upserted},
            examples=_examples(answer),
        )

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        """As ``Writer.delete_many``."""
        answer = self._write("DELETE", "batchdelete", filter.source, guard)
        return Deleted(answer["deletedCount"], _examples(answer))

    def _ask(self, find: Find, *, accept: str = "application/json", arguments: str = "") -> HTTPResponse:
        body = {
            "query": find.filter.source,
            "project": find.projection.source,
            "sort": find.sort.source,
            "skip": find.skip,
            "limit": find.limit,
        }
        path = f"/collection/readwithquery/-/{self._id}{arguments}"
        content = extjson.encode(body, mode="canonical")
        return self._service.opened("POST", path, content, self._credential("read"), accept=accept)

    def _credential(self, role: Role) -> str:
        """
        What opens this side.

        Raises:
            Unauthorized: The server keeps it in a form that nobody can read.
        """
        credential = self._credentials[role]
        if credential is None:
            raise Unauthorized(f"the server keeps the {role} credential in a form that nobody can read")
        return credential

    def _write(self, method: str, operation: str, body: Any, guard: Guard = NO_GUARD) -> Any:
        arguments = {"dry_run": str(guard.dry_run).lower()}
        if guard.max_affected is not None:
            arguments["max_affected"] = str(guard.max_affected)
        path = f"/collection/{operation}/-/{self._id}" + (f"?{urlencode(arguments)}" if guard != NO_GUARD else "")
        content = extjson.encode(body, mode="canonical")
        return extjson.loads(self._service.exchange(method, path, content, self._credential("write")))


def _examples(answer: dict[str, Any]) -> list[Example]:
    return [(each["before"], each["after"]) for each in answer.get("examples", ())]
