"""
Bodies for the operations of a collection, made from its own documents: fields that are there, values that find some.

No Flask here: the console and the command line show the same examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from connectome import extjson
from connectome.query import Document
from connectome.schemas import Schema

# How many documents an example is made from.
SAMPLE: Final = 100

_NAME: Final = re.compile(r"[^$.\s][^.]*")
_LONGEST: Final = 60
_FIELDS: Final = 6
# What stands in the examples of a collection that is empty.
_INVENTED: Final = {"title": "foo", "amount": 1}


def body(operation: str, documents: Sequence[Document], schema: Any = None) -> Any:
    """
    What to send to an operation: plain JSON; None where it takes no body.

    Args:
        operation: Its name in the API.
        documents: The first of the collection, up to ``SAMPLE``.
        schema: The collection's JSON Schema, where it has one: what is to be written satisfies it, where a document
            without its ``_id`` does.
    """
    return _BODIES[operation](list(documents), schema)


def _query(documents: list[Document], _: Any) -> Any:
    number, text = _field(documents, _is_number), _field(documents, _is_text)
    kind = _field(documents, _is_category, but=text)
    ranked = [each for each in documents if number and _is_number(each.get(number))]
    ranked.sort(key=lambda each: each[number or ""])
    # One that stands high, but not alone, when all are sorted by that number.
    chosen = ranked[len(ranked) * 2 // 3] if ranked else next(iter(documents), {})
    query: dict[str, Any] = {}
    if kind and _is_category(chosen.get(kind)):
        query[kind] = chosen[kind][0] if isinstance(chosen[kind], list) else chosen[kind]
    if number and ranked:
        query[number] = {"$gte": chosen[number]}
    elif not query and text and _is_text(chosen.get(text)):
        query[text] = chosen[text]
    asked: dict[str, Any] = {"query": extjson.to_json(query)}
    if shown := [name for name in (text, number) if name]:
        asked["project"] = dict.fromkeys(shown, 1)
    if number:
        asked["sort"] = {number: -1}
    return {**asked, "limit": 5}


def _document(documents: list[Document], schema: Any) -> Any:
    return next(_new(documents, schema), _INVENTED)


def _batch(documents: list[Document], schema: Any) -> Any:
    return [*_new(documents[:2], schema)] or [_INVENTED, {"title": "bar", "amount": 2}]


def _new(documents: list[Document], schema: Any) -> Iterator[Any]:
    """What could be written beside these documents: the first fields of each, or all, where the schema wants them."""
    compiled = Schema(True if schema is None else schema)
    for document in documents:
        whole = {name: value for name, value in extjson.to_json(document, mode="stored").items() if name != "_id"}
        short = dict([pair for pair in whole.items() if _is_short(pair[1])][:_FIELDS])
        if fitting := next((each for each in (short, whole) if each and not compiled.failures(each)), None):
            yield fitting


def _update(documents: list[Document], _: Any) -> Any:
    if not documents:
        return {"search query": {"title": "foo"}, "data": {"amount": 1}, "upsert": True}
    search = _one_of(documents, _)
    counter = _field(documents, lambda value: type(value) is int, but=next(iter(search)), last=True)
    data = {"$inc": {counter: 1}} if counter else {"$set": {"checked": True}}
    return {"search query": search, "data": data, "upsert": True}


def _one_of(documents: list[Document], _: Any) -> Any:
    """A filter that finds one of the documents, or few."""
    if not documents:
        return {"title": "foo"}
    text = _field(documents, _is_text)
    first = next((each for each in documents if text and _is_text(each.get(text))), documents[0])
    return extjson.to_json({text: first[text]} if text and text in first else {"_id": first["_id"]}, mode="stored")


def _nothing(_: list[Document], __: Any) -> None:
    return None


_BODIES: Final = {
    "readwithquery": _query,
    "read": _nothing,
    "write": _document,
    "batchwrite": _batch,
    "updatewithupsert": _update,
    "batchdelete": _one_of,
}


def _field(documents: list[Document], fits: Any, *, but: str | None = None, last: bool = False) -> str | None:
    """The first field, or the ``last``, that fits in most documents."""
    counts: dict[str, int] = {}
    for document in documents:
        for name, value in document.items():
            if name not in ("_id", but) and _NAME.fullmatch(name) and fits(value):
                counts[name] = counts.get(name, 0) + 1
    common = [name for name, count in counts.items() if count * 2 >= len(documents)]
    return common[-1 if last else 0] if common else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def _is_category(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_short(value: Any) -> bool:
    return len(extjson.dumps(value)) <= _LONGEST
