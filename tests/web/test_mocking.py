"""The mock server as a WSGI application: faults, workspaces, snapshots, journal, clock, and who may ask."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from connectome.config import Settings
from connectome.errors import ConfigurationError
from connectome.seeds import collections
from connectome.web.mocking import Mock, control, faults
from connectome.web.mocking.workspaces import MAX_WORKSPACES, Start, Workspaces

SEED = {"posts": [{"_id": "1", "title": "a title"}, {"_id": "2", "title": "another title"}], "profile": {"name": "x"}}
MANUAL = (Path(__file__).parents[2] / "docs/mock.md").read_text()
KEYS = {"read": "read", "write": "write"}


class Asked:
    """A mock server, and what asks it."""

    def __init__(self, *wrong: faults.Fault, seed: int = 1, **settings: Any) -> None:
        settings = {"cors": "loopback", "admin_token": "admin", "durability": "memory", **settings}
        self.mock = Mock(Start(collections(SEED), KEYS, wrong, seed), Settings(**settings))
        self.client = Client(self.mock)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """One request; ``_`` in the name of a header stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        return self.client.open(path, method=method, data=data, headers=named)

    def control(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """What the control API says, where it refuses nothing."""
        answer = self.send(method, "/-/mock" + path, body, **headers)
        assert answer.status_code < 400, answer.text
        return answer.json if answer.data else None

    def administer(self, path: str, body: Any) -> Any:
        """What the administration makes."""
        answer = self.send("POST", "/-/admin" + path, body, Authorization="Bearer admin")
        assert answer.status_code == 201, answer.text
        return answer.json

    def read(self, **headers: str) -> TestResponse:
        return self.send("GET", "/collection/read/read/posts", **headers)

    def write(self, document: Any, prefix: str = "", **headers: str) -> TestResponse:
        return self.send("POST", prefix + "/collection/write/write/posts", document, **headers)

    def titles(self, prefix: str = "") -> list[str]:
        return [each["title"] for each in self.send("GET", f"{prefix}/-/mock/documents/posts").json]


@pytest.fixture
def asked() -> Asked:
    return Asked()


def statuses(asked: Asked, count: int, **headers: str) -> list[int]:
    return [asked.read(**headers).status_code for _ in range(count)]


class TestFaults:
    def test_a_status_answers_and_does_nothing(self, asked, problem_of):
        """A write that is refused with a status leaves no trace in the data."""
        asked.control("POST", "/faults", {"operation": "writes", "status": 507, "retryAfter": 3})

        refused = asked.write({"title": "new"})

        assert (refused.status_code, problem_of(refused)["code"]) == (507, "MockFault")
        assert refused.headers["Retry-After"] == "3"
        assert asked.titles() == ["a title", "another title"]

    def test_times_bound_a_fault(self, asked):
        """A fault of two times befalls two requests, and says so."""
        asked.control("POST", "/faults", {"operation": "read", "status": 503, "times": 2})

        assert statuses(asked, 4) == [503, 503, 200, 200]
        assert asked.control("GET", "/faults") == [
            {"id": "1", "operation": "read", "status": 503, "share": 1.0, "times": 2, "applied": 2}
        ]

    def test_the_same_seed_gives_the_same_faults(self):
        """Half of the requests fail, and they are the same half in every run; another seed gives another half."""
        half = faults.failures(["50%"])
        first, again, other = (statuses(Asked(*half, seed=seed), 40) for seed in (1, 1, 2))

        assert first == again != other
        assert set(first) == {200, 503}

    def test_a_share_of_nothing_concerns_nobody(self):
        """So that a script may turn failures off by the number alone."""
        asked = Asked(*faults.failures(["0%"]), *faults.spoilt(["0%:truncate"]))

        assert set(statuses(asked, 20)) == {200}

    def test_operations_do_not_disturb_each_other(self):
        """What befalls the reads is the same, whatever is written in between."""
        half = faults.failures(["50%"])
        alone, disturbed = Asked(*half), Asked(*half)
        between = []
        for _ in range(20):
            disturbed.write({"title": "x"})
            between.append(disturbed.read().status_code)

        assert between == statuses(alone, 20)

    def test_a_reset_begins_chance_anew(self):
        """After a reset the same requests meet the same faults again."""
        asked = Asked(*faults.failures(["50%"]))
        before = statuses(asked, 20)
        asked.control("POST", "/reset")

        assert statuses(asked, 20) == before

    def test_the_latest_fault_decides(self, asked):
        """Of two that fit, the one that was added last answers; without it the other does."""
        asked.control("POST", "/faults", {"status": 500})
        last = asked.control("POST", "/faults", {"status": 429, "operation": "read"})

        assert asked.read().status_code == 429
        asked.control("DELETE", f"/faults/{last['id']}")
        assert asked.read().status_code == 500

    def test_an_operation_goes_before_all(self):
        """On the command line, what is said of one operation wins over what is said of all, in either order."""
        ordered = faults.in_order(faults.delays("delay", ["write=500", "200", "writes=300"]))

        assert [(each.operation, each.delay) for each in ordered] == [("*", 200), ("writes", 300), ("write", 500)]

    def test_a_request_says_itself_what_shall_happen(self, asked):
        """A header asks for a fault, or to be spared of one."""
        assert asked.read(Connectome_Fault="418").status_code == 418
        asked.control("PUT", "/faults", [{"status": 503}])
        assert asked.read(Connectome_Fault="none").status_code == 200

    @pytest.mark.parametrize("headers", [{"Connectome_Fault": "none"}, {"Connectome_Fault": "418"}])
    def test_a_fault_waits_for_a_request_that_says_nothing(self, asked, headers):
        """One that says itself what shall happen to it is none of those that a fault has."""
        asked.control("PUT", "/faults", [{"status": 503, "times": 1}, {"delay": 20, "times": 1}])
        asked.read(Connectome_Delay="0", **headers)

        assert [each["applied"] for each in asked.control("GET", "/faults")] == [0, 0]
        assert statuses(asked, 2) == [503, 200]

    def test_an_atlas_action_is_an_operation(self, asked):
        """It meets faults by its name, its role and its collection, and stands in the journal."""
        body = {"dataSource": "a", "database": "b", "collection": "posts", "filter": {"_id": "1"}}
        road = "/app/x/endpoint/data/v1/action/findOne"
        scopes = [{"operation": "writes"}, {"collection": "profile"}, {"operation": "findOne", "collection": "posts"}]
        asked.control("PUT", "/faults", [{"status": 503, "times": 1, **each} for each in scopes])
        found = [asked.send("POST", road, body, apiKey="read", Content_Type="application/json") for _ in range(2)]

        assert [each.status_code for each in found] == [503, 200]
        asked.control("POST", "/verify", {"filter": {"operation": "findOne", "collection": "posts"}, "count": 2})

    @pytest.mark.parametrize(
        ("name", "value"),
        [("Connectome-Fault", "200"), ("Connectome-Fault", "explode"), ("Connectome-Delay", "1s")],
    )
    def test_a_header_that_says_nothing_is_refused(self, asked, problem_of, name, value):
        """A misspelt fault is a 400 that names the header."""
        refused = asked.read(**{name: value})

        assert refused.status_code == 400
        assert name in problem_of(refused)["detail"]

    def test_a_truncated_answer_is_shorter_than_announced(self, asked):
        """Half of the body comes under the length of the whole; the write behind it has been done."""
        cut = asked.write({"title": "new"}, Connectome_Fault="truncate")

        assert len(cut.data) == int(cut.headers["Content-Length"]) // 2
        assert asked.titles()[-1] == "new"

    def test_without_a_connection_a_timeout_is_raised(self, asked):
        """A WSGI client without a socket is told at once."""
        with pytest.raises(TimeoutError):
            asked.read(Connectome_Fault="timeout")

    def test_a_delay_is_noted(self, asked):
        """What a request was made to wait stands in the journal."""
        asked.control("PUT", "/faults", [{"delay": 30}])
        asked.read()

        assert [each["delay"] for each in asked.control("GET", "/requests")] == [30]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"operation": "reed", "status": 500}, "/operation"),
            ({"operation": 3, "status": 500}, "/operation"),
            ({"status": 200}, "/status"),
            ({"delya": 3}, "/delya"),
            ({}, ""),
            ({"status": 500, "fault": "truncate"}, ""),
            ({"delay": 5, "retryAfter": 1}, ""),
            ({"status": 500, "share": -0.1}, "/share"),
        ],
    )
    def test_what_is_no_fault_is_refused(self, asked, problem_of, body, pointer):
        """A fault that cannot be is a 400 with the place."""
        refused = asked.send("POST", "/-/mock/faults", body)

        assert (refused.status_code, problem_of(refused)["pointer"]) == (400, pointer)
        assert asked.control("GET", "/faults") == []

    @pytest.mark.parametrize(
        ("read", "text"),
        [
            (lambda texts: faults.delays("delay", texts), "fast"),
            (lambda texts: faults.delays("delay", texts), "wirte=5"),
            (faults.failures, "5"),
            (faults.failures, "101%"),
            (faults.failures, "5%:200"),
            (faults.spoilt, "explode"),
            (faults.spoilt, "101%:timeout"),
        ],
    )
    def test_an_option_that_says_nothing_is_refused(self, read, text):
        """An option of the command line that cannot be understood is a configuration error."""
        with pytest.raises(ConfigurationError):
            read([text])

    def test_a_misspelt_operation_is_told_the_nearest(self):
        """``wirte=5`` is answered with the operation that was meant."""
        with pytest.raises(ConfigurationError, match="did you mean write"):
            faults.delays("delay", ["wirte=5"])


