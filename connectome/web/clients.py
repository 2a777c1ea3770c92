"""
A collection as a file for programs that send requests by hand: a Postman collection, or an ``.http`` file of editors.

Each operation with a body from the collection's own documents.  Address and credentials are variables at the top, so
that they are changed in one place.  What changes documents that are there is a dry run until the reader says otherwise:
these programs run a whole file at a click.  No Flask here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectome.query import Document
from connectome.web import examples, snippets
from connectome.web.api import OPERATIONS, Operation
from connectome.web.guides import GUIDES, Guide

_POSTMAN: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


@dataclass(frozen=True)
class _Call:
    """One request: path, with variables in double braces; parameters of the URL; body, "" where there is none."""

    guide: Guide
    operation: Operation
    path: str
    parameters: str
    body: str

    @property
    def variable(self) -> str:
        return f"{{{{{self.operation.role}}}}}"

    @property
    def url(self) -> str:
        return f"{{{{base}}}}{self.path}{self.parameters and '?'}{self.parameters}"


def _calls(documents: Sequence[Document], schema: Any) -> Iterator[_Call]:
    for name, guide in GUIDES.items():
        sent = examples.body(name, documents, schema)
        # Two braces in a text would be a variable; no others stand together where JSON opens something.
        body = "" if sent is None else snippets.write(sent, snippets.JSON).replace("{{", "{\\u007b")
        rehearsed = any(each.name == "dry_run" for each in guide.parameters)
        path = f"/collection/{name}/-/{{{{collection}}}}"
        yield _Call(guide, OPERATIONS[name], path, "dry_run=true" if rehearsed else "", body)


def _variables(base: str, described: Mapping[str, Any]) -> dict[str, str]:
    keys = {role: each or f"{role.upper()}_CREDENTIAL" for role, each in described["credentials"].items()}
    return {"base": base, "collection": described["id"], **keys}


def _http(base: str, described: Mapping[str, Any], documents: Sequence[Document]) -> str:
    """As the REST Client of Visual Studio Code and the HTTP client of JetBrains read it."""
    lines = [f"# {' '.join(described['title'].split())}", ""]
    lines += [f"@{name} = {value}" for name, value in _variables(base, described).items()]
    for call in _calls(documents, described["schema"]):
        lines += ["", f"### {call.guide.title}", f"# {call.guide.says}"]
        if call.parameters:
            lines.append("# Without dry_run=true it is done.")
        lines += [f"{call.operation.method} {call.url}", f"Authorization: Bearer {call.variable}"]
        if call.body:
            lines += ["Content-Type: application/json", "", call.body]
    return "\n".join(lines) + "\n"


def _postman(base: str, described: Mapping[str, Any], documents: Sequence[Document]) -> str:
    """As Postman and its relatives (Insomnia, Bruno, Hoppscotch) read it: version 2.1 of the format."""
    collection = {
        "info": {"name": described["title"], "schema": _POSTMAN},
        "variable": [{"key": name, "value": each} for name, each in _variables(base, described).items()],
        "item": [
            {
                "name": call.guide.title,
                "request": {
                    "description": call.guide.says,
                    "method": call.operation.method,
                    "auth": {"type": "bearer", "bearer": [{"key": "token", "value": call.variable, "type": "string"}]},
                    "header": [{"key": "Content-Type", "value": "application/json"}] if call.body else [],
                    "url": _url(call),
                    **({"body": _raw(call.body)} if call.body else {}),
                },
            }
            for call in _calls(documents, described["schema"])
        ],
    }
    return json.dumps(collection, ensure_ascii=False, indent=2) + "\n"


def _url(call: _Call) -> dict[str, Any]:
    url: dict[str, Any] = {"raw": call.url, "host": ["{{base}}"], "path": call.path[1:].split("/")}
    if call.parameters:
        url["query"] = [dict(zip(("key", "value"), call.parameters.split("="), strict=True))]
    return url


def _raw(body: str) -> dict[str, Any]:
    return {"mode": "raw", "raw": body, "options": {"raw": {"language": "json"}}}


@dataclass(frozen=True)
class Format:
    """
    A kind of file.

    write: from where the server is reached, a description of the collection, and its first documents, to the text.
    ending: of the name of a file.
    """

    write: Callable[[str, Mapping[str, Any], Sequence[Document]], str]
    ending: str
    media_type: str


FORMATS: Final[dict[str, Format]] = {
    "http": Format(_http, ".http", "text/plain"),
    "postman": Format(_postman, ".postman_collection.json", "application/json"),
}
