"""Backups: what is written is read back, and what is no backup is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import documents as many_documents

from connectome import archives, extjson
from connectome.errors import CollectionExists, InvalidRequest
from connectome.service import Service
from connectome.stores import Find, open_store


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(open_store(tmp_path / "data"))) as service:
        service.create(id="birds", title="Vögel", schema={"required": ["wings"]}, documents=[{"_id": 1, "wings": 2}])
        service.create(id="empty")
        yield service


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(open_store(tmp_path / "other"))) as service:
        yield service


def kept(service: Service, id: str) -> list[Any]:
    """The documents of a collection."""
    keys = service.describe(id)["credentials"]
    return list(service.reader(keys["read"], id).find(Find()))


class TestBackup:
    def test_everything_is_restored(self, service, other):
        """Ids, titles, schemas, documents and the order of the collections; the credentials are new."""
        assert other.restore(service.backup()) == ["birds", "empty"]

        assert kept(other, "birds") == [{"_id": 1, "wings": 2}]
        for before, after in zip(service.collections(), other.collections(), strict=True):
            assert {key: before[key] for key in ("id", "title", "schema", "count")} == {
                key: after[key] for key in ("id", "title", "schema", "count")
            }
            assert not set(before["credentials"].values()) & set(after["credentials"].values())

    def test_credentials_are_in_it_where_they_were_asked_for(self, service, other):
        """Then clients go on as before."""
        other.restore(service.backup(credentials=True))

        assert [each["credentials"] for each in other.collections()] == [
            each["credentials"] for each in service.collections()
        ]

    def test_without_credentials_there_are_none_in_it(self, service):
        """Nowhere in the archive."""
        with zipfile.ZipFile(io.BytesIO(service.backup())) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())

        for each in service.collections():
            assert not [key for key in each["credentials"].values() if key.encode() in content]

    def test_what_is_there_is_not_overwritten(self, service, other):
        """All collections are restored, or none."""
        other.create(id="empty", title="mine")

        with pytest.raises(CollectionExists):
            other.restore(service.backup())

        assert [each["title"] for each in other.collections()] == ["mine"]

    @pytest.mark.parametrize("cut", [0, 10, -30])
    def test_a_backup_that_is_not_whole_is_refused(self, service, other, cut):
        """Before anything is made of it."""
        with pytest.raises(InvalidRequest):
            other.restore(service.backup()[:cut])

        assert other.collections() == []

    def test_a_damaged_member_is_refused(self, service, other):
        """Each has a checksum."""
        content = bytearray(service.backup())
        with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
            member = archive.getinfo("birds.ndjson")
        content[member.header_offset + 30 + len("birds.ndjson")] ^= 0xFF

        with pytest.raises(InvalidRequest):
            other.restore(bytes(content))

    def test_another_archive_is_refused(self, other):
        """It has no catalog."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("readme.txt", "hello")

        with pytest.raises(InvalidRequest):
            other.restore(content.getvalue())


@settings(max_examples=30, deadline=None)
@given(many_documents)
def test_values_of_all_types_come_back(document: dict[str, Any]) -> None:
    """What is read of an archive is what was written, to the last bit."""
    written = archives.Archived("a", "A", None, [document])

    (read,) = archives.read(archives.write([written]))

    assert extjson.dumps(read.documents, mode="canonical") == extjson.dumps([document], mode="canonical")
