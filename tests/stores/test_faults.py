"""A disk that fails at the n-th call, for every n: what is acknowledged is kept, nothing else is ever half there."""

from __future__ import annotations

import errno
import json
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from faulty import MemoryDisk, abandon, everything, opened, settle
from script import SCRIPT, Allowed, create, drop, found_in, insert, restarted, run_step

from connectome.errors import NoSpace, StoreError, StoreFailed
from connectome.query import Filter, Update
from connectome.service import Service
from connectome.stores import Modify
from connectome.stores.journal import JournalFiles, Recovery


def calls_of_the_script(directory: Path) -> int:
    """How many calls of the disk the script makes when none fails, from the start to the clean stop."""
    disk = MemoryDisk()
    service = Service(opened(directory, disk, checkpoint_writes=3))
    allowed = Allowed({}, {})
    for step in SCRIPT:
        assert run_step(service, step, allowed, "without a fault") is None
    service.close()
    calls = len(disk.log)
    assert restarted(directory, disk, "without a fault") == allowed.certain
    return calls


def start(directory: Path, disk: MemoryDisk) -> Service | None:
    """A service; None where the disk refuses one."""
    try:
        store = opened(directory, disk, checkpoint_writes=3)
    except StoreError:
        return None
    try:
        return Service(store)
    except StoreError:
        store.close()
        return None


def run_with_a_fault(directory: Path, n: int, *, error: int, once: bool, short: bool) -> None:
    """The script on a disk whose n-th call fails; then a kill and a power cut, each after a clean stop and without."""
    disk = MemoryDisk()
    disk.fail(n, error=error, once=once, short=short)
    says = f"call {n}, {errno.errorcode[error]}, {'once' if once else 'from then on'}, short={short}"
    allowed = Allowed({}, {})
    service = start(directory, disk)
    if service is None:
        disk.heal()
        service = start(directory, disk)
        assert service, f"{says}: it does not start when the disk works again"
    unknown = False
    for position, step in enumerate(SCRIPT):
        here = f"{says} ({disk.log[n - 1] if len(disk.log) >= n else 'not yet'}), step {position}"
        failed = run_step(service, step, allowed, here)
        unknown |= isinstance(failed, StoreFailed)
        if failed and position in (0, 4, 11) and not isinstance(failed, NoSpace):
            # A creation: without it there is nothing to see in what follows.
            run_step(service, step, allowed, here + " again")
        if once and isinstance(failed, NoSpace):
            assert run_step(service, step, allowed, here + " again") is None, f"{here}: no service when there is room"
    here = f"{says} ({disk.log[n - 1] if len(disk.log) >= n else 'not yet'})"
    disk.heal()
    if not unknown:
        for step in (create("late"), insert("late", {"_id": 1}), drop("bees"), drop("birds")):
            assert run_step(service, step, allowed, here + " healed") is None, f"{here}: no service when there is room"
    images = {"kill": disk.kill(), "power cut": disk.crash((n, error, once, short))}
    service.close()
    images["clean stop"] = disk.kill()
    images["clean stop, power cut"] = disk.crash((n, error, once, short))
    for name, image in images.items():
        allowed.check(restarted(directory, image, f"{here}, {name}"), f"{here}, {name}")


