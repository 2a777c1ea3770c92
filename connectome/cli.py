"""
The ``connectome`` command.

Every command works on a data directory, or, where a server holds that directory, through that server: the lock says
where it listens, and the administrator's token lies beside it.  Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import difflib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from connectome import __version__, config, extjson, formats
from connectome.config import Settings
from connectome.errors import (
    AddressUnavailable,
    ConfigurationError,
    ConnectomeError,
    DuplicateKey,
    NoSuchCollection,
    RequestError,
    SchemaViolation,
    StoreError,
    StoreLocked,
)
from connectome.service import ROLES, Role, Service
from connectome.stores import Find, open_store

if TYPE_CHECKING:
    from connectome.remote import RemoteService

_Name = TypeVar("_Name", bound=str)

# The most special class that an error is an instance of decides.
EXIT_CODES: Final[dict[type[BaseException], int]] = {
    ConnectomeError: 1,
    ConfigurationError: 2,
    StoreLocked: 3,
    AddressUnavailable: 3,
    RequestError: 4,
    SchemaViolation: 4,
    DuplicateKey: 4,
    StoreError: 5,
}


class Commands(click.Group):
    """A group that says what went wrong in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConnectomeError as error:
            where = f" (at {error.pointer})" if error.pointer else ""
            click.echo(f"connectome: {error.detail}{where}", err=True)
            ctx.exit(next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="connectome")
