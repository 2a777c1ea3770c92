"""Credentials with names, ends and grace: what opens a collection, and for how long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner

from connectome import service as service_module
from connectome.cli import main
from connectome.credentials import ROLES, digest_of, ending_of
from connectome.errors import Forbidden, InvalidRequest, NoSuchCollection, NoSuchCredential, Unauthorized
from connectome.query.clock import ruled_by
from connectome.service import USES_SECONDS, Service
from connectome.stores import Store, open_store
from tests.conftest import Server

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The time of the service: a moment, which a test moves."""
    clock = SimpleNamespace(now=NOON)
    stands_in = SimpleNamespace(time=lambda: clock.now.timestamp(), monotonic=lambda: clock.now.timestamp())
    monkeypatch.setattr(service_module, "time", stands_in)
    with ruled_by(SimpleNamespace(now=lambda: clock.now, new_id=lambda: str(ObjectId()))):
        yield clock


@pytest.fixture
def service(store: Store, clock: SimpleNamespace) -> Service:
    return Service(store)


@pytest.fixture
def keys(service: Service) -> dict[str, str]:
    """Those of a collection called movies."""
    created: dict[str, str] = service.create(id="movies")["credentials"]
    return created


def opens(service: Service, credential: str, role: str = "read") -> bool:
    try:
        (service.reader if role == "read" else service.writer)(credential, "movies")
    except Unauthorized:
        return False
    return True


def names(service: Service) -> list[str]:
    return [each["name"] for each in service.credentials("movies")]


class TestNamed:
    def test_one_more_opens_what_its_role_opens(self, service, keys):
        """Beside those that every collection has, which stay."""
        added = service.add_credential("movies", "ci", "read")

        assert added == {
            "name": "ci",
            "role": "read",
            "credential": added["credential"],
            "ending": added["credential"][-4:],
            "created": "2026-01-01T12:00:00+00:00",
            "expires": None,
            "lastUsed": None,
        }
        assert opens(service, added["credential"])
        assert opens(service, keys["read"])
        with pytest.raises(Forbidden) as caught:
            service.writer(added["credential"], "movies")
        assert caught.value.detail == "this operation needs the write credential, and this is the read credential"

    def test_it_can_be_revoked_without_the_others(self, service, keys):
        """From then on it is like any text."""
        ci, bob = (service.add_credential("movies", name, "read")["credential"] for name in ("ci", "bob"))

        service.revoke("movies", "ci")

        assert [opens(service, each) for each in (ci, bob, keys["read"])] == [False, True, True]
        assert names(service) == ["read", "write", "bob"]

    @pytest.mark.parametrize("role", ["read", "write"])
    def test_those_of_every_collection_cannot_be_revoked(self, service, keys, role):
        """There is always one of each role."""
        with pytest.raises(InvalidRequest, match=f"every collection has a {role} credential: rotate it instead"):
            service.revoke("movies", role)

    def test_it_stops_when_it_expires(self, service, keys, clock):
        """At that moment, with the answer that a wrong one gets."""
        ci = service.add_credential("movies", "ci", "write", expires="2026-01-01T14:00:00+01:00")["credential"]

        clock.now += timedelta(minutes=59, seconds=59)
        assert opens(service, ci, "write")
        clock.now += timedelta(seconds=1)
        for side in (service.writer, service.reader):
            with pytest.raises(Unauthorized, match="the credential is not valid for this collection"):
                side(ci, "movies")

    @pytest.mark.parametrize(
        ("expires", "says"),
        [
            ("tomorrow", "expires is a moment such as 2030-01-31T12:00:00Z, not 'tomorrow'"),
            ("2030-01-31", "expires is a moment such as 2030-01-31T12:00:00Z, not '2030-01-31'"),
            ("2026-01-01T12:00:00Z", "expires is a moment to come, and '2026-01-01T12:00:00Z' has passed"),
        ],
    )
    def test_a_moment_that_cannot_be_is_refused(self, service, keys, expires, says):
        """With what was expected."""
        with pytest.raises(InvalidRequest) as caught:
            service.add_credential("movies", "ci", "read", expires=expires)

        assert (caught.value.pointer, caught.value.detail.replace('"', "'")) == ("/expires", says)

    @pytest.mark.parametrize("name", ["", "a b", "read.1", "é", "x" * 65, "read", "ci"])
    def test_a_name_that_cannot_be_one_or_is_taken_is_refused(self, service, keys, name):
        """Nothing changes."""
        service.add_credential("movies", "ci", "read")

        with pytest.raises(InvalidRequest) as caught:
            service.add_credential("movies", name, "read")

        assert caught.value.pointer == "/name"
        assert names(service) == ["read", "write", "ci"]

    def test_what_is_not_there_gets_a_suggestion(self, service, keys):
        """Of a collection, and of a credential."""
        service.add_credential("movies", "deploy", "read")

        for call in (service.revoke, service.rotate):
            with pytest.raises(NoSuchCredential, match="has no credential 'deplox'; did you mean 'deploy'"):
                call("movies", "deplox")
        for call in (service.credentials, lambda name: service.add_credential(name, "x", "read")):
            with pytest.raises(NoSuchCollection):
                call("movie")

    def test_they_are_there_after_a_restart(self, service, keys, store):
        """With all that is known of them."""
        ci = service.add_credential("movies", "ci", "read", expires="2027-01-01T00:00:00Z")["credential"]
        service.rotate("movies", "write", grace=60)

        again = Service(store)

        assert again.credentials("movies") == service.credentials("movies")
        assert opens(again, ci)


