"""
The OpenAPI 3.1 document: every route, from the contract beside it and from the schemas that validate.

Nothing is said here of a single route.  No credential stands in the document, nor anything of the collections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from connectome import __version__, config, errors
from connectome.extjson import MAX_DEPTH
from connectome.query.accumulators import MAX_HELD
from connectome.query.expressions.arrays import MAX_VALUES
from connectome.query.expressions.strings import MAX_TEXT
from connectome.query.paths import MAX_PATH_INDEXES, MAX_PATH_PARTS
from connectome.query.patterns import MAX_PATTERN_BYTES
from connectome.query.pipeline import MAX_STAGES
from connectome.query.sort import MAX_SORT_FIELDS
from connectome.query.writes import MAX_PADDING
from connectome.web import atlas, contract, examples
from connectome.web.api import OPERATIONS, Operation
from connectome.web.atlas import ACTIONS, Action
from connectome.web.bodies import CANONICAL, JSON
from connectome.web.contract import FLAG, NUMBER, TEXT, Body, Contract, Opening, Parameter, Success, members
from connectome.web.guides import GUIDES, Guide
from connectome.web.problems import HEADERS, STATUS

if TYPE_CHECKING:
    from werkzeug.routing import Map, Rule

    from connectome.config import Settings

# The blueprints of pages for people.
PAGES: Final = ("console", "docs")
# The bounds that no setting moves: of what, how much is allowed, and the codes of what is more.
BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "levels of a body and of a document": (f"{MAX_DEPTH}", "`InvalidJSON`; `Overflow` where an update would make them"),
    "parts of a path; those that are numbers": (f"{MAX_PATH_PARTS}; {MAX_PATH_INDEXES}", "`Overflow`"),
    "fields of a sort": (f"{MAX_SORT_FIELDS}", "`Location13103`"),
    "stages of a pipeline": (f"{MAX_STAGES}", "`Location7749501`"),
    "bytes of a regular expression": (f"{MAX_PATTERN_BYTES}", "`Location51091`"),
    "nulls with which an update pads an array": (f"{MAX_PADDING}", "`CannotBackfillArray`"),
    "values that one expression makes; characters of one string that it makes": (
        f"{MAX_VALUES}; {MAX_TEXT}",
        "`ExceededMemoryLimit`",
    ),
    "documents that one stage of a pipeline holds": (f"{MAX_HELD}", "`QueryExceededMemoryLimitNoDiskUseAllowed`"),
}

_TAGS: Final[dict[Opening, str]] = {
    "read": "Operations",
    "write": "Operations",
    "administrator": "Administration",
    "metrics": "Server",
    "": "Server",
    "key": "Atlas Data API",
}


def _bearer(says: str) -> dict[str, str]:
    return {"type": "http", "scheme": "bearer", "description": says}


_KEY: Final = "A read or a write credential of the collection, or both, joined by a `+`."
# Any of them opens the route.
_SCHEMES: Final[dict[Opening, dict[str, dict[str, str]]]] = {
    "read": {"readCredential": _bearer("A read credential of the collection; the path then holds `-` in its place.")},
    "write": {
        "writeCredential": _bearer("A write credential of the collection; the path then holds `-` in its place.")
    },
    "administrator": {"administratorToken": _bearer("The administrator's token.")},
    "metrics": {"metricsToken": _bearer("The token of `CONNECTOME_METRICS_TOKEN`, or the administrator's.")},
    "key": {
        "dataApiKey": {"type": "apiKey", "in": "header", "name": "apiKey", "description": _KEY},
        "dataApiKeyHyphened": {"type": "apiKey", "in": "header", "name": "api-key", "description": _KEY},
        "dataApiBearer": _bearer(_KEY),
    },
}
_IN_PATH: Final[dict[str, dict[str, Any]]] = {
    "credential": {
        "description": "A credential of the collection, or `-` where it is sent as `Authorization: Bearer`.",
        "schema": TEXT,
        "example": "-",
    },
    "collection": {"description": "The id of a collection.", "schema": TEXT},
    "name": {"description": "The name of a credential: `read`, `write`, or one that was given.", "schema": TEXT},
    "path": {"description": "A dotted path of fields, without positions.", "schema": TEXT},
    "app": {"description": "The id of an application: not looked at.", "schema": TEXT, "example": "myapp-abcde"},
    "version": {
        "description": "Of that API: they are the same here.",
        "schema": {"type": "string", "enum": [*atlas.VERSIONS]},
        "example": atlas.VERSIONS[0],
    },
}
# Statuses that problems have and no error of ours: werkzeug's.
_STATUSES_OF_HTTP: Final = frozenset({411, 413, 415, 500})
_BY_BODY: Final = frozenset({400, 411, 413, 415})
_PROBLEM: Final = members(
    type={"type": "string", "format": "uri", "description": "`urn:connectome:` and the code."},
    title={"type": "string", "description": "The kind of error."},
    status={"type": "integer", "minimum": 400, "maximum": 599},
    detail={"type": "string", "description": "What was expected, and what came: for people."},
    code={"type": "string", "description": "For programs: MongoDB's code name where it has one."},
)
_PLACED: Final = {
    "pointer": {"type": "string", "description": "The place in the body that is to blame (RFC 6901)."},
    "errors": {
        "type": "array",
        "description": "422 only: each failure, with its pointer into the document.",
        "items": members(detail=TEXT, pointer=TEXT),
    },
    "_id": {"description": "422 only: the `_id` of the document that is there and would fail."},
}
_ATLAS_ERROR: Final = members(
    error={"type": "string", "description": "What was expected, and what came: for people."},
    error_code={"type": "string", "description": "For programs: as that service had it."},
    link={"type": "string", "format": "uri-reference", "description": "Where the console is."},
)
_MEANINGS: Final = {
    "WWW-Authenticate": "How to authenticate.",
    "Retry-After": "After how many seconds to try again.",
}


def document(url_map: Map, views: Mapping[str, Callable[..., Any]], settings: Settings, *, url: str) -> dict[str, Any]:
    """
    The document, as plain JSON.

    Args:
        views: By the name of their endpoint, as Flask has them.
        url: Where the server is reached; what is relative is so to where the document was found.
    """
    paths: dict[str, dict[str, Any]] = {}
    refusals: dict[str, dict[str, Any]] = {}
    for rule, declared, says in _described(url_map, views):
        kind, refusal = ("AtlasError", _atlas_error) if declared.opened_by == "key" else ("Problem", _problem)
        refused = {status: f"{kind}{status}" for status in sorted(_problems(rule, declared))}
        refusals |= {name: refusal(status) for status, name in refused.items() if name not in refusals}
        for method in sorted(methods(rule)):
            described = _operation(rule, declared, says, refused)
            if len(methods(rule)) > 1:
                described["operationId"] += f"_{method.lower()}"
            path = paths.setdefault(_path(rule), {})
            if method.lower() in path:
                raise ValueError(f"two routes are {method} {_path(rule)}")
            path[method.lower()] = described
    limits = {
        name: {"value": getattr(settings, name), "description": field.metadata["help"]}
        for name, field in config.described()
        if config.is_limit(name)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Connectome",
            "version": __version__,
            "summary": "JSON documents over plain HTTP with the MongoDB query language.",
            "description": _description(limits),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "tags": [{"name": name} for name in dict.fromkeys(_TAGS.values())],
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": {**_PROBLEM, "properties": _PROBLEM["properties"] | _PLACED},
                "AtlasError": _ATLAS_ERROR,
            },
            "responses": dict(sorted(refusals.items())),
            "securitySchemes": {name: scheme for schemes in _SCHEMES.values() for name, scheme in schemes.items()},
        },
        "x-limits": limits,
    }


def encoded(document: Any) -> bytes:
    """The document as it is read by people too."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def undescribed(url_map: Map, views: Mapping[str, Callable[..., Any]]) -> list[str]:
    """The routes, pages apart, that have no contract."""
    described = {rule.endpoint for rule, _, _ in _described(url_map, views)}
    return [
        f"{' '.join(sorted(methods(rule)))} {rule.rule}"
        for rule in url_map.iter_rules()
        if not is_page(rule) and rule.endpoint not in described
    ]


