"""Large answers as gzip, for clients that take it.  WSGI, no Flask."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from werkzeug.datastructures import Accept, Headers
from werkzeug.http import parse_accept_header

from connectome.web.exchange import WHOLE_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Not the pages of the console: a page that shows a credential beside what somebody else wrote gives it away, bit by
# bit, in the length of its compressed form.
_PREFIXES: Final = ("/collection/", "/app/", "/-/")
# Measured on documents, in MB/s and as a part of the length: level 1: 141, 0.34; 2: 129, 0.33; 3: 107, 0.32;
# 6, which is zlib's own choice: 54, 0.29.
_LEVEL: Final = 2
_GZIP_WINDOW: Final = 31
_TYPES: Final = ("application/json", "application/ejson", "application/x-ndjson", "application/problem+json", "text/")
# No body; a part of one.
_AS_IT_IS: Final = ("204", "206", "304")


class Compressed:
    """
    Compresses answers on their way out.

    from_bytes: shorter ones are not worth it; of a length that nobody knows yet an answer always is.
    onward: the application that answers.
    """

    def __init__(self, onward: WSGIApplication, from_bytes: int) -> None:
        self.onward = onward
        self._from_bytes = from_bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        accepted = environ.get("HTTP_ACCEPT_ENCODING")
        if not accepted or not environ.get("PATH_INFO", "").startswith(_PREFIXES) or not _takes_gzip(accepted):
            return self.onward(environ, start_response)
        begun: list[Any] = []

        # What is small is not known before all of it is there: our own answers begin before they are handed over.
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            if self._is_worth_it(status, headers) and environ["REQUEST_METHOD"] != "HEAD":
                begun.append((status, headers, error))
                return begun.append
            return start_response(status, headers, *error)

        body = self.onward(environ, start)
        if not begun:
            return body
        status, given, error = begun[0]
        headers = Headers(given)
        length = headers.get("Content-Length", type=int)
        headers["Content-Encoding"] = "gzip"
        headers.add("Vary", "Accept-Encoding")
        if (tag := headers.get("ETag", "")).startswith('"'):
            headers["ETag"] = f"W/{tag}"
        compressed: Iterable[bytes] = _compressed(body)
        if length is not None and length <= WHOLE_BYTES:
            compressed = [whole := b"".join(compressed)]
            headers["Content-Length"] = str(len(whole))
        else:
            headers.pop("Content-Length", None)
        start_response(status, headers.to_wsgi_list(), *error)
        return compressed

    def _is_worth_it(self, status: str, headers: list[tuple[str, str]]) -> bool:
        length, content_type = None, ""
        for name, value in headers:
            match name.lower():
                case "content-length":
                    length = int(value)
                case "content-type":
                    content_type = value
                case "content-encoding":
                    return False
        return (
            (length is None or length >= self._from_bytes)
            and content_type.startswith(_TYPES)
            and not status.startswith(_AS_IT_IS)
        )


# A client sends one header again and again.
@lru_cache(maxsize=64)
def _takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is accepted, and nothing says that the plain form is liked better."""
    qualities = {name.lower(): quality for name, quality in parse_accept_header(accept_encoding, Accept)}
    wanted = qualities.get("gzip", qualities.get("*", 0))
    return wanted > 0 and wanted >= qualities.get("identity", 0)


def _compressed(body: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    try:
        for piece in body:
            if ready := compressor.compress(piece):
                yield ready
        yield compressor.flush()
    except Exception:
        # What went wrong has its mark at the end of what came before; that it has no end itself is another one.
        yield compressor.flush(zlib.Z_SYNC_FLUSH)
        raise
    finally:
        # A client that goes away ends the work behind it, as WSGI has it.
        if close := getattr(body, "close", None):
            close()
