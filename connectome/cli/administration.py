"""What commands share: the service over a data directory, or over a server; and how they show what they found."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import click

from connectome import config
from connectome.config import Settings
from connectome.errors import ConfigurationError, StoreFailed, StoreLocked

if TYPE_CHECKING:
    from connectome.remote import RemoteService
    from connectome.service import Service

_Name = TypeVar("_Name", bound=str)
_Command = TypeVar("_Command", bound=Callable[..., Any])

# Where the context of a command keeps what --url says.
_URL: Final = "connectome.url"


def _keep_url(ctx: click.Context, _: click.Parameter, url: str | None) -> None:
    if url and not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"a server is http://… or https://…, not {url!r}")
    ctx.meta[_URL] = url


def data_option(command: _Command) -> _Command:
    """Give a command ``--data``, which it is handed, and ``--url``, which ``administration`` looks after."""
    command = click.option(
        "--url",
        expose_value=False,
        callback=_keep_url,
        help=f"The server to work through; its token is read from {config.variable('admin_token')} or …_FILE.",
    )(command)
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        help=f"The data directory.  [default: {Settings.data}; {config.variable('data')}]",
    )(command)


data_argument = click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@contextmanager
def administration(data: Path | None, *, new: bool = False) -> Iterator[Service | RemoteService]:
    """
    The service over a data directory, or over the server that holds it or that ``--url`` names.

    Args:
        new: The directory may be made.

    Raises:
        ConfigurationError: There is no such directory, or no token for the server.
        StoreLocked: A process holds the directory that serves nothing.
    """
    settings = Settings.from_environ(data=data)
    service = _of_url(settings) or _of_directory(settings, new=new)
    try:
        yield service
    finally:
        service.close()


def _of_url(settings: Settings) -> RemoteService | None:
    context = click.get_current_context(silent=True)
    url = context.meta.get(_URL) if context else None
    if not url:
        return None
    # What a file in the data directory says is the token of the server there, and nobody else's to see.
    if settings.origin("admin_token") != "environment":
        name = config.variable("admin_token")
        raise ConfigurationError(f"--url needs the administrator's token of that server: set {name} or {name}_FILE")
    from connectome.remote import RemoteService

    elsewhere = urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1")
    return RemoteService(url.rstrip("/"), settings.admin_token, elsewhere=elsewhere)


def _of_directory(settings: Settings, *, new: bool) -> Service | RemoteService:
    if not new and not settings.shared and not settings.data.is_dir():
        raise ConfigurationError(f"there is no data directory {settings.data}; --data names another")
    from connectome.service import opened

    try:
        return opened(settings)
    except StoreLocked:
        from connectome.remote import RemoteService
        from connectome.stores.embedded import FileLedger, ledger_path
        from connectome.stores.files import Disk, holder

        url = "".join(holder(settings.data)[1:])
        if not url:
            raise
        ledger = FileLedger(Disk(), ledger_path(settings.data, "administrator"))
        return RemoteService(url, settings.admin_token or ledger.load().get("token", ""))


def directory_of(argument: Path | None, option: Path | None) -> Path | None:
    """
    The data directory of a command that takes it as an argument as well.

    Raises:
        ConfigurationError: Two different ones are given.
    """
    if argument and option and argument != option:
        raise ConfigurationError(f"DIR is {argument}, and --data {option}: one of them is enough")
    return argument or option


def has_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(what: str, *, ways: str = "--yes") -> None:
    """
    Ask the person at the terminal; where the answer is no, or nobody is there, the command ends with exit code 1.

    Args:
        what: What would be done, such as ``delete 3 documents``.
        ways: The options for those who cannot be asked.
    """
    if not has_terminal():
        _refuse(f"this would {what}, and nobody can be asked: say {ways}")
    if not click.confirm(f"This will {what}.  Go on?", err=True):
        _refuse("nothing was changed")


def _refuse(says: str) -> NoReturn:
    click.echo(f"connectome: {says}", err=True)
    sys.exit(1)


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """
    A file to write, which takes the place of what is there when all of it is written; its owner alone reads it.

    What is no file on a disk, such as a pipe, is written to at once.

    Raises:
        ConfigurationError: There can be no such file.
        StoreFailed: It cannot be written to its end; what was there is as it was.
    """
    is_stream = file.exists() and not file.is_file()
    # A link stays one: what it leads to is replaced.
    target = file if is_stream else file.resolve()
    written = target if is_stream else target.with_name(target.name + ".tmp")
    try:
        # Never open to others, not even for a moment.
        opened = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None
    try:
        with open(opened, "wb") as stream:
            yield stream
            if not is_stream:
                # Else a power cut may leave the name with nothing behind it.
                stream.flush()
                os.fsync(stream.fileno())
        if not is_stream:
            written.replace(target)
    except OSError as error:
        raise StoreFailed(f"{error.strerror or error} while writing {file}") from error
    finally:
        if not is_stream:
            written.unlink(missing_ok=True)


def print_json(value: Any) -> None:
    """A value for programs: indented, with the keys in our order."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_columns(rows: Sequence[Sequence[Any]]) -> None:
    """Rows for people: texts to the left, numbers to the right, two spaces between the columns."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row, cells in zip(rows, texts, strict=True):
        padded = (
            text.rjust(width) if type(cell) is int else text.ljust(width)
            for cell, text, width in zip(row, cells, widths, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_of(what: str, given: str, among: Iterable[_Name]) -> _Name:
    names = list(among)
    for name in names:
        if given == name:
            return name
    nearest = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ConfigurationError(f"{what} is one of {', '.join(names)}, not {given!r}{hint}")
