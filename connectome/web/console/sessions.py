"""Who is signed in to the console: one-time links, and the sessions that they open.  In memory; no HTTP here."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

LINK_SECONDS: Final = 15 * 60
SESSION_SECONDS: Final = 7 * 24 * 3600
# More at a time are no longer one person's browsers: the oldest gives way.
MAX_SESSIONS: Final = 100
MAX_LINKS: Final = 20

Kind = Literal["done", "note", "warning", "failed"]


@dataclass
class Session:
    """
    One browser that is signed in: until when, and what it shall be told with the next page.

    fresh: credentials that were made, and nobody can read again, by collection and name: the next page shows them.
    """

    ends: float
    notices: list[tuple[Kind, str]] = field(default_factory=list)
    fresh: dict[tuple[str, str], str] = field(default_factory=dict)


class Sessions:
    """
    Links and sessions, each known by the digest of a secret of 256 random bits.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[bytes, float] = {}
        self._sessions: dict[bytes, Session] = {}

    def link(self) -> str:
        """A secret that opens one session within fifteen minutes."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._links[_digest(secret)] = self._clock() + LINK_SECONDS
            while len(self._links) > MAX_LINKS:
                del self._links[next(iter(self._links))]
        return secret

    def redeem(self, secret: str) -> str | None:
        """The secret of a new session for that of a link, which is used up; None where it is not, or no longer, one."""
        with self._lock:
            ends = self._links.pop(_digest(secret), 0.0)
        return self.open() if self._clock() < ends else None

    def open(self) -> str:
        """The secret of a new session."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            self._sessions = {key: each for key, each in self._sessions.items() if now < each.ends}
            while len(self._sessions) >= MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_digest(secret)] = Session(now + SESSION_SECONDS)
        return secret

    def get(self, secret: str) -> Session | None:
        """The session of a secret, where there is one that has not ended."""
        session = self._sessions.get(_digest(secret))
        return session if session and self._clock() < session.ends else None

    def close(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    # Looked up by digest: how long that takes tells nothing of the secrets that are there.
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
