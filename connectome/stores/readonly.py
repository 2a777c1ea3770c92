"""A store to be read alone: whatever would write to it is refused, wherever in the program it is asked for."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from connectome.errors import ReadOnly
from connectome.query import Filter
from connectome.schemas import Schema
from connectome.stores.base import NO_GUARD, Collection, Deleted, Guard, Ledger, Modified, Modify, Store


def read_only(store: Store) -> Store:
    """The same store, which refuses every write; a dry run, which writes nothing, is none."""
    return cast(Store, _Store(store))


def refuse_write(*_: object, **__: object) -> NoReturn:
    """
    Refuse, whatever it is.

    Raises:
        ReadOnly: Always.
    """
    raise ReadOnly("this server was started with --read-only: it answers what is there, and changes nothing")


class _ReadSide:
    """What of a thing does not write, which goes on to the thing itself."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


class _Store(_ReadSide):
    drop = staticmethod(refuse_write)

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> Collection:
        if new:
            refuse_write()
        return cast(Collection, _Collection(self._thing.collection(name, schema)))

    def ledger(self, name: str) -> Ledger:
        ledger: Ledger = self._thing.ledger(name)
        # The administrator's token is made at the first start, also of a server that only reads.
        return ledger if name == "administrator" else cast(Ledger, _Ledger(ledger))


class _Ledger(_ReadSide):
    save = staticmethod(refuse_write)


class _Collection(_ReadSide):
    insert_one = insert_many = load = delete_one = set_schema = staticmethod(refuse_write)

    def update(self, modify: Modify, guard: Guard = NO_GUARD) -> Modified:
        if not guard.dry_run:
            refuse_write()
        return cast(Modified, self._thing.update(modify, guard))

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        if not guard.dry_run:
            refuse_write()
        return cast(Deleted, self._thing.delete_many(filter, guard))
