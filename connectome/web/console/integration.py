"""
Integration → API: how programs reach a collection.

For each operation what it takes and answers, the errors as they really come, and a request from the collection's own
documents as code in every language of ``snippets``.  The reader may edit that request, and run it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, cast

from flask import Blueprint, Response, jsonify, request
from pygments.lexers import get_lexer_by_name
from pygments.token import Token

from connectome import extjson
from connectome.errors import InvalidJSON, InvalidRequest
from connectome.query import Document
from connectome.service import ROLES
from connectome.web import clients, examples, snippets
from connectome.web.api import OPERATIONS
from connectome.web.console import rehearsal, site
from connectome.web.console.queries import Fault, fault_in
from connectome.web.guides import GUIDES, Guide
from connectome.web.snippets import AUTHS, LANGUAGES, Auth

blueprint: Final = Blueprint("integration", __name__)

Coloured = list[tuple[str, str]]

_MASK: Final = "•" * 12
# What is coloured alike, by the most special kind of token that Pygments' is one of; the rest has no colour.
_COLOURS: Final = {
    Token.Comment: "comment",
    Token.Keyword: "word",
    Token.Keyword.Constant: "number",
    Token.Literal.Number: "number",
    Token.Literal.String: "string",
    Token.Name.Attribute: "key",
    Token.Name.Builtin: "key",
    Token.Name.Class: "key",
    Token.Name.Function: "key",
    Token.Name.Tag: "key",
    Token.Operator.Word: "word",
}
# Of an answer, what is shown as an example of it.
_MAX_ANSWER_LINES: Final = 24
_ANSWER_WIDTH: Final = 44


@dataclass(frozen=True)
class Failure:
    """
    A request that is refused, and why; shown where it is refused with this status.

    body: JSON text; None is the body of the example.
    """

    says: str
    status: int
    body: str | None = None
    method: str = ""
    role: str = ""
    parameters: str = ""


def failures(operation: str, documents: list[Document]) -> Iterator[Failure]:
    """What may go wrong with an operation, in the order in which people meet it."""
    first = next(iter(documents), {"_id": 1, "title": "foo"})
    name = next((name for name in first if name != "_id"), "title")
    taken = json.dumps({"_id": extjson.to_json(first["_id"], mode="stored")})
    if operation == "readwithquery":
        yield Failure("An operator is misspelt", 400, json.dumps({"query": {name: {"$gtt": 1}}}))
        yield Failure("A key of the body is misspelt", 400, json.dumps({"qury": {}}))
    if operation == "write":
        yield Failure("The _id is taken", 409, taken)
        yield Failure("The document does not satisfy the collection’s schema", 422, "{}")
        yield Failure("A number is beyond 64 bits", 400, json.dumps({name: 2**63}))
    if operation == "batchwrite":
        yield Failure("An _id is taken: nothing is written", 409, f'[{{"_id": "new"}}, {taken}]')
        yield Failure("A document does not satisfy the collection’s schema: nothing is written", 422, "[{}]")
        yield Failure("The array is wrapped in an object", 400, '{"documents": []}')
    if operation == "updatewithupsert":
        yield Failure("Nothing matches, and upsert is false", 404, '{"search query": {"_id": {"$in": []}}, "data": {}}')
        misspelt = {"search query": {}, "data": {"$st": {name: 1}}}
        yield Failure("An update operator is misspelt", 400, json.dumps(misspelt))
        yield Failure("“search query” is left out", 400, '{"data": {}}')
        yield Failure(
            "More would change than ?max_affected=0 allows: nothing is changed",
            409,
            json.dumps({"search query": {}, "data": {"$set": {name: "new"}}}),
            parameters="max_affected=0",
        )
    if operation == "batchdelete":
        yield Failure("There is no body: nothing is deleted", 400, "")
        yield Failure("An operator is misspelt", 400, json.dumps({name: {"$gtt": 1}}))
        yield Failure(
            "More would be deleted than ?max_affected=0 allows: nothing is deleted",
            409,
            "{}",
            parameters="max_affected=0",
        )
    if OPERATIONS[operation].body:
        yield Failure("The body is not JSON", 400, '{"a": }')
    yield Failure("The credential is not valid for this collection, or there is no such collection", 401, role="wrong")
    other = "read" if OPERATIONS[operation].role == "write" else "write"
    yield Failure("The credential is for the other role", 403, role=other)
    wrong = "PUT" if operation != "batchdelete" else "POST"
    yield Failure(f"The method is wrong: {wrong}", 405, method=wrong)


@dataclass(frozen=True)
class Asked:
    """
    What the reader has chosen.

    text: the body as it stands in the editor; sent: the same as JSON, None where it is none; fault: what is wrong.
    """

    operation: str
    language: str
    auth: Auth
    text: str
    sent: Any
    fault: Fault | None

    @property
    def guide(self) -> Guide:
        """What there is to know of the operation."""
        return GUIDES[self.operation]


@blueprint.get("/collections/<id>/integration")
def integration(id: str) -> Response:
    """How programs may reach a collection: choose one."""
    families = dict.fromkeys(language.family for language in LANGUAGES.values())
    described = site.service().describe(id)
    return site.render("integration.html", described=described, tab="Integration", families=families)


@blueprint.get("/collections/<id>/integration/api")
def api(id: str) -> Response:
    """The API of a collection; ``operation``, ``language``, ``auth``, ``body`` and ``show`` of the URL choose."""
    described = site.service().describe(id)
    documents = site.service().first_documents(id, examples.SAMPLE)
    asked = _asked(request.args, described, documents)
    operation = OPERATIONS[asked.operation]
    credential = described["credentials"][operation.role]
    shown = bool(request.args.get("show")) and credential is not None
    masked = credential if shown else _masked(credential, operation.role)
    example = examples.body(asked.operation, documents, described["schema"])
    with rehearsal.copy(documents, described["schema"]) as copy:
        answer = copy.ask(operation.method, asked.operation, _bytes(example), role=operation.role)
        refused = []
        for each in failures(asked.operation, documents):
            body = _bytes(example) if each.body is None else each.body.encode()
            came = copy.ask(
                each.method or operation.method,
                asked.operation,
                body,
                role=each.role or operation.role,
                parameters=each.parameters,
            )
            if came.status == each.status:
                refused.append((each, came, _coloured_json(came.body)))
    return site.render(
        "integration_api.html",
        described=described,
        tab="Integration",
        asked=asked,
        guides=GUIDES,
        operations=OPERATIONS,
        operation=operation,
        families=[(family, list(each)) for family, each in groupby(LANGUAGES.items(), lambda pair: pair[1].family)],
        language=LANGUAGES[asked.language],
        example=_pretty(example),
        credential=credential,
        mask=_masked(credential, operation.role),
        ending=site.service().credentials(id)[ROLES.index(operation.role)]["ending"],
        code=_code(described, asked, masked, example if asked.fault else asked.sent),
        path=["collection", asked.operation, masked if asked.auth == "url" else "-", id],
        shown=shown,
        answer=answer,
        answer_body=_coloured_json(answer.body),
        refused=refused,
    )


@blueprint.get("/collections/<id>/integration/requests.<any(http, postman):format>")
def requests(id: str, format: str) -> Response:
    """A file of requests, its credentials included, for an editor or Postman."""
    described = site.service().describe(id)
    chosen = clients.FORMATS[format]
    text = chosen.write(site.base_url(), described, site.service().first_documents(id, examples.SAMPLE))
    disposition = f'attachment; filename="{id}{chosen.ending}"'
    return Response(text, mimetype=chosen.media_type, headers={"Content-Disposition": disposition})


@blueprint.post("/collections/<id>/integration/api/snippet")
def snippet(id: str) -> Response:
    """The code for what a script of the page has read from its form, and what is wrong with the body."""
    described = site.service().describe(id)
    chosen = request.get_json(silent=True)
    documents = site.service().first_documents(id, examples.SAMPLE)
    asked = _asked(chosen if isinstance(chosen, dict) else {}, described, documents)
    operation = OPERATIONS[asked.operation]
    language = LANGUAGES[asked.language]
    masked = _masked(described["credentials"][operation.role], operation.role)
    return jsonify(
        code=None if asked.fault else _code(described, asked, masked, asked.sent),
        sent=None if asked.sent is None else json.dumps(asked.sent, ensure_ascii=False),
        fault=asked.fault,
        needs=language.needs,
        file=language.file,
        executed=language.executed,
    )


def _asked(chosen: Any, described: dict[str, Any], documents: list[Document]) -> Asked:
    """What was chosen; whatever is no choice is the first that there is."""
    operation = _choice(chosen.get("operation"), GUIDES)
    language = _choice(chosen.get("language"), LANGUAGES)
    auth = cast(Auth, _choice(chosen.get("auth"), AUTHS))
    example = examples.body(operation, documents, described["schema"])
    text = chosen.get("body")
    if example is None:
        return Asked(operation, language, auth, "", None, None)
    if type(text) is not str:
        return Asked(operation, language, auth, _pretty(example), example, None)
    try:
        sent = snippets.typed(text)
    except InvalidJSON as error:
        return Asked(operation, language, auth, text, None, fault_in(text, error))
    with rehearsal.copy(documents, described["schema"]) as copy:
        spoken = OPERATIONS[operation]
        answer = copy.ask(spoken.method, operation, _bytes(sent), role=spoken.role)
    # Other refusals depend on documents that the copy may lack, or hold already.
    if answer.status != 400:
        # What came in an address stands on one line.
        return Asked(operation, language, auth, text if "\n" in text else _pretty(sent), sent, None)
    refusal = InvalidRequest(answer.body["detail"], pointer=answer.body.get("pointer"))
    return Asked(operation, language, auth, text, sent, fault_in(text, refusal))


def _choice(given: Any, among: Any) -> str:
    return given if type(given) is str and given in among else next(iter(among))


def _code(described: dict[str, Any], asked: Asked, credential: str, body: Any) -> Coloured:
    """The snippet, coloured."""
    operation = OPERATIONS[asked.operation]
    text = snippets.render(
        asked.language,
        snippets.to_operation(
            site.base_url(),
            described["id"],
            operation.method,
            asked.operation,
            credential,
            auth=asked.auth,
            body=body,
        ),
    )
    return _coloured(text, LANGUAGES[asked.language].lexer)


def _coloured(text: str, lexer: str) -> Coloured:
    """Code in pieces of one colour: what names it, and the text."""
    spoken = get_lexer_by_name(lexer, stripnl=False, ensurenl=False)
    pieces = ((_colour(kind), text) for kind, text in spoken.get_tokens(text))
    return [(colour, "".join(text for _, text in each)) for colour, each in groupby(pieces, lambda piece: piece[0])]


def _colour(kind: Any) -> str:
    return next((_COLOURS[each] for each in reversed(kind.split()) if each in _COLOURS), "")


def _coloured_json(value: Any) -> Coloured:
    lines = snippets.write(value, snippets.JSON, width=_ANSWER_WIDTH).split("\n")
    cut = lines[:_MAX_ANSWER_LINES] + ["…"] * (len(lines) > _MAX_ANSWER_LINES)
    return _coloured("\n".join(cut), "json")


def _masked(credential: str | None, role: str) -> str:
    """What stands in code for a credential; for one that nobody knows any more, a word that the reader replaces."""
    return f"{role.upper()}_CREDENTIAL" if credential is None else credential[:3] + _MASK


def _pretty(value: Any) -> str:
    return "" if value is None else snippets.write(value, snippets.JSON)


def _bytes(value: Any) -> bytes:
    return b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
