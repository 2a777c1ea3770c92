"""The documents and the questions: the same for every peer and in every run, since both come from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

Document = dict[str, Any]

_SEED: Final = 20_260_729
_TOP_AMOUNT: Final = 10_000

_FIRST = ["Silent", "Broken", "Golden", "Hidden", "Northern", "Paper", "Winter", "Second", "Burning", "Distant"]
_SECOND = ["River", "House", "Garden", "Mirror", "Letter", "Harbour", "Orchard", "Station", "Signal", "Island"]
_MOODS = ["Nordic", "Gothic", "Slow", "Screwball", "Cosmic", "Urban", "Rural", "Silent", "Musical", "Surreal"]
_KINDS = ["Noir", "Comedy", "Drama", "Western", "Thriller", "Romance", "Horror", "Fable", "Epic", "Mystery"]
_PLACES = ["Oslo", "Turin", "Lagos", "Quito", "Hanoi", "Leeds", "Porto", "Sofia", "Perth", "Osaka"]
_CITIES = [f"{place} {side}".strip() for place in _PLACES for side in ("", "North", "South", "East", "West")]
_STREETS = ["Mill Lane", "Station Road", "Church Street", "Harbour Way", "Old Market"]
_NAMES = ["Ada", "Bela", "Chidi", "Dora", "Emil", "Fatou", "Goran", "Hana", "Ivo", "Jun"]
_FAMILIES = ["Okafor", "Lindqvist", "Moreau", "Tanaka", "Novak", "Silva", "Keller", "Byrne"]
_ROLES = [f"{who} {number}" for who in ("detective", "pianist", "sailor", "teacher", "thief") for number in range(20)]
_LANGUAGES = ["en", "no", "it", "fr", "ja", "pt", "de", "es"]
_RATINGS: Final = (None, *(step / 2 for step in range(2, 21)))


def documents(size: int) -> Iterator[Document]:
    """
    Films: 473 bytes of JSON each on average, 11 to 15 top-level fields, an address, 2 to 5 of cast.

    Beginning with the same one, so that a larger collection holds the smaller one.  ``amount`` and ``code`` differ in
    every document; ``rating`` is a number, null, or missing.
    """
    source = random.Random(_SEED)
    pick, below = source.choice, source.random
    for number in range(size):
        document: Document = {
            "_id": f"film{number:08d}",
            "title": f"{pick(_FIRST)} {pick(_SECOND)} {int(below() * 1000)}",
            "code": f"{number * 7919 % 100_000_007:09d}",
            "year": 1930 + int(below() * 96),
            "amount": round(below() * _TOP_AMOUNT, 8),
            "votes": int(below() * 100_000),
            "language": pick(_LANGUAGES),
            "genres": [f"{pick(_MOODS)} {pick(_KINDS)}" for _ in range(1 + int(below() * 3))],
            "address": {
                "street": f"{1 + int(below() * 200)} {pick(_STREETS)}",
                "city": pick(_CITIES),
                "zip": f"{int(below() * 100_000):05d}",
            },
            "cast": [
                {"name": f"{pick(_NAMES)} {pick(_FAMILIES)}", "role": pick(_ROLES)} for _ in range(2 + int(below() * 4))
            ],
            "restored": below() < 0.3,
        }
        if below() < 0.8:
            document["rating"] = pick(_RATINGS)
        if below() < 0.5:
            document["studio"] = f"{pick(_SECOND)} Pictures"
        if below() < 0.36:
            document["tagline"] = f"Nobody leaves the {pick(_FIRST).lower()} {pick(_SECOND).lower()}"
        if below() < 0.3:
            document["awards"] = {"won": int(below() * 5), "nominated": int(below() * 12)}
        yield document


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["title", "code", "year", "amount", "genres", "address", "cast"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "code": {"type": "string", "pattern": "^[0-9]{9}$"},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
        "amount": {"type": "number", "minimum": 0},
        "rating": {"type": ["number", "null"]},
        "genres": {"type": "array", "items": {"type": "string"}},
        "address": {
            "type": "object",
            "required": ["city"],
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        },
        "cast": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "role"],
                "properties": {"name": {"type": "string"}, "role": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True)
class Question:
    """
    One question, in as many variants as are asked in turn, so that no peer answers from what it answered before.

    arguments: what a variant asks for, given its number and the size of the collection.
    find: the question about such arguments in MongoDB's words: filter, projection, sort, limit.
    """

    name: str
    arguments: Callable[[int, int], tuple[Any, ...]]
    find: Callable[..., dict[str, Any]]

    def variants(self, size: int) -> list[dict[str, Any]]:
        """Every variant, as the peers' processes take it."""
        given = [self.arguments(variant, size) for variant in range(VARIANTS)]
        return [{"arguments": list(arguments), "find": self.find(*arguments)} for arguments in given]


# Stock TinyDB keeps the answers to the last ten questions.
VARIANTS: Final = 12


def span(variant: int) -> tuple[float, float]:
    """A range of ``amount`` that holds one document in a hundred; no two overlap."""
    low = 137.0 + variant * 800
    return low, low + _TOP_AMOUNT / 100


def _between(low: float, high: float) -> dict[str, Any]:
    return {"filter": {"amount": {"$gte": low, "$lt": high}}}


def _prefix(variant: int, size: int) -> tuple[str]:
    return (f"{_FIRST[variant % 10]} {_SECOND[variant * 7 % 9]} ",)


QUESTIONS: Final[dict[str, Question]] = {
    question.name: question
    for question in [
        Question("range", lambda variant, size: span(variant), _between),
        Question(
            "half",
            lambda variant, size: (_TOP_AMOUNT / 2 + variant * 7.0,),
            lambda low: {"filter": {"amount": {"$gte": low}}},
        ),
        Question(
            "compound",
            lambda variant, size: (1950 + variant, 6, _LANGUAGES[variant % 8], _CITIES[variant : variant + 20], 50_000),
            lambda year, rating, language, cities, votes: {
                "filter": {
                    "year": {"$gte": year},
                    "rating": {"$gt": rating},
                    "language": {"$ne": language},
                    "address.city": {"$in": cities},
                    "votes": {"$lt": votes},
                }
            },
        ),
        Question(
            "member",
            lambda variant, size: (f"{_MOODS[variant % 10]} {_KINDS[(variant * 3 + variant // 10) % 10]}",),
            lambda genre: {"filter": {"genres": genre}},
        ),
        Question("dotted", lambda variant, size: (_CITIES[variant],), lambda city: {"filter": {"address.city": city}}),
        Question("cast", lambda variant, size: (_ROLES[variant * 7],), lambda role: {"filter": {"cast.role": role}}),
        Question("prefix", _prefix, lambda start: {"filter": {"title": {"$regex": f"^{start}"}}}),
        Question(
            "limit",
            lambda variant, size: (1980 + variant,),
            lambda year: {"filter": {"year": {"$gte": year}}, "sort": {"amount": -1}, "limit": 10},
        ),
        Question("sort", lambda variant, size: (), lambda: {"filter": {}, "sort": {"amount": 1}}),
        Question("keys", lambda variant, size: (), lambda: {"filter": {}, "sort": {"year": -1, "amount": 1}}),
        Question(
            "projection",
            lambda variant, size: (),
            lambda: {"filter": {}, "projection": {"_id": 1, "title": 1, "amount": 1}},
        ),
        Question(
            "point",
            lambda variant, size: (f"film{(variant * 7919 + 13) % size:08d}",),
            lambda identity: {"filter": {"_id": identity}},
        ),
    ]
}
