"""
What a mock server does wrong on purpose: which requests, how often, and what happens to them.  No HTTP here.

A fault is made by the random numbers of its own stream, one for each operation: the same seed and the same order of
requests to an operation give the same faults, whatever is asked of other operations meanwhile.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, Final, Literal, get_args

from connectome.errors import ConfigurationError, InvalidRequest, NotFound, at
from connectome.schemas import Schema
from connectome.web.api import OPERATIONS
from connectome.web.atlas import ACTIONS

Kind = Literal["truncate", "dribble", "timeout"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
DEFAULT_STATUS: Final = 503
MAX_DELAY: Final = 3_600_000

# What an operation may be called in a fault: by name, by the credential that it needs, or all of them.
_ALL: Final = "*"
_ROLES: Final = {
    **{name: each.role for name, each in OPERATIONS.items()},
    **{name: each.role for name, each in ACTIONS.items()},
}
_GROUPS: Final = {
    _ALL: frozenset(_ROLES),
    "reads": frozenset(name for name, role in _ROLES.items() if role == "read"),
    "writes": frozenset(name for name, role in _ROLES.items() if role == "write"),
}
SCOPES: Final = (*_GROUPS, *_ROLES)
_MILLISECONDS: Final = {"type": "integer", "minimum": 0, "maximum": MAX_DELAY}

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "operation": {"type": "string"},
        "collection": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "retryAfter": {"type": "integer", "minimum": 0, "maximum": 86400},
        "fault": {"enum": list(KINDS)},
        "delay": _MILLISECONDS,
        "jitter": _MILLISECONDS,
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "times": {"type": "integer", "minimum": 1},
    },
    "additionalProperties": False,
}
_SCHEMA: Final = Schema(SCHEMA)


@dataclass(frozen=True)
class Fault:
    """
    One thing that goes wrong.

    operation: Of an operation or an Atlas action the name; ``reads``, ``writes``, or ``*``.
    collection: The only one that is concerned; None for all.
    status: The answer is a problem with this status, and nothing is done; ``retryAfter``: and names these seconds.
    fault: The answer is cut off, comes drop by drop, or never.
    delay, jitter: Milliseconds before the request is worked on, and up to so many more.
    share: Of the requests that fit, how many are concerned.
    times: How many requests at most.
    """

    operation: str = _ALL
    collection: str | None = None
    status: int | None = None
    retryAfter: int | None = None  # noqa: N815 -- as it is called in JSON
    fault: Kind | None = None
    delay: int | None = None
    jitter: int | None = None
    share: float = 1.0
    times: int | None = None

    def fits(self, operation: str, collection: str | None) -> bool:
        """Whether a request is one that this is about."""
        operations = _GROUPS.get(self.operation) or {self.operation}
        return operation in operations and self.collection in (None, collection)

    @property
    def said(self) -> dict[str, Any]:
        """As JSON, without what it does not say."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def fault_of(value: Any) -> Fault:
    """
    A fault as JSON has it.

    Raises:
        InvalidRequest: It is none, with the pointer.
    """
    for failure in _SCHEMA.failures(value):
        raise InvalidRequest(failure.detail, pointer=failure.pointer)
    if value.get("operation", _ALL) not in SCOPES:
        raise InvalidRequest(_no_scope(value["operation"]), pointer="/operation")
    if not value.keys() & {"status", "fault", "delay", "jitter"}:
        raise InvalidRequest("a fault has a status, a fault, a delay or a jitter, and this one has none")
    if "status" in value and "fault" in value:
        raise InvalidRequest("a fault has a status or a fault, not both: the one answers, the other spoils the answer")
    if "retryAfter" in value and "status" not in value:
        raise InvalidRequest("retryAfter goes with a status")
    # To JSON Schema 200.0 is an integer.
    whole: dict[str, Any] = {
        name: int(each) if type(each) is float and name != "share" else each for name, each in value.items()
    }
    return Fault(**whole)


@dataclass(frozen=True)
class Outcome:
    """
    What happens to one request.

    seconds: how long it waits.
    by: what the fault is called that makes it go wrong.
    """

    seconds: float = 0.0
    status: int | None = None
    retry_after: int | None = None
    kind: Kind | None = None
    by: str | None = None

    @property
    def name(self) -> str | None:
        """What went wrong, in one word; None where nothing did."""
        return str(self.status) if self.status else self.kind


