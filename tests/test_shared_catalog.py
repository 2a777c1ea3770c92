"""Two services over one store that both may change, as two processes before one database: nobody loses a change."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectome import service as service_module
from connectome.errors import (
    CollectionExists,
    ConnectomeError,
    DuplicateKey,
    InvalidRequest,
    LedgerChanged,
    NoSuchCollection,
    StoreFailed,
    Unauthorized,
)
from connectome.query import Filter
from connectome.schemas import Schema
from connectome.service import Service
from connectome.stores import Collection, Find
from connectome.stores.embedded import EmbeddedStore


class Database:
    """
    What several stores share: collections in memory, and records with a version.

    before_save: called with a ledger's name before each save, once each; for others to be faster.
    """

    def __init__(self, directory: Path) -> None:
        self.embedded = EmbeddedStore(directory, durability="memory")
        self.collections: dict[str, Collection] = {}
        self.records: dict[str, tuple[int, str]] = {}
        self.lock = threading.Lock()
        self.before_save: list[Callable[[str], None]] = []
        self.looks = 0
        self.down = False

    def written(self) -> str:
        """Everything that lies in the ledgers."""
        return json.dumps({name: json.loads(text) for name, (_, text) in self.records.items()})


class SharedLedger:
    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self._database = database
        self._seen = 0

    def load(self) -> dict[str, Any]:
        if self._database.down:
            raise StoreFailed("the database is down")
        with self._database.lock:
            self._seen, text = self._database.records.get(self.name, (0, "{}"))
        record: dict[str, Any] = json.loads(text)
        return record

    def save(self, record: dict[str, Any]) -> None:
        if self._database.before_save:
            self._database.before_save.pop(0)(self.name)
        with self._database.lock:
            if self._database.records.get(self.name, (0, ""))[0] != self._seen:
                raise LedgerChanged(f"{self.name} was saved by another process")
            self._seen += 1
            self._database.records[self.name] = (self._seen, json.dumps(record))

    def changed(self) -> bool:
        self._database.looks += 1
        if self._database.down:
            raise StoreFailed("the database is down")
        return self._database.records.get(self.name, (0, ""))[0] != self._seen


class SharedStore:
    name = place = "shared"
    shared = True
    schema = staticmethod(Schema)

    def __init__(self, database: Database) -> None:
        self._database = database

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> Collection:
        collections = self._database.collections
        if name not in collections:
            collections[name] = self._database.embedded.collection(name, schema, new=True)
        return collections[name]

    def holds(self, name: str) -> bool:
        return name in self._database.collections and self._database.collections[name].count(Filter({})) > 0

    def drop(self, name: str) -> None:
        self._database.collections.pop(name, None)

    def ledger(self, name: str) -> SharedLedger:
        return SharedLedger(self._database, name)

    def close(self) -> None:
        pass


@pytest.fixture
def database(directory: Path) -> Iterator[Database]:
    database = Database(directory)
    yield database
    database.embedded.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time of the services: seconds, which a test moves."""
    clock = SimpleNamespace(now=1_000_000.0)
    stands_in = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now, sleep=lambda _: None)
    monkeypatch.setattr(service_module, "time", stands_in)
    return clock


@pytest.fixture
def here(database: Database, clock: SimpleNamespace) -> Service:
    return Service(SharedStore(database))


@pytest.fixture
def there(database: Database, clock: SimpleNamespace, here: Service) -> Service:
    return Service(SharedStore(database))


def ids(service: Service) -> list[str]:
    return [each["id"] for each in service.collections()]


