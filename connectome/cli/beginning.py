"""A data directory to begin with, and a way into the console of its server."""

from __future__ import annotations

from pathlib import Path

import click

from connectome import config
from connectome.cli.administration import administration, data_argument, data_option, directory_of, plural
from connectome.config import Settings
from connectome.errors import ConfigurationError

_ABOUT = """\
# The settings of the Connectome server over this data directory; see docs/configuration.md.
# A CONNECTOME_ variable wins over what is here, and an option of 'connectome serve' over both.
# Here stand the defaults: take away the # in front of what shall be otherwise.
"""


@click.command()
@data_argument
@click.option("--data", type=click.Path(path_type=Path), help="The same, as for all other commands.")
@click.option(
    "--example",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Make a collection of this file, under its name, where there is none yet.",
)
def init(directory: Path | None, data: Path | None, example: Path | None) -> None:
    """Make a data directory.  It gets a file of settings and the administrator's token; what is there stays."""
    from connectome.cli.serving import fill
    from connectome.service import opened

    settings = Settings.from_environ(data=directory_of(directory, data))
    service = opened(settings)
    try:
        if not settings.admin_token:
            service.administrator_token()
        if example and not service.collections():
            fill(service, example)
        count = len(service.collections())
    finally:
        service.close()
    file = settings.data / config.FILE_NAME
    try:
        with file.open("x", encoding="utf-8") as made:
            file.chmod(0o600)  # a token may come to stand in it
            made.write(_ABOUT + "".join(_commented(name) for name, _ in config.described() if name != "data"))
    except FileExistsError:
        click.echo(f"{file} stays as it is", err=True)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"{settings.data} is ready: {plural(count, 'collection')}, settings in {file}", err=True)
    click.echo(f"'connectome serve {settings.data}' serves it", err=True)


def _commented(name: str) -> str:
    field = Settings.__dataclass_fields__[name]
    return f"\n# {field.metadata['help']}\n# {name} = {config.written(field.default)}\n"


@click.command()
@click.option("--open", "open_", is_flag=True, help="Open it in the browser, too.")
@data_option
def login(data: Path | None, open_: bool) -> None:
    """Print a link to the console of the server.  It signs in once, within fifteen minutes."""
    from connectome.service import Service

    with administration(data) as service:
        if isinstance(service, Service):
            raise ConfigurationError("no server runs over this data directory: 'connectome serve' starts one")
        url = service.login_url()
    click.echo(url)
    if open_:
        click.launch(url)
