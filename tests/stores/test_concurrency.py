"""Threads that write, read and wait together: nothing is lost, nothing is shown that is taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from faulty import MemoryDisk, abandon, everything, opened
from tinydb import TinyDB

from connectome.errors import StoreFailed
from connectome.query import Filter, Update
from connectome.stores import Collection, Modify
from connectome.stores.embedded import EmbeddedStore

SECONDS = 20  # how long a test waits for what never comes, before it fails


class Gate:
    """
    A point of the disk at which the next call of a kind waits.

    reached: set when a call has come to it; opened: lets it go on.
    """

    def __init__(self, disk: MemoryDisk, call: str, name: str = "") -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self._call, self._name, self._disk = call, name, disk
        disk.before = self._wait

    def _wait(self, call: str, name: str) -> None:
        if call == self._call and self._name in name and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(SECONDS), f"nobody opened the gate at {call} {name}"


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def store(tmp_path: Path, disk: MemoryDisk) -> Iterator[EmbeddedStore]:
    store = opened(tmp_path / "data", disk)
    yield store
    disk.before = lambda _call, _name: None
    store.close()


@pytest.fixture
def birds(store: EmbeddedStore) -> Collection:
    """An empty collection."""
    return store.collection("birds", None, new=True)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def pending(store: EmbeddedStore, count: int) -> None:
    """Return when so many writes wait behind the one that is being synced."""
    table = store._tables["birds"]
    turn = threading.Event()
    for _ in range(SECONDS * 1000):
        if len(table._buffer) >= count:
            return
        turn.wait(0.001)
    raise AssertionError(f"{len(table._buffer)} writes wait, not {count}")


def results(futures: list[Future[Any]]) -> list[Any]:
    """The result of each, or its exception."""
    assert not wait(futures, SECONDS).not_done
    return [each.exception() or each.result() for each in futures]


def increment(identity: Any) -> Modify:
    return Modify(Filter({"_id": identity}), Update({"$inc": {"n": 1}}))


class TestGroupCommit:
    def test_writers_that_wait_together_share_one_sync(self, disk, store, birds, threads):
        """One that is being synced, twelve that wait meanwhile: two syncs."""
        gate = Gate(disk, "sync")
        before = disk.count("sync")
        first = threads.submit(birds.insert_one, {"_id": "first"})
        assert gate.reached.wait(SECONDS)
        others = [threads.submit(birds.insert_one, {"_id": number}) for number in range(12)]
        pending(store, 12)
        gate.opened.set()

        assert sorted(results(others)) == list(range(12))
        assert results([first]) == ["first"]
        assert disk.count("sync") - before == 2

    def test_they_are_published_in_the_order_of_the_journal(self, tmp_path, disk, store, birds, threads):
        """What is in memory is what a restart reads."""
        gate = Gate(disk, "sync")
        futures = [threads.submit(birds.insert_one, {"_id": "first"})]
        assert gate.reached.wait(SECONDS)
        for number in range(8):
            futures.append(threads.submit(birds.insert_many, [{"_id": (number * 7) % 8}, {"_id": -number - 1}]))
            pending(store, number + 1)
        gate.opened.set()
        results(futures)
        expected = ["first"]
        for number in range(8):
            expected += [(number * 7) % 8, -number - 1]

        assert [document["_id"] for document in everything(birds)] == expected
        image = disk.kill()
        again = opened(tmp_path / "again", _moved(image, tmp_path / "data", tmp_path / "again"))
        try:
            assert everything(again.collection("birds", None)) == everything(birds)
        finally:
            again.close()

    def test_a_reader_does_not_see_what_is_not_synced(self, disk, birds, threads):
        """Neither the document nor its count, until the sync has ended; and the reader waits for nobody."""
        gate = Gate(disk, "sync")
        write = threads.submit(birds.insert_one, {"_id": 1})
        assert gate.reached.wait(SECONDS)

        assert everything(birds) == []
        assert birds.count(Filter({})) == 0

        gate.opened.set()
        results([write])
        assert everything(birds) == [{"_id": 1}]

    def test_one_that_changes_nothing_waits_for_what_it_saw(self, disk, birds, threads):
        """An update that finds its work done by a write that is not synced answers no sooner than that one."""
        birds.insert_one({"_id": 1})
        gate = Gate(disk, "sync")
        write = threads.submit(birds.update, Modify(Filter({}), Update({"$set": {"a": 1}})))
        assert gate.reached.wait(SECONDS)
        disk.fail(1, "sync")
        same = threads.submit(birds.update, Modify(Filter({}), Update({"$set": {"a": 1}})))
        assert not wait([same], 0.05).done
        gate.opened.set()

        assert [type(each) for each in results([write, same])] == [StoreFailed, StoreFailed]


class TestFailure:
    @pytest.mark.parametrize("call", ["sync", "write"])
    def test_all_that_wait_fail_and_those_on_top_of_them(self, disk, store, birds, threads, call):
        """None of them is shown, now or later."""
        birds.insert_one({"_id": "c", "n": 0})
        gate = Gate(disk, call)
        futures = [threads.submit(birds.update, increment("c"))]
        assert gate.reached.wait(SECONDS)
        futures += [threads.submit(birds.update, increment("c")) for _ in range(5)]
        futures += [threads.submit(birds.insert_one, {"_id": number}) for number in range(5)]
        pending(store, 10)
        disk.fail(1, call)
        gate.opened.set()

        assert [type(each) for each in results(futures)] == [StoreFailed] * 11
        assert everything(birds) == [{"_id": "c", "n": 0}]

    def test_a_full_disk_fails_them_and_the_next_write_is_kept(self, tmp_path, disk, store, birds, threads):
        """Evaluated anew, on what is there."""
        birds.insert_one({"_id": "c", "n": 0})
        gate = Gate(disk, "write")
        futures = [threads.submit(birds.update, increment("c"))]
        assert gate.reached.wait(SECONDS)
        futures += [threads.submit(birds.update, increment("c")) for _ in range(3)]
        pending(store, 3)
        disk.fail(1, "write", 28, short=True)
        gate.opened.set()
        assert {type(each).__name__ for each in results(futures)} == {"NoSpace"}

        birds.update(increment("c"))

        assert everything(birds) == [{"_id": "c", "n": 1}]
        image = _moved(disk.kill(), tmp_path / "data", tmp_path / "again")
        again = opened(tmp_path / "again", image)
        try:
            assert everything(again.collection("birds", None)) == [{"_id": "c", "n": 1}]
        finally:
            again.close()

    def test_an_identity_that_failed_is_free_again(self, disk, birds):
        """Uniqueness knows nothing of what was not kept."""
        disk.fail(1, "write", 28)
        with pytest.raises(Exception, match="no space"):
            birds.insert_one({"_id": 1})

        assert birds.insert_one({"_id": 1}) == 1


class TestCheckpoints:
    @pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
    def test_readers_and_writers_go_on_during_one(self, disk, store, birds, threads, call):
        """While the data file is written nobody waits for it, and nothing is missing afterwards."""
        birds.insert_one({"_id": 1})
        gate = Gate(disk, call, "birds.json.tmp")
        checkpoint = threads.submit(store._tables["birds"].checkpoint)
        assert gate.reached.wait(SECONDS)

        birds.insert_one({"_id": 2})
        assert everything(birds) == [{"_id": 1}, {"_id": 2}]

        gate.opened.set()
        results([checkpoint])
        assert everything(birds) == [{"_id": 1}, {"_id": 2}]

    def test_a_kill_during_one_loses_nothing(self, tmp_path, disk, store, birds, threads):
        """Not what was there before it, nor what was written meanwhile."""
        birds.insert_one({"_id": 1})
        gate = Gate(disk, "rename", "birds.json.tmp")
        checkpoint = threads.submit(store._tables["birds"].checkpoint)
        assert gate.reached.wait(SECONDS)
        birds.insert_one({"_id": 2})
        images = [disk.kill(), *(disk.crash(seed) for seed in range(10))]
        gate.opened.set()
        results([checkpoint])

        for seed, image in enumerate(images):
            again = opened(tmp_path / "again", _moved(image, tmp_path / "data", tmp_path / "again"))
            try:
                assert everything(again.collection("birds", None)) == [{"_id": 1}, {"_id": 2}], f"seed {seed - 1}"
            finally:
                again.close()

    @pytest.mark.parametrize("durability", ["full", "os"])
    def test_no_increment_is_lost(self, tmp_path, durability):
        """Eight threads, a checkpoint every seven writes, a real disk; readers see only whole batches meanwhile."""
        store = EmbeddedStore(tmp_path / "data", durability=durability, checkpoint_writes=7)
        birds = store.collection("birds", None, new=True)
        birds.insert_many([{"_id": number, "n": 0, "all": 0} for number in range(4)])
        every = Modify(Filter({}), Update({"$inc": {"all": 1}}), multi=True)
        stop = threading.Event()
        torn: list[Any] = []

        def write(number: int) -> None:
            for _ in range(60):
                birds.update(increment(number % 4))
                birds.update(every)

        def read() -> None:
            last = 0
            while not stop.wait(0.001):
                seen = [document["all"] for document in everything(birds)]
                if len({*seen}) != 1 or seen[0] < last:
                    torn.append(seen)
                last = seen[0]

        with ThreadPoolExecutor(10) as threads:
            readers = [threads.submit(read) for _ in range(2)]
            try:
                written = results([threads.submit(write, number) for number in range(8)])
            finally:
                stop.set()
            results(readers)
        expected = [{"_id": number, "n": 120, "all": 480} for number in range(4)]

        assert written == [None] * 8
        assert torn == []
        assert everything(birds) == expected
        store.close()
        with TinyDB(tmp_path / "data" / "birds.json") as database:
            assert database.all() == expected

    def test_a_kill_at_any_moment_of_many_threads(self, tmp_path):
        """Images taken while eight threads write: each holds all that had been acknowledged by then."""
        disk = MemoryDisk()
        store = opened(tmp_path / "data", disk, checkpoint_writes=5)
        birds = store.collection("birds", None, new=True)
        acknowledged: list[int] = []
        images: list[tuple[set[int], MemoryDisk, int]] = []

        def take(disk: MemoryDisk) -> None:
            if len(disk.log) % 9 == 0:
                known = {*acknowledged}
                images.append((known, disk.kill(), -1))
                images.append((known, disk.crash(len(disk.log)), len(disk.log)))

        disk.after = take

        def write(number: int) -> None:
            for step in range(15):
                birds.insert_one({"_id": number * 100 + step})
                acknowledged.append(number * 100 + step)

        with ThreadPoolExecutor(8) as threads:
            assert results([threads.submit(write, number) for number in range(8)]) == [None] * 8
        disk.after = lambda _: None
        abandon(store, disk)
        for known, image, seed in images:
            again = opened(tmp_path / "data", image)
            try:
                found = [document["_id"] for document in everything(again.collection("birds", None))]
            finally:
                again.close()
            assert known <= {*found}, f"seed {seed}: {known - {*found}} of {len(known)} are lost"
            for number in range(8):
                own = [each % 100 for each in found if each // 100 == number]
                assert own == list(range(len(own))), f"seed {seed}: not in order"


def _moved(disk: MemoryDisk, old: Path, new: Path) -> MemoryDisk:
    """The same files in another directory, so that they may be read beside a store that is open."""
    disk._directories[new] = disk._directories.pop(old)
    return disk
