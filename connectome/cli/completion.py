"""Completion of commands, options and arguments by the shell."""

from __future__ import annotations

import click

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """
    Print what a SHELL reads to complete commands.

    For bash, in ~/.bashrc: eval "$(connectome completion bash)"; zsh, in ~/.zshrc, alike; for fish:
    connectome completion fish > ~/.config/fish/completions/connectome.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    kinds = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    # Not from ``source()``, which for bash starts a bash to see how old it is.
    made = kinds[shell](ctx.find_root().command, {}, "connectome", "_CONNECTOME_COMPLETE")
    click.echo(made.source_template % made.source_vars())
