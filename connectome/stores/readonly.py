"""A store to be read alone: whatever would write to it is refused, wherever in the program it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final, NoReturn, cast

from connectome.errors import ReadOnly
from connectome.query import Filter
from connectome.schemas import Schema
from connectome.stores.base import NO_GUARD, Collection, Deleted, Guard, Ledger, Modified, Modify, Reader, Store

READS: Final = frozenset(name for name in vars(Reader) if not name.startswith("_"))


def read_only(store: Store) -> Store:
    """The same store, which refuses every write; a dry run, which writes nothing, is none."""
    return cast(Store, _Store(store))


def refuse_write() -> NoReturn:
    """
    Refuse, whatever it is.

    Raises:
        ReadOnly: Always.
    """
    raise ReadOnly("this server was started with --read-only: it answers what is there, and changes nothing")


class _ReadSide:
    """
    What of a thing is known not to write, which goes on to the thing itself; all else is refused when it is looked up.

    harmless: the names of what goes on.
    """

    harmless: ClassVar[frozenset[str]]

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        if name in self.harmless:
            return getattr(self._thing, name)
        # Python itself asks for what need not be there, such as ``__deepcopy__``.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        refuse_write()


class _Store(_ReadSide):
    harmless = frozenset({"name", "place", "shared", "schema", "holds", "close"})

    def collection(self, name: str, schema: Schema | None, *, new: bool = False) -> Collection:
        if new:
            refuse_write()
        return cast(Collection, _Collection(self._thing.collection(name, schema), shared=self._thing.shared))

    def ledger(self, name: str) -> Ledger:
        ledger: Ledger = self._thing.ledger(name)
        # The administrator's token is made at the first start, also of a server that only reads.
        return ledger if name == "administrator" else cast(Ledger, _Ledger(ledger))


class _Ledger(_ReadSide):
    harmless = frozenset({"name", "load", "changed"})


class _Collection(_ReadSide):
    harmless = READS | {"size", "changed", "indexes", "figures"}

    def __init__(self, thing: Collection, *, shared: bool) -> None:
        super().__init__(thing)
        self._shared = shared

    def pin(self, paths: Iterable[str]) -> None:
        # What is pinned stands in the catalog, whose change is refused.  A store of this process alone is told of it
        # when a collection is opened, and keeps it in memory; a database would make an index.
        if not self._shared:
            self._thing.pin(paths)

    def update(self, modify: Modify, guard: Guard = NO_GUARD) -> Modified:
        if not guard.dry_run:
            refuse_write()
        return cast(Modified, self._thing.update(modify, guard))

    def delete_many(self, filter: Filter, guard: Guard = NO_GUARD) -> Deleted:
        if not guard.dry_run:
            refuse_write()
        return cast(Deleted, self._thing.delete_many(filter, guard))