NOTHING: Final = Outcome()


@dataclass(frozen=True)
class Asked:
    """
    What a request says itself that shall happen to it.

    seconds: how long it waits; None where it does not say.
    wrong: what goes wrong, ``NOTHING`` where nothing shall; None where it does not say.
    """

    seconds: float | None = None
    wrong: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """What happens where no fault is concerned."""
        return replace(self.wrong or NOTHING, seconds=self.seconds or 0.0)


class Faults:
    """
    The faults of one workspace.

    Of those that fit a request the latest decides, for the delay, the jitter and what goes wrong each on its own.

    Args:
        initial: Those that are there from the beginning, and after a reset.
    """

    def __init__(self, seed: int, initial: Iterable[Fault] = ()) -> None:
        self._seed = seed
        self._initial = tuple(initial)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Back to the initial faults, with their random numbers from the beginning."""
        with self._lock:
            self._faults: dict[str, Fault] = {}
            self._applied: dict[str, int] = {}
            self._streams: dict[tuple[str, str], Random] = {}
            self._last = 0
            for each in self._initial:
                self._add(each)

    def _add(self, fault: Fault) -> str:
        self._last += 1
        self._faults[str(self._last)] = fault
        return str(self._last)

    def add(self, fault: Fault) -> dict[str, Any]:
        """Have one more; as ``listed`` has it."""
        with self._lock:
            return self._described(self._add(fault), fault)

    def set(self, faults: Iterable[Fault]) -> None:
        """Have these, and no others."""
        with self._lock:
            self._faults.clear()
            for each in faults:
                self._add(each)

    def remove(self, name: str) -> None:
        """
        Have one less.

        Raises:
            NotFound: There is none of this name.
        """
        with self._lock:
            if self._faults.pop(name, None) is None:
                raise NotFound(f"there is no fault {name!r}")

    def listed(self) -> list[dict[str, Any]]:
        """All of them as JSON, with ``id``, and how often each was ``applied``."""
        with self._lock:
            return [self._described(name, each) for name, each in self._faults.items()]

    def _described(self, name: str, fault: Fault) -> dict[str, Any]:
        return {"id": name, **fault.said, "applied": self._applied.get(name, 0)}

    def outcome(self, operation: str, collection: str | None, asked: Asked = Asked()) -> Outcome:
        """What happens to the next request for an operation; a fault that it says no to is not applied."""
        with self._lock:
            struck = list(self._struck(operation, collection))
            waits = asked.seconds is None and asked.wrong != NOTHING
            delay = next((item for item in struck if waits and item[1].delay is not None), None)
            jitter = next((item for item in struck if waits and item[1].jitter is not None), None)
            wrong = next((item for item in struck if not asked.wrong and (item[1].status or item[1].fault)), None)
            for name in dict.fromkeys(item[0] for item in (delay, jitter, wrong) if item):
                self._applied[name] = self._applied.get(name, 0) + 1
            milliseconds = float((delay and delay[1].delay) or 0)
            if jitter:
                milliseconds += self._stream(jitter[0], operation).uniform(0, jitter[1].jitter or 0)
            seconds = milliseconds / 1000 if waits else asked.outcome.seconds
            if wrong:
                name, fault = wrong
                return Outcome(seconds, fault.status, fault.retryAfter, fault.fault, name)
            return replace(asked.wrong or NOTHING, seconds=seconds)

    def _struck(self, operation: str, collection: str | None) -> Iterator[tuple[str, Fault]]:
        """The faults that happen now, the latest first; each that fits takes its random number either way."""
        for name, each in reversed(self._faults.items()):
            if each.fits(operation, collection):
                happens = each.share >= 1 or self._stream(name, operation).random() < each.share
                if happens and (each.times is None or self._applied.get(name, 0) < each.times):
                    yield name, each

    def _stream(self, name: str, operation: str) -> Random:
        key = name, operation
        if key not in self._streams:
            self._streams[key] = Random(f"{self._seed}/{operation}/{name}")
        return self._streams[key]


def asked_for(delay: str | None, fault: str | None) -> Asked:
    """
    What a request says itself that shall happen to it.

    Args:
        delay: ``Connectome-Delay``: milliseconds.
        fault: ``Connectome-Fault``: a kind, a status, or ``none``.

    Raises:
        InvalidRequest: They say something else.
    """
    seconds = None
    if delay is not None:
        if not re.fullmatch(r"[0-9]{1,7}", delay) or int(delay) > MAX_DELAY:
            raise InvalidRequest(f"Connectome-Delay is milliseconds, up to {MAX_DELAY}, not {delay!r}", pointer=None)
        seconds = int(delay) / 1000
    if fault is None:
        return Asked(seconds)
    if fault == "none":
        return Asked(seconds, NOTHING)
    for kind in KINDS:
        if fault == kind:
            return Asked(seconds, Outcome(kind=kind, by="Connectome-Fault"))
    if re.fullmatch(r"[45][0-9][0-9]", fault):
        return Asked(seconds, Outcome(status=int(fault), by="Connectome-Fault"))
    raise InvalidRequest(
        f"Connectome-Fault is {', '.join(KINDS)}, none or a status from 400 to 599, not {fault!r}", pointer=None
    )


def delays(option: str, texts: Iterable[str]) -> list[Fault]:
    """
    The faults of ``--delay`` or ``--jitter``, each ``200`` or ``OPERATION=200``.

    Raises:
        ConfigurationError: One of them is neither.
    """
    found = []
    for text in texts:
        operation, value = _scope(option, text)
        if not re.fullmatch(r"[0-9]{1,7}", value) or int(value) > MAX_DELAY:
            raise ConfigurationError(f"--{option} takes [OPERATION=]MILLISECONDS up to {MAX_DELAY}, not {text!r}")
        found.append(Fault(operation, **{option: int(value)}))  # type: ignore[arg-type]  # delay or jitter
    return found


def failures(texts: Iterable[str]) -> list[Fault]:
    """
    The faults of ``--fail``, each ``5%``, ``5%:503`` or ``OPERATION=5%:503``.

    Raises:
        ConfigurationError: One of them is none of these.
    """
    found = []
    for text in texts:
        operation, value = _scope("fail", text)
        parts = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?)%(?::([45][0-9][0-9]))?", value)
        if not parts or float(parts[1]) > 100:
            raise ConfigurationError(
                f"--fail takes [OPERATION=]SHARE%[:STATUS], such as 5% or writes=5%:500, not {text!r}"
            )
        found.append(Fault(operation, status=int(parts[2] or DEFAULT_STATUS), share=float(parts[1]) / 100))
    return found


def spoilt(texts: Iterable[str]) -> list[Fault]:
    """
    The faults of ``--fault``, each ``truncate``, ``OPERATION=dribble`` or ``OPERATION=5%:timeout``.

    Raises:
        ConfigurationError: One of them is none of these.
    """
    found = []
    for text in texts:
        operation, value = _scope("fault", text)
        parts = re.fullmatch(r"(?:([0-9]{1,3}(?:\.[0-9]+)?)%:)?(\w+)", value)
        kind = next((each for each in KINDS if parts and parts[2] == each), None)
        share = float(parts[1] or 100) if parts else 0.0
        if not kind or share > 100:
            raise ConfigurationError(f"--fault takes [OPERATION=][SHARE%:]{'|'.join(KINDS)}, not {text!r}")
        found.append(Fault(operation, fault=kind, share=share / 100))
    return found


def _scope(option: str, text: str) -> tuple[str, str]:
    operation, equals, value = text.rpartition("=")
    if not equals:
        return _ALL, value
    if operation not in SCOPES:
        raise ConfigurationError(f"--{option}: {_no_scope(operation)}")
    return operation, value


def _no_scope(name: str) -> str:
    nearest = difflib.get_close_matches(name, SCOPES, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(SCOPES)}"
    return f"{name!r} is no operation; {hint}"


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Faults in the order in which they are to be had, so that what is said of one operation goes before the rest."""
    return sorted(faults, key=lambda each: (each.operation in _ROLES) + (each.operation != _ALL))


def faults_of(values: Any) -> list[Fault]:
    """
    An array of faults as JSON has them.

    Raises:
        InvalidRequest: One of them is none, with the pointer.
    """
    if type(values) is not list:
        raise InvalidRequest("expected an array of faults")
    found = []
    for position, value in enumerate(values):
        with at(position):
            found.append(fault_of(value))
    return found