class TestWorkspaces:
    def test_they_are_isolated(self, asked):
        """What is written in one is seen in no other, whichever way it is named."""
        asked.write({"title": "by path"}, prefix="/~a")
        asked.write({"title": "by header"}, Connectome_Workspace="b")

        assert asked.titles("/~a") == ["a title", "another title", "by path"]
        assert asked.titles("/~b") == ["a title", "another title", "by header"]
        assert asked.titles() == ["a title", "another title"]

    def test_faults_and_journals_are_their_own(self, asked):
        """A fault in one befalls no other, nor does its journal have what others were asked."""
        asked.control("POST", "/faults", {"status": 503}, Connectome_Workspace="a")

        assert asked.read().status_code == 200
        assert asked.read(Connectome_Workspace="a").status_code == 503
        assert [each["status"] for each in asked.control("GET", "/requests")] == [200]

    def test_one_starts_from_a_seed_of_its_own(self, asked):
        """A workspace that is made with a seed has those collections, after a reset too."""
        made = asked.control("POST", "/workspaces", {"name": "a", "seed": {"posts": [{"_id": 7, "title": "own"}]}})
        asked.write({"title": "more"}, prefix="/~a")
        asked.control("POST", "/reset", Connectome_Workspace="a")

        assert made == {"name": "a", "path": "/~a", "collections": {"posts": 1}}
        assert asked.titles("/~a") == ["own"]

    @pytest.mark.parametrize(
        ("seed", "pointer"),
        [
            ({"posts": 3}, "/seed/posts"),
            ({"posts": [3]}, "/seed/posts/0"),
            ({"a b": []}, "/seed/a b"),
            ({"collections": {"posts": {"titel": "x"}}}, "/seed/collections/posts/titel"),
            ({"posts": [{"_id": 1}, {"_id": 1}]}, "/seed/posts/1/_id"),
            ({"collections": {"posts": {"schema": {"type": "objekt"}}}}, "/seed/posts/schema/type"),
        ],
    )
    def test_a_seed_that_cannot_be_is_refused(self, asked, problem_of, seed, pointer):
        """What is wrong with a seed is said with its place, and no workspace is made."""
        refused = asked.send("POST", "/-/mock/workspaces", {"name": "a", "seed": seed})

        assert refused.status_code in (400, 409)
        assert problem_of(refused)["pointer"] == pointer
        assert [each["name"] for each in asked.control("GET", "/workspaces")] == ["default"]

    def test_a_deleted_one_begins_anew(self, asked):
        """After its deletion a name stands for what all start from."""
        asked.write({"title": "gone"}, prefix="/~a")
        asked.control("DELETE", "/workspaces/a")

        assert asked.titles("/~a") == ["a title", "another title"]

    def test_the_default_one_stays(self, asked):
        """The default workspace cannot be deleted."""
        assert asked.send("DELETE", "/-/mock/workspaces/default").status_code == 409

    def test_one_that_is_there_is_not_made_again(self, asked):
        """A name that is taken is a conflict."""
        asked.control("POST", "/workspaces", {"name": "a"})

        assert asked.send("POST", "/-/mock/workspaces", {"name": "a"}).status_code == 409

    @pytest.mark.parametrize("name", ["-", "a" * 65, "a b", "ä"])
    def test_a_name_that_is_none_is_refused(self, asked, name):
        """A workspace's name stands in URLs and headers as it is."""
        assert asked.send("POST", "/-/mock/workspaces", {"name": name}).status_code == 400

    def test_there_is_an_end_to_them(self, monkeypatch, problem_of):
        """More workspaces than a machine should hold are refused."""
        assert MAX_WORKSPACES == 1000
        monkeypatch.setattr("connectome.web.mocking.workspaces.MAX_WORKSPACES", 2)
        asked = Asked()
        asked.read(Connectome_Workspace="a")

        assert asked.read(Connectome_Workspace="b").status_code == 409
        assert isinstance(asked.mock.workspaces, Workspaces)