class TestGrace:
    def test_both_work_for_a_while(self, service, keys, clock):
        """Then the old one stops by itself, and the new one goes on."""
        new = service.rotate("movies", "read", grace=60)

        assert [opens(service, each) for each in (keys["read"], new)] == [True, True]
        assert names(service) == ["read", "write", "read.1"]
        clock.now += timedelta(seconds=60)
        assert [opens(service, each) for each in (keys["read"], new)] == [False, True]

    def test_what_is_left_can_be_revoked(self, service, keys):
        """Before its time."""
        service.rotate("movies", "read", grace=60)

        service.revoke("movies", "read.1")

        assert not opens(service, keys["read"])

    def test_a_rotation_at_once_ends_earlier_graces_too(self, service, keys):
        """Who rotates so wants to know who has the credential."""
        ci = service.add_credential("movies", "ci", "read")["credential"]
        second = service.rotate("movies", "read", grace=60)
        third = service.rotate("movies", "read", grace=60)
        assert [opens(service, each) for each in (keys["read"], second, third)] == [True, True, True]

        fourth = service.rotate("movies", "read")

        assert [opens(service, each) for each in (keys["read"], second, third)] == [False, False, False]
        assert [opens(service, each) for each in (fourth, ci)] == [True, True]
        assert names(service) == ["read", "write", "ci"]

    def test_what_has_expired_is_forgotten_with_the_next_change(self, service, keys, clock):
        """One with a name stays to be seen."""
        service.add_credential("movies", "ci", "read", expires="2026-01-01T12:00:30Z")
        service.rotate("movies", "read", grace=30)
        clock.now += timedelta(seconds=30)

        service.add_credential("movies", "bob", "read")

        assert names(service) == ["read", "write", "ci", "bob"]

    def test_a_named_one_keeps_its_role_and_its_end(self, service, keys, clock):
        """A rotation gives nobody more time; one that has expired is not brought back."""
        service.add_credential("movies", "ci", "write", expires="2026-01-01T13:00:00Z")
        service.rotate("movies", "ci", grace=7200)

        described = {each["name"]: each for each in service.credentials("movies")}

        assert {described[name]["expires"] for name in ("ci", "ci.1")} == {"2026-01-01T13:00:00+00:00"}
        assert described["ci"]["role"] == "write"
        clock.now += timedelta(hours=1)
        with pytest.raises(InvalidRequest, match="ci has expired: revoke it, and add another"):
            service.rotate("movies", "ci")

    def test_what_is_left_is_not_rotated(self, service, keys):
        """It only stops."""
        service.rotate("movies", "read", grace=60)

        with pytest.raises(InvalidRequest, match=re.escape("read.1 was rotated, and stops by itself")):
            service.rotate("movies", "read.1")