class TestEveryCall:
    @pytest.mark.parametrize("once", [True, False], ids=["once", "from-then-on"])
    @pytest.mark.parametrize(("error", "short"), [(errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, True)])
    def test_the_nth_call_fails(self, directory, error, short, once):
        """Every answer is success or a StoreError, and a restart finds exactly what was acknowledged."""
        faults = calls_of_the_script(directory)
        wrong = []
        for n in range(1, faults + 1):
            try:
                run_with_a_fault(directory / str(n), n, error=error, once=once, short=short)
            except Exception as failure:
                said = f"{type(failure).__name__}: {failure}".partition("\nassert")[0][:500]
                place = traceback.extract_tb(failure.__traceback__)[-4:]
                wrong.append(f"call {n}: {said} in {' < '.join(each.name for each in reversed(place))}")
        assert not wrong, f"{len(wrong)} of {faults}:\n" + "\n".join(wrong)

    @pytest.mark.parametrize(
        "call", ["write", "sync", "create", "append", "rename", "unlink", "sync_directory", "truncate", "close"]
    )
    def test_each_kind_of_call_fails_for_good_in_a_collection_that_works(self, directory, call):
        """Whatever is refused from then on, reads go on, and what was acknowledged is found again."""
        disk = MemoryDisk()
        service = Service(opened(directory, disk, checkpoint_writes=3))
        allowed = Allowed({}, {})
        for step in SCRIPT[:4]:
            run_step(service, step, allowed, call)
        disk.fail(1, call, once=False)
        for step in SCRIPT[4:]:
            run_step(service, step, allowed, call)
        image = disk.kill()
        abandon(service._store, disk)
        allowed.check(restarted(directory, image, call), call)


class TestNoSpace:
    def test_nothing_is_left_of_the_write(self, directory):
        """The journal is as long as before, no reader sees the document, and the next write comes in its place."""
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        birds.insert_one({"_id": 1})
        before = disk.files(directory)
        disk.fail(1, "write", errno.ENOSPC, once=False, short=True)

        with pytest.raises(NoSpace):
            birds.insert_many([{"_id": 2}, {"_id": 3}])
        assert disk.files(directory) == before
        assert everything(birds) == [{"_id": 1}]

        disk.heal()
        birds.insert_one({"_id": 2})
        assert everything(birds) == [{"_id": 1}, {"_id": 2}]
        store.close()
        assert json.loads(disk.content(directory / "birds.json"))["_default"] == {"1": {"_id": 1}, "4": {"_id": 2}}

    def test_a_start_without_room_serves_what_is_there(self, directory):
        """Recovery has no room for new files: reads are answered, and writes come back with the room."""
        disk = MemoryDisk()
        store = opened(directory, disk)
        store.collection("birds", None, new=True).insert_many([{"_id": 1}, {"_id": 2}])
        full = disk.kill()
        abandon(store, disk)
        full.fail(1, "write", errno.ENOSPC, once=False)

        store = opened(directory, full)
        birds = store.collection("birds", None)
        assert everything(birds) == [{"_id": 1}, {"_id": 2}]
        with pytest.raises(NoSpace):
            birds.insert_one({"_id": 3})

        full.heal()
        birds.insert_one({"_id": 4})
        assert everything(birds) == [{"_id": 1}, {"_id": 2}, {"_id": 4}]
        image = full.kill()
        abandon(store, full)
        assert everything(opened(directory, image).collection("birds", None)) == [{"_id": 1}, {"_id": 2}, {"_id": 4}]

    def test_a_checkpoint_without_room_goes_on_journalling(self, directory):
        """Writes are acknowledged, no temporary file is left, and nothing is lost."""
        disk = MemoryDisk()
        store = opened(directory, disk, checkpoint_writes=2)
        birds = store.collection("birds", None, new=True)
        disk.fail(1, "create", errno.ENOSPC, once=False)
        for number in range(10):
            birds.insert_one({"_id": number})
            settle(store)
        assert not [name for name in disk.files(directory) if name.endswith(".tmp")]
        disk.heal()
        store.close()

        assert len(json.loads(disk.content(directory / "birds.json"))["_default"]) == 10

    def test_a_collection_that_found_no_room_can_be_made_when_there_is(self, directory):
        """For whichever call the room was missing."""
        for n in range(1, 60):
            disk = MemoryDisk()
            service = Service(opened(directory / str(n), disk))
            disk.fail(n, error=errno.ENOSPC, once=True, short=True)
            try:
                service.create(id="birds", documents=[{"_id": 1}])
            except NoSpace:
                service.create(id="birds", documents=[{"_id": 1}])
            except StoreFailed:
                pass
            else:
                assert disk.failures == 0 or n > 10, f"call {n} failed, and nobody was told"
            service.close()


