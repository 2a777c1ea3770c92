"""A power cut after every single call of the disk: what a restart finds in what is left."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faulty import MemoryDisk, abandon, opened, settle
from script import SCRIPT, Allowed, Model, found_in, restarted, run_step, short

from connectome.errors import ConnectomeError
from connectome.service import Service
from connectome.stores import embedded

SEEDS = 4


@dataclass
class Image:
    """
    A disk as a power cut left it.

    says: after which call, from which seed; step: how many steps were acknowledged, or under way, then.
    kept: how many were acknowledged.
    """

    says: str
    disk: MemoryDisk
    kept: int
    step: int


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that syncs once a second does so when it is told to, and not by chance."""
    monkeypatch.setattr(embedded, "SYNC_SECONDS", 3600.0)


def histories() -> list[Model]:
    """What there is before the first step, and after each."""
    model: Model = {}
    states: list[Model] = [{}]
    for step in SCRIPT:
        step.then(model)
        states.append(copy.deepcopy(model))
    return states


def images(directory: Path, durability: str, *, sync: bool = False) -> list[Image]:
    """The script with checkpoints, and a few power cuts after each call of the disk."""
    disk = MemoryDisk()
    taken: list[Image] = []
    kept = step = 0

    def take(disk: MemoryDisk) -> None:
        call, name = disk.log[-1]
        if call in ("names", "read", "modified_ns", "close"):
            return
        for number in range(SEEDS):
            seed = (durability, len(disk.log), number)
            taken.append(Image(f"seed {seed} after {call} {name}", disk.crash(seed), kept, step))

    disk.after = take
    service = Service(opened(directory, disk, durability=durability, checkpoint_writes=3))
    allowed = Allowed({}, {})
    for each in SCRIPT:
        step += 1
        assert run_step(service, each, allowed, durability) is None
        kept = step
        if sync and kept % 2:
            for table in [*service._store._tables.values()]:
                table.sync()
    service.close()
    return taken


def look(directory: Path, image: Image) -> dict[str, Any]:
    """What a restart finds; before it, whether every data file can be read by whoever opens it."""
    for name, content in image.disk.files(directory).items():
        if name.endswith(".json"):
            try:
                json.loads(content)
            except ValueError as error:
                raise AssertionError(f"{image.says}: {name} does not parse: {error}") from None
    return restarted(directory, image.disk, image.says)


def fail_with(wrong: list[str], tried: int) -> None:
    assert not wrong, f"{len(wrong)} of {tried} images:\n" + "\n".join(short(each)[:400] for each in wrong[:40])


class TestFull:
    def test_what_was_acknowledged_is_there(self, directory):
        """And what was not is there whole, at the end, or not at all."""
        states, taken, wrong = histories(), images(directory, "full"), []
        for image in taken:
            try:
                found = look(directory, image)
            except AssertionError as failure:
                wrong.append(str(failure))
                continue
            choices = (states[image.kept], states[image.step])
            if found not in choices:
                wrong.append(f"{image.says}: {found}, not one of {choices}")
        fail_with(wrong, len(taken))


class TestInterval:
    @pytest.mark.parametrize(("durability", "sync"), [("interval", True), ("os", False)])
    def test_each_collection_is_a_prefix(self, directory, durability, sync):
        """Of what was written to it, in order; none that was made is missing, none that was dropped is back."""
        states, taken, wrong = histories(), images(directory, durability, sync=sync), []
        for image in taken:
            try:
                found = look(directory, image)
            except AssertionError as failure:
                wrong.append(str(failure))
                continue
            for name in {*found, *states[image.kept]}:
                # From the creation on that the catalog knows of.
                past = [state.get(name) for state in states[: image.step + 1]]
                born = max((i for i, each in enumerate(past[: image.kept + 1]) if each is None), default=-1) + 1
                choices = past[min(born, image.kept) :]
                if found.get(name) not in choices:
                    wrong.append(f"{image.says}: {name} is {found.get(name)}, not one of {choices}")
        fail_with(wrong, len(taken))


class TestAgain:
    @pytest.mark.parametrize("durability", ["full", "interval", "os"])
    def test_a_power_cut_while_a_restart_recovers(self, directory, durability):
        """After a kill, or a torn tail: after every call of the recovery, what it had found or would find is there."""
        disk = MemoryDisk()
        service = Service(opened(directory, disk, durability=durability, checkpoint_writes=4))
        for step in SCRIPT:
            run_step(service, step, Allowed(copy.deepcopy(_model(service)), {}), durability)
        final = found_in(service)
        killed = disk.kill()
        torn = disk.kill()
        abandon(service._store, disk)
        for name, content in torn.files(directory).items():
            if ".journal." in name:
                torn.put(directory / name, content + b"0123abcd half of a rec")
        wrong, tried = [], 0
        states = histories()
        for name, image in {"kill": killed, "torn": torn}.items():
            cuts: list[tuple[str, MemoryDisk]] = []

            def take(disk: MemoryDisk, name: str = name, cuts: list[tuple[str, MemoryDisk]] = cuts) -> None:
                for number in range(8):
                    seed = (durability, name, len(disk.log), number)
                    cuts.append((f"seed {seed} after {disk.log[-1]}", disk.crash(seed)))

            image.after = take
            service = Service(opened(directory, image, durability=durability))
            image.after = lambda _: None
            assert found_in(service) == final
            abandon(service._store, image)
            for says, cut in cuts:
                tried += 1
                try:
                    found = restarted(directory, cut, says)
                except AssertionError as failure:
                    wrong.append(str(failure))
                    continue
                for each in {*found, *final}:
                    past = [final[each]] if durability == "full" else [state.get(each) for state in states]
                    if found.get(each) not in past:
                        wrong.append(f"{says}: {each} is {found.get(each)}")
        fail_with(wrong, tried)

    def test_what_a_cut_leaves_can_be_made_again(self, directory):
        """A creation or a drop that a power cut interrupts: its name can be had afterwards."""
        disk = MemoryDisk()
        cuts: list[tuple[str, MemoryDisk]] = []

        def take(disk: MemoryDisk) -> None:
            for number in range(SEEDS):
                seed = (len(disk.log), number)
                cuts.append((f"seed {seed} after {disk.log[-1]}", disk.crash(seed)))

        service = Service(opened(directory, disk))
        disk.after = take
        service.create(id="birds")
        service.drop("birds")
        disk.after = lambda _: None
        service.close()
        wrong = []
        for says, cut in cuts:
            try:
                service = Service(opened(directory, cut))
                try:
                    if "birds" not in service._entries:
                        service.create(id="birds")
                    found = found_in(service)
                finally:
                    service.close()
                if found != {"birds": []}:
                    wrong.append(f"{says}: {found}")
            except ConnectomeError as failure:
                wrong.append(f"{says}: {type(failure).__name__} {failure} {[*cut.files(directory)]}")
        fail_with(wrong, len(cuts))


def _model(service: Service) -> Model:
    settle(service._store)
    return found_in(service)