class TestLastUse:
    def test_it_is_known_at_once_and_written_later(self, service, keys, clock, directory, store):
        """No request costs a write; an hour does, and the end."""
        clock.now += timedelta(minutes=1)
        service.reader(keys["read"], "movies")

        assert [each["lastUsed"] for each in service.credentials("movies")] == ["2026-01-01T12:01:00+00:00", None]
        assert not (directory / "connectome.uses.json").exists()

        clock.now = NOON + timedelta(seconds=USES_SECONDS)
        service.reader(keys["read"], "movies")
        assert [each["lastUsed"] for each in Service(store).credentials("movies")] == [
            "2026-01-01T13:00:00+00:00",
            None,
        ]

    def test_it_is_there_after_a_restart(self, service, keys, clock, directory):
        """Closing writes it, into a file that others cannot read, and that holds no credential."""
        service.writer(keys["write"], "movies")
        service.close()

        kept = directory / "connectome.uses.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert keys["write"] not in kept.read_text()
        assert digest_of(keys["write"]).hex() not in kept.read_text()

    def test_a_damaged_record_of_it_stops_nobody(self, service, keys, directory, store):
        """It is forgotten, and begun anew."""
        (directory / "connectome.uses.json").write_text("{")

        again = Service(store)

        assert [each["lastUsed"] for each in again.credentials("movies")] == [None, None]
        assert opens(again, keys["read"])

    def test_a_refusal_is_no_use(self, service, keys):
        """Neither of a wrong one nor of one for the other role."""
        with pytest.raises(Forbidden):
            service.writer(keys["read"], "movies")

        assert [each["lastUsed"] for each in service.credentials("movies")] == [None, None]


class TestKept:
    def test_the_form_of_before_is_read_and_stays(self, service, keys, directory, store):
        """Text by role is what there was before there were names."""
        path = directory / "connectome.credentials.json"
        path.write_text(json.dumps({"movies": {"read": "cr_old", "write": "cw_old"}}))

        again = Service(store)

        assert again.describe("movies")["credentials"] == {"read": "cr_old", "write": "cw_old"}
        assert opens(again, "cr_old")
        assert opens(again, "cw_old", "write")
        again.rotate("movies", "read")
        assert json.loads(path.read_text())["movies"]["write"] == "cw_old"

    def test_a_digest_opens_as_what_it_was_made_of(self, service, keys, directory, store):
        """Of a credential that came from a store where nobody can read it, its last four characters are known."""
        sealed = {
            "role": "read",
            "sha256": digest_of("cr_from-elsewhere").hex(),
            "ending": "here",
            "created": "2025-01-01T00:00:00+00:00",
        }
        record = {"movies": {"read": sealed, "write": keys["write"]}}
        (directory / "connectome.credentials.json").write_text(json.dumps(record))

        again = Service(store)

        assert opens(again, "cr_from-elsewhere")
        assert again.describe("movies")["credentials"] == {"read": None, "write": keys["write"]}
        assert again.credentials("movies")[0]["ending"] == "here"
        again.change("movies", {"title": "Films"})
        assert opens(Service(store), "cr_from-elsewhere")

    @pytest.mark.parametrize(("secret", "ending"), [("cr_0123456789abcdef", "cdef"), ("short", ""), ("x" * 15, "")])
    def test_of_a_short_one_nothing_is_shown(self, secret, ending):
        """Four characters would be too much of it."""
        assert ending_of(secret) == ending

    def test_nothing_readable_stands_where_it_is_printed_by_accident(self, service, keys):
        """Neither the credential nor its digest."""
        printed = repr(service._entries["movies"])

        assert keys["read"] not in printed
        assert repr(digest_of(keys["read"])) not in printed


@pytest.fixture(scope="module")
def named_server(tmp_path_factory: pytest.TempPathFactory, servers: Any) -> Iterator[Server]:
    with servers(tmp_path_factory.mktemp("data"), "--server", "waitress") as server:
        yield server


