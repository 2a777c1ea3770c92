"""What the server remembers of the requests that it answered."""

from __future__ import annotations

import pytest

from connectome.config import Settings
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app
from connectome.web.activity import MAX_RECENT, MAX_SHAPES, MINUTES, SLOW_SECONDS, Activity, Tally, shape_of


class Clock:
    """Seconds since 1970, which pass when told to."""

    def __init__(self):
        self.now = 6_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def activity(clock):
    return Activity(clock)


class TestMinutes:
    def test_requests_are_counted_by_minute_and_status(self, activity, clock):
        """A minute holds what came in it, by the first digit of the status; the current one stands last."""
        for status in (200, 201, 404, 503):
            activity.record("read", "birds", status, 0.001)
        clock.now += 120
        activity.record("write", "birds", 201, 0.001)

        counted = [(start, tally.classes) for start, tally in activity.minutes() if tally.count]
        assert counted == [(6_000_000, {2: 2, 4: 1, 5: 1}), (6_000_120, {2: 1})]
        assert activity.minutes()[-1][0] == 6_000_120

    def test_there_are_as_many_as_an_hour_has(self, activity, clock):
        """What is older than an hour is forgotten, by every view."""
        activity.record("read", "birds", 200, 0.001)
        clock.now += MINUTES * 60

        assert sum(tally.count for _, tally in activity.minutes()) == 0
        assert activity.operations() == {}
        assert len(activity.minutes()) == MINUTES

    def test_a_collection_has_its_own(self, activity):
        """Of one collection only what was asked of it is counted."""
        activity.record("read", "birds", 200, 0.001)
        activity.record("write", "movies", 201, 0.001)

        assert [*activity.operations("movies")] == ["write"]
        assert [each.collection for each in activity.recent("movies")] == ["movies"]
        assert sum(tally.count for _, tally in activity.minutes("movies")) == 1


class TestPercentiles:
    @pytest.mark.parametrize("seconds", [0.00002, 0.0004, 0.003, 0.05, 0.7, 9.0])
    def test_are_right_to_within_ten_percent(self, activity, seconds):
        """Whatever the latency, it is told to within 10 %."""
        activity.record("read", "birds", 200, seconds)

        assert activity.operations()["read"].percentile(0.99) == pytest.approx(seconds, rel=0.1)

    def test_of_many(self, activity):
        """Of a hundred requests one of which is slow, the median is that of the quick ones, and p99 too."""
        for _ in range(99):
            activity.record("read", "birds", 200, 0.001)
        activity.record("read", "birds", 200, 1.0)

        tally = activity.operations()["read"]
        assert tally.percentile(0.5) == tally.percentile(0.99) == pytest.approx(0.001, rel=0.1)
        assert tally.percentile(1.0) == pytest.approx(1.0, rel=0.1)

    def test_of_none(self):
        """Of no requests it is zero."""
        assert Tally().percentile(0.5) == 0.0

    def test_no_time_at_all(self, activity):
        """A clock that did not move, or a request of hours, does no harm."""
        activity.record("read", "birds", 200, 0.0)
        activity.record("read", "birds", 200, 1e9)

        assert activity.operations()["read"].count == 2


class TestBounds:
    def test_the_recent_ones_are_the_last(self, activity):
        """The latest stands first, and the oldest is forgotten."""
        for status in range(MAX_RECENT + 1):
            activity.record("read", "birds", status, 0.001)

        assert [each.status for each in activity.recent()] == [*range(MAX_RECENT, 0, -1)]

    def test_the_quickest_shape_gives_way(self, activity):
        """There are so many shapes and no more; the slowest ones stay."""
        for number in range(MAX_SHAPES + 1):
            activity.record("read", "birds", 200, SLOW_SECONDS + number, {f"a{number}": 1})

        shapes = [each.shape for each in activity.slow()]
        assert len(shapes) == MAX_SHAPES
        assert (shapes[0], "{a0: ?}" in shapes) == (f"{{a{MAX_SHAPES}: ?}}", False)


class TestSlow:
    def test_queries_of_one_shape_are_one(self, activity):
        """Two queries that differ in their values alone are counted together."""
        activity.record("readwithquery", "birds", 200, 0.1, {"year": 1})
        activity.record("readwithquery", "birds", 200, 0.3, {"year": 2})

        (slow,) = activity.slow()
        assert (slow.shape, slow.count, slow.longest) == ("{year: ?}", 2, 0.3)
        assert slow.total == pytest.approx(0.4)

    def test_a_quick_one_is_none(self, activity):
        """Only what takes ten milliseconds or longer is kept."""
        activity.record("readwithquery", "birds", 200, SLOW_SECONDS / 2, {"year": 1})

        assert activity.slow() == []


