"""A store to be read alone: whatever writes is refused, whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectome.config import Settings
from connectome.errors import ReadOnly
from connectome.query import Filter, Update
from connectome.service import Service, opened
from connectome.stores import Collection, Find, Guard, Ledger, Modify, Reader, Store, Writer, open_store
from connectome.stores.memory import MemoryStore
from connectome.stores.readonly import read_only

EVERYTHING = Modify(Filter({}), Update({"$set": {"a": 1}}))
WRITES = {
    "insert_one": lambda writer: writer.insert_one({"a": 1}),
    "insert_many": lambda writer: writer.insert_many([{"a": 1}]),
    "update": lambda writer: writer.update(EVERYTHING),
    "delete_one": lambda writer: writer.delete_one(Filter({})),
    "delete_many": lambda writer: writer.delete_many(Filter({})),
}
# What of each protocol is refused already when it is looked up; and what is refused, or not, for what it is asked.
REFUSED = {
    Collection: {"insert_one", "insert_many", "delete_one", "load", "set_schema", "sync"},
    Store: {"drop"},
    Ledger: {"save"},
}
DECIDED = {Collection: {"update", "delete_many", "pin"}, Store: {"collection", "ledger"}, Ledger: set()}
PASSED = {
    Collection: {"find", "encoded", "explain", "count", "aggregate", "version", "size", "changed", "indexes"},
    Store: {"name", "place", "shared", "schema", "holds", "close"},
    Ledger: {"name", "load", "changed"},
}
CHANGES = {
    "create": lambda service: service.create(id="other"),
    "retitle": lambda service: service.change("films", {"title": "x"}),
    "set a schema": lambda service: service.change("films", {"schema": {"required": ["x"]}}),
    "lift the schema": lambda service: service.change("films", {"schema": None}),
    "drop": lambda service: service.drop("films"),
    "rotate": lambda service: service.rotate("films", "read"),
    "pin": lambda service: service.pin("films", "a"),
    "import": lambda service: service.import_documents("films", [{"a": 1}]),
    "empty": lambda service: service.empty("films"),
}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A data directory with one collection of one document."""
    service = Service(open_store(tmp_path))
    service.create(id="films", documents=[{"_id": 1}])
    service.close()
    return tmp_path


@pytest.fixture
def service(filled: Path):
    """Its service, opened to be read alone; nothing in the directory changes meanwhile."""
    service = opened(Settings(data=filled, read_only=True))
    before = {file.name: file.read_bytes() for file in filled.glob("*.json")}
    yield service
    assert {file.name: file.read_bytes() for file in filled.glob("*.json")} == before
    service.close()


class TestWrites:
    def test_every_way_to_write_is_looked_at(self):
        """A method that the protocol of writers gets has to be refused, too."""
        assert set(WRITES) == {name for name in vars(Writer) if not name.startswith("_")}

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_each_is_refused(self, service, write):
        """By whatever credential, or as the owner; the documents stay."""
        keys = service.describe("films")["credentials"]

        for writer in (service.writer(keys["write"], "films"), service.collection("films")):
            with pytest.raises(ReadOnly):
                write(writer)
        assert list(service.reader(keys["read"], "films").find(Find())) == [{"_id": 1}]

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_each_act_of_administration_is_refused(self, service, change):
        """And nothing is other than it was."""
        before = service.collections()

        with pytest.raises(ReadOnly):
            change(service)

        assert service.collections() == before

    def test_a_dry_run_is_none(self, service):
        """It says what would happen, and nothing does."""
        dry = Guard(dry_run=True)

        assert service.collection("films").update(EVERYTHING, dry).modified == 1
        assert service.collection("films").delete_many(Filter({}), dry).deleted == 1


def members(protocol: type) -> set[str]:
    """The public members of a protocol and of those that it is made of."""
    names = {name for base in protocol.__mro__ for name in (*vars(base), *vars(base).get("__annotations__", ()))}
    return {name for name in names if not name.startswith("_")}


@pytest.fixture
def sides():
    """For each protocol a thing of a store in memory, and the same to be read alone."""
    store = MemoryStore()
    collection = store.collection("films", None, new=True)
    collection.insert_one({"_id": 1})
    alone = read_only(store)
    return {
        Collection: (collection, alone.collection("films", None)),
        Store: (store, alone),
        Ledger: (store.ledger("catalog"), alone.ledger("catalog")),
    }


class TestMembers:
    @pytest.mark.parametrize("protocol", REFUSED, ids=lambda protocol: protocol.__name__)
    def test_each_is_thought_of(self, protocol):
        """A member that a protocol gets is refused until it is said here, and in the code, that it does no harm."""
        assert members(protocol) == REFUSED[protocol] | DECIDED[protocol] | PASSED[protocol]
        assert len(members(protocol)) == sum(len(each[protocol]) for each in (REFUSED, DECIDED, PASSED))

    def test_a_reader_and_a_writer_are_all_that_is_shown_to_a_credential(self):
        """Every member of theirs is one of the collection; no reader's is refused, no writer's goes through."""
        assert members(Reader) <= PASSED[Collection]
        assert members(Writer) <= REFUSED[Collection] | DECIDED[Collection]

    @pytest.mark.parametrize(
        ("protocol", "name"), [(protocol, name) for protocol in REFUSED for name in sorted(REFUSED[protocol])]
    )
    def test_what_may_write_is_refused(self, sides, protocol, name):
        """Before anybody has it in hand."""
        with pytest.raises(ReadOnly):
            getattr(sides[protocol][1], name)

    @pytest.mark.parametrize(
        ("protocol", "name"), [(protocol, name) for protocol in PASSED for name in sorted(PASSED[protocol])]
    )
    def test_what_reads_is_that_of_the_thing(self, sides, protocol, name):
        """Nothing stands in between."""
        thing, alone = sides[protocol]

        assert getattr(alone, name) == getattr(thing, name)

    @pytest.mark.parametrize("protocol", REFUSED, ids=lambda protocol: protocol.__name__)
    def test_what_nobody_has_heard_of_is_refused(self, sides, protocol):
        """A store's own methods, beyond the protocol, are no way around it."""
        thing, alone = sides[protocol]
        thing.truncate = lambda: None

        with pytest.raises(ReadOnly):
            _ = alone.truncate

    @pytest.mark.parametrize(("shared", "pinned"), [(False, ["a"]), (True, [])])
    def test_a_database_is_not_told_to_make_an_index(self, shared, pinned):
        """What is pinned is a note in memory where nobody else has the store, and a write where others do."""
        store = MemoryStore()
        store.shared = shared
        collection = store.collection("films", None, new=True)

        read_only(store).collection("films", None).pin(["a"])

        assert [index.path for index in collection.indexes() if index.pinned] == pinned


class TestReads:
    def test_a_backup_is_taken(self, service):
        """What is there goes out."""
        assert service.backup()

    def test_a_fresh_directory_has_a_token_all_the_same(self, tmp_path):
        """Without one nobody could look at it."""
        service = Service(read_only(open_store(tmp_path / "fresh")))
        try:
            assert service.administrator_token() == service.administrator_token()
        finally:
            service.close()