class TestSeeing:
    def test_what_one_makes_the_other_serves_a_second_later(self, here, there, clock):
        """Whichever request comes first then finds it."""
        keys = here.create(id="movies", documents=[{"_id": 1}])["credentials"]

        with pytest.raises(Unauthorized):
            there.reader(keys["read"], "movies")
        clock.now += 1
        assert list(there.reader(keys["read"], "movies").find(Find())) == [{"_id": 1}]

    def test_a_look_at_the_store_hides_nothing(self, here, there, clock):
        """Whoever only asks whether the store is there has not read the catalog."""
        here.create(id="movies")

        there.require_store()
        clock.now += 1

        assert ids(there) == ["movies"]

    def test_what_could_not_be_opened_is_looked_at_again(self, here, there, clock, monkeypatch):
        """The catalog was read, and the store was gone before the collection in it could be had."""
        here.create(id="movies")

        def gone(*_, **__):
            raise StoreFailed("the database is down")

        with monkeypatch.context() as patched:
            patched.setattr(SharedStore, "collection", gone)
            clock.now += 1
            assert ids(there) == []
        clock.now += 1

        assert ids(there) == ["movies"]

    def test_a_credential_that_one_rotates_stops_at_the_other(self, here, there, clock):
        """Within the second."""
        old = here.create(id="movies")["credentials"]["read"]
        clock.now += 1
        there.reader(old, "movies")

        new = here.rotate("movies", "read")
        clock.now += 1

        there.reader(new, "movies")
        with pytest.raises(Unauthorized):
            there.reader(old, "movies")

    def test_what_one_drops_the_other_refuses(self, here, there, clock):
        """As if there had never been any; what is asked of the documents meanwhile is no accident."""
        keys = here.create(id="movies", documents=[{"_id": 1}])["credentials"]
        clock.now += 1
        reader = there.reader(keys["read"], "movies")

        here.drop("movies")
        clock.now += 1

        list(reader.find(Find()))
        with pytest.raises(Unauthorized):
            there.reader(keys["read"], "movies")
        with pytest.raises(NoSuchCollection):
            there.describe("movies")

    def test_a_title_a_schema_and_an_index_travel(self, here, there, clock):
        """And what is demanded of documents is what the other demands."""
        here.create(id="movies")
        clock.now += 1
        there.describe("movies")

        here.change("movies", {"title": "Films", "schema": {"const": 1}})
        here.change("movies", {"schema": {"const": True}})  # which Python takes for the same
        here.pin("movies", "year")
        clock.now += 1

        described = there.describe("movies")
        assert (described["title"], described["schema"]["const"]) == ("Films", True)
        assert described == here.describe("movies")
        assert [index.path for index in there.indexes("movies")] == ["year"]

    def test_the_catalog_is_looked_at_once_a_second(self, here, database, clock):
        """However many requests there are."""
        read = here.create(id="movies")["credentials"]["read"]
        clock.now += 1
        before = database.looks

        for _ in range(10):
            here.reader(read, "movies")
        clock.now += 0.9
        here.reader(read, "movies")

        assert database.looks == before + 1

    def test_a_database_that_is_down_leaves_what_is_known(self, here, database, clock):
        """Whether the documents can be had is for the store to say; a change is refused."""
        read = here.create(id="movies")["credentials"]["read"]
        database.down = True
        clock.now += 1

        here.reader(read, "movies")
        with pytest.raises(StoreFailed):
            here.rotate("movies", "read")

        database.down = False
        assert here.rotate("movies", "read") != read


