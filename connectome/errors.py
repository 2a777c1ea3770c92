"""
What can go wrong, in MongoDB's words.  No HTTP here: ``web.problems`` alone turns these into answers.

::

    ConnectomeError
    ├── RequestError              the request is wrong, whatever the collection holds
    │   ├── InvalidJSON           the text is not the strict JSON that is accepted
    │   ├── InvalidRequest        the JSON is not what the operation takes
    │   ├── QueryError            a filter, projection or sort that MongoDB refuses
    │   └── UpdateError           an update that MongoDB refuses, or that a document refuses
    ├── AccessError
    │   ├── Unauthorized          the credential opens nothing here
    │   └── Forbidden             the credential is good, for the other role
    ├── NotFound
    │   ├── NoSuchCollection      an administrator named a collection that is not there
    │   ├── NoSuchCredential      or a credential that the collection does not have
    │   └── NoMatch               an update without upsert matched nothing
    ├── Conflict
    │   ├── DuplicateKey          ``_id`` is taken
    │   ├── CollectionExists      the collection's id is taken
    │   ├── TooManyAffected       more documents would change than the request allows
    │   └── VerificationFailed    a mock server was not asked what it should have been
    ├── BodyTooLarge              the request body is over the limit
    ├── ResultTooLarge            the answer is over the limit that the owner sets
    ├── TooManyRequests           a credential asks too often, or an address is wrong too often
    ├── SchemaViolation           documents fail the collection's JSON Schema
    ├── StoreError
    │   ├── StoreLocked           another process holds the data directory
    │   ├── LedgerChanged         another process saved a record since this one read it
    │   ├── StoreFailed           the disk refused, or holds what cannot be understood
    │   │   ├── OutcomeUnknown    the disk failed so late that the change may have been kept
    │   │   └── CollectionDamaged  the files of a collection are not what was written
    │   ├── NoSpace               the disk is full: nothing was changed
    │   └── ReadOnly              the store was opened to be read alone
    ├── ConfigurationError        a setting cannot be what it was given
    └── AddressUnavailable        the address to serve on cannot be had

Every error carries data: ``detail`` says what was expected, then what came; ``code`` is MongoDB's code name
where it has one; ``pointer`` (RFC 6901) is the place in the input, collected on the way up by ``at``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar


class ConnectomeError(Exception):
    """
    The root of everything that Connectome raises on purpose.

    Args:
        detail: One sentence for the person who sent the request: what was expected, what came.
        code: MongoDB's code name; the class's own where it is not given.
        pointer: RFC 6901, relative to what the raiser was reading; ``None`` where no place is to blame.
    """

    default_code: ClassVar[str] = "InternalError"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.pointer = pointer

    @property
    def sentence(self) -> str:
        """The detail, and the place where there is one, for people who see nothing else."""
        return f"{self.detail} (at {self.pointer})" if self.pointer else self.detail


class RequestError(ConnectomeError):
    """The request is wrong, whatever the collection holds."""

    default_code = "BadValue"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = "") -> None:
        super().__init__(detail, code=code, pointer=pointer)


class InvalidJSON(RequestError):
    """
    The text is not the strict JSON that is accepted.

    Args:
        place: Line and column, each from 1, where the text was typed by a person who is shown them.
    """

    default_code = "InvalidJSON"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        pointer: str | None = "",
        place: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(detail, code=code, pointer=pointer)
        self.place = place


class InvalidRequest(RequestError):
    """The JSON is not what the operation takes."""


class QueryError(RequestError):
    """A filter, projection or sort that MongoDB refuses."""


class UpdateError(RequestError):
    """An update that MongoDB refuses, or that one of the documents refuses."""


class AccessError(ConnectomeError):
    """The caller may not do this."""

    default_code = "Unauthorized"


class Unauthorized(AccessError):
    """The credential opens nothing here."""


class Forbidden(AccessError):
    """The credential is good, for the other role."""

    default_code = "Forbidden"


class NotFound(ConnectomeError):
    """What was asked for is not there."""

    default_code = "NotFound"


class NoSuchCollection(NotFound):
    """An administrator named a collection that is not there."""

    default_code = "NamespaceNotFound"


class NoSuchCredential(NotFound):
    """An administrator named a credential that the collection does not have."""

    default_code = "NoSuchCredential"


class NoMatch(NotFound):
    """An update without upsert matched nothing."""

    default_code = "NoMatch"


class Conflict(ConnectomeError):
    """What is there already stands in the way."""

    default_code = "Conflict"


class DuplicateKey(Conflict):
    """``_id`` is taken."""

    default_code = "DuplicateKey"


class CollectionExists(Conflict):
    """The collection's id is taken."""

    default_code = "NamespaceExists"