class TestShapes:
    @pytest.mark.parametrize(
        ("query", "shape"),
        [
            ({}, "{}"),
            ({"year": {"$gt": 1990}, "title": "secret"}, "{year: {$gt: ?}, title: ?}"),
            ({"$or": [{"a": 1}, {"b": 2}]}, "{$or: [{a: ?}, …]}"),
            ({"$and": [{"a": None}]}, "{$and: [{a: ?}]}"),
            ({"a": {"$in": [1, 2, 3]}}, "{a: {$in: [?]}}"),
            ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, "{a: {b: {c: {d: {e: {f: {…}}}}}}}"),
            ({str(n): n for n in range(14)}, "{" + ", ".join(f"{n}: ?" for n in range(12)) + ", …}"),
            ({"k" * 100: 1}, "{" + "k" * 64 + ": ?}"),
        ],
    )
    def test_hold_names_and_no_values(self, query, shape):
        """A question mark stands for every value; what is too much is cut off."""
        assert shape_of(query) == shape


class TestRecording:
    @pytest.fixture
    def recorded(self, tmp_path):
        """Asks an application for something, and returns what it remembers: operation, collection, status."""
        service = Service(open_store(tmp_path))
        keys = service.create(id="birds")["credentials"]
        app = create_app(Settings(data=tmp_path), service)

        def ask(method, operation, credential, **options):
            app.test_client().open(f"/collection/{operation}/{credential}", method=method, **options)
            last = app.extensions["connectome.activity"].recent()
            return [(each.operation, each.collection, each.status) for each in last]

        ask.keys = keys
        ask.slow = app.extensions["connectome.activity"].slow
        yield ask
        service.close()

    def test_what_was_answered(self, recorded):
        """An operation is remembered with its collection and its status."""
        assert recorded("GET", "read", f"{recorded.keys['read']}/birds") == [("read", "birds", 200)]

    def test_what_was_refused(self, recorded):
        """So is one that was refused, whatever for."""
        assert recorded("GET", "read", f"{recorded.keys['write']}/birds") == [("read", "birds", 403)]
        assert recorded("POST", "write", f"{recorded.keys['write']}/birds", data=b"{")[0] == ("write", "birds", 400)

    def test_a_name_that_nothing_has_is_not_kept(self, recorded):
        """What a stranger writes into a URL, perhaps a credential in the wrong place, is not remembered."""
        assert recorded("GET", "read", "birds/cr_secret") == [("read", "", 401)]
        assert recorded("GET", "cr_secret", "read/birds")[0] == ("", "birds", 404)

    @pytest.mark.parametrize(
        ("method", "operation", "body", "shape"),
        [
            ("POST", "readwithquery", {"query": {"year": 1}, "limit": 1}, "{year: ?}"),
            ("POST", "readwithquery", {}, "{}"),
            ("POST", "updatewithupsert", {"search query": {"year": 1}, "data": {"$set": {"a": 1}}}, "{year: ?}"),
            ("DELETE", "batchdelete", {"year": 1}, "{year: ?}"),
        ],
    )
    def test_the_filter_of_a_slow_one(self, recorded, monkeypatch, method, operation, body, shape):
        """Of a request that took long, the shape of its filter is kept, wherever in the body it stands."""
        monkeypatch.setattr("connectome.web.activity.SLOW_SECONDS", 0.0)

        role = "read" if operation.startswith("read") else "write"
        recorded(method, operation, f"{recorded.keys[role]}/birds", json=body)

        assert [(each.operation, each.shape) for each in recorded.slow()] == [(operation, shape)]

    @pytest.mark.parametrize(("operation", "body"), [("write", {"query": {"year": 1}}), ("readwithquery", ["query"])])
    def test_what_has_no_filter(self, recorded, monkeypatch, operation, body):
        """A document is no filter, whatever its fields are called, nor is a body that no operation takes."""
        monkeypatch.setattr("connectome.web.activity.SLOW_SECONDS", 0.0)

        role = "read" if operation.startswith("read") else "write"
        recorded("POST", operation, f"{recorded.keys[role]}/birds", json=body)

        assert recorded.slow() == []
