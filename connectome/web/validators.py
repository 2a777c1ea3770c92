"""
Which answer a client has already: entity tags (RFC 9110), made of the version of a collection and the question.

A tag is weak: the same documents are the same answer, compressed or not.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from connectome.stores import Reader
from connectome.web.exchange import Request

# What answers otherwise each time.  JSON may write any letter of it as an escape.
_VOLATILE: Final = re.compile(rb"\$\$(?:NOW|CLUSTER_TIME)|\$rand|\$sampleRate|\\u00[2-7]")


def entity_tag(reader: Reader, request: Request, body: bytes) -> str | None:
    """
    What an answer that is read from now on may be called; None where there is no name for it.

    The version is had before the documents are: an answer may be newer than its tag says, never older.
    """
    version = reader.version
    environ = request.environ
    if version is None or environ.get("QUERY_STRING") or _VOLATILE.search(body):
        return None
    # An Accept cannot hold the line feed that parts the two.
    question = blake2b(environ.get("HTTP_ACCEPT", "").encode() + b"\n" + body, digest_size=9)
    return f'W/"{version}-{question.hexdigest()}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client says that it has the answer of this name."""
    known = request.environ.get("HTTP_IF_NONE_MATCH")
    # A tag of ours is part of no other.  Who has any (*) has not said that it is this one.
    return known is not None and tag.removeprefix("W/") in known
