"""A store to be read alone: whatever writes is refused, whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectome.config import Settings
from connectome.errors import ReadOnly
from connectome.query import Filter, Update
from connectome.service import Service, opened
from connectome.stores import Find, Guard, Modify, Writer, open_store
from connectome.stores.readonly import read_only

EVERYTHING = Modify(Filter({}), Update({"$set": {"a": 1}}))
WRITES = {
    "insert_one": lambda writer: writer.insert_one({"a": 1}),
    "insert_many": lambda writer: writer.insert_many([{"a": 1}]),
    "update": lambda writer: writer.update(EVERYTHING),
    "delete_one": lambda writer: writer.delete_one(Filter({})),
    "delete_many": lambda writer: writer.delete_many(Filter({})),
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
