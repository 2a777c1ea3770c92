"""Collections in TinyDB files, beyond what ``test_stores`` says of every store: durable, held by one process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from birds import BIRDS, assert_identical, change, everything, new_birds, reopened
from bson import Int64
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import canonical, documents
from tinydb import TinyDB

from connectome import extjson
from connectome.errors import (
    DuplicateKey,
    NoSpace,
    QueryError,
    StoreFailed,
    StoreLocked,
    UpdateError,
)
from connectome.query import Filter, Sort
from connectome.query.deadline import expired
from connectome.stores import Collection, Find, Store, embedded, open_store
from connectome.stores.embedded import EmbeddedStore


@pytest.fixture(params=["texts", "documents"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs with documents kept as texts, and as they are where msgspec is not installed."""
    monkeypatch.setattr(extjson, "HAS_MSGSPEC", request.param == "texts")


@pytest.fixture
def collection(store: Store) -> Collection:
    """A collection of three birds."""
    return new_birds(store)


class TestUpdate:
    def test_an_update_that_changes_nothing_writes_nothing(self, collection, directory):
        """The file is not even touched."""
        before = (directory / "birds.json").stat().st_mtime_ns

        collection.update(change({}, {"$set": {"wings": 2}}))

        assert (directory / "birds.json").stat().st_mtime_ns == before

    def test_an_update_ends_with_its_time(self, collection, monkeypatch):
        """After the document at which it is over: none is changed."""
        looks = iter([False, False, True])

        def over() -> None:
            if next(looks):
                raise expired()

        monkeypatch.setattr(embedded, "check", over)
        before = canonical(everything(collection))

        with pytest.raises(QueryError) as caught:
            collection.update(change({}, {"$set": {"wings": 3}}))

        assert caught.value.code == "MaxTimeMSExpired"
        assert canonical(everything(collection)) == before

    def test_a_document_cannot_grow_deeper_than_it_can_be_kept(self, store):
        """Moving a document into itself again and again ends in a refusal, not in a crash, and what is there stays."""
        collection = store.collection("birds", None, new=True)
        collection.insert_one({"_id": 1, "a": {}})
        deep = ".".join("b" * 90)

        def dig() -> None:
            for _ in range(30):
                collection.update(change({}, {"$rename": {"a": f"c.{deep}"}}))
                collection.update(change({}, {"$rename": {"c": "a"}}))

        with pytest.raises(UpdateError):
            dig()

        assert canonical(everything(reopened(store))) == canonical(everything(collection))


class TestChanged:
    def test_is_the_time_of_the_last_write(self, collection):
        """Whatever writes sets it; what changes nothing, or reads, does not."""
        before = datetime.now(UTC)
        collection.insert_one({})
        written = collection.changed
        collection.delete_many(Filter({"n": "none"}))
        collection.count(Filter({}))

        assert before <= written <= datetime.now(UTC)
        assert collection.changed == written

    def test_after_a_start_it_is_that_of_the_files(self, directory):
        """Of a collection that was not written since, the files say when they were."""
        with closing(open_store(directory)) as store:
            store.collection("birds", None, new=True).insert_one({})
        for file in directory.glob("birds.*"):
            os.utime(file, (1e9, 1e9))

        with closing(open_store(directory)) as store:
            assert store.collection("birds", None).changed == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)

    def test_of_a_new_collection_nobody_knows(self, store):
        """Before the first write there is none."""
        assert store.collection("new", None, new=True).changed is None


class TestSnapshots:
    @pytest.mark.parametrize(
        "write",
        [
            lambda birds: birds.delete_many(Filter({})),
            lambda birds: birds.update(change({}, {"$set": {"wings": 0}})),
            lambda birds: birds.insert_one({"_id": "robin"}),
        ],
        ids=["delete", "update", "insert"],
    )
    @pytest.mark.parametrize("sort", [{}, {"_id": 1}], ids=["natural", "sorted"])
    def test_an_answer_that_has_begun_is_of_one_moment(self, collection, write, sort):
        """A write in the middle of a read changes nothing in it."""
        found = collection.find(Find(sort=Sort(sort)))
        first = next(found)

        write(collection)

        assert [first, *found] == BIRDS

    def test_documents_handed_out_are_never_changed(self, collection):
        """Whatever an update does, deep inside or at the top."""
        handed_out = everything(collection)
        before = canonical(handed_out)

        for update in (
            {"$push": {"eggs": 1}},
            {"$set": {"sings.well": False, "eggs.0": 0}},
            {"$inc": {"wings": 1}},
            {"$rename": {"wings": "arms"}},
            {"$unset": {"sings.well": ""}},
        ):
            collection.update(change({}, update))
        collection.delete_many(Filter({}))

        assert canonical(handed_out) == before


