"""
Which answer a client has already: entity tags (RFC 9110), made of the version of a collection and the question.

A tag is weak: the same documents are the same answer, compressed or not.
"""

from __future__ import annotations

import re
from typing import Final

from connectome.stores import Reader
from connectome.web.exchange import Request

# What answers otherwise each time.  JSON may write any letter of it as an escape.
_VOLATILE: Final = re.compile(rb"\$\$(?:NOW|CLUSTER_TIME)|\$rand|\$sampleRate|\\u00[2-7]")

_SIXTY_FOUR_BITS: Final = 2**64 - 1


def entity_tag(reader: Reader, request: Request, body: bytes) -> str | None:
    """
    What an answer that is read from now on may be called; None where there is no name for it.

    The version is had before the documents are: an answer may be newer than its tag says, never older.
    """
    version = reader.version
    environ = request.environ
    if version is None or environ.get("QUERY_STRING") or _is_volatile(body):
        return None
    # Python's hash, with the key of this process, as the version is of this process: 0.2 µs; blake2b: 1.5.
    question = hash((environ.get("HTTP_ACCEPT"), body)) & _SIXTY_FOUR_BITS
    return f'W/"{version}-{question:x}"'


def _is_volatile(body: bytes) -> bool:
    # Most have neither sign, and to look for one takes a tenth of what the pattern does.
    return (b"$" in body or b"\\" in body) and _VOLATILE.search(body) is not None


def is_known(request: Request, tag: str) -> bool:
    """Whether the client says that it has the answer of this name."""
    known = request.environ.get("HTTP_IF_NONE_MATCH")
    # A tag of ours is part of no other.  Who has any (*) has not said that it is this one.
    return known is not None and tag.removeprefix("W/") in known
