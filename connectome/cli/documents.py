"""Documents of a collection on the command line: found, inserted, updated, deleted."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

import click

from connectome import extjson, relaxed
from connectome.cli.administration import administration, confirm, data_option, has_terminal, plural
from connectome.errors import InvalidJSON, InvalidRequest, RequestError
from connectome.formats import write_documents

if TYPE_CHECKING:
    from connectome.query import Document, Filter
    from connectome.remote import RemoteCollection
    from connectome.stores import Collection, Example, Explanation, Find, Guard, Modify

_T = TypeVar("_T")

_Format = Literal["table", "json", "ndjson", "csv", "ejson"]
# The widths of a table's columns are those of its first documents: it begins before the last one is found.
_MEASURED: Final = 200
_NARROWEST: Final = 8
_WIDEST: Final = 40
# Of a long line in which something is wrong so many characters are shown on either side of the place.
_AROUND: Final = 60
# What would move the cursor, colour the terminal or turn the direction of text.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
max_affected_option = click.option(
    "--max-affected", type=click.IntRange(min=0), metavar="N", help="Refuse to change more documents than N."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without asking; needed where nobody can be asked.")


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("filter", default="{}")
@click.option("--project", default="{}", metavar="PROJECTION", help="The fields to show, such as '{title: 1, _id: 0}'.")
@click.option("--sort", default="{}", metavar="SORT", help="The order, such as '{year: -1}'.")
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N", help="Pass over the first N.")
@click.option("--limit", type=click.IntRange(min=0), default=0, metavar="N", help="Show at most N; 0 is no limit.")
@click.option("--count", is_flag=True, help="Print how many there are.")
@click.option("--explain", is_flag=True, help="Print how they were found: by an index, or by looking at each.")
@click.option(
    "--format",
    type=click.Choice(get_args(_Format)),
    help="How to show them; ejson names the type of every value.  [default: table on a terminal, else ndjson]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@data_option
def find(
    id: str,
    filter: str,
    project: str,
    sort: str,
    skip: int,
    limit: int,
    count: bool,
    explain: bool,
    format: _Format | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """
    Find the documents of COLLECTION that match FILTER: all of them where there is none.

    FILTER is written as in MongoDB's shell: '{year: {$gte: 1990}, title: /^the/i}'; JSON will do, too.
    """
    from connectome.query import Filter, Projection, Sort
    from connectome.stores import Find

    matching = _typed("the filter", filter, lambda source: Filter(_object(source)))
    projection = _typed("--project", project, lambda source: Projection(_object(source), matching))
    order = _typed("--sort", sort, Sort)
    question = Find(matching, projection, order, skip, limit)
    with administration(data) as service:
        collection = service.collection(id)
        if explain:
            _show_explanation(collection.explain(question), as_json=as_json or format in ("json", "ndjson", "ejson"))
        elif count:
            click.echo(collection.explain(question).returned if skip or limit else collection.count(matching))
        else:
            _show(collection, question, format or ("json" if as_json else None))


def _show_explanation(explanation: Explanation, *, as_json: bool) -> None:
    found = {
        "stage": explanation.stage,
        "path": explanation.path,
        "examined": explanation.examined,
        "returned": explanation.returned,
        "milliseconds": round(explanation.seconds * 1000, 3),
    }
    if as_json:
        click.echo(extjson.dumps(found))
        return
    for name, value in found.items():
        if value is not None:
            click.echo(f"{name:12}  {value}")


def _show(collection: Collection | RemoteCollection, question: Find, format: _Format | None) -> None:
    on_terminal = sys.stdout.isatty()
    format = format or ("table" if on_terminal else "ndjson")
    if format == "table":
        _table(collection.find(question), shutil.get_terminal_size().columns if on_terminal else None)
        return
    for piece in write_documents(collection, question, format):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _table(documents: Iterator[Document], room: int | None) -> None:
    """Print documents as a table: a column for each field, or for as many as there is room for."""
    first = list(islice(documents, _MEASURED))
    names = list(dict.fromkeys(name for document in first for name in document))
    if not names:
        click.echo("no documents match" if not first else "the documents have no fields", err=True)
        return
    measured = [[_cell(document, name) for name in names] for document in first]
    widths = [
        min(max(_width(_plain(name)), *(_width(cells[column]) for cells in measured)), _WIDEST)
        for column, name in enumerate(names)
    ]
    if room is not None:
        widths = _fitted(widths, room)
    shown = names[: len(widths)]
    numeric = [_is_numeric(first, name) for name in shown]
    rest = ([_cell(document, name) for name in shown] for document in documents)
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    head = _row([_plain(name) for name in shown], widths, numeric)
    click.echo(click.style(head, bold=True) if coloured else head, color=coloured)
    for cells in chain(measured, rest):
        click.echo(_row(cells[: len(shown)], widths, numeric), color=coloured)
    if hidden := len(names) - len(shown):
        click.echo(f"{plural(hidden, 'column')} more: --project chooses, --format json shows all", err=True)


def _is_numeric(documents: Iterable[Document], name: str) -> bool:
    return all(
        isinstance(value, (int, float)) and type(value) is not bool
        for document in documents
        if (value := document.get(name)) is not None
    )


def _cell(document: Document, name: str) -> str:
    """A value on one line: text as it is, the rest as the shell writes it; nothing where there is no such field."""
    if name not in document:
        return ""
    value = document[name]
    return _plain(value) if type(value) is str else relaxed.preview(value, limit=_WIDEST)


def _plain(text: str) -> str:
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text[: 4 * _WIDEST].replace("\n", "⏎"))


def _fitted(widths: list[int], room: int) -> list[int]:
    """Widths of columns that fit side by side: the widest give way first, then the last ones are left out."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > room:
        widest = max(widths)
        if widest > _NARROWEST:
            widths[widths.index(widest)] -= 1
        elif len(widths) > 1:
            widths.pop()
        else:
            return [max(1, room)]
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    made = []
    for cell, width, is_number in zip(cells, widths, right, strict=True):
        text = _cut(cell, width)
        space = " " * (width - _width(text))
        made.append(space + text if is_number else text + space)
    return "  ".join(made).rstrip()


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("document", default="-")
@json_option
@data_option
def insert(id: str, document: str, as_json: bool, data: Path | None) -> None:
    """
    Add DOCUMENT, or an array of documents, to COLLECTION: all of them, or none.

    It is written as in MongoDB's shell, {title: "Alien", seen: ISODate("1979-05-25")}; '-', or no DOCUMENT, reads it
    from stdin.  Prints the _id of each.  For files there is 'connectome import'.
    """
    text = sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape") if document == "-" else document
    documents = _typed("the document", text, _documents)
    with administration(data) as service:
        identities = service.collection(id).insert_many(documents)
    if as_json:
        click.echo(extjson.dumps({"insertedCount": len(identities), "insertedIds": identities}))
        return
    for identity in identities:
        click.echo(identity if type(identity) is str else relaxed.dumps(identity))
    click.echo(f"inserted {plural(len(identities), 'document')} into {id}", err=True)


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("filter")
@click.argument("update")
@click.option("--upsert", is_flag=True, help="Where no document matches, make one.")
@click.option("--one", is_flag=True, help="Change the first document that matches, not all.")
@click.option(
    "--array-filter",
    "array_filters",
    multiple=True,
    metavar="FILTER",
    help="Which elements $[name] stands for, such as '{name: {$gt: 5}}'; may be given again.",
)
@dry_run_option
@max_affected_option
@yes_option
@json_option
@data_option
def update(
    id: str,
    filter: str,
    update: str,
    upsert: bool,
    one: bool,
    array_filters: Sequence[str],
    dry_run: bool,
    max_affected: int | None,
    yes: bool,
    as_json: bool,
    data: Path | None,
) -> None:
    """
    Change every document of COLLECTION that matches FILTER ('{}' is all of them) by UPDATE, all of them or none.

    UPDATE has operators, '{$inc: {seen: 1}}', or fields to set, '{seen: true}', or is a pipeline.  Asks first, on a
    terminal; elsewhere it needs --yes.
    """
    from connectome.query import Update, compile_array_filters
    from connectome.stores import Guard, Modify

    matching = _required_filter(filter)
    elements = [_typed("--array-filter", each, _array_filter) for each in array_filters]
    compiled = compile_array_filters(elements)
    change = _typed("the update", update, lambda source: Update(source, compiled))
    modify = Modify(matching, change, upsert=upsert, multi=not one)
    with administration(data) as service:
        collection = service.collection(id)

        def modified(guard: Guard) -> Any:
            return _updated(collection, modify, guard, elements)

        guard = Guard(dry_run=True, max_affected=max_affected)
        if not dry_run:
            guard = _agreed(
                guard, lambda: _affected(modified(guard)), lambda count: f"change {plural(count, 'document')}", yes
            )
        done = modified(guard)
    upserted = done.upserted and done.upserted["_id"]
    says = f"matched {done.matched}, {'would modify' if dry_run else 'modified'} {done.modified}"
    if done.upserted:
        says += f", {'would make' if dry_run else 'made'} {relaxed.preview(upserted)}"
    counts = {"matchedCount": done.matched, "modifiedCount": done.modified, "upsertedId": upserted}
    _report(says, counts, done.examples if dry_run else (), as_json=as_json, dry_run=dry_run)