class TestReset:
    def test_everything_is_as_before(self, asked):
        """Documents, collections, credentials, faults and journal are those of the beginning."""
        token = {"Authorization": "Bearer admin"}
        asked.write({"title": "new"})
        asked.send("POST", "/-/admin/collections", {"id": "more"}, **token)
        asked.send("POST", "/-/admin/collections/posts/credentials/read", **token)
        asked.control("POST", "/faults", {"status": 500})

        assert asked.control("POST", "/reset") == {"workspace": "default", "collections": {"posts": 2, "profile": 1}}
        assert asked.read().status_code == 200
        assert asked.control("GET", "/")["faults"] == []
        assert asked.control("GET", "/")["requests"] == 1

    def test_who_is_signed_in_stays_so(self, asked):
        """A browser that has the console open is not thrown out by a reset."""
        signed_in = asked.client.post("/login", data={"token": "admin"}, headers={"Origin": "http://localhost"})
        asked.control("POST", "/reset")

        assert signed_in.status_code == 303
        assert asked.send("GET", "/", Accept="text/html").status_code == 200

    def test_snapshots_stay(self, asked):
        """A snapshot that was taken before a reset can be restored after it."""
        asked.write({"title": "new"})
        asked.control("PUT", "/snapshots/one")
        asked.control("POST", "/reset")
        asked.control("POST", "/snapshots/one/restore")

        assert asked.titles() == ["a title", "another title", "new"]