def methods(rule: Rule) -> set[str]:
    """The methods of a route that somebody declared; the others follow from them."""
    return (rule.methods or set()) - {"HEAD", "OPTIONS"}


def is_page(rule: Rule) -> bool:
    """Whether a route is for people, or for what there is not: no program is told of it."""
    return rule.endpoint.partition(".")[0] in PAGES or rule.endpoint == atlas.ENDPOINT


def _described(
    url_map: Map, views: Mapping[str, Callable[..., Any]]
) -> Iterator[tuple[Rule, Contract, tuple[str, str]]]:
    """
    Every route that has a contract, operations first, in the order in which they were added.

    Returns:
        Of each its contract, a title for it, and what else is to be said, which may be nothing.
    """
    for rule in sorted(url_map.iter_rules(), key=lambda rule: rule.endpoint not in OPERATIONS):
        if operation := OPERATIONS.get(rule.endpoint):
            guide = GUIDES[operation.name]
            yield rule, _contract(operation, guide), (guide.title, guide.says)
        elif action := _action(rule):
            yield rule, _contract_of_action(action), _split(action.says)
        elif not is_page(rule) and (declared := contract.of(views[rule.endpoint])):
            yield rule, declared, _split((views[rule.endpoint].__doc__ or "").strip().partition("\n")[0])


