"""A script of requests to a service, and the model that says what must be there after each."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faulty import MemoryDisk, everything, opened, settle

from connectome.errors import CollectionExists, NoSpace, StoreError, StoreFailed
from connectome.query import Filter, Update
from connectome.service import Service
from connectome.stores import Modify

# id → documents in natural order; a collection that is not there is not in it.
Model = dict[str, list[Any]]


@dataclass(frozen=True)
class Step:
    """
    One request.

    collection: which it is for; do: what is asked of the service; then: what it makes of the model.
    """

    collection: str
    do: Callable[[Service], object]
    then: Callable[[Model], None]


def documents_of(service: Service, name: str) -> Any:
    """The documents of a collection, in natural order."""
    read = service.describe(name)["credentials"]["read"]
    return everything(service.reader(read, name))


def _writer(service: Service, name: str) -> Any:
    return service.writer(service.describe(name)["credentials"]["write"], name)


def create(name: str, *documents: Any) -> Step:
    def then(model: Model) -> None:
        model[name] = list(documents)

    return Step(name, lambda service: service.create(id=name, documents=documents), then)


def insert(name: str, *documents: Any) -> Step:
    def then(model: Model) -> None:
        model[name] = model[name] + list(documents)

    return Step(name, lambda service: _writer(service, name).insert_many(documents), then)


def load(name: str, *documents: Any) -> Step:
    """What comes one by one and is kept by a new data file; an ``_id`` that is taken is replaced."""

    def then(model: Model) -> None:
        fresh = {document["_id"]: document for document in documents}
        there = [fresh.pop(document["_id"], document) for document in model[name]]
        model[name] = [*there, *fresh.values()]

    def do(service: Service) -> None:
        service.import_documents(name, iter(documents), on_duplicate="replace")

    return Step(name, do, then)


def increment(name: str) -> Step:
    def then(model: Model) -> None:
        model[name] = [{**document, "n": document["n"] + 1} for document in model[name]]

    modify = Modify(Filter({}), Update({"$inc": {"n": 1}}), multi=True)
    return Step(name, lambda service: _writer(service, name).update(modify), then)


def delete(name: str, identity: Any) -> Step:
    def then(model: Model) -> None:
        model[name] = [document for document in model[name] if document["_id"] != identity]

    return Step(name, lambda service: _writer(service, name).delete_many(Filter({"_id": identity})), then)


def drop(name: str) -> Step:
    def then(model: Model) -> None:
        model.pop(name, None)

    return Step(name, lambda service: service.drop(name) if name in _names(service) else None, then)


def title(name: str, text: str) -> Step:
    # Of no collection's documents: an answer to it says nothing of a write before it.
    return Step("", lambda service: service.change(name, {"title": text}), lambda model: model[name] and None)


def _names(service: Service) -> list[str]:
    return [each["id"] for each in service.collections()]


def bird(identity: Any, **fields: Any) -> Any:
    return {"_id": identity, "n": 0, **fields}


SCRIPT = [
    create("birds"),
    insert("birds", bird(1)),
    insert("birds", bird(2), bird(3, text="x" * 700), bird("ü\0\n")),
    increment("birds"),
    create("bees", bird("b1"), bird("b2")),
    insert("bees", bird("b3")),
    delete("birds", 2),
    insert("birds", bird(4, text="y" * 1200)),
    increment("birds"),
    drop("bees"),
    insert("birds", bird(5)),
    create("bees", bird("b9")),
    increment("bees"),
    title("birds", "Birds of the shore"),
    increment("birds"),
    insert("birds", bird(6), bird(7)),
    increment("birds"),
    load("birds", bird(3, text="y" * 900), bird(8), bird(9, text="x" * 700)),
    insert("birds", bird(10)),
]


@dataclass
class Allowed:
    """
    What may be found.

    certain: what was acknowledged; perhaps: collection → what it may be instead (None: not there), after a request
    whose outcome is not known, until the next one that is acknowledged.
    """

    certain: Model
    perhaps: dict[str, list[Any] | None]

    def copy(self) -> Allowed:
        return Allowed(copy.deepcopy(self.certain), copy.deepcopy(self.perhaps))

    def check(self, found: dict[str, Any], says: str) -> None:
        """Fail where what is found is neither certain nor perhaps."""
        for name in {*found, *self.certain, *self.perhaps}:
            choices = [self.certain.get(name)]
            if name in self.perhaps:
                choices.append(self.perhaps[name])
            assert found.get(name) in choices, short(f"{says}: {name} is {found.get(name)}, not one of {choices}")


def short(text: str) -> str:
    """A message without its long texts."""
    return re.sub(r"([xy])\1{20,}", r"\1…", text)


def found_in(service: Service) -> dict[str, Any]:
    """Collection → documents, or why they cannot be had."""
    found: dict[str, Any] = {}
    names = [*service._entries]
    for name in names:
        try:
            found[name] = documents_of(service, name)
        except StoreError as error:
            found[name] = f"barred: {getattr(error, 'damage', error)}"
    return found


def run_step(service: Service, step: Step, allowed: Allowed, says: str) -> StoreError | None:
    """Do a step, note what may be there after it, and compare with what the service says; the error, if there was."""
    after = copy.deepcopy(allowed.certain)
    try:
        step.then(after)
    except KeyError:
        return None
    error: StoreError | None = None
    there = step.collection in service._entries
    try:
        step.do(service)
    except NoSpace as refused:
        error = refused
    except CollectionExists as taken:
        if there:
            # A drop before it was refused, and the collection goes on.
            return None
        assert step.collection in allowed.perhaps, f"{says}: nothing was left that could be in the way"
        error = StoreFailed(taken.detail)
    except StoreFailed as failed:
        error = failed
        present = step.collection in service._entries
        if not present and step.collection in allowed.certain:
            # Of a drop whose outcome is not known: nobody sees the collection now, and a restart may.
            allowed.perhaps[step.collection] = allowed.certain.pop(step.collection)
        else:
            allowed.perhaps.setdefault(step.collection, after.get(step.collection))
    else:
        if after != allowed.certain:
            # What changed something stands on whatever was kept before it.
            allowed.perhaps.pop(step.collection, None)
        allowed.certain = after
    settle(service._store)
    found = found_in(service)
    assert found == allowed.certain, short(f"{says}: the service has {found}, and should have {allowed.certain}")
    return error


def restarted(directory: Path, disk: MemoryDisk, says: str) -> dict[str, Any]:
    """What a restart finds: collection → documents."""
    try:
        service = Service(opened(directory, disk))
    except StoreError as error:
        raise AssertionError(short(f"{says}: it does not start: {error.detail}; {disk.files(directory)}")) from error
    try:
        return found_in(service)
    finally:
        service.close()
