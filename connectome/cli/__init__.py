"""
The ``connectome`` command.

Every command works on a data directory, or, where a server holds that directory, through that server: the lock says
where it listens, and the administrator's token lies beside it.  Data goes to stdout, talk to stderr.

A command is a function in a module of this package and a line in ``COMMANDS``; its module is imported when it is asked
for, so that each starts as fast as what it needs.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click

from connectome import __version__
from connectome.errors import (
    AddressUnavailable,
    ConfigurationError,
    ConnectomeError,
    DuplicateKey,
    RequestError,
    SchemaViolation,
    StoreError,
    StoreLocked,
)

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

# The module of each command; the function in it has its name, with an underscore behind where Python has the word.
COMMANDS: Final[dict[str, str]] = {
    "serve": "serving",
    "create": "collections",
    "list": "collections",
    "credentials": "credentials",
    "indexes": "collections",
    "import": "files",
    "snippet": "code",
    "requests": "openapi",
    "openapi": "openapi",
    "check": "upkeep",
    "repair": "upkeep",
    "backup": "upkeep",
    "restore": "upkeep",
}


class _Commands(click.Group):
    """The commands of the table; ``serve`` where none is named; an error is one line, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"connectome.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name, None) or getattr(module, f"{name}_")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_serve(args))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConnectomeError as error:
            where = f" (at {error.pointer})" if error.pointer else ""
            click.echo(f"connectome: {error.detail}{where}", err=True)
            ctx.exit(next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES))


def _with_serve(args: Sequence[str]) -> list[str]:
    """The arguments with ``serve`` in front, where they begin with nothing, a directory, or an option of it."""
    if not args:
        return ["serve"]
    first = args[0]
    if first.startswith("-"):
        return [*args] if first in ("-h", "--help", "--version") else ["serve", *args]
    is_directory = first not in COMMANDS and (os.sep in first or first in (".", "..") or os.path.isdir(first))
    return ["serve", *args] if is_directory else [*args]


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="connectome")
def main() -> None:
    """A self-hosted Data API: JSON documents over plain HTTP with the MongoDB query language."""
