"""``connectome migrate``: what is copied is what was there, to the byte, and a copy that was cut short goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from mongodb_server import MongoDBServer
from strategies import canonical

from connectome.config import Settings
from connectome.errors import StoreFailed
from connectome.query import Filter
from connectome.service import Service, opened
from connectome.stores import Find, open_store

DOCUMENTS: list[Any] = [
    {"_id": ObjectId("5" * 24), "z": 1, "a": Int64(1), "m": 1.0, "d": Decimal128("1.50")},
    {"_id": {"b": 1, "a": 2}, "n": None, "list": [1, [2, {"z": -0.0}], True]},
    {"_id": 7, "r": Regex("^a", "i"), "t": Timestamp(1, 2), "k": [MinKey(), MaxKey()], "b": Binary(b"x", 5)},
    {"_id": "é", "a.b": 1, "$c": {"d.e": 2}, "": 0},
]
SCHEMA = {"properties": {"n": {"type": "null"}}, "$defs": {"unused": True}}


def migrate(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "connectome", "migrate", *map(str, arguments)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("CONNECTOME_")},
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def contents(place: Path | str) -> dict[str, str]:
    with closing(Service(open_store(place))) as service:
        return {
            each["id"]: canonical(list(service.collection(each["id"]).find(Find()))) for each in service.collections()
        }


@pytest.fixture
def made(directory: Path) -> dict[str, str]:
    """A data directory with two collections; the credentials of the first."""
    with closing(Service(open_store(directory))) as service:
        described = service.create(id="things", title="Things", schema=SCHEMA, documents=DOCUMENTS)
        service.pin("things", "a")
        service.create(id="many", documents=[{"_id": n, "n": n} for n in range(2500)])
    keys: dict[str, str] = described["credentials"]
    return keys


class TestThereAndBack:
    def test_nothing_is_another(self, made, directory, database, tmp_path):
        """Types, order of fields, ids, schema, title, indexes; and every credential opens what it opened."""
        before = contents(directory)

        there = migrate("--from", directory, "--to", database)
        back = migrate("--to", tmp_path / "back", CONNECTOME_STORE=database)

        assert (there.returncode, back.returncode) == (0, 0), there.stderr + back.stderr
        assert there.stderr == "things: 4 documents\nmany: 2500 documents\n2 collections copied and counted\n"
        for place in (database, tmp_path / "back"):
            assert contents(place) == before
            with closing(Service(open_store(place))) as service:
                described = service.describe("things")
                assert (described["title"], described["schema"]) == ("Things", SCHEMA)
                assert [index.path for index in service.indexes("things") if index.pinned] == ["a"]
                assert service.reader(made["read"], "things").count(Filter({})) == 4
                assert service.writer(made["write"], "things").delete_many(Filter({"_id": "none"})).deleted == 0


class TestCutShort:
    def test_what_is_there_is_not_overwritten(self, made, directory, database):
        """A target that holds one of the collections is refused."""
        migrate("--from", directory, "--to", database)

        again = migrate("--from", directory, "--to", database)

        assert again.returncode == 1
        assert "has things, many already" in again.stderr

    def test_it_goes_on_where_it_was(self, made, directory, database):
        """Documents that are there are not copied again, the others are."""
        with closing(Service(open_store(database))) as service:
            service.create(id="many", documents=[{"_id": n, "n": n} for n in range(1234)])

        assert migrate("--from", directory, "--to", database, "--resume").returncode == 0
        assert contents(database) == contents(directory)

    def test_another_document_in_the_target_is_told(self, made, directory, database):
        """Counts are compared at the end."""
        with closing(Service(open_store(database))) as service:
            service.create(id="many", documents=[{"_id": "other"}])

        refused = migrate("--from", directory, "--to", database, "--resume")

        assert refused.returncode == 5
        assert "many has 2500 documents here, and 2501 there" in refused.stderr


def killed(arguments: list[str | Path], progress: Callable[[], int]) -> bool:
    """Whether a migration was killed in mid-course, just after it went on; it may have ended before."""
    before = progress()
    process = subprocess.Popen(
        [sys.executable, "-m", "connectome", "migrate", *map(str, arguments), "--resume"], stderr=subprocess.DEVNULL
    )
    while process.poll() is None and progress() == before:
        time.sleep(0.001)
    process.kill()
    return process.wait() != 0


@pytest.fixture(scope="module")
def server() -> Iterator[MongoDBServer]:
    """A server of which all sessions may be killed."""
    with closing(MongoDBServer()) as server:
        yield server


class TestKilled:
    MANY = 4000

    @pytest.mark.parametrize("backwards", [False, True], ids=["there", "back"])
    def test_nothing_is_lost_or_doubled(self, made, directory, server, tmp_path, monkeypatch, backwards):
        """Killed again and again, and resumed; meanwhile nobody takes the target for whole."""
        with closing(Service(open_store(directory))) as service:
            service.import_documents("many", ({"_id": n, "n": n} for n in range(2500, self.MANY)))
        before = contents(directory)
        name = "back" if backwards else "there"
        database, back = f"{server.url}/{name}", tmp_path / name
        arguments: list[str | Path] = ["--from", directory, "--to", database]
        if backwards:
            assert migrate(*arguments).returncode == 0
            arguments = ["--from", database, "--to", back]
        monkeypatch.setenv("CONNECTOME_DATA", str(back))
        monkeypatch.setenv("CONNECTOME_STORE", "" if backwards else database)
        kills = 0
        with pymongo.MongoClient[Any](server.url) as client:

            def progress() -> int:
                if backwards:
                    return sum(path.stat().st_size for path in back.glob("many.*"))
                return client[name]["many"].estimated_document_count()

            while kills < 2 and killed(arguments, progress):
                kills += 1
                # As a minute later: till then documents wait for the transaction that was left.
                client.admin.command("killAllSessions", [])
                with pytest.raises(StoreFailed, match="migrate --resume"):
                    opened(Settings.from_environ())

        assert kills
        assert migrate(*arguments, "--resume").returncode == 0
        assert contents(back if backwards else database) == before
        opened(Settings.from_environ()).close()


class TestPlaces:
    def test_a_url_is_not_repeated(self, made, directory):
        """A password may stand in it."""
        refused = migrate("--from", directory, "--to", "mongodb://me:se/cret@host/db")

        assert refused.returncode == 2
        assert "cret" not in refused.stderr
        assert "percent-encoded" in refused.stderr

    def test_a_target_is_needed(self, made, directory):
        """Nothing is guessed."""
        refused = migrate("--from", directory)

        assert refused.returncode == 2
        assert "--to is a data directory or the URL of a database" in refused.stderr
