"""What is measured: one row of the tables each, and what Connectome is meant to reach in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["cold", "warm", "open", "memory", "update", "delete", "batch", "insert"]


@dataclass(frozen=True)
class Row:
    """
    One row.

    number: as docs/performance.md explains it.
    kind: how it is measured; see ``run``.
    question: of ``QUESTIONS``, where it is one.
    threads: for inserts, how many write at the same time.
    schema: for batches, whether the documents are checked.
    at_largest: measured at the largest size of a run only, since it hardly depends on it.
    shown: the cost as a time, as how many a second, or as bytes.
    hand, raw, peer: how many times better than hand, than the raw append, than the best Python peer with MongoDB's
        language Connectome is meant to be at 100,000 documents; 0 where nothing is said.
    most: the highest cost that is meant, where the goal is absolute.
    """

    name: str
    number: str
    title: str
    kind: Kind
    question: str = ""
    threads: int = 0
    schema: bool = False
    at_largest: bool = False
    shown: Literal["time", "rate", "bytes"] = "time"
    hand: float = 0
    raw: float = 0
    peer: float = 1
    most: float = 0


ROWS: Final[dict[str, Row]] = {
    row.name: row
    for row in [
        Row("range-first", "1a", "range 1 %, first question", "cold", "range", hand=0.8, peer=5),
        Row("range", "1a", "range 1 %, asked again", "warm", "range", hand=50, peer=300),
        Row("half", "1b", "range 50 % to JSON", "warm", "half", hand=1.7, peer=30),
        Row("compound-first", "2", "compound, five paths, first question", "cold", "compound", hand=0.7),
        Row("compound", "2", "compound, asked again", "warm", "compound", hand=2.5, peer=50),
        Row("member-first", "2", "array member, first question", "cold", "member", hand=0.8),
        Row("member", "2", "array member, asked again", "warm", "member", hand=50),
        Row("dotted-first", "2", "dotted path, first question", "cold", "dotted", hand=0.8),
        Row("dotted", "2", "dotted path, asked again", "warm", "dotted", hand=50),
        Row("cast-first", "2", "array of documents, first question", "cold", "cast", hand=0.55),
        Row("cast", "2", "array of documents, asked again", "warm", "cast", hand=50),
        Row("prefix-first", "2", "regex prefix, first question", "cold", "prefix", hand=0.8),
        Row("prefix", "2", "regex prefix, asked again", "warm", "prefix", hand=2.5),
        Row("limit-first", "3", "filter, sort, limit 10, first question", "cold", "limit", hand=0.85),
        Row("limit", "3", "filter, sort, limit 10, asked again", "warm", "limit", hand=2.5, peer=8),
        Row("sort", "4", "sort all", "warm", "sort", hand=2, peer=20),
        Row("keys", "4", "sort all, two keys", "warm", "keys", hand=2, peer=20),
        Row("projection", "5", "projection of two", "warm", "projection", hand=1, peer=60),
        Row("point", "6", "one by _id", "warm", "point", shown="rate", peer=13, most=1 / 100_000),
        Row("update", "7", "update by equality", "update", shown="rate", raw=0.6, peer=200),
        Row("insert-1", "8", "insert one, 1 thread", "insert", threads=1, shown="rate", raw=0.7),
        Row("insert-8", "8", "insert one, 8 threads", "insert", threads=8, at_largest=True, shown="rate", peer=0),
        Row(
            "insert-64",
            "8",
            "insert one, 64 threads",
            "insert",
            threads=64,
            at_largest=True,
            shown="rate",
            raw=2,
            peer=0,
        ),
        Row(
            "batch",
            "9",
            "batch of 10,000, a document",
            "batch",
            at_largest=True,
            shown="rate",
            peer=24,
            most=1 / 120_000,
        ),
        Row(
            "batch-schema",
            "9",
            "the same with a JSON Schema",
            "batch",
            schema=True,
            at_largest=True,
            shown="rate",
            peer=0,
            most=1 / 60_000,
        ),
        Row("delete", "10", "delete 1 % by a filter", "delete", hand=5, peer=25, most=0.015),
        Row("open", "11", "open to first answer", "open", hand=1 / 0.45, peer=0),
        Row("memory", "12", "memory, a document", "memory", shown="bytes", most=900),
    ]
}


@dataclass(frozen=True)
class Route:
    """
    One row over HTTP, at 10,000 documents.

    question: of ``QUESTIONS``; empty where every document is asked for, or one is created.
    limit: how many documents are wanted, where the question does not say; 0 is all.
    ceiling, json_server: how many times the requests of the bare Flask application on the same server, and of
        json-server, are meant.
    """

    name: str
    ceiling: float
    json_server: float
    question: str = ""
    limit: int = 0


ROUTES: Final[dict[str, Route]] = {
    route.name: route
    for route in [
        Route("one", 0.7, 1.2, "point"),
        Route("page", 0.7, 1.2, limit=10),
        Route("filter-limit", 0.5, 30, "dotted", limit=10),
        Route("filter-sort-limit", 0.5, 50, "limit"),
        Route("filter-1pct", 0.4, 30, "range"),
        Route("create", 0.5, 100),
    ]
}
