"""TinyDB as it comes: a JSON file that is read for each question and written anew for each write."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from tinydb import Query, TinyDB, where
from tinydb.operations import increment
from tinydb.queries import QueryLike

from benchmarks.documents import Document
from benchmarks.peers import Cannot, dumps


def _compound(year: int, rating: float, language: str, cities: list[str], votes: int) -> QueryLike:
    film = Query()
    condition: QueryLike = (
        (film.year >= year)
        & film.rating.test(lambda value: value is not None and value > rating)
        & (film.language != language)
        & film.address.city.one_of(cities)
        & (film.votes < votes)
    )
    return condition


_QUERIES: Final[dict[str, Callable[..., QueryLike]]] = {
    "range": lambda low, high: (where("amount") >= low) & (where("amount") < high),
    "half": lambda low: where("amount") >= low,
    "compound": _compound,
    "member": lambda genre: where("genres").any([genre]),
    "dotted": lambda city: Query().address.city == city,
    "cast": lambda role: Query().cast.any(Query().role == role),
    "prefix": lambda start: where("title").matches(re.escape(start)),
    "limit": lambda year: where("year") >= year,
    "point": lambda identity: where("_id") == identity,
}


class Tiny:
    """The default table of a TinyDB file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fill(self, documents: Sequence[Document]) -> None:
        self.open()
        self._tiny.insert_multiple(documents)

    def open(self) -> None:
        self._tiny = TinyDB(self._directory / "tiny.json")

    def find(self, question: str, arguments: Sequence[Any], find: dict[str, Any]) -> bytes:
        found = self._tiny.search(_QUERIES[question](*arguments)) if question in _QUERIES else self._tiny.all()
        match question:
            case "limit":
                found = sorted(found, key=itemgetter("amount"), reverse=True)[:10]
            case "sort":
                found = sorted(found, key=itemgetter("amount"))
            case "keys":
                found = sorted(found, key=lambda film: (-film["year"], film["amount"]))
            case "projection":
                return dumps([{"_id": f["_id"], "title": f["title"], "amount": f["amount"]} for f in found])
        return dumps(list(map(dict, found)))

    def update(self, code: str) -> None:
        self._tiny.update(increment("votes"), where("code") == code)

    def insert(self, document: Document) -> None:
        self._tiny.insert(document)

    def batch(self, documents: Sequence[Document], schema: dict[str, Any] | None) -> None:
        if schema:
            raise Cannot("no schemas")
        with TinyDB(self._directory / "batch.json") as batch:
            batch.truncate()
            batch.insert_multiple(documents)

    def delete(self, low: float, high: float) -> int:
        return len(self._tiny.remove(_QUERIES["range"](low, high)))

    def close(self) -> None:
        self._tiny.close()
