"""
What Prometheus scrapes, put together when it does: from what ``Activity`` counts anyway, and what the store says.

It is imported when it is asked for.  Labels are templates of routes and ids of collections: there are no more than the
owner has made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from connectome import __version__
from connectome.service import Condition
from connectome.web import atlas
from connectome.web.activity import Activity, Tally
from connectome.web.api import OPERATIONS

if TYPE_CHECKING:
    from prometheus_client import Metric

_FIGURES: Final = {
    "journal_bytes": "Bytes of the journal since the last checkpoint.",
    "journal_writes": "Writes in the journal since the last checkpoint.",
    "index_bytes": "About how much memory columns and indexes take.",
    "failed": "Whether a write has failed, so that the collection only reads until the server starts again.",
    "torn": "Whether a write that a crash had cut was set aside when the server started.",
}


class _Measured(Collector):
    def __init__(self, collections: Sequence[Condition], activity: Activity, in_flight: int) -> None:
        self._collections = collections
        self._activity = activity
        self._in_flight = in_flight

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("connectome", "The version that serves.", {"version": __version__})
        yield from self._requests()
        yield GaugeMetricFamily("connectome_requests_in_flight", "Requests that have not ended.", self._in_flight)
        yield self._gauge("documents", "Documents of a collection.", lambda each: each.documents)
        yield self._gauge("bytes", "Bytes of a collection where it is kept.", lambda each: each.size)
        yield self._gauge("barred", "Whether it is damaged, and answers 503.", lambda each: each.documents is None)
        for name, says in _FIGURES.items():
            yield self._gauge(name, says, partial(_figure, name=name))
        checkpoints = CounterMetricFamily(
            "connectome_checkpoints", "Checkpoints of a collection.", labels=["collection"]
        )
        for each in self._collections:
            if "checkpoints" in each.figures:
                checkpoints.add_metric([each.id], each.figures["checkpoints"])
        yield checkpoints

    def _gauge(self, name: str, says: str, value: Callable[[Condition], float | None]) -> Metric:
        family = GaugeMetricFamily(f"connectome_collection_{name}", says, labels=["collection"])
        for each in self._collections:
            if (found := value(each)) is not None:
                family.add_metric([each.id], float(found))
        return family

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "connectome_requests", "Requests that were answered.", labels=["method", "route", "status"]
        )
        took = HistogramMetricFamily(
            "connectome_request_duration_seconds", "How long they took.", labels=["method", "route"]
        )
        for (method, route), tally in self._tallies():
            for status, count in sorted(tally.statuses.items()):
                requests.add_metric([method, route, str(status)], count)
            buckets = [(str(bound), float(count)) for bound, count in tally.buckets]
            took.add_metric([method, route], [*buckets, ("+Inf", float(tally.count))], tally.seconds)
        yield requests
        yield took

    def _tallies(self) -> Iterator[tuple[tuple[str, str], Tally]]:
        """By method and route; both empty for what led to no route."""
        operations, routes = self._activity.totals()
        nowhere = operations.pop("", Tally())
        nowhere.add(routes.pop(("", ""), Tally()))
        for name, tally in operations.items():
            if name in OPERATIONS:
                yield (OPERATIONS[name].method, f"/collection/{name}/<credential>/<collection>"), tally
            else:
                yield ("POST", atlas.route(name)), tally
        yield from routes.items()
        if nowhere.count:
            yield ("", ""), nowhere


def _figure(condition: Condition, name: str) -> int | None:
    return condition.figures.get(name)


def exposition(
    collections: Sequence[Condition], activity: Activity, in_flight: int, *, accept: str
) -> tuple[bytes, str]:
    """The metrics of this moment, and the media type that they are in: the one that a scraper accepts."""
    registry = CollectorRegistry()
    registry.register(_Measured(collections, activity, in_flight))
    for each in (ProcessCollector, PlatformCollector, GCCollector):
        each(registry=registry)
    encoder, form = choose_encoder(accept)
    return encoder(registry), form