class TestFailedSync:
    @pytest.fixture
    def poisoned(self, directory: Path) -> Any:
        disk = MemoryDisk()
        store = opened(directory, disk)
        birds = store.collection("birds", None, new=True)
        birds.insert_one({"_id": 1})
        disk.fail(1, "sync")
        with pytest.raises(StoreFailed):
            birds.insert_one({"_id": 2})
        yield disk, store, birds
        store.close()

    def test_no_later_sync_is_believed(self, poisoned):
        """Every write is refused from then on, although the disk works again."""
        _, _, birds = poisoned

        for _ in range(3):
            with pytest.raises(StoreFailed):
                birds.insert_one({"_id": 3})
        with pytest.raises(StoreFailed):
            birds.update(Modify(Filter({}), Update({"$set": {"a": 1}})))
        with pytest.raises(StoreFailed):
            birds.delete_many(Filter({}))

    def test_reads_go_on_without_the_write(self, poisoned):
        """What is not known to be kept is not shown."""
        _, _, birds = poisoned

        assert everything(birds) == [{"_id": 1}]

    def test_others_are_not_concerned(self, poisoned):
        """Another collection of the same store takes writes."""
        _, store, _ = poisoned

        bees = store.collection("bees", None, new=True)
        bees.insert_one({"_id": 1})

        assert everything(bees) == [{"_id": 1}]

    def test_a_restart_finds_what_was_acknowledged(self, poisoned, directory):
        """The write itself may be there, whole; after a power cut as well as after a clean stop."""
        disk, store, _ = poisoned
        images = [disk.crash(seed) for seed in range(20)]
        store.close()
        for seed, image in enumerate([*images, disk.kill()]):
            again = opened(directory, image)
            try:
                found = everything(again.collection("birds", None))
            finally:
                again.close()
            assert found in ([{"_id": 1}], [{"_id": 1}, {"_id": 2}]), f"seed {seed}"

    def test_what_a_restart_serves_survives_a_power_cut(self, poisoned, directory):
        """It goes into new files: the cache of the old ones is not what the disk has."""
        disk, store, _ = poisoned
        image = disk.kill()
        abandon(store, disk)
        again = opened(directory, image)
        served = everything(again.collection("birds", None))
        after = image.crash("after the restart")
        abandon(again, image)
        again = opened(directory, after)
        try:
            assert everything(again.collection("birds", None)) == served
        finally:
            again.close()

    def test_a_checkpoint_that_was_asked_for_before_does_not_hide_it(self, poisoned, directory):
        """Whatever call of it fails, what was acknowledged is found again."""
        disk, store, _ = poisoned
        for n in range(1, 12):
            disk.heal()
            disk.fail(n)
            for table in store._tables.values():
                with suppress(StoreError):
                    table.checkpoint()
            disk.heal()
            again = disk.kill()
            says = f"call {n}: {again.files(directory)}"
            assert _birds(directory, again) in ([{"_id": 1}], [{"_id": 1}, {"_id": 2}]), says


def _birds(directory: Path, disk: MemoryDisk) -> Any:
    """The birds as the files of another disk have them, read beside the store that is open."""
    return [*Recovery(JournalFiles(disk, directory / "birds.json")).read().state.rows().values()]


