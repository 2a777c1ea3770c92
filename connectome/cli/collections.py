"""Collections and their indexes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from connectome import extjson
from connectome.cli import Group
from connectome.cli.administration import (
    administration,
    confirm,
    data_option,
    json_option,
    plural,
    print_columns,
    print_json,
)
from connectome.cli.credentials import show_both


@click.group(cls=Group)
def collections() -> None:
    """List, make, rename, describe and drop collections."""


@collections.command()
@json_option
@data_option
def ls(data: Path | None, as_json: bool) -> None:
    """List the collections: id, documents, bytes, title."""
    with administration(data) as service:
        found = service.collections()
    if as_json:
        print_json([_summary(each) for each in found])
    elif found:
        print_columns(
            [
                (each["id"], "damaged" if each["count"] is None else each["count"], each["size"], each["title"])
                for each in found
            ]
        )
    else:
        click.echo("no collections yet; 'connectome collections create ID' makes one", err=True)


def _summary(described: dict[str, Any]) -> dict[str, Any]:
    """What a list says of a collection: all but its credentials and its schema."""
    return {name: described[name] for name in ("id", "title", "created", "count", "size")}


@collections.command()
@click.argument("id")
@click.option("--title", help="What people call it; the id where it is not given.")
@click.option("--schema", type=click.File("rb"), help="A JSON Schema file that every document shall satisfy.")
@json_option
@data_option
def create(id: str, title: str | None, schema: Any, data: Path | None, as_json: bool) -> None:
    """Make a collection called ID, and show its credentials."""

    source = extjson.loads(schema.read(), extended=False) if schema else None
    with administration(data, new=True) as service:
        described = service.create(id=id, title=title, schema=source)
    click.echo(f"created {id}", err=True)
    if as_json:
        print_json({**_summary(described), "credentials": described["credentials"]})
    else:
        show_both(described["credentials"])


@collections.command()
@click.argument("id")
@click.argument("title")
@data_option
def rename(id: str, title: str, data: Path | None) -> None:
    """Give the collection ID another TITLE; its id, which stands in URLs, stays."""
    with administration(data) as service:
        service.change(id, {"title": title})
    click.echo(f"{id} is now called {title}", err=True)


@collections.command()
@click.argument("id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def drop(id: str, yes: bool, data: Path | None) -> None:
    """Remove the collection ID, with its documents and its credentials."""
    with administration(data) as service:
        described = service.describe(id)
        holds = "damaged documents" if described["count"] is None else plural(described["count"], "document")
        if not yes:
            confirm(f"remove {id} with {holds}")
        service.drop(id)
    click.echo(f"dropped {id}, with {holds}", err=True)


@collections.command()
@click.argument("id")
@json_option
@data_option
def stats(id: str, data: Path | None, as_json: bool) -> None:
    """Describe the collection ID: documents, bytes, schema, indexes."""
    with administration(data) as service:
        described = service.describe(id)
        indexed = [index.path for index in service.indexes(id)] if described["count"] is not None else []
    found = {
        **_summary(described),
        "averageSize": round(described["size"] / described["count"]) if described["count"] else None,
        "schema": described["schema"] is not None,
        "indexes": indexed,
    }
    if as_json:
        print_json(found)
        return
    words = {
        "id": id,
        "title": found["title"],
        "created": found["created"],
        "documents": "damaged" if found["count"] is None else found["count"],
        "bytes": found["size"],
        "bytes a document": found["averageSize"],
        "schema": "yes" if found["schema"] else "none",
        "indexes": ", ".join(indexed) or "none",
    }
    print_columns([(name, "" if value is None else str(value)) for name, value in words.items()])


@click.command()
@click.argument("id")
@click.option("--pin", metavar="PATH", help="Keep an index of this path, such as address.city, from now on.")
@click.option("--unpin", metavar="PATH", help="Let the index of this path come and go as questions do.")
@json_option
@data_option
def indexes(id: str, pin: str | None, unpin: str | None, data: Path | None, as_json: bool) -> None:
    """
    List, pin and unpin indexes of the collection ID.

    A line has the path, whether it is pinned, how many questions were about it, and bytes.
    """
    with administration(data) as service:
        if pin is not None:
            service.pin(id, pin)
        if unpin is not None:
            service.unpin(id, unpin)
        found = service.indexes(id)
    if as_json:
        print_json([asdict(index) for index in found])
    elif found:
        print_columns([(index.path, "pinned" if index.pinned else "", index.uses, index.bytes) for index in found])
    else:
        click.echo("no indexes: a running server makes them as questions come, and --pin keeps one", err=True)
