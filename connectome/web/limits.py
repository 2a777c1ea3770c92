"""
How often a credential may ask, and how often an address may be wrong.  No Flask.

A bucket of tokens for each, of which nothing is kept but the moment at which it will be full again, in memory, for so
many of them at the most.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from connectome.errors import TooManyRequests
from connectome.network import Rate, address_of, is_loopback
from connectome.web.exchange import Answer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# From an error, and the request that it was raised for, to what is answered.
Refused = Callable[[Exception, "WSGIEnvironment"], Answer]

MAX_BUCKETS: Final = 10_000
# What one subscriber is given of addresses of version 6.
_SUBSCRIBER_BITS: Final = 64
_LOGIN: Final = "/login"
# Where a credential is looked at.  A page of the console whose session has ended is no guess.
_GUARDED: Final = ("/collection/", "/app/", "/-/admin", _LOGIN)


@dataclass(frozen=True, slots=True)
class Taken:
    """
    What was found in a bucket.

    left: how many tokens there are now.
    full_seconds: until it is full again.
    wait_seconds: until there is a token; 0 where there was one, which has been taken.
    """

    left: int
    full_seconds: float
    wait_seconds: float = 0.0


class Buckets:
    """
    A bucket of tokens for each key.

    Args:
        rate: How large each is, and how long it takes to be filled.
        size: How many are kept: those that were asked for longest are forgotten, and are full again.
        clock: Seconds that never go back.
    """

    def __init__(self, rate: Rate, *, size: int = MAX_BUCKETS, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._every = rate.seconds / rate.count
        self._full = Taken(rate.count, 0.0)
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        # Key → when its bucket will be full.
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def look(self, key: Hashable) -> Taken:
        """What is there, without taking anything."""
        full_at = self._full_at.get(key)
        return self._full if full_at is None else self._found(full_at - self._clock())

    def take(self, key: Hashable) -> Taken:
        """Take a token where there is one."""
        with self._lock:
            now = self._clock()
            missing = max(self._full_at.get(key, 0.0) - now, 0.0)
            found = self._found(missing)
            if found.wait_seconds:
                return found
            self._full_at[key] = now + missing + self._every
            self._full_at.move_to_end(key)
            if len(self._full_at) > self._size:
                self._full_at.popitem(last=False)
        return Taken(found.left - 1, missing + self._every)

    def _found(self, missing_seconds: float) -> Taken:
        missing_seconds = max(missing_seconds, 0.0)
        # What is left over in the last place of a sum is not a token.
        left = self.rate.count - math.ceil(missing_seconds / self._every - 1e-6)
        wait = 0.0 if left > 0 else missing_seconds - self.rate.seconds + self._every
        return Taken(max(left, 0), missing_seconds, max(wait, 0.0))


class RequestRate:
    """How often each credential may ask."""

    def __init__(self, rate: Rate) -> None:
        self._buckets = Buckets(rate)
        self._policy = ("RateLimit-Policy", f'"credential";q={rate.count};w={rate.seconds}')

    def take(self, credential: Hashable) -> tuple[tuple[str, str], ...]:
        """
        Count a request.

        Returns:
            The headers that tell the client where it stands (draft-ietf-httpapi-ratelimit-headers).

        Raises:
            TooManyRequests: It is one too many.
        """
        taken = self._buckets.take(credential)
        headers = (
            self._policy,
            ("RateLimit", f'"credential";r={taken.left};t={math.ceil(taken.full_seconds)}'),
        )
        if taken.wait_seconds:
            rate = self._buckets.rate
            raise TooManyRequests(
                f"this credential may be used for {rate.count} requests in {rate.seconds} s, and these have been sent",
                retry_after_seconds=math.ceil(taken.wait_seconds),
                headers=headers,
            )
        return headers


class FailedCredentials:
    """
    Bars an address from which too many wrong credentials came, for as long as it takes.

    Counted is what is answered with 401, and a login to the console that is refused; while it is barred, a right
    credential is not looked at either, or guessing would go on unhindered.

    Args:
        spares_loopback: This machine's own addresses are not counted.
        refused: What is answered where an error was raised.
        onward: the application that answers.
    """

    def __init__(self, onward: WSGIApplication, rate: Rate, refused: Refused, *, spares_loopback: bool) -> None:
        self.onward = onward
        self._refused = refused
        self._buckets = Buckets(rate)
        self._spares_loopback = spares_loopback

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        remote: str = environ.get("REMOTE_ADDR", "")
        if not path.startswith(_GUARDED) or (self._spares_loopback and is_loopback(remote)):
            return self.onward(environ, start_response)
        client = _subscriber(remote)
        if wait := self._buckets.look(client).wait_seconds:
            rate = self._buckets.rate
            refusal = TooManyRequests(
                f"more than {rate.count} wrong credentials came from this address in {rate.seconds} s",
                retry_after_seconds=math.ceil(wait),
            )
            return self._refused(refusal, environ)(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            if status.startswith("401") or (path == _LOGIN and status.startswith("403")):
                self._buckets.take(client)
            return start_response(status, headers, *error)

        return self.onward(environ, start)


@lru_cache(maxsize=4096)
def _subscriber(remote: str) -> Hashable:
    address = address_of(remote)
    if isinstance(address, ipaddress.IPv6Address):
        return int(address) >> (128 - _SUBSCRIBER_BITS)
    return remote
