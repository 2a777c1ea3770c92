"""What the operations did in the last hour: of the server, and of one collection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from flask import Blueprint, Response, current_app

from connectome.web.activity import SLOW_SECONDS, Activity, Tally
from connectome.web.console import site

blueprint: Final = Blueprint("activity", __name__)

_WIDTH: Final = 720
_HEIGHT: Final = 120
# First digit of a status → what it is called, and which series of a chart it is.
CLASSES: Final = {2: ("answered (2xx)", 1), 4: ("refused (4xx)", 2), 5: ("failed (5xx)", 3)}


@dataclass(frozen=True)
class Piece:
    """A rectangle of a chart, in its units."""

    x: float
    y: float
    width: float
    height: float
    series: int


@blueprint.get("/activity")
def server() -> Response:
    """Everything that was asked of this server."""
    return _page(None, section="activity")


@blueprint.get("/collections/<id>/activity")
def collection(id: str) -> Response:
    """What was asked of one collection."""
    return _page(id, described=site.service().describe(id), tab="Activity")


def _page(collection: str | None, **values: Any) -> Response:
    activity = cast(Activity, current_app.extensions["connectome.activity"])
    minutes = activity.minutes(collection)
    operations = activity.operations(collection)
    total = Tally()
    for each in operations.values():
        total.add(each)
    titles = {each["id"]: each["title"] for each in site.service().collections()}
    return site.render(
        "activity.html",
        **values,
        collection=collection,
        minutes=[(iso(start), tally) for start, tally in reversed(minutes) if tally.count],
        pieces=pieces([tally for _, tally in minutes]),
        most=max(tally.count for _, tally in minutes),
        operations=operations,
        total=total,
        # What was dropped since is not named any more.
        recent=[each for each in activity.recent(collection) if not each.collection or each.collection in titles],
        slow=[each for each in activity.slow(collection) if each.collection in titles],
        slow_milliseconds=int(SLOW_SECONDS * 1000),
        titles=titles,
        classes=CLASSES,
        chart=(_WIDTH, _HEIGHT),
        iso=iso,
        duration=duration,
    )


def pieces(tallies: list[Tally]) -> list[Piece]:
    """The bars of a chart, one above the other by the class of their status: what failed lies at the bottom."""
    most = max((each.count for each in tallies), default=0) or 1
    slot = _WIDTH / len(tallies)
    found = []
    for position, tally in enumerate(tallies):
        top = float(_HEIGHT)
        for status, count in sorted(tally.classes.items(), reverse=True):
            height = count / most * _HEIGHT
            top -= height
            series = CLASSES.get(status, ("", 4))[1]
            found.append(
                Piece(round(position * slot + 1, 2), round(top, 2), round(slot - 2, 2), round(height, 2), series)
            )
    return found


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601, in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """A time for people, with three digits: ``0.42 ms``, ``12.3 ms``, ``1.25 s``."""
    if not seconds:
        return "–"
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{seconds * 1000:.3g} ms" if seconds * 1000 < 999.5 else "1 s"
