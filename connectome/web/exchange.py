"""A request, and the answer to it, as WSGI has them: what every route shares, whichever road leads there.  No Flask."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import werkzeug
from werkzeug.datastructures import Authorization, MIMEAccept
from werkzeug.exceptions import ClientDisconnected, LengthRequired, UnsupportedMediaType
from werkzeug.http import HTTP_STATUS_CODES, parse_accept_header
from werkzeug.wsgi import get_content_length

from connectome.errors import BodyTooLarge, InvalidRequest, Unauthorized
from connectome.formats import CUT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger(__name__)

# Documents and credentials pass through here: no cache keeps them, no link gives a URL away.
NEVER_KEPT: Final = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
PIECE_BYTES: Final = 64 * 1024
# A longer answer is made as it is sent.
WHOLE_BYTES: Final = 1024 * 1024
NO_LIMIT: Final = sys.maxsize
# As werkzeug writes them.
_STATUS_LINES: Final = {status: f"{status} {name.upper()}" for status, name in HTTP_STATUS_CODES.items()}


# Not frozen, as is an answer, of which a request makes two: to be so costs each of them half a microsecond.
@dataclass(slots=True)
class Request:
    """
    What can be known of a request beside its path; never changed.

    max_body_bytes: a larger body is not read.
    max_result_documents, max_result_bytes: a larger answer is refused; 0 where there is no such bound.
    """

    environ: WSGIEnvironment
    max_body_bytes: int
    max_result_documents: int = 0
    max_result_bytes: int = 0

    @property
    def method(self) -> str:
        """``GET``, ``POST``, …"""
        method: str = self.environ["REQUEST_METHOD"]
        return method.upper()

    @property
    def arguments(self) -> Mapping[str, str]:
        """What stands behind the ``?``."""
        return werkzeug.Request(self.environ).args if self.environ.get("QUERY_STRING") else {}

    def flag(self, name: str) -> bool:
        """
        Whether ``?<name>=true`` is given.

        Raises:
            InvalidRequest: It is given, and neither true nor false.
        """
        if not self.environ.get("QUERY_STRING"):
            return False
        given = self.arguments.get(name, "false")
        if given not in ("true", "false"):
            raise InvalidRequest(f"{name} is true or false, not {given!r}", pointer=None)
        return given == "true"

    def preferred(self, *forms: str) -> str:
        """The one of these media types that the client likes best; the first where it says nothing, or likes none."""
        accept = self.environ.get("HTTP_ACCEPT")
        return _preferred(accept, forms) if accept else forms[0]

    def bearer(self, why: str) -> str:
        """
        The token of ``Authorization: Bearer <token>``.

        Raises:
            Unauthorized: There is none; ``why`` says what needs it.
        """
        given = Authorization.from_header(self.environ.get("HTTP_AUTHORIZATION"))
        if given is None or given.type != "bearer" or not given.token:
            raise Unauthorized(f"{why}, and no 'Authorization: Bearer …' came")
        return given.token

    def announced(self, *, ends_itself: bool = True) -> int | None:
        """
        How many bytes the body has, 0 where there is none; None where it comes in chunks, and its end will tell.

        Args:
            ends_itself: The beginning of such a body is none itself, as of JSON.  NDJSON and CSV may be cut off at
                any line, and not every server tells an end in chunks from a connection that broke.

        Raises:
            BodyTooLarge: It is larger than the server reads.
            UnsupportedMediaType: It is compressed.
            LengthRequired: It does not end itself, and its length was not announced.
        """
        if encoding := self.environ.get("HTTP_CONTENT_ENCODING"):
            raise UnsupportedMediaType(f"a body is sent as it is, not with Content-Encoding: {encoding}")
        announced = get_content_length(self.environ)
        if announced is None and not self.environ.get("wsgi.input_terminated"):
            if self.environ.get("HTTP_TRANSFER_ENCODING"):
                raise LengthRequired("this server reads no body without a Content-Length")
            return 0
        if announced is None and not ends_itself:
            raise LengthRequired("a body of lines needs a Content-Length: without, its end cannot be told from a cut")
        if announced is not None and announced > self.max_body_bytes:
            raise self._too_large(f"{announced} bytes")
        return announced

    def body(self, *, ends_itself: bool = True) -> bytes:
        """
        The body as it came; empty where there is none.

        Raises:
            BodyTooLarge, UnsupportedMediaType, LengthRequired: As ``announced``, which has ``ends_itself``, too.
            ClientDisconnected: Less came than was announced.
        """
        announced = self.announced(ends_itself=ends_itself)
        # One byte more than is allowed tells a body of just the limit from the beginning of a longer one.
        wanted = self.max_body_bytes + 1 if announced is None else announced
        if not wanted:
            return b""
        stream = self.environ["wsgi.input"]
        first: bytes = stream.read(min(wanted, 2**30))
        if announced is not None and len(first) == announced:
            return first  # as it is nearly always: in one piece
        content = bytearray(first)
        while first and len(content) < wanted and (more := stream.read(min(wanted - len(content), 2**30))):
            content += more
        if len(content) > self.max_body_bytes:
            raise self._too_large("more")
        if announced is not None and len(content) < announced:
            raise ClientDisconnected(f"a body of {announced} bytes was announced, and {len(content)} came")
        return bytes(content)

    def upload(self, *, ends_itself: bool = True) -> BinaryIO:
        """
        The body as a file that is read as it comes, however long it is.

        Raises:
            UnsupportedMediaType, LengthRequired: As ``announced``, which has ``ends_itself``, too.
            ClientDisconnected: From reading, where less came than was announced.
        """
        return io.BufferedReader(_Upload(self.environ["wsgi.input"], self.announced(ends_itself=ends_itself)))

    def _too_large(self, came: str) -> BodyTooLarge:
        return BodyTooLarge(f"the server reads bodies of up to {self.max_body_bytes} bytes, not {came}")


class _Upload(io.RawIOBase):
    """A body of so many bytes, or, where that is None, of as many as come."""

    def __init__(self, stream: Any, announced: int | None) -> None:
        self._stream = stream
        self._announced = announced
        self._came = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer) if self._announced is None else min(len(buffer), self._announced - self._came)
        piece = self._stream.read(wanted) if wanted else b""
        if wanted and not piece and self._announced is not None:
            raise ClientDisconnected(f"a body of {self._announced} bytes was announced, and {self._came} came")
        buffer[: len(piece)] = piece
        self._came += len(piece)
        return len(piece)


# A client sends one header again and again, and reading one takes 20 µs.
@lru_cache(maxsize=64)
def _preferred(accept: str, forms: tuple[str, ...]) -> str:
    # A parameter, such as the charset that we name ourselves, asks for nothing that we have in two ways.
    ranges = [(each.partition(";")[0], quality) for each, quality in parse_accept_header(accept, MIMEAccept)]
    return MIMEAccept(ranges).best_match(forms, default=forms[0])


class Pieces:
    """Texts with something before, between and after them, which are joined in pieces as they are sent."""

    __slots__ = ("_after", "_before", "_between", "_length", "_texts")

    def __init__(
        self, texts: Sequence[bytes], *, before: bytes = b"", between: bytes = b"", after: bytes = b""
    ) -> None:
        self._texts = texts
        self._before, self._between, self._after = before, between, after
        gaps = len(between) * max(0, len(texts) - 1)
        self._length = len(before) + sum(map(len, texts)) + gaps + len(after)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        count = max(1, len(self._texts) * PIECE_BYTES // max(1, self._length))
        before = self._before
        for start in range(0, len(self._texts), count):
            yield before + self._between.join(self._texts[start : start + count])
            before = self._between
        yield self._after if self._texts else self._before + self._after


class Stream:
    """
    Texts that are made as they are sent, with something before, between and after them, joined in pieces.

    How long they are is not known before the last.  What fails midway has no status left to be told by: the connection
    ends without the last chunk.  Since granian sends one all the same, what went out ends with what nobody can read.
    """

    __slots__ = ("_after", "_before", "_between", "_texts")

    def __init__(
        self, texts: Iterator[bytes], *, before: bytes = b"", between: bytes = b"", after: bytes = b""
    ) -> None:
        self._texts = texts
        self._before, self._between, self._after = before, between, after

    def __iter__(self) -> Iterator[bytes]:
        before, begun = self._before, False
        count = 16
        try:
            while texts := list(islice(self._texts, count)):
                piece = before + self._between.join(texts)
                yield piece
                before, begun = self._between, True
                count = max(1, count * PIECE_BYTES // max(len(piece), PIECE_BYTES // 16))
        except Exception:
            _log.exception("an answer was cut, since what makes it failed")
            yield CUT
            raise
        yield self._after if begun else self._before + self._after


@dataclass(slots=True)
class Answer:
    """
    What is sent back, as a WSGI application; never changed.

    body: what may go wrong with it has gone wrong before, and is a problem, never half an answer.
    headers: those beside the type and the length of the body, and those that every answer has.
    """

    body: bytes | Pieces | Stream
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status_line(self) -> str:
        """``200 OK``, ``404 NOT FOUND``, …"""
        return _STATUS_LINES[self.status]

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """Everything that stands above the body."""
        if self.status == 304:  # nothing is said of a body that the client has
            return [*self.headers, *NEVER_KEPT]
        length = self.length
        if length is None:
            return [("Content-Type", self.content_type), *self.headers, *NEVER_KEPT]
        return [("Content-Type", self.content_type), ("Content-Length", str(length)), *self.headers, *NEVER_KEPT]

    @property
    def length(self) -> int | None:
        """The bytes of the body; None where that is known only once it is sent."""
        return None if isinstance(self.body, Stream) else len(self.body)

    @property
    def pieces(self) -> Iterable[bytes]:
        """The body, in the pieces in which it is sent."""
        return [self.body] if isinstance(self.body, bytes) else iter(self.body)

    def saying(self, *headers: tuple[str, str]) -> Answer:
        """The same answer with more headers."""
        return Answer(self.body, self.content_type, self.status, (*self.headers, *headers))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status_line, self.all_headers)
        return [] if environ["REQUEST_METHOD"].upper() == "HEAD" else self.pieces