def _affected(modified: Any) -> int:
    return int(modified.modified) + (modified.upserted is not None)


def _updated(
    collection: Collection | RemoteCollection, modify: Modify, guard: Guard, array_filters: Sequence[Document]
) -> Any:
    from connectome.remote import RemoteCollection

    if isinstance(collection, RemoteCollection):
        return collection.update(modify, guard, array_filters=array_filters)
    return collection.update(modify, guard)


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("filter")
@dry_run_option
@max_affected_option
@yes_option
@json_option
@data_option
def delete(
    id: str,
    filter: str,
    dry_run: bool,
    max_affected: int | None,
    yes: bool,
    as_json: bool,
    data: Path | None,
) -> None:
    """
    Delete every document of COLLECTION that matches FILTER; '{}' deletes all.

    Asks first, on a terminal; elsewhere it needs --yes.
    """
    from connectome.stores import Guard

    matching = _required_filter(filter)
    with administration(data) as service:
        collection = service.collection(id)
        guard = Guard(dry_run=True, max_affected=max_affected)
        if not dry_run:
            guard = _agreed(
                guard,
                lambda: collection.delete_many(matching, guard).deleted,
                lambda count: f"delete {plural(count, 'document')}",
                yes,
            )
        done = collection.delete_many(matching, guard)
    says = f"{'would delete' if dry_run else 'deleted'} {plural(done.deleted, 'document')}"
    counts = {"deletedCount": done.deleted}
    _report(says, counts, done.examples if dry_run else (), as_json=as_json, dry_run=dry_run)


