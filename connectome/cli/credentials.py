"""The credentials of a collection: the two that every one has, and those with a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from connectome.cli import Group
from connectome.cli.administration import administration, data_option, json_option, print_columns, print_json
from connectome.errors import NoSuchCredential

if TYPE_CHECKING:
    from connectome.credentials import Role

# As ``credentials.ROLES``, which a command that only shows its help does not wait for.
_ROLES: Final = ("read", "write")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _seconds(text: str) -> float:
    """The seconds of ``90``, ``90s``, ``15m``, ``24h`` or ``30d``."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if not found:
        raise click.BadParameter(f"a time is a number and a unit, such as 90s, 15m, 24h or 30d, not {text!r}")
    return timedelta(**{_UNITS[found[2] or "s"]: int(found[1])}).total_seconds()


def _moment(text: str) -> str:
    """ISO 8601 with an offset, of the same (UTC where it has none), or of how long from now."""
    try:
        if re.fullmatch(r"\d{1,9}[smhd]", text):
            moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_seconds(text))
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"a moment is one such as 2030-01-31 or 30d, not {text!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


@click.group(cls=Group)
def credentials() -> None:
    """List, show, add, replace or revoke the credentials of a collection."""


def show_both(keys: Mapping[str, str | None]) -> None:
    """Print the credential of each role, as much as is known of it."""
    print_columns([(role, keys[role] or _UNKNOWN) for role in _ROLES])


_UNKNOWN: Final = "not known any more; 'connectome credentials rotate' makes a new one"


@credentials.command()
@click.argument("id", required=False)
@json_option
@data_option
def ls(id: str | None, as_json: bool, data: Path | None) -> None:
    """List the credentials of the collection ID, or of all: name, role, last characters, created, expires, used."""
    with administration(data) as service:
        ids = [each["id"] for each in service.collections()] if id is None else [id]
        # What is listed is not what is shown: whoever looks on learns nothing.
        found = [
            {"collection": each, **{key: value for key, value in credential.items() if key != "credential"}}
            for each in ids
            for credential in service.credentials(each)
        ]
    if as_json:
        print_json(found)
    elif found:
        names = ("collection", "name", "role", "ending", "created", "expires", "lastUsed")
        rows = [{**each, "ending": f"…{each['ending']}"} for each in found]
        print_columns([[each[name] or "-" for name in names] for each in rows])
    else:
        click.echo("no collections yet; 'connectome collections create ID' makes one", err=True)


@credentials.command()
@click.argument("id")
@click.argument("name", required=False)
@json_option
@data_option
def show(id: str, name: str | None, as_json: bool, data: Path | None) -> None:
    """Show the credentials read and write of the collection ID; or the one called NAME."""
    with administration(data) as service:
        found = {each["name"]: each["credential"] for each in service.credentials(id)}
    if name is None:
        keys: dict[str, str | None] = {role: found[role] for role in _ROLES}
        if as_json:
            print_json(keys)
        else:
            show_both(keys)
        return
    if name not in found:
        raise NoSuchCredential(f"the collection {id!r} has no credential {name!r}: expected one of {', '.join(found)}")
    if as_json:
        print_json({name: found[name]})
    elif found[name] is None:
        raise NoSuchCredential(f"the credential {name} is {_UNKNOWN}")
    else:
        click.echo(found[name])


@credentials.command()
@click.argument("id")
@click.argument("name")
@click.option(
    "--grace", type=_seconds, default="0", metavar="TIME", help="How long the old one works beside it, such as 24h."
)
@json_option
@data_option
def rotate(id: str, name: str, grace: float, as_json: bool, data: Path | None) -> None:
    """Replace the credential NAME (read, write, or an added one) of the collection ID; the old one stops at once."""
    with administration(data) as service:
        fresh = service.rotate(id, name, grace=grace)
    if as_json:
        print_json({name: fresh})
    else:
        click.echo(fresh)


@credentials.command()
@click.argument("id")
@click.argument("name")
@click.option("--role", type=click.Choice(_ROLES), required=True, help="What it opens.")
@click.option("--expires", type=_moment, metavar="MOMENT", help="When it stops, such as 2030-01-31, or 30d from now.")
@json_option
@data_option
def add(id: str, name: str, role: Role, expires: str | None, as_json: bool, data: Path | None) -> None:
    """Give the collection ID one more credential, called NAME after whoever uses it."""
    with administration(data) as service:
        added = service.add_credential(id, name, role, expires=expires)
    if as_json:
        print_json(added)
    else:
        click.echo(added["credential"])


@credentials.command()
@click.argument("id")
@click.argument("name")
@data_option
def revoke(id: str, name: str, data: Path | None) -> None:
    """Stop the added credential NAME of the collection ID at once."""
    with administration(data) as service:
        service.revoke(id, name)
    click.echo(f"revoked {name}", err=True)
