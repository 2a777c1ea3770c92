"""What the server says of itself: whether it can serve, and what it has counted."""

from __future__ import annotations

import json
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from connectome.config import Settings
from connectome.errors import StoreFailed
from connectome.service import Service
from connectome.stores import open_store
from connectome.web import create_app
from connectome.web.activity import Activity
from connectome.web.flight import InFlight

KEYS = {"read": "cr_reader", "write": "cw_writer"}
TOKEN = {"Authorization": "Bearer ca_administrator"}


class Server:
    """An application over a data directory, and a client of it that reads every answer to its end."""

    def __init__(self, directory, **settings):
        self.service = Service(open_store(directory))
        self.app = create_app(Settings(data=directory, admin_token="ca_administrator", **settings), self.service)

    def get(self, path, **headers):
        return self.app.test_client().get(path, headers=headers, buffered=True)

    def metrics(self):
        """The metrics as Prometheus reads them: name → labels → value."""
        answer = self.get("/-/metrics", **TOKEN)
        assert answer.status_code == 200, answer.text
        found = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found


@pytest.fixture
def server(directory):
    """A server with a collection of two documents."""
    server = Server(directory, metrics_token="mt_metrics")
    server.service.create(id="movies", credentials=KEYS, documents=[{"_id": 1}, {"_id": 2}])
    yield server
    server.service.close()


class TestReady:
    def test_it_is(self, server):
        """Where the store can be had; how many collections there are, and none that is not well."""
        answer = server.get("/-/ready")

        assert answer.status_code == 200
        assert answer.get_json() == {"status": "ready", "collections": 1, "barred": 0, "failed": 0, "torn": 0}

    def test_a_store_that_cannot_be_had_is_503(self, server, monkeypatch):
        """A problem, as all errors are, after which it is asked again."""

        def refuse():
            raise StoreFailed("the disk is gone")

        monkeypatch.setattr(server.service, "require_store", refuse)

        answer = server.get("/-/ready")

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.get_json()["code"] == "StorageFailed"
        assert server.get("/-/health").status_code == 200

    def test_a_catalog_that_cannot_be_read_is_503(self, server, directory):
        """The store is really asked: what was read at the start is not enough."""
        (directory / "connectome.catalog.json").write_text("{")

        assert server.get("/-/ready").status_code == 503

    def test_a_damaged_collection_is_counted(self, server, directory):
        """The others serve, so the server is ready; which it is nobody is told without a token."""
        server.service.create(id="damaged")
        server.service.close()
        (directory / "damaged.json").write_text("{}x")
        again = Server(directory)

        answer = again.get("/-/ready")
        barred = again.metrics()["connectome_collection_barred"]
        again.service.close()

        assert answer.status_code == 200
        assert answer.get_json() == {"status": "ready", "collections": 2, "barred": 1, "failed": 0, "torn": 0}
        assert barred == {("movies",): 0, ("damaged",): 1}

    def test_a_torn_tail_is_counted(self, server, directory):
        """What a crash left of a write: the start set it aside, and somebody may want to look."""
        server.service.close()
        (journal,) = directory.glob("movies.journal.*")
        journal.write_bytes(journal.read_bytes() + b"half a rec")
        again = Server(directory)

        answer = again.get("/-/ready").get_json()
        again.service.close()

        assert answer["torn"] == 1