class TestPersistence:
    def test_everything_is_there_when_the_store_is_opened_again(self, directory):
        """Documents, their order, their types."""
        documents = [*BIRDS, {"_id": Int64(5), "n": 1.0, "at": extjson.loads('{"$date": 5}')}]
        with closing(open_store(directory)) as store:
            store.collection("birds", None, new=True).insert_many(documents)

        with closing(open_store(directory)) as store:
            assert_identical(everything(store.collection("birds", None)), documents)

    def test_plain_tinydb_reads_the_file(self, collection, store, directory):
        """Once the store is closed; typed values are Extended JSON to it."""
        collection.insert_one({"_id": "gull", "seen": extjson.loads('{"$date": "2020-01-02T00:00:00Z"}')})
        store.close()

        with TinyDB(directory / "birds.json", access_mode="r") as db:
            assert db.all() == [*BIRDS, {"_id": "gull", "seen": {"$date": "2020-01-02T00:00:00Z"}}]

    def test_what_plain_tinydb_wrote_is_read(self, store, directory):
        """The format is TinyDB's own, row numbers and all."""
        with TinyDB(directory / "birds.json") as db:
            db.insert_multiple(BIRDS)
            db.remove(doc_ids=[2])

        collection = store.collection("birds", None)
        collection.insert_one({"_id": "gull"})

        assert everything(reopened(store)) == [BIRDS[0], BIRDS[2], {"_id": "gull"}]

    def test_a_collection_that_was_never_written_is_empty(self, store, directory):
        """Its name is free for another."""
        assert everything(store.collection("nothing", None, new=True)) == []
        assert not store.holds("nothing")

    def test_a_dropped_collection_is_gone(self, collection, store, directory):
        """With its files; one that never had any is dropped as well."""
        store.drop("birds")
        store.drop("nothing")

        assert not store.holds("birds")
        assert not [name for name in os.listdir(directory) if name.startswith("birds")]

    def test_the_size_is_that_of_the_files(self, collection, directory):
        """Bytes in the data file and its journal."""
        assert collection.size == sum(path.stat().st_size for path in directory.glob("birds.*"))

    def test_documents_of_plain_tinydb_get_an_id(self, store, directory):
        """The same one from then on."""
        with TinyDB(directory / "birds.json") as db:
            db.insert({"n": 1})

        first = everything(store.collection("birds", None))

        assert [list(each) for each in first] == [["_id", "n"]]
        assert everything(reopened(store)) == first

    def test_only_the_owner_may_read_the_documents(self, collection, directory):
        """They are nobody else's business."""
        assert (directory / "birds.json").stat().st_mode & 0o777 == 0o600

    def test_what_a_crash_left_behind_is_in_nobodys_way(self, collection, store, directory):
        """A file that was being written when the power went is no file of ours."""
        (directory / "birds.json.tmp").write_text('{"_default": {"1": {"_id": "half')

        collection.insert_one({"_id": "robin"})

        assert everything(reopened(store)) == [*BIRDS, {"_id": "robin"}]


