"""The documents of a collection: found by a query, shown, added, edited, deleted, imported and exported."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState

from connectome import extjson, formats, inference, relaxed
from connectome.errors import (
    DuplicateKey,
    InvalidJSON,
    InvalidRequest,
    NoMatch,
    QueryError,
    RequestError,
    SchemaViolation,
    TooManyAffected,
    UpdateError,
)
from connectome.query import Document, Filter, Update
from connectome.query.conditions import FIELD_OPERATORS, TOP_LEVEL_OPERATORS
from connectome.query.deadline import deadline
from connectome.query.update import OPERATORS
from connectome.query.values import is_number
from connectome.stores import Collection, Example, Find, Guard, Modify
from connectome.web.console import importing, queries, site, values
from connectome.web.console.deleted import Bin

blueprint: Final = Blueprint("documents", __name__)

# Of wider documents the first columns are shown, and the others can be chosen.
MAX_COLUMNS: Final = 20
MAX_CHOICES: Final = 500
MAX_NAME: Final = 200


@blueprint.record_once
def _remember_deleted(state: BlueprintSetupState) -> None:
    state.app.extensions["connectome.deleted"] = Bin()


def _deleted() -> Bin:
    return cast(Bin, current_app.extensions["connectome.deleted"])


@blueprint.get("/collections/<id>")
def page(id: str) -> Response:
    """The documents that the query of the address finds."""
    described = site.service().describe(id)
    collection = site.service().collection(id)
    query = queries.read(request.args)
    found: list[Document] = []
    shown: list[Document] = []
    suspects: list[queries.Suspect] = []
    total = 0
    started = time.perf_counter()
    if query.find:
        blamed = "filter"
        try:
            with deadline(site.settings().max_time_seconds):
                total = _length(collection, query.find, described["count"])
                if total:
                    found = list(collection.find(queries.one_page(query, query.find, total)))
                blamed = "project"
                shown = [query.find.projection(document) for document in found]
        except RequestError as error:
            query.blame(blamed, error)
            found = shown = []
    seconds = time.perf_counter() - started
    if query.find and query.find.filter.source and not total and described["count"] and not query.faults:
        suspects = _suspects(collection, query.find.filter)
    names = list(dict.fromkeys(name for document in shown for name in document))
    chosen = [name for name in names if name in query.columns] or names[:MAX_COLUMNS]
    base = f"/collections/{id}"
    undo = request.args.get("undo", "")
    return site.render(
        "documents.html",
        400 if query.faults else 200,
        described=described,
        tab="Documents",
        query=query,
        base=base,
        here=query.address("", page=query.page if query.page > 1 else None),
        total=total,
        milliseconds=seconds * 1000,
        rows=_rows(base, query, found, shown, chosen) if query.view == "table" else [],
        cards=_cards(base, query, found, shown) if query.view == "json" else [],
        names=names[:MAX_CHOICES],
        unnamed=max(0, len(names) - MAX_CHOICES),
        columns=[(name, *_sorting(query, base, name), _is_numeric(name, shown)) for name in chosen],
        suspects=suspects,
        pages=max(1, -(-total // query.size)),
        sizes=queries.PAGE_SIZES,
        code=_code_address(base, query),
        undo=undo if _deleted().get(id, undo) else "",
    )


def _length(collection: Collection, find: Find, everything: int | None) -> int:
    """How many documents the answer to a question holds; ``everything`` is how many there are, where that is known."""
    matching = collection.count(find.filter) if find.filter.source or everything is None else everything
    count = max(0, matching - find.skip)
    return min(count, find.limit) if find.limit else count


def _suspects(collection: Collection, filter: Filter) -> list[queries.Suspect]:
    try:
        with deadline(site.settings().max_time_seconds):
            return queries.suspects(collection, filter)
    except QueryError:
        # The page has its answer; only the reason for it took too long to find.
        return []


def _sorting(query: queries.Query, base: str, name: str) -> tuple[str, str]:
    """How a column is sorted, and the address that sorts by it; none where its name is no path."""
    if not _is_path(name):
        return "none", ""
    state, sort = query.sorted_by(name)
    return state, query.address(base, sort=sort)


def _is_numeric(name: str, shown: list[Document]) -> bool:
    return all(is_number(document[name]) for document in shown if name in document)


def _is_path(name: str) -> bool:
    """Whether the name of a field can stand in a filter or a sort by itself, and in an address."""
    return 0 < len(name) <= MAX_NAME and "." not in name and not name.startswith("$")


def _document_address(base: str, query: queries.Query, document: Document) -> str:
    back = query.address("", page=query.page if query.page > 1 else None)
    return f"{base}/document?" + urlencode(
        {"_id": values.identity(document["_id"]), **({"back": back} if back else {})}
    )


def _rows(
    base: str, query: queries.Query, found: list[Document], shown: list[Document], names: list[str]
) -> list[dict[str, Any]]:
    """For each document its address and its cells: name, cell, the address that filters by it; None where missing."""
    rows = []
    for document, projected in zip(found, shown, strict=True):
        cells: list[Any] = []
        for name in names:
            if name not in projected:
                cells.append(None)
                continue
            value = projected[name]
            cell = values.cell(value)
            # A projection may compute what no document holds.
            stored = cell.exact and _is_path(name) and name in document and document[name] is value
            address = query.address(base, filter=query.with_value(name, value)) if stored else ""
            cells.append((name, cell, address))
        rows.append({"href": _document_address(base, query, document), "_id": document["_id"], "cells": cells})
    return rows


def _cards(base: str, query: queries.Query, found: list[Document], shown: list[Document]) -> Iterator[dict[str, Any]]:
    """For each document its address and its text in pieces."""
    for document, projected in zip(found, shown, strict=True):
        pieces, more = values.cut_lines(list(values.pieces(projected)))
        yield {
            "href": _document_address(base, query, document),
            "id": values.cell(document["_id"]).text,
            "identity": values.identity(document["_id"]),
            "digest": values.digest(document),
            "copied": "" if more or any(piece.missing for piece in pieces) else relaxed.dumps(document),
            "pieces": pieces,
            "more": more,
        }


def _code_address(base: str, query: queries.Query) -> str:
    """Where the query stands as code."""
    if not query.find:
        return f"{base}/integration/api?operation=readwithquery"
    find = query.find
    body = {
        "query": find.filter.source,
        "project": find.projection.source,
        "sort": find.sort.source,
        "skip": find.skip,
        "limit": find.limit,
    }
    kept = {name: value for name, value in body.items() if value or name == "query"}
    return f"{base}/integration/api?" + urlencode({"operation": "readwithquery", "body": extjson.dumps(kept)})


@blueprint.get("/collections/<id>/fields")
def fields(id: str) -> Response:
    """The fields that a sample of the documents has, and the operators of the language, for completion."""
    shape = inference.shape_of(inference.sample(site.service().collection(id).find(Find()), 200))
    found: dict[str, list[str]] = {}
    for path, each, _ in shape.walk():
        if all(_is_path(name) for name in path):
            name = inference.path_text(path).replace(inference.ELEMENTS, "")
            found[name] = sorted({*found.get(name, ()), *each.types})
    return jsonify(
        fields=[{"name": name, "says": ", ".join(types)} for name, types in found.items()][: 2 * MAX_CHOICES],
        filter=_operators({**FIELD_OPERATORS, **TOP_LEVEL_OPERATORS}),
        update=_operators(OPERATORS),
    )


def _operators(table: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": name, "says": (function.__doc__ or "").strip().split("\n")[0]}
        for name, function in sorted(table.items())
    ]


@blueprint.get("/collections/<id>/document")
def document(id: str) -> Response:
    """One document, to read and to edit."""
    return _editor(id, **_opened(_existing(id, _identity(request.args.get("_id", "")))))


def _opened(document: Document) -> dict[str, Any]:
    """What the editor starts with."""
    text = relaxed.dumps(document, indent=2)
    identity, digest = values.identity(document["_id"]), values.digest(document)
    return {"identity": identity, "digest": digest, "original": text, "text": text}


@blueprint.post("/collections/<id>/document")
def change_document(id: str) -> Response:
    """Show what an edit changes; then, at the second step, keep it, where nobody else was faster."""
    form = _form()
    collection = site.service().collection(id)
    identity, original, text = form.get("_id", ""), form.get("original", ""), form.get("text", "")
    state: dict[str, Any] = {"identity": identity, "original": original, "text": text}
    before = _typed_document(original)
    state["digest"] = values.digest(before)
    try:
        after = _typed_document(text)
    except RequestError as error:
        return _editor(id, 400, fault=queries.fault_in(text, error), **state)
    state["text"] = relaxed.dumps(after, indent=2)
    if relaxed.dumps(after) == relaxed.dumps(before):
        return _editor(id, 200, notice="Nothing has changed yet.", **state)

    # The filter compares as the language does, to which 1 is 1.0; here a type that changed is a change, too.
    current = _found(id, before["_id"])
    if current is None or values.digest(current) != state["digest"]:
        return _conflict(id, current, state)
    keeps = form.get("step") == "save"
    modify = Modify(_unchanged(before), Update([{"$replaceWith": {"$literal": after}}]), multi=False)
    try:
        modified = collection.update(modify, Guard(dry_run=not keeps))
    except SchemaViolation as error:
        notes = values.lines_of(after, {each.pointer: each.detail for each in error.failures})
        return _editor(id, 422, diff=values.difference(original, state["text"], notes), refused=error.detail, **state)
    except RequestError as error:
        return _editor(id, 400, fault=queries.fault_in(state["text"], error), **state)
    if not modified.matched:
        return _conflict(id, _found(id, before["_id"]), state)
    if not keeps:
        return _editor(id, 200, diff=values.difference(original, state["text"]), ready=True, **state)
    site.flash(f"Saved the document {relaxed.preview(before['_id'])}")
    return site.see(_back(id, form))


def _conflict(id: str, current: Document | None, state: dict[str, Any]) -> Response:
    """Somebody else changed, or deleted, the document after it was read: show what, and let the person decide."""
    if current is None:
        return _editor(id, 409, gone=True, **state)
    theirs = _opened(current)
    changed = values.difference(state["original"], theirs["original"])
    return _editor(id, 409, **{**theirs, "text": state["text"]}, conflict=changed)


def _editor(id: str, status: int = 200, **state: Any) -> Response:
    return site.render(
        "document.html",
        status,
        described=site.service().describe(id),
        tab="Documents",
        base=f"/collections/{id}",
        back=request.values.get("back", ""),
        **state,
    )


@blueprint.get("/collections/<id>/new")
def new(id: str) -> Response:
    """A form for a new document: empty, or like another one."""
    text = "{\n  \n}"
    if like := request.args.get("like"):
        copied = _existing(id, _identity(like))
        text = relaxed.dumps({name: value for name, value in copied.items() if name != "_id"}, indent=2)
    return _editor(id, text=text)


@blueprint.post("/collections/<id>/new")
def add(id: str) -> Response:
    """Keep a new document."""
    form = _form()
    text = form.get("text", "")
    try:
        made = _typed_document(text)
        identity = site.service().collection(id).insert_one(made)
    except SchemaViolation as error:
        notes = values.lines_of(made, {each.pointer: each.detail for each in error.failures})
        text = relaxed.dumps(made, indent=2)
        return _editor(id, 422, text=text, diff=values.difference(text, text, notes), refused=error.detail)
    except (RequestError, DuplicateKey) as error:
        status = 409 if isinstance(error, DuplicateKey) else 400
        return _editor(id, status, text=text, fault=queries.fault_in(text, error))
    site.flash(f"Added the document {relaxed.preview(identity)}")
    return site.see(_back(id, form))


@blueprint.post("/collections/<id>/document/delete")
def delete(id: str) -> Response:
    """Delete one document as it was shown, and offer it back."""
    form = _form()
    collection = site.service().collection(id)
    before = _found(id, _identity(form.get("_id", "")))
    if before is None:
        site.flash("The document was already deleted", "note")
        return site.see(_back(id, form))
    # Between the reading and the deleting somebody may be faster still: what is deleted is what was read.
    if values.digest(before) != form.get("digest") or not collection.delete_many(_unchanged(before)).deleted:
        notice = "The document was changed after you were shown it, and was not deleted. This is how it is now."
        return _editor(id, 409, **_opened(before), notice=notice)
    path = _back(id, form)
    name = _deleted().keep(id, before)
    return site.see(path + ("&" if "?" in path else "?") + urlencode({"undo": name}))


@blueprint.post("/collections/<id>/undo")
def undo(id: str) -> Response:
    """Bring back a document that was deleted."""
    form = _form()
    name = form.get("undo", "")
    kept = _deleted().get(id, name)
    if kept is None:
        raise NoMatch("this deletion can no longer be undone: the server keeps the last deletions in memory alone")
    site.service().collection(id).insert_one(kept)
    _deleted().drop(id, name)
    site.flash(f"Brought back the document {relaxed.preview(kept['_id'])}")
    return site.see(_back(id, form))


@blueprint.route("/collections/<id>/update", methods=["GET", "POST"])
def update_matching(id: str) -> Response:
    """Change every document that a filter finds: first a dry run, then what it showed."""
    return _matching(id, "update")


@blueprint.route("/collections/<id>/remove", methods=["GET", "POST"])
def delete_matching(id: str) -> Response:
    """Delete every document that a filter finds: first a dry run, then what it showed."""
    return _matching(id, "delete")


# Where the API has what the fields of the form hold.
_WITHIN: Final = {"filter": "/search query", "update": "/data"}


def _matching(id: str, act: str) -> Response:
    form = _form() if request.method == "POST" else dict(request.args)
    texts = {"filter": form.get("filter", "").strip(), "update": form.get("update", "").strip()}
    faults: dict[str, queries.Fault] = {}
    state: dict[str, Any] = {"act": act, "texts": texts, "faults": faults}
    if request.method == "GET":
        return _matching_page(id, 200, state)

    collection = site.service().collection(id)
    filter = _compiled(texts, "filter", Filter, faults)
    update = _compiled(texts, "update", Update, faults) if act == "update" else None
    if filter is None or (act == "update" and update is None):
        return _matching_page(id, 400, state)
    runs = form.get("step") == "run"
    expected = form.get("expected", "")
    bound = int(expected) if expected.isascii() and expected.isdecimal() and len(expected) < 16 else 0
    guard = Guard(dry_run=not runs, max_affected=bound if runs else None)
    try:
        with deadline(site.settings().max_time_seconds):
            matched, affected, examples = _affected(collection, filter, update, guard)
    except TooManyAffected as error:
        return _matching_page(id, 409, {**state, "refused": error.detail + ". Run it dry once more to see them all."})
    except SchemaViolation as error:
        which = f"the document {relaxed.preview(error.document_id)} would no longer satisfy the schema: {error.detail}"
        return _matching_page(id, 422, {**state, "refused": which})
    except (QueryError, UpdateError) as error:
        name = "update" if isinstance(error, UpdateError) else "filter"
        faults[name] = queries.fault_in(texts[name], error, within=_WITHIN[name])
        return _matching_page(id, 400, state)
    if not runs:
        return _matching_page(
            id,
            200,
            {**state, "matched": matched, "affected": affected, "examples": list(_differences(examples)), "dry": True},
        )
    site.flash(f"{'Changed' if act == 'update' else 'Deleted'} {_counted(affected)}")
    # After an update the filter may find them no longer: the person sees the whole collection again, or what is left.
    return site.see(f"/collections/{id}")


def _affected(
    collection: Collection, filter: Filter, update: Update | None, guard: Guard
) -> tuple[int, int, Iterable[Example]]:
    if update is None:
        deleted = collection.delete_many(filter, guard)
        return deleted.deleted, deleted.deleted, deleted.examples
    modified = collection.update(Modify(filter, update), guard)
    return modified.matched, modified.modified, modified.examples


def _counted(count: int) -> str:
    return f"{site.number(count)} document{'' if count == 1 else 's'}"


def _differences(examples: Iterable[Example]) -> Iterator[dict[str, Any]]:
    for before, after in examples:
        old = relaxed.dumps(before, indent=2) if before else ""
        lines = values.difference(old, relaxed.dumps(after, indent=2)) if after else []
        shown, more = values.cut_lines(list(values.pieces(before)), 14) if before and not after else ([], 0)
        identity = (before or after or {})["_id"]
        yield {"id": values.cell(identity).text, "diff": lines, "pieces": shown, "more": more}


def _compiled(texts: dict[str, str], name: str, compile: Any, faults: dict[str, queries.Fault]) -> Any:
    try:
        source = relaxed.loads(texts[name]) if texts[name] or name == "update" else {}
        if type(source) is not dict and (name == "filter" or type(source) is not list):
            raise InvalidRequest(f"expected an object, not {relaxed.preview(source)}")
        compiled = compile(source)
    except RequestError as error:
        faults[name] = queries.fault_in(texts[name], error, within=_WITHIN[name])
        return None
    texts[name] = relaxed.dumps(source)
    return compiled


def _matching_page(id: str, status: int, state: dict[str, Any]) -> Response:
    return site.render(
        "matching.html",
        status,
        described=site.service().describe(id),
        tab="Documents",
        base=f"/collections/{id}",
        back=f"/collections/{id}" + ("?" + urlencode({"filter": text}) if (text := state["texts"]["filter"]) else ""),
        **state,
    )


_FORMATS: Final[dict[formats.Format, tuple[str, str]]] = {
    "json": ("application/json", "json"),
    "ndjson": ("application/x-ndjson", "ndjson"),
    "csv": ("text/csv", "csv"),
    "tsv": ("text/tab-separated-values", "tsv"),
    "ejson": ("application/json", "canonical.json"),
}


@blueprint.get("/collections/<id>/export")
def export(id: str) -> Response:
    """What the query of the address finds, as a file."""
    collection = site.service().collection(id)
    query = queries.read(request.args)
    asked = request.args.get("format", "json")
    format = next((each for each in _FORMATS if each == asked), None)
    if format is None:
        raise InvalidRequest(f"expected a format out of {', '.join(_FORMATS)}, not {asked!r}", pointer=None)
    if query.find is None:
        name, fault = next(iter(query.faults.items()))
        raise InvalidRequest(f"{name}: {fault.detail}", pointer=fault.pointer)
    with deadline(site.settings().max_time_seconds):
        pieces = formats.write_documents(collection, query.find, format)
    mimetype, suffix = _FORMATS[format]
    response = Response(pieces, mimetype=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="{id}.{suffix}"'
    return response


@blueprint.route("/collections/<id>/import", methods=["GET", "POST"])
def import_(id: str) -> Response:
    """Add the documents of a file, or of pasted text: all of them, or none."""
    if request.method == "GET":
        return _import_page(id)
    # A file is as large as the owner's disk allows, as on the command line.
    request.max_content_length = request.max_form_memory_size = sys.maxsize
    given = None
    try:
        given = importing.given()
        if given is None:
            raise InvalidRequest("expected documents, and none came: paste some, or choose a file", pointer=None)
        count = site.service().import_documents(id, _documents_of(given)).inserted
    except SchemaViolation as error:
        return _import_page(id, 422, given, refused=error.failures)
    except (RequestError, DuplicateKey) as error:
        return _import_page(id, 409 if isinstance(error, DuplicateKey) else 400, given, error=error)
    site.flash(f"Imported {_counted(count)}")
    return site.see(f"/collections/{id}")


def _documents_of(given: importing.Given) -> list[Document]:
    """The documents of a form; of one alone, and of the relaxed syntax, too."""
    try:
        return given.documents()
    except RequestError as refused:
        if given.format in ("csv", "tsv"):
            raise
        try:
            typed = relaxed.loads(given.content.decode("utf-8-sig"))
        except (UnicodeDecodeError, InvalidJSON) as error:
            # What stands on lines of its own is judged line by line.
            raise (refused if given.format == "ndjson" or isinstance(error, UnicodeDecodeError) else error) from None
    documents = typed if type(typed) is list else [typed]
    for position, document in enumerate(documents):
        if type(document) is not dict:
            raise InvalidRequest(f"a document is an object, not {relaxed.preview(document)}", pointer=f"/{position}")
    return documents


def _import_page(id: str, status: int = 200, given: importing.Given | None = None, **state: Any) -> Response:
    return site.render(
        "import.html",
        status,
        described=site.service().describe(id),
        tab="Documents",
        base=f"/collections/{id}",
        text=given.text if given else "",
        format=request.form.get("format", ""),
        **state,
    )


def _form() -> dict[str, str]:
    """The fields of the form that came: as large as any body may be, with the newlines that were typed."""
    request.max_form_memory_size = request.max_content_length
    # A browser sends every newline of a text area as two characters.
    return {name: value.replace("\r\n", "\n") for name, value in request.form.items()}


def _back(id: str, form: dict[str, str]) -> str:
    """The list of documents that an action came from."""
    back = form.get("back", "")
    return f"/collections/{id}" + (back if back.startswith("?") and back.isprintable() else "")


def _typed_document(text: str) -> Document:
    typed = relaxed.loads(text)
    if type(typed) is not dict:
        raise InvalidRequest(f"a document is an object, not {relaxed.preview(typed)}")
    return typed


def _identity(text: str) -> Any:
    if not text:
        raise InvalidRequest("expected the _id of a document in the address, and none came", pointer=None)
    return relaxed.loads(text)


def _found(id: str, identity: Any) -> Document | None:
    """The document of this ``_id``; None where there is none."""
    return next(site.service().collection(id).find(Find(Filter({"_id": {"$eq": identity}}))), None)


def _unchanged(document: Document) -> Filter:
    """The filter that finds a document while it is exactly as it was read."""
    return Filter({"_id": {"$eq": document["_id"]}, "$expr": {"$eq": ["$$ROOT", {"$literal": document}]}})


def _existing(id: str, identity: Any) -> Document:
    found = _found(id, identity)
    if found is None:
        raise NoMatch(f"there is no document with the _id {relaxed.preview(identity)}")
    return found