class TestMetrics:
    @pytest.mark.parametrize("token", ["ca_administrator", "mt_metrics"])
    def test_two_tokens_open_them(self, server, token):
        """The administrator's, and one that opens nothing else."""
        assert server.get("/-/metrics", Authorization=f"Bearer {token}").status_code == 200
        administered = server.get("/-/admin/collections", Authorization=f"Bearer {token}").status_code
        assert administered == (200 if token == "ca_administrator" else 401)

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer cr_reader"}, {"Authorization": "Bearer "}])
    def test_nothing_else_does(self, server, headers):
        """They name the collections."""
        assert server.get("/-/metrics", **headers).status_code == 401

    def test_an_empty_token_is_none(self, directory):
        """Where none is set, no token opens them but the administrator's."""
        server = Server(directory)

        answer = server.get("/-/metrics", Authorization="Bearer x")
        server.service.close()

        assert answer.status_code == 401

    def test_operations_are_counted_by_route_and_status(self, server):
        """On whichever road they came; no credential and no id stands in a label."""
        client = server.app.test_client()
        for credential in ("cr_reader", "cr_reader", "cr_stranger"):
            client.get(f"/collection/read/{credential}/movies")
        client.post("/collection/write/cw_writer/movies", data=b'{"_id": 3}')

        metrics = server.metrics()

        route = "/collection/read/<credential>/<collection>"
        requests = metrics["connectome_requests_total"]
        assert requests["GET", route, "200"] == 2
        assert requests["GET", route, "401"] == 1
        assert requests["POST", "/collection/write/<credential>/<collection>", "201"] == 1
        assert metrics["connectome_request_duration_seconds_count"]["GET", route] == 3
        assert metrics["connectome_request_duration_seconds_sum"]["GET", route] > 0

    def test_all_else_is_counted_by_route(self, server):
        """Once each; what leads to no route is one thing, whatever a stranger made up."""
        for path in ("/-/health", "/-/health", "/-/nothing/cr_secret", "/collection/nothing/cr_secret/x"):
            server.get(path)
        server.app.test_client().open("/-/health", method="BREW")

        requests = server.metrics()["connectome_requests_total"]

        assert requests["GET", "/-/health", "200"] == 2
        assert requests["", "", "404"] == 2
        assert requests["", "", "405"] == 1
        assert not any("secret" in "".join(labels) or "BREW" in labels for labels in requests)

    def test_buckets_add_up(self, server):
        """Each holds those below it, and the last holds all."""
        for _ in range(5):
            server.get("/collection/read/cr_reader/movies")

        buckets = server.metrics()["connectome_request_duration_seconds_bucket"]

        of_read = [(labels, count) for labels, count in buckets.items() if any("/read/" in each for each in labels)]
        counts = [count for _, count in of_read]
        assert counts == sorted(counts)
        assert "+Inf" in of_read[-1][0]
        assert counts[-1] == 5

    def test_collections_are_described(self, server):
        """Documents, bytes, and what lies in the journal."""
        server.app.test_client().post("/collection/write/cw_writer/movies", data=b'{"_id": 3}')

        metrics = server.metrics()

        assert metrics["connectome_collection_documents"] == {("movies",): 3}
        assert metrics["connectome_collection_bytes"]["movies",] > 0
        assert metrics["connectome_collection_journal_writes"]["movies",] >= 1
        assert metrics["connectome_checkpoints_total"]["movies",] >= 1
        assert metrics["connectome_collection_failed"] == {("movies",): 0}

    def test_openmetrics_is_answered_to_who_asks(self, server):
        """As Prometheus does."""
        accept = "application/openmetrics-text; version=1.0.0"
        answer = server.get("/-/metrics", Accept=accept, **TOKEN)

        assert answer.content_type.startswith("application/openmetrics-text")
        assert "connectome_requests_in_flight" in {family.name for family in openmetrics(answer.text)}

    def test_what_is_forgotten_by_the_minute_still_counts(self):
        """Totals go on for ever, while the hour that the console shows moves on."""
        now = [0.0]
        activity = Activity(lambda: now[0])
        for minute in range(0, 200, 50):
            now[0] = minute * 60.0
            activity.record("read", "movies", 200, 0.001)

        operations, _ = activity.totals()

        assert operations["read"].count == 4
        assert operations["read"].seconds == pytest.approx(0.004)

    def test_a_metric_is_not_lost_where_requests_run_together(self, server):
        """Threads count into one place."""

        def read():
            for _ in range(50):
                server.get("/-/health")

        threads = [threading.Thread(target=read) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

        metrics = server.metrics()
        assert metrics["connectome_requests_total"]["GET", "/-/health", "200"] == 200
        assert metrics["connectome_requests_in_flight"] == {(): 1}


class TestInFlight:
    def test_a_request_counts_until_its_last_byte(self):
        """An answer that is made as it is sent is not done when it begins."""
        flight = InFlight(lambda environ, start_response: iter([b"a", b"b"]))

        answer = flight({}, lambda *_: None)
        first = next(iter(answer))

        assert (first, flight.count) == (b"a", 1)
        answer.close()
        assert flight.count == 0

    def test_a_request_that_fails_has_ended(self):
        """Whatever it was that failed."""

        def broken(environ, start_response):
            raise RuntimeError

        flight = InFlight(broken)

        with pytest.raises(RuntimeError):
            flight({}, lambda *_: None)
        assert flight.count == 0


@pytest.mark.parametrize("kind", ["waitress", "granian"])
def test_servers_end_what_they_begin(servers, tmp_path, kind):
    """Either closes every answer, small, large or refused: nothing stays in flight."""
    with servers(tmp_path, "--server", kind) as server:
        collection = server.admin.collection([{"_id": n, "text": "x" * 1000} for n in range(500)])
        for operation in ("read", "readwithquery", "write"):
            collection.call(operation, b"" if operation == "read" else b"{}")
        server.request("GET", "/-/docs/swagger-ui.css")
        server.request("GET", "/-/nothing")
        found = server.request("GET", "/-/metrics", headers={"Authorization": f"Bearer {server.admin.token}"}).text

    (in_flight,) = (line for line in found.splitlines() if line.startswith("connectome_requests_in_flight"))
    assert in_flight == "connectome_requests_in_flight 1.0"
    assert json.dumps(collection.read_credential) not in found