def _action(rule: Rule) -> Action | None:
    """The action of the Atlas Data API that a route leads to; None where it leads elsewhere."""
    leads = rule.endpoint.startswith(atlas.ENDPOINT)
    return ACTIONS.get(rule.endpoint.removeprefix(atlas.ENDPOINT)) if leads else None


def _contract_of_action(action: Action) -> Contract:
    """The contract of an action; what MongoDB refuses is 400 there, whatever it is."""
    body = Body(action.body.source, (JSON, CANONICAL), example=action.example)
    problems = {404} | ({507} if action.role == "write" else set())
    return Contract(action.success, body, problems=frozenset(problems), opened_by="key")


def _contract(operation: Operation, guide: Guide) -> Contract:
    """The contract of an operation of a collection."""
    body = None
    if operation.body:
        schema = operation.body.source
        keys = {each.name: each for each in guide.parameters if each.place == "body"}
        if keys:
            described = {name: _explained(each, keys[name]) for name, each in schema["properties"].items()}
            schema = {**schema, "properties": described}
        body = Body(schema, example=examples.body(operation.name, []))
    parameters = [
        Parameter(each.name, FLAG if each.type == "boolean" else _BOUND, each.says)
        for each in guide.parameters
        if each.place == "URL"
    ]
    problems = {400} | ({409, 422} if operation.role == "write" else set())
    if operation.name == "updatewithupsert":
        problems.add(404)
    return Contract(operation.success, body, tuple(parameters), frozenset(problems), operation.role)


# As many digits as a double holds.
_BOUND: Final = {**NUMBER, "maximum": 10**15 - 1}


def _explained(schema: dict[str, Any], key: Any) -> dict[str, Any]:
    default = {"default": json.loads(key.default)} if key.default else {}
    return {**schema, "description": key.says, **default}


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule)


def _problems(rule: Rule, declared: Contract) -> frozenset[int]:
    """Every status with which a route may refuse, or fail."""
    statuses = {*declared.problems, 500, 503}
    if declared.opened_by:
        statuses |= {401, 429}
    if declared.opened_by in ("read", "write") or methods(rule) != {"GET"}:
        statuses.add(403)
    if declared.opened_by == "administrator" and rule.arguments:
        statuses.add(404)
    if declared.body:
        statuses |= _BY_BODY
    if declared.opened_by not in ("read", "key") and methods(rule) != {"GET"}:
        statuses.add(507)
    return frozenset(statuses & (_STATUSES_OF_HTTP | {status for status, _ in STATUS.values()}))


