"""Collections and their indexes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from connectome import extjson
from connectome.cli.administration import administration, data_option
from connectome.cli.credentials import show_both


@click.command()
@click.argument("id")
@click.option("--title", help="What people call it; the id where it is not given.")
@click.option("--schema", type=click.File("rb"), help="A JSON Schema file that every document shall satisfy.")
@data_option
def create(id: str, title: str | None, schema: Any, data: Path | None) -> None:
    """Make a collection called ID, and show its credentials."""
    source = extjson.loads(schema.read(), extended=False) if schema else None
    with administration(data, new=True) as service:
        described = service.create(id=id, title=title, schema=source)
    click.echo(f"created {id}", err=True)
    show_both(described["credentials"])


@click.command("list")
@data_option
def list_(data: Path | None) -> None:
    """List the collections: id, documents, bytes, title."""
    with administration(data) as service:
        collections = service.collections()
    width = max((len(each["id"]) for each in collections), default=0)
    for each in collections:
        count = "damaged" if each["count"] is None else each["count"]
        click.echo(f"{each['id']:{width}}  {count:>9}  {each['size']:>12}  {each['title']}")
    if not collections:
        click.echo("no collections yet; 'connectome create ID' makes one", err=True)


@click.command()
@click.argument("id")
@click.option("--pin", metavar="PATH", help="Keep an index of this path, such as address.city, from now on.")
@click.option("--unpin", metavar="PATH", help="Let the index of this path come and go as questions do.")
@data_option
def indexes(id: str, pin: str | None, unpin: str | None, data: Path | None) -> None:
    """List the indexes of the collection ID: path, whether it is pinned, questions that were about it, bytes."""
    with administration(data) as service:
        if pin is not None:
            service.pin(id, pin)
        if unpin is not None:
            service.unpin(id, unpin)
        found = service.indexes(id)
    width = max((len(index.path) for index in found), default=0)
    for index in found:
        pinned = "pinned" if index.pinned else ""
        click.echo(f"{index.path:{width}}  {pinned:6}  {index.uses:>9}  {index.bytes:>12}")
    if not found:
        click.echo("no indexes: a running server makes them as questions come, and --pin keeps one", err=True)
