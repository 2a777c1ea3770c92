"""The control API of a mock server: ``/-/mock/…``, one function each, about the workspace that the request names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import DatetimeMS
from werkzeug.exceptions import MethodNotAllowed

from connectome import __version__, extjson
from connectome.errors import InvalidJSON, InvalidRequest, NotFound, VerificationFailed, at
from connectome.query import Filter
from connectome.query.deadline import deadline
from connectome.schemas import Schema
from connectome.seeds import collections
from connectome.stores import Find
from connectome.web import bodies
from connectome.web.exchange import Answer, Request
from connectome.web.mocking import faults
from connectome.web.mocking.workspaces import Workspace, Workspaces

PREFIX: Final = "/-/mock"
# How many requests a refusal to verify shows.
_SHOWN: Final = 5

_COUNT: Final = {"type": "integer", "minimum": 0}
_VERIFY: Final = Schema(
    {
        "type": "object",
        "properties": {"filter": {"type": "object"}, "count": _COUNT, "atLeast": _COUNT, "atMost": _COUNT},
        "additionalProperties": False,
    }
)
_CLOCK: Final = Schema(
    {
        "type": "object",
        "properties": {
            "freeze": {"type": ["string", "boolean", "object"]},
            "advance": {"type": "number"},
            "release": {"const": True},
        },
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
)
_WORKSPACE: Final = Schema(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "seed": {"type": "object"}},
        "required": ["name"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True)
class Call:
    """
    One request to the control API.

    workspace: The one that it is about.
    max_seconds: How long it may match.
    """

    request: Request
    workspace: Workspace
    workspaces: Workspaces
    max_seconds: float

    def received(self, *, extended: bool = False) -> Any:
        """The body, decoded."""
        return bodies.received(self.request, extended=extended)

    def answer(self, value: Any, status: int = 200) -> Answer:
        """A value as JSON."""
        return bodies.answer(self.request, value, status)


_Function = Callable[..., Answer]


@dataclass(frozen=True)
class Route:
    """One route: ``path`` below the prefix, with ``<name>`` for what may stand there, and its functions by method."""

    path: str
    methods: dict[str, _Function]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path is matched with."""
        return re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", re.escape(self.path).replace("\\<", "<")))


ROUTES: Final[dict[str, Route]] = {}


def _route(method: str, path: str) -> Callable[[_Function], _Function]:
    def declare(function: _Function) -> _Function:
        ROUTES.setdefault(path, Route(path, {})).methods[method] = function
        return function

    return declare


def answered(call: Call, path: str) -> Answer:
    """
    The answer to a request.

    Args:
        path: What stands behind ``/-/mock``.

    Raises:
        NotFound, MethodNotAllowed: There is no such route.
        ConnectomeError: As the routes have it.
    """
    method = call.request.method
    for route in ROUTES.values():
        if found := route.pattern.fullmatch(path):
            function = route.methods.get("GET" if method == "HEAD" else method)
            if function is None:
                raise MethodNotAllowed(sorted(route.methods))
            return function(call, **found.groupdict())
    raise NotFound(f"there is nothing at this path: expected {', '.join(PREFIX + each for each in ROUTES)}")


@_route("GET", "/")
def overview(call: Call) -> Answer:
    """Say what this workspace holds, and how it stands."""
    workspace = call.workspace
    return call.answer(
        {
            "version": __version__,
            "workspace": workspace.name,
            "collections": _counts(workspace),
            "faults": workspace.faults.listed(),
            "requests": len(workspace.journal.entries()),
            "snapshots": [each["name"] for each in workspace.snapshots()],
            "clock": _standing(workspace),
        }
    )


def _counts(workspace: Workspace) -> dict[str, int]:
    return {each["id"]: each["count"] for each in workspace.service.collections()}


@_route("POST", "/reset")
def reset(call: Call) -> Answer:
    """Make everything as it was in the beginning: documents, schemas, credentials, faults, clock, journal."""
    call.workspace.reset()
    return call.answer({"workspace": call.workspace.name, "collections": _counts(call.workspace)})


@_route("GET", "/documents/<collection>")
def documents(call: Call, collection: str) -> Answer:
    """All documents of a collection, without a credential; no fault befalls this, and no journal has it."""
    return bodies.documents(call.request, call.workspace.service.collection(collection), Find())


@_route("GET", "/snapshots")
def snapshots(call: Call) -> Answer:
    """List the snapshots: name, and how many documents each collection has."""
    return call.answer(call.workspace.snapshots())


@_route("PUT", "/snapshots/<name>")
def take(call: Call, name: str) -> Answer:
    """Take a snapshot, in place of one of that name."""
    return call.answer(call.workspace.take(name), 201)


@_route("POST", "/snapshots/<name>/restore")
def restore(call: Call, name: str) -> Answer:
    """Make collections and clock as they were in a snapshot."""
    return call.answer(call.workspace.restore(name))


@_route("DELETE", "/snapshots/<name>")
def forget(call: Call, name: str) -> Answer:
    """Delete a snapshot."""
    call.workspace.forget(name)
    return _nothing()


@_route("GET", "/faults")
def list_faults(call: Call) -> Answer:
    """List the faults, and how often each was applied."""
    return call.answer(call.workspace.faults.listed())


@_route("POST", "/faults")
def add_fault(call: Call) -> Answer:
    """Have one more fault."""
    return call.answer(call.workspace.faults.add(faults.fault_of(call.received())), 201)