class TestSnapshots:
    def test_they_are_taken_listed_and_deleted(self, asked):
        """A snapshot is listed until it is deleted; then it cannot be restored."""
        counts = {"posts": 2, "profile": 1}
        assert asked.control("PUT", "/snapshots/one") == {"name": "one", "collections": counts}
        assert asked.control("GET", "/snapshots") == [{"name": "one", "collections": counts}]
        asked.control("DELETE", "/snapshots/one")
        assert asked.send("POST", "/-/mock/snapshots/one/restore").status_code == 404

    def test_identities_go_on_where_they_were(self, asked):
        """After a restore the next document gets the identity that it got the first time."""
        asked.control("PUT", "/snapshots/one")
        first = asked.write({"title": "x"}).json
        asked.control("POST", "/snapshots/one/restore")

        assert asked.write({"title": "x"}).json == first


class TestJournal:
    def test_an_entry_holds_the_request(self, asked):
        """Method, path, parameters, headers, decoded body and status are there; cookies are not."""
        asked.send("DELETE", "/collection/batchdelete/write/posts?dry_run=true", {"n": 1}, X_Trace="7", Cookie="a=b")

        (entry,) = asked.control("GET", "/requests")
        assert {
            name: entry[name] for name in ("method", "operation", "collection", "parameters", "body", "status")
        } == {
            "method": "DELETE",
            "operation": "batchdelete",
            "collection": "posts",
            "parameters": {"dry_run": "true"},
            "body": {"n": 1},
            "status": 200,
        }
        assert entry["headers"]["x-trace"] == "7"
        assert "cookie" not in entry["headers"]

    def test_what_led_nowhere_is_there_too(self, asked):
        """A misspelt path is what one looks for in a journal; the control API and the console are not there."""
        asked.send("GET", "/colection/read/read/posts")
        asked.send("GET", "/collection/reed/read/posts")
        asked.send("GET", "/-/health")
        asked.control("GET", "/requests")

        assert [(each["path"], each["operation"]) for each in asked.control("GET", "/requests")] == [
            ("/colection/read/read/posts", None),
            ("/collection/reed/read/posts", None),
        ]

    def test_clearing_forgets(self, asked):
        """After a clearing the journal is empty."""
        asked.read()
        asked.control("DELETE", "/requests")

        assert asked.control("GET", "/requests") == []

    @pytest.mark.parametrize("bounds", [{}, {"count": 1}, {"atLeast": 1, "atMost": 1}, {"atMost": 5}])
    def test_what_is_as_expected_is_verified(self, asked, bounds):
        """A filter in the query language counts requests."""
        asked.write({"title": "abc"})
        asked.read()
        filter = {"operation": "write", "body.title": {"$regex": "^a"}}

        assert asked.control("POST", "/verify", {"filter": filter, **bounds}) == {"verified": True, "count": 1}

    @pytest.mark.parametrize("bounds", [{"count": 2}, {"atLeast": 2}, {"atMost": 0}])
    def test_what_is_not_as_expected_is_said(self, asked, problem_of, bounds):
        """A refusal to verify says what was expected, how many came, and which."""
        asked.read()
        refused = asked.send("POST", "/-/mock/verify", bounds)

        assert (refused.status_code, problem_of(refused)["code"]) == (409, "VerificationFailed")
        assert "1 of 1 did; the last were GET /collection/read/read/posts → 200" in problem_of(refused)["detail"]

    def test_a_filter_that_is_none_is_refused(self, asked, problem_of):
        """A misspelt operator in the filter is a 400 with its place."""
        refused = asked.send("POST", "/-/mock/verify", {"filter": {"status": {"$gtt": 1}}})

        assert (refused.status_code, problem_of(refused)["pointer"]) == (400, "/filter/status/$gtt")

    def test_the_body_reaches_the_application(self, asked):
        """Reading the body for the journal takes nothing from the one who needs it."""
        assert asked.write({"_id": "3", "title": "x" * 100_000}).json == {"insertedId": "3"}
        assert asked.write({"_id": "4", "title": "short"}).json == {"insertedId": "4"}


