"""A real server, killed with SIGKILL under concurrent writers, again and again: what it acknowledged is there."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests
from conftest import Collection, Server
from tinydb import TinyDB

ROUNDS = 8
WRITERS = 4
BATCH = 5
SECONDS = 25.0  # after which no further round is begun


@dataclass
class Writer:
    """
    Somebody who writes until the server is gone, and remembers.

    inserted: identities that were acknowledged; batches: numbers of batches that were; incremented: how often its
    counter was; tried: how often it asked.
    flying: one of the three, whose answer never came.
    """

    number: int
    inserted: list[str] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    incremented: int = 0
    flying: int = 0
    wrong: list[str] = field(default_factory=list)

    def write(self, collection: Collection, seed: int, round: int) -> None:
        """Write what chance says, until nobody answers."""
        chance = Random(f"{seed} {round} {self.number}")
        step = 0
        with requests.Session() as session:
            session.trust_env = False
            while True:
                step += 1
                name = f"{self.number}-{round}-{step}"
                what = chance.choice(("insert", "batch", "increment", "increment"))
                try:
                    if what == "insert":
                        answer = session.post(collection.url("write"), json={"_id": name}, timeout=10)
                    elif what == "batch":
                        batch = [{"_id": f"{name}-{each}", "batch": name} for each in range(BATCH)]
                        answer = session.post(collection.url("batchwrite"), json=batch, timeout=10)
                    else:
                        query = {"_id": f"counter-{self.number}"}
                        body = {"search query": query, "data": {"$inc": {"n": 1}}, "upsert": True}
                        answer = session.post(collection.url("updatewithupsert"), json=body, timeout=10)
                except requests.RequestException:
                    self.flying += what == "increment"
                    return
                if not answer.ok:
                    self.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
                    return
                if what == "insert":
                    self.inserted.append(name)
                elif what == "batch":
                    self.batches.append(name)
                else:
                    self.incremented += 1


def check(writers: list[Writer], found: list[Any], says: str) -> None:
    """Compare what is there with what each writer remembers."""
    known = {document["_id"]: document for document in found}
    assert len(known) == len(found), f"{says}: an _id is there twice"
    sizes: dict[str, int] = {}
    for document in found:
        if "batch" in document:
            sizes[document["batch"]] = sizes.get(document["batch"], 0) + 1
    assert {*sizes.values()} <= {BATCH}, f"{says}: a batch is half there"
    for writer in writers:
        assert not writer.wrong, f"{says}: {writer.wrong}"
        lost = [name for name in writer.inserted if name not in known]
        lost += [name for name in writer.batches if name not in sizes]
        assert not lost, f"{says}: writer {writer.number} misses {lost} of {len(writer.inserted + writer.batches)}"
        counter = known.get(f"counter-{writer.number}", {"n": 0})["n"]
        most = writer.incremented + writer.flying
        assert writer.incremented <= counter <= most, (
            f"{says}: counter {writer.number} is {counter}, and should be {writer.incremented} to {most}"
        )


@pytest.mark.parametrize("durability", ["full", "os"])
def test_what_was_acknowledged_survives_kill(
    servers: Callable[..., AbstractContextManager[Server]], tmp_path: Path, durability: str
) -> None:
    """Every document, every batch whole or not at all, every counter; then a clean stop leaves a plain TinyDB file."""
    seed = 5
    options = ("--checkpoint-writes", "20", "--durability", durability)
    data = tmp_path / "data"
    writers = [Writer(number) for number in range(WRITERS)]
    chance = Random(seed)
    started = time.monotonic()
    described: dict[str, Any] = {}
    rounds = 0
    for round in range(ROUNDS // 2):
        if time.monotonic() - started > SECONDS / 2:
            break
        rounds += 1
        says = f"seed {seed}, round {round}, {durability}"
        with servers(data, *options) as server:
            if not described:
                created = server.admin.request("POST", "", {"id": "birds"})
                assert created.status_code == 201, created.text
                described = created.json()
            collection = Collection(server, described)
            check(writers, collection.call("readwithquery", {}).json(), says)
            threads = [
                threading.Thread(target=writer.write, args=(collection, seed, round), daemon=True) for writer in writers
            ]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.2, 0.8))
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(10)
            for thread in threads:
                thread.join(15)
                assert not thread.is_alive(), f"{says}: a writer hangs"
            server.end()
    with servers(data, *options) as server:
        collection = Collection(server, described)
        found = collection.call("readwithquery", {}).json()
        check(writers, found, f"seed {seed}, {durability}, the end")
        collection.call("write", {"_id": "last"})
        assert server.end() == 0
    assert rounds
    acknowledged = sum(len(each.inserted) + len(each.batches) + each.incremented for each in writers)
    assert acknowledged > WRITERS * rounds, f"only {acknowledged} writes in {rounds} rounds"
    print(f"seed {seed}, {durability}: {rounds} kills, {acknowledged} writes acknowledged, 0 lost")
    with TinyDB(data / "birds.json") as database:
        assert database.all() == [*found, {"_id": "last"}]
    (journal,) = data.glob("birds.journal.*")
    assert journal.read_bytes().count(b"\n") == 1, "a clean stop left records in the journal"
