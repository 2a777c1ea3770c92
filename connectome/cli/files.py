"""Documents from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from connectome import formats
from connectome.cli.administration import administration, data_option, plural
from connectome.errors import ConfigurationError, NoSuchCollection


@click.command("import")
@click.argument("id")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", type=click.Choice(formats.FORMATS), help="What the file is; its ending says it otherwise.")
@click.option(
    "--types",
    default="",
    metavar="COLUMN=TYPE,…",
    help=f"For CSV, the types of columns: {', '.join(formats.COLUMN_TYPES)}.  Others are found out.",
)
@data_option
def import_(id: str, file: Path, format: formats.Format | None, types: str, data: Path | None) -> None:
    """Add the documents of FILE (JSON array, NDJSON, CSV) to the collection ID: all of them, or none."""
    documents = read_file(file, format, _column_types(types))
    with administration(data, new=True) as service:
        try:
            service.describe(id)
        except NoSuchCollection:
            service.create(id=id, documents=documents)
            click.echo(f"created {id}", err=True)
        else:
            service.import_documents(id, documents)
    click.echo(f"imported {plural(len(documents), 'document')} into {id}", err=True)


def _column_types(text: str) -> dict[str, str]:
    types = {}
    for pair in filter(None, text.split(",")):
        column, equals, type_ = pair.rpartition("=")
        if not equals:
            raise ConfigurationError(f"--types takes COLUMN=TYPE,…, not {pair!r}")
        types[column.strip()] = type_.strip()
    return types


def read_file(file: Path, format: formats.Format | None, types: dict[str, str]) -> list[Any]:
    """The documents of a file; a bar on a terminal says how far it is."""
    if format is None:
        endings: dict[str, formats.Format] = {".jsonl": "ndjson", **{f".{each}": each for each in formats.FORMATS}}
        if file.suffix.lower() not in endings:
            raise ConfigurationError(f"{file.name} does not end in {', '.join(endings)}: say --format")
        format = endings[file.suffix.lower()]
    content = file.read_bytes()
    documents = formats.read_documents(content, format, types=types)
    bar = click.progressbar(
        documents,
        length=formats.estimated_count(content, format),
        label=f"Reading {file.name}",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    )
    with bar:
        return list(bar)