class TooManyAffected(Conflict):
    """More documents would change than the request allows: nothing was changed."""

    default_code = "TooManyAffected"


class VerificationFailed(Conflict):
    """A mock server was not asked as often as was expected."""

    default_code = "VerificationFailed"


class BodyTooLarge(ConnectomeError):
    """The request body is over the limit."""

    default_code = "BodyTooLarge"


class ResultTooLarge(ConnectomeError):
    """The answer is over the limit that the owner of the server sets: none of it is sent."""

    default_code = "ResultTooLarge"


class TooManyRequests(ConnectomeError):
    """
    A credential asks too often, or wrong ones come from an address too often.

    Args:
        retry_after_seconds: When it is worth another try.
        headers: What else the answer says above its body.
    """

    default_code = "TooManyRequests"

    def __init__(self, detail: str, *, retry_after_seconds: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.headers = (("Retry-After", str(retry_after_seconds)), *headers)


@dataclass(frozen=True)
class Failure:
    """One way in which one document fails its schema."""

    detail: str
    pointer: str


class SchemaViolation(ConnectomeError):
    """
    Documents fail the collection's JSON Schema; nothing was kept.

    Args:
        failures: Each failure with the pointer to its place, in the order of the documents.
        document_id: The ``_id`` of the failing document, where an update broke it.
    """

    default_code = "DocumentValidationFailure"

    def __init__(self, failures: list[Failure], *, document_id: Any = None) -> None:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(failures[0].detail + more, pointer=failures[0].pointer)
        self.failures = failures
        self.document_id = document_id


class StoreError(ConnectomeError):
    """The store cannot do what was asked, through no fault of the request."""

    default_code = "StorageFailed"


class StoreLocked(StoreError):
    """Another process holds the data directory."""

    default_code = "StoreLocked"


class LedgerChanged(StoreError):
    """Another process saved a record since this one loaded or saved it last: nothing was saved."""

    default_code = "LedgerChanged"


class StoreFailed(StoreError):
    """The disk refused, or holds what cannot be understood."""


class OutcomeUnknown(StoreFailed):
    """The disk failed so late that the change may have been kept."""


class CollectionDamaged(StoreFailed):
    """
    The files of a collection are not what was written: it is barred, and the others serve.

    Args:
        damage: Which file, which byte, what is wrong: for the log and ``connectome check``, never for a client.
    """

    default_code = "CollectionDamaged"

    def __init__(self, damage: object) -> None:
        super().__init__("the files of this collection are damaged; its owner finds where with 'connectome check'")
        self.damage = damage


class NoSpace(StoreError):
    """The disk is full: nothing was changed."""

    default_code = "NoSpace"


class ReadOnly(StoreError):
    """The store was opened to be read alone: nothing was changed."""

    default_code = "ReadOnly"


class ConfigurationError(ConnectomeError):
    """A setting cannot be what it was given."""

    default_code = "InvalidConfiguration"


class AddressUnavailable(ConnectomeError):
    """The address to serve on cannot be had."""

    default_code = "AddressUnavailable"


def pointer_to(*steps: str | int) -> str:
    """RFC 6901 for these steps: ``pointer_to("a/b", 0)`` is ``/a~1b/0``."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


class at:  # noqa: N801 -- reads as the preposition it is: ``with at("$or", 1):``
    """Add these steps in front of the pointer of whatever is raised inside."""

    __slots__ = ("_steps",)

    def __init__(self, *steps: str | int) -> None:
        self._steps = steps

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, ConnectomeError):
            if error.pointer is not None:
                error.pointer = pointer_to(*self._steps) + error.pointer
            if isinstance(error, SchemaViolation):
                prefix = pointer_to(*self._steps)
                error.failures = [Failure(f.detail, prefix + f.pointer) for f in error.failures]