class TestClock:
    def test_a_frozen_clock_is_what_updates_go_by(self, asked):
        """``$currentDate`` and ``$$NOW`` are the frozen time, and what was advanced."""
        asked.control("POST", "/clock", {"freeze": "2026-01-02T03:04:05Z"})
        asked.control("POST", "/clock", {"advance": 60})
        for data in ({"$currentDate": {"a": True}}, [{"$set": {"b": "$$NOW"}}]):
            body = {"search query": {"_id": "1"}, "data": data}
            assert asked.send("POST", "/collection/updatewithupsert/write/posts", body).status_code == 200

        document = asked.send("GET", "/-/mock/documents/posts").json[0]
        assert document["a"] == document["b"] == {"$date": "2026-01-02T03:05:05Z"}

    def test_a_released_clock_runs(self, asked):
        """After its release the clock is the machine's, and no longer frozen."""
        asked.control("POST", "/clock", {"freeze": "2001-01-01"})
        released = asked.control("POST", "/clock", {"release": True})

        assert not released["frozen"]
        assert not released["now"].startswith("2001")

    def test_what_is_administered_goes_by_the_clock(self, asked):
        """A collection is created at its time, and a credential ends at its time."""
        asked.control("POST", "/clock", {"freeze": "2026-01-02T03:04:05Z"})
        made = asked.administer("/collections", {"id": "birds"})
        guest = {"name": "guest", "role": "read", "expires": "2026-01-02T04:00:00Z"}
        credential = asked.administer("/collections/posts/credentials", guest)["credential"]

        def statuses() -> list[int]:
            operation = asked.send("GET", f"/collection/read/{credential}/posts")
            body = {"dataSource": "a", "database": "b", "collection": "posts"}
            road = "/app/x/endpoint/data/v1/action/findOne"
            action = asked.send("POST", road, body, apiKey=credential, Content_Type="application/json")
            return [operation.status_code, action.status_code]

        assert made["created"] == "2026-01-02T03:04:05+00:00"
        assert statuses() == [200, 200]
        asked.control("POST", "/clock", {"advance": 3600})
        assert statuses() == [401, 401]

    def test_identities_are_the_same_in_every_run(self):
        """Two servers of one seed give the same identities; one of another seed gives others."""
        one, again, other = (Asked(seed=seed).write({"title": "x"}).json for seed in (1, 1, 2))

        assert one == again != other

    def test_identities_begin_with_the_frozen_time(self, asked):
        """While the clock stands still the first eight digits of an identity are its time."""
        asked.control("POST", "/clock", {"freeze": "2026-01-02T03:04:05Z"})

        assert int(asked.write({"title": "x"}).json["insertedId"][:8], 16) == 1767323045

    def test_an_identity_out_of_a_file_is_not_given_again(self, asked):
        """What an earlier run has made and saved is passed over by the next."""
        made = asked.write({"title": "x"}).json["insertedId"]
        asked.control("POST", "/workspaces", {"name": "a", "seed": {"posts": [{"_id": made}, {"title": "fresh"}]}})

        assert asked.write({"title": "y"}, prefix="/~a").status_code == 201

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"freeze": "yesterday"}, "/freeze"),
            ({"freeze": False}, "/freeze"),
            ({"advance": 1e15}, "/advance"),
            ({}, ""),
            ({"freeze": True, "advance": 1}, ""),
        ],
    )
    def test_a_time_that_is_none_is_refused(self, asked, problem_of, body, pointer):
        """What the clock cannot be set to is a 400 with the place."""
        refused = asked.send("POST", "/-/mock/clock", body)

        assert refused.status_code == 400
        assert problem_of(refused)["pointer"] == pointer