def _agreed(guard: Guard, count: Callable[[], int], says: Callable[[int], str], yes: bool) -> Guard:
    """
    What is allowed: what was asked for, and, where somebody was asked, no more than they were told.

    Where nobody can be asked, or whoever was asked refused, the command ends here, with exit code 1.
    """
    from connectome.stores import Guard

    allowed = Guard(max_affected=guard.max_affected)
    if yes:
        return allowed
    affected = count()
    # Nobody is asked about nothing; a script without --yes is told so, whatever it finds.
    if affected or not has_terminal():
        confirm(says(affected), ways="--yes, or --dry-run")
    return Guard(max_affected=affected)


def _report(says: str, counts: dict[str, Any], examples: Sequence[Example], *, as_json: bool, dry_run: bool) -> None:
    """Say what was done; of a dry run, with examples."""
    if as_json:
        if dry_run:
            shown = [{"before": before, "after": after} for before, after in examples]
            counts = {**counts, "dryRun": True, "examples": shown}
        click.echo(extjson.dumps(counts))
        return
    click.echo(says, err=True)
    for before, after in examples:
        for mark, document in (("-", before), ("+", after)):
            if document is not None:
                click.echo(f"{mark} {relaxed.dumps(document)}")


def _required_filter(text: str) -> Filter:
    from connectome.query import Filter

    if not text.strip():
        raise click.UsageError("the filter is empty: '{}' stands for every document")
    return _typed("the filter", text, lambda source: Filter(_object(source)))


def _object(source: Any) -> Document:
    if type(source) is not dict:
        raise InvalidRequest(f"expected an object such as {{year: 1990}}, not {relaxed.preview(source)}")
    return source


def _array_filter(source: Any) -> Document:
    from connectome.query import compile_array_filters

    compile_array_filters([_object(source)])
    return _object(source)


def _documents(source: Any) -> list[Document]:
    documents = source if type(source) is list else [source]
    for position, document in enumerate(documents):
        if type(document) is not dict:
            pointer = f"/{position}" if documents is source else ""
            raise InvalidRequest(f"a document is an object, not {relaxed.preview(document)}", pointer=pointer)
    return documents


def _typed(name: str, text: str, compiled: Callable[[Any], _T]) -> _T:
    """What a person typed, read and compiled; what is wrong with it is shown where it stands."""
    with _shown_in(name, text):
        return compiled(relaxed.loads(text))


@contextmanager
def _shown_in(name: str, text: str) -> Iterator[None]:
    """
    Put the line that is to blame under the sentence of an error, and a caret under the place.

    Raises:
        RequestError: What was raised inside.
    """
    try:
        yield
    except RequestError as error:
        place = error.place if isinstance(error, InvalidJSON) else None
        if place is None and error.pointer is not None:
            place = relaxed.place(text, error.pointer)
        if place is None:
            raise
        caret = f"\n{_caret(text, *place)}" if text.strip() else ""
        error.detail = f"{name}: {error.detail}{caret}"
        error.pointer = None
        raise


def _caret(text: str, line: int, column: int) -> str:
    """The line of a text, as much of it as is needed, and a caret under the column; both from 1."""
    whole = text.split("\n")[line - 1]
    start = max(0, column - 1 - _AROUND)
    before = _plain_line(whole[start : column - 1])
    after = _plain_line(whole[column - 1 : column - 1 + _AROUND])
    before = "…" + before if start else before
    after += "…" if len(whole) > column - 1 + _AROUND else ""
    return f"  {before}{after}\n  {' ' * _width(before)}^"


def _plain_line(text: str) -> str:
    return _UNSEEN.sub(lambda found: " " if found[0] == "\t" else f"\\u{ord(found[0]):04x}", text)
