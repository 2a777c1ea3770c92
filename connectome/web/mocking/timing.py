"""A mock server's time, which can be stopped and moved, and its identities, which are the same in every run."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

# What stands in the first eight digits of an identity while the clock runs: 2020-01-01.
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
_MAX_IDS: Final = 0x1000000


@dataclass(frozen=True)
class Moment:
    """How a clock stands: frozen or running, how far from the machine's, and how many identities it has given."""

    frozen: datetime | None = None
    offset: timedelta = timedelta()
    given: int = 0


class MockClock:
    """
    The clock of one workspace.

    An identity is made of the frozen time (of 2020-01-01 while the clock runs), five bytes out of the seed, and a
    counter: the same requests in the same order give the same documents.
    """

    def __init__(self, seed: int, moment: Moment = Moment()) -> None:
        self._mark = sha256(f"connectome {seed}".encode()).hexdigest()[:10]
        self._lock = threading.Lock()
        self._moment = moment

    @property
    def moment(self) -> Moment:
        """How it stands."""
        return self._moment

    def now(self) -> datetime:
        """The time, in UTC."""
        moment = self._moment
        return moment.frozen or datetime.now(UTC) + moment.offset

    def new_id(self) -> str:
        """The next identity."""
        with self._lock:
            moment = self._moment
            self._moment = Moment(moment.frozen, moment.offset, moment.given + 1)
        seconds = int((moment.frozen or _EPOCH).timestamp()) & 0xFFFFFFFF
        return f"{seconds:08x}{self._mark}{(moment.given + 1) % _MAX_IDS:06x}"

    def pass_over(self, identities: Iterable[Any]) -> None:
        """Give none of these again: they came out of a file that an earlier run has written."""
        own = re.compile(rf"[0-9a-f]{{8}}{self._mark}([0-9a-f]{{6}})")
        found = (own.fullmatch(each) for each in identities if type(each) is str)
        last = max((int(each[1], 16) for each in found if each), default=0)
        with self._lock:
            moment = self._moment
            self._moment = Moment(moment.frozen, moment.offset, max(moment.given, last))

    def freeze(self, at: datetime | None) -> None:
        """Stop at a time; None for now."""
        at = at or self.now()
        with self._lock:
            self._moment = Moment(at, timedelta(), self._moment.given)

    def advance(self, by: timedelta) -> None:
        """
        Move on, or back, frozen or not.

        Raises:
            OverflowError: Beyond the years 1 to 9999.
        """
        with self._lock:
            moment = self._moment
            if moment.frozen:
                self._moment = Moment(moment.frozen + by, moment.offset, moment.given)
            else:
                datetime.now(UTC) + moment.offset + by  # whether there is such a time
                self._moment = Moment(None, moment.offset + by, moment.given)

    def release(self) -> None:
        """Run again, with the machine's time."""
        with self._lock:
            self._moment = Moment(None, timedelta(), self._moment.given)
