"""What a collection demands of its documents, and what they look like."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from connectome import extjson, relaxed
from connectome.cli import EXIT_CODES, Group
from connectome.cli.administration import administration, data_option, plural
from connectome.errors import ConfigurationError, SchemaViolation

if TYPE_CHECKING:
    from connectome.query import Document

# That of ``connectome.inference``, which would bring the query language along; a test compares them.
_SAMPLE: Final = 1000


@click.group(cls=Group)
def schema() -> None:
    """Infer, show, set or check the JSON Schema of a collection."""


@schema.command()
@click.argument("id", metavar="COLLECTION")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=_SAMPLE,
    show_default=True,
    metavar="N",
    help="Look at N documents, or at all where there are no more.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed takes another sample.")
@data_option
def infer(id: str, sample: int, seed: int, data: Path | None) -> None:
    """Print a JSON Schema that a sample of the documents of COLLECTION satisfies."""
    from connectome import inference
    from connectome.stores import Find

    with administration(data) as service:
        count = service.describe(id)["count"] or 0
        documents = list(_sampled(service.collection(id).find(Find()), count, sample, seed))
    _print(inference.proposed_schema(inference.shape_of(documents)))
    if count > sample:
        click.echo(
            f"made from a sample of {sample} of {plural(count, 'document')}: "
            f"'connectome schema check {id} FILE' says whether all satisfy it",
            err=True,
        )


def _sampled(documents: Iterator[Document], count: int, size: int, seed: int) -> Iterator[Document]:
    """The documents at random positions, in order; the others are not kept."""
    chosen = set(random.Random(seed).sample(range(count), size)) if count > size else None
    for position, document in enumerate(documents):
        if chosen is None or position in chosen:
            yield document


@schema.command()
@click.argument("id", metavar="COLLECTION")
@data_option
def show(id: str, data: Path | None) -> None:
    """Print the JSON Schema that COLLECTION demands; null where it takes documents of any shape."""
    with administration(data) as service:
        source = service.describe(id)["schema"]
    _print(source)
    if source is None:
        click.echo(f"{id} has no schema; 'connectome schema infer {id}' proposes one", err=True)


@schema.command("set")
@click.argument("id", metavar="COLLECTION")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--none", is_flag=True, help="Lift the schema: documents of any shape are taken.")
@data_option
def set_(id: str, file: Any, none: bool, data: Path | None) -> None:
    """Demand the JSON Schema in FILE ('-' is stdin) of every document of COLLECTION, those that are there included."""
    if none == bool(file):
        raise ConfigurationError("schema set takes a FILE, or --none, and not both")
    source = None if none else extjson.loads(file.read(), extended=False)
    try:
        with administration(data) as service:
            service.change(id, {"schema": source})
    except SchemaViolation as error:
        error.detail = (
            f"the document {relaxed.preview(error.document_id)} does not satisfy it: {error.detail}; "
            f"'connectome schema check {id} FILE' lists all that do not"
        )
        raise
    says = f"{id} takes documents of any shape" if none else f"every document of {id} satisfies the schema, and has to"
    click.echo(says, err=True)


@schema.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each failing document.")
@data_option
def check(id: str, file: Any, as_json: bool, data: Path | None) -> None:
    """
    Print each document of COLLECTION that fails the JSON Schema in FILE ('-' is stdin), and where; exit 4 if one does.

    Without a FILE it is the schema of the collection itself.
    """
    from connectome.schemas import Schema
    from connectome.stores import Find

    given = extjson.loads(file.read(), extended=False) if file else None
    with administration(data) as service:
        source = given if file else service.describe(id)["schema"]
        if source is None:
            click.echo(f"{id} has no schema: there is nothing to fail", err=True)
            return
        compiled = Schema(source)
        checked = failed = 0
        for document in service.collection(id).find(Find()):
            checked += 1
            if failures := compiled.failures(extjson.to_json(document)):
                failed += 1
                if as_json:
                    errors = [{"pointer": each.pointer, "detail": each.detail} for each in failures]
                    click.echo(extjson.dumps({"_id": document["_id"], "errors": errors}))
                else:
                    for each in failures:
                        click.echo(f"{relaxed.dumps(document['_id'])}  {each.pointer or '(root)'}  {each.detail}")
    click.echo(f"{failed} of {plural(checked, 'document')} {'fails' if failed == 1 else 'fail'}", err=True)
    if failed:
        sys.exit(EXIT_CODES[SchemaViolation])


def _print(source: Any) -> None:
    click.echo(json.dumps(source, indent=2, ensure_ascii=False))
