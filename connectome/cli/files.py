"""Documents from files, and to files."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from connectome import formats
from connectome.cli.administration import administration, data_option, plural, replacing
from connectome.errors import ConfigurationError, InvalidRequest, NoSuchCollection

if TYPE_CHECKING:
    from connectome.query import Document
    from connectome.remote import RemoteService
    from connectome.service import Service
    from connectome.stores import Loaded, OnDuplicate

# The choices of ``OnDuplicate``, which would bring the stores along; a test compares them.
_ON_DUPLICATE: Final = ("stop", "skip", "replace")
_GZIP: Final = ".gz"


@click.command("import")
@click.argument("id", metavar="COLLECTION")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--format", type=click.Choice(formats.FORMATS), help="What the file is; its ending says it otherwise.")
@click.option(
    "--types",
    default="",
    metavar="COLUMN=TYPE,…",
    help=f"For CSV and TSV, the types of columns: {', '.join(formats.COLUMN_TYPES)}.  Others are found out.",
)
@click.option(
    "--on-duplicate",
    type=click.Choice(_ON_DUPLICATE),
    default="stop",
    show_default=True,
    help="What becomes of an _id that is taken: nothing is imported, it is skipped, or it replaces the other.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@data_option
def import_(
    id: str,
    file: Path,
    format: formats.Format | None,
    types: str,
    on_duplicate: OnDuplicate,
    as_json: bool,
    data: Path | None,
) -> None:
    """
    Add the documents of FILE to COLLECTION, which is made where there is none: all of them, or none.

    FILE is a JSON array, NDJSON, CSV, TSV or Extended JSON, packed by gzip where it ends in .gz; '-' reads stdin.  It
    may be larger than memory.
    """
    read = read_file(file, format, _column_types(types))
    with closing(formats.Spooled(read)) as documents, administration(data, new=True) as service:
        made, loaded = _imported(service, id, documents, on_duplicate)
    if as_json:
        counts = {"insertedCount": loaded.inserted, "skippedCount": loaded.skipped, "replacedCount": loaded.replaced}
        click.echo(json.dumps({"created": made, **counts}))
        return
    if made:
        click.echo(f"created {id}", err=True)
    others = "".join(
        f", {what} {count}" for what, count in (("skipped", loaded.skipped), ("replaced", loaded.replaced)) if count
    )
    click.echo(f"imported {plural(loaded.inserted, 'document')} into {id}{others}", err=True)


def _imported(
    service: Service | RemoteService, id: str, documents: formats.Spooled, on_duplicate: OnDuplicate
) -> tuple[bool, Loaded]:
    """Whether the collection was made, and what became of the documents."""
    from connectome.stores import Loaded

    try:
        service.describe(id)
    except NoSuchCollection:
        inserted = service.create(id=id, documents=documents, on_duplicate=on_duplicate)["count"]
        # An _id came twice: nothing else can have been in the way.
        others = documents.count - inserted
        skipped, replaced = (others, 0) if on_duplicate == "skip" else (0, others)
        return True, Loaded(inserted, skipped, replaced)
    return False, service.import_documents(id, documents, on_duplicate=on_duplicate)


def _column_types(text: str) -> dict[str, str]:
    types = {}
    for pair in filter(None, text.split(",")):
        column, equals, type_ = pair.rpartition("=")
        if not equals:
            raise ConfigurationError(f"--types takes COLUMN=TYPE,…, not {pair!r}")
        types[column.strip()] = type_.strip()
    return types


def read_file(file: Path, format: formats.Format | None, types: dict[str, str]) -> Iterator[Document]:
    """The documents of a file, one by one; ``-`` is stdin; a bar on a terminal says how far it is."""
    with _opened(file) as (content, raw):
        format = format or _format_of(file)
        documents = formats.read_documents(content, format, types=types)
        if raw is None:
            yield from documents
            return
        with _bar(f"Reading {file.name}", os.fstat(raw.fileno()).st_size) as bar:
            for document in documents:
                yield document
                # CSV is read twice: the second time is what counts.
                bar.update(max(0, raw.tell() - bar.pos))


@contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, BinaryIO | None]]:
    """A file for reading, unpacked where it is packed; and the same as it lies on the disk, None where it does not."""
    if str(file) == "-":
        yield sys.stdin.buffer, None
        return
    with file.open("rb") as raw:
        if file.suffix.lower() != _GZIP:
            yield raw, raw
            return
        try:
            with gzip.open(raw) as content:
                yield content, raw  # type: ignore[misc]  # a GzipFile reads as any file does
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InvalidRequest(f"{file.name} is not what gzip writes: {error}", pointer=None) from None


def _bar(label: str, length: int) -> Any:
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def _format_of(file: Path) -> formats.Format:
    """
    The format that the ending of a file says; of stdin, what its first byte says.

    Raises:
        ConfigurationError: They say nothing.
    """
    if str(file) == "-":
        # Not more than has come: who pipes slowly is not waited for.
        stdin: Any = sys.stdin.buffer
        start = stdin.peek(1).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if start not in (b"[", b"{"):
            raise ConfigurationError("stdin begins neither with [ nor with {: say --format")
        return "json" if start == b"[" else "ndjson"
    suffix = (file.with_suffix("") if file.suffix.lower() == _GZIP else file).suffix.lower()
    if suffix[1:] not in formats.ENDINGS:
        endings = ", ".join(f".{each}" for each in formats.ENDINGS)
        raise ConfigurationError(f"{file.name} does not end in {endings}: say --format")
    return formats.ENDINGS[suffix[1:]]


@click.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-")
@click.option(
    "--format",
    type=click.Choice(formats.FORMATS),
    help="What to write; the ending of FILE says it otherwise.  [default: ndjson]",
)
@data_option
def export(id: str, file: Path, format: formats.Format | None, data: Path | None) -> None:
    """
    Write the documents of COLLECTION to FILE, packed by gzip where it ends in .gz; '-', or no FILE, is stdout.

    JSON, NDJSON, CSV and TSV are for people and programs: numbers are numbers.  Extended JSON (ejson) keeps every type.
    A FILE that is there is replaced when all is written.
    """
    to_stdout = str(file) == "-"
    chosen = format or ("ndjson" if to_stdout else _format_of(file))
    with administration(data) as service:
        count = service.describe(id)["count"] or 0
        pieces = _exported(service, id, chosen)
        with _bar(f"Writing {file.name}", count) if not to_stdout else _bar("", 0) as bar:
            if to_stdout:
                _copy(pieces, sys.stdout.buffer, bar)
                sys.stdout.buffer.flush()
            else:
                _write(file, pieces, bar)
    if not to_stdout:
        size = f": {plural(file.stat().st_size, 'byte')}" if file.is_file() else ""
        click.echo(f"exported {id} to {file}{size}", err=True)


def _exported(service: Service | RemoteService, id: str, format: formats.Format) -> Iterable[bytes]:
    from connectome.remote import RemoteService
    from connectome.stores import Find

    if isinstance(service, RemoteService):
        return service.exported(id, format)
    return formats.write_documents(service.collection(id), Find(), format)


def _copy(pieces: Iterable[bytes], target: Any, bar: Any) -> None:
    for piece in pieces:
        target.write(piece)
        # In every format a document has about one line.
        bar.update(piece.count(b"\n"))


def _write(file: Path, pieces: Iterable[bytes], bar: Any) -> None:
    with replacing(file) as raw:
        if file.suffix.lower() == _GZIP:
            with gzip.open(raw, "wb") as packed:
                _copy(pieces, packed, bar)
        else:
            _copy(pieces, raw, bar)