class TestAccess:
    @pytest.mark.parametrize("path", ["/-/mock/", "/collection/read/read/posts", "/-/health"])
    def test_a_foreign_host_name_is_refused(self, asked, path):
        """A name that somebody points at this machine opens nothing, whatever the path."""
        assert asked.send("GET", path, Host="evil.example").status_code == 421

    @pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
    def test_the_names_of_the_machine_are_answered(self, asked, host):
        """Loopback names are the machine's own."""
        assert asked.send("GET", "/-/mock/", Host=host).status_code == 200

    def test_a_page_from_elsewhere_is_refused(self, asked):
        """Not even a simple request, which a browser sends without asking first, changes anything."""
        refused = asked.write({"title": "planted"}, Origin="https://evil.example")

        assert refused.status_code == 403
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert asked.titles() == ["a title", "another title"]

    @pytest.mark.parametrize("path", ["/-/mock/", "/collection/read/read/posts"])
    def test_a_page_of_this_machine_is_answered(self, asked, path):
        """A loopback origin may have every answer, a preflight any header."""
        origin = "http://localhost:5173"
        asks = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "connectome-workspace"}

        assert asked.send("GET", path, Origin=origin).headers["Access-Control-Allow-Origin"] == origin
        preflight = asked.send("OPTIONS", path, Origin=origin, **asks)
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Headers"] == "connectome-workspace"

    def test_a_fault_can_be_seen_by_a_page(self, asked):
        """A refusal is an answer to a page, too, and no network error."""
        refused = asked.read(Origin="http://127.0.0.1:3000", Connectome_Fault="503")

        assert refused.headers["Access-Control-Allow-Origin"] == "http://127.0.0.1:3000"

    def test_cors_opens_operations_and_never_control(self):
        """A named origin may have documents, and not the control API."""
        asked = Asked(cors="https://app.example")

        assert asked.read(Origin="https://app.example").status_code == 200
        assert asked.send("GET", "/-/mock/", Origin="https://app.example").status_code == 403

    def test_who_listens_to_others_answers_any_name(self):
        """On 0.0.0.0 the name by which the machine is reached is not known."""
        assert Asked(host="0.0.0.0").send("GET", "/-/mock/", Host="build.example:8000").status_code == 200