WRITES: dict[str, Callable[[Collection], Any]] = {
    "insert_one": lambda birds: birds.insert_one({"_id": "robin"}),
    "insert_many": lambda birds: birds.insert_many([{"_id": "robin"}, {"_id": "tit"}]),
    "update": lambda birds: birds.update(change({}, {"$inc": {"wings": 1}})),
    "upsert": lambda birds: birds.update(change({"_id": "robin"}, {"$set": {"wings": 2}}, upsert=True)),
    "delete_many": lambda birds: birds.delete_many(Filter({"_id": "owl"})),
}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Have one call of a system function fail: ``with failing("fsync", 1, errno.EIO):``."""

    @contextmanager
    def failing(name: str, which: int, number: int) -> Iterator[None]:
        real, calls = getattr(os, name), 0

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == which:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, call)
            yield
            assert calls >= which, "the fault never came"

    return failing


class TestFailingDisk:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_a_full_disk_changes_nothing(self, collection, store, directory, failing, write, number):
        """Neither in memory nor on disk; a quota that is used up is a full disk."""
        before = {name: (directory / name).read_bytes() for name in os.listdir(directory)}

        with failing("write", 1, number), pytest.raises(NoSpace) as caught:
            write(collection)

        assert caught.value.detail == "no space left while writing the journal of birds.json: nothing was changed"
        assert everything(collection) == BIRDS
        assert {name: (directory / name).read_bytes() for name in os.listdir(directory)} == before

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_after_a_failed_sync_nothing_more_is_written(self, collection, store, failing, write):
        """No later sync could be believed: reads go on, and writes come back with a reopening."""
        with failing("fsync", 1, errno.EIO), pytest.raises(StoreFailed):
            write(collection)

        assert everything(collection) == BIRDS
        with pytest.raises(StoreFailed) as caught:
            write(collection)
        assert caught.value.detail == "the collection only reads since a write failed: Input/output error"

        again = reopened(store)
        again.insert_one({"_id": "kea"})
        assert everything(again)[-1] == {"_id": "kea"}

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_the_next_write_works(self, collection, store, failing, write):
        """The same one, now that the disk is well again; all its _ids are free."""
        with failing("write", 1, errno.ENOSPC), pytest.raises(NoSpace):
            write(collection)

        write(collection)

        undisturbed = store.collection("others", None, new=True)
        undisturbed.insert_many(BIRDS)
        write(undisturbed)
        assert everything(collection) == everything(undisturbed)
        assert everything(reopened(store)) == everything(undisturbed)

    def test_a_ledger_that_cannot_be_saved_is_as_it_was(self, store, failing):
        """The catalog of collections is a file like every other."""
        ledger = store.ledger("catalog")
        ledger.save({"a": 1})

        with failing("rename", 1, errno.EIO), pytest.raises(StoreFailed):
            ledger.save({"a": 2})

        assert ledger.load() == {"a": 1}

    def test_a_directory_that_cannot_be_made_is_refused(self, tmp_path):
        """Below a file there is no directory."""
        (tmp_path / "file").touch()

        with pytest.raises(StoreFailed) as caught:
            open_store(tmp_path / "file" / "data")

        assert caught.value.detail == f"Not a directory while making the data directory {tmp_path / 'file' / 'data'}"


DAMAGED = {
    "an empty file": b"",
    "half a file": b'{"_default": {"1": {"_id": 1',
    "what is not UTF-8": b"\xff\xfe",
    "an array": b"[]",
    "null": b"null",
    "a table that is no object": b'{"_default": 5}',
    "a table that is an array": b'{"_default": [{"_id": 1}]}',
    "a row that is no object": b'{"_default": {"1": 5}}',
    "a row without a number": b'{"_default": {"one": {"_id": 1}}}',
    "an _id twice": b'{"_default": {"1": {"_id": 1}, "2": {"_id": 1}}}',
    "a date that is none": b'{"_default": {"1": {"_id": 1, "at": {"$date": "soon"}}}}',
    "nesting without end": b'{"_default": {"1": {"_id": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
}


class TestDamage:
    @pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
    def test_a_file_that_was_not_written_here_is_refused_by_name(self, store, directory, content):
        """It is neither read as something else nor overwritten."""
        (directory / "birds.json").write_bytes(content)

        with pytest.raises(StoreFailed) as caught:
            store.collection("birds", None)

        assert "birds.json" in str(caught.value.damage)
        assert (directory / "birds.json").read_bytes() == content

    def test_another_collection_is_not_affected(self, store, collection, directory):
        """One file, one damage."""
        (directory / "fish.json").write_bytes(b"{")

        with pytest.raises(StoreFailed):
            store.collection("fish", None)

        assert everything(reopened(store)) == BIRDS

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
    def test_a_damaged_ledger_is_refused_by_name(self, store, directory, content):
        """Better no start than a start without collections."""
        (directory / "connectome.catalog.json").write_bytes(content)

        with pytest.raises(StoreFailed) as caught:
            store.ledger("catalog").load()

        assert "connectome.catalog.json" in caught.value.detail


HOLD = """
import sys, time
from pathlib import Path
from connectome.stores import open_store
store = open_store(Path(sys.argv[1]), holder="http://127.0.0.1:1")
print("held", flush=True)
time.sleep(60)
"""
OPEN = """
import sys
from pathlib import Path
from connectome.errors import StoreLocked
from connectome.stores import open_store
try:
    open_store(Path(sys.argv[1]))
except StoreLocked as error:
    sys.exit(error.detail)
