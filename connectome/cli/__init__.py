"""
The ``connectome`` command.

Every command works on a data directory, or, where a server holds that directory, through that server: the lock says
where it listens, and the administrator's token lies beside it.  ``--url`` names a server anywhere.  Data goes to
stdout, talk to stderr.

A command is a function in a module of this package and a line in ``COMMANDS``; its module is imported when it is asked
for, so that each starts as fast as what it needs.  What is slow to import stands inside the function.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar, Final

import click

from connectome import __version__
from connectome.errors import (
    AddressUnavailable,
    ConfigurationError,
    ConnectomeError,
    DuplicateKey,
    ReadOnly,
    RequestError,
    SchemaViolation,
    StoreError,
    StoreLocked,
)

# The most special class that an error is an instance of decides.
EXIT_CODES: Final[dict[type[BaseException], int]] = {
    ConnectomeError: 1,
    ReadOnly: 1,
    ConfigurationError: 2,
    StoreLocked: 3,
    AddressUnavailable: 3,
    RequestError: 4,
    SchemaViolation: 4,
    DuplicateKey: 4,
    StoreError: 5,
    KeyboardInterrupt: 130,
}

# The module of each command; the function in it has its name, with an underscore behind where Python has the word.
COMMANDS: Final[dict[str, str]] = {
    "serve": "serving",
    "init": "beginning",
    "login": "beginning",
    "collections": "collections",
    "credentials": "credentials",
    "indexes": "collections",
    "find": "documents",
    "insert": "documents",
    "update": "documents",
    "delete": "documents",
    "import": "files",
    "export": "files",
    "schema": "schemas",
    "snippet": "code",
    "requests": "openapi",
    "openapi": "openapi",
    "snapshot": "upkeep",
    "backup": "upkeep",
    "restore": "upkeep",
    "mock": "mock",
    "migrate": "migrate",
    "check": "upkeep",
    "repair": "upkeep",
    "doctor": "diagnosis",
    "version": "diagnosis",
    "completion": "completion",
}

# What people type, and where it is.
_ELSEWHERE: Final = {
    "create": "collections create",
    "list": "collections ls",
    "ls": "collections ls",
    "rename": "collections rename",
    "drop": "collections drop",
    "stats": "collections stats",
    "rotate": "credentials rotate",
    "show": "credentials show",
}


class Group(click.Group):
    """Commands under one name; an unknown one is refused with the nearest that there is."""

    elsewhere: ClassVar[dict[str, str]] = {
        "list": "ls",
        "show": "ls",
        "delete": "drop",
        "remove": "drop",
        "new": "create",
    }

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            meant = self.elsewhere.get(args[0], "")
            found = [meant] if meant.split(" ")[0] in names else difflib.get_close_matches(args[0], names, n=1)
            hint = f"did you mean {found[0]}?" if found else f"there are {', '.join(names)}"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


class _Commands(Group):
    """The commands of the table; ``serve`` where none is named; an error is one line, without a traceback."""

    elsewhere = _ELSEWHERE

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"connectome.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name, None) or getattr(module, f"{name}_")
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_serve(args))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConnectomeError as error:
            ctx.exit(failed(error))
        except (KeyboardInterrupt, click.Abort):
            # The terminal shows ^C where the cursor is.
            click.echo(err=True)
            ctx.exit(EXIT_CODES[KeyboardInterrupt])
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read has seen enough: click ends the command without a word
                raise
            _forget_output()
            where = f": {error.filename}" if error.filename else ""
            click.echo(f"connectome: {error.strerror or error}{where}", err=True)
            ctx.exit(EXIT_CODES[ConnectomeError])


def _forget_output() -> None:
    """Where stdout takes nothing more, give up what waits for it: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def failed(error: ConnectomeError) -> int:
    """Say what went wrong, in one line; the exit code for it."""
    click.echo(f"connectome: {error.sentence}", err=True)
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)


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
@click.pass_context
def main(ctx: click.Context) -> None:
    """A self-hosted Data API: JSON documents over plain HTTP with the MongoDB query language."""
    # Where it is not said, colour is for terminals alone.
    ctx.color = False if os.environ.get("NO_COLOR") else None