class TestOverHttp:
    def test_they_are_administered(self, named_server, problem):
        """Listed, added, rotated with grace, revoked."""
        admin = named_server.admin
        collection = admin.collection([{"_id": 1}])
        path = f"/{collection.id}/credentials"

        added = admin.request("POST", path, {"name": "ci", "role": "read", "expires": "2200-01-01T00:00:00Z"})
        assert (added.status_code, added.json()["expires"]) == (201, "2200-01-01T00:00:00+00:00")
        rotated = admin.request("POST", f"{path}/ci", {"grace": 3600})
        assert (rotated.status_code, list(rotated.json())) == (200, ["ci"])
        for credential in (added.json()["credential"], rotated.json()["ci"]):
            assert collection.call("read", credential=credential).json() == [{"_id": 1}]

        listed = admin.request("GET", path).json()
        assert [each["name"] for each in listed] == ["read", "write", "ci", "ci.1"]
        assert listed[2]["lastUsed"] is not None
        assert admin.request("DELETE", f"{path}/ci").status_code == 204
        assert collection.call("read", credential=rotated.json()["ci"]).status_code == 401
        assert problem(admin.request("DELETE", f"{path}/ci"))["code"] == "NoSuchCredential"
        assert problem(admin.request("DELETE", f"{path}/read"))["status"] == 400

    @pytest.mark.parametrize(
        "body", [{"grace": -1}, {"grace": "1"}, {"grace": 10**9}, {"gracee": 1}, [], '{"grace": NaN}']
    )
    def test_a_grace_that_is_none_is_refused(self, named_server, problem, body):
        """The credential stays."""
        collection = named_server.admin.collection([])

        refused = named_server.admin.request("POST", f"/{collection.id}/credentials/read", body)

        assert problem(refused)["status"] == 400
        assert collection.call("read").status_code == 200

    def test_the_command_line_does_the_same(self, named_server):
        """Through the server that holds the data directory; a list shows no credential."""
        collection = named_server.admin.collection([])

        def run(*words: str) -> str:
            ended = CliRunner().invoke(main, ["credentials", *words, "--data", str(named_server.data)])
            assert ended.exit_code == 0, ended.output
            return ended.stdout

        added = run("add", collection.id, "ci", "--role", "write", "--expires", "30d").strip()
        assert run("show", collection.id, "ci").strip() == added
        rotated = json.loads(run("rotate", collection.id, "ci", "--grace", "24h", "--json"))["ci"]
        listed = run("ls", collection.id)
        assert [line.split()[1:3] for line in listed.splitlines()] == [
            ["read", "read"],
            ["write", "write"],
            ["ci", "write"],
            ["ci.1", "write"],
        ]
        assert rotated not in listed
        assert f"…{rotated[-4:]}" in listed
        assert {*json.loads(run("ls", collection.id, "--json"))[0]} == {
            "collection", "name", "role", "ending", "created", "expires", "lastUsed"
        }  # fmt: skip
        run("revoke", collection.id, "ci.1")
        assert collection.call("write", {}, credential=added).status_code == 401
        assert collection.call("write", {}, credential=rotated).status_code == 201
        assert json.loads(run("show", collection.id, "--json"))["read"] == collection.read_credential

    @pytest.mark.parametrize(
        "words",
        [
            ("rotate", "x", "read", "--grace", "soon"),
            ("add", "x", "ci", "--role", "read", "--expires", "31.1.2030"),
            ("add", "x", "ci", "--role", "reed"),
        ],
    )
    def test_a_wrong_option_is_a_wrong_use(self, tmp_path, words):
        """Exit 2, with what came."""
        ended = CliRunner().invoke(main, ["credentials", *words, "--data", str(tmp_path)])

        assert ended.exit_code == 2
        assert repr(words[-1]) in ended.stderr


class TestSealed:
    """A data directory whose credentials came from a store where nobody can read them."""

    @pytest.fixture
    def sealed(self, tmp_path: Path) -> Path:
        data = tmp_path / "sealed"
        service = Service(open_store(data))
        service.create(id="movies")
        service.close()
        kept = {"ending": "a1b2", "created": "2026-01-01T00:00:00Z"}
        kept_by_role = {role: {"role": role, "sha256": digest_of(role * 5).hex(), **kept} for role in ROLES}
        (data / "connectome.credentials.json").write_text(json.dumps({"movies": kept_by_role}))
        return data

    def test_the_command_line_says_what_to_do(self, sealed):
        """A credential that is not known any more can be listed and replaced, not shown."""

        def run(*words: str) -> Any:
            return CliRunner().invoke(main, [*words, "--data", str(sealed)])

        unknown = "not known any more; 'connectome credentials rotate' makes a new one"
        assert run("credentials", "show", "movies").stdout == f"read   {unknown}\nwrite  {unknown}\n"
        one = run("credentials", "show", "movies", "read")
        assert (one.exit_code, one.stdout, one.stderr) == (1, "", f"connectome: the credential read is {unknown}\n")
        assert "…a1b2" in run("credentials", "ls", "movies").stdout
        snippet = run("snippet", "movies", "read", "--lang", "curl")
        assert "/collection/read/READ_CREDENTIAL/movies" in snippet.stdout
        assert snippet.stderr == "the read credential is not known any more; rotate it to get a new one\n"
        fresh = run("credentials", "rotate", "movies", "read").stdout
        assert run("credentials", "show", "movies", "read").stdout == fresh

    def test_the_server_greets_without_it(self, sealed, servers):
        """And serves whoever has it."""
        with servers(sealed, "--server", "waitress") as server:
            assert server.request("GET", "/collection/read/readreadreadreadread/movies").json() == []
        assert "    read   …\n    write  …\n" in server.output
        assert "None" not in server.output
