"""Looking after a data directory: check, repair, backup, restore."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from connectome.cli import EXIT_CODES
from connectome.cli.administration import administration, data_option
from connectome.config import Settings
from connectome.errors import RequestError


@click.command()
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


@click.command()
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


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--with-credentials", is_flag=True, help="Put the credentials into the backup too: keep it secret.")
@data_option
def backup(file: Path, with_credentials: bool, data: Path | None) -> None:
    """Write a consistent copy of all collections to FILE, a zip archive, also while the server runs."""
    with administration(data) as service:
        content = service.backup(credentials=with_credentials)
    file.write_bytes(content)
    file.chmod(0o600)
    click.echo(f"{file}: {len(content)} bytes", err=True)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
def restore(file: Path, data: Path | None) -> None:
    """Make the collections of a backup FILE anew; none of them may be there."""
    with administration(data, new=True) as service:
        names = service.restore(file.read_bytes())
    click.echo(f"restored {', '.join(names) or 'nothing'}", err=True)
