"""What commands share: the service over a data directory, or over the server that holds it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from connectome import config
from connectome.config import Settings
from connectome.errors import ConfigurationError, StoreLocked

if TYPE_CHECKING:
    from connectome.remote import RemoteService
    from connectome.service import Service

_Name = TypeVar("_Name", bound=str)

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help=f"The data directory.  [default: {Settings.data}; {config.variable('data')}]",
)


@contextmanager
def administration(data: Path | None, *, new: bool = False) -> Iterator[Service | RemoteService]:
    """The service over a data directory, or over the server that holds it; a ``new`` one may be made."""
    settings = Settings.from_environ(data=data)
    if not settings.store and not new and not settings.data.is_dir():
        raise ConfigurationError(f"there is no data directory {settings.data}; --data names another")
    service: Service | RemoteService
    from connectome.service import Service
    from connectome.stores import open_store

    try:
        service = Service(open_store(settings.place))
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
