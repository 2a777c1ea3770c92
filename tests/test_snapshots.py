"""Snapshots: what is taken comes back, what is replaced is kept, and nothing is half restored."""

from __future__ import annotations

import pytest

from connectome.config import Settings
from connectome.errors import Conflict, InvalidRequest, NoSpace, NotFound, ReadOnly
from connectome.query import Filter
from connectome.service import Service
from connectome.snapshots import UNDO, Snapshots
from connectome.stores import Find, open_store


@pytest.fixture
def service(tmp_path):
    """A service with two collections."""
    service = Service(open_store(tmp_path))
    service.create(id="films", title="Films", schema={"required": ["_id"]}, documents=[{"_id": 1}, {"_id": 2}])
    service.create(id="birds", documents=[{"_id": "swift"}])
    yield service
    service.close()


@pytest.fixture
def snapshots(service, tmp_path):
    """Its snapshots."""
    return Snapshots(service, Settings(data=tmp_path))


def content(service):
    """Documents, title and schema of each collection."""
    return {
        each["id"]: (each["title"], each["schema"], list(service.collection(each["id"]).find(Find())))
        for each in service.collections()
    }


class TestTaking:
    def test_it_is_a_file_of_the_owner_alone(self, snapshots, tmp_path):
        """Credentials are in it."""
        taken = snapshots.take("before")

        file = tmp_path / "snapshots" / "before.zip"
        assert (taken.name, taken.size) == ("before", file.stat().st_size)
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert snapshots.all() == [taken]

    def test_a_name_that_is_taken_is_refused_unless_it_is_meant(self, snapshots, service):
        """What is kept under a name is not lost by accident."""
        snapshots.take("before")
        service.drop("birds")

        with pytest.raises(Conflict, match="there is a snapshot 'before' already"):
            snapshots.take("before")
        snapshots.take("before", again=True)

        assert snapshots.restore("before") == ["films"]

    @pytest.mark.parametrize("name", ["../films", "", "a.b", "x" * 65])
    def test_a_name_that_is_no_name_is_refused(self, snapshots, name):
        """It is part of a path."""
        with pytest.raises(InvalidRequest, match="a snapshot's name has"):
            snapshots.take(name)


class TestRestoring:
    def test_collections_hold_what_they_held(self, snapshots, service):
        """Documents, title and schema; one that was dropped is back, one that was made since stays."""
        before = content(service)
        keys = {each["id"]: each["credentials"] for each in service.collections()}
        snapshots.take("before")
        service.change("films", {"title": "Other", "schema": None})
        service.collection("films").insert_one({"a": 3})
        fresh = service.rotate("films", "read")
        service.drop("birds")
        service.create(id="new", documents=[{"_id": 0}])

        assert sorted(snapshots.restore("before")) == ["birds", "films"]

        assert content(service) == {**before, "new": ("new", None, [{"_id": 0}])}
        assert service.describe("birds")["credentials"] == keys["birds"]
        assert service.describe("films")["credentials"] == {**keys["films"], "read": fresh}

    def test_it_can_be_taken_back(self, snapshots, service):
        """And that again."""
        snapshots.take("before")
        service.collection("films").delete_many(Filter({}))
        changed = content(service)

        snapshots.restore("before")
        restored = content(service)
        snapshots.restore(UNDO)
        assert content(service) == changed
        snapshots.restore(UNDO)
        assert content(service) == restored

    @pytest.mark.parametrize("failing", ["films", "birds"])
    def test_where_one_collection_refuses_all_are_put_back(self, snapshots, service, failing, monkeypatch):
        """A full disk in the middle leaves everything as it was."""
        snapshots.take("before")
        service.collection("films").insert_one({"_id": 3})
        service.collection("birds").insert_one({"_id": "owl"})
        before = content(service)
        collection, times = service.collection(failing), []

        def insert_many(documents, insert_many=collection.insert_many):
            times.append(1)
            if len(times) == 1:
                raise NoSpace("no space left")
            return insert_many(documents)

        monkeypatch.setattr(collection, "insert_many", insert_many)

        with pytest.raises(NoSpace):
            snapshots.restore("before")

        assert content(service) == before

    def test_a_file_that_is_not_whole_changes_nothing(self, snapshots, service, tmp_path):
        """Not even the snapshot ``undo``."""
        snapshots.take("before")
        file = tmp_path / "snapshots" / "before.zip"
        file.write_bytes(file.read_bytes()[:-30])
        before = content(service)

        with pytest.raises(InvalidRequest, match="not a whole one"):
            snapshots.restore("before")

        assert content(service) == before
        assert [each.name for each in snapshots.all()] == ["before"]

    def test_one_that_is_not_there_is_refused(self, snapshots):
        """With those that are."""
        snapshots.take("before")

        with pytest.raises(NotFound, match="there is no snapshot 'after'; there are: before"):
            snapshots.restore("after")

    def test_a_server_that_is_read_only_takes_but_does_not_restore(self, snapshots, service, tmp_path):
        """Before anything is looked at."""
        snapshots.take("before")

        with pytest.raises(ReadOnly):
            Snapshots(service, Settings(data=tmp_path, read_only=True)).restore("before")

        assert [each.name for each in snapshots.all()] == ["before"]

    def test_one_that_is_removed_is_gone(self, snapshots):
        """And cannot be removed twice."""
        snapshots.take("before")
        snapshots.remove("before")

        assert snapshots.all() == []
        with pytest.raises(NotFound):
            snapshots.remove("before")