class TestReadOnly:
    def test_writes_are_refused_and_reads_answered(self):
        """A mock that is read alone keeps its documents, in every workspace and after a reset."""
        asked = Asked(read_only=True)
        for prefix in ("", "/~a"):
            asked.send("POST", f"{prefix}/-/mock/reset")
            assert asked.write({"title": "x"}, prefix=prefix).status_code == 403
            assert asked.titles(prefix) == ["a title", "another title"]


class TestControl:
    def test_an_unknown_route_is_told_the_known_ones(self, asked, problem_of):
        """A path that is none is a 404 that lists what there is."""
        refused = asked.send("GET", "/-/mock/snapshot")

        assert refused.status_code == 404
        assert "/-/mock/snapshots/<name>" in problem_of(refused)["detail"]

    def test_a_wrong_method_is_told_the_right_one(self, asked):
        """A method that a route does not have is a 405 with ``Allow``."""
        refused = asked.send("GET", "/-/mock/reset")

        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")

    def test_each_route_says_what_it_does(self):
        """Every route has a sentence, which the documentation is held to."""
        assert all(says.endswith(".") for says in control.described().values())

    @pytest.mark.parametrize("route", control.described())
    def test_each_route_is_documented(self, route):
        """Every route stands in docs/mock.md."""
        assert f"| `{route}` |" in MANUAL

    def test_each_key_of_a_fault_is_documented(self):
        """What a fault may say stands in docs/mock.md."""
        assert all(re.search(rf'[`"]{name}[`"]', MANUAL) for name in faults.SCHEMA["properties"])

    def test_no_other_server_has_it(self, server):
        """``connectome serve`` knows no control API."""
        assert server.request("POST", "/-/mock/reset").status_code == 404


@pytest.fixture
def problem_of():
    """What an answer says is wrong."""

    def members(answer: TestResponse) -> dict[str, Any]:
        assert answer.content_type == "application/problem+json", answer.text
        assert answer.json["status"] == answer.status_code
        return {"pointer": None, **answer.json}

    return members