class TestChanging:
    CHANGES: dict[str, Callable[[Service], Any]] = {  # noqa: RUF012 -- never changed
        "create": lambda service: service.create(id="new"),
        "retitle": lambda service: service.change("movies", {"title": "Films"}),
        "set a schema": lambda service: service.change("movies", {"schema": {"type": "object"}}),
        "rotate": lambda service: service.rotate("movies", "read"),
        "add a credential": lambda service: service.add_credential("movies", "ci", "write"),
        "pin": lambda service: service.pin("movies", "year"),
        "drop": lambda service: service.drop("movies"),
    }

    @pytest.mark.parametrize(
        ("change", "save"),
        [*((change, 0) for change in CHANGES), ("create", 1), ("drop", 1), ("drop", 2)],
    )
    def test_no_change_is_lost_where_another_is_faster(self, here, there, database, clock, change, save):
        """Whenever the other comes: what it did stands, and so does this."""
        here.create(id="movies")
        clock.now += 1
        database.before_save = [lambda _: None] * save + [lambda _: there.create(id="birds") and None]

        self.CHANGES[change](here)
        clock.now += 1

        assert database.before_save == []
        expected = {"create": {"movies", "birds", "new"}, "drop": {"birds"}}.get(change, {"movies", "birds"})
        assert set(ids(here)) == set(ids(there)) == expected
        assert here.collections() == there.collections()

    def test_of_two_that_make_one_id_one_does(self, here, there, database):
        """And the loser removes nothing of the winner's."""
        won: list[dict[str, Any]] = []
        database.before_save = [lambda _: won.append(there.create(id="movies", documents=[{"_id": "there"}]))]

        with pytest.raises(CollectionExists):
            here.create(id="movies", documents=[{"_id": "here"}])

        read = won[0]["credentials"]["read"]
        assert list(here.reader(read, "movies").find(Find())) == [{"_id": "there"}]

    def test_nobody_makes_what_is_being_made(self, here, there, database):
        """While documents are written the id is taken already; where they are refused it is free again."""
        met: list[BaseException] = []

        def meanwhile(_: str) -> None:
            with pytest.raises(CollectionExists) as caught:
                there.create(id="MOVIES")
            met.append(caught.value)

        database.before_save = [lambda _: None, meanwhile]
        here.create(id="movies", documents=[{"_id": 1}])
        assert len(met) == 1

        with pytest.raises(DuplicateKey):
            here.create(id="birds", documents=[{"_id": 1}, {"_id": 1}])
        assert there.create(id="birds")["count"] == 0

    def test_what_a_process_left_half_made_is_free_after_a_while(self, here, there, database, clock):
        """Unless it left documents, which are somebody's."""
        database.records["catalog"] = (7, json.dumps({"connectome.busy": {"movies": "1970-01-12T13:46:40+00:00"}}))

        with pytest.raises(CollectionExists):
            here.create(id="movies")
        clock.now += service_module.BUSY_SECONDS
        assert here.create(id="movies")["id"] == "movies"

    def test_what_takes_long_to_make_stays_taken(self, here, there, clock):
        """As long as its documents come."""

        def slowly() -> Iterator[dict[str, Any]]:
            for number in range(5):
                clock.now += service_module.RENEW_SECONDS
                if number:
                    with pytest.raises(CollectionExists):
                        there.create(id="movies")
                yield {"_id": number}

        assert here.create(id="movies", documents=slowly())["count"] == 5

    def test_a_migration_that_was_cut_short_is_known(self, here, there, clock):
        """To every process, until it has ended; other changes of the catalog leave it as it is."""
        here.begin_migration("elsewhere")
        here.create(id="movies")
        clock.now += 1
        there.rotate("movies", "read")

        assert there.unfinished == "elsewhere"
        there.end_migration()
        clock.now += 1
        assert here.describe("movies")["count"] == 0
        assert here.unfinished is None

    def test_nobody_makes_what_is_being_removed(self, here, there, database, clock, monkeypatch):
        """A late removal would take the new documents."""
        here.create(id="movies", documents=[{"_id": 1}])
        clock.now += 1
        drop = SharedStore.drop
        met: list[BaseException] = []

        def slow(self: SharedStore, name: str) -> None:
            monkeypatch.setattr(SharedStore, "drop", drop)
            with pytest.raises(CollectionExists) as caught:
                there.create(id="movies")
            met.append(caught.value)
            drop(self, name)

        monkeypatch.setattr(SharedStore, "drop", slow)
        here.drop("movies")

        assert len(met) == 1
        assert there.create(id="movies", documents=[{"_id": 2}])["count"] == 1
        assert json.loads(database.records["catalog"][1]).keys() == {"movies"}

    def test_two_rotations_at_once_leave_one_credential(self, here, there, database, clock):
        """The later one; nobody is told of a credential that opens nothing but he who was overtaken."""
        here.create(id="movies")
        clock.now += 1
        overtaking: list[str] = []
        database.before_save = [lambda _: overtaking.append(there.rotate("movies", "read"))]

        later = here.rotate("movies", "read")
        clock.now += 1

        for service in (here, there):
            service.reader(later, "movies")
            with pytest.raises(Unauthorized):
                service.reader(overtaking[0], "movies")

    def test_who_is_always_overtaken_is_told(self, here, there, database, clock):
        """It is a fault of the store's, with nothing changed."""
        here.create(id="movies")
        clock.now += 1
        before = here.describe("movies")

        def faster(_: str) -> None:
            name, (version, text) = "catalog", database.records["catalog"]
            database.records[name] = (version + 1, text)

        database.before_save = [faster] * 100

        with pytest.raises(LedgerChanged):
            here.change("movies", {"title": "x"})
        assert here.describe("movies") == before

    def test_many_threads_of_two_services_lose_nothing(self, here, there, clock):
        """Each makes its own collections and credentials, and all are there in the end."""
        errors: list[ConnectomeError] = []

        def work(service: Service, name: str) -> None:
            try:
                for number in range(3):
                    service.create(id=f"{name}-{number}")
                    service.add_credential(f"{name}-{number}", "ci", "read")
            except ConnectomeError as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(each, f"c{n}")) for n, each in enumerate([here, there, here])]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        clock.now += 1

        assert errors == []
        assert sorted(ids(there)) == sorted(ids(here)) == [f"c{n}-{number}" for n in range(3) for number in range(3)]
        assert all(len(service.credentials(id)) == 3 for service in (here, there) for id in ids(here))


