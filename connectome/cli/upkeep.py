"""Looking after a data directory: snapshots, backup, restore, check, repair."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from connectome.cli import EXIT_CODES, Group
from connectome.cli.administration import (
    administration,
    data_argument,
    data_option,
    directory_of,
    json_option,
    plural,
    print_columns,
    print_json,
    replacing,
)
from connectome.config import Settings
from connectome.errors import ConfigurationError, RequestError

if TYPE_CHECKING:
    from connectome.remote import RemoteSnapshots
    from connectome.snapshots import Snapshots


@click.group(cls=Group)
def snapshot() -> None:
    """Take, list, restore and remove named snapshots."""


@contextmanager
def _snapshots(data: Path | None) -> Iterator[Snapshots | RemoteSnapshots]:
    from connectome.service import Service
    from connectome.snapshots import Snapshots

    with administration(data) as service:
        if isinstance(service, Service):
            yield Snapshots(service, Settings.from_environ(data=data))
        else:
            yield service.snapshots()


@snapshot.command()
@click.argument("name")
@click.option("--again", is_flag=True, help="Take it in place of the snapshot that has the name.")
@data_option
def take(name: str, again: bool, data: Path | None) -> None:
    """Keep all collections, as they are now, under a NAME."""
    with _snapshots(data) as snapshots:
        taken = snapshots.take(name, again=again)
    click.echo(f"took {taken.name}: {plural(taken.size, 'byte')}", err=True)


@snapshot.command()
@json_option
@data_option
def ls(data: Path | None, as_json: bool) -> None:
    """List the snapshots: name, when it was taken, bytes."""
    with _snapshots(data) as snapshots:
        found = snapshots.all()
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        print_columns([(each.name, each.taken, each.size) for each in found])
    else:
        click.echo("no snapshots yet; 'connectome snapshot take NAME' takes one", err=True)


@snapshot.command("restore")
@click.argument("name")
@data_option
def snapshot_restore(name: str, data: Path | None) -> None:
    """
    Have collections hold what they held when NAME was taken.

    What they hold now is kept as the snapshot 'undo'.  Collections that were made since stay as they are.
    """
    with _snapshots(data) as snapshots:
        names = snapshots.restore(name)
    click.echo(f"restored {', '.join(names) or 'nothing'}; 'connectome snapshot restore undo' takes it back", err=True)


@snapshot.command()
@click.argument("name")
@data_option
def rm(name: str, data: Path | None) -> None:
    """Remove the snapshot NAME."""
    with _snapshots(data) as snapshots:
        snapshots.remove(name)
    click.echo(f"removed {name}", err=True)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--with-credentials", is_flag=True, help="Put the credentials into the backup too: keep it secret.")
@data_option
def backup(file: Path, with_credentials: bool, data: Path | None) -> None:
    """Write all collections to a zip archive.  Each is as of one moment, also while the server runs; '-' is stdout."""
    if str(file) == "-" and sys.stdout.isatty():
        raise ConfigurationError("a zip archive is nothing for a terminal: name a file, or redirect the output")
    with administration(data) as service:
        content = service.backup(credentials=with_credentials)
    if str(file) == "-":
        click.echo(content, nl=False)
        return
    with replacing(file) as target:
        target.write(content)
    click.echo(f"{file}: {len(content)} bytes", err=True)


@click.command()
@click.argument("file", type=click.File("rb"))
@data_option
def restore(file: BinaryIO, data: Path | None) -> None:
    """Make the collections of a backup anew.  None of them may be there; '-' is stdin."""
    content = file.read()
    with administration(data, new=True) as service:
        names = service.restore(content)
    click.echo(f"restored {', '.join(names) or 'nothing'}", err=True)


@click.command()
@data_argument
@click.option("--data", type=click.Path(path_type=Path), help="The same, as for all other commands.")
@json_option
def check(directory: Path | None, data: Path | None, as_json: bool) -> None:
    """Say what is damaged in a data directory, and where.  No server may hold it."""
    from connectome.stores import inspection

    with _held(directory, data) as held:
        findings = list(inspection.check(held))
    if as_json:
        print_json([asdict(each) for each in findings])
    else:
        print_columns([("DAMAGED" if each.damaged else "ok", each.name, each.says) for each in findings])
    if any(each.damaged for each in findings):
        click.echo("'connectome repair --salvage NEW' writes what can be read to a new directory", err=True)
        sys.exit(EXIT_CODES[RequestError])


@click.command()
@data_argument
@click.option("--data", type=click.Path(path_type=Path), help="The same, as for all other commands.")
@click.option(
    "--salvage", required=True, type=click.Path(path_type=Path), help="The new data directory; DIR stays as it is."
)
@json_option
def repair(directory: Path | None, data: Path | None, salvage: Path, as_json: bool) -> None:
    """Save what can be read of a damaged data directory."""
    from connectome.stores import inspection

    with _held(directory, data) as held:
        saved = list(inspection.salvage(held, salvage))
    if as_json:
        print_json([asdict(each) for each in saved])
    else:
        print_columns([("PARTLY" if each.damaged else "ok", each.name, each.says) for each in saved])
    click.echo(f"saved to {salvage}; {held} is as it was", err=True)


@contextmanager
def _held(argument: Path | None, option: Path | None) -> Iterator[Path]:
    """A data directory that is there, and that nobody else writes to meanwhile."""
    from connectome.stores.files import DirectoryLock

    named = directory_of(argument, option)
    settings = Settings.from_environ(data=named)
    if settings.shared and named is None:
        raise ConfigurationError(
            "the collections are in the MongoDB that the setting store names, which looks after its own files; "
            "DIR names a data directory to look at instead"
        )
    directory = settings.data
    if not directory.is_dir():
        raise ConfigurationError(f"there is no data directory {directory}; --data names another")
    lock = DirectoryLock(directory)
    try:
        yield directory
    finally:
        lock.release()
