"""Loads: documents that come one by one, kept all together or not at all, however many."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faulty import MemoryDisk, everything, opened

from connectome import extjson
from connectome.errors import DuplicateKey, InvalidJSON, NoSpace, SchemaViolation, StoreFailed
from connectome.query import Filter, Update
from connectome.schemas import Schema
from connectome.stores import Find, Loaded, Modify
from connectome.stores.embedded import EmbeddedCollection, EmbeddedStore

LARGE, SMALL = 0, 2**24


@pytest.fixture(params=[LARGE, SMALL], ids=["by a data file", "by a record"])
def birds(request: pytest.FixtureRequest, directory: Path) -> Iterator[EmbeddedCollection]:
    """A collection that keeps loads in one of the two ways."""
    store = opened(directory, MemoryDisk(), load_bytes=request.param)
    yield store.collection("birds", None, new=True)
    store.close()


def again(directory: Path, disk: MemoryDisk) -> list[Any]:
    """What a restart finds."""
    store = opened(directory, disk)
    try:
        return everything(store.collection("birds", None))
    finally:
        store.close()


class TestDuplicates:
    def test_an_id_that_is_taken_stops_everything(self, birds):
        """By a document that is there, or by an earlier one; the pointer names the document."""
        birds.insert_one({"_id": "owl"})

        for documents, pointer in (([{"_id": 1}, {"_id": "owl"}], "/1/_id"), ([{"_id": 1}, {"_id": 1.0}], "/1/_id")):
            with pytest.raises(DuplicateKey) as refused:
                birds.load(documents)
            assert refused.value.pointer == pointer

        assert everything(birds) == [{"_id": "owl"}]

    def test_it_may_be_skipped(self, birds):
        """The one that is there first stays."""
        birds.insert_one({"_id": "owl", "n": 1})

        assert birds.load(
            iter([{"_id": "owl", "n": 2}, {"_id": "tit", "n": 3}, {"_id": "tit", "n": 4}]), on_duplicate="skip"
        ) == Loaded(1, skipped=2)
        assert everything(birds) == [{"_id": "owl", "n": 1}, {"_id": "tit", "n": 3}]

    def test_it_may_be_replaced(self, birds):
        """The one that comes last stays, in the place of the first."""
        birds.insert_many([{"_id": "owl", "n": 1}, {"_id": "wren"}])

        assert birds.load(
            iter([{"_id": "tit", "n": 3}, {"n": 2, "_id": "owl"}, {"_id": "tit", "n": 4}]), on_duplicate="replace"
        ) == Loaded(1, replaced=2)
        assert everything(birds) == [{"_id": "owl", "n": 2}, {"_id": "wren"}, {"_id": "tit", "n": 4}]

    def test_what_is_replaced_is_found_by_its_new_values(self, birds):
        """Columns and indexes follow."""
        birds.pin(["n"])
        birds.load({"_id": n, "n": n} for n in range(3_000))
        assert birds.count(Filter({"n": 5})) == 1

        birds.load(({"_id": n, "n": -n} for n in range(2_999, 0, -2)), on_duplicate="replace")

        assert [birds.count(Filter({"n": n})) for n in (5, -5, 4, -4)] == [0, 1, 1, 0]

    def test_nothing_is_loaded_from_nothing(self, birds):
        """That is no write."""
        assert birds.load([]) == Loaded(0)
        assert birds.load([]) == Loaded(0)


class TestRefusals:
    def test_a_source_that_fails_leaves_nothing(self, birds):
        """A file that ends in the middle, say."""

        def documents() -> Iterator[Any]:
            yield {"_id": 1}
            raise InvalidJSON("the file ends here")

        with pytest.raises(InvalidJSON):
            birds.load(documents())

        assert everything(birds) == []

    def test_every_failure_of_the_schema_is_pointed_at(self, birds):
        """The first hundred: a file of which every document fails is not read to its end."""
        birds.set_schema(Schema({"required": ["n"]}))
        read = []

        def documents() -> Iterator[Any]:
            for number in range(1_000):
                read.append(number)
                yield {"n": 1} if number == 0 else {"m": 1}

        with pytest.raises(SchemaViolation) as refused:
            birds.load(documents())

        assert [each.pointer for each in refused.value.failures] == [f"/{n}" for n in range(1, 101)]
        assert len(read) == 101
        assert everything(birds) == []

    def test_a_schema_that_comes_meanwhile_is_satisfied(self, birds):
        """What was read before it is looked at again."""

        def documents() -> Iterator[Any]:
            yield {"_id": 1}
            birds.set_schema(Schema({"required": ["n"]}))

        with pytest.raises(SchemaViolation):
            birds.load(documents())

        assert everything(birds) == []

    def test_a_document_that_comes_meanwhile_counts(self, birds):
        """Whoever was faster has the _id."""

        def documents() -> Iterator[Any]:
            yield {"_id": 1}
            birds.insert_one({"_id": 1, "n": 1})

        with pytest.raises(DuplicateKey):
            birds.load(documents())

        assert everything(birds) == [{"_id": 1, "n": 1}]


class TestFiles:
    def test_a_large_load_is_in_the_data_file(self, directory):
        """And a restart finds it there, with what was written before and after."""
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        birds.insert_one({"_id": "before"})
        birds.load([{"_id": "loaded"}])
        birds.insert_one({"_id": "after"})
        killed = disk.kill()
        store.close()

        assert b'"loaded"' in disk.files(directory)["birds.json"]
        assert again(directory, killed) == [{"_id": "before"}, {"_id": "loaded"}, {"_id": "after"}]

    def test_a_crash_while_the_file_is_written_leaves_nothing_of_the_load(self, directory, monkeypatch):
        """After every piece of it, whatever of it has reached the disk."""
        monkeypatch.setattr("connectome.stores.journal._PIECE_BYTES", 100)
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        birds.insert_one({"_id": "before"})
        cuts: list[MemoryDisk] = []

        def take(disk: MemoryDisk) -> None:
            if disk.log[-1] == ("write", "birds.json.tmp"):
                cuts.extend([disk.kill(), disk.crash(len(disk.log))])

        disk.after = take
        birds.load({"_id": n, "text": "x" * 60} for n in range(20))
        disk.after = lambda _: None
        store.close()

        assert len(cuts) > 20
        assert [again(directory, cut) for cut in cuts] == [[{"_id": "before"}]] * len(cuts)
        assert len(again(directory, disk)) == 21

    def test_a_full_disk_leaves_nothing_of_the_load(self, directory, monkeypatch):
        """In the middle of the file; the next one has its room."""
        monkeypatch.setattr("connectome.stores.journal._PIECE_BYTES", 100)
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        birds.insert_one({"_id": "before"})
        documents = [{"_id": n, "text": "x" * 60} for n in range(20)]

        disk.fail(9, "write", 28)
        with pytest.raises(NoSpace):
            birds.load(documents)
        assert everything(birds) == [{"_id": "before"}]
        assert again_of(directory, disk) == [{"_id": "before"}]

        assert birds.load(documents) == Loaded(20)
        store.close()
        assert again(directory, disk) == [{"_id": "before"}, *documents]

    def test_a_file_of_which_nobody_knows_whether_it_was_kept_ends_the_writing(self, directory):
        """It has its name, and the directory was not synced: reads go on as before, writes do not."""
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        birds.insert_one({"_id": "before"})

        # The first sync of the directory is that of the new journal.
        disk.fail(2, "sync_directory")
        with pytest.raises(StoreFailed, match="not known"):
            birds.load([{"_id": "loaded"}])
        with pytest.raises(StoreFailed):
            birds.insert_one({"_id": "after"})

        assert everything(birds) == [{"_id": "before"}]
        store.close()
        assert again(directory, disk) == [{"_id": "before"}, {"_id": "loaded"}]


def again_of(directory: Path, disk: MemoryDisk) -> list[Any]:
    """What a restart would find, while the store goes on."""
    other = directory.with_name("other")
    copy = MemoryDisk()
    for name, content in disk.files(directory).items():
        copy.put(other / name, content)
    for name in copy.files(other):
        if name.endswith(".tmp"):
            copy.remove(other / name)
    return again(other, copy)


class TestAmongOthers:
    def test_writers_and_loads_at_the_same_time(self, directory):
        """Each is kept, in some order, and a restart finds them all."""
        store = EmbeddedStore(directory, load_bytes=LARGE, checkpoint_bytes=4_000)
        birds = store.collection("birds", None, new=True)
        start = threading.Barrier(6)

        def write(worker: int) -> None:
            start.wait()
            for n in range(30):
                birds.insert_one({"_id": f"{worker}-{n}", "n": 0})
                birds.update(Modify(Filter({"_id": f"{worker}-{n}"}), Update({"$inc": {"n": 1}})))

        def load(worker: int) -> None:
            start.wait()
            for n in range(10):
                birds.load({"_id": f"load-{worker}-{n}-{each}", "n": 1} for each in range(20))

        with ThreadPoolExecutor(6) as threads:
            for done in [threads.submit(write, n) for n in range(4)] + [threads.submit(load, n) for n in range(2)]:
                done.result(timeout=60)
        found = everything(birds)
        store.close()

        assert len(found) == 4 * 30 + 2 * 10 * 20
        assert {document["n"] for document in found} == {1}
        store = EmbeddedStore(directory)
        assert everything(store.collection("birds", None)) == found
        store.close()

    def test_the_same_ids_at_the_same_time(self, directory):
        """One of them wins, as a whole."""
        store = EmbeddedStore(directory, load_bytes=LARGE)
        birds = store.collection("birds", None, new=True)
        start = threading.Barrier(4)

        def load(worker: int) -> bool:
            start.wait()
            try:
                birds.load([{"_id": n, "of": worker} for n in range(50)])
            except DuplicateKey:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            won = list(threads.map(load, range(4)))
        found = everything(birds)
        store.close()

        assert won.count(True) == 1
        assert found == [{"_id": n, "of": won.index(True)} for n in range(50)]

    def test_an_id_that_is_published_between_two_looks_is_seen(self, birds):
        """A writer looks for it among what is pending and what is published: it is in one of them at every moment."""
        birds.insert_one({"_id": "owl"})
        table = birds._table
        number = table.pending_number("owl")

        class Publishing(dict[Any, int]):
            def get(self, key: Any, default: Any = None) -> Any:
                found = super().get(key, default)
                self[key] = number
                table._pending_numbers.pop(key, None)
                return found

        table._numbers, table._pending_numbers = Publishing(), {"owl": number}

        assert table.pending_number("owl") == number


class TestMemory:
    @pytest.mark.skipif(not extjson.HAS_MSGSPEC, reason="without msgspec documents are kept decoded")
    def test_a_load_takes_little_more_than_its_texts(self, directory):
        """No second copy of them is made, neither decoded nor as one long record."""
        store = EmbeddedStore(directory)
        birds = store.collection("birds", None, new=True)
        text = "x" * 2_000
        tracemalloc.start()
        try:
            birds.load({"_id": n, "text": text} for n in range(20_000))
            kept, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        store.close()

        # 40 MB of texts; beside them the keys, and the piece that is written.
        assert kept < 50_000_000
        assert most < 54_000_000
        assert list(birds.find(Find(limit=1))) == [{"_id": 0, "text": text}]
