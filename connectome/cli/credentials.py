"""The credentials of a collection: the two that every one has, and those with a name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from connectome.cli.administration import administration, data_option
from connectome.credentials import ROLES, Role
from connectome.errors import NoSuchCredential

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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


@click.group()
def credentials() -> None:
    """List, show, add, replace or revoke the credentials of a collection."""


def show_both(keys: Mapping[str, str | None]) -> None:
    """Print the credential of each role, as much as is known of it."""
    for role in ROLES:
        click.echo(f"{role:5}  {keys[role] or _UNKNOWN}")


_UNKNOWN: Final = "not known any more; 'connectome credentials rotate' makes a new one"


@credentials.command()
@click.argument("id")
@_json_option
@data_option
def ls(id: str, as_json: bool, data: Path | None) -> None:
    """List the credentials of the collection ID: name, role, last four characters, created, expires, last used."""
    with administration(data) as service:
        found = service.credentials(id)
    if as_json:
        # What is listed is not what is shown: whoever looks on learns nothing.
        click.echo(json.dumps([{key: each[key] for key in each if key != "credential"} for each in found]))
        return
    width = max(len(each["name"]) for each in found)
    for each in found:
        moments = f"{each['created']:25}  {each['expires'] or '-':25}  {each['lastUsed'] or '-'}"
        click.echo(f"{each['name']:{width}}  {each['role']:5}  …{each['ending']:4}  {moments}")


@credentials.command()
@click.argument("id")
@click.argument("name", required=False)
@_json_option
@data_option
def show(id: str, name: str | None, as_json: bool, data: Path | None) -> None:
    """Show the credentials read and write of the collection ID; or the one called NAME."""
    with administration(data) as service:
        found = {each["name"]: each["credential"] for each in service.credentials(id)}
    if name is None:
        keys: dict[str, str | None] = {role: found[role] for role in ROLES}
        if as_json:
            click.echo(json.dumps(keys))
        else:
            show_both(keys)
        return
    if name not in found:
        raise NoSuchCredential(f"the collection {id!r} has no credential {name!r}: expected one of {', '.join(found)}")
    if as_json:
        click.echo(json.dumps({name: found[name]}))
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
@_json_option
@data_option
def rotate(id: str, name: str, grace: float, as_json: bool, data: Path | None) -> None:
    """Replace the credential NAME (read, write, or an added one) of the collection ID; the old one stops at once."""
    with administration(data) as service:
        fresh = service.rotate(id, name, grace=grace)
    click.echo(json.dumps({name: fresh}) if as_json else fresh)


@credentials.command()
@click.argument("id")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it opens.")
@click.option("--expires", type=_moment, metavar="MOMENT", help="When it stops, such as 2030-01-31, or 30d from now.")
@_json_option
@data_option
def add(id: str, name: str, role: Role, expires: str | None, as_json: bool, data: Path | None) -> None:
    """Give the collection ID one more credential, called NAME after whoever uses it."""
    with administration(data) as service:
        added = service.add_credential(id, name, role, expires=expires)
    click.echo(json.dumps(added) if as_json else added["credential"])


@credentials.command()
@click.argument("id")
@click.argument("name")
@data_option
def revoke(id: str, name: str, data: Path | None) -> None:
    """Stop the added credential NAME of the collection ID at once."""
    with administration(data) as service:
        service.revoke(id, name)
    click.echo(f"revoked {name}", err=True)