def main() -> None:
    """A self-hosted Data API: JSON documents over plain HTTP with the MongoDB query language."""


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Every setting as an option, but the data directory, which is the argument."""
    for name, field in reversed(list(config.described())):
        if name != "data":
            help = f"{field.metadata['help']}  [default: {field.default or 'none'}; {config.variable(name)}]"
            function = click.option(f"--{name.replace('_', '-')}", type=type(field.default), help=help)(function)
    return function


_data = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help=f"The data directory.  [default: {Settings.data}; {config.variable('data')}]",
)


@main.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option(
    "--example",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Fill an empty data directory from this file, as a collection of its name.",
)
@_with_settings
def serve(data: Path | None, example: Path | None, **options: Any) -> None:
    """Serve the collections of a data directory (DATA; 'data' where it is not given)."""
    from connectome.web import console, create_app, serving

    settings = Settings.from_environ(data=data, **options)
    run = serving.chosen(settings.server)
    bound = serving.bind(settings.host, settings.port)
    url = serving.url_of(settings.host, bound)
    slow = threading.Timer(1.0, lambda: click.echo("Loading the documents …", err=True))
    slow.start()
    try:
        service = Service(open_store(settings.data, holder=url, **settings.store))
    finally:
        slow.cancel()
    try:
        if example and not service.collections():
            _fill(service, example)
        app = create_app(settings, service)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: sys.exit(0))
        _greet(service, settings, url, console.login_path(app))
        run(app, bound, settings.threads)
    finally:
        service.close()
        # Everything is kept: a second signal while Python takes itself apart changes nothing about that.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)


def _fill(service: Service, example: Path) -> None:
    documents = _read(example, None, {})
    title = example.stem.replace("_", " ").capitalize()
    service.create(id=example.stem, title=title, documents=documents)


def _greet(service: Service, settings: Settings, url: str, login: str | None) -> None:
    """Say what is served, where, how the console is entered, and one line that can be pasted."""
    collections = service.collections()
    total = sum(each["count"] or 0 for each in collections)
    click.echo(f"Connectome {__version__} at {url}, data in {settings.data}: ", nl=False)
    click.echo(f"{_plural(len(collections), 'collection')}, {_plural(total, 'document')}")
    if login:
        click.echo(f"\n  console  {url}{login}")
    else:
        click.echo("\n  console  off, since other machines reach it: set CONNECTOME_ADMIN_TOKEN to have it")
    for each in collections:
        keys = each["credentials"]
        holds = "damaged: see the log" if each["count"] is None else _plural(each["count"], "document")
        click.echo(f"\n  {each['title']}, {holds}")
        click.echo(f"    read   {url}/collection/readwithquery/{keys['read']}/{each['id']}")
        click.echo(f"    write  {url}/collection/write/{keys['write']}/{each['id']}")
    if first := next((each for each in collections if each["count"] is not None), None):
        click.echo("\nTry it:")
        click.echo(
            f"  curl -s {url}/collection/readwithquery/{first['credentials']['read']}/{first['id']}"
            f" -H 'Content-Type: application/json' -d '{_question(service, first)}'"
        )
    elif not collections:
        click.echo("\nNo collection yet.  Make one:  connectome create movies")
    click.echo("\nCtrl+C stops it.")


def _question(service: Service, described: dict[str, Any]) -> str:
    """A query that finds something in this collection: the largest values of a numeric field, where it has one."""
    reader = service.reader(described["credentials"]["read"], described["id"])
    sample = next(iter(reader.find(Find(limit=1))), {})
    names = [name for name in sample if name.isalnum()]  # nothing that a shell or a path could take for its own
    number = next((name for name in names if type(sample[name]) is int), None)
    if number is None:
        return json.dumps({"limit": 2})
    return json.dumps(
        {
            "query": {number: {"$gte": sample[number]}},
            "project": {names[0]: 1, number: 1},
            "sort": {number: -1},
            "limit": 2,
        }
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@contextmanager
def _administration(data: Path | None, *, new: bool = False) -> Iterator[Service | RemoteService]:
    """The service over a data directory, or over the server that holds it; a ``new`` one may be made."""
    settings = Settings.from_environ(data=data)
    if not new and not settings.data.is_dir():
        raise ConfigurationError(f"there is no data directory {settings.data}; --data names another")
    service: Service | RemoteService
    try:
        service = Service(open_store(settings.data))
    except StoreLocked:
        from connectome.remote import RemoteService
        from connectome.stores.embedded import FileLedger, ledger_path
        from connectome.stores.files import Disk, holder

        url = "".join(holder(settings.data)[1:])
        if not url:
            raise
        ledger = FileLedger(Disk(), ledger_path(settings.data, "administrator"))
        service = RemoteService(url, settings.admin_token or ledger.load().get("token", ""))
    try:
        yield service
    finally:
        service.close()


@main.command()
@click.argument("id")
@click.option("--title", help="What people call it; the id where it is not given.")
@click.option("--schema", type=click.File("rb"), help="A JSON Schema file that every document shall satisfy.")
@_data
def create(id: str, title: str | None, schema: Any, data: Path | None) -> None:
    """Make a collection called ID, and show its credentials."""
    source = extjson.loads(schema.read(), extended=False) if schema else None
    with _administration(data, new=True) as service:
        described = service.create(id=id, title=title, schema=source)
    click.echo(f"created {id}", err=True)
    _show(described["credentials"])


@main.command("list")
@_data
def list_(data: Path | None) -> None:
    """List the collections: id, documents, bytes, title."""
    with _administration(data) as service:
        collections = service.collections()
    width = max((len(each["id"]) for each in collections), default=0)
    for each in collections:
        count = "damaged" if each["count"] is None else each["count"]
        click.echo(f"{each['id']:{width}}  {count:>9}  {each['size']:>12}  {each['title']}")
    if not collections:
        click.echo("no collections yet; 'connectome create ID' makes one", err=True)


@main.group()
def credentials() -> None:
    """Show or replace the credentials of a collection."""


def _show(keys: dict[str, str]) -> None:
    for role in ROLES:
        click.echo(f"{role:5}  {keys[role]}")


@credentials.command()
@click.argument("id")
@_data
def show(id: str, data: Path | None) -> None:
    """Show both credentials of the collection ID."""
    with _administration(data) as service:
        _show(service.describe(id)["credentials"])


@credentials.command()
@click.argument("id")
@click.argument("role", type=click.Choice(ROLES))
@_data
def rotate(id: str, role: Role, data: Path | None) -> None:
    """Replace one credential of the collection ID; the old one stops at once."""
    with _administration(data) as service:
        click.echo(service.rotate(id, role))


@main.command()
@click.argument("id", metavar="COLLECTION")
@click.argument("operation")
@click.option("--lang", default="curl", help="The language; 'list' says which there are.  [default: curl]")
@click.option("--body", metavar="JSON", help="What to send; made from the collection's documents where not given.")
@click.option("--auth", default="url", help="Where the credential goes: url or header.  [default: url]")
@_data
def snippet(id: str, operation: str, lang: str, body: str | None, auth: str, data: Path | None) -> None:
    """Print code that calls an OPERATION of a COLLECTION."""
    from connectome.web import examples, snippets
    from connectome.web.api import OPERATIONS

    if lang == "list":
        width = max(map(len, snippets.LANGUAGES))
        for name, spoken in snippets.LANGUAGES.items():
            click.echo(f"{name:{width}}  {spoken.family}, {spoken.title}")
        return
    called = OPERATIONS[_one_of("the operation", operation, OPERATIONS)]
    language = _one_of("--lang", lang, snippets.LANGUAGES)
    place = _one_of("--auth", auth, snippets.AUTHS)
    if body is not None and called.body is None:
        raise ConfigurationError(f"{operation} takes no body, and --body gives one")
    with _administration(data) as service:
        described = service.describe(id)
        if body is None:
            documents = service.first_documents(id, examples.SAMPLE)
            sent = examples.body(operation, documents, described["schema"])
        else:
            sent = snippets.typed(body)
        settings = Settings.from_environ(data=data)
        base = f"http://{settings.host}:{settings.port}" if isinstance(service, Service) else service.url
    credential = described["credentials"][called.role]
    request = snippets.to_operation(base, id, called.method, operation, credential, auth=place, body=sent)
    click.echo(snippets.render(language, request), nl=False)


def _one_of(what: str, given: str, among: Iterable[_Name]) -> _Name:
    names = list(among)
    for name in names:
        if given == name:
            return name
    nearest = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ConfigurationError(f"{what} is one of {', '.join(names)}, not {given!r}{hint}")


@main.command()
@click.argument("id")
@click.option("--pin", metavar="PATH", help="Keep an index of this path, such as address.city, from now on.")
@click.option("--unpin", metavar="PATH", help="Let the index of this path come and go as questions do.")
@_data
def indexes(id: str, pin: str | None, unpin: str | None, data: Path | None) -> None:
    """List the indexes of the collection ID: path, whether it is pinned, questions that were about it, bytes."""
    with _administration(data) as service:
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


@main.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
def check(data: Path | None) -> None:
    """Look at every file of a data directory (DATA) that no server holds, and say what is damaged, and where."""
    from connectome.stores import inspection
    from connectome.stores.files import DirectoryLock

    directory = Settings.from_environ(data=data).data
    lock = DirectoryLock(directory)
    try:
        findings = list(inspection.check(directory))
    finally:
        lock.release()
    width = max(len(each.name) for each in findings)
    for each in findings:
        click.echo(f"{'DAMAGED' if each.damaged else 'ok':7}  {each.name:{width}}  {each.says}")
    if any(each.damaged for each in findings):
        click.echo("'connectome repair --salvage NEW' writes what can be read to a new directory", err=True)
        sys.exit(EXIT_CODES[RequestError])


@main.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option(
    "--salvage", required=True, type=click.Path(path_type=Path), help="The new data directory; DATA stays as it is."
)
def repair(data: Path | None, salvage: Path) -> None:
    """Write what can be read of a damaged data directory (DATA) to a new one."""
    from connectome.stores import inspection
    from connectome.stores.files import DirectoryLock

    directory = Settings.from_environ(data=data).data
    lock = DirectoryLock(directory)
    try:
        for each in inspection.salvage(directory, salvage):
            click.echo(f"{'PARTLY' if each.damaged else 'ok':7}  {each.name}  {each.says}")
    finally:
        lock.release()
    click.echo(f"saved to {salvage}; {directory} is as it was", err=True)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--with-credentials", is_flag=True, help="Put the credentials into the backup too: keep it secret.")
@_data
def backup(file: Path, with_credentials: bool, data: Path | None) -> None:
    """Write a consistent copy of all collections to FILE, a zip archive, also while the server runs."""
    with _administration(data) as service:
        content = service.backup(credentials=with_credentials)
    file.write_bytes(content)
    file.chmod(0o600)
    click.echo(f"{file}: {len(content)} bytes", err=True)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_data
def restore(file: Path, data: Path | None) -> None:
    """Make the collections of a backup FILE anew; none of them may be there."""
    with _administration(data, new=True) as service:
        names = service.restore(file.read_bytes())
    click.echo(f"restored {', '.join(names) or 'nothing'}", err=True)


@main.command("import")
@click.argument("id")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", type=click.Choice(formats.FORMATS), help="What the file is; its ending says it otherwise.")
@click.option(
    "--types",
    default="",
    metavar="COLUMN=TYPE,…",
    help=f"For CSV, the types of columns: {', '.join(formats.COLUMN_TYPES)}.  Others are found out.",
)
@_data
def import_(id: str, file: Path, format: formats.Format | None, types: str, data: Path | None) -> None:
    """Add the documents of FILE (JSON array, NDJSON, CSV) to the collection ID: all of them, or none."""
    documents = _read(file, format, _column_types(types))
    with _administration(data, new=True) as service:
        try:
            service.describe(id)
        except NoSuchCollection:
            service.create(id=id, documents=documents)
            click.echo(f"created {id}", err=True)
        else:
            service.import_documents(id, documents)
    click.echo(f"imported {_plural(len(documents), 'document')} into {id}", err=True)


def _column_types(text: str) -> dict[str, str]:
    types = {}
    for pair in filter(None, text.split(",")):
        column, equals, type_ = pair.rpartition("=")
        if not equals:
            raise ConfigurationError(f"--types takes COLUMN=TYPE,…, not {pair!r}")
        types[column.strip()] = type_.strip()
    return types


def _read(file: Path, format: formats.Format | None, types: dict[str, str]) -> list[Any]:
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