def _operation(rule: Rule, declared: Contract, says: tuple[str, str], refused: Mapping[int, str]) -> dict[str, Any]:
    summary, rest = says
    described: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [_TAGS[declared.opened_by]],
        "summary": summary,
    }
    if rest:
        described["description"] = rest
    parameters = [
        {"name": name, "in": "path", "required": True, **_IN_PATH.get(name, {"schema": TEXT})}
        for name in re.findall(r"<(?:[^<>]*:)?(\w+)>", rule.rule)
    ]
    parameters += [
        {"name": each.name, "in": "query", "description": each.says, "schema": each.schema}
        for each in declared.parameters
    ]
    if parameters:
        described["parameters"] = parameters
    if declared.body:
        described["requestBody"] = _request_body(declared.body)
    described["responses"] = {
        str(declared.success.status): _success(declared.success),
        **{str(status): {"$ref": f"#/components/responses/{name}"} for status, name in refused.items()},
    }
    described["security"] = [{name: []} for name in _SCHEMES.get(declared.opened_by, ())]
    if "credential" in rule.arguments:
        # Or the credential stands in the path.
        described["security"].append({})
    return described


def _split(says: str) -> tuple[str, str]:
    """The first clause of a sentence, and the sentence where that is not all of it."""
    head = re.split(r"[;:,.] |\.$", says, maxsplit=1)[0]
    return head, says if len(says) > len(head) + 1 else ""


def _request_body(body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for form in body.forms:
        content[form] = {"schema": body.schema if form == JSON else {}}
        if form in (JSON, CANONICAL) and body.example is not None:
            content[form]["example"] = body.example
    return {"required": body.required, "content": content}


def _success(success: Success) -> dict[str, Any]:
    described: dict[str, Any] = {"description": success.says.replace("``", "`")}
    if success.schema is not None:
        # Canonical Extended JSON has an object where JSON has a number; all other forms are text.
        described["content"] = {
            form: {"schema": success.schema if form == JSON else {} if form.endswith("json") else TEXT}
            for form in success.forms
        }
    return described


def _problem(status: int) -> dict[str, Any]:
    """The answer to all that goes wrong with this status, with an example of each error of ours that does."""
    ours = [error for error, (mapped, _) in STATUS.items() if mapped == status != 500]
    found = {each.default_code: _example(each) for each in ours}
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if found:
        content["examples"] = {code: {"value": example} for code, example in found.items()}
    return _refused(status, ours, "application/problem+json", content)


def _atlas_error(status: int) -> dict[str, Any]:
    """The same answer to a program for the Atlas Data API, in which some other errors are 400."""
    ours = [error for error, (mapped, _) in STATUS.items() if mapped == status != 500]
    schema = {
        "allOf": [{"$ref": "#/components/schemas/AtlasError"}],
        "properties": {"error_code": {"enum": atlas.codes(status)}},
    }
    return _refused(status, ours, JSON, {"schema": schema})


def _refused(
    status: int, ours: Iterable[type[errors.ConnectomeError]], form: str, content: dict[str, Any]
) -> dict[str, Any]:
    titles = dict.fromkeys(STATUS[each][1] for each in ours)
    described: dict[str, Any] = {
        "description": "; or: ".join(titles) or HTTPStatus(status).phrase,
        "content": {form: content},
    }
    if headers := HEADERS.get(status):
        described["headers"] = {name: {"description": _MEANINGS[name], "schema": TEXT} for name, _ in headers}
    return described


def _example(error: type[errors.ConnectomeError]) -> dict[str, Any]:
    status, title = STATUS[error]
    code = error.default_code
    detail = (error.__doc__ or "").strip().partition("\n")[0]
    return {"type": f"urn:connectome:{code}", "title": title, "status": status, "detail": detail, "code": code}


def _description(limits: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands above the routes: how to begin, and the limits of this server."""
    rows = "\n".join(f"| `{name}` | {each['value']} | {each['description']} |" for name, each in limits.items())
    bounds = "\n".join(f"| {of} | {most} | {codes} |" for of, (most, codes) in BOUNDS.items())
    return (
        "Each collection has a read and a write credential. Put one in the path, or put `-` there and send it as "
        "`Authorization: Bearer`. Bodies are JSON, with MongoDB Extended JSON for the types that JSON lacks. Every "
        "error is `application/problem+json`, and a request that is refused changes nothing.\n\n"
        "Programs that were written for MongoDB's Atlas Data API have routes of their own, with the bodies and errors "
        "of that service.\n\n"
        f"## Limits of this server\n\n| setting | value | meaning |\n|---|---|---|\n{rows}\n\n"
        f"## Limits of the language\n\n| bound | most | code of what is more |\n|---|---|---|\n{bounds}\n"
    )