@_route("PUT", "/faults")
def set_faults(call: Call) -> Answer:
    """Have these faults, and no others."""
    call.workspace.faults.set(faults.faults_of(call.received()))
    return call.answer(call.workspace.faults.listed())


@_route("DELETE", "/faults")
def clear_faults(call: Call) -> Answer:
    """Have no faults, not even those of the command line; a reset brings these back."""
    call.workspace.faults.set([])
    return _nothing()


@_route("DELETE", "/faults/<id>")
def remove_fault(call: Call, id: str) -> Answer:
    """Have one fault less."""
    call.workspace.faults.remove(id)
    return _nothing()


@_route("GET", "/requests")
def requests(call: Call) -> Answer:
    """List the requests to operations, and those that led nowhere, the oldest first."""
    return call.answer(call.workspace.journal.entries())


@_route("DELETE", "/requests")
def clear_requests(call: Call) -> Answer:
    """Forget the requests."""
    call.workspace.journal.clear()
    return _nothing()


@_route("POST", "/verify")
def verify(call: Call) -> Answer:
    """Count the requests that match a filter; refuse where there are more or fewer than expected."""
    body = call.received(extended=True)
    bodies.require(_VERIFY, body)
    with at("filter"), deadline(call.max_seconds):
        matching = Filter(body.get("filter", {})).select(call.workspace.journal.entries())
    count = len(matching)
    exactly, at_least, at_most = (body.get(name) for name in ("count", "atLeast", "atMost"))
    if exactly is at_least is at_most is None:
        at_least = 1
    as_expected = (
        (exactly is None or count == exactly)
        and (at_least is None or count >= at_least)
        and (at_most is None or count <= at_most)
    )
    if not as_expected:
        raise VerificationFailed(_failed(call.workspace, body.get("filter", {}), count, exactly, at_least, at_most))
    return call.answer({"verified": True, "count": count})


def _failed(workspace: Workspace, filter: Any, count: int, *bounds: int | None) -> str:
    words = ("exactly", "at least", "at most")
    wanted = " and ".join(f"{word} {bound}" for word, bound in zip(words, bounds, strict=True) if bound is not None)
    entries = workspace.journal.entries()
    came = "; ".join(f"{each['method']} {each['path']} → {each['status']}" for each in entries[-_SHOWN:])
    last = f"; the last were {came}" if came else ""
    return f"expected {wanted} to match {extjson.dumps(filter)}, and {count} of {len(entries)} did{last}"


@_route("GET", "/clock")
def clock(call: Call) -> Answer:
    """Say what time it is, and whether it stands still."""
    return call.answer(_standing(call.workspace))


@_route("POST", "/clock")
def set_clock(call: Call) -> Answer:
    """Freeze the clock, advance it by seconds, or release it."""
    body = call.received()
    bodies.require(_CLOCK, body)
    ruling = call.workspace.clock
    if "advance" in body:
        with at("advance"):
            try:
                ruling.advance(timedelta(seconds=body["advance"]))
            except OverflowError:
                raise InvalidRequest("the clock goes from the year 1 to 9999, and this leads beyond") from None
    elif "release" in body:
        ruling.release()
    else:
        with at("freeze"):
            ruling.freeze(_time(body["freeze"]))
    return call.answer(_standing(call.workspace))


def _time(value: Any) -> datetime | None:
    """A time out of JSON: ISO 8601, a date of Extended JSON, or ``true`` for now."""
    if value is True:
        return None
    try:
        found = extjson.from_json({"$date": value} if type(value) is str else value)
    except InvalidJSON as error:
        raise InvalidRequest(error.detail) from None  # the place is the time itself, which was wrapped only here
    if isinstance(found, DatetimeMS) or type(found) is not datetime:
        raise InvalidRequest(f"a time is true, or ISO 8601 such as 2026-01-31T12:00:00Z, not {extjson.preview(value)}")
    return found.astimezone(UTC)


def _standing(workspace: Workspace) -> dict[str, Any]:
    moment = workspace.clock.moment
    # As text: whoever asks need know nothing of Extended JSON.
    said = workspace.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"now": said, "frozen": moment.frozen is not None, "idsGiven": moment.given}


@_route("GET", "/workspaces")
def list_workspaces(call: Call) -> Answer:
    """List the workspaces."""
    return call.answer([_summary(each) for each in call.workspaces.all()])


@_route("POST", "/workspaces")
def create_workspace(call: Call) -> Answer:
    """Make a workspace, with collections of its own where a seed is given."""
    body = call.received()
    bodies.require(_WORKSPACE, body)
    planted = None
    with at("seed"):
        if "seed" in body:
            planted = collections(body["seed"])
        made = call.workspaces.create(body["name"], planted)
    return call.answer(_summary(made), 201)


@_route("DELETE", "/workspaces/<name>")
def delete_workspace(call: Call, name: str) -> Answer:
    """Delete a workspace."""
    call.workspaces.delete(name)
    return _nothing()


def _summary(workspace: Workspace) -> dict[str, Any]:
    return {"name": workspace.name, "path": f"/~{workspace.name}", "collections": _counts(workspace)}


def _nothing() -> Answer:
    return Answer(b"", "application/json", 204)


def described() -> Mapping[str, str]:
    """Every route, ``METHOD /-/mock/path``, with its first sentence."""
    return {
        f"{method} {PREFIX}{route.path}": (function.__doc__ or "").strip().split("\n")[0]
        for route in ROUTES.values()
        for method, function in route.methods.items()
    }