"""


def process(program: str, directory: Path) -> list[str]:
    return [sys.executable, "-c", program, str(directory)]


class TestLock:
    def test_another_process_is_kept_out(self, store, directory):
        """It is told which process holds the directory."""
        tried = subprocess.run(process(OPEN, directory), capture_output=True, text=True, check=False)

        assert (tried.returncode, tried.stderr) == (
            1,
            f"the data directory {directory} is in use by process {os.getpid()}; "
            "the embedded store serves one process: use threads, not workers\n",
        )

    def test_a_second_store_in_this_process_is_kept_out(self, store, directory):
        """Two stores would overwrite each other's files wherever they are."""
        with pytest.raises(StoreLocked):
            open_store(directory)

    def test_who_was_kept_out_disturbs_nothing(self, store, directory):
        """The lock still names its holder, and still holds."""
        for _ in range(2):
            with pytest.raises(StoreLocked) as caught:
                open_store(directory)

            assert f"process {os.getpid()};" in caught.value.detail

    def test_a_store_that_is_closed_lets_go(self, directory):
        """The next one may open."""
        open_store(directory).close()

        open_store(directory).close()

    def test_closing_twice_does_no_harm(self, directory):
        """The number of a file that was closed may belong to another by then."""
        store = open_store(directory)
        store.close()

        store.close()

    def test_a_killed_process_lets_go(self, directory):
        """The kernel takes the lock away, whatever the process left in the file."""
        with subprocess.Popen(process(HOLD, directory), stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(StoreLocked) as caught:
                open_store(directory)
            holder.send_signal(signal.SIGKILL)
            holder.wait()

        assert f"in use by process {holder.pid} at http://127.0.0.1:1;" in caught.value.detail
        open_store(directory).close()


def in_threads(work: Callable[[int], Any], *, threads: int = 8) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(threads)))


class TestThreads:
    def test_no_increment_is_lost(self, collection, store):
        """Writers wait for each other."""

        def increment(_: int) -> None:
            for _ in range(10):
                collection.update(change({"_id": "owl"}, {"$inc": {"n": 1}}))

        in_threads(increment)

        assert everything(collection)[1]["n"] == 80
        assert everything(reopened(store))[1]["n"] == 80

    def test_one_of_many_upserts_creates_the_document(self, collection):
        """The others find it there."""

        def upsert(_: int) -> bool:
            return collection.update(change({"name": "tit"}, {"$inc": {"n": 1}}, upsert=True)).upserted is not None

        created = in_threads(upsert)

        assert created.count(True) == 1
        assert [bird["n"] for bird in collection.find(Find(Filter({"name": "tit"})))] == [8]

    def test_one_of_many_inserts_of_an_id_succeeds(self, collection):
        """The others are refused."""

        def insert(number: int) -> bool:
            try:
                collection.insert_one({"_id": "tit", "number": number})
            except DuplicateKey:
                return False
            return True

        assert in_threads(insert).count(True) == 1
        assert collection.count(Filter({"_id": "tit"})) == 1

    def test_a_reader_never_sees_half_a_batch(self, store):
        """Batches of five come and go as a whole, while somebody counts."""
        collection = store.collection("flocks", None, new=True)

        def work(number: int) -> set[int]:
            if number % 2:
                return {len(everything(collection)) % 5 for _ in range(200)}
            for _ in range(10):
                collection.insert_many([{"flock": number}] * 5)
                collection.delete_many(Filter({"flock": number}))
            return set()

        assert set().union(*in_threads(work)) == {0}


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(documents, max_size=4))
    def test_what_is_written_is_read(self, tmp_path_factory, written):
        """Every type, every value, the order of the fields, from memory and from the file."""
        with closing(open_store(tmp_path_factory.mktemp("data"))) as store:
            collection = store.collection("things", None, new=True)
            identities = collection.insert_many(written)
            expected = [{"_id": identity, **document} for identity, document in zip(identities, written, strict=True)]

            assert_identical(everything(collection), expected)
            assert_identical(everything(store.collection("things", None)), expected)

    def test_the_file_holds_nothing_but_plain_json(self, collection, store, directory):
        """TinyDB's default table, with a row for each document, and a table with what the store says of the file."""
        store.close()

        tables = json.loads((directory / "birds.json").read_bytes())
        assert [*tables] == ["_default", "_connectome"]
        assert tables["_default"] == {"1": BIRDS[0], "2": BIRDS[1], "3": BIRDS[2]}


class TestMemory:
    def test_what_can_be_made_again_is_let_go_when_memory_is_short(self, directory):
        """Columns and second forms of documents; answers stay the same, and a pinned index stays."""
        with closing(EmbeddedStore(directory, cache_bytes=0)) as store:
            birds = store.collection("birds", None, new=True)
            birds.insert_many([{"_id": n, "a": n, "b": n % 7} for n in range(600)])
            birds.pin(["b"])
            for _ in range(70):
                assert len(list(birds.encoded(Find(Filter({"a": {"$lt": 9}, "b": 1}))))) == 2
                assert birds.count(Filter({"$expr": {"$eq": ["$a", 5]}})) == 1

            pinned, *others = birds.indexes()
            assert (pinned.path, pinned.uses) == ("b", 70)
            # It was forgotten every now and then, and made again.
            assert all(index.uses < 70 for index in others)