class TestSecrets:
    def test_a_credential_is_shown_when_it_is_made_and_never_again(self, here):
        """Of what is shown later only the last four characters are left."""
        made = here.create(id="movies")["credentials"]
        rotated = here.rotate("movies", "write")
        added = here.add_credential("movies", "ci", "read")["credential"]

        assert here.describe("movies")["credentials"] == {"read": None, "write": None}
        assert [(each["name"], each["credential"], each["ending"]) for each in here.credentials("movies")] == [
            ("read", None, made["read"][-4:]),
            ("write", None, rotated[-4:]),
            ("ci", None, added[-4:]),
        ]

    def test_the_store_holds_no_credential(self, here, database):
        """Neither one that was made nor one that was fixed, nor the administrator's token."""
        made = here.create(id="movies", credentials={"write": "fixed-by-the-owner"})["credentials"]
        token = here.administrator_token()
        here.rotate("movies", "read", grace=60)
        here.close()

        written = database.written()
        assert '"sha256"' in written
        for secret in (*made.values(), token):
            assert secret not in written

    def test_a_collection_without_credentials_is_refused_by_name(self, here, database):
        """It could be opened by nobody."""
        database.records["catalog"] = (9, json.dumps({"movies": {"title": "", "created": "", "schema": None}}))

        with pytest.raises(StoreFailed, match="names the collection 'movies'"):
            Service(SharedStore(database))

    def test_a_backup_brings_credentials_from_one_kind_of_store_to_the_other(self, here, tmp_path):
        """They open what they opened, there and back, though nobody can read them any more."""
        keys = here.create(id="movies", documents=[{"_id": 1}])["credentials"]
        ci = here.add_credential("movies", "ci", "read", expires="2200-01-01T00:00:00+00:00")["credential"]

        with_embedded = EmbeddedStore(tmp_path / "elsewhere")
        elsewhere = Service(with_embedded)
        elsewhere.restore(here.backup(credentials=True))
        here.drop("movies")
        here.restore(elsewhere.backup(credentials=True))

        for service in (elsewhere, here):
            for key in (keys["read"], ci):
                assert list(service.reader(key, "movies").find(Find())) == [{"_id": 1}]
            service.writer(keys["write"], "movies")
            assert service.describe("movies")["credentials"] == {"read": None, "write": None}
        elsewhere.close()

    def test_what_is_no_credential_in_a_backup_is_refused(self, here):
        """With its place."""
        with pytest.raises(InvalidRequest) as caught:
            here.create(id="movies", credentials={"ci": {"role": "read", "created": "then"}})

        assert caught.value.pointer == "/credentials/ci"