class TestCatalog:
    """What a restart finds right after a creation, or a drop, that was not acknowledged."""

    @pytest.mark.parametrize("once", [True, False], ids=["once", "from-then-on"])
    def test_a_creation_that_failed_is_whole_or_not_there(self, directory, once):
        """No collection is named whose files are gone."""
        wrong = []
        for n in range(1, 60):
            disk = MemoryDisk()
            service = Service(opened(directory / str(n), disk))
            allowed = Allowed({}, {})
            run_step(service, create("bees", {"_id": 0}), allowed, "")
            disk.fail(n, once=once)
            with suppress(StoreError):
                service.create(id="birds", documents=[{"_id": 1}])
            failed, call = disk.failures, disk.log[-1]
            image = disk.kill()
            abandon(service._store, disk)
            found = restarted(directory / str(n), image, f"call {n}")
            if found not in ({"bees": [{"_id": 0}]}, {"bees": [{"_id": 0}], "birds": [{"_id": 1}]}):
                wrong.append(f"call {n} ({call}): {found}")
            if not failed:
                break
        assert not wrong, "\n".join(wrong)

    @pytest.mark.parametrize("once", [True, False], ids=["once", "from-then-on"])
    def test_a_drop_that_failed_loses_no_later_write(self, directory, once):
        """As long as the service has the collection, what it acknowledges is found by a restart."""
        wrong = []
        for n in range(1, 60):
            disk = MemoryDisk()
            service = Service(opened(directory / str(n), disk))
            allowed = Allowed({}, {})
            run_step(service, create("bees", {"_id": 0}), allowed, "")
            run_step(service, create("birds", {"_id": 1}), allowed, "")
            disk.fail(n, once=once)
            with suppress(StoreError):
                service.drop("birds")
            failed = disk.failures
            call = disk.log[-1]
            disk.heal()
            expected = [{"bees": [{"_id": 0}]}, {"bees": [{"_id": 0}], "birds": [{"_id": 1}]}]
            if "birds" in service._entries:
                with suppress(StoreError):
                    insert("birds", {"_id": 2}).do(service)
                    expected = [{"bees": [{"_id": 0}], "birds": [{"_id": 1}, {"_id": 2}]}]
            image = disk.kill()
            abandon(service._store, disk)
            found = restarted(directory / str(n), image, f"call {n}")
            if found not in expected:
                wrong.append(f"call {n} (last {call}): {found}")
            if not failed:
                break
        assert not wrong, "\n".join(wrong)

    def test_a_rotation_that_failed_leaves_one_of_the_two(self, directory):
        """A restart opens with the key that the service takes, or the one to come; the other key stays."""
        for n in range(1, 12):
            disk = MemoryDisk()
            service = Service(opened(directory / str(n), disk))
            before = service.create(id="birds")["credentials"]
            disk.fail(n)
            with suppress(StoreError):
                service.rotate("birds", "read")
            image = disk.kill()
            now = service.describe("birds")["credentials"]
            abandon(service._store, disk)
            service = Service(opened(directory / str(n), image))
            after = service.describe("birds")["credentials"]
            service.close()
            assert after["write"] == before["write"] == now["write"]
            if not disk.failures:
                assert after == now != before
                break


class TestDrop:
    def test_a_checkpoint_that_waits_does_not_bring_it_back(self, directory):
        """A collection that is dropped, and made anew, while a checkpoint of the old one waits its turn."""
        disk = MemoryDisk()
        service = Service(opened(directory, disk, checkpoint_writes=2))
        allowed = Allowed({}, {})
        run_step(service, create("bees"), allowed, "")
        run_step(service, create("birds", {"_id": "old"}), allowed, "")
        gate = threading.Event()
        service._store._background.submit(gate.wait)
        writer = service.writer(service.describe("birds")["credentials"]["write"], "birds")
        for number in range(4):
            writer.insert_one({"_id": number})
        service.drop("birds")
        service.create(id="birds", documents=[{"_id": "new"}])
        gate.set()
        settle(service._store)

        assert found_in(service) == {"bees": [], "birds": [{"_id": "new"}]}
        image = disk.kill()
        abandon(service._store, disk)
        assert restarted(directory, image, "after the drop") == {"bees": [], "birds": [{"_id": "new"}]}

    def test_nothing_is_left(self, directory):
        """No file of it, and its name can be had again."""
        disk = MemoryDisk()
        service = Service(opened(directory, disk, checkpoint_writes=1))
        allowed = Allowed({}, {})
        run_step(service, create("birds", {"_id": 1}), allowed, "")
        run_step(service, insert("birds", {"_id": 2}), allowed, "")
        service.drop("birds")

        assert [name for name in disk.files(directory) if name.startswith("birds")] == []
        service.create(id="birds")
        service.close()
